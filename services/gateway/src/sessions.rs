//! Who is signed in: in memory only, so that a restart signs everybody out.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use http::HeaderMap;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::Semaphore;

use crate::cookies;
use crate::random::{self, RandomError};

/// The cookie of a session, where the gateway has its usual port.
pub(crate) const SESSION_COOKIE: &str = "dmf_session";

/// How many streams a session can have at once: more than a browser opens.
const MAX_STREAMS_PER_SESSION: usize = 8;

/// How many sessions there can be at once.
const MAX_SESSIONS: u64 = 10_000;

/// Somebody who proved who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    /// The user's name, e.g. `jhalpert`.
    pub id: String,
    /// The person's name.
    pub display_name: String,
    /// The realm roles.
    pub roles: Vec<String>,
    /// The groups, for information.
    pub groups: Vec<String>,
}

/// A session.
#[derive(Debug)]
pub(crate) struct UserSession {
    /// What the cookie holds.
    pub id: String,
    /// Whose it is.
    pub user: User,
    /// When it ends, for people.
    pub expires_at: DateTime<Utc>,
    /// When it ends, for this process.
    pub deadline: Instant,
    /// The streams that it can still open.
    pub streams: Arc<Semaphore>,
}

/// All sessions.
#[derive(Debug)]
pub(crate) struct SessionStore {
    cookie_name: String,
    lifetime: Duration,
    active: Cache<String, Arc<UserSession>>,
    /// The end of the latest session: clients tell logins apart by it.
    latest_expiry: Mutex<DateTime<Utc>>,
}

impl SessionStore {
    /// No sessions yet; each will live so long from its login, in a cookie of that name.
    #[must_use]
    pub(crate) fn new(life: Duration, cookie: String) -> Self {
        Self::with_capacity(life, cookie, MAX_SESSIONS)
    }

    /// Where there are more, those that were unused for longest give way: no login is refused.
    fn with_capacity(life: Duration, cookie: String, capacity: u64) -> Self {
        Self {
            cookie_name: cookie,
            lifetime: life,
            active: Cache::builder()
                .time_to_live(life)
                .max_capacity(capacity)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
            latest_expiry: Mutex::new(DateTime::UNIX_EPOCH),
        }
    }

    /// Begins a session.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub(crate) fn create(&self, user: User) -> Result<Arc<UserSession>, RandomError> {
        let now = Instant::now();
        let session = Arc::new(UserSession {
            id: random::token::<24>()?,
            user,
            expires_at: self.next_expiry(),
            deadline: now + self.lifetime,
            streams: Arc::new(Semaphore::new(MAX_STREAMS_PER_SESSION)),
        });
        self.active.insert(session.id.clone(), Arc::clone(&session));
        Ok(session)
    }

    /// The live session that a request brings, if any.
    #[must_use]
    pub(crate) fn find(&self, headers: &HeaderMap) -> Option<Arc<UserSession>> {
        cookies::values(headers, &self.cookie_name).find_map(|id| self.active.get(id))
    }

    /// Whether a session goes on.
    #[must_use]
    pub(crate) fn is_active(&self, session: &UserSession) -> bool {
        self.active.get(&session.id).is_some()
    }

    /// Ends the sessions that a request brings.
    pub(crate) fn invalidate(&self, headers: &HeaderMap) {
        for id in cookies::values(headers, &self.cookie_name) {
            self.active.invalidate(id);
        }
    }

    /// The name of the cookie.
    #[must_use]
    pub(crate) fn cookie_name(&self) -> &str {
        &self.cookie_name
    }

    /// How long a session lives.
    #[must_use]
    pub(crate) const fn lifetime(&self) -> Duration {
        self.lifetime
    }

    fn next_expiry(&self) -> DateTime<Utc> {
        let life = TimeDelta::from_std(self.lifetime).unwrap_or_default();
        let end = dm_contracts::time::now() + life;
        let mut latest = self
            .latest_expiry
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let end = end.max(*latest + TimeDelta::microseconds(1));
        *latest = end;
        end
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use http::{HeaderValue, header};

    use super::*;

    fn jim() -> User {
        User {
            id: "jhalpert".into(),
            display_name: "Jim Halpert".into(),
            roles: vec!["sales-associate".into()],
            groups: Vec::new(),
        }
    }

    fn request(cookie: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_str(cookie).unwrap())])
    }

    #[test]
    fn a_session_goes_on_until_it_is_ended() {
        let sessions = SessionStore::new(Duration::from_secs(60), SESSION_COOKIE.to_owned());
        let session = sessions.create(jim()).unwrap();
        assert_eq!(session.id.len(), 32);
        let brought = request(&format!("dmf_session=stale; dmf_session={}", session.id));
        assert_eq!(sessions.find(&brought).unwrap().user, jim());
        sessions.invalidate(&brought);
        assert!(sessions.find(&brought).is_none());
        assert!(!sessions.is_active(&session));
    }

    #[test]
    fn a_session_of_no_life_is_none() {
        let sessions = SessionStore::new(Duration::ZERO, SESSION_COOKIE.to_owned());
        let session = sessions.create(jim()).unwrap();
        assert!(!sessions.is_active(&session));
    }

    #[test]
    fn a_session_is_over_when_its_time_is() {
        let sessions = SessionStore::new(Duration::from_millis(20), SESSION_COOKIE.to_owned());
        let session = sessions.create(jim()).unwrap();
        let brought = request(&format!("dmf_session={}", session.id));
        std::thread::sleep(Duration::from_millis(40));
        assert!(sessions.find(&brought).is_none());
        sessions.active.run_pending_tasks();
        assert_eq!(sessions.active.entry_count(), 0, "what is over is kept");
    }

    #[test]
    fn too_many_sessions_push_out_the_one_that_was_unused_for_longest() {
        let life = Duration::from_secs(60);
        let sessions = SessionStore::with_capacity(life, SESSION_COOKIE.to_owned(), 2);
        let begin = || {
            let session = sessions.create(jim()).unwrap();
            sessions.active.run_pending_tasks();
            session
        };
        let (first, second) = (begin(), begin());
        assert!(sessions.is_active(&first));
        let third = begin();
        assert!(sessions.is_active(&first));
        assert!(!sessions.is_active(&second));
        assert!(sessions.is_active(&third));
    }

    #[test]
    fn a_flood_of_logins_stays_bounded_and_lets_the_last_one_in() {
        let life = Duration::from_secs(60);
        let sessions = SessionStore::with_capacity(life, SESSION_COOKIE.to_owned(), 100);
        let last = (0..5_000).map(|_| sessions.create(jim()).unwrap()).last();
        assert!(sessions.is_active(&last.unwrap()));
        sessions.active.run_pending_tasks();
        assert!(sessions.active.entry_count() <= 100);
    }

    #[test]
    fn no_two_sessions_end_at_the_same_instant() {
        let sessions = SessionStore::new(Duration::from_secs(60), SESSION_COOKIE.to_owned());
        let ends: HashSet<_> = (0..500)
            .map(|_| sessions.create(jim()).unwrap().expires_at)
            .collect();
        assert_eq!(ends.len(), 500);
    }
}

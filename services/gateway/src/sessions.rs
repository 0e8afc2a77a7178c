//! Sessions of signed-in users, in memory only: a restart of the gateway ends all of them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use http::HeaderMap;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::Semaphore;

use crate::cookies;
use crate::random::{self, RandomError};

/// The name of the session cookie of a gateway on the default port.
pub(crate) const SESSION_COOKIE: &str = "dmf_session";

/// The maximum number of concurrent streams of a session: more than a browser opens.
const MAX_STREAMS_PER_SESSION: usize = 8;

/// The maximum number of concurrent sessions.
const MAX_SESSIONS: u64 = 10_000;

/// An authenticated user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    /// The user name, e.g. `jhalpert`.
    pub id: String,
    /// The display name.
    pub display_name: String,
    /// The realm roles.
    pub roles: Vec<String>,
    /// The groups, for display only.
    pub groups: Vec<String>,
}

/// A session of a signed-in user.
#[derive(Debug)]
pub(crate) struct UserSession {
    /// The value of the cookie.
    pub id: String,
    /// The user.
    pub user: User,
    /// The end of the session in wall-clock time, for clients.
    pub expires_at: DateTime<Utc>,
    /// The end of the session in monotonic time, for this process.
    pub deadline: Instant,
    /// Permits for streams of the session.
    pub streams: Arc<Semaphore>,
}

/// The store of all active sessions.
#[derive(Debug)]
pub(crate) struct SessionStore {
    cookie_name: String,
    lifetime: Duration,
    active: Cache<String, Arc<UserSession>>,
    /// The end of the latest session. It is unique: clients distinguish logins by it.
    latest_expiry: Mutex<DateTime<Utc>>,
}

impl SessionStore {
    /// Creates an empty store. A session ends `lifetime` after its login.
    #[must_use]
    pub(crate) fn new(lifetime: Duration, cookie_name: String) -> Self {
        Self::with_capacity(lifetime, cookie_name, MAX_SESSIONS)
    }

    /// Above the capacity, the least recently used sessions are evicted: no login is refused.
    fn with_capacity(lifetime: Duration, cookie_name: String, capacity: u64) -> Self {
        Self {
            cookie_name,
            lifetime,
            active: Cache::builder()
                .time_to_live(lifetime)
                .max_capacity(capacity)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
            latest_expiry: Mutex::new(DateTime::UNIX_EPOCH),
        }
    }

    /// Creates a session for a user.
    ///
    /// # Errors
    /// Returns [`RandomError`] if the system has no random bytes.
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

    /// Returns the active session that the cookies of a request name.
    #[must_use]
    pub(crate) fn find(&self, headers: &HeaderMap) -> Option<Arc<UserSession>> {
        cookies::values(headers, &self.cookie_name).find_map(|id| self.active.get(id))
    }

    /// Returns whether a session is still active.
    #[must_use]
    pub(crate) fn is_active(&self, session: &UserSession) -> bool {
        self.active.get(&session.id).is_some()
    }

    /// Ends the sessions that the cookies of a request name.
    pub(crate) fn invalidate(&self, headers: &HeaderMap) {
        for id in cookies::values(headers, &self.cookie_name) {
            self.active.invalidate(id);
        }
    }

    /// Returns the name of the session cookie.
    #[must_use]
    pub(crate) fn cookie_name(&self) -> &str {
        &self.cookie_name
    }

    /// Returns the lifetime of a session.
    #[must_use]
    pub(crate) const fn lifetime(&self) -> Duration {
        self.lifetime
    }

    fn next_expiry(&self) -> DateTime<Utc> {
        let lifetime = TimeDelta::from_std(self.lifetime).unwrap_or_default();
        let expiry = dm_contracts::time::now() + lifetime;
        let mut latest = self
            .latest_expiry
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let expiry = expiry.max(*latest + TimeDelta::microseconds(1));
        *latest = expiry;
        expiry
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
    fn session_is_active_until_it_is_invalidated() {
        let sessions = SessionStore::new(Duration::from_secs(60), SESSION_COOKIE.to_owned());
        let session = sessions.create(jim()).unwrap();
        assert_eq!(session.id.len(), 32);
        let headers = request(&format!("dmf_session=stale; dmf_session={}", session.id));
        assert_eq!(sessions.find(&headers).unwrap().user, jim());
        sessions.invalidate(&headers);
        assert!(sessions.find(&headers).is_none());
        assert!(!sessions.is_active(&session));
    }

    #[test]
    fn session_with_a_lifetime_of_zero_is_never_active() {
        let sessions = SessionStore::new(Duration::ZERO, SESSION_COOKIE.to_owned());
        let session = sessions.create(jim()).unwrap();
        assert!(!sessions.is_active(&session));
    }

    #[test]
    fn session_expires_after_its_lifetime() {
        let sessions = SessionStore::new(Duration::from_millis(20), SESSION_COOKIE.to_owned());
        let session = sessions.create(jim()).unwrap();
        let headers = request(&format!("dmf_session={}", session.id));
        std::thread::sleep(Duration::from_millis(40));
        assert!(sessions.find(&headers).is_none());
        sessions.active.run_pending_tasks();
        assert_eq!(
            sessions.active.entry_count(),
            0,
            "expired sessions are kept"
        );
    }

    #[test]
    fn session_above_the_capacity_evicts_the_least_recently_used_one() {
        let lifetime = Duration::from_secs(60);
        let sessions = SessionStore::with_capacity(lifetime, SESSION_COOKIE.to_owned(), 2);
        let create = || {
            let session = sessions.create(jim()).unwrap();
            sessions.active.run_pending_tasks();
            session
        };
        let (first, second) = (create(), create());
        assert!(sessions.is_active(&first));
        let third = create();
        assert!(sessions.is_active(&first));
        assert!(!sessions.is_active(&second));
        assert!(sessions.is_active(&third));
    }

    #[test]
    fn many_logins_stay_within_the_capacity_and_the_last_one_is_active() {
        let lifetime = Duration::from_secs(60);
        let sessions = SessionStore::with_capacity(lifetime, SESSION_COOKIE.to_owned(), 100);
        let last = (0..5_000).map(|_| sessions.create(jim()).unwrap()).last();
        assert!(sessions.is_active(&last.unwrap()));
        sessions.active.run_pending_tasks();
        assert!(sessions.active.entry_count() <= 100);
    }

    #[test]
    fn expiry_of_each_session_is_unique() {
        let sessions = SessionStore::new(Duration::from_secs(60), SESSION_COOKIE.to_owned());
        let expiries: HashSet<_> = (0..500)
            .map(|_| sessions.create(jim()).unwrap().expires_at)
            .collect();
        assert_eq!(expiries.len(), 500);
    }
}

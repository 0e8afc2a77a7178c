//! Sessions of signed-in users, in memory only: a restart of the gateway ends all of them.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use http::HeaderMap;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cookies::{self, CookieNames};
use crate::oidc::realm_check::RealmCheck;
use crate::oidc::realm_tokens::RealmTokens;
use crate::random::{self, RandomError};
use crate::settings::SessionLifetimes;
use crate::user::User;

/// The maximum number of concurrent streams of a session: more than a browser opens.
pub(crate) const MAX_STREAMS_PER_SESSION: usize = 8;

/// The maximum number of concurrent sessions.
const MAX_SESSIONS: u64 = 10_000;

/// The time after which activity renews the cookie of a session. Each response would be more exact,
/// and larger.
const COOKIE_RENEWAL_INTERVAL: Duration = Duration::from_secs(30);

/// A session of a signed-in user.
#[derive(Debug)]
pub(crate) struct UserSession {
    /// The value of the cookie.
    pub id: String,
    /// The user.
    pub user: User,
    /// The latest end of the session, however active it is. It stays the same, and no other session
    /// has it: clients distinguish logins by it.
    pub expires_at: DateTime<Utc>,
    state: Arc<SessionState>,
}

/// The state of a session, which a change of its user does not change.
#[derive(Debug)]
struct SessionState {
    /// The end of the session, however active it is.
    limit: Instant,
    /// The end of the session without further activity.
    deadline: Mutex<Instant>,
    /// The time at which the cookie was set last.
    cookie_set_at: Mutex<Instant>,
    /// Cancelled when the session is ended before its deadline.
    ended: CancellationToken,
    /// Permits for streams of the session.
    streams: Arc<Semaphore>,
    /// The tokens of the session at the realm. None if it was created without a login.
    realm_tokens: Mutex<Option<RealmTokens>>,
    check: Arc<RealmCheck>,
}

impl UserSession {
    /// Returns the permits for streams of the session.
    #[must_use]
    pub(crate) fn streams(&self) -> &Arc<Semaphore> {
        &self.state.streams
    }

    /// Returns the schedule of the checks at the realm.
    #[must_use]
    pub(crate) fn check(&self) -> &Arc<RealmCheck> {
        &self.state.check
    }

    /// Returns the tokens of the session at the realm.
    #[must_use]
    pub(crate) fn realm_tokens(&self) -> Option<RealmTokens> {
        lock(&self.state.realm_tokens).clone()
    }

    /// Returns the end of the session without further activity.
    #[must_use]
    pub(crate) fn idle_expires_at(&self) -> DateTime<Utc> {
        let remaining = TimeDelta::from_std(self.remaining()).unwrap_or_default();
        let end = (dm_contracts::time::now() + remaining).trunc_subsecs(6);
        end.min(self.expires_at)
    }

    /// Waits until the session ends.
    pub(crate) async fn ended(&self) {
        loop {
            let deadline = self.state.deadline();
            tokio::select! {
                () = self.state.ended.cancelled() => return,
                () = tokio::time::sleep_until(deadline) => {
                    // Activity may have moved the deadline.
                    if !self.is_live() {
                        return;
                    }
                }
            }
        }
    }

    fn is_live(&self) -> bool {
        !self.state.ended.is_cancelled() && !self.remaining().is_zero()
    }

    /// Returns the time until the end without further activity.
    #[must_use]
    pub(crate) fn remaining(&self) -> Duration {
        let deadline = self.state.deadline();
        deadline.saturating_duration_since(Instant::now())
    }
}

impl SessionState {
    fn deadline(&self) -> Instant {
        *lock(&self.deadline)
    }
}

/// The store of all active sessions.
#[derive(Debug)]
pub(crate) struct SessionStore {
    cookie_names: CookieNames,
    lifetimes: SessionLifetimes,
    active: Cache<String, Arc<UserSession>>,
    /// The latest ends of sessions, without past ones. Each is unique: clients distinguish logins by
    /// it.
    expiries: Mutex<BTreeSet<DateTime<Utc>>>,
}

impl SessionStore {
    /// Creates an empty store.
    #[must_use]
    pub(crate) fn new(lifetimes: SessionLifetimes, cookie_names: CookieNames) -> Self {
        Self::with_capacity(lifetimes, cookie_names, MAX_SESSIONS)
    }

    /// Above the capacity, the least recently used sessions are evicted: no login is refused.
    fn with_capacity(
        lifetimes: SessionLifetimes,
        cookie_names: CookieNames,
        capacity: u64,
    ) -> Self {
        Self {
            cookie_names,
            lifetimes,
            active: Cache::builder()
                .time_to_live(lifetimes.maximum)
                .time_to_idle(lifetimes.idle)
                .max_capacity(capacity)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
            expiries: Mutex::default(),
        }
    }

    /// Creates a session for a user, with the tokens of the login if there was one. A session that
    /// the realm cannot be asked about ends with the access token at the latest.
    ///
    /// # Errors
    /// Returns [`RandomError`] if the system has no random bytes.
    pub(crate) fn create(
        &self,
        user: User,
        realm_tokens: Option<RealmTokens>,
    ) -> Result<Arc<UserSession>, RandomError> {
        let id = random::token::<24>()?;
        let (now, time) = (Instant::now(), dm_contracts::time::now());
        let until = realm_tokens.as_ref().and_then(RealmTokens::unchecked_until);
        let lifetime = until.map_or(self.lifetimes.maximum, |until| {
            let remaining = (until - time).to_std().unwrap_or_default();
            remaining.min(self.lifetimes.maximum)
        });
        let limit = now + lifetime;
        let session = Arc::new(UserSession {
            id,
            user,
            expires_at: self.unique_expiry(time, lifetime),
            state: Arc::new(SessionState {
                limit,
                deadline: Mutex::new(limit.min(now + self.lifetimes.idle)),
                cookie_set_at: Mutex::new(now),
                ended: CancellationToken::new(),
                streams: Arc::new(Semaphore::new(MAX_STREAMS_PER_SESSION)),
                realm_tokens: Mutex::new(realm_tokens),
                check: Arc::new(RealmCheck::new(
                    self.lifetimes.check_interval,
                    Duration::ZERO,
                )),
            }),
        });
        self.active.insert(session.id.clone(), Arc::clone(&session));
        Ok(session)
    }

    /// Returns the active session that the cookies of a request name.
    #[must_use]
    pub(crate) fn find(&self, headers: &HeaderMap) -> Option<Arc<UserSession>> {
        self.find_with_cookie(headers).map(|(_, session)| session)
    }

    /// Returns the active session that the cookies of a request name, and the name of its cookie.
    #[must_use]
    pub(crate) fn find_with_cookie(
        &self,
        headers: &HeaderMap,
    ) -> Option<(Cow<'static, str>, Arc<UserSession>)> {
        self.cookie_names
            .accepted_sessions(headers)
            .find_map(|name| {
                let session = cookies::values(headers, &name).find_map(|id| self.live(id))?;
                Some((name, session))
            })
    }

    /// Returns a session as it is now: with its current user. Returns `None` if it has ended.
    #[must_use]
    pub(crate) fn current(&self, session: &UserSession) -> Option<Arc<UserSession>> {
        self.live(&session.id)
    }

    fn live(&self, id: &str) -> Option<Arc<UserSession>> {
        self.active.get(id).filter(|session| session.is_live())
    }

    /// Extends a session, because its user is active.
    pub(crate) fn extend(&self, session: &UserSession) {
        let deadline = (Instant::now() + self.lifetimes.idle).min(session.state.limit);
        // The cache removes idle entries, and counts a read as activity.
        if self.current(session).is_some() {
            *lock(&session.state.deadline) = deadline;
        }
    }

    /// Returns the lifetime of the cookie of a session if it is time to set the cookie again.
    #[must_use]
    pub(crate) fn renewed_cookie_lifetime(&self, session: &UserSession) -> Option<Duration> {
        let interval = COOKIE_RENEWAL_INTERVAL.min(self.lifetimes.idle / 10);
        let mut set_at = lock(&session.state.cookie_set_at);
        if !session.is_live() || set_at.elapsed() < interval {
            return None;
        }
        *set_at = Instant::now();
        Some(session.remaining())
    }

    /// Replaces the tokens and, if the realm describes the user otherwise than before, the user of
    /// a session.
    pub(crate) fn renew(&self, session: &UserSession, user: User, realm_tokens: RealmTokens) {
        *lock(&session.state.realm_tokens) = Some(realm_tokens);
        // The caller may have an older copy of the session.
        let is_unchanged = self
            .current(session)
            .is_none_or(|current| current.user == user);
        if is_unchanged {
            return;
        }
        let renewed = UserSession {
            id: session.id.clone(),
            user,
            expires_at: session.expires_at,
            state: Arc::clone(&session.state),
        };
        // A session that is ended at the same time stays ended: both share their state.
        self.active.insert(session.id.clone(), Arc::new(renewed));
    }

    /// Ends a session.
    pub(crate) fn end(&self, session: &UserSession) {
        session.state.ended.cancel();
        self.active.invalidate(&session.id);
    }

    /// Ends all sessions of a user, and returns them.
    pub(crate) fn end_all_of(&self, user_id: &str) -> Vec<Arc<UserSession>> {
        let sessions: Vec<_> = self
            .active
            .iter()
            .map(|(_, session)| session)
            .filter(|session| session.user.id == user_id && session.is_live())
            .collect();
        for session in &sessions {
            self.end(session);
        }
        sessions
    }

    /// Ends the sessions that the cookies of a request name. Returns the names of the cookies to
    /// delete: that of the request, and another one only if it named a session of this gateway.
    pub(crate) fn invalidate(&self, headers: &HeaderMap) -> Vec<Cow<'static, str>> {
        let own = self.cookie_names.session(headers);
        let mut to_delete = Vec::new();
        for name in self.cookie_names.accepted_sessions(headers) {
            let sessions: Vec<_> = cookies::values(headers, &name)
                .filter_map(|id| self.active.get(id))
                .collect();
            if name == own || !sessions.is_empty() {
                to_delete.push(name);
            }
            for session in sessions {
                self.end(&session);
            }
        }
        to_delete
    }

    /// Returns the latest end of a session that begins now. No other session has the same one.
    fn unique_expiry(&self, now: DateTime<Utc>, lifetime: Duration) -> DateTime<Utc> {
        let mut expiries = lock(&self.expiries);
        while expiries.first().is_some_and(|expiry| *expiry < now) {
            expiries.pop_first();
        }
        let mut expiry = now + TimeDelta::from_std(lifetime).unwrap_or_default();
        while !expiries.insert(expiry) {
            expiry += TimeDelta::microseconds(1);
        }
        expiry
    }
}

/// The data is valid even if a thread panicked while it held the lock.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use http::{HeaderValue, header};
    use tokio::time::advance;

    use super::*;
    use crate::oidc::realm_tokens::TEST_LIFESPAN;
    use crate::settings::DEFAULT_PORT;

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

    fn lifetimes(idle: Duration, maximum: Duration) -> SessionLifetimes {
        SessionLifetimes {
            idle,
            maximum,
            check_interval: Duration::from_secs(45),
        }
    }

    fn store(idle: Duration, maximum: Duration) -> SessionStore {
        SessionStore::new(lifetimes(idle, maximum), CookieNames::new(DEFAULT_PORT))
    }

    fn minute_store() -> SessionStore {
        store(Duration::from_secs(60), Duration::from_secs(3600))
    }

    fn is_active(sessions: &SessionStore, session: &UserSession) -> bool {
        sessions.current(session).is_some()
    }

    #[test]
    fn session_is_active_until_it_is_invalidated() {
        let sessions = minute_store();
        let session = sessions.create(jim(), None).unwrap();
        assert_eq!(session.id.len(), 32);
        let headers = request(&format!("dmf_session=stale; dmf_session={}", session.id));
        assert_eq!(sessions.find(&headers).unwrap().user, jim());
        assert_eq!(sessions.invalidate(&headers), ["dmf_session"]);
        assert!(sessions.find(&headers).is_none());
        assert!(!is_active(&sessions, &session));
    }

    #[test]
    fn session_with_a_lifetime_of_zero_is_never_active() {
        let sessions = store(Duration::ZERO, Duration::ZERO);
        let session = sessions.create(jim(), None).unwrap();
        assert!(!is_active(&sessions, &session));
    }

    #[tokio::test(start_paused = true)]
    async fn session_expires_when_it_is_idle() {
        let sessions = minute_store();
        let session = sessions.create(jim(), None).unwrap();
        let headers = request(&format!("dmf_session={}", session.id));
        advance(Duration::from_secs(59)).await;
        assert!(sessions.find(&headers).is_some());
        advance(Duration::from_secs(1)).await;
        assert!(sessions.find(&headers).is_none());
        // Too late.
        sessions.extend(&session);
        assert!(sessions.find(&headers).is_none());
    }

    #[test]
    fn expired_session_is_removed_from_the_store() {
        let sessions = store(Duration::from_millis(1), Duration::from_secs(60));
        drop(sessions.create(jim(), None).unwrap());
        // The cache has its own clock.
        for _ in 0..1_000 {
            std::thread::sleep(Duration::from_millis(10));
            sessions.active.run_pending_tasks();
            if sessions.active.entry_count() == 0 {
                return;
            }
        }
        panic!("an expired session is kept");
    }

    #[tokio::test(start_paused = true)]
    async fn activity_extends_a_session_up_to_its_limit() {
        let sessions = store(Duration::from_secs(60), Duration::from_secs(200));
        let session = sessions.create(jim(), None).unwrap();
        let limit = session.expires_at;
        for _ in 0..4 {
            advance(Duration::from_secs(45)).await;
            sessions.extend(&session);
            assert!(is_active(&sessions, &session), "it was not extended");
        }
        advance(Duration::from_secs(19)).await;
        sessions.extend(&session);
        assert!(is_active(&sessions, &session), "it ended before its limit");
        advance(Duration::from_secs(1)).await;
        assert!(!is_active(&sessions, &session), "it was extended for ever");
        assert_eq!(session.expires_at, limit);
    }

    #[tokio::test(start_paused = true)]
    async fn session_without_a_refresh_token_ends_with_the_access_token() {
        let sessions = minute_store();
        let expiry = dm_contracts::time::now() + TEST_LIFESPAN;
        let checked = RealmTokens::for_test(Some("first"));
        let checked = sessions.create(jim(), Some(checked)).unwrap();
        let unchecked = RealmTokens::for_test(None);
        let unchecked = sessions.create(jim(), Some(unchecked)).unwrap();
        assert!(checked.expires_at > expiry + TEST_LIFESPAN);
        let difference = unchecked.expires_at - expiry;
        assert!(difference.num_seconds() < 10, "{difference}");
        for _ in 0..5 {
            advance(Duration::from_secs(55)).await;
            sessions.extend(&checked);
            sessions.extend(&unchecked);
            assert!(is_active(&sessions, &unchecked), "it was not extended");
        }
        advance(Duration::from_secs(25)).await;
        sessions.extend(&unchecked);
        assert!(!is_active(&sessions, &unchecked), "it outlives its token");
        assert!(is_active(&sessions, &checked));
    }

    #[tokio::test(start_paused = true)]
    async fn session_with_an_access_token_of_a_long_lifespan_has_the_usual_limit() {
        let sessions = store(Duration::from_secs(60), Duration::from_secs(100));
        let tokens = RealmTokens::for_test(None);
        let session = sessions.create(jim(), Some(tokens)).unwrap();
        advance(Duration::from_secs(55)).await;
        sessions.extend(&session);
        advance(Duration::from_secs(44)).await;
        assert!(is_active(&sessions, &session));
        advance(Duration::from_secs(1)).await;
        assert!(!is_active(&sessions, &session));
    }

    #[tokio::test(start_paused = true)]
    async fn ended_follows_an_extended_deadline_and_an_end() {
        let sessions = minute_store();
        let session = sessions.create(jim(), None).unwrap();
        let begin = Instant::now();
        advance(Duration::from_secs(40)).await;
        sessions.extend(&session);
        session.ended().await;
        assert!(begin.elapsed() >= Duration::from_secs(100));

        let session = sessions.create(jim(), None).unwrap();
        sessions.end(&session);
        let ended = tokio::time::timeout(Duration::from_secs(10), session.ended());
        assert!(ended.await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn cookie_is_renewed_after_some_time_and_never_of_an_ended_session() {
        let sessions = minute_store();
        let session = sessions.create(jim(), None).unwrap();
        assert_eq!(sessions.renewed_cookie_lifetime(&session), None);
        advance(Duration::from_secs(7)).await;
        sessions.extend(&session);
        assert_eq!(
            sessions.renewed_cookie_lifetime(&session),
            Some(Duration::from_secs(60))
        );
        assert_eq!(sessions.renewed_cookie_lifetime(&session), None);
        advance(Duration::from_secs(7)).await;
        sessions.end(&session);
        assert_eq!(sessions.renewed_cookie_lifetime(&session), None);
    }

    #[test]
    fn cookie_of_another_instance_is_not_deleted() {
        let sessions = SessionStore::new(
            lifetimes(Duration::from_secs(60), Duration::from_secs(60)),
            CookieNames::new(24277),
        );
        let session = sessions.create(jim(), None).unwrap();
        let both = |own: &str, other: &str| {
            let mut headers = request(&format!(
                "dmf_session_9000={own}; dmf_session_24277={other}"
            ));
            headers.insert(header::HOST, HeaderValue::from_static("localhost:9000"));
            headers
        };
        assert_eq!(
            sessions.invalidate(&both("stale", "foreign")),
            ["dmf_session_9000"]
        );
        let headers = both("stale", &session.id);
        assert_eq!(sessions.find(&headers).unwrap().id, session.id);
        assert_eq!(
            sessions.invalidate(&headers),
            ["dmf_session_9000", "dmf_session_24277"]
        );
        assert!(!is_active(&sessions, &session));
    }

    #[test]
    fn renewed_session_has_the_roles_of_the_realm_and_stays_ended() {
        let sessions = minute_store();
        let session = sessions.create(jim(), None).unwrap();
        let tokens = || RealmTokens::for_test(None);
        let promoted = User {
            roles: vec!["manager".into()],
            ..jim()
        };
        sessions.renew(&session, promoted.clone(), tokens());
        let current = sessions.current(&session).unwrap();
        assert_eq!(current.user, promoted);
        assert_eq!(current.expires_at, session.expires_at);
        sessions.end(&session);
        sessions.renew(&current, jim(), tokens());
        assert!(!is_active(&sessions, &session));
    }

    #[test]
    fn end_all_of_a_user_ends_no_session_of_another() {
        let sessions = minute_store();
        let own = [0; 3].map(|_| sessions.create(jim(), None).unwrap());
        let pam = User {
            id: "pbeesly".into(),
            ..jim()
        };
        let other = sessions.create(pam, None).unwrap();
        assert_eq!(sessions.end_all_of("jhalpert").len(), 3);
        assert!(own.iter().all(|session| !is_active(&sessions, session)));
        assert!(is_active(&sessions, &other));
        assert!(sessions.end_all_of("jhalpert").is_empty());
    }

    #[test]
    fn session_above_the_capacity_evicts_the_least_recently_used_one() {
        let minute = Duration::from_secs(60);
        let sessions = SessionStore::with_capacity(
            lifetimes(minute, minute),
            CookieNames::new(DEFAULT_PORT),
            2,
        );
        let create = || {
            let session = sessions.create(jim(), None).unwrap();
            sessions.active.run_pending_tasks();
            session
        };
        let (first, second) = (create(), create());
        assert!(is_active(&sessions, &first));
        let third = create();
        assert!(is_active(&sessions, &first));
        assert!(!is_active(&sessions, &second));
        assert!(is_active(&sessions, &third));
    }

    #[test]
    fn many_logins_stay_within_the_capacity_and_the_last_one_is_active() {
        let minute = Duration::from_secs(60);
        let sessions = SessionStore::with_capacity(
            lifetimes(minute, minute),
            CookieNames::new(DEFAULT_PORT),
            100,
        );
        let last = (0..5_000)
            .map(|_| sessions.create(jim(), None).unwrap())
            .last();
        assert!(is_active(&sessions, &last.unwrap()));
        sessions.active.run_pending_tasks();
        assert!(sessions.active.entry_count() <= 100);
    }

    #[test]
    fn expiry_of_each_session_is_unique() {
        let sessions = minute_store();
        let expiries: HashSet<_> = (0..500)
            .map(|_| sessions.create(jim(), None).unwrap().expires_at)
            .collect();
        assert_eq!(expiries.len(), 500);
    }
}

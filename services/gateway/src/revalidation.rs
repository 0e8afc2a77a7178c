//! Asks the realm from time to time whether the users of sessions and bearer tokens may stay signed
//! in. A disabled user loses access within a minute, without a request to the realm for each
//! request to the gateway.
//!
//! The realm cannot be asked about a session for which it has issued no refresh token. Such a session
//! ends with the access token of its login, however active its user is.

use std::sync::Arc;

use tracing::{info, warn};

use crate::Gateway;
use crate::bearer::BearerToken;
use crate::oidc::confirmation::Confirmation;
use crate::oidc::realm_check::CheckResult;
use crate::sessions::UserSession;

/// Checks a session if its last check is too old. A session that the realm refuses is ended. While
/// the realm cannot be reached, the session stays until its own end.
pub(crate) async fn check_session(gateway: &Gateway, session: &Arc<UserSession>) {
    let check = || {
        let (provider, sessions) = (Arc::clone(&gateway.provider), Arc::clone(&gateway.sessions));
        let session = Arc::clone(session);
        async move {
            let Some(tokens) = session.realm_tokens() else {
                return CheckResult::Decided;
            };
            match provider.refresh(&tokens).await {
                Some(Confirmation::Confirmed((user, tokens))) if user.id == session.user.id => {
                    sessions.renew(&session, user, tokens);
                    CheckResult::Decided
                }
                Some(Confirmation::Confirmed(_)) => {
                    info!(user.id = session.user.id, "the user has another name now");
                    sessions.end(&session);
                    CheckResult::Decided
                }
                Some(Confirmation::Refused(reason)) => {
                    info!(
                        user.id = session.user.id,
                        reason, "the realm ended a session"
                    );
                    sessions.end(&session);
                    CheckResult::Decided
                }
                Some(Confirmation::Unknown(cause)) => {
                    warn!(
                        error.message = cause,
                        "could not check a session at the realm"
                    );
                    CheckResult::Undecided
                }
                None => CheckResult::Decided,
            }
        }
    };
    session.check().run_if_due(check).await;
}

/// Checks a bearer token if its last check is too old. A token that the realm refuses is revoked.
/// While the realm cannot be reached, the token stays valid until it expires.
pub(crate) async fn check_bearer(gateway: &Gateway, bearer: &Arc<BearerToken>) {
    let check = || {
        let (provider, bearer) = (Arc::clone(&gateway.provider), Arc::clone(bearer));
        async move {
            let confirmation = provider
                .check_access_token(&bearer.token, &bearer.issuer)
                .await;
            match confirmation {
                Confirmation::Confirmed(()) => CheckResult::Decided,
                Confirmation::Refused(reason) => {
                    info!(
                        user.id = bearer.user.id,
                        reason, "the realm revoked a token"
                    );
                    bearer.revoke();
                    CheckResult::Decided
                }
                Confirmation::Unknown(cause) => {
                    warn!(
                        error.message = cause,
                        "could not check a token at the realm"
                    );
                    CheckResult::Undecided
                }
            }
        }
    };
    bearer.check().run_if_due(check).await;
}

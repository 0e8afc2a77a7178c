//! What tests of SQL share.

use std::fmt::Debug;

use sqlx::postgres::PgConnection;

/// Lets the statements of a transaction fail after 50 ms instead of waiting for a lock.
///
/// # Panics
/// Panics if the statement fails.
#[expect(clippy::expect_used, reason = "a helper of tests")]
pub async fn set_lock_timeout(transaction: &mut PgConnection) {
    sqlx::query("SET LOCAL lock_timeout = '50ms'")
        .execute(transaction)
        .await
        .expect("the timeout could not be set");
}

/// Asserts that the server refused a statement with this SQLSTATE code.
///
/// # Panics
/// Panics if the statement succeeded or failed with another code.
#[expect(clippy::expect_used, reason = "a helper of tests")]
#[track_caller]
pub fn assert_error_code<T: Debug>(outcome: Result<T, sqlx::Error>, expected: &str) {
    let error = outcome.expect_err("the statement succeeded");
    let code = error.as_database_error().and_then(|error| error.code());
    assert_eq!(code.as_deref(), Some(expected), "{error}");
}

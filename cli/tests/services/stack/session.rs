//! Sessions of the database that stay open during a test.

use std::process::Child;

use libtest_mimic::Failed;

use super::{eventually, spawn, sql};

/// A psql session that has executed a statement, such as one that takes a lock, and sleeps. It ends
/// when the value is dropped.
pub(crate) struct SleepingSession {
    process: Child,
    name: String,
}

impl SleepingSession {
    /// Starts a session and waits until it has executed the statement. The statement and the sleep
    /// are one transaction.
    pub(crate) fn start(statement: &str) -> Result<Self, Failed> {
        let name = format!("test-lock-holder-{:08x}", fastrand::u32(..));
        let script = format!("SET application_name = '{name}'; {statement}; SELECT pg_sleep(600)");
        let process = spawn(&["psql", "-c", &script])?;
        let session = Self { process, name };
        let sleeping = format!("{} AND wait_event = 'PgSleep'", session.query("count(*)"));
        eventually(&sleeping, "1")?;
        Ok(session)
    }

    /// Returns the process id of the server that serves the session.
    pub(crate) fn pid(&self) -> Result<String, Failed> {
        sql(&self.query("pid"))
    }

    fn query(&self, columns: &str) -> String {
        format!(
            "SELECT {columns} FROM pg_stat_activity WHERE application_name = '{}'",
            self.name
        )
    }
}

impl Drop for SleepingSession {
    fn drop(&mut self) {
        // The session may have ended.
        let _ = sql(&self.query("pg_terminate_backend(pid, 10000)"));
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

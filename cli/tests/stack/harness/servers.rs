//! The servers of a stack, reached over their own protocols.

use std::time::{Duration, Instant};

use lapin::{Connection, ConnectionProperties};
use serde_json::Value;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use super::Project;
use super::project::port;
use crate::secrets::{HARD, HARDEST};

/// Logs in to a database of the server at this port.
pub(crate) async fn login(
    port: u16,
    database: &str,
    user: &str,
    password: &str,
) -> Result<PgConnection, sqlx::Error> {
    let options = PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(port)
        .username(user)
        .password(password)
        .database(database)
        .ssl_mode(PgSslMode::Disable);
    PgConnection::connect_with(&options).await
}

/// The host ports of the servers of an instance.
pub(crate) struct Servers {
    pub postgres: u16,
    pub rabbitmq: u16,
    pub management: u16,
    pub openldap: u16,
    pub keycloak: u16,
}

impl Servers {
    /// Reads the ports from `dm status`.
    #[track_caller]
    pub(crate) fn from_status(project: &Project) -> Self {
        let status = project.status();
        Self {
            postgres: port(&status, "postgres", 0),
            rabbitmq: port(&status, "rabbitmq", 0),
            management: port(&status, "rabbitmq", 1),
            openldap: port(&status, "openldap", 0),
            keycloak: port(&status, "keycloak", 0),
        }
    }

    /// Logs in to the database of the stack.
    pub(crate) async fn database(
        &self,
        user: &str,
        password: &str,
    ) -> Result<PgConnection, sqlx::Error> {
        self.database_named("dundermifflin", user, password).await
    }

    /// Logs in to a database of the server.
    pub(crate) async fn database_named(
        &self,
        name: &str,
        user: &str,
        password: &str,
    ) -> Result<PgConnection, sqlx::Error> {
        login(self.postgres, name, user, password).await
    }

    /// Logs in to the database as the superuser.
    pub(crate) async fn superuser(&self) -> PgConnection {
        self.database("dundermifflin", HARD)
            .await
            .expect("could not log in as the superuser")
    }

    /// Logs in to the broker.
    pub(crate) async fn broker(&self, user: &str, password: &str) -> lapin::Result<Connection> {
        let uri = dm_amqp::build_uri(user, password, "127.0.0.1", self.rabbitmq, "/");
        Connection::connect_uri(uri, ConnectionProperties::default()).await
    }

    /// Returns an answer of the broker's management API.
    pub(crate) async fn management(&self, path: &str) -> Value {
        http()
            .get(format!("http://127.0.0.1:{}/api/{path}", self.management))
            .basic_auth("dunder", Some(HARDEST))
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .expect("the management API answers")
            .json()
            .await
            .expect("the management API answers with JSON")
    }

    /// Returns the answer of the management API once it is complete. The state of a queue is some
    /// seconds old, because the broker collects statistics at an interval.
    pub(crate) async fn management_until(
        &self,
        path: &str,
        is_complete: impl Fn(&Value) -> bool,
    ) -> Value {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let answer = self.management(path).await;
            if is_complete(&answer) {
                return answer;
            }
            assert!(
                Instant::now() < until,
                "the answer did not become complete: {answer:#}"
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Returns the base address of Keycloak.
    pub(crate) fn keycloak(&self) -> String {
        format!("http://localhost:{}", self.keycloak)
    }
}

/// Returns an HTTP client without a proxy.
pub(crate) fn http() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("could not create an HTTP client")
}

/// Runs SQL. The error is the SQLSTATE of the refusal.
pub(crate) async fn execute(connection: &mut PgConnection, sql: &str) -> Result<u64, String> {
    match connection.execute(AssertSqlSafe(sql)).await {
        Ok(done) => Ok(done.rows_affected()),
        Err(sqlx::Error::Database(error)) => Err(error.code().unwrap_or_default().into_owned()),
        Err(error) => panic!("the connection failed at {sql}: {error}"),
    }
}

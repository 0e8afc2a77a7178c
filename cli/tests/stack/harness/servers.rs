//! The servers of a stack, reached as any client reaches them.

use std::time::{Duration, Instant};

use lapin::{Connection, ConnectionProperties};
use serde_json::Value;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use super::Project;
use super::project::port;
use crate::secrets::{HARD, HARDEST};

/// Where the servers of an instance listen.
pub(crate) struct Servers {
    pub postgres: u16,
    pub rabbitmq: u16,
    pub management: u16,
    pub openldap: u16,
    pub keycloak: u16,
}

impl Servers {
    /// As `dm status` tells.
    #[track_caller]
    pub(crate) fn of(project: &Project) -> Self {
        let status = project.status();
        Self {
            postgres: port(&status, "postgres", 0),
            rabbitmq: port(&status, "rabbitmq", 0),
            management: port(&status, "rabbitmq", 1),
            openldap: port(&status, "openldap", 0),
            keycloak: port(&status, "keycloak", 0),
        }
    }

    /// Logs in to the database.
    pub(crate) async fn database(
        &self,
        user: &str,
        password: &str,
    ) -> Result<PgConnection, sqlx::Error> {
        let options = PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.postgres)
            .username(user)
            .password(password)
            .database("dundermifflin")
            .ssl_mode(PgSslMode::Disable);
        PgConnection::connect_with(&options).await
    }

    /// The database's superuser.
    pub(crate) async fn superuser(&self) -> PgConnection {
        self.database("dundermifflin", HARD)
            .await
            .expect("the superuser's password is the one of the tests")
    }

    /// Logs in to the broker.
    pub(crate) async fn broker(&self, user: &str, password: &str) -> lapin::Result<Connection> {
        let uri = dm_amqp::uri(user, password, "127.0.0.1", self.rabbitmq, "/");
        Connection::connect_uri(uri, ConnectionProperties::default()).await
    }

    /// What the broker's management API answers.
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
            .expect("it answers in JSON")
    }

    /// What the management API answers once it is complete: what it says of a queue's state
    /// trails the broker by its statistics' interval of some seconds.
    pub(crate) async fn management_once(
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
            assert!(Instant::now() < until, "never complete: {answer:#}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The base address of Keycloak.
    pub(crate) fn keycloak(&self) -> String {
        format!("http://localhost:{}", self.keycloak)
    }
}

/// An HTTP client that goes straight to its target.
pub(crate) fn http() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client needs nothing")
}

/// Runs SQL; the error is the SQLSTATE with which it was refused.
pub(crate) async fn execute(connection: &mut PgConnection, sql: &str) -> Result<u64, String> {
    match connection.execute(AssertSqlSafe(sql)).await {
        Ok(done) => Ok(done.rows_affected()),
        Err(sqlx::Error::Database(error)) => Err(error.code().unwrap_or_default().into_owned()),
        Err(error) => panic!("the connection failed at {sql}: {error}"),
    }
}

//! PostgreSQL: the database server of the stack.

use std::time::Duration;

use dm_config::Config;
use dm_engine::spec::{ContainerSpec, VolumeMount};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{ConnectOptions as _, Connection as _};

use super::client_location::{ClientLocation, ServerAddress};
use super::quote::{quote_identifier, quote_literal};
use super::{
    Component, ComponentError, GoldenData, HostPorts, InstanceLayout, Misconfiguration,
    PasswordReset, PortSpec, ProbeError, ProbeFuture, ResetStrategy, base_container_spec,
    host_port,
};

/// The component's name.
pub const NAME: &str = "postgres";

/// The port in its container.
pub const PORT: u16 = 5432;

/// Not the path of the official image, which declares it as a volume: the content
/// of a declared volume is lost in a derived image.
const DATA_DIR: &str = "/var/lib/postgresql/pgdata";

/// The user id of the server in its container, in the official image (Debian) and ours.
const UID: u32 = 999;

/// The directory from which the image's entrypoint copies an initial cluster.
const GOLDEN_DATA_DIR: &str = "/var/lib/dm-golden";

/// Prepares a copy of the initial cluster for the next start.
const RESET_COMMAND: &[&str] = &["docker-entrypoint.sh", "begin-anew"];

/// The maximum number of connections: 15 for each of the six services with a schema (6 for
/// requests, 6 for events, 2 for lists, 1 for the relay), 100 for Keycloak, 3 that the server
/// reserves for the superuser, and 57 for commands, backups, tests and second processes of services.
/// Each one needs about 40 KB of shared memory, used or not.
const MAX_CONNECTIONS: &str = "250";

/// The settings that precede those of the configuration. The server counts the rows of the
/// statements of a session that enables it, as backups do, and of no other session.
const REQUIRED_SETTINGS: [(&str, &str); 4] = [
    ("max_connections", MAX_CONNECTIONS),
    ("shared_preload_libraries", "pg_stat_statements"),
    ("pg_stat_statements.track", "none"),
    ("compute_query_id", "off"),
];

/// PostgreSQL.
#[derive(Debug, Clone)]
pub struct Postgres {
    config: dm_config::PostgresConfig,
}

impl Postgres {
    /// Creates the component from the configuration.
    #[must_use]
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            config: config.postgres.clone(),
        }
    }
}

/// Keeps statements with passwords, and their parameters, out of the server's log, and backslashes in
/// strings literal. It has no effect on a transaction that has begun: the server decides at the
/// begin whether the transaction is part of a logged sample.
pub(crate) const DISABLE_STATEMENT_LOG: &str = "SET log_statement = 'none'; SET log_min_duration_statement = -1; \
     SET log_min_duration_sample = -1; SET log_transaction_sample_rate = 0; \
     SET log_min_error_statement = 'panic'; SET log_parameter_max_length = 0; \
     SET log_parameter_max_length_on_error = 0; SET standard_conforming_strings = on";

/// Returns whether the server responds and rejects the role or its password.
fn is_authentication_failure(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(code.as_deref(), Some("28P01" | "28000"))
}

/// Returns the misconfiguration of a server that rejects its superuser's password.
fn authentication_misconfiguration(user: &str, answer: &str) -> Misconfiguration {
    Misconfiguration {
        problem: format!(
            "PostgreSQL rejects the password of `{user}` (postgres.password), and the password could \
             not be changed: {answer}"
        ),
        suggestions: vec![
            "set postgres.user and postgres.password to the values that the data was created with"
                .into(),
            "or discard the existing data: dm reset".into(),
        ],
    }
}

/// Returns the connection options of the superuser on the host.
#[must_use]
pub fn superuser_connect_options(
    config: &dm_config::PostgresConfig,
    ports: &HostPorts,
) -> PgConnectOptions {
    role_connect_options(
        &server_address(ClientLocation::Host(ports)),
        config.user.as_str(),
        &config.password.to_postgres_password(),
        config.database.as_str(),
    )
}

/// Returns the address of the server.
#[must_use]
pub fn server_address(location: ClientLocation<'_>) -> ServerAddress {
    location.server_address(NAME, "127.0.0.1", NAME, PORT)
}

/// Returns the connection options of a role in a database.
#[must_use]
pub fn role_connect_options(
    address: &ServerAddress,
    user: &str,
    password: &str,
    database: &str,
) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .host(&address.host)
        .port(address.port)
        .username(user)
        .password(password)
        .database(database)
        .ssl_mode(PgSslMode::Disable)
        .application_name("dm")
        .disable_statement_logging()
}

impl Component for Postgres {
    fn name(&self) -> &'static str {
        NAME
    }

    fn ports(&self) -> Vec<PortSpec> {
        vec![PortSpec {
            name: NAME,
            container_port: PORT,
            host_port: self.config.port.get(),
        }]
    }

    fn container_spec(&self, layout: &InstanceLayout<'_>) -> Result<ContainerSpec, ComponentError> {
        let mut spec = base_container_spec(self, layout);
        spec.env.extend([
            ("POSTGRES_USER".into(), self.config.user.to_string()),
            ("POSTGRES_DB".into(), self.config.database.to_string()),
            ("PGDATA".into(), DATA_DIR.into()),
        ]);
        let password = self.config.password.to_postgres_password();
        spec.add_secret_file("POSTGRES_PASSWORD", UID, &password);
        let required = REQUIRED_SETTINGS.map(|(key, value)| format!("{key}={value}"));
        let settings = self.config.settings.iter();
        let settings = settings.map(|(key, value)| format!("{key}={value}"));
        spec.command = vec!["postgres".into()];
        for setting in required.into_iter().chain(settings) {
            spec.command.extend(["-c".into(), setting]);
        }
        spec.mounts.push(VolumeMount {
            volume: layout.instance.volume_name(NAME),
            path: DATA_DIR.into(),
        });
        spec.memory = self.config.memory.map(|size| size.bytes());
        // The engine's default of 64 MB is too small for parallel queries.
        spec.shm_size = Some(256 << 20);
        // A smart shutdown would wait for clients; the image's signal asks for a
        // fast one, which only has to write a checkpoint.
        spec.stop_timeout = 30;
        Ok(spec)
    }

    fn probe(&self, ports: &HostPorts) -> ProbeFuture {
        // Over TCP and with a query: during the first initialisation the server
        // responds only on the socket, and the engine's port proxy accepts
        // connections before the server runs.
        let options = superuser_connect_options(&self.config, ports);
        let user = self.config.user.to_string();
        Box::pin(async move {
            let query = async {
                let mut connection = PgConnection::connect_with(&options).await?;
                sqlx::query("SELECT 1").execute(&mut connection).await?;
                connection.close().await
            };
            query.await.map_err(|error: sqlx::Error| {
                if is_authentication_failure(&error) {
                    ProbeError::Misconfigured(authentication_misconfiguration(
                        &user,
                        &error.to_string(),
                    ))
                } else {
                    ProbeError::NotReady(error.to_string())
                }
            })
        })
    }

    fn password_reset(&self) -> Option<PasswordReset> {
        // Connections to the socket in the container are trusted. The log is disabled: with
        // `log_statement` it would contain the password.
        let (user, database) = (&self.config.user, &self.config.database);
        let (role, password) = (
            quote_identifier(user.as_str()),
            quote_literal(&self.config.password.to_postgres_password()),
        );
        let command = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d"];
        let command = command.map(str::to_owned).into_iter();
        Some(PasswordReset {
            command: command
                .chain([database.to_string(), "-U".to_owned(), user.to_string()])
                .collect(),
            stdin: format!("{DISABLE_STATEMENT_LOG};\nALTER ROLE {role} PASSWORD {password};\n"),
        })
    }

    fn addresses(&self, ports: &HostPorts) -> Vec<String> {
        let port = host_port(ports, NAME);
        vec![format!(
            "postgres://{}@127.0.0.1:{port}/{}",
            self.config.user, self.config.database
        )]
    }

    fn golden_data(&self) -> Option<GoldenData> {
        Some(GoldenData::Copied {
            data_path: DATA_DIR,
            image_path: GOLDEN_DATA_DIR,
        })
    }

    fn reset_strategy(&self, _ports: &HostPorts) -> Option<ResetStrategy> {
        Some(ResetStrategy::AtNextStart(RESET_COMMAND))
    }

    fn wait_timeout(&self) -> Option<Duration> {
        self.config
            .wait_timeout
            .map(|timeout| timeout.as_duration())
    }
}

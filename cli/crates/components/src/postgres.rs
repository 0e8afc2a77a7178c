//! PostgreSQL: the one database of the stack.

use std::time::Duration;

use dm_config::Config;
use dm_engine::spec::{ContainerSpec, Mount};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{ConnectOptions as _, Connection as _};

use super::quote::{identifier, literal};
use super::reach::{Address, Reach};
use super::{
    Admission, Component, ComponentError, GoldenPart, PortWish, Ports, Probe, Refused, Renewal,
    Site, Unready, container, host_port,
};

/// The component's name.
pub const NAME: &str = "postgres";

/// Where it listens in its container.
pub const PORT: u16 = 5432;

/// Not the official image's own path: that one is declared as a volume there,
/// and what a derived image puts into a declared volume is lost.
const DATA: &str = "/var/lib/postgresql/pgdata";

/// Who the server is in its container, in the official image (Debian) and the built one.
const UID: u32 = 999;

/// Where the image's entrypoint looks for a cluster to begin with.
const GOLDEN: &str = "/var/lib/dm-golden";

/// Lays a copy of that ready for the next start.
const BEGIN_ANEW: &[&str] = &["docker-entrypoint.sh", "begin-anew"];

/// What is set before whatever the configuration sets. Of a session that asks for it the
/// server notes how many rows its statements gave, as backups do; of others nothing.
const OWN_SETTINGS: [(&str, &str); 3] = [
    ("shared_preload_libraries", "pg_stat_statements"),
    ("pg_stat_statements.track", "none"),
    ("compute_query_id", "off"),
];

/// PostgreSQL.
#[derive(Debug, Clone)]
pub struct Postgres {
    config: dm_config::Postgres,
}

impl Postgres {
    /// PostgreSQL as configured.
    #[must_use]
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            config: config.postgres.clone(),
        }
    }
}

/// Keeps statements that hold passwords out of the server's log, and strings in them as they
/// are.
pub(crate) const QUIET: &str = "SET log_statement = 'none'; SET log_min_duration_statement = -1; \
     SET log_min_error_statement = 'panic'; SET standard_conforming_strings = on";

/// Whether a server answers and does not let the role in.
fn is_refused(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(code.as_deref(), Some("28P01" | "28000"))
}

/// A server that does not let its superuser in.
fn refused(user: &str, answer: &str) -> Refused {
    Refused {
        what: format!(
            "PostgreSQL rejects the password of `{user}` (postgres.password), and the password could \
             not be changed: {answer}"
        ),
        next: vec![
            "set postgres.user and postgres.password to the values that the data was created with"
                .into(),
            "or discard the existing data: dm reset".into(),
        ],
    }
}

/// How the host reaches the stack's database as its superuser.
#[must_use]
pub fn connect_options(config: &dm_config::Postgres, ports: &Ports) -> PgConnectOptions {
    options(
        &address(Reach::Published(ports)),
        config.user.as_str(),
        &config.password.for_postgres(),
        config.database.as_str(),
    )
}

/// Where the server listens.
#[must_use]
pub fn address(reach: Reach<'_>) -> Address {
    reach.address(NAME, "127.0.0.1", NAME, PORT)
}

/// How a database is reached by this role.
#[must_use]
pub fn options(address: &Address, user: &str, password: &str, database: &str) -> PgConnectOptions {
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

    fn ports(&self) -> Vec<PortWish> {
        vec![PortWish {
            name: NAME,
            container: PORT,
            host: self.config.port.get(),
        }]
    }

    fn specify(&self, site: &Site<'_>) -> Result<ContainerSpec, ComponentError> {
        let mut spec = container(self, site);
        spec.env.extend([
            ("POSTGRES_USER".into(), self.config.user.to_string()),
            ("POSTGRES_DB".into(), self.config.database.to_string()),
            ("PGDATA".into(), DATA.into()),
        ]);
        let password = self.config.password.for_postgres();
        spec.hand_over("POSTGRES_PASSWORD", UID, &password);
        let own = OWN_SETTINGS.map(|(key, value)| format!("{key}={value}"));
        let settings = self.config.settings.iter();
        let settings = settings.map(|(key, value)| format!("{key}={value}"));
        spec.command = vec!["postgres".into()];
        for setting in own.into_iter().chain(settings) {
            spec.command.extend(["-c".into(), setting]);
        }
        spec.mounts.push(Mount {
            volume: site.instance.volume(NAME),
            path: DATA.into(),
        });
        spec.memory = self.config.memory.map(|size| size.bytes());
        // The engine's 64 MB are too little for parallel queries.
        spec.shm_size = Some(256 << 20);
        // A smart shutdown would wait for clients; the image's signal asks for a
        // fast one, which only has to write a checkpoint.
        spec.stop_timeout = 30;
        Ok(spec)
    }

    fn probe(&self, ports: &Ports) -> Probe {
        // Over TCP and with a query: during the first initialisation a server
        // answers on the socket alone, and the engine's port proxy accepts
        // connections before there is any server.
        let options = connect_options(&self.config, ports);
        let user = self.config.user.to_string();
        Box::pin(async move {
            let answer = async {
                let mut connection = PgConnection::connect_with(&options).await?;
                sqlx::query("SELECT 1").execute(&mut connection).await?;
                connection.close().await
            };
            answer.await.map_err(|error: sqlx::Error| {
                if is_refused(&error) {
                    Unready::Refused(refused(&user, &error.to_string()))
                } else {
                    Unready::Yet(error.to_string())
                }
            })
        })
    }

    fn admission(&self) -> Option<Admission> {
        // The socket in the container trusts whoever reaches it. Without the server's log:
        // with `log_statement` it would have the password.
        let (user, database) = (&self.config.user, &self.config.database);
        let (role, password) = (
            identifier(user.as_str()),
            literal(&self.config.password.for_postgres()),
        );
        let command = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d"];
        let command = command.map(str::to_owned).into_iter();
        Some(Admission {
            command: command
                .chain([database.to_string(), "-U".to_owned(), user.to_string()])
                .collect(),
            input: format!("{QUIET};\nALTER ROLE {role} PASSWORD {password};\n"),
        })
    }

    fn addresses(&self, ports: &Ports) -> Vec<String> {
        let port = host_port(ports, NAME);
        vec![format!(
            "postgres://{}@127.0.0.1:{port}/{}",
            self.config.user, self.config.database
        )]
    }

    fn golden(&self) -> Option<GoldenPart> {
        Some(GoldenPart::Copied {
            data: DATA,
            kept: GOLDEN,
        })
    }

    fn renewal(&self, _ports: &Ports) -> Option<Renewal> {
        Some(Renewal::Starting(BEGIN_ANEW))
    }

    fn wait_timeout(&self) -> Option<Duration> {
        self.config.wait_timeout.map(|wait| wait.get())
    }
}

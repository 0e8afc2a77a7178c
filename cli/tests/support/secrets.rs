//! The secrets of the tests' stacks. They contain characters that are special in shells, URLs,
//! JSON, SQL, properties files and templates, so that every test covers the quoting.

/// A secret that every client of PostgreSQL sends unchanged.
pub(crate) const HARD: &str =
    " p$$a${HOME}b\"c\\d e+f%41@:/'#;é€漢\\$x\\\\&<>|`~^*?![]()={{y}}${vault.z}, ";

/// The same with a character that SASLprep rejects.
pub(crate) const HARDEST: &str =
    " p$$a${HOME}b\"c\\d e+f%41@:/'#;é€漢\\$x\\\\&<>|`~^*?![]()={{y}}${vault.z}, 🔑 ";

/// Returns the environment variables that set every secret of `dm.toml`.
pub(crate) fn variables() -> Vec<(String, String)> {
    let infrastructure = [
        ("DM_POSTGRES__PASSWORD", HARD),
        ("DM_RABBITMQ__PASSWORD", HARDEST),
        ("DM_OPENLDAP__ADMIN_PASSWORD", HARDEST),
        ("DM_OPENLDAP__CONFIG_PASSWORD", HARDEST),
        ("DM_KEYCLOAK__ADMIN_PASSWORD", HARDEST),
        ("DM_KEYCLOAK__DATABASE_PASSWORD", HARD),
        ("DM_KEYCLOAK__GATEWAY_CLIENT_SECRET", HARDEST),
        ("DM_KEYCLOAK__OBSERVABILITY_CLIENT_SECRET", HARDEST),
    ]
    .map(|(name, secret)| (name.to_owned(), secret.to_owned()));
    let services = ["PROFILE", "SALES", "ORDER", "INVENTORY", "FINANCE", "WUPHF"];
    let services = services.into_iter().flat_map(|name| {
        [
            (
                format!("DM_SERVICES__{name}__DATABASE_PASSWORD"),
                HARD.to_owned(),
            ),
            (
                format!("DM_SERVICES__{name}__BROKER_PASSWORD"),
                HARDEST.to_owned(),
            ),
        ]
    });
    infrastructure.into_iter().chain(services).collect()
}

//! `dm token`.

use clap::Args;
use dm_components::keycloak;
use dm_components::keycloak::token::{Claims, Tokens, claims, sign_in};
use dm_core::error::{Exit, Result};
use dm_operations::session::existing_ports;
use serde::Serialize;

use crate::context::Context;

/// Sign a person in, by the realm's login page, and print the access token.
///
/// The token alone goes to stdout; whose it is and what it allows to stderr:
/// `curl -H "Authorization: Bearer $(dm token jhalpert)" …`
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// The user's name, e.g. jhalpert.
    user: String,
    /// The password; every seeded person's is `password`.
    #[arg(
        long,
        env = "DM_TOKEN_PASSWORD",
        default_value = "password",
        hide_env_values = true,
        allow_hyphen_values = true
    )]
    password: String,
}

/// `dm token --json`.
#[derive(Debug, Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    tokens: &'a Tokens,
    claims: &'a Claims,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let project = context.session.project()?;
    let engine = context.session.engine(project.config()).await?;
    let ports = existing_ports(&project, &engine).await?;
    let realm = project.config().keycloak.realm.as_str();
    let base = keycloak::base_url(&ports);
    let tokens = sign_in(&base, realm, &arguments.user, &arguments.password).await?;
    let claims = claims(&tokens.access_token)?;
    if context.printer.is_json() {
        context.printer.document(
            "dm.token/1",
            &Document {
                tokens: &tokens,
                claims: &claims,
            },
        )?;
        return Ok(Exit::Success);
    }
    let name = claims.name.as_deref().unwrap_or(&arguments.user);
    let roles = claims.roles();
    let roles = if roles.is_empty() {
        "no role".to_owned()
    } else {
        roles.join(", ")
    };
    context.printer.note(&format!(
        "{name}: {roles}; expires in {} s",
        tokens.expires_in
    ));
    context.printer.data(&tokens.access_token)?;
    Ok(Exit::Success)
}

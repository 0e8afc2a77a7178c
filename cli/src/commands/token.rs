//! `dm token`.

use clap::Args;
use dm_components::keycloak;
use dm_components::keycloak::sign_in::{AccessTokenClaims, TokenResponse, decode_claims, sign_in};
use dm_components::service::{GATEWAY, base_url};
use dm_core::error::{ExitStatus, Result};
use dm_operations::session::existing_ports;
use serde::Serialize;

use crate::context::Context;

/// Get an access token for a user.
///
/// Signs the user in through the login page of the realm. Prints the token to stdout, and the
/// name, the roles, the lifetime and its use to stderr. The token opens every route of the gateway
/// that the roles permit; `dm call` signs in and calls a route.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Examples:
  dm token mscott
  TOKEN=$(dm token dphilbin)")]
pub(crate) struct Arguments {
    /// User name, e.g. jhalpert.
    user: String,
    /// Password of the user.
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
struct TokenDocument<'a> {
    #[serde(flatten)]
    tokens: &'a TokenResponse,
    claims: &'a AccessTokenClaims,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<ExitStatus> {
    let project = context.session.project()?;
    let engine = context.session.engine(project.config()).await?;
    let ports = existing_ports(&project, &engine).await?;
    let realm = project.config().keycloak.realm.as_str();
    let base = keycloak::base_url(&ports);
    let tokens = sign_in(&base, realm, &arguments.user, &arguments.password).await?;
    let claims = decode_claims(&tokens.access_token)?;
    if context.printer.is_json() {
        context.printer.print_document(
            &dm_core::document::TOKEN,
            &TokenDocument {
                tokens: &tokens,
                claims: &claims,
            },
        )?;
        return Ok(ExitStatus::Success);
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
    let gateway = base_url(GATEWAY, &ports);
    let token = context
        .session
        .dm_command(&format!("token {}", arguments.user));
    context.printer.note(&format!(
        "use it: curl -H \"Authorization: Bearer $({token})\" {gateway}/api/v1/auth/me"
    ));
    let call = context
        .session
        .dm_command(&format!("call /auth/me --user {}", arguments.user));
    context
        .printer
        .note(&format!("or sign in and call: {call}"));
    context.printer.write_stdout(&tokens.access_token)?;
    Ok(ExitStatus::Success)
}

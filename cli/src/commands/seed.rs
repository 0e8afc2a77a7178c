//! `dm seed`.

use clap::Args;
use tokio::time::Instant;

use super::context::{Context, existing_ports};
use crate::client::Site;
use crate::data::seed::{self, Filling, SeedError, SeedFile};
use crate::error::{Exit, Result};
use crate::output;

/// Fill the running stack with a demo's business: leads, clients, orders, expenses.
///
/// Everything goes in at the gateway, as real people and by the services' own rules, so
/// that live events are seen. A number gives the same demo each time. What it is made
/// of stands in fixtures/demo/seed.toml.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// Which demo; another number is another one.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed_number: u64,
    /// Add to what is there; no company comes twice.
    #[arg(long)]
    append: bool,
    /// The password of the people who sign in.
    #[arg(
        long,
        env = "DM_TOKEN_PASSWORD",
        default_value = "password",
        hide_env_values = true
    )]
    password: String,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let began = Instant::now();
    let project = context.project()?;
    let file = SeedFile::read(&project.loaded.root)?;
    let engine = context.engine(project.config()).await?;
    let ports = existing_ports(&project, &engine).await?;
    let config = project.config();
    let site = Site::new(
        &ports,
        config.keycloak.realm.as_str(),
        &arguments.password,
        config.services.all().map(|(name, _)| name),
    );
    // Two at once would take the same companies.
    let _guard = context.lock(&project, "dm seed").await?;
    let (existing, companies) = seed::existing(&site, &file).await?;
    if !existing.is_empty() && !arguments.append {
        return Err(SeedError::NotEmpty(existing).into());
    }
    let filling = Filling::prepare(&site, &file, arguments.seed_number, &companies).await?;
    let printer = &context.printer;
    let told = |sentence: &str| printer.note(sentence);
    let made = seed::fill(&filling, &context.interrupt, told).await?;
    let document = output::seed::Document {
        seed_number: arguments.seed_number,
        made,
        took: began.elapsed(),
    };
    if printer.is_json() {
        printer.document(output::seed::SCHEMA, &document)?;
    } else {
        printer.data(&output::seed::render(&document, &printer.out()))?;
    }
    Ok(Exit::Success)
}

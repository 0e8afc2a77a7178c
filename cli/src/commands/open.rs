//! `dm open`.

use clap::Args;
use dm_core::error::{ExitStatus, Result, UserError};
use dm_core::error_code::ErrorCode;
use dm_host::browser;
use thiserror::Error;

use dm_operations::session::existing_ports;

use crate::context::Context;

/// Open the web page of a component in the browser.
///
/// Prints the address as well.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Examples:
  dm open
  dm open rabbitmq
  dm open gateway --print")]
pub(crate) struct Arguments {
    /// Component: a service, keycloak or rabbitmq.
    #[arg(default_value = "keycloak", value_name = "COMPONENT")]
    name: String,
    /// Print the address without opening it.
    #[arg(long)]
    print: bool,
}

/// The component has no web page.
#[derive(Debug, Error)]
#[error("could not open {name}: it has no web page")]
struct NoPageError {
    name: String,
    pages: Vec<&'static str>,
}

impl UserError for NoPageError {
    fn code(&self) -> ErrorCode {
        ErrorCode::ComponentHasNoPage
    }

    fn exit_status(&self) -> ExitStatus {
        ExitStatus::Usage
    }

    fn suggestions(&self) -> Vec<String> {
        vec![format!(
            "components with a web page: {}",
            self.pages.join(", ")
        )]
    }
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<ExitStatus> {
    let project = context.session.project()?;
    let engine = context.session.engine(project.config()).await?;
    let ports = existing_ports(&project, &engine).await?;
    let components = project.components(None);
    let page = components
        .iter()
        .find(|component| component.name() == arguments.name)
        .and_then(|component| component.page_url(&ports));
    let Some(page) = page else {
        let pages = components
            .iter()
            .filter(|component| component.page_url(&ports).is_some())
            .map(|component| component.name())
            .collect();
        return Err(NoPageError {
            name: arguments.name,
            pages,
        }
        .into());
    };
    context.printer.write_stdout(&page)?;
    if !arguments.print && !browser::open_url(&page) {
        context
            .printer
            .note("could not find a browser: open the address yourself");
    }
    Ok(ExitStatus::Success)
}

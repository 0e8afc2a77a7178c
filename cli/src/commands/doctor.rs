use super::context::Context;
use crate::error::{Exit, Result};
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {}
pub async fn run(_: &Context, _: Arguments) -> Result<Exit> {
    Ok(Exit::Success)
}

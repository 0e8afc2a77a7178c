//! The process of the gateway.

use std::process::ExitCode;

fn main() -> ExitCode {
    dm_kit::run_stateless(&gateway::SERVICE, gateway::build)
}

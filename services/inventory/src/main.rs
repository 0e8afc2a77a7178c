//! The process of the service.

use std::process::ExitCode;

fn main() -> ExitCode {
    dm_kit::run(
        &inventory_service::SERVICE,
        inventory_service::SCHEMA,
        inventory_service::build,
    )
}

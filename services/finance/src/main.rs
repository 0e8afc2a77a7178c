//! The process of the service.

use std::process::ExitCode;

fn main() -> ExitCode {
    dm_kit::run(
        &finance_service::SERVICE,
        finance_service::SCHEMA,
        finance_service::build,
    )
}

//! The process of the service.

use std::process::ExitCode;

fn main() -> ExitCode {
    dm_kit::run(
        &profile_service::SERVICE,
        profile_service::SCHEMA,
        profile_service::build,
    )
}

//! The process of the service.

use std::process::ExitCode;

fn main() -> ExitCode {
    dm_kit::run(
        &wuphf_service::SERVICE,
        wuphf_service::SCHEMA,
        wuphf_service::build,
    )
}

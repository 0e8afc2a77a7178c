//! The process of the service.

use std::process::ExitCode;

fn main() -> ExitCode {
    dm_kit::run(
        &sales_service::SERVICE,
        sales_service::SCHEMA,
        sales_service::build,
    )
}

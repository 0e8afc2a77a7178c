//! The process of the service.

use std::process::ExitCode;

fn main() -> ExitCode {
    dm_kit::run(
        &order_service::SERVICE,
        order_service::SCHEMA,
        order_service::build,
    )
}

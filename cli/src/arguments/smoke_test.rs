//! The options of the smoke test.

use clap::Args;
use dm_core::number::whole_number;
use dm_operations::smoke;

/// The options of the smoke test.
#[derive(Debug, Clone, Args)]
pub(crate) struct SmokeArgs {
    /// Number of runs of the smoke test; the first failure ends the command.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = whole_number::<u16>(1..=u16::MAX), allow_negative_numbers = true)]
    repeat: u16,
    /// Password of the users who sign in.
    #[arg(
        long,
        env = "DM_TOKEN_PASSWORD",
        default_value = "password",
        hide_env_values = true,
        allow_hyphen_values = true
    )]
    password: String,
}

impl From<SmokeArgs> for smoke::SmokeTest {
    fn from(arguments: SmokeArgs) -> Self {
        Self {
            repeat: arguments.repeat,
            password: arguments.password,
        }
    }
}

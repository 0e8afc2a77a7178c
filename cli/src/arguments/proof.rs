//! How a running stack is proved.

use clap::Args;
use dm_operations::smoke;

/// How a running stack is proved.
#[derive(Debug, Clone, Args)]
pub(crate) struct Proof {
    /// Run it so many times; the first failure ends it.
    #[arg(long, default_value_t = 1, value_name = "TIMES", value_parser = clap::value_parser!(u16).range(1..))]
    repeat: u16,
    /// The password of the people who sign in.
    #[arg(
        long,
        env = "DM_TOKEN_PASSWORD",
        default_value = "password",
        hide_env_values = true,
        allow_hyphen_values = true
    )]
    password: String,
}

impl From<Proof> for smoke::Proof {
    fn from(proof: Proof) -> Self {
        Self {
            repeat: proof.repeat,
            password: proof.password,
        }
    }
}

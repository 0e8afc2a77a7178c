//! `dm seed`.

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::Args;
use dm_core::error::{Exit, Result};
use dm_operations::reset;
use dm_operations::seed::{PASSWORD, Scale, Seed};
use dm_seed::SeedFile;
use dm_seed::past::Only;

use crate::context::Context;
use crate::views;

/// What sets the password for all commands.
const PASSWORD_VARIABLE: &str = "DM_TOKEN_PASSWORD";

/// Fill the running stack with a business: leads, clients, orders, expenses.
///
/// A demo has a past of 240 orders, and then goes in at the gateway, as real people and by
/// the services' own rules, so that live events are seen. Any other scale is a past of
/// months alone, written straight into the tables as if its events had flowed. A number
/// gives the same business each time. docs/seed.md tells more.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// How much: `demo`, or `small`, `medium`, `large` with 1,000, 10,000, 100,000 orders,
    /// or a number of orders.
    #[arg(long, value_name = "SCALE", default_value = "demo", value_parser = Scale::parse)]
    scale: Scale,
    /// Which business; another number is another one.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed_number: u64,
    /// Only the past of the business that begins at this service.
    #[arg(long, value_name = "SERVICE")]
    only: Option<Only>,
    /// Add to what is there; no company comes twice.
    #[arg(long, conflicts_with = "fresh")]
    append: bool,
    /// Throw all data of the stack away first, as `dm reset` does.
    #[arg(long, conflicts_with = "from")]
    fresh: bool,
    /// Carry on with a past that was cut short.
    #[arg(long, conflicts_with_all = ["scale", "seed_number", "only", "append", "fresh", "days", "until", "from"])]
    resume: bool,
    /// Somebody's own business: leads, orders and expenses in this folder, each as .csv or
    /// .json. Nothing is loaded where anything is wrong.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["scale", "seed_number", "only", "days", "until"])]
    from: Option<PathBuf>,
    /// How many days a past takes; 90, unless it is given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(3..=3650))]
    days: Option<u16>,
    /// The day on which a past ends; today, unless it is given.
    #[arg(long, value_name = "DATE")]
    until: Option<NaiveDate>,
    /// Don't ask before data is thrown away.
    #[arg(long, short)]
    yes: bool,
    /// The password of the people who sign in.
    #[arg(
        long,
        env = PASSWORD_VARIABLE,
        default_value = PASSWORD,
        hide_env_values = true,
        allow_hyphen_values = true
    )]
    password: String,
}

impl From<Arguments> for Seed {
    fn from(arguments: Arguments) -> Self {
        Self {
            scale: arguments.scale,
            number: arguments.seed_number,
            only: arguments.only,
            append: arguments.append,
            resume: arguments.resume,
            from: arguments.from,
            days: arguments.days,
            until: arguments.until,
            password: arguments.password,
        }
    }
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let session = &context.session;
    let (fresh, yes) = (arguments.fresh, arguments.yes);
    let seed = Seed::from(arguments);
    seed.check()?;
    let project = session.project()?;
    if fresh {
        // What can be wrong with it should be told while the data is still there.
        SeedFile::read(&project.loaded.root)?;
        reset::confirm(session, &project, yes)?;
    }
    // Two at once would take the same companies. One lock for all of it: whatever waits
    // must not come between the reset and the seed.
    let _guard = session.lock(&project, "dm seed").await?;
    if fresh {
        let brought = reset::fresh(session, &project, yes).await?.complete()?;
        let rows = brought.status().await?;
        views::status::show(&context.printer, &brought.stack.instance.name, &rows)?;
    }
    let by_variable = std::env::var_os(PASSWORD_VARIABLE).is_some();
    if ignores_password(&seed, by_variable) {
        context
            .printer
            .warn("--password has no effect: only a demo signs people in");
    }
    let seeded = seed.fill(session).await?;
    views::seed::show(&context.printer, seeded)?;
    Ok(Exit::Success)
}

/// True if the command line has a password and the seed signs no user in.
fn ignores_password(seed: &Seed, by_variable: bool) -> bool {
    // The variable is there for all commands.
    seed.password != PASSWORD && !by_variable && !seed.signs_in()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_for_a_demo() {
        let given = |password: &str, scale| Seed {
            password: password.to_owned(),
            ..Seed::of(scale)
        };
        assert!(ignores_password(&given("other", Scale::Orders(10)), false));
        for (password, scale) in [("other", Scale::Demo), (PASSWORD, Scale::Orders(10))] {
            assert!(!ignores_password(&given(password, scale), false));
        }
        let from = Seed {
            from: Some(PathBuf::from("business")),
            ..given("other", Scale::Demo)
        };
        assert!(ignores_password(&from, false));
    }
}

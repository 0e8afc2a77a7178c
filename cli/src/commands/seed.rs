//! `dm seed`.

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::Args;
use dm_core::error::{ExitStatus, Result};
use dm_core::number::whole_number;
use dm_operations::reset;
use dm_operations::seed::{FIXTURE_PASSWORD, Seed, SeedScale};
use dm_seed::SeedFile;
use dm_seed::history::HistorySlice;

use crate::context::Context;
use crate::views;

/// The environment variable with the password for all commands.
const PASSWORD_VARIABLE: &str = "DM_TOKEN_PASSWORD";

/// Load demo data, months of history, or your own data.
///
/// The data consists of leads, clients, orders, expenses and profiles. The scale `demo` loads
/// 90 days of history with 240 orders into an empty stack, and then creates more data through
/// the gateway, as signed-in users, so that live events flow. Any other scale loads history
/// only, written directly into the tables as if its events had been published and processed.
/// See docs/seed.md for details.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Examples:
  dm seed
  dm seed --scale medium --days 30
  dm seed --import my-data --append")]
pub(crate) struct Arguments {
    /// Amount of data: demo, small, medium, large, or a number of orders.
    ///
    /// The scales small, medium and large are 1,000, 10,000 and 100,000 orders. There is one
    /// lead for every 10 orders, and one expense for every 5.
    #[arg(long, value_name = "SCALE", default_value = "demo", value_parser = SeedScale::parse)]
    scale: SeedScale,
    /// Seed of the data generator; the same number yields the same data.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole_number::<u64>(0..=u64::MAX), allow_negative_numbers = true)]
    seed_number: u64,
    /// Load only the history that starts in this service.
    ///
    /// Includes the data in other services that results from it. Requires a --scale other than
    /// demo.
    #[arg(long, value_name = "SERVICE")]
    service: Option<HistorySlice>,
    /// Add to the existing data, without duplicating companies.
    #[arg(long, conflicts_with = "fresh")]
    append: bool,
    /// Remove all data of the stack first, like `dm reset`.
    #[arg(long, conflicts_with = "import")]
    fresh: bool,
    /// Complete a history whose load was interrupted.
    #[arg(long, conflicts_with_all = ["scale", "seed_number", "service", "append", "fresh", "days", "end_date", "import"])]
    resume: bool,
    /// Import leads, orders and expenses from this directory.
    ///
    /// Each of them is a .csv or a .json file. If any record is invalid, nothing is loaded. See
    /// docs/seed.md for the columns.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["scale", "seed_number", "service", "days", "end_date"])]
    import: Option<PathBuf>,
    /// Length of the history in days [default: 90].
    ///
    /// Requires a --scale other than demo.
    #[arg(long, value_name = "N", value_parser = whole_number::<u16>(3..=3650), allow_negative_numbers = true)]
    days: Option<u16>,
    /// Day before which the history ends, e.g. `2026-02-03` [default: today].
    ///
    /// Requires a --scale other than demo.
    #[arg(long, value_name = "DATE")]
    end_date: Option<NaiveDate>,
    /// Do not ask for confirmation before data is removed.
    #[arg(long, short)]
    yes: bool,
    /// Password of the users who sign in for the demo.
    #[arg(
        long,
        env = PASSWORD_VARIABLE,
        default_value = FIXTURE_PASSWORD,
        hide_env_values = true,
        allow_hyphen_values = true
    )]
    password: String,
}

impl From<Arguments> for Seed {
    fn from(arguments: Arguments) -> Self {
        Self {
            scale: arguments.scale,
            seed_number: arguments.seed_number,
            only: arguments.service,
            append: arguments.append,
            resume: arguments.resume,
            import_dir: arguments.import,
            days: arguments.days,
            end_date: arguments.end_date,
            password: arguments.password,
        }
    }
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<ExitStatus> {
    let session = &context.session;
    let (fresh, yes) = (arguments.fresh, arguments.yes);
    let seed = Seed::from(arguments);
    seed.validate()?;
    let project = session.project()?;
    if fresh {
        // An invalid seed file must be reported before the data is removed.
        SeedFile::load(&project.loaded.root)?;
        reset::confirm(session, &project, yes)?;
    }
    // Two concurrent seeds would use the same companies. One lock for both steps: no waiting
    // command may run between the reset and the seed.
    let _guard = session.lock(&project, "dm seed").await?;
    if fresh {
        let run = reset::reset_and_bring_up(session, &project, yes)
            .await?
            .into_result()?;
        let rows = run.status().await?;
        views::status::print(&context.printer, &run.stack.instance.name, &rows)?;
    }
    let is_from_variable = std::env::var_os(PASSWORD_VARIABLE).is_some();
    if ignores_password(&seed, is_from_variable) {
        context
            .printer
            .warn("--password has no effect: only a demo signs users in");
    }
    let result = seed.run(session).await?;
    views::seed::print(&context.printer, result)?;
    Ok(ExitStatus::Success)
}

/// Returns whether the command line has a password and the seed signs no user in.
fn ignores_password(seed: &Seed, is_from_variable: bool) -> bool {
    // The variable applies to all commands.
    seed.password != FIXTURE_PASSWORD && !is_from_variable && !seed.needs_sign_in()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignores_password_unless_the_seed_is_a_demo() {
        let seed = |password: &str, scale| Seed {
            password: password.to_owned(),
            ..Seed::new(scale)
        };
        assert!(ignores_password(
            &seed("other", SeedScale::Orders(10)),
            false
        ));
        for (password, scale) in [
            ("other", SeedScale::Demo),
            (FIXTURE_PASSWORD, SeedScale::Orders(10)),
        ] {
            assert!(!ignores_password(&seed(password, scale), false));
        }
        let import = Seed {
            import_dir: Some(PathBuf::from("business")),
            ..seed("other", SeedScale::Demo)
        };
        assert!(ignores_password(&import, false));
    }
}

//! `dm seed`.

mod render;

use std::path::PathBuf;

use chrono::{NaiveDate, TimeDelta, Utc};
use clap::Args;
use dm_business::Invention;
use dm_core::error::{Exit, Result};
use dm_messaging::memory;
use dm_seed::own::{Ground, Own};
use dm_seed::past::{self, Loaded, Only, Request, Run, Schemas};
use dm_seed::{Made, SeedError, SeedFile, front};
use dm_terminal::counter::Counter;
use sqlx::PgPool;
use tokio::time::Instant;

use super::context::Context;
use super::desk::Desk;
use super::reset;

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

/// How much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// What one can look through, live.
    Demo,
    /// A past with so many orders.
    Orders(u64),
}

/// What nobody has the disk for.
const MOST_ORDERS: u64 = 100_000_000;

impl Arguments {
    /// A seed of a scale, and nothing else said.
    pub(super) fn of(scale: Scale) -> Self {
        Self {
            scale,
            seed_number: 1,
            only: None,
            append: false,
            fresh: false,
            resume: false,
            from: None,
            days: None,
            until: None,
            yes: false,
            password: PASSWORD.to_owned(),
        }
    }

    /// True if the command line has a password and the seed signs no user in.
    fn ignores_password(&self, by_variable: bool) -> bool {
        let signs_in = self.from.is_none() && self.scale == Scale::Demo && !self.resume;
        // The variable is there for all commands.
        self.password != PASSWORD && !by_variable && !signs_in
    }
}

/// How many days a past takes, unless somebody says otherwise.
const DAYS: u16 = 90;
/// How many orders a demo has behind it.
const DEMO_ORDERS: u64 = 240;
/// The password of the people of the fixtures.
const PASSWORD: &str = "password";
/// What sets it for all commands.
const PASSWORD_VARIABLE: &str = "DM_TOKEN_PASSWORD";

impl Scale {
    pub(super) fn parse(text: &str) -> std::result::Result<Self, String> {
        let orders = match text {
            "demo" => return Ok(Self::Demo),
            "small" => 1_000,
            "medium" => 10_000,
            "large" => 100_000,
            number => number
                .replace(['_', ','], "")
                .parse()
                .ok()
                .filter(|orders| (1..=MOST_ORDERS).contains(orders))
                .ok_or("demo, small, medium, large, or a number of orders from 1 to 100,000,000")?,
        };
        Ok(Self::Orders(orders))
    }
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let of_a_past =
        arguments.only.is_some() || arguments.days.is_some() || arguments.until.is_some();
    if arguments.scale == Scale::Demo && of_a_past {
        return Err(SeedError::DemoIsWhole.into());
    }
    let project = context.project()?;
    if arguments.fresh {
        // What can be wrong with it should be told while the data is still there.
        SeedFile::read(&project.loaded.root)?;
        reset::confirm(context, &project, arguments.yes)?;
    }
    // Two at once would take the same companies. One lock for all of it: whatever waits
    // must not come between the reset and the seed.
    let _guard = context.lock(&project, "dm seed").await?;
    if arguments.fresh {
        reset::fresh(context, &project, arguments.yes).await?;
    }
    fill(context, &arguments).await
}

/// Fills the stack. The caller has the instance's lock.
///
/// # Errors
/// A part of the stack is away, or there is something in it already.
pub(super) async fn fill(context: &Context, arguments: &Arguments) -> Result<Exit> {
    let began = Instant::now();
    let by_variable = std::env::var_os(PASSWORD_VARIABLE).is_some();
    if arguments.ignores_password(by_variable) {
        context
            .printer
            .warn("--password has no effect: only a demo signs people in");
    }
    let desk = Desk::open(context).await?;
    let seeding = async {
        match (&arguments.from, arguments.scale) {
            (Some(_), _) => own(context, &desk, arguments).await,
            (None, Scale::Demo) if !arguments.resume => demo(context, &desk, arguments).await,
            (None, _) => a_past(context, &desk, arguments).await,
        }
    };
    let seeded = desk.watched(seeding).await.map_err(SeedError::Blocked)?;
    let (seed, made, rows) = seeded?;
    let document = render::Document {
        seed_number: seed,
        made,
        rows,
        took: began.elapsed(),
    };
    let printer = &context.printer;
    if printer.is_json() {
        printer.document(render::SCHEMA, &document)?;
    } else {
        printer.data(&render::render(&document, &printer.out()))?;
    }
    Ok(Exit::Success)
}

/// Which number, what was made, and how many rows where they were counted.
type Seeded = (Option<u64>, Made, Option<u64>);

/// Through the front door, after a past where there is nothing yet.
async fn demo(context: &Context, desk: &Desk, arguments: &Arguments) -> Result<Seeded> {
    let tables = Tables::open(desk).await?;
    if let Some(run) = past::unfinished(&tables.database).await? {
        return Err(unfinished(&run).into());
    }
    let (file, config) = (&tables.file, desk.config());
    let site = dm_gateway_client::Site::new(
        &desk.ports,
        config.keycloak.realm.as_str(),
        &arguments.password,
        config.services.all().map(|(name, _)| name),
    )
    .with_gateway_secret(desk.gateway_secret()?);
    let is_empty = tables.accept(arguments.append).await?;
    let number = arguments.seed_number;
    let mut made = Made::default();
    let mut rows = None;
    if is_empty {
        let request = Request {
            number,
            orders: DEMO_ORDERS,
            until: Utc::now().date_naive(),
            days: DAYS,
            only: None,
            file: file.digest(),
        };
        let run = tables.begin(request).await?;
        let loaded = tables.load(context, desk, &run).await?;
        context
            .printer
            .note(&format!("{DAYS} days of {DEMO_ORDERS} orders are there"));
        made = Made::from(&loaded.made);
        rows = Some(loaded.rows);
    }
    let companies = front::companies(&site, file).await?;
    let filling = front::Filling::prepare(&site, file, number, &companies).await?;
    let told = |sentence: &str| context.printer.note(sentence);
    made += &front::fill(&filling, &context.interrupt, told).await?;
    Ok((Some(number), made, rows))
}

/// Straight into the tables.
async fn a_past(context: &Context, desk: &Desk, arguments: &Arguments) -> Result<Seeded> {
    let tables = Tables::open(desk).await?;
    let run = match (past::unfinished(&tables.database).await?, arguments.scale) {
        (Some(run), _) if arguments.resume => {
            if run.request.file != tables.file.digest() {
                return Err(SeedError::OtherFile { run: run.id }.into());
            }
            run
        }
        (Some(run), _) => return Err(unfinished(&run).into()),
        (None, Scale::Orders(orders)) => {
            tables.accept(arguments.append).await?;
            if arguments.only == Some(Only::Order) && tables.ground.clients.is_empty() {
                return Err(SeedError::NoClients.into());
            }
            let request = Request {
                number: arguments.seed_number,
                orders,
                until: arguments.until.unwrap_or_else(|| Utc::now().date_naive()),
                days: arguments.days.unwrap_or(DAYS),
                only: arguments.only,
                file: tables.file.digest(),
            };
            tables.begin(request).await?
        }
        (None, Scale::Demo) => return Err(SeedError::NothingToResume.into()),
    };
    let loaded = tables.load(context, desk, &run).await?;
    let made = Made::from(&loaded.made);
    Ok((Some(run.request.number), made, Some(loaded.rows)))
}

/// What a past is made of, and where it goes.
struct Tables {
    file: SeedFile,
    schemas: Schemas,
    database: PgPool,
    ground: Ground,
}

impl Tables {
    async fn open(desk: &Desk) -> Result<Self> {
        let file = SeedFile::read(&desk.project.loaded.root)?;
        let schemas = Schemas::of(&desk.stores())?;
        let database = desk.database().await?;
        let ground = past::ground(&database, &schemas).await?;
        Ok(Self {
            file,
            schemas,
            database,
            ground,
        })
    }

    /// Whether there is nothing yet. Where there is something, it is only added to if that was
    /// asked for.
    async fn accept(&self, append: bool) -> Result<bool> {
        let is_empty = past::is_empty(&self.database, &self.schemas).await?;
        if !is_empty && !append {
            let existing = past::existing(&self.database, &self.schemas).await?;
            return Err(SeedError::NotEmpty(existing).into());
        }
        Ok(is_empty)
    }

    fn invention(&self, request: &Request) -> Invention {
        request.invention(&self.file, self.ground.skus.iter().cloned().collect())
    }

    async fn begin(&self, request: Request) -> Result<Run> {
        let counts = request.counts(&self.invention(&request));
        Ok(past::begin(&self.database, &self.schemas, request, counts).await?)
    }

    async fn load(&self, context: &Context, desk: &Desk, run: &Run) -> Result<Loaded> {
        let counter = Counter::new(&context.printer, "parts");
        let site = past::Site {
            database: &self.database,
            schemas: &self.schemas,
            keeps: keeps(desk),
            interrupt: &context.interrupt,
            told: &|done, of| counter.show(done, of),
        };
        let clients = self.ground.clients_in_order();
        let invention = self.invention(&run.request);
        Ok(past::load(&site, run, &invention, clients).await?)
    }
}

/// From files.
async fn own(context: &Context, desk: &Desk, arguments: &Arguments) -> Result<Seeded> {
    let folder = arguments.from.clone().unwrap_or_default();
    let schemas = Schemas::of(&desk.stores())?;
    let database = desk.database().await?;
    let ground = past::ground(&database, &schemas).await?;
    let own = Own::read(&folder, &ground)?;
    if let Some(run) = past::unfinished(&database).await? {
        return Err(unfinished(&run).into());
    }
    if !arguments.append && !past::is_empty(&database, &schemas).await? {
        let existing = past::existing(&database, &schemas).await?;
        return Err(SeedError::NotEmpty(existing).into());
    }
    let site = past::Site {
        database: &database,
        schemas: &schemas,
        keeps: keeps(desk),
        interrupt: &context.interrupt,
        told: &|_, _| {},
    };
    let loading = past::load_own(&site, &own).await;
    let loaded = loading.map_err(|error| match error {
        SeedError::Database(error) => match own.refused(&error) {
            Some(issue) => SeedError::Own(vec![issue]),
            None => SeedError::Database(error),
        },
        other => other,
    })?;
    Ok((None, Made::from(&loaded.made), Some(loaded.rows)))
}

fn unfinished(run: &past::Run) -> SeedError {
    SeedError::Unfinished {
        run: run.id.clone(),
        done: run.done.len() as u64,
        parts: run.parts,
    }
}

/// How long outboxes and inboxes remember: what one of them has forgotten, the others
/// should not be written.
fn keeps(desk: &Desk) -> TimeDelta {
    let memory = memory::of_services(desk.config());
    let shortest = memory.values().map(memory::Memory::of_events).min();
    let shortest = shortest.unwrap_or_default();
    TimeDelta::from_std(shortest).unwrap_or(TimeDelta::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_is_a_word_or_a_number_of_orders() {
        assert_eq!(Scale::parse("demo"), Ok(Scale::Demo));
        assert_eq!(Scale::parse("medium"), Ok(Scale::Orders(10_000)));
        assert_eq!(Scale::parse("2_500"), Ok(Scale::Orders(2_500)));
        for text in ["", "0", "-1", "huge", "100000001", "1.5"] {
            assert!(Scale::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_password_is_for_a_demo() {
        let given = |password: &str, scale| Arguments {
            password: password.to_owned(),
            ..Arguments::of(scale)
        };
        assert!(given("other", Scale::Orders(10)).ignores_password(false));
        for (password, scale) in [("other", Scale::Demo), (PASSWORD, Scale::Orders(10))] {
            assert!(!given(password, scale).ignores_password(false));
        }
        let from = Arguments {
            from: Some(PathBuf::from("business")),
            ..given("other", Scale::Demo)
        };
        assert!(from.ignores_password(false));
    }
}

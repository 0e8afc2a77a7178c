//! The stack is filled with a business.

use std::path::PathBuf;
use std::time::Duration;

use chrono::{NaiveDate, TimeDelta, Utc};
use dm_business::Invention;
use dm_core::error::Result;
use dm_messaging::memory;
use dm_seed::own::{Ground, Own};
use dm_seed::past::{self, Loaded, Only, Request, Run, Schemas};
use dm_seed::{Made, SeedError, SeedFile, front};
use sqlx::PgPool;
use tokio::time::Instant;

use crate::session::{Desk, Session};

/// How many days a past takes, unless somebody says otherwise.
const DAYS: u16 = 90;
/// How many orders a demo has behind it.
const DEMO_ORDERS: u64 = 240;
/// The password of the people of the fixtures.
pub const PASSWORD: &str = "password";
/// What nobody has the disk for.
const MOST_ORDERS: u64 = 100_000_000;

/// How much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// What one can look through, live.
    Demo,
    /// A past with so many orders.
    Orders(u64),
}

impl Scale {
    /// Reads a word or a number of orders.
    ///
    /// # Errors
    /// What it may be.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
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

/// What the stack is to be filled with.
#[derive(Debug, Clone)]
pub struct Seed {
    /// How much.
    pub scale: Scale,
    /// Which business; another number is another one.
    pub number: u64,
    /// Only the past of the business that begins at this service.
    pub only: Option<Only>,
    /// Whether it is added to what is there.
    pub append: bool,
    /// Whether a past that was cut short is carried on with.
    pub resume: bool,
    /// The folder of somebody's own business.
    pub from: Option<PathBuf>,
    /// How many days a past takes.
    pub days: Option<u16>,
    /// The day on which a past ends.
    pub until: Option<NaiveDate>,
    /// The password of the people who sign in.
    pub password: String,
}

/// What has been made.
#[derive(Debug)]
pub struct Seeded {
    /// The number that it was worked out from; none for somebody's own files.
    pub number: Option<u64>,
    /// What was made.
    pub made: Made,
    /// How many rows that took, where they were counted.
    pub rows: Option<u64>,
    /// How long it took.
    pub took: Duration,
}

/// What one way of filling has made.
struct Filled {
    number: Option<u64>,
    made: Made,
    rows: Option<u64>,
}

impl Seed {
    /// A seed of a scale, and nothing else said.
    #[must_use]
    pub fn of(scale: Scale) -> Self {
        Self {
            scale,
            number: 1,
            only: None,
            append: false,
            resume: false,
            from: None,
            days: None,
            until: None,
            password: PASSWORD.to_owned(),
        }
    }

    /// Whether people sign in for it.
    #[must_use]
    pub fn signs_in(&self) -> bool {
        self.from.is_none() && self.scale == Scale::Demo && !self.resume
    }

    /// Checks that what is said goes together.
    ///
    /// # Errors
    /// [`SeedError::DemoIsWhole`] where a demo is to be a part of itself.
    pub fn check(&self) -> Result<()> {
        let of_a_past = self.only.is_some() || self.days.is_some() || self.until.is_some();
        if self.scale == Scale::Demo && of_a_past {
            return Err(SeedError::DemoIsWhole.into());
        }
        Ok(())
    }

    /// Fills the stack. The caller has the instance's lock.
    ///
    /// # Errors
    /// A part of the stack is away, or there is something in it already.
    pub async fn fill(&self, session: &Session) -> Result<Seeded> {
        let began = Instant::now();
        let desk = Desk::open(session).await?;
        let seeding = async {
            match (&self.from, self.scale) {
                (Some(_), _) => own(session, &desk, self).await,
                (None, Scale::Demo) if !self.resume => demo(session, &desk, self).await,
                (None, _) => a_past(session, &desk, self).await,
            }
        };
        let seeded = desk.watched(seeding).await.map_err(SeedError::Blocked)?;
        let Filled { number, made, rows } = seeded?;
        Ok(Seeded {
            number,
            made,
            rows,
            took: began.elapsed(),
        })
    }
}

/// Through the front door, after a past where there is nothing yet.
async fn demo(session: &Session, desk: &Desk, seed: &Seed) -> Result<Filled> {
    let tables = Tables::open(desk).await?;
    if let Some(run) = past::unfinished(&tables.database).await? {
        return Err(unfinished(&run).into());
    }
    let (file, config) = (&tables.file, desk.config());
    let site = dm_gateway_client::Site::new(
        &desk.ports,
        config.keycloak.realm.as_str(),
        &seed.password,
        config.services.all().map(|(name, _)| name),
    )
    .with_gateway_secret(desk.gateway_secret()?);
    let is_empty = tables.accept(seed.append).await?;
    let number = seed.number;
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
        let loaded = tables.load(session, desk, &run).await?;
        session
            .frontend
            .note(&format!("{DEMO_ORDERS} orders of {DAYS} days were loaded"));
        made = Made::from(&loaded.made);
        rows = Some(loaded.rows);
    }
    let companies = front::companies(&site, file).await?;
    let filling = front::Filling::prepare(&site, file, number, &companies).await?;
    let told = |sentence: &str| session.frontend.note(sentence);
    made += &front::fill(&filling, &session.interrupt, told).await?;
    Ok(Filled {
        number: Some(number),
        made,
        rows,
    })
}

/// Straight into the tables.
async fn a_past(session: &Session, desk: &Desk, seed: &Seed) -> Result<Filled> {
    let tables = Tables::open(desk).await?;
    let run = match (past::unfinished(&tables.database).await?, seed.scale) {
        (Some(run), _) if seed.resume => {
            if run.request.file != tables.file.digest() {
                return Err(SeedError::OtherFile { run: run.id }.into());
            }
            run
        }
        (Some(run), _) => return Err(unfinished(&run).into()),
        (None, Scale::Orders(orders)) => {
            tables.accept(seed.append).await?;
            if seed.only == Some(Only::Order) && tables.ground.clients.is_empty() {
                return Err(SeedError::NoClients.into());
            }
            let request = Request {
                number: seed.number,
                orders,
                until: seed.until.unwrap_or_else(|| Utc::now().date_naive()),
                days: seed.days.unwrap_or(DAYS),
                only: seed.only,
                file: tables.file.digest(),
            };
            tables.begin(request).await?
        }
        (None, Scale::Demo) => return Err(SeedError::NothingToResume.into()),
    };
    let loaded = tables.load(session, desk, &run).await?;
    Ok(Filled {
        number: Some(run.request.number),
        made: Made::from(&loaded.made),
        rows: Some(loaded.rows),
    })
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

    async fn load(&self, session: &Session, desk: &Desk, run: &Run) -> Result<Loaded> {
        let counted = session.frontend.counter("parts");
        let site = past::Site {
            database: &self.database,
            schemas: &self.schemas,
            keeps: keeps(desk),
            interrupt: &session.interrupt,
            told: &|done, of| counted(done, of),
        };
        let clients = self.ground.clients_in_order();
        let invention = self.invention(&run.request);
        Ok(past::load(&site, run, &invention, clients).await?)
    }
}

/// From files.
async fn own(session: &Session, desk: &Desk, seed: &Seed) -> Result<Filled> {
    let folder = seed.from.clone().unwrap_or_default();
    let schemas = Schemas::of(&desk.stores())?;
    let database = desk.database().await?;
    let ground = past::ground(&database, &schemas).await?;
    let own = Own::read(&folder, &ground)?;
    if let Some(run) = past::unfinished(&database).await? {
        return Err(unfinished(&run).into());
    }
    if !seed.append && !past::is_empty(&database, &schemas).await? {
        let existing = past::existing(&database, &schemas).await?;
        return Err(SeedError::NotEmpty(existing).into());
    }
    let site = past::Site {
        database: &database,
        schemas: &schemas,
        keeps: keeps(desk),
        interrupt: &session.interrupt,
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
    Ok(Filled {
        number: None,
        made: Made::from(&loaded.made),
        rows: Some(loaded.rows),
    })
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
    fn a_demo_is_whole() {
        let part = |scale| Seed {
            days: Some(30),
            ..Seed::of(scale)
        };
        assert!(part(Scale::Demo).check().is_err());
        assert!(part(Scale::Orders(10)).check().is_ok());
    }
}

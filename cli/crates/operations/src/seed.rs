//! The stack is filled with a business.

use std::path::PathBuf;
use std::time::Duration;

use chrono::{NaiveDate, TimeDelta, Utc};
use dm_core::error::Result;
use dm_history::HistoryGenerator;
use dm_messaging::retention;
use dm_seed::history::{self, HistoryRequest, HistorySlice, LoadSummary, SeedRun, ServiceSchemas};
use dm_seed::import::{ImportedData, ReferenceData};
use dm_seed::{SeedError, SeedFile, SeedSummary, demo};
use sqlx::PgPool;
use tokio::time::Instant;

use crate::session::{Session, StackClients};

/// How many days a past takes, unless somebody says otherwise.
const DEFAULT_DAYS: u16 = 90;
/// How many orders a demo has behind it.
const DEMO_ORDERS: u64 = 240;
/// The password of the people of the fixtures.
pub const FIXTURE_PASSWORD: &str = "password";
/// What nobody has the disk for.
const MAX_ORDERS: u64 = 100_000_000;

/// How much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeedScale {
    /// What one can look through, live.
    Demo,
    /// A past with so many orders.
    Orders(u64),
}

impl SeedScale {
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
                .filter(|orders| (1..=MAX_ORDERS).contains(orders))
                .ok_or("demo, small, medium, large, or a number of orders from 1 to 100,000,000")?,
        };
        Ok(Self::Orders(orders))
    }
}

/// What the stack is to be filled with.
#[derive(Debug, Clone)]
pub struct Seed {
    /// How much.
    pub scale: SeedScale,
    /// Which business; another number is another one.
    pub seed_number: u64,
    /// Only the past of the business that begins at this service.
    pub only: Option<HistorySlice>,
    /// Whether it is added to what is there.
    pub append: bool,
    /// Whether a past that was cut short is carried on with.
    pub resume: bool,
    /// The folder of somebody's own business.
    pub import_dir: Option<PathBuf>,
    /// How many days a past takes.
    pub days: Option<u16>,
    /// The day on which a past ends.
    pub end_date: Option<NaiveDate>,
    /// The password of the people who sign in.
    pub password: String,
}

/// What has been made.
#[derive(Debug)]
pub struct SeedResult {
    /// The number that it was worked out from; none for somebody's own files.
    pub seed_number: Option<u64>,
    /// What was made.
    pub summary: SeedSummary,
    /// How many rows that took, where they were counted.
    pub rows: Option<u64>,
    /// How long it took.
    pub took: Duration,
}

/// What one way of filling has made.
struct SeedOutput {
    seed_number: Option<u64>,
    summary: SeedSummary,
    rows: Option<u64>,
}

impl Seed {
    /// A seed of a scale, and nothing else said.
    #[must_use]
    pub fn new(scale: SeedScale) -> Self {
        Self {
            scale,
            seed_number: 1,
            only: None,
            append: false,
            resume: false,
            import_dir: None,
            days: None,
            end_date: None,
            password: FIXTURE_PASSWORD.to_owned(),
        }
    }

    /// Whether people sign in for it.
    #[must_use]
    pub fn needs_sign_in(&self) -> bool {
        self.import_dir.is_none() && self.scale == SeedScale::Demo && !self.resume
    }

    /// Checks that what is said goes together.
    ///
    /// # Errors
    /// [`SeedError::DemoIsWhole`] where a demo is to be a part of itself.
    pub fn validate(&self) -> Result<()> {
        let of_a_past = self.only.is_some() || self.days.is_some() || self.end_date.is_some();
        if self.scale == SeedScale::Demo && of_a_past {
            return Err(SeedError::PartialDemo.into());
        }
        Ok(())
    }

    /// Fills the stack. The caller has the instance's lock.
    ///
    /// # Errors
    /// A part of the stack is away, or there is something in it already.
    pub async fn run(&self, session: &Session) -> Result<SeedResult> {
        let began = Instant::now();
        let desk = StackClients::open(session).await?;
        let seeding = async {
            match (&self.import_dir, self.scale) {
                (Some(_), _) => seed_from_files(session, &desk, self).await,
                (None, SeedScale::Demo) if !self.resume => seed_demo(session, &desk, self).await,
                (None, _) => seed_history(session, &desk, self).await,
            }
        };
        let seeded = desk
            .while_unblocked(seeding)
            .await
            .map_err(SeedError::DatabaseLocked)?;
        let SeedOutput {
            seed_number: number,
            summary: made,
            rows,
        } = seeded?;
        Ok(SeedResult {
            seed_number: number,
            summary: made,
            rows,
            took: began.elapsed(),
        })
    }
}

/// Through the front door, after a past where there is nothing yet.
async fn seed_demo(session: &Session, desk: &StackClients, seed: &Seed) -> Result<SeedOutput> {
    let tables = HistoryTarget::open(desk).await?;
    if let Some(run) = history::find_unfinished(&tables.database).await? {
        return Err(unfinished_run_error(&run).into());
    }
    let (file, config) = (&tables.file, desk.config());
    let site = dm_gateway_client::StackEndpoints::new(
        &desk.ports,
        config.keycloak.realm.as_str(),
        &seed.password,
        config.services.all().map(|(name, _)| name),
    )
    .with_gateway_secret(desk.gateway_secret()?);
    let is_empty = tables.check_empty(seed.append).await?;
    let number = seed.seed_number;
    let mut made = SeedSummary::default();
    let mut rows = None;
    if is_empty {
        let request = HistoryRequest {
            number,
            orders: DEMO_ORDERS,
            until: Utc::now().date_naive(),
            days: DEFAULT_DAYS,
            only: None,
            file: file.digest(),
        };
        let run = tables.begin_run(request).await?;
        let loaded = tables.load_history(session, desk, &run).await?;
        session.frontend.note(&format!(
            "{DEMO_ORDERS} orders of {DEFAULT_DAYS} days were loaded"
        ));
        made = SeedSummary::from(&loaded.status_counts);
        rows = Some(loaded.row_count);
    }
    let companies = demo::fetch_company_names(&site, file).await?;
    let filling = demo::DemoSeeder::prepare(&site, file, number, &companies).await?;
    let told = |sentence: &str| session.frontend.note(sentence);
    made += &demo::execute_plan(&filling, &session.interrupt, told).await?;
    Ok(SeedOutput {
        seed_number: Some(number),
        summary: made,
        rows,
    })
}

/// Straight into the tables.
async fn seed_history(session: &Session, desk: &StackClients, seed: &Seed) -> Result<SeedOutput> {
    let tables = HistoryTarget::open(desk).await?;
    let run = match (
        history::find_unfinished(&tables.database).await?,
        seed.scale,
    ) {
        (Some(run), _) if seed.resume => {
            if run.request.file != tables.file.digest() {
                return Err(SeedError::SeedFileChanged { run_id: run.id }.into());
            }
            run
        }
        (Some(run), _) => return Err(unfinished_run_error(&run).into()),
        (None, SeedScale::Orders(orders)) => {
            tables.check_empty(seed.append).await?;
            if seed.only == Some(HistorySlice::Order) && tables.reference_data.client_ids.is_empty()
            {
                return Err(SeedError::NoClients.into());
            }
            let request = HistoryRequest {
                number: seed.seed_number,
                orders,
                until: seed.end_date.unwrap_or_else(|| Utc::now().date_naive()),
                days: seed.days.unwrap_or(DEFAULT_DAYS),
                only: seed.only,
                file: tables.file.digest(),
            };
            tables.begin_run(request).await?
        }
        (None, SeedScale::Demo) => return Err(SeedError::NothingToResume.into()),
    };
    let loaded = tables.load_history(session, desk, &run).await?;
    Ok(SeedOutput {
        seed_number: Some(run.request.number),
        summary: SeedSummary::from(&loaded.status_counts),
        rows: Some(loaded.row_count),
    })
}

/// What a past is made of, and where it goes.
struct HistoryTarget {
    file: SeedFile,
    schemas: ServiceSchemas,
    database: PgPool,
    reference_data: ReferenceData,
}

impl HistoryTarget {
    async fn open(desk: &StackClients) -> Result<Self> {
        let file = SeedFile::load(&desk.project.loaded.root)?;
        let schemas = ServiceSchemas::from_stores(&desk.stores())?;
        let database = desk.connect_database().await?;
        let ground = history::fetch_reference_data(&database, &schemas).await?;
        Ok(Self {
            file,
            schemas,
            database,
            reference_data: ground,
        })
    }

    /// Whether there is nothing yet. Where there is something, it is only added to if that was
    /// asked for.
    async fn check_empty(&self, append: bool) -> Result<bool> {
        let is_empty = history::is_stack_empty(&self.database, &self.schemas).await?;
        if !is_empty && !append {
            let existing = history::count_existing(&self.database, &self.schemas).await?;
            return Err(SeedError::NotEmpty(existing).into());
        }
        Ok(is_empty)
    }

    fn history_generator(&self, request: &HistoryRequest) -> HistoryGenerator {
        request.generator(
            &self.file,
            self.reference_data.skus.iter().cloned().collect(),
        )
    }

    async fn begin_run(&self, request: HistoryRequest) -> Result<SeedRun> {
        let counts = request.counts(&self.history_generator(&request));
        Ok(history::begin_run(&self.database, &self.schemas, request, counts).await?)
    }

    async fn load_history(
        &self,
        session: &Session,
        desk: &StackClients,
        run: &SeedRun,
    ) -> Result<LoadSummary> {
        let counted = session.frontend.counter("parts");
        let site = history::LoadContext {
            database: &self.database,
            schemas: &self.schemas,
            retention: shortest_retention(desk),
            interrupt: &session.interrupt,
            on_progress: &|done, of| counted(done, of),
        };
        let clients = self.reference_data.client_ids_oldest_first();
        let invention = self.history_generator(&run.request);
        Ok(history::load_run(&site, run, &invention, clients).await?)
    }
}

/// From files.
async fn seed_from_files(
    session: &Session,
    desk: &StackClients,
    seed: &Seed,
) -> Result<SeedOutput> {
    let folder = seed.import_dir.clone().unwrap_or_default();
    let schemas = ServiceSchemas::from_stores(&desk.stores())?;
    let database = desk.connect_database().await?;
    let ground = history::fetch_reference_data(&database, &schemas).await?;
    let own = ImportedData::load(&folder, &ground)?;
    if let Some(run) = history::find_unfinished(&database).await? {
        return Err(unfinished_run_error(&run).into());
    }
    if !seed.append && !history::is_stack_empty(&database, &schemas).await? {
        let existing = history::count_existing(&database, &schemas).await?;
        return Err(SeedError::NotEmpty(existing).into());
    }
    let site = history::LoadContext {
        database: &database,
        schemas: &schemas,
        retention: shortest_retention(desk),
        interrupt: &session.interrupt,
        on_progress: &|_, _| {},
    };
    let loading = history::load_import(&site, &own).await;
    let loaded = loading.map_err(|error| match error {
        SeedError::Database(error) => match own.locate_database_error(&error) {
            Some(issue) => SeedError::InvalidImport(vec![issue]),
            None => SeedError::Database(error),
        },
        other => other,
    })?;
    Ok(SeedOutput {
        seed_number: None,
        summary: SeedSummary::from(&loaded.status_counts),
        rows: Some(loaded.row_count),
    })
}

fn unfinished_run_error(run: &history::SeedRun) -> SeedError {
    SeedError::UnfinishedRun {
        run_id: run.id.clone(),
        completed: run.completed_parts.len() as u64,
        parts: run.parts,
    }
}

/// How long outboxes and inboxes remember: what one of them has forgotten, the others
/// should not be written.
fn shortest_retention(desk: &StackClients) -> TimeDelta {
    let memory = retention::retention_by_service(desk.config());
    let shortest = memory
        .values()
        .map(retention::ServiceRetention::event_retention)
        .min();
    let shortest = shortest.unwrap_or_default();
    TimeDelta::from_std(shortest).unwrap_or(TimeDelta::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_is_a_word_or_a_number_of_orders() {
        assert_eq!(SeedScale::parse("demo"), Ok(SeedScale::Demo));
        assert_eq!(SeedScale::parse("medium"), Ok(SeedScale::Orders(10_000)));
        assert_eq!(SeedScale::parse("2_500"), Ok(SeedScale::Orders(2_500)));
        for text in ["", "0", "-1", "huge", "100000001", "1.5"] {
            assert!(SeedScale::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_demo_is_whole() {
        let part = |scale| Seed {
            days: Some(30),
            ..Seed::new(scale)
        };
        assert!(part(SeedScale::Demo).validate().is_err());
        assert!(part(SeedScale::Orders(10)).validate().is_ok());
    }
}

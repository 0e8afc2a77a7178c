//! Loads seed data into the stack.

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

/// The default number of days of a history.
const DEFAULT_DAYS: u16 = 90;
/// The number of orders in the history of a demo.
const DEMO_ORDERS: u64 = 240;
/// The password of the users in the fixtures.
pub const FIXTURE_PASSWORD: &str = "password";
/// The limit of `--scale`: more orders do not fit on a usual disk.
const MAX_ORDERS: u64 = 100_000_000;

/// The amount of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeedScale {
    /// A demo: a small history and live events.
    Demo,
    /// A history with this number of orders.
    Orders(u64),
}

impl SeedScale {
    /// Parses a scale: a word or a number of orders.
    ///
    /// # Errors
    /// Returns the valid values.
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

/// A request to load data.
#[derive(Debug, Clone)]
pub struct Seed {
    /// The amount of data.
    pub scale: SeedScale,
    /// The seed number: equal numbers generate equal data.
    pub seed_number: u64,
    /// Only the part of the history that begins at this service.
    pub only: Option<HistorySlice>,
    /// Whether the data is added to existing data.
    pub append: bool,
    /// Whether an interrupted load is resumed.
    pub resume: bool,
    /// The directory of files to import.
    pub import_dir: Option<PathBuf>,
    /// The number of days of the history.
    pub days: Option<u16>,
    /// The last day of the history.
    pub end_date: Option<NaiveDate>,
    /// The password of the users who sign in.
    pub password: String,
}

/// The result of loading data.
#[derive(Debug)]
pub struct SeedResult {
    /// The seed number. `None` for imported files.
    pub seed_number: Option<u64>,
    /// The loaded business objects.
    pub summary: SeedSummary,
    /// The number of rows, if they were counted.
    pub rows: Option<u64>,
    /// The duration.
    pub took: Duration,
}

/// The result of one way of loading data.
struct SeedOutput {
    seed_number: Option<u64>,
    summary: SeedSummary,
    rows: Option<u64>,
}

impl Seed {
    /// A seed of this scale with default options.
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

    /// Returns whether users sign in to create the data.
    #[must_use]
    pub fn needs_sign_in(&self) -> bool {
        self.import_dir.is_none() && self.scale == SeedScale::Demo && !self.resume
    }

    /// Checks that the options can be combined.
    ///
    /// # Errors
    /// Returns [`SeedError::PartialDemo`] if an option of a history is set for a demo.
    pub fn validate(&self) -> Result<()> {
        let has_history_option =
            self.only.is_some() || self.days.is_some() || self.end_date.is_some();
        if self.scale == SeedScale::Demo && has_history_option {
            return Err(SeedError::PartialDemo.into());
        }
        Ok(())
    }

    /// Loads the data. The caller holds the instance lock.
    ///
    /// # Errors
    /// If a component cannot be reached, or if the stack contains data already.
    pub async fn run(&self, session: &Session) -> Result<SeedResult> {
        let started_at = Instant::now();
        let clients = StackClients::open(session).await?;
        let seeding = async {
            match (&self.import_dir, self.scale) {
                (Some(_), _) => seed_from_files(session, &clients, self).await,
                (None, SeedScale::Demo) if !self.resume => seed_demo(session, &clients, self).await,
                (None, _) => seed_history(session, &clients, self).await,
            }
        };
        let output = clients
            .while_unblocked(seeding)
            .await
            .map_err(SeedError::DatabaseLocked)?;
        let SeedOutput {
            seed_number,
            summary,
            rows,
        } = output?;
        Ok(SeedResult {
            seed_number,
            summary,
            rows,
            took: started_at.elapsed(),
        })
    }
}

/// Creates the demo through the gateway, after loading a history if the stack is empty.
async fn seed_demo(session: &Session, clients: &StackClients, seed: &Seed) -> Result<SeedOutput> {
    let target = HistoryTarget::open(clients).await?;
    if let Some(run) = history::find_unfinished(&target.database).await? {
        return Err(unfinished_run_error(&run).into());
    }
    let (file, config) = (&target.file, clients.config());
    let endpoints = dm_gateway_client::StackEndpoints::new(
        &clients.ports,
        config.keycloak.realm.as_str(),
        &seed.password,
        config.services.all().map(|(name, _)| name),
    )
    .with_gateway_secret(clients.gateway_secret()?);
    let is_empty = target.check_empty(seed.append).await?;
    let number = seed.seed_number;
    let mut summary = SeedSummary::default();
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
        let run = target.begin_run(request).await?;
        let loaded = target.load_history(session, clients, &run).await?;
        session.frontend.note(&format!(
            "{DEMO_ORDERS} orders of {DEFAULT_DAYS} days were loaded"
        ));
        summary = SeedSummary::from(&loaded.status_counts);
        rows = Some(loaded.row_count);
    }
    let companies = demo::fetch_company_names(&endpoints, file).await?;
    let seeder = demo::DemoSeeder::prepare(&endpoints, file, number, &companies).await?;
    let report = |sentence: &str| session.frontend.note(sentence);
    summary += &demo::execute_plan(&seeder, &session.interrupt, report).await?;
    Ok(SeedOutput {
        seed_number: Some(number),
        summary,
        rows,
    })
}

/// Loads a generated history directly into the tables.
async fn seed_history(
    session: &Session,
    clients: &StackClients,
    seed: &Seed,
) -> Result<SeedOutput> {
    let target = HistoryTarget::open(clients).await?;
    let run = match (
        history::find_unfinished(&target.database).await?,
        seed.scale,
    ) {
        (Some(run), _) if seed.resume => {
            if run.request.file != target.file.digest() {
                return Err(SeedError::SeedFileChanged { run_id: run.id }.into());
            }
            run
        }
        (Some(run), _) => return Err(unfinished_run_error(&run).into()),
        (None, SeedScale::Orders(orders)) => {
            target.check_empty(seed.append).await?;
            if seed.only == Some(HistorySlice::Order) && target.reference_data.client_ids.is_empty()
            {
                return Err(SeedError::NoClients.into());
            }
            let request = HistoryRequest {
                number: seed.seed_number,
                orders,
                until: seed.end_date.unwrap_or_else(|| Utc::now().date_naive()),
                days: seed.days.unwrap_or(DEFAULT_DAYS),
                only: seed.only,
                file: target.file.digest(),
            };
            target.begin_run(request).await?
        }
        (None, SeedScale::Demo) => return Err(SeedError::NothingToResume.into()),
    };
    let loaded = target.load_history(session, clients, &run).await?;
    Ok(SeedOutput {
        seed_number: Some(run.request.number),
        summary: SeedSummary::from(&loaded.status_counts),
        rows: Some(loaded.row_count),
    })
}

/// The inputs of a history and the database that it is loaded into.
struct HistoryTarget {
    file: SeedFile,
    schemas: ServiceSchemas,
    database: PgPool,
    reference_data: ReferenceData,
}

impl HistoryTarget {
    async fn open(clients: &StackClients) -> Result<Self> {
        let file = SeedFile::load(&clients.project.loaded.root)?;
        let schemas = ServiceSchemas::from_service_tables(&clients.service_tables())?;
        let database = clients.connect_database().await?;
        let reference_data = history::fetch_reference_data(&database, &schemas).await?;
        Ok(Self {
            file,
            schemas,
            database,
            reference_data,
        })
    }

    /// Returns whether the stack contains only rows of `dm smoke`.
    ///
    /// # Errors
    /// Returns [`SeedError::NotEmpty`] if it is not and `append` is not set.
    async fn check_empty(&self, append: bool) -> Result<bool> {
        let is_empty = history::has_only_smoke_rows(&self.database, &self.schemas).await?;
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
        clients: &StackClients,
        run: &SeedRun,
    ) -> Result<LoadSummary> {
        let report_progress = session.frontend.counter("parts");
        let context = history::LoadContext {
            database: &self.database,
            schemas: &self.schemas,
            retention: shortest_retention(clients),
            interrupt: &session.interrupt,
            on_progress: &|done, total| report_progress(done, total),
        };
        let client_ids = self.reference_data.client_ids_oldest_first();
        let generator = self.history_generator(&run.request);
        Ok(history::load_run(&context, run, &generator, client_ids).await?)
    }
}

/// Imports data from files.
async fn seed_from_files(
    session: &Session,
    clients: &StackClients,
    seed: &Seed,
) -> Result<SeedOutput> {
    let directory = seed.import_dir.clone().unwrap_or_default();
    let schemas = ServiceSchemas::from_service_tables(&clients.service_tables())?;
    let database = clients.connect_database().await?;
    let reference_data = history::fetch_reference_data(&database, &schemas).await?;
    let imported = ImportedData::load(&directory, &reference_data)?;
    if let Some(run) = history::find_unfinished(&database).await? {
        return Err(unfinished_run_error(&run).into());
    }
    if !seed.append && !history::has_only_smoke_rows(&database, &schemas).await? {
        let existing = history::count_existing(&database, &schemas).await?;
        return Err(SeedError::NotEmpty(existing).into());
    }
    let context = history::LoadContext {
        database: &database,
        schemas: &schemas,
        retention: shortest_retention(clients),
        interrupt: &session.interrupt,
        on_progress: &|_, _| {},
    };
    let loading = history::load_import(&context, &imported).await;
    let loaded = loading.map_err(|error| match error {
        SeedError::Database(error) => match imported.locate_database_error(&error) {
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

/// Returns the shortest retention of the outboxes and inboxes. Older events are written to
/// none of them.
fn shortest_retention(clients: &StackClients) -> TimeDelta {
    let retentions = retention::retention_by_service(clients.config());
    let shortest = retentions
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
    fn seed_scale_parses_words_and_numbers_of_orders() {
        assert_eq!(SeedScale::parse("demo"), Ok(SeedScale::Demo));
        assert_eq!(SeedScale::parse("medium"), Ok(SeedScale::Orders(10_000)));
        assert_eq!(SeedScale::parse("2_500"), Ok(SeedScale::Orders(2_500)));
        for text in ["", "0", "-1", "huge", "100000001", "1.5"] {
            assert!(SeedScale::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn validate_rejects_history_options_for_a_demo() {
        let seed = |scale| Seed {
            days: Some(30),
            ..Seed::new(scale)
        };
        assert!(seed(SeedScale::Demo).validate().is_err());
        assert!(seed(SeedScale::Orders(10)).validate().is_ok());
    }
}

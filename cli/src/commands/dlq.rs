//! `dm dlq`.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use dm_contracts::topology::WORK_QUEUES;
use lapin::Connection;

use super::context::{Context, Project, existing_ports};
use crate::components::{Ports, postgres, rabbitmq};
use crate::error::{Exit, Result};
use crate::messaging::dead::{self, DeadLetter, Filter, audit, copy, look, replay};
use crate::messaging::{MessagingError, broker};
use crate::output::{self, text};

/// How long inboxes remember unless `INBOX_RETENTION_MS` says otherwise.
const MEMORY: Duration = Duration::from_secs(30 * 24 * 3600);
/// How often a replay tells how far it is.
const BEAT: Duration = Duration::from_secs(1);

/// Look at dead letters, and send them back.
///
/// Looking changes nothing, however often: bodies, headers, order and depth stay as
/// they are. A replay freezes its set first, sends each letter to the one queue where
/// it failed, and notes it before it is taken from the dead letters: killed at any
/// instant it loses nothing and can be resumed.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show what was set aside, grouped by queue, reason and type.
    Ls {
        #[command(flatten)]
        which: Which,
        /// Each letter on a line of its own.
        #[arg(long)]
        each: bool,
        /// End with exit code 1 if there is any.
        #[arg(long)]
        fail_if_any: bool,
    },
    /// Show all that a dead letter is made of.
    Show {
        /// The event's id, or the letter's fingerprint.
        id: String,
    },
    /// Send dead letters back to where they failed.
    Replay(Replay),
    /// Write dead letters to a file, JSON lines, and leave them where they are.
    Export {
        /// The file.
        file: PathBuf,
        #[command(flatten)]
        which: Which,
    },
    /// Put the letters of such a file back among the dead ones.
    Import {
        /// The file.
        file: PathBuf,
    },
    /// Remove dead letters, once a copy of them is in a file.
    Purge {
        /// Where the copy goes; `import` takes it.
        #[arg(long, value_name = "FILE")]
        copy: PathBuf,
        #[command(flatten)]
        which: Which,
        /// Don't ask.
        #[arg(long, short)]
        yes: bool,
    },
    /// Show the replays of the past, the latest first.
    History {
        /// How many of them.
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: u32,
    },
}

impl Arguments {
    /// True where the first interrupt is to end it between two messages.
    pub const fn is_graceful(&self) -> bool {
        matches!(self.action, Action::Replay(_))
    }
}

/// Which dead letters.
#[derive(Debug, Clone, Args)]
struct Which {
    /// Of this work queue; may be repeated.
    #[arg(long, value_name = "QUEUE")]
    queue: Vec<String>,
    /// With this reason, e.g. `invalid-data`; may be repeated.
    #[arg(long, value_name = "WORD")]
    reason: Vec<String>,
    /// Of this type or one that ends so, e.g. `order.created.v1`; may be repeated.
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Vec<String>,
    /// With this event id; may be repeated.
    #[arg(long, value_name = "ID")]
    id: Vec<String>,
    /// That failed since then: an instant such as `2026-02-03T10:00:00Z`, or how long
    /// ago, e.g. `2h`.
    #[arg(long, value_name = "WHEN", value_parser = instant)]
    since: Option<DateTime<Utc>>,
    /// That failed before then.
    #[arg(long, value_name = "WHEN", value_parser = instant)]
    until: Option<DateTime<Utc>>,
}

#[derive(Debug, Args)]
struct Replay {
    #[command(flatten)]
    which: Which,
    /// At most so many, from the head of the queues on.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Show the set and its digest, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Refuse any other set than the one with this digest.
    #[arg(long, value_name = "DIGEST", conflicts_with = "resume")]
    expect: Option<String>,
    /// At most so many a second.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// At most so many at a time that are published and not yet acknowledged.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=2000))]
    max_in_flight: u16,
    /// Leave those where they are that were replayed so often.
    #[arg(long, value_name = "N", default_value_t = 5)]
    max_rounds: u64,
    /// Send back what is older than the memory of the inboxes (30 days), too.
    #[arg(long)]
    force: bool,
    /// Publish to the exchange, so that every queue that takes the event gets it.
    #[arg(long)]
    to_exchange: bool,
    /// Carry on with a run that was cut short.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["queue", "reason", "event_type", "id", "since", "until", "limit", "dry_run", "to_exchange"])]
    resume: Option<String>,
}

/// An instant, or how long ago it was.
fn instant(text: &str) -> std::result::Result<DateTime<Utc>, String> {
    if let Some(instant) = dm_contracts::time::parse(text) {
        return Ok(instant);
    }
    let ago = humantime::parse_duration(text)
        .map_err(|_| "neither an instant such as 2026-02-03T10:00:00Z nor a time such as 2h")?;
    let ago = chrono::TimeDelta::from_std(ago).map_err(|error| error.to_string())?;
    Utc::now()
        .checked_sub_signed(ago)
        .ok_or_else(|| "too long ago".to_owned())
}

impl Which {
    fn queues(&self) -> Result<Vec<&'static str>> {
        Ok(dead::queues(&self.queue)?)
    }

    fn filter(self) -> Filter {
        Filter {
            reasons: self.reason,
            types: self.event_type,
            ids: self.id,
            since: self.since,
            until: self.until,
        }
    }
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let project = context.project()?;
    let engine = context.engine(project.config()).await?;
    let ports = existing_ports(&project, &engine).await?;
    match arguments.action {
        Action::Ls {
            which,
            each,
            fail_if_any,
        } => {
            let queues = which.queues()?;
            let connection = connect(&project, &ports).await?;
            let found = if each {
                list(context, &connection, &queues, &which.filter()).await?
            } else {
                groups(context, &connection, &queues, &which.filter()).await?
            };
            Ok(if fail_if_any && found {
                Exit::Found
            } else {
                Exit::Success
            })
        }
        Action::Show { id } => {
            let connection = connect(&project, &ports).await?;
            let found = look::show(&connection, &dead::queues(&[])?, &id).await?;
            let document = output::dlq::Letters { letters: &found };
            context
                .printer
                .result(output::dlq::SHOW_SCHEMA, &document, |canvas| {
                    output::dlq::whole(&found, canvas)
                })?;
            Ok(Exit::Success)
        }
        Action::Replay(replay) => send_back(context, &project, &ports, replay).await,
        Action::Export { file, which } => {
            let connection = connect(&project, &ports).await?;
            let letters = save(&connection, &file, &which.queues()?, &which.filter()).await?;
            let what = text::count(letters.len(), "dead letter");
            let sentence = format!("{what} written to {}", file.display());
            context.printer.done(&sentence);
            Ok(Exit::Success)
        }
        Action::Import { file } => {
            let opened = File::open(&file).map_err(MessagingError::from)?;
            let lines = copy::parse(BufReader::new(opened))?;
            let connection = connect(&project, &ports).await?;
            let there = copy::import(&connection, &lines).await?;
            let sentence = format!("{there} of {} are dead letters again", lines.len());
            if there < lines.len() as u64 {
                context.printer.warn(&sentence);
                return Ok(Exit::Found);
            }
            context.printer.done(&sentence);
            Ok(Exit::Success)
        }
        Action::Purge { copy, which, yes } => {
            purge(context, &project, &ports, &copy, which, yes).await
        }
        Action::History { limit } => {
            let database = database(&project, &ports).await?;
            let runs = audit::history(&database, limit.into()).await?;
            let document = output::dlq::Runs { runs: &runs };
            context
                .printer
                .result(output::dlq::HISTORY_SCHEMA, &document, |canvas| {
                    output::dlq::history(&runs, canvas)
                })?;
            Ok(Exit::Success)
        }
    }
}

/// The broker, with the dead letters in hand.
async fn connect(project: &Project, ports: &Ports) -> Result<Connection> {
    let uri = rabbitmq::uri(&project.config().rabbitmq, ports);
    let connection = broker::connect(&uri).await?;
    broker::turn(&connection).await?;
    Ok(connection)
}

async fn database(project: &Project, ports: &Ports) -> Result<sqlx::PgPool> {
    let options = postgres::connect_options(&project.config().postgres, ports);
    let pool = sqlx::postgres::PgPoolOptions::new()
        .max_connections(2)
        .acquire_timeout(Duration::from_secs(5))
        .connect_with(options)
        .await;
    Ok(pool.map_err(MessagingError::from)?)
}

/// Shows what there is of each kind. Answers whether there is any.
async fn groups(
    context: &Context,
    connection: &Connection,
    queues: &[&'static str],
    filter: &Filter,
) -> Result<bool> {
    let groups = look::groups(connection, queues, filter).await?;
    let document = output::dlq::Groups { groups: &groups };
    context
        .printer
        .result(output::dlq::LIST_SCHEMA, &document, |canvas| {
            output::dlq::groups(&groups, Utc::now(), canvas)
        })?;
    Ok(!groups.is_empty())
}

/// Shows each of them. Answers whether there is any.
async fn list(
    context: &Context,
    connection: &Connection,
    queues: &[&'static str],
    filter: &Filter,
) -> Result<bool> {
    let mut letters: Vec<DeadLetter> = Vec::new();
    look::each(connection, queues, filter, |letter| letters.push(letter)).await?;
    let document = output::dlq::Letters { letters: &letters };
    context
        .printer
        .result(output::dlq::EACH_SCHEMA, &document, |canvas| {
            output::dlq::each(&letters, Utc::now(), canvas)
        })?;
    Ok(!letters.is_empty())
}

/// Writes a copy that is complete, or none.
async fn save(
    connection: &Connection,
    file: &Path,
    queues: &[&'static str],
    filter: &Filter,
) -> Result<HashSet<String>> {
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let mut partial = tempfile::NamedTempFile::new_in(folder).map_err(MessagingError::from)?;
    let letters = copy::export(connection, queues, filter, BufWriter::new(&mut partial)).await?;
    partial.as_file().sync_all().map_err(MessagingError::from)?;
    partial
        .persist_noclobber(file)
        .map_err(|error| MessagingError::from(error.error))?;
    Ok(letters)
}

async fn purge(
    context: &Context,
    project: &Project,
    ports: &Ports,
    file: &Path,
    which: Which,
    yes: bool,
) -> Result<Exit> {
    let printer = &context.printer;
    let (queues, filter) = (which.queues()?, which.filter());
    let connection = connect(project, ports).await?;
    let mut count = 0;
    look::each(&connection, &queues, &filter, |_| count += 1).await?;
    let what = text::count(count, "dead letter");
    if count > 0 {
        let question = format!("Remove {what}, with a copy in {}?", file.display());
        let confirmed = yes || (printer.can_ask() && printer.confirm(&question)?);
        if !confirmed {
            return Err(MessagingError::NotConfirmed(count).into());
        }
        // What came meanwhile is copied, too: exactly what is copied is removed.
        let letters = save(&connection, file, &queues, &filter).await?;
        copy::remove(&connection, &queues, &letters).await?;
    }
    printer.done(&format!("{what} removed"));
    Ok(Exit::Success)
}

async fn send_back(
    context: &Context,
    project: &Project,
    ports: &Ports,
    arguments: Replay,
) -> Result<Exit> {
    let printer = &context.printer;
    let speed = replay::Speed {
        rate: arguments.rate,
        in_flight: arguments.max_in_flight,
    };
    let connection = connect(project, ports).await?;
    let last = Mutex::new(Instant::now());
    let told = |done, of| {
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() >= BEAT {
            *last = Instant::now();
            printer.note(&format!("{done} of {of} replayed"));
        }
    };
    if let Some(run) = &arguments.resume {
        let database = database(project, ports).await?;
        let site = replay::Site {
            connection: &connection,
            database: &database,
            interrupt: &context.interrupt,
            told: &told,
        };
        let done = replay::resume(&site, run, speed).await?;
        return ended(context, &done);
    }
    let request = replay::Request {
        queues: arguments.which.queues()?,
        filter: arguments.which.filter(),
        limit: arguments.limit,
        to_exchange: arguments.to_exchange,
        most_rounds: arguments.max_rounds,
        memory: if arguments.force {
            BTreeMap::new()
        } else {
            memory(project)
        },
    };
    let plan = replay::plan(&connection, &request, Utc::now()).await?;
    if let Some(expected) = arguments.expect.filter(|digest| *digest != plan.digest) {
        return Err(MessagingError::OtherSet {
            expected,
            found: plan.digest,
        }
        .into());
    }
    if arguments.dry_run || plan.letters.is_empty() {
        printer.result(output::dlq::PLAN_SCHEMA, &plan, |canvas| {
            output::dlq::plan(&plan, Utc::now(), canvas)
        })?;
        return Ok(Exit::Success);
    }
    for (letter, refusal) in &plan.refused {
        printer.warn(&output::dlq::refused(letter, *refusal));
    }
    let database = database(project, ports).await?;
    let site = replay::Site {
        connection: &connection,
        database: &database,
        interrupt: &context.interrupt,
        told: &told,
    };
    let done = replay::run(&site, &request, &plan, speed).await?;
    ended(context, &done)
}

/// How long the inbox of each work queue remembers, as its service is set up.
fn memory(project: &Project) -> BTreeMap<String, Duration> {
    let services = project.config().services.all();
    let kept = |consumer: &str| {
        let (_, service) = services
            .iter()
            .find(|(name, _)| rabbitmq::broker_user(name) == consumer)?;
        let set = service.environment.get("INBOX_RETENTION_MS")?;
        set.parse().ok().map(Duration::from_millis)
    };
    WORK_QUEUES
        .iter()
        .filter_map(|queue| {
            let kept = kept(queue.consumer?).unwrap_or(MEMORY);
            Some((queue.name.to_owned(), kept))
        })
        .collect()
}

fn ended(context: &Context, done: &replay::Replayed) -> Result<Exit> {
    context
        .printer
        .result(output::dlq::REPLAY_SCHEMA, done, |canvas| {
            output::dlq::replayed(done, canvas)
        })?;
    Ok(if done.returned == 0 {
        Exit::Success
    } else {
        Exit::Found
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_given_or_counted_back() {
        let given = instant("2026-02-03T10:00:00Z").unwrap();
        assert_eq!(given.to_rfc3339(), "2026-02-03T10:00:00+00:00");
        let ago = Utc::now() - instant("2h").unwrap();
        assert!((ago.num_seconds() - 7200).abs() < 60);
        for text in ["", "yesterday", "2026-02-03", "-1h", "99999999999y"] {
            assert!(instant(text).is_err(), "{text}");
        }
    }
}

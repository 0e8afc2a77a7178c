//! A set brought back into the stack that runs.

use std::time::Duration;

use super::super::context::{Context, PortUse, Project};
use super::super::desk::Desk;
use super::super::run::BringUp;
use super::{configured, create, store};
use crate::components::database::Database;
use crate::components::{keycloak, openldap, postgres};
use crate::data::backup::{
    self, BackupError, Opened, Prepared, Purpose, Server, Set, Store, Target,
};
use crate::error::{Exit, Result};
use crate::messaging::memory;
use crate::messaging::reconcile::{self, Kind, Report};
use crate::output;
use crate::stack::up;

/// How long a container may take to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
/// How long what is in flight may take to arrive after a restore.
const SETTLE: Duration = Duration::from_secs(20);

/// Refuses what should not be restored here.
pub(in crate::commands) fn check(project: &Project, set: &Set, foreign: bool) -> Result<()> {
    set.check()?;
    let (manifest, instance) = (&set.manifest, &project.instance);
    let is_ours = manifest.project == instance.project && manifest.instance == instance.name;
    if !is_ours && !foreign {
        return Err(BackupError::Foreign {
            id: manifest.id.clone(),
            of: manifest.instance.clone(),
            this: instance.name.clone(),
        }
        .into());
    }
    Ok(())
}

/// How much of a set is restored.
pub(super) enum Extent<'a> {
    /// All of it.
    Whole,
    /// A schema of its database.
    Schema(&'a str),
}

impl<'a> Extent<'a> {
    pub(super) fn of(set: &Set, schema: Option<&'a str>) -> Result<Self> {
        let Some(name) = schema else {
            return Ok(Self::Whole);
        };
        let known = set.manifest.schemas();
        if known.contains(name) {
            return Ok(Self::Schema(name));
        }
        Err(BackupError::NoSchema {
            id: set.manifest.id.clone(),
            name: name.to_owned(),
            known: known.into_iter().map(str::to_owned).collect(),
        }
        .into())
    }
}

pub(super) fn confirm(
    context: &Context,
    project: &Project,
    extent: &Extent<'_>,
    yes: bool,
) -> Result<()> {
    let instance = &project.instance.name;
    let what = match extent {
        Extent::Whole => "all data".to_owned(),
        Extent::Schema(name) => format!("schema `{name}`"),
    };
    let question = format!("replace {what} of instance `{instance}` by that of the backup?");
    let printer = &context.printer;
    if yes || (printer.can_ask() && printer.confirm(&question)?) {
        Ok(())
    } else {
        Err(BackupError::NotConfirmed(instance.clone()).into())
    }
}

/// Brings a set back, all but bringing the services up again.
pub(super) async fn run(
    context: &Context,
    desk: &Desk,
    store: &Store,
    opened: &Opened<'_>,
    extent: &Extent<'_>,
    safety: bool,
) -> Result<()> {
    let printer = &context.printer;
    if let Some(unfinished) = unfinished(desk).await? {
        return Err(BackupError::Unfinished(unfinished).into());
    }
    if safety {
        let saved = create(
            context,
            desk,
            store,
            &configured(&desk.project)?,
            Purpose::Safety,
        )
        .await?;
        printer.note(&format!(
            "what is there now is backup {}",
            saved.manifest.id
        ));
    }
    let id = &opened.set.manifest.id;
    match extent {
        Extent::Whole => {
            printer.note(&format!("restoring the database of {id}"));
            place(context, desk, opened, async |target, prepared| {
                stop(desk).await?;
                Ok(backup::swap(target, prepared).await?)
            })
            .await?;
            printer.note("restoring the broker and the directory");
            rest(desk, opened).await
        }
        Extent::Schema(name) => {
            printer.note(&format!("restoring schema {name} of {id}"));
            place(context, desk, opened, async |target, prepared| {
                stop(desk).await?;
                Ok(backup::replace_schema(target, prepared, name).await?)
            })
            .await
        }
    }
}

/// Makes a set's database beside the one that runs, and has `take` put it in its place.
pub(super) async fn place(
    context: &Context,
    desk: &Desk,
    opened: &Opened<'_>,
    take: impl AsyncFnOnce(&Target<'_>, &Prepared) -> Result<()>,
) -> Result<()> {
    let container = desk.project.instance.container(postgres::NAME);
    let setup = Database::new(desk.config(), &desk.project.loaded.root);
    let target = target(desk, &container, &setup);
    let prepared = tokio::select! {
        prepared = backup::prepare(&target, opened) => prepared,
        () = context.interrupt.cancelled() => {
            Err(BackupError::Interrupted("nothing has changed"))
        }
    };
    let placed = match prepared {
        Ok(prepared) => take(&target, &prepared).await,
        Err(error) => Err(error.into()),
    };
    if placed.is_err() {
        // It takes as much of the disk as the one that runs.
        backup::sweep(&target).await?;
    }
    placed
}

fn target<'a>(desk: &'a Desk, container: &'a str, setup: &'a Database) -> Target<'a> {
    let config = desk.config();
    Target {
        postgres: Server {
            engine: &desk.engine,
            container,
        },
        options: postgres::connect_options(&config.postgres, &desk.ports),
        user: config.postgres.user.as_str(),
        name: config.postgres.database.as_str(),
        setup,
    }
}

pub(super) async fn unfinished(desk: &Desk) -> Result<Option<String>> {
    let container = desk.project.instance.container(postgres::NAME);
    let setup = Database::new(desk.config(), &desk.project.loaded.root);
    Ok(backup::unfinished(&target(desk, &container, &setup)).await?)
}

/// Stops whoever uses the database.
pub(super) async fn stop(desk: &Desk) -> Result<()> {
    let services = desk.config().services.all();
    let names = services
        .iter()
        .map(|(name, _)| *name)
        .chain([keycloak::NAME]);
    for name in names {
        let container = desk.project.instance.container(name);
        if desk.engine.inspect(&container).await?.is_some() {
            desk.engine.stop(&container, STOP_PATIENCE).await?;
        }
    }
    Ok(())
}

/// The broker and the directory, and the end of it.
pub(super) async fn rest(desk: &Desk, opened: &Opened<'_>) -> Result<()> {
    let instance = &desk.project.instance;
    let directory = instance.container(openldap::NAME);
    let runs = desk.engine.inspect(&directory).await?.is_some();
    let directory = runs.then_some(Server {
        engine: &desk.engine,
        container: &directory,
    });
    let (broker, management) = (desk.dead_letters().await?, desk.management()?);
    backup::restore_rest(opened, &broker, &management, directory).await?;
    let container = instance.container(postgres::NAME);
    let setup = Database::new(desk.config(), &desk.project.loaded.root);
    backup::finish(&target(desk, &container, &setup)).await?;
    Ok(())
}

/// Brings a set back into an instance that has just begun anew.
pub(in crate::commands) async fn bring(
    context: &Context,
    project: &Project,
    opened: &Opened<'_>,
) -> Result<Exit> {
    let desk = Desk::open(context).await?;
    let guard = context.lock(project, "dm reset").await?;
    let store = store(project, None);
    run(context, &desk, &store, opened, &Extent::Whole, false).await?;
    drop(guard);
    bring_up(context, project).await
}

/// Brings the stack up again, and has the broker get what it lacks.
pub(super) async fn bring_up(context: &Context, project: &Project) -> Result<Exit> {
    start(context, project, "restore", PortUse::Existing, Vec::new()).await?;
    let desk = Desk::of(context, context.project_of(&project.instance.name)?).await?;
    let report = account(
        context,
        &desk,
        "all is restored; dm reconcile accounts for it",
    )
    .await?;
    let document = output::reconcile::Document::new(&report);
    context
        .printer
        .result(output::reconcile::SCHEMA, &document, |canvas| {
            output::reconcile::render(&report, canvas)
        })?;
    Ok(if is_whole(&report) {
        Exit::Success
    } else {
        Exit::Found
    })
}

/// Brings components up, all where none is named.
pub(super) async fn start(
    context: &Context,
    project: &Project,
    command: &'static str,
    ports: PortUse<'_>,
    only: Vec<String>,
) -> Result<()> {
    let run = BringUp {
        command,
        project,
        engine: context.engine(project.config()).await?,
        ports,
        consent: context.consent(false),
        request: up::Request {
            only,
            wait: project.config().timeouts.wait.get(),
            golden: up::GoldenUse::Begin,
            kept: up::Kept::Ask,
        },
        bundle: None,
    };
    run.run(context).await?.complete()?;
    Ok(())
}

/// Whether nothing got lost. A dead letter that no outbox has written is one in the backup,
/// too.
pub(super) fn is_whole(report: &Report) -> bool {
    let lost = [Kind::Missing, Kind::Doubled, Kind::Broken];
    lost.into_iter().all(|kind| report.count(kind) == 0)
}

/// Accounts for every event once what the broker lacks is published again. `meanwhile` is how
/// things are where that is interrupted.
pub(super) async fn account(
    context: &Context,
    desk: &Desk,
    meanwhile: &'static str,
) -> Result<Report> {
    tokio::select! {
        report = accounted(context, desk) => report,
        () = context.interrupt.cancelled() => Err(BackupError::Interrupted(meanwhile).into()),
    }
}

async fn accounted(context: &Context, desk: &Desk) -> Result<Report> {
    let (stores, database) = (desk.stores(), desk.database().await?);
    let connection = desk.dead_letters().await?;
    let (management, memory) = (desk.management()?, memory::of_services(desk.config()));
    let printer = &context.printer;
    let site = reconcile::Site {
        stores: &stores,
        database: &database,
        connection: &connection,
        management: &management,
        memory: &memory,
        settle: SETTLE,
        told: &|what| printer.note(what),
    };
    let report = reconcile::run(&site).await?;
    let missing = report.count(Kind::Missing);
    if missing == 0 {
        return Ok(report);
    }
    let repaired = reconcile::repair(&site, &report.findings).await?;
    printer.note(&format!(
        "{repaired} of {missing} events that the broker lacked are published again"
    ));
    Ok(reconcile::run(&site).await?)
}

//! A set brought back into the stack that runs.

use std::time::Duration;

use lapin::Connection;

use super::super::context::{Context, PortUse, Project};
use super::super::desk::Desk;
use super::super::run::BringUp;
use super::{configured, create, store};
use crate::components::database::Database;
use crate::components::rabbitmq::management::Management;
use crate::components::{keycloak, openldap, postgres};
use crate::data::backup::{
    self, BackupError, Extent, Opened, Purpose, Server, Set, Site, Store, Target,
};
use crate::error::{Exit, Result};
use crate::messaging::memory;
use crate::messaging::reconcile::{self, Kind, Report};
use crate::output;
use crate::stack::up;

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

pub(super) fn confirm(
    context: &Context,
    project: &Project,
    extent: Extent<'_>,
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

/// The ways to a stack in which a set is brought back.
pub(super) struct Ways<'a> {
    context: &'a Context,
    desk: &'a Desk,
    postgres: String,
    directory: Option<String>,
    users: Vec<String>,
    setup: Database,
    broker: Connection,
    management: Management,
}

impl<'a> Ways<'a> {
    pub(super) async fn open(context: &'a Context, desk: &'a Desk) -> Result<Self> {
        let (config, instance) = (desk.config(), &desk.project.instance);
        let services = config.services.all().map(|(name, _)| name);
        let users = services.into_iter().chain([keycloak::NAME]);
        let directory = instance.container(openldap::NAME);
        let has_directory = desk.engine.inspect(&directory).await?.is_some();
        Ok(Self {
            context,
            desk,
            postgres: instance.container(postgres::NAME),
            directory: has_directory.then_some(directory),
            users: users.map(|name| instance.container(name)).collect(),
            setup: Database::new(config, &desk.project.loaded.root),
            broker: desk.dead_letters().await?,
            management: desk.management()?,
        })
    }

    fn server<'s>(&'s self, container: &'s str) -> Server<'s> {
        Server {
            engine: &self.desk.engine,
            container,
        }
    }

    fn target(&self) -> Target<'_> {
        let config = self.desk.config();
        Target {
            postgres: self.server(&self.postgres),
            options: postgres::connect_options(&config.postgres, &self.desk.ports),
            user: config.postgres.user.as_str(),
            name: config.postgres.database.as_str(),
            setup: &self.setup,
        }
    }

    fn site<'s>(&'s self, told: &'s (dyn Fn(&str) + Sync)) -> Site<'s> {
        Site {
            target: self.target(),
            users: &self.users,
            broker: &self.broker,
            management: &self.management,
            directory: self.directory.as_deref().map(|it| self.server(it)),
            interrupt: &self.context.interrupt,
            told,
        }
    }

    /// Brings a set back, all but bringing the services up again.
    pub(super) async fn restore(&self, opened: &Opened<'_>, extent: Extent<'_>) -> Result<()> {
        let told = |what: &str| self.context.printer.note(what);
        Ok(backup::restore(&self.site(&told), opened, extent).await?)
    }

    /// Does the rest of a restore that was cut short.
    pub(super) async fn resume(&self, opened: &Opened<'_>) -> Result<()> {
        let told = |what: &str| self.context.printer.note(what);
        Ok(backup::resume(&self.site(&told), opened).await?)
    }
}

/// Brings a set back over what there is, which is saved before where that is asked for.
pub(super) async fn run(
    context: &Context,
    desk: &Desk,
    store: &Store,
    opened: &Opened<'_>,
    extent: Extent<'_>,
    safety: bool,
) -> Result<()> {
    if let Some(unfinished) = unfinished(desk).await? {
        return Err(BackupError::Unfinished(unfinished).into());
    }
    if safety {
        let recipients = configured(&desk.project)?;
        let saved = create(context, desk, store, &recipients, Purpose::Safety).await?;
        context.printer.note(&format!(
            "what is there now is backup {}",
            saved.manifest.id
        ));
    }
    Ways::open(context, desk)
        .await?
        .restore(opened, extent)
        .await
}

/// The set whose restore was cut short.
pub(super) async fn unfinished(desk: &Desk) -> Result<Option<String>> {
    let options = postgres::connect_options(&desk.config().postgres, &desk.ports);
    Ok(backup::unfinished(&options).await?)
}

/// Brings a set back into an instance that has just begun anew. The caller has the
/// instance's lock.
pub(in crate::commands) async fn bring(
    context: &Context,
    project: &Project,
    opened: &Opened<'_>,
) -> Result<Exit> {
    let desk = Desk::open(context).await?;
    let store = store(project, None);
    run(context, &desk, &store, opened, Extent::Whole, false).await?;
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

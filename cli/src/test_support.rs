//! An assertion on the question of a command, with a project without a stack.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dm_backup::examples::create_backup;
use dm_backup::{Backup, BackupStore};
use dm_config::{CONFIG_FILE, Config, LoadOptions};
use dm_core::error::Result;
use dm_core::instance::Instance;
use dm_host::state::StateDir;
use dm_operations::session::InstanceSelection;
use dm_operations::{Frontend, Project, RunRecording, Session};
use dm_stack::event::RunEvent;
use dm_terminal::testing::{CapturedOutput, captured_printer};
use dm_terminal::{OutputFlags, Printer, TerminalEnv};
use futures_util::future::BoxFuture;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use crate::context::Context;

/// Asserts that a command compares a backup with the data before it asks a question that begins
/// with this text, and that it does neither if `yes`, its last argument, is set.
pub(crate) async fn assert_backup_is_compared_before(
    question: &str,
    confirm: impl AsyncFn(&Context, &Project, &Backup, bool) -> Result<()>,
) {
    let directory = tempfile::tempdir().unwrap();
    let project = project(directory.path());
    let store = BackupStore::new(directory.path().join("backups"));
    let backup = create_backup(&store, "20200101T000000000Z");
    let (context, stderr) = declining_context();
    assert!(confirm(&context, &project, &backup, false).await.is_err());
    let text = stderr.contents();
    let (comparison, question) = text.split_once(question).unwrap();
    assert!(
        comparison.starts_with("20200101T000000000Z: 2020-01-01 00:00:00 UTC, "),
        "{text}"
    );
    assert!(question.contains("of instance `default`"), "{text}");
    let (context, stderr) = declining_context();
    assert!(confirm(&context, &project, &backup, true).await.is_ok());
    assert_eq!(stderr.contents(), "");
}

/// A project in this directory, with its state in the same directory. No server listens on the
/// port of its database.
fn project(directory: &Path) -> Project {
    let text = "[project]\nname = \"paper\"\n[postgres]\nport = 1\n";
    std::fs::write(directory.join(CONFIG_FILE), text).unwrap();
    let options = LoadOptions {
        project_dir: Some(directory.to_owned()),
        ..LoadOptions::default()
    };
    Project {
        loaded: Config::load(&options, std::iter::empty()).unwrap(),
        instance: Instance::new("paper-1", "default", directory).unwrap(),
        state: StateDir::open_at(directory.join("state")).unwrap(),
    }
}

/// The context of a command on a terminal whose user declines, and the output to stderr.
fn declining_context() -> (Context, CapturedOutput) {
    let terminal = TerminalEnv {
        stdin_is_terminal: true,
        stderr_is_terminal: true,
        term: Some("dumb".into()),
        ..TerminalEnv::default()
    };
    let (printer, _, stderr) = captured_printer(&OutputFlags::default(), &terminal);
    let selection = InstanceSelection {
        instance: "default".to_owned(),
        project_directory: None,
        overrides: Vec::new(),
    };
    let frontend = Arc::new(DecliningFrontend(printer.clone()));
    let session = Session::new(selection, frontend, CancellationToken::new());
    (Context { printer, session }, stderr)
}

/// Prints each question and declines it.
struct DecliningFrontend(Printer);

impl Frontend for DecliningFrontend {
    fn note(&self, sentence: &str) {
        self.0.note(sentence);
    }

    fn warn(&self, sentence: &str) {
        self.0.warn(sentence);
    }

    fn done(&self, sentence: &str) {
        self.0.done(sentence);
    }

    fn can_ask(&self) -> bool {
        self.0.is_interactive()
    }

    fn confirm(&self, question: &str) -> Result<bool> {
        self.0.write_stderr(question);
        Ok(false)
    }

    fn counter(&self, _: &'static str) -> Box<dyn Fn(u64, u64) + Send + Sync + '_> {
        Box::new(|_, _| {})
    }

    fn follow(
        &self,
        _: UnboundedReceiver<RunEvent>,
        _: Option<Duration>,
    ) -> BoxFuture<'_, RunRecording> {
        Box::pin(std::future::ready(RunRecording::default()))
    }
}

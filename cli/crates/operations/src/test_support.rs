//! A project in a directory, and a frontend with scripted answers, for tests without an
//! engine or a terminal.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dm_config::{Config, ConfigOverride, LoadOptions};
use dm_core::error::Result;
use dm_core::instance::Instance;
use dm_host::state::StateDir;
use dm_stack::event::RunEvent;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use crate::frontend::Frontend;
use crate::run_recording::RunRecording;
use crate::session::{InstanceSelection, Project, Session};

/// A project that consists of a name only, with its state in the same directory.
pub(crate) fn project(directory: &Path) -> Project {
    project_with(directory, "", &[])
}

/// Like [`project`], with more tables in `dm.toml`, and with values of `--set`.
pub(crate) fn project_with(directory: &Path, tables: &str, overrides: &[&str]) -> Project {
    std::fs::write(
        directory.join(dm_config::CONFIG_FILE),
        format!("[project]\nname = \"paper\"\n{tables}"),
    )
    .unwrap();
    let options = LoadOptions {
        project_dir: Some(directory.to_owned()),
        current_dir: directory.to_owned(),
        overrides: overrides
            .iter()
            .map(|pair| ConfigOverride::from_set_option(pair))
            .collect(),
    };
    let loaded = Config::load(&options, std::iter::empty()).unwrap();
    Project {
        instance: Instance::new("paper-1".to_owned(), "default", directory).unwrap(),
        loaded,
        state: StateDir::open_at(directory.join("state")).unwrap(),
    }
}

/// A session for a project in this directory.
pub(crate) fn session(frontend: Arc<ScriptedFrontend>, directory: &Path) -> Session {
    let selection = InstanceSelection {
        instance: "default".to_owned(),
        project_directory: Some(directory.to_owned()),
        overrides: Vec::new(),
    };
    Session::new(selection, frontend, CancellationToken::new())
}

/// Answers every question alike, and records the questions and reports.
#[derive(Debug, Default)]
pub(crate) struct ScriptedFrontend {
    answer: Option<bool>,
    questions: Mutex<Vec<String>>,
    reports: Mutex<Vec<String>>,
}

impl ScriptedFrontend {
    /// A frontend that gives this answer, or that is not interactive if `answer` is `None`.
    pub(crate) fn with_answer(answer: Option<bool>) -> Arc<Self> {
        Arc::new(Self {
            answer,
            ..Self::default()
        })
    }

    /// The questions so far.
    pub(crate) fn questions(&self) -> Vec<String> {
        self.questions.lock().unwrap().clone()
    }

    /// The reports so far.
    pub(crate) fn reports(&self) -> Vec<String> {
        self.reports.lock().unwrap().clone()
    }

    fn report(&self, sentence: &str) {
        self.reports.lock().unwrap().push(sentence.to_owned());
    }
}

impl Frontend for ScriptedFrontend {
    fn note(&self, sentence: &str) {
        self.report(sentence);
    }

    fn warn(&self, sentence: &str) {
        self.report(sentence);
    }

    fn done(&self, sentence: &str) {
        self.report(sentence);
    }

    fn can_ask(&self) -> bool {
        self.answer.is_some()
    }

    fn confirm(&self, question: &str) -> Result<bool> {
        self.questions.lock().unwrap().push(question.to_owned());
        Ok(self.answer.unwrap_or_default())
    }

    fn counter(&self, _: &'static str) -> Box<dyn Fn(u64, u64) + Send + Sync + '_> {
        Box::new(|_, _| {})
    }

    fn follow(
        &self,
        mut events: UnboundedReceiver<RunEvent>,
        _: Option<Duration>,
    ) -> BoxFuture<'_, RunRecording> {
        async move {
            let mut recording = RunRecording::default();
            while let Some(event) = events.recv().await {
                recording.add(event);
            }
            recording
        }
        .boxed()
    }
}

//! Resets an instance: removes all data and starts fresh.

use dm_backup::{Backup, Identities};
use dm_core::error::{ExitStatus, Result, UserError};
use dm_core::error_code::ErrorCode;
use dm_seed::SeedFile;
use thiserror::Error;

use crate::backup;
use crate::seed::SeedScale;
use crate::session::{Project, Session};
use crate::stack_run::{RunPhase, RunResult, StackRun};

/// The reset was not confirmed.
#[derive(Debug, Error)]
#[error("could not reset: the removal of all data of instance `{instance}` was not confirmed")]
struct ResetNotConfirmed {
    instance: String,
}

impl UserError for ResetNotConfirmed {
    fn code(&self) -> ErrorCode {
        ErrorCode::NotConfirmed
    }

    fn exit_status(&self) -> ExitStatus {
        ExitStatus::Usage
    }

    fn suggestions(&self) -> Vec<String> {
        vec!["run the command again with --yes".into()]
    }
}

/// A number that may be the beginning of a backup id.
#[derive(Debug, Error)]
#[error("`{number}` is ambiguous: a number of orders, or the beginning of a backup id")]
struct AmbiguousTarget {
    number: String,
}

impl UserError for AmbiguousTarget {
    fn code(&self) -> ErrorCode {
        ErrorCode::ResetAmbiguous
    }

    fn exit_status(&self) -> ExitStatus {
        ExitStatus::Usage
    }

    fn suggestions(&self) -> Vec<String> {
        let digits = self.number.as_bytes().rchunks(3).rev();
        let groups: Vec<_> = digits.map(String::from_utf8_lossy).collect();
        vec![
            "for a backup, give more characters of its id: dm backup ls".into(),
            format!(
                "for that many orders, separate the digits: dm reset --to {}",
                groups.join("_")
            ),
        ]
    }
}

/// Returns whether digits may be the beginning of a backup id, e.g. `20261126T…`: a year of this
/// century and a month, with or without a day.
fn may_be_backup_id(text: &str) -> bool {
    let are_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let month = text.get(4..6).and_then(|month| month.parse().ok());
    let has_month = month.is_some_and(|month: u8| (1..=12).contains(&month));
    are_digits && text.starts_with("20") && has_month && text.len() <= 8
}

/// The data that a reset is requested to end with.
#[derive(Debug, PartialEq, Eq)]
enum RequestedData<'a> {
    /// No data.
    Empty,
    /// A seed of this scale.
    Seed(SeedScale),
    /// The backup with this id, or the one that this word selects.
    Backup(&'a str),
}

impl<'a> RequestedData<'a> {
    /// Decides whether `to` is the scale of a seed or selects a backup.
    ///
    /// # Errors
    /// Returns [`AmbiguousTarget`] if it may be both: a wrong guess would replace the data with
    /// an unintended seed.
    fn parse(to: Option<&'a str>) -> Result<Self, AmbiguousTarget> {
        let Some(to) = to else {
            return Ok(Self::Empty);
        };
        match SeedScale::parse(to) {
            Ok(_) if may_be_backup_id(to) => Err(AmbiguousTarget { number: to.into() }),
            Ok(scale) => Ok(Self::Seed(scale)),
            Err(_) => Ok(Self::Backup(to)),
        }
    }
}

/// The data of an instance after a reset.
pub enum InitialData {
    /// No data.
    Empty,
    /// A seed of this scale.
    Seed(SeedScale),
    /// A backup, with the identities that decrypt it.
    Backup(Box<(Backup, Identities)>),
}

impl InitialData {
    /// Resolves the scale of a seed or the id of a backup and checks it, so that errors are
    /// reported before the data is removed.
    ///
    /// # Errors
    /// If the backup does not exist or cannot be restored here, or if the seed file is invalid.
    pub fn resolve(project: &Project, to: Option<&str>) -> Result<Self> {
        match RequestedData::parse(to)? {
            RequestedData::Empty => Ok(Self::Empty),
            RequestedData::Seed(scale) => {
                SeedFile::load(&project.loaded.root)?;
                Ok(Self::Seed(scale))
            }
            RequestedData::Backup(id) => {
                let store = backup::open_store(project, None);
                let backup = store.find(id)?;
                backup::restore::check_restorable(project, &store, &backup, false)?;
                let identities = backup::identities(project, None)?;
                backup.open(&identities)?;
                Ok(Self::Backup(Box::new((backup, identities))))
            }
        }
    }
}

/// Asks for confirmation that all data is removed.
///
/// # Errors
/// If the reset is not confirmed.
pub fn confirm(session: &Session, project: &Project, yes: bool) -> Result<()> {
    let instance = project.instance.name.clone();
    let question = format!("remove all data of instance `{instance}` and start fresh?");
    if session.is_confirmed(yes, &question)? {
        Ok(())
    } else {
        Err(ResetNotConfirmed { instance }.into())
    }
}

/// Removes the data and brings the instance up fresh. The caller holds the instance lock.
///
/// # Errors
/// If the engine fails. Failures of components are in the outcome.
pub async fn reset_and_bring_up(
    session: &Session,
    project: &Project,
    yes: bool,
) -> Result<RunResult> {
    let engine = session.engine(project.config()).await?;
    let consent = session.consent(yes);
    reset_run(project).execute(session, engine, consent).await
}

fn reset_run(project: &Project) -> StackRun<'_> {
    StackRun::new("reset", project)
        .with_phase(RunPhase::ClearData)
        .with_phase(RunPhase::up(project, &[], None))
}

#[cfg(test)]
mod tests {
    use crate::test_support::{self, ScriptedFrontend};

    use super::*;

    #[test]
    fn reset_run_clears_data_before_up() {
        let directory = tempfile::tempdir().unwrap();
        let project = test_support::project(directory.path());
        let phases = reset_run(&project).phases;
        assert!(
            matches!(
                phases[..],
                [RunPhase::FinishReset, RunPhase::ClearData, RunPhase::Up(_)]
            ),
            "{phases:?}"
        );
    }

    #[test]
    fn requested_data_is_a_seed_if_it_is_a_scale_and_otherwise_a_backup() {
        assert_eq!(RequestedData::parse(None).unwrap(), RequestedData::Empty);
        for (to, scale) in [
            ("demo", SeedScale::Demo),
            ("small", SeedScale::Orders(1_000)),
            ("2026", SeedScale::Orders(2_026)),
            ("2,500", SeedScale::Orders(2_500)),
            // Separated digits are no beginning of a backup id.
            ("20_261_126", SeedScale::Orders(20_261_126)),
            // A backup id has a month from 01 to 12.
            ("202613", SeedScale::Orders(202_613)),
            ("100000000", SeedScale::Orders(100_000_000)),
        ] {
            assert_eq!(
                RequestedData::parse(Some(to)).unwrap(),
                RequestedData::Seed(scale)
            );
        }
        for to in [
            "latest",
            "20261126T1",
            "20261126T101500Z",
            "Demo",
            "0",
            "100000001",
            "",
        ] {
            assert_eq!(
                RequestedData::parse(Some(to)).unwrap(),
                RequestedData::Backup(to)
            );
        }
    }

    #[test]
    fn requested_data_that_may_be_a_scale_or_a_backup_is_rejected() {
        for to in ["202601", "202612", "2026112", "20261126"] {
            let error = RequestedData::parse(Some(to)).unwrap_err();
            assert_eq!(error.number, to);
        }
    }

    #[test]
    fn resolve_fails_for_a_missing_backup_or_seed_file() {
        let directory = tempfile::tempdir().unwrap();
        let project = test_support::project(directory.path());
        let error_code = |to| match InitialData::resolve(&project, Some(to)) {
            Ok(_) => panic!("{to} was resolved"),
            Err(error) => error.user_error().code(),
        };
        assert_eq!(error_code("latest"), ErrorCode::BackupNotFound);
        // There is no seed file.
        assert_eq!(error_code("demo"), ErrorCode::SeedFile);
        assert!(matches!(
            InitialData::resolve(&project, None),
            Ok(InitialData::Empty)
        ));
    }

    #[test]
    fn resolve_rejects_numbers_that_may_be_backup_ids() {
        let directory = tempfile::tempdir().unwrap();
        let project = test_support::project(directory.path());
        for number in ["20261126", "202611"] {
            let Err(error) = InitialData::resolve(&project, Some(number)) else {
                panic!("{number} was accepted");
            };
            assert_eq!(error.user_error().code(), ErrorCode::ResetAmbiguous);
        }
        let suggestions = AmbiguousTarget {
            number: "20261126".into(),
        }
        .suggestions();
        assert!(
            suggestions[1].ends_with("--to 20_261_126"),
            "{suggestions:?}"
        );
        for number in [
            "2026",
            "1000",
            "20_261_126",
            "100000",
            "30261126",
            "200000",
            "20000000",
        ] {
            assert!(!may_be_backup_id(number), "{number}");
        }
    }

    #[test]
    fn confirm_fails_without_yes_or_a_positive_answer() {
        let directory = tempfile::tempdir().unwrap();
        let project = test_support::project(directory.path());
        for (answer, yes, confirmed) in [
            (None, false, false),
            (None, true, true),
            (Some(false), false, false),
            (Some(true), false, true),
        ] {
            let frontend = ScriptedFrontend::with_answer(answer);
            let session = test_support::session(frontend.clone(), directory.path());
            let result = confirm(&session, &project, yes);
            assert_eq!(result.is_ok(), confirmed, "{answer:?} {yes}");
            let expected = if yes {
                0
            } else {
                usize::from(answer.is_some())
            };
            assert_eq!(frontend.questions().len(), expected, "{answer:?} {yes}");
        }
    }
}

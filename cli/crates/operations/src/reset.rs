//! All data of an instance is thrown away, and it begins anew.

use dm_backup::{Backup, Identities};
use dm_core::error::{ExitStatus, Result, UserError};
use dm_core::error_code::ErrorCode;
use dm_seed::SeedFile;
use thiserror::Error;

use crate::backup;
use crate::seed::SeedScale;
use crate::session::{Project, Session};
use crate::stack_run::{RunPhase, RunResult, StackRun};

/// The data is still there.
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

/// A number that may be the day of a backup.
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

/// Whether a text of digits alone begins as the ids of backups do, e.g. `20261126T…`: a year
/// of this century and a month, perhaps with a day.
fn may_be_backup_id(text: &str) -> bool {
    let are_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let month = text.get(4..6).and_then(|month| month.parse().ok());
    let has_month = month.is_some_and(|month: u8| (1..=12).contains(&month));
    are_digits && text.starts_with("20") && has_month && text.len() <= 8
}

/// What an instance begins with.
pub enum InitialData {
    /// No data.
    Empty,
    /// A seed of this scale.
    Seed(SeedScale),
    /// A backup, with the keys that open it.
    Backup(Box<(Backup, Identities)>),
}

impl InitialData {
    /// Finds what was asked for, the scale of a seed or the id of a backup, and checks it, so
    /// that what is wrong with it is told while there still is what was there.
    ///
    /// # Errors
    /// There is no such backup, or it can't be restored here, or the seed file is wrong.
    pub fn resolve(project: &Project, to: Option<&str>) -> Result<Self> {
        let Some(to) = to else {
            return Ok(Self::Empty);
        };
        if let Ok(scale) = SeedScale::parse(to) {
            // The wrong guess would replace the data by a seed that was not meant.
            if may_be_backup_id(to) {
                return Err(AmbiguousTarget { number: to.into() }.into());
            }
            SeedFile::load(&project.loaded.root)?;
            return Ok(Self::Seed(scale));
        }
        let set = backup::open_store(project, None).find(to)?;
        backup::restore::check_restorable(project, &set, false)?;
        let keys = backup::identities(project, None)?;
        set.open(&keys)?;
        Ok(Self::Backup(Box::new((set, keys))))
    }
}

/// Makes sure that the data may go.
///
/// # Errors
/// Nobody says so.
pub fn confirm(session: &Session, project: &Project, yes: bool) -> Result<()> {
    let instance = project.instance.name.clone();
    let question = format!("remove all data of instance `{instance}` and start fresh?");
    if session.is_confirmed(yes, &question)? {
        Ok(())
    } else {
        Err(ResetNotConfirmed { instance }.into())
    }
}

/// Throws the data away and brings the instance up fresh. The caller has the instance's
/// lock.
///
/// # Errors
/// The engine fails; what fails in a component is in the outcome.
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
    fn the_data_goes_before_anything_is_brought_up() {
        let folder = tempfile::tempdir().unwrap();
        let project = test_support::project(folder.path());
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
    fn what_it_begins_with_is_found_first() {
        let folder = tempfile::tempdir().unwrap();
        let project = test_support::project(folder.path());
        let failing = |to| match InitialData::resolve(&project, Some(to)) {
            Ok(_) => panic!("{to} was found"),
            Err(error) => error.user_error().code(),
        };
        assert_eq!(failing("latest"), ErrorCode::BackupNotFound);
        // There is no seed file.
        assert_eq!(failing("demo"), ErrorCode::SeedFile);
        assert!(matches!(
            InitialData::resolve(&project, None),
            Ok(InitialData::Empty)
        ));
    }

    #[test]
    fn a_number_that_may_be_a_backups_day_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let project = test_support::project(folder.path());
        for number in ["20261126", "202611"] {
            let Err(error) = InitialData::resolve(&project, Some(number)) else {
                panic!("{number} was taken");
            };
            assert_eq!(error.user_error().code(), ErrorCode::ResetAmbiguous);
        }
        let next = AmbiguousTarget {
            number: "20261126".into(),
        }
        .suggestions();
        assert!(next[1].ends_with("--to 20_261_126"), "{next:?}");
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
    fn without_a_yes_the_data_stays() {
        let folder = tempfile::tempdir().unwrap();
        let project = test_support::project(folder.path());
        for (answer, yes, confirmed) in [
            (None, false, false),
            (None, true, true),
            (Some(false), false, false),
            (Some(true), false, true),
        ] {
            let script = ScriptedFrontend::with_answer(answer);
            let session = test_support::session(script.clone(), folder.path());
            let result = confirm(&session, &project, yes);
            assert_eq!(result.is_ok(), confirmed, "{answer:?} {yes}");
            let asked = if yes {
                0
            } else {
                usize::from(answer.is_some())
            };
            assert_eq!(script.questions().len(), asked, "{answer:?} {yes}");
        }
    }
}

//! All data of an instance is thrown away, and it begins anew.

use dm_backup::{Identities, Set};
use dm_core::error::{Coded, Exit, Result};
use dm_seed::SeedFile;
use thiserror::Error;

use crate::backup;
use crate::run::{Brought, Phase, Run};
use crate::seed::Scale;
use crate::session::{Project, Session};

/// The data is still there.
#[derive(Debug, Error)]
#[error("a reset removes all data of instance `{instance}`, and that was not confirmed")]
struct NotConfirmed {
    instance: String,
}

impl Coded for NotConfirmed {
    fn code(&self) -> &'static str {
        "not-confirmed"
    }

    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn next(&self) -> Vec<String> {
        vec!["call the same command again with --yes".into()]
    }
}

/// What an instance begins with.
pub enum Beginning {
    /// No data.
    Empty,
    /// A seed of this scale.
    Seed(Scale),
    /// A backup, with the keys that open it.
    Backup(Box<(Set, Identities)>),
}

impl Beginning {
    /// Finds what was asked for, the scale of a seed or the id of a backup, and checks it, so
    /// that what is wrong with it is told while there still is what was there.
    ///
    /// # Errors
    /// There is no such backup, or it can't be restored here, or the seed file is wrong.
    pub fn find(project: &Project, to: Option<&str>) -> Result<Self> {
        let Some(to) = to else {
            return Ok(Self::Empty);
        };
        if let Ok(scale) = Scale::parse(to) {
            SeedFile::read(&project.loaded.root)?;
            return Ok(Self::Seed(scale));
        }
        let set = backup::store(project, None).find(to)?;
        backup::restore::check(project, &set, false)?;
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
        Err(NotConfirmed { instance }.into())
    }
}

/// Throws the data away and brings the instance up fresh. The caller has the instance's
/// lock.
///
/// # Errors
/// The engine fails; what fails in a component is in the outcome.
pub async fn fresh(session: &Session, project: &Project, yes: bool) -> Result<Brought> {
    let engine = session.engine(project.config()).await?;
    let consent = session.consent(yes);
    run(project).execute(session, engine, consent).await
}

fn run(project: &Project) -> Run<'_> {
    Run::new("reset", project)
        .phase(Phase::Clear)
        .phase(Phase::up(project, &[], None))
}

#[cfg(test)]
mod tests {
    use crate::testing::{self, Script};

    use super::*;

    #[test]
    fn the_data_goes_before_anything_is_brought_up() {
        let folder = tempfile::tempdir().unwrap();
        let project = testing::project(folder.path());
        let phases = run(&project).phases;
        assert!(
            matches!(phases[..], [Phase::FinishReset, Phase::Clear, Phase::Up(_)]),
            "{phases:?}"
        );
    }

    #[test]
    fn what_it_begins_with_is_found_first() {
        let folder = tempfile::tempdir().unwrap();
        let project = testing::project(folder.path());
        let failing = |to| match Beginning::find(&project, Some(to)) {
            Ok(_) => panic!("{to} was found"),
            Err(error) => error.coded().code(),
        };
        assert_eq!(failing("latest"), "backup-not-found");
        // There is no seed file.
        assert_eq!(failing("demo"), "seed-file");
        assert!(matches!(
            Beginning::find(&project, None),
            Ok(Beginning::Empty)
        ));
    }

    #[test]
    fn without_a_yes_the_data_stays() {
        let folder = tempfile::tempdir().unwrap();
        let project = testing::project(folder.path());
        for (answer, yes, confirmed) in [
            (None, false, false),
            (None, true, true),
            (Some(false), false, false),
            (Some(true), false, true),
        ] {
            let script = Script::answering(answer);
            let session = testing::session(script.clone(), folder.path());
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

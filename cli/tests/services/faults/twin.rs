//! A second instance of a service, that `dm` knows nothing of.

use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use super::super::stack::PATIENCE;
use super::{container, docker};

pub struct Twin(String);

impl Twin {
    pub fn of(component: &str) -> Result<Self, Failed> {
        let first = container(component)?;
        let ask = |format: &str| docker(&["inspect", "--format", format, &first]);
        let variables = ask("{{range .Config.Env}}{{println .}}{{end}}")?;
        let network = ask("{{range $name, $_ := .NetworkSettings.Networks}}{{$name}}{{end}}")?;
        let image = ask("{{.Config.Image}}")?;
        let mut arguments = vec!["create", "--network", network.trim()];
        for variable in variables.lines().filter(|line| !line.is_empty()) {
            arguments.extend(["--env", variable]);
        }
        arguments.push(image.trim());
        let twin = Self(docker(&arguments)?.trim().to_owned());
        // Its secrets are files of the first one, of the user that runs there.
        let folder = tempfile::tempdir()?;
        let between = folder.path().join("dm-secrets").display().to_string();
        let of_first = format!("{first}:/etc/dm-secrets");
        docker(&["cp", "--archive", &of_first, &between])?;
        docker(&["cp", "--archive", &between, &format!("{}:/etc/", twin.0)])?;
        docker(&["start", &twin.0])?;
        Ok(twin)
    }

    /// Waits until its log contains these words.
    pub fn logs(&self, words: &str) -> Result<(), Failed> {
        let until = Instant::now() + PATIENCE;
        loop {
            let log = docker(&["logs", &self.0])?;
            if log.contains(words) {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(format!("the second instance never logged {words}: {log}").into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        let _ = docker(&["rm", "--force", &self.0]);
    }
}

//! A second instance of a service, that `dm` knows nothing of.

use libtest_mimic::Failed;

use super::{container, docker};

pub struct Twin(String);

impl Twin {
    pub fn of(component: &str) -> Result<Self, Failed> {
        let first = container(component)?;
        let ask = |format: &str| docker(&["inspect", "--format", format, &first]);
        let variables = ask("{{range .Config.Env}}{{println .}}{{end}}")?;
        let network = ask("{{range $name, $_ := .NetworkSettings.Networks}}{{$name}}{{end}}")?;
        let image = ask("{{.Config.Image}}")?;
        let mut arguments = vec!["run", "--detach", "--network", network.trim()];
        for variable in variables.lines().filter(|line| !line.is_empty()) {
            arguments.extend(["--env", variable]);
        }
        arguments.push(image.trim());
        Ok(Self(docker(&arguments)?.trim().to_owned()))
    }

    pub fn log(&self) -> Result<String, Failed> {
        docker(&["logs", &self.0])
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        let _ = docker(&["rm", "--force", &self.0]);
    }
}

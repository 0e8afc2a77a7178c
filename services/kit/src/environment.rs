//! Settings from environment variables. All errors are reported at once.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

/// The environment variables of this process, and the errors of those that were read.
#[derive(Debug, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    errors: Vec<String>,
}

/// Environment variables that are missing or not valid.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{}", .0.join("; "))]
pub struct EnvironmentError(Vec<String>);

impl Environment {
    /// Reads the variables of this process.
    #[must_use]
    pub(crate) fn from_env() -> Self {
        std::env::vars().collect()
    }

    /// Parses a value. Returns the default if the variable is missing, empty or not valid.
    pub fn get<T>(&mut self, name: &str, default: T) -> T
    where
        T: FromStr,
        T::Err: Display,
    {
        let Some(text) = self.text(name) else {
            return default;
        };
        match text.parse() {
            Ok(value) => value,
            Err(error) => {
                self.errors.push(format!("{name} is not valid: {error}"));
                default
            }
        }
    }

    /// Parses a duration in whole milliseconds.
    pub fn milliseconds(&mut self, name: &str, default: Duration) -> Duration {
        let default = u64::try_from(default.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.get(name, default))
    }

    /// Returns a text, or the default if the variable is missing or empty.
    pub fn text_or(&mut self, name: &str, default: &str) -> String {
        self.text(name).unwrap_or_else(|| default.to_owned())
    }

    /// Returns a required secret: the variable without trimming, or the contents of the file
    /// that `<name>_FILE` names. No error contains it.
    pub(crate) fn secret(&mut self, name: &str) -> String {
        self.optional_secret(name).unwrap_or_else(|| {
            self.errors.push(format!("{name} is missing"));
            String::new()
        })
    }

    /// Returns a secret like `Environment::secret`, or the default if there is neither variable
    /// nor file.
    pub fn secret_or(&mut self, name: &str, default: &str) -> String {
        self.optional_secret(name)
            .unwrap_or_else(|| default.to_owned())
    }

    fn optional_secret(&mut self, name: &str) -> Option<String> {
        let value = self.variables.get(name);
        if let Some(secret) = value.filter(|secret| !secret.is_empty()) {
            return Some(secret.clone());
        }
        let variable = format!("{name}_FILE");
        let path = self.text(&variable)?;
        match std::fs::read_to_string(&path) {
            Ok(secret) => {
                let secret = secret.strip_suffix('\n').unwrap_or(&secret);
                Some(secret.to_owned()).filter(|secret| !secret.is_empty())
            }
            Err(error) => {
                let error = format!("could not read {path} ({variable}): {error}");
                self.errors.push(error);
                Some(String::new())
            }
        }
    }

    /// Returns a list that is separated by commas.
    pub fn list(&mut self, name: &str, default: &[&str]) -> Vec<String> {
        match self.text(name) {
            Some(text) => text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(str::to_owned)
                .collect(),
            None => default.iter().map(|&item| item.to_owned()).collect(),
        }
    }

    /// Adds an error about the value of a variable.
    pub(crate) fn add_error(&mut self, error: String) {
        self.errors.push(error);
    }

    /// Checks that all variables that were read are valid.
    ///
    /// # Errors
    /// Returns an error that contains all of them.
    pub fn check(&self) -> Result<(), EnvironmentError> {
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(EnvironmentError(self.errors.clone()))
        }
    }

    fn text(&self, name: &str) -> Option<String> {
        self.variables
            .get(name)
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty())
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self {
            variables: variables.into_iter().collect(),
            errors: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        variables
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn empty_variable_counts_as_missing() {
        let mut environment = environment(&[("SERVER_PORT", " "), ("HOSTS", "a, b,,")]);
        assert_eq!(environment.get("SERVER_PORT", 8093_u16), 8093);
        assert_eq!(environment.list("HOSTS", &[]), ["a", "b"]);
        assert_eq!(environment.check(), Ok(()));
    }

    #[test]
    fn secret_keeps_spaces_and_is_read_from_a_file() {
        let file = std::env::temp_dir().join(format!("dm-kit-secret-{}", std::process::id()));
        std::fs::write(&file, " a $b \n").unwrap();
        let path = file.display().to_string();
        let mut environment = environment(&[
            ("A", " x "),
            ("B_FILE", &path),
            ("C_FILE", "/no/such/file"),
            ("D", "wins"),
            ("D_FILE", &path),
        ]);
        assert_eq!(environment.secret("A"), " x ");
        assert_eq!(environment.secret("B"), " a $b ");
        assert_eq!(environment.secret("D"), "wins");
        assert_eq!(environment.secret_or("E", "default"), "default");
        assert_eq!(environment.check(), Ok(()));
        environment.secret("C");
        let error = environment.check().unwrap_err().to_string();
        assert!(error.contains("(C_FILE)"), "{error}");
        std::fs::remove_file(file).unwrap();
    }

    #[test]
    fn check_reports_all_errors_without_secrets() {
        let mut environment = environment(&[("SERVER_PORT", "eighty"), ("POSTGRES_PASSWORD", "")]);
        let _: u16 = environment.get("SERVER_PORT", 1);
        environment.secret("POSTGRES_PASSWORD");
        assert_eq!(
            environment.check().unwrap_err().to_string(),
            "SERVER_PORT is not valid: invalid digit found in string; \
             POSTGRES_PASSWORD is missing"
        );
    }
}

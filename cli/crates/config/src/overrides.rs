//! The overrides of `--set`, as one `dm` process passes them to another: in a variable, because
//! any user of the machine can read an argument list.

use dm_core::error::{ExitStatus, Result, UserError};
use dm_core::error_code::ErrorCode;
use thiserror::Error;

use super::layers::OVERRIDES_VARIABLE;

/// The error if the variable does not have the format that `dm` writes.
#[derive(Debug, Error)]
#[error("could not read {OVERRIDES_VARIABLE}: the value is not a JSON array of strings")]
struct InvalidOverridesVariable(#[source] serde_json::Error);

impl UserError for InvalidOverridesVariable {
    fn code(&self) -> ErrorCode {
        ErrorCode::OverridesVariable
    }

    fn exit_status(&self) -> ExitStatus {
        ExitStatus::Usage
    }

    fn suggestions(&self) -> Vec<String> {
        vec![format!(
            r#"e.g. {OVERRIDES_VARIABLE}='["postgres.port=5433"]' dm up"#
        )]
    }
}

/// Returns the name and value of the variable that passes overrides to another `dm` process.
#[must_use]
pub fn to_variable(overrides: &[String]) -> (&'static str, String) {
    (OVERRIDES_VARIABLE, serde_json::json!(overrides).to_string())
}

/// Returns the overrides of the variable, followed by those of the command line.
///
/// # Errors
/// If the variable is not a JSON array of strings.
pub fn with_inherited(command_line: Vec<String>) -> Result<Vec<String>> {
    let variable =
        std::env::var_os(OVERRIDES_VARIABLE).map(|text| text.to_string_lossy().into_owned());
    merge_overrides(variable.as_deref(), command_line)
}

fn merge_overrides(variable: Option<&str>, command_line: Vec<String>) -> Result<Vec<String>> {
    let Some(text) = variable.filter(|text| !text.is_empty()) else {
        return Ok(command_line);
    };
    let mut overrides: Vec<String> =
        serde_json::from_str(text).map_err(InvalidOverridesVariable)?;
    overrides.extend(command_line);
    Ok(overrides)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inherited_overrides_precede_those_of_the_command_line() {
        let inherited = vec!["postgres.password=a\"b\n$c".to_owned(), "x=1".to_owned()];
        let (_, text) = to_variable(&inherited);
        let overrides = merge_overrides(Some(&text), vec!["x=2".to_owned()]).unwrap();
        assert_eq!(overrides, [inherited[0].as_str(), "x=1", "x=2"]);
        assert_eq!(
            merge_overrides(None, vec!["x=2".to_owned()]).unwrap(),
            ["x=2"]
        );
        let error = merge_overrides(Some("x=1"), Vec::new()).unwrap_err();
        assert_eq!(error.user_error().exit_status(), ExitStatus::Usage);
    }
}

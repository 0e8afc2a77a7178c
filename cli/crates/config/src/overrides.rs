//! What `--set` gives, as one call of `dm` hands it to another: by a variable, since any user
//! of the machine sees an argument list.

use dm_core::error::{ExitStatus, Result, UserError};
use dm_core::error_code::ErrorCode;
use thiserror::Error;

use super::layers::OVERRIDES_VARIABLE;

/// The variable is not what `dm` writes.
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

/// Hands overrides to a call of `dm`, as name and value of a variable.
#[must_use]
pub fn to_variable(overrides: &[String]) -> (&'static str, String) {
    (OVERRIDES_VARIABLE, serde_json::json!(overrides).to_string())
}

/// The overrides that were handed over to this process, and then those of its command line.
///
/// # Errors
/// The variable is unreadable.
pub fn with_inherited(set: Vec<String>) -> Result<Vec<String>> {
    let variable =
        std::env::var_os(OVERRIDES_VARIABLE).map(|text| text.to_string_lossy().into_owned());
    merge_overrides(variable.as_deref(), set)
}

fn merge_overrides(variable: Option<&str>, set: Vec<String>) -> Result<Vec<String>> {
    let Some(text) = variable.filter(|text| !text.is_empty()) else {
        return Ok(set);
    };
    let mut overrides: Vec<String> =
        serde_json::from_str(text).map_err(InvalidOverridesVariable)?;
    overrides.extend(set);
    Ok(overrides)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_over_arrives_before_what_the_command_line_says() {
        let given = vec!["postgres.password=a\"b\n$c".to_owned(), "x=1".to_owned()];
        let (_, text) = to_variable(&given);
        let found = merge_overrides(Some(&text), vec!["x=2".to_owned()]).unwrap();
        assert_eq!(found, [given[0].as_str(), "x=1", "x=2"]);
        assert_eq!(
            merge_overrides(None, vec!["x=2".to_owned()]).unwrap(),
            ["x=2"]
        );
        let error = merge_overrides(Some("x=1"), Vec::new()).unwrap_err();
        assert_eq!(error.user_error().exit_status(), ExitStatus::Usage);
    }
}

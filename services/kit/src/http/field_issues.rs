//! Collects the issues of all fields of a request.

use dm_contracts::api::error::FieldIssue;
use dm_contracts::validation::is_email;

/// The issues found so far.
#[derive(Debug, Default)]
pub struct FieldIssues(Vec<FieldIssue>);

impl FieldIssues {
    /// Adds an issue.
    pub fn add(&mut self, field: impl Into<String>, issue: impl Into<String>) {
        self.0.push(FieldIssue::new(field, issue));
    }

    /// Returns a required text, trimmed. If it is missing or blank, adds the issue and returns an
    /// empty text.
    pub fn required_text(&mut self, field: &str, value: Option<&str>, issue: &str) -> String {
        let text = trimmed(value);
        if text.is_empty() {
            self.add(field, issue);
        }
        text
    }

    /// Returns a required e-mail address, trimmed. Adds the issue `missing` if it is missing or
    /// blank, and `invalid` if it has no `@`.
    pub fn required_email(
        &mut self,
        field: &str,
        value: Option<&str>,
        missing: &str,
        invalid: &str,
    ) -> String {
        let text = self.required_text(field, value, missing);
        if !text.is_empty() && !is_email(&text) {
            self.add(field, invalid);
        }
        text
    }

    /// Adds the issue if a text has more than `limit` characters.
    pub fn check_length(
        &mut self,
        field: &str,
        text: &str,
        limit: usize,
        issue: impl Into<String>,
    ) {
        if text.chars().count() > limit {
            self.add(field, issue);
        }
    }

    /// Returns the validated value, if there are no issues.
    ///
    /// # Errors
    /// Returns the issues in the order in which they were added.
    pub fn into_result<T>(self, value: T) -> Result<T, Vec<FieldIssue>> {
        if self.0.is_empty() {
            Ok(value)
        } else {
            Err(self.0)
        }
    }
}

/// Returns a trimmed text, or an empty one if it is missing.
#[must_use]
pub fn trimmed(value: Option<&str>) -> String {
    value.unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issues_are_returned_in_the_order_of_checks() {
        let mut issues = FieldIssues::default();
        assert_eq!(issues.required_text("a", Some("  x "), "required"), "x");
        assert_eq!(issues.required_text("b", Some(" \t\n"), "required"), "");
        assert_eq!(issues.required_text("c", None, "required"), "");
        assert_eq!(
            issues.required_email("e", Some(" a@b "), "required", "no email"),
            "a@b"
        );
        issues.required_email("e", Some(" "), "required", "no email");
        issues.required_email("e", Some("ab"), "required", "no email");
        issues.add("d", "min:1");
        issues.check_length("f", "éé", 2, "max:2");
        issues.check_length("f", "ééé", 2, "max:2");
        assert_eq!(
            issues.into_result(()),
            Err(vec![
                FieldIssue::new("b", "required"),
                FieldIssue::new("c", "required"),
                FieldIssue::new("e", "required"),
                FieldIssue::new("e", "no email"),
                FieldIssue::new("d", "min:1"),
                FieldIssue::new("f", "max:2"),
            ])
        );
        assert_eq!(FieldIssues::default().into_result(7), Ok(7));
    }
}

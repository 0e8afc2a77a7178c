//! Validation of decisions on expenses.

use dm_contracts::api::error::FieldIssue;
use dm_contracts::api::finance::DecideExpense;
use dm_contracts::validation::MAX_REMARK_LENGTH;
use dm_kit::http::trimmed;

use super::{ExpenseStatus, max_length_issue, missing_body};

/// A validated decision.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NewDecision {
    /// Approved or rejected.
    pub(crate) status: ExpenseStatus,
    /// The comment, possibly empty.
    pub(crate) comment: String,
}

impl NewDecision {
    /// Validates a request.
    ///
    /// # Errors
    /// Returns the first issue of the request.
    pub(crate) fn from_request(request: Option<DecideExpense>) -> Result<Self, Vec<FieldIssue>> {
        let request = request.ok_or_else(missing_body)?;
        let text = request.comment.as_deref();
        let comment = trimmed(text);
        let name = request.decision.unwrap_or_default();
        if name.trim().is_empty() {
            return Err(vec![FieldIssue::new("decision", "required")]);
        }
        let status = [ExpenseStatus::Approved, ExpenseStatus::Rejected]
            .into_iter()
            .find(|status| status.as_str() == name)
            .ok_or_else(|| vec![FieldIssue::new("decision", "must be APPROVED or REJECTED")])?;
        if status == ExpenseStatus::Rejected && comment.is_empty() {
            return Err(vec![FieldIssue::new("comment", "required for REJECTED")]);
        }
        if text.unwrap_or_default().chars().count() > MAX_REMARK_LENGTH {
            return Err(vec![FieldIssue::new(
                "comment",
                max_length_issue(MAX_REMARK_LENGTH),
            )]);
        }
        Ok(Self { status, comment })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_request(
        decision: Option<&str>,
        comment: Option<&str>,
    ) -> Result<NewDecision, Vec<(String, String)>> {
        NewDecision::from_request(Some(DecideExpense {
            decision: decision.map(str::to_owned),
            comment: comment.map(str::to_owned),
        }))
        .map_err(|issues| {
            issues
                .into_iter()
                .map(|FieldIssue { field, issue }| (field, issue))
                .collect()
        })
    }

    fn issue(field: &str, issue: &str) -> Vec<(String, String)> {
        vec![(field.to_owned(), issue.to_owned())]
    }

    #[test]
    fn approval_without_comment_is_valid() {
        for (comment, expected) in [(None, ""), (Some("  "), ""), (Some(" fine "), "fine")] {
            assert_eq!(
                check_request(Some("APPROVED"), comment),
                Ok(NewDecision {
                    status: ExpenseStatus::Approved,
                    comment: expected.into()
                })
            );
        }
    }

    #[test]
    fn decision_rejected_without_comment_is_an_issue() {
        for blank in [None, Some(""), Some(" \n")] {
            assert_eq!(
                check_request(Some("REJECTED"), blank),
                Err(issue("comment", "required for REJECTED"))
            );
        }
        assert_eq!(
            check_request(Some("REJECTED"), Some(" no receipt ")),
            Ok(NewDecision {
                status: ExpenseStatus::Rejected,
                comment: "no receipt".into()
            })
        );
    }

    #[test]
    fn comment_above_the_maximum_length_is_an_issue() {
        let longest = "x".repeat(MAX_REMARK_LENGTH);
        assert!(check_request(Some("REJECTED"), Some(&longest)).is_ok());
        assert_eq!(
            check_request(Some("REJECTED"), Some(&format!("{longest}x"))),
            Err(issue("comment", "max:2000"))
        );
        assert_eq!(
            check_request(Some("APPROVED"), Some(&format!("{longest} "))),
            Err(issue("comment", "max:2000"))
        );
    }

    #[test]
    fn decision_other_than_approved_or_rejected_is_an_issue() {
        for missing in [None, Some(""), Some(" ")] {
            assert_eq!(
                check_request(missing, None),
                Err(issue("decision", "required"))
            );
        }
        for unknown in ["approved", "APPROVED ", "PENDING", "MAYBE"] {
            assert_eq!(
                check_request(Some(unknown), Some("x")),
                Err(issue("decision", "must be APPROVED or REJECTED"))
            );
        }
        assert_eq!(
            NewDecision::from_request(None),
            Err(vec![FieldIssue::new("body", "required")])
        );
    }
}

//! Decisions as they come in.

use dm_contracts::api::error::FieldIssue;
use dm_contracts::api::finance::DecideExpense;
use dm_contracts::rules::LONGEST_REMARK;
use dm_kit::http::trimmed;

use super::{ExpenseStatus, no_body, too_long};

/// A decision that may be taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    /// Approved or rejected.
    pub(crate) status: ExpenseStatus,
    /// Why; empty where nothing was said.
    pub(crate) comment: String,
}

impl Decision {
    /// Checks a request.
    pub(crate) fn of(request: Option<DecideExpense>) -> Result<Self, Vec<FieldIssue>> {
        let request = request.ok_or_else(no_body)?;
        let comment = trimmed(request.comment.as_deref());
        let name = request.decision.unwrap_or_default();
        if name.trim().is_empty() {
            return Err(vec![FieldIssue::new("decision", "required")]);
        }
        let status = [ExpenseStatus::Approved, ExpenseStatus::Rejected]
            .into_iter()
            .find(|status| status.name() == name)
            .ok_or_else(|| vec![FieldIssue::new("decision", "must be APPROVED or REJECTED")])?;
        if status == ExpenseStatus::Rejected && comment.is_empty() {
            return Err(vec![FieldIssue::new("comment", "required for REJECTED")]);
        }
        if comment.chars().count() > LONGEST_REMARK {
            return Err(vec![FieldIssue::new("comment", too_long(LONGEST_REMARK))]);
        }
        Ok(Self { status, comment })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(
        decision: Option<&str>,
        comment: Option<&str>,
    ) -> Result<Decision, Vec<(String, String)>> {
        Decision::of(Some(DecideExpense {
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
    fn approval_needs_no_comment() {
        for (given, kept) in [(None, ""), (Some("  "), ""), (Some(" fine "), "fine")] {
            assert_eq!(
                of(Some("APPROVED"), given),
                Ok(Decision {
                    status: ExpenseStatus::Approved,
                    comment: kept.into()
                })
            );
        }
    }

    #[test]
    fn rejection_needs_one() {
        for blank in [None, Some(""), Some(" \n")] {
            assert_eq!(
                of(Some("REJECTED"), blank),
                Err(issue("comment", "required for REJECTED"))
            );
        }
        assert_eq!(
            of(Some("REJECTED"), Some(" no receipt ")),
            Ok(Decision {
                status: ExpenseStatus::Rejected,
                comment: "no receipt".into()
            })
        );
    }

    #[test]
    fn a_comment_has_a_longest_length() {
        let longest = "x".repeat(LONGEST_REMARK);
        assert!(of(Some("REJECTED"), Some(&longest)).is_ok());
        assert_eq!(
            of(Some("REJECTED"), Some(&format!("{longest}x"))),
            Err(issue("comment", "max:2000"))
        );
    }

    #[test]
    fn decisions_are_exact() {
        for missing in [None, Some(""), Some(" ")] {
            assert_eq!(of(missing, None), Err(issue("decision", "required")));
        }
        for unknown in ["approved", "APPROVED ", "PENDING", "MAYBE"] {
            assert_eq!(
                of(Some(unknown), Some("x")),
                Err(issue("decision", "must be APPROVED or REJECTED"))
            );
        }
        assert_eq!(
            Decision::of(None),
            Err(vec![FieldIssue::new("body", "required")])
        );
    }
}

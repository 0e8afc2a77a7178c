//! Leads as they come in.

use dm_contracts::api::error::FieldIssue;
use dm_contracts::api::sales::{CreateLead, PatchLead, UpdateLead};
use dm_contracts::rules::{LONGEST_EMAIL, LONGEST_LINE, LONGEST_NOTES};
use dm_kit::http::{Issues, trimmed};

use super::LeadStatus;

/// A lead that may be noted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NewLead {
    pub(crate) company_name: String,
    pub(crate) contact_name: String,
    pub(crate) contact_email: String,
    pub(crate) phone: String,
    pub(crate) notes: String,
}

impl NewLead {
    /// Checks a request.
    pub(crate) fn of(request: Option<CreateLead>) -> Result<Self, Vec<FieldIssue>> {
        let request = request.ok_or_else(no_body)?;
        let mut issues = Issues::default();
        let text = |issues: &mut Issues, field: &str, value: Option<&str>| {
            let text = issues.text(field, value, &format!("{field} is required"));
            within(issues, field, &text, LONGEST_LINE);
            text
        };
        let lead = Self {
            company_name: text(&mut issues, "companyName", request.company_name.as_deref()),
            contact_name: text(&mut issues, "contactName", request.contact_name.as_deref()),
            contact_email: issues.email(
                "contactEmail",
                request.contact_email.as_deref(),
                "contactEmail is required",
                "contactEmail must be a valid email",
            ),
            phone: text(&mut issues, "phone", request.phone.as_deref()),
            notes: trimmed(request.notes.as_deref()),
        };
        within(
            &mut issues,
            "contactEmail",
            &lead.contact_email,
            LONGEST_EMAIL,
        );
        within(&mut issues, "notes", &lead.notes, LONGEST_NOTES);
        issues.check(lead)
    }
}

/// What replaces a lead's status and notes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) status: LeadStatus,
    pub(crate) notes: String,
}

impl Change {
    /// Checks a request. Missing notes are empty ones.
    pub(crate) fn of(request: Option<UpdateLead>) -> Result<Self, Vec<FieldIssue>> {
        let change = PartialChange::of(request.map(|request| PatchLead {
            status: request.status,
            notes: request.notes,
        }))?;
        Ok(Self {
            status: change
                .status
                .ok_or_else(|| vec![FieldIssue::new("status", "status is required")])?,
            notes: change.notes.unwrap_or_default(),
        })
    }
}

/// What is to change of a lead; the rest stays.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PartialChange {
    pub(crate) status: Option<LeadStatus>,
    pub(crate) notes: Option<String>,
}

impl PartialChange {
    /// Checks a request. A blank status is a missing one.
    pub(crate) fn of(request: Option<PatchLead>) -> Result<Self, Vec<FieldIssue>> {
        let request = request.ok_or_else(no_body)?;
        let status = request
            .status
            .filter(|name| !name.trim().is_empty())
            .map(|name| {
                LeadStatus::of(&name)
                    .ok_or_else(|| vec![FieldIssue::new("status", LeadStatus::issue())])
            })
            .transpose()?;
        let notes = request.notes.map(|notes| notes.trim().to_owned());
        let mut issues = Issues::default();
        within(
            &mut issues,
            "notes",
            notes.as_deref().unwrap_or_default(),
            LONGEST_NOTES,
        );
        issues.check(Self { status, notes })
    }
}

fn within(issues: &mut Issues, field: &str, text: &str, most: usize) {
    let issue = format!("{field} must have at most {most} characters");
    issues.longest(field, text, most, issue);
}

fn no_body() -> Vec<FieldIssue> {
    vec![FieldIssue::new("body", "request body is required")]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole() -> CreateLead {
        CreateLead {
            company_name: Some(" Lackawanna County ".into()),
            contact_name: Some("Al".into()),
            contact_email: Some(" al@lackawanna.gov".into()),
            phone: Some("570-555-0100\n".into()),
            notes: None,
        }
    }

    fn issues<T: std::fmt::Debug>(result: Result<T, Vec<FieldIssue>>) -> Vec<(String, String)> {
        result
            .unwrap_err()
            .into_iter()
            .map(|FieldIssue { field, issue }| (field, issue))
            .collect()
    }

    fn issue(field: &str, issue: &str) -> (String, String) {
        (field.to_owned(), issue.to_owned())
    }

    #[test]
    fn texts_are_trimmed_and_notes_may_be_missing() {
        assert_eq!(
            NewLead::of(Some(whole())),
            Ok(NewLead {
                company_name: "Lackawanna County".into(),
                contact_name: "Al".into(),
                contact_email: "al@lackawanna.gov".into(),
                phone: "570-555-0100".into(),
                notes: String::new(),
            })
        );
        let noted = CreateLead {
            notes: Some(" call back ".into()),
            ..whole()
        };
        assert_eq!(NewLead::of(Some(noted)).unwrap().notes, "call back");
    }

    #[test]
    fn texts_have_a_longest_length() {
        let long = |most: usize| Some("x".repeat(most + 1));
        let lead = CreateLead {
            company_name: long(LONGEST_LINE),
            contact_name: Some("x".repeat(LONGEST_LINE)),
            contact_email: Some(format!("@{}", "x".repeat(LONGEST_EMAIL))),
            phone: long(LONGEST_LINE),
            notes: long(LONGEST_NOTES),
        };
        assert_eq!(
            issues(NewLead::of(Some(lead))),
            [
                issue(
                    "companyName",
                    "companyName must have at most 200 characters"
                ),
                issue("phone", "phone must have at most 200 characters"),
                issue(
                    "contactEmail",
                    "contactEmail must have at most 320 characters"
                ),
                issue("notes", "notes must have at most 4000 characters"),
            ]
        );
        let change = PatchLead {
            status: None,
            notes: long(LONGEST_NOTES),
        };
        assert_eq!(issues(PartialChange::of(Some(change))).len(), 1);
    }

    #[test]
    fn without_a_body_the_body_is_at_fault() {
        let missing = vec![issue("body", "request body is required")];
        assert_eq!(issues(NewLead::of(None)), missing);
        assert_eq!(issues(Change::of(None)), missing);
        assert_eq!(issues(PartialChange::of(None)), missing);
    }

    #[test]
    fn every_broken_field_is_told() {
        assert_eq!(
            issues(NewLead::of(Some(CreateLead::default()))),
            [
                issue("companyName", "companyName is required"),
                issue("contactName", "contactName is required"),
                issue("contactEmail", "contactEmail is required"),
                issue("phone", "phone is required"),
            ]
        );
        let blank = CreateLead {
            company_name: Some(" ".into()),
            contact_email: Some("al".into()),
            phone: None,
            ..whole()
        };
        assert_eq!(
            issues(NewLead::of(Some(blank))),
            [
                issue("companyName", "companyName is required"),
                issue("contactEmail", "contactEmail must be a valid email"),
                issue("phone", "phone is required"),
            ]
        );
    }

    fn update(status: Option<&str>, notes: Option<&str>) -> Option<UpdateLead> {
        Some(UpdateLead {
            status: status.map(str::to_owned),
            notes: notes.map(str::to_owned),
        })
    }

    fn patch(status: Option<&str>, notes: Option<&str>) -> Option<PatchLead> {
        Some(PatchLead {
            status: status.map(str::to_owned),
            notes: notes.map(str::to_owned),
        })
    }

    #[test]
    fn a_change_replaces_both() {
        assert_eq!(
            Change::of(update(Some("CONTACTED"), Some(" x "))),
            Ok(Change {
                status: LeadStatus::Contacted,
                notes: "x".into()
            })
        );
        assert_eq!(
            Change::of(update(Some("NEW"), None)).unwrap().notes,
            String::new()
        );
        for missing in [None, Some(""), Some("  ")] {
            assert_eq!(
                issues(Change::of(update(missing, None))),
                [issue("status", "status is required")]
            );
        }
        for unknown in ["new", "NEW ", "WON"] {
            assert_eq!(
                issues(Change::of(update(Some(unknown), None))),
                [issue("status", &LeadStatus::issue())]
            );
        }
    }

    #[test]
    fn a_partial_change_leaves_the_rest() {
        assert_eq!(
            PartialChange::of(patch(None, Some(""))),
            Ok(PartialChange {
                status: None,
                notes: Some(String::new())
            })
        );
        assert_eq!(
            issues(PartialChange::of(patch(Some("LOST"), None))),
            [issue("status", &LeadStatus::issue())]
        );
    }

    proptest! {
        /// What is accepted is whole; what isn't says why.
        #[test]
        fn no_lead_is_accepted_with_a_blank_field(
            fields in proptest::array::uniform4(proptest::option::of("[ a@\\t]{0,4}")),
        ) {
            let [company_name, contact_name, contact_email, phone] = fields;
            match NewLead::of(Some(CreateLead {
                company_name, contact_name, contact_email, phone, notes: None,
            })) {
                Ok(lead) => {
                    for text in [
                        &lead.company_name, &lead.contact_name, &lead.contact_email, &lead.phone,
                    ] {
                        prop_assert!(!text.is_empty() && text.trim() == text);
                    }
                    prop_assert!(lead.contact_email.contains('@'));
                }
                Err(issues) => prop_assert!(!issues.is_empty()),
            }
        }
    }
}

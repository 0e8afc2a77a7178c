//! Leads as they come in.

use dm_contracts::api::error::FieldIssue;
use dm_contracts::api::sales::{CreateLead, PatchLead, UpdateLead};
use dm_contracts::validation::{MAX_EMAIL_LENGTH, MAX_LINE_LENGTH, MAX_NOTES_LENGTH};
use dm_kit::http::{FieldIssues, trimmed};

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
    pub(crate) fn from_request(request: Option<CreateLead>) -> Result<Self, Vec<FieldIssue>> {
        let request = request.ok_or_else(missing_body)?;
        let mut issues = FieldIssues::default();
        let text = |issues: &mut FieldIssues, field: &str, value: Option<&str>| {
            let text = issues.required_text(field, value, &format!("{field} is required"));
            check_length(issues, field, &text, MAX_LINE_LENGTH);
            text
        };
        let lead = Self {
            company_name: text(&mut issues, "companyName", request.company_name.as_deref()),
            contact_name: text(&mut issues, "contactName", request.contact_name.as_deref()),
            contact_email: issues.required_email(
                "contactEmail",
                request.contact_email.as_deref(),
                "contactEmail is required",
                "contactEmail must be a valid email",
            ),
            phone: text(&mut issues, "phone", request.phone.as_deref()),
            notes: trimmed(request.notes.as_deref()),
        };
        check_length(
            &mut issues,
            "contactEmail",
            &lead.contact_email,
            MAX_EMAIL_LENGTH,
        );
        check_length(&mut issues, "notes", &lead.notes, MAX_NOTES_LENGTH);
        issues.into_result(lead)
    }
}

/// What replaces a lead's status and notes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LeadUpdate {
    pub(crate) status: LeadStatus,
    pub(crate) notes: String,
}

impl LeadUpdate {
    /// Checks a request. Missing notes are empty ones.
    pub(crate) fn from_request(request: Option<UpdateLead>) -> Result<Self, Vec<FieldIssue>> {
        let change = LeadPatch::from_request(request.map(|request| PatchLead {
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
pub(crate) struct LeadPatch {
    pub(crate) status: Option<LeadStatus>,
    pub(crate) notes: Option<String>,
}

impl LeadPatch {
    /// Checks a request. A blank status is a missing one.
    pub(crate) fn from_request(request: Option<PatchLead>) -> Result<Self, Vec<FieldIssue>> {
        let request = request.ok_or_else(missing_body)?;
        let status = request
            .status
            .filter(|name| !name.trim().is_empty())
            .map(|name| {
                LeadStatus::from_name(&name).ok_or_else(|| {
                    vec![FieldIssue::new(
                        "status",
                        LeadStatus::invalid_name_message(),
                    )]
                })
            })
            .transpose()?;
        let notes = request.notes.map(|notes| notes.trim().to_owned());
        let mut issues = FieldIssues::default();
        check_length(
            &mut issues,
            "notes",
            notes.as_deref().unwrap_or_default(),
            MAX_NOTES_LENGTH,
        );
        issues.into_result(Self { status, notes })
    }
}

fn check_length(issues: &mut FieldIssues, field: &str, text: &str, most: usize) {
    let issue = format!("{field} must have at most {most} characters");
    issues.check_length(field, text, most, issue);
}

fn missing_body() -> Vec<FieldIssue> {
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
            NewLead::from_request(Some(whole())),
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
        assert_eq!(
            NewLead::from_request(Some(noted)).unwrap().notes,
            "call back"
        );
    }

    #[test]
    fn texts_have_a_longest_length() {
        let long = |most: usize| Some("x".repeat(most + 1));
        let lead = CreateLead {
            company_name: long(MAX_LINE_LENGTH),
            contact_name: Some("x".repeat(MAX_LINE_LENGTH)),
            contact_email: Some(format!("@{}", "x".repeat(MAX_EMAIL_LENGTH))),
            phone: long(MAX_LINE_LENGTH),
            notes: long(MAX_NOTES_LENGTH),
        };
        assert_eq!(
            issues(NewLead::from_request(Some(lead))),
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
            notes: long(MAX_NOTES_LENGTH),
        };
        assert_eq!(issues(LeadPatch::from_request(Some(change))).len(), 1);
    }

    #[test]
    fn without_a_body_the_body_is_at_fault() {
        let missing = vec![issue("body", "request body is required")];
        assert_eq!(issues(NewLead::from_request(None)), missing);
        assert_eq!(issues(LeadUpdate::from_request(None)), missing);
        assert_eq!(issues(LeadPatch::from_request(None)), missing);
    }

    #[test]
    fn every_broken_field_is_told() {
        assert_eq!(
            issues(NewLead::from_request(Some(CreateLead::default()))),
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
            issues(NewLead::from_request(Some(blank))),
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
            LeadUpdate::from_request(update(Some("CONTACTED"), Some(" x "))),
            Ok(LeadUpdate {
                status: LeadStatus::Contacted,
                notes: "x".into()
            })
        );
        assert_eq!(
            LeadUpdate::from_request(update(Some("NEW"), None))
                .unwrap()
                .notes,
            String::new()
        );
        for missing in [None, Some(""), Some("  ")] {
            assert_eq!(
                issues(LeadUpdate::from_request(update(missing, None))),
                [issue("status", "status is required")]
            );
        }
        for unknown in ["new", "NEW ", "WON"] {
            assert_eq!(
                issues(LeadUpdate::from_request(update(Some(unknown), None))),
                [issue("status", &LeadStatus::invalid_name_message())]
            );
        }
    }

    #[test]
    fn a_partial_change_leaves_the_rest() {
        assert_eq!(
            LeadPatch::from_request(patch(None, Some(""))),
            Ok(LeadPatch {
                status: None,
                notes: Some(String::new())
            })
        );
        assert_eq!(
            issues(LeadPatch::from_request(patch(Some("LOST"), None))),
            [issue("status", &LeadStatus::invalid_name_message())]
        );
    }

    proptest! {
        /// What is accepted is whole; what isn't says why.
        #[test]
        fn no_lead_is_accepted_with_a_blank_field(
            fields in proptest::array::uniform4(proptest::option::of("[ a@\\t]{0,4}")),
        ) {
            let [company_name, contact_name, contact_email, phone] = fields;
            match NewLead::from_request(Some(CreateLead {
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

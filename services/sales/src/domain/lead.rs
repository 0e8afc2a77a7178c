//! Validation of lead requests.

use dm_contracts::api::error::FieldIssue;
use dm_contracts::api::sales::{CreateLead, PatchLead, UpdateLead};
use dm_contracts::validation::{MAX_EMAIL_LENGTH, MAX_LINE_LENGTH, MAX_NOTES_LENGTH};
use dm_kit::http::{FieldIssues, trimmed};

use super::LeadStatus;

/// The validated data of a new lead.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NewLead {
    pub(crate) company_name: String,
    pub(crate) contact_name: String,
    pub(crate) contact_email: String,
    pub(crate) phone: String,
    pub(crate) notes: String,
}

impl NewLead {
    /// Validates a request.
    ///
    /// # Errors
    /// Returns an issue for each invalid field.
    pub(crate) fn from_request(request: Option<CreateLead>) -> Result<Self, Vec<FieldIssue>> {
        let request = request.ok_or_else(missing_body)?;
        let mut issues = FieldIssues::default();
        let text = |issues: &mut FieldIssues, field: &str, value: Option<&str>| {
            check_length(issues, field, value, MAX_LINE_LENGTH);
            issues.required_text(field, value, &format!("{field} is required"))
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
        let email = request.contact_email.as_deref();
        check_length(&mut issues, "contactEmail", email, MAX_EMAIL_LENGTH);
        let notes = request.notes.as_deref();
        check_length(&mut issues, "notes", notes, MAX_NOTES_LENGTH);
        issues.into_result(lead)
    }
}

/// The validated replacement of the status and notes of a lead.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LeadUpdate {
    pub(crate) status: LeadStatus,
    pub(crate) notes: String,
}

impl LeadUpdate {
    /// Validates a request. Missing notes become empty.
    ///
    /// # Errors
    /// Returns an issue for each invalid field.
    pub(crate) fn from_request(request: Option<UpdateLead>) -> Result<Self, Vec<FieldIssue>> {
        let patch = LeadPatch::from_request(request.map(|request| PatchLead {
            status: request.status.filter(|name| !name.trim().is_empty()),
            notes: request.notes,
        }))?;
        Ok(Self {
            status: patch
                .status
                .ok_or_else(|| vec![FieldIssue::new("status", "status is required")])?,
            notes: patch.notes.unwrap_or_default(),
        })
    }
}

/// A validated partial update of a lead. `None` leaves a field unchanged.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LeadPatch {
    pub(crate) status: Option<LeadStatus>,
    pub(crate) notes: Option<String>,
}

impl LeadPatch {
    /// Validates a request.
    ///
    /// # Errors
    /// Returns an issue for each invalid field.
    pub(crate) fn from_request(request: Option<PatchLead>) -> Result<Self, Vec<FieldIssue>> {
        let request = request.ok_or_else(missing_body)?;
        let status = request
            .status
            .map(|name| {
                LeadStatus::from_name(&name).ok_or_else(|| {
                    vec![FieldIssue::new(
                        "status",
                        LeadStatus::invalid_name_message(),
                    )]
                })
            })
            .transpose()?;
        let mut issues = FieldIssues::default();
        let notes = request.notes.as_deref();
        check_length(&mut issues, "notes", notes, MAX_NOTES_LENGTH);
        issues.into_result(Self {
            status,
            notes: notes.map(|notes| notes.trim().to_owned()),
        })
    }
}

fn check_length(issues: &mut FieldIssues, field: &str, text: Option<&str>, max: usize) {
    let issue = format!("{field} must have at most {max} characters");
    issues.check_length(field, text.unwrap_or_default(), max, issue);
}

fn missing_body() -> Vec<FieldIssue> {
    vec![FieldIssue::new("body", "request body is required")]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn valid_request() -> CreateLead {
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
    fn texts_are_trimmed_and_notes_are_optional() {
        assert_eq!(
            NewLead::from_request(Some(valid_request())),
            Ok(NewLead {
                company_name: "Lackawanna County".into(),
                contact_name: "Al".into(),
                contact_email: "al@lackawanna.gov".into(),
                phone: "570-555-0100".into(),
                notes: String::new(),
            })
        );
        let with_notes = CreateLead {
            notes: Some(" call back ".into()),
            ..valid_request()
        };
        assert_eq!(
            NewLead::from_request(Some(with_notes)).unwrap().notes,
            "call back"
        );
    }

    #[test]
    fn text_above_the_maximum_length_is_an_issue() {
        let too_long = |max: usize| Some("x".repeat(max + 1));
        let lead = CreateLead {
            company_name: too_long(MAX_LINE_LENGTH),
            contact_name: Some("x".repeat(MAX_LINE_LENGTH)),
            contact_email: Some(format!("@{}", "x".repeat(MAX_EMAIL_LENGTH))),
            phone: too_long(MAX_LINE_LENGTH),
            notes: too_long(MAX_NOTES_LENGTH),
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
        let padded = CreateLead {
            company_name: Some(format!("{} ", "x".repeat(MAX_LINE_LENGTH))),
            ..valid_request()
        };
        assert_eq!(issues(NewLead::from_request(Some(padded))).len(), 1);
        let patch = PatchLead {
            status: None,
            notes: too_long(MAX_NOTES_LENGTH),
        };
        assert_eq!(issues(LeadPatch::from_request(Some(patch))).len(), 1);
    }

    #[test]
    fn missing_body_is_the_only_issue() {
        let missing = vec![issue("body", "request body is required")];
        assert_eq!(issues(NewLead::from_request(None)), missing);
        assert_eq!(issues(LeadUpdate::from_request(None)), missing);
        assert_eq!(issues(LeadPatch::from_request(None)), missing);
    }

    #[test]
    fn each_invalid_field_is_an_issue() {
        assert_eq!(
            issues(NewLead::from_request(Some(CreateLead::default()))),
            [
                issue("companyName", "companyName is required"),
                issue("contactName", "contactName is required"),
                issue("contactEmail", "contactEmail is required"),
                issue("phone", "phone is required"),
            ]
        );
        let invalid = CreateLead {
            company_name: Some(" ".into()),
            contact_email: Some("al".into()),
            phone: None,
            ..valid_request()
        };
        assert_eq!(
            issues(NewLead::from_request(Some(invalid))),
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
    fn update_replaces_status_and_notes() {
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
    fn patch_leaves_missing_fields_unchanged() {
        assert_eq!(
            LeadPatch::from_request(patch(None, Some(""))),
            Ok(LeadPatch {
                status: None,
                notes: Some(String::new())
            })
        );
        for unknown in ["LOST", "", " "] {
            assert_eq!(
                issues(LeadPatch::from_request(patch(Some(unknown), None))),
                [issue("status", &LeadStatus::invalid_name_message())]
            );
        }
    }

    proptest! {
        /// An accepted lead is complete, and a rejected one has issues.
        #[test]
        fn accepted_lead_has_no_blank_field(
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

//! The conversion of a lead to a client.

use chrono::{DateTime, Utc};

use super::LeadStatus;

/// The client to which a lead was converted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConvertedClient {
    pub(crate) client_id: String,
    pub(crate) at: DateTime<Utc>,
}

/// The action that a conversion requires.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Conversion {
    /// The lead was converted before, regardless of its current status.
    AlreadyConverted(ConvertedClient),
    /// The client must be created.
    Required,
}

/// The lead is not qualified, so that it cannot be converted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotQualified {
    /// The name of the current status.
    pub(crate) status: String,
}

/// Returns the action for the conversion of a lead.
///
/// # Errors
/// Returns [`NotQualified`] if the lead has neither a client nor the status `QUALIFIED`.
pub(crate) fn check_conversion(
    status: &str,
    existing: Option<ConvertedClient>,
) -> Result<Conversion, NotQualified> {
    match existing {
        Some(converted) => Ok(Conversion::AlreadyConverted(converted)),
        None if LeadStatus::from_name(status) == Some(LeadStatus::Qualified) => {
            Ok(Conversion::Required)
        }
        None => Err(NotQualified {
            status: status.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_qualified_lead_can_be_converted() {
        for status in LeadStatus::ALL {
            let result = check_conversion(status.as_str(), None);
            if status == LeadStatus::Qualified {
                assert_eq!(result, Ok(Conversion::Required));
            } else {
                // This includes CONVERTED: an update can set it without a client.
                let status = status.as_str().to_owned();
                assert_eq!(result, Err(NotQualified { status }));
            }
        }
    }

    #[test]
    fn converted_lead_keeps_its_client_with_any_status() {
        let client = ConvertedClient {
            client_id: "client_7001".into(),
            at: dm_contracts::time::now(),
        };
        for status in LeadStatus::ALL {
            assert_eq!(
                check_conversion(status.as_str(), Some(client.clone())),
                Ok(Conversion::AlreadyConverted(client.clone()))
            );
        }
    }
}

//! How a lead becomes a client.

use chrono::{DateTime, Utc};

use super::LeadStatus;

/// The client that a lead is already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConvertedClient {
    pub(crate) client_id: String,
    pub(crate) at: DateTime<Utc>,
}

/// What a conversion has to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Conversion {
    /// The lead is a client already, whatever was made of its status since.
    AlreadyConverted(ConvertedClient),
    /// The client is to be made.
    Required,
}

/// The lead is not far enough.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotQualified {
    /// How far it is, by name.
    pub(crate) status: String,
}

/// What a conversion of a lead with this status has to do.
pub(crate) fn check_conversion(
    status: &str,
    before: Option<ConvertedClient>,
) -> Result<Conversion, NotQualified> {
    match before {
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
    fn only_a_qualified_lead_becomes_a_client() {
        for status in LeadStatus::ALL {
            let found = check_conversion(status.as_str(), None);
            if status == LeadStatus::Qualified {
                assert_eq!(found, Ok(Conversion::Required));
            } else {
                // CONVERTED as well: an update can set it without a client.
                let status = status.as_str().to_owned();
                assert_eq!(found, Err(NotQualified { status }));
            }
        }
    }

    #[test]
    fn a_client_stays_the_same_one_whatever_the_status() {
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

//! How a lead becomes a client.

use chrono::{DateTime, Utc};

use super::LeadStatus;

/// The client that a lead is already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Converted {
    pub(crate) client_id: String,
    pub(crate) at: DateTime<Utc>,
}

/// What a conversion has to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Conversion {
    /// The lead is a client already, whatever was made of its status since.
    Done(Converted),
    /// The client is to be made.
    Due,
}

/// The lead is not far enough.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotQualified {
    /// How far it is, by name.
    pub(crate) status: String,
}

/// What a conversion of a lead with this status has to do.
pub(crate) fn conversion(
    status: &str,
    before: Option<Converted>,
) -> Result<Conversion, NotQualified> {
    match before {
        Some(converted) => Ok(Conversion::Done(converted)),
        None if LeadStatus::of(status) == Some(LeadStatus::Qualified) => Ok(Conversion::Due),
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
            let found = conversion(status.name(), None);
            if status == LeadStatus::Qualified {
                assert_eq!(found, Ok(Conversion::Due));
            } else {
                // CONVERTED as well: an update can set it without a client.
                let status = status.name().to_owned();
                assert_eq!(found, Err(NotQualified { status }));
            }
        }
    }

    #[test]
    fn a_client_stays_the_same_one_whatever_the_status() {
        let client = Converted {
            client_id: "client_7001".into(),
            at: dm_contracts::time::now(),
        };
        for status in LeadStatus::ALL {
            assert_eq!(
                conversion(status.name(), Some(client.clone())),
                Ok(Conversion::Done(client.clone()))
            );
        }
    }
}

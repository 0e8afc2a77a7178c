//! What a dispatch must have.

use chrono::{DateTime, Utc};
use dm_contracts::api::shipment::Dispatch;
use dm_contracts::rules::LONGEST_TRUCK_ID;
use dm_contracts::time;
use uuid::Uuid;

/// A dispatch that can be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Departure {
    pub(crate) truck_id: String,
    pub(crate) dispatched_at: DateTime<Utc>,
}

/// What is wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A field is missing or blank.
    Incomplete,
    /// The truck's id is too long.
    Truck,
    /// The time is none.
    Time,
}

impl Fault {
    /// For the caller.
    pub(crate) const fn message(self) -> &'static str {
        match self {
            Self::Incomplete => "Dispatch payload validation failed",
            Self::Truck => "truckId must have at most 100 characters",
            Self::Time => "dispatchedAt must be an ISO-8601 timestamp",
        }
    }
}

/// Checks a request.
pub(crate) fn check(request: Option<Dispatch>) -> Result<Departure, Fault> {
    let Dispatch {
        truck_id,
        dispatched_at,
    } = request.unwrap_or_default();
    let filled = |text: Option<String>| {
        text.map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty())
            .ok_or(Fault::Incomplete)
    };
    let (truck_id, dispatched_at) = (filled(truck_id)?, filled(dispatched_at)?);
    if truck_id.chars().count() > LONGEST_TRUCK_ID {
        return Err(Fault::Truck);
    }
    Ok(Departure {
        truck_id,
        dispatched_at: time::parse(&dispatched_at).ok_or(Fault::Time)?,
    })
}

/// A new dispatch's id.
pub(crate) fn new_id() -> String {
    format!("dsp_{}", Uuid::new_v4().simple())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dispatch(truck: &str, at: &str) -> Result<Departure, Fault> {
        check(Some(Dispatch {
            truck_id: Some(truck.into()),
            dispatched_at: Some(at.into()),
        }))
    }

    #[test]
    fn a_truck_and_an_instant() {
        let departure = dispatch(" truck_scr_03 ", "2026-02-03T10:00:00.123Z").unwrap();
        assert_eq!(departure.truck_id, "truck_scr_03");
        assert_eq!(
            time::format(departure.dispatched_at),
            "2026-02-03T10:00:00.123Z"
        );
        assert_eq!(check(None), Err(Fault::Incomplete));
        assert_eq!(
            check(Some(Dispatch::default())),
            Err(Fault::Incomplete),
            "{{}}"
        );
        for (truck, at, fault) in [
            (" ", "2026-02-03T10:00:00Z", Fault::Incomplete),
            ("t", " ", Fault::Incomplete),
            // What is missing comes first.
            ("", "yesterday", Fault::Incomplete),
            (&*"t".repeat(101), "yesterday", Fault::Truck),
            ("t", "yesterday", Fault::Time),
            ("t", "2026-02-31T10:00:00Z", Fault::Time),
            ("t", "2026-02-03", Fault::Time),
            ("t", "2026-02-03T10:00:00", Fault::Time),
        ] {
            assert_eq!(dispatch(truck, at), Err(fault), "{truck:?} {at:?}");
        }
    }

    #[test]
    fn ids_are_32_digits() {
        let id = new_id();
        let digits = id.strip_prefix("dsp_").unwrap();
        assert_eq!(digits.len(), 32);
        assert!(digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}

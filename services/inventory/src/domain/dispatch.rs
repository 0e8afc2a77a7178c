//! Validation of dispatches.

use chrono::{DateTime, Utc};
use dm_contracts::api::shipment::Dispatch;
use dm_contracts::time;
use dm_contracts::validation::MAX_TRUCK_ID_LENGTH;
use uuid::Uuid;

/// The validated data of a dispatch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewDispatch {
    pub(crate) truck_id: String,
    pub(crate) dispatched_at: DateTime<Utc>,
}

/// The reason for which a request is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DispatchError {
    /// A field is missing or blank.
    MissingField,
    /// The truck id is too long.
    TruckIdTooLong,
    /// The time is not a valid timestamp.
    InvalidTime,
}

impl DispatchError {
    /// Returns the message for the caller.
    pub(crate) const fn message(self) -> &'static str {
        match self {
            Self::MissingField => "Dispatch payload validation failed",
            Self::TruckIdTooLong => "truckId must have at most 100 characters",
            Self::InvalidTime => "dispatchedAt must be an ISO-8601 timestamp",
        }
    }
}

/// Validates a request.
///
/// # Errors
/// Returns [`DispatchError`] if a field is missing or invalid.
pub(crate) fn validate(request: Option<Dispatch>) -> Result<NewDispatch, DispatchError> {
    let Dispatch {
        truck_id,
        dispatched_at,
    } = request.unwrap_or_default();
    let non_blank = |text: Option<String>| {
        text.filter(|text| !text.trim().is_empty())
            .ok_or(DispatchError::MissingField)
    };
    let (truck_id, dispatched_at) = (non_blank(truck_id)?, non_blank(dispatched_at)?);
    if truck_id.chars().count() > MAX_TRUCK_ID_LENGTH {
        return Err(DispatchError::TruckIdTooLong);
    }
    Ok(NewDispatch {
        truck_id: truck_id.trim().to_owned(),
        dispatched_at: time::parse_instant(&dispatched_at).ok_or(DispatchError::InvalidTime)?,
    })
}

/// Returns a new dispatch id.
pub(crate) fn new_id() -> String {
    format!("dsp_{}", Uuid::new_v4().simple())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dispatch(truck: &str, at: &str) -> Result<NewDispatch, DispatchError> {
        validate(Some(Dispatch {
            truck_id: Some(truck.into()),
            dispatched_at: Some(at.into()),
        }))
    }

    #[test]
    fn dispatch_requires_a_truck_and_a_timestamp() {
        let valid = dispatch(" truck_scr_03 ", "2026-02-03T10:00:00.123Z").unwrap();
        assert_eq!(valid.truck_id, "truck_scr_03");
        assert_eq!(
            time::format(valid.dispatched_at),
            "2026-02-03T10:00:00.123Z"
        );
        assert_eq!(validate(None), Err(DispatchError::MissingField));
        assert_eq!(
            validate(Some(Dispatch::default())),
            Err(DispatchError::MissingField),
            "{{}}"
        );
        for (truck, at, error) in [
            (" ", "2026-02-03T10:00:00Z", DispatchError::MissingField),
            ("t", " ", DispatchError::MissingField),
            // A missing field takes precedence over an invalid one.
            ("", "yesterday", DispatchError::MissingField),
            (
                &*"t".repeat(101),
                "yesterday",
                DispatchError::TruckIdTooLong,
            ),
            (
                &*format!("{} ", "t".repeat(100)),
                "2026-02-03T10:00:00Z",
                DispatchError::TruckIdTooLong,
            ),
            ("t", "yesterday", DispatchError::InvalidTime),
            ("t", "2026-02-31T10:00:00Z", DispatchError::InvalidTime),
            ("t", "2026-02-03", DispatchError::InvalidTime),
            ("t", "2026-02-03T10:00:00", DispatchError::InvalidTime),
            ("t", "2026-02-03T10:00:00Z ", DispatchError::InvalidTime),
        ] {
            assert_eq!(dispatch(truck, at), Err(error), "{truck:?} {at:?}");
        }
    }

    #[test]
    fn new_id_has_32_hexadecimal_digits() {
        let id = new_id();
        let digits = id.strip_prefix("dsp_").unwrap();
        assert_eq!(digits.len(), 32);
        assert!(digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}

//! The status of a lead.

/// The status of a lead. An update can set any status; only a conversion depends on the
/// current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeadStatus {
    New,
    Contacted,
    Qualified,
    Disqualified,
    Converted,
}

impl LeadStatus {
    /// All statuses, in the order of the error message.
    pub(crate) const ALL: [Self; 5] = [
        Self::New,
        Self::Contacted,
        Self::Qualified,
        Self::Disqualified,
        Self::Converted,
    ];

    /// Returns the name in JSON and in the table.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::New => "NEW",
            Self::Contacted => "CONTACTED",
            Self::Qualified => "QUALIFIED",
            Self::Disqualified => "DISQUALIFIED",
            Self::Converted => "CONVERTED",
        }
    }

    /// Returns the status with exactly this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// Returns the issue text for an invalid name.
    pub(crate) fn invalid_name_message() -> String {
        format!(
            "status must be one of: {}",
            Self::ALL.map(Self::as_str).join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_name_is_case_sensitive() {
        for status in LeadStatus::ALL {
            assert_eq!(LeadStatus::from_name(status.as_str()), Some(status));
        }
        for name in ["new", " NEW", "", "WON"] {
            assert_eq!(LeadStatus::from_name(name), None, "{name:?}");
        }
        assert_eq!(
            LeadStatus::invalid_name_message(),
            "status must be one of: NEW, CONTACTED, QUALIFIED, DISQUALIFIED, CONVERTED"
        );
    }
}

//! How far a lead is.

/// How far a lead is. Any status may follow any other; only a conversion asks
/// where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeadStatus {
    New,
    Contacted,
    Qualified,
    Disqualified,
    Converted,
}

impl LeadStatus {
    /// Every status, in the order in which errors name them.
    pub(crate) const ALL: [Self; 5] = [
        Self::New,
        Self::Contacted,
        Self::Qualified,
        Self::Disqualified,
        Self::Converted,
    ];

    /// Its name on the wire and in the table.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::New => "NEW",
            Self::Contacted => "CONTACTED",
            Self::Qualified => "QUALIFIED",
            Self::Disqualified => "DISQUALIFIED",
            Self::Converted => "CONVERTED",
        }
    }

    /// The status of exactly that name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// What to say of a name that is none.
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
    fn names_are_exact() {
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

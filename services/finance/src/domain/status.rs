//! The status of an expense.

/// The status of an expense. A decision is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExpenseStatus {
    Pending,
    Approved,
    Rejected,
}

impl ExpenseStatus {
    /// All statuses, in the order of the error message.
    pub(crate) const ALL: [Self; 3] = [Self::Pending, Self::Approved, Self::Rejected];

    /// Returns the name in JSON and in the table.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Approved => "APPROVED",
            Self::Rejected => "REJECTED",
        }
    }

    /// Returns the status with this name, regardless of case.
    pub(crate) fn from_name_ignore_case(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str().eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_name_ignores_case() {
        for status in ExpenseStatus::ALL {
            assert_eq!(
                ExpenseStatus::from_name_ignore_case(status.as_str()),
                Some(status)
            );
            let lower = status.as_str().to_lowercase();
            assert_eq!(ExpenseStatus::from_name_ignore_case(&lower), Some(status));
        }
        for name in ["", "PAID", "PENDING,APPROVED"] {
            assert_eq!(ExpenseStatus::from_name_ignore_case(name), None, "{name:?}");
        }
    }
}

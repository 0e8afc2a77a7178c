//! The order of a list, and the direction in which a request reads it.

/// The order of a list in the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListOrder {
    /// By time, oldest first.
    OldestFirst,
    /// By time, newest first.
    NewestFirst,
    /// By id. Such a list has no parameter `order`.
    ById,
}

/// The parameter `order`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestedOrder {
    Newest,
    Oldest,
}

impl RequestedOrder {
    pub(super) const ALL: [Self; 2] = [Self::Newest, Self::Oldest];

    /// Returns the value of the parameter.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Oldest => "oldest",
        }
    }

    /// Returns the order with exactly this name.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|order| order.as_str() == name)
    }
}

/// The direction in which the keys of a list are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Ascending,
    Descending,
}

impl Direction {
    /// Returns the operator between the keys of the following items and a position.
    pub(super) const fn operator(self) -> &'static str {
        match self {
            Self::Ascending => ">",
            Self::Descending => "<",
        }
    }

    pub(super) const fn opposite(self) -> Self {
        match self {
            Self::Ascending => Self::Descending,
            Self::Descending => Self::Ascending,
        }
    }
}

/// The items that a request selects from the position of its cursor, and how they are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Selection {
    /// The direction from the cursor.
    pub(super) direction: Direction,
    /// Whether the items of a response are sorted against this direction.
    pub(super) is_reversed: bool,
}

impl ListOrder {
    /// Returns the selection of a request. Without the parameter `order` the newest items are
    /// selected, and sorted in the order of the list.
    pub(super) const fn select(self, requested: Option<RequestedOrder>) -> Selection {
        let (direction, is_reversed) = match (self, requested) {
            (Self::ById, _) | (_, Some(RequestedOrder::Oldest)) => (Direction::Ascending, false),
            (Self::NewestFirst, None) | (_, Some(RequestedOrder::Newest)) => {
                (Direction::Descending, false)
            }
            (Self::OldestFirst, None) => (Direction::Descending, true),
        };
        Selection {
            direction,
            is_reversed,
        }
    }

    /// Returns the direction of a complete list.
    pub(super) const fn direction(self) -> Direction {
        match self {
            Self::OldestFirst | Self::ById => Direction::Ascending,
            Self::NewestFirst => Direction::Descending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_without_order_selects_the_newest_and_sorts_as_the_list() {
        let select = |order: ListOrder, requested| {
            let selection = order.select(requested);
            (selection.direction, selection.is_reversed)
        };
        let (newest, oldest) = (RequestedOrder::Newest, RequestedOrder::Oldest);
        let (ascending, descending) = (Direction::Ascending, Direction::Descending);
        for list in [ListOrder::OldestFirst, ListOrder::NewestFirst] {
            let is_reversed = list == ListOrder::OldestFirst;
            assert_eq!(select(list, None), (descending, is_reversed), "{list:?}");
            assert_eq!(select(list, Some(newest)), (descending, false), "{list:?}");
            assert_eq!(select(list, Some(oldest)), (ascending, false), "{list:?}");
        }
        assert_eq!(select(ListOrder::ById, None), (ascending, false));
    }
}

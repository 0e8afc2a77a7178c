//! The services behind the gateway.

/// A service behind the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DownstreamService {
    /// Profiles.
    Profile,
    /// Leads and clients.
    Sales,
    /// Orders.
    Order,
    /// Shipments.
    Inventory,
    /// Expenses.
    Finance,
    /// Notifications.
    Wuphf,
}

impl DownstreamService {
    /// All services, in the order of their ports.
    pub(crate) const ALL: [Self; 6] = [
        Self::Profile,
        Self::Sales,
        Self::Order,
        Self::Inventory,
        Self::Finance,
        Self::Wuphf,
    ];

    /// Returns the host name of the service in the stack.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Profile => "profile",
            Self::Sales => "sales",
            Self::Order => "order",
            Self::Inventory => "inventory",
            Self::Finance => "finance",
            Self::Wuphf => "wuphf",
        }
    }

    /// Returns the port of the service in the stack.
    #[must_use]
    pub(crate) const fn port(self) -> u16 {
        8091 + self as u16
    }
}

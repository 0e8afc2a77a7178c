//! The tables of the services.

/// A table of a service. Referenced tables come before the tables that reference them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HistoryTable {
    /// Leads of sales.
    Leads,
    /// Clients of sales.
    Clients,
    /// Orders.
    Orders,
    /// Timelines of orders.
    OrderTimeline,
    /// Shipments of inventory.
    Shipments,
    /// Reservations of stock for orders.
    Reservations,
    /// Scans of shipments.
    ScanLog,
    /// Responses to requests with an idempotency key.
    IdempotencyRecords,
    /// Expenses of finance.
    Expenses,
    /// Notifications of wuphf.
    Notifications,
    /// User profiles of profile.
    UserProfiles,
    /// Avatars of profile.
    Avatars,
    /// App settings of profile.
    AppSettings,
    /// The outbox of a service.
    Outbox(ServiceName),
    /// The inbox of a service.
    Inbox(ServiceName),
}

/// A service with tables in the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceName {
    /// Leads and clients.
    Sales,
    /// Orders.
    Order,
    /// Shipments and stock.
    Inventory,
    /// Expenses.
    Finance,
    /// Notifications.
    Wuphf,
    /// User profiles.
    Profile,
}

impl ServiceName {
    /// All services.
    pub const ALL: [Self; 6] = [
        Self::Sales,
        Self::Order,
        Self::Inventory,
        Self::Finance,
        Self::Wuphf,
        Self::Profile,
    ];

    /// Returns the name in `dm.toml`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sales => "sales",
            Self::Order => "order",
            Self::Inventory => "inventory",
            Self::Finance => "finance",
            Self::Wuphf => "wuphf",
            Self::Profile => "profile",
        }
    }
}

impl HistoryTable {
    /// Returns the service that owns the table.
    #[must_use]
    pub const fn service(self) -> ServiceName {
        match self {
            Self::Leads | Self::Clients => ServiceName::Sales,
            Self::Orders | Self::OrderTimeline => ServiceName::Order,
            Self::Shipments | Self::Reservations | Self::ScanLog | Self::IdempotencyRecords => {
                ServiceName::Inventory
            }
            Self::Expenses => ServiceName::Finance,
            Self::Notifications => ServiceName::Wuphf,
            Self::UserProfiles | Self::Avatars | Self::AppSettings => ServiceName::Profile,
            Self::Outbox(service) | Self::Inbox(service) => service,
        }
    }

    /// Returns the name of the table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Leads => "leads",
            Self::Clients => "clients",
            Self::Orders => "orders",
            Self::OrderTimeline => "order_timeline",
            Self::Shipments => "shipments",
            Self::Reservations => "reservations",
            Self::ScanLog => "shipment_scan_log",
            Self::IdempotencyRecords => "idempotency_records",
            Self::Expenses => "expenses",
            Self::Notifications => "notifications",
            Self::UserProfiles => "user_profiles",
            Self::Avatars => "avatars",
            Self::AppSettings => "app_settings",
            Self::Outbox(_) => "outbox_events",
            Self::Inbox(_) => "inbox_events",
        }
    }

    /// Returns the columns of a row, in order.
    #[must_use]
    pub const fn columns(self) -> &'static str {
        match self {
            Self::Leads => {
                "lead_id, company_name, contact_name, contact_email, phone, status, notes, \
                 created_by, created_at, updated_at, converted_client_id, converted_at"
            }
            Self::Clients => {
                "client_id, source_lead_id, company_name, contact_name, contact_email, phone, \
                 created_by, created_at"
            }
            Self::Orders => {
                "order_id, client_id, requested_ship_date, items, notes, created_by, status, \
                 created_at, shipment_id, cancelled_at, cancelled_by, cancel_reason"
            }
            Self::OrderTimeline => "id, order_id, status, at, source",
            Self::Shipments => {
                "shipment_id, order_id, client_id, requested_ship_date, items, status, \
                 created_at, created_by, updated_at, dispatched_at, dispatched_by, truck_id, \
                 dispatch_id"
            }
            Self::Reservations => "reservation_id, order_id, status, items, created_at, updated_at",
            Self::ScanLog => {
                "id, shipment_id, barcode, quantity, scanned_by, scanned_at, idempotency_key"
            }
            Self::IdempotencyRecords => {
                "operation_type, idempotency_key, shipment_id, response_json, created_at"
            }
            Self::Expenses => {
                "expense_id, submitter_user_id, category, amount, currency, description, \
                 status, created_at, decided_by, decided_at, decision_comment"
            }
            Self::Notifications => {
                "notification_id, user_id, kind, title, body, deep_link, is_read, created_at, \
                 read_at, source_event_id"
            }
            Self::UserProfiles => {
                "user_id, full_name, email, title, phone, default_app, notifications_enabled, \
                 created_at, updated_at"
            }
            Self::Avatars => "user_id, png, updated_at",
            Self::AppSettings => "user_id, app, version, settings, updated_at",
            Self::Outbox(_) => {
                "sequence, event_id, event_type, routing_key, subject, traceparent, payload, \
                 created_at, not_before, attempts, published_at"
            }
            Self::Inbox(_) => "queue, event_id, event_type, processed_at",
        }
    }
}

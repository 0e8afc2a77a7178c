//! Users as the realm describes them.

/// An authenticated user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    /// The user name, e.g. `jhalpert`.
    pub id: String,
    /// The display name.
    pub display_name: String,
    /// The realm roles.
    pub roles: Vec<String>,
    /// The groups, for display only.
    pub groups: Vec<String>,
}

//! The entries of the LDAP directory, as its administrator reads them over the network.
//!
//! The format is LDIF with the operational attributes of each entry (ids, times, password hashes),
//! which `slapadd` accepts. Attributes that the server computes on request are omitted.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ldap3::controls::ManageDsaIt;
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapError, Scope, SearchEntry};

use super::BackupError;

/// How long the server may take to respond.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Attributes that the server computes on request. `slapadd` refuses them.
const COMPUTED_ATTRIBUTES: [&str; 4] = [
    "entryDN",
    "subschemaSubentry",
    "hasSubordinates",
    "numSubordinates",
];

/// The address of an LDAP directory and the login of its administrator.
pub(super) struct LdapDirectory {
    /// The URL of the server.
    pub(super) url: String,
    /// The DN of the root entry.
    pub(super) base_dn: String,
    /// The DN of the administrator, who is exempt from limits and access rules.
    pub(super) bind_dn: String,
    /// The password of the administrator.
    pub(super) password: String,
}

impl LdapDirectory {
    async fn connect(&self) -> Result<Ldap, LdapError> {
        let settings = LdapConnSettings::new().set_conn_timeout(REQUEST_TIMEOUT);
        let (connection, mut ldap) = LdapConnAsync::with_settings(settings, &self.url).await?;
        ldap3::drive!(connection);
        ldap.with_timeout(REQUEST_TIMEOUT)
            .simple_bind(&self.bind_dn, &self.password)
            .await?
            .success()?;
        Ok(ldap)
    }

    /// Checks that the administrator can log in.
    ///
    /// # Errors
    /// Returns [`BackupError::Directory`] if the server cannot be reached or refuses the login.
    pub(super) async fn check_connection(&self) -> Result<(), BackupError> {
        let mut ldap = self.connect().await?;
        Ok(ldap.unbind().await?)
    }

    /// Exports all entries as LDIF, each after its parent.
    ///
    /// # Errors
    /// Returns [`BackupError::Directory`] if the server cannot be reached or refuses a request.
    pub(super) async fn export(&self) -> Result<Vec<u8>, BackupError> {
        let mut ldap = self.connect().await?;
        // This control returns dynamic groups and referrals as they are stored.
        let (entries, _) = ldap
            .with_timeout(REQUEST_TIMEOUT)
            .with_controls(ManageDsaIt)
            .search(
                &self.base_dn,
                Scope::Subtree,
                "(objectClass=*)",
                vec!["*", "+"],
            )
            .await?
            .success()?;
        ldap.unbind().await?;
        let mut entries: Vec<SearchEntry> =
            entries.into_iter().map(SearchEntry::construct).collect();
        // The server returns entries in the order of creation, in which a moved entry may precede
        // its parent. The sort is stable.
        entries.sort_by_key(|entry| dn_depth(&entry.dn));
        Ok(entries.iter().map(to_ldif).collect::<String>().into_bytes())
    }
}

/// Returns the number of ancestors in a DN.
fn dn_depth(dn: &str) -> usize {
    let mut escaped = false;
    let separators = dn.chars().filter(|&character| {
        let separates = character == ',' && !escaped;
        escaped = character == '\\' && !escaped;
        separates
    });
    separators.count()
}

/// Returns an entry in LDIF, with an empty line at the end.
fn to_ldif(entry: &SearchEntry) -> String {
    let mut text = ldif_line("dn", entry.dn.as_bytes());
    let plain = entry.attrs.iter().map(|(name, values)| {
        let values = values.iter().map(String::as_bytes).collect::<Vec<_>>();
        (name, values)
    });
    let binary = entry.bin_attrs.iter().map(|(name, values)| {
        let values = values.iter().map(Vec::as_slice).collect::<Vec<_>>();
        (name, values)
    });
    let mut attributes: Vec<(&String, Vec<&[u8]>)> = plain.chain(binary).collect();
    attributes.sort_by_key(|(name, _)| name.to_lowercase());
    for (name, values) in attributes {
        if COMPUTED_ATTRIBUTES
            .iter()
            .any(|computed| computed.eq_ignore_ascii_case(name))
        {
            continue;
        }
        text.extend(values.into_iter().map(|value| ldif_line(name, value)));
    }
    text.push('\n');
    text
}

/// Returns an attribute with a value, in base64 unless the value is a safe string.
fn ldif_line(name: &str, value: &[u8]) -> String {
    let starts_safe = !matches!(value.first(), Some(b' ' | b':' | b'<'));
    let is_safe = starts_safe
        && value.last() != Some(&b' ')
        && value.iter().all(|byte| (b' '..=b'~').contains(byte));
    match std::str::from_utf8(value) {
        Ok(text) if is_safe => format!("{name}: {text}\n"),
        _ => format!("{name}:: {}\n", BASE64.encode(value)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn ldif_encodes_unsafe_values_and_omits_computed_attributes() {
        let attribute = |name: &str, values: &[&str]| {
            let values = values.iter().map(ToString::to_string).collect();
            (name.to_owned(), values)
        };
        let entry = SearchEntry {
            dn: "uid=jim,dc=dm".into(),
            attrs: HashMap::from([
                attribute("uid", &["jim"]),
                attribute(
                    "description",
                    &[" from Zürich", "a:b", "", "ends ", "two\nlines"],
                ),
                attribute("hasSubordinates", &["FALSE"]),
                attribute("entryUUID", &["1-2"]),
            ]),
            bin_attrs: HashMap::from([("jpegPhoto".to_owned(), vec![vec![0xff, 0]])]),
        };
        assert_eq!(
            to_ldif(&entry),
            "dn: uid=jim,dc=dm\n\
             description:: IGZyb20gWsO8cmljaA==\n\
             description: a:b\n\
             description: \n\
             description:: ZW5kcyA=\n\
             description:: dHdvCmxpbmVz\n\
             entryUUID: 1-2\n\
             jpegPhoto:: /wA=\n\
             uid: jim\n\n"
        );
    }

    #[test]
    fn dn_depth_ignores_escaped_commas() {
        assert_eq!(dn_depth("dc=dm"), 0);
        assert_eq!(dn_depth(r"cn=Scott\, Michael,ou=people,dc=dm"), 2);
        assert_eq!(dn_depth(r"cn=back\\,dc=dm"), 1);
    }
}

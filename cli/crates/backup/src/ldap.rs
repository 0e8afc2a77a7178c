//! The directory's entries, as its administrator reads them over the network.
//!
//! The form is LDIF with what the server keeps of each entry (ids, times, hashes of
//! passwords), which `slapadd` takes. What the server works out when it is asked is left out.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ldap3::controls::ManageDsaIt;
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapError, Scope, SearchEntry};

use super::BackupError;

/// How long the server may take to answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Attributes that are worked out when they are asked for. `slapadd` refuses them.
const COMPUTED_ATTRIBUTES: [&str; 4] = [
    "entryDN",
    "subschemaSubentry",
    "hasSubordinates",
    "numSubordinates",
];

/// The way to a directory, as its administrator.
pub(super) struct LdapDirectory {
    /// Its address.
    pub(super) url: String,
    /// The name above all of its entries.
    pub(super) base_dn: String,
    /// The administrator's name, whom no limit and no rule of access holds for.
    pub(super) bind_dn: String,
    /// The administrator's password.
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

    /// Asks whether it answers.
    ///
    /// # Errors
    /// It is away, or refuses.
    pub(super) async fn check_connection(&self) -> Result<(), BackupError> {
        let mut ldap = self.connect().await?;
        Ok(ldap.unbind().await?)
    }

    /// All entries, each after the one above it.
    ///
    /// # Errors
    /// It is away, or refuses.
    pub(super) async fn export(&self) -> Result<Vec<u8>, BackupError> {
        let mut ldap = self.connect().await?;
        // With this control groups that are worked out, and referrals, come as they are kept.
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
        // As they are kept, which is the order in which they were made, unless one was moved.
        entries.sort_by_key(|entry| dn_depth(&entry.dn));
        Ok(entries.iter().map(to_ldif).collect::<String>().into_bytes())
    }
}

/// How many names are above an entry's own.
fn dn_depth(dn: &str) -> usize {
    let mut escaped = false;
    let separators = dn.chars().filter(|&letter| {
        let separates = letter == ',' && !escaped;
        escaped = letter == '\\' && !escaped;
        separates
    });
    separators.count()
}

/// An entry, ended by an empty line.
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
            .any(|it| it.eq_ignore_ascii_case(name))
        {
            continue;
        }
        text.extend(values.into_iter().map(|value| ldif_line(name, value)));
    }
    text.push('\n');
    text
}

/// An attribute with a value; in base64 where it is not plainly safe.
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
    fn an_entry_is_written_so_that_it_can_be_read_back() {
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
    fn an_entry_is_as_deep_as_it_has_names_above_it() {
        assert_eq!(dn_depth("dc=dm"), 0);
        assert_eq!(dn_depth(r"cn=Scott\, Michael,ou=people,dc=dm"), 2);
        assert_eq!(dn_depth(r"cn=back\\,dc=dm"), 1);
    }
}

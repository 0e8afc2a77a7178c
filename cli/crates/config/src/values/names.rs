//! Names of the project, of database objects, of accounts and of domains.

use serde::{Deserialize, Serialize};

use super::{InvalidValue, string_newtype};

/// The maximum number of characters of a project's name. It is the prefix of the host names of
/// containers, which have at most 63 characters.
const PROJECT_NAME_MAX: usize = 32;
/// The maximum number of bytes of a PostgreSQL identifier.
const SQL_IDENTIFIER_MAX: usize = 63;
/// The maximum number of characters of an account's name.
const ACCOUNT_NAME_MAX: usize = 64;

/// The name of a project: a lower-case DNS label of at most 32 characters, because it is the
/// prefix of the names of containers, networks and volumes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct ProjectName(String);

/// An unquoted PostgreSQL identifier: a database, a schema or a role.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct SqlIdentifier(String);

/// The name of a user or a realm, safe in URLs and command lines.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct AccountName(String);

/// A domain name, e.g. `dundermifflin.com`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct DomainName(String);

/// A non-empty text of one line.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct SingleLine(String);

string_newtype!(ProjectName, validate_project_name, title: "Name",
    pattern: "^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$");
string_newtype!(SqlIdentifier, validate_sql_identifier, title: "Identifier",
    pattern: "^[a-z_][a-z0-9_]{0,62}$");
string_newtype!(AccountName, validate_account_name, title: "Name",
    pattern: "^[A-Za-z0-9._-]{1,64}$");
string_newtype!(DomainName, validate_domain_name, title: "Domain name",
    pattern: "^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$");
string_newtype!(SingleLine, validate_single_line, title: "Text", pattern: "^[^\\u0000-\\u001f\\u007f]+$");

fn validate_project_name(text: &str) -> Result<(), InvalidValue> {
    let suggestion = || {
        let label = to_dns_label(text);
        (!label.is_empty()).then(|| format!("write `{label}`"))
    };
    let reject = |reason: &str| {
        let error = InvalidValue::new(reason);
        Err(match suggestion() {
            Some(help) => error.with_help(help),
            None => error,
        })
    };
    if text.is_empty() {
        return reject("a project name cannot be empty");
    }
    if text.len() > PROJECT_NAME_MAX {
        return reject("a project name has at most 32 characters");
    }
    if is_dns_label(text) && text.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Ok(());
    }
    reject(
        "a project name consists of lower-case letters, digits and inner dashes, \
         and begins with a letter",
    )
}

/// Converts the text to a valid project name. Returns an empty string if no character remains.
fn to_dns_label(text: &str) -> String {
    let dashed: String = text
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(PROJECT_NAME_MAX)
        .collect();
    dashed
        .trim_start_matches(|c: char| !c.is_ascii_lowercase())
        .trim_end_matches('-')
        .to_owned()
}

fn is_dns_label(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

fn validate_sql_identifier(text: &str) -> Result<(), InvalidValue> {
    if text.is_empty() {
        return Err(InvalidValue::new("a database identifier cannot be empty"));
    }
    if text.len() > SQL_IDENTIFIER_MAX {
        return Err(InvalidValue::new(
            "a database identifier has at most 63 characters",
        ));
    }
    if text.starts_with("pg_") {
        return Err(InvalidValue::new(
            "names that begin with `pg_` are reserved by PostgreSQL",
        ));
    }
    let is_first = |c: char| c.is_ascii_lowercase() || c == '_';
    let is_valid = |c: char| is_first(c) || c.is_ascii_digit();
    if text.starts_with(is_first) && text.chars().all(is_valid) {
        return Ok(());
    }
    Err(InvalidValue::new(
        "a database identifier consists of lower-case letters, digits and underscores, \
         and does not begin with a digit",
    ))
}

fn validate_account_name(text: &str) -> Result<(), InvalidValue> {
    if text.is_empty() {
        return Err(InvalidValue::new("a name cannot be empty"));
    }
    if text.len() > ACCOUNT_NAME_MAX {
        return Err(InvalidValue::new("a name has at most 64 characters"));
    }
    if text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
    {
        return Ok(());
    }
    Err(InvalidValue::new(
        "a name consists of letters, digits, dots, dashes and underscores",
    ))
}

fn validate_domain_name(text: &str) -> Result<(), InvalidValue> {
    if text.split('.').all(is_dns_label) {
        return Ok(());
    }
    Err(
        InvalidValue::new("a domain name consists of lower-case labels joined by dots")
            .with_help("for example `dundermifflin.com`"),
    )
}

fn validate_single_line(text: &str) -> Result<(), InvalidValue> {
    if text.trim().is_empty() {
        return Err(InvalidValue::new("the text cannot be empty"));
    }
    if text.contains(char::is_control) {
        return Err(InvalidValue::new(
            "the text is a single line without control characters",
        ));
    }
    Ok(())
}

/// Implements `Display` with the text as it was written.
macro_rules! display_as_written {
    ($($type:ident),*) => {$(
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

display_as_written!(
    ProjectName,
    SqlIdentifier,
    AccountName,
    DomainName,
    SingleLine
);

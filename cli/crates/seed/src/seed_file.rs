//! The seed file, which defines the content of a demo.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use dm_history::model::Member;
use rust_decimal::Decimal;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{SEED_FILE_PATH, SeedError};

/// The content of a demo.
///
/// The names of this type, its fields and the types of its fields are part of
/// [`SeedFile::digest`]: a rename changes the digest of stored runs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedFile {
    /// User ids of the sellers, who handle leads and orders.
    pub sellers: Vec<String>,
    /// User id of the accountant, who submits and decides expenses.
    pub accountant: String,
    /// User id of the warehouse worker, who scans and dispatches shipments.
    pub warehouse: String,
    /// The profiles of users.
    pub people: Vec<Member>,
    /// Ids of the trucks.
    pub trucks: Vec<String>,
    /// Towns, which distinguish the companies of later runs from those of the first.
    pub towns: Vec<String>,
    /// The companies.
    pub companies: Vec<Company>,
    /// The template of orders.
    pub order: OrderShape,
    /// The expenses.
    pub expenses: Vec<ExpenseText>,
}

/// A company that may become a client.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Company {
    /// The company name.
    pub name: String,
    /// The name of the contact.
    pub contact: String,
    /// The e-mail address of the contact.
    pub email: String,
    /// The phone number of the contact.
    pub phone: String,
    /// Notes of the seller.
    pub notes: String,
}

/// The template of orders.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderShape {
    /// Notes, one of which is chosen for each order.
    pub notes: Vec<String>,
    /// Quantities, one of which is chosen for each product.
    pub quantities: Vec<i64>,
    /// The maximum number of products of an order.
    pub most_items: usize,
}

/// The template of an expense.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpenseText {
    /// User id of the submitter.
    pub submitter: String,
    /// The category.
    pub category: String,
    /// The description.
    pub description: String,
    /// The amount in dollars. A run adds up to 5 dollars to it.
    pub amount: Decimal,
    /// The comment of a rejection. Without it the expense is never rejected.
    pub rejection: Option<String>,
}

impl SeedFile {
    /// Reads and validates the seed file of a project.
    ///
    /// # Errors
    /// Returns [`SeedError::ReadFile`] if the file cannot be read, and [`SeedError::InvalidFile`]
    /// if it is invalid.
    pub fn load(root: &Path) -> Result<Self, SeedError> {
        let path = root.join(SEED_FILE_PATH);
        let text = std::fs::read_to_string(&path).map_err(|source| SeedError::ReadFile {
            path: path.clone(),
            source,
        })?;
        Self::parse(&text, &path)
    }

    /// Returns a digest of the content. Comments and blank lines do not change it.
    #[must_use]
    pub fn digest(&self) -> String {
        HEXLOWER.encode(&Sha256::digest(format!("{self:?}")))
    }

    fn parse(text: &str, path: &Path) -> Result<Self, SeedError> {
        let invalid = |line: Option<usize>, reason: String| SeedError::InvalidFile {
            path: PathBuf::from(path),
            line,
            reason,
        };
        let file: Self = toml::from_str(text).map_err(|error| {
            let line = error
                .span()
                .and_then(|span| text.get(..span.start))
                .map(|before| before.lines().count().max(1));
            invalid(line, error.message().to_owned())
        })?;
        let empty = [
            ("sellers", file.sellers.is_empty()),
            ("trucks", file.trucks.is_empty()),
            ("companies", file.companies.is_empty()),
            ("order.notes", file.order.notes.is_empty()),
            ("order.quantities", file.order.quantities.is_empty()),
            ("expenses", file.expenses.is_empty()),
        ];
        if let Some((name, _)) = empty.into_iter().find(|(_, is_empty)| *is_empty) {
            return Err(invalid(None, format!("`{name}` is empty")));
        }
        let mut users = BTreeSet::new();
        if let Some(duplicate) = file
            .people
            .iter()
            .find(|member| !users.insert(&member.user))
        {
            return Err(invalid(
                None,
                format!("`{}` is in `people` twice", duplicate.user),
            ));
        }
        if file.order.most_items == 0 || file.order.quantities.iter().any(|&quantity| quantity < 1)
        {
            let reason = "`order.most_items` and each of `order.quantities` must be 1 or more";
            return Err(invalid(None, reason.into()));
        }
        Ok(file)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Returns the seed file of this repository.
    pub(crate) fn file() -> SeedFile {
        let root = &Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        SeedFile::load(root).unwrap()
    }

    #[test]
    fn parse_reports_the_line_of_an_unknown_key() {
        let root = &Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        let text = std::fs::read_to_string(root.join(SEED_FILE_PATH)).unwrap();
        let line = text
            .lines()
            .position(|line| line.starts_with("phone"))
            .unwrap();
        let broken = text.replacen("phone =", "fone =", 1);
        let error = SeedFile::parse(&broken, Path::new("seed.toml")).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("fone"), "{message}");
        let SeedError::InvalidFile {
            line: Some(reported),
            ..
        } = error
        else {
            panic!("{error:?}");
        };
        assert!(
            reported.abs_diff(line + 1) <= 5,
            "line {reported}, and not {line}"
        );
    }

    #[test]
    fn digest_changes_with_the_content() {
        let original = file();
        let mut changed = original.clone();
        assert_eq!(original.digest(), changed.digest());
        changed.order.most_items += 1;
        assert_ne!(original.digest(), changed.digest());
    }

    #[test]
    fn parse_rejects_an_empty_list() {
        let root = &Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        let text = std::fs::read_to_string(root.join(SEED_FILE_PATH)).unwrap();
        let broken = text.replacen(
            "trucks = [\"truck_scr_01\", \"truck_scr_02\", \"truck_scr_03\"]",
            "trucks = []",
            1,
        );
        let error = SeedFile::parse(&broken, Path::new("seed.toml")).unwrap_err();
        assert!(error.to_string().contains("`trucks` is empty"), "{error}");
    }
}

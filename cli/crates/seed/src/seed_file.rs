//! The file that says what a demo's business is made of.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use dm_history::model::Member;
use rust_decimal::Decimal;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{SEED_FILE_PATH, SeedError};

/// What a demo's business is made of.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedFile {
    /// The people who look after leads and orders.
    pub sellers: Vec<String>,
    /// Who submits and decides expenses.
    pub accountant: String,
    /// Who scans shipments and sends them off.
    pub warehouse: String,
    /// What people have told of themselves.
    pub people: Vec<Member>,
    /// What shipments leave with.
    pub trucks: Vec<String>,
    /// What tells the companies of later runs from those of the first.
    pub towns: Vec<String>,
    /// The companies.
    pub companies: Vec<Company>,
    /// What orders are like.
    pub order: OrderShape,
    /// The expenses.
    pub expenses: Vec<ExpenseText>,
}

/// A company that may become a client.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Company {
    /// Its name.
    pub name: String,
    /// Who speaks for it.
    pub contact: String,
    /// That person's address.
    pub email: String,
    /// That person's number.
    pub phone: String,
    /// What the seller has noted.
    pub notes: String,
}

/// What orders are like.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderShape {
    /// What is written on them.
    pub notes: Vec<String>,
    /// How many of one product may be ordered.
    pub quantities: Vec<i64>,
    /// How many products an order has at most.
    pub most_items: usize,
}

/// An expense.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpenseText {
    /// Whose money it was.
    pub submitter: String,
    /// What for.
    pub category: String,
    /// What it was.
    pub description: String,
    /// How much, in dollars; a run varies it by a few.
    pub amount: Decimal,
    /// What is said of it where it is rejected; without this it never is.
    pub rejection: Option<String>,
}

impl SeedFile {
    /// Reads the project's file.
    ///
    /// # Errors
    /// It is not there, or not what it should be.
    pub fn load(root: &Path) -> Result<Self, SeedError> {
        let path = root.join(SEED_FILE_PATH);
        let text = std::fs::read_to_string(&path).map_err(|source| SeedError::ReadFile {
            path: path.clone(),
            source,
        })?;
        Self::parse(&text, &path)
    }

    /// A digest of what it says; comments and blank lines make no difference.
    #[must_use]
    pub fn digest(&self) -> String {
        HEXLOWER.encode(&Sha256::digest(format!("{self:?}")))
    }

    fn parse(text: &str, path: &Path) -> Result<Self, SeedError> {
        let wrong = |line: Option<usize>, what: String| SeedError::InvalidFile {
            path: PathBuf::from(path),
            line,
            reason: what,
        };
        let file: Self = toml::from_str(text).map_err(|error| {
            let line = error
                .span()
                .and_then(|span| text.get(..span.start))
                .map(|before| before.lines().count().max(1));
            wrong(line, error.message().to_owned())
        })?;
        let empty = [
            ("sellers", file.sellers.is_empty()),
            ("trucks", file.trucks.is_empty()),
            ("companies", file.companies.is_empty()),
            ("order.notes", file.order.notes.is_empty()),
            ("order.quantities", file.order.quantities.is_empty()),
            ("expenses", file.expenses.is_empty()),
        ];
        if let Some((name, _)) = empty.into_iter().find(|(_, empty)| *empty) {
            return Err(wrong(None, format!("`{name}` is empty")));
        }
        let mut users = BTreeSet::new();
        if let Some(twice) = file.people.iter().find(|it| !users.insert(&it.user)) {
            return Err(wrong(
                None,
                format!("`{}` is in `people` twice", twice.user),
            ));
        }
        if file.order.most_items == 0 || file.order.quantities.iter().any(|&it| it < 1) {
            let what = "`order.most_items` and each of `order.quantities` must be 1 or more";
            return Err(wrong(None, what.into()));
        }
        Ok(file)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The repository's own file.
    pub(crate) fn file() -> SeedFile {
        let root = &Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        SeedFile::load(root).unwrap()
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let root = &Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        let text = std::fs::read_to_string(root.join(SEED_FILE_PATH)).unwrap();
        let line = text
            .lines()
            .position(|line| line.starts_with("phone"))
            .unwrap();
        let broken = text.replacen("phone =", "fone =", 1);
        let error = SeedFile::parse(&broken, Path::new("seed.toml")).unwrap_err();
        let told = error.to_string();
        assert!(told.contains("fone"), "{told}");
        let SeedError::InvalidFile {
            line: Some(told), ..
        } = error
        else {
            panic!("{error:?}");
        };
        assert!(told.abs_diff(line + 1) <= 5, "line {told}, and not {line}");
    }

    #[test]
    fn another_file_has_another_digest() {
        let own = file();
        let mut other = own.clone();
        assert_eq!(own.digest(), other.digest());
        other.order.most_items += 1;
        assert_ne!(own.digest(), other.digest());
    }

    #[test]
    fn an_empty_list_is_refused() {
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

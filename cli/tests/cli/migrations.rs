//! Migrations are only ever added: a service and `dm up` refuse a schema to which they applied
//! another text of a migration.

use std::fmt::Write as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

/// The digests of the migrations, as `sha256sum */*.sql` prints them in `migrations`.
const DIGESTS: &str = include_str!("migrations.sha256");

#[test]
fn migrations_keep_their_text() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations");
    let entries = |directory: &Path| std::fs::read_dir(directory).unwrap();
    let mut paths: Vec<_> = entries(&directory)
        .flat_map(|schema| entries(&schema.unwrap().path()))
        .map(|migration| migration.unwrap().path())
        .collect();
    paths.sort();
    let mut digests = String::new();
    for path in paths {
        let digest = Sha256::digest(std::fs::read(&path).unwrap());
        let name = path.strip_prefix(&directory).unwrap().display();
        writeln!(digests, "{digest:x}  {name}").unwrap();
    }
    assert_eq!(
        digests, DIGESTS,
        "a migration has changed: restore its text and add a migration with the next number. \
         Add the digest of a new migration to cli/tests/cli/migrations.sha256"
    );
}

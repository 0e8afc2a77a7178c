//! The specification of a container, independent of the engine's API types.

use std::collections::BTreeMap;

use aws_lc_rs::hmac;
use data_encoding::HEXLOWER;
use serde::Serialize;

/// A file that is copied into a container before it starts.
///
/// Files are sent through the archive API instead of bind mounts, so that this also works
/// with an engine on another machine and a rootless one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContainerFile {
    /// Its absolute path in the container.
    pub path: String,
    /// Its permission bits.
    pub mode: u32,
    /// Its owner in the container, as a uid.
    pub owner: u32,
    /// Its contents.
    pub contents: Vec<u8>,
}

impl ContainerFile {
    /// Creates a file that every user in the container may read.
    #[must_use]
    pub fn world_readable(path: impl Into<String>, contents: impl Into<Vec<u8>>) -> Self {
        Self {
            path: path.into(),
            mode: 0o644,
            owner: 0,
            contents: contents.into(),
        }
    }

    /// Creates a file that only one user in the container may read.
    #[must_use]
    pub fn secret(path: impl Into<String>, owner: u32, contents: impl Into<Vec<u8>>) -> Self {
        Self {
            path: path.into(),
            mode: 0o400,
            owner,
            contents: contents.into(),
        }
    }
}

/// The directory of secrets in a container, one file each.
const SECRETS_DIR: &str = "/etc/dm-secrets";

/// The key of the digests of specifications. A digest is a label that every user of the engine
/// can read; without a key, a short password could be guessed from it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct DigestKey(Vec<u8>);

impl DigestKey {
    /// Creates a key from bytes.
    #[must_use]
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Returns the digest of a text, as hex.
    #[must_use]
    pub fn digest(&self, text: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        HEXLOWER.encode(hmac::sign(&key, text).as_ref())
    }
}

impl std::fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DigestKey(..)")
    }
}

/// A port that is published on the loopback address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PublishedPort {
    /// Its name in `dm.toml` and in allocations, e.g. `rabbitmq-management`.
    pub name: String,
    /// The port inside the container.
    pub container: u16,
    /// The port on the host.
    pub host: u16,
}

/// A named volume and its mount point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VolumeMount {
    /// The volume's full name.
    pub volume: String,
    /// The absolute path in the container.
    pub path: String,
}

/// A file or directory of the engine's machine, and its mount point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostMount {
    /// Its path on the machine.
    pub source: String,
    /// The absolute path in the container.
    pub target: String,
    /// Whether it is writable.
    pub writable: bool,
}

/// A program of the engine's machine that a container runs as a user of that machine. The file
/// system of the container itself is read-only then, and it has no privileges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostAccess {
    /// The program, by its path in the container: its entry point.
    pub program: String,
    /// The files of the machine that it can access.
    pub mounts: Vec<HostMount>,
    /// The user of its process on the machine: `uid:gid`.
    pub user: String,
    /// A digest of the mounted files whose change requires a new container.
    pub contents: String,
}

/// The specification of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContainerSpec {
    /// The container's full name.
    pub name: String,
    /// Its component.
    pub component: String,
    /// The image that it is created from. Not part of the digest: the same recipe may be
    /// pulled, built, or contain golden data.
    #[serde(skip)]
    pub image: String,
    /// The identity of the image, independent of its origin: its recipe and reference.
    pub recipe: String,
    /// The key of the digest.
    #[serde(skip)]
    pub digest_key: DigestKey,
    /// Its host name, which is also its name on the network.
    pub hostname: String,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Arguments. Unless empty, they replace the image's own.
    pub command: Vec<String>,
    /// Files that are copied into it before it starts.
    pub files: Vec<ContainerFile>,
    /// Its volumes.
    pub mounts: Vec<VolumeMount>,
    /// Its published ports.
    pub ports: Vec<PublishedPort>,
    /// Its network.
    pub network: String,
    /// Its memory limit in bytes.
    pub memory: Option<u64>,
    /// Size of `/dev/shm` in bytes.
    pub shm_size: Option<u64>,
    /// Seconds between the stop signal and the kill.
    pub stop_timeout: u32,
    /// Kernel settings of its network namespace.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// The program of the host that it runs instead of one of its image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<HostAccess>,
    /// Labels in addition to those that every object of `dm` carries.
    pub labels: BTreeMap<String, String>,
}

impl ContainerSpec {
    /// Adds a secret as a file, whose path is in the variable `<name>_FILE`: every user of the
    /// engine can read the variables themselves.
    pub fn add_secret_file(&mut self, name: &str, owner: u32, secret: &str) {
        let path = format!("{SECRETS_DIR}/{name}");
        self.env.insert(format!("{name}_FILE"), path.clone());
        self.files.push(ContainerFile::secret(path, owner, secret));
    }

    /// Returns all properties whose change requires a new container, as text. It contains
    /// secrets.
    #[must_use]
    pub fn canonical_json(&self) -> Vec<u8> {
        // serde_json writes struct fields in order and BTreeMaps sorted: equal specifications
        // have equal texts.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Returns the digest of all properties whose change requires a new container.
    #[must_use]
    pub fn digest(&self) -> String {
        self.digest_key.digest(&self.canonical_json())
    }
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::spec;

    #[test]
    fn digest_is_stable_and_changes_with_the_specification() {
        let base = spec();
        assert_eq!(base.digest(), spec().digest());
        let mut file = spec();
        file.files[0].contents.push(b'y');
        let mut port = spec();
        port.ports[0].host = 5433;
        let mut env = spec();
        env.env.insert("B".into(), "2".into());
        for changed in [file, port, env] {
            assert_ne!(base.digest(), changed.digest());
        }
    }

    #[test]
    fn digest_depends_on_the_key() {
        let mut keyed = spec();
        keyed.digest_key = DigestKey::new(vec![1; 32]);
        assert_ne!(spec().digest(), keyed.digest());
        assert_eq!(keyed.digest(), keyed.clone().digest());
    }

    #[test]
    fn add_secret_file_stores_the_secret_in_a_file_of_its_owner() {
        let mut spec = spec();
        spec.add_secret_file("POSTGRES_PASSWORD", 999, "a $b ");
        assert_eq!(
            spec.env["POSTGRES_PASSWORD_FILE"],
            "/etc/dm-secrets/POSTGRES_PASSWORD"
        );
        assert!(!spec.env.values().any(|value| value.contains("a $b")));
        let file = spec.files.last().unwrap();
        assert_eq!((file.mode, file.owner), (0o400, 999));
        assert_eq!(file.contents, b"a $b ");
    }

    #[test]
    fn digest_ignores_the_image_reference_and_depends_on_the_recipe() {
        let mut golden = spec();
        golden.image = "dm/postgres-golden:2".into();
        assert_eq!(spec().digest(), golden.digest());
        golden.recipe = "postgres@2".into();
        assert_ne!(spec().digest(), golden.digest());
    }
}

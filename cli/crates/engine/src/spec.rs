//! What a container should be, independent of the engine's API types.

use std::collections::BTreeMap;

use aws_lc_rs::hmac;
use data_encoding::HEXLOWER;
use serde::Serialize;

/// A file that is put into a container before it starts.
///
/// Files travel by the archive API instead of bind mounts, so that they reach
/// an engine on another machine and a rootless one alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContainerFile {
    /// Its absolute path in the container.
    pub path: String,
    /// Its permission bits.
    pub mode: u32,
    /// Its owner in the container, by number.
    pub owner: u32,
    /// Its contents.
    pub contents: Vec<u8>,
}

impl ContainerFile {
    /// A file that everybody in the container may read.
    #[must_use]
    pub fn world_readable(path: impl Into<String>, contents: impl Into<Vec<u8>>) -> Self {
        Self {
            path: path.into(),
            mode: 0o644,
            owner: 0,
            contents: contents.into(),
        }
    }

    /// A file that one user of the container alone may read.
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

/// Where the secrets of a container are that its program reads one file each.
const SECRETS_DIR: &str = "/etc/dm-secrets";

/// What digests of specifications are keyed with. A digest is a label that anybody sees who
/// may ask the engine; without a key a short password could be found from it by guessing.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct DigestKey(Vec<u8>);

impl DigestKey {
    /// A key of these bytes.
    #[must_use]
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The digest of a text, as hex.
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
    /// What it is called in `dm.toml` and in allocations, e.g. `rabbitmq-management`.
    pub name: String,
    /// The port inside the container.
    pub container: u16,
    /// The port on the host.
    pub host: u16,
}

/// A named volume and where it is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VolumeMount {
    /// The volume's full name.
    pub volume: String,
    /// The absolute path in the container.
    pub path: String,
}

/// A file or folder of the machine that the engine runs on, and where it is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostMount {
    /// Its path on that machine.
    pub source: String,
    /// The absolute path in the container.
    pub target: String,
    /// Whether it may be written.
    pub writable: bool,
}

/// A program of the machine that the engine runs on, which a container runs as a user of that
/// machine. Of its own the container can write nothing then, and it has no privileges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostAccess {
    /// The program, by its path in the container: its entry point.
    pub program: String,
    /// What it has of that machine.
    pub mounts: Vec<HostMount>,
    /// Who its process is there: `user:group`, by number.
    pub user: String,
    /// A digest of the files among those that should lead to a new container when they
    /// change.
    pub contents: String,
}

/// Everything that makes a container what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContainerSpec {
    /// The container's full name.
    pub name: String,
    /// The component that it is.
    pub component: String,
    /// The image that it is made from. Not part of the digest: the same recipe
    /// may come pulled, built, or with golden data in it.
    #[serde(skip)]
    pub image: String,
    /// What the image should be, however it is come by: its recipe and reference.
    pub recipe: String,
    /// What the digest is keyed with.
    #[serde(skip)]
    pub digest_key: DigestKey,
    /// Its host name, which is also its name on the network.
    pub hostname: String,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Arguments, in place of the image's own where not empty.
    pub command: Vec<String>,
    /// Files put into it before it starts.
    pub files: Vec<ContainerFile>,
    /// Its volumes.
    pub mounts: Vec<VolumeMount>,
    /// Its published ports.
    pub ports: Vec<PublishedPort>,
    /// The network it is on.
    pub network: String,
    /// A limit of its memory in bytes.
    pub memory: Option<u64>,
    /// Size of `/dev/shm` in bytes.
    pub shm_size: Option<u64>,
    /// Seconds between the stop signal and the kill.
    pub stop_timeout: u32,
    /// Settings of the kernel for its own network.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// The program of the host that it runs, where not one of its image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<HostAccess>,
    /// Labels besides the ones that every object of `dm` carries.
    pub labels: BTreeMap<String, String>,
}

impl ContainerSpec {
    /// Hands a secret over as a file, whose path the variable `<name>_FILE` holds: variables
    /// themselves are shown to anybody who may ask the engine.
    pub fn add_secret_file(&mut self, name: &str, owner: u32, secret: &str) {
        let path = format!("{SECRETS_DIR}/{name}");
        self.env.insert(format!("{name}_FILE"), path.clone());
        self.files.push(ContainerFile::secret(path, owner, secret));
    }

    /// Everything that should lead to a new container when it changes, as text. It holds
    /// secrets.
    #[must_use]
    pub fn canonical_json(&self) -> Vec<u8> {
        // serde_json writes struct fields in order and BTreeMaps sorted: the
        // text is the same for the same specification.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// A digest of everything that should lead to a new container when it changes.
    #[must_use]
    pub fn digest(&self) -> String {
        self.digest_key.digest(&self.canonical_json())
    }
}
#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> ContainerSpec {
        ContainerSpec {
            name: "dm-postgres".into(),
            component: "postgres".into(),
            image: "dm/postgres:1".into(),
            recipe: "postgres@1".into(),
            digest_key: DigestKey::default(),
            hostname: "postgres".into(),
            env: BTreeMap::from([("A".into(), "1".into())]),
            command: vec![],
            files: vec![ContainerFile::world_readable("/a", "x")],
            mounts: vec![],
            ports: vec![PublishedPort {
                name: "postgres".into(),
                container: 5432,
                host: 5432,
            }],
            network: "dm".into(),
            memory: None,
            shm_size: None,
            stop_timeout: 10,
            sysctls: BTreeMap::new(),
            host: None,
            labels: BTreeMap::new(),
        }
    }

    #[test]
    fn digest_is_stable_and_sees_every_change() {
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
    fn nobody_without_the_key_can_tell_what_the_digest_is_of() {
        let mut keyed = spec();
        keyed.digest_key = DigestKey::new(vec![1; 32]);
        assert_ne!(spec().digest(), keyed.digest());
        assert_eq!(keyed.digest(), keyed.clone().digest());
    }

    #[test]
    fn a_secret_is_handed_over_as_a_file_of_one_user() {
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
    fn the_same_recipe_from_another_source_is_no_change() {
        let mut golden = spec();
        golden.image = "dm/postgres-golden:2".into();
        assert_eq!(spec().digest(), golden.digest());
        golden.recipe = "postgres@2".into();
        assert_ne!(spec().digest(), golden.digest());
    }
}

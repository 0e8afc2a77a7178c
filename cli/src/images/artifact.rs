//! What is fetched on the host and put into a build context: so that the build
//! needs neither Maven nor the host's certificates in a container.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::error::ImageError;
use super::lock::DigestLock;
use super::process::{self, Tools};
use super::progress::{Progress, Update};
use super::recipe::Digest;
use super::settings::ImageSettings;

/// How long a Maven mirror may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a download may stand still.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// A file from a Maven repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Artifact {
    /// The group, e.g. `org.keycloak`.
    pub group: String,
    /// The name in the group, e.g. `keycloak-quarkus-dist`.
    pub artifact: String,
    /// The version.
    pub version: String,
    /// The packaging, e.g. `tar.gz`.
    pub packaging: String,
    /// The path that it gets in the build context.
    pub file: String,
}

impl Artifact {
    /// An artifact by its coordinates, and the path it gets in the context.
    #[must_use]
    pub fn maven(group: &str, artifact: &str, version: &str, packaging: &str, file: &str) -> Self {
        Self {
            group: group.to_owned(),
            artifact: artifact.to_owned(),
            version: version.to_owned(),
            packaging: packaging.to_owned(),
            file: file.to_owned(),
        }
    }

    /// `group:artifact:version:packaging`.
    #[must_use]
    pub fn coordinates(&self) -> String {
        format!(
            "{}:{}:{}:{}",
            self.group, self.artifact, self.version, self.packaging
        )
    }

    /// Its file name in a repository.
    fn file_name(&self) -> String {
        format!("{}-{}.{}", self.artifact, self.version, self.packaging)
    }

    /// Its path in a repository.
    fn repository_path(&self) -> String {
        format!(
            "{}/{}/{}/{}",
            self.group.replace('.', "/"),
            self.artifact,
            self.version,
            self.file_name()
        )
    }
}

/// What a fetch works with.
pub(super) struct Fetcher<'a> {
    pub settings: &'a ImageSettings,
    pub cache: &'a Path,
    pub tools: &'a dyn Tools,
    pub progress: &'a dyn Progress,
    pub cancel: &'a CancellationToken,
    pub image: &'a str,
}

impl Fetcher<'_> {
    /// The file of an artifact in the cache, fetched if it isn't there or isn't
    /// what it was.
    pub(super) async fn fetch(
        &self,
        artifact: &Artifact,
        lock: &DigestLock,
    ) -> Result<PathBuf, ImageError> {
        let cached = self
            .cache
            .join("artifacts")
            .join(artifact.repository_path());
        if self.is_good(&cached).await? {
            return Ok(cached);
        }
        self.progress.working(
            self.image,
            Update::doing("fetching").with(artifact.coordinates()),
        );
        let work = lock.work_dir()?;
        let fresh = match &self.settings.maven_mirror {
            Some(mirror) => self.download(artifact, mirror, work).await?,
            None => self.by_maven(artifact, work, lock).await?,
        };
        self.keep(fresh, cached.clone()).await?;
        Ok(cached)
    }

    /// True where the cached file still has the digest that it was stored with.
    async fn is_good(&self, cached: &Path) -> Result<bool, ImageError> {
        let recorded = match std::fs::read_to_string(digest_path(cached)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => {
                return Err(ImageError::io(format!("read {}", cached.display()))(error));
            }
        };
        let path = cached.to_owned();
        let found = blocking(move || file_sha256(&path)).await;
        Ok(found.is_ok_and(|found| found.as_str() == recorded.trim()))
    }

    /// Moves a verified file into the cache: first the file, then its digest, each
    /// by rename, so that a file without a digest is never taken for whole.
    async fn keep(&self, fresh: PathBuf, cached: PathBuf) -> Result<(), ImageError> {
        let doing = format!("store {}", cached.display());
        blocking(move || {
            let parent = cached.parent().unwrap_or(Path::new("/"));
            std::fs::create_dir_all(parent)?;
            match std::fs::remove_file(digest_path(&cached)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let digest = file_sha256(&fresh)?;
            // The cache may be on another file system than the work directory.
            let mut staged = tempfile::NamedTempFile::new_in(parent)?;
            io::copy(&mut File::open(&fresh)?, &mut staged)?;
            staged.as_file().sync_all()?;
            staged.persist(&cached)?;
            let mut staged = tempfile::NamedTempFile::new_in(parent)?;
            writeln!(staged, "{digest}")?;
            staged.persist(digest_path(&cached))?;
            std::fs::remove_file(&fresh)
        })
        .await
        .map_err(ImageError::io(doing))
    }

    /// Maven verifies what it fetches (`-C`), and its configuration says from where.
    async fn by_maven(
        &self,
        artifact: &Artifact,
        work: &Path,
        lock: &DigestLock,
    ) -> Result<PathBuf, ImageError> {
        let maven = self
            .tools
            .ensure("mvn")
            .await
            .map_err(|reason| ImageError::ToolMissing {
                tool: "mvn".into(),
                reason,
            })?;
        let mut command = Command::new(maven);
        command
            .args(["--batch-mode", "--strict-checksums", "dependency:copy"])
            .arg(format!("-Dartifact={}", artifact.coordinates()))
            .arg(format!("-DoutputDirectory={}", work.display()))
            .current_dir(work)
            .stdin(lock.stdin()?);
        process::run("mvn", command, self.cancel, |line| {
            if let Some(detail) = line.split_once("Downloading from ").map(|(_, from)| from) {
                self.progress
                    .working(self.image, Update::doing("fetching").with(detail));
            }
        })
        .await?;
        let file = work.join(artifact.file_name());
        if file.is_file() {
            Ok(file)
        } else {
            Err(ImageError::Fetch {
                what: artifact.coordinates(),
                reason: "mvn succeeded and left no file".into(),
                hints: vec!["mvn --version".into()],
            })
        }
    }

    /// Plain HTTP, verified by the checksum file that stands beside the artifact.
    async fn download(
        &self,
        artifact: &Artifact,
        mirror: &str,
        work: &Path,
    ) -> Result<PathBuf, ImageError> {
        let url = format!(
            "{}/{}",
            mirror.trim_end_matches('/'),
            artifact.repository_path()
        );
        let client = self.client()?;
        let fetch = async {
            let checksum = self.checksum(&client, artifact, &url).await?;
            let file = work.join(artifact.file_name());
            let found = self.body(&client, artifact, &url, &file).await?;
            if found.matches(&checksum) {
                Ok(file)
            } else {
                Err(ImageError::Fetch {
                    what: artifact.coordinates(),
                    reason: "what was downloaded does not have the published checksum".into(),
                    hints: vec!["run it again; if it stays, images.maven_mirror is damaged".into()],
                })
            }
        };
        tokio::select! {
            () = self.cancel.cancelled() => Err(ImageError::Cancelled),
            file = fetch => file,
        }
    }

    fn client(&self) -> Result<reqwest::Client, ImageError> {
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(STALL_TIMEOUT);
        let mut authorities = Vec::new();
        for path in &self.settings.extra_ca_certificates {
            let pem =
                std::fs::read(path).map_err(ImageError::io(format!("read {}", path.display())))?;
            let found =
                reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| ImageError::Fetch {
                    what: path.display().to_string(),
                    reason: format!("it is no PEM certificate: {error}"),
                    hints: vec!["check images.extra_ca_certificates in dm.toml".into()],
                })?;
            authorities.extend(found);
        }
        if !authorities.is_empty() {
            builder = builder.tls_certs_merge(authorities);
        }
        builder.build().map_err(|error| ImageError::Fetch {
            what: "anything by HTTP".into(),
            reason: error.to_string(),
            hints: Vec::new(),
        })
    }

    /// The strongest checksum that the repository publishes.
    async fn checksum(
        &self,
        client: &reqwest::Client,
        artifact: &Artifact,
        url: &str,
    ) -> Result<String, ImageError> {
        for kind in ["sha256", "sha1"] {
            let response = client
                .get(format!("{url}.{kind}"))
                .send()
                .await
                .map_err(|error| http_failure(artifact, &error))?;
            if response.status() == reqwest::StatusCode::NOT_FOUND {
                continue;
            }
            let text = response
                .error_for_status()
                .map_err(|error| http_failure(artifact, &error))?
                .text()
                .await
                .map_err(|error| http_failure(artifact, &error))?;
            // Some repositories write the file name behind the checksum.
            let checksum = text.split_whitespace().next().unwrap_or_default();
            return Ok(checksum.to_ascii_lowercase());
        }
        Err(ImageError::Fetch {
            what: artifact.coordinates(),
            reason: format!("{url} has no checksum beside it"),
            hints: vec![
                "check that images.maven_mirror is a Maven repository and has this version".into(),
            ],
        })
    }

    async fn body(
        &self,
        client: &reqwest::Client,
        artifact: &Artifact,
        url: &str,
        path: &Path,
    ) -> Result<Checksums, ImageError> {
        let response = client
            .get(url)
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .map_err(|error| http_failure(artifact, &error))?;
        let total = response.content_length();
        let mut file = tokio::fs::File::create(path)
            .await
            .map_err(ImageError::io(format!("create {}", path.display())))?;
        let mut body = response.bytes_stream();
        let mut sums = Checksums::default();
        let mut done = 0;
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| http_failure(artifact, &error))?;
            tokio::io::AsyncWriteExt::write_all(&mut file, &chunk)
                .await
                .map_err(ImageError::io(format!("write {}", path.display())))?;
            sums.sha1.update(&chunk);
            sums.sha256.update(&chunk);
            done += chunk.len() as u64;
            self.progress.working(
                self.image,
                Update::doing("fetching")
                    .with(artifact.file_name())
                    .bytes(done, total),
            );
        }
        tokio::io::AsyncWriteExt::flush(&mut file)
            .await
            .map_err(ImageError::io(format!("write {}", path.display())))?;
        Ok(sums)
    }
}

/// The checksums that Maven repositories publish.
#[derive(Default)]
struct Checksums {
    sha1: Sha1,
    sha256: Sha256,
}

impl Checksums {
    fn matches(self, published: &str) -> bool {
        let hex = |bytes: &[u8]| {
            bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        };
        published == hex(&self.sha256.finalize()) || published == hex(&self.sha1.finalize())
    }
}

fn http_failure(artifact: &Artifact, error: &reqwest::Error) -> ImageError {
    let mut reason = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        reason = format!("{reason}: {error}");
        cause = error.source();
    }
    let mut log = process::Tail::default();
    log.push(&reason);
    let mut hints = process::output_hints(&log);
    if hints.is_empty() {
        hints.push("check images.maven_mirror in dm.toml".into());
    }
    ImageError::Fetch {
        what: artifact.coordinates(),
        reason,
        hints,
    }
}

fn digest_path(cached: &Path) -> PathBuf {
    let mut name = cached.as_os_str().to_owned();
    name.push(".sha256");
    PathBuf::from(name)
}

fn file_sha256(path: &Path) -> io::Result<Digest> {
    let mut hash = Sha256::new();
    io::copy(&mut File::open(path)?, &mut hash)?;
    Ok(Digest::from_hash(hash))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

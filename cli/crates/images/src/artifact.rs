//! Files that are fetched on the host and added to a build context, so that the build
//! needs neither Maven nor the host's certificates in a container.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use sha2::{Digest as _, Sha256};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::digest::Sha256Digest;
use super::error::ImageError;
use super::lock::BuildLock;
use super::process::{self, ToolProvider};
use super::progress::{ImageProgress, ProgressUpdate};
use super::settings::ImageSettings;

/// The goal that fetches a file. The version is pinned: Maven would otherwise take the latest.
const DEPENDENCY_COPY_GOAL: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy";

/// How long a Maven mirror may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a download may stall.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// A file from a Maven repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Artifact {
    /// The group, e.g. `org.keycloak`.
    pub group_id: String,
    /// The name in the group, e.g. `keycloak-quarkus-dist`.
    pub artifact_id: String,
    /// The version.
    pub version: String,
    /// The packaging, e.g. `tar.gz`.
    pub packaging: String,
    /// Its path in the build context.
    pub context_path: String,
    /// The SHA-256 of the file, as hex. A server cannot replace the file.
    pub sha256: String,
}

impl Artifact {
    /// Returns `group:artifact:version:packaging`.
    #[must_use]
    pub(crate) fn coordinates(&self) -> String {
        format!(
            "{}:{}:{}:{}",
            self.group_id, self.artifact_id, self.version, self.packaging
        )
    }

    /// Returns its file name in a repository.
    fn file_name(&self) -> String {
        format!("{}-{}.{}", self.artifact_id, self.version, self.packaging)
    }

    /// Returns its path in a repository.
    fn repository_path(&self) -> String {
        format!(
            "{}/{}/{}/{}",
            self.group_id.replace('.', "/"),
            self.artifact_id,
            self.version,
            self.file_name()
        )
    }
}

/// Fetches artifacts into the cache.
pub(super) struct ArtifactFetcher<'a> {
    pub settings: &'a ImageSettings,
    pub cache: &'a Path,
    pub tools: &'a dyn ToolProvider,
    pub progress: &'a dyn ImageProgress,
    pub cancel: &'a CancellationToken,
    pub image_name: &'a str,
}

impl ArtifactFetcher<'_> {
    /// Returns the path of an artifact in the cache. It is fetched if it is missing or
    /// differs from its checksum.
    pub(super) async fn fetch(
        &self,
        artifact: &Artifact,
        lock: &BuildLock,
    ) -> Result<PathBuf, ImageError> {
        let cached = self
            .cache
            .join("artifacts")
            .join(artifact.repository_path());
        // Checked at every use: the cached file may have been changed since.
        if has_pinned_checksum(&cached, artifact).await? {
            return Ok(cached);
        }
        self.progress.on_progress(
            self.image_name,
            ProgressUpdate::new("fetching").with_detail(artifact.coordinates()),
        );
        let work = lock.work_dir()?;
        let (fresh, origin) = match &self.settings.maven_mirror {
            Some(mirror) => (
                self.fetch_from_mirror(artifact, mirror, work).await?,
                "images.maven_mirror",
            ),
            None => (
                self.fetch_with_maven(artifact, work, lock).await?,
                "the Maven repository",
            ),
        };
        if !has_pinned_checksum(&fresh, artifact).await? {
            return Err(ImageError::Fetch {
                resource: artifact.coordinates(),
                reason: format!(
                    "the file from {origin} does not have the SHA-256 {}",
                    artifact.sha256
                ),
                hints: vec![
                    "run the command again; if the error persists, the repository is damaged or was tampered with"
                        .into(),
                ],
            });
        }
        store_in_cache(fresh, cached.clone()).await?;
        Ok(cached)
    }

    /// Fetches with Maven, which verifies the file (`-C`) and is configured with its repositories.
    async fn fetch_with_maven(
        &self,
        artifact: &Artifact,
        work: &Path,
        lock: &BuildLock,
    ) -> Result<PathBuf, ImageError> {
        let maven =
            self.tools
                .ensure_tool("mvn")
                .await
                .map_err(|reason| ImageError::ToolMissing {
                    tool: "mvn".into(),
                    reason,
                })?;
        let mut command = Command::new(maven);
        command
            .args(["--batch-mode", "--strict-checksums", DEPENDENCY_COPY_GOAL])
            .arg(format!("-Dartifact={}", artifact.coordinates()))
            .arg(format!("-DoutputDirectory={}", work.display()))
            .current_dir(work)
            .stdin(lock.stdin()?);
        process::run_program("mvn", command, self.cancel, |line| {
            if let Some(detail) = line.split_once("Downloading from ").map(|(_, url)| url) {
                self.progress.on_progress(
                    self.image_name,
                    ProgressUpdate::new("fetching").with_detail(detail),
                );
            }
        })
        .await?;
        let file = work.join(artifact.file_name());
        if file.is_file() {
            Ok(file)
        } else {
            Err(ImageError::Fetch {
                resource: artifact.coordinates(),
                reason: "mvn succeeded and wrote no file".into(),
                hints: vec!["mvn --version".into()],
            })
        }
    }

    async fn fetch_from_mirror(
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
        let client = self.http_client()?;
        let file = work.join(artifact.file_name());
        tokio::select! {
            () = self.cancel.cancelled() => Err(ImageError::Cancelled),
            fetched = self.download_to_file(&client, artifact, &url, &file) => fetched.map(|()| file),
        }
    }

    fn http_client(&self) -> Result<reqwest::Client, ImageError> {
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(STALL_TIMEOUT);
        let mut authorities = Vec::new();
        for path in &self.settings.extra_ca_certificates {
            let pem =
                std::fs::read(path).map_err(ImageError::io(format!("read {}", path.display())))?;
            let certificates =
                reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| ImageError::Fetch {
                    resource: path.display().to_string(),
                    reason: format!("it is not a PEM certificate: {error}"),
                    hints: vec!["check images.extra_ca_certificates in dm.toml".into()],
                })?;
            authorities.extend(certificates);
        }
        if !authorities.is_empty() {
            builder = builder.tls_certs_merge(authorities);
        }
        builder.build().map_err(|error| ImageError::Fetch {
            resource: "files over HTTP".into(),
            reason: error.to_string(),
            hints: Vec::new(),
        })
    }

    async fn download_to_file(
        &self,
        client: &reqwest::Client,
        artifact: &Artifact,
        url: &str,
        path: &Path,
    ) -> Result<(), ImageError> {
        let response = client
            .get(url)
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .map_err(|error| download_error(artifact, &error))?;
        let total = response.content_length();
        let mut file = tokio::fs::File::create(path)
            .await
            .map_err(ImageError::io(format!("create {}", path.display())))?;
        let mut body = response.bytes_stream();
        let mut done = 0;
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| download_error(artifact, &error))?;
            tokio::io::AsyncWriteExt::write_all(&mut file, &chunk)
                .await
                .map_err(ImageError::io(format!("write {}", path.display())))?;
            done += chunk.len() as u64;
            self.progress.on_progress(
                self.image_name,
                ProgressUpdate::new("fetching")
                    .with_detail(artifact.file_name())
                    .with_bytes(done, total),
            );
        }
        tokio::io::AsyncWriteExt::flush(&mut file)
            .await
            .map_err(ImageError::io(format!("write {}", path.display())))?;
        Ok(())
    }
}

/// Returns whether the file exists and has the checksum of the artifact.
async fn has_pinned_checksum(path: &Path, artifact: &Artifact) -> Result<bool, ImageError> {
    let (file, pinned) = (path.to_owned(), artifact.sha256.clone());
    run_blocking(move || match file_sha256(&file) {
        Ok(checksum) => Ok(checksum.as_str() == pinned),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    })
    .await
    .map_err(ImageError::io(format!("read {}", path.display())))
}

/// Moves a file into the cache atomically.
async fn store_in_cache(fresh: PathBuf, cached: PathBuf) -> Result<(), ImageError> {
    let action = format!("store {}", cached.display());
    run_blocking(move || {
        let parent = cached.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(parent)?;
        // The cache may be on another file system than the work directory.
        let mut staged = tempfile::NamedTempFile::new_in(parent)?;
        io::copy(&mut File::open(&fresh)?, &mut staged)?;
        staged.as_file().sync_all()?;
        staged.persist(&cached)?;
        std::fs::remove_file(&fresh)
    })
    .await
    .map_err(ImageError::io(action))
}

fn download_error(artifact: &Artifact, error: &reqwest::Error) -> ImageError {
    let mut reason = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        reason = format!("{reason}: {error}");
        cause = error.source();
    }
    let mut log = process::LogTail::default();
    log.push(&reason);
    let mut hints = process::output_hints(&log);
    if hints.is_empty() {
        hints.push("check images.maven_mirror in dm.toml".into());
    }
    ImageError::Fetch {
        resource: artifact.coordinates(),
        reason,
        hints,
    }
}

fn file_sha256(path: &Path) -> io::Result<Sha256Digest> {
    let mut hash = Sha256::new();
    io::copy(&mut File::open(path)?, &mut hash)?;
    Ok(Sha256Digest::from_hasher(hash))
}

async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use futures_util::future::BoxFuture;

    use super::*;
    use crate::progress::NoImageProgress;

    /// Provides `true` instead of Maven: it succeeds and changes no file.
    struct IdleMaven;

    impl ToolProvider for IdleMaven {
        fn ensure_tool<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<PathBuf, String>> {
            let program: Result<PathBuf, String> = Ok("true".into());
            Box::pin(std::future::ready(program))
        }
    }

    /// An artifact with the pinned contents `genuine`.
    fn artifact() -> Artifact {
        Artifact {
            group_id: "g".into(),
            artifact_id: "x".into(),
            version: "1".into(),
            packaging: "tar.gz".into(),
            context_path: "x.tar.gz".into(),
            sha256: Sha256Digest::compute(b"genuine").to_string(),
        }
    }

    #[tokio::test]
    async fn fetched_artifact_with_another_checksum_is_refused_and_not_kept() {
        let directory = tempfile::tempdir().unwrap();
        let cache = directory.path().join("cache");
        let (settings, cancel) = (ImageSettings::default(), CancellationToken::new());
        let fetcher = ArtifactFetcher {
            settings: &settings,
            cache: &cache,
            tools: &IdleMaven,
            progress: &NoImageProgress,
            cancel: &cancel,
            image_name: "keycloak",
        };
        let (artifact, state) = (artifact(), directory.path().join("state"));
        let lock = BuildLock::acquire(&state, "keycloak", &cancel, || {})
            .await
            .unwrap();
        // As if Maven had written it.
        let fetched = lock.work_dir().unwrap().join(artifact.file_name());
        std::fs::write(&fetched, b"tampered").unwrap();
        let error = fetcher.fetch(&artifact, &lock).await.unwrap_err();
        assert!(
            matches!(&error, ImageError::Fetch { resource, reason, .. }
                if *resource == artifact.coordinates() && reason.contains(&artifact.sha256)),
            "{error:?}"
        );
        assert!(!cache.exists(), "the file is in the cache");
        std::fs::write(&fetched, b"genuine").unwrap();
        let cached = fetcher.fetch(&artifact, &lock).await.unwrap();
        assert!(cached.starts_with(&cache), "{cached:?}");
        assert_eq!(std::fs::read(&cached).unwrap(), b"genuine");
    }

    #[tokio::test]
    async fn cached_artifact_is_accepted_by_its_content_checksum_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x-1.tar.gz");
        let artifact = artifact();
        assert!(!has_pinned_checksum(&path, &artifact).await.unwrap());
        std::fs::write(&path, b"planted").unwrap();
        let planted = Sha256Digest::compute(b"planted").to_string();
        std::fs::write(directory.path().join("x-1.tar.gz.sha256"), planted).unwrap();
        assert!(!has_pinned_checksum(&path, &artifact).await.unwrap());
        let fresh = directory.path().join("fresh");
        std::fs::write(&fresh, b"genuine").unwrap();
        store_in_cache(fresh.clone(), path.clone()).await.unwrap();
        assert!(has_pinned_checksum(&path, &artifact).await.unwrap());
        assert!(!fresh.exists());
    }
}

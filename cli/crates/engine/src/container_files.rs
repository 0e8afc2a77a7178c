//! Copies files into and out of containers, running or not, as tar archives.

use std::io::Read as _;

use bollard::query_parameters::{
    DownloadFromContainerOptionsBuilder, UploadToContainerOptionsBuilder,
};
use futures_util::{Stream, TryStreamExt as _};

use super::spec::ContainerSpec;
use super::{Engine, EngineError, EngineRefusal};

impl Engine {
    /// Copies the files of a specification into its container.
    pub(super) async fn put_files(
        &self,
        container: &str,
        spec: &ContainerSpec,
    ) -> Result<(), EngineError> {
        let archive = files_to_tar(spec).map_err(|error| EngineError::Api {
            action: format!("pack the files of {}", spec.name),
            source: error.into(),
        })?;
        let options = UploadToContainerOptionsBuilder::new().path("/").build();
        self.docker()
            .upload_to_container(container, Some(options), bollard::body_full(archive.into()))
            .await
            .map_err(EngineError::api(format!(
                "copy files to container {}",
                spec.name
            )))
    }

    /// Returns the files below `path` in a container, running or not, as a tar stream.
    pub fn export_path(
        &self,
        name: &str,
        path: &str,
    ) -> impl Stream<Item = Result<bytes::Bytes, EngineError>> + use<> {
        let options = DownloadFromContainerOptionsBuilder::new()
            .path(path)
            .build();
        let action = format!("read {path} of container {name}");
        self.docker()
            .download_from_container(name, Some(options))
            .map_err(move |source| EngineError::Api {
                action: action.clone(),
                source,
            })
    }

    /// Unpacks a tar stream below `path` in a container, running or not.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] if the engine refuses the call.
    pub async fn import_path(
        &self,
        name: &str,
        path: &str,
        tar: impl Stream<Item = std::io::Result<bytes::Bytes>> + Send + 'static,
    ) -> Result<(), EngineError> {
        let options = UploadToContainerOptionsBuilder::new().path(path).build();
        self.docker()
            .upload_to_container(name, Some(options), bollard::body_try_stream(tar))
            .await
            .map_err(EngineError::api(format!(
                "write to {path} of container {name}"
            )))
    }

    /// Returns the contents of one file of a container, running or not; `None` if the file does
    /// not exist.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] if the engine refuses the call, or the path is not a file.
    pub async fn read_file(&self, name: &str, path: &str) -> Result<Option<Vec<u8>>, EngineError> {
        let chunks: Result<Vec<bytes::Bytes>, _> = self.export_path(name, path).try_collect().await;
        let archive = match chunks {
            Err(error) if error.refusal() == Some(EngineRefusal::NotFound) => return Ok(None),
            other => other?.concat(),
        };
        extract_single_file(&archive)
            .map(Some)
            .map_err(|error| EngineError::Api {
                action: format!("read {path} of container {name}"),
                source: error.into(),
            })
    }
}

/// Returns the contents of the only file of a tar archive.
fn extract_single_file(archive: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.header().entry_type().is_file() {
            let mut contents = Vec::new();
            entry.read_to_end(&mut contents)?;
            return Ok(contents);
        }
    }
    Err(std::io::Error::other("the path is not a file"))
}

/// Returns the files of a specification as a tar archive rooted at `/`.
fn files_to_tar(spec: &ContainerSpec) -> std::io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for file in &spec.files {
        let mut header = tar::Header::new_gnu();
        header.set_size(file.contents.len() as u64);
        header.set_mode(file.mode);
        header.set_uid(u64::from(file.owner));
        header.set_gid(0);
        builder.append_data(
            &mut header,
            file.path.trim_start_matches('/'),
            file.contents.as_slice(),
        )?;
    }
    builder.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extract_single_file_returns_a_file_and_refuses_a_directory() {
        let mut packed = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(3);
        packed
            .append_data(&mut header, "keycloak.sql", &b"sql"[..])
            .unwrap();
        assert_eq!(
            extract_single_file(&packed.into_inner().unwrap()).unwrap(),
            b"sql"
        );

        let mut packed = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_size(0);
        packed
            .append_data(&mut header, "schema/", &b""[..])
            .unwrap();
        let error = extract_single_file(&packed.into_inner().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "the path is not a file");
    }
}

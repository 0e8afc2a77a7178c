//! The diagnostics bundle: one file with all data for a bug report, without secrets.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use dm_core::mask::Masker;
use dm_engine::labelled_objects::{EngineObjectKind, LabelledObject};
use dm_engine::logs::LogQuery;
use dm_engine::{Engine, EngineError};
use dm_host::output_target;
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use thiserror::Error;
use tokio::time::timeout;

use super::{DoctorFinding, DoctorReport};

/// The number of last log lines of each container in the bundle.
const LOG_TAIL_LINES: usize = 1000;

/// The timeout of one request to the engine.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(15);

/// The default compression level of the zstd tool.
const COMPRESSION_LEVEL: i32 = 3;

/// A failure to write a bundle.
#[derive(Debug, Error)]
#[error("could not write the diagnostics bundle {}", path.display())]
pub struct BundleError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl UserError for BundleError {
    fn code(&self) -> ErrorCode {
        ErrorCode::BundleWrite
    }

    fn exit_status(&self) -> ExitStatus {
        ExitStatus::Usage
    }

    fn suggestions(&self) -> Vec<String> {
        vec!["choose another path: dm doctor --bundle /tmp/dm-bundle.tar.zst".into()]
    }
}

/// A file of the bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleFile {
    /// Its path, with `/` between directories.
    pub name: String,
    /// Its text, which is masked before it is written.
    pub text: String,
}

/// Returns the default path of a bundle.
#[must_use]
pub fn default_path(now: DateTime<Utc>) -> PathBuf {
    now.format("dm-bundle-%Y%m%dT%H%M%SZ.tar.zst")
        .to_string()
        .into()
}

/// Collects the findings, and the engine's descriptions of the objects of `project`. Data that
/// cannot be obtained is listed in a separate file.
pub async fn collect_files(
    report: &DoctorReport,
    project: &str,
    masker: &Masker,
) -> Vec<BundleFile> {
    let mut files = vec![
        masked_json_file("dm.json", &dm_info(), masker),
        masked_json_file("findings.json", &json!(report.findings), masker),
        BundleFile {
            name: "findings.txt".into(),
            text: format_findings(&report.findings),
        },
    ];
    let Some(engine) = &report.engine else {
        return files;
    };
    let mut failures = Vec::new();
    let engine_json = json!({ "discovery": engine.discovery(), "version": engine.version() });
    files.push(masked_json_file(
        "engine/discovery.json",
        &engine_json,
        masker,
    ));
    match with_timeout("engine info", engine.info_json()).await {
        Ok(info) => files.push(masked_json_file("engine/info.json", &info, masker)),
        Err(failure) => failures.push(failure),
    }
    let objects = match with_timeout("objects of dm", engine.list_labelled_objects()).await {
        Ok(objects) => objects,
        Err(failure) => {
            failures.push(failure);
            Vec::new()
        }
    };
    files.push(masked_json_file("objects.json", &json!(objects), masker));
    for object in objects.iter().filter(|object| object.project == project) {
        add_object(engine, object, masker, &mut files, &mut failures).await;
    }
    if !failures.is_empty() {
        files.push(BundleFile {
            name: "missing.txt".into(),
            text: failures.join("\n"),
        });
    }
    files
}

async fn add_object(
    engine: &Engine,
    object: &LabelledObject,
    masker: &Masker,
    files: &mut Vec<BundleFile>,
    failures: &mut Vec<String>,
) {
    let directory = match object.kind {
        EngineObjectKind::Container => "containers",
        EngineObjectKind::Network => "networks",
        EngineObjectKind::Volume => "volumes",
    };
    match with_timeout(&object.name, engine.inspect_json(object.kind, &object.name)).await {
        Ok(description) => {
            let name = format!("{directory}/{}.json", object.name);
            files.push(masked_json_file(&name, &description, masker));
        }
        Err(failure) => failures.push(failure),
    }
    if object.kind != EngineObjectKind::Container {
        return;
    }
    match with_timeout(
        &format!("log of {}", object.name),
        read_log(engine, &object.name),
    )
    .await
    {
        Ok(text) => files.push(BundleFile {
            name: format!("logs/{}.log", object.name),
            text,
        }),
        Err(failure) => failures.push(failure),
    }
}

async fn read_log(engine: &Engine, name: &str) -> Result<String, EngineError> {
    let query = LogQuery {
        tail: Some(LOG_TAIL_LINES),
        ..LogQuery::default()
    };
    let lines = engine.log_lines(name, &query);
    lines
        .try_fold(String::new(), |mut text, line| async move {
            if let Some(time) = line.time {
                text.push_str(&time.to_rfc3339());
                text.push(' ');
            }
            text.push_str(&line.text);
            text.push('\n');
            Ok(text)
        })
        .await
}

async fn with_timeout<T>(
    action: &str,
    work: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, String> {
    match timeout(ENGINE_TIMEOUT, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(format!(
            "{action}: {}",
            dm_core::error::Error::from(error).error_chain().join(": ")
        )),
        Err(_) => Err(format!(
            "{action}: no answer within {} s",
            ENGINE_TIMEOUT.as_secs()
        )),
    }
}

fn dm_info() -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "os": std::env::consts::OS,
        "arch": std::env::consts::ARCH,
        "system": dm_host::packages::Distribution::current().name,
        "at": Utc::now().to_rfc3339(),
    })
}

fn format_findings(findings: &[DoctorFinding]) -> String {
    let mut text = String::new();
    for finding in findings {
        text.push_str(&format!(
            "{:?} {}: {}\n",
            finding.status, finding.name, finding.detail
        ));
        for next in &finding.next {
            text.push_str(&format!("    next: {next}\n"));
        }
    }
    text
}

/// Creates a file that is masked as JSON, in which values are delimited. Its text is masked
/// again when it is written.
fn masked_json_file(name: &str, value: &Value, masker: &Masker) -> BundleFile {
    let mut value = value.clone();
    masker.mask_json(&mut value);
    BundleFile {
        name: name.to_owned(),
        text: format!("{value:#}\n"),
    }
}

/// Writes the bundle, a `tar.zst`, atomically. Only its owner may read it.
///
/// # Errors
/// Returns [`BundleError`] if the file cannot be written.
pub fn write_bundle(path: &Path, files: &[BundleFile], masker: &Masker) -> Result<(), BundleError> {
    let written = || -> io::Result<()> {
        output_target::require_regular_file(path)?;
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        let packed = zstd::Encoder::new(&mut file, COMPRESSION_LEVEL)?;
        write_tar(packed, files, masker)?.finish()?;
        file.as_file().sync_data()?;
        file.persist(path)?;
        Ok(())
    };
    written().map_err(|source| BundleError {
        path: path.to_owned(),
        source,
    })
}

fn write_tar<W: Write>(output: W, files: &[BundleFile], masker: &Masker) -> io::Result<W> {
    let now = u64::try_from(Utc::now().timestamp()).unwrap_or_default();
    let mut archive = tar::Builder::new(output);
    for file in files {
        let text = masker.mask_text(&file.text);
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(now);
        archive.append_data(
            &mut header,
            Path::new("dm-bundle").join(&file.name),
            text.as_bytes(),
        )?;
    }
    archive.into_inner()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;

    use super::*;

    fn unpack(reader: impl Read) -> BTreeMap<String, String> {
        let mut archive = tar::Archive::new(reader);
        archive
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let name = entry.path().unwrap().display().to_string();
                let mut text = String::new();
                entry.read_to_string(&mut text).unwrap();
                (name, text)
            })
            .collect()
    }

    #[test]
    fn write_bundle_is_atomic_masked_and_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let masker = Masker::new(["correct horse battery"]);
        let files = [BundleFile {
            name: "logs/postgres.log".into(),
            text: "user gave correct horse battery\nready\n".into(),
        }];
        let path = dir.path().join("b.tar.zst");
        write_bundle(&path, &files, &masker).unwrap();
        let read = unpack(zstd::Decoder::new(std::fs::File::open(&path).unwrap()).unwrap());
        assert_eq!(
            read["dm-bundle/logs/postgres.log"],
            "user gave ***\nready\n"
        );
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        // No temporary file remains in the directory.
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn write_bundle_to_a_missing_directory_names_the_path() {
        let error = write_bundle(
            Path::new("/no/such/folder/b.tar.zst"),
            &[],
            &Masker::default(),
        );
        let error = error.unwrap_err();
        assert_eq!(
            error.to_string(),
            "could not write the diagnostics bundle /no/such/folder/b.tar.zst"
        );
    }

    #[test]
    fn write_bundle_refuses_to_replace_a_pipe() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        let status = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(status.unwrap().success());
        let error = write_bundle(&pipe, &[], &Masker::default()).unwrap_err();
        assert!(
            error.source.to_string().contains("regular file"),
            "{error:?}"
        );
        assert!(!pipe.metadata().unwrap().is_file());
    }

    #[tokio::test]
    async fn collect_files_without_an_engine_contains_the_findings() {
        let report = DoctorReport {
            findings: vec![DoctorFinding::error(
                "engine",
                "none answers, PASSWORD=x",
                ["dm engine start"],
            )],
            engine: None,
        };
        let files = collect_files(&report, "dm-1", &Masker::default()).await;
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["dm.json", "findings.json", "findings.txt"]);
        assert!(files[1].text.contains("PASSWORD=***"), "{}", files[1].text);
    }
}

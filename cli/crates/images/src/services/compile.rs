//! Compiles all services with one run of cargo.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::super::cargo::Cargo;
use super::super::error::ImageError;
use super::super::progress::{ImageProgress, ProgressUpdate};
use super::SERVICES_PROGRESS_NAME;

/// The feature that compiles fail points into the services.
pub(super) const FAIL_POINTS_FEATURE: &str = "dm-kit/fail-points";

/// Compiles the services and returns the binary of each.
pub(super) async fn compile_services<'n>(
    cargo: &Cargo<'_>,
    names: &[&'n str],
    progress: &dyn ImageProgress,
) -> Result<BTreeMap<&'n str, PathBuf>, ImageError> {
    progress.on_progress(SERVICES_PROGRESS_NAME, ProgressUpdate::new("compiling"));
    let binaries: Vec<String> = names.iter().map(|name| binary_name(name)).collect();
    let mut executables = cargo
        .build(&binaries, &|done, total| {
            progress.on_progress(
                SERVICES_PROGRESS_NAME,
                ProgressUpdate::new("compiling").with_crates(done, total),
            );
        })
        .await?;
    let paths = names.iter().zip(&binaries);
    Ok(paths
        .filter_map(|(&name, binary)| Some((name, executables.remove(binary)?)))
        .collect())
}

/// Returns the name of a service's package and binary: only the gateway has no suffix.
fn binary_name(name: &str) -> String {
    match name {
        "gateway" => name.to_owned(),
        _ => format!("{name}-service"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio_util::sync::CancellationToken;

    use super::super::super::cargo::temp_workspace;
    use super::super::super::progress::NoImageProgress;
    use super::super::elf;
    use super::*;

    #[tokio::test]
    async fn compile_services_links_statically_despite_the_project_configuration() {
        let (project, cancel) = (temp_workspace("gateway"), CancellationToken::new());
        let cargo = Cargo {
            program: env!("CARGO").into(),
            workspace_root: project.path(),
            cache_dir: Path::new("/nowhere"),
            features: &[],
            cancel: &cancel,
        };
        let binaries = compile_services(&cargo, &["gateway"], &NoImageProgress)
            .await
            .unwrap();
        let program = std::fs::read(&binaries["gateway"]).unwrap();
        assert_eq!(elf::interpreter(&program), Ok(None));
    }
}

//! Cargo, once for all services.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::super::cargo::Cargo;
use super::super::error::ImageError;
use super::super::progress::{ImageProgress, ProgressUpdate};
use super::SERVICES_PROGRESS_NAME;

/// The feature that gives services their fail points.
pub(super) const FAIL_POINTS_FEATURE: &str = "dm-kit/fail-points";

/// Compiles the services. Answers the binary of each.
pub(super) async fn compile_services<'n>(
    cargo: &Cargo<'_>,
    names: &[&'n str],
    progress: &dyn ImageProgress,
) -> Result<BTreeMap<&'n str, PathBuf>, ImageError> {
    progress.on_progress(SERVICES_PROGRESS_NAME, ProgressUpdate::new("compiling"));
    let binaries: Vec<String> = names.iter().map(|name| binary_name(name)).collect();
    let mut found = cargo
        .build(&binaries, &|done, total| {
            progress.on_progress(
                SERVICES_PROGRESS_NAME,
                ProgressUpdate::new("compiling").with_crates(done, total),
            );
        })
        .await?;
    let paths = names.iter().zip(&binaries);
    Ok(paths
        .filter_map(|(&name, binary)| Some((name, found.remove(binary)?)))
        .collect())
}

/// The package of a service and its binary: only the gateway goes by its bare name.
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
    async fn binaries_are_static_whatever_is_configured() {
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

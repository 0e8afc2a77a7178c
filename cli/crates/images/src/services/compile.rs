//! Cargo, once for all services.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::super::cargo::Cargo;
use super::super::error::ImageError;
use super::super::progress::{Progress, Update};
use super::SERVICES;

/// The feature that gives services their fail points.
pub(super) const FAIL_POINTS: &str = "dm-kit/fail-points";

/// Compiles the services. Answers the binary of each.
pub(super) async fn compile<'n>(
    cargo: &Cargo<'_>,
    names: &[&'n str],
    progress: &dyn Progress,
) -> Result<BTreeMap<&'n str, PathBuf>, ImageError> {
    progress.working(SERVICES, Update::doing("compiling"));
    let binaries: Vec<String> = names.iter().map(|name| binary(name)).collect();
    let mut found = cargo
        .build(&binaries, &|done, total| {
            progress.working(SERVICES, Update::doing("compiling").crates(done, total));
        })
        .await?;
    let paths = names.iter().zip(&binaries);
    Ok(paths
        .filter_map(|(&name, binary)| Some((name, found.remove(binary)?)))
        .collect())
}

/// The package of a service and its binary: only the gateway goes by its bare name.
fn binary(name: &str) -> String {
    match name {
        "gateway" => name.to_owned(),
        _ => format!("{name}-service"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio_util::sync::CancellationToken;

    use super::super::super::cargo::project;
    use super::super::super::progress::Silent;
    use super::super::elf;
    use super::*;

    #[tokio::test]
    async fn binaries_are_static_whatever_is_configured() {
        let (project, cancel) = (project("gateway"), CancellationToken::new());
        let cargo = Cargo {
            program: env!("CARGO").into(),
            root: project.path(),
            cache: Path::new("/nowhere"),
            features: &[],
            cancel: &cancel,
        };
        let binaries = compile(&cargo, &["gateway"], &Silent).await.unwrap();
        let program = std::fs::read(&binaries["gateway"]).unwrap();
        assert_eq!(elf::interpreter(&program), Ok(None));
    }
}

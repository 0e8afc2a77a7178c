//! `dm` itself in a container of the stack.
//!
//! It is the program that runs here, with what it would have here: the project, its state,
//! the backups, and the way to the engine. Whoever is in that container can do on this
//! machine what the engine can, as whoever calls `dm` can.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::{Stack, StackError};
use crate::engine::spec::{ContainerSpec, HostAccess};
use crate::host::detach;

/// Marks the variables that are part of the configuration.
const LAYER: (&str, &str) = ("DM_", "__");

/// Lends a container what `dm` needs.
///
/// # Errors
/// The engine is elsewhere, or something of it can't be looked at.
pub(super) fn lend(stack: &Stack, spec: &mut ContainerSpec) -> Result<(), StackError> {
    let address = &stack.engine.found().address;
    let socket = address
        .strip_prefix("unix://")
        .filter(|_| stack.engine.is_local())
        .ok_or_else(|| StackError::EngineElsewhere {
            component: spec.component.clone(),
            address: address.clone(),
        })?;
    let looked = |path: &Path| {
        fs::metadata(path).map_err(|source| StackError::Lend {
            path: path.to_owned(),
            source,
        })
    };
    let program = detach::own_program().map_err(|error| StackError::Lend {
        path: "/proc/self/exe".into(),
        source: io::Error::other(error),
    })?;
    let owner = looked(&stack.state)?;
    let text = |path: &Path| path.display().to_string();
    spec.host = Some(HostAccess {
        paths: [
            (text(&program), false),
            (text(&stack.root), false),
            (text(&stack.state), true),
            (text(&stack.backups), true),
            (socket.to_owned(), true),
        ]
        .into(),
        user: format!("{}:{}", owner.uid(), owner.gid()),
        groups: vec![looked(Path::new(socket))?.gid().to_string()],
    });
    let state = stack.state.parent().map(text).unwrap_or_default();
    spec.env.extend([
        ("XDG_STATE_HOME".to_owned(), state),
        ("DOCKER_HOST".to_owned(), address.clone()),
    ]);
    let (prefix, separator) = LAYER;
    let layer =
        std::env::vars().filter(|(name, _)| name.starts_with(prefix) && name.contains(separator));
    spec.env.extend(layer);
    let call = [
        text(&program),
        "--project-directory".to_owned(),
        text(&stack.root),
        "--instance".to_owned(),
        stack.instance.name.clone(),
    ];
    let overrides = stack.overrides.iter();
    let overrides = overrides.flat_map(|pair| ["--set".to_owned(), pair.clone()]);
    spec.command.splice(0..0, call.into_iter().chain(overrides));
    spec.command
        .extend(["--dir".to_owned(), text(&stack.backups)]);
    Ok(())
}

/// Makes the folders that a container writes to: the engine would make them, as root's.
pub(super) fn make_folders(spec: &ContainerSpec) -> Result<(), StackError> {
    for (path, writable) in spec.host.iter().flat_map(|host| &host.paths) {
        if *writable && !Path::new(path).exists() {
            fs::create_dir_all(path).map_err(|source| StackError::Lend {
                path: path.into(),
                source,
            })?;
        }
    }
    Ok(())
}

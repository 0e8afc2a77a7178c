//! Embeds the recipes of `recipes/` in the program: every file of every component, so that
//! new files of a recipe need no list.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let recipes =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("recipes");
    println!("cargo:rerun-if-changed={}", recipes.display());
    let mut table = String::from("&[\n");
    if recipes.is_dir() {
        for component in sorted(&recipes)? {
            let mut files = Vec::new();
            collect(&component, &mut files)?;
            for file in files {
                let name = component.file_name().unwrap_or_default().to_string_lossy();
                let path = file.strip_prefix(&component).unwrap_or(&file);
                writeln!(
                    table,
                    "    (\"{name}\", {:?}, include_bytes!({:?})),",
                    path.to_string_lossy(),
                    file.to_string_lossy(),
                )
                .map_err(io::Error::other)?;
            }
        }
    }
    table.push(']');
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("recipes.rs"), table)
}

fn sorted(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries = fs::read_dir(dir)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()?;
    entries.sort();
    Ok(entries)
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !dir.is_dir() {
        return Ok(());
    }
    for path in sorted(dir)? {
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

//! Turns core modules into components under `plugins/dist`, and records what they were made from.
//!
//! `wrap ROOT NAME=MODULE...`: for each gate it reads the core module that the compiler made and
//! writes `plugins/dist/NAME.wasm`. Beside them stand two lists that `sha256sum --check` reads
//! from the root of the repository: `SHA256SUMS` of the components and `SOURCES` of every file
//! they were made from. A test of the proxy compares both, so a component that is older than its
//! source does not go unnoticed.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context as _, bail, ensure};
use sha2::{Digest as _, Sha256};
use wit_component::ComponentEncoder;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [root, gates @ ..] = arguments.as_slice() else {
        bail!("usage: wrap ROOT NAME=MODULE...");
    };
    let root = Path::new(root);
    let mut components = Vec::new();
    let mut sources =
        vec![PathBuf::from("plugins/Cargo.toml"), PathBuf::from("plugins/Cargo.lock")];
    files_below(root, Path::new("wit"), &mut sources)?;
    files_below(root, Path::new("plugins/kit"), &mut sources)?;
    for gate in gates {
        let (name, module) = gate.split_once('=').context("a gate is given as NAME=MODULE")?;
        let component = PathBuf::from(format!("plugins/dist/{name}.wasm"));
        let bytes = wrap(Path::new(module)).with_context(|| format!("gate {name}"))?;
        let path = root.join(&component);
        fs::write(&path, bytes).with_context(|| path.display().to_string())?;
        components.push(component);
        files_below(root, &Path::new("plugins").join(name), &mut sources)?;
    }
    write_list(root, "SHA256SUMS", components)?;
    write_list(root, "SOURCES", sources)
}

/// Makes a component from a core module that holds its component type in a custom section.
fn wrap(module: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes = fs::read(module).with_context(|| module.display().to_string())?;
    let mut encoder = ComponentEncoder::default();
    encoder.validate(true).module(&bytes)?;
    let component = encoder.encode()?;
    ensure!(
        component.len() > bytes.len() / 2,
        "the component is empty: the module was built without wit-bindgen"
    );
    Ok(component)
}

/// Adds every file below a folder, with its path from the root, but those that no component is made
/// from.
fn files_below(root: &Path, folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let path = root.join(folder);
    for entry in fs::read_dir(&path).with_context(|| path.display().to_string())? {
        let entry = entry?;
        let child = folder.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            files_below(root, &child, files)?;
        } else if entry.file_name() != "README.md" && entry.file_name() != "cases.yaml" {
            files.push(child);
        }
    }
    Ok(())
}

/// Writes one list of digests, sorted by path.
fn write_list(root: &Path, name: &str, mut files: Vec<PathBuf>) -> anyhow::Result<()> {
    files.sort();
    let mut text = String::new();
    for file in files {
        let bytes = fs::read(root.join(&file)).with_context(|| file.display().to_string())?;
        for byte in Sha256::digest(&bytes) {
            write!(text, "{byte:02x}")?;
        }
        writeln!(text, "  {}", file.display())?;
    }
    let path = root.join("plugins/dist").join(name);
    fs::write(&path, text).with_context(|| path.display().to_string())
}

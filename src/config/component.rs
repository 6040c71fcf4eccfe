//! A gate's component file: there, of a sensible size, a component, and the one that is pinned.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use crate::core::model::Sha256;

/// The reason why a file cannot be a gate's component.
#[derive(Debug, thiserror::Error)]
pub(super) enum ComponentError {
    /// It is not there or may not be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// A folder, a pipe or the like.
    #[error("is not a file")]
    NotFile,
    /// Nothing in it.
    #[error("is empty")]
    Empty,
    /// Larger than a component may be.
    #[error("has {bytes} bytes, a component has at most {MAX_BYTES}")]
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// WebAssembly of the kind that has no typed interface.
    #[error("is a core module, not a component")]
    CoreModule,
    /// Anything else.
    #[error("is not a WebAssembly component")]
    NotComponent,
}

/// Reads a component's file and tells its digest.
pub(super) fn digest(path: &Path) -> Result<Sha256, ComponentError> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(ComponentError::NotFile);
    }
    if metadata.len() > MAX_BYTES {
        return Err(ComponentError::TooLarge { bytes: metadata.len() });
    }
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_BYTES).read_to_end(&mut bytes)?;
    match bytes.as_slice() {
        [] => Err(ComponentError::Empty),
        bytes if bytes.starts_with(COMPONENT) => Ok(Sha256::of(bytes)),
        bytes if bytes.starts_with(CORE_MODULE) => Err(ComponentError::CoreModule),
        _ => Err(ComponentError::NotComponent),
    }
}

/// The magic bytes, the version of the component format, and the layer of components.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// The largest component in bytes.
const MAX_BYTES: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_component_has_a_digest() {
        let dir = tempfile::tempdir().unwrap();
        let check = |bytes: &[u8], expected: Result<(), &str>| {
            let file = dir.path().join("gate.wasm");
            fs::write(&file, bytes).unwrap();
            let found = digest(&file).map_err(|error| error.to_string());
            assert_eq!(found, expected.map(|()| Sha256::of(bytes)).map_err(str::to_owned));
        };
        check(b"\0asm\x0d\0\x01\0rest", Ok(()));
        check(b"\0asm\x01\0\0\0rest", Err("is a core module, not a component"));
        check(b"\0asm\x0d\0", Err("is not a WebAssembly component"));
        check(b"(component)", Err("is not a WebAssembly component"));
        check(b"", Err("is empty"));
        let folder = digest(dir.path()).unwrap_err().to_string();
        assert_eq!(folder, "is not a file");
        let none = digest(&dir.path().join("none")).unwrap_err().to_string();
        assert!(none.starts_with("cannot be read: "), "{none}");
        let large = dir.path().join("large.wasm");
        fs::File::create(&large).unwrap().set_len(MAX_BYTES + 1).unwrap();
        assert!(digest(&large).unwrap_err().to_string().starts_with("has 67108865 bytes"));
    }
}

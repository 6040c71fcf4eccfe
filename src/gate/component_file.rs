//! The file of a component: read with a bound, compared with its digest, told from other files.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::GateError;
use crate::core::model::Sha256;

/// The largest component, in bytes; the largest guest runtime known makes one of 18 MiB.
pub(super) const LARGEST: u64 = 32 << 20;

const MAGIC: &[u8; 4] = b"\0asm";
const COMPONENT: [u8; 4] = [0x0d, 0, 1, 0];
const CORE_MODULE: [u8; 4] = [1, 0, 0, 0];

/// Reads a component's bytes, which are then known to be the ones that the operator meant.
///
/// # Errors
/// The file cannot be read, is another one, or no component by its first bytes.
pub fn read(path: &Path, expected: Sha256) -> Result<Vec<u8>, GateError> {
    let in_file = |source| GateError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes))
        .map_err(in_file)?;
    if bytes.len() as u64 > LARGEST {
        return Err(GateError::TooLarge { path: path.to_owned(), limit: LARGEST });
    }
    let found = Sha256::of(&bytes);
    if found != expected {
        return Err(GateError::Digest { path: path.to_owned(), expected, found });
    }
    check_header(&bytes, || path.to_owned())?;
    Ok(bytes)
}

fn check_header(bytes: &[u8], path: impl Fn() -> PathBuf) -> Result<(), GateError> {
    let magic = &bytes[..bytes.len().min(MAGIC.len())];
    if magic.is_empty() || !MAGIC.starts_with(magic) {
        return Err(GateError::NotWasm { path: path() });
    }
    match bytes.get(4..8) {
        Some(version) if version == COMPONENT => Ok(()),
        Some(version) if version == CORE_MODULE => Err(GateError::CoreModule { path: path() }),
        Some(version) => Err(GateError::Version {
            path: path(),
            found: version.try_into().expect("the slice has 4 bytes"),
        }),
        None => Err(GateError::CutOff { path: path() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(bytes: &[u8]) -> String {
        let path = || PathBuf::from("gate.wasm");
        check_header(bytes, path).expect_err("refused").to_string()
    }

    #[test]
    fn a_header_says_what_a_file_is() {
        assert!(check_header(b"\0asm\x0d\0\x01\0", PathBuf::new).is_ok());
        assert!(refusal(b"\0asm\x01\0\0\0").contains("a core module, not a component"));
        assert!(refusal(b"\0asm\x0d\0").contains("cut off"));
        assert!(refusal(b"\0as").contains("cut off"));
        assert!(refusal(b"\0asm\x0e\0\x01\0").contains("[14, 0, 1, 0]"));
        assert!(refusal(b"(component)").contains("not a WebAssembly file"));
        assert!(refusal(b"").contains("not a WebAssembly file"));
    }

    #[test]
    fn a_file_with_another_digest_is_not_even_looked_at() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("gate.wasm");
        std::fs::write(&path, b"junk").expect("writable");
        let expected = Sha256::of(b"other");
        let error = read(&path, expected).expect_err("another digest").to_string();
        assert!(error.contains(&expected.to_string()), "{error}");
        assert!(error.contains(&Sha256::of(b"junk").to_string()), "{error}");
        assert!(matches!(read(&path, Sha256::of(b"junk")), Err(GateError::NotWasm { .. })));
    }

    #[test]
    fn a_file_beyond_the_bound_is_refused_before_it_is_hashed() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("gate.wasm");
        File::create(&path).and_then(|file| file.set_len(LARGEST + 1)).expect("a sparse file");
        assert!(matches!(read(&path, Sha256::of(b"")), Err(GateError::TooLarge { .. })));
    }
}

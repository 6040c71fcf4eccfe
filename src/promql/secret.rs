//! What proves who asks: read from files, and shown to the server alone.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use http::HeaderValue;

use crate::core::model::Credentials;

/// The reason why a file holds no secret that can be used. Nothing of its content is in it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It is not there or may not be read.
    #[error("{path}: cannot be read: {error}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// It is not one line of visible characters.
    #[error("{path}: is not one line of at most {limit} visible ASCII characters", path = path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The most characters.
        limit: usize,
    },
}

/// Reads a secret; space around it does not belong to it.
///
/// # Errors
/// The file cannot be read, or is not one line of visible ASCII.
pub fn read_secret(path: &Path) -> Result<String, SecretError> {
    let unreadable = |error| SecretError::Unreadable { path: path.to_owned(), error };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    // One byte more than allowed, so that a file that is too large is seen to be.
    file.take(LONGEST as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    let is_too_long = bytes.len() > LONGEST;
    let text = String::from_utf8(bytes).unwrap_or_default();
    let secret = text.trim();
    let is_visible = |c: char| c.is_ascii_graphic() || c == ' ';
    if is_too_long || secret.is_empty() || !secret.chars().all(is_visible) {
        return Err(SecretError::Unusable { path: path.to_owned(), limit: LONGEST });
    }
    Ok(secret.to_owned())
}

/// The `Authorization` header. Blocks.
pub(super) fn authorization(credentials: &Credentials) -> Result<HeaderValue, SecretError> {
    let (path, text) = match credentials {
        Credentials::Bearer { file } => (file, format!("Bearer {}", read_secret(file)?)),
        Credentials::Basic { user, password_file } => {
            let pair = format!("{user}:{}", read_secret(password_file)?);
            (password_file, format!("Basic {}", base64(pair.as_bytes())))
        }
    };
    let mut value = HeaderValue::try_from(text)
        .map_err(|_| SecretError::Unusable { path: path.clone(), limit: LONGEST })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Base64 (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for at in 0..4 {
            let index = usize::try_from((bits >> (18 - 6 * at)) & 0x3f).expect("six bits");
            let is_padding = at > chunk.len();
            text.push(if is_padding { '=' } else { char::from(ALPHABET[index]) });
        }
    }
    text
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const LONGEST: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        let check = |text: &str, expected: &str| assert_eq!(base64(text.as_bytes()), expected);
        for (text, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
            ("Aladdin:open sesame", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        ] {
            check(text, expected);
        }
    }

    #[test]
    fn a_secret_is_one_line_of_a_file_and_is_never_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("secret");
        let read = |content: &[u8]| {
            std::fs::write(&file, content).expect("written");
            read_secret(&file)
        };
        assert_eq!(read(b"s3cret\n").expect("a secret"), "s3cret");
        for bad in [&b""[..], b" \n", b"s3cret\nother", b"s3cr\xff", &[b'x'; LONGEST + 1]] {
            let error = read(bad).expect_err("bad").to_string();
            assert!(error.contains("is not one line"), "{error}");
            assert!(!error.contains("s3cr"), "{error}");
        }
        let error = read_secret(&folder.path().join("none")).expect_err("none").to_string();
        assert!(error.contains("none: cannot be read"), "{error}");
    }

    #[test]
    fn a_header_does_not_show_its_secret() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("secret");
        std::fs::write(&file, "open sesame\n").expect("written");
        let basic = Credentials::Basic { user: "Aladdin".to_owned(), password_file: file.clone() };
        let value = authorization(&basic).expect("a header");
        assert_eq!(value.as_bytes(), b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(!format!("{value:?}").contains("QWxh"), "{value:?}");
        let bearer = authorization(&Credentials::Bearer { file }).expect("a header");
        assert_eq!(bearer.as_bytes(), b"Bearer open sesame");
    }
}

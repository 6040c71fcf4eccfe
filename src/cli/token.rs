//! The token that the command line shows: from a file, never an argument, which others could see.

use std::path::{Path, PathBuf};

use super::failure::Failure;
use crate::admin::json::PLAIN_TOKEN_NAME;

/// Reads the token.
pub(super) fn read(file: Option<&Path>) -> Result<String, Failure> {
    let usual = PathBuf::from(PLAIN_TOKEN_NAME);
    let file = file.unwrap_or(&usual);
    let fix = "name the file with --token-file or TIDEGATE_TOKEN_FILE; `serve` writes one beside \
               its store at the first start";
    let wrong =
        |why: String| Failure::Usage(format!("{}: {why}", file.display()), Some(fix.to_owned()));
    let text = std::fs::read_to_string(file)
        .map_err(|error| wrong(format!("the token cannot be read: {error}")))?;
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong("it holds no token".to_owned()));
    }
    Ok(token.to_owned())
}

//! Tokens: who may use the API.
//!
//! Two files. The *token file* has every token's name, role and digest; the token itself cannot be
//! read off it. The *plain file* has the admin token that the first start makes, for the command
//! line on the same machine; it may be moved away or deleted, and is never read here. Both are for
//! their owner alone.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use super::Role;
use super::json::PLAIN_TOKEN_NAME;
use super::json::Timestamp;
use crate::core::model::{Sha256, WallTime};

/// Why there are no tokens.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("token file {} cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("token file {} cannot be written: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than its owner can use it.
    #[error(
        "token file {} is open to others (mode {mode:03o}): run `chmod 600` on it",
        path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Its contents are not tokens.
    #[error("token file {} is not a list of tokens: {why}", path.display())]
    NotTokens {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// Where tokens are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPaths {
    /// The token file.
    pub hashed: PathBuf,
    /// Where the first start writes the admin token.
    pub plain: PathBuf,
}

impl TokenPaths {
    /// The name of the token file.
    pub const HASHED_NAME: &'static str = "tidegate.tokens";

    /// The usual names in a folder: the store's.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        Self { hashed: folder.join(Self::HASHED_NAME), plain: folder.join(PLAIN_TOKEN_NAME) }
    }
}

/// A token as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredToken {
    /// Its owner's name, as in the ledger.
    pub name: String,
    /// What its owner may do.
    pub role: Role,
    /// The digest of the token.
    pub sha256: Sha256,
    /// When it was made.
    pub created: Timestamp,
}

/// The tokens that are accepted.
#[derive(Clone, Debug)]
pub struct TokenFile {
    tokens: Vec<StoredToken>,
}

impl TokenFile {
    /// Reads the tokens; at the first start makes one for an admin.
    ///
    /// # Errors
    /// The file cannot be read or written, is open to others, or holds something else.
    pub fn open_or_create(paths: &TokenPaths, now: WallTime) -> Result<Self, TokenError> {
        match read(&paths.hashed)? {
            Some(text) => Self::parse(&text)
                .map_err(|why| TokenError::NotTokens { path: paths.hashed.clone(), why }),
            None => Self::create(paths, now),
        }
    }

    /// The token whose text this is; takes as long whichever it is.
    #[must_use]
    pub fn find(&self, text: &str) -> Option<&StoredToken> {
        let digest = Sha256::of(text.as_bytes());
        let same =
            |token: &&StoredToken| bool::from(token.sha256.as_bytes().ct_eq(digest.as_bytes()));
        // All are compared, so that the time does not tell how far the search came.
        self.tokens.iter().filter(same).fold(None, |found, token| found.or(Some(token)))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let tokens: Vec<StoredToken> =
            serde_json::from_str(text).map_err(|error| error.to_string())?;
        if tokens.len() > MOST_TOKENS {
            return Err(format!("it has {} tokens, at most {MOST_TOKENS} are used", tokens.len()));
        }
        let is_name = |name: &str| {
            (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
        };
        match tokens.iter().find(|token| !is_name(&token.name)) {
            Some(token) => Err(format!("{:?} is not a name", token.name)),
            None => Ok(Self { tokens }),
        }
    }

    fn create(paths: &TokenPaths, now: WallTime) -> Result<Self, TokenError> {
        let plain = new_token();
        let token = StoredToken {
            name: "admin".to_owned(),
            role: Role::Admin,
            sha256: Sha256::of(plain.as_bytes()),
            created: Timestamp(now),
        };
        let tokens = vec![token];
        let list = serde_json::to_string_pretty(&tokens).expect("tokens have only text keys");
        // The plain one first: a crash between the two leaves a first start to be repeated.
        write(&paths.plain, &format!("{plain}\n"))?;
        write(&paths.hashed, &format!("{list}\n"))?;
        Ok(Self { tokens })
    }
}

/// 256 random bits.
fn new_token() -> String {
    let bits: [u8; 32] = rand::random();
    bits.iter().fold("tg_".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// Reads a file that is its owner's alone; `None` if it is not there.
fn read(path: &Path) -> Result<Option<String>, TokenError> {
    let error = |source| TokenError::Read { path: path.to_owned(), source };
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(error(source)),
    };
    let mode = file.metadata().map_err(error)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(TokenError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.take(MOST_BYTES).read_to_string(&mut text).map_err(error)?;
    Ok(Some(text))
}

/// Writes a file for its owner alone, whole or not at all.
fn write(path: &Path, text: &str) -> Result<(), TokenError> {
    let error = |source| TokenError::Write { path: path.to_owned(), source };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let attempt = || {
        // What a crash left, with whatever permissions it has.
        match fs::remove_file(&new) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(source),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    attempt().map_err(error)
}

const MOST_TOKENS: usize = 1_000;
const MOST_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(folder: &Path) -> TokenPaths {
        TokenPaths::in_folder(folder)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("is there").permissions().mode() & 0o777
    }

    #[test]
    fn the_first_start_makes_a_token_that_later_starts_accept() {
        let folder = tempfile::tempdir().expect("a folder");
        let paths = at(folder.path());
        TokenFile::open_or_create(&paths, WallTime::from_ms(5)).expect("made");
        let plain = fs::read_to_string(&paths.plain).expect("written");
        let plain = plain.trim();
        assert!(plain.starts_with("tg_") && plain.len() == 67, "{plain}");
        assert_eq!((mode(&paths.plain), mode(&paths.hashed)), (0o600, 0o600));
        assert!(!fs::read_to_string(&paths.hashed).expect("written").contains(&plain[3..]));

        fs::remove_file(&paths.plain).expect("deleted");
        let tokens = TokenFile::open_or_create(&paths, WallTime::from_ms(9)).expect("read");
        let token = tokens.find(plain).expect("known");
        assert_eq!((token.name.as_str(), token.role), ("admin", Role::Admin));
        assert_eq!(token.created, Timestamp(WallTime::from_ms(5)));
        assert!(!paths.plain.exists(), "it is not made again");
        for wrong in ["", "tg_", &plain[..66], "admin"] {
            assert!(tokens.find(wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn a_first_start_that_crashed_is_repeated() {
        let folder = tempfile::tempdir().expect("a folder");
        let paths = at(folder.path());
        fs::write(&paths.plain, "tg_old").expect("written");
        fs::write(paths.hashed.with_file_name("tidegate.tokens.new"), "[").expect("written");
        let tokens = TokenFile::open_or_create(&paths, WallTime::default()).expect("made");
        let plain = fs::read_to_string(&paths.plain).expect("written");
        assert!(tokens.find(plain.trim()).is_some());
        assert_eq!((mode(&paths.plain), mode(&paths.hashed)), (0o600, 0o600));
    }

    #[test]
    fn a_file_that_is_open_to_others_or_no_list_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let paths = at(folder.path());
        let refused = |text: &str, mode: u32| {
            fs::write(&paths.hashed, text).expect("written");
            fs::set_permissions(&paths.hashed, fs::Permissions::from_mode(mode)).expect("set");
            let now = WallTime::default();
            TokenFile::open_or_create(&paths, now).expect_err("refused").to_string()
        };
        assert!(refused("[]", 0o640).contains("mode 640): run `chmod 600`"));
        assert!(refused("{", 0o600).contains("is not a list of tokens"));
        let nameless =
            r#"[{"name":"","role":"admin","sha256":"HASH","created":"1970-01-01T00:00:00Z"}]"#
                .replace("HASH", &"0".repeat(64));
        assert!(refused(&nameless, 0o600).contains("\"\" is not a name"));
    }
}

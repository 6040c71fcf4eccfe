//! The table file: the last published routing, beside the store.
//!
//! It lets traffic flow as it did when the store cannot be read. It is one line of header,
//! `tidegate-table <format> <SHA-256 of the rest>`, and the image as JSON; it is replaced whole.
//! A file that is not exactly what was written is an error, never a guess.
//!
//! Reading and writing block: call them from a thread that may.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::replacement::Replacement;
use crate::core::model::{
    Exposure, Revision, ServiceName, Sha256, Target, TargetAddress, TargetGroupName, TargetName,
};

/// What a service's routing needs besides its configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceImage {
    /// The group that is blue.
    pub blue: TargetGroupName,
    /// The group that is green.
    pub green: TargetGroupName,
    /// How much of the traffic sees green.
    pub exposure: Exposure,
    /// The targets of each group.
    pub targets: BTreeMap<TargetGroupName, Vec<Target>>,
    /// What each group runs; a group of which no deploy tool ever said so is absent.
    pub revisions: BTreeMap<TargetGroupName, Revision>,
}

/// A published routing table's state at run time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableImage {
    /// The table's number.
    pub generation: u64,
    /// Its services.
    pub services: BTreeMap<ServiceName, ServiceImage>,
    /// What names of targets resolved to; those that never did are absent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub resolved: BTreeMap<TargetName, Vec<TargetAddress>>,
}

/// Why the table file could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableFileError {
    /// The system said no; a file that was there is still there.
    #[error("table file {}: {what}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        what: String,
    },
    /// It is not what was written.
    #[error("table file {} cannot be trusted: {what}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Another release has written it.
    #[error("table file {} has format {found}, this release knows {supported}", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The only format that this release can read.
        supported: u32,
    },
}

/// The table file of one store.
#[derive(Clone, Debug)]
pub struct TableFile {
    path: PathBuf,
}

impl TableFile {
    /// The format that this release writes and reads.
    pub const FORMAT: u32 = 1;
    /// The largest file that is read, in bytes.
    pub const BYTE_LIMIT: usize = 64 << 20;

    /// Names the file; touches nothing.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the file; durable when this returns.
    ///
    /// # Errors
    /// It could not be written; the file is then the old one or the new one.
    pub fn write(&self, image: &TableImage) -> Result<(), TableFileError> {
        let body = serde_json::to_string(image).expect("an image has only text keys");
        let digest = Sha256::of(body.as_bytes());
        let text = format!("{MAGIC} {} {digest}\n{body}", Self::FORMAT);
        if text.len() > Self::BYTE_LIMIT {
            return Err(self.io(&io::Error::from(io::ErrorKind::FileTooLarge)));
        }
        let replacement = Replacement::begin(&self.path).map_err(|e| self.io(&e))?;
        fs::write(replacement.path(), text).map_err(|e| self.io(&e))?;
        replacement.finish().map_err(|e| self.io(&e))
    }

    /// Reads the file; `None` if there is none.
    ///
    /// # Errors
    /// It cannot be read, or is not exactly what this release wrote.
    pub fn read(&self) -> Result<Option<TableImage>, TableFileError> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.io(&error)),
        };
        let mut bytes = Vec::new();
        let limit = u64::try_from(Self::BYTE_LIMIT).expect("the limit fits 64 bits");
        file.take(limit + 1).read_to_end(&mut bytes).map_err(|e| self.io(&e))?;
        if bytes.len() > Self::BYTE_LIMIT {
            return Err(self.corrupt(format!("it is larger than {} bytes", Self::BYTE_LIMIT)));
        }
        self.parse(&bytes).map(Some)
    }

    fn parse(&self, bytes: &[u8]) -> Result<TableImage, TableFileError> {
        let no_header = || self.corrupt("it has no header".to_owned());
        let end = bytes.iter().position(|byte| *byte == b'\n').ok_or_else(no_header)?;
        let (header, body) = (&bytes[..end], &bytes[end + 1..]);
        let header = std::str::from_utf8(header).map_err(|_| no_header())?;
        let (format, digest) = match header.split(' ').collect::<Vec<_>>()[..] {
            [MAGIC, format, digest] => (format, digest),
            _ => return Err(no_header()),
        };
        let found: u32 = format.parse().map_err(|_| no_header())?;
        if found != Self::FORMAT {
            let (path, supported) = (self.path.clone(), Self::FORMAT);
            return Err(TableFileError::UnknownFormat { path, found, supported });
        }
        if digest != Sha256::of(body).to_string() {
            return Err(self.corrupt("its checksum does not match its contents".to_owned()));
        }
        serde_json::from_slice(body).map_err(|error| self.corrupt(error.to_string()))
    }

    fn io(&self, error: &io::Error) -> TableFileError {
        TableFileError::Io { path: self.path.clone(), what: error.to_string() }
    }

    fn corrupt(&self, what: String) -> TableFileError {
        TableFileError::Corrupt { path: self.path.clone(), what }
    }
}

const MAGIC: &str = "tidegate-table";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::core::model::{Salt, Split, Weight};
    use crate::store::replacement::{OWNER_ONLY, beside};

    fn image(generation: u64) -> TableImage {
        let group = |name: &str| name.parse::<TargetGroupName>().expect("valid");
        let target = |address: &str| Target { address: address.parse().expect("valid") };
        let service = ServiceImage {
            blue: group("shop-a"),
            green: group("shop-b"),
            exposure: Exposure {
                split: Split::with_green(Weight::from_bp(1_025).expect("in range")),
                salt: Salt { k0: u64::MAX, k1: 7 },
                green_exists: true,
            },
            targets: [
                (group("shop-a"), vec![target("127.0.0.1:9001"), target("[::1]:9001")]),
                (group("shop-b"), vec![]),
            ]
            .into(),
            revisions: [(group("shop-a"), "v1 \"quoted\" \u{1f30a}".parse().expect("valid"))]
                .into(),
        };
        let at = |address: &str| address.parse::<TargetAddress>().expect("valid");
        TableImage {
            generation,
            services: [("shop".parse().expect("valid"), service)].into(),
            resolved: [(
                "shop.internal:80".parse().expect("valid"),
                vec![at("10.0.0.1:80"), at("[::1]:80")],
            )]
            .into(),
        }
    }

    #[test]
    fn an_image_without_names_is_written_as_ever_and_an_older_one_is_read() {
        let image = TableImage { resolved: BTreeMap::new(), ..image(1) };
        let text = serde_json::to_string(&image).expect("text");
        assert!(!text.contains("resolved"), "{text}");
        assert!(text.contains("[\"127.0.0.1:9001\",\"[::1]:9001\"]"), "{text}");
        assert_eq!(serde_json::from_str::<TableImage>(&text).expect("read"), image);
    }

    fn table_file() -> (tempfile::TempDir, TableFile) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = TableFile::new(folder.path().join("tidegate.table"));
        (folder, file)
    }

    #[test]
    fn what_was_written_last_is_read() {
        let (_folder, file) = table_file();
        assert_eq!(file.read(), Ok(None));
        for generation in [1, 2] {
            file.write(&image(generation)).expect("written");
            assert_eq!(file.read(), Ok(Some(image(generation))));
        }
        let mode = fs::metadata(file.path()).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, OWNER_ONLY);
    }

    #[test]
    fn what_a_crash_left_does_not_matter() {
        let (_folder, file) = table_file();
        file.write(&image(1)).expect("written");
        fs::write(beside(file.path(), ".new"), "half of").expect("written");
        assert_eq!(file.read(), Ok(Some(image(1))));
        file.write(&image(2)).expect("written");
        assert_eq!(file.read(), Ok(Some(image(2))));
    }

    #[test]
    fn every_changed_byte_and_every_length_is_an_error() {
        let (_folder, file) = table_file();
        file.write(&image(1)).expect("written");
        let good = fs::read(file.path()).expect("there");
        for at in 0..good.len() {
            for flip in [0x01, 0x20, 0x80] {
                let mut bad = good.clone();
                bad[at] ^= flip;
                let error = file.parse(&bad).expect_err("refused").to_string();
                assert!(error.contains("tidegate.table"), "byte {at}: {error}");
            }
            assert!(file.parse(&good[..at]).is_err(), "cut at {at}");
        }
        let longer = [good.as_slice(), b"\n"].concat();
        assert!(file.parse(&longer).is_err());
    }

    #[test]
    fn another_format_is_named() {
        let (_folder, file) = table_file();
        fs::write(file.path(), "tidegate-table 9 0\nwhatever").expect("written");
        let path = file.path().to_owned();
        let expected = TableFileError::UnknownFormat { path, found: 9, supported: 1 };
        assert_eq!(file.read(), Err(expected));
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let (folder, _) = table_file();
        let file = TableFile::new(folder.path().join("nowhere/tidegate.table"));
        assert!(matches!(file.write(&image(1)), Err(TableFileError::Io { .. })));
    }
}

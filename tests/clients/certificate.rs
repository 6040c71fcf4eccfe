//! A certificate for localhost that vouches for itself, made anew for each test.

use tempfile::TempDir;

use crate::program::run;

/// A certificate with its key; both are gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Certificate {
    _folder: TempDir,
    path: String,
    key: String,
}

impl Certificate {
    /// Makes one.
    pub(crate) async fn make() -> Self {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("cert.pem").to_string_lossy().into_owned();
        let key = folder.path().join("key.pem").to_string_lossy().into_owned();
        let names = "subjectAltName=DNS:localhost,IP:127.0.0.1";
        let arguments = [
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            names,
            "-keyout",
            &key,
            "-out",
            &path,
        ];
        run("openssl", &arguments).await;
        Self { _folder: folder, path, key }
    }

    /// Where the certificate is, for clients that shall trust it.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The keys of a listener that shows it.
    pub(crate) fn listener(&self) -> String {
        let Self { path, key, .. } = self;
        format!("tls: {{ certificates: [{{ certificate: '{path}', key: '{key}' }}] }},")
    }
}

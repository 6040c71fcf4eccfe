//! curl: everything that people do with it, over one version of HTTP.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;

use crate::program::{run, run_with};
use crate::streams::byte_at;

/// curl with an address and the flags for it.
#[derive(Debug)]
pub(crate) struct Curl {
    url: String,
    flags: Vec<String>,
    /// The version that it has to speak, as it says it.
    version: &'static str,
}

impl Curl {
    /// curl for an address without a path.
    pub(crate) fn new(url: String, flags: &[&str], version: &'static str) -> Self {
        let usual = ["--silent", "--show-error", "--noproxy", "*", "--max-time", "60"];
        let flags = usual.iter().chain(flags).map(|flag| (*flag).to_owned()).collect();
        Self { url, flags, version }
    }

    /// Asks for things of all sizes, sends things in all ways, again and again.
    pub(crate) async fn does_everything(&self, target: SocketAddr) {
        self.gets("/bytes/0", &[], "200", 0).await;
        self.gets("/bytes/10", &[], "200", 10).await;
        self.gets("/bytes/10", &["--head"], "200", 0).await;
        self.gets("/bytes/16777217", &[], "200", 16_777_217).await;
        self.gets("/chunks/0", &[], "200", 0).await;
        self.gets("/chunks/1000000", &[], "200", 1_000_000).await;
        self.gets("/status/404", &[], "404", 8).await;
        self.gets("/status/503", &[], "503", 8).await;
        self.hears_what_it_will_need().await;
        self.sends(target).await;
        // curl 7.88 cannot use such a connection twice, with any server: error 16.
        if !self.flags.iter().any(|flag| flag == "--http2-prior-knowledge") {
            self.keeps_its_connection().await;
            self.asks_for_many_things_at_once().await;
        }
    }

    /// Asks a `StreamTarget` for things, and sends it a mebibyte with and without its length.
    pub(crate) async fn does_the_usual(&self) {
        self.gets("/bytes/0", &[], "200", 0).await;
        self.gets("/bytes/10", &[], "200", 10).await;
        self.gets("/bytes/10", &["--head"], "200", 0).await;
        self.gets("/bytes/1000000", &[], "200", 1_000_000).await;
        self.hears_what_it_will_need().await;
        let folder = TempDir::new().expect("a folder");
        let file = folder.path().join("up");
        let content: Vec<u8> = (0..MEBIBYTE).map(byte_at).collect();
        std::fs::write(&file, content).expect("written");
        let known = file.to_string_lossy().into_owned();
        self.sends_both_ways(&file, &known, "1048576 in order\n").await;
    }

    /// Sends a file only once it was told to go on.
    pub(crate) async fn waits_to_be_told_to_go_on(&self, target: SocketAddr) {
        let folder = TempDir::new().expect("a folder");
        let (file, digest) = upload(&folder, target).await;
        // It gives up before it would go on by itself.
        let patience = ["--expect100-timeout", "60", "--max-time", "20"];
        let mut arguments = patience.map(str::to_owned).to_vec();
        arguments.extend(["--header", "Expect: 100-continue", "--upload-file"].map(str::to_owned));
        arguments.extend([file.to_string_lossy().into_owned(), format!("{}/up", self.url)]);
        assert_eq!(self.run(&arguments, Stdio::null()).await, digest);
    }

    async fn gets(&self, path: &str, flags: &[&str], status: &str, size: u64) {
        let mut arguments: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        arguments.extend(["--output", "/dev/null", "--write-out", TOLD].map(str::to_owned));
        arguments.push(format!("{}{path}", self.url));
        let told = self.run(&arguments, Stdio::null()).await;
        assert_eq!(told, format!("{status} {} {size}\n", self.version), "{path} {flags:?}");
    }

    /// Is given an interim answer before the answer.
    async fn hears_what_it_will_need(&self) {
        let arguments = ["--include".to_owned(), format!("{}/hints/5", self.url)];
        let told = self.run(&arguments, Stdio::null()).await.to_lowercase();
        let (hints, answer) = told.split_once("\r\n\r\n").expect("a header, and another");
        let version = self.version;
        assert!(hints.starts_with(&format!("http/{version} 103")), "{told}");
        assert!(hints.contains("\r\nlink: </page.css>; rel=preload"), "{told}");
        assert!(answer.starts_with(&format!("http/{version} 200")), "{told}");
    }

    /// Sends a file whose length it knows, and one whose length it does not.
    async fn sends(&self, target: SocketAddr) {
        let folder = TempDir::new().expect("a folder");
        let (file, digest) = upload(&folder, target).await;
        let to = format!("{}/up", self.url);
        let known = file.to_string_lossy().into_owned();
        self.sends_both_ways(&file, &known, &digest).await;
        let arguments = ["--data-binary", &format!("@{known}"), &to].map(str::to_owned);
        assert_eq!(self.run(&arguments, Stdio::null()).await, digest);
    }

    /// Sends a file by its name, and as something that comes as it comes; the target says this.
    async fn sends_both_ways(&self, file: &Path, known: &str, wanted: &str) {
        let to = format!("{}/up", self.url);
        for (what, input) in
            [(known, Stdio::null()), ("-", Stdio::from(File::open(file).expect("the file")))]
        {
            let arguments = ["--upload-file", what, &to].map(str::to_owned);
            assert_eq!(self.run(&arguments, input).await, wanted, "{what}");
        }
    }

    async fn keeps_its_connection(&self) {
        let mut arguments = ["--write-out", "%{num_connects} "].map(str::to_owned).to_vec();
        for path in ["/bytes/5", "/chunks/5", "/status/404", "/bytes/6"] {
            arguments.extend(["--output", "/dev/null"].map(str::to_owned));
            arguments.push(format!("{}{path}", self.url));
        }
        assert_eq!(self.run(&arguments, Stdio::null()).await, "1 0 0 0 ");
    }

    async fn asks_for_many_things_at_once(&self) {
        let flags =
            ["--parallel", "--parallel-max", "25", "--output", "/dev/null", "--write-out", TOLD];
        let mut arguments = flags.map(str::to_owned).to_vec();
        arguments.push(format!("{}/bytes/[1-100]", self.url));
        let told = self.run(&arguments, Stdio::null()).await;
        let mut told: Vec<&str> = told.lines().collect();
        told.sort_unstable();
        let mut wanted: Vec<String> =
            (1..=100).map(|size| format!("200 {} {size}", self.version)).collect();
        wanted.sort_unstable();
        assert_eq!(told, wanted);
    }

    async fn run(&self, arguments: &[String], input: Stdio) -> String {
        run_with("curl", &[self.flags.as_slice(), arguments].concat(), input).await
    }
}

/// A file, and what the target says when it gets it without a proxy.
async fn upload(folder: &TempDir, target: SocketAddr) -> (PathBuf, String) {
    let file = folder.path().join("up");
    let content: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    std::fs::write(&file, content).expect("written");
    let to = format!("http://{target}/up");
    let arguments = [
        "--silent",
        "--show-error",
        "--noproxy",
        "*",
        "--upload-file",
        &file.to_string_lossy(),
        &to,
    ]
    .map(str::to_owned);
    let said = run("curl", &arguments).await;
    assert!(said.starts_with("3000000 "), "{said}");
    (file, said)
}

const MEBIBYTE: usize = 1_048_576;
const TOLD: &str = "%{http_code} %{http_version} %{size_download}\\n";

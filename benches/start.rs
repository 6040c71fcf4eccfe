//! How long a start takes, and what an idle process needs: the real binary, ten times, from `exec`
//! to the first 200 through it, then its memory after three seconds without requests.
//!
//! Fails above [`MOST_START`] or [`MOST_RSS_KB`].

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tidegate::clock::Clock;

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let target = serve_target();
    let clock = Clock::start();
    let mut starts: Vec<Duration> =
        (0..STARTS).map(|_| Tidegate::start(folder.path(), target, clock).took).collect();
    starts.sort();
    let median = starts[STARTS / 2];
    let running = Tidegate::start(folder.path(), target, clock);
    thread::sleep(IDLE);
    let rss_kb = running.rss_kb();
    tell(&format!("start: median {} ms of {STARTS}", median.as_millis()));
    tell(&format!("idle: {:.1} MiB", f64::from(rss_kb) / 1024.0));
    assert!(median <= MOST_START, "a start takes at most {MOST_START:?}: {starts:?}");
    assert!(rss_kb <= MOST_RSS_KB, "an idle process has at most {MOST_RSS_KB} kB: {rss_kb} kB");
}

/// A process that answers; ended when dropped.
struct Tidegate {
    child: Child,
    took: Duration,
}

impl Tidegate {
    fn start(folder: &Path, target: SocketAddr, clock: Clock) -> Self {
        let address = free_address();
        let config = write_config(folder, address, target);
        let log = fs::File::create(folder.join("log")).expect("the folder can be written");
        let begun = clock.mono_us();
        let child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["serve", "--config"])
            .arg(config)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the binary was built");
        let since = || Duration::from_micros(clock.mono_us() - begun);
        while !answers(address).unwrap_or(false) {
            let log = || fs::read_to_string(folder.join("log")).unwrap_or_default();
            assert!(since() < GIVE_UP, "no answer in {GIVE_UP:?}:\n{}", log());
            thread::sleep(POLL);
        }
        Self { child, took: since() }
    }

    /// Resident memory in kilobytes.
    fn rss_kb(&self) -> u32 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("the process is alive");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.and_then(|number| number.parse().ok()).expect("VmRSS is a number of kilobytes")
    }
}

impl Drop for Tidegate {
    fn drop(&mut self) {
        // A process that is gone already needs no killing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a request through an address is answered 200.
fn answers(address: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut status = [0; 12];
    stream.read_exact(&mut status)?;
    Ok(status == *b"HTTP/1.1 200")
}

/// A target that answers everything with 200 until the process ends.
fn serve_target() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            // A client that is gone needs no answer.
            let _ = stream.and_then(answer);
        }
    });
    address
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut request = [0; 4_096];
    let _read = stream.read(&mut request)?;
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}

/// An address that was free a moment ago.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    listener.local_addr().expect("it is bound")
}

fn write_config(folder: &Path, address: SocketAddr, target: SocketAddr) -> PathBuf {
    let file = folder.join("tidegate.yaml");
    let text = format!(
        "listeners: [{{ name: public, address: '{address}', rules: [{{ service: shop }}] }}]\n\
         target_groups: {{ a: {{ targets: ['{target}'] }}, b: {{}} }}\n\
         services: {{ shop: {{ target_groups: [a, b] }} }}\n\
         admin: {{ address: '127.0.0.1:0' }}\n\
         store: {{ path: ./tidegate.db }}\n"
    );
    fs::write(&file, text).expect("the folder can be written");
    file
}

#[expect(clippy::print_stdout, reason = "what a bench is for")]
fn tell(line: &str) {
    println!("{line}");
}

const STARTS: usize = 10;
const POLL: Duration = Duration::from_millis(1);
const IDLE: Duration = Duration::from_secs(3);
const GIVE_UP: Duration = Duration::from_secs(10);
const MOST_START: Duration = Duration::from_millis(200);
const MOST_RSS_KB: u32 = 40 * 1024;

//! The demo: what Tidegate is for, in less than a minute on loopback.
//!
//! `tidegate demo` starts six small upstreams, a real Tidegate before them with the store that
//! everybody gets, and a load of a few hundred requests a second. Then it rolls out a healthy
//! revision and a bad one, shows what happens, and says at the end what the users saw. Nothing is
//! simulated and nothing is left behind.
//!
//! [`Origin`] and [`Load`] are also what the end-to-end tests use.

mod cast;
mod client;
mod configuration;
mod folder;
mod gate_file;
mod happening;
mod load;
mod load_report;
mod origin;
mod pace;
mod screen;
mod status;
mod story;
mod summary;

use std::io::{self, IsTerminal as _, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anstream::{AutoStream, ColorChoice};
use http::{HeaderValue, Uri};
use tokio::runtime::{Builder, Runtime};

use crate::app::App;
use crate::clock::Clock;
use crate::config::{Config, ConfigErrors};
use crate::control::Refusal;
use crate::core::model::{ListenerName, Span};

pub use self::load::{Load, LoadPlan};
pub use self::load_report::{Answers, LoadReport};
pub use self::origin::{Failures, Origin, OriginCounts};
pub use self::screen::Mode;
pub use self::summary::{ActReport, Summary};

use self::cast::Cast;
use self::configuration::{LISTENER, configuration};
use self::folder::Folder;
use self::gate_file::GateFile;
use self::screen::Screen;
use self::story::Story;

/// How the demo is run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DemoOptions {
    /// One JSON object a line instead of text for people.
    pub json: bool,
    /// Another build of the `error-budget` component; `None` takes the one in the repository's
    /// folder, which must be the current one.
    pub gate: Option<PathBuf>,
}

/// Why the demo did not show what it is there to show.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The gate's component is not there.
    #[error(
        "{}: {error}: the demo needs a gate; run it from the repository's folder, or give --gate FILE",
        .path.display()
    )]
    NoGate {
        /// Where it was looked for.
        path: PathBuf,
        /// Why it cannot be used.
        error: io::Error,
    },
    /// The list of digests does not name the component.
    #[error("{} has no digest of the gate's component", .path.display())]
    NoDigest {
        /// The list.
        path: PathBuf,
    },
    /// The system did not let it do something.
    #[error("{what}: {error}")]
    Io {
        /// What.
        what: String,
        /// Why not.
        error: io::Error,
    },
    /// The configuration has mistakes.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// Tidegate did not start, or not as asked.
    #[error("cannot start: {0}")]
    Start(String),
    /// Tidegate refused a request.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// Something took longer than it ever should.
    #[error("gave up after {limit}: {what}")]
    TooLong {
        /// How long was waited.
        limit: Span,
        /// For what, and how it stood.
        what: String,
    },
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// It went to its end, but not as it should.
    #[error("{}", .0.join("; "))]
    Shortcomings(Vec<String>),
}

impl From<io::Error> for DemoError {
    fn from(error: io::Error) -> Self {
        Self::Io { what: "writing".to_owned(), error }
    }
}

/// Runs the demo and shows it on the standard output. Blocks; not inside a tokio runtime.
///
/// # Errors
/// What kept it from running, or from ending as it should; the summary is shown all the same then.
pub fn run(options: &DemoOptions) -> Result<Summary, DemoError> {
    let stdout = io::stdout();
    // Who wants no colour gets no escape sequence at all, and so no block that is drawn again.
    let escapes = stdout.is_terminal() && AutoStream::choice(&stdout) != ColorChoice::Never;
    let mode = match (options.json, escapes) {
        (true, _) => Mode::Json,
        (false, true) => Mode::Terminal,
        (false, false) => Mode::Plain,
    };
    run_to(options.gate.as_deref(), mode, &mut anstream::stdout().lock())
}

/// Runs the demo and shows it where the caller wants. Blocks; not inside a tokio runtime.
///
/// # Errors
/// As [`run`].
pub fn run_to(gate: Option<&Path>, mode: Mode, out: &mut dyn Write) -> Result<Summary, DemoError> {
    let gate = GateFile::find(gate)?;
    let folder = Folder::new().map_err(cannot("making a temporary folder"))?;
    let runtime = runtime().map_err(cannot("starting threads"))?;
    let cast = runtime.block_on(Cast::start()).map_err(cannot("starting upstreams"))?;
    let file = folder.path().join("tidegate.yaml");
    let text = configuration(&cast.first.addresses(), &gate)
        .ok_or_else(|| DemoError::Start(format!("{} is not UTF-8", gate.path.display())))?;
    std::fs::write(&file, text).map_err(cannot("writing the configuration"))?;
    let app = App::start(Config::load(&file)?, Some(file))
        .map_err(|error| DemoError::Start(error.to_string()))?;
    let summary = play(&app, &runtime, &cast, Screen::new(mode, &mut *out));
    app.shutdown();
    let summary = summary?;
    Screen::new(mode, out).summary(&summary)?;
    match summary.shortcomings() {
        none if none.is_empty() => Ok(summary),
        some => Err(DemoError::Shortcomings(some)),
    }
}

fn play(
    app: &App,
    runtime: &Runtime,
    cast: &Cast,
    screen: Screen<'_>,
) -> Result<Summary, DemoError> {
    let listener: ListenerName = LISTENER.parse().expect("the demo's listener has a valid name");
    let address = app
        .address(&listener)
        .ok_or_else(|| DemoError::Start(format!("nothing listens as {listener}")))?;
    let handle = app.handle().ok_or_else(|| DemoError::Start("there is no writer".to_owned()))?;
    let clock = Clock::start();
    runtime.block_on(async {
        let load = Load::start(&plan(address), clock);
        Story::new(handle.clone(), load, clock, screen)?.play(cast).await
    })
}

fn plan(address: SocketAddr) -> LoadPlan {
    LoadPlan {
        address,
        host: HeaderValue::from_static("shop.example.com"),
        path: Uri::from_static("/"),
        rate: RATE,
        connections: CONNECTIONS,
    }
}

/// The runtime of upstreams and load: a thread of its own, so that the proxy's threads do the
/// proxy's work alone.
fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(1).thread_name("demo").enable_all().build()
}

fn cannot(what: &str) -> impl FnOnce(io::Error) -> DemoError {
    let what = what.to_owned();
    move |error| DemoError::Io { what, error }
}

/// Requests a second, and the connections that carry them.
const RATE: u32 = 400;
const CONNECTIONS: u32 = 16;

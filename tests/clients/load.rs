//! h2load: many requests at once, each of which has its answer.

use crate::program::run;

/// Sends so many requests that connections and streams are used again and again.
pub(crate) async fn every_answer_comes(url: &str, flags: &[&str]) {
    let usual = ["--requests=10000", "--clients=20"];
    let arguments: Vec<&str> =
        usual.into_iter().chain(flags.iter().copied()).chain([url]).collect();
    let said = run("h2load", &arguments).await;
    for wanted in ["10000 succeeded, 0 failed, 0 errored, 0 timeout", "codes: 10000 2xx"] {
        assert!(said.contains(wanted), "{url} {flags:?}: {said}");
    }
}

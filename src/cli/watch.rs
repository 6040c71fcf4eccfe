//! Following a rollout: one line for each change, and on a terminal one that is rewritten.

use std::collections::VecDeque;
use std::time::Duration;

use http::Method;
use tokio::time::{Instant, sleep, sleep_until};

use super::Exit;
use super::args::WaitArgs;
use super::client::Client;
use super::failure::Failure;
use super::line::{bar, line, same_situation, sparkline};
use super::screen::{Form, is_terminal, remark, rewrite, wipe};
use crate::admin::json::{Reason, Rollout};
use crate::core::model::{RolloutId, Span};

/// Follows a rollout until it ends, or the time is over, or somebody interrupts. Short absences of
/// the API (a restart) are waited out.
pub(super) async fn watch(
    client: &Client,
    id: &RolloutId,
    wait: WaitArgs,
    form: Form,
) -> Result<Exit, Failure> {
    let end = async {
        match wait.timeout {
            Some(limit) => sleep_until(Instant::now() + limit.into()).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = follow(client, id, form) => ended,
        () = end => {
            clear(form);
            remark(&format!("{id} is not over yet; it goes on"));
            Ok(Exit::TimedOut)
        }
        Ok(()) = tokio::signal::ctrl_c() => {
            clear(form);
            interrupted(client, id, wait).await
        }
    }
}

/// Leaves the rollout alone, unless that was asked for.
async fn interrupted(client: &Client, id: &RolloutId, wait: WaitArgs) -> Result<Exit, Failure> {
    if !wait.abort_on_interrupt {
        remark(&format!("no longer waiting; {id} goes on (`tidegate rollout abort {id}` ends it)"));
        return Ok(Exit::TimedOut);
    }
    let path = format!("/v1/rollouts/{id}/abort");
    let body = Reason { reason: "interrupted".to_owned().try_into().ok() };
    let rollout: Rollout = client.change(Method::POST, &path, &body).await?;
    remark(&format!("aborted: {id} is {}", rollout.state));
    Ok(Exit::of(rollout.state).unwrap_or(Exit::RolledBack))
}

async fn follow(client: &Client, id: &RolloutId, form: Form) -> Result<Exit, Failure> {
    let path = format!("/v1/rollouts/{id}?history=false");
    let mut trace = Trace::new(form);
    let mut lost: Option<Instant> = None;
    loop {
        match client.get::<Rollout>(&path).await {
            Ok(rollout) => {
                lost = None;
                let end = Exit::of(rollout.state);
                trace.show(rollout);
                if let Some(exit) = end {
                    return Ok(exit);
                }
            }
            Err(failure @ Failure::Unreachable { .. }) => {
                let since = *lost.get_or_insert_with(|| {
                    remark("the admin API cannot be reached; trying again");
                    Instant::now()
                });
                if trace.shown.is_none() || since.elapsed() > PATIENCE {
                    return Err(failure);
                }
            }
            Err(failure) => return Err(failure),
        }
        sleep(PERIOD).await;
    }
}

/// What was shown so far.
#[derive(Debug)]
struct Trace {
    form: Form,
    began: Instant,
    /// `None` before the first line.
    shown: Option<Rollout>,
    latest: (u64, u64),
    failed_shares: VecDeque<f64>,
}

impl Trace {
    fn new(form: Form) -> Self {
        let failed_shares = VecDeque::new();
        Self { form, began: Instant::now(), shown: None, latest: (0, 0), failed_shares }
    }

    fn show(&mut self, rollout: Rollout) {
        self.count(&rollout);
        let elapsed = Span::from_secs(self.began.elapsed().as_secs());
        let changed = self.shown.as_ref().is_none_or(|before| !same_situation(before, &rollout));
        if changed {
            clear(self.form);
            self.form.show(&rollout, |rollout| line(elapsed, rollout));
        }
        if rewrites(self.form) && !rollout.state.is_terminal() {
            rewrite(&self.live(&rollout));
        }
        if changed {
            self.shown = Some(rollout);
        }
    }

    fn count(&mut self, rollout: &Rollout) {
        let (requests, failed) = (rollout.green_requests, rollout.green_failed);
        let more = requests.saturating_sub(self.latest.0);
        if self.shown.is_some() && more > 0 {
            let share = failed.saturating_sub(self.latest.1) as f64 / more as f64;
            self.failed_shares.push_back(share);
        }
        if self.failed_shares.len() > SHARES {
            self.failed_shares.pop_front();
        }
        self.latest = (requests, failed);
    }

    /// The line that is rewritten.
    fn live(&self, rollout: &Rollout) -> String {
        let shares = sparkline(self.failed_shares.iter().copied());
        let (requests, failed) = (rollout.green_requests, rollout.green_failed);
        let bake = rollout.bake.map(|bake| format!("{} of {}", bake.watched, bake.length));
        format!(
            "{} {} green {}  {failed}/{requests} failed {shares}",
            bar(rollout),
            bake.unwrap_or_default(),
            rollout.weight
        )
    }
}

/// Whether one line is rewritten.
fn rewrites(form: Form) -> bool {
    form == Form::Text && is_terminal()
}

/// Makes place where the rewritten line stands.
fn clear(form: Form) {
    if rewrites(form) {
        wipe();
    }
}

const PERIOD: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(60);
const SHARES: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fake::{Fake, rollout};
    use serde_json::{Value, json};

    fn at(state: &str, weight: &str, failed: u64) -> Value {
        let mut value = serde_json::to_value(rollout()).expect("serialises");
        value["state"] = json!(state);
        value["weight"] = json!(weight);
        value["green_failed"] = json!(failed);
        value
    }

    async fn watched(answers: Vec<(u16, Value)>, wait: WaitArgs) -> Result<Exit, Failure> {
        let fake = Fake::start(answers).await;
        let id = rollout().id;
        watch(&fake.client(), &id, wait, Form::Json).await
    }

    #[tokio::test]
    async fn the_end_of_the_rollout_is_the_exit_code() {
        for (state, exit) in [
            ("succeeded", Exit::Succeeded),
            ("rolled_back", Exit::RolledBack),
            ("failed", Exit::Failed),
            ("stopped", Exit::Stopped),
        ] {
            let answers = vec![(200, at("shifting", "10%", 0)), (200, at(state, "0%", 9))];
            let ended = watched(answers, WaitArgs::default()).await.expect("followed");
            assert_eq!(ended, exit);
        }
    }

    #[tokio::test]
    async fn waiting_ends_in_time_and_the_rollout_goes_on() {
        let wait = WaitArgs { timeout: Some(Span::from_ms(50)), abort_on_interrupt: false };
        let ended = watched(vec![(200, at("shifting", "10%", 0))], wait).await;
        assert_eq!(ended.expect("followed"), Exit::TimedOut);
    }

    #[tokio::test]
    async fn an_unknown_rollout_is_not_waited_for() {
        let problem = json!({
            "type": "urn:tidegate:problem:no_such_rollout", "title": "Not Found", "status": 404,
            "code": "no_such_rollout", "detail": "there is no rollout d-ABCDEFGHI",
        });
        let ended = watched(vec![(404, problem)], WaitArgs::default()).await;
        assert_eq!(ended.expect_err("refused").exit(), Exit::Refused);
    }

    #[tokio::test]
    async fn the_share_of_failures_is_that_of_new_requests() {
        let mut trace = Trace::new(Form::Json);
        for (requests, failed) in [(100, 50), (200, 50), (200, 50), (210, 55)] {
            let mut seen = rollout();
            (seen.green_requests, seen.green_failed) = (requests, failed);
            trace.show(seen);
        }
        assert_eq!(trace.failed_shares, [0.0, 0.5]);
        let live = trace.live(&rollout());
        assert_eq!(live, "██░░░░░░░░ 30s of 2m green 10%  2/188 failed ▁█");
    }
}

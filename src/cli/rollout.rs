//! `rollout`: starting, following and telling rollouts.

use http::Method;
use serde::Serialize;

use super::args::{RolloutCommand, StartArgs, Told, prose};
use super::client::Client;
use super::failure::Failure;
use super::screen::{Form, plain};
use super::table::table;
use super::{Exit, ledger, line, plan, style, watch, why};
use crate::admin::json::{NewRollout, Promotion, Resumption, Rollout};
use crate::core::model::{RolloutId, Span, Target};

/// Carries out a command.
pub(super) async fn run(
    client: &Client,
    command: RolloutCommand,
    form: Form,
) -> Result<Exit, Failure> {
    match command {
        RolloutCommand::Start(args) => start(client, *args, form).await,
        RolloutCommand::List { service, limit } => {
            let filter = service.map(|service| format!("?service={service}")).unwrap_or_default();
            let rollouts = client.get_all(&format!("/v1/rollouts{filter}"), limit).await?;
            form.show_all(&rollouts, list);
            Ok(Exit::Succeeded)
        }
        RolloutCommand::Show { id } => {
            let rollout: Rollout = client.get(&format!("/v1/rollouts/{id}")).await?;
            form.show(&rollout, render);
            Ok(Exit::Succeeded)
        }
        RolloutCommand::Explain { id } => {
            let rollout: Rollout = client.get(&format!("/v1/rollouts/{id}")).await?;
            form.show(&rollout, why::render);
            Ok(Exit::Succeeded)
        }
        RolloutCommand::Watch { id, wait } => watch::watch(client, &id, wait, form).await,
        RolloutCommand::Approve(told) => tell(client, told, "approve", form).await,
        RolloutCommand::Reject(told) => tell(client, told, "reject", form).await,
        RolloutCommand::Pause(told) => tell(client, told, "pause", form).await,
        RolloutCommand::Stop(told) => tell(client, told, "stop", form).await,
        RolloutCommand::Abort(told) => tell(client, told, "abort", form).await,
        RolloutCommand::Resume { told: Told { id, why }, override_regression } => {
            let body = Resumption { reason: why.prose()?, override_regression };
            command_with(client, &id, "resume", &body, form).await
        }
        RolloutCommand::Promote { told: Told { id, why }, force } => {
            let body = Promotion { reason: why.prose()?, force };
            command_with(client, &id, "promote", &body, form).await
        }
    }
}

async fn start(client: &Client, args: StartArgs, form: Form) -> Result<Exit, Failure> {
    let targets = args.targets.into_iter().map(|address| Target { address }).collect::<Vec<_>>();
    let body = NewRollout {
        revision: args.revision,
        targets: some(targets),
        strategy: args.strategy,
        description: prose(args.description)?,
        ignore_alarms: args.ignore_alarms,
        reason: args.why.prose()?,
        alarms: if args.no_alarms { Some(Vec::new()) } else { some(args.alarms) },
    };
    let path = format!("/v1/services/{}/rollouts", args.service);
    let key = args.idempotency_key.as_deref().map(|key| ("idempotency-key", key));
    let rollout: Rollout = client.send(Method::POST, &path, Some(&body), key.as_slice()).await?;
    form.show(&rollout, |rollout| {
        format!("started {} of service {}\n{}", rollout.id, rollout.service, plan::render(rollout))
    });
    if args.wait {
        watch::watch(client, &rollout.id, args.waiting, form).await
    } else {
        Ok(Exit::Succeeded)
    }
}

/// A list, unless it is empty.
fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}

async fn tell(client: &Client, told: Told, verb: &str, form: Form) -> Result<Exit, Failure> {
    command_with(client, &told.id, verb, &told.why.body()?, form).await
}

async fn command_with<B: Serialize>(
    client: &Client,
    id: &RolloutId,
    verb: &str,
    body: &B,
    form: Form,
) -> Result<Exit, Failure> {
    let path = format!("/v1/rollouts/{id}/{verb}");
    let rollout: Rollout = client.change(Method::POST, &path, body).await?;
    form.show(&rollout, |rollout| {
        let saving = if rollout.persisted == Some(false) { ", still being saved" } else { "" };
        let (state, weight) = (style::state(rollout.state), rollout.weight);
        format!("{verb}: {} is {state}, green {weight}{saving}", rollout.id)
    });
    Ok(Exit::Succeeded)
}

fn list(rollouts: &[Rollout]) -> String {
    let rows: Vec<_> = rollouts
        .iter()
        .map(|rollout| {
            [
                rollout.id.to_string(),
                rollout.service.to_string(),
                rollout.revision.as_ref().map(|label| plain(label.as_str())).unwrap_or_default(),
                style::state(rollout.state),
                line::step(rollout),
                rollout.weight.to_string(),
                rollout.created.to_string(),
                rollout.cause.as_deref().map(plain).unwrap_or_default(),
            ]
        })
        .collect();
    let header = ["ROLLOUT", "SERVICE", "REVISION", "STATE", "STEP", "GREEN", "CREATED", "CAUSE"];
    table(header, &rows)
}

/// A rollout with its plan and history.
fn render(rollout: &Rollout) -> String {
    let ended = rollout.ended.unwrap_or(rollout.created).0.since(rollout.created.0);
    let elapsed = Span::from_secs(ended.ms() / 1_000);
    let mut shown = format!("{} of service {}\n", rollout.id, rollout.service);
    if !rollout.description.is_empty() {
        shown.push_str(&format!("{}\n", plain(&rollout.description)));
    }
    let by = rollout.created_by.as_ref().map(|by| format!(" by {}", plain(by)));
    shown.push_str(&format!("created {}{}\n", rollout.created, by.unwrap_or_default()));
    shown.push_str(&line::line(elapsed, rollout));
    shown.push('\n');
    shown.push_str(&plan::render(rollout));
    if let Some(of) = &rollout.rollback_of {
        shown.push_str(&format!("\nrollback of {of}"));
    }
    if let Some(history) = rollout.history.as_deref().filter(|history| !history.is_empty()) {
        shown.push_str(&format!("\n\n{}", ledger::render(history)));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fake::rollout;
    use anstream::adapter::strip_str;

    #[test]
    fn a_rollout_is_shown_with_its_plan() {
        assert_eq!(
            strip_str(&render(&rollout())).to_string(),
            "d-ABCDEFGHI of service shop\n\
             build 7\n\
             created 2026-01-31T12:00:00Z by pipeline\n\
             +0s  shifting  step 1/2  green 10%  bake 30s of 2m  188 green requests, 2 failed  \
             holds: 312 more green requests\n\
             strategy careful\n\
             STEP   GREEN  BAKE  ASKS FOR\n\
             1      10%    2m    500 requests\n                    \
             an approval within 1h, else rollback\n\
             2      100%   -\n\
             final         15m"
        );
    }

    #[test]
    fn rollouts_are_listed_on_a_line_each() {
        assert_eq!(
            strip_str(&list(&[rollout()])).to_string(),
            "ROLLOUT      SERVICE  REVISION  STATE     STEP  GREEN  CREATED               CAUSE\n\
             d-ABCDEFGHI  shop     v2        shifting  1/2   10%    2026-01-31T12:00:00Z"
        );
    }
}

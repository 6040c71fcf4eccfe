//! `alarm`: looking at alarms, and pushing their state.

use http::Method;

use super::args::Why;
use super::client::Client;
use super::failure::Failure;
use super::screen::{Form, plain};
use super::table::table;
use super::{Exit, style};
use crate::admin::json::{Alarm, AlarmPush, AlarmPushed};
use crate::core::model::{AlarmName, AlarmState};

/// Lists all alarms.
pub(super) async fn list(client: &Client, form: Form) -> Result<Exit, Failure> {
    let alarms: Vec<Alarm> = client.get_all("/v1/alarms", usize::MAX).await?;
    form.show_all(&alarms, render);
    Ok(Exit::Succeeded)
}

/// Pushes an alarm's state.
pub(super) async fn push(
    client: &Client,
    alarm: &AlarmName,
    state: AlarmState,
    why: Why,
    form: Form,
) -> Result<Exit, Failure> {
    let body = AlarmPush { state, reason: why.prose()? };
    let path = format!("/v1/alarms/{alarm}/state");
    let pushed: AlarmPushed = client.change(Method::PUT, &path, &body).await?;
    form.show(&pushed, |pushed| {
        format!("alarm {} says {}", pushed.name, style::alarm(pushed.state))
    });
    Ok(Exit::Succeeded)
}

fn render(alarms: &[Alarm]) -> String {
    let rows: Vec<_> = alarms
        .iter()
        .map(|alarm| {
            [
                alarm.name.to_string(),
                alarm.service.as_ref().map(ToString::to_string).unwrap_or_default(),
                style::alarm(alarm.state),
                alarm.since.map(|since| since.to_string()).unwrap_or_default(),
                plain(&alarm.source),
                alarm.reason.as_deref().map(plain).unwrap_or_default(),
            ]
        })
        .collect();
    table(["ALARM", "SERVICE", "STATE", "SINCE", "SOURCE", "REASON"], &rows)
}

//! What Alertmanager's webhook sends (its documentation, "webhook_config", version 4), and what it
//! is answered. Fields that say nothing here are left out.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::{Alert, HookReport};
use crate::core::model::{AlarmName, AlarmState, Labels, Sha256};

/// A notification about a group of alerts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlertmanagerNotice {
    /// The version of this format.
    #[schema(example = "4")]
    pub version: String,
    /// How many alerts were left out because there are too many.
    #[serde(default, rename = "truncatedAlerts")]
    pub truncated_alerts: u64,
    /// The alerts of the group, those that are resolved among them.
    pub alerts: Vec<NoticeAlert>,
}

/// An alert in a notification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NoticeAlert {
    /// Whether it fires.
    pub status: NoticeStatus,
    /// Its labels.
    #[schema(value_type = Object)]
    pub labels: Labels,
    /// What was written about it; `summary` is told.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub annotations: Labels,
    /// What tells it from all others; made from the labels if it is empty.
    #[serde(default)]
    pub fingerprint: String,
}

/// Whether an alert fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum NoticeStatus {
    /// It does.
    Firing,
    /// It does not any more.
    Resolved,
}

/// What was made of a notification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlertsHeard {
    /// The alarms that it is about, with what they say now.
    pub heard: Vec<HeardAlarm>,
    /// The labels of alerts that are about no alarm, 100 at most.
    pub unknown: Vec<String>,
    /// How many alerts the notification left out.
    pub truncated: u64,
}

/// An alarm that a notification is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeardAlarm {
    /// Its name.
    #[schema(value_type = String, example = "checkout-errors")]
    pub name: AlarmName,
    /// What it says now.
    #[schema(value_type = String, example = "ALARM")]
    pub state: AlarmState,
}

impl AlertmanagerNotice {
    /// The version that is read.
    pub const VERSION: &'static str = "4";
}

impl NoticeAlert {
    /// The alert as it is heard.
    #[must_use]
    pub fn into_alert(self) -> Alert {
        let Self { status, labels, annotations, fingerprint } = self;
        let name = labels.get("alertname").map(String::as_str).unwrap_or("an alert");
        let summary = match annotations.get("summary") {
            Some(summary) => format!("{name}: {summary}"),
            None => name.to_owned(),
        };
        let fits = (1..=LONGEST_FINGERPRINT).contains(&fingerprint.len());
        let fingerprint = if fits { fingerprint } else { digest(&labels) };
        let is_firing = match status {
            NoticeStatus::Firing => true,
            NoticeStatus::Resolved => false,
        };
        Alert { is_firing, fingerprint, summary: shortened(&summary), labels }
    }
}

impl AlertsHeard {
    /// The answer to a notification that left so many alerts out.
    #[must_use]
    pub fn new(report: HookReport, truncated: u64) -> Self {
        let heard = report.heard.into_iter().map(|(name, state)| HeardAlarm { name, state });
        Self { heard: heard.collect(), unknown: report.unknown, truncated }
    }
}

/// What tells labels from all others.
fn digest(labels: &Labels) -> String {
    let text = serde_json::to_string(labels).expect("labels have only text keys");
    Sha256::of(text.as_bytes()).to_string()
}

/// Words of others for the ledger and for terminals.
fn shortened(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_SUMMARY).collect()
}

const LONGEST_FINGERPRINT: usize = 64;
const LONGEST_SUMMARY: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    /// As Alertmanager 0.25 sends it.
    const NOTICE: &str = r#"{
        "receiver": "tidegate", "status": "firing", "truncatedAlerts": 0, "version": "4",
        "groupKey": "{}:{}", "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {},
        "externalURL": "http://localhost:9093",
        "alerts": [
            {
                "status": "firing",
                "labels": { "alertname": "Errors", "tidegate_alarm": "errors" },
                "annotations": { "summary": "too many\u001b" },
                "startsAt": "2026-01-31T12:00:00Z", "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "", "fingerprint": "c6e8ea1f4b4e8f9e"
            },
            { "status": "resolved", "labels": { "a": "b" } }
        ]
    }"#;

    #[test]
    fn a_notification_is_read_as_it_is_sent() {
        let notice: AlertmanagerNotice = serde_json::from_str(NOTICE).expect("a notification");
        assert_eq!((notice.version.as_str(), notice.truncated_alerts), ("4", 0));
        let mut alerts = notice.alerts.into_iter().map(NoticeAlert::into_alert);
        let first = alerts.next().expect("two");
        assert_eq!((first.is_firing, first.summary.as_str()), (true, "Errors: too many "));
        assert_eq!(first.fingerprint, "c6e8ea1f4b4e8f9e");
        assert_eq!(first.labels["tidegate_alarm"], "errors");
        let second = alerts.next().expect("two");
        assert_eq!((second.is_firing, second.summary.as_str()), (false, "an alert"));
        assert_eq!(second.fingerprint.len(), 64);
    }
}

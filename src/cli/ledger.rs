//! `ledger`: reading the ledger, and checking that nobody changed it.

use serde::Serialize;

use super::args::LedgerCommand;
use super::client::Client;
use super::failure::Failure;
use super::screen::{Form, plain};
use super::table::table;
use super::{Exit, style};
use crate::admin::json::{LedgerEntry, Page};
use crate::core::ledger::{Chain, Head};

/// What a check found.
#[derive(Debug, Serialize)]
struct Verified {
    whole: bool,
    entries: u64,
    head: Head,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
}

/// Carries out a command.
pub(super) async fn run(
    client: &Client,
    command: LedgerCommand,
    form: Form,
) -> Result<Exit, Failure> {
    match command {
        LedgerCommand::List { service, rollout, limit } => {
            let service = service.map(|service| format!("&service={service}"));
            let rollout = rollout.map(|rollout| format!("&rollout={rollout}"));
            let (service, rollout) = (service.unwrap_or_default(), rollout.unwrap_or_default());
            let path = format!("/v1/ledger?order=newest{service}{rollout}");
            let entries: Vec<LedgerEntry> = client.get_all(&path, limit).await?;
            form.show_all(&entries, render);
            Ok(Exit::Succeeded)
        }
        LedgerCommand::Verify { .. } => verify(client, form).await,
    }
}

/// Reads the ledger page by page, from the first entry on, and checks each against the one before.
async fn verify(client: &Client, form: Form) -> Result<Exit, Failure> {
    let mut chain = Chain::new();
    let mut cursor = Some("0".to_owned());
    while let Some(after) = cursor {
        let path = format!("/v1/ledger?order=oldest&limit=1000&cursor={after}");
        let page: Page<LedgerEntry> = client.get(&path).await?;
        for entry in page.items {
            if let Err(broken) = chain.append(&entry.into()) {
                return Err(bad(form, chain.head(), &broken.to_string()));
            }
        }
        cursor = page.next;
    }
    Ok(whole(form, chain.head()))
}

/// Tells what the check of a database that no process has open came to.
pub(super) fn verify_file(found: Result<Head, String>, form: Form) -> Result<Exit, Failure> {
    found.map(|head| whole(form, head)).map_err(Failure::Bad)
}

fn whole(form: Form, head: Head) -> Exit {
    let verified = Verified { whole: true, entries: head.seq, head, fault: None };
    form.show(&verified, |found| {
        let good = style::GOOD;
        format!(
            "{good}whole:{good:#} {} entries; the last one's hash is {}\n\
             (compare it with one that was kept elsewhere: a chain cannot show that its end is gone)",
            found.entries, found.head.hash
        )
    });
    Exit::Succeeded
}

fn bad(form: Form, head: Head, fault: &str) -> Failure {
    if form == Form::Json {
        let fault = Some(fault.to_owned());
        form.show(&Verified { whole: false, entries: head.seq, head, fault }, |_| String::new());
    }
    Failure::Bad(format!("{fault}; the {} entries before are whole", head.seq))
}

/// One line for each entry.
pub(super) fn render(entries: &[LedgerEntry]) -> String {
    let rows: Vec<_> = entries
        .iter()
        .map(|entry| {
            let about = match (&entry.rollout, &entry.service) {
                (Some(rollout), _) => rollout.to_string(),
                (None, Some(service)) => service.to_string(),
                (None, None) => String::new(),
            };
            let said =
                entry.reason.as_ref().map(|reason| format!("{reason}; ")).unwrap_or_default();
            [
                entry.seq.to_string(),
                entry.at.to_string(),
                about,
                entry.kind.clone(),
                plain(&entry.actor),
                plain(&format!("{said}{}", entry.detail)),
            ]
        })
        .collect();
    table(["SEQ", "AT", "ABOUT", "WHAT", "WHO", "WHY AND DETAIL"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fake::Fake;
    use crate::core::ledger::Draft;
    use crate::core::model::WallTime;

    fn entries() -> Vec<LedgerEntry> {
        let mut head = Head::GENESIS;
        (0..3)
            .map(|n| {
                let draft = Draft {
                    at: WallTime::from_ms(1_769_860_800_000 + n),
                    service: Some("shop".parse().expect("valid")),
                    rollout: None,
                    actor: "admin".to_owned(),
                    origin: "api 127.0.0.1".to_owned(),
                    reason: (n == 0).then(|| "try".to_owned()),
                    kind: "split_set".to_owned(),
                    detail: "{}".to_owned(),
                };
                let entry = draft.seal(head);
                head = entry.head();
                entry.into()
            })
            .collect()
    }

    async fn verified(entries: Vec<LedgerEntry>) -> Result<Exit, Failure> {
        let page = Page { items: entries, next: None };
        let answer = (200, serde_json::to_value(page).expect("serialises"));
        verify(&Fake::start(vec![answer]).await.client(), Form::Text).await
    }

    #[tokio::test]
    async fn a_whole_ledger_is_whole_and_a_changed_one_names_the_entry() {
        assert_eq!(verified(entries()).await.expect("whole"), Exit::Succeeded);
        let mut changed = entries();
        changed[1].actor = "somebody else".to_owned();
        let failure = verified(changed).await.expect_err("bad");
        assert_eq!(failure.exit(), Exit::Refused);
        let text = failure.to_string();
        assert!(text.contains("ledger entry 2: its hash does not match its contents"), "{text}");
    }

    #[test]
    fn entries_are_shown_on_a_line_each() {
        assert_eq!(
            render(&entries()[..1]),
            "SEQ  AT                    ABOUT  WHAT       WHO    WHY AND DETAIL\n\
             1    2026-01-31T12:00:00Z  shop   split_set  admin  try; {}"
        );
    }
}

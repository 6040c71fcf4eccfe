//! `explain`: which side a key gets, and why.

use std::fmt::Write as _;

use super::Exit;
use super::args::ExplainArgs;
use super::client::Client;
use super::failure::Failure;
use super::screen::{Form, plain};
use super::table::table;
use crate::admin::json::Explanation;

/// Asks, and tells the answer.
pub(super) async fn explain(
    client: &Client,
    args: &ExplainArgs,
    form: Form,
) -> Result<Exit, Failure> {
    let found: Explanation = client.get(&path(args)).await?;
    form.show(&found, render);
    Ok(Exit::Succeeded)
}

fn path(args: &ExplainArgs) -> String {
    let key = args.key.as_ref().map(|key| format!("key={}", encoded(key)));
    let address = args.address.map(|address| format!("address={address}"));
    let rollout = args.rollout.as_ref().map(|id| format!("rollout={id}"));
    let query: Vec<String> = [key, address, rollout].into_iter().flatten().collect();
    format!("/v1/services/{}/explain?{}", args.service, query.join("&"))
}

/// A text as it stands in a query: whatever is not plainly harmless as `%` and two digits.
fn encoded(text: &str) -> String {
    let mut query = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            query.push(char::from(byte));
        } else {
            write!(query, "%{byte:02X}").expect("a string takes every write");
        }
    }
    query
}

fn render(found: &Explanation) -> String {
    let whose = match (&found.key, found.address) {
        (Some(key), _) => format!("key {:?}", plain(key)),
        (None, Some(address)) => format!("address {address}"),
        (None, None) => "it".to_owned(),
    };
    let mut shown = format!("{whose} of service {}: {}", found.service, found.side);
    shown.push_str(&format!("\n{}", plain(&found.sentence)));
    match &found.rollout {
        Some(id) => shown.push_str(&format!("\nplaced by rollout {id}")),
        None => shown.push_str("\nplaced by no rollout that is known"),
    }
    if let Some(note) = &found.note {
        shown.push_str(&format!("\nnote: {}", plain(note)));
    }
    if !found.steps.is_empty() {
        let rows: Vec<_> = found
            .steps
            .iter()
            .enumerate()
            .map(|(n, step)| [(n + 1).to_string(), step.weight.to_string(), step.side.to_string()])
            .collect();
        shown.push('\n');
        shown.push_str(&table(["STEP", "GREEN", "SIDE"], &rows));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fake::Fake;
    use serde_json::json;

    fn answer() -> serde_json::Value {
        json!({
            "service": "shop", "key": "u 1", "position": 1_234, "rollout": "d-ABCDEFGHI",
            "weight": { "green": "25%", "green_bp": 2_500 }, "side": "green",
            "steps": [
                { "weight": "10%", "green_bp": 1_000, "side": "blue" },
                { "weight": "25%", "green_bp": 2_500, "side": "green" },
            ],
            "sentence": "position 1234 of 10000 is below green's 2500 (25%): green",
        })
    }

    #[tokio::test]
    async fn a_key_with_any_characters_is_asked_about() {
        let fake = Fake::start(vec![(200, answer())]).await;
        let args = ExplainArgs {
            service: "shop".parse().expect("valid"),
            key: Some("u 1&key=ü".to_owned()),
            address: None,
            rollout: Some("d-ABCDEFGHI".parse().expect("valid")),
        };
        explain(&fake.client(), &args, Form::Text).await.expect("told");
        let line = "GET /v1/services/shop/explain?key=u%201%26key%3D%C3%BC&rollout=d-ABCDEFGHI";
        assert_eq!(fake.asked(), [format!("{line} HTTP/1.1")]);
    }

    #[test]
    fn an_explanation_is_told_in_words() {
        let found = serde_json::from_value(answer()).expect("an explanation");
        assert_eq!(
            render(&found),
            "key \"u 1\" of service shop: green\n\
             position 1234 of 10000 is below green's 2500 (25%): green\n\
             placed by rollout d-ABCDEFGHI\n\
             STEP  GREEN  SIDE\n\
             1     10%    blue\n\
             2     25%    green"
        );
    }
}

//! A configuration with chance mistakes, reloaded under load: either all of it counts or nothing
//! does, who is refused is told where and why, and neither a request nor a WebSocket is lost.

use std::net::SocketAddr;

use serde_json::json;
use tidegate::admin::json::{Problem, Reloaded};
use tokio::time::Instant;

use crate::kit::{Api, Chat, Dice, Ports, Said, Tidegate, Turn, until};
use crate::rig::{Plan, Row, Sample, Target, Traffic, get, metric, sized};

/// What the reloads came to.
#[derive(Default)]
struct Tally {
    refused: u64,
    taken: u64,
    /// Mutations that changed nothing in the text.
    same: u64,
    /// The first few of what must not be, each with its configuration.
    wrong: Vec<String>,
}

/// When a configuration with a mistake that is none was in force.
type Spans = Vec<(Instant, Instant)>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mutated_configuration_counts_whole_or_not_at_all() {
    let _turn = Turn::wait().await;
    let mut row = Row::begin(
        "reload with mutated configurations",
        "each refused with 4xx and a place, the old one in force, or taken whole; 0 lost requests; \
         WebSockets untouched; no panic",
    );
    let (blue, green) = (Target::chatting("blue").await, Target::chatting("green").await);
    let addresses = [blue.address(), green.address()];
    let tidegate = Tidegate::start(|ports| config(ports, addresses, BASE)).await;
    let api = tidegate.api();
    api.split("shop", "30%").await;
    let mut chats = Vec::new();
    for _ in 0..sized(6, 100) {
        chats.push(Chat::open(tidegate.public()).await.expect("open"));
    }
    let plan = Plan { per_second: sized(300, 2_000), connections: 16, post_every: 5 };
    let traffic = Traffic::start(tidegate.public(), plan);
    until("the load is under way", async || traffic.begun() > 100).await;

    let mut dice = Dice::seeded();
    let (mut tally, mut spans) = (Tally::default(), Spans::new());
    for number in 0..sized(50, 1_000) {
        let stamp = format!("mutation-{number}");
        let good = config(&tidegate.ports(), addresses, &stamp);
        let mutated = mutate(&good, &mut dice);
        if mutated == good {
            tally.same += 1;
            continue;
        }
        let began = Instant::now();
        if tally.reload(&tidegate, &api, &mutated, &stamp).await {
            tidegate.home().configure(&config(&tidegate.ports(), addresses, BASE));
            if let Err(problem) = reload(&api).await {
                tally.wrong(&format!("no way back: {problem:?}"), &mutated);
                break;
            }
            spans.push((began, Instant::now()));
        }
    }
    let samples = traffic.stop().await;
    let dead = count_dead(&mut chats).await;
    let counted = metric(&api, "tidegate_reloads_total", &["refused"]).await;

    // What is read as it was meant to be read may well lead nowhere.
    let meant = |sample: &Sample| {
        spans.iter().any(|(from, to)| *from <= sample.ended && sample.began <= *to)
    };
    let lost: Vec<&Sample> = samples.iter().filter(|s| is_lost(s)).collect();
    let lost_by_intent = lost.iter().filter(|sample| meant(sample)).count();
    row.measure("refused", tally.refused);
    row.measure("taken", tally.taken);
    row.measure("same", tally.same);
    row.measure("wrong", tally.wrong.clone());
    row.measure("requests", samples.len());
    row.measure("lost", lost.len() - lost_by_intent);
    row.measure("lost_while_a_mutation_was_in_force", lost_by_intent);
    row.measure("web_sockets", chats.len());
    row.measure("web_sockets_dead", dead);
    row.require("some are refused, and some are not", tally.refused > 0 && tally.taken > 0);
    row.require("each counts whole or not at all", tally.wrong.is_empty());
    row.require("the metrics tell of each refused", counted == tally.refused);
    row.require("no request is lost", lost.len() == lost_by_intent);
    row.require("no WebSocket is lost", dead == 0);
    row.require("nothing panics", !tidegate.home().said().contains("panicked"));
    row.end();
}

impl Tally {
    /// Reloads a configuration, and judges what came of it; gives whether it was taken.
    async fn reload(&mut self, tidegate: &Tidegate, api: &Api, mutated: &str, stamp: &str) -> bool {
        let before = metric(api, "tidegate_generation", &[]).await;
        tidegate.home().configure(mutated);
        let reloaded = reload(api).await;
        let after = metric(api, "tidegate_generation", &[]).await;
        let stamps = [stamp_of(tidegate, "/").await, stamp_of(tidegate, "/other").await];
        match reloaded {
            Ok(_) => {
                self.taken += 1;
                if stamps != [stamp, stamp] || after <= before {
                    self.wrong(&format!("taken, and {stamps:?} in force"), mutated);
                }
                true
            }
            Err(problem) => {
                self.refused += 1;
                if stamps != [BASE, BASE] || after != before {
                    self.wrong(&format!("refused, and {stamps:?} in force"), mutated);
                }
                if !(400..500).contains(&problem.status) || !says_where(&problem) {
                    self.wrong(&format!("not told where: {problem:?}"), mutated);
                }
                false
            }
        }
    }

    fn wrong(&mut self, what: &str, config: &str) {
        if self.wrong.len() < WRONG_KEPT {
            self.wrong.push(format!("{what}:\n{config}"));
        }
    }
}

async fn reload(api: &Api) -> Result<Reloaded, Problem> {
    api.change("POST", "/v1/reload", &json!({})).await
}

/// The stamp of the rule that a path has now.
async fn stamp_of(tidegate: &Tidegate, path: &str) -> String {
    match get(tidegate.public(), path).await {
        Ok(answer) => answer.field("x-stamp").unwrap_or("no stamp").to_owned(),
        Err(error) => error,
    }
}

/// Whether a refusal begins with a line of the file, or with the key that it is about.
fn says_where(problem: &Problem) -> bool {
    let Some(reasons) = problem.detail.strip_prefix(REFUSED) else { return false };
    let names_a_line = reasons.split_once("tidegate.yaml:").is_some_and(|(folder, place)| {
        !folder.contains(": ") && place.starts_with(|first: char| first.is_ascii_digit())
    });
    names_a_line || KEYS.iter().any(|key| reasons.starts_with(key))
}

/// Whether a request was not answered by a target.
fn is_lost(sample: &Sample) -> bool {
    // A mutation may switch off that answers tell their side.
    sample.failure().is_some_and(|failure| !failure.starts_with("HTTP/1.1 200 "))
}

/// How many do not answer any more.
async fn count_dead(chats: &mut [Chat]) -> usize {
    let mut dead = 0;
    for chat in chats {
        dead += usize::from(chat.say().await != Ok(Said::Echoed));
    }
    dead
}

/// A configuration whose two rules put its stamp on answers.
fn config(ports: &Ports, [blue, green]: [SocketAddr; 2], stamp: &str) -> String {
    let Ports { public, admin } = ports;
    format!(
        "\
listeners:
  - name: public
    address: '{public}'
    rules:
      - match: {{ path: /other }}
        service: shop
        response_headers: {{ set: {{ x-stamp: '{stamp}' }} }}
      - service: shop
        response_headers: {{ set: {{ x-stamp: '{stamp}' }} }}
target_groups:
  shop-a:
    targets: ['{blue}']
  shop-b:
    targets: ['{green}']
services:
  shop:
    target_groups: [shop-a, shop-b]
    tell_side: true
    strategy: patient
    balance: least_of_two
    panic: try_all
    rescue: true
    min_green: 5
    slow_start: 10s
    target_limit: 1000
    drain_timeout: 5m
    health_floor: {{ green: 50%, blue: 50% }}
    timeouts:
      connect: 2s
      read: 30s
      write: 40s
    outlier_ejection:
      consecutive_failures: 7
      interval: 10s
      max_ejected: 50%
    health_check:
      path: /healthz
      interval: 500ms
      timeout: 400ms
      healthy_after: 2
      unhealthy_after: 3
strategies:
  patient:
    steps:
      - weight: 50%
        bake: 1h
admin:
  address: '{admin}'
store:
  path: tidegate.db
"
    )
}

/// Changes one line, or the place of one, by chance; never one with a stamp.
fn mutate(good: &str, dice: &mut Dice) -> String {
    let mut lines: Vec<String> = good.lines().map(str::to_owned).collect();
    let mut pick = |count: usize| {
        let drawn = dice.of(0..u64::try_from(count).expect("few"));
        usize::try_from(drawn).expect("below the count")
    };
    let may: Vec<usize> = (0..lines.len()).filter(|n| !lines[*n].contains("x-stamp")).collect();
    let at = may[pick(may.len())];
    let line = lines[at].clone();
    let (key, value) = line.split_once(": ").unwrap_or((line.trim_end_matches(':'), ""));
    match pick(7) {
        0 => drop(lines.remove(at)),
        1 => lines.insert(at, line),
        2 => lines[at] = format!("{key}: {}", NONSENSE[pick(NONSENSE.len())]),
        3 => lines[at] = format!("{}{line}", [" ", "  ", "\t", "    "][pick(4)]),
        4 => lines[at] = line.strip_prefix("  ").unwrap_or("x").to_owned(),
        // A number that is another one; one of an address would be another target.
        5 if !line.contains('\'') => lines[at] = line.replacen(DIGITS, "4", 1),
        5 => lines[at] = format!("{line}{line}"),
        _ => lines[at] = format!("{key}s: {value}"),
    }
    lines.join("\n") + "\n"
}

/// Values that are of another type, out of all bounds, or no YAML.
const NONSENSE: [&str; 20] = [
    "",
    "~",
    "[]",
    "{}",
    "[[[[[[]]]]]]",
    "-1",
    "0",
    "99999999999999999999999999",
    "1e400",
    "0x7fffffffffffffff",
    "99999999999999999999d",
    "''",
    "\"\\u0000\"",
    "*nobody",
    "&anchor { a: *anchor }",
    "!!binary nonsense",
    "{ a: 1, a: 2 }",
    "[1, {",
    "maybe",
    "'unfinished",
];
const DIGITS: [char; 10] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'];
/// How every refusal begins; behind it stands the place.
const REFUSED: &str = "the configuration was not reloaded: ";
/// The keys that what is right by itself, and still refused, is about.
const KEYS: [&str; 7] = [
    "listeners[0].",
    "listeners[0]: ",
    "listeners: ",
    "target_groups.shop-",
    "services.shop.",
    "admin.",
    "store ",
];
/// The stamp of the configuration that is in force but for mutations.
const BASE: &str = "base";
/// How many wrong answers are shown.
const WRONG_KEPT: usize = 3;

#[test]
fn a_refusal_without_a_place_at_its_beginning_says_nothing_of_where() {
    let check = |detail: &str, expected: bool| {
        let problem = json!({
            "type": "about:blank", "title": "refused", "status": 422, "code": "reload_refused",
            "detail": detail,
        });
        let problem: Problem = serde_json::from_value(problem).expect("a problem");
        assert_eq!(says_where(&problem), expected, "{detail}");
    };
    check("the configuration was not reloaded: /tmp/a/tidegate.yaml:12: admin: unknown key", true);
    check("the configuration was not reloaded: admin.address changes only with a restart", true);
    check("the configuration was not reloaded: a service is in use", false);
    check("the configuration was not reloaded: /tmp/a/tidegate.yaml: is empty", false);
    check("another change of service shop is being saved", false);
}

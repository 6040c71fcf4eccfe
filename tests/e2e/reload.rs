//! SIGHUP: a changed configuration is taken without a request lost, and one with a mistake is named
//! in the log and changes nothing.

use std::net::SocketAddr;

use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::kit::{Api, Origin, PATIENCE, Ports, Tidegate, Visitors, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_configuration_is_taken_and_a_bad_one_is_named_and_changes_nothing() {
    let (a, b) = (Origin::start("shop-a").await, Origin::start("shop-b").await);
    let cart = Origin::start("cart-a").await;
    let tidegate = Tidegate::start(|ports| config(ports, &a, &b)).await;
    let api = tidegate.api();
    api.split("shop", "25%").await;
    let visitors = Visitors::start(tidegate.public(), 2);
    get(tidegate.public(), "/cart").await;
    assert_eq!(cart.requests(), 0, "the rule is not there yet");

    let more = with_cart(&config(&tidegate.ports(), &a, &b), &cart);
    tidegate.home().configure(&more);
    tidegate.signal(Signal::HUP);
    until("the new service is there", async || status(&api, "/v1/services/cart").await == 200)
        .await;
    let answer = get(tidegate.public(), "/cart").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(cart.requests(), 1);
    until("it is recorded", async || reloads(&api).await == 1).await;
    assert_eq!(counted(&api).await, [1, 0]);

    let before = State::of(&api).await;
    assert_eq!(before.green_bp, 2_500, "what happened at run time stays");
    let mistakes = [
        ("tell_side: true", "tell_sides: true", "services.shop.tell_sides: unknown key"),
        ("service: cart", "service: card", "listeners[0].rules[0].service: unknown service"),
        ("services:", "services: [", "tidegate.yaml:"),
        ("protocol: http", "protocol: h2c", "listeners[0].protocol changes only with a restart"),
        ("drain: 10s", "drain: 10", "shutdown.drain: "),
    ];
    for (number, (from, to, said)) in mistakes.into_iter().enumerate() {
        let bad = more.replacen(from, to, 1);
        assert_ne!(bad, more, "{from:?} is not in the configuration");
        tidegate.home().configure(&bad);
        tidegate.signal(Signal::HUP);
        until("it is refused", async || refusals(&tidegate).len() > number).await;
        let refusal = refusals(&tidegate).pop().expect("it was waited for");
        assert!(refusal.contains(said), "{said:?} is not in {refusal}");
        assert_eq!(State::of(&api).await, before, "{to}");
        assert_eq!(counted(&api).await, [1, number + 1], "{to}");
    }

    tidegate.home().configure(&config(&tidegate.ports(), &a, &b));
    tidegate.signal(Signal::HUP);
    until("the service is gone", async || status(&api, "/v1/services/cart").await == 404).await;
    assert_eq!(api.service("shop").await.weights.in_force.green_bp, 2_500);
    assert_eq!(counted(&api).await, [2, mistakes.len()]);
    visitors.stop().await.require_nothing_lost();
}

/// What a refused reload must leave as it was.
#[derive(Debug, PartialEq)]
struct State {
    generation: String,
    green_bp: u16,
    recorded: usize,
    cart: u16,
}

impl State {
    async fn of(api: &Api) -> Self {
        let metrics = api.ask("GET", "/metrics", None).await.expect("an answer").body;
        let generation = metrics.lines().find(|line| line.starts_with("tidegate_generation "));
        Self {
            generation: generation.expect("a generation").to_owned(),
            green_bp: api.service("shop").await.weights.in_force.green_bp,
            recorded: api.ledger(None).await.len(),
            cart: status(api, "/v1/services/cart").await,
        }
    }
}

/// What was said about each refused reload, with what follows it.
fn refusals(tidegate: &Tidegate) -> Vec<String> {
    let said = tidegate.home().said();
    said.split("not reloaded: nothing changed").skip(1).map(str::to_owned).collect()
}

/// How many reloads by a signal are recorded.
async fn reloads(api: &Api) -> usize {
    let entries = api.ledger(None).await;
    let reloads = entries.iter().filter(|entry| entry.kind == "config_reloaded");
    reloads.filter(|entry| entry.origin == "SIGHUP").count()
}

/// How many reloads the metrics say were applied, and how many refused.
async fn counted(api: &Api) -> [usize; 2] {
    let metrics = api.ask("GET", "/metrics", None).await.expect("an answer").body;
    ["applied", "refused"].map(|result| {
        let sample = format!("tidegate_reloads_total{{result=\"{result}\"}} ");
        let value = metrics.lines().find_map(|line| line.strip_prefix(&sample));
        value.expect("a sample").parse().expect("a count")
    })
}

async fn status(api: &Api, path: &str) -> u16 {
    api.ask("GET", path, None).await.expect("an answer").status
}

async fn get(address: SocketAddr, path: &str) -> String {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        answer
    };
    timeout(PATIENCE, exchange).await.expect("an answer in time")
}

/// The same with another service, which has a path of its own.
fn with_cart(config: &str, cart: &Origin) -> String {
    let services = format!(
        "  cart-a: {{ targets: ['{}'] }}\n  cart-b: {{ targets: [] }}\nservices:\n  \
         cart: {{ target_groups: [cart-a, cart-b] }}\n",
        cart.address()
    );
    let rules = "rules: [{ match: { path_prefix: /cart }, service: cart }, ";
    config.replace("services:\n", &services).replace("rules: [", rules)
}

fn config(ports: &Ports, a: &Origin, b: &Origin) -> String {
    let Ports { public, admin } = ports;
    let (a, b) = (a.address(), b.address());
    format!(
        "\
listeners:
  - {{ name: public, address: '{public}', protocol: http, rules: [{{ service: shop }}] }}
target_groups:
  shop-a: {{ targets: ['{a}'] }}
  shop-b: {{ targets: ['{b}'] }}
services:
  shop: {{ target_groups: [shop-a, shop-b], tell_side: true }}
admin: {{ address: '{admin}' }}
store: {{ path: tidegate.db }}
shutdown: {{ drain: 10s }}
"
    )
}

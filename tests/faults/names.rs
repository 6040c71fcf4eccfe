//! DNS that is slow, silent, or says that there is nothing: the last good addresses stay, and no
//! request waits for it. An answer that is another one is used in time.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::time::Instant;

use crate::kit::{Api, Ports, Tidegate, Turn, until};
use crate::rig::{Dns, Plan, Record, Row, Sample, Scene, Target, Traffic, get, sized};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_do_not_resolve_any_more_keep_their_last_addresses() {
    let _turn = Turn::wait().await;
    let mut row = Row::begin(
        "DNS silent, NXDOMAIN, empty, slow",
        "0 failed requests; the last good addresses stay and are used",
    );
    let dns = Dns::start().await;
    let (mut targets, mut written) = (Vec::new(), Vec::new());
    for name in NAMES {
        dns.set(name, &[LOOPBACK]);
        let target = Target::sound("blue").await;
        written.push(format!("{name}:{}", target.address().port()));
        targets.push(target);
    }
    let tidegate = Tidegate::start(|ports| named(ports, &written, &dns)).await;
    let traffic = Traffic::start(tidegate.public(), plan());
    all_get(&targets, 20).await;

    dns.set("gone.test", &[]);
    dns.set("empty.test", &[Record::Srv { priority: 0, port: 1, host: "gone.test" }]);
    dns.delay("slow.test", Duration::from_secs(3));
    dns.delay("mute.test", Duration::from_secs(3_600));
    until("no name resolves", async || all_said(&tidegate, "does not resolve")).await;
    let asked = dns.asked();
    until("they are asked for in vain", async || dns.asked() >= asked + sized(8, 24)).await;
    all_get(&targets, sized(50, 1_000)).await;
    let kept = resolved(&tidegate.api()).await;
    for name in NAMES {
        dns.set(name, &[LOOPBACK]);
        dns.delay(name, Duration::ZERO);
    }
    until("all names resolve again", async || all_said(&tidegate, "resolves again")).await;
    let samples = traffic.stop().await;

    let wanted = addresses(&targets);
    row.measure("addresses_kept", kept.len());
    row.require("the last addresses stay", kept == wanted);
    judge(&mut row, &samples);
    row.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_answer_is_used_in_time_and_costs_no_request() {
    let _turn = Turn::wait().await;
    let mut row = Row::begin(
        "DNS change",
        "0 failed requests; new addresses used within the time to live and 5 s, and old ones not \
         any more",
    );
    let dns = Dns::start().await;
    let here = [Target::sound("blue").await, Target::sound("blue").await];
    let port = here[0].address().port();
    let beside = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), port));
    let there = [Target::sound_at(beside, "blue").await, Target::sound("blue").await];
    dns.set("host.test", &[LOOPBACK]);
    point_at(&dns, &here);
    let written = [format!("moving.test:{port}"), format!("srv:{SERVICE}")];
    let tidegate = Tidegate::start(|ports| named(ports, &written, &dns)).await;
    let api = tidegate.api();
    let traffic = Traffic::start(tidegate.public(), plan());
    all_get(&here, 20).await;

    let (mut slowest, mut strayed) = (Duration::ZERO, 0);
    for round in 0..sized(1, 8) {
        let (old, new) = if round % 2 == 0 { (&here, &there) } else { (&there, &here) };
        point_at(&dns, new);
        let changed = Instant::now();
        all_get(new, 1).await;
        slowest = slowest.max(changed.elapsed());
        let wanted = addresses(new);
        until("the new addresses are shown", async || resolved(&api).await == wanted).await;
        // What was under way at the change ends.
        more_begin(&traffic, 100).await;
        let before: Vec<usize> = old.iter().map(|target| target.seen().count()).collect();
        more_begin(&traffic, 100).await;
        let after = old.iter().map(|target| target.seen().count());
        strayed += after.zip(before).map(|(after, before)| after - before).sum::<usize>();
    }
    let samples = traffic.stop().await;

    row.measure("slowest_ms", u64::try_from(slowest.as_millis()).unwrap_or(u64::MAX));
    row.measure("at_old_addresses", strayed);
    row.require("the new addresses are used in time", slowest <= IN_TIME);
    row.require("the old addresses are left", strayed == 0);
    judge(&mut row, &samples);
    row.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_without_dns_serves_what_it_knows_and_the_rest_as_soon_as_it_resolves() {
    let _turn = Turn::wait().await;
    let mut row = Row::begin(
        "DNS outage at a start",
        "it starts; 503 at once while nothing is known; used within 6 s of the first answer; a \
         restart in an outage serves the last addresses from its first request",
    );
    let dns = Dns::start().await;
    let blue = Target::sound("blue").await;
    dns.set("shop.test", &[LOOPBACK]);
    dns.silence(true);
    let written = [format!("shop.test:{}", blue.address().port())];
    let mut tidegate = Tidegate::spawn(|ports| named(ports, &written, &dns)).await;
    let asked = Instant::now();
    let answer = get(tidegate.public(), "/").await.expect("an answer");
    let took = asked.elapsed();
    let refused = (answer.status, answer.field("x-tidegate-error").map(str::to_owned));
    row.measure("status_without", answer.status);
    row.require("503 of its own", refused == (503, Some("no_target".to_owned())));
    let is_said = tidegate.home().said().contains("a name does not resolve");
    row.require("it is said that the name does not resolve", is_said);
    row.measure("answered_ms", u64::try_from(took.as_millis()).unwrap_or(u64::MAX));

    dns.silence(false);
    let spoke = Instant::now();
    let public = tidegate.public();
    let serves = async || get(public, "/").await.is_ok_and(|answer| answer.status == 200);
    until("the name is a target", serves).await;
    let used = spoke.elapsed();
    row.measure("used_ms", u64::try_from(used.as_millis()).unwrap_or(u64::MAX));
    row.require("it is used in time", used <= IN_TIME);

    dns.silence(true);
    tidegate.end().await;
    tidegate.restart().await;
    let first = get(tidegate.public(), "/").await.expect("an answer");
    row.measure("status_after_restart", first.status);
    row.require("a restart knows the last addresses", first.status == 200);
    row.end();
}

/// The configuration of a service whose blue has these targets, asked of this server.
fn named(ports: &Ports, targets: &[String], dns: &Dns) -> String {
    let plain = Scene::default().config(ports);
    let list = targets.iter().map(|target| format!("'{target}'")).collect::<Vec<_>>().join(", ");
    let blue = format!("shop-a: {{ targets: [{list}] }}");
    let config = plain.replace("shop-a: { targets: [] }", &blue);
    assert_ne!(config, plain, "the scene has another form");
    format!("{config}resolver: {{ nameservers: ['{}'], timeout: 300ms }}\n", dns.address())
}

fn plan() -> Plan {
    Plan { per_second: sized(300, 1_000), connections: 16, post_every: 5 }
}

/// Has the two names stand for these two targets.
fn point_at(dns: &Dns, [host, service]: &[Target; 2]) {
    let SocketAddr::V4(address) = host.address() else { panic!("a target on IPv6") };
    dns.set("moving.test", &[Record::A(address.ip().octets())]);
    let port = service.address().port();
    dns.set(SERVICE, &[Record::Srv { priority: 0, port, host: "host.test" }]);
}

/// Waits until each of these targets has had so many requests more.
async fn all_get(targets: &[Target], more: usize) {
    let before: Vec<usize> = targets.iter().map(|target| target.seen().count()).collect();
    until("every target has requests", async || {
        targets.iter().zip(&before).all(|(target, before)| target.seen().count() >= before + more)
    })
    .await;
}

/// Waits until so many requests more have begun.
async fn more_begin(traffic: &Traffic, more: u64) {
    let before = traffic.begun();
    until("there are more requests", async || traffic.begun() >= before + more).await;
}

/// Where these targets are, in order.
fn addresses(targets: &[Target]) -> Vec<String> {
    let mut addresses: Vec<String> = targets.iter().map(|t| t.address().to_string()).collect();
    addresses.sort();
    addresses
}

/// The addresses that blue's names stand for, in order.
async fn resolved(api: &Api) -> Vec<String> {
    let targets = api.service("shop").await.blue.targets;
    let mut addresses: Vec<String> = targets.into_iter().filter_map(|t| t.resolved).collect();
    addresses.sort();
    addresses
}

/// Whether the process has said something of each name.
fn all_said(tidegate: &Tidegate, what: &str) -> bool {
    let said = tidegate.home().said();
    NAMES.iter().all(|name| said.lines().any(|line| line.contains(what) && line.contains(name)))
}

fn judge(row: &mut Row, samples: &[Sample]) {
    let failed: Vec<&str> = samples.iter().filter_map(Sample::failure).collect();
    row.measure("requests", samples.len());
    row.measure("failed", failed.len());
    if let Some(why) = failed.first() {
        row.measure("failure", *why);
    }
    row.require("no request fails", failed.is_empty());
}

/// Each fails in its own way.
const NAMES: [&str; 4] = ["gone.test", "empty.test", "slow.test", "mute.test"];
const SERVICE: &str = "_http._tcp.moving.test";
const LOOPBACK: Record = Record::A([127, 0, 0, 1]);
/// The time to live of a record, and 5 s.
const IN_TIME: Duration = Duration::from_secs(6);

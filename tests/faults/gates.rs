//! Gates that mean harm, asked again and again under load: no request fails or waits for them, the
//! writer comes round, each call comes to an error of its kind, and the memory is given back.
//!
//! Beside every slice of it is one of a control run, in which as many rollouts ask a gate that
//! passes, and a thread as nice as those of gates does nothing but work; each is first in turn.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tidegate::core::model::Sha256;
use tidegate::core::rollout::StateName;
use tokio::time::{Instant, sleep, sleep_until};

use crate::guest::guest;
use crate::kit::{Api, Ports, Tidegate, Turn, until};
use crate::malice::Malice;
use crate::rig::{
    Busy, Contest, Plan, Row, Target, Traffic, metric, present_kib, read_request,
    require_given_back, sized, tell,
};

/// What a service's rollouts ask.
#[derive(Clone, Copy)]
enum Asks {
    Honest,
    Hostile,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_gates_hurt_no_request_and_leave_nothing_behind() {
    let _turn = Turn::wait().await;
    let mut row = Row::begin(
        "hostile gates",
        "1000 requests/s (reduced: 400), 200 calls of each hostile gate, 20 of those that a timeout \
         ends (reduced: a tenth): 0 failed; p99 within 1.2 times that beside a busy thread of the \
         same nice level, as the median over blocks of two rounds (reduced: twice, plus 50 ms); one \
         tick in 1000 later than 50 ms and none than 250 ms (reduced: one in 20, and a second); \
         memory back to within 10 MB; every call an error of its kind",
    );
    let (blue, green) = (Target::sound("blue").await, Target::sound("green").await);
    let silent = silent().await;
    let folder = TempDir::new().expect("a folder");
    let scene = scene(folder.path(), [blue.address(), green.address(), silent.address()]);
    let tidegate = Tidegate::start(|ports| config(ports, &scene)).await;
    let api = tidegate.api();
    api.split("shop", "50%").await;
    let plan = Plan { per_second: sized(400, 1_000), connections: 32, post_every: 5 };
    let traffic = Traffic::start(tidegate.public(), plan);
    let warm = u64::from(plan.per_second) * 2;
    until("the load is under way", async || traffic.begun() >= warm).await;

    let mut contest = Contest::default();
    let mut before_kib = 0;
    while contest.rounds() < sized(2, 14) || !have_enough(&api).await {
        let round = contest.rounds();
        if round >= MOST_ROUNDS {
            let counts = counts(&api).await;
            panic!("the gates are not asked as they should be: {counts}");
        }
        if round.is_multiple_of(2) {
            control(&api, &mut contest, round).await;
            if round == 0 {
                before_kib = present_kib(tidegate.id());
            }
            attack(&api, &mut contest, round).await;
        } else {
            attack(&api, &mut contest, round).await;
            control(&api, &mut contest, round).await;
        }
    }
    require_given_back(&mut row, tidegate.id(), before_kib).await;
    let samples = traffic.stop().await;
    contest.judge(&mut row, &samples);
    judge_errors(&mut row, &api).await;
    row.end();
}

/// A slice of the control run, with its rollouts.
async fn control(api: &Api, contest: &mut Contest, round: usize) {
    let honest = begin(api, Asks::Honest, round).await;
    let busy = Busy::start();
    contest.control(slice()).await;
    drop(busy);
    abort(api, &honest).await;
}

/// A slice of the attack, with its rollouts.
async fn attack(api: &Api, contest: &mut Contest, round: usize) {
    let hostile = begin(api, Asks::Hostile, round).await;
    contest.attack(api, sleep_until(Instant::now() + slice())).await;
    abort(api, &hostile).await;
}

/// A listener that takes requests and answers none.
async fn silent() -> Target {
    Target::start(|mut stream, seen| async move {
        let mut buffer = Vec::new();
        while let Some(request) = read_request(&mut stream, &mut buffer).await {
            seen.note(&request);
        }
    })
    .await
}

fn config(Ports { public, admin }: &Ports, scene: &str) -> String {
    format!(
        "\
listeners:
  - {{ name: public, address: '{public}', rules: [{{ service: shop }}] }}
admin: {{ address: '{admin}' }}
store: {{ path: tidegate.db }}
{scene}"
    )
}

/// The service that has the traffic, those whose rollouts ask gates, and the gates: a hostile one is
/// there once for each service, so that its calls follow each other.
fn scene(folder: &Path, [blue, green, silent]: [SocketAddr; 3]) -> String {
    let (mut groups, mut services, mut gates) = (String::new(), String::new(), String::new());
    let mut service = |name: &str, keys: &str| {
        let sides = format!("target_groups: [{name}-a, {name}-b]");
        writeln!(groups, "  {name}-a: {{ targets: ['{blue}'] }}").expect("text");
        writeln!(groups, "  {name}-b: {{ targets: ['{green}'] }}").expect("text");
        writeln!(services, "  {name}: {{ {sides}, tell_side: true{keys} }}").expect("text");
    };
    service("shop", "");
    let honest = component(folder, "honest", &guest("(i32.const 1024)"));
    writeln!(gates, "  honest: {{ {honest}, limits: {{ deadline: 2s }} }}").expect("text");
    for asker in 0..askers() {
        let asks = "strategy: patient, gates: [{ gate: honest, at: [during-step], every: 1s }]";
        service(&Asks::Honest.service(asker), &format!(", {asks}"));
        // An error that holds is asked about again after ten seconds only.
        let asked = "at: [during-step], every: 1s, on_error: ignore";
        let one = |malice: &Malice| format!("{{ gate: {}-{asker}, {asked} }}", malice.name());
        let asks = Malice::ALL.iter().map(one).collect::<Vec<_>>().join(", ");
        service(&Asks::Hostile.service(asker), &format!(", strategy: patient, gates: [{asks}]"));
    }
    for malice in Malice::ALL {
        let bytes = malice.component(&format!("http://{silent}/"));
        let component = component(folder, malice.name(), &bytes);
        let keys = match malice {
            // Long enough that one of them runs at any time: beside a thread of gates that rests,
            // the system would slow the processor's awakening, not a gate.
            Malice::EndlessLoop => format!("limits: {{ deadline: {}ms }}", sized(400, 3_000)),
            Malice::SlowHostCall => format!(
                "limits: {{ deadline: 300ms }}, grants: {{ http: [{{ host: '{silent}' }}] }}"
            ),
            Malice::MemoryBomb
            | Malice::DeepRecursion
            | Malice::Trap
            | Malice::HugeAnswer
            | Malice::LogFlood
            | Malice::TableGrowth
            | Malice::StateFlood => "limits: { deadline: 2s }".to_owned(),
        };
        for asker in 0..askers() {
            let name = malice.name();
            writeln!(gates, "  {name}-{asker}: {{ {component}, {keys} }}").expect("text");
        }
    }
    format!(
        "\
target_groups:
{groups}services:
{services}strategies:
  patient: {{ steps: [{{ weight: 50%, bake: 1h }}] }}
gates:
{gates}"
    )
}

/// Leaves a component in the folder; gives the keys of a gate that has it.
fn component(folder: &Path, name: &str, bytes: &[u8]) -> String {
    let path = folder.join(format!("{name}.wasm"));
    std::fs::write(&path, bytes).expect("written");
    format!("component: '{}', sha256: {}", path.display(), Sha256::of(bytes))
}

impl Asks {
    /// The service with this number.
    fn service(self, asker: usize) -> String {
        match self {
            Self::Honest => format!("honest-{asker}"),
            Self::Hostile => format!("hostile-{asker}"),
        }
    }
}

/// A rollout, and its service.
struct Begun {
    service: String,
    id: String,
}

/// Starts a rollout of each service, and waits until all of them ask. In the full form they come one
/// after the other, so that their endless loops do not all pause at once.
async fn begin(api: &Api, asks: Asks, round: usize) -> Vec<Begun> {
    let mut all = Vec::new();
    for asker in 0..askers() {
        if asker > 0 {
            sleep(sized(Duration::ZERO, APART)).await;
        }
        let name = asks.service(asker);
        let service = api.service(&name).await;
        let rollout = api.roll_out(&service, &format!("v{round}")).await.expect("it starts");
        all.push(Begun { service: name, id: rollout.id.to_string() });
    }
    for Begun { id, .. } in &all {
        until("it shifts", async || api.rollout(id).await.state == StateName::Shifting).await;
    }
    all
}

/// Ends them.
async fn abort(api: &Api, all: &[Begun]) {
    for Begun { id, .. } in all {
        tell(api, id, "abort").await;
    }
    for Begun { service, .. } in all {
        until("it is over", async || api.service(service).await.active_rollout.is_none()).await;
    }
}

/// How many calls of a gate came to an error of its kind.
async fn errors(api: &Api, malice: Malice) -> u64 {
    let gate = format!("gate=\"{}-", malice.name());
    let kind = format!("kind=\"{}\"", malice.error());
    metric(api, "tidegate_gate_errors_total", &[gate.as_str(), kind.as_str()]).await
}

/// How many are wanted.
fn wanted(malice: Malice) -> u64 {
    if malice.error() == "deadline" { sized(2, 20) } else { sized(20, 200) }
}

async fn have_enough(api: &Api) -> bool {
    for malice in Malice::ALL {
        if errors(api, malice).await < wanted(malice) {
            return false;
        }
    }
    true
}

/// What was counted, for whoever looks at a test that failed.
async fn counts(api: &Api) -> String {
    let reply = api.ask("GET", "/metrics", None).await.expect("an answer");
    let lines = reply.body.lines().filter(|line| line.starts_with("tidegate_gate_errors_total"));
    lines.collect::<Vec<_>>().join("\n")
}

async fn judge_errors(row: &mut Row, api: &Api) {
    let mut right = 0;
    for malice in Malice::ALL {
        let errors = errors(api, malice).await;
        row.measure(malice.name(), errors);
        row.require(&format!("enough of {}", malice.name()), errors >= wanted(malice));
        right += errors;
    }
    let all = metric(api, "tidegate_gate_errors_total", &[]).await;
    // Of rollouts that end in the middle of a call the fifth may fail as well; what follows is no
    // call, but the host's own doing.
    let spared = metric(api, "tidegate_gate_errors_total", &["kind=\"circuit_open\""]).await;
    let other = all.saturating_sub(right + spared);
    row.measure("spared_by_an_open_circuit", spared);
    row.measure("errors_of_another_kind", other);
    if other > 0 {
        row.measure("errors", counts(api).await);
    }
    row.require("each error is of its kind", other == 0);
}

/// How many services ask hostile gates. One call of each gate of each is under way at most, which is
/// less than what may wait. A rollout that has ended is kept, with all that its gates were, so the
/// full form, in which there are many, has fewer of them at a time.
fn askers() -> usize {
    sized(6, 3)
}

fn slice() -> Duration {
    Duration::from_millis(sized(2_500, 10_000))
}

/// A third of the time from one endless loop of a service to the next, which is its deadline and the
/// second until it is asked again.
const APART: Duration = Duration::from_millis(1_333);
/// After so many slices there should have been all the calls.
const MOST_ROUNDS: usize = 60;

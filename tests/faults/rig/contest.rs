//! An attack and a control run, slice by slice: a round has one of each, and the next round has them
//! the other way round. Whatever else the machine does meets both of them, and what grows or
//! shrinks meanwhile does as well, since two rounds make one block, control, attack, attack, control.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{Row, Sample, p99_us, sized};
use crate::kit::Api;

/// A time in the load, from its beginning to its end.
type Window = (Instant, Instant);

/// The slices so far.
#[derive(Debug, Default)]
pub(crate) struct Contest {
    control: Vec<Window>,
    attack: Vec<Window>,
    ticks: Ticks,
}

/// How often the writer came round, and how late.
#[derive(Clone, Copy, Debug, Default)]
struct Ticks {
    all: u64,
    /// Later than 50 ms.
    late: u64,
    /// Later than 250 ms.
    very_late: u64,
    /// Later than a second.
    gone: u64,
}

impl Contest {
    /// A slice of the control run, which lasts so long.
    pub(crate) async fn control(&mut self, length: Duration) {
        let began = Instant::now();
        sleep_until(began + length).await;
        self.control.push((began, Instant::now()));
    }

    /// A slice of the attack, which lasts as long as this does; gives how long that was.
    pub(crate) async fn attack(&mut self, api: &Api, attack: impl Future<Output = ()>) -> Duration {
        let before = Ticks::read(api).await;
        let began = Instant::now();
        attack.await;
        self.attack.push((began, Instant::now()));
        self.ticks.add(Ticks::read(api).await, before);
        began.elapsed()
    }

    /// How many rounds there were.
    pub(crate) fn rounds(&self) -> usize {
        self.attack.len().min(self.control.len())
    }

    /// Requires that no request failed, that they were as fast as in the control run, and that the
    /// writer came round.
    pub(crate) fn judge(&self, row: &mut Row, samples: &[Sample]) {
        let failed: Vec<&Sample> = samples.iter().filter(|s| s.failure().is_some()).collect();
        row.measure("requests", samples.len());
        row.measure("failed", failed.len());
        if let Some(why) = failed.iter().find_map(|sample| sample.failure()) {
            row.measure("failure", why);
        }
        row.require("no request fails", failed.is_empty() && !samples.is_empty());
        self.judge_latency(row, samples);
        self.judge_ticks(row);
    }

    fn judge_latency(&self, row: &mut Row, samples: &[Sample]) {
        let blocks = |slices: &[Window]| -> Vec<u64> {
            slices.chunks(2).map(|block| p99_within(samples, block)).collect()
        };
        let ratio = |attack: u64, control: u64| attack * 1_000 / control;
        let (control, attack) = (blocks(&self.control), blocks(&self.attack));
        let pairs = attack.iter().zip(&control);
        let ratios: Vec<u64> = pairs.map(|(attack, control)| ratio(*attack, *control)).collect();
        let all = [&self.attack, &self.control].map(|slices| p99_within(samples, slices));
        row.measure("ratio_thousandths_of_all", ratio(all[0], all[1]));
        row.measure("least_ratio_thousandths", ratios.iter().min().copied());
        row.measure("largest_ratio_thousandths", ratios.iter().max().copied());
        let ratio = median(ratios);
        let (control_us, attack_us) = (median(control), median(attack));
        row.measure("slices", self.attack.len());
        row.measure("p99_us_beside_a_busy_thread", control_us);
        row.measure("p99_us_under_attack", attack_us);
        row.measure("ratio_thousandths", ratio);
        let holds = sized(attack_us <= 2 * control_us + SLACK_US, ratio <= FULL_RATIO);
        row.require("requests are as fast as beside a busy thread", holds);
    }

    fn judge_ticks(&self, row: &mut Row) {
        let Ticks { all, late, very_late, gone } = self.ticks;
        row.measure("ticks", all);
        row.measure("ticks_later_than_50_ms", late);
        row.measure("ticks_later_than_250_ms", very_late);
        row.measure("ticks_later_than_1_s", gone);
        row.require("the writer comes round", all > 0);
        row.require("hardly a tick is later than 50 ms", late <= all / sized(20, 1_000));
        row.require("no tick is much later", sized(gone, very_late) == 0);
    }
}

impl Ticks {
    /// As of one look: what is counted between two would be nobody's.
    async fn read(api: &Api) -> Self {
        let reply = api.ask("GET", "/metrics", None).await.expect("an answer");
        let value = |sample: &str| {
            let name = format!("tidegate_writer_tick_lateness_seconds_{sample} ");
            let found = reply.body.lines().find_map(|line| line.strip_prefix(&name));
            let value = found.and_then(|value| value.parse::<u64>().ok());
            value.unwrap_or_else(|| panic!("no {name}in {}", reply.body))
        };
        let all = value("count");
        let later = |bound: &str| all - value(&format!("bucket{{le=\"{bound}\"}}"));
        Self { all, late: later("0.05"), very_late: later("0.25"), gone: later("1") }
    }

    fn add(&mut self, after: Self, before: Self) {
        self.all += after.all.saturating_sub(before.all);
        self.late += after.late.saturating_sub(before.late);
        self.very_late += after.very_late.saturating_sub(before.very_late);
        self.gone += after.gone.saturating_sub(before.gone);
    }
}

/// The 99th of a hundred latencies of requests that began in one of these slices.
fn p99_within(samples: &[Sample], slices: &[Window]) -> u64 {
    let within = |sample: &&Sample| {
        slices.iter().any(|(from, to)| *from <= sample.began && sample.began < *to)
    };
    let p99 = p99_us(samples.iter().filter(within)).expect("requests in each slice");
    u64::try_from(p99).expect("a short time")
}

fn median(mut all: Vec<u64>) -> u64 {
    all.sort_unstable();
    all.get(all.len() / 2).copied().expect("there were slices")
}

/// 1.2 times as long.
const FULL_RATIO: u64 = 1_200;
/// How much later a hundredth may be because the machine is busy, in the reduced form.
const SLACK_US: u64 = 50_000;

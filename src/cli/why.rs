//! `rollout explain`: what speaks for and against a rollout, in plain words with the numbers.

use super::screen::plain;
use super::style;
use crate::admin::json::{Analysis, BurnRates, MetricEvidence, Rollout};
use crate::core::model::Span;
use crate::core::rollout::StateName;

/// The comparison in a few words, for a line about its rollout.
pub(super) fn short(analysis: &Analysis) -> String {
    match (analysis.comparison.as_str(), analysis.missing) {
        ("fail", _) => format!("worse than blue, p {}", small(analysis.p_value)),
        ("pass", _) => "certified".to_owned(),
        ("insufficient", Some(missing)) => format!("comparing, {missing} requests missing"),
        (word, _) => format!("comparison {}", plain(word)),
    }
}

/// Everything, one thought on a line.
pub(super) fn render(rollout: &Rollout) -> String {
    let mut said = vec![format!(
        "{} of service {} is {}, green {}",
        rollout.id,
        rollout.service,
        style::state(rollout.state),
        rollout.weight
    )];
    if let Some(cause) = &rollout.cause {
        let what = match rollout.state {
            StateName::RolledBack => "It was rolled back",
            StateName::Stopped | StateName::Failed => "It ended",
            StateName::Created
            | StateName::Installing
            | StateName::Testing
            | StateName::Ready
            | StateName::Shifting
            | StateName::Baking
            | StateName::Succeeded => "Against it stands",
        };
        said.push(format!("{what}: {}.", plain(cause)));
    }
    said.extend(rollout.holds.iter().map(|hold| format!("It waits: {}.", plain(&hold.text))));
    match &rollout.analysis {
        Some(analysis) => tell(analysis, &mut said),
        None => said.push("Green was not compared with blue: nothing is known of that.".to_owned()),
    }
    said.push(requests(rollout));
    said.join("\n")
}

fn tell(analysis: &Analysis, said: &mut Vec<String>) {
    said.push(format!(
        "The comparison says {}: {}.",
        plain(&analysis.comparison),
        plain(&analysis.text)
    ));
    for metric in analysis.metrics.iter().filter(|metric| metric.green + metric.blue > 0) {
        said.push(format!("  {}", of_metric(metric)));
    }
    let (evidence, needed) = (large(analysis.evidence), large(analysis.evidence_needed));
    said.push(format!(
        "The evidence against green reached {evidence}; {needed} takes the traffic back. A green \
         within the margins shows as much with a probability of at most {}, however long and \
         often one looks.",
        small(analysis.p_value)
    ));
    if let Some(ratio) = analysis.at_least {
        said.push(format!("Green fails at least {ratio} times as often as blue."));
    }
    if let Some(missing) = analysis.missing {
        said.push(format!("A certificate takes about {missing} more green requests."));
    }
    if analysis.attempt > 1 {
        said.push(format!(
            "It is rollout {} of this revision: each further one has to show more.",
            analysis.attempt
        ));
    }
    if analysis.one_target {
        said.push(
            "All of it comes from one target of green; that one is to be looked at.".to_owned(),
        );
    }
    said.extend(analysis.ejected.iter().map(|ejected| {
        format!("Ejected, because all the evidence against green rested on it: {}.", plain(ejected))
    }));
    said.extend(analysis.resting.iter().map(|what| format!("Not compared: {}.", plain(what))));
    if let Some(slo) = &analysis.slo {
        let judged = match (analysis.green_breaks_slo, analysis.blue_breaks_slo) {
            (false, false) => "neither side was found to break it",
            (true, false) => "green breaks it",
            (false, true) => "blue breaks it",
            (true, true) => "both sides break it, as when something fails that they share",
        };
        said.push(format!("Of the objective of {}: {judged}.", plain(slo)));
        said.extend(analysis.burn_rates.iter().filter_map(burned).map(|line| format!("  {line}")));
    }
    if analysis.green_late_failures + analysis.blue_late_failures > 0 {
        said.push(format!(
            "{} green and {} blue answers failed after their headers; they are not compared.",
            analysis.green_late_failures, analysis.blue_late_failures
        ));
    }
}

/// How fast a side uses up what the objective permits; `None` where it had no requests.
fn burned(burn: &BurnRates) -> Option<String> {
    let windows = [
        ("5m", burn.over_5m),
        ("30m", burn.over_30m),
        ("1h", burn.over_1h),
        ("6h", burn.over_6h),
        ("3d", burn.over_3d),
    ];
    let rates = windows
        .iter()
        .filter_map(|(window, rate)| rate.map(|rate| format!("{} over {window}", large(rate))));
    let rates: Vec<String> = rates.collect();
    let says = match burn.says.as_str() {
        "page" => "that pages",
        "ticket" => "that is a ticket",
        "insufficient" => "with too few failures to mean it",
        _ => "that is within it",
    };
    let (side, rates) = (plain(&burn.side), (!rates.is_empty()).then(|| rates.join(", "))?);
    Some(format!("{side} fails {rates} times as often as permitted: {says}"))
}

fn of_metric(metric: &MetricEvidence) -> String {
    let word = match metric.green_slow_us.zip(metric.blue_slow_us) {
        Some((green, blue)) => {
            format!("slow (above {} on green, {} on blue)", ms(green), ms(blue))
        }
        None => "bad".to_owned(),
    };
    format!(
        "{}: {} of {} green requests {word}, {} of {} blue ones; {:.0}% of the evidence",
        plain(&metric.metric),
        metric.green_bad,
        metric.green,
        metric.blue_bad,
        metric.blue,
        metric.share * 100.0
    )
}

fn requests(rollout: &Rollout) -> String {
    let Rollout { green_requests, green_failed, rescued, leaked, sent_after_verdict, .. } = rollout;
    let mut said = format!(
        "Green was given {green_requests} requests: {green_failed} failed there, {rescued} of them \
         were answered by a second attempt, {leaked} were seen by a user; {sent_after_verdict} \
         were sent after the verdict."
    );
    if rollout.in_flight > 0 {
        said.push_str(&format!(" {} are not over yet.", rollout.in_flight));
    }
    if rollout.outcomes_missing > 0 {
        let missing = rollout.outcomes_missing;
        said.push_str(&format!(" Of {missing} it is not known what they came to."));
    }
    said
}

fn ms(us: u64) -> Span {
    Span::from_ms(us.div_ceil(1_000))
}

/// A probability with as many digits as count.
fn small(number: f64) -> String {
    if number >= 0.01 { format!("{number:.2}") } else { format!("{number:.1e}") }
}

fn large(number: f64) -> String {
    if number < 100_000.0 { format!("{number:.1}") } else { format!("{number:.1e}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fake::rollout;

    fn failing() -> Analysis {
        let errors = MetricEvidence {
            metric: "errors".to_owned(),
            share: 0.875,
            green: 5,
            green_bad: 5,
            blue: 45,
            blue_bad: 0,
            green_slow_us: None,
            blue_slow_us: None,
        };
        let slow = MetricEvidence {
            metric: "lat_p50".to_owned(),
            share: 0.125,
            green_slow_us: Some(57_000),
            blue_slow_us: Some(50_000),
            ..errors
        };
        Analysis {
            comparison: "fail".to_owned(),
            text: "errors: 5 of 5 green requests bad, 0 of 45 blue ones".to_owned(),
            p_value: 0.000_4,
            evidence: 2_500.0,
            evidence_needed: 1_644.9,
            attempt: 2,
            at_least: Some(3.0),
            missing: None,
            metrics: vec![errors, slow],
            cohort: Some(7),
            epoch: Some(0),
            slo: Some("99.9%".to_owned()),
            green_breaks_slo: true,
            blue_breaks_slo: false,
            green_late_failures: 0,
            blue_late_failures: 0,
            freezes: Vec::new(),
            one_target: false,
            ejected: Vec::new(),
            resting: Vec::new(),
            burn_rates: Vec::new(),
        }
    }

    #[test]
    fn a_rollback_is_explained_with_its_numbers() {
        let mut rolled_back = rollout();
        rolled_back.state = StateName::RolledBack;
        rolled_back.holds.clear();
        rolled_back.cause = Some("green is worse than blue: errors".to_owned());
        rolled_back.analysis = Some(failing());
        let said = render(&rolled_back);
        for part in [
            "It was rolled back: green is worse than blue: errors.",
            "The comparison says fail: errors: 5 of 5 green requests bad, 0 of 45 blue ones.",
            "  errors: 5 of 5 green requests bad, 0 of 45 blue ones; 88% of the evidence",
            "  lat_p50: 5 of 5 green requests slow (above 57ms on green, 50ms on blue)",
            "reached 2500.0; 1644.9 takes the traffic back.",
            "a probability of at most 4.0e-4",
            "Green fails at least 3 times as often as blue.",
            "It is rollout 2 of this revision",
            "Of the objective of 99.9%: green breaks it.",
        ] {
            assert!(said.contains(part), "{part}\n{said}");
        }
    }

    #[test]
    fn burn_rates_are_told_where_there_were_requests() {
        let mut rollout = rollout();
        let of = |side: &str, says: &str, over_5m, over_1h| BurnRates {
            side: side.to_owned(),
            says: says.to_owned(),
            over_5m,
            over_30m: None,
            over_1h,
            over_6h: None,
            over_3d: None,
        };
        let burn_rates =
            vec![of("green", "page", Some(20.0), Some(15.5)), of("blue", "within", None, None)];
        rollout.analysis = Some(Analysis { burn_rates, ..failing() });
        let said = render(&rollout);
        let line = "green fails 20.0 over 5m, 15.5 over 1h times as often as permitted: that pages";
        assert!(said.contains(line), "{said}");
        assert!(!said.contains("blue fails"), "{said}");
    }

    #[test]
    fn a_target_that_was_ejected_for_the_evidence_is_named() {
        let mut rollout = rollout();
        let ejected = vec!["127.0.0.1:9004 for 30s, at evidence 1890.2".to_owned()];
        let resting = vec!["latencies, while a target of green warms up".to_owned()];
        rollout.analysis = Some(Analysis { ejected, resting, ..failing() });
        let said = render(&rollout);
        assert!(said.contains("rested on it: 127.0.0.1:9004 for 30s, at evidence"), "{said}");
        assert!(said.contains("Not compared: latencies, while a target"), "{said}");
    }

    #[test]
    fn a_rollout_that_is_not_compared_says_so() {
        let said = render(&rollout());
        assert!(said.contains("Green was not compared with blue"), "{said}");
        assert!(said.contains("It waits: 312 more green requests."), "{said}");
    }

    #[test]
    fn the_short_form_is_a_few_words() {
        assert_eq!(short(&failing()), "worse than blue, p 4.0e-4");
        let of = |word: &str, missing| {
            short(&Analysis { comparison: word.to_owned(), missing, ..failing() })
        };
        assert_eq!(of("insufficient", Some(312)), "comparing, 312 requests missing");
        assert_eq!(of("insufficient", None), "comparison insufficient");
        assert_eq!(of("pass", None), "certified");
        assert_eq!(of("none", None), "comparison none");
    }
}

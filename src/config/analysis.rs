//! `analysis` and `slo`: how the rollouts of a service are compared and judged.

use saphyr::{Scalar, YamlData};

use super::fields::Fields;
use super::node::Node;
use crate::core::analysis::comparison::{
    CertificateMargins, Margins, MarginsError, Metric, Preset,
};
use crate::core::model::{
    AnalysisSpec, MarginPreset, MarginSpec, Objective, SharedDegradation, Span, Weight,
};

/// Takes both keys out of a service's; an analysis of `None` compares nothing.
pub(super) fn analysis(fields: &mut Fields<'_>) -> (Option<AnalysisSpec>, Option<Objective>) {
    let node = fields.take("analysis");
    let analysis = node.as_ref().map_or_else(|| Some(AnalysisSpec::default()), section);
    let slo = fields.take("slo");
    if let Some(slo) = slo.as_ref().filter(|_| analysis.is_none()) {
        slo.mistake_with_fix(
            "`analysis` is off, and it is what judges the objective",
            "leave `analysis` out, or this",
        );
    }
    (analysis, slo.and_then(|node| node.parsed()))
}

/// Reads the section; `None` if it is the word `off`.
fn section(node: &Node<'_>) -> Option<AnalysisSpec> {
    let default = AnalysisSpec::default();
    if !node.yaml().data.is_mapping() {
        // Whatever else stands here is a mistake and recorded as one.
        return node.word(&OFF).map_or(Some(default), |()| None);
    }
    let mut fields = node.fields();
    let preset = fields.take("preset").and_then(|node| node.word(&PRESETS)).unwrap_or_default();
    let margins = fields.take("margins").map(|node| margins(&node, preset));
    let certificate = fields.take("certificate").map(|node| certificate(&node));
    let alpha = fields.take("alpha").and_then(|node| level(&node, MOST_ALPHA));
    let beta = fields.take("beta").and_then(|node| level(&node, MOST_BETA));
    let guard = fields.take("cluster_guard").and_then(|node| short_span(&node, MOST_GUARD));
    let leave_one_out = fields.take("leave_one_out").map(|node| leave_one_out(&node));
    let tolerance = fields.take("latency_tolerance").map(|node| tolerance(&node));
    let shared = fields.take("on_shared_degradation").and_then(|node| node.word(&SHARED));
    fields.finish();
    let (relative, absolute) = tolerance.unwrap_or_default();
    Some(AnalysisSpec {
        preset,
        margins: margins.unwrap_or(default.margins),
        certificate: certificate.unwrap_or(default.certificate),
        alpha: alpha.unwrap_or(default.alpha),
        beta: beta.unwrap_or(default.beta),
        cluster_guard: guard.unwrap_or(default.cluster_guard),
        leave_one_out: leave_one_out.unwrap_or(default.leave_one_out),
        latency_relative_bp: relative.map_or(default.latency_relative_bp, |w| u32::from(w.bp())),
        latency_absolute: absolute.unwrap_or(default.latency_absolute),
        on_shared_degradation: shared.unwrap_or_default(),
    })
}

/// Own margins of the metrics, those of each checked with what the preset gives the rest of it.
fn margins(node: &Node<'_>, preset: MarginPreset) -> [MarginSpec; 5] {
    let usual = match preset {
        MarginPreset::Strict => Preset::Strict,
        MarginPreset::Default => Preset::Default,
        MarginPreset::Lenient => Preset::Lenient,
    };
    let usual = usual.table();
    let mut fields = node.fields();
    let read = Metric::ALL.map(|metric| {
        let usual = usual.of(metric);
        let check = |own: &MarginSpec| {
            let ratio = own.ratio_milli.map_or(usual.rho0(), ratio);
            let delta = own.delta.map_or(usual.delta(), Weight::share);
            let margins = Margins::new(ratio, delta, usual.centre())?;
            let found = margins.theta();
            if found < 1.0 { Ok(()) } else { Err(MarginsError::Vacuous { found }) }
        };
        fields.take(metric.as_str()).map(|node| margin(&node, check)).unwrap_or_default()
    });
    fields.finish();
    read
}

/// What a certificate needs, in errors and client errors.
fn certificate(node: &Node<'_>) -> [MarginSpec; 2] {
    let mut fields = node.fields();
    let read = [Metric::Errors, Metric::Client4xx].map(|metric| {
        let usual = CertificateMargins::usual(metric);
        let check = |own: &MarginSpec| {
            let ratio = own.ratio_milli.map_or(usual.rho1(), ratio);
            // Both have the centre 0, so that theta is delta.
            let delta = own.delta.map_or(usual.theta(), Weight::share);
            CertificateMargins::new(ratio, delta, usual.centre()).map(|_| ())
        };
        fields.take(metric.as_str()).map(|node| margin(&node, check)).unwrap_or_default()
    });
    fields.finish();
    read
}

fn margin(node: &Node<'_>, check: impl Fn(&MarginSpec) -> Result<(), MarginsError>) -> MarginSpec {
    let mut fields = node.fields();
    let ratio_node = fields.take("ratio");
    let ratio_milli = ratio_node.as_ref().and_then(ratio_milli);
    let delta = fields.take("delta").and_then(|node| node.quantity::<Weight>());
    fields.finish();
    let own = MarginSpec { ratio_milli, delta };
    match check(&own) {
        Ok(()) => own,
        Err(error) => {
            let ratio = ratio_node.filter(|_| matches!(error, MarginsError::Ratio { .. }));
            ratio.as_ref().unwrap_or(node).mistake(error.to_string());
            MarginSpec::default()
        }
    }
}

fn ratio_milli(node: &Node<'_>) -> Option<u32> {
    let found = node.number()?;
    if found > MOST_RATIO {
        node.mistake(format!("ratio {found} is above {MOST_RATIO}"));
        return None;
    }
    // Between 0 and a million.
    Some((found * 1_000.0).round() as u32)
}

/// A level of error: a share above zero, not larger than this.
fn level(node: &Node<'_>, most: u16) -> Option<Weight> {
    let found = node.quantity::<Weight>()?;
    if (1..=most).contains(&found.bp()) {
        return Some(found);
    }
    let most = Weight::from_bp(most).expect("the largest levels are below the whole");
    node.mistake(format!("{found} is no level of error: at least 0.01% and at most {most}"));
    None
}

fn short_span(node: &Node<'_>, longest: Span) -> Option<Span> {
    let span = node.quantity::<Span>()?;
    if span > longest {
        node.mistake(format!("{span} is too long: at most {longest}"));
        return None;
    }
    Some(span)
}

/// From how many targets on; `None` is the word `off`.
fn leave_one_out(node: &Node<'_>) -> Option<u32> {
    if matches!(node.yaml().data, YamlData::Value(Scalar::Integer(_))) {
        return node.count(2..=MOST_TARGETS).or(AnalysisSpec::default().leave_one_out);
    }
    node.word(&OFF).map_or(AnalysisSpec::default().leave_one_out, |()| None)
}

fn tolerance(node: &Node<'_>) -> (Option<Weight>, Option<Span>) {
    let mut fields = node.fields();
    let relative = fields.take("relative").and_then(|node| node.quantity::<Weight>());
    let absolute = fields.take("absolute").and_then(|node| short_span(&node, MOST_TOLERANCE));
    fields.finish();
    (relative, absolute)
}

fn ratio(milli: u32) -> f64 {
    f64::from(milli) / 1_000.0
}

const OFF: [(&str, ()); 1] = [("off", ())];
const PRESETS: [(&str, MarginPreset); 3] = [
    ("strict", MarginPreset::Strict),
    ("default", MarginPreset::Default),
    ("lenient", MarginPreset::Lenient),
];
const SHARED: [(&str, SharedDegradation); 2] =
    [("hold", SharedDegradation::Hold), ("rollback", SharedDegradation::Rollback)];

/// One false rollback in 20 is the most that can be wanted.
const MOST_ALPHA: u16 = 500;
/// One wrong certificate in 5 likewise.
const MOST_BETA: u16 = 2_000;
/// A green that fails a thousand times as often as blue is not tolerated by anybody.
const MOST_RATIO: f64 = 1_000.0;
/// Longer than this, failures have a cause of their own.
const MOST_GUARD: Span = Span::from_mins(1);
/// The longest latency that a target may add.
const MOST_TOLERANCE: Span = Span::from_mins(1);
/// More targets are never asked for.
const MOST_TARGETS: u32 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{parse, refuses, with_service};
    use crate::core::model::ServiceSpec;

    fn read(keys: &str) -> ServiceSpec {
        parse(&with_service(keys)).unwrap().services.into_values().next().unwrap()
    }

    #[test]
    fn rollouts_are_compared_unless_that_is_switched_off() {
        assert_eq!(read("tell_side: true").analysis, Some(AnalysisSpec::default()));
        assert_eq!(read("analysis: {}").analysis, Some(AnalysisSpec::default()));
        assert_eq!(read("analysis: off").analysis, None);
        assert_eq!(read("slo: 99.9%").slo, "99.9%".parse().ok());
        let keys = "analysis: { preset: strict, alpha: 1%, beta: 10%, cluster_guard: 0s, \
                    leave_one_out: off, latency_tolerance: { relative: 20%, absolute: 5ms }, \
                    margins: { errors: { ratio: 1.25, delta: 0.1% } }, \
                    certificate: { errors: { delta: 2% } }, on_shared_degradation: rollback }";
        let found = read(keys).analysis.unwrap();
        let default = AnalysisSpec::default();
        let errors = MarginSpec { ratio_milli: Some(1_250), delta: Weight::from_bp(10).ok() };
        let expected = AnalysisSpec {
            preset: MarginPreset::Strict,
            alpha: Weight::from_bp(100).unwrap(),
            beta: Weight::from_bp(1_000).unwrap(),
            cluster_guard: Span::ZERO,
            leave_one_out: None,
            latency_relative_bp: 2_000,
            latency_absolute: Span::from_ms(5),
            margins: [
                errors,
                default.margins[1],
                default.margins[2],
                default.margins[3],
                default.margins[4],
            ],
            certificate: [
                MarginSpec { ratio_milli: None, delta: Weight::from_bp(200).ok() },
                MarginSpec::default(),
            ],
            on_shared_degradation: SharedDegradation::Rollback,
        };
        assert_eq!(found, expected);
        assert_eq!(read("analysis: { leave_one_out: 5 }").analysis.unwrap().leave_one_out, Some(5));
    }

    #[test]
    fn what_cannot_be_compared_by_is_refused() {
        let check = |keys: &str, expected: &str| {
            refuses(&with_service(keys), &format!("services.shop.{expected}"));
        };
        check("analysis: no", "analysis: found \"no\", wanted one of off");
        check("analysis: { presets: strict }", "analysis.presets: unknown key; did you mean");
        check("analysis: { alpha: 6% }", "analysis.alpha: 6% is no level of error: at least 0.01%");
        check("analysis: { beta: 0% }", "analysis.beta: 0% is no level of error");
        check(
            "analysis: { margins: { errors: { ratio: 0 } } }",
            "analysis.margins.errors.ratio: ratio 0 is not above 0",
        );
        check(
            "analysis: { margins: { errors: { delta: 100% } } }",
            "analysis.margins.errors: delta 1 is not at least 0 and below 1",
        );
        check(
            "analysis: { margins: { lat_p50: { ratio: 2 } } }",
            "analysis.margins.lat_p50: ratio times centre plus delta is 1, not below 1",
        );
        check("analysis: { margins: { error: {} } }", "analysis.margins.error: unknown key");
        check("analysis: { leave_one_out: 1 }", "analysis.leave_one_out: wanted a whole number");
        check("analysis: { cluster_guard: 2m }", "analysis.cluster_guard: 2m is too long");
        check("slo: 99.9", "slo: wanted a text, found the number 99.9; put it in quotes");
        check("slo: 90%", "slo: \"90%\" is not an objective: at least 95% and below 100%");
        check(
            "analysis: off, slo: 99.9%",
            "slo: `analysis` is off, and it is what judges the objective",
        );
    }
}

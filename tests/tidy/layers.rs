//! Who may use whom: the table of modules, and the check that reads every path against it.

use super::code::{Path, paths};
use super::tree::SourceFile;

/// What a module may use besides itself.
struct Layer {
    module: &'static str,
    may_use: &'static [&'static str],
}

/// A use against the table that is there for a reason.
struct Exception {
    module: &'static str,
    uses: &'static str,
    why: &'static str,
}

/// Finds every path of a file that leads where its module may not go.
pub(crate) fn check(file: &SourceFile) -> Vec<String> {
    let module = file.module();
    if module.is_empty() || module == ["main"] {
        return Vec::new();
    }
    let Some(layer) = layer_of(&module) else {
        return vec![format!("{}: the module has no line in the table of layers", file.path)];
    };
    let refused = |(path, target): &(Path<'_>, String)| {
        let excepted = EXCEPTIONS.iter().any(|e| e.module == layer.module && is_in(target, e.uses));
        (!may_use(layer, target) && !excepted)
            .then(|| format!("{}:{}: {} may not use {target}", file.path, path.line, layer.module))
    };
    uses(file).iter().filter_map(refused).collect()
}

/// The exceptions whose module is there and does not use what they permit.
pub(crate) fn unneeded_exceptions(files: &[SourceFile]) -> Vec<String> {
    let of_module = |exception: &&Exception, file: &&SourceFile| {
        layer_of(&file.module()).is_some_and(|layer| layer.module == exception.module)
    };
    let unneeded = |exception: &&Exception| {
        let mut files = files.iter().filter(|file| of_module(exception, file)).peekable();
        files.peek().is_some()
            && !files.any(|file| uses(file).iter().any(|(_, used)| is_in(used, exception.uses)))
    };
    let tell = |e: &Exception| format!("{} uses {} ({})", e.module, e.uses, e.why);
    EXCEPTIONS.iter().filter(unneeded).map(tell).collect()
}

/// The paths of a file's production code that lead into this package, each with where it leads.
fn uses(file: &SourceFile) -> Vec<(Path<'_>, String)> {
    let module = file.module();
    let found = paths(file.production()).into_iter();
    found
        .filter_map(|path| {
            let target = resolve(&module, &path.segments)?.join("::");
            Some((path, target))
        })
        .collect()
}

fn resolve<'a>(module: &[&'a str], segments: &[&'a str]) -> Option<Vec<&'a str>> {
    let supers = segments.iter().take_while(|segment| **segment == "super").count();
    let (base, rest) = match segments.first() {
        Some(&"crate") => (&[][..], &segments[1..]),
        Some(&"self") => (module, &segments[1..]),
        Some(&"super") => (&module[..module.len().checked_sub(supers)?], &segments[supers..]),
        Some(_) | None => return None,
    };
    Some([base, rest].concat())
}

/// The most precise line for a module.
fn layer_of(module: &[&str]) -> Option<&'static Layer> {
    let module = module.join("::");
    LAYERS.iter().filter(|l| is_in(&module, l.module)).max_by_key(|l| l.module.len())
}

fn may_use(layer: &Layer, target: &str) -> bool {
    is_in(target, layer.module) || layer.may_use.iter().any(|allowed| is_in(target, allowed))
}

fn is_in(path: &str, module: &str) -> bool {
    module == EVERYTHING
        || path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

const EVERYTHING: &str = "*";

const fn layer(module: &'static str, may_use: &'static [&'static str]) -> Layer {
    Layer { module, may_use }
}

/// The table. `core` decides and knows nobody; adapters know `core` and not each other; `control`
/// is where they meet; only `app` knows all of them.
const LAYERS: &[Layer] = &[
    layer("core", &[]),
    layer("core::model", &[]),
    // Requests are counted in what their route holds; what the counts mean is decided elsewhere.
    layer(
        "core::routing",
        &[
            "core::model",
            "core::analysis::comparison::Counters",
            "core::analysis::LatencySketch",
            "core::analysis::SKETCH_BUCKETS",
        ],
    ),
    layer("core::health", &["core::model"]),
    layer("core::analysis", &["core::model"]),
    layer("core::ledger", &["core::model"]),
    layer("core::rollout", &["core::model", "core::analysis::verdict"]),
    // Where the comparison and the machine meet on a virtual clock.
    layer("core::simulation", &["core::model", "core::analysis", "core::rollout"]),
    layer("clock", &[]),
    layer("tls", &["core::model"]),
    // A file with a secret is found to be none when it is named, like a certificate.
    layer("config", &["core", "tls", "promql::read_secret"]),
    layer("store", &["core", "clock"]),
    layer("telemetry", &["core", "clock"]),
    layer("probe", &["core", "clock", "tls"]),
    // Gates that may ask others over HTTP verify them as everybody does.
    layer("gate", &["core", "clock", "tls"]),
    layer("resolve", &["core", "clock"]),
    layer("promql", &["core", "tls"]),
    layer(
        "control",
        &["core", "config", "store", "telemetry", "gate", "probe", "resolve", "promql", "clock"],
    ),
    layer(
        "proxy",
        &[
            "core::model",
            "core::routing",
            "core::health",
            "core::analysis::comparison::Settled",
            "core::analysis::comparison::Ticket",
            "telemetry::EdgeEvent",
            "telemetry::Recorder",
            "telemetry::Outcome",
            "telemetry::OutcomeKind",
            "telemetry::RetryKind",
            "telemetry::MirrorOutcome",
            "clock",
            "tls",
        ],
    ),
    layer("admin", &["core", "clock", "telemetry", "control"]),
    layer("cli", &["config", "core", "admin::json", "app"]),
    layer("app", &[EVERYTHING]),
];

const EXCEPTIONS: &[Exception] = &[Exception {
    module: "clock",
    uses: "core::model",
    why: "it answers in the model's types of time",
}];

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(path: &str, text: &str) -> Vec<String> {
        check(&SourceFile::new(path, text))
    }

    #[test]
    fn a_use_across_layers_is_found_however_it_is_written() {
        for text in [
            "use crate::store::Store;",
            "use crate::{store::Store};",
            "fn f() -> crate::store::Store {}",
            "use super::super::store::Store;",
        ] {
            let found = complaints("src/proxy/phases.rs", text);
            assert_eq!(found, ["src/proxy/phases.rs:1: proxy may not use store::Store"], "{text}");
        }
    }

    #[test]
    fn a_module_may_use_itself_and_what_its_line_lists() {
        let text = "use super::limits::Limits; use self::x::Y; use crate::core::model::Weight; \
                    use std::sync::Arc; use tokio::sync::watch; pub(super) fn f() {}";
        assert_eq!(complaints("src/proxy/phases.rs", text), [""; 0]);
    }

    #[test]
    fn inside_of_core_the_more_precise_line_counts() {
        let text = "use crate::core::rollout::Rollout;";
        assert_eq!(complaints("src/core/routing/side.rs", text).len(), 1);
        assert_eq!(complaints("src/control/writer.rs", text).len(), 0);
    }

    #[test]
    fn the_name_of_another_module_is_no_prefix() {
        assert_eq!(complaints("src/config/mod.rs", "use crate::corewar::X;").len(), 1);
    }

    #[test]
    fn an_exception_opens_nothing_else() {
        assert_eq!(complaints("src/clock.rs", "use crate::core::model::Now;").len(), 0);
        assert_eq!(complaints("src/clock.rs", "use crate::core::rollout::Rollout;").len(), 1);
    }

    #[test]
    fn an_exception_that_nobody_needs_is_found() {
        let files = [SourceFile::new("src/clock.rs", "use std::time::Instant;")];
        assert_eq!(unneeded_exceptions(&files).len(), 1);
    }

    #[test]
    fn a_new_module_needs_a_line() {
        assert_eq!(complaints("src/utils/mod.rs", "").len(), 1);
    }

    #[test]
    fn tests_may_use_anything() {
        let text = "#[cfg(test)]\nmod tests {\n    use crate::store::Store;\n}\n";
        assert_eq!(complaints("src/proxy/phases.rs", text).len(), 0);
    }
}

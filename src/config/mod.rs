//! The configuration: a YAML file becomes types of `core::model`, or a list of everything that is
//! wrong with it.
//!
//! Parsing is strict, because a file that is read differently from how it was meant moves the
//! traffic of people: unknown keys are mistakes, and so are numbers without a unit, references to
//! nothing and values out of bounds. All mistakes are reported in one go, each with its key path
//! and line. Past [`Config::parse`] invalid values do not exist.
//!
//! A file declares structure. What happens at run time (splits, who is blue, registered targets)
//! belongs to the store and is nowhere in here. Paths in a file are relative to that file.

mod access_log;
mod addresses;
mod admin;
mod alarms;
mod alertmanager;
mod analysis;
mod bytes;
mod client_limits;
mod component;
mod declared;
mod document;
mod duplicates;
mod fields;
mod gate_cases;
mod gate_grants;
mod gate_uses;
mod gates;
mod health_check;
mod issued_cookie;
mod listener_tls;
mod listeners;
mod mirror;
mod mistake;
mod nearest;
mod node;
mod outlier_ejection;
mod overload;
mod params;
mod place;
mod policies;
mod prometheus_servers;
mod query;
mod release;
mod request_match;
mod resolver;
mod retries;
mod rule_actions;
mod services;
mod shutdown;
mod stickiness;
mod store;
mod strategies;
mod target_groups;
mod targets_file;
mod transport;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use self::gate_cases::{
    Expected, ExpectedAnswer, GateCase, GateCases, HttpAnswer, HttpOutcome, SideNumbers, Situation,
};
pub use self::mistake::{ConfigErrors, Mistake};

use self::addresses::Addresses;
use self::declared::{Declared, Names};
use self::mistake::Mistakes;
use self::node::Node;
use self::target_groups::TargetGroups;
use crate::core::model::{
    AccessLogSpec, AlarmName, AlarmSpec, GateKey, GateName, GateSpec, ListenerSpec, MemoryLimit,
    PrometheusName, PrometheusServer, ResolverSpec, ServiceName, ServiceSpec, Sha256, Span,
    Strategy, StrategyName, TargetGroup, TargetGroupName, Transport, UploadedGate,
};

/// A configuration without mistakes.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The listeners in the order of the file.
    pub listeners: Vec<ListenerSpec>,
    /// The target groups, with the targets that seed them.
    pub target_groups: BTreeMap<TargetGroupName, TargetGroup>,
    /// How the targets of each group are spoken to.
    pub transports: BTreeMap<TargetGroupName, Transport>,
    /// The services.
    pub services: BTreeMap<ServiceName, ServiceSpec>,
    /// The file's own strategies; [`Self::strategy`] knows the predefined ones too.
    pub strategies: BTreeMap<StrategyName, Strategy>,
    /// The alarms.
    pub alarms: BTreeMap<AlarmName, AlarmSpec>,
    /// The gates; each component was there and hashed to its digest when the file was read.
    pub gates: BTreeMap<GateName, GateSpec>,
    /// The admin API.
    pub admin: AdminSpec,
    /// Where run-time state is kept.
    pub store: StoreSpec,
    /// The folder that the file's paths are relative to.
    pub base_dir: PathBuf,
    /// How DNS is asked.
    pub resolver: ResolverSpec,
    /// The files that list a group's targets, which stood in them when the configuration was read.
    pub targets_files: BTreeMap<TargetGroupName, PathBuf>,
    /// Where requests are logged; `None` logs none.
    pub access_log: Option<AccessLogSpec>,
    /// How the process ends.
    pub shutdown: ShutdownSpec,
    /// From when on new requests are refused.
    pub overload: OverloadSpec,
    /// The Prometheus servers that alarms ask.
    pub prometheus: BTreeMap<PrometheusName, PrometheusServer>,
    /// The gates whose components are uploaded. One that was is among [`Self::gates`], too, which
    /// is not for the file to say.
    pub uploaded_gates: BTreeMap<GateName, UploadedGate>,
    /// The keys one of which must have signed what is uploaded; none if nothing must be signed.
    pub gate_keys: Vec<GateKey>,
    /// Earlier components of uploaded gates, which rollouts may still ask; none from a file.
    pub kept_gates: BTreeMap<GateName, BTreeSet<Sha256>>,
}

/// Where the admin API listens, and who may use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminSpec {
    /// Where it listens.
    pub address: SocketAddr,
    /// The file that holds the tokens; `None` lets the process make one.
    pub token_file: Option<PathBuf>,
    /// Where metrics are served without a token; `None` serves them with the admin API only.
    pub metrics_address: Option<SocketAddr>,
}

/// Where run-time state is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreSpec {
    /// In a SQLite file.
    Path(PathBuf),
    /// In memory; gone with the process.
    Memory,
}

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShutdownSpec {
    /// How long requests in flight may take to finish; what is left is cut.
    pub drain: Span,
}

/// From when on new requests are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OverloadSpec {
    /// How much memory the process may take.
    pub memory_limit: MemoryLimit,
}

impl Config {
    /// Reads a configuration file, and the gates' components that it names.
    ///
    /// # Errors
    /// Everything that is wrong with it, with the file's name.
    pub fn load(file: &Path) -> Result<Self, ConfigErrors> {
        let base_dir = file.parent().unwrap_or(Path::new(""));
        let config = read_bounded(file).and_then(|text| Self::parse(&text, base_dir));
        config.map_err(|errors| errors.in_file(file))
    }

    /// Reads a configuration whose paths are relative to a folder.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(text: &str, base_dir: &Path) -> Result<Self, ConfigErrors> {
        let mistakes = Mistakes::default();
        let document = document::read(text, &mistakes)?;
        let config = read(&Node::root(&document, &mistakes), base_dir);
        mistakes.into_errors().map_or(Ok(config), Err)
    }

    /// The strategy of a name: the file's own, or a predefined one.
    #[must_use]
    pub fn strategy(&self, name: &StrategyName) -> Option<Strategy> {
        self.strategies.get(name).cloned().or_else(|| Strategy::predefined(name))
    }

    /// The file of a gate's component.
    #[must_use]
    pub fn component_path(&self, gate: &GateSpec) -> PathBuf {
        resolve(&self.base_dir, &gate.component)
    }
}

fn read_bounded(file: &Path) -> Result<String, ConfigErrors> {
    let cannot = |error| ConfigErrors::only(format!("cannot be read: {error}"), None);
    let mut bytes = Vec::new();
    // One byte more than allowed, so that a file that is too large is seen to be.
    let limit = document::MAX_BYTES as u64 + 1;
    fs::File::open(file).map_err(cannot)?.take(limit).read_to_end(&mut bytes).map_err(cannot)?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
        ConfigErrors::only("is not UTF-8", Some(line))
    })
}

/// Reads the whole document; what has a mistake in it is left out or replaced by a default.
fn read(root: &Node<'_>, base_dir: &Path) -> Config {
    let mut fields = root.fields();
    let listeners = fields.require("listeners");
    let target_groups = fields.take("target_groups");
    let services = fields.take("services");
    let strategies = fields.take("strategies");
    let alarms = fields.take("alarms");
    let gates = fields.take("gates");
    let gate_keys = fields.take("gate_keys");
    let admin = fields.take("admin");
    let store = fields.take("store");
    let resolver = fields.take("resolver");
    let access_log = fields.take("access_log");
    let shutdown = fields.take("shutdown");
    let overload = fields.take("overload");
    let prometheus = fields.take("prometheus");
    fields.finish();

    let declared = Declared {
        services: Names::of("service", services.as_ref()),
        target_groups: Names::of("target group", target_groups.as_ref()),
        strategies: Names::of("strategy", strategies.as_ref()).and(Strategy::predefined_names()),
        alarms: Names::of("alarm", alarms.as_ref()),
        gates: Names::of("gate", gates.as_ref()),
        prometheus: Names::of("Prometheus server", prometheus.as_ref()),
    };
    let mut addresses = Addresses::default();
    let groups = target_groups.map(|node| target_groups::target_groups(&node, base_dir));
    let TargetGroups { groups: target_groups, transports, files: targets_files } =
        groups.unwrap_or_default();
    let own_strategies = strategies.as_ref().map(strategies::strategies).unwrap_or_default();
    let gates = gates.map(|node| gates::gates(&node, base_dir));
    let (gates, uploaded_gates) = gates.unwrap_or_default();
    Config {
        admin: admin::admin(admin.as_ref(), base_dir, &mut addresses),
        listeners: listeners
            .map(|node| listeners::listeners(&node, &declared, base_dir, &mut addresses))
            .unwrap_or_default(),
        services: services
            .map(|node| services::services(&node, &declared, &target_groups, &own_strategies))
            .unwrap_or_default(),
        strategies: own_strategies,
        alarms: alarms.map(|node| alarms::alarms(&node, &declared)).unwrap_or_default(),
        gates,
        store: store::store(store.as_ref(), base_dir),
        target_groups,
        transports,
        base_dir: base_dir.to_owned(),
        resolver: resolver::resolver(resolver.as_ref()),
        targets_files,
        access_log: access_log.and_then(|node| access_log::access_log(&node, base_dir)),
        shutdown: shutdown::shutdown(shutdown.as_ref()),
        overload: overload::overload(overload.as_ref()),
        prometheus: prometheus
            .map(|node| prometheus_servers::prometheus_servers(&node, base_dir))
            .unwrap_or_default(),
        uploaded_gates,
        gate_keys: gate_keys.as_ref().map(gates::gate_keys).unwrap_or_default(),
        kept_gates: BTreeMap::new(),
    }
}

/// A path that names a file, seen from where the process runs.
fn file_path(node: &Node<'_>, base_dir: &Path) -> Option<PathBuf> {
    let path = node.text()?;
    if path.is_empty() || path.ends_with('/') {
        return node.wanted("the path of a file");
    }
    Some(resolve(base_dir, path))
}

fn resolve(base_dir: &Path, path: &str) -> PathBuf {
    base_dir.join(path).components().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A small configuration without mistakes; more sections can be appended to it.
    pub(super) const BASE: &str = "\
listeners: [{ name: public, address: '127.0.0.1:0', rules: [{ service: shop }] }]
target_groups: { a: { targets: ['127.0.0.1:9001'] }, b: { targets: [] }, c: {}, d: {} }
services: { shop: { target_groups: [a, b] } }
";

    pub(super) fn parse(text: &str) -> Result<Config, ConfigErrors> {
        Config::parse(text, Path::new(""))
    }

    /// The configuration with another section appended.
    pub(super) fn with(section: &str) -> String {
        format!("{BASE}{section}\n")
    }

    /// The configuration with more keys in its service.
    pub(super) fn with_service(keys: &str) -> String {
        BASE.replace("[a, b]", &format!("[a, b], {keys}"))
    }

    /// Checks that a text has exactly one mistake, and what is said of it.
    pub(super) fn refuses(text: &str, expected: &str) {
        let errors = parse(text).expect_err(text);
        let found = errors.to_string();
        assert!(found.contains(expected), "{text}\n{found}\ndoes not contain\n{expected}");
        assert_eq!(errors.mistakes().len(), 1, "{text}\n{found}");
    }

    #[test]
    fn the_base_of_the_tests_has_no_mistake_and_safe_defaults() {
        let config = parse(BASE).unwrap();
        assert_eq!(config.admin.address, "127.0.0.1:7070".parse().unwrap());
        assert_eq!(config.store, StoreSpec::Path(PathBuf::from("tidegate.db")));
        let shop = config.services.values().next().unwrap();
        assert_eq!(shop.strategy.as_str(), "CodeDeployDefault.ECSCanary10Percent5Minutes");
        assert!(config.strategy(&shop.strategy).is_some());
        assert_eq!(config.strategy(&"careful".parse().unwrap()), None);
    }

    #[test]
    fn the_top_of_a_file_is_checked() {
        refuses("[]", "line 1: wanted a mapping, found a list");
        refuses("services: {}", "line 1: `listeners` is missing");
        refuses(&with("listener: []"), "line 4: listener: unknown key; did you mean `listeners`?");
        refuses(&with("colour: red"), "line 4: colour: unknown key; known here: listeners,");
        refuses(&with("alarms:"), "line 4: alarms: wanted a mapping, found nothing");
    }

    #[test]
    fn every_section_is_bounded() {
        let check = |section: &str, entry: &str, limit: usize| {
            let entries: String = (0..=limit).map(|i| entry.replace('#', &i.to_string())).collect();
            let text = format!("{BASE}{section}: {{ {entries} }}\n");
            refuses(&text, &format!("line 4: {section}: there are {}, at most {limit}", limit + 1));
        };
        check("alarms", "a#: { pushed: true }, ", 1_000);
        check("strategies", "s#: { all_at_once: true }, ", 1_000);
        let rules = "{ match: { path: /# }, service: shop }, ";
        let rules: String = (0..=1_000).map(|i| rules.replace('#', &i.to_string())).collect();
        let text = BASE.replace("{ service: shop }", &rules);
        refuses(&text, "line 1: listeners[0].rules: there are 1001, at most 1000 are allowed");
        let listener = "{ name: l#, address: '127.0.0.1:0', rules: [{ service: shop }] }, ";
        let listeners: String = (0..=100).map(|i| listener.replace('#', &i.to_string())).collect();
        let rest = BASE.split_once('\n').expect("the base has lines").1;
        let text = format!("listeners: [{listeners}]\n{rest}");
        refuses(&text, "line 1: listeners: there are 101, at most 100 are allowed");
    }

    #[test]
    fn every_mistake_of_a_file_is_reported_at_once_with_its_line() {
        let text = "\
listeners:
  - name: public
    address: 127.0.0.1:8080
    rules:
      - match: { host: shop.example.com/x }
        service: shop
      - service: shopp
  - name: public
    adress: 127.0.0.1:8080
    rules: [{ service: shop }]
target_groups:
  a: { targets: [127.0.0.1:9001, localhost] }
  b: { targets: [] }
services:
  shop:
    target_groups: [a, c]
    health_check: { path: healthz, interval: 2 }
    strategy: carefull
    alarms: [errors, nothing]
    on_regression: rolback
strategies:
  careful:
    steps:
      - { weight: 10, bake: 2m }
      - { weight: 5%, bake: 120 }
alarms:
  errors: { own: { metric: error_rat, side: green }, above: 2%, datapoints: 5 of 3 }
admin: { address: 0.0.0.0:7070 }
store: { path: ./tidegate.db, memory: true }
colour: red
";
        let found = parse(text).unwrap_err();
        let found: Vec<String> =
            found.mistakes().iter().map(|m| format!("{}: {m}", m.line.unwrap_or(0))).collect();
        let expected = [
            "5: listeners[0].rules[0].match.host: ",
            "7: listeners[0].rules[1].service: unknown service \"shopp\"; did you mean \"shop\"?",
            "8: listeners[1]: `address` is missing",
            "8: listeners[1].name: another listener has the name public",
            "9: listeners[1].adress: unknown key; did you mean `address`?",
            "12: target_groups.a.targets[1]: \"localhost\" is not a target",
            "16: services.shop.target_groups[1]: unknown target group \"c\"",
            "17: services.shop.health_check.path: \"healthz\" is not a path",
            "17: services.shop.health_check.interval: \"2\" has no unit",
            "18: services.shop.strategy: unknown strategy \"carefull\"; did you mean \"careful\"?",
            "19: services.shop.alarms[1]: unknown alarm \"nothing\"; declared: errors",
            "20: services.shop.on_regression: found \"rolback\", wanted one of rollback, freeze, notify; did you mean \"rollback\"?",
            "24: strategies.careful.steps[0].weight: \"10\" has no unit",
            "25: strategies.careful.steps[1].bake: \"120\" has no unit",
            "27: alarms.errors.own.metric: found \"error_rat\", wanted one of error_rate,",
            "27: alarms.errors.datapoints: \"5 of 3\"",
            "28: admin.address: 0.0.0.0:7070 can be reached from other machines",
            "29: store.memory: only one of `path`, `memory` can be here",
            "30: colour: unknown key",
        ];
        for wanted in expected {
            assert!(found.iter().any(|f| f.starts_with(wanted)), "{wanted}\n{found:#?}");
        }
        assert_eq!(found.len(), expected.len(), "{found:#?}");
    }

    #[test]
    fn a_file_that_cannot_be_read_says_so_with_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let check = |name: &str, bytes: Option<&[u8]>, expected: &str| {
            let file = dir.path().join(name);
            if let Some(bytes) = bytes {
                fs::write(&file, bytes).unwrap();
            }
            let found = Config::load(&file).unwrap_err().to_string();
            assert!(found.starts_with(&format!("{}{expected}", file.display())), "{found}");
        };
        check("none.yaml", None, ": cannot be read: ");
        check("bytes.yaml", Some(b"a: 1\nb: \xff\n"), ":2: is not UTF-8");
        check("large.yaml", Some(&vec![b'#'; 3 << 20]), ": has 1048577 bytes, a configuration has");
        check("yaml.yaml", Some(b"listeners: ]\n"), ":1: is not YAML: ");
        check("keys.yaml", Some(b"listeners: {}"), ":1: listeners: wanted a list, found a mapping");
    }

    #[test]
    fn every_example_is_without_mistakes() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let files: Vec<PathBuf> =
            files.filter(|file| file.extension().is_some_and(|e| e == "yaml")).collect();
        assert!(!files.is_empty());
        for file in files {
            if let Err(errors) = Config::load(&file) {
                panic!("{errors}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>()) {
            let _ = parse(&text);
        }

        #[test]
        fn no_damage_to_a_good_file_makes_the_parser_panic(
            at in 0..4_000_usize,
            cut in 0..40_usize,
            put in "[-:{}\\[\\],&*!#a-z0-9% \\n]{0,12}",
        ) {
            let good = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/canary.yaml"));
            let mut text: Vec<char> = good.chars().collect();
            let start = at.min(text.len());
            let end = (start + cut).min(text.len());
            text.splice(start..end, put.chars());
            let _ = parse(&text.into_iter().collect::<String>());
        }

        #[test]
        fn no_bytes_make_the_loader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&String::from_utf8_lossy(&bytes));
        }
    }
}

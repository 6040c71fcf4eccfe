//! Files that a configuration stands on and that are not what they should be, names that do not
//! resolve, limits that contradict each other: refused by `check` and by a reload under load, each
//! with its key path, and what is served stays.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::json;
use tempfile::TempDir;
use tidegate::admin::json::{Problem, Reloaded};
use tokio::process::Command;
use tokio::time::timeout;

use crate::kit::{Api, PATIENCE, Ports, Tidegate, Turn, until};
use crate::rig::{Dns, Plan, Record, Row, Sample, Scene, Target, Traffic, metric, sized};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_configuration_stands_on_is_checked_and_a_reload_without_it_changes_nothing() {
    let _turn = Turn::wait().await;
    let mut row = Row::begin(
        "reload with bad files, names and limits",
        "each refused by check (exit code 2) and by a reload (422), with its key path; the table \
         as it was; 0 lost requests",
    );
    let dns = Dns::start().await;
    dns.set("shop.test", &[Record::A([127, 0, 0, 1])]);
    let (blue, files) = (Target::sound("blue").await, Files::make());
    let port = blue.address().port();
    let tidegate = Tidegate::start(|ports| files.config(ports, port, &dns)).await;
    let api = tidegate.api();
    let good = files.config(&tidegate.ports(), port, &dns);
    let plan = Plan { per_second: sized(300, 2_000), connections: 16, post_every: 5 };
    let traffic = Traffic::start(tidegate.public(), plan);
    until("the load is under way", async || traffic.begun() > 100).await;

    let before = generation(&api).await;
    let (mut asked, mut astray) = (0, Vec::new());
    for _ in 0..sized(1, 10) {
        for mistake in mistakes(&files, port) {
            asked += 1;
            astray.extend(mistake.is_refused(&tidegate, &good).await);
        }
    }
    let after = generation(&api).await;
    let counted = metric(&api, "tidegate_reloads_total", &["refused"]).await;
    tidegate.home().configure(&good);
    reload(&api).await.expect("the good configuration is taken");
    let samples = traffic.stop().await;

    let lost = samples.iter().filter_map(Sample::failure).count();
    row.measure("mistakes", asked);
    row.measure("not_refused_as_they_should_be", astray.len());
    row.measure("astray", astray.join("; "));
    row.measure("requests", samples.len());
    row.measure("lost", lost);
    row.require("each is refused with its key path", astray.is_empty());
    row.require("the table is as it was", after == before);
    row.require("the metrics tell of each", counted == asked);
    row.require("no request is lost", lost == 0);
    row.end();
}

/// A mistake: what of the good configuration it changes, or what of its files.
struct Mistake {
    /// Texts of the good configuration, and what stands in their places.
    edits: Vec<(String, String)>,
    /// A file, what it holds for a moment, and what it holds again afterwards; `None` takes it
    /// away.
    file: Option<(PathBuf, Option<String>)>,
    /// What is said of it.
    said: String,
}

impl Mistake {
    fn edit(from: &str, to: &str, said: &str) -> Self {
        let edits = vec![(from.to_owned(), to.to_owned())];
        Self { edits, file: None, said: said.to_owned() }
    }

    fn file(path: &Path, content: Option<&str>, said: &str) -> Self {
        let file = Some((path.to_owned(), content.map(str::to_owned)));
        Self { edits: Vec::new(), file, said: said.to_owned() }
    }

    /// Makes it, has it refused twice, and takes it back; gives what was not as it should be.
    async fn is_refused(&self, tidegate: &Tidegate, good: &str) -> Vec<String> {
        let mut bad = good.to_owned();
        for (from, to) in &self.edits {
            assert!(bad.contains(from.as_str()), "{from:?} is not in the configuration");
            bad = bad.replace(from.as_str(), to);
        }
        tidegate.home().configure(&bad);
        let content = self.file.as_ref().map(|(path, content)| {
            let before = std::fs::read(path).expect("it is there");
            match content {
                Some(content) => std::fs::write(path, content).expect("written"),
                None => std::fs::remove_file(path).expect("removed"),
            }
            (path, before)
        });
        let (code, checked) = check(&tidegate.home().path().join("tidegate.yaml")).await;
        let reloaded = reload(&tidegate.api()).await;
        if let Some((path, before)) = content {
            std::fs::write(path, before).expect("written");
        }
        let said = &self.said;
        let mut astray = Vec::new();
        if code != Some(2) || !checked.contains(said.as_str()) {
            astray.push(format!("check of {said:?} ended with {code:?}: {checked}"));
        }
        match reloaded {
            Ok(_) => astray.push(format!("a reload took {said:?}")),
            Err(problem) if problem.status == 422 && problem.detail.contains(said.as_str()) => {}
            Err(problem) => astray.push(format!("a reload with {said:?}: {problem:?}")),
        }
        astray
    }
}

/// The mistakes: each names what it is about by its key path.
fn mistakes(files: &Files, port: u16) -> Vec<Mistake> {
    let certificate = "listeners[1].tls.certificates[0].certificate: ";
    let key = "listeners[1].tls.certificates[0].key: ";
    let list = "target_groups.shop-b.targets_file: ";
    let (path, other) = (files.path("cert.key"), files.path("other.key"));
    let (path, other) = (path.display().to_string(), other.display().to_string());
    let folder = files.folder.path().display().to_string();
    let unreadable = format!("{key}{folder}: cannot be read: ");
    let mismatched = format!("{key}{other} is not the key of the certificate in ");
    let first = "target_groups.shop-a.targets[0]: ";
    let replaced = std::fs::read_to_string(files.path("other.key")).expect("it is there");
    let shop = format!("'shop.test:{port}'");
    let gone = "gone.test:80 does not resolve: there is no such name";
    vec![
        // A folder is unreadable to everybody, also to a superuser.
        Mistake::edit(&path, &folder, &unreadable),
        Mistake::edit(&path, &other, &mismatched),
        Mistake::file(&files.path("cert.key"), None, &format!("{key}{path}: cannot be read: ")),
        Mistake::file(
            &files.path("cert.key"),
            Some(&replaced),
            &format!("{key}{path} is not the key of the certificate in "),
        ),
        Mistake::file(&files.path("cert.key"), Some("nothing"), &format!("{key}{path}: holds no")),
        Mistake::file(&files.path("cert.pem"), Some("nothing"), certificate),
        Mistake::file(&files.path("b.targets"), None, list),
        Mistake::file(&files.path("b.targets"), Some(""), list),
        Mistake::file(&files.path("b.targets"), Some("nowhere\n"), list),
        // A list of its own: in the other file's place it would be a good one, and be taken.
        Mistake::edit("b.targets", "gone.targets", &format!("{list}{gone}")),
        Mistake::edit(&shop, "'gone.test:80'", &format!("{first}{gone}")),
        Mistake::edit(&shop, "'srv:shop.test'", &format!("{first}srv:shop.test does not resolve")),
        Mistake::edit(
            "connections: 1000,",
            "connections: 1000, connections_per_client: 1001,",
            "listeners[0].limits.connections_per_client: 1001 is above `connections`",
        ),
        Mistake::edit(
            "strategy: patient",
            "strategy: patient, outlier_ejection: { base: 10m, max: 1m }",
            "services.shop.outlier_ejection.max: the longest ejection",
        ),
        Mistake::edit(
            "strategy: patient",
            "strategy: patient, start_healthy: 25%",
            "services.shop.start_healthy: 25% is below `health_floor.green`",
        ),
    ]
}

/// The files that the good configuration stands on.
struct Files {
    folder: TempDir,
}

impl Files {
    fn make() -> Self {
        let files = Self { folder: TempDir::new().expect("a folder") };
        for name in ["cert", "other"] {
            let made = rcgen::generate_simple_self_signed(vec!["shop.test".to_owned()]);
            let made = made.expect("a certificate");
            let write = |end: &str, text: String| {
                std::fs::write(files.path(&format!("{name}.{end}")), text).expect("written");
            };
            write("pem", made.cert.pem());
            write("key", made.signing_key.serialize_pem());
        }
        std::fs::write(files.path("b.targets"), "127.0.0.1:9\n").expect("written");
        std::fs::write(files.path("gone.targets"), "gone.test:80\n").expect("written");
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The good configuration: a second listener with TLS, a name, and a list in a file.
    fn config(&self, ports: &Ports, port: u16, dns: &Dns) -> String {
        let listener = ", limits: { connections: 1000, header: 5s }".to_owned();
        let plain = Scene { listener, ..Scene::default() }.config(ports);
        let [certificate, key, list] =
            ["cert.pem", "cert.key", "b.targets"].map(|name| self.path(name));
        let secure = format!(
            "  - {{ name: secure, address: '127.0.0.1:0', rules: [{{ service: shop }}], tls: {{ \
             certificates: [{{ certificate: '{}', key: '{}' }}] }} }}\ntarget_groups:",
            certificate.display(),
            key.display()
        );
        let named = format!("shop-a: {{ targets: ['shop.test:{port}'] }}");
        let listed = format!("shop-b: {{ targets_file: '{}' }}", list.display());
        let mut config = plain;
        for (from, to) in [
            ("target_groups:", &secure),
            ("shop-a: { targets: [] }", &named),
            ("shop-b: { targets: [] }", &listed),
        ] {
            assert!(config.contains(from), "{from:?} is not in the scene");
            config = config.replacen(from, to, 1);
        }
        format!("{config}resolver: {{ nameservers: ['{}'], timeout: 1s }}\n", dns.address())
    }
}

/// What `tidegate check` says of a file, and how it ends.
async fn check(file: &Path) -> (Option<i32>, String) {
    let running = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .arg("check")
        .arg(file)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ended = timeout(PATIENCE, running).await.expect("it ends").expect("it runs");
    (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned())
}

async fn reload(api: &Api) -> Result<Reloaded, Problem> {
    api.change("POST", "/v1/reload", &json!({})).await
}

/// What every swap of the routing table changes.
async fn generation(api: &Api) -> u64 {
    metric(api, "tidegate_generation", &[]).await
}

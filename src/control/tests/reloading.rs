//! Using another configuration.

use super::*;
use crate::core::model::RequestFields;
use crate::core::routing::RouteEnd;

#[tokio::test]
async fn a_reload_that_removes_something_in_use_is_refused_whole() {
    let rig = Remains::none().start(&gated()).await;
    let id = rig.shifting().await;
    let generation = rig.table.load().generation;
    let without_alarm = gated().replace(", alarms: [pager]", "");
    let without_gate = gated().replace("gate: probe", "gate: other").replace(" probe:", " other:");
    let other_pair = gated().replace("[a, b]", "[a, c]").replace("b: {", "c: {");
    let other_service = gated().replace("shop", "cart");
    let check = async |config: String, what: &str| {
        let refusal = refused(rig.reload(&config).await.map(Reply::Reloaded), "reload_refused");
        let expected = format!("{what} is in use by rollout {id}");
        assert!(refusal.to_string().contains(&expected), "{refusal}");
    };
    check(without_alarm, "alarm pager").await;
    check(without_gate, "gate probe").await;
    check(other_pair, "target group b").await;
    check(other_service, "service shop").await;
    assert_eq!(rig.table.load().generation, generation);
    assert_eq!(rig.rollout(&id).state, StateName::Shifting);

    let edited = gated().replace("10%, bake: 1h", "20%, bake: 1h");
    rig.reload(&edited).await.expect("it touches nothing in use");
    assert_eq!((rig.green(), rig.rollout(&id).state), (percent("10%"), StateName::Shifting));
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_says_why() {
    let rig = Rig::new().await;
    let generation = rig.table.load().generation;
    let bad = SHOP.replace("strategy: quick", "strategy: quickest");
    let refusal = refused(rig.reload(&bad).await.map(Reply::Reloaded), "reload_refused");
    assert!(refusal.to_string().contains("services.shop.strategy"), "{refusal}");
    let moved = SHOP.replace("127.0.0.1:0", "127.0.0.1:1");
    let refusal = refused(rig.reload(&moved).await.map(Reply::Reloaded), "reload_refused");
    let expected = "listeners[0].address changes only with a restart or an upgrade";
    assert!(refusal.to_string().contains(expected), "{refusal}");
    assert_eq!(rig.table.load().generation, generation);
}

#[tokio::test]
async fn reloads_are_counted_by_what_became_of_them() {
    let rig = Rig::new().await;
    let check = |counts: [(&str, u64); 2]| {
        let text = rig.handle.metrics();
        for (result, count) in counts {
            let line = format!("tidegate_reloads_total{{result=\"{result}\"}} {count}");
            assert!(text.lines().any(|found| found == line), "{line} not in\n{text}");
        }
    };
    check([("applied", 0), ("refused", 0)]);
    // The first one is refused by who reads the file, the second one by the writer.
    let bad = SHOP.replace("strategy: quick", "strategy: quickest");
    refused(rig.reload(&bad).await.map(Reply::Reloaded), "reload_refused");
    check([("applied", 0), ("refused", 1)]);
    let moved = SHOP.replace("127.0.0.1:0", "127.0.0.1:1");
    refused(rig.reload(&moved).await.map(Reply::Reloaded), "reload_refused");
    check([("applied", 0), ("refused", 2)]);
    rig.reload(SHOP).await.expect("reloaded");
    check([("applied", 1), ("refused", 2)]);
}

#[tokio::test]
async fn of_two_reloads_at_once_the_later_reading_counts() {
    let rig = Rig::new().await;
    let file = rig.folder.path().join("tidegate.yaml");
    let telling = |tells: bool| {
        SHOP.replacen("strategy: quick,", &format!("strategy: quick, tell_side: {tells},"), 1)
    };
    let tells = |rig: &Rig| rig.table.load().services[&name("shop")].tell_side;
    let (go, goes) = std::sync::mpsc::channel::<()>();
    let (read, goes) = (Arc::new(AtomicU64::new(0)), Mutex::new(goes));
    let told = Arc::clone(&read);
    let slow = Handle {
        prepare: Arc::new(move |_: &Config| {
            told.fetch_add(1, Ordering::SeqCst);
            goes.lock().unwrap().recv().map_err(|error| error.to_string())
        }),
        ..rig.handle.clone()
    };
    std::fs::write(&file, telling(true)).unwrap();
    let first = tokio::spawn(async move { slow.reload(actor(), None).await });
    rig.until("the first one has read", |_| read.load(Ordering::SeqCst) == 1).await;
    std::fs::write(&file, telling(false)).unwrap();
    let quick = rig.handle.clone();
    let mut second = tokio::spawn(async move { quick.reload(actor(), None).await });
    // If it does not wait for the first one, it is over by then, and replaced afterwards.
    let answer = tokio::time::timeout(Duration::from_millis(500), &mut second).await;
    go.send(()).unwrap();
    first.await.unwrap().expect("reloaded");
    match answer {
        Ok(answer) => answer.unwrap().expect("reloaded"),
        Err(_) => second.await.unwrap().expect("reloaded"),
    };
    assert!(!tells(&rig), "the file says so");
}

#[tokio::test]
async fn a_listener_that_is_to_change_is_named_with_the_key_of_the_change() {
    let rig = Rig::new().await;
    let check = async |from: &str, to: &str, expected: &[&str]| {
        assert!(SHOP.contains(from), "{from}");
        let answer = rig.reload(&SHOP.replace(from, to)).await.map(Reply::Reloaded);
        let refusal = refused(answer, "reload_refused").to_string();
        for part in expected {
            assert!(refusal.contains(part), "{part:?} is not in {refusal}");
        }
    };
    let keyed = "name: public, protocol: h2c, trusted_proxies: [127.0.0.1]";
    let named = ["listeners[0].protocol changes only", "listeners[0].trusted_proxies changes only"];
    check("name: public", keyed, &named).await;
    let limited = "name: public, limits: { connections: 7 }";
    check("name: public", limited, &["listeners[0].limits changes only"]).await;
    let renamed = ["listeners[0]: listener web comes with", "listeners: listener public goes with"];
    check("name: public", "name: web", &renamed).await;
}

#[tokio::test]
async fn a_reload_does_not_say_that_it_did_what_only_a_restart_does() {
    let rig = Rig::new().await;
    let check = async |more: &str, key: &str| {
        let edited = format!("{SHOP}{more}\n");
        let refusal = refused(rig.reload(&edited).await.map(Reply::Reloaded), "reload_refused");
        let expected = format!("{key} changes only with a restart");
        assert!(refusal.to_string().contains(&expected), "{refusal}");
    };
    check("admin: { address: '127.0.0.1:7999' }", "admin.address").await;
    check("admin: { metrics_address: '127.0.0.1:7999' }", "admin.metrics_address").await;
    check("admin: { token_file: ./others.token }", "admin.token_file").await;
    check("store: { path: ./other.db }", "store").await;
    check("store: { memory: true }", "store").await;
    rig.reload(&format!("{SHOP}store: {{ path: tidegate.db }}\n")).await.expect("the same one");
}

#[tokio::test]
async fn a_registered_group_keeps_its_targets_until_it_is_given_back() {
    let rig = Rig::new().await;
    let group = GroupRef::Named(name("a"));
    let change = Command::SetTargets { group, targets: targets(&[9_011]), revision: None };
    rig.send(change).await.expect("registered");
    let edited = SHOP.replace("9001", "9021").replace("9002", "9022");
    let report = rig.reload(&edited).await.expect("reloaded");
    assert_eq!(report.ignored.len(), 1);
    assert!(report.ignored[0].contains("target_groups.a.targets: ignored: registered"));
    let address = |side: SideView| side.targets[0].address.to_string();
    assert_eq!(address(rig.shop().blue), "127.0.0.1:9011");
    assert_eq!(address(rig.shop().green), "127.0.0.1:9022");
    assert_eq!(rig.reload(&edited).await.expect("reloaded").ignored, [""; 0]);
    rig.send(Command::ResetTargets { group: name("a") }).await.expect("reset");
    assert_eq!(address(rig.shop().blue), "127.0.0.1:9021");
}

#[tokio::test]
async fn a_reload_does_not_replace_a_green_that_has_traffic() {
    let rig = Rig::new().await;
    let id = rig.shifting().await;
    let with = |list: &str| SHOP.replace("['127.0.0.1:9002']", list);
    for list in ["['127.0.0.1:9022']", "[]"] {
        let answer = rig.reload(&with(list)).await.map(Reply::Reloaded);
        let text = refused(answer, "reload_refused").to_string();
        assert!(text.contains("target_groups.b.targets: green has traffic"), "{text}");
        assert!(text.contains(id.as_str()), "{text}");
    }
    let ports = |rig: &Rig| -> Vec<u16> {
        let targets = rig.shop().green.targets;
        targets.iter().map(|target| target.address.socket_addr().port()).collect()
    };
    assert_eq!((ports(&rig), rig.green()), (vec![9_002], percent("10%")));
    rig.reload(&with("['127.0.0.1:9002', '127.0.0.1:9022']")).await.expect("one stays");
    rig.reload(&with("['127.0.0.1:9022']")).await.expect("one stays");
    assert_eq!(ports(&rig), [9_022]);
    assert_eq!(rig.rollout(&id).state, StateName::Shifting);
}

#[tokio::test]
async fn a_new_service_is_served_at_once() {
    let rig = Rig::new().await;
    let more = SHOP
        .replace("services:\n", "services:\n  cart: { target_groups: [c, d] }\n")
        .replace(
            "target_groups: { a:",
            "target_groups: { c: { targets: ['127.0.0.1:9003'] }, d: {}, a:",
        )
        .replace(
            "{ service: shop }",
            "{ match: { path_prefix: /cart }, service: cart }, { service: shop }",
        );
    let report = rig.reload(&more).await.expect("reloaded");
    let table = rig.table.load();
    assert_eq!(table.generation, report.generation);
    let routes = &table.listeners[&name("public")];
    let found = routes.find("any", "/cart/1", "GET", &NoFields).expect("routed");
    let RouteEnd::Service(found) = &found.to else { panic!("no service: {found:?}") };
    assert_eq!((found.name.as_str(), found.blue.targets.len()), ("cart", 1));
}

#[tokio::test]
async fn a_service_that_comes_back_has_the_roles_that_it_had() {
    let both = SHOP
        .replace("services:\n", "services:\n  cart: { target_groups: [c, d] }\n")
        .replace(
            "target_groups: { a:",
            "target_groups: { c: { targets: ['127.0.0.1:9003'] }, d: {}, a:",
        )
        .replace("{ service: shop }", "{ service: cart }");
    let cart_alone =
        both.lines().filter(|line| !line.starts_with("  shop:")).collect::<Vec<_>>().join("\n");
    let rig = Remains::none().start(&both).await;
    let start = StartRollout { targets: Some(targets(&[9_005])), ..rig.start("quick") };
    let id = id_of(rig.send(Command::StartRollout(Box::new(start))).await.expect("started"));
    rig.until_over(&id, StateName::Succeeded).await;
    let check = |rig: &Rig| {
        let blue = rig.shop().blue;
        assert_eq!((blue.group.as_str(), blue.registered), ("b", true));
        assert_eq!(blue.targets[0].address, name("127.0.0.1:9005"));
    };
    rig.reload(&cart_alone).await.expect("reloaded");
    assert!(!rig.handle.view().services.contains_key(&name("shop")));
    refused(rig.set_split("10%").await, "no_such_service");
    rig.reload(&both).await.expect("reloaded");
    check(&rig);

    let rig = rig.restart(&cart_alone).await;
    rig.reload(&both).await.expect("reloaded");
    check(&rig);
}

#[tokio::test]
async fn an_access_log_changes_only_with_a_restart() {
    let rig = Rig::new().await;
    let logged = format!("{SHOP}access_log: {{ path: access.log }}\n");
    let refusal = refused(rig.reload(&logged).await.map(Reply::Reloaded), "reload_refused");
    assert!(refusal.to_string().contains("access_log changes only with a restart"), "{refusal}");
}

#[tokio::test]
async fn a_rollout_keeps_what_it_is_compared_by_until_it_is_over() {
    let rig = Rig::new().await;
    let id = rig.shifting().await;
    let keys = "strategy: quick, stickiness: { header: x-user }, slo: 99.9%, \
                analysis: { preset: strict }";
    let other = SHOP.replacen("strategy: quick", keys, 1);
    let report = rig.reload(&other).await.expect("reloaded");
    let ignored = |key: &str| {
        format!(
            "services.shop.{key}: ignored until rollout {id} is over, which keeps what it was \
             created with"
        )
    };
    assert_eq!(report.ignored, ["stickiness", "analysis", "slo"].map(ignored));
    let sticky = |rig: &Rig| rig.table.load().services[&name("shop")].stickiness.is_some();
    assert!(!sticky(&rig) && rig.shop().stickiness.is_none());
    let terms = rig.rollout(&id).spec.as_ref().expect("it has one").analysis;
    assert_eq!((terms.slo, terms.sticky), (None, false));

    // Neither does a start with the other file change what is under way.
    let rig = rig.restart(&other).await;
    assert!(!sticky(&rig));
    rig.tell(&id, Verb::Abort).await.expect("aborted");
    rig.until_over(&id, StateName::RolledBack).await;
    assert!(sticky(&rig) && rig.shop().stickiness.is_some());

    // And the other way round.
    let next = rig.shifting().await;
    let report = rig.reload(SHOP).await.expect("reloaded");
    assert_eq!(report.ignored.len(), 3, "{report:?}");
    assert!(sticky(&rig));
    assert!(rig.rollout(&next).spec.as_ref().expect("it has one").analysis.sticky);
    rig.tell(&next, Verb::Abort).await.expect("aborted");
    rig.until_over(&next, StateName::RolledBack).await;
    assert!(!sticky(&rig));
    assert_eq!(rig.reload(SHOP).await.expect("reloaded").ignored, Vec::<String>::new());
}

/// A request without header fields.
struct NoFields;

impl RequestFields for NoFields {
    fn has_header(&self, _name: &str, _value: Option<&[u8]>) -> bool {
        false
    }

    fn has_cookie(&self, _name: &str, _value: Option<&[u8]>) -> bool {
        false
    }
}

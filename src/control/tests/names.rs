//! Targets that are names, and lists that stand in files.

use super::*;
use crate::resolve::{Dns, ListNumber, Record};

/// The service with a name for blue, which is asked of this server.
fn named(dns: &Dns) -> String {
    let resolver = format!("resolver: {{ nameservers: ['{}'], timeout: 300ms }}\n", dns.address());
    SHOP.replace("127.0.0.1:9001", "shop.test:9001") + &resolver
}

fn addresses(side: &SideView) -> Vec<String> {
    side.targets.iter().map(|target| target.address.to_string()).collect()
}

#[tokio::test]
async fn a_changed_answer_moves_the_targets_and_an_outage_of_dns_keeps_them() {
    let dns = Dns::start().await;
    dns.set("shop.test", &[Record::A([127, 0, 0, 1]), Record::A([127, 0, 0, 2])]);
    let config = named(&dns);
    let rig = Remains::none().start(&config).await;
    let blue_is = async |rig: &Rig, wanted: [&str; 2]| {
        rig.until("blue is there", |rig| addresses(&rig.shop().blue) == wanted).await;
    };
    blue_is(&rig, ["127.0.0.1:9001", "127.0.0.2:9001"]).await;
    assert_eq!(rig.shop().blue.targets[0].name, name("shop.test:9001"));
    let stays = Arc::clone(&rig.table.load().services[&name("shop")].blue.targets[1]);
    dns.set("shop.test", &[Record::A([127, 0, 0, 2]), Record::A([127, 0, 0, 3])]);
    let moved = ["127.0.0.2:9001", "127.0.0.3:9001"];
    blue_is(&rig, moved).await;
    let table = rig.table.load_full();
    assert!(Arc::ptr_eq(&stays, &table.services[&name("shop")].blue.targets[0]));

    dns.silence(true);
    let asked = dns.asked();
    rig.until("it is asked in vain", |_| dns.asked() > asked + 3).await;
    assert_eq!(addresses(&rig.shop().blue), moved);
    assert_eq!(rig.table.load().generation, table.generation, "nothing was published");
    let rig = rig.restart(&config).await;
    assert_eq!(addresses(&rig.shop().blue), moved, "the table file knows them");
}

#[tokio::test]
async fn a_registered_name_without_an_answer_is_no_target_and_says_why() {
    let dns = Dns::start().await;
    dns.set("shop.test", &[Record::A([127, 0, 0, 1])]);
    let rig = Remains::none().start(&named(&dns)).await;
    let target = Target { address: name("srv:later.test") };
    let group = GroupRef::Named(name("b"));
    let set = Command::SetTargets { group, targets: vec![target.clone()], revision: None };
    let Reply::Targets { targets, .. } = rig.send(set).await.expect("registered") else {
        panic!("targets were set")
    };
    assert_eq!(targets, [target]);
    rig.until("it does not resolve", |rig| {
        let green = rig.shop().green;
        let why = green.unresolved.first().and_then(|unresolved| unresolved.why.clone());
        green.targets.is_empty() && why.as_deref() == Some("there is no such name")
    })
    .await;
    assert!(rig.table.load().services[&name("shop")].green.targets.is_empty());
    dns.set("host.test", &[Record::A([127, 0, 0, 7])]);
    dns.set("later.test", &[Record::Srv { priority: 0, port: 9_007, host: "host.test" }]);
    rig.until("it resolves", |rig| addresses(&rig.shop().green) == ["127.0.0.7:9007"]).await;
    assert!(rig.shop().green.unresolved.is_empty());
}

#[tokio::test]
async fn a_file_of_targets_seeds_its_group_until_the_api_registers_others() {
    let remains = Remains::none();
    let folder = remains.folder.path().to_owned();
    let list = |text: &str| {
        std::fs::write(folder.join("new"), text).unwrap();
        std::fs::rename(folder.join("new"), folder.join("a.targets")).unwrap();
    };
    list("127.0.0.1:9001\n");
    let config = SHOP.replace("targets: ['127.0.0.1:9001']", "targets_file: a.targets");
    let rig = remains.start(&config).await;
    assert_eq!(addresses(&rig.shop().blue), ["127.0.0.1:9001"]);
    list("- 127.0.0.1:9021\n- 127.0.0.1:9022\n");
    rig.until("the list counts", |rig| {
        addresses(&rig.shop().blue) == ["127.0.0.1:9021", "127.0.0.1:9022"]
    })
    .await;

    let group = GroupRef::Named(name("a"));
    let set = Command::SetTargets { group, targets: targets(&[9_011]), revision: None };
    rig.send(set).await.expect("registered");
    list("127.0.0.1:9031\n");
    assert_eq!(addresses(&rig.shop().blue), ["127.0.0.1:9011"]);
    rig.send(Command::ResetTargets { group: name("a") }).await.expect("reset");
    rig.until("the file's list is back", |rig| addresses(&rig.shop().blue) == ["127.0.0.1:9031"])
        .await;
    assert!(!rig.shop().blue.registered);
}

/// The service with a list in a file for one of its groups.
fn listed(group: &str) -> String {
    let port = if group == "a" { 9_001 } else { 9_002 };
    SHOP.replace(
        &format!("targets: ['127.0.0.1:{port}']"),
        &format!("targets_file: {group}.targets"),
    )
}

/// Replaces a list in one step.
fn list(folder: &std::path::Path, group: &str, text: &str) {
    std::fs::write(folder.join("new"), text).unwrap();
    std::fs::rename(folder.join("new"), folder.join(format!("{group}.targets"))).unwrap();
}

/// A writer with a list in a file, which was heard.
async fn with_list(group: &str, text: &str) -> Rig {
    let remains = Remains::none();
    list(remains.folder.path(), group, text);
    let rig = remains.start(&listed(group)).await;
    rig.until("the list is heard", |rig| rig.handle.lists.last() > ListNumber::default()).await;
    rig
}

/// Replaces a list, and waits until the writer has tried to use it.
async fn list_and_look(rig: &Rig, group: &str, text: &str) {
    let before = rig.handle.lists.last();
    list(rig.folder.path(), group, text);
    rig.until("the list is heard", |rig| rig.handle.lists.last() > before).await;
    // The look under way may be older than the list, the next one is not.
    for _ in 0..2 {
        let seen = rig.handle.view();
        rig.until("it looks", |rig| !Arc::ptr_eq(&seen, &rig.handle.view())).await;
    }
}

#[tokio::test]
async fn a_list_that_comes_while_a_reload_waits_is_not_replaced_by_the_one_before() {
    let rig = with_list("a", "127.0.0.1:9001\n").await;
    let read = rig.handle.lists.last();
    let waits = Config::load(&rig.folder.path().join("tidegate.yaml")).unwrap();
    list(rig.folder.path(), "a", "127.0.0.1:9021\n");
    rig.until("the list counts", |rig| addresses(&rig.shop().blue) == ["127.0.0.1:9021"]).await;
    let reload = Command::Reload { config: Arc::new(waits), read };
    rig.send(reload).await.expect("reloaded");
    assert_eq!(addresses(&rig.shop().blue), ["127.0.0.1:9021"]);

    list(rig.folder.path(), "a", "127.0.0.1:9031\n");
    rig.reload(&listed("a")).await.expect("reloaded");
    assert_eq!(addresses(&rig.shop().blue), ["127.0.0.1:9031"], "it was read with the file");
}

#[tokio::test]
async fn a_list_that_a_rollout_refuses_counts_when_the_rollout_is_over() {
    let rig = with_list("b", "127.0.0.1:9002\n").await;
    let id = rig.shifting().await;
    list_and_look(&rig, "b", "127.0.0.1:9022\n").await;
    assert_eq!(addresses(&rig.shop().green), ["127.0.0.1:9002"]);
    rig.tell(&id, Verb::Abort).await.expect("aborted");
    rig.until("the list counts", |rig| addresses(&rig.shop().green) == ["127.0.0.1:9022"]).await;
    assert_eq!(rig.green(), Weight::ZERO);
}

#[tokio::test]
async fn a_list_that_comes_while_its_group_is_given_back_counts() {
    let rig = with_list("a", "127.0.0.1:9001\n").await;
    let group = GroupRef::Named(name("a"));
    let set = Command::SetTargets { group, targets: targets(&[9_011]), revision: None };
    rig.send(set).await.expect("registered");
    rig.saved().await;
    rig.store.block();
    let reset = rig.sending(Command::ResetTargets { group: name("a") });
    rig.until_blocked().await;
    list_and_look(&rig, "a", "127.0.0.1:9021\n").await;
    assert_eq!(addresses(&rig.shop().blue), ["127.0.0.1:9011"]);
    rig.store.release();
    reset.await.unwrap().expect("reset");
    rig.until("the list counts", |rig| addresses(&rig.shop().blue) == ["127.0.0.1:9021"]).await;
}

#[tokio::test]
async fn an_answer_that_comes_during_a_rollout_and_while_a_reload_waits_counts() {
    let dns = Dns::start().await;
    dns.set("shop.test", &[Record::A([127, 0, 0, 1])]);
    let rig = Remains::none().start(&named(&dns)).await;
    let blue_is = async |rig: &Rig, wanted: &str| {
        rig.until("blue is there", |rig| addresses(&rig.shop().blue) == [wanted]).await;
    };
    blue_is(&rig, "127.0.0.1:9001").await;
    let read = rig.handle.lists.last();
    let waits = Config::load(&rig.folder.path().join("tidegate.yaml")).unwrap();
    rig.shifting().await;
    dns.set("shop.test", &[Record::A([127, 0, 0, 2])]);
    blue_is(&rig, "127.0.0.2:9001").await;
    rig.send(Command::Reload { config: Arc::new(waits), read }).await.expect("reloaded");
    assert_eq!(addresses(&rig.shop().blue), ["127.0.0.2:9001"]);
    dns.set("shop.test", &[Record::A([127, 0, 0, 3])]);
    blue_is(&rig, "127.0.0.3:9001").await;
}

//! The OpenAPI document lists every route, and the committed copy is the one that is served.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::harness::Api;
use crate::admin::document;
use crate::admin::routes::table;

#[test]
fn the_document_lists_every_route_and_no_other() {
    let document = serde_json::to_value(document()).expect("serialises");
    let paths = document["paths"].as_object().expect("paths");
    let documented: BTreeSet<String> = paths
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().expect("methods");
            methods.keys().map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect();
    let served = table().iter().map(|route| format!("{} {}", route.method, route.path)).collect();
    assert_eq!(documented, served);
}

#[test]
fn every_operation_has_an_id_of_its_own() {
    let document = serde_json::to_value(document()).expect("serialises");
    let paths = document["paths"].as_object().expect("paths");
    let methods = paths.values().filter_map(|methods| methods.as_object());
    let ids: Vec<&str> = methods
        .flat_map(|methods| methods.values())
        .filter_map(|operation| operation["operationId"].as_str())
        .collect();
    assert_eq!(ids.len(), table().len());
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
}

#[tokio::test]
async fn the_committed_document_is_the_one_that_is_served() {
    let api = Api::start().await;
    let served = api.send("GET", "/v1/openapi.json", "").await;
    assert_eq!(served.status, 200);
    let pretty = serde_json::to_string_pretty(&served.json()).expect("serialises") + "\n";
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let committed = fs::read_to_string(root.join("docs/openapi.json")).unwrap_or_default();
    if committed != pretty {
        let copy = root.join("target/openapi.json");
        fs::create_dir_all(root.join("target")).expect("a folder");
        fs::write(&copy, pretty).expect("written");
        panic!("docs/openapi.json is not what is served: copy {} over it", copy.display());
    }
}

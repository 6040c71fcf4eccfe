//! Vectors: what HTTP/1.1 and HTTP/2 demand of requests at the edge, one request after another,
//! against the real binary over real sockets.
//!
//! `http1.json` and `http2.json` say what is sent and what must become of it, each time with the
//! section of the RFC that says so; never what the proxy happens to do. The target behind the proxy
//! reads by the letter: whatever it is given that two readers could take for two things fails the
//! case.

mod case;
mod client;
mod downgrade;
#[expect(dead_code, reason = "of the client of the faults, the frames are enough")]
#[path = "../faults/rig/http2.rs"]
mod http2;
#[path = "../e2e/kit/mod.rs"]
#[expect(dead_code, unused_imports, reason = "of the scene of the other tests, a part is enough")]
mod kit;
mod message;
mod run;
mod stream;
mod target;

use std::collections::BTreeSet;

use case::Must;
use run::check;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_length_is_one_decimal_number() {
    check("lengths").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_coding_is_chunked_alone_and_ends_the_meaning_of_a_length() {
    check("codings").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_are_read_by_the_letter_and_leave_clean() {
    check("chunks").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_is_a_name_a_colon_and_a_value_on_one_line() {
    check("fields").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_names_one_host() {
    check("hosts").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_line_has_three_parts_and_a_version_that_is_spoken() {
    check("request_lines").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_on_one_connection_are_answered_in_order_or_not_at_all() {
    check("connections").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_meant_for_one_hop_ends_there() {
    check("hops").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pseudo_headers_of_http_2_name_one_request_and_nothing_more() {
    downgrade::check("pseudo_headers").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_of_http_2_arrive_as_they_are_or_not_at_all() {
    downgrade::check("fields").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_length_in_http_2_is_the_length_of_its_data() {
    downgrade::check("lengths").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_2_has_no_fields_of_a_connection() {
    downgrade::check("hops").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_of_http_2_are_no_second_header() {
    downgrade::check("trailers").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_of_http_2_stand_where_they_belong() {
    downgrade::check("frames").await;
}

#[test]
fn every_vector_of_http_2_has_a_name_of_its_own_a_rule_and_a_test() {
    let groups = stream::groups();
    let names: Vec<&str> = groups.keys().map(String::as_str).collect();
    assert_eq!(names, ["fields", "frames", "hops", "lengths", "pseudo_headers", "trailers"]);
    let mut seen = BTreeSet::new();
    for case in groups.values().flatten() {
        assert!(seen.insert(&case.name), "{} is there twice", case.name);
        assert!(case.rule.starts_with("RFC "), "{}: {}", case.name, case.rule);
        assert!(!case.bytes().is_empty(), "{} sends nothing", case.name);
        assert_eq!(case.must == Must::Refuse, case.target.is_empty(), "{}", case.name);
        assert!(case.target.len() < 2, "{}: a stream is one request", case.name);
        let is_bound = !case.status.is_empty() || !case.refused.is_empty();
        assert!(!is_bound || case.must == Must::Refuse, "{}", case.name);
    }
    assert!(seen.len() >= FEWEST, "{} vectors are too few", seen.len());
}

#[test]
fn every_vector_has_a_name_of_its_own_a_rule_and_a_test() {
    let groups = case::groups();
    let names: Vec<&str> = groups.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["chunks", "codings", "connections", "fields", "hops", "hosts", "lengths", "request_lines"]
    );
    let mut seen = BTreeSet::new();
    for case in groups.values().flatten() {
        assert!(seen.insert(&case.name), "{} is there twice", case.name);
        assert!(case.rule.starts_with("RFC 911"), "{}: {}", case.name, case.rule);
        assert!(!case.bytes().is_empty(), "{} sends nothing", case.name);
        assert_eq!(case.must == Must::Refuse, case.target.is_empty(), "{}", case.name);
        assert!(case.status.is_empty() || case.must == Must::Refuse, "{}", case.name);
    }
    assert!(seen.len() >= FEWEST, "{} vectors are too few", seen.len());
}

const FEWEST: usize = 120;

//! The proxy's own work on a request: load the table, match the rule, choose side and target.
//!
//! It has to stay far below a microsecond, and it allocates nothing.

mod world;

use std::hint::black_box;

use arc_swap::ArcSwap;
use criterion::Criterion;
use http::HeaderMap;
use tidegate::core::model::{IssuedCookie, ListenerName, Stickiness, StickyFallback};
use tidegate::proxy::Selection;

use world::{GOLDEN, draws, headers, parsed, question, table};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let sticky = Stickiness {
        header: Some("x-user-id".to_owned()),
        cookie: Some("session".to_owned()),
        fallback: StickyFallback::IssuedCookie,
        issued: IssuedCookie::default(),
    };
    let plain = HeaderMap::new();
    let by_header = headers("x-user-id", "user-4711");
    let by_cookie = headers("cookie", "theme=dark; lang=en; session=0123456789abcdef");
    bench(&mut criterion, "by draw", None, &plain);
    bench(&mut criterion, "sticky by header", Some(&sticky), &by_header);
    bench(&mut criterion, "sticky by cookie", Some(&sticky), &by_cookie);
    bench(&mut criterion, "sticky by an issued cookie", Some(&sticky), &plain);
    criterion.final_summary();
}

fn bench(
    criterion: &mut Criterion,
    name: &str,
    stickiness: Option<&Stickiness>,
    headers: &HeaderMap,
) {
    let listener: ListenerName = parsed("public");
    let table = ArcSwap::from_pointee(table(&listener, stickiness, None));
    let mut turn = 0_u64;
    criterion.bench_function(name, |bencher| {
        bencher.iter(|| {
            turn = turn.wrapping_add(GOLDEN);
            let table = table.load();
            let question = question(&listener, headers);
            let selection = Selection::choose(&table, &question, &draws(turn));
            black_box(selection.is_ok_and(|selection| selection.target.is_some()))
        });
    });
}

//! Figures of the process itself.

use crate::kit::Api;

/// The sum of all samples of a metric whose labels have all of these texts in them.
pub(crate) async fn metric(api: &Api, name: &str, labels: &[&str]) -> u64 {
    let reply = api.ask("GET", "/metrics", None).await.expect("an answer");
    assert_eq!(reply.status, 200, "{}", reply.body);
    let of_it = reply.body.lines().filter(|line| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
            && labels.iter().all(|label| line.contains(label))
    });
    let values = of_it.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.map(|value| value as u64).sum()
}

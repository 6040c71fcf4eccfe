//! Questions: what Prometheus servers are asked for the alarms, with the names that placeholders
//! stand for now.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::Config;
use crate::core::model::{AlarmSource, QueryNames, ServiceName, TargetGroupName};
use crate::promql::Question;

use super::World;
use super::alarms::Judge;
use super::group::Group;
use super::service::ServiceState;

impl World {
    /// Has asked what the alarms on queries need to know. An alarm whose question is another one
    /// than before begins anew.
    pub(super) fn ask_questions(&mut self) {
        let Self { alarms, config, services, groups, asker, .. } = self;
        let mut wanted = BTreeSet::new();
        for ((service, _), judged) in &mut alarms.judged {
            let AlarmSource::Prometheus { server, query, period, timeout, .. } = &judged.source
            else {
                continue;
            };
            let Judge::Query { judge, question } = &mut judged.judge else {
                continue;
            };
            let names = names_of(service, config, services, groups);
            let names = names.ok_or_else(|| "the service is not there".to_owned());
            let filled =
                names.and_then(|names| query.fill(&names).map_err(|error| error.to_string()));
            let present = filled.map(|query| Question {
                server: server.clone(),
                query,
                period: *period,
                timeout: *timeout,
            });
            if *question != present {
                judge.begin_anew();
                *question = present;
            }
            wanted.extend(question.as_ref().ok().cloned());
        }
        if alarms.asked.as_ref() != Some(&wanted) {
            asker.watch(&config.prometheus, wanted.clone());
            alarms.asked = Some(wanted);
        }
    }
}

/// What placeholders stand for in the queries about a service; `None` if it is not there.
fn names_of(
    service: &ServiceName,
    config: &Config,
    services: &BTreeMap<ServiceName, ServiceState>,
    groups: &BTreeMap<TargetGroupName, Group>,
) -> Option<QueryNames> {
    let (spec, state) = (config.services.get(service)?, services.get(service)?);
    let (blue, green) = (&state.record.blue, state.green(spec));
    let revision = |group: &TargetGroupName| groups.get(group)?.record.revision.clone();
    Some(QueryNames {
        service: service.clone(),
        blue: blue.clone(),
        green: green.clone(),
        blue_revision: revision(blue),
        green_revision: revision(green),
    })
}

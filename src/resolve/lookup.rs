//! One look at a name: its addresses now, and how long they count.
//!
//! A host may have addresses of two families, and SRV records name several hosts. What one of them
//! fails to answer is taken from its last answer, so that half an outage takes no target away.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::lookup::Lookup;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::task::JoinSet;

use crate::core::model::{DnsName, TargetAddress, TargetName};
use crate::core::routing::Resolved;

use super::LookupError;
use super::client::Client;

/// What a look found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The addresses in order, at least one and at most [`Resolved::LIMIT`].
    pub(super) addresses: Vec<TargetAddress>,
    /// How long they count.
    pub(super) ttl: Duration,
}

/// What is remembered from one look to the next: the addresses of each host.
#[derive(Debug, Default)]
pub(super) struct Known(BTreeMap<Name, Host>);

#[derive(Clone, Debug, Default)]
struct Host {
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
}

impl Known {
    fn of(&self, host: &Name) -> Host {
        self.0.get(host).cloned().unwrap_or_default()
    }
}

/// Looks where a target is now.
pub(super) async fn look_up(
    client: &Client,
    target: &TargetName,
    known: &mut Known,
) -> Result<Found, LookupError> {
    match target {
        TargetName::Address(address) => Ok(Found { addresses: vec![*address], ttl: Duration::MAX }),
        TargetName::Host { host, port } => {
            let name = parsed(host)?;
            let (host, ttl) = look_up_host(client, &name, known.of(&name)).await?;
            known.0.insert(name.clone(), host);
            found(known, [(name, port.get())], ttl).ok_or(LookupError::NoAddress)
        }
        TargetName::Service(service) => look_up_service(client, parsed(service)?, known).await,
    }
}

/// Both families of a host. One that fails keeps its last addresses; if none answers, that is an
/// error.
async fn look_up_host(
    client: &Client,
    name: &Name,
    before: Host,
) -> Result<(Host, Duration), LookupError> {
    let v4 = client.records(name.clone(), RecordType::A).await;
    // A search domain may have made another name of it: both families are those of one name.
    let asked = v4.as_ref().ok().and_then(|found| found.message().queries.first());
    let asked = asked.map_or_else(|| name.clone(), |query| query.name().clone());
    let v6 = client.records(asked, RecordType::AAAA).await;
    match (v4, v6) {
        (Ok(v4), Ok(v6)) => Ok((Host { v4: ips(&v4), v6: ips(&v6) }, ttl(&v4).min(ttl(&v6)))),
        (Ok(v4), Err(error)) => {
            let v6 = if is_answer(&error) { Vec::new() } else { before.v6 };
            Ok((Host { v4: ips(&v4), v6 }, ttl(&v4)))
        }
        (Err(error), Ok(v6)) => {
            let v4 = if is_answer(&error) { Vec::new() } else { before.v4 };
            Ok((Host { v4, v6: ips(&v6) }, ttl(&v6)))
        }
        (Err(v4), Err(v6)) => Err(if is_answer(&v4) { v6 } else { v4 }),
    }
}

/// The hosts that SRV records name, all at once. Only those of the lowest priority value count, and
/// all of them alike, whatever their weights.
async fn look_up_service(
    client: &Client,
    name: Name,
    known: &mut Known,
) -> Result<Found, LookupError> {
    let records = client.records(name, RecordType::SRV).await?;
    let named = records
        .answers()
        .iter()
        .filter_map(|record| if let RData::SRV(srv) = &record.data { Some(srv) } else { None });
    // The root is how a record says that there is no such service.
    let named: Vec<_> = named.filter(|srv| srv.port != 0 && !srv.target.is_root()).collect();
    let lowest = named.iter().map(|srv| srv.priority).min().ok_or(LookupError::NoAddress)?;
    let places: BTreeSet<(Name, u16)> = named
        .iter()
        .filter(|srv| srv.priority == lowest)
        .map(|srv| (srv.target.clone(), srv.port))
        .take(Resolved::LIMIT)
        .collect();
    let hosts: BTreeSet<&Name> = places.iter().map(|(host, _)| host).collect();
    known.0.retain(|host, _| hosts.contains(host));
    let mut lookups = JoinSet::new();
    for host in hosts {
        let (client, host, before) = (client.clone(), host.clone(), known.of(host));
        lookups.spawn(async move {
            let looked_up = look_up_host(&client, &host, before).await;
            (host, looked_up)
        });
    }
    let mut shortest = ttl(&records);
    let mut failure = LookupError::NoAddress;
    while let Some(ended) = lookups.join_next().await {
        match ended {
            Ok((host, Ok((addresses, ttl)))) => {
                shortest = shortest.min(ttl);
                known.0.insert(host, addresses);
            }
            Ok((_, Err(error))) => failure = error,
            Err(panicked) => failure = LookupError::failed(&panicked),
        }
    }
    found(known, places, shortest).ok_or(failure)
}

/// The addresses of places; `None` if they have none.
fn found(
    known: &Known,
    places: impl IntoIterator<Item = (Name, u16)>,
    ttl: Duration,
) -> Option<Found> {
    let mut addresses = BTreeSet::new();
    for (host, port) in places {
        let Host { v4, v6 } = known.of(&host);
        let at = |ip| TargetAddress::from(SocketAddr::new(ip, port));
        addresses.extend(v4.into_iter().chain(v6).map(at));
    }
    let addresses: Vec<_> = addresses.into_iter().take(Resolved::LIMIT).collect();
    (!addresses.is_empty()).then_some(Found { addresses, ttl })
}

/// Whether DNS said that there is nothing, and did not merely fail to say anything.
fn is_answer(error: &LookupError) -> bool {
    match error {
        LookupError::NoSuchName | LookupError::NoAddress => true,
        LookupError::Timeout { .. } | LookupError::Failed { .. } => false,
    }
}

fn ips(found: &Lookup) -> Vec<IpAddr> {
    let all = found.answers().iter().filter_map(|record| record.data.ip_addr());
    // What blocks names answers with this one, which would be this very machine.
    all.filter(|ip| !ip.is_unspecified()).collect()
}

fn ttl(found: &Lookup) -> Duration {
    let seconds = found.answers().iter().map(|record| record.ttl).min();
    Duration::from_secs(seconds.unwrap_or_default().into())
}

fn parsed(name: &DnsName) -> Result<Name, LookupError> {
    Name::from_ascii(name.as_str()).map_err(|error| LookupError::failed(&error))
}

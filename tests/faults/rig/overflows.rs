//! Connections that the system turned away: how often a queue of connections that wait to be accepted
//! was full, whosever it was. Such a client waits a second for the next try.

/// Counts from its making on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Overflows {
    /// `None` where the system does not count them.
    before: Option<u64>,
}

impl Overflows {
    /// Begins to count.
    pub(crate) fn watch() -> Self {
        Self { before: counted() }
    }

    /// How many there were since; `None` where the system does not count them.
    pub(crate) fn since(self) -> Option<u64> {
        Some(counted()?.saturating_sub(self.before?))
    }
}

fn counted() -> Option<u64> {
    listen_overflows(&std::fs::read_to_string("/proc/net/netstat").ok()?)
}

/// The file has two lines for each protocol: names, and what was counted of each.
fn listen_overflows(netstat: &str) -> Option<u64> {
    let mut of_tcp = netstat.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let (names, counts) = (of_tcp.next()?, of_tcp.next()?);
    let place = names.split_whitespace().position(|name| name == "ListenOverflows")?;
    counts.split_whitespace().nth(place)?.parse().ok()
}

#[test]
fn the_count_stands_below_its_name() {
    let netstat = "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 1 22 333\n\
                   IpExt: InNoRoutes\nIpExt: 4\n";
    assert_eq!(listen_overflows(netstat), Some(22));
    assert_eq!(listen_overflows("TcpExt: ListenDrops\nTcpExt: 1\n"), None);
    assert_eq!(listen_overflows(""), None);
}

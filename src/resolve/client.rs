//! The client of DNS: one question at a time, bounded in time, never answered from a cache of its
//! own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::core::model::{ResolverSpec, Span};

use super::LookupError;

/// A client; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Client {
    resolver: TokioResolver,
    timeout: Span,
}

impl Client {
    /// Makes a client. Reads the system's files, and therefore blocks.
    pub(super) fn new(spec: &ResolverSpec) -> Result<Self, LookupError> {
        let (config, mut options) = match spec.nameservers.as_slice() {
            [] => read_system_conf().unwrap_or_else(|error| {
                tracing::warn!(%error, "the system names no nameserver; 127.0.0.1 is asked");
                named(&[SocketAddr::from((Ipv4Addr::LOCALHOST, DNS_PORT))])
            }),
            nameservers => named(nameservers),
        };
        // Two attempts in the time that an answer may take. Answers are kept here for their time to
        // live; a second cache could only make them older.
        options.timeout = Duration::from(spec.timeout) / 2;
        options.attempts = 1;
        options.cache_size = 0;
        let provider = TokioRuntimeProvider::default();
        let mut builder = TokioResolver::builder_with_config(config, provider);
        *builder.options_mut() = options;
        let resolver = builder.build().map_err(|error| LookupError::failed(&error))?;
        Ok(Self { resolver, timeout: spec.timeout })
    }

    /// The records of a kind that a name has; an answer without any is an error.
    pub(super) async fn records(
        &self,
        name: Name,
        kind: RecordType,
    ) -> Result<Lookup, LookupError> {
        let asked = self.resolver.lookup(name, kind);
        let late = LookupError::Timeout { after: self.timeout };
        match timeout(self.timeout.into(), asked).await {
            Ok(Ok(found)) if found.answers().is_empty() => Err(LookupError::NoAddress),
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) if error.is_nx_domain() => Err(LookupError::NoSuchName),
            Ok(Err(error)) if error.is_no_records_found() => Err(LookupError::NoAddress),
            Ok(Err(NetError::Timeout)) | Err(_) => Err(late),
            Ok(Err(error)) => Err(LookupError::failed(&error)),
        }
    }
}

/// A client that is made when it is first needed, away from whoever asks for it.
#[derive(Debug)]
pub(super) struct LateClient {
    spec: ResolverSpec,
    client: OnceCell<Client>,
}

impl LateClient {
    pub(super) fn new(spec: ResolverSpec) -> Self {
        Self { spec, client: OnceCell::new() }
    }

    /// The client.
    pub(super) async fn ready(&self) -> Result<&Client, LookupError> {
        let spec = self.spec.clone();
        let made = async move {
            let made = tokio::task::spawn_blocking(move || Client::new(&spec)).await;
            made.unwrap_or_else(|error| Err(LookupError::failed(&error)))
        };
        self.client.get_or_try_init(|| made).await
    }
}

fn named(nameservers: &[SocketAddr]) -> (ResolverConfig, ResolverOpts) {
    let servers = nameservers.iter().map(|address| name_server(address.ip(), address.port()));
    (ResolverConfig::from_name_servers(servers.collect()), ResolverOpts::default())
}

fn name_server(ip: IpAddr, port: u16) -> NameServerConfig {
    let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
    for connection in &mut connections {
        connection.port = port;
    }
    NameServerConfig::new(ip, true, connections)
}

const DNS_PORT: u16 = 53;

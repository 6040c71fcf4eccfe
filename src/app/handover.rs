//! An upgrade, seen from the running whole: how it takes over from another process, and how it
//! gives way to one.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use crate::config::Config;
use crate::control::StoreState;
use crate::proxy;
use crate::telemetry::Log;

use super::addresses::placed;
use super::admin::AdminSockets;
use super::control::{Claim, Lasting};
use super::parts::Parts;
use super::upgrade::{
    Door, Inherited, Offer, SocketOf, Takeover, TakeoverError, dismiss, door_path, give,
    known_targets, read_again,
};
use super::{App, AppError, RunningProxy};

impl App {
    /// Takes over from the process that runs with the configuration's store, or starts as usual if
    /// there is none. Blocks.
    ///
    /// # Errors
    /// What could not be built, or why the other process carries on.
    pub(super) fn take_over(
        config: Config,
        file: Option<&Path>,
        log: Log,
    ) -> Result<Self, AppError> {
        let door = door_path(&config.store).ok_or(TakeoverError::InMemory)?;
        let mut parts = Parts::new(config, file.map(Path::to_owned), Some(log))?;
        // What is slow comes before the process that runs is asked for anything.
        let gates = parts.gates()?;
        let Some(mut takeover) = Takeover::begin(&door)? else {
            tracing::info!("no process runs with this store: there is nothing to take over");
            let bound = proxy::bind(&parts.config.listeners);
            let bound = bound.map_err(|error| placed(&parts.config, error))?;
            let admin = AdminSockets::bind(&parts.config, None, None)?;
            let mut app = parts.serve(bound, admin, gates, Claim::Free, &[])?;
            app.open_door();
            return Ok(app);
        };
        let sockets = takeover.sockets();
        let built = || -> Result<Self, AppError> {
            let Inherited { listeners, api, metrics } = sockets;
            let bound = proxy::bind_or_inherit(&parts.config.listeners, listeners);
            let bound = bound.map_err(|error| placed(&parts.config, error))?;
            let admin = AdminSockets::bind(&parts.config, api, metrics)?;
            let known = takeover.pause()?;
            // From here on the other process reloads nothing any more.
            if read_again(&parts.config, file)?.is_some() {
                return Err(TakeoverError::Changed.into());
            }
            parts.serve(bound, admin, gates, Claim::Inherited, &known)
        };
        let mut app = match built() {
            Ok(app) => app,
            Err(error) => {
                takeover.fail(&error.to_string());
                return Err(error);
            }
        };
        match app.succeed(&takeover, &door) {
            Ok(()) => Ok(app),
            Err(error) => {
                takeover.fail(&error.to_string());
                // The store has to be free before the other process sees the end.
                if let Some(control) = app.control.take() {
                    control.stop(&app.lasting);
                }
                drop(takeover);
                // What it has accepted beside the other one is not lost.
                app.shutdown();
                Err(error.into())
            }
        }
    }

    /// Sees that it serves, and is told to do so alone.
    fn succeed(&mut self, takeover: &Takeover, path: &Path) -> Result<(), TakeoverError> {
        self.check().map_err(TakeoverError::NotServing)?;
        let door = Door::make(path, &self.lasting.control_runtime, self.held());
        let mut door = door.map_err(|error| TakeoverError::NotServing(told(path, &error)))?;
        takeover.ready()?;
        if let Err(error) = door.show() {
            tracing::error!("nobody can take over from this process: {}", told(path, &error));
        }
        self.door = Some(door);
        Ok(())
    }

    /// Whether the store can be read, every listener accepts, and the admin API answers.
    fn check(&self) -> Result<(), String> {
        let control = self.control.as_ref().ok_or("its control side is missing")?;
        match &control.handle.view().store {
            StoreState::Good | StoreState::Failing(_) => {}
            StoreState::Unreadable(why) => return Err(format!("the store cannot be read: {why}")),
        }
        let answer = readiness(control.admin.address);
        let answer = answer.map_err(|error| format!("its admin API does not answer: {error}"))?;
        if !(answer.starts_with("HTTP/1.1 200 ") || answer.contains("\"starting\"")) {
            return Err(format!("its admin API answers {answer:?}"));
        }
        if !self.proxy.accepts() {
            return Err("a listener has ended".to_owned());
        }
        Ok(())
    }

    /// Opens the door through which a successor comes. Without one nobody can take over, which is
    /// no reason not to serve.
    pub(super) fn open_door(&mut self) {
        let Some(path) = door_path(&self.config.store) else { return };
        let door = Door::make(&path, &self.lasting.control_runtime, self.held());
        let shown = door.and_then(|mut door| door.show().map(|()| door));
        match shown {
            Ok(door) => self.door = Some(door),
            Err(error) => {
                tracing::warn!("nobody can take over from this process: {}", told(&path, &error));
            }
        }
    }

    /// Where it listens.
    fn held(&self) -> Vec<SocketAddr> {
        let AdminSockets { api, metrics } = &self.lasting.admin;
        let admin = [Some(api), metrics.as_ref()].into_iter().flatten();
        let admin = admin.filter_map(|socket| socket.socket.local_addr().ok());
        self.listeners().map(|(_, address)| address).chain(admin).collect()
    }

    /// The next process that wants to take over; never, where none can.
    pub(super) async fn successor(&mut self) -> Offer {
        match &mut self.door {
            Some(door) => match door.next().await {
                Some(offer) => offer,
                None => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }

    /// Gives way to another process; gives whether it serves now. Otherwise this one carries on as
    /// if nothing had happened. Blocks, not inside of a tokio runtime.
    pub(super) fn give_way(&mut self, offer: &Offer) -> bool {
        tracing::info!(pid = offer.pid(), version = offer.version(), "an upgrade begins");
        match self.hand_over(offer) {
            Ok(()) => {
                tracing::info!(pid = offer.pid(), "another process has taken over");
                // Nobody else is let in until it is closed.
                self.door = None;
                true
            }
            Err(why) => {
                dismiss(offer, &why);
                self.revive();
                false
            }
        }
    }

    fn hand_over(&mut self, offer: &Offer) -> Result<(), String> {
        let Self { config, proxy, control, lasting, door: _ } = self;
        let (proxy, lasting): (&RunningProxy, &Lasting) = (proxy, lasting);
        let running = control.as_ref().ok_or("its control side stands still")?;
        running.settle(lasting)?;
        let pause = || {
            let stopped = control.take().and_then(|control| control.stop(lasting));
            if let Some(latest) = stopped {
                *config = latest;
            }
            known_targets(&lasting.table.load())
        };
        give(offer, &sockets(proxy, lasting), pause)
    }
}

/// Every listening socket with what it is for.
fn sockets<'s>(proxy: &'s RunningProxy, lasting: &'s Lasting) -> Vec<(SocketOf, BorrowedFd<'s>)> {
    let listeners = proxy.sockets().iter();
    let mut sockets: Vec<_> = listeners
        .map(|(name, socket)| (SocketOf::Listener(name.clone()), socket.as_fd()))
        .collect();
    sockets.push((SocketOf::Admin, lasting.admin.api.socket.as_fd()));
    if let Some(metrics) = &lasting.admin.metrics {
        sockets.push((SocketOf::Metrics, metrics.socket.as_fd()));
    }
    sockets
}

/// Asks this process' own admin API whether it is ready.
fn readiness(address: SocketAddr) -> io::Result<String> {
    let ip: IpAddr = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    let address = SocketAddr::new(ip, address.port());
    let mut stream = TcpStream::connect_timeout(&address, CHECK_TIME)?;
    stream.set_read_timeout(Some(CHECK_TIME))?;
    let request = format!("GET /readyz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MOST_ANSWER).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn told(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// How long this process' own admin API may take to answer.
const CHECK_TIME: Duration = Duration::from_secs(5);
const MOST_ANSWER: u64 = 16 * 1_024;

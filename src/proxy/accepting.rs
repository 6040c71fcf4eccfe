//! Accepting: hands on whoever connects to a listening socket until the stop, whatever goes wrong
//! with one of them.
//!
//! Here instead of in Pingora, whose loop is deaf for a second where the process has no descriptor
//! left, takes every other shortage for a client's fault, and logs each failure. Here it is deaf for
//! moments, and a shortage is told once. It must never spin: what nobody knows counts as a shortage.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::clock::Clock;
use crate::core::model::{ListenerName, MonoTime, Span};

/// The accepting of one listener.
#[derive(Debug)]
pub(super) struct Accepting {
    listener: ListenerName,
    clock: Clock,
    /// When something was short last; `None` before it ever was.
    short: Option<MonoTime>,
}

impl Accepting {
    pub(super) fn new(listener: ListenerName, clock: Clock) -> Self {
        Self { listener, clock, short: None }
    }

    /// Hands on each client with its address; at the stop also those who wait by then, and closes the
    /// socket. The socket has to be one that does not block.
    pub(super) async fn run(
        mut self,
        socket: std::net::TcpListener,
        mut stop: watch::Receiver<bool>,
        mut welcome: impl FnMut(TcpStream, SocketAddr) + Send,
    ) {
        let socket = match TcpListener::from_std(socket) {
            Ok(socket) => socket,
            Err(error) => {
                tracing::error!(listener = %self.listener, %error, "the listener cannot accept");
                return;
            }
        };
        let mut stopped = pin!(async {
            // A sender that is gone stops it, too.
            let _ = stop.wait_for(|stop| *stop).await;
        });
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut stopped => break,
                accepted = socket.accept() => accepted,
            };
            match accepted {
                // What is written goes out at once: small parts are put together before.
                Ok((stream, peer)) if stream.set_nodelay(true).is_ok() => welcome(stream, peer),
                // Its client is gone.
                Ok(_) => {}
                Err(error) => self.failed(&error).await,
            }
        }
        match socket.into_std() {
            Ok(socket) => self.finish(&socket, welcome),
            Err(error) => {
                tracing::warn!(listener = %self.listener, %error, "who waited is turned away");
            }
        }
    }

    /// Hands on whoever waits already: the system would reset their connections with the socket's end.
    /// It is asked itself, for the runtime learns of them only later.
    fn finish(
        &self,
        socket: &std::net::TcpListener,
        mut welcome: impl FnMut(TcpStream, SocketAddr),
    ) {
        for _ in 0..MOST_WAITING {
            match socket.accept() {
                Ok((stream, peer)) => {
                    // What fails there is the end of this client alone.
                    if let Ok(stream) = prepared(stream) {
                        welcome(stream, peer);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if pause_after(&error).is_none() => {}
                Err(error) => {
                    tracing::warn!(listener = %self.listener, %error, "who waited is turned away");
                    return;
                }
            }
        }
    }

    /// Waits where the next try would fail as well.
    async fn failed(&mut self, error: &io::Error) {
        let Some(pause) = pause_after(error) else {
            tracing::debug!(listener = %self.listener, %error, "a client could not be accepted");
            return;
        };
        if self.is_news(self.clock.mono()) {
            tracing::warn!(
                listener = %self.listener,
                %error,
                "clients have to wait: none can be accepted"
            );
        }
        sleep(pause).await;
    }

    /// Whether nothing was short for a while, up to now.
    fn is_news(&mut self, now: MonoTime) -> bool {
        let last = self.short.replace(now);
        last.is_none_or(|last| now.since(last) > FORGOTTEN)
    }
}

/// A client's socket as the runtime accepts it.
fn prepared(stream: std::net::TcpStream) -> io::Result<TcpStream> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    TcpStream::from_std(stream)
}

/// How long to wait after a failure; `None` where it was that of one client, who is gone.
fn pause_after(error: &io::Error) -> Option<Duration> {
    let is_of_client = Errno::from_io_error(error).is_some_and(|error| OF_ONE.contains(&error));
    (!is_of_client).then_some(PAUSE)
}

/// What may become of a connection before it is accepted, and is told then. What may also mean that
/// the socket is of no use is not among it.
const OF_ONE: [Errno; 10] = [
    Errno::CONNABORTED,
    Errno::CONNRESET,
    Errno::HOSTDOWN,
    Errno::HOSTUNREACH,
    Errno::INTR,
    Errno::NETDOWN,
    Errno::NETUNREACH,
    Errno::NOPROTOOPT,
    Errno::PROTO,
    Errno::TIMEDOUT,
];
/// Fifty tries a second cost a processor nothing, and no client notices so short a wait.
const PAUSE: Duration = Duration::from_millis(20);
/// So many of those who wait at the stop are still accepted: as many as wait at most on a system that
/// nobody has told otherwise.
const MOST_WAITING: usize = 4_096;
/// A shortage is told again after so long without one.
const FORGOTTEN: Span = Span::from_secs(10);

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::sync::mpsc;
    use tokio::time::timeout;

    use super::super::testkit::{PATIENCE, public};
    use super::*;

    fn socket() -> (std::net::TcpListener, SocketAddr) {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        socket.set_nonblocking(true).expect("it is a socket");
        let address = socket.local_addr().expect("bound");
        (socket, address)
    }

    #[tokio::test]
    async fn whoever_connects_before_the_stop_is_handed_on_and_nobody_can_after_it() {
        let (socket, address) = socket();
        let (stop, stopped) = watch::channel(false);
        let (welcomed, mut clients) = mpsc::unbounded_channel();
        let accepting = Accepting::new(public(), Clock::start());
        let accepting = tokio::spawn(accepting.run(socket, stopped, move |stream, peer| {
            welcomed.send((stream, peer)).expect("the test waits for them");
        }));
        for _ in 0..3 {
            let client = TcpStream::connect(address).await.expect("connected");
            let came = timeout(PATIENCE, clients.recv()).await.expect("accepted in time");
            let (stream, peer) = came.expect("it accepts");
            assert_eq!(peer, client.local_addr().expect("connected"));
            assert!(stream.nodelay().expect("it is a socket"));
        }
        stop.send_replace(true);
        timeout(PATIENCE, accepting).await.expect("it ends in time").expect("no panic");
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn who_waits_at_the_stop_is_handed_on() {
        let (socket, address) = socket();
        let (stop, stopped) = watch::channel(false);
        let (welcomed, mut clients) = mpsc::unbounded_channel();
        let accepting = Accepting::new(public(), Clock::start());
        let accepting = tokio::spawn(accepting.run(socket, stopped, move |stream, peer| {
            welcomed.send((stream, peer)).expect("the test waits for them");
        }));
        let _first = TcpStream::connect(address).await.expect("connected");
        timeout(PATIENCE, clients.recv()).await.expect("accepted in time").expect("it accepts");
        // From here to the stop nothing else has its turn: this is the only thread.
        let connect = |_| std::net::TcpStream::connect(address).expect("the system lets it wait");
        let waiting: Vec<_> = (0..5).map(connect).collect();
        stop.send_replace(true);
        timeout(PATIENCE, accepting).await.expect("it ends in time").expect("no panic");
        for client in waiting {
            let came = timeout(PATIENCE, clients.recv()).await.expect("accepted in time");
            let (mut stream, peer) = came.expect("it was handed on");
            assert_eq!(peer, client.local_addr().expect("connected"));
            assert!(stream.nodelay().expect("it is a socket"));
            drop(client);
            let rest =
                timeout(PATIENCE, stream.read(&mut [0; 1])).await.expect("it does not block");
            assert_eq!(rest.expect("no reset"), 0);
        }
        assert!(clients.recv().await.is_none());
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn a_data_plane_that_is_dropped_accepts_nobody() {
        let (socket, address) = socket();
        let (stop, stopped) = watch::channel(false);
        let accepting = Accepting::new(public(), Clock::start()).run(socket, stopped, |_, _| ());
        drop(stop);
        timeout(PATIENCE, accepting).await.expect("it ends in time");
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[test]
    fn a_shortage_is_waited_out_and_what_becomes_of_one_client_is_not() {
        let pause = |error: Errno| pause_after(&io::Error::from_raw_os_error(error.raw_os_error()));
        for error in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
            assert_eq!(pause(error), Some(PAUSE), "{error}");
        }
        for error in [Errno::CONNABORTED, Errno::PROTO, Errno::NETDOWN] {
            assert_eq!(pause(error), None, "{error}");
        }
        // Whatever else it may be, it does not make a loop spin.
        assert_eq!(pause(Errno::BADF), Some(PAUSE));
        assert_eq!(pause_after(&io::Error::other("no error of the system")), Some(PAUSE));
    }

    #[test]
    fn a_shortage_is_told_once_until_it_is_long_over() {
        let mut accepting = Accepting::new(public(), Clock::start());
        let told: Vec<u64> = [0, 20, 40, 9_000, 18_000, 28_001, 28_021]
            .into_iter()
            .filter(|ms| accepting.is_news(MonoTime::from_ms(*ms)))
            .collect();
        assert_eq!(told, [0, 28_001]);
    }
}

//! Two streams copied into each other, until one of them ends or both have to.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use pingora_core::protocols::Stream;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::frames::Frames;

/// A tunnel whose 101 is sent.
pub(super) struct Tunnel {
    pub(super) client: Stream,
    pub(super) target: Stream,
    /// What came from the client before the tunnel stood; `None` if nothing did.
    pub(super) from_client: Option<Bytes>,
    /// What came from the target with its 101; `None` if nothing did.
    pub(super) from_target: Option<Bytes>,
    /// Whether there are frames between which a goodbye fits.
    pub(super) is_websocket: bool,
}

/// How a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The client or the target ended it.
    ByThemselves,
    /// Nothing moved for too long.
    Idle,
    /// It had to end, and the client was told so in the tunnel's protocol.
    SaidGoodbye,
    /// It had to end, and was cut.
    Cut,
}

/// How a direction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// The side that sends has nothing more to send, or the other takes nothing more.
    Over,
    /// It stands between two frames, as it was asked to.
    BetweenFrames,
}

impl Tunnel {
    /// Copies until the tunnel ends by itself, nothing moves for `idle`, or `leave` resolves.
    pub(super) async fn run(self, leave: impl Future<Output = ()>, idle: Duration) -> Ended {
        let (mut client_in, mut client_out) = tokio::io::split(self.client);
        let (mut target_in, mut target_out) = tokio::io::split(self.target);
        let moved = AtomicU64::new(0);
        let (asked, leaving) = watch::channel(false);
        let frames = self.is_websocket.then(Frames::default);
        let never = watch::Sender::new(false);
        let up = copy(
            &mut client_in,
            &mut target_out,
            self.from_client,
            &moved,
            None,
            never.subscribe(),
        );
        let down = copy(&mut target_in, &mut client_out, self.from_target, &moved, frames, leaving);
        let ended = {
            let (mut up, mut down, mut leave) = (pin!(up), pin!(down), pin!(leave));
            let mut idle = pin!(is_idle(&moved, idle));
            let (mut client_done, mut is_leaving) = (false, false);
            let mut last_call = pin!(sleep(Duration::MAX));
            loop {
                tokio::select! {
                    biased;
                    stop = &mut down => match stop {
                        Stop::Over => break Ended::ByThemselves,
                        Stop::BetweenFrames => break Ended::SaidGoodbye,
                    },
                    _ = &mut up, if !client_done => {
                        client_done = true;
                        if !is_leaving {
                            last_call.set(sleep(HALF_OPEN));
                        }
                    }
                    () = &mut leave, if !is_leaving => {
                        is_leaving = true;
                        if !self.is_websocket {
                            break Ended::Cut;
                        }
                        asked.send_replace(true);
                        last_call.set(sleep(GOODBYE));
                    }
                    () = &mut idle => break Ended::Idle,
                    () = &mut last_call => {
                        break if is_leaving { Ended::Cut } else { Ended::ByThemselves };
                    }
                }
            }
        };
        if ended == Ended::SaidGoodbye {
            let goodbye = async {
                client_out.write_all(&GOING_AWAY).await?;
                client_out.shutdown().await?;
                // The client's own close, so that no reset destroys what it has not read yet.
                tokio::io::copy(&mut client_in, &mut tokio::io::sink()).await
            };
            if timeout(GOODBYE, goodbye).await.is_err() {
                tracing::debug!("a client did not close its tunnel in time");
            }
        } else {
            // A stream that cannot be shut down is gone already.
            let _ = timeout(GOODBYE, client_out.shutdown()).await;
        }
        let _ = timeout(GOODBYE, target_out.shutdown()).await;
        ended
    }
}

/// Copies one direction. With `frames` it stops between two of them once it is asked to leave.
async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    first: Option<Bytes>,
    moved: &AtomicU64,
    mut frames: Option<Frames>,
    mut leaving: watch::Receiver<bool>,
) -> Stop {
    let mut buffer = BytesMut::with_capacity(BUFFER);
    buffer.extend_from_slice(&first.unwrap_or_default());
    let mut is_leaving = false;
    loop {
        if !buffer.is_empty() {
            let end = match (&mut frames, is_leaving) {
                (Some(frames), true) => frames.take_to_end(&buffer),
                (Some(frames), false) => {
                    frames.take(&buffer);
                    None
                }
                (None, _) => None,
            };
            let part = &buffer[..end.unwrap_or(buffer.len())];
            let written = async {
                to.write_all(part).await?;
                to.flush().await
            };
            if written.await.is_err() {
                return Stop::Over;
            }
            moved.fetch_add(1, Ordering::Relaxed);
            buffer.clear();
            if end.is_some() {
                return Stop::BetweenFrames;
            }
        }
        if is_leaving && frames.as_ref().is_some_and(Frames::is_between) {
            return Stop::BetweenFrames;
        }
        buffer.reserve(BUFFER);
        tokio::select! {
            biased;
            // First: a target that always has more would keep it from being heard.
            told = asked_to_leave(&mut leaving), if !is_leaving => is_leaving = told,
            read = from.read_buf(&mut buffer) => {
                if !read.is_ok_and(|bytes| bytes > 0) {
                    // Passed on, so that the other side may still finish what it has.
                    let _ = to.shutdown().await;
                    return Stop::Over;
                }
            }
        }
    }
}

/// Resolves when a direction is asked to leave; never once nobody can ask any more.
async fn asked_to_leave(leaving: &mut watch::Receiver<bool>) -> bool {
    if leaving.wait_for(|leave| *leave).await.is_err() {
        std::future::pending::<()>().await;
    }
    true
}

/// Resolves when nothing moved for a time.
async fn is_idle(moved: &AtomicU64, limit: Duration) {
    let mut before = moved.load(Ordering::Relaxed);
    loop {
        sleep(limit).await;
        let now = moved.load(Ordering::Relaxed);
        if now == before {
            return;
        }
        before = now;
    }
}

/// A close frame that says 1001, "going away" (RFC 6455, section 7.4.1).
const GOING_AWAY: [u8; 4] = [0x88, 0x02, 0x03, 0xe9];
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);
/// How long a target may go on when its client has ended.
const HALF_OPEN: Duration = Duration::from_secs(30);
/// How much is read at once.
const BUFFER: usize = 16 * 1_024;

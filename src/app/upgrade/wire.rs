//! One end of the conversation: bounded messages in JSON, each with at most one descriptor, each
//! with a deadline. Blocking.

use std::io::{self, IoSlice, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A connection to the other process.
#[derive(Debug)]
pub(super) struct Wire {
    stream: UnixStream,
}

/// Why nothing could be said or heard.
#[derive(Debug, thiserror::Error)]
pub(in crate::app) enum WireError {
    /// The other end is closed.
    #[error("the other process has closed the connection")]
    Closed,
    /// Nothing came in time.
    #[error("the other process said nothing for {0:?}")]
    Silent(Duration),
    /// It is longer than any message is.
    #[error("a message of {0} bytes is longer than {MOST_BYTES}")]
    TooLong(usize),
    /// It is not what it should be.
    #[error("not a message of this release: {0}")]
    Unknown(serde_json::Error),
    /// Anything else.
    #[error("the connection to the other process failed: {0}")]
    Io(io::Error),
}

/// The most bytes of a message.
pub(super) const MOST_BYTES: usize = 64 * 1_024;
/// How long the other process may take to accept a message.
const WRITE_TIME: Duration = Duration::from_secs(10);
/// The bytes that say how long a message is.
const PREFIX: usize = 4;

impl Wire {
    /// An end over a connection.
    pub(super) fn over(stream: UnixStream) -> Result<Self, WireError> {
        stream.set_nonblocking(false).map_err(WireError::Io)?;
        stream.set_write_timeout(Some(WRITE_TIME)).map_err(WireError::Io)?;
        Ok(Self { stream })
    }

    /// Says something.
    pub(super) fn say<T: Serialize>(&self, message: &T) -> Result<(), WireError> {
        self.say_with(message, None)
    }

    /// Says something, and hands a duplicate of a descriptor over with it.
    pub(super) fn say_with<T: Serialize>(
        &self,
        message: &T,
        handed: Option<BorrowedFd<'_>>,
    ) -> Result<(), WireError> {
        let body = serde_json::to_vec(message).map_err(WireError::Unknown)?;
        let length = body.len();
        let prefix = u32::try_from(length).ok().filter(|_| length <= MOST_BYTES);
        let prefix = prefix.ok_or(WireError::TooLong(length))?.to_be_bytes();
        let mut bytes = Vec::with_capacity(PREFIX + length);
        bytes.extend_from_slice(&prefix);
        bytes.extend_from_slice(&body);
        let descriptors: Vec<BorrowedFd<'_>> = handed.into_iter().collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&descriptors));
        }
        let sent = loop {
            let slices = [IoSlice::new(&bytes)];
            match sendmsg(self.stream.as_fd(), &slices, &mut control, SendFlags::NOSIGNAL) {
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(failed(error.into(), WRITE_TIME)),
                Ok(sent) => break sent,
            }
        };
        // The descriptor has gone with the first byte.
        let rest = bytes.get(sent..).unwrap_or_default();
        (&self.stream).write_all(rest).map_err(|error| failed(error, WRITE_TIME))
    }

    /// Lets nothing more in. Whatever was said before can still be heard; whoever says something
    /// afterwards is refused, so that each word of the other end has either arrived or is known
    /// there not to.
    pub(super) fn stop_hearing(&self) -> Result<(), WireError> {
        self.stream.shutdown(Shutdown::Read).map_err(WireError::Io)
    }

    /// Waits for something to be said.
    pub(super) fn hear<T: DeserializeOwned>(&self, patience: Duration) -> Result<T, WireError> {
        Ok(self.hear_with(patience)?.0)
    }

    /// The same, with the descriptor that came with it.
    pub(super) fn hear_with<T: DeserializeOwned>(
        &self,
        patience: Duration,
    ) -> Result<(T, Option<OwnedFd>), WireError> {
        self.stream.set_read_timeout(Some(patience)).map_err(WireError::Io)?;
        let mut handed = None;
        let mut prefix = [0; PREFIX];
        self.fill(&mut prefix, &mut handed, patience)?;
        let length = usize::try_from(u32::from_be_bytes(prefix)).unwrap_or(usize::MAX);
        if length > MOST_BYTES {
            return Err(WireError::TooLong(length));
        }
        let mut body = vec![0; length];
        self.fill(&mut body, &mut handed, patience)?;
        let message = serde_json::from_slice(&body).map_err(WireError::Unknown)?;
        Ok((message, handed))
    }

    /// Fills a buffer; a descriptor that comes with it is kept, of several the last.
    fn fill(
        &self,
        buffer: &mut [u8],
        handed: &mut Option<OwnedFd>,
        patience: Duration,
    ) -> Result<(), WireError> {
        let mut filled = 0;
        while filled < buffer.len() {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut slices = [IoSliceMut::new(&mut buffer[filled..])];
            let flags = RecvFlags::CMSG_CLOEXEC;
            let received = match recvmsg(self.stream.as_fd(), &mut slices, &mut control, flags) {
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(failed(error.into(), patience)),
                Ok(received) => received.bytes,
            };
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                    for descriptor in descriptors {
                        *handed = Some(descriptor);
                    }
                }
            }
            if received == 0 {
                return Err(WireError::Closed);
            }
            filled += received;
        }
        Ok(())
    }
}

fn failed(error: io::Error, patience: Duration) -> WireError {
    let kind = error.kind();
    if kind == io::ErrorKind::WouldBlock || kind == io::ErrorKind::TimedOut {
        WireError::Silent(patience)
    } else if kind == io::ErrorKind::BrokenPipe || kind == io::ErrorKind::ConnectionReset {
        WireError::Closed
    } else {
        WireError::Io(error)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixStream;

    use super::*;

    const SOON: Duration = Duration::from_millis(50);
    const PATIENCE: Duration = Duration::from_secs(10);

    fn pair() -> (Wire, Wire) {
        let (one, other) = UnixStream::pair().expect("a pair");
        (Wire::over(one).expect("set up"), Wire::over(other).expect("set up"))
    }

    #[test]
    fn a_socket_that_is_handed_over_is_the_same_socket() {
        let (one, other) = pair();
        let socket = TcpListener::bind("127.0.0.1:0").expect("bound");
        one.say_with(&"public".to_owned(), Some(socket.as_fd())).expect("said");
        one.say(&7_u32).expect("said");
        let (name, handed) = other.hear_with::<String>(PATIENCE).expect("heard");
        assert_eq!(name, "public");
        let handed = TcpListener::from(handed.expect("a descriptor came with it"));
        assert_eq!(handed.local_addr().ok(), socket.local_addr().ok());
        let (number, none) = other.hear_with::<u32>(PATIENCE).expect("heard");
        assert_eq!((number, none.is_none()), (7, true));
    }

    #[test]
    fn the_longest_message_arrives_whole_and_a_longer_one_is_refused() {
        let (one, other) = pair();
        let quotes = 2;
        let longest = "x".repeat(MOST_BYTES - quotes);
        let said = std::thread::scope(|scope| {
            let heard = scope.spawn(|| other.hear::<String>(PATIENCE));
            one.say(&longest).expect("said");
            heard.join().expect("no panic")
        });
        assert_eq!(said.expect("heard").len(), longest.len());
        let longer = format!("{longest}x");
        assert!(matches!(one.say(&longer), Err(WireError::TooLong(_))));
        let claim = u32::try_from(MOST_BYTES + 1).expect("small").to_be_bytes();
        (&one.stream).write_all(&claim).expect("written");
        assert!(matches!(other.hear::<String>(PATIENCE), Err(WireError::TooLong(_))));
    }

    #[test]
    fn what_was_said_before_an_end_stopped_hearing_is_heard_and_nothing_after_it() {
        let (one, other) = pair();
        one.say(&1_u32).expect("said");
        other.stop_hearing().expect("stopped");
        assert!(matches!(one.say(&2_u32), Err(WireError::Closed)));
        assert_eq!(other.hear::<u32>(PATIENCE).expect("heard"), 1);
        assert!(matches!(other.hear::<u32>(PATIENCE), Err(WireError::Closed)));
        other.say(&3_u32).expect("it can still speak");
        assert_eq!(one.hear::<u32>(PATIENCE).expect("heard"), 3);
    }

    #[test]
    fn silence_and_the_end_are_told_apart() {
        let (one, other) = pair();
        assert!(matches!(other.hear::<u32>(SOON), Err(WireError::Silent(_))));
        one.say(&"no number").expect("said");
        assert!(matches!(other.hear::<u32>(PATIENCE), Err(WireError::Unknown(_))));
        drop(one);
        assert!(matches!(other.hear::<u32>(PATIENCE), Err(WireError::Closed)));
    }
}

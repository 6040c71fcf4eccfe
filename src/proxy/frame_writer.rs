//! What is written to a client of HTTP/2 besides what h2 writes: frames of ours between its own, and
//! fields of ours in answers to what was no request (`unclaimed`).
//!
//! h2 never learns of it: of its own bytes each is taken once and in order.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use crate::telemetry::{EdgeEvent, Recorder};

use super::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, HEAD, HEADERS, Head, MOST, PADDED,
    RST_STREAM,
};
use super::open_streams::OpenStreams;
use super::table_sizes::TableSizes;
use super::unclaimed;

/// Follows what h2 writes, and adds to it.
#[derive(Debug)]
pub(super) struct FrameWriter {
    streams: Arc<OpenStreams>,
    recorder: Arc<Recorder>,
    /// Those of h2's own that were taken.
    frames: Frames,
    /// Whether h2 has written its first one, which has to be the first.
    has_begun: bool,
    /// Whether a header goes on in the next frame, so that no other may come before it.
    in_header: bool,
    /// What comes before the next byte of h2's.
    pending: Vec<u8>,
    /// How much of that was written.
    written: usize,
    /// Whether some of it is yet to be flushed.
    is_unflushed: bool,
    /// With what a header of ours has to begin.
    table_sizes: TableSizes,
}

impl FrameWriter {
    /// Follows a connection from its first byte on.
    pub(super) fn new(streams: Arc<OpenStreams>, recorder: Arc<Recorder>) -> Self {
        Self {
            streams,
            recorder,
            frames: Frames::of_server(),
            has_begun: false,
            in_header: false,
            pending: Vec::new(),
            written: 0,
            is_unflushed: false,
            table_sizes: TableSizes::new(),
        }
    }

    /// Takes what the client sent.
    pub(super) fn client_sent(&mut self, bytes: &[u8]) {
        self.table_sizes.sent(bytes);
    }

    /// Writes what waits to be written, if this is the place for it, and flushes it. Where the client
    /// takes no more, the rest is for the next time.
    pub(super) fn speak(
        &mut self,
        io: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> io::Result<()> {
        if self.write_pending(io, cx)?.is_ready() && self.is_unflushed {
            self.is_unflushed = Pin::new(io).poll_flush(cx)?.is_pending();
        }
        Ok(())
    }

    /// Writes bytes of h2's, or what is put in their place; gives how many were taken.
    pub(super) fn poll_write(
        &mut self,
        io: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.write_pending(io, cx))?;
        let plain = self.plain(bytes);
        if plain == 0 && !bytes.is_empty() {
            let taken = self.extend_answer(bytes);
            // It is taken, also where not all of it can be written now.
            let _ = self.write_pending(io, cx)?;
            return Poll::Ready(Ok(taken));
        }
        let count = ready!(Pin::new(io).poll_write(cx, &bytes[..plain]))?;
        self.wrote(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    /// The same for bytes in several parts.
    pub(super) fn poll_write_vectored(
        &mut self,
        io: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.write_pending(io, cx))?;
        // h2 has heads of frames in its first part alone: what follows is in the last of them.
        let first = parts.iter().find(|part| !part.is_empty());
        if let Some(first) = first.filter(|first| self.plain(first) < first.len()) {
            return self.poll_write(io, cx, first);
        }
        let count = ready!(Pin::new(io).poll_write_vectored(cx, parts))?;
        let mut left = count;
        for part in parts {
            let here = left.min(part.len());
            self.wrote(&part[..here]);
            left -= here;
        }
        Poll::Ready(Ok(count))
    }

    pub(super) fn poll_flush(
        &mut self,
        io: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.write_pending(io, cx))?;
        ready!(Pin::new(io).poll_flush(cx))?;
        self.is_unflushed = false;
        Poll::Ready(Ok(()))
    }

    /// Writes what comes before the next byte of h2's.
    pub(super) fn write_pending(
        &mut self,
        io: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            // No more is taken before that is gone: what waits is bounded, and this is not.
            let has_place = self.has_begun && self.frames.is_between() && !self.in_header;
            if has_place && self.pending.is_empty() {
                self.streams.take_waiting(&mut self.pending);
                self.table_sizes.put_owed(&mut self.pending);
            }
            if self.pending.is_empty() {
                return Poll::Ready(Ok(()));
            }
            while self.written < self.pending.len() {
                let rest = &self.pending[self.written..];
                let count = ready!(Pin::new(&mut *io).poll_write(cx, rest))?;
                if count == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.written += count;
                self.is_unflushed = true;
            }
            // An idle connection keeps no room for it.
            (self.pending, self.written) = (Vec::new(), 0);
        }
    }

    /// How many of these bytes may go out as they are, one after the other: up to the first head of a
    /// header that something is put into or before.
    fn plain(&self, bytes: &[u8]) -> usize {
        let (mut frames, mut at, mut start) = (self.frames, 0, None);
        while at < bytes.len() {
            if frames.is_between() {
                start = Some(at);
            }
            let (taken, kind) = frames.step(&bytes[at..]);
            at += taken;
            if let (Some(HEADERS), Some(start)) = (kind, start) {
                let waits = start > 0 && self.streams.has_waiting();
                if waits || self.is_bare(frames.head(), bytes.len() - start) {
                    return start;
                }
            }
        }
        bytes.len()
    }

    /// Whether the frame with this head, of which so many bytes are there, answers no request of
    /// ours, and has to say so.
    fn is_bare(&self, head: Head, there: usize) -> bool {
        head.has(END_HEADERS)
            && !head.has(PADDED)
            && there >= HEAD + head.length
            && head.length + unclaimed::MOST <= MOST
            && self.streams.is_unclaimed(head.stream)
    }

    /// Takes the frame at the beginning of these bytes, and has it written with fields of ours.
    fn extend_answer(&mut self, bytes: &[u8]) -> usize {
        let (head, payload) = bytes.split_first_chunk().expect("the whole frame is there");
        let head = Head::of(*head);
        let header = &payload[..head.length];
        let fields = unclaimed::fields(head.stream, header);
        self.recorder.edge(EdgeEvent::Unreadable);
        let longer = Head { length: head.length + fields.len(), ..head };
        self.pending.extend_from_slice(&longer.bytes());
        self.pending.extend_from_slice(header);
        self.pending.extend_from_slice(&fields);
        let taken = HEAD + head.length;
        self.wrote(&bytes[..taken]);
        taken
    }

    /// These bytes of h2's were taken.
    fn wrote(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (taken, kind) = self.frames.step(bytes);
            bytes = &bytes[taken..];
            if kind.is_some() {
                self.has_begun = true;
                self.passes(self.frames.head());
            }
        }
    }

    /// The head of a frame of h2's was taken.
    fn passes(&mut self, head: Head) {
        self.table_sizes.answered(head);
        if let HEADERS | CONTINUATION = head.kind {
            self.in_header = !head.has(END_HEADERS);
        }
        let ends = match head.kind {
            DATA | HEADERS => head.has(END_STREAM),
            kind => kind == RST_STREAM,
        };
        if ends {
            self.streams.over(head.stream);
        } else if head.kind == HEADERS {
            self.streams.answered(head.stream);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// A client that takes so many bytes at once, and every other time nothing.
    #[derive(Debug)]
    struct Slow {
        most: usize,
        is_ready: bool,
        got: Vec<u8>,
    }

    impl AsyncWrite for Slow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.is_ready = !self.is_ready;
            if !self.is_ready {
                return Poll::Pending;
            }
            let count = bytes.len().min(self.most);
            self.got.extend_from_slice(&bytes[..count]);
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let head = Head { length: payload.len(), kind, flags, stream };
        [&head.bytes()[..], payload].concat()
    }

    /// A writer, and a client that takes so many bytes at once. Requests have come on streams 1 to 7.
    fn writer(most: usize) -> (FrameWriter, Arc<OpenStreams>, Slow) {
        let streams = OpenStreams::of_at_most(10);
        for stream in [1, 3, 5, 7] {
            streams.opened(stream);
            streams.claim(stream);
        }
        streams.opened(9);
        let writer = FrameWriter::new(Arc::clone(&streams), Arc::new(Recorder::default()));
        (writer, streams, Slow { most, is_ready: false, got: Vec::new() })
    }

    /// Has all of this written, the first `first` bytes of it in a part of their own.
    fn write(writer: &mut FrameWriter, client: &mut Slow, bytes: &[u8], first: usize) {
        let mut cx = Context::from_waker(Waker::noop());
        let mut at = 0;
        while at < bytes.len() {
            let cut = first.max(at);
            let parts = [io::IoSlice::new(&bytes[at..cut]), io::IoSlice::new(&bytes[cut..])];
            if let Poll::Ready(count) = writer.poll_write_vectored(client, &mut cx, &parts) {
                at += count.expect("taken");
            }
        }
        while writer.poll_flush(client, &mut cx).is_pending() {}
    }

    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const ANSWER: u8 = END_HEADERS;
    const HINT: &[u8] = &[0, 0, 2, HEADERS, END_HEADERS, 0, 0, 0, 1, 7, 7];

    #[test]
    fn a_hint_stands_between_two_frames_and_before_its_answer_however_it_is_written() {
        let begun = frame(DATA, 0, 3, b"so many bytes");
        let rest = [
            frame(HEADERS, 0, 5, b"a header"),
            frame(CONTINUATION, END_HEADERS, 5, b"that goes on"),
            frame(HEADERS, ANSWER, 1, b"an answer"),
            frame(DATA, END_STREAM, 1, b"body"),
        ];
        for most in 1..80 {
            for cut in 0..begun.len() {
                let (mut writer, streams, mut client) = writer(most);
                let first = [&SETTINGS[..], &begun[..cut]].concat();
                write(&mut writer, &mut client, &first, first.len());
                assert!(streams.say(1, HINT.to_vec()));
                let all = [&begun[cut..], &rest.concat()].concat();
                write(&mut writer, &mut client, &all, all.len());
                let after = [&begun[..], &rest.concat()].concat();
                // Before the frame that is under way, or right behind it.
                let at = if cut == 0 { 0 } else { begun.len() };
                let expected = [&SETTINGS[..], &after[..at], HINT, &after[at..]].concat();
                assert_eq!(client.got, expected, "{most} at once, said after {cut} bytes");
            }
        }
    }

    #[test]
    fn nothing_is_said_before_the_first_frame_or_inside_of_a_header() {
        let mut cx = Context::from_waker(Waker::noop());
        let (mut writer, streams, mut client) = writer(100);
        assert!(streams.say(1, HINT.to_vec()));
        writer.speak(&mut client, &mut cx).expect("written");
        assert!(client.got.is_empty());
        write(&mut writer, &mut client, &SETTINGS, 9);
        assert!(client.got.ends_with(HINT));
        write(&mut writer, &mut client, &frame(HEADERS, 0, 3, b"a header"), 0);
        let had = client.got.len();
        assert!(streams.say(1, HINT.to_vec()));
        writer.speak(&mut client, &mut cx).expect("written");
        assert_eq!(client.got.len(), had);
        write(&mut writer, &mut client, &frame(CONTINUATION, END_HEADERS, 3, b"ends"), 0);
        assert!(client.got.ends_with(HINT));
        // By itself, as far as the client takes it.
        assert!(streams.say(1, HINT.to_vec()));
        let had = client.got.len();
        for _ in 0..4 {
            writer.speak(&mut client, &mut cx).expect("written");
        }
        assert_eq!(&client.got[had..], HINT);
    }

    /// A client that takes nothing.
    #[derive(Debug)]
    struct Stuck;

    impl AsyncWrite for Stuck {
        fn poll_write(
            self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            _bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }

        fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    #[test]
    fn a_hint_is_the_first_to_say_that_the_table_became_smaller() {
        let (mut writer, streams, mut client) = writer(100);
        let smaller: [u8; 15] = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        writer.client_sent(&[&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &smaller].concat());
        let confirmation = [0, 0, 0, 4, 1, 0, 0, 0, 0];
        let before = [SETTINGS, confirmation].concat();
        write(&mut writer, &mut client, &before, 0);
        assert!(streams.say(1, HINT.to_vec()) && streams.say(3, HINT.to_vec()));
        let answer = frame(HEADERS, ANSWER, 1, b"an answer");
        write(&mut writer, &mut client, &answer, 0);
        let first = [0, 0, 3, HEADERS, END_HEADERS, 0, 0, 0, 1, 0x20, 7, 7];
        assert_eq!(client.got, [&before[..], &first, HINT, &answer].concat());
    }

    #[test]
    fn what_a_client_does_not_take_does_not_pile_up_and_comes_when_it_does() {
        let mut cx = Context::from_waker(Waker::noop());
        let (mut writer, streams, mut client) = writer(100);
        write(&mut writer, &mut client, &SETTINGS, 0);
        let mut said = 0;
        for _ in 0..10_000 {
            said += usize::from(streams.say(1, HINT.to_vec()));
            writer.speak(&mut Stuck, &mut cx).expect("it waits");
        }
        // One is under way, and so many may wait.
        assert_eq!(said, 1 + 256);
        while writer.poll_flush(&mut client, &mut cx).is_pending() {}
        assert_eq!(client.got, [&SETTINGS[..], &HINT.repeat(said)].concat());
    }

    #[test]
    fn nothing_is_said_on_a_stream_that_has_ended() {
        for end in [frame(RST_STREAM, 0, 1, &[0; 4]), frame(HEADERS, ANSWER, 1, b"an answer")] {
            let (mut writer, streams, mut client) = writer(100);
            let all = [&SETTINGS[..], &end].concat();
            write(&mut writer, &mut client, &all, 0);
            assert!(!streams.say(1, HINT.to_vec()));
            assert_eq!(client.got, all);
        }
    }

    #[test]
    fn an_answer_to_no_request_says_whose_it_is_however_it_is_written() {
        let header = [0x48, 0x82, 0x68, 0x01];
        let bare = frame(HEADERS, END_HEADERS | END_STREAM, 9, &header);
        let before = [&SETTINGS[..], &frame(HEADERS, ANSWER, 1, b"an answer")].concat();
        let behind = frame(DATA, END_STREAM, 1, b"body");
        let all = [&before[..], &bare, &behind].concat();
        for most in 1..80 {
            // h2 has heads in its first part alone.
            for first in [before.len() + bare.len(), all.len()] {
                let (mut writer, _streams, mut client) = writer(most);
                write(&mut writer, &mut client, &all, first);
                let got = &client.got[..];
                let got = got.strip_prefix(&before[..]).expect("first");
                let got = got.strip_suffix(&behind[..]).expect("last");
                let (head, payload) = got.split_first_chunk().expect("a head");
                let head = Head::of(*head);
                let expected =
                    Head { length: payload.len(), ..Head::of([0, 0, 0, 1, 5, 0, 0, 0, 9]) };
                assert_eq!(head, expected, "{most} at once");
                let fields = payload.strip_prefix(&header[..]).expect("its own");
                let text = String::from_utf8_lossy(fields).into_owned();
                assert!(
                    text.contains("x-request-id") && text.contains("header_too_large"),
                    "{text}"
                );
                assert_eq!(writer.recorder.edge_count(EdgeEvent::Unreadable), 1);
            }
        }
    }

    #[test]
    fn an_answer_that_a_request_gave_before_it_was_over_is_left_alone() {
        let (mut writer, streams, mut client) = writer(7);
        streams.release(1);
        let answer = frame(HEADERS, END_HEADERS | END_STREAM, 1, b"an answer");
        let all = [&SETTINGS[..], &answer].concat();
        write(&mut writer, &mut client, &all, all.len());
        assert_eq!(client.got, all);
    }
}

//! Puts the tag of its stream behind the header of each request of HTTP/2, as it is read.
//!
//! It becomes the last field of the frame with which the header ends, before its padding; only where
//! that frame is as large as one may be does it get a frame of its own. Frames that follow one
//! another would be the simpler way, but h2 ends the whole connection at a CONTINUATION behind a
//! header that it has refused already, instead of its stream alone.

use std::sync::Arc;

use super::frames::{
    CONTINUATION, END_HEADERS, HEAD, HEADERS, Head, MOST, PADDED, PREFACE, PRIORITY, RST_STREAM,
    WINDOW_UPDATE,
};
use super::open_streams::OpenStreams;
use super::stream_tag::FIELD;

/// Follows what a client sends, and adds to it.
#[derive(Debug)]
pub(super) struct Tagger {
    streams: Arc<OpenStreams>,
    /// So many bytes come before the next head.
    ahead: usize,
    /// A head under way, with the length of its frame's padding. None of it is passed on before it is
    /// whole.
    held: [u8; HEAD + 1],
    /// How much of it is there.
    have: usize,
    /// The tag that is yet to be put; `None` where none is.
    due: Option<Due>,
    /// The stream whose request's header goes on in the next frame; `None` where none does.
    block: Option<u32>,
    /// The last stream that a request began on.
    last: u32,
}

/// A tag that is yet to be put.
#[derive(Clone, Copy, Debug)]
struct Due {
    /// Behind so many bytes.
    behind: usize,
    stream: u32,
    /// Whether it gets a frame of its own.
    in_frame: bool,
}

impl Tagger {
    /// Follows a connection from its first byte on.
    pub(super) fn new(streams: Arc<OpenStreams>) -> Self {
        Self {
            streams,
            ahead: PREFACE,
            held: [0; HEAD + 1],
            have: 0,
            due: None,
            block: None,
            last: 0,
        }
    }

    /// Takes what the client sent. So many bytes of its beginning are passed on as they are, and
    /// behind them `rest`.
    pub(super) fn sent(&mut self, bytes: &[u8], rest: &mut Vec<u8>) -> usize {
        let (mut at, mut plain) = (0, 0);
        let mut is_plain = self.have == 0;
        loop {
            if let Some(due) = self.due.take_if(|due| due.behind == 0) {
                is_plain = false;
                self.put(due, rest);
            }
            if at == bytes.len() {
                return plain;
            }
            let start = at;
            if self.ahead > 0 {
                at += self.pass(bytes.len() - at);
                if is_plain {
                    plain = at;
                } else {
                    rest.extend_from_slice(&bytes[start..at]);
                }
                continue;
            }
            let is_new = self.have == 0;
            while at < bytes.len() && !self.is_head_whole() {
                self.held[self.have] = bytes[at];
                self.have += 1;
                at += 1;
            }
            if !self.is_head_whole() {
                return plain;
            }
            let is_altered = self.begin();
            if is_plain && is_new && !is_altered {
                plain = at;
            } else {
                is_plain = false;
                rest.extend_from_slice(&self.held[..self.have]);
            }
            self.have = 0;
        }
    }

    /// The client sends no more: passes on what was held back.
    pub(super) fn end(&mut self, rest: &mut Vec<u8>) {
        rest.extend_from_slice(&self.held[..self.have]);
        self.have = 0;
    }

    /// Passes bytes of a frame, of so many that are there, up to its end or to the place of a tag.
    fn pass(&mut self, there: usize) -> usize {
        let mut run = there.min(self.ahead);
        if let Some(due) = &mut self.due {
            run = run.min(due.behind);
            due.behind -= run;
        }
        self.ahead -= run;
        run
    }

    fn is_head_whole(&self) -> bool {
        let wanted = if self.have >= HEAD && is_padded(self.head()) { HEAD + 1 } else { HEAD };
        self.have >= wanted
    }

    fn head(&self) -> Head {
        let [head @ .., _padding] = self.held;
        Head::of(head)
    }

    /// A frame begins; whether its head was altered.
    fn begin(&mut self) -> bool {
        let head = self.head();
        self.ahead = head.length - (self.have - HEAD);
        let block = self.block.take();
        let is_new = head.stream > self.last && head.stream % 2 == 1;
        let is_header = match head.kind {
            HEADERS if is_new => {
                self.last = head.stream;
                self.streams.opened(head.stream);
                true
            }
            CONTINUATION => block == Some(head.stream),
            RST_STREAM => {
                self.streams.client_resets(head.stream);
                false
            }
            // Whoever wants only to be kept could say anything else, and take nothing.
            WINDOW_UPDATE => {
                self.streams.hear();
                false
            }
            _ => false,
        };
        if is_header && !head.has(END_HEADERS) {
            self.block = Some(head.stream);
        }
        is_header && head.has(END_HEADERS) && self.has_place(head)
    }

    /// Makes place for a tag in the frame that begins, with which a header ends, or behind it;
    /// `false` where there is none, because the frame is malformed.
    fn has_place(&mut self, head: Head) -> bool {
        let padding = if is_padded(head) { usize::from(self.held[HEAD]) } else { 0 };
        let is_first = head.kind == HEADERS;
        let in_front = if is_first && head.has(PRIORITY) { 5 } else { 0 };
        let is_cut_off = is_first && head.has(PADDED) && head.length == 0;
        if is_cut_off || in_front + padding > self.ahead {
            return false;
        }
        let in_frame = head.length + FIELD > MOST;
        let altered = if in_frame {
            Head { flags: head.flags & !END_HEADERS, ..head }
        } else {
            Head { length: head.length + FIELD, ..head }
        };
        let behind = if in_frame { self.ahead } else { self.ahead - padding };
        self.held[..HEAD].copy_from_slice(&altered.bytes());
        self.due = Some(Due { behind, stream: head.stream, in_frame });
        true
    }

    fn put(&self, due: Due, rest: &mut Vec<u8>) {
        if due.in_frame {
            let (kind, flags) = (CONTINUATION, END_HEADERS);
            let head = Head { length: FIELD, kind, flags, stream: due.stream };
            rest.extend_from_slice(&head.bytes());
        }
        self.streams.tag().put(due.stream, rest);
    }
}

/// Whether the length of its padding stands behind a head.
fn is_padded(head: Head) -> bool {
    head.kind == HEADERS && head.has(PADDED) && head.length > 0
}

#[cfg(test)]
mod tests {
    use super::super::frames::{DATA, END_STREAM};
    use super::*;

    const SAID_FIRST: &[u8; PREFACE] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    fn frame(kind: u8, flags: u8, stream: u32, parts: &[&[u8]]) -> Vec<u8> {
        let payload = parts.concat();
        let head = Head { length: payload.len(), kind, flags, stream };
        [&head.bytes()[..], &payload].concat()
    }

    fn tag(streams: &OpenStreams, stream: u32) -> Vec<u8> {
        let mut field = Vec::new();
        streams.tag().put(stream, &mut field);
        field
    }

    /// What is passed on of these bytes in parts of a size.
    fn passed(streams: &Arc<OpenStreams>, bytes: &[u8], size: usize) -> Vec<u8> {
        let mut tagger = Tagger::new(Arc::clone(streams));
        let mut passed = Vec::new();
        for part in bytes.chunks(size) {
            let mut rest = Vec::new();
            let plain = tagger.sent(part, &mut rest);
            passed.extend_from_slice(&part[..plain]);
            passed.extend_from_slice(&rest);
        }
        let mut rest = Vec::new();
        tagger.end(&mut rest);
        passed.extend_from_slice(&rest);
        passed
    }

    fn check(sent: &[Vec<u8>], expected: impl Fn(&OpenStreams) -> Vec<Vec<u8>>) {
        let sent = [&SAID_FIRST[..], &sent.concat()[..]].concat();
        let sizes = if sent.len() < 1_000 { sent.len() } else { 40 };
        for size in (1..=sizes).chain([sent.len() - 1, sent.len()]) {
            let streams = OpenStreams::of_at_most(10);
            let expected = [&SAID_FIRST[..], &expected(&streams).concat()[..]].concat();
            assert_eq!(passed(&streams, &sent, size), expected, "in parts of {size}");
        }
    }

    #[test]
    fn each_request_gets_its_tag_and_nothing_else_is_touched() {
        let ends = END_STREAM | END_HEADERS;
        let others = [
            frame(4, 0, 0, &[&[0, 4, 0, 0, 0, 9]]),
            frame(DATA, 0, 1, &[b"a body that looks like nothing"]),
            frame(DATA, 0, 1, &[b""]),
            // Trailers, and what is no request's header at all.
            frame(HEADERS, ends, 1, &[b"trailers"]),
            frame(HEADERS, ends, 0, &[b"no stream"]),
            frame(HEADERS, ends, 4, &[b"not a client's"]),
            frame(CONTINUATION, END_HEADERS, 3, &[b"nothing goes on"]),
            frame(RST_STREAM, 0, 1, &[&[0, 0, 0, 8]]),
        ]
        .concat();
        let sent = [
            frame(HEADERS, END_HEADERS, 1, &[b"one"]),
            others.clone(),
            frame(HEADERS, ends, 3, &[b""]),
            frame(HEADERS, ends, 7, &[b"seven"]),
            frame(HEADERS, ends, 5, &[b"too late"]),
        ];
        check(&sent, |streams| {
            vec![
                frame(HEADERS, END_HEADERS, 1, &[b"one", &tag(streams, 1)]),
                others.clone(),
                frame(HEADERS, ends, 3, &[&tag(streams, 3)]),
                frame(HEADERS, ends, 7, &[b"seven", &tag(streams, 7)]),
                frame(HEADERS, ends, 5, &[b"too late"]),
            ]
        });
    }

    #[test]
    fn only_what_lets_more_be_sent_is_heard() {
        for kind in 0..=10 {
            let streams = OpenStreams::of_at_most(10);
            let sent = [&SAID_FIRST[..], &frame(kind, 0, 0, &[b"1234"])].concat();
            passed(&streams, &sent, sent.len());
            assert_eq!(streams.take_heard(), kind == WINDOW_UPDATE, "{kind}");
        }
    }

    #[test]
    fn a_tag_stands_before_the_padding_and_behind_the_last_part_of_a_header() {
        let padded = PADDED | PRIORITY | END_HEADERS;
        let sent = [
            frame(HEADERS, padded, 1, &[b"\x03prioheader\0\0\0"]),
            frame(HEADERS, PADDED | END_HEADERS, 3, &[b"\x00"]),
            frame(HEADERS, PADDED, 5, &[b"\x01a\0"]),
            frame(CONTINUATION, 0, 5, &[b"b"]),
            // The flags mean nothing there.
            frame(CONTINUATION, padded, 5, &[b"\x09c"]),
        ];
        check(&sent, |streams| {
            let (one, three, five) = (tag(streams, 1), tag(streams, 3), tag(streams, 5));
            vec![
                frame(HEADERS, padded, 1, &[b"\x03prioheader", &one, b"\0\0\0"]),
                frame(HEADERS, PADDED | END_HEADERS, 3, &[b"\x00", &three]),
                frame(HEADERS, PADDED, 5, &[b"\x01a\0"]),
                frame(CONTINUATION, 0, 5, &[b"b"]),
                frame(CONTINUATION, padded, 5, &[b"\x09c", &five]),
            ]
        });
    }

    #[test]
    fn a_frame_that_is_full_is_followed_by_another() {
        for (length, fits) in [(MOST - FIELD, true), (MOST - FIELD + 1, false), (MOST, false)] {
            let header = vec![7_u8; length];
            let sent = [frame(HEADERS, END_HEADERS, 1, &[&header]), frame(DATA, 0, 1, &[b"x"])];
            check(&sent, |streams| {
                let tag = tag(streams, 1);
                let header = if fits {
                    frame(HEADERS, END_HEADERS, 1, &[&header, &tag])
                } else {
                    let next = frame(CONTINUATION, END_HEADERS, 1, &[&tag]);
                    [frame(HEADERS, 0, 1, &[&header]), next].concat()
                };
                vec![header, frame(DATA, 0, 1, &[b"x"])]
            });
        }
    }

    #[test]
    fn what_is_malformed_stays_as_it_is() {
        let malformed = [
            frame(HEADERS, PADDED | END_HEADERS, 1, &[b""]),
            frame(HEADERS, PADDED | END_HEADERS, 1, &[b"\x03ab"]),
            frame(HEADERS, PRIORITY | END_HEADERS, 1, &[b"1234"]),
            frame(HEADERS, PADDED | PRIORITY | END_HEADERS, 1, &[b"\x0112345"]),
            // A header that is broken into, and a part of another one's.
            [frame(HEADERS, 0, 1, &[b"a"]), frame(6, 0, 0, &[b"12345678"])].concat(),
            [frame(HEADERS, 0, 1, &[b"a"]), frame(CONTINUATION, END_HEADERS, 3, &[b"b"])].concat(),
            // It ends inside of a head.
            frame(HEADERS, 0, 1, &[b"a"])[..5].to_vec(),
        ];
        for sent in malformed {
            check(std::slice::from_ref(&sent), |_| vec![sent.clone()]);
        }
    }
}

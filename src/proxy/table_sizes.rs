//! How large a client lets the table be that headers of HTTP/2 are compressed with (RFC 7541, section
//! 4.2). Where it makes it smaller, the next header that it is sent has to begin with that, or the
//! connection is at an end. h2 sees to it in its own headers, but one of ours may be the next.
//!
//! That h2 then says it again does no harm: between the two no header of its own was written.

use std::collections::VecDeque;

use super::field_block::put_table_size;
use super::frames::{ACK, Frames, HEAD, HEADERS, Head, SETTINGS};

/// Follows the settings of one client.
#[derive(Debug)]
pub(super) struct TableSizes {
    /// What the client sends.
    frames: Frames,
    /// Those under way; `None` outside of them.
    settings: Option<Settings>,
    /// The sizes in those that h2 has not confirmed, `None` for each without one. h2 confirms them before
    /// it reads on, so that there are no more of them than are read at once.
    unconfirmed: VecDeque<Option<u32>>,
    /// What the next header begins with; `None` if it need not.
    owed: Option<u32>,
}

/// Settings under way.
#[derive(Debug, Default)]
struct Settings {
    /// The one under way.
    entry: [u8; ENTRY],
    /// How much of it is there.
    have: usize,
    /// The table's size, which the last one says that is about it.
    size: Option<u32>,
}

impl TableSizes {
    /// Follows a connection from its first byte on.
    pub(super) fn new() -> Self {
        let unconfirmed = VecDeque::new();
        Self { frames: Frames::of_client(), settings: None, unconfirmed, owed: None }
    }

    /// Takes what the client sent.
    pub(super) fn sent(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (taken, kind) = self.frames.step(bytes);
            let (part, rest) = bytes.split_at(taken);
            bytes = rest;
            if kind == Some(SETTINGS) && !self.frames.head().has(ACK) {
                self.settings = Some(Settings::default());
            } else if let Some(settings) = &mut self.settings {
                settings.take(part);
            }
            if self.frames.is_between()
                && let Some(settings) = self.settings.take()
            {
                self.unconfirmed.push_back(settings.size);
            }
        }
    }

    /// The head of a frame of h2's goes out.
    pub(super) fn answered(&mut self, head: Head) {
        if head.kind == HEADERS {
            self.owed = None;
        } else if head.kind == SETTINGS && head.has(ACK) {
            let size = self.unconfirmed.pop_front().flatten();
            if let Some(size) = size.filter(|size| *size < DEFAULT) {
                self.owed = Some(self.owed.map_or(size, |owed| owed.min(size)));
            }
        }
    }

    /// Has the first of these frames, each a whole header, begin with what is owed.
    pub(super) fn put_owed(&mut self, frames: &mut Vec<u8>) {
        let Some((head, _)) = frames.split_first_chunk::<HEAD>() else { return };
        let head = Head::of(*head);
        let Some(size) = self.owed.take() else { return };
        let mut first = Vec::new();
        put_table_size(size, &mut first);
        let longer = Head { length: head.length + first.len(), ..head };
        *frames = [&longer.bytes()[..], &first, &frames[HEAD..]].concat();
    }
}

impl Settings {
    fn take(&mut self, part: &[u8]) {
        for byte in part {
            self.entry[self.have] = *byte;
            self.have += 1;
            if self.have == ENTRY {
                self.have = 0;
                let [a, b, value @ ..] = self.entry;
                if u16::from_be_bytes([a, b]) == HEADER_TABLE_SIZE {
                    self.size = Some(u32::from_be_bytes(value));
                }
            }
        }
    }
}

/// Bytes of a setting.
const ENTRY: usize = 6;
/// The setting that is about the table (RFC 9113, section 6.5.2).
const HEADER_TABLE_SIZE: u16 = 1;
/// The table's size unless it is said, and h2's at most.
const DEFAULT: u32 = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const HINT: [u8; 11] = [0, 0, 2, HEADERS, 4, 0, 0, 0, 1, 7, 7];

    fn head(kind: u8, flags: u8) -> Head {
        Head { length: 0, kind, flags, stream: 0 }
    }

    fn settings(entries: &[(u16, u32)]) -> Vec<u8> {
        let mut frame = Head { length: 6 * entries.len(), ..head(SETTINGS, 0) }.bytes().to_vec();
        for (id, value) in entries {
            frame.extend_from_slice(&id.to_be_bytes());
            frame.extend_from_slice(&value.to_be_bytes());
        }
        frame
    }

    /// With what a hint begins after each of these settings, which h2 has confirmed.
    fn check(all: &[&[(u16, u32)]], expected: &[u8]) {
        let mut sent = PREFACE.to_vec();
        for entries in all {
            sent.extend(settings(entries));
            // What is none: a confirmation, and something in another frame.
            sent.extend(head(SETTINGS, ACK).bytes());
            sent.extend([0, 0, 6, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 9]);
        }
        for part in 1..=sent.len() {
            let mut sizes = TableSizes::new();
            for part in sent.chunks(part) {
                sizes.sent(part);
            }
            let mut early = HINT.to_vec();
            sizes.put_owed(&mut early);
            assert_eq!(early, HINT, "h2 has confirmed nothing");
            for _ in all {
                sizes.answered(head(SETTINGS, ACK));
            }
            let mut hints = HINT.repeat(2);
            sizes.put_owed(&mut hints);
            let mut longer = [&HINT[..HEAD], expected, &HINT[HEAD..], &HINT].concat();
            longer[2] += u8::try_from(expected.len()).expect("short");
            assert_eq!(hints, longer, "{all:?} in parts of {part}");
            let mut next = HINT.to_vec();
            sizes.put_owed(&mut next);
            assert_eq!(next, HINT, "it is said once");
        }
    }

    #[test]
    fn a_hint_begins_with_a_table_that_became_smaller() {
        check(&[], &[]);
        check(&[&[]], &[]);
        check(&[&[(3, 0), (4, 100)]], &[]);
        check(&[&[(1, 4_096)]], &[]);
        check(&[&[(1, 65_536)]], &[]);
        check(&[&[(4, 9), (1, 0)]], &[0x20]);
        check(&[&[(1, 4_095)]], &[0x3f, 0xe0, 0x1f]);
        // The last one counts of those that come together, and else the smallest.
        check(&[&[(1, 0), (1, 100)]], &[0x3f, 0x45]);
        check(&[&[(1, 0)], &[(1, 100)], &[], &[(1, 4_096)]], &[0x20]);
    }

    #[test]
    fn nothing_is_owed_behind_a_header_that_h2_has_written() {
        let mut sizes = TableSizes::new();
        sizes.sent(&[PREFACE, &settings(&[(1, 0)])].concat());
        sizes.answered(head(SETTINGS, 0));
        sizes.answered(head(SETTINGS, ACK));
        sizes.answered(head(HEADERS, 4));
        let mut hint = HINT.to_vec();
        sizes.put_owed(&mut hint);
        assert_eq!(hint, HINT);
    }
}

//! Where in one direction of a connection of HTTP/2 the frames are, and of which types (RFC 9113,
//! section 4.1). What is in them is passed over.

/// Follows the frames of one direction, however its bytes are split.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frames {
    /// So many bytes come before the next head: the rest of the preface, or of what is in a frame.
    ahead: usize,
    /// The head under way.
    head: [u8; HEAD],
    /// How much of it is there.
    have: usize,
}

impl Frames {
    /// What a client sends: the preface comes first.
    pub(super) fn of_client() -> Self {
        Self { ahead: PREFACE, head: [0; HEAD], have: 0 }
    }

    /// What a client is sent.
    pub(super) fn of_server() -> Self {
        Self { ahead: 0, head: [0; HEAD], have: 0 }
    }

    /// Takes bytes to the end of a head, or of what is in a frame; gives how many they were, and the
    /// type of the frame whose head is complete with them.
    pub(super) fn step(&mut self, bytes: &[u8]) -> (usize, Option<u8>) {
        if self.ahead > 0 {
            let taken = bytes.len().min(self.ahead);
            self.ahead -= taken;
            return (taken, None);
        }
        let taken = bytes.len().min(HEAD - self.have);
        self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
        self.have += taken;
        if self.have < HEAD {
            return (taken, None);
        }
        let [a, b, c, kind, ..] = self.head;
        self.ahead = (usize::from(a) << 16) | (usize::from(b) << 8) | usize::from(c);
        self.have = 0;
        (taken, Some(kind))
    }

    /// The head that was completed last.
    pub(super) fn head(&self) -> Head {
        Head::of(self.head)
    }

    /// Whether the next byte is the first of a frame.
    pub(super) fn is_between(&self) -> bool {
        self.ahead == 0 && self.have == 0
    }
}

/// What the head of a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// How many bytes come behind it.
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl Head {
    /// What these bytes say.
    pub(super) fn of(bytes: [u8; HEAD]) -> Self {
        let [a, b, c, kind, flags, stream @ ..] = bytes;
        let length = (usize::from(a) << 16) | (usize::from(b) << 8) | usize::from(c);
        // The first bit of the number means nothing.
        let stream = u32::from_be_bytes(stream) & 0x7fff_ffff;
        Self { length, kind, flags, stream }
    }

    /// The bytes that say it.
    pub(super) fn bytes(self) -> [u8; HEAD] {
        let [.., a, b, c] = self.length.to_be_bytes();
        let [d, e, f, g] = self.stream.to_be_bytes();
        [a, b, c, self.kind, self.flags, d, e, f, g]
    }

    /// Whether it has this flag.
    pub(super) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Bytes of a frame's head.
pub(super) const HEAD: usize = 9;
/// The most bytes behind a head that each side takes unless it says something else, and h2 here does not.
pub(super) const MOST: usize = 16_384;
/// Bytes of a client's preface.
pub(super) const PREFACE: usize = 24;

/// The type of a frame of a body.
pub(super) const DATA: u8 = 0;
/// The type of a frame that begins a header, or trailers.
pub(super) const HEADERS: u8 = 1;
/// The type of a frame that ends a stream at once.
pub(super) const RST_STREAM: u8 = 3;
/// The type of a frame that says what its sender takes.
pub(super) const SETTINGS: u8 = 4;
/// The type of a frame that lets the other side send more.
pub(super) const WINDOW_UPDATE: u8 = 8;
/// The type of a frame that goes on with a header.
pub(super) const CONTINUATION: u8 = 9;

/// Of SETTINGS: it confirms those of the other side, and says nothing.
pub(super) const ACK: u8 = 0x01;
/// Of DATA and HEADERS: the stream ends with it.
pub(super) const END_STREAM: u8 = 0x01;
/// Of HEADERS and CONTINUATION: the header ends with it.
pub(super) const END_HEADERS: u8 = 0x04;
/// Of HEADERS: it begins with the length of the padding at its end.
pub(super) const PADDED: u8 = 0x08;
/// Of HEADERS: a priority comes before the header.
pub(super) const PRIORITY: u8 = 0x20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_says_what_its_bytes_say() {
        let bytes = [1, 2, 3, HEADERS, END_HEADERS, 0x80, 0, 1, 1];
        let head = Head::of(bytes);
        let expected = Head { length: 66_051, kind: HEADERS, flags: END_HEADERS, stream: 257 };
        assert_eq!(head, expected);
        assert_eq!(head.bytes(), [1, 2, 3, HEADERS, END_HEADERS, 0, 0, 1, 1]);
        assert!(head.has(END_HEADERS) && !head.has(PADDED));
    }

    /// The types of the frames in these bytes, and whether a frame ends with the last of them.
    fn follow(mut frames: Frames, bytes: &[u8], part: usize) -> (Vec<u8>, bool) {
        let mut kinds = Vec::new();
        for mut part in bytes.chunks(part) {
            while !part.is_empty() {
                let (taken, kind) = frames.step(part);
                kinds.extend(kind);
                part = &part[taken..];
            }
        }
        (kinds, frames.is_between())
    }

    #[test]
    fn frames_are_found_however_the_bytes_are_split() {
        // What is in the first looks like heads, and the second is of 65 537 bytes.
        let filled = [vec![0_u8, 0, 4, 6, 0, 0, 0, 0, 0], vec![0, 0, 0, 4]].concat();
        let long = [vec![1_u8, 0, 1, 0, 0, 0, 0, 0, 1], vec![9; 65_537]].concat();
        let empty = vec![0_u8, 0, 0, 4, 1, 0, 0, 0, 0];
        let bytes = [filled, long, empty].concat();
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        for part in (1..30).chain([70_000]) {
            let (kinds, whole) = follow(Frames::of_server(), &bytes, part);
            assert_eq!((kinds, whole), (vec![6, 0, 4], true), "in parts of {part}");
            let sent = [&preface[..], &bytes].concat();
            let (kinds, whole) = follow(Frames::of_client(), &sent, part);
            assert_eq!((kinds, whole), (vec![6, 0, 4], true), "in parts of {part}");
        }
    }

    #[test]
    fn inside_of_a_head_or_a_frame_is_not_between_frames() {
        let frame = [0, 0, 2, 6, 0, 0, 0, 0, 0, 7, 7];
        for end in 1..frame.len() {
            assert!(!follow(Frames::of_server(), &frame[..end], 1).1, "after {end} bytes");
        }
        assert!(follow(Frames::of_server(), &frame, 1).1);
        assert!(!Frames::of_client().is_between());
    }
}

//! Where frames of a WebSocket end (RFC 6455, section 5.2): the one place in a stream where a
//! goodbye may be put.

/// Follows a stream of frames.
#[derive(Clone, Debug, Default)]
pub(super) struct Frames {
    /// The bytes of a head that is not whole.
    head: Vec<u8>,
    /// How much of a frame's payload is still to come.
    payload: u64,
}

impl Frames {
    /// Whether the stream is between two frames.
    pub(super) fn is_between(&self) -> bool {
        self.payload == 0 && self.head.is_empty()
    }

    /// Takes bytes of the stream.
    pub(super) fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = self.step(bytes);
            bytes = &bytes[taken..];
        }
    }

    /// Takes bytes up to the end of a frame; tells how many, or `None` if no frame ends in them.
    pub(super) fn take_to_end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            at += self.step(&bytes[at..]);
            if self.is_between() {
                return Some(at);
            }
        }
        None
    }

    /// Takes a byte of a head, or as much of a payload as there is.
    fn step(&mut self, bytes: &[u8]) -> usize {
        if self.payload > 0 {
            let here = u64::try_from(bytes.len()).unwrap_or(u64::MAX).min(self.payload);
            self.payload -= here;
            return usize::try_from(here).unwrap_or(bytes.len());
        }
        self.head.push(bytes[0]);
        if let Some(payload) = payload_of(&self.head) {
            self.head.clear();
            self.payload = payload;
        }
        1
    }
}

/// The length of the payload that follows a head; `None` if the head is not whole.
fn payload_of(head: &[u8]) -> Option<u64> {
    let second = *head.get(1)?;
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    let (extra, length) = match second & 0x7f {
        126 => (2, u64::from(u16::from_be_bytes(head.get(2..4)?.try_into().ok()?))),
        127 => (8, u64::from_be_bytes(head.get(2..10)?.try_into().ok()?)),
        short => (0, u64::from(short)),
    };
    (head.len() == 2 + extra + mask).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: usize, masked: bool) -> Vec<u8> {
        let mask_bit = if masked { 0x80 } else { 0 };
        let mut frame = vec![0x82];
        match length {
            0..=125 => frame.push(mask_bit | u8::try_from(length).expect("small")),
            126..=65_535 => {
                frame.push(mask_bit | 126);
                frame.extend(u16::try_from(length).expect("fits").to_be_bytes());
            }
            _ => {
                frame.push(mask_bit | 127);
                frame.extend(u64::try_from(length).expect("fits").to_be_bytes());
            }
        }
        frame.extend(vec![7; if masked { 4 } else { 0 }]);
        frame.extend(vec![9; length]);
        frame
    }

    #[test]
    fn the_end_of_every_frame_is_found_wherever_the_stream_is_cut() {
        let frames: Vec<Vec<u8>> = [0, 1, 125, 126, 300, 65_536]
            .iter()
            .flat_map(|length| [frame(*length, false), frame(*length, true)])
            .collect();
        let ends: Vec<usize> = frames
            .iter()
            .scan(0, |at, frame| {
                *at += frame.len();
                Some(*at)
            })
            .collect();
        let stream = frames.concat();
        let cuts = (0..stream.len()).step_by(97).chain(ends.iter().flat_map(|e| [e - 1, *e]));
        for cut in cuts {
            let mut seen = Frames::default();
            seen.take(&stream[..cut]);
            assert_eq!(seen.is_between(), cut == 0 || ends.contains(&cut), "{cut}");
            let next = ends.iter().find(|end| **end > cut).map(|end| end - cut);
            assert_eq!(seen.take_to_end(&stream[cut..]), next, "{cut}");
        }
    }
}

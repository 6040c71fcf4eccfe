//! What a client of HTTP/1.1 sends, read by the letter before Pingora reads it.
//!
//! Pingora is generous with what it forwards in a form of its own: it escapes control characters in
//! a target, and passes over empty lines between chunks, chunks without a size and trailers that
//! are no fields. Nothing of that reaches a target as it came, and yet somebody in between may have
//! read it differently (RFC 9112, sections 2.2, 3 and 7.1). Here it ends the connection, in a request
//! line with a 400 (`wire`).
//!
//! The inspector follows where messages begin and end by the same rules as Pingora. Where the two
//! could differ, admission refuses the request and the connection ends with it. After the header of
//! a request for another protocol it looks no further.
//!
//! Trailers that a request has announced are taken down: Pingora reads past them.

use http::HeaderMap;

use super::trailer_section::TrailerSection;

/// Follows the requests of one connection.
#[derive(Debug, Default)]
pub(super) struct Inspector {
    place: Place,
    /// The line under way in a header, in a chunk's head or among trailers, as far as it is kept.
    line: Vec<u8>,
    /// How long the line is, however much of it is kept.
    length: usize,
    framing: Framing,
    /// Whether the byte before was a CR.
    after_cr: bool,
    /// How many requests have begun.
    requests: u64,
    section: TrailerSection,
    /// Sections that are over, with the number of their request.
    sections: Vec<(u64, HeaderMap)>,
}

/// What does not belong where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Misplaced {
    /// In a request line.
    #[error("a request line is not three words of visible ASCII")]
    RequestLine,
    /// In the head of a chunk, or behind its data.
    #[error("a chunk does not begin with its size, or does not end with its data")]
    Chunk,
    /// Among the trailers.
    #[error("a trailer is not a field")]
    Trailer,
}

/// Where in a connection the next byte stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    RequestLine,
    Field,
    /// So many bytes of a body are still to come.
    Body(u64),
    ChunkHead,
    /// So many bytes of a chunk are still to come.
    ChunkData(u64),
    /// The end of the line behind a chunk's data.
    ChunkEnd,
    Trailer,
    /// It is not for us to say what follows.
    Beyond,
}

/// What a header says about the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Framing {
    length: u64,
    chunked: bool,
    /// Trailers are announced.
    trailers: bool,
    /// `upgrade` is there, and `connection` names it.
    upgrade: bool,
    connection: bool,
}

impl Inspector {
    /// Takes bytes of the connection; gives how many of them may be passed on, and what is wrong
    /// with the next.
    ///
    /// # Errors
    /// The first thing that is misplaced, with the number of bytes before its line or chunk.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), (usize, Misplaced)> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            at += match self.place {
                Place::Beyond => rest.len(),
                Place::Body(left) => {
                    let (taken, left) = skip(rest, left);
                    self.place = if left == 0 { Place::RequestLine } else { Place::Body(left) };
                    taken
                }
                Place::ChunkData(left) => {
                    let (taken, left) = skip(rest, left);
                    self.place = if left == 0 { Place::ChunkEnd } else { Place::ChunkData(left) };
                    taken
                }
                Place::RequestLine
                | Place::Field
                | Place::ChunkHead
                | Place::ChunkEnd
                | Place::Trailer => self.byte(rest[0]).map(|()| 1).map_err(|what| (at, what))?,
            };
        }
        Ok(())
    }

    /// The trailer sections that are over and were not given yet, with the number of their request on
    /// this connection, from 1.
    pub(super) fn trailers(&mut self) -> impl Iterator<Item = (u64, HeaderMap)> {
        self.sections.drain(..)
    }

    /// Takes a byte of a line.
    fn byte(&mut self, byte: u8) -> Result<(), Misplaced> {
        if byte != b'\n' {
            self.length += 1;
            let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            if after_cr && matches!(self.place, Place::RequestLine | Place::ChunkHead) {
                return Err(self.bare_cr());
            }
            // White space before a value is no part of it, however much there is.
            let padding =
                !self.is_taken_down() && matches!(byte, b' ' | b'\t') && self.line.ends_with(b":");
            if self.line.len() < self.kept() && !padding {
                self.line.push(byte);
            }
            return self.within(byte);
        }
        if !std::mem::take(&mut self.after_cr) {
            self.may_end_without_cr()?;
        }
        let mut line = std::mem::take(&mut self.line);
        self.length = 0;
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        let ended = self.line(&line);
        line.clear();
        // Its memory serves the next line, as far as lines are usually long.
        line.shrink_to(KEPT);
        self.line = line;
        ended
    }

    /// A CR in the middle of a line.
    fn bare_cr(&self) -> Misplaced {
        if self.place == Place::RequestLine { Misplaced::RequestLine } else { Misplaced::Chunk }
    }

    /// Whether a line may end with an LF alone: where it may not, somebody else may end it elsewhere
    /// (RFC 9112, section 7.1).
    fn may_end_without_cr(&self) -> Result<(), Misplaced> {
        match self.place {
            Place::ChunkHead => Err(Misplaced::Chunk),
            Place::Trailer => Err(Misplaced::Trailer),
            Place::RequestLine
            | Place::Field
            | Place::ChunkEnd
            | Place::Body(_)
            | Place::ChunkData(_)
            | Place::Beyond => Ok(()),
        }
    }

    /// Whether the line under way is kept whole.
    fn is_taken_down(&self) -> bool {
        self.place == Place::Trailer && self.framing.trailers
    }

    /// How much of the line under way is kept: its end, too, where it is kept whole.
    fn kept(&self) -> usize {
        if self.is_taken_down() { self.section.room() + 1 } else { KEPT }
    }

    /// Whether a byte may stand where it does, as far as that can be told before its line ends.
    fn within(&self, byte: u8) -> Result<(), Misplaced> {
        match self.place {
            // A CR is looked at with its line: it may be the last.
            Place::RequestLine if byte == b'\r' || byte == b' ' || byte.is_ascii_graphic() => {
                Ok(())
            }
            Place::RequestLine => Err(Misplaced::RequestLine),
            Place::ChunkHead if self.length == 1 && !byte.is_ascii_hexdigit() => {
                Err(Misplaced::Chunk)
            }
            Place::ChunkEnd if self.length > 1 || byte != b'\r' => Err(Misplaced::Chunk),
            Place::ChunkHead if self.length > MAX_CHUNK_HEAD => Err(Misplaced::Chunk),
            // A CR may be the last.
            Place::Trailer if self.is_taken_down() && self.length > self.kept() => {
                Err(Misplaced::Trailer)
            }
            Place::Field
            | Place::ChunkHead
            | Place::ChunkEnd
            | Place::Trailer
            | Place::Body(_)
            | Place::ChunkData(_)
            | Place::Beyond => Ok(()),
        }
    }

    /// Takes a whole line, of which the first bytes are kept.
    fn line(&mut self, line: &[u8]) -> Result<(), Misplaced> {
        match self.place {
            Place::RequestLine => {
                // Empty lines before a request are passed over (RFC 9112, section 2.2).
                if !line.is_empty() {
                    if line.contains(&b'\r') {
                        return Err(Misplaced::RequestLine);
                    }
                    self.framing = Framing::default();
                    self.place = Place::Field;
                    self.requests += 1;
                }
            }
            Place::Field if line.is_empty() => self.place = self.framing.body(),
            Place::Field => self.framing.note(line),
            Place::ChunkHead => {
                self.place = match chunk_size(line).ok_or(Misplaced::Chunk)? {
                    0 => Place::Trailer,
                    size => Place::ChunkData(size),
                };
            }
            Place::ChunkEnd => self.place = Place::ChunkHead,
            Place::Trailer if line.is_empty() => {
                self.place = Place::RequestLine;
                let fields = self.section.end();
                if !fields.is_empty() {
                    self.sections.push((self.requests, fields));
                }
            }
            Place::Trailer => {
                let name = line.iter().position(|byte| *byte == b':').ok_or(Misplaced::Trailer)?;
                if name == 0 || !line[..name].iter().all(|byte| is_token(*byte)) {
                    return Err(Misplaced::Trailer);
                }
                if self.is_taken_down() {
                    self.section.take(line).map_err(|_| Misplaced::Trailer)?;
                }
            }
            Place::Body(_) | Place::ChunkData(_) | Place::Beyond => {}
        }
        Ok(())
    }
}

impl Framing {
    /// What follows a header.
    fn body(self) -> Place {
        match self {
            // Admission takes an upgrade without a body alone.
            Self { upgrade: true, connection: true, chunked: false, length: 0, .. } => {
                Place::Beyond
            }
            Self { chunked: true, .. } => Place::ChunkHead,
            Self { length: 0, .. } => Place::RequestLine,
            Self { length, .. } => Place::Body(length),
        }
    }

    /// Notes what a field says about the body. What it says badly is refused with the request.
    fn note(&mut self, line: &[u8]) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { return };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            let digits = std::str::from_utf8(value).unwrap_or_default();
            self.length = digits.parse().unwrap_or(0);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.chunked = true;
        } else if name.eq_ignore_ascii_case(b"trailer") {
            self.trailers = true;
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            self.upgrade = true;
        } else if name.eq_ignore_ascii_case(b"connection") {
            let mut tokens = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            self.connection |= tokens.any(|token| token.eq_ignore_ascii_case(b"upgrade"));
        }
    }
}

/// How many bytes are skipped of so many that are to come, and how many are then left.
fn skip(bytes: &[u8], left: u64) -> (usize, u64) {
    let here = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    match usize::try_from(left) {
        Ok(all) if left <= here => (all, 0),
        Ok(_) | Err(_) => (bytes.len(), left - here),
    }
}

/// The size in the head of a chunk, which an extension may follow (RFC 9112, section 7.1.1).
fn chunk_size(head: &[u8]) -> Option<u64> {
    let end = head.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(head.len());
    let (digits, rest) = head.split_at(end);
    let spaced = rest.trim_ascii_start();
    let plain = rest.is_empty() || spaced.is_empty() || spaced.starts_with(b";");
    let visible = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ' || *byte == b'\t';
    if !plain || !rest.iter().all(visible) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Whether a byte may stand in a name (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// How much of a line is kept: names of fields, and the value of `content-length`, are shorter.
const KEPT: usize = 256;
/// The longest head of a chunk, its extensions included.
const MAX_CHUNK_HEAD: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(), Misplaced>) {
        let whole = Inspector::default().take(text.as_bytes());
        assert_eq!(whole.map_err(|(_, what)| what), expected, "{text:?}");
        let mut bytewise = Inspector::default();
        let found = text.as_bytes().chunks(1).try_for_each(|byte| bytewise.take(byte));
        assert_eq!(found.map_err(|(_, what)| what), expected, "{text:?} byte by byte");
    }

    const POST: &str = "POST / HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

    #[test]
    fn what_is_right_passes_request_after_request() {
        check("GET / HTTP/1.1\r\nhost: a\r\n\r\nGET /b HTTP/1.1\r\n\r\n", Ok(()));
        check("\r\n\r\nGET / HTTP/1.1\nhost: a\n\nGET / HTTP/1.0\r\n\r\n", Ok(()));
        let body =
            "POST / HTTP/1.1\r\ncontent-length: 4\r\n\r\n\u{1}\r\n\u{2}GET / HTTP/1.1\r\n\r\n";
        check(body, Ok(()));
        for chunks in [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "A;x=\"y\" \r\n\u{1}\u{2}34567890\r\n0\r\n\r\n",
        ] {
            check(&format!("{POST}{chunks}GET / HTTP/1.1\r\n\r\n"), Ok(()));
        }
        check(&format!("{POST}0\r\nx-sum: 1\r\nlong: {}\r\n\r\n", "a".repeat(5_000)), Ok(()));
    }

    #[test]
    fn what_pingora_would_correct_is_found() {
        for line in
            ["GET /\u{1} HTTP/1.1", "GET /a\rb HTTP/1.1", "GET /\u{7f} HTTP/1.1", "GET /é HTTP/1.1"]
        {
            check(&format!("{line}\r\nhost: a\r\n\r\n"), Err(Misplaced::RequestLine));
        }
        for chunks in [
            "\r\n0\r\n\r\n",
            ";x=1\r\n0\r\n\r\n",
            "5\r\nhello\r\n\r\n0\r\n\r\n",
            "5\r\nhelloX\r\n",
            "5x\r\nhello\r\n0\r\n\r\n",
            "5;\u{1}\r\nhello\r\n0\r\n\r\n",
            "-5\r\nhello\r\n0\r\n\r\n",
            "5;\nhello\r\n0\r\n\r\n",
            "fffffffffffffffff\r\n",
        ] {
            check(&format!("{POST}{chunks}"), Err(Misplaced::Chunk));
        }
        check(&format!("{POST}0\r\nno field\r\n\r\n"), Err(Misplaced::Trailer));
        check(&format!("{POST}0\r\n: 1\r\n\r\n"), Err(Misplaced::Trailer));
    }

    #[test]
    fn padding_and_offers_hide_nothing() {
        let padded = format!(
            "POST / HTTP/1.1\r\ncontent-length:{}5\r\n\r\n\u{1}\u{1}\u{1}\u{1}\u{1}",
            " ".repeat(300)
        );
        check(&format!("{padded}GET / HTTP/1.1\r\n\r\n"), Ok(()));
        let long = format!("GET /{}\rb HTTP/1.1\r\n\r\n", "a".repeat(300));
        check(&long, Err(Misplaced::RequestLine));
        let offered = POST.replace("host: a", "upgrade: h2c");
        check(&format!("{offered}\r\n0\r\n\r\n"), Err(Misplaced::Chunk));
    }

    #[test]
    fn another_protocol_is_not_looked_at() {
        let upgrade = "GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        check(&format!("{upgrade}\u{81}\u{1}\r\nGET \u{1}"), Ok(()));
    }

    #[test]
    fn announced_trailers_are_taken_down_wherever_the_connection_is_cut() {
        let announced = POST.replace("host: a", "Trailer: x-sum");
        let body = "1\r\na\r\n0\r\nX-Sum: 1\r\nx-b:\t2 \r\nx-sum: 3\r\n\r\n";
        let text = format!("GET / HTTP/1.1\r\n\r\n{announced}{body}{POST}{body}{announced}{body}");
        for cut in 0..text.len() {
            let mut inspector = Inspector::default();
            let mut found = Vec::new();
            for part in [&text[..cut], &text[cut..]] {
                inspector.take(part.as_bytes()).expect("nothing is misplaced");
                found.extend(inspector.trailers());
            }
            let numbers: Vec<u64> = found.iter().map(|(number, _)| *number).collect();
            assert_eq!(numbers, [2, 4], "{cut}");
            for (_, fields) in found {
                let sums: Vec<_> = fields.get_all("x-sum").into_iter().collect();
                assert_eq!(sums, ["1", "3"], "{cut}");
                assert_eq!(fields["x-b"], "2", "{cut}");
            }
        }
    }

    #[test]
    fn a_trailer_hides_neither_a_line_end_nor_more_than_there_is_room_for() {
        let announced = POST.replace("host: a", "trailer: x-sum");
        for trailers in [
            "x-sum: a\rhost: b\r\n\r\n",
            "x-sum: a\nhost: b\r\n\r\n",
            "x-sum: a\r\n\n",
            "x-sum: a\r\n b\r\n\r\n",
            "x-sum: \u{0}\r\n\r\n",
            "x-sum: 1\r\n".repeat(257).as_str(),
            format!("x-sum: {}", "a".repeat(70_000)).as_str(),
        ] {
            check(&format!("{announced}0\r\n{trailers}"), Err(Misplaced::Trailer));
        }
        check(&format!("{announced}0\r\n{}\r\n", "x-sum: 1\r\n".repeat(256)), Ok(()));
        check(&format!("{announced}0\r\nx-sum: {}\r\n\r\n", "a".repeat(65_000)), Ok(()));
    }

    #[test]
    fn what_stands_before_is_told() {
        let head = format!("{POST}5\r\nhello\r\n");
        let found = Inspector::default().take(format!("{head}\r\n0\r\n\r\n").as_bytes());
        // The CR that cannot be the size of a chunk.
        assert_eq!(found, Err((head.len(), Misplaced::Chunk)));
    }
}

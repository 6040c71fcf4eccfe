//! A request by the letter of RFC 9112, as a target reads it that nothing can be slipped past.

/// A whole request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// The method.
    pub(crate) method: String,
    /// The target.
    pub(crate) target: String,
    /// The fields in order, names in small letters.
    pub(crate) fields: Vec<(String, String)>,
    /// The content, chunks put together.
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The values of a field.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        let named = self.fields.iter().filter(|(found, _)| found == name);
        named.map(|(_, value)| value.as_str()).collect()
    }
}

/// The request at the beginning of these bytes and its length; `None` while it is not whole.
///
/// # Errors
/// What no proxy may forward.
pub(crate) fn first(bytes: &[u8]) -> Result<Option<(Request, usize)>, String> {
    let Some(end) = find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end]).map(str::to_owned);
    // Of bytes beyond ASCII it is enough that they stand in values; how they read does not matter.
    let head = head.unwrap_or_else(|_| bytes[..end].iter().map(|b| char::from(*b)).collect());
    let mut lines = head.split("\r\n");
    let (method, target) = request_line(lines.next().unwrap_or_default())?;
    let fields = lines.map(field).collect::<Result<Vec<_>, String>>()?;
    let mut request = Request { method, target, fields, body: Vec::new() };
    if request.values("host").len() != 1 {
        return Err(format!("{} hosts", request.values("host").len()));
    }
    let rest = &bytes[end + 4..];
    let content = match framing(&request)? {
        Framing::Length(length) => rest.get(..length).map(|body| (body.to_vec(), length)),
        Framing::Chunked => chunks(rest)?,
    };
    Ok(content.map(|(body, length)| {
        request.body = body;
        (request, end + 4 + length)
    }))
}

enum Framing {
    Length(usize),
    Chunked,
}

fn request_line(line: &str) -> Result<(String, String), String> {
    let parts: Vec<&str> = line.split(' ').collect();
    let [method, target, version] = parts[..] else {
        return Err(format!("the request line {line:?}"));
    };
    let visible = !target.is_empty() && target.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_token(method) || !visible || version != "HTTP/1.1" {
        return Err(format!("the request line {line:?}"));
    }
    Ok((method.to_owned(), target.to_owned()))
}

fn field(line: &str) -> Result<(String, String), String> {
    let wrong = || format!("the field line {line:?}");
    let (name, value) = line.split_once(':').ok_or_else(wrong)?;
    let value = value.trim_matches([' ', '\t']);
    if !is_token(name) || !value.chars().all(is_text) {
        return Err(wrong());
    }
    Ok((name.to_ascii_lowercase(), value.to_owned()))
}

fn framing(request: &Request) -> Result<Framing, String> {
    let (lengths, codings) =
        (request.values("content-length"), request.values("transfer-encoding"));
    match (&lengths[..], &codings[..]) {
        ([], []) => Ok(Framing::Length(0)),
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
        ([length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => length
            .parse::<usize>()
            .map(Framing::Length)
            .map_err(|_| format!("the length {length:?}")),
        (_, _) => Err(format!("lengths {lengths:?} and codings {codings:?}")),
    }
}

/// The content of these chunks and their length with the trailers; `None` while they are not whole.
fn chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let Some(line) = line(&bytes[at..])? else { return Ok(None) };
        at += line.len() + 2;
        let size = chunk_size(&line)?;
        if size == 0 {
            break;
        }
        let Some(chunk) = bytes.get(at..at + size + 2) else { return Ok(None) };
        if !chunk.ends_with(b"\r\n") {
            return Err(format!("a chunk that goes on behind its {size} bytes"));
        }
        body.extend_from_slice(&chunk[..size]);
        at += size + 2;
    }
    loop {
        let Some(line) = line(&bytes[at..])? else { return Ok(None) };
        at += line.len() + 2;
        if line.is_empty() {
            return Ok(Some((body, at)));
        }
        let (name, _) = field(&line)?;
        if ["content-length", "transfer-encoding", "host"].contains(&name.as_str()) {
            return Err(format!("the trailer {line:?}"));
        }
    }
}

/// The next line without its end; `None` while it is not whole.
fn line(bytes: &[u8]) -> Result<Option<String>, String> {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
    let line = String::from_utf8_lossy(&bytes[..end]).into_owned();
    match line.strip_suffix('\r') {
        Some(line) => Ok(Some(line.to_owned())),
        None => Err(format!("a line that ends in LF alone, {line:?}")),
    }
}

fn chunk_size(line: &str) -> Result<usize, String> {
    let (size, extensions) = line.split_once(';').unwrap_or((line, ""));
    let digits = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !digits || !extensions.chars().all(is_text) {
        return Err(format!("the chunk size {line:?}"));
    }
    let size = usize::from_str_radix(size, 16).ok().filter(|size| *size <= LARGEST_CHUNK);
    size.ok_or_else(|| format!("the chunk size {line:?}"))
}

fn is_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(allowed)
}

fn is_text(c: char) -> bool {
    c == '\t' || !c.is_ascii_control()
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// No vector has a larger one.
const LARGEST_CHUNK: usize = 1 << 20;

#[test]
fn a_whole_request_is_read_and_no_more_than_it() {
    let bytes = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET";
    let (request, length) = first(bytes).expect("clean").expect("whole");
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/a"));
    assert_eq!(request.values("host"), ["x"]);
    assert_eq!((request.body.as_slice(), length), (&b"abc"[..], bytes.len() - 3));
    for end in 0..length {
        assert_eq!(first(&bytes[..end]), Ok(None), "{end}");
    }
}

#[test]
fn what_two_readers_could_take_for_two_things_is_refused() {
    let line = "GET / HTTP/1.1\r\nhost: x\r\n";
    for bad in [
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        "GET /\u{1} HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(),
        "GET  / HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(),
        format!("{line}host: x\r\n\r\n"),
        format!("{line}a : b\r\n\r\n"),
        format!("{line}a: b\r\n c\r\n\r\n"),
        format!("{line}a: b\nc: d\r\n\r\n"),
        format!("{line}a: b\rc: d\r\n\r\n"),
        format!("{line}content-length: +1\r\n\r\n"),
        format!("{line}content-length: 1\r\ncontent-length: 1\r\n\r\n"),
        format!("{line}content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n"),
        format!("{line}transfer-encoding: gzip, chunked\r\n\r\n"),
        format!("{line}transfer-encoding: chunked\r\n\r\n0x1\r\na\r\n"),
        format!("{line}transfer-encoding: chunked\r\n\r\n1\na\n"),
        format!("{line}transfer-encoding: chunked\r\n\r\n1\r\nabc"),
        format!("{line}transfer-encoding: chunked\r\n\r\n0\r\nhost: y\r\n\r\n"),
    ] {
        assert!(first(bad.as_bytes()).is_err(), "{bad:?}");
    }
}

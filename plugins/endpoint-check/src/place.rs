//! Where a URL leads, in the parts that `wasi:http` wants it in.

/// The parts of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Whether it goes over TLS.
    pub is_https: bool,
    /// Host and port.
    pub authority: &'a str,
    /// Path and query.
    pub path: &'a str,
}

impl<'a> Place<'a> {
    /// Takes a URL apart. What is wrong with the parts is for the host to find.
    ///
    /// # Errors
    /// It is no URL of HTTP.
    pub fn of(url: &'a str) -> Result<Self, String> {
        let (is_https, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(format!("{url} is neither http nor https")),
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        Ok(Self { is_https, authority, path: if path.is_empty() { "/" } else { path } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_host_and_perhaps_a_port_and_a_path() {
        let check = |url, is_https, authority, path| {
            assert_eq!(Place::of(url), Ok(Place { is_https, authority, path }), "{url}");
        };
        check("https://a.example", true, "a.example", "/");
        check("http://a.example:81/b?c=/d", false, "a.example:81", "/b?c=/d");
        check("https://a.example?b", true, "a.example", "?b");
        check("http://[::1]:81/", false, "[::1]:81", "/");
        assert!(Place::of("ftp://a.example/").is_err());
    }
}

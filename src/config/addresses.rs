//! The addresses that a process will listen on, each of them once.

use std::net::SocketAddr;

use super::node::Node;

/// The addresses given out so far, each with what listens there.
#[derive(Debug, Default)]
pub(super) struct Addresses(Vec<(SocketAddr, String)>);

impl Addresses {
    /// Notes who listens on an address.
    pub(super) fn add(&mut self, address: SocketAddr, whose: impl Into<String>) {
        self.0.push((address, whose.into()));
    }

    /// Reads an address and notes it; one that is given out already is a mistake.
    pub(super) fn claim(&mut self, node: &Node<'_>, whose: &str) -> Option<SocketAddr> {
        let text = node.text()?;
        let Ok(address) = text.parse::<SocketAddr>() else {
            let wanted = "an IP address and a port such as \"127.0.0.1:8080\"";
            return node.wanted(wanted);
        };
        match self.0.iter().find(|(taken, _)| collide(*taken, address)) {
            Some((taken, owner)) => {
                node.mistake(format!("{address} is taken: {owner} listens on {taken}"));
                None
            }
            None => {
                self.add(address, whose);
                Some(address)
            }
        }
    }
}

/// Whether two sockets cannot listen side by side; port 0 lets the system choose.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let any = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0
        && a.port() == b.port()
        && (a.ip() == b.ip() || (any && a.is_ipv4() == b.is_ipv4()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_collide_when_a_system_could_not_bind_both() {
        let check = |a: &str, b: &str, expected: bool| {
            let (a, b) = (a.parse().unwrap(), b.parse().unwrap());
            assert_eq!((collide(a, b), collide(b, a)), (expected, expected), "{a} {b}");
        };
        check("127.0.0.1:80", "127.0.0.1:80", true);
        check("127.0.0.1:80", "127.0.0.1:81", false);
        check("127.0.0.1:80", "127.0.0.2:80", false);
        check("0.0.0.0:80", "127.0.0.1:80", true);
        check("0.0.0.0:80", "[::1]:80", false);
        check("[::]:80", "[::1]:80", true);
        check("127.0.0.1:0", "127.0.0.1:0", false);
    }
}

//! A link to another network of this machine, which can be made to lose everything without a word:
//! no end of a connection, no reset, and no acknowledgement, as when a machine loses its power.
//!
//! A relay cannot do that: the system acknowledges what nobody reads.

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use rustix::process::geteuid;

/// A network of its own behind a link; it goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Link {
    name: String,
    near_end: String,
    far: Ipv4Addr,
}

impl Link {
    /// Sets one up.
    ///
    /// # Errors
    /// Why nobody can do that here.
    pub(crate) fn set_up() -> Result<Self, String> {
        if !geteuid().is_root() {
            return Err("a network of its own needs root".to_owned());
        }
        match Command::new("ip").arg("-V").stdout(Stdio::null()).status() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err("there is no `ip` (iproute2)".to_owned());
            }
            Ok(_) | Err(_) => {}
        }
        let id = std::process::id();
        // From the range that is kept for tests of networks (RFC 2544).
        let third = u8::try_from(id % 256).expect("below 256");
        let link = Self {
            name: format!("tgf{id}"),
            near_end: format!("tgf{id}n"),
            far: Ipv4Addr::new(198, 18, third, 2),
        };
        let far_end = format!("tgf{id}f");
        let (name, near_end) = (link.name.as_str(), link.near_end.as_str());
        let (near, far) = (format!("198.18.{third}.1/30"), format!("{}/30", link.far));
        let (near, far, far_end) = (near.as_str(), far.as_str(), far_end.as_str());
        let none = |said: String| format!("there is no network of its own here: {said}");
        ip(&["netns", "add", name]).map_err(none)?;
        for arguments in [
            &["link", "add", near_end, "type", "veth", "peer", "name", far_end, "netns", name][..],
            &["addr", "add", near, "dev", near_end],
            &["link", "set", near_end, "up"],
            &["-n", name, "addr", "add", far, "dev", far_end],
            &["-n", name, "link", "set", far_end, "up"],
            &["-n", name, "link", "set", "lo", "up"],
        ] {
            ip(arguments).map_err(none)?;
        }
        Ok(link)
    }

    /// The name of the network.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The address at its far end.
    pub(crate) fn far(&self) -> Ipv4Addr {
        self.far
    }

    /// From now on nothing arrives at the far end: it is sent to a machine that is not there.
    pub(crate) fn lose_everything(&self) {
        let (near_end, far) = (self.near_end.as_str(), self.far.to_string());
        let nobody = "02:00:00:00:00:01";
        let arguments =
            ["neigh", "replace", &far, "lladdr", nobody, "dev", near_end, "nud", "permanent"];
        ip(&arguments).expect("the link can be broken");
    }

    /// How many connections to the far end this machine still believes in.
    pub(crate) fn established(&self) -> usize {
        let table = std::fs::read_to_string("/proc/net/tcp").expect("connections are listed");
        let far = format!("{:08X}:", u32::from_ne_bytes(self.far.octets()));
        let to_far = |line: &&str| {
            let mut fields = line.split_whitespace().skip(REMOTE);
            let remote = fields.next().is_some_and(|remote| remote.starts_with(&far));
            remote && fields.next() == Some(ESTABLISHED)
        };
        table.lines().filter(to_far).count()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Whoever was on it is gone, so that the network goes with its name, and both ends with it.
        let _ = ip(&["link", "del", &self.near_end]);
        let _ = ip(&["netns", "del", &self.name]);
    }
}

/// Runs `ip`; what it says when it fails.
fn ip(arguments: &[&str]) -> Result<(), String> {
    let ran = Command::new("ip").args(arguments).stdin(Stdio::null()).output();
    let ran = ran.map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&ran.stderr).trim().to_owned();
    if ran.status.success() { Ok(()) } else { Err(format!("ip {arguments:?}: {said}")) }
}

/// The place of the remote address in a line of the table; the state follows it.
const REMOTE: usize = 2;
const ESTABLISHED: &str = "01";

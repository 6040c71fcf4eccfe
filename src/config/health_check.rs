//! `health_check`: how a service's targets are checked.

use super::node::{Node, shorten};
use crate::core::model::{FlapDamping, HealthCheck, HostMatch, Probe, Span, StatusRange};

/// Reads the section.
pub(super) fn health_check(node: &Node<'_>) -> Option<HealthCheck> {
    let mut fields = node.fields();
    let probe = fields.sole(&["path", "tcp", "grpc"]);
    let host = fields.take("host");
    let expected = fields.take("expected");
    let service = fields.take("service");
    let mut span = |key, default: Span| {
        fields.take(key).and_then(|node| node.span_from(Span::from_ms(1))).unwrap_or(default)
    };
    let interval = span("interval", DEFAULT_INTERVAL);
    let timeout = span("timeout", DEFAULT_TIMEOUT);
    let flap_hold = span("flap_hold", FlapDamping::default().hold);
    let mut times = |key, default: u32| {
        fields.take(key).and_then(|node| node.count(1..=MAX_IN_A_ROW)).unwrap_or(default)
    };
    let healthy_after = times("healthy_after", 2);
    let unhealthy_after = times("unhealthy_after", 3);
    let flap_limit = fields.take("flap_limit").and_then(|node| node.count(0..=MAX_IN_A_ROW));
    fields.finish();
    let probe = probe?;
    let only_with = |kind: &str, nodes: &[&Option<Node<'_>>]| {
        let found = probe.0;
        for node in nodes.iter().copied().flatten().filter(|_| found != kind) {
            node.mistake(format!("belongs to a check with `{kind}`, not with `{found}`"));
        }
    };
    only_with("path", &[&host, &expected]);
    only_with("grpc", &[&service]);
    let probe = match probe {
        ("path", path) => Probe::Http {
            path: path.checked(probe_path)?,
            host: host.and_then(|node| node.checked(host_header)),
            expected: expected.and_then(|node| node.quantity()).unwrap_or(StatusRange::SUCCESS),
        },
        ("grpc", grpc) => {
            grpc.only_true()?;
            let service = service.map(|node| node.checked(service_name));
            Probe::Grpc { service: service.unwrap_or_else(|| Some(String::new()))? }
        }
        (_, tcp) => {
            tcp.only_true()?;
            Probe::Tcp
        }
    };
    let damping = FlapDamping::default();
    let flaps = FlapDamping { limit: flap_limit.unwrap_or(damping.limit), hold: flap_hold };
    Some(HealthCheck { probe, interval, timeout, healthy_after, unhealthy_after, flaps })
}

/// A path with or without a query, as it stands in a request line.
fn probe_path(text: &str) -> Result<String, String> {
    let valid = text.starts_with('/')
        && text.len() <= MAX_PATH
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    let shown = shorten(text);
    let error = || format!("{shown:?} is not a path: it begins with `/` and has no `#` or spaces");
    valid.then(|| text.to_owned()).ok_or_else(error)
}

/// The full name of a gRPC service; empty for the server as a whole.
fn service_name(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_graphic();
    let valid = text.len() <= MAX_SERVICE && text.bytes().all(allowed);
    let error = || format!("{:?} is not the name of a gRPC service", shorten(text));
    valid.then(|| text.to_owned()).ok_or_else(error)
}

/// A host name with or without a port.
pub(super) fn host_header(text: &str) -> Result<String, String> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        Some(_) | None => (text, None),
    };
    let port_fits = port.is_none_or(|port| port.parse::<u16>().is_ok());
    match HostMatch::exact(host) {
        Ok(_) if port_fits => Ok(text.to_owned()),
        Ok(_) => Err(format!("{:?} has no port after its colon", shorten(text))),
        Err(error) => Err(error.to_string()),
    }
}

const DEFAULT_INTERVAL: Span = Span::from_secs(2);
const DEFAULT_TIMEOUT: Span = Span::from_secs(1);
/// The most successes or failures in a row that a check may wait for.
const MAX_IN_A_ROW: u32 = 100;
const MAX_PATH: usize = 1_024;
const MAX_SERVICE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{parse, refuses, with_service};

    fn read(text: &str) -> HealthCheck {
        let config = parse(&with_service(&format!("health_check: {text}"))).unwrap();
        config.services.into_values().next().unwrap().health_check.unwrap()
    }

    #[test]
    fn a_check_asks_a_path_or_connects() {
        let http = |path: &str, host: Option<&str>, expected: &str| Probe::Http {
            path: path.to_owned(),
            host: host.map(str::to_owned),
            expected: expected.parse().unwrap(),
        };
        assert_eq!(read("{ path: /healthz }").probe, http("/healthz", None, "200-299"));
        assert_eq!(
            read("{ path: '/h?x=1', host: 'a.b:80', expected: 204 }").probe,
            http("/h?x=1", Some("a.b:80"), "204")
        );
        assert_eq!(
            read("{ path: /, host: '[::1]', expected: 200-399 }").probe,
            http("/", Some("[::1]"), "200-399")
        );
        let tcp = read(
            "{ tcp: true, interval: 5s, timeout: 250ms, healthy_after: 1, unhealthy_after: 9 }",
        );
        let (interval, timeout) = (Span::from_secs(5), Span::from_ms(250));
        let expected = HealthCheck {
            probe: Probe::Tcp,
            interval,
            timeout,
            healthy_after: 1,
            unhealthy_after: 9,
            flaps: FlapDamping::default(),
        };
        assert_eq!(tcp, expected);
        let grpc = |service: &str| Probe::Grpc { service: service.to_owned() };
        assert_eq!(read("{ grpc: true }").probe, grpc(""));
        assert_eq!(read("{ grpc: true, service: shop.v1.Cart }").probe, grpc("shop.v1.Cart"));
        let flaps = read("{ tcp: true, flap_limit: 0, flap_hold: 5m }").flaps;
        assert_eq!(flaps, FlapDamping { limit: 0, hold: Span::from_mins(5) });
    }

    #[test]
    fn what_is_no_check_is_refused() {
        let check = |text: &str, expected: &str| {
            refuses(
                &with_service(&format!("health_check: {text}")),
                &format!("line 3: services.shop.health_check{expected}"),
            );
        };
        check("{}", ": one of `path`, `tcp`, `grpc` is missing");
        check("{ path: /, tcp: true }", ".tcp: only one of `path`, `tcp`, `grpc` can be here");
        check("{ tcp: false }", ".tcp: false says nothing here");
        check("{ tcp: true, host: x }", ".host: belongs to a check with `path`");
        check("{ grpc: true, host: x }", ".host: belongs to a check with `path`, not with `grpc`");
        check("{ path: /, service: x }", ".service: belongs to a check with `grpc`");
        check("{ grpc: true, service: 'a b' }", ".service: \"a b\" is not the name of a gRPC");
        check("{ tcp: true, flap_limit: -1 }", ".flap_limit: wanted a whole number from 0 to 100");
        check("{ path: healthz }", ".path: \"healthz\" is not a path");
        check("{ path: '/a b' }", ".path: \"/a b\" is not a path");
        check("{ path: /, host: 'x:y' }", ".host: \"x:y\" has no port after its colon");
        check("{ path: /, host: 'x/y' }", ".host: \"x/y\" is not a host");
        check("{ path: /, expected: 299-200 }", ".expected: \"299-200\" is not a status");
        check("{ path: /, interval: 0s }", ".interval: 0s is too short: at least 1ms");
        check("{ path: /, timeout: 0s }", ".timeout: 0s is too short");
        check(
            "{ path: /, healthy_after: 0 }",
            ".healthy_after: wanted a whole number from 1 to 100",
        );
        check(
            "{ path: /, healty_after: 1 }",
            ".healty_after: unknown key; did you mean `healthy_after`?",
        );
    }
}

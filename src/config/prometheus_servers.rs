//! `prometheus`: the servers that alarms ask, and what is shown to them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::fields::Fields;
use super::file_path;
use super::node::Node;
use super::transport::target_tls;
use crate::core::model::{
    Credentials, PrometheusName, PrometheusServer, ServerUrl, TargetTls, Verify,
};
use crate::promql::read_secret;

/// Reads the section, and checks the files that it names.
pub(super) fn prometheus_servers(
    node: &Node<'_>,
    base_dir: &Path,
) -> BTreeMap<PrometheusName, PrometheusServer> {
    node.named(MAX_SERVERS, |name: Option<PrometheusName>, node| {
        let server = server(node, base_dir);
        // A server without a name cannot be kept; its mistakes are reported all the same.
        name.and(server)
    })
}

fn server(node: &Node<'_>, base_dir: &Path) -> Option<PrometheusServer> {
    let mut fields = node.fields();
    let url_node = fields.require("url");
    let url = url_node.as_ref().and_then(|node| node.parsed::<ServerUrl>());
    let credentials = credentials(&mut fields, base_dir);
    let tls_node = fields.take("tls");
    let tls = tls_node.as_ref().map(|node| (node, target_tls(node, base_dir)));
    fields.finish();
    let url = url?;
    let tls = match (url.is_https(), tls) {
        (true, Some((node, tls))) => {
            if tls.verify == Verify::Nothing {
                node.mistake_with_fix(
                    "a server that alarms believe is verified",
                    "leave `verify` out, and name its authority with `ca`",
                );
            }
            Some(tls)
        }
        (true, None) => Some(TargetTls {
            server_name: None,
            verify: Verify::Full,
            authorities: None,
            identity: None,
        }),
        (false, Some((node, _))) => {
            node.mistake_with_fix("`url` is not `https`", "write `https://`, or leave `tls` out");
            None
        }
        (false, None) => None,
    };
    Some(PrometheusServer { url, credentials, tls })
}

fn credentials(fields: &mut Fields<'_>, base_dir: &Path) -> Option<Credentials> {
    let bearer = fields.take("bearer_token_file");
    let basic = fields.take("basic_auth");
    if let (Some(_), Some(basic)) = (&bearer, &basic) {
        basic.mistake("only one of `bearer_token_file`, `basic_auth` can be here");
    }
    let basic = basic.and_then(|node| {
        let mut fields = node.fields();
        let user = fields.require("user").and_then(|node| user(&node));
        let password_file = fields.require("password_file");
        fields.finish();
        let password_file = password_file.and_then(|node| secret_file(&node, base_dir));
        Some(Credentials::Basic { user: user?, password_file: password_file? })
    });
    let bearer = bearer.and_then(|node| secret_file(&node, base_dir));
    bearer.map(|file| Credentials::Bearer { file }).or(basic)
}

/// Reads a user name: a colon would end it (RFC 7617, section 2).
fn user(node: &Node<'_>) -> Option<String> {
    let text = node.text()?;
    let fits = !text.is_empty() && text.len() <= LONGEST_USER;
    if !fits || text.chars().any(|c| c.is_control() || c == ':') {
        return node.wanted("a user name without a colon");
    }
    Some(text.to_owned())
}

/// Reads the path of a file that holds a secret now.
fn secret_file(node: &Node<'_>, base_dir: &Path) -> Option<PathBuf> {
    let path = file_path(node, base_dir)?;
    read_secret(&path).map_err(|error| node.mistake(error.to_string())).ok()?;
    Some(path)
}

/// The most servers of a configuration.
const MAX_SERVERS: usize = 100;
const LONGEST_USER: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{parse, refuses, with};

    fn section(keys: &str) -> String {
        with(&format!("prometheus: {{ main: {{ {keys} }} }}"))
    }

    fn read(keys: &str) -> PrometheusServer {
        let config = parse(&section(keys)).unwrap();
        config.prometheus.into_values().next().unwrap()
    }

    #[test]
    fn a_server_is_asked_without_a_secret_unless_it_names_one() {
        let plain = read("url: 'http://127.0.0.1:9090'");
        assert_eq!((plain.credentials, plain.tls), (None, None));
        assert_eq!(plain.url.to_string(), "http://127.0.0.1:9090");
        let https = read("url: 'https://prometheus.internal/prom'");
        assert_eq!(https.tls.map(|tls| tls.verify), Some(Verify::Full));
        let named = read("url: 'https://10.0.0.1', tls: { server_name: prometheus.internal }");
        let name = named.tls.and_then(|tls| tls.server_name);
        assert_eq!(name.as_deref(), Some("prometheus.internal"));
    }

    #[test]
    fn secrets_are_files_that_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "s3cret\n").unwrap();
        let shown = file.display();
        let url = "url: 'http://127.0.0.1:9090'";
        let bearer = read(&format!("{url}, bearer_token_file: '{shown}'")).credentials;
        assert_eq!(bearer, Some(Credentials::Bearer { file: file.clone() }));
        let keys = format!("{url}, basic_auth: {{ user: ann, password_file: '{shown}' }}");
        let basic = Credentials::Basic { user: "ann".to_owned(), password_file: file.clone() };
        assert_eq!(read(&keys).credentials, Some(basic));
        std::fs::write(&file, "\n").unwrap();
        let empty = section(&format!("{url}, bearer_token_file: '{shown}'"));
        refuses(&empty, "prometheus.main.bearer_token_file: ");
        refuses(&empty, "is not one line");
    }

    #[test]
    fn what_is_no_server_is_refused() {
        let check = |keys: &str, expected: &str| {
            refuses(&section(keys), &format!("line 4: prometheus.main{expected}"));
        };
        let with_url = |keys: &str| format!("url: 'http://127.0.0.1:9090', {keys}");
        check("", ": `url` is missing");
        check("url: '127.0.0.1:9090'", ".url: a server's URL begins with");
        check("url: 'http://ann:x@127.0.0.1'", ".url: a URL holds no user name");
        check(&with_url("tls: {}"), ".tls: `url` is not `https`; write `https://`");
        check("url: 'https://x', tls: { verify: false }", ".tls: a server that alarms believe is");
        check(&with_url("token: x"), ".token: unknown key");
        check(
            &with_url("bearer_token_file: /nowhere/x"),
            ".bearer_token_file: /nowhere/x: cannot be read: ",
        );
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "s3cret").unwrap();
        let shown = file.display();
        check(
            &with_url(&format!("basic_auth: {{ user: 'a:b', password_file: '{shown}' }}")),
            ".basic_auth.user: wanted a user name without a colon",
        );
        let basic = format!("basic_auth: {{ user: a, password_file: '{shown}' }}");
        check(
            &with_url(&format!("{basic}, bearer_token_file: '{shown}'")),
            ".basic_auth: only one of `bearer_token_file`, `basic_auth` can be here",
        );
    }
}

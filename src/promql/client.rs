//! The client of one server: one question, one connection, bounded in time and in bytes.

use std::fmt::Write as _;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONNECTION, HOST, USER_AGENT};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::answer::read;
use super::secret::authorization;
use super::{Failure, Question};
use crate::core::model::{PrometheusServer, QueryAnswer, TargetTls};
use crate::tls::{ClientTls, Offers};

/// A client of one server.
#[derive(Debug)]
pub(super) struct Client {
    server: PrometheusServer,
    /// Made when it is first needed: the system's authorities are read from files.
    tls: OnceCell<ClientTls>,
}

impl Client {
    pub(super) fn new(server: PrometheusServer) -> Self {
        Self { server, tls: OnceCell::new() }
    }

    /// What it is a client of.
    pub(super) fn server(&self) -> &PrometheusServer {
        &self.server
    }

    /// Asks once.
    pub(super) async fn ask(&self, question: &Question) -> Result<QueryAnswer, Failure> {
        let late = || Failure::passing(format!("no answer within {}", question.timeout));
        let asked = timeout(Duration::from(question.timeout), self.exchange(question)).await;
        let (status, body) = asked.unwrap_or_else(|_| Err(late()))?;
        read(status, &body)
    }

    async fn exchange(&self, question: &Question) -> Result<(StatusCode, Bytes), Failure> {
        let request = self.request(question).await?;
        let url = &self.server.url;
        let stream = TcpStream::connect((url.host(), url.port())).await.map_err(|error| {
            Failure::passing(format!("{} cannot be reached: {error}", url.authority()))
        })?;
        let Some(spec) = &self.server.tls else {
            return send(TokioIo::new(stream), request).await;
        };
        let tls = self.tls.get_or_try_init(|| client_tls(spec.clone())).await?;
        let name = tls.name_at(url.host()).map_err(|error| Failure::lasting(error.to_string()))?;
        let shaken = tls.connector(Offers::Http1).connect(name, stream).await;
        let stream = shaken.map_err(|error| Failure::passing(format!("no TLS: {error}")))?;
        send(TokioIo::new(stream), request).await
    }

    async fn request(&self, question: &Question) -> Result<Request<Empty<Bytes>>, Failure> {
        let url = &self.server.url;
        let target = format!(
            "{}/api/v1/query?query={}&timeout={}ms",
            url.path(),
            escaped(&question.query),
            question.timeout.ms()
        );
        let mut request = Request::get(target)
            .header(HOST, url.authority())
            .header(USER_AGENT, "tidegate")
            .header(ACCEPT, "application/json")
            .header(CONNECTION, "close");
        if let Some(shown) = self.authorization().await? {
            request = request.header(AUTHORIZATION, shown);
        }
        let unsendable = |error: http::Error| Failure::lasting(format!("cannot be asked: {error}"));
        request.body(Empty::new()).map_err(unsendable)
    }

    async fn authorization(&self) -> Result<Option<HeaderValue>, Failure> {
        let Some(credentials) = self.server.credentials.clone() else { return Ok(None) };
        let read = spawn_blocking(move || authorization(&credentials)).await;
        let read = read.map_err(|error| Failure::passing(error.to_string()))?;
        read.map(Some).map_err(|error| Failure::lasting(error.to_string()))
    }
}

async fn client_tls(spec: TargetTls) -> Result<ClientTls, Failure> {
    let made = spawn_blocking(move || ClientTls::of(&spec)).await;
    let made = made.map_err(|error| Failure::passing(error.to_string()))?;
    made.map_err(|error| Failure::lasting(error.to_string()))
}

async fn send<S>(stream: S, request: Request<Empty<Bytes>>) -> Result<(StatusCode, Bytes), Failure>
where
    S: Read + Write + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| Failure::passing(format!("a broken answer: {error}"));
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(HEADER_LIMIT).handshake(stream).await.map_err(broken)?;
    let mut exchange = pin!(async move {
        let answer = sender.send_request(request).await.map_err(broken)?;
        let status = answer.status();
        // What a redirect says besides is of no interest.
        if status.is_redirection() {
            return Ok::<_, Failure>((status, Bytes::new()));
        }
        let body = Limited::new(answer.into_body(), ANSWER_LIMIT).collect().await;
        let body = body.map_err(|error| {
            if error.is::<LengthLimitError>() {
                Failure::lasting(format!("the answer is longer than {ANSWER_LIMIT} bytes"))
            } else {
                let inner = error.source().map(|inner| format!(": {inner}")).unwrap_or_default();
                Failure::passing(format!("a broken answer: {error}{inner}"))
            }
        })?;
        Ok::<_, Failure>((status, body.to_bytes()))
    });
    tokio::select! {
        biased;
        result = &mut exchange => result,
        // A connection that is over has handed on all it had: the exchange ends with that.
        _ = connection => exchange.await,
    }
}

/// A text as the value of a query's key (RFC 3986, section 2.1).
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            write!(escaped, "%{byte:02X}").expect("a string takes all");
        }
    }
    escaped
}

const HEADER_LIMIT: usize = 32 * 1_024;
/// The longest answer: one number has about a hundred bytes, a mistaken query any number of series.
const ANSWER_LIMIT: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::core::model::{Credentials, Span, Verify};
    use crate::promql::fake::{Fake, Script, vector};
    use crate::tls::testkit::Authority;

    fn question(query: &str) -> Question {
        Question {
            server: "main".parse().expect("valid"),
            query: query.to_owned(),
            period: Span::from_secs(1),
            timeout: Span::from_ms(400),
        }
    }

    fn client(url: &str, credentials: Option<Credentials>) -> Client {
        let url = url.parse().expect("a URL");
        Client::new(PrometheusServer { url, credentials, tls: None })
    }

    async fn asked(fake: &Fake) -> Result<QueryAnswer, Failure> {
        client(&fake.url(), None).ask(&question("up")).await
    }

    fn why(result: Result<QueryAnswer, Failure>) -> String {
        result.expect_err("no answer").why
    }

    #[tokio::test]
    async fn a_question_is_an_instant_query_with_all_that_it_needs() {
        let fake = Fake::start(Script::Json(200, vector("0.5"))).await;
        let folder = tempfile::tempdir().expect("a folder");
        let file: PathBuf = folder.path().join("token");
        std::fs::write(&file, "s3cret\n").expect("written");
        let url = format!("{}/prom/", fake.url());
        let client = client(&url, Some(Credentials::Bearer { file }));
        let answer = client.ask(&question("sum(rate(x{a=\"b c\"}[1m])) / 2")).await;
        assert_eq!(answer, Ok(QueryAnswer::Value(0.5)));
        let head = fake.last_head();
        let line = "GET /prom/api/v1/query?query=sum%28rate%28x%7Ba%3D%22b%20c%22%7D%5B1m%5D%29%29%20%2F%202&timeout=400ms HTTP/1.1";
        assert_eq!(head.lines().next(), Some(line));
        assert!(head.contains("authorization: Bearer s3cret"), "{head}");
        assert!(!format!("{client:?}").contains("s3cret"));
    }

    #[tokio::test]
    async fn whatever_a_server_does_there_is_an_answer_or_a_reason_in_time() {
        let check = async |script: Script, expected: &str| {
            let fake = Fake::start(script).await;
            let why = why(asked(&fake).await);
            assert!(why.contains(expected), "{expected}: {why}");
        };
        check(Script::Silence, "no answer within 400ms").await;
        check(Script::Raw("garbage\r\n\r\n"), "a broken answer").await;
        check(Script::Raw(""), "a broken answer").await;
        check(Script::Endless, "longer than 1048576 bytes").await;
        check(Script::Json(500, String::new()), "status 500").await;
        check(Script::Json(200, "<html>".to_owned()), "no Prometheus server").await;
        check(Script::Raw("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"), "a broken answer")
            .await;
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let other = Fake::start(Script::Json(200, vector("1"))).await;
        let fake = Fake::start(Script::Redirect(other.url())).await;
        assert!(why(asked(&fake).await).contains("redirects are not followed"));
        assert_eq!((fake.asked(), other.asked()), (1, 0));
    }

    #[tokio::test]
    async fn nobody_there_and_no_secret_are_told() {
        let fake = Fake::start(Script::Silence).await;
        let url = fake.url();
        let credentials = Credentials::Bearer { file: "/nowhere/token".into() };
        let found = why(client(&url, Some(credentials)).ask(&question("up")).await);
        assert!(found.contains("/nowhere/token: cannot be read"), "{found}");
        assert_eq!(fake.asked(), 0);
        let gone = fake.gone().await;
        let found = why(client(&gone, None).ask(&question("up")).await);
        assert!(found.contains("cannot be reached"), "{found}");
    }

    #[tokio::test]
    async fn https_is_spoken_with_a_server_that_a_trusted_authority_signed() {
        let authority = Authority::new();
        let files = authority.signs("prometheus", &["localhost"]);
        let fake = Fake::start_tls(Script::Json(200, vector("7")), &files).await;
        let tls = |authorities: Vec<u8>| TargetTls {
            server_name: Some("localhost".to_owned()),
            verify: Verify::Full,
            authorities: Some([authorities].into()),
            identity: None,
        };
        let url = fake.url().replace("http://", "https://").parse().expect("a URL");
        let server = PrometheusServer { url, credentials: None, tls: Some(tls(authority.der())) };
        let stranger = Some(tls(Authority::new().der()));
        let client = Client::new(server.clone());
        assert_eq!(client.ask(&question("up")).await, Ok(QueryAnswer::Value(7.0)));
        let client = Client::new(PrometheusServer { tls: stranger, ..server });
        let found = why(client.ask(&question("up")).await);
        assert!(found.contains("no TLS"), "{found}");
    }
}

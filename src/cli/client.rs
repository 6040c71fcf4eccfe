//! The way to the admin API: plain HTTP, one request at a time, each with a deadline.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Method, Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::failure::Failure;
use super::token;
use crate::admin::json::{Page, Problem};
use crate::core::analysis::replay::Limit;

/// A client of one admin API.
pub(super) struct Client {
    http: HyperClient<HttpConnector, Full<Bytes>>,
    url: String,
    token: String,
}

impl fmt::Debug for Client {
    /// Leaves the token out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Client {
    /// A client of the API at a URL, with the token of a file; the usual one if none is named.
    pub(super) fn new(url: &str, token_file: Option<&PathBuf>) -> Result<Self, Failure> {
        let url = url.trim_end_matches('/').to_owned();
        let parsed = url.parse::<Uri>().ok();
        let whole = parsed.is_some_and(|uri| {
            uri.scheme_str() == Some("http") && uri.authority().is_some() && uri.path() == "/"
        });
        if !whole {
            let fix = "for example --admin http://127.0.0.1:7070".to_owned();
            return Err(Failure::Usage(format!("{url:?} is no address of an API"), Some(fix)));
        }
        let token = token::read(token_file.map(PathBuf::as_path))?;
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIME));
        let http = HyperClient::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ok(Self { http, url, token })
    }

    /// Reads something.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.send(Method::GET, path, None::<&()>, &[]).await
    }

    /// Reads something that is no JSON.
    pub(super) async fn get_bytes(&self, path: &str) -> Result<Bytes, Failure> {
        let request = self.request(Method::GET, path, Vec::new(), &[])?;
        timeout(ANSWER_TIME, self.receive(request))
            .await
            .map_err(|_| self.unreachable("it does not answer in time"))?
    }

    /// Reads all pages of a list, up to a number of items.
    pub(super) async fn get_all<T: DeserializeOwned>(
        &self,
        path: &str,
        most: usize,
    ) -> Result<Vec<T>, Failure> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        let and = if path.contains('?') { '&' } else { '?' };
        loop {
            let limit = (most - items.len()).clamp(1, PAGE);
            let page: Page<T> = self.get(&format!("{path}{and}limit={limit}{cursor}")).await?;
            items.extend(page.items);
            match page.next {
                Some(next) if items.len() < most => cursor = format!("&cursor={next}"),
                Some(_) | None => return Ok(items),
            }
        }
    }

    /// Asks for a change.
    pub(super) async fn change<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &B,
    ) -> Result<T, Failure> {
        self.send(method, path, Some(body), &[]).await
    }

    /// Does one request.
    pub(super) async fn send<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
        headers: &[(&str, &str)],
    ) -> Result<T, Failure> {
        let body = match body {
            Some(body) => serde_json::to_vec(body).context("the request cannot be written")?,
            None => Vec::new(),
        };
        let request = self.request(method, path, body, headers)?;
        timeout(ANSWER_TIME, self.exchange(request))
            .await
            .map_err(|_| self.unreachable("it does not answer in time"))?
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        headers: &[(&str, &str)],
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request
            .body(Full::from(body))
            .map_err(|error| Failure::Usage(format!("the request cannot be sent: {error}"), None))
    }

    /// Uploads a component, and waits until it is compiled.
    pub(super) async fn upload<T: DeserializeOwned>(
        &self,
        path: &str,
        component: Vec<u8>,
        headers: &[(&str, String)],
    ) -> Result<T, Failure> {
        let mut request = Request::builder()
            .method(Method::PUT)
            .uri(format!("{}{path}", self.url))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::CONTENT_TYPE, "application/wasm");
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::from(component)).map_err(|error| {
            Failure::Usage(format!("the request cannot be sent: {error}"), None)
        })?;
        timeout(UPLOAD_TIME, self.exchange(request))
            .await
            .map_err(|_| self.unreachable("it does not answer in time"))?
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<T, Failure> {
        let body = self.receive(request).await?;
        let read = serde_json::from_slice(&body);
        Ok(read.with_context(|| format!("{} gave an answer of another kind", self.url))?)
    }

    /// The body of an answer that is a success.
    async fn receive(&self, request: Request<Full<Bytes>>) -> Result<Bytes, Failure> {
        let answer = self
            .http
            .request(request)
            .await
            .map_err(|error| self.unreachable(&innermost(&error)))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LONGEST_ANSWER).collect().await;
        let body = body.map_err(|error| self.unreachable(&innermost(error.as_ref())))?.to_bytes();
        if status.is_success() {
            return Ok(body);
        }
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Err(Failure::Refused(Box::new(problem))),
            Err(_) => Err(self.unreachable(&format!("something else answers there, {status}"))),
        }
    }

    fn unreachable(&self, why: &str) -> Failure {
        Failure::Unreachable { url: self.url.clone(), why: why.to_owned() }
    }
}

/// What lies at the bottom of an error: the system's words.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

const CONNECT_TIME: Duration = Duration::from_secs(3);
const ANSWER_TIME: Duration = Duration::from_secs(75);
/// Longer than anything takes to be compiled.
const UPLOAD_TIME: Duration = Duration::from_mins(5);
/// That of the longest log of evidence; no other answer is near it.
const LONGEST_ANSWER: usize = Limit::MOST as usize;
const PAGE: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::json::Service;
    use crate::cli::fake::{Fake, service};

    #[tokio::test]
    async fn an_api_that_is_not_there_is_unreachable_in_the_systems_words() {
        let gone = Fake::start(vec![]).await.gone().await;
        let failure = gone.get::<Service>("/v1/services/shop").await.expect_err("gone");
        let Failure::Unreachable { url, why } = failure else { panic!("{failure}") };
        assert!(url.starts_with("http://127.0.0.1:"));
        assert!(why.to_lowercase().contains("refused"), "{why}");
    }

    #[tokio::test]
    async fn something_else_that_answers_there_is_not_taken_for_the_api() {
        let other = Fake::start(vec![(404, serde_json::json!("nginx"))]).await;
        let failure = other.client().get::<Service>("/").await.expect_err("not the API");
        assert!(failure.to_string().contains("something else answers there, 404"), "{failure}");
    }

    #[tokio::test]
    async fn all_pages_of_a_list_are_read() {
        let page = |next: Option<&str>| {
            let page = Page { items: vec![service()], next: next.map(str::to_owned) };
            (200, serde_json::to_value(page).expect("serialises"))
        };
        let fake = Fake::start(vec![page(Some("a")), page(Some("b")), page(None)]).await;
        let client = fake.client();
        let all: Vec<Service> = client.get_all("/v1/services", usize::MAX).await.expect("read");
        assert_eq!(all.len(), 3);
        let asked = fake.asked();
        assert_eq!(asked[0], "GET /v1/services?limit=1000 HTTP/1.1");
        assert_eq!(asked[2], "GET /v1/services?limit=1000&cursor=b HTTP/1.1");
    }

    #[test]
    fn only_an_http_url_is_an_address() {
        for bad in ["127.0.0.1:7070", "https://127.0.0.1", "http://", "http://a/v1", ""] {
            let failure = Client::new(bad, None).expect_err("no address");
            assert!(failure.to_string().contains("is no address of an API"), "{failure}");
        }
    }
}

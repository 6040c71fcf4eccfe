//! Pingora's hooks, in the order in which a request passes them.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use http::header::TRAILER;
use http::{HeaderMap, StatusCode};
use pingora_core::modules::http::HttpModules;
use pingora_core::protocols::Digest;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorSource, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};

use crate::clock::Clock;
use crate::core::model::ListenerSpec;
use crate::core::routing::RoutingTable;
use crate::telemetry::Recorder;

use super::access_log::AccessLog;
use super::access_record::End;
use super::answer::{DEPARTED, Refusal};
use super::answer_bounds::AnswerBounds;
use super::attempt::Attempt;
use super::claim::Claim;
use super::connection::Connection;
use super::context::{Context, no_target};
use super::course::Course;
use super::drain::Drain;
use super::exchange::{self, Exchanges};
use super::forward::{self, IdentityHeaders};
use super::forwarded::Origin;
use super::framing::ends_with_connection;
use super::mirror::Mirror;
use super::retry::is_unanswered;
use super::route::Route;
use super::trailers;
use super::tunnel::Tunnels;
use super::upload::{Unacceptable, Upload, waits_for_word};
use super::word::SILENCE;

/// The hooks of one listener.
#[derive(Debug)]
pub(super) struct Phases {
    pub(super) listener: ListenerSpec,
    pub(super) identity: IdentityHeaders,
    pub(super) tunnels: Arc<Tunnels>,
    pub(super) table: Arc<ArcSwap<RoutingTable>>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) clock: Clock,
    pub(super) drain: Arc<Drain>,
    pub(super) mirror: Mirror,
    /// `None` logs no request.
    pub(super) access_log: Option<AccessLog>,
    pub(super) exchanges: Arc<Exchanges>,
}

impl Phases {
    /// The client sends its body, or was told to: now it is the one who is waited for.
    fn go_on(&self, session: &mut Session, ctx: &mut Context) {
        if ctx.upload.waits_for_word() {
            ctx.upload.goes_on();
            session.set_read_timeout(Some(Duration::from(self.listener.limits.body_read)));
            Course::tell(|course| course.client_waits(false));
        }
    }
}

#[async_trait]
impl ProxyHttp for Phases {
    // Boxed: Pingora moves it through three futures, and each keeps room for it while a connection
    // waits for its next request.
    type CTX = Box<Context>;

    fn new_ctx(&self) -> Box<Context> {
        Course::tell(|course| course.header_is_read(self.clock.mono()));
        let note = self.access_log.as_ref().and_then(AccessLog::note);
        Box::new(Context::new(self.clock.mono_us(), self.drain.request(), note))
    }

    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn early_request_filter(
        &self,
        session: &mut Session,
        ctx: &mut Box<Context>,
    ) -> Result<()> {
        self.set_limits(session);
        ctx.claim = Claim::of(session);
        let connection = Connection::of(session.digest()).map(Arc::as_ref);
        if let Some(connection) = connection {
            connection.count_request();
        }
        let headers = &session.req_header().headers;
        ctx.request_id = Some(forward::request_id(headers));
        ctx.origin = Some(Origin::of(connection, headers, &self.listener.trusted_proxies));
        let expects = waits_for_word(session.req_header());
        ctx.upload = Upload::announced(session.as_downstream_mut().is_body_empty(), expects);
        if ctx.upload.is_whole() {
            Course::tell(|course| course.is_sent(self.clock.mono()));
        }
        if ctx.upload.waits_for_word() {
            // Somebody tells it to go on by then: the target, or the proxy.
            session
                .set_read_timeout(Some(SILENCE + Duration::from(self.listener.limits.body_read)));
        }
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Box<Context>) -> Result<bool> {
        match self.route(session, ctx) {
            Ok(Route::Request(attempt)) => {
                self.mirror.offer(session, &attempt, &ctx.onward(&self.identity)?);
                let is_exchange = exchange::is_due(session.req_header(), &attempt);
                ctx.attempt = Some(attempt);
                // Boxed: no other request needs room for it.
                if is_exchange {
                    Box::pin(self.exchange(session, ctx)).await?;
                }
                Ok(is_exchange)
            }
            Ok(Route::Upgrade(attempt)) => {
                ctx.attempt = Some(attempt);
                self.upgrade(session, ctx).await?;
                Ok(true)
            }
            Err(answer) => {
                let id = ctx.request_id();
                answer.write(session, &id).await.map_err(|error| error.into_down())?;
                Ok(true)
            }
        }
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Box<Context>,
    ) -> Result<()> {
        if end_of_stream && body.as_ref().is_some_and(Bytes::is_empty) {
            // An empty last frame of HTTP/2 would end the body of HTTP/1.1 twice.
            *body = None;
        }
        self.go_on(session, ctx);
        let bytes = u64::try_from(session.body_bytes_read()).unwrap_or(u64::MAX);
        let mut limits = self.listener.limits;
        if ctx.attempt.as_ref().is_some_and(Attempt::is_grpc) {
            // A stream says something when it has something to say.
            limits.body_rate = 0;
        }
        Course::tell(|course| course.moved(self.clock.mono()));
        ctx.upload
            .part(bytes, end_of_stream, self.clock.mono_us(), &limits)
            .map_err(Unacceptable::error)?;
        if ctx.upload.is_whole() {
            Course::tell(|course| course.is_sent(self.clock.mono()));
        }
        Ok(())
    }

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        ctx: &mut Box<Context>,
    ) -> Result<Box<HttpPeer>> {
        // Each attempt has a time of its own.
        Course::tell(|course| course.connects(self.clock.mono()));
        let waits = ctx.upload.waits_for_word();
        let mut peer = ctx.attempt()?.peer();
        if waits && let Some(limit) = &mut peer.options.read_timeout {
            // Nothing is a target's fault before the client was told to go on.
            *limit += SILENCE;
        }
        Ok(Box::new(peer))
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Box<Context>,
        mut error: Box<Error>,
    ) -> Box<Error> {
        match &mut ctx.attempt {
            Some(attempt) => attempt.connect_failed(session, &mut error),
            None => error.set_retry(false),
        }
        error
    }

    async fn connected_to_upstream(
        &self,
        session: &mut Session,
        _reused: bool,
        _peer: &HttpPeer,
        _fd: RawFd,
        _digest: Option<&Digest>,
        ctx: &mut Box<Context>,
    ) -> Result<()> {
        Course::tell(|course| course.stands(self.clock.mono()));
        if Course::was_told() {
            self.go_on(session, ctx);
        }
        if ctx.upload.waits_for_word() {
            Course::tell(|course| course.client_waits(true));
        }
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Box<Context>,
    ) -> Result<()> {
        ctx.attempt()?.sent();
        let attempt = ctx.attempt.as_ref().ok_or_else(no_target)?;
        ctx.onward(&self.identity)?.to_target(request, &attempt.actions, attempt.target())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Box<Context>,
    ) -> Result<()> {
        ctx.bounds.admit(response)?;
        if !response.status.is_informational() {
            ctx.attempt()?.answered(session, response.status.as_u16())?;
            Course::tell(|course| course.is_answered(self.clock.mono()));
            ctx.attempt()?.grpc_status(&response.headers);
        } else if response.status == StatusCode::CONTINUE {
            self.go_on(session, ctx);
        }
        Ok(())
    }

    fn upstream_response_trailer_filter(
        &self,
        _session: &mut Session,
        trailers: &mut HeaderMap,
        ctx: &mut Box<Context>,
    ) -> Result<()> {
        AnswerBounds::admit_trailers(trailers)?;
        ctx.attempt()?.grpc_status(trailers);
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Box<Context>,
    ) -> Result<()> {
        let is_interim = response.status.is_informational();
        // It is the final answer alone that may come too early for its connection to go on.
        session.as_downstream_mut().set_close_on_response_before_downstream_finish(!is_interim);
        if is_interim {
            forward::interim_to_client(response);
            if let Some(claim) = &mut ctx.claim {
                claim.pass(response.status, &response.headers);
            }
            return Ok(());
        }
        if self.drain.is_stopping() {
            session.set_keepalive(None);
        }
        let version = session.req_header().version;
        let attempt = ctx.attempt()?;
        attempt.headers_to_client(session, response)?;
        ctx.takes_trailers =
            attempt.has_trailers() && trailers::may_follow(response, session.req_header());
        if ends_with_connection(version, response) {
            session.set_keepalive(None);
        }
        Ok(())
    }

    async fn response_trailer_filter(
        &self,
        _session: &mut Session,
        trailers: &mut HeaderMap,
        ctx: &mut Box<Context>,
    ) -> Result<Option<Bytes>> {
        trailers::to_client(trailers);
        if ctx.takes_trailers {
            trailers::follow_chunks(trailers);
        }
        Ok(None)
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        _body: &mut Option<Bytes>,
        _end_of_stream: bool,
        _ctx: &mut Box<Context>,
    ) -> Result<Option<Duration>> {
        Course::tell(|course| course.moved(self.clock.mono()));
        Ok(None)
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        ctx: &mut Box<Context>,
        reused: bool,
    ) -> Box<Error> {
        if Course::was_told() {
            ctx.upload.goes_on();
        }
        Course::tell(|course| course.client_waits(false));
        if error.etype == DEPARTED {
            // Its group had to be left, and nobody failed.
            error.set_retry(false);
            return error;
        }
        let waited =
            *error.esource() == ErrorSource::Upstream && error.etype == ErrorType::ReadTimedout;
        if waited && ctx.upload.is_awaited() {
            // The target waited for the client: it is not the target that was slow. One that takes
            // no more of the body (`WriteTimedout`) is.
            error.as_down();
            error.set_retry(false);
            return error;
        }
        match &mut ctx.attempt {
            Some(attempt) => attempt.broken(session, reused, &mut error),
            None => error.set_retry(false),
        }
        error
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut Box<Context>,
    ) -> FailToProxy {
        let id = ctx.request_id();
        tracing::debug!(%error, request_id = ?id, listener = %self.listener.name, "request failed");
        session.set_keepalive(None);
        // What follows is an answer, and no target is waited for any more.
        Course::tell(|course| course.is_answered(self.clock.mono()));
        let are_down = ctx.attempt.as_ref().is_some_and(Attempt::targets_are_down);
        let unanswered = is_unanswered(session);
        let refusal = Refusal::of_failure(error)
            .map(|refusal| if are_down { refusal.of_all_down() } else { refusal });
        let told = match refusal {
            Some(refusal) if unanswered => refusal.write(session, &id).await,
            // The answer to the call has begun: its trailers can still tell.
            Some(Refusal::GroupLeft) => Refusal::GroupLeft.end_call(session).await,
            Some(_) | None => Ok(()),
        };
        if let Err(error) = told {
            tracing::debug!(%error, request_id = ?id, "the client did not take the answer");
        }
        let refusal = refusal.filter(|_| unanswered);
        FailToProxy { error_code: refusal.map_or(0, Refusal::status), can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Box<Context>) {
        if let (None, Some(attempt)) = (error, &mut ctx.attempt) {
            attempt.ended();
        }
        // Whoever has not taken them by now does not want them.
        if session.req_header().headers.contains_key(TRAILER)
            && let Some(connection) = Connection::of(session.digest())
        {
            connection.take_trailers();
        }
        if ctx.claim.is_some()
            && error.is_some_and(was_not_read)
            && let Some(connection) = Connection::of(session.digest())
        {
            // Its stream alone is reset, and it might begin the next one.
            connection.say_goodbye();
        }
        let (Some(log), Some(note)) = (&self.access_log, ctx.note.take()) else { return };
        let last = |header: &&ResponseHeader| {
            !header.status.is_informational() || header.status == StatusCode::SWITCHING_PROTOCOLS
        };
        let end = End {
            listener: &self.listener.name,
            client: ctx.client(),
            request: session.req_header(),
            request_id: ctx.request_id.as_ref(),
            response: session.response_written().filter(last),
            error,
            attempt: ctx.attempt.as_ref(),
            bytes_sent: session.body_bytes_sent(),
            bytes_received: session.body_bytes_read(),
            duration_us: self.clock.mono_us().saturating_sub(ctx.started_us),
        };
        log.log(note, &end);
    }

    /// Failures are counted, and told by `fail_to_proxy`: an outage must not flood the log.
    fn suppress_error_log(&self, _session: &Session, _ctx: &Box<Context>, _error: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _ctx: &Box<Context>,
        _error: &Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        true
    }
}

/// Whether a request failed because its client did not read the answer.
fn was_not_read(error: &Error) -> bool {
    error.etype == ErrorType::WriteTimedout && *error.esource() == ErrorSource::Downstream
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::testkit::{
        Act, Origin, World, body, field, service, status, table, until, with_green,
    };
    use crate::core::model::{
        CookieAttributes, GreenFor, IssuedCookie, ReleaseTraffic, Side, Span, Stickiness,
        StickyFallback, Wanted, WhenIdle,
    };

    #[tokio::test]
    async fn a_swapped_table_moves_all_requests_and_opens_no_new_connection() {
        let (blue, green) = (Origin::saying("blue").await, Origin::saying("green").await);
        let mut route = service(0, &[blue.address], &[green.address]);
        let world = World::new(route.clone());
        let mut client = world.client().await;
        for (weight, expected) in [(0, "blue"), (10_000, "green"), (0, "blue"), (10_000, "green")] {
            route.exposure = with_green(weight);
            route.generation += 1;
            world.table.store(table(route.clone(), WhenIdle::Refuse).into());
            for _ in 0..25 {
                let answer = client.get("/", "").await;
                assert_eq!(body(&answer), expected);
                assert_eq!(field(&answer, "x-tidegate-side"), Some(expected));
                let generation = route.generation.to_string();
                assert_eq!(field(&answer, "x-tidegate-generation"), Some(generation.as_str()));
            }
        }
        assert_eq!((blue.connections(), green.connections()), (1, 1));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_request_fails_while_tables_are_swapped_under_load() {
        let (blue, green) = (Origin::saying("blue").await, Origin::saying("green").await);
        let mut route = service(5_000, &[blue.address], &[green.address]);
        let world = World::new(route.clone());
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let mut client = world.client().await;
            clients.spawn(async move {
                for _ in 0..100 {
                    let answer = client.get("/", "").await;
                    assert_eq!(Some(body(&answer)), field(&answer, "x-tidegate-side"));
                }
            });
        }
        while !clients.is_empty() {
            route.generation += 1;
            route.exposure =
                with_green(if route.generation.is_multiple_of(2) { 0 } else { 10_000 });
            world.table.store(table(route.clone(), WhenIdle::Refuse).into());
            while let Some(done) = clients.try_join_next() {
                done.expect("every answer came from its side");
            }
            tokio::task::yield_now().await;
        }
        assert_eq!(blue.seen().len() + green.seen().len(), 800);
    }

    #[tokio::test]
    async fn a_user_stays_on_the_side_of_their_cohort() {
        let (blue, green) = (Origin::saying("blue").await, Origin::saying("green").await);
        let mut route = service(5_000, &[blue.address], &[green.address]);
        let (fallback, issued) = (StickyFallback::IssuedCookie, IssuedCookie::default());
        route.stickiness = Some(Stickiness {
            header: Some("x-user-id".to_owned()),
            cookie: None,
            fallback,
            issued,
        });
        let world = World::new(route.clone());
        let mut client = world.client().await;
        let mut sides = Vec::new();
        for user in 0..30 {
            let key = format!("user-{user}");
            let expected = route.side_by_cohort(key.as_bytes());
            for _ in 0..2 {
                let answer = client.get("/", &format!("x-user-id: {key}\r\n")).await;
                assert_eq!(body(&answer), expected.as_str());
                assert_eq!(field(&answer, "set-cookie"), None);
            }
            sides.push(expected);
        }
        assert!(sides.contains(&Side::Blue) && sides.contains(&Side::Green));
    }

    #[tokio::test]
    async fn an_issued_cookie_already_decides_the_first_answer() {
        let (blue, green) = (Origin::saying("blue").await, Origin::saying("green").await);
        let mut route = service(5_000, &[blue.address], &[green.address]);
        let (fallback, issued) = (StickyFallback::IssuedCookie, IssuedCookie::default());
        route.stickiness = Some(Stickiness { header: None, cookie: None, fallback, issued });
        let world = World::new(route.clone());
        let mut client = world.client().await;
        for _ in 0..20 {
            let first = client.get("/", "").await;
            let cookie = field(&first, "set-cookie").expect("issued").to_owned();
            let (pair, attributes) = cookie.split_once("; ").expect("attributes");
            assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax");
            let value = pair.strip_prefix("tidegate-cohort=").expect("our cookie");
            assert_eq!(body(&first), route.side_by_cohort(value.as_bytes()).as_str());
            let second = client.get("/", &format!("cookie: {pair}\r\n")).await;
            assert_eq!(body(&second), body(&first));
            assert_eq!(field(&second, "set-cookie"), None);
        }
    }

    #[tokio::test]
    async fn a_cookie_is_issued_and_read_as_the_service_says() {
        let (blue, green) = (Origin::saying("blue").await, Origin::saying("green").await);
        let mut route = service(5_000, &[blue.address], &[green.address]);
        let attributes = CookieAttributes {
            path: "/shop".parse().expect("valid"),
            max_age: Some(Span::from_mins(1)),
            ..CookieAttributes::default()
        };
        let name = "side".parse().expect("valid");
        let issued = IssuedCookie::new(name, &attributes).expect("kept by clients");
        let fallback = StickyFallback::IssuedCookie;
        route.stickiness = Some(Stickiness { header: None, cookie: None, fallback, issued });
        let world = World::new(route.clone());
        let mut client = world.client().await;
        let first = client.get("/", "").await;
        let (pair, attributes) = field(&first, "set-cookie")
            .and_then(|cookie| cookie.split_once("; "))
            .expect("a cookie with attributes");
        assert_eq!(attributes, "Path=/shop; Max-Age=60; HttpOnly; SameSite=Lax");
        let value = pair.strip_prefix("side=").expect("the service's cookie");
        assert_eq!(body(&first), route.side_by_cohort(value.as_bytes()).as_str());
        let second = client.get("/", &format!("cookie: {pair}\r\n")).await;
        assert_eq!((body(&second), field(&second, "set-cookie")), (body(&first), None));
        let default = format!("cookie: tidegate-cohort={value}\r\n");
        assert!(field(&client.get("/", &default).await, "set-cookie").is_some());
    }

    #[tokio::test]
    async fn test_users_see_green_and_neither_they_nor_excluded_paths_are_scored() {
        let (blue, green) = (Origin::saying("blue").await, Origin::saying("green").await);
        let mut route = service(0, &[blue.address], &[green.address]);
        route.exposure.green_exists = true;
        let mut green_for = GreenFor::default();
        let side = Wanted::of_header("green").expect("valid");
        green_for.headers.insert("x-tidegate-side".parse().expect("valid"), side);
        green_for.cookies.insert("beta".parse().expect("valid"), Wanted::Present);
        let excluded = ReleaseTraffic::exclusion("/static/").expect("valid");
        route.release = Arc::new(ReleaseTraffic { green_for, excluded: vec![excluded] });
        let world = World::new(route);
        let mut client = world.client().await;
        for (path, fields, expected) in [
            ("/", "x-tidegate-side: green\r\n", "green"),
            ("/", "x-tidegate-side: blue\r\ncookie: a=b; beta=1\r\n", "green"),
            ("/static/a.css?beta=1", "", "blue"),
            ("/", "x-tidegate-side: blue\r\n", "blue"),
        ] {
            let answer = client.get(path, fields).await;
            assert_eq!(body(&answer), expected, "{path} {fields}");
            assert_eq!(field(&answer, "x-tidegate-side"), Some(expected));
        }
        for seen in green.seen().into_iter().chain(blue.seen()) {
            assert_eq!(field(&seen, "x-tidegate-side"), None, "{seen}");
        }
        // One connection serves one request after the other, so the last one is counted last.
        until("a request was scored", || world.recorder.overflow().requests() > 0).await;
        assert_eq!(world.recorder.overflow().requests(), 1);
    }

    #[tokio::test]
    async fn our_own_answers_say_so_and_keep_the_connection_where_that_is_safe() {
        let world = World::new(service(0, &[], &[]));
        let mut client = world.client().await;
        for _ in 0..2 {
            client.send("GET / HTTP/1.1\r\nhost: other.test\r\nx-request-id: r1\r\n\r\n").await;
            let answer = client.answer().await;
            assert_eq!(status(&answer), 404);
            assert_eq!(field(&answer, "x-tidegate-error"), Some("no_rule"));
            assert_eq!(field(&answer, "content-type"), Some("application/problem+json"));
            assert_eq!(field(&answer, "connection"), Some("keep-alive"));
            assert_eq!(field(&answer, "server"), None);
            let problem: serde_json::Value =
                serde_json::from_str(body(&answer)).expect("the body is JSON");
            assert_eq!((&problem["status"], &problem["request_id"]), (&404.into(), &"r1".into()));
        }
        let answer = client.get("/", "").await;
        assert_eq!(field(&answer, "x-tidegate-error"), Some("no_target"));
        assert_eq!(field(&answer, "retry-after"), Some("1"));
        client.send("HEAD / HTTP/1.1\r\nhost: other.test\r\nconnection: close\r\n\r\n").await;
        assert!(client.rest().await.ends_with("\r\n\r\n"));
        let tested = world.test_client().await.get("/", "").await;
        assert_eq!(field(&tested, "x-tidegate-error"), Some("no_green"));
    }

    #[tokio::test]
    async fn a_target_that_does_not_answer_in_time_is_a_504() {
        let origin = Origin::new(|_, _| vec![Act::Wait(Duration::from_secs(600))]).await;
        let mut route = service(0, &[origin.address], &[]);
        route.timeouts.read = Span::from_ms(100);
        let world = World::new(route);
        let answer = world.get("").await;
        assert_eq!(status(&answer), 504);
        assert_eq!(field(&answer, "x-tidegate-error"), Some("target_timeout"));
        assert_eq!(origin.seen().len(), 1);
    }
}

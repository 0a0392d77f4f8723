//! The local API gateway: an API Gateway HTTP API (payload format 2.0) in front of the functions.
//!
//! What AWS does, it does: a request becomes an event, the function's answer a response; unknown routes,
//! bodies over 10 MB, preflight requests and CORS headers are its own business and reach no function.
//! It adds what only a local stack has: invoking a function with any event, the API's description, and
//! the clock. Those refuse requests that come from a web page.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use uc_ledger::DynamoStore;

use crate::clock::{ClockError, MovableClock};
use crate::functions::{Function, TIMEOUT};
use crate::schedule::Schedule;

/// The largest body that API Gateway takes, in bytes.
pub const BODY_LIMIT: usize = 10 * 1024 * 1024;

/// CORS: as template.yaml sets it.
const ALLOWED_HEADERS: &str = "authorization,content-type,idempotency-key,if-match,if-none-match";
const ALLOWED_METHODS: &str = "GET,POST,PUT,DELETE,OPTIONS";
const EXPOSED_HEADERS: &str = "etag,idempotent-replayed,retry-after,x-request-id";
/// How long a browser may remember a preflight's answer, in seconds.
const PREFLIGHT_AGE: &str = "600";

/// Where the local clock is read (`GET`) and moved (`POST`).
pub(crate) const CLOCK: &str = "/_local/clock";
/// Where it is read what the store has cost since the stack began (`GET`).
pub const COUNTS: &str = "/_local/counts";

type Answer = Response<Full<Bytes>>;

/// Which origins a browser may call from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// Every origin: `*`.
    Any,
    /// These, such as `https://app.example.com`.
    Only(Vec<String>),
}

/// One route: a method, a path with `{parameters}`, and the function that serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// Such as `/v1/accounts/{account}/charges`. A parameter stands for one whole segment.
    pub template: String,
    /// The function's name.
    pub function: String,
}

/// A route table that cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// Two routes take exactly the same requests.
    #[error("{method} {template} is the same route as {other}")]
    Twice {
        /// The method of both.
        method: Method,
        /// One path.
        template: String,
        /// The other path.
        other: String,
    },
    /// A route names a function that is not there.
    #[error("{method} {template} goes to {function}, which is not a function here")]
    NoSuchFunction {
        /// The route's method.
        method: Method,
        /// The route's path.
        template: String,
        /// The name.
        function: String,
    },
}

/// What a gateway is made of.
pub struct Gateway {
    /// The functions by name; all of them can be invoked with a raw event.
    functions: HashMap<String, Function>,
    routes: Vec<Route>,
    origins: AllowedOrigins,
    openapi: Bytes,
    clock: Arc<MovableClock>,
    schedule: Option<Schedule>,
    store: Option<Arc<DynamoStore>>,
}

impl Gateway {
    /// A gateway to `functions` by `routes`, for browsers anywhere, without a schedule.
    ///
    /// # Errors
    /// [`RouteError`] for a table that is ambiguous or names an unknown function.
    pub fn new(
        functions: Vec<Function>,
        routes: Vec<Route>,
        openapi: Bytes,
        clock: Arc<MovableClock>,
    ) -> Result<Self, RouteError> {
        let functions: HashMap<_, _> =
            functions.into_iter().map(|function| (function.name().to_owned(), function)).collect();
        for (at, route) in routes.iter().enumerate() {
            if !functions.contains_key(&route.function) {
                return Err(RouteError::NoSuchFunction {
                    method: route.method.clone(),
                    template: route.template.clone(),
                    function: route.function.clone(),
                });
            }
            let same =
                |other: &&Route| other.method == route.method && shape(other).eq(shape(route));
            if let Some(other) = routes[..at].iter().find(same) {
                return Err(RouteError::Twice {
                    method: route.method.clone(),
                    template: route.template.clone(),
                    other: other.template.clone(),
                });
            }
        }
        Ok(Self {
            functions,
            routes,
            origins: AllowedOrigins::Any,
            openapi,
            clock,
            schedule: None,
            store: None,
        })
    }

    /// Restricts the origins that a browser may call from.
    #[must_use]
    pub fn with_origins(mut self, origins: AllowedOrigins) -> Self {
        self.origins = origins;
        self
    }

    /// The same gateway, with a store whose cost it tells.
    #[must_use]
    pub fn with_store(mut self, store: Arc<DynamoStore>) -> Self {
        self.store = Some(store);
        self
    }

    /// Fires this schedule after every move of the clock.
    #[must_use]
    pub fn with_schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = Some(schedule);
        self
    }

    /// Answers one request that came from `peer`. The body is read up to [`BODY_LIMIT`].
    pub async fn answer<B>(&self, request: Request<B>, peer: SocketAddr) -> Answer
    where
        B: Body<Data = Bytes> + Send,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        let origin = parts.headers.get(header::ORIGIN).cloned();
        let mut answer = match &origin {
            Some(_) if parts.method == Method::OPTIONS => preflight(),
            _ => match read(body).await {
                Ok(body) => self.dispatch(&parts, body, peer).await,
                Err(refusal) => refusal,
            },
        };
        if let Some(origin) = &origin {
            self.add_cors(answer.headers_mut(), origin);
        }
        tracing::debug!(
            method = %parts.method,
            path = parts.uri.path(),
            status = answer.status().as_u16(),
            milliseconds = started.elapsed().as_millis(),
            "answered"
        );
        answer
    }

    async fn dispatch(&self, parts: &Parts, body: Bytes, peer: SocketAddr) -> Answer {
        // API Gateway decodes the path before it looks for a route: %2F separates segments.
        let Ok(path) = percent_decode_str(parts.uri.path()).decode_utf8() else {
            return message(StatusCode::BAD_REQUEST, "Bad Request");
        };
        if let Some(answer) = self.local(parts, &path, &body).await {
            return answer;
        }
        let Some((route, parameters)) = find(&self.routes, &parts.method, &path) else {
            return message(StatusCode::NOT_FOUND, "Not Found");
        };
        // lambda_http builds the request's URI from it, so it must be one.
        let host = match parts.headers.get(header::HOST) {
            None => Some("localhost"),
            Some(host) => host.to_str().ok().filter(|host| host.parse::<Authority>().is_ok()),
        };
        let Some(host) = host else {
            return message(StatusCode::BAD_REQUEST, "Bad Request");
        };
        let function = &self.functions[&route.function];
        let answered = async {
            let event = event(parts, host, &path, &body, peer, route, &parameters);
            match function.invoke(Bytes::from(event.to_string())).await {
                Err(error) => {
                    tracing::error!(function = function.name(), %error, "the function failed");
                    message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
                }
                Ok(answer) => response(&answer).unwrap_or_else(|reason| {
                    tracing::error!(
                        function = function.name(),
                        reason,
                        "not an answer to an HTTP request"
                    );
                    message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
                }),
            }
        };
        in_time(TIMEOUT, answered).await.unwrap_or_else(|| {
            tracing::error!(function = function.name(), "no answer in time");
            message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable")
        })
    }

    /// What only a local stack answers; `None` for everything else.
    async fn local(&self, parts: &Parts, path: &str, body: &Bytes) -> Option<Answer> {
        if path == "/openapi.json" && parts.method == Method::GET {
            return Some(json_answer(StatusCode::OK, self.openapi.clone()));
        }
        let invoked = path
            .strip_prefix("/2015-03-31/functions/")
            .and_then(|rest| rest.strip_suffix("/invocations"));
        if invoked.is_none() && path != CLOCK && path != COUNTS {
            return None;
        }
        // A web page in the developer's browser can reach this port, but must not play operator.
        if parts.headers.contains_key(header::ORIGIN) {
            return Some(message(StatusCode::FORBIDDEN, "Not for browsers"));
        }
        Some(match (&parts.method, invoked) {
            (&Method::GET, None) if path == COUNTS => {
                let counts = self.store.as_ref().map(|store| store.counters().read());
                json_answer(StatusCode::OK, json!(counts).to_string())
            }
            (&Method::POST, Some(name)) => self.invoke(name, body.clone()).await,
            (&Method::POST, None) if path == CLOCK => self.move_clock(body).await,
            (&Method::GET, None) => {
                json_answer(StatusCode::OK, json!({"now": rfc3339(self.clock.now())}).to_string())
            }
            _ => message(StatusCode::NOT_FOUND, "Not Found"),
        })
    }

    /// `POST /2015-03-31/functions/{name}/invocations`, the Lambda API's Invoke.
    async fn invoke(&self, name: &str, event: Bytes) -> Answer {
        let Some(function) = self.functions.get(name) else {
            let body = json!({"Type": "User", "Message": format!("Function not found: {name}")});
            return json_answer(StatusCode::NOT_FOUND, body.to_string());
        };
        let event = if event.is_empty() { Bytes::from_static(b"{}") } else { event };
        match function.invoke(event).await {
            Ok(answer) => json_answer(StatusCode::OK, answer),
            Err(error) => {
                tracing::error!(function = name, %error, "the function failed");
                let mut answer = json_answer(StatusCode::OK, json!(error).to_string());
                let header = HeaderName::from_static("x-amz-function-error");
                answer.headers_mut().insert(header, HeaderValue::from_static("Unhandled"));
                answer
            }
        }
    }

    /// `POST /_local/clock {"advance_seconds": n}`: the new time, and what the schedule then did.
    async fn move_clock(&self, body: &[u8]) -> Answer {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Move {
            advance_seconds: i64,
        }
        let moved = match serde_json::from_slice::<Move>(body) {
            Ok(moved) => self.clock.advance(moved.advance_seconds),
            Err(error) => return message(StatusCode::BAD_REQUEST, &error.to_string()),
        };
        let now = match moved {
            Ok(now) => now,
            Err(error @ ClockError::OutOfRange) => {
                return message(StatusCode::BAD_REQUEST, &error.to_string());
            }
            Err(error @ ClockError::File { .. }) => {
                return message(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string());
            }
        };
        let schedule = match &self.schedule {
            None => Value::Null,
            Some(schedule) => match schedule.fire().await {
                Ok(answer) => serde_json::from_slice(&answer).unwrap_or(Value::Null),
                Err(error) => json!(error),
            },
        };
        let body = json!({"now": rfc3339(now), "schedule": schedule});
        json_answer(StatusCode::OK, body.to_string())
    }

    fn add_cors(&self, headers: &mut HeaderMap, origin: &HeaderValue) {
        let allowed = match &self.origins {
            AllowedOrigins::Any => HeaderValue::from_static("*"),
            AllowedOrigins::Only(origins)
                if origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()) =>
            {
                headers.append(header::VARY, HeaderValue::from_static("origin"));
                origin.clone()
            }
            AllowedOrigins::Only(_) => {
                for name in [
                    header::ACCESS_CONTROL_ALLOW_HEADERS,
                    header::ACCESS_CONTROL_ALLOW_METHODS,
                    header::ACCESS_CONTROL_MAX_AGE,
                ] {
                    headers.remove(name);
                }
                return;
            }
        };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static(EXPOSED_HEADERS),
        );
    }
}

/// The gateway on one connection.
#[derive(Clone)]
pub(crate) struct Connected {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) peer: SocketAddr,
}

impl hyper::service::Service<Request<Incoming>> for Connected {
    type Response = Answer;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let Self { gateway, peer } = self.clone();
        Box::pin(async move { Ok(gateway.answer(request, peer).await) })
    }
}

/// A template with its parameters' names left out: what decides which requests it takes.
fn shape(route: &Route) -> impl Iterator<Item = Option<&str>> {
    route.template.split('/').map(|segment| parameter(segment).is_none().then_some(segment))
}

/// The name in a `{name}` segment.
fn parameter(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

/// What comes of it within a time. Later answers are none, although functions that compute may have
/// kept the timer from firing.
async fn in_time<T>(limit: Duration, answered: impl Future<Output = T>) -> Option<T> {
    let started = Instant::now();
    let answer = tokio::time::timeout(limit, answered).await.ok()?;
    (started.elapsed() <= limit).then_some(answer)
}

/// The route for a decoded path, with its parameters. A literal segment goes before a parameter, the
/// leftmost difference decides; an empty segment fills no parameter.
fn find<'r>(
    routes: &'r [Route],
    method: &Method,
    path: &str,
) -> Option<(&'r Route, BTreeMap<String, String>)> {
    let takes = |route: &&Route| {
        let mut segments = path.split('/');
        let fits = route.template.split('/').all(|expected| {
            segments.next().is_some_and(|segment| match parameter(expected) {
                Some(_) => !segment.is_empty(),
                None => segment == expected,
            })
        });
        fits && segments.next().is_none()
    };
    let route =
        routes.iter().filter(|route| route.method == *method).filter(takes).min_by_key(
            |route| shape(route).map(|literal| literal.is_none()).collect::<Vec<_>>(),
        )?;
    let parameters = route
        .template
        .split('/')
        .zip(path.split('/'))
        .filter_map(|(expected, segment)| {
            Some((parameter(expected)?.to_owned(), segment.to_owned()))
        })
        .collect();
    Some((route, parameters))
}

/// The whole body, or the refusal.
async fn read<B>(body: B) -> Result<Bytes, Answer>
where
    B: Body<Data = Bytes> + Send,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let mut answer = message(StatusCode::PAYLOAD_TOO_LARGE, "Request Too Long");
            // The rest of the body is not read.
            let close = HeaderValue::from_static("close");
            answer.headers_mut().insert(header::CONNECTION, close);
            Err(answer)
        }
        Err(_) => Err(message(StatusCode::BAD_REQUEST, "Bad Request")),
    }
}

/// The event of payload format 2.0.
fn event(
    parts: &Parts,
    host: &str,
    path: &str,
    body: &[u8],
    peer: SocketAddr,
    route: &Route,
    parameters: &BTreeMap<String, String>,
) -> Value {
    let now = OffsetDateTime::now_utc();
    let request_id = Uuid::new_v4().to_string();
    let route_key = format!("{} {}", route.method, route.template);
    let query = parts.uri.query().unwrap_or_default();
    let mut headers = joined(&parts.headers);
    let cookies: Vec<_> = headers
        .remove("cookie")
        .map(|cookies| cookies.split(';').map(|cookie| cookie.trim().to_owned()).collect())
        .unwrap_or_default();
    let (domain, port) = host.rsplit_once(':').unwrap_or((host, "80"));
    let user_agent = headers.get("user-agent").cloned().unwrap_or_default();
    for (name, value) in [
        ("x-forwarded-for", peer.ip().to_string()),
        ("host", host.to_owned()),
        ("x-forwarded-port", port.to_owned()),
        ("x-forwarded-proto", "http".to_owned()),
        ("x-amzn-trace-id", trace_id(now)),
    ] {
        headers.insert(name.to_owned(), value);
    }
    let mut event = json!({
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "local",
            "domainName": domain,
            "domainPrefix": domain.split('.').next(),
            "http": {
                "method": parts.method.as_str(),
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": peer.ip().to_string(),
                "userAgent": user_agent,
            },
            "requestId": request_id,
            "routeKey": route_key,
            "stage": "$default",
            "time": access_log_time(now),
            "timeEpoch": now.unix_timestamp() * 1_000 + i64::from(now.millisecond()),
        },
        "isBase64Encoded": false,
    });
    // Like API Gateway, leave out what a request does not have.
    if !cookies.is_empty() {
        event["cookies"] = json!(cookies);
    }
    if !query.is_empty() {
        event["queryStringParameters"] = json!(query_parameters(query));
    }
    if !parameters.is_empty() {
        event["pathParameters"] = json!(parameters);
    }
    if !body.is_empty() {
        let text = std::str::from_utf8(body).ok().filter(|_| is_text(&parts.headers));
        event["isBase64Encoded"] = json!(text.is_none());
        event["body"] = text.map_or_else(|| STANDARD.encode(body), str::to_owned).into();
    }
    event
}

/// Header names are lower case already; values of one name are joined by commas.
fn joined(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut joined = BTreeMap::<String, String>::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        joined
            .entry(name.as_str().to_owned())
            .and_modify(|values| {
                // Two Cookie headers are one list of cookies.
                values.push_str(if name == header::COOKIE { "; " } else { "," });
                values.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    joined
}

/// Decoded query parameters; values of one name are joined by commas.
fn query_parameters(query: &str) -> BTreeMap<String, String> {
    let mut parameters = BTreeMap::<String, String>::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        parameters
            .entry(name.into_owned())
            .and_modify(|values| {
                values.push(',');
                values.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    parameters
}

/// Content that API Gateway passes on as it is; all other bodies are Base64 in the event.
fn is_text(headers: &HeaderMap) -> bool {
    let of = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let content_type = of(header::CONTENT_TYPE).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    of(header::CONTENT_ENCODING).is_none()
        && (essence.starts_with("text/")
            || matches!(
                essence.as_str(),
                "application/json" | "application/javascript" | "application/xml"
            ))
}

/// A function's answer as a response.
fn response(answer: &[u8]) -> Result<Answer, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct FunctionAnswer {
        status_code: u16,
        #[serde(default)]
        headers: HashMap<String, String>,
        #[serde(default)]
        cookies: Vec<String>,
        #[serde(default)]
        body: Option<String>,
        #[serde(default)]
        is_base64_encoded: bool,
    }
    let answer: FunctionAnswer =
        serde_json::from_slice(answer).map_err(|error| error.to_string())?;
    let body = answer.body.unwrap_or_default();
    let body = if answer.is_base64_encoded {
        STANDARD.decode(body).map_err(|error| error.to_string())?
    } else {
        body.into_bytes()
    };
    let mut response = Response::builder().status(answer.status_code);
    for (name, value) in answer.headers {
        // The length and the connection are between this gateway and its client.
        let hop = ["connection", "content-length", "transfer-encoding"];
        // A function's own CORS headers are ignored where the gateway has a CORS configuration.
        if !hop.contains(&name.as_str()) && !name.starts_with("access-control-") {
            response = response.header(name, value);
        }
    }
    for cookie in answer.cookies {
        response = response.header(header::SET_COOKIE, cookie);
    }
    response.body(Full::new(Bytes::from(body))).map_err(|error| error.to_string())
}

/// The answer to a preflight request; [`Gateway::add_cors`] decides whether the origin may have it.
fn preflight() -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS),
        (header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS),
        (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE),
    ] {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// The shape of API Gateway's own answers.
fn message(status: StatusCode, text: &str) -> Answer {
    json_answer(status, json!({"message": text}).to_string())
}

fn json_answer(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(header::CONTENT_TYPE, json);
    answer
}

/// The clock's time as the API writes times.
fn rfc3339(now: OffsetDateTime) -> String {
    let now = now.replace_nanosecond(0).unwrap_or(now);
    // Fails only for years that the clock cannot reach.
    now.format(&Rfc3339).unwrap_or_default()
}

/// Such as `12/Mar/2026:19:03:58 +0000`.
fn access_log_time(now: OffsetDateTime) -> String {
    let month = now.month().to_string();
    format!(
        "{:02}/{}/{}:{:02}:{:02}:{:02} +0000",
        now.day(),
        &month[..3],
        now.year(),
        now.hour(),
        now.minute(),
        now.second()
    )
}

/// Such as `Root=1-5e6722a7-cc56xmpl46db7ae02d4da47e`.
fn trace_id(now: OffsetDateTime) -> String {
    let random = Uuid::new_v4().simple().to_string();
    format!("Root=1-{:08x}-{}", now.unix_timestamp(), &random[..24])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn late_answers_are_none() {
        let limit = Duration::from_millis(100);
        assert_eq!(in_time(limit, async { 1 }).await, Some(1));
        assert_eq!(in_time(limit, std::future::pending::<u8>()).await, None);
        // It never yields: the timer has no chance.
        let computing = async { std::thread::sleep(2 * limit) };
        assert_eq!(in_time(limit, computing).await, None);
    }
}

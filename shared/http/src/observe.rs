//! What operators see: one log line a request, metrics, and a request id on every answer.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{self, Write};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use lambda_http::Context;
use lambda_http::request::RequestContext;
use serde_json::{Map, Value, json};
use tracing::{Instrument, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use uc_domain::{AccountId, Credits, Timestamp};

use crate::auth::Clock;
use crate::ids::random_id;
use crate::problem::{Code, Problem};

/// The namespace of the metrics in `CloudWatch`.
const NAMESPACE: &str = "UnifiedCredits";
/// The header with the request id.
static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest request id that is taken from a caller.
const REQUEST_ID_LIMIT: usize = 128;

/// Whether metrics go to standard output: only where something reads them there.
static EMITTING: AtomicBool = AtomicBool::new(false);
/// The stack's name: several may share an AWS account, and so a namespace.
static STACK: OnceLock<String> = OnceLock::new();

/// Starts logging as JSON and metrics in embedded metric format, both to standard output, where
/// Lambda takes them. For a function's `main`; the level is `AWS_LAMBDA_LOG_LEVEL`, else `info`.
///
/// Lines carry no time of their own: the log has one for each.
pub fn init_tracing() {
    let level = std::env::var("AWS_LAMBDA_LOG_LEVEL").ok().and_then(|level| level.parse().ok());
    let subscriber = subscriber(level.unwrap_or(LevelFilter::INFO), io::stdout);
    // Fails where something else logs already: then that is what was wanted.
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "panic")));
    }
    let _ = STACK.set(std::env::var("UC_STACK").unwrap_or_default());
    EMITTING.store(true, Ordering::Relaxed);
}

fn subscriber<W>(level: LevelFilter, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_span_list(false)
        .with_target(false)
        .without_time()
        .with_max_level(level)
        .with_writer(writer)
        .finish()
}

/// Something that is counted or measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// Writes that were tried again.
    Retries,
    /// Writes that found that somebody was faster.
    Conflicts,
    /// Debt that arose, in millionths of a credit.
    DebtMade,
    /// How long ago the register of ratio tables was read, in milliseconds.
    RatiosAge,
    /// How late the schedule granted, in milliseconds.
    ScheduleLag,
    /// Webhooks that were refused or failed.
    WebhookFailures,
    /// Writes that were refused because this machine's clock is wrong.
    ClockSkewed,
    /// Charges that no ratio priced, and whose usage was kept.
    Unrated,
    /// Journals that contradict what was signed of them.
    Contradictions,
    /// Runs of the schedule that could not take checkpoints.
    CheckpointFailures,
}

impl Metric {
    const fn name_and_unit(self) -> (&'static str, &'static str) {
        match self {
            Self::Retries => ("Retries", "Count"),
            Self::Conflicts => ("Conflicts", "Count"),
            Self::DebtMade => ("DebtMade", "None"),
            Self::RatiosAge => ("RatiosAge", "Milliseconds"),
            Self::ScheduleLag => ("ScheduleLag", "Milliseconds"),
            Self::WebhookFailures => ("WebhookFailures", "Count"),
            Self::ClockSkewed => ("ClockSkewed", "Count"),
            Self::Unrated => ("Unrated", "Count"),
            Self::Contradictions => ("Contradictions", "Count"),
            Self::CheckpointFailures => ("CheckpointFailures", "Count"),
        }
    }
}

/// Metrics of one request or one event. What was not counted is not written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metrics {
    values: BTreeMap<Metric, u64>,
    refusal: Option<Code>,
}

impl Metrics {
    /// Adds to what was counted.
    pub fn add(&mut self, metric: Metric, value: u64) {
        let sum = self.values.entry(metric).or_default();
        *sum = sum.saturating_add(value);
    }

    /// Counts a refusal, by its code.
    pub fn refuse(&mut self, code: Code) {
        self.refusal = Some(code);
    }

    /// Writes one line in embedded metric format for the function, if there is anything to write.
    pub fn emit(&self, function: &str, now: Timestamp) {
        if !EMITTING.load(Ordering::Relaxed) {
            return;
        }
        if let Some(line) = self.line(function, now) {
            // One write, so that lines don't mix. A metric is not worth failing a request for.
            let _ = io::stdout().write_all(format!("{line}\n").as_bytes());
        }
    }

    fn line(&self, function: &str, now: Timestamp) -> Option<Value> {
        let mut line = Map::new();
        let mut directives = Vec::new();
        if !self.values.is_empty() {
            let named: Vec<_> = self
                .values
                .keys()
                .map(|metric| metric.name_and_unit())
                .map(|(name, unit)| json!({"Name": name, "Unit": unit}))
                .collect();
            directives.push(json!({
                "Namespace": NAMESPACE, "Dimensions": [["Stack", "function"], ["Stack"]],
                "Metrics": named,
            }));
        }
        if let Some(code) = self.refusal {
            directives.push(json!({
                "Namespace": NAMESPACE, "Dimensions": [["Stack", "function", "code"]],
                "Metrics": [{"Name": "Refusals", "Unit": "Count"}],
            }));
            line.insert("code".to_owned(), json!(code));
            line.insert("Refusals".to_owned(), json!(1));
        }
        if directives.is_empty() {
            return None;
        }
        for (metric, value) in &self.values {
            line.insert(metric.name_and_unit().0.to_owned(), json!(value));
        }
        line.insert("function".to_owned(), json!(function));
        line.insert("Stack".to_owned(), json!(STACK.get().map_or("", String::as_str)));
        let about = json!({"Timestamp": now.millis(), "CloudWatchMetrics": directives});
        line.insert("_aws".to_owned(), about);
        Some(Value::Object(line))
    }
}

#[derive(Debug, Default)]
struct Facts {
    account: Option<String>,
    ratio_version: Option<u64>,
    retries: u32,
    metrics: Metrics,
}

/// What a handler adds to its request's log line and metrics. Clones write to the same request.
#[derive(Debug, Clone, Default)]
pub struct RequestLog(Arc<Mutex<Facts>>);

impl RequestLog {
    /// The account that this is about. [`AccountAccess`](crate::AccountAccess) says it already.
    pub fn account(&self, account: &AccountId) {
        self.with(|facts| facts.account = Some(account.to_string()));
    }

    /// The version of the ratio table that priced this.
    pub fn ratio_version(&self, version: u64) {
        self.with(|facts| facts.ratio_version = Some(version));
    }

    /// How often a write was tried again, and how often because somebody was faster.
    pub fn retries(&self, retries: u32, conflicts: u32) {
        self.with(|facts| {
            facts.retries = facts.retries.saturating_add(retries);
            for (metric, count) in [(Metric::Retries, retries), (Metric::Conflicts, conflicts)] {
                if count > 0 {
                    facts.metrics.add(metric, count.into());
                }
            }
        });
    }

    /// How much debt this made; nothing and less are not counted.
    pub fn debt_made(&self, debt: Credits) {
        if debt.is_positive() {
            let micros = u64::try_from(debt.micros()).unwrap_or(u64::MAX);
            self.count(Metric::DebtMade, micros);
        }
    }

    /// Adds to a metric.
    pub fn count(&self, metric: Metric, value: u64) {
        self.with(|facts| facts.metrics.add(metric, value));
    }

    /// What was counted so far: for what has no request, such as a queue's event.
    pub fn take_metrics(&self) -> Metrics {
        self.with(|facts| std::mem::take(&mut facts.metrics))
    }

    fn with<T>(&self, change: impl FnOnce(&mut Facts) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Outside of [`wrap`](crate::wrap) it writes to nowhere.
impl<S: Sync> FromRequestParts<S> for RequestLog {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}

/// What [`observe`] needs.
#[derive(Clone)]
pub(crate) struct Observer {
    pub(crate) function: &'static str,
    pub(crate) clock: Clock,
}

/// The outermost layer: names the request, logs and counts; and turns a panic into a 500 where panics
/// unwind, which they don't in what is deployed.
pub(crate) async fn observe(
    State(observer): State<Observer>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let id = request_id(&request);
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let invocation =
        request.extensions().get::<Context>().map(|context| context.request_id.clone());
    let log = RequestLog::default();
    request.extensions_mut().insert(log.clone());

    let span = tracing::info_span!("request", request_id = id);
    let answering = AssertUnwindSafe(next.run(request)).catch_unwind();
    // What a panic left half done is this request's own: the state behind it is in the store, and
    // what is kept in memory is behind locks that outlive a poisoning.
    let mut response = answering.instrument(span).await.unwrap_or_else(|_| {
        tracing::error!(request_id = id, "the handler panicked");
        Problem::bare_internal().into_response()
    });

    let code = response.extensions().get::<Code>().copied();
    let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    let mut metrics = log.with(|facts| {
        tracing::info!(
            request_id = id,
            invocation,
            method = method.as_str(),
            route = route.as_ref().map(MatchedPath::as_str),
            status = response.status().as_u16(),
            code = code.map(Code::as_str),
            account = facts.account,
            retries = facts.retries,
            ratio_version = facts.ratio_version,
            duration_micros = micros,
            "request"
        );
        std::mem::take(&mut facts.metrics)
    });
    if let Some(metric) = response.extensions().get::<Metric>() {
        metrics.add(*metric, 1);
    }
    let metrics = Metrics { refusal: code, ..metrics };
    metrics.emit(observer.function, (observer.clock)());

    // Checked or made of such characters: this can't fail.
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID.clone(), id);
    }
    response
}

/// What the gateway calls the request; what the caller calls it where there is no gateway; or a new
/// id.
fn request_id(request: &Request) -> String {
    let gateway = match request.extensions().get::<RequestContext>() {
        Some(RequestContext::ApiGatewayV2(context)) => context.request_id.as_deref(),
        _ => None,
    };
    gateway
        .filter(|id| is_request_id(id))
        .or_else(|| sent_id(request.headers()))
        .map_or_else(|| random_id("r_"), str::to_owned)
}

fn sent_id(headers: &HeaderMap) -> Option<&str> {
    headers.get(&REQUEST_ID)?.to_str().ok().filter(|id| is_request_id(id))
}

/// Short, and of characters that break no log and no header.
fn is_request_id(id: &str) -> bool {
    (1..=REQUEST_ID_LIMIT).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_=+/.:".contains(&b))
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    /// Collects what is logged.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        fn parsed(&self) -> Vec<Value> {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        }
    }

    async fn priced(log: RequestLog) -> &'static str {
        log.account(&"acme".parse().unwrap());
        log.ratio_version(7);
        log.retries(2, 1);
        log.debt_made("0.5".parse().unwrap());
        tracing::warn!("inside");
        "done"
    }

    async fn boom() {
        panic!("boom")
    }

    #[tokio::test]
    async fn log_lines_ids_and_panics() {
        let lines = Lines::default();
        let writer = lines.clone();
        let _logging =
            tracing::subscriber::set_default(subscriber(LevelFilter::INFO, move || writer.clone()));
        let observer = Observer { function: "charge", clock: Arc::new(|| Timestamp::MIN) };
        let router: Router = Router::new()
            .route("/v1/a/{account}", get(priced))
            .route("/v1/panic", get(boom))
            .layer(axum::middleware::from_fn_with_state(observer, observe));
        let send = |path: &'static str, id: &'static str| {
            let request = Request::get(path).header("x-request-id", id).body(Body::empty());
            router.clone().oneshot(request.unwrap())
        };

        let answer = send("/v1/a/acme", "abc-1").await.unwrap();
        assert_eq!(answer.headers()["x-request-id"], "abc-1");
        let answer = send("/v1/panic", "has space").await.unwrap();
        assert_eq!(answer.status(), 500);
        let made_up = answer.headers()["x-request-id"].to_str().unwrap();
        assert!(made_up.starts_with("r_"), "{made_up}");

        let mut logged = lines.parsed();
        for line in &mut logged {
            assert!(line["duration_micros"].is_u64() || line["message"] != "request");
            line.as_object_mut().unwrap().remove("duration_micros");
        }
        assert_eq!(
            logged[..2],
            [
                json!({"level": "WARN", "message": "inside", "span": {"name": "request", "request_id": "abc-1"}}),
                json!({
                    "level": "INFO", "message": "request", "request_id": "abc-1", "method": "GET",
                    "route": "/v1/a/{account}", "status": 200, "account": "acme", "retries": 2,
                    "ratio_version": 7,
                }),
            ]
        );
        let last = logged.last().unwrap();
        assert_eq!((&last["status"], &last["code"]), (&json!(500), &json!("internal")));
    }

    #[test]
    fn metrics_lines() {
        let log = RequestLog::default();
        log.retries(0, 0);
        log.debt_made(Credits::ZERO);
        assert_eq!(log.with(|facts| facts.metrics.line("charge", Timestamp::MIN)), None);
        log.retries(2, 1);
        log.debt_made("0.5".parse().unwrap());
        let metrics = Metrics {
            refusal: Some(Code::InsufficientCredits),
            ..log.with(|facts| facts.metrics.clone())
        };
        let expected = json!({
            "_aws": {"Timestamp": 946_684_800_000_i64, "CloudWatchMetrics": [
                {"Namespace": "UnifiedCredits", "Dimensions": [["Stack", "function"], ["Stack"]], "Metrics": [
                    {"Name": "Retries", "Unit": "Count"}, {"Name": "Conflicts", "Unit": "Count"},
                    {"Name": "DebtMade", "Unit": "None"},
                ]},
                {"Namespace": "UnifiedCredits", "Dimensions": [["Stack", "function", "code"]], "Metrics": [
                    {"Name": "Refusals", "Unit": "Count"},
                ]},
            ]},
            "function": "charge", "Stack": "", "code": "insufficient_credits", "Refusals": 1, "Retries": 2,
            "Conflicts": 1, "DebtMade": 500_000,
        });
        assert_eq!(metrics.line("charge", Timestamp::MIN), Some(expected));
    }
}

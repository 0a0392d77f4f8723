//! A deployment's ratio tables, over its HTTP API.

use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use ureq::http::{HeaderMap, Response, StatusCode, header};
use ureq::{Agent, Body, Timeout};

/// How long one answer may take: publishing answers within 30 seconds.
const ANSWER: Duration = Duration::from_mins(1);
/// How long a publication may take altogether. The largest table that fits takes half a minute at
/// SSM's quota.
const PUBLICATION: Duration = Duration::from_mins(10);
/// Between two attempts where the deployment does not say.
const PAUSE: Duration = Duration::from_secs(2);
/// Largest answer that is read.
const MAX_ANSWER: u64 = 64 << 20;
/// From how many bytes on a body is compressed.
const COMPRESSED: usize = 256 << 10;

/// Why a deployment didn't do what it should.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// No answer.
    #[error("{url} gives no answer: {reason}")]
    Unreachable {
        /// What was asked.
        url: String,
        /// What happened.
        reason: String,
    },
    /// A refusal, in the deployment's words.
    #[error("{0}")]
    Refused(String),
    /// A refusal because another version is in force than the one that was to be replaced.
    #[error("{0}")]
    Superseded(String),
    /// An answer that is none of this API's.
    #[error("{url} answers what no deployment answers: {reason}")]
    Strange {
        /// What was asked.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// A deployment and the right to administer its tables.
pub struct Deployment {
    agent: Agent,
    url: String,
    key: String,
}

/// A table and its version.
pub struct Versioned {
    /// The version.
    pub version: u64,
    /// The table, as JSON.
    pub table: Value,
}

impl Deployment {
    /// The deployment at an address such as `https://credits.example.com`, with an API key that has
    /// the scope `ratios:admin`.
    pub fn new(url: &str, key: &str) -> Self {
        let config = Agent::config_builder()
            .timeout_global(Some(ANSWER))
            .http_status_as_error(false)
            .build();
        Self {
            agent: config.into(),
            url: url.trim_end_matches('/').to_owned(),
            key: format!("Bearer {key}"),
        }
    }

    /// A version's table, or the one in force.
    ///
    /// # Errors
    /// See [`RemoteError`].
    pub fn pull(&self, version: Option<u64>) -> Result<Versioned, RemoteError> {
        let url = match version {
            Some(version) => format!("{}/v1/ratios/versions/{version}", self.url),
            None => format!("{}/v1/ratios", self.url),
        };
        let answer = self.get(&url)?;
        if answer.status() != StatusCode::OK {
            return Err(refused(answer, &url));
        }
        let version = etag(answer.headers()).ok_or_else(|| RemoteError::Strange {
            url: url.clone(),
            reason: "no version as ETag".to_owned(),
        })?;
        Ok(Versioned { version, table: json(answer, &url)? })
    }

    /// The version in force; 0 where nothing was published yet.
    ///
    /// # Errors
    /// See [`RemoteError`].
    pub fn current(&self) -> Result<u64, RemoteError> {
        let url = format!("{}/v1/ratios/versions?limit=1", self.url);
        let answer = self.get(&url)?;
        if answer.status() != StatusCode::OK {
            return Err(refused(answer, &url));
        }
        let newest = json(answer, &url)?;
        Ok(newest.pointer("/items/0/version").and_then(Value::as_u64).unwrap_or(0))
    }

    /// Publishes a table over a version, and tells which one it became. Goes on, with the same
    /// request, where the deployment says that it isn't done or gives no answer: a publication
    /// resumes where it stopped. Where there is no connection from the beginning, it ends at once.
    /// `progress` is told how far it is.
    ///
    /// # Errors
    /// See [`RemoteError`].
    pub fn push(
        &self,
        table: &Value,
        over: u64,
        lock: bool,
        mut progress: impl FnMut(&str),
    ) -> Result<u64, RemoteError> {
        let url = format!("{}/v1/ratios{}", self.url, if lock { "" } else { "?lock=false" });
        let body = table.to_string().into_bytes();
        let (body, encoding) =
            if body.len() < COMPRESSED { (body, None) } else { (compressed(&body), Some("gzip")) };
        let give_up = Instant::now() + PUBLICATION;
        let mut connected = false;
        loop {
            let mut request = self
                .agent
                .put(&url)
                .header(header::AUTHORIZATION, &self.key)
                .header(header::CONTENT_TYPE, "application/json")
                .header(header::IF_MATCH, format!("\"{over}\""));
            if let Some(encoding) = encoding {
                request = request.header(header::CONTENT_ENCODING, encoding);
            }
            let late = Instant::now() >= give_up;
            let sent = request.send(&body[..]);
            connected |= sent.as_ref().map_or_else(was_connected, |_| true);
            let pause = match sent {
                Ok(answer) if answer.status() == StatusCode::OK => {
                    let published = json(answer, &url)?;
                    return published["version"].as_u64().ok_or_else(|| RemoteError::Strange {
                        url,
                        reason: "no version".to_owned(),
                    });
                }
                Ok(answer) if answer.status() == StatusCode::ACCEPTED && !late => {
                    let pause = retry_after(answer.headers()).unwrap_or(PAUSE);
                    let publication = json(answer, &url)?;
                    let count = |name: &str| publication[name].as_u64().unwrap_or(0);
                    progress(&format!("{} of {} parameters", count("done"), count("total")));
                    pause
                }
                Ok(answer) if is_passing(answer.status()) && !late => {
                    progress("the deployment is not available, waiting");
                    retry_after(answer.headers()).unwrap_or(PAUSE)
                }
                Ok(answer) => return Err(refused(answer, &url)),
                Err(error) if !late && connected => {
                    progress(&format!("no answer ({error}), again"));
                    PAUSE
                }
                Err(error) => return Err(unreachable(&url, &error)),
            };
            thread::sleep(pause);
        }
    }

    fn get(&self, url: &str) -> Result<Response<Body>, RemoteError> {
        let request = self.agent.get(url).header(header::AUTHORIZATION, &self.key);
        request.call().map_err(|error| unreachable(url, &error))
    }
}

/// Whether somebody was there before it failed. Everything else is a wrong address, a name that is
/// not known or no deployment, most likely.
fn was_connected(error: &ureq::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};

    match error {
        ureq::Error::Io(error) => {
            matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
        }
        ureq::Error::Timeout(timeout) => !matches!(timeout, Timeout::Resolve | Timeout::Connect),
        ureq::Error::Protocol(_) => true,
        _ => false,
    }
}

fn unreachable(url: &str, error: &ureq::Error) -> RemoteError {
    RemoteError::Unreachable { url: url.to_owned(), reason: error.to_string() }
}

fn compressed(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder
        .write_all(body)
        .and_then(|()| encoder.finish())
        .expect("writing to memory does not fail")
}

fn etag(headers: &HeaderMap) -> Option<u64> {
    let tag = headers.get(header::ETAG)?.to_str().ok()?;
    tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(ANSWER))
}

fn json(answer: Response<Body>, url: &str) -> Result<Value, RemoteError> {
    let strange = |reason: String| RemoteError::Strange { url: url.to_owned(), reason };
    let body = answer.into_body().into_with_config().limit(MAX_ANSWER).read_to_vec();
    let body = body.map_err(|error| unreachable(url, &error))?;
    serde_json::from_slice(&body).map_err(|error| strange(error.to_string()))
}

/// Whether the same request may succeed a little later: a gateway's answers, too.
fn is_passing(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// A problem (RFC 9457) in one text.
fn refused(answer: Response<Body>, url: &str) -> RemoteError {
    let status = answer.status();
    let problem = match json(answer, url) {
        Ok(problem) => problem,
        Err(error) => return error,
    };
    let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
    if text("code").is_empty() {
        // From something before the functions, or from what is none of ours.
        let said = text("message");
        let hint = "is the address that of a deployment, without /v1?";
        return RemoteError::Refused(format!("{status} from {url}: {said}\n  {hint}"));
    }
    let fields = problem["errors"].as_array().into_iter().flatten().map(|error| {
        let field = |name: &str| error[name].as_str().unwrap_or_default();
        format!("\n  {}: {}", field("pointer"), field("detail"))
    });
    let refusal = format!("{status} {}: {}", text("code"), text("detail"));
    let refusal = fields.fold(refusal, |shown, field| shown + &field);
    match status {
        StatusCode::PRECONDITION_FAILED => RemoteError::Superseded(refusal),
        _ => RemoteError::Refused(refusal),
    }
}

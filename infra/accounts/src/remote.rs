//! A deployment's accounts, over its HTTP API.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use uc_domain::Timestamp;
use ureq::http::{Response, StatusCode, header};
use ureq::{Agent, Body};

use crate::rehearsal::Rehearsal;
use crate::rows::Row;

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(40);
/// How long a row is tried while the deployment gives no answer.
const PATIENCE: Duration = Duration::from_mins(2);
/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(1);
/// Largest answer that is read.
const MAX_ANSWER: u64 = 4 << 20;

/// Why a row was not brought in. Nothing of it changed, unless nobody knows: then the same file
/// again tells.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemoteError {
    /// No answer, for two minutes.
    #[error("no answer: {0}")]
    Unreachable(String),
    /// A refusal, in the deployment's words.
    #[error("{0}")]
    Refused(String),
    /// An account that would not owe what it is said to.
    #[error("its setting overuse is {0:?}, and a debt needs \"record\"")]
    NoDebt(String),
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Became {
    /// It is brought in now, or would be.
    New,
    /// It was there already.
    There,
}

/// Whether a row was brought in before.
enum Found {
    /// It was.
    There,
    /// It was not; and whether its account is there.
    Not { is_open: bool },
}

/// A deployment and the right to change balances.
pub struct Deployment {
    agent: Agent,
    url: String,
    key: String,
}

/// A status, whether it was a replay, and the body.
struct Answer {
    status: StatusCode,
    replayed: bool,
    body: Value,
}

impl Deployment {
    /// The deployment at an address such as `https://credits.example.com`, with an API key that
    /// has the scopes `grant`, `charge` and `read`.
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

    /// The id of the API key, which is no secret.
    fn key_id(&self) -> Option<&str> {
        let (id, _) = self.key.strip_prefix("Bearer uc_")?.split_once('_')?;
        Some(id)
    }

    fn path(&self, row: &Row, rest: &str) -> String {
        let account = utf8_percent_encode(row.account.as_str(), NON_ALPHANUMERIC);
        format!("{}/v1/accounts/{account}{rest}", self.url)
    }

    /// Whether a row is there already; and whether its account would take it, after the rows that
    /// were rehearsed before.
    pub(crate) fn rehearse(
        &self,
        row: &Row,
        rehearsal: &mut Rehearsal,
    ) -> Result<Became, RemoteError> {
        let is_open = match self.look_up(row)? {
            Found::There => return Ok(Became::There),
            Found::Not { is_open } => is_open,
        };
        if row.expires_at.is_some_and(|expires_at| expires_at.millis() <= now_millis()) {
            return Err(RemoteError::Refused("it has expired".to_owned()));
        }
        if is_open {
            let account = self.send("GET", &self.path(row, ""), None, None)?;
            if account.status != StatusCode::OK {
                return Err(refused(&account));
            }
            let status = account.body["settings"]["status"].as_str().unwrap_or_default();
            if status == "closed" || (status == "suspended" && row.credits.is_negative()) {
                return Err(RemoteError::Refused(format!("the account is {status}")));
            }
            if row.credits.is_negative() {
                owes(&account.body)?;
            }
            if !rehearsal.knows(&row.account) && !rehearsal.begin(&row.account, Some(&account.body))
            {
                let what = "its grants can't be read: whether it would take this is not known";
                return Err(RemoteError::Refused(what.to_owned()));
            }
        } else if !rehearsal.knows(&row.account) {
            rehearsal.begin(&row.account, None);
        }
        let now = Timestamp::from_millis(now_millis()).unwrap_or(Timestamp::MAX);
        let would = rehearsal.apply(row, now);
        would
            .map(|()| Became::New)
            .map_err(|rejection| RemoteError::Refused(format!("it would be refused: {rejection}")))
    }

    /// Whether a row was brought in before.
    fn look_up(&self, row: &Row) -> Result<Found, RemoteError> {
        let path = self.path(row, &format!("/transactions?idempotency_key={}", row.key));
        let answer = self.send("GET", &path, None, None)?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(Found::Not { is_open: false }),
            _ => return Err(refused(&answer)),
        }
        let Some(there) = answer.body["items"].get(0) else {
            return Ok(Found::Not { is_open: true });
        };
        if is_row(there, row) { Ok(Found::There) } else { Err(changed()) }
    }

    /// Brings a row in.
    pub(crate) fn bring_in(&self, row: &Row) -> Result<Became, RemoteError> {
        let (rest, body) = if row.credits.is_negative() {
            if !self.can_owe(row)? {
                let opened = self.send("PUT", &self.path(row, ""), None, Some(&json!({})))?;
                if opened.status != StatusCode::OK {
                    return Err(refused(&opened));
                }
                self.can_owe(row)?;
            }
            let mut body = json!({"credits": -row.credits, "description": row.reason});
            // A charge has no actor of its own, as usage is somebody else's doing; this is by hand.
            if let Some(id) = self.key_id() {
                body["actor"] = json!(id);
            }
            ("/charges", body)
        } else {
            let mut body = json!({
                "credits": row.credits, "source": row.source.as_str(), "reason": row.reason,
            });
            if let Some(expires_at) = row.expires_at {
                body["expires_at"] = json!(expires_at);
            }
            ("/grants", body)
        };
        let answer = self.send("POST", &self.path(row, rest), Some(&row.key), Some(&body))?;
        match (answer.status, answer.replayed) {
            (StatusCode::CREATED, true) => Ok(Became::There),
            (StatusCode::CREATED, false) => Ok(Became::New),
            // With another API key it is another request, but the same debt.
            (StatusCode::UNPROCESSABLE_ENTITY, _)
                if row.credits.is_negative() && is_reused(&answer) =>
            {
                match self.look_up(row)? {
                    Found::There => Ok(Became::There),
                    Found::Not { .. } => Err(refused(&answer)),
                }
            }
            _ => Err(refused(&answer)),
        }
    }

    /// Whether the account is there; an error where it would not owe what it is charged.
    fn can_owe(&self, row: &Row) -> Result<bool, RemoteError> {
        let answer = self.send("GET", &self.path(row, ""), None, None)?;
        match answer.status {
            StatusCode::OK => owes(&answer.body).map(|()| true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(refused(&answer)),
        }
    }

    /// Sends a request until the deployment says more than that it is not available: every
    /// request here may be sent again.
    fn send(
        &self,
        method: &str,
        url: &str,
        key: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Answer, RemoteError> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let late = Instant::now() >= give_up;
            match self.send_once(method, url, key, body) {
                Ok(answer)
                    if !late
                        && matches!(
                            answer.status,
                            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
                        ) => {}
                Ok(answer) => return Ok(answer),
                Err(error) if late => return Err(RemoteError::Unreachable(error.to_string())),
                Err(_) => {}
            }
            thread::sleep(PAUSE);
        }
    }

    fn send_once(
        &self,
        method: &str,
        url: &str,
        key: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Answer, ureq::Error> {
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(url)
            .header(header::AUTHORIZATION, &self.key);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let answer: Response<Body> = match body {
            Some(body) => {
                let request = request.header(header::CONTENT_TYPE, "application/json");
                self.agent.run(request.body(body.to_string())?)?
            }
            None => self.agent.run(request.body(())?)?,
        };
        let status = answer.status();
        let replayed = answer.headers().contains_key("idempotent-replayed");
        let bytes = answer.into_body().into_with_config().limit(MAX_ANSWER).read_to_vec()?;
        let body = serde_json::from_slice(&bytes).unwrap_or_default();
        Ok(Answer { status, replayed, body })
    }
}

/// An error where an account, as it is described, would not owe what it is charged.
fn owes(described: &Value) -> Result<(), RemoteError> {
    match described["settings"]["overuse"].as_str() {
        Some("record") => Ok(()),
        other => Err(RemoteError::NoDebt(other.unwrap_or_default().to_owned())),
    }
}

/// Whether an operation is what a row asks for. Its reason may have been erased with the account's
/// personal data.
fn is_row(operation: &Value, row: &Row) -> bool {
    let is = |value: &Value, expected: &str| value.as_str() == Some(expected);
    let reason = &operation["description"];
    let grant = &operation["grant"];
    let expires_at = grant["expires_at"].as_str().map(str::parse::<Timestamp>);
    is(&operation["credits"], &row.credits.to_string())
        && (reason.is_null() || is(reason, &row.reason))
        && (row.credits.is_negative()
            || is(&grant["source"], row.source.as_str())
                && expires_at.transpose() == Ok(row.expires_at))
}

fn is_reused(answer: &Answer) -> bool {
    answer.body["code"].as_str() == Some("idempotency_key_reused")
}

fn changed() -> RemoteError {
    let what = "this row was brought in before with another amount, expiry, source or reason";
    RemoteError::Refused(what.to_owned())
}

fn now_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn refused(answer: &Answer) -> RemoteError {
    let text = |name: &str| answer.body[name].as_str().unwrap_or_default().to_owned();
    if is_reused(answer) {
        return changed();
    }
    let fields = answer.body["errors"].as_array().into_iter().flatten().map(|error| {
        let field = |name: &str| error[name].as_str().unwrap_or_default();
        format!("; {}: {}", field("pointer"), field("detail"))
    });
    let refusal = format!("{} {}: {}", answer.status.as_u16(), text("code"), text("detail"));
    RemoteError::Refused(fields.fold(refusal, |shown, field| shown + &field))
}

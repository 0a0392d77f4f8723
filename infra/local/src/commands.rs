//! What the commands do to the running stack, over its own API.

use hyper::{Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::client::{ClientError, send};
use crate::gateway::CLOCK;
use crate::run_file::{RunFile, RunFileError};
use crate::webhook::{self, SecretError};

/// Why a command did nothing.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// No stack has left its keys.
    #[error(transparent)]
    RunFile(#[from] RunFileError),
    /// The stack does not answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The stack's webhook secret is no such secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The stack refuses.
    #[error("{status}: {body}")]
    Refused {
        /// The answer's status.
        status: StatusCode,
        /// The answer's body.
        body: String,
    },
    /// The stack has no queue.
    #[error("this stack has no queue")]
    NoQueue,
    /// A message is no JSON.
    #[error("message {number} is no JSON: {source}")]
    Line {
        /// Which, from 1; empty lines don't count.
        number: usize,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A message is longer than the local queue takes.
    #[error("message {number} is over 256 KB")]
    LongLine {
        /// Which, from 1; empty lines don't count.
        number: usize,
    },
    /// The stack's answer lacks what every version of it has.
    #[error("the answer has no {0}")]
    Answer(&'static str),
}

/// Moves the clock by so many seconds, or only reads it, and returns the time it then shows.
///
/// # Errors
/// [`CommandError`].
pub async fn clock(port: u16, by: Option<i64>) -> Result<String, CommandError> {
    let answer = match by {
        None => get(port, CLOCK).await?,
        Some(seconds) => post(port, CLOCK, &[], &json!({"advance_seconds": seconds})).await?,
    };
    let now = text(&answer, "now")?;
    Ok(match &answer["schedule"] {
        Value::Null => now,
        schedule => format!("{now}\nthe schedule ran: {schedule}"),
    })
}

/// Messages that SQS takes at once, and the bytes of a message, and of all at once, that the local
/// queue takes.
const MESSAGES_AT_ONCE: usize = 10;
const BYTES_AT_ONCE: usize = 256 << 10;

/// Sends lines of JSON to the stack's queue, each as a message, and says how many.
///
/// # Errors
/// [`CommandError`]; where a line is at fault, none was sent.
pub async fn send_messages(port: u16, lines: &str) -> Result<String, CommandError> {
    let url = RunFile::read(port)?.queue.ok_or(CommandError::NoQueue)?;
    let sqs = url.split('/').nth(2).and_then(|host| host.rsplit(':').next()?.parse().ok());
    let sqs: u16 = sqs.ok_or(CommandError::NoQueue)?;
    let lines: Vec<&str> = lines.lines().filter(|line| !line.trim().is_empty()).collect();
    for (number, line) in (1..).zip(&lines) {
        if let Err(source) = serde_json::from_str::<serde::de::IgnoredAny>(line) {
            return Err(CommandError::Line { number, source });
        }
        if line.len() > BYTES_AT_ONCE {
            return Err(CommandError::LongLine { number });
        }
    }
    let mut left = lines.as_slice();
    while !left.is_empty() {
        let mut bytes = 0;
        let fits = |line: &&&str| {
            bytes += line.len();
            bytes <= BYTES_AT_ONCE
        };
        let count = left.iter().take(MESSAGES_AT_ONCE).take_while(fits).count();
        let chunk = left.split_off(..count).expect("counted, and one fits always");
        let entries: Vec<_> = chunk
            .iter()
            .enumerate()
            .map(|(index, line)| json!({"Id": index.to_string(), "MessageBody": line}))
            .collect();
        let headers = [("x-amz-target", "AmazonSQS.SendMessageBatch")];
        let body = json!({"QueueUrl": url, "Entries": entries});
        let answer = post(sqs, "/", &headers, &body).await?;
        if answer["Failed"].as_array().is_some_and(|failed| !failed.is_empty()) {
            let (status, body) = (StatusCode::OK, answer["Failed"].to_string());
            return Err(CommandError::Refused { status, body });
        }
    }
    Ok(format!("{} sent", lines.len()))
}

/// Fires the schedule's function once, at the stack's time, and returns what it answers.
///
/// # Errors
/// [`CommandError`].
pub async fn schedule(port: u16) -> Result<String, CommandError> {
    let answer = post(port, CLOCK, &[], &json!({"advance_seconds": 0})).await?;
    Ok(answer["schedule"].to_string())
}

/// What a credential may do, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Such as `charge` and `read`.
    pub scopes: Vec<String>,
    /// The account of an account token; `None` makes an API key.
    pub account: Option<String>,
    /// The label of who is acting, in an account token.
    pub actor: Option<String>,
    /// How long an account token is good; `None` leaves it to the API.
    pub ttl_seconds: Option<i64>,
}

/// Makes a credential that the running stack accepts and returns it.
///
/// # Errors
/// [`CommandError`].
pub async fn token(port: u16, grant: &Grant) -> Result<String, CommandError> {
    let authorization = format!("Bearer {}", RunFile::read(port)?.api_key);
    let headers = [("authorization", authorization.as_str())];
    let mut body = json!({"scopes": grant.scopes});
    let Some(account) = &grant.account else {
        body["name"] = json!("cargo local token");
        return text(&post(port, "/v1/api-keys", &headers, &body).await?, "key");
    };
    if let Some(actor) = &grant.actor {
        body["actor"] = json!(actor);
    }
    if let Some(seconds) = grant.ttl_seconds {
        body["ttl_seconds"] = json!(seconds);
    }
    let account = utf8_percent_encode(account, NON_ALPHANUMERIC);
    let path = format!("/v1/accounts/{account}/tokens");
    text(&post(port, &path, &headers, &body).await?, "token")
}

/// Sends a signed webhook about a payment and returns the answer: `payment.succeeded` where an
/// account has bought credits, `payment.refunded` where nothing was bought.
///
/// # Errors
/// [`CommandError`].
pub async fn pay(
    port: u16,
    bought: Option<&(String, String)>,
    payment: Option<String>,
) -> Result<String, CommandError> {
    let secret = RunFile::read(port)?.webhook_secret;
    let payment = payment.unwrap_or_else(|| format!("pay_{}", Uuid::new_v4().simple()));
    let body = match bought {
        Some((account, credits)) => json!({
            "type": "payment.succeeded",
            "data": {"account": account, "payment": payment, "credits": credits},
        }),
        None => json!({"type": "payment.refunded", "data": {"payment": payment}}),
    };
    // The functions judge the timestamp by their clock, which may have been moved.
    let now = text(&get(port, CLOCK).await?, "now")?;
    let now = OffsetDateTime::parse(&now, &Rfc3339).map_err(|_| CommandError::Answer("time"))?;
    let timestamp = now.unix_timestamp();
    let id = format!("msg_{}", Uuid::new_v4().simple());
    let signature = webhook::sign(&secret, &id, timestamp, body.to_string().as_bytes())?;
    let headers = [
        ("webhook-id", id.as_str()),
        ("webhook-timestamp", &timestamp.to_string()),
        ("webhook-signature", &signature),
    ];
    Ok(post(port, "/v1/webhooks/payments", &headers, &body).await?.to_string())
}

async fn get(port: u16, path: &str) -> Result<Value, CommandError> {
    accepted(send(port, Method::GET, path, &[], "").await?)
}

async fn post(
    port: u16,
    path: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> Result<Value, CommandError> {
    accepted(send(port, Method::POST, path, headers, body.to_string()).await?)
}

/// The JSON of an answer that is not an error; an empty body is `null`.
fn accepted((status, body): (StatusCode, bytes::Bytes)) -> Result<Value, CommandError> {
    if status.is_success() {
        return Ok(serde_json::from_slice(&body).unwrap_or_default());
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    Err(CommandError::Refused { status, body })
}

fn text(answer: &Value, name: &'static str) -> Result<String, CommandError> {
    answer[name].as_str().map(str::to_owned).ok_or(CommandError::Answer(name))
}

//! Unified Credits, as a back end calls it.

use std::cell::Cell;
use std::thread;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use ureq::Agent;
use ureq::http::{Request, header};

use crate::Error;

/// How often a request is sent that gets no answer, and how long to wait before the next time.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(40);

/// A deployment, and the right to charge there.
pub struct Credits {
    agent: Agent,
    url: String,
    key: String,
    /// For the example's sake: the next answer to a request whose path ends so gets lost.
    losing: Cell<Option<&'static str>>,
}

/// The answer to a request.
pub(crate) struct Answer {
    /// Whether it is that of the same request sent before.
    pub replayed: bool,
    /// How often it was sent by this call.
    pub attempts: u32,
    /// Its JSON.
    pub body: Value,
}

impl Credits {
    /// The deployment at an address such as `http://127.0.0.1:9000`, with an API key that has the
    /// scopes `estimate`, `charge` and `read`.
    pub fn new(url: &str, key: &str) -> Self {
        let config = Agent::config_builder()
            .timeout_global(Some(ANSWER))
            .http_status_as_error(false)
            .build();
        Self {
            agent: config.into(),
            url: url.trim_end_matches('/').to_owned(),
            key: format!("Bearer {key}"),
            losing: Cell::new(None),
        }
    }

    /// Loses the next answer to a request whose path ends so, as a network may.
    pub fn lose_an_answer(&self, path_end: &'static str) {
        self.losing.set(Some(path_end));
    }

    /// What an account has.
    ///
    /// # Errors
    /// [`Error`].
    pub fn balance(&self, account: &str) -> Result<Value, Error> {
        Ok(self.send("GET", &Self::path(account, ""), None, &Value::Null)?.body["balance"].clone())
    }

    /// The path of something of an account's.
    pub(crate) fn path(account: &str, rest: &str) -> String {
        format!("/v1/accounts/{}{rest}", utf8_percent_encode(account, NON_ALPHANUMERIC))
    }

    /// Sends a request and reads its answer; `key` is its `Idempotency-Key`.
    pub(crate) fn post(
        &self,
        path: &str,
        key: Option<&str>,
        body: &Value,
    ) -> Result<Answer, Error> {
        self.send("POST", path, key, body)
    }

    /// Where there is no answer, nobody knows whether it happened: the same request with the same
    /// key is sent again, which finds out.
    fn send(
        &self,
        method: &str,
        path: &str,
        key: Option<&str>,
        body: &Value,
    ) -> Result<Answer, Error> {
        let mut attempt = 1;
        loop {
            match self.send_once(method, path, key, body) {
                Err(Error::NoAnswer(_) | Error::Refused { status: 429 | 503, .. })
                    if attempt < TRIES => {}
                result => return result.map(|answer| Answer { attempts: attempt, ..answer }),
            }
            thread::sleep(PAUSE * attempt);
            attempt += 1;
        }
    }

    fn send_once(
        &self,
        method: &str,
        path: &str,
        key: Option<&str>,
        body: &Value,
    ) -> Result<Answer, Error> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header(header::AUTHORIZATION, &self.key)
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let unanswered = |error: ureq::Error| Error::NoAnswer(error.to_string());
        let sent = match method {
            "GET" => request.body(()).map_err(ureq::Error::from).and_then(|r| self.agent.run(r)),
            _ => request
                .body(body.to_string())
                .map_err(ureq::Error::from)
                .and_then(|request| self.agent.run(request)),
        };
        let mut answer = sent.map_err(unanswered)?;
        let status = answer.status();
        let replayed = answer.headers().contains_key("idempotent-replayed");
        let text = answer.body_mut().read_to_string().map_err(unanswered)?;
        if self.losing.get().is_some_and(|end| path.ends_with(end)) {
            self.losing.set(None);
            return Err(Error::NoAnswer("it got lost".to_owned()));
        }
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        if status.is_success() {
            return Ok(Answer { replayed, attempts: 1, body });
        }
        let field = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        // What comes from before the functions has a message alone.
        let (code, detail) = (field("code"), field("detail") + &field("message"));
        Err(Error::Refused { status: status.as_u16(), code, detail })
    }
}

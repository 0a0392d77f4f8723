//! A small HTTP client for tests: sends what it is told, well-formed or not, and keeps the whole
//! answer. One connection a request, so that no test depends on what another one did to it.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than any request may take: the first one to a function may have to start it.
const PATIENCE: Duration = Duration::from_mins(2);

/// A caller of one stack, with or without a credential.
#[derive(Debug, Clone)]
pub struct Client {
    authority: String,
    credential: Option<String>,
}

impl Client {
    /// A caller without a credential of the stack at `url`, such as `http://127.0.0.1:9000`.
    ///
    /// # Panics
    /// When the URL is not of plain HTTP.
    pub fn new(url: &str) -> Self {
        let authority = url.strip_prefix("http://").expect("a URL of plain HTTP");
        Self { authority: authority.trim_end_matches('/').to_owned(), credential: None }
    }

    /// The same with this API key or account token.
    #[must_use]
    pub fn with_credential(&self, credential: &str) -> Self {
        Self { authority: self.authority.clone(), credential: Some(credential.to_owned()) }
    }

    /// The same without a credential.
    #[must_use]
    pub fn anonymous(&self) -> Self {
        Self { authority: self.authority.clone(), credential: None }
    }

    /// A request of any method; the path goes out as it is, with its query.
    pub fn call(&self, method: &str, path: &str) -> Call {
        let credential = self.credential.as_ref();
        let headers = credential.map(|text| ("authorization".to_owned(), format!("Bearer {text}")));
        Call {
            authority: self.authority.clone(),
            method: method.to_owned(),
            path: path.to_owned(),
            headers: headers.into_iter().collect(),
            body: Bytes::new(),
        }
    }

    /// A `GET`.
    pub fn get(&self, path: &str) -> Call {
        self.call("GET", path)
    }

    /// A `POST`.
    pub fn post(&self, path: &str) -> Call {
        self.call("POST", path)
    }

    /// A `PUT`.
    pub fn put(&self, path: &str) -> Call {
        self.call("PUT", path)
    }

    /// A `DELETE`.
    pub fn delete(&self, path: &str) -> Call {
        self.call("DELETE", path)
    }
}

/// A request that was not sent yet.
#[derive(Debug, Clone)]
#[must_use = "it goes out with `send`"]
pub struct Call {
    authority: String,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Call {
    /// With one more header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without a header that it has.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(header, _)| header != name);
        self
    }

    /// With an `Idempotency-Key`.
    pub fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    /// With a JSON body.
    pub fn json(self, body: &Value) -> Self {
        self.raw(body.to_string())
    }

    /// With a body that says it is JSON.
    pub fn raw(self, body: impl Into<Bytes>) -> Self {
        self.header("content-type", "application/json").body(body)
    }

    /// With a body that says nothing of itself.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends it and waits for the whole answer.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn send(self) -> Answer {
        let what = format!("{} {} of {}", self.method, self.path, self.authority);
        match timeout(PATIENCE, self.try_send()).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => panic!("{what}: {error}"),
            Err(elapsed) => panic!("{what}: {elapsed}"),
        }
    }

    async fn try_send(self) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
        let mut request = Request::builder()
            .method(self.method.as_str())
            .uri(&self.path)
            .header("host", &self.authority);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(self.body))?;
        let stream = TcpStream::connect(&self.authority).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driving = tokio::spawn(connection);
        let answer = sender.send_request(request).await?;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await?.to_bytes();
        driving.abort();
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
    }
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The body's JSON, which the status must go with.
    ///
    /// # Panics
    /// For another status, or a body that is not JSON. An empty body is `null`.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        if self.body.is_empty() {
            return Value::Null;
        }
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body's JSON, `null` where it is none.
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The code of a problem; empty where the answer is none.
    pub fn code(&self) -> String {
        self.value()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The pointers of a problem's faulty fields.
    pub fn pointers(&self) -> Vec<String> {
        let value = self.value();
        let errors = value["errors"].as_array().into_iter().flatten();
        errors.filter_map(|error| Some(error["pointer"].as_str()?.to_owned())).collect()
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

//! [`FaultyHttp`]: the SDK's HTTP client with a plan of what goes wrong on the way to `DynamoDB`.
//! What the emulators never answer, this does; the SDK above it is the real one.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use serde_json::{Value, json};

/// Nothing listens on it: it is reserved for a service that nobody runs.
const NOWHERE: &str = "http://127.0.0.1:1/";

/// What happens to a request, or to its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing listens where it is sent to.
    Unreachable,
    /// It arrives; the connection breaks before the answer has.
    Lost,
    /// It arrives; the answer takes so long.
    Late(Duration),
    /// It arrives; half of the answer's body does.
    Torn,
    /// It arrives; the answer's body is a web page.
    Garbled,
    /// It arrives; the answer's checksum is another body's.
    Checksum,
    /// It arrives twice, the first time as if it were another one; the second answer comes back.
    Twice,
    /// Somebody else's request arrives first.
    Overtaken,
    /// It does not arrive, or is not done; this is the answer.
    Refused(Refusal),
    /// It arrives and is done, and this is the answer.
    DoneAndRefused(Refusal),
}

impl Fault {
    /// Its kind, as it is counted.
    pub fn kind(&self) -> String {
        match self {
            Self::Unreachable => "unreachable".to_owned(),
            Self::Lost => "answer lost".to_owned(),
            Self::Late(_) => "answer late".to_owned(),
            Self::Torn => "answer torn".to_owned(),
            Self::Garbled => "answer garbled".to_owned(),
            Self::Checksum => "checksum wrong".to_owned(),
            Self::Twice => "sent twice".to_owned(),
            Self::Overtaken => "overtaken".to_owned(),
            Self::Refused(refusal) => refusal.name(),
            Self::DoneAndRefused(refusal) => format!("done, and {}", refusal.name()),
        }
    }
}

/// An answer that is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    status: u16,
    code: &'static str,
    /// For each item of a cancelled transaction, why.
    reasons: Vec<&'static str>,
}

impl Refusal {
    /// An error of the service.
    pub const fn new(status: u16, code: &'static str) -> Self {
        Self { status, code, reasons: Vec::new() }
    }

    /// A cancelled transaction: for each item, the reason's code, `None` where there is none.
    pub fn canceled(reasons: &[&'static str]) -> Self {
        Self { status: 400, code: "TransactionCanceledException", reasons: reasons.to_vec() }
    }

    fn name(&self) -> String {
        if self.reasons.is_empty() {
            return self.code.to_owned();
        }
        format!("canceled: {}", self.reasons.join(", "))
    }

    fn response(&self) -> HttpResponse {
        let mut body = json!({
            "__type": format!("com.amazonaws.dynamodb.v20120810#{}", self.code),
            "Message": self.name(),
        });
        if !self.reasons.is_empty() {
            let reason = |code: &&str| match *code {
                "None" => json!({"Code": "None"}),
                code => json!({"Code": code, "Message": code}),
            };
            body["CancellationReasons"] = self.reasons.iter().map(reason).collect();
        }
        response(self.status, body.to_string())
    }
}

/// What else happens when a request is overtaken.
pub type Rival = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// The SDK's HTTP client, over a connector that does what is planned.
#[derive(Clone)]
pub struct FaultyHttp {
    inner: SharedHttpClient,
    plan: Arc<Mutex<Plan>>,
    rival: Rival,
}

#[derive(Default)]
struct Plan {
    /// What is to come: of which operation, what, and how often.
    faults: Vec<(&'static str, Fault, u32)>,
    /// What happened, by its kind.
    dealt: BTreeMap<String, u64>,
    /// How many requests there were of each operation.
    requests: BTreeMap<String, u64>,
}

impl Debug for FaultyHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyHttp").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl FaultyHttp {
    /// A client without TLS, on whose way nothing goes wrong yet.
    pub fn new(rival: Rival) -> Self {
        let inner = aws_smithy_http_client::Builder::new().build_http();
        Self { inner, plan: Arc::default(), rival }
    }

    /// The next `times` requests of an operation, such as `TransactWriteItems`, meet this.
    pub fn plan(&self, operation: &'static str, fault: Fault, times: u32) {
        self.lock().faults.push((operation, fault, times));
    }

    /// Nothing goes wrong any more. Returns what happened, by its kind.
    pub fn end(&self) -> BTreeMap<String, u64> {
        let mut plan = self.lock();
        plan.faults.clear();
        std::mem::take(&mut plan.dealt)
    }

    /// How many requests of an operation there were.
    pub fn requests(&self, operation: &str) -> u64 {
        self.lock().requests.get(operation).copied().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().expect("nobody panics with it")
    }

    /// What this request meets.
    fn next(&self, request: &HttpRequest) -> Option<Fault> {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default();
        let mut plan = self.lock();
        *plan.requests.entry(operation.to_owned()).or_default() += 1;
        let planned = plan.faults.iter_mut().find(|(of, _, left)| *of == operation && *left > 0);
        let fault = planned.map(|(_, fault, left)| {
            *left -= 1;
            fault.clone()
        })?;
        *plan.dealt.entry(fault.kind()).or_default() += 1;
        Some(fault)
    }
}

impl HttpClient for FaultyHttp {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(Connector { inner, http: self.clone() })
    }
}

#[derive(Debug)]
struct Connector {
    inner: SharedHttpConnector,
    http: FaultyHttp,
}

impl HttpConnector for Connector {
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        let Some(fault) = self.http.next(&request) else { return self.inner.call(request) };
        let (inner, rival) = (self.inner.clone(), Arc::clone(&self.http.rival));
        HttpConnectorFuture::new(async move {
            match fault {
                Fault::Unreachable => {
                    request.set_uri(NOWHERE).expect("an address");
                    inner.call(request).await
                }
                Fault::Lost => {
                    inner.call(request).await?;
                    let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
                    Err(ConnectorError::io(reset.into()))
                }
                Fault::Late(time) => {
                    let answer = inner.call(request).await;
                    tokio::time::sleep(time).await;
                    answer
                }
                Fault::Torn => {
                    let (status, body) = whole(inner.call(request).await?).await?;
                    Ok(response(status, body[..body.len() / 2].to_vec()))
                }
                Fault::Garbled => {
                    let (status, _) = whole(inner.call(request).await?).await?;
                    Ok(response(status, "<html><body>It works!</body></html>"))
                }
                Fault::Checksum => {
                    let (status, body) = whole(inner.call(request).await?).await?;
                    let mut answer = response(status, body);
                    answer.headers_mut().insert("x-amz-crc32", "1");
                    Ok(answer)
                }
                Fault::Twice => {
                    inner.call(without_token(&request)).await?;
                    inner.call(request).await
                }
                Fault::Overtaken => {
                    rival().await;
                    inner.call(request).await
                }
                Fault::Refused(refusal) => Ok(refusal.response()),
                Fault::DoneAndRefused(refusal) => {
                    inner.call(request).await?;
                    Ok(refusal.response())
                }
            }
        })
    }
}

/// The same request, without what tells the service that it is the same.
fn without_token(request: &HttpRequest) -> HttpRequest {
    let mut copy = request.try_clone().expect("the body is in memory");
    let bytes = request.body().bytes().expect("the body is in memory");
    let mut body: Value = serde_json::from_slice(bytes).expect("JSON");
    body.as_object_mut().expect("an object").remove("ClientRequestToken");
    let body = body.to_string();
    copy.headers_mut().insert("content-length", body.len().to_string());
    *copy.body_mut() = SdkBody::from(body);
    copy
}

async fn whole(response: HttpResponse) -> Result<(u16, Vec<u8>), ConnectorError> {
    let status = response.status().as_u16();
    let body = ByteStream::new(response.into_body()).collect().await;
    Ok((status, body.map_err(|error| ConnectorError::io(error.into()))?.to_vec()))
}

fn response(status: u16, body: impl Into<SdkBody>) -> HttpResponse {
    let status = status.try_into().expect("a status");
    let mut response = HttpResponse::new(status, body.into());
    response.headers_mut().insert("content-type", "application/x-amz-json-1.0");
    response
}

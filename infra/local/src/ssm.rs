//! The embedded SSM Parameter Store: rustack's, made durable, reached by the real AWS SDK over loopback.
//!
//! Three things are added to rustack: with `--data`, parameters are written to a file before a write is
//! answered; and a `SecureString` is shown only to a request that asks for decryption, as AWS does, so
//! that a forgotten `with_decryption` fails here and not first in the cloud; and where asked, calls
//! over the quotas of an AWS account are throttled.

use std::fs;
use std::future::Future;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{Response, StatusCode};
use rustack_ssm_core::config::SsmConfig;
use rustack_ssm_core::handler::RustackSsmHandler;
use rustack_ssm_core::provider::RustackSsm;
use rustack_ssm_http::response::json_response;
use rustack_ssm_http::{SsmHandler, SsmHttpConfig, SsmHttpService, SsmResponseBody};
use rustack_ssm_model::error::SsmError;
use rustack_ssm_model::operations::SsmOperation;
use serde_json::Value;

use crate::emulator::{Emulator, EmulatorError, listen};
use crate::files::private_file;
use crate::server::serve;

/// The file below `--data`. It holds the local stack's secrets in clear, so only its owner may read it.
const FILE: &str = "ssm.json";

/// How many calls are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quotas {
    /// All of them.
    Unlimited,
    /// As many as AWS answers an account that never asked for more: 3 writes and 40 reads a second
    /// ("AWS Systems Manager endpoints and quotas"). Others get a `ThrottlingException`.
    Aws,
}

/// Starts it on `127.0.0.1:port` (0: any free port), in memory, or kept in a file below `data`.
///
/// In a file, every acknowledged write survives the process being killed.
///
/// # Errors
/// When the port is taken, or the file is not one that this function wrote.
pub fn start(port: u16, data: Option<&Path>, quotas: Quotas) -> Result<Emulator, EmulatorError> {
    let listener = listen(port)?;
    let store = Arc::new(RustackSsm::new(SsmConfig::default()));
    let file = data.map(|directory| directory.join(FILE));
    if let Some(path) = &file {
        load(&store, path).map_err(|reason| EmulatorError::Data {
            path: path.clone(),
            reason: reason.to_string(),
        })?;
    }
    let parameters = Parameters {
        inner: RustackSsmHandler::new(Arc::clone(&store)),
        limits: (quotas == Quotas::Aws)
            .then(|| Arc::new(Limits { writes: Bucket::new(3), reads: Bucket::new(40) })),
        file: file.map(|path| Arc::new(Snapshot { store, path, writing: Mutex::new(()) })),
    };
    let service = SsmHttpService::new(Arc::new(parameters), SsmHttpConfig::default());
    Emulator::spawn("SSM", listener, |listener, stopped| async move {
        serve(listener, |_| service.clone(), stopped.wait()).await;
        Ok(())
    })
}

/// Fills the store from the file, if there is one.
fn load(store: &RustackSsm, path: &Path) -> io::Result<()> {
    match fs::read(path) {
        Ok(bytes) => {
            store.import_snapshot(serde_json::from_slice(&bytes)?);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// The file that follows the store.
struct Snapshot {
    store: Arc<RustackSsm>,
    path: PathBuf,
    /// One write at a time, so that an older snapshot never replaces a newer one.
    writing: Mutex<()>,
}

impl Snapshot {
    /// Replaces the file by the store's present content: whole and on disk, or not at all.
    fn write(&self) -> io::Result<()> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = serde_json::to_vec(&self.store.export_snapshot())?;
        let new = self.path.with_extension("json.new");
        let mut file = private_file(&new)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)
    }
}

/// Calls that may be made now: up to a second's worth at once, refilled all the time.
struct Bucket {
    a_second: u32,
    /// When all of them may be made again.
    full_at: Mutex<Instant>,
}

impl Bucket {
    fn new(a_second: u32) -> Self {
        Self { a_second, full_at: Mutex::new(Instant::now()) }
    }

    /// Whether one more call may be made.
    fn take(&self) -> bool {
        let second = Duration::from_secs(1);
        let now = Instant::now();
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let after = (*full_at).max(now) + second / self.a_second;
        let allowed = after <= now + second;
        if allowed {
            *full_at = after;
        }
        allowed
    }
}

/// The quotas of an AWS account.
struct Limits {
    writes: Bucket,
    reads: Bucket,
}

/// What SSM answers above its quotas.
fn throttled() -> Response<SsmResponseBody> {
    let body = r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#;
    let mut answer = json_response(body.as_bytes().to_vec(), "");
    *answer.status_mut() = StatusCode::BAD_REQUEST;
    answer
}

/// rustack's handler with the additions of this module.
struct Parameters {
    inner: RustackSsmHandler,
    limits: Option<Arc<Limits>>,
    file: Option<Arc<Snapshot>>,
}

impl SsmHandler for Parameters {
    fn handle_operation(
        &self,
        operation: SsmOperation,
        body: Bytes,
    ) -> Pin<Box<dyn Future<Output = Result<Response<SsmResponseBody>, SsmError>> + Send>> {
        if let Some(limits) = &self.limits {
            let bucket = if reads_values(operation) { &limits.reads } else { &limits.writes };
            if !bucket.take() {
                return Box::pin(async { Ok(throttled()) });
            }
        }
        let answer = self.inner.handle_operation(operation, body.clone());
        let file = self.file.clone();
        Box::pin(async move {
            let answer = answer.await?;
            if reads_values(operation) {
                return if decrypts(&body) {
                    Ok(answer)
                } else {
                    hide_secure_strings(answer).await
                };
            }
            if let Some(file) = file.filter(|_| !only_describes(operation)) {
                file.write().map_err(|error| {
                    SsmError::internal_error(format!("{}: {error}", file.path.display()))
                })?;
            }
            Ok(answer)
        })
    }
}

/// Operations whose answers carry parameters' values.
fn reads_values(operation: SsmOperation) -> bool {
    matches!(
        operation,
        SsmOperation::GetParameter
            | SsmOperation::GetParameters
            | SsmOperation::GetParametersByPath
            | SsmOperation::GetParameterHistory
    )
}

/// Operations that change nothing and show no value; all others are followed by the file.
fn only_describes(operation: SsmOperation) -> bool {
    matches!(operation, SsmOperation::DescribeParameters | SsmOperation::ListTagsForResource)
}

/// Whether the request asks for values in clear.
fn decrypts(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|request| request["WithDecryption"] == true)
}

/// Replaces the values of `SecureString`s by text that is not the value.
async fn hide_secure_strings(
    answer: Response<SsmResponseBody>,
) -> Result<Response<SsmResponseBody>, SsmError> {
    let unreadable = |error: String| {
        SsmError::internal_error(format!("rustack's answer is not readable: {error}"))
    };
    let request_id = answer.headers().get("x-amzn-requestid").cloned();
    let bytes = answer
        .into_body()
        .collect()
        .await
        .map_err(|error| unreadable(error.to_string()))?
        .to_bytes();
    let mut answer: Value =
        serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
    let hide = |parameter: &mut Value| {
        if parameter["Type"] == "SecureString" {
            // AWS shows the ciphertext, in Base64.
            parameter["Value"] =
                Value::String(STANDARD.encode("encrypted: ask with WithDecryption"));
        }
    };
    if let Some(parameter) = answer.get_mut("Parameter") {
        hide(parameter);
    }
    if let Some(Value::Array(parameters)) = answer.get_mut("Parameters") {
        parameters.iter_mut().for_each(hide);
    }
    let request_id = request_id.as_ref().and_then(|id| id.to_str().ok()).unwrap_or_default();
    Ok(json_response(answer.to_string().into_bytes(), request_id))
}

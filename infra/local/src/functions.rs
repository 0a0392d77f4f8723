//! Functions as Lambda runs them: JSON in, JSON out, each invocation on a task of its own.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use bytes::Bytes;
use lambda_http::lambda_runtime::Diagnostic;
use lambda_http::request::LambdaRequest;
use lambda_http::{Context, LambdaEvent};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

/// What the deadline in an invocation's context says.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// What Lambda answers for an invocation that failed: the two fields that callers see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[error("{error_type}: {error_message}")]
pub struct FunctionError {
    /// The kind of failure, such as `Runtime.Panic`.
    pub error_type: String,
    /// A text for people.
    pub error_message: String,
}

impl FunctionError {
    fn new(error_type: &str, error: &impl ToString) -> Self {
        Self { error_type: error_type.to_owned(), error_message: error.to_string() }
    }
}

impl From<Diagnostic> for FunctionError {
    fn from(diagnostic: Diagnostic) -> Self {
        Self { error_type: diagnostic.error_type, error_message: diagnostic.error_message }
    }
}

type Invocation = Pin<Box<dyn Future<Output = Result<Vec<u8>, FunctionError>> + Send>>;

/// A deployed function. Clones share it.
#[derive(Clone)]
pub struct Function {
    name: Arc<str>,
    run: Arc<dyn Fn(Bytes, Context) -> Invocation + Send + Sync>,
}

impl Function {
    /// A function that serves HTTP, from its router. Requests and answers go through the
    /// conversions that run in Lambda.
    pub fn http(name: &str, router: Router) -> Self {
        Self::from_run(name, move |event, context| {
            let router = router.clone();
            Box::pin(async move {
                let event: LambdaRequest = parse(&event)?;
                let Ok(answer) = uc_http::invoke(router, LambdaEvent::new(event, context)).await;
                print(&answer)
            })
        })
    }

    /// A function that takes any event: the schedule, a queue, or those and HTTP.
    pub fn events<H, F, R, E>(name: &str, handler: H) -> Self
    where
        H: Fn(LambdaEvent<Value>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<R, E>> + Send + 'static,
        R: Serialize,
        E: Into<Diagnostic>,
    {
        Self::from_run(name, move |event, context| {
            let handling = parse(&event).map(|event| handler(LambdaEvent::new(event, context)));
            Box::pin(async move {
                let answer = handling?.await.map_err(|error| FunctionError::from(error.into()))?;
                print(&answer)
            })
        })
    }

    fn from_run(
        name: &str,
        run: impl Fn(Bytes, Context) -> Invocation + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), run: Arc::new(run) }
    }

    /// The function's name: its package, its binary.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs it once on a JSON event. It runs to its end even if the caller stops waiting, as in Lambda.
    ///
    /// # Errors
    /// The function's own error, a panic (`Runtime.Panic`), or an event it cannot read.
    pub async fn invoke(&self, event: Bytes) -> Result<Vec<u8>, FunctionError> {
        let mut context = Context::default();
        context.request_id = Uuid::new_v4().to_string();
        context.invoked_function_arn =
            format!("arn:aws:lambda:us-east-1:000000000000:function:{}", self.name);
        context.deadline = deadline();
        let run = Arc::clone(&self.run);
        // The handler's synchronous part may panic too, so it runs inside the task.
        tokio::spawn(async move { run(event, context).await })
            .await
            .unwrap_or_else(|error| Err(FunctionError::new("Runtime.Panic", &error)))
    }
}

/// Milliseconds since 1970 at which an invocation that starts now times out.
fn deadline() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from((since_1970 + TIMEOUT).as_millis()).unwrap_or(u64::MAX)
}

fn parse<'de, T: serde::Deserialize<'de>>(event: &'de [u8]) -> Result<T, FunctionError> {
    serde_json::from_slice(event)
        .map_err(|error| FunctionError::new("Runtime.DeserializeError", &error))
}

fn print(answer: &impl Serialize) -> Result<Vec<u8>, FunctionError> {
    serde_json::to_vec(answer).map_err(|error| FunctionError::new("Runtime.SerializeError", &error))
}

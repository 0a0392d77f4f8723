//! The queue of charges: an embedded SQS, rustack's, reached by any AWS SDK over loopback, and what
//! Lambda does in the cloud: it takes messages from the queue and hands them to the function.
//!
//! Messages are in memory, with `--data` too: what lies in the queue when the stack ends is gone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustack_sqs_core::config::SqsConfig;
use rustack_sqs_core::handler::RustackSqsHandler;
use rustack_sqs_core::provider::RustackSqs;
use rustack_sqs_http::service::{SqsHttpConfig, SqsHttpService};
use rustack_sqs_model::error::SqsError;
use rustack_sqs_model::input::{
    ChangeMessageVisibilityInput, CreateQueueInput, DeleteMessageInput, ReceiveMessageInput,
};
use rustack_sqs_model::types::Message;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::clock::MovableClock;
use crate::emulator::{Emulator, EmulatorError, listen};
use crate::functions::Function;
use crate::server::serve;

/// The queue, and where messages go that are never done.
const QUEUE: &str = "charges";
const DEAD_LETTERS: &str = "charges-dead";
/// The account in the ARNs of everything local, and the region.
const ACCOUNT: &str = "000000000000";
const REGION: &str = "us-east-1";
/// How often a message is handed to the function before it is a dead letter. Deployed it is more
/// often; here somebody is waiting.
const MAX_RECEIVES: u32 = 3;
/// For how long nobody else gets a message that the function has, in seconds.
const VISIBILITY_SECONDS: u32 = 60;
/// When a message that was not done comes again, in seconds.
const AGAIN_SECONDS: i32 = 1;
/// How long a request for messages waits for one, in seconds.
const LONG_POLL_SECONDS: i32 = 20;
/// Messages that one request brings at most.
const RECEIVED_AT_ONCE: i32 = 10;
/// Messages of one event at most, as in the template.
const BATCH: usize = 500;
/// After how long a queue that failed is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// Where messages are sent to, and where those are that are never done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueUrls {
    /// The queue of charges.
    pub charges: String,
    /// The dead letters.
    pub dead_letters: String,
}

/// The embedded SQS with its two queues.
pub struct Queues {
    store: Arc<RustackSqs>,
    urls: QueueUrls,
}

/// Starts it on `127.0.0.1:port` (0: any free port).
///
/// # Errors
/// When the port is taken.
pub async fn start(port: u16) -> Result<(Emulator, Queues), EmulatorError> {
    let listener = listen(port)?;
    let address = listener.local_addr().map_err(|source| EmulatorError::Listen { port, source })?;
    let config = SqsConfig {
        skip_signature_validation: true,
        default_region: REGION.to_owned(),
        account_id: ACCOUNT.to_owned(),
        host: address.ip().to_string(),
        port: address.port(),
    };
    let store = Arc::new(RustackSqs::new(config));
    let failed = |error: SqsError| EmulatorError::Failed { name: "SQS", reason: error.to_string() };
    let dead_letters = create(&store, DEAD_LETTERS, HashMap::new()).await.map_err(failed)?;
    let redrive = json!({
        "deadLetterTargetArn": arn(DEAD_LETTERS),
        "maxReceiveCount": MAX_RECEIVES,
    });
    let attributes = HashMap::from([
        ("RedrivePolicy".to_owned(), redrive.to_string()),
        ("VisibilityTimeout".to_owned(), VISIBILITY_SECONDS.to_string()),
    ]);
    let charges = create(&store, QUEUE, attributes).await.map_err(failed)?;
    let handler = RustackSqsHandler::new(Arc::clone(&store));
    let service = SqsHttpService::new(Arc::new(handler), SqsHttpConfig::default());
    let emulator = Emulator::spawn("SQS", listener, |listener, stopped| async move {
        serve(listener, |_| service.clone(), stopped.wait()).await;
        Ok(())
    })?;
    Ok((emulator, Queues { store, urls: QueueUrls { charges, dead_letters } }))
}

async fn create(
    store: &RustackSqs,
    name: &str,
    attributes: HashMap<String, String>,
) -> Result<String, SqsError> {
    let input = CreateQueueInput { queue_name: name.to_owned(), attributes, ..Default::default() };
    let made = store.create_queue(input).await?;
    made.queue_url.ok_or_else(|| SqsError::internal_error("a queue has no URL"))
}

fn arn(queue: &str) -> String {
    format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}")
}

impl Queues {
    /// Where the queues are.
    pub fn urls(&self) -> &QueueUrls {
        &self.urls
    }

    /// Hands messages to the function, for ever, as Lambda's event source does: what the function
    /// reports as failed comes again, the rest is deleted.
    pub async fn consume(self, function: Function, clock: Arc<MovableClock>) {
        loop {
            let consumed = async {
                let messages = self.receive().await?;
                self.hand_over(&function, &clock, messages).await
            };
            if let Err(error) = consumed.await {
                tracing::error!(%error, "the queue failed");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Waits for a message, then takes what else is there.
    async fn receive(&self) -> Result<Vec<Message>, SqsError> {
        let mut messages = Vec::new();
        let mut wait = LONG_POLL_SECONDS;
        while messages.len() < BATCH {
            let input = ReceiveMessageInput {
                queue_url: self.urls.charges.clone(),
                max_number_of_messages: Some(RECEIVED_AT_ONCE),
                wait_time_seconds: Some(wait),
                attribute_names: vec!["All".to_owned()],
                ..Default::default()
            };
            let received = self.store.receive_message(input).await?.messages;
            if received.is_empty() {
                break;
            }
            messages.extend(received);
            wait = 0;
        }
        Ok(messages)
    }

    async fn hand_over(
        &self,
        function: &Function,
        clock: &MovableClock,
        messages: Vec<Message>,
    ) -> Result<(), SqsError> {
        if messages.is_empty() {
            return Ok(());
        }
        let records: Vec<_> = messages.iter().map(|message| record(message, clock)).collect();
        let event = json!({"Records": records});
        let failed = match function.invoke(Bytes::from(event.to_string())).await {
            Ok(answer) => failures(&answer),
            Err(error) => {
                tracing::error!(function = function.name(), %error, "the queue's function failed");
                None
            }
        };
        for message in messages {
            let done = failed.as_ref().is_some_and(|failed| {
                message.message_id.as_ref().is_some_and(|id| !failed.contains(id))
            });
            let queue_url = self.urls.charges.clone();
            let receipt_handle = message.receipt_handle.unwrap_or_default();
            if done {
                self.store.delete_message(DeleteMessageInput { queue_url, receipt_handle }).await?;
            } else {
                let visibility_timeout = AGAIN_SECONDS;
                let input =
                    ChangeMessageVisibilityInput { queue_url, receipt_handle, visibility_timeout };
                self.store.change_message_visibility(input).await?;
            }
        }
        Ok(())
    }
}

/// A message as an event has it. The queue knows no clock but the machine's: what it says is moved
/// to where the stack's clock is.
fn record(message: &Message, clock: &MovableClock) -> Value {
    let mut attributes = message.attributes.clone();
    if let Some(sent) = attributes.get_mut("SentTimestamp")
        && let Ok(millis) = sent.parse::<i128>()
    {
        *sent = (millis + clock.offset().whole_milliseconds()).to_string();
    }
    json!({
        "messageId": message.message_id,
        "receiptHandle": message.receipt_handle,
        "body": message.body,
        "attributes": attributes,
        "messageAttributes": {},
        "md5OfBody": message.md5_of_body,
        "eventSource": "aws:sqs",
        "eventSourceARN": arn(QUEUE),
        "awsRegion": REGION,
    })
}

/// The messages that the function reports as failed; `None` (all of them) where its answer is none.
fn failures(answer: &[u8]) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Report {
        batch_item_failures: Vec<Failure>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Failure {
        item_identifier: String,
    }
    let report: Report = serde_json::from_slice(answer).ok()?;
    Some(report.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect())
}

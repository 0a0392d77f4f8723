//! The queue of charges: each message is one operation as in a batch.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use lambda_http::LambdaEvent;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uc_domain::Timestamp;
use uc_http::{BODY_LIMIT, Code, Deployment, Metrics, Problem, RequestLog, parse_strict};

use crate::Deps;
use crate::batch::{Asked, charge};
use crate::charges::{Answer, OnUnpriced};

/// What is left of the function's time when the last account's charges begin: a write gives up
/// after 10 seconds.
const RESERVE: Duration = Duration::from_secs(15);
/// The attribute of a message that says when it was sent, in milliseconds.
const SENT: &str = "SentTimestamp";

/// What SQS hands a function, as far as it is looked at.
#[derive(Debug, Deserialize)]
struct Event {
    #[serde(rename = "Records")]
    records: Vec<Message>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    message_id: String,
    body: String,
    #[serde(default)]
    attributes: HashMap<String, String>,
}

/// Which messages are not done: they come again, and at last to the dead-letter queue.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    batch_item_failures: Vec<Failure>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    item_identifier: String,
}

/// The queue's consumer. Clones share what they work with.
#[derive(Clone)]
pub struct Queue {
    deps: Deps,
}

impl Queue {
    /// The consumer in a deployment.
    pub fn new(deployment: &Deployment) -> Self {
        Self { deps: Deps::new(deployment) }
    }

    /// Charges what an event's messages ask for, those of one account in the order in which they
    /// were sent, and reports those that are not done: one that can never be holds up no other.
    /// `time` is what there is for it.
    ///
    /// # Errors
    /// The event is not one of SQS.
    pub async fn handle(
        self,
        event: LambdaEvent<Value>,
        time: Duration,
    ) -> Result<Report, lambda_http::Error> {
        let started = Instant::now();
        let Event { mut records } = serde_json::from_value(event.payload)?;
        let now = self.deps.ledger.now();
        // Stable: what was sent in one millisecond stays in the order of the event.
        records.sort_by_key(|message| message.sent().unwrap_or(now));
        let log = RequestLog::default();
        let mut failed: Vec<(usize, Code)> = Vec::new();
        let (mut asked, mut places) = (Vec::with_capacity(records.len()), Vec::new());
        for (place, message) in records.iter().enumerate() {
            match message.read(now) {
                Ok(one) => {
                    asked.push(one);
                    places.push(place);
                }
                Err(problem) => {
                    failed.push((place, problem.code()));
                    message.refused(None, &problem);
                }
            }
        }
        let may_begin = || started.elapsed() + RESERVE < time;
        let answers = charge(&self.deps, &asked, &log, may_begin).await;
        let (mut charged, mut replayed, mut unrated) = (0_u32, 0_u32, 0_u32);
        for ((place, answer), asked) in places.into_iter().zip(answers).zip(&asked) {
            match answer {
                Some(Ok(Answer::Charged(outcome))) if outcome.replayed => replayed += 1,
                Some(Ok(Answer::Charged(_))) => charged += 1,
                Some(Ok(Answer::Unrated(..))) => unrated += 1,
                Some(Err(problem)) => {
                    failed.push((place, problem.code()));
                    records[place].refused(Some(asked), &problem);
                }
                // There was no time left for it.
                None => failed.push((place, Code::Unavailable)),
            }
        }
        tracing::info!(
            messages = records.len(),
            charged,
            replayed,
            unrated,
            failed = failed.len(),
            duration_millis = started.elapsed().as_millis(),
            "queue"
        );
        log.take_metrics().emit("charge-queue", now);
        let mut report = Report::default();
        for (place, code) in failed {
            let mut metrics = Metrics::default();
            metrics.refuse(code);
            metrics.emit("charge-queue", now);
            let item_identifier = records[place].message_id.clone();
            report.batch_item_failures.push(Failure { item_identifier });
        }
        Ok(report)
    }
}

impl Message {
    /// When it was sent, as far as that can be read.
    fn sent(&self) -> Option<Timestamp> {
        let millis = self.attributes.get(SENT)?.parse().ok()?;
        Timestamp::from_millis(millis).ok()
    }

    /// Reads it, as what was asked for when it was sent: how long it lay in the queue changes
    /// neither whether its usage is too old nor whether an estimate's prices hold.
    fn read(&self, now: Timestamp) -> Result<Asked, Problem> {
        if self.body.len() > BODY_LIMIT {
            return Err(Problem::new(
                Code::PayloadTooLarge,
                format!("At most {BODY_LIMIT} bytes."),
            ));
        }
        let operation = parse_strict::<Value>(self.body.as_bytes())?.value;
        Asked::read(operation, self.sent().unwrap_or(now).min(now), OnUnpriced::Park)
    }

    /// Says in the log why it was not done. Its content is not for the log.
    fn refused(&self, asked: Option<&Asked>, problem: &Problem) {
        tracing::warn!(
            message_id = self.message_id,
            account = asked.map(|asked| asked.account.as_str()),
            code = problem.code().as_str(),
            detail = problem.detail(),
            "a message is not done"
        );
    }
}

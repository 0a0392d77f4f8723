//! The schedule: what `EventBridge` does in the cloud.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use time::format_description::well_known::Rfc3339;
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use crate::clock::MovableClock;
use crate::functions::{Function, FunctionError};

/// How often the local schedule fires. Deployed it is rarer; here somebody is waiting.
const INTERVAL: Duration = Duration::from_mins(1);

/// Fires one function with `EventBridge`'s scheduled event.
#[derive(Clone)]
pub struct Schedule {
    function: Function,
    clock: Arc<MovableClock>,
}

impl Schedule {
    /// A schedule for `function`, whose events carry the time of `clock`.
    pub fn new(function: Function, clock: Arc<MovableClock>) -> Self {
        Self { function, clock }
    }

    /// Fires once and waits for the function's answer.
    ///
    /// # Errors
    /// The function's error.
    pub async fn fire(&self) -> Result<Vec<u8>, FunctionError> {
        let now = self.clock.now();
        let now = now.replace_nanosecond(0).unwrap_or(now);
        let event = json!({
            "version": "0",
            "id": Uuid::new_v4().to_string(),
            "detail-type": "Scheduled Event",
            "source": "aws.events",
            "account": "000000000000",
            "time": now.format(&Rfc3339).unwrap_or_default(),
            "region": "us-east-1",
            "resources": [format!("arn:aws:events:us-east-1:000000000000:rule/{}", self.function.name())],
            "detail": {},
        });
        self.function.invoke(Bytes::from(event.to_string())).await
    }

    /// Fires every minute, for ever. A failure is logged; the next minute tries again.
    pub async fn run(self) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.fire().await {
                tracing::error!(function = self.function.name(), %error, "the schedule failed");
            }
        }
    }
}

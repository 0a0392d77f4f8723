//! The Lambda function `charge-queue`: the queue's events.

use std::time::{Duration, SystemTime};

use lambda_http::{LambdaEvent, lambda_runtime};
use uc_http::Deployment;

/// What a run has where its deadline is over before it begins: Lambda starts nothing so late, but
/// `cargo lambda watch` sends a time in 1970.
const WITHOUT_DEADLINE: Duration = Duration::from_mins(1);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    uc_http::init_tracing();
    let deployment = Deployment::from_environment()?;
    let queue = charge::Queue::new(&deployment);
    let handle = |event: LambdaEvent<serde_json::Value>| {
        let time = event.context.deadline().duration_since(SystemTime::now());
        queue.clone().handle(event, time.unwrap_or(WITHOUT_DEADLINE))
    };
    lambda_runtime::run(lambda_runtime::service_fn(handle)).await
}

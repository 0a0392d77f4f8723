//! The functions, as the local stack runs them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lambda_http::LambdaEvent;
use serde_json::Value;
use uc_domain::Timestamp;
use uc_domain::account::Overuse;
use uc_http::{Config, openapi};
use uc_ledger::Clock;

use crate::aws::Endpoints;
use crate::clock::MovableClock;
use crate::functions::Function;
use crate::gateway::Route;
use crate::schema::create_table;
use crate::seed::{self, Access, STACK, TABLE};
use crate::stack::{Deployment, Options, Stack, StackError};

/// What the schedule and the queue have for one run; deployed, a function's time-out says it.
const EVENT_TIME: Duration = Duration::from_mins(1);

impl Clock for MovableClock {
    fn now(&self) -> Timestamp {
        // The clock moves a hundred years at most.
        Self::now(self).try_into().unwrap_or(Timestamp::MAX)
    }

    fn offset_millis(&self) -> i64 {
        i64::try_from(self.offset().whole_milliseconds()).unwrap_or(i64::MAX)
    }
}

/// The configuration of a deployment on emulators.
pub fn config() -> Config {
    Config {
        table: TABLE.to_owned(),
        stack: STACK.to_owned(),
        overuse: Overuse::Record,
        public_rates: true,
    }
}

/// The function's name, and its API's description, for each function: the one list of them here.
pub fn descriptions() -> [(&'static str, utoipa::openapi::OpenApi); 6] {
    [
        ("accounts", accounts::openapi()),
        ("charge", charge::openapi()),
        ("estimate", estimate::openapi()),
        ("plan-grant", plan_grant::openapi()),
        ("ratios-admin", ratios_admin::openapi()),
        ("topup", topup::openapi()),
    ]
}

/// Every route of every function, as its description says it.
pub fn routes() -> Vec<Route> {
    descriptions()
        .iter()
        .flat_map(|(function, description)| {
            openapi::routes_of(description).into_iter().map(|(method, template)| Route {
                method,
                template,
                function: (*function).to_owned(),
            })
        })
        .collect()
}

/// The whole API's description, pretty-printed.
///
/// # Errors
/// Two functions describe the same thing differently.
pub fn description() -> Result<String, openapi::DocumentError> {
    let parts = descriptions().map(|(_, description)| description);
    openapi::document(parts).map(|document| {
        let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
        text.push('\n');
        text
    })
}

/// Makes everything that runs behind the gateway: the table, what a deployment needs, the example
/// data, the functions.
///
/// # Errors
/// What could not be made, as a sentence.
pub async fn deploy(
    endpoints: &Endpoints,
    clock: Arc<MovableClock>,
    config: Config,
) -> Result<(Deployment, Access, Arc<uc_http::Deployment>), String> {
    create_table(&endpoints.dynamodb_client(), &config.table).await.map_err(|e| e.to_string())?;
    let deployment = Arc::new(uc_http::Deployment::new(
        config,
        &endpoints.dynamodb_config(),
        endpoints.ssm_config(),
        clock,
    ));
    let access = seed::bootstrap(&deployment).await.map_err(|error| error.to_string())?;
    seed::examples(&deployment).await.map_err(|error| error.to_string())?;
    let scheduled = plan_grant(&deployment);
    let consumer = charge_queue(&deployment);
    let functions = vec![
        Function::http("accounts", accounts::router(&deployment)),
        Function::http("charge", charge::router(&deployment)),
        Function::http("estimate", estimate::router(&deployment)),
        Function::http("ratios-admin", ratios_admin::router(&deployment)),
        Function::http("topup", topup::router(&deployment)),
        scheduled.clone(),
        consumer.clone(),
    ];
    let openapi = Bytes::from(description().map_err(|error| error.to_string())?);
    let store = Some(Arc::clone(deployment.dynamo()));
    let behind = Deployment { functions, routes: routes(), scheduled, consumer, openapi, store };
    Ok((behind, access, deployment))
}

/// Starts the whole stack.
///
/// # Errors
/// A port is taken, a directory can't be used, or the functions could not be made.
pub async fn start(
    options: &Options,
    config: Config,
) -> Result<(Stack, Access, Arc<uc_http::Deployment>), StackError> {
    let mut made = None;
    let stack = Stack::start(options, |endpoints, clock| {
        let made = &mut made;
        async move {
            let (deployment, access, parts) = deploy(&endpoints, clock, config).await?;
            *made = Some((access, parts));
            Ok::<_, String>(deployment)
        }
    });
    let stack = stack.await?;
    let (access, parts) = made.expect("a stack that started was deployed");
    Ok((stack, access, parts))
}

fn plan_grant(deployment: &uc_http::Deployment) -> Function {
    let function = plan_grant::Function::new(deployment);
    Function::events("plan-grant", move |event: LambdaEvent<Value>| {
        function.clone().handle(event, EVENT_TIME)
    })
}

fn charge_queue(deployment: &uc_http::Deployment) -> Function {
    let queue = charge::Queue::new(deployment);
    Function::events("charge-queue", move |event: LambdaEvent<Value>| {
        queue.clone().handle(event, EVENT_TIME)
    })
}

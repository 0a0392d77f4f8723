//! The stack that the tests run against, and what most of them do with it.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use serde_json::{Value, json};
use uc_domain::account::Settings;
use uc_domain::{Credits, Timestamp};
use uc_ledger::{Clock, DynamoStore, Ledger, SystemClock};
use uc_local::aws::Endpoints;
use uc_local::gateway::AllowedOrigins;
use uc_local::queue::QueueUrls;
use uc_local::run_file::RunFile;
use uc_local::seed::{Access, TABLE};
use uc_local::ssm::Quotas;
use uc_local::stack::Options;
use uc_local::{webhook, wiring};
use uc_tests::client::{Answer, Call, Client};

/// A running stack, wherever it is.
#[derive(Debug, Clone)]
pub struct Stack {
    /// Its API's base.
    pub url: String,
    /// An API key with every scope.
    pub api_key: String,
    /// What payment webhooks are signed with.
    pub webhook_secret: String,
    /// Where its `DynamoDB` is.
    pub dynamodb: String,
    /// Where its queue is, if it has one.
    pub queues: Option<QueueUrls>,
    /// Whether it is the one in this process: its gateway does as API Gateway does.
    pub embedded: bool,
}

impl Stack {
    /// A caller with every scope.
    pub fn api(&self) -> Client {
        self.anonymous().with_credential(&self.api_key)
    }

    /// A caller without a credential.
    pub fn anonymous(&self) -> Client {
        Client::new(&self.url)
    }

    /// The journals behind it, read without the functions.
    pub fn ledger(&self) -> Ledger {
        self.ledger_by(Arc::new(SystemClock))
    }

    fn ledger_by(&self, clock: Arc<dyn Clock>) -> Ledger {
        let endpoints = Endpoints { dynamodb: self.dynamodb.clone(), ssm: String::new() };
        let store =
            DynamoStore::new(&endpoints.dynamodb_config(), TABLE.to_owned(), Arc::clone(&clock));
        Ledger::new(Arc::new(store), clock, Settings::default())
    }

    /// A payment webhook, signed at `at`.
    pub fn webhook(&self, at: Timestamp, body: &Value) -> Call {
        self.signed(&self.webhook_secret, at, &body.to_string(), &body.to_string())
    }

    /// A webhook with a signature over `signed` by `secret`, whatever is sent.
    pub fn signed(&self, secret: &str, at: Timestamp, signed: &str, sent: &str) -> Call {
        let id = unique("msg");
        let seconds = at.millis() / 1_000;
        let signature = webhook::sign(secret, &id, seconds, signed.as_bytes()).unwrap();
        self.anonymous()
            .post("/v1/webhooks/payments")
            .header("webhook-id", &id)
            .header("webhook-timestamp", &seconds.to_string())
            .header("webhook-signature", &signature)
            .raw(sent.to_owned())
    }

    /// Invokes a function with an event, as the schedule or `cargo lambda invoke` does, and
    /// returns its answer.
    pub async fn invoke(&self, function: &str, event: &str) -> Value {
        let path = format!("/2015-03-31/functions/{function}/invocations");
        let answer = self.anonymous().post(&path).raw(event.to_owned()).send().await;
        assert_eq!(answer.header("x-amz-function-error"), None, "{}", answer.text());
        answer.expect(200)
    }
}

/// The stack that all tests share.
pub fn shared() -> &'static Stack {
    static SHARED: OnceLock<Stack> = OnceLock::new();
    SHARED.get_or_init(|| match std::env::var("UC_E2E_URL") {
        Ok(url) => running(url.trim_end_matches('/')),
        Err(_) => embedded(),
    })
}

/// The stack at `url`, which somebody else started.
fn running(url: &str) -> Stack {
    let port = url.rsplit(':').next().and_then(|port| port.parse().ok());
    let RunFile { api_key, webhook_secret, dynamodb, .. } =
        RunFile::read(port.expect("UC_E2E_URL ends in a port")).unwrap();
    let dynamodb = std::env::var("UC_E2E_DYNAMODB").unwrap_or(dynamodb);
    Stack { url: url.to_owned(), api_key, webhook_secret, dynamodb, queues: None, embedded: false }
}

/// A stack in this process. It lives on a thread of its own: each test's runtime ends with its
/// test.
fn embedded() -> Stack {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let own = Own::start().await;
            tell.send(own.stack.clone()).unwrap();
            std::future::pending::<()>().await;
        });
    });
    told.recv().expect("the embedded stack starts")
}

/// An embedded stack of one test's own.
pub struct Own {
    /// How to reach it.
    pub stack: Stack,
    running: uc_local::stack::Stack,
}

impl Own {
    /// Starts one in memory.
    pub async fn start() -> Self {
        Self::start_for(AllowedOrigins::Any).await
    }

    /// Starts one for web pages of these origins.
    pub async fn start_for(origins: AllowedOrigins) -> Self {
        let options = Options { port: 0, data: None, origins, quotas: Quotas::Unlimited };
        let (running, access, _) = wiring::start(&options, wiring::config()).await.unwrap();
        Self::of(running, access)
    }

    /// One that was started otherwise.
    pub fn of(running: uc_local::stack::Stack, access: Access) -> Self {
        let stack = Stack {
            url: running.url(),
            api_key: access.api_key,
            webhook_secret: access.webhook_secret,
            dynamodb: running.endpoints().dynamodb.clone(),
            queues: Some(running.queues().clone()),
            embedded: true,
        };
        Self { stack, running }
    }

    /// Moves its clock forward; the schedule fires.
    pub async fn advance(&self, seconds: i64) {
        let body = json!({"advance_seconds": seconds});
        self.stack.anonymous().post("/_local/clock").json(&body).send().await.expect(200);
    }

    /// What time it is there.
    pub fn now(&self) -> Timestamp {
        Clock::now(&**self.running.clock())
    }

    /// The journals behind it, at that time.
    pub fn ledger(&self) -> Ledger {
        self.stack.ledger_by(Arc::clone(self.running.clock()) as _)
    }

    /// Ends it.
    pub async fn stop(self) {
        self.running.shutdown().await.unwrap();
    }
}

/// A name that no other test and no earlier run has.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}-{:016x}", fastrand::u64(..))
}

/// What time it is on the shared stack.
pub fn now() -> Timestamp {
    SystemClock.now()
}

/// `seconds` from now, as it stands in JSON.
pub fn from_now(seconds: i64) -> String {
    now().saturating_add_millis(seconds * 1_000).to_string()
}

/// A file of `events/`.
pub fn event(file: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../events").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The JSON of a file of `events/`.
pub fn event_json(file: &str) -> Value {
    serde_json::from_str(&event(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// A decimal of an answer.
#[track_caller]
pub fn credits(value: &Value) -> Credits {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is no decimal string"));
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Adds credits to an account, and opens it where it is new.
pub async fn grant(api: &Client, account: &str, credits: &str) -> Value {
    api.post(&format!("/v1/accounts/{account}/grants"))
        .key(&unique("grant"))
        .json(&json!({"credits": credits, "source": "promo", "reason": "for a test"}))
        .send()
        .await
        .expect(201)
}

/// A new account with so many credits.
pub async fn open(api: &Client, prefix: &str, credits: &str) -> String {
    let account = unique(prefix);
    grant(api, &account, credits).await;
    account
}

/// A charge of fixed credits.
pub fn charge(api: &Client, account: &str, key: &str, credits: &str) -> Call {
    api.post(&format!("/v1/accounts/{account}/charges"))
        .key(key)
        .json(&json!({"credits": credits, "description": "for a test"}))
}

/// What an account has.
pub async fn balance(api: &Client, account: &str) -> Value {
    api.get(&format!("/v1/accounts/{account}")).send().await.expect(200)["balance"].clone()
}

/// Everything that happened in an account, the oldest first, read page by page.
pub async fn journal(api: &Client, account: &str) -> Vec<Value> {
    let mut all = pages(api, &format!("/v1/accounts/{account}/transactions?limit=100")).await;
    all.reverse();
    all
}

/// Every item of a list; the path has a query already.
pub async fn pages(api: &Client, path: &str) -> Vec<Value> {
    let mut all = Vec::new();
    let mut next = path.to_owned();
    loop {
        let page = api.get(&next).send().await.expect(200);
        all.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(cursor) => next = format!("{path}&cursor={cursor}"),
            None => return all,
        }
    }
}

/// Sends a request that names a version which was published just now. A process that looked for
/// news less than a second ago, for another request, says that it does not know it yet.
pub async fn priced(call: Call) -> Answer {
    for _ in 0..10 {
        let answer = call.clone().send().await;
        if answer.status != 409 {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    call.send().await
}

/// Publishes the ratio table in force with `change` made to its models, and returns the version.
/// Other tests publish, too: whoever comes second looks again.
pub async fn publish(api: &Client, change: impl Fn(&mut Value)) -> u64 {
    publish_table(api, |table| change(&mut table["models"])).await
}

/// The same with `change` made to all of it.
pub async fn publish_table(api: &Client, change: impl Fn(&mut Value)) -> u64 {
    for _ in 0..30 {
        let current = api.get("/v1/ratios").send().await;
        let etag = current.header("etag").unwrap().to_owned();
        let mut table = current.expect(200);
        change(&mut table);
        let answer = api.put("/v1/ratios").header("if-match", &etag).json(&table).send().await;
        if answer.status != 412 {
            return answer.expect(200)["version"].as_u64().unwrap();
        }
        tokio::time::sleep(Duration::from_millis(fastrand::u64(20..200))).await;
    }
    panic!("somebody else always publishes first");
}

/// A text model with these credits for a million input and output tokens.
pub fn text_model(input: &str, output: &str) -> Value {
    json!({
        "feature": "text",
        "ratios": [
            {"dimension": "input_tokens", "credits": input, "per": 1_000_000},
            {"dimension": "output_tokens", "credits": output, "per": 1_000_000},
        ],
    })
}

/// Sends a request until it was not turned away for the crowd.
pub async fn landed(call: Call) -> Answer {
    for _ in 0..5 {
        let answer = call.clone().send().await;
        if answer.status != 503 {
            return answer;
        }
    }
    call.send().await
}

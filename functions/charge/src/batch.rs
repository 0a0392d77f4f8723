//! `POST /v1/charges/batch`: many charges of many accounts in one request.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Extension, State};
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uc_domain::{AccountId, Timestamp};
use uc_http::scope::Charge as ChargeScope;
use uc_http::views::{BalanceView, OperationView};
use uc_http::{
    Access, Code, FieldError, IdempotencyKey, Problem, RequestLog, StrictJson, openapi,
    parse_typed, problems,
};
use utoipa::ToSchema;

use crate::Deps;
use crate::charges::{
    Answer, ChargeRequest, OnUnpriced, Prepared, Tables, Wanted, charge_account, tables_of,
};
use crate::unrated::UnratedView;

/// Operations of one batch at most.
const MAX_OPERATIONS: usize = 100;
/// Accounts that are written to at once.
const AT_ONCE: usize = 8;
/// Later no account's charges begin: the gateway gives up after 29 seconds, and a write after 10.
const BEGIN_WITHIN: Duration = Duration::from_secs(15);
/// What `Retry-After` would say for those, in seconds.
const RETRY_SECONDS: u32 = 2;
/// The fields of an operation that are not the charge's.
const ACCOUNT: &str = "account";
const KEY: &str = "idempotency_key";

/// One charge of a batch, or of the queue.
pub(crate) struct Asked {
    pub(crate) account: AccountId,
    pub(crate) charge: Prepared,
    /// When it was asked for.
    pub(crate) at: Timestamp,
}

impl Asked {
    /// Reads one operation, as it was asked for at `at`.
    pub(crate) fn read(
        mut operation: Value,
        at: Timestamp,
        on_unpriced: OnUnpriced,
    ) -> Result<Self, Problem> {
        let Value::Object(fields) = &mut operation else {
            return Err(Problem::invalid_request("An operation is an object."));
        };
        let account: AccountId = take(fields, ACCOUNT)?;
        let key: IdempotencyKey = take(fields, KEY)?;
        let body: ChargeRequest = parse_typed(&operation)?;
        let request = StrictJson { body, value: operation };
        let charge = Prepared::read(&account, key, request, at, on_unpriced, None)?;
        Ok(Self { account, charge, at })
    }
}

/// Reads a body as a charge, as a message and as a batch.
#[cfg(fuzzing)]
pub(crate) fn read_anyhow(body: &[u8], now: Timestamp) {
    let (account, key) = ("acme".parse().expect("an id"), "k".parse().expect("a key"));
    if let Ok(charge) = uc_http::parse_strict::<ChargeRequest>(body) {
        let _ = Prepared::read(&account, key, charge, now, OnUnpriced::Refuse, None);
    }
    if let Ok(operation) = uc_http::parse_strict::<Value>(body) {
        let _ = Asked::read(operation.value, now, OnUnpriced::Park);
    }
    if let Ok(batch) = uc_http::parse_strict::<BatchRequest>(body) {
        let _ = twice(&batch.body.operations);
        for operation in batch.body.operations {
            let _ = Asked::read(operation, now, OnUnpriced::Refuse);
        }
    }
}

/// Takes a field out of an operation.
fn take<T: serde::de::DeserializeOwned>(
    fields: &mut serde_json::Map<String, Value>,
    name: &str,
) -> Result<T, Problem> {
    let value = fields.remove(name);
    let pointer = format!("/{name}");
    let value = value.ok_or_else(|| Problem::invalid_field(&*pointer, "missing"))?;
    T::deserialize(value).map_err(|error| Problem::invalid_field(pointer, error.to_string()))
}

/// Charges in the order given, those of one account in as few entries as they fit into, those of
/// several accounts at once. `may_begin` is asked before those of an account begin; where it says
/// no, they are left out, and have no answer.
pub(crate) async fn charge(
    deps: &Deps,
    asked: &[Asked],
    log: &RequestLog,
    may_begin: impl Fn() -> bool + Sync,
) -> Vec<Option<Result<Answer, Problem>>> {
    let mut wanted = Wanted::new();
    let mut groups: Vec<(&AccountId, Vec<usize>)> = Vec::new();
    let mut group_of: HashMap<&AccountId, usize> = HashMap::new();
    for (index, one) in asked.iter().enumerate() {
        one.charge.want(one.at, &mut wanted);
        let group = *group_of.entry(&one.account).or_insert_with(|| {
            groups.push((&one.account, Vec::new()));
            groups.len() - 1
        });
        groups[group].1.push(index);
    }
    let since = deps.ratios.now();
    let tables = tables_of(deps, wanted, log).await;
    let done: Vec<_> = groups
        .into_iter()
        .map(|(account, indices)| {
            charge_group(deps, account, indices, asked, (&tables, since), log, &may_begin)
        })
        .collect();
    let mut answers: Vec<_> = asked.iter().map(|_| None).collect();
    let mut done = stream::iter(done).buffer_unordered(AT_ONCE);
    while let Some(group) = done.next().await {
        for (index, answer) in group {
            answers[index] = Some(answer);
        }
    }
    answers
}

/// The charges of one account, by their places in what was asked.
async fn charge_group(
    deps: &Deps,
    account: &AccountId,
    indices: Vec<usize>,
    asked: &[Asked],
    tables: (&Tables, Timestamp),
    log: &RequestLog,
    may_begin: &(impl Fn() -> bool + Sync),
) -> Vec<(usize, Result<Answer, Problem>)> {
    if !may_begin() {
        return Vec::new();
    }
    let charges: Vec<_> = indices.iter().map(|index| &asked[*index].charge).collect();
    let answers = charge_account(deps, account, &charges, tables, log).await;
    indices.into_iter().zip(answers).collect()
}

/// One operation of a batch: a charge, with its account and key.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes in the OpenAPI document what is read from a value")]
struct BatchOperation {
    #[schema(value_type = openapi::AccountId)]
    account: String,
    /// 1 to 255 visible ASCII characters; in a batch once an account.
    idempotency_key: String,
    /// See `ChargeRequest`, like all that follow.
    items: Option<Vec<uc_http::items::Item>>,
    model: Option<String>,
    #[schema(value_type = Option<BTreeMap<String, openapi::Quantity>>)]
    usage: Option<BTreeMap<String, String>>,
    parameters: Option<BTreeMap<String, String>>,
    provider: Option<String>,
    #[schema(value_type = Option<openapi::ProviderResponse>)]
    provider_response: Option<Value>,
    #[schema(value_type = Option<openapi::Decimal>)]
    credits: Option<String>,
    description: Option<String>,
    ratio_version: Option<u64>,
    #[schema(value_type = Option<openapi::Decimal>)]
    max_credits: Option<String>,
    #[schema(value_type = Option<openapi::Instant>)]
    occurred_at: Option<String>,
    actor: Option<String>,
    metadata: Option<BTreeMap<String, String>>,
    on_unpriced: Option<OnUnpriced>,
}

/// Charges of any accounts.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BatchRequest {
    /// 1 to 100 of them. Those of one account are charged in this order.
    #[schema(value_type = Vec<BatchOperation>)]
    operations: Vec<Value>,
}

/// What became of one operation of a batch.
#[derive(Debug, Serialize, ToSchema)]
struct BatchResult {
    /// What it would have been answered with on its own: 201, 202 or a problem's status.
    status: u16,
    /// The charge.
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<OperationView>,
    /// The account's balance after the charges that were written with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    balance: Option<BalanceView>,
    /// Whether it had happened before, and this is the first answer again.
    replayed: bool,
    /// Its usage, where no ratio prices it and it is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    unrated: Option<UnratedView>,
    /// Why it did not happen. Pointers are relative to the operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Problem>,
}

impl From<Result<Answer, Problem>> for BatchResult {
    fn from(answer: Result<Answer, Problem>) -> Self {
        let none = Self {
            status: 201,
            operation: None,
            balance: None,
            replayed: false,
            unrated: None,
            error: None,
        };
        match answer {
            Ok(Answer::Charged(outcome)) => Self {
                replayed: outcome.replayed,
                balance: Some(outcome.state.balance().into()),
                operation: Some(OperationView::new(outcome.happened, true)),
                ..none
            },
            Ok(Answer::Unrated(unrated, replayed)) => {
                Self { status: 202, replayed, unrated: Some(*unrated), ..none }
            }
            Err(problem) => {
                Self { status: problem.code().status().as_u16(), error: Some(problem), ..none }
            }
        }
    }
}

/// What became of a batch.
#[derive(Debug, Serialize, ToSchema)]
struct BatchAnswer {
    /// One for each operation, in their order.
    results: Vec<BatchResult>,
}

problems!(BatchProblems = PayloadTooLarge, LimitExceeded);

/// Charges many accounts for what was used, each operation on its own: what is wrong with one
/// holds up none of the others. Each is the same as `POST /v1/accounts/{account}/charges` with its
/// key, so either may be sent again as the other.
#[utoipa::path(
    post,
    path = "/v1/charges/batch",
    operation_id = "create_charges",
    tag = "charge",
    security(("bearer" = ["charge"])),
    request_body = BatchRequest,
    responses(
        (status = 200, description = "A result for each operation", body = BatchAnswer),
        BatchProblems
    )
)]
async fn create_charges(
    _: Access<ChargeScope>,
    State(deps): State<Deps>,
    Extension(log): Extension<RequestLog>,
    request: StrictJson<BatchRequest>,
) -> Result<Json<BatchAnswer>, Problem> {
    let operations = request.body.operations;
    if operations.is_empty() {
        return Err(Problem::invalid_field("/operations", "1 to 100 operations"));
    }
    if operations.len() > MAX_OPERATIONS {
        let detail = "at most 100 operations".to_owned();
        let error = FieldError { pointer: "/operations".to_owned(), detail };
        let problem = Problem::new(Code::LimitExceeded, "A batch has at most 100 operations.");
        return Err(problem.with_error(error));
    }
    let twice = twice(&operations);
    if !twice.is_empty() {
        let detail = "An account's idempotency key is there twice; nothing was charged.";
        return Err(Problem::invalid_request(detail).with_errors(twice));
    }
    let now = deps.ledger.now();
    let mut results: Vec<Option<BatchResult>> = Vec::with_capacity(operations.len());
    let (mut asked, mut places) = (Vec::new(), Vec::new());
    for (place, operation) in operations.into_iter().enumerate() {
        match Asked::read(operation, now, OnUnpriced::Refuse) {
            Ok(one) => {
                asked.push(one);
                places.push(place);
                results.push(None);
            }
            Err(problem) => results.push(Some(Err(problem).into())),
        }
    }
    let started = Instant::now();
    let answers = charge(&deps, &asked, &log, || started.elapsed() < BEGIN_WITHIN).await;
    for (place, answer) in places.into_iter().zip(answers) {
        results[place] = Some(answer.unwrap_or_else(|| Err(not_begun())).into());
    }
    let results = results.into_iter().flatten().collect();
    Ok(Json(BatchAnswer { results }))
}

fn not_begun() -> Problem {
    let detail = "There was no time left for it: send it again.";
    Problem::new(Code::Unavailable, detail).with_retry_after(RETRY_SECONDS)
}

/// Operations with the account and the key of an earlier one.
fn twice(operations: &[Value]) -> Vec<FieldError> {
    let mut first: HashMap<(&str, &str), usize> = HashMap::new();
    let mut errors = Vec::new();
    for (index, operation) in operations.iter().enumerate() {
        let (Some(account), Some(key)) = (operation[ACCOUNT].as_str(), operation[KEY].as_str())
        else {
            continue;
        };
        let first = *first.entry((account, key)).or_insert(index);
        if first != index {
            errors.push(FieldError {
                pointer: format!("/operations/{index}/{KEY}"),
                detail: format!("operation {first} has it for the same account"),
            });
        }
    }
    errors
}

uc_http::operations!(Deps; create_charges);

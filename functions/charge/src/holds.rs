//! Holds: credits reserved for work that is about to begin, and its charge when it is done.

use std::collections::BTreeMap;

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uc_domain::account::{AccountState, Command, Detail, HoldId, HoldRequest};
use uc_domain::{AccountId, Credits};
use uc_http::estimates::{AskedItem, EstimateItem, Prices};
use uc_http::scope::Charge as ChargeScope;
use uc_http::views::{self, BalanceView, HoldView, Moved, OperationView};
use uc_http::{
    AccountAccess, Code, IdempotencyKey, PathParams, Problem, RequestLog, StrictJson, fingerprint,
    items, labels, openapi, parse_typed, problems, refusals, tables,
};
use uc_ledger::{Ask, Asked, Outcome, Private, evidence};
use uc_ratios::Versioned;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::Deps;
use crate::charges::{Answer, ChargeRequest, Prepared, Tables, charge_account};
use crate::unrated::Parked;

/// Items of one hold at most, as of an estimate.
const MAX_ITEMS: usize = 50;
/// What a hold lives for where nothing is said, in seconds.
const DEFAULT_TTL: u32 = 900;
/// What it lives for at most, in seconds: [`uc_domain::account::MAX_HOLD_MILLIS`].
const MAX_TTL: u32 = 86_400;
/// The field of a capture that is not the charge's.
const FINAL: &str = "final";

/// Which bound of the estimate to reserve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Reserve {
    /// The most that it can cost.
    #[default]
    Max,
    /// What is most likely.
    Expected,
}

/// What becomes of a hold that is larger than what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum OnShortfall {
    /// It is refused.
    #[default]
    Refuse,
    /// What there is is reserved.
    Partial,
}

/// What to reserve for: items as in an estimate, or so many credits.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CreateHold {
    /// 1 to 50 items, as in an estimate.
    items: Option<Vec<EstimateItem>>,
    /// So many credits, not below zero.
    #[schema(value_type = Option<openapi::Decimal>)]
    credits: Option<Credits>,
    /// Which bound of the items' estimate to reserve; `max` where not given.
    reserve: Option<Reserve>,
    /// The version that an estimate named. The hold keeps it: its captures have these prices.
    ratio_version: Option<u64>,
    /// For how long, in seconds: 1 to 86,400, 900 where not given.
    #[schema(minimum = 1, maximum = 86_400, default = 900)]
    ttl_seconds: Option<u32>,
    /// What becomes of it where there is not enough; `refuse` where not given.
    on_shortfall: Option<OnShortfall>,
    /// Who in the account caused it: 1 to 128 characters.
    actor: Option<String>,
    /// The caller's labels: at most 20, together at most 512 bytes.
    metadata: Option<BTreeMap<String, String>>,
}

/// What is answered about a hold.
#[derive(Debug, Serialize, ToSchema)]
struct Held {
    /// The hold after the operation.
    hold: HoldView,
    /// The operation.
    operation: OperationView,
    /// The balance after it.
    balance: BalanceView,
}

impl Held {
    fn new(outcome: Outcome, hold: HoldView) -> Self {
        let balance = outcome.state.balance().into();
        Self { hold, operation: OperationView::new(outcome.happened, true), balance }
    }
}

problems!(
    HoldProblems = IdempotencyKeyMissing,
    InsufficientCredits,
    AccountSuspended,
    AccountNotFound,
    Conflict,
    PayloadTooLarge,
    IdempotencyKeyReused,
    UnknownModel,
    UnknownPriceGroup,
    UnpricedDimension,
    ProviderUnknown,
    UsageMissing,
    UsageContradictory,
    LimitExceeded
);

/// Reserves credits for work that is about to begin. Nothing is taken yet; what is reserved nobody
/// else can spend, until the hold is captured, voided, or expires. Work that costs nothing has a hold
/// of nothing, so that nobody has to go another way for it.
#[utoipa::path(
    post,
    path = "/v1/accounts/{account}/holds",
    operation_id = "create_hold",
    tag = "charge",
    params(
        ("account" = openapi::AccountId, Path),
        ("Idempotency-Key" = String, Header, description = "1 to 255 visible ASCII characters"),
    ),
    security(("bearer" = ["charge"])),
    request_body = CreateHold,
    responses((status = 201, description = "Reserved", body = Held), HoldProblems)
)]
async fn create_hold(
    access: AccountAccess<ChargeScope>,
    State(deps): State<Deps>,
    Extension(log): Extension<RequestLog>,
    key: IdempotencyKey,
    request: StrictJson<CreateHold>,
) -> Result<Response, Problem> {
    let account = &access.account;
    let path = format!("/v1/accounts/{account}/holds");
    let fingerprint = fingerprint("POST", &path, &request.value);
    let CreateHold {
        items,
        credits,
        reserve,
        ratio_version,
        ttl_seconds,
        on_shortfall,
        actor,
        metadata,
    } = request.body;
    let private =
        labels::private(access.caller.token_actor(), actor.as_deref(), None, metadata.as_ref())?;
    let basis = match (items, credits) {
        (Some(items), None) => Basis::Items(read_items(items)?, reserve.unwrap_or_default()),
        (None, Some(credits)) => {
            if credits.is_negative() {
                return Err(Problem::invalid_field("/credits", "not below zero"));
            }
            if reserve.is_some() {
                let detail = "Which bound to reserve is a question of items only.";
                return Err(Problem::invalid_field("/reserve", detail));
            }
            Basis::Fixed(credits)
        }
        _ => {
            let detail = "A hold is for items or for credits: exactly one of them.";
            return Err(Problem::invalid_request(detail));
        }
    };
    let millis = millis(ttl_seconds.unwrap_or(DEFAULT_TTL))?;
    let partial = on_shortfall == Some(OnShortfall::Partial);
    // A table that is not to be had any more must not hide that this already happened.
    let now = deps.ledger.now();
    let table = match (&basis, ratio_version) {
        (Basis::Fixed(_), None) => None,
        _ => Some(tables::for_request(&deps.ratios, ratio_version, now, &log).await),
    };
    let since = deps.ratios.now();
    let mut newest = tables::beside(&deps.ratios, ratio_version).await;
    let mut looked = false;
    let outcome = loop {
        let decide = |state: &AccountState| -> Result<Command, Problem> {
            let table =
                table.as_ref().map(|table| table.as_ref().map_err(Problem::clone)).transpose()?;
            let credits = match &basis {
                Basis::Fixed(credits) => *credits,
                Basis::Items(asked, reserve) => {
                    let tables = (&**table.expect("loaded for items"), newest.as_deref());
                    estimated((asked, millis), *reserve, tables, state, deps.ledger.now())?
                }
            };
            let price_group = Some(state.settings().price_group.clone());
            let ratio_version = table.map(|table| table.version);
            Ok(Command::Hold(HoldRequest { credits, millis, partial, ratio_version, price_group }))
        };
        let ask = Ask::by_client(account, key.as_str(), fingerprint, private.clone());
        match deps.ledger.execute(&ask, decide).await {
            // Whoever gives an account a new group has just published it.
            Err(Asked::Decided(problem))
                if problem.code() == Code::UnknownPriceGroup && !looked =>
            {
                looked = true;
                let known = newest.as_ref().or_else(|| table.as_ref()?.as_ref().ok());
                let known = known.map_or(0, |known| known.version);
                newest = tables::news(&deps.ratios, known, since, &log).await.or(newest);
            }
            outcome => break outcome,
        }
    };
    let outcome = outcome.map_err(|error| refusals::asked(error, account))?;
    log.retries(outcome.retries, outcome.conflicts);
    let hold = opened(&outcome);
    let replayed = outcome.replayed;
    Ok(views::created(replayed, Held::new(outcome, hold)))
}

/// What to reserve for.
enum Basis {
    Items(Vec<AskedItem>, Reserve),
    Fixed(Credits),
}

fn read_items(items: Vec<EstimateItem>) -> Result<Vec<AskedItem>, Problem> {
    if !(1..=MAX_ITEMS).contains(&items.len()) {
        return Err(Problem::invalid_field("/items", "1 to 50 items"));
    }
    let read = |(index, item): (usize, EstimateItem)| item.read(format!("/items/{index}"));
    items.into_iter().enumerate().map(read).collect()
}

/// Reads what to capture, and whether it is the last of its hold.
fn read_capture(mut body: Value) -> Result<(ChargeRequest, bool), Problem> {
    let last = match body.as_object_mut().and_then(|fields| fields.remove(FINAL)) {
        None => true,
        Some(Value::Bool(last)) => last,
        Some(_) => return Err(Problem::invalid_field("/final", "true or false")),
    };
    Ok((parse_typed(&body)?, last))
}

/// Reads a body as what to hold, to capture, to extend and to void.
#[cfg(fuzzing)]
pub(crate) fn read_anyhow(body: &[u8], now: uc_domain::Timestamp) {
    if let Ok(hold) = uc_http::parse_strict::<CreateHold>(body) {
        let _ = hold.body.items.map(read_items);
        let _ = hold.body.ttl_seconds.map(millis);
    }
    if let Ok((charge, last)) =
        uc_http::parse_strict(body).and_then(|body: StrictJson<Value>| read_capture(body.value))
    {
        let key = "k".parse().expect("a key");
        let hold = HoldId(uc_domain::account::OperationId { seq: 1, position: 0 });
        let _ = Prepared::capture(key, [0; 16], charge, now, hold, last);
    }
    let _ = uc_http::parse_strict::<ExtendHold>(body);
    let _ = uc_http::parse_strict::<VoidHold>(body);
}

fn millis(seconds: u32) -> Result<i64, Problem> {
    if (1..=MAX_TTL).contains(&seconds) {
        return Ok(i64::from(seconds) * 1_000);
    }
    Err(Problem::invalid_field("/ttl_seconds", "1 to 86,400"))
}

fn estimated(
    (asked, millis): (&[AskedItem], i64),
    reserve: Reserve,
    (table, newest): (&Versioned, Option<&Versioned>),
    state: &AccountState,
    now: uc_domain::Timestamp,
) -> Result<Credits, Problem> {
    let newest = newest.map(|newest| &newest.table);
    let multiplier = items::multiplier(&table.table, newest, &state.settings().price_group)?;
    let until = now.saturating_add_millis(millis);
    let prices = Prices { table: &table.table, multiplier, now, until };
    let mut sum = 0;
    for item in asked {
        let bounds = prices.of(item, None)?.credits;
        sum += match reserve {
            Reserve::Max => bounds.max.micros(),
            Reserve::Expected => bounds.expected.micros(),
        };
    }
    Credits::from_micros(sum)
        .ok_or_else(|| Problem::new(Code::LimitExceeded, "The items cost more than 10^15 credits."))
}

/// The hold as it was opened, also where this is a replay.
fn opened(outcome: &Outcome) -> HoldView {
    let operation = &outcome.happened.operation;
    match operation.detail {
        Detail::Hold { credits, expires_at, ratio_version, .. } => HoldView {
            id: HoldId(operation.id).to_string(),
            credits,
            expires_at: Some(expires_at),
            status: "open",
            ratio_version,
        },
        ref other => unreachable!("a hold was asked for, not a {}", other.kind()),
    }
}

fn hold_of(path: &PathParams) -> Result<HoldId, Problem> {
    let hold: String = path.get("hold")?;
    hold.parse().map_err(|_| Problem::new(Code::NotFound, "There is no such hold."))
}

problems!(
    CaptureProblems = IdempotencyKeyMissing,
    InsufficientCredits,
    AccountNotFound,
    NotFound,
    Conflict,
    HoldExpired,
    HoldCaptured,
    HoldVoided,
    PayloadTooLarge,
    IdempotencyKeyReused,
    UnknownModel,
    UnknownPriceGroup,
    UnpricedDimension,
    ProviderUnknown,
    UsageMissing,
    UsageContradictory,
    LimitExceeded
);

/// Describes the body, which is read in two steps: a charge, and whether it ends the hold.
enum CaptureRequest {}

impl ToSchema for CaptureRequest {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        ChargeRequest::schemas(schemas);
    }
}

impl PartialSchema for CaptureRequest {
    fn schema() -> RefOr<Schema> {
        // One object: of two, each would refuse what only the other has.
        let RefOr::T(Schema::Object(mut capture)) = ChargeRequest::schema() else {
            unreachable!("a charge is an object");
        };
        let last = ObjectBuilder::new().schema_type(Type::Boolean).description(Some(
            "Whether the work is done: then the hold ends, and what is left of it is given back. \
             True where not given.",
        ));
        capture.description =
            Some("A capture: a charge, and whether it ends the hold (`final`).".to_owned());
        capture.properties.insert("final".to_owned(), last.into());
        capture.into()
    }
}

/// Charges for work that a hold was opened for, by the hold's version of the ratios and the price
/// group that the account has by now. What is
/// below the hold is given back, what is above is charged as any other usage. Several captures may
/// be made; `final` ends the hold. A hold that expired is captured late, for seven days. Usage that
/// no ratio prices is kept as unrated where `on_unpriced` does not say otherwise.
#[utoipa::path(
    post,
    path = "/v1/accounts/{account}/holds/{hold}/capture",
    operation_id = "capture_hold",
    tag = "charge",
    params(
        ("account" = openapi::AccountId, Path),
        ("hold" = String, Path),
        ("Idempotency-Key" = String, Header, description = "1 to 255 visible ASCII characters"),
    ),
    security(("bearer" = ["charge"])),
    request_body = CaptureRequest,
    responses(
        (status = 201, description = "Charged", body = Moved),
        (status = 202, description = "No ratio prices it; it is kept as unrated", body = Parked),
        CaptureProblems
    )
)]
async fn capture_hold(
    access: AccountAccess<ChargeScope>,
    State(deps): State<Deps>,
    Extension(log): Extension<RequestLog>,
    path: PathParams,
    key: IdempotencyKey,
    request: StrictJson<Value>,
) -> Result<Response, Problem> {
    let account = &access.account;
    let hold = hold_of(&path)?;
    let route = format!("/v1/accounts/{account}/holds/{hold}/capture");
    let fingerprint = fingerprint("POST", &route, &request.value);
    let (charge, last) = read_capture(request.value)?;
    let now = deps.ledger.now();
    let capture = Prepared::capture(key, fingerprint, charge, now, hold, last)?;
    // The table in force is the one that the hold promised, but for the rare hold that was opened
    // before a publication: what the account says of that is seen when it is read.
    let current = tables::for_request(&deps.ratios, None, now, &log).await;
    let since = deps.ratios.now();
    let mut tables = Tables::from([(None, current.clone())]);
    let answer = loop {
        let answers = charge_account(&deps, account, &[&capture], (&tables, since), &log).await;
        let answer = answers.into_iter().next().expect("an answer for each charge");
        let Some(version) = capture.missing().filter(|_| answer.is_err()) else { break answer };
        let table = if tables::is_promised(&deps.ratios, version).await? {
            deps.ratios.version(version).await.map_err(Problem::from)
        } else {
            current.clone()
        };
        if tables.insert(Some(version), table).is_some() {
            break answer;
        }
    };
    match answer {
        Ok(Answer::Charged(outcome)) => Ok(views::moved(*outcome)),
        Ok(Answer::Unrated(unrated, replayed)) => {
            let mut response = views::created(replayed, Parked { unrated: *unrated });
            *response.status_mut() = StatusCode::ACCEPTED;
            Ok(response)
        }
        Err(problem) => Err(ended(&deps, account, hold, problem).await?),
    }
}

/// Why a hold is not there to be captured, extended or voided, said more closely than the account's
/// state can: it was voided, or never opened.
async fn ended(
    deps: &Deps,
    account: &AccountId,
    hold: HoldId,
    problem: Problem,
) -> Result<Problem, Problem> {
    if problem.code() != Code::HoldCaptured {
        return Ok(problem);
    }
    if deps.ledger.hold_was_voided(account, hold).await? {
        return Ok(Problem::new(Code::HoldVoided, "The hold was voided."));
    }
    let opening = deps.ledger.operation(account, hold.0).await?;
    match opening.map(|happened| happened.operation.detail) {
        Some(Detail::Hold { .. }) => Ok(problem),
        _ => Ok(Problem::new(Code::NotFound, "There is no such hold.")),
    }
}

/// For how much longer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ExtendHold {
    /// Seconds from now, 1 to 86,400.
    #[schema(minimum = 1, maximum = 86_400)]
    ttl_seconds: u32,
}

problems!(
    EndProblems = IdempotencyKeyMissing,
    AccountNotFound,
    NotFound,
    HoldExpired,
    HoldCaptured,
    HoldVoided,
    PayloadTooLarge,
    IdempotencyKeyReused,
    LimitExceeded
);

/// Lets an open hold expire later: so many seconds from now, never sooner than it would have, and
/// at most seven days after it was opened.
#[utoipa::path(
    post,
    path = "/v1/accounts/{account}/holds/{hold}/extend",
    operation_id = "extend_hold",
    tag = "charge",
    params(
        ("account" = openapi::AccountId, Path),
        ("hold" = String, Path),
        ("Idempotency-Key" = String, Header, description = "1 to 255 visible ASCII characters"),
    ),
    security(("bearer" = ["charge"])),
    request_body = ExtendHold,
    responses((status = 200, description = "Extended", body = Held), EndProblems)
)]
async fn extend_hold(
    access: AccountAccess<ChargeScope>,
    State(deps): State<Deps>,
    Extension(log): Extension<RequestLog>,
    path: PathParams,
    key: IdempotencyKey,
    request: StrictJson<ExtendHold>,
) -> Result<Response, Problem> {
    let account = &access.account;
    let hold = hold_of(&path)?;
    let route = format!("/v1/accounts/{account}/holds/{hold}/extend");
    let fingerprint = fingerprint("POST", &route, &request.value);
    let millis = millis(request.body.ttl_seconds)?;
    let ask = Ask::by_client(account, key.as_str(), fingerprint, Private::default());
    let command = Command::ExtendHold { hold, millis };
    let outcome = deps.ledger.execute(&ask, |_| Ok(command.clone())).await;
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => {
            return Err(ended(&deps, account, hold, refusals::asked(error, account)).await?);
        }
    };
    log.retries(outcome.retries, outcome.conflicts);
    let open = outcome.state.hold(hold).map(HoldView::open);
    let hold = open.unwrap_or_else(|| HoldView::ended(hold, "expired"));
    Ok(answered(outcome, hold))
}

/// Nothing has to be said.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct VoidHold {}

/// Gives back what an open hold reserves. Nothing is charged.
#[utoipa::path(
    post,
    path = "/v1/accounts/{account}/holds/{hold}/void",
    operation_id = "void_hold",
    tag = "charge",
    params(
        ("account" = openapi::AccountId, Path),
        ("hold" = String, Path),
        ("Idempotency-Key" = String, Header, description = "1 to 255 visible ASCII characters"),
    ),
    security(("bearer" = ["charge"])),
    request_body = VoidHold,
    responses((status = 200, description = "Given back", body = Held), EndProblems)
)]
async fn void_hold(
    access: AccountAccess<ChargeScope>,
    State(deps): State<Deps>,
    Extension(log): Extension<RequestLog>,
    path: PathParams,
    key: IdempotencyKey,
    request: StrictJson<VoidHold>,
) -> Result<Response, Problem> {
    let account = &access.account;
    let hold = hold_of(&path)?;
    let route = format!("/v1/accounts/{account}/holds/{hold}/void");
    let fingerprint = fingerprint("POST", &route, &request.value);
    let mark = |_: &uc_domain::account::Operation| vec![evidence::voided_hold_put(account, hold)];
    let ask = Ask {
        extra: &mark,
        ..Ask::by_client(account, key.as_str(), fingerprint, Private::default())
    };
    let outcome = deps.ledger.execute(&ask, |_| Ok(Command::VoidHold(hold))).await;
    let outcome = match outcome {
        Ok(outcome) => outcome,
        // Somebody voided it meanwhile.
        Err(Asked::Prevented(..)) => {
            return Err(Problem::new(Code::HoldVoided, "The hold was voided."));
        }
        Err(error) => {
            return Err(ended(&deps, account, hold, refusals::asked(error, account)).await?);
        }
    };
    log.retries(outcome.retries, outcome.conflicts);
    Ok(answered(outcome, HoldView::ended(hold, "voided")))
}

fn answered(outcome: Outcome, hold: HoldView) -> Response {
    let replayed = outcome.replayed;
    let mut response = views::created(replayed, Held::new(outcome, hold));
    *response.status_mut() = StatusCode::OK;
    response
}

uc_http::operations!(Deps; create_hold, capture_hold, extend_hold, void_hold);

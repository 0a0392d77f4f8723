//! Grants by an operator, and what corrects them: voids, and write-offs of debt.

use std::collections::BTreeMap;

use axum::extract::{Extension, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use uc_domain::account::{
    AccountState, Command, Detail, Grant as Held, GrantId, GrantRequest, Operation, Rejection,
    Source,
};
use uc_domain::{Credits, Timestamp};
use uc_http::scope::Grant;
use uc_http::views::{self, BalanceView, Moved, OperationView};
use uc_http::{
    AccountAccess, Code, IdempotencyKey, PathParams, Problem, RequestLog, StrictJson, fingerprint,
    labels, openapi, problems, refusals,
};
use uc_ledger::{Ask, Asked, Outcome, evidence};
use utoipa::ToSchema;

use crate::payments::{MODE, RETRY_SECONDS, TRIES};
use crate::{Deps, Paid, check_credits};

/// Credits to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GrantBody {
    /// How many, above zero, at most 10^12.
    #[schema(value_type = openapi::Decimal)]
    credits: Credits,
    /// Where they come from.
    #[schema(value_type = views::GrantSource)]
    source: Source,
    /// From when on they are gone; never where not given.
    #[schema(value_type = Option<openapi::Instant>)]
    expires_at: Option<Timestamp>,
    /// From when on they count; at once where not given.
    #[schema(value_type = Option<openapi::Instant>)]
    effective_at: Option<Timestamp>,
    /// Lower is spent first; 100 for paid ones, 50 for others where not given.
    priority: Option<u8>,
    /// What was paid for them; with the source `paid` only.
    paid: Option<Paid>,
    /// Why: 1 to 512 characters.
    reason: String,
    /// Who did it: 1 to 128 characters.
    actor: Option<String>,
    /// The caller's labels: at most 20, together at most 512 bytes.
    metadata: Option<BTreeMap<String, String>>,
}

/// Names a grant.
#[derive(Debug, Serialize, ToSchema)]
struct GrantReference {
    /// Its id.
    #[schema(example = "gr_1_0")]
    id: String,
}

/// A grant that was made.
#[derive(Debug, Serialize, ToSchema)]
pub struct Granted {
    /// The operation.
    operation: OperationView,
    /// Where the credits are.
    grant: GrantReference,
    /// The balance after it.
    balance: BalanceView,
}

problems!(
    GrantProblems = IdempotencyKeyMissing,
    AccountSuspended,
    PayloadTooLarge,
    IdempotencyKeyReused,
    LimitExceeded
);

/// Adds credits to an account, and opens it where it is new. Debt is paid first.
#[utoipa::path(
    post,
    path = "/v1/accounts/{account}/grants",
    operation_id = "create_grant",
    tag = "topup",
    params(
        ("account" = openapi::AccountId, Path),
        ("Idempotency-Key" = String, Header, description = "1 to 255 visible ASCII characters"),
    ),
    security(("bearer" = ["grant"])),
    request_body = GrantBody,
    responses(
        (status = 201, description = "Granted", body = Granted),
        GrantProblems
    )
)]
async fn create_grant(
    access: AccountAccess<Grant>,
    State(deps): State<Deps>,
    Extension(log): Extension<RequestLog>,
    key: IdempotencyKey,
    request: StrictJson<GrantBody>,
) -> Result<Response, Problem> {
    let account = &access.account;
    let path = format!("/v1/accounts/{account}/grants");
    let fingerprint = fingerprint("POST", &path, &request.value);
    let GrantBody {
        credits,
        source,
        expires_at,
        effective_at,
        priority,
        paid,
        reason,
        actor,
        metadata,
    } = request.body;
    let reason = Some(("/reason", reason.as_str()));
    let actor = access.caller.operator(actor.as_deref());
    let private = labels::private(None, actor, reason, metadata.as_ref())?;
    check_credits(credits, "/credits")?;
    if paid.is_some() && source != Source::Paid {
        return Err(Problem::invalid_field("/paid", "goes with the source paid only"));
    }
    let paid = paid.map(|paid| paid.check("/paid")).transpose()?;
    let request = GrantRequest {
        amount: credits,
        source,
        priority,
        effective_at,
        expires_at,
        paid,
        rollover: None,
    };

    let ask = Ask::by_client(account, key.as_str(), fingerprint, private);
    let ask = Ask { opens: true, ..ask };
    let decide = |state: &AccountState| {
        // Decided on the account's own time, and inside, so that a replay long after the expiry
        // is a replay still.
        let now = state.settled_at();
        if expires_at.is_some_and(|expires_at| expires_at <= effective_at.unwrap_or(now).max(now)) {
            let detail = "later than now and than effective_at";
            return Err(Problem::invalid_field("/expires_at", detail));
        }
        Ok(Command::Grant(request.clone()))
    };
    let outcome = deps.ledger.execute(&ask, decide).await;
    let outcome = outcome.map_err(|error| refusals::asked(error, account))?;
    log.retries(outcome.retries, outcome.conflicts);
    Ok(granted(outcome))
}

fn granted(outcome: Outcome) -> Response {
    let grant = GrantReference { id: grant_id(&outcome.happened.operation) };
    let replayed = outcome.replayed;
    let balance = outcome.state.balance().into();
    let operation = OperationView::new(outcome.happened, true);
    views::created(replayed, Granted { operation, grant, balance })
}

fn grant_id(operation: &Operation) -> String {
    match &operation.detail {
        Detail::Grant { grant, .. } => grant.to_string(),
        other => unreachable!("a grant was asked for, not a {}", other.kind()),
    }
}

/// Which of a void's further items says that the grant was voided.
const MARK: usize = 0;

/// Why something is corrected.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct VoidBody {
    /// Why: 1 to 512 characters.
    reason: String,
    /// Who did it: 1 to 128 characters.
    actor: Option<String>,
    /// The caller's labels: at most 20, together at most 512 bytes.
    metadata: Option<BTreeMap<String, String>>,
}

problems!(
    VoidProblems = IdempotencyKeyMissing,
    AccountNotFound,
    NotFound,
    Conflict,
    GrantVoided,
    PayloadTooLarge,
    IdempotencyKeyReused,
    LimitExceeded
);

/// Forfeits what is left of a grant. What was spent of it stays spent, and what open holds reserve
/// of it can still be captured; what they give back is forfeited, too. A grant of bought credits is
/// voided as a whole or not at all: not while holds reserve of it, nor where it has become one with
/// others; and what a refund gave back is charged again instead.
#[utoipa::path(
    post,
    path = "/v1/accounts/{account}/grants/{grant}/void",
    operation_id = "void_grant",
    tag = "topup",
    params(
        ("account" = openapi::AccountId, Path),
        ("grant" = String, Path),
        ("Idempotency-Key" = String, Header, description = "1 to 255 visible ASCII characters"),
    ),
    security(("bearer" = ["grant"])),
    request_body = VoidBody,
    responses((status = 200, description = "Forfeited", body = Moved), VoidProblems)
)]
async fn void_grant(
    access: AccountAccess<Grant>,
    State(deps): State<Deps>,
    Extension(log): Extension<RequestLog>,
    path: PathParams,
    key: IdempotencyKey,
    request: StrictJson<VoidBody>,
) -> Result<Response, Problem> {
    let account = &access.account;
    let grant: String = path.get("grant")?;
    let nothing = || Problem::new(Code::NotFound, "There is no such grant.");
    let grant: GrantId = grant.parse().map_err(|_| nothing())?;
    let route = format!("/v1/accounts/{account}/grants/{grant}/void");
    let fingerprint = fingerprint("POST", &route, &request.value);
    let VoidBody { reason, actor, metadata } = request.body;
    let reason = Some(("/reason", reason.as_str()));
    let actor = access.caller.operator(actor.as_deref());
    let private = labels::private(None, actor, reason, metadata.as_ref())?;
    let voided = || Problem::new(Code::GrantVoided, "The grant was voided before.");
    for _ in 0..TRIES {
        let brought = deps.ledger.brought(account, grant, MODE).await?;
        let mark = |_: &Operation| {
            let unchanged = brought.as_ref().and_then(|brought| brought.unchanged.clone());
            [evidence::voided_grant_put(account, grant)].into_iter().chain(unchanged).collect()
        };
        let ask = Ask::by_client(account, key.as_str(), fingerprint, private.clone());
        let ask = Ask { extra: &mark, ..ask };
        // Refunds and disputes that were won may have given back to bought credits what came of
        // another payment: what a void forfeits must be of one payment, whose refund counts it.
        let decide = |state: &AccountState| {
            let held = state.grants().iter().find(|held| held.id == grant);
            let is_over = |held: &Held| {
                held.source == Source::Paid
                    && brought.as_ref().is_some_and(|brought| held.remaining > brought.credits)
            };
            if held.is_some_and(is_over) {
                let detail = "The grant can't be voided: it holds more than its payment still brings. \
                              Refund the payments, or charge the credits.";
                return Err(Problem::new(Code::Conflict, detail));
            }
            Ok(Command::VoidGrant(grant))
        };
        match deps.ledger.execute(&ask, decide).await {
            Ok(outcome) => {
                log.retries(outcome.retries, outcome.conflicts);
                let mut response = views::moved(outcome);
                *response.status_mut() = axum::http::StatusCode::OK;
                return Ok(response);
            }
            // Somebody voided it meanwhile.
            Err(Asked::Prevented(MARK, _)) => return Err(voided()),
            // More became of the payment meanwhile.
            Err(Asked::Prevented(..)) => {}
            Err(error) => {
                let is_gone = matches!(error, Asked::Rejected(Rejection::GrantGone));
                // Bought credits that came back to it are not voided again.
                let is_back = matches!(error, Asked::Rejected(Rejection::GrantNotVoidable(_)));
                let problem = refusals::asked(error, account);
                if (is_gone || is_back) && deps.ledger.grant_was_voided(account, grant).await? {
                    return Err(voided());
                }
                if is_gone && !deps.ledger.was_granted(account, grant).await? {
                    return Err(nothing());
                }
                return Err(problem);
            }
        }
    }
    let detail = "Events of the grant's payment come at the same time; send this again.";
    Err(Problem::new(Code::Unavailable, detail).with_retry_after(RETRY_SECONDS))
}

/// Debt to waive.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WriteOffBody {
    /// How many credits, above zero; all of it where not given.
    #[schema(value_type = Option<openapi::Decimal>)]
    credits: Option<Credits>,
    /// Why: 1 to 512 characters.
    reason: String,
    /// Who did it: 1 to 128 characters.
    actor: Option<String>,
    /// The caller's labels: at most 20, together at most 512 bytes.
    metadata: Option<BTreeMap<String, String>>,
}

problems!(
    WriteOffProblems = IdempotencyKeyMissing,
    AccountNotFound,
    Conflict,
    PayloadTooLarge,
    IdempotencyKeyReused
);

/// Waives debt, all of it or a part.
#[utoipa::path(
    post,
    path = "/v1/accounts/{account}/write-offs",
    operation_id = "create_write_off",
    tag = "topup",
    params(
        ("account" = openapi::AccountId, Path),
        ("Idempotency-Key" = String, Header, description = "1 to 255 visible ASCII characters"),
    ),
    security(("bearer" = ["grant"])),
    request_body = WriteOffBody,
    responses((status = 201, description = "Waived", body = Moved), WriteOffProblems)
)]
async fn create_write_off(
    access: AccountAccess<Grant>,
    State(deps): State<Deps>,
    Extension(log): Extension<RequestLog>,
    key: IdempotencyKey,
    request: StrictJson<WriteOffBody>,
) -> Result<Response, Problem> {
    let account = &access.account;
    let route = format!("/v1/accounts/{account}/write-offs");
    let fingerprint = fingerprint("POST", &route, &request.value);
    let WriteOffBody { credits, reason, actor, metadata } = request.body;
    let reason = Some(("/reason", reason.as_str()));
    let actor = access.caller.operator(actor.as_deref());
    let private = labels::private(None, actor, reason, metadata.as_ref())?;
    if credits.is_some_and(|credits| !credits.is_positive()) {
        return Err(Problem::invalid_field("/credits", "above zero"));
    }
    let ask = Ask::by_client(account, key.as_str(), fingerprint, private);
    let outcome = deps.ledger.execute(&ask, |_| Ok(Command::WriteOff(credits))).await;
    let outcome = outcome.map_err(|error| refusals::asked(error, account))?;
    log.retries(outcome.retries, outcome.conflicts);
    Ok(views::moved(outcome))
}

uc_http::operations!(Deps; create_grant, void_grant, create_write_off);

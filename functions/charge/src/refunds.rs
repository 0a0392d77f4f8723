//! Giving back what a charge took.

use std::collections::BTreeMap;

use axum::extract::{Extension, State};
use axum::response::Response;
use serde::Deserialize;
use uc_domain::account::{AccountState, Command, Detail, Operation, OperationId, RefundRequest};
use uc_domain::{AccountId, Credits};
use uc_http::scope::Charge as ChargeScope;
use uc_http::views::{self, Moved};
use uc_http::{
    AccountAccess, Code, IdempotencyKey, PathParams, Problem, RequestLog, StrictJson, fingerprint,
    labels, openapi, problems, refusals,
};
use uc_ledger::evidence::refund_put;
use uc_ledger::{Ask, Asked};
use utoipa::ToSchema;

use crate::Deps;

/// How often others may be faster with refunds of the same charge.
const TRIES: usize = 16;
/// What `Retry-After` says then, in seconds.
const RETRY_SECONDS: u32 = 1;

/// What to give back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CreateRefund {
    /// How many credits, above zero; all that is left of the charge where not given.
    #[schema(value_type = Option<openapi::Decimal>)]
    credits: Option<Credits>,
    /// Why: 1 to 512 characters.
    reason: String,
    /// Who did it: 1 to 128 characters.
    actor: Option<String>,
    /// The caller's labels: at most 20, together at most 512 bytes.
    metadata: Option<BTreeMap<String, String>>,
}

/// Reads a body as what to refund.
#[cfg(fuzzing)]
pub(crate) fn read_anyhow(body: &[u8]) {
    let _ = uc_http::parse_strict::<CreateRefund>(body);
}

problems!(
    RefundProblems = IdempotencyKeyMissing,
    AccountNotFound,
    NotFound,
    Conflict,
    RefundExceedsCharge,
    PayloadTooLarge,
    IdempotencyKeyReused,
    LimitExceeded
);

/// Gives back what a charge or capture took, whole or in parts, never more than it took: debt is
/// paid first, then the credits go back to the grants they came from, those spent last first. What
/// came from a grant that has ended becomes a grant of its own for 30 days.
#[utoipa::path(
    post,
    path = "/v1/accounts/{account}/charges/{operation}/refunds",
    operation_id = "create_refund",
    tag = "charge",
    params(
        ("account" = openapi::AccountId, Path),
        ("operation" = String, Path, description = "The charge or capture"),
        ("Idempotency-Key" = String, Header, description = "1 to 255 visible ASCII characters"),
    ),
    security(("bearer" = ["charge"])),
    request_body = CreateRefund,
    responses((status = 201, description = "Given back", body = Moved), RefundProblems)
)]
async fn create_refund(
    access: AccountAccess<ChargeScope>,
    State(deps): State<Deps>,
    Extension(log): Extension<RequestLog>,
    path: PathParams,
    key: IdempotencyKey,
    request: StrictJson<CreateRefund>,
) -> Result<Response, Problem> {
    let account = &access.account;
    let charge: String = path.get("operation")?;
    let charge: OperationId =
        charge.parse().map_err(|_| Problem::new(Code::NotFound, "There is no such operation."))?;
    let route = format!("/v1/accounts/{account}/charges/{charge}/refunds");
    let fingerprint = fingerprint("POST", &route, &request.value);
    let CreateRefund { credits, reason, actor, metadata } = request.body;
    let private = labels::private(
        access.caller.token_actor(),
        access.caller.operator(actor.as_deref()),
        Some(("/reason", reason.as_str())),
        metadata.as_ref(),
    )?;
    if credits.is_some_and(|credits| !credits.is_positive()) {
        return Err(Problem::invalid_field("/credits", "above zero"));
    }
    for _ in 0..TRIES {
        let Some(evidence) = deps.ledger.refund_evidence(account, charge).await? else {
            return Err(missing(&deps, account).await?);
        };
        let (number, operation) = (evidence.number, &evidence.charge);
        if !matches!(operation.detail, Detail::Charge { .. } | Detail::Capture { .. }) {
            let detail = format!(
                "{charge} is no charge or capture but a {}: it can't be refunded.",
                operation.detail.kind()
            );
            return Err(Problem::new(Code::Conflict, detail));
        }
        let extra = |refund: &Operation| match refund.detail {
            Detail::Refund { refunded, .. } => {
                vec![refund_put(account, charge, number, refund.id, refunded)]
            }
            ref other => unreachable!("a refund was asked for, not a {}", other.kind()),
        };
        let ask = Ask::by_client(account, key.as_str(), fingerprint, private.clone());
        let ask = Ask { extra: &extra, ..ask };
        let command = Command::Refund(RefundRequest {
            charge,
            credits,
            postings: operation.postings.clone(),
            refunded: evidence.refunded,
            terms: evidence.terms.clone(),
        });
        let decide = |state: &AccountState| {
            if evidence.is_stale(state) { Err(Stale) } else { Ok(command.clone()) }
        };
        match deps.ledger.execute(&ask, decide).await {
            Ok(outcome) => {
                log.retries(outcome.retries, outcome.conflicts);
                return Ok(views::moved(outcome));
            }
            // Another refund of this charge was faster: what is left has changed. Or a grant may
            // have been voided meanwhile.
            Err(Asked::Prevented(..) | Asked::Decided(Stale)) => {}
            Err(error) => {
                let error = error.map_decided(|Stale| unreachable!("it was looked at"));
                return Err(refusals::asked(error, account));
            }
        }
    }
    let detail = "Others change this account at the same time; it is safe to send this again.";
    Err(Problem::new(Code::Unavailable, detail).with_retry_after(RETRY_SECONDS))
}

/// The evidence is older than the account.
struct Stale;

async fn missing(deps: &Deps, account: &AccountId) -> Result<Problem, Problem> {
    Ok(match deps.ledger.account(account).await? {
        Some(_) => Problem::new(Code::NotFound, "There is no such operation."),
        None => refusals::account_not_found(account),
    })
}

uc_http::operations!(Deps; create_refund);

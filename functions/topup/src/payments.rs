//! Payment webhooks as Standard Webhooks describes them: what was bought, refunded, disputed.

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use standardwebhooks::Webhook;
use subtle::ConstantTimeEq;
use uc_domain::account::{
    Command, Detail, GrantRequest, Money, Operation, Origin, PaymentChange, Source,
};
use uc_domain::payments::{Payment, PaymentEvent as Change, PaymentEventError, Reversals};
use uc_domain::{AccountId, Credits, Timestamp};
use uc_http::views::{BalanceView, OperationView};
use uc_http::{
    Caller, Code, Metric, Problem, RawBody, RequestLog, fingerprint, openapi, parse_strict,
    parse_typed, problems, refusals,
};
use uc_ledger::evidence::{PaymentEvidence, payment_change_put, payment_put};
use uc_ledger::{Ask, Asked, Outcome, Private, keys};
use utoipa::ToSchema;

use crate::{Deps, Paid, check_credits};

/// A webhook is signed at most so long ago, or ahead, by its own clock (Standard Webhooks).
const WINDOW_SECONDS: u64 = 300;
/// Signatures of one webhook that are looked at.
const MAX_SIGNATURES: usize = 8;
/// Who processed the payments of the Standard Webhooks route, and in which mode.
const PROVIDER: &str = "standard";
pub(crate) const MODE: &str = "live";
/// How often others may be faster with changes of the same payment.
pub(crate) const TRIES: usize = 16;
/// What `Retry-After` says then, in seconds.
pub(crate) const RETRY_SECONDS: u32 = 1;

/// A payment webhook, as Standard Webhooks describes it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PaymentEvent {
    /// What happened: `payment.succeeded`, `payment.refunded`, `payment.disputed`,
    /// `payment.dispute_won`, `payment.dispute_lost`. Others are acknowledged and change nothing.
    #[serde(rename = "type")]
    #[schema(example = "payment.succeeded")]
    kind: String,
    /// When, by the sender's clock.
    #[schema(value_type = Option<openapi::Instant>)]
    #[serde(rename = "timestamp")]
    _timestamp: Option<Timestamp>,
    /// The payment.
    #[schema(value_type = PaymentEventData)]
    data: Value,
}

/// By type: of `payment.succeeded` what came in, of the others what became of it.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes what is read by the event's type")]
enum PaymentEventData {
    Succeeded(PaymentData),
    Changed(PaymentChangeData),
}

/// A payment.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PaymentData {
    /// Who gets the credits.
    #[schema(value_type = openapi::AccountId)]
    account: AccountId,
    /// The provider's name for the payment, 1 to 128 characters. It counts once for ever.
    #[schema(example = "pay_1001")]
    #[schema(value_type = String)]
    payment: AccountId,
    /// How many credits were bought, above zero, at most 10^12.
    #[schema(value_type = openapi::Decimal)]
    credits: Credits,
    /// What was paid.
    #[schema(value_type = Option<openapi::Decimal>)]
    amount: Option<Credits>,
    /// In which currency.
    #[schema(example = "USD")]
    currency: Option<String>,
}

/// What became of a payment. Whose it was is known from when it came in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PaymentChangeData {
    /// The provider's name for the payment.
    #[schema(value_type = String, example = "pay_1001")]
    payment: AccountId,
    /// The provider's name for the dispute; of disputes only.
    #[schema(value_type = Option<String>, example = "dp_1")]
    dispute: Option<AccountId>,
    /// What was refunded so far, altogether; or what is disputed. All of it where not given.
    #[schema(value_type = Option<openapi::Decimal>)]
    amount: Option<Credits>,
    /// In which currency: that of the payment.
    #[schema(example = "USD")]
    currency: Option<String>,
}

impl PaymentChangeData {
    fn read(self, kind: &str) -> Result<(AccountId, Change), Problem> {
        let Self { payment, dispute, amount, currency } = self;
        let amount = money(amount, currency)?;
        let named = |dispute: Option<AccountId>| {
            let dispute = dispute.map(|dispute| dispute.to_string());
            dispute.ok_or_else(|| Problem::invalid_field("/data/dispute", "which dispute it is"))
        };
        let change = match kind {
            REFUNDED if dispute.is_some() => {
                return Err(Problem::invalid_field("/data/dispute", "A refund is no dispute."));
            }
            REFUNDED => Change::Refunded { amount },
            DISPUTED => Change::Disputed { dispute: named(dispute)?, amount },
            DISPUTE_LOST => Change::DisputeLost { dispute: named(dispute)?, amount },
            _ if amount.is_some() => {
                let detail = "What was won is what was disputed.";
                return Err(Problem::invalid_field("/data/amount", detail));
            }
            _ => Change::DisputeWon { dispute: named(dispute)? },
        };
        Ok((payment, change))
    }
}

fn money(amount: Option<Credits>, currency: Option<String>) -> Result<Option<Money>, Problem> {
    match (amount, currency) {
        (Some(amount), Some(currency)) => Paid { amount, currency }.check("/data").map(Some),
        (None, None) => Ok(None),
        _ => Err(Problem::invalid_field("/data", "amount and currency go together")),
    }
}

/// The types of events that mean something here.
const SUCCEEDED: &str = "payment.succeeded";
const REFUNDED: &str = "payment.refunded";
const DISPUTED: &str = "payment.disputed";
const DISPUTE_WON: &str = "payment.dispute_won";
const DISPUTE_LOST: &str = "payment.dispute_lost";
/// The route, as fingerprints name it.
const ROUTE: &str = "/v1/webhooks/payments";
const KINDS: [&str; 5] = [SUCCEEDED, REFUNDED, DISPUTED, DISPUTE_WON, DISPUTE_LOST];

/// What only the type of an event is read from.
#[derive(Debug, Deserialize)]
struct EventType {
    #[serde(rename = "type")]
    kind: String,
}

/// What a webhook came to.
#[derive(Debug, Serialize, ToSchema)]
pub struct Received {
    /// `credited`, `taken_back`, `given_back`, `noted` where no credits had to move, `duplicate`
    /// where the event had counted before, or `ignored`.
    #[schema(example = "credited")]
    status: &'static str,
    /// The operation that brought the credits.
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<OperationView>,
    /// The balance after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    balance: Option<BalanceView>,
}

problems!(WebhookProblems = InvalidSignature, NotFound, Conflict, PayloadTooLarge, LimitExceeded);

/// Takes a signed payment webhook (Standard Webhooks): the credits are there at once, debt is paid
/// first, and a payment counts once for ever, however often and for whatever account it is
/// delivered. Refunds and disputes take back what the payment brought, in proportion and by their
/// cumulative amount, from the account that got it; what was spent already becomes debt. A dispute
/// that is won gives it back. They may come in any order, and again.
#[utoipa::path(
    post,
    path = "/v1/webhooks/payments",
    operation_id = "receive_payment_webhook",
    tag = "topup",
    params(
        ("webhook-id" = String, Header),
        ("webhook-timestamp" = String, Header, description = "Seconds since 1970"),
        ("webhook-signature" = String, Header, description = "v1,<base64 of HMAC-SHA256>"),
    ),
    security(()),
    request_body = PaymentEvent,
    responses(
        (status = 200, description = "Credited, or nothing to do", body = Received),
        WebhookProblems
    )
)]
async fn receive_payment_webhook(
    caller: Caller,
    State(deps): State<Deps>,
    Extension(log): Extension<RequestLog>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> Result<Response, Problem> {
    // The signature says who it is.
    caller.anyone();
    let result = receive(&deps, &log, &headers, &body).await;
    if result.is_err() {
        log.count(Metric::WebhookFailures, 1);
    }
    result
}

async fn receive(
    deps: &Deps,
    log: &RequestLog,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, Problem> {
    verify(deps, headers, body).await?;
    // Of an event that is not for us nothing but its type has to be understood.
    let ignored = serde_json::from_slice::<EventType>(body)
        .is_ok_and(|event| !KINDS.contains(&event.kind.as_str()));
    if ignored {
        return Ok(received("ignored", None));
    }
    let event = parse_strict::<PaymentEvent>(body)?;
    let PaymentEvent { kind, data, .. } = event.body;
    if kind == SUCCEEDED {
        credit(deps, log, data).await
    } else {
        change(deps, log, &kind, data).await
    }
}

fn received(status: &'static str, outcome: Option<Outcome>) -> Response {
    let balance = outcome.as_ref().map(|outcome| outcome.state.balance().into());
    let operation = outcome.map(|outcome| OperationView::new(outcome.happened, true));
    Json(Received { status, operation, balance }).into_response()
}

/// The data of an event, whose pointers are those of the body.
fn data_of<T: serde::de::DeserializeOwned>(data: &Value) -> Result<T, Problem> {
    parse_typed(data).map_err(|problem| problem.within("/data"))
}

/// Credits what was bought.
async fn credit(deps: &Deps, log: &RequestLog, data: Value) -> Result<Response, Problem> {
    let PaymentData { account, payment, credits, amount, currency } = data_of(&data)?;
    check_credits(credits, "/data/credits")?;
    let paid = money(amount, currency)?;
    log.account(&account);

    let origin = Origin::Payment { provider: PROVIDER.to_owned(), payment: payment.to_string() };
    let key = keys::payment(PROVIDER, MODE, payment.as_str());
    let extra = |operation: &Operation| {
        let brought = Payment { credits, paid: paid.clone() };
        vec![payment_put(&key, &account, operation.id, &brought)]
    };
    let ask = Ask {
        account: &account,
        origin,
        // The payment itself: a delivery that only differs in its time is the same.
        fingerprint: fingerprint("POST", ROUTE, &data),
        private: Private::default(),
        opens: true,
        extra: &extra,
    };
    let command = Command::Grant(GrantRequest {
        amount: credits,
        source: Source::Paid,
        priority: None,
        effective_at: None,
        expires_at: None,
        paid: paid.clone(),
        rollover: None,
    });
    match deps.ledger.execute(&ask, |_| Ok(command.clone())).await {
        Ok(outcome) => {
            log.retries(outcome.retries, outcome.conflicts);
            let status = if outcome.replayed { "duplicate" } else { "credited" };
            Ok(received(status, Some(outcome)))
        }
        Err(Asked::KeyReused | Asked::Prevented(..)) => Err(Problem::new(
            Code::Conflict,
            "This payment has counted before, for another account or with other amounts.",
        )),
        Err(error) => Err(refusals::asked(error, &account)),
    }
}

/// Takes back what a payment brought, or gives it back.
async fn change(
    deps: &Deps,
    log: &RequestLog,
    kind: &str,
    data: Value,
) -> Result<Response, Problem> {
    let (payment, event) = data_of::<PaymentChangeData>(&data)?.read(kind)?;
    for _ in 0..TRIES {
        let evidence = deps.ledger.payment_evidence(PROVIDER, MODE, payment.as_str()).await?;
        let Some(evidence) = evidence else {
            // It may be on its way: the sender tries again.
            let detail = "No payment of this name has counted here yet.";
            return Err(Problem::new(Code::NotFound, detail));
        };
        let PaymentEvidence { account, reversals, terms, number, .. } = &evidence;
        let (account, number, terms) = (account.clone(), *number, *terms);
        log.account(&account);
        let next = reversals.after(&evidence.payment, &event);
        let next = next.map_err(|error| refused(&error))?;
        if next == *reversals {
            return Ok(received("duplicate", None));
        }
        let key = keys::payment_change(PROVIDER, MODE, payment.as_str(), number);
        let moved = next.taken.micros() - reversals.taken.micros();
        if moved == 0 {
            let put = payment_change_put(&key, &account, &next);
            if deps.ledger.note_payment_change(put).await? {
                return Ok(received("noted", None));
            }
            continue;
        }
        let credits = Credits::from_micros(moved.abs()).ok_or_else(|| {
            Problem::new(Code::LimitExceeded, "The payment brought more than 10^15 credits.")
        })?;
        let Reversals { taken, forfeited, .. } = *reversals;
        let payment_name = payment.to_string();
        let change = PaymentChange { payment: payment_name, credits, terms, taken, forfeited };
        let (command, status) = if moved > 0 {
            (Command::Clawback(change), "taken_back")
        } else {
            (Command::ClawbackReversal(change), "given_back")
        };
        let extra = |operation: &Operation| {
            let forfeited = match operation.detail {
                Detail::Clawback { forfeited: more, .. } => forfeited.checked_add(more),
                Detail::ClawbackReversal { forfeited: less, .. } => forfeited.checked_sub(less),
                _ => None,
            };
            let forfeited = forfeited.expect("a part of what the payment brought");
            let next = Reversals { forfeited, ..next.clone() };
            vec![payment_change_put(&key, &account, &next)]
        };
        let ask = Ask {
            account: &account,
            origin: Origin::PaymentChange {
                provider: PROVIDER.to_owned(),
                mode: MODE.to_owned(),
                payment: payment.to_string(),
                number,
            },
            fingerprint: fingerprint("POST", ROUTE, &serde_json::json!([kind, data])),
            private: Private::default(),
            opens: false,
            extra: &extra,
        };
        match deps.ledger.execute(&ask, |_| Ok(command.clone())).await {
            Ok(outcome) => {
                log.retries(outcome.retries, outcome.conflicts);
                if !outcome.replayed {
                    log.debt_made(outcome.happened.operation.debt_change());
                }
                let status = match outcome.happened.operation.postings.is_empty() {
                    _ if outcome.replayed => "duplicate",
                    // All of it was forfeited before.
                    true => "noted",
                    false => status,
                };
                return Ok(received(status, Some(outcome)));
            }
            // Another event of this payment was faster: what is left to do has changed.
            Err(Asked::KeyReused | Asked::Prevented(..)) => {}
            Err(error) => return Err(refusals::asked(error, &account)),
        }
    }
    let detail = "Other events of this payment come at the same time; send this again.";
    Err(Problem::new(Code::Unavailable, detail).with_retry_after(RETRY_SECONDS))
}

fn refused(error: &PaymentEventError) -> Problem {
    match error {
        PaymentEventError::NotComparable => Problem::new(
            Code::Conflict,
            "The payment came in without an amount, or in another currency: leave amount and \
             currency out where all of it is meant.",
        ),
        PaymentEventError::Negative => Problem::invalid_field("/data/amount", "not below zero"),
        PaymentEventError::LimitExceeded => {
            Problem::new(Code::LimitExceeded, "A payment has at most 16 disputes.")
        }
    }
}

/// Checks the signature over the raw body with each active secret, and its age by the accounts'
/// clock.
async fn verify(deps: &Deps, headers: &HeaderMap, body: &[u8]) -> Result<(), Problem> {
    let refuse = |detail: &'static str| Err(Problem::new(Code::InvalidSignature, detail));
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let timestamp = header("webhook-timestamp").and_then(|text| text.parse::<i64>().ok());
    let (Some(id), Some(timestamp), Some(signatures)) =
        (header("webhook-id"), timestamp, header("webhook-signature"))
    else {
        return refuse("Sign the request as Standard Webhooks describes.");
    };
    let secrets =
        deps.secrets.webhook_secrets().await.map_err(|error| Problem::unavailable(&error, 5))?;
    // The library's own check reads the machine's clock; accounts may live by another one.
    let expected = secrets.iter().filter_map(|secret| {
        Webhook::new(secret.expose()).and_then(|webhook| webhook.sign(id, timestamp, body)).ok()
    });
    let expected: Vec<String> = expected.collect();
    if expected.is_empty() {
        tracing::error!("no webhook secret in SSM is whsec_ and Base64");
        return Err(Problem::new(Code::Unavailable, "Webhooks can't be checked at the moment.")
            .with_retry_after(60));
    }
    let signed = signatures
        .split_whitespace()
        .take(MAX_SIGNATURES)
        .any(|given| expected.iter().any(|own| given.as_bytes().ct_eq(own.as_bytes()).into()));
    if !signed {
        return refuse("No signature of the body is made with an active secret.");
    }
    let age = (deps.ledger.now().millis() / 1_000).abs_diff(timestamp);
    if age > WINDOW_SECONDS {
        return refuse("The signature is older than five minutes, or ahead.");
    }
    Ok(())
}

uc_http::operations!(Deps; receive_payment_webhook);

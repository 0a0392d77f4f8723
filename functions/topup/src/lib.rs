//! Brings credits in: signed payment webhooks, and grants by an operator.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use standardwebhooks::Webhook;
use subtle::ConstantTimeEq;
use uc_domain::account::{Command, GrantRequest, Money, Operation, Origin, Source};
use uc_domain::{AccountId, Credits, Timestamp};
use uc_http::scope::Grant;
use uc_http::views::{self, BalanceView, OperationView};
use uc_http::{
    AccountAccess, Caller, Code, Deployment, IdempotencyKey, Metric, Problem, RawBody, RequestLog,
    StrictJson, fingerprint, labels, openapi, parse_strict, problems, refusals,
};
use uc_ledger::store::{AttributeValue, Condition, Put};
use uc_ledger::{Ask, Asked, Ledger, Outcome, Private, keys};
use uc_ratios::SecretReader;
use utoipa::ToSchema;

/// The most credits that one grant or payment brings: 10^12.
const MAX_CREDITS: Credits = match Credits::from_micros(1_000_000_000_000_000_000) {
    Some(credits) => credits,
    None => Credits::MAX,
};
/// A webhook is signed at most so long ago, or ahead, by its own clock (Standard Webhooks).
const WINDOW_SECONDS: u64 = 300;
/// Signatures of one webhook that are looked at.
const MAX_SIGNATURES: usize = 8;
/// Who processed the payments of the Standard Webhooks route, and in which mode.
const PROVIDER: &str = "standard";
const MODE: &str = "live";

/// What the function works with.
#[derive(Clone)]
pub struct Deps {
    /// The accounts.
    pub ledger: Ledger,
    /// The webhook's secrets.
    pub secrets: Arc<SecretReader>,
}

/// An amount of money, as a label on the grant.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Paid {
    /// How much, not negative.
    #[schema(value_type = openapi::Decimal)]
    amount: Credits,
    /// ISO 4217: three capital letters.
    #[schema(example = "USD")]
    currency: String,
}

impl Paid {
    fn check(self, pointer: &str) -> Result<Money, Problem> {
        let Self { amount, currency } = self;
        if amount.is_negative() {
            let detail = "not below zero";
            return Err(Problem::invalid_field(format!("{pointer}/amount"), detail));
        }
        if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
            let detail = "three capital letters";
            return Err(Problem::invalid_field(format!("{pointer}/currency"), detail));
        }
        Ok(Money { amount, currency })
    }
}

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
        ("account" = openapi::Account, Path),
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
    let private = labels::private(None, actor.as_deref(), reason, metadata.as_ref())?;
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

    let ask = Ask {
        account,
        origin: Origin::Client { key: key.as_str().to_owned() },
        fingerprint,
        private,
        opens: true,
        extra: &|_| Vec::new(),
    };
    let decide = |state: &uc_domain::account::AccountState| {
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
        uc_domain::account::Detail::Grant { grant, .. } => grant.to_string(),
        other => unreachable!("a grant was asked for, not a {}", other.kind()),
    }
}

fn check_credits(credits: Credits, pointer: &str) -> Result<(), Problem> {
    if !credits.is_positive() || credits > MAX_CREDITS {
        return Err(Problem::invalid_field(pointer, "above zero, at most 10^12"));
    }
    Ok(())
}

/// A payment webhook, as Standard Webhooks describes it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PaymentEvent {
    /// What happened. Others than `payment.succeeded` are acknowledged and change nothing.
    #[serde(rename = "type")]
    #[schema(example = "payment.succeeded")]
    kind: String,
    /// When, by the sender's clock.
    #[schema(value_type = Option<openapi::Instant>)]
    #[serde(rename = "timestamp")]
    _timestamp: Option<Timestamp>,
    /// The payment.
    data: PaymentData,
}

/// A payment.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PaymentData {
    /// Who gets the credits.
    #[schema(value_type = openapi::Account)]
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

/// What only the type of an event is read from.
#[derive(Debug, Deserialize)]
struct EventType {
    #[serde(rename = "type")]
    kind: String,
}

/// What a webhook came to.
#[derive(Debug, Serialize, ToSchema)]
pub struct Received {
    /// `credited`, `duplicate` where the payment had counted before, or `ignored`.
    #[schema(example = "credited")]
    status: &'static str,
    /// The operation that brought the credits.
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<OperationView>,
    /// The balance after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    balance: Option<BalanceView>,
}

problems!(WebhookProblems = InvalidSignature, Conflict, PayloadTooLarge, LimitExceeded);

/// Takes a signed payment webhook (Standard Webhooks): the credits are there at once, debt is paid
/// first, and a payment counts once for ever, however often and for whatever account it is
/// delivered.
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
        .is_ok_and(|event| event.kind != "payment.succeeded");
    if ignored {
        let received = Received { status: "ignored", operation: None, balance: None };
        return Ok(Json(received).into_response());
    }
    let event = parse_strict::<PaymentEvent>(body)?;
    debug_assert_eq!(event.body.kind, "payment.succeeded");
    let PaymentData { account, payment, credits, amount, currency } = event.body.data;
    check_credits(credits, "/data/credits")?;
    let paid = match (amount, currency) {
        (Some(amount), Some(currency)) => Some(Paid { amount, currency }.check("/data")?),
        (None, None) => None,
        _ => return Err(Problem::invalid_field("/data", "amount and currency go together")),
    };
    log.account(&account);

    let origin = Origin::Payment { provider: PROVIDER.to_owned(), payment: payment.to_string() };
    let key = keys::payment(PROVIDER, MODE, payment.as_str());
    let extra = |operation: &Operation| {
        let text = |text: String| AttributeValue::S(text);
        let mut item = key.item();
        item.insert("account".to_owned(), text(account.to_string()));
        item.insert("operation".to_owned(), text(operation.id.to_string()));
        item.insert("credits".to_owned(), text(credits.to_string()));
        if let Some(paid) = &paid {
            item.insert("amount".to_owned(), text(paid.amount.to_string()));
            item.insert("currency".to_owned(), text(paid.currency.clone()));
        }
        vec![Put { item, condition: Condition::NotExists }]
    };
    let ask = Ask {
        account: &account,
        origin,
        // The payment itself: a delivery that only differs in its time is the same.
        fingerprint: fingerprint("POST", "/v1/webhooks/payments", &event.value["data"]),
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
            let balance = Some(outcome.state.balance().into());
            let operation = Some(OperationView::new(outcome.happened, true));
            Ok(Json(Received { status, operation, balance }).into_response())
        }
        Err(Asked::KeyReused | Asked::Prevented(..)) => Err(Problem::new(
            Code::Conflict,
            "This payment has counted before, for another account or with other amounts.",
        )),
        Err(error) => Err(refusals::asked(error, &account)),
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

uc_http::operations!(Deps; create_grant, receive_payment_webhook);

/// The function's router in a deployment.
pub fn router(deployment: &Deployment) -> Router {
    let deps = Deps { ledger: deployment.ledger(), secrets: deployment.secrets() };
    uc_http::wrap("topup", routes().with_state(deps), deployment.auth())
}

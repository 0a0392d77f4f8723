//! Charges accounts for what was used.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;
use uc_domain::account::{AccountState, Charge, Command, Origin, RatedItem};
use uc_domain::ratios::RatioTable;
use uc_domain::{Credits, Quantity, Timestamp};
use uc_http::items::{self, Item, UsageOf};
use uc_http::scope::Charge as ChargeScope;
use uc_http::views::{self, Moved};
use uc_http::{
    AccountAccess, Code, Deployment, IdempotencyKey, Problem, RequestLog, StrictJson, fingerprint,
    labels, openapi, problems, refusals, tables,
};
use uc_ledger::{Ask, Ledger};
use uc_ratios::Reader;
use utoipa::ToSchema;

/// Items of one charge at most.
const MAX_ITEMS: usize = 20;
/// Usage may have happened so long ago, and so far ahead by a caller's clock.
const OLDEST_MILLIS: i64 = 7 * 86_400_000;
const AHEAD_MILLIS: i64 = 60_000;

/// What the function works with.
#[derive(Clone)]
pub struct Deps {
    /// The accounts.
    pub ledger: Ledger,
    /// The ratio tables.
    pub ratios: Arc<Reader>,
}

/// A charge: by items of usage (`items`, or the fields of one item), or by fixed `credits`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChargeRequest {
    /// 1 to 20 items; each is rounded and has its minimum on its own.
    items: Option<Vec<Item>>,
    /// See `Item`.
    model: Option<String>,
    /// See `Item`.
    #[schema(value_type = Option<BTreeMap<String, openapi::Quantity>>)]
    usage: Option<BTreeMap<String, Quantity>>,
    /// See `Item`.
    parameters: Option<BTreeMap<String, String>>,
    /// See `Item`.
    provider: Option<String>,
    /// See `Item`.
    #[schema(value_type = Option<openapi::ProviderResponse>)]
    provider_response: Option<Value>,
    /// So many credits, for what no ratio prices.
    #[schema(value_type = Option<openapi::Decimal>)]
    credits: Option<Credits>,
    /// What they are for: 1 to 512 characters; with `credits` only.
    description: Option<String>,
    /// The version that an estimate named: its prices hold until 15 minutes after it was
    /// superseded. The current one where none is named.
    ratio_version: Option<u64>,
    /// At most this is taken; the rest is written as forgiven.
    #[schema(value_type = Option<openapi::Decimal>)]
    max_credits: Option<Credits>,
    /// When the usage happened, at most 7 days ago: decides dated prices and times of day.
    #[schema(value_type = Option<openapi::Instant>)]
    occurred_at: Option<Timestamp>,
    /// Who in the account caused it: 1 to 128 characters.
    actor: Option<String>,
    /// The caller's labels: at most 20, together at most 512 bytes.
    metadata: Option<BTreeMap<String, String>>,
}

/// What to charge for.
enum Basis {
    Usage(Vec<UsageOf>),
    Fixed(Credits),
}

problems!(
    ChargeProblems = IdempotencyKeyMissing,
    InsufficientCredits,
    AccountNotFound,
    Conflict,
    PayloadTooLarge,
    IdempotencyKeyReused,
    UnknownModel,
    UnpricedDimension,
    ProviderUnknown,
    UsageMissing,
    UsageContradictory,
    LimitExceeded
);

/// Charges an account for what was used. What it does not have becomes debt, is refused or
/// forgiven, as its settings say. The same key and body again is answered again, and nothing is
/// taken twice.
#[utoipa::path(
    post,
    path = "/v1/accounts/{account}/charges",
    operation_id = "create_charge",
    tag = "charge",
    params(
        ("account" = openapi::Account, Path),
        ("Idempotency-Key" = String, Header, description = "1 to 255 visible ASCII characters"),
    ),
    security(("bearer" = ["charge"])),
    request_body = ChargeRequest,
    responses(
        (status = 201, description = "Charged", body = Moved),
        ChargeProblems
    )
)]
async fn create_charge(
    access: AccountAccess<ChargeScope>,
    State(deps): State<Deps>,
    Extension(log): Extension<RequestLog>,
    key: IdempotencyKey,
    request: StrictJson<ChargeRequest>,
) -> Result<Response, Problem> {
    let account = &access.account;
    let path = format!("/v1/accounts/{account}/charges");
    let fingerprint = fingerprint("POST", &path, &request.value);
    let request = request.body;
    let private = labels::private(
        access.caller.token_actor(),
        request.actor.as_deref(),
        request.description.as_deref().map(|text| ("/description", text)),
        request.metadata.as_ref(),
    )?;
    check_times(&request, deps.ledger.now())?;
    let occurred_at = request.occurred_at;
    let max_credits = request.max_credits;
    let wanted_version = request.ratio_version;
    // Looked at before anything is read: what a body says does not depend on the account.
    let basis = basis(request)?;

    let ask = Ask {
        account,
        origin: Origin::Client { key: key.as_str().to_owned() },
        fingerprint,
        private,
        opens: false,
        extra: &|_| Vec::new(),
    };
    let charge = Charge {
        credits: Credits::ZERO,
        items: Vec::new(),
        ratio_version: None,
        price_group: None,
        max_credits,
        occurred_at,
    };
    let outcome = match basis {
        Basis::Fixed(credits) => {
            let command = Command::Charge(Charge { credits, ..charge });
            deps.ledger.execute(&ask, |_| Ok(command.clone())).await
        }
        Basis::Usage(usages) => {
            // A table that is not to be had any more must not hide that this already happened.
            let table =
                tables::for_request(&deps.ratios, wanted_version, deps.ledger.now(), &log).await;
            let decide = |state: &AccountState| {
                let table = table.as_ref().map_err(Problem::clone)?;
                let at = occurred_at.unwrap_or_else(|| deps.ledger.now());
                let items = rate(&usages, &table.table, state, at)?;
                let micros = items.iter().map(|item| item.credits.micros()).sum();
                let credits = Credits::from_micros(micros).ok_or_else(|| {
                    Problem::new(Code::LimitExceeded, "The items cost more than 10^15 credits.")
                })?;
                Ok(Command::Charge(Charge {
                    credits,
                    items,
                    ratio_version: Some(table.version),
                    price_group: Some(state.settings().price_group.clone()),
                    ..charge.clone()
                }))
            };
            deps.ledger.execute(&ask, decide).await
        }
    };
    let outcome = outcome.map_err(|error| refusals::asked(error, account))?;
    log.retries(outcome.retries, outcome.conflicts);
    if !outcome.replayed {
        log.debt_made(outcome.happened.operation.debt_change());
    }
    Ok(views::moved(outcome))
}

fn rate(
    usages: &[UsageOf],
    table: &RatioTable,
    state: &AccountState,
    at: Timestamp,
) -> Result<Vec<RatedItem>, Problem> {
    let multiplier = items::multiplier(table, &state.settings().price_group)?;
    usages
        .iter()
        .map(|usage| {
            let rated = usage.rate(table, multiplier, at)?;
            Ok(RatedItem {
                lines: rated.lines,
                credits: rated.credits,
                minimum_applied: rated.minimum_applied,
                matched: rated.matched,
                parameters: usage.parameters().clone(),
            })
        })
        .collect()
}

fn check_times(request: &ChargeRequest, now: Timestamp) -> Result<(), Problem> {
    let Some(at) = request.occurred_at else { return Ok(()) };
    let behind = now.millis() - at.millis();
    if !(-AHEAD_MILLIS..=OLDEST_MILLIS).contains(&behind) {
        let detail = "at most 7 days ago, and not ahead of now";
        return Err(Problem::invalid_field("/occurred_at", detail));
    }
    Ok(())
}

/// What the body wants charged.
fn basis(request: ChargeRequest) -> Result<Basis, Problem> {
    let ChargeRequest {
        items,
        model,
        usage,
        parameters,
        provider,
        provider_response,
        credits,
        description,
        ratio_version,
        max_credits,
        ..
    } = request;
    if max_credits.is_some_and(Credits::is_negative) {
        return Err(Problem::invalid_field("/max_credits", "not below zero"));
    }
    let single = Item { model, usage, parameters, provider, provider_response };
    let is_single = single != Item::default();
    match (items, is_single, credits) {
        (None, false, Some(credits)) => {
            if credits.is_negative() {
                let detail = "A charge is not negative; credits come in by a grant.";
                return Err(Problem::invalid_field("/credits", detail));
            }
            if ratio_version.is_some() {
                let detail = "Fixed credits are priced by no version.";
                return Err(Problem::invalid_field("/ratio_version", detail));
            }
            Ok(Basis::Fixed(credits))
        }
        (_, _, None) if description.is_some() => {
            Err(Problem::invalid_field("/description", "goes with fixed credits only"))
        }
        (None, true, None) => Ok(Basis::Usage(vec![single.read(String::new())?])),
        (Some(items), false, None) if (1..=MAX_ITEMS).contains(&items.len()) => items
            .into_iter()
            .enumerate()
            .map(|(index, item)| item.read(format!("/items/{index}")))
            .collect::<Result<_, _>>()
            .map(Basis::Usage),
        (Some(_), false, None) => Err(Problem::invalid_field("/items", "1 to 20 items")),
        _ => Err(Problem::invalid_request(
            "A charge has items, or the fields of one item, or credits: exactly one of them.",
        )),
    }
}

uc_http::operations!(Deps; create_charge);

/// The function's router in a deployment.
pub fn router(deployment: &Deployment) -> Router {
    let deps = Deps { ledger: deployment.ledger(), ratios: deployment.reader() };
    uc_http::wrap("charge", routes().with_state(deps), deployment.auth())
}

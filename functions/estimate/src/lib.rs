//! Says what requests would cost before they run, and what is sold at which price.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uc_domain::account::{AccountState, Settings};
use uc_domain::ratios::{Line, Multiplier, Usage};
use uc_domain::{AccountId, Credits, Quantity};
use uc_http::items::{self, Item, UsageOf};
use uc_http::scope::Scope;
use uc_http::views::LineSchema;
use uc_http::{
    Caller, Code, Deployment, Limit, Page, Problem, RequestLog, StrictJson, StrictQuery,
    decode_cursor, encode_cursor, openapi, problems, refusals, tables,
};
use uc_ledger::Ledger;
use uc_ratios::{Reader, Versioned};
use utoipa::openapi::schema::OneOfBuilder;
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

/// Items of one estimate at most: a front end prices all its models at once.
const MAX_ITEMS: usize = 50;

/// What the function works with.
#[derive(Clone)]
pub struct Deps {
    /// The accounts.
    pub ledger: Ledger,
    /// The ratio tables.
    pub ratios: Arc<Reader>,
    /// Whether the rate card is for everybody to see.
    pub public_rates: bool,
}

/// A quantity that is known, or bounds of one that is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bounds {
    min: Quantity,
    expected: Quantity,
    max: Quantity,
}

impl<'de> Deserialize<'de> for Bounds {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> serde::de::Visitor<'de> for Either {
            type Value = Bounds;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity, or an object with min, expected and max")
            }
            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Bounds, E> {
                Quantity::deserialize(serde::de::value::U64Deserializer::new(value)).map(known)
            }
            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Bounds, E> {
                Quantity::deserialize(serde::de::value::I64Deserializer::new(value)).map(known)
            }
            fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Bounds, E> {
                value.parse().map(known).map_err(E::custom)
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Bounds, A::Error> {
                let fields = serde::de::value::MapAccessDeserializer::new(map);
                let BoundsFields { min, expected, max } = BoundsFields::deserialize(fields)?;
                if min > expected || expected > max {
                    return Err(serde::de::Error::custom("min <= expected <= max"));
                }
                Ok(Bounds { min, expected, max })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

fn known(quantity: Quantity) -> Bounds {
    Bounds { min: quantity, expected: quantity, max: quantity }
}

/// Bounds of a quantity that is not known yet.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = QuantityBounds)]
struct BoundsFields {
    /// At least.
    #[schema(value_type = openapi::Quantity)]
    min: Quantity,
    /// Most likely.
    #[schema(value_type = openapi::Quantity)]
    expected: Quantity,
    /// At most.
    #[schema(value_type = openapi::Quantity)]
    max: Quantity,
}

/// Describes [`Bounds`] in the `OpenAPI` document.
enum QuantityOrBounds {}

impl ToSchema for QuantityOrBounds {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((BoundsFields::name().into_owned(), BoundsFields::schema()));
        BoundsFields::schemas(schemas);
    }
}

impl PartialSchema for QuantityOrBounds {
    fn schema() -> RefOr<Schema> {
        OneOfBuilder::new()
            .item(openapi::Quantity::schema())
            .item(Ref::from_schema_name(BoundsFields::name()))
            .description(Some("A quantity that is known, or bounds of one that is not."))
            .into()
    }
}

/// One item to estimate: as in a charge, but a quantity may have bounds.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EstimateItem {
    /// The model's id or another of its names.
    #[schema(example = "openai/gpt-5.1")]
    model: Option<String>,
    /// How much of each dimension.
    #[schema(value_type = Option<BTreeMap<String, QuantityOrBounds>>)]
    usage: Option<BTreeMap<String, Bounds>>,
    /// What prices may depend on.
    parameters: Option<BTreeMap<String, String>>,
    /// Whose response it is.
    provider: Option<String>,
    /// A provider's response, instead of model and usage.
    #[schema(value_type = Option<openapi::ProviderResponse>)]
    provider_response: Option<Value>,
}

/// What to estimate.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EstimateRequest {
    /// Whose prices count, and whose balance is looked at. An account token's own account where
    /// none is named.
    #[schema(value_type = Option<openapi::Account>)]
    account: Option<AccountId>,
    /// 1 to 50 items.
    #[schema(min_items = 1, max_items = 50)]
    items: Vec<EstimateItem>,
    /// The version to price by: the one in force or, for 15 minutes, one it superseded. Naming one
    /// that was just published makes sure that it is the one that counts.
    ratio_version: Option<u64>,
}

/// What something would cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = CreditBounds)]
struct CreditBounds {
    /// At least.
    #[schema(value_type = openapi::Decimal)]
    min: Credits,
    /// Most likely.
    #[schema(value_type = openapi::Decimal)]
    expected: Credits,
    /// At most.
    #[schema(value_type = openapi::Decimal)]
    max: Credits,
}

/// What one item would cost.
#[derive(Debug, Serialize, ToSchema)]
struct EstimatedItem {
    /// The model in the ratio table.
    model: String,
    /// What it would cost.
    credits: CreditBounds,
    /// Whether the model's minimum is what counts at the expected usage.
    minimum_applied: bool,
    /// How the expected cost comes about.
    #[schema(value_type = Vec<LineSchema>)]
    lines: Vec<Line>,
}

/// What the account could do about it.
#[derive(Debug, Serialize, ToSchema)]
struct Affordability {
    /// What it may spend; may be negative.
    #[schema(value_type = openapi::Decimal)]
    available: Credits,
    /// Whether that, and its credit line, cover the total's max.
    affordable: bool,
    /// What is missing for that.
    #[schema(value_type = openapi::Decimal)]
    shortfall: Credits,
    /// Whether new work should start: the account's own state, but what costs nothing may always.
    allowed: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

/// An estimate.
#[derive(Debug, Serialize, ToSchema)]
pub struct Estimate {
    /// The version that priced it. A charge that names it gets these prices, until 15 minutes
    /// after it was superseded.
    ratio_version: u64,
    /// Each item, in the order asked.
    items: Vec<EstimatedItem>,
    /// All together.
    total: CreditBounds,
    /// Where an account was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<Affordability>,
}

problems!(
    EstimateProblems = AccountNotFound,
    Conflict,
    PayloadTooLarge,
    UnknownModel,
    UnpricedDimension,
    ProviderUnknown,
    UsageMissing,
    UsageContradictory,
    LimitExceeded
);

/// What requests would cost: each item and all together, and whether the account can afford it.
/// Nothing is reserved or written.
#[utoipa::path(
    post,
    path = "/v1/estimates",
    operation_id = "create_estimate",
    tag = "estimate",
    security(("bearer" = ["estimate"])),
    request_body = EstimateRequest,
    responses(
        (status = 200, description = "The estimate", body = Estimate),
        EstimateProblems
    )
)]
async fn create_estimate(
    caller: Caller,
    State(deps): State<Deps>,
    Extension(log): Extension<RequestLog>,
    request: Result<StrictJson<EstimateRequest>, Problem>,
) -> Result<Json<Estimate>, Problem> {
    // Asked before anything that the request says.
    caller.require_any(Scope::Estimate)?;
    let EstimateRequest { account, items, ratio_version } = request?.body;
    let account = account.or_else(|| caller.token_account().cloned());
    let state = state_of(&caller, &deps, account.as_ref()).await?;
    if let Some(account) = &account {
        log.account(account);
    }
    if !(1..=MAX_ITEMS).contains(&items.len()) {
        return Err(Problem::invalid_field("/items", "1 to 50 items"));
    }
    let now = deps.ledger.now();
    let table = tables::for_request(&deps.ratios, ratio_version, now, &log).await?;
    let group = state.as_ref().map_or(Settings::DEFAULT_GROUP, |s| &s.settings().price_group);
    let multiplier = items::multiplier(&table.table, group)?;
    let items = items
        .into_iter()
        .enumerate()
        .map(|(index, item)| {
            let usages = item.read(format!("/items/{index}"))?;
            estimate(usages, &table, multiplier, now)
        })
        .collect::<Result<Vec<_>, Problem>>()?;
    let sum = |of: fn(&CreditBounds) -> Credits| {
        Credits::from_micros(items.iter().map(|item| of(&item.credits).micros()).sum())
            .ok_or_else(|| Problem::new(Code::LimitExceeded, "The total is over 10^15 credits."))
    };
    let total = CreditBounds {
        min: sum(|bounds| bounds.min)?,
        expected: sum(|bounds| bounds.expected)?,
        max: sum(|bounds| bounds.max)?,
    };
    Ok(Json(Estimate {
        ratio_version: table.version,
        items,
        total,
        account: state.map(|state| affordability(&state, total)),
    }))
}

/// The account that prices and affords, if one is named and the caller may see it.
async fn state_of(
    caller: &Caller,
    deps: &Deps,
    account: Option<&AccountId>,
) -> Result<Option<AccountState>, Problem> {
    let Some(account) = account else {
        caller.require_any(Scope::Estimate)?;
        return Ok(None);
    };
    caller.require_account(Scope::Estimate, account)?;
    match deps.ledger.account(account).await? {
        Some(state) => Ok(Some(state)),
        // Somebody who has just signed up: no credits yet, but prices to see.
        None if caller.token_account().is_some() => {
            Ok(Some(AccountState::new(deps.ledger.defaults().clone())))
        }
        None => Err(refusals::account_not_found(account)),
    }
}

impl EstimateItem {
    /// The item at its minimal, expected and maximal usage.
    fn read(self, pointer: String) -> Result<[UsageOf; 3], Problem> {
        let bounds = self.usage;
        let at = |of: fn(&Bounds) -> Quantity| -> Option<Usage> {
            let usage = bounds.as_ref()?;
            Some(usage.iter().map(|(name, bounds)| (name.clone(), of(bounds))).collect())
        };
        let (min, max) = (at(|bounds| bounds.min), at(|bounds| bounds.max));
        let expected = Item {
            model: self.model,
            usage: at(|bounds| bounds.expected),
            parameters: self.parameters,
            provider: self.provider,
            provider_response: self.provider_response,
        }
        .read(pointer)?;
        let with = |usage: Option<Usage>| {
            usage.map_or_else(|| expected.clone(), |usage| expected.with_usage(usage))
        };
        Ok([with(min), expected.clone(), with(max)])
    }
}

fn estimate(
    usages: [UsageOf; 3],
    table: &Versioned,
    multiplier: Multiplier,
    now: uc_domain::Timestamp,
) -> Result<EstimatedItem, Problem> {
    let [min, expected, max] = usages;
    let low = min.rate(&table.table, multiplier, now)?.credits;
    let high = max.rate(&table.table, multiplier, now)?.credits;
    let rated = expected.rate(&table.table, multiplier, now)?;
    Ok(EstimatedItem {
        model: rated.model,
        // More usage can cost less where a tier is cheaper: the bounds stay in order.
        credits: CreditBounds {
            min: low.min(rated.credits).min(high),
            expected: rated.credits,
            max: low.max(rated.credits).max(high),
        },
        minimum_applied: rated.minimum_applied,
        lines: rated.lines,
    })
}

fn affordability(state: &AccountState, total: CreditBounds) -> Affordability {
    let available = state.balance().available;
    let spendable = available.micros() + state.settings().credit_line.micros();
    let missing = Credits::from_micros(total.max.micros() - spendable).unwrap_or(Credits::MAX);
    let free = total.max.is_zero();
    let reason = state.allowed().reason().filter(|_| !free);
    Affordability {
        available,
        affordable: free || !missing.is_positive(),
        shortfall: if free { Credits::ZERO } else { missing.or_zero() },
        allowed: reason.is_none(),
        reason,
    }
}

/// Which part of the rate card.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RatesQuery {
    /// Whose price group counts.
    #[param(value_type = Option<openapi::Account>)]
    account: Option<AccountId>,
    /// Models of this feature only.
    feature: Option<String>,
    /// Models whose id begins so, such as `openai/`.
    prefix: Option<String>,
    /// How many models at most: 1 to 100, 20 where not given.
    #[serde(default)]
    #[param(value_type = Option<u8>, minimum = 1, maximum = 100, default = 20)]
    limit: Limit,
    /// Where to go on: the page before said it as `next_cursor`.
    cursor: Option<String>,
}

/// The prices of one model.
#[derive(ToSchema)]
#[schema(as = RateCardModel)]
#[expect(dead_code, reason = "describes the domain's type in the OpenAPI document")]
struct RateCardModelSchema {
    id: String,
    name: String,
    feature: String,
    aliases: Option<Vec<String>>,
    #[schema(value_type = Option<openapi::Decimal>)]
    minimum: Option<String>,
    ratios: Vec<RateCardRatioSchema>,
}

/// What a number of units of one dimension costs.
#[derive(ToSchema)]
#[schema(as = RateCardRatio)]
#[expect(dead_code, reason = "describes the domain's type in the OpenAPI document")]
struct RateCardRatioSchema {
    dimension: String,
    #[schema(value_type = openapi::Decimal)]
    credits: String,
    per: u64,
    when: Option<BTreeMap<String, Value>>,
}

/// A page of the rate card, with the version it is of.
#[derive(Serialize, ToSchema)]
struct RateCard {
    /// The version of the ratio table.
    ratio_version: u64,
    #[serde(flatten)]
    #[schema(value_type = Page<RateCardModelSchema>)]
    page: Page<Value>,
}

problems!(RatesProblems = AccountNotFound, Conflict);

/// The published prices, as a buyer may see them.
#[utoipa::path(
    get,
    path = "/v1/rates",
    operation_id = "list_rates",
    tag = "estimate",
    params(RatesQuery, ("If-None-Match" = Option<String>, Header)),
    security((), ("bearer" = ["estimate"])),
    responses(
        (status = 200, description = "Models in the order of their ids", body = RateCard),
        (status = 304, description = "Nothing changed since the ETag"),
        RatesProblems
    )
)]
async fn list_rates(
    caller: Caller,
    State(deps): State<Deps>,
    Extension(log): Extension<RequestLog>,
    StrictQuery(query): StrictQuery<RatesQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let account = query.account.as_ref().or_else(|| caller.token_account());
    let state = if account.is_none() && deps.public_rates {
        caller.anyone();
        None
    } else {
        state_of(&caller, &deps, account).await?
    };
    let group = state.as_ref().map_or(Settings::DEFAULT_GROUP, |s| &s.settings().price_group);
    let table = tables::for_request(&deps.ratios, None, deps.ledger.now(), &log).await?;
    let multiplier = items::multiplier(&table.table, group)?;

    let etag = format!("\"{}-{group}\"", table.version);
    let known = headers.get_all(header::IF_NONE_MATCH).iter().any(|value| {
        value.to_str().is_ok_and(|tags| {
            tags.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag)
        })
    });
    let caching = [
        (header::ETAG, HeaderValue::from_str(&etag).map_err(|error| Problem::internal(&error))?),
        // Another account sees other prices under the same URL.
        (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache")),
    ];
    if known {
        return Ok((StatusCode::NOT_MODIFIED, caching).into_response());
    }

    let list = "rates";
    let after = query.cursor.as_deref().map(|cursor| decode_cursor(list, cursor)).transpose()?;
    let mut models = table
        .table
        .models()
        .filter(|model| model.enabled())
        .filter(|model| query.feature.as_deref().is_none_or(|feature| model.feature() == feature))
        .filter(|model| query.prefix.as_deref().is_none_or(|p| model.id().starts_with(p)))
        .filter(|model| after.as_deref().is_none_or(|after| model.id().as_bytes() > after))
        .peekable();
    let mut items = Vec::new();
    let mut shown = None;
    while items.len() < query.limit.get()
        && let Some(model) = models.next()
    {
        let card = table.table.rate_card_model(model.id(), multiplier);
        items.push(serde_json::to_value(card).map_err(|error| Problem::internal(&error))?);
        shown = Some(model.id());
    }
    let next_cursor =
        shown.filter(|_| models.peek().is_some()).map(|last| encode_cursor(list, last.as_bytes()));
    let card = RateCard { ratio_version: table.version, page: Page { items, next_cursor } };
    Ok((caching, Json(card)).into_response())
}

uc_http::operations!(Deps; create_estimate, list_rates);

/// The function's router in a deployment.
pub fn router(deployment: &Deployment) -> Router {
    let deps = Deps {
        ledger: deployment.ledger(),
        ratios: deployment.reader(),
        public_rates: deployment.config().public_rates,
    };
    uc_http::wrap("estimate", routes().with_state(deps), deployment.auth())
}

//! Says what requests would cost before they run, and what is sold at which price.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uc_domain::account::{AccountState, Allowed, Settings};
use uc_domain::{AccountId, Credits};
use uc_http::estimates::{AskedItem, CreditBounds, EstimateItem, EstimatedItem, Prices};
use uc_http::items;
use uc_http::scope::Scope;
use uc_http::{
    Caller, Code, Deployment, FieldError, Limit, Page, Problem, RequestLog, StrictJson,
    StrictQuery, decode_cursor, encode_cursor, openapi, problems, refusals, tables,
};
use uc_ledger::Ledger;
use uc_ratios::Reader;
use utoipa::{IntoParams, ToSchema};

/// Items of one estimate at most: a front end prices all its models at once.
const MAX_ITEMS: usize = 50;
/// Models of one comparison that are named, and that are shown of a feature where no limit is said.
const MAX_MODELS: usize = 50;
/// Models of a feature that are shown at most.
const MAX_SHOWN: u16 = 500;
/// How long after an estimate its bounds cover changes of prices by date and time of day.
const DONE_WITHIN_MILLIS: i64 = 15 * 60 * 1_000;

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

/// The order of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Sort {
    /// By the expected credits, then the most, then the model's id.
    Cheapest,
}

/// What to estimate. With `models` or `feature` it is a comparison: one item, priced on each.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EstimateRequest {
    /// Whose prices count, and whose balance is looked at. An account token's own account where
    /// none is named.
    #[schema(value_type = Option<openapi::AccountId>)]
    account: Option<AccountId>,
    /// 1 to 50 items; one in a comparison.
    #[schema(min_items = 1, max_items = 50)]
    items: Vec<EstimateItem>,
    /// Compares these models.
    #[schema(min_items = 1, max_items = 50)]
    models: Option<Vec<String>>,
    /// Compares all models of this feature.
    feature: Option<String>,
    /// Of a comparison; without it the models' own order, or that of their ids.
    sort: Option<Sort>,
    /// How many models of a feature to show at most; 50 where not given.
    #[schema(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u16>,
    /// The version to price by: the one in force or, for 15 minutes, one it superseded. Naming one
    /// that was just published makes sure that it is the one that counts.
    ratio_version: Option<u64>,
}

/// A model of a comparison that can't do it, and why.
#[derive(Debug, Serialize, ToSchema)]
struct Unpriced {
    /// As it was named, or its id.
    model: String,
    /// `unknown_model`, `unpriced_dimension`, `limit_exceeded` ...
    code: Code,
    /// What is wrong.
    detail: String,
}

/// What the account could do about it.
#[derive(Debug, Serialize, ToSchema)]
struct Affordability {
    /// What it may spend; may be negative.
    #[schema(value_type = openapi::Decimal)]
    available: Credits,
    /// Whether that, and its credit line, cover the total's max; not in a comparison.
    #[serde(skip_serializing_if = "Option::is_none")]
    affordable: Option<bool>,
    /// What is missing for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<openapi::Decimal>)]
    shortfall: Option<Credits>,
    /// Whether new work should start: the account's own state, but what costs nothing may whatever is
    /// owed.
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
    /// Each item, in the order asked; in a comparison the item on each model that prices it.
    items: Vec<EstimatedItem>,
    /// All together; not in a comparison.
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<CreditBounds>,
    /// Of a comparison: the models that can't price the item.
    #[serde(skip_serializing_if = "Option::is_none")]
    unpriced: Option<Vec<Unpriced>>,
    /// Of a comparison: how many models were looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    compared: Option<usize>,
    /// Where an account was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<Affordability>,
}

problems!(
    EstimateProblems = AccountNotFound,
    Conflict,
    PayloadTooLarge,
    UnknownModel,
    UnknownPriceGroup,
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
    let request = request?.body;
    let account = request.account.clone().or_else(|| caller.token_account().cloned());
    let state = state_of(&caller, &deps, account.as_ref()).await?;
    if let Some(account) = &account {
        log.account(account);
    }
    let EstimateRequest { account: _, items, models, feature, sort, limit, ratio_version } =
        request;
    if !(1..=MAX_ITEMS).contains(&items.len()) {
        return Err(Problem::invalid_field("/items", "1 to 50 items"));
    }
    let compared = Compared::read(models, feature, sort, limit)?;
    let asked = items
        .into_iter()
        .enumerate()
        .map(|(index, item)| item.read(format!("/items/{index}")))
        .collect::<Result<Vec<_>, Problem>>()?;
    let now = deps.ledger.now();
    let table = tables::for_request(&deps.ratios, ratio_version, now, &log).await?;
    let group = state.as_ref().map_or(Settings::DEFAULT_GROUP, |s| &s.settings().price_group);
    let multiplier = tables::multiplier(&deps.ratios, &table, group, &log).await?;
    let until = now.saturating_add_millis(DONE_WITHIN_MILLIS);
    let prices = Prices { table: &table.table, multiplier, now, until };
    if let Some(compared) = compared {
        let mut estimate = compared.estimate(&asked, &prices, table.version)?;
        estimate.account = state.map(|state| affordability(&state, None));
        return Ok(Json(estimate));
    }
    let items = asked.iter().map(|asked| prices.of(asked, None)).collect::<Result<Vec<_>, _>>()?;
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
        total: Some(total),
        unpriced: None,
        compared: None,
        account: state.map(|state| affordability(&state, Some(total))),
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

/// Which models a comparison is of.
struct Compared {
    models: Models,
    sort: Option<Sort>,
    limit: usize,
}

enum Models {
    Named(Vec<String>),
    OfFeature(String),
}

impl Compared {
    /// `None` where nothing is to be compared.
    fn read(
        models: Option<Vec<String>>,
        feature: Option<String>,
        sort: Option<Sort>,
        limit: Option<u16>,
    ) -> Result<Option<Self>, Problem> {
        let refuse = |pointer: &str, detail: &'static str| {
            Err(Problem::invalid_field(pointer.to_owned(), detail))
        };
        if limit.is_some() && feature.is_none() {
            return refuse("/limit", "This is of a feature's models.");
        }
        if limit.is_some_and(|limit| !(1..=MAX_SHOWN).contains(&limit)) {
            return refuse("/limit", "1 to 500");
        }
        let limit = limit.map_or(MAX_MODELS, usize::from);
        let models = match (models, feature) {
            (None, None) if sort.is_some() => {
                return refuse("/sort", "Only a comparison of models is sorted.");
            }
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => return refuse("/feature", "Either models or feature."),
            (Some(models), None) => {
                if !(1..=MAX_MODELS).contains(&models.len()) {
                    return refuse("/models", "1 to 50 models");
                }
                for (index, model) in models.iter().enumerate() {
                    items::check_model(model, &format!("/models/{index}"))?;
                }
                Models::Named(models)
            }
            (None, Some(feature)) => Models::OfFeature(feature),
        };
        Ok(Some(Self { models, sort, limit }))
    }

    fn estimate(
        self,
        asked: &[AskedItem],
        prices: &Prices<'_>,
        ratio_version: u64,
    ) -> Result<Estimate, Problem> {
        let [asked] = asked else {
            return Err(Problem::invalid_field("/items", "A comparison is of one item."));
        };
        if asked.model().is_some() {
            let pointer = format!("{}/model", asked.pointer());
            return Err(Problem::invalid_field(pointer, "The models stand in models or feature."));
        }
        if asked.is_response() {
            let detail = "What is compared is a request or usage.";
            return Err(Problem::invalid_field(asked.pointer(), detail));
        }
        let models: Vec<&str> = match &self.models {
            Models::Named(models) => models.iter().map(String::as_str).collect(),
            Models::OfFeature(feature) => {
                let models = prices.table.models();
                let of_feature = models.filter(|m| m.enabled() && m.feature() == feature);
                let models: Vec<_> = of_feature.map(uc_domain::ratios::Model::id).collect();
                if models.is_empty() {
                    let detail = "No model has this feature.".to_owned();
                    return Err(Problem::new(Code::UnknownModel, detail.clone())
                        .with_error(FieldError { pointer: "/feature".to_owned(), detail }));
                }
                models
            }
        };
        let mut items = Vec::new();
        let mut unpriced = Vec::new();
        for model in &models {
            match prices.of(asked, Some(model)) {
                Ok(item) => items.push(item),
                // What is wrong with the request is wrong on every model.
                Err(problem) if problem.code() == Code::InvalidRequest => return Err(problem),
                Err(problem) => unpriced.push(Unpriced {
                    model: (*model).to_owned(),
                    code: problem.code(),
                    detail: problem.detail().to_owned(),
                }),
            }
        }
        if self.sort == Some(Sort::Cheapest) {
            items.sort_by(|a, b| {
                let key = |item: &EstimatedItem| (item.credits.expected, item.credits.max);
                key(a).cmp(&key(b)).then_with(|| a.model.cmp(&b.model))
            });
        }
        items.truncate(self.limit);
        unpriced.truncate(self.limit);
        Ok(Estimate {
            ratio_version,
            items,
            total: None,
            unpriced: Some(unpriced),
            compared: Some(models.len()),
            account: None,
        })
    }
}

/// What an account could do about a total, or about models that are only compared.
fn affordability(state: &AccountState, total: Option<CreditBounds>) -> Affordability {
    let available = state.balance().available;
    let spendable = available.micros() + state.settings().credit_line.micros();
    let free = total.is_some_and(|total| total.max.is_zero());
    let missing = total.map(|total| {
        let missing = Credits::from_micros(total.max.micros() - spendable).unwrap_or(Credits::MAX);
        if free { Credits::ZERO } else { missing.or_zero() }
    });
    let reason = match state.allowed() {
        Allowed::InsufficientCredits | Allowed::Debt if free => None,
        allowed => allowed.reason(),
    };
    Affordability {
        available,
        affordable: missing.map(Credits::is_zero),
        shortfall: missing,
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
    #[param(value_type = Option<openapi::AccountId>)]
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

problems!(RatesProblems = AccountNotFound, Conflict, UnknownPriceGroup);

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
    let multiplier = tables::multiplier(&deps.ratios, &table, group, &log).await?;

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

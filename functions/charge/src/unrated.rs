//! Usage that no ratio prices: listed, and rated once one does.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use uc_domain::account::{AccountState, Capture, Charge, Command};
use uc_domain::providers::told_by;
use uc_domain::ratios::{Multiplier, PricedBy};
use uc_domain::{AccountId, Credits, Quantity, Timestamp};
use uc_http::items::UsageOf;
use uc_http::scope::Charge as ChargeScope;
use uc_http::views::{self, Moved};
use uc_http::{
    Access, Code, Limit, Page, PathParams, Problem, RequestLog, StrictJson, StrictQuery,
    decode_cursor, encode_cursor, openapi, problems, refusals, tables,
};
use uc_ledger::{Asked, Unrated, UnratedId, UnratedItem, UnratedRequest};
use uc_ratios::Versioned;
use utoipa::{IntoParams, ToSchema};

use crate::Deps;
use crate::charges::{Prices, count, is_unpriced, priced};

/// One item of unrated usage.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = UnratedItem)]
pub(crate) struct ItemView {
    /// The model, as the request or the provider's response named it.
    model: String,
    /// Whose response it was read from, where that named the model: it is looked for as
    /// `<provider>/<model>` first.
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<String>,
    /// How much of each dimension was used.
    #[schema(value_type = BTreeMap<String, openapi::Quantity>)]
    usage: BTreeMap<String, Quantity>,
    /// What prices may depend on.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    parameters: BTreeMap<String, String>,
}

/// Usage that no ratio priced yet.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Unrated)]
pub(crate) struct UnratedView {
    /// Its id.
    #[schema(example = "un_019aa3f0c1d23b0a1c2d3e4f50617")]
    id: String,
    /// Whose usage it is.
    #[schema(value_type = openapi::AccountId)]
    account: AccountId,
    /// The key of the charge that told it.
    idempotency_key: String,
    /// The code of why it could not be priced.
    #[schema(example = "unknown_model")]
    reason: String,
    /// The same for people.
    detail: String,
    /// What was used. Of a provider's response the numbers alone are kept.
    items: Vec<ItemView>,
    /// When it was kept.
    #[schema(value_type = openapi::Instant)]
    parked_at: Timestamp,
    /// When the usage happened, where that was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<openapi::Instant>)]
    occurred_at: Option<Timestamp>,
    /// The version of the ratio table that did not price it, or not all of it: what it does price
    /// keeps its prices.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio_version: Option<u64>,
    /// At most this is to be taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<openapi::Decimal>)]
    max_credits: Option<Credits>,
    /// The hold that it is to be captured from.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "hold_2_0")]
    hold: Option<String>,
    /// Who in the account caused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
    /// The caller's labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
}

impl UnratedView {
    pub(crate) fn new(id: &UnratedId, unrated: Unrated) -> Self {
        let request = |request: UnratedRequest| {
            let UnratedRequest { names, usage, parameters, .. } = request;
            let (provider, model) = match told_by(&names) {
                Some((provider, model)) => (Some(provider.to_owned()), model.to_owned()),
                None => (None, names.into_iter().next().unwrap_or_default()),
            };
            ItemView { model, provider, usage, parameters }
        };
        let requests = unrated.items.into_iter().flat_map(|item: UnratedItem| item.requests);
        Self {
            id: id.to_string(),
            account: unrated.account,
            idempotency_key: unrated.key,
            reason: unrated.reason,
            detail: unrated.detail,
            items: requests.map(request).collect(),
            parked_at: unrated.parked_at,
            occurred_at: unrated.occurred_at,
            ratio_version: unrated.ratio_version,
            max_credits: unrated.max_credits,
            hold: unrated.capture.map(|(hold, _)| hold.to_string()),
            actor: unrated.private.actor,
            metadata: unrated.private.metadata,
        }
    }
}

/// What a charge is answered with whose usage is kept as unrated.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Parked {
    /// The usage.
    pub(crate) unrated: UnratedView,
}

/// Which unrated usage.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct UnratedQuery {
    /// How many items at most: 1 to 100, 20 where not given.
    #[serde(default)]
    #[param(value_type = Option<u8>, minimum = 1, maximum = 100, default = 20)]
    limit: Limit,
    /// Where to go on: the page before said it as `next_cursor`.
    cursor: Option<String>,
    /// Of this account alone.
    #[param(value_type = Option<String>)]
    account: Option<AccountId>,
}

problems!(ListUnratedProblems =);

/// Usage that waits to be priced, by account groups, the oldest first in each. A page may be
/// short, even empty, and not the last: `next_cursor` tells.
#[utoipa::path(
    get,
    path = "/v1/unrated",
    operation_id = "list_unrated",
    tag = "charge",
    params(UnratedQuery),
    security(("bearer" = ["charge"])),
    responses(
        (status = 200, description = "Unrated usage", body = Page<UnratedView>),
        ListUnratedProblems
    )
)]
async fn list_unrated(
    _: Access<ChargeScope>,
    State(deps): State<Deps>,
    StrictQuery(query): StrictQuery<UnratedQuery>,
) -> Result<Json<Page<UnratedView>>, Problem> {
    let list = format!("unrated/{}", query.account.as_ref().map_or("", AccountId::as_str));
    let no_cursor = || Problem::invalid_request("The cursor is not one of this list.");
    let after: Option<UnratedId> = match &query.cursor {
        None => None,
        Some(cursor) => {
            let position = decode_cursor(&list, cursor)?;
            let id = std::str::from_utf8(&position).map_err(|_| no_cursor())?;
            Some(id.parse().map_err(|_| no_cursor())?)
        }
    };
    let limit = u32::try_from(query.limit.get()).unwrap_or(1);
    let page = deps.ledger.unrated_page(query.account.as_ref(), after.as_ref(), limit).await?;
    Ok(Json(Page {
        items: page.items.into_iter().map(|(id, kept)| UnratedView::new(&id, kept)).collect(),
        next_cursor: page.next.map(|next| encode_cursor(&list, next.as_str().as_bytes())),
    }))
}

/// How to rate unrated usage.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RateRequest {
    /// The version of the ratio table to rate all of it by. Where none is named, what the version that the usage
    /// came with has a price for is rated by that, and the rest by the one in force.
    ratio_version: Option<u64>,
}

problems!(
    RateProblems = NotFound,
    InsufficientCredits,
    AccountSuspended,
    AccountNotFound,
    Conflict,
    PayloadTooLarge,
    UnknownModel,
    UnknownPriceGroup,
    UnpricedDimension,
    LimitExceeded
);

/// Prices unrated usage and charges it, under the key of the charge that told it: it happens once,
/// however often this is asked for, and the first charge sent again is its replay. It is priced as
/// of when it was used: what had a price then keeps it, and `ratio_version` of the charge is the
/// version which that price is of; `filled_by` of an item is the one that priced the rest of it. What
/// can't be charged stays where it is.
#[utoipa::path(
    post,
    path = "/v1/unrated/{unrated}/rate",
    operation_id = "rate_unrated",
    tag = "charge",
    params(("unrated" = String, Path)),
    security(("bearer" = ["charge"])),
    request_body = RateRequest,
    responses((status = 201, description = "Charged", body = Moved), RateProblems)
)]
async fn rate_unrated(
    _: Access<ChargeScope>,
    State(deps): State<Deps>,
    Extension(log): Extension<RequestLog>,
    path: PathParams,
    request: StrictJson<RateRequest>,
) -> Result<Response, Problem> {
    let nothing = || Problem::new(Code::NotFound, "There is no such unrated usage.");
    let id: String = path.get("unrated")?;
    let id: UnratedId = id.parse().map_err(|_| nothing())?;
    let Some(unrated) = deps.ledger.unrated(&id).await? else {
        // Somebody has rated it, maybe this very caller, whose answer was lost.
        let outcome = deps.ledger.rated(&id).await?.ok_or_else(nothing)?;
        return Ok(views::moved(outcome));
    };
    log.account(&unrated.account);
    let (named, since) = (request.body.ratio_version, deps.ratios.now());
    let table = match named {
        // Whoever rates what had no price has just published one.
        None => {
            let known = deps.ratios.current().await?.version;
            deps.ratios.at_least(known.saturating_add(1)).await?
        }
        Some(version) => deps.ratios.version(version).await?,
    };
    let newest = tables::beside(&deps.ratios, named).await;
    log.ratio_version(table.version);
    // What had a price when it was used, was promised it: by its hold, its estimate, or the table
    // that was in force.
    let promised = match unrated.ratio_version.filter(|_| named.is_none()) {
        Some(version) if tables::is_promised(&deps.ratios, version).await? => {
            Some(deps.ratios.version(version).await?)
        }
        _ => None,
    };
    let usages: Vec<_> = unrated
        .items
        .iter()
        .enumerate()
        .map(|(index, item)| UsageOf::of_kept(item.clone(), format!("/items/{index}")))
        .collect();
    let at = unrated.used_at();
    let decide = |state: &AccountState, prices: Prices<'_>| -> Result<Command, Problem> {
        let charge = Charge {
            credits: Credits::ZERO,
            items: Vec::new(),
            ratio_version: None,
            price_group: None,
            max_credits: unrated.max_credits,
            occurred_at: Some(at),
        };
        let charge = priced(&usages, prices, state, at, charge)?;
        // Where the hold is gone meanwhile, the usage is charged as any other.
        Ok(match unrated.capture.filter(|(hold, _)| state.may_capture(*hold)) {
            Some((hold, last)) => Command::Capture(Capture { hold, charge, last }),
            None => Command::Charge(charge),
        })
    };
    let rate = async |table: &Arc<Versioned>| {
        let promised = promised.as_ref().filter(|promised| promised.version != table.version);
        let prices = match promised.filter(|promised| prices_some(&usages, promised, table, at)) {
            Some(promised) => {
                Prices { table: promised, newest: Some(table), filled_by: Some(table) }
            }
            None => Prices { table, newest: newest.as_deref(), filled_by: None },
        };
        let decide = |state: &AccountState| decide(state, prices);
        deps.ledger.rate_unrated(&id, &unrated, decide).await
    };
    let mut outcome = rate(&table).await;
    if let (None, Err(Asked::Decided(problem))) = (named, &outcome)
        && is_unpriced(problem)
    {
        let newer = tables::newer_than(&deps.ratios, table.version, since, &log).await?;
        if newer.version > table.version {
            outcome = rate(&newer).await;
        }
    }
    let outcome = outcome.map_err(|error| refusals::asked(error, &unrated.account))?;
    count(&log, &outcome);
    Ok(views::moved(outcome))
}

/// Whether a table has a price for any of it, where a newer one has for all of it.
fn prices_some(usages: &[UsageOf], table: &Versioned, newer: &Versioned, at: Timestamp) -> bool {
    usages.iter().any(|usage| {
        let tables = (&table.table, &newer.table);
        // What is over a limit is said so when it is priced.
        match usage.rate_filled(tables, Multiplier::ONE, at) {
            Ok((_, by)) => by != PricedBy::Newer,
            Err(problem) => !is_unpriced(&problem),
        }
    })
}

uc_http::operations!(Deps; list_unrated, rate_unrated);

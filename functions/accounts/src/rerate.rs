//! What a charge would cost under another version of the ratio table.
//!
//! A charge keeps its lines, with model, dimension and quantity, and the request's parameters: that
//! is what the other version prices.

use axum::Json;
use axum::extract::{Extension, State};
use serde::{Deserialize, Serialize};
use uc_domain::account::RatedItem;
use uc_domain::ratios::{Exact, Line, Multiplier, RatioTable};
use uc_domain::{Credits, Timestamp};
use uc_http::items::UsageOf;
use uc_http::scope::Read;
use uc_http::views::{LineSchema, OperationView};
use uc_http::{
    AccountAccess, Code, PathParams, Problem, RequestLog, Scope, StrictJson, items, openapi,
    problems, tables,
};
use utoipa::ToSchema;

use crate::Deps;
use crate::transactions::{happened, price_group, priced};

/// Under which version.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RerateRequest {
    /// A version of the ratio table; the one in force where none is named.
    ratio_version: Option<u64>,
}

/// One item of the charge under the other version.
#[derive(Debug, Serialize, ToSchema)]
pub struct RatedAgain {
    /// The model that the request's name leads to; none where nothing was used, or where the name
    /// leads nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// What was charged for it.
    #[schema(value_type = openapi::Decimal)]
    charged: Credits,
    /// What it would cost. None where it could not be priced.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<openapi::Decimal>)]
    credits: Option<Credits>,
    /// Its lines.
    #[schema(value_type = Vec<LineSchema>)]
    lines: Vec<Line>,
    /// The exact sum of the lines.
    #[schema(value_type = openapi::Decimal)]
    subtotal: Exact,
    /// Whether the model's minimum counts instead.
    minimum_applied: bool,
    /// Why that may not be what the request would have cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    approximate: Option<&'static str>,
    /// Why it could not be priced: `unknown_model`, `unpriced_dimension`, `limit_exceeded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "unknown_model")]
    error: Option<&'static str>,
    /// The same for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// A charge under another version.
#[derive(Debug, Serialize, ToSchema)]
pub struct Rerated {
    /// The charge.
    #[schema(example = "op_3_0")]
    operation: String,
    /// The version that priced it.
    charged_by: u64,
    /// The version that prices it here.
    ratio_version: u64,
    /// The account's price group at the time of the charge, whose multiplier in this version
    /// counts, or in the newest one where the group is newer.
    price_group: String,
    /// Its items, in their order.
    items: Vec<RatedAgain>,
    /// What was charged, before caps and what was forgiven.
    #[schema(value_type = openapi::Decimal)]
    charged: Credits,
    /// What it would cost; none where an item could not be priced.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<openapi::Decimal>)]
    credits: Option<Credits>,
    /// What would be more (negative: less).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<openapi::Decimal>)]
    difference: Option<Credits>,
    /// Whether all of it could be priced, and nothing is approximate.
    exact: bool,
}

problems!(RerateProblems = NotFound, AccountNotFound, Conflict, UnknownPriceGroup, PayloadTooLarge);

/// What a charge would cost under another version of the ratio table, line by line. Nothing is
/// written. Asks for `ratios:admin` too: it tells the prices of any version.
#[utoipa::path(
    post,
    path = "/v1/accounts/{account}/transactions/{operation}/rerate",
    operation_id = "rerate_transaction",
    tag = "accounts",
    params(("account" = openapi::AccountId, Path), ("operation" = String, Path)),
    security(("bearer" = ["read", "ratios:admin"])),
    request_body = RerateRequest,
    responses((status = 200, description = "What it would cost", body = Rerated), RerateProblems)
)]
async fn rerate_transaction(
    access: AccountAccess<Read>,
    State(deps): State<Deps>,
    Extension(log): Extension<RequestLog>,
    path: PathParams,
    request: Result<StrictJson<RerateRequest>, Problem>,
) -> Result<Json<Rerated>, Problem> {
    access.caller.require(Scope::RatiosAdmin)?;
    let RerateRequest { ratio_version } = request?.body;
    let happened = happened(&deps, &access.account, &path).await?;
    let operation = happened.operation;
    let Some((charged_by, items)) = priced(&operation.detail) else {
        let detail = "No ratio priced this operation: fixed credits cost what they cost.";
        return Err(Problem::new(Code::Conflict, detail));
    };
    let table = match ratio_version {
        None => deps.ratios.current().await?,
        Some(version) => deps.ratios.version(version).await?,
    };
    let price_group = price_group(&deps, &access.account, operation.id).await?;
    let multiplier = tables::multiplier(&deps.ratios, &table, &price_group, &log).await?;
    let view =
        OperationView::new(uc_ledger::Happened { operation: operation.clone(), ..happened }, false);
    let again =
        Again { table: &table.table, multiplier, at: view.occurred_at.unwrap_or(operation.at) };
    let items: Vec<_> = items.iter().map(|item| again.rate(item)).collect();
    let total = |of: &dyn Fn(&RatedAgain) -> Option<Credits>| {
        let sum = items.iter().map(|item| of(item).map(Credits::micros)).sum::<Option<i128>>()?;
        Credits::from_micros(sum)
    };
    let charged = total(&|item| Some(item.charged)).unwrap_or(Credits::MAX);
    let credits = total(&|item| item.credits);
    Ok(Json(Rerated {
        operation: operation.id.to_string(),
        charged_by,
        ratio_version: table.version,
        price_group,
        charged,
        credits,
        difference: credits.and_then(|credits| credits.checked_sub(charged)),
        exact: credits.is_some() && items.iter().all(|item| item.approximate.is_none()),
        items,
    }))
}

/// How a charge is rated again.
struct Again<'a> {
    table: &'a RatioTable,
    multiplier: Multiplier,
    at: Timestamp,
}

impl Again<'_> {
    fn rate(&self, item: &RatedItem) -> RatedAgain {
        let none = RatedAgain {
            model: None,
            charged: item.credits,
            credits: None,
            lines: Vec::new(),
            subtotal: Exact::ZERO,
            minimum_applied: false,
            approximate: None,
            error: None,
            detail: None,
        };
        let rated = UsageOf::of_charged(item).and_then(|usage| {
            usage.map(|usage| usage.rate(self.table, self.multiplier, self.at)).transpose()
        });
        match rated {
            // Nothing was used, which costs nothing under any version.
            Ok(None) => RatedAgain { credits: Some(Credits::ZERO), ..none },
            Ok(Some(rated)) => RatedAgain {
                approximate: items::doubt_of_charged(self.table, &rated, item.into()),
                model: Some(rated.model),
                credits: Some(rated.credits),
                lines: rated.lines,
                subtotal: rated.subtotal,
                minimum_applied: rated.minimum_applied,
                ..none
            },
            Err(problem) => RatedAgain {
                error: Some(problem.code().as_str()),
                detail: Some(problem.detail().to_owned()),
                ..none
            },
        }
    }
}

uc_http::operations!(Deps; rerate_transaction);

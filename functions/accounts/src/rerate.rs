//! What a charge would cost under another version of the ratio table.
//!
//! A charge keeps its lines: model, dimension, quantity and the row that priced it. It does not
//! keep the request's parameters, but the rows tell some: an equality of a row that was chosen was
//! true of the request, and a row that would have been chosen and was not tells what was not. What
//! stays unknown is named, with the range of what it could cost.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use uc_domain::account::RatedItem;
use uc_domain::ratios::{
    Exact, Line, Model, Multiplier, Parameters, Rated, RatioTable, Request, Usage,
};
use uc_domain::{Credits, Timestamp};
use uc_http::scope::Read;
use uc_http::views::{LineSchema, OperationView};
use uc_http::{
    AccountAccess, Code, PathParams, Problem, Scope, StrictJson, items, openapi, problems, refusals,
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

/// From the least to the most.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreditRange {
    /// The least.
    #[schema(value_type = openapi::Decimal)]
    min: Credits,
    /// The most.
    #[schema(value_type = openapi::Decimal)]
    max: Credits,
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
    /// What it would cost: without parameters that are not known, as if the request had none of
    /// them. None where it could not be priced.
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
    /// The parameters that the price depends on and that nobody knows any more.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    unknown: BTreeSet<String>,
    /// What it could cost, depending on those.
    #[serde(skip_serializing_if = "Option::is_none")]
    range: Option<CreditRange>,
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
    /// counts.
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
    /// Whether nothing is unknown.
    exact: bool,
}

problems!(RerateProblems = NotFound, AccountNotFound, Conflict, PayloadTooLarge);

/// What a charge would cost under another version of the ratio table, line by line. Nothing is
/// written. Asks for `ratios:admin` too: it tells the prices of any version.
#[utoipa::path(
    post,
    path = "/v1/accounts/{account}/transactions/{operation}/rerate",
    operation_id = "rerate_transaction",
    tag = "accounts",
    params(("account" = openapi::Account, Path), ("operation" = String, Path)),
    security(("bearer" = ["read", "ratios:admin"])),
    request_body = RerateRequest,
    responses((status = 200, description = "What it would cost", body = Rerated), RerateProblems)
)]
async fn rerate_transaction(
    access: AccountAccess<Read>,
    State(deps): State<Deps>,
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
    let charged_table = deps.ratios.version(charged_by).await?;
    let table = match ratio_version {
        None => deps.ratios.current().await?,
        Some(version) => deps.ratios.version(version).await?,
    };
    let price_group = price_group(&deps, &access.account, operation.id).await?;
    let multiplier = items::multiplier(&table.table, &price_group)?;
    let view =
        OperationView::new(uc_ledger::Happened { operation: operation.clone(), ..happened }, false);
    let again = Again {
        charged: &charged_table.table,
        table: &table.table,
        multiplier,
        at: view.occurred_at.unwrap_or(operation.at),
    };
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
        exact: credits.is_some() && items.iter().all(|item| item.unknown.is_empty()),
        items,
    }))
}

/// How a charge is rated again.
struct Again<'a> {
    /// The table that priced it.
    charged: &'a RatioTable,
    /// The table that prices it now.
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
            unknown: BTreeSet::new(),
            range: None,
            error: None,
            detail: None,
        };
        let Some(used) = Used::of(item) else {
            // Nothing was used, which costs nothing under any version.
            return RatedAgain { credits: Some(Credits::ZERO), ..none };
        };
        let rated = match used.by(self.table, &used.parameters, self.multiplier, self.at) {
            Ok(rated) => rated,
            Err(problem) => {
                let (error, detail) = (problem.code().as_str(), problem.detail().to_owned());
                return RatedAgain { error: Some(error), detail: Some(detail), ..none };
            }
        };
        let (unknown, range) = self.unknown(item, &used, &rated);
        RatedAgain {
            model: Some(rated.model),
            credits: Some(rated.credits),
            lines: rated.lines,
            subtotal: rated.subtotal,
            minimum_applied: rated.minimum_applied,
            unknown,
            range,
            ..none
        }
    }

    /// Which parameters could have made another price, and which prices.
    ///
    /// For any rows of which all conditions can hold together the table has one with all of their
    /// conditions, so it is enough to ask of every row alone: what if its parameters were given?
    fn unknown(
        &self,
        item: &RatedItem,
        used: &Used<'_>,
        rated: &Rated,
    ) -> (BTreeSet<String>, Option<CreditRange>) {
        let mut unknown = BTreeSet::new();
        let (mut min, mut max) = (rated.credits, rated.credits);
        let mut asked = BTreeSet::new();
        let rows = self.table.model(&rated.model).into_iter().flat_map(Model::ratios);
        for conditions in rows.filter_map(|row| row.rate().when()) {
            let known = &used.parameters;
            let wanted = conditions.equalities();
            let contradicts = |(name, value)| known.get(name).is_some_and(|known| known != value);
            let further: Parameters = wanted
                .iter()
                .filter(|(name, _)| !known.contains_key(*name))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            if further.is_empty()
                || wanted.iter().any(contradicts)
                || !asked.insert(further.clone())
            {
                continue;
            }
            let mut parameters = known.clone();
            parameters.extend(further.clone());
            // Had the request had them, the charge would have been priced by the same rows.
            let then = used.by(self.charged, &parameters, self.multiplier, self.at);
            if !then.is_ok_and(|then| same_rows(&then.lines, &item.lines)) {
                continue;
            }
            match used.by(self.table, &parameters, self.multiplier, self.at) {
                Ok(other) if same_rows(&other.lines, &rated.lines) => {}
                Ok(other) => {
                    (min, max) = (min.min(other.credits), max.max(other.credits));
                    unknown.extend(further.into_keys());
                }
                // Rated without them, so rated with them: rows only become more.
                Err(_) => unknown.extend(further.into_keys()),
            }
        }
        let range = (!unknown.is_empty()).then_some(CreditRange { min, max });
        (unknown, range)
    }
}

fn same_rows(some: &[Line], others: &[Line]) -> bool {
    let row = |line: &Line| (line.dimension().to_owned(), line.rate().clone());
    some.len() == others.len() && some.iter().map(row).eq(others.iter().map(row))
}

/// What an item's lines tell of the request.
struct Used<'a> {
    model: &'a str,
    usage: Usage,
    parameters: Parameters,
}

impl<'a> Used<'a> {
    /// `None` where nothing was used.
    fn of(item: &'a RatedItem) -> Option<Self> {
        let id = item.lines.first()?.model();
        // The name may lead elsewhere in another version, or nowhere.
        let model = item.matched.as_ref().map_or(id, |matched| matched.name.as_str());
        let mut millis: BTreeMap<&str, u64> = BTreeMap::new();
        let mut parameters = Parameters::new();
        for line in &item.lines {
            let mut own = line.quantity().millis();
            for (dimension, part) in line.parts() {
                own = own.saturating_sub(part.millis());
                *millis.entry(dimension).or_default() += part.millis();
            }
            *millis.entry(line.dimension()).or_default() += own;
            let equalities = line.rate().when().map(uc_domain::ratios::Conditions::equalities);
            parameters
                .extend(equalities.into_iter().flatten().map(|(n, v)| (n.clone(), v.clone())));
        }
        let usage = millis
            .into_iter()
            .filter_map(|(dimension, millis)| {
                Some((dimension.to_owned(), uc_domain::Quantity::from_millis(millis)?))
            })
            .collect();
        Some(Self { model, usage, parameters })
    }

    fn by(
        &self,
        table: &RatioTable,
        parameters: &Parameters,
        multiplier: Multiplier,
        at: Timestamp,
    ) -> Result<Rated, Problem> {
        let Self { model, usage, .. } = self;
        let request = Request { model, usage, parameters, at, multiplier };
        table.rate(&request).map_err(|error| refusals::rating(&error, ""))
    }
}

uc_http::operations!(Deps; rerate_transaction);

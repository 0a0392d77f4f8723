//! What another table would mean: prices and margins of each model, and what usage would have cost
//! and earned.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uc_domain::account::{Detail, OperationId, Settings};
use uc_domain::ratios::{
    Comparison, Counts, CreditPrice, ExactMoney, Margin, ModelPreview, Rated, Ratio, RatioTable,
    Side, TableDiff, Totals, UsageTotals,
};
use uc_domain::{AccountId, Credits, Quantity, Timestamp};
use uc_http::items::{self, Item, KnownAs, UsageOf};
use uc_http::scope::RatiosAdmin;
use uc_http::{
    Access, Code, FieldError, LargeJson, Limit, Page, Problem, RequestLog, Scope, openapi,
    operation_cursor, operation_of_cursor, parse_strict, parse_typed, problems, refusals,
};
use utoipa::ToSchema;

use crate::diff::{DiffCounts, LeftOut, TableName, Wanted, page, table};
use crate::{Deps, faults, large_json, within};

/// Items of given usage at most.
const MAX_ITEMS: usize = 5_000;
/// Charges of an account that are priced again at most.
const MAX_CHARGES: u16 = 1_000;
/// Pages of an account's operations that are read for them at most, each of 100.
const MAX_PAGES: usize = 50;
const PAGE: u32 = 100;

/// Money.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PriceRequest {
    /// More than nothing, at most 12 significant digits.
    #[schema(value_type = openapi::Decimal)]
    amount: String,
    /// ISO 4217.
    #[schema(example = "USD")]
    currency: String,
}

/// Which models to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ModelsWanted {
    /// Those whose prices, costs or minimum change, that come or go.
    #[default]
    Changed,
    /// All.
    All,
}

/// What to look at. Usage is that of `usage` or of `account`, or none.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PreviewRequest {
    /// The table to compare with: a version's number, `current` (where not given) or `draft`.
    #[schema(value_type = Option<String>)]
    from: Option<Wanted>,
    /// The table to look at: a version's number, `current` or `draft` (where not given).
    #[schema(value_type = Option<String>)]
    to: Option<Wanted>,
    /// The table to look at, instead of `to`; complete.
    #[schema(value_type = Option<crate::RatioTableSchema>)]
    table: Option<Value>,
    /// What a credit is sold for, in the currency of the costs: without it no margins.
    credit_price: Option<PriceRequest>,
    /// Whose prices count: `default`, or the account's, where not given.
    price_group: Option<String>,
    /// Which models to list.
    #[serde(default)]
    #[schema(value_type = Option<ModelsWanted>)]
    models: ModelsWanted,
    /// How many models at most: 1 to 100, 20 where not given.
    #[serde(default)]
    #[schema(value_type = Option<u8>, minimum = 1, maximum = 100)]
    limit: Limit,
    /// Where to go on: the page before said it as `next_cursor`.
    cursor: Option<String>,
    /// Up to 5,000 items as in a charge, each with `occurred_at` where that is not now: a list, or
    /// a text of JSON lines.
    #[schema(value_type = Option<Vec<UsedItem>>)]
    usage: Option<Value>,
    /// An account whose charges to price again, the newest first; needs the scope `read` too.
    #[schema(value_type = Option<openapi::AccountId>)]
    account: Option<AccountId>,
    /// Of the account's charges, those from here on.
    #[schema(value_type = Option<openapi::Instant>)]
    since: Option<Timestamp>,
    /// Of the account's charges, those before.
    #[schema(value_type = Option<openapi::Instant>)]
    until: Option<Timestamp>,
    /// How many of the account's charges at most: 1 to 1,000, 1,000 where not given.
    #[schema(minimum = 1, maximum = 1000)]
    charges: Option<u16>,
    /// Of the account's charges, those that another answer did not come to: it said where as
    /// `next_cursor` of its `charges`.
    charges_cursor: Option<String>,
}

/// One item of usage: as in a charge, with the time of its own.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UsedItem {
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
    /// When it happened: decides dated prices and times of day. Now where not given.
    #[schema(value_type = Option<openapi::Instant>)]
    occurred_at: Option<Timestamp>,
}

/// Usage that is to be priced by both tables.
struct Used {
    /// The operation that it was charged in.
    operation: Option<OperationId>,
    /// Its place there, or in the request.
    item: usize,
    /// What was used; or why that is not known.
    usage: Result<UsageOf, Problem>,
    /// What the charge tells of it, where it was charged.
    known_as: Option<KnownAs>,
    at: Timestamp,
}

/// A sum of money.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MoneySum)]
struct MoneySum {
    /// Exact, with up to 25 decimal places.
    #[schema(value_type = openapi::Decimal)]
    amount: ExactMoney,
    /// ISO 4217.
    currency: String,
}

/// What usage comes to by one table.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PreviewTotals)]
struct TotalsView {
    /// What it costs the account.
    #[schema(value_type = openapi::Decimal)]
    credits: Credits,
    /// What it costs the operator, by the costs in the table.
    costs: Vec<MoneySum>,
    /// Lines without a cost, or with one in another currency than the price of a credit. They
    /// count as if they cost nothing.
    uncosted_lines: u64,
    /// What the credits are sold for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<openapi::Decimal>)]
    revenue: Option<ExactMoney>,
    /// What of it is left over the costs; below zero where it is a loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<openapi::Decimal>)]
    earned: Option<ExactMoney>,
    /// `1 - cost / revenue`, rounded down to 6 places; absent without revenue.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<openapi::Decimal>)]
    margin: Option<Margin>,
}

impl TotalsView {
    fn new(totals: &Totals, price: Option<&CreditPrice>) -> Result<Self, Problem> {
        let sum = |(currency, amount): (&String, &ExactMoney)| MoneySum {
            amount: *amount,
            currency: currency.clone(),
        };
        let mut view = Self {
            credits: totals.credits(),
            costs: totals.costs().iter().map(sum).collect(),
            uncosted_lines: totals.uncosted_lines(),
            revenue: None,
            earned: None,
            margin: None,
        };
        if let Some(price) = price {
            let (revenue, cost) = totals.money(price).ok_or_else(over_limit)?;
            view.revenue = Some(revenue);
            view.earned = Some(revenue.checked_sub(cost).ok_or_else(over_limit)?);
            view.margin = Margin::of(cost, revenue);
        }
        Ok(view)
    }
}

/// What the usage of one model comes to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PreviewModelTotals)]
struct ModelTotals {
    /// The model in the first table.
    model: String,
    /// How many items.
    items: u64,
    /// By the first table.
    from: TotalsView,
    /// By the second table.
    to: TotalsView,
}

/// What an item comes to by one table, or why it has no price there.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PreviewOutcome)]
struct Outcome {
    /// The price.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<openapi::Decimal>)]
    credits: Option<Credits>,
    /// A problem's code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    code: Option<Code>,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl From<&Result<Rated, Problem>> for Outcome {
    fn from(rated: &Result<Rated, Problem>) -> Self {
        match rated {
            Ok(rated) => Self { credits: Some(rated.credits), code: None, detail: None },
            Err(problem) => Self {
                credits: None,
                code: Some(problem.code()),
                detail: Some(problem.detail().to_owned()),
            },
        }
    }
}

/// An item that not both tables can price. It is in no total.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PreviewUnpriced)]
struct Unpriced {
    /// The operation that it was charged in.
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<String>,
    /// Its place there, in the list or among the lines, from 0.
    item: usize,
    /// By the first table.
    from: Outcome,
    /// By the second table.
    to: Outcome,
}

/// An item that both tables price, but not surely all that was asked for. It is in the totals.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PreviewApproximate)]
struct Approximate {
    /// The operation that it was charged in.
    operation: String,
    /// Its place there.
    item: usize,
    /// What is not known.
    reason: &'static str,
}

/// Which charges of the account were priced again.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = PreviewCharges)]
struct ChargesView {
    /// How many were looked at.
    charges: u16,
    /// What their items cost when they were charged, by the ratios alone: as the totals have it.
    #[schema(value_type = openapi::Decimal)]
    charged: Credits,
    /// What was taken for those: less, where a charge was capped or part of it was forgiven.
    #[schema(value_type = openapi::Decimal)]
    taken: Credits,
    /// How much of that was given back since, by the refunds that were looked at for this answer: of
    /// one that goes on by a cursor those that are newer than where it begins are missing.
    #[schema(value_type = openapi::Decimal)]
    refunded: Credits,
    /// How many of them were of fixed credits: no table prices those.
    fixed: u16,
    /// When the oldest of them was.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<openapi::Instant>)]
    oldest: Option<Timestamp>,
    /// Whether these are all of the time that was asked for.
    complete: bool,
    /// Where to go on, as `charges_cursor`, where these are not all. There may be none on the way:
    /// 5,000 operations are looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// What usage would have cost and earned.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PreviewUsage)]
struct UsageView {
    /// How many items both tables price: those that the totals are of.
    items: u64,
    /// By the first table.
    from: TotalsView,
    /// By the second table.
    to: TotalsView,
    /// The same for each model.
    models: Vec<ModelTotals>,
    /// All others, with the reason.
    unpriced: Vec<Unpriced>,
    /// Items of charges in the totals of which not all is known that either table may ask for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    approximate: Vec<Approximate>,
    /// Of an account: which charges these are.
    #[serde(skip_serializing_if = "Option::is_none")]
    charges: Option<ChargesView>,
}

/// A model and its lowest margin.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LowestMargin)]
struct Lowest {
    /// The model's id.
    model: String,
    /// `1 - cost / (credits * price of a credit)` of one of its rows, rounded down to 6 places.
    #[schema(value_type = openapi::Decimal)]
    margin: Margin,
}

/// The lowest margin of all models, before and after.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = LowestMargins)]
struct LowestView {
    /// In the first table.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Lowest>,
    /// In the second table.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Lowest>,
}

impl LowestView {
    fn of(comparison: Comparison<'_>) -> Self {
        fn lower(lowest: &mut Option<Lowest>, model: &str, margin: Option<Margin>) {
            if let Some(margin) = margin
                && lowest.as_ref().is_none_or(|lowest| margin < lowest.margin)
            {
                *lowest = Some(Lowest { model: model.to_owned(), margin });
            }
        }
        let mut view = Self::default();
        for model in comparison.models() {
            lower(&mut view.from, model.model, model.margin.from);
            lower(&mut view.to, model.model, model.margin.to);
        }
        view
    }
}

/// A model before and after. Every pair is `{"from", "to"}`; of what came or went one of them is
/// absent.
#[derive(ToSchema)]
#[schema(as = RatioModelPreview)]
#[expect(dead_code, reason = "describes the domain's type in the OpenAPI document")]
struct ModelPreviewSchema {
    /// Its id.
    model: String,
    /// Whether its prices, costs or minimum change, or it comes or goes.
    changed: bool,
    /// The lowest margin of its rows.
    margin: BTreeMap<String, String>,
    /// The least that a request costs, before the price group.
    minimum: BTreeMap<String, String>,
    /// Its rows: `dimension`, `when`, and `from` and `to` with `credits`, `per`, `cost`, `margin`.
    ratios: Vec<BTreeMap<String, Value>>,
}

/// What another table would mean.
#[derive(Serialize, ToSchema)]
#[schema(as = RatioPreview)]
pub struct PreviewView {
    /// The table that it is compared with.
    from: TableName,
    /// The table that is looked at; empty for the request's own.
    to: TableName,
    /// Whose prices count.
    price_group: String,
    /// How many models change.
    counts: DiffCounts,
    /// What is missing or wrong in models of a draft: they are left out of the models here, and
    /// usage of them is `unpriced`. At most 1,000.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    incomplete: Vec<FieldError>,
    /// Where credits earn least, of all models.
    lowest_margin: LowestView,
    /// Where usage was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageView>,
    #[serde(flatten)]
    #[schema(value_type = Page<ModelPreviewSchema>)]
    page: Page<Value>,
}

problems!(
    PreviewProblems = NotFound,
    AccountNotFound,
    UnknownPriceGroup,
    PayloadTooLarge,
    RatiosIncomplete,
    RatiosInvalid,
    LimitExceeded
);

/// What another table would mean: each model's prices and margins before and after, and what usage
/// would have cost and earned. Nothing is stored.
///
/// Of an account's charges the quantities and the parameters are known; what is not is listed as
/// `approximate`.
#[utoipa::path(
    post,
    path = "/v1/ratios/preview",
    operation_id = "preview_ratios",
    tag = "ratios",
    security(("bearer" = ["ratios:admin"])),
    request_body = PreviewRequest,
    responses((status = 200, description = "What it would mean", body = PreviewView), PreviewProblems)
)]
async fn preview_ratios(
    access: Access<RatiosAdmin>,
    State(deps): State<Deps>,
    Extension(log): Extension<RequestLog>,
    headers: HeaderMap,
    LargeJson(request): LargeJson<PreviewRequest>,
) -> Result<Response, Problem> {
    let request = request.body;
    if let Some(account) = &request.account {
        access.caller.require_account(Scope::Read, account)?;
        log.account(account);
    }
    check(&request)?;
    let price = request.credit_price.as_ref().map(credit_price).transpose()?;
    let now = deps.ledger.now();
    let given = request.usage.as_ref().map(|usage| given(usage, now)).transpose()?;

    let from = request.from.unwrap_or(Wanted::Current);
    let (from_name, from, not_from) = table(&deps, from).await?;
    let (to_name, to, not_to) = match &request.table {
        Some(table) => (TableName::default(), of_body(table)?, LeftOut::default()),
        None => table(&deps, request.to.unwrap_or(Wanted::Draft)).await?,
    };
    let (group, charged) = match &request.account {
        None => (None, None),
        Some(account) => {
            let state = deps.ledger.account(account).await?;
            let state = state.ok_or_else(|| refusals::account_not_found(account))?;
            let charged = charged(&deps, account, &request).await?;
            (Some(state.settings().price_group.clone()), Some(charged))
        }
    };
    let group = request.price_group.or(group).unwrap_or_else(|| Settings::DEFAULT_GROUP.to_owned());
    let comparison = |from, to| -> Result<Comparison<'_>, Problem> {
        Ok(Comparison {
            from: side(from, &group, from_name)?,
            to: side(to, &group, to_name)?,
            price: price.as_ref(),
        })
    };
    // Usage has the prices of whole tables: what is called by the name of a model that is left out of
    // one must not have the price of another there.
    let whole = comparison(&from, &to)?;
    let left_out = [&not_from, &not_to];
    let usage = match (given, charged) {
        (Some(used), _) => Some(compare(&whole, left_out, used, None)?),
        (None, Some((used, charges))) => Some(compare(&whole, left_out, used, Some(charges))?),
        (None, None) => None,
    };
    let (from, to) = (not_to.without(&from)?, not_from.without(&to)?);
    let comparison = comparison(&from, &to)?;

    let wanted = |model: &ModelPreview<'_>| request.models == ModelsWanted::All || model.changed;
    let models = comparison.models().filter(wanted);
    let list = format!("ratio-preview/{from_name}/{to_name}");
    let page = page(&list, models, request.limit, request.cursor.as_deref(), |model| model.model)?;
    let view = PreviewView {
        from: from_name,
        to: to_name,
        price_group: group,
        counts: counts(&comparison).into(),
        incomplete: [not_from.faults, not_to.faults].concat(),
        lowest_margin: LowestView::of(comparison),
        usage,
        page,
    };
    large_json(&headers, &view)
}

/// How many models change, also where the price group alone does.
fn counts(comparison: &Comparison<'_>) -> Counts {
    let TableDiff { mut counts, models, .. } =
        TableDiff::between(comparison.from.table, comparison.to.table);
    if comparison.from.multiplier != comparison.to.multiplier {
        let told: BTreeSet<_> = models.iter().map(|diff| diff.model).collect();
        let further = comparison.models().filter(|m| m.changed && !told.contains(m.model)).count();
        counts.changed += further;
        counts.unchanged -= further;
    }
    counts
}

/// What fields mean together.
fn check(request: &PreviewRequest) -> Result<(), Problem> {
    if request.table.is_some() && request.to.is_some() {
        return Err(Problem::invalid_field("/to", "send either `to` or `table`"));
    }
    if request.usage.is_some() && request.account.is_some() {
        return Err(Problem::invalid_field("/usage", "send either `usage` or `account`"));
    }
    let of_account = [
        ("/since", request.since.is_some()),
        ("/until", request.until.is_some()),
        ("/charges", request.charges.is_some()),
        ("/charges_cursor", request.charges_cursor.is_some()),
    ];
    for (pointer, there) in of_account {
        if there && request.account.is_none() {
            return Err(Problem::invalid_field(pointer, "this is for an `account` only"));
        }
    }
    if request.charges.is_some_and(|charges| !(1..=MAX_CHARGES).contains(&charges)) {
        return Err(Problem::invalid_field("/charges", "1 to 1000"));
    }
    Ok(())
}

fn credit_price(request: &PriceRequest) -> Result<CreditPrice, Problem> {
    let amount: Ratio = request
        .amount
        .parse()
        .map_err(|error| Problem::invalid_field("/credit_price/amount", format!("{error}")))?;
    CreditPrice::new(amount, &request.currency).ok_or_else(|| {
        let detail = "a price above zero, in a currency of three capital letters such as \"USD\"";
        Problem::invalid_field("/credit_price", detail)
    })
}

/// The table that the request brought.
fn of_body(table: &Value) -> Result<RatioTable, Problem> {
    RatioTable::from_json(table).map_err(|error| {
        let problem = faults(&error);
        within(&problem, "/table")
    })
}

fn side<'a>(table: &'a RatioTable, group: &str, name: TableName) -> Result<Side<'a>, Problem> {
    let multiplier = table.group(group).ok_or_else(|| {
        let detail = format!("The table {name} has no price group {group:?}: name another one.");
        Problem::new(Code::UnknownPriceGroup, detail)
    })?;
    Ok(Side { table, multiplier })
}

fn over_limit() -> Problem {
    Problem::new(Code::LimitExceeded, uc_domain::ratios::OverLimit.to_string())
}

/// The usage in the request.
fn given(usage: &Value, now: Timestamp) -> Result<Vec<Used>, Problem> {
    let too_many = || {
        let detail = format!("at most {MAX_ITEMS} items");
        Problem::new(Code::LimitExceeded, format!("/usage: {detail}."))
            .with_error(FieldError { pointer: "/usage".to_owned(), detail })
    };
    let place = |item: usize| format!("/usage/{item}");
    let items: Vec<(usize, UsedItem)> = match usage {
        Value::String(lines) => {
            let lines = lines.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
            if lines.clone().nth(MAX_ITEMS).is_some() {
                return Err(too_many());
            }
            let read = |(n, line): (usize, &str)| match parse_strict(line.as_bytes()) {
                Ok(item) => Ok((n, item.body)),
                // What is no JSON at all has no place of its own in it.
                Err(problem) if problem.errors().is_empty() => {
                    Err(Problem::invalid_field(place(n), problem.detail().to_owned()))
                }
                Err(problem) => Err(within(&problem, &place(n))),
            };
            lines.map(read).collect::<Result<_, _>>()?
        }
        Value::Array(items) if items.len() > MAX_ITEMS => return Err(too_many()),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(n, item)| {
                let item = parse_typed(item).map_err(|problem| within(&problem, &place(n)))?;
                Ok((n, item))
            })
            .collect::<Result<_, Problem>>()?,
        _ => {
            let detail = "a list of items, or a text with an item a line, each in JSON";
            return Err(Problem::invalid_field("/usage", detail));
        }
    };
    let read = |(item, used): (usize, UsedItem)| {
        let UsedItem { model, usage, parameters, provider, provider_response, occurred_at } = used;
        let read = Item { model, usage, parameters, provider, provider_response };
        match read.read(place(item)) {
            Err(problem) if problem.code() == Code::InvalidRequest => Err(problem),
            // A response without usage, say: nothing that either table could price.
            usage => {
                let at = occurred_at.unwrap_or(now);
                Ok(Used { operation: None, item, usage, known_as: None, at })
            }
        }
    };
    items.into_iter().map(read).collect()
}

/// The usage in an account's charges.
async fn charged(
    deps: &Deps,
    account: &AccountId,
    request: &PreviewRequest,
) -> Result<(Vec<Used>, ChargesView), Problem> {
    let most = request.charges.unwrap_or(MAX_CHARGES);
    let mut used = Vec::new();
    let mut view = ChargesView::default();
    // The newest come first, so a charge's refunds before it.
    let mut refunds: HashMap<OperationId, Credits> = HashMap::new();
    let list = format!("ratio-preview-charges/{account}");
    let position = |cursor: &String| {
        operation_of_cursor(&list, cursor)
            .map_err(|problem| Problem::invalid_field("/charges_cursor", problem.detail()))
    };
    let mut before = request.charges_cursor.as_ref().map(position).transpose()?;
    let next = |last| operation_cursor(&list, last);
    let mut last = before;
    for _ in 0..MAX_PAGES {
        let operations = deps.ledger.transactions(account, before, PAGE).await?;
        for happened in operations.items {
            let (id, at) = (happened.operation.id, happened.operation.at);
            let taken = -happened.operation.credits();
            if let Detail::Refund { charge, refunded, .. } = happened.operation.detail {
                // Each tells the sum of those before it.
                refunds.entry(charge).or_insert(refunded);
                continue;
            }
            let (Detail::Charge { items, occurred_at, .. }
            | Detail::Capture { items, occurred_at, .. }) = happened.operation.detail
            else {
                continue;
            };
            if request.until.is_some_and(|until| at >= until) {
                continue;
            }
            if request.since.is_some_and(|since| at < since) {
                return Ok((used, ChargesView { complete: true, ..view }));
            }
            if view.charges == most {
                return Ok((used, ChargesView { next_cursor: last.map(next), ..view }));
            }
            view.charges += 1;
            view.oldest = Some(at);
            view.fixed += u16::from(items.is_empty());
            if !items.is_empty() {
                let refunded = refunds.remove(&id).unwrap_or_default();
                view.taken = view.taken.checked_add(taken).ok_or_else(over_limit)?;
                view.refunded = view.refunded.checked_add(refunded).ok_or_else(over_limit)?;
            }
            for (item, rated) in items.iter().enumerate() {
                view.charged = view.charged.checked_add(rated.credits).ok_or_else(over_limit)?;
                // Of an item that used nothing there is no line to tell the model.
                let Some(usage) = UsageOf::of_charged(rated).transpose() else { continue };
                let at = occurred_at.unwrap_or(at);
                let known_as = Some(rated.into());
                used.push(Used { operation: Some(id), item, usage, known_as, at });
            }
            last = Some(id);
        }
        match operations.next {
            Some(position) => before = Some(position),
            None => return Ok((used, ChargesView { complete: true, ..view })),
        }
    }
    Ok((used, ChargesView { next_cursor: before.map(next), ..view }))
}

/// Prices usage by both tables.
fn compare(
    comparison: &Comparison<'_>,
    [not_from, not_to]: [&LeftOut; 2],
    used: Vec<Used>,
    charges: Option<ChargesView>,
) -> Result<UsageView, Problem> {
    let mut totals = UsageTotals::default();
    let mut unpriced = Vec::new();
    let mut approximate = Vec::new();
    for Used { operation, item, usage, known_as, at } in used {
        let rate = |side: &Side<'_>, left_out: &LeftOut| {
            let usage = usage.as_ref().map_err(Problem::clone)?;
            match left_out.model_of(usage) {
                Some(model) => {
                    let detail = format!("The draft's {model:?} is not complete.");
                    Err(Problem::new(Code::RatiosIncomplete, detail))
                }
                None => usage.rate(side.table, side.multiplier, at),
            }
        };
        let mut sides = (rate(&comparison.from, not_from), rate(&comparison.to, not_to));
        // What such an item costs by itself can be over the limit, too.
        if let (Ok(from), Ok(to)) = &sides {
            let mut own = UsageTotals::default();
            let view = |totals: &Totals| TotalsView::new(totals, comparison.price);
            if own.add(comparison, from, to).is_err()
                || view(&own.from).is_err()
                || view(&own.to).is_err()
            {
                sides = (Err(over_limit()), Err(over_limit()));
            }
        }
        match sides {
            (Ok(from), Ok(to)) => {
                totals.add(comparison, &from, &to).map_err(|_| over_limit())?;
                let sides = [(&comparison.from, &from), (&comparison.to, &to)];
                let reason = known_as.and_then(|known_as| {
                    let doubt = |(side, rated): (&Side<'_>, _)| {
                        items::doubt_of_charged(side.table, rated, known_as)
                    };
                    sides.into_iter().find_map(doubt)
                });
                if let (Some(operation), Some(reason)) = (operation, reason) {
                    let operation = operation.to_string();
                    approximate.push(Approximate { operation, item, reason });
                }
            }
            (from, to) => unpriced.push(Unpriced {
                operation: operation.map(|operation| operation.to_string()),
                item,
                from: Outcome::from(&from),
                to: Outcome::from(&to),
            }),
        }
    }
    let view = |totals: &Totals| TotalsView::new(totals, comparison.price);
    let models = totals.models.iter().map(|(model, (items, from, to))| {
        Ok(ModelTotals { model: model.clone(), items: *items, from: view(from)?, to: view(to)? })
    });
    Ok(UsageView {
        items: totals.items,
        from: view(&totals.from)?,
        to: view(&totals.to)?,
        models: models.collect::<Result<_, Problem>>()?,
        unpriced,
        approximate,
        charges,
    })
}

uc_http::operations!(Deps; preview_ratios);

//! What happened in an account, filtered, and why it cost what it did.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use uc_domain::account::{Detail, OperationId, Origin, RatedItem};
use uc_domain::ratios::{CreditRule, Exact, Multiplier, RatioTable, Rounding, round};
use uc_domain::{AccountId, Credits, Timestamp};
use uc_http::scope::Read;
use uc_http::views::OperationView;
use uc_http::{
    AccountAccess, Caller, Code, IdempotencyKey, Limit, Page, PathParams, Problem, StrictQuery,
    openapi, operation_cursor, operation_of_cursor, problems,
};
use uc_ledger::{Filter, Happened, rated_items};
use uc_ratios::ReadError;
use utoipa::{IntoParams, ToSchema};

use crate::{AccountProblems, Deps, existing, limit};

/// The longest text that a filter compares with, in characters.
const MAX_FILTER: usize = 128;

/// Which operations.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct TransactionsQuery {
    /// How many at most: 1 to 100, 20 where not given.
    #[serde(default)]
    #[param(value_type = Option<u8>, minimum = 1, maximum = 100, default = 20)]
    limit: Limit,
    /// Where to go on: the page before said it as `next_cursor`.
    cursor: Option<String>,
    /// Only operations of this kind: `charge`, `grant`, `expiry` ...
    kind: Option<String>,
    /// Only what this member of the account caused, 1 to 128 characters. What was erased is found
    /// no more.
    actor: Option<String>,
    /// Only charges with a line of this model, by its id in the ratio table.
    model: Option<String>,
    /// Only what took effect at this instant or later.
    #[param(value_type = Option<openapi::Instant>)]
    from: Option<Timestamp>,
    /// Only what took effect before this instant.
    #[param(value_type = Option<openapi::Instant>)]
    to: Option<Timestamp>,
    /// The one operation that happened under this key, if it did: what became of a request whose
    /// answer was lost. Where its usage was kept as unrated, and so nothing has happened yet, the
    /// answer names that as `unrated`.
    #[param(value_type = Option<String>)]
    idempotency_key: Option<IdempotencyKey>,
}

impl TransactionsQuery {
    fn filter(&self) -> Result<Filter, Problem> {
        for (name, text) in [("kind", &self.kind), ("actor", &self.actor), ("model", &self.model)] {
            let short = |text: &String| (1..=MAX_FILTER).contains(&text.chars().count());
            if text.as_ref().is_some_and(|text| !short(text)) {
                let detail = format!("{name} has 1 to {MAX_FILTER} characters.");
                return Err(Problem::invalid_request(detail));
            }
        }
        if self.kind.as_ref().is_some_and(|kind| !Detail::KINDS.contains(&kind.as_str())) {
            let detail = format!("kind is one of {}.", Detail::KINDS.join(", "));
            return Err(Problem::invalid_request(detail));
        }
        if self.from.zip(self.to).is_some_and(|(from, to)| from >= to) {
            return Err(Problem::invalid_request("from is before to."));
        }
        let (kind, actor, model) = (self.kind.clone(), self.actor.clone(), self.model.clone());
        Ok(Filter { kind, actor, model, from: self.from, to: self.to })
    }
}

/// A page of movements.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TransactionsPage)]
struct TransactionsView {
    #[serde(flatten)]
    page: Page<OperationView>,
    /// What waits to be priced under the `idempotency_key` that was asked for: it is accepted, and
    /// charged once it is rated.
    #[serde(skip_serializing_if = "Option::is_none")]
    unrated: Option<String>,
}

/// The name of a list for its cursors: account and filter. A cursor of one is refused by every
/// other, so that a page never goes on in a list where it has no place. It protects from mistakes
/// and not from the caller: a made-up cursor is at most a place in a list that the caller may see
/// anyway, since account and filter come from the request and never from the cursor.
fn list_of(account: &AccountId, filter: &Filter) -> String {
    let list = format!("transactions/{account}");
    if filter.is_empty() {
        return list;
    }
    let Filter { kind, actor, model, from, to } = filter;
    // What is not there differs from what is empty, and no text can look like two.
    let texts = serde_json::json!([kind, actor, model, from, to]);
    format!("{list}?{texts}")
}

/// The movements of an account, newest first. With filters a page may be short, even empty, and
/// still have a next one: it reads a bounded part of the journal.
#[utoipa::path(
    get,
    path = "/v1/accounts/{account}/transactions",
    operation_id = "list_transactions",
    tag = "accounts",
    params(("account" = openapi::AccountId, Path), TransactionsQuery),
    security(("bearer" = ["read"])),
    responses((status = 200, description = "A page", body = TransactionsView), AccountProblems)
)]
async fn list_transactions(
    access: AccountAccess<Read>,
    State(deps): State<Deps>,
    StrictQuery(query): StrictQuery<TransactionsQuery>,
) -> Result<Json<TransactionsView>, Problem> {
    let account = &access.account;
    let filter = query.filter()?;
    let list = list_of(account, &filter);
    let before = query.cursor.as_deref();
    let before = before.map(|cursor| operation_of_cursor(&list, cursor)).transpose()?;
    if let Some(key) = query.idempotency_key {
        if before.is_some() || !filter.is_empty() {
            let detail = "idempotency_key names one operation: send no cursor or filter with it.";
            return Err(Problem::invalid_request(detail));
        }
        let origin = Origin::Client { key: key.as_str().to_owned() };
        let happened = deps.ledger.operation_of(account, &origin).await?;
        let mut unrated = None;
        if happened.is_none() {
            existing(&deps, account).await?;
            unrated = deps.ledger.parked_for(account, &origin).await?;
        }
        let items = view(&deps, &access.caller, account, happened.into_iter().collect()).await?;
        return Ok(Json(TransactionsView { page: Page { items, next_cursor: None }, unrated }));
    }
    let page = deps.ledger.filtered(account, &filter, before, limit(query.limit)).await?;
    if page.items.is_empty() && page.next.is_none() {
        existing(&deps, account).await?;
    }
    let next_cursor = page.next.map(|next| operation_cursor(&list, next));
    let items = view(&deps, &access.caller, account, page.items).await?;
    Ok(Json(TransactionsView { page: Page { items, next_cursor }, unrated: None }))
}

/// How one item of a charge came to its credits.
#[derive(Debug, Serialize, ToSchema)]
pub struct ItemExplanation {
    /// The model in the ratio table; none where nothing was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// The price group's multiplier, as it is in every line.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<openapi::Decimal>)]
    multiplier: Option<Multiplier>,
    /// The exact sum of its lines.
    #[schema(value_type = openapi::Decimal)]
    subtotal: Exact,
    /// The sum, rounded.
    #[schema(value_type = openapi::Decimal)]
    rounded: Credits,
    /// The model's minimum in the price group, rounded.
    #[schema(value_type = openapi::Decimal)]
    minimum: Credits,
    /// What was asked for it: the larger of the two.
    #[schema(value_type = openapi::Decimal)]
    credits: Credits,
}

/// How sums are rounded.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CreditRule)]
pub struct RoundingView {
    /// Decimal places.
    scale: u8,
    /// `up`, `down`, `half_up` or `half_even`.
    #[schema(value_type = String, example = "up")]
    rounding: Rounding,
}

impl From<CreditRule> for RoundingView {
    fn from(rule: CreditRule) -> Self {
        Self { scale: rule.scale(), rounding: rule.rounding() }
    }
}

/// How a charge came to its credits, by the ratio table of its version, which is kept for good.
#[derive(Debug, Serialize, ToSchema)]
pub struct Explanation {
    /// The version that priced it.
    ratio_version: u64,
    /// The account's price group at that time.
    #[schema(example = "default")]
    price_group: String,
    /// How each item's sum is rounded.
    rounding: RoundingView,
    /// Its items, in the order of the lines.
    items: Vec<ItemExplanation>,
    /// The sum of the items.
    #[schema(value_type = openapi::Decimal)]
    requested: Credits,
    /// What was taken of that.
    #[schema(value_type = openapi::Decimal)]
    taken: Credits,
    /// What was not: above the cap, or overuse that is forgiven.
    #[schema(value_type = openapi::Decimal)]
    forgiven: Credits,
}

/// One movement, and how it came to its credits.
#[derive(Debug, Serialize, ToSchema)]
pub struct Transaction {
    /// The operation.
    #[serde(flatten)]
    operation: OperationView,
    /// Why it cost what it did, for what the ratio table priced.
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<Explanation>,
}

problems!(TransactionProblems = NotFound, AccountNotFound);

/// One movement, and all that it came about by: which row of the ratio table priced each line,
/// the price group, the rounding and the minimum, whatever the table says by now.
#[utoipa::path(
    get,
    path = "/v1/accounts/{account}/transactions/{operation}",
    operation_id = "get_transaction",
    tag = "accounts",
    params(("account" = openapi::AccountId, Path), ("operation" = String, Path)),
    security(("bearer" = ["read"])),
    responses(
        (status = 200, description = "The operation", body = Transaction),
        TransactionProblems
    )
)]
async fn get_transaction(
    access: AccountAccess<Read>,
    State(deps): State<Deps>,
    path: PathParams,
) -> Result<Json<Transaction>, Problem> {
    let account = &access.account;
    let happened = happened(&deps, account, &path).await?;
    let explanation = explain(&deps, account, &happened).await?;
    let view = view(&deps, &access.caller, account, vec![happened]).await?;
    let operation = view.into_iter().next().ok_or_else(missing)?;
    Ok(Json(Transaction { operation, explanation }))
}

fn missing() -> Problem {
    Problem::new(Code::NotFound, "The account has no such operation.")
}

/// The operation in the path.
pub(crate) async fn happened(
    deps: &Deps,
    account: &AccountId,
    path: &PathParams,
) -> Result<Happened, Problem> {
    // What is no operation's id names none.
    let id: OperationId = path.get("operation").map_err(|_| missing())?;
    if let Some(happened) = deps.ledger.operation(account, id).await? {
        return Ok(happened);
    }
    existing(deps, account).await?;
    Err(missing())
}

/// The ratio table's version that priced an operation, and its items; nothing for what the table
/// did not price.
pub(crate) fn priced(detail: &Detail) -> Option<(u64, &[RatedItem])> {
    let version = match detail {
        Detail::Charge { ratio_version, .. } | Detail::Capture { ratio_version, .. } => {
            *ratio_version
        }
        _ => None,
    };
    let items = rated_items(detail);
    version.filter(|_| !items.is_empty()).map(|version| (version, items))
}

/// The price group that an operation was priced under: settings change by operations, too.
pub(crate) async fn price_group(
    deps: &Deps,
    account: &AccountId,
    id: OperationId,
) -> Result<String, Problem> {
    let Some(stored) = deps.ledger.entry(account, id.seq).await? else { return Err(missing()) };
    let of = |detail: &Detail| match detail {
        Detail::Settings(settings) => Some(settings.price_group.clone()),
        _ => None,
    };
    let (before, after) = stored.entry.operations.split_at(usize::from(id.position));
    if let Some(group) = before.iter().rev().find_map(|operation| of(&operation.detail)) {
        return Ok(group);
    }
    if after.iter().any(|operation| of(&operation.detail).is_some())
        && let Some(earlier) = deps.ledger.entry(account, id.seq - 1).await?
    {
        return Ok(earlier.entry.state.settings().price_group.clone());
    }
    Ok(stored.entry.state.settings().price_group.clone())
}

async fn explain(
    deps: &Deps,
    account: &AccountId,
    happened: &Happened,
) -> Result<Option<Explanation>, Problem> {
    let operation = &happened.operation;
    let Some((ratio_version, items)) = priced(&operation.detail) else { return Ok(None) };
    let table = match deps.ratios.version(ratio_version).await {
        Ok(table) => table,
        // Versions are kept for good: this one is not of this deployment.
        Err(ReadError::UnknownVersion(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let items: Vec<_> = items.iter().map(|item| explain_item(&table.table, item)).collect();
    let sum = items.iter().map(|item| item.credits.micros()).sum::<i128>();
    let requested = Credits::from_micros(sum).unwrap_or(Credits::MAX);
    let taken = -operation.credits();
    Ok(Some(Explanation {
        ratio_version,
        price_group: price_group(deps, account, operation.id).await?,
        rounding: table.table.credit_rule().into(),
        items,
        requested,
        taken,
        forgiven: requested.checked_sub(taken).unwrap_or_default().or_zero(),
    }))
}

fn explain_item(table: &RatioTable, item: &RatedItem) -> ItemExplanation {
    let first = item.lines.first();
    let model = first.map(|line| line.model().to_owned());
    let multiplier = first.map(uc_domain::ratios::Line::multiplier);
    let sum = item.lines.iter().map(|line| line.credits().scaled()).sum();
    let subtotal = Exact::from_scaled(sum).unwrap_or(Exact::ZERO);
    // Where it counted, it is what was charged, be it of a table that filled in.
    let minimum = if item.minimum_applied {
        item.credits
    } else {
        let models = item.lines.iter().filter_map(|line| table.model(line.model()));
        let minimums = multiplier.map(|m| models.map(move |model| table.minimum_of(model, m)));
        minimums.into_iter().flatten().max().unwrap_or_default()
    };
    ItemExplanation {
        model,
        multiplier,
        subtotal,
        rounded: round(subtotal, table.credit_rule()).unwrap_or_default(),
        minimum,
        credits: item.credits,
    }
}

/// Operations as this caller may see them.
async fn view(
    deps: &Deps,
    caller: &Caller,
    account: &AccountId,
    items: Vec<Happened>,
) -> Result<Vec<OperationView>, Problem> {
    let with_metadata = caller.token_account().is_none()
        || existing(deps, account).await?.settings().metadata_visible;
    Ok(items.into_iter().map(|item| OperationView::new(item, with_metadata)).collect())
}

uc_http::operations!(Deps; list_transactions, get_transaction);

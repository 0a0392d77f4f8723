//! Accounts: which there are, what they have, how they are treated.

use axum::Json;
use axum::extract::{Extension, State};
use serde::{Deserialize, Serialize};
use uc_domain::account::{AccountState, Command, Origin, Overuse, Settings, Status};
use uc_domain::{AccountId, Credits, Timestamp};
use uc_http::scope::{Grant, Read};
use uc_http::views::{BalanceView, GrantView, HoldView, OveruseSchema, SettingsView, StatusSchema};
use uc_http::{
    Access, AccountAccess, Code, Page, PageQuery, Problem, RequestLog, StrictJson, StrictQuery,
    decode_cursor, encode_cursor, labels, openapi, problems, refusals, tables,
};
use uc_ledger::{Ask, Asked};
use utoipa::ToSchema;

use crate::{AccountProblems, Deps, ListProblems, existing, limit};

/// An account in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct AccountListed {
    /// Its id.
    #[schema(value_type = openapi::AccountId)]
    account: AccountId,
    /// When it opened.
    #[schema(value_type = openapi::Instant)]
    opened_at: Timestamp,
}

/// All accounts, in no order that means anything.
#[utoipa::path(
    get,
    path = "/v1/accounts",
    operation_id = "list_accounts",
    tag = "accounts",
    params(PageQuery),
    security(("bearer" = ["read"])),
    responses((status = 200, description = "A page", body = Page<AccountListed>), ListProblems)
)]
async fn list_accounts(
    _: Access<Read>,
    State(deps): State<Deps>,
    StrictQuery(query): StrictQuery<PageQuery>,
) -> Result<Json<Page<AccountListed>>, Problem> {
    let list = "accounts";
    let after = query.cursor.as_deref().map(|cursor| {
        let position = decode_cursor(list, cursor)?;
        position
            .split_first()
            .and_then(|(shard, last)| Some((*shard, String::from_utf8(last.to_vec()).ok()?)))
            .ok_or_else(|| Problem::invalid_request("The cursor is not one of this list."))
    });
    let page = deps.ledger.accounts(after.transpose()?, limit(query.limit)).await?;
    let next_cursor = page.next.map(|(shard, last)| {
        let mut position = vec![shard];
        position.extend_from_slice(last.as_bytes());
        encode_cursor(list, &position)
    });
    let listed = |(account, opened_at)| AccountListed { account, opened_at };
    Ok(Json(Page { items: page.items.into_iter().map(listed).collect(), next_cursor }))
}

/// An account.
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "the API's names")]
pub struct Account {
    /// Its id.
    #[schema(value_type = openapi::AccountId)]
    account: AccountId,
    /// What it has.
    balance: BalanceView,
    /// Whether new work should start.
    allowed: bool,
    /// Why not: `insufficient_credits`, `debt`, `suspended`, `closed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// Live and pending grants, in the order in which they are spent.
    grants: Vec<GrantView>,
    /// Open holds.
    holds: Vec<HoldView>,
    /// How it is treated.
    settings: SettingsView,
    /// The time that all of this is true of.
    #[schema(value_type = openapi::Instant)]
    as_of: Timestamp,
}

impl Account {
    fn new(account: AccountId, state: &AccountState) -> Self {
        let reason = state.allowed().reason();
        Self {
            account,
            balance: state.balance().into(),
            allowed: reason.is_none(),
            reason,
            grants: GrantView::all(state),
            holds: HoldView::all(state),
            settings: SettingsView::from(state.settings()),
            as_of: state.settled_at(),
        }
    }
}

/// One account: its balance, its grants, how it is treated.
#[utoipa::path(
    get,
    path = "/v1/accounts/{account}",
    operation_id = "get_account",
    tag = "accounts",
    params(("account" = openapi::AccountId, Path)),
    security(("bearer" = ["read"])),
    responses((status = 200, description = "The account", body = Account), AccountProblems)
)]
async fn get_account(
    access: AccountAccess<Read>,
    State(deps): State<Deps>,
) -> Result<Json<Account>, Problem> {
    let state = existing(&deps, &access.account).await?;
    Ok(Json(Account::new(access.account, &state)))
}

/// How an account is to be treated. What is left out stays as it is; a new account has the
/// deployment's defaults.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SettingsRequest {
    /// What happens to a charge that is larger than what is there.
    #[schema(value_type = Option<OveruseSchema>)]
    overuse: Option<Overuse>,
    /// How far below zero holds and refused charges may go; not negative. Goes with a reason.
    #[schema(value_type = Option<openapi::Decimal>)]
    credit_line: Option<Credits>,
    /// A group of the ratio table.
    #[schema(example = "pro")]
    price_group: Option<String>,
    /// Whether account tokens see the metadata of operations.
    metadata_visible: Option<bool>,
    /// Whether it may begin new work; goes with a reason.
    #[schema(value_type = Option<StatusSchema>)]
    status: Option<Status>,
    /// Why: 1 to 512 characters.
    reason: Option<String>,
    /// Who did it: 1 to 128 characters.
    actor: Option<String>,
}

problems!(PutAccountProblems = Conflict, UnknownPriceGroup, PayloadTooLarge, LimitExceeded);

/// Sets how an account is treated, and opens it where it is new. The same settings again change
/// nothing.
#[utoipa::path(
    put,
    path = "/v1/accounts/{account}",
    operation_id = "put_account",
    tag = "accounts",
    params(("account" = openapi::AccountId, Path)),
    security(("bearer" = ["grant"])),
    request_body = SettingsRequest,
    responses((status = 200, description = "Set", body = Account), PutAccountProblems)
)]
async fn put_account(
    access: AccountAccess<Grant>,
    State(deps): State<Deps>,
    Extension(log): Extension<RequestLog>,
    request: StrictJson<SettingsRequest>,
) -> Result<Json<Account>, Problem> {
    let SettingsRequest {
        overuse,
        credit_line,
        price_group,
        metadata_visible,
        status,
        reason,
        actor,
    } = request.body;
    // By hand; the others also by programs, along with a plan.
    if (status.is_some() || credit_line.is_some()) && reason.is_none() {
        let detail = "Say why the status or the credit line is set.";
        return Err(Problem::invalid_field("/reason", detail));
    }
    let reason = reason.as_deref().map(|reason| ("/reason", reason));
    let actor = access.caller.operator(actor.as_deref());
    let private = labels::private(None, actor, reason, None)?;
    if credit_line.is_some_and(Credits::is_negative) {
        return Err(Problem::invalid_field("/credit_line", "not below zero"));
    }
    if let Some(group) = price_group.as_deref().filter(|group| *group != Settings::DEFAULT_GROUP) {
        // A typo would stop every charge of this account.
        let table = tables::for_request(&deps.ratios, None, deps.ledger.now(), &log).await?;
        tables::multiplier(&deps.ratios, &table, group, &log).await?;
    }
    let ask = Ask {
        account: &access.account,
        origin: Origin::System,
        fingerprint: [0; 16],
        private,
        opens: true,
        extra: &|_| Vec::new(),
    };
    let decide = |state: &AccountState| {
        let before = state.settings();
        let wanted = Settings {
            overuse: overuse.unwrap_or(before.overuse),
            credit_line: credit_line.unwrap_or(before.credit_line),
            price_group: price_group.as_ref().unwrap_or(&before.price_group).clone(),
            metadata_visible: metadata_visible.unwrap_or(before.metadata_visible),
            status: status.unwrap_or(before.status),
        };
        // A new account's journal begins with its settings, even the default ones.
        if state.seq() > 1 && *state.settings() == wanted {
            return Err(Unchanged(Box::new(state.clone())));
        }
        Ok(Command::Settings(wanted))
    };
    let state = match deps.ledger.execute(&ask, decide).await {
        Ok(outcome) => outcome.state,
        Err(Asked::Decided(Unchanged(state))) => *state,
        Err(error) => {
            let error = error.map_decided(|_| Problem::new(Code::Conflict, "Nothing changes."));
            return Err(refusals::asked(error, &access.account));
        }
    };
    Ok(Json(Account::new(access.account, &state)))
}

/// The settings are these already.
#[derive(Debug)]
struct Unchanged(Box<AccountState>);

uc_http::operations!(Deps; list_accounts, get_account, put_account);

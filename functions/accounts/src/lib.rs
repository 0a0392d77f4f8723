//! Accounts as their owners and operators see them, and the credentials to see them with.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use uc_domain::account::{AccountState, Command, OperationId, Origin, Overuse, Settings};
use uc_domain::{AccountId, Credits, Timestamp};
use uc_http::scope::{Grant, KeysAdmin, Read};
use uc_http::views::{BalanceView, GrantView, OperationView, OveruseSchema, SettingsView};
use uc_http::{
    Access, AccountAccess, Caller, Code, Deployment, IdempotencyKey, Identity, Limit, MintError,
    Page, PageQuery, PathParams, Problem, RequestLog, Scope, Scopes, SigningKey, StrictJson,
    StrictQuery, TokenRequest, decode_cursor, encode_cursor, generate_api_key, items, openapi,
    page_of, problems, random_id, refusals, tables,
};
use uc_ledger::{ApiKey, Ask, Asked, CredentialItems, Happened, Ledger, Private};
use uc_ratios::{Reader, SecretReader};
use utoipa::{IntoParams, ToSchema};

/// API keys of one deployment at most.
const MAX_KEYS: usize = 1_000;
/// What an account token lives for where nothing is said, in seconds.
const DEFAULT_TTL: u32 = 900;

/// What the function works with.
#[derive(Clone)]
pub struct Deps {
    /// The accounts.
    pub ledger: Ledger,
    /// API keys and the public keys of account tokens.
    pub credentials: CredentialItems,
    /// The private key of account tokens.
    pub secrets: Arc<SecretReader>,
    /// The ratio tables, for their price groups.
    pub ratios: Arc<Reader>,
}

/// An account in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct AccountListed {
    /// Its id.
    #[schema(value_type = openapi::Account)]
    account: AccountId,
    /// When it opened.
    #[schema(value_type = openapi::Instant)]
    opened_at: Timestamp,
}

problems!(ListProblems =);

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

/// Credits reserved for work in progress. There are none yet.
#[derive(Debug, Serialize, ToSchema)]
struct Hold {}

/// An account.
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "the API's names")]
pub struct Account {
    /// Its id.
    #[schema(value_type = openapi::Account)]
    account: AccountId,
    /// What it has.
    balance: BalanceView,
    /// Whether new work should start.
    allowed: bool,
    /// Why not: `insufficient_credits`, `debt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// Live and pending grants, in the order in which they are spent.
    grants: Vec<GrantView>,
    /// Open holds.
    holds: Vec<Hold>,
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
            holds: Vec::new(),
            settings: SettingsView::from(state.settings()),
            as_of: state.settled_at(),
        }
    }
}

problems!(AccountProblems = AccountNotFound);

/// One account: its balance, its grants, how it is treated.
#[utoipa::path(
    get,
    path = "/v1/accounts/{account}",
    operation_id = "get_account",
    tag = "accounts",
    params(("account" = openapi::Account, Path)),
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

/// How an account is to be treated. What is left out gets the deployment's default.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SettingsRequest {
    /// What happens to a charge that is larger than what is there.
    #[schema(value_type = Option<OveruseSchema>)]
    overuse: Option<Overuse>,
    /// How far below zero refused charges may go; not negative.
    #[schema(value_type = Option<openapi::Decimal>)]
    credit_line: Option<Credits>,
    /// A group of the ratio table.
    #[schema(example = "pro")]
    price_group: Option<String>,
    /// Whether account tokens see the metadata of operations.
    metadata_visible: Option<bool>,
}

problems!(PutAccountProblems = Conflict, PayloadTooLarge, LimitExceeded);

/// Sets how an account is treated, and opens it where it is new. The same settings again change
/// nothing.
#[utoipa::path(
    put,
    path = "/v1/accounts/{account}",
    operation_id = "put_account",
    tag = "accounts",
    params(("account" = openapi::Account, Path)),
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
    let SettingsRequest { overuse, credit_line, price_group, metadata_visible } = request.body;
    if credit_line.is_some_and(Credits::is_negative) {
        return Err(Problem::invalid_field("/credit_line", "not below zero"));
    }
    let defaults = deps.ledger.defaults().clone();
    let wanted = Settings {
        overuse: overuse.unwrap_or(defaults.overuse),
        credit_line: credit_line.unwrap_or(defaults.credit_line),
        price_group: price_group.unwrap_or(defaults.price_group),
        metadata_visible: metadata_visible.unwrap_or(defaults.metadata_visible),
        status: defaults.status,
    };
    if wanted.price_group != Settings::DEFAULT_GROUP {
        // A typo would stop every charge of this account.
        let table = tables::for_request(&deps.ratios, None, deps.ledger.now(), &log).await?;
        items::multiplier(&table.table, &wanted.price_group)?;
    }
    let ask = Ask {
        account: &access.account,
        origin: Origin::System,
        fingerprint: [0; 16],
        private: Private::default(),
        opens: true,
        extra: &|_| Vec::new(),
    };
    let decide = |state: &AccountState| {
        // A new account's journal begins with its settings, even the default ones.
        if state.seq() > 1 && *state.settings() == wanted {
            return Err(Unchanged(state.clone()));
        }
        Ok(Command::Settings(wanted.clone()))
    };
    let state = match deps.ledger.execute(&ask, decide).await {
        Ok(outcome) => outcome.state,
        Err(Asked::Decided(Unchanged(state))) => state,
        Err(error) => {
            let error = error.map_decided(|_| Problem::new(Code::Conflict, "Nothing changes."));
            return Err(refusals::asked(error, &access.account));
        }
    };
    Ok(Json(Account::new(access.account, &state)))
}

/// The settings are these already.
#[derive(Debug)]
struct Unchanged(AccountState);

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
    /// The one operation that happened under this key, if it did: what became of a request whose
    /// answer was lost.
    #[param(value_type = Option<String>)]
    idempotency_key: Option<IdempotencyKey>,
}

/// The movements of an account, newest first.
#[utoipa::path(
    get,
    path = "/v1/accounts/{account}/transactions",
    operation_id = "list_transactions",
    tag = "accounts",
    params(("account" = openapi::Account, Path), TransactionsQuery),
    security(("bearer" = ["read"])),
    responses((status = 200, description = "A page", body = Page<OperationView>), AccountProblems)
)]
async fn list_transactions(
    access: AccountAccess<Read>,
    State(deps): State<Deps>,
    StrictQuery(query): StrictQuery<TransactionsQuery>,
) -> Result<Json<Page<OperationView>>, Problem> {
    let account = &access.account;
    let list = format!("transactions/{account}");
    let before = query.cursor.as_deref().map(|cursor| position(&list, cursor)).transpose()?;
    if let Some(key) = query.idempotency_key {
        if before.is_some() {
            let detail = "idempotency_key names one operation: send no cursor with it.";
            return Err(Problem::invalid_request(detail));
        }
        let origin = Origin::Client { key: key.as_str().to_owned() };
        let happened = deps.ledger.operation_of(account, &origin).await?;
        if happened.is_none() {
            existing(&deps, account).await?;
        }
        let items = view(&deps, &access.caller, account, happened.into_iter().collect()).await?;
        return Ok(Json(Page { items, next_cursor: None }));
    }
    let page = deps.ledger.transactions(account, before, limit(query.limit)).await?;
    if page.items.is_empty() {
        existing(&deps, account).await?;
    }
    let next_cursor = page.next.map(|next| {
        let mut position = next.seq.to_be_bytes().to_vec();
        position.push(next.position);
        encode_cursor(&list, &position)
    });
    let items = view(&deps, &access.caller, account, page.items).await?;
    Ok(Json(Page { items, next_cursor }))
}

problems!(TransactionProblems = NotFound, AccountNotFound);

/// One movement, and all that it came about by.
#[utoipa::path(
    get,
    path = "/v1/accounts/{account}/transactions/{operation}",
    operation_id = "get_transaction",
    tag = "accounts",
    params(("account" = openapi::Account, Path), ("operation" = String, Path)),
    security(("bearer" = ["read"])),
    responses(
        (status = 200, description = "The operation", body = OperationView),
        TransactionProblems
    )
)]
async fn get_transaction(
    access: AccountAccess<Read>,
    State(deps): State<Deps>,
    path: PathParams,
) -> Result<Json<OperationView>, Problem> {
    let account = &access.account;
    let missing = || Problem::new(Code::NotFound, "The account has no such operation.");
    // What is no operation's id names none.
    let id: OperationId = path.get("operation").map_err(|_| missing())?;
    let Some(happened) = deps.ledger.operation(account, id).await? else {
        existing(&deps, account).await?;
        return Err(missing());
    };
    let view = view(&deps, &access.caller, account, vec![happened]).await?;
    view.into_iter().next().map(Json).ok_or_else(missing)
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

fn position(list: &str, cursor: &str) -> Result<OperationId, Problem> {
    let bytes = decode_cursor(list, cursor)?;
    let (position, seq) = bytes
        .split_last()
        .and_then(|(position, seq)| Some((*position, seq.try_into().ok()?)))
        .ok_or_else(|| Problem::invalid_request("The cursor is not one of this list."))?;
    Ok(OperationId { seq: u64::from_be_bytes(seq), position })
}

async fn existing(deps: &Deps, account: &AccountId) -> Result<AccountState, Problem> {
    deps.ledger.account(account).await?.ok_or_else(|| refusals::account_not_found(account))
}

fn limit(limit: Limit) -> u32 {
    u32::try_from(limit.get()).unwrap_or(u32::MAX)
}

/// A token to mint.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MintRequest {
    /// What it allows: `estimate`, `read`, `topup`, at most what the API key has.
    #[schema(value_type = Vec<String>, example = json!(["estimate", "read"]))]
    scopes: Vec<Scope>,
    /// The member of the account who will use it: 1 to 128 characters.
    actor: Option<String>,
    /// How long it lives: 1 to 3600 seconds, 900 where not given.
    ttl_seconds: Option<u32>,
}

/// A minted token.
#[derive(Debug, Serialize, ToSchema)]
pub struct Minted {
    /// Send it as `Authorization: Bearer <token>`.
    token: String,
    /// From when on it is refused.
    #[schema(value_type = openapi::Instant)]
    expires_at: Timestamp,
    /// What it allows.
    #[schema(value_type = Vec<String>)]
    scopes: Vec<Scope>,
}

problems!(MintProblems = PayloadTooLarge);

/// Mints a short-lived token for one account, made for browsers. The account need not be open yet.
#[utoipa::path(
    post,
    path = "/v1/accounts/{account}/tokens",
    operation_id = "create_account_token",
    tag = "accounts",
    params(("account" = openapi::Account, Path)),
    security(("bearer" = [])),
    request_body = MintRequest,
    responses((status = 201, description = "Minted", body = Minted), MintProblems)
)]
async fn create_account_token(
    caller: Caller,
    State(deps): State<Deps>,
    path: PathParams,
    request: Result<StrictJson<MintRequest>, Problem>,
) -> Result<(StatusCode, Json<Minted>), Problem> {
    // Who mints is known before anything that the request says.
    if !matches!(caller.identity(), Identity::ApiKey { .. }) {
        caller.require(Scope::Read)?;
    }
    let account: AccountId = path.get("account")?;
    let MintRequest { scopes, actor, ttl_seconds } = request?.body;
    let scopes: Scopes = scopes.into_iter().collect();
    // Over every account: an API key, which hands on what it has and no more.
    for scope in scopes.iter() {
        caller.require(scope)?;
    }
    let ttl_seconds = ttl_seconds.unwrap_or(DEFAULT_TTL);
    let secret =
        deps.secrets.token_signing_key().await.map_err(|error| Problem::unavailable(&error, 5))?;
    let key =
        SigningKey::from_secret(secret.expose()).map_err(|error| Problem::internal(&error))?;
    let now = deps.ledger.now();
    let id = random_id("tok");
    let request =
        TokenRequest { account: &account, actor: actor.as_deref(), scopes, ttl_seconds, id: &id };
    let token = key.mint(&request, now).map_err(|error| {
        let pointer = match error {
            MintError::Ttl => "/ttl_seconds",
            MintError::Scopes => "/scopes",
            MintError::Actor => "/actor",
            MintError::Key => return Problem::internal(&error),
        };
        Problem::invalid_field(pointer, error.to_string())
    })?;
    let expires_at = now.saturating_add_millis(i64::from(ttl_seconds) * 1_000);
    Ok((StatusCode::CREATED, Json(Minted { token, expires_at, scopes: scopes.iter().collect() })))
}

/// An API key to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyRequest {
    /// What it may do.
    #[schema(value_type = Vec<String>, example = json!(["estimate", "charge", "read"]))]
    scopes: Vec<Scope>,
    /// What it is for: 1 to 128 characters.
    name: String,
}

/// An API key, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiKey)]
pub struct ApiKeyView {
    /// Names it.
    id: String,
    /// What it is for.
    name: String,
    /// What it may do.
    scopes: Vec<String>,
    /// When it was made.
    #[schema(value_type = openapi::Instant)]
    created_at: Timestamp,
}

impl From<ApiKey> for ApiKeyView {
    fn from(key: ApiKey) -> Self {
        Self { id: key.id, name: key.name, scopes: key.scopes, created_at: key.created_at }
    }
}

/// An API key that was made.
#[derive(Debug, Serialize, ToSchema)]
pub struct ApiKeyMade {
    /// Names it.
    id: String,
    /// The whole key, shown this once: send it as `Authorization: Bearer <key>`.
    key: String,
    /// What it is for.
    name: String,
    /// What it may do.
    scopes: Vec<String>,
    /// When it was made.
    #[schema(value_type = openapi::Instant)]
    created_at: Timestamp,
}

problems!(ApiKeyProblems = PayloadTooLarge, LimitExceeded);

/// Makes an API key.
#[utoipa::path(
    post,
    path = "/v1/api-keys",
    operation_id = "create_api_key",
    tag = "accounts",
    security(("bearer" = ["keys:admin"])),
    request_body = ApiKeyRequest,
    responses((status = 201, description = "Made", body = ApiKeyMade), ApiKeyProblems)
)]
async fn create_api_key(
    _: Access<KeysAdmin>,
    State(deps): State<Deps>,
    request: StrictJson<ApiKeyRequest>,
) -> Result<(StatusCode, Json<ApiKeyMade>), Problem> {
    let ApiKeyRequest { scopes, name } = request.body;
    let scopes: Scopes = scopes.into_iter().collect();
    if scopes.is_empty() {
        return Err(Problem::invalid_field("/scopes", "at least one"));
    }
    if !(1..=128).contains(&name.chars().count()) {
        return Err(Problem::invalid_field("/name", "1 to 128 characters"));
    }
    if deps.credentials.api_keys().await?.len() >= MAX_KEYS {
        return Err(Problem::new(Code::LimitExceeded, "There are 1,000 API keys: delete some."));
    }
    let new = generate_api_key();
    let stored = ApiKey {
        id: new.id.clone(),
        secret_hash: new.secret_hash.0,
        scopes: scopes.iter().map(|scope| scope.as_str().to_owned()).collect(),
        name,
        created_at: deps.ledger.now(),
    };
    deps.credentials.put_api_key(&stored).await?;
    let ApiKeyView { id, name, scopes, created_at } = stored.into();
    let made = ApiKeyMade { id, key: new.key, name, scopes, created_at };
    Ok((StatusCode::CREATED, Json(made)))
}

/// All API keys, without their secrets.
#[utoipa::path(
    get,
    path = "/v1/api-keys",
    operation_id = "list_api_keys",
    tag = "accounts",
    params(PageQuery),
    security(("bearer" = ["keys:admin"])),
    responses((status = 200, description = "A page", body = Page<ApiKeyView>), ListProblems)
)]
async fn list_api_keys(
    _: Access<KeysAdmin>,
    State(deps): State<Deps>,
    StrictQuery(query): StrictQuery<PageQuery>,
) -> Result<Json<Page<ApiKeyView>>, Problem> {
    let all = deps.credentials.api_keys().await?.into_iter().map(ApiKeyView::from).collect();
    page_of("api-keys", all, &query, |key| &key.id).map(Json)
}

/// Withdraws an API key. It may be honoured for 60 more seconds.
#[utoipa::path(
    delete,
    path = "/v1/api-keys/{key}",
    operation_id = "delete_api_key",
    tag = "accounts",
    params(("key" = String, Path, description = "The key's id")),
    security(("bearer" = ["keys:admin"])),
    responses((status = 204, description = "Withdrawn"), TransactionProblems)
)]
async fn delete_api_key(
    _: Access<KeysAdmin>,
    State(deps): State<Deps>,
    path: PathParams,
) -> Result<StatusCode, Problem> {
    let id: String = path.get("key").map_err(|_| Problem::invalid_request("The id is a text."))?;
    if deps.credentials.api_key(&id).await?.is_none() {
        return Err(Problem::new(Code::NotFound, "There is no such API key."));
    }
    deps.credentials.delete_api_key(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

uc_http::operations!(
    Deps;
    list_accounts, get_account, put_account, list_transactions, get_transaction,
    create_account_token, create_api_key, list_api_keys, delete_api_key
);

/// The function's router in a deployment.
pub fn router(deployment: &Deployment) -> Router {
    let deps = Deps {
        ledger: deployment.ledger(),
        credentials: deployment.credentials(),
        secrets: deployment.secrets(),
        ratios: deployment.reader(),
    };
    uc_http::wrap("accounts", routes().with_state(deps), deployment.auth())
}

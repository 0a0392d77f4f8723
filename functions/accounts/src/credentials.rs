//! Credentials: account tokens and API keys.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use uc_domain::{AccountId, Timestamp};
use uc_http::scope::KeysAdmin;
use uc_http::{
    Access, Caller, Code, Identity, MintError, Page, PageQuery, PathParams, Problem, Scope, Scopes,
    SigningKey, StrictJson, StrictQuery, TokenRequest, generate_api_key, openapi, page_of,
    problems, random_id,
};
use uc_ledger::ApiKey;
use utoipa::ToSchema;

use crate::{Deps, ListProblems};

/// API keys of one deployment at most.
const MAX_KEYS: usize = 1_000;
/// What an account token lives for where nothing is said, in seconds.
const DEFAULT_TTL: u32 = 900;

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
    params(("account" = openapi::AccountId, Path)),
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

problems!(DeleteApiKeyProblems = NotFound);

/// Withdraws an API key. It may be honoured for 60 more seconds.
#[utoipa::path(
    delete,
    path = "/v1/api-keys/{key}",
    operation_id = "delete_api_key",
    tag = "accounts",
    params(("key" = String, Path, description = "The key's id")),
    security(("bearer" = ["keys:admin"])),
    responses((status = 204, description = "Withdrawn"), DeleteApiKeyProblems)
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
    create_account_token, create_api_key, list_api_keys, delete_api_key
);

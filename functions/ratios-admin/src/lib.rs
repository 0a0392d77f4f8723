//! Publishes ratio tables: complete ones only, and never over somebody else's.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uc_domain::Timestamp;
use uc_domain::ratios::{RatioTable, TableError};
use uc_http::scope::RatiosAdmin;
use uc_http::{
    Access, Code, Deployment, FieldError, Identity, LargeJson, Page, PageQuery, PathParams,
    Problem, StrictJson, StrictQuery, decode_cursor, encode_cursor, openapi, problems,
};
use uc_ratios::{
    Publication, PublicationState, PublishError, PublishOptions, Published, Publisher,
    SsmParameters, Version,
};
use utoipa::{IntoParams, ToSchema};

/// What `Retry-After` says while a publication goes on, in seconds.
const POLL_SECONDS: &str = "5";
/// What `Retry-After` says when a store gives no answer, in seconds.
const RETRY_SECONDS: u32 = 5;

/// What the function works with.
#[derive(Clone)]
pub struct Deps {
    /// The ratio tables.
    pub publisher: Arc<Publisher>,
}

/// The ratio table: `credit`, `groups`, `features`, `models`.
#[derive(ToSchema)]
#[schema(as = RatioTable)]
#[expect(dead_code, reason = "describes the domain's type in the OpenAPI document")]
struct RatioTableSchema {
    /// How a sum is rounded: `scale` 0 to 6, `rounding` `up`, `down`, `half_up` or `half_even`.
    credit: BTreeMap<String, Value>,
    /// Multipliers by price group; `default` is among them.
    groups: BTreeMap<String, String>,
    /// By feature: the dimensions that each of its models must price.
    features: BTreeMap<String, Value>,
    /// The models by id.
    models: BTreeMap<String, ModelSchema>,
}

/// One model of a ratio table.
#[derive(ToSchema)]
#[schema(as = RatioModel)]
#[expect(dead_code, reason = "describes the domain's type in the OpenAPI document")]
struct ModelSchema {
    /// What it is for; one of the table's features.
    feature: String,
    /// What people read; the id where not given.
    name: Option<String>,
    /// A disabled model is unknown to charges and estimates.
    enabled: Option<bool>,
    /// Other names.
    aliases: Option<Vec<String>>,
    /// Rules for names in providers' responses, such as `{"starts_with": "gpt-5.1-20"}`.
    r#match: Option<Vec<BTreeMap<String, String>>>,
    /// The least that one request costs.
    #[schema(value_type = Option<openapi::Decimal>)]
    minimum: Option<String>,
    /// What units cost: `dimension`, `credits`, `per`, and where it applies `when` and `cost`.
    ratios: Vec<BTreeMap<String, Value>>,
}

/// How to publish.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PublishQuery {
    /// `false` ends at once that charges may name versions superseded less than 15 minutes ago:
    /// for a wrong price. `true` where not given.
    lock: Option<bool>,
}

/// One model, and how to publish it.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ModelQuery {
    /// The model's id.
    model: String,
    /// As for the whole table.
    lock: Option<bool>,
}

/// No parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoQuery {}

/// A published table.
#[derive(Debug, Serialize, ToSchema)]
pub struct PublishedVersion {
    /// The version in force now.
    version: u64,
}

/// A table that is on its way.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Publication)]
pub struct PublicationView {
    /// Its id.
    id: String,
    /// `in_progress`, `done`, or `superseded` by another table.
    #[schema(example = "in_progress")]
    state: &'static str,
    /// Parameters that are written.
    #[serde(skip_serializing_if = "Option::is_none")]
    done: Option<usize>,
    /// All parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<usize>,
    /// The version it became, or that superseded it.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
}

impl From<Publication> for PublicationView {
    fn from(publication: Publication) -> Self {
        let Publication { id, state } = publication;
        let (state, done, total, version) = match state {
            PublicationState::InProgress { done, total } => {
                ("in_progress", Some(done), Some(total), None)
            }
            PublicationState::Done { version } => ("done", None, None, Some(version)),
            PublicationState::Superseded { by } => ("superseded", None, None, Some(by)),
        };
        Self { id, state, done, total, version }
    }
}

/// A version in a list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Version)]
pub struct VersionView {
    /// Counts from 1.
    version: u64,
    /// When it was published.
    #[schema(value_type = openapi::Instant)]
    published_at: Timestamp,
    /// How many models it has.
    models: u64,
    /// The API key that published it.
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<String>,
    /// The version whose content it brought back.
    #[serde(skip_serializing_if = "Option::is_none")]
    restores: Option<u64>,
}

impl From<Version> for VersionView {
    fn from(version: Version) -> Self {
        let Version { version, published_at, models, author, restores, .. } = version;
        Self { version, published_at, models, author, restores }
    }
}

/// A table that could be published.
#[derive(Debug, Serialize, ToSchema)]
pub struct Valid {
    /// Always true: what is wrong with another is a problem.
    valid: bool,
    /// How many models it has.
    models: usize,
}

/// Which version to bring back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// Its content becomes a new version.
    version: u64,
    /// As for the whole table.
    lock: Option<bool>,
}

problems!(GetProblems = NotFound);
problems!(
    PublishProblems = NotFound,
    PreconditionFailed,
    PayloadTooLarge,
    RatiosIncomplete,
    RatiosInvalid,
    LimitExceeded
);
problems!(ValidateProblems = PayloadTooLarge, RatiosIncomplete, RatiosInvalid);
problems!(ListProblems =);

/// The ratio table in force, with its costs.
#[utoipa::path(
    get,
    path = "/v1/ratios",
    operation_id = "get_ratios",
    tag = "ratios",
    params(("If-None-Match" = Option<String>, Header)),
    security(("bearer" = ["ratios:admin"])),
    responses(
        (status = 200, description = "The table; its version is the ETag", body = RatioTableSchema),
        (status = 304, description = "Nothing changed since the ETag"),
        GetProblems
    )
)]
async fn get_ratios(
    _: Access<RatiosAdmin>,
    State(deps): State<Deps>,
    _: StrictQuery<NoQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let version = deps.publisher.current().await.map_err(refusal)?.ok_or_else(unpublished)?;
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known == Some(etag(version.version).as_str()) {
        return Ok((StatusCode::NOT_MODIFIED, tagged(version.version)).into_response());
    }
    let table = deps.publisher.version(version.version).await.map_err(refusal)?;
    Ok((tagged(version.version), Json(table.to_json())).into_response())
}

/// Publishes a complete table as the next version. The same request again goes on where the first
/// one stopped, and answers with its version.
#[utoipa::path(
    put,
    path = "/v1/ratios",
    operation_id = "put_ratios",
    tag = "ratios",
    params(
        PublishQuery,
        ("If-Match" = String, Header, description = "The version to replace; \"0\" for the first"),
    ),
    security(("bearer" = ["ratios:admin"])),
    request_body = RatioTableSchema,
    responses(
        (status = 200, description = "Published", body = PublishedVersion),
        (status = 202, description = "Going on: send it again, or poll", body = PublicationView),
        PublishProblems
    )
)]
async fn put_ratios(
    access: Access<RatiosAdmin>,
    State(deps): State<Deps>,
    StrictQuery(query): StrictQuery<PublishQuery>,
    headers: HeaderMap,
    LargeJson(request): LargeJson<Value>,
) -> Result<Response, Problem> {
    let if_match = if_match(&headers)?;
    let table = RatioTable::from_json(&request.value).map_err(|error| faults(&error))?;
    publish(&deps, &access, if_match, &table, query.lock).await
}

/// Changes or adds one model, and publishes the table with it.
#[utoipa::path(
    put,
    path = "/v1/ratios/models",
    operation_id = "put_ratio_model",
    tag = "ratios",
    params(
        ModelQuery,
        ("If-Match" = String, Header, description = "The version to replace"),
    ),
    security(("bearer" = ["ratios:admin"])),
    request_body = ModelSchema,
    responses(
        (status = 200, description = "Published", body = PublishedVersion),
        (status = 202, description = "Going on: send it again, or poll", body = PublicationView),
        PublishProblems
    )
)]
async fn put_ratio_model(
    access: Access<RatiosAdmin>,
    State(deps): State<Deps>,
    StrictQuery(query): StrictQuery<ModelQuery>,
    headers: HeaderMap,
    request: StrictJson<Value>,
) -> Result<Response, Problem> {
    let if_match = if_match(&headers)?;
    let table = base(&deps, if_match).await?;
    let table = table.with_model(&query.model, &request.value).map_err(|error| faults(&error))?;
    publish(&deps, &access, if_match, &table, query.lock).await
}

/// Removes one model, and publishes the table without it.
#[utoipa::path(
    delete,
    path = "/v1/ratios/models",
    operation_id = "delete_ratio_model",
    tag = "ratios",
    params(
        ModelQuery,
        ("If-Match" = String, Header, description = "The version to replace"),
    ),
    security(("bearer" = ["ratios:admin"])),
    responses(
        (status = 200, description = "Published", body = PublishedVersion),
        (status = 202, description = "Going on: send it again, or poll", body = PublicationView),
        PublishProblems
    )
)]
async fn delete_ratio_model(
    access: Access<RatiosAdmin>,
    State(deps): State<Deps>,
    StrictQuery(query): StrictQuery<ModelQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let if_match = if_match(&headers)?;
    let table = base(&deps, if_match).await?;
    let table = table
        .without_model(&query.model)
        .ok_or_else(|| Problem::new(Code::NotFound, "The table has no such model."))?;
    publish(&deps, &access, if_match, &table, query.lock).await
}

/// Tells whether a table could be published, and publishes nothing.
#[utoipa::path(
    post,
    path = "/v1/ratios/validate",
    operation_id = "validate_ratios",
    tag = "ratios",
    security(("bearer" = ["ratios:admin"])),
    request_body = RatioTableSchema,
    responses(
        (status = 200, description = "It could", body = Valid),
        ValidateProblems
    )
)]
async fn validate_ratios(
    _: Access<RatiosAdmin>,
    LargeJson(request): LargeJson<Value>,
) -> Result<Json<Valid>, Problem> {
    let table = RatioTable::from_json(&request.value).map_err(|error| faults(&error))?;
    Ok(Json(Valid { valid: true, models: table.models().len() }))
}

/// What was published, newest first.
#[utoipa::path(
    get,
    path = "/v1/ratios/versions",
    operation_id = "list_ratio_versions",
    tag = "ratios",
    params(PageQuery),
    security(("bearer" = ["ratios:admin"])),
    responses((status = 200, description = "A page", body = Page<VersionView>), ListProblems)
)]
async fn list_ratio_versions(
    _: Access<RatiosAdmin>,
    State(deps): State<Deps>,
    StrictQuery(query): StrictQuery<PageQuery>,
) -> Result<Json<Page<VersionView>>, Problem> {
    let list = "ratio-versions";
    let before = query.cursor.as_deref().map(|cursor| {
        let bytes = decode_cursor(list, cursor)?;
        let bytes = <[u8; 8]>::try_from(bytes)
            .map_err(|_| Problem::invalid_request("The cursor is not one of this list."))?;
        Ok::<_, Problem>(u64::from_be_bytes(bytes))
    });
    let limit = u32::try_from(query.limit.get()).unwrap_or(u32::MAX);
    let versions = deps.publisher.versions(before.transpose()?, limit).await.map_err(refusal)?;
    let next_cursor = versions
        .last()
        .filter(|last| last.version > 1)
        .map(|last| encode_cursor(list, &last.version.to_be_bytes()));
    Ok(Json(Page { items: versions.into_iter().map(VersionView::from).collect(), next_cursor }))
}

/// The table of a version, however old.
#[utoipa::path(
    get,
    path = "/v1/ratios/versions/{version}",
    operation_id = "get_ratio_version",
    tag = "ratios",
    params(("version" = u64, Path)),
    security(("bearer" = ["ratios:admin"])),
    responses(
        (status = 200, description = "The table", body = RatioTableSchema),
        GetProblems
    )
)]
async fn get_ratio_version(
    _: Access<RatiosAdmin>,
    State(deps): State<Deps>,
    path: PathParams,
) -> Result<Response, Problem> {
    let version = path.get("version")?;
    let table = deps.publisher.version(version).await.map_err(refusal)?;
    Ok((tagged(version), Json(table.to_json())).into_response())
}

/// Publishes the content of an earlier version as a new one.
#[utoipa::path(
    post,
    path = "/v1/ratios/rollback",
    operation_id = "rollback_ratios",
    tag = "ratios",
    params(("If-Match" = String, Header, description = "The version to replace")),
    security(("bearer" = ["ratios:admin"])),
    request_body = RollbackRequest,
    responses(
        (status = 200, description = "Published", body = PublishedVersion),
        (status = 202, description = "Going on: send it again, or poll", body = PublicationView),
        PublishProblems
    )
)]
async fn rollback_ratios(
    access: Access<RatiosAdmin>,
    State(deps): State<Deps>,
    headers: HeaderMap,
    request: StrictJson<RollbackRequest>,
) -> Result<Response, Problem> {
    let RollbackRequest { version, lock } = request.body;
    let options = options(&access, lock);
    let published = deps.publisher.rollback(if_match(&headers)?, version, &options).await;
    answer(published)
}

/// How far a publication is that `PUT` answered with 202.
#[utoipa::path(
    get,
    path = "/v1/ratios/publications/{publication}",
    operation_id = "get_ratio_publication",
    tag = "ratios",
    params(("publication" = String, Path)),
    security(("bearer" = ["ratios:admin"])),
    responses(
        (status = 200, description = "How far it is", body = PublicationView),
        GetProblems
    )
)]
async fn get_ratio_publication(
    _: Access<RatiosAdmin>,
    State(deps): State<Deps>,
    path: PathParams,
) -> Result<Json<PublicationView>, Problem> {
    let id: String = path.get("publication")?;
    let publication = deps.publisher.publication(&id).await.map_err(refusal)?;
    publication
        .map(|publication| Json(publication.into()))
        .ok_or_else(|| Problem::new(Code::NotFound, "There is no such publication."))
}

/// The table that one model is changed in.
async fn base(deps: &Deps, if_match: u64) -> Result<RatioTable, Problem> {
    if if_match == 0 {
        return Err(unpublished());
    }
    // The version that the caller saw; whether it still counts is decided when publishing.
    deps.publisher.version(if_match).await.map_err(refusal)
}

async fn publish(
    deps: &Deps,
    access: &Access<RatiosAdmin>,
    if_match: u64,
    table: &RatioTable,
    lock: Option<bool>,
) -> Result<Response, Problem> {
    answer(deps.publisher.publish(if_match, table, &options(access, lock)).await)
}

fn options(access: &Access<RatiosAdmin>, lock: Option<bool>) -> PublishOptions {
    let author = match access.caller.identity() {
        Identity::ApiKey { id, .. } => Some(id.clone()),
        Identity::Anonymous | Identity::AccountToken { .. } => None,
    };
    PublishOptions { lock: lock.unwrap_or(true), author, ..PublishOptions::default() }
}

fn answer(published: Result<Published, PublishError>) -> Result<Response, Problem> {
    match published.map_err(refusal)? {
        Published::Done { version } | Published::Unchanged { version } => {
            Ok((tagged(version), Json(PublishedVersion { version })).into_response())
        }
        Published::InProgress(publication) => {
            let location = format!("/v1/ratios/publications/{}", publication.id);
            let location =
                HeaderValue::from_str(&location).map_err(|error| Problem::internal(&error))?;
            let headers = [
                (header::LOCATION, location),
                (header::RETRY_AFTER, HeaderValue::from_static(POLL_SECONDS)),
            ];
            let body = Json(PublicationView::from(publication));
            Ok((StatusCode::ACCEPTED, headers, body).into_response())
        }
    }
}

/// The version that `If-Match` names: a quoted number.
fn if_match(headers: &HeaderMap) -> Result<u64, Problem> {
    let mut values = headers.get_all(header::IF_MATCH).iter();
    let value = values.next().filter(|_| values.next().is_none());
    value
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.trim().strip_prefix('"')?.strip_suffix('"')?.parse().ok())
        .ok_or_else(|| {
            Problem::invalid_request(
                "Send If-Match with the version to replace in quotes, as the ETag of GET \
                 /v1/ratios; \"0\" for the first.",
            )
        })
}

fn etag(version: u64) -> String {
    format!("\"{version}\"")
}

fn tagged(version: u64) -> [(HeaderName, HeaderValue); 1] {
    let value = HeaderValue::from_str(&etag(version)).expect("a quoted number is a header value");
    [(header::ETAG, value)]
}

fn unpublished() -> Problem {
    Problem::new(
        Code::NotFound,
        "No ratio table was published yet: PUT /v1/ratios, If-Match \"0\".",
    )
}

fn faults(error: &TableError) -> Problem {
    let (code, detail) = match error {
        TableError::Incomplete(_) => {
            (Code::RatiosIncomplete, "Fill in every field that is listed; nothing was stored.")
        }
        TableError::Invalid(_) => {
            (Code::RatiosInvalid, "Mend every field that is listed; nothing was stored.")
        }
    };
    let errors = error
        .faults()
        .iter()
        .map(|fault| FieldError { pointer: fault.pointer.clone(), detail: fault.detail.clone() });
    Problem::new(code, detail).with_errors(errors)
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn refusal(error: PublishError) -> Problem {
    match error {
        PublishError::PreconditionFailed { current } => Problem::new(
            Code::PreconditionFailed,
            format!("The ratio table is at version {current}: look at it, then publish over it."),
        ),
        PublishError::TooLarge(error) => Problem::new(Code::LimitExceeded, error.to_string()),
        PublishError::UnknownVersion(version) => {
            Problem::new(Code::NotFound, format!("There is no ratio version {version}."))
        }
        PublishError::Unavailable(_) => Problem::unavailable(&error, RETRY_SECONDS),
        PublishError::Refused(_) | PublishError::Corrupt(_) => Problem::internal(&error),
    }
}

uc_http::operations!(
    Deps;
    get_ratios, put_ratios, put_ratio_model, delete_ratio_model, validate_ratios,
    list_ratio_versions, get_ratio_version, rollback_ratios, get_ratio_publication
);

/// The function's router in a deployment.
pub fn router(deployment: &Deployment) -> Router {
    let publisher = Publisher::new(
        deployment.store(),
        Arc::new(SsmParameters::patient(deployment.parameters())),
        Arc::clone(deployment.clock()),
        &deployment.config().stack,
    );
    let deps = Deps { publisher: Arc::new(publisher) };
    uc_http::wrap("ratios-admin", routes().with_state(deps), deployment.auth())
}

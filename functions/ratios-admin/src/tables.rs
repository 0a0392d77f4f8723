//! The table in force, its versions, and how new ones are published.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uc_domain::Timestamp;
use uc_domain::ratios::RatioTable;
use uc_http::scope::RatiosAdmin;
use uc_http::{
    Access, Code, LargeJson, Page, PageQuery, PathParams, Problem, StrictJson, StrictQuery,
    decode_cursor, encode_cursor, openapi, problems,
};
use uc_ratios::{Publication, PublicationState, Version};
use utoipa::{IntoParams, ToSchema};

use crate::{
    Deps, ModelSchema, NoQuery, RatioTableSchema, answer, etag, faults, if_match, large, options,
    publish, refusal, tagged, unpublished,
};

/// How to publish.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PublishQuery {
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

/// A published table.
#[derive(Debug, Serialize, ToSchema)]
pub struct PublishedVersion {
    /// The version in force now.
    pub(crate) version: u64,
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

problems!(GetProblems = NotFound, LimitExceeded);
problems!(PublicationProblems = NotFound);
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
    large(&headers, version.version, &table)
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
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let version = path.get("version")?;
    let table = deps.publisher.version(version).await.map_err(refusal)?;
    large(&headers, version, &table)
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
        PublicationProblems
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

uc_http::operations!(
    Deps;
    get_ratios, put_ratios, put_ratio_model, delete_ratio_model, validate_ratios,
    list_ratio_versions, get_ratio_version, rollback_ratios, get_ratio_publication
);

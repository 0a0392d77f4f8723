//! The draft: the table that administrators are still working on. Nothing is priced by it.

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
    Access, Code, FieldError, LargeJson, Problem, StrictJson, StrictQuery, openapi, problems,
};
use uc_ratios::{DraftInfo, NewDraft};
use utoipa::{IntoParams, ToSchema};

use crate::tables::{PublicationView, PublishedVersion};
use crate::{
    Deps, NoQuery, RatioTableSchema, author, draft_refusal, etag, faults, field_errors, if_match,
    large, publish, quoted, refusal, tagged,
};

/// A draft, and what still keeps it from being published.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RatioDraft)]
pub struct DraftView {
    /// Counts up with every save; sent as `ETag` too.
    revision: u64,
    /// The version of the table that it was begun on; 0 where there was none.
    base_version: u64,
    /// When it was saved.
    #[schema(value_type = openapi::Instant)]
    saved_at: Timestamp,
    /// The API key that saved it.
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<String>,
    /// How many models it has, complete or not.
    models: usize,
    /// Every field that is missing, as `ratios_incomplete` would list it; at most 1,000.
    missing: Vec<FieldError>,
    /// Everything that can't stand, as `ratios_invalid` would list it; at most 1,000.
    invalid: Vec<FieldError>,
    /// Whether nothing is missing and nothing is invalid.
    publishable: bool,
    /// The draft; where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<RatioTableSchema>)]
    table: Option<Value>,
}

impl DraftView {
    fn new(info: DraftInfo, table: &Value) -> Self {
        let DraftInfo { revision, base_version, saved_at, author } = info;
        let (missing, invalid) = match RatioTable::examine(table) {
            Ok(_) => (Vec::new(), Vec::new()),
            Err(findings) => (field_errors(&findings.missing), field_errors(&findings.invalid)),
        };
        Self {
            revision,
            base_version,
            saved_at,
            author,
            models: table["models"].as_object().map_or(0, serde_json::Map::len),
            publishable: missing.is_empty() && invalid.is_empty(),
            missing,
            invalid,
            table: None,
        }
    }
}

/// What a draft is begun on.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DraftQuery {
    /// The version of the table that it was made from. Where not given, that of the draft that it
    /// replaces; where there is none, or that one is what is in force, the version in force.
    base_version: Option<u64>,
}

/// Which draft to publish, and how.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishDraftRequest {
    /// The revision that was looked at: another one is not published.
    revision: u64,
    /// As for the whole table.
    lock: Option<bool>,
}

problems!(GetDraftProblems = NotFound, LimitExceeded);
problems!(PutDraftProblems = PreconditionFailed, PayloadTooLarge, LimitExceeded);
problems!(DeleteDraftProblems = PreconditionFailed);
problems!(
    PublishDraftProblems = NotFound,
    PreconditionFailed,
    PayloadTooLarge,
    RatiosIncomplete,
    RatiosInvalid,
    LimitExceeded
);

/// The draft, and what it still lacks.
#[utoipa::path(
    get,
    path = "/v1/ratios/draft",
    operation_id = "get_ratio_draft",
    tag = "ratios",
    params(("If-None-Match" = Option<String>, Header)),
    security(("bearer" = ["ratios:admin"])),
    responses(
        (status = 200, description = "The draft; its revision is the ETag", body = DraftView),
        (status = 304, description = "Nothing changed since the ETag"),
        GetDraftProblems
    )
)]
async fn get_ratio_draft(
    _: Access<RatiosAdmin>,
    State(deps): State<Deps>,
    _: StrictQuery<NoQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if let Some(known) = headers.get(header::IF_NONE_MATCH)
        && let Some(info) = deps.drafts.info().await.map_err(draft_refusal)?
        && known.to_str().is_ok_and(|known| known == etag(info.revision))
    {
        return Ok((StatusCode::NOT_MODIFIED, tagged(info.revision)).into_response());
    }
    let (info, table) = existing(&deps).await?;
    let view = DraftView::new(info, &table);
    large(&headers, view.revision, &DraftView { table: Some(table), ..view })
}

/// Keeps a draft, which may be incomplete and even wrong; the answer says what it lacks. Nothing
/// is priced by it.
#[utoipa::path(
    put,
    path = "/v1/ratios/draft",
    operation_id = "put_ratio_draft",
    tag = "ratios",
    params(
        DraftQuery,
        ("If-Match" = String, Header,
            description = "The draft's revision to replace; \"0\" where there is no draft"),
    ),
    security(("bearer" = ["ratios:admin"])),
    request_body = RatioTableSchema,
    responses(
        (status = 200, description = "Kept; without the draft itself", body = DraftView),
        PutDraftProblems
    )
)]
async fn put_ratio_draft(
    access: Access<RatiosAdmin>,
    State(deps): State<Deps>,
    StrictQuery(query): StrictQuery<DraftQuery>,
    headers: HeaderMap,
    LargeJson(request): LargeJson<Value>,
) -> Result<Response, Problem> {
    let if_match = draft_if_match(&headers)?;
    let table = request.value;
    if !table.is_object() {
        return Err(Problem::invalid_field("", "a draft is an object, be it empty"));
    }
    let base_version = base_version(&deps, query.base_version).await?;
    let draft = NewDraft { table: &table, base_version, author: author(&access) };
    let info = deps.drafts.save(if_match, &draft).await.map_err(draft_refusal)?;
    let view = DraftView::new(info, &table);
    Ok((tagged(view.revision), Json(view)).into_response())
}

/// Deletes the draft.
#[utoipa::path(
    delete,
    path = "/v1/ratios/draft",
    operation_id = "delete_ratio_draft",
    tag = "ratios",
    params(("If-Match" = String, Header, description = "The draft's revision")),
    security(("bearer" = ["ratios:admin"])),
    responses((status = 204, description = "It is gone"), DeleteDraftProblems)
)]
async fn delete_ratio_draft(
    access: Access<RatiosAdmin>,
    State(deps): State<Deps>,
    _: StrictQuery<NoQuery>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let if_match = draft_if_match(&headers)?;
    deps.drafts.delete(if_match, author(&access)).await.map_err(draft_refusal)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Publishes the draft as the next version of the table. It stays as it is, so that the same
/// request again goes on where the first one stopped.
#[utoipa::path(
    post,
    path = "/v1/ratios/draft/publish",
    operation_id = "publish_ratio_draft",
    tag = "ratios",
    params(
        ("If-Match" = String, Header,
            description = "The table's version to replace; \"0\" for the first"),
    ),
    security(("bearer" = ["ratios:admin"])),
    request_body = PublishDraftRequest,
    responses(
        (status = 200, description = "Published", body = PublishedVersion),
        (status = 202, description = "Going on: send it again, or poll", body = PublicationView),
        PublishDraftProblems
    )
)]
async fn publish_ratio_draft(
    access: Access<RatiosAdmin>,
    State(deps): State<Deps>,
    headers: HeaderMap,
    request: StrictJson<PublishDraftRequest>,
) -> Result<Response, Problem> {
    let PublishDraftRequest { revision, lock } = request.body;
    let if_match = if_match(&headers)?;
    let (info, table) = existing(&deps).await?;
    if info.revision != revision {
        let detail = format!("The draft is at revision {}: look at it first.", info.revision);
        return Err(Problem::new(Code::PreconditionFailed, detail));
    }
    let table = RatioTable::from_json(&table).map_err(|error| faults(&error))?;
    publish(&deps, &access, if_match, &table, lock).await
}

/// The draft that there is.
pub(crate) async fn existing(deps: &Deps) -> Result<(DraftInfo, Value), Problem> {
    let draft = deps.drafts.get().await.map_err(draft_refusal)?;
    draft.ok_or_else(|| {
        let detail = "There is no draft: PUT /v1/ratios/draft, If-Match \"0\".";
        Problem::new(Code::NotFound, detail)
    })
}

/// What a draft that is saved now is begun on.
async fn base_version(deps: &Deps, given: Option<u64>) -> Result<u64, Problem> {
    let newest = deps.publisher.current().await.map_err(refusal)?.map_or(0, |v| v.version);
    match given {
        Some(given) if given > newest => {
            Err(Problem::invalid_request(format!("base_version: the newest version is {newest}.")))
        }
        Some(given) => Ok(given),
        None => {
            let before = deps.drafts.info().await.map_err(draft_refusal)?;
            match before.map(|before| before.base_version) {
                Some(base) if base != newest && !is_published(deps, newest).await? => Ok(base),
                _ => Ok(newest),
            }
        }
    }
}

/// Whether the draft is what a version holds: then what follows is begun on that one.
async fn is_published(deps: &Deps, version: u64) -> Result<bool, Problem> {
    let Some((_, draft)) = deps.drafts.get().await.map_err(draft_refusal)? else {
        return Ok(false);
    };
    let Ok(draft) = RatioTable::from_json(&draft) else { return Ok(false) };
    Ok(deps.publisher.version(version).await.map_err(refusal)? == draft)
}

/// The revision that `If-Match` names.
fn draft_if_match(headers: &HeaderMap) -> Result<u64, Problem> {
    quoted(headers).ok_or_else(|| {
        Problem::invalid_request(
            "Send If-Match with the draft's revision in quotes, as the ETag of GET \
             /v1/ratios/draft; \"0\" where there is no draft.",
        )
    })
}

uc_http::operations!(
    Deps; get_ratio_draft, put_ratio_draft, delete_ratio_draft, publish_ratio_draft
);

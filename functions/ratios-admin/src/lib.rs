//! Publishes ratio tables: complete ones only, and never over somebody else's.

mod calculations;
mod diff;
mod drafts;
mod preview;
mod tables;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uc_domain::ratios::{Fault, RatioTable, TableError};
use uc_http::scope::RatiosAdmin;
use uc_http::{Access, Code, Deployment, FieldError, Identity, Problem, openapi};
use uc_ledger::Ledger;
use uc_ratios::{
    DraftError, Drafts, PublishError, PublishOptions, Published, Publisher, SsmParameters,
};
use utoipa::ToSchema;

use self::tables::{PublicationView, PublishedVersion};

/// What `Retry-After` says while a publication goes on, in seconds.
const POLL_SECONDS: &str = "5";
/// What `Retry-After` says when a store gives no answer, in seconds.
const RETRY_SECONDS: u32 = 5;

/// From how many bytes on an answer is compressed for those who accept that.
const COMPRESSED_FROM: usize = 1_000_000;
/// Most bytes of an answer. Lambda hands on 6 MB of JSON, in which the body is a text: JSON grows
/// by its quotes, what is compressed by a third.
const PLAIN_LIMIT: usize = 4_500_000;

/// What the function works with.
#[derive(Clone)]
pub struct Deps {
    /// The ratio tables.
    pub publisher: Arc<Publisher>,
    /// The table that is still worked on.
    pub drafts: Drafts,
    /// The accounts, whose usage a preview prices again.
    pub ledger: Ledger,
}

/// No parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoQuery {}

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

async fn publish(
    deps: &Deps,
    access: &Access<RatiosAdmin>,
    if_match: u64,
    table: &RatioTable,
    lock: Option<bool>,
) -> Result<Response, Problem> {
    answer(deps.publisher.publish(if_match, table, &options(access, lock)).await)
}

/// Who is at work.
fn author(access: &Access<RatiosAdmin>) -> Option<&str> {
    match access.caller.identity() {
        Identity::ApiKey { id, .. } => Some(id),
        Identity::Anonymous | Identity::AccountToken { .. } => None,
    }
}

fn options(access: &Access<RatiosAdmin>, lock: Option<bool>) -> PublishOptions {
    PublishOptions {
        lock: lock.unwrap_or(true),
        author: author(access).map(ToOwned::to_owned),
        ..PublishOptions::default()
    }
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

/// The version that `If-Match` names.
fn if_match(headers: &HeaderMap) -> Result<u64, Problem> {
    quoted(headers).ok_or_else(|| {
        Problem::invalid_request(
            "Send If-Match with the version to replace in quotes, as the ETag of GET /v1/ratios; \
             \"0\" for the first.",
        )
    })
}

/// The one quoted number of `If-Match`.
fn quoted(headers: &HeaderMap) -> Option<u64> {
    let mut values = headers.get_all(header::IF_MATCH).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    value.to_str().ok()?.trim().strip_prefix('"')?.strip_suffix('"')?.parse().ok()
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

/// JSON that may be large, of a version or revision.
fn large(headers: &HeaderMap, version: u64, body: &impl Serialize) -> Result<Response, Problem> {
    Ok((tagged(version), large_json(headers, body)?).into_response())
}

/// JSON that may be large.
fn large_json(headers: &HeaderMap, body: &impl Serialize) -> Result<Response, Problem> {
    let json = serde_json::to_vec(body).map_err(|error| Problem::internal(&error))?;
    large_bytes(headers, "application/json", json)
}

/// A body that may be large: compressed for those who accept that.
fn large_bytes(
    headers: &HeaderMap,
    kind: &'static str,
    body: Vec<u8>,
) -> Result<Response, Problem> {
    let content = (header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if body.len() < COMPRESSED_FROM {
        return Ok(([content], body).into_response());
    }
    let vary = (header::VARY, HeaderValue::from_static("accept-encoding"));
    if !headers.get_all(header::ACCEPT_ENCODING).iter().any(accepts_gzip) {
        if body.len() > PLAIN_LIMIT {
            let detail = "The answer is too large to be sent plain: accept gzip (Accept-Encoding).";
            return Err(Problem::new(Code::LimitExceeded, detail));
        }
        return Ok(([content, vary], body).into_response());
    }
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    let compressed = gzip.write_all(&body).and_then(|()| gzip.finish());
    let compressed = compressed.map_err(|error| Problem::internal(&error))?;
    if compressed.len() > PLAIN_LIMIT {
        return Err(Problem::new(Code::LimitExceeded, "The answer is too large."));
    }
    let encoding = (header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    Ok(([content, vary, encoding], compressed).into_response())
}

/// Whether `Accept-Encoding` names gzip, and not with a weight of zero (RFC 9110, 12.5.3).
fn accepts_gzip(value: &HeaderValue) -> bool {
    value.to_str().unwrap_or_default().split(',').any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, "q=1"));
        let weight = weight.trim().trim_start_matches("q=");
        name.trim().eq_ignore_ascii_case("gzip") && weight.bytes().any(|b| matches!(b, b'1'..=b'9'))
    })
}

/// A problem of a part of the body, with pointers into the body.
fn within(problem: &Problem, place: &str) -> Problem {
    let errors = problem.errors().iter().map(|error| FieldError {
        pointer: format!("{place}{}", error.pointer),
        detail: error.detail.clone(),
    });
    Problem::new(problem.code(), problem.detail().to_owned()).with_errors(errors)
}

/// What is wrong with a table, as it stands in answers.
fn field_errors(faults: &[Fault]) -> Vec<FieldError> {
    let error =
        |fault: &Fault| FieldError { pointer: fault.pointer.clone(), detail: fault.detail.clone() };
    faults.iter().map(error).collect()
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
    let errors = field_errors(error.faults());
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

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn draft_refusal(error: DraftError) -> Problem {
    match error {
        DraftError::PreconditionFailed { current: 0 } => Problem::new(
            Code::PreconditionFailed,
            "There is no draft (any more): begin one with If-Match \"0\".",
        ),
        DraftError::PreconditionFailed { current } => Problem::new(
            Code::PreconditionFailed,
            format!("The draft is at revision {current}: look at it, then save over it."),
        ),
        DraftError::TooLarge => Problem::new(Code::LimitExceeded, error.to_string()),
        DraftError::Unavailable(_) => Problem::unavailable(&error, RETRY_SECONDS),
        DraftError::Refused(_) | DraftError::Corrupt(_) => Problem::internal(&error),
    }
}

/// All routes, without layers: serve them with `uc_http::wrap`.
pub fn routes() -> Router<Deps> {
    tables::routes()
        .merge(drafts::routes())
        .merge(diff::routes())
        .merge(preview::routes())
        .merge(calculations::routes())
}

/// The description of the routes.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut described = tables::openapi();
    described.merge(drafts::openapi());
    described.merge(diff::openapi());
    described.merge(preview::openapi());
    described.merge(calculations::openapi());
    described
}

/// The function's router in a deployment.
pub fn router(deployment: &Deployment) -> Router {
    let publisher = Publisher::new(
        deployment.store(),
        Arc::new(SsmParameters::patient(deployment.parameters())),
        Arc::clone(deployment.clock()),
        &deployment.config().stack,
    );
    let deps = Deps {
        publisher: Arc::new(publisher),
        drafts: Drafts::new(deployment.store(), Arc::clone(deployment.clock())),
        ledger: deployment.ledger(),
    };
    uc_http::wrap("ratios-admin", routes().with_state(deps), deployment.auth())
}

//! What changed between two tables: versions, or a version and the draft.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use axum::Json;
use axum::extract::State;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use uc_domain::ratios::{Counts, RatioTable, TableDiff};
use uc_http::scope::RatiosAdmin;
use uc_http::{Access, Limit, Page, Problem, StrictQuery, decode_cursor, encode_cursor, problems};
use utoipa::{IntoParams, ToSchema};

use crate::drafts::existing;
use crate::{Deps, faults, refusal, unpublished};

/// A table by what callers call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// `current`.
    Current,
    /// `draft`.
    Draft,
    /// A version by its number.
    Version(u64),
}

impl FromStr for Wanted {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "current" => Ok(Self::Current),
            "draft" => Ok(Self::Draft),
            _ => text.parse().map(Self::Version).map_err(|_| WANTED),
        }
    }
}

const WANTED: &str = "a version's number, \"current\" or \"draft\"";

impl<'de> Deserialize<'de> for Wanted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrText;
        impl Visitor<'_> for NumberOrText {
            type Value = Wanted;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(WANTED)
            }
            fn visit_u64<E>(self, version: u64) -> Result<Wanted, E> {
                Ok(Wanted::Version(version))
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Wanted, E> {
                text.parse().map_err(|expected| E::custom(format_args!("write {expected}")))
            }
        }
        deserializer.deserialize_any(NumberOrText)
    }
}

/// Which table was looked at: a version, or a revision of the draft; neither for one that the
/// request brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct TableName {
    /// The version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<u64>,
    /// The draft's revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) draft: Option<u64>,
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.version, self.draft) {
            (Some(version), _) => write!(f, "{version}"),
            (None, Some(revision)) => write!(f, "draft-{revision}"),
            (None, None) => f.write_str("given"),
        }
    }
}

/// The table that is wanted. A draft must be complete: what is missing has no price to compare.
pub(crate) async fn table(deps: &Deps, wanted: Wanted) -> Result<(TableName, RatioTable), Problem> {
    let version = match wanted {
        Wanted::Version(version) => version,
        Wanted::Current => {
            let newest = deps.publisher.current().await.map_err(refusal)?;
            newest.ok_or_else(unpublished)?.version
        }
        Wanted::Draft => {
            let (info, draft) = existing(deps).await?;
            let table = RatioTable::from_json(&draft).map_err(|error| faults(&error))?;
            return Ok((TableName { draft: Some(info.revision), version: None }, table));
        }
    };
    let table = deps.publisher.version(version).await.map_err(refusal)?;
    Ok((TableName { version: Some(version), draft: None }, table))
}

/// Which tables to compare.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DiffQuery {
    /// A version's number, `current` (where not given) or `draft`.
    #[param(value_type = Option<String>)]
    from: Option<Wanted>,
    /// A version's number, `current` or `draft` (where not given).
    #[param(value_type = Option<String>)]
    to: Option<Wanted>,
    /// How many models at most: 1 to 100, 20 where not given.
    #[serde(default)]
    #[param(value_type = Option<u8>, minimum = 1, maximum = 100, default = 20)]
    limit: Limit,
    /// Where to go on: the page before said it as `next_cursor`. It is of these two tables only:
    /// where the draft or the current version has changed meanwhile, begin again.
    cursor: Option<String>,
}

/// How many models changed.
#[derive(Debug, Serialize, ToSchema)]
pub struct DiffCounts {
    /// Only in the second table.
    added: usize,
    /// Only in the first table.
    removed: usize,
    /// In both, and different.
    changed: usize,
    /// In both, and the same.
    unchanged: usize,
}

impl From<Counts> for DiffCounts {
    fn from(counts: Counts) -> Self {
        let Counts { added, removed, changed, unchanged } = counts;
        Self { added, removed, changed, unchanged }
    }
}

/// A model that changed. Every change is `{"from", "to"}`; of what came or went one of them is
/// absent.
#[derive(ToSchema)]
#[schema(as = RatioModelDiff)]
#[expect(dead_code, reason = "describes the domain's type in the OpenAPI document")]
struct ModelDiffSchema {
    /// Its id.
    model: String,
    /// `added`, `removed` or `changed`.
    change: String,
    /// Of a removed model: all of it.
    from: Option<BTreeMap<String, Value>>,
    /// Of an added model: all of it.
    to: Option<BTreeMap<String, Value>>,
    /// The feature.
    feature: Option<BTreeMap<String, String>>,
    /// The name for people.
    name: Option<BTreeMap<String, String>>,
    /// Whether it may be used.
    enabled: Option<BTreeMap<String, bool>>,
    /// Other names: `added`, `removed`.
    aliases: Option<BTreeMap<String, Vec<String>>>,
    /// Prefixes of match rules: `added`, `removed`.
    r#match: Option<BTreeMap<String, Vec<String>>>,
    /// The least that one request costs.
    minimum: Option<BTreeMap<String, String>>,
    /// The rows that changed: `dimension`, `when`, and `from` and `to` with `credits`, `per` and
    /// `cost`.
    ratios: Option<Vec<BTreeMap<String, Value>>>,
}

/// What changed: counts, what is not of one model, and a page of the models that changed.
#[derive(Serialize, ToSchema)]
#[schema(as = RatioDiff)]
pub struct DiffView {
    /// The first table.
    from: TableName,
    /// The second table.
    to: TableName,
    /// How many models changed.
    counts: DiffCounts,
    /// Changes of `credit`, `groups`, `features` and `dimensions`, by name.
    #[schema(value_type = BTreeMap<String, Value>)]
    head: Value,
    #[serde(flatten)]
    #[schema(value_type = Page<ModelDiffSchema>)]
    page: Page<Value>,
}

problems!(DiffProblems = NotFound, RatiosIncomplete, RatiosInvalid);

/// What changed from one table to another, model by model. A draft that is not complete is
/// answered with what it lacks.
#[utoipa::path(
    get,
    path = "/v1/ratios/diff",
    operation_id = "diff_ratios",
    tag = "ratios",
    params(DiffQuery),
    security(("bearer" = ["ratios:admin"])),
    responses((status = 200, description = "What changed", body = DiffView), DiffProblems)
)]
async fn diff_ratios(
    _: Access<RatiosAdmin>,
    State(deps): State<Deps>,
    StrictQuery(query): StrictQuery<DiffQuery>,
) -> Result<Json<DiffView>, Problem> {
    let (from_name, from) = table(&deps, query.from.unwrap_or(Wanted::Current)).await?;
    let (to_name, to) = table(&deps, query.to.unwrap_or(Wanted::Draft)).await?;
    let list = format!("ratio-diff/{from_name}/{to_name}");
    let diff = TableDiff::between(&from, &to);
    let page =
        page(&list, diff.models.iter(), query.limit, query.cursor.as_deref(), |model| model.model)?;
    Ok(Json(DiffView {
        from: from_name,
        to: to_name,
        counts: diff.counts.into(),
        head: serde_json::to_value(&diff.head).map_err(|error| Problem::internal(&error))?,
        page,
    }))
}

/// A page of models in the order of their ids, as JSON.
pub(crate) fn page<T: Serialize>(
    list: &str,
    models: impl Iterator<Item = T>,
    limit: Limit,
    cursor: Option<&str>,
    id: impl Fn(&T) -> &str,
) -> Result<Page<Value>, Problem> {
    let after = cursor.map(|cursor| decode_cursor(list, cursor)).transpose()?;
    let mut rest = models
        .filter(|model| after.as_deref().is_none_or(|after| id(model).as_bytes() > after))
        .peekable();
    let shown: Vec<T> = rest.by_ref().take(limit.get()).collect();
    let next_cursor = shown
        .last()
        .filter(|_| rest.peek().is_some())
        .map(|last| encode_cursor(list, id(last).as_bytes()));
    let items = shown.iter().map(serde_json::to_value).collect::<Result<_, _>>();
    Ok(Page { items: items.map_err(|error| Problem::internal(&error))?, next_cursor })
}

uc_http::operations!(Deps; diff_ratios);

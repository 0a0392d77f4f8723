//! What changed between two tables: versions, or a version and the draft.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use axum::Json;
use axum::extract::State;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};
use uc_domain::ratios::{Counts, Fault, RatioTable, TableDiff};
use uc_http::items::UsageOf;
use uc_http::scope::RatiosAdmin;
use uc_http::{
    Access, Code, FieldError, Limit, Page, Problem, StrictQuery, decode_cursor, encode_cursor,
    problems,
};
use utoipa::{IntoParams, ToSchema};

use crate::drafts::existing;
use crate::{Deps, faults, field_errors, refusal, unpublished};

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

/// How often a draft is read again without the models that had faults: each time those of the
/// 1,000 faults are gone that are told at once.
const MAX_ROUNDS: usize = 16;
/// Most faults of models that are left out.
const MAX_FAULTS: usize = 1_000;

/// The models of a draft that are left out of what it is asked about.
#[derive(Default)]
pub(crate) struct LeftOut {
    models: BTreeSet<String>,
    /// What is missing or wrong in them.
    pub(crate) faults: Vec<FieldError>,
    /// The draft with these models, though not with their prices: what is called by their names is
    /// theirs, whatever shorter prefix another one has.
    names: Option<RatioTable>,
}

impl LeftOut {
    /// The other table without these models: they neither came nor went.
    pub(crate) fn without<'a>(
        &self,
        table: &'a RatioTable,
    ) -> Result<Cow<'a, RatioTable>, Problem> {
        if !self.models.iter().any(|id| table.model(id).is_some()) {
            return Ok(Cow::Borrowed(table));
        }
        let mut json = table.to_json();
        if let Some(models) = json["models"].as_object_mut() {
            models.retain(|id, _| !self.models.contains(id));
        }
        RatioTable::from_json(&json).map(Cow::Owned).map_err(|error| Problem::internal(&error))
    }

    /// The one of these models that usage is of, if it is.
    pub(crate) fn model_of<'a>(&'a self, usage: &'a UsageOf) -> Option<&'a str> {
        usage.models(self.names.as_ref()?).find(|id| self.models.contains(*id))
    }
}

/// The table that is wanted, of a draft those models that are complete. What is not of one model
/// must be: without it there is nothing to compare.
pub(crate) async fn table(
    deps: &Deps,
    wanted: Wanted,
) -> Result<(TableName, RatioTable, LeftOut), Problem> {
    let version = match wanted {
        Wanted::Version(version) => version,
        Wanted::Current => {
            let newest = deps.publisher.current().await.map_err(refusal)?;
            newest.ok_or_else(unpublished)?.version
        }
        Wanted::Draft => {
            let (info, draft) = existing(deps).await?;
            let (table, left_out) = complete_models(draft)?;
            return Ok((TableName { draft: Some(info.revision), version: None }, table, left_out));
        }
    };
    let table = deps.publisher.version(version).await.map_err(refusal)?;
    Ok((TableName { version: Some(version), draft: None }, table, LeftOut::default()))
}

/// The table that is wanted, all of it.
pub(crate) async fn complete(
    deps: &Deps,
    wanted: Wanted,
) -> Result<(TableName, RatioTable), Problem> {
    let (name, table, left_out) = table(deps, wanted).await?;
    if left_out.faults.is_empty() {
        return Ok((name, table));
    }
    let detail = "Fill in and mend every field of the draft that is listed.";
    Err(Problem::new(Code::RatiosIncomplete, detail).with_errors(left_out.faults))
}

/// A draft without the models that have faults.
fn complete_models(mut draft: Value) -> Result<(RatioTable, LeftOut), Problem> {
    let mut left_out = LeftOut::default();
    let mut incomplete = Map::new();
    for round in 0..=MAX_ROUNDS {
        let findings = match RatioTable::examine(&draft) {
            Ok(table) => {
                left_out.names = with_names(&table, incomplete);
                return Ok((table, left_out));
            }
            Err(findings) => findings,
        };
        let found: Vec<_> = findings.missing.iter().chain(&findings.invalid).cloned().collect();
        let ids: Option<BTreeSet<String>> = found.iter().map(model_of).collect();
        let (Some(ids), Some(models), true) =
            (ids, draft["models"].as_object_mut(), round < MAX_ROUNDS)
        else {
            return Err(faults(&findings.into()));
        };
        for id in &ids {
            incomplete.extend(models.remove_entry(id));
        }
        left_out.models.extend(ids);
        left_out.faults.extend(field_errors(&found));
        left_out.faults.truncate(MAX_FAULTS);
    }
    unreachable!("the last round returns")
}

/// The table with the names of further models, as far as they have sound ones: what else is in their
/// bodies does not count.
fn with_names(table: &RatioTable, incomplete: Map<String, Value>) -> Option<RatioTable> {
    const NAMES: [&str; 2] = ["aliases", "match"];
    if incomplete.is_empty() {
        return None;
    }
    let mut json = table.to_json();
    let (feature, dimensions) = table.features().find(|(_, required)| !required.is_empty())?;
    let row = |dimension: &String| json!({"dimension": dimension, "credits": "0", "per": 1});
    let rows: Vec<Value> = dimensions.iter().map(row).collect();
    for (id, mut body) in incomplete {
        let mut named = json!({"feature": feature, "ratios": rows});
        for names in NAMES {
            if let Some(value) = body.get_mut(names).map(Value::take) {
                named[names] = value;
            }
        }
        json["models"][id] = named;
    }
    // The names that are at fault themselves go first, then the models whose ids are.
    for whole in [false, true] {
        let findings = match RatioTable::examine(&json) {
            Ok(table) => return Some(table),
            Err(findings) => findings,
        };
        let faults = findings.missing.iter().chain(&findings.invalid);
        let mut places: Vec<(String, &str)> = faults
            .filter_map(|fault| {
                Some((model_of(fault)?, fault.pointer.splitn(4, '/').nth(3).unwrap_or_default()))
            })
            .collect();
        // Of a list the last first, so that the others stay where they are.
        places.sort_by(|(a, at), (b, of)| a.cmp(b).then_with(|| place_in(of).cmp(&place_in(at))));
        places.dedup();
        let models = json["models"].as_object_mut()?;
        for (id, at) in places {
            let (field, index) = place_in(at);
            match models.get_mut(&id).and_then(|body| body.get_mut(field)) {
                Some(Value::Array(names)) if !whole && index.is_some_and(|n| n < names.len()) => {
                    names.remove(index.expect("it is one"));
                }
                Some(names) if !whole => *names = json!([]),
                _ => drop(models.remove(&id)),
            }
        }
    }
    RatioTable::from_json(&json).ok()
}

/// The field of a model that a pointer is into, and the place in its list.
fn place_in(at: &str) -> (&str, Option<usize>) {
    let mut parts = at.split('/');
    (parts.next().unwrap_or_default(), parts.next().and_then(|index| index.parse().ok()))
}

/// The model that a fault is about, if it is about one.
fn model_of(fault: &Fault) -> Option<String> {
    let id = fault.pointer.strip_prefix("/models/")?.split('/').next()?;
    Some(id.replace("~1", "/").replace("~0", "~"))
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
    /// What is missing or wrong in models of a draft: they are left out of all of this. At most
    /// 1,000.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    incomplete: Vec<FieldError>,
    /// Changes of `credit`, `groups`, `features` and `dimensions`, by name.
    #[schema(value_type = BTreeMap<String, Value>)]
    head: Value,
    #[serde(flatten)]
    #[schema(value_type = Page<ModelDiffSchema>)]
    page: Page<Value>,
}

problems!(DiffProblems = NotFound, RatiosIncomplete, RatiosInvalid);

/// What changed from one table to another, model by model; of a draft, those that are complete,
/// with what the others lack.
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
    let (from_name, from, not_from) = table(&deps, query.from.unwrap_or(Wanted::Current)).await?;
    let (to_name, to, not_to) = table(&deps, query.to.unwrap_or(Wanted::Draft)).await?;
    let (from, to) = (not_to.without(&from)?, not_from.without(&to)?);
    let list = format!("ratio-diff/{from_name}/{to_name}");
    let diff = TableDiff::between(&from, &to);
    let page =
        page(&list, diff.models.iter(), query.limit, query.cursor.as_deref(), |model| model.model)?;
    Ok(Json(DiffView {
        from: from_name,
        to: to_name,
        counts: diff.counts.into(),
        incomplete: [not_from.faults, not_to.faults].concat(),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The models that are complete, and where the others have faults; or the refusal's code.
    #[test]
    fn complete_models_of_drafts() {
        let check = |change: (&str, Value), expected: Result<(&[&str], &[&str]), &str>| {
            let row = json!({"dimension": "d", "credits": "1", "per": 1});
            let model = json!({"feature": "f", "ratios": [row], "aliases": []});
            let mut draft = json!({
                "credit": {"scale": 0, "rounding": "up"}, "groups": {"default": "1"},
                "features": {"f": {"dimensions": ["d"]}},
                "models": {"a": model, "b/c": model},
            });
            *draft.pointer_mut(change.0).unwrap() = change.1;
            let found = complete_models(draft);
            let found = found.as_ref().map_err(|problem| problem.code().as_str());
            let ids = found.map(|(table, left_out)| {
                let ids: Vec<&str> = table.models().map(uc_domain::ratios::Model::id).collect();
                let faults = left_out.faults.iter().map(|fault| fault.pointer.as_str());
                (ids, faults.collect::<Vec<_>>())
            });
            let expected = expected.map(|(ids, faults)| (ids.to_vec(), faults.to_vec()));
            assert_eq!(ids, expected, "{}", change.0);
        };
        check(("/groups/default", json!("2")), Ok((&["a", "b/c"], &[])));
        let price = "/models/b~1c/ratios/0/credits";
        check((price, Value::Null), Ok((&["a"], &[price])));
        check((price, json!("x")), Ok((&["a"], &[price])));
        check(("/models/a", json!({})), Ok((&["b/c"], &["/models/a/feature", "/models/a/ratios"])));
        check(("/models", Value::Null), Err("ratios_incomplete"));
        check(("/groups/default", Value::Null), Err("ratios_incomplete"));
        check(("/groups/default", json!("x")), Err("ratios_invalid"));
    }
}

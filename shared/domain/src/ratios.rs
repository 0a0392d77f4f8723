//! Ratio tables: what a unit of a dimension of a model costs, and under which conditions.
//!
//! A [`RatioTable`] that exists is complete and unambiguous: [`RatioTable::from_json`] refuses
//! every other, with all its faults. So rating a request either finds exactly one row for each
//! dimension or fails; nothing is free because a price is missing.

mod amounts;
mod choice;
mod conditions;
mod diff;
mod dimensions;
mod document;
mod line;
mod model;
mod names;
mod preview;
mod rate_card;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use self::conditions::Facts;
use self::dimensions::Dimensions;
use self::document::{Faults, Path, echo};
use self::names::{Index, Names};
use crate::{Credits, Quantity, Timestamp};

pub use amounts::{Cost, CreditRule, Exact, Multiplier, Per, Ratio, Rounding, round};
pub(crate) use conditions::is_prompt_tokens;
pub use conditions::{Conditions, ConditionsError, PROMPT_TOKENS};
pub use diff::{
    Change, Changes, Counts, HeadDiff, ListChange, ModelChange, ModelDiff, Price, RowDiff,
    TableDiff,
};
pub use document::{Fault, Findings, TableError};
pub use line::{Line, Rate};
pub use model::{MatchRule, Model, ModelParts, Row};
pub use preview::{
    Comparison, CreditPrice, ExactMoney, Margin, ModelPreview, OverLimit, PricedRow, RowPreview,
    Side, Totals, UsageTotals,
};
pub use rate_card::{RateCardModel, RateCardRatio};

/// How much of each dimension was used; disjoint: no unit counts in two dimensions.
pub type Usage = BTreeMap<String, Quantity>;

/// Parameters of the request that prices may depend on: `service_class`, `size`, `quality` ...
pub type Parameters = BTreeMap<String, String>;

/// Most lines of a rated request: dimensions with a quantity.
pub const MAX_LINES: usize = 32;

/// Most parameters of a request: what the caller says, and what a provider's response adds.
pub const MAX_PARAMETERS: usize = 64;

/// The price group of accounts that have no other; every table has it.
pub const DEFAULT_GROUP: &str = "default";

const MAX_MODELS: usize = 10_000;
const MAX_GROUPS: usize = 64;
const MAX_FEATURES: usize = 64;
const MAX_FEATURE_DIMENSIONS: usize = 64;

/// Whether `text` is a name of a dimension or parameter: 1 to 64 characters of `a-z 0-9 _`, a
/// letter first.
pub fn is_name(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// Whether `text` can be a parameter's value: 1 to 64 characters, none of them a control character.
pub fn is_parameter_value(text: &str) -> bool {
    text.len() <= 4 * 64
        && (1..=64).contains(&text.chars().count())
        && !text.chars().any(char::is_control)
}

/// Whether `text` can be a model's id, alias or prefix: 1 to 128 characters of
/// `A-Z a-z 0-9 _ . : / @ + -`.
pub fn is_model_name(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.:/@+-".contains(&b))
}

/// Whether `text` can be the name of a price group or feature: 1 to 64 characters of
/// `A-Z a-z 0-9 _ . -`.
pub fn is_label(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

const LABEL: &str = "a name has 1 to 64 characters of A-Z a-z 0-9 _ . -";

/// A complete, unambiguous ratio table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RatioTable {
    credit: CreditRule,
    groups: BTreeMap<String, Multiplier>,
    features: BTreeMap<String, Feature>,
    #[serde(skip_serializing_if = "Dimensions::is_empty")]
    dimensions: Dimensions,
    models: BTreeMap<String, Model>,
    /// Follows from the models.
    #[serde(skip)]
    index: Index,
}

/// What every model of a feature must price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Feature {
    dimensions: Vec<String>,
}

/// The features of a table while it is read.
struct Features {
    /// `None` where the section could not be read: then every name may be right.
    known: Option<BTreeMap<String, Option<Feature>>>,
}

impl Features {
    fn is_known(&self, name: &str) -> bool {
        self.known.as_ref().is_none_or(|known| known.contains_key(name))
    }

    /// The dimensions that a feature requires, where they could be read.
    fn required(&self, name: &str) -> Option<&[String]> {
        Some(&self.known.as_ref()?.get(name)?.as_ref()?.dimensions)
    }
}

/// What of a table is not of one model, while it is read.
struct Head {
    credit: Option<CreditRule>,
    groups: Option<BTreeMap<String, Multiplier>>,
    features: Features,
    dimensions: Option<Dimensions>,
}

impl Head {
    fn read(object: &Map<String, Value>, at: &Path<'_>, faults: &mut Faults) -> Self {
        Self {
            credit: faults
                .required(object, at, "credit")
                .and_then(|credit| read_credit(credit, &at.key("credit"), faults)),
            groups: faults
                .required(object, at, "groups")
                .and_then(|groups| read_groups(groups, &at.key("groups"), faults)),
            features: Features {
                known: faults
                    .required(object, at, "features")
                    .and_then(|features| read_features(features, &at.key("features"), faults)),
            },
            dimensions: match object.get("dimensions") {
                Some(dimensions) => Dimensions::read(dimensions, &at.key("dimensions"), faults),
                None => Some(Dimensions::default()),
            },
        }
    }

    /// The table, where everything could be read.
    fn into_table(self, models: Vec<Model>, index: Index) -> Option<RatioTable> {
        let mut table = RatioTable {
            credit: self.credit?,
            groups: self.groups?,
            features: BTreeMap::new(),
            dimensions: self.dimensions?,
            models: BTreeMap::new(),
            index,
        };
        for (name, feature) in self.features.known? {
            table.features.insert(name, feature?);
        }
        for model in models {
            table.models.insert(model.id().to_owned(), model);
        }
        Some(table)
    }
}

/// By what a name led to a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchedBy<'a> {
    /// Its id.
    Id,
    /// One of its aliases.
    Alias,
    /// The longest `match` rule, which is `starts_with` this.
    Prefix(&'a str),
}

/// By what a name that is not the model's id led to it: so that everybody can see which rule of
/// the table chose a price. In JSON the rule is `alias` or `starts_with`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matched {
    /// The name, as the request or the provider's response gave it.
    pub name: String,
    /// The prefix of the `match` rule that it begins with; an alias where there is none.
    pub starts_with: Option<String>,
}

impl Matched {
    /// `None` where the name is the model's id.
    pub fn new(name: &str, by: MatchedBy<'_>) -> Option<Self> {
        let starts_with = match by {
            MatchedBy::Id => return None,
            MatchedBy::Alias => None,
            MatchedBy::Prefix(prefix) => Some(prefix.to_owned()),
        };
        Some(Self { name: name.to_owned(), starts_with })
    }
}

impl Serialize for Matched {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;

        let mut matched = serializer.serialize_struct("Matched", 2)?;
        matched.serialize_field("name", &self.name)?;
        match &self.starts_with {
            Some(prefix) => matched.serialize_field("starts_with", prefix)?,
            None => matched.serialize_field("alias", &self.name)?,
        }
        matched.end()
    }
}

/// The model that a name means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Resolved<'a> {
    /// The model; enabled.
    pub model: &'a Model,
    /// By what it was found.
    pub by: MatchedBy<'a>,
}

/// What is to be rated.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Id, alias or a name that a `match` rule knows.
    pub model: &'a str,
    /// How much of each dimension; what is zero needs no price.
    pub usage: &'a Usage,
    /// What equality conditions compare with. Others are of no consequence.
    pub parameters: &'a Parameters,
    /// What dates and times of day compare with.
    pub at: Timestamp,
    /// Of the account's price group.
    pub multiplier: Multiplier,
}

/// What a request costs, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Rated {
    /// The model's id in the table.
    pub model: String,
    /// By what the request's name led to it, where that is not the id.
    pub matched: Option<Matched>,
    /// One a dimension that something is counted as, in the order of their names; at most 32. Of
    /// several requests together one a row, by model and dimension.
    pub lines: Vec<Line>,
    /// The exact sum of the lines.
    pub subtotal: Exact,
    /// What is charged: the sum, rounded once, but at least the model's minimum in the price group
    /// where anything was used; zero where nothing was. Of several models the largest minimum.
    pub credits: Credits,
    /// Whether `credits` is the minimum because the sum is less.
    pub minimum_applied: bool,
}

/// Which of two tables has the prices of what was rated by both ([`RatioTable::rate_filled`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PricedBy {
    /// The one that comes first, alone; or nothing was used.
    This,
    /// Both.
    Both,
    /// The newer one alone.
    Newer,
}

/// Why a request can't be rated. It is never rated as free instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RatingError {
    /// No enabled model has this id, alias or prefix.
    #[error("unknown model {name:?}")]
    UnknownModel {
        /// As the request named it, shortened.
        name: String,
    },
    /// There is a quantity of a dimension, but no row whose conditions hold, neither its own nor one
    /// of a dimension that the table says it is part of.
    #[error("no ratio of model {model:?} prices {dimension:?} in this request")]
    UnpricedDimension {
        /// The model's id in the table.
        model: String,
        /// The dimension, shortened.
        dimension: String,
    },
    /// [`PROMPT_TOKENS`] is a sum of dimensions and can't be given as one.
    #[error("{PROMPT_TOKENS} is the sum of the input and cache tokens: give those instead")]
    ReservedDimension,
    /// Too many lines, or a line over 10^9 credits.
    #[error("over the limit: {limit}")]
    OverLimit {
        /// The dimension whose line is over, where it is one line.
        dimension: Option<String>,
        /// The limit that was passed.
        limit: &'static str,
    },
}

impl RatioTable {
    /// Reads a table. Repeated fields can't be seen in a [`Value`]: refuse them before.
    ///
    /// # Errors
    /// [`TableError::Incomplete`] with every missing field, or [`TableError::Invalid`] with
    /// everything that is wrong.
    pub fn from_json(table: &Value) -> Result<Self, TableError> {
        Ok(Self::examine(table)?)
    }

    /// Reads a table as [`from_json`](Self::from_json) does, but tells of a draft both what is
    /// missing and what is wrong.
    ///
    /// # Errors
    /// See [`Findings`].
    pub fn examine(table: &Value) -> Result<Self, Findings> {
        let mut faults = Faults::default();
        let root = Path::ROOT;
        faults.nulls(table, &root);
        let read = Self::read(table, &root, &mut faults);
        faults.into_findings()?;
        Ok(read.expect("what could not be read was reported"))
    }

    fn read(table: &Value, at: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        let object =
            faults.object(table, at, &["credit", "groups", "features", "dimensions", "models"])?;
        let head = Head::read(object, at, faults);
        let at = at.key("models");
        let bodies = faults
            .required(object, &Path::ROOT, "models")
            .and_then(|models| faults.any_object(models, &at))?;
        if bodies.len() > MAX_MODELS {
            faults.invalid(&at, format_args!("at most {MAX_MODELS} models"));
            return None;
        }
        let is_id = |name: &str| bodies.contains_key(name);
        let mut names = Names { is_id: &is_id, index: Index::default() };
        let mut models = Some(Vec::with_capacity(bodies.len()));
        for (id, body) in bodies {
            let model = Model::read(id, body, &at.key(id), &head.features, &mut names, faults);
            model::push(&mut models, model);
        }
        head.into_table(models?, names.index)
    }

    /// Puts a table together that [`from_json`](Self::from_json) accepted when it was published,
    /// and that was kept since in a form of the caller's own. Whether the models are complete and
    /// unambiguous is not asked again: what was published stays readable when the rules for new
    /// tables become stricter. `head` is the table's JSON without `models`.
    ///
    /// # Errors
    /// As [`from_json`](Self::from_json), for what is not of one model.
    pub fn from_published(
        head: &Value,
        models: impl IntoIterator<Item = Model>,
    ) -> Result<Self, TableError> {
        let mut faults = Faults::default();
        let root = Path::ROOT;
        faults.nulls(head, &root);
        let head = faults
            .object(head, &root, &["credit", "groups", "features", "dimensions"])
            .map(|object| Head::read(object, &root, &mut faults));
        let models: Vec<Model> = models.into_iter().collect();
        let mut index = Index::default();
        for model in &models {
            index.add(model);
        }
        faults.into_result()?;
        let table = head.and_then(|head| head.into_table(models, index));
        Ok(table.expect("what could not be read was reported"))
    }

    /// The table in canonical form: without superfluous zeros and without optional fields that say
    /// nothing. [`from_json`](Self::from_json) gives an equal table.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).expect("keys are texts, and nothing else can fail")
    }

    /// One model's body in canonical form, by its id alone.
    pub fn model_json(&self, id: &str) -> Option<Value> {
        let model = self.models.get(id)?;
        Some(serde_json::to_value(model).expect("keys are texts, and nothing else can fail"))
    }

    /// All models, disabled ones too, in the order of their ids.
    pub fn models(&self) -> impl ExactSizeIterator<Item = &Model> {
        self.models.values()
    }

    /// A model by its id alone, be it enabled or not.
    pub fn model(&self, id: &str) -> Option<&Model> {
        self.models.get(id)
    }

    /// This table with one model added or replaced.
    ///
    /// # Errors
    /// As [`from_json`](Self::from_json), with pointers into the model's body.
    pub fn with_model(&self, id: &str, body: &Value) -> Result<Self, TableError> {
        let mut faults = Faults::default();
        let root = Path::ROOT;
        faults.nulls(body, &root);

        let mut table = self.clone();
        if let Some(replaced) = table.models.remove(id) {
            table.index.remove(&replaced);
        } else if table.models.len() >= MAX_MODELS {
            faults.invalid(&root, format_args!("at most {MAX_MODELS} models"));
        }
        if let Some(owner) = table.index.by_alias(id) {
            faults.invalid(&root, format_args!("{:?} is an alias of {owner:?}", echo(id)));
        }
        let features = Features {
            known: Some(self.features.iter().map(|(k, v)| (k.clone(), Some(v.clone()))).collect()),
        };
        let is_id = |name: &str| name == id || table.models.contains_key(name);
        let mut names = Names { is_id: &is_id, index: std::mem::take(&mut table.index) };
        let read = Model::read(id, body, &root, &features, &mut names, &mut faults);
        table.index = names.index;
        faults.into_result()?;
        table.models.insert(id.to_owned(), read.expect("what could not be read was reported"));
        Ok(table)
    }

    /// This table without one model, by its id alone; `None` where it has none.
    pub fn without_model(&self, id: &str) -> Option<Self> {
        let mut table = self.clone();
        let removed = table.models.remove(id)?;
        table.index.remove(&removed);
        Some(table)
    }

    /// The model that a name means: the one with this id, else alias, else with the longest
    /// `match` rule. A disabled model is unknown, and so are its names: they must not fall through
    /// to the prices of another.
    pub fn resolve(&self, name: &str) -> Option<Resolved<'_>> {
        self.find(name).filter(|found| found.model.enabled())
    }

    /// Whether a name means a model here, be it disabled.
    pub fn knows(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    fn find(&self, name: &str) -> Option<Resolved<'_>> {
        if !is_model_name(name) {
            return None;
        }
        if let Some(model) = self.models.get(name) {
            return Some(Resolved { model, by: MatchedBy::Id });
        }
        let (id, by) = if let Some(id) = self.index.by_alias(name) {
            (id, MatchedBy::Alias)
        } else {
            let (prefix, id) = self.index.by_prefix(name)?;
            (id, MatchedBy::Prefix(prefix))
        };
        Some(Resolved { model: self.models.get(id)?, by })
    }

    /// A price group's multiplier.
    pub fn group(&self, name: &str) -> Option<Multiplier> {
        self.groups.get(name).copied()
    }

    /// All price groups, in the order of their names.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = (&str, Multiplier)> {
        self.groups.iter().map(|(name, multiplier)| (name.as_str(), *multiplier))
    }

    /// All features and the dimensions that each requires, in the order of their names.
    pub fn features(&self) -> impl ExactSizeIterator<Item = (&str, &[String])> {
        self.features.iter().map(|(name, feature)| (name.as_str(), feature.dimensions.as_slice()))
    }

    /// All dimensions that the table says are parts of others, and of which, in the order of their
    /// names.
    pub fn parts(&self) -> impl ExactSizeIterator<Item = (&str, &[String])> {
        self.dimensions.iter()
    }

    /// How sums are rounded.
    pub const fn credit_rule(&self) -> CreditRule {
        self.credit
    }

    /// What a request costs.
    ///
    /// # Errors
    /// See [`RatingError`]; a request is rated wholly or not at all.
    pub fn rate(&self, request: &Request<'_>) -> Result<Rated, RatingError> {
        self.rate_as(request, request.usage)
    }

    /// What several requests of one item cost together: each by its own rows, as thresholds are on
    /// the prompt of one. Lines of one row are one line, the sum of all is rounded once, and it is at
    /// least the largest of the models' minimums. The first that used anything names the model and how
    /// it was found; its multiplier is that of all.
    ///
    /// # Errors
    /// See [`RatingError`]; all are rated, or none is.
    ///
    /// # Panics
    /// Where there are no requests.
    pub fn rate_together(&self, requests: &[Request<'_>]) -> Result<Rated, RatingError> {
        let requests: Vec<_> = requests.iter().map(|request| [Some(*request)]).collect();
        Ok(Self::together([self], &requests)?.0)
    }

    /// As [`rate_together`](Self::rate_together), where each dimension of a request has the price of a
    /// newer table if this one has none for it. A request is given as each of the two tables knows
    /// it, or only one: the usage is that of the first. All else is of this table, as far as it
    /// prices any of it.
    ///
    /// # Errors
    /// See [`RatingError`]; all are rated, or none is.
    ///
    /// # Panics
    /// Where there are no requests, or one is given as neither knows it.
    pub fn rate_filled(
        &self,
        newer: &Self,
        requests: &[[Option<Request<'_>>; 2]],
    ) -> Result<(Rated, PricedBy), RatingError> {
        let (rated, used) = Self::together([self, newer], requests)?;
        let by = match used {
            [_, false] => PricedBy::This,
            [true, true] => PricedBy::Both,
            [false, true] => PricedBy::Newer,
        };
        Ok((rated, by))
    }

    /// What several requests cost together, each dimension by the first of some tables that has a
    /// price for it; and which of the tables priced any.
    fn together<const TABLES: usize>(
        tables: [&Self; TABLES],
        requests: &[[Option<Request<'_>>; TABLES]],
    ) -> Result<(Rated, [bool; TABLES]), RatingError> {
        let mut lines = Vec::new();
        let mut models: Vec<(usize, &Model)> = Vec::new();
        let mut used = [false; TABLES];
        // The first request that used anything names the model, or else the first.
        let mut told: Option<(Request<'_>, Resolved<'_>)> = None;
        for request in requests {
            let mut sources = Vec::new();
            let mut known = None;
            for (index, (table, request)) in tables.into_iter().zip(request).enumerate() {
                let Some(request) = request else { continue };
                let Some(found) = table.resolve(request.model) else { continue };
                known.get_or_insert((*request, found));
                sources.push((index, table, found.model));
            }
            let Some((request, found)) = known else {
                let name = request.iter().flatten().last().expect("it is known by a name").model;
                return Err(RatingError::UnknownModel { name: echo(name) });
            };
            models.extend(sources.iter().map(|(index, _, model)| (*index, *model)));
            let own = lines_of(&sources, &request, request.usage)?;
            if told.is_none() || (lines.is_empty() && !own.is_empty()) {
                told = Some((request, found));
            }
            for (index, line) in own {
                used[index] = true;
                add_line(&mut lines, line)?;
            }
        }
        let (request, found) = told.expect("an item has a request");
        // A table that priced nothing has no minimum either, and of two of one id the first's counts.
        models.retain(|(index, _)| used[*index]);
        models.sort_by_key(|(index, _)| *index);
        let mut counted: Vec<&Model> = Vec::new();
        for (_, model) in models {
            if counted.iter().all(|known| known.id() != model.id()) {
                counted.push(model);
            }
        }
        let rank = |line: &Line| counted.iter().position(|model| model.id() == line.model());
        lines.sort_by(|a, b| (rank(a), a.dimension()).cmp(&(rank(b), b.dimension())));
        Ok((tables[0].total(&request, found, &counted, lines), used))
    }

    /// As [`rate`](Self::rate), by the rows that hold where `tier` is used instead: a bound of
    /// what all usages cost that fulfil the same thresholds.
    pub(crate) fn rate_as(
        &self,
        request: &Request<'_>,
        tier: &Usage,
    ) -> Result<Rated, RatingError> {
        let (found, lines) = self.lines(request, tier)?;
        Ok(self.total(request, found, &[found.model], lines))
    }

    /// The rows that may price a dimension of a model: its own, and those of what it is part of.
    pub(crate) fn rows_of<'a>(&'a self, model: &'a Model, dimension: &str) -> Vec<&'a Row> {
        let mut wholes = Vec::new();
        let all = |whole| -> Option<()> {
            wholes.push(whole);
            None
        };
        self.dimensions.find(dimension, all);
        let prices = |row: &&Row| row.dimension() == dimension || wholes.contains(&row.dimension());
        model.ratios().iter().filter(prices).collect()
    }

    /// The lines of one request, in the order of their dimensions, and its model.
    fn lines<'a>(
        &'a self,
        request: &Request<'_>,
        tier: &Usage,
    ) -> Result<(Resolved<'a>, Vec<Line>), RatingError> {
        let found = self
            .resolve(request.model)
            .ok_or_else(|| RatingError::UnknownModel { name: echo(request.model) })?;
        let lines = lines_of(&[(0, self, found.model)], request, tier)?;
        Ok((found, lines.into_iter().map(|(_, line)| line).collect()))
    }

    /// What the lines of `request`, and of those that go with it, come to.
    fn total(
        &self,
        request: &Request<'_>,
        found: Resolved<'_>,
        models: &[&Model],
        lines: Vec<Line>,
    ) -> Rated {
        let subtotal =
            lines.iter().try_fold(Exact::ZERO, |sum, line| sum.checked_add(line.credits()));
        let subtotal = subtotal.expect("32 lines of 10^9 are in range");
        let sum = round(subtotal, self.credit).expect("32 lines of 10^9 are in range");
        let used = models.iter().filter(|model| lines.iter().any(|l| l.model() == model.id()));
        let minimums = used.map(|model| self.minimum_of(model, request.multiplier));
        let minimum = minimums.max().unwrap_or(Credits::ZERO);
        Rated {
            model: found.model.id().to_owned(),
            matched: Matched::new(request.model, found.by),
            lines,
            subtotal,
            credits: sum.max(minimum),
            minimum_applied: sum < minimum,
        }
    }

    /// A model's minimum in a price group, at the scale of sums: up, as a minimum that is rounded
    /// away is none.
    ///
    /// # Panics
    /// Where the minimum is above 10^9 or the multiplier no less than 10: no table has such.
    pub fn minimum_of(&self, model: &Model, multiplier: Multiplier) -> Credits {
        let up = CreditRule::new(self.credit.scale(), Rounding::Up).expect("it is one's scale");
        Exact::of_credits(model.minimum(), multiplier)
            .and_then(|exact| round(exact, up))
            .expect("a minimum is at most 10^9 and a multiplier below 10")
    }
}

/// The lines of one request in the order of their dimensions: each dimension by the first of some
/// tables' models that has a price for it, after that table's index. At least one table.
fn lines_of<'a>(
    sources: &[(usize, &'a RatioTable, &'a Model)],
    request: &Request<'_>,
    tier: &Usage,
) -> Result<Vec<(usize, Line)>, RatingError> {
    if request.usage.contains_key(PROMPT_TOKENS) {
        return Err(RatingError::ReservedDimension);
    }
    let used = || request.usage.iter().filter(|(_, quantity)| !quantity.is_zero());
    if used().count() > MAX_LINES {
        return Err(RatingError::OverLimit { dimension: None, limit: "at most 32 dimensions" });
    }

    let facts = Facts { usage: tier, parameters: request.parameters, at: request.at };
    let mut counted: BTreeMap<(&str, usize), Counted<'_>> = BTreeMap::new();
    for (dimension, quantity) in used() {
        let row_of = |(index, table, model): &(usize, &'a RatioTable, &'a Model)| {
            let row_of = |dimension| model.row(dimension, &facts);
            let row = row_of(dimension).or_else(|| table.dimensions.find(dimension, row_of));
            Some((*index, *model, row?))
        };
        let found = sources.iter().find_map(row_of);
        let (index, model, row) = found.ok_or_else(|| RatingError::UnpricedDimension {
            model: sources.last().expect("there is a table").2.id().to_owned(),
            dimension: echo(dimension),
        })?;
        let counted = counted.entry((row.dimension(), index)).or_insert_with(|| Counted {
            model,
            row,
            quantity: Quantity::ZERO,
            parts: Vec::new(),
        });
        let sum = counted.quantity.checked_add(*quantity);
        counted.quantity = sum.ok_or_else(|| RatingError::OverLimit {
            dimension: Some(row.dimension().to_owned()),
            limit: "at most 12 digits a quantity",
        })?;
        if row.dimension() != dimension {
            counted.parts.push((dimension.clone(), *quantity));
        }
    }

    let mut lines = Vec::with_capacity(counted.len());
    for ((dimension, index), Counted { model, row, quantity, parts }) in counted {
        let line = Line::new(
            model.id().to_owned(),
            dimension.to_owned(),
            quantity,
            row.rate().clone(),
            request.multiplier,
        )
        .ok_or_else(|| RatingError::OverLimit {
            dimension: Some(dimension.to_owned()),
            limit: "at most 10^9 credits a line",
        })?
        .with_parts(parts)
        .expect("the quantity is the sum of its parts and of what is its own");
        lines.push((index, line));
    }
    Ok(lines)
}

/// Adds a line, to the one of the same row where there is one.
fn add_line(lines: &mut Vec<Line>, line: Line) -> Result<(), RatingError> {
    let is_full = lines.len() == MAX_LINES;
    match lines.iter_mut().find(|other| other.is_of_row(&line)) {
        Some(other) => {
            *other = other.plus(&line).ok_or_else(|| RatingError::OverLimit {
                dimension: Some(line.dimension().to_owned()),
                limit: "at most 12 digits a quantity and 10^9 credits a line",
            })?;
        }
        None if is_full => {
            return Err(RatingError::OverLimit { dimension: None, limit: "at most 32 lines" });
        }
        None => lines.push(line),
    }
    Ok(())
}

/// What is counted as one dimension.
struct Counted<'a> {
    model: &'a Model,
    row: &'a Row,
    quantity: Quantity,
    parts: Vec<(String, Quantity)>,
}

fn read_credit(value: &Value, at: &Path<'_>, faults: &mut Faults) -> Option<CreditRule> {
    let object = faults.object(value, at, &["scale", "rounding"])?;
    let scale = faults.required(object, at, "scale").and_then(|value| {
        let at = at.key("scale");
        if !value.is_u64() && !value.is_i64() {
            faults.wrong_type(&at, value, "an integer from 0 to 6");
            return None;
        }
        let scale = value.as_u64().and_then(|scale| u8::try_from(scale).ok());
        let scale = scale.filter(|scale| CreditRule::new(*scale, Rounding::Up).is_some());
        if scale.is_none() {
            faults.invalid(&at, "an integer from 0 to 6");
        }
        scale
    });
    let rounding = faults.required(object, at, "rounding").and_then(|value| {
        let at = at.key("rounding");
        let rounding = Rounding::from_name(faults.text(value, &at)?);
        if rounding.is_none() {
            faults.invalid(&at, "one of \"up\", \"down\", \"half_up\", \"half_even\"");
        }
        rounding
    });
    CreditRule::new(scale?, rounding?)
}

fn read_groups(
    value: &Value,
    at: &Path<'_>,
    faults: &mut Faults,
) -> Option<BTreeMap<String, Multiplier>> {
    let object = faults.any_object(value, at)?;
    faults.required(object, at, DEFAULT_GROUP);
    if object.len() > MAX_GROUPS {
        faults.invalid(at, format_args!("at most {MAX_GROUPS} price groups"));
        return None;
    }
    let mut groups = Some(BTreeMap::new());
    for (name, multiplier) in object {
        let at = at.key(name);
        if !is_label(name) {
            faults.invalid(&at, LABEL);
        }
        let multiplier = faults.parse(multiplier, &at);
        model::push(&mut groups, multiplier.map(|multiplier| (name.clone(), multiplier)));
    }
    groups
}

/// Inside `Some`: the features, those that could not be read as `None`.
fn read_features(
    value: &Value,
    at: &Path<'_>,
    faults: &mut Faults,
) -> Option<BTreeMap<String, Option<Feature>>> {
    let object = faults.any_object(value, at)?;
    if object.len() > MAX_FEATURES {
        faults.invalid(at, format_args!("at most {MAX_FEATURES} features"));
        return None;
    }
    let mut features = BTreeMap::new();
    for (name, feature) in object {
        let at = at.key(name);
        if !is_label(name) {
            faults.invalid(&at, LABEL);
        }
        features.insert(name.clone(), read_feature(feature, &at, faults));
    }
    Some(features)
}

fn read_feature(value: &Value, at: &Path<'_>, faults: &mut Faults) -> Option<Feature> {
    let object = faults.object(value, at, &["dimensions"])?;
    let value = faults.required(object, at, "dimensions")?;
    let at = at.key("dimensions");
    let items = faults.array(value, &at, MAX_FEATURE_DIMENSIONS)?;
    let mut dimensions: Option<Vec<String>> = Some(Vec::with_capacity(items.len()));
    for (index, item) in items.iter().enumerate() {
        let at = at.index(index);
        let mut dimension = model::read_dimension(item, &at, faults);
        if dimension.as_ref().is_some_and(|name| dimensions.iter().flatten().any(|d| d == name)) {
            faults.invalid(&at, "this dimension is listed twice");
            dimension = None;
        }
        model::push(&mut dimensions, dimension);
    }
    dimensions.map(|dimensions| Feature { dimensions })
}

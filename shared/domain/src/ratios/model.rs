//! A model of a table: what it is called and what it costs.

use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::conditions::{Conditions, Facts, PROMPT_TOKENS};
use super::document::{Faults, Path, echo};
use super::names::Names;
use super::{Cost, Exact, Features, Multiplier, Per, Rate, Ratio, choice, is_model_name, is_name};
use crate::Credits;

const MAX_ROWS: usize = 256;
const MAX_ALIASES: usize = 64;
const MAX_MATCH_RULES: usize = 64;
const MAX_NAME_LEN: usize = 128;

/// A priced thing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Model {
    #[serde(skip)]
    id: String,
    feature: String,
    name: String,
    enabled: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    aliases: Vec<String>,
    #[serde(rename = "match", skip_serializing_if = "Vec::is_empty")]
    match_rules: Vec<MatchRule>,
    #[serde(skip_serializing_if = "is_zero")]
    minimum: Credits,
    ratios: Vec<Row>,
}

fn is_zero(credits: &Credits) -> bool {
    credits.is_zero()
}

/// A rule by which a name that is no id or alias leads to a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MatchRule {
    /// All names that begin with this; of several rules the longest counts.
    StartsWith(String),
}

/// One price of a model: a ratio for a dimension, under conditions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Shared with other rows: a table has many rows and few dimensions.
    #[serde(serialize_with = "serialize_text")]
    dimension: Arc<str>,
    #[serde(flatten)]
    rate: Rate,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<Cost>,
}

fn serialize_text<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

impl Row {
    /// A row of a table that was published, from its parts.
    pub const fn from_published(dimension: Arc<str>, rate: Rate, cost: Option<Cost>) -> Self {
        Self { dimension, rate, cost }
    }

    /// What is counted.
    pub fn dimension(&self) -> &str {
        &self.dimension
    }

    /// What it costs, and when.
    pub const fn rate(&self) -> &Rate {
        &self.rate
    }

    /// What the operator pays for the same number of units.
    pub const fn cost(&self) -> Option<&Cost> {
        self.cost.as_ref()
    }

    fn conditions(&self) -> &Conditions {
        self.rate.when().unwrap_or(Conditions::ALWAYS)
    }
}

/// The parts of a model of a table that was published.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelParts {
    /// The id in the table.
    pub id: String,
    /// The name for people; `None` where it is the id.
    pub name: Option<String>,
    /// The feature it belongs to.
    pub feature: String,
    /// Whether it may be used.
    pub enabled: bool,
    /// Other names of the model.
    pub aliases: Vec<String>,
    /// By which other names it is found.
    pub match_rules: Vec<MatchRule>,
    /// The least that a request costs.
    pub minimum: Credits,
    /// The prices, in the table's order.
    pub ratios: Vec<Row>,
}

impl Model {
    /// A model of a table that was published, from its parts.
    pub fn from_published(parts: ModelParts) -> Self {
        Self {
            name: parts.name.unwrap_or_else(|| parts.id.clone()),
            id: parts.id,
            feature: parts.feature,
            enabled: parts.enabled,
            aliases: parts.aliases,
            match_rules: parts.match_rules,
            minimum: parts.minimum,
            ratios: parts.ratios,
        }
    }

    /// The id in the table.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The name for people; the id where the table gives none.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The feature it belongs to.
    pub fn feature(&self) -> &str {
        &self.feature
    }

    /// Whether it may be used. A disabled model keeps its names: they lead nowhere else.
    pub const fn enabled(&self) -> bool {
        self.enabled
    }

    /// Other names of the model, which lead to no other.
    pub fn aliases(&self) -> &[String] {
        &self.aliases
    }

    /// By which other names it is found.
    pub fn match_rules(&self) -> &[MatchRule] {
        &self.match_rules
    }

    /// The least that a request with any quantity costs, before the price group; zero is none.
    pub const fn minimum(&self) -> Credits {
        self.minimum
    }

    /// The prices, in the table's order.
    pub fn ratios(&self) -> &[Row] {
        &self.ratios
    }

    /// Whether a row prices a dimension, under whatever conditions.
    pub fn prices(&self, dimension: &str) -> bool {
        self.ratios.iter().any(|row| &*row.dimension == dimension)
    }

    /// The row that prices a dimension: of those whose conditions hold, the one whose conditions
    /// imply all the others' ([`choice`] made sure that there is one).
    pub(super) fn row(&self, dimension: &str, facts: &Facts<'_>) -> Option<&Row> {
        self.ratios
            .iter()
            .filter(|row| &*row.dimension == dimension && row.conditions().hold(facts))
            .reduce(|best, row| if row.conditions().imply(best.conditions()) { row } else { best })
    }

    /// Reads a model's body. Everything wrong is reported; `None` where something is.
    pub(super) fn read(
        id: &str,
        value: &Value,
        at: &Path<'_>,
        features: &Features,
        names: &mut Names<'_>,
        faults: &mut Faults,
    ) -> Option<Self> {
        if !is_model_name(id) {
            faults.invalid(at, MODEL_NAME);
        }
        let object = faults.object(
            value,
            at,
            &["feature", "name", "enabled", "aliases", "match", "minimum", "ratios"],
        )?;
        let optional = |name: &str| object.get(name);

        let feature = faults
            .required(object, at, "feature")
            .and_then(|value| read_feature(value, &at.key("feature"), features, faults));
        let name = match optional("name") {
            Some(value) => read_display_name(value, &at.key("name"), faults),
            None => Some(id.to_owned()),
        };
        let enabled = match optional("enabled") {
            Some(value) => {
                let flag = value.as_bool();
                if flag.is_none() {
                    faults.wrong_type(&at.key("enabled"), value, "true or false");
                }
                flag
            }
            None => Some(true),
        };
        let aliases = match optional("aliases") {
            Some(value) => read_aliases(id, value, &at.key("aliases"), names, faults),
            None => Some(Vec::new()),
        };
        let match_rules = match optional("match") {
            Some(value) => read_match_rules(id, value, &at.key("match"), names, faults),
            None => Some(Vec::new()),
        };
        let minimum = match optional("minimum") {
            Some(value) => read_minimum(value, &at.key("minimum"), faults),
            None => Some(Credits::ZERO),
        };
        let ratios = faults.required(object, at, "ratios").and_then(|value| {
            let required = feature.and_then(|feature| Some((feature, features.required(feature)?)));
            read_rows(value, &at.key("ratios"), required, faults)
        });
        Some(Self {
            id: id.to_owned(),
            feature: feature?.to_owned(),
            name: name?,
            enabled: enabled?,
            aliases: aliases?,
            match_rules: match_rules?,
            minimum: minimum?,
            ratios: ratios?,
        })
    }
}

/// What [`is_model_name`] asks for.
const MODEL_NAME: &str =
    "a model's id, alias or prefix has 1 to 128 characters of A-Z a-z 0-9 _ . : / @ + -";

fn read_feature<'v>(
    value: &'v Value,
    at: &Path<'_>,
    features: &Features,
    faults: &mut Faults,
) -> Option<&'v str> {
    let feature = faults.text(value, at)?;
    if !features.is_known(feature) {
        faults.invalid(at, format_args!("the table has no feature {:?}", echo(feature)));
        return None;
    }
    Some(feature)
}

fn read_display_name(value: &Value, at: &Path<'_>, faults: &mut Faults) -> Option<String> {
    let name = faults.text(value, at)?;
    if !(1..=MAX_NAME_LEN).contains(&name.chars().count()) || name.chars().any(char::is_control) {
        faults.invalid(at, "a name has 1 to 128 printable characters");
        return None;
    }
    Some(name.to_owned())
}

fn read_aliases(
    id: &str,
    value: &Value,
    at: &Path<'_>,
    names: &mut Names<'_>,
    faults: &mut Faults,
) -> Option<Vec<String>> {
    let items = faults.array(value, at, MAX_ALIASES)?;
    let mut aliases = Some(Vec::with_capacity(items.len()));
    for (index, item) in items.iter().enumerate() {
        let at = at.index(index);
        let alias = read_model_name(item, &at, faults).filter(|alias| {
            let claimed = names.claim_alias(alias, id);
            if let Err(owner) = &claimed {
                faults.invalid(&at, format_args!("{alias:?} already leads to {:?}", echo(owner)));
            }
            claimed.is_ok()
        });
        push(&mut aliases, alias.map(ToOwned::to_owned));
    }
    aliases
}

fn read_match_rules(
    id: &str,
    value: &Value,
    at: &Path<'_>,
    names: &mut Names<'_>,
    faults: &mut Faults,
) -> Option<Vec<MatchRule>> {
    let items = faults.array(value, at, MAX_MATCH_RULES)?;
    let mut rules = Some(Vec::with_capacity(items.len()));
    for (index, item) in items.iter().enumerate() {
        let at = at.index(index);
        let rule = faults
            .object(item, &at, &["starts_with"])
            .and_then(|object| faults.required(object, &at, "starts_with"))
            .and_then(|prefix| {
                let at = at.key("starts_with");
                let prefix = read_model_name(prefix, &at, faults)?;
                let claimed = names.claim_prefix(prefix, id);
                if let Err(owner) = &claimed {
                    faults.invalid(
                        &at,
                        format_args!("{prefix:?} already leads to {:?}", echo(owner)),
                    );
                }
                claimed.is_ok().then(|| MatchRule::StartsWith(prefix.to_owned()))
            });
        push(&mut rules, rule);
    }
    rules
}

fn read_model_name<'v>(value: &'v Value, at: &Path<'_>, faults: &mut Faults) -> Option<&'v str> {
    let name = faults.text(value, at)?;
    if !is_model_name(name) {
        faults.invalid(at, MODEL_NAME);
        return None;
    }
    Some(name)
}

fn read_minimum(value: &Value, at: &Path<'_>, faults: &mut Faults) -> Option<Credits> {
    let minimum: Credits = faults.parse(value, at)?;
    let in_range = !minimum.is_negative()
        && Exact::of_credits(minimum, Multiplier::ONE).is_some_and(|m| m <= Exact::MAX_LINE);
    if !in_range {
        faults.invalid(at, "a minimum is not negative and at most 10^9 credits");
        return None;
    }
    Some(minimum)
}

/// `required` is the feature and the dimensions that it needs, where those are known.
fn read_rows(
    value: &Value,
    at: &Path<'_>,
    required: Option<(&str, &[String])>,
    faults: &mut Faults,
) -> Option<Vec<Row>> {
    let items = faults.array(value, at, MAX_ROWS)?;
    let rows: Vec<_> = items
        .iter()
        .enumerate()
        .map(|(n, row)| RowDraft::read(row, &at.index(n), faults))
        .collect();

    let (feature, dimensions) = required.unwrap_or_default();
    for dimension in dimensions {
        let priced = |row: &RowDraft| {
            row.dimension.as_ref() == Some(dimension) && matches!(row.when, Ok(None))
        };
        if !rows.iter().any(priced) {
            faults.missing(
                at,
                format_args!(
                    "feature {feature:?} requires an unconditional ratio for {dimension:?}"
                ),
            );
        }
    }

    // A row that can't be read may be just the one that makes the others unambiguous.
    let keys: Option<Vec<choice::Key<'_>>> = rows
        .iter()
        .enumerate()
        .map(|(n, row)| Some((n, row.dimension.as_deref()?, row.key()?)))
        .collect();
    if let Some(keys) = keys {
        choice::check(&keys, at, faults);
    }
    rows.into_iter().map(RowDraft::finish).collect()
}

/// A row of which some fields may have been unreadable.
struct RowDraft {
    dimension: Option<String>,
    credits: Option<Ratio>,
    per: Option<Per>,
    when: Result<Option<Conditions>, Unreadable>,
    cost: Result<Option<Cost>, Unreadable>,
}

/// An optional field is there, but something is wrong with it.
struct Unreadable;

impl RowDraft {
    fn read(value: &Value, at: &Path<'_>, faults: &mut Faults) -> Self {
        let known = &["dimension", "credits", "per", "when", "cost"];
        let Some(object) = faults.object(value, at, known) else {
            let (when, cost) = (Err(Unreadable), Err(Unreadable));
            return Self { dimension: None, credits: None, per: None, when, cost };
        };
        let field = |name, faults: &mut Faults| {
            faults.required(object, at, name).map(|value| (value, at.key(name)))
        };
        let dimension =
            field("dimension", faults).and_then(|(value, at)| read_dimension(value, &at, faults));
        let mut credits =
            field("credits", faults).and_then(|(value, at)| faults.parse::<Ratio>(value, &at));
        let per = field("per", faults).and_then(|(value, at)| read_per(value, &at, faults));
        if let (Some(ratio), Some(per)) = (credits, per)
            && Rate::new(ratio, per, None).is_none()
        {
            faults.invalid(
                &at.key("credits"),
                "the decimal places and the zeros of `per` are together at most 18",
            );
            credits = None;
        }
        let when = match object.get("when") {
            Some(when) => {
                Conditions::read(when, &at.key("when"), faults).map(Some).ok_or(Unreadable)
            }
            None => Ok(None),
        };
        let cost = match object.get("cost") {
            Some(cost) => read_cost(cost, &at.key("cost"), faults).map(Some).ok_or(Unreadable),
            None => Ok(None),
        };
        Self { dimension, credits, per, when, cost }
    }

    /// The row's conditions, where they could be read.
    fn key(&self) -> Option<&Conditions> {
        self.when.as_ref().ok().map(|when| when.as_ref().unwrap_or(Conditions::ALWAYS))
    }

    fn finish(self) -> Option<Row> {
        Some(Row {
            dimension: self.dimension?.into(),
            rate: Rate::new(self.credits?, self.per?, self.when.ok()?)?,
            cost: self.cost.ok()?,
        })
    }
}

/// What is counted: a name, but not that of the sum.
pub(super) fn read_dimension(value: &Value, at: &Path<'_>, faults: &mut Faults) -> Option<String> {
    let dimension = faults.text(value, at)?;
    if dimension == PROMPT_TOKENS {
        faults.invalid(at, "this is the sum of the input and cache tokens: price those instead");
    } else if is_name(dimension) {
        return Some(dimension.to_owned());
    } else {
        faults.invalid(at, "a dimension has 1 to 64 characters of a-z 0-9 _, a letter first");
    }
    None
}

fn read_per(value: &Value, at: &Path<'_>, faults: &mut Faults) -> Option<Per> {
    if !value.is_u64() && !value.is_i64() {
        faults.wrong_type(at, value, "a power of ten as an integer");
        return None;
    }
    let per = value.as_u64().and_then(Per::from_units);
    if per.is_none() {
        faults.invalid(at, "a power of ten from 1 to 1000000000000");
    }
    per
}

fn read_cost(value: &Value, at: &Path<'_>, faults: &mut Faults) -> Option<Cost> {
    let object = faults.object(value, at, &["amount", "currency"])?;
    let amount = faults
        .required(object, at, "amount")
        .and_then(|amount| faults.text(amount, &at.key("amount")));
    let currency = faults
        .required(object, at, "currency")
        .and_then(|currency| faults.text(currency, &at.key("currency")));
    let sound_currency = currency.filter(|text| Cost::is_currency(text));
    if currency.is_some() && sound_currency.is_none() {
        faults.invalid(&at.key("currency"), "three capital letters such as \"USD\"");
    }
    let amount = match Cost::parse_amount(amount?) {
        Ok(amount) => amount,
        Err(error) => {
            faults.invalid(&at.key("amount"), error);
            return None;
        }
    };
    Cost::new(amount, sound_currency?)
}

/// Adds an item; one that could not be read spoils them all.
pub(super) fn push<T>(items: &mut Option<impl Extend<T>>, item: Option<T>) {
    match (items.as_mut(), item) {
        (Some(items), Some(item)) => items.extend([item]),
        _ => *items = None,
    }
}

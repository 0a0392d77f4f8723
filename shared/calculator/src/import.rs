//! What providers ask, out of what others collected: [`litellm`]'s table, [`genai`]-prices' data,
//! and [`csv`].
//!
//! What holds for all three:
//! - Nothing is dropped silently. Whatever of a source looks like a price and is no row afterwards
//!   is in [`ProviderCosts::omitted`] with the reason.
//! - Prices are read from their digits. Where a unit's price has more than 12 significant digits or
//!   more than 18 decimal places it is rounded *up* there, and [`ProviderCosts::omitted`] says so.
//! - What comes out can be published: each model's rows are complete for its feature and
//!   unambiguous, and no name leads to two models.
//! - Amounts are for 1,000,000 tokens, characters or pixels, and for one of everything else,
//!   whatever the source counts by: so the same price is the same row from every source.

pub mod csv;
pub mod genai;
mod grid;
mod json;
pub mod litellm;
mod price;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rust_decimal::Decimal;
use serde_json::{Map, Value, json};
use uc_domain::providers::canonical_name;
use uc_domain::ratios::{Conditions, Per, RatioTable, is_model_name};

use crate::costs::{CostRow, ModelCosts, Omitted, ProviderCosts};
use price::{Price, Read};

/// The largest source that is read, in bytes.
pub const MAX_BYTES: usize = 16 << 20;
/// Most models of a source, as of a ratio table.
pub const MAX_MODELS: usize = 10_000;
/// Most aliases and most prefixes of a model, as in a ratio table.
const MAX_NAMES: usize = 64;
/// Most characters of a name for people, as in a ratio table.
const MAX_DISPLAY_NAME: usize = 128;
/// Most characters of something from the source that is repeated in a message.
const MAX_ECHO: usize = 128;
/// Most places at which the prices of a dimension are compared, as rows of a model.
const MAX_PLACES: usize = 256;
/// Most characters of why a model can't be published, which names rows with their conditions.
const MAX_FAULT: usize = 1_024;

/// Why a source can't be read at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// More bytes than [`MAX_BYTES`].
    #[error("the source has more than {MAX_BYTES} bytes")]
    TooLarge,
    /// More models than [`MAX_MODELS`].
    #[error("the source has more than {MAX_MODELS} models")]
    TooManyModels,
    /// Not the format, with the place: no JSON (NaN and Infinity are none), a repeated field, no
    /// CSV, a column that is missing or unknown, two currencies.
    #[error("{place}: {detail}")]
    Syntax {
        /// Where: a line and column, or a model of the source.
        place: String,
        /// What is wrong there.
        detail: String,
    },
}

impl ImportError {
    fn syntax(place: impl Into<String>, detail: impl ToString) -> Self {
        Self::Syntax { place: place.into(), detail: detail.to_string() }
    }

    pub(crate) fn json(error: &serde_json::Error) -> Self {
        let place = format!("line {}, column {}", error.line(), error.column());
        Self::syntax(place, without_place(error))
    }
}

/// What is wrong with JSON, without the place, which is said beside it.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).map(ToOwned::to_owned).unwrap_or(text)
}

/// What a dimension counts as where a model has no price for it, as most sources and providers
/// have it: cached and multimodal tokens are input, thinking and citations are output.
///
/// Writing to a cache is not in it: with every provider that reports it, it costs more than input,
/// and an hour more than five minutes. So where a model's price of it is unknown, it is refused
/// rather than sold under its cost. (`LiteLLM` and genai-prices count it as input.)
pub fn standard_parts() -> BTreeMap<String, Vec<String>> {
    const PARTS: &[(&str, &[&str])] = &[
        ("annotated_pages", &["pages"]),
        ("cache_read_audio_tokens", &["cache_read_tokens", "input_audio_tokens"]),
        ("cache_read_image_tokens", &["cache_read_tokens", "input_image_tokens"]),
        ("cache_read_tokens", &["input_tokens"]),
        ("cache_read_video_tokens", &["cache_read_tokens", "input_video_tokens"]),
        ("cache_write_audio_tokens", &["cache_write_tokens"]),
        ("cache_write_image_tokens", &["cache_write_tokens"]),
        ("cache_write_video_tokens", &["cache_write_tokens"]),
        ("input_audio_seconds", &["audio_seconds"]),
        ("input_audio_tokens", &["input_tokens"]),
        ("input_image_tokens", &["input_tokens"]),
        ("input_tool_tokens", &["input_tokens"]),
        ("input_video_tokens", &["input_tokens"]),
        ("output_audio_seconds", &["audio_seconds"]),
        ("output_audio_tokens", &["output_tokens"]),
        ("output_citation_tokens", &["output_tokens"]),
        ("output_image_tokens", &["output_tokens"]),
        ("output_reasoning_tokens", &["output_tokens"]),
        ("output_video_tokens", &["output_tokens"]),
    ];
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    PARTS.iter().map(|(part, wholes)| ((*part).to_owned(), owned(wholes))).collect()
}

/// The note of a price that has more digits than a ratio.
const ROUNDED: &str = "rounded up to 12 significant digits and 18 decimal places of a unit";

/// What counts as what, for prices that are there under some conditions only.
struct Parents(BTreeMap<String, Vec<String>>);

impl Parents {
    fn standard() -> Self {
        Self(standard_parts())
    }

    /// A dimension, and all that it is part of.
    fn all<'a>(&'a self, name: &'a str) -> BTreeSet<&'a str> {
        let mut all = BTreeSet::new();
        let mut next = vec![name];
        while let Some(name) = next.pop() {
            if all.insert(name) {
                next.extend(self.0.get(name).into_iter().flatten().map(String::as_str));
            }
        }
        all
    }

    /// The price of a dimension, or of the nearest that it is part of.
    fn find<P>(&self, name: &str, price: impl Fn(&str) -> Option<P>) -> Option<P> {
        let mut level = vec![name];
        while !level.is_empty() {
            if let Some(found) = level.iter().find_map(|name| price(name)) {
                return Some(found);
            }
            let parents = level.iter().filter_map(|name| self.0.get(*name)).flatten();
            level = parents.map(String::as_str).collect();
        }
        None
    }
}

/// Providers that a source calls otherwise than responses are read under, the better price of a
/// name first.
const USUAL_NAMES: [(&str, &str); 7] = [
    ("gemini", "google"),
    ("vertex_ai", "google"),
    ("azure_ai", "azure"),
    ("together_ai", "together"),
    ("fireworks_ai", "fireworks"),
    ("x-ai", "xai"),
    ("aws", "bedrock"),
];

/// What comes of a model of which one price is missing.
const LEFT_OUT: &str = "left out as a whole, for without this another, cheaper price could apply";

/// A qualified name under the provider's usual name, where that is another.
fn usual_name(name: &str) -> Option<String> {
    let (provider, model) = name.split_once('/')?;
    let (_, usual) = USUAL_NAMES.iter().find(|(own, _)| *own == provider)?;
    Some(format!("{usual}/{model}"))
}

/// By how many units a dimension's price is written, the power of ten.
fn per(dimension: &str) -> Per {
    let by_million = ["_tokens", "_characters", "_pixels"];
    let exponent = if by_million.iter().any(|end| dimension.ends_with(end)) { 6 } else { 0 };
    Per::from_exponent(exponent).expect("6 is allowed")
}

fn row(dimension: &str, price: Price, when: Option<Conditions>) -> CostRow {
    let per = per(dimension);
    CostRow { dimension: dimension.to_owned(), amount: price.amount(per), per, when }
}

/// The beginning of a text of the source, without control characters.
fn echo(text: &str) -> String {
    shortened(text, MAX_ECHO)
}

fn shortened(text: &str, most: usize) -> String {
    let mut short: String = text.chars().take(most).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short.replace(char::is_control, "\u{fffd}")
}

/// A model of a source on its way into the table.
struct Draft {
    /// As the source names it.
    source: String,
    id: String,
    provider: String,
    name: Option<String>,
    /// What it is for; with the dimensions that it prices this makes its feature.
    kind: Kind,
    aliases: Vec<String>,
    starts_with: Vec<String>,
    costs: Vec<CostRow>,
}

/// What a model is for.
enum Kind {
    /// The beginning of the feature's name: the feature follows from it and from the prices.
    Base(&'static str),
    /// The feature itself.
    Feature(String),
}

/// Collects what an import finds.
struct Collector {
    currency: String,
    drafts: Vec<Draft>,
    ids: HashMap<String, usize>,
    /// Ids of models that are left out in the end.
    left_out: BTreeSet<String>,
    omitted: Vec<Omitted>,
    notes: Vec<Omitted>,
}

impl Collector {
    fn new(currency: &str) -> Self {
        Self {
            currency: currency.to_owned(),
            drafts: Vec::new(),
            ids: HashMap::new(),
            left_out: BTreeSet::new(),
            omitted: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// How much was said so far.
    fn mark(&self) -> (usize, usize) {
        (self.omitted.len(), self.notes.len())
    }

    /// Forgets what was said since.
    fn back_to(&mut self, (omitted, notes): (usize, usize)) {
        self.omitted.truncate(omitted);
        self.notes.truncate(notes);
    }

    /// Leaves a model out in the end, also where it was taken over.
    fn leave_out(&mut self, id: &str, reason: &str) {
        self.left_out.insert(id.to_owned());
        self.omit(id, None, reason);
    }

    fn omit(&mut self, model: &str, field: Option<&str>, reason: impl ToString) {
        self.omitted.push(said(model, field, reason));
    }

    fn note(&mut self, model: &str, field: Option<&str>, reason: impl ToString) {
        let reason = format!("{}{}", Omitted::TAKEN_OVER, reason.to_string());
        self.notes.push(said(model, field, reason));
    }

    /// The price, after noting that it was rounded.
    fn price(&mut self, model: &str, field: &str, read: Read) -> Price {
        if read.rounded {
            self.note(model, Some(field), ROUNDED);
        }
        read.price
    }

    /// Takes a model over, or says why not.
    fn push(&mut self, draft: Draft) -> Result<(), ImportError> {
        if !is_model_name(&draft.id) {
            let reason = "not a name of a model: 1 to 128 characters of A-Z a-z 0-9 _ . : / @ + -";
            self.omit(&draft.source, None, reason);
        } else if draft.costs.is_empty() {
            self.omit(&draft.source, None, "has no price");
        } else if let Some(first) = self.ids.get(&draft.id) {
            // It is the same model, whatever it is called: of each price the dearer holds.
            let first = &mut self.drafts[*first];
            let mut second = draft;
            let dearer = dearer_of_each(&first.costs, &second.costs);
            let first_is = asks_as_much(&first.costs, &dearer);
            let second_is = asks_as_much(&second.costs, &dearer);
            let is_named_so = second.source == second.id;
            let swap = if first_is == second_is { is_named_so } else { second_is };
            if swap {
                std::mem::swap(first, &mut second);
            }
            let which = match (first_is, second_is) {
                (true, true) => "has the same prices",
                (false, false) => {
                    "is dearer in some rows, cheaper in others: of each the dearer holds"
                }
                _ => "is dearer",
            };
            let is_one_of_them = first_is || second_is;
            if !is_one_of_them || fault(&first.id, &dearer, &self.currency).is_some() {
                first.costs = dearer;
            }
            let other = if first.source == second.source {
                "another entry of this name".to_owned()
            } else {
                format!("{:?}", echo(&first.source))
            };
            let is_named = other == format!("{:?}", echo(&first.id));
            let id = if is_named { String::new() } else { format!(" ({:?})", first.id) };
            let reason = format!("{other}, which is the same model{id}, {which}");
            first.aliases.append(&mut second.aliases);
            first.starts_with.append(&mut second.starts_with);
            self.omit(&second.source, None, reason);
        } else if self.drafts.len() == MAX_MODELS {
            return Err(ImportError::TooManyModels);
        } else {
            self.ids.insert(draft.id.clone(), self.drafts.len());
            self.drafts.push(draft);
        }
        Ok(())
    }

    /// What was found, with names that lead to one model each, and features that all their models
    /// fulfil.
    fn finish(mut self) -> ProviderCosts {
        let mut drafts = std::mem::take(&mut self.drafts);
        let parts = standard_parts();
        drafts.retain(|draft| !self.left_out.contains(&draft.id));
        let mut features = Features::of(&drafts);
        drafts.retain(|draft| match fault(&draft.id, &draft.costs, &self.currency) {
            None => true,
            Some(fault) => {
                self.omitted.push(said(&draft.source, None, fault));
                false
            }
        });
        let ids: BTreeSet<String> = drafts.iter().map(|draft| draft.id.clone()).collect();
        let mut aliases = HashMap::new();
        let mut prefixes = HashMap::new();
        let mut models = BTreeMap::new();
        for draft in drafts {
            let mut claim = |names: Vec<String>, owners: &mut HashMap<String, String>, alias| {
                let mut claimed = Vec::new();
                for name in names {
                    let what = if alias { "alias" } else { "prefix" };
                    let reason = if !is_model_name(&name) {
                        "is not a name of a model".to_owned()
                    } else if name == draft.id && alias || claimed.contains(&name) {
                        continue;
                    } else if alias && ids.contains(&name) {
                        "is a model's id".to_owned()
                    } else if let Some(owner) = owners.get(&name) {
                        format!("leads to {owner:?}")
                    } else if claimed.len() == MAX_NAMES {
                        format!("is more than {MAX_NAMES}")
                    } else {
                        owners.insert(name.clone(), draft.id.clone());
                        claimed.push(name);
                        continue;
                    };
                    let reason = format!("the {what} {:?} {reason}", echo(&name));
                    self.omitted.push(said(&draft.source, Some(what), reason));
                }
                claimed
            };
            let own = claim(draft.aliases, &mut aliases, true);
            let starts_with = claim(draft.starts_with, &mut prefixes, false);
            let feature = features.name(&draft.kind, &draft.costs);
            let name = draft.name.filter(|name| {
                (1..=MAX_DISPLAY_NAME).contains(&name.chars().count())
                    && !name.chars().any(char::is_control)
            });
            let costs = draft.costs;
            let provider = draft.provider;
            let model = ModelCosts { provider, name, feature, aliases: own, starts_with, costs };
            models.insert(draft.id, model);
        }
        // Last, so that no name is taken from a model that has it anyway.
        for (own, _) in USUAL_NAMES {
            let of_it = |id: &str| id.strip_prefix(own).is_some_and(|rest| rest.starts_with('/'));
            for (id, model) in models.iter_mut().filter(|(id, _)| of_it(id)) {
                let names = std::iter::once(id).chain(&model.aliases);
                let usual: Vec<String> = names.filter_map(|name| usual_name(name)).collect();
                for name in usual {
                    let is_free = !ids.contains(&name) && !aliases.contains_key(&name);
                    if is_free && is_model_name(&name) && model.aliases.len() < MAX_NAMES {
                        aliases.insert(name.clone(), id.clone());
                        model.aliases.push(name);
                    }
                }
            }
        }
        self.omitted.append(&mut self.notes);
        for (id, model) in &mut models {
            also_as_responses_name_it(id, model, &ids, &mut aliases, &mut prefixes);
        }
        ProviderCosts {
            currency: self.currency,
            features: features.into_required(),
            parts,
            models,
            omitted: self.omitted,
        }
    }
}

/// Adds the names that a model has where a provider's response is read, which may call the
/// provider otherwise than the source: `google/..` for `gemini/..`, `bedrock/..` for `aws/..`. A
/// name that is taken leads where it did.
fn also_as_responses_name_it(
    id: &str,
    model: &mut ModelCosts,
    ids: &BTreeSet<String>,
    aliases: &mut HashMap<String, String>,
    prefixes: &mut HashMap<String, String>,
) {
    let Some(canonical) = canonical_name(&model.provider).filter(|name| *name != model.provider)
    else {
        return;
    };
    let renamed = |name: &str| {
        let rest = name.strip_prefix(&model.provider)?.strip_prefix('/')?;
        Some(format!("{canonical}/{rest}")).filter(|name| is_model_name(name))
    };
    let own = std::iter::once(id).chain(model.aliases.iter().map(String::as_str));
    let mut new: Vec<String> = own.filter_map(renamed).filter(|name| !ids.contains(name)).collect();
    new.retain(|name| claim(aliases, name, id));
    let mut new_prefixes: Vec<String> =
        model.starts_with.iter().filter_map(|prefix| renamed(prefix)).collect();
    new_prefixes.retain(|prefix| claim(prefixes, prefix, id));
    model.aliases.extend(new);
    model.aliases.truncate(MAX_NAMES);
    model.starts_with.extend(new_prefixes);
    model.starts_with.truncate(MAX_NAMES);
}

/// Whether a name leads to nobody yet; then it leads to `id`.
fn claim(owners: &mut HashMap<String, String>, name: &str, id: &str) -> bool {
    let free = !owners.contains_key(name);
    if free {
        owners.insert(name.to_owned(), id.to_owned());
    }
    free
}

fn said(model: &str, field: Option<&str>, reason: impl ToString) -> Omitted {
    Omitted { model: echo(model), field: field.map(echo), reason: reason.to_string() }
}

/// The dimensions that a model always has a price for.
fn unconditional(costs: &[CostRow]) -> BTreeSet<&str> {
    costs.iter().filter(|row| row.when.is_none()).map(|row| row.dimension.as_str()).collect()
}

/// Features and what they require of their models.
struct Features {
    /// What the models of a feature that the source named have in common.
    named: BTreeMap<String, BTreeSet<String>>,
    required: BTreeMap<String, Vec<String>>,
}

impl Features {
    /// The usual shapes of prices, each a feature: kind, name, what it requires. The first that
    /// fits counts.
    const SHAPES: &[(&str, &str, &[&str])] = &[
        ("text", "text", &["input_tokens", "output_tokens"]),
        ("embedding", "embedding", &["input_tokens"]),
        ("image", "image", &["output_images"]),
        ("image", "image-tokens", &["input_tokens", "output_image_tokens"]),
        ("video", "video", &["video_seconds"]),
        ("speech", "speech", &["input_characters"]),
        ("speech", "speech-tokens", &["input_tokens", "output_tokens"]),
        ("transcription", "transcription", &["audio_seconds"]),
        ("transcription", "transcription-tokens", &["input_tokens", "output_tokens"]),
        ("audio", "audio", &["input_audio_tokens", "output_audio_tokens"]),
        ("document", "document", &["pages"]),
        ("rerank", "rerank", &["queries"]),
        ("rerank", "rerank-tokens", &["input_tokens"]),
        ("search", "search", &["queries"]),
        ("moderation", "moderation", &["input_tokens"]),
    ];
    /// What else a feature is named after, where no shape fits.
    const OTHERS: &[&str] = &[
        "output_images",
        "output_pixels",
        "video_seconds",
        "audio_seconds",
        "pages",
        "queries",
        "requests",
        "input_tokens",
        "output_tokens",
        "input_characters",
        "input_seconds",
    ];

    fn of(drafts: &[Draft]) -> Self {
        let mut named: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for draft in drafts {
            let Kind::Feature(feature) = &draft.kind else { continue };
            let priced = unconditional(&draft.costs);
            match named.get_mut(feature) {
                Some(common) => common.retain(|dimension| priced.contains(dimension.as_str())),
                None => {
                    named.insert(feature.clone(), priced.into_iter().map(Into::into).collect());
                }
            }
        }
        Self { named, required: BTreeMap::new() }
    }

    /// The feature of a model, which then is one of the table.
    fn name(&mut self, kind: &Kind, costs: &[CostRow]) -> String {
        let (name, required): (String, Vec<String>) = match kind {
            Kind::Feature(name) => {
                let common = self.named.get(name).into_iter().flatten();
                (name.clone(), common.cloned().collect())
            }
            Kind::Base(base) => {
                let priced = unconditional(costs);
                let has = |dimension: &&str| priced.contains(*dimension);
                let shape = Self::SHAPES
                    .iter()
                    .find(|(kind, _, required)| kind == base && required.iter().all(has));
                match (shape, Self::OTHERS.iter().find(|d| has(d))) {
                    (Some((_, name, required)), _) => {
                        ((*name).to_owned(), required.iter().map(|d| (*d).to_owned()).collect())
                    }
                    (None, Some(dimension)) => {
                        let name = format!("{base}-by-{}", dimension.replace('_', "-"));
                        (name, vec![(*dimension).to_owned()])
                    }
                    (None, None) => (format!("{base}-other"), Vec::new()),
                }
            }
        };
        self.required.insert(name.clone(), required);
        name
    }

    fn into_required(self) -> BTreeMap<String, Vec<String>> {
        self.required
    }
}

/// Whether rows ask as much as the dearer of them and others at every place that either depends on.
/// What they have no row for, which is refused, counts as less than nothing.
fn asks_as_much(rows: &[CostRow], dearer: &[CostRow]) -> bool {
    let at = |place: &CostRow| amount_at(rows, &place.dimension, place.when.as_ref());
    dearer.iter().all(|place| at(place) >= Some(place.amount))
}

/// What rows ask where conditions hold and no others; `None` where that is refused.
fn amount_at(rows: &[CostRow], dimension: &str, when: Option<&Conditions>) -> Option<Decimal> {
    let more_special =
        |best: &CostRow, row: &CostRow| implies(row.when.as_ref(), best.when.as_ref());
    Parents::standard().find(dimension, |name| {
        let there = rows.iter().filter(|row| row.dimension == name);
        let there = there.filter(|row| implies(when, row.when.as_ref()));
        let chosen = there.reduce(|best, row| if more_special(best, row) { row } else { best });
        chosen.map(|row| row.amount)
    })
}

/// What asks at every place what the dearer side asks there. Where rows hold together and none is
/// the more special, there is one for both. (Where conditions hold together and that can't be said,
/// or are too many, the rows are ambiguous: the model can't be published, see [`fault`].)
fn dearer_of_each(ours: &[CostRow], theirs: &[CostRow]) -> Vec<CostRow> {
    let rows = || ours.iter().chain(theirs);
    let parents = Parents::standard();
    let dimensions: BTreeSet<&str> = rows().map(|row| row.dimension.as_str()).collect();
    let mut dearer = Vec::new();
    for dimension in dimensions {
        let wholes = parents.all(dimension);
        let decide = rows().filter(|row| wholes.contains(row.dimension.as_str()));
        let mut places: Vec<Option<Conditions>> = Vec::new();
        for row in decide {
            add_place(&mut places, row.when.clone());
        }
        let mut next = 1;
        while next < places.len() && places.len() < MAX_PLACES {
            for before in 0..next {
                if let (Some(one), Some(other)) = (&places[before], &places[next])
                    && let Some(both) = both(one, other)
                {
                    add_place(&mut places, Some(both));
                }
            }
            next += 1;
        }
        for when in places {
            let at = |rows| amount_at(rows, dimension, when.as_ref());
            if let Some(amount) = at(ours).max(at(theirs)) {
                let dimension = dimension.to_owned();
                dearer.push(CostRow { per: per(&dimension), dimension, amount, when });
            }
        }
    }
    dearer
}

/// Adds a place that is none yet.
fn add_place(places: &mut Vec<Option<Conditions>>, place: Option<Conditions>) {
    let is_same = |known: &Option<Conditions>| {
        implies(known.as_ref(), place.as_ref()) && implies(place.as_ref(), known.as_ref())
    };
    if !places.iter().any(is_same) {
        places.push(place);
    }
}

/// Conditions that hold where both do; `None` where these never hold together, or where no
/// conditions say when they do.
fn both(one: &Conditions, other: &Conditions) -> Option<Conditions> {
    let fields = |when: &Conditions| serde_json::from_str::<Map<String, Value>>(&when.to_text());
    let alone = |name: &str, value: &Value| {
        let field = Map::from_iter([(name.to_owned(), value.clone())]);
        Conditions::from_text(&Value::Object(field).to_string()).ok()
    };
    let mut both = fields(one).ok()?;
    for (name, value) in fields(other).ok()? {
        let (ours, theirs) = match both.get(&name) {
            None => {
                both.insert(name, value);
                continue;
            }
            Some(ours) => (alone(&name, ours)?, alone(&name, &value)?),
        };
        if theirs.imply(&ours) {
            both.insert(name, value);
        } else if !ours.imply(&theirs) {
            return None;
        }
    }
    Conditions::from_text(&Value::Object(both).to_string()).ok()
}

/// Whether conditions hold only where others do.
fn implies(when: Option<&Conditions>, other: Option<&Conditions>) -> bool {
    match (when, other) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(when), Some(other)) => when.imply(other),
    }
}

/// Why a model's rows could not be published, if so.
fn fault(id: &str, costs: &[CostRow], currency: &str) -> Option<String> {
    let table = json!({
        "credit": {"scale": 6, "rounding": "up"},
        "groups": {"default": "1"},
        "features": {"any": {"dimensions": []}},
        "models": {id: {"feature": "any", "ratios": ratios(costs, currency)}},
    });
    let error = RatioTable::from_json(&table).err()?;
    let fault = error.faults().first()?;
    Some(format!("its prices can't be a ratio table's: {}", shortened(&fault.detail, MAX_FAULT)))
}

/// Rows with no margin: a credit is a unit of the currency.
fn ratios(costs: &[CostRow], currency: &str) -> Vec<Value> {
    let row = |row: &CostRow| {
        let amount = row.amount.to_string();
        let mut json = json!({
            "dimension": row.dimension,
            "credits": amount,
            "per": row.per,
            "cost": {"amount": amount, "currency": currency},
        });
        if let Some(when) = &row.when {
            json["when"] = json!(when);
        }
        json
    };
    costs.iter().map(row).collect()
}

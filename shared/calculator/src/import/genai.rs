//! The data of genai-prices: its published `data.json`, a list of providers with their models.
//!
//! What its calculation does, and how it is said here:
//! - *Units.* A unit that is a part of another (cached audio of cached and of audio, either of
//!   input) has the rest of the other's quantity left for the other's price. Quantities here are
//!   disjoint from the start, and [`standard_parts`](super::standard_parts) says what counts as
//!   what without a price of its own; but for writing to a cache, which is refused there and input
//!   with genai-prices.
//! - *Tiers* are cliffs on all input tokens, the border belonging to the lower tier: `gt`.
//! - *Conditional prices*: the last whose constraint holds, whole: what it doesn't price has no
//!   price of its own, whatever an earlier one says. Start dates become `from`, times of day
//!   `time_of_day`, both UTC; all combinations are looked at.
//! - *Variants*: `processing=batch` and `service_tier` are `service_class` here, everything else
//!   is a parameter of its own name. Of several that hold the first has a price's last word.
//! - *Hours* are seconds here: what doesn't end is rounded up at the limit of digits.
//!
//! A model's id is `<provider>/<id>`. What its match rule compares with (`equals`) is an alias of
//! the same form, and alone where the provider makes its models, no other provider claims it, and it
//! names no owner (`Qwen/..`); `starts_with` is a prefix of that form only. Of the providers behind
//! Hugging Face's router (`huggingface_..`) the only one that has a name has it as `huggingface/..`,
//! too. All also under the provider's usual name, where genai-prices has another (`x-ai`). There,
//! letters are compared without regard to case, here as they are written.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::iter;

use serde_json::json;
use serde_json::value::RawValue;

use uc_domain::providers::canonical_name;

use super::grid::{self, Axis};
use super::json::{self, Object};
use super::price::{Price, PriceError, Read};
use super::{Collector, Draft, ImportError, Kind, LEFT_OUT, MAX_BYTES, MAX_MODELS, Parents};
use crate::costs::{CostRow, ProviderCosts};

/// Most prices with constraints, variants or tiers of a model.
const MAX_PARTS: usize = 64;

/// By what a price counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// A power of ten of the dimension.
    Exponent(u8),
    /// An hour, where the dimension is seconds.
    Hour,
}

/// The keys of prices, with what they count.
const UNITS: &[(&str, &str, By)] = &[
    ("input_mtok", "input_tokens", By::Exponent(6)),
    ("output_mtok", "output_tokens", By::Exponent(6)),
    ("cache_read_mtok", "cache_read_tokens", By::Exponent(6)),
    ("cache_write_mtok", "cache_write_tokens", By::Exponent(6)),
    ("cache_write_1h_mtok", "cache_write_1h_tokens", By::Exponent(6)),
    ("input_audio_mtok", "input_audio_tokens", By::Exponent(6)),
    ("input_image_mtok", "input_image_tokens", By::Exponent(6)),
    ("input_video_mtok", "input_video_tokens", By::Exponent(6)),
    ("output_audio_mtok", "output_audio_tokens", By::Exponent(6)),
    ("output_image_mtok", "output_image_tokens", By::Exponent(6)),
    ("output_video_mtok", "output_video_tokens", By::Exponent(6)),
    ("cache_audio_read_mtok", "cache_read_audio_tokens", By::Exponent(6)),
    ("cache_image_read_mtok", "cache_read_image_tokens", By::Exponent(6)),
    ("cache_video_read_mtok", "cache_read_video_tokens", By::Exponent(6)),
    ("cache_audio_write_mtok", "cache_write_audio_tokens", By::Exponent(6)),
    ("cache_image_write_mtok", "cache_write_image_tokens", By::Exponent(6)),
    ("cache_video_write_mtok", "cache_write_video_tokens", By::Exponent(6)),
    ("input_tool_mtok", "input_tool_tokens", By::Exponent(6)),
    ("output_reasoning_mtok", "output_reasoning_tokens", By::Exponent(6)),
    ("output_citation_mtok", "output_citation_tokens", By::Exponent(6)),
    ("input_mchars", "input_characters", By::Exponent(6)),
    ("input_gpixels", "input_pixels", By::Exponent(9)),
    ("input_text_messages_kcount", "text_messages", By::Exponent(3)),
    ("audio_hours", "audio_seconds", By::Hour),
    ("input_audio_hours", "input_audio_seconds", By::Hour),
    ("output_audio_hours", "output_audio_seconds", By::Hour),
    ("input_document_kpages", "pages", By::Exponent(3)),
    ("input_annotated_document_kpages", "annotated_pages", By::Exponent(3)),
    ("rerank_searches_kcount", "queries", By::Exponent(3)),
    ("web_searches_kcount", "web_searches", By::Exponent(3)),
    ("social_searches_kcount", "social_searches", By::Exponent(3)),
    ("storage_searches_kcount", "file_searches", By::Exponent(3)),
    ("code_executions_kcount", "code_executions", By::Exponent(3)),
    ("requests_kcount", "requests", By::Exponent(3)),
];

/// Reads costs from genai-prices' data, in US dollars.
///
/// # Errors
/// [`ImportError`] where it is not that format at all.
pub fn import(source: &[u8]) -> Result<ProviderCosts, ImportError> {
    if source.len() > MAX_BYTES {
        return Err(ImportError::TooLarge);
    }
    let providers: Vec<Object<'_>> =
        serde_json::from_slice(source).map_err(|error| ImportError::json(&error))?;
    let mut collector = Collector::new("USD");
    let mut models = Vec::new();
    for (n, provider) in providers.iter().enumerate() {
        let shape = |what| ImportError::syntax(format!("provider {n}"), what);
        let id = provider.text("id").ok_or_else(|| shape("has no id"))?;
        if provider.get("fallback_model_providers").is_some() {
            let reason = "whose models are not in its own list has no price from here";
            collector.omit(&id, Some("fallback_model_providers"), reason);
        }
        let list = provider.get("models").and_then(json::array);
        for raw in list.ok_or_else(|| shape("has no list of models"))? {
            let Some((body, model)) =
                Object::from_raw(raw).and_then(|body| body.text("id").map(|model| (body, model)))
            else {
                return Err(shape("has a model that is no object, repeats a field or has no id"));
            };
            if models.len() == MAX_MODELS {
                return Err(ImportError::TooManyModels);
            }
            models.push(Source::read(&id, &model, body, &mut collector));
        }
    }

    let claims = Claims::of(&models);
    for model in models {
        let prices = Prices::read(&model.body, &model.id, &mut collector);
        let Some(prices) = prices else { continue };
        let Some(costs) = prices.rows(&model.id, &mut collector) else { continue };
        let dimensions: BTreeSet<&str> = costs.iter().map(|row| row.dimension.as_str()).collect();
        let kind = Kind::Base(purpose(&dimensions));
        collector.push(Draft {
            aliases: claims.aliases(&model),
            source: model.id.clone(),
            id: model.id,
            name: model.body.text("name"),
            kind,
            starts_with: model.starts_with,
            provider: model.provider,
            costs,
        })?;
    }
    Ok(collector.finish())
}

/// What a model is for, by what it prices.
fn purpose(dimensions: &BTreeSet<&str>) -> &'static str {
    const TELLING: &[(&str, &str)] = &[
        ("pages", "document"),
        ("queries", "rerank"),
        ("output_image_tokens", "image"),
        ("output_video_tokens", "video"),
        ("output_tokens", "text"),
        ("audio_seconds", "transcription"),
        ("input_characters", "speech"),
        ("input_tokens", "embedding"),
    ];
    TELLING.iter().find(|(name, _)| dimensions.contains(name)).map_or("tool", |(_, kind)| kind)
}

/// A model as the source has it.
struct Source<'a> {
    provider: String,
    /// `<provider>/<id>`.
    id: String,
    /// Names without the provider.
    names: Vec<String>,
    /// With the provider.
    starts_with: Vec<String>,
    body: Object<'a>,
}

impl<'a> Source<'a> {
    fn read(provider: &str, model: &str, body: Object<'a>, collector: &mut Collector) -> Self {
        let id = format!("{provider}/{model}");
        let mut names = vec![model.to_owned()];
        let mut starts_with = Vec::new();
        let mut clauses: Vec<&RawValue> = body.get("match").into_iter().collect();
        if let Some(any) = body.get("match").and_then(Object::from_raw).and_then(|m| m.get("or")) {
            clauses = json::array(any).unwrap_or_else(|| vec![any]);
        }
        for clause in clauses {
            let clause = Object::from_raw(clause).unwrap_or(Object(Vec::new()));
            match clause.0.as_slice() {
                [(kind, value)]
                    if matches!(&**kind, "equals" | "starts_with")
                        && let Some(text) = json::text(value) =>
                {
                    if kind == "equals" {
                        names.push(text);
                    } else {
                        let prefix = format!("{provider}/{text}");
                        let usual = super::usual_name(&prefix);
                        starts_with.extend(iter::once(prefix).chain(usual));
                    }
                }
                [(kind, _)] if matches!(&**kind, "equals" | "starts_with") => {
                    collector.omit(&id, Some("match"), format!("a rule of {kind:?} for no text"));
                }
                [(kind, _)] => {
                    let reason =
                        format!("a rule of {kind:?}: names are matched whole or by prefix");
                    collector.omit(&id, Some("match"), reason);
                }
                _ => collector.omit(&id, Some("match"), "not a rule"),
            }
        }
        Self { provider: provider.to_owned(), id, names, starts_with, body }
    }
}

/// Notes that a provider has a name.
fn note_owner(owners: &mut HashMap<String, Option<String>>, name: &str, provider: &str) {
    let owner = owners.entry(name.to_owned()).or_insert_with(|| Some(provider.to_owned()));
    if owner.as_deref() != Some(provider) {
        *owner = None;
    }
}

/// Which names only one provider uses.
struct Claims {
    /// By name the provider, `None` where there are several.
    owners: HashMap<String, Option<String>>,
    /// Names with a provider.
    qualified: HashSet<String>,
    /// By name who sells it behind Hugging Face's router, `None` where there are several.
    routed: HashMap<String, Option<String>>,
}

/// Those whose responses are read and who sell what they make, by the names that
/// [`canonical_name`] gives them.
const OWN_MODELS: [&str; 8] =
    ["anthropic", "cohere", "deepseek", "google", "mistral", "openai", "perplexity", "xai"];
/// How the providers behind Hugging Face's router begin.
const ROUTED: &str = "huggingface_";

impl Claims {
    fn of(models: &[Source<'_>]) -> Self {
        let mut claims =
            Self { owners: HashMap::new(), qualified: HashSet::new(), routed: HashMap::new() };
        for model in models {
            for name in &model.names {
                claims.qualified.insert(format!("{}/{name}", model.provider));
                note_owner(&mut claims.owners, name, &model.provider);
                if model.provider.starts_with(ROUTED) {
                    note_owner(&mut claims.routed, name, &model.provider);
                }
            }
        }
        claims
    }

    fn aliases(&self, model: &Source<'_>) -> Vec<String> {
        let qualified = model.names.iter().map(|name| format!("{}/{name}", model.provider));
        // A name such as `anthropic/claude-opus-4.1` or `Qwen/Qwen3` is one that several sell. So may
        // any be, by a rule that can't be taken over, but for a model's maker.
        let makes = OWN_MODELS.contains(&canonical_name(&model.provider).unwrap_or_default());
        let alone = model.names.iter().filter(|name| {
            makes
                && self.owners.get(*name).is_some_and(Option::is_some)
                && !name.contains('/')
                && !self.qualified.contains(*name)
        });
        // Responses of the router don't tell who is behind it.
        let routed = model.names.iter().filter(|name| {
            model.provider.starts_with(ROUTED)
                && self.routed.get(*name).is_some_and(Option::is_some)
        });
        let routed = routed.map(|name| format!("huggingface/{name}"));
        let mut seen = HashSet::new();
        let all = qualified.chain(alone.cloned()).chain(routed);
        all.filter(|name| seen.insert(name.clone())).collect()
    }
}

/// A price with its tiers.
struct Tiered {
    base: Price,
    /// Border and price, ascending.
    tiers: Vec<(u64, Price)>,
}

impl Tiered {
    /// What holds for a prompt just over a border, or over none.
    fn over(&self, border: Option<u64>) -> Price {
        let tier = |border| self.tiers.iter().rev().find(|(start, _)| *start <= border);
        border.and_then(tier).map_or(self.base, |(_, price)| *price)
    }
}

/// Minutes in a day.
const DAY: u16 = 1_440;

/// By dimension.
type Set = BTreeMap<&'static str, Tiered>;

/// When a set of prices holds.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Constraint {
    Always,
    /// From the beginning of this day, as a time.
    From(String),
    /// Minutes of the day, half-open; over midnight where the second is smaller.
    Daily(u16, u16),
}

impl Constraint {
    /// `None` where it is none that can be expressed.
    fn read(raw: Option<&RawValue>) -> Option<Self> {
        let Some(raw) = raw.filter(|raw| raw.get() != "null") else { return Some(Self::Always) };
        let object = Object::from_raw(raw)?;
        if let (1, Some(date)) = (object.0.len(), object.text("start_date")) {
            return is_date(&date).then(|| Self::From(format!("{date}T00:00:00Z")));
        }
        let (from, until) = (object.text("start_time")?, object.text("end_time")?);
        let (from, until) = (minute(&from)?, minute(&until)?);
        // An interval that ends where it begins never holds.
        (object.0.len() == 2 && from != until).then_some(Self::Daily(from, until))
    }

    fn holds(&self, date: Option<&String>, at: u16) -> bool {
        match self {
            Self::Always => true,
            // Dates of one form: as texts they are in the order of time.
            Self::From(start) => date.is_some_and(|date| date >= start),
            Self::Daily(from, until) if from < until => (from..until).contains(&&at),
            Self::Daily(from, until) => at >= *from || at < *until,
        }
    }
}

fn is_date(text: &str) -> bool {
    text.len() == 10
        && text.bytes().enumerate().all(|(n, b)| match n {
            4 | 7 => b == b'-',
            _ => b.is_ascii_digit(),
        })
}

/// A time of day, `HH:MM:SS` with an offset or `Z` or neither (UTC), in minutes UTC. `None` where
/// it is not a whole minute.
fn minute(text: &str) -> Option<u16> {
    let two = |text: &str, below: u16| {
        let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|n: &u16| digits && *n < below)
    };
    let clock = |text: &str| {
        let (hours, minutes) = text.split_once(':')?;
        Some(two(hours, 24)? * 60 + two(minutes, 60)?)
    };
    let time = clock(text.get(..5)?)?;
    let zone = text.get(5..)?.strip_prefix(":00").unwrap_or(&text[5..]);
    match zone {
        "" | "Z" => Some(time),
        _ if zone.starts_with('+') => Some((time + DAY - clock(&zone[1..])?) % DAY),
        _ if zone.starts_with('-') => Some((time + clock(&zone[1..])?) % DAY),
        _ => None,
    }
}

/// All that a model costs.
struct Prices {
    /// In the order of the source; the last that holds counts, or else the first.
    sets: Vec<(Constraint, Set)>,
    /// Parameters, constraint, prices; the first that holds counts, dimension by dimension.
    variants: Vec<(BTreeMap<String, String>, Constraint, Set)>,
}

impl Prices {
    fn read(body: &Object<'_>, id: &str, collector: &mut Collector) -> Option<Self> {
        let mut sets = Vec::new();
        match body.get("prices") {
            None => {}
            Some(raw) => match json::array(raw) {
                None => sets.push((Constraint::Always, read_set(raw, id, collector)?)),
                Some(list) => {
                    if list.len() > MAX_PARTS {
                        collector.omit(
                            id,
                            Some("prices"),
                            format!("more than {MAX_PARTS} of them"),
                        );
                        return None;
                    }
                    for raw in list {
                        let Some(item) = Object::from_raw(raw) else {
                            collector.omit(id, Some("prices"), "one is no object");
                            return None;
                        };
                        // Without this one, others would hold where they don't.
                        let Some(constraint) = Constraint::read(item.get("constraint")) else {
                            let reason = "a constraint that can't be read, or that no row can have";
                            collector.omit(id, Some("prices"), format!("{reason}: {LEFT_OUT}"));
                            return None;
                        };
                        let set =
                            item.get("prices").and_then(|raw| read_set(raw, id, collector))?;
                        sets.push((constraint, set));
                    }
                }
            },
        }
        if sets.is_empty() {
            collector.omit(id, None, "has no price");
            return None;
        }

        let mut variants = Vec::new();
        // Without the dearer ones a margin could be undercut.
        let Some(list) = items(body.get("price_variants")) else {
            collector.omit(id, Some("price_variants"), format!("not a list: {LEFT_OUT}"));
            return None;
        };
        for raw in list {
            let variant = Object::from_raw(raw);
            let field = |name| variant.as_ref().and_then(|variant| variant.get(name));
            let Some(when) = field("when").and_then(Object::from_raw) else {
                collector.omit(id, Some("price_variants"), "a variant without conditions");
                continue;
            };
            let name = when.0.iter().map(|(name, value)| format!("{name}={}", value.get()));
            let name = format!("price_variants {}", name.collect::<Vec<_>>().join(" "));
            let parameters: Option<BTreeMap<String, String>> = when
                .0
                .iter()
                .map(|(name, value)| {
                    let value = json::text(value)?;
                    let class =
                        name == "service_tier" || (name == "processing" && value == "batch");
                    let name = if class { "service_class" } else { name };
                    Some((name.to_owned(), value))
                })
                .collect();
            // Two of the source's parameters that are one here.
            let parameters = parameters.filter(|found| found.len() == when.0.len());
            let constraint = Constraint::read(field("constraint"));
            let Some(prices) = field("prices") else {
                collector.omit(id, Some(&name), "no prices");
                continue;
            };
            let set = read_set(prices, id, collector)?;
            match (parameters, constraint) {
                (Some(parameters), Some(constraint)) if variants.len() < MAX_PARTS => {
                    // `default` is the class that has no name here: it only hides other variants.
                    if !set.is_empty() {
                        variants.push((parameters, constraint, set));
                    }
                }
                _ => {
                    let reason = "conditions that can't be read, or that no row can have";
                    collector.omit(id, Some(&name), format!("{reason}: {LEFT_OUT}"));
                    return None;
                }
            }
        }
        Some(Self { sets, variants })
    }

    fn rows(&self, id: &str, collector: &mut Collector) -> Option<Vec<CostRow>> {
        let all_sets = || {
            let variants = self.variants.iter().map(|(_, constraint, set)| (constraint, set));
            self.sets.iter().map(|(constraint, set)| (constraint, set)).chain(variants)
        };
        let prices = all_sets().flat_map(|(_, set)| set.values());
        let borders = prices.flat_map(|price| price.tiers.iter().map(|(border, _)| *border));
        let borders = grid::ascending(borders);
        let dates = grid::ascending(all_sets().filter_map(|(constraint, _)| match constraint {
            Constraint::From(date) => Some(date.clone()),
            _ => None,
        }));
        let day = Day::of(all_sets().map(|(constraint, _)| constraint));
        let mut parameters: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (name, value) in self.variants.iter().flat_map(|(when, ..)| when) {
            let values = parameters.entry(name).or_default();
            if !values.contains(value) {
                values.push(value.clone());
            }
        }
        let mut axes = vec![Axis::tiers(&borders, false), Axis::from_dates(&dates), day.axis()];
        axes.extend(parameters.iter().map(|(name, values)| Axis::parameter(name, values.clone())));

        let price = |dimension: &str, place: &[usize]| {
            let date = place[1].checked_sub(1).and_then(|n| dates.get(n));
            let at = day.minute(place[2]);
            let border = place[0].checked_sub(1).map(|n| borders[n]);
            let given = |name: &str| {
                let n = parameters.keys().position(|known| *known == name)?;
                parameters[name].get(place[3 + n].checked_sub(1)?)
            };
            let variant = self.variants.iter().find_map(|(when, constraint, set)| {
                let fits = constraint.holds(date, at)
                    && when.iter().all(|(name, value)| given(name) == Some(value));
                if fits { set.get(dimension) } else { None }
            });
            let standard = || {
                let last = self.sets.iter().rev().find(|(c, _)| c.holds(date, at));
                last.or(self.sets.first()).and_then(|(_, set)| set.get(dimension))
            };
            variant.or_else(standard).map(|price| price.over(border))
        };
        let parents = Parents::standard();
        let dimensions: BTreeSet<&str> =
            all_sets().flat_map(|(_, set)| set.keys().copied()).collect();
        let mut rows = Vec::new();
        for dimension in dimensions {
            let at = |place: &[usize]| parents.find(dimension, |name| price(name, place));
            match grid::rows(dimension, &axes, at) {
                Ok(more) => rows.extend(more),
                Err(error) => {
                    collector.omit(id, Some(dimension), format!("{error}: {LEFT_OUT}"));
                    return None;
                }
            }
        }
        Some(rows)
    }
}

/// The parts of a day in which constraints hold or don't.
struct Day {
    /// Parts in which some hold, as minutes from and until.
    parts: Vec<(u16, u16)>,
    /// A minute in which none holds, or, where there is none, of the first part.
    base: u16,
}

impl Day {
    fn of<'a>(constraints: impl Iterator<Item = &'a Constraint>) -> Self {
        let daily: Vec<&Constraint> =
            constraints.filter(|c| matches!(c, Constraint::Daily(..))).collect();
        let borders = grid::ascending(daily.iter().flat_map(|constraint| match constraint {
            Constraint::Daily(from, until) => vec![*from, *until],
            _ => Vec::new(),
        }));
        let mut parts = Vec::new();
        let mut free = None;
        for (n, from) in borders.iter().enumerate() {
            let until = borders[(n + 1) % borders.len()];
            if daily.iter().any(|constraint| constraint.holds(None, *from)) {
                parts.push((*from, until));
            } else {
                free = Some(*from);
            }
        }
        let base = free.or(parts.first().map(|(from, _)| *from)).unwrap_or(0);
        Self { parts, base }
    }

    fn axis(&self) -> Axis {
        let clock = |minute: &u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        Axis::exclusive(self.parts.iter().map(|(from, until)| {
            let window = json!({"from": clock(from), "until": clock(until)});
            vec![("time_of_day".to_owned(), window)]
        }))
    }

    /// A minute of the axis' value.
    fn minute(&self, value: usize) -> u16 {
        value.checked_sub(1).map_or(self.base, |n| self.parts[n].0)
    }
}

/// Reads a set of prices. What can't be used is listed; `None` where one of them can't be read.
fn read_set(raw: &RawValue, id: &str, collector: &mut Collector) -> Option<Set> {
    let Some(object) = Object::from_raw(raw) else {
        collector.omit(id, Some("prices"), "not an object, or one that repeats a field");
        return None;
    };
    let mut set = Set::new();
    for (key, value) in &object.0 {
        if value.get() == "null" {
            continue;
        }
        let Some((_, dimension, by)) = UNITS.iter().find(|(name, ..)| name == key) else {
            collector.omit(id, Some(key), "there is no dimension for this unit");
            continue;
        };
        match read_price(value, *by) {
            Ok((price, rounded)) => {
                if rounded {
                    collector.note(id, Some(key), super::ROUNDED);
                }
                set.insert(dimension, price);
            }
            Err(error) => {
                collector.omit(id, None, format!("{key}: {error}: {LEFT_OUT}"));
                return None;
            }
        }
    }
    Some(set)
}

/// The items of a list that may be absent; `None` where it is something else.
fn items(raw: Option<&RawValue>) -> Option<Vec<&RawValue>> {
    match raw.filter(|raw| raw.get() != "null") {
        Some(raw) => json::array(raw),
        None => Some(Vec::new()),
    }
}

/// A price, and whether something of it was rounded.
fn read_price(raw: &RawValue, by: By) -> Result<(Tiered, bool), PriceError> {
    let one = |raw: &RawValue| {
        let text = json::number(raw).ok_or(PriceError::NotANumber)?;
        match by {
            By::Exponent(exponent) => Price::read(&text, exponent),
            By::Hour => Price::read_hourly(&text),
        }
    };
    let Some(object) = Object::from_raw(raw) else {
        let Read { price, rounded } = one(raw)?;
        return Ok((Tiered { base: price, tiers: Vec::new() }, rounded));
    };
    let base = object.get("base").ok_or(PriceError::NotANumber).and_then(one)?;
    let mut rounded = base.rounded;
    let mut tiers = Vec::new();
    let list = items(object.get("tiers")).ok_or(PriceError::Tiers)?;
    let is_known = |known: &[&str], object: &Object<'_>| {
        object.0.iter().all(|(name, _)| known.contains(&&**name))
    };
    if list.len() > MAX_PARTS || !is_known(&["base", "tiers"], &object) {
        return Err(PriceError::Tiers);
    }
    for raw in list {
        let tier = Object::from_raw(raw).ok_or(PriceError::Tiers)?;
        // What else it said would be about where it holds.
        if !is_known(&["start", "price"], &tier) {
            return Err(PriceError::Tiers);
        }
        let start = tier.get("start").and_then(|raw| raw.get().parse().ok());
        let price = tier.get("price").ok_or(PriceError::NotANumber).and_then(one)?;
        rounded |= price.rounded;
        tiers.push((start.ok_or(PriceError::NotANumber)?, price.price));
    }
    tiers.sort_by_key(|(start, _)| *start);
    if tiers.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err(PriceError::Tiers);
    }
    Ok((Tiered { base: base.price, tiers }, rounded))
}

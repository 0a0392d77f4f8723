//! `LiteLLM`'s table `model_prices_and_context_window.json`: by model the prices of one unit, each
//! in a field of its own.
//!
//! A field is a base, such as `input_cost_per_token`, with suffixes in any order: a tier
//! (`_above_200k_tokens`), a lifetime of cache writes (`_above_1hr`), a service class (`_flex`).
//! What `LiteLLM`'s calculation does with them, and what is done here:
//! - *Tiers* are cliffs over the whole request on the total prompt: above the border, with xAI from
//!   it on. A dimension without a price above a border keeps the one below it.
//! - *Service classes*: without a price for the class the standard one holds, in each tier, or that
//!   of the class below the border where it is dearer. `service_class` `fast` is `priority` under another name.
//! - `tiered_pricing` replaces the prices of tokens for all classes; a tier without a price for
//!   reading from the cache asks its input price. `off_peak_pricing` replaces what it names in all
//!   classes and tiers. A reasoning price yields to a class' output price.
//! - *Grounding* of Gemini costs by search where `web_search_billing_unit` says so, else once a
//!   prompt that is grounded, however often it searches.
//! - Multipliers (`provider_specific_entry`, uplifts) are rows of their own: `inference_geo`,
//!   `speed`, `data_residency` (`OpenAI`'s hosts for regions and for `FedRAMP`), `endpoint`
//!   `regional`; an uplift with a name unknown here is a parameter of that name.
//!
//! Where it would sell under cost, or a provider says otherwise, it is not followed:
//! - *Batches* without a price cost the standard price, not half of it by a guess, nor above a border
//!   the batch price from below it. Cache writes and modalities without a batch price too, not the text price of batches. What was read from a
//!   cache is input of the batch, which is dearer than from the cache; with Gemini it costs the
//!   standard cached price, for Google says that the cache's discount takes precedence.
//! - *Writing to a cache* without a price is refused, not input
//!   ([`standard_parts`](super::standard_parts)).
//! - *Cached audio*, images and video without a price of their own cost, where the model asks more
//!   for them than for text, their full price, not the one of cached text.
//! - A *reasoning price* that equals the output price is the output price, in every tier and class;
//!   so are input prices of a modality that equal that of text.
//! - *Two fields of the same price*: the dearer one. So are seconds of video by the length of
//!   intervals, which no usage tells.
//! - *Search* by `search_context_size`: without the parameter the dearest. Where Perplexity's
//!   prices differ by size they are fees of requests, as its price list has them, not of searches.
//! - *Generated images* are priced as `output_images`, also where the field says `input`.
//!
//! Dimensions that no reader of responses knows of and that a caller has to give: `ocr_credits`
//! (units in which a provider bills documents), `results` (how many a search was asked for; free,
//! but a query's price depends on it), and the units of guardrails, such as `content_policy_units`.
//!
//! An entry is *left out as a whole* where a price that is known here can't be read, or where what
//! is not used of it (a class of a price by resolution, say) is dearer than what would then be
//! asked: a usage without a row of its own is rated by a more general one. A field that is not known
//! here at all is only listed. `alias_of` makes an entry without prices a further name of another's
//! model.
//!
//! A model's id is `<provider>/<model>`; the table's own key is an alias, and so is the id under
//! the provider's usual name where `LiteLLM` has one of its own (`gemini`, `together_ai`) and no
//! other model has that.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use rust_decimal::Decimal;
use serde_json::json;
use serde_json::value::RawValue;
use uc_domain::ratios::{Conditions, is_name, is_parameter_value};

use super::grid::{self, Axis, When};
use super::json::{self, Object};
use super::price::{Price, PriceError, Read};
use super::{
    Collector, Draft, ImportError, Kind, LEFT_OUT, MAX_BYTES, MAX_MODELS, Parents, per, row,
    unconditional,
};
use crate::costs::{CostRow, ProviderCosts};

/// Most tiers, windows, or units in a list of them.
const MAX_ITEMS: usize = 64;

/// The suffixes of service classes, and the classes that they price.
const CLASSES: &[(&str, &[&str])] = &[
    (BATCHES, &["batch"]),
    ("flex", &["flex"]),
    ("priority", &["priority", "fast"]),
    ("balanced", &["balanced"]),
    ("ultrafast", &["ultrafast"]),
];
const BATCHES: &str = "batches";
/// The suffix of prices that replace the plain ones on the decisions route.
const DECISIONS: &str = "decisions";

/// Bases of fields with one meaning.
const BASES: &[(&str, &str)] = &[
    ("input_cost_per_token", INPUT),
    ("output_cost_per_token", OUTPUT),
    ("cache_read_input_token_cost", CACHE_READ),
    ("cache_creation_input_token_cost", CACHE_WRITE),
    ("input_cost_per_audio_token", "input_audio_tokens"),
    ("input_cost_per_image_token", "input_image_tokens"),
    ("input_cost_per_video_token", "input_video_tokens"),
    ("output_cost_per_audio_token", "output_audio_tokens"),
    ("output_cost_per_image_token", "output_image_tokens"),
    ("output_cost_per_video_token", "output_video_tokens"),
    ("output_cost_per_reasoning_token", REASONING),
    ("citation_cost_per_token", "output_citation_tokens"),
    ("cache_read_input_audio_token_cost", "cache_read_audio_tokens"),
    ("cache_read_input_image_token_cost", "cache_read_image_tokens"),
    ("cache_creation_input_audio_token_cost", "cache_write_audio_tokens"),
    ("explicit_cache_read_input_token_cost", EXPLICIT_CACHE_READ),
    ("input_cost_per_character", "input_characters"),
    ("output_cost_per_character", "output_characters"),
    ("output_cost_per_pixel", "output_pixels"),
    ("input_cost_per_query", "queries"),
    ("input_cost_per_request", "requests"),
    ("input_cost_per_text_message", "text_messages"),
    ("input_cost_per_audio_per_second", "input_audio_seconds"),
    ("input_cost_per_video_per_second", "input_video_seconds"),
    ("output_cost_per_video_per_second", "video_seconds"),
    ("cost_per_second", "input_seconds"),
    ("ocr_cost_per_page", "pages"),
    ("annotation_cost_per_page", "annotated_pages"),
    ("ocr_cost_per_credit", "ocr_credits"),
    ("code_interpreter_cost_per_session", "code_sessions"),
    ("google_maps_grounding_cost_per_query", "maps_searches"),
];
const REQUESTS: &str = "requests";
const INPUT: &str = "input_tokens";
const OUTPUT: &str = "output_tokens";
const REASONING: &str = "output_reasoning_tokens";
const CACHE_READ: &str = "cache_read_tokens";
const CACHE_WRITE: &str = "cache_write_tokens";
const CACHE_WRITE_1H: &str = "cache_write_1h_tokens";
const CACHE_WRITE_12H: &str = "cache_write_12h_tokens";
/// No dimension: cache reads under `cache_type` `ephemeral`.
const EXPLICIT_CACHE_READ: &str = "";

const BY_RESOLUTION: &str = "a class or tier of a price that depends on the resolution";
/// The dimensions that `tiered_pricing` prices.
const TIERED: [&str; 5] = [INPUT, OUTPUT, REASONING, CACHE_READ, CACHE_WRITE];

/// Reads costs from `LiteLLM`'s table, in US dollars.
///
/// # Errors
/// [`ImportError`] where it is not that format at all.
pub fn import(source: &[u8]) -> Result<ProviderCosts, ImportError> {
    if source.len() > MAX_BYTES {
        return Err(ImportError::TooLarge);
    }
    let table: Object<'_> =
        serde_json::from_slice(source).map_err(|error| ImportError::json(&error))?;
    if table.0.len() > MAX_MODELS {
        return Err(ImportError::TooManyModels);
    }
    let mut collector = Collector::new("USD");
    let mut sized = Sized::default();
    let mut further_names = FurtherNames::default();
    // The ids that entries which are left out would have had, and their keys.
    let mut unreadable = Vec::new();
    for (key, raw) in &table.0 {
        let fields: Object<'_> = serde_json::from_str(raw.get()).map_err(|error| {
            let place = format!("model {:?}", super::echo(key));
            ImportError::syntax(place, super::without_place(&error))
        })?;
        if key == "sample_spec" {
            collector.omit(key, None, "explains the table's fields");
            continue;
        }
        if let Some(target) = fields.get("alias_of").filter(|target| target.get() != "null") {
            let priced = fields.0.iter().find(|(name, value)| {
                name != "alias_of" && is_about_prices(name) && value.get() != "null"
            });
            if let Some((field, _)) = priced {
                let reason = format!(
                    "whether this or the price of its \"alias_of\" holds is not said: {LEFT_OUT}"
                );
                collector.omit(key, Some(&super::echo(field)), reason);
            } else {
                further_names.add(key, json::text(target), &mut collector);
            }
            continue;
        }
        let Some(provider) = fields.text("litellm_provider") else {
            collector.omit(key, None, "has no provider");
            continue;
        };
        let provider = provider_name(&provider);
        let before = collector.mark();
        let mut entry = Entry::read(key, provider, &fields, &mut collector);
        let costs = entry.rows(&mut collector);
        let (id, aliases) = names(key, provider);
        further_names.ids.insert(key.clone(), id.clone());
        if !entry.faults.is_empty() {
            collector.back_to(before);
            for (field, reason) in &entry.faults {
                collector.omit(key, None, format!("{}: {reason}: {LEFT_OUT}", super::echo(field)));
            }
            unreadable.extend(Sized::id(&entry, &id).map(|id| (id, key)));
            unreadable.push((id, key));
            continue;
        }
        if !costs.is_empty() && costs.iter().all(|row| row.amount.is_zero()) {
            collector.note(key, None, "all its prices are zero");
        }
        sized.add(&entry, &id, &aliases);
        let tuned =
            key.starts_with(TUNED).then(|| [id.as_str(), key].map(|name| format!("{name}:")));
        collector.push(Draft {
            source: key.clone(),
            id,
            provider: provider.to_owned(),
            name: None,
            kind: Kind::Base(purpose(&entry.mode)),
            aliases,
            starts_with: tuned.into_iter().flatten().collect(),
            costs,
        })?;
    }
    sized.push(&mut collector)?;
    for (id, key) in unreadable {
        if collector.ids.contains_key(&id) {
            let reason = format!("{:?} is of the same model: {LEFT_OUT}", super::echo(key));
            collector.leave_out(&id, &reason);
        }
    }
    further_names.push(&mut collector);
    Ok(collector.finish())
}

/// Entries that are another name of one that has prices.
#[derive(Default)]
struct FurtherNames {
    /// By the key what it is another name of.
    targets: BTreeMap<String, String>,
    /// By the key of an entry of its own the id of its model.
    ids: HashMap<String, String>,
}

impl FurtherNames {
    fn add(&mut self, key: &str, target: Option<String>, collector: &mut Collector) {
        match target {
            Some(target) => {
                self.targets.insert(key.to_owned(), target);
            }
            None => collector.omit(key, Some("alias_of"), "not the name of an entry"),
        }
    }

    fn push(self, collector: &mut Collector) {
        for (key, first) in &self.targets {
            let way = std::iter::successors(Some(first), |name| self.targets.get(*name));
            let target = way.take(MAX_ITEMS).last().unwrap_or(first);
            let id = self.ids.get(target);
            let draft = id
                .filter(|id| !collector.left_out.contains(*id))
                .and_then(|id| collector.ids.get(id).map(|draft| (id, *draft)));
            let reason = match (draft, id) {
                (Some((id, draft)), _) => {
                    // As if it were an entry of the model's provider.
                    let provider = collector.drafts[draft].provider.clone();
                    let (name, aliases) = names(key, &provider);
                    for name in std::iter::once(name).chain(aliases) {
                        let is_taken =
                            collector.ids.contains_key(&name) || self.ids.contains_key(&name);
                        if is_taken && name != *id {
                            let what = format!("{:?} is another model", super::echo(&name));
                            let reason = match collector.ids.get(&name) {
                                Some(other) => {
                                    let theirs = collector.drafts[draft].costs.clone();
                                    let ours = &mut collector.drafts[*other].costs;
                                    let dearer = super::dearer_of_each(ours, &theirs);
                                    if !super::asks_as_much(ours, &dearer) {
                                        *ours = dearer;
                                    }
                                    format!("{what}: of the prices of both the dearer hold there")
                                }
                                None => what,
                            };
                            collector.omit(key, Some("alias_of"), reason);
                        } else {
                            collector.drafts[draft].aliases.push(name);
                        }
                    }
                    continue;
                }
                (None, Some(_)) => format!("{:?} is left out", super::echo(target)),
                (None, None) if self.targets.contains_key(target) => {
                    let first = super::echo(first);
                    format!("{first:?} leads in a circle, or over more than {MAX_ITEMS} names")
                }
                (None, None) => format!("there is no entry {:?}", super::echo(target)),
            };
            collector.omit(key, Some("alias_of"), reason);
        }
    }
}

/// Pictures whose size and quality are in the keys of the table, each combination an entry. They
/// stay, and are together one model more, which answers to the name that requests and responses
/// have; or rows of the entry that already has this name.
#[derive(Default)]
struct Sized(BTreeMap<String, SizedModel>);

/// One model out of several entries.
struct SizedModel {
    provider: String,
    aliases: Vec<String>,
    /// What a picture costs with these parameters.
    prices: Vec<(BTreeMap<String, String>, Price)>,
    /// Whether one of them was.
    rounded: bool,
}

impl Sized {
    fn add(&mut self, entry: &Entry<'_>, id: &str, aliases: &[String]) {
        let Some((name, parameters, pixels)) = Self::parsed(entry, id) else { return };
        let by_pixel = || {
            let price = entry.plain("output_pixels", None)?;
            price.of_many(pixels?).ok()
        };
        let by_image = entry.plain("output_images", None);
        let by_image = by_image.map(|price| Read { price, rounded: false });
        let Some(Read { price, rounded }) = by_image.or_else(by_pixel) else { return };
        let id = format!("{}/{name}", entry.provider);
        let model = self.0.entry(id).or_insert_with(|| SizedModel {
            provider: entry.provider.to_owned(),
            aliases: Vec::new(),
            prices: Vec::new(),
            rounded: false,
        });
        // As the entries' own keys: without the provider where those have none in front.
        if model.aliases.is_empty() && !aliases.is_empty() {
            model.aliases.push(name);
        }
        model.prices.push((parameters, price));
        model.rounded |= rounded;
    }

    /// The id of the model that an entry for some parameters is of.
    fn id(entry: &Entry<'_>, id: &str) -> Option<String> {
        let (name, ..) = Self::parsed(entry, id).filter(|_| entry.makes_images())?;
        Some(format!("{}/{name}", entry.provider))
    }

    /// The name behind the parameters in an id, these, and how many pixels that is; `None` where it
    /// has none.
    fn parsed(
        entry: &Entry<'_>,
        id: &str,
    ) -> Option<(String, BTreeMap<String, String>, Option<u32>)> {
        let key = id.strip_prefix(entry.provider)?.strip_prefix('/')?;
        let mut parameters = BTreeMap::new();
        let mut pixels = None;
        let mut rest = key;
        while let Some((first, more)) = rest.split_once('/') {
            if let Some((width, height)) = first.split_once("-x-") {
                if let (Ok(width), Ok(height)) = (width.parse::<u32>(), height.parse::<u32>()) {
                    pixels = width.checked_mul(height);
                    parameters.insert("size".to_owned(), format!("{width}x{height}"));
                } else {
                    parameters.insert("size".to_owned(), first.replace("-x-", "x"));
                }
            } else if let Some(steps) = first.strip_suffix("-steps") {
                parameters.insert("steps".to_owned(), steps.to_owned());
            } else if ["low", "medium", "high", "standard", "hd"].contains(&first) {
                parameters.insert("quality".to_owned(), first.to_owned());
            } else {
                break;
            }
            rest = more;
        }
        let name = rest.strip_prefix(entry.provider).and_then(|rest| rest.strip_prefix('/'));
        let name = name.unwrap_or(rest).to_owned();
        (!parameters.is_empty()).then_some((name, parameters, pixels))
    }

    fn push(self, collector: &mut Collector) -> Result<(), ImportError> {
        for (id, model) in self.0 {
            // Where the parameters are not said, the dearest.
            let Some(dearest) = model.prices.iter().map(|(_, price)| *price).max() else {
                continue;
            };
            if model.rounded {
                collector.note(&id, Some("output_images"), super::ROUNDED);
            }
            let mut costs = Vec::new();
            for (parameters, price) in &model.prices {
                match Conditions::from_text(&json!(parameters).to_string()) {
                    Ok(when) => costs.push(row("output_images", *price, Some(when))),
                    Err(error) => collector.omit(&id, Some("output_images"), error),
                }
            }
            if let Some(same) = collector.ids.get(&id) {
                // The entry without parameters. Where it prices tokens, responses tell these, and a
                // picture must not be paid twice.
                let same = &mut collector.drafts[*same];
                if unconditional(&same.costs).contains("output_images")
                    && !same.costs.iter().any(|row| row.dimension.ends_with("_tokens"))
                {
                    let both = with_both(&same.costs, &costs);
                    same.costs.extend(costs);
                    same.costs.extend(both);
                } else {
                    let reason = "priced by tokens; by size and quality under other ids";
                    collector.note(&id, Some("output_images"), reason);
                }
                continue;
            }
            costs.insert(0, row("output_images", dearest, None));
            collector.push(Draft {
                source: id.clone(),
                id,
                provider: model.provider,
                name: None,
                kind: Kind::Base("image"),
                aliases: model.aliases,
                starts_with: Vec::new(),
                costs,
            })?;
        }
        Ok(())
    }
}

/// Rows for where a row of each side holds, which then is the dearer of the two: an entry may have
/// prices by resolution beside those by size and quality.
fn with_both(ours: &[CostRow], sized: &[CostRow]) -> Vec<CostRow> {
    let pictures = ours.iter().filter(|row| row.dimension == "output_images");
    let pairs = pictures.flat_map(|row| sized.iter().map(move |sized| (row, sized)));
    let both = pairs.filter_map(|(row, sized)| {
        let (one, other) = (row.when.as_ref()?.equalities(), sized.when.as_ref()?.equalities());
        // Two values of a parameter never hold together.
        let apart = other.keys().all(|name| !one.contains_key(name));
        let when: BTreeMap<_, _> = one.iter().chain(other).collect();
        let when = Conditions::from_text(&json!(when).to_string()).ok().filter(|_| apart)?;
        let dearer = if row.amount >= sized.amount { row } else { sized };
        Some(CostRow { when: Some(when), ..dearer.clone() })
    });
    both.collect()
}

/// Who asks the price, out of names that also say which interface it is.
fn provider_name(name: &str) -> &str {
    match name {
        "bedrock_converse" => "bedrock",
        "azure_text" => "azure",
        "cohere_chat" => "cohere",
        _ => {
            let name = name.strip_prefix("text-completion-").unwrap_or(name);
            if name.starts_with("vertex_ai-") {
                "vertex_ai"
            } else {
                name.strip_suffix("-embedding-models").unwrap_or(name)
            }
        }
    }
}

/// What responses of Gemini say that they are grounded in, in the order in which they say it.
const GROUNDED_IN: [&str; 4] = ["data", "maps", "search", "url"];

/// Makes prices of single searches those of a grounded prompt, however many searches it makes: a
/// response that says what it is grounded in costs that once. Searches that are told without it
/// cost each.
fn by_grounded_prompt(rows: &mut Vec<CostRow>) {
    let is_plain = |row: &&CostRow| row.when.is_none();
    let fee = |dimension: &str| rows.iter().filter(is_plain).find(|row| row.dimension == dimension);
    let fees = [("search", "web_searches"), ("maps", "maps_searches")]
        .map(|(name, dimension)| (name, dimension, fee(dimension).map(|row| row.amount)));
    if fees.iter().all(|(_, _, amount)| amount.is_none()) {
        return;
    }
    if rows.iter().all(|row| row.dimension != REQUESTS) {
        rows.push(row(REQUESTS, Price::ZERO, None));
    }
    for set in 1_u8..16 {
        let is_in = |name: &str| {
            GROUNDED_IN.iter().enumerate().any(|(n, of)| *of == name && set >> n & 1 == 1)
        };
        let mut sum = Decimal::ZERO;
        let names: Vec<&str> = GROUNDED_IN.into_iter().filter(|name| is_in(name)).collect();
        let when = json!({"grounding": names.join("+")}).to_string();
        let when = Conditions::from_text(&when).expect("a text is a condition");
        let used = fees.iter().filter(|(name, ..)| is_in(name));
        let used: Vec<_> =
            used.filter_map(|(_, dimension, amount)| Some((dimension, (*amount)?))).collect();
        for (dimension, amount) in &used {
            sum += *amount;
            rows.push(row(dimension, Price::ZERO, Some(when.clone())));
        }
        if !used.is_empty() {
            rows.push(CostRow {
                dimension: REQUESTS.to_owned(),
                amount: sum,
                per: per(REQUESTS),
                when: Some(when),
            });
        }
    }
}

/// What the names of fine-tuned models of `OpenAI` begin with, `ft:gpt-4o-2024-08-06:org:name:id`: an
/// entry is of all that were made of one model.
const TUNED: &str = "ft:";

/// The id and the aliases of a key.
fn names(key: &str, provider: &str) -> (String, Vec<String>) {
    let qualified = key.strip_prefix(provider).is_some_and(|rest| rest.starts_with('/'));
    if qualified {
        (key.to_owned(), Vec::new())
    } else {
        (format!("{provider}/{key}"), vec![key.to_owned()])
    }
}

/// What a mode is for, as the beginning of a feature's name.
fn purpose(mode: &str) -> &'static str {
    match mode {
        "embedding" => "embedding",
        "image_generation" | "image_edit" => "image",
        "video_generation" => "video",
        "audio_speech" => "speech",
        "audio_transcription" => "transcription",
        "realtime" => "audio",
        "ocr" | "extraction" => "document",
        "rerank" => "rerank",
        "search" | "vector_store" => "search",
        "moderation" => "moderation",
        "guardrail" => "tool",
        _ => "text",
    }
}

/// A price's place: above a border of the prompt, with a suffix of a class or route.
type Place = (Option<u64>, Option<&'static str>);

/// A field's name, taken apart.
struct Field<'a> {
    base: &'a str,
    /// 1 or 12.
    hours: Option<u8>,
    place: Place,
}

impl<'a> Field<'a> {
    /// Takes the suffixes off, in whatever order they are.
    fn of(name: &'a str) -> Self {
        let mut field = Self { base: name, hours: None, place: (None, None) };
        loop {
            let before = field.base;
            let suffixes = CLASSES.iter().map(|(suffix, _)| *suffix).chain([DECISIONS]);
            for suffix in suffixes.filter(|_| field.place.1.is_none()) {
                let rest = field.base.strip_suffix(suffix).and_then(|rest| rest.strip_suffix('_'));
                if let Some(rest) = rest {
                    field.base = rest;
                    field.place.1 = Some(suffix);
                    break;
                }
            }
            for (suffix, hours) in [("_above_1hr", 1), ("_above_12hr", 12)] {
                if let Some(rest) = field.base.strip_suffix(suffix)
                    && field.hours.is_none()
                {
                    field.base = rest;
                    field.hours = Some(hours);
                }
            }
            if let Some((rest, border)) = field.base.rsplit_once("_above_")
                && let Some(border) = border.strip_suffix("_tokens").and_then(border_of)
                && field.place.0.is_none()
            {
                field.base = rest;
                field.place.0 = Some(border);
            }
            if field.base == before {
                return field;
            }
        }
    }
}

/// `200k` or `200`.
fn border_of(text: &str) -> Option<u64> {
    let (digits, factor) = text.strip_suffix('k').map_or((text, 1), |digits| (digits, 1_000));
    digits.parse::<u32>().ok().map(|n| u64::from(n) * factor)
}

/// Whether a field is about prices.
fn is_about_prices(name: &str) -> bool {
    ["cost", "price", "pricing", "uplift_multiplier"].iter().any(|word| name.contains(word))
        || matches!(name, "provider_specific_entry" | "search_free_requests")
}

/// A tier of `tiered_pricing`.
struct Tier {
    /// The prompt is longer.
    start: u64,
    prices: BTreeMap<&'static str, Price>,
}

/// A multiplier under a value of a parameter.
struct Factor {
    parameter: String,
    value: String,
    factor: Price,
    /// Where it is from.
    field: String,
}

/// All that one entry of the table says about prices.
struct Entry<'a> {
    key: &'a str,
    provider: &'a str,
    mode: String,
    /// By dimension.
    prices: BTreeMap<&'static str, BTreeMap<Place, Price>>,
    /// By dimension and place the field that the price is from.
    fields: BTreeMap<(&'static str, Place), String>,
    /// Ascending; empty where there are none.
    tiers: Vec<Tier>,
    off_peak: BTreeMap<&'static str, Price>,
    /// Disjoint.
    off_peak_windows: Vec<When>,
    factors: Vec<Factor>,
    /// By dimension the prices under values of `resolution`.
    by_resolution: BTreeMap<&'static str, Vec<(String, Price)>>,
    /// Rows that depend on nothing else.
    rows: Vec<CostRow>,
    /// Whether grounding costs once a prompt, not by search.
    is_grounded_by_prompt: bool,
    /// Prices that are known to be there and are not used: field, dimension, price, and why.
    unused: Vec<(String, &'static str, Price, &'static str)>,
    /// Fields that can't be read, or without which it would be sold under its costs, and why.
    faults: Vec<(String, String)>,
}

impl<'a> Entry<'a> {
    fn read(
        key: &'a str,
        provider: &'a str,
        fields: &Object<'_>,
        collector: &mut Collector,
    ) -> Self {
        let mut entry = Self {
            key,
            provider,
            mode: fields.text("mode").unwrap_or_default(),
            prices: BTreeMap::new(),
            fields: BTreeMap::new(),
            tiers: Vec::new(),
            off_peak: BTreeMap::new(),
            off_peak_windows: Vec::new(),
            factors: Vec::new(),
            is_grounded_by_prompt: false,
            by_resolution: BTreeMap::new(),
            rows: Vec::new(),
            unused: Vec::new(),
            faults: Vec::new(),
        };
        for (name, raw) in fields.0.iter().filter(|(name, _)| is_about_prices(name)) {
            if raw.get() == "null" {
                collector.omit(key, Some(name), "has no price");
                continue;
            }
            match name.as_str() {
                "tiered_pricing" => entry.read_tiers(raw, collector),
                "off_peak_pricing" => entry.read_off_peak(raw, collector),
                "provider_specific_entry" => entry.read_specific(raw, collector),
                "search_context_cost_per_query" => entry.read_search(raw, collector),
                "guardrail_cost_per_unit" => entry.read_guardrails(raw, collector),
                "search_free_requests" => {
                    let reason = "a free allowance over many requests: every search has its price";
                    collector.omit(key, Some(name), reason);
                }
                _ => match name.split_once("_uplift_multiplier") {
                    Some((what, value)) => {
                        let value = value.strip_prefix('_').unwrap_or(value);
                        let (parameter, value) = uplift(what, value);
                        entry.read_factor(parameter, value, name, raw, collector);
                    }
                    None => entry.read_field(name, raw, fields, collector),
                },
            }
        }
        entry.omit_replaced(collector);
        entry.omit_unused(collector);
        entry.complete(fields, collector);
        entry
    }

    fn fault(&mut self, field: &str, reason: impl ToString) {
        self.faults.push((field.to_owned(), reason.to_string()));
    }

    /// Reads a price; what is none is a fault.
    fn price(&mut self, field: &str, raw: &RawValue, collector: &mut Collector) -> Option<Price> {
        let text = json::number(raw).ok_or(PriceError::NotANumber);
        match text.and_then(|text| Price::read(&text, 0)) {
            Ok(read) => Some(collector.price(self.key, field, read)),
            Err(error) => {
                self.fault(field, error);
                None
            }
        }
    }

    fn read_field(
        &mut self,
        name: &str,
        raw: &RawValue,
        fields: &Object<'_>,
        collector: &mut Collector,
    ) {
        let field = Field::of(name);
        let meaning = self.meaning(&field, fields);
        match meaning {
            Meaning::Dimension(dimension) => {
                let Some(price) = self.price(name, raw, collector) else { return };
                let known = self.prices.entry(dimension).or_default();
                let from = self.fields.entry((dimension, field.place)).or_default();
                let known = known.entry(field.place).or_insert(price);
                let reason = match price.cmp(known) {
                    _ if from.is_empty() => {
                        name.clone_into(from);
                        return;
                    }
                    Ordering::Equal => format!("repeats {from}"),
                    Ordering::Less => format!("{from} prices the same, and is dearer"),
                    Ordering::Greater => format!("{name} prices the same, and is dearer"),
                };
                let mut unused = name.to_owned();
                if price > *known {
                    *known = price;
                    std::mem::swap(from, &mut unused);
                }
                collector.omit(self.key, Some(&unused), reason);
            }
            Meaning::ByResolution(dimension, resolution) => {
                let Some(price) = self.price(name, raw, collector) else { return };
                if field.place == (None, None) {
                    self.by_resolution.entry(dimension).or_default().push((resolution, price));
                } else {
                    self.unused.push((name.to_owned(), dimension, price, BY_RESOLUTION));
                }
            }
            Meaning::None(reason) => collector.omit(self.key, Some(name), reason),
            Meaning::Unreadable(reason) => self.fault(name, reason),
        }
    }

    fn makes_images(&self) -> bool {
        matches!(self.mode.as_str(), "image_generation" | "image_edit")
    }

    /// What a field prices, which may depend on what else is there.
    fn meaning(&self, field: &Field<'_>, fields: &Object<'_>) -> Meaning {
        use Meaning::{ByResolution, Dimension, None as Nothing};

        let has = |name: &str| fields.get(name).is_some_and(|raw| raw.get() != "null");
        let makes_images = self.makes_images();
        let by_audio = matches!(self.mode.as_str(), "audio_transcription" | "realtime");
        if let Some(hours) = field.hours {
            return match (field.base, hours) {
                ("cache_creation_input_token_cost", 1) => Dimension(CACHE_WRITE_1H),
                ("cache_creation_input_token_cost", _) => Dimension(CACHE_WRITE_12H),
                _ => Nothing("only cache writes have a lifetime"),
            };
        }
        match field.base {
            "input_cost_per_image" if makes_images => {
                if has("output_cost_per_image") || has("output_cost_per_image_token") {
                    Dimension("input_images")
                } else {
                    Dimension("output_images")
                }
            }
            "input_cost_per_image" => Dimension("input_images"),
            "input_cost_per_pixel" | "output_cost_per_pixel"
                if makes_images && has("input_cost_per_image") && has("input_cost_per_pixel") =>
            {
                Nothing("the price of an image stands beside it and counts first")
            }
            "input_cost_per_pixel" if makes_images => Dimension("output_pixels"),
            "input_cost_per_pixel" => Dimension("input_pixels"),
            // A clip of music is an answer, not a picture.
            "output_cost_per_image" if self.mode == "audio_speech" => Dimension("requests"),
            "output_cost_per_image" => Dimension("output_images"),
            // Some tell the price of a second twice, some the one that they mean beside a zero.
            "output_cost_per_second" | "input_cost_per_second" if by_audio => {
                Dimension("audio_seconds")
            }
            "output_cost_per_second" => match self.mode.as_str() {
                "video_generation" => Dimension("video_seconds"),
                "audio_speech" => Dimension("output_audio_seconds"),
                _ => Dimension("output_seconds"),
            },
            "input_cost_per_second" => Dimension("input_seconds"),
            "input_cost_per_token_cache_hit" => Dimension(CACHE_READ),
            "input_dbu_cost_per_token" | "output_dbu_cost_per_token" => {
                Nothing("in units of the provider; the price in dollars stands beside it")
            }
            // It depends on the length of single intervals, which no usage tells: the dearest.
            "input_cost_per_video_per_second_above_8s_interval"
            | "input_cost_per_video_per_second_above_15s_interval" => {
                Dimension("input_video_seconds")
            }
            base => {
                if let Some((_, dimension)) = BASES.iter().find(|(name, _)| *name == base) {
                    return Dimension(dimension);
                }
                if let Some(resolution) = base.strip_prefix("output_cost_per_second_") {
                    ByResolution("video_seconds", resolution.to_owned())
                } else if let Some(resolution) = base.strip_prefix("output_cost_per_image_") {
                    ByResolution("output_images", resolution.to_owned())
                } else if let Some((known, _)) = base.split_once("_above_")
                    && BASES.iter().any(|(name, _)| *name == known)
                {
                    Meaning::Unreadable("a border that can't be read")
                } else {
                    Nothing("no dimension is known for this field")
                }
            }
        }
    }

    fn read_tiers(&mut self, raw: &RawValue, collector: &mut Collector) {
        const FIELD: &str = "tiered_pricing";
        let items: Option<Vec<Object<'_>>> = json::array(raw)
            .filter(|items| !items.is_empty() && items.len() <= MAX_ITEMS)
            .and_then(|items| items.into_iter().map(Object::from_raw).collect());
        let Some(items) = items else {
            self.fault(FIELD, format!("not a list of 1 to {MAX_ITEMS} tiers"));
            return;
        };
        let results = items.iter().any(|item| item.get("max_results_range").is_some());
        let range = if results { "max_results_range" } else { "range" };
        let (mut tiers, mut ranges) = (Vec::new(), Vec::new());
        for item in &items {
            let ends = item.get(range).and_then(json::array).and_then(|range| {
                let [start, end] = range.as_slice() else { return None };
                let whole =
                    |raw: &RawValue| raw.get().strip_suffix(".0").unwrap_or(raw.get()).parse().ok();
                Some((whole(start)?, whole(end)))
            });
            let Some((start, end)) = ends else {
                self.fault(FIELD, format!("a tier without a {range}"));
                return;
            };
            let mut prices = BTreeMap::new();
            for (name, raw) in item.0.iter().filter(|(name, _)| name != range) {
                let field = format!("{FIELD}/{name}");
                let known = BASES.iter().find(|(base, _)| base == name).map(|(_, d)| *d);
                let Some(dimension) = known else {
                    collector.omit(self.key, Some(&field), "not known in a tier");
                    continue;
                };
                let Some(price) = self.price(&field, raw, collector) else { return };
                if results && dimension == "queries" || !results && TIERED.contains(&dimension) {
                    prices.insert(dimension, price);
                } else {
                    self.unused.push((field, dimension, price, "not known in a tier"));
                }
            }
            tiers.push(Tier { start, prices });
            ranges.push((start, end));
        }
        tiers.sort_by_key(|tier| tier.start);
        ranges.sort_unstable();
        if !results {
            // Where a range begins behind the end of the one before, the border is that end.
            for (tier, (_, end)) in tiers.iter_mut().skip(1).zip(&ranges) {
                tier.start = end.map_or(tier.start, |end| tier.start.min(end));
            }
        }
        if ranges.iter().any(|(start, end)| end.is_some_and(|end| end <= *start)) {
            self.fault(FIELD, "a range ends before it begins");
            return;
        }
        // Whether both ends are in a range or one of them, the next one begins where it ends.
        let meet = |pair: &[(u64, Option<u64>)]| {
            pair[0].1.is_some_and(|end| (end..=end.saturating_add(1)).contains(&pair[1].0))
        };
        if ranges[0].0 > 1 || !ranges.windows(2).all(meet) {
            self.fault(FIELD, "the ranges leave a gap, or overlap");
            return;
        }
        if results {
            self.read_tiers_of_results(&tiers);
        } else if tiers.iter().all(|tier| tier.prices.contains_key(INPUT)) {
            self.tiers = tiers;
        } else {
            self.fault(FIELD, "a tier without an input price");
        }
    }

    /// A query's price by how many results were asked for, which costs nothing by itself.
    fn read_tiers_of_results(&mut self, tiers: &[Tier]) {
        // Both ends of a range are in it: from the 26th result on is over 25.
        let borders: Vec<u64> =
            tiers[1..].iter().map(|tier| tier.start.saturating_sub(1)).collect();
        let axes = [Axis::thresholds("results", &borders, false)];
        match grid::rows("queries", &axes, |place| tiers[place[0]].prices.get("queries").copied()) {
            Ok(rows) if !rows.is_empty() => {
                self.rows.extend(rows);
                self.rows.push(row("results", Price::ZERO, None));
            }
            Ok(_) => self.fault("tiered_pricing", "has no price of a query"),
            Err(error) => self.fault("tiered_pricing", error),
        }
    }

    fn read_off_peak(&mut self, raw: &RawValue, collector: &mut Collector) {
        const FIELD: &str = "off_peak_pricing";
        let Some(block) = Object::from_raw(raw) else {
            self.fault(FIELD, "not an object");
            return;
        };
        let windows = off_peak_windows(&block);
        let names = ["hours_utc", "windows", "weekday_timezone"];
        for (name, raw) in block.0.iter().filter(|(name, _)| !names.contains(&name.as_str())) {
            let field = format!("{FIELD}/{name}");
            let known = BASES.iter().find(|(base, _)| base == name).map(|(_, d)| *d);
            let Some(dimension) = known else {
                collector.omit(self.key, Some(&field), "not known off peak");
                continue;
            };
            let Some(price) = self.price(&field, raw, collector) else { continue };
            match &windows {
                Err(reason) => self.unused.push((field, dimension, price, *reason)),
                Ok(_) if TIERED.contains(&dimension) => {
                    self.off_peak.insert(dimension, price);
                }
                Ok(_) => self.unused.push((field, dimension, price, "not known off peak")),
            }
        }
        if let Ok(windows) = windows {
            self.off_peak_windows = windows;
        }
    }

    fn read_specific(&mut self, raw: &RawValue, collector: &mut Collector) {
        const FIELD: &str = "provider_specific_entry";
        let Some(entry) = Object::from_raw(raw) else {
            self.fault(FIELD, "not an object");
            return;
        };
        for (name, raw) in &entry.0 {
            let field = format!("{FIELD}/{name}");
            if name == "minimax_free_input_images" {
                let reason = "some free units of each request: every image has its price";
                collector.omit(self.key, Some(&field), reason);
            } else if name == "fast" {
                self.read_factor("speed", name, &field, raw, collector);
            } else if name.len() == 2 {
                self.read_factor("inference_geo", name, &field, raw, collector);
            } else {
                collector.omit(self.key, Some(&field), "not a price");
            }
        }
    }

    fn read_factor(
        &mut self,
        parameter: &str,
        value: &str,
        field: &str,
        raw: &RawValue,
        collector: &mut Collector,
    ) {
        if !is_name(parameter) || !is_parameter_value(value) {
            collector.omit(self.key, Some(field), "not a parameter with a value");
            return;
        }
        let Some(price) = self.price(field, raw, collector) else { return };
        let new = Factor {
            parameter: parameter.to_owned(),
            value: value.to_owned(),
            factor: price,
            field: field.to_owned(),
        };
        let mut factors = self.factors.iter_mut();
        let Some(known) =
            factors.find(|known| known.parameter == parameter && known.value == value)
        else {
            self.factors.push(new);
            return;
        };
        let (used, unused) = if price > known.factor {
            let old = std::mem::replace(known, new);
            (field.to_owned(), old.field)
        } else {
            (known.field.clone(), new.field)
        };
        let reason = format!("{used} is the factor of the same, and no smaller");
        collector.omit(self.key, Some(&unused), reason);
    }

    fn read_search(&mut self, raw: &RawValue, collector: &mut Collector) {
        const FIELD: &str = "search_context_cost_per_query";
        let Some(sizes) = Object::from_raw(raw) else {
            if let Some(price) = self.price(FIELD, raw, collector) {
                self.rows.push(row("web_searches", price, None));
            }
            return;
        };
        let mut prices = Vec::new();
        for (name, raw) in &sizes.0 {
            let field = format!("{FIELD}/{name}");
            let Some(size) = name.strip_prefix("search_context_size_") else {
                collector.omit(self.key, Some(&field), "not a size of a search's context");
                continue;
            };
            let Some(price) = self.price(&field, raw, collector) else { continue };
            prices.push((size.to_owned(), price));
        }
        let Some(dearest) = prices.iter().map(|(_, price)| *price).max() else {
            collector.omit(self.key, Some(FIELD), "has no price");
            return;
        };
        let by_size = prices.iter().any(|(_, price)| *price != dearest);
        let fee = by_size && self.provider == "perplexity";
        let dimension = if fee { "requests" } else { "web_searches" };
        let axis = Axis::parameter("search_context_size", prices.iter().map(|(s, _)| s.clone()));
        let price =
            |place: &[usize]| Some(place[0].checked_sub(1).map_or(dearest, |n: usize| prices[n].1));
        match grid::rows(dimension, &[axis], price) {
            Ok(rows) => self.rows.extend(rows),
            Err(error) => self.fault(FIELD, error),
        }
    }

    fn read_guardrails(&mut self, raw: &RawValue, collector: &mut Collector) {
        const FIELD: &str = "guardrail_cost_per_unit";
        let units = Object::from_raw(raw).filter(|units| units.0.len() <= MAX_ITEMS);
        let Some(units) = units else {
            self.fault(FIELD, "not an object of units");
            return;
        };
        for (name, raw) in &units.0 {
            let field = format!("{FIELD}/{name}");
            let mut dimension = String::new();
            for c in name.chars() {
                if c.is_ascii_uppercase() {
                    dimension.push('_');
                }
                dimension.push(c.to_ascii_lowercase());
            }
            if !is_name(&dimension) {
                collector.omit(self.key, Some(&field), "not a name of a dimension");
            } else if let Some(price) = self.price(&field, raw, collector) {
                self.rows.push(row(&dimension, price, None));
            }
        }
    }

    /// Takes away prices that others stand in for.
    fn omit_replaced(&mut self, collector: &mut Collector) {
        if !self.tiers.is_empty() {
            for dimension in TIERED {
                // The plain output price is that of tiers without one.
                let in_each_tier =
                    || self.tiers.iter().all(|tier| tier.prices.contains_key(dimension));
                if dimension == OUTPUT && !in_each_tier() {
                    continue;
                }
                let places = self.prices.remove(dimension).unwrap_or_default();
                let reason = "tiered_pricing stands in for the entry's own price";
                if places.contains_key(&(None, None)) {
                    collector.omit(self.key, Some(dimension), reason);
                }
                self.unused(dimension, places, reason);
            }
            let places = self.prices.remove(EXPLICIT_CACHE_READ).unwrap_or_default();
            for price in places.into_values() {
                let field = "explicit_cache_read_input_token_cost".to_owned();
                let reason = "tiered_pricing stands in for it, without such a price";
                self.unused.push((field, CACHE_READ, price, reason));
            }
        }
        let by_resolution = self.by_resolution.keys().map(|dimension| (*dimension, BY_RESOLUTION));
        let explicit = (EXPLICIT_CACHE_READ, "explicit caching has one price for all classes");
        let plain_only: Vec<_> = by_resolution.chain([explicit]).collect();
        for (dimension, reason) in plain_only {
            let mut places = self.prices.remove(dimension).unwrap_or_default();
            if let Some(plain) = places.remove(&(None, None)) {
                self.prices.insert(dimension, BTreeMap::from([((None, None), plain)]));
            }
            self.unused(dimension, places, reason);
        }
    }

    /// Notes prices of classes and tiers that are not used.
    fn unused(
        &mut self,
        dimension: &'static str,
        places: BTreeMap<Place, Price>,
        reason: &'static str,
    ) {
        for (place, price) in places.into_iter().filter(|(place, _)| *place != (None, None)) {
            let field = self.fields.remove(&(dimension, place)).unwrap_or_default();
            self.unused.push((field, dimension, price, reason));
        }
    }

    /// Lists what is not used; where a cheaper price would stand in for it, that is a fault.
    fn omit_unused(&mut self, collector: &mut Collector) {
        let parents = Parents::standard();
        for (field, dimension, price, reason) in std::mem::take(&mut self.unused) {
            match parents.find(dimension, |name| self.lowest(name)) {
                Some(lowest) if lowest < price => self.fault(&field, reason),
                _ => collector.omit(self.key, Some(&field), reason),
            }
        }
    }

    /// The lowest price of a dimension, wherever.
    fn lowest(&self, dimension: &str) -> Option<Price> {
        let own = self.prices.get(dimension).into_iter().flat_map(BTreeMap::values);
        let tiers = self.tiers.iter().filter_map(|tier| tier.prices.get(dimension));
        let by_resolution = self.by_resolution.get(dimension).into_iter().flatten();
        let off_peak = self.off_peak.get(dimension);
        own.chain(tiers).chain(by_resolution.map(|(_, price)| price)).chain(off_peak).min().copied()
    }

    /// What follows from the prices that are there.
    fn complete(&mut self, fields: &Object<'_>, collector: &mut Collector) {
        for (part, whole) in [
            (REASONING, OUTPUT),
            ("input_audio_tokens", INPUT),
            ("input_image_tokens", INPUT),
            ("input_video_tokens", INPUT),
        ] {
            let price = self.plain(part, None);
            let plain = price.is_some() && self.prices[part].len() == 1;
            let varies = self.prices.get(whole).is_some_and(|places| places.len() > 1);
            if plain && varies && price == self.plain(whole, None) {
                self.prices.remove(part);
                let reason = format!("costs what {whole} cost, so it does in every tier and class");
                collector.note(self.key, Some(part), reason);
            }
        }
        // Fireworks' price list has cached input of its text models at half the price unless it
        // says otherwise.
        if fields.text("litellm_provider").as_deref() == Some("fireworks_ai")
            && !self.prices.contains_key(CACHE_READ)
            && let Some(input) = self.plain(INPUT, None)
            && let Ok(half) = input.times(Price::HALF)
        {
            let half = collector.price(self.key, "cache_read_input_token_cost", half);
            self.prices.insert(CACHE_READ, BTreeMap::from([((None, None), half)]));
        }
        // A picture model without a price of text asks the same for all that it puts out.
        if !self.prices.contains_key(OUTPUT)
            && self.tiers.is_empty()
            && let Some(images) = self.prices.get("output_image_tokens")
        {
            self.prices.insert(OUTPUT, images.clone());
        }
        for (modality, cached) in [
            ("input_audio_tokens", ["cache_read_audio_tokens", "cache_write_audio_tokens"]),
            ("input_image_tokens", ["cache_read_image_tokens", "cache_write_image_tokens"]),
            ("input_video_tokens", ["cache_read_video_tokens", "cache_write_video_tokens"]),
        ] {
            for (cached, text) in cached.into_iter().zip([CACHE_READ, CACHE_WRITE]) {
                let full = self.plain(modality, None);
                let is_dearer = full
                    > self
                        .plain(INPUT, None)
                        .max(self.plain(text, None).filter(|_| text == CACHE_WRITE));
                if is_dearer && self.prices.contains_key(text) && !self.prices.contains_key(cached)
                {
                    let prices = self.prices[modality].clone();
                    self.prices.insert(cached, prices);
                    let reason = "dearer than text and without a price from the cache: costs the \
                                  full price there";
                    collector.note(self.key, Some(cached), reason);
                }
            }
        }
        let by_query = fields.get("web_search_billing_unit").is_some();
        self.is_grounded_by_prompt = self.is_gemini() && !by_query;
    }

    fn plain(&self, dimension: &str, above: Option<u64>) -> Option<Price> {
        self.prices.get(dimension)?.get(&(above, None)).copied()
    }

    /// All rows.
    fn rows(&mut self, collector: &mut Collector) -> Vec<CostRow> {
        let grid = Grid::of(self);
        let parents = Parents::standard();
        let mut rows = self.rows.clone();
        let dimensions: BTreeSet<&str> = self
            .prices
            .keys()
            .chain(self.tiers.iter().flat_map(|tier| tier.prices.keys()))
            .chain(self.off_peak.keys())
            .copied()
            .filter(|dimension| *dimension != EXPLICIT_CACHE_READ)
            .filter(|dimension| !self.by_resolution.contains_key(dimension))
            .collect();
        let mut faults = Vec::new();
        for dimension in dimensions {
            let (mut rounded, mut too_much) = (false, None);
            let price = |place: &[usize]| {
                let at = grid.at(place);
                let price = parents.find(dimension, |name| self.rate(name, &at))?;
                if !(dimension.ends_with("_tokens") || dimension.ends_with("_characters")) {
                    return Some(price);
                }
                at.factors.iter().try_fold(price, |price, factor| {
                    let read = price.times(*factor).map_err(|error| too_much = Some(error)).ok()?;
                    rounded |= read.rounded;
                    Some(read.price)
                })
            };
            match grid::rows(dimension, &grid.axes, price) {
                Ok(more) => rows.extend(more),
                Err(error) => faults.push((dimension.to_owned(), error.to_string())),
            }
            if let Some(error) = too_much {
                faults.push((dimension.to_owned(), error.to_string()));
            }
            if rounded {
                collector.note(self.key, Some(dimension), super::ROUNDED);
            }
        }
        if self.is_grounded_by_prompt {
            by_grounded_prompt(&mut rows);
        }
        if self.provider == "perplexity" && rows.iter().any(|row| row.dimension == "requests") {
            // What a request costs is all: its searches, citations and reasoning are told, not billed.
            for dimension in ["web_searches", "output_citation_tokens", REASONING] {
                if rows.iter().all(|row| row.dimension != dimension) {
                    rows.push(row(dimension, Price::ZERO, None));
                }
            }
        }
        for (dimension, prices) in &self.by_resolution {
            let axis = Axis::parameter("resolution", prices.iter().map(|(value, _)| value.clone()));
            // Without the parameter the field without a resolution counts, else the dearest.
            let plain = self.plain(dimension, None);
            let other = plain.or_else(|| prices.iter().map(|(_, price)| *price).max());
            let price =
                |place: &[usize]| place[0].checked_sub(1).map_or(other, |n| Some(prices[n].1));
            match grid::rows(dimension, &[axis], price) {
                Ok(more) => rows.extend(more),
                Err(error) => faults.push(((*dimension).to_owned(), error.to_string())),
            }
        }
        self.faults.append(&mut faults);
        rows
    }

    /// What a unit costs somewhere, before multipliers; `None` where it has no price of its own.
    fn rate(&self, dimension: &str, at: &At) -> Option<Price> {
        if at.off_peak
            && let Some(price) = self.off_peak.get(dimension)
        {
            return Some(*price);
        }
        if at.explicit_cache
            && dimension == CACHE_READ
            && let Some(price) = self.plain(EXPLICIT_CACHE_READ, None)
        {
            return Some(price);
        }
        if let Some(first) = self.tiers.first()
            && TIERED.contains(&dimension)
        {
            let above = |border| self.tiers.iter().rev().find(|tier| tier.start <= border);
            let tier = at.above.and_then(above).unwrap_or(first);
            return match tier.prices.get(dimension) {
                Some(price) => Some(*price),
                None if dimension == OUTPUT => self.plain(OUTPUT, None),
                None => None,
            };
        }
        let of_class = |above: Option<u64>| {
            let on_route =
                || at.decisions.then(|| self.class_price(dimension, above, Some(DECISIONS)));
            self.class_price(dimension, above, at.suffix).or_else(|| on_route().flatten())
        };
        let own = at.borders().rev().find_map(of_class);
        if at.suffix == Some(BATCHES) && own.is_none() && self.has_batch_price(dimension) {
            return None;
        }
        if dimension == REASONING
            && at.suffix.is_some()
            && self.class_price(REASONING, None, at.suffix).is_none()
            && self.class_price(OUTPUT, None, at.suffix).is_some()
        {
            return None;
        }
        let price = |above| of_class(above).or_else(|| self.plain(dimension, above));
        let price = at.borders().rev().find_map(price)?;
        // What has no price above a border is not cheaper there than below it.
        Some(own.map_or(price, |own| own.max(price)))
    }

    fn class_price(
        &self,
        dimension: &str,
        above: Option<u64>,
        suffix: Option<&'static str>,
    ) -> Option<Price> {
        suffix?;
        self.prices.get(dimension)?.get(&(above, suffix)).copied()
    }

    /// Whether it is Google's own model: both providers also offer those of others, who ask
    /// otherwise.
    fn is_gemini(&self) -> bool {
        matches!(self.provider, "gemini" | "vertex_ai") && self.key.contains("gemini")
    }

    /// Whether cached input and thinking in batches have a price to count as, that of input and
    /// output there. All else without a batch price costs the standard price.
    fn has_batch_price(&self, dimension: &str) -> bool {
        let whole = match dimension {
            // With Google the price of cached input takes precedence over that of batches.
            CACHE_READ if self.is_gemini() => return false,
            CACHE_READ => INPUT,
            REASONING => OUTPUT,
            _ => return false,
        };
        self.class_price(whole, None, Some(BATCHES)).is_some()
    }
}

/// The parameter and value under which an uplift counts, by what its field is called before and
/// behind `_uplift_multiplier`.
fn uplift<'a>(what: &'a str, value: &'a str) -> (&'a str, &'a str) {
    match (what, value) {
        ("regional_endpoint", "") => ("endpoint", "regional"),
        // OpenAI's hosts of regions, and the one for authorities.
        ("regional_processing", region) => ("data_residency", region),
        ("fedramp", "") => ("data_residency", what),
        (_, "") => (what, "yes"),
        _ => (what, value),
    }
}

/// What a field prices.
enum Meaning {
    Dimension(&'static str),
    /// A dimension at a resolution.
    ByResolution(&'static str, String),
    /// Nothing, and why.
    None(&'static str),
    /// Something that can't be read, and what.
    Unreadable(&'static str),
}

/// What the prices of an entry depend on.
struct Grid {
    axes: Vec<Axis>,
    borders: Vec<u64>,
    suffixes: Vec<&'static str>,
    /// By axis of a multiplier its values.
    factors: Vec<Vec<Price>>,
}

/// A place in the grid.
struct At {
    /// The borders that the prompt is over, ascending.
    over: Vec<u64>,
    above: Option<u64>,
    suffix: Option<&'static str>,
    decisions: bool,
    off_peak: bool,
    explicit_cache: bool,
    factors: Vec<Price>,
}

impl At {
    /// None, and the borders that the prompt is over, ascending.
    fn borders(&self) -> impl DoubleEndedIterator<Item = Option<u64>> {
        std::iter::once(None).chain(self.over.iter().copied().map(Some))
    }
}

impl Grid {
    fn of(entry: &Entry<'_>) -> Self {
        let places = || entry.prices.values().flat_map(BTreeMap::keys);
        let over = places().filter_map(|(above, _)| *above);
        // The first tier holds for the shortest prompts.
        let tiers = entry.tiers.iter().skip(1).map(|tier| tier.start);
        let borders = grid::ascending(over.chain(tiers));
        let mut suffixes = Vec::new();
        let mut classes = Vec::new();
        for (suffix, names) in CLASSES {
            if places().any(|(_, found)| *found == Some(*suffix)) {
                for name in *names {
                    suffixes.push(*suffix);
                    classes.push((*name).to_owned());
                }
            }
        }
        let decisions = places().any(|(_, found)| *found == Some(DECISIONS));
        let explicit = entry.prices.contains_key(EXPLICIT_CACHE_READ);
        let one = |value: &str, there: bool| there.then(|| value.to_owned());
        let mut axes = vec![
            Axis::tiers(&borders, entry.provider == "xai"),
            Axis::parameter("service_class", classes),
            Axis::parameter("route", one(DECISIONS, decisions)),
            Axis::exclusive(entry.off_peak_windows.iter().cloned()),
            Axis::parameter("cache_type", one("ephemeral", explicit)),
        ];
        let mut factors = Vec::new();
        let known = ["inference_geo", "speed", "data_residency", "endpoint"];
        let others: BTreeSet<&str> =
            entry.factors.iter().map(|factor| factor.parameter.as_str()).collect();
        let others = others.into_iter().filter(|name| !known.contains(name));
        for parameter in known.into_iter().chain(others) {
            let of_it = || entry.factors.iter().filter(|factor| factor.parameter == parameter);
            axes.push(Axis::parameter(parameter, of_it().map(|factor| factor.value.clone())));
            factors.push(of_it().map(|factor| factor.factor).collect());
        }
        Self { axes, borders, suffixes, factors }
    }

    fn at(&self, place: &[usize]) -> At {
        let [tier, class, route, window, cache, factors @ ..] = place else {
            unreachable!("a place has a value on every axis")
        };
        At {
            over: self.borders[..*tier].to_vec(),
            above: tier.checked_sub(1).map(|n| self.borders[n]),
            suffix: class.checked_sub(1).map(|n| self.suffixes[n]),
            decisions: *route > 0,
            off_peak: *window > 0,
            explicit_cache: *cache > 0,
            factors: factors
                .iter()
                .zip(&self.factors)
                .filter_map(|(value, factors)| factors.get(value.checked_sub(1)?))
                .copied()
                .collect(),
        }
    }
}

/// Minutes in a day.
const DAY: usize = 1_440;
/// As conditions name them.
const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// The times at which a block holds: `hours_utc` on every day, and `windows` on their weekdays,
/// read on the calendar of `weekday_timezone`. As windows of UTC days that exclude each other.
fn off_peak_windows(block: &Object<'_>) -> Result<Vec<When>, &'static str> {
    let ahead = match block.text("weekday_timezone").as_deref() {
        None | Some("UTC") => 0,
        // No summer time since 1991.
        Some("Asia/Shanghai") => 8 * 60,
        Some(_) => return Err("weekdays in a time zone that is not known here"),
    };
    let mut holds = vec![[false; DAY]; 7];
    if let Some(raw) = block.get("hours_utc") {
        mark(&mut holds, &hours(raw)?, None, ahead);
    }
    let rules = block.get("windows").map(|raw| json::array(raw).ok_or("windows are a list"));
    for rule in rules.transpose()?.unwrap_or_default() {
        let rule = Object::from_raw(rule).ok_or("a window is no object")?;
        let hours = hours(rule.get("hours_utc").ok_or("a window without hours")?)?;
        let days = rule.get("weekdays").map(weekdays).transpose()?;
        mark(&mut holds, &hours, days, ahead);
    }

    // By interval the weekdays that have it.
    let mut intervals: BTreeMap<(usize, usize), Vec<&str>> = BTreeMap::new();
    for (day, name) in holds.iter().zip(WEEKDAYS) {
        let mut minute = 0;
        while minute < DAY {
            let length = day[minute..].iter().take_while(|holds| **holds).count();
            if length > 0 {
                intervals.entry((minute, minute + length)).or_default().push(name);
            }
            minute += length.max(1);
        }
    }
    let clock = |minute: usize| format!("{:02}:{:02}", minute % DAY / 60, minute % 60);
    let windows: Vec<When> = intervals
        .into_iter()
        .map(|((from, until), days)| {
            let mut when = When::new();
            if (from, until) != (0, DAY) {
                let window = json!({"from": clock(from), "until": clock(until)});
                when.push(("time_of_day".to_owned(), window));
            }
            if days.len() < WEEKDAYS.len() {
                when.push(("weekdays".to_owned(), json!(days)));
            }
            when
        })
        .collect();
    match windows.as_slice() {
        [] => Err("it holds at no time"),
        [always] if always.is_empty() => Err("it holds at all times"),
        _ => Ok(windows),
    }
}

/// Marks the minutes of UTC weekdays that are in the hours, and on the weekdays where those are
/// read that many minutes ahead of UTC.
fn mark(
    holds: &mut [[bool; DAY]],
    hours: &[(usize, usize)],
    days: Option<[bool; 7]>,
    ahead: usize,
) {
    for (n, day) in holds.iter_mut().enumerate() {
        for (minute, holds) in day.iter_mut().enumerate() {
            let there = (n * DAY + minute + ahead) / DAY % 7;
            *holds |= days.is_none_or(|days| days[there])
                && hours.iter().any(|(from, until)| {
                    if from < until {
                        (from..until).contains(&&minute)
                    } else {
                        minute >= *from || minute < *until
                    }
                });
        }
    }
}

/// `HH:MM-HH:MM`, or a list of them; over midnight, or the whole day where both are the same.
fn hours(raw: &RawValue) -> Result<Vec<(usize, usize)>, &'static str> {
    const WRONG: &str = "hours are written as \"HH:MM-HH:MM\"";
    let texts: Vec<String> = match json::text(raw) {
        Some(text) => vec![text],
        None => json::array(raw)
            .filter(|items| items.len() <= MAX_ITEMS)
            .and_then(|items| items.into_iter().map(json::text).collect())
            .ok_or(WRONG)?,
    };
    let clock = |text: &str| {
        let (hours, minutes) = text.trim().split_once(':')?;
        let (hours, minutes): (usize, usize) = (hours.parse().ok()?, minutes.parse().ok()?);
        (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
    };
    let window = |text: &String| {
        let (from, until) = text.split_once('-')?;
        Some((clock(from)?, clock(until)?))
    };
    texts.iter().map(|text| window(text).ok_or(WRONG)).collect()
}

/// Numbers from 1, Monday, to 7, or names.
fn weekdays(raw: &RawValue) -> Result<[bool; 7], &'static str> {
    const WRONG: &str = "weekdays are numbers from 1 to 7 or names";
    let items = json::array(raw).filter(|items| items.len() <= MAX_ITEMS).ok_or(WRONG)?;
    let mut days = [false; 7];
    for item in items {
        let day = match json::text(item) {
            Some(name) => {
                let name = name.to_ascii_lowercase();
                WEEKDAYS.iter().position(|day| name.starts_with(day))
            }
            None => item.get().parse::<usize>().ok().and_then(|day| day.checked_sub(1)),
        };
        *day.and_then(|day| days.get_mut(day)).ok_or(WRONG)? = true;
    }
    Ok(days)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn suffixes_in_any_order() {
        let check = |name: &str, base: &str, hours: Option<u8>, place: Place| {
            let field = Field::of(name);
            assert_eq!((field.base, field.hours, field.place), (base, hours, place), "{name}");
        };
        let (input, write) = ("input_cost_per_token", "cache_creation_input_token_cost");
        let (tier, flex) = (Some(200_000), Some("flex"));
        check("input_cost_per_token", input, None, (None, None));
        check("input_cost_per_token_above_200k_tokens", input, None, (tier, None));
        check("input_cost_per_token_above_200k_tokens_flex", input, None, (tier, flex));
        check("input_cost_per_token_flex_above_200k_tokens", input, None, (tier, flex));
        check("input_cost_per_token_above_512_tokens", input, None, (Some(512), None));
        check("cache_creation_input_token_cost_above_1hr", write, Some(1), (None, None));
        check("cache_creation_input_token_cost_above_12hr_flex", write, Some(12), (None, flex));
        let all = "cache_creation_input_token_cost_above_12hr_above_200k_tokens_flex";
        check(all, write, Some(12), (tier, flex));
        let all = "cache_creation_input_token_cost_above_200k_tokens_above_12hr_flex";
        check(all, write, Some(12), (tier, flex));
        // What is no suffix stays, and of two only one is taken.
        check("flex", "flex", None, (None, None));
        check("input_above_8s_interval", "input_above_8s_interval", None, (None, None));
        check("input_above_k_tokens", "input_above_k_tokens", None, (None, None));
        check("x_above_99999999999k_tokens", "x_above_99999999999k_tokens", None, (None, None));
        check("x_flex_priority", "x_flex", None, (None, Some("priority")));
    }

    #[test]
    fn times_off_peak() {
        let check = |block: &str, expected: Result<Value, &str>| {
            let raw: Object<'_> = serde_json::from_str(block).unwrap();
            let windows = off_peak_windows(&raw).map(|windows| {
                let when = |when: When| Value::Object(when.into_iter().collect());
                windows.into_iter().map(when).collect::<Value>()
            });
            assert_eq!(windows, expected, "{block}");
        };
        let daily =
            |from: &str, until: &str| json!({"time_of_day": {"from": from, "until": until}});
        check(r#"{"hours_utc": "16:30-18:00"}"#, Ok(json!([daily("16:30", "18:00")])));
        let over_midnight = json!([daily("00:00", "00:30"), daily("16:30", "00:00")]);
        check(r#"{"hours_utc": ["16:30-00:30"]}"#, Ok(over_midnight));
        check(
            r#"{"hours_utc": "01:00-02:00",
                "windows": [{"hours_utc": "00:00-00:00", "weekdays": [6, "Sunday"]}]}"#,
            Ok(json!([
                {"weekdays": ["sat", "sun"]},
                {
                    "time_of_day": {"from": "01:00", "until": "02:00"},
                    "weekdays": ["mon", "tue", "wed", "thu", "fri"]
                }
            ])),
        );
        check(
            r#"{"weekday_timezone": "Asia/Shanghai",
                "windows": [{"hours_utc": "15:00-17:00", "weekdays": [1]}]}"#,
            Ok(json!([
                {"time_of_day": {"from": "15:00", "until": "16:00"}, "weekdays": ["mon"]},
                {"time_of_day": {"from": "16:00", "until": "17:00"}, "weekdays": ["sun"]}
            ])),
        );
        check("{}", Err("it holds at no time"));
        check(r#"{"hours_utc": "00:00-00:00"}"#, Err("it holds at all times"));
        check(r#"{"hours_utc": "24:00-01:00"}"#, Err("hours are written as \"HH:MM-HH:MM\""));
        check(r#"{"hours_utc": "01:00"}"#, Err("hours are written as \"HH:MM-HH:MM\""));
        check(r#"{"windows": [{"weekdays": [1]}]}"#, Err("a window without hours"));
        check(
            r#"{"windows": [{"hours_utc": "01:00-02:00", "weekdays": [0]}]}"#,
            Err("weekdays are numbers from 1 to 7 or names"),
        );
        check(
            r#"{"weekday_timezone": "Europe/Berlin", "hours_utc": "01:00-02:00"}"#,
            Err("weekdays in a time zone that is not known here"),
        );
    }
}

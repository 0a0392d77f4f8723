//! Google: Gemini on the Gemini API and on Vertex AI (`generateContent`, its streams, Live,
//! Interactions, embeddings), Imagen, and the foreign bodies that Vertex passes on.
//!
//! | body | dimension |
//! |---|---|
//! | `promptTokenCount` (includes the cache, excludes tool use), by `promptTokensDetails` | `input_tokens`, `input_image_tokens`, `input_video_tokens`, `input_audio_tokens` |
//! | `cachedContentTokenCount`, by `cacheTokensDetails` | `cache_read_tokens`, `cache_read_image_tokens` ... |
//! | `toolUsePromptTokenCount` (outside the prompt) | `input_tool_tokens`; what `toolUsePromptTokensDetails` says is no text counts as that input |
//! | `candidatesTokenCount`, by `candidatesTokensDetails` | `output_tokens`, `output_image_tokens`, `output_video_tokens`, `output_audio_tokens` |
//! | `thoughtsTokenCount` (outside the candidates) | `output_reasoning_tokens` |
//! | the different queries of `groundingMetadata.webSearchQueries`, `.imageSearchQueries` that are not empty, at least one where there are `web` chunks; in Interactions `grounding_tool_count`, else the queries of `google_search_call` steps | `web_searches` |
//! | grounding in Google Maps: its queries, at least one | `maps_searches` |
//! | grounding in data of one's own (`retrievalQueries`, `retrievedContext` chunks): its queries, at least one | `file_searches` |
//! | `grounding_tool_count` of `retrieval`; of another tool | `file_searches`; `<tool>_calls` |
//! | the images among `predictions`, `generatedImages` | `output_images` |
//! | `embeddings.statistics.token_count` of all predictions | `input_tokens` |
//!
//! Details that sum below their total leave text. `DOCUMENT` tokens are pages seen as images (newer
//! models call them `IMAGE`). Where nothing says what was cached it is text first, then images,
//! video and audio. A count that is not there is zero: the API leaves zeros out; usage without any
//! count says nothing and is refused. `totalTokenCount` is the sum of prompt, tool use, candidates
//! and thoughts; where it shows that the candidates include the thoughts, they do.
//!
//! Searches are billed outside the tokens: newer models by query, older ones by grounded prompt,
//! and what Google Search or Maps alone bring into the prompt is no billed input and not counted,
//! while pages of URL context are. So the parameter `grounding` says what was used (`data`, `maps`, `search`, `url`,
//! joined by `+`): a table prices a grounded prompt as `requests` when `grounding` is `search`.
//! Grounding in one's own data is billed by Vertex AI; looking into files of the Gemini API costs
//! tokens only, and a table that is for that says so with a zero.
//!
//! In a stream `usageMetadata` counts what came so far: the last one holds; grounding is gathered
//! from all parts. Parts with another `responseId` are of another response, and refused.
//! `serviceTier` or `trafficType` becomes `service_class` (`flex`, `priority`,
//! `provisioned_throughput`); that a job is a batch is in its lines ([`super::batch`]). Embeddings
//! are counted in tokens, and in `billableCharacterCount` only where a body has no tokens. Veo's
//! operations don't tell seconds.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::Quantity;
use crate::ratios::is_model_name;

use super::body::{Body, Told};
use super::chat::{Chat, Reasoning, take};
use super::stream::{Events, OneResponse};
use super::tools::Tools;
use super::{
    Provider, ProviderError, ResponseUsage, SERVICE_CLASS, compatible, contradictory, missing,
    mistral,
};

pub(super) const PROVIDER: Provider = Provider {
    name: "google",
    aliases: &["gemini"],
    read,
    read_stream,
    #[cfg(test)]
    cases: tests::cases,
};

/// The same bodies, of models that may have other prices.
pub(super) const VERTEX_AI: Provider =
    Provider { name: "vertex_ai", aliases: &["vertex"], ..PROVIDER };

/// One spelling of the counts.
struct Names {
    prompt: &'static str,
    prompt_by: &'static str,
    cached: &'static str,
    cached_by: &'static str,
    tool_use: &'static str,
    tool_use_by: &'static str,
    output: &'static str,
    output_by: &'static str,
    thoughts: &'static str,
    total: &'static str,
    /// In the entries of the lists by modality.
    tokens: &'static str,
}

/// `generateContent` as JSON.
const GENERATE: Names = Names {
    prompt: "promptTokenCount",
    prompt_by: "promptTokensDetails",
    cached: "cachedContentTokenCount",
    cached_by: "cacheTokensDetails",
    tool_use: "toolUsePromptTokenCount",
    tool_use_by: "toolUsePromptTokensDetails",
    output: "candidatesTokenCount",
    output_by: "candidatesTokensDetails",
    thoughts: "thoughtsTokenCount",
    total: "totalTokenCount",
    tokens: "tokenCount",
};

/// `generateContent` as the Python SDK writes it.
const GENERATE_SDK: Names = Names {
    prompt: "prompt_token_count",
    prompt_by: "prompt_tokens_details",
    cached: "cached_content_token_count",
    cached_by: "cache_tokens_details",
    tool_use: "tool_use_prompt_token_count",
    tool_use_by: "tool_use_prompt_tokens_details",
    output: "candidates_token_count",
    output_by: "candidates_tokens_details",
    thoughts: "thoughts_token_count",
    total: "total_token_count",
    tokens: "token_count",
};

/// The Interactions API.
const INTERACTION: Names = Names {
    prompt: "total_input_tokens",
    prompt_by: "input_tokens_by_modality",
    cached: "total_cached_tokens",
    cached_by: "cached_tokens_by_modality",
    tool_use: "total_tool_use_tokens",
    tool_use_by: "tool_use_tokens_by_modality",
    output: "total_output_tokens",
    output_by: "output_tokens_by_modality",
    thoughts: "total_thought_tokens",
    total: "total_tokens",
    tokens: "tokens",
};

const SPELLINGS: [Names; 7] = [
    Names { output: "responseTokenCount", output_by: "responseTokensDetails", ..GENERATE },
    Names { output: "response_token_count", output_by: "response_tokens_details", ..GENERATE_SDK },
    // `embedContent`.
    Names { prompt_by: "promptTokenDetails", ..GENERATE },
    GENERATE,
    GENERATE_SDK,
    INTERACTION,
    Names {
        prompt: "totalInputTokens",
        prompt_by: "inputTokensByModality",
        cached: "totalCachedTokens",
        cached_by: "cachedTokensByModality",
        tool_use: "totalToolUseTokens",
        tool_use_by: "toolUseTokensByModality",
        output: "totalOutputTokens",
        output_by: "outputTokensByModality",
        thoughts: "totalThoughtTokens",
        total: "totalTokens",
        tokens: "tokens",
    },
];

impl Names {
    /// The spelling of `usage`: the first in which all its counts can be read. The first three
    /// differ from a later one in the output or the details alone.
    ///
    /// One whose counts are all zero is not told where another is; what two tell must be the same.
    fn of(usage: &Body<'_>) -> Result<Option<&'static Self>, ProviderError> {
        let [live, live_sdk, embedding, rest @ ..] = &SPELLINGS;
        let is_there = |field: &str| usage.get(field).is_some();
        let is_told = |field: &str| usage.get(field).and_then(Value::as_u64).is_some_and(|n| n > 0);
        let find = |is: &dyn Fn(&str) -> bool| {
            let of_live = |n: &&Self| is(n.output) || is_there(n.output_by);
            let special = [live, live_sdk].into_iter().find(of_live);
            let special = special.or(Some(embedding).filter(|n| is_there(n.prompt_by)));
            special.or_else(|| rest.iter().find(|n| is(n.prompt) || is(n.output)))
        };
        let Some(names) = find(&is_told).or_else(|| find(&is_there)) else { return Ok(None) };
        names.check_same(usage, usage)?;
        Ok(Some(names))
    }

    /// Checks that what `also` tells, in whichever spellings, is what `usage` tells in this one.
    fn check_same(&self, usage: &Body<'_>, also: &Body<'_>) -> Result<(), ProviderError> {
        for other in &SPELLINGS {
            for (field, other) in self.counts().into_iter().zip(other.counts()) {
                let (count, told) = (usage.count_or_zero(field)?, also.count_or_zero(other)?);
                if told != count && told > 0 {
                    let detail = format!("{other} is {told}, but {field} {count}");
                    return Err(contradictory(also.at(other), detail));
                }
            }
        }
        Ok(())
    }

    fn counts(&self) -> [&'static str; 6] {
        [self.prompt, self.cached, self.tool_use, self.output, self.thoughts, self.total]
    }
}

/// Gemini under the name of `OpenAI`'s Chat Completions leaves out how much it thought: only
/// `total_tokens` has it.
const CHAT: Chat = Chat {
    reasoning: Reasoning::ByTotal,
    rest_of_total: Some("output_reasoning_tokens"),
    ..Chat::OPENAI
};

/// Where `generateContent` and Interactions have their usage.
const USAGE: [&str; 3] = ["usageMetadata", "usage_metadata", "usage"];
/// What streams of interactions and lines of batches put around it.
const WRAPPERS: [&str; 2] = ["response", "interaction"];

fn read(body: &Body<'_>) -> Result<ResponseUsage, ProviderError> {
    // Pages that a model of Mistral's read.
    if body.get("usage_info").is_some() {
        return (mistral::PROVIDER.read)(body);
    }
    if is_foreign(body)? { read_foreign(body) } else { read_parts(std::slice::from_ref(body)) }
}

fn read_stream(events: &Events<'_>) -> Result<ResponseUsage, ProviderError> {
    for event in events.iter() {
        if event.text("type") == Some("message_start") || is_foreign(event)? {
            return compatible::read_stream(&CHAT, events, read_foreign);
        }
    }
    let parts: Vec<_> = events.iter().cloned().collect();
    match read_parts(&parts) {
        Err(ProviderError::UsageMissing { .. }) => Err(events.no_usage()),
        read => read,
    }
}

/// Whether a body is of another maker's API: of models of others on Vertex AI, or of Gemini under
/// `OpenAI`'s API.
fn is_foreign(body: &Body<'_>) -> Result<bool, ProviderError> {
    for path in [["usage"].as_slice(), &["response", "usage"]] {
        if let Some(usage) = body.object_at(path)?
            && (Chat::is_usage(&usage)? || usage.get("input_tokens").is_some())
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn read_foreign(body: &Body<'_>) -> Result<ResponseUsage, ProviderError> {
    let mut read = compatible::read(&CHAT, body)?;
    if let Some(google) = body.object_at(&["usage", "extra_properties", "google"])? {
        let class = service_class(body, &google)?;
        read.set(SERVICE_CLASS, class);
    }
    Ok(read)
}

/// Reads the parts of one response, in order.
fn read_parts(parts: &[Body<'_>]) -> Result<ResponseUsage, ProviderError> {
    let mut counted = None;
    let mut grounding = Grounding::default();
    let mut model = None;
    let mut one = OneResponse::default();
    for whole in parts {
        let inner = whole.first_object(&WRAPPERS)?;
        let part = inner.as_ref().unwrap_or(whole);
        model = model_of(part).or(model);
        grounding.gather(part)?;
        if let Some(usage) = part.first_object(&USAGE)?
            && let Some(names) = Names::of(&usage)?
        {
            for field in USAGE {
                if let Some(also) = part.object(field)? {
                    names.check_same(&usage, &also)?;
                }
            }
            let live = names.output.starts_with("response");
            if live && counted.as_ref().is_some_and(|(_, _, _, live)| *live) {
                return Err(contradictory(
                    usage.pointer().to_owned(),
                    "the turns of a live session are billed apart: charge them one by one",
                ));
            }
            one.check(whole, &usage)?;
            let class = service_class(part, &usage)?;
            counted = Some((usage, names, class, live));
        }
    }
    let mut read = ResponseUsage { model, ..ResponseUsage::default() };
    match counted {
        Some((usage, names, class, _)) => {
            one.check_end()?;
            grounding.count_tools(&usage)?;
            read.set(SERVICE_CLASS, class);
            tokens(&mut read, &usage, names, grounding.brings_billed())?;
        }
        None => without_usage(&mut read, parts)?,
    }
    grounding.add_to(&mut read);
    Ok(read)
}

/// The model's name as it is written, but for what no table could know: that is cut down to the
/// name within its collection (`projects/../models/..`).
fn model_of(body: &Body<'_>) -> Option<String> {
    let name = ["modelVersion", "model_version", "model"].iter().find_map(|f| body.get(f))?;
    let name = name.as_str()?;
    let within = super::within_collection(name).unwrap_or(name);
    [name, within].into_iter().find(|name| is_model_name(name)).map(str::to_owned)
}

fn service_class(body: &Body<'_>, usage: &Body<'_>) -> Result<Told, ProviderError> {
    const STANDARD: [&str; 9] = [
        "standard",
        "STANDARD",
        "default",
        "auto",
        "unspecified",
        "UNSPECIFIED",
        "ON_DEMAND",
        "TRAFFIC_TYPE_UNSPECIFIED",
        "SERVICE_TIER_UNSPECIFIED",
    ];
    let fields = ["serviceTier", "service_tier", "trafficType", "traffic_type"];
    let mut told = Told::Nothing;
    for (holder, field) in fields.map(|f| (usage, f)).into_iter().chain([(body, "service_tier")]) {
        match holder.parameter(field, &STANDARD)? {
            Told::Nothing => {}
            Told::Standard => told = Told::Standard,
            Told::Value(class) => {
                let class = class.to_ascii_lowercase();
                // Nothing behind the prefix would be no value of a parameter.
                let after =
                    |prefix: &str| class.strip_prefix(prefix).filter(|rest| !rest.is_empty());
                let rest = after("on_demand_").or_else(|| after("service_tier_"));
                return Ok(Told::Value(rest.unwrap_or(&class).to_owned()));
            }
        }
    }
    Ok(told)
}

fn tokens(
    read: &mut ResponseUsage,
    usage: &Body<'_>,
    names: &Names,
    brings_billed: bool,
) -> Result<(), ProviderError> {
    let prompt = usage.count_or_zero(names.prompt)?;
    let tool_use = usage.count_or_zero(names.tool_use)?;
    let output = usage.count_or_zero(names.output)?;
    let thoughts = usage.count_or_zero(names.thoughts)?;
    let visible = prompt + tool_use + output;
    let inside = thoughts <= output && usage.count(names.total)? == Some(visible);
    usage.check_total(names.total, if inside { visible } else { visible + thoughts })?;

    let (mut fresh, cached) = prompt_by_modality(usage, names, prompt)?;
    let brought = by_modality(usage, names, names.tool_use_by, tool_use)?;
    let brought = if brings_billed { brought.unwrap_or([tool_use, 0, 0, 0]) } else { [0; 4] };
    let [tool_text, tool_other @ ..] = brought;
    for (fresh, tool) in fresh[1..].iter_mut().zip(tool_other) {
        *fresh = within_limit(usage.at(names.tool_use), *fresh + tool)?;
    }
    let mut output =
        by_modality(usage, names, names.output_by, output)?.unwrap_or([output, 0, 0, 0]);
    if inside {
        output[0] = output[0].checked_sub(thoughts).ok_or_else(|| {
            contradictory(
                usage.at(names.thoughts),
                format!("{} is {thoughts}, more than the output's text", names.thoughts),
            )
        })?;
    }

    for (side, counts) in [("input", fresh), ("cache_read", cached), ("output", output)] {
        for (modality, count) in ["", "image_", "video_", "audio_"].into_iter().zip(counts) {
            read.add(&format!("{side}_{modality}tokens"), count);
        }
    }
    read.add("input_tool_tokens", tool_text);
    read.add("output_reasoning_tokens", thoughts);
    Ok(())
}

/// The prompt by modality: what was not cached, and what was.
fn prompt_by_modality(
    usage: &Body<'_>,
    names: &Names,
    prompt: u64,
) -> Result<([u64; 4], [u64; 4]), ProviderError> {
    let [cached] = usage.parts([names.cached], prompt, names.prompt)?;
    let all = by_modality(usage, names, names.prompt_by, prompt)?;
    let cached_by = by_modality(usage, names, names.cached_by, cached)?;
    let Some(mut rest) = all else {
        return Ok(([prompt - cached, 0, 0, 0], cached_by.unwrap_or([cached, 0, 0, 0])));
    };
    let Some(cached_by) = cached_by else {
        let cached_by = take(&mut rest, cached);
        return Ok((rest, cached_by));
    };
    for ((rest, cached), modality) in rest.iter_mut().zip(cached_by).zip(MODALITIES) {
        *rest = rest.checked_sub(cached).ok_or_else(|| {
            let detail = format!("{cached} tokens of {modality} were cached, of {rest}");
            contradictory(usage.at(names.cached_by), detail)
        })?;
    }
    Ok((rest, cached_by))
}

/// The order of counts by modality.
const MODALITIES: [&str; 4] = ["text", "image", "video", "audio"];

/// `total` divided by the list in `field`, which may leave out text.
fn by_modality(
    usage: &Body<'_>,
    names: &Names,
    field: &str,
    total: u64,
) -> Result<Option<[u64; 4]>, ProviderError> {
    if usage.get(field).is_none() {
        return Ok(None);
    }
    let mut counts = [0; 4];
    let mut sum = 0;
    for entry in usage.list(field)? {
        let count = entry.count_or_zero(names.tokens)?;
        sum += count;
        if sum > total {
            return Err(contradictory(
                entry.at(names.tokens),
                format!("the entries of {field} are {sum}, more than the {total} they are part of"),
            ));
        }
        let modality = entry.get("modality").map(|m| m.as_str().unwrap_or_default());
        let kind = match modality.unwrap_or("text").to_ascii_lowercase().as_str() {
            "text" | "modality_unspecified" => 0,
            "image" | "document" => 1,
            "video" => 2,
            "audio" => 3,
            _ => return Err(contradictory(entry.at("modality"), "the modality is not known")),
        };
        counts[kind] += count;
    }
    counts[0] += total - sum;
    Ok(Some(counts))
}

/// What was looked up outside the model.
#[derive(Default)]
struct Grounding<'a> {
    web: Lookups<'a>,
    maps: Lookups<'a>,
    data: Lookups<'a>,
    url: bool,
    /// Whether code was run: what it brought into the prompt is billed as the pages of URL context are.
    code: bool,
    /// Of the Interactions API, which counts itself.
    counted: Tools,
    /// What it counted, also where that is nothing.
    told: BTreeSet<&'static str>,
}

/// What was looked up in one place.
#[derive(Default)]
struct Lookups<'a> {
    queries: BTreeSet<&'a str>,
    /// Calls by their ids: their places, and whether they tell their queries.
    calls: BTreeMap<&'a str, (u64, bool)>,
    /// The places of calls that tell their queries and no id: of a stream an event has a call's id, and
    /// a later one its queries.
    nameless: BTreeSet<u64>,
    /// The ids of calls that only a result shows.
    results: BTreeSet<&'a str>,
    found: bool,
}

impl Lookups<'_> {
    /// What was found was looked for, also where the queries are not told.
    fn count(&self) -> u64 {
        let is_silent = |call: &&(u64, bool)| !call.1 && !self.nameless.contains(&call.0);
        let silent = self.calls.values().filter(is_silent).count();
        let called = self.queries.len() + silent;
        let lookups = if called == 0 { self.results.len() } else { called };
        u64::try_from(lookups).expect("bodies are limited").max(u64::from(self.found))
    }
}

impl<'a> Grounding<'a> {
    fn gather(&mut self, part: &Body<'a>) -> Result<(), ProviderError> {
        // Of an interaction.
        let steps = ["steps", "outputs"].map(|field| part.get(field).and_then(Value::as_array));
        let streamed = ["step", "content", "delta"].map(|field| part.get(field));
        let index = part.get("index").and_then(Value::as_u64);
        for (place, step) in (0..).zip(steps.into_iter().flatten().flatten()) {
            self.gather_step(step, place);
        }
        for step in streamed.into_iter().flatten() {
            self.gather_step(step, index.unwrap_or_default());
        }
        let mut holders = part.list("candidates")?;
        holders.extend(part.first_object(&["serverContent", "server_content"])?);
        for holder in &holders {
            if let Some(content) = holder.first_object(&["content", "modelTurn", "model_turn"])? {
                let parts = content.get("parts").and_then(Value::as_array).into_iter().flatten();
                self.code |= parts.clone().any(|part| CODE.iter().any(|f| part.get(f).is_some()));
            }
            if let Some(pages) =
                holder.first_object(&["urlContextMetadata", "url_context_metadata"])?
            {
                let pages = first_list(&pages, &["urlMetadata", "url_metadata"])?;
                self.url |= !pages.is_empty();
            }
            let metadata = holder.first_object(&["groundingMetadata", "grounding_metadata"])?;
            let Some(metadata) = metadata else { continue };
            let chunks = first_list(&metadata, &["groundingChunks", "grounding_chunks"])?;
            let has = |kind| chunks.iter().any(|chunk| chunk.get(kind).is_some());
            // Google Maps puts its queries into the same list.
            let maps = has("maps");
            let searches = if maps && !has("web") { &mut self.maps } else { &mut self.web };
            let queries = |fields: &[&str]| -> Vec<&'a str> {
                let lists = fields.iter().filter_map(|field| metadata.get(field)?.as_array());
                let texts = lists.flatten().filter_map(Value::as_str);
                texts.filter(|query| !query.is_empty()).collect()
            };
            searches.queries.extend(queries(&[
                "webSearchQueries",
                "web_search_queries",
                "imageSearchQueries",
                "image_search_queries",
            ]));
            self.data.queries.extend(queries(&["retrievalQueries", "retrieval_queries"]));
            self.web.found |= has("web");
            self.maps.found |= maps;
            self.data.found |= has("retrievedContext") || has("retrieved_context");
        }
        Ok(())
    }

    /// Adds what a step of an interaction looked up, which is so far down in its list.
    fn gather_step(&mut self, step: &'a Value, place: u64) {
        let kind = step.get("type").and_then(Value::as_str).unwrap_or_default();
        let lookups = match kind {
            "google_search_call" | "google_search_result" => &mut self.web,
            "google_maps_call" | "google_maps_result" => &mut self.maps,
            "file_search_call" | "file_search_result" => &mut self.data,
            _ => {
                self.url |= kind.starts_with("url_context");
                self.code |= kind.starts_with("code_execution");
                return;
            }
        };
        let queries = step.pointer("/arguments/queries").and_then(Value::as_array);
        let texts = queries.into_iter().flatten().filter_map(Value::as_str);
        let queries: BTreeSet<_> = texts.filter(|query| !query.is_empty()).collect();
        let id = |field: &str| step.get(field)?.as_str().filter(|id| !id.is_empty());
        if kind.ends_with("_result") {
            lookups.results.extend(id("call_id"));
        } else if let Some(id) = id("id") {
            // A stream tells of a call several times, and not each time what it asked.
            let (_, tells) = lookups.calls.entry(id).or_insert((place, false));
            *tells |= !queries.is_empty();
        } else if !queries.is_empty() {
            lookups.nameless.insert(place);
        }
        lookups.queries.extend(queries);
        lookups.found = true;
    }

    fn count_tools(&mut self, usage: &Body<'_>) -> Result<(), ProviderError> {
        for tool in first_list(usage, &["grounding_tool_count", "groundingToolCount"])? {
            let kind = tool.text("type").unwrap_or_default();
            let dimension = match kind {
                "google_search" => Some(SEARCHES),
                "google_maps" => Some(MAPS),
                "retrieval" | "file_search" => Some(DATA),
                _ => None,
            };
            self.told.extend(dimension);
            self.counted.add(kind, dimension, tool.count_or_zero("count")?, tool.pointer())?;
        }
        Ok(())
    }

    /// Whether what tools brought into the prompt is billed as input: not where all of it is from
    /// Google Search or Maps. Of a response with others, too, it can't be told apart.
    fn brings_billed(&self) -> bool {
        let has = |dimension, lookups: &Lookups<'_>| {
            lookups.count() > 0 || self.counted.dimensions().any(|counted| counted == dimension)
        };
        let is_other = |dimension| dimension != SEARCHES && dimension != MAPS;
        let others = self.url
            || self.code
            || has(DATA, &self.data)
            || self.counted.dimensions().any(is_other);
        others || !(has(SEARCHES, &self.web) || has(MAPS, &self.maps))
    }

    /// What the API counted itself goes before the queries.
    fn add_to(self, read: &mut ResponseUsage) {
        self.counted.add_to(read);
        for (dimension, lookups) in [(SEARCHES, self.web), (MAPS, self.maps), (DATA, self.data)] {
            if !self.told.contains(dimension) {
                read.add(dimension, lookups.count());
            }
        }
        let has = |dimension| read.usage.contains_key(dimension);
        let used = [
            ("data", has(DATA)),
            ("maps", has(MAPS)),
            ("search", has(SEARCHES)),
            ("url", self.url),
        ];
        let used: Vec<_> = used.iter().filter(|(_, used)| *used).map(|(name, _)| *name).collect();
        if !used.is_empty() {
            read.set("grounding", Told::Value(used.join("+")));
        }
    }
}

/// Parts of an answer that show that code was run.
const CODE: [&str; 2] = ["executableCode", "executable_code"];

const SEARCHES: &str = "web_searches";
const MAPS: &str = "maps_searches";
const DATA: &str = "file_searches";

/// Bodies that have no `usageMetadata`, or an empty one.
fn without_usage(read: &mut ResponseUsage, parts: &[Body<'_>]) -> Result<(), ProviderError> {
    let [body] = parts else {
        return Err(missing("no event of the stream has usageMetadata with counts"));
    };
    let images = first_list(body, &["predictions", "generatedImages", "generated_images"])?;
    let mut tokens = None;
    let mut count = 0;
    for image in &images {
        if let Some(statistics) = image.object("embeddings")? {
            if let Some(statistics) = statistics.object("statistics")?
                && let Some(count) = statistics.count("token_count")?
            {
                let sum = tokens.unwrap_or(0) + count;
                tokens = Some(within_limit(statistics.at("token_count"), sum)?);
            }
        } else if ["bytesBase64Encoded", "gcsUri", "mimeType", "image"]
            .iter()
            .any(|field| image.get(field).is_some())
        {
            count += 1;
        }
    }
    let characters = match body.object("metadata")? {
        Some(metadata) => metadata.count("billableCharacterCount")?,
        None => None,
    };
    match (tokens, characters, count) {
        (Some(tokens), ..) => read.add("input_tokens", tokens),
        (None, Some(characters), _) => read.add("input_characters", characters),
        (None, None, 0) if !images.is_empty() => {
            return Err(missing("the response has no image that was let through, and no counts"));
        }
        (None, None, 0) => {
            return Err(body.no_usage(
                "there is no usageMetadata with counts; what is billed by time or by number \
                 (video_seconds ...) is charged as usage",
            ));
        }
        (None, None, count) => read.add("output_images", count),
    }
    Ok(())
}

/// A sum of counts, each of which is within the limit.
fn within_limit(pointer: String, sum: u64) -> Result<u64, ProviderError> {
    match Quantity::from_whole(sum) {
        Some(_) => Ok(sum),
        None => Err(contradictory(pointer, "the sum of the counts has more than 12 digits")),
    }
}

/// The list in the first of several fields that is there.
fn first_list<'a>(body: &Body<'a>, fields: &[&str]) -> Result<Vec<Body<'a>>, ProviderError> {
    match fields.iter().find(|field| body.get(field).is_some()) {
        Some(field) => body.list(field),
        None => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use crate::providers::tests::{Case, Expected, case, fixture};
    use crate::providers::{ProviderError, usage_from_response};

    const GENERATE: &str = "https://ai.google.dev/api/generate-content#UsageMetadata";
    const INTERACTIONS: &str = "https://ai.google.dev/gemini-api/docs/interactions";
    const LIVE: &str = "https://ai.google.dev/api/live";
    const STREAM: &str =
        "https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent";
    const SEARCH: &str = "https://ai.google.dev/gemini-api/docs/google-search";
    const OWN_DATA: &str =
        "https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/ground-with-your-data";
    const BATCH: &str = "https://ai.google.dev/gemini-api/docs/batch-api";
    const INLINE_BATCH: &str = "https://ai.google.dev/api/batch-api";
    const CLAUDE_BATCH: &str =
        "https://cloud.google.com/vertex-ai/generative-ai/docs/partner-models/claude/batch";
    const VERTEX_BATCH: &str =
        "https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/batch-prediction-gemini";
    const MAPS: &str = "https://ai.google.dev/gemini-api/docs/maps-grounding";
    const URL: &str = "https://ai.google.dev/gemini-api/docs/url-context";
    const TIERS: &str = "https://ai.google.dev/gemini-api/docs/priority-inference";
    const TRAFFIC: &str = "https://docs.cloud.google.com/dotnet/docs/reference/\
                           Google.Cloud.AIPlatform.V1/latest/Google.Cloud.AIPlatform.V1.\
                           GenerateContentResponse.Types.UsageMetadata.Types.TrafficType";
    const COMPATIBLE: &str = "https://ai.google.dev/gemini-api/docs/openai";
    const IMAGEN: &str =
        "https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/imagen-api";
    const EMBEDDINGS: &str = "https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/\
         text-embeddings-api";
    const EMBED_CONTENT: &str = "https://ai.google.dev/api/embeddings";
    const MISTRAL: &str =
        "https://cloud.google.com/vertex-ai/generative-ai/docs/partner-models/mistral/mistral-ocr";
    const CLAUDE: &str =
        "https://cloud.google.com/vertex-ai/generative-ai/docs/partner-models/claude/use-claude";

    pub(in crate::providers) fn cases() -> Vec<Case> {
        [
            generate_content(),
            streams(),
            grounding(),
            live_and_interactions(),
            service_classes(),
            other_bodies(),
            refused(),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn generate_content() -> Vec<Case> {
        vec![
            case(
                GENERATE,
                fixture(include_str!("../../../../events/responses/google-gemini.json")),
                Expected::Usage(
                    "gemini-2.5-pro: cache_read_tokens 1024, input_image_tokens 258, \
                     input_tokens 16, output_reasoning_tokens 512, \
                     output_tokens 210, web_searches 2 grounding=search",
                ),
            ),
            case(
                GENERATE,
                json!({
                    "candidates": [{"content": {"parts": [{"text": "a"}], "role": "model"}}],
                    "usageMetadata": {
                        "promptTokenCount": 4, "candidatesTokenCount": 715, "totalTokenCount": 1630,
                        "thoughtsTokenCount": 911,
                        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 4}]
                    },
                    "modelVersion": "gemini-2.5-pro", "responseId": "r"
                }),
                Expected::Usage(
                    "gemini-2.5-pro: input_tokens 4, output_reasoning_tokens 911, output_tokens 715",
                ),
            ),
            // Images, video, sound and a document in the prompt, half of it from the cache.
            case(
                GENERATE,
                json!({"modelVersion": "models/gemini-3-pro", "usageMetadata": {
                    "promptTokenCount": 10_000, "candidatesTokenCount": 50, "totalTokenCount": 10_050,
                    "cachedContentTokenCount": 5_000,
                    "promptTokensDetails": [
                        {"modality": "TEXT", "tokenCount": 1_000},
                        {"modality": "DOCUMENT", "tokenCount": 2_000},
                        {"modality": "IMAGE", "tokenCount": 1_000},
                        {"modality": "VIDEO", "tokenCount": 5_000},
                        {"modality": "AUDIO", "tokenCount": 1_000}
                    ],
                    "cacheTokensDetails": [
                        {"modality": "VIDEO", "tokenCount": 4_100},
                        {"modality": "AUDIO", "tokenCount": 900}
                    ],
                    "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": 50}]
                }}),
                Expected::Usage(
                    "models/gemini-3-pro: cache_read_audio_tokens 900, cache_read_video_tokens 4100, \
                 input_audio_tokens 100, input_image_tokens 3000, input_tokens 1000, \
                 input_video_tokens 900, output_tokens 50",
                ),
            ),
            // What was cached is not divided: text first.
            case(
                GENERATE,
                json!({"usageMetadata": {
                    "promptTokenCount": 100, "cachedContentTokenCount": 70, "totalTokenCount": 100,
                    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 60},
                                            {"modality": "AUDIO", "tokenCount": 40}]
                }}),
                Expected::Usage(
                    "-: cache_read_audio_tokens 10, cache_read_tokens 60, \
                             input_audio_tokens 30",
                ),
            ),
            // A prompt that is not divided, what was cached of it is.
            case(
                GENERATE,
                json!({"usageMetadata": {
                    "promptTokenCount": 100, "cachedContentTokenCount": 70,
                    "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 60}]
                }}),
                Expected::Usage(
                    "-: cache_read_audio_tokens 60, cache_read_tokens 10, input_tokens 30",
                ),
            ),
            // https://ai.google.dev/gemini-api/docs/image-generation: details leave text over.
            case(
                GENERATE,
                json!({"modelVersion": "gemini-2.5-flash-image", "usageMetadata": {
                    "promptTokenCount": 7, "candidatesTokenCount": 1295, "totalTokenCount": 1302,
                    "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}]
                }}),
                Expected::Usage(
                    "gemini-2.5-flash-image: input_tokens 7, output_image_tokens 1290, output_tokens 5",
                ),
            ),
            // Where the total shows it, the candidates include the thoughts.
            case(
                GENERATE,
                json!({"usageMetadata": {
                    "promptTokenCount": 10, "candidatesTokenCount": 30, "thoughtsTokenCount": 25,
                    "totalTokenCount": 40
                }}),
                Expected::Usage("-: input_tokens 10, output_reasoning_tokens 25, output_tokens 5"),
            ),
            // A prompt that was blocked: no candidates.
            case(
                GENERATE,
                json!({"promptFeedback": {"blockReason": "SAFETY"},
                    "usageMetadata": {"promptTokenCount": 8, "totalTokenCount": 8}}),
                Expected::Usage("-: input_tokens 8"),
            ),
            // The Python SDK's spelling.
            case(
                GENERATE,
                json!({"model_version": "gemini-2.5-flash", "usage_metadata": {
                    "prompt_token_count": 20, "cached_content_token_count": 12,
                    "candidates_token_count": 3, "thoughts_token_count": null,
                    "total_token_count": 23, "traffic_type": null,
                    "cache_tokens_details": [{"modality": "TEXT", "token_count": 12}],
                    "prompt_tokens_details": [{"modality": "TEXT", "token_count": 20}]
                }}),
                Expected::Usage(
                    "gemini-2.5-flash: cache_read_tokens 12, input_tokens 8, output_tokens 3",
                ),
            ),
        ]
    }

    fn live_and_interactions() -> Vec<Case> {
        vec![
            case(
                LIVE,
                json!({"serverContent": {"turnComplete": true}, "usageMetadata": {
                    "promptTokenCount": 300, "responseTokenCount": 200, "totalTokenCount": 500,
                    "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 200},
                                            {"modality": "TEXT", "tokenCount": 100}],
                    "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 200}]
                }}),
                Expected::Usage(
                    "-: input_audio_tokens 200, input_tokens 100, output_audio_tokens 200",
                ),
            ),
            case(
                INTERACTIONS,
                json!({
                    "id": "v1_x", "object": "interaction", "status": "completed",
                    "model": "gemini-3-flash-preview", "service_tier": "flex",
                    "usage": {
                        "total_input_tokens": 412, "total_output_tokens": 96,
                        "total_cached_tokens": 12, "total_thought_tokens": 40,
                        "total_tool_use_tokens": 0, "total_tokens": 548,
                        "input_tokens_by_modality": [{"modality": "text", "tokens": 412}],
                        "output_tokens_by_modality": [{"modality": "text", "tokens": 96}],
                        "grounding_tool_count": [{"type": "google_search", "count": 3}]
                    }
                }),
                Expected::Usage(
                    "gemini-3-flash-preview: cache_read_tokens 12, input_tokens 400, \
                 output_reasoning_tokens 40, output_tokens 96, web_searches 3 grounding=search \
                 service_class=flex",
                ),
            ),
            case(
                INTERACTIONS,
                json!({"steps": [{"type": "url_context_call"}, {"type": "model_output"}],
                "usage": {"total_input_tokens": 1, "grounding_tool_count": [
                    {"type": "google_maps", "count": 1}, {"type": "new_tool", "count": 2}
                ]}}),
                Expected::Usage(
                    "-: input_tokens 1, maps_searches 1, new_tool_calls 2 grounding=maps+url",
                ),
            ),
            // Nobody counted the searches: the steps tell them.
            case(
                INTERACTIONS,
                json!({"object": "interaction", "steps": [
                    {"type": "google_search_call", "arguments": {"queries": ["a", "b"]}},
                    {"type": "google_search_result"}
                ], "usage": {
                    "total_input_tokens": 100, "total_output_tokens": 50,
                    "total_tool_use_tokens": 5000, "total_tokens": 5150
                }}),
                Expected::Usage(
                    "-: input_tokens 100, output_tokens 50, web_searches 2 grounding=search",
                ),
            ),
            // Each looked something up, whatever it was.
            case(
                INTERACTIONS,
                json!({"object": "interaction", "steps": [
                    {"type": "google_search_call", "id": "a"},
                    {"type": "google_search_result", "call_id": "a"},
                    {"type": "google_search_call", "id": "b"},
                    {"type": "google_maps_call", "id": "c", "arguments": {"queries": ["q"]}},
                    {"type": "google_maps_result", "call_id": "c"}
                ], "usage": {"total_input_tokens": 100, "total_output_tokens": 50}}),
                Expected::Usage(
                    "-: input_tokens 100, maps_searches 1, output_tokens 50, web_searches 2 \
                     grounding=maps+search",
                ),
            ),
            // Of one the id was trimmed, and not of its result.
            case(
                INTERACTIONS,
                json!({"object": "interaction", "steps": [
                    {"type": "google_search_call", "arguments": {"queries": ["x"]}},
                    {"type": "google_search_result", "call_id": "a"},
                    {"type": "google_search_call", "id": "b"}
                ], "usage": {"total_input_tokens": 100, "total_output_tokens": 50}}),
                Expected::Usage(
                    "-: input_tokens 100, output_tokens 50, web_searches 2 grounding=search",
                ),
            ),
            // A stream has the id at a step's start, and its queries in what follows.
            case(
                INTERACTIONS,
                json!([
                    {"event_type": "step.start", "index": 0,
                     "step": {"type": "google_search_call", "id": "a"}},
                    {"event_type": "step.delta", "index": 0, "delta": {
                        "type": "google_search_call", "arguments": {"queries": ["x", "y"]}
                    }},
                    {"event_type": "step.delta", "index": 0, "delta": {
                        "type": "google_search_call", "id": "a", "arguments": {"queries": ["x"]}
                    }},
                    {"event_type": "step.start", "index": 1,
                     "step": {"type": "google_search_result", "call_id": "a"}},
                    {"event_type": "step.start", "index": 2,
                     "step": {"type": "google_search_call", "id": "b"}},
                    {"event_type": "step.start", "index": 3,
                     "step": {"type": "google_maps_call", "id": "c"}},
                    {"event_type": "step.delta", "index": 3, "delta": {
                        "type": "google_maps_call", "arguments": {"queries": ["z"]}
                    }},
                    {"event_type": "interaction.completed", "interaction": {
                        "id": "v1", "usage": {"total_input_tokens": 100, "total_output_tokens": 50}
                    }}
                ]),
                Expected::Usage(
                    "-: input_tokens 100, maps_searches 1, output_tokens 50, web_searches 3 \
                     grounding=maps+search",
                ),
            ),
            case(
                INTERACTIONS,
                json!({"object": "interaction", "outputs": [
                    {"type": "google_search_result", "call_id": "a"}, {"type": "text"}
                ], "usage": {
                    "total_input_tokens": 100, "total_output_tokens": 50,
                    "total_tool_use_tokens": 5000, "total_tokens": 5150
                }}),
                Expected::Usage(
                    "-: input_tokens 100, output_tokens 50, web_searches 1 grounding=search",
                ),
            ),
        ]
    }

    fn other_bodies() -> Vec<Case> {
        vec![
            case(
                IMAGEN,
                json!({"predictions": [
                    {"mimeType": "image/png", "bytesBase64Encoded": ""},
                    {"raiFilteredReason": "blocked"},
                    {"mimeType": "image/png", "bytesBase64Encoded": ""}
                ]}),
                Expected::Usage("-: output_images 2"),
            ),
            case(
                IMAGEN,
                json!({"predictions": [{"raiFilteredReason": "blocked"}]}),
                Expected::Missing("let through"),
            ),
            case(
                EMBEDDINGS,
                json!({"predictions": [
                {"embeddings": {"statistics": {"truncated": false, "token_count": 6}, "values": []}},
                {"embeddings": {"statistics": {"token_count": 4}, "values": []}}
            ], "metadata": {"billableCharacterCount": 44}}),
                Expected::Usage("-: input_tokens 10"),
            ),
            case(
                EMBEDDINGS,
                json!({"predictions": [{"embeddings": {"values": []}}],
                    "metadata": {"billableCharacterCount": 44}}),
                Expected::Usage("-: input_characters 44"),
            ),
            case(
                EMBED_CONTENT,
                json!({"embedding": {"values": []}, "usageMetadata": {
                    "promptTokenCount": 260,
                    "promptTokenDetails": [{"modality": "IMAGE", "tokenCount": 258}]
                }}),
                Expected::Usage("-: input_image_tokens 258, input_tokens 2"),
            ),
            case(
                CLAUDE,
                json!({"type": "message", "model": "claude-sonnet-4-5", "usage": {
                    "input_tokens": 3, "output_tokens": 4, "cache_read_input_tokens": 5
                }}),
                Expected::Usage(
                    "claude-sonnet-4-5: cache_read_tokens 5, input_tokens 3, output_tokens 4",
                ),
            ),
            case(
                CLAUDE,
                json!({"model": "claude-sonnet-4-5", "usage": {
                    "input_tokens": 3, "output_tokens": 4,
                    "server_tool_use": {"web_search_requests": 3}
                }}),
                Expected::Usage(
                    "claude-sonnet-4-5: input_tokens 3, output_tokens 4, web_searches 3",
                ),
            ),
            case(
                MISTRAL,
                json!({"model": "mistral-ocr-2505", "pages": [{"index": 0, "markdown": ""}],
                       "usage_info": {"pages_processed": 3, "doc_size_bytes": 9}}),
                Expected::Usage("mistral-ocr-2505: pages 3"),
            ),
            case(
                BATCH,
                json!({"response": {
                    "modelVersion": "gemini-2.5-flash", "usageMetadata": {"promptTokenCount": 3}
                }}),
                Expected::Usage("gemini-2.5-flash: input_tokens 3"),
            ),
        ]
    }

    fn streams() -> Vec<Case> {
        vec![
            // Every part counts what came so far; what was found is in any of them.
            case(
                STREAM,
                json!([
                    {"candidates": [{"content": {"parts": [{"text": "a"}]}}],
                     "usageMetadata": {
                        "promptTokenCount": 12, "totalTokenCount": 80, "thoughtsTokenCount": 68,
                        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 12}]
                     }, "modelVersion": "gemini-3-pro-preview", "responseId": "r"},
                    {"candidates": [{"groundingMetadata": {"webSearchQueries": ["a", "b"]}}],
                     "usageMetadata": {
                        "promptTokenCount": 12, "candidatesTokenCount": 20, "totalTokenCount": 100,
                        "thoughtsTokenCount": 68
                     }, "modelVersion": "gemini-3-pro-preview", "responseId": "r"},
                    {"candidates": [{"finishReason": "STOP",
                                     "groundingMetadata": {"webSearchQueries": ["b", "c"]}}],
                     "usageMetadata": {
                        "promptTokenCount": 12, "candidatesTokenCount": 32, "totalTokenCount": 112,
                        "thoughtsTokenCount": 68,
                        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 30}]
                     }}
                ]),
                Expected::Usage(
                    "gemini-3-pro-preview: input_tokens 12, output_image_tokens 30, \
                     output_reasoning_tokens 68, output_tokens 2, web_searches 3 grounding=search",
                ),
            ),
            // Two responses, of which the first would be lost.
            case(
                STREAM,
                json!([
                    {"responseId": "a", "usageMetadata": {"promptTokenCount": 100_000}},
                    {"responseId": "b", "usageMetadata": {"promptTokenCount": 2}}
                ]),
                Expected::Contradictory("/1/responseId"),
            ),
            case(
                BATCH,
                json!([
                    {"key": "a", "response": {"usageMetadata": {"promptTokenCount": 100_000}}},
                    {"key": "b", "response": {"usageMetadata": {"promptTokenCount": 2}}}
                ]),
                Expected::Usage(
                    "-: input_tokens 100000 service_class=batch \
                     & -: input_tokens 2 service_class=batch",
                ),
            ),
            // Inline responses have metadata beside them, which may say more than the key.
            case(
                INLINE_BATCH,
                json!([
                    {"response": {"usageMetadata": {"promptTokenCount": 3}},
                     "metadata": {"key": "a"}},
                    {"error": {"code": 3, "message": "a"}, "metadata": {"key": "b"}},
                    {"response": {"usageMetadata": {"promptTokenCount": 3}}, "metadata": {}}
                ]),
                Expected::Usage(
                    "-: input_tokens 3 service_class=batch & -: input_tokens 3 service_class=batch",
                ),
            ),
            // Anthropic's models at Vertex AI.
            case(
                CLAUDE_BATCH,
                json!({"custom_id": "a", "status": "", "request": {}, "response": {
                    "type": "message", "model": "m", "usage": {
                        "input_tokens": 11, "output_tokens": 36
                    }
                }}),
                Expected::Usage("m: input_tokens 11, output_tokens 36 service_class=batch"),
            ),
            // With Vertex AI what failed has a status and an empty response.
            case(
                VERTEX_BATCH,
                json!([
                    {"status": "Bad Request: a", "request": {}, "response": {}},
                    {"status": "", "request": {},
                     "response": {"usageMetadata": {"promptTokenCount": 2}}}
                ]),
                Expected::Usage("-: input_tokens 2 service_class=batch"),
            ),
            case(
                VERTEX_BATCH,
                json!([{"status": "Bad Request: a", "request": {}, "response": {}}]),
                Expected::Missing("all failed, at no cost"),
            ),
            case(
                VERTEX_BATCH,
                json!({"status": null, "request": {},
                       "response": {"usageMetadata": {"promptTokenCount": 2}}}),
                Expected::Usage("-: input_tokens 2 service_class=batch"),
            ),
            // A name shows it to be of a batch.
            case(
                CLAUDE_BATCH,
                json!({"custom_id": "a", "request": {}, "response": {
                    "type": "message", "model": "m", "usage": {
                        "input_tokens": 11, "output_tokens": 36
                    }
                }}),
                Expected::Usage("m: input_tokens 11, output_tokens 36 service_class=batch"),
            ),
            case(
                VERTEX_BATCH,
                json!({"request": {}, "response": {"usageMetadata": {"promptTokenCount": 2}}}),
                Expected::Missing("no status"),
            ),
            case(
                VERTEX_BATCH,
                json!([
                    {"instance": {"content": "a"}, "status": "", "predictions": [
                        {"embeddings": {"values": [], "statistics": {"token_count": 8}}}
                    ]},
                    {"instance": {"content": "b"}, "status": "Bad Request: a"},
                    {"instance": {"content": "c"}, "status": "Bad Request: a", "predictions": []}
                ]),
                Expected::Usage("-: input_tokens 8 service_class=batch"),
            ),
            // The last part may have no counts.
            case(
                TRAFFIC,
                json!([
                    {"usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 1}},
                    {"usageMetadata": {"trafficType": "ON_DEMAND"}}
                ]),
                Expected::Usage("-: input_tokens 3, output_tokens 1"),
            ),
            case(
                INTERACTIONS,
                json!([
                    {"event_type": "interaction.start", "interaction": {
                        "id": "v1_x", "model": "gemini-3-flash-preview", "status": "in_progress"
                    }},
                    {"event_type": "content.delta", "delta": {"type": "text", "text": "a"}},
                    {"event_type": "interaction.complete", "interaction": {
                        "id": "v1_x", "status": "completed",
                        "usage": {"total_input_tokens": 7, "total_output_tokens": 20,
                                  "total_thought_tokens": 22, "total_tokens": 49}
                    }}
                ]),
                Expected::Usage(
                    "gemini-3-flash-preview: input_tokens 7, output_reasoning_tokens 22, \
                     output_tokens 20",
                ),
            ),
            case(
                LIVE,
                json!([
                    {"usageMetadata": {"promptTokenCount": 3, "responseTokenCount": 1}},
                    {"usageMetadata": {"promptTokenCount": 9, "responseTokenCount": 4}}
                ]),
                Expected::Contradictory("/1/usageMetadata"),
            ),
            case(
                STREAM,
                json!([{"candidates": [{"content": {"parts": []}}]}]),
                Expected::Missing("no event of the stream"),
            ),
            case(
                COMPATIBLE,
                json!([
                    {"id": "c", "model": "gemini-2.5-flash", "choices": [{"delta": {}}]},
                    {"id": "c", "model": "gemini-2.5-flash", "choices": [], "usage": {
                        "prompt_tokens": 758, "completion_tokens": 102, "total_tokens": 1725
                    }}
                ]),
                Expected::Usage(
                    "gemini-2.5-flash: input_tokens 758, output_reasoning_tokens 865, \
                     output_tokens 102",
                ),
            ),
        ]
    }

    fn grounding() -> Vec<Case> {
        let grounded = |candidate: Value| {
            json!({"candidates": [candidate], "usageMetadata": {
                "promptTokenCount": 9, "toolUsePromptTokenCount": 90, "candidatesTokenCount": 5,
                "totalTokenCount": 104
            }})
        };
        vec![
            case(
                SEARCH,
                grounded(json!({"groundingMetadata": {"webSearchQueries": ["a", "", "b", "a"]}})),
                Expected::Usage(
                    "-: input_tokens 9, output_tokens 5, web_searches 2 \
                     grounding=search",
                ),
            ),
            case(
                SEARCH,
                grounded(json!({"groundingMetadata": {
                    "webSearchQueries": ["a"], "imageSearchQueries": ["a", "b"]
                }})),
                Expected::Usage(
                    "-: input_tokens 9, output_tokens 5, web_searches 2 \
                     grounding=search",
                ),
            ),
            // Pages were found; which queries found them isn't told.
            case(
                SEARCH,
                grounded(json!({"groundingMetadata": {
                    "groundingChunks": [{"web": {"uri": "u"}}, {"web": {"uri": "v"}}]
                }})),
                Expected::Usage(
                    "-: input_tokens 9, output_tokens 5, web_searches 1 \
                     grounding=search",
                ),
            ),
            case(
                OWN_DATA,
                grounded(json!({"groundingMetadata": {
                    "retrievalQueries": ["a", "b"],
                    "groundingChunks": [{"retrievedContext": {"uri": "u"}}]
                }})),
                Expected::Usage(
                    "-: file_searches 2, input_tokens 9, input_tool_tokens 90, output_tokens 5 \
                     grounding=data",
                ),
            ),
            case(
                OWN_DATA,
                grounded(json!({"groundingMetadata": {
                    "groundingChunks": [{"retrievedContext": {"uri": "u"}}]
                }})),
                Expected::Usage(
                    "-: file_searches 1, input_tokens 9, input_tool_tokens 90, output_tokens 5 \
                     grounding=data",
                ),
            ),
            case(
                MAPS,
                grounded(json!({"groundingMetadata": {
                    "groundingChunks": [{"maps": {"placeId": "p"}}]
                }})),
                Expected::Usage(
                    "-: input_tokens 9, maps_searches 1, output_tokens 5 \
                     grounding=maps",
                ),
            ),
            case(
                MAPS,
                grounded(json!({"groundingMetadata": {
                    "webSearchQueries": ["a", "b"], "groundingChunks": [{"maps": {}}]
                }})),
                Expected::Usage(
                    "-: input_tokens 9, maps_searches 2, output_tokens 5 \
                     grounding=maps",
                ),
            ),
            case(
                URL,
                grounded(json!({
                    "grounding_metadata": {
                        "web_search_queries": ["a"], "grounding_chunks": [{"web": {}}, {"maps": {}}]
                    },
                    "url_context_metadata": {"url_metadata": [{"retrieved_url": "u"}]}
                })),
                Expected::Usage(
                    "-: input_tokens 9, input_tool_tokens 90, maps_searches 1, output_tokens 5, \
                     web_searches 1 grounding=maps+search+url",
                ),
            ),
            case(
                URL,
                grounded(json!({"urlContextMetadata": {"urlMetadata": [{"retrievedUrl": "u"}]}})),
                Expected::Usage(
                    "-: input_tokens 9, input_tool_tokens 90, output_tokens 5 grounding=url",
                ),
            ),
            // What code that was run brought is billed.
            case(
                SEARCH,
                grounded(json!({"groundingMetadata": {"webSearchQueries": ["a"]},
                    "content": {"parts": [{"executableCode": {"code": "1"}}]}})),
                Expected::Usage(
                    "-: input_tokens 9, input_tool_tokens 90, output_tokens 5, web_searches 1 \
                     grounding=search",
                ),
            ),
            case(
                SEARCH,
                grounded(json!({"groundingMetadata": {}})),
                Expected::Usage("-: input_tokens 9, input_tool_tokens 90, output_tokens 5"),
            ),
            case(
                GENERATE,
                json!({"usageMetadata": {
                    "promptTokenCount": 1, "toolUsePromptTokenCount": 10,
                    "toolUsePromptTokensDetails": [{"modality": "IMAGE", "tokenCount": 4}],
                    "promptTokensDetails": [{"modality": "IMAGE", "tokenCount": 1}]
                }}),
                Expected::Usage("-: input_image_tokens 5, input_tool_tokens 6"),
            ),
        ]
    }

    fn service_classes() -> Vec<Case> {
        let one = |field: &str, value: &str| json!({"usageMetadata": {"promptTokenCount": 1, field: value}});
        let standard = Expected::Usage("-: input_tokens 1");
        let flex = Expected::Usage("-: input_tokens 1 service_class=flex");
        let priority = Expected::Usage("-: input_tokens 1 service_class=priority");
        vec![
            case(TRAFFIC, one("trafficType", "ON_DEMAND"), standard),
            case(TRAFFIC, one("trafficType", "ON_DEMAND_FLEX"), flex),
            case(TRAFFIC, one("traffic_type", "ON_DEMAND_PRIORITY"), priority),
            case(
                TRAFFIC,
                one("trafficType", "PROVISIONED_THROUGHPUT"),
                Expected::Usage("-: input_tokens 1 service_class=provisioned_throughput"),
            ),
            case(TIERS, one("serviceTier", "standard"), standard),
            case(TIERS, one("serviceTier", "priority"), priority),
            case(
                TRAFFIC,
                json!({"model": "google/gemini-2.5-flash", "usage": {
                    "prompt_tokens": 1, "completion_tokens": 0, "total_tokens": 1,
                    "extra_properties": {"google": {"traffic_type": "ON_DEMAND_FLEX"}}
                }}),
                Expected::Usage("google/gemini-2.5-flash: input_tokens 1 service_class=flex"),
            ),
        ]
    }

    fn refused() -> Vec<Case> {
        let usage = |usage: Value| json!({"usageMetadata": usage});
        let empty = Expected::Missing("no usageMetadata with counts");
        vec![
            case(
                "https://ai.google.dev/gemini-api/docs/troubleshooting",
                json!({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}),
                Expected::Missing("nothing was used"),
            ),
            case(TRAFFIC, usage(json!({"trafficType": "ON_DEMAND"})), empty),
            case(GENERATE, usage(json!({})), empty),
            case("https://ai.google.dev/api/tokens", json!({"totalTokens": 10}), empty),
            case(
                "https://ai.google.dev/gemini-api/docs/video",
                json!({"done": true, "response": {"videos": [{"gcsUri": "gs://a"}]}}),
                empty,
            ),
            // Spellings that contradict each other, or have each a part.
            case(
                LIVE,
                usage(json!({
                    "promptTokenCount": 5, "candidatesTokenCount": 50, "responseTokenCount": 7
                })),
                Expected::Contradictory("/usageMetadata/candidatesTokenCount"),
            ),
            case(
                GENERATE,
                usage(json!({"promptTokenCount": 5, "prompt_token_count": 6})),
                Expected::Contradictory("/usageMetadata/prompt_token_count"),
            ),
            case(
                GENERATE,
                json!({
                    "usageMetadata": {"promptTokenCount": 5},
                    "usage_metadata": {"prompt_token_count": 6}
                }),
                Expected::Contradictory("/usage_metadata/prompt_token_count"),
            ),
            case(
                GENERATE,
                usage(json!({"promptTokenCount": 5, "candidates_token_count": 6})),
                Expected::Contradictory("/usageMetadata/candidates_token_count"),
            ),
            case(
                LIVE,
                usage(json!({
                    "promptTokenCount": 5, "candidatesTokenCount": 50, "responseTokenCount": 0,
                    "prompt_token_count": 0
                })),
                Expected::Usage("-: input_tokens 5, output_tokens 50"),
            ),
            case(
                GENERATE,
                usage(json!({"promptTokenCount": 5, "totalTokenCount": 6})),
                Expected::Contradictory("/usageMetadata/totalTokenCount"),
            ),
            case(
                GENERATE,
                usage(json!({"promptTokenCount": 5, "cachedContentTokenCount": 6})),
                Expected::Contradictory("/usageMetadata/cachedContentTokenCount"),
            ),
            case(
                GENERATE,
                usage(json!({"promptTokenCount": 5, "promptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 3}, {"modality": "AUDIO", "tokenCount": 3}
                ]})),
                Expected::Contradictory("/usageMetadata/promptTokensDetails/1/tokenCount"),
            ),
            case(
                GENERATE,
                usage(
                    json!({"promptTokenCount": 5, "promptTokensDetails": [{"modality": "SMELL"}]}),
                ),
                Expected::Contradictory("/usageMetadata/promptTokensDetails/0/modality"),
            ),
            case(
                GENERATE,
                usage(json!({
                    "promptTokenCount": 5, "cachedContentTokenCount": 5,
                    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 5}],
                    "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 5}]
                })),
                Expected::Contradictory("/usageMetadata/cacheTokensDetails"),
            ),
            // Thoughts within candidates that have not that much text.
            case(
                GENERATE,
                usage(json!({
                    "promptTokenCount": 0, "candidatesTokenCount": 5, "thoughtsTokenCount": 4,
                    "totalTokenCount": 5,
                    "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 3}]
                })),
                Expected::Contradictory("/usageMetadata/thoughtsTokenCount"),
            ),
            // A sum of more than 12 digits.
            case(
                GENERATE,
                usage(json!({
                    "promptTokenCount": 999_999_999_999_u64,
                    "toolUsePromptTokenCount": 999_999_999_999_u64,
                    "promptTokensDetails": [
                        {"modality": "IMAGE", "tokenCount": 999_999_999_999_u64}
                    ],
                    "toolUsePromptTokensDetails": [{"modality": "IMAGE", "tokenCount": 1}]
                })),
                Expected::Contradictory("/usageMetadata/toolUsePromptTokenCount"),
            ),
        ]
    }

    fn details() -> impl Strategy<Value = Value> {
        let modality = prop::sample::select(vec!["TEXT", "IMAGE", "DOCUMENT", "VIDEO", "AUDIO"]);
        let entry = (modality, 0_u64..8)
            .prop_map(|(modality, count)| json!({"modality": modality, "tokenCount": count}));
        prop_oneof![Just(Value::Null), prop::collection::vec(entry, 0..3).prop_map(Value::Array)]
    }

    proptest! {
        /// Every token is in one dimension, on its side.
        #[test]
        fn tokens_are_conserved(
            [prompt, cached, tool, output, thoughts] in
                [0_u64..20, 0_u64..10, 0_u64..5, 0_u64..20, 0_u64..9],
            [prompt_by, cached_by, tool_by, output_by] in
                [details(), details(), details(), details()],
            total in prop::sample::select(vec![0, 1, 2]),
        ) {
            let inside = total == 1 && thoughts > 0 && thoughts <= output;
            let total = match total {
                0 => Value::Null,
                1 if inside => json!(prompt + tool + output),
                _ => json!(prompt + tool + output + thoughts),
            };
            let body = json!({"usageMetadata": {
                "promptTokenCount": prompt, "cachedContentTokenCount": cached,
                "toolUsePromptTokenCount": tool, "candidatesTokenCount": output,
                "thoughtsTokenCount": thoughts, "totalTokenCount": total,
                "promptTokensDetails": prompt_by, "cacheTokensDetails": cached_by,
                "toolUsePromptTokensDetails": tool_by, "candidatesTokensDetails": output_by,
            }});
            match usage_from_response("google", &body) {
                Ok(read) => {
                    let sum = |start: &[&str]| -> u64 {
                        let of = read.usage.iter();
                        of.filter(|(d, _)| start.iter().any(|start| d.starts_with(start)))
                            .map(|(_, quantity)| quantity.millis() / 1_000)
                            .sum()
                    };
                    prop_assert_eq!(sum(&["input", "cache_read"]), prompt + tool, "{}", body);
                    prop_assert_eq!(sum(&["cache_read"]), cached, "{}", body);
                    let generated = if inside { output } else { output + thoughts };
                    prop_assert_eq!(sum(&["output"]), generated, "{}", body);
                }
                Err(ProviderError::Contradictory { pointer, .. }) => {
                    prop_assert!(body.pointer(&pointer).is_some(), "{} {}", body, pointer);
                }
                Err(error) => prop_assert!(false, "{body}: {error}"),
            }
        }
    }
}

//! Anthropic: Messages, and its endpoint that speaks Chat Completions.
//!
//! | body | dimension |
//! |---|---|
//! | `input_tokens` (excludes what was cached) | `input_tokens` |
//! | `cache_read_input_tokens` | `cache_read_tokens` |
//! | `cache_creation_input_tokens`, without what is below | `cache_write_tokens` |
//! | `cache_creation.ephemeral_5m_input_tokens` | `cache_write_tokens` |
//! | `cache_creation.ephemeral_1h_input_tokens` | `cache_write_1h_tokens` |
//! | `output_tokens`, without thinking where that is told | `output_tokens` |
//! | `output_tokens_details.thinking_tokens` | `output_reasoning_tokens` |
//! | `server_tool_use.web_search_requests` | `web_searches` |
//! | `server_tool_use.code_execution_requests` | `code_executions` |
//! | `server_tool_use` of another tool | `<tool>_calls` |
//! | each of the `iterations` | the same, a step of its own; an advisor's of the advisor's model |
//!
//! `service_tier` becomes `service_class`, `speed` and `inference_geo` keep their names. Fetching
//! pages (`web_fetch_requests`) and looking for tools (`tool_search_requests`) cost the tokens that
//! they become, and nothing else. So does running code where pages were searched or fetched: with
//! the tools of today, which filter by code, Anthropic doesn't bill it. (Of those before
//! `web_search_20260209` and `web_fetch_20260209` it does, and the counts don't tell which it was:
//! charge `code_executions` as usage.)
//!
//! Subsets: the kinds of input stand beside each other; the lifetimes are within
//! `cache_creation_input_tokens`, thinking is within `output_tokens`. `input_tokens` and
//! `output_tokens` must be there; all else is nothing where it is absent, `null` or zero.
//!
//! Outside the top-level counts stand some of the `iterations` (compaction, advisors; of a loop
//! over server tools the input of later turns). Where there are iterations, they are what is
//! billed, all of them: the top-level counts may be less than those of the model's own, never more.
//! Each sampled with a prompt of its own, so each is rated by that: the sum would cross a tier that
//! no prompt reached. An advisor, and a model that generated a part before it fell back to another,
//! are charged as what they are; one that declined without a word is not billed. Thinking is told
//! of all turns together, and taken from them in their order.
//!
//! What iterations write to the cache without its lifetimes (`cache_creation` may be `null`) has
//! those of the top level, which sums the writes of the messages: its only one, or of both an hour
//! first, as longer lifetimes come first in a prompt. Where nothing tells a lifetime it is 5 minutes.
//!
//! A refusal (`stop_reason`) before any output is not billed by Anthropic, whatever its counts say.
//! A retry that redeems a fallback credit is charged by its counts as they are told: no document says
//! whether what the credit makes cheaper stands there as written to the cache or as read from it.
//!
//! A stream: `message_start` has the model and the tier, each `message_delta` cumulative counts.
//! What the last one leaves out is as it was told last, by one before it or the start; what was
//! written to the cache after that, without its lifetime, has the only one that was told. Without a
//! `message_delta` the output is not known. A `message_delta` alone is read too, but may lack the
//! cache's lifetimes and the tier. No count is less than it was told before, in no true stream. Where
//! a model fell back to another, the start has the one that was asked, the last `fallback` block or
//! iteration the one that answered.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use crate::Quantity;

use super::body::Body;
use super::chat::Chat;
use super::stream::{Events, OneResponse};
use super::tools::Tools;
use super::{Provider, ProviderError, ResponseUsage, SERVICE_CLASS, contradictory, missing};

pub(super) const PROVIDER: Provider = Provider {
    name: "anthropic",
    aliases: &[],
    read: |body| Messages::OWN.read(body),
    read_stream: |events| Messages::OWN.read_stream(events),
    #[cfg(test)]
    cases: tests::cases,
};

/// Messages, as Anthropic itself and as others offer it.
pub(super) struct Messages {
    /// Whether a refusal before any output costs nothing.
    refusals_are_free: bool,
}

/// Chat Completions as this provider answers them.
const CHAT: Chat = Chat { cached: &["cached_tokens"], ..Chat::OPENAI };

const NO_USAGE: &str = "of a stream, give the last message_delta, or all events";

/// Whether a body, or an event of a stream, is of Messages: others' bodies have neither its types
/// nor, beside `input_tokens`, these counts.
pub(super) fn is_messages(body: &Body<'_>) -> Result<bool, ProviderError> {
    if let Some("message" | "message_start" | "message_delta") = body.text("type") {
        return Ok(true);
    }
    let Some(usage) = body.object("usage")? else { return Ok(false) };
    if Chat::is_usage(&usage)? {
        return Ok(false);
    }
    let has = |field: &&str| usage.get(field).is_some();
    // Routers tell these also under Responses, which have a total or split their input.
    let may_be_others = ["total_tokens", "input_tokens_details"].iter().any(has);
    let own = ["cache_creation_input_tokens", "cache_read_input_tokens"];
    let also = ["cache_creation", "server_tool_use", "iterations"];
    Ok(own.iter().any(has) || (!may_be_others && also.iter().any(has)))
}

impl Messages {
    /// At Anthropic.
    const OWN: Self = Self { refusals_are_free: true };
    /// At clouds that offer it, of which that is not known.
    pub const HOSTED: Self = Self { refusals_are_free: false };

    pub fn read(&self, body: &Body<'_>) -> Result<ResponseUsage, ProviderError> {
        if body.text("type") == Some("message_start") {
            return Err(no_output());
        }
        let Some(usage) = body.object("usage")? else { return Err(body.no_usage(NO_USAGE)) };
        if Chat::is_usage(&usage)? {
            return CHAT.read(body);
        }
        // An event has the reason in its delta.
        let delta = body.object("delta")?;
        let reason = body.text("stop_reason").or_else(|| delta.as_ref()?.text("stop_reason"));
        self.messages(body, &usage, (None, reason == Some("refusal")))
    }

    pub fn read_stream(&self, events: &Events<'_>) -> Result<ResponseUsage, ProviderError> {
        let mut start: Option<Body<'_>> = None;
        let mut deltas: Vec<Body<'_>> = Vec::new();
        let mut last: Option<&Body<'_>> = None;
        let mut one = OneResponse::default();
        let (mut reason, mut answered) = (None, None);
        for event in events.iter() {
            match event.text("type") {
                Some("message_start") => {
                    if start.is_some() {
                        return Err(contradictory(
                            event.at("type"),
                            "the events are of several responses: charge them one by one",
                        ));
                    }
                    start = event.object("message")?;
                }
                Some("content_block_start") => {
                    let block = event.object("content_block")?;
                    let block = block.filter(|block| block.text("type") == Some("fallback"));
                    let to = block.map(|block| block.object("to")).transpose()?.flatten();
                    answered = to.and_then(|to| to.model()).or(answered);
                }
                Some("message_delta") => {
                    let delta = event.object("delta")?;
                    reason = delta.and_then(|delta| delta.text("stop_reason")).or(reason);
                    if let Some(usage) = event.object("usage")? {
                        one.check(event, &usage)?;
                        deltas.push(usage);
                        last = Some(event);
                    }
                }
                _ => {}
            }
        }
        let Some(last) = last else {
            return match start {
                None => events.read_last(&[&["usage"]], |event| self.read(event)),
                Some(_) => Err(no_output()),
            };
        };
        let before = match &start {
            Some(start) => start.object("usage")?,
            None => None,
        };
        let told: Vec<&Body<'_>> = before.iter().chain(&deltas).collect();
        check_nothing_undone(&told)?;
        // Each that was the last to tell something, in their order.
        let tells = |field: &&str| told.iter().rposition(|usage| usage.has_own(field));
        let telling: BTreeSet<usize> = CUMULATIVE.iter().filter_map(tells).collect();
        let telling = telling.into_iter().map(|index| told[index].clone());
        let Some(usage) = telling.reduce(|before, usage| usage.over(before)) else {
            return Err(no_output());
        };
        let mut iterations = usage.list("iterations")?.into_iter().rev();
        let fell_back = iterations.find(|step| step.text("type") == Some(FALLBACK));
        let answered = answered.or_else(|| fell_back?.model());
        let body = start.as_ref().unwrap_or(last);
        self.messages(body, &usage, (answered, reason == Some("refusal")))
    }

    fn messages(
        &self,
        body: &Body<'_>,
        usage: &Body<'_>,
        (answered, refused): (Option<String>, bool),
    ) -> Result<ResponseUsage, ProviderError> {
        let mut read = ResponseUsage::of(body);
        if let Some(answered) = answered
            && read.model.as_ref().is_none_or(|model| !is_same(model, &answered))
        {
            read.model = Some(answered);
        }
        read.set(SERVICE_CLASS, usage.parameter("service_tier", &["standard"])?);
        read.set("speed", usage.parameter("speed", &["standard"])?);
        read.set("inference_geo", usage.parameter("inference_geo", &["global", "not_available"])?);

        let told = Counts::read(usage)?;
        let iterations = usage.list("iterations")?;
        let sampled = if iterations.is_empty() {
            Sampled { own: vec![told], others: Vec::new() }
        } else {
            let (sampled, all) = Sampled::read(&iterations, &read, &told)?;
            told.check_within(&all, usage)?;
            sampled
        };
        let output: u64 = sampled.own.iter().map(|step| step.output).sum();
        if self.refusals_are_free && refused && told.output == 0 && output == 0 {
            sampled.others.into_iter().for_each(|step| read.add_further(step));
            return Ok(read);
        }
        let mut thinking = match usage.object("output_tokens_details")? {
            Some(details) => {
                let [thinking] = details.parts(["thinking_tokens"], output, "output_tokens")?;
                thinking
            }
            None => 0,
        };
        let mut first = true;
        for counts in sampled.own {
            let mut step = ResponseUsage { is_step: true, ..read.empty() };
            let thought = thinking.min(counts.output);
            thinking -= thought;
            let to = if mem::take(&mut first) { &mut read } else { &mut step };
            to.add("output_reasoning_tokens", thought);
            Counts { output: counts.output - thought, ..counts }.add_to(to);
            if !step.usage.is_empty() {
                read.add_further(step);
            }
        }
        sampled.others.into_iter().for_each(|step| read.add_further(step));
        if let Some(tools) = usage.object("server_tool_use")? {
            server_tools(&tools)?.add_to(&mut read);
        }
        Ok(read)
    }
}

/// What the usage of a stream's events may tell.
const CUMULATIVE: [&str; 11] = [
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "cache_creation",
    "output_tokens",
    "output_tokens_details",
    "server_tool_use",
    "iterations",
    "service_tier",
    "speed",
    "inference_geo",
];

/// Checks that nothing that a stream's events tell, in their order, is less than before. Input may be
/// less, as compaction makes it; then there are iterations, by which it is billed. What of the output
/// the start tells is no count yet.
fn check_nothing_undone(told: &[&Body<'_>]) -> Result<(), ProviderError> {
    let mut iterates = false;
    for usage in told {
        iterates |= !usage.list("iterations")?.is_empty();
    }
    let mut before: BTreeMap<&str, &Body<'_>> = BTreeMap::new();
    for usage in told {
        for field in CUMULATIVE.into_iter().filter(|field| usage.has_own(field)) {
            let Some(before) = before.insert(field, usage) else { continue };
            let is_less = match field {
                "input_tokens" | "cache_creation_input_tokens" | "cache_read_input_tokens" => {
                    !iterates && usage.count(field)? < before.count(field)?
                }
                "output_tokens_details" | "server_tool_use" => has_less(usage, before, field)?,
                "cache_creation" => !iterates && has_less(usage, before, field)?,
                "iterations" => usage.list(field)?.len() < before.list(field)?.len(),
                _ => false,
            };
            if is_less {
                let detail = format!("{field} were more earlier in the stream");
                return Err(contradictory(usage.at(field), detail));
            }
        }
    }
    Ok(())
}

/// Whether a count within the object `field` is less than before.
fn has_less(usage: &Body<'_>, before: &Body<'_>, field: &str) -> Result<bool, ProviderError> {
    let (Some(usage), Some(before)) = (usage.object(field)?, before.object(field)?) else {
        return Ok(false);
    };
    for name in before.names() {
        if usage.count_or_zero(name)? < before.count_or_zero(name)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The calls of the tools that run at Anthropic.
fn server_tools(counted: &Body<'_>) -> Result<Tools, ProviderError> {
    let mut calls = Tools::default();
    let mut on_the_web = 0;
    for field in ["web_search_requests", "web_fetch_requests"] {
        on_the_web += counted.count_or_zero(field)?;
    }
    for field in counted.names() {
        let tool = field.strip_suffix("_requests").unwrap_or(field);
        let dimension = match tool {
            "web_search" => Some("web_searches"),
            "code_execution" if on_the_web == 0 => Some("code_executions"),
            "code_execution" | "web_fetch" | "tool_search" => continue,
            _ => None,
        };
        calls.add(tool, dimension, counted.count_or_zero(field)?, &counted.at(field))?;
    }
    Ok(calls)
}

fn no_output() -> ProviderError {
    missing(
        "the stream broke off before a message_delta told its output: charge what arrived as usage",
    )
}

/// What was sampled for a response.
struct Sampled {
    /// By the model that answered, with the compaction before it.
    own: Vec<Counts>,
    /// By other models: advisors, and those that fell back to the one that answered.
    others: Vec<ResponseUsage>,
}

impl Sampled {
    /// Reads the iterations of `response`, of which the top level has `told`. The counts are the
    /// most that those at the top level can be: of all but the advisors, with what is not billed.
    fn read(
        iterations: &[Body<'_>],
        response: &ResponseUsage,
        told: &Counts,
    ) -> Result<(Self, Counts), ProviderError> {
        let mut sampled = Self { own: Vec::new(), others: Vec::new() };
        let mut all = Counts::default();
        let mut lifetimes = Lifetimes::left_by(iterations, told)?;
        let mut messages = None;
        // Where the body doesn't name the model that answered, the last to answer does.
        let mut last = iterations.iter().rev().filter(|i| i.text("type") != Some(ADVISOR));
        let answered = response.model.clone().or_else(|| last.find_map(Body::model));
        for iteration in iterations {
            let counts = Counts::read(iteration)?;
            let model = iteration.model();
            match iteration.text("type") {
                Some(ADVISOR) => {
                    let model = Some(model.ok_or_else(|| {
                        contradictory(
                            iteration.blame("model"),
                            "an advisor without a model has no price: charge the iterations as \
                             usage of their models",
                        )
                    })?);
                    sampled
                        .others
                        .push(counts.as_step(ResponseUsage { model, ..response.empty() }));
                }
                Some(kind @ (COMPACTION | "message" | FALLBACK)) => {
                    all = all.plus(counts, iteration)?;
                    if kind != COMPACTION {
                        messages = Some(messages.unwrap_or(0) + counts.output);
                    }
                    let counts = lifetimes.give(counts, kind);
                    match (model, &answered) {
                        (Some(model), Some(answered)) if !is_same(&model, answered) => {
                            // A model that declined before any output is not billed.
                            if counts.output > 0 {
                                let model = Some(model);
                                let step = ResponseUsage { model, ..response.empty() };
                                sampled.others.push(counts.as_step(step));
                            }
                        }
                        _ => sampled.own.push(counts),
                    }
                }
                _ => {
                    return Err(contradictory(
                        iteration.blame("type"),
                        "an iteration of unknown type: charge the iterations as usage of their \
                         models",
                    ));
                }
            }
        }
        // What is written in compaction stands outside; what it read may stand where a stream began.
        Ok((sampled, Counts { output: messages.unwrap_or(all.output), ..all }))
    }
}

/// The type of an advisor's iterations.
const ADVISOR: &str = "advisor_message";
/// The type of the iterations of a model to which another one fell back.
const FALLBACK: &str = "fallback_message";
/// The type of the iterations that the top level doesn't count.
const COMPACTION: &str = "compaction";

/// The lifetimes that the top level tells and no iteration does.
struct Lifetimes {
    /// Whether all that was written is kept for an hour.
    only_long: bool,
    /// What else of the messages' writes is.
    long: u64,
}

impl Lifetimes {
    fn left_by(iterations: &[Body<'_>], told: &Counts) -> Result<Self, ProviderError> {
        let mut long = told.cache_write_1h;
        for iteration in iterations {
            if !matches!(iteration.text("type"), Some(ADVISOR | COMPACTION)) {
                long = long.saturating_sub(Counts::read(iteration)?.cache_write_1h);
            }
        }
        Ok(Self { only_long: told.cache_write_1h > 0 && told.cache_write == 0, long })
    }

    /// The counts of an iteration of this `kind`, with the lifetimes of what it wrote.
    fn give(&mut self, counts: Counts, kind: &str) -> Counts {
        let untold = counts.cache_write_untold;
        let long = match kind {
            _ if self.only_long => untold,
            COMPACTION => 0,
            _ => untold.min(self.long),
        };
        self.long = self.long.saturating_sub(long);
        Counts {
            cache_write: counts.cache_write + untold - long,
            cache_write_1h: counts.cache_write_1h + long,
            cache_write_untold: 0,
            ..counts
        }
    }
}

/// Whether two names are of one model: one may have the date that the other leaves out.
fn is_same(a: &str, b: &str) -> bool {
    undated(a) == undated(b)
}

/// A model's name without the date at its end: `claude-opus-4-5-20251101`.
fn undated(model: &str) -> &str {
    match model.rsplit_once(['-', '@']) {
        Some((name, date)) if date.len() == 8 && date.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => model,
    }
}

/// The counts of a response or of an iteration; they stand beside each other.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    input: u64,
    cache_read: u64,
    /// For 5 minutes.
    cache_write: u64,
    cache_write_1h: u64,
    /// Nothing says for how long.
    cache_write_untold: u64,
    output: u64,
}

impl Counts {
    fn read(usage: &Body<'_>) -> Result<Self, ProviderError> {
        const WRITTEN: &str = "cache_creation_input_tokens";
        const BY_AGE: &str = "cache_creation";
        let written = usage.count(WRITTEN)?;
        let (short, long, untold) = match usage.object(BY_AGE)? {
            Some(by_age) => {
                let ages = ["ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"];
                let short = by_age.count_or_zero(ages[0])?;
                let long = by_age.count_or_zero(ages[1])?;
                if let Some(written) = written {
                    let [_, _] = by_age.parts(ages, written, WRITTEN)?;
                }
                let rest = written.map_or(0, |written| written - short - long);
                // The start of a stream told the lifetimes, and its end that there was more.
                let is_later = usage.has_above(WRITTEN, BY_AGE);
                if is_later && short == 0 && long > 0 {
                    (0, long + rest, 0)
                } else {
                    (short + rest, long, 0)
                }
            }
            None => (0, 0, written.unwrap_or(0)),
        };
        Ok(Self {
            input: usage.required_count("input_tokens")?,
            cache_read: usage.count_or_zero("cache_read_input_tokens")?,
            cache_write: short,
            cache_write_1h: long,
            cache_write_untold: untold,
            output: usage.required_count("output_tokens")?,
        })
    }

    /// The sum with the counts of an iteration.
    fn plus(self, other: Self, iteration: &Body<'_>) -> Result<Self, ProviderError> {
        let sum = |a: u64, b: u64| {
            let sum = a + b;
            Quantity::from_whole(sum).map(|_| sum).ok_or_else(|| {
                let pointer = iteration.pointer().to_owned();
                contradictory(pointer, "the sum of the iterations is over 12 digits")
            })
        };
        Ok(Self {
            input: sum(self.input, other.input)?,
            cache_read: sum(self.cache_read, other.cache_read)?,
            cache_write: sum(self.cache_write, other.cache_write)?,
            cache_write_1h: sum(self.cache_write_1h, other.cache_write_1h)?,
            cache_write_untold: sum(self.cache_write_untold, other.cache_write_untold)?,
            output: sum(self.output, other.output)?,
        })
    }

    /// Checks that these counts of the whole `usage` are not more than `sum`.
    fn check_within(&self, sum: &Self, usage: &Body<'_>) -> Result<(), ProviderError> {
        let written =
            |counts: &Self| counts.cache_write + counts.cache_write_1h + counts.cache_write_untold;
        for (field, told, sum) in [
            ("input_tokens", self.input, sum.input),
            ("cache_read_input_tokens", self.cache_read, sum.cache_read),
            ("cache_creation_input_tokens", written(self), written(sum)),
            ("output_tokens", self.output, sum.output),
        ] {
            if told > sum {
                let pointer = match usage.get(field) {
                    Some(_) => usage.at(field),
                    None => usage.at("cache_creation"),
                };
                let detail = format!("{field} is {told}, but the iterations add up to {sum}");
                return Err(contradictory(pointer, detail));
            }
        }
        Ok(())
    }

    /// These counts as a step of a response.
    fn as_step(self, mut step: ResponseUsage) -> ResponseUsage {
        step.is_step = true;
        self.add_to(&mut step);
        step
    }

    fn add_to(self, read: &mut ResponseUsage) {
        for (dimension, count) in [
            ("input_tokens", self.input),
            ("cache_read_tokens", self.cache_read),
            ("cache_write_tokens", self.cache_write + self.cache_write_untold),
            ("cache_write_1h_tokens", self.cache_write_1h),
            ("output_tokens", self.output),
        ] {
            read.add(dimension, count);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use crate::providers::tests::{
        Case,
        Expected::{Contradictory, Missing, Usage},
        case, check_provider, fixture, side,
    };
    use crate::providers::usage_from_response;

    const MESSAGES: &str = "https://platform.claude.com/docs/en/api/messages";
    const STREAMING: &str = "https://platform.claude.com/docs/en/build-with-claude/streaming";
    const CACHING: &str = "https://platform.claude.com/docs/en/build-with-claude/prompt-caching";
    const THINKING: &str =
        "https://platform.claude.com/docs/en/build-with-claude/extended-thinking";
    const VISION: &str = "https://platform.claude.com/docs/en/build-with-claude/vision";
    const WEB_SEARCH: &str =
        "https://platform.claude.com/docs/en/agents-and-tools/tool-use/web-search-tool";
    const COMPACTION: &str = "https://platform.claude.com/docs/en/build-with-claude/compaction";
    const ADVISOR: &str =
        "https://platform.claude.com/docs/en/agents-and-tools/tool-use/advisor-tool";
    const FALLBACK: &str =
        "https://platform.claude.com/docs/en/build-with-claude/refusals-and-fallback";
    const TOOL_SEARCH: &str =
        "https://platform.claude.com/docs/en/agents-and-tools/tool-use/tool-search-tool";
    const BATCH: &str = "https://platform.claude.com/docs/en/build-with-claude/batch-processing";
    const ERRORS: &str = "https://platform.claude.com/docs/en/api/errors";
    const CHAT: &str = "https://platform.claude.com/docs/en/api/openai-sdk";

    pub(in crate::providers) fn cases() -> Vec<Case> {
        [messages(), streams(), iterations(), lifetimes(), refused()]
            .into_iter()
            .flatten()
            .collect()
    }

    fn messages() -> Vec<Case> {
        vec![
            case(
                MESSAGES,
                json!({
                    "id": "msg_1", "type": "message", "role": "assistant",
                    "model": "claude-sonnet-4-5-20250929", "content": [],
                    "usage": {"input_tokens": 2095, "output_tokens": 503}
                }),
                Usage("claude-sonnet-4-5-20250929: input_tokens 2095, output_tokens 503"),
            ),
            case(
                CACHING,
                json!({"usage": {
                    "input_tokens": 96, "output_tokens": 305,
                    "cache_creation_input_tokens": 3584, "cache_read_input_tokens": 18432,
                    "cache_creation": {
                        "ephemeral_5m_input_tokens": 1536, "ephemeral_1h_input_tokens": 2048
                    },
                    "service_tier": "batch", "speed": "fast", "inference_geo": "us"
                }}),
                Usage(
                    "-: cache_read_tokens 18432, cache_write_1h_tokens 2048, \
                     cache_write_tokens 1536, input_tokens 96, output_tokens 305 \
                     inference_geo=us service_class=batch speed=fast",
                ),
            ),
            case(
                MESSAGES,
                json!({"model": "m", "usage": {
                    "input_tokens": 1, "output_tokens": 0, "cache_creation_input_tokens": 7,
                    "cache_creation": null, "cache_read_input_tokens": null,
                    "server_tool_use": null, "service_tier": "standard", "speed": "standard",
                    "inference_geo": "global", "iterations": null
                }}),
                Usage("m: cache_write_tokens 7, input_tokens 1"),
            ),
            case(
                THINKING,
                json!({"model": "m", "usage": {
                    "input_tokens": 40, "output_tokens": 900, "service_tier": "priority",
                    "output_tokens_details": {"thinking_tokens": 700}
                }}),
                Usage(
                    "m: input_tokens 40, output_reasoning_tokens 700, output_tokens 200 \
                     service_class=priority",
                ),
            ),
            // Images, documents and tools of a prompt are input as any other; a tool's call is
            // output.
            case(
                VISION,
                json!({
                    "type": "message", "model": "claude-opus-4-8", "stop_reason": "tool_use",
                    "content": [{"type": "tool_use", "name": "f", "input": {}}],
                    "usage": {"input_tokens": 1_551, "output_tokens": 71}
                }),
                Usage("claude-opus-4-8: input_tokens 1551, output_tokens 71"),
            ),
            // Fetching pages is free but for its tokens, as is the code that goes through them.
            case(
                WEB_SEARCH,
                json!({"model": "m", "usage": {
                    "input_tokens": 105, "output_tokens": 6039,
                    "cache_read_input_tokens": 7123, "cache_creation_input_tokens": 7345,
                    "server_tool_use": {
                        "web_search_requests": 2, "web_fetch_requests": 3,
                        "code_execution_requests": 1
                    }
                }}),
                Usage(
                    "m: cache_read_tokens 7123, cache_write_tokens 7345, input_tokens 105, \
                     output_tokens 6039, web_searches 2",
                ),
            ),
            // What was written and whose lifetime is not told.
            case(
                CACHING,
                json!({"usage": {
                    "input_tokens": 1, "output_tokens": 1, "cache_creation_input_tokens": 10,
                    "cache_creation": {"ephemeral_1h_input_tokens": 4}
                }}),
                Usage(
                    "-: cache_write_1h_tokens 4, cache_write_tokens 6, input_tokens 1, \
                     output_tokens 1",
                ),
            ),
            case(
                CACHING,
                json!({"usage": {
                    "input_tokens": 1, "output_tokens": 1, "cache_creation_input_tokens": 10,
                    "cache_creation": {
                        "ephemeral_5m_input_tokens": 8, "ephemeral_1h_input_tokens": 4
                    }
                }}),
                Contradictory("/usage/cache_creation/ephemeral_1h_input_tokens"),
            ),
            case(MESSAGES, json!({"usage": {"input_tokens": 0, "output_tokens": 0}}), Usage("-: ")),
            case(
                CHAT,
                json!({"model": "m", "object": "chat.completion", "usage": {
                    "prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12,
                    "prompt_tokens_details": null, "completion_tokens_details": null
                }}),
                Usage("m: input_tokens 9, output_tokens 3"),
            ),
            case(
                WEB_SEARCH,
                fixture(include_str!("../../../../events/responses/anthropic-messages.json")),
                Usage(
                    "claude-sonnet-4-5-20250929: cache_read_tokens 18432, \
                     cache_write_1h_tokens 2048, cache_write_tokens 1536, input_tokens 96, \
                     output_tokens 305, web_searches 2",
                ),
            ),
            // Looking for tools costs tokens only; a tool that is not known is not free.
            case(
                TOOL_SEARCH,
                json!({"usage": {
                    "input_tokens": 1024, "output_tokens": 256,
                    "server_tool_use": {
                        "tool_search_requests": 2, "web_fetch_requests": 0,
                        "code_execution_requests": 3, "telescope_requests": 4
                    }
                }}),
                Usage(
                    "-: code_executions 3, input_tokens 1024, output_tokens 256, \
                     telescope_calls 4",
                ),
            ),
            case(
                BATCH,
                json!({"custom_id": "a", "result": {"type": "succeeded", "message": {
                    "type": "message", "model": "m", "usage": {
                        "input_tokens": 11, "output_tokens": 36, "service_tier": "batch"
                    }
                }}}),
                Usage("m: input_tokens 11, output_tokens 36 service_class=batch"),
            ),
            case(
                BATCH,
                json!({"custom_id": "a", "result": {"type": "expired"}}),
                Missing("its request failed, at no cost"),
            ),
            case(MESSAGES, json!({"usage": {}}), Missing("/usage/input_tokens")),
            case(MESSAGES, json!({"usage": {"output_tokens": 1}}), Missing("/usage/input_tokens")),
            case(MESSAGES, json!({"usage": {"input_tokens": 1}}), Missing("/usage/output_tokens")),
            case(
                ERRORS,
                json!({"type": "error", "error": {"type": "overloaded_error"}}),
                Missing("nothing was used"),
            ),
            case(
                MESSAGES,
                json!({"usage": {"input_tokens": 1, "output_tokens": 1, "service_tier": 7}}),
                Contradictory("/usage/service_tier"),
            ),
            case(
                THINKING,
                json!({"usage": {
                    "input_tokens": 1, "output_tokens": 1,
                    "output_tokens_details": {"thinking_tokens": 2}
                }}),
                Contradictory("/usage/output_tokens_details/thinking_tokens"),
            ),
        ]
    }

    fn streams() -> Vec<Case> {
        let start = json!({"type": "message_start", "message": {
            "id": "msg_1", "type": "message", "model": "claude-opus-4-6",
            "usage": {
                "input_tokens": 25, "output_tokens": 1, "service_tier": "priority",
                "cache_creation_input_tokens": 100, "cache_read_input_tokens": 50,
                "cache_creation": {
                    "ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 100
                }
            }
        }});
        let delta = |usage: Value| {
            json!({
                "type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage
            })
        };
        vec![
            case(
                STREAMING,
                fixture(include_str!("../../../../events/responses/anthropic-stream.json")),
                Usage(
                    "claude-opus-4-6: cache_read_tokens 60, cache_write_1h_tokens 100, \
                     input_tokens 25, output_reasoning_tokens 210, output_tokens 300, \
                     web_searches 1",
                ),
            ),
            case(
                STREAMING,
                json!([
                    start, {"type": "ping"}, {"type": "content_block_delta"},
                    delta(json!({"output_tokens": 15})), {"type": "message_stop"}
                ]),
                Usage(
                    "claude-opus-4-6: cache_read_tokens 50, cache_write_1h_tokens 100, \
                     input_tokens 25, output_tokens 15 service_class=priority",
                ),
            ),
            // Cumulative: the last counts, and what it lacks is as at the start.
            case(
                STREAMING,
                json!([
                    start,
                    delta(json!({"output_tokens": 3})),
                    delta(json!({
                        "input_tokens": 10_682, "output_tokens": 510,
                        "cache_creation_input_tokens": 100, "cache_read_input_tokens": 60,
                        "server_tool_use": {"web_search_requests": 1}
                    }))
                ]),
                Usage(
                    "claude-opus-4-6: cache_read_tokens 60, cache_write_1h_tokens 100, \
                     input_tokens 10682, output_tokens 510, web_searches 1 \
                     service_class=priority",
                ),
            ),
            // Each count as it was told last, be it before the last delta; also without a start.
            case(
                STREAMING,
                json!([
                    start,
                    delta(json!({
                        "input_tokens": 5_000, "cache_creation_input_tokens": 130,
                        "output_tokens": 15, "server_tool_use": {"web_search_requests": 2}
                    })),
                    delta(json!({"output_tokens": 20, "server_tool_use": null})),
                    delta(json!({"output_tokens": 25}))
                ]),
                Usage(
                    "claude-opus-4-6: cache_read_tokens 50, cache_write_1h_tokens 130, \
                     input_tokens 5000, output_tokens 25, web_searches 2 service_class=priority",
                ),
            ),
            case(
                STREAMING,
                json!([
                    delta(json!({"input_tokens": 7, "output_tokens": 9})),
                    delta(json!({"output_tokens": 11}))
                ]),
                Usage("-: input_tokens 7, output_tokens 11"),
            ),
            // What there was can't be less later.
            case(
                STREAMING,
                json!([start, delta(json!({"cache_read_input_tokens": 0, "output_tokens": 9}))]),
                Contradictory("/1/usage/cache_read_input_tokens"),
            ),
            case(
                STREAMING,
                json!([start, delta(json!({"input_tokens": 24, "output_tokens": 9}))]),
                Contradictory("/1/usage/input_tokens"),
            ),
            case(
                STREAMING,
                json!([
                    start,
                    delta(
                        json!({"output_tokens": 9, "server_tool_use": {"web_search_requests": 3}})
                    ),
                    delta(json!({"output_tokens": 9})),
                    delta(json!({"output_tokens": 9, "server_tool_use": {}}))
                ]),
                Contradictory("/3/usage/server_tool_use"),
            ),
            case(
                STREAMING,
                json!([
                    start,
                    delta(json!({"output_tokens": 9, "cache_creation": {
                        "ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 0
                    }}))
                ]),
                Contradictory("/1/usage/cache_creation"),
            ),
            case(
                STREAMING,
                json!([
                    delta(json!({"input_tokens": 1, "output_tokens": 1, "iterations": [
                        {"type": "compaction", "input_tokens": 9, "output_tokens": 9},
                        {"type": "message", "input_tokens": 1, "output_tokens": 1}
                    ]})),
                    delta(json!({"output_tokens": 1, "iterations": []}))
                ]),
                Contradictory("/1/usage/iterations"),
            ),
            // The start names the model that was asked, a block or an iteration who answered.
            case(
                FALLBACK,
                json!([
                    {"type": "message_start", "message": {"model": "claude-fable-5", "usage": {
                        "input_tokens": 408, "output_tokens": 1
                    }}},
                    delta(json!({"input_tokens": 412, "output_tokens": 264, "iterations": [
                        {"type": "message", "model": "claude-fable-5", "input_tokens": 408,
                            "output_tokens": 0},
                        {"type": "fallback_message", "model": "claude-opus-4-8",
                            "input_tokens": 412, "output_tokens": 264}
                    ]}))
                ]),
                Usage("claude-opus-4-8: input_tokens 412, output_tokens 264"),
            ),
            case(
                FALLBACK,
                json!([
                    {"type": "message_start", "message": {"model": "claude-fable-5", "usage": {
                        "input_tokens": 412, "output_tokens": 1
                    }}},
                    {"type": "content_block_start", "content_block": {
                        "type": "fallback", "from": {"model": "claude-fable-5"},
                        "to": {"model": "claude-opus-4-8"}
                    }},
                    delta(json!({"output_tokens": 264})),
                    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
                ]),
                Usage("claude-opus-4-8: input_tokens 412, output_tokens 264"),
            ),
            // The last event alone, and one of the older kind, which has the output only.
            case(
                STREAMING,
                delta(json!({
                    "input_tokens": 7, "output_tokens": 9, "cache_read_input_tokens": 3,
                    "cache_creation_input_tokens": 2
                })),
                Usage(
                    "-: cache_read_tokens 3, cache_write_tokens 2, input_tokens 7, output_tokens 9",
                ),
            ),
            case(
                STREAMING,
                delta(json!({"output_tokens": 15})),
                Missing("the response has no /usage/input_tokens"),
            ),
            case(STREAMING, start.clone(), Missing("before a message_delta")),
            case(STREAMING, json!([start, {"type": "ping"}]), Missing("before a message_delta")),
            case(
                ERRORS,
                json!([{"type": "error", "error": {"type": "overloaded_error"}}]),
                Missing("nothing was used"),
            ),
            case(STREAMING, json!([{"type": "ping"}]), Missing("broke off, or")),
            case(STREAMING, json!([start, start]), Contradictory("/1/type")),
            case(
                STREAMING,
                json!([start, delta(json!({"output_tokens": -1}))]),
                Contradictory("/1/usage/output_tokens"),
            ),
            // What the end has more is of the one lifetime that the start tells, or of 5 minutes.
            case(
                CACHING,
                json!([
                    start,
                    delta(json!({"output_tokens": 1, "cache_creation_input_tokens": 800}))
                ]),
                Usage(
                    "claude-opus-4-6: cache_read_tokens 50, cache_write_1h_tokens 800, \
                     input_tokens 25, output_tokens 1 service_class=priority",
                ),
            ),
            case(
                CACHING,
                json!([
                    {"type": "message_start", "message": {"model": "m", "usage": {
                        "input_tokens": 1, "output_tokens": 1, "cache_creation": {
                            "ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 400
                        }
                    }}},
                    delta(json!({"output_tokens": 1, "cache_creation_input_tokens": 800}))
                ]),
                Usage(
                    "m: cache_write_1h_tokens 400, cache_write_tokens 400, input_tokens 1, \
                     output_tokens 1",
                ),
            ),
            // The start's lifetimes are more than what the end says was written.
            case(
                STREAMING,
                json!([
                    start,
                    delta(json!({
                        "output_tokens": 1, "cache_creation_input_tokens": 99
                    }))
                ]),
                Contradictory("/1/usage/cache_creation_input_tokens"),
            ),
        ]
    }

    fn iterations() -> Vec<Case> {
        let usage = |input: u64, output: u64, iterations: Value| {
            json!({"model": "claude-opus-4-8", "usage": {
                "input_tokens": input, "output_tokens": output, "iterations": iterations
            }})
        };
        let compaction = json!({
            "type": "compaction", "input_tokens": 180_000, "output_tokens": 3_500,
            "cache_read_input_tokens": 0, "cache_creation_input_tokens": 40,
            "cache_creation": {"ephemeral_1h_input_tokens": 40}
        });
        let turn = |input: u64, output: u64| {
            json!({
                "type": "message", "input_tokens": input, "output_tokens": output
            })
        };
        let advice = |model: &str| {
            json!({
                "type": "advisor_message", "model": model, "input_tokens": 823,
                "output_tokens": 1_612, "cache_read_input_tokens": 5,
                "cache_creation_input_tokens": 0
            })
        };
        let of = |kind: &str, model: &str, input: u64, output: u64| {
            json!({
                "type": kind, "model": model, "input_tokens": input, "output_tokens": output
            })
        };
        vec![
            case(
                ADVISOR,
                fixture(include_str!("../../../../events/responses/anthropic-advisor.json")),
                Usage(
                    "claude-sonnet-5: input_tokens 412, output_tokens 89 \
                     + claude-sonnet-5: input_tokens 1348, output_tokens 442 \
                     + claude-fable-5: input_tokens 823, output_tokens 1612",
                ),
            ),
            case(
                COMPACTION,
                fixture(include_str!("../../../../events/responses/anthropic-compaction.json")),
                Usage(
                    "claude-opus-4-8: input_tokens 180000, output_tokens 3500 \
                     + claude-opus-4-8: input_tokens 23000, output_tokens 1000",
                ),
            ),
            case(
                COMPACTION,
                usage(23_000, 1_000, json!([compaction, turn(23_000, 1_000)])),
                Usage(
                    "claude-opus-4-8: cache_write_1h_tokens 40, input_tokens 180000, \
                     output_tokens 3500 \
                     + claude-opus-4-8: input_tokens 23000, output_tokens 1000",
                ),
            ),
            // More output than that of the messages.
            case(
                COMPACTION,
                usage(23_000, 1_001, json!([compaction, turn(23_000, 1_000)])),
                Contradictory("/usage/output_tokens"),
            ),
            // The top level has the input of the first turn only.
            case(
                ADVISOR,
                usage(412, 531, json!([turn(412, 89), advice("claude-fable-5"), turn(1348, 442)])),
                Usage(
                    "claude-opus-4-8: input_tokens 412, output_tokens 89 \
                     + claude-opus-4-8: input_tokens 1348, output_tokens 442 \
                     + claude-fable-5: cache_read_tokens 5, input_tokens 823, output_tokens 1612",
                ),
            ),
            case(
                MESSAGES,
                usage(10, 5, json!([turn(10, 5)])),
                Usage("claude-opus-4-8: input_tokens 10, output_tokens 5"),
            ),
            case(
                MESSAGES,
                usage(10, 5, json!([])),
                Usage("claude-opus-4-8: input_tokens 10, output_tokens 5"),
            ),
            // Who declined without a word is not billed; who generated a part is, at its prices.
            case(
                FALLBACK,
                usage(
                    415,
                    200,
                    json!([
                        of("message", "claude-fable-5", 412, 0),
                        of("fallback_message", "claude-opus-4-8", 415, 200)
                    ]),
                ),
                Usage("claude-opus-4-8: input_tokens 415, output_tokens 200"),
            ),
            case(
                FALLBACK,
                usage(
                    415,
                    200,
                    json!([
                        of("message", "claude-fable-5", 412, 30),
                        of("fallback_message", "claude-opus-4-8-20260701", 415, 200)
                    ]),
                ),
                Usage(
                    "claude-opus-4-8: input_tokens 415, output_tokens 200 \
                     + claude-fable-5: input_tokens 412, output_tokens 30",
                ),
            ),
            // A later version of the same family is another model.
            case(
                FALLBACK,
                usage(
                    415,
                    200,
                    json!([
                        of("message", "claude-opus-4-8-5", 412, 30),
                        of("fallback_message", "claude-opus-4-8", 415, 200)
                    ]),
                ),
                Usage(
                    "claude-opus-4-8: input_tokens 415, output_tokens 200 \
                     + claude-opus-4-8-5: input_tokens 412, output_tokens 30",
                ),
            ),
            case(
                ADVISOR,
                usage(1, 1, json!([turn(1, 1), advice("a"), advice("b")])),
                Usage(
                    "claude-opus-4-8: input_tokens 1, output_tokens 1 \
                     + a: cache_read_tokens 5, input_tokens 823, output_tokens 1612 \
                     + b: cache_read_tokens 5, input_tokens 823, output_tokens 1612",
                ),
            ),
            case(
                ADVISOR,
                usage(
                    1,
                    1,
                    json!([turn(1, 1), {
                        "type": "advisor_message", "input_tokens": 8, "output_tokens": 6
                    }]),
                ),
                Contradictory("/usage/iterations/1"),
            ),
            // Thinking is told of all turns together.
            case(
                THINKING,
                json!({"usage": {
                    "input_tokens": 10, "output_tokens": 9,
                    "output_tokens_details": {"thinking_tokens": 7},
                    "iterations": [turn(10, 5), turn(12, 4)]
                }}),
                Usage(
                    "-: input_tokens 10, output_reasoning_tokens 5 \
                     + -: input_tokens 12, output_reasoning_tokens 2, output_tokens 2",
                ),
            ),
            case(
                MESSAGES,
                usage(11, 5, json!([turn(10, 5)])),
                Contradictory("/usage/input_tokens"),
            ),
            case(
                MESSAGES,
                usage(1, 1, json!([turn(1, 1), of("planning", "m", 1, 1)])),
                Contradictory("/usage/iterations/1/type"),
            ),
            case(
                MESSAGES,
                usage(1, 1, json!([turn(1, 1), {"type": "message", "input_tokens": 1}])),
                Missing("/usage/iterations/1/output_tokens"),
            ),
            case(
                MESSAGES,
                usage(1, 1, json!([turn(999_999_999_999, 1), turn(1, 1)])),
                Contradictory("/usage/iterations/1"),
            ),
            case(MESSAGES, usage(1, 1, json!([3])), Contradictory("/usage/iterations/0")),
        ]
    }

    /// Iterations that wrote to the cache, and what the top level says for how long.
    fn lifetimes() -> Vec<Case> {
        let body = |split: Value, writes: &[(&str, u64, Value)]| {
            let iterations = writes.iter().map(|(kind, written, split)| {
                json!({
                    "type": kind, "input_tokens": 0, "output_tokens": 1,
                    "cache_creation_input_tokens": written, "cache_creation": split
                })
            });
            json!({"usage": {
                "input_tokens": 0, "output_tokens": 1, "cache_creation": split,
                "iterations": iterations.collect::<Vec<_>>()
            }})
        };
        let split = |short: u64, long: u64| json!({"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long});
        let untold = |kind: &'static str, written: u64| (kind, written, Value::Null);
        vec![
            case(
                CACHING,
                body(split(0, 100), &[untold("message", 100)]),
                Usage("-: cache_write_1h_tokens 100, output_tokens 1"),
            ),
            // An hour comes first.
            case(
                CACHING,
                body(split(30, 70), &[untold("message", 60), untold("message", 45)]),
                Usage(
                    "-: cache_write_1h_tokens 60, output_tokens 1 \
                     + -: cache_write_1h_tokens 10, cache_write_tokens 35, output_tokens 1",
                ),
            ),
            // What one iteration tells is not the other's, and compactions are not summed.
            case(
                COMPACTION,
                body(
                    split(30, 70),
                    &[
                        untold("compaction", 9),
                        ("message", 50, split(0, 50)),
                        untold("message", 50),
                    ],
                ),
                Usage(
                    "-: cache_write_tokens 9, output_tokens 1 \
                     + -: cache_write_1h_tokens 50, output_tokens 1 \
                     + -: cache_write_1h_tokens 20, cache_write_tokens 30, output_tokens 1",
                ),
            ),
            case(
                COMPACTION,
                body(split(0, 7), &[untold("compaction", 9), untold("message", 7)]),
                Usage(
                    "-: cache_write_1h_tokens 9, output_tokens 1 \
                     + -: cache_write_1h_tokens 7, output_tokens 1",
                ),
            ),
            case(
                CACHING,
                body(Value::Null, &[untold("message", 7)]),
                Usage("-: cache_write_tokens 7, output_tokens 1"),
            ),
        ]
    }

    fn refused() -> Vec<Case> {
        let refusal = |output: u64| {
            json!({
                "type": "message", "model": "claude-fable-5", "content": [],
                "stop_reason": "refusal", "usage": {"input_tokens": 412, "output_tokens": output}
            })
        };
        vec![
            case(FALLBACK, refusal(0), Usage("claude-fable-5: ")),
            case(FALLBACK, refusal(9), Usage("claude-fable-5: input_tokens 412, output_tokens 9")),
            case(
                FALLBACK,
                json!([
                    {"type": "message_start", "message": {
                        "model": "m", "usage": {"input_tokens": 412, "output_tokens": 0}
                    }},
                    {
                        "type": "message_delta", "delta": {"stop_reason": "refusal"},
                        "usage": {"output_tokens": 0}
                    }
                ]),
                Usage("m: "),
            ),
        ]
    }

    proptest! {
        /// The kinds of input stand beside each other, and all iterations are billed.
        #[test]
        fn iterations_add_up(
            turns in prop::collection::vec(
                (any::<bool>(), [0_u64..30, 0..30, 0..30, 0..30, 0..30]), 1..5
            ),
            thinking in 0_u64..40,
        ) {
            let iteration = |(compaction, [input, read, short, long, output]): &(bool, [u64; 5])| {
                json!({
                    "type": if *compaction { "compaction" } else { "message" },
                    "input_tokens": input, "output_tokens": output,
                    "cache_read_input_tokens": read, "cache_creation_input_tokens": short + long,
                    "cache_creation": {
                        "ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long
                    }
                })
            };
            // The top level leaves out what compaction writes.
            let first = turns.iter().find(|(compaction, _)| !compaction).unwrap_or(&turns[0]);
            let of_first = |i: usize| first.1[i];
            let body = json!({"usage": {
                "input_tokens": of_first(0), "output_tokens": of_first(4),
                "output_tokens_details": {"thinking_tokens": thinking},
                "iterations": turns.iter().map(iteration).collect::<Vec<_>>(),
            }});
            let sum = |i: usize| turns.iter().map(|(_, counts)| counts[i]).sum::<u64>();
            match usage_from_response("anthropic", &body) {
                Ok(read) => {
                    prop_assert_eq!(side(&read, false), sum(0) + sum(1) + sum(2) + sum(3));
                    prop_assert_eq!(side(&read, true), sum(4));
                }
                Err(error) => prop_assert!(thinking > sum(4), "{error}: {body}"),
            }
        }
    }

    #[test]
    fn counts_are_integers() {
        for bad in [json!(-1), json!(1.5), json!(2.0), json!("3"), json!(1_000_000_000_000_u64)] {
            check_provider(
                "anthropic",
                &json!({"usage": {"input_tokens": bad, "output_tokens": 1}}),
                Contradictory("/usage/input_tokens"),
            );
        }
    }
}

//! `OpenAI`'s Chat Completions, which many providers speak, each in its own way.
//!
//! | body | dimension |
//! |---|---|
//! | `prompt_tokens`, without what is below | `input_tokens` |
//! | `prompt_tokens_details.audio_tokens`, `.image_tokens`, `.video_tokens` | `input_audio_tokens`, `input_image_tokens`, `input_video_tokens` |
//! | `prompt_tokens_details.cached_tokens` | `cache_read_tokens`; by kind where `cached_tokens_details` tells it |
//! | `prompt_tokens_details.cache_write_tokens` | `cache_write_tokens`; those kept for 12 hours `cache_write_12h_tokens` |
//! | `completion_tokens`, without what is below | `output_tokens` |
//! | `completion_tokens_details.audio_tokens`, `.image_tokens` | `output_audio_tokens`, `output_image_tokens` |
//! | `completion_tokens_details.reasoning_tokens` | `output_reasoning_tokens` |
//!
//! Subsets: all details are within their totals, and cached and written tokens are within the
//! kinds too, so a token may be told by its kind and as cached. Which kind was cached or written
//! is often not told: then text is first, next images, video, audio. Reasoning is within
//! `completion_tokens`, or beside it ([`Reasoning`]). Predicted tokens, accepted or rejected, are
//! output as any other.
//!
//! `prompt_tokens` must be there. `completion_tokens` may be absent only beside a `total_tokens`
//! that is the prompt's: embeddings. A detail that is absent, `null` or zero is nothing; what
//! details leave over is text.

use super::body::Body;
use super::stream::Events;
use super::{ProviderError, ResponseUsage, SERVICE_CLASS, contradictory, missing};

/// How a provider's Chat Completions differ from `OpenAI`'s ([`Chat::OPENAI`]).
pub(super) struct Chat {
    /// Where the usage may be, in the body or in an event of a stream.
    pub usage: &'static [&'static [&'static str]],
    /// Counts of the usage itself that say how much of the prompt was cached, where it is not (or
    /// not only) in `prompt_tokens_details`. All that are there must agree.
    pub cached: &'static [&'static str],
    /// The count of the prompt that was not cached, a check.
    pub not_cached: Option<&'static str>,
    /// Where reasoning stands.
    pub reasoning: Reasoning,
    /// Further counts of the usage itself, in neither the prompt nor the completion.
    pub beside: &'static [Beside],
    /// The dimension of what `total_tokens` has beyond the parts that are told, where it may.
    pub rest_of_total: Option<&'static str>,
    /// Service tiers that have the standard's prices.
    pub standard_tiers: &'static [&'static str],
}

/// Whether `completion_tokens` has `completion_tokens_details.reasoning_tokens` in it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reasoning {
    /// They are a part of it.
    Inside,
    /// They come on top of it, and `total_tokens` includes them.
    Beside,
    /// Either, as the models behind the provider have it: `total_tokens` tells which.
    ByTotal,
}

/// A count that stands beside prompt and completion.
pub(super) struct Beside {
    /// Its field in the usage.
    pub field: &'static str,
    pub dimension: &'static str,
    /// Whether `total_tokens` includes it.
    pub in_total: bool,
}

impl Chat {
    /// The counts of both sides.
    pub const COUNTS: [&str; 2] = ["prompt_tokens", "completion_tokens"];

    pub const OPENAI: Self = Self {
        usage: &[&["usage"]],
        cached: &[],
        not_cached: None,
        reasoning: Reasoning::Inside,
        beside: &[],
        rest_of_total: None,
        standard_tiers: &["auto", "default", "standard"],
    };

    /// Whether a usage is of Chat Completions, or of embeddings. Gateways write the counts of other
    /// APIs beside their own: those that are all zero are not told, others must be the same.
    pub fn is_usage(usage: &Body<'_>) -> Result<bool, ProviderError> {
        const OTHERS: [&str; 2] = ["input_tokens", "output_tokens"];
        let is_there = |field| usage.get(field).is_some();
        if !Self::COUNTS.into_iter().any(is_there) || !OTHERS.into_iter().any(is_there) {
            return Ok(Self::COUNTS.into_iter().any(is_there));
        }
        let mut told = [0; 2];
        for (told, fields) in told.iter_mut().zip([Self::COUNTS, OTHERS]) {
            for field in fields {
                *told += usage.count_or_zero(field)?;
            }
        }
        if told[0] == 0 || told[1] == 0 {
            return Ok(told[1] == 0);
        }
        for (own, other) in Self::COUNTS.into_iter().zip(OTHERS) {
            if let (Some(a), Some(b)) = (usage.count(own)?, usage.count(other)?)
                && a != b
            {
                let detail = format!("{other} is {b}, but {own} {a}");
                return Err(contradictory(usage.at(other), detail));
            }
        }
        Ok(true)
    }

    /// Reads a response, or the event of a stream that has its usage.
    pub fn read(&self, body: &Body<'_>) -> Result<ResponseUsage, ProviderError> {
        let mut read = ResponseUsage::of(body);
        read.set(SERVICE_CLASS, body.parameter("service_tier", self.standard_tiers)?);
        for path in self.usage {
            if let Some(usage) = body.object_at(path)? {
                self.read_usage(&mut read, &usage)?;
                return Ok(read);
            }
        }
        Err(body.no_usage(NO_USAGE))
    }

    /// Reads all events of a stream.
    pub fn read_stream(&self, events: &Events<'_>) -> Result<ResponseUsage, ProviderError> {
        events.read_last(self.usage, |event| self.read(event))
    }

    /// Reads the usage alone.
    pub fn read_usage(
        &self,
        read: &mut ResponseUsage,
        usage: &Body<'_>,
    ) -> Result<(), ProviderError> {
        let prompt = usage.required_count("prompt_tokens")?;
        if !Self::is_usage(usage)? {
            let detail = format!("the counts are not zero, but prompt_tokens is {prompt}");
            return Err(contradictory(usage.at("prompt_tokens"), detail));
        }
        let completion = match usage.count("completion_tokens")? {
            Some(completion) => completion,
            // Embeddings generate nothing, and show it by a total that is the prompt alone.
            None if usage.get("total_tokens").is_some() => 0,
            None => {
                let at = usage.at("completion_tokens");
                return Err(missing(format!("the response has no {at}")));
            }
        };

        let details = usage.one_object(&[CHAT_DETAILS[0], RESPONSES_DETAILS[0]])?;
        let cached = self.cached(usage, details.as_ref(), prompt)?;
        Prompt { total: prompt, of: "prompt_tokens", cached }.add_to(read, details.as_ref())?;

        let details = usage.one_object(&[CHAT_DETAILS[1], RESPONSES_DETAILS[1]])?;
        let reasoning = match &details {
            Some(details) => details.count_or_zero("reasoning_tokens")?,
            None => 0,
        };
        let mut sum = prompt + completion;
        for beside in self.beside {
            let count = usage.count_or_zero(beside.field)?;
            if beside.dimension == REASONING && count > 0 && reasoning > 0 {
                let detail = format!("{} is told a second time, by the details", beside.field);
                return Err(contradictory(usage.at(beside.field), detail));
            }
            read.add(beside.dimension, count);
            sum += if beside.in_total { count } else { 0 };
        }
        let inside = match self.reasoning {
            Reasoning::Inside => true,
            Reasoning::Beside => false,
            Reasoning::ByTotal => usage.count("total_tokens")?.is_none_or(|total| total == sum),
        };
        let told = if inside { sum } else { sum + reasoning };
        match (self.rest_of_total, usage.count("total_tokens")?) {
            (Some(dimension), Some(total)) if total > told && reasoning == 0 => {
                read.add(dimension, total - told);
            }
            _ => usage.check_total("total_tokens", told)?,
        }
        Completion { total: completion, of: "completion_tokens", reasoning_inside: inside }
            .add_to(read, details.as_ref())
    }

    /// How much of the prompt was cached, by whichever fields tell it.
    pub fn cached(
        &self,
        usage: &Body<'_>,
        details: Option<&Body<'_>>,
        prompt: u64,
    ) -> Result<u64, ProviderError> {
        let mut cached = match details {
            Some(details) => details.count("cached_tokens")?,
            None => None,
        };
        for field in self.cached {
            let [count] = usage.parts([field], prompt, "prompt_tokens")?;
            if usage.get(field).is_none() {
                continue;
            }
            if let Some(other) = cached
                && other != count
            {
                let detail = format!("{field} is {count}, but cached_tokens {other}");
                return Err(contradictory(usage.at(field), detail));
            }
            cached = Some(count);
        }
        let cached = cached.unwrap_or(0);
        if let Some(field) = self.not_cached
            && let Some(count) = usage.count(field)?
            && count + cached != prompt
        {
            let detail = format!("{field} is {count}, which with {cached} cached is not {prompt}");
            return Err(contradictory(usage.at(field), detail));
        }
        Ok(cached)
    }
}

/// Where Chat Completions divide their counts: the prompt's, and the completion's.
pub(super) const CHAT_DETAILS: [&str; 2] = ["prompt_tokens_details", "completion_tokens_details"];
/// The same of Responses.
pub(super) const RESPONSES_DETAILS: [&str; 2] = ["input_tokens_details", "output_tokens_details"];

const REASONING: &str = "output_reasoning_tokens";

const NO_USAGE: &str =
    "of a stream, ask for it (stream_options.include_usage) and give the last event, or all";

/// A prompt, to be divided into disjoint dimensions.
pub(super) struct Prompt {
    pub total: u64,
    /// The total's field, for people.
    pub of: &'static str,
    /// How much of it was read from a cache.
    pub cached: u64,
}

/// The kinds of a prompt's tokens as details name them, and their dimensions, in the order in
/// which the cached ones are taken where the body doesn't tell.
const KINDS: [(&str, &str, &str); 4] = [
    ("text_tokens", "input_tokens", "cache_read_tokens"),
    ("image_tokens", "input_image_tokens", "cache_read_image_tokens"),
    ("video_tokens", "input_video_tokens", "cache_read_video_tokens"),
    ("audio_tokens", "input_audio_tokens", "cache_read_audio_tokens"),
];

impl Prompt {
    /// Divides the prompt by its `details`: `audio_tokens`, `image_tokens`, `video_tokens`,
    /// `text_tokens`, `cached_tokens` and `cached_tokens_details`, `cache_write_tokens` and
    /// `cache_write_tokens_details`.
    pub fn add_to(
        &self,
        read: &mut ResponseUsage,
        details: Option<&Body<'_>>,
    ) -> Result<(), ProviderError> {
        let Some(details) = details else {
            read.add("input_tokens", self.total - self.cached);
            read.add("cache_read_tokens", self.cached);
            return Ok(());
        };
        let kinds = ["audio_tokens", "image_tokens", "video_tokens", "text_tokens"];
        let [audio, images, video, _] = details.parts(kinds, self.total, self.of)?;
        let mut rest = [self.total - audio - images - video, images, video, audio];
        let long = self.check_cache(details)?;
        let written = details.count_or_zero("cache_write_tokens")?;

        let mut cached = [0; 4];
        if let Some(told) = details.object("cached_tokens_details")? {
            cached = told.parts(KINDS.map(|(kind, ..)| kind), self.cached, "cached_tokens")?;
            for ((kind, ..), (rest, cached)) in KINDS.iter().zip(rest.iter_mut().zip(cached)) {
                *rest = rest.checked_sub(cached).ok_or_else(|| {
                    let detail = format!("of {kind} {cached} were cached, more than there are");
                    contradictory(told.at(kind), detail)
                })?;
            }
        }
        let told: u64 = cached.iter().sum();
        let untold = take(&mut rest, self.cached - told);
        take(&mut rest, written);
        for (i, (_, dimension, cached_dimension)) in KINDS.iter().enumerate() {
            read.add(dimension, rest[i]);
            read.add(cached_dimension, cached[i] + untold[i]);
        }
        read.add("cache_write_tokens", written - long);
        read.add("cache_write_12h_tokens", long);
        Ok(())
    }

    /// Checks that what was cached and written is within the prompt, and returns how much was
    /// written for 12 hours.
    fn check_cache(&self, details: &Body<'_>) -> Result<u64, ProviderError> {
        let [_] = details.parts(["cached_tokens"], self.total, self.of)?;
        let left = self.total - self.cached;
        let [written] = details.parts(["cache_write_tokens"], left, "what was not cached")?;
        let Some(ages) = details.object("cache_write_tokens_details")? else { return Ok(0) };
        let fields = ["ttl_12h_tokens", "ttl_30m_tokens"];
        let [long, short] = ages.parts(fields, written, "cache_write_tokens")?;
        details.check_total("cache_write_tokens", long + short)?;
        Ok(long)
    }
}

/// What was generated, to be divided into disjoint dimensions.
pub(super) struct Completion {
    pub total: u64,
    /// The total's field, for people.
    pub of: &'static str,
    /// Whether the total has the reasoning in it.
    pub reasoning_inside: bool,
}

impl Completion {
    /// Divides what was generated by its `details`: `audio_tokens`, `image_tokens`, `text_tokens`
    /// (which may have the reasoning in it), `reasoning_tokens`, and the predictions.
    pub fn add_to(
        &self,
        read: &mut ResponseUsage,
        details: Option<&Body<'_>>,
    ) -> Result<(), ProviderError> {
        let Some(details) = details else {
            read.add("output_tokens", self.total);
            return Ok(());
        };
        let kinds = ["audio_tokens", "image_tokens", "text_tokens"];
        let [audio, images, _] = details.parts(kinds, self.total, self.of)?;
        let predicted = ["accepted_prediction_tokens", "rejected_prediction_tokens"];
        let [_, _] = details.parts(predicted, self.total, self.of)?;
        let mut text = self.total - audio - images;
        let reasoning = details.count_or_zero("reasoning_tokens")?;
        if self.reasoning_inside {
            let [_, _, _] = details.parts(
                ["audio_tokens", "image_tokens", "reasoning_tokens"],
                self.total,
                self.of,
            )?;
            text -= reasoning;
        }
        read.add("output_tokens", text);
        read.add("output_audio_tokens", audio);
        read.add("output_image_tokens", images);
        read.add(REASONING, reasoning);
        Ok(())
    }
}

/// Takes `count` from the front, and says how much came from each.
pub(super) fn take<const N: usize>(from: &mut [u64; N], mut count: u64) -> [u64; N] {
    from.each_mut().map(|rest| {
        let taken = count.min(*rest);
        *rest -= taken;
        count -= taken;
        taken
    })
}

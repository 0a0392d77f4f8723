//! [`Events`]: all events of a stream.

use std::collections::BTreeMap;

use serde_json::Value;

use super::body::Body;
use super::{ProviderError, ResponseUsage, contradictory, missing};

/// Events of one stream at most.
const MAX_EVENTS: usize = 100_000;

/// The events of a stream, in order.
pub(super) struct Events<'a>(Vec<Body<'a>>);

impl<'a> Events<'a> {
    pub fn read(events: &'a [Value]) -> Result<Self, ProviderError> {
        if events.len() > MAX_EVENTS {
            return Err(missing(format!(
                "a stream has at most {MAX_EVENTS} events: give those that tell the usage"
            )));
        }
        let events = match events.split_last() {
            Some((last, others)) if last.as_str() == Some("[DONE]") => others,
            _ => events,
        };
        let event = |(index, event): (usize, &'a Value)| {
            let pointer = format!("/{index}");
            match event.as_object() {
                Some(fields) => Ok(Body::new(fields, pointer)),
                None => Err(contradictory(pointer, "an event of a stream is a JSON object")),
            }
        };
        Ok(Self(events.iter().enumerate().map(event).collect::<Result<_, _>>()?))
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Body<'a>> {
        self.0.iter()
    }

    /// The events but for some.
    pub fn without(&self, some: impl Fn(&Body<'a>) -> bool) -> Self {
        Self(self.iter().filter(|event| !some(event)).cloned().collect())
    }

    /// Reads the last event whose usage is at one of `paths`: of most providers it tells the whole
    /// of what was used up to there. What else it lacks, such as the model, the first event has, and
    /// the service tier whichever told it last.
    ///
    /// Where the events that tell usage are of different responses, of different models, or two of
    /// them end one, all but one would be lost: that is refused. So are several of which neither an
    /// id nor a type shows that they are events of one response, and counts that fall: what came so
    /// far is never less than before. Chat completions that each say to be whole are one response
    /// where both the id and the counts show it.
    pub fn read_last(
        &self,
        paths: &[&[&str]],
        read: impl Fn(&Body<'_>) -> Result<ResponseUsage, ProviderError>,
    ) -> Result<ResponseUsage, ProviderError> {
        let mut one = OneResponse::default();
        let mut last: Option<&Body<'a>> = None;
        for event in self.iter() {
            for path in paths {
                if let Some(usage) = event.object_at(path)? {
                    one.check(event, &usage)?;
                    last = Some(event);
                    break;
                }
            }
        }
        let (Some(last), Some(first)) = (last, self.0.first()) else { return Err(self.no_usage()) };
        one.check_end()?;
        let mut under = first.clone();
        if let Some(tier) = self.iter().rev().find(|event| event.has_own("service_tier")) {
            under = tier.clone().over(under);
        }
        read(&last.clone().over(under))
    }

    /// Why a stream none of whose events tells the usage can't be charged.
    pub fn no_usage(&self) -> ProviderError {
        match self.0.as_slice() {
            [] => missing("the stream has no events, and so no usage"),
            // An error in the place of a stream.
            [only] if only.is_error() => only.no_usage(""),
            events if events.iter().any(Body::is_error) => missing(
                "the stream broke off with an error before it told its usage: charge what arrived \
                 as usage",
            ),
            _ => missing(
                "no event of the stream tells its usage: it broke off, or the usage was not asked \
                 for; charge what arrived as usage",
            ),
        }
    }
}

/// Sees that events which tell usage are of one response.
#[derive(Default)]
pub(super) struct OneResponse<'a> {
    id: Option<&'a str>,
    /// The kinds of events seen that end a response.
    ended: Vec<&'a str>,
    model: Option<&'a str>,
    /// What the event before told.
    usage: Option<Body<'a>>,
    /// The counts that were told so far, each the last time.
    counts: BTreeMap<&'a str, u64>,
}

/// Where an event has what it is of: as itself, or in the response that it brings.
const HOLDERS: [&str; 4] = ["", "response", "interaction", "message"];
/// What the model of a response is called.
const MODELS: [&str; 3] = ["model", "modelVersion", "model_version"];
/// By which names a response, or a line of a batch, is known.
const IDS: [&str; 5] = ["id", "responseId", "response_id", "custom_id", "key"];
/// Events after which nothing more of their response comes, by their type.
const ENDS: [&str; 11] = [
    "message",
    "message-end",
    "stream-end",
    "speech.audio.done",
    "transcript.text.done",
    "response.done",
    "response.completed",
    "response.incomplete",
    "response.failed",
    "image_generation.completed",
    "image_edit.completed",
];
/// Responses that are no event, by what they say they are.
const WHOLE: [&str; 2] = [CHAT_COMPLETION, "response"];
/// What Perplexity calls each chunk of a stream too, with all that was used up to there.
const CHAT_COMPLETION: &str = "chat.completion";
/// What the names of counts contain.
const COUNTS: [&str; 4] = ["token", "seconds", "unit", "character"];
/// What Gemini calls the tokens of the prompt.
const GEMINI_PROMPT: [&str; 3] = ["promptTokenCount", "prompt_token_count", "total_input_tokens"];
/// What only an event at the end has, of Bedrock, or a response that is no event, of Gemini.
const AT_THE_END: [&str; 4] =
    ["metadata", "amazon-bedrock-invocationMetrics", "embedding", "embeddings"];

impl<'a> OneResponse<'a> {
    /// Checks the next event that tells usage, which is `usage`.
    pub fn check(&mut self, event: &Body<'a>, usage: &Body<'a>) -> Result<(), ProviderError> {
        let mut has_same_id = false;
        for holder in HOLDERS {
            let inner = event.get(holder).and_then(Value::as_object);
            let Some(body) = (match inner {
                Some(fields) => Some(Body::new(fields, event.at(holder))),
                None => holder.is_empty().then(|| event.clone()),
            }) else {
                continue;
            };
            if let Some(field) = MODELS.into_iter().find(|field| body.text(field).is_some()) {
                let model = body.text(field).filter(|model| !model.is_empty());
                if model.is_some() && self.model.is_some() && self.model != model {
                    return Err(several(body.at(field)));
                }
                self.model = model.or(self.model);
            }
            // An empty id tells nothing.
            let id_of = |field: &&str| body.text(field).is_some_and(|id| !id.is_empty());
            let Some(field) = IDS.into_iter().find(id_of) else { continue };
            let id = body.text(field);
            if self.id.is_some() && self.id != id {
                return Err(several(body.at(field)));
            }
            has_same_id = self.id.is_some();
            self.id = id;
            break;
        }
        let kind = ["type", "event_type"].into_iter().find_map(|field| event.text(field));
        let end = kind.filter(|kind| ENDS.contains(kind));
        let end = end.or_else(|| event.text("object").filter(|kind| WHOLE.contains(kind)));
        let end = end.or_else(|| AT_THE_END.into_iter().find(|field| event.get(field).is_some()));
        if let Some(end) = end {
            // A response has one end, whichever it is.
            let end = if end.starts_with("response.") { "response" } else { end };
            let is_again = self.ended.contains(&end);
            if is_again && !(has_same_id && end == CHAT_COMPLETION) {
                return Err(several(event.pointer().to_owned()));
            }
            if !is_again {
                self.ended.push(end);
            }
        }
        self.check_counts(usage)?;
        if kind.is_none() && !has_same_id {
            self.check_prompt(event, usage)?;
        }
        self.usage = Some(usage.clone());
        Ok(())
    }

    /// Checks that an event without a type is one of the stream that the event before is of. Only
    /// Gemini repeats its usage in events without one, and some of them have no id: the prompt is the
    /// same in all of them.
    fn check_prompt(&self, event: &Body<'a>, usage: &Body<'a>) -> Result<(), ProviderError> {
        let Some(before) = &self.usage else { return Ok(()) };
        // A zero stands in some events until the prompt is told.
        let is_same = |field: &&str| {
            let now = usage.get(field);
            before
                .get(field)
                .is_some_and(|before| Some(before) == now || before.as_u64() == Some(0))
        };
        let is_told = |field: &&str| usage.get(field).is_some();
        if GEMINI_PROMPT.iter().any(|field| is_told(field) && is_same(field)) {
            return Ok(());
        }
        Err(several(event.pointer().to_owned()))
    }

    /// Checks that the last event tells all counts that were told to be something: of what is left
    /// out, nothing would be charged.
    pub fn check_end(&self) -> Result<(), ProviderError> {
        let Some(last) = &self.usage else { return Ok(()) };
        match self.counts.iter().find(|(field, count)| **count > 0 && last.get(field).is_none()) {
            Some((field, _)) => {
                let detail = format!("an event before tells {field}, and the last one doesn't");
                Err(contradictory(last.pointer().to_owned(), detail))
            }
            None => Ok(()),
        }
    }

    /// Checks that no count is less than it was before.
    fn check_counts(&mut self, usage: &Body<'a>) -> Result<(), ProviderError> {
        for field in usage.names() {
            // What else is told, such as times and costs, is no count.
            let is_count = COUNTS.iter().any(|part| field.to_ascii_lowercase().contains(part));
            let Some(now) = usage.get(field).and_then(Value::as_u64).filter(|_| is_count) else {
                continue;
            };
            if self.counts.insert(field, now).is_some_and(|before| now < before) {
                let detail = "less than an event before it says: a stream's counts are of all up to \
                              there, and of several responses each is charged by itself";
                return Err(contradictory(usage.at(field), detail));
            }
        }
        Ok(())
    }
}

fn several(pointer: String) -> ProviderError {
    contradictory(pointer, "the events are of several responses: charge them one by one")
}

//! The APIs that several providers speak, and which of them a body is of: `OpenAI`'s Chat
//! Completions, told by `prompt_tokens`, its Responses, told by `input_tokens`, and Anthropic's
//! Messages, told by their `type` or by the counts that only they have.
//!
//! Of Responses only the tokens are read here; what tools are billed each provider's module reads.
//!
//! | Responses | dimension |
//! |---|---|
//! | `input_tokens` (includes the cache) | as `prompt_tokens` in [`super::chat`] |
//! | `output_tokens` (includes reasoning) | as `completion_tokens` there |

use super::anthropic::is_messages;
use super::body::Body;
use super::chat::{CHAT_DETAILS, Chat, Completion, Prompt, RESPONSES_DETAILS};
use super::stream::Events;
use super::{ProviderError, ResponseUsage, SERVICE_CLASS, anthropic, missing};

/// Where the usage of a Responses stream's last event is.
const RESPONSES_USAGE: &[&str] = &["response", "usage"];

/// Reads a response, or the event of a stream that has its usage, of one of the three APIs; where
/// it is of Chat Completions, as `chat` says.
pub(super) fn read(chat: &Chat, body: &Body<'_>) -> Result<ResponseUsage, ProviderError> {
    let inner = match body.object_at(RESPONSES_USAGE)? {
        Some(_) => body.object("response")?,
        None => None,
    };
    let body = inner.as_ref().unwrap_or(body);
    match body.object("usage")? {
        Some(_) if is_messages(body)? => (anthropic::PROVIDER.read)(body),
        Some(usage) if usage.get("input_tokens").is_some() && !Chat::is_usage(&usage)? => {
            let mut read = ResponseUsage::of(body);
            read.set(SERVICE_CLASS, body.parameter("service_tier", chat.standard_tiers)?);
            responses(&mut read, &usage)?;
            Ok(read)
        }
        _ => chat.read(body),
    }
}

/// Reads all events of a stream of one of the three APIs: of Messages as Anthropic, of the others
/// the last event with usage by `read`.
pub(super) fn read_stream(
    chat: &Chat,
    events: &Events<'_>,
    read: impl Fn(&Body<'_>) -> Result<ResponseUsage, ProviderError>,
) -> Result<ResponseUsage, ProviderError> {
    if events.iter().any(|event| event.text("type") == Some("message_start")) {
        return (anthropic::PROVIDER.read_stream)(events);
    }
    let paths: Vec<_> = chat.usage.iter().copied().chain([RESPONSES_USAGE]).collect();
    events.read_last(&paths, read)
}

/// As [`read`], and without usage as images or a transcription.
pub(super) fn read_media_or_chat(
    chat: &Chat,
    body: &Body<'_>,
) -> Result<ResponseUsage, ProviderError> {
    for path in chat.usage.iter().copied().chain([RESPONSES_USAGE]) {
        if body.object_at(path)?.is_some() {
            return read(chat, body);
        }
    }
    if let Some(read) = images(body)? {
        return Ok(read);
    }
    match transcription(body)? {
        Some(read) => Ok(read),
        None => read(chat, body),
    }
}

/// Reads the tokens of Responses.
fn responses(read: &mut ResponseUsage, usage: &Body<'_>) -> Result<(), ProviderError> {
    let input = usage.required_count("input_tokens")?;
    let output = usage.required_count("output_tokens")?;
    usage.check_total("total_tokens", input + output)?;
    let details = usage.one_object(&[RESPONSES_DETAILS[0], CHAT_DETAILS[0]])?;
    let cached = match &details {
        Some(details) => details.count_or_zero("cached_tokens")?,
        None => 0,
    };
    Prompt { total: input, of: "input_tokens", cached }.add_to(read, details.as_ref())?;
    Completion { total: output, of: "output_tokens", reasoning_inside: true }
        .add_to(read, usage.one_object(&[RESPONSES_DETAILS[1], CHAT_DETAILS[1]])?.as_ref())
}

/// Reads the answer of an image API without token counts: the images in `data`, each an object
/// with its address or its bytes. `None` where the body is of another kind.
pub(super) fn images(body: &Body<'_>) -> Result<Option<ResponseUsage>, ProviderError> {
    if body.get("data").is_none_or(|data| !data.is_array()) {
        return Ok(None);
    }
    let items = body.list("data")?;
    let is_image = |item: &Body<'_>| item.get("url").is_some() || item.get("b64_json").is_some();
    if items.is_empty() || !items.iter().all(is_image) {
        return Ok(None);
    }
    let mut read = ResponseUsage::of(body);
    read.add("output_images", u64::try_from(items.len()).expect("bodies are limited"));
    Ok(Some(read))
}

/// Reads a transcription that tells its `duration` beside its `text`. `None` where the body is of
/// another kind.
pub(super) fn transcription(body: &Body<'_>) -> Result<Option<ResponseUsage>, ProviderError> {
    if body.text("text").is_none() {
        return Ok(None);
    }
    // Written as a text by some models, as the reference once had it.
    let Some(seconds) = body.measure_or_text("duration")? else {
        return Err(missing(
            "the transcription has no duration: ask for it (response_format verbose_json), or \
             charge audio_seconds as usage",
        ));
    };
    let mut read = ResponseUsage::of(body);
    read.add_quantity("audio_seconds", seconds);
    Ok(Some(read))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use crate::providers::{ProviderError, usage_from_response};

    /// Those that speak Chat Completions, and where their reasoning is: within the completion,
    /// unless only the total can tell.
    const PROVIDERS: [(&str, bool); 10] = [
        ("cerebras", false),
        ("deepseek", false),
        ("fireworks", true),
        ("google", true),
        ("groq", false),
        ("huggingface", true),
        ("mistral", false),
        ("openrouter", true),
        ("perplexity", false),
        ("together", true),
    ];

    proptest! {
        /// Whoever sends it, the tokens of a chat add up to its totals, each on its side, and what
        /// can't add up is refused.
        #[test]
        fn tokens_are_conserved(
            (provider, by_total) in prop::sample::select(PROVIDERS.to_vec()),
            [prompt, cached, images, completion, reasoning] in
                [0_u64..20, 0_u64..12, 0_u64..12, 0_u64..20, 0_u64..12],
            with_total: bool,
            on_top: bool,
        ) {
            let beside = on_top && with_total;
            let total = prompt + completion + if beside { reasoning } else { 0 };
            let body = json!({"usage": {
                "prompt_tokens": prompt, "completion_tokens": completion,
                "total_tokens": if with_total { json!(total) } else { Value::Null },
                "prompt_tokens_details": {"cached_tokens": cached, "image_tokens": images},
                "completion_tokens_details": {"reasoning_tokens": reasoning},
            }});
            let allowed = cached <= prompt
                && images <= prompt
                && if beside && reasoning > 0 { by_total } else { reasoning <= completion };
            match usage_from_response(provider, &body) {
                Ok(read) => {
                    prop_assert!(allowed, "{} {} {:?}", provider, body, read);
                    let sum = |start: &str| -> u64 {
                        let of = read.usage.iter().filter(|(d, _)| d.starts_with(start));
                        of.map(|(_, quantity)| quantity.millis() / 1_000).sum()
                    };
                    prop_assert_eq!(sum("input_") + sum("cache_read_"), prompt, "{}", body);
                    prop_assert_eq!(sum("cache_read_"), cached, "{}", body);
                    prop_assert_eq!(sum("output_reasoning_"), reasoning, "{}", body);
                    prop_assert_eq!(sum("output_"), total - prompt, "{}", body);
                }
                Err(ProviderError::Contradictory { pointer, .. }) => {
                    prop_assert!(!allowed, "{} {} {}", provider, body, pointer);
                    prop_assert!(body.pointer(&pointer).is_some(), "{} {}", body, pointer);
                }
                Err(error) => prop_assert!(false, "{provider} {body}: {error}"),
            }
        }
    }
}

//! Mistral: Chat Completions ([`super::chat`]), FIM, embeddings, moderations, conversations of
//! agents, OCR, transcriptions.
//!
//! | body | dimension |
//! |---|---|
//! | `prompt_tokens_details.cached_tokens`, also `num_cached_tokens`, within `prompt_tokens` | `cache_read_tokens` |
//! | `completion_tokens_details.reasoning_tokens`, within `completion_tokens` | `output_reasoning_tokens` |
//! | `prompt_audio_seconds` | `audio_seconds` |
//! | conversations: `connector_tokens`, beside prompt and completion, in `total_tokens` | `input_tool_tokens` |
//! | `connectors.web_search`, `.code_interpreter` | `web_searches`, `code_executions` |
//! | `connectors.image_generation`, `.document_library` | `output_images`, `file_searches` |
//! | another connector | `<connector>_calls` |
//! | `usage_info.pages_processed` of OCR; where anything was annotated | `pages`; `annotated_pages` instead |
//!
//! Sound is billed by the second. Its tokens are in `total_tokens` and not in `prompt_tokens`, and
//! `prompt_tokens_details` have them too: neither is read. What was cached beside sound is text as
//! far as there is text. Of a transcription nothing else is billed: its `text` shows it, or the event's
//! `type`, so a body that is trimmed keeps that, be it empty.
//! Connectors are billed outside the tokens too. Streams have the usage in their last chunk.

use serde_json::Value;

use super::body::Body;
use super::chat::{Beside, Chat};
use super::stream::Events;
use super::tools::Tools;
use super::{Provider, ProviderError, ResponseUsage, SERVICE_CLASS, contradictory};

pub(super) const PROVIDER: Provider = Provider {
    name: "mistral",
    aliases: &["mistralai"],
    read,
    read_stream,
    #[cfg(test)]
    cases: tests::cases,
};

const CHAT: Chat = Chat {
    cached: &["num_cached_tokens"],
    beside: &[Beside { field: "connector_tokens", dimension: "input_tool_tokens", in_total: true }],
    ..Chat::OPENAI
};

fn read_stream(events: &Events<'_>) -> Result<ResponseUsage, ProviderError> {
    let mut read = events.read_last(CHAT.usage, read)?;
    if read.model.is_none() {
        // A conversation names its model only in what comes out.
        read.model = events.iter().rev().find_map(Body::model);
    }
    Ok(read)
}

fn read(body: &Body<'_>) -> Result<ResponseUsage, ProviderError> {
    if let Some(usage) = body.object("usage_info")? {
        return ocr(body, &usage);
    }
    let Some(usage) = body.object("usage")? else { return CHAT.read(body) };
    // Of a prompt without sound the reference's own example has an empty object here.
    let is_empty = |value: &Value| value.as_object().is_some_and(serde_json::Map::is_empty);
    let heard = usage.get("prompt_audio_seconds").is_some_and(|seconds| !is_empty(seconds));
    let seconds = if heard { usage.measure("prompt_audio_seconds")? } else { None };
    let mut read = match seconds {
        Some(seconds) if !seconds.is_zero() => {
            let mut read = ResponseUsage::of(body);
            read.set(SERVICE_CLASS, body.parameter("service_tier", CHAT.standard_tiers)?);
            read.add_quantity("audio_seconds", seconds);
            let is_transcription = body.text("text").is_some()
                || body.text("type").is_some_and(|kind| kind.starts_with("transcription."));
            if !is_transcription {
                beside_sound(&mut read, &usage)?;
            }
            read
        }
        _ => CHAT.read(body)?,
    };
    if read.model.is_none() {
        // A conversation names its model only in what came out.
        read.model = body.list("outputs")?.iter().rev().find_map(Body::model);
    }
    read.set(SERVICE_CLASS, usage.parameter("service_tier", CHAT.standard_tiers)?);
    connectors(&mut read, &usage)?;
    Ok(read)
}

/// The text of a chat that heard sound.
fn beside_sound(read: &mut ResponseUsage, usage: &Body<'_>) -> Result<(), ProviderError> {
    let prompt = usage.required_count("prompt_tokens")?;
    let completion = usage.required_count("completion_tokens")?;
    let connectors = usage.count_or_zero("connector_tokens")?;
    let text = prompt + completion + connectors;
    if usage.count("total_tokens")?.is_some_and(|total| total < text) {
        return Err(contradictory(
            usage.at("total_tokens"),
            format!("total_tokens is less than its parts, which are {text} without the sound"),
        ));
    }
    let details = usage.object("prompt_tokens_details")?;
    // Of both text and sound, of which nothing says how many tokens it had; text is first.
    let cached = CHAT.cached(usage, details.as_ref(), u64::MAX)?.min(prompt);
    read.add("input_tokens", prompt - cached);
    read.add("cache_read_tokens", cached);
    read.add("output_tokens", completion);
    read.add("input_tool_tokens", connectors);
    Ok(())
}

fn connectors(read: &mut ResponseUsage, usage: &Body<'_>) -> Result<(), ProviderError> {
    let Some(connectors) = usage.object("connectors")? else { return Ok(()) };
    let mut calls = Tools::default();
    for connector in connectors.names() {
        let dimension = match connector {
            "web_search" => Some("web_searches"),
            "code_interpreter" => Some("code_executions"),
            "image_generation" => Some("output_images"),
            "document_library" => Some("file_searches"),
            _ => None,
        };
        let count = connectors.count_or_zero(connector)?;
        calls.add(connector, dimension, count, connectors.pointer())?;
    }
    calls.add_to(read);
    Ok(())
}

fn ocr(body: &Body<'_>, usage: &Body<'_>) -> Result<ResponseUsage, ProviderError> {
    let mut read = ResponseUsage::of(body);
    let pages = usage.required_count("pages_processed")?;
    // Azure counts them apart.
    if let Some(annotated) = usage.count("pages_processed_annotation")?.filter(|pages| *pages > 0) {
        read.add("pages", pages);
        read.add("annotated_pages", annotated);
        return Ok(read);
    }
    let annotated = body.get("document_annotation").is_some()
        || body.list("pages")?.iter().any(|page| {
            let images = page.get("images").and_then(Value::as_array).into_iter().flatten();
            images.filter_map(|image| image.get("image_annotation")).any(|a| !a.is_null())
        });
    read.add(if annotated { "annotated_pages" } else { "pages" }, pages);
    Ok(read)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use crate::providers::tests::{Case, Expected, case, fixture};
    use crate::providers::usage_from_response;

    const CHAT: &str = "https://docs.mistral.ai/api/endpoint/chat";
    const AUDIO: &str = "https://docs.mistral.ai/api/endpoint/audio/transcriptions";
    const OCR: &str = "https://docs.mistral.ai/api/endpoint/ocr";
    const AGENTS: &str = "https://docs.mistral.ai/agents/connectors/connectors";

    pub(in crate::providers) fn cases() -> Vec<Case> {
        let usage =
            |usage: Value| json!({"model": "m", "object": "chat.completion", "usage": usage});
        vec![
            case(
                AGENTS,
                fixture(include_str!("../../../../events/responses/mistral-conversation.json")),
                Expected::Usage(
                    "mistral-medium-2505: input_tokens 188, input_tool_tokens 7112, \
                     output_tokens 55, web_searches 1",
                ),
            ),
            case(
                CHAT,
                json!({"id": "c", "object": "chat.completion", "model": "mistral-small-latest",
                "usage": {
                    "prompt_tokens": 130, "completion_tokens": 7, "total_tokens": 137,
                    "num_cached_tokens": 64, "prompt_tokens_details": {"cached_tokens": 64},
                    "prompt_audio_seconds": 0
                }}),
                Expected::Usage(
                    "mistral-small-latest: cache_read_tokens 64, input_tokens 66, output_tokens 7",
                ),
            ),
            case(
                CHAT,
                usage(json!({
                    "prompt_tokens": 16, "completion_tokens": 40, "total_tokens": 56,
                    "prompt_audio_seconds": null,
                    "completion_tokens_details": {"reasoning_tokens": 30}
                })),
                Expected::Usage("m: input_tokens 16, output_reasoning_tokens 30, output_tokens 10"),
            ),
            // The last chunk of a stream.
            case(
                CHAT,
                json!([
                    {"id": "c", "model": "m", "choices": [{"delta": {"content": "a"}}]},
                    {"id": "c", "model": "m", "choices": [{"delta": {}, "finish_reason": "stop"}],
                     "usage": {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}},
                    "[DONE]"
                ]),
                Expected::Usage("m: input_tokens 5, output_tokens 1"),
            ),
            case(
                "https://docs.mistral.ai/api/endpoint/embeddings",
                json!({"object": "list", "model": "mistral-embed", "data": [], "usage": {
                    "prompt_tokens": 15, "completion_tokens": 0, "total_tokens": 15,
                    "prompt_audio_seconds": null
                }}),
                Expected::Usage("mistral-embed: input_tokens 15"),
            ),
            case(
                "https://docs.mistral.ai/api/endpoint/agents",
                usage(json!({
                    "prompt_tokens": 24, "completion_tokens": 27, "total_tokens": 51,
                    "prompt_audio_seconds": {}
                })),
                Expected::Usage("m: input_tokens 24, output_tokens 27"),
            ),
            // The total has the tokens of the sound.
            case(
                AUDIO,
                json!({"model": "voxtral-mini-latest", "text": "a", "language": null,
                "segments": [], "finish_reason": "stop", "usage": {
                    "prompt_audio_seconds": 12, "prompt_tokens": 3, "total_tokens": 419,
                    "completion_tokens": 41, "service_tier": "standard",
                    "prompt_tokens_details": {"cached_tokens": 368, "audio_tokens": 375}
                }}),
                Expected::Usage("voxtral-mini-latest: audio_seconds 12"),
            ),
            case(
                AUDIO,
                json!([
                    {"type": "transcription.text.delta", "text": "a"},
                    {"type": "transcription.done", "model": "voxtral-mini-latest", "text": "a",
                     "usage": {"prompt_audio_seconds": 3.25, "prompt_tokens": 8,
                               "completion_tokens": 4, "total_tokens": 60}}
                ]),
                Expected::Usage("voxtral-mini-latest: audio_seconds 3.25"),
            ),
            // A chat that heard something.
            case(
                CHAT,
                usage(json!({
                    "prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 405,
                    "prompt_audio_seconds": 30
                })),
                Expected::Usage("m: audio_seconds 30, input_tokens 10, output_tokens 20"),
            ),
            // What was cached of it is text first.
            case(
                CHAT,
                usage(json!({
                    "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 495,
                    "prompt_audio_seconds": 30, "num_cached_tokens": 64,
                    "prompt_tokens_details": {"cached_tokens": 64}
                })),
                Expected::Usage(
                    "m: audio_seconds 30, cache_read_tokens 64, input_tokens 36, output_tokens 20",
                ),
            ),
            case(
                CHAT,
                usage(json!({
                    "prompt_tokens": 10, "completion_tokens": 20, "prompt_audio_seconds": 30,
                    "prompt_tokens_details": {"cached_tokens": 368, "audio_tokens": 375}
                })),
                Expected::Usage("m: audio_seconds 30, cache_read_tokens 10, output_tokens 20"),
            ),
            case(
                CHAT,
                usage(json!({
                    "prompt_tokens": 10, "completion_tokens": 20, "prompt_audio_seconds": 30,
                    "num_cached_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}
                })),
                Expected::Contradictory("/usage/num_cached_tokens"),
            ),
            case(
                CHAT,
                usage(json!({
                    "prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 29,
                    "prompt_audio_seconds": 30
                })),
                Expected::Contradictory("/usage/total_tokens"),
            ),
            case(
                AGENTS,
                json!({"object": "conversation.response", "conversation_id": "c", "outputs": [
                    {"type": "tool.execution", "name": "web_search"},
                    {"type": "message.output", "model": "mistral-medium-2505"}
                ], "usage": {
                    "prompt_tokens": 188, "completion_tokens": 55, "total_tokens": 7_355,
                    "connector_tokens": 7_112, "connectors": {"web_search": 1}
                }}),
                Expected::Usage(
                    "mistral-medium-2505: input_tokens 188, input_tool_tokens 7112, \
                     output_tokens 55, web_searches 1",
                ),
            ),
            case(
                AGENTS,
                json!({"object": "conversation.response", "usage": {
                    "prompt_tokens": 95, "completion_tokens": 209, "total_tokens": 399,
                    "connector_tokens": 95,
                    "connectors": {"code_interpreter": 1, "web_search_premium": 2}
                }}),
                Expected::Usage(
                    "-: code_executions 1, input_tokens 95, input_tool_tokens 95, \
                     output_tokens 209, web_search_premium_calls 2",
                ),
            ),
            case(
                AGENTS,
                json!([{"type": "conversation.response.done", "usage": {
                    "prompt_tokens": 91, "completion_tokens": 29, "total_tokens": 120,
                    "connector_tokens": null, "connectors": null
                }}]),
                Expected::Usage("-: input_tokens 91, output_tokens 29"),
            ),
            case(
                AGENTS,
                json!([
                    {"type": "conversation.response.started", "conversation_id": "c"},
                    {"type": "message.output.delta", "model": "mistral-medium-2505", "content": "a"},
                    {"type": "conversation.response.done", "usage": {
                        "prompt_tokens": 91, "completion_tokens": 29, "total_tokens": 120
                    }}
                ]),
                Expected::Usage("mistral-medium-2505: input_tokens 91, output_tokens 29"),
            ),
            case(
                OCR,
                json!({"model": "mistral-ocr-2512", "document_annotation": null,
                       "pages": [{"index": 0, "markdown": "", "images": [
                           {"id": "img-0.jpeg", "image_annotation": null}
                       ]}],
                       "usage_info": {"pages_processed": 29, "doc_size_bytes": 3_002_783}}),
                Expected::Usage("mistral-ocr-2512: pages 29"),
            ),
            case(
                OCR,
                json!({"model": "mistral-ocr-2512", "document_annotation": "{}", "pages": [],
                       "usage_info": {"pages_processed": 2, "doc_size_bytes": null}}),
                Expected::Usage("mistral-ocr-2512: annotated_pages 2"),
            ),
            case(
                OCR,
                json!({"pages": [{"images": [{"image_annotation": "{}"}]}],
                       "usage_info": {"pages_processed": 1}}),
                Expected::Usage("-: annotated_pages 1"),
            ),
            case(OCR, json!({"usage_info": {}}), Expected::Missing("/usage_info/pages_processed")),
            case(
                CHAT,
                usage(json!({
                    "prompt_tokens": 5, "completion_tokens": 1, "num_cached_tokens": 6
                })),
                Expected::Contradictory("/usage/num_cached_tokens"),
            ),
            case(CHAT, usage(json!({})), Expected::Missing("/usage/prompt_tokens")),
            case(
                CHAT,
                json!({"object": "error", "message": "Rate limit exceeded", "code": "1300"}),
                Expected::Missing("nothing was used"),
            ),
        ]
    }

    proptest! {
        #[test]
        fn tokens_are_conserved(
            prompt in 0_u64..20, cached in 0_u64..20, completion in 0_u64..20,
            connector in 0_u64..20, reasoning in 0_u64..20,
        ) {
            let body = json!({"usage": {
                "prompt_tokens": prompt, "completion_tokens": completion,
                "total_tokens": prompt + completion + connector, "connector_tokens": connector,
                "num_cached_tokens": cached,
                "completion_tokens_details": {"reasoning_tokens": reasoning},
            }});
            let read = usage_from_response("mistral", &body);
            prop_assert_eq!(
                read.is_ok(), cached <= prompt && reasoning <= completion, "{} {:?}", body, read
            );
            let Ok(read) = read else { return Ok(()) };
            let all: u64 = read.usage.values().map(|quantity| quantity.millis() / 1_000).sum();
            prop_assert_eq!(all, prompt + completion + connector);
        }
    }
}

//! Cohere: Chat, Embed, Rerank, Classify, of both versions of the API.
//!
//! | body | dimension |
//! |---|---|
//! | `billed_units.input_tokens`, `.output_tokens` | `input_tokens`, `output_tokens` |
//! | `billed_units.image_tokens`, else `.images` | `input_image_tokens`, else `input_images` |
//! | `billed_units.search_units` | `queries` |
//! | `billed_units.classifications` | `classifications` |
//! | `usage.prompt_tokens` ... of the Compatibility API | as [`super::chat`] says |
//!
//! The units that are billed are under `usage` (Chat of version 2) or `meta`, and what is not among
//! them isn't billed: `tokens` count the whole prompt with what Cohere adds to it, and
//! `cached_tokens` are a part of those. Only where there are no billed units, as in deployments of
//! one's own, `tokens` count, with `cached_tokens` taken out as `cache_read_tokens`. Units may be
//! written as fractions (`5.0`). Images are told by number and, where tokens are billed, by tokens:
//! the tokens count then. No body but those of the Compatibility API names its model. In streams
//! the usage is in the event `message-end`, of version 1 `stream-end`.

use super::body::Body;
use super::chat::Chat;
use super::stream::Events;
use super::{Provider, ProviderError, ResponseUsage, contradictory, missing};

pub(super) const PROVIDER: Provider = Provider {
    name: "cohere",
    aliases: &[],
    read,
    read_stream,
    #[cfg(test)]
    cases: tests::cases,
};

/// Where the counts are in responses, and in the last events of streams.
const USAGE: &[&[&str]] = &[&["usage"], &["meta"], &["delta", "usage"], &["response", "meta"]];

/// Units, and what each is.
const UNITS: [(&str, &str); 6] = [
    ("input_tokens", "input_tokens"),
    ("output_tokens", "output_tokens"),
    ("image_tokens", "input_image_tokens"),
    ("images", "input_images"),
    ("search_units", "queries"),
    ("classifications", "classifications"),
];

fn read_stream(events: &Events<'_>) -> Result<ResponseUsage, ProviderError> {
    events.read_last(USAGE, read)
}

fn read(body: &Body<'_>) -> Result<ResponseUsage, ProviderError> {
    let mut found = None;
    for path in USAGE {
        if found.is_none() {
            found = body.object_at(path)?;
        }
    }
    let Some(usage) = found else {
        return Err(body.no_usage("of a stream, give the event message-end, or all"));
    };
    if Chat::is_usage(&usage)? {
        return Chat::OPENAI.read(body);
    }
    let mut read = ResponseUsage::of(body);
    if let Some(billed) = usage.object("billed_units")? {
        let by_tokens = billed.measure("image_tokens")?.is_some_and(|tokens| !tokens.is_zero());
        let mut told = false;
        for (unit, dimension) in UNITS {
            if let Some(count) = billed.measure(unit)? {
                told = true;
                if unit != "images" || !by_tokens {
                    read.add_quantity(dimension, count);
                }
            }
        }
        return if told {
            Ok(read)
        } else {
            Err(missing(format!("the response has no units in {}", billed.pointer())))
        };
    }
    let Some(tokens) = usage.object("tokens")? else {
        return Err(missing(format!("the response has no {}", usage.at("billed_units"))));
    };
    let whole = |field| match tokens.measure(field)? {
        Some(count) => Ok(count),
        None => Err(missing(format!("the response has no {}", tokens.at(field)))),
    };
    let (input, output) = (whole("input_tokens")?, whole("output_tokens")?);
    let cached = usage.measure("cached_tokens")?.unwrap_or_default();
    let fresh = input.checked_sub(cached).ok_or_else(|| {
        contradictory(
            usage.at("cached_tokens"),
            format!("cached_tokens is {cached}, more than the {input} of the prompt"),
        )
    })?;
    read.add_quantity("input_tokens", fresh);
    read.add_quantity("cache_read_tokens", cached);
    read.add_quantity("output_tokens", output);
    Ok(read)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use crate::providers::tests::{Case, Expected, case, fixture};
    use crate::providers::usage_from_response;

    const CHAT: &str = "https://docs.cohere.com/reference/chat";
    const STREAM: &str = "https://docs.cohere.com/reference/chat-stream";
    const COMPATIBLE: &str = "https://docs.cohere.com/docs/compatibility-api";
    const EMBED: &str = "https://docs.cohere.com/reference/embed";
    const RERANK: &str = "https://docs.cohere.com/reference/rerank";

    pub(in crate::providers) fn cases() -> Vec<Case> {
        vec![
            case(
                COMPATIBLE,
                json!({
                    "object": "chat.completion", "model": "command-a-03-2025", "choices": [],
                    "usage": {"prompt_tokens": 12, "completion_tokens": 20, "total_tokens": 32}
                }),
                Expected::Usage("command-a-03-2025: input_tokens 12, output_tokens 20"),
            ),
            case(
                CHAT,
                fixture(include_str!("../../../../events/responses/cohere-chat.json")),
                Expected::Usage("-: input_tokens 17, output_tokens 12"),
            ),
            case(
                CHAT,
                json!({"id": "c", "finish_reason": "COMPLETE", "message": {"role": "assistant"},
                "usage": {
                    "billed_units": {"input_tokens": 5, "output_tokens": 418},
                    "tokens": {"input_tokens": 71, "output_tokens": 418},
                    "cached_tokens": 64
                }}),
                Expected::Usage("-: input_tokens 5, output_tokens 418"),
            ),
            // A call of a tool, from an SDK that writes fractions.
            case(
                CHAT,
                json!({"finish_reason": "TOOL_CALL", "usage": {
                    "billed_units": {
                        "input_tokens": 39.0, "output_tokens": 19.0, "search_units": null,
                        "classifications": null
                    },
                    "tokens": {"input_tokens": 955.0, "output_tokens": 52.0}
                }}),
                Expected::Usage("-: input_tokens 39, output_tokens 19"),
            ),
            case(
                STREAM,
                json!([
                    {"type": "message-start", "id": "c", "delta": {"message": {"role": "assistant"}}},
                    {"type": "content-delta", "index": 0,
                     "delta": {"message": {"content": {"text": "a"}}}},
                    {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": {
                        "billed_units": {"input_tokens": 3, "output_tokens": 9},
                        "tokens": {"input_tokens": 69, "output_tokens": 9}
                    }}}
                ]),
                Expected::Usage("-: input_tokens 3, output_tokens 9"),
            ),
            case(
                "https://docs.cohere.com/v1/reference/chat-stream",
                json!({"event_type": "stream-end", "is_finished": true, "response": {
                    "text": "a", "meta": {
                        "api_version": {"version": "1"},
                        "billed_units": {"input_tokens": 4, "output_tokens": 2, "search_units": 1}
                    }
                }}),
                Expected::Usage("-: input_tokens 4, output_tokens 2, queries 1"),
            ),
            case(
                EMBED,
                json!({"id": "e", "embeddings": {"float": []}, "texts": ["a"], "meta": {
                    "api_version": {"version": "2"}, "billed_units": {"input_tokens": 2}
                }}),
                Expected::Usage("-: input_tokens 2"),
            ),
            case(
                EMBED,
                json!({"embeddings": {}, "images": [{"width": 400}], "meta": {
                    "billed_units": {"images": 1}
                }}),
                Expected::Usage("-: input_images 1"),
            ),
            case(
                EMBED,
                json!({"embeddings": {}, "meta": {"billed_units": {
                    "images": 1, "image_tokens": 540, "input_tokens": 12
                }}}),
                Expected::Usage("-: input_image_tokens 540, input_tokens 12"),
            ),
            case(
                RERANK,
                json!({"results": [], "id": "r", "meta": {
                    "api_version": {"version": "2"}, "billed_units": {"search_units": 1}
                }}),
                Expected::Usage("-: queries 1"),
            ),
            case(
                "https://docs.cohere.com/v1/reference/classify",
                json!({"classifications": [], "meta": {"billed_units": {"classifications": 3}}}),
                Expected::Usage("-: classifications 3"),
            ),
            // Without billed units.
            case(
                CHAT,
                json!({"usage": {
                    "tokens": {"input_tokens": 71, "output_tokens": 4}, "cached_tokens": 64
                }}),
                Expected::Usage("-: cache_read_tokens 64, input_tokens 7, output_tokens 4"),
            ),
            case(
                CHAT,
                json!({"usage": {
                    "tokens": {"input_tokens": 7, "output_tokens": 4}, "cached_tokens": 8
                }}),
                Expected::Contradictory("/usage/cached_tokens"),
            ),
            case(
                CHAT,
                json!({"usage": {"billed_units": {"input_tokens": 0, "output_tokens": 0}}}),
                Expected::Usage("-: "),
            ),
            case(
                CHAT,
                json!({"usage": {"billed_units": {}}}),
                Expected::Missing("no units in /usage/billed_units"),
            ),
            case(CHAT, json!({"usage": {}}), Expected::Missing("/usage/billed_units")),
            case(
                CHAT,
                json!({"usage": {"billed_units": {"input_tokens": -1}}}),
                Expected::Contradictory("/usage/billed_units/input_tokens"),
            ),
            case(
                "https://docs.cohere.com/reference/errors",
                json!({"id": "e", "message": "invalid request: all elements in history must have a message"}),
                Expected::Missing("nothing was used"),
            ),
        ]
    }

    proptest! {
        /// Whatever `tokens` say, what is billed is what counts.
        #[test]
        fn billed_units_count(input in 0_u64..99, output in 0_u64..99, tokens in 0_u64..99) {
            let body = json!({"usage": {
                "billed_units": {"input_tokens": input, "output_tokens": output},
                "tokens": {"input_tokens": tokens, "output_tokens": tokens},
                "cached_tokens": tokens,
            }});
            let read = usage_from_response("cohere", &body).unwrap();
            let all: u64 = read.usage.values().map(|quantity| quantity.millis() / 1_000).sum();
            prop_assert_eq!(all, input + output);
        }
    }
}

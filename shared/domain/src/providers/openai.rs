//! `OpenAI`: Chat Completions (and Embeddings), Responses, Images, and token-billed transcriptions.
//!
//! Which API a body comes from is seen from its counts: `prompt_tokens` is Chat Completions; the
//! others name `input_tokens`, and Images is told by its `data` or, where that was cut away, by
//! details that split text from images.
//!
//! | body | dimension |
//! |---|---|
//! | `prompt_tokens`, `input_tokens`, without what is below | `input_tokens` |
//! | `..details.cached_tokens` | `cache_read_tokens`, and what is more than the text was: `cache_read_image_tokens`, `cache_read_audio_tokens` |
//! | `..details.cache_write_tokens` | `cache_write_tokens`; those kept for 12 hours `cache_write_12h_tokens` |
//! | `..details.audio_tokens` | `input_audio_tokens`, `output_audio_tokens` |
//! | `..details.image_tokens`, of Images | `input_image_tokens`, `output_image_tokens` |
//! | `completion_tokens`, `output_tokens` (include reasoning), without audio and images | `output_tokens` |
//! | `tool_usage.web_search`, else the searches among `output` | `web_searches` |
//! | `tool_usage.image_gen`, `svg_usage`: another model's tokens | `image_gen_input_tokens`, `svg_input_tokens` ... |
//! | `data` of Images without usage | `output_images` |
//!
//! Images in a chat's prompt have the price of text. The bodies don't tell which part of a prompt
//! was cached or written: text is first, then images, then audio.
//! `service_tier` becomes `service_class`; an image's `size` and `quality` keep their names.

use serde_json::Value;

use super::body::Body;
use super::chat::{Chat, Completion, Prompt};
use super::stream::Events;
use super::{Provider, ProviderError, ResponseUsage, SERVICE_CLASS, missing};

pub(super) const PROVIDER: Provider = Provider {
    name: "openai",
    aliases: &[],
    read,
    read_stream,
    #[cfg(test)]
    cases: tests::cases,
};

fn read_stream(events: &Events<'_>) -> Result<ResponseUsage, ProviderError> {
    Chat::OPENAI.read_stream(events)
}

fn read(body: &Body<'_>) -> Result<ResponseUsage, ProviderError> {
    let mut read = ResponseUsage { model: body.model(), ..ResponseUsage::default() };
    read.set(SERVICE_CLASS, body.parameter("service_tier", &["auto", "default", "standard"])?);
    match body.object("usage")? {
        Some(usage) if Chat::is_usage(&usage) => Chat::OPENAI.read_usage(&mut read, &usage)?,
        Some(usage) => {
            let input = usage.first_object(&["input_tokens_details", "input_token_details"])?;
            if is_images(body, input.as_ref()) {
                images(&mut read, body, &usage, input.as_ref())?;
            } else {
                responses(&mut read, body, &usage, input.as_ref())?;
            }
        }
        None => images_without_usage(&mut read, body)?,
    }
    Ok(read)
}

fn responses(
    read: &mut ResponseUsage,
    body: &Body<'_>,
    usage: &Body<'_>,
    input_details: Option<&Body<'_>>,
) -> Result<(), ProviderError> {
    let (input, output) = input_and_output(usage)?;
    prompt(read, input, input_details)?;
    let details = usage.first_object(&["output_tokens_details", "output_token_details"])?;
    Completion { total: output, of: "output_tokens", reasoning_inside: true }
        .add_to(read, details.as_ref())?;

    let tools = body.object("tool_usage")?;
    let counted = match &tools {
        Some(tools) => tools.object("web_search")?.map(|t| t.required_count("num_requests")),
        None => None,
    };
    read.add("web_searches", counted.unwrap_or_else(|| Ok(searches(body)))?);
    if let Some(tools) = tools
        && let Some(generated) = tools.object("image_gen")?
    {
        let (input, output) = input_and_output(&generated)?;
        let [images_in] = image_tokens(&generated, "input_tokens_details", input, "input_tokens")?;
        let [images_out] = match generated.get("output_tokens_details") {
            Some(_) => image_tokens(&generated, "output_tokens_details", output, "output_tokens")?,
            None => [output],
        };
        read.add("image_gen_input_tokens", input - images_in);
        read.add("image_gen_input_image_tokens", images_in);
        read.add("image_gen_output_tokens", output - images_out);
        read.add("image_gen_output_image_tokens", images_out);
    }
    Ok(())
}

/// Searches among the output items; opening a page found and finding text in it are free, and an
/// item that was trimmed of its action counts.
fn searches(body: &Body<'_>) -> u64 {
    let items = body.get("output").and_then(Value::as_array);
    let is_search = |item: &&Value| {
        let action = item.pointer("/action/type").and_then(Value::as_str);
        item.get("type").and_then(Value::as_str) == Some("web_search_call")
            && matches!(action, None | Some("search"))
    };
    items.into_iter().flatten().filter(is_search).map(|_| 1).sum()
}

fn images(
    read: &mut ResponseUsage,
    body: &Body<'_>,
    usage: &Body<'_>,
    input_details: Option<&Body<'_>>,
) -> Result<(), ProviderError> {
    let (input, output) = input_and_output(usage)?;
    prompt(read, input, input_details)?;
    let images = match usage.get("output_tokens_details") {
        Some(_) => {
            let [images] = image_tokens(usage, "output_tokens_details", output, "output_tokens")?;
            images
        }
        None => output,
    };
    read.add("output_image_tokens", images);
    read.add("output_tokens", output - images);
    if let Some(svg) = body.object("svg_usage")? {
        let (input, output) = input_and_output(&svg)?;
        read.add("svg_input_tokens", input);
        read.add("svg_output_tokens", output);
    }
    image_parameters(read, body)
}

fn images_without_usage(read: &mut ResponseUsage, body: &Body<'_>) -> Result<(), ProviderError> {
    if body.get("error").is_some() {
        return Err(missing("the response is an error: it has no usage"));
    }
    let count = image_data(body).unwrap_or(0);
    if count == 0 {
        return Err(missing(
            "the response has no usage; of a stream, ask for it (stream_options.include_usage) and \
             give the last part",
        ));
    }
    read.add("output_images", count);
    image_parameters(read, body)
}

fn image_parameters(read: &mut ResponseUsage, body: &Body<'_>) -> Result<(), ProviderError> {
    read.set("size", body.parameter("size", &["auto"])?);
    read.set("quality", body.parameter("quality", &["auto"])?);
    Ok(())
}

/// The number of images in `data`, where it is a list of images: embeddings and lists of other
/// things name their kind in `object`.
fn image_data(body: &Body<'_>) -> Option<u64> {
    let data = body.get("data")?.as_array()?;
    let all_images = body.get("object").is_none()
        && data.iter().all(|item| item.is_object() && item.get("object").is_none());
    all_images.then(|| u64::try_from(data.len()).ok())?
}

fn is_images(body: &Body<'_>, input_details: Option<&Body<'_>>) -> bool {
    if body.get("object").is_some() || body.get("output").is_some() || body.get("text").is_some() {
        return false;
    }
    body.get("data").is_some()
        || input_details.is_some_and(|details| details.get("image_tokens").is_some())
}

fn input_and_output(usage: &Body<'_>) -> Result<(u64, u64), ProviderError> {
    if let Some("duration") = usage.get("type").and_then(Value::as_str) {
        return Err(missing(
            "this transcription is billed by its duration: charge audio_seconds as usage",
        ));
    }
    let input = usage.required_count("input_tokens")?;
    let output = usage.required_count("output_tokens")?;
    usage.check_total("total_tokens", input + output)?;
    Ok((input, output))
}

/// How many of `total` tokens are images; what the details leave over is text.
fn image_tokens(
    usage: &Body<'_>,
    details: &str,
    total: u64,
    of: &str,
) -> Result<[u64; 1], ProviderError> {
    match usage.object(details)? {
        Some(details) => {
            let [images, _] = details.parts(["image_tokens", "text_tokens"], total, of)?;
            Ok([images])
        }
        None => Ok([0]),
    }
}

fn prompt(
    read: &mut ResponseUsage,
    input: u64,
    details: Option<&Body<'_>>,
) -> Result<(), ProviderError> {
    let cached = match details {
        Some(details) => details.parts(["cached_tokens"], input, "input_tokens")?,
        None => [0],
    };
    Prompt { total: input, of: "input_tokens", cached: cached[0] }.add_to(read, details)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::providers::tests::{Case, Expected, case, check_provider};

    const CHAT: &str = "https://platform.openai.com/docs/api-reference/chat/object";

    pub(in crate::providers) fn cases() -> Vec<Case> {
        vec![case(
            CHAT,
            json!({"model": "m", "usage": {"prompt_tokens": 1, "completion_tokens": 0}}),
            Expected::Usage("m: input_tokens 1"),
        )]
    }

    fn check(body: &Value, expected: Expected<'_>) {
        check_provider("openai", body, expected);
    }

    #[test]
    fn chat_completions() {
        check(
            &json!({
                "id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-5.1-2025-11-13",
                "choices": [], "service_tier": "default",
                "usage": {
                    "prompt_tokens": 2006, "completion_tokens": 412, "total_tokens": 2418,
                    "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
                    "completion_tokens_details": {
                        "reasoning_tokens": 256, "audio_tokens": 0,
                        "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0
                    }
                }
            }),
            Expected::Usage(
                "gpt-5.1-2025-11-13: cache_read_tokens 1920, input_tokens 86, output_reasoning_tokens 256, output_tokens 156",
            ),
        );
        let usage = |usage: Value| json!({"model": "m", "usage": usage});
        // Images in a chat have the price of text; audio has its own.
        check(
            &usage(json!({
                "prompt_tokens": 340, "completion_tokens": 121, "total_tokens": 461,
                "prompt_tokens_details": {
                    "cached_tokens": 0, "audio_tokens": 290, "text_tokens": 30, "image_tokens": 20
                },
                "completion_tokens_details": {"audio_tokens": 96, "text_tokens": 25}
            })),
            Expected::Usage(
                "m: input_audio_tokens 290, input_image_tokens 20, input_tokens 30, output_audio_tokens 96, \
                 output_tokens 25",
            ),
        );
        // Cached is text first, and audio where that is not enough.
        check(
            &usage(json!({
                "prompt_tokens": 100, "completion_tokens": 1,
                "prompt_tokens_details": {"cached_tokens": 70, "audio_tokens": 60}
            })),
            Expected::Usage(
                "m: cache_read_audio_tokens 30, cache_read_tokens 40, input_audio_tokens 30, \
                 output_tokens 1",
            ),
        );
        check(
            &usage(json!({
                "prompt_tokens": 100, "completion_tokens": 0,
                "prompt_tokens_details": {
                    "cached_tokens": 20, "cache_write_tokens": 50,
                    "cache_write_tokens_details": {"ttl_30m_tokens": 10, "ttl_12h_tokens": 40}
                }
            })),
            Expected::Usage(
                "m: cache_read_tokens 20, cache_write_12h_tokens 40, cache_write_tokens 10, \
                 input_tokens 30",
            ),
        );
        check(
            &usage(json!({
                "prompt_tokens": 5, "completion_tokens": 3, "total_tokens": null,
                "prompt_tokens_details": null, "completion_tokens_details": null
            })),
            Expected::Usage("m: input_tokens 5, output_tokens 3"),
        );
    }

    #[test]
    fn embeddings_and_what_is_refused() {
        let usage = |usage: Value| json!({"model": "m", "usage": usage});
        check(
            &json!({
                "object": "list", "model": "m", "data": [{"object": "embedding"}],
                "usage": {"prompt_tokens": 8, "total_tokens": 8}
            }),
            Expected::Usage("m: input_tokens 8"),
        );
        check(&usage(json!({"prompt_tokens": 8})), Expected::Missing("/usage/completion_tokens"));
        check(&usage(json!({"completion_tokens": 8})), Expected::Missing("/usage/prompt_tokens"));
        check(
            &usage(json!({"prompt_tokens": 8, "completion_tokens": 2, "total_tokens": 11})),
            Expected::Contradictory("/usage/total_tokens"),
        );
        for (details, pointer) in [
            (json!({"cached_tokens": 11}), "cached_tokens"),
            (json!({"audio_tokens": 11}), "audio_tokens"),
            (json!({"audio_tokens": 6, "text_tokens": 6}), "text_tokens"),
            (json!({"cached_tokens": 6, "cache_write_tokens": 6}), "cache_write_tokens"),
            (json!({"cached_tokens": -1}), "cached_tokens"),
            (
                json!({
                    "cache_write_tokens": 6, "cache_write_tokens_details": {"ttl_12h_tokens": 5}
                }),
                "cache_write_tokens",
            ),
        ] {
            check(
                &usage(json!({
                    "prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": details
                })),
                Expected::Contradictory(&format!("/usage/prompt_tokens_details/{pointer}")),
            );
        }
        check(
            &usage(json!({
                "prompt_tokens": 10, "completion_tokens": 5,
                "completion_tokens_details": {"reasoning_tokens": 4, "audio_tokens": 2}
            })),
            Expected::Contradictory("/usage/completion_tokens_details/reasoning_tokens"),
        );
        check(
            &json!({"object": "chat.completion.chunk", "choices": [], "usage": null}),
            Expected::Missing("include_usage"),
        );
        check(&json!({"error": {"type": "tokens"}}), Expected::Missing("an error"));
        check(&json!("no"), Expected::Missing("not a JSON object"));
        check(&json!({"usage": "none"}), Expected::Contradictory("/usage"));
    }

    #[test]
    fn service_tiers() {
        for (tier, class) in [("flex", " service_class=flex"), ("auto", ""), ("standard", "")] {
            check(
                &json!({
                    "service_tier": tier, "usage": {"prompt_tokens": 1, "completion_tokens": 1}
                }),
                Expected::Usage(&format!("-: input_tokens 1, output_tokens 1{class}")),
            );
        }
    }

    #[test]
    fn responses() {
        check(
            &json!({
                "object": "response", "model": "gpt-5.4-mini-2026-03-17", "service_tier": "flex",
                "error": null,
                "output": [
                    {"type": "web_search_call", "action": {"type": "search", "query": "a"}},
                    {"type": "web_search_call", "action": {"type": "open_page"}},
                    {"type": "web_search_call"},
                    {"type": "message"}
                ],
                "usage": {
                    "input_tokens": 5328, "input_tokens_details": {"cached_tokens": 4096},
                    "output_tokens": 870, "output_tokens_details": {"reasoning_tokens": 640},
                    "total_tokens": 6198
                }
            }),
            Expected::Usage(
                "gpt-5.4-mini-2026-03-17: cache_read_tokens 4096, input_tokens 1232, output_reasoning_tokens 640, output_tokens 230, web_searches 2 service_class=flex",
            ),
        );
        // The provider's own count of searches goes before the items; another model's image
        // tokens have names of their own.
        check(
            &json!({
                "model": "m", "output": [{"type": "web_search_call"}],
                "usage": {"input_tokens": 1, "output_tokens": 1},
                "tool_usage": {
                    "web_search": {"num_requests": 3},
                    "image_gen": {
                        "input_tokens": 10, "output_tokens": 20, "total_tokens": 30,
                        "input_tokens_details": {"image_tokens": 4, "text_tokens": 6}
                    }
                }
            }),
            Expected::Usage(
                "m: image_gen_input_image_tokens 4, image_gen_input_tokens 6, \
                 image_gen_output_image_tokens 20, input_tokens 1, output_tokens 1, \
                 web_searches 3",
            ),
        );
        check(
            &json!({"usage": {
                "input_tokens": 281_600, "output_tokens": 1_930,
                "input_tokens_details": {"cached_tokens": 204_800, "cache_write_tokens": 71_680}
            }}),
            Expected::Usage(
                "-: cache_read_tokens 204800, cache_write_tokens 71680, input_tokens 5120, \
                 output_tokens 1930",
            ),
        );
        check(
            &json!({"object": "response", "usage": {
                "input_tokens": 5, "output_tokens": 5, "total_tokens": 9
            }}),
            Expected::Contradictory("/usage/total_tokens"),
        );
        check(
            &json!({"usage": {
                "input_tokens": 5, "output_tokens": 5,
                "output_tokens_details": {"reasoning_tokens": 6}
            }}),
            Expected::Contradictory("/usage/output_tokens_details/reasoning_tokens"),
        );
        check(
            &json!({"object": "response", "status": "failed", "error": {}, "usage": null}),
            Expected::Missing("an error"),
        );
        // Transcriptions.
        check(
            &json!({"text": "", "usage": {
                "type": "tokens", "input_tokens": 14, "output_tokens": 45, "total_tokens": 59,
                "input_token_details": {"text_tokens": 4, "audio_tokens": 10}
            }}),
            Expected::Usage("-: input_audio_tokens 10, input_tokens 4, output_tokens 45"),
        );
        check(
            &json!({"text": "", "usage": {"type": "duration", "seconds": 7}}),
            Expected::Missing("audio_seconds"),
        );
    }

    #[test]
    fn images() {
        check(
            &json!({
                "created": 1, "data": [{"b64_json": ""}], "size": "1024x1024", "quality": "medium",
                "usage": {
                    "total_tokens": 1443, "input_tokens": 387, "output_tokens": 1056,
                    "input_tokens_details": {"text_tokens": 64, "image_tokens": 323}
                }
            }),
            Expected::Usage(
                "-: input_image_tokens 323, input_tokens 64, output_image_tokens 1056 \
                 quality=medium size=1024x1024",
            ),
        );
        // Trimmed; details that leave a remainder; text among the output.
        check(
            &json!({"model": "gpt-image-2", "usage": {
                "input_tokens": 100, "output_tokens": 50,
                "input_tokens_details": {"image_tokens": 60, "cached_tokens": 70},
                "output_tokens_details": {"image_tokens": 45, "text_tokens": 5}
            }}),
            Expected::Usage(
                "gpt-image-2: cache_read_image_tokens 30, cache_read_tokens 40, \
                 input_image_tokens 30, output_image_tokens 45, output_tokens 5",
            ),
        );
        check(
            &json!({
                "data": [{}], "usage": {"input_tokens": 1, "output_tokens": 2},
                "svg_usage": {"input_tokens": 3, "output_tokens": 4}
            }),
            Expected::Usage(
                "-: input_tokens 1, output_image_tokens 2, svg_input_tokens 3, svg_output_tokens 4",
            ),
        );
        check(
            &json!({"created": 1, "data": [{"url": "a"}, {"url": "b"}]}),
            Expected::Usage("-: output_images 2"),
        );
        check(&json!({"created": 1, "data": []}), Expected::Missing("no usage"));
        check(&json!({"object": "list", "data": [{}]}), Expected::Missing("no usage"));
        check(
            &json!({"data": [{}], "usage": {
                "input_tokens": 9, "output_tokens": 1,
                "input_tokens_details": {"text_tokens": 5, "image_tokens": 5}
            }}),
            Expected::Contradictory("/usage/input_tokens_details/text_tokens"),
        );
    }
}

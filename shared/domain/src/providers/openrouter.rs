//! `OpenRouter`: Chat Completions ([`super::chat`]), Responses, Messages ([`super::compatible`]),
//! embeddings, rerank.
//!
//! | body | dimension |
//! |---|---|
//! | `prompt_tokens_details.cached_tokens`, `.audio_tokens`, `.video_tokens`, within `prompt_tokens` | `cache_read_tokens`, `input_audio_tokens`, `input_video_tokens` |
//! | `prompt_tokens_details.cache_write_tokens`, within `prompt_tokens` | `cache_write_tokens`; what `cache_creation` says is kept for an hour `cache_write_1h_tokens` |
//! | `completion_tokens_details.reasoning_tokens`, within `completion_tokens` unless the total shows that it is not | `output_reasoning_tokens` |
//! | `.image_tokens`, `.audio_tokens`, within `completion_tokens` | `output_image_tokens`, `output_audio_tokens` |
//! | `server_tool_use_details.web_search_requests`, older `server_tool_use` | `web_searches` |
//! | without them, the searches among `output`; or one where the annotations have a `url_citation` | `web_searches` |
//! | `search_units` of rerank | `queries` |
//!
//! Counts are those of the model's own tokenizer. `provider`, who served the request, becomes the
//! parameter `route`, as prices may differ by it; `service_tier` becomes `service_class`. What it
//! cost (`cost`, `cost_details`, `is_byok`) is not read. Searches are billed outside the tokens.

use serde_json::Value;

use super::anthropic::is_messages;
use super::body::Body;
use super::chat::{Chat, Reasoning};
use super::openai::{all_items, cites_pages, is_search, items_done};
use super::stream::Events;
use super::{Provider, ProviderError, ResponseUsage, compatible, contradictory};

pub(super) const PROVIDER: Provider = Provider {
    name: "openrouter",
    aliases: &[],
    read,
    read_stream,
    #[cfg(test)]
    cases: tests::cases,
};

const CHAT: Chat = Chat { reasoning: Reasoning::ByTotal, ..Chat::OPENAI };

fn read(body: &Body<'_>) -> Result<ResponseUsage, ProviderError> {
    read_with_searches(body, std::slice::from_ref(body))
}

fn read_stream(events: &Events<'_>) -> Result<ResponseUsage, ProviderError> {
    let all: Vec<_> = events.iter().cloned().collect();
    compatible::read_stream(&CHAT, events, |last| read_with_searches(last, &all))
}

fn read_with_searches(body: &Body<'_>, all: &[Body<'_>]) -> Result<ResponseUsage, ProviderError> {
    let inner = match body.object_at(&["response", "usage"])? {
        Some(_) => body.object("response")?,
        None => None,
    };
    let body = inner.as_ref().unwrap_or(body);
    let usage = body.object("usage")?;
    let mut read = match &usage {
        // Rerank, which may tell tokens that are not billed.
        Some(usage) if usage.get("search_units").is_some() => {
            let mut read = ResponseUsage::of(body);
            read.add("queries", usage.count_or_zero("search_units")?);
            read
        }
        _ => compatible::read(&CHAT, body)?,
    };
    read.set("route", body.parameter("provider", &[])?);
    if let Some(usage) = usage
        && !is_messages(body)?
    {
        read.set(super::SERVICE_CLASS, usage.parameter("service_tier", CHAT.standard_tiers)?);
        split_writes(&mut read, &usage)?;
        let searches = match told_searches(&usage)? {
            Some(told) => told,
            None => shown_searches(body, all)?,
        };
        read.add("web_searches", searches);
    }
    Ok(read)
}

/// Tells the cache writes that are kept for an hour from the others.
fn split_writes(read: &mut ResponseUsage, usage: &Body<'_>) -> Result<(), ProviderError> {
    let Some(ages) = usage.object("cache_creation")? else { return Ok(()) };
    let short = ages.count_or_zero("ephemeral_5m_input_tokens")?;
    let long = ages.count_or_zero("ephemeral_1h_input_tokens")?;
    let written = read.usage.remove("cache_write_tokens").map_or(0, |q| q.millis() / 1_000);
    // What no lifetime is told of is kept for the usual one.
    if short + long > written {
        return Err(contradictory(
            usage.at("cache_creation"),
            format!(
                "cache_creation adds up to {}, but cache_write_tokens is {written}",
                short + long
            ),
        ));
    }
    read.add("cache_write_tokens", written - long);
    read.add("cache_write_1h_tokens", long);
    Ok(())
}

/// The searches that the usage counts.
fn told_searches(usage: &Body<'_>) -> Result<Option<u64>, ProviderError> {
    let mut told = None;
    for field in ["server_tool_use_details", "server_tool_use"] {
        let Some(tools) = usage.object(field)? else { continue };
        let count = tools.count("web_search_requests")?;
        if let (Some(told), Some(count)) = (told, count)
            && told != count
        {
            return Err(contradictory(
                tools.at("web_search_requests"),
                format!("the searches are {told}, and {count} by {field}"),
            ));
        }
        told = told.or(count);
    }
    Ok(told)
}

/// The searches that a response shows: those among the output of Responses, or one where an answer
/// cites pages, whatever the model.
fn shown_searches(body: &Body<'_>, all: &[Body<'_>]) -> Result<u64, ProviderError> {
    let mut searches = 0;
    let mut cites = false;
    for item in all_items(body, &items_done(all)?)? {
        searches += u64::from(item.text("type") == Some("web_search_call") && is_search(&item)?);
        let parts = item.get("content").and_then(Value::as_array).into_iter().flatten();
        let mut notes = parts.filter_map(|part| part.get("annotations")?.as_array()).flatten();
        cites |= notes.any(|note| note.get("type").is_some_and(|kind| kind == "url_citation"));
    }
    for part in all {
        cites |= cites_pages(part)?;
    }
    Ok(searches.max(u64::from(cites)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::providers::tests::{Case, Expected, case, fixture};

    const USAGE: &str = "https://openrouter.ai/docs/use-cases/usage-accounting";
    const SEARCH: &str = "https://openrouter.ai/docs/guides/features/server-tools/web-search";
    const PLUGIN: &str = "https://openrouter.ai/docs/features/web-search";
    const SDK: &str = "https://openrouter.ai/docs/client-sdks/typescript/models/batchobjectusage";

    pub(in crate::providers) fn cases() -> Vec<Case> {
        let usage = |usage: Value| json!({"model": "m", "usage": usage});
        let page = json!({"type": "url_citation", "url_citation": {"url": "https://example.com"}});
        vec![
            case(
                USAGE,
                fixture(include_str!("../../../../events/responses/openrouter-chat.json")),
                Expected::Usage(
                    "anthropic/claude-3.5-haiku: cache_write_tokens 1100, input_tokens 94, \
                     output_tokens 12, web_searches 1 route=Anthropic",
                ),
            ),
            // The last chunk of a stream, with what was written to the cache.
            case(
                USAGE,
                json!([
                    {"id": "gen-1", "provider": "Anthropic", "model": "anthropic/claude-sonnet-4.5",
                     "object": "chat.completion.chunk", "choices": [{"delta": {"content": "a"}}]},
                    {"id": "gen-1", "provider": "Anthropic", "model": "anthropic/claude-sonnet-4.5",
                     "object": "chat.completion.chunk", "choices": [], "usage": {
                        "completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 0},
                        "cost": 0.95, "cost_details": {"upstream_inference_cost": 19},
                        "prompt_tokens": 194, "prompt_tokens_details": {
                            "cached_tokens": 0, "cache_write_tokens": 100, "audio_tokens": 0
                        },
                        "total_tokens": 196
                     }}
                ]),
                Expected::Usage(
                    "anthropic/claude-sonnet-4.5: cache_write_tokens 100, input_tokens 94, \
                     output_tokens 2 route=Anthropic",
                ),
            ),
            case(
                SDK,
                usage(json!({
                    "prompt_tokens": 300, "completion_tokens": 10, "total_tokens": 310,
                    "prompt_tokens_details": {"cached_tokens": 50, "cache_write_tokens": 200},
                    "cache_creation": {
                        "ephemeral_5m_input_tokens": 80, "ephemeral_1h_input_tokens": 120
                    },
                    "service_tier": "flex", "is_byok": false
                })),
                Expected::Usage(
                    "m: cache_read_tokens 50, cache_write_1h_tokens 120, cache_write_tokens 80, \
                     input_tokens 50, output_tokens 10 service_class=flex",
                ),
            ),
            case(
                SDK,
                usage(json!({
                    "prompt_tokens": 300, "completion_tokens": 10,
                    "prompt_tokens_details": {"cache_write_tokens": 200},
                    "cache_creation": {"ephemeral_1h_input_tokens": 220}
                })),
                Expected::Contradictory("/usage/cache_creation"),
            ),
            // What no lifetime is told of is kept for the usual one.
            case(
                SDK,
                usage(json!({
                    "prompt_tokens": 300, "completion_tokens": 10,
                    "prompt_tokens_details": {"cache_write_tokens": 200},
                    "cache_creation": {"ephemeral_1h_input_tokens": 120}
                })),
                Expected::Usage(
                    "m: cache_write_1h_tokens 120, cache_write_tokens 80, input_tokens 100, \
                     output_tokens 10",
                ),
            ),
            // Sound and video in, images out, and reasoning.
            case(
                USAGE,
                usage(json!({
                    "prompt_tokens": 1_000, "completion_tokens": 1_400, "total_tokens": 2_400,
                    "prompt_tokens_details": {"audio_tokens": 300, "video_tokens": 600},
                    "completion_tokens_details": {"reasoning_tokens": 60, "image_tokens": 1_290}
                })),
                Expected::Usage(
                    "m: input_audio_tokens 300, input_tokens 100, input_video_tokens 600, \
                     output_image_tokens 1290, output_reasoning_tokens 60, output_tokens 50",
                ),
            ),
            // Reasoning on top, as the total shows.
            case(
                USAGE,
                usage(json!({
                    "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 40,
                    "completion_tokens_details": {"reasoning_tokens": 25}
                })),
                Expected::Usage("m: input_tokens 10, output_reasoning_tokens 25, output_tokens 5"),
            ),
            case(
                SEARCH,
                usage(json!({
                    "prompt_tokens": 10, "completion_tokens": 0, "total_tokens": 10,
                    "server_tool_use_details": {"web_search_requests": 2, "tool_calls_executed": 3},
                    "server_tool_use": {"web_search_requests": 2}
                })),
                Expected::Usage("m: input_tokens 10, web_searches 2"),
            ),
            case(
                SEARCH,
                usage(json!({
                    "prompt_tokens": 10, "completion_tokens": 1,
                    "server_tool_use_details": {"web_search_requests": 2},
                    "server_tool_use": {"web_search_requests": 3}
                })),
                Expected::Contradictory("/usage/server_tool_use/web_search_requests"),
            ),
            // The web plugin searches once a request, and shows it by what the answer cites.
            case(
                PLUGIN,
                json!({"model": "m", "choices": [{"message": {"annotations": [page, page]}}],
                       "usage": {"prompt_tokens": 10, "completion_tokens": 1}}),
                Expected::Usage("m: input_tokens 10, output_tokens 1, web_searches 1"),
            ),
            case(
                PLUGIN,
                json!([
                    {"id": "c", "model": "m", "choices": [{"delta": {"annotations": [page]}}]},
                    {"id": "c", "model": "m", "choices": [], "usage": {
                        "prompt_tokens": 10, "completion_tokens": 1
                    }}
                ]),
                Expected::Usage("m: input_tokens 10, output_tokens 1, web_searches 1"),
            ),
            case(
                PLUGIN,
                json!({"model": "m", "choices": [{"message": {"annotations": [page]}}],
                       "usage": {"prompt_tokens": 10, "completion_tokens": 1,
                                 "server_tool_use": {"web_search_requests": 3}}}),
                Expected::Usage("m: input_tokens 10, output_tokens 1, web_searches 3"),
            ),
            case(
                PLUGIN,
                json!({"object": "response", "model": "m", "output": [
                    {"type": "web_search_call", "status": "completed"},
                    {"type": "web_search_call", "status": "failed"},
                    {"type": "message"}
                ], "usage": {"input_tokens": 10, "output_tokens": 1, "total_tokens": 11}}),
                Expected::Usage("m: input_tokens 10, output_tokens 1, web_searches 1"),
            ),
            case(
                PLUGIN,
                json!({"object": "response", "model": "m", "output": [
                    {"type": "message", "content": [{"type": "output_text", "annotations": [page]}]}
                ], "usage": {"input_tokens": 10, "output_tokens": 1, "total_tokens": 11}}),
                Expected::Usage("m: input_tokens 10, output_tokens 1, web_searches 1"),
            ),
            case(
                PLUGIN,
                json!({"object": "response", "model": "m", "usage": {
                    "input_tokens": 10, "output_tokens": 1, "total_tokens": 11,
                    "server_tool_use": {"web_search_requests": 2}
                }}),
                Expected::Usage("m: input_tokens 10, output_tokens 1, web_searches 2"),
            ),
            case(
                "https://openrouter.ai/docs/api/reference/responses/overview",
                json!({"object": "response", "model": "openai/o4-mini", "usage": {
                    "input_tokens": 12, "input_tokens_details": {"cached_tokens": 4},
                    "output_tokens": 45, "output_tokens_details": {"reasoning_tokens": 40},
                    "total_tokens": 57, "cost": 0.1
                }}),
                Expected::Usage(
                    "openai/o4-mini: cache_read_tokens 4, input_tokens 8, \
                     output_reasoning_tokens 40, output_tokens 5",
                ),
            ),
            case(
                "https://openrouter.ai/docs/agent-sdk/typescript/api-reference/operations/creatererankusage",
                json!({"model": "cohere/rerank-v3.5", "provider": "Cohere", "results": [],
                       "usage": {"cost": 0.002, "search_units": 1, "total_tokens": 12}}),
                Expected::Usage("cohere/rerank-v3.5: queries 1 route=Cohere"),
            ),
            case(
                "https://openrouter.ai/docs/api/reference/embeddings",
                json!({"object": "list", "model": "openai/text-embedding-3-small", "data": [],
                       "usage": {"prompt_tokens": 8, "total_tokens": 8, "cost": 0}}),
                Expected::Usage("openai/text-embedding-3-small: input_tokens 8"),
            ),
            case(
                "https://openrouter.ai/docs/api/reference/errors-and-debugging",
                json!({"error": {"code": 429, "message": "Rate limit exceeded"}, "user_id": "u"}),
                Expected::Missing("nothing was used"),
            ),
            case(USAGE, usage(json!({})), Expected::Missing("/usage/prompt_tokens")),
        ]
    }
}

//! Perplexity: Sonar's Chat Completions ([`super::chat`]), the Agent API (Responses), embeddings.
//!
//! | body | dimension |
//! |---|---|
//! | `prompt_tokens`, `completion_tokens` | `input_tokens`, `output_tokens` |
//! | `reasoning_tokens`, in neither of them nor in `total_tokens` | `output_reasoning_tokens` |
//! | `citation_tokens`, likewise | `output_citation_tokens` |
//! | `num_search_queries` | `web_searches` |
//! | Agent API: `cache_read_input_tokens`, `cache_creation_input_tokens` of `input_tokens_details`, within `input_tokens` | `cache_read_tokens`, `cache_write_tokens` |
//! | Agent API: `tool_calls_details.search_web.invocation`, `.fetch_url` | `web_searches`, `page_fetches` |
//! | Agent API: another tool | `<tool>_calls` |
//!
//! Deep research is billed for citations, reasoning and searches; of other Sonar models a request is
//! billed, by its `search_context_size`, which becomes a parameter: where a model is not billed for
//! them, the table has zeros. `cost` is not read. In streams every chunk has the usage up to there:
//! the last one counts.

use super::body::Body;
use super::chat::{Beside, Chat, Completion, Prompt};
use super::stream::Events;
use super::tools::Tools;
use super::{Provider, ProviderError, ResponseUsage, compatible, contradictory, missing};

pub(super) const PROVIDER: Provider = Provider {
    name: "perplexity",
    aliases: &[],
    read,
    read_stream,
    #[cfg(test)]
    cases: tests::cases,
};

const CHAT: Chat = Chat {
    beside: &[
        Beside { field: "reasoning_tokens", dimension: "output_reasoning_tokens", in_total: false },
        Beside { field: "citation_tokens", dimension: "output_citation_tokens", in_total: false },
    ],
    ..Chat::OPENAI
};

/// In the concise mode a stream ends what it thought (`chat.reasoning.done`) and what it answered
/// (`chat.completion.done`), the one with an id of its own in some: only the latter has all usage.
fn read_stream(events: &Events<'_>) -> Result<ResponseUsage, ProviderError> {
    compatible::read_stream(&CHAT, &events.without(is_of_thoughts), read)
}

fn is_of_thoughts(event: &Body<'_>) -> bool {
    event.text("object").is_some_and(|object| object.starts_with("chat.reasoning"))
}

fn read(body: &Body<'_>) -> Result<ResponseUsage, ProviderError> {
    let inner = match body.object_at(&["response", "usage"])? {
        Some(_) => body.object("response")?,
        None => None,
    };
    let body = inner.as_ref().unwrap_or(body);
    if is_of_thoughts(body) {
        return Err(missing(
            "thoughts are a part of a stream: give its chat.completion.done, or all",
        ));
    }
    let Some(usage) = body.object("usage")? else { return CHAT.read(body) };
    if usage.get("input_tokens").is_some() && !Chat::is_usage(&usage)? {
        return agent(body, &usage);
    }
    let mut read = CHAT.read(body)?;
    read.add("web_searches", usage.count_or_zero("num_search_queries")?);
    read.set("search_context_size", usage.parameter("search_context_size", &[])?);
    Ok(read)
}

fn agent(body: &Body<'_>, usage: &Body<'_>) -> Result<ResponseUsage, ProviderError> {
    let mut read = ResponseUsage::of(body);
    read.set(super::SERVICE_CLASS, body.parameter("service_tier", CHAT.standard_tiers)?);
    let input = usage.required_count("input_tokens")?;
    let output = usage.required_count("output_tokens")?;
    usage.check_total("total_tokens", input + output)?;
    let details = usage.object("input_tokens_details")?;
    let mut fresh = input;
    let mut cached = 0;
    if let Some(details) = &details {
        let fields = ["cache_read_input_tokens", "cache_creation_input_tokens"];
        let [read_tokens, written] = details.parts(fields, input, "input_tokens")?;
        let [also_read] =
            details.parts(["cached_tokens"], input - written, "what was not written")?;
        if also_read > 0 && read_tokens > 0 && also_read != read_tokens {
            return Err(contradictory(
                details.at("cached_tokens"),
                format!("cached_tokens is {also_read}, but cache_read_input_tokens {read_tokens}"),
            ));
        }
        cached = also_read.max(read_tokens);
        fresh -= written;
        read.add("cache_write_tokens", written);
    }
    Prompt { total: fresh, of: "input_tokens", cached }.add_to(&mut read, None)?;
    Completion { total: output, of: "output_tokens", reasoning_inside: true }
        .add_to(&mut read, usage.object("output_tokens_details")?.as_ref())?;
    if let Some(tools) = usage.object("tool_calls_details")? {
        let mut calls = Tools::default();
        for tool in tools.names() {
            let Some(details) = tools.object(tool)? else { continue };
            let dimension = match tool {
                "search_web" | "web_search" => Some("web_searches"),
                "fetch_url" => Some("page_fetches"),
                _ => None,
            };
            calls.add(tool, dimension, details.count_or_zero("invocation")?, tools.pointer())?;
        }
        calls.add_to(&mut read);
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::providers::tests::{Case, Expected, case, fixture};

    const SONAR: &str = "https://docs.perplexity.ai/api-reference/chat-completions-post";
    const PRICING: &str = "https://docs.perplexity.ai/getting-started/pricing";
    const STREAM: &str = "https://github.com/perplexityai/api-discussion/issues/175";
    const CONCISE: &str = "https://docs.perplexity.ai/docs/sonar/pro-search/stream-mode";
    const AGENT: &str = "https://docs.perplexity.ai/docs/agent-api/quickstart";

    pub(in crate::providers) fn cases() -> Vec<Case> {
        let sonar = |usage: Value| json!({"model": "sonar", "usage": usage});
        let agent = |usage: Value| json!({"object": "response", "model": "perplexity/sonar", "usage": usage});
        let stream = |last_id: &str, last_output: u64| {
            let chunk = |id: &str, output: u64, reason: Option<&str>| {
                json!({
                    "id": id, "model": "sonar", "created": 1, "object": "chat.completion",
                    "usage": {
                        "prompt_tokens": 9, "completion_tokens": output, "total_tokens": 9 + output
                    },
                    "choices": [{
                        "index": 0, "finish_reason": reason,
                        "message": {"role": "assistant", "content": "c"},
                        "delta": {"role": "assistant", "content": "c"}
                    }]
                })
            };
            let first_id = if last_id.is_empty() { "" } else { "p" };
            json!([chunk(first_id, 1, None), chunk(last_id, last_output, Some("stop"))])
        };
        vec![
            case(
                PRICING,
                fixture(include_str!("../../../../events/responses/perplexity-deep-research.json")),
                Expected::Usage(
                    "sonar-deep-research: input_tokens 33, output_citation_tokens 19028, \
                     output_reasoning_tokens 193947, output_tokens 11395, web_searches 21",
                ),
            ),
            case(
                PRICING,
                json!({"id": "p", "model": "sonar-deep-research", "created": 1, "usage": {
                    "prompt_tokens": 33, "completion_tokens": 11_395, "total_tokens": 11_428,
                    "citation_tokens": 19_028, "num_search_queries": 21,
                    "reasoning_tokens": 193_947, "cost": {"total_cost": 0.816}
                }}),
                Expected::Usage(
                    "sonar-deep-research: input_tokens 33, output_citation_tokens 19028, \
                     output_reasoning_tokens 193947, output_tokens 11395, web_searches 21",
                ),
            ),
            case(
                SONAR,
                sonar(json!({
                    "prompt_tokens": 24, "completion_tokens": 2_681, "total_tokens": 2_705,
                    "citation_tokens": null, "num_search_queries": null, "reasoning_tokens": null,
                    "search_context_size": "low", "cost": {"request_cost": 0.006}
                })),
                Expected::Usage(
                    "sonar: input_tokens 24, output_tokens 2681 search_context_size=low",
                ),
            ),
            case(
                AGENT,
                agent(json!({
                    "input_tokens": 1, "output_tokens": 0,
                    "tool_calls_details": {"a/b": {"invocation": -1}}
                })),
                Expected::Contradictory("/usage/tool_calls_details/a~1b/invocation"),
            ),
            // Every chunk of a stream has usage, and says to be a whole response.
            case(STREAM, stream("p", 8), Expected::Usage("sonar: input_tokens 9, output_tokens 8")),
            case(STREAM, stream("q", 8), Expected::Contradictory("/1/id")),
            // The concise mode.
            case(
                CONCISE,
                json!([
                    {"id": "r", "model": "sonar-pro", "object": "chat.reasoning.done", "usage": {
                        "prompt_tokens": 6, "completion_tokens": 0, "total_tokens": 6
                    }},
                    {"id": "a", "model": "sonar-pro", "object": "chat.completion.chunk"}
                ]),
                Expected::Missing("broke off, or"),
            ),
            case(
                CONCISE,
                json!({"id": "r", "model": "sonar-pro", "object": "chat.reasoning.done", "usage": {
                    "prompt_tokens": 6, "completion_tokens": 0, "total_tokens": 6
                }}),
                Expected::Missing("thoughts are a part of a stream"),
            ),
            case(
                CONCISE,
                json!([
                    {"id": "r", "model": "sonar-pro", "object": "chat.reasoning", "choices": []},
                    {"id": "r", "model": "sonar-pro", "object": "chat.reasoning.done", "usage": {
                        "prompt_tokens": 6, "completion_tokens": 0, "total_tokens": 6
                    }},
                    {"id": "a", "model": "sonar-pro", "object": "chat.completion.chunk"},
                    {"id": "a", "model": "sonar-pro", "object": "chat.completion.done", "usage": {
                        "prompt_tokens": 6, "completion_tokens": 238, "total_tokens": 244
                    }}
                ]),
                Expected::Usage("sonar-pro: input_tokens 6, output_tokens 238"),
            ),
            case(STREAM, stream("", 8), Expected::Contradictory("/1")),
            case(STREAM, stream("p", 0), Expected::Contradictory("/1/usage/completion_tokens")),
            case(
                SONAR,
                json!([
                    {"id": "p", "model": "sonar", "usage": {
                        "prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10
                    }},
                    {"id": "p", "model": "sonar", "usage": {
                        "prompt_tokens": 9, "completion_tokens": 8, "total_tokens": 17,
                        "search_context_size": "high"
                    }}
                ]),
                Expected::Usage("sonar: input_tokens 9, output_tokens 8 search_context_size=high"),
            ),
            case(
                SONAR,
                sonar(json!({"prompt_tokens": 9, "completion_tokens": 0, "total_tokens": 9})),
                Expected::Usage("sonar: input_tokens 9"),
            ),
            case(SONAR, sonar(json!({})), Expected::Missing("/usage/prompt_tokens")),
            case(
                SONAR,
                sonar(json!({
                    "prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14,
                    "reasoning_tokens": 3, "completion_tokens_details": {"reasoning_tokens": 3}
                })),
                Expected::Contradictory("/usage/reasoning_tokens"),
            ),
            case(
                SONAR,
                json!({"error": {"message": "Invalid model", "type": "invalid_model", "code": 400}}),
                Expected::Missing("nothing was used"),
            ),
            case(
                AGENT,
                agent(json!({
                    "cost": {"currency": "USD", "total_cost": 0.0174},
                    "input_tokens": 3_681, "input_tokens_details": {"cached_tokens": 0},
                    "output_tokens": 780, "output_tokens_details": {"reasoning_tokens": 0},
                    "tool_calls_details": {"search_web": {"invocation": 1}},
                    "total_tokens": 4_461
                })),
                Expected::Usage(
                    "perplexity/sonar: input_tokens 3681, output_tokens 780, web_searches 1",
                ),
            ),
            case(
                AGENT,
                agent(json!({
                    "input_tokens": 1_000, "output_tokens": 100, "total_tokens": 1_100,
                    "input_tokens_details": {
                        "cache_creation_input_tokens": 200, "cache_read_input_tokens": 300,
                        "cached_tokens": 300
                    },
                    "output_tokens_details": {"reasoning_tokens": 60},
                    "tool_calls_details": {
                        "fetch_url": {"invocation": 2}, "finance_search": {"invocation": 1},
                        "search_people": {"invocation": 0}
                    }
                })),
                Expected::Usage(
                    "perplexity/sonar: cache_read_tokens 300, cache_write_tokens 200, \
                     finance_search_calls 1, input_tokens 500, output_reasoning_tokens 60, \
                     output_tokens 40, page_fetches 2",
                ),
            ),
            case(
                AGENT,
                json!([
                    {"type": "response.created", "response": {"id": "r", "model": "perplexity/sonar"}},
                    {"type": "response.completed", "response": {
                        "id": "r", "model": "perplexity/sonar",
                        "usage": {"input_tokens": 7, "output_tokens": 8, "total_tokens": 15}
                    }}
                ]),
                Expected::Usage("perplexity/sonar: input_tokens 7, output_tokens 8"),
            ),
            case(
                AGENT,
                agent(json!({
                    "input_tokens": 7, "output_tokens": 8,
                    "input_tokens_details": {"cache_read_input_tokens": 8}
                })),
                Expected::Contradictory("/usage/input_tokens_details/cache_read_input_tokens"),
            ),
            case(
                "https://docs.perplexity.ai/api-reference/embeddings-post",
                json!({"object": "list", "model": "pplx-embed-v1-4b", "data": [],
                       "usage": {"prompt_tokens": 6, "total_tokens": 6}}),
                Expected::Usage("pplx-embed-v1-4b: input_tokens 6"),
            ),
        ]
    }
}

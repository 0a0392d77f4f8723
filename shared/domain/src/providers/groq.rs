//! Groq: Chat Completions ([`super::chat`]) and its Compound systems, Responses
//! ([`super::compatible`]), transcriptions.
//!
//! | body | dimension |
//! |---|---|
//! | `usage`, in streams also `x_groq.usage` | as in Chat Completions |
//! | `usage_breakdown.models`: what each model behind Compound used | as in Chat Completions, of that model, instead of `usage` |
//! | `executed_tools` of the choices: searches | `web_searches` |
//! | `executed_tools`: code | `code_executions` |
//! | `executed_tools`: pages opened | `page_fetches` |
//! | `executed_tools`: another tool | `<tool>_calls` |
//! | the calls among the `output` of Responses | likewise |
//! | `duration` of a transcription, at least 10 seconds, which are billed of a shorter one | `audio_seconds` |
//!
//! Cached tokens are within `prompt_tokens`, reasoning within `completion_tokens`. Times (`queue_time`
//! ...) are not billed. The tools that the server ran are billed outside the tokens. Compound is
//! billed by the prices of the models behind it: where the body names them, each is a step of its
//! own, and Compound itself has the tools; together they used no less than `usage` says. `service_tier` `on_demand` is the standard.
//! The reference knows no call in Responses but the caller's functions, although there are tools of the server: such calls are read by the names that
//! `OpenAI` gives them. Those that failed and MCP are not billed.

use std::collections::BTreeSet;

use crate::Quantity;

use super::body::Body;
use super::chat::Chat;
use super::openai::{all_items, has_failed, items_done};
use super::stream::Events;
use super::tools::Tools;
use super::{Provider, ProviderError, ResponseUsage, compatible, contradictory, missing};

pub(super) const PROVIDER: Provider = Provider {
    name: "groq",
    aliases: &[],
    read,
    read_stream,
    #[cfg(test)]
    cases: tests::cases,
};

const CHAT: Chat = Chat {
    usage: &[&["usage"], &["x_groq", "usage"]],
    standard_tiers: &["auto", "default", "standard", "on_demand"],
    ..Chat::OPENAI
};

/// What is billed of a shorter recording. Groq, "Speech to Text".
const LEAST_AUDIO: Quantity = Quantity::from_whole(10).expect("10 is within the limit");

fn read(body: &Body<'_>) -> Result<ResponseUsage, ProviderError> {
    read_with_tools(body, std::slice::from_ref(body))
}

fn read_stream(events: &Events<'_>) -> Result<ResponseUsage, ProviderError> {
    let all: Vec<_> = events.iter().cloned().collect();
    compatible::read_stream(&CHAT, events, |last| read_with_tools(last, &all))
}

fn read_with_tools(body: &Body<'_>, all: &[Body<'_>]) -> Result<ResponseUsage, ProviderError> {
    let mut read = match body.object_at(&["usage_breakdown"])? {
        Some(breakdown) if !breakdown.list("models")?.is_empty() => compound(body, &breakdown)?,
        _ => compatible::read_media_or_chat(&CHAT, body)?,
    };
    if let Some(seconds) = read.usage.get_mut("audio_seconds") {
        *seconds = (*seconds).max(LEAST_AUDIO);
    }
    let mut calls = executed_tools(all)?;
    let response = body.object("response")?;
    add_output(&mut calls, &all_items(response.as_ref().unwrap_or(body), &items_done(all)?)?)?;
    calls.add_to(&mut read);
    Ok(read)
}

/// What the models behind Compound used, each at its own prices.
fn compound(body: &Body<'_>, breakdown: &Body<'_>) -> Result<ResponseUsage, ProviderError> {
    let mut read = ResponseUsage::of(body);
    let class = body.parameter("service_tier", CHAT.standard_tiers)?;
    read.set(super::SERVICE_CLASS, class.clone());
    let mut sums = [0; 2];
    for model in breakdown.list("models")? {
        let Some(name) = model.model() else {
            return Err(missing(format!("the response has no {}", model.at("model"))));
        };
        let mut used = ResponseUsage { is_step: true, ..ResponseUsage::default() };
        used.model = Some(name);
        used.set(super::SERVICE_CLASS, class.clone());
        if let Some(usage) = model.object("usage")? {
            CHAT.read_usage(&mut used, &usage)?;
            for (sum, field) in sums.iter_mut().zip(Chat::COUNTS) {
                *sum += usage.count_or_zero(field)?;
            }
        }
        read.add_further(used);
    }
    // The document shows the breakdown alone: that its sum is the usage, it doesn't say, and what
    // models said to each other need not be in the answer's usage. But some model generated all of
    // what is there.
    for path in CHAT.usage {
        let Some(usage) = body.object_at(path)? else { continue };
        for (sum, field) in sums.into_iter().zip(Chat::COUNTS) {
            let told = usage.count_or_zero(field)?;
            if told > sum {
                let detail = format!("{field} is {told}, but that of the models only {sum}");
                return Err(contradictory(usage.at(field), detail));
            }
        }
    }
    Ok(read)
}

/// The tools that were executed. A stream tells each more than once, by the same choice and index.
fn executed_tools(bodies: &[Body<'_>]) -> Result<Tools, ProviderError> {
    let mut seen = BTreeSet::new();
    let mut calls = Tools::default();
    for body in bodies {
        for (position, choice) in (0..).zip(body.list("choices")?) {
            let choice_index = choice.count("index")?.unwrap_or(position);
            let Some(message) = choice.first_object(&["message", "delta"])? else { continue };
            for (position, tool) in (0..).zip(message.list("executed_tools")?) {
                let index = tool.count("index")?.unwrap_or(position);
                let name = tool.text("name").or(tool.text("type")).unwrap_or_default();
                let dimension = match name {
                    "search" | "web_search" | "browser_search" | "browser.search" => "web_searches",
                    "python" | "code_interpreter" | "code_execution" => "code_executions",
                    "visit" | "visit_website" | "browser.open" => "page_fetches",
                    // Finding text in an open page is free; these others bill elsewhere.
                    "browser.find" | "wolfram_alpha" | "mcp" | "function" => continue,
                    _ => "",
                };
                if seen.insert((choice_index, index)) {
                    let dimension = Some(dimension).filter(|dimension| !dimension.is_empty());
                    calls.add(name, dimension, 1, tool.pointer())?;
                }
            }
        }
    }
    Ok(calls)
}

/// The tools that are among the output of Responses.
fn add_output(calls: &mut Tools, items: &[Body<'_>]) -> Result<(), ProviderError> {
    for item in items.iter().filter(|item| !has_failed(item)) {
        let Some(tool) = item.text("type").and_then(|kind| kind.strip_suffix("_call")) else {
            continue;
        };
        let dimension = match tool {
            "web_search" | "browser_search" => {
                let action = item.object("action")?;
                match action.as_ref().and_then(|action| action.text("type")) {
                    None | Some("search") => Some("web_searches"),
                    Some("open" | "open_page") => Some("page_fetches"),
                    // Finding text in an open page is free.
                    Some(_) => continue,
                }
            }
            "code_interpreter" | "code_execution" => Some("code_executions"),
            "function" | "custom_tool" | "mcp" => continue,
            _ => None,
        };
        calls.add(tool, dimension, 1, item.pointer())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::providers::tests::{Case, Expected, case, fixture};

    const CHAT: &str = "https://console.groq.com/docs/api-reference";
    const COMPOUND: &str = "https://console.groq.com/docs/compound";
    const RESPONSES: &str = "https://console.groq.com/docs/responses-api";
    const SPEECH: &str = "https://console.groq.com/docs/speech-to-text";

    pub(in crate::providers) fn cases() -> Vec<Case> {
        [chat_completions(), tools(), responses(), transcriptions()].into_iter().flatten().collect()
    }

    fn chat_completions() -> Vec<Case> {
        let last = json!({
            "id": "c", "object": "chat.completion.chunk", "model": "llama-3.1-8b-instant",
            "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
            "x_groq": {"id": "req_1", "usage": {
                "prompt_tokens": 18, "completion_tokens": 5, "total_tokens": 23, "total_time": 0.1
            }}
        });
        let expected = Expected::Usage("llama-3.1-8b-instant: input_tokens 18, output_tokens 5");
        vec![
            case(
                CHAT,
                fixture(include_str!("../../../../events/responses/groq-stream.json")),
                Expected::Usage("llama-3.1-8b-instant: input_tokens 48, output_tokens 9"),
            ),
            case(
                CHAT,
                json!({
                    "id": "chatcmpl-1", "object": "chat.completion", "model": "openai/gpt-oss-120b",
                    "service_tier": "on_demand", "x_groq": {"id": "req_1"},
                    "usage": {
                        "queue_time": 0.037_493, "prompt_tokens": 4_641, "prompt_time": 0.000_9,
                        "completion_tokens": 1_817, "completion_time": 5.5, "total_tokens": 6_458,
                        "total_time": 5.6, "prompt_tokens_details": {"cached_tokens": 4_608},
                        "completion_tokens_details": {"reasoning_tokens": 817}
                    }
                }),
                Expected::Usage(
                    "openai/gpt-oss-120b: cache_read_tokens 4608, input_tokens 33, \
                 output_reasoning_tokens 817, output_tokens 1000",
                ),
            ),
            // A stream's last chunk has its usage under x_groq.
            case(CHAT, last.clone(), expected),
            case(
                CHAT,
                json!([
                    {"id": "c", "model": "llama-3.1-8b-instant", "x_groq": {"id": "req_1"},
                     "choices": [{"index": 0, "delta": {"content": "a"}}]},
                    last
                ]),
                expected,
            ),
            case(
                CHAT,
                json!({"service_tier": "flex", "usage": {
                    "prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 3
                }}),
                Expected::Usage("-: input_tokens 3 service_class=flex"),
            ),
            case(CHAT, json!({"model": "m", "x_groq": {"id": "r"}}), Expected::Missing("no usage")),
            case(
                CHAT,
                json!({"error": {"message": "", "type": "invalid_request_error"}}),
                Expected::Missing("nothing was used"),
            ),
            case(
                CHAT,
                json!({"x_groq": {"usage": {
                    "prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 3
                }}}),
                Expected::Contradictory("/x_groq/usage/total_tokens"),
            ),
        ]
    }

    fn tools() -> Vec<Case> {
        vec![
            case(
                COMPOUND,
                json!({
                    "model": "groq/compound",
                    "choices": [{"index": 0, "message": {"executed_tools": [
                        {"index": 0, "type": "search", "arguments": "{}", "output": "a"},
                        {"index": 1, "type": "visit"}, {"index": 2, "type": "search"},
                        {"index": 3, "type": "python"}
                    ]}}],
                    "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
                    "usage_breakdown": {"models": [
                        {"model": "openai/gpt-oss-120b", "usage": {
                            "prompt_tokens": 100, "completion_tokens": 30, "total_tokens": 130,
                            "prompt_tokens_details": {"cached_tokens": 40}
                        }},
                        {"model": "llama-3.3-70b-versatile", "usage": {
                            "prompt_tokens": 50, "completion_tokens": 7, "total_tokens": 57
                        }}
                    ]}
                }),
                Expected::Usage(
                    "groq/compound: code_executions 1, page_fetches 1, web_searches 2 \
                     + openai/gpt-oss-120b: cache_read_tokens 40, input_tokens 60, \
                     output_tokens 30 \
                     + llama-3.3-70b-versatile: input_tokens 50, output_tokens 7",
                ),
            ),
            case(
                COMPOUND,
                json!({
                    "model": "groq/compound",
                    "usage": {"prompt_tokens": 9, "completion_tokens": 31, "total_tokens": 40},
                    "usage_breakdown": {"models": [{"model": "openai/gpt-oss-120b", "usage": {
                        "prompt_tokens": 100, "completion_tokens": 30, "total_tokens": 130
                    }}]}
                }),
                Expected::Contradictory("/usage/completion_tokens"),
            ),
            case(
                COMPOUND,
                json!({
                    "model": "openai/gpt-oss-20b", "usage_breakdown": null,
                    "choices": [{"index": 0, "message": {"executed_tools": [
                        {"index": 0, "name": "browser.search", "type": "function"},
                        {"index": 1, "name": "browser.open", "type": "function"},
                        {"index": 2, "name": "browser.find", "type": "function"}
                    ]}}],
                    "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
                }),
                Expected::Usage(
                    "openai/gpt-oss-20b: input_tokens 9, output_tokens 3, page_fetches 1, \
                 web_searches 1",
                ),
            ),
            // A stream tells a tool when it is called, and again with what came out.
            case(
                COMPOUND,
                json!([
                    {"id": "c", "model": "groq/compound-mini", "choices": [
                        {"index": 0, "delta": {"executed_tools": [{"index": 0, "type": "search"}]}}
                    ]},
                    {"id": "c", "choices": [{"index": 0, "delta": {"executed_tools": [
                        {"index": 0, "type": "search", "output": "a"}
                    ]}}]},
                    {"id": "c", "choices": [], "x_groq": {"usage": {
                        "prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12
                    }}}
                ]),
                Expected::Usage(
                    "groq/compound-mini: input_tokens 9, output_tokens 3, web_searches 1",
                ),
            ),
            case(
                COMPOUND,
                json!({
                    "choices": [{"message": {"executed_tools": [{"type": "browser_automation"}]}}],
                    "usage": {"prompt_tokens": 9, "completion_tokens": 3}
                }),
                Expected::Usage("-: browser_automation_calls 1, input_tokens 9, output_tokens 3"),
            ),
        ]
    }

    fn responses() -> Vec<Case> {
        let calls = json!([
            {"type": "reasoning", "id": "r"},
            {"type": "web_search_call", "id": "1", "action": {"type": "search"}},
            {"type": "web_search_call", "id": "2", "action": {"type": "open_page"}},
            {"type": "web_search_call", "id": "3", "action": {"type": "find_in_page"}},
            {"type": "web_search_call", "id": "4", "status": "failed"},
            {"type": "code_interpreter_call", "id": "5"}, {"type": "mcp_call", "id": "6"},
            {"type": "function_call", "id": "7", "name": "own"}, {"type": "new_call", "id": "8"},
            {"type": "message", "id": "9"}
        ]);
        let usage = json!({"input_tokens": 3, "output_tokens": 2, "total_tokens": 5});
        let expected = Expected::Usage(
            "openai/gpt-oss-120b: code_executions 1, input_tokens 3, new_calls 1, \
             output_tokens 2, page_fetches 1, web_searches 1",
        );
        let done = |item| json!({"type": "response.output_item.done", "item": item});
        let mut events: Vec<_> = calls.as_array().into_iter().flatten().map(done).collect();
        events.push(json!({"type": "response.completed", "response": {
            "object": "response", "model": "openai/gpt-oss-120b", "output": [], "usage": usage
        }}));
        vec![
            case(
                RESPONSES,
                json!({"object": "response", "model": "openai/gpt-oss-120b", "output": calls,
                       "usage": usage}),
                expected,
            ),
            case(RESPONSES, json!(events), expected),
        ]
    }

    fn transcriptions() -> Vec<Case> {
        vec![
            case(
                SPEECH,
                json!({"task": "transcribe", "language": "English", "duration": 18.4705,
                    "text": "a", "segments": [], "x_groq": {"id": "req_1"}}),
                Expected::Usage("-: audio_seconds 18.471"),
            ),
            case(
                SPEECH,
                json!({"duration": 2.0, "text": "a", "x_groq": {"id": "req_1"}}),
                Expected::Usage("-: audio_seconds 10"),
            ),
            case(
                SPEECH,
                json!({"text": "a", "x_groq": {"id": "req_1"}}),
                Expected::Missing("verbose_json"),
            ),
        ]
    }
}

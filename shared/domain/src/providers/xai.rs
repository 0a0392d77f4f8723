//! xAI: Chat Completions ([`super::chat`]), Responses, Messages ([`super::compatible`]), voice
//! sessions, images and videos.
//!
//! | body | dimension |
//! |---|---|
//! | Chat Completions: `completion_tokens_details.reasoning_tokens`, which comes on top of `completion_tokens` and is in `total_tokens`; where the total shows it, it is inside | `output_reasoning_tokens` |
//! | Responses: `output_tokens_details.reasoning_tokens`, within `output_tokens` | `output_reasoning_tokens` |
//! | `..details.cached_tokens`, within the prompt | `cache_read_tokens` |
//! | the SDK's own usage: `cached_prompt_text_tokens` within the prompt, `reasoning_tokens` on top | as above |
//! | `server_side_tool_usage_details.web_search_calls`, `.x_search_calls` | `web_searches`, `social_searches` |
//! | `.code_interpreter_calls`, `.file_search_calls` | `code_executions`, `file_searches` |
//! | `.document_search_calls` (attached files); another tool | `document_searches`; `<tool>_calls` |
//! | `num_sources_used` of Chat Completions (live search) | `search_sources` |
//! | `billable_audio_seconds`, `input_text_messages` of voice | `audio_seconds`, `text_messages` |
//! | `video.duration` | `video_seconds` |
//! | images in `data` | `output_images` |
//!
//! Billed outside the tokens are the server's tools, by successful calls, which where nothing counts
//! them are the items of `output` (`web_search_call` ..., and `custom_tool_call` with the name of a
//! search of X, or of a tool that nobody offered in `tools`); MCP and looking at images and videos
//! that were found cost only tokens. The SDK's `server_side_tool_usage` (a map) and
//! `server_side_tools_used` (a list) say the same by other names. The sources that Responses count
//! are not billed. Voice is billed by its seconds and text messages: its tokens are not.
//! `context_details` and `cost_in_usd_ticks` are not read.

use serde_json::Value;

use super::body::Body;
use super::chat::{Beside, Chat, Reasoning};
use super::openai::{all_items, has_failed, items_done};
use super::stream::Events;
use super::tools::Tools;
use super::{Provider, ProviderError, ResponseUsage, compatible, missing};

pub(super) const PROVIDER: Provider = Provider {
    name: "xai",
    aliases: &["x-ai"],
    read,
    read_stream,
    #[cfg(test)]
    cases: tests::cases,
};

const CHAT: Chat =
    Chat { cached: &["cached_prompt_text_tokens"], reasoning: Reasoning::Beside, ..Chat::OPENAI };
/// Totals that are the sum of prompt and completion alone.
const REASONING_INSIDE: Chat = Chat { reasoning: Reasoning::Inside, ..CHAT };
/// What the SDK makes of a response.
const SDK: Chat = Chat {
    beside: &[Beside {
        field: "reasoning_tokens",
        dimension: "output_reasoning_tokens",
        in_total: true,
    }],
    ..CHAT
};

fn read(body: &Body<'_>) -> Result<ResponseUsage, ProviderError> {
    read_with_items(body, &[], &[])
}

fn read_stream(events: &Events<'_>) -> Result<ResponseUsage, ProviderError> {
    let all: Vec<_> = events.iter().cloned().collect();
    let items = items_done(&all)?;
    // The response says so when it begins, too.
    let mut offered = Vec::new();
    for event in &all {
        let response = event.object("response")?;
        offered.extend(response.map_or_else(|| Ok(Vec::new()), |begun| begun.list("tools"))?);
    }
    compatible::read_stream(&CHAT, events, |last| read_with_items(last, &items, &offered))
}

/// `items` were told before the response itself, as `OpenAI`'s are, and tools as `offered`.
fn read_with_items(
    body: &Body<'_>,
    items: &[Body<'_>],
    offered: &[Body<'_>],
) -> Result<ResponseUsage, ProviderError> {
    let inner = body.object("response")?;
    let body = inner.as_ref().unwrap_or(body);
    if let Some(video) = body.object("video")?
        && let Some(seconds) = video.measure("duration")?
    {
        let mut read = ResponseUsage::of(body);
        read.add_quantity("video_seconds", seconds);
        return Ok(read);
    }
    let Some(usage) = body.object("usage")? else {
        return match compatible::images(body)? {
            Some(read) => Ok(read),
            None => compatible::read(&CHAT, body),
        };
    };
    if let Some(seconds) = usage.measure("billable_audio_seconds")? {
        let mut read = ResponseUsage::of(body);
        read.add_quantity("audio_seconds", seconds);
        read.add("text_messages", usage.count_or_zero("input_text_messages")?);
        return Ok(read);
    }
    let mut read = if !Chat::is_usage(&usage)?
        && usage.get("input_tokens").is_none()
        && let Some(read) = compatible::images(body)?
    {
        read
    } else {
        compatible::read(chat_of(&usage)?, body)?
    };
    add_tools(&mut read, body, &usage, (items, offered))?;
    Ok(read)
}

/// How the usage counts its reasoning.
fn chat_of(usage: &Body<'_>) -> Result<&'static Chat, ProviderError> {
    if usage.get("reasoning_tokens").is_some() && usage.get("completion_tokens_details").is_none() {
        return Ok(&SDK);
    }
    let visible =
        usage.count_or_zero("prompt_tokens")? + usage.count_or_zero("completion_tokens")?;
    let inside = usage.count("total_tokens")? == Some(visible);
    Ok(if inside { &REASONING_INSIDE } else { &CHAT })
}

/// The dimension of one of the server's tools, as each of the three ways to count names it; empty
/// where only its tokens are billed.
fn dimension_of(tool: &str) -> Option<&'static str> {
    Some(match tool.strip_prefix(SDK_TOOL).unwrap_or(tool) {
        "web_search_calls" | "WEB_SEARCH" => "web_searches",
        "x_search_calls" | "X_SEARCH" => "social_searches",
        "code_interpreter_calls" | "CODE_EXECUTION" => "code_executions",
        "file_search_calls" | "COLLECTIONS_SEARCH" => "file_searches",
        // Two names that the same tool has had.
        "document_search_calls" | "ATTACHMENT_SEARCH" | "DOCUMENT_SEARCH" => "document_searches",
        "mcp_calls" | "MCP" | "view_image_calls" | "VIEW_IMAGE" | "view_x_video_calls"
        | "VIEW_X_VIDEO" => "",
        _ => return None,
    })
}

/// The server's tool, in the plural, that an item of the output is a call of; `None` where it is none, or the
/// caller's own. A custom tool is the server's, unless the response says that the caller offered it.
fn server_tool(item: &Body<'_>, offered: &[Body<'_>]) -> Option<String> {
    let kind = item.text("type").filter(|kind| kind.ends_with("_call"))?;
    let name = match (kind, item.text("name")) {
        ("function_call", _) => return None,
        ("custom_tool_call", Some(name)) => {
            if offered.iter().any(|tool| tool.text("name") == Some(name)) {
                return None;
            }
            match name {
                "x_keyword_search" | "x_semantic_search" | "x_user_search" | "x_thread_fetch" => {
                    "x_search"
                }
                "web_search_with_snippets" | "browse_page" => "web_search",
                "code_execution" => "code_interpreter",
                "collections_search" => "file_search",
                name => name,
            }
        }
        _ => kind.strip_suffix("_call")?,
    };
    Some(format!("{name}_calls"))
}

/// What the SDK writes before the names of tools.
const SDK_TOOL: &str = "SERVER_SIDE_TOOL_";

fn add_tools(
    read: &mut ResponseUsage,
    body: &Body<'_>,
    usage: &Body<'_>,
    (items, offered): (&[Body<'_>], &[Body<'_>]),
) -> Result<(), ProviderError> {
    let mut calls = Tools::default();
    let mut add = |tool: &str, count, pointer: &str| match dimension_of(tool) {
        Some("") => Ok(()),
        known => calls.add(tool.strip_prefix(SDK_TOOL).unwrap_or(tool), known, count, pointer),
    };
    let fields = ["server_side_tool_usage_details", "server_side_tool_usage"];
    let counted = match usage.first_object(&fields)? {
        Some(counted) => Some(counted),
        None => body.object("server_side_tool_usage")?,
    };
    // An empty one was filled in by somebody who did not know.
    let counted = counted.filter(|counted| counted.names().next().is_some());
    let listed = usage.get("server_side_tools_used").and_then(Value::as_array);
    if let Some(counted) = &counted {
        for tool in counted.names() {
            add(tool, counted.count_or_zero(tool)?, counted.pointer())?;
        }
    } else if let Some(listed) = listed {
        for tool in listed {
            add(tool.as_str().unwrap_or_default(), 1, &usage.at("server_side_tools_used"))?;
        }
    } else {
        // Nobody counted them: they are among the output of Responses.
        let offered = [offered, &body.list("tools")?].concat();
        let items = all_items(body, items)?;
        let used: Vec<_> =
            items.iter().filter_map(|item| Some((server_tool(item, &offered)?, item))).collect();
        let shown = u64::try_from(used.len()).expect("it is limited");
        if usage.count_or_zero("num_server_side_tools_used")? > shown {
            return Err(missing(
                "the usage tells that tools of the server were used, not all of them which: give \
                 its server_side_tool_usage_details, or the output",
            ));
        }
        for (tool, item) in used.iter().filter(|(_, item)| !has_failed(item)) {
            add(tool, 1, item.pointer())?;
        }
    }
    calls.add_to(read);
    if Chat::is_usage(usage)? && counted.is_none() && listed.is_none_or(Vec::is_empty) {
        read.add("search_sources", usage.count_or_zero("num_sources_used")?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use crate::providers::tests::{Case, Expected, case, fixture};
    use crate::providers::usage_from_response;

    const CHAT: &str = "https://docs.x.ai/docs/api-reference";
    const SDK: &str = "https://github.com/xai-org/xai-sdk-python";
    const TOOLS: &str = "https://docs.x.ai/developers/tools/tool-usage-details";
    const MEDIA: &str = "https://docs.x.ai/docs/api-reference";
    const BATCH: &str = "https://docs.x.ai/developers/advanced-api-usage/batch-api";

    pub(in crate::providers) fn cases() -> Vec<Case> {
        [chat_completions(), sdk(), responses_and_tools(), voice_images_and_videos(), batches()]
            .into_iter()
            .flatten()
            .collect()
    }

    fn chat_completions() -> Vec<Case> {
        let usage =
            |usage: Value| json!({"model": "grok-4", "object": "chat.completion", "usage": usage});
        vec![
            // Two responses, of which the first would be lost.
            case(
                CHAT,
                json!([
                    {"type": "response.completed", "response": {
                        "id": "a", "usage": {"input_tokens": 900, "output_tokens": 90}
                    }},
                    {"type": "response.completed", "response": {
                        "id": "b", "usage": {"input_tokens": 1, "output_tokens": 1}
                    }}
                ]),
                Expected::Contradictory("/1/response/id"),
            ),
            case(
                CHAT,
                json!([
                    {"object": "chat.completion", "usage": {
                        "prompt_tokens": 900, "completion_tokens": 90
                    }},
                    {"object": "chat.completion", "usage": {
                        "prompt_tokens": 1, "completion_tokens": 1
                    }}
                ]),
                Expected::Contradictory("/1"),
            ),
            case(
                CHAT,
                usage(json!({
                    "prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 135,
                    "prompt_tokens_details": {
                        "text_tokens": 32, "audio_tokens": 0, "image_tokens": 0, "cached_tokens": 8
                    },
                    "completion_tokens_details": {
                        "reasoning_tokens": 94, "audio_tokens": 0,
                        "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0
                    },
                    "num_sources_used": 0
                })),
                Expected::Usage(
                    "grok-4: cache_read_tokens 8, input_tokens 24, output_reasoning_tokens 94, \
                 output_tokens 9",
                ),
            ),
            // More reasoning than visible text, and no total.
            case(
                CHAT,
                usage(json!({
                    "prompt_tokens": 12, "completion_tokens": 1,
                    "completion_tokens_details": {"reasoning_tokens": 386}
                })),
                Expected::Usage(
                    "grok-4: input_tokens 12, output_reasoning_tokens 386, output_tokens 1",
                ),
            ),
            // A total that has the reasoning inside the completion.
            case(
                CHAT,
                usage(json!({
                    "prompt_tokens": 10, "completion_tokens": 50, "total_tokens": 60,
                    "completion_tokens_details": {"reasoning_tokens": 40}
                })),
                Expected::Usage(
                    "grok-4: input_tokens 10, output_reasoning_tokens 40, output_tokens 10",
                ),
            ),
            // Live search.
            case(
                CHAT,
                usage(json!({
                    "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15,
                    "num_sources_used": 7
                })),
                Expected::Usage("grok-4: input_tokens 10, output_tokens 5, search_sources 7"),
            ),
            // Images; the last chunk of a stream; zero tokens.
            case(
                CHAT,
                json!([
                    {"id": "a", "model": "grok-4", "object": "chat.completion.chunk", "choices": []},
                    {"id": "a", "model": "grok-4", "object": "chat.completion.chunk", "choices": [],
                     "usage": {
                        "prompt_tokens": 300, "completion_tokens": 0, "total_tokens": 300,
                        "prompt_tokens_details": {"text_tokens": 44, "image_tokens": 256}
                     }}
                ]),
                Expected::Usage("grok-4: input_image_tokens 256, input_tokens 44"),
            ),
            case(
                CHAT,
                usage(json!({
                    "prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 136,
                    "completion_tokens_details": {"reasoning_tokens": 94}
                })),
                Expected::Contradictory("/usage/total_tokens"),
            ),
            case(CHAT, usage(json!({})), Expected::Missing("/usage/prompt_tokens")),
            case(
                CHAT,
                json!({"code": "Some resource has been exhausted", "error": "Your team ..."}),
                Expected::Missing("nothing was used"),
            ),
        ]
    }

    fn sdk() -> Vec<Case> {
        vec![case(
            SDK,
            json!({"usage": {
                "prompt_tokens": 200, "prompt_text_tokens": 200, "prompt_image_tokens": 0,
                "cached_prompt_text_tokens": 150, "completion_tokens": 20, "reasoning_tokens": 70,
                "total_tokens": 290, "num_sources_used": 3,
                "server_side_tools_used": [
                    "SERVER_SIDE_TOOL_WEB_SEARCH", "SERVER_SIDE_TOOL_X_SEARCH",
                    "SERVER_SIDE_TOOL_WEB_SEARCH", "SERVER_SIDE_TOOL_VIEW_IMAGE"
                ]
            }}),
            Expected::Usage(
                "-: cache_read_tokens 150, input_tokens 50, output_reasoning_tokens 70, \
                 output_tokens 20, social_searches 1, web_searches 2",
            ),
        )]
    }

    fn responses_and_tools() -> Vec<Case> {
        vec![
            case(
                TOOLS,
                fixture(include_str!("../../../../events/responses/xai-responses.json")),
                Expected::Usage(
                    "grok-4-fast-reasoning: cache_read_tokens 9920, input_tokens 10952, \
                     output_reasoning_tokens 72, output_tokens 4800, social_searches 4, \
                     web_searches 3",
                ),
            ),
            // Cut down to what doesn't tell which tools.
            case(
                TOOLS,
                json!({"object": "response", "model": "grok-4.3", "usage": {
                    "input_tokens": 9, "output_tokens": 2, "total_tokens": 11,
                    "num_server_side_tools_used": 5
                }}),
                Expected::Missing("server_side_tool_usage_details"),
            ),
            case(
                TOOLS,
                json!({"object": "response", "model": "grok-4.3", "usage": {
                    "input_tokens": 20_872, "input_tokens_details": {"cached_tokens": 9_920},
                    "output_tokens": 4_872, "output_tokens_details": {"reasoning_tokens": 72},
                    "total_tokens": 25_744, "num_sources_used": 12, "num_server_side_tools_used": 9,
                    "cost_in_usd_ticks": 628_540_000,
                    "server_side_tool_usage_details": {
                        "web_search_calls": 1, "x_search_calls": 4, "code_interpreter_calls": 2,
                        "file_search_calls": 0, "mcp_calls": 1, "document_search_calls": 1,
                        "image_generation_calls": 0
                    },
                    "context_details": {"input_tokens": 12_372, "output_tokens": 4_448}
                }}),
                Expected::Usage(
                    "grok-4.3: cache_read_tokens 9920, code_executions 2, document_searches 1, \
                 input_tokens 10952, output_reasoning_tokens 72, output_tokens 4800, \
                 social_searches 4, web_searches 1",
                ),
            ),
            case(
                TOOLS,
                json!([
                    {"type": "response.created", "response": {"model": "grok-4.3", "usage": null}},
                    {"type": "response.completed", "response": {"model": "grok-4.3", "usage": {
                        "input_tokens": 3, "output_tokens": 2, "total_tokens": 5
                    }}}
                ]),
                Expected::Usage("grok-4.3: input_tokens 3, output_tokens 2"),
            ),
            case(
                TOOLS,
                json!({"usage": {"input_tokens": 3, "output_tokens": 2,
                                  "server_side_tool_usage_details": {"image_generation_calls": 1}}}),
                Expected::Usage("-: image_generation_calls 1, input_tokens 3, output_tokens 2"),
            ),
            // Nobody counted the calls: those that succeeded are among the output.
            case(
                TOOLS,
                json!({"object": "response", "model": "grok-4.3", "output": [
                    {"type": "web_search_call", "status": "completed"},
                    {"type": "web_search_call", "status": "failed"},
                    {"type": "x_search_call", "status": "completed"}, {"type": "message"},
                    {"type": "custom_tool_call", "name": "x_keyword_search", "call_id": "xs_1",
                     "status": "completed"},
                    {"type": "function_call", "name": "f", "call_id": "d", "status": "completed"},
                    {"type": "custom_tool_call", "name": "own", "call_id": "c", "status": "completed"}
                ], "tools": [{"type": "web_search"}, {"type": "custom", "name": "own"}],
                "usage": {"input_tokens": 3, "output_tokens": 2}}),
                Expected::Usage(
                    "grok-4.3: input_tokens 3, output_tokens 2, social_searches 2, web_searches 1",
                ),
            ),
            // Also those that nobody knows here, and where an empty object says that none was used.
            case(
                TOOLS,
                json!({"object": "response", "model": "grok-4.3", "output": [
                    {"type": "custom_tool_call", "name": "browse_page"},
                    {"type": "custom_tool_call", "name": "view_image"},
                    {"type": "custom_tool_call", "name": "telescope"}, {"type": "mcp_call"},
                    {"type": "new_call"}, {"type": "new_call", "status": "failed"}
                ], "usage": {"input_tokens": 3, "output_tokens": 2,
                             "server_side_tool_usage_details": {}}}),
                Expected::Usage(
                    "grok-4.3: input_tokens 3, new_calls 1, output_tokens 2, telescope_calls 1, \
                     web_searches 1",
                ),
            ),
            // The end lists its message alone.
            case(
                TOOLS,
                json!([
                    {"type": "response.output_item.done",
                     "item": {"id": "ws_1", "type": "web_search_call", "status": "completed"}},
                    {"type": "response.created", "response": {
                        "tools": [{"type": "custom", "name": "own"}]
                    }},
                    {"type": "response.output_item.done",
                     "item": {"id": "c", "type": "custom_tool_call", "name": "own"}},
                    {"type": "response.output_item.done", "item": {
                        "id": "d", "type": "custom_tool_call", "name": "x_keyword_search"
                    }},
                    {"type": "response.output_item.done", "item": {"id": "m", "type": "message"}},
                    {"type": "response.completed", "response": {
                        "output": [{"id": "m", "type": "message"},
                                   {"id": "9", "type": "custom_tool_call", "name": "own"}],
                        "usage": {"input_tokens": 3, "output_tokens": 2}
                    }}
                ]),
                Expected::Usage(
                    "-: input_tokens 3, output_tokens 2, social_searches 1, web_searches 1",
                ),
            ),
            case(
                TOOLS,
                json!({"object": "response", "model": "grok-4.3",
                    "output": [{"type": "web_search_call", "status": "completed"}],
                    "usage": {"input_tokens": 3, "output_tokens": 2,
                              "server_side_tool_usage_details": {"web_search_calls": 2}}}),
                Expected::Usage("grok-4.3: input_tokens 3, output_tokens 2, web_searches 2"),
            ),
            case(
                TOOLS,
                json!({"type": "message", "model": "grok-4", "usage": {
                    "input_tokens": 3, "output_tokens": 2, "cache_read_input_tokens": 9
                }}),
                Expected::Usage("grok-4: cache_read_tokens 9, input_tokens 3, output_tokens 2"),
            ),
        ]
    }

    fn voice_images_and_videos() -> Vec<Case> {
        vec![
            case(
                MEDIA,
                json!({"type": "response.done", "usage": {
                    "input_tokens": 10, "output_tokens": 20, "billable_audio_seconds": 12.5,
                    "input_text_messages": 1
                }}),
                Expected::Usage("-: audio_seconds 12.5, text_messages 1"),
            ),
            case(
                MEDIA,
                json!({"model": "grok-imagine-image", "data": [{"url": "a"}, {"b64_json": "b"}],
                    "usage": {"cost_in_usd_ticks": 200_000_000}}),
                Expected::Usage("grok-imagine-image: output_images 2"),
            ),
            case(MEDIA, json!({"data": [{"url": "a"}]}), Expected::Usage("-: output_images 1")),
            case(
                MEDIA,
                json!({"status": "done", "model": "grok-imagine-video",
                    "video": {"url": "v", "duration": 8, "respect_moderation": true}}),
                Expected::Usage("grok-imagine-video: video_seconds 8"),
            ),
            case(MEDIA, json!({"status": "pending"}), Expected::Missing("no usage")),
        ]
    }

    fn batches() -> Vec<Case> {
        let line = |id, result: Value| json!({"batch_request_id": id, "batch_result": result});
        let chat = line(
            "a",
            json!({"response": {"chat_get_completion": {"model": "grok-4", "usage": {
                "prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 14,
                "completion_tokens_details": {"reasoning_tokens": 3}
            }}}}),
        );
        let failed = line("b", json!({"error": {"code": 3, "message": "no such model"}}));
        let responses = line(
            "c",
            json!({"response": {"responses": {
                "model": "grok-4.3", "output": [{"type": "web_search_call"}],
                "usage": {"input_tokens": 3, "output_tokens": 2}
            }}}),
        );
        let images = line("d", json!({"response": {"image_generation": {"data": [{"url": "u"}]}}}));
        vec![
            case(
                BATCH,
                chat.clone(),
                Expected::Usage(
                    "grok-4: input_tokens 9, output_reasoning_tokens 3, output_tokens 2 \
                     service_class=batch",
                ),
            ),
            case(
                BATCH,
                responses.clone(),
                Expected::Usage(
                    "grok-4.3: input_tokens 3, output_tokens 2, web_searches 1 \
                     service_class=batch",
                ),
            ),
            case(
                BATCH,
                json!([failed, images]),
                Expected::Usage("-: output_images 1 service_class=batch"),
            ),
            case(BATCH, failed.clone(), Expected::Missing("at no cost")),
            case(
                BATCH,
                json!([
                    line("f", json!({"response": {"responses": {"error": {"code": 3}}}})),
                    responses
                ]),
                Expected::Usage(
                    "grok-4.3: input_tokens 3, output_tokens 2, web_searches 1 \
                     service_class=batch",
                ),
            ),
            case(
                BATCH,
                json!({"results": [chat], "pagination_token": "p"}),
                Expected::Missing("the lines of its results"),
            ),
            case(BATCH, json!([chat, chat]), Expected::Contradictory("/1")),
            case(BATCH, line("e", json!({})), Expected::Missing("a line of a batch tells neither")),
            case(
                BATCH,
                line("e", json!({"response": {"responses": {}, "chat_get_completion": {}}})),
                Expected::Missing("a line of a batch tells neither"),
            ),
        ]
    }

    proptest! {
        /// Whichever way reasoning is counted, output is the total without the prompt.
        #[test]
        fn output_is_the_total_without_the_prompt(
            prompt in 0_u64..20, cached in 0_u64..20, visible in 0_u64..20, reasoning in 0_u64..20,
            inside: bool, sdk: bool,
        ) {
            let completion = if inside && !sdk { visible + reasoning } else { visible };
            let mut usage = json!({
                "prompt_tokens": prompt, "completion_tokens": completion,
                "total_tokens": prompt + visible + reasoning,
            });
            if sdk {
                usage["reasoning_tokens"] = json!(reasoning);
                usage["cached_prompt_text_tokens"] = json!(cached);
            } else {
                usage["completion_tokens_details"] = json!({"reasoning_tokens": reasoning});
                usage["prompt_tokens_details"] = json!({"cached_tokens": cached});
            }
            let read = usage_from_response("xai", &json!({"usage": usage}));
            prop_assert_eq!(read.is_ok(), cached <= prompt, "{} {:?}", usage, read);
            let Ok(read) = read else { return Ok(()) };
            let sum = |start: &str| -> u64 {
                let of = read.usage.iter().filter(|(dimension, _)| dimension.starts_with(start));
                of.map(|(_, quantity)| quantity.millis() / 1_000).sum()
            };
            prop_assert_eq!(sum("output_"), visible + reasoning);
            prop_assert_eq!(sum("output_reasoning"), reasoning);
            prop_assert_eq!(sum("input_") + sum("cache_read_"), prompt);
        }
    }
}

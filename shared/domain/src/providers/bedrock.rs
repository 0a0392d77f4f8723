//! Amazon Bedrock: Converse, `ConverseStream`, and `InvokeModel` with the bodies of Anthropic,
//! `OpenAI`'s Chat Completions and Responses, Nova, Titan and Llama.
//!
//! | body | dimension |
//! |---|---|
//! | `usage.inputTokens` (excludes what was cached) | `input_tokens` |
//! | `usage.cacheReadInputTokens` | `cache_read_tokens` |
//! | `usage.cacheWriteInputTokens`, without what is below | `cache_write_tokens` |
//! | `usage.cacheDetails` with `ttl` `5m` | `cache_write_tokens` |
//! | `usage.cacheDetails` with `ttl` `1h` | `cache_write_1h_tokens` |
//! | `usage.outputTokens` (includes reasoning, which is not told apart) | `output_tokens` |
//! | `inputTextTokenCount`, `results[].tokenCount` of Titan | `input_tokens`, `output_tokens` |
//! | `prompt_token_count`, `generation_token_count` of Llama | `input_tokens`, `output_tokens` |
//! | `amazon-bedrock-invocationMetrics` of a stream's last part | as the usage of Converse |
//! | `toolUse` blocks of Converse that run at Amazon (`type` `server_tool_use`, or the name of a system tool): `nova_grounding`, `nova_code_interpreter`; another | `web_searches`, `code_executions`; `<tool>_calls` |
//! | `usage.input_tokens` ... of Anthropic, `usage.prompt_tokens` ... | as `anthropic.rs` and `chat.rs` say |
//! | `object` `response`, or `usage.input_tokens` beside `input_tokens_details`, `total_tokens` or reasoning | as `openai.rs` says of Responses |
//!
//! `serviceTier.type` becomes `service_class`; `performanceConfig.latency` is `latency` where it is
//! not `standard`. (`InvokeModel` tells both in headers: the caller gives them as parameters, whatever
//! standard the model's own body names.)
//!
//! Subsets: the kinds of input stand beside each other, lifetimes are within
//! `cacheWriteInputTokens`. `totalTokens` has been seen with the cached tokens in it and without:
//! it must be one of the two. Input and output must be there, all else is nothing where it is
//! absent, `null` or zero.
//!
//! Converse names a model only where a prompt router chose it (`trace.promptRouter.invokedModelId`,
//! whose last segment is the model), `InvokeModel` only in the bodies of some: the caller names it
//! (`us.anthropic.claude-...-v1:0`). Outside the usage stand guardrails, which are billed by the
//! text units of the guardrail's own answer, and images and embeddings that are billed by number.
//!
//! A stream of Converse tells its usage in the `metadata` event at the end, with or without that
//! name around it. Streams of `InvokeModel` have it in the metrics of the last part, those of
//! Anthropic in the events too.

use serde_json::Value;

use crate::Quantity;
use crate::ratios::is_model_name;

use super::anthropic::{Messages, is_messages};
use super::body::Body;
use super::chat::Chat;
use super::stream::Events;
use super::tools::Tools;
use super::{
    Provider, ProviderError, ResponseUsage, SERVICE_CLASS, contradictory, missing, openai,
};

pub(super) const PROVIDER: Provider = Provider {
    name: "bedrock",
    aliases: &["aws", "aws-bedrock", "amazon-bedrock"],
    read,
    read_stream,
    #[cfg(test)]
    cases: tests::cases,
};

const METRICS: &str = "amazon-bedrock-invocationMetrics";

/// How a body spells its counts. A count may have several spellings, which must agree.
struct Spelling {
    input: &'static str,
    output: &'static str,
    cache_read: &'static [&'static str],
    cache_write: &'static [&'static str],
}

const CONVERSE: Spelling = Spelling {
    input: "inputTokens",
    output: "outputTokens",
    // Nova's own bodies write the second.
    cache_read: &["cacheReadInputTokens", "cacheReadInputTokenCount"],
    cache_write: &["cacheWriteInputTokens", "cacheWriteInputTokenCount"],
};

const OF_METRICS: Spelling = Spelling {
    input: "inputTokenCount",
    output: "outputTokenCount",
    cache_read: &["cacheReadInputTokenCount"],
    cache_write: &["cacheWriteInputTokenCount"],
};

const LLAMA: Spelling = Spelling {
    input: "prompt_token_count",
    output: "generation_token_count",
    cache_read: &[],
    cache_write: &[],
};

fn read(body: &Body<'_>) -> Result<ResponseUsage, ProviderError> {
    // An event of a stream, by its name.
    if let Some(metadata) = body.object("metadata")?
        && metadata.get("usage").is_some()
    {
        return read(&metadata);
    }
    // The last part of a stream tells all; what else it counts is of that part alone.
    if let Some(metrics) = body.object(METRICS)?
        && body.get("usage").is_none()
    {
        let mut read = ResponseUsage::of(body);
        OF_METRICS.add_to(&mut read, &metrics)?;
        return Ok(read);
    }
    if is_response(body)? {
        return Ok(of_headers(openai::read(body)?));
    }
    let Some(usage) = body.object("usage")? else { return without_usage(body) };
    if Chat::is_usage(&usage)? {
        return Ok(of_headers(Chat::OPENAI.read(body)?));
    }
    if usage.get("input_tokens").is_some() || is_messages(body)? {
        return Ok(of_headers(Messages::HOSTED.read(body)?));
    }
    let mut read = ResponseUsage::of(body);
    if let Some(router) = body.object_at(&["trace", "promptRouter"])? {
        let model = router.text("invokedModelId").and_then(|arn| arn.rsplit('/').next());
        read.model = model.filter(|model| is_model_name(model)).map(str::to_owned).or(read.model);
    }
    CONVERSE.add_to(&mut read, &usage)?;
    system_tools(std::slice::from_ref(body))?.add_to(&mut read);
    if let Some(tier) = body.object("serviceTier")? {
        read.set(SERVICE_CLASS, tier.parameter("type", &["default", "standard"])?);
    }
    if let Some(performance) = body.object("performanceConfig")? {
        read.set("latency", performance.parameter("latency", &["standard"])?);
    }
    Ok(read)
}

fn read_stream(events: &Events<'_>) -> Result<ResponseUsage, ProviderError> {
    let mut messages = false;
    let mut responses = false;
    for event in events.iter() {
        messages |= is_messages(event)?;
        responses |= is_response(event)?;
    }
    if messages {
        let read = of_headers(Messages::HOSTED.read_stream(events)?);
        check_metrics(events, &read)?;
        return Ok(read);
    }
    if responses {
        return Ok(of_headers(openai::read_stream(events)?));
    }
    let mut read = events.read_last(&[&["usage"], &["metadata", "usage"], &[METRICS]], read)?;
    let all: Vec<_> = events.iter().cloned().collect();
    let calls = system_tools(&all)?;
    // Of a stream of one, which is the response itself, they are counted.
    if !calls.dimensions().any(|dimension| read.usage.contains_key(dimension)) {
        calls.add_to(&mut read);
    }
    Ok(read)
}

/// Checks what Bedrock counted beside a model's own counts of one request: as much was written.
fn check_metrics(events: &Events<'_>, read: &ResponseUsage) -> Result<(), ProviderError> {
    if !read.further.is_empty() {
        return Ok(());
    }
    let output = |name: &str| read.usage.get(name).map_or(0, |count| count.millis() / 1_000);
    let written = output("output_tokens") + output("output_reasoning_tokens");
    for event in events.iter() {
        let Some(metrics) = event.object(METRICS)? else { continue };
        let field = "outputTokenCount";
        if let Some(counted) = metrics.count(field)?.filter(|counted| *counted != written) {
            let detail = format!("{field} is {counted}, but the usage tells {written}");
            return Err(contradictory(metrics.at(field), detail));
        }
    }
    Ok(())
}

/// What a model's own body says was used: not its tier, which is in a header.
fn of_headers(mut read: ResponseUsage) -> ResponseUsage {
    read.standard.clear();
    read.further.iter_mut().for_each(|further| further.standard.clear());
    read
}

/// Whether a body, or an event of a stream, is of `OpenAI`'s Responses: of the others that name
/// `input_tokens` none has a total or splits its input, and Anthropic's thinking has its own name.
fn is_response(body: &Body<'_>) -> Result<bool, ProviderError> {
    let is_usage = |response: &Value| response.get("usage").is_some_and(Value::is_object);
    if body.get("response").is_some_and(is_usage) {
        return Ok(true);
    }
    let Some(usage) = body.object("usage")? else { return Ok(false) };
    if usage.get("input_tokens").is_none() || is_messages(body)? {
        return Ok(false);
    }
    let details = usage.object("output_tokens_details")?;
    Ok(body.text("object") == Some("response")
        || usage.get("input_tokens_details").is_some()
        || usage.get("total_tokens").is_some()
        || details.is_some_and(|details| details.get("reasoning_tokens").is_some()))
}

/// The calls of tools that run at Amazon, in a response or in the events of a stream.
fn system_tools(bodies: &[Body<'_>]) -> Result<Tools, ProviderError> {
    let mut calls = Tools::default();
    let mut add = |tool: &Body<'_>| {
        let name = tool.text("name").unwrap_or_default();
        let dimension = match name {
            "nova_grounding" => Some("web_searches"),
            "nova_code_interpreter" => Some("code_executions"),
            // The caller's own.
            _ if tool.text("type") != Some("server_tool_use") => return Ok(()),
            _ => None,
        };
        calls.add(name, dimension, 1, tool.pointer())
    };
    for body in bodies {
        if let Some(message) = body.object_at(&["output", "message"])? {
            for block in message.list("content")? {
                if let Some(tool) = block.object("toolUse")? {
                    add(&tool)?;
                }
            }
        }
        for path in [["contentBlockStart", "start", "toolUse"].as_slice(), &["start", "toolUse"]] {
            if let Some(tool) = body.object_at(path)? {
                add(&tool)?;
            }
        }
    }
    Ok(calls)
}

/// Titan and Llama, which have their counts in the body itself.
fn without_usage(body: &Body<'_>) -> Result<ResponseUsage, ProviderError> {
    let mut read = ResponseUsage::of(body);
    if body.get(LLAMA.input).is_some() || body.get(LLAMA.output).is_some() {
        LLAMA.add_to(&mut read, body)?;
        return Ok(read);
    }
    let Some(input) = body.count("inputTextTokenCount")? else {
        return Err(body.no_usage("of a stream, give the last event, or all"));
    };
    read.add("input_tokens", input);
    let mut output = body.count("totalOutputTextTokenCount")?;
    for result in body.list("results")? {
        let count = output.unwrap_or(0) + result.required_count("tokenCount")?;
        if Quantity::from_whole(count).is_none() {
            return Err(contradictory(result.at("tokenCount"), "the sum is over 12 digits"));
        }
        output = Some(count);
    }
    // Embeddings generate nothing.
    let embeddings = ["embedding", "embeddingsByType"];
    match output {
        Some(output) => read.add("output_tokens", output),
        None if embeddings.iter().any(|field| body.get(field).is_some()) => {}
        None => return Err(missing("the response has no /results with a tokenCount")),
    }
    Ok(read)
}

impl Spelling {
    fn add_to(&self, read: &mut ResponseUsage, usage: &Body<'_>) -> Result<(), ProviderError> {
        let input = usage.required_count(self.input)?;
        let output = usage.required_count(self.output)?;
        let cached = one_of(usage, self.cache_read)?;
        let written = one_of(usage, self.cache_write)?;
        let long = written_long(usage, written)?;
        let plain = input + output;
        if usage.count("totalTokens")? != Some(plain) {
            usage.check_total("totalTokens", plain + cached + written)?;
        }
        read.add("input_tokens", input);
        read.add("output_tokens", output);
        read.add("cache_read_tokens", cached);
        read.add("cache_write_tokens", written - long);
        read.add("cache_write_1h_tokens", long);
        Ok(())
    }
}

/// A count under whichever of its spellings is there.
fn one_of(usage: &Body<'_>, spellings: &[&str]) -> Result<u64, ProviderError> {
    let mut told = None;
    for field in spellings {
        let Some(count) = usage.count(field)? else { continue };
        if let Some(other) = told
            && other != count
        {
            let detail = format!("{field} is {count}, but under its other name {other}");
            return Err(contradictory(usage.at(field), detail));
        }
        told = Some(count);
    }
    Ok(told.unwrap_or(0))
}

/// How much of what was `written` is kept for an hour.
fn written_long(usage: &Body<'_>, written: u64) -> Result<u64, ProviderError> {
    let mut left = written;
    let mut long = 0;
    for detail in usage.list("cacheDetails")? {
        let [count] = detail.parts(["inputTokens"], left, "cacheWriteInputTokens")?;
        left -= count;
        match detail.text("ttl") {
            Some("5m") => {}
            Some("1h") => long += count,
            _ => {
                return Err(contradictory(
                    detail.blame("ttl"),
                    "cacheDetails has a ttl that is neither 5m nor 1h",
                ));
            }
        }
    }
    Ok(long)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use crate::providers::tests::{
        Case,
        Expected::{Contradictory, Missing, Usage},
        case, fixture, side,
    };
    use crate::providers::usage_from_response;

    const CONVERSE: &str =
        "https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html";
    const USAGE: &str =
        "https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_TokenUsage.html";
    const STREAM: &str =
        "https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html";
    const CACHING: &str =
        "https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html";
    const ROUTING: &str =
        "https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-routing.html";
    const SYSTEM_TOOLS: &str =
        "https://docs.aws.amazon.com/nova/latest/nova2-userguide/web-grounding.html";
    const CLAUDE: &str = "https://docs.aws.amazon.com/bedrock/latest/userguide/\
                          model-parameters-anthropic-claude-messages.html";
    const TITAN: &str =
        "https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-text.html";
    const TITAN_EMBED: &str = "https://docs.aws.amazon.com/bedrock/latest/userguide/\
                               model-parameters-titan-embed-text.html";
    const LLAMA: &str =
        "https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-meta.html";
    const NOVA: &str =
        "https://docs.aws.amazon.com/nova/latest/userguide/complete-request-schema.html";
    const OPENAI: &str =
        "https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-openai.html";
    const RESPONSES: &str =
        "https://docs.aws.amazon.com/bedrock/latest/userguide/bedrock-mantle.html";
    const ERRORS: &str =
        "https://docs.aws.amazon.com/bedrock/latest/userguide/troubleshooting-api-error-codes.html";

    pub(in crate::providers) fn cases() -> Vec<Case> {
        [converse(), streams(), models()].into_iter().flatten().collect()
    }

    fn converse() -> Vec<Case> {
        vec![
            case(
                CACHING,
                fixture(include_str!("../../../../events/responses/bedrock-converse.json")),
                Usage(
                    "-: cache_read_tokens 1000, cache_write_1h_tokens 2000, cache_write_tokens 51, \
                     input_tokens 4, output_tokens 10",
                ),
            ),
            case(
                CONVERSE,
                json!({
                    "output": {"message": {"role": "assistant", "content": [{"text": "a"}]}},
                    "stopReason": "end_turn", "metrics": {"latencyMs": 551},
                    "usage": {"inputTokens": 30, "outputTokens": 628, "totalTokens": 658}
                }),
                Usage("-: input_tokens 30, output_tokens 628"),
            ),
            case(
                "https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference-results.html",
                json!([
                    {"recordId": "a", "modelInput": {}, "modelOutput": {
                        "type": "message", "usage": {"input_tokens": 3, "output_tokens": 4}
                    }},
                    {"recordId": "b", "modelInput": {},
                     "error": {"errorCode": 400, "errorMessage": "bad request"}}
                ]),
                Usage("-: input_tokens 3, output_tokens 4 service_class=batch"),
            ),
            // A tool's call, by tier and latency.
            case(
                CONVERSE,
                json!({
                    "output": {"message": {"content": [{"toolUse": {"name": "f"}}]}},
                    "stopReason": "tool_use", "serviceTier": {"type": "priority"},
                    "performanceConfig": {"latency": "optimized"},
                    "usage": {"inputTokens": 3, "outputTokens": 4, "totalTokens": 7}
                }),
                Usage(
                    "-: input_tokens 3, output_tokens 4 latency=optimized service_class=priority",
                ),
            ),
            case(
                ROUTING,
                json!({
                    "usage": {"inputTokens": 3, "outputTokens": 4, "totalTokens": 7},
                    "trace": {"promptRouter": {
                        "invokedModelId":
                            "arn:aws:bedrock:us-east-1:1:inference-profile/us.amazon.nova-lite-v1:0"
                    }}
                }),
                Usage("us.amazon.nova-lite-v1:0: input_tokens 3, output_tokens 4"),
            ),
            case(
                CACHING,
                json!({
                    "serviceTier": {"type": "default"},
                    "performanceConfig": {"latency": "standard"},
                    "usage": {
                        "inputTokens": 4, "outputTokens": 10, "totalTokens": 3_065,
                        "cacheReadInputTokens": 1_000, "cacheWriteInputTokens": 2_051,
                        "cacheDetails": [
                            {"ttl": "1h", "inputTokens": 2_000}, {"ttl": "5m", "inputTokens": 51}
                        ]
                    }
                }),
                Usage(
                    "-: cache_read_tokens 1000, cache_write_1h_tokens 2000, cache_write_tokens 51, \
                     input_tokens 4, output_tokens 10",
                ),
            ),
            // A total without what was cached, and lifetimes that are not told.
            case(
                USAGE,
                json!({"usage": {
                    "inputTokens": 4, "outputTokens": 10, "totalTokens": 14,
                    "cacheReadInputTokens": 1_000, "cacheWriteInputTokens": 50, "cacheDetails": []
                }}),
                Usage(
                    "-: cache_read_tokens 1000, cache_write_tokens 50, input_tokens 4, \
                     output_tokens 10",
                ),
            ),
            case(
                USAGE,
                json!({"usage": {
                    "inputTokens": 0, "outputTokens": 0, "totalTokens": 0,
                    "cacheReadInputTokens": null, "cacheWriteInputTokens": 0
                }}),
                Usage("-: "),
            ),
            case(USAGE, json!({"usage": {}}), Missing("/usage/inputTokens")),
            case(USAGE, json!({"usage": {"inputTokens": 1}}), Missing("/usage/outputTokens")),
            case(
                USAGE,
                json!({"usage": {"inputTokens": 4, "outputTokens": 10, "totalTokens": 15}}),
                Contradictory("/usage/totalTokens"),
            ),
            case(
                CACHING,
                json!({"usage": {
                    "inputTokens": 4, "outputTokens": 10, "cacheWriteInputTokens": 5,
                    "cacheDetails": [{"ttl": "1h", "inputTokens": 6}]
                }}),
                Contradictory("/usage/cacheDetails/0/inputTokens"),
            ),
            case(
                CACHING,
                json!({"usage": {
                    "inputTokens": 4, "outputTokens": 10, "cacheWriteInputTokens": 5,
                    "cacheDetails": [{"ttl": "1d", "inputTokens": 5}]
                }}),
                Contradictory("/usage/cacheDetails/0/ttl"),
            ),
            case(
                ERRORS,
                json!({"message": "Too many requests, please wait before trying again."}),
                Missing("nothing was used"),
            ),
            case(ERRORS, json!({"__type": "ThrottlingException"}), Missing("nothing was used")),
        ]
    }

    fn streams() -> Vec<Case> {
        let usage = json!({"inputTokens": 47, "outputTokens": 20, "totalTokens": 67});
        let search = json!({
            "toolUseId": "t", "name": "nova_grounding", "type": "server_tool_use", "input": {}
        });
        let metadata = json!({"metadata": {"usage": usage, "metrics": {"latencyMs": 100}}});
        vec![
            // What runs at Amazon is billed; the caller's own tools are not.
            case(
                SYSTEM_TOOLS,
                json!({
                    "output": {"message": {"content": [
                        {"toolUse": search}, {"toolUse": search}, {"toolUse": {"name": "mine"}},
                        {"toolUse": {"name": "nova_telescope", "type": "server_tool_use"}}
                    ]}},
                    "usage": usage
                }),
                Usage(
                    "-: input_tokens 47, nova_telescope_calls 1, output_tokens 20, web_searches 2",
                ),
            ),
            case(
                SYSTEM_TOOLS,
                json!([
                    {"contentBlockStart": {"start": {"toolUse": search}, "contentBlockIndex": 0}},
                    metadata
                ]),
                Usage("-: input_tokens 47, output_tokens 20, web_searches 1"),
            ),
            case(STREAM, json!([metadata, metadata]), Contradictory("/1")),
            case(
                STREAM,
                fixture(include_str!("../../../../events/responses/bedrock-converse-stream.json")),
                Usage("-: input_tokens 47, output_tokens 20 service_class=priority"),
            ),
            case(
                STREAM,
                json!({"metadata": {
                    "usage": usage, "metrics": {"latencyMs": 100}, "serviceTier": {"type": "flex"}
                }}),
                Usage("-: input_tokens 47, output_tokens 20 service_class=flex"),
            ),
            case(
                STREAM,
                json!({"usage": usage, "metrics": {"latencyMs": 100}, "p": "abc"}),
                Usage("-: input_tokens 47, output_tokens 20"),
            ),
            case(
                STREAM,
                json!([
                    {"messageStart": {"role": "assistant"}},
                    {"contentBlockDelta": {"delta": {"text": "a"}, "contentBlockIndex": 0}},
                    {"messageStop": {"stopReason": "end_turn"}},
                    {"metadata": {"usage": usage, "metrics": {"latencyMs": 100}}}
                ]),
                Usage("-: input_tokens 47, output_tokens 20"),
            ),
            case(
                STREAM,
                json!([{"messageStart": {"role": "assistant"}}, {"messageStop": {}}]),
                Missing("broke off, or"),
            ),
            // The throttled stream's event is no error's body of the whole.
            case(
                STREAM,
                json!([{"messageStart": {}}, {"message": "Too many tokens"}]),
                Missing("broke off with an error"),
            ),
            case(
                STREAM,
                json!([{"metadata": {"usage": {
                    "inputTokens": 1, "outputTokens": 1, "totalTokens": 3
                }}}]),
                Contradictory("/0/metadata/usage/totalTokens"),
            ),
        ]
    }

    fn models() -> Vec<Case> {
        let metrics = json!({
            "inputTokenCount": 3, "outputTokenCount": 13, "invocationLatency": 3_037,
            "firstByteLatency": 2_635, "cacheReadInputTokenCount": 0,
            "cacheWriteInputTokenCount": 25_037
        });
        let read = "-: cache_write_tokens 25037, input_tokens 3, output_tokens 13";
        let response = json!({
            "id": "r", "object": "response", "model": "openai.gpt-oss-120b", "output": [
                {"type": "web_search_call", "status": "completed"}
            ],
            "usage": {
                "input_tokens": 1_200, "output_tokens": 40, "total_tokens": 1_240,
                "input_tokens_details": {"cached_tokens": 1_000},
                "output_tokens_details": {"reasoning_tokens": 30}
            }
        });
        let told = Usage(
            "openai.gpt-oss-120b: cache_read_tokens 1000, input_tokens 200, \
             output_reasoning_tokens 30, output_tokens 10, web_searches 1",
        );
        vec![
            case(
                CLAUDE,
                json!({
                    "id": "msg_bdrk_1", "type": "message", "model": "claude-sonnet-4-5-20250929",
                    "usage": {
                        "input_tokens": 3, "output_tokens": 9, "cache_read_input_tokens": 8,
                        "cache_creation_input_tokens": 6, "cache_creation": {
                            "ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 6
                        }
                    }
                }),
                Usage(
                    "claude-sonnet-4-5-20250929: cache_read_tokens 8, cache_write_1h_tokens 6, \
                     input_tokens 3, output_tokens 9",
                ),
            ),
            case(
                CLAUDE,
                json!([
                    {"type": "message_start", "message": {"model": "claude-opus-4-6", "usage": {
                        "input_tokens": 3, "output_tokens": 2,
                        "cache_creation_input_tokens": 25_037, "cache_read_input_tokens": 0
                    }}},
                    {"type": "message_delta", "usage": {"output_tokens": 13}},
                    {"type": "message_stop", "amazon-bedrock-invocationMetrics": metrics}
                ]),
                Usage(
                    "claude-opus-4-6: cache_write_tokens 25037, input_tokens 3, output_tokens 13",
                ),
            ),
            case(
                CLAUDE,
                json!([
                    {"type": "message_start", "message": {"model": "claude-opus-4-6", "usage": {
                        "input_tokens": 3, "output_tokens": 2
                    }}},
                    {"type": "message_delta", "usage": {"output_tokens": 12}},
                    {"type": "message_stop", "amazon-bedrock-invocationMetrics": metrics}
                ]),
                Contradictory("/2/amazon-bedrock-invocationMetrics/outputTokenCount"),
            ),
            case(
                CLAUDE,
                json!({"type": "message_stop", "amazon-bedrock-invocationMetrics": metrics}),
                Usage(read),
            ),
            case(
                NOVA,
                json!([
                    {"contentBlockDelta": {}},
                    {"metadata": {"usage": {
                        "inputTokens": 3, "outputTokens": 13, "cacheReadInputTokenCount": 0,
                        "cacheWriteInputTokenCount": 25_037
                    }}, "amazon-bedrock-invocationMetrics": metrics}
                ]),
                Usage(read),
            ),
            case(
                NOVA,
                json!({"usage": {
                    "inputTokens": 11, "outputTokens": 10, "totalTokens": 21,
                    "cacheReadInputTokens": 4, "cacheReadInputTokenCount": 5
                }}),
                Contradictory("/usage/cacheReadInputTokenCount"),
            ),
            case(
                TITAN,
                json!({
                    "inputTextTokenCount": 5, "results": [
                        {"tokenCount": 55, "outputText": "a", "completionReason": "FINISH"}
                    ]
                }),
                Usage("-: input_tokens 5, output_tokens 55"),
            ),
            case(
                TITAN,
                json!([
                    {"outputText": "a", "index": 0, "inputTextTokenCount": null},
                    {
                        "outputText": "", "totalOutputTextTokenCount": 55,
                        "amazon-bedrock-invocationMetrics": {
                            "inputTokenCount": 5, "outputTokenCount": 55
                        }
                    }
                ]),
                Usage("-: input_tokens 5, output_tokens 55"),
            ),
            case(TITAN, json!({"inputTextTokenCount": 5}), Missing("tokenCount")),
            case(
                TITAN_EMBED,
                json!({"embedding": [0.1], "inputTextTokenCount": 7}),
                Usage("-: input_tokens 7"),
            ),
            case(
                LLAMA,
                json!({
                    "generation": "a", "prompt_token_count": 14, "generation_token_count": 38,
                    "stop_reason": "stop"
                }),
                Usage("-: input_tokens 14, output_tokens 38"),
            ),
            case(
                LLAMA,
                json!([
                    {"generation": "a", "prompt_token_count": 14, "generation_token_count": 1},
                    {
                        "generation": "", "prompt_token_count": null, "generation_token_count": 38,
                        "amazon-bedrock-invocationMetrics": {
                            "inputTokenCount": 14, "outputTokenCount": 38
                        }
                    }
                ]),
                Usage("-: input_tokens 14, output_tokens 38"),
            ),
            case(
                LLAMA,
                json!({"generation": "a", "prompt_token_count": 14}),
                Missing("/generation_token_count"),
            ),
            case(
                LLAMA,
                json!({"generation": "", "prompt_token_count": 14, "generation_token_count": 0}),
                Usage("-: input_tokens 14"),
            ),
            case(
                LLAMA,
                json!({"generation": "", "prompt_token_count": -1, "generation_token_count": 0}),
                Contradictory("/prompt_token_count"),
            ),
            case(
                NOVA,
                json!({
                    "output": {"message": {"role": "assistant", "content": [{"text": "a"}]}},
                    "stopReason": "end_turn", "usage": {
                        "inputTokens": 11, "outputTokens": 10, "totalTokens": 21,
                        "cacheReadInputTokenCount": 0, "cacheWriteInputTokenCount": 0
                    }
                }),
                Usage("-: input_tokens 11, output_tokens 10"),
            ),
            case(
                TITAN,
                json!({"inputTextTokenCount": 5, "results": [
                    {"tokenCount": 999_999_999_999_u64}, {"tokenCount": 1}
                ]}),
                Contradictory("/results/1/tokenCount"),
            ),
            case(RESPONSES, response.clone(), told),
            case(
                RESPONSES,
                json!({"usage": response["usage"]}),
                Usage(
                    "-: cache_read_tokens 1000, input_tokens 200, output_reasoning_tokens 30, \
                     output_tokens 10",
                ),
            ),
            case(
                RESPONSES,
                json!([
                    {"type": "response.created", "response": {"id": "r", "usage": null}},
                    {"type": "response.completed", "response": response}
                ]),
                told,
            ),
            case(RESPONSES, json!({"type": "response.completed", "response": response}), told),
            case(
                RESPONSES,
                json!({"object": "response", "usage": {
                    "input_tokens": 5, "output_tokens": 5, "total_tokens": 11
                }}),
                Contradictory("/usage/total_tokens"),
            ),
            case(
                OPENAI,
                json!({
                    "object": "chat.completion", "model": "openai.gpt-oss-20b-1:0",
                    "service_tier": "default",
                    "usage": {"prompt_tokens": 71, "completion_tokens": 41, "total_tokens": 112}
                }),
                Usage("openai.gpt-oss-20b-1:0: input_tokens 71, output_tokens 41"),
            ),
        ]
    }

    proptest! {
        /// The kinds of input stand beside each other, whichever way the total counts them.
        #[test]
        fn converse_adds_up(
            [input, output, cached, short, long, untold] in
                [0_u64..30, 0..30, 0..30, 0..30, 0..30, 0..30],
            total in prop_oneof![Just(None), (0_u64..120).prop_map(Some)],
        ) {
            let written = short + long + untold;
            let body = json!({"usage": {
                "inputTokens": input, "outputTokens": output, "totalTokens": total,
                "cacheReadInputTokens": cached, "cacheWriteInputTokens": written,
                "cacheDetails": [
                    {"ttl": "1h", "inputTokens": long}, {"ttl": "5m", "inputTokens": short}
                ]
            }});
            let all = input + output + cached + written;
            match usage_from_response("bedrock", &body) {
                Ok(read) => {
                    prop_assert!(total.is_none_or(|t| t == all || t == input + output), "{body}");
                    prop_assert_eq!(side(&read, false), input + cached + written);
                    prop_assert_eq!(side(&read, true), output);
                }
                Err(error) => {
                    prop_assert!(total.is_some_and(|t| t != all && t != input + output), "{error}");
                }
            }
        }
    }
}

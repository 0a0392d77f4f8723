//! Cerebras: Chat Completions and completions ([`super::chat`]).
//!
//! All details are within their totals: `prompt_tokens_details.cached_tokens`,
//! `completion_tokens_details.reasoning_tokens`; predicted tokens that were rejected are billed as
//! output and are in `completion_tokens`. `service_tier_used` tells the class that served a request
//! for `auto`, and goes before `service_tier`. `time_info` is not billed.

use super::body::Body;
use super::chat::Chat;
use super::{Provider, ProviderError, ResponseUsage, SERVICE_CLASS};

pub(super) const PROVIDER: Provider = Provider {
    name: "cerebras",
    aliases: &[],
    read,
    read_stream: |events| events.read_last(CHAT.usage, read),
    #[cfg(test)]
    cases: tests::cases,
};

const CHAT: Chat = Chat::OPENAI;

fn read(body: &Body<'_>) -> Result<ResponseUsage, ProviderError> {
    let mut read = CHAT.read(body)?;
    if body.get("service_tier_used").is_some() {
        read.parameters.remove(SERVICE_CLASS);
        read.standard.remove(SERVICE_CLASS);
        let class = body.parameter("service_tier_used", CHAT.standard_tiers)?;
        read.set(SERVICE_CLASS, class);
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::providers::tests::{Case, Expected, case, fixture};

    const DOC: &str = "https://inference-docs.cerebras.ai/api-reference/chat-completions";

    pub(in crate::providers) fn cases() -> Vec<Case> {
        vec![
            case(
                DOC,
                fixture(include_str!("../../../../events/responses/cerebras-chat.json")),
                Expected::Usage("qwen-3-32b: input_tokens 22, output_tokens 86"),
            ),
            case(
                DOC,
                json!({
                    "id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-oss-120b",
                    "usage": {
                        "prompt_tokens": 100, "completion_tokens": 60, "total_tokens": 160,
                        "prompt_tokens_details": {"cached_tokens": 64},
                        "completion_tokens_details": {
                            "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
                            "reasoning_tokens": 20
                        }
                    },
                    "time_info": {"queue_time": 0.0001, "total_time": 0.02}
                }),
                Expected::Usage(
                    "gpt-oss-120b: cache_read_tokens 64, input_tokens 36, \
                     output_reasoning_tokens 20, output_tokens 40",
                ),
            ),
            // Predictions, most of them rejected.
            case(
                DOC,
                json!({"model": "m", "usage": {
                    "prompt_tokens": 9, "completion_tokens": 50, "total_tokens": 59,
                    "completion_tokens_details": {
                        "accepted_prediction_tokens": 10, "rejected_prediction_tokens": 30
                    }
                }}),
                Expected::Usage("m: input_tokens 9, output_tokens 50"),
            ),
            case(
                DOC,
                json!({"service_tier": "auto", "service_tier_used": "flex", "usage": {
                    "prompt_tokens": 1, "completion_tokens": 0, "total_tokens": 1
                }}),
                Expected::Usage("-: input_tokens 1 service_class=flex"),
            ),
            case(
                DOC,
                json!({"service_tier": "priority", "service_tier_used": "default", "usage": {
                    "prompt_tokens": 1, "completion_tokens": 1
                }}),
                Expected::Usage("-: input_tokens 1, output_tokens 1"),
            ),
            // A stream: usage stands in the last chunk.
            case(
                DOC,
                json!([
                    {"id": "a", "model": "llama3.1-8b", "choices": [{"delta": {"content": "x"}}]},
                    {"id": "a", "choices": [{"delta": {}, "finish_reason": "stop"}], "usage": {
                        "prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19
                    }}
                ]),
                Expected::Usage("llama3.1-8b: input_tokens 12, output_tokens 7"),
            ),
            case(
                DOC,
                json!([{"id": "a", "model": "m", "choices": []}]),
                Expected::Missing("no event of the stream"),
            ),
            case(DOC, json!({"model": "m", "choices": []}), Expected::Missing("no usage")),
            case(
                DOC,
                json!({"message": "Tokens per minute limit exceeded", "type": "too_many_tokens_error"}),
                Expected::Missing("nothing was used"),
            ),
            case(
                DOC,
                json!({"usage": {
                    "prompt_tokens": 9, "completion_tokens": 5,
                    "completion_tokens_details": {"reasoning_tokens": 6}
                }}),
                Expected::Contradictory("/usage/completion_tokens_details/reasoning_tokens"),
            ),
        ]
    }
}

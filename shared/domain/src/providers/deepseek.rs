//! `DeepSeek`: Chat Completions ([`super::chat`]), FIM completions, and Anthropic's Messages.
//!
//! | body | dimension |
//! |---|---|
//! | `prompt_tokens`, the sum of the next two | |
//! | `prompt_cache_hit_tokens`, also `prompt_tokens_details.cached_tokens` | `cache_read_tokens` |
//! | `prompt_cache_miss_tokens` | `input_tokens` |
//! | `completion_tokens_details.reasoning_tokens`, within `completion_tokens` | `output_reasoning_tokens` |
//! | `completion_tokens` without it | `output_tokens` |
//!
//! Writing the cache costs nothing and isn't told. Without the cache counts all of the prompt is
//! `input_tokens`. Streams have the usage in their last chunk. Prices may depend on the time of the
//! day, which is not in the body.

use super::body::Body;
use super::chat::Chat;
use super::{Provider, ProviderError, ResponseUsage, compatible};

pub(super) const PROVIDER: Provider = Provider {
    name: "deepseek",
    aliases: &[],
    read,
    read_stream: |events| compatible::read_stream(&CHAT, events, read),
    #[cfg(test)]
    cases: tests::cases,
};

const CHAT: Chat = Chat {
    cached: &["prompt_cache_hit_tokens"],
    not_cached: Some("prompt_cache_miss_tokens"),
    ..Chat::OPENAI
};

fn read(body: &Body<'_>) -> Result<ResponseUsage, ProviderError> {
    compatible::read(&CHAT, body)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::providers::tests::{Case, Expected, case, fixture};

    const DOC: &str = "https://api-docs.deepseek.com/api/create-chat-completion";

    pub(in crate::providers) fn cases() -> Vec<Case> {
        let usage = |usage: Value| json!({"model": "deepseek-chat", "choices": [], "usage": usage});
        vec![
            case(
                DOC,
                fixture(include_str!("../../../../events/responses/deepseek-chat.json")),
                Expected::Usage(
                    "deepseek-reasoner: cache_read_tokens 640, input_tokens 360, \
                     output_reasoning_tokens 250, output_tokens 50",
                ),
            ),
            // A prompt that was partly cached, and reasoning.
            case(
                DOC,
                usage(json!({
                    "prompt_tokens": 1_000, "completion_tokens": 300, "total_tokens": 1_300,
                    "prompt_tokens_details": {"cached_tokens": 640},
                    "completion_tokens_details": {"reasoning_tokens": 250},
                    "prompt_cache_hit_tokens": 640, "prompt_cache_miss_tokens": 360
                })),
                Expected::Usage(
                    "deepseek-chat: cache_read_tokens 640, input_tokens 360, \
                     output_reasoning_tokens 250, output_tokens 50",
                ),
            ),
            // Older bodies have no details.
            case(
                DOC,
                usage(json!({
                    "prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13,
                    "prompt_cache_hit_tokens": 8, "prompt_cache_miss_tokens": 2
                })),
                Expected::Usage(
                    "deepseek-chat: cache_read_tokens 8, input_tokens 2, output_tokens 3",
                ),
            ),
            // Nothing cached, nothing generated.
            case(
                DOC,
                usage(json!({
                    "prompt_tokens": 16, "completion_tokens": 0, "total_tokens": 16,
                    "prompt_cache_hit_tokens": 0, "prompt_cache_miss_tokens": 16
                })),
                Expected::Usage("deepseek-chat: input_tokens 16"),
            ),
            case(
                DOC,
                usage(json!({"prompt_tokens": 16, "completion_tokens": 1})),
                Expected::Usage("deepseek-chat: input_tokens 16, output_tokens 1"),
            ),
            // The stream's last chunk, after others whose usage is null.
            case(
                DOC,
                json!([
                    {"id": "a", "model": "deepseek-reasoner", "usage": null},
                    {"id": "a", "model": "deepseek-reasoner", "choices": [], "usage": {
                        "prompt_tokens": 17, "completion_tokens": 9, "total_tokens": 26,
                        "prompt_cache_hit_tokens": 0, "prompt_cache_miss_tokens": 17
                    }},
                    "[DONE]"
                ]),
                Expected::Usage("deepseek-reasoner: input_tokens 17, output_tokens 9"),
            ),
            case(
                DOC,
                json!({"type": "message", "model": "deepseek-chat", "usage": {
                    "input_tokens": 5, "output_tokens": 6, "cache_read_input_tokens": 7,
                    "cache_creation_input_tokens": 0
                }}),
                Expected::Usage(
                    "deepseek-chat: cache_read_tokens 7, input_tokens 5, output_tokens 6",
                ),
            ),
            case(
                DOC,
                usage(json!({
                    "prompt_tokens": 10, "completion_tokens": 1,
                    "prompt_cache_hit_tokens": 8, "prompt_cache_miss_tokens": 3
                })),
                Expected::Contradictory("/usage/prompt_cache_miss_tokens"),
            ),
            case(
                DOC,
                usage(json!({
                    "prompt_tokens": 10, "completion_tokens": 1, "prompt_cache_hit_tokens": 8,
                    "prompt_tokens_details": {"cached_tokens": 7}
                })),
                Expected::Contradictory("/usage/prompt_cache_hit_tokens"),
            ),
            case(
                DOC,
                json!({"error": {"message": "Insufficient Balance", "code": "invalid_request"}}),
                Expected::Missing("nothing was used"),
            ),
            case(DOC, usage(json!({})), Expected::Missing("/usage/prompt_tokens")),
        ]
    }
}

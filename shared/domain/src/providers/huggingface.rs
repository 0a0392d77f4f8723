//! Hugging Face's router: Chat Completions ([`super::chat`]) and Responses
//! ([`super::compatible`]) of the providers behind it, embeddings, images.
//!
//! The router passes on the usage of whoever served the request, so it is read with the
//! differences that those have: `cached_tokens` in the details or beside them, Groq's
//! `x_groq.usage`, `DeepSeek`'s cache counts, reasoning within `completion_tokens` or, where the total shows it,
//! on top. Which provider it was stands in the header `x-inference-provider` and not in the body:
//! where prices differ by it, the request gives it as a parameter. Nothing is billed outside.

use super::body::Body;
use super::chat::{Chat, Reasoning};
use super::{Provider, ProviderError, ResponseUsage, compatible};

pub(super) const PROVIDER: Provider = Provider {
    name: "huggingface",
    aliases: &["hugging_face"],
    read,
    read_stream: |events| compatible::read_stream(&CHAT, events, read),
    #[cfg(test)]
    cases: tests::cases,
};

const CHAT: Chat = Chat {
    usage: &[&["usage"], &["x_groq", "usage"]],
    cached: &["cached_tokens", "prompt_cache_hit_tokens"],
    not_cached: Some("prompt_cache_miss_tokens"),
    reasoning: Reasoning::ByTotal,
    standard_tiers: &["auto", "default", "standard", "on_demand"],
    ..Chat::OPENAI
};

fn read(body: &Body<'_>) -> Result<ResponseUsage, ProviderError> {
    compatible::read_media_or_chat(&CHAT, body)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::providers::tests::{Case, Expected, case, fixture};

    const CHAT: &str = "https://huggingface.co/docs/inference-providers/tasks/chat-completion";

    pub(in crate::providers) fn cases() -> Vec<Case> {
        vec![
            case(
                CHAT,
                fixture(include_str!("../../../../events/responses/huggingface-chat.json")),
                Expected::Usage(
                    "openai/gpt-oss-120b: cache_read_tokens 64, input_tokens 16, \
                     output_reasoning_tokens 58, output_tokens 12",
                ),
            ),
            case(
                CHAT,
                json!({"id": "c", "object": "chat.completion", "choices": [],
                       "model": "meta-llama/Llama-3.3-70B-Instruct", "system_fingerprint": "",
                       "usage": {"prompt_tokens": 25, "completion_tokens": 88, "total_tokens": 113}}),
                Expected::Usage(
                    "meta-llama/Llama-3.3-70B-Instruct: input_tokens 25, output_tokens 88",
                ),
            ),
            // From Cerebras, Fireworks ...
            case(
                CHAT,
                json!({"model": "openai/gpt-oss-120b", "usage": {
                    "prompt_tokens": 25, "completion_tokens": 88, "total_tokens": 113,
                    "prompt_tokens_details": {"cached_tokens": 16},
                    "completion_tokens_details": {"reasoning_tokens": 80}
                }}),
                Expected::Usage(
                    "openai/gpt-oss-120b: cache_read_tokens 16, input_tokens 9, \
                     output_reasoning_tokens 80, output_tokens 8",
                ),
            ),
            // From Together.
            case(
                CHAT,
                json!({"model": "m", "usage": {
                    "prompt_tokens": 25, "completion_tokens": 0, "total_tokens": 25,
                    "cached_tokens": 20
                }}),
                Expected::Usage("m: cache_read_tokens 20, input_tokens 5"),
            ),
            // A stream from Groq.
            case(
                CHAT,
                json!([
                    {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {}}]},
                    {"id": "c", "model": "m", "choices": [], "x_groq": {"usage": {
                        "prompt_tokens": 25, "completion_tokens": 3, "total_tokens": 28
                    }}}
                ]),
                Expected::Usage("m: input_tokens 25, output_tokens 3"),
            ),
            case(
                "https://huggingface.co/docs/inference-providers/guides/responses-api",
                json!({"object": "response", "model": "moonshotai/Kimi-K2-Instruct", "usage": {
                    "input_tokens": 25, "output_tokens": 3, "total_tokens": 28,
                    "input_tokens_details": {"cached_tokens": 0},
                    "output_tokens_details": {"reasoning_tokens": 0}
                }}),
                Expected::Usage("moonshotai/Kimi-K2-Instruct: input_tokens 25, output_tokens 3"),
            ),
            case(
                "https://huggingface.co/docs/inference-providers/tasks/text-to-image",
                json!({"created": 1, "data": [{"b64_json": "b"}]}),
                Expected::Usage("-: output_images 1"),
            ),
            case(CHAT, json!({"error": "Model too busy"}), Expected::Missing("nothing was used")),
            case(CHAT, json!({"model": "m", "usage": null}), Expected::Missing("no usage")),
            case(
                CHAT,
                json!({"usage": {
                    "prompt_tokens": 25, "completion_tokens": 3,
                    "prompt_tokens_details": {"cached_tokens": 26}
                }}),
                Expected::Contradictory("/usage/prompt_tokens_details/cached_tokens"),
            ),
        ]
    }
}

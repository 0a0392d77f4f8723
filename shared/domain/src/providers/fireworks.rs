//! Fireworks: Chat Completions and completions ([`super::chat`]), Responses, Messages
//! ([`super::compatible`]), embeddings, images, transcriptions.
//!
//! Cached tokens are within `prompt_tokens`, reasoning within `completion_tokens` unless the total
//! shows that it is not. Images in a prompt are prompt tokens. `perf_metrics` are not billed. A
//! transcription tells its `duration`: `audio_seconds`. Images without usage are `output_images`.
//! `service_tier` becomes `service_class`. Nothing is billed outside. Streams have the usage in
//! their last chunk.

use super::body::Body;
use super::chat::{Chat, Reasoning};
use super::{Provider, ProviderError, ResponseUsage, compatible};

pub(super) const PROVIDER: Provider = Provider {
    name: "fireworks",
    aliases: &["fireworks_ai"],
    read,
    read_stream: |events| compatible::read_stream(&CHAT, events, read),
    #[cfg(test)]
    cases: tests::cases,
};

const CHAT: Chat = Chat { reasoning: Reasoning::ByTotal, ..Chat::OPENAI };

fn read(body: &Body<'_>) -> Result<ResponseUsage, ProviderError> {
    compatible::read_media_or_chat(&CHAT, body)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::providers::tests::{Case, Expected, case, fixture};

    const CHAT: &str = "https://docs.fireworks.ai/api-reference/post-chatcompletions";
    const BATCH: &str = "https://docs.fireworks.ai/guides/batch-inference";
    const AUDIO: &str = "https://docs.fireworks.ai/api-reference/audio-transcriptions";

    pub(in crate::providers) fn cases() -> Vec<Case> {
        vec![
            case(
                CHAT,
                fixture(include_str!("../../../../events/responses/fireworks-chat.json")),
                Expected::Usage(
                    "accounts/fireworks/models/deepseek-v3p2: cache_read_tokens 1000, \
                     input_tokens 24, output_tokens 25",
                ),
            ),
            case(
                CHAT,
                json!({"id": "c", "object": "chat.completion",
                       "model": "accounts/fireworks/models/deepseek-v3p2",
                       "usage": {
                           "prompt_tokens": 1_024, "completion_tokens": 25, "total_tokens": 1_049,
                           "prompt_tokens_details": {"cached_tokens": 1_000}
                       },
                       "perf_metrics": {"prompt-tokens": "1024"}}),
                Expected::Usage(
                    "accounts/fireworks/models/deepseek-v3p2: cache_read_tokens 1000, \
                     input_tokens 24, output_tokens 25",
                ),
            ),
            case(
                CHAT,
                json!({"model": "m", "service_tier": "priority", "usage": {
                    "prompt_tokens": 9, "completion_tokens": 50, "total_tokens": 59,
                    "prompt_tokens_details": null,
                    "completion_tokens_details": {"reasoning_tokens": 45}
                }}),
                Expected::Usage(
                    "m: input_tokens 9, output_reasoning_tokens 45, output_tokens 5 \
                     service_class=priority",
                ),
            ),
            // The last chunk of a stream has the usage, and no choices.
            case(
                CHAT,
                json!([
                    {"id": "c", "model": "m", "choices": [{"delta": {"content": "a"}}],
                     "usage": null},
                    {"id": "c", "model": "m", "choices": [], "usage": {
                        "prompt_tokens": 5, "completion_tokens": 0, "total_tokens": 5
                    }}
                ]),
                Expected::Usage("m: input_tokens 5"),
            ),
            case(
                "https://docs.fireworks.ai/api-reference/post-responses",
                json!({"object": "response", "model": "m", "usage": {
                    "prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7
                }}),
                Expected::Usage("m: input_tokens 5, output_tokens 2"),
            ),
            // A line of a batch has the response itself, without its body around it.
            case(
                BATCH,
                json!({"custom_id": "a", "response": {"object": "chat.completion", "model": "m",
                    "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}}}),
                Expected::Usage("m: input_tokens 5, output_tokens 2 service_class=batch"),
            ),
            case(
                BATCH,
                json!([{"custom_id": "a", "response": {"id": "c"}},
                    {"custom_id": "b", "response": {"usage": {"prompt_tokens": 5}}}]),
                Expected::Missing("neither what was used nor that its request failed"),
            ),
            case(
                BATCH,
                json!({"custom_id": "a", "response": {}, "error": {"message": "m"}}),
                Expected::Missing("its request failed, at no cost"),
            ),
            case(
                "https://docs.fireworks.ai/tools-sdks/anthropic-compatibility",
                json!({"type": "message", "model": "m", "usage": {
                    "input_tokens": 5, "output_tokens": 2, "cache_read_input_tokens": 3
                }}),
                Expected::Usage("m: cache_read_tokens 3, input_tokens 5, output_tokens 2"),
            ),
            case(
                "https://docs.fireworks.ai/api-reference/creates-an-embedding-vector-representing-the-input-text",
                json!({"object": "list", "model": "nomic-ai/nomic-embed-text-v1.5",
                       "data": [{"object": "embedding", "index": 0, "embedding": []}],
                       "usage": {"prompt_tokens": 4, "total_tokens": 4}}),
                Expected::Usage("nomic-ai/nomic-embed-text-v1.5: input_tokens 4"),
            ),
            case(
                AUDIO,
                json!({"task": "transcribe", "language": "en", "text": "a", "duration": 10.000_1,
                       "segments": []}),
                Expected::Usage("-: audio_seconds 10.001"),
            ),
            case(AUDIO, json!({"text": "a"}), Expected::Missing("verbose_json")),
            case(
                CHAT,
                json!({"model": "m", "usage": {}}),
                Expected::Missing("/usage/prompt_tokens"),
            ),
            case(
                CHAT,
                json!({"usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 6}}),
                Expected::Contradictory("/usage/total_tokens"),
            ),
            case(
                CHAT,
                json!({"error": {"object": "error", "type": "invalid_request_error"}}),
                Expected::Missing("nothing was used"),
            ),
        ]
    }
}

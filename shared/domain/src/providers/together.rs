//! Together: Chat Completions and completions ([`super::chat`]), embeddings, rerank, images,
//! transcriptions.
//!
//! | body | dimension |
//! |---|---|
//! | `cached_tokens` of the usage or of its `prompt_tokens_details`, within `prompt_tokens` | `cache_read_tokens` |
//! | reasoning, within `completion_tokens` unless the total shows that it is not | `output_reasoning_tokens` |
//! | images in `data` | `output_images` |
//! | `duration` of a transcription | `audio_seconds` |
//!
//! Nothing is billed outside. Streams have the usage in their last chunk.

use super::body::Body;
use super::chat::{Chat, Reasoning};
use super::{Provider, ProviderError, ResponseUsage, compatible};

pub(super) const PROVIDER: Provider = Provider {
    name: "together",
    aliases: &["together_ai"],
    read,
    read_stream: |events| CHAT.read_stream(events),
    #[cfg(test)]
    cases: tests::cases,
};

const CHAT: Chat =
    Chat { cached: &["cached_tokens"], reasoning: Reasoning::ByTotal, ..Chat::OPENAI };

fn read(body: &Body<'_>) -> Result<ResponseUsage, ProviderError> {
    compatible::read_media_or_chat(&CHAT, body)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::providers::tests::{Case, Expected, case, fixture};

    const CHAT: &str = "https://docs.together.ai/reference/chat-completions-1";
    const IMAGES: &str = "https://docs.together.ai/reference/post-images-generations";
    const AUDIO: &str = "https://docs.together.ai/reference/audio-transcriptions";

    pub(in crate::providers) fn cases() -> Vec<Case> {
        vec![
            case(
                CHAT,
                fixture(include_str!("../../../../events/responses/together-chat.json")),
                Expected::Usage(
                    "meta-llama/Llama-3.3-70B-Instruct-Turbo: cache_read_tokens 32, \
                     input_tokens 11, output_tokens 11",
                ),
            ),
            case(
                CHAT,
                json!({"id": "o", "object": "chat.completion", "prompt": [],
                       "model": "meta-llama/Llama-3.3-70B-Instruct-Turbo",
                       "usage": {"prompt_tokens": 43, "completion_tokens": 7, "total_tokens": 50}}),
                Expected::Usage(
                    "meta-llama/Llama-3.3-70B-Instruct-Turbo: input_tokens 43, output_tokens 7",
                ),
            ),
            case(
                CHAT,
                json!({"model": "m", "usage": {
                    "prompt_tokens": 43, "completion_tokens": 7, "total_tokens": 50,
                    "cached_tokens": 32
                }}),
                Expected::Usage("m: cache_read_tokens 32, input_tokens 11, output_tokens 7"),
            ),
            case(
                CHAT,
                json!({"model": "m", "usage": {
                    "prompt_tokens": 43, "completion_tokens": 17, "total_tokens": 60,
                    "cached_tokens": 32, "prompt_tokens_details": {"cached_tokens": 32},
                    "completion_tokens_details": {"reasoning_tokens": 10}
                }}),
                Expected::Usage(
                    "m: cache_read_tokens 32, input_tokens 11, output_reasoning_tokens 10, \
                     output_tokens 7",
                ),
            ),
            case(
                CHAT,
                json!([
                    {"id": "o", "model": "m", "usage": null, "choices": [{"delta": {}}]},
                    {"id": "o", "model": "m", "choices": [{"delta": {}, "finish_reason": "stop"}],
                     "usage": {"prompt_tokens": 12, "completion_tokens": 0, "total_tokens": 12}}
                ]),
                Expected::Usage("m: input_tokens 12"),
            ),
            case(
                "https://docs.together.ai/reference/rerank-1",
                json!({"object": "rerank", "model": "Salesforce/Llama-Rank-V1", "results": [],
                       "usage": {"prompt_tokens": 1837, "completion_tokens": 0, "total_tokens": 1837}}),
                Expected::Usage("Salesforce/Llama-Rank-V1: input_tokens 1837"),
            ),
            case(
                IMAGES,
                json!({"id": "o", "model": "black-forest-labs/FLUX.1-schnell", "object": "list",
                       "data": [{"index": 0, "url": "u", "timings": {"inference": 0.3}},
                                {"index": 1, "b64_json": "b"}]}),
                Expected::Usage("black-forest-labs/FLUX.1-schnell: output_images 2"),
            ),
            case(
                AUDIO,
                json!({"task": "transcribe", "language": "en", "duration": 3.5, "text": "a"}),
                Expected::Usage("-: audio_seconds 3.5"),
            ),
            case(AUDIO, json!({"text": "a"}), Expected::Missing("verbose_json")),
            case(
                CHAT,
                json!({"usage": {
                    "prompt_tokens": 43, "completion_tokens": 7, "cached_tokens": 44
                }}),
                Expected::Contradictory("/usage/cached_tokens"),
            ),
            case(
                "https://docs.together.ai/docs/error-codes",
                json!({"id": "o", "error": {"type": "invalid_request_error", "message": ""}}),
                Expected::Missing("nothing was used"),
            ),
            case(IMAGES, json!({"object": "list", "data": []}), Expected::Missing("no usage")),
        ]
    }
}

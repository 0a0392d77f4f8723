//! Azure `OpenAI` and Microsoft Foundry: the bodies of `OpenAI`, and of Anthropic's Messages.
//!
//! | body | read as |
//! |---|---|
//! | Messages (`type: message` and its events, or counts of its cache) | `anthropic.rs` |
//! | `usage_info` of Mistral's documents | `mistral.rs` |
//! | all others | `openai.rs`, with the same subsets, and the same meaning of what is missing |
//!
//! Of its own Azure adds the results of its content filters (`prompt_filter_results`,
//! `content_filter_results`), which cost nothing: in a stream they come first, in an event without
//! a model, `id` or usage. Errors of the filter have no usage. The model is the one that answered
//! (`gpt-4o-2024-08-06`; of the model router the one that it chose), not the deployment's name; a
//! caller whose prices go by deployment names the model. Outside the usage stands what stands
//! there at `OpenAI`.

use super::anthropic::{Messages, is_messages};
use super::body::Body;
use super::stream::Events;
use super::{Provider, ProviderError, ResponseUsage, mistral, openai};

pub(super) const PROVIDER: Provider = Provider {
    name: "azure",
    aliases: &["azure-openai", "azure_openai"],
    read,
    read_stream,
    #[cfg(test)]
    cases: tests::cases,
};

fn read(body: &Body<'_>) -> Result<ResponseUsage, ProviderError> {
    if body.get("usage_info").is_some() {
        return (mistral::PROVIDER.read)(body);
    }
    if is_messages(body)? { Messages::HOSTED.read(body) } else { openai::read(body) }
}

fn read_stream(events: &Events<'_>) -> Result<ResponseUsage, ProviderError> {
    for event in events.iter() {
        if is_messages(event)? {
            return Messages::HOSTED.read_stream(events);
        }
    }
    openai::read_stream(events)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::providers::tests::{
        Case,
        Expected::{Contradictory, Missing, Usage},
        case, fixture,
    };

    const REFERENCE: &str = "https://learn.microsoft.com/azure/ai-services/openai/reference";
    const STREAMING: &str =
        "https://learn.microsoft.com/azure/ai-services/openai/concepts/content-streaming";
    const FILTER: &str =
        "https://learn.microsoft.com/azure/ai-services/openai/concepts/content-filter";
    const RESPONSES: &str = "https://learn.microsoft.com/azure/ai-services/openai/how-to/responses";
    const CACHING: &str =
        "https://learn.microsoft.com/azure/ai-services/openai/how-to/prompt-caching";
    const CLAUDE: &str = "https://learn.microsoft.com/azure/foundry/foundry-models/how-to/\
                          use-foundry-models-claude";

    pub(in crate::providers) fn cases() -> Vec<Case> {
        vec![
            case(
                "https://github.com/BerriAI/litellm/issues/38546",
                json!({"model": "mistral-document-ai-2512", "pages": [], "usage_info": {
                    "pages_processed": 0, "pages_processed_annotation": 8, "doc_size_bytes": 100
                }}),
                Usage("mistral-document-ai-2512: annotated_pages 8"),
            ),
            case(
                "https://github.com/BerriAI/litellm/issues/38546",
                json!({"model": "mistral-document-ai-2512", "usage_info": {
                    "pages_processed": 3, "pages_processed_annotation": null
                }}),
                Usage("mistral-document-ai-2512: pages 3"),
            ),
            case(
                STREAMING,
                fixture(include_str!("../../../../events/responses/azure-chat-stream.json")),
                Usage("gpt-4.1-2025-04-14: input_tokens 19, output_tokens 4"),
            ),
            case(
                REFERENCE,
                json!({
                    "id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-4o-2024-08-06",
                    "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {
                        "hate": {"filtered": false, "severity": "safe"}
                    }}],
                    "choices": [{"content_filter_results": {}}],
                    "usage": {"prompt_tokens": 18, "completion_tokens": 7, "total_tokens": 25}
                }),
                Usage("gpt-4o-2024-08-06: input_tokens 18, output_tokens 7"),
            ),
            // The filter's event comes first, with empty texts where others have an id and a model.
            case(
                STREAMING,
                json!([
                    {
                        "id": "", "model": "", "object": "", "choices": [],
                        "prompt_filter_results": [{"prompt_index": 0}]
                    },
                    {"id": "chatcmpl-1", "model": "gpt-4.1-2025-04-14", "choices": [{}]},
                    {
                        "id": "chatcmpl-1", "model": "gpt-4.1-2025-04-14", "choices": [],
                        "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
                    },
                    "[DONE]"
                ]),
                Usage("gpt-4.1-2025-04-14: input_tokens 9, output_tokens 4"),
            ),
            case(
                CACHING,
                json!({"model": "o1-2024-12-17", "usage": {
                    "prompt_tokens": 1566, "completion_tokens": 1518, "total_tokens": 3084,
                    "prompt_tokens_details": {"cached_tokens": 1408, "audio_tokens": null},
                    "completion_tokens_details": {"reasoning_tokens": 576, "audio_tokens": null}
                }}),
                Usage(
                    "o1-2024-12-17: cache_read_tokens 1408, input_tokens 158, \
                     output_reasoning_tokens 576, output_tokens 942",
                ),
            ),
            case(
                RESPONSES,
                json!([
                    {"type": "response.created", "response": {"id": "resp_1", "usage": null}},
                    {"type": "response.completed", "response": {
                        "id": "resp_1", "model": "gpt-5", "output": [
                            {"type": "code_interpreter_call", "container_id": "cntr_1"}
                        ],
                        "usage": {"input_tokens": 20, "output_tokens": 11, "total_tokens": 31}
                    }}
                ]),
                Usage("gpt-5: code_sessions 1, input_tokens 20, output_tokens 11"),
            ),
            case(
                REFERENCE,
                json!({
                    "object": "list", "model": "text-embedding-ada-002", "data": [{}],
                    "usage": {"prompt_tokens": 4, "total_tokens": 4}
                }),
                Usage("text-embedding-ada-002: input_tokens 4"),
            ),
            case(
                REFERENCE,
                json!({"created": 1, "data": [{
                    "url": "a", "prompt_filter_results": {}, "content_filter_results": {}
                }]}),
                Usage("-: output_images 1"),
            ),
            case(
                CLAUDE,
                json!({
                    "type": "message", "model": "claude-sonnet-4-5", "stop_reason": "refusal",
                    "usage": {
                        "input_tokens": 3, "output_tokens": 0, "cache_read_input_tokens": 9
                    }
                }),
                Usage("claude-sonnet-4-5: cache_read_tokens 9, input_tokens 3"),
            ),
            case(
                CLAUDE,
                json!([
                    {"type": "message_start", "message": {
                        "model": "claude-sonnet-4-5",
                        "usage": {"input_tokens": 3, "output_tokens": 1}
                    }},
                    {"type": "message_delta", "usage": {"output_tokens": 8}}
                ]),
                Usage("claude-sonnet-4-5: input_tokens 3, output_tokens 8"),
            ),
            // Trimmed to counts that only Messages has.
            case(
                CLAUDE,
                json!({"model": "claude-opus-4-8", "usage": {
                    "input_tokens": 23_000, "output_tokens": 1_000, "iterations": [
                        {"type": "compaction", "input_tokens": 180_000, "output_tokens": 3_500},
                        {"type": "message", "input_tokens": 23_000, "output_tokens": 1_000}
                    ]
                }}),
                Usage(
                    "claude-opus-4-8: input_tokens 180000, output_tokens 3500 \
                     + claude-opus-4-8: input_tokens 23000, output_tokens 1000",
                ),
            ),
            case(
                FILTER,
                json!({"error": {"code": "content_filter", "status": 400, "innererror": {
                    "code": "ResponsibleAIPolicyViolation"
                }}}),
                Missing("nothing was used"),
            ),
            case(
                REFERENCE,
                json!({"usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}}),
                Usage("-: "),
            ),
            case(
                REFERENCE,
                json!({"usage": {"prompt_tokens": 4, "completion_tokens": 1, "total_tokens": 4}}),
                Contradictory("/usage/total_tokens"),
            ),
        ]
    }
}

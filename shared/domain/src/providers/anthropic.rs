//! Anthropic: Messages.
//!
//! | body | dimension |
//! |---|---|
//! | `input_tokens` (excludes what was cached) | `input_tokens` |
//! | `cache_read_input_tokens` | `cache_read_tokens` |
//! | `cache_creation.ephemeral_5m_input_tokens`, else `cache_creation_input_tokens` | `cache_write_tokens` |
//! | `cache_creation.ephemeral_1h_input_tokens` | `cache_write_1h_tokens` |
//! | `output_tokens` (includes thinking) | `output_tokens` |
//! | `server_tool_use.web_search_requests` | `web_searches` |
//!
//! `service_tier` becomes `service_class`, `speed` and `inference_geo` keep their names.

use super::body::Body;
use super::stream::Events;
use super::{Provider, ProviderError, ResponseUsage, SERVICE_CLASS, contradictory, missing};

pub(super) const PROVIDER: Provider = Provider {
    name: "anthropic",
    aliases: &[],
    read,
    read_stream,
    #[cfg(test)]
    cases: tests::cases,
};

fn read_stream(events: &Events<'_>) -> Result<ResponseUsage, ProviderError> {
    events.read_last(&[&["usage"]], read)
}

fn read(body: &Body<'_>) -> Result<ResponseUsage, ProviderError> {
    let Some(usage) = body.object("usage")? else {
        return Err(missing(if body.get("error").is_some() {
            "the response is an error: it has no usage"
        } else {
            "the response has no usage; of a stream, give message_start's with message_delta's counts"
        }));
    };
    let mut read = ResponseUsage { model: body.model(), ..ResponseUsage::default() };
    read.add("input_tokens", usage.required_count("input_tokens")?);
    read.add("output_tokens", usage.required_count("output_tokens")?);
    read.add("cache_read_tokens", usage.count_or_zero("cache_read_input_tokens")?);

    let written = usage.count("cache_creation_input_tokens")?;
    if let Some(by_age) = usage.object("cache_creation")? {
        let short = by_age.count_or_zero("ephemeral_5m_input_tokens")?;
        let long = by_age.count_or_zero("ephemeral_1h_input_tokens")?;
        if let Some(written) = written
            && written != short + long
        {
            return Err(contradictory(
                usage.at("cache_creation_input_tokens"),
                format!(
                    "cache_creation_input_tokens is {written}, but cache_creation adds up to {}",
                    short + long
                ),
            ));
        }
        read.add("cache_write_tokens", short);
        read.add("cache_write_1h_tokens", long);
    } else {
        read.add("cache_write_tokens", written.unwrap_or(0));
    }

    if let Some(tools) = usage.object("server_tool_use")? {
        read.add("web_searches", tools.count_or_zero("web_search_requests")?);
    }
    read.set(SERVICE_CLASS, usage.parameter("service_tier", &["standard"])?);
    read.set("speed", usage.parameter("speed", &["standard"])?);
    read.set("inference_geo", usage.parameter("inference_geo", &["global", "not_available"])?);
    Ok(read)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::providers::tests::{Case, Expected, case, check_provider};

    const MESSAGES: &str = "https://docs.claude.com/en/api/messages";

    pub(in crate::providers) fn cases() -> Vec<Case> {
        vec![case(
            MESSAGES,
            json!({"model": "m", "usage": {"input_tokens": 1, "output_tokens": 0}}),
            Expected::Usage("m: input_tokens 1"),
        )]
    }

    fn check(body: &Value, expected: Expected<'_>) {
        check_provider("anthropic", body, expected);
    }

    #[test]
    fn messages() {
        check(
            &json!({
                "id": "msg_1", "type": "message", "role": "assistant",
                "model": "claude-sonnet-4-5-20250929", "content": [],
                "usage": {"input_tokens": 2095, "output_tokens": 503}
            }),
            Expected::Usage("claude-sonnet-4-5-20250929: input_tokens 2095, output_tokens 503"),
        );
        check(
            &json!({"usage": {
                "input_tokens": 96, "output_tokens": 305,
                "cache_creation_input_tokens": 3584, "cache_read_input_tokens": 18432,
                "cache_creation": {
                    "ephemeral_5m_input_tokens": 1536, "ephemeral_1h_input_tokens": 2048
                },
                "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1},
                "service_tier": "batch", "speed": "fast", "inference_geo": "us"
            }}),
            Expected::Usage(
                "-: cache_read_tokens 18432, cache_write_1h_tokens 2048, cache_write_tokens 1536, \
                 input_tokens 96, output_tokens 305, web_searches 2 \
                 inference_geo=us service_class=batch speed=fast",
            ),
        );
        check(
            &json!({"model": "m", "usage": {
                "input_tokens": 1, "output_tokens": 0, "cache_creation_input_tokens": 7,
                "cache_creation": null, "cache_read_input_tokens": null, "server_tool_use": null,
                "service_tier": "standard", "speed": "standard", "inference_geo": "global"
            }}),
            Expected::Usage("m: cache_write_tokens 7, input_tokens 1"),
        );
        check(
            &json!({"usage": {
                "input_tokens": 1, "output_tokens": 1, "cache_creation_input_tokens": 10,
                "cache_creation": {"ephemeral_5m_input_tokens": 4}
            }}),
            Expected::Contradictory("/usage/cache_creation_input_tokens"),
        );
        check(&json!({"usage": {"output_tokens": 1}}), Expected::Missing("/usage/input_tokens"));
        check(&json!({"usage": {"input_tokens": 1}}), Expected::Missing("/usage/output_tokens"));
        check(
            &json!({"type": "error", "error": {"type": "overloaded_error"}}),
            Expected::Missing("an error"),
        );
        for bad in [json!(-1), json!(1.5), json!(2.0), json!("3"), json!(1_000_000_000_000_u64)] {
            check(
                &json!({"usage": {"input_tokens": bad, "output_tokens": 1}}),
                Expected::Contradictory("/usage/input_tokens"),
            );
        }
        check(
            &json!({"usage": {"input_tokens": 1, "output_tokens": 1, "service_tier": 7}}),
            Expected::Contradictory("/usage/service_tier"),
        );
    }
}

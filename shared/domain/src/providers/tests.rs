//! One check for the providers' tables of cases, and what holds for every body.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{ProviderError, ResponseUsage, usage_from_response};

/// What a body is expected to give.
#[derive(Clone, Copy)]
pub(super) enum Expected<'a> {
    /// `<model or ->: <dimension> <count>, ... <parameter>=<value> ...`
    Usage(&'a str),
    /// A detail that contains this.
    Missing(&'a str),
    /// The pointer.
    Contradictory(&'a str),
}

pub(super) fn check_provider(provider: &str, body: &Value, expected: Expected<'_>) {
    let read = usage_from_response(provider, body);
    let context = || format!("{body}\n{read:?}");
    match (expected, &read) {
        (Expected::Usage(expected), Ok(read)) => {
            assert_eq!(written(read), expected, "{}", context());
        }
        (Expected::Missing(part), Err(ProviderError::UsageMissing { detail })) => {
            assert!(detail.contains(part), "{}", context());
        }
        (Expected::Contradictory(at), Err(ProviderError::Contradictory { pointer, .. })) => {
            assert_eq!(pointer, at, "{}", context());
            assert!(body.pointer(pointer).is_some(), "{}", context());
        }
        _ => panic!("{}", context()),
    }
}

fn written(read: &ResponseUsage) -> String {
    let usage: Vec<_> = read.usage.iter().map(|(d, q)| format!("{d} {q}")).collect();
    let parameters: Vec<_> = read.parameters.iter().map(|(p, v)| format!(" {p}={v}")).collect();
    format!("{}: {}{}", read.model.as_deref().unwrap_or("-"), usage.join(", "), parameters.concat())
}

#[test]
fn unknown_provider() {
    let error = usage_from_response("acme", &json!({})).unwrap_err();
    assert_eq!(error, ProviderError::UnknownProvider { provider: "acme".to_owned() });
    assert_eq!(error.to_string(), "unknown provider; known are anthropic, google, openai");
}

/// The sum of the dimensions on one side of the model.
fn side(read: &ResponseUsage, output: bool) -> u64 {
    let tokens = read.usage.iter().filter(|(dimension, _)| {
        dimension.ends_with("_tokens") && dimension.starts_with("output_") == output
    });
    tokens.map(|(_, quantity)| quantity.millis() / 1_000).sum()
}

/// A count as bodies have them: small enough that parts and totals often meet, or `null`.
fn count() -> impl Strategy<Value = Value> {
    prop_oneof![6 => (0_u64..12).prop_map(|n| json!(n)), 1 => Just(Value::Null)]
}

proptest! {
    /// Whatever the details say, what is read adds up to the totals: nothing counts twice, and
    /// nothing is lost. What can't add up is refused.
    #[test]
    fn parts_sum_to_the_totals(
        chat: bool,
        images: bool,
        input in 0_u64..30,
        output in 0_u64..30,
        [audio, image, text, cached, cache_write, out_audio, out_image, out_text, reasoning]
            in [count(), count(), count(), count(), count(), count(), count(), count(), count()],
    ) {
        let input_details = json!({
            "audio_tokens": audio, "image_tokens": image, "text_tokens": text,
            "cached_tokens": cached, "cache_write_tokens": cache_write,
        });
        let output_details = json!({
            "audio_tokens": out_audio, "image_tokens": out_image, "text_tokens": out_text,
            "reasoning_tokens": reasoning,
        });
        let mut body = if chat {
            json!({"usage": {
                "prompt_tokens": input, "completion_tokens": output,
                "prompt_tokens_details": input_details, "completion_tokens_details": output_details,
            }})
        } else {
            json!({"usage": {
                "input_tokens": input, "output_tokens": output, "total_tokens": input + output,
                "input_tokens_details": input_details, "output_tokens_details": output_details,
            }})
        };
        if images {
            body["data"] = json!([{}]);
        }
        match usage_from_response("openai", &body) {
            Ok(read) => {
                prop_assert_eq!(side(&read, false), input, "{} {:?}", body, read);
                prop_assert_eq!(side(&read, true), output, "{} {:?}", body, read);
                prop_assert!(read.usage.values().all(|quantity| !quantity.is_zero()));
            }
            Err(ProviderError::Contradictory { pointer, .. }) => {
                prop_assert!(body.pointer(&pointer).is_some(), "{} {}", body, pointer);
            }
            Err(error) => prop_assert!(false, "{body}: {error}"),
        }
    }

    /// Anthropic's counts stand beside each other.
    #[test]
    fn anthropic_adds_up(
        input in 0_u64..30, output in 0_u64..30, read_cache in 0_u64..30,
        short in 0_u64..30, long in 0_u64..30,
    ) {
        let body = json!({"usage": {
            "input_tokens": input, "output_tokens": output, "cache_read_input_tokens": read_cache,
            "cache_creation_input_tokens": short + long,
            "cache_creation": {
                "ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long
            },
        }});
        let read = usage_from_response("anthropic", &body).unwrap();
        prop_assert_eq!(side(&read, false), input + read_cache + short + long);
        prop_assert_eq!(side(&read, true), output);
    }
}

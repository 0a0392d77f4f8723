//! One check for the providers' tables of cases, and what holds for every body.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::body::Body;
use super::chat::{Chat, Reasoning};
use super::{
    PROVIDERS, ProviderError, ResponseUsage, canonical_name, names_again, names_of, told_by,
    usage_from_response,
};

/// What a body is expected to give.
#[derive(Debug, Clone, Copy)]
pub(super) enum Expected<'a> {
    /// `<model or ->: <dimension> <count>, ... <parameter>=<value> ...`, after ` + ` those of a
    /// further step, after ` & ` those of a further response.
    Usage(&'a str),
    /// A detail that contains this.
    Missing(&'a str),
    /// The pointer.
    Contradictory(&'a str),
}

/// One body of a provider's table.
pub(super) struct Case {
    /// The address of the public document that says so.
    pub source: &'static str,
    pub body: Value,
    pub expected: Expected<'static>,
}

pub(super) fn case(source: &'static str, body: Value, expected: Expected<'static>) -> Case {
    Case { source, body, expected }
}

/// A body of `events/responses`.
pub(super) fn fixture(text: &str) -> Value {
    serde_json::from_str(text).expect("events are JSON")
}

/// Bodies of one provider at least.
const MIN_CASES: usize = 5;

/// Every case of every provider; all that fail are shown at once.
#[test]
fn cases() {
    let mut failed = Vec::new();
    for provider in PROVIDERS {
        let cases = (provider.cases)();
        assert!(cases.len() >= MIN_CASES, "{} has {} cases", provider.name, cases.len());
        for Case { source, body, expected } in cases {
            assert!(source.starts_with("https://"), "{source}: {body}");
            failed.extend(disagreement(provider.name, &body, expected));
        }
    }
    assert!(failed.is_empty(), "{} cases:\n\n{}", failed.len(), failed.join("\n\n"));
}

/// Who can't tell a response from the only event of a stream gives either: if both can be read,
/// they are the same.
#[test]
fn a_response_is_a_stream_of_one_event() {
    for provider in PROVIDERS {
        for Case { body, .. } in (provider.cases)() {
            let read = |body| usage_from_response(provider.name, body);
            if let (true, Ok(alone)) = (body.is_object(), read(&body))
                && let Ok(stream) = read(&json!([body]))
            {
                assert_eq!(alone, stream, "{}: {body}", provider.name);
            }
        }
    }
}

/// Whatever stands in the place of any value of a body, the answer is usage or an error that
/// points into the body.
#[test]
fn bodies_with_a_strange_value() {
    let strange = [
        json!(null),
        json!(-1),
        json!(1.5),
        json!("3"),
        json!([]),
        json!({}),
        json!(true),
        json!(999_999_999_999_u64),
        json!(u64::MAX),
    ];
    for provider in PROVIDERS {
        for Case { body, .. } in (provider.cases)() {
            let mut pointers = Vec::new();
            all_pointers(&body, String::new(), &mut pointers);
            for pointer in &pointers {
                for value in &strange {
                    let mut body = body.clone();
                    body.pointer_mut(pointer).unwrap().clone_from(value);
                    match usage_from_response(provider.name, &body) {
                        Ok(read) => {
                            let mut all = read.requests().flat_map(|read| read.usage.values());
                            assert!(all.all(|quantity| !quantity.is_zero()), "{body}");
                            let mut further = read.further.iter();
                            assert!(further.all(|read| read.further.is_empty()), "{body}");
                        }
                        Err(ProviderError::Contradictory { pointer, .. }) => {
                            assert!(body.pointer(&pointer).is_some(), "{pointer} of {body}");
                        }
                        Err(ProviderError::UsageMissing { .. }) => {}
                        Err(error) => panic!("{error}: {body}"),
                    }
                }
            }
        }
    }
}

fn all_pointers(value: &Value, at: String, pointers: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let field = field.replace('~', "~0").replace('/', "~1");
                all_pointers(value, format!("{at}/{field}"), pointers);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                all_pointers(value, format!("{at}/{index}"), pointers);
            }
        }
        _ => {}
    }
    pointers.push(at);
}

pub(super) fn check_provider(provider: &str, body: &Value, expected: Expected<'_>) {
    if let Some(failed) = disagreement(provider, body, expected) {
        panic!("{failed}");
    }
}

/// What is read of `body`, where that is not as expected.
fn disagreement(provider: &str, body: &Value, expected: Expected<'_>) -> Option<String> {
    let read = usage_from_response(provider, body);
    let agrees = match (expected, &read) {
        (Expected::Usage(expected), Ok(read)) => written(read) == expected,
        (Expected::Missing(part), Err(ProviderError::UsageMissing { detail })) => {
            detail.contains(part)
        }
        (Expected::Contradictory(at), Err(ProviderError::Contradictory { pointer, .. })) => {
            pointer == at && body.pointer(pointer).is_some()
        }
        _ => false,
    };
    let read = match read {
        Ok(read) => written(&read),
        Err(error) => format!("{error:?}"),
    };
    (!agrees).then(|| format!("{provider}: {body}\n    is {read}\nnot {expected:?}"))
}

fn written(read: &ResponseUsage) -> String {
    let (first, further) = (written_request(read), &read.further);
    further.iter().fold(first, |written, read| {
        let and = if read.is_step { " + " } else { " & " };
        written + and + &written_request(read)
    })
}

fn written_request(read: &ResponseUsage) -> String {
    let usage: Vec<_> = read.usage.iter().map(|(d, q)| format!("{d} {q}")).collect();
    let parameters: Vec<_> = read.parameters.iter().map(|(p, v)| format!(" {p}={v}")).collect();
    let model = read.model.as_deref().unwrap_or("-");
    format!("{model}: {}{}", usage.join(", "), parameters.concat())
}

#[test]
fn unknown_provider() {
    let error = usage_from_response("acme", &json!({})).unwrap_err();
    assert_eq!(error, ProviderError::UnknownProvider { provider: "acme".to_owned() });
    assert!(error.to_string().starts_with("unknown provider; known are anthropic, "));
}

#[test]
fn names() {
    let mut names: Vec<_> = PROVIDERS.iter().map(|provider| provider.name).collect();
    assert!(names.is_sorted(), "{names:?}");
    for provider in PROVIDERS {
        for name in provider.aliases.iter().chain([&provider.name]) {
            assert_eq!(canonical_name(name), Some(provider.name));
        }
        names.extend(provider.aliases);
    }
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    assert_eq!(canonical_name("acme"), None);
}

#[test]
fn names_of_models() {
    let check = |provider: &str, model: &str, expected: &[&str]| {
        assert_eq!(names_of(provider, model), expected, "{provider} {model}");
    };
    check("openai", "gpt-5.1", &["openai/gpt-5.1", "gpt-5.1"]);
    check("google", "models/g", &["google/models/g", "models/g", "google/g", "g"]);
    // Its own price before that of the Gemini API.
    check("vertex_ai", "g", &["vertex_ai/g", "google/g", "g"]);
    check(
        "vertex_ai",
        "google/g",
        &["vertex_ai/google/g", "google/google/g", "vertex_ai/g", "google/g"],
    );
    // Never at the price of the model's owner; unless that is who answered, by whichever name.
    check("openrouter", "google/g:free", &["openrouter/google/g:free"]);
    check("openrouter", "minimax/m", &["openrouter/minimax/m"]);
    check("groq", "mistralai/m", &["groq/mistralai/m"]);
    check("huggingface", "meta-llama/l", &["huggingface/meta-llama/l", "meta-llama/l"]);
    check("perplexity", "perplexity/sonar", &["perplexity/perplexity/sonar", "perplexity/sonar"]);
    check("xai", "x-ai/g", &["xai/x-ai/g", "x-ai/g"]);
    check("vertex_ai", "xai/g", &["vertex_ai/xai/g", "google/xai/g"]);
}

/// By whichever of its names a model was found, a more exact one is looked for again.
#[test]
fn names_of_models_again() {
    let check = |provider: &str, name: &str, expected: &[&str]| {
        assert_eq!(names_again(provider, name), expected, "{provider} {name}");
    };
    check("azure", "gpt-5.1", &["azure/gpt-5.1", "gpt-5.1"]);
    check("azure", "azure/gpt-5.1", &["azure/gpt-5.1", "gpt-5.1"]);
    check("openrouter", "openrouter/openai/m", &["openrouter/openai/m"]);
    check("huggingface", "acme/m", &["huggingface/acme/m", "acme/m"]);
    check("google", "models/m", &["google/models/m", "models/m", "google/m", "m"]);
    for name in ["vertex_ai/m", "google/m", "m"] {
        check("vertex_ai", name, &["vertex_ai/m", "google/m", "m"]);
    }
    for provider in PROVIDERS.iter().map(|provider| provider.name) {
        for model in ["m", "google/m", "openai/m", "acme/m", "models/m", "perplexity/m"] {
            let names = names_of(provider, model);
            assert_eq!(told_by(&names), Some((provider, model)));
        }
    }
    // What a caller named has no other name.
    for names in [&["gpt-5.1"][..], &["azure/gpt-5.1"], &["acme/m", "m"]] {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(told_by(&names), None, "{names:?}");
    }
}

#[test]
fn streams() {
    for (events, expected) in [
        (json!([]), "no events"),
        (json!(["[DONE]"]), "no events"),
        (json!([{"error": {"message": "no"}}]), "an error"),
        (json!([{"choices": []}, {"error": {}}]), "broke off with an error"),
        (json!([{"choices": []}, "[DONE]"]), "broke off, or"),
        (json!(vec![json!({}); 100_001]), "at most 100000"),
    ] {
        for provider in PROVIDERS {
            check_provider(provider.name, &events, Expected::Missing(expected));
        }
    }
    for provider in PROVIDERS {
        let events = json!([{"choices": []}, "[DONE]", {}]);
        check_provider(provider.name, &events, Expected::Contradictory("/1"));
    }
    // Counts that fall within one response; and a tier that only the middle tells.
    let chunk = |counts: Value, tier: Value| {
        json!({
            "object": "chat.completion.chunk", "id": "c", "model": "m", "choices": [],
            "service_tier": tier, "usage": counts,
        })
    };
    let counts =
        |input: u64, output: u64| json!({"prompt_tokens": input, "completion_tokens": output});
    for provider in ["openai", "groq", "openrouter", "xai"] {
        let falling = json!([chunk(counts(9, 5), json!(null)), chunk(counts(0, 0), json!(null))]);
        check_provider(provider, &falling, Expected::Contradictory("/1/usage/completion_tokens"));
    }
    let tiers = json!([
        chunk(json!(null), json!(null)),
        chunk(json!(null), json!("priority")),
        chunk(counts(9, 5), json!(null)),
    ]);
    // What is no count shows nothing of two responses.
    let pictures = |made: u64| json!({"usage": {"num_images_generated": made}});
    for provider in ["openai", "xai"] {
        let two = json!([pictures(2), pictures(3)]);
        check_provider(provider, &two, Expected::Contradictory("/1"));
    }
    let expected = "m: input_tokens 9, output_tokens 5 service_class=priority";
    check_provider("openai", &tiers, Expected::Usage(expected));
    let gemini =
        |usage: Value| json!({"responseId": "r", "modelVersion": "m", "usageMetadata": usage});
    let falling = json!([
        gemini(json!({"promptTokenCount": 9, "candidatesTokenCount": 5, "totalTokenCount": 14})),
        gemini(json!({"promptTokenCount": 9, "totalTokenCount": 9})),
    ]);
    let at = "/1/usageMetadata/totalTokenCount";
    check_provider("google", &falling, Expected::Contradictory(at));
    let left_out = json!([
        gemini(json!({"promptTokenCount": 9, "candidatesTokenCount": 5})),
        gemini(json!({"promptTokenCount": 9})),
    ]);
    check_provider("google", &left_out, Expected::Contradictory("/1/usageMetadata"));
    // Zeros until it is told.
    let zeros = json!([
        {"usageMetadata": {"promptTokenCount": 0, "candidatesTokenCount": 0, "totalTokenCount": 0}},
        {"usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 5, "totalTokenCount": 14}},
    ]);
    check_provider("google", &zeros, Expected::Usage("-: input_tokens 9, output_tokens 5"));
}

/// Responses that were trimmed to model and usage look like the events of a stream, of which all but
/// the last would be lost: only Gemini's may be events, where nothing differs but what is written.
#[test]
fn trimmed_responses() {
    let chat = |input: u64| json!({"prompt_tokens": input, "completion_tokens": 1});
    let tokens = |input: u64| json!({"input_tokens": input, "output_tokens": 1});
    let converse = |input: u64| json!({"inputTokens": input, "outputTokens": 1});
    let gemini = |input: u64| json!({"promptTokenCount": input, "candidatesTokenCount": 1});
    let check =
        |provider: &str, usage: &dyn Fn(u64) -> Value, field: &str, model: &str, count: &str| {
            let event = |name: &str, input| json!({model: name, field: usage(input)});
            let read = |events: Value| usage_from_response(provider, &events);
            let refused = |at: &str, events: Value| {
                check_provider(provider, &events, Expected::Contradictory(at));
            };
            refused(&format!("/1/{model}"), json!([event("x", 9), event("y", 10)]));
            refused(&format!("/1/{field}/{count}"), json!([event("x", 9), event("x", 8)]));
            refused(&format!("/1/{field}/{count}"), json!([{field: usage(9)}, {field: usage(8)}]));
            let last = read(json!([event("x", 10)])).unwrap();
            refused("/1", json!([event("x", 9), event("x", 10)]));
            for before in [json!({model: "x"}), json!({model: "x", field: null})] {
                let read = read(json!([before, event("x", 10)]));
                assert_eq!(read, Ok(last.clone()), "{provider} {before}");
            }
        };
    for provider in [
        "azure",
        "cerebras",
        "deepseek",
        "fireworks",
        "google",
        "groq",
        "huggingface",
        "mistral",
        "openai",
        "openrouter",
        "perplexity",
        "together",
        "xai",
    ] {
        check(provider, &chat, "usage", "model", "prompt_tokens");
    }
    for provider in ["anthropic", "azure", "bedrock", "openai", "openrouter", "perplexity", "xai"] {
        check(provider, &tokens, "usage", "model", "input_tokens");
    }
    check("bedrock", &converse, "usage", "model", "inputTokens");
    for provider in ["google", "vertex_ai"] {
        check(provider, &gemini, "usageMetadata", "modelVersion", "promptTokenCount");
    }
    // An id tells that they are of one response, and the prompt that they may be; no count falls.
    let event = |id: Value, output: u64| {
        json!({"responseId": id, "usageMetadata": {
            "promptTokenCount": 2, "candidatesTokenCount": output
        }})
    };
    for id in [json!("r"), json!(null)] {
        let last = event(id.clone(), 8);
        let one = usage_from_response("google", &json!([event(id.clone(), 7), last]));
        assert_eq!(one, usage_from_response("google", &last));
        let at = "/1/usageMetadata/candidatesTokenCount";
        check_provider("google", &json!([event(id, 9), last]), Expected::Contradictory(at));
    }
}

/// Whole responses that have no id are no stream, though their counts may be the same.
#[test]
fn the_same_twice() {
    let usage = json!({"prompt_tokens": 9, "total_tokens": 9});
    let tokens = json!({"input_tokens": 50, "output_tokens": 1_056, "total_tokens": 1_106});
    let vectors = json!({"object": "list", "data": [], "model": "m", "usage": usage});
    let pictures = json!({"created": 1, "data": [], "usage": tokens});
    let spoken = json!({"text": "Hi", "usage": {"type": "duration", "seconds": 60}});
    let heard = json!({"text": "Hi", "usage": {"type": "tokens", "input_tokens": 9,
        "output_tokens": 3, "total_tokens": 12}});
    let converse = json!({"output": {"message": {}}, "stopReason": "end_turn",
        "usage": {"inputTokens": 9, "outputTokens": 7, "totalTokens": 16}});
    let billed = json!({"embeddings": [], "meta": {"billed_units": {"input_tokens": 9}}});
    let vector = json!({"embedding": {}, "usageMetadata": {"promptTokenCount": 9}});
    for (provider, body) in [
        ("openai", &vectors),
        ("azure", &vectors),
        ("perplexity", &vectors),
        ("fireworks", &vectors),
        ("openai", &pictures),
        ("azure", &pictures),
        ("openai", &spoken),
        ("openai", &heard),
        ("bedrock", &converse),
        ("cohere", &billed),
        ("google", &vector),
    ] {
        usage_from_response(provider, body).expect("one is read");
        check_provider(provider, &json!([body, body]), Expected::Contradictory("/1"));
    }
}

/// What a body says was used, the standard too, is so whatever a request says.
#[test]
fn parameters_that_a_body_contradicts() {
    let chat = json!({"prompt_tokens": 1, "completion_tokens": 1});
    let messages = |field: &str, told: &str| {
        let mut usage = json!({"input_tokens": 1, "output_tokens": 1});
        usage[field] = json!(told);
        json!({"usage": usage})
    };
    let gemini = json!({"usageMetadata": {"promptTokenCount": 1, "trafficType": "ON_DEMAND"}});
    let compound = json!({"service_tier": "on_demand", "usage_breakdown": {"models": [
        {"model": "m", "usage": chat}
    ]}});
    for (provider, body, parameter, agrees, contradicts) in [
        (
            "openai",
            json!({"service_tier": "default", "usage": chat}),
            "service_class",
            ["default", "standard", "batch"],
            ["flex", "priority"],
        ),
        (
            "openai",
            json!({"service_tier": "priority", "usage": chat}),
            "service_class",
            ["priority", "auto", "auto"],
            ["flex", "batch"],
        ),
        // What was asked for says nothing of what was used.
        (
            "openai",
            json!({"service_tier": "auto", "usage": chat}),
            "service_class",
            ["flex", "priority", "batch"],
            [""; 2],
        ),
        (
            "anthropic",
            messages("service_tier", "standard"),
            "service_class",
            ["standard", "batch", "standard_only"],
            ["priority", "flex"],
        ),
        (
            "anthropic",
            messages("service_tier", "priority"),
            "service_class",
            ["priority", "auto", "auto"],
            ["standard_only", "default"],
        ),
        ("anthropic", messages("speed", "standard"), "speed", ["standard"; 3], ["fast", "batch"]),
        (
            "anthropic",
            messages("inference_geo", "global"),
            "inference_geo",
            ["global"; 3],
            ["us", "eu"],
        ),
        (
            "anthropic",
            messages("inference_geo", "not_available"),
            "inference_geo",
            ["us", "eu", "global"],
            [""; 2],
        ),
        ("google", gemini, "service_class", ["standard", "batch", "auto"], ["flex", "priority"]),
        ("groq", compound, "service_class", ["on_demand", "batch", "auto"], ["flex", "priority"]),
        // Which tier it was stands in a header.
        (
            "bedrock",
            json!({"service_tier": "default", "usage": chat}),
            "service_class",
            ["flex", "priority", "default"],
            [""; 2],
        ),
        (
            "bedrock",
            json!({
                "serviceTier": {"type": "default"}, "usage": {"inputTokens": 1, "outputTokens": 1}
            }),
            "service_class",
            ["default", "standard", "batch"],
            ["flex", "priority"],
        ),
    ] {
        let read = usage_from_response(provider, &body).unwrap();
        for read in read.requests() {
            let with = |parameter: &str, value: &str| {
                let said = [(parameter.to_owned(), value.to_owned())].into();
                let all = read.parameters_with(&said).map_err(str::to_owned)?;
                Ok::<_, String>(all[parameter].clone())
            };
            for value in agrees {
                // What the body tells counts.
                let counts = read.parameters.get(parameter).map_or(value, String::as_str);
                assert_eq!(with(parameter, value).as_deref(), Ok(counts), "{value} and {body}");
            }
            for value in contradicts.into_iter().filter(|value| !value.is_empty()) {
                assert_eq!(with(parameter, value), Err(parameter.to_owned()), "{value} {body}");
            }
            assert_eq!(with("size", "1024x1024").as_deref(), Ok("1024x1024"));
        }
    }
}

/// The sum of the dimensions on one side of the model.
pub(super) fn side(read: &ResponseUsage, output: bool) -> u64 {
    let tokens = read.requests().flat_map(|read| &read.usage).filter(|(dimension, _)| {
        dimension.ends_with("_tokens") && dimension.starts_with("output_") == output
    });
    tokens.map(|(_, quantity)| quantity.millis() / 1_000).sum()
}

/// A count as bodies have them: small enough that parts and totals often meet, or `null`.
pub(super) fn count() -> impl Strategy<Value = Value> {
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

    /// Reasoning is within the completion or beside it, and never both.
    #[test]
    fn reasoning_is_counted_once(
        prompt in 0_u64..30, completion in 0_u64..30, reasoning in 0_u64..30,
        cached in 0_u64..30, by_total: bool,
    ) {
        let chat = Chat {
            cached: &["cached_tokens"],
            not_cached: Some("missed_tokens"),
            reasoning: if by_total { Reasoning::ByTotal } else { Reasoning::Beside },
            ..Chat::OPENAI
        };
        let check = |total: u64| {
            let usage = json!({
                "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total,
                "cached_tokens": cached, "missed_tokens": prompt.saturating_sub(cached),
                "completion_tokens_details": {"reasoning_tokens": reasoning},
            });
            let mut read = ResponseUsage::default();
            let usage = Body::new(usage.as_object().unwrap(), String::new());
            let sides = chat.read_usage(&mut read, &usage);
            sides.is_ok().then(|| (side(&read, false), side(&read, true)))
        };
        let valid = cached <= prompt;
        let beside = valid.then_some((prompt, completion + reasoning));
        prop_assert_eq!(check(prompt + completion + reasoning), beside);
        if reasoning > 0 {
            let inside = valid && by_total && reasoning <= completion;
            let inside = inside.then_some((prompt, completion));
            prop_assert_eq!(check(prompt + completion), inside);
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

//! What is in `events/`: the example table, providers' responses, and events that the functions
//! take as they are.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use uc_tests::client::Client;

use super::stack::{credits, event, event_json, now, open, shared, unique};

#[tokio::test]
async fn every_model_of_the_example_table_has_an_estimate() {
    let api = shared().api();
    let table = event_json("ratios.example.json");
    let mut items = Vec::new();
    let mut dimensions = BTreeMap::new();
    for (id, model) in table["models"].as_object().unwrap() {
        if model["enabled"] == json!(false) {
            continue;
        }
        let rows = model["ratios"].as_array().unwrap();
        let usage: Map<_, _> = rows
            .iter()
            .filter(|row| row.get("when").is_none())
            .map(|row| (row["dimension"].as_str().unwrap().to_owned(), json!(1000)))
            .collect();
        dimensions.insert(id.as_str(), usage.len());
        items.push(json!({"model": id, "usage": usage}));
    }
    let providers: BTreeSet<_> =
        dimensions.keys().map(|id| id.split('/').next().unwrap()).collect();
    assert!(items.len() >= 30 && providers.len() >= 6, "{} of {providers:?}", items.len());

    for items in items.chunks(50) {
        let body = json!({"items": items});
        let estimate = api.post("/v1/estimates").json(&body).send().await.expect(200);
        let estimated = estimate["items"].as_array().unwrap();
        assert_eq!(estimated.len(), items.len());
        for (asked, item) in items.iter().zip(estimated) {
            let id = asked["model"].as_str().unwrap();
            assert_eq!(item["model"], id);
            assert!(credits(&item["credits"]["expected"]).is_positive(), "{id} is free");
            assert_eq!(item["lines"].as_array().unwrap().len(), dimensions[id], "{id}");
        }
    }
}

#[tokio::test]
async fn providers_responses() {
    let api = shared().api();
    let account = open(&api, "responses", "10000").await;
    for (file, model, expected) in [
        ("anthropic-messages", None, Ok(("anthropic/claude-sonnet-4-5", "-60.5508"))),
        ("anthropic-messages-plain", None, Ok(("anthropic/claude-haiku-4-5", "-5.7625"))),
        ("openai-chat", None, Ok(("openai/gpt-5.1", "-5.5844"))),
        ("openai-chat-audio", None, Ok(("openai/gpt-audio-1.5", "-19.7488"))),
        ("openai-responses", None, Ok(("openai/gpt-5.4-mini", "-3.2164"))),
        ("openai-responses-cache-write", None, Ok(("openai/gpt-6.1-sol", "-560.9875"))),
        ("openai-images", Some("gpt-image-2"), Ok(("openai/gpt-image-2", "-43.23"))),
        ("openai-images", None, Err(("usage_missing", "/model"))),
        (
            "openai-images-dalle",
            Some("stability/stable-image-core"),
            Ok(("stability/stable-image-core", "-75")),
        ),
        // The request's model counts before the response's.
        ("openai-chat", Some("openai/gpt-audio-1.5"), Ok(("openai/gpt-audio-1.5", "-11.4188"))),
        (
            "openai-chat",
            Some("stability/stable-image-core"),
            Err(("unpriced_dimension", "/usage/cache_read_tokens")),
        ),
        ("openai-chat-stream", None, Ok(("openai/gpt-5.1", "-0.4225"))),
        ("openai-realtime", None, Err(("unknown_model", "/model"))),
        ("openai-responses-tools", None, Ok(("openai/gpt-5.4-mini", "-57.2613"))),
        ("openai-transcription-duration", None, Err(("usage_missing", "/model"))),
        (
            "openai-transcription-duration",
            Some("assemblyai/best"),
            Ok(("assemblyai/best", "-0.353")),
        ),
        ("azure-chat-stream", Some("openai/gpt-4o-mini"), Ok(("openai/gpt-4o-mini", "-0.0066"))),
        ("bedrock-converse", None, Err(("usage_missing", "/model"))),
        (
            "bedrock-converse",
            Some("anthropic/claude-haiku-4-5"),
            Ok(("anthropic/claude-haiku-4-5", "-5.2722")),
        ),
        (
            "bedrock-converse-stream",
            Some("anthropic/claude-haiku-4-5"),
            Ok(("anthropic/claude-haiku-4-5", "-0.1838")),
        ),
        (
            "anthropic-stream",
            Some("anthropic/claude-sonnet-4-5"),
            Ok(("anthropic/claude-sonnet-4-5", "-22.9288")),
        ),
        (
            "anthropic-compaction",
            Some("anthropic/claude-sonnet-4-5"),
            Ok(("anthropic/claude-sonnet-4-5", "-845.625")),
        ),
        (
            "anthropic-advisor",
            Some("anthropic/claude-sonnet-4-5"),
            // The advisor's tokens are its own model's.
            Err(("unknown_model", "/model")),
        ),
        ("openai-error", None, Err(("usage_missing", "/provider_response"))),
        ("anthropic-error", None, Err(("usage_missing", "/provider_response"))),
        // Read, but of models that the example has no prices for.
        ("google-gemini", None, Err(("unknown_model", "/model"))),
        ("mistral-conversation", None, Err(("unknown_model", "/model"))),
        ("cohere-chat", None, Err(("usage_missing", "/model"))),
        ("xai-responses", None, Err(("unknown_model", "/model"))),
        ("deepseek-chat", None, Err(("unknown_model", "/model"))),
        ("groq-stream", None, Err(("unknown_model", "/model"))),
        ("cerebras-chat", None, Err(("unknown_model", "/model"))),
        ("openrouter-chat", None, Err(("unknown_model", "/model"))),
        ("together-chat", None, Err(("unknown_model", "/model"))),
        ("fireworks-chat", None, Err(("unknown_model", "/model"))),
        ("perplexity-deep-research", None, Err(("unknown_model", "/model"))),
        ("huggingface-chat", None, Err(("unknown_model", "/model"))),
    ] {
        let provider = file.split('-').next().unwrap();
        let mut body = json!({
            "provider": provider,
            "provider_response": event_json(&format!("responses/{file}.json")),
        });
        if let Some(model) = model {
            body["model"] = json!(model);
        }
        let path = format!("/v1/accounts/{account}/charges");
        let answer = api.post(&path).key(&unique(file)).json(&body).send().await;
        let what = format!("{file}: {}", answer.text());
        match expected {
            Ok((model, cost)) => {
                assert_eq!(answer.status, 201, "{what}");
                let operation = answer.value()["operation"].clone();
                assert_eq!(operation["credits"], cost, "{what}");
                assert_eq!(operation["lines"][0]["model"], model, "{what}");
                // Of the response nothing is kept but what was counted.
                assert!(!answer.text().contains("Eiffel") && !answer.text().contains("Paris"));
            }
            Err((code, pointer)) => {
                assert_eq!((answer.status, &*answer.code()), (422, code), "{what}");
                assert_eq!(answer.pointers(), [pointer], "{what}");
            }
        }
    }
    // No file is left out.
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../events/responses");
    assert_eq!(std::fs::read_dir(directory).unwrap().count(), 32);
}

/// What one body tells of several requests, each rated by its own prompt, and what it contradicts.
#[tokio::test]
async fn responses_of_several_requests() {
    let api = shared().api();
    let account = open(&api, "several", "10000").await;
    let step = |kind: &str, input: u64, output: u64| json!({"type": kind, "input_tokens": input, "output_tokens": output});
    let compacted = |advisor: Option<&str>| {
        let mut iterations = vec![step("compaction", 80_000, 2_000), step("message", 30_000, 500)];
        if let Some(model) = advisor {
            let mut advice = step("advisor_message", 1_000, 100);
            advice["model"] = json!(model);
            iterations.push(advice);
        }
        json!({"model": "claude-haiku-5-5", "usage": {
            "input_tokens": 30_000, "output_tokens": 500, "iterations": iterations
        }})
    };
    let done = |input: u64| {
        json!({"type": "response.done", "response": {
            "model": "gpt-6-luna", "usage": {"input_tokens": input, "output_tokens": 0}
        }})
    };
    let parameters = json!({"service_class": "batch"});
    for (what, provider, body, with, expected) in [
        // The tier over 100,000 is reached by no prompt.
        ("compaction", "anthropic", compacted(None), json!({}), Ok(("-15.3125", 2))),
        (
            "an advisor, at its own prices",
            "anthropic",
            compacted(Some("claude-haiku-4-5-20251001")),
            json!({}),
            Ok(("-17.1875", 4)),
        ),
        // The table knows nothing of the model that the item names, and all of the advisor's.
        (
            "an item's model does not go for the advisor",
            "anthropic",
            compacted(Some("claude-haiku-4-5")),
            json!({"model": "anthropic/claude-haiku-5-5"}),
            Ok(("-17.1875", 4)),
        ),
        ("a session", "openai", json!([done(150_000), done(150_000)]), json!({}), Ok(("-37.5", 1))),
        (
            "one of them is over",
            "openai",
            json!([done(300_000), done(10_000)]),
            json!({}),
            Ok(("-76.25", 2)),
        ),
        (
            "Compound without a price, and the model behind it",
            "groq",
            json!({
                "model": "groq/compound", "usage": {"prompt_tokens": 10_000, "completion_tokens": 0},
                "usage_breakdown": {"models": [{"model": "action/voice-clone", "usage": {
                    "prompt_tokens": 0, "completion_tokens": 0
                }}, {"model": "gpt-4o-mini", "usage": {
                    "prompt_tokens": 10_000, "completion_tokens": 0
                }}]}
            }),
            json!({}),
            Ok(("-1.875", 1)),
        ),
        (
            "another class than the body's",
            "openai",
            json!({"model": "gpt-5.1", "service_tier": "priority", "usage": {
                "prompt_tokens": 1, "completion_tokens": 1
            }}),
            json!({"parameters": parameters}),
            Err(("usage_contradictory", "/parameters/service_class")),
        ),
        (
            "another class than the standard, which the body tells",
            "openai",
            json!({"model": "gpt-5.1", "service_tier": "default", "usage": {
                "prompt_tokens": 1, "completion_tokens": 1
            }}),
            json!({"parameters": {"service_class": "flex"}}),
            Err(("usage_contradictory", "/parameters/service_class")),
        ),
        (
            "the class that the body tells",
            "openai",
            json!({"model": "gpt-5.1", "service_tier": "batch", "usage": {
                "prompt_tokens": 0, "completion_tokens": 0
            }}),
            json!({"parameters": parameters}),
            Ok(("0", 0)),
        ),
    ] {
        let mut request = with;
        request["provider"] = json!(provider);
        request["provider_response"] = body;
        let path = format!("/v1/accounts/{account}/charges");
        let answer = api.post(&path).key(&unique("several")).json(&request).send().await;
        let what = format!("{what}: {}", answer.text());
        match expected {
            Ok((cost, lines)) => {
                assert_eq!(answer.status, 201, "{what}");
                let operation = answer.value()["operation"].clone();
                assert_eq!(operation["credits"], cost, "{what}");
                assert_eq!(operation["lines"].as_array().map_or(0, Vec::len), lines, "{what}");
            }
            Err((code, pointer)) => {
                assert_eq!((answer.status, &*answer.code()), (422, code), "{what}");
                assert_eq!(answer.pointers(), [pointer], "{what}");
            }
        }
    }
}

/// The answer says by which of the table's names a model was found, in a request and in a body.
#[tokio::test]
async fn models_by_the_names_of_responses() {
    let api = shared().api();
    let name = "models/gemini-2.5-flash";
    let body = json!({"modelVersion": name, "usageMetadata": {"promptTokenCount": 1_000}});
    let item = json!({"model": name, "usage": {"input_tokens": 1_000}});
    // Google's Gemini API, and Vertex AI, of whose own prices this table has none.
    let of = |provider: &str| json!({"provider": provider, "provider_response": body});
    for item in [item, of("google"), of("vertex")] {
        let asked = json!({"items": [item]});
        let estimate = api.post("/v1/estimates").json(&asked).send().await.expect(200);
        let item = &estimate["items"][0];
        assert_eq!(item["model"], "google/gemini-2.5-flash", "{item}");
        assert_eq!(item["matched"], json!({"name": name, "alias": name}), "{item}");
    }
}

/// The account that the events name.
async fn acme(api: &Client) {
    api.put("/v1/accounts/acme").json(&json!({})).send().await.expect(200);
}

#[tokio::test]
async fn requests_as_events() {
    let stack = shared();
    acme(&stack.api()).await;
    for (file, function, as_it_is, with_a_key) in [
        ("accounts-get", "accounts", (401, "unauthenticated"), 200),
        ("charge", "charge", (401, "unauthenticated"), 201),
        ("estimate", "estimate", (401, "unauthenticated"), 200),
        ("estimate-compare", "estimate", (401, "unauthenticated"), 200),
        ("ratios-admin-get", "ratios-admin", (401, "unauthenticated"), 200),
        ("topup-webhook", "topup", (401, "invalid_signature"), 401),
    ] {
        let event = event(&format!("apigw/{file}.json"));
        let answer = stack.invoke(function, &event).await;
        let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        let got = (answer["statusCode"].as_u64().unwrap(), body["code"].as_str().unwrap());
        assert_eq!(got, as_it_is, "{file}: {answer}");

        let mut event: Value = serde_json::from_str(&event).unwrap();
        if event["headers"].get("authorization").is_some() {
            event["headers"]["authorization"] = json!(format!("Bearer {}", stack.api_key));
        }
        let answer = stack.invoke(function, &event.to_string()).await;
        assert_eq!(answer["statusCode"], with_a_key, "{file}: {answer}");
    }
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../events/apigw");
    assert_eq!(std::fs::read_dir(directory).unwrap().count(), 6);
}

#[tokio::test]
async fn the_schedules_event_and_a_webhook() {
    let stack = shared();
    let report = stack.invoke("plan-grant", &event("schedule.json")).await;
    assert_eq!(report["complete"], true, "{report}");

    acme(&stack.api()).await;
    let body = event_json("webhooks/payment-succeeded.json");
    let received = stack.webhook(now(), &body).send().await.expect(200);
    // This payment has counted before where the stack keeps what earlier runs left.
    assert!(matches!(received["status"].as_str(), Some("credited" | "duplicate")), "{received}");
    let again = stack.webhook(now(), &body).send().await.expect(200);
    assert_eq!(again["status"], "duplicate");

    // What is neither a request nor the schedule's event is an error, and grants nothing.
    let path = "/2015-03-31/functions/plan-grant/invocations";
    let answer = stack.anonymous().post(path).raw("{\"source\":\"aws.s3\"}").send().await;
    assert!(answer.value()["errorMessage"].is_string(), "{}", answer.text());
}

//! Requests before the fact: how they are described, explained and compared.

use serde_json::{Value, json};
use uc_domain::Credits;

use super::stack::{Own, credits, event_json, open, shared, unique};

const MODEL: &str = "openai/gpt-5.1";

fn bounds(of: &Value) -> [Credits; 3] {
    ["min", "expected", "max"].map(|side| credits(&of[side]))
}

/// An item of a request, on its own.
async fn estimate(model: &str, request: Value) -> Value {
    let body = json!({"items": [{"model": model, "request": request}]});
    let answer = shared().api().post("/v1/estimates").json(&body).send().await;
    let answer = answer.expect(200);
    assert_eq!(answer["total"], answer["items"][0]["credits"]);
    answer["items"][0].clone()
}

#[tokio::test]
async fn requests_are_described() {
    for (what, model, request, dimensions) in [
        (
            "a prompt",
            MODEL,
            json!({"text": "Say hello.\nTwice."}),
            vec!["input_tokens", "output_tokens"],
        ),
        (
            "a conversation",
            MODEL,
            json!({"max_output_tokens": 1_000, "tools": [{"name": "search"}], "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "name": "ann", "content": [
                    {"type": "text", "text": "What is this?", "cache_control": {"type": "ephemeral"}},
                    {"type": "image_url", "image_url": {"url": "https://example.com/a.png"},
                     "width": 800, "height": 600}]}]}),
            vec!["input_tokens", "output_tokens"],
        ),
        (
            "the second turn of an agent, as OpenAI takes it",
            MODEL,
            json!({"output_tokens": {"min": 1, "expected": 50, "max": 900}, "messages": [
                {"role": "user", "content": "Weather in Boston?"},
                {"role": "assistant", "content": null, "tool_calls": [{"id": "call_1",
                    "type": "function",
                    "function": {"name": "get_weather", "arguments": "{\"city\":\"Boston\"}"}}]},
                {"role": "tool", "tool_call_id": "call_1", "content": "21 degrees"},
                {"role": "user", "content": [
                    {"type": "file", "file": {"file_id": "file-1"}, "pages": 3},
                    {"type": "image_url", "image_url": {"url": "https://example.com/a.png",
                        "detail": "low"}}]}]}),
            vec!["input_tokens", "output_tokens"],
        ),
        (
            "the same as Anthropic takes it",
            "anthropic/claude-sonnet-4-5",
            json!({"words": 200,
                "system": [{"type": "text", "text": "Be brief.",
                    "cache_control": {"type": "ephemeral"}}],
                "messages": [
                    {"role": "user", "content": "Weather in Boston?"},
                    {"role": "assistant", "content": [
                        {"type": "thinking", "thinking": "I need the tool.", "signature": "c2ln"},
                        {"type": "redacted_thinking", "data": "ZGF0YQ=="},
                        {"type": "tool_use", "id": "toolu_1", "name": "get_weather",
                            "input": {"city": "Boston"}}]},
                    {"role": "user", "content": [
                        {"type": "tool_result", "tool_use_id": "toolu_1", "content": [
                            {"type": "text", "text": "21 degrees"},
                            {"type": "image", "source": {"type": "base64",
                                "media_type": "image/png", "data": "iVBORw0K"}}]},
                        {"type": "document", "title": "Notes",
                            "source": {"type": "text", "media_type": "text/plain",
                                "data": "It rains."}},
                        {"type": "document", "pages": {"min": 1, "expected": 2, "max": 9},
                            "source": {"type": "url", "url": "https://example.com/a.pdf"}}]}]}),
            vec!["input_tokens", "output_tokens"],
        ),
        (
            "an answer that searched, called and spoke, sent again",
            "anthropic/claude-sonnet-4-5",
            json!({"max_output_tokens": 100, "messages": [
                {"role": "user", "content": "Who won?"},
                {"role": "assistant", "content": [
                    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search",
                        "input": {"query": "results"}},
                    {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1",
                        "caller": {"type": "direct"}, "content": [
                            {"type": "web_search_result", "title": "Results", "page_age": null,
                                "url": "https://example.com", "encrypted_content": "RXFnZg=="}]},
                    {"type": "server_tool_use", "id": "srvtoolu_2", "name": "code_execution",
                        "input": {"code": "print(1)"}},
                    {"type": "code_execution_tool_result", "tool_use_id": "srvtoolu_2",
                        "content": {"type": "code_execution_result", "stdout": "1", "stderr": "",
                            "return_code": 0, "content": []}},
                    {"type": "mcp_tool_use", "id": "mcptoolu_1", "name": "look",
                        "server_name": "a", "input": {}},
                    {"type": "mcp_tool_result", "tool_use_id": "mcptoolu_1", "is_error": false,
                        "content": [{"type": "text", "text": "Nothing"}]},
                    {"type": "tool_use", "id": "toolu_1", "name": "ask", "input": {},
                        "caller": {"type": "direct"}}]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_1", "content": "Ann"}]}]}),
            vec!["input_tokens", "output_tokens"],
        ),
        (
            "the same as Chat Completions give it",
            "openai/gpt-audio-1.5",
            json!({"max_output_tokens": 100, "messages": [
                {"role": "user", "content": "Who won?"},
                {"role": "assistant", "content": null, "refusal": null, "annotations": [],
                    "function_call": null,
                    "audio": {"id": "audio_1", "expires_at": 1_795_000_000, "transcript": "Ann.",
                        "seconds": 2}},
                {"role": "assistant", "content": "Ann.", "audio": null, "refusal": null},
                {"role": "user", "content": "Again?"}]}),
            vec!["input_audio_tokens", "input_tokens", "output_audio_tokens", "output_tokens"],
        ),
        (
            "the same as Gemini takes it",
            "google/gemini-3.8-flash",
            json!({"reasoning_tokens": 500, "contents": [
                {"role": "user", "parts": [{"text": "Weather here?"},
                    {"inlineData": {"mimeType": "image/png", "data": "iVBORw0K"}},
                    {"file_data": {"mime_type": "video/mp4", "file_uri": "gs://a/b"},
                        "seconds": 10}]},
                {"role": "model", "parts": [
                    {"text": "A tool will do.", "thought": true},
                    {"functionCall": {"name": "get_weather", "args": {"city": "Boston"}},
                        "thoughtSignature": "c2ln"}]},
                {"role": "user", "parts": [{"functionResponse": {"name": "get_weather",
                    "response": {"degrees": 21}}}]}]}),
            vec!["input_tokens", "output_tokens"],
        ),
        (
            "a text of many words",
            "anthropic/claude-sonnet-4-5",
            json!({"text": "Write a chapter.", "system": "You write.", "words": 3_000}),
            vec!["input_tokens", "output_tokens"],
        ),
        (
            "only what it counts",
            "mistral/mistral-large-4",
            json!({"characters": {"min": 1_000, "expected": 2_000, "max": 5_000}, "output_tokens": 10}),
            vec!["input_tokens", "output_tokens"],
        ),
        (
            "an embedding",
            "openai/text-embedding-3-small",
            json!({"text": "x"}),
            vec!["input_tokens"],
        ),
        (
            "pictures by size",
            "fal/gpt-image-2",
            json!({"text": "A fox", "images": {"count": 3, "size": "1024x1024", "quality": "medium"}}),
            vec!["output_images"],
        ),
        (
            "pictures by tokens",
            "openai/gpt-image-2",
            json!({"text": "A fox", "images": {"quality": "low"}, "input_images": {"count": 2}}),
            vec!["input_image_tokens", "input_tokens", "output_image_tokens"],
        ),
        (
            "video",
            "google/veo-3.1-fast-generate-001",
            json!({"text": "A fox", "video": {"seconds": 8, "resolution": "1080p", "count": 2}}),
            vec!["video_seconds"],
        ),
        (
            "speech",
            "elevenlabs/eleven_v4",
            json!({"speech": "Good morning"}),
            vec!["input_characters"],
        ),
        (
            "speech by tokens",
            "google/gemini-3.8-flash-tts",
            json!({"speech_characters": 5_000}),
            vec!["input_tokens", "output_audio_tokens"],
        ),
        (
            "speech as text",
            "google/gemini-3.8-flash-tts",
            json!({"text": "say hi hello world", "max_output_tokens": 100}),
            vec!["input_tokens", "output_audio_tokens"],
        ),
        (
            "a picture as text",
            "google/gemini-3.1-flash-image",
            json!({"text": "Draw a fox.", "max_output_tokens": 100}),
            vec!["input_tokens", "output_image_tokens", "output_tokens"],
        ),
        (
            "a server of others",
            "anthropic/claude-sonnet-4-5",
            json!({"text": "Any issues?", "max_output_tokens": 100,
                "mcp_servers": [{"type": "url", "url": "https://example.com/mcp", "name": "a"},
                    {"type": "url", "url": "https://example.com/mcp", "name": "b"}],
                "tools": [{"type": "mcp_toolset", "mcp_server_name": "a"}]}),
            vec!["input_tokens", "output_tokens"],
        ),
        (
            "more than the cap lets be expected",
            "openai/gpt-6.1-sol",
            json!({"characters": {"min": 0, "expected": 1, "max": 100_000}, "max_output_tokens": 9}),
            vec!["input_tokens", "output_tokens"],
        ),
        (
            "a search",
            "xai/grok-4.5",
            json!({"text": "Who won?", "tools": [{"type": "web_search"}, {"type": "x_search"}]}),
            vec!["input_tokens", "output_tokens", "social_searches", "web_searches"],
        ),
        ("a recording", "deepgram/nova-3", json!({"audio_seconds": "61.5"}), vec!["audio_seconds"]),
        (
            "sound in a message",
            "openai/gpt-audio-1.5",
            json!({"messages": [{"role": "user", "content": [{"type": "input_audio", "seconds": 12}]}]}),
            vec!["input_audio_tokens", "input_tokens", "output_audio_tokens", "output_tokens"],
        ),
        ("pages", "mistral/mistral-ocr-4-1", json!({"pages": 12}), vec!["pages"]),
    ] {
        let item = estimate(model, request).await;
        let [min, expected, max] = bounds(&item["credits"]);
        assert!(min <= expected && expected <= max && max.is_positive(), "{what}: {item}");
        let lines = item["lines"].as_array().unwrap();
        let got: Vec<_> = lines.iter().map(|line| line["dimension"].as_str().unwrap()).collect();
        assert_eq!(got, dimensions, "{what}: {item}");
        // Every dimension is explained, and what is explained adds up to the lines.
        for line in lines {
            let assumptions = item["assumptions"].as_array().unwrap().iter();
            let sum: u64 = assumptions
                .filter(|assumption| assumption["dimension"] == line["dimension"])
                .filter_map(|assumption| assumption["quantity"]["expected"].as_u64())
                .sum();
            if let Some(quantity) = line["quantity"].as_u64() {
                assert_eq!(sum, quantity, "{what}: {item}");
            }
        }
    }
}

#[tokio::test]
async fn sizes_and_caps_decide() {
    // The size and quality that are asked for are those that price.
    let images = |quality: &str| json!({"images": {"size": "1024x1024", "quality": quality}});
    let usage = |quality: &str| {
        json!({"items": [{"model": "fal/gpt-image-2", "usage": {"output_images": 1},
            "parameters": {"size": "1024x1024", "quality": quality}}]})
    };
    let mut seen = Vec::new();
    for quality in ["low", "medium", "high"] {
        let described = estimate("fal/gpt-image-2", images(quality)).await;
        let api = shared().api();
        let used = api.post("/v1/estimates").json(&usage(quality)).send().await.expect(200);
        assert_eq!(described["credits"], used["items"][0]["credits"], "{quality}");
        seen.push(credits(&described["credits"]["expected"]));
    }
    assert!(seen.is_sorted() && seen[0] < seen[2], "{seen:?}");

    // With a cap the most is at most three times what is expected.
    for cap in [1, 100, 5_000, 200_000] {
        for text in ["Hi", &"A long story. ".repeat(30_000)] {
            let request = json!({"text": text, "max_output_tokens": cap, "output_tokens": 1});
            let item = estimate("openai/gpt-6.1-sol", request).await;
            let [_, expected, max] = bounds(&item["credits"]);
            assert!(max.micros() <= 3 * expected.micros(), "{cap}: {}", item["credits"]);
        }
    }
}

/// What a request allows lies within its bounds, whatever it leaves open.
#[tokio::test]
async fn what_is_allowed_lies_within() {
    let search = |kind: &str| {
        json!({"text": "What happened today?", "max_output_tokens": 100,
        "tools": [{"type": kind, "name": "web_search", "max_uses": 5}]})
    };
    let google = json!({"text": "What happened today?", "max_output_tokens": 100,
        "tools": [{"googleSearch": {}}]});
    let searched = json!({"input_tokens": 2_500, "output_tokens": 100, "web_searches": 5});
    let grounded = json!({"input_tokens": 5, "output_tokens": 100, "web_searches": 5});
    let preview = json!({"web_search_tool": "web_search_preview"});
    let cat = json!({"text": "a cat", "images": {"count": 1}});
    let tokens = |dimension: &str| json!({"input_tokens": 5, dimension: 100});
    let say = json!({"text": "say hi hello world", "max_output_tokens": 100});
    let story = "A long story. ".repeat(1_000);
    let told = |mark: Value| {
        json!({"system": [{"type": "text", "text": story, "cache_control": mark}],
            "messages": [{"role": "user", "content": "Go on."}], "max_output_tokens": 100})
    };
    let cached =
        |dimension: &str| json!({"input_tokens": 20, dimension: 4_000, "output_tokens": 1});
    let watched = |metadata: Value| {
        json!({"max_output_tokens": 100, "contents": [{"role": "user", "parts": [{"seconds": 60,
            "fileData": {"fileUri": "gs://a/b", "mimeType": "video/mp4"},
            "videoMetadata": metadata}]}]})
    };
    // 258 tokens a frame, 32 a second of sound.
    let seen = |frames: u64, seconds: u64| {
        json!({"input_tokens": 258 * frames, "input_audio_tokens": 32 * seconds,
            "output_tokens": 100})
    };
    let drawn = json!({"input_tokens": 5, "output_tokens": 100, "output_image_tokens": 1_120});
    for (model, request, usage, parameters, unsaid) in [
        (
            "anthropic/claude-sonnet-4-5",
            search("web_search_20250305"),
            searched.clone(),
            json!({}),
            json!(null),
        ),
        ("openai/gpt-5.1", search("web_search"), searched.clone(), json!({}), json!(null)),
        ("openai/gpt-4o-mini", search("web_search_preview"), searched, preview, json!(null)),
        ("google/gemini-3.8-flash", google, grounded, json!({}), json!(null)),
        (
            "fal/gpt-image-2",
            cat.clone(),
            json!({"output_images": 1}),
            json!({"size": "1024x1024", "quality": "low"}),
            json!(["quality", "size"]),
        ),
        (
            "fal/gpt-image-2",
            json!({"images": {"quality": "high"}}),
            json!({"output_images": 1}),
            json!({"size": "1920x1080", "quality": "high"}),
            json!(["size"]),
        ),
        (
            "google/veo-3.1-generate-001",
            json!({"text": "a cat", "video": {"seconds": 8}}),
            json!({"video_seconds": 8}),
            json!({"resolution": "1080p"}),
            json!(["resolution"]),
        ),
        (
            "google/gemini-3.8-flash-tts",
            say.clone(),
            tokens("output_audio_tokens"),
            json!({}),
            json!(null),
        ),
        (
            "openai/gpt-audio-1.5",
            say.clone(),
            tokens("output_audio_tokens"),
            json!({}),
            json!(null),
        ),
        ("google/gemini-3.1-flash-image", say, drawn, json!({}), json!(null)),
        // What a cache reads and writes, asked or, with most providers, unasked.
        (
            "anthropic/claude-sonnet-4-5",
            told(json!({"type": "ephemeral", "ttl": "1h"})),
            cached("cache_write_1h_tokens"),
            json!({}),
            json!(null),
        ),
        (
            "anthropic/claude-sonnet-4-5",
            told(json!({"type": "ephemeral"})),
            cached("cache_write_tokens"),
            json!({}),
            json!(null),
        ),
        (
            "anthropic/claude-sonnet-4-5",
            told(json!({"type": "ephemeral"})),
            cached("cache_read_tokens"),
            json!({}),
            json!(null),
        ),
        ("openai/gpt-5.1", told(json!(null)), cached("cache_read_tokens"), json!({}), json!(null)),
        (
            "openai/gpt-6.1-sol",
            told(json!(null)),
            cached("cache_write_tokens"),
            json!({}),
            json!(null),
        ),
        // The frames and the seconds that are looked at.
        ("google/gemini-2.5-flash", watched(json!({})), seen(60, 60), json!({}), json!(null)),
        (
            "google/gemini-2.5-flash",
            watched(json!({"fps": 24})),
            seen(1_440, 60),
            json!({}),
            json!(null),
        ),
        (
            "google/gemini-2.5-flash",
            watched(json!({"startOffset": "10s", "endOffset": "12.5s", "fps": "0.5"})),
            seen(2, 2),
            json!({}),
            json!(null),
        ),
    ] {
        let described = estimate(model, request.clone()).await;
        let body = json!({"items": [{"model": model, "usage": usage, "parameters": parameters}]});
        let used = shared().api().post("/v1/estimates").json(&body).send().await.expect(200);
        let [_, used, _] = bounds(&used["items"][0]["credits"]);
        let [min, expected, max] = bounds(&described["credits"]);
        assert!(min <= used && used <= max, "{model} {request}: {used} of {described}");
        // Where tools are not limited, a limit of the output raises nothing.
        if described.get("unbounded").is_some() {
            assert!(described.get("expected_raised").is_none(), "{model} {request}: {described}");
        } else if request.get("max_output_tokens").is_some() {
            assert!(max.micros() <= 3 * expected.micros(), "{model} {request}: {described}");
        }
        let mut assumptions = described["assumptions"].as_array().unwrap().iter();
        let named = assumptions.find_map(|assumption| assumption.get("unsaid"));
        assert_eq!(named.unwrap_or(&Value::Null), &unsaid, "{model} {request}: {described}");
    }
    // What is said beside the request is as good.
    let said = json!({"items": [{"model": "fal/gpt-image-2", "request": cat,
        "parameters": {"size": "1024x1024", "quality": "low"}}]});
    let said = shared().api().post("/v1/estimates").json(&said).send().await.expect(200);
    assert_eq!(bounds(&said["total"]), ["7.5"; 3].map(|credits| credits.parse().unwrap()));
}

#[tokio::test]
async fn what_nothing_limits_says_so() {
    let search = json!([{"type": "web_search_20250305", "name": "web_search", "max_uses": 1}]);
    for (request, unbounded) in [
        (json!({"text": "Hi", "max_output_tokens": 9, "tools": search}), true),
        (json!({"text": "Hi", "max_output_tokens": 9, "web_search_options": {}}), true),
        (json!({"text": "Hi", "max_output_tokens": 9, "tools": [{"name": "web_search"}]}), false),
        (json!({"text": "Hi", "max_output_tokens": 9, "tools": [{"type": "mcp"}]}), true),
        (json!({"text": "Hi", "max_output_tokens": 9, "mcp_servers": [{"name": "a"}]}), true),
        (json!({"text": "Hi", "max_output_tokens": 9, "mcp_servers": []}), false),
        (
            json!({"text": "Hi", "max_output_tokens": 9,
                "tools": [{"type": "advisor_20260301", "name": "advisor", "model": "m"}]}),
            true,
        ),
        (json!({"text": "Hi"}), true),
        (json!({"text": "Hi", "words": 100}), true),
        (json!({"text": "Hi", "words": 100, "reasoning_tokens": 1_000}), true),
        (json!({"text": "Hi", "words": 100, "max_output_tokens": 2_000}), false),
        (json!({"text": "Hi", "output_tokens": {"min": 1, "expected": 2, "max": 3}}), false),
    ] {
        let item = estimate(MODEL, request.clone()).await;
        assert_eq!(item.get("unbounded"), unbounded.then_some(&json!(true)), "{request}");
    }
    // A large picture costs what it costs on a model that takes it as it is, and what detail says.
    let picture = |detail: &str| {
        json!({"input_images": {"count": 1, "width": 4_032, "height": 3_024, "detail": detail},
            "output_tokens": {"min": 0, "expected": 0, "max": 0}})
    };
    let auto = bounds(&estimate("openai/gpt-6.1-sol", picture("auto")).await["credits"]);
    let low = bounds(&estimate("openai/gpt-6.1-sol", picture("low")).await["credits"]);
    // 14,364 tokens at 2,500 credits a million.
    assert!(auto[0] <= "35.91".parse().unwrap() && auto[2] >= "35.91".parse().unwrap());
    assert!(low[2] < auto[0]);
    // So does a picture that is made, by size and quality: $0.40 at 1,250 credits a dollar.
    let request = json!({"text": "a cat", "images": {"size": "3840x2160", "quality": "high"}});
    // It may write as well, which has a price there.
    let [min, expected, max] = bounds(&estimate("openai/gpt-image-2", request).await["credits"]);
    let fits = min >= "500".parse().unwrap() && expected <= "501".parse().unwrap();
    assert!(fits && max <= "576".parse().unwrap(), "{min} {expected} {max}");
}

#[tokio::test]
async fn models_are_compared() {
    // Other tests publish models of this feature on the stack that is shared.
    let own = Own::start().await;
    let api = own.stack.api();
    let request = json!({"text": "Compare me.", "max_output_tokens": 2_000});
    let compare = |extra: Value| {
        let mut body = json!({"items": [{"request": request.clone()}]});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        api.post("/v1/estimates").json(&body).send()
    };
    let models = ["openai/gpt-5.1", "openai/gpt-4o-mini", "runway/gen4.5", "no/model", "gpt-5.4"];
    let answer = compare(json!({"models": models})).await.expect(200);
    let ids = |answer: &Value, list: &str| -> Vec<String> {
        let items = answer[list].as_array().unwrap().iter();
        items.map(|item| item["model"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&answer, "items"), ["openai/gpt-5.1", "openai/gpt-4o-mini", "openai/gpt-5.4"]);
    assert_eq!(ids(&answer, "unpriced"), ["runway/gen4.5", "no/model"]);
    assert_eq!(answer["unpriced"][0]["code"], "unpriced_dimension");
    assert_eq!(answer["unpriced"][1]["code"], "unknown_model");
    assert_eq!((answer.get("total"), &answer["compared"]), (None, &json!(5)));
    assert!(answer["items"][0]["lines"].is_array() && answer["items"][0]["assumptions"].is_array());

    // Cheapest first, and a feature's models.
    let account = open(&api, "compares", "1").await;
    let answer = compare(json!({"feature": "text", "sort": "cheapest", "account": account}));
    let answer = answer.await.expect(200);
    let items = answer["items"].as_array().unwrap();
    let costs: Vec<_> = items.iter().map(|item| bounds(&item["credits"])).collect();
    assert!(costs.is_sorted_by_key(|[_, expected, max]| (*expected, *max)));
    let table = event_json("ratios.example.json");
    let texts = table["models"].as_object().unwrap().values().filter(|m| m["feature"] == "text");
    let texts = texts.count();
    assert!(items.len() >= 20.min(texts) && answer["compared"] == json!(texts), "{answer}");
    assert_eq!(answer["account"]["available"], "1");
    assert_eq!(
        (answer["account"].get("affordable"), &answer["account"]["allowed"]),
        (None, &json!(true))
    );
    let first =
        compare(json!({"feature": "text", "sort": "cheapest", "limit": 3})).await.expect(200);
    assert_eq!(ids(&first, "items"), ids(&answer, "items")[..3]);

    // Usage can be compared as well.
    let body = json!({"models": models, "items": [{"usage": {"input_tokens": 1_000}}]});
    let answer = api.post("/v1/estimates").json(&body).send().await.expect(200);
    assert_eq!(ids(&answer, "items").len(), 3);
    own.stop().await;
}

#[tokio::test]
async fn what_is_no_description_is_refused() {
    let api = shared().api();
    let item = |request: Value| json!({"items": [{"model": MODEL, "request": request}]});
    let compare = |extra: Value| {
        let mut body = json!({"items": [{"request": {"text": "x"}}]});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        body
    };
    let part = |part: Value| item(json!({"messages": [{"role": "user", "content": [part]}]}));
    let video = |metadata: Value| {
        item(json!({"contents": [{"parts": [{"inlineData": {"mimeType": "video/mp4"}, "seconds": 9,
            "videoMetadata": metadata}]}]}))
    };
    let secret = unique("secret");
    for (what, body, expected) in [
        ("nothing", item(json!({})), (400, "/items/0/request")),
        ("a cap of nothing", item(json!({"max_output_tokens": 5})), (400, "/items/0/request")),
        ("an unknown field", item(json!({"txt": "x"})), (400, "/items/0/request/txt")),
        ("no text", item(json!({"text": 5})), (400, "/items/0/request/text")),
        (
            "two prompts",
            item(json!({"text": "x", "messages": []})),
            (400, "/items/0/request/messages"),
        ),
        (
            "two outputs",
            item(json!({"text": "x", "words": 5, "output_tokens": 5})),
            (400, "/items/0/request/words"),
        ),
        (
            "no cap",
            item(json!({"text": "x", "max_output_tokens": 0})),
            (400, "/items/0/request/max_output_tokens"),
        ),
        ("a float", item(json!({"text": "x", "words": 1.5})), (400, "/items/0/request/words")),
        (
            "no pictures",
            item(json!({"images": {"count": 0}})),
            (400, "/items/0/request/images/count"),
        ),
        (
            "half a size",
            item(json!({"input_images": {"count": 1, "width": 5}})),
            (400, "/items/0/request/input_images"),
        ),
        (
            "an unknown part",
            part(json!({"type": "hologram"})),
            (400, "/items/0/request/messages/0/content/0/type"),
        ),
        (
            "a file of unknown length",
            part(json!({"type": "file", "file": {"file_id": "f"}})),
            (400, "/items/0/request/messages/0/content/0"),
        ),
        (
            "a video of unknown length in what a tool answered",
            part(json!({"type": "tool_result", "content": [{"type": "video"}]})),
            (400, "/items/0/request/messages/0/content/0/content/0"),
        ),
        (
            "a picture with pages",
            part(json!({"type": "image", "pages": 5})),
            (400, "/items/0/request/messages/0/content/0/pages"),
        ),
        (
            "an empty message",
            item(json!({"messages": [{"role": "assistant", "content": null}]})),
            (400, "/items/0/request/messages/0"),
        ),
        (
            "data of an unknown type",
            item(json!({"contents": [{"parts": [{"inlineData": {"mimeType": "chemical/x"}}]}]})),
            (400, "/items/0/request/contents/0/parts/0"),
        ),
        (
            "two conversations",
            item(json!({"messages": [], "contents": []})),
            (400, "/items/0/request/contents"),
        ),
        (
            "a picture with a text",
            part(json!({"type": "image", "text": "x"})),
            (400, "/items/0/request/messages/0/content/0/text"),
        ),
        (
            "sound of no length",
            part(json!({"type": "audio"})),
            (400, "/items/0/request/messages/0/content/0"),
        ),
        (
            "an answer that was spoken, of no length",
            item(json!({"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]})),
            (400, "/items/0/request/messages/0/audio"),
        ),
        (
            "an object for a content",
            item(json!({"messages": [{"role": "user", "content": {"text": "x"}}]})),
            (400, "/items/0/request/messages/0/content"),
        ),
        (
            "too many frames",
            video(json!({"fps": 25})),
            (400, "/items/0/request/contents/0/parts/0/videoMetadata/fps"),
        ),
        (
            "an end before the start",
            video(json!({"startOffset": "2s", "endOffset": "1.5s"})),
            (400, "/items/0/request/contents/0/parts/0/videoMetadata/endOffset"),
        ),
        (
            "no offset",
            video(json!({"startOffset": "soon"})),
            (400, "/items/0/request/contents/0/parts/0/videoMetadata/startOffset"),
        ),
        (
            "an unknown resolution",
            item(json!({"text": "x", "media_resolution": "MEDIA_RESOLUTION_ODD"})),
            (400, "/items/0/request/media_resolution"),
        ),
        (
            "usage beside it",
            json!({"items": [{"model": MODEL, "request": {"text": "x"}, "usage": {}}]}),
            (400, "/items/0"),
        ),
        ("no model", json!({"items": [{"request": {"text": "x"}}]}), (400, "/items/0/model")),
        (
            "a size that the parameters contradict",
            json!({"items": [{"model": "fal/gpt-image-2", "parameters": {"size": "1x1"},
                "request": {"images": {"size": "2x2"}}}]}),
            (400, "/items/0/parameters/size"),
        ),
        (
            "what the model can't do",
            json!({"items": [{"model": "runway/gen4.5", "request": {"text": secret}}]}),
            (422, "/items/0/request"),
        ),
        (
            "tools without end",
            item(json!({"text": "x", "tools": [(0..257)
                .map(|n| (format!("google_search_{n}"), json!({})))
                .collect::<serde_json::Map<_, _>>()]})),
            (400, "/items/0/request/tools"),
        ),
        (
            "servers without end",
            item(json!({"text": "x", "mcp_servers": vec![json!({}); 257]})),
            (400, "/items/0/request/mcp_servers"),
        ),
        ("no models", compare(json!({"models": []})), (400, "/models")),
        ("no feature", compare(json!({"feature": "nothing"})), (422, "/feature")),
        ("both", compare(json!({"feature": "text", "models": [MODEL]})), (400, "/feature")),
        ("a limit of models", compare(json!({"models": [MODEL], "limit": 5})), (400, "/limit")),
        ("sorted items", compare(json!({"sort": "cheapest"})), (400, "/sort")),
        (
            "a model too many",
            json!({"models": [MODEL], "items": [{"model": MODEL, "request": {"text": "x"}}]}),
            (400, "/items/0/model"),
        ),
    ] {
        let answer = api.post("/v1/estimates").json(&body).send().await;
        let got = (answer.status, answer.pointers());
        assert_eq!(got, (expected.0, vec![expected.1.to_owned()]), "{what}: {}", answer.text());
        assert!(!answer.text().contains(&secret), "{what}");
    }
}

//! From what providers ask to a table that was published.

use serde_json::{Value, json};
use uc_tests::client::{Call, Client};

use super::stack::{Own, shared};

const CALCULATIONS: &str = "/v1/ratios/calculations";
const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

fn row(model: &str, dimension: &str, cost: &str) -> Value {
    json!({
        "model": model, "provider": "e2e", "feature": "text", "dimension": dimension,
        "cost": cost, "currency": "USD", "per": 1_000_000,
    })
}

fn settings() -> Value {
    json!({
        "credit_price": {"amount": "0.01", "currency": "USD"}, "margins": {"default": "0.25"},
        "groups": {"default": "1", "pro": "0.9"},
        "plans": [{"plan": "Pro", "price": {"amount": "10", "currency": "USD"},
                   "credits": "5000", "group": "pro"}],
    })
}

/// Two models of two prices each.
fn rows(input: &str) -> Value {
    json!([
        row("e2e/a", "input_tokens", input),
        row("e2e/a", "output_tokens", "3"),
        row("e2e/=b", "input_tokens", "1"),
        row("e2e/b", "input_tokens", "0.1"),
        row("e2e/b", "output_tokens", "0.2"),
    ])
}

fn ask(api: &Client, costs: &Value) -> Call {
    api.post(CALCULATIONS).json(&json!({"costs": costs, "settings": settings()}))
}

#[tokio::test]
async fn costs_become_a_table_and_tomorrow_shows_what_changed() {
    let own = Own::start().await;
    let api = own.stack.api();
    let today = json!({"rows": rows("0.75")});
    let answer = ask(&api, &today).send().await.expect(200);
    let a = &answer["table"]["models"]["e2e/a"]["ratios"][0];
    assert_eq!(
        *a,
        json!({"dimension": "input_tokens", "credits": "100", "per": 1_000_000,
               "cost": {"amount": "0.75", "currency": "USD"}})
    );
    let row = &answer["models"]["e2e/a"]["rows"][0];
    assert_eq!((&row["price"], &row["effective_margin"]), (&json!("1"), &json!("0.25")));
    // A tenth off takes a tenth of what costs three quarters: 1 - 0.75 / 0.9.
    assert_eq!(answer["models"]["e2e/a"]["worst"]["margin"], "0.1666");
    assert_eq!(answer["plans"][0]["affordable"], "1200");
    assert!(answer["warnings"].as_array().unwrap().iter().any(|w| w["kind"] == "plan_over_cost"));
    let omitted = answer["omitted"].as_array().unwrap();
    assert!(omitted.iter().any(|one| one["model"] == "e2e/=b"), "{omitted:?}");
    assert_eq!(answer.get("diff"), None);

    // Over to the draft, published, and imported again tomorrow: just what changed.
    let draft = "/v1/ratios/draft";
    let saved = api.put(draft).header("if-match", "\"0\"").json(&answer["table"]).send().await;
    assert_eq!(saved.expect(200)["publishable"], true);
    let version = api.get("/v1/ratios").send().await.header("etag").unwrap().to_owned();
    let publish = api.post(&format!("{draft}/publish")).header("if-match", &version);
    publish.json(&json!({"revision": 1})).send().await.expect(200);
    for (input, changed) in [("0.75", 0), ("0.8", 1)] {
        let body = json!({
            "costs": {"rows": rows(input)}, "settings": settings(), "compare_to": "current",
        });
        let diff = api.post(CALCULATIONS).json(&body).send().await.expect(200)["diff"].clone();
        assert_eq!(
            diff["counts"],
            json!({"added": 0, "removed": 0, "changed": changed, "unchanged": 2 - changed})
        );
        assert_eq!(diff["models"].as_array().unwrap().len(), changed);
        if changed == 1 {
            let row = &diff["models"][0]["ratios"][0];
            assert_eq!(row["from"]["credits"], "100");
            assert_eq!(row["to"]["credits"], "106.666666667");
            assert_eq!(row["to"]["cost"]["amount"], "0.8");
        }
    }
    own.stop().await;
}

#[tokio::test]
async fn sources_and_formats() {
    let api = shared().api();
    let csv = "model,provider,feature,dimension,cost,currency,per\n\
               e2e/c,e2e,text,input_tokens,0.000075,USD,100\n";
    let litellm = json!({"e2e-model": {
        "litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 7.5e-07,
        "output_cost_per_token": 1e-06,
    }});
    // A table without a model would refuse everything.
    for costs in [json!({"genai_prices": []}), json!({"litellm": {"credit": {}, "models": {}}})] {
        ask(&api, &costs).send().await.expect(400);
    }
    for (costs, id) in
        [(json!({"csv": csv}), "e2e/c"), (json!({"litellm": litellm}), "openai/e2e-model")]
    {
        let answer = ask(&api, &costs).send().await.expect(200);
        let models = answer["table"]["models"].as_object().unwrap();
        assert_eq!(models.keys().next().map_or("", String::as_str), id, "{answer}");
        for model in models.values() {
            assert_eq!(
                model["ratios"][0]["cost"]["amount"],
                if id == "e2e/c" { "0.000075" } else { "0.75" }
            );
        }
        let valid = api.post("/v1/ratios/validate").json(&answer["table"]).send().await;
        assert_eq!(valid.status, 200, "{}", valid.text());
    }

    let with = |format: &str| {
        let body = json!({"costs": {"rows": rows("1")}, "settings": settings(), "format": format});
        api.post(CALCULATIONS).json(&body)
    };
    let plain = || ask(&api, &json!({"rows": rows("1")}));
    for (call, kind) in [
        (with("csv"), "text/csv"),
        (plain().header("accept", "text/csv"), "text/csv"),
        (with("xlsx").header("accept", "application/json"), XLSX),
        (plain().header("accept", &format!("{XLSX}, */*")), XLSX),
        (plain().header("accept", &format!("*/*;q=0.5, text/csv;q=0.1, {XLSX};q=0.9")), XLSX),
        (plain().header("accept", "text/csv;q=0.1, application/json"), "application/json"),
        (plain().header("accept", "image/png"), "application/json"),
    ] {
        let answer = call.send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let content = answer.header("content-type").unwrap();
        assert!(content.starts_with(kind), "{content}");
        let attachment = answer.header("content-disposition").is_some();
        assert_eq!(attachment, kind != "application/json");
        let begins: &[u8] = match kind {
            XLSX => b"PK",
            "text/csv" => b"model,provider,",
            _ => b"{",
        };
        assert!(answer.body.starts_with(begins), "{kind}");
    }
}

/// A file has what was left out, too, and refuses what it has no place for.
#[tokio::test]
async fn files_leave_nothing_out() {
    let api = shared().api();
    let body = |rows: &Value, more: Value| {
        let mut body = json!({"costs": {"rows": rows}, "settings": settings(), "format": "csv"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        api.post(CALCULATIONS).json(&body)
    };
    let mut all = rows("1");
    for _ in 0..2 {
        all.as_array_mut().unwrap().push(row("=left/out", "input_tokens", "1"));
    }
    let answer = body(&all, json!({})).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = answer.text();
    let has = |begin: &str| text.lines().any(|line| line.starts_with(begin));
    assert!(has("'=left/out,,,,,,,,,,,,") && has(",,,,,,,,,,,,plan Pro gives 5000"), "{text}");
    let refused = body(&rows("1"), json!({"compare_to": "current"})).send().await.expect(400);
    assert_eq!(refused["errors"][0]["pointer"], "/compare_to");
}

#[tokio::test]
async fn bad_calculations() {
    let api = shared().api();
    let costs = json!({"rows": rows("1")}).to_string();
    let of =
        |costs: &str, settings: &str| format!("{{\"costs\": {costs}, \"settings\": {settings}}}");
    let good = settings().to_string();
    let changed = |name: &str, value: Value| {
        let mut settings = settings();
        settings[name] = value;
        of(&costs, &settings.to_string())
    };
    let wrong_row = |name: &str, value: Value| {
        let mut rows = rows("1");
        rows[1][name] = value;
        of(&json!({"rows": rows}).to_string(), &good)
    };
    let mut euros = settings();
    euros["credit_price"]["currency"] = json!("EUR");
    euros["plans"] = json!([]);
    let nan = r#"{"litellm": {"m": {"input_cost_per_token": NaN}}}"#;
    let twice = r#"{"litellm": {"m": {"mode": "chat", "mode": "image"}}}"#;
    let csv = "model,provider,feature,dimension,cost,currency\\na,b,text,input_tokens,-1,USD\\n";
    for (body, status, code, pointer) in [
        ("[]".to_owned(), 400, "invalid_request", ""),
        ("{}".to_owned(), 400, "invalid_request", ""),
        (of("{}", &good).replace("\"costs\"", "\"cost\""), 400, "invalid_request", ""),
        (of(&costs, &good).replacen('{', "{\"costs\": 1,", 1), 400, "invalid_request", ""),
        (of("{}", &good), 400, "invalid_request", "/costs"),
        (of("[null, null, null, []]", &good), 400, "invalid_request", "/costs"),
        (of("{\"csv\": \"\", \"rows\": []}", &good), 400, "invalid_request", "/costs"),
        (of("{\"prices\": []}", &good), 400, "invalid_request", "/costs"),
        (of(nan, &good), 400, "invalid_request", ""),
        (of(twice, &good), 400, "invalid_request", "/costs/litellm"),
        (of("{\"litellm\": []}", &good), 400, "invalid_request", "/costs/litellm"),
        (of("{\"genai_prices\": {}}", &good), 400, "invalid_request", "/costs/genai_prices"),
        (of(&format!("{{\"csv\": \"{csv}\"}}"), &good), 400, "invalid_request", "/costs/csv"),
        (of("{\"csv\": \"a,b\"}", &good), 400, "invalid_request", "/costs/csv"),
        (wrong_row("cost", json!(1)), 400, "invalid_request", "/costs/rows/1/cost"),
        (wrong_row("cost", json!("1e999999999")), 400, "invalid_request", "/costs/rows/1"),
        (wrong_row("price", json!("1")), 400, "invalid_request", "/costs/rows/1/price"),
        (wrong_row("currency", json!("EUR")), 400, "invalid_request", "/costs/rows/1"),
        (wrong_row("per", json!(7)), 400, "invalid_request", "/costs/rows/1"),
        (of(&costs, "[]"), 400, "invalid_request", "/settings"),
        (
            changed("margins", json!({"default": 0.3})),
            400,
            "invalid_request",
            "/settings/margins/default",
        ),
        (
            changed("margins", json!({"default": "1"})),
            400,
            "invalid_request",
            "/settings/margins/default",
        ),
        (changed("groups", json!({"pro": "1"})), 400, "invalid_request", "/settings/groups"),
        (changed("more", json!(1)), 400, "invalid_request", "/settings/more"),
        (of(&costs, &euros.to_string()), 400, "invalid_request", "/settings/credit_price/currency"),
        (
            of(&costs, &good).replace("\"settings\"", "\"compare_to\": 0, \"settings\""),
            404,
            "not_found",
            "",
        ),
        (
            of(&costs, &good).replace("\"settings\"", "\"format\": \"pdf\", \"settings\""),
            400,
            "invalid_request",
            "",
        ),
    ] {
        let answer = api.post(CALCULATIONS).raw(body.clone()).send().await;
        let shown: String = body.chars().take(160).collect();
        assert_eq!((answer.status, &*answer.code()), (status, code), "{shown}: {}", answer.text());
        let pointer = Some(pointer.to_owned()).filter(|pointer| !pointer.is_empty());
        assert_eq!(answer.pointers(), Vec::from_iter(pointer), "{shown}: {}", answer.text());
    }
}

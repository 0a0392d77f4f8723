//! A table before it counts: drafts, what they change, what they would mean.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use uc_tests::client::{Answer, Call, Client};

use super::stack::{Own, grant, now, open, pages, shared, text_model, unique};

const DRAFT: &str = "/v1/ratios/draft";
const PREVIEW: &str = "/v1/ratios/preview";

fn put(api: &Client, if_match: &str, draft: &Value) -> Call {
    api.put(DRAFT).header("if-match", if_match).json(draft)
}

fn etag(answer: &Answer) -> String {
    answer.header("etag").unwrap_or_else(|| panic!("no etag: {}", answer.text())).to_owned()
}

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, &*answer.code()), (status, code), "{}", answer.text());
}

fn pointers(faults: &Value) -> Vec<&str> {
    faults.as_array().unwrap().iter().map(|fault| fault["pointer"].as_str().unwrap()).collect()
}

/// The table in force, and its version's `ETag`.
async fn current(api: &Client) -> (Value, String) {
    let answer = api.get("/v1/ratios").send().await;
    (answer.expect(200), etag(&answer))
}

/// Publishes a table over the current one.
async fn publish(api: &Client, table: &Value) -> u64 {
    let (_, over) = current(api).await;
    let answer = api.put("/v1/ratios").header("if-match", &over).json(table).send().await;
    answer.expect(200)["version"].as_u64().unwrap()
}

/// The one test that has the draft of the shared stack, so that it runs against every stack.
#[tokio::test]
async fn a_draft_survives_whatever_it_lacks() {
    let api = shared().api();
    let left = api.get(DRAFT).send().await;
    if left.status == 200 {
        let delete = api.delete(DRAFT).header("if-match", &etag(&left)).send().await;
        assert_eq!(delete.status, 204);
    }
    refused(&api.get(DRAFT).send().await, 404, "not_found");

    // Nobody begins over somebody else.
    for bad in ["", "1", "*", "\"x\"", "W/\"0\""] {
        refused(&put(&api, bad, &json!({})).send().await, 400, "invalid_request");
    }
    refused(&put(&api, "\"999999\"", &json!({})).send().await, 412, "precondition_failed");
    for bad in [json!([]), json!("x"), json!(null)] {
        refused(&put(&api, "\"0\"", &bad).send().await, 400, "invalid_request");
    }

    let [a, b] = ["a", "b"].map(|id| json!({"models": {id: {}}}));
    let [a, b] = [&a, &b].map(|draft| put(&api, "\"0\"", draft).send());
    let (a, b) = tokio::join!(a, b);
    let (won, lost) = if a.status == 200 { (a, b) } else { (b, a) };
    refused(&lost, 412, "precondition_failed");
    let view = won.expect(200);
    let missing = pointers(&view["missing"]);
    assert_eq!(missing[..3], ["/credit", "/groups", "/features"]);
    assert_eq!((&view["models"], &view["publishable"]), (&json!(1), &json!(false)));
    assert!(view["author"].is_string() && view["base_version"].as_u64() >= Some(1));
    assert_eq!(view.get("table"), None);

    // The same again, as after a lost answer, is the same revision.
    let kept = api.get(DRAFT).send().await;
    let content = kept.expect(200)["table"].clone();
    assert_eq!(etag(&put(&api, "\"0\"", &content).send().await), etag(&won));
    let again = api.get(DRAFT).header("if-none-match", &etag(&won)).send().await;
    assert_eq!(again.status, 304);

    // Both what is missing and what is wrong.
    let draft = json!({
        "credit": {"scale": null, "rounding": "up"}, "groups": {"default": "-1"},
        "features": {"text": {"dimensions": ["input_tokens"]}},
        "models": {"a": {"feature": "video", "ratios": null}, "b": text_model("1", "2")},
        "extra": 1,
    });
    let second = put(&api, &etag(&won), &draft).send().await;
    let view = second.expect(200);
    assert_eq!(pointers(&view["missing"]), ["/credit/scale", "/models/a/ratios"]);
    assert_eq!(pointers(&view["invalid"]), ["/extra", "/groups/default", "/models/a/feature"]);
    refused(&put(&api, &etag(&won), &json!({})).send().await, 412, "precondition_failed");
    let kept = api.get(DRAFT).send().await;
    assert_eq!(kept.expect(200)["table"], draft);
    assert_eq!(kept.expect(200)["invalid"], view["invalid"]);

    // It neither counts, nor can it be compared or published.
    let (_, over) = current(&api).await;
    let revision = view["revision"].clone();
    let publish = api.post("/v1/ratios/draft/publish").header("if-match", &over);
    let answer = publish.clone().json(&json!({"revision": revision})).send().await;
    refused(&answer, 422, "ratios_incomplete");
    assert_eq!(answer.pointers(), pointers(&view["missing"]));
    for bad in [json!({}), json!({"revision": "1"}), json!({"revision": 1, "if": 1})] {
        refused(&publish.clone().json(&bad).send().await, 400, "invalid_request");
    }
    refused(&api.get("/v1/ratios/diff").send().await, 422, "ratios_incomplete");
    refused(&api.post(PREVIEW).json(&json!({})).send().await, 422, "ratios_incomplete");

    // An old revision is never a later draft's.
    let gone = api.delete(DRAFT).header("if-match", &etag(&second)).send().await;
    assert_eq!(gone.status, 204);
    refused(&api.get(DRAFT).send().await, 404, "not_found");
    refused(&put(&api, &etag(&second), &draft).send().await, 412, "precondition_failed");
    refused(
        &api.delete(DRAFT).header("if-match", "\"0\"").send().await,
        412,
        "precondition_failed",
    );
    let again = put(&api, "\"0\"", &draft).send().await;
    assert_ne!(etag(&again), etag(&won));
    refused(
        &api.put(&format!("{DRAFT}?base_version=999999999"))
            .header("if-match", &etag(&again))
            .json(&draft)
            .send()
            .await,
        400,
        "invalid_request",
    );
    api.delete(DRAFT).header("if-match", &etag(&again)).send().await.expect(204);
}

#[tokio::test]
async fn these_routes_are_for_administrators() {
    let api = shared().api();
    let key = |scopes: Value| {
        let body = json!({"name": unique("drafts"), "scopes": scopes});
        let api = &api;
        async move { api.post("/v1/api-keys").json(&body).send().await.expect(201) }
    };
    let reader = key(json!(["read", "charge"])).await;
    let reader = api.with_credential(reader["key"].as_str().unwrap());
    for call in [
        reader.get(DRAFT),
        put(&reader, "\"0\"", &json!({})),
        reader.delete(DRAFT),
        reader.post("/v1/ratios/draft/publish").json(&json!({})),
        reader.get("/v1/ratios/diff"),
        reader.post(PREVIEW).json(&json!({})),
    ] {
        refused(&call.clone().send().await, 403, "forbidden");
        refused(&call.without("authorization").send().await, 401, "unauthenticated");
    }
    // Whose usage it is takes another scope than what things cost.
    let admin = key(json!(["ratios:admin"])).await;
    let admin = api.with_credential(admin["key"].as_str().unwrap());
    let account = open(&api, "previewed", "1").await;
    let body = json!({"from": 1, "to": 1, "account": account});
    refused(&admin.post(PREVIEW).json(&body).send().await, 403, "forbidden");
    admin.post(PREVIEW).json(&json!({"from": 1, "to": 1})).send().await.expect(200);
}

#[tokio::test]
async fn a_draft_shows_what_it_changes_and_becomes_a_version() {
    let own = Own::start().await;
    let api = own.stack.api();
    let (mut table, _) = current(&api).await;
    for (id, input) in [("e2e/a", "1000"), ("e2e/b", "2000"), ("e2e/c", "3000")] {
        table["models"][id] = text_model(input, "1");
    }
    let from = publish(&api, &table).await;
    table["models"]["e2e/a"]["ratios"][0]["credits"] = json!("1500");
    table["models"].as_object_mut().unwrap().remove("e2e/b");
    table["models"]["e2e/d"] = text_model("4000", "1");
    table["groups"]["e2e"] = json!("0.5");

    let saved = put(&api, "\"0\"", &table).send().await;
    let view = saved.expect(200);
    assert_eq!((&view["publishable"], &view["base_version"]), (&json!(true), &json!(from)));
    let answer = api.get("/v1/ratios/diff").send().await.expect(200);
    let models = table["models"].as_object().unwrap().len();
    assert_eq!(
        answer["counts"],
        json!({"added": 1, "removed": 1, "changed": 1, "unchanged": models - 2})
    );
    assert_eq!(answer["head"], json!({"groups": {"e2e": {"to": "0.5"}}}));
    assert_eq!((&answer["from"], &answer["to"]), (&json!({"version": from}), &json!({"draft": 1})));
    let changed = &answer["items"][0];
    let price = |credits: &str| json!({"credits": credits, "per": 1_000_000});
    assert_eq!(
        *changed,
        json!({"model": "e2e/a", "change": "changed", "ratios": [
            {"dimension": "input_tokens", "from": price("1000"), "to": price("1500")},
        ]})
    );
    assert_eq!(answer["items"][1]["from"]["ratios"][0]["credits"], "2000");
    assert_eq!(answer["items"][2]["to"]["ratios"][0]["credits"], "4000");

    // Page by page, and a cursor of these two tables only.
    assert_eq!(json!(pages(&api, "/v1/ratios/diff?limit=1").await), answer["items"]);
    let page = api.get("/v1/ratios/diff?limit=1").send().await.expect(200);
    let cursor = page["next_cursor"].as_str().unwrap();
    let other = api.get(&format!("/v1/ratios/diff?to=1&cursor={cursor}")).send().await;
    refused(&other, 400, "invalid_request");

    // Another revision, or over another version than was looked at, is not published.
    let over = |version: u64, revision: u64| {
        api.post("/v1/ratios/draft/publish")
            .header("if-match", &format!("\"{version}\""))
            .json(&json!({"revision": revision}))
    };
    refused(&over(from, 2).send().await, 412, "precondition_failed");
    refused(&over(from - 1, 1).send().await, 412, "precondition_failed");
    let published = over(from, 1).send().await;
    let to = published.expect(200)["version"].as_u64().unwrap();
    assert_eq!((to, etag(&published)), (from + 1, format!("\"{to}\"")));
    assert_eq!(over(from, 1).send().await.expect(200)["version"], to);

    let after =
        api.get(&format!("/v1/ratios/diff?from={from}&to=current")).send().await.expect(200);
    assert_eq!((&after["counts"], &after["items"]), (&answer["counts"], &answer["items"]));
    let back = api.get(&format!("/v1/ratios/diff?from=draft&to={from}")).send().await.expect(200);
    assert_eq!(back["items"][1]["change"], "added");
    let same = api.get("/v1/ratios/diff").send().await.expect(200);
    assert_eq!((&same["items"], &same["head"]), (&json!([]), &json!({})));

    // The next draft is begun on what became of this one, and so is the one after it.
    for revision in ["\"1\"", "\"2\""] {
        let mut next = table.clone();
        next["groups"]["e2e"] = json!("0.25");
        assert_eq!(put(&api, revision, &next).send().await.expect(200)["base_version"], to);
    }

    for (query, status, code) in [
        ("from=x", 400, "invalid_request"),
        ("from=-1", 400, "invalid_request"),
        ("from=0", 404, "not_found"),
        ("to=999", 404, "not_found"),
        ("to=1&to=2", 400, "invalid_request"),
        ("limit=0", 400, "invalid_request"),
        ("with=1", 400, "invalid_request"),
    ] {
        refused(&api.get(&format!("/v1/ratios/diff?{query}")).send().await, status, code);
    }
    own.stop().await;
}

/// A body of tomorrow's prices is large, and so is what changes.
#[tokio::test]
async fn ten_thousand_models_fit_into_a_draft() {
    let own = Own::start().await;
    let api = own.stack.api();
    let (mut table, _) = current(&api).await;
    let mut random = fastrand::Rng::with_seed(4);
    let before = table["models"].as_object().unwrap().len();
    for n in before..10_000 {
        let mut price = || random.u32(1..1_000_000).to_string();
        let mut model = text_model(&price(), "1");
        model["ratios"][0]["cost"] = json!({"amount": price(), "currency": "USD"});
        table["models"][format!("e2e/{n:05}")] = model;
    }
    let compressed = |value: &Value| {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(value.to_string().as_bytes()).unwrap();
        gzip.finish().unwrap()
    };
    let put = |if_match: &str, table: &Value| {
        api.put(DRAFT)
            .header("if-match", if_match)
            .header("content-encoding", "gzip")
            .raw(compressed(table))
    };
    let saved = put("\"0\"", &table).send().await;
    let view = saved.expect(200);
    assert_eq!((&view["models"], &view["publishable"]), (&json!(10_000), &json!(true)));
    let kept = api.get(DRAFT).header("accept-encoding", "br, gzip").send().await;
    assert_eq!((kept.status, kept.header("content-encoding")), (200, Some("gzip")));
    let mut json = Vec::new();
    GzDecoder::new(&kept.body[..]).read_to_end(&mut json).unwrap();
    let kept: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(kept["table"], table);

    let diff = api.get("/v1/ratios/diff?limit=100").send().await.expect(200);
    let added = 10_000 - before;
    assert_eq!(
        diff["counts"],
        json!({"added": added, "removed": 0, "changed": 0, "unchanged": before})
    );
    assert_eq!(diff["items"].as_array().unwrap().len(), 100);
    assert!(diff["next_cursor"].is_string());

    // One too many is kept as a draft, but can't be published.
    table["models"]["e2e/more"] = text_model("1", "1");
    let view = put(&etag(&saved), &table).send().await;
    assert_eq!(pointers(&view.expect(200)["invalid"]), ["/models"]);
    // A small draft in the place of a large one leaves nothing of it.
    let small = put(&etag(&view), &json!({})).send().await;
    assert_eq!(small.expect(200)["models"], 0);
    assert_eq!(api.get(DRAFT).send().await.expect(200)["table"], json!({}));
    own.stop().await;
}

/// A model that costs and asks so much for a million input tokens.
fn costed(credits: &str, cost: &str) -> Value {
    let mut model = text_model(credits, "0");
    model["ratios"][0]["cost"] = json!({"amount": cost, "currency": "USD"});
    model["ratios"][1]["cost"] = json!({"amount": "0", "currency": "USD"});
    model
}

#[tokio::test]
async fn a_preview_tells_what_usage_would_have_cost_and_earned() {
    let own = Own::start().await;
    let api = own.stack.api();
    let (mut table, _) = current(&api).await;
    table["models"]["e2e/kept"] = costed("1000", "5");
    table["models"]["e2e/gone"] = costed("1000", "5");
    table["models"]["e2e/kept"]["aliases"] = json!(["e2e-alias"]);
    // Whose prices nothing called `e2e/kept` must have, however incomplete that is.
    table["models"]["e2e/short"] = costed("1", "0");
    table["models"]["e2e/short"]["match"] = json!([{"starts_with": "e2e/ke"}]);
    let mut batch = table["models"]["e2e/kept"]["ratios"][0].clone();
    batch["when"] = json!({"service_class": "batch"});
    batch["credits"] = json!("500");
    table["models"]["e2e/kept"]["ratios"].as_array_mut().unwrap().push(batch);
    let version = publish(&api, &table).await;

    let account = open(&api, "previewed", "1000").await;
    let charge = |body: Value| {
        api.post(&format!("/v1/accounts/{account}/charges")).key(&unique("preview")).json(&body)
    };
    let item =
        |model: &str, tokens: u64| json!({"model": model, "usage": {"input_tokens": tokens}});
    let mut in_batch = item("e2e/kept", 2_000_000);
    in_batch["parameters"] = json!({"service_class": "batch"});
    // Reasoning has no row of its own yet: it counts as output.
    let mut thinking = item("e2e-alias", 1_000_000);
    thinking["usage"]["output_reasoning_tokens"] = json!(1_000);
    // Nor does priority cost more yet.
    thinking["parameters"] = json!({"service_class": "priority"});
    // Half of its 1,000 credits is taken, and some of that given back.
    thinking["max_credits"] = json!("500");
    let capped = charge(thinking).send().await.expect(201);
    let capped = capped["operation"]["id"].as_str().unwrap();
    for credits in ["20", "30"] {
        let refund = json!({"credits": credits, "reason": "goodwill", "actor": "support"});
        let call = api.post(&format!("/v1/accounts/{account}/charges/{capped}/refunds"));
        call.key(&unique("refund")).json(&refund).send().await.expect(201);
    }
    charge(json!({"items": [in_batch, item("e2e/gone", 1_000)]})).send().await.expect(201);
    charge(json!({"credits": "7", "description": "fixed"})).send().await.expect(201);
    grant(&api, &account, "5").await;

    // Tomorrow the provider asks twice as much, batches are not cheaper, and one model is gone.
    table["models"]["e2e/kept"] = costed("1200", "10");
    table["models"]["e2e/kept"]["aliases"] = json!(["e2e-alias"]);
    let thinking = json!({
        "dimension": "output_reasoning_tokens", "credits": "0.002", "per": 1,
        "cost": {"amount": "0", "currency": "USD"},
    });
    let mut priority = table["models"]["e2e/kept"]["ratios"][0].clone();
    priority["when"] = json!({"service_class": "priority"});
    priority["credits"] = json!("1300");
    let request = json!({
        "dimension": "requests", "credits": "1", "per": 1,
        "cost": {"amount": "0", "currency": "USD"},
    });
    table["models"]["e2e/kept"]["ratios"]
        .as_array_mut()
        .unwrap()
        .extend([thinking, priority, request]);
    table["models"].as_object_mut().unwrap().remove("e2e/gone");
    put(&api, "\"0\"", &table).send().await.expect(200);

    let price = json!({"amount": "0.01", "currency": "USD"});
    let ask = json!({"credit_price": price, "account": account});
    let view = api.post(PREVIEW).json(&ask).send().await.expect(200);
    assert_eq!((&view["from"], &view["to"]), (&json!({"version": version}), &json!({"draft": 1})));
    assert_eq!((&view["counts"]["changed"], &view["counts"]["removed"]), (&json!(1), &json!(1)));
    let usage = &view["usage"];
    let totals = |credits, cost, revenue, earned, margin| {
        json!({
            "credits": credits, "costs": [{"amount": cost, "currency": "USD"}],
            "uncosted_lines": 0, "revenue": revenue, "earned": earned, "margin": margin,
        })
    };
    // 1,000 + 1,000 credits for 3 million tokens; then 1,300 + 2 * 1,200, and 2 for the reasoning.
    let before = totals("2000", "15", "20", "5", "0.25");
    let after = totals("3702", "30", "37.02", "7.02", "0.189627");
    assert_eq!((&usage["from"], &usage["to"], &usage["items"]), (&before, &after, &json!(2)));
    assert_eq!(
        usage["models"],
        json!([{"model": "e2e/kept", "items": 2, "from": before, "to": after}])
    );
    // What a request costs by itself is not in it: whether these were requests is not known.
    let doubted = usage["approximate"].as_array().unwrap();
    assert_eq!(doubted.len(), 2);
    assert!(doubted[0]["reason"].as_str().unwrap().starts_with("a table has a price of requests"));
    let unpriced = &usage["unpriced"][0];
    assert_eq!((&unpriced["item"], &unpriced["from"]), (&json!(1), &json!({"credits": "1"})));
    assert_eq!(unpriced["to"]["code"], "unknown_model");
    assert!(unpriced["operation"].as_str().unwrap().starts_with("op_"));
    let charges = &usage["charges"];
    assert_eq!((&charges["charges"], &charges["fixed"]), (&json!(3), &json!(1)));
    assert_eq!((&charges["charged"], &charges["complete"]), (&json!("2001"), &json!(true)));
    assert_eq!((&charges["taken"], &charges["refunded"]), (&json!("1501"), &json!("50")));

    // Models: what changes, with margins.
    let kept = &view["items"].as_array().unwrap()[1];
    assert_eq!((&kept["model"], &kept["changed"]), (&json!("e2e/kept"), &json!(true)));
    assert_eq!(kept["margin"], json!({"from": "0", "to": "0.166666"}));
    assert_eq!(view["items"].as_array().unwrap().len(), 2);
    let all = json!({"credit_price": price, "models": "all", "limit": 100});
    let all = api.post(PREVIEW).json(&all).send().await.expect(200);
    assert_eq!(all["items"].as_array().unwrap().len().min(31), 31);
    // A price group changes all that it multiplies, and no model by itself.
    let mut cheaper = current(&api).await.0;
    cheaper["groups"]["pro"] = json!("0.8");
    for (group, changed) in [("default", false), ("pro", true)] {
        let ask = json!({"table": cheaper, "price_group": group, "limit": 100});
        let view = api.post(PREVIEW).json(&ask).send().await.expect(200);
        let items = view["items"].as_array().unwrap().len();
        assert_eq!((items > 50, &view["counts"]["changed"]), (changed, &json!(items)), "{group}");
    }

    // A draft with one model that is not complete: the others are compared.
    let mut draft = table.clone();
    draft["models"]["e2e/kept"]["ratios"][0]["credits"] = Value::Null;
    put(&api, "\"1\"", &draft).send().await.expect(200);
    let diff = api.get("/v1/ratios/diff").send().await.expect(200);
    let preview = api.post(PREVIEW).json(&ask).send().await.expect(200);
    for view in [&diff, &preview] {
        assert_eq!(pointers(&view["incomplete"]), ["/models/e2e~1kept/ratios/0/credits"]);
        let counts = &view["counts"];
        assert_eq!((&counts["changed"], &counts["removed"]), (&json!(0), &json!(1)));
    }
    let unpriced = preview["usage"]["unpriced"].as_array().unwrap();
    assert_eq!(unpriced.len(), 3);
    let of_kept = |side: &str, field: &str| -> Vec<&Value> {
        let kept = unpriced.iter().filter(|one| one["to"]["code"] != "unknown_model");
        kept.map(|one| &one[side][field]).collect()
    };
    assert_eq!(of_kept("from", "credits"), ["1000", "1000"]);
    assert_eq!(of_kept("to", "code"), ["ratios_incomplete", "ratios_incomplete"]);
    assert_eq!(preview["usage"]["items"], 0);
    put(&api, "\"2\"", &table).send().await.expect(200);

    // A window of time, and fewer of the charges.
    for (more, charges, complete) in [
        (json!({"charges": 1}), 1, false),
        (json!({"since": own.now().saturating_add_millis(60_000).to_string()}), 0, true),
        (json!({"until": now().saturating_add_millis(-3_600_000).to_string()}), 0, true),
    ] {
        let mut ask = ask.clone();
        ask.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let view = api.post(PREVIEW).json(&ask).send().await.expect(200);
        let seen = &view["usage"]["charges"];
        assert_eq!((&seen["charges"], &seen["complete"]), (&json!(charges), &json!(complete)));
    }

    // All of them, one by one.
    let mut ask_next = ask.clone();
    ask_next["charges"] = json!(1);
    let mut fixed = Vec::new();
    loop {
        let view = api.post(PREVIEW).json(&ask_next).send().await.expect(200);
        let seen = &view["usage"]["charges"];
        if seen["charges"] == 1 {
            fixed.push(seen["fixed"].as_u64().unwrap());
        }
        if seen["complete"] == true {
            assert!(seen.get("next_cursor").is_none());
            break;
        }
        ask_next["charges_cursor"] = seen["next_cursor"].clone();
    }
    assert_eq!(fixed, [1, 0, 0]);

    // The same usage, given: a list, and JSON lines; as the table in the body says.
    let response = json!({"provider": "openai", "provider_response": {"model": "x"}});
    let items = [item("e2e/kept", 1_000_000), item("e2e/gone", 1), response];
    let lines: Vec<String> = items.iter().map(Value::to_string).collect();
    let mut given = json!({"table": table, "from": version, "credit_price": price});
    let mut answers = Vec::new();
    for usage in [json!(items), json!(format!("{}\n\r\n", lines.join("\n")))] {
        given["usage"] = usage;
        let view = api.post(PREVIEW).json(&given).send().await.expect(200);
        assert_eq!(view["to"], json!({}));
        assert_eq!(view["usage"]["to"], totals("1200", "10", "12", "2", "0.166666"));
        let unpriced = view["usage"]["unpriced"].as_array().unwrap();
        assert_eq!(unpriced[0]["to"]["code"], "unknown_model");
        assert_eq!(unpriced[1]["from"]["code"], "usage_missing");
        answers.push(view["usage"].clone());
    }
    assert_eq!(answers[0], answers[1]);
    own.stop().await;
}

#[tokio::test]
async fn bad_previews() {
    let api = shared().api();
    let item = json!({"model": "x", "usage": {"input_tokens": 1}});
    let at = |name: &str, value: Value| {
        let mut item = item.clone();
        item[name] = value;
        json!([item])
    };
    let mut incomplete = current(&api).await.0;
    incomplete["groups"] = Value::Null;
    let many = vec![item.clone(); 5_001];
    let lines = format!("{item}\n").repeat(5_001);
    let price = |amount: Value, currency: &str| json!({"amount": amount, "currency": currency});
    for (field, value, status, code, pointer) in [
        ("usage", json!({}), 400, "invalid_request", "/usage"),
        ("usage", json!(many), 422, "limit_exceeded", "/usage"),
        ("usage", json!(lines), 422, "limit_exceeded", "/usage"),
        ("usage", json!("{}"), 400, "invalid_request", "/usage/0"),
        ("usage", json!("{}\n{"), 400, "invalid_request", "/usage/1"),
        ("usage", json!(format!("{item}\n{{")), 400, "invalid_request", "/usage/1"),
        (
            "usage",
            json!(format!("\n{{\"model\": \"a\\u0001\"}}")),
            400,
            "invalid_request",
            "/usage/1/model",
        ),
        ("usage", json!("{\"model\": 1, \"model\": 2}"), 400, "invalid_request", "/usage/0/model"),
        ("usage", at("price", json!("1")), 400, "invalid_request", "/usage/0/price"),
        (
            "usage",
            at("usage", json!({"input_tokens": -1})),
            400,
            "invalid_request",
            "/usage/0/usage/input_tokens",
        ),
        (
            "usage",
            at("usage", json!({"input_tokens": 0.5})),
            400,
            "invalid_request",
            "/usage/0/usage/input_tokens",
        ),
        ("usage", at("occurred_at", json!("now")), 400, "invalid_request", "/usage/0/occurred_at"),
        ("credit_price", price(json!("0"), "USD"), 400, "invalid_request", "/credit_price"),
        ("credit_price", price(json!("1"), "usd"), 400, "invalid_request", "/credit_price"),
        ("credit_price", price(json!("-1"), "USD"), 400, "invalid_request", "/credit_price/amount"),
        ("credit_price", price(json!(0.01), "USD"), 400, "invalid_request", "/credit_price/amount"),
        ("from", json!("yesterday"), 400, "invalid_request", "/from"),
        ("from", json!(0), 404, "not_found", ""),
        ("to", json!("999999999"), 404, "not_found", ""),
        ("price_group", json!("nobody"), 409, "unknown_price_group", ""),
        ("account", json!(unique("nobody")), 404, "account_not_found", ""),
        ("charges", json!(1), 400, "invalid_request", "/charges"),
        ("table", incomplete, 400, "invalid_request", "/to"),
        ("models", json!("none"), 400, "invalid_request", "/models"),
        ("limit", json!(0), 400, "invalid_request", "/limit"),
        ("cursor", json!("x"), 400, "invalid_request", ""),
        ("more", json!(1), 400, "invalid_request", "/more"),
    ] {
        let mut body = json!({"to": "current"});
        body[field] = value.clone();
        let answer = api.post(PREVIEW).json(&body).send().await;
        let shown: String = value.to_string().chars().take(60).collect();
        assert_eq!(
            (answer.status, &*answer.code()),
            (status, code),
            "{field} {shown}: {}",
            answer.text()
        );
        let pointer = Some(pointer.to_owned()).filter(|pointer| !pointer.is_empty());
        assert_eq!(answer.pointers(), Vec::from_iter(pointer), "{field} {shown}");
    }
    let both = json!({"to": 1, "account": "a", "usage": []});
    refused(&api.post(PREVIEW).json(&both).send().await, 400, "invalid_request");
    let table = json!({"table": {"credit": null}});
    let answer = api.post(PREVIEW).json(&table).send().await;
    refused(&answer, 422, "ratios_incomplete");
    assert!(answer.pointers().contains(&"/table/credit".to_owned()));
}

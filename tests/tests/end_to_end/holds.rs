//! Holds from estimate to capture, and what corrects what happened: refunds, clawbacks, voids,
//! write-offs, suspension.

use serde_json::{Value, json};
use uc_tests::client::{Answer, Call, Client};

use super::scenario::assert_adds_up;
use super::stack::{
    Own, balance, charge, event_json, grant, journal, now, open, priced, publish, shared,
    text_model, unique,
};

/// Fields of an answer in a row, by JSON pointer.
fn fields(answer: &Value, pointers: &[&str]) -> Vec<Value> {
    let field = |pointer: &&str| answer.pointer(pointer).cloned().unwrap_or(Value::Null);
    pointers.iter().map(field).collect()
}

/// Posted, available, held, debt.
async fn four(api: &Client, account: &str) -> String {
    let balance = balance(api, account).await;
    let figure = |name: &str| balance[name].as_str().unwrap().to_owned();
    ["posted", "available", "held", "debt"].map(figure).join(" ")
}

fn post(api: &Client, account: &str, rest: &str, key: &str, body: &Value) -> Call {
    api.post(&format!("/v1/accounts/{account}/{rest}")).key(key).json(body)
}

async fn hold(api: &Client, account: &str, key: &str, credits: &str) -> String {
    let held = post(api, account, "holds", key, &json!({"credits": credits})).send().await;
    held.expect(201)["hold"]["id"].as_str().unwrap().to_owned()
}

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, &*answer.code()), (status, code), "{}", answer.text());
}

async fn adds_up(api: &Client, account: &str) {
    assert_adds_up(&journal(api, account).await, &balance(api, account).await);
}

/// The recommended way: estimate, hold, work, capture with the provider's response.
#[tokio::test]
async fn estimate_hold_work_capture() {
    let stack = shared();
    let api = stack.api();
    let account = open(&api, "holds", "100").await;
    let name = unique("e2e/held");
    let version = publish(&api, |models| models[&name] = text_model("1000", "10000")).await;

    let items = json!([{"model": name, "usage": {
        "input_tokens": 1000, "output_tokens": {"min": 100, "expected": 400, "max": 2000}}}]);
    let estimate = json!({"account": account, "items": items, "ratio_version": version});
    let estimate = priced(api.post("/v1/estimates").json(&estimate)).await.expect(200);
    assert_eq!(estimate["total"]["max"], "21");

    // Reserve max is what is reserved where nothing is said.
    let body = json!({"items": items, "ratio_version": version, "ttl_seconds": 600});
    let call = post(&api, &account, "holds", "h-1", &body);
    let first = priced(call.clone()).await;
    let held = first.expect(201);
    assert_eq!(
        fields(&held, &["/hold/credits", "/hold/status", "/hold/ratio_version"]),
        [json!("21"), json!("open"), json!(version)]
    );
    assert_eq!(four(&api, &account).await, "100 79 21 0");
    let again = call.send().await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.expect(201)["hold"], held["hold"]);
    let id = held["hold"]["id"].as_str().unwrap();
    let account_now = api.get(&format!("/v1/accounts/{account}")).send().await.expect(200);
    assert_eq!(account_now["holds"][0]["id"], id);
    assert_eq!(account_now["grants"][0]["reserved"], "21");

    // The price goes up while the work goes on: what was promised counts.
    publish(&api, |models| models[&name] = text_model("2000", "20000")).await;
    let body = json!({"model": name, "usage": {"input_tokens": 1000, "output_tokens": 400}});
    let path = format!("holds/{id}/capture");
    let call = post(&api, &account, &path, "c-1", &body);
    let captured = call.clone().send().await.expect(201);
    let of = ["/operation/kind", "/operation/credits", "/operation/ratio_version", "/hold/status"];
    let expected = [json!("capture"), json!("-5"), json!(version), json!("captured")];
    assert_eq!(fields(&captured, &of), expected);
    assert_eq!(four(&api, &account).await, "95 95 0 0");
    let again = call.send().await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.expect(201)["operation"], captured["operation"]);
    let kinds: Vec<_> = journal(&api, &account).await.iter().map(|o| o["kind"].clone()).collect();
    assert_eq!(kinds, ["grant", "hold", "capture", "hold_release"]);
    refused(&post(&api, &account, &path, "c-2", &body).send().await, 409, "hold_captured");
    adds_up(&api, &account).await;
}

#[tokio::test]
async fn captures_in_parts_above_and_by_a_response() {
    let api = shared().api();
    let account = open(&api, "parts", "100").await;
    let id = hold(&api, &account, "h", "30").await;
    let capture = async |key: &str, body: Value| {
        post(&api, &account, &format!("holds/{id}/capture"), key, &body).send().await
    };
    let part = json!({"credits": "12", "description": "part", "final": false});
    let answer = capture("c-1", part.clone()).await.expect(201);
    assert_eq!(fields(&answer, &["/hold/credits", "/hold/status"]), [json!("18"), json!("open")]);
    assert_eq!(four(&api, &account).await, "88 70 18 0");
    // Above what is left of it: charged as any other usage. It stays open till it is said so.
    let above = json!({"credits": "20", "description": "part", "final": false});
    capture("c-2", above).await.expect(201);
    assert_eq!(four(&api, &account).await, "68 68 0 0");
    let response = json!({"provider": "anthropic",
        "provider_response": event_json("responses/anthropic-messages.json")});
    let last = capture("c-3", response).await.expect(201);
    assert_eq!(
        fields(&last, &["/operation/final", "/hold/status"]),
        [json!(true), json!("captured")]
    );
    refused(&capture("c-4", part).await, 409, "hold_captured");
    let with_version = json!({"credits": "1", "description": "x", "ratio_version": 1});
    refused(&capture("c-5", with_version).await, 400, "invalid_request");
    adds_up(&api, &account).await;
}

#[tokio::test]
async fn holds_are_refused_voided_and_extended() {
    let api = shared().api();
    let account = open(&api, "voids", "10").await;
    let path = format!("/v1/accounts/{account}");
    let create =
        async |body: Value| post(&api, &account, "holds", &unique("h"), &body).send().await;
    let over = create(json!({"credits": "10.000001"})).await;
    refused(&over, 402, "insufficient_credits");
    assert_eq!(over.value()["shortfall"], "0.000001");
    for (body, status, code) in [
        (json!({"credits": "-0.000001"}), 400, "invalid_request"),
        (json!({"credits": "1", "reserve": "max"}), 400, "invalid_request"),
        (json!({"credits": "1", "items": []}), 400, "invalid_request"),
        (json!({}), 400, "invalid_request"),
        (json!({"items": []}), 400, "invalid_request"),
        (json!({"credits": "1", "ttl_seconds": 0}), 400, "invalid_request"),
        (json!({"credits": "1", "ttl_seconds": 86_401}), 400, "invalid_request"),
        (json!({"credits": "1", "ratio_version": 999_999}), 409, "conflict"),
        (json!({"items": [{"model": "no/such", "usage": {"requests": 1}}]}), 422, "unknown_model"),
    ] {
        refused(&create(body).await, status, code);
    }
    // There is a credit line, and what there is where that is enough.
    let partial = create(json!({"credits": "25", "on_shortfall": "partial"})).await.expect(201);
    assert_eq!(
        fields(&partial, &["/hold/credits", "/operation/requested"]),
        [json!("10"), json!("25")]
    );
    let id = partial["hold"]["id"].as_str().unwrap();
    let end = async |what: &str, key: &str, body: Value| {
        post(&api, &account, &format!("holds/{id}/{what}"), key, &body).send().await
    };
    let extended = end("extend", "e", json!({"ttl_seconds": 3600})).await.expect(200);
    let ends = |answer: &Value| -> uc_domain::Timestamp {
        answer["hold"]["expires_at"].as_str().unwrap().parse().unwrap()
    };
    assert!(ends(&extended) > ends(&partial));
    let voided = end("void", "v", json!({})).await.expect(200);
    assert_eq!(
        fields(&voided, &["/hold/status", "/operation/kind", "/operation/held"]),
        [json!("voided"), json!("hold_void"), json!("-10")]
    );
    assert_eq!(end("void", "v", json!({})).await.header("idempotent-replayed"), Some("true"));
    for (what, body) in [
        ("void", json!({})),
        ("extend", json!({"ttl_seconds": 1})),
        ("capture", json!({"credits": "1", "description": "late"})),
    ] {
        refused(&end(what, &unique("k"), body).await, 409, "hold_voided");
    }
    let nowhere = post(&api, &account, "holds/hold_77_0/void", "n", &json!({})).send().await;
    refused(&nowhere, 404, "not_found");
    // A grant is no hold.
    let no_hold = post(&api, &account, "holds/hold_1_0/void", "n", &json!({})).send().await;
    refused(&no_hold, 404, "not_found");
    assert_eq!(four(&api, &account).await, "10 10 0 0");

    // Beyond the grants there is the credit line, for holds as well.
    api.put(&path).json(&json!({"credit_line": "5", "reason": "a test"})).send().await.expect(200);
    let line = create(json!({"credits": "15"})).await.expect(201);
    assert_eq!(line["balance"]["available"], "-5");
    refused(&create(json!({"credits": "0.000001"})).await, 402, "insufficient_credits");
    adds_up(&api, &account).await;
}

#[tokio::test]
async fn holds_expire_and_are_captured_late() {
    let own = Own::start().await;
    let api = own.stack.api();
    let account = open(&api, "late", "10").await;
    let id = hold(&api, &account, "h", "6").await;
    own.advance(840).await;
    assert_eq!(four(&api, &account).await, "10 4 6 0");
    own.advance(120).await;
    assert_eq!(four(&api, &account).await, "10 10 0 0");
    let end = async |what: &str, body: Value| {
        post(&api, &account, &format!("holds/{id}/{what}"), &unique("k"), &body).send().await
    };
    refused(&end("void", json!({})).await, 409, "hold_expired");
    refused(&end("extend", json!({"ttl_seconds": 60})).await, 409, "hold_expired");
    let used = json!({"credits": "8", "description": "work"});
    let late = end("capture", used.clone()).await.expect(201);
    assert_eq!(
        fields(&late, &["/operation/late", "/operation/credits", "/hold/status"]),
        [json!(true), json!("-8"), json!("captured")]
    );
    refused(&end("capture", used.clone()).await, 409, "hold_captured");
    let kinds: Vec<_> = journal(&api, &account).await.iter().map(|o| o["kind"].clone()).collect();
    assert_eq!(kinds, ["grant", "hold", "hold_expiry", "capture"]);
    // After a week it is too late.
    let id = hold(&api, &account, "h2", "1").await;
    own.advance(8 * 86_400).await;
    let gone = post(&api, &account, &format!("holds/{id}/capture"), "g", &used).send().await;
    refused(&gone, 409, "hold_captured");
    adds_up(&api, &account).await;
    own.stop().await;
}

/// Usage that can't be priced while it is captured is kept, and its hold protects it.
#[tokio::test]
async fn a_capture_without_a_price_is_kept() {
    let api = shared().api();
    let account = open(&api, "parked", "10").await;
    let id = hold(&api, &account, "h", "6").await;
    let name = unique("e2e/unheard-of");
    let body = json!({"model": name, "usage": {"input_tokens": 1000, "output_tokens": 100}});
    let call = post(&api, &account, &format!("holds/{id}/capture"), "c", &body);
    let parked = call.clone().send().await.expect(202);
    assert_eq!(
        fields(&parked, &["/unrated/reason", "/unrated/hold"]),
        [json!("unknown_model"), json!(id)]
    );
    assert_eq!(four(&api, &account).await, "10 4 6 0");
    let version = publish(&api, |models| models[&name] = text_model("1000", "10000")).await;
    let rated = rate_kept(&api, &parked["unrated"]["id"], &json!({"ratio_version": version})).await;
    assert_eq!(fields(&rated, &["/kind", "/credits"]), [json!("capture"), json!("-2")]);
    assert_eq!(four(&api, &account).await, "8 8 0 0");
    assert_eq!(call.send().await.header("idempotent-replayed"), Some("true"));
    adds_up(&api, &account).await;

    // What would be refused at any price is refused now, and uses up no key.
    let unheard_of = json!({"model": unique("e2e/unheard-of"), "usage": {"input_tokens": 1}});
    let voided = hold(&api, &account, "h2", "1").await;
    post(&api, &account, &format!("holds/{voided}/void"), "v", &json!({})).send().await.expect(200);
    for (hold, status, code) in [
        (&*id, 409, "hold_captured"),
        (&*voided, 409, "hold_voided"),
        ("hold_99_0", 404, "not_found"),
    ] {
        let path = format!("holds/{hold}/capture");
        let answer = post(&api, &account, &path, "again", &unheard_of).send().await;
        refused(&answer, status, code);
    }
    let suspended = json!({"status": "suspended", "reason": "fraud"});
    api.put(&format!("/v1/accounts/{account}")).json(&suspended).send().await.expect(200);
    let mut charge = unheard_of.clone();
    charge["on_unpriced"] = json!("park");
    let answer = post(&api, &account, "charges", "again", &charge).send().await;
    refused(&answer, 403, "account_suspended");
}

/// Rates what was kept by a table that was published just now.
async fn rate_kept(api: &Client, unrated: &Value, body: &Value) -> Value {
    let path = format!("/v1/unrated/{}/rate", unrated.as_str().unwrap());
    priced(api.post(&path).json(body)).await.expect(201)["operation"].clone()
}

/// What had a price when it was used keeps it, whenever what had none gets one.
#[tokio::test]
async fn a_promised_price_is_kept_where_another_is_missing() {
    let api = shared().api();
    let account = open(&api, "promised", "1000").await;
    let (known, new) = (unique("e2e/known"), unique("e2e/new"));
    let credit = |per_token: u64| text_model(&format!("{per_token}000000"), "1000000");
    let promised = publish(&api, |models| models[&known] = credit(1)).await;
    let used =
        |model: &str, tokens: u64| json!({"model": model, "usage": {"input_tokens": tokens}});
    let body = json!({"items": [used(&known, 10)], "ratio_version": promised});
    let held = priced(post(&api, &account, "holds", &unique("h"), &body)).await.expect(201);
    assert_eq!(fields(&held, &["/hold/credits"]), [json!("10")]);
    let hold = held["hold"]["id"].as_str().unwrap();
    publish(&api, |models| models[&known] = credit(10)).await;

    let mut of_new = used(&known, 10);
    of_new["usage"]["e2e_tokens"] = json!(3);
    let capture = json!({"items": [used(&known, 10), used(&new, 1)]});
    let parked = post(&api, &account, &format!("holds/{hold}/capture"), "c", &capture);
    let captured = parked.send().await.expect(202)["unrated"].clone();
    assert_eq!(captured["ratio_version"], promised);
    let park = async |items: Value| {
        let body = json!({"items": items, "ratio_version": promised, "on_unpriced": "park"});
        let call = post(&api, &account, "charges", &unique("k"), &body);
        call.send().await.expect(202)["unrated"]["id"].clone()
    };
    let charged = park(json!([used(&known, 10), used(&new, 1)])).await;
    let dimension = park(json!([of_new])).await;
    let by_version = park(json!([used(&known, 10), used(&new, 1)])).await;
    let unknown = park(json!([used(&new, 1)])).await;

    let filled = publish(&api, |models| {
        models[&new] = credit(1);
        let row = json!({"dimension": "e2e_tokens", "credits": "2", "per": 1});
        models[&known]["ratios"].as_array_mut().unwrap().push(row);
    })
    .await;
    let named = json!({"ratio_version": filled});
    for (unrated, body, credits, version) in [
        (&captured["id"], json!({}), "-11", promised),
        (&charged, json!({}), "-11", promised),
        (&dimension, json!({}), "-16", promised),
        (&by_version, named, "-101", filled),
        (&unknown, json!({}), "-1", filled),
    ] {
        let rated = rate_kept(&api, unrated, &body).await;
        assert_eq!(rated["credits"], credits, "{rated}");
        // Other tests publish, too: what the newest table priced may be of a later one.
        let by = rated["ratio_version"].as_u64().unwrap();
        let is_promised = version == promised;
        assert!(if is_promised { by == promised } else { by >= filled }, "{rated}");
        // The last item, or the only one, is what the first table had not all prices for.
        let items = rated["items"].as_array();
        let other = items.and_then(|items| items.last()?.get("filled_by")?.as_u64());
        assert_eq!(other.is_some_and(|other| other >= filled), is_promised, "{rated}");
    }
    adds_up(&api, &account).await;
}

/// The price of a request goes with the others of its table: neither lost nor asked twice.
#[tokio::test]
async fn the_price_of_a_request_is_of_one_table() {
    let api = shared().api();
    let account = open(&api, "grounded", "1000").await;
    let name = unique("gemini-e2e");
    let id = format!("google/{name}");
    let row = |dimension: &str, credits: &str, when: Value| json!({"dimension": dimension, "credits": credits, "per": 1, "when": when});
    let (search, always) =
        (json!({"grounding": "search"}), json!({"until": "2999-01-01T00:00:00Z"}));
    let by_request = [
        row("web_searches", "0", search.clone()),
        row("requests", "0", always.clone()),
        json!({"dimension": "requests", "credits": "40", "per": 1,
               "when": {"grounding": "search", "until": "2999-01-01T00:00:00Z"}}),
    ];
    let by_search = [row("web_searches", "20", always)];
    for (first, then, expected) in
        [(&[][..], &by_request[..], "-62"), (&by_request[1..], &by_search[..], "-42")]
    {
        let model = |input: &str, rows: &[Value]| {
            let mut model = text_model(input, "1000000");
            model["ratios"].as_array_mut().unwrap().extend(rows.iter().cloned());
            model
        };
        let old = publish(&api, |models| models[&id] = model("1000000", first)).await;
        let charge = json!({"provider": "google", "ratio_version": old, "on_unpriced": "park",
        "provider_response": {
            "modelVersion": name,
            "candidates": [{"groundingMetadata": {"webSearchQueries": ["a"]}}],
            "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 2,
                              "totalTokenCount": 12},
        }});
        let parked = priced(post(&api, &account, "charges", &unique("k"), &charge)).await;
        let parked = parked.expect(202)["unrated"]["id"].clone();
        let new = publish(&api, |models| models[&id] = model("2000000", then)).await;
        let rated = rate_kept(&api, &parked, &json!({})).await;
        assert_eq!(rated["credits"], expected, "{rated}");
        assert!(rated["ratio_version"].as_u64() >= Some(new), "{rated}");
    }
    adds_up(&api, &account).await;
}

/// A model that is disabled is not sold at the price of another that answers to its name.
#[tokio::test]
async fn a_disabled_model_of_a_response_is_unknown() {
    let api = shared().api();
    let account = open(&api, "disabled", "10").await;
    let name = unique("gpt-e2e");
    let version = publish(&api, |models| {
        let mut disabled = text_model("3000", "3000");
        disabled["enabled"] = json!(false);
        let mut other = text_model("1000", "1000");
        other["aliases"] = json!([name]);
        models[format!("azure/{name}")] = disabled;
        models[format!("openai/{name}")] = other;
    })
    .await;
    for (provider, status) in [("openai", 201), ("azure", 422)] {
        let body = json!({"provider": provider, "ratio_version": version, "provider_response": {
            "model": name, "usage": {"prompt_tokens": 9, "completion_tokens": 1}
        }});
        let answer = priced(post(&api, &account, "charges", &unique("k"), &body)).await;
        assert_eq!(answer.status, status, "{provider} {}", answer.value());
    }
}

/// The recommended way is there for work that costs nothing, too.
#[tokio::test]
async fn work_that_costs_nothing_is_held_and_captured() {
    let api = shared().api();
    let account = open(&api, "free", "5").await;
    let free = unique("e2e/free");
    let version = publish(&api, |models| models[&free] = text_model("0", "0")).await;
    let item = json!({"model": free, "usage": {"input_tokens": 1000, "output_tokens": 9}});
    // A hold without a version has the prices that its process knows.
    let fixed = json!({"credits": "0", "description": "work"});
    for (body, used) in [
        (json!({"items": [item], "ratio_version": version}), item),
        (json!({"credits": "0"}), fixed),
    ] {
        let held = priced(post(&api, &account, "holds", &unique("h"), &body)).await.expect(201);
        assert_eq!(fields(&held, &["/hold/credits"]), [json!("0")]);
        let path = format!("holds/{}/capture", held["hold"]["id"].as_str().unwrap());
        let captured = priced(post(&api, &account, &path, &unique("c"), &used)).await;
        assert_eq!(fields(&captured.expect(201), &["/operation/credits"]), [json!("0")]);
    }
    // Also in debt.
    let owed = json!({"credits": "7", "description": "work"});
    post(&api, &account, "charges", "d", &owed).send().await.expect(201);
    let held = post(&api, &account, "holds", "h", &json!({"credits": "0"})).send().await;
    assert_eq!(fields(&held.expect(201), &["/balance/debt"]), [json!("2")]);
    adds_up(&api, &account).await;
}

#[tokio::test]
async fn refunds_in_parts_never_more_than_was_taken() {
    let api = shared().api();
    let account = open(&api, "refunds", "10").await;
    let charged = charge(&api, &account, "c", "14").send().await.expect(201);
    assert_eq!(four(&api, &account).await, "-4 -4 0 4");
    let id = charged["operation"]["id"].as_str().unwrap();
    let refund = async |operation: &str, body: Value| {
        let path = format!("charges/{operation}/refunds");
        post(&api, &account, &path, &unique("r"), &body).send().await
    };
    let part = refund(id, json!({"credits": "6", "reason": "it failed"})).await.expect(201);
    // Debt first, then the grant.
    assert_eq!(
        part["operation"]["postings"],
        json!([
        {"target": "debt", "credits": "4"}, {"target": "gr_1_0", "credits": "2"}])
    );
    assert_eq!(
        fields(&part, &["/operation/charge", "/operation/refunded"]),
        [json!(id), json!("6")]
    );
    let over = refund(id, json!({"credits": "8.000001", "reason": "x"})).await;
    refused(&over, 409, "refund_exceeds_charge");
    assert_eq!(over.value()["left"], "8");
    let rest =
        post(&api, &account, &format!("charges/{id}/refunds"), "rest", &json!({"reason": "x"}));
    let first = rest.clone().send().await.expect(201);
    assert_eq!(first["operation"]["credits"], "8");
    assert_eq!(rest.send().await.header("idempotent-replayed"), Some("true"));
    refused(&refund(id, json!({"reason": "x"})).await, 409, "refund_exceeds_charge");
    let of_refund = first["operation"]["id"].as_str().unwrap();
    refused(&refund(of_refund, json!({"reason": "x"})).await, 409, "conflict");
    refused(&refund("op_99_0", json!({"reason": "x"})).await, 404, "not_found");
    refused(&refund(id, json!({"credits": "-1", "reason": "x"})).await, 400, "invalid_request");
    refused(&refund(id, json!({"credits": "1"})).await, 400, "invalid_request");
    assert_eq!(four(&api, &account).await, "10 10 0 0");
    adds_up(&api, &account).await;
}

/// Sixteen at once give back one charge in parts: never more than it took.
#[tokio::test]
async fn concurrent_refunds() {
    let api = shared().api();
    let account = open(&api, "many", "10").await;
    let charged = charge(&api, &account, "c", "10").send().await.expect(201);
    let id = charged["operation"]["id"].as_str().unwrap();
    let path = format!("charges/{id}/refunds");
    let calls = (0..16).map(|index| {
        let body = json!({"credits": "1", "reason": "in parts"});
        super::stack::landed(post(&api, &account, &path, &format!("r-{index}"), &body))
    });
    let answers = futures_util::future::join_all(calls).await;
    let given_back = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(given_back, 10);
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        refused(answer, 409, "refund_exceeds_charge");
    }
    assert_eq!(four(&api, &account).await, "10 10 0 0");
    adds_up(&api, &account).await;
}

/// Bought credits may hold more than their payment still brings: a dispute that was won and a refund
/// gave back to the same ones, or what was taken back was another payment's. Voiding them would
/// forfeit what both payments brought, and the refund of one would count it.
#[tokio::test]
async fn bought_credits_are_not_taken_twice() {
    let stack = shared();
    let api = stack.api();
    let disputed = json!({"dispute": "d"});
    let half = json!({"amount": "5", "currency": "EUR"});
    let histories = [
        vec![("payment.disputed", &disputed), ("payment.dispute_won", &disputed)],
        vec![("payment.disputed", &disputed)],
        vec![("payment.refunded", &half)],
    ];
    for history in histories {
        let account = unique("twice");
        let (first, second) = (unique("pay"), unique("pay"));
        let send = async |kind: &str, payment: &str, more: &Value| {
            let mut body = json!({"type": kind, "data": {"payment": payment}});
            body["data"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            stack.webhook(now(), &body).send().await.expect(200);
        };
        let paid = json!({"account": account, "credits": "100", "amount": "10", "currency": "EUR"});
        send("payment.succeeded", &first, &paid).await;
        let charged = charge(&api, &account, "all", "100").send().await.expect(201);
        let charged = charged["operation"]["id"].as_str().unwrap();
        send("payment.succeeded", &second, &paid).await;
        for (kind, data) in history {
            send(kind, &first, data).await;
        }
        let refund = format!("charges/{charged}/refunds");
        post(&api, &account, &refund, "r", &json!({"reason": "x"})).send().await.expect(201);
        let void = post(&api, &account, "grants/gr_1_0/void", "v", &json!({"reason": "x"}));
        refused(&void.send().await, 409, "conflict");
        for payment in [&first, &second] {
            send("payment.refunded", payment, &json!({})).await;
        }
        assert_eq!(four(&api, &account).await, "0 0 0 0");
        adds_up(&api, &account).await;
    }
}

#[tokio::test]
async fn what_a_refunded_payment_brought_is_taken_back() {
    let stack = shared();
    let api = stack.api();
    let (account, payment) = (unique("claw"), unique("pay"));
    let send = async |kind: &str, data: Value| {
        stack.webhook(now(), &json!({"type": kind, "data": data})).send().await
    };
    let change = |rest: Value| {
        let mut data = json!({"payment": payment});
        data.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        data
    };
    // What is not known yet may be on its way.
    let early = send("payment.refunded", change(json!({}))).await;
    refused(&early, 404, "not_found");
    let data = json!({"account": account, "payment": payment, "credits": "100",
        "amount": "10", "currency": "EUR"});
    send("payment.succeeded", data).await.expect(200);
    charge(&api, &account, "c", "70").send().await.expect(201);

    let refund = change(json!({"amount": "4", "currency": "EUR"}));
    let taken = send("payment.refunded", refund.clone()).await.expect(200);
    assert_eq!(
        fields(&taken, &["/status", "/operation/kind", "/operation/credits"]),
        [json!("taken_back"), json!("clawback"), json!("-40")]
    );
    assert_eq!(four(&api, &account).await, "-10 -10 0 10");
    assert_eq!(send("payment.refunded", refund).await.expect(200)["status"], "duplicate");
    // A dispute of all of it takes only what is left, and one that is won gives back only that.
    let disputed = send("payment.disputed", change(json!({"dispute": "dp_1"}))).await.expect(200);
    assert_eq!(disputed["operation"]["credits"], "-60");
    let won = send("payment.dispute_won", change(json!({"dispute": "dp_1"}))).await.expect(200);
    assert_eq!(
        fields(&won, &["/status", "/operation/kind", "/operation/credits"]),
        [json!("given_back"), json!("clawback_reversal"), json!("60")]
    );
    assert_eq!(four(&api, &account).await, "-10 -10 0 10");
    let noted = send("payment.dispute_won", change(json!({"dispute": "dp_2"}))).await.expect(200);
    assert_eq!(noted["status"], "noted");
    let late = send("payment.disputed", change(json!({"dispute": "dp_2"}))).await.expect(200);
    assert_eq!(late["status"], "duplicate");
    for (kind, rest, status, code) in [
        ("payment.refunded", json!({"amount": "4", "currency": "USD"}), 409, "conflict"),
        ("payment.refunded", json!({"amount": "4"}), 400, "invalid_request"),
        ("payment.refunded", json!({"dispute": "dp_1"}), 400, "invalid_request"),
        ("payment.refunded", json!({"account": account}), 400, "invalid_request"),
        ("payment.disputed", json!({}), 400, "invalid_request"),
        (
            "payment.dispute_won",
            json!({"dispute": "d", "amount": "1", "currency": "EUR"}),
            400,
            "invalid_request",
        ),
    ] {
        refused(&send(kind, change(rest)).await, status, code);
    }
    adds_up(&api, &account).await;
}

/// A void has taken it already: it is not taken again, and nothing goes back to a voided grant.
#[tokio::test]
async fn what_a_void_forfeited_is_not_taken_back() {
    let stack = shared();
    let api = stack.api();
    let (account, payment) = (unique("void"), unique("pay"));
    let send = async |kind: &str, rest: Value| {
        let mut data = json!({"payment": payment});
        data.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        stack.webhook(now(), &json!({"type": kind, "data": data})).send().await.expect(200)
    };
    send("payment.succeeded", json!({"account": account, "credits": "100"})).await;
    charge(&api, &account, "c", "30").send().await.expect(201);
    let reason = json!({"reason": "a mistake", "actor": "support-1"});
    post(&api, &account, "grants/gr_1_0/void", "v", &reason).send().await.expect(200);
    let disputed = send("payment.disputed", json!({"dispute": "d"})).await;
    let told = ["/operation/credits", "/operation/forfeited"];
    assert_eq!(fields(&disputed, &told), [json!("-30"), json!("70")]);
    let won = send("payment.dispute_won", json!({"dispute": "d"})).await;
    assert_eq!(fields(&won, &told), [json!("30"), json!("70")]);
    assert_eq!(four(&api, &account).await, "0 0 0 0");
    send("payment.refunded", json!({})).await;
    assert_eq!(four(&api, &account).await, "-30 -30 0 30");
    adds_up(&api, &account).await;
}

#[tokio::test]
async fn grants_are_voided_and_debt_is_waived() {
    let api = shared().api();
    let account = open(&api, "mend", "10").await;
    grant(&api, &account, "5").await;
    charge(&api, &account, "c", "4").send().await.expect(201);
    let void = async |grant: &str, key: &str| {
        let body = json!({"reason": "a mistake", "actor": "support-1"});
        post(&api, &account, &format!("grants/{grant}/void"), key, &body).send().await
    };
    let voided = void("gr_1_0", "v").await.expect(200);
    assert_eq!(
        fields(&voided, &["/operation/kind", "/operation/credits", "/operation/actor"]),
        [json!("grant_void"), json!("-6"), json!("support-1")]
    );
    assert_eq!(void("gr_1_0", "v").await.header("idempotent-replayed"), Some("true"));
    refused(&void("gr_1_0", "v2").await, 409, "grant_voided");
    refused(&void("gr_3_0", "v3").await, 404, "not_found");
    charge(&api, &account, "c2", "8").send().await.expect(201);
    // Used up.
    refused(&void("gr_2_0", "v4").await, 409, "conflict");
    assert_eq!(four(&api, &account).await, "-3 -3 0 3");

    let write_off =
        async |body: Value| post(&api, &account, "write-offs", &unique("w"), &body).send().await;
    let over = write_off(json!({"credits": "4", "reason": "goodwill"})).await;
    refused(&over, 409, "conflict");
    let part = write_off(json!({"credits": "1", "reason": "goodwill"})).await.expect(201);
    assert_eq!(
        fields(&part, &["/operation/kind", "/operation/credits"]),
        [json!("write_off"), json!("1")]
    );
    write_off(json!({"reason": "goodwill"})).await.expect(201);
    refused(&write_off(json!({"reason": "goodwill"})).await, 409, "conflict");
    refused(&write_off(json!({"credits": "1"})).await, 400, "invalid_request");
    assert_eq!(four(&api, &account).await, "0 0 0 0");
    adds_up(&api, &account).await;
}

#[tokio::test]
async fn suspended_accounts_begin_nothing_new() {
    let stack = shared();
    let api = stack.api();
    let account = open(&api, "suspended", "10").await;
    let path = format!("/v1/accounts/{account}");
    let id = hold(&api, &account, "h", "2").await;
    let put = async |body: Value| api.put(&path).json(&body).send().await.expect(200);
    let suspended =
        put(json!({"status": "suspended", "reason": "abuse", "actor": "support-1"})).await;
    assert_eq!(
        fields(&suspended, &["/allowed", "/reason", "/settings/status"]),
        [json!(false), json!("suspended"), json!("suspended")]
    );
    // Other settings don't wake it up.
    assert_eq!(
        put(json!({"credit_line": "1", "reason": "a test"})).await["settings"]["status"],
        "suspended"
    );
    let charged = charge(&api, &account, "c", "1").send().await;
    refused(&charged, 403, "account_suspended");
    let held = post(&api, &account, "holds", "h2", &json!({"credits": "1"})).send().await;
    refused(&held, 403, "account_suspended");
    // That work was allowed when it began.
    let body = json!({"credits": "1", "description": "work"});
    post(&api, &account, &format!("holds/{id}/capture"), "k", &body).send().await.expect(201);
    grant(&api, &account, "1").await;
    put(json!({"status": "closed", "reason": "left"})).await;
    let body = json!({"credits": "1", "source": "promo", "reason": "x"});
    let by_hand = post(&api, &account, "grants", "g", &body).send().await;
    refused(&by_hand, 403, "account_suspended");
    let subscribed =
        post(&api, &account, "subscriptions", "s", &json!({"plan": "starter"})).send().await;
    refused(&subscribed, 403, "account_suspended");
    // Money that came in is never lost.
    let paid = json!({"type": "payment.succeeded",
        "data": {"account": account, "payment": unique("pay"), "credits": "5"}});
    stack.webhook(now(), &paid).send().await.expect(200);
    put(json!({"status": "active", "reason": "is back"})).await;
    charge(&api, &account, "c", "1").send().await.expect(201);
    assert_eq!(four(&api, &account).await, "14 14 0 0");
    adds_up(&api, &account).await;
}

//! Bad input, and what it gets: a clear answer, and nothing written.

use serde_json::{Value, json};
use tokio::task::JoinSet;
use uc_domain::Timestamp;
use uc_tests::client::{Call, Client};

use super::stack::{
    balance, charge, event_json, from_now, journal, landed, now, open, publish, shared, text_model,
    unique,
};

/// An account that nothing may happen to.
struct Untouched {
    api: Client,
    account: String,
    before: (Value, Vec<Value>),
}

/// What a request must get: the status, the code, and where the fault is said to be.
type Refusal<'a> = (u16, &'a str, Option<&'a str>);

impl Untouched {
    async fn new() -> Self {
        let api = shared().api();
        let account = open(&api, "untouched", "100").await;
        let before = (balance(&api, &account).await, journal(&api, &account).await);
        Self { api, account, before }
    }

    /// A request to the account's own routes, with a new key.
    fn post(&self, route: &str) -> Call {
        self.api.post(&format!("/v1/accounts/{}/{route}", self.account)).key(&unique("bad"))
    }

    /// Sends a request that must be refused so, and looks whether it left anything behind.
    async fn check(&self, what: &str, call: Call, expected: Refusal<'_>) {
        check(what, call, expected).await;
        let api = &self.api;
        let after = (balance(api, &self.account).await, journal(api, &self.account).await);
        assert_eq!(after, self.before, "{what} was refused, but wrote");
    }
}

/// Sends a request that must be refused so.
async fn check(what: &str, call: Call, (status, code, pointer): Refusal<'_>) {
    let answer = call.send().await;
    let said = (answer.status, answer.code());
    assert_eq!(said, (status, code.to_owned()), "{what}: {}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{what}");
    assert!(answer.header("x-request-id").is_some(), "{what}");
    let problem = answer.value();
    assert_eq!(problem["status"], status, "{what}");
    assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{what}");
    match pointer {
        Some(pointer) => assert_eq!(answer.pointers(), [pointer], "{what}: {problem}"),
        None => assert_eq!(answer.pointers(), [""; 0], "{what}: {problem}"),
    }
}

const INVALID: &str = "invalid_request";

/// A usage of the model that is priced in every table.
fn usage(usage: Value) -> Value {
    json!({"model": "openai/gpt-5.1", "usage": usage})
}

/// The body of a charge of fixed credits, with one field set.
fn with(field: &str, value: Value) -> Value {
    let mut body = json!({"credits": "1"});
    body[field] = value;
    body
}

/// The body of a charge of usage, with one field set.
fn priced(field: &str, value: Value) -> Value {
    let mut body = usage(json!({"input_tokens": 1}));
    body[field] = value;
    body
}

/// Sends charges that must be refused so.
async fn check_charges<'a>(cases: impl IntoIterator<Item = (&str, Value, Refusal<'a>)>) {
    let untouched = Untouched::new().await;
    for (what, body, expected) in cases {
        untouched.check(what, untouched.post("charges").json(&body), expected).await;
    }
}

#[tokio::test]
async fn what_has_no_price() {
    let name = "d".repeat(64);
    let many: serde_json::Map<_, _> =
        (0..33).map(|n| (format!("dimension_{n}"), json!(1))).collect();
    let item = usage(json!({"input_tokens": 1}));
    check_charges([
        (
            "an unknown model",
            json!({"model": "nobody/nothing", "usage": {"input_tokens": 1}}),
            (422, "unknown_model", Some("/model")),
        ),
        (
            "an unknown model in a list",
            json!({"items": [item, {"model": "nobody/nothing", "usage": {"input_tokens": 1}}]}),
            (422, "unknown_model", Some("/items/1/model")),
        ),
        (
            "an unpriced dimension",
            usage(json!({"input_tokens": 1, "video_seconds": 1})),
            (422, "unpriced_dimension", Some("/usage/video_seconds")),
        ),
        (
            "a dimension with the longest name",
            usage(json!({&*name: 1})),
            (422, "unpriced_dimension", Some(&*format!("/usage/{name}"))),
        ),
        (
            "a dimension that is no name",
            usage(json!({"Input Tokens": 1})),
            (400, INVALID, Some("/usage")),
        ),
        (
            "what is computed, not counted",
            usage(json!({"prompt_tokens": 1})),
            (400, INVALID, Some("/usage/prompt_tokens")),
        ),
        ("33 dimensions", usage(Value::Object(many)), (422, "limit_exceeded", Some("/usage"))),
        (
            "34 lines",
            json!({"items": vec![usage(json!({"input_tokens": 1, "output_tokens": 1})); 17]}),
            (422, "limit_exceeded", None),
        ),
        (
            "a price over the limits",
            json!({"model": "runway/gen4.5", "usage": {"video_seconds": 999_999_999_999_u64}}),
            (422, "limit_exceeded", Some("/usage/video_seconds")),
        ),
    ])
    .await;
}

#[tokio::test]
async fn quantities() {
    let at = Some("/usage/input_tokens");
    let tokens = |value: Value| usage(json!({"input_tokens": value}));
    check_charges([
        ("a negative quantity", tokens(json!(-1)), (400, INVALID, at)),
        ("a negative quantity as text", tokens(json!("-1")), (400, INVALID, at)),
        ("a float quantity", tokens(json!(1.5)), (400, INVALID, at)),
        ("13 digits", tokens(json!(1_000_000_000_000_u64)), (400, INVALID, at)),
        ("four fractional digits", tokens(json!("0.0001")), (400, INVALID, at)),
        ("13 digits with a fraction", tokens(json!("1234567890.123")), (400, INVALID, at)),
        ("a quantity that is null", tokens(json!(null)), (400, INVALID, at)),
    ])
    .await;
}

#[tokio::test]
async fn credits() {
    let credits = |value: Value| with("credits", value);
    check_charges([
        ("float credits", credits(json!(1.5)), (400, INVALID, Some("/credits"))),
        ("whole credits that are no text", credits(json!(1)), (400, INVALID, Some("/credits"))),
        ("credits with an exponent", credits(json!(1e9)), (400, INVALID, Some("/credits"))),
        ("an exponent as text", credits(json!("1e9")), (400, INVALID, Some("/credits"))),
        ("NaN as text", credits(json!("NaN")), (400, INVALID, Some("/credits"))),
        ("infinity", credits(json!("inf")), (400, INVALID, Some("/credits"))),
        ("27 digits", credits(json!("9".repeat(27))), (400, INVALID, Some("/credits"))),
        ("seven fractional digits", credits(json!("0.0000001")), (400, INVALID, Some("/credits"))),
        ("over 10^15", credits(json!("1000000000000000.000001")), (400, INVALID, Some("/credits"))),
        ("negative credits", credits(json!("-1")), (400, INVALID, Some("/credits"))),
        ("blanks around", credits(json!(" 1")), (400, INVALID, Some("/credits"))),
        ("a negative cap", with("max_credits", json!("-1")), (400, INVALID, Some("/max_credits"))),
    ])
    .await;
}

#[tokio::test]
async fn shapes_of_charges() {
    let item = usage(json!({"input_tokens": 1}));
    check_charges([
        ("nothing to charge", json!({}), (400, INVALID, None)),
        ("an array", json!([]), (400, INVALID, Some(""))),
        ("a text", json!("1"), (400, INVALID, Some(""))),
        ("an unknown field", with("credit", json!("1")), (400, INVALID, Some("/credit"))),
        (
            "an unknown field in an item",
            json!({"items": [priced("quantity", json!(1))]}),
            (400, INVALID, Some("/items/0/quantity")),
        ),
        ("credits and usage", priced("credits", json!("1")), (400, INVALID, None)),
        ("items and credits", with("items", json!([item])), (400, INVALID, None)),
        ("no items", json!({"items": []}), (400, INVALID, Some("/items"))),
        ("21 items", json!({"items": vec![&item; 21]}), (400, INVALID, Some("/items"))),
        (
            "a description of usage",
            priced("description", json!("chat")),
            (400, INVALID, Some("/description")),
        ),
        (
            "a version of fixed credits",
            with("ratio_version", json!(1)),
            (400, INVALID, Some("/ratio_version")),
        ),
        (
            "a model that is no name",
            json!({"model": "openai gpt", "usage": {"input_tokens": 1}}),
            (400, INVALID, Some("/model")),
        ),
        (
            "usage of no model",
            json!({"usage": {"input_tokens": 1}}),
            (400, INVALID, Some("/model")),
        ),
    ])
    .await;
}

#[tokio::test]
async fn texts_of_charges() {
    let labels: serde_json::Map<_, _> = (0..21).map(|n| (format!("l{n}"), json!(""))).collect();
    check_charges([
        (
            "a parameter of control characters",
            priced("parameters", json!({"size": "a\tb"})),
            (400, INVALID, Some("/parameters/size")),
        ),
        (
            "control characters in a text",
            with("description", json!("a\u{7}b")),
            (400, INVALID, Some("/description")),
        ),
        (
            "control characters beyond ASCII",
            with("actor", json!("a\u{85}b")),
            (400, INVALID, Some("/actor")),
        ),
        (
            "control characters in a name",
            with("metadata", json!({"a\u{0}b": "c"})),
            (400, INVALID, Some("/metadata/a\u{0}b")),
        ),
        ("an empty actor", with("actor", json!("")), (400, INVALID, Some("/actor"))),
        ("a long actor", with("actor", json!("a".repeat(129))), (400, INVALID, Some("/actor"))),
        ("21 labels", with("metadata", Value::Object(labels)), (400, INVALID, Some("/metadata"))),
        (
            "513 bytes of labels",
            with("metadata", json!({"n": "v".repeat(512)})),
            (400, INVALID, Some("/metadata")),
        ),
        (
            "a label that is no text",
            with("metadata", json!({"n": 1})),
            (400, INVALID, Some("/metadata/n")),
        ),
    ])
    .await;
}

#[tokio::test]
async fn times_and_versions_of_charges() {
    check_charges([
        (
            "usage of last month",
            priced("occurred_at", json!(from_now(-8 * 86_400))),
            (400, INVALID, Some("/occurred_at")),
        ),
        (
            "usage of tomorrow",
            priced("occurred_at", json!(from_now(86_400))),
            (400, INVALID, Some("/occurred_at")),
        ),
        (
            "a time that is none",
            priced("occurred_at", json!("yesterday")),
            (400, INVALID, Some("/occurred_at")),
        ),
        ("version 0", priced("ratio_version", json!(0)), (409, "conflict", None)),
        (
            "a version that is no number",
            priced("ratio_version", json!("1")),
            (400, INVALID, Some("/ratio_version")),
        ),
    ])
    .await;
}

#[tokio::test]
async fn responses_that_tell_no_usage() {
    let response = |response: Value| json!({"provider": "openai", "provider_response": response});
    check_charges([
        (
            "an unknown provider",
            json!({"provider": "nobody", "provider_response": {}}),
            (422, "provider_unknown", Some("/provider")),
        ),
        (
            "a response without usage",
            response(json!({"model": "gpt-5.1"})),
            (422, "usage_missing", Some("/provider_response")),
        ),
        (
            "a response that contradicts itself",
            response(json!({"model": "gpt-5.1", "usage": {
                "prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 3,
            }})),
            (422, "usage_contradictory", Some("/provider_response/usage/total_tokens")),
        ),
        (
            "a response that names no model",
            response(json!({"usage": {"prompt_tokens": 1, "completion_tokens": 1}})),
            (422, "usage_missing", Some("/model")),
        ),
        (
            "a response of nobody",
            json!({"provider_response": {"usage": {}}}),
            (400, INVALID, Some("")),
        ),
    ])
    .await;
}

#[tokio::test]
async fn bodies() {
    let untouched = Untouched::new().await;
    let good = json!({"credits": "1"}).to_string();
    let deep = format!("{{\"metadata\":{}{}}}", "[".repeat(40), "]".repeat(40));
    for (what, body, expected) in [
        ("no body", String::new(), (400, INVALID, None)),
        ("half a body", "{\"credits\":".to_owned(), (400, INVALID, None)),
        ("two bodies", format!("{good}{good}"), (400, INVALID, None)),
        ("NaN", "{\"credits\":NaN}".to_owned(), (400, INVALID, None)),
        (
            "27 digits that are no text",
            "{\"credits\":999999999999999999999999999}".to_owned(),
            (400, INVALID, Some("/credits")),
        ),
        (
            "a quantity of 27 digits",
            "{\"model\":\"m\",\"usage\":{\"input_tokens\":999999999999999999999999999}}".to_owned(),
            (400, INVALID, Some("/usage/input_tokens")),
        ),
        (
            "description of no characters",
            "{\"credits\":\"1\",\"description\":\"\"}".to_owned(),
            (400, INVALID, Some("/description")),
        ),
        ("a comment", format!("{good} // one"), (400, INVALID, None)),
        ("single quotes", "{'credits':'1'}".to_owned(), (400, INVALID, None)),
        (
            "a repeated field",
            "{\"credits\":\"1\",\"credits\":\"2\"}".to_owned(),
            (400, INVALID, Some("/credits")),
        ),
        (
            "a field repeated in another spelling",
            "{\"credits\":\"1\",\"cr\\u0065dits\":\"1\"}".to_owned(),
            (400, INVALID, Some("/credits")),
        ),
        ("a number that no float holds", "{\"credits\":1e999}".to_owned(), (400, INVALID, None)),
        (
            "a text of 65,537 bytes",
            json!({"credits": "1", "description": "a".repeat(65_537)}).to_string(),
            (400, INVALID, Some("/description")),
        ),
        ("40 levels", deep, (400, INVALID, Some(&*format!("/metadata{}", "/0".repeat(31))))),
        (
            "2 MB",
            json!({"credits": "1", "description": "a".repeat(2_000_000)}).to_string(),
            (413, "payload_too_large", None),
        ),
    ] {
        untouched.check(what, untouched.post("charges").raw(body), expected).await;
    }

    let plain = || untouched.post("charges").body(good.clone());
    for (what, call) in [
        ("no content type", plain()),
        ("another content type", plain().header("content-type", "text/plain")),
        ("a form", plain().header("content-type", "application/x-www-form-urlencoded")),
        ("another charset", plain().header("content-type", "application/json; charset=latin1")),
        (
            "a compressed body where none is taken",
            plain().header("content-type", "application/json").header("content-encoding", "gzip"),
        ),
        (
            "an encoding that nobody knows",
            plain().header("content-type", "application/json").header("content-encoding", "br"),
        ),
    ] {
        untouched.check(what, call, (400, INVALID, None)).await;
    }
}

#[tokio::test]
async fn keys_and_accounts() {
    let untouched = Untouched::new().await;
    let Untouched { api, account, .. } = &untouched;
    let body = json!({"credits": "1"});
    let charges = api.post(&format!("/v1/accounts/{account}/charges")).json(&body);
    for (what, call, expected) in [
        ("no key", charges.clone(), (400, "idempotency_key_missing", None)),
        ("an empty key", charges.clone().key(""), (400, INVALID, None)),
        ("a key with a blank", charges.clone().key("a b"), (400, INVALID, None)),
        ("a key of 256 characters", charges.clone().key(&"k".repeat(256)), (400, INVALID, None)),
        (
            "an account that is not there",
            charge(api, &unique("nobody"), "k", "1"),
            (404, "account_not_found", None),
        ),
        (
            "another query than the route has",
            api.get(&format!("/v1/accounts/{account}/transactions?page=2")),
            (400, INVALID, None),
        ),
    ] {
        untouched.check(what, call, expected).await;
    }

    // Gateways differ in what they decode before they look for a route: some of these have none.
    let long = "a".repeat(129);
    for odd in [
        "..",
        ".",
        "%2e%2e",
        "...",
        "..%2f",
        "%2e%2e%2fapi-keys",
        "%00",
        "a%00",
        "a%0ab",
        "a%09b",
        "%20",
        "a%20b",
        "a%2Fb",
        "a%5Cb",
        "a%23b",
        "a%3Fb",
        "%C3%BC",
        "%FF",
        "%ED%A0%80",
        "a%25b",
        "a%2525b",
        "*",
        "a;b",
        "a,b",
        "a'b",
        "a%22b",
        "%7B%7D",
        "$",
        "~",
        &long,
    ] {
        for call in [charge(api, odd, "k", "1"), api.get(&format!("/v1/accounts/{odd}"))] {
            let answer = call.send().await;
            let what = format!("account {odd:?}: {}", answer.text());
            assert!(matches!(answer.status, 400 | 404), "{} {what}", answer.status);
            let code = answer.code();
            // An id that is no id is not said to be nobody's.
            assert!(matches!(code.as_str(), "" | INVALID | "not_found"), "{what}");
        }
    }

    // The longest and the oddest that is an id.
    let odd = format!("{}%7C@+:_.-{}", unique("odd"), "z".repeat(90));
    open_odd(api, &odd).await;
}

async fn open_odd(api: &Client, odd: &str) {
    api.put(&format!("/v1/accounts/{odd}")).json(&json!({})).send().await.expect(200);
    let account = api.get(&format!("/v1/accounts/{odd}")).send().await.expect(200);
    assert_eq!(account["account"], odd.replace("%7C", "|"));
}

#[tokio::test]
async fn what_an_account_does_not_have() {
    let api = shared().api();
    let account = open(&api, "refuse", "10").await;
    let path = format!("/v1/accounts/{account}");
    let settings = json!({"overuse": "refuse", "credit_line": "5", "reason": "a test"});
    api.put(&path).json(&settings).send().await.expect(200);
    let before = journal(&api, &account).await;

    let refused = charge(&api, &account, "too-much", "15.5").send().await;
    assert_eq!((refused.status, &*refused.code()), (402, "insufficient_credits"));
    let problem = refused.value();
    let said = ["available", "required", "shortfall"].map(|name| problem[name].clone());
    assert_eq!(said, ["10", "15.5", "0.5"]);
    assert_eq!(journal(&api, &account).await, before);

    // The refused request has used up no key.
    charge(&api, &account, "too-much", "15").send().await.expect(201);
    assert_eq!(balance(&api, &account).await["posted"], "-5");

    // What somebody was promised as the most is the most; the rest is written as forgiven.
    api.put(&path).json(&json!({"overuse": "forgive"})).send().await.expect(200);
    let body = json!({"credits": "7", "max_credits": "3"});
    let forgiven =
        api.post(&format!("{path}/charges")).key("forgiven").json(&body).send().await.expect(201);
    assert_eq!(forgiven["operation"]["forgiven"], "7");
    assert_eq!(forgiven["balance"]["posted"], "-5");
}

#[tokio::test]
async fn more_grants_than_an_account_holds() {
    let stack = shared();
    let api = stack.api();
    let account = unique("full");
    let path = format!("/v1/accounts/{account}/grants");
    let mut grants = JoinSet::new();
    for number in 0..6 {
        let (api, path) = (api.clone(), path.clone());
        grants.spawn(async move {
            for grant in 0..10 {
                let body = json!({
                    "credits": "1", "source": "promo", "reason": "a test",
                    "expires_at": from_now(86_400 + 3_600 * grant),
                });
                let call = api.post(&path).key(&format!("{number}-{grant}")).json(&body);
                landed(call).await.expect(201);
            }
        });
    }
    grants.join_all().await;
    let before = journal(&api, &account).await;
    let body = json!({"credits": "1", "source": "promo", "reason": "one too many"});
    let call = api.post(&path).key("61").json(&body);
    check("a 61st gift", call, (422, "limit_exceeded", None)).await;
    assert_eq!(journal(&api, &account).await, before);
    assert_eq!(before.len(), 60);

    // What was bought is never refused: four places are kept for it, and beyond them it merges.
    for number in 0..8 {
        let payment = json!({
            "type": "payment.succeeded",
            "data": {"account": account, "payment": unique("pay"), "credits": "10"},
        });
        let paid = stack.webhook(now(), &payment).send().await.expect(200);
        assert_eq!(paid["balance"]["posted"], (60 + 10 * (number + 1)).to_string());
    }
    charge(&api, &account, "all", "140").send().await.expect(201);
    assert_eq!(balance(&api, &account).await["posted"], "0");
}

#[tokio::test]
async fn estimates() {
    let untouched = Untouched::new().await;
    let item = usage(json!({"input_tokens": 1}));
    let bounds = |bounds: Value| json!({"items": [usage(json!({"input_tokens": bounds}))]});
    let at = Some("/items/0/usage/input_tokens");
    for (what, body, expected) in [
        ("no items", json!({"items": []}), (400, INVALID, Some("/items"))),
        ("51 items", json!({"items": vec![&item; 51]}), (400, INVALID, Some("/items"))),
        ("items left out", json!({}), (400, INVALID, Some(""))),
        ("min above max", bounds(json!({"min": 2, "expected": 1, "max": 3})), (400, INVALID, at)),
        ("bounds that lack one", bounds(json!({"min": 2, "max": 3})), (400, INVALID, at)),
        (
            "a float bound",
            bounds(json!({"min": 1, "expected": 1.5, "max": 3})),
            (400, INVALID, Some("/items/0/usage/input_tokens/expected")),
        ),
        (
            "an account that is none",
            json!({"account": "../x", "items": [item]}),
            (400, INVALID, Some("/account")),
        ),
        (
            "an account that is not there",
            json!({"account": unique("nobody"), "items": [item]}),
            (404, "account_not_found", None),
        ),
        (
            "an unknown model",
            json!({"items": [item, {"model": "nobody/nothing", "usage": {"input_tokens": 1}}]}),
            (422, "unknown_model", Some("/items/1/model")),
        ),
    ] {
        untouched.check(what, untouched.api.post("/v1/estimates").json(&body), expected).await;
    }
}

#[tokio::test]
async fn grants_and_settings() {
    let untouched = Untouched::new().await;
    let grant = |field: &str, value: Value| {
        let mut body = json!({"credits": "1", "source": "promo", "reason": "a test"});
        body[field] = value;
        untouched.post("grants").json(&body)
    };
    let path = format!("/v1/accounts/{}", untouched.account);
    let settings = |body: Value| untouched.api.put(&path).json(&body);
    for (what, call, expected) in [
        ("zero credits", grant("credits", json!("0")), (400, INVALID, Some("/credits"))),
        ("negative credits", grant("credits", json!("-1")), (400, INVALID, Some("/credits"))),
        ("float credits", grant("credits", json!(1.0)), (400, INVALID, Some("/credits"))),
        (
            "over 10^12",
            grant("credits", json!("1000000000000.1")),
            (400, INVALID, Some("/credits")),
        ),
        ("an unknown source", grant("source", json!("theft")), (400, INVALID, Some("/source"))),
        ("a priority of 256", grant("priority", json!(256)), (400, INVALID, Some("/priority"))),
        (
            "an expiry that is over",
            grant("expires_at", json!(from_now(-60))),
            (400, INVALID, Some("/expires_at")),
        ),
        (
            "a gift that was paid",
            grant("paid", json!({"amount": "1", "currency": "USD"})),
            (400, INVALID, Some("/paid")),
        ),
        ("no reason", grant("reason", json!("")), (400, INVALID, Some("/reason"))),
        ("a null reason", grant("reason", Value::Null), (400, INVALID, Some("/reason"))),
        (
            "an unknown overuse",
            settings(json!({"overuse": "ignore"})),
            (400, INVALID, Some("/overuse")),
        ),
        (
            "a negative credit line",
            settings(json!({"credit_line": "-1", "reason": "a test"})),
            (400, INVALID, Some("/credit_line")),
        ),
        (
            "a credit line without a reason",
            settings(json!({"credit_line": "5"})),
            (400, INVALID, Some("/reason")),
        ),
        (
            "a price group that is not in the table",
            settings(json!({"price_group": "friends"})),
            (409, "unknown_price_group", None),
        ),
    ] {
        untouched.check(what, call, expected).await;
    }
}

#[tokio::test]
async fn plans_and_credentials() {
    let untouched = Untouched::new().await;
    let api = &untouched.api;
    let plan = |field: &str, value: Value| {
        let mut body = json!({
            "name": "P", "interval": "month", "credits_interval": "month", "credits": "1",
        });
        body[field] = value;
        api.put(&format!("/v1/plans/{}", unique("bad-plan"))).json(&body)
    };
    let subscribe = |body: Value| untouched.post("subscriptions").json(&body);
    let path = format!("/v1/accounts/{}/tokens", untouched.account);
    let token = |body: Value| api.post(&path).json(&body);
    let key = |body: Value| api.post("/v1/api-keys").json(&body);
    for (what, call, expected) in [
        ("a plan of float credits", plan("credits", json!(1.5)), (400, INVALID, Some("/credits"))),
        ("a plan of no credits", plan("credits", json!("0")), (400, INVALID, Some("/credits"))),
        ("a plan by the week", plan("interval", json!("week")), (400, INVALID, Some("/interval"))),
        (
            "a plan of which more rolls over at least than at most",
            plan("rollover", json!({"min": "2", "max": "1"})),
            (400, INVALID, Some("/rollover/min")),
        ),
        (
            "a plan of which too much rolls over",
            plan("rollover", json!({"max": "1000000000000.000001"})),
            (400, INVALID, Some("/rollover/max")),
        ),
        (
            "a plan of which nobody knows how much rolls over",
            plan("rollover", json!({"min": "1"})),
            (400, INVALID, Some("/rollover")),
        ),
        (
            "a plan that is not there",
            subscribe(json!({"plan": unique("no-plan")})),
            (404, "not_found", None),
        ),
        (
            "a plan that is no id",
            subscribe(json!({"plan": "../starter"})),
            (400, INVALID, Some("/plan")),
        ),
        (
            "a beginning two years ago",
            subscribe(json!({"plan": "starter", "starts_at": from_now(-731 * 86_400)})),
            (400, INVALID, Some("/starts_at")),
        ),
        (
            "a token that charges",
            token(json!({"scopes": ["charge"]})),
            (400, INVALID, Some("/scopes")),
        ),
        ("a token for nothing", token(json!({"scopes": []})), (400, INVALID, Some("/scopes"))),
        (
            "a token of a day",
            token(json!({"scopes": ["read"], "ttl_seconds": 86_400})),
            (400, INVALID, Some("/ttl_seconds")),
        ),
        (
            "a token for no time",
            token(json!({"scopes": ["read"], "ttl_seconds": 0})),
            (400, INVALID, Some("/ttl_seconds")),
        ),
        (
            "an API key for nothing",
            key(json!({"name": "bad", "scopes": []})),
            (400, INVALID, Some("/scopes")),
        ),
        (
            "an API key for everything",
            key(json!({"name": "bad", "scopes": ["*"]})),
            (400, INVALID, Some("/scopes/0")),
        ),
        (
            "an API key without a name",
            key(json!({"name": "", "scopes": ["read"]})),
            (400, INVALID, Some("/name")),
        ),
    ] {
        untouched.check(what, call, expected).await;
    }
}

#[tokio::test]
async fn webhooks() {
    let stack = shared();
    let untouched = Untouched::new().await;
    let payment = |account: &str, payment: &str, credits: Value| {
        json!({
            "type": "payment.succeeded",
            "data": {"account": account, "payment": payment, "credits": credits},
        })
    };
    let own = payment(&untouched.account, &unique("pay"), json!("1000"));
    let other = payment(&untouched.account, &unique("pay"), json!("9999")).to_string();
    let secret = &stack.webhook_secret;
    let wrong = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let (text, ago) = (own.to_string(), now().saturating_add_millis(-301_000));
    let seconds = |at: Timestamp| (at.millis() / 1_000).to_string();
    // A signature that was good for another id, or for another time.
    let replayed = |header: &str, value: &str| {
        stack
            .signed(secret, now().saturating_add_millis(-60_000), &text, &text)
            .without(header)
            .header(header, value)
    };
    let bare = || stack.anonymous().post("/v1/webhooks/payments").raw(text.clone());
    let refused = (401, "invalid_signature", None);
    for (what, call) in [
        ("no signature", bare()),
        ("a wrong secret", stack.signed(wrong, now(), &text, &text)),
        ("an old signature", stack.signed(secret, ago, &text, &text)),
        (
            "a signature of tomorrow",
            stack.signed(secret, now().saturating_add_millis(86_400_000), &text, &text),
        ),
        ("a signature of another body", stack.signed(secret, now(), &text, &other)),
        (
            "a signature of nothing",
            bare()
                .header("webhook-id", "msg_1")
                .header("webhook-timestamp", &seconds(now()))
                .header("webhook-signature", "v1,"),
        ),
        (
            "a time that is no number",
            bare()
                .header("webhook-id", "msg_1")
                .header("webhook-timestamp", "now")
                .header("webhook-signature", "v1,AAAA"),
        ),
        ("another delivery's signature", replayed("webhook-id", "msg_other")),
        ("an old signature with a new time", replayed("webhook-timestamp", &seconds(now()))),
        ("an API key instead", stack.api().post("/v1/webhooks/payments").raw(text.clone())),
    ] {
        untouched.check(what, call, refused).await;
    }

    // Signed, but not understood.
    let with = |field: &str, value: Value| {
        let mut body = own.clone();
        body["data"][field] = value;
        stack.webhook(now(), &body)
    };
    for (what, call, expected) in [
        ("float credits", with("credits", json!(1.5)), (400, INVALID, Some("/data/credits"))),
        ("no credits", with("credits", json!("0")), (400, INVALID, Some("/data/credits"))),
        ("an unknown field", with("bonus", json!("1")), (400, INVALID, Some("/data/bonus"))),
        (
            "an account that is none",
            with("account", json!("..")),
            (400, INVALID, Some("/data/account")),
        ),
        ("an amount of no currency", with("amount", json!("1")), (400, INVALID, Some("/data"))),
    ] {
        untouched.check(what, call, expected).await;
    }

    // What is not a payment is acknowledged, and changes nothing.
    let mut failed = own.clone();
    failed["type"] = json!("payment.failed");
    let ignored = stack.webhook(now(), &failed).send().await.expect(200);
    assert_eq!(ignored, json!({"status": "ignored"}));

    // A payment counts once for ever, whatever account and amount a second delivery names.
    let paid = payment(&unique("payer"), &unique("pay"), json!("10"));
    let first = stack.webhook(now(), &paid).send().await.expect(200);
    assert_eq!(first["status"], "credited");
    for (field, value) in [("account", json!(untouched.account)), ("credits", json!("11"))] {
        let mut again = paid.clone();
        again["data"][field] = value;
        let call = stack.webhook(now(), &again);
        untouched.check("another delivery", call, (409, "conflict", None)).await;
    }
}

#[tokio::test]
async fn ratio_tables() {
    let api = shared().api();
    let check_both = async |what: &str, table: &Value, code: &str, pointers: &[&str]| {
        let current = api.get("/v1/ratios").send().await;
        let put = api
            .put("/v1/ratios")
            .header("if-match", current.header("etag").unwrap())
            .json(table)
            .send()
            .await;
        let validated = api.post("/v1/ratios/validate").json(table).send().await;
        for answer in [put, validated] {
            let said = (answer.status, answer.code());
            assert_eq!(said, (422, code.to_owned()), "{what}: {}", answer.text());
            assert_eq!(answer.pointers(), pointers, "{what}: {}", answer.text());
        }
    };
    let name = unique("e2e/bad");
    let escaped = name.replace('/', "~1");
    let at = |rest: &str| format!("/models/{escaped}{rest}");
    let mut table = event_json("ratios.example.json");
    table["models"][&name] = text_model("1", "2");

    // Every field that is missing is named, at once.
    let mut incomplete = table.clone();
    incomplete["credit"]["scale"] = Value::Null;
    incomplete["models"][&name]["name"] = Value::Null;
    incomplete["models"][&name]["ratios"][0]["credits"] = Value::Null;
    incomplete["models"][&name]["ratios"].as_array_mut().unwrap().truncate(1);
    let answer = api.post("/v1/ratios/validate").json(&incomplete).send().await;
    let (scale, title, price, output) =
        ("/credit/scale".to_owned(), at("/name"), at("/ratios/0/credits"), at("/ratios"));
    let expected = [scale, title, price, output];
    let named = answer.pointers();
    assert_eq!(answer.code(), "ratios_incomplete");
    assert!(expected.iter().all(|pointer| named.contains(pointer)), "{}", answer.text());
    let named: Vec<&str> = named.iter().map(String::as_str).collect();
    check_both("missing fields", &incomplete, "ratios_incomplete", &named).await;

    // A pair of rows that can hold together, neither of which implies the other.
    let mut ambiguous = table.clone();
    let rows = ambiguous["models"][&name]["ratios"].as_array_mut().unwrap();
    for when in [json!({"service_class": "batch"}), json!({"prompt_tokens": {"gt": 1000}})] {
        rows.push(json!({
            "dimension": "input_tokens", "credits": "1", "per": 1_000_000, "when": when,
        }));
    }
    let answer = api.post("/v1/ratios/validate").json(&ambiguous).send().await;
    assert_eq!(answer.code(), "ratios_invalid");
    assert!(answer.text().contains("/ratios/2") && answer.text().contains("/ratios/3"));
    let named = answer.pointers();
    assert!(named.iter().all(|pointer| pointer.starts_with(&at("/ratios/"))), "{named:?}");

    // What can't be a price.
    for (field, value) in [
        ("credits", json!(1.5)),
        ("credits", json!("1e9")),
        ("credits", json!("-1")),
        ("credits", json!("0.1234567890123")),
        ("per", json!(3)),
        ("per", json!("1000000")),
        ("dimension", json!("Cached")),
        ("credit", json!("1")),
    ] {
        let mut bad = table.clone();
        let rows = bad["models"][&name]["ratios"].as_array_mut().unwrap();
        rows.push(json!({"dimension": "cache_read_tokens", "credits": "1", "per": 1_000_000}));
        rows[2][field] = value.clone();
        let pointer = at(&format!("/ratios/2/{field}"));
        check_both(&format!("{field} {value}"), &bad, "ratios_invalid", &[&pointer]).await;
    }

    // Nothing of it was stored.
    let stored = api.get("/v1/ratios").send().await.expect(200);
    assert_eq!(stored["models"].get(&name), None);

    // A model that is switched off is as unknown as one that never was.
    let mut off = text_model("1", "2");
    off["enabled"] = json!(false);
    let version = publish(&api, |models| models[&name] = off.clone()).await;
    let request = json!({
        "ratio_version": version, "items": [{"model": name, "usage": {"input_tokens": 1}}],
    });
    let answer = super::stack::priced(api.post("/v1/estimates").json(&request)).await;
    assert_eq!(answer.code(), "unknown_model", "{}", answer.text());
}

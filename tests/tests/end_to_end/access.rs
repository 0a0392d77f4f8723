//! Who may do what: every route, without a credential, with a wrong one, with too weak a one.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use uc_local::wiring;
use uc_tests::client::{Call, Client};

use super::stack::{balance, charge, grant, journal, open, shared, unique};

const SCOPES: [&str; 8] =
    ["estimate", "charge", "read", "topup", "grant", "ratios:admin", "plans:admin", "keys:admin"];

/// One operation of the API's description.
struct Operation {
    id: String,
    method: String,
    path: String,
    /// The scope that it asks for; empty where it depends on the request, `None` where none.
    scope: Option<String>,
}

impl Operation {
    fn all() -> Vec<Self> {
        let document: Value = serde_json::from_str(&wiring::description().unwrap()).unwrap();
        let mut all = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let needs = operation["security"].as_array().unwrap();
                // `{}` among them: nothing is needed, or not always.
                let open = needs.iter().any(|need| need.as_object().unwrap().is_empty());
                let scope = needs.iter().find_map(|need| need["bearer"].as_array());
                all.push(Self {
                    id: operation["operationId"].as_str().unwrap().to_owned(),
                    method: method.to_uppercase(),
                    path: path.clone(),
                    scope: scope.filter(|_| !open).map(|scopes| {
                        scopes.first().and_then(Value::as_str).unwrap_or_default().to_owned()
                    }),
                });
            }
        }
        all
    }

    /// The request, with a body where that says what is asked for.
    fn call(&self, client: &Client, account: &str) -> Call {
        let path = self
            .path
            .replace("{account}", account)
            .replace("{operation}", "op_1_0")
            .replace("{version}", "1")
            .replace("{plan}", "starter")
            .replace("{publication}", "p")
            .replace("{hold}", "hold_1_0")
            .replace("{grant}", "gr_1_0")
            .replace("{unrated}", "un_00000000000000000000000000000")
            .replace("{key}", "k");
        assert!(!path.contains('{'), "{path}");
        let query = if path == "/v1/ratios/models" { "?model=m" } else { "" };
        let call = client.call(&self.method, &format!("{path}{query}"));
        match self.id.as_str() {
            "create_account_token" => call.json(&json!({"scopes": ["read"]})),
            _ => call,
        }
    }
}

/// Makes an API key with these scopes.
async fn make_key(api: &Client, scopes: &[&str]) -> (String, Client) {
    let body = json!({"name": "end to end", "scopes": scopes});
    let made = api.post("/v1/api-keys").json(&body).send().await.expect(201);
    let id = made["id"].as_str().unwrap().to_owned();
    (id, api.with_credential(made["key"].as_str().unwrap()))
}

async fn delete_key(api: &Client, id: &str) {
    api.delete(&format!("/v1/api-keys/{id}")).send().await.expect(204);
}

/// Mints an account token.
pub async fn token(api: &Client, account: &str, body: &Value) -> Client {
    let minted =
        api.post(&format!("/v1/accounts/{account}/tokens")).json(body).send().await.expect(201);
    api.with_credential(minted["token"].as_str().unwrap())
}

#[tokio::test]
async fn no_route_answers_without_a_credential() {
    let stack = shared();
    let operations = Operation::all();
    assert!(operations.len() > 20);
    for operation in operations {
        // Whatever else is wrong with the request.
        let call = operation.call(&stack.anonymous(), "%00").raw("{");
        let answer = call.send().await;
        let got = (answer.status, answer.code());
        let what = format!("{}: {}", operation.id, answer.text());
        match operation.id.as_str() {
            "receive_payment_webhook" => {
                assert_eq!(got, (401, "invalid_signature".to_owned()), "{what}");
            }
            // Public by a setting.
            "list_rates" if answer.status == 200 => {}
            _ => {
                assert_eq!(got, (401, "unauthenticated".to_owned()), "{what}");
                assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{what}");
            }
        }
    }
}

#[tokio::test]
async fn a_bad_credential_is_refused_wherever_it_is_sent() {
    let stack = shared();
    let (_, secret) = stack.api_key.rsplit_once('_').unwrap();
    let other_secret = stack.api_key.replace(secret, &secret.chars().rev().collect::<String>());
    let part = |json: &str| {
        // Base64 without padding, by hand: nothing here needs a library.
        const DIGITS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut text = String::new();
        for bytes in json.as_bytes().chunks(3) {
            let group = bytes.iter().fold(0_u32, |group, byte| group << 8 | u32::from(*byte));
            let group = group << (8 * (3 - bytes.len()));
            for digit in 0..=bytes.len() {
                let index = (group >> (18 - 6 * digit)) & 63;
                text.push(char::from(DIGITS[usize::try_from(index).unwrap()]));
            }
        }
        text
    };
    let claims = part(
        r#"{"iss":"unified-credits","sub":"acme","scope":"read charge","iat":0,"exp":9999999999}"#,
    );
    let unsigned = format!("{}.{claims}.", part(r#"{"alg":"none","typ":"JWT"}"#));
    let symmetric = format!("{}.{claims}.AAAA", part(r#"{"alg":"HS256","typ":"JWT","kid":"k"}"#));
    let forged = format!("{}.{claims}.{}", part(r#"{"alg":"EdDSA","kid":"k"}"#), "A".repeat(86));
    for bad in ["x", "uc_", "uc_a_b", &other_secret, "a.b.c", &unsigned, &symmetric, &forged] {
        for path in ["/v1/accounts", "/v1/rates", "/v1/accounts/nobody"] {
            let answer = stack.anonymous().with_credential(bad).get(path).send().await;
            assert_eq!((answer.status, &*answer.code()), (401, "unauthenticated"), "{bad} {path}");
        }
    }
    let scheme = format!("Basic {}", stack.api_key);
    let answer =
        stack.anonymous().get("/v1/accounts").header("authorization", &scheme).send().await;
    assert_eq!(answer.code(), "unauthenticated");
}

#[tokio::test]
async fn every_route_asks_for_its_scope() {
    let api = shared().api();
    // For each scope a key that has all but that one.
    let mut lacking = BTreeMap::new();
    for scope in SCOPES {
        let others: Vec<_> = SCOPES.into_iter().filter(|other| *other != scope).collect();
        lacking.insert(scope, make_key(&api, &others).await);
    }
    let account = open(&api, "scopes", "10").await;
    for operation in Operation::all() {
        let Some(scope) = &operation.scope else { continue };
        // Minting hands on what the key has: the request asks for `read`.
        let scope = if scope.is_empty() { "read" } else { scope };
        let answer = operation.call(&lacking[scope].1, &account).send().await;
        let got = (answer.status, answer.code());
        assert_eq!(got, (403, "forbidden".to_owned()), "{} {}", operation.id, answer.text());
    }
    for (id, _) in lacking.values() {
        delete_key(&api, id).await;
    }
    assert_eq!(journal(&api, &account).await.len(), 1);
}

#[tokio::test]
async fn an_account_token_is_for_its_account_alone() {
    let api = shared().api();
    let own = open(&api, "own", "10").await;
    let (other, nobody) = (open(&api, "other", "10").await, unique("nobody"));
    let all = json!({"scopes": ["estimate", "read", "topup"], "actor": "member-7"});
    let browser = token(&api, &own, &all).await;

    // What it may.
    for path in ["", "/transactions", "/subscriptions"] {
        browser.get(&format!("/v1/accounts/{own}{path}")).send().await.expect(200);
    }
    let estimate = json!({"items": [{"model": "openai/gpt-5.1", "usage": {"input_tokens": 1}}]});
    let estimated = browser.post("/v1/estimates").json(&estimate).send().await.expect(200);
    assert_eq!(estimated["account"]["available"], "10", "its own account without naming it");
    browser.get("/v1/rates").send().await.expect(200);

    // Another account is forbidden, in the same words whether or not it exists.
    let operations = Operation::all();
    for operation in operations.iter().filter(|operation| operation.path.contains("{account}")) {
        let [existing, missing] =
            [&other, &nobody].map(|account| operation.call(&browser, account).send());
        let (existing, missing) = (existing.await, missing.await);
        assert_eq!((existing.status, &*existing.code()), (403, "forbidden"), "{}", operation.id);
        assert_eq!(existing.value(), missing.value(), "{}", operation.id);
    }
    let mut named = estimate.clone();
    let mut answers = Vec::new();
    for account in [&other, &nobody] {
        named["account"] = json!(account);
        answers.push(browser.post("/v1/estimates").json(&named).send().await);
        answers.push(browser.get(&format!("/v1/rates?account={account}")).send().await);
    }
    assert!(answers.iter().all(|answer| answer.status == 403));
    assert_eq!(answers[0].value(), answers[2].value());
    assert_eq!(answers[1].value(), answers[3].value());

    // Of its own account it sees much and moves nothing, and it administers nothing at all.
    let may = [
        "get_account",
        "list_transactions",
        "get_transaction",
        "list_subscriptions",
        "create_estimate",
        "list_rates",
        "receive_payment_webhook",
    ];
    for operation in operations.iter().filter(|operation| !may.contains(&operation.id.as_str())) {
        let answer = operation.call(&browser, &own).send().await;
        assert_eq!((answer.status, &*answer.code()), (403, "forbidden"), "{}", operation.id);
    }
    for account in [&own, &other] {
        assert_eq!(charge(&browser, account, "k", "1").send().await.status, 403);
        assert_eq!(balance(&api, account).await["posted"], "10");
    }

    // A token that may only estimate does not even see.
    let narrow = token(&api, &own, &json!({"scopes": ["estimate"]})).await;
    let answer = narrow.get(&format!("/v1/accounts/{own}")).send().await;
    assert_eq!((answer.status, &*answer.code()), (403, "forbidden"));
}

#[tokio::test]
async fn metadata_is_for_back_ends_unless_a_setting_shows_it() {
    let api = shared().api();
    let account = open(&api, "labels", "10").await;
    let path = format!("/v1/accounts/{account}");
    let body = json!({
        "credits": "1", "description": "a chat", "actor": "member-7",
        "metadata": {"margin": "40%"},
    });
    let charged =
        api.post(&format!("{path}/charges")).key("k").json(&body).send().await.expect(201);
    let operation = charged["operation"]["id"].as_str().unwrap();
    let browser = token(&api, &account, &json!({"scopes": ["read"]})).await;
    let seen = async |client: &Client| {
        let one = client.get(&format!("{path}/transactions/{operation}")).send().await.expect(200);
        let list = client.get(&format!("{path}/transactions?limit=1")).send().await.expect(200);
        let key =
            client.get(&format!("{path}/transactions?idempotency_key=k")).send().await.expect(200);
        assert_eq!((&one, &one), (&list["items"][0], &key["items"][0]));
        assert_eq!(one["actor"], "member-7");
        one["metadata"].clone()
    };
    let labels = json!({"margin": "40%"});
    assert_eq!((seen(&api).await, seen(&browser).await), (labels.clone(), Value::Null));
    let show = json!({"metadata_visible": true});
    api.put(&path).json(&show).send().await.expect(200);
    // The operation before the settings is not the last one any more.
    let one = browser.get(&format!("{path}/transactions/{operation}")).send().await.expect(200);
    assert_eq!(one["metadata"], labels);
}

#[tokio::test]
async fn api_keys_are_shown_once_and_listed_without_their_secret() {
    let api = shared().api();
    let (id, client) = make_key(&api, &["read", "charge"]).await;
    let account = open(&api, "keys", "10").await;
    charge(&client, &account, "k", "1").send().await.expect(201);
    let listed = super::stack::pages(&api, "/v1/api-keys?limit=100").await;
    let key = listed.iter().find(|key| key["id"] == json!(id)).unwrap();
    let fields: Vec<_> = key.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["created_at", "id", "name", "scopes"]);
    // It can't hand on what it does not have.
    let path = format!("/v1/accounts/{account}/tokens");
    let answer = client.post(&path).json(&json!({"scopes": ["estimate"]})).send().await;
    assert_eq!(answer.status, 403);
    delete_key(&api, &id).await;
    let answer = api.delete(&format!("/v1/api-keys/{id}")).send().await;
    assert_eq!((answer.status, &*answer.code()), (404, "not_found"));
    grant(&api, &account, "1").await;
}

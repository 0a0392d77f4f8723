//! Everything happens once: the same request again, another one under its key, lost answers,
//! sixteen clients at once.

use serde_json::{Value, json};
use tokio::task::JoinSet;
use uc_domain::Credits;
use uc_tests::client::{Answer, Call};

use super::scenario::assert_adds_up;
use super::stack::{balance, charge, credits, journal, landed, now, open, pages, shared, unique};

#[track_caller]
fn assert_replays(first: &Answer, again: &Answer) {
    assert_eq!(first.header("idempotent-replayed"), None);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    let (first, again) = (first.expect(201), again.expect(201));
    for field in ["operation", "balance", "grant"] {
        assert_eq!(first[field], again[field]);
    }
}

#[tokio::test]
async fn a_key_is_for_one_request() {
    let api = shared().api();
    let account = open(&api, "once", "100").await;
    let path = format!("/v1/accounts/{account}");
    let charges = || api.post(&format!("{path}/charges")).key("turn-1");

    let body =
        r#"{"model": "openai/gpt-5.1", "usage": {"input_tokens": 1000, "output_tokens": 10}}"#;
    let first = charges().raw(body).send().await;
    // Blanks and the order of fields make no difference.
    let same = r#"{"usage":{"output_tokens":10,"input_tokens":1000},"model":"openai/gpt-5.1"}"#;
    assert_replays(&first, &charges().raw(same).send().await);

    // Another body is another request, and so is another route, or another account is none.
    let reused = async |call: Call| {
        let answer = call.send().await;
        assert_eq!((answer.status, &*answer.code()), (422, "idempotency_key_reused"));
    };
    reused(charges().json(&json!({"credits": "1"}))).await;
    let other =
        r#"{"model": "openai/gpt-5.1", "usage": {"input_tokens": 1001, "output_tokens": 10}}"#;
    reused(charges().raw(other)).await;
    let grant = json!({"credits": "1", "source": "promo", "reason": "a test"});
    reused(api.post(&format!("{path}/grants")).key("turn-1").json(&grant)).await;
    let elsewhere = open(&api, "once", "100").await;
    charge(&api, &elsewhere, "turn-1", "1").send().await.expect(201);

    // Grants and subscriptions are no different.
    let grants = api.post(&format!("{path}/grants")).key("gift").json(&grant);
    assert_replays(&grants.clone().send().await, &grants.send().await);
    let plan = json!({"plan": "starter"});
    let subscribe = api.post(&format!("{path}/subscriptions")).key("sub").json(&plan);
    let (first, again) = (subscribe.clone().send().await, subscribe.send().await);
    assert_replays(&first, &again);
    assert_eq!(first.value()["subscription"]["id"], again.value()["subscription"]["id"]);
    let listed = api.get(&format!("{path}/subscriptions")).send().await.expect(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(journal(&api, &account).await.len(), 4);
}

#[tokio::test]
async fn a_refused_request_uses_up_no_key_and_a_replay_is_never_refused() {
    let api = shared().api();
    let account = open(&api, "refused", "10").await;
    let path = format!("/v1/accounts/{account}");
    let unknown = json!({"model": "nobody/nothing", "usage": {"input_tokens": 1}});
    for _ in 0..2 {
        let call = api.post(&format!("{path}/charges")).key("k");
        assert_eq!(call.json(&unknown).send().await.code(), "unknown_model");
    }
    let first = charge(&api, &account, "k", "10").send().await;
    // What would be refused now happened then.
    api.put(&path).json(&json!({"overuse": "refuse"})).send().await.expect(200);
    assert_replays(&first, &charge(&api, &account, "k", "10").send().await);
    let refused = charge(&api, &account, "k2", "10").send().await;
    assert_eq!((refused.status, &*refused.code()), (402, "insufficient_credits"));
}

#[tokio::test]
async fn the_key_tells_what_became_of_a_request_whose_answer_was_lost() {
    let api = shared().api();
    let account = open(&api, "lost", "10").await;
    let asked = format!("/v1/accounts/{account}/transactions?idempotency_key=conv%7C42%3A3");
    let none = api.get(&asked).send().await.expect(200);
    assert_eq!(none, json!({"items": [], "next_cursor": null}));
    let charged = charge(&api, &account, "conv|42:3", "1").send().await.expect(201);
    let found = api.get(&asked).send().await.expect(200);
    assert_eq!(found, json!({"items": [charged["operation"]], "next_cursor": null}));
}

/// 16 clients charge one account, each charge is sent twice at once: every one lands exactly once.
#[tokio::test]
async fn sixteen_clients_on_one_account() {
    const CLIENTS: usize = 16;
    const CHARGES: usize = 6;

    let api = shared().api();
    let account = open(&api, "sixteen", "50").await;
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (api, account) = (api.clone(), account.clone());
        clients.spawn(async move {
            for number in 0..CHARGES {
                let key = format!("client-{client}-charge-{number}");
                // Overuse on the way: from some charge on it is debt.
                let call = charge(&api, &account, &key, "1.000001");
                let (one, two) = tokio::join!(landed(call.clone()), landed(call));
                let replays = [&one, &two]
                    .map(|answer| answer.header("idempotent-replayed").is_some())
                    .into_iter()
                    .filter(|replayed| *replayed)
                    .count();
                // A request that was sent again after 503 may find itself.
                assert!(replays > 0, "{key} landed twice");
                assert_eq!(one.expect(201)["operation"], two.expect(201)["operation"]);
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }

    let operations = journal(&api, &account).await;
    let charges: Vec<&Value> =
        operations.iter().filter(|operation| operation["kind"] == "charge").collect();
    assert_eq!(charges.len(), CLIENTS * CHARGES);
    let mut keys: Vec<_> =
        charges.iter().map(|charge| charge["idempotency_key"].to_string()).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), CLIENTS * CHARGES);
    let has = balance(&api, &account).await;
    assert_adds_up(&operations, &has);
    let expected: Credits = "-46.000096".parse().unwrap();
    assert_eq!(credits(&has["posted"]), expected);
    let verified = shared().ledger().verify(&account.parse().unwrap()).await.unwrap();
    assert_eq!(usize::try_from(verified.entries).unwrap(), CLIENTS * CHARGES + 1);
}

#[tokio::test]
async fn one_payment_delivered_many_times_at_once() {
    let stack = shared();
    let api = stack.api();
    let (account, other) = (unique("payer"), unique("other"));
    let mut payment = json!({
        "type": "payment.succeeded",
        "data": {"account": account, "payment": unique("pay"), "credits": "10"},
    });
    let mut deliveries = JoinSet::new();
    for _ in 0..12 {
        let call = stack.webhook(now(), &payment);
        deliveries.spawn(async move { landed(call).await });
    }
    let received: Vec<_> =
        deliveries.join_all().await.iter().map(|answer| answer.expect(200)).collect();
    // One that was sent again after 503 may find itself.
    assert!(received.iter().filter(|received| received["status"] == "credited").count() <= 1);
    assert!(received.iter().all(|other| other["operation"] == received[0]["operation"]));
    assert_eq!(balance(&api, &account).await["posted"], "10");

    // Nor does it count for somebody else, who would have been opened by it.
    payment["data"]["account"] = json!(other);
    let answer = stack.webhook(now(), &payment).send().await;
    assert_eq!((answer.status, &*answer.code()), (409, "conflict"));
    assert_eq!(api.get(&format!("/v1/accounts/{other}")).send().await.status, 404);
}

#[tokio::test]
async fn an_account_that_many_open_at_once() {
    let api = shared().api();
    let account = unique("opened");
    let path = format!("/v1/accounts/{account}");
    let mut calls = JoinSet::new();
    for number in 0..8 {
        let gift = json!({"credits": "1", "source": "promo", "reason": "a test"});
        let grant = api.post(&format!("{path}/grants")).key(&format!("g{number}")).json(&gift);
        let settings = api.put(&path).json(&json!({"price_group": "pro"}));
        calls.spawn(async move { landed(grant).await.expect(201) });
        calls.spawn(async move { landed(settings).await.expect(200) });
    }
    calls.join_all().await;
    let operations = journal(&api, &account).await;
    let number = |kind: &str| operations.iter().filter(|op| op["kind"] == kind).count();
    assert_eq!((number("grant"), number("settings")), (8, 1));
    assert_adds_up(&operations, &balance(&api, &account).await);
    let everyone = pages(&api, "/v1/accounts?limit=100").await;
    assert_eq!(everyone.iter().filter(|one| one["account"] == json!(account)).count(), 1);
    shared().ledger().verify(&account.parse().unwrap()).await.unwrap();
}

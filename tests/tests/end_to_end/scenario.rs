//! The main job from end to end, as one story.

use serde_json::{Value, json};
use uc_domain::{AccountId, Credits};

use super::stack::{
    balance, charge, credits, event, event_json, from_now, journal, now, priced, publish, shared,
    unique,
};

/// What the story's model costs; with `output` as the price of a million output tokens.
fn model(output: &str) -> Value {
    let per_million =
        |dimension, credits| json!({"dimension": dimension, "credits": credits, "per": 1_000_000});
    json!({
        "feature": "text",
        "name": "The story's",
        "ratios": [
            per_million("input_tokens", "3000"),
            per_million("cache_read_tokens", "300"),
            per_million("cache_write_tokens", "3750"),
            per_million("cache_write_1h_tokens", "6000"),
            per_million("output_tokens", output),
            {"dimension": "web_searches", "credits": "12.5", "per": 1},
        ],
    })
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one story")]
async fn price_charge_top_up_renew() {
    let stack = shared();
    let api = stack.api();
    let account = unique("story");
    let name = unique("e2e/story");

    // An administrator publishes ratios.
    let version = publish(&api, |models| models[&name] = model("15000")).await;

    // A front end asks what a request would cost.
    let request = json!({
        "ratio_version": version,
        "items": [{"model": name, "usage": {
            "input_tokens": 1000, "output_tokens": {"min": 100, "expected": 400, "max": 2000},
        }}],
    });
    let estimate = priced(api.post("/v1/estimates").json(&request)).await.expect(200);
    assert_eq!(estimate["ratio_version"], version);
    assert_eq!(estimate["total"], json!({"min": "4.5", "expected": "9", "max": "33"}));

    // A payment's webhook tops the account up, and is delivered twice.
    let payment = json!({
        "type": "payment.succeeded",
        "data": {
            "account": account, "payment": unique("pay"), "credits": "60",
            "amount": "6.00", "currency": "USD",
        },
    });
    let webhook = stack.webhook(now(), &payment);
    let first = webhook.clone().send().await.expect(200);
    let second = webhook.send().await.expect(200);
    assert_eq!([&first["status"], &second["status"]], ["credited", "duplicate"]);
    assert_eq!(first["operation"], second["operation"]);
    assert_eq!(balance(&api, &account).await["posted"], "60");

    // A back end charges what a provider's response says was used.
    let path = format!("/v1/accounts/{account}/charges");
    let usage = json!({
        "model": name, "provider": "anthropic",
        "provider_response": event_json("responses/anthropic-messages.json"),
        "ratio_version": version, "actor": "member-7", "metadata": {"conversation": "conv_42"},
    });
    let turn = api.post(&path).key("turn-1").json(&usage);
    let charged = priced(turn.clone()).await;
    assert_eq!(charged.header("idempotent-replayed"), None);
    let charged = charged.expect(201);
    // 96 + 18,432 read + 1,536 written + 2,048 written for an hour + 305 tokens, 2 searches.
    assert_eq!(charged["operation"]["credits"], "-53.4406");
    assert_eq!(charged["balance"]["posted"], "6.5594");
    assert_eq!(charged["operation"]["lines"].as_array().unwrap().len(), 6);

    // Its answer was lost: the same key again.
    let again = turn.send().await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.expect(201)["operation"], charged["operation"]);
    assert_eq!(balance(&api, &account).await["posted"], "6.5594");

    // Overuse is never lost: the balance goes below zero.
    let over = charge(&api, &account, "turn-2", "20").send().await.expect(201);
    assert_eq!(
        over["balance"],
        json!({"posted": "-13.4406", "available": "-13.4406", "held": "0", "debt": "13.4406"})
    );
    assert_eq!((&over["allowed"], &over["reason"]), (&json!(false), &json!("debt")));

    // The front end is told not to start.
    let mut request = request;
    request["account"] = json!(account);
    let estimate = priced(api.post("/v1/estimates").json(&request)).await.expect(200);
    assert_eq!(
        estimate["account"],
        json!({
            "available": "-13.4406", "affordable": false, "shortfall": "46.4406",
            "allowed": false, "reason": "debt",
        })
    );

    // A top-up pays the debt first.
    let payment = json!({
        "type": "payment.succeeded",
        "data": {"account": account, "payment": unique("pay"), "credits": "100"},
    });
    let paid = stack.webhook(now(), &payment).send().await.expect(200);
    let debt_first = json!({"target": "debt", "credits": "13.4406"});
    assert_eq!(paid["operation"]["postings"][0], debt_first);
    assert_eq!(paid["balance"]["posted"], "86.5594");
    assert_eq!(paid["balance"]["debt"], "0");

    // A plan that began 40 days ago: its first month is over, its second was missed.
    let terms = json!({
        "name": "Story", "interval": "month", "credits_interval": "month", "credits": "1000",
    });
    // The same plan in every run: a deployment has a limited number of them.
    let plan = "e2e-story";
    api.put(&format!("/v1/plans/{plan}")).json(&terms).send().await.expect(200);
    let subscription = json!({"plan": plan, "starts_at": from_now(-40 * 86_400)});
    let subscribed = api
        .post(&format!("/v1/accounts/{account}/subscriptions"))
        .key("subscribe")
        .json(&subscription)
        .send()
        .await
        .expect(201);
    let id = &subscribed["subscription"]["id"];

    // The schedule fires twice at once, and grants what is due once.
    let schedule = event("schedule.json");
    tokio::join!(stack.invoke("plan-grant", &schedule), stack.invoke("plan-grant", &schedule));
    assert_eq!(balance(&api, &account).await["posted"], "1086.5594");

    // Everybody sees every movement, and they add up.
    let all = journal(&api, &account).await;
    let kinds: Vec<_> = all.iter().map(|operation| operation["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["grant", "charge", "charge", "grant", "grant", "expiry", "grant"]);
    assert_eq!(all.iter().filter(|operation| operation["subscription"] == *id).count(), 2);
    assert_adds_up(&all, &balance(&api, &account).await);

    // Nobody tampered with the journal.
    let id: AccountId = account.parse().unwrap();
    let verified = stack.ledger().verify(&id).await.unwrap();
    let entries = all.iter().map(entry_of).max();
    assert_eq!(Some(verified.entries), entries);

    // The table changes; what was charged is still explained by what it was charged by.
    let changed = publish(&api, |models| models[&name] = model("30000")).await;
    assert!(changed > version);
    request["ratio_version"] = json!(changed);
    let dearer = priced(api.post("/v1/estimates").json(&request)).await.expect(200);
    assert_eq!(dearer["total"]["expected"], "15");
    let operation = charged["operation"]["id"].as_str().unwrap();
    let explained = api
        .get(&format!("/v1/accounts/{account}/transactions/{operation}"))
        .send()
        .await
        .expect(200);
    assert_eq!(explained["lines"], charged["operation"]["lines"]);
    assert_eq!(explained["subtotal"], "53.4406");
    let table = api
        .get(&format!("/v1/ratios/versions/{}", explained["ratio_version"]))
        .send()
        .await
        .expect(200);
    let mut sum = Credits::ZERO;
    for line in explained["lines"].as_array().unwrap() {
        let row = table["models"][&name]["ratios"]
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["dimension"] == line["dimension"])
            .unwrap();
        assert_eq!(
            [&line["rate"]["credits"], &line["rate"]["per"]],
            [&row["credits"], &row["per"]]
        );
        sum = sum.checked_add(credits(&line["credits"])).unwrap();
    }
    assert_eq!(sum, credits(&explained["subtotal"]));
}

/// The entry that an operation is in: `op_<seq>_<position>`.
fn entry_of(operation: &Value) -> u64 {
    operation["id"].as_str().unwrap().split('_').nth(1).unwrap().parse().unwrap()
}

/// Every operation is the sum of its postings and leads from the balance before it to the one
/// after it; the last one leads to what the account has.
#[track_caller]
pub fn assert_adds_up(operations: &[Value], balance: &Value) {
    let mut posted = Credits::ZERO;
    for operation in operations {
        let mut sum = Credits::ZERO;
        for posting in operation["postings"].as_array().unwrap() {
            sum = sum.checked_add(credits(&posting["credits"])).unwrap();
        }
        assert_eq!(credits(&operation["credits"]), sum, "{operation}");
        posted = posted.checked_add(sum).unwrap();
        assert_eq!(credits(&operation["balance_after"]["posted"]), posted, "{operation}");
    }
    assert_eq!(credits(&balance["posted"]), posted);
}

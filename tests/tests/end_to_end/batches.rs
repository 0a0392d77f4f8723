//! Charges in batches and from the queue, and usage that no ratio prices.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uc_tests::client::Client;

use super::scenario::assert_adds_up;
use super::stack::{
    Own, Stack, balance, credits, event_json, journal, landed, now, open, pages, publish, shared,
    text_model, unique,
};

fn operation(account: &str, key: &str, credits: &str) -> Value {
    json!({"account": account, "idempotency_key": key, "credits": credits,
        "description": "for a test"})
}

async fn batch(api: &Client, operations: &[Value]) -> Vec<Value> {
    let body = json!({"operations": operations});
    let answer = api.post("/v1/charges/batch").json(&body).send().await.expect(200);
    answer["results"].as_array().unwrap().clone()
}

async fn adds_up(api: &Client, account: &str) {
    assert_adds_up(&journal(api, account).await, &balance(api, account).await);
}

/// Status, and the charge's credits or the problem's code.
fn became(result: &Value) -> (u64, String) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let status = result["status"].as_u64().unwrap();
    match status {
        201 => (status, text(&result["operation"]["credits"])),
        202 => (status, text(&result["unrated"]["reason"])),
        _ => {
            assert_eq!(result["error"]["status"], status, "{result}");
            (status, text(&result["error"]["code"]))
        }
    }
}

#[tokio::test]
async fn each_operation_of_a_batch_is_on_its_own() {
    let api = shared().api();
    let (one, two) = (open(&api, "one", "100").await, open(&api, "two", "5").await);
    let with = |mut operation: Value, field: &str, value: Value| {
        operation[field] = value;
        operation
    };
    let without = |mut operation: Value, field: &str| {
        operation.as_object_mut().unwrap().remove(field);
        operation
    };
    let usage = |model: &str| {
        json!({"account": one, "idempotency_key": unique("k"), "model": model,
            "usage": {"input_tokens": 1200, "output_tokens": 350}})
    };
    let simple = |key: &str| operation(&one, key, "1");
    let cases = [
        (operation(&one, "a", "10"), (201, "-10")),
        (with(simple("b"), "credits", json!(1.5)), (400, "invalid_request")),
        (operation(&two, "a", "7.5"), (201, "-7.5")),
        (operation(&unique("nobody"), "a", "1"), (404, "account_not_found")),
        (with(simple("c"), "credit", json!("1")), (400, "invalid_request")),
        (usage("openai/gpt-5.1"), (201, "-6.25")),
        (usage("nobody/nothing"), (422, "unknown_model")),
        (with(usage("nobody/nothing"), "on_unpriced", json!("park")), (202, "unknown_model")),
        (with(usage("nobody/nothing"), "on_unpriced", json!("lose")), (400, "invalid_request")),
        (without(simple("d"), "idempotency_key"), (400, "invalid_request")),
        (without(simple("d"), "account"), (400, "invalid_request")),
        (with(simple("d"), "account", json!("a/b")), (400, "invalid_request")),
        (with(simple("d e"), "actor", json!("ada")), (400, "invalid_request")),
        (with(simple("f"), "occurred_at", json!("2020-01-01T00:00:00Z")), (400, "invalid_request")),
        (json!("an operation"), (400, "invalid_request")),
        (with(simple("g"), "actor", json!("ada")), (201, "-1")),
    ];
    let operations: Vec<Value> = cases.iter().map(|(operation, _)| operation.clone()).collect();
    let results = batch(&api, &operations).await;
    assert_eq!(results.len(), cases.len());
    for ((operation, expected), result) in cases.iter().zip(&results) {
        assert_eq!(became(result), (expected.0, expected.1.to_owned()), "{operation} {result}");
        assert_eq!(result["replayed"], false);
    }
    assert_eq!(balance(&api, &one).await["posted"], "82.75");
    assert_eq!(balance(&api, &two).await["debt"], "2.5");

    // Again: what happened is told again, and nothing more happens.
    let again = batch(&api, &operations).await;
    for (first, again) in results.iter().zip(&again) {
        assert_eq!(became(first), became(again));
        assert_eq!(again["replayed"], first["status"].as_u64().unwrap() < 300);
        assert_eq!(again["operation"], first["operation"]);
        assert_eq!(again["unrated"], first["unrated"]);
    }
    // And one by one it is the same.
    let body = json!({"credits": "10", "description": "for a test"});
    let alone = api.post(&format!("/v1/accounts/{one}/charges")).key("a").json(&body);
    let alone = alone.send().await;
    assert_eq!(alone.header("idempotent-replayed"), Some("true"));
    assert_eq!(alone.expect(201)["operation"], results[0]["operation"]);
    // Under its key another one is another one.
    let other = batch(&api, &[operation(&one, "a", "11")]).await;
    assert_eq!(became(&other[0]), (422, "idempotency_key_reused".to_owned()));
    // Also where it comes too late to be charged: who asks what became of the first one is told.
    let late = with(operation(&one, "a", "10"), "occurred_at", json!("2020-01-01T00:00:00Z"));
    let late = batch(&api, &[late]).await;
    assert_eq!(became(&late[0]), (422, "idempotency_key_reused".to_owned()));
    for account in [&one, &two] {
        adds_up(&api, account).await;
    }
    // One account's charges are one entry, in the order of the batch.
    let charges: Vec<_> = journal(&api, &one).await.drain(1..).map(|op| op["id"].clone()).collect();
    assert_eq!(charges, ["op_2_0", "op_2_1", "op_2_2"]);
}

#[tokio::test]
async fn a_batch_that_is_wrong_as_a_whole_changes_nothing() {
    let api = shared().api();
    let account = open(&api, "whole", "100").await;
    let numbered = |count: usize| -> Vec<Value> {
        (0..count).map(|number| operation(&account, &format!("k-{number}"), "0.1")).collect()
    };
    let mut twice = numbered(3);
    twice.push(operation(&account, "k-1", "0.1"));
    for (body, status, code, pointer) in [
        (json!({"operations": []}), 400, "invalid_request", "/operations"),
        (json!({"operations": numbered(101)}), 422, "limit_exceeded", "/operations"),
        (json!({"operations": twice}), 400, "invalid_request", "/operations/3/idempotency_key"),
        (json!({"operations": numbered(1), "atomic": true}), 400, "invalid_request", "/atomic"),
        (json!({}), 400, "invalid_request", ""),
    ] {
        let answer = api.post("/v1/charges/batch").json(&body).send().await;
        assert_eq!((answer.status, &*answer.code()), (status, code), "{}", answer.text());
        assert_eq!(answer.pointers(), [pointer]);
    }
    assert_eq!(balance(&api, &account).await["posted"], "100");
    let results = batch(&api, &numbered(100)).await;
    assert!(results.iter().all(|result| result["status"] == 201));
    assert_eq!(balance(&api, &account).await["posted"], "90");

    let body = json!({"scopes": ["read"], "name": "reads"});
    let key = api.post("/v1/api-keys").json(&body).send().await.expect(201)["key"].clone();
    let reader = shared().anonymous().with_credential(key.as_str().unwrap());
    for call in [
        reader.post("/v1/charges/batch").json(&json!({"operations": numbered(1)})),
        reader.get("/v1/unrated"),
        reader.post("/v1/unrated/un_0/rate").json(&json!({})),
    ] {
        assert_eq!(call.send().await.code(), "forbidden");
    }
}

#[tokio::test]
async fn usage_without_a_price_is_kept_and_rated_once() {
    let api = shared().api();
    let account = open(&api, "unrated", "100").await;
    let model = unique("newcomer/model");
    let charge = |key: &str, input: u32| {
        api.post(&format!("/v1/accounts/{account}/charges")).key(key).json(&json!({
            "model": model, "usage": {"input_tokens": input, "output_tokens": 10},
            "on_unpriced": "park", "actor": "ada", "metadata": {"turn": "1"},
        }))
    };
    let unrated = async || pages(&api, &format!("/v1/unrated?account={account}&limit=1")).await;

    let parked = charge("k", 1_000_000).send().await;
    assert_eq!(parked.header("idempotent-replayed"), None);
    let parked = parked.expect(202)["unrated"].clone();
    assert_eq!(parked["reason"], "unknown_model");
    assert_eq!(parked["items"][0]["usage"]["input_tokens"], 1_000_000);
    // Its key is used up, as a charge's is.
    let again = charge("k", 1_000_000).send().await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.expect(202)["unrated"], parked);
    assert_eq!(charge("k", 1_000_001).send().await.code(), "idempotency_key_reused");
    charge("l", 1_000_000).send().await.expect(202);
    let listed = unrated().await;
    assert_eq!(listed.len(), 2, "{listed:?}");
    assert_eq!(listed[0], parked);
    assert!(pages(&api, "/v1/unrated?limit=100").await.contains(&parked));
    let none = api.get(&format!("/v1/accounts/{account}/transactions?idempotency_key=k"));
    let none = none.send().await.expect(200);
    assert_eq!(none["items"], json!([]), "nothing has happened yet");
    assert_eq!(none["unrated"], parked["id"]);

    let id = parked["id"].as_str().unwrap();
    let rate = |body: Value| api.post(&format!("/v1/unrated/{id}/rate")).json(&body);
    assert_eq!(rate(json!({})).send().await.code(), "unknown_model");
    assert_eq!(unrated().await.len(), 2, "it stays");
    let version = publish(&api, |models| models[&model] = text_model("20", "10")).await;
    // Now that there is a price, what is kept is still what the request has come to.
    charge("k", 1_000_000).send().await.expect(202);

    let rated = landed(rate(json!({"ratio_version": version}))).await;
    assert_eq!(rated.header("idempotent-replayed"), None);
    let rated = rated.expect(201);
    assert_eq!(rated["operation"]["credits"], "-20.0001");
    assert_eq!(rated["operation"]["ratio_version"], version);
    assert_eq!(rated["operation"]["idempotency_key"], "k");
    assert_eq!(rated["operation"]["actor"], "ada");
    assert_eq!(rated["operation"]["occurred_at"], parked["parked_at"]);
    // Asked again, whichever way, it is the same charge.
    for call in [rate(json!({})), rate(json!({"ratio_version": 1})), charge("k", 1_000_000)] {
        let again = call.send().await;
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        assert_eq!(again.expect(201)["operation"], rated["operation"]);
    }
    assert_eq!(charge("k", 1_000_001).send().await.code(), "idempotency_key_reused");
    assert_eq!(unrated().await.len(), 1, "the other one");
    assert_eq!(balance(&api, &account).await["posted"], "79.9999");
    adds_up(&api, &account).await;

    for id in ["un_0", "op_1_0", "un_00000000000000000000000000000"] {
        let answer = api.post(&format!("/v1/unrated/{id}/rate")).json(&json!({})).send().await;
        assert_eq!((answer.status, &*answer.code()), (404, "not_found"), "{id}");
    }
    let cursor = api.get("/v1/unrated?limit=1").send().await.value()["next_cursor"].clone();
    let cursor = cursor.as_str().unwrap_or("AQ");
    let other = api.get(&format!("/v1/unrated?account={account}&cursor={cursor}")).send().await;
    assert_eq!(other.code(), "invalid_request", "a cursor of another list");
}

/// An event of the queue, of messages with the time when they were sent.
fn queue_event(messages: &[(String, i64)]) -> String {
    let record = |(index, (body, sent)): (usize, &(String, i64))| {
        json!({"messageId": format!("m-{index}"), "receiptHandle": "r", "body": body,
            "attributes": {"SentTimestamp": sent.to_string()}, "eventSource": "aws:sqs"})
    };
    json!({"Records": messages.iter().enumerate().map(record).collect::<Vec<_>>()}).to_string()
}

fn failed(report: &Value) -> Vec<String> {
    let failures = report["batchItemFailures"].as_array().unwrap();
    let id = |failure: &Value| failure["itemIdentifier"].as_str().unwrap().to_owned();
    let mut failed: Vec<_> = failures.iter().map(id).collect();
    failed.sort();
    failed
}

#[tokio::test]
async fn messages_are_charged_in_the_order_sent_and_bad_ones_reported() {
    let stack = shared();
    let api = stack.api();
    let account = open(&api, "queue", "100").await;
    let sent = now().millis();
    let message = |key: &str, credits: &str, ago: i64| {
        (operation(&account, key, credits).to_string(), sent - ago)
    };
    let unpriced = json!({"account": account, "idempotency_key": "new", "model": "nobody/new",
        "usage": {"input_tokens": 1}});
    let messages = [
        message("third", "3", 1_000),
        ("no json".to_owned(), sent),
        message("first", "1", 3_000),
        (operation(&unique("nobody"), "k", "1").to_string(), sent),
        message("second", "2", 2_000),
        message("fourth", "-1", 500),
        // Sent twice, as happens.
        message("first", "1", 100),
        message("first", "1.5", 50),
        (unpriced.to_string(), sent),
        (json!([1]).to_string(), sent),
    ];
    let event = queue_event(&messages);
    let report = stack.invoke("charge-queue", &event).await;
    assert_eq!(failed(&report), ["m-1", "m-3", "m-5", "m-7", "m-9"]);
    let keys: Vec<_> = journal(&api, &account).await[1..]
        .iter()
        .map(|operation| operation["idempotency_key"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(keys, ["first", "second", "third"]);
    let kept = pages(&api, &format!("/v1/unrated?account={account}&limit=10")).await;
    assert_eq!(kept.len(), 1, "usage without a price is kept, not refused");
    // The same event again, as when its answer was lost.
    assert_eq!(failed(&stack.invoke("charge-queue", &event).await), failed(&report));
    assert_eq!(balance(&api, &account).await["posted"], "94");
    adds_up(&api, &account).await;

    // What is no event of the queue is an error: nothing of it is done.
    let path = "/2015-03-31/functions/charge-queue/invocations";
    let answer = stack.anonymous().post(path).raw("{\"Records\":[{}]}").send().await;
    assert!(answer.value()["errorMessage"].is_string(), "{}", answer.text());
}

#[tokio::test]
async fn the_event_of_the_repository() {
    let stack = shared();
    let api = stack.api();
    let grant = json!({"credits": "100", "source": "promo", "reason": "for a test"});
    api.post("/v1/accounts/acme/grants").key(&unique("g")).json(&grant).send().await.expect(201);
    let event = event_json("queue.json");
    let report = stack.invoke("charge-queue", &event.to_string()).await;
    let last = event["Records"].as_array().unwrap().last().unwrap();
    assert_eq!(failed(&report), [last["messageId"].as_str().unwrap()], "the last one is no charge");
    let path = "/v1/accounts/acme/transactions?idempotency_key=queue-turn-1";
    let charged = api.get(path).send().await.expect(200);
    assert_eq!(charged["items"][0]["credits"], "-6.25");
}

/// A request to the embedded SQS.
async fn sqs(queue: &str, action: &str, mut body: Value) -> Value {
    body["QueueUrl"] = json!(queue);
    let host = queue.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
    let target = format!("AmazonSQS.{action}");
    let call = Client::new(&host).post("/").header("x-amz-target", &target);
    call.json(&body).send().await.expect(200)
}

/// Sends bodies to a queue, ten at a time.
async fn send(queue: &str, bodies: &[String]) {
    for chunk in bodies.chunks(10) {
        let entry =
            |(index, body): (usize, &String)| json!({"Id": index.to_string(), "MessageBody": body});
        let entries: Vec<_> = chunk.iter().enumerate().map(entry).collect();
        let sent = sqs(queue, "SendMessageBatch", json!({"Entries": entries})).await;
        assert_eq!(sent["Successful"].as_array().unwrap().len(), chunk.len(), "{sent}");
    }
}

async fn waiting(queue: &str) -> u32 {
    let names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
    let answer = sqs(queue, "GetQueueAttributes", json!({"AttributeNames": names})).await;
    let count = |name: &str| answer["Attributes"][name].as_str().unwrap().parse::<u32>().unwrap();
    names.iter().map(|name| count(name)).sum()
}

/// Through the queue of a stack: every message is charged once, and what never can be is a dead
/// letter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_through_the_queue() {
    let own = Own::start().await;
    let Stack { queues: Some(queues), .. } = &own.stack else { panic!("an SQS") };
    let api = own.stack.api();
    let account = open(&api, "sqs", "100").await;
    let mut bodies: Vec<String> = (0..120)
        .map(|number| operation(&account, &format!("k-{}", number % 100), "0.5").to_string())
        .collect();
    bodies.push("poison".to_owned());
    bodies.push(operation(&unique("nobody"), "k", "1").to_string());
    send(&queues.charges, &bodies).await;
    let started = Instant::now();
    while waiting(&queues.charges).await > 0 && started.elapsed() < Duration::from_secs(40) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(credits(&balance(&api, &account).await["posted"]), credits(&json!("50")));
    assert_eq!(waiting(&queues.dead_letters).await, 2);
    let entries = own.stack.ledger().verify(&account.parse().unwrap()).await.unwrap().entries;
    assert!(entries < 60, "{entries} entries for 100 charges");
    adds_up(&api, &account).await;
    own.stop().await;
}

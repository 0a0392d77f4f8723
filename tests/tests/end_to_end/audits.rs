//! What people and auditors ask of a journal: what happened, why it cost that, whether it is all
//! there; and that what it says of people can be erased.

use serde_json::{Value, json};
use uc_domain::AccountId;
use uc_domain::journal::Entry;
use uc_http::SigningKey;
use uc_ledger::store::{AttributeValue, Blob, Condition, Item, Key, Put, Query};
use uc_ledger::{CheckpointKey, Checkpoints, Ledger, keys};
use uc_tests::client::Client;

use super::access::token;
use super::stack::{
    Own, charge, event, grant, landed, open, priced, publish, shared, text_model, unique,
};

/// Charges a million input tokens of a model, and returns the operation.
async fn use_model(api: &Client, account: &str, model: &str, more: Value) -> Value {
    let mut body = json!({"model": model, "usage": {"input_tokens": 1_000_000}});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let path = format!("/v1/accounts/{account}/charges");
    let call = api.post(&path).key(&unique("use")).json(&body);
    priced(call).await.expect(201)["operation"].clone()
}

async fn ids(api: &Client, path: &str) -> Vec<String> {
    let items = super::stack::pages(api, path).await;
    items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn transactions_are_found_by_kind_actor_model_and_time() {
    // Models of its own would be the cheapest of the shared stack.
    let own = Own::start().await;
    let api = own.stack.api();
    let (first, second) = (unique("e2e/found"), unique("e2e/found"));
    let version = publish(&api, |models| {
        models[&first] = text_model("1", "1");
        models[&second] = text_model("2", "1");
    })
    .await;
    let account = open(&api, "found", "100").await;
    for (model, actor) in [(&first, "ada"), (&second, "bo"), (&first, "bo"), (&second, "ada")] {
        use_model(&api, &account, model, json!({"actor": actor, "ratio_version": version})).await;
    }
    grant(&api, &account, "5").await;
    let path = format!("/v1/accounts/{account}/transactions");
    let third = api.get(&format!("{path}/op_3_0")).send().await.expect(200);
    let at = third["at"].as_str().unwrap().to_owned();

    for (filter, expected) in [
        ("kind=charge", vec![5, 4, 3, 2]),
        ("kind=grant", vec![6, 1]),
        ("kind=refund", vec![]),
        ("actor=ada", vec![5, 2]),
        ("actor=ada&kind=grant", vec![]),
        (&format!("model={first}"), vec![4, 2]),
        (&format!("model={second}&actor=bo"), vec![3]),
        ("to=2001-01-01T00:00:00Z", vec![]),
        ("from=2001-01-01T00:00:00Z", vec![6, 5, 4, 3, 2, 1]),
        ("from=2999-01-01T00:00:00Z", vec![]),
    ] {
        let expected: Vec<_> = expected.iter().map(|seq| format!("op_{seq}_0")).collect();
        for limit in [1, 2, 100] {
            let found = ids(&api, &format!("{path}?{filter}&limit={limit}")).await;
            assert_eq!(found, expected, "{filter}, {limit} a page");
        }
    }
    // Half-open, so that a list of days has everything once.
    let before = ids(&api, &format!("{path}?to={at}")).await;
    let since = ids(&api, &format!("{path}?from={at}")).await;
    assert!(!before.contains(&"op_3_0".to_owned()) && since.contains(&"op_3_0".to_owned()));
    assert_eq!(before.len() + since.len(), 6);

    // A cursor goes on in its own list alone, and what is added meanwhile shifts nothing.
    let one = api.get(&format!("{path}?kind=charge&limit=1")).send().await.expect(200);
    assert_eq!(one["items"][0]["id"], "op_5_0");
    charge(&api, &account, "more", "1").send().await.expect(201);
    let cursor = one["next_cursor"].as_str().unwrap();
    let next = api.get(&format!("{path}?kind=charge&limit=1&cursor={cursor}")).send().await;
    assert_eq!(next.expect(200)["items"][0]["id"], "op_4_0");
    let other = open(&api, "found", "1").await;
    for wrong in [
        format!("{path}?cursor={cursor}"),
        format!("{path}?kind=grant&cursor={cursor}"),
        format!("{path}?kind=charge&actor=ada&cursor={cursor}"),
        format!("/v1/accounts/{other}/transactions?kind=charge&cursor={cursor}"),
        format!("{path}?kind=charge&idempotency_key=more"),
        format!("{path}?kind="),
        format!("{path}?kind=charges"),
        format!("{path}?from=yesterday"),
        format!("{path}?from={at}&to={at}"),
    ] {
        let answer = api.get(&wrong).send().await;
        assert_eq!((answer.status, &*answer.code()), (400, "invalid_request"), "{wrong}");
    }
    let nobody = api.get("/v1/accounts/nobody-found/transactions?kind=charge").send().await;
    assert_eq!(nobody.code(), "account_not_found");
    own.stop().await;
}

/// "Why 40 credits?", after the prices have changed; and what it would be by other prices.
#[tokio::test]
async fn a_charge_is_explained_by_the_table_of_its_day_and_rated_by_any_other() {
    // Models of its own would be the cheapest of the shared stack.
    let own = Own::start().await;
    let api = own.stack.api();
    let model = unique("e2e/why");
    let by = |input: &'static str, batch: &'static str, minimum: &'static str| {
        let model = model.clone();
        move |models: &mut Value| {
            models[&model] = text_model(input, "1");
            models[&model]["minimum"] = json!(minimum);
            models[&model]["ratios"].as_array_mut().unwrap().push(json!({
                "dimension": "input_tokens", "credits": batch, "per": 1_000_000,
                "when": {"service_class": "batch"},
            }));
        }
    };
    let first = publish(&api, by("39.99999", "20", "0.5")).await;
    let account = open(&api, "why", "1000").await;
    let at_first = json!({"ratio_version": first});
    let plain = use_model(&api, &account, &model, at_first.clone()).await;
    let batch = json!({"ratio_version": first, "parameters": {"service_class": "batch"}});
    let batch = use_model(&api, &account, &model, batch).await;
    // A parameter that no row asks for yet.
    let eu = json!({"ratio_version": first, "parameters": {"region": "eu"}});
    let eu = use_model(&api, &account, &model, eu).await;
    let fixed = charge(&api, &account, "fixed", "1").send().await.expect(201)["operation"].clone();
    let second = publish(&api, by("80", "10", "90")).await;
    let third = publish(&api, |models| {
        models.as_object_mut().unwrap().remove(&model);
    })
    .await;

    let path = |operation: &Value| {
        format!("/v1/accounts/{account}/transactions/{}", operation["id"].as_str().unwrap())
    };
    let seen = api.get(&path(&plain)).send().await.expect(200);
    assert_eq!(seen["credits"], "-40");
    assert_eq!(seen["lines"][0]["rate"]["credits"], "39.99999");
    assert_eq!(
        seen["explanation"],
        json!({
            "ratio_version": first,
            "price_group": "default",
            "rounding": {"scale": 4, "rounding": "up"},
            "items": [{
                "model": model, "multiplier": "1", "subtotal": "39.99999", "rounded": "40",
                "minimum": "0.5", "credits": "40",
            }],
            "requested": "40", "taken": "40", "forgiven": "0",
        })
    );
    assert!(api.get(&path(&fixed)).send().await.expect(200).get("explanation").is_none());

    let rerate = async |operation: &Value, body: Value| {
        let call = api.post(&format!("{}/rerate", path(operation))).json(&body);
        landed(call).await
    };
    // By its own version: what it cost.
    for operation in [&plain, &batch, &eu] {
        let same = rerate(operation, json!({"ratio_version": first})).await.expect(200);
        assert_eq!((&same["difference"], &same["exact"]), (&json!("0"), &json!(true)), "{same}");
    }
    // By another.
    let dearer = rerate(&plain, json!({"ratio_version": second})).await.expect(200);
    assert_eq!((&dearer["credits"], &dearer["difference"]), (&json!("90"), &json!("50")));
    assert_eq!(
        (&dearer["items"][0]["minimum_applied"], &dearer["exact"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(dearer["items"][0]["lines"][0]["rate"]["credits"], "80");
    let batch_now = rerate(&batch, json!({"ratio_version": second})).await.expect(200);
    assert_eq!(batch_now["items"][0]["subtotal"], "10");
    // By rows for a parameter that none asked for then.
    let fourth = publish(&api, |models| {
        by("30", "10", "0")(models);
        models[&model]["ratios"].as_array_mut().unwrap().extend([
            json!({"dimension": "input_tokens", "credits": "33", "per": 1_000_000,
                "when": {"region": "eu"}}),
            json!({"dimension": "input_tokens", "credits": "11", "per": 1_000_000,
                "when": {"region": "eu", "service_class": "batch"}}),
        ]);
    })
    .await;
    for (operation, credits) in [(&plain, "30"), (&batch, "10"), (&eu, "33")] {
        let now = rerate(operation, json!({"ratio_version": fourth})).await.expect(200);
        assert_eq!((&now["credits"], &now["exact"]), (&json!(credits), &json!(true)), "{now}");
    }
    // A model that is not there any more.
    let gone = rerate(&plain, json!({"ratio_version": third})).await.expect(200);
    assert_eq!(gone["items"][0]["error"], "unknown_model");
    assert!(gone.get("credits").is_none());

    for (operation, body, status, code) in [
        (&fixed, json!({}), 409, "conflict"),
        (&plain, json!({"ratio_version": 999_999}), 409, "conflict"),
        (&plain, json!({"version": 1}), 400, "invalid_request"),
        (&json!({"id": "op_99_0"}), json!({}), 404, "not_found"),
    ] {
        let answer = rerate(operation, body.clone()).await;
        assert_eq!((answer.status, &*answer.code()), (status, code), "{body}");
    }
    let journal = super::stack::journal(&api, &account).await;
    assert_eq!(journal.len(), 5, "nothing was written");
    own.stop().await;
}

async fn entry(ledger: &Ledger, account: &str, seq: u64) -> Item {
    let key = Key::new(format!("A#{account}"), format!("E#{seq:012}"));
    ledger.store().get(&key).await.unwrap().unwrap()
}

async fn put(ledger: &Ledger, item: Item) {
    ledger.store().put(Put { item, condition: Condition::None }).await.unwrap();
}

#[tokio::test]
async fn an_audit_says_where_a_journal_was_changed() {
    let api = shared().api();
    let ledger = shared().ledger();
    let account = open(&api, "audited", "10").await;
    for number in 0..4 {
        charge(&api, &account, &format!("k{number}"), "1").send().await.expect(201);
    }
    let path = format!("/v1/accounts/{account}/audit");
    let right = api.get(&path).send().await.expect(200);
    assert_eq!((&right["verified"], &right["seq"]), (&json!(true), &json!(5)), "{right}");
    assert_eq!((&right["entries"], &right["next_cursor"]), (&json!(5), &Value::Null));

    // One bit of the third entry.
    let intact = entry(&ledger, &account, 3).await;
    let mut changed = intact.clone();
    let mut body = changed["b"].as_b().unwrap().clone().into_inner();
    *body.last_mut().unwrap() ^= 1;
    changed.insert("b".to_owned(), AttributeValue::B(body.into()));
    put(&ledger, changed).await;
    let wrong = api.get(&path).send().await.expect(200);
    assert_eq!((&wrong["verified"], &wrong["seq"]), (&json!(false), &json!(2)));
    assert_eq!(wrong["difference"]["seq"], 3);
    put(&ledger, intact).await;

    // The newest entry, edited by hand: nothing goes on from it.
    let intact = entry(&ledger, &account, 5).await;
    let mut changed = intact.clone();
    let decoded = Entry::decode(intact["b"].as_b().unwrap().as_ref()).unwrap();
    let edited = Entry { time: decoded.time.saturating_add_millis(1), ..decoded };
    changed.insert("b".to_owned(), AttributeValue::B(edited.encode().into()));
    put(&ledger, changed).await;
    let refused = charge(&api, &account, "k9", "1").send().await;
    assert_eq!((refused.status, &*refused.code()), (500, "data_unreadable"));
    assert!(refused.text().contains("entry E#000000000005"), "{}", refused.text());
    assert_eq!(api.get(&path).send().await.expect(200)["difference"]["seq"], 5);
    put(&ledger, intact).await;

    // The item that makes an operation happen once names another one.
    let key = Key::new(format!("O#{account}#c#k2"), "O");
    let intact = ledger.store().get(&key).await.unwrap().unwrap();
    let mut changed = intact.clone();
    changed.insert("q".to_owned(), AttributeValue::N("99".to_owned()));
    put(&ledger, changed).await;
    let wrong = api.get(&path).send().await.expect(200);
    assert_eq!(wrong["difference"], json!({"seq": 4, "what": "the item of op_4_0 names op_99_0"}));
    put(&ledger, intact).await;
    assert_eq!(api.get(&path).send().await.expect(200)["verified"], true);

    let browser = token(&api, &account, &json!({"scopes": ["read"]})).await;
    assert_eq!(browser.get(&path).send().await.code(), "forbidden");
    let cursor = api.get("/v1/accounts?limit=1").send().await.expect(200)["next_cursor"].clone();
    let cursor = cursor.as_str().unwrap_or("x").to_owned();
    assert_eq!(api.get(&format!("{path}?cursor={cursor}")).send().await.code(), "invalid_request");
    assert_eq!(
        api.get("/v1/accounts/nobody-audited/audit").send().await.code(),
        "account_not_found"
    );
}

/// A refund and a clawback go by what the journal says, not by an item beside it that was edited.
#[tokio::test]
async fn nothing_is_given_back_by_an_item_that_was_changed() {
    let api = shared().api();
    let ledger = shared().ledger();
    let account = open(&api, "edited", "100").await;
    let paid = unique("pay");
    let send = async |kind: &str, data: Value| {
        let mut body = json!({"type": kind, "data": {"payment": paid}});
        body["data"].as_object_mut().unwrap().extend(data.as_object().unwrap().clone());
        shared().webhook(super::stack::now(), &body).send().await
    };
    let data = json!({"account": account, "credits": "10", "amount": "10", "currency": "EUR"});
    send("payment.succeeded", data).await.expect(200);
    let charged = charge(&api, &account, "k", "10").send().await.expect(201);
    let charged = charged["operation"]["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/accounts/{account}/charges/{charged}/refunds");
    let refund = |key: &str| {
        api.post(&path).key(key).json(&json!({"credits": "4", "reason": "edited"})).send()
    };
    refund("r1").await.expect(201);

    let refunds = Key::new(format!("F#{account}#{charged}"), "000001");
    let payment = Key::new(format!("P#standard#live#{paid}"), "P");
    let edit = async |key: &Key, name: &str, value: &str| {
        let intact = ledger.store().get(key).await.unwrap().unwrap();
        let mut changed = intact.clone();
        changed.insert(name.to_owned(), AttributeValue::S(value.to_owned()));
        put(&ledger, changed).await;
        intact
    };
    for given_back in ["0", "-50", "10"] {
        let intact = edit(&refunds, "refunded", given_back).await;
        let refused = refund("r2").await;
        assert_eq!((refused.status, &*refused.code()), (500, "data_unreadable"));
        put(&ledger, intact).await;
    }
    refund("r2").await.expect(201);
    // The second says what the first does.
    let second = Key::new(format!("F#{account}#{charged}"), "000002");
    let intact = ledger.store().get(&second).await.unwrap().unwrap();
    let mut copied = ledger.store().get(&refunds).await.unwrap().unwrap();
    copied.insert("sk".to_owned(), intact["sk"].clone());
    put(&ledger, copied).await;
    assert_eq!(refund("r3").await.code(), "data_unreadable");
    put(&ledger, intact).await;
    let back = json!({"amount": "8", "currency": "EUR"});
    for (name, value) in [("credits", "1000"), ("amount", "1")] {
        let intact = edit(&payment, name, value).await;
        let refused = send("payment.refunded", back.clone()).await;
        assert_eq!((refused.status, &*refused.code()), (500, "data_unreadable"));
        put(&ledger, intact).await;
    }
    assert_eq!(send("payment.refunded", back).await.expect(200)["status"], "taken_back");
    let audit = api.get(&format!("/v1/accounts/{account}/audit")).send().await.expect(200);
    assert_eq!(audit["verified"], true, "{audit}");
}

#[tokio::test]
async fn personal_data_are_erased_and_the_audit_still_passes() {
    let api = shared().api();
    let ledger = shared().ledger();
    let account = open(&api, "erased", "10").await;
    let path = format!("/v1/accounts/{account}");
    for key in ["a", "b"] {
        let body = json!({"credits": "1", "description": "a chat", "actor": "ada",
            "metadata": {"chat": "7"}});
        api.post(&format!("{path}/charges")).key(key).json(&body).send().await.expect(201);
    }
    let unpriced = json!({"model": "nobody/knows", "usage": {"input_tokens": 1}, "actor": "ada",
        "on_unpriced": "park"});
    let parked = api.post(&format!("{path}/charges")).key("p").json(&unpriced).send().await;
    assert_eq!(parked.expect(202)["unrated"]["actor"], "ada");
    let before = api.get(&path).send().await.expect(200);
    let erased = api.delete(&format!("{path}/personal-data")).send().await.expect(200);
    let expected = json!({"erased": 4, "next_cursor": null});
    assert_eq!(erased, expected, "two charges, a grant's reason, what waits for its price");
    let unrated = api.get(&format!("/v1/unrated?account={account}")).send().await.expect(200);
    assert!(unrated["items"][0].get("actor").is_none(), "{unrated}");
    let again = api.delete(&format!("{path}/personal-data")).send().await.expect(200);
    assert_eq!(again["erased"], 0);

    for operation in super::stack::journal(&api, &account).await {
        for field in ["actor", "description", "metadata"] {
            assert!(operation.get(field).is_none(), "{operation}");
        }
    }
    assert!(ids(&api, &format!("{path}/transactions?actor=ada")).await.is_empty());
    assert_eq!(ids(&api, &format!("{path}/transactions?kind=charge")).await.len(), 2);
    let after = api.get(&path).send().await.expect(200);
    assert_eq!((&after["balance"], &after["grants"]), (&before["balance"], &before["grants"]));
    assert_eq!(api.get(&format!("{path}/audit")).send().await.expect(200)["verified"], true);
    // A replay still finds its operation.
    let body = json!({"credits": "1", "description": "a chat", "actor": "ada",
        "metadata": {"chat": "7"}});
    let replay = api.post(&format!("{path}/charges")).key("a").json(&body).send().await;
    assert_eq!(replay.header("idempotent-replayed"), Some("true"));

    // In steps, for accounts with more than one call erases.
    let id: AccountId = account.parse().unwrap();
    charge(&api, &account, "c", "1").send().await.expect(201);
    let first = ledger.erase_private(&id, 0, 3).await.unwrap();
    assert_eq!((first.entries, first.next), (0, Some(3)));
    let rest = ledger.erase_private(&id, 3, 3).await.unwrap();
    assert_eq!((rest.entries, rest.next), (1, None));

    let nobody = api.delete("/v1/accounts/nobody-erased/personal-data").send().await;
    assert_eq!(nobody.code(), "account_not_found");
    let bad = api.delete(&format!("{path}/personal-data?cursor=x")).send().await;
    assert_eq!(bad.code(), "invalid_request");
}

/// Goes on to the next day, and fires the schedule until the day's checkpoints are there: the
/// stack's own schedule may be at it, too.
async fn next_day(own: &Own) -> Value {
    own.advance(86_400).await;
    for _ in 0..100 {
        let report = own.stack.invoke("plan-grant", &event("schedule.json")).await;
        if report["complete"] == true {
            return report;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the day's checkpoints are never complete");
}

/// What the audit of the whole table finds.
async fn whole(ledger: &Ledger) -> Vec<String> {
    let parallel = std::num::NonZeroUsize::new(4).unwrap();
    let options =
        uc_audit::cli::Options { state: None, parallel, keys: Vec::new(), allow_empty: false };
    let store = std::sync::Arc::clone(ledger.store());
    uc_audit::table::audit("table", store, &options).await.unwrap().shown
}

/// A journal that ends early, or that was written anew, is right in itself.
#[tokio::test]
async fn a_checkpoint_shows_a_cut_tail_and_a_rewritten_history() {
    let own = Own::start().await;
    let api = own.stack.api();
    let ledger = own.stack.ledger();
    let account = open(&api, "signed", "10").await;
    for key in ["a", "b"] {
        charge(&api, &account, key, "1").send().await.expect(201);
    }
    next_day(&own).await;
    let audit = async || api.get(&format!("/v1/accounts/{account}/audit")).send().await.expect(200);
    let right = audit().await;
    assert_eq!((&right["verified"], &right["checkpoint"]["seq"]), (&json!(true), &json!(3)));
    // Once a day.
    charge(&api, &account, "c", "1").send().await.expect(201);
    own.stack.invoke("plan-grant", &event("schedule.json")).await;
    assert_eq!(audit().await["checkpoint"]["seq"], 3);
    next_day(&own).await;
    let right = audit().await;
    assert_eq!((&right["verified"], &right["checkpoint"]["seq"]), (&json!(true), &json!(4)));
    assert!(whole(&ledger).await.is_empty());

    let key = |seq: u64| Key::new(format!("A#{account}"), format!("E#{seq:012}"));
    let last = entry(&ledger, &account, 4).await;
    ledger.store().delete(&key(4)).await.unwrap();
    ledger.store().delete(&Key::new(format!("O#{account}#c#c"), "O")).await.unwrap();
    let cut = audit().await;
    assert_eq!((&cut["verified"], &cut["difference"]["seq"]), (&json!(false), &json!(4)), "{cut}");
    assert!(cut["difference"]["what"].as_str().unwrap().contains("tail was cut"), "{cut}");
    let found = whole(&ledger).await;
    assert!(found.len() == 1 && found[0].starts_with(&account), "{found:?}");
    // Whoever cuts it writes on.
    for key in ["d", "e"] {
        charge(&api, &account, key, "2").send().await.expect(201);
    }
    let anew = audit().await;
    assert!(anew["difference"]["what"].as_str().unwrap().contains("rewritten"), "{anew}");
    next_day(&own).await;
    let kept = audit().await;
    assert_eq!(kept["checkpoint"], anew["checkpoint"], "a contradicted one is not replaced");

    // A checkpoint to match can't be made without the key.
    let day = anew["checkpoint"]["day"].as_str().unwrap();
    let checkpoint = Key::new(format!("C#{account}"), day);
    let mut forged = ledger.store().get(&checkpoint).await.unwrap().unwrap();
    forged.insert("h".to_owned(), entry(&ledger, &account, 4).await["h"].clone());
    put(&ledger, forged).await;
    let forged = audit().await;
    assert!(forged["difference"]["what"].as_str().unwrap().contains("not signed"), "{forged}");
    // Nor taken away: the day's digest has counted it.
    ledger.store().delete(&checkpoint).await.unwrap();
    let found = whole(&ledger).await;
    assert!(found.iter().any(|found| found.contains("some were taken away")), "{found:?}");
    put(&ledger, last).await;
    own.stop().await;
}

/// An account or a shard of which something can't be read is told of, and gets nothing signed; all
/// the others do.
#[tokio::test]
async fn what_cannot_be_read_holds_up_no_other_account() {
    let own = Own::start().await;
    let api = own.stack.api();
    let ledger = own.stack.ledger();
    let mut accounts = Vec::new();
    for number in 0..12 {
        accounts.push(open(&api, &format!("read-{number}"), "10").await);
    }
    next_day(&own).await;
    let entries = async |key: &str| {
        for account in &accounts {
            charge(&api, account, key, "1").send().await.expect(201);
        }
    };
    entries("a").await;
    let [torn, forged, ..] = &accounts[..] else { unreachable!() };
    let intact = entry(&ledger, torn, 2).await;
    let mut changed = intact.clone();
    let mut body = changed["b"].as_b().unwrap().clone().into_inner();
    *body.last_mut().unwrap() ^= 1;
    changed.insert("b".to_owned(), AttributeValue::B(body.into()));
    put(&ledger, changed).await;
    put(&ledger, Key::new("D#0", "a b").item()).await;
    let checkpoints = Checkpoints::new(ledger.clone());
    let seen = async |account: &str| {
        let newest = checkpoints.newest(&account.parse().unwrap(), None).await;
        newest.map(|newest| newest.unwrap().seq).map_err(drop)
    };
    let newest = async || {
        let mut newest = Vec::new();
        for account in &accounts {
            newest.push(seen(account).await);
        }
        newest
    };
    next_day(&own).await;
    let mut expected = vec![Ok(2); accounts.len()];
    expected[0] = Ok(1);
    assert_eq!(newest().await, expected, "the account whose entry can't be read is left out");
    put(&ledger, intact).await;

    // The newest checkpoint of another, and the newest digest of its shard.
    let id: AccountId = forged.parse().unwrap();
    let shard = keys::directory_shard_of(&id);
    let newest_of = async |pk: String| {
        let query = Query { pk, from: "0".into(), to: "~".into(), descending: true, limit: 1 };
        ledger.store().query(&query).await.unwrap().pop().unwrap()
    };
    let short = AttributeValue::B(Blob::new([1; 31]));
    for pk in [keys::checkpoints(&id), keys::checkpoint_digests(shard)] {
        let mut item = newest_of(pk).await;
        item.insert("h".to_owned(), short.clone());
        put(&ledger, item).await;
    }
    entries("b").await;
    next_day(&own).await;
    let mut expected = vec![Ok(3); accounts.len()];
    expected[1] = Err(());
    assert_eq!(newest().await, expected);
    // The audit of the table tells of each, and looks at everybody else.
    let audited = api.get(&format!("/v1/accounts/{forged}/audit")).send().await.expect(200);
    let what = audited["difference"]["what"].as_str().unwrap();
    assert!(what.contains("a checkpoint of"), "{audited}");
    let key = newest_of(keys::CHECKPOINT_KEYS.to_owned()).await;
    let check = async |expected: &[&str]| {
        let found = whole(&ledger).await;
        for expected in expected {
            assert!(found.iter().any(|found| found.contains(expected)), "{expected}: {found:?}");
        }
        found.len()
    };
    let unreadable = ["the item \"a b\"", "of shard", "the checkpoint of"];
    check(&unreadable).await;
    let mut changed = key.clone();
    changed.insert("k".to_owned(), short);
    put(&ledger, changed).await;
    assert!(check(&["public key", "is not signed by"]).await > accounts.len());
    let last_day = newest_of(keys::checkpoint_digests((shard + 1) % 8)).await;
    let last_day = last_day["sk"].as_s().unwrap();
    assert!(newest_of(keys::checkpoint_digests(shard)).await["sk"].as_s().unwrap() < last_day);
    own.stop().await;
}

/// A digest that the key before has signed is one.
#[tokio::test]
async fn a_new_key_goes_on_where_the_one_before_was() {
    let own = Own::start().await;
    let api = own.stack.api();
    open(&api, "keys", "10").await;
    // Early on a day, so that it is the same one still when the leases of its runs are over.
    let of_day = own.now().millis() / 1_000 % 86_400;
    own.advance(86_400 - of_day).await;
    next_day(&own).await;
    own.advance(3_600).await;
    let (_, secret) = SigningKey::generate().unwrap();
    let key = CheckpointKey::from_secret(&secret).unwrap();
    let run = Checkpoints::new(own.ledger());
    let report = run.run(&key, std::time::Duration::from_mins(1)).await.unwrap();
    assert_eq!((report.contradicted, report.complete), (0, true), "{report:?}");

    // An audit that was interrupted is gone on with by the same keys, of the same table.
    let state = std::env::temp_dir().join(unique("uc-tests-state"));
    let other = format!("k.{}", "A".repeat(43));
    for (table, keys, refused) in [
        ("table", vec![], None),
        ("table", vec![other.parse().unwrap()], Some("other keys")),
        ("another", vec![], Some("of the table table: remove it")),
    ] {
        let kept = json!({"table": "table", "shard": 7, "after": null, "digests": [],
            "findings": uc_audit::Findings::default()});
        std::fs::write(&state, kept.to_string()).unwrap();
        let parallel = std::num::NonZeroUsize::MIN;
        let state = Some(state.clone());
        let options = uc_audit::cli::Options { state, parallel, keys, allow_empty: true };
        let store = std::sync::Arc::clone(own.ledger().store());
        let audited = uc_audit::table::audit(table, store, &options).await;
        let error = audited.err().map(|error| error.to_string());
        assert_eq!(error.is_some(), refused.is_some(), "{error:?}");
        assert!(error.is_none_or(|error| error.contains(refused.unwrap())), "{refused:?}");
    }
    std::fs::remove_file(state).unwrap();
    own.stop().await;
}

/// What was taken away together with its checkpoint is not signed by the next run, nor hidden by
/// any later one: not until it is back.
#[tokio::test]
async fn no_digest_is_signed_over_checkpoints_that_were_taken_away() {
    let own = Own::start().await;
    let api = own.stack.api();
    let ledger = own.stack.ledger();
    let account = open(&api, "rolled-back", "10").await;
    let id: AccountId = account.parse().unwrap();
    next_day(&own).await;
    for key in ["a", "b"] {
        charge(&api, &account, key, "1").send().await.expect(201);
    }
    next_day(&own).await;
    assert!(whole(&ledger).await.is_empty());
    let checkpoints = Checkpoints::new(ledger.clone());
    let newest = checkpoints.newest(&id, None).await.unwrap().unwrap();
    assert_eq!(newest.seq, 3);
    let shard = keys::directory_shard_of(&id);
    let signed = checkpoints.digests(shard).await.unwrap().read;

    let operation = |key: &str| Key::new(format!("O#{account}#c#{key}"), "O");
    let taken = [
        Key::new(format!("C#{account}"), &newest.day),
        Key::new(format!("A#{account}"), format!("E#{:012}", 2)),
        Key::new(format!("A#{account}"), format!("E#{:012}", 3)),
        operation("a"),
        operation("b"),
    ];
    let mut items = Vec::new();
    for key in &taken {
        items.push(ledger.store().get(key).await.unwrap().unwrap());
        ledger.store().delete(key).await.unwrap();
    }
    let audit = async || {
        let found = whole(&ledger).await;
        let told = found.iter().filter(|found| found.contains("some were taken away")).count();
        assert_eq!((found.len(), told), (1, 1), "{found:?}");
    };
    audit().await;
    for _ in 0..2 {
        next_day(&own).await;
        assert_eq!(checkpoints.digests(shard).await.unwrap().read, signed, "none was signed");
        audit().await;
    }
    for item in items {
        put(&ledger, item).await;
    }
    // What a run has come to is believed only where it is signed: this one is not done.
    let progress = keys::checkpoint_progress(shard);
    let mut forged = ledger.store().get(&progress).await.unwrap().unwrap();
    let tomorrow = own.now().saturating_add_millis(86_400_000).to_utc().date().to_string();
    forged.insert("day".to_owned(), AttributeValue::S(tomorrow));
    forged.insert("lease".to_owned(), AttributeValue::N("0".to_owned()));
    put(&ledger, forged).await;
    next_day(&own).await;
    let again = checkpoints.digests(shard).await.unwrap().read;
    assert_eq!(again.len(), signed.len() + 1, "what was taken away is back");
    assert!(whole(&ledger).await.is_empty());
    // Each digest is compared, not only the newest.
    let first = Key::new(format!("C#digest#{shard}"), &again[0].day);
    let mut changed = ledger.store().get(&first).await.unwrap().unwrap();
    changed.insert("n".to_owned(), AttributeValue::N("9".to_owned()));
    put(&ledger, changed).await;
    let found = whole(&ledger).await;
    assert!(found.len() == 1 && found[0].contains("is not signed"), "{found:?}");
    own.stop().await;
}

#[tokio::test]
async fn balances_of_another_system_are_brought_in_once() {
    let api = shared().api();
    let (rich, poor, careful) = (unique("rich"), unique("poor"), unique("careful"));
    let settings = json!({"overuse": "refuse"});
    api.put(&format!("/v1/accounts/{careful}")).json(&settings).send().await.expect(200);
    let file = format!(
        "account,credits,expires_at,source,id\n\
         {rich},12.5,2999-01-01T00:00:00Z,paid,1\n\
         {rich},2,,,2\n\
         {poor},-3,,,3\n\
         {careful},-1,,,4\n\
         {rich},99999999999999999,,,5\n\
         {rich},7,2001-01-01T00:00:00Z,,6\n"
    );
    let import = async |file: &str, dry_run: bool| {
        let (url, key) = (shared().url.clone(), shared().api_key.clone());
        let file = file.to_owned();
        let run = move || {
            let deployment = account_tools::Deployment::new(&url, &key);
            account_tools::import(&deployment, file.as_bytes(), dry_run).unwrap()
        };
        let summary = tokio::task::spawn_blocking(run).await.unwrap();
        let lines: Vec<u64> = summary.failed.iter().map(|failed| failed.line).collect();
        (summary.balances, summary.debts, summary.there, lines)
    };
    // Looking at it changes nothing, and says what would happen.
    assert_eq!(import(&file, true).await, (2, 1, 0, vec![5, 6, 7]));
    assert_eq!(api.get(&format!("/v1/accounts/{rich}")).send().await.code(), "account_not_found");
    assert_eq!(import(&file, false).await, (2, 1, 0, vec![5, 6, 7]));
    assert_eq!(import(&file, false).await, (0, 0, 3, vec![5, 6, 7]));
    assert_eq!(import(&file, true).await, (0, 0, 3, vec![5, 6, 7]));
    // A row that was corrected since is refused, and not added.
    let corrected = file.replace(",2,,,2", ",200,,,2");
    assert_eq!(import(&corrected, true).await, (0, 0, 2, vec![3, 5, 6, 7]));
    assert_eq!(import(&corrected, false).await, (0, 0, 2, vec![3, 5, 6, 7]));
    for (here, there) in
        [("999-01-01T00:00:00Z,paid", "998-01-01T00:00:00Z,paid"), (",paid,1", ",promo,1")]
    {
        let corrected = file.replace(here, there);
        for dry_run in [true, false] {
            assert_eq!(import(&corrected, dry_run).await, (0, 0, 2, vec![2, 5, 6, 7]), "{there}");
        }
    }

    let account = api.get(&format!("/v1/accounts/{rich}")).send().await.expect(200);
    assert_eq!(account["balance"]["posted"], "14.5");
    let sources: Vec<_> =
        account["grants"].as_array().unwrap().iter().map(|grant| &grant["source"]).collect();
    assert_eq!(sources, ["migration", "paid"]);
    let owes = super::stack::balance(&api, &poor).await;
    assert_eq!((&owes["posted"], &owes["debt"]), (&json!("-3"), &json!("3")));
    let owed = &super::stack::journal(&api, &poor).await[1];
    assert_eq!(owed["description"], "migrated debt");
    let granted = super::stack::journal(&api, &rich).await;
    assert!(owed["actor"].is_string(), "who did it: {owed}");
    assert_eq!(owed["actor"], granted[0]["actor"], "by the same API key");
    assert_eq!(super::stack::balance(&api, &careful).await["posted"], "0");

    // Also after the reasons are erased the same file brings nothing in.
    for account in [&rich, &poor] {
        let path = format!("/v1/accounts/{account}/personal-data");
        api.delete(&path).send().await.expect(200);
    }
    for dry_run in [true, false] {
        assert_eq!(import(&file, dry_run).await, (0, 0, 3, vec![5, 6, 7]), "erased");
    }

    // An account is full at 60 grants that don't merge, and a file may fill it: the dry run says
    // what the real one does.
    let (full, filled) = (unique("full"), unique("filled"));
    let mut rows = "account,credits,source,id\n".to_owned();
    rows.extend((0..60).map(|id| format!("{full},1,promo,{id}\n")));
    assert_eq!(import(&rows, false).await, (60, 0, 0, vec![]));
    let mut rows = format!("account,credits,source,id\n{full},5,promo,s3\n{full},5,paid,s4\n");
    rows.extend((0..61).map(|id| format!("{filled},1,promo,{id}\n")));
    for dry_run in [true, false] {
        assert_eq!(import(&rows, dry_run).await, (61, 0, 0, vec![2, 64]), "{dry_run}");
    }
}

/// Of a batch a charge keeps sums, which may cross a tier that no prompt reached.
#[tokio::test]
async fn several_requests_are_rated_again_as_one() {
    let api = shared().api();
    let account = open(&api, "several", "100").await;
    let version = publish(&api, |models| {
        models["e2e/tiers"] = text_model("1", "1");
        let mut above = models["e2e/tiers"]["ratios"][0].clone();
        above["credits"] = json!("2");
        above["when"] = json!({"prompt_tokens": {"gt": 1_000_000}});
        models["e2e/tiers"]["ratios"].as_array_mut().unwrap().push(above);
    })
    .await;
    let line = |id: &str| {
        let usage = json!({"prompt_tokens": 1_000_000, "completion_tokens": 0});
        json!({"custom_id": id, "response": {"status_code": 200, "body": {"id": id, "usage": usage}}})
    };
    let item = json!({
        "model": "e2e/tiers", "provider": "openai", "provider_response": [line("a"), line("b")],
        "ratio_version": version,
    });
    let call = api.post(&format!("/v1/accounts/{account}/charges")).key("batch").json(&item);
    let operation = priced(call).await.expect(201)["operation"].clone();
    assert_eq!(
        (&operation["credits"], &operation["items"][0]["requests"]),
        (&json!("-2"), &json!(2))
    );

    let path = format!("/v1/accounts/{account}/transactions/{}", operation["id"].as_str().unwrap());
    let again = api.post(&format!("{path}/rerate")).json(&json!({"ratio_version": version}));
    let again = again.send().await.expect(200);
    assert_eq!((&again["credits"], &again["exact"]), (&json!("4"), &json!(false)));
    let reason = again["items"][0]["approximate"].as_str().unwrap();
    assert!(reason.starts_with("the item was several requests"), "{reason}");
    let current = json!({"from": version, "to": version, "account": account});
    let view = api.post("/v1/ratios/preview").json(&current).send().await.expect(200);
    assert_eq!(view["usage"]["approximate"][0]["reason"], reason);
}

/// Another table is asked for a response as it was first: by the names of who answered, and as a
/// request.
#[tokio::test]
async fn a_response_is_rated_again_by_the_most_exact_name_of_another_table() {
    let api = shared().api();
    let account = open(&api, "resold", "100").await;
    let name = unique("resold");
    let (owned, resold) = (format!("e2e/{name}"), format!("azure/{name}"));
    let first = publish(&api, |models| {
        models[&owned] = text_model("1", "1");
        models[&owned]["aliases"] = json!([name]);
    })
    .await;
    let second = publish(&api, |models| {
        models[&resold] = text_model("3", "1");
        models[&resold]["ratios"]
            .as_array_mut()
            .unwrap()
            .push(json!({"dimension": "requests", "credits": "0.5", "per": 1}));
    })
    .await;
    let charge = async |key: &str, version: u64| {
        let usage = json!({"prompt_tokens": 1_000_000, "completion_tokens": 0});
        let item = json!({
            "provider": "azure", "provider_response": {"model": name, "usage": usage},
            "ratio_version": version,
        });
        let call = api.post(&format!("/v1/accounts/{account}/charges")).key(key).json(&item);
        priced(call).await.expect(201)["operation"].clone()
    };
    let (before, after) = (charge("before", first).await, charge("after", second).await);
    assert_eq!((&before["credits"], &after["credits"]), (&json!("-1"), &json!("-3.5")));
    let item = &before["items"][0];
    assert_eq!((&item["provider"], &item["matched"]["alias"]), (&json!("azure"), &json!(name)));

    for (operation, version, credits) in [
        (&before, first, "1"),
        (&before, second, "3.5"),
        (&after, first, "1"),
        (&after, second, "3.5"),
    ] {
        let id = operation["id"].as_str().unwrap();
        let path = format!("/v1/accounts/{account}/transactions/{id}/rerate");
        let again = landed(api.post(&path).json(&json!({"ratio_version": version}))).await;
        let again = again.expect(200);
        let told = (&again["credits"], &again["exact"]);
        assert_eq!(told, (&json!(credits), &json!(true)), "{id} by {version}: {again}");
    }
    let asked = json!({"from": first, "to": second, "account": account});
    let view = api.post("/v1/ratios/preview").json(&asked).send().await.expect(200);
    let usage = &view["usage"];
    assert_eq!((&usage["approximate"], &usage["unpriced"]), (&json!(null), &json!([])), "{usage}");
    assert_eq!(
        (&usage["from"]["credits"], &usage["to"]["credits"]),
        (&json!("2"), &json!("7")),
        "{usage}"
    );
}

//! What time does. A clock that moves moves for all, so each of these has a stack of its own.

use serde_json::{Value, json};
use uc_domain::plans::{Interval, period_start};
use uc_tests::client::Client;

use super::access::token;
use super::scenario::assert_adds_up;
use super::stack::{
    Own, balance, charge, grant, journal, open, publish, publish_table, text_model, unique,
};

const DAY: i64 = 86_400;

#[tokio::test]
async fn credentials_end() {
    let own = Own::start().await;
    let api = own.stack.api();
    let account = open(&api, "ends", "10").await;
    let path = format!("/v1/accounts/{account}");
    let short = token(&api, &account, &json!({"scopes": ["read"], "ttl_seconds": 1})).await;
    let long = token(&api, &account, &json!({"scopes": ["read"], "ttl_seconds": 3600})).await;
    let body = json!({"name": "withdrawn", "scopes": ["read"]});
    let made = api.post("/v1/api-keys").json(&body).send().await.expect(201);
    let key = api.with_credential(made["key"].as_str().unwrap());
    key.get(&path).send().await.expect(200);
    let id = made["id"].as_str().unwrap();
    api.delete(&format!("/v1/api-keys/{id}")).send().await.expect(204);

    own.advance(61).await;
    let code = async |client: &Client| {
        let answer = client.get(&path).send().await;
        (answer.status, answer.code())
    };
    assert_eq!(code(&short).await, (401, "token_expired".to_owned()));
    assert_eq!(code(&key).await, (401, "unauthenticated".to_owned()));
    long.get(&path).send().await.expect(200);
    own.advance(3540).await;
    assert_eq!(code(&long).await, (401, "token_expired".to_owned()));
    own.stop().await;
}

#[tokio::test]
async fn plans_are_renewed_ahead_and_grants_end() {
    let own = Own::start().await;
    let api = own.stack.api();
    let account = open(&api, "renewed", "5").await;
    let path = format!("/v1/accounts/{account}");
    let plan = json!({"plan": "starter"});
    let subscribed =
        api.post(&format!("{path}/subscriptions")).key("s").json(&plan).send().await.expect(201);
    assert_eq!(subscribed["balance"]["posted"], "10005");
    // A plan's credits go before those without an end.
    charge(&api, &account, "c", "4000").send().await.expect(201);

    // An hour before the month is over, the next one is there and does not count yet.
    let ends: uc_domain::Timestamp =
        subscribed["subscription"]["period"]["ends_at"].as_str().unwrap().parse().unwrap();
    own.advance((ends.millis() - own.now().millis()) / 1000 - 3600).await;
    let account_now = api.get(&path).send().await.expect(200);
    assert_eq!(account_now["balance"]["posted"], "6005");
    let pending: Vec<&Value> =
        account_now["grants"].as_array().unwrap().iter().filter(|g| g["pending"] == true).collect();
    assert_eq!(pending.len(), 1);
    assert_eq!(pending[0]["remaining"], "10000");

    // Then it does, and what was left of the first one is gone.
    own.advance(2 * 3600).await;
    assert_eq!(balance(&api, &account).await["posted"], "10005");
    own.advance(31 * DAY).await;
    own.advance(31 * DAY).await;
    assert_eq!(balance(&api, &account).await["posted"], "10005");
    let listed = api.get(&format!("{path}/subscriptions")).send().await.expect(200);
    assert_eq!(listed["items"][0]["periods_granted"], 4);

    // An overuse today is paid by what comes in tomorrow.
    charge(&api, &account, "c2", "10105").send().await.expect(201);
    let short = balance(&api, &account).await;
    assert_eq!((&short["posted"], &short["debt"]), (&json!("-100"), &json!("100")));
    own.advance(31 * DAY).await;
    assert_eq!(balance(&api, &account).await["posted"], "9900");
    // What settled in memory for a reader is written with what comes next.
    grant(&api, &account, "1").await;
    assert_adds_up(&journal(&api, &account).await, &balance(&api, &account).await);
    own.stack.ledger().verify(&account.parse().unwrap()).await.unwrap();
    own.stop().await;
}

/// Grants in the order in which they are spent: source and what is left.
async fn grants(api: &Client, account: &str) -> String {
    let account = api.get(&format!("/v1/accounts/{account}")).send().await.expect(200);
    let shown = |grant: &Value| {
        let text = |name: &str| grant[name].as_str().unwrap().to_owned();
        let pending = if grant["pending"] == true { "pending " } else { "" };
        format!("{pending}{} {}", text("source"), text("remaining"))
    };
    let grants = account["grants"].as_array().unwrap().iter().map(shown);
    grants.collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn what_a_period_leaves_rolls_over() {
    let own = Own::start().await;
    let api = own.stack.api();
    let plan = unique("rolling");
    let terms = json!({
        "name": "Rolling", "interval": "month", "credits_interval": "month", "credits": "1000",
        "rollover": {"min": "100", "max": "400"},
    });
    let put = api.put(&format!("/v1/plans/{plan}")).json(&terms).send().await.expect(200);
    assert_eq!(put["rollover"], terms["rollover"]);
    let kept = api.get(&format!("/v1/plans/{plan}")).send().await.expect(200);
    assert_eq!(kept["rollover"], terms["rollover"]);
    let subscribe = async |account: &str, key: &str| {
        let call = api.post(&format!("/v1/accounts/{account}/subscriptions")).key(key);
        call.json(&json!({"plan": plan})).send().await
    };
    let account = unique("rolls");
    let subscribed = subscribe(&account, "s").await.expect(201);
    assert_eq!(subscribed["subscription"]["rollover"], terms["rollover"]);
    let starts_at = subscribed["subscription"]["starts_at"].as_str().unwrap().parse().unwrap();
    // A subscription keeps what it was made with.
    let mut edited = terms.clone();
    edited["rollover"] = json!({"max": "0"});
    api.put(&format!("/v1/plans/{plan}")).json(&edited).send().await.expect(200);

    // To so many seconds after the beginning of a period, with the schedule every hour around it.
    let enter = async |period: u32, seconds: i64| {
        let start = period_start(starts_at, Interval::Month, period).unwrap();
        let until_start = (start.millis() - own.now().millis()) / 1_000;
        own.advance(until_start - 3_600).await;
        own.advance(3_600 + seconds).await;
    };
    let spend = async |key: &str, credits: &str| {
        charge(&api, &account, key, credits).send().await.expect(201)["operation"]["postings"]
            .as_array()
            .map_or(0, Vec::len)
    };

    // Most of a month is left: as much as may roll over does, and is spent before the credits of
    // the new month, which were granted an hour earlier.
    spend("c-1", "300").await;
    enter(1, 60).await;
    assert_eq!(grants(&api, &account).await, "rollover 400, plan 1000");
    assert_eq!(spend("c-2", "450").await, 2);
    assert_eq!(grants(&api, &account).await, "plan 950");
    // Less than that is left: all of it rolls over.
    spend("c-3", "700").await;
    enter(2, 60).await;
    assert_eq!(grants(&api, &account).await, "rollover 250, plan 1000");
    // What rolled over and was not spent is gone a month later.
    spend("c-4", "200").await;
    enter(3, 60).await;
    assert_eq!(grants(&api, &account).await, "rollover 400, plan 1000");
    // Next to nothing is left: at least the least rolls over.
    spend("c-5", "1390").await;
    enter(4, 60).await;
    assert_eq!(grants(&api, &account).await, "rollover 100, plan 1000");
    // Debt first, also from what rolls over where nothing is left.
    spend("c-6", "1150").await;
    assert_eq!(balance(&api, &account).await["posted"], "-50");
    enter(5, 60).await;
    assert_eq!(grants(&api, &account).await, "rollover 50, plan 1000");

    // Nobody looks for months, the schedule neither: what rolled over expired each time.
    let start = period_start(starts_at, Interval::Month, 9).unwrap();
    own.advance((start.millis() - own.now().millis()) / 1_000 + 86_400).await;
    assert_eq!(grants(&api, &account).await, "rollover 400, plan 1000");
    let all = journal(&api, &account).await;
    // Periods that were missed end as they come: time goes one way, and so a list until any day has
    // all that is of before.
    let at = |operation: &Value| -> uc_domain::Timestamp {
        operation["at"].as_str().unwrap().parse().unwrap()
    };
    assert!(all.is_sorted_by_key(at), "{all:?}");
    for day in all.iter().map(at).collect::<std::collections::BTreeSet<_>>() {
        let path = format!("/v1/accounts/{account}/transactions?to={day}");
        let until = super::stack::pages(&api, &path).await.len();
        assert_eq!(until, all.iter().filter(|operation| at(operation) < day).count(), "{day}");
    }
    let rolled: Vec<_> = all
        .iter()
        .filter(|operation| operation["grant"]["source"] == "rollover")
        .map(|operation| {
            let end = operation["grant"]["expires_at"].as_str().unwrap();
            let period = (0..20)
                .find(|n| period_start(starts_at, Interval::Month, *n).unwrap().to_string() == end);
            (operation["grant"]["credits"].as_str().unwrap(), period)
        })
        .collect();
    let expected = ["400", "250", "400", "100", "100", "400", "400", "400", "400"];
    let expected: Vec<_> = expected.into_iter().zip((2..).map(Some)).collect();
    assert_eq!(rolled, expected);
    grant(&api, &account, "1").await;
    assert_adds_up(&journal(&api, &account).await, &balance(&api, &account).await);
    own.stack.ledger().verify(&account.parse().unwrap()).await.unwrap();
    let audit = api.get(&format!("/v1/accounts/{account}/audit")).send().await.expect(200);
    assert_eq!(audit["verified"], true, "{audit}");

    // An account has room for the rollovers of eight subscriptions.
    api.put(&format!("/v1/plans/{plan}")).json(&terms).send().await.expect(200);
    let full = unique("full");
    for number in 0..8 {
        subscribe(&full, &format!("s-{number}")).await.expect(201);
    }
    let ninth = subscribe(&full, "s-8").await;
    assert_eq!((ninth.status, &*ninth.code()), (422, "limit_exceeded"));
    own.stop().await;
}

#[tokio::test]
async fn what_an_estimate_showed_counts_for_a_quarter_of_an_hour() {
    let own = Own::start().await;
    let api = own.stack.api();
    let account = open(&api, "shown", "1000").await;
    let model = |price: &'static str| {
        move |models: &mut Value| models["e2e/shown"] = text_model(price, "1")
    };
    let charges = async |version: Option<u64>| {
        let mut body = json!({"model": "e2e/shown", "usage": {"input_tokens": 1_000_000}});
        if let Some(version) = version {
            body["ratio_version"] = json!(version);
        }
        let path = format!("/v1/accounts/{account}/charges");
        let call = api.post(&path).key(&super::stack::unique("k")).json(&body);
        let answer = call.send().await;
        if answer.status == 201 {
            answer.value()["operation"]["credits"].clone()
        } else {
            json!(answer.code())
        }
    };
    let shown = publish(&api, model("1")).await;
    assert_eq!(charges(Some(shown)).await, "-1");
    own.advance(2).await;
    let dearer = publish(&api, model("2")).await;
    assert_eq!(charges(Some(dearer)).await, "-2");
    assert_eq!(charges(Some(shown)).await, "-1", "what was shown");
    own.advance(14 * 60).await;
    assert_eq!(charges(Some(shown)).await, "-1", "14 minutes later");
    own.advance(61).await;
    assert_eq!(charges(Some(shown)).await, "conflict", "15 minutes later");
    assert_eq!(charges(None).await, "-2");

    // A wrong price ends at once where the administrator says so.
    let table = api.get("/v1/ratios").send().await;
    let etag = table.header("etag").unwrap().to_owned();
    let mut table = table.expect(200);
    model("3")(&mut table["models"]);
    let put = api.put("/v1/ratios?lock=false").header("if-match", &etag).json(&table);
    let mended = put.send().await.expect(200)["version"].as_u64();
    own.advance(31).await;
    assert_eq!(charges(Some(dearer)).await, "conflict");
    assert_eq!(charges(mended).await, "-3");
    assert_eq!(charges(None).await, "-3");
    own.stop().await;
}

/// No further period settles a closed account: its last one ends in the journal all the same.
#[tokio::test]
async fn a_closed_account_is_settled_by_the_schedule() {
    let own = Own::start().await;
    let api = own.stack.api();
    let plan = unique("closing");
    let terms = json!({"name": "Closing", "interval": "month", "credits_interval": "month",
                       "credits": "1000"});
    api.put(&format!("/v1/plans/{plan}")).json(&terms).send().await.expect(200);
    let account = unique("closed");
    let path = format!("/v1/accounts/{account}");
    let subscribe = api.post(&format!("{path}/subscriptions")).key("s");
    subscribe.json(&json!({"plan": plan})).send().await.expect(201);
    let close = json!({"status": "closed", "reason": "left"});
    api.put(&path).json(&close).send().await.expect(200);
    for _ in 0..2 {
        own.advance(32 * DAY).await;
    }
    let journal = super::stack::journal(&api, &account).await;
    let last = journal.last().unwrap();
    assert_eq!((&last["kind"], &last["balance_after"]["posted"]), (&json!("expiry"), &json!("0")));
    own.stop().await;
}

/// A version of the ratios that a hold keeps, or a request names, may be older than the account's price
/// group.
#[tokio::test]
async fn older_ratios_price_for_a_group_that_is_newer() {
    let own = Own::start().await;
    let api = own.stack.api();
    let account = open(&api, "newer-group", "100").await;
    publish(&api, |models| models["e2e/held"] = text_model("1", "1")).await;
    let items = json!([{"model": "e2e/held", "usage": {"input_tokens": 10_000_000}}]);
    let path = format!("/v1/accounts/{account}");
    let hold = api.post(&format!("{path}/holds")).key("h").json(&json!({"items": items}));
    let held = hold.send().await.expect(201);
    let (hold, version) = (&held["hold"]["id"], &held["hold"]["ratio_version"]);

    own.advance(2).await;
    publish_table(&api, |table| {
        table["groups"]["half"] = json!("0.5");
        table["models"]["e2e/held"] = text_model("7", "7");
    })
    .await;
    // Also where the version before is what is known so far.
    api.put(&path).json(&json!({"price_group": "half"})).send().await.expect(200);

    let capture = format!("{path}/holds/{}/capture", hold.as_str().unwrap());
    let capture = api.post(&capture).key("c").json(&json!({"items": items, "final": true}));
    let captured = capture.send().await.expect(201);
    assert_eq!(captured["operation"]["credits"], "-5");

    let older = json!({"account": account, "items": items, "ratio_version": version});
    let estimate = api.post("/v1/estimates").json(&older).send().await.expect(200);
    assert_eq!(estimate["total"]["max"], "5");
    let older = json!({"items": items, "ratio_version": version});
    let hold = api.post(&format!("{path}/holds")).key("older").json(&older);
    assert_eq!(hold.send().await.expect(201)["hold"]["credits"], "5");
    let charge = api.post(&format!("{path}/charges")).key("newest");
    let charge = charge.json(&json!({"items": items})).send().await.expect(201);
    assert_eq!(charge["operation"]["credits"], "-35");
    let again =
        format!("{path}/transactions/{}/rerate", charge["operation"]["id"].as_str().unwrap());
    let again = api.post(&again).json(&json!({"ratio_version": version}));
    assert_eq!(again.send().await.expect(200)["credits"], "5");
    own.stop().await;
}

/// Usage of an account whose price group is in no table is kept as any other that has no price.
#[tokio::test]
async fn usage_in_a_price_group_that_is_gone_is_parked() {
    let own = Own::start().await;
    let api = own.stack.api();
    let account = open(&api, "gone-group", "100").await;
    let path = format!("/v1/accounts/{account}");
    publish(&api, |models| models["e2e/grouped"] = text_model("2", "2")).await;
    let with_group = |table: &mut Value| table["groups"]["half"] = json!("0.5");
    let without_group = |table: &mut Value| {
        table["groups"].as_object_mut().unwrap().remove("half");
    };
    publish_table(&api, with_group).await;
    api.put(&path).json(&json!({"price_group": "half"})).send().await.expect(200);
    publish_table(&api, without_group).await;
    own.advance(31).await;

    let usage = json!({"model": "e2e/grouped", "usage": {"input_tokens": 1_000_000}});
    let charge = |key: &str, body: &Value| api.post(&format!("{path}/charges")).key(key).json(body);
    let refused = charge("a", &usage).send().await.expect(409);
    assert_eq!(refused["code"], "unknown_price_group");
    let mut parked = usage.clone();
    parked["on_unpriced"] = json!("park");
    let unrated = charge("b", &parked).send().await.expect(202)["unrated"].clone();
    assert_eq!(unrated["reason"], "unknown_price_group");
    let rate = format!("/v1/unrated/{}/rate", unrated["id"].as_str().unwrap());
    let refused = api.post(&rate).json(&json!({})).send().await.expect(409);
    assert_eq!(refused["code"], "unknown_price_group");

    publish_table(&api, with_group).await;
    let rated = api.post(&rate).json(&json!({})).send().await.expect(201);
    assert_eq!(rated["operation"]["credits"], "-1");
    own.stop().await;
}

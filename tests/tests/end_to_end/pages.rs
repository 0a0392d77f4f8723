//! Lists, page by page, and cursors that are none.

use serde_json::{Value, json};
use uc_tests::client::Client;

use super::stack::{charge, event_json, open, pages, shared};

/// The items of a list and the cursors between its pages.
async fn walk(api: &Client, path: &str) -> (Vec<Value>, Vec<String>) {
    let (mut items, mut cursors) = (Vec::new(), Vec::new());
    let mut next = path.to_owned();
    loop {
        let page = api.get(&next).send().await.expect(200);
        items.extend(page["items"].as_array().unwrap().iter().cloned());
        let Some(cursor) = page["next_cursor"].as_str() else { return (items, cursors) };
        next = format!("{path}&cursor={cursor}");
        cursors.push(cursor.to_owned());
    }
}

async fn assert_no_cursor(api: &Client, path: &str, cursor: &str) {
    let answer = api.get(&format!("{path}cursor={cursor}")).send().await;
    let got = (answer.status, answer.code());
    assert_eq!(got, (400, "invalid_request".to_owned()), "{path} {cursor}");
}

#[tokio::test]
async fn transactions() {
    let api = shared().api();
    let (account, other) = (open(&api, "pages", "10").await, open(&api, "pages", "10").await);
    for number in 0..6 {
        charge(&api, &account, &format!("k{number}"), "1").send().await.expect(201);
    }
    let path = format!("/v1/accounts/{account}/transactions?");
    let (all, _) = walk(&api, &format!("{path}limit=100")).await;
    let ids: Vec<_> = all.iter().map(|operation| operation["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["op_7_0", "op_6_0", "op_5_0", "op_4_0", "op_3_0", "op_2_0", "op_1_0"]);
    for limit in [1, 2, 3, 7] {
        let (paged, cursors) = walk(&api, &format!("{path}limit={limit}")).await;
        assert_eq!(paged, all, "{limit}");
        assert!(cursors.len() <= 7 / limit, "{limit}");
    }

    // What happens in between shifts nothing.
    let first = api.get(&format!("{path}limit=3")).send().await.expect(200);
    charge(&api, &account, "k7", "1").send().await.expect(201);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = api.get(&format!("{path}limit=4&cursor={cursor}")).send().await.expect(200);
    assert_eq!(second["items"].as_array().unwrap(), &all[3..]);

    for bad in ["x", "", "AAAA", "%00", "..", &cursor[1..], &format!("{cursor}A")] {
        assert_no_cursor(&api, &path, bad).await;
    }
    assert_no_cursor(&api, &format!("/v1/accounts/{other}/transactions?"), cursor).await;
    assert_no_cursor(&api, "/v1/accounts?", cursor).await;
    assert_no_cursor(&api, "/v1/rates?", cursor).await;
    for bad in ["limit=0", "limit=101", "limit=x", "limit=1&limit=2", "limit=1&page=2"] {
        let answer = api.get(&format!("{path}{bad}")).send().await;
        assert_eq!((answer.status, &*answer.code()), (400, "invalid_request"), "{bad}");
    }
    let missing = api.get(&format!("/v1/accounts/{account}/transactions/op_99_0")).send().await;
    assert_eq!((missing.status, &*missing.code()), (404, "not_found"));
    let odd = api.get(&format!("/v1/accounts/{account}/transactions/op_1_0_0")).send().await;
    assert_eq!((odd.status, &*odd.code()), (404, "not_found"));
}

#[tokio::test]
async fn accounts() {
    let api = shared().api();
    let mut mine = Vec::new();
    for _ in 0..5 {
        mine.push(open(&api, "listed", "1").await);
    }
    let (all, _) = walk(&api, "/v1/accounts?limit=7").await;
    let names: Vec<_> = all.iter().map(|item| item["account"].as_str().unwrap()).collect();
    for account in &mine {
        assert_eq!(names.iter().filter(|name| *name == account).count(), 1, "{account}");
    }
    let page = api.get("/v1/accounts?limit=1").send().await.expect(200);
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    assert_no_cursor(&api, "/v1/plans?", page["next_cursor"].as_str().unwrap()).await;
}

#[tokio::test]
async fn the_rate_card() {
    let api = shared().api();
    let example = event_json("ratios.example.json");
    let enabled = |model: &&Value| model["enabled"] != json!(false);
    let number = example["models"].as_object().unwrap().values().filter(enabled).count();

    let (cards, cursors) = walk(&api, "/v1/rates?limit=7").await;
    // Other tests publish models of their own meanwhile.
    assert!(cards.len() >= number && cursors.len() >= number / 7);
    let ids: Vec<_> = cards.iter().map(|card| card["id"].as_str().unwrap()).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    // What buyers may see: no costs, no match rules, nothing that is switched off.
    for card in &cards {
        let text = card.to_string();
        assert!(!text.contains("\"cost\"") && !text.contains("\"match\""), "{text}");
    }
    for (id, model) in example["models"].as_object().unwrap() {
        let card =
            cards.iter().find(|card| card["id"] == json!(id)).unwrap_or_else(|| panic!("{id}"));
        let rows = |of: &Value| of["ratios"].as_array().unwrap().len();
        assert_eq!((rows(card), &card["feature"]), (rows(model), &model["feature"]), "{id}");
    }

    for card in pages(&api, "/v1/rates?feature=video").await {
        assert_eq!(card["feature"], "video");
    }
    let openai = pages(&api, "/v1/rates?prefix=openai%2Fgpt-5").await;
    assert!(openai.iter().any(|card| card["id"] == "openai/gpt-5.1"));
    assert!(openai.iter().all(|card| card["id"].as_str().unwrap().starts_with("openai/gpt-5")));

    // An account's price group counts.
    let account = open(&api, "card", "10").await;
    let path = format!("/v1/accounts/{account}");
    api.put(&path).json(&json!({"price_group": "pro"})).send().await.expect(200);
    let card = api.get(&format!("/v1/rates?account={account}&prefix=action%2Fvoice-clone"));
    let card = card.send().await;
    let plain = api.get("/v1/rates?prefix=action%2Fvoice-clone").send().await;
    assert_ne!(card.header("etag"), plain.header("etag"));
    let price = |answer: &uc_tests::client::Answer| {
        let value = answer.expect(200)["items"][0]["ratios"][0]["credits"].clone();
        super::stack::credits(&value)
    };
    assert_eq!(price(&card).micros() * 10, price(&plain).micros() * 9);

    // Nothing comes twice.
    let again = api
        .get(&format!("/v1/rates?account={account}"))
        .header("if-none-match", card.header("etag").unwrap())
        .send()
        .await;
    // Somebody may have published in between.
    assert!(again.status == 304 || again.header("etag") != card.header("etag"), "{}", again.text());
}

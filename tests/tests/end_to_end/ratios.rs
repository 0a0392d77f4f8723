//! What an administrator does with the ratio table.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use uc_tests::client::{Answer, Call, Client};

use super::stack::{priced, shared, text_model, unique};

/// Sends a request with the current version as `If-Match`, until nobody else was faster, and
/// returns that version and the answer.
async fn over_current(api: &Client, call: impl Fn(u64) -> Call) -> (u64, Answer) {
    for _ in 0..30 {
        let current = current(api).await;
        let answer = call(current).header("if-match", &format!("\"{current}\"")).send().await;
        if answer.status != 412 {
            return (current, answer);
        }
        tokio::time::sleep(std::time::Duration::from_millis(fastrand::u64(20..200))).await;
    }
    panic!("somebody else always publishes first");
}

/// The version in force.
async fn current(api: &Client) -> u64 {
    let newest = api.get("/v1/ratios/versions?limit=1").send().await.expect(200);
    newest["items"][0]["version"].as_u64().unwrap()
}

fn version(answer: &Answer) -> u64 {
    let value = answer.expect(200);
    let version = value["version"].as_u64().unwrap();
    assert_eq!(answer.header("etag"), Some(&*format!("\"{version}\"")));
    version
}

/// What a thousand input tokens of a model cost by a version.
async fn price(api: &Client, model: &str, version: u64) -> Value {
    let body = json!({
        "ratio_version": version, "items": [{"model": model, "usage": {"input_tokens": 1000}}],
    });
    let answer = priced(api.post("/v1/estimates").json(&body)).await;
    if answer.status == 200 {
        answer.value()["total"]["expected"].clone()
    } else {
        json!(answer.code())
    }
}

#[tokio::test]
async fn one_model_after_the_other() {
    let api = shared().api();
    let name = unique("openai/e2e");
    let path = format!("/v1/ratios/models?model={}", name.replace('/', "%2F"));

    let put = |price: &'static str| {
        let (api, path) = (&api, &path);
        move |_| api.put(path).json(&text_model(price, "1"))
    };
    let (before, answer) = over_current(&api, put("1000")).await;
    let added = version(&answer);
    assert!(added > before);
    assert_eq!(price(&api, &name, added).await, "1");

    let (_, answer) = over_current(&api, put("2000")).await;
    let changed = version(&answer);
    assert_eq!(price(&api, &name, changed).await, "2");
    // What an estimate showed counts for a quarter of an hour.
    assert_eq!(price(&api, &name, added).await, "1");
    let tables = [added, changed].map(|version| api.get(&format!("/v1/ratios/versions/{version}")));
    for (call, credits) in tables.into_iter().zip(["1000", "2000"]) {
        let table = call.send().await.expect(200);
        assert_eq!(table["models"][&name]["ratios"][0]["credits"], credits);
    }

    let (_, answer) = over_current(&api, |_| api.delete(&path)).await;
    let removed = version(&answer);
    assert_eq!(price(&api, &name, removed).await, "unknown_model");
    let (_, answer) = over_current(&api, |_| api.delete(&path)).await;
    assert_eq!((answer.status, &*answer.code()), (404, "not_found"));

    // An incomplete model is not published either.
    let mut half = text_model("1", "2");
    half["ratios"].as_array_mut().unwrap().pop();
    let (_, answer) = over_current(&api, |_| api.put(&path).json(&half)).await;
    assert_eq!((answer.status, &*answer.code()), (422, "ratios_incomplete"));
    assert!(!answer.pointers().is_empty());
}

#[tokio::test]
async fn nobody_publishes_over_somebody_else() {
    let api = shared().api();
    let names = [(); 4].map(|()| unique("e2e/race"));
    // Each publishes a table of its own over the same version: at most one gets through, and one
    // does unless another test was faster than all.
    for _ in 0..20 {
        let seen = api.get("/v1/ratios").send().await;
        let etag = seen.header("etag").unwrap();
        let table = seen.expect(200);
        let publish = |name: &str| {
            let mut table = table.clone();
            table["models"][name] = text_model("1", "2");
            api.put("/v1/ratios").header("if-match", etag).json(&table).send()
        };
        let [a, b, c, d] = names.each_ref().map(|name| publish(name));
        let answers: [Answer; 4] = tokio::join!(a, b, c, d).into();
        let won: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
        assert!(won.len() <= 1);
        for lost in answers.iter().filter(|answer| answer.status != 200) {
            assert_eq!((lost.status, &*lost.code()), (412, "precondition_failed"));
        }
        if let [won] = won[..] {
            // The same again, as after a lost answer: it is there.
            let winner = answers.iter().position(|answer| answer.status == 200).unwrap();
            let again = publish(&names[winner]).await;
            assert!(again.status == 412 || version(&again) == version(won));
            return;
        }
    }
    panic!("somebody else always publishes first");
}

#[tokio::test]
async fn if_match() {
    let api = shared().api();
    let name = unique("e2e/match");
    let model = format!("/v1/ratios/models?model={name}");
    let put = || api.put(&model).json(&text_model("1", "2"));
    let rollback = || api.post("/v1/ratios/rollback").json(&json!({"version": 1}));
    for call in [put(), api.delete(&model), rollback()] {
        for bad in [None, Some("1"), Some("\"x\""), Some("*"), Some("\"-1\""), Some("W/\"1\"")] {
            let call = call.clone();
            let call = bad.map_or(call.clone(), |bad| call.header("if-match", bad));
            let answer = call.send().await;
            assert_eq!((answer.status, &*answer.code()), (400, "invalid_request"), "{bad:?}");
        }
    }
    for call in [put(), rollback()] {
        // Not the current one since the first other publication; 404 for a version never made.
        let answer = call.clone().header("if-match", "\"999999999\"").send().await;
        assert!(matches!(answer.status, 404 | 412), "{}", answer.text());
    }
    let (_, answer) = over_current(&api, |_| put()).await;
    version(&answer);
    let stale = put().header("if-match", "\"1\"").send().await;
    assert_eq!((stale.status, &*stale.code()), (412, "precondition_failed"));

    let seen = api.get("/v1/ratios").send().await;
    let etag = seen.header("etag").unwrap();
    let again = api.get("/v1/ratios").header("if-none-match", etag).send().await;
    assert!(again.status == 304 || again.header("etag") != Some(etag));
}

#[tokio::test]
async fn versions_and_rollback() {
    let api = shared().api();
    let name = unique("e2e/rollback");
    // A version with the model over one without it. Rolling back in `If-Match` of exactly that
    // version takes away the model, and nothing that somebody else has published.
    let (before, rolled) = loop {
        let (before, answer) = over_current(&api, |_| {
            api.put(&format!("/v1/ratios/models?model={name}")).json(&text_model("1", "2"))
        })
        .await;
        let with = version(&answer);
        let answer = api
            .post("/v1/ratios/rollback")
            .header("if-match", &format!("\"{with}\""))
            .json(&json!({"version": before}))
            .send()
            .await;
        if answer.status == 200 {
            break (before, version(&answer));
        }
        assert_eq!(answer.status, 412, "{}", answer.text());
        let path = format!("/v1/ratios/models?model={name}");
        over_current(&api, |_| api.delete(&path)).await.1.expect(200);
    };
    let tables = [before, rolled].map(|version| api.get(&format!("/v1/ratios/versions/{version}")));
    let [old, new] = tables.map(Call::send);
    assert_eq!(old.await.expect(200), new.await.expect(200));

    let listed = super::stack::pages(&api, "/v1/ratios/versions?limit=3").await;
    let versions: Vec<_> = listed.iter().map(|item| item["version"].as_u64().unwrap()).collect();
    assert!(versions.is_sorted_by(|a, b| *a == b + 1), "{versions:?}");
    assert_eq!(versions.last(), Some(&1));
    let item = listed.iter().find(|item| item["version"] == json!(rolled)).unwrap();
    assert_eq!(item["restores"], before);
    assert!(item["author"].is_string() && item["models"].as_u64().unwrap() >= 30);

    for (path, expected) in [
        ("/v1/ratios/versions/999999999", (404, "not_found")),
        ("/v1/ratios/versions/0", (404, "not_found")),
        ("/v1/ratios/versions/x", (400, "invalid_request")),
        ("/v1/ratios/versions/-1", (400, "invalid_request")),
        ("/v1/ratios/publications/nothing", (404, "not_found")),
    ] {
        let answer = api.get(path).send().await;
        assert_eq!((answer.status, &*answer.code()), expected, "{path}");
    }
    let (_, answer) = over_current(&api, |_| {
        api.post("/v1/ratios/rollback").json(&json!({"version": 999_999_999_u64}))
    })
    .await;
    assert_eq!((answer.status, &*answer.code()), (404, "not_found"));
}

#[tokio::test]
async fn a_table_can_be_validated_without_being_published() {
    let api = shared().api();
    let name = unique("e2e/validated");
    let mut table = api.get("/v1/ratios").send().await.expect(200);
    table["models"][&name] = text_model("1", "2");
    let valid = api.post("/v1/ratios/validate").json(&table).send().await.expect(200);
    let models = table["models"].as_object().unwrap().len();
    assert_eq!(valid, json!({"valid": true, "models": models}));
    let stored = api.get("/v1/ratios").send().await.expect(200);
    assert_eq!(stored["models"].get(&name), None);
}

/// Large tables may come compressed. `cargo lambda watch` itself refuses a body that says it is
/// JSON and is not UTF-8, so this is asked of the embedded gateway only.
#[tokio::test]
async fn a_table_may_come_compressed() {
    if !shared().embedded {
        return;
    }
    let api = shared().api();
    let name = unique("e2e/compressed");
    let published = loop {
        let current = api.get("/v1/ratios").send().await;
        let etag = current.header("etag").unwrap().to_owned();
        let mut table = current.expect(200);
        table["models"][&name] = text_model("1000", "2");
        let answer = api
            .put("/v1/ratios")
            .header("if-match", &etag)
            .header("content-encoding", "gzip")
            .raw(gzip(table.to_string().as_bytes()))
            .send()
            .await;
        if answer.status != 412 {
            break version(&answer);
        }
    };
    assert_eq!(price(&api, &name, published).await, "1");

    let table = gzip(&vec![b' '; 100_000]);
    // A small body that would inflate to 100 MB.
    let bomb = gzip(&vec![b' '; 100_000_000]);
    for (body, expected) in [
        (table[..table.len() / 2].to_vec(), (400, "invalid_request")),
        (b"{}".to_vec(), (400, "invalid_request")),
        (bomb, (413, "payload_too_large")),
    ] {
        let call = api.post("/v1/ratios/validate").header("content-encoding", "gzip").raw(body);
        let answer = call.send().await;
        assert_eq!((answer.status, &*answer.code()), expected);
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

//! Bytes as bodies: strict JSON, then every request of usage, up to what needs an account.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use uc_domain::Timestamp;
use uc_http::estimates::EstimateItem;
use uc_http::items::Item;
use uc_http::{fingerprint, parse_strict, parse_typed};

fuzz_target!(init: uc_fuzz::write_seeds(seeds()), |bytes: &[u8]| {
    if let Ok(strict) = parse_strict::<Value>(bytes) {
        let value = strict.value;
        assert_eq!(value, strict.body);
        // Written plainly it is the same request, but for a float that no route takes and that
        // may come back as its neighbour.
        let again = parse_strict::<Value>(value.to_string().as_bytes()).expect("it was strict");
        if again.value == value {
            let hash = |value: &Value| fingerprint("POST", "/v1/fuzz", value);
            assert_eq!(hash(&again.value), hash(&value));
        }
        if let Ok(item) = parse_typed::<Item>(&value) {
            let _ = item.read(String::new());
        }
        let _ = parse_typed::<EstimateItem>(&value);
    }
    let now = Timestamp::from_millis(1_767_225_600_000).expect("in range");
    charge::read_anyhow(bytes, now);
});

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = [
        r#"{"credits":"2.5","description":"an image","actor":"m-7","metadata":{"a":"b"}}"#,
        r#"{"items":[{"model":"m","usage":{"input_tokens":"1.5"},"parameters":{"size":"x"}}],
            "max_credits":"3","occurred_at":"2025-12-31T00:00:00Z","on_unpriced":"park"}"#,
        r#"{"items":[{"model":"m","request":{"messages":[{"role":"user","content":"hi\nyou"}]}}],
            "reserve":"expected","ttl_seconds":60,"on_shortfall":"partial","ratio_version":3}"#,
        r#"{"credits":"5","ttl_seconds":86400}"#,
        r#"{"credits":"5","reason":"goodwill","actor":"support"}"#,
        r#"{"model":"m","usage":{"output_tokens":2},"last":false}"#,
        r#"{"ttl_seconds":900}"#,
        r#"{"operations":[{"account":"acme","idempotency_key":"k","credits":"1"}]}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    let field =
        |value: &Value, name: &str| value[name].as_str().map(|text| text.as_bytes().to_vec());
    for event in uc_fuzz::read_all("events/apigw") {
        let event: Value = serde_json::from_str(&event).expect("JSON");
        seeds.extend(field(&event, "body"));
    }
    let queue: Value = serde_json::from_str(&uc_fuzz::read("events/queue.json")).expect("JSON");
    let records = queue["Records"].as_array().expect("records");
    seeds.extend(records.iter().filter_map(|record| field(record, "body")));
    for response in uc_fuzz::read_all("events/responses") {
        seeds.push(response.into_bytes());
    }
    seeds
}

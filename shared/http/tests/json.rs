//! What a body may be, over the extractors and over `parse_strict`.

use std::io::Write;

use axum::body::Body;
use axum::extract::FromRequest;
use axum::http::Request;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};
use uc_domain::{Credits, Quantity};
use uc_http::{
    BODY_LIMIT, Code, INFLATED_LIMIT, LARGE_BODY_LIMIT, LargeJson, Problem, StrictJson,
    fingerprint, parse_strict, parse_typed,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only whether it can be read matters")]
struct Charge {
    #[serde(default)]
    items: Vec<Item>,
    credits: Option<Credits>,
    description: Option<String>,
    provider_response: Option<Value>,
    metadata: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only whether it can be read matters")]
struct Item {
    #[serde(default)]
    usage: std::collections::BTreeMap<String, Quantity>,
    request: Option<Value>,
    provider_response: Option<Value>,
}

/// The pointer of the one fault, or the code where the fault has none.
fn fault(problem: &Problem) -> &str {
    match problem.errors() {
        [] => problem.code().as_str(),
        [fault] => &fault.pointer,
        _ => panic!("{problem}"),
    }
}

#[test]
fn bodies() {
    let check = |body: &str, expected: Option<&str>| {
        let parsed = parse_strict::<Charge>(body.as_bytes());
        let shown = &body[..body.floor_char_boundary(100)];
        match (&parsed, expected) {
            (Ok(_), None) => {}
            (Err(problem), Some(pointer)) => {
                assert_eq!(problem.code(), Code::InvalidRequest);
                assert_eq!(fault(problem), pointer, "{shown}: {problem}");
                assert!(serde_json::to_string(problem).unwrap().len() < 6_000, "{shown}");
            }
            _ => panic!("{shown}: {parsed:?}"),
        }
    };
    let not_json = Some("invalid_request");
    check("{}", None);
    check(r#" {"credits": "12.5"} "#, None);
    check(r#"{"description": "Grüße, 你好"}"#, None);

    // JSON itself.
    for bad in [
        "",
        " ",
        "{",
        "{}{}",
        "{} x",
        "[1,]",
        "{'a':1}",
        "NaN",
        r#"{"credits": NaN}"#,
        "\u{feff}{}",
    ] {
        check(bad, not_json);
    }
    check(r#"{"credits": 1e999}"#, not_json);
    check("[]", Some(""));
    check("null", Some(""));

    // Types: the pointer of what does not fit.
    for credits in ["1.5", "1", "1e9", "0.1", "-0", &"9".repeat(27), &"9".repeat(400)] {
        let expected = if credits.len() > 300 { not_json } else { Some("/credits") };
        check(&format!(r#"{{"credits": {credits}}}"#), expected);
    }
    for credits in ["1e9", "NaN", "", "1.0000001", "+1", &"9".repeat(27), &"9".repeat(60_000)] {
        check(&format!(r#"{{"credits": "{credits}"}}"#), Some("/credits"));
    }
    for quantity in ["1.5", "-1", "1e3", "1000000000000", &"9".repeat(27), "\"x\"", "null", "[]"] {
        let body = format!(r#"{{"items": [{{}}, {{"usage": {{"a/b~c": {quantity}}}}}]}}"#);
        check(&body, Some("/items/1/usage/a~1b~0c"));
    }
    check(r#"{"items": [{"usage": {"input_tokens": "1.5"}}]}"#, None);
    check(r#"{"items": [{"usage": 5}]}"#, Some("/items/0/usage"));

    // Unknown fields, by name.
    check(r#"{"creditz": "1"}"#, Some("/creditz"));
    check(r#"{"items": [{"usage": {}, "modle": "x"}]}"#, Some("/items/0/modle"));
    check(&format!(r#"{{"{}": 1}}"#, "x".repeat(1_000)), Some(&format!("/{}", "x".repeat(1_000))));

    // Fields that are there twice, however they are written.
    check(r#"{"credits": "1", "credits": "1"}"#, Some("/credits"));
    check(r#"{"credits": "1", "cr\u0065dits": "2"}"#, Some("/credits"));
    check(r#"{"items": [{"usage": {"a": 1, "a": 1}}]}"#, Some("/items/0/usage/a"));
    check(r#"{"metadata": {"a": [1, {"b": 1, "b": 2}]}}"#, Some("/metadata/a/1/b"));

    // Control characters, in values and names.
    for control in ["\\u0000", "\\n", "\\t", "\\u001f", "\u{7f}", "\\u007f"] {
        check(&format!(r#"{{"description": "a{control}b"}}"#), Some("/description"));
    }
    check(r#"{"metadata": {"a\n": 1}}"#, Some("/metadata/a\n"));
    check("{\"description\": \"a\nb\"}", not_json);

    // Sizes.
    let text = |length: usize| format!(r#"{{"description": "{}"}}"#, "a".repeat(length));
    check(&text(65_536), None);
    check(&text(65_537), Some("/description"));
    check(&format!(r#"{{"metadata": {{"{}": 1}}}}"#, "x".repeat(1_025)), Some("/metadata"));
    let deep = |levels: usize, field: &str| {
        format!(r#"{{"{field}": {}{}}}"#, "[".repeat(levels), "]".repeat(levels))
    };
    check(&deep(31, "metadata"), None);
    check(&deep(32, "metadata"), Some(&format!("/metadata{}", "/0".repeat(31))));
    check(&deep(100_000, "provider_response"), not_json);

    // What a provider wrote is not the caller's to mend; but only where it belongs.
    check(&deep(100, "provider_response"), None);
    let odd = r#"{"a\n": "\n\u0000", "a": 1.5, "b": 99999999999999999999999999999}"#;
    check(&format!(r#"{{"provider_response": {odd}}}"#), None);
    check(&format!(r#"{{"items": [{{}}, {{"provider_response": [{odd}]}}]}}"#), None);
    check(
        &format!(r#"{{"metadata": {{"provider_response": {odd}}}}}"#),
        Some("/metadata/provider_response/a\n"),
    );
    check(
        &format!(r#"{{"items": {{"provider_response": {odd}}}}}"#),
        Some("/items/provider_response/a\n"),
    );
    // Which of the two counts would be meant?
    check(
        r#"{"provider_response": {"usage": {"prompt_tokens": 1, "prompt_tokens": 9}}}"#,
        Some("/provider_response/usage/prompt_tokens"),
    );
    let long = "a".repeat(70_000);
    let name = format!(r#"{{"{long}": 1, "{long}": 1}}"#);
    check(&format!(r#"{{"provider_response": {name}}}"#), Some("/provider_response"));
    check(&format!(r#"{{"provider_response": {{"content": "{long}"}}}}"#), None);
    check(r#"{"provider_response": 1, "provider_response": 2}"#, Some("/provider_response"));

    // The texts of a described request are as they are; all else in it is the caller's.
    let described = |request: &str| format!(r#"{{"items": [{{"request": {request}}}]}}"#);
    check(&described(&format!(r#"{{"text": "{long}\n\t"}}"#)), None);
    check(&described(r#"{"messages": [{"content": [{"text": "a\nb"}]}]}"#), None);
    check(&described(r#"{"text": "a", "text": "b"}"#), Some("/items/0/request/text"));
    check(&described(r#"{"te\nxt": "a"}"#), Some("/items/0/request/te\nxt"));
    check(&described(&"[".repeat(40)), Some(&format!("/items/0/request{}", "/0".repeat(29))));
    check(&format!(r#"{{"metadata": {{"request": "{long}"}}}}"#), Some("/metadata/request"));

    let not_utf8 = parse_strict::<Charge>(b"{\"description\": \"\xff\"}").unwrap_err();
    assert!(not_utf8.detail().contains("UTF-8"));
}

#[test]
fn operations_of_a_batch_are_strict_each_for_itself() {
    let body = br#"{"operations": [{"provider_response": {"a": "\n"}}, {"credits": 1.5}]}"#;
    let batch = parse_strict::<Value>(body).unwrap().value;
    assert!(parse_typed::<Charge>(&batch["operations"][0]).is_ok());
    let problem = parse_typed::<Charge>(&batch["operations"][1]).unwrap_err();
    assert_eq!(fault(&problem), "/credits");
    let twice = br#"{"operations": [{}, {"credits": "1", "credits": "1"}]}"#;
    let problem = parse_strict::<Value>(twice).unwrap_err();
    assert_eq!(fault(&problem), "/operations/1/credits");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// What the two extractors say to these headers and this body: nothing, or a code.
async fn extract(headers: &[(&str, &str)], body: impl Into<Body>) -> (Option<Code>, Option<Code>) {
    let body = axum::body::to_bytes(body.into(), usize::MAX).await.unwrap();
    let request = || {
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::from(body.clone())).unwrap()
    };
    let small = StrictJson::<Value>::from_request(request(), &()).await;
    let large = LargeJson::<Value>::from_request(request(), &()).await;
    (small.err().map(|problem| problem.code()), large.err().map(|problem| problem.code()))
}

#[tokio::test]
async fn headers_and_sizes() {
    let (invalid, large) = (Some(Code::InvalidRequest), Some(Code::PayloadTooLarge));
    let json = ("content-type", "application/json");
    for good in [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/json;charset=\"UTF-8\"",
    ] {
        assert_eq!(extract(&[("content-type", good)], "{}").await, (None, None), "{good}");
    }
    for bad in [
        "",
        "text/plain",
        "application/jsonp",
        "application/problem+json",
        "application/json; charset=latin1",
        "application/json; x=y",
        "application/json, text/plain",
    ] {
        assert_eq!(extract(&[("content-type", bad)], "{}").await, (invalid, invalid), "{bad}");
    }
    assert_eq!(extract(&[], "{}").await, (invalid, invalid));
    assert_eq!(extract(&[json, json], "{}").await, (invalid, invalid));

    let padded = |length: usize| format!("{{}}{}", " ".repeat(length - 2));
    assert_eq!(extract(&[json], padded(BODY_LIMIT)).await, (None, None));
    assert_eq!(extract(&[json], padded(BODY_LIMIT + 1)).await, (large, None));
    assert_eq!(extract(&[json], padded(LARGE_BODY_LIMIT)).await, (large, None));
    assert_eq!(extract(&[json], padded(LARGE_BODY_LIMIT + 1)).await, (large, large));
    let announced = ("content-length", "5000000");
    assert_eq!(extract(&[json, announced], "{}").await, (large, large));

    let encoding = |name| ("content-encoding", name);
    assert_eq!(extract(&[json, encoding("identity")], "{}").await, (None, None));
    assert_eq!(extract(&[json, encoding("br")], "{}").await, (invalid, invalid));
    let zipped = extract(&[json, encoding("gzip")], gzip(b"{}")).await;
    assert_eq!(zipped, (invalid, None));
    for (bytes, expected) in [
        (b"{}".to_vec(), invalid),
        (gzip(b"{}")[..12].to_vec(), invalid),
        (gzip(padded(INFLATED_LIMIT).as_bytes()), None),
        (gzip(padded(INFLATED_LIMIT + 1).as_bytes()), large),
        // A bomb: 1 GB in 1 MB, of members that are each small.
        (gzip(&vec![b' '; 1_000_000]).repeat(1_000), large),
    ] {
        assert_eq!(extract(&[json, encoding("gzip")], bytes).await.1, expected);
    }
}

#[test]
fn fingerprints() {
    let of = |body: &str| {
        let value = parse_strict::<Value>(body.as_bytes()).unwrap().value;
        fingerprint("POST", "/v1/accounts/acme/charges", &value)
    };
    // Stored for good: this value must never change. It was computed with another language.
    assert_eq!(
        of(r#"{"b": [1, 1.5, "ü\"", null, true, {}, []], "a": {"z": "", "y": -1}}"#),
        [16, 219, 37, 228, 127, 205, 218, 154, 76, 170, 106, 115, 115, 251, 162, 51],
    );
    assert_eq!(of(r#"{"a":1,"b":2}"#), of("{ \"b\": 2,\n\"a\": 1 }"));
    let different =
        [r#"{"a":1}"#, r#"{"a":"1"}"#, r#"{"a":1.0}"#, r#"{"a":[1]}"#, "{}", "[]", "null", r#""""#];
    for (at, one) in different.iter().enumerate() {
        for other in &different[at + 1..] {
            assert_ne!(of(one), of(other), "{one} {other}");
        }
    }
    let body = json!({});
    assert_ne!(fingerprint("POST", "/a", &body), fingerprint("PUT", "/a", &body));
    assert_ne!(fingerprint("POST", "/a", &body), fingerprint("POST", "/b", &body));
}

fn any_json() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        "[ -~ü\"\\\\]{0,8}".prop_map(Value::from),
    ];
    scalar.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z~/\"]{0,4}", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(value in any_json()) {
        let parsed = parse_strict::<Value>(value.to_string().as_bytes()).unwrap();
        prop_assert_eq!(&parsed.value, &value);
        // The same text, so the map is sorted and the model is serde_json's own writer.
        let model = json!(["POST", "/a", value]).to_string();
        let digest = ring::digest::digest(&ring::digest::SHA256, model.as_bytes());
        prop_assert_eq!(&fingerprint("POST", "/a", &value)[..], &digest.as_ref()[..16]);
    }

    #[test]
    fn any_bytes_get_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[\\[\\]{}\",:0-9a\\\\nue.-]{0,60}") {
        let _ = parse_strict::<Charge>(&bytes);
        let _ = parse_strict::<Charge>(text.as_bytes());
    }
}

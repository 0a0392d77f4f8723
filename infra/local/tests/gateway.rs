//! What the gateway passes on, answers itself and refuses.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue};
use axum::routing::{get, post};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response};
use lambda_http::LambdaEvent;
use serde_json::{Value, json};
use uc_local::clock::MovableClock;
use uc_local::functions::Function;
use uc_local::gateway::{AllowedOrigins, BODY_LIMIT, Gateway, Route, RouteError};
use uc_local::schedule::Schedule;

fn route(method: Method, template: &str, function: &str) -> Route {
    Route { method, template: template.to_owned(), function: function.to_owned() }
}

/// `echo` answers with the event it got, `router` is an axum router, `panics` does.
fn gateway() -> Gateway {
    let echo = Function::events("echo", |event: LambdaEvent<Value>| async move {
        Ok::<_, Infallible>(json!({"statusCode": 200, "body": event.payload.to_string()}))
    });
    let panics = Function::events("panics", |event: LambdaEvent<Value>| async move {
        assert!(event.payload.is_null(), "on purpose");
        Ok::<_, Infallible>(Value::Null)
    });
    let axum = Router::new()
        .route(
            "/router/{account}/bytes",
            post(|Path(account): Path<String>, body: Bytes| async move {
                format!("{account} {body:?}")
            }),
        )
        .route(
            "/router/headers",
            get(|| async {
                let mut headers = HeaderMap::new();
                headers.append("set-cookie", HeaderValue::from_static("a=1"));
                headers.append("set-cookie", HeaderValue::from_static("b=2"));
                headers.append(
                    "access-control-allow-origin",
                    HeaderValue::from_static("https://function.example"),
                );
                headers.append("retry-after", HeaderValue::from_static("3"));
                headers
            }),
        );
    let clock = Arc::new(MovableClock::default());
    let routes = vec![
        route(Method::POST, "/v1/accounts/{account}/charges", "echo"),
        route(Method::GET, "/v1/{any}/charges/{id}", "panics"),
        route(Method::GET, "/v1/accounts/{account}/{id}", "panics"),
        route(Method::GET, "/v1/accounts/charges/batch", "echo"),
        route(Method::POST, "/router/{account}/bytes", "router"),
        route(Method::GET, "/router/headers", "router"),
    ];
    let functions = vec![echo.clone(), panics, Function::http("router", axum)];
    Gateway::new(functions, routes, Bytes::from_static(b"{}"), Arc::clone(&clock))
        .expect("a route table")
        .with_schedule(Schedule::new(echo, clock))
}

async fn send(gateway: &Gateway, request: Request<Full<Bytes>>) -> Response<Bytes> {
    let peer = SocketAddr::from(([127, 0, 0, 1], 4_000));
    let (parts, body) = gateway.answer(request, peer).await.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    Response::from_parts(parts, body)
}

fn request(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(body.into())).expect("a request")
}

#[tokio::test]
async fn a_request_becomes_an_event_of_format_2_0() {
    let sent = request(
        "POST",
        "/v1/accounts/team%7C7/charges?limit=5&tag=a&tag=b%20c",
        &[
            ("host", "localhost:9000"),
            ("content-type", "application/json; charset=utf-8"),
            ("Idempotency-Key", "k1"),
            ("x-many", "1"),
            ("x-many", "2"),
            ("cookie", "a=1; b=2"),
            ("user-agent", "curl"),
        ],
        r#"{"credits":"1"}"#,
    );
    let answer = send(&gateway(), sent).await;
    let mut event: Value = serde_json::from_slice(answer.body()).expect("the event");

    // What differs from request to request is taken out and looked at by itself.
    let mut take = |path: &str| event.pointer_mut(path).map(Value::take).unwrap_or_default();
    assert!(take("/headers/x-amzn-trace-id").as_str().expect("text").starts_with("Root=1-"));
    assert_eq!(take("/requestContext/requestId").as_str().expect("text").len(), 36);
    assert_eq!(
        take("/requestContext/time").as_str().expect("text").len(),
        "12/Mar/2026:19:03:58 +0000".len()
    );
    assert!(take("/requestContext/timeEpoch").as_i64().expect("a number") > 1_700_000_000_000);
    assert_eq!(
        event,
        json!({
            "version": "2.0",
            "routeKey": "POST /v1/accounts/{account}/charges",
            "rawPath": "/v1/accounts/team|7/charges",
            "rawQueryString": "limit=5&tag=a&tag=b%20c",
            "cookies": ["a=1", "b=2"],
            "headers": {
                "host": "localhost:9000",
                "content-type": "application/json; charset=utf-8",
                "idempotency-key": "k1",
                "x-many": "1,2",
                "user-agent": "curl",
                "x-amzn-trace-id": null,
                "x-forwarded-for": "127.0.0.1",
                "x-forwarded-port": "9000",
                "x-forwarded-proto": "http",
            },
            "queryStringParameters": {"limit": "5", "tag": "a,b c"},
            "pathParameters": {"account": "team|7"},
            "requestContext": {
                "accountId": "000000000000",
                "apiId": "local",
                "domainName": "localhost",
                "domainPrefix": "localhost",
                "http": {
                    "method": "POST",
                    "path": "/v1/accounts/team|7/charges",
                    "protocol": "HTTP/1.1",
                    "sourceIp": "127.0.0.1",
                    "userAgent": "curl",
                },
                "requestId": null,
                "routeKey": "POST /v1/accounts/{account}/charges",
                "stage": "$default",
                "time": null,
                "timeEpoch": null,
            },
            "body": r#"{"credits":"1"}"#,
            "isBase64Encoded": false,
        })
    );
}

#[tokio::test]
async fn only_text_goes_into_an_event_as_it_is() {
    let gateway = gateway();
    for (headers, body, expected, encoded) in [
        (vec![("content-type", "application/json")], &b"{}"[..], "{}", false),
        (vec![("content-type", "text/csv")], b"a,b", "a,b", false),
        (vec![("content-type", "application/x-ndjson")], b"{}", "e30=", true),
        (vec![], b"{}", "e30=", true),
        (vec![("content-type", "application/json")], b"\xff", "/w==", true),
        (
            vec![("content-type", "application/json"), ("content-encoding", "gzip")],
            b"{}",
            "e30=",
            true,
        ),
    ] {
        let sent = request("POST", "/v1/accounts/a/charges", &headers, body);
        let answer = send(&gateway, sent).await;
        let event: Value = serde_json::from_slice(answer.body()).expect("the event");
        assert_eq!(event["body"], expected, "{headers:?}");
        assert_eq!(event["isBase64Encoded"], encoded, "{headers:?}");
    }
    let none = send(&gateway, request("POST", "/v1/accounts/a/charges", &[], "")).await;
    let event: Value = serde_json::from_slice(none.body()).expect("the event");
    assert_eq!(event.get("body"), None);
}

#[tokio::test]
async fn answers_that_are_the_gateways_own() {
    let gateway = gateway();
    let not_found = r#"{"message":"Not Found"}"#;
    for (method, path, status, body) in [
        ("GET", "/v1/nothing", 404, not_found),
        // A path that is known, with another method.
        ("GET", "/v1/accounts/a/charges/", 404, not_found),
        ("DELETE", "/v1/accounts/a/charges", 404, not_found),
        ("POST", "/v1/accounts//charges", 404, not_found),
        // Decoded before routing: one segment more.
        ("POST", "/v1/accounts/a%2Fb/charges", 404, not_found),
        ("POST", "/v1/accounts/%ff/charges", 400, r#"{"message":"Bad Request"}"#),
        ("GET", "/v1/accounts/a/b", 500, r#"{"message":"Internal Server Error"}"#),
        ("GET", "/openapi.json", 200, "{}"),
        (
            "POST",
            "/2015-03-31/functions/none/invocations",
            404,
            r#"{"Message":"Function not found: none","Type":"User"}"#,
        ),
    ] {
        let answer = send(&gateway, request(method, path, &[], "")).await;
        assert_eq!(
            (answer.status().as_u16(), answer.body().as_ref()),
            (status, body.as_bytes()),
            "{method} {path}"
        );
        assert_eq!(answer.headers()["content-type"], "application/json", "{method} {path}");
    }
    let odd = request("POST", "/v1/accounts/a/charges", &[("host", "a/b?c")], "");
    assert_eq!(send(&gateway, odd).await.status(), 400);
    for (length, status) in [(BODY_LIMIT, 200), (BODY_LIMIT + 1, 413)] {
        let sent = request("POST", "/v1/accounts/a/charges", &[], vec![b' '; length]);
        assert_eq!(send(&gateway, sent).await.status().as_u16(), status, "{length} bytes");
    }
}

#[tokio::test]
async fn a_literal_segment_goes_before_a_parameter() {
    let gateway = gateway();
    let answer = send(&gateway, request("GET", "/v1/accounts/charges/batch", &[], "")).await;
    assert_eq!(answer.status(), 200, "echo, not one of the two that panic");

    let clock = Arc::new(MovableClock::default());
    let echo = || {
        Function::events("echo", |_: LambdaEvent<Value>| async { Ok::<_, Infallible>(Value::Null) })
    };
    for (routes, expected) in [
        (
            vec![route(Method::GET, "/a/{x}", "echo"), route(Method::GET, "/a/{y}", "echo")],
            "GET /a/{y} is the same route as /a/{x}",
        ),
        (
            vec![route(Method::GET, "/a", "none")],
            "GET /a goes to none, which is not a function here",
        ),
    ] {
        let refused: RouteError =
            Gateway::new(vec![echo()], routes, Bytes::new(), Arc::clone(&clock))
                .err()
                .expect("refused");
        assert_eq!(refused.to_string(), expected);
    }
}

#[tokio::test]
async fn browsers_may_read_every_answer_and_play_no_operator() {
    let only = AllowedOrigins::Only(vec!["https://app.example".to_owned()]);
    for (origins, origin, allowed) in [
        (AllowedOrigins::Any, "https://any.example", Some("*")),
        (only.clone(), "https://app.example", Some("https://app.example")),
        (only, "https://other.example", None),
    ] {
        let gateway = gateway().with_origins(origins);
        for (method, path, status) in [
            ("OPTIONS", "/v1/accounts/a/charges", 204),
            ("OPTIONS", "/v1/nothing", 204),
            ("POST", "/v1/accounts/a/charges", 200),
            ("GET", "/router/headers", 200),
            ("GET", "/v1/nothing", 404),
            ("GET", "/v1/accounts/a/b", 500),
            ("POST", "/_local/clock", 403),
            ("POST", "/2015-03-31/functions/echo/invocations", 403),
        ] {
            let headers = [("origin", origin), ("access-control-request-method", "POST")];
            let answer = send(&gateway, request(method, path, &headers, "")).await;
            let header =
                |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
            assert_eq!(answer.status().as_u16(), status, "{method} {path}");
            assert_eq!(header("access-control-allow-origin"), allowed, "{method} {path}");
            let expose = allowed.map(|_| "etag,idempotent-replayed,retry-after,x-request-id");
            assert_eq!(header("access-control-expose-headers"), expose, "{method} {path}");
            let allow = allowed.filter(|_| method == "OPTIONS");
            let headers =
                allow.map(|_| "authorization,content-type,idempotency-key,if-match,if-none-match");
            assert_eq!(header("access-control-allow-headers"), headers, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_router_answers_as_it_does_in_lambda() {
    let gateway = gateway();
    let sent =
        request("POST", "/router/a%40b/bytes", &[("host", "localhost:9000")], &b"\xff\x00"[..]);
    let answer = send(&gateway, sent).await;
    assert_eq!(answer.body(), &Bytes::from_static(br#"a@b b"\xff\0""#));

    let answer = send(&gateway, request("GET", "/router/headers", &[], "")).await;
    let cookies: Vec<_> = answer.headers().get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    assert_eq!(answer.headers()["retry-after"], "3");
    assert_eq!(answer.headers().get("access-control-allow-origin"), None, "the gateway's business");
}

#[tokio::test]
async fn functions_are_invoked_with_any_event_and_the_clock_fires_the_schedule() {
    let gateway = gateway();
    let echoed = send(
        &gateway,
        request("POST", "/2015-03-31/functions/echo/invocations", &[], r#"{"a":1}"#),
    )
    .await;
    assert_eq!(echoed.body(), &Bytes::from_static(br#"{"body":"{\"a\":1}","statusCode":200}"#));
    let failed =
        send(&gateway, request("POST", "/2015-03-31/functions/panics/invocations", &[], "{}"))
            .await;
    assert_eq!(failed.status(), 200);
    assert_eq!(failed.headers()["x-amz-function-error"], "Unhandled");

    let now = send(&gateway, request("GET", "/_local/clock", &[], "")).await;
    let now: Value = serde_json::from_slice(now.body()).expect("JSON");
    let moved =
        send(&gateway, request("POST", "/_local/clock", &[], r#"{"advance_seconds":2678400}"#))
            .await;
    let moved: Value = serde_json::from_slice(moved.body()).expect("JSON");
    assert!(moved["now"].as_str() > now["now"].as_str());
    let event = moved["schedule"]["body"].as_str().expect("the schedule's event");
    let event: Value = serde_json::from_str(event).expect("JSON");
    assert_eq!(
        (&event["source"], &event["detail-type"]),
        (&json!("aws.events"), &json!("Scheduled Event"))
    );
    assert_eq!(event["time"], moved["now"]);
    for refused in [r#"{"advance_seconds":-1}"#, r#"{"advance_seconds":9223372036854775807}"#, "{}"]
    {
        let answer = send(&gateway, request("POST", "/_local/clock", &[], refused)).await;
        assert_eq!(answer.status(), 400, "{refused}");
    }
}

//! From an API Gateway event to the router and back.

use std::convert::Infallible;

use axum::Router;
use axum::http::Uri;
use axum::http::header::SET_COOKIE;
use axum::response::Response;
use http_body_util::BodyExt;
use lambda_http::aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use lambda_http::request::{LambdaRequest, RequestContext};
use lambda_http::tower::ServiceExt;
use lambda_http::{Body, Error, LambdaEvent, Request, RequestExt, service_fn};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

/// All but what RFC 3986 has in a path; `%` is looked at apart.
const NOT_IN_PATHS: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@')
    .remove(b'/');
/// What can't be in a query; a query comes as it was sent, so this finds nothing in what a gateway
/// let through.
const NOT_IN_QUERIES: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'`');

/// Serves `router` as this Lambda function until the end.
///
/// # Errors
/// When Lambda's runtime API can't be reached.
pub async fn run(router: Router) -> Result<(), Error> {
    lambda_http::lambda_runtime::run(service_fn(move |event| invoke(router.clone(), event))).await
}

/// The function as Lambda calls it: an API Gateway event (payload 2.0) in, its answer out.
///
/// A gateway decodes the path before it hands it on, and `lambda_http` reads that text as a URL: a
/// decoded `?` would begin a query, `..` would leave the account that the route was chosen for, and
/// a tab would vanish. Here the path becomes a URI path again, so that what a handler gets is what
/// the gateway routed. A stage's name in front is taken off.
///
/// # Errors
/// Never: what can go wrong is an answer.
pub async fn invoke(
    router: Router,
    event: LambdaEvent<LambdaRequest>,
) -> Result<impl Serialize, Infallible> {
    let LambdaEvent { payload, context } = set_aside(event);
    let request = restore(Request::from(payload).with_lambda_context(context));
    Ok(answer(router.oneshot(request).await?).await)
}

/// The answer as API Gateway takes it. `lambda_http` would go by the content type, for which it
/// brings tables of every character set (150 KB); here text is what is UTF-8.
async fn answer(response: Response) -> ApiGatewayV2httpResponse {
    let (mut parts, body) = response.into_parts();
    let bytes = body.collect().await.expect("bodies are in memory").to_bytes();
    let mut answer = ApiGatewayV2httpResponse::default();
    answer.status_code = parts.status.as_u16().into();
    // API Gateway takes one header of a name, and cookies apart.
    let cookies = parts.headers.get_all(SET_COOKIE).iter();
    answer.cookies = cookies.filter_map(|cookie| Some(cookie.to_str().ok()?.to_owned())).collect();
    parts.headers.remove(SET_COOKIE);
    answer.headers = parts.headers;
    answer.body = match String::from_utf8(bytes.into()) {
        Ok(text) if text.is_empty() => None,
        Ok(text) => Some(Body::Text(text)),
        Err(error) => Some(Body::Binary(error.into_bytes())),
    };
    answer.is_base64_encoded = matches!(answer.body, Some(Body::Binary(_)));
    answer
}

/// Puts the target where the conversion leaves it alone.
fn set_aside(mut event: LambdaEvent<LambdaRequest>) -> LambdaEvent<LambdaRequest> {
    if let LambdaRequest::ApiGatewayV2(request) = &mut event.payload {
        request.request_context.http.path = Some(target(request));
        request.request_context.stage = None;
        request.raw_path = Some("/".to_owned());
        request.raw_query_string = None;
    }
    event
}

/// Takes it from there.
fn restore(mut request: Request) -> Request {
    if let Some(RequestContext::ApiGatewayV2(context)) = request.extensions().get() {
        let target = context.http.path.as_deref().unwrap_or("/");
        // Only one of over 64 KiB does not parse, and no gateway lets that through.
        *request.uri_mut() = target.parse().unwrap_or(Uri::from_static("/"));
    }
    request
}

/// The path and the query as a URI has them.
fn target(request: &ApiGatewayV2httpRequest) -> String {
    let path = request.raw_path.as_deref().unwrap_or("/");
    let stage = request.request_context.stage.as_deref().filter(|stage| *stage != "$default");
    let path = stage
        .and_then(|stage| path.strip_prefix('/')?.strip_prefix(stage))
        .filter(|rest| rest.starts_with('/'))
        .unwrap_or(path);
    let mut target = encode_path(path);
    if let Some(query) = request.raw_query_string.as_deref().filter(|query| !query.is_empty()) {
        target.push('?');
        target.extend(utf8_percent_encode(query, NOT_IN_QUERIES));
    }
    target
}

/// Encodes what can't be in a path. What is encoded already stays: some gateways don't decode.
fn encode_path(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    if !path.starts_with('/') {
        encoded.push('/');
    }
    for (at, part) in path.split('%').enumerate() {
        if at > 0 {
            let is_escape = part.len() >= 2 && part.bytes().take(2).all(|b| b.is_ascii_hexdigit());
            encoded.push_str(if is_escape { "%" } else { "%25" });
        }
        encoded.extend(utf8_percent_encode(part, NOT_IN_PATHS));
    }
    encoded
}

#[cfg(test)]
mod tests {
    use axum::extract::RawQuery;
    use axum::routing::get;
    use lambda_http::Context;
    use serde_json::{Value, json};

    use super::*;
    use crate::extract::PathParams;

    #[tokio::test]
    async fn what_the_gateway_routed_is_what_the_handler_gets() {
        async fn check(stage: &str, path: &str, query: &str, expected: Value) {
            let router = Router::new()
                .route(
                    "/v1/accounts/{account}",
                    get(|path: PathParams, RawQuery(query): RawQuery| async move {
                        let account: String = path.get("account").unwrap();
                        json!([account, query]).to_string()
                    }),
                )
                .fallback(|| async { "null" });
            let event = json!({
                "version": "2.0", "routeKey": "GET /v1/accounts/{account}", "rawPath": path,
                "rawQueryString": query, "headers": {"host": "a.example"}, "isBase64Encoded": false,
                "requestContext": {
                    "stage": stage, "requestId": "r", "timeEpoch": 0,
                    "http": {"method": "GET", "path": path, "protocol": "HTTP/1.1"},
                },
            });
            let event =
                LambdaEvent::new(serde_json::from_value(event).unwrap(), Context::default());
            let Ok(answer) = invoke(router, event).await;
            let answer = serde_json::to_value(answer).unwrap();
            assert_eq!(answer["body"], expected.to_string(), "{path} {query}");
        }
        let default = "$default";
        for account in [
            "acme", "a|b", "..", ".", "a?x=1", "a#b", "a b", "a\0b", "a\tb", "a\\b", "ü", "100%",
            "a%zz", "%", "a;b=c", "{x}", "\"", "`",
        ] {
            check(default, &format!("/v1/accounts/{account}"), "", json!([account, null])).await;
        }
        // A gateway that does not decode.
        check(default, "/v1/accounts/a%7Cb", "", json!(["a|b", null])).await;
        check(default, "/v1/accounts/a", "x=%20&y", json!(["a", "x=%20&y"])).await;
        check(default, "/v1/accounts/a", "x= <ü>", json!(["a", "x=%20%3C%C3%BC%3E"])).await;
        check("prod", "/prod/v1/accounts/a", "", json!(["a", null])).await;
        check("prod", "/v1/accounts/a", "", json!(["a", null])).await;
        check(default, "/v1/accounts/a/b", "", Value::Null).await;
        check(default, "", "", Value::Null).await;
        check(default, &format!("/{}", "x".repeat(70_000)), "", Value::Null).await;
    }

    #[tokio::test]
    async fn answers_are_text_or_base64() {
        async fn check(body: &'static [u8], expected: Value, is_base64: bool) {
            let response = axum::http::Response::builder()
                .status(207)
                .header("content-type", "application/json")
                .body(axum::body::Body::from(body))
                .unwrap();
            let answer = serde_json::to_value(answer(response).await).unwrap();
            assert_eq!(answer["body"], expected);
            assert_eq!(answer["isBase64Encoded"], is_base64);
            assert_eq!(answer["statusCode"], 207);
            assert_eq!(answer["headers"]["content-type"], "application/json");
        }
        check(b"{\"a\":\"\xc3\xbc\"}", json!("{\"a\":\"ü\"}"), false).await;
        check(b"", Value::Null, false).await;
        check(b"\x1f\x8b\x08", json!("H4sI"), true).await;
    }
}

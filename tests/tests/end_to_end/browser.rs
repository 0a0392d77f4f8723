//! What a web page meets. The gateway does this, not the functions, and `cargo lambda watch` has
//! a very permissive CORS of its own: here it is the embedded gateway, which does as API Gateway.

use serde_json::json;
use uc_local::gateway::AllowedOrigins;

use super::access::token;
use super::stack::{Own, charge, open};

const PAGE: &str = "https://app.example.com";

#[tokio::test]
async fn pages_of_an_allowed_origin_read_what_they_get() {
    let own = Own::start_for(AllowedOrigins::Only(vec![PAGE.to_owned()])).await;
    let api = own.stack.api();

    // Before a request with headers a browser asks, and without the page's credential.
    let preflight = |origin: &'static str| {
        own.stack
            .anonymous()
            .call("OPTIONS", "/v1/accounts/acme/charges")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type,idempotency-key")
            .send()
    };
    let answer = preflight(PAGE).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE));
    let list = |name: &str| answer.header(name).unwrap_or_default().to_owned();
    let allowed = list("access-control-allow-headers");
    for header in ["authorization", "content-type", "idempotency-key", "if-match", "if-none-match"]
    {
        assert!(allowed.split(',').any(|allowed| allowed.trim() == header), "{header}: {allowed}");
    }
    let methods = list("access-control-allow-methods");
    for method in ["GET", "POST", "PUT", "DELETE"] {
        assert!(methods.contains(method), "{method}: {methods}");
    }
    let stranger = preflight("https://evil.example.com").await;
    assert_eq!(stranger.header("access-control-allow-origin"), None);
    assert_eq!(stranger.header("access-control-allow-headers"), None);

    // A refusal is as readable as an answer.
    let account = open(&api, "page", "1").await;
    let path = format!("/v1/accounts/{account}");
    api.put(&path).json(&json!({"overuse": "refuse"})).send().await.expect(200);
    let refused = charge(&api, &account, "k", "2").header("origin", PAGE).send().await;
    assert_eq!((refused.status, &*refused.code()), (402, "insufficient_credits"));
    assert_eq!(refused.header("access-control-allow-origin"), Some(PAGE));
    assert_eq!(refused.header("vary"), Some("origin"));
    let exposed = refused.header("access-control-expose-headers").unwrap();
    for header in ["etag", "idempotent-replayed", "retry-after", "x-request-id"] {
        assert!(exposed.split(',').any(|exposed| exposed.trim() == header), "{header}: {exposed}");
    }
    let unknown = api.get("/v1/nothing").header("origin", PAGE).send().await;
    assert_eq!(unknown.status, 404);
    assert_eq!(unknown.header("access-control-allow-origin"), Some(PAGE));

    // The page's own token, from the page.
    let page = token(&api, &account, &json!({"scopes": ["read"]})).await;
    let seen = page.get(&path).header("origin", PAGE).send().await;
    assert_eq!(seen.expect(200)["balance"]["posted"], "1");
    assert_eq!(seen.header("access-control-allow-origin"), Some(PAGE));

    // What only a local stack has is not for pages.
    for path in ["/_local/clock", "/2015-03-31/functions/plan-grant/invocations"] {
        let answer = page.post(path).header("origin", PAGE).raw("{}").send().await;
        assert_eq!(answer.status, 403, "{path}");
    }
    own.stop().await;
}

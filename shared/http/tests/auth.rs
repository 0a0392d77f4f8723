//! Who may, over the router that a function serves: API keys, account tokens, and everything that
//! looks like one of them.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};
use tower::ServiceExt;
use uc_domain::Timestamp;
use uc_http::scope::{Charge, Read};
use uc_http::{
    Access, AccountAccess, ApiKeyRecord, AuthState, Caller, CredentialStore, MintError, Problem,
    Scope, SecretHash, SigningKey, StoreUnavailable, StrictJson, TokenRequest, random_id,
};

#[derive(Default)]
struct Store {
    key: Mutex<Option<ApiKeyRecord>>,
    public: Mutex<Option<(String, [u8; 32])>>,
    down: AtomicBool,
    reads: AtomicUsize,
}

impl Store {
    fn read<T>(&self, value: T) -> Result<T, StoreUnavailable> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        if self.down.load(Ordering::Relaxed) {
            return Err(StoreUnavailable("connection refused".into()));
        }
        Ok(value)
    }
}

#[async_trait]
impl CredentialStore for Store {
    async fn api_key(&self, id: &str) -> Result<Option<ApiKeyRecord>, StoreUnavailable> {
        self.read(self.key.lock().unwrap().filter(|_| id == "demo"))
    }

    async fn token_key(&self, kid: &str) -> Result<Option<[u8; 32]>, StoreUnavailable> {
        let public = self.public.lock().unwrap().clone();
        self.read(public.filter(|(own, _)| own == kid).map(|(_, key)| key))
    }
}

/// A function with one route of each kind, its credentials and its clock.
struct Function {
    router: Router,
    store: Arc<Store>,
    signing: SigningKey,
    millis: Arc<AtomicI64>,
}

fn start() -> i64 {
    "2026-11-22T09:30:00Z".parse::<Timestamp>().unwrap().millis()
}

fn function() -> Function {
    let store = Arc::new(Store::default());
    let scopes = [Scope::Charge, Scope::Read].into_iter().collect();
    let secret_hash = SecretHash::of("secret");
    *store.key.lock().unwrap() = Some(ApiKeyRecord { secret_hash, scopes });
    let (signing, _) = SigningKey::generate().unwrap();
    *store.public.lock().unwrap() = Some((signing.kid().to_owned(), signing.public_key()));
    let millis = Arc::new(AtomicI64::new(start()));
    let clock = Arc::clone(&millis);
    let now = move || Timestamp::from_millis(clock.load(Ordering::Relaxed)).unwrap();
    let auth = AuthState::new(Arc::clone(&store) as Arc<dyn CredentialStore>, Arc::new(now));
    let routes = Router::new()
        .route("/v1/accounts/{account}", get(balance))
        .route("/v1/accounts/{account}/charges", post(charge))
        .route("/v1/accounts", get(list))
        .route("/v1/estimates", get(estimate))
        .route("/v1/rates", get(rates))
        .route("/v1/forgotten", get(forgotten));
    Function { router: uc_http::wrap("test", routes, auth), store, signing, millis }
}

async fn balance(access: AccountAccess<Read>) -> Json<String> {
    Json(access.account.to_string())
}

async fn charge(_: AccountAccess<Charge>, _: StrictJson<Value>) -> StatusCode {
    StatusCode::CREATED
}

async fn list(_: Access<Read>) -> StatusCode {
    StatusCode::OK
}

async fn estimate(caller: Caller) -> Result<StatusCode, Problem> {
    caller.require_any(Scope::Estimate).map(|()| StatusCode::OK)
}

async fn rates(caller: Caller) -> StatusCode {
    caller.anyone();
    StatusCode::OK
}

async fn forgotten() -> StatusCode {
    StatusCode::OK
}

impl Function {
    async fn send(&self, route: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, Value) {
        let (method, path) = route.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer =
            self.router.clone().oneshot(request.body(Body::from("{]")).unwrap()).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body = to_bytes(body, 1_000_000).await.unwrap();
        (parts.status, parts.headers, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn bearer(&self, route: &str, credential: &str) -> (u16, Value) {
        let header = format!("Bearer {credential}");
        let (status, _, body) = self.send(route, &[("authorization", &header)]).await;
        (status.as_u16(), body)
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.millis.load(Ordering::Relaxed)).unwrap()
    }

    fn token(&self, scopes: &[Scope], ttl_seconds: u32) -> String {
        let account = "acme".parse().unwrap();
        let scopes = scopes.iter().copied().collect();
        let request =
            TokenRequest { account: &account, actor: Some("m-7"), scopes, ttl_seconds, id: "t1" };
        self.signing.mint(&request, self.now()).unwrap()
    }
}

/// A token of any header and any claims, signed by `sign`.
fn forge(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let message = format!("{}.{}", encode(header), encode(claims));
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(sign(message.as_bytes())))
}

#[tokio::test]
async fn headers_and_keys() {
    let function = function();
    let check = async |authorization: &[&str], status: u16, code: Value| {
        let headers: Vec<_> = authorization.iter().map(|value| ("authorization", *value)).collect();
        let (got, headers, body) = function.send("GET /v1/accounts/acme", &headers).await;
        assert_eq!((got.as_u16(), &body["code"]), (status, &code), "{authorization:?}");
        assert_eq!(headers.contains_key("www-authenticate"), got == 401, "{authorization:?}");
        assert!(headers.contains_key("x-request-id"));
    };
    let unauthenticated = || json!("unauthenticated");
    check(&["Bearer uc_demo_secret"], 200, Value::Null).await;
    check(&["bearer uc_demo_secret"], 200, Value::Null).await;
    check(&[], 401, unauthenticated()).await;
    for bad in [
        "",
        "Bearer",
        "Bearer ",
        "uc_demo_secret",
        "Basic dWM6eA==",
        "Bearer  uc_demo_secret",
        "Bearer uc_demo_secreT",
        "Bearer uc_demo_secret1",
        "Bearer uc_demo_",
        "Bearer uc_demo",
        "Bearer uc_other_secret",
        "Bearer uc_demo_secret, Bearer uc_demo_secret",
        "Bearer a.b.c",
        "Bearer ..",
        "Bearer eyJhbGciOiJub25lIn0.e30.",
    ] {
        check(&[bad], 401, unauthenticated()).await;
    }
    check(&["Bearer uc_demo_secret", "Bearer uc_demo_secret"], 401, unauthenticated()).await;
    check(&[&format!("Bearer {}", "x".repeat(5_000))], 401, unauthenticated()).await;
}

#[tokio::test]
async fn who_may_what() {
    let function = function();
    let everything = function.token(&[Scope::Estimate, Scope::Read, Scope::Topup], 60);
    let estimate_only = function.token(&[Scope::Estimate], 60);
    let key = "uc_demo_secret".to_owned();
    let check = async |route: &str, credential: Option<&String>, status: u16, code: Value| {
        let header = credential.map(|credential| format!("Bearer {credential}"));
        let headers: Vec<_> =
            header.iter().map(|value| ("authorization", value.as_str())).collect();
        let (got, _, body) = function.send(route, &headers).await;
        let got = got.as_u16();
        assert_eq!((got, &body["code"]), (status, &code), "{route} {body}");
    };
    let (own, other) = ("GET /v1/accounts/acme", "GET /v1/accounts/initech");
    let charge = "POST /v1/accounts/acme/charges";
    check(own, Some(&key), 200, Value::Null).await;
    check(other, Some(&key), 200, Value::Null).await;
    check(own, Some(&everything), 200, Value::Null).await;
    check(own, Some(&estimate_only), 403, json!("forbidden")).await;
    check(other, Some(&everything), 403, json!("forbidden")).await;
    // Only who may is told what is wrong with the body.
    check(charge, None, 401, json!("unauthenticated")).await;
    check(charge, Some(&everything), 403, json!("forbidden")).await;
    check(charge, Some(&key), 400, json!("invalid_request")).await;
    // A list of all accounts is nobody's own.
    check("GET /v1/accounts", Some(&key), 200, Value::Null).await;
    check("GET /v1/accounts", Some(&everything), 403, json!("forbidden")).await;
    check("GET /v1/estimates", Some(&estimate_only), 200, Value::Null).await;
    check("GET /v1/estimates", Some(&key), 403, json!("forbidden")).await;
    check("GET /v1/estimates", None, 401, json!("unauthenticated")).await;
    check("GET /v1/rates", None, 200, Value::Null).await;
    check("GET /v1/rates", Some(&"uc_demo_wrong".to_owned()), 401, json!("unauthenticated")).await;
    // A handler that asks for nothing is closed.
    check("GET /v1/forgotten", Some(&key), 500, json!("internal")).await;
    // What is no route is told to anybody.
    check("GET /v1/nothing", None, 404, json!("not_found")).await;
    check("DELETE /v1/rates", None, 404, json!("not_found")).await;
    for odd in ["..", "%2e%2e", "a%00b", "%ff", "a%2Fb", "a%20b", &"a".repeat(129)] {
        let path = format!("GET /v1/accounts/{odd}");
        check(&path, Some(&key), 400, json!("invalid_request")).await;
        check(&path, None, 401, json!("unauthenticated")).await;
    }
    check("GET /v1/accounts/a%7Cb@c+d", Some(&key), 200, Value::Null).await;
}

#[tokio::test]
async fn tokens() {
    let function = function();
    let (stranger, _) = SigningKey::generate().unwrap();
    let kid = function.signing.kid().to_owned();
    let iat = start() / 1_000;
    let header = |alg: &str| json!({"typ": "JWT", "alg": alg, "kid": kid});
    let claims = |changed: Value| {
        let mut claims = json!({
            "iss": "unified-credits", "sub": "acme", "scope": "read", "iat": iat, "exp": iat + 60,
            "jti": "t1",
        });
        let changed = changed.as_object().unwrap().clone();
        for (name, value) in changed {
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(&name);
            } else {
                claims[name] = value;
            }
        }
        claims
    };
    // What the real key signs, whatever is in it.
    let (own, secret) = SigningKey::generate().unwrap();
    *function.store.public.lock().unwrap() = Some((kid.clone(), own.public_key()));
    let document = URL_SAFE_NO_PAD.decode(secret.split_once('.').unwrap().1).unwrap();
    let pair = ring::signature::Ed25519KeyPair::from_pkcs8(&document).unwrap();
    let sign = |message: &[u8]| pair.sign(message).as_ref().to_vec();

    let check = async |token: &str, status: u16, code: Value, why: &str| {
        let (got, body) = function.bearer("GET /v1/accounts/acme", token).await;
        assert_eq!((got, &body["code"]), (status, &code), "{why}: {body}");
    };
    let bad = || json!("unauthenticated");
    let good = forge(&header("EdDSA"), &claims(json!({})), sign);
    check(&good, 200, Value::Null, "as minted").await;
    for (changed, status, code) in [
        (json!({"exp": iat + 3_600}), 200, Value::Null),
        (json!({"iat": iat + 5}), 200, Value::Null),
        (json!({"iat": iat - 60, "exp": iat}), 401, json!("token_expired")),
        (json!({"iat": iat - 3_600, "exp": iat - 1}), 401, json!("token_expired")),
        (json!({"exp": iat + 3_601}), 401, bad()),
        (json!({"iat": iat + 6}), 401, bad()),
        (json!({"iat": iat + 60, "exp": iat + 30}), 401, bad()),
        (json!({"iat": null}), 401, bad()),
        (json!({"exp": null}), 401, bad()),
        (json!({"exp": u64::MAX}), 401, bad()),
        (json!({"exp": -1}), 401, bad()),
        (json!({"exp": "soon"}), 401, bad()),
        (json!({"iss": "somebody"}), 401, bad()),
        (json!({"iss": null}), 401, bad()),
        (json!({"sub": "../acme"}), 401, bad()),
        (json!({"sub": null}), 401, bad()),
        (json!({"aud": "another"}), 401, bad()),
        (json!({"act": "a\nb"}), 401, bad()),
        (json!({"act": "m-7"}), 200, Value::Null),
        (json!({"sub": "initech"}), 403, json!("forbidden")),
        (json!({"scope": "read charge grant keys:admin"}), 200, Value::Null),
        (json!({"scope": "charge grant"}), 403, json!("forbidden")),
        (json!({"scope": ""}), 403, json!("forbidden")),
    ] {
        let token = forge(&header("EdDSA"), &claims(changed.clone()), sign);
        check(&token, status, code, &changed.to_string()).await;
    }
    // A scope that it claims but no account token carries.
    let greedy = forge(&header("EdDSA"), &claims(json!({"scope": "read charge"})), sign);
    let (status, _) = function.bearer("POST /v1/accounts/acme/charges", &greedy).await;
    assert_eq!(status, 403);

    // Other keys and other algorithms.
    let hmac = |message: &[u8]| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &own.public_key());
        hmac::sign(&key, message).as_ref().to_vec()
    };
    let fine = claims(json!({}));
    check(&forge(&header("HS256"), &fine, hmac), 401, bad(), "HS256 with the public key").await;
    check(&forge(&header("EdDSA"), &fine, hmac), 401, bad(), "a MAC as a signature").await;
    check(&forge(&header("none"), &fine, |_| Vec::new()), 401, bad(), "none").await;
    check(&forge(&header("EdDSA"), &fine, |_| Vec::new()), 401, bad(), "no signature").await;
    check(&forge(&header("ES256"), &fine, sign), 401, bad(), "ES256").await;
    check(&function.token(&[Scope::Read], 60), 401, bad(), "a key that was replaced").await;
    for (name, value) in [
        ("kid", json!(stranger.kid())),
        ("kid", json!("../k")),
        ("kid", json!("")),
        ("kid", Value::Null),
        ("crit", json!(["exp"])),
        ("typ", json!("secevent+jwt")),
    ] {
        let mut header = header("EdDSA");
        header[name] = value.clone();
        check(&forge(&header, &fine, sign), 401, bad(), &format!("{name} {value}")).await;
    }
    let parts: Vec<_> = good.split('.').collect();
    let other = forge(&header("EdDSA"), &claims(json!({"sub": "initech"})), sign);
    let swapped = format!("{}.{}.{}", parts[0], other.split('.').nth(1).unwrap(), parts[2]);
    check(&swapped, 401, bad(), "another's claims").await;
    check(&format!("{good}A"), 401, bad(), "longer").await;
    check(&format!("{good}.x"), 401, bad(), "four parts").await;
    check(&good[..good.len() - 2], 401, bad(), "shorter").await;
}

#[tokio::test]
async fn minting() {
    let function = function();
    let account = "acme".parse().unwrap();
    let id = random_id("t_");
    let mint = |scopes: &[Scope], actor: Option<&str>, ttl_seconds: u32| {
        let scopes = scopes.iter().copied().collect();
        let request = TokenRequest { account: &account, actor, scopes, ttl_seconds, id: &id };
        function.signing.mint(&request, function.now())
    };
    assert!(mint(&[Scope::Read], None, 3_600).is_ok());
    assert!(mint(&[Scope::Read], Some(&"ü".repeat(128)), 1).is_ok());
    for (scopes, actor, ttl, error) in [
        (&[Scope::Read][..], None, 0, MintError::Ttl),
        (&[Scope::Read], None, 3_601, MintError::Ttl),
        (&[], None, 60, MintError::Scopes),
        (&[Scope::Read, Scope::Charge], None, 60, MintError::Scopes),
        (&[Scope::Read], Some(""), 60, MintError::Actor),
        (&[Scope::Read], Some("a\u{7f}"), 60, MintError::Actor),
        (&[Scope::Read], Some(&"a".repeat(129)), 60, MintError::Actor),
    ] {
        assert_eq!(mint(scopes, actor, ttl), Err(error), "{scopes:?} {actor:?} {ttl}");
    }
    let (key, secret) = SigningKey::generate().unwrap();
    let again = SigningKey::from_secret(&format!("{secret}\n")).unwrap();
    assert_eq!((again.kid(), again.public_key()), (key.kid(), key.public_key()));
    for bad in ["", ".", "k.", "k.AAAA", "a b.AAAA", &secret[1..40], &secret.replace('.', "")] {
        assert!(SigningKey::from_secret(bad).is_err(), "{bad}");
    }
    assert!(!format!("{key:?}").contains(&secret[secret.len() - 20..]));
}

#[tokio::test]
async fn what_is_kept_in_memory() {
    let function = function();
    let route = "GET /v1/accounts/acme";
    let check = async |at_seconds: i64, credential: &str, status: u16, reads: usize| {
        function.millis.store(start() + at_seconds * 1_000, Ordering::Relaxed);
        let (got, _) = function.bearer(route, credential).await;
        let read = function.store.reads.swap(0, Ordering::Relaxed);
        assert_eq!((got, read), (status, reads), "{credential} at {at_seconds}");
    };
    check(0, "uc_demo_secret", 200, 1).await;
    check(59, "uc_demo_wrong", 401, 0).await;
    *function.store.key.lock().unwrap() = None;
    check(59, "uc_demo_secret", 200, 0).await;
    check(60, "uc_demo_secret", 401, 1).await;
    check(64, "uc_demo_secret", 401, 0).await;
    let (secret_hash, scopes) = (SecretHash::of("secret"), [Scope::Read].into_iter().collect());
    *function.store.key.lock().unwrap() = Some(ApiKeyRecord { secret_hash, scopes });
    check(65, "uc_demo_secret", 200, 1).await;
    // The clock goes back: what was kept later than now is no longer believed.
    check(64, "uc_demo_secret", 200, 1).await;

    let token = function.token(&[Scope::Read], 3_600);
    check(100, &token, 200, 1).await;
    check(159, &token, 200, 0).await;
    function.store.down.store(true, Ordering::Relaxed);
    check(159, &token, 200, 0).await;
    check(160, &token, 503, 1).await;
    let headers = [("authorization", "Bearer uc_demo_secret")];
    let (status, headers, body) = function.send(route, &headers).await;
    assert_eq!((status.as_u16(), &headers["retry-after"]), (503, &"2".parse().unwrap()));
    assert!(!body.to_string().contains("refused"), "{body}");
}

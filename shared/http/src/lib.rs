//! What every HTTP function shares: who may, what a body may be, how a refusal looks, what is
//! logged, and how routes are declared.
//!
//! A function's library declares its handlers with [`operations!`], its `main` serves them:
//!
//! ```no_run
//! # fn routes() -> axum::Router { axum::Router::new() }
//! # async fn main_of_the_function(auth: uc_http::AuthState) -> Result<(), lambda_http::Error> {
//! uc_http::init_tracing();
//! uc_http::run(uc_http::wrap("charge", routes(), auth)).await
//! # }
//! ```

mod api_key;
mod auth;
mod caller;
mod deployment;
pub mod estimates;
mod extract;
mod idempotency;
mod ids;
pub mod items;
mod json;
pub mod labels;
mod lambda;
mod objects;
mod observe;
pub mod openapi;
mod paging;
mod problem;
pub mod refusals;
pub mod scope;
pub mod tables;
mod token;
pub mod views;

use axum::Router;
use axum::middleware::from_fn_with_state;

pub use api_key::{NewApiKey, SecretHash, generate_api_key};
pub use auth::{
    ABSENCE_KEPT_MILLIS, ApiKeyRecord, AuthState, Clock, CredentialStore, KEPT_MILLIS,
    StoreUnavailable,
};
pub use caller::{Access, AccountAccess, Caller, Identity};
pub use deployment::{Config, ConfigError, Deployment};
pub use extract::{
    AccountPath, Limit, Page, PageQuery, PathParams, StrictQuery, decode_cursor, encode_cursor,
};
pub use idempotency::{IdempotencyKey, IdempotencyKeyError};
pub use ids::random_id;
pub use json::{
    BODY_LIMIT, DEPTH_LIMIT, INFLATED_LIMIT, LARGE_BODY_LIMIT, LargeBody, LargeJson, NAME_LIMIT,
    RawBody, STRING_LIMIT, StrictJson, fingerprint, parse_strict, parse_typed,
};
pub use lambda::{invoke, run};
pub use observe::{Metric, Metrics, RequestLog, init_tracing};
pub use paging::{operation_cursor, operation_of_cursor, page_of};
pub use problem::{Code, FieldError, PROBLEM_JSON, Problem};
pub use scope::{Scope, ScopeError, Scopes};
pub use token::{
    ACTOR_LIMIT, MAX_TTL_SECONDS, MintError, SigningKey, SigningKeyError, TokenRequest,
};

#[doc(hidden)]
pub mod __private {
    //! For the macros of this crate.
    pub use pastey::paste;
    pub use {axum, utoipa};
}

/// Puts all layers around a function's routes, in their order: request id, log and panics outside,
/// then authentication. What no route takes is `not_found`, another method too: API Gateway knows
/// routes only.
pub fn wrap(function: &'static str, router: Router, auth: AuthState) -> Router {
    let clock_of = auth.clone();
    let observer =
        observe::Observer { function, clock: std::sync::Arc::new(move || clock_of.now()) };
    router
        .fallback(not_found)
        .method_not_allowed_fallback(not_found)
        .layer(from_fn_with_state(auth, auth::authenticate))
        .layer(from_fn_with_state(observer, observe::observe))
}

async fn not_found() -> Problem {
    Problem::new(Code::NotFound, "No route has this method and path.")
}

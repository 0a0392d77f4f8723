//! How routes are declared, once, and described.
//!
//! [`operations!`](crate::operations) makes two functions of a list of handlers: `routes()`, which
//! is what a Lambda binary calls and links, and `openapi()`, which only the local stack and a test
//! call: ten operations take 1 ms at every start and 270 kB of a binary when they are described in
//! it, and nothing when they are not. (`utoipa-axum` describes whatever it routes.)
//!
//! In the module of a handler, name `utoipa::ToSchema` by its whole path: what `#[utoipa::path]`
//! writes does so too, and next to an import that is an unused qualification.
//!
//! ```
//! use uc_http::scope::Read;
//! use uc_http::{AccountAccess, Problem, problems};
//!
//! #[derive(serde::Serialize, utoipa::ToSchema)]
//! struct Balance {
//!     #[schema(value_type = uc_http::openapi::Decimal)]
//!     posted: uc_domain::Credits,
//! }
//!
//! problems!(GetBalanceProblems = AccountNotFound);
//!
//! /// The balance of an account.
//! #[utoipa::path(get, path = "/v1/accounts/{account}", operation_id = "get_account",
//!     params(("account" = uc_http::openapi::AccountId, Path)), security(("bearer" = ["read"])),
//!     responses((status = 200, description = "The balance", body = Balance), GetBalanceProblems))]
//! async fn get_account(access: AccountAccess<Read>) -> Result<axum::Json<Balance>, Problem> {
//!     Ok(axum::Json(Balance { posted: "1.5".parse().unwrap() }))
//! }
//!
//! uc_http::operations!((); get_account);
//!
//! let router: axum::Router<()> = routes();
//! let description = uc_http::openapi::document([openapi()]).unwrap();
//! assert!(description.paths.paths.contains_key("/v1/accounts/{account}"));
//! ```

use std::collections::{BTreeMap, BTreeSet};

use axum::routing::MethodFilter;
use serde_json::json;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::{HttpMethod, Operation, PathItem};
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, KnownFormat, ObjectBuilder, OneOfBuilder, Schema,
    SchemaFormat, Type,
};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, Info, OpenApi, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{PartialSchema, ToSchema};

use crate::problem::{Code, FieldError, PROBLEM_JSON, Problem};

/// Declares the routes of a module: `operations!(State; handler, handler)`. The handlers carry
/// `#[utoipa::path]` and are in scope by their own names; method and path stand there only.
///
/// Makes `pub fn routes() -> axum::Router<State>` and `pub fn openapi() -> OpenApi`.
#[macro_export]
macro_rules! operations {
    ($state:ty; $($handler:ident),+ $(,)?) => {
        /// The routes, without layers: serve them with `uc_http::wrap`.
        pub fn routes() -> $crate::__private::axum::Router<$state> {
            $crate::__private::paste! {
                $crate::__private::axum::Router::new()
                    $(.route(
                        &<[<__path_ $handler>] as $crate::__private::utoipa::Path>::path(),
                        $crate::__private::axum::routing::on(
                            $crate::openapi::method_filter(
                                &<[<__path_ $handler>] as $crate::__private::utoipa::Path>::methods(),
                            ),
                            $handler,
                        ),
                    ))+
            }
        }

        /// The description of the routes.
        pub fn openapi() -> $crate::__private::utoipa::openapi::OpenApi {
            #[derive(utoipa::OpenApi)]
            #[openapi(paths($($handler),+))]
            struct Operations;
            <Operations as $crate::__private::utoipa::OpenApi>::openapi()
        }
    };
}

/// Declares a type that names the codes of an operation, for the `responses(...)` of its
/// `#[utoipa::path]`: `problems!(ChargeProblems = UnknownModel, InsufficientCredits)`.
///
/// What every operation can answer is among them without being named: [`COMMON`].
#[macro_export]
macro_rules! problems {
    ($name:ident = $($code:ident),* $(,)?) => {
        /// The problems of an operation.
        pub struct $name;

        impl $crate::__private::utoipa::IntoResponses for $name {
            fn responses() -> ::std::collections::BTreeMap<
                String,
                $crate::__private::utoipa::openapi::RefOr<
                    $crate::__private::utoipa::openapi::Response,
                >,
            > {
                $crate::openapi::problem_responses(&[$($crate::Code::$code),*])
            }
        }
    };
}

/// What every operation can answer.
pub const COMMON: &[Code] = &[
    Code::InvalidRequest,
    Code::Unauthenticated,
    Code::TokenExpired,
    Code::Forbidden,
    Code::Internal,
    Code::DataUnreadable,
    Code::Unavailable,
];

/// The methods as axum has them.
///
/// # Panics
/// Without a method, which `#[utoipa::path]` does not allow.
pub fn method_filter(methods: &[HttpMethod]) -> MethodFilter {
    methods
        .iter()
        .map(|method| match method {
            HttpMethod::Get => MethodFilter::GET,
            HttpMethod::Post => MethodFilter::POST,
            HttpMethod::Put => MethodFilter::PUT,
            HttpMethod::Delete => MethodFilter::DELETE,
            HttpMethod::Options => MethodFilter::OPTIONS,
            HttpMethod::Head => MethodFilter::HEAD,
            HttpMethod::Patch => MethodFilter::PATCH,
            HttpMethod::Trace => MethodFilter::TRACE,
        })
        .reduce(MethodFilter::or)
        .expect("an operation has a method")
}

/// One response a status for these codes and the [`COMMON`] ones; `x-codes` lists them.
pub fn problem_responses(codes: &[Code]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status = BTreeMap::<u16, BTreeSet<Code>>::new();
    for code in codes.iter().chain(COMMON) {
        by_status.entry(code.status().as_u16()).or_default().insert(*code);
    }
    by_status
        .into_iter()
        .map(|(status, codes)| {
            let lines: Vec<_> =
                codes.iter().map(|code| format!("`{code}`: {}", code.title())).collect();
            let content = Content::new(Some(Ref::from_schema_name(Problem::name())));
            let response = ResponseBuilder::new()
                .description(lines.join("; "))
                .content(PROBLEM_JSON, content)
                .extensions(Some(Extensions::builder().add("x-codes", json!(codes)).build()))
                .build();
            (status.to_string(), response.into())
        })
        .collect()
}

/// Why descriptions don't fit together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// An operation without an id.
    #[error("{0} has no operation id")]
    NoOperationId(String),
    /// Two operations with one id.
    #[error("the operation id {0} is there twice")]
    OperationTwice(String),
    /// Two routes with one method and path.
    #[error("{0} is there twice")]
    RouteTwice(String),
    /// Two different schemas with one name.
    #[error("two different schemas have the name {0}")]
    SchemaTwice(String),
}

/// One description of several: with the API's name, its version, its security scheme and the
/// schema of problems.
///
/// # Errors
/// [`DocumentError`] where an id, a route or a name is used twice.
pub fn document(parts: impl IntoIterator<Item = OpenApi>) -> Result<OpenApi, DocumentError> {
    let info = Info::builder()
        .title("Unified Credits")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Prices AI usage in credits, and keeps the accounts that pay for it."))
        .build();
    let mut whole = OpenApi::new(info, utoipa::openapi::Paths::new());
    let mut components = utoipa::openapi::Components::new();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("An API key `uc_<id>_<secret>`, or an account token (a JWT)."))
        .build();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    let mut schemas = vec![
        (Problem::name().into_owned(), Problem::schema()),
        // A parameter refers to its schema without bringing it.
        (AccountId::name().into_owned(), AccountId::schema()),
    ];
    Problem::schemas(&mut schemas);
    let mut ids = BTreeSet::new();
    for part in parts {
        for (path, item) in part.paths.paths {
            for (method, operation) in operations_of(&item) {
                let route = format!("{method} {path}");
                let Some(id) = &operation.operation_id else {
                    return Err(DocumentError::NoOperationId(route));
                };
                if !ids.insert(id.clone()) {
                    return Err(DocumentError::OperationTwice(id.clone()));
                }
                let there = whole.paths.paths.get(&path);
                if there.is_some_and(|there| operations_of(there).any(|(other, _)| other == method))
                {
                    return Err(DocumentError::RouteTwice(route));
                }
            }
            whole.paths.paths.entry(path).or_default().merge_operations(item);
        }
        schemas.extend(part.components.into_iter().flat_map(|components| components.schemas));
    }
    for (name, schema) in schemas {
        let there = components.schemas.entry(name.clone()).or_insert_with(|| schema.clone());
        if *there != schema {
            return Err(DocumentError::SchemaTwice(name));
        }
    }
    whole.components = Some(components);
    whole.security = Some(vec![SecurityRequirement::new("bearer", Vec::<String>::new())]);
    Ok(whole)
}

/// Method and path of every operation that a description has.
///
/// # Panics
/// For a method that HTTP does not have, which `#[utoipa::path]` can't declare.
pub fn routes_of(description: &OpenApi) -> Vec<(axum::http::Method, String)> {
    let mut routes = Vec::new();
    for (path, item) in &description.paths.paths {
        for (method, _) in operations_of(item) {
            routes.push((method.parse().expect("a method of HTTP"), path.clone()));
        }
    }
    routes
}

/// The operations of a path, by method.
fn operations_of(item: &PathItem) -> impl Iterator<Item = (&'static str, &Operation)> {
    [
        ("GET", &item.get),
        ("PUT", &item.put),
        ("POST", &item.post),
        ("DELETE", &item.delete),
        ("PATCH", &item.patch),
        ("OPTIONS", &item.options),
        ("HEAD", &item.head),
        ("TRACE", &item.trace),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
}

macro_rules! text_schemas {
    ($($(#[doc = $doc:literal])+ $name:ident { $($set:tt)* })+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Debug, Clone, Copy)]
            pub enum $name {}

            impl ToSchema for $name {}

            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    ObjectBuilder::new().schema_type(Type::String) $($set)* .build().into()
                }
            }
        )+
    };
}

text_schemas! {
    /// Credits, ratios and money, for `#[schema(value_type = ...)]`: a decimal string.
    Decimal {
        .pattern(Some(r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?$"))
        .description(Some("A decimal, never a JSON number."))
        .examples([json!("12.5")])
    }
    /// A time, for `#[schema(value_type = ...)]`.
    Instant {
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .description(Some("RFC 3339, in UTC."))
        .examples([json!("2026-11-22T09:30:00Z")])
    }
    /// An account's id, for `#[schema(value_type = ...)]` and parameters.
    AccountId {
        .pattern(Some(r"^[A-Za-z0-9_.:|@+-]{1,128}$"))
        .description(Some("Who pays: a pseudonymous id, not only dots."))
        .examples([json!("acme")])
    }
}

/// A quantity, for `#[schema(value_type = ...)]`: an integer or a decimal string.
#[derive(Debug, Clone, Copy)]
pub enum Quantity {}

impl ToSchema for Quantity {}

impl PartialSchema for Quantity {
    fn schema() -> RefOr<Schema> {
        OneOfBuilder::new()
            .item(ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)))
            .item(
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .pattern(Some(r"^(0|[1-9][0-9]*)(\.[0-9]{1,3})?$")),
            )
            .description(Some("At most 12 digits, 3 of them fractional."))
            .into()
    }
}

/// A provider's response, for `#[schema(value_type = ...)]`: an object, or a stream's events.
#[derive(Debug, Clone, Copy)]
pub enum ProviderResponse {}

impl ToSchema for ProviderResponse {}

impl PartialSchema for ProviderResponse {
    fn schema() -> RefOr<Schema> {
        let object = || ObjectBuilder::new().schema_type(Type::Object).build();
        OneOfBuilder::new()
            .item(object())
            .item(ArrayBuilder::new().items(object()).max_items(Some(100_000)))
            .description(Some(
                "A response, whole or cut down to model and usage; or the last event of a stream \
                 that tells its usage; or all events of a stream.",
            ))
            .into()
    }
}

impl ToSchema for Code {}

impl PartialSchema for Code {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(Code::ALL.iter().map(|code| code.as_str())))
            .build()
            .into()
    }
}

impl ToSchema for Problem {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Code::name().into_owned(), Code::schema()));
        schemas.push((FieldError::name().into_owned(), FieldError::schema()));
    }
}

impl PartialSchema for Problem {
    fn schema() -> RefOr<Schema> {
        let text = |about: &str| {
            ObjectBuilder::new().schema_type(Type::String).description(Some(about)).build()
        };
        let kind = |kind: Type| ObjectBuilder::new().schema_type(kind).build();
        ObjectBuilder::new()
            .description(Some("RFC 9457. Some codes have members of their own."))
            .property("type", text("`/problems/<code>`"))
            .property("title", text("What the code says in general."))
            .property("status", kind(Type::Integer))
            .property("detail", text("What is wrong in this case."))
            .property("code", Ref::from_schema_name(Code::name()))
            .property("retryable", kind(Type::Boolean))
            .property(
                "errors",
                ArrayBuilder::new().items(Ref::from_schema_name(FieldError::name())).build(),
            )
            .required("type")
            .required("title")
            .required("status")
            .required("detail")
            .required("code")
            .required("retryable")
            .additional_properties(Some(AdditionalProperties::FreeForm(true)))
            .build()
            .into()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[derive(serde::Serialize, ToSchema)]
    struct Thing {
        #[schema(value_type = Decimal)]
        credits: uc_domain::Credits,
    }

    crate::problems!(ReadProblems = AccountNotFound, NotFound);

    mod things {
        use super::{AccountId, ReadProblems, Thing};

        #[utoipa::path(get, path = "/v1/things/{account}", operation_id = "get_thing",
            params(("account" = AccountId, Path)), security(("bearer" = ["read"])),
            responses((status = 200, description = "The thing", body = Thing), ReadProblems))]
        async fn get_thing() {}

        #[utoipa::path(put, path = "/v1/things/{account}", operation_id = "put_thing",
            responses((status = 200, description = "Put"), ReadProblems))]
        async fn put_thing() {}

        crate::operations!((); get_thing, put_thing);
    }

    mod others {
        #[utoipa::path(get, path = "/v1/others", operation_id = "get_thing",
            responses((status = 200, description = "The same id")))]
        async fn same_id() {}

        crate::operations!((); same_id);
    }

    mod again {
        #[utoipa::path(get, path = "/v1/things/{account}", operation_id = "get_again",
            responses((status = 200, description = "The same route")))]
        async fn same_route() {}

        crate::operations!((); same_route);
    }

    mod elsewhere {
        #[derive(serde::Serialize, utoipa::ToSchema)]
        struct Thing {
            other: bool,
        }

        #[utoipa::path(get, path = "/v1/elsewhere", operation_id = "get_elsewhere",
            responses((status = 200, description = "The same name", body = Thing)))]
        async fn same_name() {}

        crate::operations!((); same_name);
    }

    #[test]
    fn a_description_has_ids_names_and_codes() {
        let described = serde_json::to_value(document([things::openapi()]).unwrap()).unwrap();
        let at = |pointer: &str| described.pointer(pointer).unwrap_or(&Value::Null).clone();
        let get = "/paths/~1v1~1things~1{account}/get";
        assert_eq!(at(&format!("{get}/operationId")), "get_thing");
        assert_eq!(at(&format!("{get}/security/0/bearer/0")), "read");
        let not_found = format!("{get}/responses/404");
        assert_eq!(at(&format!("{not_found}/x-codes")), json!(["not_found", "account_not_found"]));
        let content = at(&format!("{not_found}/content/application~1problem+json/schema/$ref"));
        assert_eq!(content, "#/components/schemas/Problem");
        assert_eq!(
            at(&format!("{get}/responses/401/x-codes")),
            json!(["unauthenticated", "token_expired"])
        );
        let schemas = at("/components/schemas");
        let names: Vec<_> = schemas.as_object().unwrap().keys().collect();
        assert_eq!(names, ["AccountId", "Code", "Decimal", "FieldError", "Problem", "Thing"]);
        assert_eq!(at("/components/securitySchemes/bearer/scheme"), "bearer");

        // Everything that is referred to is there.
        let text = described.to_string();
        for (at, _) in text.match_indices("#/components/schemas/") {
            let name = text[at + 21..].split('"').next().unwrap();
            assert!(schemas.get(name).is_some(), "{name}");
        }
    }

    #[test]
    fn what_is_there_twice_is_named() {
        let check = |other: OpenApi, expected: DocumentError| {
            assert_eq!(document([things::openapi(), other]).err(), Some(expected));
        };
        check(others::openapi(), DocumentError::OperationTwice("get_thing".to_owned()));
        check(again::openapi(), DocumentError::RouteTwice("GET /v1/things/{account}".to_owned()));
        check(elsewhere::openapi(), DocumentError::SchemaTwice("Thing".to_owned()));
    }

    #[tokio::test]
    async fn routes_are_those_of_the_description() {
        use axum::body::Body;
        use axum::http::Request;
        use tower::ServiceExt;

        for (method, path, status) in [
            ("GET", "/v1/things/a", 200),
            ("PUT", "/v1/things/a", 200),
            ("POST", "/v1/things/a", 405),
        ] {
            let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
            let answer = things::routes().oneshot(request).await.unwrap();
            assert_eq!(answer.status(), status, "{method} {path}");
        }
        let _ = (others::routes(), again::routes(), elsewhere::routes());
    }
}

//! [`Problem`], how every refusal and every failure looks: RFC 9457, `application/problem+json`.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;
use uc_domain::Credits;
use utoipa::ToSchema;

use crate::observe::Metric;

/// The media type of a problem.
pub const PROBLEM_JSON: &str = "application/problem+json";

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $text:literal, $status:ident, $title:literal;)+) => {
        /// What went wrong, for programs. A code never changes its meaning or its status.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($(#[doc = $doc])+ $variant,)+ }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// As it stands in a problem: `snake_case`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The status it is answered with.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)+ }
            }

            /// What it says in general, for people.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ }
            }
        }
    };
}

codes! {
    /// Malformed: JSON, a field, a header, a parameter.
    InvalidRequest = "invalid_request", BAD_REQUEST, "The request is not valid";
    /// A request that moves credits has no `Idempotency-Key`.
    IdempotencyKeyMissing = "idempotency_key_missing", BAD_REQUEST, "An Idempotency-Key is needed";
    /// No credential, or one that nobody issued.
    Unauthenticated = "unauthenticated", UNAUTHORIZED, "A valid credential is needed";
    /// The account token was valid once.
    TokenExpired = "token_expired", UNAUTHORIZED, "The token has expired";
    /// A webhook's signature is missing, wrong or too old.
    InvalidSignature = "invalid_signature", UNAUTHORIZED, "The signature is not valid";
    /// The account may not spend what this costs.
    InsufficientCredits = "insufficient_credits", PAYMENT_REQUIRED, "Not enough credits";
    /// The account may not begin new work.
    AccountSuspended = "account_suspended", FORBIDDEN, "The account is suspended or closed";
    /// The credential does not allow this, whether or not there is such a thing.
    Forbidden = "forbidden", FORBIDDEN, "Not allowed with this credential";
    /// Nothing is there.
    NotFound = "not_found", NOT_FOUND, "There is nothing here";
    /// No such account. Said only to those who may see every account.
    AccountNotFound = "account_not_found", NOT_FOUND, "There is no such account";
    /// What is there already contradicts the request.
    Conflict = "conflict", CONFLICT, "In conflict with what is there";
    /// The hold's time is over.
    HoldExpired = "hold_expired", CONFLICT, "The hold has expired";
    /// The hold ended with a last capture.
    HoldCaptured = "hold_captured", CONFLICT, "The hold was captured";
    /// The hold was given back.
    HoldVoided = "hold_voided", CONFLICT, "The hold was voided";
    /// More than is left of what the charge took.
    RefundExceedsCharge = "refund_exceeds_charge", CONFLICT, "More than is left to refund";
    /// The grant was voided before.
    GrantVoided = "grant_voided", CONFLICT, "The grant was voided";
    /// `If-Match` names another version than the current one.
    PreconditionFailed = "precondition_failed", PRECONDITION_FAILED, "Somebody changed it meanwhile";
    /// The body is over its limit.
    PayloadTooLarge = "payload_too_large", PAYLOAD_TOO_LARGE, "The body is too large";
    /// No ratio table has the account's price group.
    UnknownPriceGroup = "unknown_price_group", CONFLICT, "The price group is not in the ratio table";
    /// The key was used for another request.
    IdempotencyKeyReused = "idempotency_key_reused", UNPROCESSABLE_ENTITY, "The key was used for another request";
    /// The ratio table lacks fields.
    RatiosIncomplete = "ratios_incomplete", UNPROCESSABLE_ENTITY, "The ratio table is not complete";
    /// The ratio table contradicts itself.
    RatiosInvalid = "ratios_invalid", UNPROCESSABLE_ENTITY, "The ratio table is not valid";
    /// No such model, or a disabled one.
    UnknownModel = "unknown_model", UNPROCESSABLE_ENTITY, "There is no ratio for this model";
    /// A quantity without a ratio.
    UnpricedDimension = "unpriced_dimension", UNPROCESSABLE_ENTITY, "There is no ratio for this dimension";
    /// The provider's responses can't be read.
    ProviderUnknown = "provider_unknown", UNPROCESSABLE_ENTITY, "This provider's responses are not known";
    /// A provider's response that tells no usage.
    UsageMissing = "usage_missing", UNPROCESSABLE_ENTITY, "The response tells no usage";
    /// A provider's response whose numbers don't fit together.
    UsageContradictory = "usage_contradictory", UNPROCESSABLE_ENTITY, "The response contradicts itself";
    /// A bound on how many or how much.
    LimitExceeded = "limit_exceeded", UNPROCESSABLE_ENTITY, "A limit would be exceeded";
    /// A fault here.
    Internal = "internal", INTERNAL_SERVER_ERROR, "Something failed here";
    /// What is stored was changed by hand, or written by a newer version.
    DataUnreadable = "data_unreadable", INTERNAL_SERVER_ERROR, "What is stored can't be read";
    /// Something that this needs can't be reached now.
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, "Not available at the moment";
}

impl Code {
    /// Whether the same request, with the same key, may succeed later without being changed.
    pub const fn retryable(self) -> bool {
        matches!(self, Self::Internal | Self::Unavailable)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One fault in a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Where, as an RFC 6901 JSON pointer; empty for the whole body.
    pub pointer: String,
    /// What is wrong and how to mend it.
    pub detail: String,
}

/// A refusal or a failure, as it is answered.
///
/// Nothing from inside goes into it: what failed is logged ([`Problem::internal`],
/// [`Problem::unavailable`]), what is answered is the code and a sentence for the caller.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    code: Code,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    retry_after: Option<u32>,
    /// Members of their own of some codes, such as `shortfall`.
    extensions: Vec<(&'static str, Value)>,
    /// What the layer that logs counts for it.
    metric: Option<Metric>,
}

impl Problem {
    /// A problem of this code; `detail` says what is wrong in this case and how to mend it.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        let detail = detail.into();
        Self {
            code,
            detail,
            errors: Vec::new(),
            retry_after: None,
            extensions: Vec::new(),
            metric: None,
        }
    }

    /// `invalid_request`, for what is wrong outside the body: a header, a parameter.
    pub fn invalid_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::InvalidRequest, detail)
    }

    /// `invalid_request` for the field of the body at `pointer`.
    pub fn invalid_field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        let fault = FieldError { pointer: pointer.into(), detail: detail.into() };
        Self::new(Code::InvalidRequest, "The body is not valid; see errors.").with_error(fault)
    }

    /// `insufficient_credits`, which says how many are there, needed and missing.
    pub fn insufficient_credits(available: Credits, required: Credits, shortfall: Credits) -> Self {
        let detail = format!(
            "{required} credits are needed, {available} are available: {shortfall} are missing, a \
             credit line counted in."
        );
        Self::new(Code::InsufficientCredits, detail)
            .with("available", available)
            .with("required", required)
            .with("shortfall", shortfall)
    }

    /// `internal`: logs the error with its causes and answers without any of it.
    pub fn internal(error: &(dyn Error + 'static)) -> Self {
        tracing::error!(error = %Causes(error), "internal error");
        Self::bare_internal()
    }

    /// `internal` where the log already has the reason.
    pub(crate) fn bare_internal() -> Self {
        Self::new(Code::Internal, "The request failed here; it is safe to send it again.")
    }

    /// `data_unreadable`: logs the error with its causes, and names what can't be read.
    pub fn unreadable(error: &(dyn Error + 'static)) -> Self {
        tracing::error!(error = %Causes(error), "unreadable");
        Self::new(
            Code::DataUnreadable,
            format!(
                "{}. Nothing was written. Somebody who operates this has to look at it: the \
                 account's audit says more.",
                Causes(error)
            ),
        )
    }

    /// `unavailable`: logs the error with its causes and asks to come back in `seconds`.
    pub fn unavailable(error: &(dyn Error + 'static), seconds: u32) -> Self {
        tracing::warn!(error = %Causes(error), "unavailable");
        Self::new(Code::Unavailable, "It is safe to send the same request again.")
            .with_retry_after(seconds)
    }

    /// The same about a part of a body: `pointer` is where the part stands in it.
    #[must_use]
    pub fn within(mut self, pointer: &str) -> Self {
        for error in &mut self.errors {
            error.pointer.insert_str(0, pointer);
        }
        self
    }

    /// With one more faulty field.
    #[must_use]
    pub fn with_error(mut self, error: FieldError) -> Self {
        self.errors.push(error);
        self
    }

    /// With these faulty fields as well.
    #[must_use]
    pub fn with_errors(mut self, errors: impl IntoIterator<Item = FieldError>) -> Self {
        self.errors.extend(errors);
        self
    }

    /// With a `Retry-After` of so many seconds.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// With a member of its own. A value that can't be JSON is left out, so that an answer that
    /// explains less is still an answer.
    #[must_use]
    pub fn with(mut self, member: &'static str, value: impl Serialize) -> Self {
        if let Ok(value) = serde_json::to_value(value) {
            self.extensions.push((member, value));
        }
        self
    }

    /// Counts a metric once when this is answered.
    #[must_use]
    pub(crate) fn counted(mut self, metric: Metric) -> Self {
        self.metric = Some(metric);
        self
    }

    /// The code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What is wrong in this case.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The faulty fields.
    pub fn errors(&self) -> &[FieldError] {
        &self.errors
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)?;
        for error in &self.errors {
            write!(f, " {:?}: {}", error.pointer, error.detail)?;
        }
        Ok(())
    }
}

impl Error for Problem {}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", &format_args!("/problems/{}", self.code))?;
        map.serialize_entry("title", self.code.title())?;
        map.serialize_entry("status", &self.code.status().as_u16())?;
        map.serialize_entry("detail", &self.detail)?;
        map.serialize_entry("code", &self.code)?;
        map.serialize_entry("retryable", &self.code.retryable())?;
        if !self.errors.is_empty() {
            map.serialize_entry("errors", &self.errors)?;
        }
        for (member, value) in &self.extensions {
            map.serialize_entry(member, value)?;
        }
        map.end()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // Strings, numbers and values that serialised before: this can't fail.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (self.code.status(), body).into_response();
        // For the layer that logs and counts.
        response.extensions_mut().insert(self.code);
        if let Some(metric) = self.metric {
            response.extensions_mut().insert(metric);
        }
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        let challenge = match self.code {
            Code::Unauthenticated => Some("Bearer"),
            Code::TokenExpired => {
                Some("Bearer error=\"invalid_token\", error_description=\"expired\"")
            }
            _ => None,
        };
        if let Some(challenge) = challenge {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

/// An error and what caused it, in one line.
struct Causes<'a>(&'a (dyn Error + 'static));

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::json;

    use super::*;

    #[test]
    fn codes_are_unique_and_named_like_their_variants() {
        let texts: HashSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(texts.len(), Code::ALL.len());
        for code in Code::ALL {
            let squeezed = code.as_str().replace('_', "");
            assert_eq!(squeezed, format!("{code:?}").to_lowercase());
            assert!(code.status().is_client_error() || code.status().is_server_error());
            let passes = code.status().is_server_error() && *code != Code::DataUnreadable;
            assert_eq!(code.retryable(), passes, "{code}");
        }
    }

    #[test]
    fn bodies_and_headers() {
        let check = |problem: Problem, body: Value, headers: &[(&str, &str)]| {
            assert_eq!(serde_json::to_value(&problem).unwrap(), body);
            let code = problem.code();
            let response = problem.into_response();
            assert_eq!(response.status(), code.status());
            assert_eq!(response.headers()[CONTENT_TYPE], PROBLEM_JSON);
            let others: Vec<_> = response
                .headers()
                .iter()
                .filter(|(name, _)| *name != CONTENT_TYPE)
                .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
                .collect();
            assert_eq!(others, headers, "{code}");
        };
        check(
            Problem::invalid_field("/items/0", "is odd"),
            json!({
                "type": "/problems/invalid_request", "title": "The request is not valid", "status": 400,
                "detail": "The body is not valid; see errors.", "code": "invalid_request", "retryable": false,
                "errors": [{"pointer": "/items/0", "detail": "is odd"}],
            }),
            &[],
        );
        let credits = |text: &str| text.parse::<Credits>().unwrap();
        check(
            Problem::insufficient_credits(credits("-0.5"), credits("2"), credits("2.5")),
            json!({
                "type": "/problems/insufficient_credits", "title": "Not enough credits", "status": 402,
                "detail": "2 credits are needed, -0.5 are available: 2.5 are missing, a credit line counted in.",
                "code": "insufficient_credits",
                "retryable": false, "available": "-0.5", "required": "2", "shortfall": "2.5",
            }),
            &[],
        );
        let inside = std::io::Error::other("password=hunter2");
        check(
            Problem::internal(&inside),
            json!({
                "type": "/problems/internal", "title": "Something failed here", "status": 500,
                "detail": "The request failed here; it is safe to send it again.", "code": "internal",
                "retryable": true,
            }),
            &[],
        );
        check(
            Problem::unavailable(&inside, 3),
            json!({
                "type": "/problems/unavailable", "title": "Not available at the moment", "status": 503,
                "detail": "It is safe to send the same request again.", "code": "unavailable",
                "retryable": true,
            }),
            &[("retry-after", "3")],
        );
        check(
            Problem::new(Code::TokenExpired, "Get a new one."),
            json!({
                "type": "/problems/token_expired", "title": "The token has expired", "status": 401,
                "detail": "Get a new one.", "code": "token_expired", "retryable": false,
            }),
            &[(
                "www-authenticate",
                "Bearer error=\"invalid_token\", error_description=\"expired\"",
            )],
        );
    }
}

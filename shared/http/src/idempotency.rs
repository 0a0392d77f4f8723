//! [`IdempotencyKey`].

use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::HeaderName;
use axum::http::request::Parts;

use crate::json::single;
use crate::problem::{Code, Problem};

/// What a caller names a request that moves credits, so that sending it twice does it once: 1 to
/// 255 visible ASCII characters (no spaces), from the `Idempotency-Key` header.
///
/// # Errors
/// As an extractor `idempotency_key_missing` without the header, `invalid_request` where it came
/// twice or is not as above. Two that a gateway has joined by a comma, as HTTP lets it, are one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

/// Why a text is not an [`IdempotencyKey`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key has 1 to 255 visible ASCII characters")]
pub struct IdempotencyKeyError;

/// The header.
static HEADER: HeaderName = HeaderName::from_static("idempotency-key");

impl IdempotencyKey {
    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IdempotencyKey {
    type Err = IdempotencyKeyError;

    fn from_str(text: &str) -> Result<Self, IdempotencyKeyError> {
        if (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdempotencyKeyError)
        }
    }
}

/// In a batch every operation carries its own.
impl<'de> serde::Deserialize<'de> for IdempotencyKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(text) = single(&parts.headers, &HEADER)? else {
            let detail = "Send a new Idempotency-Key with each new operation, the same one again with a repetition.";
            return Err(Problem::new(Code::IdempotencyKeyMissing, detail));
        };
        text.parse().map_err(|error| Problem::invalid_request(format!("Idempotency-Key: {error}.")))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    #[tokio::test]
    async fn headers() {
        async fn check(values: &[&[u8]], expected: Result<&str, Code>) {
            let mut request = Request::builder();
            for value in values {
                request = request.header("Idempotency-Key", *value);
            }
            let (mut parts, ()) = request.body(()).unwrap().into_parts();
            let key = IdempotencyKey::from_request_parts(&mut parts, &()).await;
            let got = key.as_ref().map(IdempotencyKey::as_str).map_err(Problem::code);
            assert_eq!(got, expected, "{values:?}");
        }
        let longest = "k".repeat(255);
        check(&[], Err(Code::IdempotencyKeyMissing)).await;
        check(&[b"turn-3"], Ok("turn-3")).await;
        check(&[longest.as_bytes()], Ok(&longest)).await;
        for bad in [&[&b""[..]][..], &[b"a", b"a"], &[b"a b"], &[b"a\tb"], &["ü".as_bytes()]] {
            check(bad, Err(Code::InvalidRequest)).await;
        }
        check(&["k".repeat(256).as_bytes()], Err(Code::InvalidRequest)).await;
    }
}

//! Parameters in paths and queries, and pages of lists.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::str::FromStr;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uc_domain::AccountId;
use utoipa::{IntoParams, ToSchema};

use crate::observe::RequestLog;
use crate::problem::Problem;

/// The parameters of the path, decoded once.
#[derive(Debug, Clone)]
pub struct PathParams(HashMap<String, String>);

impl PathParams {
    /// The parameter `name` as a `T`.
    ///
    /// # Errors
    /// `invalid_request` with what `T` says is wrong.
    pub fn get<T: FromStr<Err: fmt::Display>>(&self, name: &str) -> Result<T, Problem> {
        let text = self.0.get(name).map_or("", String::as_str);
        text.parse().map_err(|error| {
            Problem::invalid_request(format!("The {name} in the path is not valid: {error}."))
        })
    }
}

impl<S: Sync> FromRequestParts<S> for PathParams {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match RawPathParams::from_request_parts(parts, &()).await {
            Ok(parameters) => {
                let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
                Ok(Self(parameters.iter().map(owned).collect()))
            }
            Err(_) => Err(Problem::invalid_request("The path is not UTF-8.")),
        }
    }
}

/// The account in the path's `{account}`. A handler of one account's matters takes
/// [`AccountAccess`](crate::AccountAccess) instead, which asks for a scope as well.
///
/// # Errors
/// `invalid_request` for what can't be an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountPath(pub AccountId);

impl<S: Sync> FromRequestParts<S> for AccountPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        account_in_path(parts).await.map(Self)
    }
}

/// The path's `{account}`, which goes to the request's log line too.
pub(crate) async fn account_in_path(parts: &mut Parts) -> Result<AccountId, Problem> {
    let account = PathParams::from_request_parts(parts, &()).await?.get("account")?;
    if let Some(log) = parts.extensions.get::<RequestLog>() {
        log.account(&account);
    }
    Ok(account)
}

/// The query as a `T`, which should refuse unknown fields. A repeated parameter is refused too.
///
/// # Errors
/// `invalid_request`, naming the parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StrictQuery<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for StrictQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let mut seen = HashSet::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let odd = |text: &str| text.chars().any(|c| c.is_control() || c == '\u{fffd}');
            if odd(&name) || odd(&value) {
                let detail = "The query has control characters, or is not UTF-8.";
                return Err(Problem::invalid_request(detail));
            }
            if !seen.insert(name.clone()) {
                return Err(Problem::invalid_request(format!(
                    "The parameter {name} is there twice."
                )));
            }
        }
        let form = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
        match serde_path_to_error::deserialize(form) {
            Ok(query) => Ok(Self(query)),
            Err(error) => {
                let place = match error.path().to_string() {
                    path if path == "." => String::new(),
                    path => format!(", in {path}"),
                };
                let detail = format!("The query is not valid{place}: {}.", error.inner());
                Err(Problem::invalid_request(detail))
            }
        }
    }
}

/// How many items a page has at most: 1 to 100, 20 where nothing is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(u8);

impl Limit {
    /// The number.
    pub const fn get(self) -> usize {
        self.0 as usize
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(20)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer) {
            Ok(limit @ 1..=100) => Ok(Self(limit)),
            _ => Err(serde::de::Error::custom("limit is a number from 1 to 100")),
        }
    }
}

/// The query of a list without filters. One with filters has these two fields among its own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// How many items at most: 1 to 100, 20 where not given.
    #[serde(default)]
    #[param(value_type = Option<u8>, minimum = 1, maximum = 100, default = 20)]
    pub limit: Limit,
    /// Where to go on: the page before said it as `next_cursor`.
    pub cursor: Option<String>,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// What to send as `cursor` for the next page; null on the last one.
    pub next_cursor: Option<String>,
}

/// The format of cursors.
const CURSOR_VERSION: u8 = 1;
/// How many bytes bind a cursor to its list.
const CURSOR_DIGEST: usize = 4;
/// The longest cursor, in characters.
const CURSOR_LIMIT: usize = 1_024;

/// A cursor for `list`, which names one list of one account: `transactions/acme`.
///
/// A cursor is opaque, and its digest keeps it from being used with another list by mistake. It is
/// no proof: decoded, it is input like any other, and may only choose a place in a list that the
/// caller may see.
pub fn encode_cursor(list: &str, position: &[u8]) -> String {
    let mut bytes = vec![CURSOR_VERSION];
    bytes.extend_from_slice(position);
    bytes.extend_from_slice(&cursor_digest(list, position));
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The position that [`encode_cursor`] was given.
///
/// # Errors
/// `invalid_request` for what is no cursor, or one of another list.
pub fn decode_cursor(list: &str, cursor: &str) -> Result<Vec<u8>, Problem> {
    let decode = || {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (version, rest) = bytes.split_first()?;
        let (position, digest) = rest.split_last_chunk::<CURSOR_DIGEST>()?;
        let ours = *version == CURSOR_VERSION && *digest == cursor_digest(list, position);
        ours.then(|| position.to_vec())
    };
    (cursor.len() <= CURSOR_LIMIT).then(decode).flatten().ok_or_else(|| {
        Problem::invalid_request("The cursor is not one of this list: send next_cursor unchanged.")
    })
}

fn cursor_digest(list: &str, position: &[u8]) -> [u8; CURSOR_DIGEST] {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(list.as_bytes());
    // Not in a list's name: where it ends is part of what is hashed.
    hash.update(&[0]);
    hash.update(position);
    let mut short = [0; CURSOR_DIGEST];
    short.copy_from_slice(&hash.finish().as_ref()[..CURSOR_DIGEST]);
    short
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::problem::Code;

    proptest! {
        #[test]
        fn cursors_come_back_in_their_list_only(
            list in "[a-z/]{0,20}", other in "[a-z/]{0,20}",
            position in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let cursor = encode_cursor(&list, &position);
            prop_assert_eq!(decode_cursor(&list, &cursor), Ok(position));
            prop_assert_eq!(decode_cursor(&other, &cursor).is_ok(), list == other);
        }

        #[test]
        fn changed_cursors_are_refused(
            position in prop::collection::vec(any::<u8>(), 0..30), at in any::<prop::sample::Index>(),
            bit in 0..8_u8,
        ) {
            let mut bytes = URL_SAFE_NO_PAD.decode(encode_cursor("list", &position)).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(decode_cursor("list", &URL_SAFE_NO_PAD.encode(bytes)).is_err());
        }

        #[test]
        fn any_text_is_refused_not_panicked_at(cursor in ".{0,60}") {
            prop_assert_eq!(decode_cursor("list", &cursor).map_err(|p| p.code()), Err(Code::InvalidRequest));
        }
    }

    #[tokio::test]
    async fn queries() {
        async fn check(query: &str, expected: Result<(usize, Option<&str>), &str>) {
            let request = axum::http::Request::get(format!("/?{query}")).body(()).unwrap();
            let (mut parts, ()) = request.into_parts();
            let got = StrictQuery::<PageQuery>::from_request_parts(&mut parts, &()).await;
            match (&got, expected) {
                (Ok(StrictQuery(page)), Ok((limit, cursor))) => {
                    assert_eq!((page.limit.get(), page.cursor.as_deref()), (limit, cursor));
                }
                (Err(problem), Err(named)) => {
                    assert_eq!(problem.code(), Code::InvalidRequest);
                    assert!(problem.detail().contains(named), "{query}: {problem}");
                }
                _ => panic!("{query}: {got:?}"),
            }
        }
        check("", Ok((20, None))).await;
        check("limit=1&cursor=a%7Cb", Ok((1, Some("a|b")))).await;
        check("limit=100", Ok((100, None))).await;
        for bad in ["0", "101", "1000", "-1", "1.5", "x", "", "%201", "1e1"] {
            check(&format!("limit={bad}"), Err("limit")).await;
        }
        check("limit=1&limit=1", Err("limit")).await;
        check("Limit=1", Err("Limit")).await;
        check("limit=1&page=2", Err("page")).await;
        check("cursor=%00", Err("control")).await;
        check("cursor=%FF", Err("UTF-8")).await;
    }
}

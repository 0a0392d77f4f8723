//! Identifiers that callers choose.

use std::fmt;
use std::str::FromStr;

/// Who pays: a workspace, team or user of a customer, as a pseudonymous id of 1 to 128 characters of
/// `A-Z a-z 0-9 _ . : | @ + -`, not only dots. `#` is in no id, so that store keys can be joined
/// with it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct AccountId(String);

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an id has 1 to 128 characters of A-Z a-z 0-9 _ . : | @ + -, and is not made of dots only")]
pub struct IdError;

/// Whether `text` is an id as [`AccountId`] describes; plans, subscriptions and payments use the
/// same alphabet.
pub(crate) fn is_id(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.:|@+-".contains(&b))
        && text.bytes().any(|b| b != b'.')
}

impl AccountId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for AccountId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if is_id(text) { Ok(Self(text.to_owned())) } else { Err(IdError) }
    }
}

impl<'de> serde::Deserialize<'de> for AccountId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

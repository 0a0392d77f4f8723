//! [`Scope`], what a credential may do, and a marker type for each, so that a handler names in its
//! arguments what it asks for: [`Access`](crate::Access), [`AccountAccess`](crate::AccountAccess).

use std::fmt;
use std::str::FromStr;

/// A type that stands for one [`Scope`].
pub trait Needs: Send + Sync + 'static {
    /// Which.
    const SCOPE: Scope;
}

macro_rules! scopes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $text:literal;)+) => {
        /// One thing that a credential may do.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Scope { $($(#[doc = $doc])+ $variant,)+ }

        impl Scope {
            /// Every scope.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// As it stands in tokens and requests.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        $(
            $(#[doc = $doc])+
            #[derive(Debug, Clone, Copy)]
            pub enum $variant {}
            impl Needs for $variant {
                const SCOPE: Scope = Scope::$variant;
            }
        )+
    };
}

scopes! {
    /// Asking what something would cost.
    Estimate = "estimate";
    /// Charging and holding credits.
    Charge = "charge";
    /// Seeing accounts and what happened in them.
    Read = "read";
    /// Buying credits: quotes and checkouts, which are not there yet.
    Topup = "topup";
    /// Giving credits and setting what an account may do.
    Grant = "grant";
    /// Publishing ratios.
    RatiosAdmin = "ratios:admin";
    /// Changing plans and subscriptions.
    PlansAdmin = "plans:admin";
    /// Making and withdrawing API keys.
    KeysAdmin = "keys:admin";
}

/// Why a text is not a [`Scope`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a scope is one of estimate, charge, read, topup, grant, ratios:admin, plans:admin, keys:admin"
)]
pub struct ScopeError;

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        Self::ALL.iter().copied().find(|scope| scope.as_str() == text).ok_or(ScopeError)
    }
}

impl serde::Serialize for Scope {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for Scope {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A set of scopes. As text they are separated by spaces, in the order of [`Scope::ALL`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// What an account token may carry at most: no end user can charge, grant or administer.
    pub const OF_ACCOUNT_TOKENS: Self =
        Self(Self::bit(Scope::Estimate) | Self::bit(Scope::Read) | Self::bit(Scope::Topup));

    const fn bit(scope: Scope) -> u8 {
        1 << scope as u8
    }

    /// Whether `scope` is among them.
    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & Self::bit(scope) != 0
    }

    /// Those that are in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// One after the other.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.iter().copied().filter(move |scope| self.contains(*scope))
    }

    /// Those of a space-separated text that are known here; what a later version knows gives
    /// nothing here.
    pub(crate) fn known_in(text: &str) -> Self {
        text.split(' ').filter_map(|word| word.parse().ok()).collect()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | Self::bit(scope)))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for scope in self.iter() {
            write!(f, "{separator}{scope}")?;
            separator = " ";
        }
        Ok(())
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_sets() {
        for scope in Scope::ALL {
            assert_eq!(scope.as_str().parse(), Ok(*scope));
        }
        for bad in ["", "Charge", "charge ", "admin", "ratios"] {
            assert_eq!(bad.parse::<Scope>(), Err(ScopeError));
        }
        let some = Scopes::known_in("topup unheard:of charge charge");
        assert_eq!(some.to_string(), "charge topup");
        assert_eq!(some.and(Scopes::OF_ACCOUNT_TOKENS).to_string(), "topup");
        assert_eq!(Scopes::OF_ACCOUNT_TOKENS.to_string(), "estimate read topup");
    }
}

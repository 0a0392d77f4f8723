//! [`Caller`], who sent a request, and the extractors that refuse it.
//!
//! Denied by default: a handler asks for a scope, in its arguments ([`Access`], [`AccountAccess`])
//! or by a `require` method of [`Caller`]. One that answers without having asked is answered by
//! 500 instead; a route that is open to everybody says so with [`Caller::anyone`].

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use uc_domain::AccountId;

use crate::extract::account_in_path;
use crate::problem::{Code, Problem};
use crate::scope::{Needs, Scope, Scopes};

/// Who somebody is, as far as the request proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// No credential.
    Anonymous,
    /// A back end.
    ApiKey {
        /// Names the key.
        id: String,
        /// What it may do, for any account.
        scopes: Scopes,
    },
    /// Somebody in an account, mostly a browser.
    AccountToken {
        /// The account.
        account: AccountId,
        /// The member of it.
        actor: Option<String>,
        /// What it may do, for this account; within [`Scopes::OF_ACCOUNT_TOKENS`].
        scopes: Scopes,
    },
}

/// Who sent the request, and whether somebody asked for what.
#[derive(Debug, Clone)]
pub struct Caller {
    identity: Arc<Identity>,
    asked: Arc<AtomicBool>,
}

impl Caller {
    pub(crate) fn new(identity: Identity) -> Self {
        Self { identity: Arc::new(identity), asked: Arc::default() }
    }

    /// Who it is. To decide what they may, use the other methods.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The account that an account token is for.
    pub fn token_account(&self) -> Option<&AccountId> {
        match &*self.identity {
            Identity::AccountToken { account, .. } => Some(account),
            Identity::Anonymous | Identity::ApiKey { .. } => None,
        }
    }

    /// The actor that an account token names.
    pub fn token_actor(&self) -> Option<&str> {
        match &*self.identity {
            Identity::AccountToken { actor, .. } => actor.as_deref(),
            Identity::Anonymous | Identity::ApiKey { .. } => None,
        }
    }

    /// Who does something by hand: whom the request names, or else the id of the API key.
    pub fn operator<'a>(&'a self, named: Option<&'a str>) -> Option<&'a str> {
        named.or(match &*self.identity {
            Identity::ApiKey { id, .. } => Some(id),
            Identity::Anonymous | Identity::AccountToken { .. } => None,
        })
    }

    /// Asks for `scope` over everything: only an API key has that.
    ///
    /// # Errors
    /// `unauthenticated`, `forbidden`.
    pub fn require(&self, scope: Scope) -> Result<(), Problem> {
        match self.ask() {
            Identity::Anonymous => Err(unauthenticated()),
            Identity::ApiKey { scopes, .. } if scopes.contains(scope) => Ok(()),
            Identity::ApiKey { .. } => Err(lacks(scope)),
            Identity::AccountToken { .. } => Err(forbidden("An account token can't do this.")),
        }
    }

    /// Asks for `scope` over `account`. Another account than its own is forbidden to an account
    /// token with the same words whether or not it exists.
    ///
    /// # Errors
    /// `unauthenticated`, `forbidden`.
    pub fn require_account(&self, scope: Scope, account: &AccountId) -> Result<(), Problem> {
        match self.ask() {
            Identity::AccountToken { account: own, .. } if own != account => {
                Err(forbidden("An account token sees and touches its own account alone."))
            }
            Identity::AccountToken { scopes, .. } if scopes.contains(scope) => Ok(()),
            Identity::AccountToken { .. } => Err(lacks(scope)),
            Identity::Anonymous | Identity::ApiKey { .. } => self.require(scope),
        }
    }

    /// Asks for `scope` over what is the same for all accounts, such as an estimate at the default
    /// prices.
    ///
    /// # Errors
    /// `unauthenticated`, `forbidden`.
    pub fn require_any(&self, scope: Scope) -> Result<(), Problem> {
        match self.ask() {
            Identity::AccountToken { account, .. } => self.require_account(scope, account),
            Identity::Anonymous | Identity::ApiKey { .. } => self.require(scope),
        }
    }

    /// Says that everybody may: what is public, or proven by a signature.
    pub fn anyone(&self) {
        self.ask();
    }

    fn ask(&self) -> &Identity {
        self.asked.store(true, Ordering::Relaxed);
        &self.identity
    }

    pub(crate) fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

pub(crate) fn unauthenticated() -> Problem {
    Problem::new(Code::Unauthenticated, "Send Authorization: Bearer with an API key or a token.")
}

fn forbidden(detail: &'static str) -> Problem {
    Problem::new(Code::Forbidden, detail)
}

fn lacks(scope: Scope) -> Problem {
    Problem::new(Code::Forbidden, format!("The credential lacks the scope {scope}."))
}

/// Not authenticated at all is a fault of ours: the layer is missing.
impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get().cloned().ok_or_else(|| {
            tracing::error!(
                "the router lacks the authentication layer: serve it with uc_http::wrap"
            );
            Problem::bare_internal()
        })
    }
}

/// A caller who has the scope `N` over everything ([`Caller::require`]). As the first argument of a
/// handler, it refuses before a body is read.
#[derive(Debug, Clone)]
pub struct Access<N> {
    /// Who it is.
    pub caller: Caller,
    needs: PhantomData<N>,
}

impl<N: Needs, S: Sync> FromRequestParts<S> for Access<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        caller.require(N::SCOPE)?;
        Ok(Self { caller, needs: PhantomData })
    }
}

/// A caller who has the scope `N` over the account in the path's `{account}`
/// ([`Caller::require_account`]). As the first argument of a handler, it refuses before a body is
/// read, and before anything tells whether the account exists.
#[derive(Debug, Clone)]
pub struct AccountAccess<N> {
    /// The account.
    pub account: AccountId,
    /// Who it is.
    pub caller: Caller,
    needs: PhantomData<N>,
}

impl<N: Needs, S: Sync> FromRequestParts<S> for AccountAccess<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        if *caller.identity() == Identity::Anonymous {
            caller.require(N::SCOPE)?;
        }
        let account = account_in_path(parts).await?;
        caller.require_account(N::SCOPE, &account)?;
        Ok(Self { account, caller, needs: PhantomData })
    }
}

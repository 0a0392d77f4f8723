//! The authentication layer, the same on every stack. Nothing switches it off.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use uc_domain::Timestamp;

use crate::api_key::{self, SecretHash};
use crate::caller::{Caller, Identity, unauthenticated};
use crate::json::single;
use crate::problem::{Code, Problem};
use crate::scope::Scopes;
use crate::token::{self, TokenError, TokenIdentity};

/// What time it is. A request asks once.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// For how long a found credential is kept in memory, in milliseconds: a withdrawn API key works
/// for at most this long.
pub const KEPT_MILLIS: i64 = 60_000;
/// For how long it is kept that there is no such credential, in milliseconds.
pub const ABSENCE_KEPT_MILLIS: i64 = 5_000;
/// How many credentials of a kind are kept.
const CACHE_LIMIT: usize = 1_000;
/// The longest `Authorization` header that is looked at, in bytes.
const HEADER_LIMIT: usize = 4_096;
/// What `Retry-After` says when the store can't be reached, in seconds.
const RETRY_SECONDS: u32 = 2;

/// An API key as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiKeyRecord {
    /// The hash of its secret.
    pub secret_hash: SecretHash,
    /// What it may do.
    pub scopes: Scopes,
}

/// The store of credentials can't be reached.
#[derive(Debug, thiserror::Error)]
#[error("the credentials can't be read")]
pub struct StoreUnavailable(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Where credentials are.
#[async_trait]
pub trait CredentialStore: Send + Sync {
    /// The API key with this id (1 to 64 letters and digits); `None` where there is none or it was
    /// withdrawn.
    async fn api_key(&self, id: &str) -> Result<Option<ApiKeyRecord>, StoreUnavailable>;

    /// The public Ed25519 key with this id (1 to 64 of `A-Z a-z 0-9 _ -`).
    async fn token_key(&self, kid: &str) -> Result<Option<[u8; 32]>, StoreUnavailable>;
}

/// What the layer needs. Clones share what is kept in memory.
#[derive(Clone)]
pub struct AuthState {
    store: Arc<dyn CredentialStore>,
    clock: Clock,
    api_keys: Arc<Cache<ApiKeyRecord>>,
    token_keys: Arc<Cache<[u8; 32]>>,
}

impl fmt::Debug for AuthState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthState").finish_non_exhaustive()
    }
}

impl AuthState {
    /// Credentials from `store`, time from `clock`.
    pub fn new(store: Arc<dyn CredentialStore>, clock: Clock) -> Self {
        Self { store, clock, api_keys: Arc::default(), token_keys: Arc::default() }
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Who sends these headers: [`Identity::Anonymous`] without a credential, never with a bad one.
    ///
    /// # Errors
    /// `unauthenticated`, `token_expired`, `unavailable` when the store can't be reached.
    pub async fn identify(&self, headers: &HeaderMap) -> Result<Identity, Problem> {
        let Some(header) = single(headers, &AUTHORIZATION).map_err(|_| unauthenticated())? else {
            return Ok(Identity::Anonymous);
        };
        let credential = header
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, credential)| credential)
            .filter(|_| header.len() <= HEADER_LIMIT)
            .ok_or_else(unauthenticated)?;
        match api_key::parse(credential) {
            Some((id, secret)) => self.identify_key(id, secret).await,
            None => self.identify_token(credential).await,
        }
    }

    async fn identify_key(&self, id: &str, secret: &str) -> Result<Identity, Problem> {
        match self.api_keys.find(id, self.now(), self.store.api_key(id)).await? {
            Some(record) if record.secret_hash.matches(secret) => {
                Ok(Identity::ApiKey { id: id.to_owned(), scopes: record.scopes })
            }
            _ => Err(unauthenticated()),
        }
    }

    async fn identify_token(&self, token: &str) -> Result<Identity, Problem> {
        let now = self.now();
        let kid = token::kid_of(token).ok_or_else(unauthenticated)?;
        let key = self.token_keys.find(&kid, now, self.store.token_key(&kid)).await?;
        match token::verify(token, &key.ok_or_else(unauthenticated)?, now) {
            Ok(TokenIdentity { account, actor, scopes }) => {
                Ok(Identity::AccountToken { account, actor, scopes })
            }
            Err(TokenError::Invalid) => Err(unauthenticated()),
            Err(TokenError::Expired) => {
                Err(Problem::new(Code::TokenExpired, "Get a new token from your back end."))
            }
        }
    }
}

/// The layer: a bad credential is refused wherever it is sent, none makes the caller anonymous, and
/// a handler that succeeds without having asked for anything is stopped.
pub(crate) async fn authenticate(
    State(auth): State<AuthState>,
    mut request: Request,
    next: Next,
) -> Response {
    let caller = match auth.identify(request.headers()).await {
        Ok(identity) => Caller::new(identity),
        Err(problem) => return problem.into_response(),
    };
    request.extensions_mut().insert(caller.clone());
    let response = next.run(request).await;
    if response.status().as_u16() < 400 && !caller.was_asked() {
        tracing::error!("the handler asks for no scope: Access, AccountAccess or Caller::anyone");
        return Problem::bare_internal().into_response();
    }
    response
}

/// What was found, or that nothing was, for a while.
///
/// By the wall clock: a function may be frozen between two requests, and the monotonic clock may
/// stand still with it. If the clock goes back, what was kept later than now counts as too old.
struct Cache<V>(Mutex<HashMap<String, Kept<V>>>);

struct Kept<V> {
    since: Timestamp,
    until: Timestamp,
    value: Option<V>,
}

impl<V> Kept<V> {
    fn holds(&self, now: Timestamp) -> bool {
        self.since <= now && now < self.until
    }
}

impl<V> Default for Cache<V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<V: Copy> Cache<V> {
    /// What is kept, or else what `look_up` finds. `None` where there is no such credential.
    async fn find(
        &self,
        id: &str,
        now: Timestamp,
        look_up: impl Future<Output = Result<Option<V>, StoreUnavailable>>,
    ) -> Result<Option<V>, Problem> {
        if let Some(kept) = self.entries().get(id).filter(|kept| kept.holds(now)) {
            return Ok(kept.value);
        }
        let found = look_up.await.map_err(|error| Problem::unavailable(&error, RETRY_SECONDS))?;
        self.keep(id, found, now);
        Ok(found)
    }

    /// A full cache makes room: first by what is over, then by what is over soonest, so that ids
    /// which somebody made up (kept shortly) don't push out those that work.
    fn keep(&self, id: &str, value: Option<V>, now: Timestamp) {
        let mut entries = self.entries();
        if entries.len() >= CACHE_LIMIT {
            entries.retain(|_, kept| kept.holds(now));
        }
        if entries.len() >= CACHE_LIMIT {
            let soonest = entries.iter().min_by_key(|(_, kept)| kept.until);
            if let Some(id) = soonest.map(|(id, _)| id.clone()) {
                entries.remove(&id);
            }
        }
        let millis = if value.is_some() { KEPT_MILLIS } else { ABSENCE_KEPT_MILLIS };
        let until = now.saturating_add_millis(millis);
        entries.insert(id.to_owned(), Kept { since: now, until, value });
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<String, Kept<V>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn made_up_ids_push_out_no_working_one() {
        let cache = Cache::default();
        let now = Timestamp::MIN;
        cache.find("works", now, async { Ok(Some(1)) }).await.unwrap();
        for id in 0..2 * CACHE_LIMIT {
            cache.find(&id.to_string(), now, async { Ok(None) }).await.unwrap();
            assert!(cache.entries().len() <= CACHE_LIMIT);
        }
        let kept = cache.find("works", now, async { unreachable!() }).await;
        assert_eq!(kept, Ok(Some(1)));
    }
}

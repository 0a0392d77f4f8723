//! API keys and the public keys of account tokens, as items.

use std::sync::Arc;

use aws_sdk_dynamodb::primitives::Blob;
use uc_domain::Timestamp;

use crate::LedgerError;
use crate::keys;
use crate::store::{
    AttributeValue, Condition, Item, Key, Put, Query, SK, Store, bytes, number, text,
};

const HASH: &str = "h";
const SCOPES: &str = "scopes";
const NAME: &str = "name";
const CREATED_AT: &str = "at";
const PUBLIC_KEY: &str = "k";

/// API keys that one deployment has at most.
const MAX_KEYS: u32 = 1_000;

/// An API key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// The public part.
    pub id: String,
    /// SHA-256 of the secret part.
    pub secret_hash: [u8; 32],
    /// What it may do.
    pub scopes: Vec<String>,
    /// What it is for, for people.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// The items of credentials.
#[derive(Clone)]
pub struct CredentialItems {
    store: Arc<dyn Store>,
}

impl CredentialItems {
    /// The credentials in `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// One API key.
    ///
    /// # Errors
    /// The store is unavailable, or what it holds is corrupt.
    pub async fn api_key(&self, id: &str) -> Result<Option<ApiKey>, LedgerError> {
        let item = self.store.get(&Key::new(keys::API_KEYS, id)).await?;
        item.as_ref().map(api_key).transpose()
    }

    /// All API keys, by id.
    ///
    /// # Errors
    /// The store is unavailable, or what it holds is corrupt.
    pub async fn api_keys(&self) -> Result<Vec<ApiKey>, LedgerError> {
        let query = Query {
            pk: keys::API_KEYS.to_owned(),
            from: " ".to_owned(),
            to: "~".to_owned(),
            descending: false,
            limit: MAX_KEYS,
        };
        self.store.query(&query).await?.iter().map(api_key).collect()
    }

    /// Keeps a new API key.
    ///
    /// # Errors
    /// The store is unavailable, or the id is taken.
    pub async fn put_api_key(&self, key: &ApiKey) -> Result<(), LedgerError> {
        let string = |text: &str| AttributeValue::S(text.to_owned());
        let mut item = Key::new(keys::API_KEYS, &key.id).item();
        item.insert(HASH.to_owned(), AttributeValue::B(Blob::new(key.secret_hash)));
        item.insert(SCOPES.to_owned(), string(&key.scopes.join(" ")));
        item.insert(NAME.to_owned(), string(&key.name));
        item.insert(CREATED_AT.to_owned(), AttributeValue::N(key.created_at.millis().to_string()));
        self.store.put(Put { item, condition: Condition::NotExists }).await?;
        Ok(())
    }

    /// Removes an API key; other processes may honour it for 60 more seconds.
    ///
    /// # Errors
    /// The store is unavailable.
    pub async fn delete_api_key(&self, id: &str) -> Result<(), LedgerError> {
        Ok(self.store.delete(&Key::new(keys::API_KEYS, id)).await?)
    }

    /// The Ed25519 public key that verifies tokens with this key id.
    ///
    /// # Errors
    /// The store is unavailable, or what it holds is corrupt.
    pub async fn token_key(&self, kid: &str) -> Result<Option<[u8; 32]>, LedgerError> {
        self.public_key(keys::TOKEN_KEYS, kid).await
    }

    /// The Ed25519 public key that verifies checkpoints with this key id.
    ///
    /// # Errors
    /// The store is unavailable, or what it holds is corrupt.
    pub async fn checkpoint_key(&self, kid: &str) -> Result<Option<[u8; 32]>, LedgerError> {
        self.public_key(keys::CHECKPOINT_KEYS, kid).await
    }

    async fn public_key(&self, pk: &str, kid: &str) -> Result<Option<[u8; 32]>, LedgerError> {
        let Some(item) = self.store.get(&Key::new(pk, kid)).await? else { return Ok(None) };
        bytes(&item, PUBLIC_KEY)
            .and_then(|key| key.try_into().ok())
            .map(Some)
            .ok_or_else(|| LedgerError::Corrupt(format!("public key {kid:?} of {pk}")))
    }

    /// Publishes the public key of `kid`.
    ///
    /// # Errors
    /// The store is unavailable.
    pub async fn put_token_key(&self, kid: &str, key: [u8; 32]) -> Result<(), LedgerError> {
        self.put_public_key(keys::TOKEN_KEYS, kid, key).await
    }

    /// Publishes the public key of `kid`, which signs checkpoints.
    ///
    /// # Errors
    /// The store is unavailable.
    pub async fn put_checkpoint_key(&self, kid: &str, key: [u8; 32]) -> Result<(), LedgerError> {
        self.put_public_key(keys::CHECKPOINT_KEYS, kid, key).await
    }

    async fn put_public_key(&self, pk: &str, kid: &str, key: [u8; 32]) -> Result<(), LedgerError> {
        let mut item = Key::new(pk, kid).item();
        item.insert(PUBLIC_KEY.to_owned(), AttributeValue::B(Blob::new(key)));
        self.store.put(Put { item, condition: Condition::None }).await?;
        Ok(())
    }
}

fn api_key(item: &Item) -> Result<ApiKey, LedgerError> {
    let id = text(item, SK).unwrap_or_default();
    let created_at = number(item, CREATED_AT)
        .and_then(|millis| i64::try_from(millis).ok())
        .and_then(|millis| Timestamp::from_millis(millis).ok());
    match (bytes(item, HASH).and_then(|hash| hash.try_into().ok()), text(item, SCOPES), created_at)
    {
        (Some(secret_hash), Some(scopes), Some(created_at)) => Ok(ApiKey {
            id: id.to_owned(),
            secret_hash,
            scopes: scopes.split_whitespace().map(str::to_owned).collect(),
            name: text(item, NAME).unwrap_or_default().to_owned(),
            created_at,
        }),
        _ => Err(LedgerError::Corrupt(format!("API key {id:?}"))),
    }
}

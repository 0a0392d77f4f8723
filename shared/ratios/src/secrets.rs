//! [`SecretReader`]: the stack's secrets, which are secure strings on SSM.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use uc_domain::Timestamp;
use uc_ledger::Clock;

use crate::parameters::{ParameterError, ParameterStore};

/// How long, in milliseconds, a secret is not asked for again.
const FRESH: i64 = 60_000;
/// How long, in milliseconds, it is used while SSM gives no answer.
const USED_WITHOUT_ANSWER: i64 = 300_000;

/// A text that must not be seen: it is not printed by mistake.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text. Not to be logged or stored.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Why there is no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The parameter is not there: the stack is not set up.
    #[error("the parameter {0} is missing")]
    Missing(String),
    /// SSM gives no answer; later it will go.
    #[error("a secret can't be read now: {0}")]
    Unavailable(String),
    /// SSM refused: permissions.
    #[error("reading a secret was refused: {0}")]
    Refused(String),
}

impl From<ParameterError> for SecretError {
    fn from(error: ParameterError) -> Self {
        match error {
            ParameterError::Refused(_) => Self::Refused(error.to_string()),
            ParameterError::Throttled | ParameterError::NoAnswer(_) => {
                Self::Unavailable(error.to_string())
            }
        }
    }
}

/// Reads a stack's secrets and keeps them for 60 seconds; made once a process.
pub struct SecretReader {
    parameters: Arc<dyn ParameterStore>,
    clock: Arc<dyn Clock>,
    /// `/<stack>/secrets/`.
    prefix: String,
    webhook: Kept,
    token_key: Kept,
    checkpoint_key: Kept,
}

/// Secrets and when they were read.
type Kept = Mutex<Option<(Timestamp, Arc<[Secret]>)>>;

impl SecretReader {
    /// Reads the secrets of a stack from `parameters`, best a patient one.
    pub fn new(parameters: Arc<dyn ParameterStore>, clock: Arc<dyn Clock>, stack: &str) -> Self {
        Self {
            parameters,
            clock,
            prefix: format!("/{stack}/secrets/"),
            webhook: Mutex::default(),
            token_key: Mutex::default(),
            checkpoint_key: Mutex::default(),
        }
    }

    /// The secrets that payment webhooks may be signed with: `webhook/current` and, while they are
    /// being rotated, `webhook/previous`.
    ///
    /// # Errors
    /// See [`SecretError`]; missing only where there is no current one.
    pub async fn webhook_secrets(&self) -> Result<Arc<[Secret]>, SecretError> {
        self.read(&self.webhook, &["webhook/current", "webhook/previous"]).await
    }

    /// The key that signs account tokens: `token-key`, as the one who uses it wrote it.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub async fn token_signing_key(&self) -> Result<Secret, SecretError> {
        let secrets = self.read(&self.token_key, &["token-key"]).await?;
        Ok(secrets.first().expect("the first is there").clone())
    }

    /// The key that signs the journals' checkpoints: `checkpoint-key`.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub async fn checkpoint_key(&self) -> Result<Secret, SecretError> {
        let secrets = self.read(&self.checkpoint_key, &["checkpoint-key"]).await?;
        Ok(secrets.first().expect("the first is there").clone())
    }

    /// Reads secrets, of which the first must be there, unless what was read before will do.
    async fn read(&self, kept: &Kept, names: &[&str]) -> Result<Arc<[Secret]>, SecretError> {
        let now = self.clock.now();
        let kept_for = |millis: i64| {
            let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            let age = |at: Timestamp| now.millis() - at.millis();
            kept.as_ref()
                .filter(|(at, _)| (0..millis).contains(&age(*at)))
                .map(|(_, secrets)| Arc::clone(secrets))
        };
        if let Some(secrets) = kept_for(FRESH) {
            return Ok(secrets);
        }
        let names: Vec<String> =
            names.iter().map(|name| format!("{}{name}", self.prefix)).collect();
        let found = match self.parameters.get(&names, true).await {
            Ok(found) => found,
            Err(error) => return kept_for(USED_WITHOUT_ANSWER).ok_or_else(|| error.into()),
        };
        let mut values = names
            .iter()
            .map(|name| found.iter().find(|there| there.name == *name))
            .map(|there| there.map(|there| Secret(there.value.clone())));
        let Some(first) = values.next().flatten() else {
            return Err(SecretError::Missing(names.first().cloned().unwrap_or_default()));
        };
        let secrets: Arc<[Secret]> = std::iter::once(first).chain(values.flatten()).collect();
        *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, Arc::clone(&secrets)));
        Ok(secrets)
    }
}

//! What a function is made of: configuration and clients, once a process.

use std::env;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use uc_domain::account::{Overuse, Settings};
use uc_ledger::aws::{SdkConfig, SdkConfigs, sdk_configs};
use uc_ledger::store::Store;
use uc_ledger::{Clock, CredentialItems, DynamoStore, Ledger, SystemClock};
use uc_ratios::{Reader, SecretReader, SsmParameters};

use crate::api_key::SecretHash;
use crate::auth::{ApiKeyRecord, AuthState, CredentialStore, StoreUnavailable};
use crate::scope::Scope;

/// What is not in the environment, or not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A variable that every function needs.
    #[error("the environment variable {0} is not set")]
    Missing(&'static str),
    /// A variable with a value that means nothing.
    #[error("the environment variable {name} is {value:?}, but must be {expected}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it can be.
        expected: &'static str,
    },
}

/// What is chosen for a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The table (`UC_TABLE`).
    pub table: String,
    /// The name in front of all SSM parameters (`UC_STACK`).
    pub stack: String,
    /// The overuse setting of accounts that name none (`UC_OVERUSE`: `record`, `refuse` or
    /// `forgive`; `record` where not set).
    pub overuse: Overuse,
    /// Whether the rate card is for everybody to see (`UC_RATES_PUBLIC`: `true` or `false`;
    /// `false` where not set).
    pub public_rates: bool,
}

impl Config {
    /// As the environment says.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn from_environment() -> Result<Self, ConfigError> {
        let needed = |name| env::var(name).map_err(|_| ConfigError::Missing(name));
        let invalid = |name, value, expected| Err(ConfigError::Invalid { name, value, expected });
        let overuse = match env::var("UC_OVERUSE").as_deref() {
            Err(_) | Ok("record") => Overuse::Record,
            Ok("refuse") => Overuse::Refuse,
            Ok("forgive") => Overuse::Forgive,
            Ok(other) => {
                return invalid("UC_OVERUSE", other.to_owned(), "record, refuse or forgive");
            }
        };
        let public_rates = match env::var("UC_RATES_PUBLIC").as_deref() {
            Err(_) | Ok("false") => false,
            Ok("true") => true,
            Ok(other) => return invalid("UC_RATES_PUBLIC", other.to_owned(), "true or false"),
        };
        Ok(Self { table: needed("UC_TABLE")?, stack: needed("UC_STACK")?, overuse, public_rates })
    }
}

/// Configuration and clients of one process, shared by what it serves.
pub struct Deployment {
    config: Config,
    clock: Arc<dyn Clock>,
    dynamo: Arc<DynamoStore>,
    parameters: SdkConfig,
    auth: AuthState,
    reader: OnceLock<Arc<Reader>>,
    secrets: OnceLock<Arc<SecretReader>>,
}

impl Deployment {
    /// As the environment says, on the machine's clock.
    ///
    /// # Errors
    /// The environment lacks something.
    pub fn from_environment() -> Result<Self, ConfigError> {
        let config = Config::from_environment()?;
        let SdkConfigs { tables, parameters } = sdk_configs();
        Ok(Self::new(config, &tables, parameters, Arc::new(SystemClock)))
    }

    /// With a configuration for each service and a clock.
    pub fn new(
        config: Config,
        tables: &SdkConfig,
        parameters: SdkConfig,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let dynamo = Arc::new(DynamoStore::new(tables, config.table.clone(), Arc::clone(&clock)));
        let store = Arc::clone(&dynamo) as Arc<dyn Store>;
        let credentials = Arc::new(Credentials(CredentialItems::new(store)));
        let time = Arc::clone(&clock);
        let auth = AuthState::new(credentials, Arc::new(move || time.now()));
        Self {
            config,
            clock,
            dynamo,
            parameters,
            auth,
            reader: OnceLock::new(),
            secrets: OnceLock::new(),
        }
    }

    /// What is chosen for it.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The time that accounts live by.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The table, and what it has cost.
    pub fn dynamo(&self) -> &Arc<DynamoStore> {
        &self.dynamo
    }

    /// The table.
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.dynamo) as Arc<dyn Store>
    }

    /// The client configuration for parameters.
    pub const fn parameters(&self) -> &SdkConfig {
        &self.parameters
    }

    /// The accounts.
    pub fn ledger(&self) -> Ledger {
        let defaults = Settings { overuse: self.config.overuse, ..Settings::default() };
        Ledger::new(self.store(), Arc::clone(&self.clock), defaults)
    }

    /// API keys and the public keys of account tokens.
    pub fn credentials(&self) -> CredentialItems {
        CredentialItems::new(self.store())
    }

    /// Who may.
    pub fn auth(&self) -> AuthState {
        self.auth.clone()
    }

    /// The ratio tables, for those who price by them.
    pub fn reader(&self) -> Arc<Reader> {
        let make = || {
            let parameters = Arc::new(SsmParameters::new(&self.parameters));
            let clock = Arc::clone(&self.clock);
            Arc::new(Reader::new(self.store(), parameters, clock, &self.config.stack))
        };
        Arc::clone(self.reader.get_or_init(make))
    }

    /// The secrets.
    pub fn secrets(&self) -> Arc<SecretReader> {
        let make = || {
            let parameters = Arc::new(SsmParameters::patient(&self.parameters));
            let clock = Arc::clone(&self.clock);
            Arc::new(SecretReader::new(parameters, clock, &self.config.stack))
        };
        Arc::clone(self.secrets.get_or_init(make))
    }
}

/// Credentials in the ledger's table, as the authentication layer asks for them.
struct Credentials(CredentialItems);

#[async_trait]
impl CredentialStore for Credentials {
    async fn api_key(&self, id: &str) -> Result<Option<ApiKeyRecord>, StoreUnavailable> {
        let key = self.0.api_key(id).await.map_err(|error| StoreUnavailable(Box::new(error)))?;
        Ok(key.map(|key| ApiKeyRecord {
            secret_hash: SecretHash(key.secret_hash),
            // A scope that is not known here is one that an older program can't grant.
            scopes: key.scopes.iter().filter_map(|scope| scope.parse::<Scope>().ok()).collect(),
        }))
    }

    async fn token_key(&self, kid: &str) -> Result<Option<[u8; 32]>, StoreUnavailable> {
        self.0.token_key(kid).await.map_err(|error| StoreUnavailable(Box::new(error)))
    }
}

//! Accounts as their owners, operators and auditors see them, and the credentials to see them with.

mod accounts;
mod audit;
mod credentials;
mod personal_data;
mod rerate;
mod transactions;

use std::sync::Arc;

use axum::Router;
use uc_domain::AccountId;
use uc_domain::account::AccountState;
use uc_http::{Deployment, Limit, Problem, problems, refusals};
use uc_ledger::{CredentialItems, Ledger};
use uc_ratios::{Reader, SecretReader};

/// What the function works with.
#[derive(Clone)]
pub struct Deps {
    /// The accounts.
    pub ledger: Ledger,
    /// API keys, the public keys of account tokens and of checkpoints.
    pub credentials: CredentialItems,
    /// The private key of account tokens.
    pub secrets: Arc<SecretReader>,
    /// The ratio tables: their price groups, and what charges were priced by.
    pub ratios: Arc<Reader>,
}

problems!(ListProblems =);
problems!(AccountProblems = AccountNotFound);

async fn existing(deps: &Deps, account: &AccountId) -> Result<AccountState, Problem> {
    deps.ledger.account(account).await?.ok_or_else(|| refusals::account_not_found(account))
}

fn limit(limit: Limit) -> u32 {
    u32::try_from(limit.get()).unwrap_or(u32::MAX)
}

/// All routes, without layers: serve them with `uc_http::wrap`.
pub fn routes() -> Router<Deps> {
    accounts::routes()
        .merge(transactions::routes())
        .merge(rerate::routes())
        .merge(audit::routes())
        .merge(personal_data::routes())
        .merge(credentials::routes())
}

/// The description of the routes.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut described = accounts::openapi();
    described.merge(transactions::openapi());
    described.merge(rerate::openapi());
    described.merge(audit::openapi());
    described.merge(personal_data::openapi());
    described.merge(credentials::openapi());
    described
}

/// The function's router in a deployment.
pub fn router(deployment: &Deployment) -> Router {
    let deps = Deps {
        ledger: deployment.ledger(),
        credentials: deployment.credentials(),
        secrets: deployment.secrets(),
        ratios: deployment.reader(),
    };
    uc_http::wrap("accounts", routes().with_state(deps), deployment.auth())
}

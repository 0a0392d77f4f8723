//! Charges accounts for what was used.

mod charges;

use std::sync::Arc;

use axum::Router;
use uc_http::Deployment;
use uc_ledger::Ledger;
use uc_ratios::Reader;

/// What the function works with.
#[derive(Clone)]
pub struct Deps {
    /// The accounts.
    pub ledger: Ledger,
    /// The ratio tables.
    pub ratios: Arc<Reader>,
}

/// All routes, without layers: serve them with `uc_http::wrap`.
pub fn routes() -> Router<Deps> {
    charges::routes()
}

/// The description of the routes.
pub fn openapi() -> utoipa::openapi::OpenApi {
    charges::openapi()
}

/// The function's router in a deployment.
pub fn router(deployment: &Deployment) -> Router {
    let deps = Deps { ledger: deployment.ledger(), ratios: deployment.reader() };
    uc_http::wrap("charge", routes().with_state(deps), deployment.auth())
}

//! Charges accounts for what was used.

mod batch;
mod charges;
mod holds;
mod queue;
mod refunds;
mod unrated;

use std::sync::Arc;

use axum::Router;
use uc_http::Deployment;
use uc_ledger::Ledger;
use uc_ratios::Reader;

pub use self::queue::{Queue, Report};

/// What the function works with.
#[derive(Clone)]
pub struct Deps {
    /// The accounts.
    pub ledger: Ledger,
    /// The ratio tables.
    pub ratios: Arc<Reader>,
}

impl Deps {
    fn new(deployment: &Deployment) -> Self {
        Self { ledger: deployment.ledger(), ratios: deployment.reader() }
    }
}

/// All routes, without layers: serve them with `uc_http::wrap`.
pub fn routes() -> Router<Deps> {
    charges::routes()
        .merge(holds::routes())
        .merge(refunds::routes())
        .merge(batch::routes())
        .merge(unrated::routes())
}

/// The description of the routes.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut described = charges::openapi();
    described.merge(holds::openapi());
    described.merge(refunds::openapi());
    described.merge(batch::openapi());
    described.merge(unrated::openapi());
    described
}

/// Reads a body as each of the routes does, up to what needs an account: see `tests/fuzz`.
#[cfg(fuzzing)]
pub fn read_anyhow(body: &[u8], now: uc_domain::Timestamp) {
    batch::read_anyhow(body, now);
    holds::read_anyhow(body, now);
    refunds::read_anyhow(body);
}

/// The function's router in a deployment.
pub fn router(deployment: &Deployment) -> Router {
    let deps = Deps::new(deployment);
    uc_http::wrap("charge", routes().with_state(deps), deployment.auth())
}

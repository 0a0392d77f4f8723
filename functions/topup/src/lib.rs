//! Brings credits in, and takes back what should not have come: signed payment webhooks; grants,
//! voids of grants and write-offs by an operator.

mod grants;
mod payments;

use std::sync::Arc;

use axum::Router;
use serde::Deserialize;
use uc_domain::Credits;
use uc_domain::account::Money;
use uc_http::{Deployment, Problem, openapi};
use uc_ledger::Ledger;
use uc_ratios::SecretReader;
use utoipa::ToSchema;

/// What the function works with.
#[derive(Clone)]
pub struct Deps {
    /// The accounts.
    pub ledger: Ledger,
    /// The webhook's secrets.
    pub secrets: Arc<SecretReader>,
}

/// An amount of money, as a label on the grant.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Paid {
    /// How much, not negative.
    #[schema(value_type = openapi::Decimal)]
    amount: Credits,
    /// ISO 4217: three capital letters.
    #[schema(example = "USD")]
    currency: String,
}

impl Paid {
    fn check(self, pointer: &str) -> Result<Money, Problem> {
        let Self { amount, currency } = self;
        if amount.is_negative() {
            let detail = "not below zero";
            return Err(Problem::invalid_field(format!("{pointer}/amount"), detail));
        }
        if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
            let detail = "three capital letters";
            return Err(Problem::invalid_field(format!("{pointer}/currency"), detail));
        }
        Ok(Money { amount, currency })
    }
}

fn check_credits(credits: Credits, pointer: &str) -> Result<(), Problem> {
    if !credits.is_positive() || credits > Credits::MAX_GRANT {
        return Err(Problem::invalid_field(pointer, "above zero, at most 10^12"));
    }
    Ok(())
}

/// All routes, without layers: serve them with `uc_http::wrap`.
pub fn routes() -> Router<Deps> {
    grants::routes().merge(payments::routes())
}

/// The description of the routes.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut described = grants::openapi();
    described.merge(payments::openapi());
    described
}

/// The function's router in a deployment.
pub fn router(deployment: &Deployment) -> Router {
    let deps = Deps { ledger: deployment.ledger(), secrets: deployment.secrets() };
    uc_http::wrap("topup", routes().with_state(deps), deployment.auth())
}

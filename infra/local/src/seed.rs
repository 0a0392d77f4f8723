//! What a deployment needs before its first request, and the example data of the local stack.

use std::sync::Arc;

use aws_sdk_ssm::operation::get_parameter::GetParameterError;
use aws_sdk_ssm::types::ParameterType;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::Value;
use uc_domain::plans::Plan;
use uc_domain::ratios::RatioTable;
use uc_http::{Deployment, Scope, SigningKey, generate_api_key};
use uc_ledger::{ApiKey, CheckpointKey, Plans};
use uc_ratios::{PublishOptions, Publisher, SsmParameters};

/// The table's name where nothing else is said.
pub const TABLE: &str = "unified-credits";
/// The stack's name, in front of all SSM parameters, where nothing else is said.
pub const STACK: &str = "unified-credits";

/// The example table and plans, part of this program: `cargo local` needs no file at run time.
const RATIOS: &str = include_str!("../../../events/ratios.example.json");
const PLANS: &str = include_str!("../../../events/plans.example.json");

/// Why a deployment was not made ready.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what}: {reason}")]
pub struct SeedError {
    what: &'static str,
    reason: String,
}

fn failed<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> SeedError {
    move |error| SeedError { what, reason: error.to_string() }
}

/// What callers need of a deployment that was made ready.
#[derive(Debug, Clone)]
pub struct Access {
    /// A new API key with every scope.
    pub api_key: String,
    /// The secret that payment webhooks are signed with.
    pub webhook_secret: String,
}

/// Makes what a new deployment lacks and nobody else makes: the secret of its payment webhooks, the
/// keys of account tokens and of checkpoints, and a first API key in place of an earlier one. Secrets that are there
/// stay.
///
/// # Errors
/// [`SeedError`].
pub async fn bootstrap(deployment: &Deployment) -> Result<Access, SeedError> {
    let ssm = aws_sdk_ssm::Client::new(deployment.parameters());
    let stack = &deployment.config().stack;

    let webhook_secret = secret(&ssm, &format!("/{stack}/secrets/webhook/current"), || {
        let mut bytes = [0; 24];
        SystemRandom::new().fill(&mut bytes).map_err(failed("make a webhook secret"))?;
        Ok(format!("whsec_{}", STANDARD.encode(bytes)))
    })
    .await?;
    let signing = secret(&ssm, &format!("/{stack}/secrets/token-key"), || {
        SigningKey::generate().map(|(_, text)| text).map_err(failed("make a token key"))
    })
    .await?;
    let signing = SigningKey::from_secret(&signing).map_err(failed("read the token key"))?;
    let credentials = deployment.credentials();
    credentials
        .put_token_key(signing.kid(), signing.public_key())
        .await
        .map_err(failed("publish the token key"))?;

    let checkpoints = secret(&ssm, &format!("/{stack}/secrets/checkpoint-key"), || {
        SigningKey::generate().map(|(_, text)| text).map_err(failed("make a checkpoint key"))
    })
    .await?;
    let checkpoints =
        CheckpointKey::from_secret(&checkpoints).map_err(failed("read the checkpoint key"))?;
    credentials
        .put_checkpoint_key(checkpoints.kid(), checkpoints.public_key())
        .await
        .map_err(failed("publish the checkpoint key"))?;

    let made = generate_api_key();
    let key = ApiKey {
        id: made.id,
        secret_hash: made.secret_hash.0,
        scopes: Scope::ALL.iter().map(|scope| scope.as_str().to_owned()).collect(),
        name: "bootstrap".to_owned(),
        created_at: deployment.clock().now(),
    };
    credentials.put_api_key(&key).await.map_err(failed("keep the first API key"))?;
    // What an earlier run made is replaced: keys with every scope must not pile up.
    let all = credentials.api_keys().await.map_err(failed("list the API keys"))?;
    for earlier in all.iter().filter(|other| other.name == key.name && other.id != key.id) {
        credentials.delete_api_key(&earlier.id).await.map_err(failed("withdraw an API key"))?;
    }
    Ok(Access { api_key: made.key, webhook_secret })
}

/// The `SecureString` called `name`; made where it is not there.
async fn secret(
    ssm: &aws_sdk_ssm::Client,
    name: &str,
    make: impl FnOnce() -> Result<String, SeedError>,
) -> Result<String, SeedError> {
    let existing = ssm.get_parameter().name(name).with_decryption(true).send().await;
    match existing {
        Ok(output) => {
            let value = output.parameter.and_then(|parameter| parameter.value);
            return value.ok_or_else(|| failed("read a secret")("it has no value"));
        }
        Err(error)
            if error.as_service_error().is_some_and(GetParameterError::is_parameter_not_found) => {}
        Err(error) => return Err(failed("read a secret")(reasons(&error))),
    }
    let value = make()?;
    ssm.put_parameter()
        .name(name)
        .value(&value)
        .r#type(ParameterType::SecureString)
        .send()
        .await
        .map_err(|error| failed("keep a secret")(reasons(&error)))?;
    Ok(value)
}

/// An error and what caused it, in one sentence.
fn reasons(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(Some(error), |error| error.source());
    sources.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Publishes the example ratio table where there is none yet, and puts the example plans.
///
/// # Errors
/// [`SeedError`].
pub async fn examples(deployment: &Deployment) -> Result<(), SeedError> {
    let publisher = Publisher::new(
        deployment.store(),
        Arc::new(SsmParameters::patient(deployment.parameters())),
        Arc::clone(deployment.clock()),
        &deployment.config().stack,
    );
    if publisher.current().await.map_err(failed("read the register"))?.is_none() {
        let table: Value = serde_json::from_str(RATIOS).map_err(failed("read the ratios"))?;
        let table = RatioTable::from_json(&table)
            .map_err(|error| failed("read the ratios")(format!("{error:?}")))?;
        publisher
            .publish(0, &table, &PublishOptions::default())
            .await
            .map_err(failed("publish the ratios"))?;
    }
    let plans: Value = serde_json::from_str(PLANS).map_err(failed("read the plans"))?;
    let kept = Plans::new(deployment.ledger());
    for (id, plan) in plans["plans"].as_object().into_iter().flatten() {
        let plan: Plan = serde_json::from_value(plan.clone()).map_err(failed("read a plan"))?;
        plan.check().map_err(failed("read a plan"))?;
        let id = id.parse().map_err(failed("read a plan"))?;
        kept.put_plan(&id, plan).await.map_err(failed("keep a plan"))?;
    }
    Ok(())
}

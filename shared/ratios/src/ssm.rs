//! [`ParameterStore`] on the real service.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_ssm::Client;
use aws_sdk_ssm::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_ssm::types::{ParameterTier, ParameterType};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;

use crate::parameters::{Parameter, ParameterError, ParameterStore};

/// Parameter Store, with the configuration of the environment: region, credentials, endpoint.
#[derive(Debug, Clone)]
pub struct SsmParameters {
    client: Client,
}

impl SsmParameters {
    /// For those who have another way when SSM is slow: one attempt of at most 250 ms.
    pub fn new(config: &aws_types::SdkConfig) -> Self {
        Self::with(config, 1, Duration::from_millis(250))
    }

    /// For those who have no other way, publishing and secrets: three attempts of at most 3
    /// seconds.
    pub fn patient(config: &aws_types::SdkConfig) -> Self {
        Self::with(config, 3, Duration::from_secs(3))
    }

    fn with(config: &aws_types::SdkConfig, attempts: u32, timeout: Duration) -> Self {
        let config = aws_sdk_ssm::config::Builder::from(config)
            .retry_config(RetryConfig::standard().with_max_attempts(attempts))
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(timeout)
                    .operation_attempt_timeout(timeout)
                    .build(),
            )
            .build();
        Self { client: Client::from_conf(config) }
    }
}

#[async_trait]
impl ParameterStore for SsmParameters {
    async fn get(&self, names: &[String], decrypt: bool) -> Result<Vec<Parameter>, ParameterError> {
        let output = self
            .client
            .get_parameters()
            .set_names(Some(names.to_vec()))
            .with_decryption(decrypt)
            .send()
            .await
            .map_err(parameter_error)?;
        let parameter = |parameter: aws_sdk_ssm::types::Parameter| {
            Some(Parameter { name: parameter.name?, value: parameter.value? })
        };
        Ok(output.parameters.unwrap_or_default().into_iter().filter_map(parameter).collect())
    }

    async fn put(&self, name: &str, value: &str) -> Result<(), ParameterError> {
        self.client
            .put_parameter()
            .name(name)
            .value(value)
            .r#type(ParameterType::String)
            .tier(ParameterTier::Standard)
            .overwrite(true)
            .send()
            .await
            .map_err(parameter_error)?;
        Ok(())
    }

    async fn delete(&self, names: &[String]) -> Result<(), ParameterError> {
        self.client
            .delete_parameters()
            .set_names(Some(names.to_vec()))
            .send()
            .await
            .map_err(parameter_error)?;
        Ok(())
    }
}

/// Whether to wait, to give up waiting, or to mend the request.
#[expect(clippy::needless_pass_by_value, reason = "as `map_err` hands it over")]
fn parameter_error<E>(error: SdkError<E>) -> ParameterError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    const THROTTLES: [&str; 4] = [
        "ThrottlingException",
        "Throttling",
        "RequestLimitExceeded",
        // Two writers of one parameter, within SSM.
        "TooManyUpdates",
    ];
    const FAILURES: [&str; 3] = ["InternalServerError", "InternalFailure", "ServiceUnavailable"];

    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    if code.is_some_and(|code| THROTTLES.contains(&code)) {
        return ParameterError::Throttled;
    }
    let failed = code.is_none_or(|code| FAILURES.contains(&code));
    let text = DisplayErrorContext(&error).to_string();
    if failed { ParameterError::NoAnswer(text) } else { ParameterError::Refused(text) }
}

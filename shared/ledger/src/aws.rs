//! The configuration that every AWS client of this program shares.

use std::env;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_dynamodb::config::BehaviorVersion;
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
pub use aws_types::SdkConfig;
use aws_types::region::Region;

/// The services that have an endpoint of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// The table.
    DynamoDb,
    /// Parameters.
    Ssm,
}

impl Service {
    /// The variable that names another endpoint, as the AWS SDKs have it.
    const fn endpoint_variable(self) -> &'static str {
        match self {
            Self::DynamoDb => "AWS_ENDPOINT_URL_DYNAMODB",
            Self::Ssm => "AWS_ENDPOINT_URL_SSM",
        }
    }
}

/// Region, credentials and endpoint from the environment, where Lambda puts them; TLS with `ring`,
/// which is smaller than the SDK's default and gathers no entropy at start.
///
/// Not by `aws-config`: what else it can read (profiles, STS, instance metadata) is in no function
/// and would add half a megabyte to each.
pub fn sdk_config(service: Service) -> SdkConfig {
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http)
        .region(variable("AWS_REGION").map(Region::new));
    config.set_endpoint_url(variable(service.endpoint_variable()));
    if let (Some(id), Some(secret)) =
        (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"))
    {
        let token = variable("AWS_SESSION_TOKEN");
        let credentials = Credentials::new(id, secret, token, None, "environment");
        config.set_credentials_provider(Some(SharedCredentialsProvider::new(credentials)));
    }
    config.build()
}

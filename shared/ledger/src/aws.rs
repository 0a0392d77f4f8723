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

/// The configuration of each service's client.
#[derive(Debug, Clone)]
pub struct SdkConfigs {
    /// For `DynamoDB`.
    pub tables: SdkConfig,
    /// For SSM.
    pub parameters: SdkConfig,
}

/// Region, credentials and endpoints from the environment, where Lambda puts them; TLS with `ring`,
/// which is smaller than the SDK's default and gathers no entropy at start.
///
/// Not by `aws-config`: what else it can read (profiles, STS, instance metadata) is in no function
/// and would add half a megabyte to each. One HTTP client for both services: the machine's root
/// certificates are read once.
pub fn sdk_configs() -> SdkConfigs {
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let credentials =
        variable("AWS_ACCESS_KEY_ID").zip(variable("AWS_SECRET_ACCESS_KEY")).map(|(id, secret)| {
            let token = variable("AWS_SESSION_TOKEN");
            let credentials = Credentials::new(id, secret, token, None, "environment");
            SharedCredentialsProvider::new(credentials)
        });
    // The variables that name other endpoints are those of the AWS SDKs.
    let config = |endpoint: &str| {
        let mut config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http.clone())
            .region(variable("AWS_REGION").map(Region::new));
        config.set_endpoint_url(variable(endpoint).or_else(|| variable("AWS_ENDPOINT_URL")));
        config.set_credentials_provider(credentials.clone());
        config.build()
    };
    SdkConfigs {
        tables: config("AWS_ENDPOINT_URL_DYNAMODB"),
        parameters: config("AWS_ENDPOINT_URL_SSM"),
    }
}

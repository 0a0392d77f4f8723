//! The configuration that every AWS client of this program shares.

use aws_config::BehaviorVersion;
pub use aws_config::SdkConfig;
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;

/// Region, credentials and endpoints from the environment, as Lambda sets them; TLS with `ring`,
/// which is smaller than the SDK's default and gathers no entropy at start.
///
/// Credentials come from the environment only: a function has them there, and looking elsewhere
/// costs a cold start.
pub async fn sdk_config() -> SdkConfig {
    let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .credentials_provider(aws_config::environment::EnvironmentVariableCredentialsProvider::new())
        .load()
        .await
}

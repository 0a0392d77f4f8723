//! Configurations and clients of the real AWS SDKs, pointed at emulators.

use aws_sdk_dynamodb::config::BehaviorVersion;
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use aws_types::SdkConfig;
use aws_types::region::Region;

/// The emulators check that a request is signed, not by whom.
const KEY: &str = "local";
/// The region that the emulators answer for.
const REGION: &str = "us-east-1";

/// Where the emulators are. `cargo local` starts them itself; some commands take the URLs of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// `DynamoDB`'s URL.
    pub dynamodb: String,
    /// SSM's URL.
    pub ssm: String,
}

impl Endpoints {
    /// What a `DynamoDB` client is made from.
    pub fn dynamodb_config(&self) -> SdkConfig {
        config(&self.dynamodb)
    }

    /// What an SSM client is made from.
    pub fn ssm_config(&self) -> SdkConfig {
        config(&self.ssm)
    }

    /// A `DynamoDB` client.
    pub fn dynamodb_client(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.dynamodb_config())
    }

    /// An SSM client.
    pub fn ssm_client(&self) -> aws_sdk_ssm::Client {
        aws_sdk_ssm::Client::new(&self.ssm_config())
    }
}

/// Nothing here is read from the environment or a profile: a developer's real account is out of reach.
fn config(endpoint: &str) -> SdkConfig {
    let credentials = Credentials::new(KEY, KEY, None, None, "uc-local");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::new(REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        // Without TLS: nothing leaves this machine.
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build()
}

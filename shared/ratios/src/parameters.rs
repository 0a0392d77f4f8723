//! [`ParameterStore`], the little of SSM Parameter Store that is needed.

use async_trait::async_trait;

/// Most parameters that one call reads or deletes.
pub const GET_LIMIT: usize = 10;

/// Most bytes of a standard parameter's value. Larger ones would be advanced: they cost money.
pub const VALUE_LIMIT: usize = 4_096;

/// A parameter as it was read.
#[derive(Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its whole name, with the path.
    pub name: String,
    /// Its value, in clear where decryption was asked for.
    pub value: String,
}

/// Why a call has no result. A write may have happened or not.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ParameterError {
    /// Too many calls a second, of this AWS account: later it will go.
    #[error("the parameter store is throttling")]
    Throttled,
    /// Nothing is known: unreachable, timed out, failed inside.
    #[error("the parameter store gave no answer: {0}")]
    NoAnswer(String),
    /// The request itself was refused; sending it again will not help. A fault of this program, of
    /// its permissions, or a limit of the AWS account.
    #[error("the parameter store refused the request: {0}")]
    Refused(String),
}

/// The little of Parameter Store that is needed. Reads are eventually consistent: what was just
/// written may be missing, or be what it was before.
#[async_trait]
pub trait ParameterStore: Send + Sync {
    /// Reads up to [`GET_LIMIT`] parameters, in any order; those that are not there are left out.
    /// `decrypt` shows the values of secure strings in clear.
    async fn get(&self, names: &[String], decrypt: bool) -> Result<Vec<Parameter>, ParameterError>;
    /// Writes a plain parameter of at most [`VALUE_LIMIT`] bytes, whether or not it is there.
    async fn put(&self, name: &str, value: &str) -> Result<(), ParameterError>;
    /// Removes up to [`GET_LIMIT`] parameters, whether or not they are there.
    async fn delete(&self, names: &[String]) -> Result<(), ParameterError>;
}

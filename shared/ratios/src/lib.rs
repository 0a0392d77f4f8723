//! Ratio tables: stored on SSM Parameter Store, registered on `DynamoDB`.
//!
//! SSM has no compare-and-set, is eventually consistent, and its quotas are shared by a whole AWS
//! account. So a table lies there under names that are hashes of what they hold, and which table
//! counts is decided by a conditional write to a register on `DynamoDB`. The same transaction
//! writes copies of the table beside it; a reader that SSM does not serve at once takes one of
//! those. Whatever a reader gets is checked against the hash in the register, so no reader can
//! mix two tables or see half of one.
//!
//! [`Reader`] is for the functions that rate, [`Publisher`] for the one that publishes,
//! [`SecretReader`] for those that need a secret, [`Drafts`] for the table of tomorrow.

mod codec;
mod draft;
mod parameters;
mod publish;
mod read;
mod register;
mod secrets;
mod ssm;

#[cfg(fuzzing)]
pub use codec::fuzzing;
pub use codec::{Hash, MAX_CHUNKS, PackError, Storage};
pub use draft::{DraftError, DraftInfo, Drafts, MAX_DRAFT, NewDraft};
pub use parameters::{GET_LIMIT, Parameter, ParameterError, ParameterStore, VALUE_LIMIT};
pub use publish::{
    Publication, PublicationState, PublishError, PublishOptions, Published, Publisher,
};
pub use read::{ReadError, Reader, Versioned};
pub use register::Version;
pub use secrets::{Secret, SecretError, SecretReader};
pub use ssm::SsmParameters;

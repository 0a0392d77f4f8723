//! The journal of every account, on `DynamoDB`.
//!
//! An account is a chain of entries; the highest one is the account. A write is one conditional
//! transaction: the next entry, the operation item that makes it happen once, and what else must
//! be true together with them. In the journal nothing is updated and nothing deleted, but the
//! personal data beside an entry.

pub mod audit;
pub mod aws;
pub mod checkpoint;
mod clock;
mod credentials;
mod dynamo;
mod entry;
mod erase;
pub mod evidence;
mod history;
mod journal;
pub mod keys;
mod plans;
mod private;
pub mod store;
mod unrated;
mod write;

pub use audit::{Audit, AuditLimits, Audited, Difference};
pub use checkpoint::{Checkpoint, CheckpointKey, CheckpointReport, Checkpoints, ShardDigests};
pub use clock::{Clock, SystemClock};
pub use credentials::{ApiKey, CredentialItems};
pub use dynamo::{Counters, Counts, DynamoStore};
pub use entry::StoredEntry;
pub use erase::Erased;
pub use history::{Filter, rated_items};
pub use journal::{
    AccountPage, Ask, Asked, Extra, Happened, Ledger, LedgerError, Listed, Outcome,
    TransactionsPage, Verified, VerifyError, readable,
};
pub use plans::{
    DueOutcome, NewSubscription, PlanItem, Plans, Subscribed, Subscription, SubscriptionError,
};
pub use private::Private;
pub use unrated::{Parking, Unrated, UnratedId, UnratedItem, UnratedPage, UnratedRequest};
pub use write::{Batched, Decide};

//! [`Store`], the little of `DynamoDB` that the ledger needs.
//!
//! The trait is narrow so that a test can stand in for the service and answer with every failure
//! there is. What comes back is told apart by what it means for a writer, not by its name.

use std::collections::HashMap;

use async_trait::async_trait;
pub use aws_sdk_dynamodb::primitives::Blob;
pub use aws_sdk_dynamodb::types::AttributeValue;

/// One item: its attributes by name, the keys [`PK`] and [`SK`] among them.
pub type Item = HashMap<String, AttributeValue>;

/// The partition key's attribute.
pub const PK: &str = "pk";
/// The sort key's attribute.
pub const SK: &str = "sk";
/// The index of what is due, and its keys' attributes.
pub const DUE_INDEX: &str = "due";
/// The due index's partition key: a small fixed number.
pub const DUE_SHARD: &str = "due_shard";
/// The due index's sort key: a time, in an order that compares as text.
pub const DUE_AT: &str = "due_at";

/// Names an item.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// Partition.
    pub pk: String,
    /// Place within it.
    pub sk: String,
}

impl Key {
    /// Names the item `sk` of partition `pk`.
    pub fn new(pk: impl Into<String>, sk: impl Into<String>) -> Self {
        Self { pk: pk.into(), sk: sk.into() }
    }

    /// An item with this key and no other attributes yet.
    pub fn item(&self) -> Item {
        Item::from([
            (PK.to_owned(), AttributeValue::S(self.pk.clone())),
            (SK.to_owned(), AttributeValue::S(self.sk.clone())),
        ])
    }
}

/// What must hold for a write to happen.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// Nothing.
    None,
    /// No item has this key yet.
    NotExists,
    /// The item is there and one attribute of it has this value.
    Equals(&'static str, AttributeValue),
}

/// Writes a whole item.
#[derive(Debug, Clone, PartialEq)]
pub struct Put {
    /// The item, keys included.
    pub item: Item,
    /// What must hold.
    pub condition: Condition,
}

/// Reads items of one partition in order of their sort keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The partition.
    pub pk: String,
    /// Sort keys from here, inclusive.
    pub from: String,
    /// Sort keys to here, inclusive.
    pub to: String,
    /// Highest first.
    pub descending: bool,
    /// At most so many items.
    pub limit: u32,
}

/// Why an operation of the store has no result.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The condition of a single put did not hold; nothing was written.
    #[error("the condition did not hold")]
    ConditionFailed,
    /// Nothing is known: unreachable, throttled, timed out, answered unreadably. A write may have
    /// happened or not.
    #[error("the store gave no answer: {0}")]
    NoAnswer(String),
    /// The request itself was refused; sending it again will not help. A fault of this program or
    /// of its permissions.
    #[error("the store refused the request: {0}")]
    Refused(String),
}

/// Why a transaction was not written.
#[derive(Debug, thiserror::Error)]
pub enum TransactError {
    /// Conditions did not hold. For each put in order: nothing, or the item that was in the way.
    #[error("the conditions of a transaction did not hold")]
    Failed(Vec<Option<Item>>),
    /// Somebody else was writing one of the items; nothing was written.
    #[error("the transaction met another one")]
    Conflict,
    /// As for any operation.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The little of `DynamoDB` that is needed. All reads but [`Self::query_due`] are strongly
/// consistent.
#[async_trait]
pub trait Store: Send + Sync {
    /// One item.
    async fn get(&self, key: &Key) -> Result<Option<Item>, StoreError>;
    /// Items of one partition. Returns fewer than asked although there are more only where they
    /// are over 1 MB together, which entries can be and nothing else that is listed here.
    async fn query(&self, query: &Query) -> Result<Vec<Item>, StoreError>;
    /// Keys of what is due in a shard until `until` (inclusive), oldest first, after `after`;
    /// eventually consistent.
    async fn query_due(
        &self,
        shard: &str,
        until: &str,
        after: Option<&DueKey>,
        limit: u32,
    ) -> Result<Vec<DueKey>, StoreError>;
    /// Writes one item.
    async fn put(&self, put: Put) -> Result<(), StoreError>;
    /// Removes one item, whether or not it is there.
    async fn delete(&self, key: &Key) -> Result<(), StoreError>;
    /// Removes one attribute of an item that is there: [`StoreError::ConditionFailed`] where it is
    /// not. Whether the item had the attribute does not matter.
    async fn remove(&self, key: &Key, attribute: &'static str) -> Result<(), StoreError>;
    /// Writes up to 100 items, all or none.
    async fn transact(&self, puts: Vec<Put>) -> Result<(), TransactError>;
    /// How far the machine's clock is from the store's, in seconds, as of its last answer.
    fn clock_skew_seconds(&self) -> u64;
}

/// A row of the due index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueKey {
    /// The item.
    pub key: Key,
    /// When it is due.
    pub due_at: String,
}

/// An item's size as `DynamoDB` counts it: names and values in UTF-8 bytes, binaries as they are,
/// a number about one byte for two digits and one more.
/// (`DynamoDB` developer guide, "Item sizes and formats".)
pub fn item_size(item: &Item) -> usize {
    let value_size = |value: &AttributeValue| match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(digits) => digits.len().div_ceil(2) + 1,
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        // No other type is written here.
        _ => 1,
    };
    item.iter().map(|(name, value)| name.len() + value_size(value)).sum()
}

/// Write units that a transaction takes: one for each started KB of an item, doubled.
pub fn transaction_write_units(puts: &[Put]) -> usize {
    puts.iter().map(|put| 2 * item_size(&put.item).div_ceil(1_024).max(1)).sum()
}

/// An attribute that is text.
pub fn text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

/// An attribute that is a whole number.
pub fn number(item: &Item, name: &str) -> Option<u64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

/// An attribute that is bytes.
pub fn bytes<'a>(item: &'a Item, name: &str) -> Option<&'a [u8]> {
    item.get(name)?.as_b().ok().map(AsRef::as_ref)
}

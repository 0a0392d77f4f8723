//! [`Drafts`]: the table that administrators are still working on, complete or not.
//!
//! | item | keys | holds |
//! |---|---|---|
//! | draft | `R#draft`, `H` | [`DraftInfo`], and the hash and number of its parts |
//! | parts | `R#draft#<0..7>`, `C` | the revision, and a part of its JSON, compressed |
//!
//! A draft may lack anything, so it is kept as the JSON that it is, and nobody who prices reads it.
//! 10,000 models of four rows with costs are 4.9 MB of JSON and, with prices drawn at random, 420 KB
//! compressed: two parts. The parts lie under keys of their own because a partition takes a
//! thousand write units a second. A save is one transaction, so that a draft is there wholly or not
//! at all; each part names its revision, so that whoever reads during a save sees it and reads
//! again.
//!
//! Revisions count on when a draft was deleted: an old `If-Match` never fits a later draft. So a
//! deleted draft leaves its head, without content.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use serde_json::Value;
use tokio::time::sleep;
use uc_domain::Timestamp;
use uc_ledger::Clock;
use uc_ledger::store::{
    self, AttributeValue, Condition, Item, Key, Put, Store, StoreError, TransactError,
};

use crate::codec::{self, Hash};
use crate::register::read_hash;

/// Most bytes of a draft's JSON, as much as a body of `/ratios*` inflates to.
pub const MAX_DRAFT: usize = 8_000_000;
/// Most bytes of a part: an item has at most 409,600.
const PART: usize = 380_000;
/// Most parts: a transaction has at most 4 MB.
const MAX_PARTS: usize = 8;
/// Attempts at a save, and at reading while others save.
const ATTEMPTS: u32 = 5;

const DRAFT: &str = "R#draft";
const HEAD: &str = "H";
const COPY: &str = "C";

const REVISION: &str = "revision";
const REPLACES: &str = "replaces";
const BASE_VERSION: &str = "base_version";
const SAVED_AT: &str = "saved_at";
const AUTHOR: &str = "author";
const CONTENT: &str = "content";
const PARTS: &str = "parts";
const BYTES: &str = "bytes";

/// Everything about a draft but its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftInfo {
    /// Counts up with every save and deletion.
    pub revision: u64,
    /// The version of the table that it was begun on; 0 where there was none.
    pub base_version: u64,
    /// When it was saved.
    pub saved_at: Timestamp,
    /// Who saved it, as they were called then.
    pub author: Option<String>,
}

/// What is to be saved.
#[derive(Debug, Clone, Copy)]
pub struct NewDraft<'a> {
    /// The content: any JSON.
    pub table: &'a Value,
    /// The version of the table that it was begun on.
    pub base_version: u64,
    /// Who saves it.
    pub author: Option<&'a str>,
}

/// Why a draft was not saved, deleted or read.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// The draft is at another revision than the caller saw.
    #[error("the draft is at revision {current}")]
    PreconditionFailed {
        /// The draft's revision; 0 where there is none.
        current: u64,
    },
    /// More than [`MAX_DRAFT`] bytes of JSON, or more than 3 MB once they are compressed.
    #[error("the draft is too large: at most {MAX_DRAFT} bytes of JSON, and 3 MB compressed")]
    TooLarge,
    /// `DynamoDB` gives no answer. Whether the draft was saved may be unknown: the same call again
    /// tells.
    #[error("drafts can't be reached: {0}")]
    Unavailable(String),
    /// `DynamoDB` refused a request: a fault of this program or of its permissions.
    #[error("the draft was refused: {0}")]
    Refused(String),
    /// What is stored was damaged, or written by a newer program.
    #[error("the draft is damaged: {0}")]
    Corrupt(&'static str),
}

impl From<StoreError> for DraftError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(_) => Self::Refused(error.to_string()),
            StoreError::ConditionFailed | StoreError::NoAnswer(_) => {
                Self::Unavailable(error.to_string())
            }
        }
    }
}

/// The draft's head item.
#[derive(Debug, Clone)]
struct Head {
    info: DraftInfo,
    /// What its writer gave as `if_match`: by this and the content a call knows its own work.
    replaces: u64,
    /// The hash of the compressed JSON; `None` where the draft was deleted.
    content: Option<Hash>,
    parts: usize,
}

impl Head {
    fn to_item(&self) -> Item {
        let number = |value: u64| AttributeValue::N(value.to_string());
        let mut item = head_key().item();
        let mut set = |name: &str, value| item.insert(name.to_owned(), value);
        set(REVISION, number(self.info.revision));
        set(REPLACES, number(self.replaces));
        set(BASE_VERSION, number(self.info.base_version));
        set(SAVED_AT, AttributeValue::N(self.info.saved_at.millis().to_string()));
        set(PARTS, number(self.parts as u64));
        if let Some(content) = &self.content {
            set(CONTENT, AttributeValue::B(content.to_vec().into()));
        }
        if let Some(author) = &self.info.author {
            set(AUTHOR, AttributeValue::S(author.clone()));
        }
        item
    }

    fn from_item(item: &Item) -> Option<Self> {
        let saved_at = i64::try_from(store::number(item, SAVED_AT)?).ok()?;
        let content = match item.get(CONTENT) {
            Some(_) => Some(read_hash(item, CONTENT)?),
            None => None,
        };
        Some(Self {
            info: DraftInfo {
                revision: store::number(item, REVISION)?,
                base_version: store::number(item, BASE_VERSION)?,
                saved_at: Timestamp::from_millis(saved_at).ok()?,
                author: store::text(item, AUTHOR).map(ToOwned::to_owned),
            },
            replaces: store::number(item, REPLACES)?,
            content,
            parts: usize::try_from(store::number(item, PARTS)?).ok().filter(|n| *n <= MAX_PARTS)?,
        })
    }
}

fn head_key() -> Key {
    Key::new(DRAFT, HEAD)
}

fn part_key(number: usize) -> Key {
    Key::new(format!("{DRAFT}#{number}"), COPY)
}

/// The draft of a deployment: there is one.
#[derive(Clone)]
pub struct Drafts {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

impl Drafts {
    /// The draft in a table.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// What is known of the draft without its content; `None` where there is none.
    ///
    /// # Errors
    /// See [`DraftError`].
    pub async fn info(&self) -> Result<Option<DraftInfo>, DraftError> {
        Ok(self.head().await?.filter(|head| head.content.is_some()).map(|head| head.info))
    }

    /// The draft; `None` where there is none.
    ///
    /// # Errors
    /// See [`DraftError`].
    pub async fn get(&self) -> Result<Option<(DraftInfo, Value)>, DraftError> {
        for attempt in 1..=ATTEMPTS {
            let Some(head) = self.head().await? else { return Ok(None) };
            let Some(content) = head.content else { return Ok(None) };
            let Some(bytes) = self.content(&head).await? else {
                sleep(pause(attempt)).await;
                continue;
            };
            if codec::hash(&bytes) != content {
                return Err(DraftError::Corrupt("its content is not what was saved"));
            }
            let table = inflate(&bytes).ok_or(DraftError::Corrupt("it can't be read"))?;
            return Ok(Some((head.info, table)));
        }
        Err(DraftError::Unavailable("others save it all the time".to_owned()))
    }

    /// Saves the draft in the place of revision `if_match`, which is 0 where there is none. The
    /// same call again finds its own work.
    ///
    /// # Errors
    /// See [`DraftError`].
    pub async fn save(&self, if_match: u64, draft: &NewDraft<'_>) -> Result<DraftInfo, DraftError> {
        let bytes = deflate(draft.table)?;
        self.replace(if_match, Some(&bytes), draft.base_version, draft.author).await
    }

    /// Deletes the draft at revision `if_match`. The same call again finds its own work.
    ///
    /// # Errors
    /// See [`DraftError`]; without a draft `PreconditionFailed`.
    pub async fn delete(&self, if_match: u64, author: Option<&str>) -> Result<(), DraftError> {
        if if_match == 0 {
            let current = self.info().await?.map_or(0, |info| info.revision);
            return Err(DraftError::PreconditionFailed { current });
        }
        self.replace(if_match, None, 0, author).await.map(drop)
    }

    async fn head(&self) -> Result<Option<Head>, DraftError> {
        let item = self.store.get(&head_key()).await?;
        let read = |item| Head::from_item(&item).ok_or(DraftError::Corrupt("its head"));
        item.map(read).transpose()
    }

    /// The compressed JSON; `None` where somebody saved meanwhile.
    async fn content(&self, head: &Head) -> Result<Option<Vec<u8>>, DraftError> {
        let mut bytes = Vec::new();
        for number in 0..head.parts {
            let item = self.store.get(&part_key(number)).await?;
            let same = |item: &Item| store::number(item, REVISION) == Some(head.info.revision);
            let Some(item) = item.filter(same) else { return Ok(None) };
            bytes.extend_from_slice(store::bytes(&item, BYTES).unwrap_or_default());
        }
        Ok(Some(bytes))
    }

    /// Puts content, or none, in the place of a revision.
    async fn replace(
        &self,
        if_match: u64,
        bytes: Option<&[u8]>,
        base_version: u64,
        author: Option<&str>,
    ) -> Result<DraftInfo, DraftError> {
        let content = bytes.map(codec::hash);
        let mut attempt = 0;
        loop {
            attempt += 1;
            let there = self.head().await?;
            if let Some(head) = &there
                && head.replaces == if_match
                && head.content == content
                && head.info.base_version == base_version
            {
                // This call again, after an answer that was lost.
                return Ok(head.info.clone());
            }
            let live = there.as_ref().filter(|head| head.content.is_some());
            let current = live.map_or(0, |head| head.info.revision);
            if current != if_match {
                return Err(DraftError::PreconditionFailed { current });
            }
            let before = there.as_ref().map_or(0, |head| head.info.revision);
            let info = DraftInfo {
                revision: before + 1,
                base_version,
                saved_at: self.clock.now(),
                author: author.map(ToOwned::to_owned),
            };
            let parts: Vec<&[u8]> = bytes.unwrap_or_default().chunks(PART).collect();
            let head = Head { info, replaces: if_match, content, parts: parts.len() };
            let stale = there.as_ref().map_or(0, |there| there.parts);
            let condition = match before {
                0 => Condition::NotExists,
                _ => Condition::Equals(REVISION, AttributeValue::N(before.to_string())),
            };
            match self.store.transact(puts(&head, condition, &parts, stale)).await {
                Ok(()) => return Ok(head.info),
                Err(TransactError::Store(error @ StoreError::Refused(_))) => {
                    return Err(error.into());
                }
                Err(error) if attempt == ATTEMPTS => {
                    return Err(DraftError::Unavailable(error.to_string()));
                }
                // Somebody was faster, or the answer is lost: the head tells which.
                Err(_) => sleep(pause(attempt)).await,
            }
        }
    }
}

/// The head, its parts, and nothing in the parts that it does not have any more.
fn puts(head: &Head, condition: Condition, parts: &[&[u8]], stale: usize) -> Vec<Put> {
    let mut puts = vec![Put { item: head.to_item(), condition }];
    for number in 0..parts.len().max(stale) {
        let mut item = part_key(number).item();
        let revision = AttributeValue::N(head.info.revision.to_string());
        item.insert(REVISION.to_owned(), revision);
        if let Some(bytes) = parts.get(number) {
            item.insert(BYTES.to_owned(), AttributeValue::B(bytes.to_vec().into()));
        }
        puts.push(Put { item, condition: Condition::None });
    }
    puts
}

/// JSON, compressed. Refuses what is over the limits.
fn deflate(table: &Value) -> Result<Vec<u8>, DraftError> {
    let json = serde_json::to_vec(table).expect("keys are texts, and nothing else can fail");
    if json.len() > MAX_DRAFT {
        return Err(DraftError::TooLarge);
    }
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    let bytes = encoder
        .write_all(&json)
        .and_then(|()| encoder.finish())
        .expect("writing to memory does not fail");
    if bytes.len() > MAX_PARTS * PART {
        return Err(DraftError::TooLarge);
    }
    Ok(bytes)
}

fn inflate(bytes: &[u8]) -> Option<Value> {
    let mut json = Vec::new();
    DeflateDecoder::new(bytes).take(MAX_DRAFT as u64 + 1).read_to_end(&mut json).ok()?;
    if json.len() > MAX_DRAFT {
        return None;
    }
    serde_json::from_slice(&json).ok()
}

/// How long to wait after a number of failures: about 25, 50, 100 ... milliseconds.
fn pause(failures: u32) -> Duration {
    let most = 25_u64 << failures.min(5);
    Duration::from_millis(fastrand::u64(most / 2..=most))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What the module's text says of sizes.
    #[test]
    fn ten_thousand_models_fit_into_few_parts() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut price = || format!("{}.{:03}", random.u32(0..90), random.u32(0..1000));
        let mut models = serde_json::Map::new();
        for n in 0..10_000 {
            let ratios: Vec<Value> =
                ["input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"]
                    .map(|dimension| {
                        json!({
                            "dimension": dimension, "credits": price(), "per": 1_000_000,
                            "cost": {"amount": price(), "currency": "USD"},
                        })
                    })
                    .into();
            let id = format!("provider-{}/model-{n:05}", n % 40);
            models.insert(id, json!({"feature": "text", "ratios": ratios}));
        }
        let table = json!({"models": models});
        let bytes = deflate(&table).unwrap();
        println!("{} bytes of JSON, {} compressed", table.to_string().len(), bytes.len());
        assert!(bytes.len() <= 3 * PART, "{}", bytes.len());
        assert_eq!(inflate(&bytes), Some(table));
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let long = "x".repeat(MAX_DRAFT - 2);
        assert!(deflate(&json!(long)).is_ok());
        assert!(matches!(deflate(&json!(long + "x")), Err(DraftError::TooLarge)));
        let mut random = fastrand::Rng::with_seed(1);
        let noise: String = (0..MAX_DRAFT - 2).map(|_| random.alphanumeric()).collect();
        assert!(matches!(deflate(&json!(noise)), Err(DraftError::TooLarge)));
        // What inflates to more than was ever stored is not read to its end.
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&vec![b' '; 10 * MAX_DRAFT]).unwrap();
        assert_eq!(inflate(&encoder.finish().unwrap()), None);
    }
}

//! The register: which tables there are and which one counts; and the copies beside it.
//!
//! | item | keys | holds |
//! |---|---|---|
//! | version | `R#register`, `<version, zero-padded>` | [`Version`] and its parts' hashes; never changed |
//! | copy | `R#copy#<version>`, `C` | the parts of that version; kept for good |
//! | hot copy | `R#hot#<0..7>`, `C` | the parts of the newest version, under keys that lie apart |
//! | publication | `R#publication`, `<id>` | a publication that could not be finished at once |
//! | collected | `R#collected`, `C` | up to which version chunks have been removed |
//! | draft | `R#draft`, `R#draft#<0..7>` | see [`Drafts`](crate::Drafts) |

use std::sync::Arc;

use uc_domain::Timestamp;
use uc_ledger::store::{self, AttributeValue, Condition, Item, Key, Put, Query, Store, StoreError};

use crate::codec::{self, Damaged, Hash, Parts, Unpacked};
use crate::parameters::{GET_LIMIT, ParameterStore};

/// Keys of the newest copy. A thousand functions that start at once read 80 KB each; one key
/// would serve a hundred of them a second.
const HOT_COPIES: u8 = 8;
/// Digits of a version in a key: with zeros in front, text compares like numbers.
const VERSION_DIGITS: usize = 12;

const REGISTER: &str = "R#register";
const COPY: &str = "C";

const VERSION: &str = "version";
const MANIFEST: &str = "manifest";
const CHUNKS: &str = "chunks";
const CONTENT: &str = "content";
const BASED_ON: &str = "based_on";
const PUBLISHED_AT: &str = "published_at";
const HONOURED_FROM: &str = "honoured_from";
const MODELS: &str = "models";
const AUTHOR: &str = "author";
const RESTORES: &str = "restores";
const PARTS: &str = "parts";

/// A published version of the ratio table: everything about it but the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Counts from 1, without gaps.
    pub version: u64,
    /// When it was published; never before the version before it.
    pub published_at: Timestamp,
    /// The oldest version that was still honoured when this one was published: where it is this
    /// one, the publication ended the lock on all earlier prices.
    pub honoured_from: u64,
    /// How many models it has.
    pub models: u64,
    /// Who published it, as they were called then.
    pub author: Option<String>,
    /// The version whose content this one brought back, where it is a rollback.
    pub restores: Option<u64>,
    /// The hash of the canonical table, whatever parts it is stored in.
    pub(crate) content: Hash,
    /// The hash of the manifest, which stands for all parts.
    pub(crate) manifest: Hash,
    /// The hashes of the chunks, in order.
    pub(crate) chunks: Vec<Hash>,
}

impl Version {
    /// The version that its publisher saw: 0 where this is the first.
    pub const fn based_on(&self) -> u64 {
        self.version - 1
    }

    /// Whether the publication ended the lock on all earlier prices.
    pub const fn ends_lock(&self) -> bool {
        self.honoured_from == self.version
    }

    /// The parameters that hold it: the manifest, then the chunks.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &Hash> {
        std::iter::once(&self.manifest).chain(&self.chunks)
    }

    fn to_item(&self) -> Item {
        let mut item = register_key(self.version).item();
        let number = |value: u64| AttributeValue::N(value.to_string());
        let binary = |value: &[u8]| AttributeValue::B(value.to_vec().into());
        let mut set = |name: &str, value| item.insert(name.to_owned(), value);
        set(VERSION, number(self.version));
        set(BASED_ON, number(self.based_on()));
        set(PUBLISHED_AT, AttributeValue::N(self.published_at.millis().to_string()));
        set(HONOURED_FROM, number(self.honoured_from));
        set(MODELS, number(self.models));
        set(CONTENT, binary(&self.content));
        set(MANIFEST, binary(&self.manifest));
        set(CHUNKS, binary(&self.chunks.concat()));
        if let Some(author) = &self.author {
            set(AUTHOR, AttributeValue::S(author.clone()));
        }
        if let Some(restores) = self.restores {
            set(RESTORES, number(restores));
        }
        item
    }

    fn from_item(item: &Item) -> Option<Self> {
        let millis = store::number(item, PUBLISHED_AT)?;
        Some(Self {
            version: store::number(item, VERSION).filter(|version| *version > 0)?,
            published_at: Timestamp::from_millis(i64::try_from(millis).ok()?).ok()?,
            honoured_from: store::number(item, HONOURED_FROM)?,
            models: store::number(item, MODELS)?,
            author: store::text(item, AUTHOR).map(ToOwned::to_owned),
            restores: store::number(item, RESTORES),
            content: read_hash(item, CONTENT)?,
            manifest: read_hash(item, MANIFEST)?,
            chunks: read_hashes(item, CHUNKS)?,
        })
    }
}

pub(crate) fn read_hash(item: &Item, name: &str) -> Option<Hash> {
    store::bytes(item, name)?.try_into().ok()
}

pub(crate) fn read_hashes(item: &Item, name: &str) -> Option<Vec<Hash>> {
    let (hashes, rest) = store::bytes(item, name)?.as_chunks::<{ size_of::<Hash>() }>();
    rest.is_empty().then(|| hashes.to_vec())
}

/// Why nothing can be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegisterError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is stored is not what this program writes.
    #[error("version {version} of the ratio table is damaged: {reason}")]
    Damaged { version: u64, reason: String },
}

impl RegisterError {
    pub fn damaged(version: u64, reason: impl std::fmt::Display) -> Self {
        Self::Damaged { version, reason: reason.to_string() }
    }
}

fn padded(version: u64) -> String {
    format!("{version:0VERSION_DIGITS$}")
}

fn register_key(version: u64) -> Key {
    Key::new(REGISTER, padded(version))
}

fn copy_key(version: u64) -> Key {
    Key::new(format!("R#copy#{}", padded(version)), COPY)
}

fn hot_key(number: u8) -> Key {
    Key::new(format!("R#hot#{number}"), COPY)
}

/// The register and the copies.
#[derive(Clone)]
pub(crate) struct Register {
    pub store: Arc<dyn Store>,
}

impl Register {
    /// The newest version.
    pub async fn newest(&self) -> Result<Option<Version>, RegisterError> {
        Ok(self.list(None, 1).await?.pop())
    }

    /// Versions before one, or the newest ones, newest first.
    pub async fn list(
        &self,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Version>, RegisterError> {
        let last = 10_u64.pow(12) - 1;
        let query = Query {
            pk: REGISTER.to_owned(),
            from: padded(0),
            to: padded(before.map_or(last, |before| before.saturating_sub(1).min(last))),
            descending: true,
            limit,
        };
        let items = self.store.query(&query).await?;
        items.iter().map(Self::read).collect()
    }

    /// A version.
    pub async fn get(&self, version: u64) -> Result<Option<Version>, RegisterError> {
        self.store.get(&register_key(version)).await?.as_ref().map(Self::read).transpose()
    }

    fn read(item: &Item) -> Result<Version, RegisterError> {
        Version::from_item(item).ok_or_else(|| {
            RegisterError::damaged(
                store::number(item, VERSION).unwrap_or_default(),
                "the register's item is not readable",
            )
        })
    }

    /// What makes a version count: register, copy and hot copies, in one transaction.
    pub fn puts(version: &Version, parts: &Parts) -> Vec<Put> {
        let bytes = AttributeValue::B(parts.to_bytes().into());
        let copy = |key: Key| {
            let mut item = key.item();
            item.insert(VERSION.to_owned(), AttributeValue::N(version.version.to_string()));
            item.insert(PARTS.to_owned(), bytes.clone());
            item
        };
        let mut puts = vec![
            Put { item: version.to_item(), condition: Condition::NotExists },
            Put { item: copy(copy_key(version.version)), condition: Condition::NotExists },
        ];
        puts.extend(
            (0..HOT_COPIES)
                .map(|number| Put { item: copy(hot_key(number)), condition: Condition::None }),
        );
        puts
    }

    /// A table from its copies: one of the hot ones where it may be the newest version, else the
    /// one that is kept for good.
    pub async fn copy(&self, version: &Version, newest: bool) -> Result<Unpacked, RegisterError> {
        if newest {
            let key = hot_key(fastrand::u8(..HOT_COPIES));
            // Whatever is wrong with it, the other copy is there.
            if let Ok(Some(item)) = self.store.get(&key).await
                && let Ok(unpacked) = Self::open(&item, version)
            {
                return Ok(unpacked);
            }
        }
        let item = self.store.get(&copy_key(version.version)).await?;
        let item = item.ok_or_else(|| RegisterError::damaged(version.version, "no copy"))?;
        Self::open(&item, version).map_err(|error| RegisterError::damaged(version.version, error))
    }

    fn open(item: &Item, version: &Version) -> Result<Unpacked, Damaged> {
        let parts = store::bytes(item, PARTS).and_then(Parts::from_bytes).unwrap_or_default();
        codec::unpack(&parts, &version.manifest)
    }
}

/// The tables' parts on SSM.
#[derive(Clone)]
pub(crate) struct PartStore {
    pub parameters: Arc<dyn ParameterStore>,
    /// `/<stack>/ratios/`.
    prefix: String,
}

impl PartStore {
    pub fn new(parameters: Arc<dyn ParameterStore>, stack: &str) -> Self {
        Self { parameters, prefix: format!("/{stack}/ratios/") }
    }

    /// The parameter of a manifest.
    pub fn manifest_name(&self, hash: &Hash) -> String {
        format!("{}manifests/{}", self.prefix, codec::hex(hash))
    }

    /// The parameter of a chunk.
    pub fn chunk_name(&self, hash: &Hash) -> String {
        format!("{}chunks/{}", self.prefix, codec::hex(hash))
    }

    /// Reads a table in at most two calls, both at once. `None` where it needs more, or where
    /// anything is not there, not right, or not answered.
    pub async fn read(&self, version: &Version) -> Option<Unpacked> {
        let hashes: Vec<&Hash> = version.parts().collect();
        if hashes.len() > 2 * GET_LIMIT {
            return None;
        }
        let names: Vec<String> = std::iter::once(self.manifest_name(&version.manifest))
            .chain(version.chunks.iter().map(|chunk| self.chunk_name(chunk)))
            .collect();
        let (first, second) = names.split_at(names.len().min(GET_LIMIT));
        let get = async |names: &[String]| match names {
            [] => Ok(Vec::new()),
            names => self.parameters.get(names, false).await,
        };
        let (mut found, more) = tokio::try_join!(get(first), get(second)).ok()?;
        found.extend(more);
        let part = |name: &String, hash: &Hash| {
            let parameter = found.iter().find(|parameter| parameter.name == *name)?;
            codec::from_value(&parameter.value, hash)
        };
        let mut parts = names.iter().zip(hashes).map(|(name, hash)| part(name, hash));
        let parts = Parts { manifest: parts.next()??, chunks: parts.collect::<Option<_>>()? };
        codec::unpack(&parts, &version.manifest).ok()
    }
}

//! Checkpoints: what the newest entry of each account was, day by day, signed.
//!
//! A journal whose last entries are missing, or one that was written anew from some entry on, is
//! right in itself: every hash follows. A checkpoint that was taken before shows it. Each is
//! signed, so that who can write the table can't make one; the key is none that a function with
//! the right to write entries of its own choice has.
//!
//! | item | keys | holds |
//! |---|---|---|
//! | checkpoint | `C#<account>`, `<day>` | seq, hash, key id, signature; only for days on which the account had a newer entry |
//! | digest | `C#digest#<shard>`, `<day>` | how many accounts of the directory's shard have a checkpoint, a digest over the newest of each in the directory's order, key id, signature: a checkpoint that was deleted shows |
//! | progress | `C#progress#<shard>`, `P` | the day and the account that a run has come to |
//!
//! By account, and not by day: the newest checkpoint of an account is one read, however long the
//! account has slept. A day costs an account that did nothing two reads (its newest checkpoint
//! and its newest entry), and one that did something a read more (the entry that its checkpoint
//! has seen) and a write: for 100,000 accounts at most 300,000 reads and 100,000 writes a day,
//! 0.04 and 0.06 USD at 0.125 and 0.625 USD a million. 25 accounts are looked at together, and a
//! run can be interrupted between them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::primitives::Blob;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::try_join_all;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use uc_domain::{AccountId, Timestamp};

use crate::entry::StoredEntry;
use crate::journal::{Ledger, LedgerError};
use crate::keys;
use crate::private::sha256;
use crate::store::{
    AttributeValue, Condition, Item, Key, Put, Query, SK, Store, StoreError, bytes, number, text,
};

const SEQ: &str = "q";
const HASH: &str = "h";
const KEY_ID: &str = "kid";
const SIGNATURE: &str = "s";
const COUNT: &str = "n";
const DAY: &str = "day";
const AFTER: &str = "after";
const LEASE: &str = "lease";
const REVISION: &str = "r";

/// Accounts that are looked at together.
const AT_ONCE: u32 = 25;
/// How long a run may go on with a shard before another takes it over, in milliseconds: longer
/// than a function lives.
const LEASE_MILLIS: i64 = 16 * 60_000;

/// The newest entry of an account on a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The UTC day, `2026-11-26`.
    pub day: String,
    /// The entry.
    pub seq: u64,
    /// Its hash.
    pub hash: [u8; 32],
    /// Names the key that signed it.
    pub kid: String,
    /// Ed25519 over account, day, entry and hash.
    pub signature: Vec<u8>,
}

impl Checkpoint {
    /// Whether `key` signed it for this account.
    pub fn is_signed_by(&self, account: &AccountId, key: &[u8; 32]) -> bool {
        let signed = signed_checkpoint(account, &self.day, self.seq, &self.hash);
        UnparsedPublicKey::new(&ED25519, key).verify(&signed, &self.signature).is_ok()
    }

    /// Reads an item; `None` where it is no checkpoint.
    pub fn from_item(item: &Item) -> Option<Self> {
        Some(Self {
            day: text(item, SK)?.to_owned(),
            seq: number(item, SEQ)?,
            hash: bytes(item, HASH)?.try_into().ok()?,
            kid: text(item, KEY_ID)?.to_owned(),
            signature: bytes(item, SIGNATURE)?.to_vec(),
        })
    }
}

/// All newest checkpoints of a shard of the directory on a day, in one digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayDigest {
    /// The UTC day.
    pub day: String,
    /// How many accounts have a checkpoint.
    pub accounts: u64,
    /// Over the newest of each, in the directory's order.
    pub digest: [u8; 32],
    /// Names the key that signed it.
    pub kid: String,
    signature: Vec<u8>,
}

impl DayDigest {
    /// Whether `key` signed it for this shard.
    pub fn is_signed_by(&self, shard: u8, key: &[u8; 32]) -> bool {
        let signed = signed_digest(shard, &self.day, self.accounts, &self.digest);
        UnparsedPublicKey::new(&ED25519, key).verify(&signed, &self.signature).is_ok()
    }
}

/// A running digest over checkpoints, which can be kept and gone on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RunningDigest {
    /// How many.
    pub accounts: u64,
    /// So far.
    pub digest: [u8; 32],
}

impl RunningDigest {
    /// Adds the next account's.
    pub fn add(&mut self, account: &AccountId, checkpoint: &Checkpoint) {
        let seq = checkpoint.seq.to_be_bytes();
        let account = account.as_str().as_bytes();
        self.digest = sha256(&[&self.digest, account, b"#", &seq, &checkpoint.hash]);
        self.accounts += 1;
    }
}

fn signed_checkpoint(account: &AccountId, day: &str, seq: u64, hash: &[u8; 32]) -> Vec<u8> {
    let head = format!("unified-credits checkpoint\n{account}\n{day}\n{seq}\n");
    [head.as_bytes(), hash].concat()
}

fn signed_digest(shard: u8, day: &str, accounts: u64, digest: &[u8; 32]) -> Vec<u8> {
    let head = format!("unified-credits day\n{shard}\n{day}\n{accounts}\n");
    [head.as_bytes(), digest].concat()
}

/// Why a text is no [`CheckpointKey`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a checkpoint key: expected <kid>.<PKCS #8 in base64url>")]
pub struct CheckpointKeyError;

/// The private key that signs checkpoints, as the `SecureString` holds it.
pub struct CheckpointKey {
    kid: String,
    pair: Ed25519KeyPair,
}

impl CheckpointKey {
    /// The key of a secret's text, `<kid>.<PKCS #8 in base64url>`.
    ///
    /// # Errors
    /// For any other text.
    pub fn from_secret(secret: &str) -> Result<Self, CheckpointKeyError> {
        let (kid, document) = secret.trim().split_once('.').ok_or(CheckpointKeyError)?;
        let document = URL_SAFE_NO_PAD.decode(document).map_err(|_| CheckpointKeyError)?;
        let pair = Ed25519KeyPair::from_pkcs8(&document).map_err(|_| CheckpointKeyError)?;
        Ok(Self { kid: kid.to_owned(), pair })
    }

    /// Names it.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// What verifies its signatures. Not a secret.
    pub fn public_key(&self) -> [u8; 32] {
        self.pair.public_key().as_ref().try_into().expect("an Ed25519 key has 32 bytes")
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }
}

impl std::fmt::Debug for CheckpointKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CheckpointKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// What a run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CheckpointReport {
    /// Checkpoints written.
    pub written: u64,
    /// Accounts whose newest entry contradicts their checkpoint; each is logged as an error.
    pub contradicted: u64,
    /// Whether every shard is done for the day.
    pub complete: bool,
}

/// The checkpoints of a deployment.
#[derive(Clone)]
pub struct Checkpoints {
    ledger: Ledger,
    store: Arc<dyn Store>,
}

impl Checkpoints {
    /// Those of the accounts in `ledger`.
    pub fn new(ledger: Ledger) -> Self {
        let store = Arc::clone(ledger.store());
        Self { ledger, store }
    }

    /// The newest checkpoint of an account, not after `day` where that is given.
    ///
    /// # Errors
    /// The store is unavailable, or what it holds is corrupt.
    pub async fn newest(
        &self,
        account: &AccountId,
        day: Option<&str>,
    ) -> Result<Option<Checkpoint>, LedgerError> {
        let item = self.last(keys::checkpoints(account), day).await?;
        let corrupt = || LedgerError::Corrupt(format!("a checkpoint of {account}"));
        item.map(|item| Checkpoint::from_item(&item).ok_or_else(corrupt)).transpose()
    }

    /// The newest digest of a shard of the directory.
    ///
    /// # Errors
    /// The store is unavailable, or what it holds is corrupt.
    pub async fn digest(&self, shard: u8) -> Result<Option<DayDigest>, LedgerError> {
        let item = self.last(keys::checkpoint_digests(shard), None).await?;
        let read = |item: Item| {
            Some(DayDigest {
                day: text(&item, SK)?.to_owned(),
                accounts: number(&item, COUNT)?,
                digest: bytes(&item, HASH)?.try_into().ok()?,
                kid: text(&item, KEY_ID)?.to_owned(),
                signature: bytes(&item, SIGNATURE)?.to_vec(),
            })
        };
        let corrupt = || LedgerError::Corrupt(format!("a digest of shard {shard}"));
        item.map(|item| read(item).ok_or_else(corrupt)).transpose()
    }

    async fn last(&self, pk: String, day: Option<&str>) -> Result<Option<Item>, LedgerError> {
        let query = Query {
            pk,
            from: "0".to_owned(),
            to: day.unwrap_or("9999").to_owned(),
            descending: true,
            limit: 1,
        };
        Ok(self.store.query(&query).await?.pop())
    }

    /// Goes on with today's checkpoints for at most `time`, shard by shard, from where the last
    /// run stopped. Of two runs at once each takes the shards that the other does not have.
    ///
    /// # Errors
    /// The store is unavailable; the next run goes on.
    pub async fn run(
        &self,
        key: &CheckpointKey,
        time: Duration,
    ) -> Result<CheckpointReport, LedgerError> {
        let started = Instant::now();
        let today = day_of(self.ledger.now());
        let mut report = CheckpointReport { complete: true, ..CheckpointReport::default() };
        for shard in 0..keys::DIRECTORY_SHARDS {
            let Some(mut progress) = self.claim(shard, &today).await? else {
                report.complete = false;
                continue;
            };
            if progress.is_done {
                continue;
            }
            loop {
                if started.elapsed() >= time {
                    // Whoever comes next need not wait for the end of the lease.
                    progress.leased_until = 0;
                    self.keep(&mut progress).await?;
                    report.complete = false;
                    break;
                }
                if self.step(key, &mut progress, &mut report).await? {
                    break;
                }
            }
        }
        Ok(report)
    }

    /// Takes a shard for this run; `None` where another run has it.
    async fn claim(&self, shard: u8, today: &str) -> Result<Option<Progress>, LedgerError> {
        let key = keys::checkpoint_progress(shard);
        let kept = self.store.get(&key).await?;
        let now = self.ledger.now().millis();
        let mut progress = match kept.as_ref().map(|item| Progress::read(shard, item)) {
            None => Progress::new(shard, today, 0),
            Some(None) => {
                return Err(LedgerError::Corrupt(format!("the progress of shard {shard}")));
            }
            Some(Some(kept)) if kept.day == today && kept.is_done => return Ok(Some(kept)),
            Some(Some(kept)) if kept.leased_until > now => return Ok(None),
            // What a day before was not finished is not worth a digest any more.
            Some(Some(kept)) if kept.day != today => Progress::new(shard, today, kept.revision),
            Some(Some(kept)) => kept,
        };
        progress.leased_until = now.saturating_add(LEASE_MILLIS);
        match self.keep(&mut progress).await {
            Ok(()) => Ok(Some(progress)),
            Err(LedgerError::Busy) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The next accounts of a shard. Returns whether it was the last of them.
    async fn step(
        &self,
        key: &CheckpointKey,
        progress: &mut Progress,
        report: &mut CheckpointReport,
    ) -> Result<bool, LedgerError> {
        let accounts =
            self.ledger.accounts_of(progress.shard, progress.after.as_deref(), AT_ONCE).await?;
        let day = progress.day.clone();
        let looked = accounts.iter().map(|account| self.look(key, account, &day));
        for (account, looked) in accounts.iter().zip(try_join_all(looked).await?) {
            report.written += u64::from(looked.written);
            report.contradicted += u64::from(looked.contradicted);
            if let Some(checkpoint) = &looked.checkpoint {
                progress.running.add(account, checkpoint);
            }
        }
        if let Some(last) = accounts.last() {
            progress.after = Some(last.to_string());
        } else {
            self.put_digest(key, progress).await?;
            progress.is_done = true;
        }
        self.keep(progress).await?;
        Ok(progress.is_done)
    }

    /// The newest checkpoint of an account, after one for the day was written if it has to be.
    async fn look(
        &self,
        key: &CheckpointKey,
        account: &AccountId,
        day: &str,
    ) -> Result<Looked, LedgerError> {
        let earlier = self.newest(account, None).await?;
        // What was written for this day stands: a run that was interrupted comes by again.
        if earlier.as_ref().is_some_and(|earlier| earlier.day.as_str() >= day) {
            return Ok(Looked { checkpoint: earlier, written: false, contradicted: false });
        }
        let head = self.ledger.head(account).await?;
        let seen = earlier.as_ref().map_or(0, |earlier| earlier.seq);
        let head_seq = head.as_ref().map_or(0, StoredEntry::seq);
        // A newer checkpoint must not make good what contradicts the last one: the entry that it
        // has seen must still be there, below newer ones as well.
        let same = match &earlier {
            Some(earlier) if head_seq == seen => {
                head.as_ref().map(|h| h.hash) == Some(earlier.hash)
            }
            Some(earlier) if head_seq > seen => {
                let entry = self.ledger.entry(account, seen).await?;
                entry.map(|entry| entry.hash) == Some(earlier.hash)
            }
            Some(_) => false,
            None => true,
        };
        if !same {
            tracing::error!(%account, head = head_seq, checkpoint = seen,
                "the journal was cut or rewritten since its checkpoint: audit it");
            return Ok(Looked { checkpoint: earlier, written: false, contradicted: true });
        }
        let Some(head) = head.filter(|head| head.seq() > seen) else {
            return Ok(Looked { checkpoint: earlier, written: false, contradicted: false });
        };
        let (seq, hash) = (head.seq(), head.hash);
        let signature = key.sign(&signed_checkpoint(account, day, seq, &hash));
        let mut item = Key::new(keys::checkpoints(account), day).item();
        item.insert(SEQ.to_owned(), AttributeValue::N(seq.to_string()));
        item.insert(HASH.to_owned(), AttributeValue::B(Blob::new(hash)));
        item.insert(KEY_ID.to_owned(), AttributeValue::S(key.kid.clone()));
        item.insert(SIGNATURE.to_owned(), AttributeValue::B(Blob::new(signature)));
        let checkpoint = Checkpoint::from_item(&item);
        match self.store.put(Put { item, condition: Condition::NotExists }).await {
            Ok(()) => Ok(Looked { checkpoint, written: true, contradicted: false }),
            // A run whose lease is over, and that lives on: what it wrote counts.
            Err(StoreError::ConditionFailed) => Ok(Looked {
                checkpoint: self.newest(account, Some(day)).await?,
                written: false,
                contradicted: false,
            }),
            Err(error) => Err(error.into()),
        }
    }

    async fn put_digest(
        &self,
        key: &CheckpointKey,
        progress: &Progress,
    ) -> Result<(), LedgerError> {
        let RunningDigest { accounts, digest } = progress.running;
        let signed = signed_digest(progress.shard, &progress.day, accounts, &digest);
        let mut item = Key::new(keys::checkpoint_digests(progress.shard), &progress.day).item();
        item.insert(COUNT.to_owned(), AttributeValue::N(accounts.to_string()));
        item.insert(HASH.to_owned(), AttributeValue::B(Blob::new(digest)));
        item.insert(KEY_ID.to_owned(), AttributeValue::S(key.kid.clone()));
        item.insert(SIGNATURE.to_owned(), AttributeValue::B(Blob::new(key.sign(&signed))));
        match self.store.put(Put { item, condition: Condition::NotExists }).await {
            Ok(()) | Err(StoreError::ConditionFailed) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps how far a shard is, unless another run has taken it over: then the ledger is busy.
    async fn keep(&self, progress: &mut Progress) -> Result<(), LedgerError> {
        let condition = match progress.revision {
            0 => Condition::NotExists,
            known => Condition::Equals(REVISION, AttributeValue::N(known.to_string())),
        };
        progress.revision += 1;
        match self.store.put(Put { item: progress.item(), condition }).await {
            Ok(()) => Ok(()),
            Err(StoreError::ConditionFailed) => Err(LedgerError::Busy),
            Err(error) => Err(error.into()),
        }
    }
}

/// What became of one account.
struct Looked {
    checkpoint: Option<Checkpoint>,
    written: bool,
    contradicted: bool,
}

/// How far the checkpoints of a shard are.
#[derive(Debug, Clone)]
struct Progress {
    shard: u8,
    day: String,
    after: Option<String>,
    running: RunningDigest,
    is_done: bool,
    leased_until: i64,
    revision: u64,
}

impl Progress {
    fn new(shard: u8, day: &str, revision: u64) -> Self {
        Self {
            shard,
            day: day.to_owned(),
            after: None,
            running: RunningDigest::default(),
            is_done: false,
            leased_until: 0,
            revision,
        }
    }

    fn read(shard: u8, item: &Item) -> Option<Self> {
        let after = text(item, AFTER).map(str::to_owned);
        Some(Self {
            shard,
            day: text(item, DAY)?.to_owned(),
            running: RunningDigest {
                accounts: number(item, COUNT)?,
                digest: bytes(item, HASH)?.try_into().ok()?,
            },
            is_done: text(item, "done").is_some(),
            after,
            leased_until: i64::try_from(number(item, LEASE)?).ok()?,
            revision: number(item, REVISION)?,
        })
    }

    fn item(&self) -> Item {
        let mut item = keys::checkpoint_progress(self.shard).item();
        let string = |text: &str| AttributeValue::S(text.to_owned());
        item.insert(DAY.to_owned(), string(&self.day));
        item.extend(self.after.as_deref().map(|after| (AFTER.to_owned(), string(after))));
        item.insert(COUNT.to_owned(), AttributeValue::N(self.running.accounts.to_string()));
        item.insert(HASH.to_owned(), AttributeValue::B(Blob::new(self.running.digest)));
        item.extend(self.is_done.then(|| ("done".to_owned(), string("yes"))));
        item.insert(LEASE.to_owned(), AttributeValue::N(self.leased_until.to_string()));
        item.insert(REVISION.to_owned(), AttributeValue::N(self.revision.to_string()));
        item
    }
}

/// The UTC day of an instant, as it stands in keys.
fn day_of(at: Timestamp) -> String {
    at.to_utc().date().to_string()
}

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
//! | progress | `C#progress#<shard>`, `P` | the day and the account that a run has come to, both digests so far, key id, signature |
//!
//! None of them is ever deleted. So what a digest was over can be found again on any later day:
//! the newest checkpoint of each account that is not after the digest's day. Before a run signs a
//! shard's digest it goes through what the newest older one was over, beside its own, and where
//! that is not there any more it signs nothing: else a tail that was cut together with its
//! checkpoint would be signed the next day. So each digest vouches for the one before, and the
//! shard stays without a new one until what was taken away is back. An audit compares every digest
//! that is there ([`ShardDigests`]), not only the newest: it does not have to believe that the
//! runs have looked. What is kept between runs is signed as well, for who could write it could
//! have a run sign any digest.
//!
//! What a table can't prove is that it is the newest: who takes away, with entries and
//! checkpoints, the digests of all days since, takes the shard back to a day on which it was right.
//! The log has each digest when it is signed; an export elsewhere has them, too.
//!
//! By account, and not by day: the newest checkpoint of an account is one read, however long the
//! account has slept. A day costs an account that did nothing two reads (its newest checkpoint
//! and its newest entry), and one that did something a read more (the entry that its checkpoint
//! has seen) and a write: for 100,000 accounts at most 300,000 reads and 100,000 writes a day,
//! 0.04 and 0.06 USD at 0.125 and 0.625 USD a million. To compare the older digest costs one read
//! more for accounts whose newest checkpoint is younger than it: of a day that was never complete,
//! or of a run that was interrupted. 25 accounts are looked at together, and a run can be
//! interrupted between them. An audit reads all checkpoints of an account, 200 bytes for each day
//! on which it had an entry, and hashes them once for each day's digest.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::primitives::Blob;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::try_join_all;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use uc_domain::{AccountId, Timestamp};

use crate::credentials::CredentialItems;
use crate::entry::StoredEntry;
use crate::journal::{Ledger, LedgerError, Listed, readable};
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
/// Of the digest of an earlier day: the day, how many accounts so far, and the digest so far.
const BEFORE_DAY: &str = "bd";
const BEFORE_COUNT: &str = "bn";
const BEFORE_HASH: &str = "bh";

/// Checkpoints or digests that one query reads.
const PAGE: u32 = 500;
/// Accounts that are looked at together.
const AT_ONCE: u32 = 25;
/// How long a run may go on with a shard before another takes it over, in milliseconds: longer
/// than a function lives.
const LEASE_MILLIS: i64 = 16 * 60_000;
/// After every day.
const LAST_DAY: &str = "9999";

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
    /// Reads an item; `None` where it is no digest.
    pub fn from_item(item: &Item) -> Option<Self> {
        Some(Self {
            day: text(item, SK)?.to_owned(),
            accounts: number(item, COUNT)?,
            digest: bytes(item, HASH)?.try_into().ok()?,
            kid: text(item, KEY_ID)?.to_owned(),
            signature: bytes(item, SIGNATURE)?.to_vec(),
        })
    }

    /// Whether `key` signed it for this shard.
    pub fn is_signed_by(&self, shard: u8, key: &[u8; 32]) -> bool {
        let signed = signed_digest(shard, &self.day, self.accounts, &self.digest);
        UnparsedPublicKey::new(&ED25519, key).verify(&signed, &self.signature).is_ok()
    }
}

/// What there is of some days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByDay<T> {
    /// What can be read, oldest first.
    pub read: Vec<T>,
    /// The days of what can't, as the items' keys say.
    pub unreadable: Vec<String>,
}

impl<T> ByDay<T> {
    fn read(items: &[Item], from_item: impl Fn(&Item) -> Option<T>) -> Self {
        let mut all = Self { read: Vec::with_capacity(items.len()), unreadable: Vec::new() };
        for item in items {
            match from_item(item) {
                Some(read) => all.read.push(read),
                None => all.unreadable.push(text(item, SK).unwrap_or_default().to_owned()),
            }
        }
        all
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

/// The digests of a shard of the directory, while what they are over is gone through again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardDigests {
    shard: u8,
    digests: Vec<DayDigest>,
    running: Vec<RunningDigest>,
}

impl ShardDigests {
    /// Of a shard, before its first account.
    pub fn new(shard: u8, digests: Vec<DayDigest>) -> Self {
        let running = vec![RunningDigest::default(); digests.len()];
        Self { shard, digests, running }
    }

    /// How far each is, by its day: to be kept.
    pub fn running(&self) -> impl Iterator<Item = (&str, RunningDigest)> {
        self.digests.iter().map(|digest| digest.day.as_str()).zip(self.running.iter().copied())
    }

    /// Goes on with what was kept of the digest of a day. Returns whether that digest is there.
    pub fn go_on(&mut self, day: &str, running: RunningDigest) -> bool {
        let at = self.digests.iter().position(|digest| digest.day == day);
        at.is_some_and(|at| {
            self.running[at] = running;
            true
        })
    }

    /// Leaves out the digests of days that `keep` does not take.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        let kept = self.digests.drain(..).zip(self.running.drain(..));
        (self.digests, self.running) = kept.filter(|(digest, _)| keep(&digest.day)).unzip();
    }

    /// Adds all checkpoints of the next account in the directory's order, oldest first.
    pub fn add(&mut self, account: &AccountId, checkpoints: &[Checkpoint]) {
        for (digest, running) in self.digests.iter().zip(&mut self.running) {
            let known = checkpoints.partition_point(|checkpoint| checkpoint.day <= digest.day);
            if let Some(newest) = known.checked_sub(1).and_then(|at| checkpoints.get(at)) {
                running.add(account, newest);
            }
        }
    }

    /// The keys that signed them.
    pub fn kids(&self) -> impl Iterator<Item = &str> {
        self.digests.iter().map(|digest| digest.kid.as_str())
    }

    /// What is wrong, once all accounts were added: checkpoints that were taken away or changed,
    /// accounts that were, digests that nobody signed.
    pub fn differences(&self, key: impl Fn(&str) -> Option<[u8; 32]>) -> Vec<String> {
        let shard = self.shard;
        let differs = |(digest, there): (&DayDigest, &RunningDigest)| {
            let DayDigest { day, accounts, kid, .. } = digest;
            if !key(kid).is_some_and(|key| digest.is_signed_by(shard, &key)) {
                return Some(format!("the digest {day} of shard {shard} is not signed by {kid}"));
            }
            ((*accounts, digest.digest) != (there.accounts, there.digest)).then(|| {
                format!(
                    "the digest {day} of shard {shard} is over the checkpoints of {accounts} \
                     accounts, and not over those of {} that are there: some were taken away or \
                     changed",
                    there.accounts
                )
            })
        };
        self.digests.iter().zip(&self.running).filter_map(differs).collect()
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
    /// Accounts whose newest entry contradicts their checkpoint, and shards whose checkpoints
    /// contradict the newest digest before, or of which that can't be told since something of it
    /// can't be read: these get no new one. Each is logged as an error.
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
        let item = self.newest_items(keys::checkpoints(account), day, 1).await?.pop();
        let corrupt = || LedgerError::Corrupt(format!("a checkpoint of {account}"));
        item.map(|item| Checkpoint::from_item(&item).ok_or_else(corrupt)).transpose()
    }

    /// All checkpoints of an account.
    ///
    /// # Errors
    /// The store is unavailable.
    pub async fn of(&self, account: &AccountId) -> Result<ByDay<Checkpoint>, LedgerError> {
        let items = self.all(keys::checkpoints(account)).await?;
        Ok(ByDay::read(&items, Checkpoint::from_item))
    }

    /// All digests of a shard of the directory.
    ///
    /// # Errors
    /// The store is unavailable.
    pub async fn digests(&self, shard: u8) -> Result<ByDay<DayDigest>, LedgerError> {
        let items = self.all(keys::checkpoint_digests(shard)).await?;
        Ok(ByDay::read(&items, DayDigest::from_item))
    }

    /// The digest of a shard for `day`, and the day of the newest one before it.
    async fn digests_around(
        &self,
        shard: u8,
        day: &str,
    ) -> Result<(Option<Item>, Option<String>), LedgerError> {
        let items = self.newest_items(keys::checkpoint_digests(shard), Some(day), 2).await?;
        let mut items = items.into_iter().peekable();
        let of_day = items.next_if(|item| text(item, SK) == Some(day));
        let before = items.next().and_then(|item| text(&item, SK).map(str::to_owned));
        Ok((of_day, before))
    }

    /// All items of a partition whose sort keys are days.
    async fn all(&self, pk: String) -> Result<Vec<Item>, LedgerError> {
        let mut all = Vec::new();
        let mut from = "0".to_owned();
        loop {
            let (pk, to) = (pk.clone(), LAST_DAY.to_owned());
            let query = Query { pk, from, to, descending: false, limit: PAGE };
            let items = self.store.query(&query).await?;
            let Some(last) = items.last().and_then(|item| text(item, SK)) else { return Ok(all) };
            // The least text after that one that a day can be.
            from = format!("{last} ");
            all.extend(items);
        }
    }

    async fn newest_items(
        &self,
        pk: String,
        day: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Item>, LedgerError> {
        let to = day.unwrap_or(LAST_DAY).to_owned();
        let query = Query { pk, from: "0".to_owned(), to, descending: true, limit };
        Ok(self.store.query(&query).await?)
    }

    /// Goes on with today's checkpoints for at most `time`, shard by shard, from where the last
    /// run stopped. Of two runs at once each takes the shards that the other does not have. What
    /// can't be read of an account or of a shard holds up no other one.
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
        let is_over = || started.elapsed() >= time;
        for shard in 0..keys::DIRECTORY_SHARDS {
            match self.run_shard(key, shard, &today, &is_over, &mut report).await {
                Ok(is_done) => report.complete &= is_done,
                Err(LedgerError::Corrupt(what)) => {
                    report.contradicted += 1;
                    report.complete = false;
                    tracing::error!(shard, what, "a shard has no checkpoints today: audit it");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(report)
    }

    /// Goes on with a shard until it is done or the time is over. Returns whether it is done.
    async fn run_shard(
        &self,
        key: &CheckpointKey,
        shard: u8,
        today: &str,
        is_over: &impl Fn() -> bool,
        report: &mut CheckpointReport,
    ) -> Result<bool, LedgerError> {
        let Some(mut progress) = self.claim(key, shard, today, report).await? else {
            return Ok(false);
        };
        while !progress.is_done {
            if is_over() {
                // Whoever comes next need not wait for the end of the lease.
                progress.leased_until = 0;
                self.keep(key, &mut progress).await?;
                return Ok(false);
            }
            self.step(key, &mut progress, report).await?;
        }
        Ok(true)
    }

    /// Takes a shard for this run; `None` where another run has it.
    async fn claim(
        &self,
        signer: &CheckpointKey,
        shard: u8,
        today: &str,
        report: &mut CheckpointReport,
    ) -> Result<Option<Progress>, LedgerError> {
        let kept = self.store.get(&keys::checkpoint_progress(shard)).await?;
        let now = self.ledger.now().millis();
        let (leased_until, revision) = match &kept {
            None => (0, 0),
            Some(item) => Progress::lease(item)
                .ok_or_else(|| LedgerError::Corrupt(format!("the progress of shard {shard}")))?,
        };
        // What a day before was not finished is not worth a digest any more; and what this key has
        // not signed is begun anew.
        let kept = kept
            .and_then(|item| Progress::read(shard, &item))
            .filter(|kept| kept.progress.day == today && kept.is_signed_by(signer))
            .map(|kept| kept.progress);
        if let Some(done) = kept.as_ref().filter(|kept| kept.is_done) {
            return Ok(Some(done.clone()));
        }
        if leased_until > now {
            return Ok(None);
        }
        let (of_today, before) = self.digests_around(shard, today).await?;
        let mut progress = kept.unwrap_or_else(|| Progress {
            shard,
            day: today.to_owned(),
            after: None,
            running: RunningDigest::default(),
            before: before.map(|day| (day, RunningDigest::default())),
            is_done: false,
            leased_until: 0,
            revision,
        });
        progress.revision = revision;
        if let Some(item) = of_today {
            // It was signed, and the run ended before it could say so: an account that has opened
            // since must not get a checkpoint of a day that is closed.
            progress.is_done = true;
            if self.signed_digest(signer, shard, &item).await?.is_none() {
                report.contradicted += 1;
                tracing::error!(shard, day = today, "the day's digest is not signed: audit it");
            }
        } else {
            progress.leased_until = now.saturating_add(LEASE_MILLIS);
        }
        match self.keep(signer, &mut progress).await {
            Ok(()) => Ok(Some(progress)),
            Err(LedgerError::Busy) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The digest of a shard that an item is; `None` where it is none, or nobody signed it.
    async fn signed_digest(
        &self,
        key: &CheckpointKey,
        shard: u8,
        item: &Item,
    ) -> Result<Option<DayDigest>, LedgerError> {
        let Some(digest) = DayDigest::from_item(item) else { return Ok(None) };
        let public = self.public_key(key, &digest.kid).await?;
        let is_signed = public.is_some_and(|public| digest.is_signed_by(shard, &public));
        Ok(is_signed.then_some(digest))
    }

    /// The next accounts of a shard; with the last of them it is done.
    async fn step(
        &self,
        key: &CheckpointKey,
        progress: &mut Progress,
        report: &mut CheckpointReport,
    ) -> Result<(), LedgerError> {
        let listed =
            self.ledger.accounts_of(progress.shard, progress.after.as_deref(), AT_ONCE).await?;
        let day = progress.day.clone();
        let before = progress.before.as_ref().map(|(day, _)| day.clone());
        for Listed { id, .. } in listed.iter().filter(|listed| listed.account.is_none()) {
            report.contradicted += 1;
            let shard = progress.shard;
            tracing::error!(shard, id, "an item of the directory is none: audit it");
        }
        let accounts: Vec<_> = listed.iter().filter_map(|listed| listed.account.as_ref()).collect();
        let looked = accounts.iter().map(|account| async {
            let newest = readable(self.newest(account, None).await)?;
            let then = match (&newest, &before) {
                (Ok(Some(newest)), Some(before)) if newest.day <= *before => Some(newest.clone()),
                (_, None) | (Ok(None), _) => None,
                (_, Some(before)) => {
                    readable(self.newest(account, Some(before)).await)?.ok().flatten()
                }
            };
            let looked = match newest {
                Ok(newest) => match readable(self.look(key, account, &day, newest.as_ref()).await)?
                {
                    Ok(looked) => looked,
                    Err(what) => Looked::unreadable(account, &what, newest),
                },
                Err(what) => Looked::unreadable(account, &what, None),
            };
            Ok::<_, LedgerError>((then, looked))
        });
        for (account, (then, looked)) in accounts.iter().zip(try_join_all(looked).await?) {
            report.written += u64::from(looked.written);
            report.contradicted += u64::from(looked.contradicted);
            if let Some(checkpoint) = &looked.checkpoint {
                progress.running.add(account, checkpoint);
            }
            if let (Some(then), Some((_, before))) = (&then, &mut progress.before) {
                before.add(account, then);
            }
        }
        if let Some(last) = listed.last() {
            progress.after = Some(last.id.clone());
        } else {
            if self.older_holds(key, progress).await? {
                self.put_digest(key, progress).await?;
            } else {
                report.contradicted += 1;
            }
            progress.is_done = true;
        }
        self.keep(key, progress).await
    }

    /// Whether what the newest digest before this day was over is still there. Where it is not, a
    /// new one would make it good.
    async fn older_holds(
        &self,
        key: &CheckpointKey,
        progress: &Progress,
    ) -> Result<bool, LedgerError> {
        let Some((day, there)) = &progress.before else { return Ok(true) };
        let shard = progress.shard;
        let item = self.store.get(&Key::new(keys::checkpoint_digests(shard), day)).await?;
        let digest = match item {
            None => None,
            Some(item) => self.signed_digest(key, shard, &item).await?,
        };
        let holds = digest.is_some_and(|digest| {
            (digest.accounts, digest.digest) == (there.accounts, there.digest)
        });
        if !holds {
            tracing::error!(
                shard,
                digest = day,
                accounts = there.accounts,
                "checkpoints were taken away or changed since the digest: none is signed, audit it"
            );
        }
        Ok(holds)
    }

    /// The key that verifies what `kid` signed: an earlier one's is in the table.
    async fn public_key(
        &self,
        key: &CheckpointKey,
        kid: &str,
    ) -> Result<Option<[u8; 32]>, LedgerError> {
        if kid == key.kid {
            return Ok(Some(key.public_key()));
        }
        let credentials = CredentialItems::new(Arc::clone(&self.store));
        let key = readable(credentials.checkpoint_key(kid).await)?;
        Ok(key.unwrap_or_else(|what| {
            tracing::error!(what, "what it signed can't be verified: audit it");
            None
        }))
    }

    /// The newest checkpoint of an account, which was `earlier`, after one for the day was written
    /// if it has to be.
    async fn look(
        &self,
        key: &CheckpointKey,
        account: &AccountId,
        day: &str,
        earlier: Option<&Checkpoint>,
    ) -> Result<Looked, LedgerError> {
        let same_as_before =
            |contradicted| Looked { checkpoint: earlier.cloned(), written: false, contradicted };
        if let Some(checkpoint @ Checkpoint { kid, seq, .. }) = earlier {
            let public = self.public_key(key, kid).await?;
            if !public.is_some_and(|public| checkpoint.is_signed_by(account, &public)) {
                tracing::error!(%account, checkpoint = seq, kid,
                    "the newest checkpoint is not signed: audit it");
                return Ok(same_as_before(true));
            }
        }
        // What was written for this day stands: a run that was interrupted comes by again.
        if earlier.is_some_and(|earlier| earlier.day.as_str() >= day) {
            return Ok(same_as_before(false));
        }
        let head = self.ledger.head(account).await?;
        let seen = earlier.map_or(0, |earlier| earlier.seq);
        let head_seq = head.as_ref().map_or(0, StoredEntry::seq);
        // A newer checkpoint must not make good what contradicts the last one: the entry that it
        // has seen must still be there, below newer ones as well.
        let same = match earlier {
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
            return Ok(same_as_before(true));
        }
        let Some(head) = head.filter(|head| head.seq() > seen) else {
            return Ok(same_as_before(false));
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
            Ok(()) => {
                let (shard, day) = (progress.shard, &progress.day);
                // What the table could not prove if it were taken away there.
                let digest = URL_SAFE_NO_PAD.encode(digest);
                tracing::info!(shard, day, accounts, digest, "a day's checkpoints are signed");
                Ok(())
            }
            Err(StoreError::ConditionFailed) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps how far a shard is, unless another run has taken it over: then the ledger is busy.
    async fn keep(&self, key: &CheckpointKey, progress: &mut Progress) -> Result<(), LedgerError> {
        let condition = match progress.revision {
            0 => Condition::NotExists,
            known => Condition::Equals(REVISION, AttributeValue::N(known.to_string())),
        };
        progress.revision += 1;
        match self.store.put(Put { item: progress.item(key), condition }).await {
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

impl Looked {
    /// Something of the account can't be read: nothing more of it is signed.
    fn unreadable(account: &AccountId, what: &str, checkpoint: Option<Checkpoint>) -> Self {
        tracing::error!(%account, what, "an account has no checkpoint today: audit it");
        Self { checkpoint, written: false, contradicted: true }
    }
}

/// How far the checkpoints of a shard are.
#[derive(Debug, Clone)]
struct Progress {
    shard: u8,
    day: String,
    after: Option<String>,
    running: RunningDigest,
    /// The day of the newest digest before, and how far what it was over is gone through.
    before: Option<(String, RunningDigest)>,
    is_done: bool,
    leased_until: i64,
    revision: u64,
}

/// A progress as the store has it.
struct KeptProgress {
    progress: Progress,
    kid: String,
    signature: Vec<u8>,
}

impl KeptProgress {
    fn is_signed_by(&self, key: &CheckpointKey) -> bool {
        let public = UnparsedPublicKey::new(&ED25519, key.public_key());
        self.kid == key.kid && public.verify(&self.progress.signed(), &self.signature).is_ok()
    }
}

impl Progress {
    /// Until when a run has the shard, and the revision.
    fn lease(item: &Item) -> Option<(i64, u64)> {
        Some((i64::try_from(number(item, LEASE)?).ok()?, number(item, REVISION)?))
    }

    fn read(shard: u8, item: &Item) -> Option<KeptProgress> {
        let running = |count, hash| {
            let digest = bytes(item, hash)?.try_into().ok()?;
            Some(RunningDigest { accounts: number(item, count)?, digest })
        };
        let before = match text(item, BEFORE_DAY) {
            Some(day) => Some((day.to_owned(), running(BEFORE_COUNT, BEFORE_HASH)?)),
            None => None,
        };
        let (leased_until, revision) = Self::lease(item)?;
        let progress = Self {
            shard,
            day: text(item, DAY)?.to_owned(),
            after: text(item, AFTER).map(str::to_owned),
            running: running(COUNT, HASH)?,
            before,
            is_done: text(item, "done").is_some(),
            leased_until,
            revision,
        };
        let kid = text(item, KEY_ID)?.to_owned();
        Some(KeptProgress { progress, kid, signature: bytes(item, SIGNATURE)?.to_vec() })
    }

    /// What is signed of it: all but who has it, and until when.
    fn signed(&self) -> Vec<u8> {
        let Self { shard, day, after, running, before, is_done, .. } = self;
        // Keys of items that anybody may have made up: each stays the one line that it is.
        let after = after.as_deref().unwrap_or_default().escape_debug();
        let (before_day, before) = match before {
            Some((day, before)) => (day.as_str(), *before),
            None => ("", RunningDigest::default()),
        };
        let before_day = before_day.escape_debug();
        let (count, before_count) = (running.accounts, before.accounts);
        let head = format!(
            "unified-credits progress\n{shard}\n{day}\n{after}\n{count}\n{before_day}\n\
             {before_count}\n{is_done}\n"
        );
        [head.as_bytes(), &running.digest, &before.digest].concat()
    }

    fn item(&self, key: &CheckpointKey) -> Item {
        let string = |text: &str| AttributeValue::S(text.to_owned());
        let count = |number: u64| AttributeValue::N(number.to_string());
        let binary = |bytes: &[u8]| AttributeValue::B(Blob::new(bytes));
        let mut item = keys::checkpoint_progress(self.shard).item();
        item.insert(DAY.to_owned(), string(&self.day));
        item.extend(self.after.as_deref().map(|after| (AFTER.to_owned(), string(after))));
        item.insert(COUNT.to_owned(), count(self.running.accounts));
        item.insert(HASH.to_owned(), binary(&self.running.digest));
        if let Some((day, before)) = &self.before {
            item.insert(BEFORE_DAY.to_owned(), string(day));
            item.insert(BEFORE_COUNT.to_owned(), count(before.accounts));
            item.insert(BEFORE_HASH.to_owned(), binary(&before.digest));
        }
        item.extend(self.is_done.then(|| ("done".to_owned(), string("yes"))));
        item.insert(LEASE.to_owned(), AttributeValue::N(self.leased_until.to_string()));
        item.insert(REVISION.to_owned(), count(self.revision));
        item.insert(KEY_ID.to_owned(), string(&key.kid));
        item.insert(SIGNATURE.to_owned(), binary(&key.sign(&self.signed())));
        item
    }
}

/// The UTC day of an instant, as it stands in keys.
fn day_of(at: Timestamp) -> String {
    at.to_utc().date().to_string()
}

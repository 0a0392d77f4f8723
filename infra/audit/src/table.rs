//! Auditing the accounts of a table, by its directory, while it is in use.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use uc_domain::AccountId;
use uc_domain::account::Settings;
use uc_ledger::checkpoint::{ByDay, RunningDigest};
use uc_ledger::store::Store;
use uc_ledger::{
    AuditLimits, Checkpoint, Checkpoints, CredentialItems, Difference, DynamoStore, Ledger,
    LedgerError, Listed, ShardDigests, SystemClock, keys, readable,
};

use crate::cli::Options;
use crate::findings::Findings;
use crate::{Failure, OTHER_KEYS, load, replace};

/// Accounts between two states that are kept.
const PAGE: u32 = 100;

/// How far an audit is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    table: String,
    /// The keys that the caller trusts: what was compared by other ones is not gone on with.
    #[serde(default)]
    trusted: BTreeMap<String, [u8; 32]>,
    /// The shard of the directory.
    shard: u8,
    /// The account in it that was audited last.
    after: Option<String>,
    /// What the shard's digests over the accounts so far are.
    digests: Vec<Running>,
    findings: Findings,
}

/// How far the digest of a day is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Running {
    day: String,
    accounts: u64,
    digest: [u8; 32],
}

impl State {
    fn load(table: &str, options: &Options) -> Result<Self, Failure> {
        let path = options.state.as_deref();
        let fresh = Self {
            table: table.to_owned(),
            trusted: options.trusted(),
            shard: 0,
            after: None,
            digests: Vec::new(),
            findings: Findings::default(),
        };
        match path.map(load::<Self>).transpose()?.flatten() {
            None => Ok(fresh),
            Some(kept) => {
                if kept.table != table {
                    let Self { table, .. } = kept;
                    let mend = "remove it to begin anew";
                    return Err(format!("the state file is of the table {table}: {mend}").into());
                }
                if kept.trusted != fresh.trusted {
                    return Err(OTHER_KEYS.into());
                }
                Ok(kept)
            }
        }
    }

    fn save(&self, path: Option<&Path>) -> Result<(), Failure> {
        let Some(path) = path else { return Ok(()) };
        replace(path, &serde_json::to_vec(self)?)
    }
}

/// What an audit needs to look at an account.
#[derive(Clone)]
struct Auditor {
    ledger: Ledger,
    checkpoints: Checkpoints,
    credentials: CredentialItems,
    /// Keys that the caller trusts; none where those of the table will do.
    trusted: Arc<BTreeMap<String, [u8; 32]>>,
}

/// What was found of one account.
struct Found {
    account: AccountId,
    entries: u64,
    difference: Option<Difference>,
    /// Oldest first.
    checkpoints: Vec<Checkpoint>,
}

/// The table that the environment gives access to: its name, with where it is, and how to reach it.
///
/// # Errors
/// Nobody names it.
pub fn from_environment(table: Option<String>) -> Result<(String, Arc<dyn Store>), Failure> {
    let table = table
        .or_else(|| std::env::var("UC_TABLE").ok())
        .ok_or("name the table by --table or in UC_TABLE")?;
    let config = uc_ledger::aws::sdk_configs().tables;
    let store = DynamoStore::new(&config, table.clone(), Arc::new(SystemClock));
    let region = config.region().map_or("no region", |region| region.as_ref());
    let endpoint = config.endpoint_url().map(|url| format!(" at {url}")).unwrap_or_default();
    Ok((format!("{table} in {region}{endpoint}"), Arc::new(store)))
}

/// Audits every account of a table, called `table` in the state file.
///
/// # Errors
/// The table can't be read, or the state file not written; or there is no account, where that is
/// not to be expected.
pub async fn audit(
    table: &str,
    store: Arc<dyn Store>,
    options: &Options,
) -> Result<Findings, Failure> {
    let path = options.state.as_deref();
    let mut state = State::load(table, options)?;
    let ledger = Ledger::new(Arc::clone(&store), Arc::new(SystemClock), Settings::default());
    let auditor = Auditor {
        checkpoints: Checkpoints::new(ledger.clone()),
        credentials: CredentialItems::new(store),
        ledger,
        trusted: Arc::new(options.trusted()),
    };
    while state.shard < keys::DIRECTORY_SHARDS {
        let mut digests = state.digests(&auditor).await?;
        loop {
            let after = state.after.as_deref();
            let listed = auditor.ledger.accounts_of(state.shard, after, PAGE).await?;
            let Some(last) = listed.last().map(|listed| listed.id.clone()) else { break };
            for Listed { id, .. } in listed.iter().filter(|listed| listed.account.is_none()) {
                let shard = state.shard;
                state
                    .findings
                    .note(format!("the item {id:?} of the directory's shard {shard} is none"));
            }
            let accounts = listed.into_iter().filter_map(|listed| listed.account);
            let looked = accounts.map(|account| {
                let auditor = auditor.clone();
                async move {
                    let look = tokio::spawn(async move { auditor.look(account).await });
                    look.await.expect("an audit does not panic")
                }
            });
            let mut looked = stream::iter(looked).buffered(options.parallel.get());
            while let Some(found) = looked.next().await {
                let found = found?;
                digests.add(&found.account, &found.checkpoints);
                state.take(&found);
            }
            state.after = Some(last);
            state.keep(&digests);
            state.save(path)?;
        }
        let mut keys = HashMap::new();
        for kid in digests.kids() {
            if !keys.contains_key(kid) {
                let read = auditor.key(kid).await?;
                if let Err(what) = &read {
                    state.findings.note(what.clone());
                }
                keys.insert(kid, read.ok().flatten());
            }
        }
        for what in digests.differences(|kid| keys.get(kid).copied().flatten()) {
            state.findings.note(what);
        }
        state.shard += 1;
        (state.after, state.digests) = (None, Vec::new());
        state.save(path)?;
    }
    // There is nothing left to go on with: the next audit looks at everything again.
    if let Some(path) = path {
        std::fs::remove_file(path)?;
    }
    state.findings.of_something(options)
}

impl State {
    /// The digests of the shard, as far as they are. One that was signed since the audit came to
    /// the shard is left to the next audit; one that is gone since is a difference.
    async fn digests(&mut self, auditor: &Auditor) -> Result<ShardDigests, Failure> {
        let there = auditor.checkpoints.digests(self.shard).await?;
        let mut digests = ShardDigests::new(self.shard, there.read);
        if self.after.is_none() {
            for day in there.unreadable {
                let shard = self.shard;
                self.findings.note(format!("the digest {day:?} of shard {shard} can't be read"));
            }
            return Ok(digests);
        }
        digests.retain(|day| self.digests.iter().any(|kept| kept.day == day));
        for Running { day, accounts, digest } in &self.digests {
            let running = RunningDigest { accounts: *accounts, digest: *digest };
            if !digests.go_on(day, running) {
                let shard = self.shard;
                self.findings.note(format!("the digest {day} of shard {shard} was taken away"));
            }
        }
        Ok(digests)
    }

    fn keep(&mut self, digests: &ShardDigests) {
        let kept = digests.running().map(|(day, running)| Running {
            day: day.to_owned(),
            accounts: running.accounts,
            digest: running.digest,
        });
        self.digests = kept.collect();
    }

    fn take(&mut self, found: &Found) {
        self.findings.accounts += 1;
        self.findings.entries += found.entries;
        self.findings.checkpoints += u64::from(!found.checkpoints.is_empty());
        if let Some(difference) = &found.difference {
            self.findings.differs(&found.account, difference);
        }
    }
}

impl Auditor {
    /// The key that verifies what `kid` signed; or why the one in the table can't be it.
    async fn key(&self, kid: &str) -> Result<Result<Option<[u8; 32]>, String>, LedgerError> {
        if !self.trusted.is_empty() {
            return Ok(Ok(self.trusted.get(kid).copied()));
        }
        let read = readable(self.credentials.checkpoint_key(kid).await)?;
        Ok(read.map_err(|what| format!("corrupt: {what}")))
    }

    async fn look(&self, account: AccountId) -> Result<Found, LedgerError> {
        let ByDay { read: checkpoints, unreadable } = self.checkpoints.of(&account).await?;
        let checkpoint = checkpoints.last();
        let mut forged = None;
        if let Some(newest @ Checkpoint { day, seq, kid, .. }) = checkpoint {
            let key = self.key(kid).await?.ok().flatten();
            if !key.is_some_and(|key| newest.is_signed_by(&account, &key)) {
                let what = format!("the checkpoint of {day} is not signed by the key {kid}");
                forged = Some(Difference { seq: *seq, what });
            }
        }
        let compared = checkpoint.filter(|_| forged.is_none());
        let audited =
            self.ledger.audit(&account, None, compared, AuditLimits::NONE, |_| ()).await?;
        let unreadable = unreadable.first().map(|day| Difference {
            seq: audited.seq,
            what: format!("the checkpoint of {day:?} can't be read"),
        });
        let empty = (audited.seq == 0 && audited.difference.is_none()).then(|| Difference {
            seq: 1,
            what: "the account is in the directory and has no entry".to_owned(),
        });
        let difference = audited.difference.or(forged).or(unreadable).or(empty);
        Ok(Found { account, entries: audited.entries, difference, checkpoints })
    }
}

//! Auditing the accounts of a table, by its directory, while it is in use.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use uc_domain::AccountId;
use uc_domain::account::Settings;
use uc_ledger::checkpoint::{DayDigest, RunningDigest};
use uc_ledger::store::Store;
use uc_ledger::{
    AuditLimits, Checkpoint, Checkpoints, CredentialItems, Difference, DynamoStore, Ledger,
    LedgerError, SystemClock, keys,
};

use crate::Failure;
use crate::cli::Options;
use crate::findings::Findings;

/// Accounts between two states that are kept.
const PAGE: u32 = 100;

/// How far an audit is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    table: String,
    /// The shard of the directory.
    shard: u8,
    /// The account in it that was audited last.
    after: Option<String>,
    /// The day whose digest the shard is compared with.
    day: Option<String>,
    /// What the digest over the accounts so far is.
    accounts: u64,
    digest: [u8; 32],
    findings: Findings,
}

impl State {
    fn load(path: Option<&Path>, table: &str) -> Result<Self, Failure> {
        let fresh = Self {
            table: table.to_owned(),
            shard: 0,
            after: None,
            day: None,
            accounts: 0,
            digest: [0; 32],
            findings: Findings::default(),
        };
        match path.map(std::fs::read) {
            None => Ok(fresh),
            Some(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(fresh),
            Some(Err(error)) => Err(error.into()),
            Some(Ok(bytes)) => {
                let kept: Self = serde_json::from_slice(&bytes)?;
                if kept.table != table {
                    return Err(format!("the state file is of the table {}", kept.table).into());
                }
                Ok(kept)
            }
        }
    }

    fn save(&self, path: Option<&Path>) -> Result<(), Failure> {
        let Some(path) = path else { return Ok(()) };
        let new = path.with_extension("new");
        std::fs::write(&new, serde_json::to_vec(self)?)?;
        Ok(std::fs::rename(new, path)?)
    }
}

/// What an audit needs to look at an account.
#[derive(Clone)]
struct Auditor {
    ledger: Ledger,
    checkpoints: Checkpoints,
    credentials: CredentialItems,
    /// Keys that the caller trusts; none where those of the table will do.
    trusted: Arc<HashMap<String, [u8; 32]>>,
}

/// What was found of one account.
struct Found {
    account: AccountId,
    entries: u64,
    difference: Option<Difference>,
    /// The newest checkpoint, and the newest one of the digest's day or before.
    checkpoint: Option<Checkpoint>,
    then: Option<Checkpoint>,
}

/// The table that the environment gives access to: its name, and how to reach it.
///
/// # Errors
/// Nobody names it.
pub fn from_environment(table: Option<String>) -> Result<(String, Arc<dyn Store>), Failure> {
    let table = table
        .or_else(|| std::env::var("UC_TABLE").ok())
        .ok_or("name the table by --table or in UC_TABLE")?;
    let config = uc_ledger::aws::sdk_configs().tables;
    let store = DynamoStore::new(&config, table.clone(), Arc::new(SystemClock));
    Ok((table, Arc::new(store)))
}

/// Audits every account of a table, called `table` in the state file.
///
/// # Errors
/// The table can't be read, or the state file not written.
pub async fn audit(
    table: &str,
    store: Arc<dyn Store>,
    options: &Options,
) -> Result<Findings, Failure> {
    let path = options.state.as_deref();
    let mut state = State::load(path, table)?;
    let ledger = Ledger::new(Arc::clone(&store), Arc::new(SystemClock), Settings::default());
    let trusted = options.keys.iter().map(|key| (key.kid.clone(), key.key)).collect();
    let auditor = Auditor {
        checkpoints: Checkpoints::new(ledger.clone()),
        credentials: CredentialItems::new(store),
        ledger,
        trusted: Arc::new(trusted),
    };
    while state.shard < keys::DIRECTORY_SHARDS {
        let digest = auditor.checkpoints.digest(state.shard).await?;
        if state.after.is_none() {
            state.day = digest.as_ref().map(|digest| digest.day.clone());
        }
        loop {
            let after = state.after.as_deref();
            let accounts = auditor.ledger.accounts_of(state.shard, after, PAGE).await?;
            let Some(last) = accounts.last().map(ToString::to_string) else { break };
            let day = state.day.clone();
            let looked = accounts.into_iter().map(|account| {
                let (auditor, day) = (auditor.clone(), day.clone());
                async move {
                    let look = tokio::spawn(async move { auditor.look(account, day).await });
                    look.await.expect("an audit does not panic")
                }
            });
            let mut looked = stream::iter(looked).buffered(options.parallel.get());
            while let Some(found) = looked.next().await {
                state.take(found?);
            }
            state.after = Some(last);
            state.save(path)?;
        }
        if let Some(digest) = digest.filter(|digest| Some(&digest.day) == state.day.as_ref()) {
            state.compare(&auditor, &digest).await?;
        }
        state.shard += 1;
        (state.after, state.accounts, state.digest) = (None, 0, [0; 32]);
        state.save(path)?;
    }
    // There is nothing left to go on with: the next audit looks at everything again.
    if let Some(path) = path {
        std::fs::remove_file(path)?;
    }
    Ok(state.findings)
}

impl State {
    fn take(&mut self, found: Found) {
        self.findings.accounts += 1;
        self.findings.entries += found.entries;
        self.findings.checkpoints += u64::from(found.checkpoint.is_some());
        if let Some(difference) = &found.difference {
            self.findings.differs(&found.account, difference);
        }
        if let Some(then) = &found.then {
            let mut running = RunningDigest { accounts: self.accounts, digest: self.digest };
            running.add(&found.account, then);
            (self.accounts, self.digest) = (running.accounts, running.digest);
        }
    }

    /// Compares the checkpoints of a whole shard with the digest that was signed over them: one
    /// that was taken away, or an account that was, shows here.
    async fn compare(&mut self, auditor: &Auditor, digest: &DayDigest) -> Result<(), Failure> {
        let DayDigest { day, kid, .. } = digest;
        let shard = self.shard;
        let key = auditor.key(kid).await?;
        if !key.is_some_and(|key| digest.is_signed_by(shard, &key)) {
            self.findings.note(format!("the digest {day} of shard {shard} is not signed by {kid}"));
        } else if (digest.accounts, digest.digest) != (self.accounts, self.digest) {
            self.findings.note(format!(
                "the digest {day} of shard {shard} is over the checkpoints of {} accounts, and not \
                 over those of {} that are there: some were taken away or changed",
                digest.accounts, self.accounts,
            ));
        }
        Ok(())
    }
}

impl Auditor {
    async fn key(&self, kid: &str) -> Result<Option<[u8; 32]>, LedgerError> {
        if self.trusted.is_empty() {
            return self.credentials.checkpoint_key(kid).await;
        }
        Ok(self.trusted.get(kid).copied())
    }

    async fn look(&self, account: AccountId, day: Option<String>) -> Result<Found, LedgerError> {
        let checkpoint = self.checkpoints.newest(&account, None).await?;
        let then = match (&checkpoint, day) {
            (Some(newest), Some(day)) if newest.day > day => {
                self.checkpoints.newest(&account, Some(&day)).await?
            }
            (newest, Some(_)) => newest.clone(),
            (_, None) => None,
        };
        let mut forged = None;
        if let Some(Checkpoint { day, seq, kid, .. }) = &checkpoint {
            let key = self.key(kid).await?;
            let signed = |key| checkpoint.as_ref().is_some_and(|c| c.is_signed_by(&account, &key));
            if !key.is_some_and(signed) {
                let what = format!("the checkpoint of {day} is not signed by the key {kid}");
                forged = Some(Difference { seq: *seq, what });
            }
        }
        let compared = checkpoint.as_ref().filter(|_| forged.is_none());
        let audited =
            self.ledger.audit(&account, None, compared, AuditLimits::NONE, |_| ()).await?;
        let empty = (audited.seq == 0 && audited.difference.is_none()).then(|| Difference {
            seq: 1,
            what: "the account is in the directory and has no entry".to_owned(),
        });
        let difference = audited.difference.or(forged).or(empty);
        Ok(Found { account, entries: audited.entries, difference, checkpoint, then })
    }
}

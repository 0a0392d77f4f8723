//! [`Publisher`]: new versions of the table.
//!
//! Parts go to SSM first, under names that nobody reads yet; then one conditional transaction
//! makes them the next version. What stops before that has changed nothing that counts, and the
//! same call again goes on from where it was.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout, timeout_at};
use uc_domain::Timestamp;
use uc_domain::ratios::RatioTable;
use uc_ledger::Clock;
use uc_ledger::store::{
    self, AttributeValue, Condition, Item, Key, Put, Query, Store, StoreError, TransactError,
};

use crate::codec::{self, Hash, PackError, Parts};
use crate::parameters::{GET_LIMIT, ParameterError, ParameterStore};
use crate::register::{self, PartStore, Register, RegisterError, Version};

/// Chunks stay as long as one of so many newest versions names them.
const KEPT_VERSIONS: usize = 50;
/// And as long as a version names them that was in force within so many milliseconds, or a
/// publication that began within them.
const KEPT_MILLIS: i64 = 48 * 3_600_000;
/// Versions whose chunks are looked through after a publication.
const COLLECTED_AT_ONCE: usize = 5;
/// How long that may take.
const COLLECTING: Duration = Duration::from_secs(3);
/// Attempts at the transaction, and at a call to SSM that has no answer.
const ATTEMPTS: u32 = 4;

const PUBLICATIONS: &str = "R#publication";
const CONTENT: &str = "content";
const PARTS: &str = "parts";
const DONE: &str = "done";
const STARTED_AT: &str = "started_at";
const VERSION: &str = "version";

/// How a table is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishOptions {
    /// Whether charges may still name versions that were superseded less than 15 minutes ago.
    /// `false` ends that at once, for a wrong price.
    pub lock: bool,
    /// Who publishes.
    pub author: Option<String>,
    /// After this time the rest is left to the same call again.
    pub budget: Duration,
}

impl Default for PublishOptions {
    fn default() -> Self {
        Self { lock: true, author: None, budget: Duration::from_secs(20) }
    }
}

/// What came of a publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// The table is this version: since now, or since an earlier call like this one.
    Done {
        /// The new version.
        version: u64,
    },
    /// The version that was to be superseded already has this content; nothing was written.
    Unchanged {
        /// The version in force.
        version: u64,
    },
    /// The time was over before the table was in place. The same call again goes on.
    InProgress(Publication),
}

/// A publication by its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Of the content and the version that it is to supersede.
    pub id: String,
    /// How far it is.
    pub state: PublicationState,
}

/// How far a publication is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublicationState {
    /// Not all parameters are written; nothing counts yet.
    InProgress {
        /// Parameters that were there when a call last stopped.
        done: usize,
        /// All of them.
        total: usize,
    },
    /// It is a version.
    Done {
        /// Which.
        version: u64,
    },
    /// Another table was published instead.
    Superseded {
        /// By this version.
        by: u64,
    },
}

/// Why a table was not published. But where it says otherwise, nothing that counts has changed.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The newest version is another one than the publisher saw.
    #[error("the ratio table is at version {current}")]
    PreconditionFailed {
        /// The newest version; 0 where there is none.
        current: u64,
    },
    /// The table does not fit into the parameters that it may take.
    #[error(transparent)]
    TooLarge(#[from] PackError),
    /// There is no such version to roll back to, or to read.
    #[error("there is no version {0} of the ratio table")]
    UnknownVersion(u64),
    /// SSM or `DynamoDB` gives no answer. Whether the table was published may be unknown: the same
    /// call again tells, and goes on.
    #[error("publishing is not possible now: {0}")]
    Unavailable(String),
    /// SSM or `DynamoDB` refused a request: permissions, or a limit of the AWS account.
    #[error("publishing was refused: {0}")]
    Refused(String),
    /// What is stored was damaged, or this program can't read what it would write.
    #[error("{0}")]
    Corrupt(String),
}

impl From<StoreError> for PublishError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(_) => Self::Refused(error.to_string()),
            StoreError::ConditionFailed | StoreError::NoAnswer(_) => {
                Self::Unavailable(error.to_string())
            }
        }
    }
}

impl From<RegisterError> for PublishError {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::Store(error) => error.into(),
            damaged @ RegisterError::Damaged { .. } => Self::Corrupt(damaged.to_string()),
        }
    }
}

/// Publishes tables, and lists what was published.
pub struct Publisher {
    register: Register,
    parts: PartStore,
    clock: Arc<dyn Clock>,
}

/// What is to be published.
struct Job<'a> {
    if_match: u64,
    content: Hash,
    restores: Option<u64>,
    options: &'a PublishOptions,
    deadline: Instant,
}

impl Job<'_> {
    /// Names the publication; the same call again has the same id.
    fn id(&self) -> String {
        format!("{}-{}", self.if_match, codec::hex(&self.content))
    }

    fn in_progress(&self, done: usize, total: usize) -> Published {
        let state = PublicationState::InProgress { done, total };
        Published::InProgress(Publication { id: self.id(), state })
    }

    /// What the newest version says about it: an answer, or `None` while it is to be done.
    fn answer(&self, newest: Option<&Version>) -> Option<Result<Published, PublishError>> {
        let current = newest.map_or(0, |newest| newest.version);
        let same = newest.filter(|newest| newest.content == self.content);
        if let Some(same) = same {
            if same.based_on() == self.if_match && same.ends_lock() != self.options.lock {
                return Some(Ok(Published::Done { version: current }));
            }
            if current == self.if_match && self.options.lock {
                return Some(Ok(Published::Unchanged { version: current }));
            }
        }
        (current != self.if_match).then_some(Err(PublishError::PreconditionFailed { current }))
    }
}

impl Publisher {
    /// Publishes the tables of a stack: register and copies to `store`, parts to `parameters`,
    /// best a patient one.
    pub fn new(
        store: Arc<dyn Store>,
        parameters: Arc<dyn ParameterStore>,
        clock: Arc<dyn Clock>,
        stack: &str,
    ) -> Self {
        Self { register: Register { store }, parts: PartStore::new(parameters, stack), clock }
    }

    /// Publishes a table as the version after `if_match`, which is 0 for the first one.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn publish(
        &self,
        if_match: u64,
        table: &RatioTable,
        options: &PublishOptions,
    ) -> Result<Published, PublishError> {
        self.publish_table(if_match, table, None, options).await
    }

    /// Publishes the content of version `to` again, as the version after `if_match`.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn rollback(
        &self,
        if_match: u64,
        to: u64,
        options: &PublishOptions,
    ) -> Result<Published, PublishError> {
        let table = self.version(to).await?;
        self.publish_table(if_match, &table, Some(to), options).await
    }

    /// The newest version.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn current(&self) -> Result<Option<Version>, PublishError> {
        Ok(self.register.newest().await?)
    }

    /// Versions before `before`, or the newest ones, newest first.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn versions(
        &self,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Version>, PublishError> {
        Ok(self.register.list(before, limit).await?)
    }

    /// The table of a version.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn version(&self, version: u64) -> Result<RatioTable, PublishError> {
        let info = self.register.get(version).await?;
        let info = info.ok_or(PublishError::UnknownVersion(version))?;
        Ok(self.register.copy(&info, false).await?.table)
    }

    /// How far a publication is; `None` where there is no such.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn publication(&self, id: &str) -> Result<Option<Publication>, PublishError> {
        let Some((if_match, content)) = id.split_once('-') else { return Ok(None) };
        let Some(version) = if_match.parse::<u64>().ok().and_then(|n| n.checked_add(1)) else {
            return Ok(None);
        };
        let item = self.register.store.get(&Key::new(PUBLICATIONS, id)).await?;
        let state = match (self.register.get(version).await?, item) {
            (Some(info), _) if codec::hex(&info.content) == content => {
                PublicationState::Done { version }
            }
            (Some(_), Some(_)) => PublicationState::Superseded { by: version },
            (None, Some(item)) => {
                let open = Open::from_item(&item)
                    .ok_or_else(|| PublishError::Corrupt(format!("publication {id}")))?;
                PublicationState::InProgress { done: open.done, total: open.parts.len() }
            }
            (_, None) => return Ok(None),
        };
        Ok(Some(Publication { id: id.to_owned(), state }))
    }

    async fn publish_table(
        &self,
        if_match: u64,
        table: &RatioTable,
        restores: Option<u64>,
        options: &PublishOptions,
    ) -> Result<Published, PublishError> {
        let json = serde_json::to_vec(table).expect("keys are texts, and nothing else can fail");
        let job = Job {
            if_match,
            content: codec::hash(&json),
            restores,
            options,
            deadline: Instant::now() + options.budget,
        };
        let newest = self.register.newest().await?;
        if let Some(answer) = job.answer(newest.as_ref()) {
            return answer;
        }

        let borders = match &newest {
            None => Vec::new(),
            Some(newest) => match self.register.copy(newest, true).await {
                Ok(unpacked) => unpacked.borders,
                Err(RegisterError::Store(error)) => return Err(error.into()),
                Err(error) => {
                    // The new table does not depend on it, but for the choice of chunks.
                    tracing::error!(%error, "ratios: the newest version can't be read");
                    Vec::new()
                }
            },
        };
        let parts = codec::pack(table, &borders)?;
        let version = self.describe(&job, newest.as_ref(), table, &parts);
        // A fault in the encoding must be found before anybody depends on it.
        let again = codec::unpack(&parts, &version.manifest);
        if !again.is_ok_and(|again| again.table == *table) {
            return Err(PublishError::Corrupt("the table changes when it is stored".to_owned()));
        }

        let total = parts.chunks.len() + 1;
        let mut open = Open::new(&job, &version, self.clock.now());
        self.register.store.put(open.put()).await?;
        open.done = self.write_parts(&job, &version, &parts).await?;
        if open.done < total {
            self.register.store.put(open.put()).await?;
            return Ok(job.in_progress(open.done, total));
        }
        let published = self.register_version(&job, &version, &parts).await;
        if published.is_ok() {
            self.tidy(&open, &version).await;
        }
        published
    }

    fn describe(
        &self,
        job: &Job<'_>,
        newest: Option<&Version>,
        table: &RatioTable,
        parts: &Parts,
    ) -> Version {
        let version = job.if_match + 1;
        let now = self.clock.now();
        Version {
            version,
            published_at: newest.map_or(now, |newest| newest.published_at.max(now)),
            honoured_from: match newest {
                Some(newest) if job.options.lock => newest.honoured_from,
                // The first one supersedes nothing whose lock could go on.
                None if job.options.lock => 0,
                _ => version,
            },
            models: table.models().len() as u64,
            author: job.options.author.clone(),
            restores: job.restores,
            content: job.content,
            manifest: codec::hash(&parts.manifest),
            chunks: parts.chunks.iter().map(|chunk| codec::hash(chunk)).collect(),
        }
    }

    /// Writes the parameters that are not there yet, the manifest last. Returns how many are
    /// there: all, or fewer when the time was over.
    async fn write_parts(
        &self,
        job: &Job<'_>,
        version: &Version,
        parts: &Parts,
    ) -> Result<usize, PublishError> {
        let chunk_names = version.chunks.iter().map(|chunk| self.parts.chunk_name(chunk));
        let all: Vec<(String, String)> = chunk_names
            .chain([self.parts.manifest_name(&version.manifest)])
            .zip(parts.chunks.iter().chain([&parts.manifest]).map(|part| codec::to_value(part)))
            .collect();

        let mut missing = Vec::new();
        for some in all.chunks(GET_LIMIT) {
            let names: Vec<String> = some.iter().map(|(name, _)| name.clone()).collect();
            let get = || self.parts.parameters.get(&names, false);
            let Some(found) = insist(job.deadline, get).await? else { return Ok(0) };
            missing.extend(some.iter().filter(|(name, value)| {
                !found.iter().any(|there| there.name == *name && there.value == *value)
            }));
        }
        let mut done = all.len() - missing.len();
        for (name, value) in missing {
            let put = || self.parts.parameters.put(name, value);
            if insist(job.deadline, put).await?.is_none() {
                break;
            }
            done += 1;
        }
        Ok(done)
    }

    /// Makes the parts the next version, if nobody else did.
    async fn register_version(
        &self,
        job: &Job<'_>,
        version: &Version,
        parts: &Parts,
    ) -> Result<Published, PublishError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.register.store.transact(Register::puts(version, parts)).await {
                Ok(()) => return Ok(Published::Done { version: version.version }),
                Err(TransactError::Failed(_)) => {
                    // Somebody was faster; it may be this call itself, whose answer was lost.
                    let newest = self.register.newest().await?;
                    return job.answer(newest.as_ref()).unwrap_or_else(|| {
                        Err(PublishError::Corrupt(format!(
                            "version {} is in the way and not in the register",
                            version.version
                        )))
                    });
                }
                Err(TransactError::Store(error @ StoreError::Refused(_))) => {
                    return Err(error.into());
                }
                Err(error @ (TransactError::Conflict | TransactError::Store(_))) => {
                    if attempt == ATTEMPTS {
                        return Err(PublishError::Unavailable(error.to_string()));
                    }
                    sleep(pause(attempt)).await;
                }
            }
        }
    }

    /// After a publication: what it left, and chunks that nobody needs any more. What fails here
    /// is done after the next one.
    async fn tidy(&self, open: &Open, newest: &Version) {
        let work = async {
            self.register.store.delete(&open.key()).await?;
            self.collect(newest.version).await
        };
        match timeout(COLLECTING, work).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "ratios: old chunks stay"),
            Err(_) => tracing::info!("ratios: old chunks stay until the next publication"),
        }
    }

    /// Removes the chunks of versions that are neither among the newest 50 nor were in force in the
    /// last 48 hours, and of publications that were given up, unless a newer version or a running
    /// publication names them. A reader that is just reading them takes the copy.
    async fn collect(&self, newest: u64) -> Result<(), PublishError> {
        let since = self.clock.now().saturating_add_millis(-KEPT_MILLIS);
        let query = Query {
            pk: PUBLICATIONS.to_owned(),
            from: "0".to_owned(),
            to: "~".to_owned(),
            descending: false,
            limit: 100,
        };
        let items = self.register.store.query(&query).await?;
        let (running, given_up): (Vec<Open>, Vec<Open>) =
            items.iter().filter_map(Open::from_item).partition(|open| open.started_at > since);

        let collected = self.collected().await?;
        if given_up.is_empty() && newest - collected.min(newest) <= KEPT_VERSIONS as u64 {
            return Ok(());
        }
        let versions = self.versions_after(collected).await?;
        // Newest first: a version was in force until the one before it in the list.
        let kept = versions
            .iter()
            .enumerate()
            .take_while(|(n, _)| *n < KEPT_VERSIONS || versions[n - 1].published_at > since)
            .count();

        let mut needed: HashSet<&Hash> = running.iter().flat_map(|open| &open.parts).collect();
        needed.extend(versions.iter().flat_map(Version::parts));
        for open in &given_up {
            self.delete_parts(open.parts.iter().filter(|part| !needed.contains(part))).await?;
            self.register.store.delete(&open.key()).await?;
        }

        let from = versions.len().saturating_sub(COLLECTED_AT_ONCE).max(kept);
        let mut needed: HashSet<&Hash> = running.iter().flat_map(|open| &open.parts).collect();
        needed.extend(versions[..from].iter().flat_map(Version::parts));
        let old: HashSet<&Hash> = versions[from..].iter().flat_map(Version::parts).collect();
        self.delete_parts(old.difference(&needed).copied()).await?;
        if let Some(last) = versions.get(from) {
            let mut item = collected_key().item();
            item.insert(VERSION.to_owned(), AttributeValue::N(last.version.to_string()));
            self.register.store.put(Put { item, condition: Condition::None }).await?;
        }
        Ok(())
    }

    /// Up to which version chunks have been removed.
    async fn collected(&self) -> Result<u64, PublishError> {
        let item = self.register.store.get(&collected_key()).await?;
        Ok(item.and_then(|item| store::number(&item, VERSION)).unwrap_or_default())
    }

    /// All versions after one, newest first.
    async fn versions_after(&self, version: u64) -> Result<Vec<Version>, PublishError> {
        let mut versions: Vec<Version> = Vec::new();
        loop {
            let before = versions.last().map(|last| last.version);
            let page = self.register.list(before, 100).await?;
            let complete = page.is_empty() || page.iter().any(|info| info.version <= version);
            versions.extend(page.into_iter().filter(|info| info.version > version));
            if complete {
                return Ok(versions);
            }
        }
    }

    async fn delete_parts(
        &self,
        hashes: impl Iterator<Item = &Hash> + Send,
    ) -> Result<(), PublishError> {
        // A hash does not tell what it is of; what is not there need not be removed.
        let names: Vec<String> = hashes
            .flat_map(|hash| [self.parts.chunk_name(hash), self.parts.manifest_name(hash)])
            .collect();
        for names in names.chunks(GET_LIMIT) {
            self.parts.parameters.delete(names).await.map_err(|error| match error {
                ParameterError::Refused(_) => PublishError::Refused(error.to_string()),
                _ => PublishError::Unavailable(error.to_string()),
            })?;
        }
        Ok(())
    }
}

fn collected_key() -> Key {
    Key::new("R#collected", "C")
}

/// A publication that is not done, as it is kept.
struct Open {
    id: String,
    content: Hash,
    parts: Vec<Hash>,
    done: usize,
    started_at: Timestamp,
}

impl Open {
    fn new(job: &Job<'_>, version: &Version, now: Timestamp) -> Self {
        Self {
            id: job.id(),
            content: job.content,
            parts: version.parts().copied().collect(),
            done: 0,
            started_at: now,
        }
    }

    fn key(&self) -> Key {
        Key::new(PUBLICATIONS, &self.id)
    }

    fn put(&self) -> Put {
        let mut item = self.key().item();
        let mut set = |name: &str, value| item.insert(name.to_owned(), value);
        set(CONTENT, AttributeValue::B(self.content.to_vec().into()));
        set(PARTS, AttributeValue::B(self.parts.concat().into()));
        set(DONE, AttributeValue::N(self.done.to_string()));
        set(STARTED_AT, AttributeValue::N(self.started_at.millis().to_string()));
        Put { item, condition: Condition::None }
    }

    fn from_item(item: &Item) -> Option<Self> {
        let started_at = i64::try_from(store::number(item, STARTED_AT)?).ok()?;
        Some(Self {
            id: store::text(item, store::SK)?.to_owned(),
            content: register::read_hash(item, CONTENT)?,
            parts: register::read_hashes(item, PARTS)?,
            done: usize::try_from(store::number(item, DONE)?).ok()?,
            started_at: Timestamp::from_millis(started_at).ok()?,
        })
    }
}

/// Repeats a call to SSM: while it throttles, up to the deadline, where the answer is `None`; a
/// few times where it gives no answer.
async fn insist<T, F>(deadline: Instant, call: impl Fn() -> F) -> Result<Option<T>, PublishError>
where
    F: Future<Output = Result<T, ParameterError>>,
{
    let (mut throttled, mut unanswered) = (0, 0);
    loop {
        let Ok(answer) = timeout_at(deadline, call()).await else { return Ok(None) };
        let wait = match answer {
            Ok(answer) => return Ok(Some(answer)),
            Err(ParameterError::Throttled) => {
                throttled += 1;
                pause(throttled)
            }
            Err(error @ ParameterError::NoAnswer(_)) => {
                unanswered += 1;
                if unanswered == ATTEMPTS {
                    return Err(PublishError::Unavailable(error.to_string()));
                }
                pause(unanswered)
            }
            Err(error @ ParameterError::Refused(_)) => {
                return Err(PublishError::Refused(error.to_string()));
            }
        };
        if Instant::now() + wait >= deadline {
            return Ok(None);
        }
        sleep(wait).await;
    }
}

/// How long to wait after a number of failures: about 0.1, 0.2, 0.4 ... at most 1.6 seconds.
fn pause(failures: u32) -> Duration {
    let most = 100_u64 << failures.saturating_sub(1).min(4);
    Duration::from_millis(fastrand::u64(most / 2..=most + most / 2))
}

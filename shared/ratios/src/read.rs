//! [`Reader`]: the tables, for those who rate.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::timeout;
use uc_domain::Timestamp;
use uc_domain::ratios::RatioTable;
use uc_ledger::Clock;
use uc_ledger::store::Store;

use crate::parameters::ParameterStore;
use crate::register::{PartStore, Register, RegisterError, Version};

/// How long, in milliseconds, the register is not asked for news: somewhat different every time,
/// so that functions that started together do not ask together.
const FRESH: std::ops::RangeInclusive<i64> = 24_000..=30_000;
/// Until this age, in milliseconds, a table is used while somebody else asks for news.
const USED_MEANWHILE: i64 = 60_000;
/// Until this age, in milliseconds, a table is used while the register gives no answer.
const USED_WITHOUT_ANSWER: i64 = 300_000;
/// After no answer, milliseconds until the register is asked again.
const PAUSE: i64 = 5_000;
/// Least milliseconds between two looks that requests forced.
const BETWEEN_FORCED: i64 = 1_000;
/// How long the register and a new table may take while there is one that can be used.
const LOOK_PATIENCE: Duration = Duration::from_secs(2);
/// How long SSM may take before a copy is read.
const SSM_PATIENCE: Duration = Duration::from_millis(250);
/// For how long, in milliseconds, a superseded version is honoured.
const HONOURED: i64 = 15 * 60_000;
/// How many versions besides the newest are kept in memory.
const KEPT: usize = 4;

/// A table and the version that it is.
#[derive(Debug, PartialEq)]
pub struct Versioned {
    /// Counts from 1.
    pub version: u64,
    /// When it was published.
    pub published_at: Timestamp,
    /// The table.
    pub table: RatioTable,
}

/// Why there is no table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Nothing was ever published.
    #[error("no ratio table was published yet")]
    NotPublished,
    /// There is no such version.
    #[error("there is no version {0} of the ratio table")]
    UnknownVersion(u64),
    /// The register or the copies can't be reached; later it will go.
    #[error("the ratio tables can't be reached: {0}")]
    Unavailable(String),
    /// What is stored was damaged, or written by a newer program.
    #[error("{0}")]
    Corrupt(String),
}

impl From<RegisterError> for ReadError {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::Store(error) => Self::Unavailable(error.to_string()),
            damaged @ RegisterError::Damaged { .. } => Self::Corrupt(damaged.to_string()),
        }
    }
}

/// Reads tables and keeps them; made once a process.
///
/// Nothing runs in the background: the request that finds what is kept too old asks for news.
pub struct Reader {
    register: Register,
    parts: PartStore,
    clock: Arc<dyn Clock>,
    kept: Mutex<Kept>,
    /// Held by the one who asks for news.
    looking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Kept {
    newest: Option<Newest>,
    /// Other versions, the last used one last.
    others: Vec<Arc<Versioned>>,
    /// When superseding versions were published, a few.
    published: Vec<(u64, Timestamp)>,
    forced_at: Option<Timestamp>,
    /// The last look that brought nothing.
    failed: Option<(Timestamp, ReadError)>,
}

#[derive(Clone)]
struct Newest {
    info: Arc<Version>,
    table: Arc<Versioned>,
    /// When the register last said that it is the newest.
    confirmed_at: Timestamp,
    /// When to ask again.
    look_at: Timestamp,
}

impl Newest {
    /// Milliseconds since the register was asked; `None` where the clock was put back since.
    fn age(&self, now: Timestamp) -> Option<i64> {
        Some(now.millis() - self.confirmed_at.millis()).filter(|age| *age >= 0)
    }

    /// Whether it may be used without a look.
    fn is_fresh(&self, now: Timestamp) -> bool {
        now < self.look_at && self.age(now).is_some_and(|age| age <= USED_WITHOUT_ANSWER)
    }
}

impl Reader {
    /// Reads the tables of a stack: its register and copies from `store`, its parts from
    /// `parameters`, best an impatient one.
    pub fn new(
        store: Arc<dyn Store>,
        parameters: Arc<dyn ParameterStore>,
        clock: Arc<dyn Clock>,
        stack: &str,
    ) -> Self {
        Self {
            register: Register { store },
            parts: PartStore::new(parameters, stack),
            clock,
            kept: Mutex::default(),
            looking: tokio::sync::Mutex::default(),
        }
    }

    /// The newest table, as of at most 30 seconds ago; 60 while another request asks for news; 5
    /// minutes while `DynamoDB` can't be reached.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn current(&self) -> Result<Arc<Versioned>, ReadError> {
        Ok(self.newest().await?.table)
    }

    /// The newest table. Where the request names a newer version than is known, it is looked for
    /// at once, but only once a second; the caller sees by the version what came of it.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn at_least(&self, version: u64) -> Result<Arc<Versioned>, ReadError> {
        Ok(self.looked_for(version).await?.0)
    }

    /// The same, and when the register last said that it is the newest.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn looked_for(&self, version: u64) -> Result<(Arc<Versioned>, Timestamp), ReadError> {
        let newest = self.newest_at_least(version).await?;
        Ok((newest.table, newest.confirmed_at))
    }

    /// What time it is where tables are published.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A version, however old.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn version(&self, version: u64) -> Result<Arc<Versioned>, ReadError> {
        {
            let mut kept = self.kept();
            if let Some(newest) = kept.newest.as_ref().filter(|n| n.info.version == version) {
                return Ok(Arc::clone(&newest.table));
            }
            if let Some(index) = kept.others.iter().position(|other| other.version == version) {
                let found = kept.others.remove(index);
                kept.others.push(Arc::clone(&found));
                return Ok(found);
            }
        }
        let info = self.register.get(version).await?.ok_or(ReadError::UnknownVersion(version))?;
        // The chunks of an old version may be gone, its copy is there.
        let table = self.register.copy(&info, false).await?.table;
        let table = Arc::new(Versioned { version, published_at: info.published_at, table });
        let mut kept = self.kept();
        kept.others.retain(|other| other.version != version);
        if kept.others.len() == KEPT {
            kept.others.remove(0);
        }
        kept.others.push(Arc::clone(&table));
        Ok(table)
    }

    /// Whether a charge at `now` may still be rated with a version that an estimate showed: the
    /// newest one, or one superseded less than 15 minutes ago, unless a publication since ended
    /// that. A version that does not exist is not honoured.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn honoured(&self, version: u64, now: Timestamp) -> Result<bool, ReadError> {
        let newest = self.newest_at_least(version).await?.info;
        if version >= newest.version {
            return Ok(version == newest.version);
        }
        if version == 0 || version < newest.honoured_from {
            return Ok(false);
        }
        let superseded_at = if version + 1 == newest.version {
            newest.published_at
        } else {
            self.published_at(version + 1).await?
        };
        Ok(now.millis() - superseded_at.millis() < HONOURED)
    }

    /// Whether the prices of a version may still be what was promised for work that goes on: no
    /// publication since ended that. Until the work ends; how long that is, the caller knows.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn is_promised(&self, version: u64) -> Result<bool, ReadError> {
        let newest = self.newest_at_least(version).await?.info;
        Ok((1..=newest.version).contains(&version)
            && (version == newest.version || version >= newest.honoured_from))
    }

    /// Milliseconds since the register said that the kept table is the newest, for metrics; `None`
    /// before the first one.
    pub fn age_millis(&self) -> Option<u64> {
        let age = self.kept().newest.as_ref()?.age(self.clock.now())?;
        u64::try_from(age).ok()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Every change under the lock is whole, so a panic elsewhere did not leave half of one.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn newest(&self) -> Result<Newest, ReadError> {
        let now = self.clock.now();
        let known = self.kept().newest.clone();
        match known {
            Some(known) if known.is_fresh(now) => Ok(known),
            Some(known) if known.age(now).is_some_and(|age| age <= USED_MEANWHILE) => {
                match self.looking.try_lock() {
                    Ok(_looking) => self.look(now).await,
                    Err(_) => Ok(known),
                }
            }
            _ => {
                let _looking = self.looking.lock().await;
                {
                    // What the one before found, or did not find, is good for those who waited.
                    let kept = self.kept();
                    if let Some(newest) = kept.newest.as_ref().filter(|n| n.is_fresh(now)) {
                        return Ok(newest.clone());
                    }
                    if let Some((_, error)) = kept.failed.as_ref().filter(|(at, _)| *at > now) {
                        return Err(error.clone());
                    }
                }
                self.look(now).await
            }
        }
    }

    async fn newest_at_least(&self, version: u64) -> Result<Newest, ReadError> {
        let newest = self.newest().await?;
        if newest.info.version >= version {
            return Ok(newest);
        }
        let now = self.clock.now();
        let recently = |forced_at: Timestamp| {
            (0..BETWEEN_FORCED).contains(&(now.millis() - forced_at.millis()))
        };
        {
            let mut kept = self.kept();
            if kept.forced_at.is_some_and(recently) {
                return Ok(newest);
            }
            kept.forced_at = Some(now);
        }
        let _looking = self.looking.lock().await;
        self.look(now).await
    }

    /// Asks for news and keeps them. Only while [`Self::looking`] is held.
    async fn look(&self, now: Timestamp) -> Result<Newest, ReadError> {
        let known = self.kept().newest.clone();
        let usable = known
            .clone()
            .filter(|known| known.age(now).is_some_and(|age| age <= USED_WITHOUT_ANSWER));
        let news = self.news(known);
        let news = if usable.is_some() {
            let late = |_| Err(ReadError::Unavailable("no answer in time".to_owned()));
            timeout(LOOK_PATIENCE, news).await.unwrap_or_else(late)
        } else {
            news.await
        };

        let mut kept = self.kept();
        match (news, usable) {
            (Ok((info, table)), _) => {
                let newest = Newest {
                    info,
                    table,
                    confirmed_at: now,
                    look_at: now.saturating_add_millis(fastrand::i64(FRESH)),
                };
                kept.newest = Some(newest.clone());
                Ok(newest)
            }
            (Err(error), Some(mut usable)) => {
                tracing::warn!(%error, version = usable.info.version, "ratios: no news");
                usable.look_at = now.saturating_add_millis(PAUSE);
                kept.newest = Some(usable.clone());
                Ok(usable)
            }
            (Err(error), None) => {
                kept.failed = Some((self.clock.now(), error.clone()));
                Err(error)
            }
        }
    }

    /// The newest version and its table, which is the known one if it still is the newest.
    async fn news(
        &self,
        known: Option<Newest>,
    ) -> Result<(Arc<Version>, Arc<Versioned>), ReadError> {
        let info = self.register.newest().await?.ok_or(ReadError::NotPublished)?;
        if let Some(known) = known.filter(|known| *known.info == info) {
            return Ok((known.info, known.table));
        }
        let from_ssm = timeout(SSM_PATIENCE, self.parts.read(&info)).await.ok().flatten();
        let unpacked = match from_ssm {
            Some(unpacked) => unpacked,
            None => self.register.copy(&info, true).await?,
        };
        let (version, published_at) = (info.version, info.published_at);
        let table = Versioned { version, published_at, table: unpacked.table };
        Ok((Arc::new(info), Arc::new(table)))
    }

    /// When a version that superseded another was published.
    async fn published_at(&self, version: u64) -> Result<Timestamp, ReadError> {
        /// More than can be honoured at a time, but for a very restless administrator.
        const MANY: usize = 16;

        let known = self.kept().published.iter().find(|(v, _)| *v == version).copied();
        if let Some((_, at)) = known {
            return Ok(at);
        }
        let info = self.register.get(version).await?.ok_or(ReadError::UnknownVersion(version))?;
        let mut kept = self.kept();
        if kept.published.len() == MANY {
            kept.published.remove(0);
        }
        kept.published.push((version, info.published_at));
        Ok(info.published_at)
    }
}

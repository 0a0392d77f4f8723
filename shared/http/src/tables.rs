//! The ratio table that prices a request.

use std::sync::Arc;
use std::time::Duration;

use uc_domain::Timestamp;
use uc_domain::ratios::Multiplier;
use uc_ratios::{ReadError, Reader, Versioned};

use crate::items;
use crate::observe::{Metric, RequestLog};
use crate::problem::{Code, Problem};

/// What `Retry-After` says when the tables can't be reached, in seconds.
const RETRY_SECONDS: u32 = 2;
/// After how long a version that is not known is looked for once more.
const LOOK_AGAIN: Duration = Duration::from_millis(1_050);

/// The table in force; or the version that the request names, as long as its prices are honoured.
///
/// # Errors
/// `conflict` where nothing was published yet or the version's prices hold no more, `unavailable`.
pub async fn for_request(
    reader: &Reader,
    version: Option<u64>,
    now: Timestamp,
    log: &RequestLog,
) -> Result<Arc<Versioned>, Problem> {
    let table = match version {
        None => reader.current().await?,
        Some(version) => {
            let mut honoured = reader.honoured(version, now).await?;
            if !honoured && reader.current().await?.version < version {
                // The register is asked at most once a second, and somebody just did: a version
                // that was published meanwhile is found after that second.
                tokio::time::sleep(LOOK_AGAIN).await;
                honoured = reader.honoured(version, now).await?;
            }
            if !honoured {
                let detail = format!(
                    "The prices of version {version} hold no more, or not yet: estimate again, or \
                     leave ratio_version out."
                );
                return Err(Problem::new(Code::Conflict, detail));
            }
            let newest = reader.at_least(version).await?;
            if newest.version == version { newest } else { reader.version(version).await? }
        }
    };
    log.ratio_version(table.version);
    if let Some(age) = reader.age_millis() {
        log.count(Metric::RatiosAge, age);
    }
    Ok(table)
}

/// Whether the prices of a version may still be what was promised. A version that this process does not
/// know yet is looked for as in [`for_request`].
///
/// # Errors
/// `conflict` where nothing was published yet, `unavailable`.
pub async fn is_promised(reader: &Reader, version: u64) -> Result<bool, Problem> {
    let promised = reader.is_promised(version).await?;
    if !promised && reader.current().await?.version < version {
        tokio::time::sleep(LOOK_AGAIN).await;
        return Ok(reader.is_promised(version).await?);
    }
    Ok(promised)
}

/// The newest table beside one that a request names: price groups may be newer than that one. None
/// where the request names no table, or the newest one is not to be had.
pub async fn beside(reader: &Reader, named: Option<u64>) -> Option<Arc<Versioned>> {
    named?;
    reader.current().await.ok()
}

/// The newest table, where it is newer than `known`: somebody has just published it. See
/// [`newer_than`].
pub async fn news(
    reader: &Reader,
    known: u64,
    since: Timestamp,
    log: &RequestLog,
) -> Option<Arc<Versioned>> {
    let newest = newer_than(reader, known, since, log).await.ok()?;
    (newest.version > known).then_some(newest)
}

/// The multiplier of an account's price group in the table that prices, or in a newer one where the
/// group is newer.
///
/// # Errors
/// `unknown_price_group`.
pub async fn multiplier(
    reader: &Reader,
    table: &Versioned,
    group: &str,
    log: &RequestLog,
) -> Result<Multiplier, Problem> {
    if let Some(multiplier) = table.table.group(group) {
        return Ok(multiplier);
    }
    let since = reader.now();
    let newest = reader.current().await?;
    match items::multiplier(&newest.table, None, group) {
        Ok(multiplier) => Ok(multiplier),
        // Whoever gives an account a new group has just published it.
        Err(problem) => match news(reader, newest.version, since, log).await {
            Some(newest) => items::multiplier(&newest.table, None, group),
            None => Err(problem),
        },
    }
}

/// The newest table, where somebody has just published one: `known` is the version that did not do.
/// It may take a second, for the register is asked at most once a second, unless it has been asked
/// `since` the request began.
///
/// # Errors
/// `conflict` where nothing was published yet, `unavailable`.
pub async fn newer_than(
    reader: &Reader,
    known: u64,
    since: Timestamp,
    log: &RequestLog,
) -> Result<Arc<Versioned>, Problem> {
    let (mut table, confirmed_at) = reader.looked_for(known.saturating_add(1)).await?;
    if table.version <= known && confirmed_at < since {
        tokio::time::sleep(LOOK_AGAIN).await;
        table = reader.at_least(known.saturating_add(1)).await?;
    }
    log.ratio_version(table.version);
    Ok(table)
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NotPublished => {
                Self::new(Code::Conflict, "No ratio table was published yet: PUT /v1/ratios.")
            }
            ReadError::UnknownVersion(version) => {
                Self::new(Code::Conflict, format!("There is no ratio version {version}."))
            }
            ReadError::Unavailable(_) => Self::unavailable(&error, RETRY_SECONDS),
            ReadError::Corrupt(_) => Self::internal(&error),
        }
    }
}

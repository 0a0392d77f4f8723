//! A clock that can be moved forward, so that a month passes while somebody watches.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use time::{Duration, OffsetDateTime};

use crate::files::private_file;

/// The file below `--data`: the offset in seconds, as text.
const FILE: &str = "clock";

/// The furthest that all moves together may go, in seconds: a hundred years of 365 days.
pub const FURTHEST: i64 = 100 * 365 * 24 * 3_600;

/// Why the clock was not moved.
#[derive(Debug, thiserror::Error)]
pub enum ClockError {
    /// Backward, or further than [`FURTHEST`].
    #[error("the clock moves forward only, and at most {FURTHEST} seconds in all")]
    OutOfRange,
    /// The offset's file cannot be read or written.
    #[error("cannot keep the clock in {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

/// The system's time plus an offset that only grows: an account's time never runs backward.
#[derive(Debug, Default)]
pub struct MovableClock {
    offset_seconds: Mutex<i64>,
    file: Option<PathBuf>,
}

impl MovableClock {
    /// A clock whose offset is kept below `data`, or in memory without it.
    ///
    /// # Errors
    /// [`ClockError::File`] when the offset cannot be read.
    pub fn open(data: Option<&Path>) -> Result<Self, ClockError> {
        let Some(path) = data.map(|directory| directory.join(FILE)) else {
            return Ok(Self::default());
        };
        let offset = match fs::read_to_string(&path) {
            Ok(text) => text
                .trim()
                .parse::<i64>()
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        };
        match offset {
            Ok(seconds) if (0..=FURTHEST).contains(&seconds) => {
                Ok(Self { offset_seconds: Mutex::new(seconds), file: Some(path) })
            }
            Ok(_) => Err(ClockError::OutOfRange),
            Err(source) => Err(ClockError::File { path, source }),
        }
    }

    /// What time it is on this clock.
    pub fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc() + self.offset()
    }

    /// How far it is ahead of the system's clock.
    pub fn offset(&self) -> Duration {
        Duration::seconds(*self.offset_seconds.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Moves it forward by `seconds` and returns the new time.
    ///
    /// # Errors
    /// [`ClockError::OutOfRange`] for a negative number or a sum above [`FURTHEST`]; [`ClockError::File`]
    /// when the new offset cannot be kept: then it is not moved.
    pub fn advance(&self, seconds: i64) -> Result<OffsetDateTime, ClockError> {
        let mut offset = self.offset_seconds.lock().unwrap_or_else(PoisonError::into_inner);
        let moved = offset
            .checked_add(seconds)
            .filter(|moved| seconds >= 0 && *moved <= FURTHEST)
            .ok_or(ClockError::OutOfRange)?;
        if let Some(path) = &self.file {
            private_file(path)
                .and_then(|mut file| write!(file, "{moved}"))
                .map_err(|source| ClockError::File { path: path.clone(), source })?;
        }
        *offset = moved;
        drop(offset);
        Ok(self.now())
    }
}

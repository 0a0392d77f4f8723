//! Time, as it comes in from outside.

use std::time::{SystemTime, UNIX_EPOCH};

use uc_domain::Timestamp;

/// What time it is. The domain takes time as an argument; this is where it comes from.
pub trait Clock: Send + Sync {
    /// Now, on the clock that accounts live by.
    fn now(&self) -> Timestamp;

    /// How far [`Self::now`] is deliberately ahead of the machine's own clock, in milliseconds.
    /// The check of the machine's clock against the store's leaves this out.
    fn offset_millis(&self) -> i64 {
        0
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_1970.as_millis())
            .ok()
            .and_then(|millis| Timestamp::from_millis(millis).ok())
            // A clock outside the years 2000 to 2999 is caught by the check against the store's.
            .unwrap_or(Timestamp::MIN)
    }
}

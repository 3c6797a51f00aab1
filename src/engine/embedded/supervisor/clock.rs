//! The one place where a supervisor is told the time.

use crate::units::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time of day, and the time that passes.
#[derive(Debug, Default)]
pub struct Clock {
    last: Cell<i64>,
}

impl Clock {
    /// The time of day. It stands still where the machine's goes back, so what is written in order has times in order.
    pub fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = Timestamp::from_parts(i64::try_from(since.as_secs()).unwrap_or(0), since.subsec_nanos().into()).0.max(self.last.get());
        self.last.set(now);
        Timestamp(now)
    }

    /// Time since the boot, which no clock setting moves.
    pub fn passed(&self) -> Duration {
        let time = clock_gettime(ClockId::Monotonic);
        Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
    }
}

//! The only file that reads time. Wall-clock milliseconds that never stand still and never go back within a process;
//! what a time means is decided by whoever asks.

use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970. If the system's clock is set back, time goes on at half speed until the two agree, so
/// timers still fire and a seal's time never decreases.
#[derive(Debug)]
pub struct Clock {
    last: Mutex<(Instant, Duration)>,
}

impl Default for Clock {
    fn default() -> Self {
        Self { last: Mutex::new((Instant::now(), wall())) }
    }
}

impl Clock {
    pub fn now_ms(&self) -> u64 {
        let mut last = self.last.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let (instant, wall) = (Instant::now(), wall());
        let now = next(last.1, instant.saturating_duration_since(last.0), wall);
        *last = (instant, now);
        u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
    }
}

fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn next(last: Duration, elapsed: Duration, wall: Duration) -> Duration {
    wall.max(last.saturating_add(elapsed / 2))
}

/// A moment for measuring how long something took.
#[derive(Debug, Clone, Copy)]
pub struct Started(Instant);

impl Started {
    pub fn now() -> Self {
        Self(Instant::now())
    }

    pub fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub fn elapsed_us(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_set_back_goes_on_at_half_speed() {
        let ms = Duration::from_millis;
        assert_eq!(next(ms(1_000), ms(10), ms(1_010)), ms(1_010));
        assert_eq!(next(ms(1_000), ms(10), ms(400)), ms(1_005));
        assert_eq!(next(ms(1_000), ms(10), ms(9_000)), ms(9_000));
    }
}

//! The only file that reads time. Wall-clock milliseconds that never stand still and never go back within a process;
//! what a time means is decided by whoever asks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970. If the system's clock is set back, time goes on at half speed until the two agree, so
/// timers still fire and a seal's time never decreases.
#[derive(Debug)]
pub struct Clock(Source);

#[derive(Debug)]
enum Source {
    System {
        /// The last moment shown, steady and wall.
        last: Mutex<(Instant, Duration)>,
        /// Zero outside of trials.
        offset_ms: i64,
    },
    Told(Arc<AtomicU64>),
}

impl Default for Clock {
    fn default() -> Self {
        Self::wrong_by(0)
    }
}

impl Clock {
    /// Ahead of the system's clock, or behind it: for trials of what a wrong clock does to a network.
    pub fn wrong_by(offset_ms: i64) -> Self {
        Self(Source::System { last: Mutex::new((Instant::now(), wall(offset_ms))), offset_ms })
    }

    /// A clock that shows what it is told: the time of a simulation.
    pub fn told(now_ms: Arc<AtomicU64>) -> Self {
        Self(Source::Told(now_ms))
    }

    /// How far the time shown lies ahead of the system's, which was set back.
    pub fn ahead_of_system_ms(&self) -> u64 {
        let shown_ms = self.now_ms();
        let Source::System { offset_ms, .. } = &self.0 else { return 0 };
        shown_ms.saturating_sub(u64::try_from(wall(*offset_ms).as_millis()).unwrap_or(u64::MAX))
    }

    pub fn now_ms(&self) -> u64 {
        let (last, offset_ms) = match &self.0 {
            Source::System { last, offset_ms } => (last, *offset_ms),
            Source::Told(now_ms) => return now_ms.load(Ordering::Relaxed),
        };
        let mut last = last.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let (instant, wall) = (Instant::now(), wall(offset_ms));
        let now = next(last.1, instant.saturating_duration_since(last.0), wall);
        *last = (instant, now);
        u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
    }
}

fn wall(offset_ms: i64) -> Duration {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let offset = Duration::from_millis(offset_ms.unsigned_abs());
    if offset_ms < 0 { wall.saturating_sub(offset) } else { wall.saturating_add(offset) }
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
    fn a_wrong_clock_is_wrong_by_what_was_asked_for() {
        let right = Clock::default().now_ms();
        assert!(Clock::wrong_by(-60_000).now_ms() < right - 50_000);
        assert!(Clock::wrong_by(60_000).now_ms() > right + 50_000);
    }

    #[test]
    fn a_told_clock_shows_what_it_is_told() {
        let told = Arc::new(AtomicU64::new(5));
        let clock = Clock::told(Arc::clone(&told));
        assert_eq!(clock.now_ms(), 5);
        told.store(3, Ordering::Relaxed);
        assert_eq!(clock.now_ms(), 3);
    }

    #[test]
    fn a_clock_set_back_says_how_far_it_is_ahead() {
        let right = Clock::default();
        assert!(right.ahead_of_system_ms() < 1_000);
        let jumped = Source::System { last: Mutex::new((Instant::now(), wall(3_600_000))), offset_ms: 0 };
        assert!(Clock(jumped).ahead_of_system_ms() > 3_500_000);
        assert_eq!(Clock::told(Arc::new(AtomicU64::new(u64::MAX))).ahead_of_system_ms(), 0);
    }

    #[test]
    fn a_clock_set_back_goes_on_at_half_speed() {
        let ms = Duration::from_millis;
        assert_eq!(next(ms(1_000), ms(10), ms(1_010)), ms(1_010));
        assert_eq!(next(ms(1_000), ms(10), ms(400)), ms(1_005));
        assert_eq!(next(ms(1_000), ms(10), ms(9_000)), ms(9_000));
    }
}

//! How often one address may read: a bucket of tokens for each, so that nobody keeps the others waiting. Submissions are
//! bounded by the agency's lane instead. Memory is bounded: the addresses that are remembered are few and forgotten again.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use mingzhang_ledger::outcome::Code;
use tokio::time::Instant;

use super::Problem;
use crate::listener::reader;

/// Addresses that are remembered at the same time.
const MAX_ADDRESSES: usize = 10_000;
const TOO_MANY_READS: Code = Code(2013);
/// Bounded by the agency's lane.
const SUBMISSIONS: [&str; 2] = ["/api/v1/transactions", "/api/v1/batches"];

/// The buckets of all addresses that read of late.
pub struct Pace {
    per_second: u64,
    buckets: Mutex<BTreeMap<IpAddr, Bucket>>,
}

/// What an address may still read, in thousandths.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    milli: u64,
    at: Instant,
}

impl Bucket {
    /// A bucket fills within a second and never holds more.
    fn refill(&mut self, per_second: u64, now: Instant) {
        let elapsed_ms = u64::try_from(now.duration_since(self.at).as_millis()).unwrap_or(u64::MAX);
        let full = per_second.saturating_mul(1_000);
        self.milli = self.milli.saturating_add(elapsed_ms.saturating_mul(per_second)).min(full);
        // What is less than a millisecond is not lost: it counts from the same moment.
        if elapsed_ms > 0 {
            self.at = now;
        }
    }
}

impl Pace {
    pub fn new(per_second: u64) -> Self {
        Self { per_second, buckets: Mutex::new(BTreeMap::new()) }
    }

    /// Whether an address may read now.
    fn take(&self, address: IpAddr, now: Instant) -> bool {
        let full = self.per_second.saturating_mul(1_000);
        let mut buckets = self.buckets.lock().expect("no holder of this lock panics");
        if buckets.len() >= MAX_ADDRESSES && !buckets.contains_key(&address) {
            buckets.retain(|_, bucket| {
                bucket.refill(self.per_second, now);
                bucket.milli < full
            });
            if buckets.len() >= MAX_ADDRESSES {
                return false;
            }
        }
        let bucket = buckets.entry(address).or_insert(Bucket { milli: full, at: now });
        bucket.refill(self.per_second, now);
        match bucket.milli.checked_sub(1_000) {
            Some(left) => {
                bucket.milli = left;
                true
            }
            None => false,
        }
    }
}

/// Refuses what is no submission and comes too fast.
pub async fn limit_reads(State(pace): State<Arc<Pace>>, request: Request, next: Next) -> Response {
    let address = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    // HEAD and a simulation cost what a read costs; only what is submitted has a limit of its own.
    let submits = request.method() == Method::POST && SUBMISSIONS.contains(&request.uri().path());
    let allowed = submits || address.is_none_or(|address| pace.take(reader(address), Instant::now()));
    if allowed {
        return next.run(request).await;
    }
    let told = format!("more than {} reads in a second from one address", pace.per_second);
    Problem::new(TOO_MANY_READS, told).into_response()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_address_has_its_own_share_and_gets_it_again() {
        let pace = Pace::new(3);
        let start = Instant::now();
        let [one, other] = [[127, 0, 0, 1], [127, 0, 0, 2]].map(IpAddr::from);
        let taken = |address, now| (0..5).filter(|_| pace.take(address, now)).count();
        assert_eq!((taken(one, start), taken(other, start)), (3, 3));
        assert_eq!(taken(one, start + Duration::from_millis(334)), 1);
        assert_eq!(taken(one, start + Duration::from_secs(3_600)), 3, "a bucket never holds more than a second's");
    }

    #[test]
    fn memory_does_not_grow_with_the_addresses() {
        let pace = Pace::new(1);
        let start = Instant::now();
        let address = |number: usize| IpAddr::from(u32::try_from(number).expect("small").to_be_bytes());
        assert!((0..MAX_ADDRESSES).all(|number| pace.take(address(number), start)));
        assert!(!pace.take(address(MAX_ADDRESSES), start), "one beyond the limit");
        assert!(pace.take(address(MAX_ADDRESSES), start + Duration::from_secs(1)), "idle addresses are forgotten");
        assert_eq!(pace.buckets.lock().expect("not poisoned").len(), 1);
    }
}

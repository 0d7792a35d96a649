//! The rate of one client: a bucket that fills evenly (GCRA), for as many clients as there are, in a fixed memory.
//!
//! A client is a buyer, a key or a token; of those who show none, an address (of IPv6 the network of 64 bits, which is
//! what one subscriber has). All that is known of one is when its bucket will be full again. One whose bucket is full is
//! the same as one nobody has met, so it may be forgotten at any time. In a table that is full of clients who are at
//! it, the one nearest to a full bucket is forgotten: memory stays, and that one gets a little more than its share.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::http::auth::Shown;

/// Clients remembered at most: [`SETS`] times [`WAYS`], 16 bytes each.
const SETS: usize = 8192;
const WAYS: usize = 8;

/// A client, and the time at which its bucket is full again, in nanoseconds since the start.
#[derive(Clone, Copy, Default)]
struct Bucket {
    client: u64,
    full_at: u64,
}

/// See the module.
pub(super) struct Rate {
    sets: Box<[Mutex<[Bucket; WAYS]>]>,
    /// Where a client lies is nobody's choice.
    random: RandomState,
    began: Instant,
    /// One request, in nanoseconds.
    one: u64,
    /// A full bucket, in nanoseconds.
    whole: u64,
}

impl Rate {
    pub(super) fn new(per_second: u32, burst: u32) -> Self {
        let one = 1_000_000_000 / u64::from(per_second.max(1));
        Self {
            sets: (0..SETS).map(|_| Mutex::default()).collect(),
            random: RandomState::new(),
            began: Instant::now(),
            one,
            whole: one * u64::from(burst.max(1)),
        }
    }

    /// The number of whoever asks.
    pub(super) fn client(&self, shown: &Shown, address: Option<IpAddr>) -> u64 {
        match shown {
            Shown::Buyer(buyer) => self.random.hash_one(("buyer", &**buyer)),
            Shown::Credential(hash) => self.random.hash_one(("credential", hash)),
            Shown::Nothing => self.random.hash_one(("address", address.map(network))),
        }
    }

    /// Takes one request out of the client's bucket.
    ///
    /// # Errors
    /// It is empty: in how many seconds there is one again, at least 1.
    pub(super) fn take(&self, client: u64) -> Result<(), u32> {
        let now = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.take_at(client, now)
    }

    fn take_at(&self, client: u64, now: u64) -> Result<(), u32> {
        let set = usize::try_from(client % SETS as u64).unwrap_or_default();
        let mut set = self.sets[set].lock().unwrap_or_else(PoisonError::into_inner);
        let known = set.iter().position(|bucket| bucket.client == client);
        let at = known.unwrap_or_else(|| {
            let first = (0..WAYS).min_by_key(|at| set[*at].full_at);
            let first = first.unwrap_or_default();
            set[first] = Bucket { client, full_at: now };
            first
        });
        let bucket = &mut set[at];
        let full_at = bucket.full_at.max(now) + self.one;
        let over = full_at.saturating_sub(now + self.whole);
        if over == 0 {
            bucket.full_at = full_at;
            return Ok(());
        }
        Err(u32::try_from(over.div_ceil(1_000_000_000)).unwrap_or(u32::MAX))
    }
}

fn network(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits() >> 64 << 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn taken(rate: &Rate, client: u64, now: u64) -> usize {
        (0..1_000)
            .take_while(|_| rate.take_at(client, now).is_ok())
            .count()
    }

    #[test]
    fn a_burst_then_the_rate_and_after_a_pause_a_burst_again() {
        let rate = Rate::new(10, 5);
        assert_eq!(taken(&rate, 1, SECOND), 5);
        assert_eq!(rate.take_at(1, SECOND), Err(1));
        assert_eq!(taken(&rate, 1, SECOND + SECOND / 10), 1);
        assert_eq!(taken(&rate, 1, SECOND + SECOND / 10 * 3), 2);
        assert_eq!(taken(&rate, 1, 100 * SECOND), 5, "no more than a burst");
        assert_eq!(taken(&rate, 2, SECOND), 5, "the other one's is its own");
    }

    #[test]
    fn whoever_is_told_when_to_come_back_is_served_then() {
        let rate = Rate::new(1, 3);
        assert_eq!(taken(&rate, 1, 0), 3);
        let seconds = rate.take_at(1, 0).unwrap_err();
        assert_eq!(seconds, 1);
        assert_eq!(rate.take_at(1, u64::from(seconds) * SECOND), Ok(()));
    }

    #[test]
    fn more_clients_than_fit_leave_memory_as_it_is_and_the_busiest_where_they_are() {
        let rate = Rate::new(1, 100);
        let sets = u64::try_from(SETS).unwrap();
        // All of them in one set.
        assert_eq!(taken(&rate, 0, 0), 100);
        for other in 1..1_000 {
            assert_eq!(rate.take_at(other * sets, 0), Ok(()));
        }
        assert!(
            rate.take_at(0, 0).is_err(),
            "not forgotten for those who came once"
        );
    }

    #[test]
    fn a_subscriber_is_one_client_under_all_of_his_addresses() {
        let rate = Rate::new(1, 1);
        let client = |address: &str| rate.client(&Shown::Nothing, Some(address.parse().unwrap()));
        assert_eq!(client("2001:db8::1"), client("2001:db8::2:3"));
        assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
        assert_eq!(client("192.0.2.1"), client("::ffff:192.0.2.1"));
        assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
        assert_ne!(
            rate.client(&Shown::Buyer("ada".into()), None),
            rate.client(&Shown::Buyer("bob".into()), None)
        );
    }
}

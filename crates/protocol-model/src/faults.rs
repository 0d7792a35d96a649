//! Owns what happens to Redis itself: emptied, failed over to an older copy, a key lost, a field changed by
//! somebody else, a lease that expires under its loader.

use crate::config::Config;
use crate::state::{Redis, State};
use crate::steps::{Key, Step, Successor};

/// Everything that can happen to Redis in this state.
pub(crate) fn of_redis(config: &Config, state: &State, out: &mut Vec<Successor>) {
    let faults = &config.faults;
    let exists = state.redis != Redis::default();
    if faults.lease_expiry && state.redis.lease != 0 {
        let mut next = *state;
        next.redis.lease = 0;
        out.push((Step::LeaseExpires, Ok(next)));
    }
    if state.spent.flushes < faults.flushes && exists {
        let mut next = *state;
        next.redis = Redis::default();
        next.spent.flushes += 1;
        out.push((Step::Flush, Ok(next)));
    }
    if state.has_copy() {
        let mut next = *state;
        next.redis = std::mem::take(&mut next.copy);
        next.spent.failovers += 1;
        out.push((Step::Failover, Ok(next)));
    } else if state.spent.copies < faults.failovers && exists {
        let mut next = *state;
        next.copy = state.redis;
        next.spent.copies += 1;
        out.push((Step::Copy, Ok(next)));
    }
    if state.redis.loaded() {
        damage(config, state, out);
    }
}

/// Damage to the keys of a loaded product.
fn damage(config: &Config, state: &State, out: &mut Vec<Successor>) {
    if state.spent.key_losses < config.faults.key_losses {
        for key in [Key::Counter, Key::Gate, Key::Sold] {
            let mut next = *state;
            next.spent.key_losses += 1;
            match key {
                Key::Counter => (next.redis.has_counter, next.redis.counter) = (false, 0),
                Key::Sold => next.redis.sold = 0,
                Key::Gate => {
                    next.redis = Redis {
                        counter: state.redis.counter,
                        has_counter: true,
                        sold: state.redis.sold,
                        ..Redis::default()
                    };
                }
            }
            out.push((Step::LoseKey { key }, Ok(next)));
        }
    }
    if state.spent.corruptions < config.faults.corruptions {
        for by in [-1, 1] {
            let mut next = *state;
            next.spent.corruptions += 1;
            next.redis.counter += by;
            out.push((Step::CorruptCounter { by }, Ok(next)));
            let mut next = *state;
            next.spent.corruptions += 1;
            next.redis.v = state.redis.v.wrapping_add_signed(by);
            if by > 0 || state.redis.v > 0 {
                out.push((Step::CorruptV { by }, Ok(next)));
            }
        }
    }
    if state.spent.lost_ids < config.faults.lost_ids {
        for id in (0..config.quantities.len()).filter(|id| state.redis.sold >> id & 1 == 1) {
            let mut next = *state;
            next.spent.lost_ids += 1;
            next.redis.sold &= !(1 << id);
            out.push((Step::LoseId { id }, Ok(next)));
        }
    }
}

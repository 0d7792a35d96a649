//! The breaker: stops calling a Redis that fails or is slow, and lets it back in only after a probe.
//!
//! The state machine is failsafe's. Its rough edges are kept in here: it goes half-open only when somebody asks for
//! permission, and then lets everybody through, so the prober is the only one who asks. Calls only read a mirror of
//! the state. A call that was begun before the last change of state says nothing any more: its result is dropped.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use failsafe::failure_policy::{
    ConsecutiveFailures, OrElse, SuccessRateOverTimeWindow, consecutive_failures,
    success_rate_over_time_window,
};
use failsafe::{FailurePolicy, Instrument, StateMachine};

use crate::config::BreakerConfig;
use crate::domain::words::{BreakerState, CallResult};
use crate::metrics;

type Policy = OrElse<SuccessRateOverTimeWindow<Delays>, ConsecutiveFailures<Delays>>;

/// See the module. One per instance of the service.
pub struct Breaker {
    machine: StateMachine<Policy, Mirror>,
    mirror: Arc<MirrorState>,
    /// Results and changes of state, one at a time.
    one_at_a_time: Mutex<()>,
    slow: Duration,
}

/// What calls read instead of the state machine.
struct MirrorState {
    state: AtomicU8,
    /// Grows with every change of state.
    epoch: AtomicU64,
    forced: AtomicBool,
    delay_ms: Arc<AtomicU64>,
    since: Mutex<Instant>,
}

struct Mirror(Arc<MirrorState>);

/// Permission for one call, good for the time of one state.
#[derive(Debug, Clone, Copy)]
pub struct Permit(u64);

/// The breaker as the console shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakerView {
    /// State.
    pub state: BreakerState,
    /// Held open by an operator: not probed until reset.
    pub forced: bool,
    /// How long it has been in this state.
    pub since: Duration,
    /// How long until the next probe, while open and not forced.
    pub next_probe: Option<Duration>,
    /// Changes of state since the start.
    pub transitions: u64,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(config: &BreakerConfig) -> Self {
        let delay_ms = Arc::new(AtomicU64::new(config.delay_ms));
        let delays = Delays {
            next: Duration::from_millis(config.delay_ms),
            max: Duration::from_millis(config.delay_max_ms),
            last_ms: delay_ms.clone(),
        };
        let rate = success_rate_over_time_window(
            RATE_REQUIRED,
            RATE_CALLS_MIN,
            Duration::from_secs(config.rate_window_s),
            delays.clone(),
        );
        let policy = rate.or_else(consecutive_failures(config.failures, delays));
        let mirror = Arc::new(MirrorState {
            state: AtomicU8::new(index(BreakerState::Closed)),
            epoch: AtomicU64::new(0),
            forced: AtomicBool::new(false),
            delay_ms,
            since: Mutex::new(Instant::now()),
        });
        Self {
            machine: StateMachine::new(policy, Mirror(mirror.clone())),
            mirror,
            one_at_a_time: Mutex::new(()),
            slow: Duration::from_millis(config.slow_ms),
        }
    }

    /// The state, at the cost of reading an atomic.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        if self.mirror.forced.load(Ordering::Acquire) {
            BreakerState::Open
        } else {
            self.mirror.state()
        }
    }

    /// Permission for a call that counts; `None` unless closed. Never changes the state.
    #[must_use]
    pub fn permit(&self) -> Option<Permit> {
        let epoch = self.mirror.epoch.load(Ordering::Acquire);
        (self.state() == BreakerState::Closed).then_some(Permit(epoch))
    }

    /// Counts a call: a failure opens after enough of them, and so does an answer that took too long. Refusals and
    /// errors of single scripts are answers. Does nothing when the state has changed since the permit.
    pub fn record(&self, permit: Permit, answered: bool, took: Duration) -> CallResult {
        let result = match answered {
            false => CallResult::Failed,
            true if took >= self.slow => CallResult::Slow,
            true => CallResult::Answered,
        };
        let _one = self.one_at_a_time();
        if permit.0 != self.mirror.epoch.load(Ordering::Acquire) {
            return CallResult::Late;
        }
        match result {
            CallResult::Answered => self.machine.on_success(),
            _ => self.machine.on_error(),
        }
        result
    }

    /// Asks to probe. Only the prober does: while open and past the delay it makes the breaker half-open.
    #[must_use]
    pub fn may_probe(&self) -> bool {
        let _one = self.one_at_a_time();
        let waiting =
            self.mirror.state() == BreakerState::Open && !self.mirror.forced.load(Ordering::Acquire);
        waiting && self.machine.is_call_permitted()
    }

    /// What the probe has found: closed again, or open for longer. Nothing, when an operator has come between.
    pub fn probed(&self, healthy: bool) {
        let _one = self.one_at_a_time();
        if self.state() != BreakerState::HalfOpen {
            return;
        }
        if healthy {
            self.machine.on_success()
        } else {
            self.machine.on_error()
        }
    }

    /// Holds the breaker open until [`Self::reset`].
    pub fn force_open(&self) {
        let _one = self.one_at_a_time();
        if !self.mirror.forced.swap(true, Ordering::AcqRel) {
            self.mirror.changed(BreakerState::Open);
        }
    }

    /// Ends a forced opening and forgets the failures: the next calls go to Redis again.
    pub fn reset(&self) {
        let _one = self.one_at_a_time();
        self.mirror.forced.store(false, Ordering::Release);
        self.machine.reset();
        if self.mirror.state() == BreakerState::Closed {
            self.mirror.changed(BreakerState::Closed);
        }
    }

    /// For the console.
    #[must_use]
    pub fn view(&self) -> BreakerView {
        let since = self
            .mirror
            .since
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .elapsed();
        let forced = self.mirror.forced.load(Ordering::Acquire);
        let delay = Duration::from_millis(self.mirror.delay_ms.load(Ordering::Acquire));
        let state = self.state();
        BreakerView {
            state,
            forced,
            since,
            next_probe: (state == BreakerState::Open && !forced).then(|| delay.saturating_sub(since)),
            transitions: self.mirror.epoch.load(Ordering::Acquire),
        }
    }

    fn one_at_a_time(&self) -> std::sync::MutexGuard<'_, ()> {
        self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Share of calls that has to be answered in time, over the window of the rate.
const RATE_REQUIRED: f64 = 0.5;
/// Calls below which the rate says nothing.
const RATE_CALLS_MIN: u32 = 20;

impl MirrorState {
    fn state(&self) -> BreakerState {
        let index = usize::from(self.state.load(Ordering::Acquire));
        BreakerState::ALL
            .get(index)
            .copied()
            .unwrap_or(BreakerState::Open)
    }

    fn changed(&self, state: BreakerState) {
        // A forced opening does not show in the machine; the machine's own state stays in the mirror beneath it.
        if !self.forced.load(Ordering::Acquire) {
            self.state.store(index(state), Ordering::Release);
        }
        self.epoch.fetch_add(1, Ordering::AcqRel);
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        metrics::breaker_changed(state);
    }
}

fn index(state: BreakerState) -> u8 {
    BreakerState::ALL
        .iter()
        .position(|other| *other == state)
        .and_then(|at| u8::try_from(at).ok())
        .unwrap_or(0)
}

impl Instrument for Mirror {
    fn on_call_rejected(&self) {}

    fn on_open(&self) {
        self.0.changed(BreakerState::Open);
    }

    fn on_half_open(&self) {
        self.0.changed(BreakerState::HalfOpen);
    }

    fn on_closed(&self) {
        // The machine reports its first state too; that is no change.
        if self.0.state() != BreakerState::Closed {
            self.0.changed(BreakerState::Closed);
        }
    }
}

/// How long the breaker stays open: each time twice as long, up to a maximum. failsafe starts over when it closes.
#[derive(Debug, Clone)]
struct Delays {
    next: Duration,
    max: Duration,
    last_ms: Arc<AtomicU64>,
}

impl Iterator for Delays {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let delay = self.next.min(self.max);
        self.next = delay.saturating_mul(2);
        self.last_ms.store(
            u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
            Ordering::Release,
        );
        Some(delay)
    }
}

#[cfg(test)]
#[path = "breaker_tests.rs"]
mod tests;

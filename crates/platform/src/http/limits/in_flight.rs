//! Requests in flight: one count for the whole service. Two atomic operations per request, no lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// See the module.
pub(super) struct InFlight {
    now: AtomicUsize,
    max: usize,
}

/// One of them. Given back when it is dropped: with the answer, or when the client hangs up.
pub(crate) struct Place(Arc<InFlight>);

impl InFlight {
    pub(super) fn new(max: usize) -> Self {
        Self {
            now: AtomicUsize::new(0),
            max,
        }
    }

    /// `None`: all are taken.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Place> {
        let place = Place(Arc::clone(self));
        (self.now.fetch_add(1, Ordering::Relaxed) < self.max).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_and_no_more_and_a_place_that_is_left_is_free() {
        let in_flight = Arc::new(InFlight::new(2));
        let (first, second) = (in_flight.enter(), in_flight.enter());
        assert!(first.is_some() && second.is_some());
        for _ in 0..3 {
            assert!(in_flight.enter().is_none());
        }
        drop(first);
        assert!(in_flight.enter().is_some());
    }
}

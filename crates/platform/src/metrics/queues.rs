//! Queues: how much waits, for how long, and what found no room.

use metrics::{Counter, Histogram, counter, gauge, histogram};

use super::{at_scrape, count};

const ITEMS: &str = "hotstock_queue_items";
const CAPACITY: &str = "hotstock_queue_capacity_items";
const WAIT: &str = "hotstock_queue_wait_seconds";
const REFUSED: &str = "hotstock_queue_refused_total";

pub(super) const HELP: &[(&str, &str)] = &[
    (ITEMS, "Items that wait in a queue."),
    (CAPACITY, "Items that may wait in it."),
    (
        WAIT,
        "How long the first item of each batch has waited, in seconds: nobody in the batch has waited longer.",
    ),
    (REFUSED, "Items that found no room in it."),
];

/// What a queue counts itself.
pub(crate) struct QueueMarks {
    pub(crate) wait: Histogram,
    pub(crate) refused: Counter,
}

/// What would have come into this queue later was refused before it was begun, because the queue is behind.
pub fn refused_ahead(name: &'static str) {
    counter!(REFUSED, "queue" => name).increment(1);
}

/// Watches a queue. `waiting` says how many items wait, and nothing once the queue is gone.
pub(crate) fn queue(
    name: &'static str,
    capacity: usize,
    waiting: impl Fn() -> Option<usize> + Send + 'static,
) -> QueueMarks {
    at_scrape(move || {
        let waiting = waiting();
        if let Some(waiting) = waiting {
            gauge!(ITEMS, "queue" => name).set(count(waiting));
            gauge!(CAPACITY, "queue" => name).set(count(capacity));
        }
        waiting.is_some()
    });
    let refused = counter!(REFUSED, "queue" => name);
    refused.absolute(0);
    QueueMarks {
        wait: histogram!(WAIT, "queue" => name),
        refused,
    }
}

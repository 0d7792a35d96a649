//! Watching orders until they are final: for those who wait for a status, whichever instance changes it.
//!
//! One query a moment for all orders that somebody watches; nothing at all while nobody does. The number of watchers is
//! bounded. Nothing here is needed for an order to get on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use contracts::order::OrderStatus;
use platform::database::Pool;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use crate::db::orders;
use crate::domain::order::Order;
use crate::metrics;

/// How often watched orders are looked at.
const EVERY: Duration = Duration::from_millis(100);

/// Whether nothing but a cancel or an operator can change it any more.
#[must_use]
pub fn is_final(status: OrderStatus) -> bool {
    status != OrderStatus::Pending
}

/// The orders that somebody watches. Cheap to clone.
#[derive(Clone)]
pub struct Watch {
    watched: Arc<Mutex<HashMap<i64, watch::Sender<Order>>>>,
    begun: Arc<Notify>,
    places: Arc<Semaphore>,
}

/// Somebody who watches an order. Dropping it makes room for another.
pub struct Viewer {
    order: watch::Receiver<Order>,
    _place: OwnedSemaphorePermit,
}

impl Viewer {
    /// The order as it was seen last.
    pub fn order(&mut self) -> Order {
        self.order.borrow_and_update().clone()
    }

    /// Waits until it is seen with another status or attempt. `false`: nobody looks any more.
    pub async fn changed(&mut self) -> bool {
        self.order.changed().await.is_ok()
    }
}

impl Watch {
    /// At most `viewers_max` watchers at once.
    #[must_use]
    pub fn new(viewers_max: usize) -> Self {
        Self {
            watched: Arc::default(),
            begun: Arc::default(),
            places: Arc::new(Semaphore::new(viewers_max)),
        }
    }

    /// Watches an order. `None`: there is no room.
    #[must_use]
    pub fn view(&self, order: Order) -> Option<Viewer> {
        let place = self.places.clone().try_acquire_owned().ok()?;
        let receiver = self
            .lock()
            .entry(order.id)
            .or_insert_with(|| watch::Sender::new(order))
            .subscribe();
        self.begun.notify_one();
        Some(Viewer {
            order: receiver,
            _place: place,
        })
    }

    /// The order once it is final, or as it is at `deadline`.
    pub async fn until_final(&self, pool: &Pool, order: Order, deadline: Instant) -> Order {
        self.until(pool, order, deadline, |order| is_final(order.status))
            .await
    }

    /// The order once it is CANCELLED, or as it is at `deadline`.
    pub async fn until_cancelled(&self, pool: &Pool, order: Order, deadline: Instant) -> Order {
        self.until(pool, order, deadline, |order| {
            order.status == OrderStatus::Cancelled
        })
        .await
    }

    async fn until(
        &self,
        pool: &Pool,
        order: Order,
        deadline: Instant,
        reached: fn(&Order) -> bool,
    ) -> Order {
        if reached(&order) {
            return order;
        }
        let Some(mut viewer) = self.view(order.clone()) else {
            return order;
        };
        let waiting = async { while !reached(&viewer.order()) && viewer.changed().await {} };
        tokio::time::timeout_at(deadline, waiting).await.ok();
        // Once more from the source: the last look may be a moment old.
        match orders::get(pool, order.id).await {
            Ok(Some(now)) => now,
            Ok(None) | Err(_) => viewer.order(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i64, watch::Sender<Order>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks, for ever.
    pub async fn run(self, pool: Pool) {
        loop {
            let ids: Vec<i64> = {
                let mut watched = self.lock();
                watched.retain(|_, sender| sender.receiver_count() > 0);
                watched.keys().copied().collect()
            };
            if ids.is_empty() {
                self.begun.notified().await;
                continue;
            }
            match orders::several(&pool, &ids).await {
                Ok(orders) => self.show(orders),
                Err(error) => metrics::watch_failed(&error),
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    fn show(&self, orders: Vec<Order>) {
        let watched = self.lock();
        for order in orders {
            if let Some(sender) = watched.get(&order.id) {
                sender.send_if_modified(|seen| {
                    let changed = (seen.status, seen.attempt) != (order.status, order.attempt);
                    *seen = order;
                    changed
                });
            }
        }
    }
}

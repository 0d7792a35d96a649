//! Live snapshots as server-sent events: built once a round for all who watch the same thing, and not at all while
//! nobody does. Viewers are capped. A slow viewer misses snapshots and holds nothing up. Streams end at shutdown, so
//! that draining does not wait for them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::Bytes;
use contracts::error::ErrorCode;
use futures_util::stream;
use serde::Serialize;
use serde_json::json;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::http::Problem;

/// Things that are watched, each by its key. Cheap to clone.
pub struct Live<K> {
    inner: Arc<Inner<K>>,
}

struct Inner<K> {
    watched: Mutex<HashMap<K, watch::Sender<Bytes>>>,
    begun: Notify,
    places: Arc<Semaphore>,
    viewers_max: usize,
    stop: CancellationToken,
}

impl<K> Clone for Live<K> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<K: Eq + Hash + Clone> Live<K> {
    /// For at most `viewers_max` viewers at once, until `stop`.
    #[must_use]
    pub fn new(viewers_max: usize, stop: CancellationToken) -> Self {
        Self {
            inner: Arc::new(Inner {
                watched: Mutex::default(),
                begun: Notify::new(),
                places: Arc::new(Semaphore::new(viewers_max)),
                viewers_max,
                stop,
            }),
        }
    }

    /// One more viewer: events named `snapshot`, the latest first.
    ///
    /// # Errors
    /// 429 where there is no room, 503 while the service stops.
    pub fn stream(&self, key: K) -> Result<HttpResponse, Problem> {
        if self.inner.stop.is_cancelled() {
            return Err(Problem::new(ErrorCode::RetryLater).details(json!({ "reason": "draining" })));
        }
        let Ok(place) = self.inner.places.clone().try_acquire_owned() else {
            return Err(Problem::new(ErrorCode::TooManyRequests)
                .details(json!({ "viewersMax": self.inner.viewers_max })));
        };
        let mut snapshots = match self.watched().entry(key) {
            Entry::Occupied(watched) => watched.get().subscribe(),
            Entry::Vacant(free) => free.insert(watch::Sender::new(Bytes::new())).subscribe(),
        };
        // What there is already is shown at once.
        snapshots.mark_changed();
        self.inner.begun.notify_one();
        let viewer = Viewer {
            snapshots,
            stop: self.inner.stop.clone(),
            _place: place,
        };
        Ok(HttpResponse::Ok()
            .content_type("text/event-stream")
            .insert_header(("Cache-Control", "no-store"))
            .streaming(stream::unfold(viewer, Viewer::next)))
    }

    /// How many watch.
    #[must_use]
    pub fn viewers(&self) -> usize {
        self.inner.viewers_max - self.inner.places.available_permits()
    }

    /// What those who watch `key` are shown from now on.
    pub fn show(&self, key: &K, snapshot: &impl Serialize) {
        let Ok(json) = serde_json::to_string(snapshot) else {
            return;
        };
        if let Some(sender) = self.watched().get(key) {
            sender.send_replace(Bytes::from(format!("event: snapshot\ndata: {json}\n\n")));
        }
    }

    /// Waits until somebody watches and `since` is at least `every` ago; then all keys that are watched.
    pub async fn due(&self, since: Instant, every: Duration) -> Vec<K> {
        tokio::time::sleep_until(since + every).await;
        loop {
            let keys: Vec<K> = {
                let mut watched = self.watched();
                watched.retain(|_, sender| sender.receiver_count() > 0);
                watched.keys().cloned().collect()
            };
            if !keys.is_empty() {
                return keys;
            }
            self.inner.begun.notified().await;
        }
    }

    fn watched(&self) -> MutexGuard<'_, HashMap<K, watch::Sender<Bytes>>> {
        self.inner.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Viewer {
    snapshots: watch::Receiver<Bytes>,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl Viewer {
    async fn next(mut self) -> Option<(Result<Bytes, actix_web::Error>, Self)> {
        loop {
            tokio::select! {
                alive = self.snapshots.changed() => alive.ok()?,
                () = self.stop.cancelled() => return None,
            }
            let snapshot = self.snapshots.borrow_and_update().clone();
            if !snapshot.is_empty() {
                return Some((Ok(snapshot), self));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::body::{BodySize, MessageBody};
    use std::pin::Pin;

    async fn read(body: &mut actix_web::body::BoxBody) -> Option<String> {
        let next = std::future::poll_fn(|context| Pin::new(&mut *body).poll_next(context)).await;
        next.map(|bytes| String::from_utf8_lossy(&bytes.expect("no error")).into_owned())
    }

    fn body(live: &Live<u8>, key: u8) -> actix_web::body::BoxBody {
        let response = live.stream(key).expect("room");
        let body = response.into_body();
        assert_eq!(body.size(), BodySize::Stream);
        body
    }

    #[tokio::test]
    async fn viewers_of_one_key_share_its_snapshots_and_see_the_latest_at_once() {
        let live = Live::new(3, CancellationToken::new());
        let (mut first, mut other) = (body(&live, 1), body(&live, 2));
        live.show(&1, &json!({ "n": 1 }));
        let expected = "event: snapshot\ndata: {\"n\":1}\n\n";
        assert_eq!(read(&mut first).await.expect("a snapshot"), expected);
        let mut late = body(&live, 1);
        assert_eq!(read(&mut late).await.expect("a snapshot"), expected);
        live.show(&2, &json!({ "n": 2 }));
        assert!(read(&mut other).await.expect("a snapshot").contains("\"n\":2"));
    }

    #[tokio::test]
    async fn one_viewer_too_many_is_refused_until_another_leaves() {
        let live = Live::new(1, CancellationToken::new());
        let only = body(&live, 1);
        let refused = live.stream(2).expect_err("no room");
        assert_eq!(refused.code, ErrorCode::TooManyRequests);
        assert_eq!(live.viewers(), 1);
        drop(only);
        assert!(live.stream(2).is_ok());
    }

    #[tokio::test]
    async fn streams_end_when_the_service_stops_and_none_begins() {
        let stop = CancellationToken::new();
        let live = Live::new(2, stop.clone());
        let mut viewer = body(&live, 1);
        stop.cancel();
        assert_eq!(read(&mut viewer).await, None);
        assert_eq!(live.stream(1).expect_err("stopping").code, ErrorCode::RetryLater);
    }

    #[tokio::test]
    async fn nothing_is_due_while_nobody_watches() {
        let live = Live::new(2, CancellationToken::new());
        let long_ago = Instant::now() - Duration::from_secs(1);
        let due = tokio::time::timeout(Duration::from_millis(50), live.due(long_ago, Duration::ZERO)).await;
        assert!(due.is_err(), "{due:?}");
        let viewer = body(&live, 7);
        assert_eq!(live.due(long_ago, Duration::ZERO).await, [7]);
        drop(viewer);
        let due = tokio::time::timeout(Duration::from_millis(50), live.due(long_ago, Duration::ZERO)).await;
        assert!(due.is_err(), "{due:?}");
    }
}

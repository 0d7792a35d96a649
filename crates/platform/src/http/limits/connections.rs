//! Connections of one listener: one more than there may be is closed as soon as it is accepted, and those that are there
//! go on. (The server below would rather stop accepting: everybody would wait, with no answer, for somebody to leave.)

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use socket2::SockRef;
use std::net::Shutdown;

use crate::metrics::{self, Shed, shed};

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Connections {
    open: Arc<AtomicUsize>,
    max: usize,
}

/// One of them; it ends with the connection.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connections {
    /// `listener` is its label in the metrics.
    pub(crate) fn new(listener: &'static str, max: usize) -> Self {
        let open = Arc::new(AtomicUsize::new(0));
        let looking = Arc::downgrade(&open);
        metrics::connections(listener, move || {
            looking.upgrade().map(|open| open.load(Ordering::Relaxed))
        });
        Self { open, max }
    }

    /// A connection was accepted: it is counted for as long as it lives, or closed.
    pub(crate) fn accepted(&self, stream: &dyn Any, connection: &mut Extensions) {
        let open = Open(Arc::clone(&self.open));
        if self.open.fetch_add(1, Ordering::Relaxed) < self.max {
            connection.insert(open);
            return;
        }
        shed(Shed::Connection);
        let encrypted = || Some(stream.downcast_ref::<TlsStream<TcpStream>>()?.get_ref().0);
        if let Some(stream) = stream.downcast_ref::<TcpStream>().or_else(encrypted) {
            // An error means that the other side was first.
            SockRef::from(stream).shutdown(Shutdown::Both).ok();
        }
    }
}

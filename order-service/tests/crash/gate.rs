//! A proxy on the way between two programs that knows their protocol and can stop one message of one product: before it
//! gets through, or right after.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::wire::{Conversation, Direction, Kind, Piece, Protocol, Unfinished};

/// Passes everything on, but for what is to be stopped. Dropping it closes its port and every connection.
pub(crate) struct Gate {
    shared: Arc<Shared>,
    port: u16,
    acceptor: JoinHandle<()>,
}

struct Shared {
    upstream: SocketAddr,
    protocol: Protocol,
    stops: watch::Sender<HashMap<u64, Armed>>,
    next: AtomicU64,
    /// Counts how often all connections were cut.
    cuts: watch::Sender<u64>,
}

/// What is to be stopped.
#[derive(Clone, Debug)]
pub(crate) struct What {
    pub(crate) kind: Kind,
    /// Words that only messages about one product have.
    pub(crate) about: String,
    /// Whether it still gets through, and only what comes after it is stopped.
    pub(crate) passes: bool,
}

#[derive(Clone)]
struct Armed {
    what: What,
    /// Pieces that are being held by it.
    held: u64,
}

/// As long as it lives, the message is stopped each time it comes by.
pub(crate) struct Stop {
    shared: Arc<Shared>,
    id: u64,
}

impl Gate {
    pub(crate) async fn start(upstream: SocketAddr, protocol: Protocol) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            upstream,
            protocol,
            stops: watch::Sender::default(),
            next: AtomicU64::new(0),
            cuts: watch::Sender::default(),
        });
        let acceptor = tokio::spawn(accept(Arc::clone(&shared), listener));
        Ok(Self {
            shared,
            port,
            acceptor,
        })
    }

    /// The url of what is behind it, by way of it.
    pub(crate) fn url(&self, url: &str) -> String {
        let port = self.shared.upstream.port().to_string();
        url.replacen(
            &format!("127.0.0.1:{port}"),
            &format!("127.0.0.1:{}", self.port),
            1,
        )
    }

    /// Stops a message from now on.
    pub(crate) fn stop(&self, what: What) -> Stop {
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        self.shared.stops.send_modify(|stops| {
            stops.insert(id, Armed { what, held: 0 });
        });
        Stop {
            shared: Arc::clone(&self.shared),
            id,
        }
    }

    /// Cuts every connection, and with it what is held: whoever was at one end is dead.
    pub(crate) fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

impl Stop {
    /// Whether the message is being held at this moment.
    pub(crate) fn holds(&self) -> bool {
        self.shared
            .stops
            .borrow()
            .get(&self.id)
            .is_some_and(|armed| armed.held > 0)
    }
}

impl Drop for Stop {
    /// What it held gets through, if there is still a connection for it.
    fn drop(&mut self) {
        self.shared.stops.send_modify(|stops| {
            stops.remove(&self.id);
        });
    }
}

impl Shared {
    fn stopped_by(&self, piece: &Piece) -> Option<(u64, What)> {
        let stops = self.stops.borrow();
        let concerns = |what: &What| {
            piece.kind == Some(what.kind) && piece.about.iter().any(|text| text.contains(&what.about))
        };
        let found = stops.iter().find(|(_, armed)| concerns(&armed.what));
        found.map(|(id, armed)| (*id, armed.what.clone()))
    }

    /// Holds a piece until nobody stops it any more, or its connection ends.
    async fn hold(&self, id: u64) {
        let _held = Held::new(self, id);
        let mut stops = self.stops.subscribe();
        stops.wait_for(|stops| !stops.contains_key(&id)).await.ok();
    }
}

/// A piece that is held; counted as long as its connection is there.
struct Held<'a> {
    shared: &'a Shared,
    id: u64,
}

impl<'a> Held<'a> {
    fn new(shared: &'a Shared, id: u64) -> Self {
        let held = Self { shared, id };
        held.count(1);
        held
    }

    fn count(&self, more: i64) {
        self.shared.stops.send_modify(|stops| {
            if let Some(armed) = stops.get_mut(&self.id) {
                armed.held = armed.held.saturating_add_signed(more);
            }
        });
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.count(-1);
    }
}

async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        connections.spawn(serve(Arc::clone(&shared), client));
    }
}

async fn serve(shared: Arc<Shared>, mut client: TcpStream) {
    let mut cuts = shared.cuts.subscribe();
    let relayed = async {
        let mut server = TcpStream::connect(shared.upstream).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let said = Mutex::new(Conversation::new(shared.protocol));
        let (client_reads, client_writes) = client.split();
        let (server_reads, server_writes) = server.split();
        tokio::select! {
            ended = pump(&shared, &said, Direction::Out, client_reads, server_writes) => ended,
            ended = pump(&shared, &said, Direction::In, server_reads, client_writes) => ended,
        }
    };
    tokio::select! {
        _ = relayed => {}
        _ = cuts.changed() => {}
    }
}

async fn pump(
    shared: &Shared,
    said: &Mutex<Conversation>,
    way: Direction,
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut rest = Unfinished::default();
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        let pieces =
            said.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pieces(way, &mut rest, &buffer[..length]);
        for piece in pieces {
            match shared.stopped_by(&piece) {
                None => to.write_all(&piece.bytes).await?,
                Some((id, what)) if what.passes => {
                    to.write_all(&piece.bytes).await?;
                    shared.hold(id).await;
                }
                Some((id, _)) => {
                    shared.hold(id).await;
                    to.write_all(&piece.bytes).await?;
                }
            }
        }
    }
}

//! A TCP proxy in front of one server that can be told to misbehave, and told otherwise again, while it is in use.
//!
//! It knows no protocol: faults are about connections and bytes. What has lost bytes is never repaired: such a
//! connection is reset when the fault ends, because the rest of its stream would mean something else.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Connections at once; more are closed at once.
pub const CONNECTIONS_MAX: usize = 1024;
const BACKLOG: u32 = 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const CHUNK: usize = 16 * 1024;

/// What the proxy does to connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    Pass,
    /// Nobody listens: connecting is refused, and existing connections are reset.
    Refuse,
    /// Accepts and takes whatever is sent, in both directions, and passes on nothing.
    Silence,
    /// Every connection is reset, new ones as soon as they are accepted.
    Reset,
    /// Each piece of a reply is late, by a time within this range in ms, evenly.
    Latency(RangeInclusive<u64>),
    /// Of the replies on each connection so many bytes arrive, then the connection ends.
    CutAfter(u64),
    /// Requests arrive and are executed; replies do not come back.
    DropReplies,
}

/// How much the faults have hit, since the proxy was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hits {
    /// Connections, each once per fault. (Of refused ones only those that existed: the kernel refuses the others.)
    pub connections: u64,
    /// Bytes swallowed, delayed or cut off.
    pub bytes: u64,
}

/// See the module. Dropping it closes its port and every connection.
pub struct Proxy {
    shared: Arc<Shared>,
    port: u16,
    acceptor: JoinHandle<()>,
}

struct Shared {
    /// Where connections lead.
    upstream: watch::Sender<SocketAddr>,
    fault: watch::Sender<Current>,
    connections_hit: AtomicU64,
    bytes_hit: AtomicU64,
}

/// The fault in force. The number tells two equal ones apart.
#[derive(Clone, Default)]
struct Current {
    number: u64,
    fault: Fault,
}

impl Proxy {
    /// Starts one on a free port of 127.0.0.1 that passes everything on. `upstream` need not listen yet.
    pub fn start(upstream: SocketAddr) -> Result<Self> {
        // Bound and never listening: it keeps the port ours while the proxy refuses connections.
        let holder = bound(0).context("no port for a proxy")?;
        let port = holder.local_addr()?.port();
        let listener = listen(port)?;
        let shared = Arc::new(Shared {
            upstream: watch::Sender::new(upstream),
            fault: watch::Sender::new(Current::default()),
            connections_hit: AtomicU64::new(0),
            bytes_hit: AtomicU64::new(0),
        });
        let acceptor = tokio::spawn(accept(Arc::clone(&shared), holder, port, listener));
        Ok(Self {
            shared,
            port,
            acceptor,
        })
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The url of the server, by way of the proxy: host and port of `url` are replaced, nothing else.
    pub fn url(&self, url: &str) -> Result<String> {
        let mut url = url::Url::parse(url)?;
        url.set_host(Some("127.0.0.1"))?;
        url.set_port(Some(self.port))
            .ok()
            .context("a url without a port")?;
        Ok(url.into())
    }

    /// What happens from now on, to existing connections too.
    pub fn set(&self, fault: Fault) {
        self.shared.fault.send_modify(|current| {
            current.number += 1;
            current.fault = fault;
        });
    }

    /// Leads to another server from now on. Existing connections are reset.
    pub fn retarget(&self, upstream: SocketAddr) {
        self.shared.upstream.send_replace(upstream);
    }

    /// How much the faults have hit so far.
    #[must_use]
    pub fn hits(&self) -> Hits {
        Hits {
            connections: self.shared.connections_hit.load(Ordering::Relaxed),
            bytes: self.shared.bytes_hit.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The connections are the acceptor's: they end with it.
        self.acceptor.abort();
    }
}

fn bound(port: u16) -> Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    Ok(socket)
}

fn listen(port: u16) -> Result<TcpListener> {
    Ok(bound(port)?.listen(BACKLOG)?)
}

async fn accept(shared: Arc<Shared>, _holder: TcpSocket, port: u16, first: TcpListener) {
    let mut connections = JoinSet::new();
    let mut fault = shared.fault.subscribe();
    let mut listener = Some(first);
    loop {
        if fault.borrow_and_update().fault == Fault::Refuse {
            listener = None;
        } else if listener.is_none() {
            listener = listen(port).ok();
        }
        let accepting = async {
            match &listener {
                Some(listener) => listener.accept().await.ok(),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = fault.changed() => if changed.is_err() { return },
            Some((client, _)) = accepting => {
                while connections.try_join_next().is_some() {}
                if connections.len() < CONNECTIONS_MAX {
                    let connection = Connection { shared: Arc::clone(&shared), counted: AtomicU64::new(0) };
                    connections.spawn(connection.serve(client));
                }
            }
        }
    }
}

/// How a connection ends.
enum End {
    Closed,
    Reset,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Requests,
    Replies,
}

struct Connection {
    shared: Arc<Shared>,
    /// Number of the fault that has counted this connection last.
    counted: AtomicU64,
}

impl Connection {
    async fn serve(self, mut client: TcpStream) {
        let mut upstream = self.shared.upstream.subscribe();
        let end = tokio::select! {
            end = self.relay(&mut client) => end,
            end = self.until_reset() => end,
            _ = upstream.changed() => End::Reset,
        };
        if matches!(end, End::Reset) {
            client.set_zero_linger().ok();
        }
    }

    /// Until the fault in force resets connections.
    async fn until_reset(&self) -> End {
        let mut fault = self.shared.fault.subscribe();
        let resets = |current: &Current| matches!(current.fault, Fault::Reset | Fault::Refuse);
        let number = match fault.wait_for(resets).await {
            Ok(current) => current.number,
            Err(_) => return End::Reset,
        };
        self.hit(number, 0);
        End::Reset
    }

    async fn relay(&self, client: &mut TcpStream) -> End {
        let upstream = *self.shared.upstream.borrow();
        let connecting = TcpStream::connect(upstream);
        let Ok(Ok(mut server)) = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await else {
            return End::Reset;
        };
        client.set_nodelay(true).ok();
        server.set_nodelay(true).ok();
        let (client_reads, client_writes) = client.split();
        let (server_reads, server_writes) = server.split();
        tokio::select! {
            end = self.pump(Direction::Requests, client_reads, server_writes) => end,
            end = self.pump(Direction::Replies, server_reads, client_writes) => end,
        }
    }

    /// Carries the bytes of one direction, as far as the fault in force lets it.
    async fn pump(&self, direction: Direction, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> End {
        let mut changes = self.shared.fault.subscribe();
        let mut current = changes.borrow_and_update().clone();
        let mut buffer = vec![0; CHUNK];
        let (mut has_lost, mut passed) = (false, 0_u64);
        loop {
            let read = tokio::select! {
                changed = changes.changed() => if changed.is_ok() { None } else { return End::Reset },
                read = from.read(&mut buffer) => Some(read),
            };
            let now = changes.borrow_and_update().clone();
            if now.number != current.number {
                if has_lost {
                    return End::Reset;
                }
                (current, passed) = (now, 0);
            }
            let piece = match read {
                None => continue,
                Some(Ok(length)) if length > 0 => &buffer[..length],
                Some(_) => return End::Closed,
            };
            let mut allowed = piece.len();
            match (&current.fault, direction) {
                (Fault::Silence, _) | (Fault::DropReplies, Direction::Replies) => {
                    self.hit(current.number, piece.len());
                    has_lost = true;
                    continue;
                }
                (Fault::Latency(range), Direction::Replies) => {
                    self.hit(current.number, piece.len());
                    let late_ms = rand::random_range(range.clone());
                    tokio::time::sleep(Duration::from_millis(late_ms)).await;
                }
                (Fault::CutAfter(bytes), Direction::Replies) => {
                    let left = bytes.saturating_sub(passed);
                    allowed = allowed.min(usize::try_from(left).unwrap_or(usize::MAX));
                    passed += allowed as u64;
                }
                _ => {}
            }
            if to.write_all(&piece[..allowed]).await.is_err() {
                return End::Closed;
            }
            if allowed < piece.len() {
                self.hit(current.number, piece.len() - allowed);
                return End::Closed;
            }
        }
    }

    fn hit(&self, number: u64, bytes: usize) {
        self.shared.bytes_hit.fetch_add(bytes as u64, Ordering::Relaxed);
        if self.counted.swap(number, Ordering::Relaxed) != number {
            self.shared.connections_hit.fetch_add(1, Ordering::Relaxed);
        }
    }
}

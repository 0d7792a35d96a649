//! A load balancer in front of several instances of a service: every request goes to a ready one that has least to do.
//!
//! It asks each instance every [`PROBE_INTERVAL`] on `/readyz`. An instance that is not ready gets no further request; what
//! is under way there is waited for, and connections kept to it are closed. While none is ready a request waits. It
//! understands HTTP/1.1 requests with a length, and answers that end.
//!
//! What it may not do: ask twice. A request that was sent and not answered, or for which there was no connection, is answered
//! 502 and counted. So whoever is answered without fault through it owes that to the instances. Dropping it closes its
//! port and every connection.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::BytesMut;
use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::http::{Connection, Fault, HttpClient};

/// Between two probes of an instance.
pub const PROBE_INTERVAL: Duration = Duration::from_millis(50);
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a request waits for an instance that is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
const BACKLOG: u32 = 1024;
const HEADERS_MAX: usize = 64;
/// Of one request, head and body.
const REQUEST_MAX: usize = 1 << 20;
const READ_SIZE: usize = 4 << 10;

/// See the module.
pub struct Balancer {
    shared: Arc<Shared>,
    port: u16,
    tasks: Vec<JoinHandle<()>>,
}

/// Requests that got an answer from the balancer itself, since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// No instance was ready in time: 503.
    pub unserved: u64,
    /// The instance could not be reached, or broke the connection, or did not answer: 502.
    pub broken: u64,
}

struct Shared {
    instances: Vec<Instance>,
    /// Whether each instance is ready.
    ready: watch::Sender<Vec<bool>>,
    /// Where the search for the next instance begins.
    turn: AtomicUsize,
    unserved: AtomicU64,
    broken: AtomicU64,
}

struct Instance {
    url: String,
    /// Host and port.
    authority: String,
    under_way: AtomicUsize,
    idle: Mutex<Vec<Connection>>,
}

/// A request as it came.
struct Request {
    length: usize,
    is_kept: bool,
    has_answer_body: bool,
}

impl Balancer {
    /// Starts one on a free port of 127.0.0.1. `urls`: `http://HOST:PORT` of each instance. Nobody counts as ready before
    /// he says so.
    pub fn start(urls: &[String]) -> Result<Self> {
        let instance = |url: &String| {
            let authority = url
                .strip_prefix("http://")
                .context("only http:// is spoken here")?;
            Ok(Instance {
                url: url.clone(),
                authority: authority.trim_end_matches('/').to_owned(),
                under_way: AtomicUsize::new(0),
                idle: Mutex::default(),
            })
        };
        let instances = urls.iter().map(instance).collect::<Result<Vec<_>>>()?;
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let listener = socket.listen(BACKLOG)?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            ready: watch::Sender::new(vec![false; instances.len()]),
            instances,
            turn: AtomicUsize::new(0),
            unserved: AtomicU64::new(0),
            broken: AtomicU64::new(0),
        });
        let mut tasks = vec![tokio::spawn(accept(Arc::clone(&shared), listener))];
        for index in 0..urls.len() {
            let url = shared.instances[index].url.clone();
            let client = HttpClient::new(&url, PROBE_TIMEOUT).map_err(anyhow::Error::msg)?;
            tasks.push(tokio::spawn(probe(Arc::clone(&shared), index, client)));
        }
        Ok(Self { shared, port, tasks })
    }

    /// Where it listens, `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How many instances are ready.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.shared.ready.borrow().iter().filter(|ready| **ready).count()
    }

    /// Returns when every instance is ready.
    pub async fn all_ready(&self) {
        let mut ready = self.shared.ready.subscribe();
        // We hold the sender.
        let _ = ready.wait_for(|ready| ready.iter().all(|ready| *ready)).await;
    }

    /// What it had to answer itself.
    #[must_use]
    pub fn failures(&self) -> Failures {
        Failures {
            unserved: self.shared.unserved.load(Ordering::Relaxed),
            broken: self.shared.broken.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        // The connections are the first task's: they end with it.
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn probe(shared: Arc<Shared>, index: usize, mut client: HttpClient) {
    loop {
        let answer = client.request(Method::GET, "/readyz", &[], "").await;
        let is_ready = answer.is_ok_and(|answer| answer.status == StatusCode::OK);
        shared.ready.send_if_modified(|ready| {
            let has_changed = ready[index] != is_ready;
            ready[index] = is_ready;
            has_changed
        });
        if !is_ready {
            shared.instances[index].idle().clear();
        }
        tokio::time::sleep(PROBE_INTERVAL).await;
    }
}

async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        if let Ok((client, _)) = listener.accept().await {
            while connections.try_join_next().is_some() {}
            connections.spawn(serve(Arc::clone(&shared), client));
        }
    }
}

/// One client's connection, request after request.
async fn serve(shared: Arc<Shared>, mut client: TcpStream) {
    client.set_nodelay(true).ok();
    let (mut received, mut answer) = (BytesMut::new(), Vec::new());
    while let Some(request) = next_request(&mut client, &mut received).await {
        answer.clear();
        let bytes = received.split_to(request.length);
        if let Err((status, why)) = shared.pass(&bytes, request.has_answer_body, &mut answer).await {
            let body = format!("{{\"error\":\"BALANCER\",\"message\":\"{why}\",\"details\":null}}");
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
            answer = (head + &body).into_bytes();
        }
        if client.write_all(&answer).await.is_err() || !request.is_kept {
            return;
        }
    }
}

/// The next request, whole, at the beginning of what is received; `None` when there is none, or none that is understood.
async fn next_request(client: &mut TcpStream, received: &mut BytesMut) -> Option<Request> {
    loop {
        if let Some(request) = parse(received).ok()?
            && received.len() >= request.length
        {
            return Some(request);
        }
        if received.len() > REQUEST_MAX {
            return None;
        }
        received.reserve(READ_SIZE);
        if client.read_buf(received).await.ok()? == 0 {
            return None;
        }
    }
}

/// `None`: its head is not all there yet.
fn parse(received: &[u8]) -> Result<Option<Request>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(head_length) = head.parse(received)? else {
        return Ok(None);
    };
    let (mut body_length, mut is_kept) = (0_usize, head.version == Some(1));
    for header in head.headers.iter() {
        let value = std::str::from_utf8(header.value)?;
        if header.name.eq_ignore_ascii_case("Content-Length") {
            body_length = value.parse()?;
        } else if header.name.eq_ignore_ascii_case("Transfer-Encoding") {
            bail!("a body without a length");
        } else if header.name.eq_ignore_ascii_case("Connection") {
            is_kept &= !value.eq_ignore_ascii_case("close");
        }
    }
    let length = head_length.checked_add(body_length);
    let length = length
        .filter(|length| *length <= REQUEST_MAX)
        .context("too long")?;
    Ok(Some(Request {
        length,
        is_kept,
        has_answer_body: head.method != Some("HEAD"),
    }))
}

impl Shared {
    /// Sends a request to an instance; its answer goes to `answer`. The error is what is answered instead.
    async fn pass(
        &self,
        request: &[u8],
        has_body: bool,
        answer: &mut Vec<u8>,
    ) -> Result<(), (&'static str, String)> {
        let Some(instance) = self.choose().await else {
            self.unserved.fetch_add(1, Ordering::Relaxed);
            return Err(("503 Service Unavailable", String::from("no instance is ready")));
        };
        let exchanged = tokio::time::timeout(ANSWER_TIMEOUT, instance.exchange(request, has_body, answer));
        let exchanged = exchanged.await.unwrap_or(Err(Fault::Timeout));
        instance.under_way.fetch_sub(1, Ordering::Relaxed);
        exchanged.map_err(|fault| {
            self.broken.fetch_add(1, Ordering::Relaxed);
            ("502 Bad Gateway", format!("{}: {fault}", instance.authority))
        })
    }

    /// The ready instance with least under way, one more from now on; `None` when there is none for too long.
    async fn choose(&self) -> Option<&Instance> {
        let mut ready = self.ready.subscribe();
        let any = ready.wait_for(|ready| ready.contains(&true));
        let ready = tokio::time::timeout(READY_TIMEOUT, any).await.ok()?.ok()?;
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = self.instances.len();
        let in_turn = (0..count).map(|place| (turn + place) % count);
        let chosen = in_turn
            .filter(|index| ready[*index])
            .min_by_key(|index| self.instances[*index].under_way.load(Ordering::Relaxed))?;
        let instance = &self.instances[chosen];
        instance.under_way.fetch_add(1, Ordering::Relaxed);
        Some(instance)
    }
}

impl Instance {
    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn exchange(&self, request: &[u8], has_body: bool, answer: &mut Vec<u8>) -> Result<(), Fault> {
        let kept = self.idle().pop();
        let mut connection = match kept.filter(Connection::is_open) {
            Some(connection) => connection,
            None => Connection::open(&self.authority, None).await?,
        };
        let (heard, is_kept) = connection.exchange(request, has_body).await?;
        heard.pass_on(answer);
        if is_kept {
            self.idle().push(connection);
        }
        Ok(())
    }
}

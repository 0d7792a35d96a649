//! The two listeners of a service, and how it stops.
//!
//! The public listener has the service's API and health; the admin listener has the admin API, health and metrics.
//! On SIGTERM or SIGINT readiness turns to draining while everything is served for `server.shutdown_delay_ms` more, every
//! answer with `Connection: close`. Then the public listener closes, with it connections on which nothing is under way;
//! requests in flight end within the grace, then the admin listener closes and [`run`] returns. What the service holds
//! behind its handlers (queues, workers) is drained by the service afterwards. A second signal ends the process at once,
//! as kill -9 would: what was answered is in the ledger, the rest is asked for again.

use crate::config::ServerConfig;
use crate::http::auth::{ADMIN, Auth, Door, OPEN, Rule};
use crate::http::health::Health;
use crate::http::limits::{Connections, Limits};
use crate::http::{self, edge};
use crate::telemetry::Metrics;
use crate::tls::{self, TlsError};
use actix_web::body::MessageBody;
use actix_web::dev::{Server, ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::middleware::{Next, from_fn};
use actix_web::web::ServiceConfig;
use actix_web::{App, HttpResponse, HttpServer, web};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpSocket;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Connections the kernel keeps until they are accepted. A sale opens thousands within a second; with the usual 128
/// the rest would be dropped and come back a second later. (The kernel caps it at its own `somaxconn`.)
const ACCEPT_BACKLOG: u32 = 4096;
/// A client that does not finish its TLS handshake in this time is cut off.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
const ADMIN_WORKERS: usize = 1;

/// Why the service could not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be bound: in use, not ours, or not permitted.
    #[error("cannot listen on {address} (key `{key}`): {source}")]
    Bind {
        /// The key that holds the address.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// Nobody is asked who he is, and not only this machine can connect.
    #[error(
        "key `{key}` is {address}, allowed is a loopback address while nobody is asked for a key: set `auth.mode` to on"
    )]
    Exposed {
        /// The key that holds the address.
        key: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// The certificate of the listeners cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A signal handler cannot be installed.
    #[error("cannot listen for signals: {0}")]
    Signal(io::Error),
    /// A listener failed while serving.
    #[error("the {listener} listener failed: {source}")]
    Server {
        /// `public` or `admin`.
        listener: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
}

/// The two bound sockets. Clients may connect from now on and are served once [`run`] is.
pub struct Listeners {
    public: (TcpListener, SocketAddr),
    admin: (TcpListener, SocketAddr),
    /// What both are encrypted with, or the public one alone.
    tls: Option<rustls::ServerConfig>,
    auth: Auth,
    rules: &'static [Rule],
}

impl Listeners {
    /// Binds `server.bind` and `server.admin_bind`. `rules` say who may do what on the public one, beside what is open
    /// everywhere; all of the admin listener but health is for admins.
    ///
    /// # Errors
    /// [`ServeError::Bind`] or [`ServeError::Exposed`] naming key and address; [`ServeError::Tls`] naming key and file.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn bind(config: &ServerConfig, auth: Auth, rules: &'static [Rule]) -> Result<Self, ServeError> {
        if auth.is_off() {
            loopback_only(config)?;
        } else {
            warn_of_plain_text(config);
        }
        allow_descriptors(config);
        let tls = tls::listener(&config.tls)?;
        let bind = |key, address| listen(address).map_err(|source| ServeError::Bind { key, address, source });
        Ok(Listeners {
            public: bind("server.bind", config.bind)?,
            admin: bind("server.admin_bind", config.admin_bind)?,
            tls,
            auth,
            rules,
        })
    }

    fn doors(&self) -> (Door, Door) {
        let door = |rules, is_admin| Door {
            auth: self.auth.clone(),
            rules,
            is_admin,
        };
        (door([self.rules, OPEN], false), door([ADMIN, &[]], true))
    }

    /// The address of the public listener, its port resolved.
    pub fn public(&self) -> SocketAddr {
        self.public.1
    }

    /// The address of the admin listener, its port resolved.
    pub fn admin(&self) -> SocketAddr {
        self.admin.1
    }
}

/// A token that is cancelled by SIGTERM or SIGINT. The second of them ends the process, with status 128 + its number.
///
/// # Errors
/// [`ServeError::Signal`] when a handler cannot be installed.
///
/// # Panics
/// Outside a tokio runtime.
pub fn stop_on_signal() -> Result<CancellationToken, ServeError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signal)?;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => ("SIGTERM", SignalKind::terminate()),
                _ = interrupt.recv() => ("SIGINT", SignalKind::interrupt()),
            }
        };
        let (name, _) = next().await;
        tracing::info!(signal = name, "stopping; another signal ends it at once");
        stopped.cancel();
        let (name, kind) = next().await;
        tracing::warn!(signal = name, "ending at once");
        std::process::exit(128 + kind.as_raw_value());
    });
    Ok(stop)
}

/// Serves until `stop` is cancelled, then drains and returns. `public` and `admin` mount the routes of each listener;
/// they are called once per worker thread. The error shape, the body limit, health and metrics are mounted here.
///
/// # Errors
/// [`ServeError`] when a listener cannot be used or fails.
pub async fn run<P, A>(
    config: &ServerConfig,
    listeners: Listeners,
    health: Health,
    metrics: Metrics,
    public: P,
    admin: A,
    stop: CancellationToken,
) -> Result<(), ServeError>
where
    P: Fn(&mut ServiceConfig) + Clone + Send + 'static,
    A: Fn(&mut ServiceConfig) + Clone + Send + 'static,
{
    let (public_stop, admin_stop) = (CancellationToken::new(), CancellationToken::new());
    let (public_door, admin_door) = listeners.doors();
    let (public_address, admin_address) = (listeners.public(), listeners.admin());
    let admin_tls = listeners.tls.clone().filter(|_| config.tls.admin);
    let public_server = server(
        config,
        config.worker_count(),
        ("public", listeners.public.0),
        listeners.tls,
        public_stop.clone(),
        health.clone(),
        mount(health.clone(), public_door, Limits::public(config), public),
    )
    .map_err(|source| ServeError::Server {
        listener: "public",
        source,
    })?;
    let admin_server = server(
        config,
        ADMIN_WORKERS,
        ("admin", listeners.admin.0),
        admin_tls,
        admin_stop.clone(),
        health.clone(),
        mount(
            health.clone(),
            admin_door,
            Limits::admin(config),
            with_metrics(metrics, admin),
        ),
    )
    .map_err(|source| ServeError::Server {
        listener: "admin",
        source,
    })?;
    tracing::info!(public = %public_address, admin = %admin_address, "listening");

    let public_ended = async {
        let ended = public_server.await;
        // Whether it drained or failed, nothing is left for the admin listener to report on.
        admin_stop.cancel();
        ended.map_err(|source| ServeError::Server {
            listener: "public",
            source,
        })
    };
    let admin_ended = async {
        let ended = admin_server.await;
        public_stop.cancel();
        ended.map_err(|source| ServeError::Server {
            listener: "admin",
            source,
        })
    };
    let stopping = async {
        stop.cancelled().await;
        // Readiness first: a load balancer that asks meanwhile must not send more, and gets the time to ask.
        health.drain();
        tokio::time::sleep(config.shutdown_delay()).await;
        public_stop.cancel();
    };
    let serving = async { tokio::join!(public_ended, admin_ended) };
    tokio::pin!(serving);
    let (public_result, admin_result) = tokio::select! {
        ended = &mut serving => ended,
        () = stopping => serving.await,
    };
    tracing::info!("no longer listening");
    public_result.and(admin_result)
}

/// The admin API, and the metrics beside it.
fn with_metrics<A>(metrics: Metrics, admin: A) -> impl Fn(&mut ServiceConfig) + Clone + Send + 'static
where
    A: Fn(&mut ServiceConfig) + Clone + Send + 'static,
{
    move |cfg| {
        let metrics = metrics.clone();
        let scrape = move || {
            let text = metrics.render();
            async move {
                HttpResponse::Ok()
                    .content_type("text/plain; version=0.0.4; charset=utf-8")
                    .body(text)
            }
        };
        cfg.service(http::resource("", "/metrics").route(web::get().to(scrape)));
        admin(cfg);
    }
}

fn mount<R>(
    health: Health,
    door: Door,
    limits: Limits,
    routes: R,
) -> impl Fn(&mut ServiceConfig) + Clone + Send + 'static
where
    R: Fn(&mut ServiceConfig) + Clone + Send + 'static,
{
    move |cfg| {
        cfg.app_data(door.clone());
        // One for each thread, so that a request's hold on it is the thread's own.
        cfg.app_data(Rc::new(limits.clone()));
        health.configure(cfg);
        routes(cfg);
    }
}

fn server<R>(
    config: &ServerConfig,
    workers: usize,
    (name, listener): (&'static str, TcpListener),
    tls: Option<rustls::ServerConfig>,
    stop: CancellationToken,
    health: Health,
    routes: R,
) -> io::Result<Server>
where
    R: Fn(&mut ServiceConfig) + Clone + Send + 'static,
{
    let body_limit = config.body_limit_bytes;
    let limits = &config.limits;
    let connections = Connections::new(name, limits.connections_max);
    let server = HttpServer::new(move || {
        let health = health.clone();
        App::new()
            .wrap(from_fn(move |req, next| leave_taking(health.clone(), req, next)))
            .configure(|cfg| http::configure(cfg, body_limit))
            .configure(routes.clone())
    });
    let server = server
        .workers(workers)
        .on_connect(move |stream, connection| connections.accepted(stream, connection))
        // Per thread, and one that has as many stops accepting: ours is for all, and comes first.
        .max_connections(limits.connections_max.saturating_add(1))
        .keep_alive(Duration::from_millis(limits.idle_timeout_ms))
        .client_request_timeout(Duration::from_millis(limits.head_timeout_ms))
        .tls_handshake_timeout(HANDSHAKE_TIMEOUT)
        // Handshakes per thread. Beyond it nobody else would be accepted: silent clients must not keep others out.
        .max_connection_rate(limits.connections_max.saturating_add(1))
        .tcp_nodelay(true)
        .shutdown_timeout(config.shutdown_grace().as_millis().div_ceil(1_000) as u64)
        .shutdown_signal(stop.cancelled_owned());
    let server = match tls {
        Some(tls) => server.listen_rustls_0_23(listener, tls)?,
        None => server.listen(listener)?,
    };
    Ok(server.run())
}

/// [`edge()`]; and who is answered by an instance that is going away is told to come over another connection.
async fn leave_taking<B: MessageBody + 'static>(
    health: Health,
    req: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let mut answer = edge(req, next).await?;
    if health.is_draining() {
        let head = answer.response_mut().head_mut();
        head.set_connection_type(ConnectionType::Close);
    }
    Ok(answer)
}

/// Without keys whoever reaches a listener may do everything.
fn loopback_only(config: &ServerConfig) -> Result<(), ServeError> {
    for (key, address) in [
        ("server.bind", config.bind),
        ("server.admin_bind", config.admin_bind),
    ] {
        if !address.ip().is_loopback() {
            return Err(ServeError::Exposed { key, address });
        }
    }
    tracing::warn!(
        "NOBODY IS ASKED FOR A KEY (auth.mode = \"off\"): every program on this machine may do everything. For \
         development only."
    );
    Ok(())
}

/// Keys and tokens are readable to everybody on the way.
fn warn_of_plain_text(config: &ServerConfig) {
    for (key, address, is_encrypted) in [
        ("server.bind", config.bind, config.tls.is_on()),
        (
            "server.admin_bind",
            config.admin_bind,
            config.tls.is_on() && config.tls.admin,
        ),
    ] {
        if !address.ip().is_loopback() && !is_encrypted {
            tracing::warn!(
                key,
                %address,
                "KEYS GO OVER THE WIRE IN THE CLEAR: this listener is reached from other machines and has no TLS. Set \
                 server.tls.cert_file, or let what is in front of it speak TLS."
            );
        }
    }
}

/// Descriptors beside those of public connections: the admin listener, stores, logs.
const DESCRIPTORS_BESIDE: u64 = 1_000;

/// Many systems start programs with 1,024 descriptors and let them take more. Without one, a connection cannot even be
/// closed: nobody would be served.
fn allow_descriptors(config: &ServerConfig) {
    let wanted = config.limits.connections_max as u64 + DESCRIPTORS_BESIDE;
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|current| current >= wanted) {
        return;
    }
    let possible = now.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let new = Rlimit {
        current: Some(possible),
        ..now
    };
    if setrlimit(Resource::Nofile, new).is_err() || possible < wanted {
        tracing::warn!(
            wanted,
            possible,
            "fewer descriptors than connections may need (server.limits.connections_max)"
        );
    }
}

/// A listening socket with a backlog of our own, which the standard library does not offer.
fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // A restarted service may take its port at once, while old connections still linger in the kernel.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(ACCEPT_BACKLOG)?.into_std()?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

//! RabbitMQ: consuming and publishing that come back by themselves.
//!
//! lapin can restore a connection itself, but then forgets the prefetch; so here a connection that breaks is thrown away
//! and everything is made anew: connection, channel, queues, prefetch, consumer. A queue that vanishes is declared again
//! the same way. Nothing waits for the broker at start; nothing is lost while it is away, because whatever is not
//! confirmed stays with its owner, and whatever is not acknowledged is delivered again.

mod acks;
mod consume;
mod dead_letters;
mod publish;
mod secure;
mod topology;

pub use consume::{Consumer, Handled, Source, trace_context};
pub use dead_letters::{DeadLetters, count_dead_letters};
pub use lapin::message::Delivery;
pub use publish::{Message, Published, Publisher};
pub use topology::{declare, declare_route};

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::config::{ConfigError, Secret, authorities_of_tls};
use crate::tls::{self, TlsError};
use secure::Encrypted;

/// Longest wait for a connection, and for anything it is asked to set up.
const SETUP_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection on which nothing is heard for twice this long is dead, s.
const HEARTBEAT_S: u16 = 10;

/// Why the broker could not be used.
#[derive(Debug, thiserror::Error)]
pub enum AmqpError {
    /// It refused, or the connection broke.
    #[error("RabbitMQ: {}", tls::told(.0))]
    Broker(#[from] lapin::Error),
    /// It did not answer in time.
    #[error("RabbitMQ did not answer within {0:?}")]
    Timeout(Duration),
    /// The URL cannot be used.
    #[error("`{0}` is not an AMQP URL")]
    Url(Secret),
    /// The authorities cannot be read.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Checks `rabbitmq.url` and `rabbitmq.ca_file`.
///
/// # Errors
/// [`ConfigError::OutOfRange`] naming the key; never shows the password.
pub fn validate(url: &Secret, ca_file: &Path) -> Result<(), ConfigError> {
    match url.expose().parse::<AMQPUri>() {
        Ok(uri) => authorities_of_tls(CA_KEY, ca_file, uri.scheme == AMQPScheme::AMQPS, "amqps://"),
        Err(_) => Err(ConfigError::OutOfRange {
            key: "rabbitmq.url".to_owned(),
            value: format!("`{url}`"),
            allowed: "a URL such as amqp://user:password@host:5672/%2f, or amqps:// for TLS".to_owned(),
        }),
    }
}

const CA_KEY: &str = "rabbitmq.ca_file";

/// The broker, and how to connect to it. Cheap to clone.
#[derive(Clone)]
pub struct Broker {
    url: Secret,
    /// `None`: in the clear.
    tls: Option<Arc<ClientConfig>>,
}

impl Broker {
    /// Connects nothing yet. With `amqps://` connections are encrypted, and `ca_file` has who may have signed the broker's
    /// certificate; empty: anybody on Mozilla's list.
    ///
    /// # Errors
    /// [`AmqpError::Url`] or [`AmqpError::Tls`].
    pub fn new(url: &Secret, ca_file: &Path) -> Result<Self, AmqpError> {
        let uri: AMQPUri = url.expose().parse().map_err(|_| AmqpError::Url(url.clone()))?;
        let tls = match uri.scheme {
            AMQPScheme::AMQP => None,
            AMQPScheme::AMQPS => Some(Arc::new(tls::client(CA_KEY, ca_file)?)),
        };
        Ok(Self {
            url: url.clone(),
            tls,
        })
    }

    async fn connect(&self, name: &str) -> Result<Connection, AmqpError> {
        let unusable = || AmqpError::Url(self.url.clone());
        let mut uri: AMQPUri = self.url.expose().parse().map_err(|_| unusable())?;
        uri.query.heartbeat.get_or_insert(HEARTBEAT_S);
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let Some(config) = &self.tls else {
            return in_time(Connection::connect_uri(uri, properties)).await;
        };
        let host = uri.authority.host.clone();
        let encrypted = Encrypted {
            tokio: Tokio::current(),
            config: Arc::clone(config),
            name: ServerName::try_from(host).map_err(|_| unusable())?,
        };
        // lapin is not to encrypt once more: without a TLS of its own it would take the stream as it is, without a word.
        uri.scheme = AMQPScheme::AMQP;
        let runtime = Runtime::new(RuntimeParts::new(Tokio::current(), encrypted));
        in_time(Connection::connect_uri_with_runtime(uri, properties, runtime)).await
    }
}

/// Whether a part of the service is connected, for health checks; logs when that changes. Cheap to clone.
#[derive(Clone, Default)]
pub struct Link {
    connected: Arc<AtomicBool>,
    told: Arc<AtomicBool>,
}

impl Link {
    /// Whether it is connected, as far as is known.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// A check for `/readyz`.
    ///
    /// # Errors
    /// When it is not connected.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.is_connected() {
            Ok(())
        } else {
            Err("not connected")
        }
    }

    fn up(&self, name: &str) {
        if !self.connected.swap(true, Ordering::Relaxed) {
            self.told.store(false, Ordering::Relaxed);
            tracing::info!(name, "connected to RabbitMQ");
        }
    }

    /// Told once until it is up again: somebody tries every few seconds.
    fn down(&self, name: &str, error: &impl Display) {
        self.connected.store(false, Ordering::Relaxed);
        if !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!(name, %error, "no connection to RabbitMQ; it is tried again");
        }
    }
}

async fn in_time<T>(work: impl Future<Output = lapin::Result<T>>) -> Result<T, AmqpError> {
    match tokio::time::timeout(SETUP_TIMEOUT, work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(AmqpError::Timeout(SETUP_TIMEOUT)),
    }
}

//! AMQP over TLS: a stream of ours under lapin's protocol.
//!
//! lapin takes its streams from the runtime it is built on. This one is tokio's, except that its TCP streams are encrypted
//! before lapin says a word.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_rs::Tokio;
use async_rs::traits::Reactor;
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::Stream;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

/// Where the streams come from.
#[derive(Debug, Clone)]
pub(super) struct Encrypted {
    /// Timers and the rest.
    pub(super) tokio: Tokio,
    /// Who is believed.
    pub(super) config: Arc<ClientConfig>,
    /// Whose certificate it has to be.
    pub(super) name: ServerName<'static>,
}

impl Reactor for Encrypted {
    type TcpStream = Compat<TlsStream<TcpStream>>;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        self.tokio.register(socket)
    }

    fn sleep(&self, length: Duration) -> Self::Sleep {
        self.tokio.sleep(length)
    }

    fn interval(&self, length: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.tokio.interval(length)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let (connector, name) = (TlsConnector::from(Arc::clone(&self.config)), self.name.clone());
        async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(connector.connect(name, stream).await?.compat())
        }
    }
}

//! A small HTTP/1.1 client: one keep-alive connection, so that a load of n clients is n connections and no pool.
//!
//! It shares a machine with what it measures, so it does little: a request is written from one buffer in one call, and
//! of an answer only what frames it is looked at before somebody asks. (A general client cost as much again as all
//! system calls together.) What it may not do: ask twice. After a fault the state of a connection is unknown, and
//! the connection is dropped; whether to ask again is for the caller to say.

mod answer;

use std::fmt;
use std::future::Future;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use http::Method;
use rustls::pki_types::ServerName;
use serde::de::DeserializeOwned;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use url::Url;

use crate::tls;

pub use answer::Answer;

/// A client of one server with at most one connection, opened when needed and kept.
pub struct HttpClient {
    authority: String,
    /// With whom it is encrypted; `None`: not at all.
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// Shown with every request.
    key: Option<String>,
    base_path: String,
    timeout: Duration,
    connection: Option<Connection>,
    /// The request under way; kept for its memory.
    request: Vec<u8>,
}

/// An open connection, and what has been read from it and belongs to no answer yet.
pub(crate) struct Connection {
    stream: Either<TcpStream, TlsStream<TcpStream>>,
    received: BytesMut,
}

/// No answer: what was asked for may or may not have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Nobody accepts connections there.
    Connect,
    /// The connection broke before the answer was complete, or what came was no answer.
    Broken,
    /// Not answered in time.
    Timeout,
}

impl HttpClient {
    /// `base_url` is `http://HOST:PORT` or `https://HOST:PORT` (of somebody [`crate::tls`] believes), with a path in front of all paths if it has one. `timeout` is for one
    /// request, connecting included. A user in the url, `http://KEY@HOST:PORT`, is a key that is shown with every request as
    /// `Authorization: Bearer KEY`. The error says what is wrong with the url.
    pub fn new(base_url: &str, timeout: Duration) -> Result<Self, String> {
        let url = Url::parse(base_url).map_err(|error| format!("{base_url:?} is no url: {error}"))?;
        let host = url
            .host_str()
            .ok_or_else(|| format!("{base_url:?} names no host"))?;
        let tls = match url.scheme() {
            "http" => None,
            "https" => {
                let name = ServerName::try_from(host.to_owned());
                let name = name.map_err(|_| format!("{base_url:?} names no host"))?;
                Some((TlsConnector::from(Arc::new(tls::client())), name))
            }
            _ => return Err(format!("{base_url:?}: only http:// and https:// are spoken here")),
        };
        Ok(Self {
            key: (!url.username().is_empty()).then(|| url.username().to_owned()),
            authority: format!("{host}:{}", url.port_or_known_default().unwrap_or(80)),
            tls,
            base_path: url.path().trim_end_matches('/').to_owned(),
            timeout,
            connection: None,
            request: Vec::new(),
        })
    }

    /// Opens the connection now, so that the first request does not pay for it.
    pub async fn connect(&mut self) -> Result<(), Fault> {
        self.connection =
            Some(limited(self.timeout, Connection::open(&self.authority, self.tls.as_ref())).await?);
        Ok(())
    }

    /// `GET path`, its body read as JSON; the error says why there is nothing to read.
    pub async fn get_json<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, String> {
        let what = format!("GET {}{path}", self.authority);
        let answer = self.request(Method::GET, path, &[], "").await;
        let answer = answer.map_err(|fault| format!("{what}: {fault}"))?;
        serde_json::from_slice(&answer.body).map_err(|error| format!("{what}: {}, {error}", answer.status))
    }

    /// Sends a request with a JSON body (empty: none) and waits for the whole answer.
    pub async fn request(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Result<Answer, Fault> {
        // Only a caller's malformed path or header can fail here; to him it is a request that nobody takes.
        self.write_request(&method, path, headers, body.as_ref())
            .ok_or(Fault::Connect)?;
        // Taken out: it is put back when it has proved good.
        let connection = self.connection.take().filter(Connection::is_open);
        let exchange = async {
            let mut connection = match connection {
                Some(connection) => connection,
                None => Connection::open(&self.authority, self.tls.as_ref()).await?,
            };
            let (answer, is_kept) = connection.exchange(&self.request, method != Method::HEAD).await?;
            Ok((answer, is_kept.then_some(connection)))
        };
        let (answer, connection) = limited(self.timeout, exchange).await?;
        self.connection = connection;
        Ok(answer)
    }

    /// `None` if path or headers would not be what they are any more on the way.
    fn write_request(
        &mut self,
        method: &Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<()> {
        let is_field = |text: &str| {
            text.bytes()
                .all(|byte| byte == b'\t' || (b' '..0x7f).contains(&byte))
        };
        let is_sound = path.bytes().all(|byte| byte.is_ascii_graphic())
            && headers
                .iter()
                .all(|(name, value)| is_field(name) && is_field(value));
        if !is_sound {
            return None;
        }
        let Self {
            request,
            authority,
            key,
            base_path,
            ..
        } = self;
        request.clear();
        write!(
            request,
            "{method} {base_path}{path} HTTP/1.1\r\nHost: {authority}\r\n"
        )
        .ok()?;
        if let Some(key) = key {
            write!(request, "Authorization: Bearer {key}\r\n").ok()?;
        }
        if !body.is_empty() {
            request.extend_from_slice(b"Content-Type: application/json\r\n");
        }
        if !body.is_empty() || *method != Method::GET {
            write!(request, "Content-Length: {}\r\n", body.len()).ok()?;
        }
        for (name, value) in headers {
            for piece in [name, ": ", value, "\r\n"] {
                request.extend_from_slice(piece.as_bytes());
            }
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(body);
        Some(())
    }
}

impl Connection {
    /// To `HOST:PORT`, encrypted where there is something to encrypt with.
    pub(crate) async fn open(
        authority: &str,
        tls: Option<&(TlsConnector, ServerName<'static>)>,
    ) -> Result<Self, Fault> {
        let stream = TcpStream::connect(authority).await.map_err(|_| Fault::Connect)?;
        stream.set_nodelay(true).map_err(|_| Fault::Connect)?;
        let stream = match tls {
            None => Either::Left(stream),
            Some((connector, name)) => {
                let encrypted = connector.connect(name.clone(), stream).await;
                Either::Right(encrypted.map_err(|_| Fault::Connect)?)
            }
        };
        Ok(Self {
            stream,
            received: BytesMut::new(),
        })
    }

    /// Sends a whole request and waits for its whole answer; also says whether the connection can be used again.
    /// `has_body`: false for `HEAD`.
    pub(crate) async fn exchange(&mut self, request: &[u8], has_body: bool) -> Result<(Answer, bool), Fault> {
        let written = self.stream.write_all(request).await;
        written.map_err(|_| Fault::Broken)?;
        answer::read(&mut self.stream, &mut self.received, has_body).await
    }

    /// Whether it can be used once more, as far as we have heard: nothing may come before we ask, not even an end.
    pub(crate) fn is_open(&self) -> bool {
        let socket = match &self.stream {
            Either::Left(stream) => stream,
            Either::Right(stream) => stream.get_ref().0,
        };
        let heard = socket.try_read(&mut [0]);
        self.received.is_empty() && heard.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "no connection",
            Self::Broken => "connection broken",
            Self::Timeout => "timeout",
        })
    }
}

impl std::error::Error for Fault {}

async fn limited<T>(timeout: Duration, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    tokio::time::timeout(timeout, work)
        .await
        .unwrap_or(Err(Fault::Timeout))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// Answers what it was asked, once per connection, and hangs up.
    async fn once_per_connection() -> HttpClient {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/base/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut asked = vec![0; 1024];
                let length = stream.read(&mut asked).await.unwrap();
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
                stream.write_all(&asked[..length]).await.unwrap();
            }
        });
        HttpClient::new(&url, PATIENCE).unwrap()
    }

    async fn asked(client: &mut HttpClient, method: Method, headers: &[(&str, &str)], body: &str) -> String {
        let answer = client.request(method, "/x?y=1", headers, body).await.unwrap();
        let head = String::from_utf8(answer.body.to_vec()).unwrap();
        head.replace(&client.authority, "HOST")
    }

    #[tokio::test]
    async fn a_request_is_what_it_should_be_on_the_wire() {
        let mut client = once_per_connection().await;
        assert_eq!(
            asked(&mut client, Method::GET, &[], "").await,
            "GET /base/x?y=1 HTTP/1.1\r\nHost: HOST\r\n\r\n"
        );
        let mut client = once_per_connection().await;
        assert_eq!(
            asked(&mut client, Method::PATCH, &[("K", "v")], "{}").await,
            "PATCH /base/x?y=1 HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\n\
             Content-Length: 2\r\nK: v\r\n\r\n{}"
        );
        for (path, value) in [("/a b", ""), ("/a\r\nX: y", ""), ("/", "a\r\nX: y")] {
            let answer = client.request(Method::GET, path, &[("K", value)], "").await;
            assert_eq!(answer.unwrap_err(), Fault::Connect, "{path:?} {value:?}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_was_closed_meanwhile_is_opened_again() {
        let mut client = once_per_connection().await;
        for _ in 0..3 {
            asked(&mut client, Method::GET, &[], "").await;
            crate::wait_for("its end to arrive", PATIENCE, || async {
                let connection = client.connection.as_ref();
                match connection.is_some_and(Connection::is_open) {
                    true => Err(String::from("open")),
                    false => Ok(()),
                }
            })
            .await
            .unwrap();
        }
    }
}

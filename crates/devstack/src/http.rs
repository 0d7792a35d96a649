//! A small HTTP/1.1 client: one keep-alive connection, so that a load of n clients is n connections and no pool.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use url::Url;

/// A client of one server with at most one connection, opened when needed and kept.
pub struct HttpClient {
    authority: String,
    base_path: String,
    timeout: Duration,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// An answer, of whatever status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: StatusCode,
    /// Header fields.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// No answer: what was asked for may or may not have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Nobody accepts connections there.
    Connect,
    /// The connection broke before the answer was complete.
    Broken,
    /// Not answered in time.
    Timeout,
}

impl HttpClient {
    /// `base_url` is `http://HOST:PORT`, with a path in front of all paths if it has one. `timeout` is for one
    /// request, connecting included. The error says what is wrong with the url.
    pub fn new(base_url: &str, timeout: Duration) -> Result<Self, String> {
        let url = Url::parse(base_url).map_err(|error| format!("{base_url:?} is no url: {error}"))?;
        if url.scheme() != "http" {
            return Err(format!("{base_url:?}: only http:// is spoken here"));
        }
        let host = url
            .host_str()
            .ok_or_else(|| format!("{base_url:?} names no host"))?;
        Ok(Self {
            authority: format!("{host}:{}", url.port_or_known_default().unwrap_or(80)),
            base_path: url.path().trim_end_matches('/').to_owned(),
            timeout,
            connection: None,
        })
    }

    /// Opens the connection now, so that the first request does not pay for it.
    pub async fn connect(&mut self) -> Result<(), Fault> {
        self.connection = Some(limited(self.timeout, connect(&self.authority)).await?);
        Ok(())
    }

    /// `GET path`, its body read as JSON; the error says why there is nothing to read.
    pub async fn get_json<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, String> {
        let what = format!("GET http://{}{path}", self.authority);
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
        body: impl Into<Bytes>,
    ) -> Result<Answer, Fault> {
        let body = body.into();
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base_path))
            .header(HOST, &self.authority);
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        // Only a caller's malformed path or header can fail here; to him it is a request that nobody takes.
        let request = request.body(Full::new(body)).map_err(|_| Fault::Connect)?;
        // Taken out: after a fault the state of the connection is unknown, so it is not put back.
        let connection = self
            .connection
            .take()
            .filter(|connection| !connection.is_closed());
        let exchange = exchange(&self.authority, connection, request);
        let (answer, connection) = limited(self.timeout, exchange).await?;
        self.connection = Some(connection);
        Ok(answer)
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

async fn exchange(
    authority: &str,
    connection: Option<SendRequest<Full<Bytes>>>,
    request: Request<Full<Bytes>>,
) -> Result<(Answer, SendRequest<Full<Bytes>>), Fault> {
    let mut connection = match connection {
        Some(connection) => connection,
        None => connect(authority).await?,
    };
    connection.ready().await.map_err(|_| Fault::Broken)?;
    let response = connection
        .send_request(request)
        .await
        .map_err(|_| Fault::Broken)?;
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(|_| Fault::Broken)?.to_bytes();
    Ok((
        Answer {
            status: head.status,
            headers: head.headers,
            body,
        },
        connection,
    ))
}

async fn connect(authority: &str) -> Result<SendRequest<Full<Bytes>>, Fault> {
    let stream = TcpStream::connect(authority).await.map_err(|_| Fault::Connect)?;
    stream.set_nodelay(true).map_err(|_| Fault::Connect)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|_| Fault::Connect)?;
    // It ends by itself once the sender is dropped or the server closes; its errors reach the sender.
    tokio::spawn(connection);
    Ok(sender)
}

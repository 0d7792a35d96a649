//! Asking another service over HTTP/1.1, in the clear or with TLS, whichever its URL says.
//!
//! Owns the connections, which are kept. It asks once: whether to ask again is for the caller to say, who is told whether
//! a request can have arrived. Every wait is bounded, and so is the size of an answer. It follows no redirect and knows
//! no proxy.

use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::request::Builder;
use http::{HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower_service::Service;

use crate::config::Secret;
use crate::tls::{self, TlsError};

/// Largest answer that is read.
const ANSWER_MAX_BYTES: usize = 1 << 20;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum HttpClientError {
    /// The URL cannot be used. It is shown masked.
    #[error("key `{key}` is `{url}`, allowed is a URL beginning with http:// or https://")]
    Url {
        /// The key that holds it.
        key: &'static str,
        /// The URL.
        url: Secret,
    },
    /// The authorities cannot be read.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Why there is no answer. Says nothing of the address, which may have a password.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NoAnswer {
    /// No connection: the request cannot have arrived.
    #[error("no answer: {0}")]
    Unreached(String),
    /// The connection broke, or what came was no answer: the request may have arrived.
    #[error("no answer: {0}")]
    Broken(String),
    /// Not in time: the request may have arrived.
    #[error("timeout")]
    Timeout,
}

/// Where to ask, and how.
#[derive(Debug, Clone, Copy)]
pub struct Peer<'a> {
    /// `http://host:port` or `https://host:port`, with a path if all paths have one in front. A user in it is shown with every
    /// request.
    pub url: &'a Secret,
    /// The key that holds it.
    pub url_key: &'static str,
    /// Who may have signed its certificate; empty: anybody on Mozilla's list.
    pub ca_file: &'a Path,
    /// The key that holds that.
    pub ca_key: &'static str,
    /// Longest wait for a connection, TLS included.
    pub connect_timeout: Duration,
}

/// Asks one peer. Cheap to clone; clones share connections.
#[derive(Clone, Debug)]
pub struct HttpClient {
    client: legacy::Client<Connecting, Full<Bytes>>,
    base: String,
    authorization: Option<HeaderValue>,
}

impl HttpClient {
    /// Connects nothing yet.
    ///
    /// # Errors
    /// [`HttpClientError`] naming the key that is wrong.
    pub fn new(peer: Peer<'_>) -> Result<Self, HttpClientError> {
        let unusable = || HttpClientError::Url {
            key: peer.url_key,
            url: peer.url.clone(),
        };
        let mut url = url::Url::parse(peer.url.expose()).map_err(|_| unusable())?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(unusable());
        }
        let authorization = basic(&url);
        url.set_username("").map_err(|()| unusable())?;
        url.set_password(None).map_err(|()| unusable())?;
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls::client(peer.ca_key, peer.ca_file)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build(Connecting {
                connector,
                timeout: peer.connect_timeout,
            });
        Ok(Self {
            client,
            base: url.as_str().trim_end_matches('/').to_owned(),
            authorization,
        })
    }

    /// A request for a path of the peer.
    #[must_use]
    pub fn request(&self, method: Method, path: &str) -> Builder {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base));
        match &self.authorization {
            Some(value) => request.header(AUTHORIZATION, value.clone()),
            None => request,
        }
    }

    /// Sends it and waits for the whole answer, at most for `timeout` in all.
    ///
    /// # Errors
    /// [`NoAnswer`] says whether the request may have arrived.
    pub async fn send(
        &self,
        request: Request<Bytes>,
        timeout: Duration,
    ) -> Result<Response<Bytes>, NoAnswer> {
        let exchange = async {
            let response = self.client.request(request.map(Full::new)).await;
            let (head, body) = response.map_err(|error| unanswered(&error))?.into_parts();
            let body = Limited::new(body, ANSWER_MAX_BYTES).collect().await;
            let body = body.map_err(|error| NoAnswer::Broken(tls::told(error.as_ref())))?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        tokio::time::timeout(timeout, exchange)
            .await
            .unwrap_or(Err(NoAnswer::Timeout))
    }
}

fn unanswered(error: &legacy::Error) -> NoAnswer {
    if error.is_connect() {
        NoAnswer::Unreached(tls::told(error))
    } else {
        NoAnswer::Broken(tls::told(error))
    }
}

/// What a user and a password in a URL stand for.
fn basic(url: &url::Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut login: Vec<u8> = percent_encoding::percent_decode_str(url.username()).collect();
    login.push(b':');
    login.extend(percent_encoding::percent_decode_str(
        url.password().unwrap_or_default(),
    ));
    let mut value = HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(login))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Connects in a bounded time, TLS included: a peer that accepts and says nothing is one that was not reached.
#[derive(Clone, Debug)]
struct Connecting {
    connector: HttpsConnector<HttpConnector>,
    timeout: Duration,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Service<Uri> for Connecting {
    type Response = <HttpsConnector<HttpConnector> as Service<Uri>>::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(cx)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let (connecting, timeout) = (self.connector.call(to), self.timeout);
        Box::pin(async move {
            tokio::time::timeout(timeout, connecting)
                .await
                .unwrap_or_else(|_| Err(format!("no connection within {timeout:?}").into()))
        })
    }
}

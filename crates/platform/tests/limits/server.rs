//! A service with two routes behind both listeners, and a client that says what it likes, byte by byte.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::{HttpResponse, web};
use platform::config::{LimitsConfig, ServerConfig, ServerTlsConfig};
use platform::http::auth::{Auth, Role, Rule, Who};
use platform::http::health::Health;
use platform::serve::{Listeners, ServeError, run};
use platform::telemetry::install_metrics;
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes, on a machine that is busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// The time-outs of a service that is to lose patience.
pub(crate) const SHORT_MS: u64 = 1_500;

pub(crate) const RULES: &[Rule] = &[
    Rule {
        path: "/items",
        methods: &[("POST", Who::Only(&[Role::Service, Role::Customer]))],
    },
    Rule {
        path: "/held",
        methods: &[("GET", Who::Everybody)],
    },
];

pub(crate) fn limits() -> LimitsConfig {
    LimitsConfig {
        connections_max: 100,
        head_timeout_ms: 20_000,
        body_timeout_ms: 20_000,
        idle_timeout_ms: 75_000,
        head_limit_bytes: 16_384,
        in_flight_max: 100,
        requests_per_s: 0,
        burst: 1,
    }
}

pub(crate) struct Running {
    pub(crate) public: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// One permit for each request that was let in.
    pub(crate) entered: Arc<Semaphore>,
    /// Lets one answer go.
    pub(crate) gate: Arc<Semaphore>,
    stop: CancellationToken,
    ended: JoinHandle<Result<(), ServeError>>,
}

#[derive(Deserialize)]
struct Input {
    quantity: u32,
}

async fn items(input: web::Json<Input>) -> String {
    input.quantity.to_string()
}

impl Running {
    /// `POST /items` says the quantity it was given; `GET /held` answers once the gate lets it.
    pub(crate) fn start(limits: LimitsConfig, auth: Auth) -> Self {
        let config = ServerConfig {
            bind: ([127, 0, 0, 1], 0).into(),
            admin_bind: ([127, 0, 0, 1], 0).into(),
            workers: 2,
            body_limit_bytes: 1024,
            request_deadline_ms: 1_000,
            shutdown_grace_ms: 1_000,
            shutdown_delay_ms: 0,
            tls: ServerTlsConfig::off(),
            limits,
        };
        let listeners = Listeners::bind(&config, auth, RULES).unwrap();
        let (public, admin) = (listeners.public(), listeners.admin());
        let (stop, entered, gate) = (
            CancellationToken::new(),
            Arc::new(Semaphore::new(0)),
            Arc::new(Semaphore::new(0)),
        );
        let (token, shared) = (stop.clone(), (entered.clone(), gate.clone()));
        let routes = move |cfg: &mut web::ServiceConfig| {
            let (entered, gate) = shared.clone();
            let held = move || {
                let (entered, gate) = (entered.clone(), gate.clone());
                async move {
                    entered.add_permits(1);
                    gate.acquire().await.unwrap().forget();
                    HttpResponse::Ok().body("held")
                }
            };
            cfg.service(web::resource("/held").route(web::get().to(held)))
                .service(web::resource("/items").route(web::post().to(items)));
        };
        let ended = tokio::spawn(async move {
            let metrics = install_metrics().unwrap();
            let health = Health::builder().build();
            run(&config, listeners, health, metrics, routes, |_| {}, token).await
        });
        Self {
            public,
            admin,
            entered,
            gate,
            stop,
            ended,
        }
    }

    /// A normal request, on a connection of its own: answered, and at once.
    pub(crate) async fn serves(&self) {
        let asked = Instant::now();
        let mut client = Client::to(self.public).await;
        client.send(&post("/items", r#"{"quantity":3}"#)).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "3"));
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    }

    /// How much was turned away for a reason, by every server of this process.
    pub(crate) async fn shed(&self, reason: &str) -> u64 {
        let mut client = Client::to(self.admin).await;
        client.send(&get("/metrics")).await;
        let answer = client.answer().await;
        let series = format!("hotstock_http_shed_total{{reason=\"{reason}\"}} ");
        let line = answer.body.lines().find_map(|line| line.strip_prefix(&series));
        line.unwrap_or_else(|| panic!("no {series}: {}", answer.body))
            .parse()
            .unwrap()
    }

    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.ended.await.unwrap().unwrap();
    }
}

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
}

pub(crate) fn post(path: &str, body: &str) -> String {
    format!(
        "{}{body}",
        post_head(path, &format!("Content-Length: {}", body.len()))
    )
}

/// The head of a `POST` of JSON, with further fields.
pub(crate) fn post_head(path: &str, fields: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{fields}\r\n\r\n")
}

pub(crate) struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Client {
    pub(crate) async fn to(address: SocketAddr) -> Self {
        let stream = tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await;
        Self {
            stream: stream.unwrap().unwrap(),
            received: Vec::new(),
        }
    }

    /// Sends; a server that has closed already is no fault of the client's.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.ok();
    }

    /// The next answer, whole.
    pub(crate) async fn answer(&mut self) -> Answer {
        loop {
            if let Some(answer) = self.received() {
                return answer;
            }
            assert!(self.read().await, "closed before an answer: {:?}", self.text());
        }
    }

    /// Everything until the server closes.
    pub(crate) async fn rest(mut self) -> String {
        while self.read().await {}
        self.text()
    }

    /// The first line of an answer, or as much as there is of it when the server closes.
    pub(crate) async fn first_line(mut self) -> String {
        while !self.text().contains("\r\n") && self.read().await {}
        self.text().lines().next().unwrap_or_default().to_owned()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.received).into_owned()
    }

    async fn read(&mut self) -> bool {
        let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.received)).await;
        matches!(read.unwrap(), Ok(1..))
    }

    fn received(&mut self) -> Option<Answer> {
        let text = self.text();
        let (head, rest) = text.split_once("\r\n\r\n")?;
        let length = head.lines().find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length: ")?
                .parse()
                .ok()
        });
        let body = rest.get(..length.unwrap_or(0))?;
        let answer = Answer {
            status: head.split(' ').nth(1)?.parse().ok()?,
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        };
        self.received.drain(..head.len() + 4 + body.len());
        Some(answer)
    }
}

impl Answer {
    /// A refusal in the one shape.
    #[track_caller]
    pub(crate) fn is(&self, status: u16, error: &str) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        let body: Value = serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"));
        let keys: Vec<&String> = body.as_object().unwrap().keys().collect();
        assert_eq!((keys.len(), &body["error"]), (3, &Value::from(error)), "{self:?}");
        assert!(body["message"].is_string(), "{self:?}");
        body
    }
}

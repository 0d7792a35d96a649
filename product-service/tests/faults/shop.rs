//! Two instances of product-service in front of a Redis of their own, with a proxy between each and its stores if wanted.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use devstack::proxy::{Fault, Proxy};
use devstack::{
    Postgres, PostgresOptions, Redis, RedisOptions, Service, ServiceOptions, TestStack, catalogue,
    shared_postgres, wait_for,
};
use futures_util::future::try_join_all;
use tokio::sync::{Semaphore, SemaphorePermit};

/// How many trials run at once: each is two instances, their stores and their buyers.
static TURNS: Semaphore = Semaphore::const_new(2);

pub(crate) const INSTANCES: usize = 2;

/// How long Redis may take to show that it has done what it was told.
const SOON: Duration = Duration::from_secs(5);

/// Units of the product that never sells out, and of the one that does.
pub(crate) const PLENTY: i64 = 1_000_000;
pub(crate) const FEW: i64 = 150;

/// How long a hold may be unsettled in these tests.
pub(crate) const HOLD_TTL: Duration = Duration::from_millis(2000);

pub(crate) struct Shop {
    pub(crate) stack: TestStack,
    pub(crate) services: Vec<Service>,
    /// To Redis: one for each instance, or none.
    pub(crate) proxies: Vec<Proxy>,
    /// To Postgres: one for each instance, or none.
    pub(crate) postgres_proxies: Vec<Proxy>,
    _turn: SemaphorePermit<'static>,
}

/// What a shop is opened with.
#[derive(Default)]
pub(crate) struct Opening {
    /// Proxies between instances and Redis.
    pub(crate) proxied: bool,
    /// Proxies between instances and Postgres.
    pub(crate) postgres_proxied: bool,
    /// A Postgres that may be harmed, and the shipped limits for it.
    pub(crate) own_postgres: bool,
    /// Further settings of that Postgres.
    pub(crate) postgres_settings: &'static [&'static str],
    /// The fault of the proxies from the start.
    pub(crate) fault: Fault,
    /// Further arguments of Redis.
    pub(crate) redis_args: &'static [&'static str],
    /// Instances as patient as they are shipped, with everything.
    pub(crate) shipped_limits: bool,
    /// Further settings of the instances.
    pub(crate) settings: &'static [(&'static str, &'static str)],
}

impl Shop {
    pub(crate) async fn open(opening: Opening) -> Self {
        let turn = TURNS.acquire().await.unwrap();
        let redis = Redis::start(RedisOptions {
            dir: None,
            gate_user: false,
            tls: None,
            args: opening.redis_args.iter().map(ToString::to_string).collect(),
        });
        let (postgres, redis) = tokio::join!(postgres(&opening), redis);
        let redis = redis.unwrap();
        let stack = TestStack {
            database_url: postgres.create_unique_database("product").await.unwrap(),
            redis_url: redis.url(),
            postgres,
            redis,
        };
        let proxies = proxies_to(stack.redis.port(), opening.proxied);
        let postgres_proxies = proxies_to(stack.postgres.port(), opening.postgres_proxied);
        proxies.iter().for_each(|proxy| proxy.set(opening.fault.clone()));
        let by_way_of = |proxies: &[Proxy], index: usize, url: &str| match proxies.get(index) {
            Some(proxy) => proxy.url(url).unwrap(),
            None => url.to_owned(),
        };
        let starts = (0..INSTANCES).map(|index| {
            let database_url = by_way_of(&postgres_proxies, index, &stack.database_url);
            let options = stack
                .service("product-service", env!("CARGO_BIN_EXE_product-service"))
                .database_url(&format!(
                    "{database_url}?application_name={}",
                    session_name(index)
                ))
                .redis_url(&by_way_of(&proxies, index, &stack.redis_url));
            let options = with(options, &ANY);
            let options = match &opening {
                Opening {
                    shipped_limits: true, ..
                } => options,
                Opening {
                    own_postgres: true, ..
                } => impatient(options),
                _ => with(impatient(options), &PATIENT_WITH_POSTGRES),
            };
            Service::start(with(options, opening.settings))
        });
        let services = try_join_all(starts).await.unwrap();
        Self {
            stack,
            services,
            proxies,
            postgres_proxies,
            _turn: turn,
        }
    }

    /// Instances that talk to Redis directly.
    pub(crate) async fn direct() -> Self {
        Self::open(Opening::default()).await
    }

    /// Instances that talk to Redis through a proxy each.
    pub(crate) async fn proxied() -> Self {
        Self::open(Opening {
            proxied: true,
            ..Opening::default()
        })
        .await
    }

    /// Instances on a Postgres of their own.
    pub(crate) async fn on_own_postgres() -> Self {
        Self::open(Opening {
            own_postgres: true,
            ..Opening::default()
        })
        .await
    }

    pub(crate) fn set(&self, fault: &Fault) {
        self.proxies.iter().for_each(|proxy| proxy.set(fault.clone()));
    }

    /// A hot product.
    pub(crate) async fn product(&self, stock: i64) -> i64 {
        let url = self.services[0].url();
        let product = catalogue::create_product(&url, "edition", 1_000, stock, true)
            .await
            .unwrap();
        // Every order is another buyer's: who is told that he has his share is told wrongly.
        catalogue::limit_purchases(&url, product, 1).await.unwrap();
        product
    }

    /// One command to Redis itself, not by way of a proxy.
    pub(crate) async fn redis<T: redis::FromRedisValue>(&self, command: &[&str]) -> T {
        ask_redis(&self.stack.redis_url, command).await.unwrap()
    }

    /// Waits until a word of `INFO` satisfies a condition.
    pub(crate) async fn wait_for_info(&self, section: &str, field: &str, is_it: impl Fn(&str) -> bool) {
        wait_for(field, SOON, || async {
            let info: String = self.redis(&["INFO", section]).await;
            let value = info
                .lines()
                .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
            match value {
                Some(value) if is_it(value.trim()) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await
        .unwrap();
    }

    /// Takes the gate of a product away.
    pub(crate) async fn forget(&self, product: i64) {
        let keys = ["", ":gate", ":sold"].map(|part| gate_key(product, part));
        self.redis::<i64>(&["DEL", &keys[0], &keys[1], &keys[2]]).await;
    }

    /// The lease of whoever is loading a product.
    pub(crate) async fn lease_of(&self, product: i64) -> Option<String> {
        self.redis(&["HGET", &gate_key(product, ":gate"), "t"]).await
    }

    pub(crate) async fn is_loaded(&self, product: i64) -> bool {
        let counter: Option<String> = self.redis(&["GET", &gate_key(product, "")]).await;
        counter.is_some()
    }

    /// Waits until the gate of a product is loaded.
    pub(crate) async fn wait_until_loaded(&self, product: i64) {
        wait_for("the gate to be loaded", SOON, || async {
            let is_loaded = self.is_loaded(product).await;
            is_loaded.then_some(()).ok_or_else(|| "not loaded".to_owned())
        })
        .await
        .unwrap();
    }

    /// How often Postgres has said this in its log.
    pub(crate) fn postgres_said(&self, what: &str) -> usize {
        let log = std::fs::read_to_string(self.stack.postgres.log_path()).unwrap();
        log.matches(what).count()
    }

    /// What there is to know when something went wrong.
    pub(crate) fn logs(&self) -> String {
        let tails = self.services.iter().map(|service| service.log_tail());
        tails.collect::<Vec<_>>().join("\n---\n")
    }
}

/// The key of one part of a product's gate.
pub(crate) fn gate_key(product: i64, part: &str) -> String {
    format!("stock:{{{product}}}{part}")
}

/// One command to the Redis at `url`.
pub(crate) async fn ask_redis<T: redis::FromRedisValue>(
    url: &str,
    command: &[&str],
) -> redis::RedisResult<T> {
    let client = redis::Client::open(url)?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    redis::cmd(command[0])
        .arg(&command[1..])
        .query_async(&mut connection)
        .await
}

/// What the sessions of an instance are called in Postgres.
pub(crate) fn session_name(instance: usize) -> String {
    format!("instance-{instance}")
}

/// One for each instance, if wanted.
fn proxies_to(port: u16, wanted: bool) -> Vec<Proxy> {
    let upstream = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let count = if wanted { INSTANCES } else { 0 };
    (0..count).map(|_| Proxy::start(upstream).unwrap()).collect()
}

async fn postgres(opening: &Opening) -> Postgres {
    if opening.own_postgres {
        let options = PostgresOptions {
            settings: opening
                .postgres_settings
                .iter()
                .map(ToString::to_string)
                .collect(),
            ..PostgresOptions::default()
        };
        Postgres::start(options).await.unwrap()
    } else {
        shared_postgres().await.unwrap().clone()
    }
}

/// One worker for each of two instances; and not a line for each find.
const ANY: [(&str, &str); 2] = [
    ("HOTSTOCK__SERVER__WORKERS", "1"),
    ("HOTSTOCK__LOG__FILTER", "warn"),
];

/// What heals by itself does so sooner than in production. Redis gets three times as long as the shipped 50 ms, because
/// a machine busy with other tests must not look like a fault.
fn impatient(options: ServiceOptions) -> ServiceOptions {
    let hold_ttl_ms = HOLD_TTL.as_millis().to_string();
    with(
        options,
        &[
            ("HOTSTOCK__GATE__HOLD_TTL_MS", &hold_ttl_ms),
            ("HOTSTOCK__GATE__LEASE_MS", "1000"),
            ("HOTSTOCK__REDIS__TIMEOUT_MS", "150"),
            ("HOTSTOCK__BREAKER__SLOW_MS", "100"),
            ("HOTSTOCK__BREAKER__DELAY_MS", "300"),
            ("HOTSTOCK__BREAKER__DELAY_MAX_MS", "1000"),
        ],
    )
}

/// Where Postgres is not what is harmed, it may take its time, for the same reason. How long an answer takes is judged
/// by the trial.
const PATIENT_WITH_POSTGRES: [(&str, &str); 3] = [
    ("HOTSTOCK__SERVER__REQUEST_DEADLINE_MS", "1500"),
    ("HOTSTOCK__DATABASE__POOL_WAIT_MS", "1000"),
    ("HOTSTOCK__DATABASE__LOCK_TIMEOUT_MS", "1000"),
];

fn with(options: ServiceOptions, settings: &[(&str, &str)]) -> ServiceOptions {
    settings
        .iter()
        .fold(options, |options, (key, value)| options.env(key, value))
}

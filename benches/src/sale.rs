//! One measurement of a sale: whoever sells is started on an empty database, sells, and the books are checked.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use devstack::{Redis, RedisOptions, Service, books, catalogue};
use futures_util::{StreamExt, TryStreamExt};

use crate::clients::{Answers, Choice, Counted, Keys, Load};
use crate::cost::Cost;
use crate::figures::{Figures, MEMORY_MB, OTHER_ANSWERS, P50_MS, P99_MS, PER_SECOND, REDIS_BYTES};
use crate::machine::memory_most_mb;
use crate::plan::Pace;
use crate::rivals::{self, Design};
use crate::stage::{Rival, Stage, connect, redis_connection};

/// Enough that no measurement ends sold out.
const PLENTY: i64 = 100_000_000;
/// What there is where everybody is to be refused; gone within the warm-up.
const LITTLE: i64 = 100;
const RIVALS_PRODUCT: i64 = 1;
const BALANCED_WITHIN: Duration = Duration::from_secs(20);
/// Products made at a time.
const MAKERS: usize = 16;

/// What the service tells of itself meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watching {
    /// Metrics: as it is shipped.
    Metrics,
    /// Metrics, and the traces of the share of requests it is shipped with, to a collector that takes them all.
    MetricsAndTraces,
    /// Nothing.
    Nothing,
}

/// Who sells what to whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sale {
    /// `None`: hotstock.
    pub(crate) rival: Option<Design>,
    pub(crate) connections: usize,
    /// Hot products, and how buyers choose.
    pub(crate) products: usize,
    pub(crate) choice: Choice,
    pub(crate) keys: Keys,
    pub(crate) counted: Counted,
    /// Redis is killed before the sale.
    pub(crate) without_redis: bool,
    /// Into the ledger that was filled before.
    pub(crate) full_ledger: bool,
    /// Every commit waits 2 ms before it is written.
    pub(crate) slow_commit: bool,
    pub(crate) watching: Watching,
}

impl Sale {
    /// hotstock, one hot product, 256 connections, ordered keys, everything in health.
    pub(crate) const PLAIN: Self = Self {
        rival: None,
        connections: 256,
        products: 1,
        choice: Choice::Uniform,
        keys: Keys::InOrder,
        counted: Counted::Sold,
        without_redis: false,
        full_ledger: false,
        slow_commit: false,
        watching: Watching::Metrics,
    };

    fn stock(&self) -> i64 {
        match self.counted {
            Counted::Sold => PLENTY,
            Counted::SoldOut => LITTLE,
        }
    }

    fn load(&self, port: u16, products: &[i64], pace: Pace) -> Load {
        Load {
            port,
            connections: self.connections,
            products: products.to_vec(),
            choice: self.choice,
            keys: self.keys,
            counted: self.counted,
            warm_up: pace.warm_up,
            measured: pace.measured,
        }
    }
}

/// Where one measurement happens.
struct Place {
    database: String,
    redis: String,
    /// Its own, when it is to die.
    own_redis: Option<Redis>,
}

impl Place {
    async fn prepare(stage: &Stage, sale: &Sale, full_ledger: Option<&str>) -> Result<Self> {
        let database = match full_ledger.filter(|_| sale.full_ledger) {
            Some(url) => url.to_owned(),
            None => stage.postgres.create_unique_database("sale").await?,
        };
        if sale.slow_commit {
            let name = database.rsplit('/').next().unwrap_or_default();
            let slow = format!(
                "ALTER DATABASE {name} SET commit_delay = 2000; ALTER DATABASE {name} SET commit_siblings = 0"
            );
            connect(&database).await?.batch_execute(&slow).await?;
        }
        let own_redis = match sale.without_redis {
            true => Some(Redis::start(RedisOptions::default()).await?),
            false => None,
        };
        let redis = match &own_redis {
            Some(redis) => redis.url(),
            None => stage.redis.create_database()?,
        };
        Ok(Self {
            database,
            redis,
            own_redis,
        })
    }

    async fn clear(self, stage: &Stage, sale: &Sale) -> Result<()> {
        if self.own_redis.is_none() {
            let mut redis = redis_connection(&self.redis).await?;
            let () = redis::cmd("FLUSHDB").query_async(&mut redis).await?;
        }
        if !sale.full_ledger {
            stage.drop_database(&self.database).await?;
        }
        stage.settle().await
    }
}

/// Measures once. An error if the books do not balance.
pub(crate) async fn measure(
    stage: &Stage,
    sale: &Sale,
    pace: Pace,
    full_ledger: Option<&str>,
) -> Result<Figures> {
    let place = Place::prepare(stage, sale, full_ledger).await?;
    let figures = match sale.rival {
        None => by_hotstock(stage, sale, pace, &place).await?,
        Some(design) => by_rival(stage, sale, pace, &place, design).await?,
    };
    place.clear(stage, sale).await?;
    Ok(figures)
}

async fn by_rival(stage: &Stage, sale: &Sale, pace: Pace, place: &Place, design: Design) -> Result<Figures> {
    rivals::prepare(
        design,
        &place.database,
        &place.redis,
        RIVALS_PRODUCT,
        sale.stock(),
    )
    .await?;
    let rival: Rival = stage.rival(design, &place.database, &place.redis).await?;
    let (answers, figures) = sell(sale.load(rival.port, &[RIVALS_PRODUCT], pace)).await?;
    let sold = answers.sold.get(&RIVALS_PRODUCT).copied().unwrap_or(0);
    let unknown = answers.others.values().sum();
    rivals::check(
        design,
        &place.database,
        &place.redis,
        RIVALS_PRODUCT,
        sale.stock(),
        (sold, unknown),
    )
    .await?;
    Ok(figures)
}

async fn by_hotstock(stage: &Stage, sale: &Sale, pace: Pace, place: &Place) -> Result<Figures> {
    let collector = match sale.watching {
        Watching::MetricsAndTraces => {
            let collector = stage.rival(Design::Nothing, &place.database, &place.redis);
            Some(collector.await?)
        }
        Watching::Metrics | Watching::Nothing => None,
    };
    let service = stage
        .service("product-service", |options| {
            let options = options.database_url(&place.database).redis_url(&place.redis);
            match &collector {
                Some(collector) => {
                    let url = format!("http://127.0.0.1:{}/v1/traces", collector.port);
                    options.env("HOTSTOCK__TELEMETRY__OTLP_URL", &url)
                }
                None if sale.watching == Watching::Nothing => {
                    options.env("HOTSTOCK__TELEMETRY__METRICS", "false")
                }
                None => options,
            }
        })
        .await?;
    let products = create_products(&service, sale).await?;
    if let Some(redis) = &place.own_redis {
        redis.kill()?;
    }
    let (answers, mut figures) = sell(sale.load(service.port(), &products, pace)).await?;
    figures.insert(MEMORY_MB, memory_most_mb(service.pid())?);
    let redis = place.own_redis.is_none().then_some(place.redis.as_str());
    let units = check(&place.database, redis, &products, &answers).await?;
    if let Some(redis) = redis.filter(|_| sale.counted == Counted::Sold) {
        figures.insert(REDIS_BYTES, redis_bytes(redis, &products).await? / units as f64);
    }
    service.stop().await?;
    Ok(figures)
}

async fn create_products(service: &Service, sale: &Sale) -> Result<Vec<i64>> {
    let url = service.url();
    let products = futures_util::stream::iter(0..sale.products)
        .map(|_| async { catalogue::create_product(&url, "Bench", 100, sale.stock(), true).await });
    products.buffered(MAKERS).try_collect().await
}

async fn sell(load: Load) -> Result<(Answers, Figures)> {
    let cost = Cost::begin()?;
    let answers = load.run().await?;
    let ms = |quantile| answers.latency_us.value_at_quantile(quantile) as f64 / 1e3;
    let mut figures = Figures::from([
        (PER_SECOND, answers.per_second),
        (P50_MS, ms(0.5)),
        (P99_MS, ms(0.99)),
    ]);
    cost.add_to(&mut figures, answers.answered)?;
    let others: i64 = answers.others.values().sum();
    if others > 0 {
        figures.insert(OTHER_ANSWERS, others as f64);
    }
    Ok((answers, figures))
}

/// Whether ledger, stock and gate agree with one another and with what the clients were told. Units sold.
async fn check(database: &str, redis: Option<&str>, products: &[i64], answers: &Answers) -> Result<i64> {
    let books = books::wait_until_balanced(database, redis, products, BALANCED_WITHIN).await?;
    let (mut sold_in_all, mut told_in_all) = (0, 0);
    let by_product: BTreeMap<_, _> = books
        .iter()
        .map(|book| (book.product_id, book.units_sold))
        .collect();
    let unknown: i64 = answers.others.values().sum();
    for product in products {
        let told = answers.sold.get(product).copied().unwrap_or(0);
        let sold = by_product
            .get(product)
            .copied()
            .context("a product without books")?;
        ensure!(
            (told..=told + unknown).contains(&sold),
            "product {product}: the ledger sold {sold}, the clients bought {told}"
        );
        (sold_in_all, told_in_all) = (sold_in_all + sold, told_in_all + told);
    }
    ensure!(
        (told_in_all..=told_in_all + unknown).contains(&sold_in_all),
        "the ledger sold {sold_in_all}, the clients bought {told_in_all}, {unknown} do not know"
    );
    Ok(sold_in_all)
}

/// What the keys of these products take, bytes.
async fn redis_bytes(url: &str, products: &[i64]) -> Result<f64> {
    let mut redis = redis_connection(url).await?;
    let mut bytes = 0;
    for product in products {
        for key in ["", ":gate", ":sold", ":buyers"] {
            let usage: Option<i64> = redis::cmd("MEMORY")
                .arg("USAGE")
                .arg(format!("stock:{{{product}}}{key}"))
                .arg("SAMPLES")
                .arg(0)
                .query_async(&mut redis)
                .await?;
            bytes += usage.unwrap_or(0);
        }
    }
    Ok(bytes as f64)
}

//! hotstock and the ordinary design, interleaved on the same servers with the same load tool.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use devstack::load::{FlashSale, Tally};
use devstack::{
    Durability, Postgres, PostgresOptions, Redis, RedisOptions, Service, ServiceOptions, catalogue,
};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::machine::Machine;
use crate::ordinary::{SCHEMA, ordinary_ledger, ordinary_products};

/// How much to run.
pub(crate) struct Plan {
    /// Rounds per design and number of connections, >= 1.
    pub(crate) rounds: usize,
    /// Seconds of load per round, >= 1.
    pub(crate) seconds: u64,
    /// Numbers of connections.
    pub(crate) connections: Vec<usize>,
}

/// What competes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Design {
    Hotstock,
    Ordinary,
}

/// One round with balanced books.
#[derive(Debug, Clone, Serialize)]
struct Round {
    design: Design,
    connections: usize,
    sales: u64,
    sales_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// Medians over the rounds of one design and number of connections, with the spread of the rate.
#[derive(Debug, Clone, Serialize)]
struct Row {
    design: Design,
    connections: usize,
    sales_per_second: f64,
    sales_per_second_min: f64,
    sales_per_second_max: f64,
    p50_ms: f64,
    p99_ms: f64,
}

#[derive(Serialize)]
struct Report {
    machine: Machine,
    seconds_per_round: u64,
    rows: Vec<Row>,
    rounds: Vec<Round>,
}

/// Enough stock that no round ends sold out.
const STOCK: i64 = 100_000_000;
/// Buyers of the run that finds out how many fit into a round; it also warms everything up.
const CALIBRATION_BUYERS: u64 = 4_000;

/// Runs the plan and prints the table.
pub(crate) async fn run(plan: &Plan, product_service: Option<PathBuf>, json: Option<PathBuf>) -> Result<()> {
    let bench = Bench::start(product_service).await?;
    let steps = plan.rounds * plan.connections.len() * 2;
    let progress = ProgressBar::new(u64::try_from(steps)?)
        .with_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}")?);
    let mut rounds = Vec::new();
    for connections in &plan.connections {
        for _ in 0..plan.rounds {
            for design in [Design::Hotstock, Design::Ordinary] {
                progress.set_message(format!("{design:?}, {connections} connections"));
                rounds.push(bench.round(design, *connections, plan.seconds).await?);
                progress.inc(1);
            }
        }
    }
    progress.finish_and_clear();
    let report = Report {
        machine: Machine::here(),
        seconds_per_round: plan.seconds,
        rows: rows(&rounds),
        rounds,
    };
    print(&report);
    if let Some(path) = json {
        std::fs::write(&path, serde_json::to_string_pretty(&report)?)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// The servers and both designs, running.
struct Bench {
    hotstock: Service,
    ordinary_url: String,
    _ordinary: Ended,
    database_url: String,
    redis_url: String,
    _postgres: Postgres,
    _redis: Redis,
}

/// A child that ends with this value.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Bench {
    async fn start(product_service: Option<PathBuf>) -> Result<Self> {
        let own = std::env::current_exe()?;
        let beside = own.parent().unwrap_or(Path::new(".")).join("product-service");
        let program = product_service.unwrap_or(beside);
        ensure!(
            program.exists(),
            "{} is missing: cargo build --release -p product-service",
            program.display()
        );
        let options = PostgresOptions {
            durability: Durability::Full,
            ..PostgresOptions::default()
        };
        let (postgres, redis) =
            tokio::try_join!(Postgres::start(options), Redis::start(RedisOptions::default()))?;
        let (database_url, redis_url) = (postgres.create_database("product").await?, redis.url());
        let hotstock = ServiceOptions::new("product-service", program)
            .database_url(&database_url)
            .redis_url(&redis_url)
            .env("HOTSTOCK__LOG__FILTER", "warn");
        let hotstock = Service::start(hotstock).await?;
        connect(&database_url).await?.batch_execute(SCHEMA).await?;
        let port = devstack::ports::free_port()?;
        let ordinary = Command::new(&own)
            .args(["ordinary", "--bind", &format!("127.0.0.1:{port}")])
            .args(["--database", &database_url, "--redis", &redis_url])
            .spawn()?;
        let ordinary_url = format!("http://127.0.0.1:{port}");
        let bench = Self {
            hotstock,
            ordinary_url,
            _ordinary: Ended(ordinary),
            database_url,
            redis_url,
            _postgres: postgres,
            _redis: redis,
        };
        devstack::wait_for("the ordinary design", Duration::from_secs(10), || async {
            tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .map_err(|error| error.to_string())
        })
        .await?;
        Ok(bench)
    }

    /// One round: a fresh product, as many buyers as fit into the time, then the books.
    async fn round(&self, design: Design, connections: usize, seconds: u64) -> Result<Round> {
        let url = match design {
            Design::Hotstock => self.hotstock.url(),
            Design::Ordinary => self.ordinary_url.clone(),
        };
        let hot = catalogue::create_product(&self.hotstock.url(), "Bench", 100, STOCK, true).await?;
        if design == Design::Ordinary {
            self.create_ordinary(hot).await?;
        }
        let mut sale = FlashSale::new(vec![url], vec![hot], CALIBRATION_BUYERS);
        sale.concurrency = connections;
        let calibration = sale.run().await?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a positive count"
        )]
        {
            sale.buyers = (calibration.sales_per_second() * seconds as f64) as u64;
        }
        let tally = sale.run().await?;
        let sold = i64::try_from(calibration.sales() + tally.sales())?;
        match design {
            Design::Hotstock => self.check_hotstock(hot, sold).await?,
            Design::Ordinary => self.check_ordinary(hot, sold).await?,
        }
        Ok(measured(design, connections, &tally))
    }

    async fn create_ordinary(&self, id: i64) -> Result<()> {
        let row = (ordinary_products::id.eq(id), ordinary_products::stock.eq(STOCK));
        let mut connection = connect(&self.database_url).await?;
        diesel::insert_into(ordinary_products::table)
            .values(row)
            .execute(&mut connection)
            .await?;
        let mut redis = redis::Client::open(self.redis_url.as_str())?
            .get_multiplexed_async_connection()
            .await?;
        let () = redis::cmd("SET")
            .arg(format!("ordinary:{id}"))
            .arg(STOCK)
            .query_async(&mut redis)
            .await?;
        Ok(())
    }

    async fn check_hotstock(&self, product: i64, sold: i64) -> Result<()> {
        let limit = Duration::from_secs(10);
        let books = devstack::books::wait_until_balanced(
            &self.database_url,
            Some(&self.redis_url),
            &[product],
            limit,
        )
        .await?;
        ensure!(
            books[0].units_sold == sold,
            "the ledger sold {}, the clients bought {sold}",
            books[0].units_sold
        );
        Ok(())
    }

    async fn check_ordinary(&self, product: i64, sold: i64) -> Result<()> {
        let mut connection = connect(&self.database_url).await?;
        let ledger: i64 = ordinary_ledger::table
            .filter(ordinary_ledger::product_id.eq(product))
            .count()
            .get_result(&mut connection)
            .await?;
        let stock: i64 = ordinary_products::table
            .filter(ordinary_products::id.eq(product))
            .select(ordinary_products::stock)
            .get_result(&mut connection)
            .await?;
        let mut redis = redis::Client::open(self.redis_url.as_str())?
            .get_multiplexed_async_connection()
            .await?;
        let counter: i64 = redis::cmd("GET")
            .arg(format!("ordinary:{product}"))
            .query_async(&mut redis)
            .await?;
        let left = STOCK - sold;
        ensure!(
            ledger == sold && stock == left && counter == left,
            "ordinary: clients bought {sold}, ledger {ledger}, stock {stock} of {left}, counter {counter}"
        );
        Ok(())
    }
}

async fn connect(url: &str) -> Result<AsyncPgConnection> {
    Ok(AsyncPgConnection::establish(url).await?)
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds for people")]
fn measured(design: Design, connections: usize, tally: &Tally) -> Round {
    let ms = |quantile| tally.sale_latency_us.value_at_quantile(quantile) as f64 / 1000.0;
    Round {
        design,
        connections,
        sales: tally.sales(),
        sales_per_second: tally.sales_per_second(),
        p50_ms: ms(0.5),
        p99_ms: ms(0.99),
    }
}

fn rows(rounds: &[Round]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for round in rounds {
        if rows
            .iter()
            .any(|row| row.design == round.design && row.connections == round.connections)
        {
            continue;
        }
        let same: Vec<&Round> = rounds
            .iter()
            .filter(|other| other.design == round.design && other.connections == round.connections)
            .collect();
        let sorted = |value: fn(&Round) -> f64| {
            let mut values: Vec<f64> = same.iter().map(|round| value(round)).collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let median = |values: &[f64]| values[values.len() / 2];
        let rates = sorted(|round| round.sales_per_second);
        rows.push(Row {
            design: round.design,
            connections: round.connections,
            sales_per_second: median(&rates),
            sales_per_second_min: rates[0],
            sales_per_second_max: rates[rates.len() - 1],
            p50_ms: median(&sorted(|round| round.p50_ms)),
            p99_ms: median(&sorted(|round| round.p99_ms)),
        });
    }
    rows
}

fn print(report: &Report) {
    let machine = &report.machine;
    println!(
        "{} x {}, commit {}",
        machine.cores, machine.processor, machine.commit
    );
    machine.servers.iter().for_each(|server| println!("{server}"));
    println!(
        "\n| connections | design | sales/s (median, min..max) | p50 ms | p99 ms | times the ordinary |"
    );
    println!("|---|---|---|---|---|---|");
    for row in &report.rows {
        let ordinary = report
            .rows
            .iter()
            .find(|other| other.design == Design::Ordinary && other.connections == row.connections);
        let times = ordinary.map_or(f64::NAN, |ordinary| {
            row.sales_per_second / ordinary.sales_per_second
        });
        println!(
            "| {} | {:?} | {:.0} ({:.0}..{:.0}) | {:.1} | {:.1} | {times:.1} |",
            row.connections,
            row.design,
            row.sales_per_second,
            row.sales_per_second_min,
            row.sales_per_second_max,
            row.p50_ms,
            row.p99_ms,
        );
    }
}

//! A real Prometheus watches a sale in which Redis dies and comes back. Afterwards every query there is has to have data:
//! those of the dashboards, of their annotations, of the recording rules, and what every alert looks at.
//!
//! A panel has data when, at some moment of the sale, its query returned a number. An alert is silent in health, so its
//! query says nothing then; what has to have data is what it looks at: each side of its `and`s without the comparison.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use devstack::{Prometheus, PrometheusOptions, Service, Target, wait_for};
use reqwest::Client;
use serde_json::{Value, json};

use crate::dashboards::{annotation_queries, panel_queries};
use crate::promql::looked_at;
use crate::repository;
use crate::world::World;

const PATIENCE: Duration = Duration::from_secs(30);
const SCRAPE: Duration = Duration::from_millis(500);
/// What a dashboard would use for so short an interval: four scrapes, so that a late one leaves two.
const RATE_INTERVAL: &str = "4s";

/// Asks a Prometheus.
struct Asked {
    client: Client,
    url: String,
}

impl Asked {
    async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value> {
        let mut url = reqwest::Url::parse(&format!("{}{path}", self.url))?;
        url.query_pairs_mut().extend_pairs(query);
        let reply: Value = self.client.get(url).send().await?.json().await?;
        ensure!(reply["status"] == "success", "{reply}");
        Ok(reply["data"].clone())
    }

    /// How many numbers a query returned between two moments. Those that are none (0/0) do not count.
    async fn numbers(&self, expression: &str, from: u64, to: u64) -> Result<usize> {
        let query = [
            ("query", expression.to_owned()),
            ("start", from.to_string()),
            ("end", to.to_string()),
            ("step", "1".to_owned()),
        ];
        let data = self.get("/api/v1/query_range", &query).await?;
        let series = data["result"].as_array().context("a matrix")?;
        let samples = series
            .iter()
            .filter_map(|series| series["values"].as_array())
            .flatten();
        let numbers = samples.filter(|sample| sample[1].as_str().is_some_and(|value| value != "NaN"));
        Ok(numbers.count())
    }

    async fn until(&self, expression: &str) -> Result<()> {
        wait_for(expression, PATIENCE, async || {
            let query = [("query", expression.to_owned())];
            let data = self
                .get("/api/v1/query", &query)
                .await
                .map_err(|error| error.to_string())?;
            let found = data["result"].as_array().is_some_and(|series| !series.is_empty());
            found.then_some(()).ok_or_else(|| data.to_string())
        })
        .await
    }
}

/// Buyers who order by both flows, one after another, until they are told to stop.
async fn buyers(world: Arc<World>, product: i64, stop: Arc<AtomicBool>) -> Result<()> {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let version = if number % 2 == 0 { "v1" } else { "v2" };
        let url = format!("{}/{version}/orders", world.order.url());
        let body = json!({ "productId": product, "quantity": 1, "buyerId": "ada" });
        let reply = world.client.post(url).json(&body).send().await?;
        // Sold out, or a service that says "later": not what this test is about.
        if reply.status().is_server_error() && reply.status() != 503 {
            bail!("{}: {}", reply.status(), reply.text().await?);
        }
    }
    Ok(())
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A Prometheus with the shipped configuration, on the services of a world.
async fn watch(world: Option<&World>) -> Result<(Prometheus, Asked)> {
    let services = world.map_or_else(Vec::new, |world| vec![&world.product, &world.order]);
    let target = |service: &&Service| Target {
        job: service.name().to_owned(),
        url: service.admin_url(),
    };
    let prometheus = Prometheus::start(PrometheusOptions {
        dir: None,
        config: repository("config/prometheus"),
        targets: services.iter().map(target).collect(),
        interval: Some(SCRAPE),
        preferred_port: None,
    })
    .await?;
    let asked = Asked {
        client: Client::new(),
        url: prometheus.url(),
    };
    Ok((prometheus, asked))
}

/// A sale of two products, one of them scarce, in the middle of which Redis dies and comes back. Ends when Prometheus has
/// seen all of it.
async fn sale_with_an_outage(world: &Arc<World>, asked: &Asked) -> Result<[i64; 2]> {
    let products = [world.hot_product(400).await?, world.hot_product(5).await?];
    let stop = Arc::new(AtomicBool::new(false));
    let selling: Vec<_> = [products[0], products[0], products[1]]
        .map(|product| tokio::spawn(buyers(world.clone(), product, stop.clone())))
        .into();
    asked
        .until("sum(hotstock_decisions_total{outcome=\"done\"}) > 10")
        .await?;
    world.stack.redis.kill()?;
    asked.until("hotstock_breaker_state{state=\"open\"} == 1").await?;
    world.stack.redis.restart().await?;
    for seen in [
        "hotstock_breaker_state{state=\"closed\"} == 1",
        "hotstock_product_unaccounted_units{product!=\"other\"} == 0",
        "hotstock:decisions_done:rate1m > 0",
    ] {
        asked.until(seen).await?;
    }
    stop.store(true, Ordering::Relaxed);
    for buyer in selling {
        buyer.await??;
    }
    Ok(products)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_dashboards_and_alerts_has_data_after_a_sale_with_a_redis_outage() {
    let world = World::start(&[("HOTSTOCK__BREAKER__DELAY_MS", "300")]).await;
    let world = Arc::new(world.unwrap());
    let (_prometheus, asked) = watch(Some(&world)).await.unwrap();
    asked.until("count(up == 1) == 2").await.unwrap();
    let from = now_s();
    let products = sale_with_an_outage(&world, &asked).await.unwrap();

    let mut silent = Vec::new();
    for (place, expression) in everything(&asked).await.unwrap() {
        // What is written last, an average over a minute say, may need another scrape.
        let found = wait_for(&expression, Duration::from_secs(3), async || {
            match asked.numbers(&expression, from, now_s()).await {
                Ok(0) => Err("nothing".to_owned()),
                Ok(_) => Ok(()),
                Err(error) => Err(format!("{error:#}")),
            }
        })
        .await;
        if let Err(error) = found {
            silent.push(format!("{place}: {error:#}"));
        }
    }
    assert!(silent.is_empty(), "{}", silent.join("\n"));
    let oversold = asked.numbers("product:hotstock_oversold_units:max > 0", from, now_s());
    assert_eq!(oversold.await.unwrap(), 0, "nothing is oversold");
    world
        .stack
        .wait_until_balanced(&products, PATIENCE)
        .await
        .unwrap();
}

/// Every query there is, with its place, as it can be asked.
async fn everything(asked: &Asked) -> Result<Vec<(String, String)>> {
    let mut queries = Vec::new();
    for query in panel_queries() {
        let expression = query
            .expression
            .replace("$__rate_interval", RATE_INTERVAL)
            .replace("$job", ".+")
            .replace("$instance", ".+")
            .replace("$product", ".+");
        ensure!(!expression.contains('$'), "{}: {expression}", query.place);
        queries.push((query.place, expression));
    }
    for query in annotation_queries() {
        queries.push((query.place, query.expression));
    }
    let rules = asked.get("/api/v1/rules", &[]).await?;
    let groups = rules["groups"].as_array().context("groups")?;
    let mut alerts = 0;
    for rule in groups
        .iter()
        .filter_map(|group| group["rules"].as_array())
        .flatten()
    {
        let (name, expression) = (rule["name"].as_str(), rule["query"].as_str());
        let (name, expression) = (name.context("a name")?, expression.context("a query")?);
        ensure!(rule["health"] == "ok", "{name}: {rule}");
        if rule["type"] == "alerting" {
            alerts += 1;
            queries.extend(
                looked_at(expression)
                    .into_iter()
                    .map(|part| (format!("alert {name}"), part)),
            );
        } else {
            queries.push((format!("rule {name}"), name.to_owned()));
        }
    }
    ensure!(alerts >= 15, "only {alerts} alerts are loaded");
    Ok(queries)
}

/// The alerts as Prometheus understands them.
#[tokio::test(flavor = "multi_thread")]
async fn which_alerts_there_are() {
    let (_prometheus, asked) = watch(None).await.unwrap();
    let rules = asked
        .get("/api/v1/rules", &[("type", "alert".to_owned())])
        .await
        .unwrap();
    let listed: String = rules["groups"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|group| group["rules"].as_array())
        .flatten()
        .map(|rule| {
            format!(
                "{} ({}, for {} s)\n    {}\n",
                rule["name"].as_str().unwrap(),
                rule["labels"]["severity"].as_str().unwrap(),
                rule["duration"],
                rule["query"].as_str().unwrap()
            )
        })
        .collect();
    insta::assert_snapshot!("alerts", listed);
}

//! `cargo dev flash-sale`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use devstack::load::{self, FlashSale, Stores};
use devstack::{catalogue, stack_file};

use crate::project::Project;
use crate::show::{self, Step};

const BOOKS_WRONG: u8 = 2;
const BAR_INTERVAL: Duration = Duration::from_millis(100);
const LINE_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Args)]
pub(crate) struct FlashSaleArgs {
    /// Units of each product
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..=1_000_000_000_000))]
    stock: i64,
    /// Buyers in all, spread over the products; each asks once
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    buyers: u64,
    /// Buyers that ask at the same time, each over its own connection
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=16_384))]
    concurrency: u16,
    /// New products to sell
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    products: u16,
    /// Arrivals per second, whether or not earlier ones are answered; latency counts from the intended arrival
    #[arg(long)]
    rate: Option<f64>,
    /// Units per buyer: a number, or a range such as 1-3
    #[arg(long, default_value = "1", value_parser = parse_quantities)]
    quantity: RangeInclusive<i64>,
    /// Sell through the database alone (strategy DB_ONLY)
    #[arg(long)]
    db_only: bool,
    /// Urls of product-service, comma separated [default: PRODUCT_URLS or PRODUCT_URL of the running stack]
    #[arg(long, value_delimiter = ',')]
    product_url: Vec<String>,
    /// Url of its admin listener [default: PRODUCT_ADMIN_URL of the running stack]
    #[arg(long)]
    product_admin_url: Option<String>,
    /// Its database, for the audit [default: PRODUCT_DATABASE_URL of the running stack]
    #[arg(long)]
    database_url: Option<String>,
    /// Its Redis, for the audit [default: REDIS_URL of the running stack]
    #[arg(long)]
    redis_url: Option<String>,
}

/// Where the stack is: flags before `.dev/env` before the environment.
struct Target {
    product_urls: Vec<String>,
    product_admin_url: Option<String>,
    stores: Stores,
}

/// Sells, judges, prints the verdict.
pub(crate) async fn run(args: &FlashSaleArgs) -> Result<ExitCode> {
    let target = Target::find(args)?;
    let product_ids = create_products(args, &target).await?;
    let sale = FlashSale {
        quantities: args.quantity.clone(),
        concurrency: usize::from(args.concurrency),
        rate_per_second: args.rate,
        ..FlashSale::new(target.product_urls, product_ids, args.buyers)
    };
    let verdict = tokio::select! {
        verdict = load::flash_sale(&sale, &target.stores) => verdict?,
        never = show_progress(&sale) => match never {},
    };
    show::result(&format!("\n{verdict}"));
    Ok(if verdict.is_true() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(BOOKS_WRONG)
    })
}

async fn create_products(args: &FlashSaleArgs, target: &Target) -> Result<Vec<i64>> {
    let step = Step::begin(&format!(
        "creating {} product(s) of {} units",
        args.products, args.stock
    ));
    let url = &target.product_urls[0];
    let mut product_ids = Vec::new();
    for number in 1..=args.products {
        let name = format!("Flash sale {number}");
        let product_id = catalogue::create_product(url, &name, 4_900, args.stock, !args.db_only)
            .await
            .context("is the stack running? (cargo dev up)")?;
        if let (false, Some(admin_url), Some(_)) =
            (args.db_only, &target.product_admin_url, &target.stores.redis_url)
        {
            catalogue::load_gate(admin_url, product_id).await?;
        }
        product_ids.push(product_id);
    }
    step.done();
    Ok(product_ids)
}

/// Draws until it is dropped.
async fn show_progress(sale: &FlashSale) -> std::convert::Infallible {
    let bar = show::bar(sale.buyers, "{pos}/{len} buyers  {per_sec}");
    let interval = if bar.is_some() {
        BAR_INTERVAL
    } else {
        LINE_INTERVAL
    };
    let mut shown = 0;
    loop {
        tokio::time::sleep(interval).await;
        let buyers = sale.progress.buyers.load(Ordering::Relaxed);
        let sales = sale.progress.sales.load(Ordering::Relaxed);
        let status = if buyers == sale.buyers {
            "; auditing the books"
        } else {
            ""
        };
        match &bar {
            Some(bar) => {
                bar.set_position(buyers);
                bar.set_message(format!("{sales} sold{status}"));
            }
            None if buyers == shown => {}
            None => show::progress(&format!(
                "{buyers}/{} buyers answered, {sales} sold{status}",
                sale.buyers
            )),
        }
        shown = buyers;
    }
}

impl Target {
    fn find(args: &FlashSaleArgs) -> Result<Self> {
        let file = stack_file::read(&Project::find()?.stack_file())?.unwrap_or_default();
        let mut product_urls = args.product_url.clone();
        if product_urls.is_empty() {
            let listed = lookup(&file, "PRODUCT_URLS").or_else(|| lookup(&file, "PRODUCT_URL"));
            let listed =
                listed.context("no stack is running here (cargo dev up), and no --product-url is given")?;
            product_urls = listed.split(',').map(str::to_owned).collect();
        }
        let or_listed = |flag: &Option<String>, key| flag.clone().or_else(|| lookup(&file, key));
        Ok(Self {
            product_urls,
            product_admin_url: or_listed(&args.product_admin_url, "PRODUCT_ADMIN_URL"),
            stores: Stores {
                database_url: or_listed(&args.database_url, "PRODUCT_DATABASE_URL")
                    .context("no database to audit: PRODUCT_DATABASE_URL or --database-url")?,
                redis_url: or_listed(&args.redis_url, "REDIS_URL"),
            },
        })
    }
}

fn lookup(file: &BTreeMap<String, String>, key: &str) -> Option<String> {
    // A stack that runs without something says so by leaving the key out; then the environment is not asked either.
    if file.is_empty() {
        std::env::var(key).ok()
    } else {
        file.get(key).cloned()
    }
}

fn parse_quantities(text: &str) -> Result<RangeInclusive<i64>, String> {
    let (least, most) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| {
        text.trim()
            .parse::<i64>()
            .map_err(|_| format!("{text:?} is no number"))
    };
    let range = number(least)?..=number(most)?;
    if range.is_empty() || *range.start() < 1 {
        Err(format!("{text} is no range of units"))
    } else {
        Ok(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_a_number_or_a_range() {
        assert_eq!(parse_quantities("2"), Ok(2..=2));
        assert_eq!(parse_quantities("1-3"), Ok(1..=3));
        for wrong in ["", "0", "-1", "3-1", "1-", "x", "1-2-3"] {
            assert!(parse_quantities(wrong).is_err(), "{wrong}");
        }
    }
}

//! `cargo dev flash-sale`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use devstack::chaos::Harm;
use devstack::load::{self, FlashSale, Stores, Via};
use devstack::{books, catalogue, stack_file};

use crate::chaos::parse_duration;
use crate::project::Project;
use crate::show::{self, Step};
use crate::under_chaos::{HEALED_WITHIN, Plan};

const BOOKS_WRONG: u8 = 2;
const BUYERS_MAX: u64 = 100_000_000;
/// Never sold out within the longest sale.
const PLENTY: i64 = 1_000_000_000;
const BAR_INTERVAL: Duration = Duration::from_millis(100);
const LINE_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Args)]
pub(crate) struct FlashSaleArgs {
    /// The way buyers take
    #[arg(long, value_enum, default_value_t = Via::Decrease)]
    via: Via,
    /// Units of each product [default with --chaos: enough for everybody]
    #[arg(long, required_unless_present = "chaos")]
    #[arg(value_parser = clap::value_parser!(i64).range(0..=1_000_000_000_000))]
    stock: Option<i64>,
    /// Buyers in all, spread over the products; each asks once [default with --chaos: as many as find time]
    #[arg(long, required_unless_present = "chaos", value_parser = clap::value_parser!(u64).range(1..=BUYERS_MAX))]
    buyers: Option<u64>,
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
    /// Break something in the middle of the sale (`cargo dev chaos --help` says what), and show what that does to it
    ///
    /// The sale then lasts --seconds: at full speed, or with the --buyers evenly spread over them.
    #[arg(long, value_enum, value_name = "FAULT")]
    chaos: Option<Harm>,
    /// How long the sale lasts, s
    #[arg(long, requires = "chaos", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// When it is broken: a share of the sale's time such as 20%, or a time such as 2s
    #[arg(long, requires = "chaos", value_name = "WHEN", default_value = "30%", value_parser = parse_after)]
    chaos_after: After,
    /// How long it stays broken, such as 3s or 500ms
    #[arg(long, requires = "chaos", value_name = "TIME", default_value = "3s", value_parser = parse_duration)]
    chaos_for: Duration,
    /// Which instance of product-service is broken, from 1
    #[arg(long, requires = "chaos", value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=32))]
    chaos_instance: u16,
    /// Urls of product-service, comma separated [default: PRODUCT_URLS or PRODUCT_URL of the running stack]
    #[arg(long, value_delimiter = ',')]
    product_url: Vec<String>,
    /// Urls of its admin listeners, comma separated [default: PRODUCT_ADMIN_URLS of the running stack]
    #[arg(long, value_delimiter = ',')]
    product_admin_url: Vec<String>,
    /// Urls of order-service, comma separated [default: ORDER_URLS or ORDER_URL of the running stack]
    #[arg(long, value_delimiter = ',')]
    order_url: Vec<String>,
    /// Its database, for the audit [default: ORDER_DATABASE_URL of the running stack]
    #[arg(long)]
    order_database_url: Option<String>,
    /// Database of product-service, for the audit [default: PRODUCT_DATABASE_URL of the running stack]
    #[arg(long)]
    database_url: Option<String>,
    /// Its Redis, for the audit [default: REDIS_URL of the running stack]
    #[arg(long)]
    redis_url: Option<String>,
}

/// A point of the sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Percent(u32),
    Time(Duration),
}

/// Where the stack is: flags before `.dev/env` before the environment.
struct Target {
    stack_file: PathBuf,
    product_urls: Vec<String>,
    product_admin_urls: Vec<String>,
    order_urls: Vec<String>,
    stores: Stores,
}

/// Sells, judges, prints the verdict.
pub(crate) async fn run(args: &FlashSaleArgs) -> Result<ExitCode> {
    let plan = args.plan()?;
    let target = Target::find(args)?;
    let product_ids = create_products(args, &target).await?;
    let urls = if args.via.is_by_order() {
        &target.order_urls
    } else {
        &target.product_urls
    };
    let sale = args.sale(urls.clone(), product_ids.clone());
    let hot_ids = if args.db_only { Vec::new() } else { product_ids };
    let happening = async {
        let Some(plan) = plan else { return Ok(None) };
        let (stack_file, admin_urls) = (&target.stack_file, &target.product_admin_urls);
        plan.happen(stack_file, &sale.progress, admin_urls, &hot_ids)
            .await
            .map(Some)
    };
    let all = async {
        let before = books::audit(&target.stores.database_url, None, &sale.product_ids).await?;
        let (tally, story) = tokio::try_join!(sale.run(), happening)?;
        // Judged when everything is healed, so that the gate is part of it.
        let verdict = load::judge(&sale, &target.stores, &before, tally).await?;
        anyhow::Ok((verdict, story))
    };
    let (verdict, story) = tokio::select! {
        both = all => both?,
        never = show_progress(&sale) => match never {},
    };
    show::result(&format!("\n{verdict}"));
    if let Some(story) = story {
        show::result(&story.table(&verdict.tally));
    }
    Ok(if verdict.is_true() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(BOOKS_WRONG)
    })
}

impl FlashSaleArgs {
    fn plan(&self) -> Result<Option<Plan>> {
        let Some(harm) = self.chaos else { return Ok(None) };
        let seconds = Duration::from_secs(self.seconds);
        let after = match self.chaos_after {
            After::Percent(percent) => seconds * percent / 100,
            After::Time(time) => time,
        };
        if after + self.chaos_for >= seconds {
            bail!(
                "broken after {after:?} for {:?}, it would outlast the sale: a longer one with --seconds",
                self.chaos_for
            );
        }
        Ok(Some(Plan {
            harm,
            instance: usize::from(self.chaos_instance) - 1,
            after,
            lasts: self.chaos_for,
        }))
    }

    fn sale(&self, urls: Vec<String>, product_ids: Vec<i64>) -> FlashSale {
        let lasts = self.chaos.map(|_| Duration::from_secs(self.seconds));
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 buyers")]
        let spread = self
            .buyers
            .filter(|_| lasts.is_some())
            .map(|buyers| buyers as f64 / self.seconds as f64);
        let sale = FlashSale::new(urls, product_ids, self.buyers.unwrap_or(BUYERS_MAX));
        FlashSale {
            via: self.via,
            quantities: self.quantity.clone(),
            concurrency: usize::from(self.concurrency),
            rate_per_second: self.rate.or(spread),
            lasts,
            balanced_within: if lasts.is_some() {
                HEALED_WITHIN
            } else {
                sale.balanced_within
            },
            ..sale
        }
    }
}

async fn create_products(args: &FlashSaleArgs, target: &Target) -> Result<Vec<i64>> {
    let stock = args.stock.unwrap_or(PLENTY);
    let step = Step::begin(&format!("creating {} product(s) of {stock} units", args.products));
    let url = &target.product_urls[0];
    let mut product_ids = Vec::new();
    for number in 1..=args.products {
        let name = format!("Flash sale {number}");
        let product_id = catalogue::create_product(url, &name, 4_900, stock, !args.db_only)
            .await
            .context("is the stack running? (cargo dev up)")?;
        if let (false, Some(admin_url), Some(_)) = (
            args.db_only,
            target.product_admin_urls.first(),
            &target.stores.redis_url,
        ) {
            catalogue::load_gate(admin_url, product_id).await?;
        }
        product_ids.push(product_id);
    }
    step.done();
    Ok(product_ids)
}

/// Draws until it is dropped.
async fn show_progress(sale: &FlashSale) -> std::convert::Infallible {
    // Either the buyers end the sale, or its time does.
    let bar = match sale.lasts {
        Some(lasts) => show::bar(lasts.as_secs(), "{pos}/{len} s"),
        None => show::bar(sale.buyers, "{pos}/{len} buyers  {per_sec}"),
    };
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
        let elapsed_s = sale
            .progress
            .started
            .get()
            .map_or(0, |started| started.elapsed().as_secs());
        let is_over = sale.lasts.is_some_and(|lasts| elapsed_s > lasts.as_secs());
        let word = if sale.via == Via::V2 { "accepted" } else { "sold" };
        let status = if buyers == sale.buyers || is_over {
            "; auditing the books"
        } else {
            ""
        };
        match &bar {
            Some(bar) => {
                bar.set_position(sale.lasts.map_or(buyers, |_| elapsed_s));
                bar.set_message(format!("{sales} {word}{status}"));
            }
            None if buyers == shown => {}
            None => show::progress(&format!("{buyers} buyers answered, {sales} {word}{status}")),
        }
        shown = buyers;
    }
}

impl Target {
    fn find(args: &FlashSaleArgs) -> Result<Self> {
        let stack_file = Project::find()?.stack_file();
        let file = stack_file::read(&stack_file)?.unwrap_or_default();
        let urls_or_listed = |flag: &Vec<String>, key: &str| {
            if !flag.is_empty() {
                return flag.clone();
            }
            let listed = lookup(&file, &format!("{key}S")).or_else(|| lookup(&file, key));
            let urls = listed.iter().flat_map(|urls| urls.split(','));
            urls.map(str::to_owned).collect()
        };
        let product_urls = urls_or_listed(&args.product_url, "PRODUCT_URL");
        if product_urls.is_empty() {
            bail!("no stack is running here (cargo dev up), and no --product-url is given");
        }
        let order_urls = urls_or_listed(&args.order_url, "ORDER_URL");
        if args.via.is_by_order() && order_urls.is_empty() {
            bail!("nobody to place orders with: ORDER_URL or --order-url");
        }
        let or_listed = |flag: &Option<String>, key| flag.clone().or_else(|| lookup(&file, key));
        Ok(Self {
            stack_file,
            product_urls,
            product_admin_urls: urls_or_listed(&args.product_admin_url, "PRODUCT_ADMIN_URL"),
            order_urls,
            stores: Stores {
                database_url: or_listed(&args.database_url, "PRODUCT_DATABASE_URL")
                    .context("no database to audit: PRODUCT_DATABASE_URL or --database-url")?,
                redis_url: or_listed(&args.redis_url, "REDIS_URL"),
                orders_url: or_listed(&args.order_database_url, "ORDER_DATABASE_URL"),
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

fn parse_after(text: &str) -> Result<After, String> {
    let Some(percent) = text.strip_suffix('%') else {
        return parse_duration(text).map(After::Time);
    };
    match percent.parse() {
        Ok(percent @ 0..=99) => Ok(After::Percent(percent)),
        _ => Err(format!("{text} is no share of the sale's time: 0% to 99%")),
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

    #[test]
    fn a_point_of_the_sale_is_a_share_or_a_time() {
        assert_eq!(parse_after("20%"), Ok(After::Percent(20)));
        assert_eq!(parse_after("2s"), Ok(After::Time(Duration::from_secs(2))));
        for wrong in ["100%", "-1%", "%", "20", ""] {
            assert!(parse_after(wrong).is_err(), "{wrong}");
        }
    }

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        sale: FlashSaleArgs,
    }

    fn args(line: &str) -> Result<FlashSaleArgs, clap::Error> {
        use clap::Parser;
        let words = std::iter::once("flash-sale").chain(line.split_whitespace());
        Ok(Cli::try_parse_from(words)?.sale)
    }

    #[test]
    fn with_chaos_a_sale_lasts_a_time_and_without_it_has_buyers() {
        assert!(args("--stock 5").is_err() && args("--buyers 5").is_err());
        assert!(args("--stock 5 --buyers 5 --seconds 5").is_err());
        let sale = |args: &FlashSaleArgs| args.sale(vec![String::new()], vec![1]);
        let plain = args("--stock 5 --buyers 5").unwrap();
        assert!(plain.plan().unwrap().is_none());
        assert_eq!((sale(&plain).lasts, sale(&plain).rate_per_second), (None, None));

        let chaos = args("--chaos redis-kill --seconds 20").unwrap();
        let plan = chaos.plan().unwrap().unwrap();
        assert_eq!(
            (plan.after, plan.lasts),
            (Duration::from_secs(6), Duration::from_secs(3))
        );
        assert_eq!(sale(&chaos).lasts, Some(Duration::from_secs(20)));
        assert_eq!(sale(&chaos).rate_per_second, None);
        let spread = args("--chaos redis-kill --buyers 500").unwrap();
        assert_eq!(sale(&spread).rate_per_second, Some(50.0));
        assert!(
            args("--chaos redis-kill --chaos-for 8s").unwrap().plan().is_err(),
            "too long"
        );
    }
}

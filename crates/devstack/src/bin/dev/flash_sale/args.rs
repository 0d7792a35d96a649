//! The command line of `cargo dev flash-sale`, and the sale it asks for.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use devstack::chaos::Harm;
use devstack::load::scenario::Size;
use devstack::load::{Arrivals, FlashSale, Scenario, Spike, Threshold, Via};

use crate::chaos::parse_duration;
use crate::under_chaos::{HEALED_WITHIN, Plan};

const BUYERS_MAX: u64 = 100_000_000;
const CHAOS_LASTS: Duration = Duration::from_secs(10);

#[derive(Args)]
pub(crate) struct FlashSaleArgs {
    /// What kind of sale; all of them end in the same audit
    #[arg(long, value_enum, default_value_t)]
    pub(super) scenario: Scenario,
    /// The way buyers take
    #[arg(long, value_enum, default_value_t = Via::Decrease)]
    pub(super) via: Via,
    /// Units of each product [default: the scenario's; with --chaos: enough for everybody]
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..=1_000_000_000_000))]
    stock: Option<i64>,
    /// Buyers in all; each asks once [default: the scenario's, or as many as find time]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=BUYERS_MAX))]
    buyers: Option<u64>,
    /// How long the sale lasts, s [default: the scenario's; with --chaos: 10; otherwise until all buyers have asked]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,
    /// Buyers that ask at the same time, each over its own connection
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=16_384))]
    concurrency: u16,
    /// New products to sell [default: the scenario's, mostly 1]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    products: Option<u16>,
    /// Arrivals per second, at random intervals, whether or not earlier ones are answered (the open model)
    ///
    /// Latency counts from the intended arrival, so that a service that stalls is not asked less and shown better.
    /// Without it (the closed model) a client asks as soon as it has been answered.
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    /// The rate rises evenly from 0 within this time, such as 10s
    #[arg(long, value_name = "TIME", requires = "rate", value_parser = parse_duration)]
    ramp: Option<Duration>,
    /// Many buyers at once, with or without --rate: such as '5000 within 200ms' or '5000 within 200ms at 3s'
    #[arg(long, value_name = "SPIKE", value_parser = parse_spike)]
    spike: Option<Spike>,
    /// Arrivals that may wait for a free connection; more are turned away and counted
    #[arg(long, value_name = "N", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    waiting: u32,
    /// Of arrivals, choices and cancellations: the same seed, the same sale [default: any]
    #[arg(long)]
    seed: Option<u64>,
    /// Units per buyer: a number, or a range such as 1-3
    #[arg(long, default_value = "1", value_parser = parse_quantities)]
    quantity: RangeInclusive<i64>,
    /// Sell through the database alone (strategy DB_ONLY)
    #[arg(long)]
    pub(super) db_only: bool,
    /// Exit with 1 if this is true, such as 'p99>20ms' or 'error_ratio>0.01'; may be given several times
    ///
    /// Times (20ms, 1.5s, 800us): pN such as p50, p99 or p99.9, max, mean, of all buyers. Ratios (0.01 or 1%):
    /// error_ratio (no answer, a 5xx, or turned away), dropped_ratio. Numbers: dropped, sales, sales_per_second,
    /// answers_per_second. Comparisons: > >= < <=.
    #[arg(long, value_name = "FIGURE>BOUND")]
    pub(super) fail_if: Vec<Threshold>,
    /// Write everything about the run to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// Write a page with charts to this file; it needs nothing else to be read
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
    /// Break something in the middle of the sale (`cargo dev chaos --help` says what), and show what that does to it
    ///
    /// The sale then lasts --seconds: at full speed, or with the --buyers spread over them.
    #[arg(long, value_enum, value_name = "FAULT")]
    chaos: Option<Harm>,
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
    pub(super) product_url: Vec<String>,
    /// Urls of its admin listeners, comma separated [default: PRODUCT_ADMIN_URLS of the running stack]
    #[arg(long, value_delimiter = ',')]
    pub(super) product_admin_url: Vec<String>,
    /// Urls of order-service, comma separated [default: ORDER_URLS or ORDER_URL of the running stack]
    #[arg(long, value_delimiter = ',')]
    pub(super) order_url: Vec<String>,
    /// Its database, for the audit [default: ORDER_DATABASE_URL of the running stack]
    #[arg(long)]
    pub(super) order_database_url: Option<String>,
    /// Database of product-service, for the audit [default: PRODUCT_DATABASE_URL of the running stack]
    #[arg(long)]
    pub(super) database_url: Option<String>,
    /// Its Redis, for the audit [default: REDIS_URL of the running stack]
    #[arg(long)]
    pub(super) redis_url: Option<String>,
}

/// A point of the sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Percent(u32),
    Time(Duration),
}

/// What is sold: new products of one kind.
pub(super) struct Shelf {
    pub(super) products: u16,
    pub(super) stock: i64,
}

impl FlashSaleArgs {
    /// What is to be broken, and when.
    pub(super) fn plan(&self) -> Result<Option<Plan>> {
        let Some(harm) = self.chaos else { return Ok(None) };
        let lasts = self.lasts().unwrap_or(CHAOS_LASTS);
        let after = match self.chaos_after {
            After::Percent(percent) => lasts * percent / 100,
            After::Time(time) => time,
        };
        if after + self.chaos_for >= lasts {
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

    /// What to sell.
    pub(super) fn shelf(&self) -> Result<Shelf> {
        let size = self.scenario.size();
        let stock = match self.stock.or(size.stock) {
            None if self.chaos.is_none() => bail!("how many units are there? --stock"),
            None => Size::PLENTY,
            Some(stock) => stock,
        };
        let products = self.products.unwrap_or(size.products);
        Ok(Shelf { products, stock })
    }

    /// The sale of these products.
    pub(super) fn sale(&self, urls: Vec<String>, product_ids: Vec<i64>) -> Result<FlashSale> {
        let (lasts, arrivals) = (self.lasts(), self.arrivals());
        // With a time, or a spike alone, it ends by itself.
        let ends = lasts.is_some() || arrivals.is_some_and(|arrivals| arrivals.rate_per_second == 0.0);
        let buyers = self.buyers.or(self.scenario.size().buyers);
        let buyers = buyers.or(ends.then_some(BUYERS_MAX));
        let buyers = buyers.context("when does it end? --buyers or --seconds")?;
        let sale = FlashSale::new(urls, product_ids, buyers);
        Ok(self.scenario.shape(FlashSale {
            via: self.via,
            quantities: self.quantity.clone(),
            concurrency: usize::from(self.concurrency),
            arrivals,
            waiting_max: usize::try_from(self.waiting)?,
            lasts,
            balanced_within: if self.chaos.is_some() {
                HEALED_WITHIN
            } else {
                sale.balanced_within
            },
            seed: self.seed.unwrap_or(sale.seed),
            ..sale
        }))
    }

    fn lasts(&self) -> Option<Duration> {
        let by_default = self.scenario.size().lasts.filter(|_| self.buyers.is_none());
        self.seconds
            .map(Duration::from_secs)
            .or(by_default)
            .or(self.chaos.map(|_| CHAOS_LASTS))
    }

    fn arrivals(&self) -> Option<Arrivals> {
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 buyers")]
        let spread = match (self.chaos, self.buyers, self.lasts()) {
            (Some(_), Some(buyers), Some(lasts)) => Some(buyers as f64 / lasts.as_secs_f64()),
            _ => None,
        };
        let by_default = spread.or(self.scenario.size().rate_per_second);
        let rate = self.rate.or(by_default.filter(|_| self.spike.is_none()));
        (rate.is_some() || self.spike.is_some()).then_some(Arrivals {
            rate_per_second: rate.unwrap_or(0.0),
            ramp: self.ramp.unwrap_or_default(),
            spike: self.spike,
        })
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

/// `N within TIME`, or `N within TIME at TIME`.
fn parse_spike(text: &str) -> Result<Spike, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (buyers, within, at) = match words[..] {
        [buyers, "within", within] => (buyers, within, "0ms"),
        [buyers, "within", within, "at", at] => (buyers, within, at),
        _ => {
            return Err(String::from(
                "a spike is: 5000 within 200ms, or 5000 within 200ms at 3s",
            ));
        }
    };
    let count = buyers
        .parse()
        .ok()
        .filter(|count| (1..=BUYERS_MAX).contains(count));
    Ok(Spike {
        buyers: count.ok_or_else(|| format!("{buyers:?} is no number of buyers"))?,
        within: parse_duration(within)?,
        at: parse_duration(at)?,
    })
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
    fn a_spike_is_so_many_buyers_within_a_time() {
        let spike = Spike {
            buyers: 5_000,
            within: Duration::from_millis(200),
            at: Duration::from_secs(3),
        };
        assert_eq!(parse_spike("5000 within 200ms at 3s"), Ok(spike));
        let at_once = Spike {
            at: Duration::ZERO,
            ..spike
        };
        assert_eq!(parse_spike("5000 within 200ms"), Ok(at_once));
        for wrong in [
            "",
            "5000",
            "0 within 1s",
            "x within 1s",
            "5 within x",
            "5 within 1s at",
            "5 in 1s",
        ] {
            assert!(parse_spike(wrong).is_err(), "{wrong}");
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

    fn sale(line: &str) -> FlashSale {
        args(line).unwrap().sale(vec![String::new()], vec![1]).unwrap()
    }

    fn rate(sale: &FlashSale) -> Option<f64> {
        sale.arrivals.map(|arrivals| arrivals.rate_per_second)
    }

    #[test]
    fn a_rush_needs_stock_and_an_end() {
        assert!(args("--buyers 5").unwrap().shelf().is_err());
        let endless = args("--stock 5").unwrap();
        assert!(endless.sale(vec![String::new()], vec![1]).is_err());
        assert_eq!(sale("--stock 5 --seconds 5").buyers, BUYERS_MAX);
        let plain = sale("--stock 5 --buyers 5");
        assert_eq!((plain.buyers, plain.lasts, rate(&plain)), (5, None, None));
    }

    #[test]
    fn with_chaos_a_sale_lasts_a_time() {
        assert!(args("--stock 5 --buyers 5").unwrap().plan().unwrap().is_none());
        let chaos = args("--chaos redis-kill --seconds 20").unwrap();
        let plan = chaos.plan().unwrap().unwrap();
        assert_eq!(
            (plan.after, plan.lasts),
            (Duration::from_secs(6), Duration::from_secs(3))
        );
        let lasting = sale("--chaos redis-kill --seconds 20");
        assert_eq!(
            (lasting.lasts, rate(&lasting)),
            (Some(Duration::from_secs(20)), None)
        );
        assert_eq!(rate(&sale("--chaos redis-kill --buyers 500")), Some(50.0));
        let own_rate = sale("--chaos redis-kill --buyers 500 --rate 7");
        assert_eq!(rate(&own_rate), Some(7.0));
        let outlasting = args("--chaos redis-kill --chaos-for 9s").unwrap();
        assert!(outlasting.plan().is_err());
    }

    #[test]
    fn a_spike_alone_ends_by_itself() {
        use clap::Parser;
        let words = ["flash-sale", "--stock", "5", "--spike", "100 within 1s"];
        let args = Cli::try_parse_from(words).unwrap().sale;
        let sale = args.sale(vec![String::new()], vec![1]).unwrap();
        assert_eq!((sale.buyers, rate(&sale)), (BUYERS_MAX, Some(0.0)));
    }

    #[test]
    fn a_scenario_has_a_size_of_its_own_and_can_be_told_another() {
        let one_buyer = args("--scenario one-buyer").unwrap();
        assert_eq!(one_buyer.shelf().unwrap().stock, 1_000);
        assert!(sale("--scenario one-buyer").is_one_buyer);
        let zipf = args("--scenario zipf --products 3 --stock 7").unwrap();
        let shelf = zipf.shelf().unwrap();
        assert_eq!((shelf.products, shelf.stock), (3, 7));
        let soak = sale("--scenario soak");
        assert_eq!(
            (soak.lasts, rate(&soak)),
            (Some(Duration::from_secs(600)), Some(500.0))
        );
        let short = sale("--scenario soak --seconds 5 --rate 9");
        assert_eq!(
            (short.lasts, rate(&short)),
            (Some(Duration::from_secs(5)), Some(9.0))
        );
        assert_eq!(sale("--scenario retry-storm --buyers 7").lasts, None);
    }

    #[test]
    fn a_wrong_threshold_is_a_wrong_command_line() {
        let error = args("--stock 5 --buyers 5 --fail-if p99>20").err().unwrap();
        assert!(
            error.to_string().contains("is not a time such as 20ms"),
            "{error}"
        );
    }
}

//! `cargo dev flash-sale`.

mod args;
mod target;

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result};
use devstack::load::threshold::Finding;
use devstack::load::{self, Account, FlashSale, Storm, Verdict, Via};
use devstack::{books, catalogue};

pub(crate) use args::FlashSaleArgs;

use crate::show::{self, Step};
use args::Shelf;
use target::Target;

/// A threshold is crossed.
const CROSSED: u8 = 1;
/// The books are wrong, whatever the thresholds say.
const BOOKS_WRONG: u8 = 3;
const BAR_INTERVAL: Duration = Duration::from_millis(100);
const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// Sells, judges, prints the verdict.
pub(crate) async fn run(args: &FlashSaleArgs) -> Result<ExitCode> {
    let (plan, shelf) = (args.plan()?, args.shelf()?);
    // What makes no sense is said before anything is done.
    args.sale(vec![String::new()], vec![0])?.check()?;
    let target = Target::find(args)?;
    let product_ids = create_products(args, &shelf, &target).await?;
    let urls = if args.via.is_by_order() {
        &target.order_urls
    } else {
        &target.product_urls
    };
    let mut sale = args.sale(urls.clone(), product_ids.clone())?;
    let storm = match args.scenario.is_stormy() {
        true => Some(Storm::start(&mut sale)?),
        false => None,
    };
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
    if let Some(storm) = storm {
        let (storms, hit) = (storm.storms(), storm.connections_hit());
        show_row("storms", &format!("{storms}, {hit} connections lost a reply"));
    }
    if let Some(story) = story {
        show::result(&story.table(&verdict.tally));
    }
    show_course(&sale, &verdict);
    let findings: Vec<Finding> = args.fail_if.iter().map(|it| it.judge(&verdict.tally)).collect();
    for finding in &findings {
        show_row(&finding.threshold, &finding.to_string());
    }
    write_account(args, &sale, &shelf, &verdict, &findings)?;
    Ok(if !verdict.is_true() {
        ExitCode::from(BOOKS_WRONG)
    } else if findings.iter().any(|finding| finding.is_crossed) {
        ExitCode::from(CROSSED)
    } else {
        ExitCode::SUCCESS
    })
}

async fn create_products(args: &FlashSaleArgs, shelf: &Shelf, target: &Target) -> Result<Vec<i64>> {
    let Shelf { products, stock } = shelf;
    let step = Step::begin(&format!("creating {products} product(s) of {stock} units"));
    let url = &target.catalogue_url;
    let mut product_ids = Vec::new();
    for number in 1..=*products {
        let name = format!("Flash sale {number}");
        let product_id = catalogue::create_product(url, &name, 4_900, *stock, !args.db_only)
            .await
            .context("is the stack running? (cargo dev up)")?;
        if let Some(limit) = args.scenario.purchase_limit() {
            catalogue::limit_purchases(url, product_id, limit).await?;
        }
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

/// Whether a sale that lasted got slower.
fn show_course(sale: &FlashSale, verdict: &Verdict) {
    let fifths = sale
        .lasts
        .and_then(|_| verdict.tally.course.first_and_last_fifth());
    let Some((first, last)) = fifths else { return };
    for (what, latency_us) in [("first fifth", first), ("last fifth", last)] {
        let ms = |quantile| Duration::from_micros(latency_us.value_at_quantile(quantile)).as_secs_f64() * 1e3;
        show_row(
            &format!("latency, {what} of the time"),
            &format!("p50 {:.1} ms   p99 {:.1} ms", ms(0.5), ms(0.99)),
        );
    }
}

fn show_row(what: &str, value: &str) {
    show::result(&format!("{what:<34}  {value}"));
}

fn write_account(
    args: &FlashSaleArgs,
    sale: &FlashSale,
    shelf: &Shelf,
    verdict: &Verdict,
    findings: &[Finding],
) -> Result<()> {
    let scenario = args.scenario.name();
    let settings = settings(sale, shelf);
    let account = Account {
        scenario: &scenario,
        settings: &settings,
        verdict,
        findings,
    };
    let write = |path: &Path, text: String| {
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    if let Some(path) = &args.json {
        write(path, format!("{:#}\n", account.json()))?;
    }
    if let Some(path) = &args.html {
        write(path, account.page().html())?;
    }
    Ok(())
}

/// What the sale was, name and value.
fn settings(sale: &FlashSale, shelf: &Shelf) -> Vec<(String, String)> {
    let mut settings = vec![
        ("via", format!("{:?}", sale.via).to_lowercase()),
        ("products", shelf.products.to_string()),
        ("stock", shelf.stock.to_string()),
        ("connections", sale.concurrency.to_string()),
        ("seed", sale.seed.to_string()),
    ];
    match sale.arrivals {
        None => settings.push(("model", String::from("closed"))),
        Some(arrivals) => {
            settings.push(("model", String::from("open")));
            settings.push(("rate", format!("{} per second", arrivals.rate_per_second)));
            if !arrivals.ramp.is_zero() {
                settings.push(("ramp", format!("{:?}", arrivals.ramp)));
            }
            if let Some(spike) = arrivals.spike {
                let words = format!("{} within {:?} at {:?}", spike.buyers, spike.within, spike.at);
                settings.push(("spike", words));
            }
        }
    }
    settings.extend(sale.lasts.map(|lasts| ("lasts", format!("{lasts:?}"))));
    let named = settings.into_iter();
    named.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Draws until it is dropped.
async fn show_progress(sale: &FlashSale) -> std::convert::Infallible {
    // Either the buyers end the sale, or its time does, or the spike.
    let spike = sale.arrivals.and_then(|arrivals| arrivals.spike);
    let buyers_max = spike.map_or(sale.buyers, |spike| match sale.arrivals {
        Some(arrivals) if arrivals.rate_per_second == 0.0 => sale.buyers.min(spike.buyers),
        _ => sale.buyers,
    });
    let bar = match sale.lasts {
        Some(lasts) => show::bar(lasts.as_secs(), "{pos}/{len} s"),
        None => show::bar(buyers_max, "{pos}/{len} buyers  {per_sec}"),
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
        let dropped = sale.progress.dropped.load(Ordering::Relaxed);
        let elapsed_s = sale
            .progress
            .started
            .get()
            .map_or(0, |started| started.elapsed().as_secs());
        let is_over = sale.lasts.is_some_and(|lasts| elapsed_s > lasts.as_secs());
        let word = if sale.via == Via::V2 { "accepted" } else { "sold" };
        let mut status = format!("{sales} {word}");
        if dropped > 0 {
            status.push_str(&format!(", {dropped} turned away"));
        }
        if buyers + dropped >= buyers_max || is_over {
            status.push_str("; auditing the books");
        }
        match &bar {
            Some(bar) => {
                bar.set_position(sale.lasts.map_or(buyers + dropped, |_| elapsed_s));
                bar.set_message(status);
            }
            None if buyers == shown => {}
            None => show::progress(&format!("{buyers} buyers answered, {status}")),
        }
        shown = buyers;
    }
}

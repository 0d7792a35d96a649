//! A trial: buyers on both instances, a fault in the middle of the sale, its end, and the audit.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use devstack::books::ProductBooks;
use devstack::wait_for;
use futures_util::future::join_all;

use crate::client::{Client, Told, decrease_key, fresh_order_id};
use crate::evidence::{Evidence, Lateness, Snapshot, Watch};
use crate::load::{Answers, Asked, Line, Load};
use crate::report::Row;
use crate::shop::{FEW, PLENTY, Shop};

/// From the end of the fault until every gate is loaded, exact, and without holds.
const HEALED: Duration = Duration::from_secs(5);
/// No answer is slower. Where the answer is that the deadline of 1 s is over, it comes that much later.
const SLOWEST: Duration = Duration::from_secs(1);
const PAST_DEADLINE: Duration = Duration::from_millis(250);
/// For what is not judged by its time.
const SOON: Duration = Duration::from_secs(20);
/// Sales before the fault, and how long the rate before it is measured.
const WARM: u64 = 100;
const CALM: Duration = Duration::from_secs(1);

/// A fault, and what it may do.
pub(crate) struct Plan {
    name: &'static str,
    /// How long the fault lasts, beyond what making it takes.
    lasts: Duration,
    /// Whether it hit.
    proof: fn(&Evidence) -> bool,
    /// Whether buyers may be told to come again: never because of Redis.
    may_be_later: bool,
    /// Whether buyers may be left without an answer.
    may_be_cut_off: bool,
    /// Whether buyers may be refused while there are units.
    may_refuse: bool,
    /// Whether there may be a time in which nothing is sold.
    may_pause: bool,
    /// The instance whose own buyers wait as long as it takes.
    frozen: Option<usize>,
}

impl Plan {
    /// A fault of Redis: nobody notices.
    pub(crate) fn new(name: &'static str, lasts_ms: u64, proof: fn(&Evidence) -> bool) -> Self {
        Self {
            name,
            lasts: Duration::from_millis(lasts_ms),
            proof,
            may_be_later: false,
            may_be_cut_off: false,
            may_refuse: false,
            may_pause: false,
            frozen: None,
        }
    }

    /// A fault of Postgres: buyers may be told to come again.
    pub(crate) fn of_postgres(self) -> Self {
        Self {
            may_be_later: true,
            may_pause: true,
            ..self
        }
    }

    /// A fault of an instance: its buyers are cut off.
    pub(crate) fn of_a_process(self) -> Self {
        Self {
            may_be_cut_off: true,
            ..self
        }
    }

    /// An instance that does nothing for a while: nobody can bound what its buyers wait.
    pub(crate) fn freezes(self, instance: usize) -> Self {
        Self {
            frozen: Some(instance),
            ..self
        }
    }

    /// A gate that says that there is less than there is, until it is found out.
    pub(crate) fn may_refuse(self) -> Self {
        Self {
            may_refuse: true,
            ..self
        }
    }
}

/// What a trial has shown.
pub(crate) struct Shown {
    pub(crate) lines: Vec<Line>,
    pub(crate) products: [i64; 2],
}

/// Runs one fault; `harm` and `heal` get the hot product that never sells out.
pub(crate) async fn trial(
    shop: &Shop,
    plan: Plan,
    harm: impl AsyncFnOnce(i64),
    heal: impl AsyncFnOnce(),
) -> Shown {
    let products = [shop.product(PLENTY).await, shop.product(FEW).await];
    let lateness = Lateness::start();
    let load = warm(shop, products).await;
    let before = Snapshot::of(shop).await;
    let watch = Watch::start(shop);

    let (_, rate_before) = rate(&load, tokio::time::sleep(CALM)).await;
    let harmed = Instant::now();
    let fault = async {
        harm(products[0]).await;
        tokio::time::sleep(plan.lasts).await;
    };
    let (sales, rate_during) = rate(&load, fault).await;
    heal().await;

    let healed = Instant::now();
    let at_heal = Snapshot::of(shop).await;
    back_at_the_gate(shop, &plan, &before, &at_heal, healed).await;
    let (opened, closed) = watch.end().await;
    let lines = load.end().await;
    let excuse = lateness.excuse();
    let balanced = loaded_and_balanced(shop, &products, HEALED.saturating_sub(healed.elapsed())).await;
    let took = healed.elapsed();
    let evidence = before.since(shop).await;
    let slowest = slowest(&plan, &lines);
    Row {
        name: plan.name,
        evidence: &evidence,
        lines: &lines,
        rates: [rate_before, rate_during],
        slowest,
        excuse,
        opened: opened.map(|at| at.saturating_duration_since(harmed)),
        closed: closed.map(|at| at.saturating_duration_since(healed)),
        balanced: took,
    }
    .write();
    let books =
        balanced.unwrap_or_else(|error| panic!("{}: {error:#}\n{evidence}\n{}", plan.name, shop.logs()));
    let shown = Shown { lines, products };
    judge(&plan, &shown, sales, slowest.saturating_sub(excuse));
    audit(shop, &shown, &books).await;
    shown
}

/// Units sold while something goes on, and that per second.
async fn rate(load: &Load, meanwhile: impl Future<Output = ()>) -> (u64, f64) {
    let (started, sales) = (Instant::now(), load.sales());
    meanwhile.await;
    let sold = load.sales() - sales;
    (sold, sold as f64 / started.elapsed().as_secs_f64())
}

/// Of all whose wait the service can bound.
fn slowest(plan: &Plan, lines: &[Line]) -> Duration {
    let judged = lines.iter().filter(|line| Some(line.instance) != plan.frozen);
    judged.map(|line| line.took).max().unwrap_or_default()
}

/// Buyers, once both instances sell by way of the gate.
pub(crate) async fn warm(shop: &Shop, products: [i64; 2]) -> Load {
    let urls: Vec<String> = shop.services.iter().map(|service| service.url()).collect();
    let start = Snapshot::of(shop).await;
    let load = Load::start(&urls, products);
    let load_ref = &load;
    let start_ref = &start;
    wait_for("sales", SOON, || async move {
        let evidence = start_ref.since(shop).await;
        let sales = load_ref.sales();
        // A Redis that is refused from the start has a breaker open by now, which is as good.
        let at_the_gate = uses_the_gate(&evidence) || evidence.all_opened();
        if sales >= WARM && at_the_gate {
            Ok(())
        } else {
            Err(format!("{sales} sales, {evidence}"))
        }
    })
    .await
    .unwrap();
    load
}

fn uses_the_gate(evidence: &Evidence) -> bool {
    let held =
        |counters: &std::collections::BTreeMap<String, u64>| counters.contains_key("gate_admissions held");
    evidence.instances.iter().all(held)
}

/// Waits until every breaker is closed, every instance asks the gate and the fault has shown.
async fn back_at_the_gate(shop: &Shop, plan: &Plan, before: &Snapshot, at_heal: &Snapshot, healed: Instant) {
    let left = HEALED.saturating_sub(healed.elapsed());
    let back = wait_for("everybody to be back at the gate", left, || async {
        let now = Snapshot::of(shop).await;
        let evidence = before.until(&now);
        if !now.all_closed() || !uses_the_gate(&at_heal.until(&now)) {
            // Asking takes its time too, on a busy machine.
            tokio::time::sleep(Duration::from_millis(60)).await;
            return Err(format!(
                "a breaker is not closed, or a gate is not asked: {evidence}"
            ));
        }
        if !(plan.proof)(&evidence) {
            return Err(format!(
                "the fault did not show: {evidence}; {}",
                evidence.finds()
            ));
        }
        Ok(())
    });
    let back = back.await;
    back.unwrap_or_else(|error| panic!("{}: {error:#}\n{}", plan.name, shop.logs()));
}

async fn loaded_and_balanced(
    shop: &Shop,
    products: &[i64; 2],
    timeout: Duration,
) -> anyhow::Result<Vec<ProductBooks>> {
    wait_for("gates that are loaded and balance", timeout, || async {
        let books = shop
            .stack
            .audit(products)
            .await
            .map_err(|error| format!("{error:#}"))?;
        let faults: Vec<String> = books.iter().flat_map(ProductBooks::faults).collect();
        if !faults.is_empty() {
            return Err(faults.join("; "));
        }
        if books.iter().any(|books| books.gate.is_none()) {
            return Err("a gate is not loaded".to_owned());
        }
        Ok(books)
    })
    .await
}

/// What buyers were told, and how soon.
fn judge(plan: &Plan, shown: &Shown, sales: u64, slowest: Duration) {
    let answers = Answers(&shown.lines);
    let words = answers.by_word();
    let name = plan.name;
    for word in words.keys() {
        let allowed = match word.as_str() {
            "200" | "INSUFFICIENT_STOCK" => true,
            "503" => plan.may_be_later,
            "no connection" | "connection broken" => plan.may_be_cut_off,
            _ => false,
        };
        assert!(allowed, "{name}: {words:?}");
    }
    let limit = if plan.may_be_later {
        SLOWEST + PAST_DEADLINE
    } else {
        SLOWEST
    };
    assert!(slowest < limit, "{name}: the slowest answer took {slowest:?}");
    assert!(sales > 0 || plan.may_pause, "{name}: nothing was sold meanwhile");
    let refused =
        answers.count(|line| line.product == shown.products[0] && matches!(line.told, Told::Refused(_)));
    assert!(
        refused == 0 || plan.may_refuse,
        "{name}: {refused} refused while there were units"
    );
}

/// Every promise is in the ledger, once; the books say what buyers were told; what is left can be had to the last unit.
async fn audit(shop: &Shop, shown: &Shown, books: &[ProductBooks]) {
    let answers = Answers(&shown.lines);
    let ids = shop.stack.sold_request_ids(&shown.products).await.unwrap();
    let mut remaining: HashMap<i64, i64> = HashMap::new();
    for line in shown.lines.iter().filter(|line| line.asked == Asked::Decrease) {
        let Told::Done { remaining: left, .. } = line.told else {
            continue;
        };
        assert!(
            ids.contains(&decrease_key(line.order)),
            "{line:?} is not in the ledger"
        );
        let first = *remaining.entry(line.order).or_insert(left);
        assert_eq!(first, left, "told otherwise the second time: {line:?}");
    }
    for (books, stock) in books.iter().zip([PLENTY, FEW]) {
        let (least, most) = answers.units_gone(books.product_id);
        let gone = stock - books.stock;
        assert!(
            least <= gone && gone <= most,
            "{gone} units are gone, {least}..={most} by what was told: {books:?}"
        );
    }
    ask_again(shop, &shown.lines).await;
    sell_out(shop, shown.products[1]).await;
}

/// Whoever was told yes is told the same yes, by any instance.
async fn ask_again(shop: &Shop, lines: &[Line]) {
    const ASKERS: usize = 40;
    let done: Vec<&Line> = lines
        .iter()
        .filter(|line| line.asked == Asked::Decrease && line.told.is_done())
        .collect();
    let mut clients: Vec<Client> = shop
        .services
        .iter()
        .map(|service| Client::new(&service.url()))
        .collect();
    let cancelled: Vec<i64> = lines
        .iter()
        .filter(|line| line.asked == Asked::Cancel)
        .map(|line| line.order)
        .collect();
    let step = done.len().div_ceil(ASKERS).max(1);
    for (index, line) in done.into_iter().step_by(step).enumerate() {
        if cancelled.contains(&line.order) {
            continue;
        }
        let client = &mut clients[index % shop.services.len()];
        let again = client.decrease(line.product, line.order, 1).await;
        let Told::Done {
            remaining,
            is_replay: true,
        } = again
        else {
            panic!("{line:?}, then {again:?}");
        };
        assert!(matches!(line.told, Told::Done { remaining: first, .. } if first == remaining));
    }
}

/// Without a fault, exactly what is left can be had.
async fn sell_out(shop: &Shop, product: i64) {
    let buyers = (0..8).map(async |buyer| {
        let mut client = Client::new(&shop.services[buyer % shop.services.len()].url());
        let mut later = 0;
        loop {
            match client.decrease(product, fresh_order_id(), 1).await {
                Told::Done { .. } => {}
                // Whoever is told to come again does, and so the units held for him are not left over.
                Told::Later => later += 1,
                other => return (later, other),
            }
        }
    });
    let told = join_all(buyers).await;
    let books = shop.stack.wait_until_balanced(&[product], HEALED).await.unwrap();
    assert_eq!(books[0].stock, 0, "units are left that nobody can have: {told:?}");
}

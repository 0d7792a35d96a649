//! One row of the table: an order is brought to a point, the service is killed there, comes back, is killed again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use contracts::order::OrderStatus;
use devstack::proxy::Fault;
use devstack::wait_for;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::gate::Stop;
use crate::lane::{Lane, REACHED_WITHIN, Victim};
use crate::table::{Flow, Point, Row, Sent};
use crate::writes::{HeldWrite, Write};

/// How long a client may have to ask until he is told.
const TOLD_WITHIN: Duration = Duration::from_secs(30);

/// A point where an order of one product is held up, from now on.
enum Held {
    Write(Write, Box<HeldWrite>),
    Message(Stop),
}

impl Held {
    async fn arm(lane: &Lane, point: Point, product: i64) -> Result<Self> {
        let message = |sent, passes| {
            let (gate, what) = lane.gate_of(sent, product, passes);
            Self::Message(gate.stop(what))
        };
        Ok(match point {
            Point::Write(write, end) => {
                Self::Write(write, Box::new(HeldWrite::arm(lane, write, end, product).await?))
            }
            Point::OnItsWay(sent) => message(sent, false),
            Point::Arrived(sent) => message(sent, true),
        })
    }

    async fn reached(&mut self, lane: &Lane) -> Result<()> {
        match self {
            Self::Write(write, held) => held.reached(lane.way_of(*write)).await,
            Self::Message(stop) => {
                wait_for("the message to be held", REACHED_WITHIN, async || {
                    stop.holds().then_some(()).ok_or("it did not come by".to_owned())
                })
                .await
            }
        }
    }

    /// The kill has come: was it there, at that moment? Then what the dead have left is cleared away.
    async fn hit(&self, lane: &Lane) -> Result<()> {
        match self {
            Self::Write(_, held) => held.was_hit().await?,
            // It was held when it was reached, and only the test lets it go; with the dead its connection may have ended.
            Self::Message(_) => {}
        }
        lane.bury();
        match self {
            Self::Write(write, held) if lane.is_done_by_the_victim(*write) => held.end_sessions().await,
            _ => Ok(()),
        }
    }

    async fn let_go(self, lane: &Lane) -> Result<()> {
        match self {
            Self::Write(write, held) => {
                lane.way_of(write).set(Fault::Pass);
                held.let_go().await
            }
            Self::Message(stop) => {
                drop(stop);
                Ok(())
            }
        }
    }
}

/// All rows, one after the other, with one service as the one that is killed; then the audit. Says how often it was
/// killed where it should be.
pub(crate) async fn run_all(victim: Victim, rows: &[Row], settings: &[(&str, &str)]) -> Result<usize> {
    let lane = Arc::new(Lane::start(victim, settings).await?);
    let others = lane.stocked(1_000_000, "REDIS_FIRST").await?;
    let end = CancellationToken::new();
    let background = tokio::spawn(Arc::clone(&lane).background(others, end.clone()));
    let (mut products, mut clients, mut kills) = (vec![others], JoinSet::new(), 0);
    for row in rows {
        let started = Instant::now();
        let (product, hit) = run(&lane, *row, &mut clients)
            .await
            .with_context(|| format!("{row:?}, {victim:?} killed\n{}", lane.log_tails()))?;
        println!(
            "{victim:?} killed at {row:?}: {hit} times, {:?}",
            started.elapsed()
        );
        products.push(product);
        kills += hit;
    }
    end.cancel();
    background.await?;
    let books = lane
        .settled(&products)
        .await
        .with_context(|| format!("{victim:?} killed"))?;
    for (row, product) in rows.iter().zip(&products[1..]) {
        let of_row: Vec<_> = books
            .orders
            .iter()
            .filter(|order| order.product_id == *product)
            .collect();
        ensure!(
            of_row.len() == 1 && ends(row.flow).contains(&of_row[0].status),
            "{row:?}: {of_row:?}"
        );
    }
    let confirmed = books
        .orders
        .iter()
        .filter(|order| (order.product_id, order.status) == (others, OrderStatus::Confirmed));
    ensure!(confirmed.count() > 0, "nothing was sold in the background");
    let told = async { while clients.join_next().await.is_some() {} };
    tokio::time::timeout(TOLD_WITHIN, told)
        .await
        .context("a client was never told what became of his order")?;
    Ok(kills)
}

/// What may become of an order.
fn ends(flow: Flow) -> &'static [OrderStatus] {
    match flow {
        Flow::V2 => &[OrderStatus::Confirmed],
        Flow::Cancel => &[OrderStatus::Cancelled],
        Flow::V1Refused => &[OrderStatus::Failed],
        // Recovery may get the answer that the request did not.
        Flow::V1 | Flow::Compensation => &[OrderStatus::Confirmed, OrderStatus::Failed],
    }
}

/// One row; its product, and how often the kill hit.
async fn run(lane: &Lane, row: Row, clients: &mut JoinSet<()>) -> Result<(i64, usize)> {
    let stock = if row.flow == Flow::V1Refused { 0 } else { 10 };
    let product = lane.stocked(stock, "DB_ONLY").await?;
    let mut to_cancel = None;
    if row.flow == Flow::Cancel {
        lane.order(Flow::V1, product).await?;
        to_cancel = Some(lane.becomes(product, "CONFIRMED").await?);
    }
    let mut first = Held::arm(lane, row.first, product).await?;
    // What must not happen meanwhile: the next point is armed from the start, and the answer to be lost is.
    let mut again = match row.again {
        Some(point) if point != row.first => Some(Held::arm(lane, point, product).await?),
        _ => None,
    };
    let lost = match row.flow {
        Flow::Compensation => Some(Held::arm(lane, Point::OnItsWay(Sent::DecreaseReply), product).await?),
        _ => None,
    };
    let client = match to_cancel {
        Some(id) => lane.cancel(id),
        None => lane.order(row.flow, product),
    };
    clients.spawn(async { client.await.unwrap_or_default() });
    first.reached(lane).await.context("the first time")?;
    lane.kill()?;
    first.hit(lane).await.context("the first time")?;
    let mut held = match (row.again, again.take()) {
        (_, Some(next)) => {
            first.let_go(lane).await?;
            Some(next)
        }
        (Some(_), None) => Some(first),
        (None, None) => {
            first.let_go(lane).await?;
            None
        }
    };
    lane.restart().await?;
    if let Some(held) = &mut held {
        held.reached(lane).await.context("the second time")?;
    }
    lane.kill()?;
    match held {
        Some(held) => {
            held.hit(lane).await.context("the second time")?;
            held.let_go(lane).await?;
        }
        None => lane.bury(),
    }
    if let Some(lost) = lost {
        lost.let_go(lane).await?;
    }
    lane.restart().await?;
    Ok((product, 2))
}

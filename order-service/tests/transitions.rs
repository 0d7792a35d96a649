//! The state machine as the database keeps it: every event on an order of every status, by the statements themselves.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use contracts::error::ErrorCode;
use contracts::order::OrderStatus::{self, Cancelled, Confirmed, Failed, Pending};
use devstack::shared_postgres;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use order_service::db::conclude::{Conclude, Concluded, Conclusion, conclude};
use order_service::db::{migrations, orders, saga};
use order_service::domain::attempt::Attempt;
use order_service::domain::order::{Event, FailReason, TRANSITIONS};
use platform::config::{DatabaseConfig, Secret};
use platform::database::{Pool, migrate, pool};

const LIMIT: Duration = Duration::from_secs(10);

async fn database() -> Result<Pool> {
    let url = shared_postgres().await?.create_unique_database("orders").await?;
    migrate(&Secret::new(&url), Path::new(""), migrations()).await?;
    Ok(pool(
        "test",
        &DatabaseConfig {
            url: Secret::new(url),
            owner_url: Secret::new(""),
            ca_file: PathBuf::new(),
            pool_size: 4,
            pool_wait_ms: 5000,
            lock_timeout_ms: 5000,
            statement_timeout_ms: 5000,
            connect_timeout_ms: 5000,
        },
    )?)
}

/// Order 1, in this status, in its second attempt.
async fn order_in(pool: &Pool, status: OrderStatus) -> Result<()> {
    let (status, reason) = match status {
        Pending => ("PENDING", "NULL"),
        Confirmed => ("CONFIRMED", "NULL"),
        Cancelled => ("CANCELLED", "NULL"),
        Failed => ("FAILED", "'SOME_REASON'"),
    };
    let written = format!(
        "TRUNCATE orders, saga; INSERT INTO orders (id, product_id, quantity, flow, status, fail_reason, attempt) \
         OVERRIDING SYSTEM VALUE VALUES (1, 1, 1, 'SYNC', '{status}', {reason}, 1)"
    );
    Ok(pool.get().await?.batch_execute(&written).await?)
}

async fn voids(pool: &Pool) -> Result<Vec<i32>> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Integer)]
        attempt: i32,
    }
    let rows = diesel::sql_query("SELECT attempt FROM saga WHERE step = 'VOID' ORDER BY attempt");
    let rows: Vec<Row> = rows.load(&mut pool.get().await?).await?;
    Ok(rows.into_iter().map(|row| row.attempt).collect())
}

async fn concluded(pool: &Pool, number: i32, conclusion: Conclusion) -> Result<Concluded> {
    let attempt = Attempt { order_id: 1, number };
    let batch = [Conclude { attempt, conclusion }];
    conclude(pool, LIMIT, &batch).await?.pop().context("one answer")
}

fn failed(void: bool) -> Conclusion {
    Conclusion::Failed {
        reason: FailReason::Refused(ErrorCode::InsufficientStock),
        void,
    }
}

#[tokio::test]
async fn every_event_changes_the_one_status_it_may_and_no_other() -> Result<()> {
    let pool = database().await?;
    for status in [Pending, Confirmed, Cancelled, Failed] {
        for (event, leaves, enters) in TRANSITIONS {
            order_in(&pool, status).await?;
            let changed = match event {
                Event::Taken => concluded(&pool, 1, Conclusion::Taken).await?.changed,
                Event::Failed => concluded(&pool, 1, failed(false)).await?.changed,
                Event::Returned => concluded(&pool, 1, Conclusion::Returned).await?.changed,
                Event::Retried => saga::retry(&pool, 1, 1000, None).await?.is_some(),
            };
            assert_eq!(changed, status == leaves, "{event:?} on {status:?}");
            let now = orders::get(&pool, 1).await?.context("the order")?;
            assert_eq!(
                now.status,
                if changed { enters } else { status },
                "{event:?} on {status:?}"
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_is_said_of_an_earlier_attempt_changes_nothing() -> Result<()> {
    let pool = database().await?;
    for status in [Pending, Confirmed, Cancelled, Failed] {
        for conclusion in [Conclusion::Taken, failed(true), Conclusion::Returned] {
            order_in(&pool, status).await?;
            assert!(
                !concluded(&pool, 0, conclusion.clone()).await?.changed,
                "{conclusion:?} on {status:?}"
            );
            // But stock that an earlier attempt took is always given back.
            let expected: &[i32] = if conclusion == Conclusion::Taken {
                &[0]
            } else {
                &[]
            };
            assert_eq!(voids(&pool).await?, expected, "{conclusion:?} on {status:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_late_success_of_a_failed_order_is_voided_and_one_of_a_confirmed_or_cancelled_order_is_a_repetition()
-> Result<()> {
    let pool = database().await?;
    for (status, expected) in [(Confirmed, vec![]), (Cancelled, vec![]), (Failed, vec![1])] {
        order_in(&pool, status).await?;
        for _ in 0..2 {
            assert_eq!(
                concluded(&pool, 1, Conclusion::Taken)
                    .await?
                    .order
                    .map(|order| order.status),
                Some(status)
            );
            assert_eq!(voids(&pool).await?, expected, "{status:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn contradictions_in_one_batch_take_effect_in_their_order() -> Result<()> {
    let pool = database().await?;
    let attempt = Attempt {
        order_id: 1,
        number: 1,
    };
    let say = |conclusion| Conclude { attempt, conclusion };
    order_in(&pool, Pending).await?;
    let batch = [
        say(failed(false)),
        say(Conclusion::Taken),
        say(Conclusion::Taken),
        say(failed(true)),
    ];
    let concluded = conclude(&pool, LIMIT, &batch).await?;
    let changed: Vec<bool> = concluded.iter().map(|one| one.changed).collect();
    assert_eq!(changed, [true, false, false, false]);
    assert_eq!(
        voids(&pool).await?,
        [1],
        "refused first, taken after all: given back"
    );
    order_in(&pool, Pending).await?;
    let batch = [
        say(Conclusion::Taken),
        say(failed(true)),
        say(Conclusion::Returned),
        say(Conclusion::Taken),
    ];
    let concluded = conclude(&pool, LIMIT, &batch).await?;
    let changed: Vec<bool> = concluded.iter().map(|one| one.changed).collect();
    assert_eq!(changed, [true, false, true, false]);
    assert!(voids(&pool).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn an_answer_about_an_order_that_is_not_there_says_so() -> Result<()> {
    let pool = database().await?;
    let concluded = concluded(&pool, 0, Conclusion::Taken).await?;
    assert_eq!(
        (concluded.order, concluded.changed, concluded.too_late),
        (None, false, false)
    );
    Ok(())
}

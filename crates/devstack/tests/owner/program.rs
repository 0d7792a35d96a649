//! Owns a Redis and a Postgres, says which, and waits to be killed: `tests/servers.rs` looks at what is left then.

use std::time::Duration;

use devstack::{shared_postgres, shared_redis};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let redis = shared_redis().await?;
    let postgres = shared_postgres().await?;
    println!(
        "{} {} {}",
        redis.pid(),
        postgres.pid(),
        postgres.data_dir().display()
    );
    tokio::time::sleep(Duration::from_secs(60)).await;
    Ok(())
}

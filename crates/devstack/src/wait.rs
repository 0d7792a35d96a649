//! Waiting for something to become true, instead of sleeping.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Asks `probe` again and again until it answers `Ok`, at most for `timeout`.
///
/// The `Err` of a probe is its status in words; the last one is part of the error when the time is over.
pub async fn wait_for<T, F, Fut>(what: &str, timeout: Duration, mut probe: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, String>>,
{
    let deadline = Instant::now() + timeout;
    let mut last = String::from("it was never asked in time");
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match tokio::time::timeout(left.max(POLL_INTERVAL), probe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(status)) => last = status,
            Err(_) => last = format!("no answer yet; before: {last}"),
        }
        if Instant::now() >= deadline {
            bail!("waited {timeout:?} for {what}; last status: {last}");
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_time_out_carries_the_last_status() {
        let mut asked = 0;
        let error = wait_for("the moon", Duration::from_millis(60), || {
            asked += 1;
            let status = format!("asked {asked} times");
            async move { Err::<(), _>(status) }
        })
        .await
        .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("waited 60ms for the moon; last status: asked "),
            "{error}"
        );
    }

    #[tokio::test]
    async fn the_value_of_the_first_success_is_returned() {
        let mut asked = 0;
        let value = wait_for("three", Duration::from_secs(5), || {
            asked += 1;
            let now = asked;
            async move { if now == 3 { Ok(now) } else { Err(format!("{now}")) } }
        })
        .await
        .unwrap();
        assert_eq!(value, 3);
    }
}

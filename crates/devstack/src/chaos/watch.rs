//! What the instances say of themselves in their metrics, summed up over their deaths.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use serde::Deserialize;
use tokio::task::JoinSet;

use crate::http::HttpClient;

const EVERY: Duration = Duration::from_millis(400);
/// For an admin listener that may be frozen.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// Counters that something went wrong, by name and label value: `breaker_transitions open`.
pub type Counts = BTreeMap<String, u64>;

/// Looks at the instances until it is ended or dropped. What one has counted within [`EVERY`] before its death is lost.
pub struct Watch {
    end: tokio::sync::watch::Sender<bool>,
    watchers: JoinSet<Counts>,
}

impl Watch {
    /// Begins to look.
    #[must_use]
    pub fn start(admin_urls: &[String]) -> Self {
        let (end, ended) = tokio::sync::watch::channel(false);
        let mut watchers = JoinSet::new();
        for url in admin_urls {
            watchers.spawn(watch(url.clone(), ended.clone()));
        }
        Self { end, watchers }
    }

    /// What has been counted in all.
    pub async fn end(self) -> Counts {
        self.end.send_replace(true);
        let mut sums = Counts::new();
        for (name, count) in self.watchers.join_all().await.into_iter().flatten() {
            *sums.entry(name).or_default() += count;
        }
        sums
    }
}

/// State of the breaker of an instance, asked on its admin listener: `closed`, `open` or `half_open`; the error says
/// why nobody knows.
pub async fn breaker_state(admin: &mut HttpClient) -> Result<String, String> {
    #[derive(Deserialize)]
    struct Breaker {
        state: String,
    }
    let breaker: Breaker = admin.get_json("/admin/breaker").await?;
    Ok(breaker.state)
}

async fn watch(url: String, mut ended: tokio::sync::watch::Receiver<bool>) -> Counts {
    let (mut last, mut sums) = (Counts::new(), Counts::new());
    let Ok(mut client) = HttpClient::new(&url, PATIENCE) else {
        return sums;
    };
    loop {
        let is_last = *ended.borrow_and_update();
        if let Ok(answer) = client.request(Method::GET, "/metrics", &[], "").await {
            let now = parse(&String::from_utf8_lossy(&answer.body));
            for (name, count) in &now {
                let before = last.get(name).copied().unwrap_or(0);
                // Less than before: it has begun anew.
                let grown = count.checked_sub(before).unwrap_or(*count);
                if grown > 0 {
                    *sums.entry(name.clone()).or_default() += grown;
                }
            }
            last = now;
        }
        if is_last {
            return sums;
        }
        let _ = tokio::time::timeout(EVERY, ended.changed()).await;
    }
}

/// `hotstock_reconcile_finds_total{find="missed"} 3` is `reconcile_finds missed`.
fn parse(text: &str) -> Counts {
    const WANTED: [&str; 3] = ["breaker_transitions", "decide_failures", "reconcile_finds"];
    let counter = |line: &str| {
        let (series, count) = line.strip_prefix("hotstock_")?.rsplit_once(' ')?;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let name = name.strip_suffix("_total")?;
        let label = labels.split('"').nth(1).unwrap_or_default();
        let is_wanted = WANTED.contains(&name);
        is_wanted.then_some((format!("{name} {label}").trim().to_owned(), count.parse().ok()?))
    };
    text.lines().filter_map(counter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_by_name_and_label() {
        let text = "# TYPE hotstock_reconcile_finds_total counter\n\
                    hotstock_reconcile_finds_total{find=\"missed\"} 3\n\
                    hotstock_decide_failures_total 2\nhotstock_decisions_total{outcome=\"done\"} 9\n";
        let expected = [("reconcile_finds missed", 3), ("decide_failures", 2)];
        assert_eq!(
            parse(text),
            expected.map(|(name, count)| (name.to_owned(), count)).into()
        );
    }
}

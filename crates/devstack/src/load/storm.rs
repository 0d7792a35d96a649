//! A retry storm: again and again all replies get lost for a moment, so that everybody asks again at the same time.
//!
//! Requests arrive and are executed; their replies are dropped, and when the moment is over every connection that lost
//! one is reset. Dropping it ends it, and closes the way that leads through it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::task::JoinHandle;
use url::Url;

use super::sale::{FlashSale, Progress};
use crate::proxy::{CONNECTIONS_MAX, Fault, Proxy};

/// Between two storms, and before the first.
const CALM: Duration = Duration::from_millis(600);
/// How long replies get lost.
const STORM: Duration = Duration::from_millis(200);
const WATCH_INTERVAL: Duration = Duration::from_millis(1);

/// See the module.
pub struct Storm {
    proxies: Arc<Vec<Proxy>>,
    storms: Arc<AtomicU64>,
    weather: JoinHandle<()>,
}

impl Storm {
    /// In front of the service for this sale, which is led through it from now on.
    pub fn start(sale: &mut FlashSale) -> Result<Self> {
        let clients_most = CONNECTIONS_MAX * sale.urls.len();
        if sale.concurrency > clients_most {
            bail!("no more than {clients_most} clients get through a storm at once");
        }
        let mut proxies = Vec::new();
        for url in &mut sale.urls {
            let parsed = Url::parse(url).with_context(|| format!("{url:?} is no url"))?;
            let addresses = parsed.socket_addrs(|| None)?;
            let upstream = addresses
                .first()
                .with_context(|| format!("{url:?} leads nowhere"))?;
            let proxy = Proxy::start(*upstream)?;
            *url = proxy.url(url)?;
            proxies.push(proxy);
        }
        let proxies = Arc::new(proxies);
        let storms = Arc::new(AtomicU64::new(0));
        let progress = Arc::clone(&sale.progress);
        let weather = tokio::spawn(weather(Arc::clone(&proxies), Arc::clone(&storms), progress));
        Ok(Self {
            proxies,
            storms,
            weather,
        })
    }

    /// How many storms there were.
    #[must_use]
    pub fn storms(&self) -> u64 {
        self.storms.load(Ordering::Relaxed)
    }

    /// Connections that lost a reply, each once per storm.
    #[must_use]
    pub fn connections_hit(&self) -> u64 {
        self.proxies.iter().map(|proxy| proxy.hits().connections).sum()
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        // The proxies end with the last handle to them, which is the weather's or ours.
        self.weather.abort();
    }
}

async fn weather(proxies: Arc<Vec<Proxy>>, storms: Arc<AtomicU64>, progress: Arc<Progress>) {
    while progress.started.get().is_none() {
        tokio::time::sleep(WATCH_INTERVAL).await;
    }
    loop {
        tokio::time::sleep(CALM).await;
        proxies.iter().for_each(|proxy| proxy.set(Fault::DropReplies));
        storms.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(STORM).await;
        proxies.iter().for_each(|proxy| proxy.set(Fault::Pass));
    }
}

//! The application: pools, gate, queues and workers, built once.
//!
//! Queues point one way: admission -> ledger -> settling. Dropping the application closes the first; each task ends
//! when what feeds it has ended and it has dealt with what was queued, so that nothing accepted is lost.

use std::sync::Arc;
use std::time::Duration;

use contracts::messaging::STOCK_REQUEST;
use platform::amqp::{DeadLetters, count_dead_letters};
use platform::database::{Pool, pool};
use platform::telemetry::Metrics;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::gate::Gate;
use crate::gate::hot::HotProducts;
use crate::ledger::LedgerError;
use crate::ledger::lanes::Ledger;
use crate::messaging::availability::{self, Notices};
use crate::pages::{Pages, Sources};
use crate::stock::admit::AdmissionQueue;
use crate::stock::load::Loader;
use crate::stock::reconcile::Reconciler;
use crate::stock::settle::Settler;
use crate::workers;

/// What handlers get.
pub struct App {
    /// Database connections for everything but decisions.
    pub pool: Pool,
    /// Redis.
    pub gate: Arc<Gate>,
    /// Which products ask the gate first.
    pub hot: Arc<HotProducts>,
    /// Opens gates.
    pub loader: Loader,
    /// Puts gates right.
    pub reconciler: Reconciler,
    /// Where decreases of hot products go.
    pub admission: AdmissionQueue,
    /// Where all others go.
    pub ledger: Ledger,
    /// Who is told what is sold out.
    pub notices: Notices,
    /// What lies in the dead letters.
    pub dead_letters: DeadLetters,
    /// What people look at.
    pub pages: Pages,
    /// How long a request may wait for its decision.
    pub request_deadline: Duration,
}

/// The tasks behind the queues.
pub struct Tasks {
    flushers: [JoinHandle<()>; 4],
    workers: Vec<JoinHandle<()>>,
}

impl App {
    /// Waits for a query no longer than for a decision.
    ///
    /// # Errors
    /// [`LedgerError::Timeout`]; otherwise whatever the query returns.
    pub async fn in_time<T>(
        &self,
        query: impl Future<Output = Result<T, LedgerError>>,
    ) -> Result<T, LedgerError> {
        tokio::time::timeout(self.request_deadline, query)
            .await
            .map_err(|_| LedgerError::Timeout)?
    }

    /// Builds everything and starts the tasks. Connects nothing yet. Pages that are watched end with `stop`.
    ///
    /// # Errors
    /// When a URL or a pool setting is unusable.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(
        config: &Config,
        recorded: Metrics,
        stop: &CancellationToken,
    ) -> anyhow::Result<(Arc<Self>, Tasks)> {
        let database = pool("shared", &config.database)?;
        let gate = Arc::new(Gate::new(config)?);
        let hot = Arc::new(HotProducts::default());
        let (loader, loading) = Loader::start(gate.clone(), database.clone(), hot.clone());
        let (settler, settling) = Settler::start(gate.clone(), &config.gate);
        // What is decided too late for whoever asked is work for nobody: half of the time is for waiting. (The gate's
        // queue needs no such bound: it goes by at once, or the breaker opens.)
        let request_deadline = config.server.request_deadline();
        let (ledger, deciding) = Ledger::start(
            pool("decisions", &config.decision_database())?,
            settler.clone(),
            &config.ledger,
            request_deadline / 2,
        );
        let (admission, admitting) = AdmissionQueue::start(
            gate.clone(),
            ledger.clone(),
            settler,
            loader.clone(),
            &config.gate,
        );
        let reconciler = Reconciler {
            gate: gate.clone(),
            pool: database.clone(),
            loader: loader.clone(),
        };
        let (notices, noticed) = Notices::new();
        let broker = config.rabbitmq.broker()?;
        let dead_letters = DeadLetters {
            broker: broker.clone(),
            route: STOCK_REQUEST,
        };
        let sources = Sources {
            pool: database.clone(),
            gate: gate.clone(),
            hot: hot.clone(),
            recorded,
        };
        let (pages, watching) = Pages::start(config, sources, stop)?;
        let mut workers = vec![
            tokio::spawn(availability::run(broker, config.rabbitmq.clone(), noticed)),
            tokio::spawn(workers::hot_products::run(database.clone(), hot.clone())),
            tokio::spawn(workers::reconciler::run(reconciler.clone(), hot.clone())),
            tokio::spawn(workers::prober::run(reconciler.clone(), hot.clone())),
            tokio::spawn(workers::readings::run(
                database.clone(),
                gate.clone(),
                config.metrics.products_max,
            )),
            tokio::spawn(count_dead_letters(dead_letters.clone())),
        ];
        workers.extend(watching);
        let app = Self {
            pool: database,
            gate,
            hot,
            loader,
            reconciler,
            admission,
            ledger,
            notices,
            dead_letters,
            pages,
            request_deadline,
        };
        Ok((
            Arc::new(app),
            Tasks {
                flushers: [admitting, deciding, settling, loading],
                workers,
            },
        ))
    }
}

impl Tasks {
    /// Lets the queues run dry, at most for `grace` in all. Call it after the last handler has ended and the last
    /// [`App`] is dropped. Says whether everything was dealt with.
    pub async fn drain(self, grace: Duration) -> bool {
        for worker in self.workers {
            worker.abort();
        }
        let flushers = async {
            for flusher in self.flushers {
                flusher.await.ok();
            }
        };
        tokio::time::timeout(grace, flushers).await.is_ok()
    }
}

//! The application: pools, queues and workers, built once; and how it runs and ends.

use std::sync::Arc;
use std::time::Duration;

use contracts::messaging::{AVAILABILITY_EXCHANGE, ORDER_RESULT};
use contracts::order::Flow;
use platform::amqp::{Broker, Consumer, DeadLetters, Link, Source, count_dead_letters};
use platform::console::instance;
use platform::console::live::Live;
use platform::database::{self, Pool, migrate_when_reachable, pool};
use platform::http::auth::Auth;
use platform::http::health::Health;
use platform::serve;
use platform::telemetry::{self, Metrics};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::console::snapshot;
use crate::db;
use crate::db::place::{Place, Placed, place};
use crate::db::queue::{Limits, Queue};
use crate::messaging::{availability, results};
use crate::orders::sold_out::SoldOut;
use crate::orders::watch::Watch;
use crate::outbox::listen;
use crate::outbox::relay::Relay;
use crate::product_client::ProductClient;
use crate::saga::run::Runner;
use crate::{http, metrics, workers};

/// What handlers get.
pub struct App {
    /// Database connections for everything but the queues.
    pub pool: Pool,
    /// The connections to the broker: the relay's, and the one on which results come in.
    pub links: [Link; 2],
    /// Where new orders go.
    pub placing: Queue<Place, Placed>,
    /// Runs steps of sagas.
    pub runner: Runner,
    /// What is turned away at the door.
    pub sold_out: SoldOut,
    /// What lies in the dead letters.
    pub dead_letters: DeadLetters,
    /// Who waits for an order.
    pub watch: Watch,
    /// Who watches the console.
    pub console: Live<()>,
    /// Where product-service's console is, as browsers reach it; empty: nowhere.
    pub other_console_url: String,
    /// Wakes the recovery worker.
    pub recovery: Arc<Notify>,
    /// What requests have begun, and goes on without them.
    pub tasks: TaskTracker,
    /// How many of those may run at once.
    pub in_flight: Arc<Semaphore>,
    /// The flow of paths without a version.
    pub default_flow: Flow,
    /// How long a request may wait for its outcome.
    pub request_deadline: Duration,
    /// How long an order of v2 may be PENDING before it is asked again, milliseconds.
    pub pending_deadline_ms: i64,
    /// Cancelled when the service is to end.
    pub stop: CancellationToken,
}

/// The tasks behind it.
pub struct Tasks {
    begun: TaskTracker,
    consuming: JoinHandle<()>,
    flushers: Vec<JoinHandle<()>>,
    workers: Vec<JoinHandle<()>>,
}

impl App {
    /// Builds everything and starts the tasks. Connects nothing yet; what works by itself begins with `migrated`.
    ///
    /// # Errors
    /// When a URL or a pool setting is unusable.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(
        config: &Config,
        recorded: Metrics,
        stop: CancellationToken,
        migrated: &CancellationToken,
    ) -> anyhow::Result<(Arc<Self>, Tasks)> {
        let shared = pool("shared", &config.database)?;
        let writing = pool("writing", &config.writing_database())?;
        let limits = limits(config);
        let (placing, placer) = Queue::start("place", writing.clone(), placing_limits(config), place);
        let client = ProductClient::new(&config.product)?;
        let (runner, concluder) = Runner::start(client, writing.clone(), limits, config.saga.clone());
        let (recovery, outbox) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let broker = config.rabbitmq.broker()?;
        let relay = Relay::new(
            writing.clone(),
            broker.clone(),
            &config.rabbitmq,
            &config.outbox,
            outbox.clone(),
            recovery.clone(),
        );
        let results = consumer(
            config,
            &broker,
            "stock results",
            Source::Route(ORDER_RESULT),
            &stop,
        );
        let dead_letters = DeadLetters {
            broker,
            route: ORDER_RESULT,
        };
        let app = Self {
            pool: shared,
            links: [relay.link(), results.link.clone()],
            placing,
            runner,
            sold_out: SoldOut::new(Duration::from_millis(config.orders.sold_out_ttl_ms)),
            dead_letters,
            watch: Watch::new(config.orders.viewers_max),
            console: Live::new(config.console.viewers_max, stop.clone()),
            other_console_url: config.console.other_url.clone(),
            recovery,
            tasks: TaskTracker::new(),
            in_flight: Arc::new(Semaphore::new(config.orders.in_flight_max)),
            default_flow: config.orders.default_flow.flow(),
            request_deadline: config.server.request_deadline(),
            pending_deadline_ms: i64::try_from(config.saga.pending_deadline_ms).unwrap_or(i64::MAX),
            stop,
        };
        let handler = results::Handler {
            runner: app.runner.clone(),
            stop: app.stop.clone(),
        };
        let consuming = results.run(move |delivery| handler.clone().handle(delivery));
        let mut workers = app.workers(config, writing.clone(), migrated);
        workers.push(app.after(migrated, relay.run()));
        workers.push(app.watched(config, recorded));
        workers.push(app.after(migrated, listen::run(writing, outbox)));
        let tasks = Tasks {
            begun: app.tasks.clone(),
            consuming: app.after(migrated, consuming),
            flushers: vec![placer, concluder],
            workers,
        };
        Ok((Arc::new(app), tasks))
    }

    /// Starts what works by itself, without input.
    fn workers(&self, config: &Config, writing: Pool, migrated: &CancellationToken) -> Vec<JoinHandle<()>> {
        let source = Source::Fanout(AVAILABILITY_EXCHANGE);
        let hearing = consumer(
            config,
            &self.dead_letters.broker,
            "stock availability",
            source,
            &self.stop,
        );
        let recovery = workers::recovery::run(
            writing,
            self.runner.clone(),
            self.recovery.clone(),
            self.tasks.clone(),
            config.saga.clone(),
        );
        let purge = workers::purge::run(self.pool.clone(), config.outbox.keep_s);
        vec![
            tokio::spawn(hearing.run(availability::handler(self.sold_out.clone()))),
            tokio::spawn(self.watch.clone().run(self.pool.clone())),
            self.after(migrated, recovery),
            self.after(migrated, purge),
            self.after(migrated, workers::backlog::run(self.pool.clone())),
            tokio::spawn(count_dead_letters(self.dead_letters.clone())),
        ]
    }

    /// Starts what the console shows, while somebody watches.
    fn watched(&self, config: &Config, recorded: Metrics) -> JoinHandle<()> {
        let sources = snapshot::Sources {
            pool: self.pool.clone(),
            links: self.links.clone(),
            recorded,
        };
        let instance = instance("order-service", config.server.bind);
        tokio::spawn(snapshot::run(sources, instance, self.console.clone()))
    }

    /// Starts `work` once the database is migrated, unless the service stops before.
    fn after(
        &self,
        migrated: &CancellationToken,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        let (migrated, stop) = (migrated.clone(), self.stop.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = migrated.cancelled() => {}
                () = stop.cancelled() => return,
            }
            work.await;
        })
    }
}

fn limits(config: &Config) -> Limits {
    Limits {
        capacity: config.orders.queue_capacity,
        // What is concluded has been done: it waits as long as it takes.
        wait_max: Duration::MAX,
        flush_max: config.orders.flush_max,
        transaction: Duration::from_millis(config.orders.transaction_limit_ms),
    }
}

/// New orders wait for half of their deadline at most: one that is written later is nobody's any more.
fn placing_limits(config: &Config) -> Limits {
    Limits {
        wait_max: config.server.request_deadline() / 2,
        ..limits(config)
    }
}

fn consumer(
    config: &Config,
    broker: &Broker,
    name: &'static str,
    source: Source,
    stop: &CancellationToken,
) -> Consumer {
    Consumer {
        broker: broker.clone(),
        name,
        source,
        prefetch: config.rabbitmq.prefetch,
        link: Link::default(),
        stop: stop.clone(),
    }
}

impl Tasks {
    /// Lets what was begun come to its end, at most for `grace` in all. Call it after the last handler has ended and the
    /// last [`App`] is dropped. Says whether everything was dealt with; what was not is taken up by recovery.
    pub async fn drain(self, grace: Duration) -> bool {
        for worker in self.workers {
            worker.abort();
        }
        let ended = async {
            self.begun.close();
            self.begun.wait().await;
            self.consuming.await.ok();
            for flusher in self.flushers {
                flusher.await.ok();
            }
        };
        tokio::time::timeout(grace, ended).await.is_ok()
    }
}

/// Serves until SIGTERM or SIGINT, then drains and returns.
///
/// The database is migrated meanwhile and may still be missing when this starts: until both are done the service is
/// alive but not ready.
///
/// # Errors
/// When a port is taken, a migration fails, or a listener dies. The text names the key or the migration.
pub async fn run(config: &Config) -> anyhow::Result<()> {
    let listeners = serve::Listeners::bind(&config.server, Auth::load(&config.auth)?, http::access::PUBLIC)?;
    let stop = serve::stop_on_signal()?;
    let recorded = telemetry::metrics(&config.telemetry)?;
    platform::metrics::install("order-service", env!("CARGO_PKG_VERSION"));
    metrics::touch();
    platform::metrics::document(&http::openapi::public_document());
    platform::metrics::document(&http::openapi::admin_document());
    let done = CancellationToken::new();
    let migrating = tokio::spawn({
        let (database, stop, done) = (config.database.clone(), stop.clone(), done.clone());
        async move {
            let migrated =
                migrate_when_reachable(database.migration_url(), &database.ca_file, db::migrations).await;
            match &migrated {
                Ok(applied) => {
                    tracing::info!(?applied, "database is migrated");
                    done.cancel();
                }
                // Serving on would answer nothing but errors.
                Err(_) => stop.cancel(),
            }
            migrated
        }
    });
    let (app, tasks) = App::start(config, recorded.clone(), stop.clone(), &done)?;
    let links = app.links.clone();
    metrics::watch(links.clone());
    let checks = Health::builder().optional("rabbitmq", move || {
        std::future::ready(links.iter().try_for_each(Link::check))
    });
    let health = database::health_checks(checks, &config.database, db::migrations)?.build();
    let served = serve::run(
        &config.server,
        listeners,
        health,
        recorded,
        http::public(&app),
        http::admin(&app),
        stop,
    )
    .await;
    drop(app);
    if !tasks.drain(config.server.shutdown_grace()).await {
        tracing::warn!("not everything came to its end within the grace; recovery takes up what was left");
    }
    served?;
    if migrating.is_finished() {
        migrating.await??;
    } else {
        migrating.abort();
    }
    Ok(())
}

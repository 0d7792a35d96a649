//! Keeps the stack up: what dies is started again, and what is to be broken on purpose is broken from here.
//!
//! Only this process may start the servers, for they are to end with it. So `cargo dev chaos` does not break them
//! itself: it asks over a connection (see `control`), and the fault lasts until its time is over or the asker is gone,
//! whichever comes first. A killed `cargo dev chaos` leaves nothing broken.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use devstack::Server;
use devstack::chaos::{Harm, Servers};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::show;

const WATCH_INTERVAL: Duration = Duration::from_millis(200);
/// Before the first new start, and between further ones, of which each waits twice as long.
const DELAY: Duration = Duration::from_secs(1);
const DELAY_MAX: Duration = Duration::from_secs(30);
/// A server that has run for so long may die like one that never died.
const STEADY: Duration = Duration::from_secs(60);
/// How long a fault waits for another one, or for a server that is just being started.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);

/// See the module.
pub(crate) struct Keeper {
    /// What can be broken.
    servers: Servers,
    parts: Vec<Part>,
    /// Writes down where everything is; called when a process is a new one.
    write_down: Box<dyn Fn() -> Result<()> + Send + Sync>,
}

/// One server.
struct Part {
    name: String,
    server: Server,
    /// Whoever breaks or starts the server holds this meanwhile.
    turn: Mutex<()>,
}

/// A fault under way.
pub(crate) struct Broken<'a> {
    keeper: &'a Keeper,
    harm: Harm,
    instance: usize,
    part: &'a Part,
    _turn: tokio::sync::MutexGuard<'a, ()>,
    begun: Instant,
    /// What was done, in words.
    pub(crate) what: String,
}

impl Keeper {
    pub(crate) fn new(
        servers: Servers,
        parts: Vec<(String, Server)>,
        write_down: impl Fn() -> Result<()> + Send + Sync + 'static,
    ) -> Arc<Self> {
        let part = |(name, server)| Part {
            name,
            server,
            turn: Mutex::new(()),
        };
        Arc::new(Self {
            servers,
            parts: parts.into_iter().map(part).collect(),
            write_down: Box::new(write_down),
        })
    }

    /// Watches all servers until it is dropped.
    pub(crate) async fn keep(self: Arc<Self>) -> Infallible {
        let mut watchers = JoinSet::new();
        for index in 0..self.parts.len() {
            let keeper = Arc::clone(&self);
            watchers.spawn(async move { keeper.keep_up(&keeper.parts[index]).await });
        }
        watchers.join_all().await;
        std::future::pending().await
    }

    /// Breaks something. [`Broken::heal`] has to be called: dropping leaves it as it is.
    pub(crate) async fn break_one(&self, harm: Harm, instance: usize) -> Result<Broken<'_>> {
        let server = harm.server(&self.servers, instance)?;
        let part = self.parts.iter().find(|part| part.server.port() == server.port());
        let part = part.context("nobody keeps that server")?;
        let name = &part.name;
        let turn = tokio::time::timeout(TURN_TIMEOUT, part.turn.lock())
            .await
            .with_context(|| format!("{name} is broken already, or just being started again"))?;
        let (pid, begun) = (server.pid(), Instant::now());
        let hit = harm.begin(&self.servers, instance).await?;
        if hit == 0 {
            harm.end(&self.servers, instance).await?;
            bail!("{} hit nothing: {}", harm.name(), nothing_to_hit(harm));
        }
        let what = format!("{name} (pid {pid}) {}", done(harm, hit));
        show::progress(&format!("chaos: {what}"));
        Ok(Broken {
            keeper: self,
            harm,
            instance,
            part,
            _turn: turn,
            begun,
            what,
        })
    }

    async fn keep_up(&self, part: &Part) {
        let (mut delay, mut started) = (DELAY, Instant::now());
        loop {
            tokio::time::sleep(WATCH_INTERVAL).await;
            let _turn = part.turn.lock().await;
            let Some(code) = part.server.exit_code() else {
                continue;
            };
            if started.elapsed() > STEADY {
                delay = DELAY;
            }
            let (name, server, delay_s) = (&part.name, &part.server, delay.as_secs());
            show::progress(&format!(
                "\n{name} (pid {}) has ended, status {code}; starting it again in {delay_s} s\n{}",
                server.pid(),
                server.log_tail()
            ));
            tokio::time::sleep(delay).await;
            delay = (2 * delay).min(DELAY_MAX);
            match server.restart().await {
                Ok(()) => {
                    show::progress(&format!("{name} runs again (pid {})", server.pid()));
                    self.write_down();
                }
                Err(error) => show::progress(&format!("{name} does not start: {error:#}")),
            }
            started = Instant::now();
        }
    }

    fn write_down(&self) {
        if let Err(error) = (self.write_down)() {
            show::progress(&format!("{error:#}"));
        }
    }
}

impl Broken<'_> {
    /// Heals it; returns what was done, in words, when the server answers again.
    pub(crate) async fn heal(self) -> Result<String> {
        let name = &self.part.name;
        self.harm
            .end(&self.keeper.servers, self.instance)
            .await
            .with_context(|| format!("{name} could not be healed"))?;
        self.keeper.write_down();
        let (pid, port) = (self.part.server.pid(), self.part.server.port());
        let how = match self.harm {
            Harm::RedisKill => "runs again, empty",
            Harm::PostgresKill | Harm::RabbitmqKill | Harm::InstanceKill => "runs again",
            Harm::RedisFreeze | Harm::PostgresFreeze | Harm::RabbitmqFreeze | Harm::InstanceFreeze => {
                "is awake again"
            }
            Harm::RedisOldCopy => "was killed and runs again, with its old copy",
            Harm::RedisFlush | Harm::PostgresSessions => "runs as before: there was nothing to heal",
        };
        let what = format!(
            "{name} (pid {pid}, port {port}) {how}, {:.2} s after",
            self.begun.elapsed().as_secs_f64()
        );
        show::progress(&format!("chaos: {what}"));
        Ok(what)
    }
}

fn done(harm: Harm, hit: u64) -> String {
    match harm {
        Harm::RedisKill | Harm::PostgresKill | Harm::RabbitmqKill | Harm::InstanceKill => {
            String::from("is killed")
        }
        Harm::RedisFreeze | Harm::PostgresFreeze | Harm::RabbitmqFreeze | Harm::InstanceFreeze => {
            String::from("is frozen")
        }
        Harm::RedisFlush => format!("is emptied of {hit} keys"),
        Harm::RedisOldCopy => format!("has copied {hit} keys"),
        Harm::PostgresSessions => format!("has ended {hit} sessions"),
    }
}

fn nothing_to_hit(harm: Harm) -> &'static str {
    match harm {
        Harm::RedisFlush | Harm::RedisOldCopy => "Redis has no keys; is there a hot product?",
        _ => "there was nothing",
    }
}

#[cfg(test)]
#[path = "keep_tests.rs"]
mod tests;

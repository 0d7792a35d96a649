//! Private servers: each on 127.0.0.1, on a free port, with a data folder of its own, as many side by side as wanted.
//!
//! They end with the process that started them, however it ends (see `supervise`). None of them ever touches a server
//! that the system runs.

mod grafana;
mod home;
mod postgres;
mod programs;
mod prometheus;
mod rabbitmq;
mod redis;
mod server;
mod shared;

pub use grafana::{Grafana, GrafanaOptions};
pub use postgres::{Durability, Postgres, PostgresOptions, RoleUrls};
pub use programs::{PackageManager, ServerKind, install_commands, install_line};
pub use prometheus::{Prometheus, PrometheusOptions, Target};
pub use rabbitmq::{RabbitMq, RabbitMqOptions};
pub use redis::{Redis, RedisOptions};
pub use server::Server;
pub(crate) use server::{answers_ok, start_on_free_port};
pub use shared::{shared_postgres, shared_rabbitmq, shared_redis};

//! Everything that starts hotstock or drives it: private servers, services, the load tool, the audit of the books.
//!
//! `cargo dev` (the binary `dev` of this crate), the integration tests and the benches all use this one library, so
//! that what is tested and measured is started the same way as what a newcomer runs.
//!
//! - [`servers`]: private Postgres, Redis and RabbitMQ
//! - [`service`]: product-service and order-service as processes
//! - [`test_stack`]: what an integration test starts with
//! - [`proxy`]: a proxy in front of a server, to make the way to it fail
//! - [`balancer`]: a load balancer in front of several instances
//! - [`books`]: the audit of a product's books, and of the orders for it
//! - [`load`]: the load tool
//! - [`chaos`]: faults, singly and at random, in the middle of a sale
//! - [`soak`]: a long sale, and whether anything grows meanwhile
//! - [`browser`]: a headless browser, for tests of pages
//! - [`catalogue`], [`http`]: products made through the API; the client that asks
//! - [`tls`]: throw-away certificates, and who is believed
//! - [`report`]: a page of results with charts
//! - [`stack_file`]: `.dev/env`, where the running stack is written down
//! - [`wait`]: waiting for something instead of sleeping
//! - [`ports`]: free ports

pub mod balancer;
pub mod books;
pub mod browser;
pub mod catalogue;
pub mod chaos;
pub mod http;
pub mod keys;
pub mod load;
pub mod ports;
pub mod proxy;
pub mod report;
pub mod servers;
pub mod service;
pub mod soak;
pub mod stack_file;
mod supervise;
pub mod test_stack;
pub mod tls;
pub mod wait;

pub use balancer::Balancer;
pub use browser::{Browser, Screen, Tab};
pub use rustix::process::Signal;
pub use servers::{
    Durability, Postgres, PostgresOptions, Prometheus, PrometheusOptions, RabbitMq, RabbitMqOptions, Redis,
    RedisOptions, RoleUrls, Server, Target, shared_postgres, shared_rabbitmq, shared_redis,
};
pub use service::{EVERYTHING_IS_BUILT, Service, ServiceOptions, cargo, program_beside};
pub use test_stack::TestStack;
pub use tls::Certificates;
pub use wait::wait_for;

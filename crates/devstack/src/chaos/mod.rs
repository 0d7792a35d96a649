//! Chaos: faults from a seed in the middle of a sale, and whether anybody was sold short or sold twice afterwards.
//!
//! - [`harm`]: what can be done to a server, and undone
//! - [`schedule`]: which faults, where and when; comes from the seed alone
//! - [`stage`]: the private servers it happens to, with proxies in between
//! - [`run`]: one seed from start to report
//! - [`watch`]: what the instances say of themselves meanwhile
//! - [`judge`]: what customers were told, held against the ledger
//! - [`report`]: what a run has shown
//!
//! All of it is private to a run: its servers end with the process, however that ends.

pub mod harm;
pub mod judge;
pub mod report;
pub mod run;
pub mod schedule;
pub mod stage;
pub mod watch;

pub use harm::{Harm, Servers};
pub use report::Report;
pub use run::{ChaosRun, Progress};

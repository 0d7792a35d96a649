//! The soak: a long sale at half of what fits, with cancellations, restocks and rolling restarts; and whether the books
//! balance at the end and nothing has grown meanwhile.
//!
//! - [`stage`]: the private stack it happens to, a balancer in front of each service
//! - [`roll`]: an instance restarted while the others serve
//! - [`lanes`]: who buys, and by which way
//! - [`restock`]: what keeps the shelves full
//! - [`sample`]: memory, descriptors and threads of each process, looked at again and again
//! - [`flat`]: whether a series of samples has grown
//! - [`run`]: one soak from start to report
//! - [`report`]: what it has shown, as a table, as JSON and as a page
//!
//! All of it is private to a run: its servers end with the process, however that ends.

pub mod flat;
pub mod lanes;
pub mod report;
pub mod restock;
pub mod roll;
pub mod run;
pub mod sample;
pub mod stage;

pub use report::Report;
pub use roll::{Restart, roll};
pub use run::{Progress, SoakRun};

//! Orders against a real product-service, Postgres and Redis. Every test ends in the same audit: all orders final, no
//! step left, confirmed units = units taken, and the books of the product balance.

mod asynchronous;
mod backlog;
mod broker;
mod cancel;
mod collector;
mod crashes;
mod dead_letters;
mod door;
mod fixture;
mod idempotency;
mod looking;
mod mistakes;
mod outages;
mod overload;
mod page;
mod recovery;
mod retry;
mod sale;
mod soak;
mod synchronous;
mod tables;
mod traces;
mod viewers;

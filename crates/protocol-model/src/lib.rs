//! The protocol between Redis and Postgres as a small model that is explored breadth-first: the scripts of the gate,
//! the one transaction that sells, voids, loads, the reconciler, and everything that may go wrong between two of
//! their steps. `README.md` says what is modelled, what was found, and what is left out.
//!
//! Modules in reading order: what a run explores, what a state is, the two stores, what may happen next, what must be
//! true, the search, the runs.

pub mod config;
pub mod mutants;

pub mod state;

pub mod ledger;
pub mod scripts;

pub mod steps;

mod requests;

mod workers;

mod faults;

pub mod properties;

mod hash;

pub mod explore;

pub mod named;

//! product-service: owns products and stock.
//!
//! In reading order: [`stock`] has the verbs, `stock/decrease.rs` first; [`domain`] the rules they follow; [`gate`] and
//! [`ledger`] the two stores; [`messaging`], [`http`] and [`pages`] the outside; [`app`] how it is put together.

pub mod stock;

pub mod domain;

pub mod gate;

pub mod ledger;

pub mod messaging;

pub mod http;

pub mod pages;

pub mod app;
pub mod config;
pub mod metrics;
pub mod workers;

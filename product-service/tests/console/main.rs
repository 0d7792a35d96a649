//! The pages, as a person sees them: in a headless Chromium, on real services, servers and sales.

mod keys;
mod orders;
mod pictures;
mod sale;
mod stage;
mod stock;
mod viewers;

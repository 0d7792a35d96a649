//! `cargo dev`: see the library.
fn main() {}

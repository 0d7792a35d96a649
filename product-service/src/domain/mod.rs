//! The rules of stock, without I/O: what a request is, what may become of it, and the decision itself.

pub mod books;
pub mod refusal;
pub mod request;
pub mod rules;
pub mod words;

//! The rules of orders, without I/O: what an order is, which ways its status may go, and the keys of its effects.

pub mod attempt;
pub mod order;

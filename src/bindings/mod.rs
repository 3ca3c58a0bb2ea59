//! The addon's surface: converts, calls one core function, converts back.

mod driver;
mod engine;
mod error;
mod hook;
mod memory;
mod panic;
mod pool;
mod search;

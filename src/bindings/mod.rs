//! The addon's surface: converts, calls one core function, converts back.

mod driver;
mod engine;
mod error;
mod hook;
mod panic;
mod pool;
mod search;

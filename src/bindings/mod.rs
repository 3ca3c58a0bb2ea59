//! The addon's surface: converts, calls one core function, converts back.

mod driver;
mod engine;
mod error;
mod pool;
mod search;

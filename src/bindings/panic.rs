//! What a panic of ours means to the host: nothing on its screen, and never its end.
//!
//! Every export and every unit of the pool catches; here are also panics on purpose, one for each kind of export, with
//! which a test shows that the host survives them.

use std::cell::RefCell;
use std::time::Duration;

use napi::bindgen_prelude::External;
use napi_derive::{module_init, napi};
use orchestrator_worker::{Job, JobError, Lane, Pool};
use serde_json::json;

use super::engine::EngineHandle;
use super::pool::Port;

thread_local! {
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps panics off the terminal, which belongs to the host, and notes where they were.
#[module_init]
fn quiet() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string);
        PLACE.with(|noted| *noted.borrow_mut() = place);
    }));
}

/// What a panic that was caught on this thread said, and where it was.
pub(crate) fn describe(panic: &(dyn std::any::Any + Send)) -> String {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a message");
    match PLACE.with(|noted| noted.borrow_mut().take()) {
        Some(place) => format!("{message}, at {place}"),
        None => message.to_owned(),
    }
}

/// Panics in a call, which throws.
#[napi(catch_unwind)]
pub fn panic_in_call() {
    panic!("asked to panic in a call");
}

/// Panics on the worker pool, in the work or `inAnswer`; the completion under `id` says so.
#[napi(
    catch_unwind,
    ts_args_type = "port: ExternalObject<'Port'>, id: number, inAnswer: boolean",
    ts_return_type = "string | null"
)]
pub fn panic_in_pool(
    port: &External<Port>,
    id: f64,
    in_answer: bool,
) -> napi::Result<Option<String>, String> {
    port.begin(id, |reply| {
        let job = Job::new(Lane::Interactive, Duration::from_secs(30), move |_| {
            assert!(in_answer, "asked to panic in the pool");
        });
        let completion =
            |code: &str, message: String| json!({ "error": { "code": code, "message": message } });
        let on_end = move |result: Result<(), JobError>| {
            assert!(!in_answer, "asked to panic in the answer");
            let completion = match result {
                Ok(()) => json!({ "ok": null }),
                Err(error) => completion(error.code(), error.to_string()),
            };
            reply.finish(completion.to_string());
        };
        let submitted = Pool::global().submit(job, on_end);
        submitted.map_err(|refused| completion(refused.code(), refused.to_string()).to_string())
    })
}

/// Has the engine's journal find the disk full, or no longer.
#[napi(catch_unwind, ts_args_type = "engine: ExternalObject<'Engine'>, full: boolean")]
pub fn fill_disk(engine: &External<EngineHandle>, full: bool) -> napi::Result<(), String> {
    engine.with(|driver| driver.fill_disk(full))
}

/// Panics on the engine's thread, which gives a notice of it and rebuilds the engine from the journal.
#[napi(catch_unwind, ts_args_type = "engine: ExternalObject<'Engine'>")]
pub fn panic_in_engine(engine: &External<EngineHandle>) -> napi::Result<(), String> {
    engine.with(super::driver::Driver::panic)
}

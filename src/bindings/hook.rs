//! The order of hook handlers, as JavaScript asks for it.

use napi_derive::napi;
use orchestrator_engine::hook::{Handler, order};
use serde_json::json;

use super::error::{coded, parse};

/// Puts the handlers of one hook, a JSON list of `{name, phase, priority, after}`, in order: gives the list of their indices
/// as JSON.
///
/// @throws HOOK_INVALID, HOOK_NAME_TAKEN, HOOK_DEPENDENCY_UNKNOWN, HOOK_DEPENDENCY_LATER, HOOK_CYCLE
#[napi(catch_unwind)]
pub fn hook_order(handlers_json: String) -> napi::Result<String, String> {
    let handlers: Vec<Handler> = parse("HOOK_INVALID", "handlers", &handlers_json)?;
    let order = order(&handlers).map_err(|error| coded(error.code(), error.to_string()))?;
    Ok(json!(order).to_string())
}

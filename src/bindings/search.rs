//! Searches, as JavaScript sees them: options and answers are JSON, completions come through a port.

use napi::bindgen_prelude::External;
use napi_derive::napi;
use orchestrator_search::{Answer, Query, Root, SearchError};
use orchestrator_worker::{Pool, Ticket};
use serde_json::json;
use std::path::Path;

use super::pool::Port;

/// Starts a search of `kind` (`"grep"`, `"glob"` or `"astSearch"`) in the folder `root`, an absolute path. Its answer
/// comes on `port` under `id`: as an object, or with `asText` as text for a model. Mistakes in the options come on the
/// port too.
///
/// @throws INVALID_ARGUMENT when `id` is not a whole number from 0, or is in use; PORT_CLOSED when the port is closed
#[napi(
    catch_unwind,
    ts_args_type = "port: ExternalObject<'Port'>, id: number, kind: string, optionsJson: string, root: string, asText: boolean"
)]
pub fn search_start(
    port: &External<Port>,
    id: f64,
    kind: String,
    options_json: String,
    root: String,
    as_text: bool,
) -> napi::Result<(), String> {
    port.begin(id, |reply| {
        start(&kind, &options_json, &root, move |result| reply.finish(envelope(result, as_text)))
            .map_err(|error| envelope(Err(error), as_text))
    })
}

/// Cancels the search under `id`: it ends soon with `SEARCH_CANCELLED`. Nothing happens when it has ended.
///
/// @throws INVALID_ARGUMENT when `id` is not a whole number from 0
#[napi(catch_unwind, ts_args_type = "port: ExternalObject<'Port'>, id: number")]
pub fn search_cancel(port: &External<Port>, id: f64) -> napi::Result<(), String> {
    port.cancel(id)
}

/// Returns the JSON schemas of all searches, as JSON: `options` by kind of search, each complete in itself, and
/// `answers`, one schema with a property for each kind.
#[napi(catch_unwind)]
pub fn search_schema() -> String {
    orchestrator_search::schema().to_string()
}

fn start(
    kind: &str,
    options_json: &str,
    root: &str,
    on_end: impl FnOnce(Result<Answer, SearchError>) + Send + 'static,
) -> Result<Ticket, SearchError> {
    let query = Query::parse(kind, options_json)?;
    let root = Root::open(Path::new(root))?;
    orchestrator_search::start(Pool::global()?, &root, query, on_end)
}

/// Returns a result as it crosses to JavaScript.
fn envelope(result: Result<Answer, SearchError>, as_text: bool) -> String {
    match result {
        Ok(answer) if as_text => json!({ "ok": answer.to_text() }).to_string(),
        // Written out at once: by way of a `Value` it would take three times as long.
        Ok(answer) => match serde_json::to_string(&answer) {
            Ok(answer) => format!("{{\"ok\":{answer}}}"),
            Err(error) => failure("GenericFailure", &error.to_string()),
        },
        Err(error) => failure(error.code(), &error.to_string()),
    }
}

fn failure(code: &str, message: &str) -> String {
    json!({ "error": { "code": code, "message": message } }).to_string()
}

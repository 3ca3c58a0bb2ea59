//! The tools, as JavaScript sees them: options and answers are JSON, completions come through a port.

use napi::bindgen_prelude::External;
use napi_derive::napi;
use orchestrator_search::{Answer, Query, Root, SearchError, redact};
use orchestrator_worker::{Pool, Ticket};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::PathBuf;

use super::error::parse;
use super::pool::Port;

/// What a call may reach.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Reach {
    /// The project, an absolute path.
    root: PathBuf,
    /// Absolute folders outside the project that may be reached too.
    #[serde(default)]
    granted: Vec<PathBuf>,
    /// The files that may be written, relative to the project, a folder's with `/` at its end; all when absent.
    #[serde(default)]
    leased: Option<Vec<String>>,
    /// Whether searches may use an index of the project.
    #[serde(default)]
    index: bool,
    /// Whether secrets are masked in an answer that is text.
    #[serde(default = "yes")]
    mask_secrets: bool,
}

fn yes() -> bool {
    true
}

impl Reach {
    fn open(self) -> Result<Root, SearchError> {
        let root = Root::open(&self.root)?.with_granted(&self.granted);
        let root = if self.index { root.with_index() } else { root };
        Ok(match self.leased {
            Some(paths) => root.with_lease(&paths),
            None => root,
        })
    }
}

/// Starts the tool called `name`, such as `grep_search`, with `optionsJson`. `reachJson` says where: `root`, the absolute
/// path of the project; `granted`, absolute folders outside it that may be reached too; `leased`, the paths that may be
/// written, relative to the project, a folder's with `/` at its end (all when absent); `index`, whether searches may use an
/// index of the project; `maskSecrets`, whether secrets are masked in an answer that is text (they are when absent). The
/// answer comes on `port` under `id`: as an object, or with `asText` as text for a model. Mistakes in the options come in
/// the same way. With `here` a call that takes a moment only may be done before this returns; then its completion is
/// returned and does not come on the port, as is that of a call that could not be started.
///
/// @throws INVALID_ARGUMENT when `id` is not a whole number from 0, or is in use, or `reachJson` cannot be read;
/// PORT_CLOSED when the port is closed
#[napi(
    catch_unwind,
    ts_args_type = "port: ExternalObject<'Port'>, id: number, name: string, optionsJson: string, reachJson: string, asText: boolean, here: boolean",
    ts_return_type = "string | null"
)]
pub fn tool_start(
    port: &External<Port>,
    id: f64,
    name: String,
    options_json: String,
    reach_json: String,
    as_text: bool,
    here: bool,
) -> napi::Result<Option<String>, String> {
    let reach: Reach = parse("INVALID_ARGUMENT", "reach", &reach_json)?;
    let form = match (as_text, reach.mask_secrets) {
        (false, _) => Form::Object,
        (true, true) => Form::MaskedText,
        (true, false) => Form::Text,
    };
    port.begin(id, |reply| {
        start(&name, &options_json, reach, here, move |result| reply.finish(envelope(result, form)))
            .map_err(|error| envelope(Err(error), form))
    })
}

/// Cancels the call under `id`: it ends soon with `SEARCH_CANCELLED`. Nothing happens when it has ended.
///
/// @throws INVALID_ARGUMENT when `id` is not a whole number from 0
#[napi(catch_unwind, ts_args_type = "port: ExternalObject<'Port'>, id: number")]
pub fn tool_cancel(port: &External<Port>, id: f64) -> napi::Result<(), String> {
    port.cancel(id)
}

/// Builds the index of the project at `root`, an absolute path, unless there is one. The completion under `id` says whether
/// searches can use it now; it is returned, and does not come on the port, when it is known at once.
///
/// @throws INVALID_ARGUMENT when `id` is not a whole number from 0, or is in use; PORT_CLOSED when the port is closed
#[napi(
    catch_unwind,
    ts_args_type = "port: ExternalObject<'Port'>, id: number, root: string",
    ts_return_type = "string | null"
)]
pub fn index_start(port: &External<Port>, id: f64, root: String) -> napi::Result<Option<String>, String> {
    port.begin(id, |reply| {
        let on_end = move |is_ready: bool| reply.finish(json!({ "ok": is_ready }).to_string());
        let warmed = Root::open(root.as_ref())
            .and_then(|root| orchestrator_search::warm(Pool::global(), &root, on_end));
        warmed.map_err(|error| envelope(Err(error), Form::Object))
    })
}

/// Returns what is known of the tools, as JSON: `tools` by name, each with its `description` and the schema of its
/// `options`, complete in itself; `answers`, one schema with a property for each tool; and `limits`, for the documents.
#[napi(catch_unwind)]
pub fn tool_schema() -> String {
    orchestrator_search::schema().to_string()
}

fn start(
    name: &str,
    options_json: &str,
    reach: Reach,
    here: bool,
    on_end: impl FnOnce(Result<Answer, SearchError>) + Send + 'static,
) -> Result<Ticket, SearchError> {
    let query = Query::parse(name, options_json)?;
    let root = reach.open()?;
    let pool = Pool::global();
    if here {
        orchestrator_search::start_here(pool, &root, query, on_end)
    } else {
        orchestrator_search::start(pool, &root, query, on_end)
    }
}

/// How an answer crosses to JavaScript.
#[derive(Clone, Copy)]
enum Form {
    Object,
    Text,
    /// Text with its secrets masked.
    MaskedText,
}

/// Returns a result as it crosses to JavaScript.
fn envelope(result: Result<Answer, SearchError>, form: Form) -> String {
    match (result, form) {
        (Ok(answer), Form::Text) => json!({ "ok": answer.to_text() }).to_string(),
        (Ok(answer), Form::MaskedText) => json!({ "ok": redact(&answer.to_text()) }).to_string(),
        // Written out at once: by way of a `Value` it would take three times as long.
        (Ok(answer), Form::Object) => {
            #[derive(Serialize)]
            struct Completion {
                ok: Answer,
            }
            serde_json::to_string(&Completion { ok: answer })
                .unwrap_or_else(|error| failure("GenericFailure", &error.to_string()))
        }
        (Err(error), _) => {
            let (code, message) = (error.code(), error.message());
            if let SearchError::PathOutside { folder, .. } = error {
                json!({ "error": { "code": code, "message": message, "folder": folder.to_string_lossy() } })
                    .to_string()
            } else {
                failure(code, &message)
            }
        }
    }
}

fn failure(code: &str, message: &str) -> String {
    json!({ "error": { "code": code, "message": message } }).to_string()
}

//! One project's engine, as a handle.

use std::sync::Arc;

use napi::Status;
use napi::bindgen_prelude::{External, Function};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi_derive::napi;
use orchestrator_engine::{Approval, Engine, Event, LIMITS, Limits, Mistake, Scheduling, schema};
use orchestrator_store::{Head, Reader, StateDir, StoreError};
use parking_lot::Mutex;
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde::Deserialize as _;
use serde_json::{Map, Value, json};

use super::driver::{Driver, Inquiry, Notice, OpenOptions};
use super::error::{coded, from_napi, parse, whole};

type Result<T> = std::result::Result<T, napi::Error<String>>;

/// The engine of one project, on a thread of its own.
///
/// It crosses as an `External` and not as a class, for the reason given at [`Port`](super::pool::Port).
pub struct EngineHandle {
    open: Mutex<Option<Open>>,
}

struct Open {
    driver: Driver,
    notify: Arc<Notify>,
}

type Notify = ThreadsafeFunction<String, (), String, Status, false, true>;

/// Takes the project for this process and starts its engine, which replays the journal in the background. `notify` gets
/// every notice, as JSON, from the event loop. The engine does not keep the process alive.
///
/// @throws OPTIONS_INVALID, or the code of what stands against the project's state folder
#[napi(
    catch_unwind,
    strict,
    ts_args_type = "optionsJson: string, notify: (noticeJson: string) => void",
    ts_return_type = "ExternalObject<'Engine'>"
)]
pub fn engine_open(options_json: String, notify: Function<'_, String, ()>) -> Result<External<EngineHandle>> {
    let options: OpenOptions = parse("OPTIONS_INVALID", "options", &options_json)?;
    let given: Value = parse("OPTIONS_INVALID", "options", &options_json)?;
    let scheduling = given.get("scheduling").and_then(Value::as_object).cloned().unwrap_or_default();
    let limits = given.get("limits").cloned().unwrap_or_else(|| json!({}));
    let mistakes = mistakes_in(&scheduling.into_iter().chain([("limits".to_owned(), limits)]).collect());
    if !mistakes.is_empty() {
        let lines: Vec<_> =
            mistakes.iter().map(|mistake| format!("{}: {}", mistake.path, mistake.message)).collect();
        return Err(coded("OPTIONS_INVALID", lines.join("; ")));
    }
    if !options.directory.is_absolute() {
        let shown = options.directory.display();
        return Err(coded(
            "OPTIONS_INVALID",
            format!("options.directory: expected an absolute path, found {shown}"),
        ));
    }
    // One weak function for the life of the handle: it does not keep the process alive, and it is the only way of
    // completing calls that has not been seen to crash Bun when a worker is terminated.
    let notify = notify
        .build_threadsafe_function::<String>()
        .callee_handled::<false>()
        .weak::<true>()
        .build()
        .map_err(|error| from_napi(&error))?;
    let notify = Arc::new(notify);
    let inner = Arc::clone(&notify);
    let sink = move |notice: &Notice| {
        // An environment that is going away takes no more notices; what they tell is in the journal.
        let text = serde_json::to_string(notice).unwrap_or_else(|error| {
            json!({"type": "fault", "code": "NOTICE_UNREADABLE", "message": error.to_string(), "retryMs": 0})
                .to_string()
        });
        inner.call(text, ThreadsafeFunctionCallMode::NonBlocking);
    };
    let driver = Driver::open(options, Box::new(sink)).map_err(|error| coded(error.code, error.message))?;
    Ok(External::new(EngineHandle { open: Mutex::new(Some(Open { driver, notify })) }))
}

/// Has the event loop look for notices once more; `notify` gets an empty text for it. To be called now and then while the
/// engine is open, for the reason given at {@link ring}.
#[napi(catch_unwind, ts_args_type = "engine: ExternalObject<'Engine'>")]
pub fn engine_ring(engine: &External<EngineHandle>) {
    if let Some(open) = engine.open.lock().as_ref() {
        open.notify.call(String::new(), ThreadsafeFunctionCallMode::NonBlocking);
    }
}

/// Hands events over, as a JSON list. Returns in microseconds; what follows comes as notices.
///
/// @throws EVENT_INVALID, ENGINE_CLOSED
#[napi(catch_unwind, ts_args_type = "engine: ExternalObject<'Engine'>, eventsJson: string")]
pub fn engine_post(engine: &External<EngineHandle>, events_json: String) -> Result<()> {
    let events: Vec<Event> = parse("EVENT_INVALID", "events", &events_json)?;
    engine.with(|driver| driver.post(events))
}

/// Asks a question, as JSON. The answer comes as a notice with the same id.
///
/// @throws QUESTION_INVALID, INVALID_ARGUMENT, ENGINE_CLOSED
#[napi(catch_unwind, ts_args_type = "engine: ExternalObject<'Engine'>, id: number, questionJson: string")]
pub fn engine_ask(engine: &External<EngineHandle>, id: f64, question_json: String) -> Result<()> {
    let id = whole("id", id)?;
    let inquiry: Inquiry = parse("QUESTION_INVALID", "question", &question_json)?;
    engine.with(|driver| driver.ask(id, inquiry))
}

/// Gives the project back and ends the thread. A second call does nothing.
#[napi(catch_unwind, ts_args_type = "engine: ExternalObject<'Engine'>")]
pub fn engine_close(engine: &External<EngineHandle>) {
    // Closed outside the lock: it waits for the thread.
    let open = engine.open.lock().take();
    drop(open);
}

impl EngineHandle {
    /// Runs `send` with the thread's handle, which says whether the thread was there to hear it.
    pub(super) fn with(&self, send: impl FnOnce(&Driver) -> bool) -> Result<()> {
        match self.open.lock().as_ref() {
            Some(open) if send(&open.driver) => Ok(()),
            Some(_) | None => Err(coded("ENGINE_CLOSED", "the engine has been closed; open another one")),
        }
    }
}

/// Reads how the missions of a project stand without taking the project, as a JSON list. Empty when there are none.
#[napi(catch_unwind)]
pub fn read_missions(directory: String) -> Result<String> {
    let Ok(state_dir) = StateDir::find(directory.as_ref()) else {
        return Ok("[]".into());
    };
    let missions = match Reader::open(&state_dir).and_then(|reader| reader.projection("mission")) {
        Ok(missions) => missions,
        // The process that starts the first mission has made the file, and has written nothing yet.
        Err(StoreError::Missing { .. }) => return Ok("[]".into()),
        Err(error) => return Err(coded(error.code(), error.to_string())),
    };
    let bodies: Vec<_> = missions.into_iter().map(|entry| entry.body).collect();
    Ok(format!("[{}]", bodies.join(",")))
}

/// Walks the journal of a project and gives `{sequence, hash}` of its last record, as JSON.
#[napi(catch_unwind)]
pub fn verify_journal(directory: String) -> Result<String> {
    let state_dir =
        StateDir::find(directory.as_ref()).map_err(|error| coded(error.code(), error.to_string()))?;
    let head = Reader::open(&state_dir)
        .and_then(|reader| reader.verify())
        .map_err(|error| coded(error.code(), error.to_string()))?;
    Ok(json!({ "sequence": head.sequence, "hash": head.hash.to_string() }).to_string())
}

/// Writes the records of a project's journal to a new file, a JSON object a line, and gives `{sequence, hash}` of the last
/// as JSON.
#[napi(catch_unwind)]
pub fn export_journal(directory: String, file: String) -> Result<String> {
    let state_dir =
        StateDir::find(directory.as_ref()).map_err(|error| coded(error.code(), error.to_string()))?;
    let target = std::fs::File::create_new(&file).map_err(|error| {
        coded("JOURNAL_EXPORT", format!("{file}: {error}; name a file that is not there yet"))
    })?;
    let head = Reader::open(&state_dir)
        .and_then(|reader| reader.export(target))
        .map_err(|error| coded(error.code(), error.to_string()))?;
    Ok(json!({ "sequence": head.sequence, "hash": head.hash.to_string() }).to_string())
}

/// Takes every event of a project's journal again, compares what is decided now with what was decided then, and gives
/// what came of it as JSON. `mission`, such as `m1`, says whose state is told.
///
/// @throws INVALID_ARGUMENT when there is no such mission
#[napi(catch_unwind)]
pub fn replay_journal(directory: String, mission: Option<String>) -> Result<String> {
    let state_dir =
        StateDir::find(directory.as_ref()).map_err(|error| coded(error.code(), error.to_string()))?;
    let stored = |error: StoreError| coded(error.code(), error.to_string());
    let reader = Reader::open(&state_dir).map_err(stored)?;
    let mut engine = Engine::default();
    let (mut head, mut effects, mut divergence) = (Head::GENESIS, 0, None);
    for record in reader.records(Head::GENESIS) {
        let record = record.map_err(stored)?;
        head = record.head();
        let (decision, now) = engine
            .repeat_record(head.sequence, &record.body)
            .map_err(|error| coded(error.code(), error.to_string()))?;
        effects += decision.effects.len();
        divergence = engine.compare(head.sequence, &decision, &now);
        if divergence.is_some() {
            break;
        }
    }
    let missions: Vec<_> = engine.missions().keys().map(ToString::to_string).collect();
    let state = match &mission {
        None => None,
        Some(name) => {
            let found = engine.missions().keys().find(|id| id.to_string() == *name);
            let summary = found.and_then(|id| engine.summary(*id));
            if summary.is_none() && divergence.is_none() {
                let known = if missions.is_empty() { "none".to_owned() } else { missions.join(", ") };
                let text = format!("mission: there is no {name} in the journal; there are: {known}");
                return Err(coded("INVALID_ARGUMENT", text));
            }
            summary
        }
    };
    Ok(json!({
        "records": head.sequence, "effects": effects, "missions": missions, "mission": state,
        "state": engine.digest(), "divergence": divergence,
    })
    .to_string())
}

/// Whether the project has a journal.
#[napi(catch_unwind)]
pub fn has_journal(directory: String) -> bool {
    StateDir::find(directory.as_ref()).is_ok_and(|state_dir| state_dir.path().join("journal.db").is_file())
}

/// Checks the options of the plugin, as JSON, and gives a JSON list of `{path, message}`, empty when all is well.
#[napi(catch_unwind)]
pub fn check_options(options_json: String) -> Result<String> {
    let options: Map<String, Value> = parse("OPTIONS_INVALID", "options", &options_json)?;
    Ok(json!(mistakes_in(&options)).to_string())
}

/// Every mistake in the plugin's options, unknown names included.
fn mistakes_in(options: &Map<String, Value>) -> Vec<Mistake> {
    let known: Vec<_> = ["limits", "approval", "replaceBuiltins", "maskSecrets", "tools"]
        .into_iter()
        .chain(Scheduling::OPTIONS)
        .collect();
    let unknown = options.keys().filter(|name| !known.contains(&name.as_str()));
    let mut mistakes: Vec<_> = unknown
        .map(|name| Mistake {
            path: name.clone(),
            message: format!("no such option; known are {}", known.join(", ")),
        })
        .collect();
    mistakes.extend(options.get("limits").and_then(|limits| Limits::parse(limits).err()).unwrap_or_default());
    for name in ["replaceBuiltins", "maskSecrets"] {
        mistakes.extend(options.get(name).and_then(|value| not_boolean(name.into(), value)));
    }
    match options.get("tools") {
        None => {}
        Some(Value::Object(tools)) => {
            mistakes
                .extend(tools.iter().filter_map(|(name, value)| not_boolean(format!("tools.{name}"), value)));
        }
        Some(other) => {
            let message = format!("expected an object such as {{\"jq\": false}}, found {other}");
            mistakes.push(Mistake { path: "tools".into(), message });
        }
    }
    if let Some(other) = options.get("approval").filter(|value| Approval::deserialize(*value).is_err()) {
        let message = format!("expected \"auto\" or \"ask\", found {other}");
        mistakes.push(Mistake { path: "approval".into(), message });
    }
    mistakes.extend(Scheduling::parse(options).err().unwrap_or_default());
    mistakes
}

fn not_boolean(path: String, value: &Value) -> Option<Mistake> {
    let message = format!("expected true or false, found {value}");
    (!value.is_boolean()).then_some(Mistake { path, message })
}

/// The limits with default, range, unit and meaning, as a JSON list.
#[napi(catch_unwind)]
pub fn limits_table() -> String {
    json!(LIMITS).to_string()
}

/// Reads a review that belongs to no mission, as JSON, and gives an answer as JSON.
#[napi(catch_unwind)]
pub fn read_review(review_json: String) -> Result<String> {
    let review: Value = parse("INVALID_ARGUMENT", "review", &review_json)?;
    Ok(json!(orchestrator_engine::read_review(&review)).to_string())
}

/// The JSON schema of a typed blank: `plan`, `work`, `review` or `revision`.
#[napi(catch_unwind)]
pub fn blank_schema(blank: String) -> Result<String> {
    let schema = schema(&blank).ok_or_else(|| {
        coded("INVALID_ARGUMENT", format!("blank: expected plan, work, review or revision, found {blank:?}"))
    })?;
    Ok(schema.to_string())
}

/// The JSON schema of all that crosses between the engine and its caller, from which the TypeScript types are made.
#[napi(catch_unwind)]
pub fn protocol_schema() -> String {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.definitions_path = "/definitions".into());
    let mut generator = SchemaGenerator::new(settings);
    let roots = [
        ("Event", generator.subschema_for::<Event>()),
        ("Inquiry", generator.subschema_for::<Inquiry>()),
        ("Notice", generator.subschema_for::<Notice>()),
        ("OpenOptions", generator.subschema_for::<OpenOptions>()),
    ];
    let properties: serde_json::Map<_, _> =
        roots.into_iter().map(|(name, schema)| (name.to_owned(), schema.to_value())).collect();
    let definitions = generator.take_definitions(true);
    json!({ "title": "Protocol", "type": "object", "properties": properties, "definitions": definitions })
        .to_string()
}

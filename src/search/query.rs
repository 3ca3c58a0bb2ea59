//! From a query to an answer: parsing, starting on a pool, waiting.

use crate::error::SearchError;
use crate::limit::{OPTIONS_BYTES_MAX, RESULTS_DEFAULT, TIME_MAX};
use crate::root::Root;
use crate::walk::{Counts, Visit, Walk, check_length};
use crate::{glob, grep, structural};
use orchestrator_worker::{Job, JobError, Lane, Pool, Ticket};
use parking_lot::Mutex;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

/// A search to be made.
#[derive(Clone, Debug)]
pub enum Query {
    /// Text search.
    Grep(grep::Options),
    /// File search.
    Glob(glob::Options),
    /// Structural search.
    AstSearch(structural::Options),
}

impl Query {
    /// Parses the options of a search from JSON. `kind` is `grep`, `glob` or `astSearch`.
    ///
    /// # Errors
    ///
    /// [`SearchError::UnknownKind`], [`SearchError::TooLong`], and [`SearchError::BadOptions`] with the path of the
    /// first mistake. What needs the file system or a compiler is checked when the search runs.
    pub fn parse(kind: &str, options_json: &str) -> Result<Query, SearchError> {
        match kind {
            "grep" => parse_options(options_json).map(Query::Grep),
            "glob" => parse_options(options_json).map(Query::Glob),
            "astSearch" => parse_options(options_json).map(Query::AstSearch),
            _ => Err(SearchError::UnknownKind { kind: kind.to_owned() }),
        }
    }
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// Of a text search.
    Grep(grep::Answer),
    /// Of a file search.
    Glob(glob::Answer),
    /// Of a structural search.
    AstSearch(structural::Answer),
}

impl Answer {
    /// Returns the answer as text for a model: one result a line, then a line that says what was found and cut.
    pub fn to_text(&self) -> String {
        match self {
            Answer::Grep(answer) => answer.to_text(),
            Answer::Glob(answer) => answer.to_text(),
            Answer::AstSearch(answer) => answer.to_text(),
        }
    }
}

/// Returns the JSON schemas of all searches: `options` by kind, each complete in itself, as a tool's definition needs
/// it; and `answers`, one schema with a property for each kind, whose parts have names.
pub fn schema() -> Value {
    let options = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let option_schema = |schema: fn(SchemaGenerator) -> Schema| schema(options.clone().into_generator());
    let answers =
        SchemaSettings::draft07().for_serialize().into_generator().into_root_schema_for::<Answers>();
    json!({
        "options": {
            "grep": option_schema(SchemaGenerator::into_root_schema_for::<grep::Options>),
            "glob": option_schema(SchemaGenerator::into_root_schema_for::<glob::Options>),
            "astSearch": option_schema(SchemaGenerator::into_root_schema_for::<structural::Options>),
        },
        "answers": answers,
    })
}

/// The answers by kind of search; exists for its schema.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "SearchAnswers")]
struct Answers {
    grep: grep::Answer,
    glob: glob::Answer,
    ast_search: structural::Answer,
}

/// Starts `query` below `root` on `pool`. `on_end` is called exactly once, on a worker, and must be short. When
/// [`TIME_MAX`] is over it gets what was found by then.
///
/// # Errors
///
/// [`SearchError::Refused`] when the pool takes no job; `on_end` is dropped uncalled then. All other errors are
/// handed to `on_end`.
pub fn start(
    pool: &Pool,
    root: &Root,
    query: Query,
    on_end: impl FnOnce(Result<Answer, SearchError>) + Send + 'static,
) -> Result<Ticket, SearchError> {
    start_within(pool, root, query, TIME_MAX, on_end)
}

/// Makes a search and waits for it. Not to be called on a worker of `pool`, which it would block.
///
/// # Errors
///
/// All variants of [`SearchError`] but those about JSON.
pub fn run(pool: &Pool, root: &Root, query: Query) -> Result<Answer, SearchError> {
    let (sender, receiver) = channel();
    start(pool, root, query, move |result| {
        // The receiver is gone only if this thread unwinds, and then no one waits.
        let _gone = sender.send(result).is_err();
    })?;
    receiver.recv().unwrap_or(Err(SearchError::Job(JobError::ShutDown)))
}

/// [`start`] with a time limit of its own.
pub(crate) fn start_within(
    pool: &Pool,
    root: &Root,
    query: Query,
    time_limit: Duration,
    on_end: impl FnOnce(Result<Answer, SearchError>) + Send + 'static,
) -> Result<Ticket, SearchError> {
    let root = root.clone();
    match query {
        Query::Grep(options) => {
            let prepare = move || grep::Grep::prepare(&root, options);
            submit(pool, time_limit, prepare, Answer::Grep, on_end)
        }
        Query::Glob(options) => {
            let prepare = move || glob::Glob::prepare(&root, options);
            submit(pool, time_limit, prepare, Answer::Glob, on_end)
        }
        Query::AstSearch(options) => {
            let prepare = move || structural::Structural::prepare(&root, options);
            submit(pool, time_limit, prepare, Answer::AstSearch, on_end)
        }
    }
}

/// A walk that sums up what it found.
pub(crate) trait Search: Visit {
    type Answer;
    /// Takes the results out, sorted and within the limits. `timed_out` says that the walk did not come to its end.
    fn answer(&self, counts: &Counts, timed_out: bool) -> Self::Answer;
}

/// A walk ready to begin, or the caller's mistake.
type Prepared<S> = Result<Arc<Walk<S>>, SearchError>;

/// Makes a job whose first unit prepares the search, since compiling a pattern takes its time, and starts the walk.
fn submit<S: Search>(
    pool: &Pool,
    time_limit: Duration,
    prepare: impl FnOnce() -> Result<Walk<S>, SearchError> + Send + 'static,
    wrap: impl FnOnce(S::Answer) -> Answer + Send + 'static,
    on_end: impl FnOnce(Result<Answer, SearchError>) + Send + 'static,
) -> Result<Ticket, SearchError> {
    // Filled by the first unit; empty at the end when the job was stopped before it.
    let prepared: Arc<Mutex<Option<Prepared<S>>>> = Arc::new(Mutex::new(None));
    let slot = Arc::clone(&prepared);
    let job = Job::new(Lane::Interactive, time_limit, move |scope| match prepare() {
        Ok(walk) => {
            let walk = Arc::new(walk);
            *slot.lock() = Some(Ok(Arc::clone(&walk)));
            walk.begin(scope);
        }
        Err(error) => *slot.lock() = Some(Err(error)),
    });
    let ticket = pool.submit(job, move |outcome| {
        let prepared = prepared.lock().take();
        on_end(match (prepared, outcome) {
            (Some(Err(error)), _) => Err(error),
            (Some(Ok(walk)), Ok(())) => Ok(wrap(walk.visitor.answer(&walk.counts, false))),
            (Some(Ok(walk)), Err(JobError::TimedOut { .. })) => {
                Ok(wrap(walk.visitor.answer(&walk.counts, true)))
            }
            (_, Err(error)) => Err(error.into()),
            (None, Ok(())) => unreachable!("a job that ends well has run its first unit"),
        });
    })?;
    Ok(ticket)
}

fn parse_options<T: DeserializeOwned>(json: &str) -> Result<T, SearchError> {
    check_length("options", json.len(), OPTIONS_BYTES_MAX)?;
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let bad =
        |path: String, error: &serde_json::Error| SearchError::BadOptions { path, reason: error.to_string() };
    let options = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        bad(if path == "." { "options".to_owned() } else { path }, error.inner())
    })?;
    deserializer.end().map_err(|error| bad("options".to_owned(), &error))?;
    Ok(options)
}

/// Refuses a number outside `min` to `max`.
pub(crate) fn check_range(option: &'static str, found: u32, min: u32, max: u32) -> Result<(), SearchError> {
    if (min..=max).contains(&found) {
        Ok(())
    } else {
        Err(SearchError::OutOfRange { option, min, max, found })
    }
}

/// The default of `path`: the root.
pub(crate) fn default_path() -> String {
    ".".to_owned()
}

/// The default of `maxResults`.
pub(crate) fn default_results() -> u32 {
    RESULTS_DEFAULT
}

//! The tools by name: parsing, starting on a pool, waiting; and what is said of them to models and to TypeScript.

use crate::error::SearchError;
use crate::limit::{LIMITS, OPTIONS_BYTES_MAX, RESULTS_MAX, TIME_MAX};
use crate::root::Root;
use crate::walk::check_length;
use crate::{diff, git, glob, grep, jq, mgrep, replace, rewrite, stats, structural, symbols};
use orchestrator_worker::{Job, JobError, Lane, Pool, Scope, Ticket};
use parking_lot::Mutex;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// A tool: what it takes, what it gives, and the work between the two.
///
/// A new tool is a type that implements this, and a line in the table below.
pub(crate) trait Tool: 'static {
    /// Camel case, unknown fields denied, each field documented; the title of its schema is its name in TypeScript.
    type Options: DeserializeOwned + JsonSchema + Send + 'static;
    /// Camel case, each field documented; the title of its schema is its name in TypeScript.
    type Answer: Serialize + JsonSchema + ToText;
    /// A [`crate::walk::Walk`] or a [`Once`].
    type Work: Work<Answer = Self::Answer>;

    /// Checks and compiles the options. Runs on a worker, or where [`Tool::brief_at`] says that it may.
    fn prepare(root: &Root, options: Self::Options) -> Result<Self::Work, SearchError>;

    /// Returns the path on which it depends whether a call with these options is brief; `None` when more does.
    fn brief_at(_options: &Self::Options) -> Option<&str> {
        None
    }
}

/// What a model reads.
pub(crate) trait ToText {
    /// Returns the answer as text: one result a line, then a line that says what was found, what was cut, and how to
    /// get the rest.
    fn to_text(&self) -> String;
}

/// The work of one call, shared by the units of its job.
pub(crate) trait Work: Send + Sync + 'static {
    type Answer;

    /// Starts the work from the first unit of its job.
    fn begin(self: Arc<Self>, scope: &Scope<'_>);

    /// Hands out the answer, once, when the last unit has ended; must be short. `timed_out` says that units were
    /// dropped because the time was over. Not called when the job was cancelled or failed.
    fn answer(&self, timed_out: bool) -> Result<Self::Answer, SearchError>;
}

/// Work in one unit, for a tool that walks no tree. It asks [`Scope::is_stopped`] every few milliseconds, and returns
/// [`stopped`] when it is.
pub(crate) struct Once<A> {
    run: Mutex<Option<Run<A>>>,
    result: Mutex<Option<Result<A, SearchError>>>,
}

type Run<A> = Box<dyn FnOnce(&Scope<'_>) -> Result<A, SearchError> + Send>;

impl<A> Once<A> {
    pub(crate) fn new(run: impl FnOnce(&Scope<'_>) -> Result<A, SearchError> + Send + 'static) -> Once<A> {
        Once { run: Mutex::new(Some(Box::new(run))), result: Mutex::new(None) }
    }
}

impl<A: Send + 'static> Work for Once<A> {
    type Answer = A;

    fn begin(self: Arc<Self>, scope: &Scope<'_>) {
        let run = self.run.lock().take();
        let result = run.map(|run| run(scope));
        *self.result.lock() = result;
    }

    fn answer(&self, _timed_out: bool) -> Result<A, SearchError> {
        self.result.lock().take().unwrap_or_else(|| Err(stopped()))
    }
}

/// What work that cannot give a part of its answer ends with when its job was stopped. A caller who cancelled is told
/// so instead.
pub(crate) fn stopped() -> SearchError {
    SearchError::Job(JobError::TimedOut { limit_ms: TIME_MAX.as_millis() })
}

/// Makes what is known of every tool from one table: name, options, answer, the type that does the work, and what a
/// model is told of it.
macro_rules! tools {
    ($($name:literal: $variant:ident($options:ty) -> $answer:ty, $tool:ty, $description:literal;)*) => {
        /// A call of a tool, with its options.
        #[derive(Clone, Debug)]
        #[non_exhaustive]
        pub enum Query {
            $(#[doc = $description] $variant($options),)*
        }

        /// What a tool answers.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(untagged)]
        #[non_exhaustive]
        pub enum Answer {
            $(#[doc = concat!("Of `", $name, "`.")] $variant($answer),)*
        }

        /// The names of all tools.
        pub const NAMES: &[&str] = &[$($name),*];

        impl Query {
            /// Parses the options of a tool from JSON. `name` is one of [`NAMES`].
            ///
            /// # Errors
            ///
            /// [`SearchError::UnknownTool`], [`SearchError::TooLong`], and [`SearchError::BadOptions`] with the path of
            /// the first mistake. What needs the file system or a compiler is checked when the tool runs.
            pub fn parse(name: &str, options_json: &str) -> Result<Query, SearchError> {
                match name {
                    $($name => parse_options(options_json).map(Query::$variant),)*
                    _ => Err(SearchError::UnknownTool { name: name.chars().take(100).collect() }),
                }
            }
        }

        impl Answer {
            /// Returns the answer as text for a model: one result a line, then a line that says what was found and cut.
            pub fn to_text(&self) -> String {
                match self {
                    $(Answer::$variant(answer) => answer.to_text(),)*
                }
            }
        }

        /// Returns what is known of the tools: `tools` by name, each with its `description` and the schema of its
        /// `options`, complete in itself, as a tool's definition needs it; `answers`, one schema with a property for
        /// each tool, whose parts have names; and `limits`, for the documents.
        pub fn schema() -> Value {
            let mut tools = Map::new();
            $(tools.insert($name.to_owned(), json!({
                "description": $description,
                "options": options_schema::<$options>(),
            }));)*
            let mut generator = SchemaSettings::draft07().for_serialize().into_generator();
            let mut answers = Map::new();
            $(answers.insert(
                $name.to_owned(),
                generator.subschema_for::<$answer>().to_value(),
            );)*
            let limits = LIMITS.iter().map(|(value, meaning)| json!({ "value": value, "meaning": meaning.trim() }));
            json!({
                "tools": tools,
                "limits": limits.collect::<Vec<_>>(),
                "answers": {
                    "type": "object",
                    "properties": answers,
                    "required": NAMES,
                    "definitions": generator.take_definitions(true),
                },
            })
        }

        /// [`start`] with a time limit of its own. With `here` the work may begin on the calling thread.
        pub(crate) fn start_within(
            pool: &Pool,
            root: &Root,
            query: Query,
            time_limit: Duration,
            here: bool,
            on_end: impl FnOnce(Result<Answer, SearchError>) + Send + 'static,
        ) -> Result<Ticket, SearchError> {
            match query {
                $(Query::$variant(options) => {
                    submit::<$tool>(pool, root, options, time_limit, here, Answer::$variant, on_end)
                })*
            }
        }
    };
}

tools! {
    "grep_search": Grep(grep::Options) -> grep::Answer, grep::Grep,
        "Search file contents with a regular expression. Honours .gitignore. Answers path:line: text.";
    "mgrep": Mgrep(mgrep::Options) -> mgrep::Answer, mgrep::Mgrep,
        "Search file contents for many regular expressions in one pass, with the results of each. Honours .gitignore.";
    "glob_search": Glob(glob::Options) -> glob::Answer, glob::Glob,
        "List files whose path matches a glob pattern. Honours .gitignore.";
    "file_stats": FileStats(stats::Options) -> stats::Answer, stats::FileStats,
        "Count the files, bytes and lines of a folder by language, and list its largest files. Honours .gitignore.";
    "ast_search": AstSearch(structural::Options) -> structural::Answer, structural::Structural,
        "Search code by its structure with an ast-grep pattern such as `console.log($ARG)`, or a rule.";
    "ast_replace": AstReplace(rewrite::Options) -> replace::Answer, rewrite::AstReplace,
        "Replace code by its structure, in every file that matches. Shows a diff; writes only with `apply`.";
    "replace": Replace(replace::Options) -> replace::Answer, replace::Replace,
        "Find and replace text, in every file that matches. Shows a diff; writes only with `apply`.";
    "diff": Diff(diff::Options) -> diff::Answer, diff::Diff,
        "Compare two files or texts. Answers a unified diff.";
    "jq": Jq(jq::Options) -> jq::Answer, jq::Jq, "Run a jq filter on a JSON file or text.";
    "git_status": GitStatus(git::StatusOptions) -> git::StatusAnswer, git::Status,
        "Which files are not as they were committed.";
    "git_diff": GitDiff(git::DiffOptions) -> git::DiffAnswer, git::Diff,
        "What has changed since a commit, is staged, or differs between commits.";
    "git_log": GitLog(git::LogOptions) -> git::LogAnswer, git::Log, "Commits, newest first.";
    "symbols": Symbols(symbols::Options) -> symbols::Answer, symbols::Symbols,
        "Outline of a file or folder: what is defined where. Answers path:line: kind name.";
}

/// Starts `query` in what `root` reaches, on `pool`. `on_end` is called exactly once, on a worker, and must be short.
/// When [`TIME_MAX`] is over, a search gives what was found by then; other tools fail.
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
    start_within(pool, root, query, TIME_MAX, false, on_end)
}

/// As [`start`], for a caller who waits: what may take a moment only is begun on the calling thread, which takes less than
/// to wake another. `on_end` may be called before this returns.
///
/// # Errors
///
/// As [`start`].
pub fn start_here(
    pool: &Pool,
    root: &Root,
    query: Query,
    on_end: impl FnOnce(Result<Answer, SearchError>) + Send + 'static,
) -> Result<Ticket, SearchError> {
    start_within(pool, root, query, TIME_MAX, true, on_end)
}

/// Runs a tool and waits for it. Not to be called on a worker of `pool`, which it would block.
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

/// Work ready to begin, or the caller's mistake.
type Prepared<T> = Result<Arc<<T as Tool>::Work>, SearchError>;

/// Makes a job whose first unit prepares the work, since compiling a pattern takes its time, and begins it.
fn submit<T: Tool>(
    pool: &Pool,
    root: &Root,
    options: T::Options,
    time_limit: Duration,
    here: bool,
    wrap: impl FnOnce(T::Answer) -> Answer + Send + 'static,
    on_end: impl FnOnce(Result<Answer, SearchError>) + Send + 'static,
) -> Result<Ticket, SearchError> {
    let place = T::brief_at(&options).map(|path| (root.path().to_owned(), path.to_owned()));
    let is_brief =
        here && place.as_ref().is_some_and(|place| was_brief(place).unwrap_or_else(|| root.is_local()));
    // Filled by the first unit; empty at the end when the job was stopped before it.
    let prepared: Arc<Mutex<Option<Prepared<T>>>> = Arc::new(Mutex::new(None));
    let (slot, root) = (Arc::clone(&prepared), root.for_call());
    let started = Arc::new(OnceLock::new());
    let clock = Arc::clone(&started);
    let job = Job::new(Lane::Interactive, time_limit, move |scope| {
        clock.get_or_init(Instant::now);
        let work = T::prepare(&root, options).map(Arc::new);
        let begun = work.as_ref().ok().map(Arc::clone);
        *slot.lock() = Some(work);
        if let Some(work) = begun {
            work.begin(scope);
        }
    });
    let on_end = move |outcome: Result<(), JobError>| {
        if let Some(place) = place {
            note_time(place, started.get().map_or(Duration::MAX, Instant::elapsed));
        }
        let prepared = prepared.lock().take();
        on_end(match (prepared, outcome) {
            (Some(Err(error)), _) => Err(error),
            (Some(Ok(work)), Ok(())) => work.answer(false).map(wrap),
            (Some(Ok(work)), Err(JobError::TimedOut { .. })) => work.answer(true).map(wrap),
            (_, Err(error)) => Err(error.into()),
            (None, Ok(())) => unreachable!("a job that ends well has run its first unit"),
        });
    };
    Ok(if is_brief { pool.submit_here(job, BRIEF_MAX, on_end) } else { pool.submit(job, on_end) }?)
}

/// How long work may take that is done on the caller's thread.
const BRIEF_MAX: Duration = Duration::from_micros(500);

/// Where work is done: the project, and the path in it.
type Place = (PathBuf, String);

/// Whether the work was as brief when it was last done in a place.
static WAS_BRIEF: Mutex<Vec<(Place, bool)>> = Mutex::new(Vec::new());

/// How many places are remembered.
const PLACES_MAX: usize = 64;

/// `None` where nothing was done yet.
fn was_brief(place: &Place) -> Option<bool> {
    WAS_BRIEF.lock().iter().find(|(known, _)| known == place).map(|(_, was_brief)| *was_brief)
}

fn note_time(place: Place, took: Duration) {
    let mut places = WAS_BRIEF.lock();
    let is_brief = took <= BRIEF_MAX;
    if let Some((_, was_brief)) = places.iter_mut().find(|(known, _)| *known == place) {
        *was_brief = is_brief;
        return;
    }
    if places.len() == PLACES_MAX {
        places.remove(0);
    }
    places.push((place, is_brief));
}

fn options_schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().to_value()
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
    RESULTS_MAX
}

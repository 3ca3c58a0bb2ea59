//! The limits of every tool, from one table; and the names by which an answer says which of them it met.

use schemars::JsonSchema;
use serde::Serialize;
use std::time::Duration;

/// Makes a constant of each limit, and the table of them all for the documents.
macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty = $value:expr, $shown:literal;)*) => {
        $($(#[doc = $doc])+ pub const $name: $type = $value;)*

        /// Every limit: its value as people read it, and what it is, for the documents.
        pub const LIMITS: &[(&str, &str)] = &[$(($shown, concat!($($doc),+))),*];
    };
}

limits! {
    /// The largest pattern. A longer one is refused.
    PATTERN_BYTES_MAX: usize = 64 * 1024, "64 KiB";
    /// How many patterns one call may search for.
    PATTERNS_MAX: usize = 100, "100";
    /// The largest glob. A longer one is refused.
    GLOB_BYTES_MAX: usize = 4 * 1024, "4 KiB";
    /// How many entries `globs` or `types` may have.
    GLOBS_MAX: usize = 100, "100";
    /// The memory that a compiled regular expression may take. A larger one is refused.
    REGEX_BYTES_MAX: usize = 10 * 1024 * 1024, "10 MiB";
    /// How deeply the syntax tree of a searched file may be nested. A deeper file is skipped and counted.
    SYNTAX_DEPTH_MAX: usize = 10_000, "10,000 levels";
    /// How deeply a syntax pattern may be nested, since it is compared at every place of a file. A deeper one is refused.
    PATTERN_DEPTH_MAX: usize = 1_000, "1,000 levels";
    /// The largest file that is searched for text. A larger one is skipped and counted.
    FILE_BYTES_MAX: u64 = 32 * 1024 * 1024, "32 MiB";
    /// The largest file that is parsed, since a syntax tree takes ten times its source. A larger one is skipped and
    /// counted.
    SYNTAX_FILE_BYTES_MAX: u64 = 4 * 1024 * 1024, "4 MiB";
    /// The largest file that is edited, before and after. A larger one is refused.
    EDIT_FILE_BYTES_MAX: u64 = 8 * 1024 * 1024, "8 MiB";
    /// How much one call may write. More is refused, and nothing is written.
    EDIT_BYTES_MAX: u64 = 64 * 1024 * 1024, "64 MiB";
    /// The largest ignore file that is read. A larger one has no effect.
    IGNORE_FILE_BYTES_MAX: u64 = 256 * 1024, "256 KiB";
    /// How much of a line is shown, around the match.
    LINE_CHARS_MAX: usize = 2_000, "2,000 characters";
    /// How many lines of context a match may have on each side.
    CONTEXT_LINES_MAX: u32 = 20, "20 lines";
    /// How many results a call returns, unless it asks for fewer. The answer says how to get the rest.
    RESULTS_MAX: u32 = 1_000, "1,000";
    /// The size of an answer's results. One result is always given; the answer says how to get the rest.
    ANSWER_BYTES_MAX: usize = 256 * 1024, "256 KiB";
    /// How many folders deep a tool goes below its `path`.
    TREE_DEPTH_MAX: usize = 256, "256 folders";
    /// How long a call may take, from its submission. A search then gives what it has found, other tools fail.
    TIME_MAX: Duration = Duration::from_secs(30), "30 s";
    /// The largest set of options, as JSON. A larger one is refused.
    OPTIONS_BYTES_MAX: usize = 1024 * 1024, "1 MiB";
    /// The memory that the index of a project may take. A larger project is searched without one.
    INDEX_BYTES_MAX: usize = 64 * 1024 * 1024, "64 MiB";
    /// How many projects have an index at a time; the one not used for the longest time goes first.
    INDEXES_MAX: usize = 4, "4";
    /// An index pays only for as many files or more.
    INDEX_FILES_MIN: u64 = 2_000, "2,000";
    /// The index of a project is built after this many searches of the whole of it.
    INDEX_SEARCHES_MIN: u32 = 3, "3";
    /// How long the message of an error may be. The middle of a longer one is left out.
    MESSAGE_CHARS_MAX: usize = 2_000, "2,000 characters";
    /// How deeply JSON may be nested, in options and in files.
    JSON_DEPTH_MAX: usize = 128, "128 levels";
    /// How many digits an integer in JSON may have, since the time to read them grows with their square. The file or text is
    /// refused otherwise.
    JSON_DIGITS_MAX: usize = 262_144, "262,144 digits";
    /// How many files one call may edit. More is refused, and nothing is written.
    EDIT_FILES_MAX: usize = 1_000, "1,000";
    /// The largest jq filter. A longer one is refused.
    FILTER_BYTES_MAX: usize = 2 * 1024, "2 KiB";
    /// How much memory a jq filter may ask for, in all. It is stopped then.
    JSON_MEMORY_BYTES_MAX: usize = 256 * 1024 * 1024, "256 MiB";
    /// How much of what git writes is read. The answer says that it was cut.
    GIT_OUTPUT_BYTES_MAX: usize = 4 * 1024 * 1024, "4 MiB";
}

/// A limit that kept something out of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Limit {
    /// There are more results than `maxResults`.
    MaxResults,
    /// The results would be larger than an answer may be.
    AnswerBytes,
    /// The time was over; what had been found by then is given.
    TimeLimit,
    /// Folders too far below `path` were left out.
    TreeDepth,
    /// Files too large to be searched were left out.
    FileBytes,
    /// Files whose syntax is nested too deeply were left out.
    SyntaxDepth,
    /// Texts longer than a line may be are shown in part. No result is missing.
    LineChars,
}

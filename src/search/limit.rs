//! The limits of every search, and the names by which an answer says which of them it met.

use schemars::JsonSchema;
use serde::Serialize;
use std::time::Duration;

/// The largest pattern, in bytes. A longer one is refused.
pub const PATTERN_BYTES_MAX: usize = 64 * 1024;
/// The largest glob, in bytes, and how many a call may name. More is refused.
pub const GLOB_BYTES_MAX: usize = 4 * 1024;
/// How many entries `globs` or `types` may have.
pub const GLOBS_MAX: usize = 100;
/// The memory a compiled regular expression may take. A larger one is refused.
pub const REGEX_BYTES_MAX: usize = 10 * 1024 * 1024;
/// How deeply a syntax pattern, or the syntax tree of a searched file, may be nested. A deeper pattern is refused, a
/// deeper file skipped: comparing trees recurses, and a stack that overflows takes the host with it.
pub const SYNTAX_DEPTH_MAX: usize = 1_000;
/// The largest file that is searched for text. A larger one is skipped and counted.
pub const FILE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// The largest file that is parsed. Smaller than [`FILE_BYTES_MAX`], since a syntax tree takes ten times its source.
pub const SYNTAX_FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// The largest file that is edited, before and after.
pub const EDIT_FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// How much one call may write.
pub const EDIT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The largest ignore file that is read. A larger one has no effect.
pub const IGNORE_FILE_BYTES_MAX: u64 = 256 * 1024;
/// How much of a line is shown, in characters, around the match.
pub const LINE_CHARS_MAX: usize = 2_000;
/// How many lines of context a match may have on each side.
pub const CONTEXT_LINES_MAX: u32 = 20;
/// How many results a call returns unless it says otherwise.
pub const RESULTS_DEFAULT: u32 = 1_000;
/// How many results a call may ask for.
pub const RESULTS_MAX: u32 = 10_000;
/// The size of an answer's results, in bytes. One result is always given.
pub const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// How many folders deep a search goes below its `path`.
pub const TREE_DEPTH_MAX: usize = 256;
/// How long a search may take, from its submission.
pub const TIME_MAX: Duration = Duration::from_secs(30);
/// The largest set of options as JSON, in bytes.
pub const OPTIONS_BYTES_MAX: usize = 1024 * 1024;

/// A limit that kept something out of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Limit {
    /// There are more results than `maxResults`.
    MaxResults,
    /// The results would be larger than 256 KiB.
    AnswerBytes,
    /// The search was stopped after 30 seconds; what it had found by then is given.
    TimeLimit,
    /// Folders more than 256 levels below `path` were left out.
    TreeDepth,
    /// Files larger than 32 MiB (4 MiB in a structural search) were left out.
    FileBytes,
    /// Files whose syntax is nested more than 1,000 levels deep were left out.
    SyntaxDepth,
    /// Texts longer than 2,000 characters are shown in part. No result is missing.
    LineChars,
}

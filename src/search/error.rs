//! Why a search gave no answer.

use crate::limit::MESSAGE_CHARS_MAX;
use crate::{shape, symbols};
use orchestrator_worker::{JobError, SubmitError};
use std::path::PathBuf;
use thiserror::Error;

/// Why a search gave no answer. A message begins with the path of the option it is about, if it is about one.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SearchError {
    /// No such tool.
    #[error("there is no tool called {name:?}; use one of {}", crate::NAMES.join(", "))]
    UnknownTool {
        /// What was asked for.
        name: String,
    },
    /// The options are not what their schema says.
    #[error("{path}: {reason}; correct it and call again")]
    BadOptions {
        /// The path of the option, `options` for the whole.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A number is outside its range.
    #[error("{option}: expected {min} to {max}, found {found}")]
    OutOfRange {
        /// The path of the option.
        option: &'static str,
        /// The smallest value allowed.
        min: u32,
        /// The largest value allowed.
        max: u32,
        /// The value given.
        found: u32,
    },
    /// Text, or a list, is longer than its limit.
    #[error("{option}: expected at most {max}, found {found}; shorten it")]
    TooLong {
        /// The path of the option.
        option: String,
        /// The bound, in bytes or entries.
        max: usize,
        /// The length given.
        found: usize,
    },
    /// The pattern is not one that can be searched for.
    #[error("pattern: {reason}")]
    BadPattern {
        /// What is wrong, and what to do.
        reason: String,
    },
    /// One of several patterns, or all of them together, cannot be searched for.
    #[error("{option}: {reason}")]
    BadPatterns {
        /// The path of the option.
        option: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The rule is not one that can be searched with.
    #[error("rule: {reason}; correct the YAML, whose form is that of ast-grep's rules")]
    BadRule {
        /// What is wrong.
        reason: String,
    },
    /// No outline can be made of the file.
    #[error("path: no outline can be made of {path:?}; give code in one of {}", symbols::language_names())]
    NoOutline {
        /// The path as shown.
        path: String,
    },
    /// The jq filter cannot be compiled.
    #[error("filter: {reason}; correct the filter")]
    BadFilter {
        /// What is wrong.
        reason: String,
    },
    /// The jq filter or its input met a limit.
    #[error("jq: {reason}; select less, or do it in steps")]
    JqFailed {
        /// What happened.
        reason: String,
    },
    /// There is no git on this system.
    #[error("git was not found in PATH; install it")]
    GitMissing,
    /// The project is in no git repository, or in one that cannot be trusted to be its own.
    #[error("{path:?} is in no git repository; use this tool in one")]
    NoRepository {
        /// The project.
        path: String,
    },
    /// Git ended with an error.
    #[error("git: {message}; correct the revisions and paths")]
    GitFailed {
        /// What git said.
        message: String,
    },
    /// An edit would change more files than a call may.
    #[error("more than {max} files would be changed; narrow path, globs or pattern")]
    TooManyFiles {
        /// The bound.
        max: usize,
    },
    /// A glob cannot be read.
    #[error("{option}: {reason}; correct the glob, or escape special characters with \\")]
    BadGlob {
        /// The path of the option.
        option: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No such file type.
    #[error(
        "types[{index}]: there is no file type {name:?}; use one of ripgrep's types such as \"rust\", or globs"
    )]
    UnknownType {
        /// Which entry of `types`.
        index: usize,
        /// The name given.
        name: String,
    },
    /// The language is unknown, or its parser was not compiled in.
    #[error("language: {name:?} has no parser here; use one of {}", shape::language_names())]
    UnknownLanguage {
        /// The name given.
        name: String,
    },
    /// The path holds what no path here may.
    #[error("path: {path:?} holds {reason}; give a path without it, relative to the project or absolute")]
    PathInvalid {
        /// The path given.
        path: String,
        /// What it holds.
        reason: &'static str,
    },
    /// The path is outside the project, by itself or through a link, and the host has not granted it.
    #[error("path: {path:?} is outside the project and was not granted; give a path inside the project")]
    PathOutside {
        /// The path given.
        path: String,
        /// The absolute folder that would have to be granted.
        folder: PathBuf,
    },
    /// The path is a device, a FIFO or a socket; or a folder where a file is needed.
    #[error("path: {path:?} is not a regular file; give one that is")]
    NotAFile {
        /// The path given.
        path: String,
    },
    /// Nothing of ours may write there.
    #[error("{path:?} may not be edited: {reason}; leave it out")]
    Protected {
        /// The path as shown.
        path: String,
        /// Why not.
        reason: &'static str,
    },
    /// The lease does not cover the file.
    #[error("{path:?} is not among the files of this task; leave it out")]
    NotLeased {
        /// The path as shown.
        path: String,
    },
    /// The file is larger than what may be read or written at once.
    #[error("{path:?} is larger than {max} bytes; work on a part of it, or on a smaller file")]
    TooLarge {
        /// The path as shown.
        path: String,
        /// The bound, in bytes.
        max: u64,
    },
    /// The file is not text.
    #[error("{path:?} is not text that can be edited ({reason}); leave it out")]
    NotText {
        /// The path as shown.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A file was changed by someone else between reading and writing. Nothing was written.
    #[error("{path:?} was changed meanwhile, so nothing was written; call again")]
    Changed {
        /// The path as shown.
        path: String,
    },
    /// A file could not be written, and what had been written before it was taken back.
    #[error(
        "{path:?} cannot be written ({reason}), so nothing was changed; check its mode and the disk's space"
    )]
    WriteFailed {
        /// The path as shown.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// A file could not be written, nor could others be given back what they held before.
    #[error("{path:?} cannot be written ({reason}), and these stay changed: {}; restore them from git", .changed.join(", "))]
    HalfWritten {
        /// The path as shown.
        path: String,
        /// What the system said.
        reason: String,
        /// The files that hold the new text, as shown.
        changed: Vec<String>,
    },
    /// There is no such path, or it may not be read.
    #[error("path: {path:?} cannot be searched ({reason}); give an existing file or folder")]
    PathUnreadable {
        /// The path given.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// The root itself cannot be opened.
    #[error("cwd: {path:?} is not a folder that can be searched ({reason}); give an existing folder")]
    BadRoot {
        /// The root given.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// The caller cancelled the search.
    #[error("the search was cancelled; call again if its result is still wanted")]
    Cancelled,
    /// The search was stopped before it had looked at anything, or failed.
    #[error(transparent)]
    Job(JobError),
    /// The pool did not accept the search.
    #[error(transparent)]
    Refused(#[from] SubmitError),
}

impl SearchError {
    /// Returns the stable code of this error.
    pub fn code(&self) -> &'static str {
        match self {
            SearchError::UnknownTool { .. } => "SEARCH_UNKNOWN_TOOL",
            SearchError::BadOptions { .. } => "SEARCH_BAD_OPTIONS",
            SearchError::OutOfRange { .. } => "SEARCH_OUT_OF_RANGE",
            SearchError::TooLong { .. } => "SEARCH_TOO_LONG",
            SearchError::BadPattern { .. } | SearchError::BadPatterns { .. } => "SEARCH_BAD_PATTERN",
            SearchError::BadRule { .. } => "SEARCH_BAD_RULE",
            SearchError::NoOutline { .. } => "SEARCH_NO_OUTLINE",
            SearchError::BadFilter { .. } => "SEARCH_BAD_FILTER",
            SearchError::JqFailed { .. } => "SEARCH_JQ_FAILED",
            SearchError::GitMissing => "SEARCH_GIT_MISSING",
            SearchError::NoRepository { .. } => "SEARCH_NO_REPOSITORY",
            SearchError::GitFailed { .. } => "SEARCH_GIT_FAILED",
            SearchError::TooManyFiles { .. } => "SEARCH_TOO_MANY_FILES",
            SearchError::BadGlob { .. } => "SEARCH_BAD_GLOB",
            SearchError::UnknownType { .. } => "SEARCH_UNKNOWN_TYPE",
            SearchError::UnknownLanguage { .. } => "SEARCH_UNKNOWN_LANGUAGE",
            SearchError::PathInvalid { .. } => "SEARCH_PATH_INVALID",
            SearchError::PathOutside { .. } => "SEARCH_PATH_OUTSIDE",
            SearchError::NotAFile { .. } => "SEARCH_NOT_A_FILE",
            SearchError::Protected { .. } => "SEARCH_PROTECTED",
            SearchError::NotLeased { .. } => "SEARCH_NOT_LEASED",
            SearchError::TooLarge { .. } => "SEARCH_TOO_LARGE",
            SearchError::NotText { .. } => "SEARCH_NOT_TEXT",
            SearchError::Changed { .. } => "SEARCH_CHANGED",
            SearchError::WriteFailed { .. } => "SEARCH_WRITE_FAILED",
            SearchError::HalfWritten { .. } => "SEARCH_HALF_WRITTEN",
            SearchError::PathUnreadable { .. } => "SEARCH_PATH_UNREADABLE",
            SearchError::BadRoot { .. } => "SEARCH_BAD_ROOT",
            SearchError::Cancelled => "SEARCH_CANCELLED",
            SearchError::Job(error) => error.code(),
            SearchError::Refused(error) => error.code(),
        }
    }

    /// Returns the message for whoever called: what it quotes may be as long as an argument, so the middle of a long one
    /// is left out.
    pub fn message(&self) -> String {
        let message = self.to_string();
        let characters = message.chars().count();
        if characters <= MESSAGE_CHARS_MAX {
            return message;
        }
        let half = MESSAGE_CHARS_MAX / 2;
        let (start, end) = (message.chars().take(half), message.chars().skip(characters - half));
        start.chain(['…']).chain(end).collect()
    }
}

impl From<JobError> for SearchError {
    fn from(error: JobError) -> SearchError {
        match error {
            JobError::Cancelled => SearchError::Cancelled,
            error @ (JobError::TimedOut { .. }
            | JobError::Panicked { .. }
            | JobError::TooManyUnits { .. }
            | JobError::NoWorker { .. }
            | JobError::ShutDown
            | _) => SearchError::Job(error),
        }
    }
}

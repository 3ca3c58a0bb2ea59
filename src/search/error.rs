//! Why a search gave no answer.

use crate::structural;
use orchestrator_worker::{JobError, StartError, SubmitError};
use thiserror::Error;

/// Why a search gave no answer. A message begins with the path of the option it is about, if it is about one.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SearchError {
    /// No such kind of search.
    #[error("there is no search called {kind:?}; use \"grep\", \"glob\" or \"astSearch\"")]
    UnknownKind {
        /// What was asked for.
        kind: String,
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
    #[error("language: {name:?} has no parser here; use one of {}", structural::language_names())]
    UnknownLanguage {
        /// The name given.
        name: String,
    },
    /// The path leads out of the root, by itself or through a link.
    #[error("path: {path:?} is outside the project; give a path inside it, without \"..\"")]
    PathOutside {
        /// The path given.
        path: String,
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
    /// The pool did not start.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl SearchError {
    /// Returns the stable code of this error.
    pub fn code(&self) -> &'static str {
        match self {
            SearchError::UnknownKind { .. } => "SEARCH_UNKNOWN_KIND",
            SearchError::BadOptions { .. } => "SEARCH_BAD_OPTIONS",
            SearchError::OutOfRange { .. } => "SEARCH_OUT_OF_RANGE",
            SearchError::TooLong { .. } => "SEARCH_TOO_LONG",
            SearchError::BadPattern { .. } => "SEARCH_BAD_PATTERN",
            SearchError::BadGlob { .. } => "SEARCH_BAD_GLOB",
            SearchError::UnknownType { .. } => "SEARCH_UNKNOWN_TYPE",
            SearchError::UnknownLanguage { .. } => "SEARCH_UNKNOWN_LANGUAGE",
            SearchError::PathOutside { .. } => "SEARCH_PATH_OUTSIDE",
            SearchError::PathUnreadable { .. } => "SEARCH_PATH_UNREADABLE",
            SearchError::BadRoot { .. } => "SEARCH_BAD_ROOT",
            SearchError::Cancelled => "SEARCH_CANCELLED",
            SearchError::Job(error) => error.code(),
            SearchError::Refused(error) => error.code(),
            SearchError::Start(error) => error.code(),
        }
    }
}

impl From<JobError> for SearchError {
    fn from(error: JobError) -> SearchError {
        match error {
            JobError::Cancelled => SearchError::Cancelled,
            error @ (JobError::TimedOut { .. }
            | JobError::Panicked { .. }
            | JobError::TooManyUnits { .. }
            | JobError::ShutDown
            | _) => SearchError::Job(error),
        }
    }
}

//! What a tree holds: files, bytes and lines by language, and the largest files.

use crate::answer::{Coverage, count_of};
use crate::content::Content;
use crate::error::SearchError;
use crate::limit::FILE_BYTES_MAX;
use crate::query::{ToText, Tool, check_range, default_path};
use crate::root::Root;
use crate::walk::{Counts, Filter, FoundFile, Search, Visit, Walk};
use gengo_language::Language;
use orchestrator_worker::Scope;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Read;
use std::path::Path;

/// How many of the largest files a call may ask for.
const LARGEST_MAX: u32 = 100;

/// How many of the largest files are listed unless a call says otherwise.
const LARGEST_DEFAULT: u32 = 10;

/// How many languages are told apart; the smallest of the others are summed up.
const LANGUAGES_MAX: usize = 100;

/// How much of a file is read at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// How much of a file's start may tell its language where its name does not.
const HEAD_BYTES: usize = 4 * 1024;

/// Options of the statistics of a tree. None is required.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "FileStatsOptions")]
pub struct Options {
    /// The folder or file to count, relative to the project root or absolute inside it.
    #[serde(default = "default_path")]
    pub path: String,
    /// Count only files that match one of these globs, relative to `path`, as in a .gitignore: `*.ts`, `src/**`. A
    /// leading `!` leaves files out. What ignore files hide stays hidden.
    #[serde(default)]
    pub globs: Vec<String>,
    /// Count only files of these types, by ripgrep's names: `rust`, `ts`, `py`.
    #[serde(default)]
    pub types: Vec<String>,
    /// Count hidden files and folders too (names that begin with a dot), except `.git`.
    #[serde(default)]
    pub hidden: bool,
    /// Count files that .gitignore, .ignore and the like hide.
    #[serde(default)]
    pub no_ignore: bool,
    /// How many of the largest files to list, 0 to 100.
    #[serde(default = "default_largest")]
    #[schemars(range(min = 0, max = LARGEST_MAX))]
    pub largest: u32,
}

fn default_largest() -> u32 {
    LARGEST_DEFAULT
}

/// The files of one language.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LanguageStats {
    /// Its name, such as `Rust`; the ending, such as `.xyz`, where no language is known; `binary` for binary data; `other`
    /// for the rest.
    pub language: String,
    /// How many files.
    pub files: u64,
    /// How large they are together.
    pub bytes: u64,
    /// How many lines they have together; 0 for binary data.
    pub lines: u64,
}

/// One of the largest files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LargeFile {
    /// How large it is.
    pub bytes: u64,
    /// Path relative to the project root, with `/`.
    pub path: String,
    /// How many lines it has; 0 for binary data.
    pub lines: u64,
}

/// The statistics of a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "FileStatsAnswer")]
pub struct Answer {
    /// How many files.
    pub files: u64,
    /// How large they are together.
    pub bytes: u64,
    /// How many lines they have together.
    pub lines: u64,
    /// By language, the one with most bytes first.
    pub languages: Vec<LanguageStats>,
    /// The largest files, the largest first.
    pub largest: Vec<LargeFile>,
    /// How complete this is.
    #[serde(flatten)]
    pub coverage: Coverage,
}

impl ToText for Answer {
    /// Returns the answer as a model reads it: a table of languages, then the largest files, then a line that sums up.
    fn to_text(&self) -> String {
        let mut text = String::from("language: files, lines, bytes\n");
        for LanguageStats { language, files, bytes, lines } in &self.languages {
            // Writing to a `String` does not fail.
            let _infallible = writeln!(text, "{language}: {files}, {lines}, {bytes}");
        }
        if !self.largest.is_empty() {
            text.push_str("largest files: lines, bytes\n");
        }
        for LargeFile { bytes, path, lines } in &self.largest {
            let _infallible = writeln!(text, "{path}: {lines}, {bytes}");
        }
        let found = format!(
            "{}, {}, {}",
            count_of(self.files, "file", "files"),
            count_of(self.lines, "line", "lines"),
            count_of(self.bytes, "byte", "bytes")
        );
        self.coverage.write_text(&found, &mut text);
        text
    }
}

#[derive(Default)]
struct Sums {
    languages: BTreeMap<String, LanguageStats>,
    /// At most `largest_max`.
    largest: BTreeSet<LargeFile>,
}

/// Statistics in the making.
pub(crate) struct FileStats {
    largest_max: usize,
    sums: Mutex<Sums>,
    /// Buffers not in use.
    idle: Mutex<Vec<Vec<u8>>>,
}

impl Tool for FileStats {
    type Options = Options;
    type Answer = Answer;
    type Work = Walk<FileStats>;

    fn prepare(root: &Root, options: Options) -> Result<Walk<FileStats>, SearchError> {
        check_range("largest", options.largest, 0, LARGEST_MAX)?;
        let base = root.find(&options.path)?;
        let filter =
            Filter::compile(&base.path, &options.globs, &options.types, options.hidden, options.no_ignore)?;
        let visitor = FileStats {
            largest_max: options.largest as usize,
            sums: Mutex::new(Sums::default()),
            idle: Mutex::new(Vec::new()),
        };
        Ok(Walk::new(base, filter, visitor))
    }
}

/// What one file holds.
struct Measured {
    bytes: u64,
    lines: u64,
    is_binary: bool,
    language: String,
}

/// Reads a file to its end, a piece at a time. `None` when it cannot be read, or the job was stopped.
fn measure(relative: &str, mut file: impl Read, buffer: &mut [u8], scope: &Scope<'_>) -> Option<Measured> {
    let mut content = Measured { bytes: 0, lines: 0, is_binary: false, language: String::new() };
    let mut last = b'\n';
    loop {
        if scope.is_stopped() {
            return None;
        }
        let read_bytes = file.read(buffer).ok()?;
        let chunk = &buffer[..read_bytes];
        if content.bytes == 0 {
            content.language = language_of(relative, &chunk[..read_bytes.min(HEAD_BYTES)]);
        }
        let Some(end) = chunk.last() else { break };
        content.bytes += read_bytes as u64;
        content.is_binary |= memchr::memchr(0, chunk).is_some();
        content.lines += memchr::memchr_iter(b'\n', chunk).count() as u64;
        last = *end;
    }
    // A last line without an end is one too.
    content.lines += u64::from(last != b'\n');
    Some(content)
}

fn language_of(relative: &str, head: &[u8]) -> String {
    let path = Path::new(relative);
    match (Language::pick(path, head, HEAD_BYTES), path.extension()) {
        (Some(language), _) => language.name().to_owned(),
        (None, Some(ending)) => format!(".{}", ending.to_string_lossy()),
        (None, None) => "other".to_owned(),
    }
}

impl Visit for FileStats {
    fn wants_folder(&self, _relative: &str) -> bool {
        true
    }

    fn wants_file(&self, _relative: &str) -> bool {
        true
    }

    fn visit(&self, file: &FoundFile<'_>, counts: &Counts, scope: &Scope<'_>) {
        let Some(content) = Content::open(file, FILE_BYTES_MAX, counts) else { return };
        let idle = self.idle.lock().pop();
        let mut buffer = idle.unwrap_or_else(|| vec![0; CHUNK_BYTES]);
        let measured = match content {
            Content::Small(bytes) => measure(file.relative, &*bytes, &mut buffer, scope),
            Content::Large(opened, _) => {
                measure(file.relative, opened.take(FILE_BYTES_MAX), &mut buffer, scope)
            }
        };
        self.idle.lock().push(buffer);
        let Some(Measured { bytes, lines, is_binary, language }) = measured else {
            if !scope.is_stopped() {
                Counts::add(&counts.unreadable);
            }
            return;
        };
        Counts::add(&counts.searched);
        let (lines, language) = if is_binary { (0, "binary".to_owned()) } else { (lines, language) };
        let mut sums = self.sums.lock();
        let stats = sums.languages.entry(language).or_default();
        stats.files += 1;
        stats.bytes += bytes;
        stats.lines += lines;
        sums.largest.insert(LargeFile { bytes, path: file.relative.to_owned(), lines });
        if sums.largest.len() > self.largest_max {
            sums.largest.pop_first();
        }
    }
}

impl Search for FileStats {
    type Answer = Answer;

    fn answer(&self, counts: &Counts, timed_out: bool) -> Result<Answer, SearchError> {
        let Sums { languages, largest } = std::mem::take(&mut *self.sums.lock());
        let mut languages: Vec<LanguageStats> =
            languages.into_iter().map(|(language, stats)| LanguageStats { language, ..stats }).collect();
        languages.sort_by_key(|stats| Reverse(stats.bytes));
        let sum = |measure: fn(&LanguageStats) -> u64| languages.iter().map(measure).sum::<u64>();
        let (files, bytes, lines) =
            (sum(|stats| stats.files), sum(|stats| stats.bytes), sum(|stats| stats.lines));
        if languages.len() > LANGUAGES_MAX {
            let rest = languages.split_off(LANGUAGES_MAX - 1);
            let add = |sum: LanguageStats, stats: LanguageStats| LanguageStats {
                language: sum.language,
                files: sum.files + stats.files,
                bytes: sum.bytes + stats.bytes,
                lines: sum.lines + stats.lines,
            };
            let other = LanguageStats { language: "other".to_owned(), ..LanguageStats::default() };
            languages.push(rest.into_iter().fold(other, add));
        }
        Ok(Answer {
            files,
            bytes,
            lines,
            languages,
            largest: largest.into_iter().rev().collect(),
            coverage: Coverage::new(counts, Vec::new(), timed_out, None),
        })
    }
}

//! What git knows of the project: `git_status`, `git_diff`, `git_log`.
//!
//! A `git` is started for each call. What a repository holds may have been written by anyone, and git runs much of what
//! its configuration names, so nothing of it is trusted:
//!
//! - The repository is found here and named to git, worktree included. A `.git` file counts only when the repository that
//!   it names points back at it.
//! - Every key of its configuration that names a program is overridden on the command line: fsmonitor, hooks, filters,
//!   external diffs and textconv, pagers, editors, signature programs. The names of filters and diff drivers are asked of
//!   git first, since they are free.
//! - No submodule is entered, no object is fetched, no protocol is allowed, nothing is asked of a terminal, no lock is
//!   taken, and neither the system's nor the user's configuration is read.
//! - Revisions come after `--end-of-options`, paths after `--`, and are taken literally.
//!
//! Output and time are bounded; the process group is killed when the call ends early.

use crate::answer::count_of;
use crate::error::SearchError;
use crate::limit::{
    ANSWER_BYTES_MAX, CONTEXT_LINES_MAX, GIT_OUTPUT_BYTES_MAX, GLOB_BYTES_MAX, GLOBS_MAX, Limit, RESULTS_MAX,
};
use crate::query::{ToText, Tool, Work, check_range, stopped};
use crate::root::Root;
use crate::walk::check_length;
use orchestrator_worker::{Apart, Scope};
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

/// How often a waiting call looks whether it was cancelled.
const POLL: Duration = Duration::from_millis(20);
/// How much of what git says of an error is kept.
const MESSAGE_BYTES_MAX: usize = 2_000;

/// Options of `git_status`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "GitStatusOptions")]
pub struct StatusOptions {
    /// Only these files and folders, relative to the project.
    #[serde(default)]
    pub paths: Vec<String>,
    /// How many entries to return at most, 1 to 1,000.
    #[serde(default = "crate::query::default_results")]
    #[schemars(range(min = 1, max = 1_000))]
    pub max_results: u32,
}

/// Options of `git_diff`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "GitDiffOptions")]
pub struct DiffOptions {
    /// The revision to compare from. Default: the index, so that what is not staged is shown.
    #[serde(default)]
    pub from: Option<String>,
    /// The revision to compare to, with `from`. Default: the files as they are.
    #[serde(default)]
    pub to: Option<String>,
    /// What is staged, in place of what is not.
    #[serde(default)]
    pub staged: bool,
    /// Only these files and folders, relative to the project.
    #[serde(default)]
    pub paths: Vec<String>,
    /// Numbers of lines by file, without the changes.
    #[serde(default)]
    pub stat: bool,
    /// Lines to show around each change, 0 to 20. Default: 3.
    #[serde(default = "crate::diff::default_context")]
    #[schemars(range(min = 0, max = 20))]
    pub context: u32,
}

/// Options of `git_log`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "GitLogOptions")]
pub struct LogOptions {
    /// The revision, or range as `main..HEAD`. Default: `HEAD`.
    #[serde(default)]
    pub revision: Option<String>,
    /// Only commits that change these files and folders, relative to the project.
    #[serde(default)]
    pub paths: Vec<String>,
    /// Only commits whose message contains this text.
    #[serde(default)]
    pub message: Option<String>,
    /// How many of the newest commits to leave out.
    #[serde(default)]
    pub skip: u32,
    /// How many commits to return at most, 1 to 1,000. Default: 20.
    #[serde(default = "default_commits")]
    #[schemars(range(min = 1, max = 1_000))]
    pub max_results: u32,
}

const COMMITS_MAX: u32 = 1_000;

fn default_commits() -> u32 {
    20
}

/// A file that is not as it was committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusEntry {
    /// Two letters as of `git status --short`: of the index and of the file. `M` modified, `A` added, `D` deleted, `R`
    /// renamed, `U` in conflict, `??` untracked.
    pub status: String,
    /// Path relative to the project, with `/`.
    pub path: String,
    /// Of a renamed file, what it was called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// The answer of `git_status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "GitStatusAnswer")]
pub struct StatusAnswer {
    /// The branch; `null` when none is checked out.
    pub branch: Option<String>,
    /// The commit; `null` before the first.
    pub commit: Option<String>,
    /// The branch that it follows.
    pub upstream: Option<String>,
    /// How many commits it is ahead of `upstream`.
    pub ahead: u64,
    /// How many commits it is behind `upstream`.
    pub behind: u64,
    /// The files, sorted by path.
    pub entries: Vec<StatusEntry>,
    /// The limits that were met; empty when nothing was cut.
    pub limits: Vec<Limit>,
}

/// The answer of `git_diff`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "GitDiffAnswer")]
pub struct DiffAnswer {
    /// The unified diff, or with `stat` the numbers of lines; empty when nothing differs.
    pub diff: String,
    /// The limits that were met; empty when nothing was cut.
    pub limits: Vec<Limit>,
}

/// A commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Commit {
    /// The whole hash.
    pub hash: String,
    /// Who wrote it.
    pub author: String,
    /// When, as in `2026-01-31T12:00:00+01:00`.
    pub date: String,
    /// The first line of its message.
    pub subject: String,
    /// The rest of its message.
    pub body: String,
}

/// The answer of `git_log`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "GitLogAnswer")]
pub struct LogAnswer {
    /// The commits, newest first.
    pub commits: Vec<Commit>,
    /// Pass this as `skip` for those that follow; `null` when these are the last.
    pub next: Option<u32>,
    /// The limits that were met; empty when nothing was cut.
    pub limits: Vec<Limit>,
}

impl ToText for StatusAnswer {
    fn to_text(&self) -> String {
        let mut text = format!("on {}", self.branch.as_deref().unwrap_or("no branch"));
        // Writing to a `String` does not fail.
        if let Some(upstream) = &self.upstream {
            let _infallible = write!(text, ", {} ahead and {} behind {upstream}", self.ahead, self.behind);
        }
        text.push('\n');
        for StatusEntry { status, path, from } in &self.entries {
            let _infallible = match from {
                Some(from) => writeln!(text, "{status} {from} -> {path}"),
                None => writeln!(text, "{status} {path}"),
            };
        }
        let _infallible =
            writeln!(text, "({})", count_of(self.entries.len() as u64, "changed file", "changed files"));
        cut_note(&self.limits, "name paths", &mut text);
        text
    }
}

impl ToText for DiffAnswer {
    fn to_text(&self) -> String {
        let mut text = if self.diff.is_empty() { "(no differences)\n".to_owned() } else { self.diff.clone() };
        cut_note(&self.limits, "name paths, or ask for stat", &mut text);
        text
    }
}

impl ToText for LogAnswer {
    fn to_text(&self) -> String {
        let mut text = String::new();
        for Commit { hash, author, date, subject, body } in &self.commits {
            let short = hash.get(..12).unwrap_or(hash);
            // Writing to a `String` does not fail.
            let _infallible = writeln!(text, "{short} {date} {author}: {subject}");
            for line in body.lines() {
                let _infallible = writeln!(text, "    {line}");
            }
        }
        let _infallible = write!(text, "({}", count_of(self.commits.len() as u64, "commit", "commits"));
        if let Some(next) = self.next {
            let _infallible = write!(text, "; pass skip: {next} for those that follow");
        }
        text.push_str(")\n");
        cut_note(&self.limits, "ask for fewer", &mut text);
        text
    }
}

fn cut_note(limits: &[Limit], remedy: &str, text: &mut String) {
    if !limits.is_empty() {
        let names: Vec<String> = limits.iter().map(|limit| format!("{limit:?}")).collect();
        let _infallible = writeln!(text, "[cut at: {}; {remedy}]", names.join(", "));
    }
}

/// A call of git on a thread of its own.
pub(crate) struct Calling<A> {
    run: Mutex<Option<Run<A>>>,
    result: Mutex<Option<Result<A, SearchError>>>,
}

type Run<A> = Box<dyn FnOnce(&Apart) -> Result<A, SearchError> + Send>;

impl<A> Calling<A> {
    fn new(run: impl FnOnce(&Apart) -> Result<A, SearchError> + Send + 'static) -> Calling<A> {
        Calling { run: Mutex::new(Some(Box::new(run))), result: Mutex::new(None) }
    }
}

impl<A: Send + 'static> Work for Calling<A> {
    type Answer = A;

    fn begin(self: Arc<Self>, scope: &Scope<'_>) {
        let calling = Arc::clone(&self);
        let started = scope.wait_apart(move |apart| {
            let run = calling.run.lock().take();
            let result = run.map(|run| run(apart));
            *calling.result.lock() = result;
        });
        if let Err(error) = started {
            *self.result.lock() = Some(Err(error.into()));
        }
    }

    fn answer(&self, _timed_out: bool) -> Result<A, SearchError> {
        self.result.lock().take().unwrap_or_else(|| Err(stopped()))
    }
}

/// The tool `git_status`.
pub(crate) struct Status;

impl Tool for Status {
    type Options = StatusOptions;
    type Answer = StatusAnswer;
    type Work = Calling<StatusAnswer>;

    fn prepare(root: &Root, options: StatusOptions) -> Result<Self::Work, SearchError> {
        check_range("maxResults", options.max_results, 1, RESULTS_MAX)?;
        let paths = check_paths(root, &options.paths)?;
        let root = root.clone();
        Ok(Calling::new(move |apart| {
            let git = Git::open(&root, apart)?;
            let arguments = [
                "status",
                "--porcelain=v2",
                "-z",
                "--branch",
                "--untracked-files=all",
                "--ignore-submodules=dirty",
                "--find-renames",
                "--",
            ];
            let here = [OsString::from(".")];
            let paths: &[OsString] = if paths.is_empty() { &here } else { &paths };
            let output = git.run(apart, &arguments, paths)?;
            Ok(status_of(&output, &git.prefix, options.max_results))
        }))
    }
}

/// The tool `git_diff`.
pub(crate) struct Diff;

impl Tool for Diff {
    type Options = DiffOptions;
    type Answer = DiffAnswer;
    type Work = Calling<DiffAnswer>;

    fn prepare(root: &Root, options: DiffOptions) -> Result<Self::Work, SearchError> {
        check_range("context", options.context, 0, CONTEXT_LINES_MAX)?;
        let paths = check_paths(root, &options.paths)?;
        let revisions = [("from", &options.from), ("to", &options.to)];
        for (option, revision) in revisions {
            check_revision(option, revision.as_deref())?;
        }
        if options.to.is_some() && (options.from.is_none() || options.staged) {
            let reason = "needs from, and no staged".to_owned();
            return Err(SearchError::BadOptions { path: "to".to_owned(), reason });
        }
        let root = root.clone();
        Ok(Calling::new(move |apart| {
            let git = Git::open(&root, apart)?;
            let context = format!("--unified={}", options.context);
            let mut arguments = vec![
                "diff",
                "--no-color",
                "--no-ext-diff",
                "--no-textconv",
                "--ignore-submodules=dirty",
                "--submodule=short",
                "--src-prefix=a/",
                "--dst-prefix=b/",
                "--relative",
                "--find-renames",
            ];
            arguments.push(if options.stat { "--stat=200" } else { &context });
            if options.staged {
                arguments.push("--cached");
            }
            arguments.push("--end-of-options");
            arguments.extend(options.from.as_deref());
            arguments.extend(options.to.as_deref());
            arguments.push("--");
            let output = git.run(apart, &arguments, &paths)?;
            let (diff, is_cut) = text_of(output, ANSWER_BYTES_MAX);
            Ok(DiffAnswer { diff, limits: if is_cut { vec![Limit::AnswerBytes] } else { Vec::new() } })
        }))
    }
}

/// The tool `git_log`.
pub(crate) struct Log;

impl Tool for Log {
    type Options = LogOptions;
    type Answer = LogAnswer;
    type Work = Calling<LogAnswer>;

    fn prepare(root: &Root, options: LogOptions) -> Result<Self::Work, SearchError> {
        check_range("maxResults", options.max_results, 1, COMMITS_MAX)?;
        check_revision("revision", options.revision.as_deref())?;
        check_length("message", options.message.as_ref().map_or(0, String::len), GLOB_BYTES_MAX)?;
        let paths = check_paths(root, &options.paths)?;
        let root = root.clone();
        Ok(Calling::new(move |apart| {
            let git = Git::open(&root, apart)?;
            // One more tells that there are more.
            let count = format!("--max-count={}", options.max_results + 1);
            let skip = format!("--skip={}", options.skip);
            let grep = options.message.as_ref().map(|message| format!("--grep={message}"));
            let mut arguments = vec![
                "log",
                "--no-color",
                "--no-show-signature",
                "--no-ext-diff",
                "--no-textconv",
                "--no-patch",
                "--no-decorate",
                "--fixed-strings",
                "--regexp-ignore-case",
                "-z",
                "--format=%H%x1f%aI%x1f%an%x1f%s%x1f%b",
                &count,
                &skip,
            ];
            arguments.extend(grep.as_deref());
            arguments.extend(["--end-of-options", options.revision.as_deref().unwrap_or("HEAD"), "--"]);
            let here = [OsString::from(".")];
            let paths: &[OsString] = if paths.is_empty() && !git.prefix.is_empty() { &here } else { &paths };
            let output = git.run(apart, &arguments, paths)?;
            Ok(log_of(output, options.max_results, options.skip))
        }))
    }
}

/// Checks paths that need not exist: what was deleted has a history too. Empty means all of the project.
fn check_paths(root: &Root, paths: &[String]) -> Result<Vec<OsString>, SearchError> {
    check_length("paths", paths.len(), GLOBS_MAX)?;
    let check = |path: &String| {
        check_length("paths", path.len(), GLOB_BYTES_MAX)?;
        let invalid = |reason| Err(SearchError::PathInvalid { path: path.clone(), reason });
        if path.contains('\0') {
            return invalid("a NUL character");
        }
        let relative = Path::new(path).strip_prefix(root.path()).unwrap_or(Path::new(path));
        if relative.components().any(|part| part == Component::ParentDir) {
            return invalid("\"..\"");
        }
        if relative.is_absolute() {
            let folder = relative.parent().unwrap_or(relative).to_owned();
            return Err(SearchError::PathOutside { path: path.clone(), folder });
        }
        Ok(if relative.as_os_str().is_empty() {
            OsString::from(".")
        } else {
            relative.as_os_str().to_owned()
        })
    };
    paths.iter().map(check).collect()
}

/// Refuses what cannot be a revision, and could be taken for an option.
fn check_revision(option: &str, revision: Option<&str>) -> Result<(), SearchError> {
    let Some(revision) = revision else { return Ok(()) };
    let is_bad = revision.is_empty()
        || revision.len() > GLOB_BYTES_MAX
        || revision.starts_with('-')
        || revision.chars().any(|c| c.is_control() || c.is_whitespace());
    if is_bad {
        let reason = "is no revision; give a branch, a tag, a commit such as HEAD~2, or a range in git_log";
        return Err(SearchError::BadOptions { path: option.to_owned(), reason: reason.to_owned() });
    }
    Ok(())
}

/// A repository, and how git is to be called in it.
struct Git {
    program: PathBuf,
    git_dir: PathBuf,
    /// The folder that holds `.git`.
    worktree: PathBuf,
    project: PathBuf,
    /// The project in the worktree, with `/` at its end; empty when they are the same.
    prefix: String,
    /// Keys of the configuration that would run something, with the values that do not.
    overrides: Vec<String>,
}

/// What git wrote.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    /// Whether there was more than what is kept.
    is_cut: bool,
}

impl Git {
    /// Finds the project's repository and what of its configuration must be overridden.
    fn open(root: &Root, apart: &Apart) -> Result<Git, SearchError> {
        let program = find_program().ok_or(SearchError::GitMissing)?;
        let project = root.path();
        let no_repository = || SearchError::NoRepository { path: project.display().to_string() };
        let worktree = project
            .ancestors()
            .find(|folder| folder.join(".git").symlink_metadata().is_ok())
            .ok_or_else(no_repository)?;
        let git_dir = git_dir_of(worktree).ok_or_else(no_repository)?;
        let inside = project.strip_prefix(worktree).unwrap_or(Path::new(""));
        let mut prefix = inside.to_string_lossy().replace(std::path::MAIN_SEPARATOR, "/");
        if !prefix.is_empty() {
            prefix.push('/');
        }
        let mut git = Git {
            program,
            git_dir,
            worktree: worktree.to_owned(),
            project: project.to_owned(),
            prefix,
            overrides: FIXED_OVERRIDES.iter().map(|setting| (*setting).to_owned()).collect(),
        };
        // Listing runs nothing.
        let listed = git.run(apart, &["config", "--list", "--name-only", "-z", "--includes"], &[])?;
        if listed.is_cut {
            let message = "its configuration is too large".to_owned();
            return Err(SearchError::GitFailed { message });
        }
        for key in listed.bytes.split(|byte| *byte == 0) {
            // A driver's name that is no text would be another one on the command line, so nothing is run at all.
            let key = std::str::from_utf8(key).map_err(|_odd| SearchError::GitFailed {
                message: "its configuration has a key that is not UTF-8".to_owned(),
            })?;
            git.overrides.extend(neutral(key)?);
        }
        Ok(git)
    }

    /// Runs git to its end.
    ///
    /// # Errors
    ///
    /// [`SearchError::GitFailed`] with what git said; [`SearchError::Job`] when the call was stopped.
    fn run(&self, apart: &Apart, arguments: &[&str], paths: &[OsString]) -> Result<Output, SearchError> {
        let mut command = Command::new(&self.program);
        command.env_clear();
        for kept in ["PATH", "HOME", "XDG_CONFIG_HOME", "SYSTEMROOT", "TMPDIR", "TEMP"] {
            if let Some(value) = std::env::var_os(kept) {
                command.env(kept, value);
            }
        }
        for (name, value) in ENVIRONMENT {
            command.env(name, value);
        }
        command.arg("--git-dir").arg(&self.git_dir).arg("--work-tree").arg(&self.worktree);
        command.args(["--no-pager", "--no-replace-objects", "--literal-pathspecs", "--no-optional-locks"]);
        for setting in &self.overrides {
            command.arg("-c").arg(setting);
        }
        command.args(arguments).args(paths);
        command.current_dir(&self.project).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let failed = |error: std::io::Error| SearchError::GitFailed { message: error.to_string() };
        let mut running = Running(command.spawn().map_err(failed)?);
        let (sender, receiver) = channel();
        let output = running
            .0
            .stdout
            .take()
            .map(|pipe| read_apart(pipe, GIT_OUTPUT_BYTES_MAX, sender.clone(), Beyond::Stop));
        let errors =
            running.0.stderr.take().map(|pipe| read_apart(pipe, MESSAGE_BYTES_MAX, sender, Beyond::Drop));
        let (Some(output), Some(errors)) = (output, errors) else { return Err(stopped()) };
        let is_whole = wait_for_readers(&receiver, apart)?;
        // Its output is closed, or as long as it may be: in both cases nothing is waited for that may not come.
        let status = if is_whole { Some(running.0.wait().map_err(failed)?) } else { None };
        drop(running);
        let [output, errors] = [output, errors].map(|buffer| std::mem::take(&mut *buffer.lock()));
        if status.is_some_and(|status| !status.success()) {
            let said = String::from_utf8_lossy(&errors.bytes);
            let message = said.trim().lines().take(5).collect::<Vec<_>>().join("; ");
            return Err(SearchError::GitFailed { message });
        }
        Ok(output)
    }
}

/// A git that runs. Dropped, it is dead with all that it started, and waited for.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail when it has ended already, which is what is wanted.
        if let Ok(None) = self.0.try_wait() {
            #[cfg(unix)]
            if let Some(id) = i32::try_from(self.0.id()).ok().and_then(rustix::process::Pid::from_raw) {
                rustix::process::kill_process_group(id, rustix::process::Signal::KILL).unwrap_or_default();
            }
            self.0.kill().unwrap_or_default();
            let _ended = self.0.wait().is_ok();
        }
    }
}

/// What a reader tells: that it has come to the end, or that there is more than it may keep.
enum Told {
    Ended,
    Full,
}

/// What becomes of output that is longer than what is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beyond {
    /// Whoever waits is told, and stops the process.
    Stop,
    /// It is read and dropped.
    Drop,
}

/// Reads a pipe on a thread of its own, which ends with the pipe.
fn read_apart(
    mut pipe: impl Read + Send + 'static,
    size_bytes_max: usize,
    done: Sender<Told>,
    beyond: Beyond,
) -> Arc<Mutex<Output>> {
    let output = Arc::new(Mutex::new(Output::default()));
    let kept = Arc::clone(&output);
    thread::spawn(move || {
        let mut chunk = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = pipe.read(&mut chunk) {
            let mut kept = kept.lock();
            let room = size_bytes_max - kept.bytes.len();
            kept.bytes.extend_from_slice(&chunk[..length.min(room)]);
            if length > room && !kept.is_cut {
                kept.is_cut = true;
                if beyond == Beyond::Stop {
                    // Whoever waited may have given up.
                    let _gone = done.send(Told::Full).is_err();
                }
            }
        }
        let _gone = done.send(Told::Ended).is_err();
    });
    output
}

/// Waits until both pipes are closed: true; or the output is too long: false.
fn wait_for_readers(receiver: &Receiver<Told>, apart: &Apart) -> Result<bool, SearchError> {
    let mut open_count = 2;
    while open_count > 0 {
        if apart.is_stopped() {
            return Err(stopped());
        }
        match receiver.recv_timeout(POLL) {
            Ok(Told::Ended) | Err(RecvTimeoutError::Disconnected) => open_count -= 1,
            Ok(Told::Full) => return Ok(false),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
    Ok(true)
}

/// Finds git in the absolute folders of `PATH`: a relative one would be one of the project.
fn find_program() -> Option<PathBuf> {
    let name = if cfg!(windows) { "git.exe" } else { "git" };
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

/// Returns the repository of a worktree. One that a `.git` file names must point back at it.
fn git_dir_of(worktree: &Path) -> Option<PathBuf> {
    let entry = worktree.join(".git");
    let kind = entry.symlink_metadata().ok()?.file_type();
    if kind.is_dir() {
        return Some(entry);
    }
    if !kind.is_file() {
        return None;
    }
    let text = read_small(&entry)?;
    let named = worktree.join(text.strip_prefix("gitdir:")?.trim()).canonicalize().ok()?;
    let is_linked = || {
        let back = read_small(&named.join("gitdir"))?;
        Some(named.join(back.trim()).canonicalize().ok()? == entry.canonicalize().ok()?)
    };
    let is_submodule = || {
        let above = worktree.ancestors().skip(1).find(|folder| folder.join(".git").is_dir())?;
        Some(named.starts_with(above.join(".git/modules").canonicalize().ok()?))
    };
    (is_linked() == Some(true) || is_submodule() == Some(true)).then_some(named)
}

fn read_small(path: &Path) -> Option<String> {
    let mut text = String::new();
    std::fs::File::open(path).ok()?.take(64 * 1024).read_to_string(&mut text).ok()?;
    Some(text)
}

/// What git is told through its environment.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("LC_ALL", "C"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_SYSTEM", NOTHING),
    ("GIT_CONFIG_GLOBAL", NOTHING),
    ("GIT_ATTR_NOSYSTEM", "1"),
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_ASKPASS", ""),
    ("SSH_ASKPASS", ""),
    ("GIT_PAGER", ""),
    ("GIT_EDITOR", ":"),
    ("GIT_NO_LAZY_FETCH", "1"),
    ("GIT_ALLOW_PROTOCOL", ""),
    ("GIT_NO_REPLACE_OBJECTS", "1"),
];

const NOTHING: &str = if cfg!(windows) { "NUL" } else { "/dev/null" };

/// Settings that would run something, or change what is shown, whatever they are in the repository.
const FIXED_OVERRIDES: &[&str] = &[
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.pager=",
    "core.editor=:",
    "core.askPass=",
    "core.sshCommand=",
    "core.gitProxy=",
    "core.alternateRefsCommand=",
    "core.quotePath=false",
    "core.attributesFile=",
    "diff.external=",
    "diff.orderFile=/dev/null",
    "diff.ignoreSubmodules=dirty",
    "status.submoduleSummary=false",
    "submodule.recurse=false",
    "log.showSignature=false",
    "gpg.program=",
    "credential.helper=",
    "protocol.allow=never",
    "maintenance.auto=false",
    "gc.auto=0",
];

/// Returns what makes a key of the repository's configuration harmless, if it is one that runs something.
fn neutral(key: &str) -> Result<Vec<String>, SearchError> {
    let Some((section, rest)) = key.split_once('.') else { return Ok(Vec::new()) };
    let Some((name, last)) = rest.rsplit_once('.') else { return Ok(Vec::new()) };
    let (section, last) = (section.to_ascii_lowercase(), last.to_ascii_lowercase());
    let runs = matches!(
        (section.as_str(), last.as_str()),
        ("filter", "clean" | "smudge" | "process" | "required")
            | ("diff", "command" | "textconv")
            | ("merge", "driver")
            | ("gpg", "program" | "defaultkeycommand")
            | ("credential", "helper")
            | ("remote", "uploadpack" | "receivepack" | "proxy" | "vcs" | "promisor" | "partialclonefilter")
    );
    if !runs {
        return Ok(Vec::new());
    }
    // `-c` ends a key at the first `=`, so this driver could not be switched off.
    if name.contains(['=', '\n']) {
        let message = format!("its configuration names a driver {name:?} that cannot be switched off");
        return Err(SearchError::GitFailed { message });
    }
    let value = if matches!(last.as_str(), "required" | "promisor") { "false" } else { "" };
    Ok(vec![format!("{section}.{name}.{last}={value}")])
}

/// Reads what `git status --porcelain=v2 -z --branch` wrote.
fn status_of(output: &Output, prefix: &str, count_max: u32) -> StatusAnswer {
    let mut answer = StatusAnswer {
        branch: None,
        commit: None,
        upstream: None,
        ahead: 0,
        behind: 0,
        entries: Vec::new(),
        limits: Vec::new(),
    };
    let shown = |path: &str| path.strip_prefix(prefix).unwrap_or(path).to_owned();
    let text = String::from_utf8_lossy(&output.bytes);
    let mut records = text.split('\0');
    let mut size_bytes = 0;
    while let Some(record) = records.next() {
        // The fields before the path, by the kind of record.
        let (kind, rest) = record.split_once(' ').unwrap_or((record, ""));
        let fields_count = match kind {
            "#" => {
                let (name, value) = rest.split_once(' ').unwrap_or((rest, ""));
                let value = value.to_owned();
                match name {
                    "branch.oid" if value != "(initial)" => answer.commit = Some(value),
                    "branch.head" if value != "(detached)" => answer.branch = Some(value),
                    "branch.upstream" => answer.upstream = Some(value),
                    "branch.ab" => {
                        let mut numbers = value.split(' ').map(|text| text[1..].parse().unwrap_or(0));
                        answer.ahead = numbers.next().unwrap_or(0);
                        answer.behind = numbers.next().unwrap_or(0);
                    }
                    _ => {}
                }
                continue;
            }
            "1" => 8,
            "2" => 9,
            "u" => 10,
            "?" => 1,
            _ => continue,
        };
        let path = rest.splitn(fields_count, ' ').last().unwrap_or_default();
        let status = match kind {
            "?" => "??".to_owned(),
            _ => rest.split(' ').next().unwrap_or_default().replace('.', " "),
        };
        let from = if kind == "2" { records.next().map(shown) } else { None };
        size_bytes += path.len() + 32;
        if answer.entries.len() >= count_max as usize {
            answer.limits.push(Limit::MaxResults);
            break;
        }
        if size_bytes > ANSWER_BYTES_MAX {
            answer.limits.push(Limit::AnswerBytes);
            break;
        }
        answer.entries.push(StatusEntry { status, path: shown(path), from });
    }
    if output.is_cut && answer.limits.is_empty() {
        answer.limits.push(Limit::AnswerBytes);
        // The last record may be half of one.
        answer.entries.pop();
    }
    answer.entries.sort_by(|a, b| a.path.cmp(&b.path));
    answer
}

/// Reads what `git log -z` wrote in our format.
fn log_of(output: Output, count_max: u32, skip: u32) -> LogAnswer {
    let text = String::from_utf8_lossy(&output.bytes);
    let mut records: Vec<&str> = text.split('\0').filter(|record| !record.is_empty()).collect();
    let mut limits = Vec::new();
    if output.is_cut {
        records.pop();
        limits.push(Limit::AnswerBytes);
    }
    let all_count = records.len();
    let (mut commits, mut size_bytes) = (Vec::new(), 0);
    for record in records {
        let mut fields = record.splitn(5, '\x1f').map(|field| field.trim_end().to_owned());
        let mut next = || fields.next().unwrap_or_default();
        let (hash, date, author, subject, body) = (next(), next(), next(), next(), next());
        size_bytes += record.len();
        if commits.len() >= count_max as usize {
            break;
        }
        if size_bytes > ANSWER_BYTES_MAX && !commits.is_empty() {
            limits.push(Limit::AnswerBytes);
            break;
        }
        commits.push(Commit { hash, author, date, subject, body });
    }
    let has_more = all_count > commits.len() || output.is_cut;
    let given = u32::try_from(commits.len()).unwrap_or(u32::MAX);
    limits.dedup();
    LogAnswer { commits, next: has_more.then_some(skip.saturating_add(given)), limits }
}

/// Returns output as text of whole lines, and whether some were left out.
fn text_of(output: Output, size_bytes_max: usize) -> (String, bool) {
    let mut text = String::from_utf8_lossy(&output.bytes).into_owned();
    let is_cut = output.is_cut || text.len() > size_bytes_max;
    if is_cut {
        let end = text.floor_char_boundary(text.len().min(size_bytes_max));
        let end = text[..end].rfind('\n').map_or(end, |newline| newline + 1);
        text.truncate(end);
    }
    (text, is_cut)
}

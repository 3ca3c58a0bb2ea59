//! One check, from a request to its report: files, syntax, commands.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::command::{self, Groups};
use crate::report::{CheckReport, Evidence, FileChange, FileEvidence, Finding, FindingCode, SyntaxVerdict};
use crate::snapshot::{self, FILE_BYTES_MAX, FileState, Snapshot, SnapshotError, shown};
use crate::syntax::{self, Reading};

/// The most commands of one request that are run.
pub const COMMANDS_MAX: usize = 32;
/// The most claimed files of one request that are looked at.
pub const CLAIMS_MAX: usize = 10_000;

/// Findings of one kind that a report lists.
const FINDINGS_PER_KIND_MAX: usize = 100;

/// What a worker submitted, and how to verify it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckRequest {
    /// Given back in the report.
    pub id: String,
    /// The folder that all paths are relative to, and in which commands run.
    pub root: PathBuf,
    /// What the worker was allowed to write: files, and folders with a `/` at the end.
    pub lease: Vec<String>,
    /// The leased files before the task's first attempt.
    pub before: Snapshot,
    /// The files the worker says it changed. A path below the root may be absolute or start with `./`.
    pub claimed: Vec<String>,
    /// The acceptance commands: program and arguments each, no shell. All are run, one after another.
    pub commands: Vec<Vec<String>>,
    /// How long each command may take: 120,000 when null, at most 1,800,000.
    pub timeout_ms: Option<u64>,
    /// Variables the commands get beside those of this process.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
}

/// Runs a check to its end. Once `cancel` is true it ends soon, with what it has and a `CANCELLED` finding.
pub(crate) async fn check(
    request: CheckRequest,
    groups: Arc<Groups>,
    mut cancel: watch::Receiver<bool>,
) -> CheckReport {
    let request = Arc::new(request);
    let mut files = Files::default();
    let examined = {
        let request = Arc::clone(&request);
        let cancel = cancel.clone();
        // Reading and parsing block; the commands of other checks must not wait for them.
        tokio::task::spawn_blocking(move || examine(&request, &|| *cancel.borrow()))
    };
    tokio::select! {
        biased;
        () = command::cancelled(&mut cancel) => {}
        result = examined => match result {
            Ok(found) => files = found,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // Only a runtime that shuts down drops a task; the check is being cancelled.
            Err(_) => {}
        },
    }

    let Files { mut findings, evidence: file_evidence, changed } = files;
    if request.commands.len() > COMMANDS_MAX {
        findings.push(Finding::new(
            FindingCode::RequestTooLarge,
            format!(
                "{} commands, of which the first {COMMANDS_MAX} were run; give fewer commands",
                request.commands.len()
            ),
        ));
    }
    let mut evidence = Vec::new();
    for argv in request.commands.iter().take(COMMANDS_MAX) {
        if *cancel.borrow() {
            break;
        }
        let (command, finding) = command::run(argv, &request, &groups, &mut cancel).await;
        evidence.push(Evidence::Command(command));
        findings.extend(finding);
    }
    if *cancel.borrow() {
        findings.push(cancelled_finding());
    }
    evidence.extend(file_evidence.into_iter().map(Evidence::File));
    CheckReport::new(request.id.clone(), findings, evidence, changed)
}

/// Says that a check did not come to its end.
pub(crate) fn cancelled_finding() -> Finding {
    Finding::new(FindingCode::Cancelled, "the check was cancelled before its end; run it again")
}

/// What looking at the files gave.
#[derive(Default)]
struct Files {
    findings: Vec<Finding>,
    evidence: Vec<FileEvidence>,
    changed: Vec<FileChange>,
}

fn examine(request: &CheckRequest, stop: &dyn Fn() -> bool) -> Files {
    let mut files = Files::default();
    if request.lease.is_empty() && request.commands.is_empty() {
        files.findings.push(Finding::new(
            FindingCode::NothingToCheck,
            "there is neither a lease nor a command, so nothing was verified; give the task an acceptance command",
        ));
    }
    if request.before.lease != snapshot::normalise(&request.lease) {
        files.findings.push(Finding::new(
            FindingCode::LeaseMismatch,
            "the snapshot was taken for another lease; take one for this lease before the work starts",
        ));
        return files;
    }
    let after = match snapshot::survey(&request.root, &request.lease, stop) {
        Ok(after) => after,
        // The check itself reports that it was cancelled.
        Err(SnapshotError::Cancelled) => return files,
        Err(error) => {
            files.findings.push(snapshot_finding(&error));
            return files;
        }
    };
    let paths: BTreeSet<&String> = request.before.files.keys().chain(after.files.keys()).collect();
    files.changed = paths
        .into_iter()
        .map(|path| FileChange {
            path: path.clone(),
            before: request.before.state(path),
            after: after.state(path),
        })
        .filter(|change| !change.before.same_content(&change.after))
        .collect();

    compare_claims(request, &mut files);
    for change in &mut files.changed {
        if stop() {
            break;
        }
        let (evidence, findings) = examine_change(&request.root, change, stop);
        files.evidence.push(evidence);
        files.findings.extend(findings);
    }
    limit_kinds(&mut files.findings);
    files
}

fn compare_claims(request: &CheckRequest, files: &mut Files) {
    if files.changed.is_empty() && !request.lease.is_empty() {
        files.findings.push(Finding::new(
            FindingCode::NothingChanged,
            "no file of the lease changed; do the work, or say that there is nothing to do",
        ));
    }
    if request.claimed.len() > CLAIMS_MAX {
        files.findings.push(Finding::new(
            FindingCode::RequestTooLarge,
            format!(
                "{} claimed files, of which {CLAIMS_MAX} were looked at; claim fewer",
                request.claimed.len()
            ),
        ));
    }
    let root = request.root.canonicalize().unwrap_or_else(|_| request.root.clone());
    let roots = [request.root.as_path(), root.as_path()];
    let claimed: BTreeSet<String> =
        request.claimed.iter().take(CLAIMS_MAX).map(|path| relative(&roots, path)).collect();
    for path in &claimed {
        if !snapshot::covers(&request.lease, path) {
            files.findings.push(
                Finding::new(
                    FindingCode::FileOutsideLease,
                    "the lease does not cover this file; undo the change and work in the leased files only",
                )
                .with_path(shown(path)),
            );
        } else if files.changed.binary_search_by(|change| change.path.cmp(path)).is_err() {
            files.findings.push(
                Finding::new(
                    FindingCode::FileUnchanged,
                    "claimed as changed, and still what it was before; change it, or do not claim it",
                )
                .with_path(shown(path)),
            );
        }
    }
}

/// A claimed path as the lease would write it. What cannot be is left as it is, and no lease covers it.
fn relative(roots: &[&Path], path: &str) -> String {
    let below = roots.iter().find_map(|root| Path::new(path).strip_prefix(root).ok()?.to_str());
    let path = below.unwrap_or(path);
    let path = path.strip_prefix("./").unwrap_or(path);
    if cfg!(windows) { path.replace('\\', "/") } else { path.to_owned() }
}

fn examine_change(
    root: &Path,
    change: &mut FileChange,
    stop: &dyn Fn() -> bool,
) -> (FileEvidence, Vec<Finding>) {
    let path = &change.path;
    let mut findings = Vec::new();
    let (syntax, note) = match &mut change.after {
        FileState::Absent => (SyntaxVerdict::NotApplicable, Some("the file was deleted".to_owned())),
        FileState::Link { target } => {
            if snapshot::link_leaves_root(root, path) {
                findings.push(
                    Finding::new(
                        FindingCode::LinkOutsideRoot,
                        format!("this is now a link to {}; write the file itself", shown(target)),
                    )
                    .with_path(shown(path)),
                );
            }
            (SyntaxVerdict::NotApplicable, Some("this is a link".to_owned()))
        }
        FileState::File { hash, parses, .. } => {
            let content = snapshot::read_bounded(&root.join(path), FILE_BYTES_MAX).ok().flatten();
            match content.filter(|content| blake3::hash(content).to_hex().as_str() == hash) {
                None => {
                    let message =
                        "the file changed while it was checked; let the work end, and run the check again";
                    findings.push(Finding::new(FindingCode::FileMoved, message).with_path(shown(path)));
                    (SyntaxVerdict::Unknown, Some("the file changed while it was checked".to_owned()))
                }
                Some(content) => {
                    let (syntax, note, found) =
                        judge_syntax(path, &change.before, syntax::read(path, &content, stop));
                    findings.extend(found);
                    *parses = match syntax {
                        SyntaxVerdict::Pass => Some(true),
                        SyntaxVerdict::Fail => Some(false),
                        SyntaxVerdict::NotApplicable | SyntaxVerdict::Unknown => None,
                    };
                    (syntax, note)
                }
            }
        }
    };
    let evidence = FileEvidence {
        path: change.path.clone(),
        before: change.before.clone(),
        after: change.after.clone(),
        syntax,
        note,
    };
    (evidence, findings)
}

fn judge_syntax(
    path: &str,
    before: &FileState,
    reading: Reading,
) -> (SyntaxVerdict, Option<String>, Vec<Finding>) {
    match reading {
        Reading::Clean => (SyntaxVerdict::Pass, None, Vec::new()),
        Reading::NotApplicable(note) => (SyntaxVerdict::NotApplicable, Some(note), Vec::new()),
        Reading::Unknown(reason) => {
            let message =
                format!("the syntax could not be checked: {reason}; check this file with a command");
            let finding = Finding::new(FindingCode::SyntaxUnknown, message).with_path(shown(path));
            (SyntaxVerdict::Unknown, Some(reason), vec![finding])
        }
        Reading::Errors(_) if matches!(before, FileState::File { parses: Some(false), .. }) => {
            let note = "the grammar could not read this file before the work either".to_owned();
            (SyntaxVerdict::NotApplicable, Some(note), Vec::new())
        }
        Reading::Errors(errors) => {
            let findings = errors.into_iter().map(|error| Finding {
                code: FindingCode::SyntaxError,
                path: Some(shown(path)),
                line: Some(error.line),
                column: Some(error.column),
                message: format!("{}:{}: {}; correct the syntax", error.line, error.column, error.what),
                detail: Some(error.text),
            });
            (SyntaxVerdict::Fail, None, findings.collect())
        }
    }
}

fn snapshot_finding(error: &SnapshotError) -> Finding {
    match error {
        SnapshotError::LinkOutsideRoot { path } => {
            Finding::new(FindingCode::LinkOutsideRoot, error.to_string()).with_path(shown(path))
        }
        SnapshotError::Root { .. }
        | SnapshotError::PathInvalid { .. }
        | SnapshotError::NotAFile { .. }
        | SnapshotError::NotAFolder { .. }
        | SnapshotError::NameInvalid { .. }
        | SnapshotError::FileTooLarge { .. }
        | SnapshotError::TooManyFiles { .. }
        | SnapshotError::TooManyBytes { .. }
        | SnapshotError::Unreadable { .. }
        | SnapshotError::Cancelled => {
            Finding::new(FindingCode::SnapshotFailed, error.to_string()).with_detail(error.code())
        }
    }
}

/// Keeps the first findings of each kind, and adds to the last how many more there were.
fn limit_kinds(findings: &mut Vec<Finding>) {
    let mut kept: Vec<Finding> = Vec::new();
    let mut counts: Vec<(FindingCode, usize, usize)> = Vec::new();
    for finding in findings.drain(..) {
        let index = match counts.iter().position(|(code, ..)| *code == finding.code) {
            Some(index) => index,
            None => {
                counts.push((finding.code, 0, 0));
                counts.len() - 1
            }
        };
        let (_, count, last) = &mut counts[index];
        *count += 1;
        if *count <= FINDINGS_PER_KIND_MAX {
            *last = kept.len();
            kept.push(finding);
        }
    }
    for (_, count, last) in counts {
        if count > FINDINGS_PER_KIND_MAX {
            let more = count - FINDINGS_PER_KIND_MAX;
            kept[last].message.push_str(&format!(" (and {more} more of this kind)"));
        }
    }
    *findings = kept;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A verdict on other content than the one that was hashed would be evidence of nothing.
    #[test]
    fn a_file_that_changes_during_the_check_is_unknown() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("a.ts"), "let a;").unwrap();
        let hash = blake3::hash(b"let b;").to_hex().to_string();
        let after = FileState::File { hash, size_bytes: 6, parses: None };
        let mut change = FileChange { path: "a.ts".into(), before: FileState::Absent, after };
        let (evidence, findings) = examine_change(root.path(), &mut change, &|| false);
        assert_eq!(evidence.syntax, SyntaxVerdict::Unknown);
        assert_eq!(findings[0].code, FindingCode::FileMoved);
    }
}

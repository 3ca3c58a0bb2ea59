//! What a check found, and what that rests on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::snapshot::FileState;

/// The longest report, as JSON.
pub const REPORT_BYTES_MAX: usize = 256 * 1024;

/// The answer to a [`CheckRequest`](crate::CheckRequest).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckReport {
    /// The request's id.
    pub id: String,
    /// The worst of the findings' verdicts; pass when there are none. A cancelled check is always unknown.
    pub verdict: Verdict,
    /// What is wrong or could not be determined: files first, then syntax, then commands in their order.
    pub findings: Vec<Finding>,
    /// What the verdict rests on: commands in their order, then changed files by path.
    pub evidence: Vec<Evidence>,
    /// Every leased file whose content is not what it was, claimed or not, by path.
    pub changed: Vec<FileChange>,
    /// What was left out to stay below [`REPORT_BYTES_MAX`]; null when nothing was. The verdict was reached
    /// before anything was left out.
    pub cut: Option<Cut>,
}

/// The outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// Everything was looked at and nothing is wrong.
    Pass,
    /// Something could not be determined. Never to be treated as pass.
    Unknown,
    /// Something is wrong.
    Fail,
}

/// One thing that is wrong, or could not be determined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What kind of thing.
    pub code: FindingCode,
    /// The file it is about, relative to the root.
    pub path: Option<String>,
    /// Line in the file, from 1.
    pub line: Option<u64>,
    /// Column in the line, from 1, in characters.
    pub column: Option<u64>,
    /// What is wrong, ending in what to do.
    pub message: String,
    /// The offending line, or the end of a command's output.
    pub detail: Option<String>,
}

impl Finding {
    pub(crate) fn new(code: FindingCode, message: impl Into<String>) -> Self {
        Self { code, path: None, line: None, column: None, message: message.into(), detail: None }
    }

    pub(crate) fn with_path(mut self, path: impl Into<String>) -> Self {
        self.path = Some(path.into());
        self
    }

    pub(crate) fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

/// The kinds of findings; as JSON, `FILE_OUTSIDE_LEASE` and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[non_exhaustive]
pub enum FindingCode {
    /// A claimed file is not covered by the lease.
    FileOutsideLease,
    /// A claimed file is what it was before.
    FileUnchanged,
    /// No file of the lease changed.
    NothingChanged,
    /// A leased path became a link out of the root.
    LinkOutsideRoot,
    /// A changed file does not parse.
    SyntaxError,
    /// A changed file could not be parsed: too large, not text, or too slow.
    SyntaxUnknown,
    /// A file changed again while it was checked.
    FileMoved,
    /// The leased files could not be recorded.
    SnapshotFailed,
    /// The snapshot was taken for another lease.
    LeaseMismatch,
    /// The request is beyond a limit.
    RequestTooLarge,
    /// There was no lease and no command, so nothing was verified.
    NothingToCheck,
    /// A command ended with a code other than 0.
    CommandFailed,
    /// A command was ended by a signal.
    CommandSignalled,
    /// A command took too long and was killed.
    CommandTimeout,
    /// A command wrote too much and was killed.
    CommandOutputLimit,
    /// A command could not be started.
    CommandNotStarted,
    /// How a command ended could not be learnt.
    CommandLost,
    /// The check was cancelled, or the verifier shut down.
    Cancelled,
    /// The check has a defect.
    CheckPanicked,
    /// Too many checks are waiting.
    QueueFull,
}

impl FindingCode {
    /// What a finding of this kind makes of a check.
    pub fn verdict(self) -> Verdict {
        match self {
            Self::FileOutsideLease
            | Self::FileUnchanged
            | Self::NothingChanged
            | Self::LinkOutsideRoot
            | Self::SyntaxError
            | Self::CommandFailed
            | Self::CommandSignalled
            | Self::CommandTimeout
            | Self::CommandOutputLimit => Verdict::Fail,
            Self::SyntaxUnknown
            | Self::FileMoved
            | Self::SnapshotFailed
            | Self::LeaseMismatch
            | Self::RequestTooLarge
            | Self::NothingToCheck
            | Self::CommandNotStarted
            | Self::CommandLost
            | Self::Cancelled
            | Self::CheckPanicked
            | Self::QueueFull => Verdict::Unknown,
        }
    }
}

/// One observation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Evidence {
    /// A command and how it ended.
    Command(CommandEvidence),
    /// A changed file.
    File(FileEvidence),
}

/// A command that was run, or could not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommandEvidence {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The exit code; null when it was ended by a signal, or never started.
    pub exit_code: Option<i32>,
    /// The signal that ended it, ours (9) included.
    pub signal: Option<i32>,
    /// Wall time from its start until its process group was gone.
    pub duration_ms: u64,
    /// BLAKE3 of all output that was read, 64 lower-case hexadecimal digits. On Unix standard output and error
    /// are one stream, in the order in which they were written.
    pub output_digest: String,
    /// Length of all output that was read.
    pub output_bytes: u64,
    /// False when it was killed while writing, or something outside its process group kept its output open.
    pub output_complete: bool,
    /// The first 2 KiB of the output; what is not UTF-8 is replaced.
    pub head: String,
    /// The last 6 KiB of what follows the head.
    pub tail: String,
    /// Bytes between head and tail.
    pub omitted_bytes: u64,
    /// Id of its process group, on Windows of the process; null when it did not start.
    pub process_group: Option<u32>,
}

/// A file that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileEvidence {
    /// Relative to the root.
    pub path: String,
    /// Before the work.
    pub before: FileState,
    /// Now.
    pub after: FileState,
    /// Whether it parses.
    pub syntax: SyntaxVerdict,
    /// Why the syntax is not applicable or unknown.
    pub note: Option<String>,
}

/// What parsing a file gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SyntaxVerdict {
    /// No error.
    Pass,
    /// At least one error.
    Fail,
    /// No grammar that could judge it; says nothing about the file.
    NotApplicable,
    /// It should have been parsed and could not be.
    Unknown,
}

/// A leased file whose content changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileChange {
    /// Relative to the root.
    pub path: String,
    /// Before the work.
    pub before: FileState,
    /// Now.
    pub after: FileState,
}

/// How much of a report was left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cut {
    /// Texts that were shortened.
    pub texts: u64,
    /// Findings left out.
    pub findings: u64,
    /// Evidence left out.
    pub evidence: u64,
    /// Changed files left out.
    pub changed: u64,
}

impl CheckReport {
    /// Draws the verdict from the findings and keeps the report below its limit.
    pub(crate) fn new(
        id: String,
        findings: Vec<Finding>,
        evidence: Vec<Evidence>,
        changed: Vec<FileChange>,
    ) -> Self {
        let cancelled = findings.iter().any(|finding| finding.code == FindingCode::Cancelled);
        let worst = findings.iter().map(|finding| finding.code.verdict()).max();
        let verdict = if cancelled { Verdict::Unknown } else { worst.unwrap_or(Verdict::Pass) };
        let mut report = Self { id, verdict, findings, evidence, changed, cut: None };
        report.fit();
        report
    }

    /// A report of one finding and nothing else.
    pub(crate) fn of(id: String, finding: Finding) -> Self {
        Self::new(id, vec![finding], Vec::new(), Vec::new())
    }

    /// Shortens texts step by step, and only if that is not enough drops the ends of the lists.
    fn fit(&mut self) {
        let mut cut = Cut::default();
        for text_max in [2048, 512, 128] {
            if self.size_bytes() <= REPORT_BYTES_MAX {
                break;
            }
            cut.texts = 0;
            self.for_each_text(|text, keep| cut.texts += u64::from(shorten(text, text_max, keep)));
        }
        if self.size_bytes() > REPORT_BYTES_MAX {
            const SHARE: usize = REPORT_BYTES_MAX / 4;
            cut.findings = keep_prefix(&mut self.findings, SHARE);
            cut.evidence = keep_prefix(&mut self.evidence, SHARE);
            cut.changed = keep_prefix(&mut self.changed, SHARE);
        }
        if cut != Cut::default() {
            self.cut = Some(cut);
        }
        debug_assert!(self.size_bytes() <= REPORT_BYTES_MAX, "a report is bounded");
    }

    fn for_each_text(&mut self, mut visit: impl FnMut(&mut String, Keep)) {
        visit(&mut self.id, Keep::Start);
        for finding in &mut self.findings {
            visit(&mut finding.message, Keep::Start);
            if let Some(detail) = &mut finding.detail {
                visit(detail, Keep::End);
            }
        }
        for evidence in &mut self.evidence {
            match evidence {
                Evidence::Command(command) => {
                    visit(&mut command.head, Keep::Start);
                    visit(&mut command.tail, Keep::End);
                    for argument in &mut command.argv {
                        visit(argument, Keep::Start);
                    }
                }
                Evidence::File(file) => {
                    if let Some(note) = &mut file.note {
                        visit(note, Keep::Start);
                    }
                }
            }
        }
    }

    fn size_bytes(&self) -> usize {
        json_bytes(self)
    }
}

/// Which end of a text says more.
#[derive(Clone, Copy)]
enum Keep {
    Start,
    End,
}

/// Whether the text was longer than `max` bytes.
fn shorten(text: &mut String, max: usize, keep: Keep) -> bool {
    if text.len() <= max {
        return false;
    }
    match keep {
        Keep::Start => text.truncate(text.floor_char_boundary(max)),
        Keep::End => {
            let start = text.ceil_char_boundary(text.len() - max);
            text.drain(..start);
        }
    }
    true
}

/// Keeps the items that fit into `share` bytes as JSON, and says how many do not.
fn keep_prefix<T: Serialize>(items: &mut Vec<T>, share: usize) -> u64 {
    let mut bytes = 0;
    let kept = items
        .iter()
        .take_while(|item| {
            bytes += json_bytes(item) + 1;
            bytes <= share
        })
        .count();
    let dropped = items.len() - kept;
    items.truncate(kept);
    dropped as u64
}

fn json_bytes(value: &impl Serialize) -> usize {
    // These types have string keys only, so serialisation cannot fail; if it did, the value could not be sent
    // either, and counts as too long.
    serde_json::to_vec(value).map_or(usize::MAX / 2, |json| json.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(code: FindingCode) -> Finding {
        Finding::new(code, "what; what to do")
    }

    /// Unknown must never come out as pass, nor hide a failure.
    #[test]
    fn the_worst_finding_decides() {
        let verdict = |codes: &[FindingCode]| {
            let findings = codes.iter().copied().map(finding).collect();
            CheckReport::new("id".into(), findings, Vec::new(), Vec::new()).verdict
        };
        assert_eq!(verdict(&[]), Verdict::Pass);
        assert_eq!(verdict(&[FindingCode::CommandNotStarted]), Verdict::Unknown);
        assert_eq!(verdict(&[FindingCode::CommandNotStarted, FindingCode::SyntaxError]), Verdict::Fail);
        assert_eq!(verdict(&[FindingCode::CommandFailed, FindingCode::Cancelled]), Verdict::Unknown);
    }

    /// The host is handed the report as one string, so its size must be bounded whatever was found.
    #[test]
    fn a_report_is_cut_to_its_limit_and_says_so() {
        let command = Evidence::Command(CommandEvidence {
            argv: vec!["\u{1}".repeat(30_000)],
            exit_code: Some(1),
            signal: None,
            duration_ms: 1,
            output_digest: String::new(),
            output_bytes: 1,
            output_complete: true,
            head: "\u{1}".repeat(2048),
            tail: "é\u{1}".repeat(2048),
            omitted_bytes: 0,
            process_group: Some(1),
        });
        let small = CheckReport::new("id".into(), Vec::new(), vec![command.clone()], Vec::new());
        assert_eq!(small.cut, None);

        let change = FileChange {
            path: "p".repeat(300),
            before: FileState::Absent,
            after: FileState::Link { target: "t".repeat(300) },
        };
        let findings =
            vec![finding(FindingCode::FileUnchanged).with_path("x").with_detail("d".repeat(5000)); 300];
        let evidence = vec![command; 32];
        let report = CheckReport::new("i".repeat(10_000), findings, evidence, vec![change; 10_000]);
        assert!(report.size_bytes() <= REPORT_BYTES_MAX);
        assert_eq!(report.verdict, Verdict::Fail);
        let cut = report.cut.unwrap();
        assert!(cut.texts > 0 && cut.changed > 0, "{cut:?}");
        assert_eq!(report.changed.len() as u64 + cut.changed, 10_000);
        assert_eq!(report.findings.len() as u64 + cut.findings, 300);
        assert_eq!(report.evidence.len() as u64 + cut.evidence, 32);
    }

    /// Plugin and engine read these names.
    #[test]
    fn the_json_is_as_documented() {
        let report = CheckReport::of("id".into(), finding(FindingCode::FileOutsideLease).with_path("a"));
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "id": "id",
                "verdict": "fail",
                "findings": [{
                    "code": "FILE_OUTSIDE_LEASE", "path": "a", "line": null, "column": null,
                    "message": "what; what to do", "detail": null,
                }],
                "evidence": [],
                "changed": [],
                "cut": null,
            })
        );
        assert_eq!(serde_json::from_value::<CheckReport>(json).unwrap(), report);
        let schema = serde_json::to_value(schemars::schema_for!(CheckReport)).unwrap();
        assert!(schema["$defs"]["FindingCode"].to_string().contains("COMMAND_OUTPUT_LIMIT"));
    }
}

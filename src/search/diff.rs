//! What differs between two texts, as a unified diff: of two files or texts (`diff`), and of files before and after an
//! edit.

use crate::answer::count_of;
use crate::error::SearchError;
use crate::limit::{ANSWER_BYTES_MAX, CONTEXT_LINES_MAX, EDIT_FILE_BYTES_MAX, Limit};
use crate::query::{Once, ToText, Tool, check_range};
use crate::root::{Located, Root};
use imara_diff::{Algorithm, Diff as Changes, Hunk, InternedInput, Token};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::Read;

/// Lines of context of a diff that says nothing else.
pub(crate) const CONTEXT_LINES_DEFAULT: u32 = 3;

/// Options of a diff: one of `before` and `beforeText`, and one of `after` and `afterText`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "DiffOptions")]
pub struct Options {
    /// Path of the old file.
    #[serde(default)]
    pub before: Option<String>,
    /// Path of the new file.
    #[serde(default)]
    pub after: Option<String>,
    /// The old text, in place of `before`.
    #[serde(default)]
    pub before_text: Option<String>,
    /// The new text, in place of `after`.
    #[serde(default)]
    pub after_text: Option<String>,
    /// Lines to show around each change, 0 to 20. Default: 3.
    #[serde(default = "default_context")]
    #[schemars(range(min = 0, max = 20))]
    pub context: u32,
}

pub(crate) fn default_context() -> u32 {
    CONTEXT_LINES_DEFAULT
}

/// What differs, line by line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "DiffAnswer")]
pub struct Answer {
    /// The unified diff; empty when nothing differs, and when one side is binary.
    pub diff: String,
    /// How many lines were added.
    pub added: u64,
    /// How many lines were removed.
    pub removed: u64,
    /// How many places differ, as many as `diff` has hunks when it is whole.
    pub hunks: u64,
    /// Whether one side holds binary data. It is not compared by lines then.
    pub binary: bool,
    /// Whether the two are the same, byte by byte.
    pub equal: bool,
    /// Whether hunks are missing in `diff`. The numbers count all of them.
    pub truncated: bool,
    /// The limits that were met; empty when nothing was cut.
    pub limits: Vec<Limit>,
}

impl ToText for Answer {
    fn to_text(&self) -> String {
        if self.equal {
            return "(the same, byte by byte)\n".to_owned();
        }
        if self.binary {
            return "(binary data, which differs)\n".to_owned();
        }
        let mut text = self.diff.clone();
        // Writing to a `String` does not fail.
        let _infallible = write!(
            text,
            "({} added, {} removed, {})",
            count_of(self.added, "line", "lines"),
            count_of(self.removed, "line", "lines"),
            count_of(self.hunks, "hunk", "hunks"),
        );
        if self.truncated {
            text.push_str("\n[cut at: AnswerBytes; ask for less context, or compare parts]");
        }
        text.push('\n');
        text
    }
}

/// The tool.
pub(crate) struct Diff;

impl Tool for Diff {
    type Options = Options;
    type Answer = Answer;
    type Work = Once<Answer>;

    fn prepare(root: &Root, options: Options) -> Result<Once<Answer>, SearchError> {
        check_range("context", options.context, 0, CONTEXT_LINES_MAX)?;
        let before = Side::choose(root, ["before", "beforeText"], options.before, options.before_text)?;
        let after = Side::choose(root, ["after", "afterText"], options.after, options.after_text)?;
        Ok(Once::new(move |_scope| {
            let (before, after) = (before.read()?, after.read()?);
            let [old, new] = [&before, &after].map(|side| side.bytes.as_slice());
            let is_binary = old.contains(&0) || new.contains(&0);
            let mut answer = Answer {
                diff: String::new(),
                added: 0,
                removed: 0,
                hunks: 0,
                binary: is_binary,
                equal: old == new,
                truncated: false,
                limits: Vec::new(),
            };
            if answer.equal || is_binary {
                return Ok(answer);
            }
            let mut unified = Unified::new(options.context, ANSWER_BYTES_MAX);
            let change = unified.add(&before.name, &after.name, old, new);
            (answer.added, answer.removed, answer.hunks) = (change.added, change.removed, change.hunks);
            (answer.diff, answer.truncated) = (unified.text, unified.is_cut);
            if answer.truncated {
                answer.limits.push(Limit::AnswerBytes);
            }
            Ok(answer)
        }))
    }
}

/// One side of a comparison: where it comes from.
enum Side {
    File { root: Root, path: String },
    Text { name: String, text: String },
}

struct Source {
    name: String,
    bytes: Vec<u8>,
}

impl Side {
    fn choose(
        root: &Root,
        [path_option, text_option]: [&'static str; 2],
        path: Option<String>,
        text: Option<String>,
    ) -> Result<Side, SearchError> {
        match (path, text) {
            (Some(path), None) => Ok(Side::File { root: root.clone(), path }),
            (None, Some(text)) => Ok(Side::Text { name: path_option.to_owned(), text }),
            (None, None) | (Some(_), Some(_)) => Err(SearchError::BadOptions {
                path: path_option.to_owned(),
                reason: format!("expected either {path_option} or {text_option}"),
            }),
        }
    }

    fn read(self) -> Result<Source, SearchError> {
        match self {
            Side::File { root, path } => {
                let (located, bytes) = read_whole(&root, &path, EDIT_FILE_BYTES_MAX)?;
                Ok(Source { name: located.shown(), bytes })
            }
            Side::Text { name, text } => Ok(Source { name, bytes: text.into_bytes() }),
        }
    }
}

/// Reads a file that a call named, whole.
///
/// # Errors
///
/// As [`Root::open_file`], and [`SearchError::TooLarge`] beyond `size_bytes_max`.
pub(crate) fn read_whole(
    root: &Root,
    path: &str,
    size_bytes_max: u64,
) -> Result<(Located, Vec<u8>), SearchError> {
    let (located, file, size_bytes) = root.open_file(path)?;
    let mut bytes = Vec::with_capacity(usize::try_from(size_bytes.min(size_bytes_max)).unwrap_or(0));
    file.take(size_bytes_max + 1).read_to_end(&mut bytes).map_err(|error| SearchError::PathUnreadable {
        path: path.to_owned(),
        reason: error.kind().to_string(),
    })?;
    if bytes.len() as u64 > size_bytes_max {
        return Err(SearchError::TooLarge { path: path.to_owned(), max: size_bytes_max });
    }
    Ok((located, bytes))
}

/// How much of a file an edit changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) added: u64,
    pub(crate) removed: u64,
    pub(crate) hunks: u64,
}

/// A unified diff of one or more files, up to a size. Hunks are written whole or not at all.
pub(crate) struct Unified {
    pub(crate) text: String,
    /// Whether hunks were left out.
    pub(crate) is_cut: bool,
    context: u32,
    size_bytes_max: usize,
}

impl Unified {
    pub(crate) fn new(context: u32, size_bytes_max: usize) -> Unified {
        Unified { text: String::new(), is_cut: false, context, size_bytes_max }
    }

    /// Adds what differs between `before` and `after`; nothing when they are the same. Odd bytes are replaced.
    pub(crate) fn add(&mut self, before_name: &str, after_name: &str, before: &[u8], after: &[u8]) -> Change {
        let input = InternedInput::new(
            imara_diff::sources::byte_lines(before),
            imara_diff::sources::byte_lines(after),
        );
        let mut changes = Changes::compute(Algorithm::Myers, &input);
        changes.postprocess_lines(&input);
        let hunks: Vec<Hunk> = changes.hunks().collect();
        let groups: Vec<&[Hunk]> =
            hunks.chunk_by(|one, next| next.before.start - one.before.end <= 2 * self.context).collect();
        let change = Change {
            added: changes.count_additions().into(),
            removed: changes.count_removals().into(),
            hunks: groups.len() as u64,
        };
        let mut is_first = true;
        for group in groups {
            if self.is_cut {
                break;
            }
            let whole = self.text.len();
            if is_first {
                // Writing to a `String` does not fail.
                let _infallible = writeln!(self.text, "--- {before_name}\n+++ {after_name}");
                is_first = false;
            }
            self.hunk(&input, group);
            // Of a hunk that is larger than all, what fits is shown: a diff of nothing would say nothing.
            if self.text.len() > self.size_bytes_max {
                self.is_cut = true;
                if whole > 0 {
                    self.text.truncate(whole);
                } else {
                    let mut end = self.size_bytes_max;
                    while !self.text.is_char_boundary(end) {
                        end -= 1;
                    }
                    self.text.truncate(end);
                    self.text.push('\n');
                }
            }
        }
        change
    }

    /// Writes changes that stand close together as one hunk with its header.
    fn hunk(&mut self, input: &InternedInput<&[u8]>, group: &[Hunk]) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { return };
        let lead = self.context.min(first.before.start);
        let trail = self.context.min(input.before.len() as u32 - last.before.end);
        let old = first.before.start - lead..last.before.end + trail;
        let new = first.after.start - lead..last.after.end + trail;
        // Of no lines the header names the line before them.
        let start = |range: &std::ops::Range<u32>| range.start + u32::from(!range.is_empty());
        let _infallible =
            writeln!(self.text, "@@ -{},{} +{},{} @@", start(&old), old.len(), start(&new), new.len());
        let mut at = old.start;
        for hunk in group {
            self.lines(input, ' ', &input.before[at as usize..hunk.before.start as usize]);
            self.lines(input, '-', &input.before[hunk.before.start as usize..hunk.before.end as usize]);
            self.lines(input, '+', &input.after[hunk.after.start as usize..hunk.after.end as usize]);
            at = hunk.before.end;
        }
        self.lines(input, ' ', &input.before[at as usize..old.end as usize]);
    }

    fn lines(&mut self, input: &InternedInput<&[u8]>, sign: char, lines: &[Token]) {
        for token in lines {
            // Enough to see that it is too much.
            if self.text.len() > self.size_bytes_max {
                return;
            }
            let line: Cow<'_, str> = String::from_utf8_lossy(input.interner[*token]);
            self.text.push(sign);
            self.text.push_str(&line);
            if !line.ends_with('\n') {
                self.text.push_str("\n\\ No newline at end of file\n");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unified(before: &str, after: &str, context: u32, size: usize) -> (String, Change, bool) {
        let mut unified = Unified::new(context, size);
        let change = unified.add("a", "b", before.as_bytes(), after.as_bytes());
        (unified.text, change, unified.is_cut)
    }

    /// Breaks if `patch` could not apply what we show.
    #[test]
    fn hunks_are_those_of_a_unified_diff() {
        let lines = |range: std::ops::Range<u32>| range.map(|line| format!("{line}\n")).collect::<String>();
        let before = lines(0..30);
        let after =
            before.replace("\n5\n", "\nfive\n").replace("\n9\n", "\n").replace("\n25\n", "\n25\nmore\n");
        let (text, change, is_cut) = unified(&before, &after, 2, 10_000);
        let expected = "--- a\n+++ b\n@@ -4,9 +4,8 @@\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n-9\n 10\n 11\n\
                        @@ -25,4 +24,5 @@\n 24\n 25\n+more\n 26\n 27\n";
        assert_eq!(text, expected);
        assert_eq!((change, is_cut), (Change { added: 2, removed: 2, hunks: 2 }, false));
        for (before, after, expected) in [
            ("", "x\n", "--- a\n+++ b\n@@ -0,0 +1,1 @@\n+x\n"),
            ("x\n", "", "--- a\n+++ b\n@@ -1,1 +0,0 @@\n-x\n"),
            ("x", "x\n", "--- a\n+++ b\n@@ -1,1 +1,1 @@\n-x\n\\ No newline at end of file\n+x\n"),
            ("same\n", "same\n", ""),
        ] {
            assert_eq!(unified(before, after, 3, 1_000).0, expected);
        }
    }

    /// Breaks if what we show is not what `patch` turns the one into the other with.
    #[test]
    fn patches_apply() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = 7_u64;
        for _round in 0..40 {
            let mut random = |below: u64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 33) % below
            };
            let before: Vec<String> = (0..random(60)).map(|_| format!("line {}\n", random(9))).collect();
            let mut after = before.clone();
            for _ in 0..random(6) {
                let at = random(after.len() as u64 + 1) as usize;
                if random(2) == 0 || at == after.len() {
                    after.insert(at, format!("new {}\n", random(100)));
                } else {
                    after.remove(at);
                }
            }
            let (before, after) = (before.concat(), after.concat());
            let (patch, ..) = unified(&before, &after, random(4) as u32, 1_000_000);
            let patch = patch.replacen("+++ b", "+++ a", 1);
            if before.is_empty() || patch.is_empty() || after.is_empty() {
                continue;
            }
            std::fs::write(folder.path().join("a"), &before).unwrap();
            std::fs::write(folder.path().join("p"), &patch).unwrap();
            let applied = std::process::Command::new("git")
                .args(["apply", "--unidiff-zero", "--whitespace=nowarn", "-p0", "p"])
                .current_dir(folder.path())
                .env("GIT_DIR", folder.path().join("none"))
                .output()
                .unwrap();
            let result = std::fs::read_to_string(folder.path().join("a")).unwrap();
            assert_eq!(result, after, "{before:?}\n{patch}\n{}", String::from_utf8_lossy(&applied.stderr));
        }
    }

    /// Breaks if an answer grows with the files, or is cut in the middle of a hunk.
    #[test]
    fn a_large_diff_is_cut_between_hunks() {
        let before: String = (0..2_000).map(|line| format!("{line}\n")).collect();
        let after: String = (0..2_000)
            .map(|line| if line % 20 == 0 { "x\n".to_owned() } else { format!("{line}\n") })
            .collect();
        let (text, change, is_cut) = unified(&before, &after, 0, 500);
        assert!(is_cut && text.len() <= 500 && text.ends_with("+x\n"), "{text}");
        assert_eq!((change.added, change.removed, change.hunks), (100, 100, 100));
        let (text, _, is_cut) = unified(&"é".repeat(5_000), "", 0, 501);
        assert!(is_cut && text.len() < 510 && text.starts_with("--- a\n+++ b\n@@"), "{text}");
    }
}

//! What every answer says of itself: whether it is complete, what kept it from being so, and how to get the rest.

use crate::limit::{LINE_CHARS_MAX, Limit};
use crate::walk::{Counts, Skipped};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::sync::atomic::Ordering;

/// A place in the results: everything up to and including it was given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cursor {
    /// Path as in the results.
    pub path: String,
    /// Line as in the results; 0 when results are whole files, or when they were last changed, in microseconds since the
    /// epoch, if they are sorted by that.
    pub line: u64,
    /// Column as in the results; 0 when results are whole files.
    pub column: u64,
}

impl Cursor {
    /// Returns whether everything in the folder `relative` (ending in `/`) comes before this place.
    pub(crate) fn is_past_folder(&self, relative: &str) -> bool {
        relative < self.path.as_str() && !self.path.starts_with(relative)
    }

    /// Returns whether the result at this line and column of `path` was given already.
    pub(crate) fn covers(&self, path: &str, line: u64, column: u64) -> bool {
        (path, line, column) <= (&self.path, self.line, self.column)
    }
}

/// How complete an answer is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Coverage {
    /// Whether results may be missing. If not, these are all there are.
    pub truncated: bool,
    /// The limits that were met; empty when nothing was cut.
    pub limits: Vec<Limit>,
    /// Pass this as `after` to get the results that follow; `null` when there are none or when they cannot be continued.
    pub next: Option<Cursor>,
    /// How to get what is missing, in one sentence; `null` when nothing is.
    pub hint: Option<String>,
    /// How many files were searched or listed. Varies from call to call when `truncated`.
    pub files_searched: u64,
    /// What was left out, by reason.
    pub skipped: Skipped,
}

impl Coverage {
    /// Sums up a walk. `limits` are those met while the results were put together, `timed_out` says that the walk did
    /// not come to its end, `next` is where it could go on.
    pub(crate) fn new(
        counts: &Counts,
        mut limits: Vec<Limit>,
        timed_out: bool,
        next: Option<Cursor>,
    ) -> Coverage {
        let skipped = counts.skipped();
        if timed_out {
            limits.push(Limit::TimeLimit);
        }
        if counts.below_depth.load(Ordering::Relaxed) {
            limits.push(Limit::TreeDepth);
        }
        if skipped.too_large > 0 {
            limits.push(Limit::FileBytes);
        }
        if skipped.too_deep > 0 {
            limits.push(Limit::SyntaxDepth);
        }
        limits.sort_unstable();
        limits.dedup();
        let is_cut = limits.contains(&Limit::MaxResults) || limits.contains(&Limit::AnswerBytes);
        // Results before the last one given may be missing, so there is no place to go on from.
        let next = if is_cut && !timed_out { next } else { None };
        let truncated = limits.iter().any(|limit| *limit != Limit::LineChars);
        let hint = match &next {
            _ if !truncated => None,
            Some(cursor) => Some(format!(
                "pass after: {} for the next results, or narrow path, globs or pattern",
                serde_json::json!(cursor)
            )),
            None if is_cut && !timed_out => {
                Some("raise maxResults, or narrow path, globs or pattern".to_owned())
            }
            None if timed_out => Some("narrow path, globs or pattern".to_owned()),
            None if counts.below_depth.load(Ordering::Relaxed) => {
                Some("search the deep folders by giving one as path".to_owned())
            }
            None => Some("some files are too large to be searched; read them in parts".to_owned()),
        };
        let files_searched = counts.searched.load(Ordering::Relaxed);
        Coverage { truncated, limits, next, hint, files_searched, skipped }
    }

    /// Writes the last line of a text answer: what was found and what was cut.
    pub(crate) fn write_text(&self, found: &str, text: &mut String) {
        // Writing to a `String` does not fail.
        let _infallible =
            write!(text, "({found}; {} searched", count_of(self.files_searched, "file", "files"));
        for (count, what) in [
            (self.skipped.binary, "binary"),
            (self.skipped.too_large, "too large"),
            (self.skipped.too_deep, "nested too deeply"),
            (self.skipped.unreadable, "unreadable"),
        ] {
            if count > 0 {
                let _infallible = write!(text, ", {count} {what} skipped");
            }
        }
        text.push(')');
        if let Some(hint) = &self.hint {
            let limits: Vec<String> = self.limits.iter().map(|limit| format!("{limit:?}")).collect();
            let _infallible = write!(text, "\n[cut at: {}; {hint}]", limits.join(", "));
        }
        text.push('\n');
    }
}

/// Returns a number with what it counts.
pub(crate) fn count_of(count: u64, one: &str, many: &str) -> String {
    match count {
        0 => format!("no {many}"),
        1 => format!("1 {one}"),
        _ => format!("{count} {many}"),
    }
}

/// A piece of a file as it is shown.
pub(crate) struct Shown {
    pub(crate) text: String,
    /// Whether characters were left out.
    pub(crate) is_cut: bool,
}

/// Shows `bytes`, at most [`LINE_CHARS_MAX`] characters around the byte at `around`, with `…` for what is left out,
/// without the line's end, odd bytes replaced.
pub(crate) fn show(bytes: &[u8], around: usize) -> Shown {
    /// Characters shown before the match in a line that is cut.
    const LEAD: usize = 200;
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    if bytes.len() <= LINE_CHARS_MAX {
        return Shown { text: String::from_utf8_lossy(bytes).into_owned(), is_cut: false };
    }
    // A character has at most four bytes, so this window holds all the characters that may be shown.
    let mut start = if around <= LINE_CHARS_MAX - LEAD { 0 } else { around - LEAD };
    while start > 0 && bytes.get(start).is_some_and(|byte| byte & 0xC0 == 0x80) {
        start -= 1;
    }
    let window = &bytes[start..bytes.len().min(start + 4 * LINE_CHARS_MAX)];
    let decoded = String::from_utf8_lossy(window);
    let mut text = String::new();
    if start > 0 {
        text.push('…');
    }
    text.extend(decoded.chars().take(LINE_CHARS_MAX));
    let is_end = start + window.len() == bytes.len() && decoded.chars().nth(LINE_CHARS_MAX).is_none();
    if !is_end {
        text.push('…');
    }
    Shown { text, is_cut: start > 0 || !is_end }
}

/// Returns the column of the byte at `offset` of a line: from 1, in UTF-16 units, as editors and JavaScript count.
pub(crate) fn column(line: &[u8], offset: usize) -> u64 {
    let before = String::from_utf8_lossy(&line[..offset.min(line.len())]);
    before.encode_utf16().count() as u64 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Breaks if a long line is shown whole, without its match, or split inside a character.
    #[test]
    fn shows_long_lines_around_the_match() {
        let check = |line: &str, around: usize, expected_start: &str, expected_length: usize, cut: bool| {
            let Shown { text, is_cut } = show(line.as_bytes(), around);
            assert!(text.starts_with(expected_start), "{text}");
            assert_eq!((text.chars().count(), is_cut), (expected_length, cut), "{text}");
        };
        check("short\r\n", 0, "short", 5, false);
        check(&"é".repeat(1_500), 0, "é", 1_500, false);
        check(&"x".repeat(3_000), 0, "x", 2_001, true);
        check(&format!("{}needle", "x".repeat(5_000)), 5_000, "…", 207, true);
        check(&"é".repeat(5_000), 6_001, "…é", 2_002, true);
    }

    /// Breaks if columns are bytes or characters instead of UTF-16 units.
    #[test]
    fn columns_are_utf16_units_from_one() {
        assert_eq!(column("a𝄞é=1".as_bytes(), 0), 1);
        assert_eq!(column("a𝄞é=1".as_bytes(), "a𝄞é".len()), 5);
    }

    /// Breaks if a search that goes on from a cursor walks what was given, or misses what was not.
    #[test]
    fn a_cursor_knows_what_it_covers() {
        let cursor = Cursor { path: "b/c.rs".to_owned(), line: 3, column: 1 };
        assert!(cursor.is_past_folder("a/") && !cursor.is_past_folder("b/") && !cursor.is_past_folder("c/"));
        assert!(cursor.covers("b/a.rs", 9, 9) && cursor.covers("b/c.rs", 3, 1));
        assert!(!cursor.covers("b/c.rs", 3, 2) && !cursor.covers("b/d.rs", 1, 1));
    }
}

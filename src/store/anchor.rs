//! A second place that knows how far the journal had come, so that a lost tail is noticed.
//!
//! A database that has lost its last records is valid in itself: a damaged page or a damaged frame of the
//! write-ahead log can end the table earlier, and the shorter chain verifies. The anchor is one line in a file of its
//! own, written after each commit has become durable and never synced itself. So it may lag behind the journal, after
//! a power cut or a race of two writers, and never runs ahead of it: a journal shorter than its anchor has lost what
//! was acknowledged.

use std::fs;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use crate::state_dir::{look_at, restrict};
use crate::{Digest, Head, StateDir, StoreError};

/// Reads the anchor.
///
/// [`Head::GENESIS`] when there is none, or when its check sum does not fit: a torn write says nothing.
///
/// # Errors
///
/// [`StoreError::File`], or [`StoreError::NotAPlainFile`] when there is something else under its name.
pub(crate) fn read(state_dir: &StateDir) -> Result<Head, StoreError> {
    let path = state_dir.join(FILE_NAME);
    if !is_there(&path)? {
        return Ok(Head::GENESIS);
    }
    let text = fs::read(&path).map_err(|source| StoreError::File { path, source })?;
    Ok(parse_line(&text).unwrap_or(Head::GENESIS))
}

/// The anchor, opened by a writer.
#[derive(Debug)]
pub(crate) struct Anchor {
    file: fs::File,
}

impl Anchor {
    /// Opens the file, and makes it, with mode 0600, when it is missing.
    pub(crate) fn open(state_dir: &StateDir) -> Result<Anchor, StoreError> {
        let path = state_dir.join(FILE_NAME);
        is_there(&path)?;
        let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        file.and_then(|file| restrict(&path, 0o600).map(|()| Anchor { file }))
            .map_err(|source| StoreError::File { path, source })
    }

    /// Writes `head`, which must be durable in the journal.
    pub(crate) fn advance(&mut self, head: Head) -> io::Result<()> {
        // One write of a fixed length over the same bytes: it needs no new space, and never leaves a tail behind.
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(line(head).as_bytes())
    }
}

fn is_there(path: &Path) -> Result<bool, StoreError> {
    match look_at(path) {
        Ok(None) => Ok(false),
        Ok(Some(found)) if found.is_file() => Ok(true),
        Ok(Some(_)) => Err(StoreError::NotAPlainFile { path: path.to_owned() }),
        Err(source) => Err(StoreError::File { path: path.to_owned(), source }),
    }
}

/// Sequence number, hash and the hash of these two, always of the same length.
fn line(head: Head) -> String {
    let content = format!("{:020} {}", head.sequence, head.hash);
    let check = Digest::of(content.as_bytes());
    format!("{content} {check}\n")
}

fn parse_line(text: &[u8]) -> Option<Head> {
    let text = str::from_utf8(text).ok()?;
    let mut fields = text.split(' ');
    let head = Head { sequence: fields.next()?.parse().ok()?, hash: fields.next()?.parse().ok()? };
    (line(head) == text).then_some(head)
}

const FILE_NAME: &str = "journal.head";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_line_says_nothing() {
        // Breaks when half a write of the anchor would accuse a sound journal of having lost records.
        let old = line(Head { sequence: 1, hash: Digest::of(b"old") });
        let head = Head { sequence: 41, hash: Digest::of(b"new") };
        let new = line(head);
        assert_eq!(parse_line(new.as_bytes()), Some(head));
        for cut in 0..new.len() {
            assert_eq!(parse_line(&new.as_bytes()[..cut]), None, "cut at {cut}");
            let torn = [&new.as_bytes()[..cut], &old.as_bytes()[cut..]].concat();
            let whole = [old.as_bytes(), new.as_bytes()];
            assert!(whole.contains(&torn.as_slice()) || parse_line(&torn).is_none(), "torn at {cut}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn a_link_in_its_place_is_refused() {
        // Breaks when a repository can have us write over a file outside of it.
        let project = tempfile::tempdir().unwrap();
        let state_dir = StateDir::prepare(project.path()).unwrap();
        let outside = project.path().join("outside");
        fs::write(&outside, "kept").unwrap();
        std::os::unix::fs::symlink(&outside, state_dir.join(FILE_NAME)).unwrap();
        assert_eq!(Anchor::open(&state_dir).unwrap_err().code(), "JOURNAL_NOT_A_PLAIN_FILE");
        assert_eq!(read(&state_dir).unwrap_err().code(), "JOURNAL_NOT_A_PLAIN_FILE");
        assert_eq!(fs::read_to_string(outside).unwrap(), "kept");
    }
}

//! What is in the files that a walk finds.
//!
//! Most files are small. Such a file is read whole, in one go, into a buffer that was used before; a larger one is left to
//! be streamed, or read, by who wants it.

use crate::text::fill;
use crate::walk::{Counts, FoundFile};
use orchestrator_worker::{BUFFER_BYTES_MAX, Buffer, Buffers};
use std::fs::File;
use std::io::{self, Read};
use std::ops::Deref;

/// How much of a file too large to be searched is read, to tell whether it is text.
const BINARY_HEAD_BYTES: u64 = 8 * 1024;

/// What small files are read into.
static BUFFERS: Buffers = Buffers::new();

/// A file that was opened.
pub(crate) enum Content {
    /// All that is in it.
    Small(Buffer<'static>),
    /// A larger one, from its beginning, and its size.
    Large(File, u64),
}

/// All that is in a file.
pub(crate) enum Whole {
    Small(Buffer<'static>),
    Large(Vec<u8>),
}

impl Content {
    /// Opens what the walk found, within `size_bytes_max`; counts it as skipped and returns `None` otherwise.
    pub(crate) fn open(file: &FoundFile<'_>, size_bytes_max: u64, counts: &Counts) -> Option<Content> {
        debug_assert!(size_bytes_max >= BUFFER_BYTES_MAX as u64, "small files are not too large");
        match Content::read(file) {
            Ok(Content::Large(opened, size_bytes)) if size_bytes > size_bytes_max => {
                // A large picture or program would not have been searched anyway, so nothing is missing from the answer.
                let mut head = Vec::new();
                let is_read = opened.take(BINARY_HEAD_BYTES).read_to_end(&mut head).is_ok();
                let is_binary = is_read && head.contains(&0);
                Counts::add(if is_binary { &counts.binary } else { &counts.too_large });
                None
            }
            Ok(content) => Some(content),
            Err(_unreadable) => {
                Counts::add(&counts.unreadable);
                None
            }
        }
    }

    fn read(file: &FoundFile<'_>) -> io::Result<Content> {
        #[cfg(target_os = "linux")]
        if let Some(mut buffer) = BUFFERS.take(BUFFER_BYTES_MAX)
            && let Some(read) = file.read_start(&mut buffer)
        {
            let (opened, read_bytes) = read?;
            return if read_bytes < buffer.len() {
                buffer.truncate(read_bytes);
                Ok(Content::Small(buffer))
            } else {
                crate::root::regular(opened).map(|(opened, size_bytes)| Content::Large(opened, size_bytes))
            };
        }
        let (mut opened, size_bytes) = file.open()?;
        match usize::try_from(size_bytes).ok().and_then(|size_bytes| BUFFERS.take(size_bytes)) {
            Some(mut buffer) => {
                let read_bytes = fill(&mut opened, &mut buffer)?;
                buffer.truncate(read_bytes);
                Ok(Content::Small(buffer))
            }
            None => Ok(Content::Large(opened, size_bytes)),
        }
    }

    /// Reads the rest of it, which is no more than was allowed when it was opened.
    pub(crate) fn whole(self) -> io::Result<Whole> {
        match self {
            Content::Small(buffer) => Ok(Whole::Small(buffer)),
            Content::Large(mut opened, size_bytes) => {
                let mut bytes = vec![0; usize::try_from(size_bytes).map_err(io::Error::other)?];
                let read_bytes = fill(&mut opened, &mut bytes)?;
                bytes.truncate(read_bytes);
                Ok(Whole::Large(bytes))
            }
        }
    }
}

impl Deref for Whole {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Whole::Small(buffer) => buffer,
            Whole::Large(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Answer, Query, Root, run};
    use orchestrator_worker::{BUFFER_BYTES_MAX, Pool};
    use std::fs::write;

    /// Breaks if the end of a file is lost, whichever way it is read: just below, at and above the size of a buffer, empty,
    /// named by the call, in one pass and line by line.
    #[test]
    fn files_around_the_size_of_a_buffer_are_read_to_their_end() {
        let folder = tempfile::tempdir().unwrap();
        let sizes =
            [1, 5, BUFFER_BYTES_MAX - 1, BUFFER_BYTES_MAX, BUFFER_BYTES_MAX + 1, 3 * BUFFER_BYTES_MAX];
        for size_bytes in sizes {
            let text = format!("{}x", "\n".repeat(size_bytes - 1));
            write(folder.path().join(format!("{size_bytes}.js")), text).unwrap();
        }
        write(folder.path().join("empty.js"), "").unwrap();
        let (pool, root) = (Pool::new(2), Root::open(folder.path()).unwrap());
        let ask =
            |tool: &str, options: &str| run(&pool, &root, Query::parse(tool, options).unwrap()).unwrap();
        let mut expected: Vec<_> = sizes.iter().map(|size| (format!("{size}.js"), *size as u64)).collect();
        expected.sort();

        let Answer::Grep(found) = ask("grep_search", r#"{"pattern":"x"}"#) else { unreachable!() };
        let lines: Vec<_> = found.matches.iter().map(|found| (found.path.clone(), found.line)).collect();
        assert_eq!(lines, expected);
        assert_eq!(found.coverage.files_searched, sizes.len() as u64 + 1);
        let Answer::AstSearch(found) = ask("ast_search", r#"{"pattern":"x","language":"javascript"}"#) else {
            unreachable!()
        };
        let lines: Vec<_> = found.matches.iter().map(|found| (found.path.clone(), found.line)).collect();
        assert_eq!(lines, expected);
        let Answer::FileStats(stats) = ask("file_stats", "{}") else { unreachable!() };
        assert_eq!(stats.bytes, sizes.iter().sum::<usize>() as u64);
        for (path, line) in expected {
            let options = format!(r#"{{"pattern":"x","path":"{path}"}}"#);
            let Answer::Grep(found) = ask("grep_search", &options) else { unreachable!() };
            assert_eq!(found.matches[0].line, line, "{path}");
        }
    }
}

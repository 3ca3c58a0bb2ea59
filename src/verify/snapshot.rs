//! What the files of a lease are, at one moment.
//!
//! A lease entry is a relative path with `/` between its parts: `src/a.ts` is that file, `src/api/` is everything
//! below that folder except what lies in [`SKIPPED_FOLDERS`]. The same entries give the same snapshot, whatever
//! order the file system lists them in.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::syntax::{self, Reading};

/// The most files a lease may cover.
pub const FILES_MAX: usize = 10_000;
/// The most entries a lease may have.
pub const LEASE_ENTRIES_MAX: usize = 10_000;
/// The largest file that is hashed.
pub const FILE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// The most bytes that are hashed for one snapshot.
pub const SNAPSHOT_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Folders that a folder's lease does not cover: they belong to git and to the package manager.
pub const SKIPPED_FOLDERS: [&str; 2] = [".git", "node_modules"];

/// Folder entries looked at for one snapshot, so that a tree of empty folders ends too.
const VISITS_MAX: usize = 100_000;
/// Source bytes parsed for [`FileState::File::parses`]; about two seconds of work.
const BASELINE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The files a lease covers and what was in them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// The lease it was taken for: sorted, without repetition.
    pub lease: Vec<String>,
    /// By path relative to the root, `/` between parts. A file named by the lease is always here, as absent when
    /// it does not exist; of a folder, only what exists.
    pub files: BTreeMap<String, FileState>,
}

impl Snapshot {
    /// What a path was; absent when the snapshot does not list it.
    pub fn state(&self, path: &str) -> FileState {
        self.files.get(path).cloned().unwrap_or(FileState::Absent)
    }
}

/// What a path was at the moment of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum FileState {
    /// A file, or a link to a file below the root.
    File {
        /// BLAKE3 of the content, 64 lower-case hexadecimal digits.
        hash: String,
        /// Length of the content.
        size_bytes: u64,
        /// Whether its grammar read it without an error; null when it was not parsed. A file that the grammar
        /// could not read before the work is not judged by it afterwards.
        parses: Option<bool>,
    },
    /// A link that is not followed: it leaves the root, points to a folder, or to nothing.
    Link {
        /// The text of the link.
        target: String,
    },
    /// No such path.
    Absent,
}

impl FileState {
    /// Whether both hold the same content, whatever is known about its syntax.
    pub fn same_content(&self, other: &FileState) -> bool {
        match (self, other) {
            (Self::File { hash, size_bytes, .. }, Self::File { hash: other, size_bytes: size, .. }) => {
                hash == other && size_bytes == size
            }
            (Self::Link { target }, Self::Link { target: other }) => target == other,
            (Self::Absent, Self::Absent) => true,
            (Self::File { .. } | Self::Link { .. } | Self::Absent, _) => false,
        }
    }
}

/// Why the files of a lease could not be recorded. Nothing is ever left out instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The root cannot be resolved.
    #[error("{path}: the root cannot be opened ({kind}); give an existing folder", path = path.display())]
    Root { path: PathBuf, kind: io::ErrorKind },
    /// The entry is not a plain relative path.
    #[error("{path:?}: {reason}; write a path relative to the root, such as src/a.ts or src/api/")]
    PathInvalid { path: String, reason: &'static str },
    /// A folder on the way is a link that leaves the root.
    #[error("{path}: a link on the way leads outside the root; lease the files themselves")]
    LinkOutsideRoot { path: String },
    /// The path is a folder, a device, a socket or a pipe.
    #[error("{path}: this is not a file; end the lease of a folder with /, and remove sockets and pipes")]
    NotAFile { path: String },
    /// A folder's entry names something else.
    #[error("{path}: this is not a folder; write a file without the / at its end")]
    NotAFolder { path: String },
    /// The name cannot be written down as text.
    #[error("{path}: the name is not UTF-8; rename the file")]
    NameInvalid { path: String },
    /// The file is larger than [`FILE_BYTES_MAX`].
    #[error("{path}: larger than {limit} bytes; leave the file out of the lease")]
    FileTooLarge { path: String, limit: u64 },
    /// The lease covers more than [`FILES_MAX`] files, or [`LEASE_ENTRIES_MAX`] entries.
    #[error("{path}: the lease covers more than {limit} files and folders; lease smaller folders")]
    TooManyFiles { path: String, limit: usize },
    /// The lease covers more than [`SNAPSHOT_BYTES_MAX`] bytes.
    #[error("{path}: the lease covers more than {limit} bytes; lease smaller folders")]
    TooManyBytes { path: String, limit: u64 },
    /// The file system refused.
    #[error("{path}: cannot be read ({kind}); check its permissions")]
    Unreadable { path: String, kind: io::ErrorKind },
    /// The check that asked for it was cancelled.
    #[error("cancelled; run the check again")]
    Cancelled,
}

impl SnapshotError {
    /// A name for the error that does not change between versions.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Root { .. } => "SNAPSHOT_ROOT",
            Self::PathInvalid { .. } => "SNAPSHOT_PATH_INVALID",
            Self::LinkOutsideRoot { .. } => "SNAPSHOT_LINK_OUTSIDE_ROOT",
            Self::NotAFile { .. } => "SNAPSHOT_NOT_A_FILE",
            Self::NotAFolder { .. } => "SNAPSHOT_NOT_A_FOLDER",
            Self::NameInvalid { .. } => "SNAPSHOT_NAME_INVALID",
            Self::FileTooLarge { .. } => "SNAPSHOT_FILE_TOO_LARGE",
            Self::TooManyFiles { .. } => "SNAPSHOT_TOO_MANY_FILES",
            Self::TooManyBytes { .. } => "SNAPSHOT_TOO_MANY_BYTES",
            Self::Unreadable { .. } => "SNAPSHOT_UNREADABLE",
            Self::Cancelled => "SNAPSHOT_CANCELLED",
        }
    }
}

/// Records the files of a lease before work on them starts.
///
/// Take it once a task, before its first attempt: taken again between attempts, it would hide what the earlier
/// ones changed or broke. Blocks while it reads; source files of up to 16 MB in all are parsed as well
/// ([`FileState::File::parses`]).
///
/// # Errors
/// Any [`SnapshotError`] but `Cancelled`. A limit that is reached is an error, never a shorter snapshot.
pub fn snapshot(root: &Path, lease: &[String]) -> Result<Snapshot, SnapshotError> {
    Survey::new(root, &|| false)?.with_baseline().take(lease)
}

/// As [`snapshot`], without parsing, and stopped with [`SnapshotError::Cancelled`] once `stop` says so.
pub(crate) fn survey(
    root: &Path,
    lease: &[String],
    stop: &dyn Fn() -> bool,
) -> Result<Snapshot, SnapshotError> {
    Survey::new(root, stop)?.take(lease)
}

/// Whether a lease covers a path. What a folder's entry skips is not covered by it.
pub(crate) fn covers(lease: &[String], path: &str) -> bool {
    check_path(path).is_ok()
        && !path.ends_with('/')
        && lease.iter().any(|entry| {
            entry == path
                || (entry.ends_with('/')
                    && path
                        .strip_prefix(entry.as_str())
                        .is_some_and(|below| below.split('/').all(|part| !SKIPPED_FOLDERS.contains(&part))))
        })
}

/// Sorts a lease and removes repetitions, as [`Snapshot::lease`] has it.
pub(crate) fn normalise(lease: &[String]) -> Vec<String> {
    let mut lease = lease.to_vec();
    lease.sort();
    lease.dedup();
    lease
}

/// Whether a link at this path leaves the root, or points to nothing that could be resolved.
pub(crate) fn link_leaves_root(root: &Path, path: &str) -> bool {
    match (fs::canonicalize(root), fs::canonicalize(root.join(path))) {
        (Ok(root), Ok(target)) => !target.starts_with(root),
        (Err(_), _) | (_, Err(_)) => false,
    }
}

fn check_path(path: &str) -> Result<(), SnapshotError> {
    let invalid = |reason| Err(SnapshotError::PathInvalid { path: shown(path), reason });
    let plain = path.strip_suffix('/').unwrap_or(path);
    if plain.is_empty() {
        return invalid("the path is empty or the root itself");
    }
    if path.contains('\0') {
        return invalid("the path contains a NUL character");
    }
    if path.starts_with('/') || Path::new(path).is_absolute() {
        return invalid("the path is absolute");
    }
    if cfg!(windows) && path.contains(['\\', ':']) {
        return invalid("the path contains \\ or :");
    }
    for part in plain.split('/') {
        match part {
            ".." => return invalid("the path contains .."),
            "." | "" => return invalid("the path contains an empty part or ."),
            _ => {}
        }
    }
    Ok(())
}

/// A path from outside, short enough for a message.
pub(crate) fn shown(path: &str) -> String {
    const SHOWN_MAX: usize = 512;
    match path.get(..path.floor_char_boundary(SHOWN_MAX)) {
        Some(start) if start.len() < path.len() => format!("{start}…"),
        Some(_) | None => path.to_owned(),
    }
}

/// One walk over the files of a lease, with what is left of its limits.
struct Survey<'a> {
    root: PathBuf,
    stop: &'a dyn Fn() -> bool,
    files: BTreeMap<String, FileState>,
    visits: usize,
    bytes: u64,
    baseline_bytes_left: u64,
}

impl<'a> Survey<'a> {
    fn new(root: &Path, stop: &'a dyn Fn() -> bool) -> Result<Self, SnapshotError> {
        let resolved = fs::canonicalize(root)
            .map_err(|error| SnapshotError::Root { path: root.to_owned(), kind: error.kind() })?;
        if !resolved.is_dir() {
            return Err(SnapshotError::Root { path: root.to_owned(), kind: io::ErrorKind::NotADirectory });
        }
        Ok(Self { root: resolved, stop, files: BTreeMap::new(), visits: 0, bytes: 0, baseline_bytes_left: 0 })
    }

    fn with_baseline(mut self) -> Self {
        self.baseline_bytes_left = BASELINE_BYTES_MAX;
        self
    }

    fn take(mut self, lease: &[String]) -> Result<Snapshot, SnapshotError> {
        let lease = normalise(lease);
        if let Some(beyond) = lease.get(LEASE_ENTRIES_MAX) {
            return Err(SnapshotError::TooManyFiles { path: shown(beyond), limit: LEASE_ENTRIES_MAX });
        }
        for entry in &lease {
            check_path(entry)?;
        }
        for entry in &lease {
            match entry.strip_suffix('/') {
                Some(folder) => self.walk(folder)?,
                None => {
                    let state = self.observe(entry)?;
                    self.record(entry.clone(), state)?;
                }
            }
        }
        Ok(Snapshot { lease, files: self.files })
    }

    /// Records everything below a folder. The folder itself may be reached through links inside the root; links
    /// found below it are never walked into.
    fn walk(&mut self, folder: &str) -> Result<(), SnapshotError> {
        let base = match fs::canonicalize(self.root.join(folder)) {
            Ok(base) => base,
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(unreadable(folder, &error)),
        };
        if !base.starts_with(&self.root) {
            return Err(SnapshotError::LinkOutsideRoot { path: folder.to_owned() });
        }
        if !base.is_dir() {
            return Err(SnapshotError::NotAFolder { path: folder.to_owned() });
        }
        let mut pending = vec![folder.to_owned()];
        while let Some(folder) = pending.pop() {
            let entries = match fs::read_dir(self.root.join(&folder)) {
                Ok(entries) => entries,
                Err(error) if is_absent(&error) => continue,
                Err(error) => return Err(unreadable(&folder, &error)),
            };
            for entry in entries {
                let entry = entry.map_err(|error| unreadable(&folder, &error))?;
                let name = entry.file_name();
                let Some(name) = name.to_str() else {
                    let path = format!("{folder}/{}", name.to_string_lossy());
                    return Err(SnapshotError::NameInvalid { path });
                };
                if SKIPPED_FOLDERS.contains(&name) {
                    continue;
                }
                let path = format!("{folder}/{name}");
                self.visits += 1;
                if self.visits > VISITS_MAX {
                    return Err(SnapshotError::TooManyFiles { path, limit: VISITS_MAX });
                }
                let kind = entry.file_type().map_err(|error| unreadable(&path, &error))?;
                if kind.is_dir() {
                    pending.push(path);
                } else {
                    let state = self.observe(&path)?;
                    self.record(path, state)?;
                }
            }
        }
        Ok(())
    }

    fn record(&mut self, path: String, state: FileState) -> Result<(), SnapshotError> {
        if self.files.len() >= FILES_MAX && !self.files.contains_key(&path) {
            return Err(SnapshotError::TooManyFiles { path, limit: FILES_MAX });
        }
        self.files.insert(path, state);
        Ok(())
    }

    fn observe(&mut self, path: &str) -> Result<FileState, SnapshotError> {
        if (self.stop)() {
            return Err(SnapshotError::Cancelled);
        }
        let full = self.root.join(path);
        let parent = full.parent().unwrap_or(&self.root);
        match fs::canonicalize(parent) {
            Ok(parent) if parent.starts_with(&self.root) => {}
            Ok(_) => return Err(SnapshotError::LinkOutsideRoot { path: path.to_owned() }),
            Err(error) if is_absent(&error) => return Ok(FileState::Absent),
            Err(error) => return Err(unreadable(path, &error)),
        }
        let metadata = match fs::symlink_metadata(&full) {
            Ok(metadata) => metadata,
            Err(error) if is_absent(&error) => return Ok(FileState::Absent),
            Err(error) => return Err(unreadable(path, &error)),
        };
        if metadata.is_file() {
            return self.hash(path, &full);
        }
        if !metadata.is_symlink() {
            return Err(SnapshotError::NotAFile { path: path.to_owned() });
        }
        match fs::canonicalize(&full) {
            Ok(target) if target.starts_with(&self.root) && target.is_file() => self.hash(path, &target),
            // A link to elsewhere, to a folder, in a circle or to nothing: its text is all that is recorded.
            Ok(_) | Err(_) => {
                let target = fs::read_link(&full).map_err(|error| unreadable(path, &error))?;
                Ok(FileState::Link { target: target.to_string_lossy().into_owned() })
            }
        }
    }

    fn hash(&mut self, path: &str, full: &Path) -> Result<FileState, SnapshotError> {
        let content = match read_bounded(full, FILE_BYTES_MAX) {
            Ok(Some(content)) => content,
            Ok(None) => {
                return Err(SnapshotError::FileTooLarge { path: path.to_owned(), limit: FILE_BYTES_MAX });
            }
            Err(error) if is_absent(&error) => return Ok(FileState::Absent),
            Err(error) => return Err(unreadable(path, &error)),
        };
        let size_bytes = content.len() as u64;
        self.bytes += size_bytes;
        if self.bytes > SNAPSHOT_BYTES_MAX {
            return Err(SnapshotError::TooManyBytes { path: path.to_owned(), limit: SNAPSHOT_BYTES_MAX });
        }
        let parses = match self.baseline_bytes_left.checked_sub(size_bytes) {
            Some(left) if syntax::is_judged(path) => {
                self.baseline_bytes_left = left;
                match syntax::read(path, &content, self.stop) {
                    Reading::Clean => Some(true),
                    Reading::Errors(_) => Some(false),
                    Reading::NotApplicable(_) | Reading::Unknown(_) => None,
                }
            }
            Some(_) | None => None,
        };
        Ok(FileState::File { hash: blake3::hash(&content).to_hex().to_string(), size_bytes, parses })
    }
}

/// The content of a file; `None` when it is longer than the limit.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let mut content = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut content)?;
    Ok((content.len() as u64 <= limit).then_some(content))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn unreadable(path: &str, error: &io::Error) -> SnapshotError {
    SnapshotError::Unreadable { path: path.to_owned(), kind: error.kind() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    fn take(root: &tempfile::TempDir, lease: &[&str]) -> Result<Snapshot, SnapshotError> {
        snapshot(root.path(), &lease.iter().map(|&entry| entry.to_owned()).collect::<Vec<_>>())
    }

    fn paths(snapshot: &Snapshot) -> Vec<&str> {
        snapshot.files.keys().map(String::as_str).collect()
    }

    /// A file outside the lease must not be compared, one inside must not be missed.
    #[test]
    fn a_lease_covers_its_files_and_what_is_below_its_folders() {
        let root = folder(&[
            ("src/api/a.ts", "a"),
            ("src/api/deep/b.ts", "b"),
            ("src/api/node_modules/c.ts", "c"),
            ("src/api/.git/d", "d"),
            ("src/apis.ts", "e"),
            ("src/f.ts", "f"),
            ("node_modules/g/g.ts", "g"),
        ]);
        let taken =
            take(&root, &["src/api/", "src/f.ts", "src/gone.ts", "none/", "node_modules/g/"]).unwrap();
        assert_eq!(
            paths(&taken),
            ["node_modules/g/g.ts", "src/api/a.ts", "src/api/deep/b.ts", "src/f.ts", "src/gone.ts"]
        );
        assert_eq!(taken.state("src/gone.ts"), FileState::Absent);
        assert_eq!(
            taken.state("src/f.ts"),
            FileState::File {
                hash: blake3::hash(b"f").to_hex().to_string(),
                size_bytes: 1,
                parses: Some(true)
            }
        );
        for path in taken.files.keys() {
            assert!(covers(&taken.lease, path), "{path}");
        }
        for path in ["src/api/", "src/apis.ts", "src/api/node_modules/c.ts", "src/api/../x", "src/api", ""] {
            assert!(!covers(&taken.lease, path), "{path}");
        }
    }

    /// The journal stores snapshots: the same files must give the same text.
    #[test]
    fn a_snapshot_is_the_same_whatever_the_order_and_survives_json() {
        let root = folder(&[("b/1.ts", "let a ="), ("b/2.txt", ""), ("a", "")]);
        let taken = take(&root, &["b/", "a", "c"]).unwrap();
        assert_eq!(taken, take(&root, &["c", "a", "b/", "b/"]).unwrap());
        let json = serde_json::to_string(&taken).unwrap();
        assert_eq!(serde_json::from_str::<Snapshot>(&json).unwrap(), taken);
        let empty = blake3::hash(b"").to_hex();
        assert!(json.contains(&format!(
            r#""b/2.txt":{{"kind":"file","hash":"{empty}","sizeBytes":0,"parses":null}}"#
        )));
        assert!(json.contains(r#""c":{"kind":"absent"}"#));
        assert!(matches!(taken.state("b/1.ts"), FileState::File { parses: Some(false), .. }));
    }

    /// Lease entries come from a model's plan.
    #[test]
    fn paths_that_are_not_plain_and_relative_are_refused_by_name() {
        let root = folder(&[("a/b", "")]);
        for path in ["", "/", "/etc/passwd", "../a", "a/../../b", "./a", "a//b", "a/.", "a\0b", "./", ".."] {
            let error = take(&root, &["a/b", path]).unwrap_err();
            assert_eq!(error.code(), "SNAPSHOT_PATH_INVALID");
            assert!(error.to_string().starts_with(&format!("{path:?}: ")), "{error}");
        }
        assert_eq!(take(&root, &["a"]).unwrap_err(), SnapshotError::NotAFile { path: "a".into() });
        assert_eq!(take(&root, &["a/b/"]).unwrap_err(), SnapshotError::NotAFolder { path: "a/b".into() });
        let none = snapshot(&root.path().join("none"), &[]).unwrap_err();
        assert_eq!(none.code(), "SNAPSHOT_ROOT");
    }

    /// What is cut must be said, never skipped.
    #[test]
    fn limits_are_errors() {
        let root = folder(&[("a/b", "")]);
        File::create(root.path().join("large")).unwrap().set_len(FILE_BYTES_MAX + 1).unwrap();
        let error = take(&root, &["large"]).unwrap_err();
        assert_eq!(error, SnapshotError::FileTooLarge { path: "large".into(), limit: FILE_BYTES_MAX });

        for index in 0..FILES_MAX {
            File::create(root.path().join("a").join(index.to_string())).unwrap();
        }
        assert_eq!(take(&root, &["a/"]).unwrap_err().code(), "SNAPSHOT_TOO_MANY_FILES");
        let entries: Vec<String> = (0..=LEASE_ENTRIES_MAX).map(|index| index.to_string()).collect();
        assert_eq!(snapshot(root.path(), &entries).unwrap_err().code(), "SNAPSHOT_TOO_MANY_FILES");
        let stopped = survey(root.path(), &["a/".to_owned()], &|| true);
        assert_eq!(stopped.unwrap_err(), SnapshotError::Cancelled);
    }

    /// A link must not make the program read, or the worker write, what lies outside the project.
    #[cfg(unix)]
    #[test]
    fn links_are_followed_inside_the_root_only() {
        use std::os::unix::fs::symlink;
        let outside = folder(&[("secret", "s")]);
        let root = folder(&[("real/a.txt", "a"), ("src/b.txt", "b")]);
        symlink(outside.path(), root.path().join("out")).unwrap();
        symlink(outside.path().join("secret"), root.path().join("src/secret")).unwrap();
        symlink("../real/a.txt", root.path().join("src/inside")).unwrap();
        symlink("../src", root.path().join("src/circle")).unwrap();
        symlink("nothing", root.path().join("src/dangling")).unwrap();
        symlink("real", root.path().join("alias")).unwrap();

        for entry in ["out/", "out/secret", "out/deep/new"] {
            let error = take(&root, &[entry]);
            if entry == "out/deep/new" {
                assert_eq!(error.unwrap().state(entry), FileState::Absent);
            } else {
                assert_eq!(error.unwrap_err().code(), "SNAPSHOT_LINK_OUTSIDE_ROOT", "{entry}");
            }
        }
        let taken = take(&root, &["src/", "alias/"]).unwrap();
        assert_eq!(
            paths(&taken),
            ["alias/a.txt", "src/b.txt", "src/circle", "src/dangling", "src/inside", "src/secret"]
        );
        assert_eq!(taken.state("src/inside"), taken.state("alias/a.txt"));
        let secret = outside.path().join("secret").to_str().unwrap().to_owned();
        assert_eq!(taken.state("src/secret"), FileState::Link { target: secret });
        assert_eq!(taken.state("src/circle"), FileState::Link { target: "../src".into() });
        assert_eq!(taken.state("src/dangling"), FileState::Link { target: "nothing".into() });
    }

    /// Reading a pipe would wait for ever.
    #[cfg(unix)]
    #[test]
    fn pipes_and_sockets_are_refused() {
        let root = folder(&[("src/a", "")]);
        let _socket = std::os::unix::net::UnixListener::bind(root.path().join("src/socket")).unwrap();
        assert_eq!(
            take(&root, &["src/"]).unwrap_err(),
            SnapshotError::NotAFile { path: "src/socket".into() }
        );
    }
}

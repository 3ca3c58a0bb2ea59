//! The folders that tools may reach, and the one way to open what is in them.
//!
//! A [`Root`] holds a handle of the project's folder. Every file and folder below it is opened through that handle by
//! `cap-std`, with `openat2` and `RESOLVE_BENEATH` where the system has it: no `..`, no absolute path and no link can
//! lead out, also when another process swaps a folder for a link in the middle of a search. Links on the way to a path
//! that a call names are resolved first, and what they lead to is opened in the same way. A walk follows no link; what is
//! in a folder that it has read so is opened through the handle of that folder, by its name alone.
//!
//! Folders outside the project are reached through a handle of their own, and only those that the host has granted.
//!
//! Ignore rules are the exception: git says where they lie (above the project, or in the repository of a worktree), and
//! nothing of them is shown. [`open_outside`] opens them and nothing else.

#[cfg(target_os = "linux")]
use crate::above::is_local;
use crate::error::SearchError;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, FileType, Metadata, OpenOptions};
#[cfg(target_os = "linux")]
use rustix::fs::{Mode, OFlags, openat};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::{Component, MAIN_SEPARATOR, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
#[cfg(target_os = "linux")]
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Instant, SystemTime};

/// What a call may reach: the project, what the host has granted outside it, and which files it may write. Cheap to
/// clone.
#[derive(Clone, Debug)]
pub struct Root {
    project: Folder,
    granted: Arc<[PathBuf]>,
    leased: Option<Arc<[String]>>,
}

impl Root {
    /// Opens the project's folder at `path`, which may be a link.
    ///
    /// # Errors
    ///
    /// [`SearchError::BadRoot`] when it does not exist, is not a folder, or is not absolute.
    pub fn open(path: &Path) -> Result<Root, SearchError> {
        let bad = |reason: String| SearchError::BadRoot { path: path.display().to_string(), reason };
        if !path.is_absolute() {
            return Err(bad("not an absolute path".to_owned()));
        }
        let project = Folder::open(path, true).map_err(|error| {
            let is_file = error.kind() == io::ErrorKind::NotADirectory;
            bad(if is_file { "not a folder".to_owned() } else { error.to_string() })
        })?;
        Ok(Root { project, granted: Arc::new([]), leased: None })
    }

    /// Lets calls reach these absolute folders, and what is below them, beside the project. One that does not exist
    /// grants nothing. The host asks the user before it grants a folder.
    pub fn with_granted(mut self, folders: &[PathBuf]) -> Root {
        self.granted = folders.iter().filter_map(|folder| folder.canonicalize().ok()).collect();
        self
    }

    /// Lets calls write these files only: paths relative to the project, a folder's with `/` at its end.
    pub fn with_lease(mut self, paths: &[String]) -> Root {
        self.leased = Some(paths.into());
        self
    }

    /// Lets searches of the whole project use an index, which is built once enough of them were made.
    pub fn with_index(mut self) -> Root {
        self.project.is_indexed = true;
        self
    }

    /// Returns the same for a call that begins now.
    pub(crate) fn for_call(&self) -> Root {
        let mut root = self.clone();
        root.project.asked = Instant::now();
        root
    }

    /// Returns the project's folder.
    pub(crate) fn project(&self) -> &Folder {
        &self.project
    }

    /// Returns the resolved absolute path of the project.
    pub fn path(&self) -> &Path {
        &self.project.path
    }

    /// Returns whether the project is known to be where files are soon opened: not on another machine.
    pub(crate) fn is_local(&self) -> bool {
        #[cfg(target_os = "linux")]
        return rustix::fs::fstatfs(self.project.handle()).is_ok_and(|found| is_local(found.f_type));
        #[cfg(not(target_os = "linux"))]
        false
    }

    /// Returns the paths that may be written, relative to the project; `None` for all.
    pub(crate) fn leased(&self) -> Option<&[String]> {
        self.leased.as_deref()
    }

    /// Finds what `given` names, relative to the project or absolute, and makes sure that it may be reached. Nothing is
    /// read.
    ///
    /// # Errors
    ///
    /// [`SearchError::PathInvalid`] for `..` and NUL; [`SearchError::PathOutside`] for what is, or is by a link, outside
    /// of all that was granted; [`SearchError::PathUnreadable`] when there is nothing; [`SearchError::NotAFile`] for
    /// devices, FIFOs and sockets.
    pub(crate) fn find(&self, given: &str) -> Result<Located, SearchError> {
        let invalid = |reason: &'static str| Err(SearchError::PathInvalid { path: given.to_owned(), reason });
        if given == "." {
            let (folder, path) = (self.project.clone(), self.project.path.to_path_buf());
            return Ok(Located { folder, path, is_folder: true });
        }
        if given.contains('\0') {
            return invalid("a NUL character");
        }
        if Path::new(given).components().any(|component| component == Component::ParentDir) {
            return invalid("\"..\"");
        }
        let absolute = self.project.path.join(given);
        let resolved = match absolute.canonicalize() {
            Ok(resolved) => resolved,
            // What is not there is not told of places that may not be reached.
            Err(_) if !self.reaches(&absolute) => return Err(outside(given, &absolute)),
            Err(error) => return Err(unreadable(given, &error)),
        };
        let folder = if resolved.starts_with(&self.project.path) {
            self.project.clone()
        } else {
            let granted = self.granted.iter().find(|granted| resolved.starts_with(granted));
            let granted = granted.ok_or_else(|| outside(given, &resolved))?;
            Folder::open(granted, false).map_err(|error| unreadable(given, &error))?
        };
        let file_type = folder.file_type(&resolved).map_err(|error| unreadable(given, &error))?;
        if !file_type.is_dir() && !file_type.is_file() {
            return Err(SearchError::NotAFile { path: given.to_owned() });
        }
        Ok(Located { folder, path: resolved, is_folder: file_type.is_dir() })
    }

    /// Finds a file and opens it for reading. Returns its size too.
    ///
    /// # Errors
    ///
    /// As [`Root::find`], and [`SearchError::NotAFile`] for a folder.
    pub(crate) fn open_file(&self, given: &str) -> Result<(Located, File, u64), SearchError> {
        let located = self.find(given)?;
        if located.is_folder {
            return Err(SearchError::NotAFile { path: given.to_owned() });
        }
        let (file, size_bytes) =
            located.folder.open_file(&located.path).map_err(|error| unreadable(given, &error))?;
        Ok((located, file, size_bytes))
    }

    fn reaches(&self, absolute: &Path) -> bool {
        absolute.starts_with(&self.project.path)
            || self.granted.iter().any(|granted| absolute.starts_with(granted))
    }
}

fn outside(given: &str, absolute: &Path) -> SearchError {
    let is_folder = absolute.is_dir();
    let folder = if is_folder { Some(absolute) } else { absolute.parent() };
    SearchError::PathOutside { path: given.to_owned(), folder: folder.unwrap_or(absolute).to_owned() }
}

fn unreadable(given: &str, error: &io::Error) -> SearchError {
    SearchError::PathUnreadable { path: given.to_owned(), reason: error.kind().to_string() }
}

/// A file or folder that a call named and may reach.
#[derive(Clone, Debug)]
pub(crate) struct Located {
    /// The folder through which it is opened.
    pub(crate) folder: Folder,
    /// Absolute, without links.
    pub(crate) path: PathBuf,
    pub(crate) is_folder: bool,
}

impl Located {
    /// Returns the path as it is shown.
    pub(crate) fn shown(&self) -> String {
        self.folder.show(&self.path)
    }
}

/// A folder whose content is opened through its handle. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    path: Arc<Path>,
    handle: Arc<Handle>,
    is_project: bool,
    is_indexed: bool,
    asked: Instant,
}

#[derive(Debug)]
struct Handle {
    dir: Dir,
    /// Whether the folder may be read through this very handle, as it can be once.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))]
    is_unread: AtomicBool,
}

/// Opens the folder at `path`, and returns where it is, without links.
fn open_resolved(path: &Path) -> io::Result<(Handle, PathBuf)> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, ResolveFlags, openat2};
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // Most paths lead through no link, which the system says while it opens.
        let is_plain = path.components().collect::<PathBuf>().as_os_str() == path.as_os_str()
            && !path.components().any(|component| component == Component::ParentDir);
        if is_plain && let Ok(handle) = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
            let (dir, is_unread) = (Dir::from_std_file(handle.into()), AtomicBool::new(true));
            return Ok((Handle { dir, is_unread }, path.to_owned()));
        }
    }
    let resolved = path.canonicalize()?;
    // A folder that may be passed through, but not read, is opened too.
    let dir = Dir::open_ambient_dir(&resolved, ambient_authority())?;
    Ok((Handle { dir, is_unread: AtomicBool::new(false) }, resolved))
}

/// What an entry of a folder is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Folder,
    File,
    /// A link, device, FIFO or socket.
    Special,
}

impl Folder {
    /// Opens the folder at `path`, which is absolute and may lead through links.
    fn open(path: &Path, is_project: bool) -> io::Result<Folder> {
        let asked = Instant::now();
        let (handle, path) = open_resolved(path)?;
        Ok(Folder { path: path.into(), handle: Arc::new(handle), is_project, is_indexed: false, asked })
    }

    /// Returns when the call began in which it is used, or a later time in it.
    pub(crate) fn asked(&self) -> Instant {
        self.asked
    }

    /// Returns the absolute path, without links.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether this is the project, and not a folder that was granted outside it.
    pub(crate) fn is_project(&self) -> bool {
        self.is_project
    }

    /// Returns whether searches may use an index.
    pub(crate) fn is_indexed(&self) -> bool {
        self.is_indexed
    }

    /// Returns the handle, relative to which an edit replaces a file.
    pub(crate) fn handle(&self) -> &Dir {
        &self.handle.dir
    }

    /// Opens the regular file at `path`, which is absolute and below this folder, and returns its size. Follows no link
    /// in the last component, none that leads out before it, and does not wait for the other end of a FIFO.
    pub(crate) fn open_file(&self, path: &Path) -> io::Result<(File, u64)> {
        let mut options = OpenOptions::new();
        options.read(true);
        #[cfg(unix)]
        {
            use cap_std::fs::OpenOptionsExt;
            options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        }
        regular(self.handle().open_with(self.below(path)?, &options)?.into_std())
    }

    /// Reads the folder at `path`, which is absolute and this folder or below it, until `take` returns false. An entry
    /// that cannot be read is an error of its own. Returns the folder's own handle, unless too many are in use.
    #[cfg(target_os = "linux")]
    pub(crate) fn read(
        &self,
        path: &Path,
        take: impl FnMut(io::Result<(&OsStr, Kind)>) -> bool,
    ) -> io::Result<Option<Opened>> {
        use cap_std::fs::OpenOptionsExt;
        let below = self.below(path)?;
        if below == Path::new(".") && self.handle.is_unread.swap(false, Relaxed) {
            return read_entries(self.handle().try_clone()?.into_std_file(), take);
        }
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW);
        read_entries(self.handle().open_with(below, &options)?.into_std(), take)
    }

    /// Reads the folder at `path`, which is absolute and this folder or below it, until `take` returns false. An entry
    /// that cannot be read is an error of its own.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn read(
        &self,
        path: &Path,
        mut take: impl FnMut(io::Result<(&OsStr, Kind)>) -> bool,
    ) -> io::Result<Option<Opened>> {
        for entry in self.handle().read_dir(self.below(path)?)? {
            let entry = entry.and_then(|entry| {
                let mut kind = entry.file_type()?;
                if kind == FileType::unknown() {
                    kind = entry.metadata()?.file_type();
                }
                let kind = match kind {
                    kind if kind.is_dir() => Kind::Folder,
                    kind if kind.is_file() => Kind::File,
                    _ => Kind::Special,
                };
                Ok((entry.file_name(), kind))
            });
            let entry = entry.as_ref().map(|(name, kind)| (name.as_os_str(), *kind));
            if !take(entry.map_err(|error| io::Error::from(error.kind()))) {
                break;
            }
        }
        Ok(None)
    }

    /// Opens the folder at `path`, which is absolute and this folder or below it.
    #[cfg(target_os = "linux")]
    pub(crate) fn open_folder(&self, path: &Path) -> io::Result<Dir> {
        self.handle().open_dir(self.below(path)?)
    }

    /// Returns what kind of thing is at `path`, without following it.
    pub(crate) fn file_type(&self, path: &Path) -> io::Result<FileType> {
        Ok(self.metadata(path)?.file_type())
    }

    /// Returns how large the file at `path` is.
    pub(crate) fn size_bytes(&self, path: &Path) -> io::Result<u64> {
        Ok(self.metadata(path)?.len())
    }

    /// Returns when the file at `path` was last changed.
    pub(crate) fn modified(&self, path: &Path) -> io::Result<SystemTime> {
        Ok(self.metadata(path)?.modified()?.into_std())
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.handle().symlink_metadata(self.below(path)?)
    }

    /// Returns `path` as it is shown: relative to the project, absolute elsewhere, with `/`, odd bytes replaced.
    pub(crate) fn show(&self, path: &Path) -> String {
        let shown = if self.is_project { self.relative(path).unwrap_or(path) } else { path };
        let shown = shown.to_string_lossy();
        if MAIN_SEPARATOR == '/' { shown.into_owned() } else { shown.replace(MAIN_SEPARATOR, "/") }
    }

    /// Returns `path` relative to the handle.
    pub(crate) fn below<'a>(&self, path: &'a Path) -> io::Result<&'a Path> {
        match self.relative(path) {
            Some(relative) if relative.as_os_str().is_empty() => Ok(Path::new(".")),
            Some(relative) => Ok(relative),
            None => Err(io::Error::new(io::ErrorKind::InvalidInput, "not in the folder")),
        }
    }

    /// Returns `path` relative to this folder; `None` when it is not below.
    pub(crate) fn relative<'a>(&self, path: &'a Path) -> Option<&'a Path> {
        // Paths of a walk begin with that of its folder, byte for byte; to compare them part by part takes ten times as
        // long, and a walk does so for each folder.
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStrExt;
            let rest = path.as_os_str().as_bytes().strip_prefix(self.path.as_os_str().as_bytes());
            match rest {
                Some([]) => return Some(Path::new("")),
                Some([b'/', rest @ ..]) if !rest.starts_with(b"/") => {
                    return Some(Path::new(OsStr::from_bytes(rest)));
                }
                Some(_) | None => {}
            }
        }
        path.strip_prefix(&self.path).ok()
    }
}

/// How many handles of folders walks may keep, of all that a process may have.
#[cfg(target_os = "linux")]
const OPENED_MAX: usize = 256;

/// How many are kept.
#[cfg(target_os = "linux")]
static OPENED: AtomicUsize = AtomicUsize::new(0);

/// A folder that a walk has read. To open what is in it by its name alone spares the system the way to it, a quarter of
/// what a search of small files takes.
#[cfg(target_os = "linux")]
pub(crate) struct Opened {
    handle: File,
}

#[cfg(target_os = "linux")]
impl Opened {
    fn new(handle: File) -> Option<Opened> {
        if OPENED.fetch_add(1, Relaxed) < OPENED_MAX {
            return Some(Opened { handle });
        }
        OPENED.fetch_sub(1, Relaxed);
        None
    }

    /// Opens the regular file `name` of this folder, as [`Folder::open_file`] does.
    pub(crate) fn open_file(&self, name: &OsStr) -> io::Result<(File, u64)> {
        regular(self.open(name, OFlags::NONBLOCK)?)
    }

    /// Opens the file `name` of this folder, of which its listing said that it is regular, and reads its beginning, until
    /// `buffer` is full or the file ends. Returns how much was read.
    ///
    /// A large search asks for the size and the kind of each file no more than it must. What is read at a place, as here,
    /// is neither a folder, a pipe, a socket nor a terminal: the system refuses that.
    pub(crate) fn read_start(&self, name: &OsStr, buffer: &mut [u8]) -> io::Result<(File, usize)> {
        let file = self.open(name, OFlags::NONBLOCK)?;
        let read_bytes = rustix::io::retry_on_intr(|| rustix::io::pread(&file, &mut *buffer, 0))?;
        Ok((file, read_bytes))
    }

    /// Returns how large the file `name` of this folder is.
    pub(crate) fn size_bytes(&self, name: &OsStr) -> io::Result<u64> {
        let stat = rustix::fs::statat(&self.handle, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(u64::try_from(stat.st_size).unwrap_or_default())
    }

    /// Reads the folder `name` of this folder, as [`Folder::read`] does.
    pub(crate) fn read(
        &self,
        name: &OsStr,
        take: impl FnMut(io::Result<(&OsStr, Kind)>) -> bool,
    ) -> io::Result<Option<Opened>> {
        read_entries(self.open(name, OFlags::DIRECTORY)?, take)
    }

    fn open(&self, name: &OsStr, flags: OFlags) -> io::Result<File> {
        if name.as_encoded_bytes().contains(&b'/') || name == ".." {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a name"));
        }
        let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(&self.handle, name, flags, Mode::empty())?.into())
    }
}

/// Reads the entries of an open folder until `take` returns false, as [`Folder::read`] says.
#[cfg(target_os = "linux")]
fn read_entries(
    handle: File,
    mut take: impl FnMut(io::Result<(&OsStr, Kind)>) -> bool,
) -> io::Result<Option<Opened>> {
    /// Large folders are read in few calls.
    const BUFFER_BYTES: usize = 32 * 1024;
    use rustix::fs::{AtFlags, FileType, RawDir, statat};
    use std::os::unix::ffi::OsStrExt;
    let mut buffer = [std::mem::MaybeUninit::uninit(); BUFFER_BYTES];
    let mut entries = RawDir::new(&handle, &mut buffer);
    while let Some(entry) = entries.next() {
        if entry.as_ref().is_ok_and(|entry| matches!(entry.file_name().to_bytes(), b"." | b"..")) {
            continue;
        }
        let entry = entry.as_ref().map_err(|error| io::Error::from(*error)).and_then(|entry| {
            let name = entry.file_name();
            let mut file_type = entry.file_type();
            // Not every file system says it.
            if file_type == FileType::Unknown {
                let stat = statat(&handle, name, AtFlags::SYMLINK_NOFOLLOW)?;
                file_type = FileType::from_raw_mode(stat.st_mode);
            }
            let kind = if file_type == FileType::Directory {
                Kind::Folder
            } else if file_type == FileType::RegularFile {
                Kind::File
            } else {
                Kind::Special
            };
            Ok((OsStr::from_bytes(name.to_bytes()), kind))
        });
        let is_last = entry.is_err();
        if !take(entry) || is_last {
            break;
        }
    }
    Ok(Opened::new(handle))
}

#[cfg(target_os = "linux")]
impl Drop for Opened {
    fn drop(&mut self) {
        OPENED.fetch_sub(1, Relaxed);
    }
}

/// Elsewhere files are opened by their paths.
#[cfg(not(target_os = "linux"))]
pub(crate) enum Opened {}

#[cfg(not(target_os = "linux"))]
impl Opened {
    pub(crate) fn open_file(&self, _name: &OsStr) -> io::Result<(File, u64)> {
        match *self {}
    }

    pub(crate) fn size_bytes(&self, _name: &OsStr) -> io::Result<u64> {
        match *self {}
    }

    pub(crate) fn read(
        &self,
        _name: &OsStr,
        _take: impl FnMut(io::Result<(&OsStr, Kind)>) -> bool,
    ) -> io::Result<Option<Opened>> {
        match *self {}
    }
}

/// Opens a file of ignore rules that lies outside every folder with a handle; see the module's documentation.
pub(crate) fn open_outside(path: &Path) -> io::Result<(File, u64)> {
    let mut options = std::fs::OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    }
    regular(options.open(path)?)
}

/// Refuses what is not a regular file. Returns its size too.
pub(crate) fn regular(file: File) -> io::Result<(File, u64)> {
    // Asks for less than the standard library does; a large search feels it.
    #[cfg(target_os = "linux")]
    let (is_file, size_bytes) = {
        let stat = rustix::fs::fstat(&file)?;
        let is_file = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file();
        (is_file, u64::try_from(stat.st_size).unwrap_or_default())
    };
    #[cfg(not(target_os = "linux"))]
    let (is_file, size_bytes) = file.metadata().map(|metadata| (metadata.is_file(), metadata.len()))?;
    if is_file {
        Ok((file, size_bytes))
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, mknodat};
    use std::fs::{create_dir, write};
    use std::os::unix::fs::symlink;

    /// Breaks if something that was put in the place of a file or folder after its listing is read, or followed.
    #[test]
    fn what_has_changed_since_the_listing_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let root = Root::open(folder.path()).unwrap();
        let project = root.project();
        let opened = project.read(project.path(), |_| true).unwrap().unwrap();
        let mut buffer = [0; 8];
        let mut start =
            |name: &str| opened.read_start(OsStr::new(name), &mut buffer).map(|(_, read_bytes)| read_bytes);

        write(at("file"), "text").unwrap();
        assert_eq!(start("file").unwrap(), 4);
        create_dir(at("folder")).unwrap();
        symlink("file", at("link")).unwrap();
        let mode = Mode::RUSR | Mode::WUSR;
        mknodat(CWD, at("pipe"), FileType::Fifo, mode, 0).unwrap();
        mknodat(CWD, at("socket"), FileType::Socket, mode, 0).unwrap();
        // So that there is something in it.
        let mut pipe = File::options().read(true).write(true).open(at("pipe")).unwrap();
        io::Write::write_all(&mut pipe, b"text").unwrap();
        for name in ["folder", "link", "pipe", "socket", "..", "folder/../file", "none"] {
            assert!(start(name).is_err(), "{name}");
        }
        let mut left = [0; 4];
        io::Read::read_exact(&mut pipe, &mut left).unwrap();
        assert_eq!(&left, b"text", "nothing was taken out of it");

        symlink("folder", at("way")).unwrap();
        assert!(opened.read(OsStr::new("folder"), |_| true).is_ok());
        for name in ["way", "..", "file", "pipe"] {
            assert!(opened.read(OsStr::new(name), |_| true).is_err(), "{name}");
        }
    }

    /// Breaks if a folder is not known by the path that it has, whatever way led to it.
    #[test]
    fn a_root_is_where_its_links_lead() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap().join("real");
        create_dir(&real).unwrap();
        symlink("real", folder.path().join("link")).unwrap();
        write(folder.path().join("file"), "").unwrap();
        for way in ["real", "real/", "./real/.", "link", "link/../link/.", "real/../real", "link//"] {
            assert_eq!(Root::open(&folder.path().join(way)).unwrap().path(), real, "{way}");
        }
        for way in ["none", "file", "link/none"] {
            let error = Root::open(&folder.path().join(way)).unwrap_err();
            assert_eq!(error.code(), "SEARCH_BAD_ROOT", "{way}");
        }
    }
}

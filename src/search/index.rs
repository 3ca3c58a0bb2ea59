//! An index of a project, for searches that are repeated.
//!
//! It knows which files a search sees, and a [`Signature`] of each, so that a search reads only files that may match. A
//! file without a signature is searched like any other: the index can be in the way of speed, never of a result.
//!
//! **It misses no change.** Every folder is watched before it is read, by inotify. The kernel queues an event in the same
//! system call that makes the change, so a change made before a search started is in the queue when the search drains
//! it, which it does first of all. What the events name loses its signature; folders whose entries changed are read
//! again. A signature is stored only if no event for its file came between the moment it was asked for and now.
//! When the queue overflowed, or too much changed at once, the index is dropped, and searches do without it until it is
//! built anew. Rules that lie where nothing is watched (above the project, in `.git/info/exclude`, in the user's
//! settings) are compared at each search. Files with several names get no signature, and lose it with a second name in
//! the project, since they may change by a name that is not watched.
//!
//! **What it cannot see**, and so is not used for: file systems that others change behind the kernel's back (network,
//! FUSE), trees that span file systems, and options by which a search sees what is ignored or hidden. A change through a
//! shared memory map is seen when the map is closed. A file that, after it was signed, gets another name outside the
//! project or in an ignored folder, and is changed by that name, is not seen to change until something happens to it by
//! the first.
//!
//! It is built in the background, after [`INDEX_SEARCHES_MIN`] searches of the whole project over [`INDEX_FILES_MIN`]
//! files or more, and takes [`INDEX_BYTES_MAX`] at most.

use crate::above::is_local;
use crate::error::SearchError;
use crate::limit::{
    INDEX_BYTES_MAX, INDEX_FILES_MIN, INDEX_SEARCHES_MIN, INDEXES_MAX, SYNTAX_FILE_BYTES_MAX, TREE_DEPTH_MAX,
};
use crate::root::{Folder, Kind, Root};
use crate::rule::{Room, RuleFiles, Rules, fingerprint_exclude};
use crate::signature::{Signature, Signer};
use cap_std::fs::FileType;
use orchestrator_worker::{Job, Lane, Pool, Scope, Ticket};
use parking_lot::Mutex;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How many folders a search reads again for the index before it does without it.
const FOLDERS_READ_MAX: usize = 256;
/// How many repositories may lie in an indexed project; their `info/exclude` is read at each search.
const REPOSITORIES_MAX: usize = 32;
/// How many files are signed between two looks at the events.
const BATCH_FILES: usize = 16;
/// How long building may take.
const BUILD_TIME_MAX: Duration = Duration::from_secs(600);
/// The memory of a file's or a folder's entry beside its name and signature, roughly.
const ENTRY_BYTES: usize = 96;

/// The folders that searches see, by path relative to the project.
pub(crate) type Folders = HashMap<Arc<Path>, Arc<Indexed>>;

/// A folder as the index knows it.
#[derive(Clone)]
pub(crate) struct Indexed {
    /// Sorted by name.
    pub(crate) files: Vec<IndexedFile>,
    /// Names of the folders in it.
    pub(crate) folders: Vec<OsString>,
    /// Links, devices and the like.
    pub(crate) special: u64,
    /// Entries that could not be read, or the folder itself.
    pub(crate) unreadable: u64,
    rules: Arc<Rules>,
    watch: Option<i32>,
}

/// A file as the index knows it.
#[derive(Clone)]
pub(crate) struct IndexedFile {
    pub(crate) name: OsString,
    /// `None` when the file has to be searched.
    pub(crate) signature: Option<Arc<Signature>>,
    inode: u64,
    /// Changes with each event.
    version: u64,
    /// Whether it waits for a signature.
    is_queued: bool,
}

/// Why an index cannot be used.
enum Useless {
    /// Too much has changed.
    Stale,
    /// This project cannot have one.
    Refused,
}

enum State {
    /// There is none; the number of searches that would have used it.
    Absent(u32),
    /// Its folders are being read.
    Building(Box<Live>, Vec<Arc<Path>>),
    Ready(Box<Live>),
    Refused,
}

/// The index of one project.
struct Index {
    folder: Folder,
    /// Device and inode of the project's folder.
    identity: (u64, u64),
    state: Mutex<State>,
}

/// Versions of files count on through all indexes, so that a signature asked for by one is never taken for another's.
static VERSION: AtomicU64 = AtomicU64::new(0);

fn next_version() -> u64 {
    VERSION.fetch_add(1, Ordering::Relaxed) + 1
}

/// The indexes of the process, the one used last at the end. Sessions of one process share them.
static INDEXES: Mutex<Vec<Arc<Index>>> = Mutex::new(Vec::new());

/// Returns what the index of `folder` knows, after all changes that were made before this call; `None` when there is
/// none that could be used.
pub(crate) fn find(folder: &Folder) -> Option<Arc<Folders>> {
    let index = of(folder, false)?;
    let mut state = index.state.lock();
    let State::Ready(live) = &mut *state else { return None };
    match live.refresh() {
        Ok(()) => {
            let folders = Arc::clone(&live.folders);
            let signs = !live.unsigned.is_empty() && !live.is_signing;
            live.is_signing |= signs;
            drop(state);
            if signs {
                sign(Pool::global(), &index, |_is_ready| {});
            }
            Some(folders)
        }
        Err(useless) => {
            index.lose(&mut state, &useless);
            None
        }
    }
}

/// Returns whether there is an index of `folder`, ready or not.
pub(crate) fn is_known(folder: &Folder) -> bool {
    of(folder, false).is_some()
}

/// Counts a search that saw `files_count` files without an index; builds one when it pays.
pub(crate) fn note(folder: &Folder, files_count: u64) {
    if files_count < INDEX_FILES_MIN {
        return;
    }
    let Some(index) = of(folder, true) else { return };
    {
        let mut state = index.state.lock();
        let State::Absent(searches_count) = &mut *state else { return };
        *searches_count += 1;
        if *searches_count < INDEX_SEARCHES_MIN {
            return;
        }
    }
    build(Pool::global(), &index, |_is_ready| {});
}

/// Builds the index of a project, unless there is one. `on_end` is told whether it can be used now, unless the pool is shut
/// down meanwhile; it is not when another call builds it.
///
/// # Errors
///
/// [`SearchError::Refused`] when the pool takes no job; `on_end` is dropped uncalled then.
pub fn warm(
    pool: &'static Pool,
    root: &Root,
    on_end: impl FnOnce(bool) + Send + 'static,
) -> Result<Ticket, SearchError> {
    let folder = root.project().clone();
    let job = Job::new(Lane::Background, BUILD_TIME_MAX, |_| {});
    let ticket = pool.submit(job, move |_outcome| {
        if find(&folder).is_some() {
            on_end(true);
        } else if let Some(index) = of(&folder, true) {
            build(pool, &index, on_end);
        } else {
            on_end(false);
        }
    })?;
    Ok(ticket)
}

/// Finds the index of a folder; with `is_wanted` makes an empty one if need be.
fn of(folder: &Folder, is_wanted: bool) -> Option<Arc<Index>> {
    let metadata = folder.handle().dir_metadata().ok()?;
    let identity = (cap_std::fs::MetadataExt::dev(&metadata), cap_std::fs::MetadataExt::ino(&metadata));
    let mut indexes = INDEXES.lock();
    // A folder that was replaced by another of the same name has no index.
    indexes.retain(|index| index.folder.path() != folder.path() || index.identity == identity);
    let place = indexes.iter().position(|index| index.folder.path() == folder.path());
    let index = match place {
        Some(place) => indexes.remove(place),
        None if is_wanted => {
            let state = Mutex::new(State::Absent(0));
            Arc::new(Index { folder: folder.clone(), identity, state })
        }
        None => return None,
    };
    if indexes.len() >= INDEXES_MAX {
        indexes.remove(0);
    }
    indexes.push(Arc::clone(&index));
    Some(index)
}

impl Index {
    fn lose(&self, state: &mut State, useless: &Useless) {
        *state = match useless {
            Useless::Stale => State::Absent(0),
            Useless::Refused => State::Refused,
        };
    }
}

/// Starts a job that reads all folders, then signs all files.
fn build(pool: &'static Pool, index: &Arc<Index>, on_end: impl FnOnce(bool) + Send + 'static) {
    {
        let mut state = index.state.lock();
        match &*state {
            State::Absent(_) => {}
            State::Building(..) | State::Ready(_) | State::Refused => {
                drop(state);
                on_end(false);
                return;
            }
        }
        *state = match Live::start(&index.folder) {
            Ok(live) => State::Building(Box::new(live), vec![Path::new("").into()]),
            Err(_) => State::Refused,
        };
    }
    let inner = Arc::clone(index);
    let job = Job::new(Lane::Background, BUILD_TIME_MAX, move |scope| read_folders(&inner, scope));
    let inner = Arc::clone(index);
    let submitted = pool.submit(job, move |outcome| {
        let mut state = inner.state.lock();
        let is_read = outcome.is_ok() && matches!(&*state, State::Building(_, pending) if pending.is_empty());
        *state = match std::mem::replace(&mut *state, State::Absent(0)) {
            State::Building(mut live, _) if is_read => {
                live.is_signing = true;
                State::Ready(live)
            }
            // A build that failed or took too long is not tried again at once.
            State::Building(..) | State::Absent(_) => State::Absent(0),
            other @ (State::Ready(_) | State::Refused) => other,
        };
        drop(state);
        if is_read {
            sign(pool, &inner, on_end);
        } else {
            on_end(false);
        }
    });
    if submitted.is_err() {
        *index.state.lock() = State::Absent(0);
    }
}

/// Reads folders until there are none to be read, giving way to others.
fn read_folders(index: &Arc<Index>, scope: &Scope<'_>) {
    while !scope.is_stopped() {
        {
            let mut state = index.state.lock();
            let State::Building(live, pending) = &mut *state else { return };
            let Some(path) = pending.pop() else { return };
            match live.read(&path, None) {
                Ok(found) => pending.extend(found),
                Err(useless) => {
                    index.lose(&mut state, &useless);
                    return;
                }
            }
        }
        if scope.is_turn_over() {
            let index = Arc::clone(index);
            scope.spawn(move |scope| read_folders(&index, scope));
            return;
        }
    }
}

/// Starts a job that signs what has no signature. The caller has set `is_signing`.
fn sign(pool: &Pool, index: &Arc<Index>, on_end: impl FnOnce(bool) + Send + 'static) {
    let inner = Arc::clone(index);
    let mut job = Job::new(Lane::Background, BUILD_TIME_MAX, move |scope| sign_files(&inner, scope));
    for _ in 1..std::thread::available_parallelism().map_or(1, usize::from) {
        let inner = Arc::clone(index);
        job = job.with_unit(move |scope| sign_files(&inner, scope));
    }
    let inner = Arc::clone(index);
    let submitted = pool.submit(job, move |_outcome| {
        let is_ready = {
            let mut state = inner.state.lock();
            if let State::Ready(live) = &mut *state {
                live.is_signing = false;
            }
            matches!(&*state, State::Ready(_))
        };
        on_end(is_ready);
    });
    if submitted.is_err()
        && let State::Ready(live) = &mut *index.state.lock()
    {
        live.is_signing = false;
    }
}

/// Signs files until all are, giving way to others.
fn sign_files(index: &Arc<Index>, scope: &Scope<'_>) {
    let mut signer = Signer::new();
    let mut signed: Vec<(Unsigned, Option<Signature>)> = Vec::new();
    while !scope.is_stopped() {
        let batch = {
            let mut state = index.state.lock();
            let State::Ready(live) = &mut *state else { return };
            if let Err(useless) = live.store(std::mem::take(&mut signed)) {
                index.lose(&mut state, &useless);
                return;
            }
            live.next_unsigned()
        };
        let Some(batch) = batch else { return };
        for unsigned in batch {
            let path = below(&index.folder, &unsigned.folder).join(&unsigned.name);
            let signature = index.folder.open_file(&path).ok().and_then(|(file, size_bytes)| {
                let names_count = file.metadata().ok()?.nlink();
                if size_bytes > SYNTAX_FILE_BYTES_MAX || names_count != 1 {
                    return None;
                }
                signer.sign(file).ok().flatten()
            });
            signed.push((unsigned, signature));
        }
        if scope.is_turn_over() {
            let mut state = index.state.lock();
            let State::Ready(live) = &mut *state else { return };
            if let Err(useless) = live.store(std::mem::take(&mut signed)) {
                index.lose(&mut state, &useless);
                return;
            }
            drop(state);
            let index = Arc::clone(index);
            scope.spawn(move |scope| sign_files(&index, scope));
            return;
        }
    }
}

/// A file that wants a signature, and its version when that was asked for.
struct Unsigned {
    folder: Arc<Path>,
    name: OsString,
    version: u64,
}

/// What has changed in a folder.
#[derive(Default)]
struct Changes {
    /// Entries that came, went or were replaced.
    names: HashSet<OsString>,
    /// Whether the rules that hold in it, and below, may be others.
    rules: bool,
}

/// An index in use.
struct Live {
    folder: Folder,
    device: u64,
    inotify: OwnedFd,
    folders: Arc<Folders>,
    /// The paths of the folders that a watch is about; several for a folder that was moved between two looks.
    watches: HashMap<i32, Vec<Arc<Path>>>,
    /// The rules from above the project.
    above: Arc<Rules>,
    repositories: Vec<(PathBuf, u64)>,
    changes: HashMap<Arc<Path>, Changes>,
    /// Files that are queued for a signature, or have gone.
    unsigned: Vec<(Arc<Path>, OsString)>,
    is_signing: bool,
    size_bytes: usize,
    /// How many names in the index each file has. With a new one its changes may be told of by another name.
    inodes: HashMap<u64, u32>,
    /// Of files with rules. Should one of them get a second name, the index is of no use.
    rule_inodes: HashSet<u64>,
}

/// An entry of a folder, with its inode.
type Entry = (OsString, FileType, u64);

impl Live {
    fn start(folder: &Folder) -> Result<Live, Useless> {
        let refused = |_error| Useless::Refused;
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).map_err(refused)?;
        let handle = folder.open_folder(folder.path()).map_err(|_error| Useless::Refused)?;
        let kind = rustix::fs::fstatfs(handle.as_fd()).map_err(refused)?.f_type;
        if !is_local(kind) {
            return Err(Useless::Refused);
        }
        let device = rustix::fs::fstat(handle.as_fd()).map_err(refused)?.st_dev;
        let above = Rules::above(folder, folder.path());
        Ok(Live {
            folder: folder.clone(),
            device,
            inotify,
            folders: Arc::default(),
            watches: HashMap::new(),
            above,
            repositories: Vec::new(),
            changes: HashMap::new(),
            unsigned: Vec::new(),
            is_signing: false,
            size_bytes: 0,
            inodes: HashMap::new(),
            rule_inodes: HashSet::new(),
        })
    }

    /// Brings the index up to all changes made before this call.
    fn refresh(&mut self) -> Result<(), Useless> {
        self.drain()?;
        let above = Rules::above(&self.folder, self.folder.path());
        let is_same = (Arc::ptr_eq(&above, &self.above) || above.fingerprint() == self.above.fingerprint())
            && self.repositories.iter().all(|(path, seen)| fingerprint_exclude(&self.folder, path) == *seen);
        if !is_same {
            return Err(Useless::Stale);
        }
        // From the top down: the rules of a folder come from above.
        let mut changed: Vec<(Arc<Path>, Changes)> = self.changes.drain().collect();
        changed.sort_by(|(a, _), (b, _)| b.cmp(a));
        let mut read_count = 0;
        while let Some((path, changes)) = changed.pop() {
            // Unless it went, or was read already, with a folder above it.
            if !self.folders.contains_key(&path) {
                continue;
            }
            let mut pending = self.read(&path, Some(&changes))?;
            read_count += 1;
            while let Some(path) = pending.pop() {
                pending.extend(self.read(&path, None)?);
                read_count += 1;
                if read_count > FOLDERS_READ_MAX {
                    return Err(Useless::Stale);
                }
            }
        }
        Ok(())
    }

    /// Takes all events from the queue. Files that they name lose their signatures.
    fn drain(&mut self) -> Result<(), Useless> {
        let mut buffer = [MaybeUninit::<u8>::uninit(); 16 * 1024];
        let inotify = self.inotify.try_clone().map_err(|_error| Useless::Stale)?;
        let mut reader = Reader::new(&inotify, &mut buffer);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(_) => return Err(Useless::Stale),
            };
            let kinds = event.events();
            if kinds.contains(ReadFlags::QUEUE_OVERFLOW) {
                return Err(Useless::Stale);
            }
            let Some(paths) = self.watches.get(&event.wd()) else { continue };
            let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
            for path in paths.clone() {
                match name {
                    Some(name) => self.note(path, name, kinds),
                    // The folder itself went, or may be read by others now; it is looked for from above.
                    None => match (path.parent(), path.file_name()) {
                        (Some(parent), Some(name)) => {
                            self.changes.entry(parent.into()).or_default().names.insert(name.to_owned());
                        }
                        (None, _) | (_, None) => return Err(Useless::Stale),
                    },
                }
            }
        }
    }

    /// Takes note of an event about an entry.
    fn note(&mut self, path: Arc<Path>, name: &OsStr, kinds: ReadFlags) {
        let is_rules = RuleFiles::has(name);
        let is_written = !kinds.intersects(
            ReadFlags::CREATE
                | ReadFlags::DELETE
                | ReadFlags::MOVED_FROM
                | ReadFlags::MOVED_TO
                | ReadFlags::ISDIR,
        );
        if let Some(folder) = Arc::make_mut(&mut self.folders).get_mut(&path)
            && let Ok(place) = folder.files.binary_search_by(|file| file.name.as_os_str().cmp(name))
        {
            let file = &mut Arc::make_mut(folder).files[place];
            if let Some(signature) = file.signature.take() {
                self.size_bytes -= signature.size_bytes();
            }
            file.version = next_version();
            if !std::mem::replace(&mut file.is_queued, true) {
                self.unsigned.push((Arc::clone(&path), name.to_owned()));
            }
        }
        if is_rules || !is_written {
            let changes = self.changes.entry(path).or_default();
            changes.rules |= is_rules;
            changes.names.insert(name.to_owned());
        }
    }

    /// Reads one folder, keeping what is known of entries that did not change. Returns the folders in it that have to be
    /// read too.
    fn read(&mut self, path: &Arc<Path>, changes: Option<&Changes>) -> Result<Vec<Arc<Path>>, Useless> {
        if path.components().count() > TREE_DEPTH_MAX {
            return Err(Useless::Refused);
        }
        let above = match path.parent() {
            Some(parent) => match self.folders.get(parent) {
                Some(parent) => Arc::clone(&parent.rules),
                None => return Ok(Vec::new()),
            },
            None => Arc::clone(&self.above),
        };
        let absolute = below(&self.folder, path);
        let old = self.folders.get(path).cloned();
        let mut indexed = Indexed {
            files: Vec::new(),
            folders: Vec::new(),
            special: 0,
            unreadable: 0,
            watch: old.as_ref().and_then(|old| old.watch),
            rules: above,
        };
        if let Some(entries) = self.open(path, &absolute, &mut indexed)? {
            self.take_entries(path, &absolute, entries, old.as_deref(), changes, &mut indexed)?;
        } else {
            indexed.unreadable += 1;
        }
        let is_kept = |name: &OsString| {
            old.as_ref().is_some_and(|old| old.folders.contains(name))
                && changes.is_some_and(|changes| !changes.rules && !changes.names.contains(name))
        };
        for gone in old.iter().flat_map(|old| &old.folders) {
            if !is_kept(gone) || !indexed.folders.contains(gone) {
                self.remove(&path.join(gone));
            }
        }
        let found = indexed.folders.iter().filter(|name| !is_kept(name)).map(|name| path.join(name).into());
        let found = found.collect();
        self.size_bytes -= old.as_deref().map_or(0, size_of);
        self.size_bytes += size_of(&indexed);
        Arc::make_mut(&mut self.folders).insert(Arc::clone(path), Arc::new(indexed));
        if self.size_bytes > INDEX_BYTES_MAX { Err(Useless::Refused) } else { Ok(found) }
    }

    /// Watches a folder, then reads its entries; `None` when that is not allowed or the folder has gone.
    fn open(
        &mut self,
        path: &Arc<Path>,
        absolute: &Path,
        indexed: &mut Indexed,
    ) -> Result<Option<Vec<Entry>>, Useless> {
        let Ok(handle) = self.folder.open_folder(absolute) else { return Ok(None) };
        match rustix::fs::fstat(handle.as_fd()) {
            Ok(stat) if stat.st_dev == self.device => {}
            Ok(_) | Err(_) => return Err(Useless::Refused),
        }
        let flags = WatchFlags::MODIFY
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::ATTRIB
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        // By way of the handle, so that it is this very folder.
        let watched = format!("/proc/self/fd/{}", handle.as_fd().as_raw_fd());
        let watch = match inotify::add_watch(&self.inotify, watched, flags) {
            Ok(watch) => watch,
            Err(Errno::ACCESS) => return Ok(None),
            // There are no more watches, or no `/proc`.
            Err(_) => return Err(Useless::Refused),
        };
        indexed.watch = Some(watch);
        let paths = self.watches.entry(watch).or_default();
        if !paths.contains(path) {
            paths.push(Arc::clone(path));
        }
        let Ok(entries) = handle.entries() else { return Ok(None) };
        let mut found = Vec::new();
        for entry in entries {
            match entry.and_then(|entry| Ok((entry.file_name(), entry.file_type()?, entry.ino()))) {
                Ok(entry) => found.push(entry),
                Err(_unreadable) => indexed.unreadable += 1,
            }
        }
        found.sort_by(|(a, ..), (b, ..)| a.cmp(b));
        Ok(Some(found))
    }

    /// Sorts entries into those that a search sees and others, as [`crate::walk::Filter`] does without options.
    fn take_entries(
        &mut self,
        path: &Arc<Path>,
        absolute: &Path,
        entries: Vec<Entry>,
        old: Option<&Indexed>,
        changes: Option<&Changes>,
        indexed: &mut Indexed,
    ) -> Result<(), Useless> {
        let mut rule_files = RuleFiles::default();
        for (name, file_type, inode) in &entries {
            rule_files.note(name, if file_type.is_dir() { Kind::Folder } else { Kind::File });
            let names_count =
                || Some(self.folder.open_file(&absolute.join(name)).ok()?.0.metadata().ok()?.nlink());
            if !file_type.is_file() {
            } else if !RuleFiles::has(name) {
                if self.rule_inodes.contains(inode) {
                    return Err(Useless::Stale);
                }
            } else if names_count().is_some_and(|count| count != 1) {
                return Err(Useless::Stale);
            } else {
                self.rule_inodes.insert(*inode);
            }
        }
        self.repositories.retain(|(repository, _)| repository != absolute);
        if rule_files.has_git() {
            if self.repositories.len() == REPOSITORIES_MAX {
                return Err(Useless::Refused);
            }
            let fingerprint = fingerprint_exclude(&self.folder, absolute);
            self.repositories.push((absolute.to_owned(), fingerprint));
        }
        let rules = match old {
            Some(old) if changes.is_some_and(|changes| !changes.rules) => Arc::clone(&old.rules),
            Some(_) | None => {
                indexed.rules.with_folder(&self.folder, absolute, rule_files, &mut Room::unlimited())
            }
        };
        for file in old.iter().flat_map(|old| &old.files) {
            let place = entries.binary_search_by(|(name, ..)| name.cmp(&file.name));
            if !place.is_ok_and(|place| entries[place].2 == file.inode) {
                self.forget(file.inode);
            }
        }
        for (name, file_type, inode) in entries {
            let is_hidden = name.as_bytes().first() == Some(&b'.');
            let ruled = rules.matched(absolute, &name, file_type.is_dir());
            if name == ".git" || ruled.is_ignore() || is_hidden && !ruled.is_whitelist() {
                if self.inodes.contains_key(&inode) {
                    self.unsign(inode);
                }
            } else if file_type.is_dir() {
                indexed.folders.push(name);
            } else if !file_type.is_file() {
                indexed.special += 1;
            } else {
                let known = old.and_then(|old| {
                    let place = old.files.binary_search_by(|file| file.name.cmp(&name)).ok()?;
                    Some(old.files[place].clone()).filter(|file| file.inode == inode)
                });
                indexed.files.push(known.unwrap_or_else(|| {
                    let names_count = self.inodes.entry(inode).or_default();
                    *names_count += 1;
                    if *names_count > 1 {
                        self.unsign(inode);
                    }
                    self.unsigned.push((Arc::clone(path), name.clone()));
                    IndexedFile { name, signature: None, inode, version: next_version(), is_queued: true }
                }));
            }
        }
        indexed.rules = rules;
        Ok(())
    }

    /// Forgets a folder and all below it.
    fn remove(&mut self, path: &Path) {
        let Some((path, indexed)) = Arc::make_mut(&mut self.folders).remove_entry(path) else { return };
        self.size_bytes -= size_of(&indexed);
        let absolute = below(&self.folder, &path);
        self.repositories.retain(|(repository, _)| *repository != absolute);
        self.changes.remove(&path);
        for file in &indexed.files {
            self.forget(file.inode);
        }
        if let Some(watch) = indexed.watch
            && let Some(paths) = self.watches.get_mut(&watch)
        {
            paths.retain(|watched| *watched != path);
            if paths.is_empty() {
                self.watches.remove(&watch);
                // A folder that was deleted has taken its watch with it.
                let _gone = inotify::remove_watch(&self.inotify, watch).is_err();
            }
        }
        for name in &indexed.folders {
            self.remove(&path.join(name));
        }
    }

    /// Takes note that a name of a file has gone.
    fn forget(&mut self, inode: u64) {
        if let Some(names_count) = self.inodes.get_mut(&inode) {
            *names_count -= 1;
            if *names_count == 0 {
                self.inodes.remove(&inode);
            }
        }
    }

    /// Takes the signatures from all names of a file.
    fn unsign(&mut self, inode: u64) {
        let is_name = |file: &IndexedFile| file.inode == inode && file.signature.is_some();
        for (path, indexed) in Arc::make_mut(&mut self.folders) {
            if !indexed.files.iter().any(is_name) {
                continue;
            }
            for file in Arc::make_mut(indexed).files.iter_mut().filter(|file| is_name(file)) {
                if let Some(signature) = file.signature.take() {
                    self.size_bytes -= signature.size_bytes();
                }
                file.version = next_version();
                if !std::mem::replace(&mut file.is_queued, true) {
                    self.unsigned.push((Arc::clone(path), file.name.clone()));
                }
            }
        }
    }

    /// Takes some files that want a signature.
    fn next_unsigned(&mut self) -> Option<Vec<Unsigned>> {
        if self.unsigned.is_empty() {
            return None;
        }
        let start = self.unsigned.len().saturating_sub(BATCH_FILES);
        let mut batch = Vec::new();
        for (folder, name) in self.unsigned.split_off(start) {
            if let Some(indexed) = Arc::make_mut(&mut self.folders).get_mut(&folder)
                && let Ok(place) = indexed.files.binary_search_by(|file| file.name.cmp(&name))
            {
                let file = &mut Arc::make_mut(indexed).files[place];
                file.is_queued = false;
                batch.push(Unsigned { version: file.version, folder, name });
            }
        }
        Some(batch)
    }

    /// Keeps signatures of files that have not changed since they were asked for.
    fn store(&mut self, signed: Vec<(Unsigned, Option<Signature>)>) -> Result<(), Useless> {
        if signed.is_empty() {
            return Ok(());
        }
        // What changed while the file was read is in the queue by now, and gives the file another version.
        self.drain()?;
        let folders = Arc::make_mut(&mut self.folders);
        for (Unsigned { folder, name, version }, signature) in signed {
            let Some(signature) = signature else { continue };
            let Some(indexed) = folders.get_mut(&folder) else { continue };
            let Ok(place) = indexed.files.binary_search_by(|file| file.name.cmp(&name)) else { continue };
            if indexed.files[place].version == version {
                self.size_bytes += signature.size_bytes();
                Arc::make_mut(indexed).files[place].signature = Some(Arc::new(signature));
            }
        }
        if self.size_bytes > INDEX_BYTES_MAX { Err(Useless::Refused) } else { Ok(()) }
    }
}

/// Returns the absolute path of a folder of the index.
fn below(folder: &Folder, path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { folder.path().to_owned() } else { folder.path().join(path) }
}

/// Returns the memory that a folder's entry takes, roughly.
fn size_of(indexed: &Indexed) -> usize {
    let of_file = |file: &IndexedFile| {
        let signature_bytes = file.signature.as_ref().map_or(0, |signature| signature.size_bytes());
        ENTRY_BYTES + file.name.len() + signature_bytes
    };
    let files: usize = indexed.files.iter().map(of_file).sum();
    let folders: usize = indexed.folders.iter().map(|name| ENTRY_BYTES + name.len()).sum();
    2 * ENTRY_BYTES + files + folders
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Answer, Query, run};
    use serde_json::json;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::sync::mpsc::channel;
    use tempfile::TempDir;

    const WORDS: [&str; 6] = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot"];

    /// A generator whose failures can be repeated (Marsaglia, "Xorshift RNGs", 2003).
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 % bound as u64).unwrap()
        }

        fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
            if items.is_empty() { None } else { Some(&items[self.below(items.len())]) }
        }

        fn text(&mut self) -> String {
            let lines = (0..=self.below(5))
                .map(|_| format!("{} = {}{}\n", WORDS[self.below(6)], WORDS[self.below(6)], self.below(50)));
            lines.collect()
        }
    }

    fn project() -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join(".git/info")).unwrap();
        let mut random = Random(7);
        for index in 0..60 {
            let kind = if index % 5 == 0 { "js" } else { "txt" };
            let path = folder.path().join(format!("d{}/e{}/f{index}.{kind}", index % 4, index % 3));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, random.text()).unwrap();
        }
        folder
    }

    fn warmed(root: &Root) -> bool {
        let (sender, receiver) = channel();
        warm(Pool::global(), root, move |is_ready| sender.send(is_ready).unwrap()).unwrap();
        receiver.recv_timeout(Duration::from_secs(60)).unwrap()
    }

    fn search(root: &Root, tool: &str, options: &serde_json::Value) -> Answer {
        run(Pool::global(), root, Query::parse(tool, &options.to_string()).unwrap()).unwrap()
    }

    /// All files and folders below, but those of git.
    fn entries(folder: &Path, files: &mut Vec<PathBuf>, folders: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() && entry.file_name() != ".git" {
                entries(&entry.path(), files, folders);
                folders.push(entry.path());
            } else if kind.is_file() && entry.file_name() != ".gitignore" {
                files.push(entry.path());
            }
        }
    }

    /// Makes one change somewhere. What fails because of an earlier change is no change.
    fn change(project: &Path, random: &mut Random) {
        let (mut files, mut folders) = (Vec::new(), vec![project.to_owned()]);
        entries(project, &mut files, &mut folders);
        let (file, other) = (random.pick(&files).cloned(), random.pick(&files).cloned());
        let folder = random.pick(&folders).cloned().unwrap();
        let (Some(file), Some(other)) = (file, other) else { return };
        let new = folder.join(format!("n{}", random.below(30)));
        let text = random.text();
        let _may_fail = match random.below(18) {
            0..=2 => fs::write(&file, text),
            3 => fs::OpenOptions::new()
                .append(true)
                .open(&file)
                .and_then(|mut opened| std::io::Write::write_all(&mut opened, text.as_bytes())),
            4 => fs::write(&new, text),
            5 => fs::remove_file(&file),
            6 => fs::rename(&file, &other),
            7 => fs::rename(&file, &new),
            8 => fs::create_dir_all(new.join("x/y")).and_then(|()| fs::write(new.join("x/y/z.txt"), text)),
            9 if folder != project => fs::rename(&folder, project.join(format!("m{}", random.below(5)))),
            10 if folder != project && random.below(3) == 0 => fs::remove_dir_all(&folder),
            // A folder goes, and another of its name takes its place.
            11 if folder != project => fs::remove_dir_all(&folder)
                .and_then(|()| fs::create_dir(&folder))
                .and_then(|()| fs::write(folder.join("again.txt"), text)),
            12 => {
                let rules = ["n1*\n", "e0/\n", "*.txt\n!f1*\n", "", "m*\n"];
                fs::write(folder.join(".gitignore"), random.pick(&rules).unwrap())
            }
            13 => fs::write(project.join(".git/info/exclude"), random.pick(&["f2*\n", ""]).unwrap()),
            14 => symlink(&file, &new),
            // Changed by another name.
            15 => fs::hard_link(&file, &new).and_then(|()| fs::write(&new, text)),
            16 => fs::write(&file, [text.as_bytes(), b"\0"].concat()),
            17 => fs::set_permissions(&file, fs::Permissions::from_mode(0o600)),
            _ => Ok(()),
        }
        .is_err();
    }

    /// Breaks if a search with the index misses a change, or differs from one without in any other way.
    #[test]
    fn searches_with_and_without_the_index_agree_after_every_change() {
        let folder = project();
        let plain = Root::open(folder.path()).unwrap();
        let indexed = plain.clone().with_index();
        let (mut random, mut used_count) = (Random(0x9e37_79b9_7f4a_7c15), 0);
        for round in 0..600 {
            if find(plain.project()).is_none() {
                warmed(&indexed);
            }
            let seed = random.0;
            for _ in 0..=random.below(4) {
                change(folder.path(), &mut random);
            }
            let word = WORDS[random.below(6)];
            let pattern = format!("{word}{}", random.below(50));
            for (tool, options) in [
                ("grep_search", json!({"pattern": pattern})),
                ("grep_search", json!({"pattern": format!("^{word} = (echo|delta)1"), "ignoreCase": true})),
                ("grep_search", json!({"pattern": word, "output": "counts", "globs": ["!n*"], "path": "."})),
                ("mgrep", json!({"patterns": [pattern, "nowhere"]})),
                ("ast_search", json!({"pattern": format!("$A = {pattern}"), "language": "js"})),
                ("glob_search", json!({"pattern": "**/*"})),
            ] {
                let with = search(&indexed, tool, &options);
                let without = search(&plain, tool, &options);
                assert_eq!(with, without, "round {round}, seed {seed}: {tool} {options}");
            }
            used_count += usize::from(find(plain.project()).is_some());
        }
        assert!(used_count > 400, "the index was in use after {used_count} of 600 rounds");
    }

    /// Breaks if a change is missed that was made before the search began, while others go on and signatures are made.
    #[test]
    fn what_was_written_before_a_search_began_is_found() {
        let folder = project();
        let root = Root::open(folder.path()).unwrap().with_index();
        assert!(warmed(&root));
        let written = Arc::new(AtomicU64::new(0));
        let (inner, path) = (Arc::clone(&written), folder.path().to_owned());
        let writer = std::thread::spawn(move || {
            let mut random = Random(3);
            for count in 1..=3_000 {
                let place = path.join(format!("d{}/e{}", random.below(4), random.below(3)));
                fs::create_dir_all(&place).unwrap();
                let file = place.join(format!("w{}.txt", count % 40));
                fs::write(file, format!("written {count} end\n")).unwrap();
                fs::write(path.join("latest.txt"), format!("latest {count} end\n")).unwrap();
                inner.store(count, Ordering::SeqCst);
            }
        });
        let mut searches_count = 0;
        while !writer.is_finished() {
            let before = written.load(Ordering::SeqCst);
            let answer = search(&root, "grep_search", &json!({"pattern": "latest [0-9]+ end"}));
            let Answer::Grep(answer) = answer else { unreachable!("a search for text") };
            // Caught in the middle of a write the file is empty; then it is being changed right now.
            if let Some(found) = answer.matches.first() {
                let number: u64 = found.text.split(' ').nth(1).unwrap().parse().unwrap();
                assert!(number >= before, "found {number}, but {before} was written before");
            }
            searches_count += 1;
            if find(root.project()).is_none() {
                warmed(&root);
            }
        }
        writer.join().unwrap();
        assert!(searches_count > 20);
        let last = search(&root, "grep_search", &json!({"pattern": "latest 3000 end"}));
        assert!(last.to_text().starts_with("latest.txt:1: latest 3000 end"), "{}", last.to_text());
    }

    /// Breaks if a file is read although its signature rules it out, which is what the index is for.
    #[test]
    fn files_that_cannot_match_are_not_read() {
        let folder = project();
        let root = Root::open(folder.path()).unwrap().with_index();
        assert!(warmed(&root));
        let folders = find(root.project()).unwrap();
        let signed = folders.values().flat_map(|folder| &folder.files);
        assert_eq!(signed.filter(|file| file.signature.is_some()).count(), 60);
        let need = crate::signature::Need::of(&["querySelector"], true, false);
        let may_match =
            |file: &&IndexedFile| file.signature.as_ref().is_none_or(|known| known.may_have(&need));
        assert_eq!(folders.values().flat_map(|folder| &folder.files).filter(may_match).count(), 0);
    }

    /// Breaks if the index of a folder is used for another that took its name.
    #[test]
    fn a_replaced_project_has_no_index() {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("project");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("a.txt"), "old words\n").unwrap();
        assert!(warmed(&Root::open(&path).unwrap().with_index()));
        fs::rename(&path, above.path().join("aside")).unwrap();
        fs::create_dir(&path).unwrap();
        fs::write(path.join("b.txt"), "new words\n").unwrap();
        let root = Root::open(&path).unwrap().with_index();
        let found = search(&root, "grep_search", &json!({"pattern": "words"}));
        assert!(found.to_text().starts_with("b.txt:1: new words\n(1 match; 1 file"), "{}", found.to_text());
    }
}

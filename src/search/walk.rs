//! Walks a tree on the pool.
//!
//! A unit takes folders and files one after the other, in order of path, for [`GRAIN`]. If there is more by then it
//! leaves the rest to two new units, one for the sooner and one for the later half. So a small tree is searched by one
//! worker, without waking another; a large one is soon shared; and what comes first in the answer is found first, so
//! that a full answer ends the search early. What else there is to do is left to others before a large file is parsed, and
//! where all files are parsed the largest of a folder come first.

use crate::error::SearchError;
#[cfg(target_os = "linux")]
use crate::index::{self, Folders, Indexed};
use crate::limit::{GLOB_BYTES_MAX, GLOBS_MAX, TREE_DEPTH_MAX};
use crate::query::Work;
use crate::root::{Folder, Kind, Located, Opened};
use crate::rule::{Room, RuleFiles, Rules};
use crate::signature::Signature;
use ignore::overrides::{Override, OverrideBuilder};
use ignore::types::{Types, TypesBuilder};
use orchestrator_worker::{BUFFER_BYTES_MAX, Scope};
use schemars::JsonSchema;
use serde::Serialize;
use std::cell::RefCell;
use std::cmp::Ordering;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
#[cfg(target_os = "linux")]
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::time::{Duration, Instant};

/// How long a unit works before it shares what is left.
const GRAIN: Duration = Duration::from_micros(500);

/// The same for the only unit of a walk, next to which workers are idle.
const LONE_GRAIN: Duration = Duration::from_micros(150);

/// How many folders such a unit keeps if it visits their files as it reads them: it is soon told that there is much to do.
const LONE_FOLDERS_MAX: usize = 16;

/// The same on a thread that is not the pool's.
const BORROWED_GRAIN: Duration = Duration::from_millis(1);

/// After how many entries of a folder it is asked whether they are still wanted.
const ENTRIES_GRAIN: usize = 512;

/// What a walk is for. Methods are called from several workers at once.
pub(crate) trait Visit: Send + Sync + 'static {
    /// Returns whether anything in the folder `relative` (ending in `/`) can matter.
    fn wants_folder(&self, relative: &str) -> bool;
    /// Returns whether a file of this name can matter, in whatever folder it is. Sooner told than by its path.
    fn wants_name(&self, _name: &OsStr) -> bool {
        true
    }
    /// Returns whether the file can matter, judged by its path.
    fn wants_file(&self, relative: &str) -> bool;
    /// Returns whether a file with this signature may have a result. One that may not is counted without a visit.
    fn may_match(&self, _signature: &Signature) -> bool {
        true
    }
    /// Returns whether a visit asks the system for something, and so is left to a step of its own.
    fn is_slow(&self) -> bool {
        true
    }
    /// Returns whether most visits take the longer, the larger a file is, far beyond reading it. The largest files of a
    /// folder are visited first then, so that no one is left alone with them at the end. If few do, a look at the size of
    /// each takes longer than it gains.
    fn is_heavy(&self) -> bool {
        false
    }
    /// Takes a file that was wanted. Counts it, as searched or as skipped, in `counts`; unless it leaves a borrowed thread
    /// ([`Scope::leave`]), since the file would take too long there. A worker visits it then.
    fn visit(&self, file: &FoundFile<'_>, counts: &Counts, scope: &Scope<'_>);
}

/// A visitor that sums up what it found.
pub(crate) trait Search: Visit {
    type Answer;

    /// Does, in a unit of its own, what can be done only when every file was visited. Not called when the walk was
    /// stopped before its end.
    fn walked(&self, _counts: &Counts, _scope: &Scope<'_>) {}

    /// Takes the results out, sorted and within the limits. `timed_out` says that the walk did not come to its end.
    fn answer(&self, counts: &Counts, timed_out: bool) -> Result<Self::Answer, SearchError>;
}

/// A regular file, as the walk found it; it may have changed since.
pub(crate) struct FoundFile<'a> {
    /// The folder through which it is opened.
    pub(crate) folder: &'a Folder,
    /// The path as shown: relative to the project, with `/`.
    pub(crate) relative: &'a str,
    place: Place<'a>,
    leave_rest: &'a dyn Fn(),
}

/// Where a file was found.
enum Place<'a> {
    /// At this absolute path, which the call named.
    At(&'a Path),
    /// By this name in a folder.
    In(&'a Listed, &'a OsStr),
}

impl FoundFile<'_> {
    /// Returns the absolute path.
    pub(crate) fn path(&self) -> PathBuf {
        match self.place {
            Place::At(path) => path.to_owned(),
            Place::In(above, name) => above.path.join(name),
        }
    }

    /// Leaves what else the unit was to do to others. For before something that takes long, as a unit is never interrupted.
    pub(crate) fn leave_rest(&self) {
        (self.leave_rest)();
    }

    /// Opens it. Returns its size too.
    pub(crate) fn open(&self) -> io::Result<(File, u64)> {
        match self.place {
            Place::In(Listed { opened: Some(opened), .. }, name) => opened.open_file(name),
            Place::In(..) | Place::At(_) => self.folder.open_file(&self.path()),
        }
    }

    /// Opens it and reads its beginning, if it was found in a folder that is open. Returns how much was read.
    #[cfg(target_os = "linux")]
    pub(crate) fn read_start(&self, buffer: &mut [u8]) -> Option<io::Result<(File, usize)>> {
        match self.place {
            Place::In(Listed { opened: Some(opened), .. }, name) => Some(opened.read_start(name, buffer)),
            Place::In(..) | Place::At(_) => None,
        }
    }
}

/// Which files of a tree a search sees.
pub(crate) struct Filter {
    /// None when there are no globs, or no types: an empty set of them takes its time too.
    pub(crate) globs: Option<Override>,
    pub(crate) types: Option<Types>,
    pub(crate) hidden: bool,
    pub(crate) no_ignore: bool,
    /// Whether what `globs` name is seen although ignore rules or its name hide it.
    pub(crate) override_ignore: bool,
}

impl Filter {
    /// Compiles `globs`, relative to `base`, and `types`.
    ///
    /// # Errors
    ///
    /// [`SearchError::TooLong`], [`SearchError::BadGlob`] and [`SearchError::UnknownType`], for the first mistake.
    pub(crate) fn compile(
        base: &Path,
        globs: &[String],
        types: &[String],
        hidden: bool,
        no_ignore: bool,
    ) -> Result<Filter, SearchError> {
        check_length("globs", globs.len(), GLOBS_MAX)?;
        check_length("types", types.len(), GLOBS_MAX)?;
        let (globs, types) = (compile_globs(base, globs)?, compile_types(types)?);
        Ok(Filter { globs, types, hidden, no_ignore, override_ignore: false })
    }

    /// Returns whether there are globs or types.
    fn narrows(&self) -> bool {
        self.globs.is_some() || self.types.is_some()
    }

    /// Returns whether globs or types leave the entry out.
    fn leaves_out(&self, path: &Path, is_folder: bool) -> bool {
        self.globs.as_ref().is_some_and(|globs| globs.matched(path, is_folder).is_ignore())
            || self.types.as_ref().is_some_and(|types| types.matched(path, is_folder).is_ignore())
    }

    /// Returns whether the search sees the entry. Types only narrow, and so do globs unless they are to override: what
    /// the ignore rules hide stays hidden.
    fn admits(&self, folder: &Path, name: &OsStr, is_folder: bool, rules: &Rules) -> bool {
        if self.narrows() {
            let path = folder.join(name);
            let is_named =
                || self.globs.as_ref().is_some_and(|globs| globs.matched(&path, is_folder).is_whitelist());
            if self.override_ignore && is_named() {
                return true;
            }
            if self.leaves_out(&path, is_folder) {
                return false;
            }
        }
        let is_hidden = name.as_encoded_bytes().first() == Some(&b'.');
        let ruled = if self.no_ignore { ignore::Match::None } else { rules.matched(folder, name, is_folder) };
        // A rule may bring a hidden file back, as in ripgrep.
        !ruled.is_ignore() && (self.hidden || !is_hidden || ruled.is_whitelist())
    }
}

/// Refuses a text or list that is longer than `max`.
pub(crate) fn check_length(option: &str, found: usize, max: usize) -> Result<(), SearchError> {
    if found > max { Err(SearchError::TooLong { option: option.to_owned(), max, found }) } else { Ok(()) }
}

/// Compiles globs that are relative to `base`.
fn compile_globs(base: &Path, globs: &[String]) -> Result<Option<Override>, SearchError> {
    if globs.is_empty() {
        return Ok(None);
    }
    let mut builder = OverrideBuilder::new(base);
    for (index, glob) in globs.iter().enumerate() {
        let option = format!("globs[{index}]");
        check_length(&option, glob.len(), GLOB_BYTES_MAX)?;
        let bad = |error: ignore::Error| SearchError::BadGlob { option, reason: error.to_string() };
        builder.add(glob).map_err(bad)?;
    }
    let bad =
        |error: ignore::Error| SearchError::BadGlob { option: "globs".to_owned(), reason: error.to_string() };
    builder.build().map(Some).map_err(bad)
}

/// Compiles a choice among ripgrep's file types.
fn compile_types(names: &[String]) -> Result<Option<Types>, SearchError> {
    if names.is_empty() {
        return Ok(None);
    }
    let mut builder = TypesBuilder::new();
    builder.add_defaults();
    let known = builder.definitions();
    for (index, name) in names.iter().enumerate() {
        if !known.iter().any(|definition| definition.name() == name) {
            return Err(SearchError::UnknownType { index, name: name.clone() });
        }
        builder.select(name);
    }
    builder
        .build()
        .map(Some)
        .map_err(|error| SearchError::BadOptions { path: "types".to_owned(), reason: error.to_string() })
}

/// What a walk has counted. Read when the walk has ended.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) searched: AtomicU64,
    pub(crate) binary: AtomicU64,
    pub(crate) too_large: AtomicU64,
    pub(crate) too_deep: AtomicU64,
    pub(crate) unreadable: AtomicU64,
    pub(crate) special: AtomicU64,
    pub(crate) below_depth: AtomicBool,
}

/// Files and folders that were not searched, by reason. What the ignore rules, `globs` and `types` left out is not
/// among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Skipped {
    /// Files that hold binary data.
    pub binary: u64,
    /// Files beyond the size limit.
    pub too_large: u64,
    /// Files whose syntax is nested too deeply.
    pub too_deep: u64,
    /// Files and folders that could not be read.
    pub unreadable: u64,
    /// Links, devices, FIFOs and sockets.
    pub special: u64,
}

impl Counts {
    /// Adds one to a counter.
    pub(crate) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }

    pub(crate) fn skipped(&self) -> Skipped {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        Skipped {
            binary: read(&self.binary),
            too_large: read(&self.too_large),
            too_deep: read(&self.too_deep),
            unreadable: read(&self.unreadable),
            special: read(&self.special),
        }
    }
}

/// A walk in progress; its units share it.
pub(crate) struct Walk<V> {
    base: Located,
    filter: Filter,
    counts: Counts,
    visitor: V,
    /// Units that wait or run.
    pending: AtomicUsize,
    /// What an index knows of the tree, if there is one for it.
    #[cfg(target_os = "linux")]
    index: OnceLock<Arc<Folders>>,
}

impl<V: Search> Work for Walk<V> {
    type Answer = V::Answer;

    /// A file as base is searched whatever the ignore rules say of it.
    fn begin(self: Arc<Self>, scope: &Scope<'_>) {
        let Located { folder, path, is_folder } = &self.base;
        if *is_folder {
            #[cfg(target_os = "linux")]
            if self.is_indexed() && scope.is_borrowed() && index::is_known(folder) {
                // It may be in use, or behind what has changed.
                return self.begin_later(scope);
            }
            #[cfg(target_os = "linux")]
            if self.is_indexed()
                && let Some(folders) = index::find(folder)
            {
                self.index.get_or_init(|| folders);
            }
            let above = if scope.is_borrowed() {
                let Some(brief) = Rules::briefly_above(folder, path) else { return self.begin_later(scope) };
                brief
            } else {
                Rules::above(folder, path)
            };
            self.work(vec![Step::Folder { place: None, rules: above, depth: 0 }], scope);
        } else {
            let relative = folder.show(path);
            if !self.filter.leaves_out(path, false) && self.visitor.wants_file(&relative) {
                let file =
                    FoundFile { folder, relative: &relative, place: Place::At(path), leave_rest: &|| {} };
                self.visitor.visit(&file, &self.counts, scope);
            }
            if scope.has_left() {
                return self.begin_later(scope);
            }
        }
        self.end_unit(scope);
    }

    fn answer(&self, timed_out: bool) -> Result<V::Answer, SearchError> {
        #[cfg(target_os = "linux")]
        if self.is_indexed() && self.index.get().is_none() && self.base.path == self.base.folder.path() {
            index::note(&self.base.folder, self.counts.searched.load(Relaxed));
        }
        self.visitor.answer(&self.counts, timed_out)
    }
}

impl<V: Search> Walk<V> {
    pub(crate) fn new(base: Located, filter: Filter, visitor: V) -> Walk<V> {
        // The unit that begins the walk is the first.
        let pending = AtomicUsize::new(1);
        Walk {
            base,
            filter,
            counts: Counts::default(),
            visitor,
            pending,
            #[cfg(target_os = "linux")]
            index: OnceLock::new(),
        }
    }

    /// Returns whether the search sees what an index knows.
    #[cfg(target_os = "linux")]
    fn is_indexed(&self) -> bool {
        let folder = &self.base.folder;
        folder.is_indexed() && folder.is_project() && !self.filter.hidden && !self.filter.no_ignore
    }

    /// Takes a folder from the index instead of reading it; returns false when it is not in there.
    #[cfg(target_os = "linux")]
    fn take_indexed(&self, path: &Path, rules: &Arc<Rules>, depth: usize, steps: &mut Vec<Step>) -> bool {
        let Some(folders) = self.index.get() else { return false };
        let below = self.base.folder.relative(path).unwrap_or(path);
        let Some(indexed) = folders.get(below) else { return false };
        let Indexed { files, folders, special, unreadable, .. } = indexed.as_ref();
        let narrows = self.filter.narrows();
        if narrows && *special > 0 {
            // Which of them the options leave out, only their names tell.
            return false;
        }
        self.counts.special.fetch_add(*special, Relaxed);
        self.counts.unreadable.fetch_add(*unreadable, Relaxed);
        let relative = self.base.folder.show(path);
        let listed = Arc::new(Listed { path: path.to_owned(), relative, opened: None });
        let mut shown = Shown::of(&listed);
        for name in folders.iter().rev() {
            if narrows && self.filter.leaves_out(&path.join(name), true)
                || !self.visitor.wants_folder(shown.folder(name))
            {
            } else if depth >= TREE_DEPTH_MAX {
                self.counts.below_depth.store(true, Relaxed);
            } else {
                steps.push(Step::folder(&listed, name.clone(), rules, depth));
            }
        }
        let (mut searched, mut binary) = (0, 0);
        for file in files.iter().rev() {
            if narrows && self.filter.leaves_out(&path.join(&file.name), false)
                || !self.visitor.wants_file(shown.file(&file.name))
            {
                continue;
            }
            match &file.signature {
                Some(signature) if !self.visitor.may_match(signature) => {
                    *if signature.is_binary { &mut binary } else { &mut searched } += 1;
                }
                Some(_) | None => {
                    let (above, name) = (Arc::clone(&listed), file.name.clone());
                    steps.push(Step::File { above, name });
                }
            }
        }
        self.counts.searched.fetch_add(searched, Relaxed);
        self.counts.binary.fetch_add(binary, Relaxed);
        true
    }

    /// Leaves the whole walk to a worker.
    fn begin_later(self: Arc<Self>, scope: &Scope<'_>) {
        scope.leave();
        scope.spawn(move |scope| self.begin(scope));
    }

    fn spawn(self: &Arc<Self>, steps: Vec<Step>, scope: &Scope<'_>) {
        self.pending.fetch_add(1, Relaxed);
        let walk = Arc::clone(self);
        scope.spawn(move |scope| {
            walk.work(steps, scope);
            walk.end_unit(scope);
        });
    }

    /// Counts one unit less. A unit that was dropped, or that stopped half way, leaves the walk without an end.
    fn end_unit(&self, scope: &Scope<'_>) {
        // Acquire and release: what all units have found is seen by the last.
        if self.pending.fetch_sub(1, AcqRel) == 1 && !scope.is_stopped() {
            self.visitor.walked(&self.counts, scope);
        }
    }

    /// Takes steps from the end, until there are none or the unit's time is over: a unit is never interrupted, and many
    /// files to be parsed may take seconds.
    fn work(self: &Arc<Self>, steps: Vec<Step>, scope: &Scope<'_>) {
        let started = Instant::now();
        let is_over = |elapsed: Duration, steps_count: usize| {
            if scope.is_borrowed() {
                return elapsed >= BORROWED_GRAIN;
            }
            let is_much = elapsed >= LONE_GRAIN || !self.visitor.is_slow() && steps_count >= LONE_FOLDERS_MAX;
            elapsed >= GRAIN || is_much && self.pending.load(Relaxed) == 1
        };
        let steps = RefCell::new(steps);
        let leave_rest = || {
            if !scope.is_borrowed() {
                self.share(steps.take(), scope);
            }
        };
        loop {
            let Some(step) = steps.borrow_mut().pop() else { return };
            if scope.is_stopped() {
                return;
            }
            match step {
                Step::Folder { place, rules, depth } => {
                    self.folder(place, &rules, depth, &mut steps.borrow_mut(), scope);
                }
                Step::File { above, name } => {
                    let mut shown = Shown::of(&above);
                    let relative = shown.file(&name);
                    // Since the file was found, others may have filled the answer with what comes before it.
                    if self.visitor.wants_file(relative) {
                        self.visit(&above, &name, relative, &leave_rest, scope);
                        if scope.has_left() {
                            steps.borrow_mut().push(Step::File { above, name });
                        }
                    }
                }
            }
            let steps_count = steps.borrow().len();
            if steps_count > 0 && (scope.has_left() || is_over(started.elapsed(), steps_count)) {
                return self.share(steps.take(), scope);
            }
        }
    }

    /// Leaves steps to two new units, the sooner and the later half.
    fn share(self: &Arc<Self>, mut steps: Vec<Step>, scope: &Scope<'_>) {
        let sooner = steps.split_off(steps.len() / 2);
        if !steps.is_empty() {
            self.spawn(steps, scope);
        }
        if !sooner.is_empty() {
            // Last, since a worker goes on with what it spawned last.
            self.spawn(sooner, scope);
        }
    }

    fn visit(&self, above: &Listed, name: &OsStr, relative: &str, leave_rest: &dyn Fn(), scope: &Scope<'_>) {
        let place = Place::In(above, name);
        let file = FoundFile { folder: &self.base.folder, relative, place, leave_rest };
        self.visitor.visit(&file, &self.counts, scope);
    }

    /// Reads one folder, and adds its files and subfolders to `steps`, the first last.
    fn folder(
        &self,
        place: Option<(Arc<Listed>, OsString)>,
        above: &Arc<Rules>,
        depth: usize,
        steps: &mut Vec<Step>,
        scope: &Scope<'_>,
    ) {
        let path = match &place {
            Some((above, name)) => above.path.join(name),
            None => self.base.path.clone(),
        };
        let relative = self.base.folder.show(&path);
        // Since the folder was found, others may have filled the answer with what comes before it; and while a large one
        // is read they may.
        let with_slash = format!("{relative}/");
        let is_over = || scope.is_stopped() || depth > 0 && !self.visitor.wants_folder(&with_slash);
        if is_over() {
            return;
        }
        #[cfg(target_os = "linux")]
        if self.take_indexed(&path, above, depth, steps) {
            return;
        }
        let mut rule_files = RuleFiles::default();
        let mut entries = Vec::new();
        let (mut is_left, mut is_long) = (false, false);
        let (mut count, mut unreadable) = (0, 0);
        let take = |entry: io::Result<(&OsStr, Kind)>| {
            match entry {
                Ok((name, kind)) => {
                    rule_files.note(name, kind);
                    if kind != Kind::File || self.visitor.wants_name(name) {
                        entries.push(Entry { name: name.to_owned(), kind });
                    }
                }
                Err(_unreadable) => unreadable += 1,
            }
            count += 1;
            is_left = count % ENTRIES_GRAIN == 0 && is_over();
            is_long = count >= ENTRIES_GRAIN && scope.is_borrowed();
            !is_left && !is_long
        };
        let read = match place.as_ref().and_then(|(above, name)| above.opened.as_ref().zip(Some(name))) {
            Some((opened, name)) => opened.read(name, take),
            None => self.base.folder.read(&path, take),
        };
        let mut room = if scope.is_borrowed() { Room::brief() } else { Room::unlimited() };
        let rules = if self.filter.no_ignore || is_long || is_left {
            Arc::clone(above)
        } else {
            above.with_folder(&self.base.folder, &path, rule_files, &mut room)
        };
        if is_long || room.is_over {
            scope.leave();
            return steps.push(Step::Folder { place, rules: Arc::clone(above), depth });
        }
        self.counts.unreadable.fetch_add(unreadable, Relaxed);
        let Ok(opened) = read else {
            Counts::add(&self.counts.unreadable);
            return;
        };
        if is_left || entries.len() > ENTRIES_GRAIN && is_over() {
            return;
        }
        entries.sort_unstable_by(|a, b| in_path_order(b, a));
        let listed = Arc::new(Listed { path, relative, opened });
        let mut shown = Shown::of(&listed);
        let mut large = Vec::new();
        for (index, Entry { kind, name }) in entries.into_iter().enumerate() {
            if index % ENTRIES_GRAIN == ENTRIES_GRAIN - 1 && is_over() {
                return;
            }
            if name == ".git" {
                continue;
            }
            let relative = if kind == Kind::Folder { shown.folder(&name) } else { shown.file(&name) };
            // What the visitor wants is soon said; the rules take longer.
            let is_wanted = match kind {
                Kind::Folder => self.visitor.wants_folder(relative),
                Kind::File => self.visitor.wants_file(relative),
                Kind::Special => true,
            };
            if !is_wanted || !self.filter.admits(&listed.path, &name, kind == Kind::Folder, &rules) {
                continue;
            }
            match kind {
                Kind::Folder if depth >= TREE_DEPTH_MAX => self.counts.below_depth.store(true, Relaxed),
                Kind::Folder => steps.push(Step::folder(&listed, name, &rules, depth)),
                Kind::Special => Counts::add(&self.counts.special),
                Kind::File if self.visitor.is_slow() => {
                    let size_bytes =
                        if self.visitor.is_heavy() { self.size_bytes(&listed, &name) } else { 0 };
                    let step = Step::File { above: Arc::clone(&listed), name };
                    if size_bytes > BUFFER_BYTES_MAX as u64 {
                        large.push((size_bytes, step));
                    } else {
                        steps.push(step);
                    }
                }
                Kind::File => self.visit(&listed, &name, relative, &|| {}, scope),
            }
        }
        // Taken from the end, the largest first.
        large.sort_by_key(|(size_bytes, _)| *size_bytes);
        steps.extend(large.into_iter().map(|(_, step)| step));
    }

    /// Returns how large a file is; 0 when that is not known.
    fn size_bytes(&self, above: &Listed, name: &OsStr) -> u64 {
        let size_bytes = match &above.opened {
            Some(opened) => opened.size_bytes(name),
            None => self.base.folder.size_bytes(&above.path.join(name)),
        };
        size_bytes.unwrap_or_default()
    }
}

/// An entry of a folder.
struct Entry {
    name: OsString,
    kind: Kind,
}

/// The order of the paths in the answer, in which a folder's name is followed by a slash.
fn in_path_order(a: &Entry, b: &Entry) -> Ordering {
    let (a_name, b_name) = (a.name.as_encoded_bytes(), b.name.as_encoded_bytes());
    let common = a_name.len().min(b_name.len());
    // A name holds no slash, so that the byte after what both have decides.
    let next = |entry: &Entry, name: &[u8]| {
        name.get(common).copied().or((entry.kind == Kind::Folder).then_some(b'/'))
    };
    a_name[..common].cmp(&b_name[..common]).then_with(|| next(a, a_name).cmp(&next(b, b_name)))
}

/// Something that a walk has yet to do.
enum Step {
    /// A folder to be read: the folder it is in and its name, none for the walk's base; with the rules that hold in it
    /// from above.
    Folder { place: Option<(Arc<Listed>, OsString)>, rules: Arc<Rules>, depth: usize },
    /// A file to be visited.
    File { above: Arc<Listed>, name: OsString },
}

impl Step {
    /// A subfolder of the folder `above`, in which `rules` hold and which is `depth` deep.
    fn folder(above: &Arc<Listed>, name: OsString, rules: &Arc<Rules>, depth: usize) -> Step {
        let place = Some((Arc::clone(above), name));
        Step::Folder { place, rules: Arc::clone(rules), depth: depth + 1 }
    }
}

/// A folder that was read.
struct Listed {
    path: PathBuf,
    /// As shown.
    relative: String,
    opened: Option<Opened>,
}

/// Paths of a folder's entries as they are shown, written one over the other.
struct Shown {
    text: String,
    folder_bytes: usize,
}

impl Shown {
    fn of(folder: &Listed) -> Shown {
        // Room for most names.
        let mut text = String::with_capacity(folder.relative.len() + 64);
        if !folder.relative.is_empty() {
            text.push_str(&folder.relative);
            text.push('/');
        }
        Shown { folder_bytes: text.len(), text }
    }

    /// Returns the path of a file.
    fn file(&mut self, name: &OsStr) -> &str {
        self.text.truncate(self.folder_bytes);
        push_shown(&mut self.text, name);
        &self.text
    }

    /// Returns the path of a folder, which ends in `/`.
    fn folder(&mut self, name: &OsStr) -> &str {
        self.file(name);
        self.text.push('/');
        &self.text
    }
}

/// Adds a name, odd bytes replaced. Most names have none, which is soon told.
fn push_shown(shown: &mut String, name: &OsStr) {
    match name.to_str() {
        Some(name) => shown.push_str(name),
        None => shown.push_str(&name.to_string_lossy()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Root;
    use orchestrator_worker::{Job, Lane, Pool};
    use parking_lot::Mutex;
    use std::fs::{create_dir, write};
    use std::sync::mpsc::channel;
    use std::thread;

    /// Notes which files it is shown.
    #[derive(Default)]
    struct Recorder {
        is_heavy: bool,
        /// The visit that leaves the rest to others, and ends when so many files were seen.
        long: Option<(&'static str, usize)>,
        seen: Mutex<Vec<String>>,
    }

    impl Visit for Recorder {
        fn wants_folder(&self, _relative: &str) -> bool {
            true
        }

        fn wants_file(&self, _relative: &str) -> bool {
            true
        }

        fn is_heavy(&self) -> bool {
            self.is_heavy
        }

        fn visit(&self, file: &FoundFile<'_>, _counts: &Counts, _scope: &Scope<'_>) {
            self.seen.lock().push(file.relative.to_owned());
            if let Some((name, seen_count)) = self.long
                && file.relative == name
            {
                file.leave_rest();
                let hang = Instant::now() + Duration::from_secs(60);
                while self.seen.lock().len() < seen_count {
                    assert!(Instant::now() < hang, "nobody has taken the rest");
                    thread::yield_now();
                }
            }
        }
    }

    impl Search for Recorder {
        type Answer = Vec<String>;

        fn answer(&self, _counts: &Counts, _timed_out: bool) -> Result<Vec<String>, SearchError> {
            Ok(self.seen.lock().clone())
        }
    }

    /// Walks a folder with `workers_count` workers.
    fn walk(folder: &Path, workers_count: usize, recorder: Recorder) -> Vec<String> {
        let (root, pool) = (Root::open(folder).unwrap(), Pool::new(workers_count));
        let filter = Filter::compile(root.path(), &[], &[], false, false).unwrap();
        let walk = Arc::new(Walk::new(root.find(".").unwrap(), filter, recorder));
        let (sender, receiver) = channel();
        let begun = Arc::clone(&walk);
        let job = Job::new(Lane::Interactive, Duration::from_secs(60), move |scope| begun.begin(scope));
        let _ticket = pool.submit(job, move |outcome| sender.send(outcome).unwrap()).unwrap();
        receiver.recv().unwrap().unwrap();
        walk.answer(false).unwrap()
    }

    /// Breaks if files wait behind one that takes long, although a worker is idle.
    #[test]
    fn what_a_long_visit_leaves_is_done_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        create_dir(folder.path().join("b")).unwrap();
        for name in ["a", "b/c", "b/d", "e"] {
            write(folder.path().join(name), "x").unwrap();
        }
        let recorder = Recorder { long: Some(("a", 4)), ..Recorder::default() };
        let mut seen = walk(folder.path(), 2, recorder);
        seen.sort();
        assert_eq!(seen, ["a", "b/c", "b/d", "e"]);
    }

    /// Breaks if a large file waits until all small ones were parsed, or if files are seen twice or not at all.
    #[test]
    fn the_largest_files_of_a_folder_are_parsed_first() {
        let folder = tempfile::tempdir().unwrap();
        create_dir(folder.path().join("c")).unwrap();
        for (name, size_bytes) in [
            ("a", 1),
            ("b", 100_000),
            ("c/d", 1),
            ("c/e", 300_000),
            ("f", BUFFER_BYTES_MAX),
            ("g", 200_000),
            ("h", 1),
        ] {
            write(folder.path().join(name), vec![b'x'; size_bytes]).unwrap();
        }
        for (is_heavy, expected) in [
            (false, ["a", "b", "c/d", "c/e", "f", "g", "h"]),
            (true, ["g", "b", "a", "c/e", "c/d", "f", "h"]),
        ] {
            let recorder = Recorder { is_heavy, ..Recorder::default() };
            assert_eq!(walk(folder.path(), 1, recorder), expected);
        }
    }
}

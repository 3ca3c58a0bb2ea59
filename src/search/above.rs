//! The rules from above a folder, kept between calls.
//!
//! To find them takes a small search longer than to search. So what was looked at for them is noted: the settings of git,
//! the folders above, which tell by their times what was made or renamed in them, and the files with rules. While all of
//! it is as it was, so are the rules. Of calls that are made together one looks, and the others take what it has found
//! after they were made. Places that were looked at often are watched ([`Watch`]): while nothing happens there, no look is
//! needed.
//!
//! The times of what has changed in the last moment tell nothing, as a file system's clock may stand still so long: in such
//! a folder each name is noted that may matter, and such a file is watched, or read again by the next call. What lies on a
//! file system that others change behind the kernel's back is read by each.

use crate::root::Folder;
use crate::rule::{EXCLUDE, Room, RuleFiles, Rules};
use crate::watch::Watch;
use ignore::gitignore::gitconfig_excludes_path;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// For how many folders they are kept.
const KEPT_MAX: usize = 64;
/// How deep a folder may be whose rules are read in a moment.
const BRIEF_DEPTH_MAX: usize = 32;
/// How long the times of files must have stood still; some file systems count in steps of two seconds.
pub(crate) const SETTLED: Duration = Duration::from_secs(3);
/// File systems whose changes all go through this kernel (`linux/magic.h`): ext, xfs, btrfs, tmpfs, overlayfs, f2fs, zfs,
/// bcachefs.
const FILE_SYSTEMS: [u32; 8] =
    [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630, 0xf2f5_2010, 0x2fc1_2fc1, 0xca45_1a4e];

/// What says where git's settings are.
const VARIABLES: [&str; 4] = ["HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"];

/// Returns whether a file system of this kind changes through this kernel only.
pub(crate) fn is_local(kind: i64) -> bool {
    u32::try_from(kind).is_ok_and(|kind| FILE_SYSTEMS.contains(&kind))
}

/// Returns whether the folder is on such a file system.
pub(crate) fn is_on_local(folder: &Path) -> bool {
    rustix::fs::statfs(folder).is_ok_and(|found| is_local(found.f_type))
}

/// For which folder what is known.
static KNOWN: LazyLock<Mutex<HashMap<PathBuf, Arc<Known>>>> = LazyLock::new(Mutex::default);

/// Returns the rules that hold in `folder` because of the folders above it and of git's settings.
pub(crate) fn rules(inside: &Folder, folder: &Path) -> Arc<Rules> {
    known(inside, folder).unwrap_or_else(|| read(inside, folder, &mut Room::unlimited()))
}

/// Returns the same if that takes a moment only.
pub(crate) fn brief_rules(inside: &Folder, folder: &Path) -> Option<Arc<Rules>> {
    known(inside, folder).or_else(|| {
        let is_brief = folder.ancestors().nth(BRIEF_DEPTH_MAX).is_none() && is_on_local(folder);
        let mut room = Room::brief();
        let rules = is_brief.then(|| read(inside, folder, &mut room))?;
        (!room.is_over).then_some(rules)
    })
}

/// Returns what an earlier call has read, if it still holds.
fn known(inside: &Folder, folder: &Path) -> Option<Arc<Rules>> {
    let known = KNOWN.lock().get(folder).cloned()?;
    let is_current =
        known.inside == inside.path() && (known.was_current(inside.asked()) || known.is_current());
    is_current.then(|| Arc::clone(&known.rules))
}

/// Reads the rules, and keeps them if each later change would be noticed.
fn read(inside: &Folder, folder: &Path, room: &mut Room) -> Arc<Rules> {
    let mut places = Places::look(folder);
    let mut unsettled_count = KNOWN.lock().get(folder).map_or(0, |known| known.unsettled_count);
    unsettled_count = if places.look.is_settled { 0 } else { unsettled_count + 1 };
    let mut watch = None;
    if unsettled_count == UNSETTLED_MIN && places.look.is_complete {
        watch = Watch::of(places.look.seen.iter().flat_map(Seen::paths));
    }
    if watch.is_some() {
        // What is watched before it is looked at needs no times.
        places = Places::look(folder);
        unsettled_count = 0;
    }
    let is_complete = places.look.is_complete;
    let mut known = places.read(inside, folder, room);
    known.calm.get_mut().watch = watch;
    known.unsettled_count = unsettled_count;
    let rules = Arc::clone(&known.rules);
    let mut kept = KNOWN.lock();
    if !is_complete || room.is_over {
        kept.remove(folder);
        return rules;
    }
    if kept.len() >= KEPT_MAX {
        kept.clear();
    }
    kept.insert(folder.to_owned(), Arc::new(known));
    rules
}

/// Rules, and all that they come from.
struct Known {
    rules: Arc<Rules>,
    /// The folder through which some of it was read.
    inside: PathBuf,
    variables: [Option<OsString>; 4],
    seen: Vec<Seen>,
    /// Whether every later change gives a place another stamp. Otherwise only a watch can tell.
    is_settled: bool,
    /// How often in a row the rules were read when it was not so, and unwatched.
    unsettled_count: u32,
    /// When it was last found to hold.
    current: Mutex<Option<Instant>>,
    calm: Mutex<Calm>,
}

/// What spares a look at all places.
#[derive(Default)]
struct Calm {
    /// How many looks have found nothing changed.
    looks: u32,
    watch: Option<Watch>,
}

/// After how many such looks the places are watched.
const LOOKS_MIN: u32 = 16;
/// After how many times that they had to be read, because their stamps tell nothing yet.
const UNSETTLED_MIN: u32 = 2;

/// Where the rules are, noted before they are read.
struct Places<'a> {
    variables: [Option<OsString>; 4],
    /// The user's own rules.
    global: Option<PathBuf>,
    /// The folders above, the nearest first.
    above: Vec<(&'a Path, RuleFiles)>,
    /// Whether the folder itself is a repository, with rules of its own that no walk comes across.
    is_repository: bool,
    look: Look,
}

impl<'a> Places<'a> {
    fn look(folder: &'a Path) -> Places<'a> {
        let mut look = Look::now();
        look.is_complete = is_on_local(folder);
        let variables = variables();
        let (settings, own) = (settings(&variables), default_excludes(&variables));
        for path in settings.iter().chain(&own) {
            look.note(path.clone(), By::Link);
        }
        // To be read, settings want an expression compiled, which takes longer than all else that a first search does.
        let is_told = own.is_none() || settings.iter().any(|path| names_excludes(path));
        let global = if is_told { gitconfig_excludes_path() } else { own };
        if let Some(path) = &global
            && look.seen.iter().all(|seen| seen.path != *path)
        {
            look.note(path.clone(), By::Link);
        }
        let mut above = Vec::new();
        for folder in folder.ancestors().skip(1) {
            look.folder(folder);
            let files = RuleFiles::probe(folder);
            for path in files.paths(folder) {
                look.note(path, By::Name);
            }
            if files.has_git() {
                // A link, or the file of a worktree, may come to lead elsewhere unseen.
                look.is_complete &= files.has_git_folder();
                look.note(folder.join(".git").join(EXCLUDE), By::Name);
            }
            above.push((folder, files));
        }
        let git = folder.join(".git");
        let is_repository = git.symlink_metadata().is_ok_and(|found| found.is_dir());
        if is_repository {
            look.note(git.join(EXCLUDE), By::Name);
        }
        Places { variables, global, above, is_repository, look }
    }

    fn read(self, inside: &Folder, folder: &Path, room: &mut Room) -> Known {
        let Places { variables, global, above, is_repository, look: Look { seen, is_settled, .. }, .. } =
            self;
        let above = above.into_iter().rev();
        let rules = Rules::from_above(inside, folder, global.as_deref(), above, is_repository, room);
        Known {
            rules,
            inside: inside.path().to_owned(),
            variables,
            seen,
            is_settled,
            unsettled_count: 0,
            current: Mutex::new(None),
            calm: Mutex::default(),
        }
    }
}

impl Known {
    /// Returns whether nothing has changed since.
    fn is_current(&self) -> bool {
        let looked = Instant::now();
        let is_current =
            self.variables == variables() && (self.is_calm() || self.is_settled && self.is_unchanged());
        if is_current {
            let mut current = self.current.lock();
            *current = (*current).max(Some(looked));
        }
        is_current
    }

    fn is_unchanged(&self) -> bool {
        self.seen.iter().all(|seen| seen.stamp == Stamp::of(&seen.path, seen.by))
    }

    /// Returns whether a watch tells that nothing has changed since the last look. Without one another look is needed,
    /// also right after the places have come to be watched.
    fn is_calm(&self) -> bool {
        let mut calm = self.calm.lock();
        if let Some(watch) = &calm.watch {
            if watch.is_calm() {
                return true;
            }
            *calm = Calm::default();
        }
        calm.looks = calm.looks.saturating_add(1);
        if calm.looks == LOOKS_MIN && self.is_settled {
            calm.watch = Watch::of(self.seen.iter().flat_map(Seen::paths));
        }
        false
    }

    /// Returns whether another call has found, at `time` or later, that nothing has changed.
    fn was_current(&self, time: Instant) -> bool {
        self.current.lock().is_some_and(|current| current >= time)
    }
}

fn variables() -> [Option<OsString>; 4] {
    VARIABLES.map(std::env::var_os)
}

/// The path that a variable holds.
fn path_in(variable: &Option<OsString>) -> Option<PathBuf> {
    variable.as_deref().filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The file of this name in the folder of git's settings.
fn in_config([home, config, ..]: &[Option<OsString>; 4], name: &str) -> Option<PathBuf> {
    let config = path_in(config).or_else(|| Some(path_in(home)?.join(".config")))?;
    Some(config.join("git").join(name))
}

/// The files in which git's settings may be, whether they are there or not.
fn settings(variables: &[Option<OsString>; 4]) -> Vec<PathBuf> {
    let [home, _, global, system] = variables;
    let own = path_in(home).map(|home| home.join(".gitconfig"));
    let system = path_in(system).unwrap_or_else(|| PathBuf::from("/etc/gitconfig"));
    let files = [path_in(global), own, Some(system), in_config(variables, "config")];
    files.into_iter().flatten().collect()
}

/// The user's own rules where no settings name others; `None` when only the system knows where they are.
fn default_excludes(variables: &[Option<OsString>; 4]) -> Option<PathBuf> {
    in_config(variables, "ignore")
}

/// Returns whether settings may say where the user's own rules are.
fn names_excludes(settings: &Path) -> bool {
    const NAME: &[u8] = b"excludesfile";
    let names = |text: Vec<u8>| text.windows(NAME.len()).any(|part| part.eq_ignore_ascii_case(NAME));
    settings.metadata().is_ok_and(|found| found.is_file()) && std::fs::read(settings).is_ok_and(names)
}

/// A place that was looked at.
struct Seen {
    path: PathBuf,
    by: By,
    stamp: Option<Stamp>,
}

impl Seen {
    /// The paths on which it depends.
    fn paths(&self) -> Vec<PathBuf> {
        match self.by {
            By::List => RuleFiles::NAMES.map(|name| self.path.join(name)).into(),
            By::Name | By::Link | By::Presence => vec![self.path.clone()],
        }
    }
}

/// What of a place matters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// What has its name, be it a link.
    Name,
    /// What has its name, or that to which a link of this name leads.
    Link,
    /// Which files of rules the folder has.
    List,
    /// Whether there is anything of this name.
    Presence,
}

/// What changes whenever a file or the list of a folder does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    size_bytes: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Returns the stamp of what is at `path`, if anything is.
    fn of(path: &Path, by: By) -> Option<Stamp> {
        let metadata = if by == By::Link { path.metadata() } else { path.symlink_metadata() }.ok()?;
        Some(if by == By::Presence {
            Stamp::default()
        } else {
            Stamp {
                device: metadata.dev(),
                inode: metadata.ino(),
                size_bytes: metadata.size(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                changed: (metadata.ctime(), metadata.ctime_nsec()),
            }
        })
    }
}

/// Returns the stamp of the file or folder at `path`, if anything is.
pub(crate) fn stamp(path: &Path) -> Option<Stamp> {
    Stamp::of(path, By::Name)
}

/// Returns the same if any later change would give it another.
pub(crate) fn telling_stamp(path: &Path) -> Option<Stamp> {
    let stamp = stamp(path);
    if Look::now().tells(path, stamp.as_ref()) { stamp } else { None }
}

/// Notes places before they are read.
struct Look {
    now: SystemTime,
    seen: Vec<Seen>,
    /// File systems that are local.
    devices: Vec<u64>,
    /// Whether every later change of them gives them another stamp.
    is_settled: bool,
    /// Whether they are all that matters.
    is_complete: bool,
}

impl Look {
    fn now() -> Look {
        Look {
            now: SystemTime::now(),
            seen: Vec::new(),
            devices: Vec::new(),
            is_settled: true,
            is_complete: true,
        }
    }

    /// Notes which files of rules a folder has.
    fn folder(&mut self, folder: &Path) {
        let stamp = Stamp::of(folder, By::Name);
        if self.tells(folder, stamp.as_ref()) {
            return self.seen.push(Seen { path: folder.to_owned(), by: By::List, stamp });
        }
        for name in RuleFiles::NAMES {
            let path = folder.join(name);
            let stamp = Stamp::of(&path, By::Presence);
            self.seen.push(Seen { path, by: By::Presence, stamp });
        }
    }

    fn note(&mut self, path: PathBuf, by: By) {
        let stamp = Stamp::of(&path, by);
        self.is_settled &= self.tells(&path, stamp.as_ref());
        self.seen.push(Seen { path, by, stamp });
    }

    /// Returns whether any later change gives what is at `path` another stamp.
    fn tells(&mut self, path: &Path, stamp: Option<&Stamp>) -> bool {
        let Some(stamp) = stamp else { return true };
        let (seconds, _) = stamp.modified.max(stamp.changed);
        // A time to come is one that tells nothing.
        let newest = u64::try_from(seconds).ok().map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
        let age = newest.and_then(|newest| self.now.duration_since(newest).ok());
        if !self.devices.contains(&stamp.device) && is_on_local(path) {
            self.devices.push(stamp.device);
        }
        age.is_some_and(|age| age > SETTLED) && self.devices.contains(&stamp.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::{Kind, Root};
    use std::fs::{create_dir_all, remove_file, rename, write};

    /// Reads the rules as if the places had stood still for long.
    fn look(root: &Root, folder: &Path) -> Known {
        let known = Places::look(folder).read(root.project(), folder, &mut Room::unlimited());
        Known { is_settled: true, ..known }
    }

    /// Breaks if a change of what lies above a folder is not noticed, or if one is seen where there was none.
    #[test]
    fn every_change_above_is_noticed() {
        let above = tempfile::tempdir().expect("a folder can be made");
        let above = above.path().canonicalize().expect("the folder is there");
        let (git, project) = (above.join(".git"), above.join("deep/project"));
        create_dir_all(&project).expect("a folder can be made");
        let root = Root::open(&project).expect("the project opens");
        let exclude = git.join("info/exclude");
        type Change<'a> = (&'a str, Box<dyn Fn() -> std::io::Result<()> + 'a>);
        let changes: Vec<Change<'_>> = vec![
            ("a file of rules", Box::new(|| write(above.join(".gitignore"), "one\n"))),
            ("another text of the same length", Box::new(|| write(above.join(".gitignore"), "two\n"))),
            ("a file of rules in between", Box::new(|| write(above.join("deep/.ignore"), "one\n"))),
            ("a repository", Box::new(|| create_dir_all(git.join("info")))),
            ("its own rules", Box::new(|| write(&exclude, "one\n"))),
            ("others", Box::new(|| write(&exclude, "two\n"))),
            ("another name", Box::new(|| rename(above.join(".gitignore"), above.join("gitignore")))),
            ("none", Box::new(|| remove_file(&exclude))),
        ];
        for (index, (what, change)) in changes.into_iter().enumerate() {
            let known = look(&root, &project);
            assert!(known.is_current(), "before {what}");
            let is_settled = Places::look(&project).look.is_settled;
            assert!(index == 0 || !is_settled, "what was written just now may change within its time");
            // Longer than the step of a file system's clock.
            std::thread::sleep(Duration::from_millis(20));
            change().expect("a file can be changed");
            assert!(!known.is_current(), "{what} is noticed");
            let fresh = look(&root, &project);
            assert_ne!(known.rules.fingerprint(), fresh.rules.fingerprint(), "{what} changes the rules");
        }
    }

    /// Breaks if what a repository itself excludes is taken for another's, or is kept when it has changed.
    #[test]
    fn what_the_repository_excludes_is_kept_with_the_rules_above_it() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let root = Root::open(folder.path()).expect("the project opens");
        let exclude = root.path().join(".git").join(EXCLUDE);
        create_dir_all(root.path().join(".git/info")).expect("a folder can be made");
        write(&exclude, "one\n").expect("a file can be written");
        let mut room = Room::unlimited();
        let mut files = RuleFiles::default();
        files.note(".git".as_ref(), Kind::Folder);
        let mut hides = |known: &Known, folder: &Path, name: &str| {
            let rules = known.rules.with_folder(root.project(), folder, files, &mut room);
            rules.matched(folder, name.as_ref(), false).is_ignore()
        };
        let known = look(&root, root.path());
        assert!(
            known.is_current() && hides(&known, root.path(), "one") && !hides(&known, root.path(), "two")
        );
        assert!(!hides(&known, &root.path().join("below"), "one"), "another repository has rules of its own");
        std::thread::sleep(Duration::from_millis(20));
        write(&exclude, "two\n").expect("a file can be written");
        assert!(!known.is_current());
        let known = look(&root, root.path());
        assert!(hides(&known, root.path(), "two") && !hides(&known, root.path(), "one"));
    }

    /// Breaks if places that are looked at often do not come to be watched, if a change is missed from then on, or if after
    /// one they are looked at for ever.
    #[test]
    fn what_is_looked_at_often_is_watched() {
        let above = tempfile::tempdir().expect("a folder can be made");
        let project = above.path().canonicalize().expect("the folder is there").join("project");
        create_dir_all(&project).expect("a folder can be made");
        let root = Root::open(&project).expect("the project opens");
        let read = || look(&root, &project);
        let is_watched = |known: &Known| known.calm.lock().watch.is_some();
        let known = read();
        for look in 1..=2 * LOOKS_MIN {
            assert!(known.is_current());
            assert_eq!(is_watched(&known), look >= LOOKS_MIN, "after {look}");
        }
        write(above.path().join("beside"), "").expect("a file can be written");
        assert!(known.is_current() && is_watched(&known), "what does not matter does not disturb");
        create_dir_all(above.path().join(".git")).expect("a folder can be made");
        assert!(!known.is_current());
        let known = read();
        assert!((0..LOOKS_MIN).all(|_| known.is_current()) && is_watched(&known));
        std::fs::remove_dir(above.path().join(".git")).expect("a folder can be removed");
        std::fs::create_dir(above.path().join(".git")).expect("a folder can be made");
        let _changed = known.is_current();
        assert!(!is_watched(&known), "after a change there is another look");
    }

    /// Breaks if rules that were written a moment ago are read by each call, or if a change is missed that leaves a file the
    /// time that it had.
    #[test]
    fn what_has_changed_just_now_is_watched() {
        let above = tempfile::tempdir().expect("a folder can be made");
        let project = above.path().canonicalize().expect("the folder is there").join("project");
        create_dir_all(&project).expect("a folder can be made");
        let root = Root::open(&project).expect("the project opens");
        let hides = |name: &str| {
            rules(root.for_call().project(), &project).matched(&project, name.as_ref(), false).is_ignore()
        };
        create_dir_all(above.path().join(".git")).expect("a folder can be made");
        for round in 0..50 {
            let (hidden, other) = if round % 2 == 0 { ("one", "two") } else { ("two", "one") };
            write(above.path().join(".gitignore"), format!("{hidden}\n")).expect("a file can be written");
            for _ in 0..=round % 7 {
                assert!(hides(hidden) && !hides(other), "round {round}");
            }
        }
        let kept = || rules(root.for_call().project(), &project);
        let _twice = (kept(), kept());
        assert!(Arc::ptr_eq(&kept(), &kept()));
    }

    /// Breaks if a call takes what another has found before it was made.
    #[test]
    fn a_look_serves_the_calls_that_were_made_before_it() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let root = Root::open(folder.path()).expect("the project opens");
        let known = look(&root, root.path());
        let (early, call) = (root.for_call(), root.for_call());
        assert!(!known.was_current(call.project().asked()), "nobody has looked");
        assert!(known.is_current());
        let late = root.for_call();
        let served = [&early, &call, &late].map(|root| known.was_current(root.project().asked()));
        assert_eq!(served, [true, true, false]);
    }
}

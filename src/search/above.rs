//! The rules from above a folder, kept between calls.
//!
//! To find them takes a small search longer than to search. So what was looked at for them is noted: the settings of git,
//! the folders above, which tell by their times what was made or renamed in them, and the files with rules. While all of
//! it is as it was, so are the rules. The times of what has changed in the last moment tell nothing, as a file system's
//! clock may stand still so long: in such a folder each name is noted that may matter, and such a file is read again by
//! the next call. So is what lies on a file system that others change behind the kernel's back. Of calls that are made
//! together one looks, and the others take what it has found after they were made.

use crate::root::Folder;
use crate::rule::{EXCLUDE, RuleFiles, Rules};
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

/// For which folder what is known.
static KNOWN: LazyLock<Mutex<HashMap<PathBuf, Arc<Known>>>> = LazyLock::new(Mutex::default);

/// Returns what [`rules`] does if that is known, and still holds.
pub(crate) fn known(inside: &Folder, folder: &Path) -> Option<Arc<Rules>> {
    let known = KNOWN.lock().get(folder).cloned()?;
    let is_current =
        known.inside == inside.path() && (known.was_current(inside.asked()) || known.is_current());
    is_current.then(|| Arc::clone(&known.rules))
}

/// Returns the rules that hold in `folder` because of the folders above it and of git's settings.
pub(crate) fn rules(inside: &Folder, folder: &Path) -> Arc<Rules> {
    if let Some(rules) = known(inside, folder) {
        return rules;
    }
    let known = Known::read(inside, folder);
    let rules = Arc::clone(&known.rules);
    let mut kept = KNOWN.lock();
    if known.is_settled {
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(folder.to_owned(), Arc::new(known));
    } else {
        kept.remove(folder);
    }
    rules
}

/// Rules, and all that they come from.
struct Known {
    rules: Arc<Rules>,
    /// The folder through which some of it was read.
    inside: PathBuf,
    variables: [Option<OsString>; 4],
    seen: Vec<Seen>,
    /// Whether every later change would be noticed.
    is_settled: bool,
    /// When it was last found to hold.
    current: Mutex<Option<Instant>>,
}

impl Known {
    /// Reads the rules, and notes each place before it is read.
    fn read(inside: &Folder, folder: &Path) -> Known {
        let mut look = Look::now();
        look.is_settled = rustix::fs::statfs(folder).is_ok_and(|found| is_local(found.f_type));
        let variables = variables();
        for path in settings(&variables) {
            look.note(path, By::Link);
        }
        let global = gitconfig_excludes_path();
        if let Some(path) = &global
            && look.seen.iter().all(|seen| seen.path != *path)
        {
            look.note(path.clone(), By::Link);
        }
        let mut above: Vec<(&Path, RuleFiles)> = Vec::new();
        for folder in folder.ancestors().skip(1) {
            look.folder(folder);
            let files = RuleFiles::probe(folder);
            for path in files.paths(folder) {
                look.note(path, By::Name);
            }
            if files.has_git() {
                let git = folder.join(".git");
                // A link, or the file of a worktree, may come to lead elsewhere unseen.
                look.is_settled &= git.symlink_metadata().is_ok_and(|found| found.is_dir());
                look.note(git.join(EXCLUDE), By::Name);
            }
            above.push((folder, files));
        }
        let rules = Rules::from_above(inside, folder, global.as_deref(), above.into_iter().rev());
        let Look { seen, is_settled, .. } = look;
        Known {
            rules,
            inside: inside.path().to_owned(),
            variables,
            seen,
            is_settled,
            current: Mutex::new(None),
        }
    }

    /// Returns whether nothing has changed since.
    fn is_current(&self) -> bool {
        let looked = Instant::now();
        let is_current = self.variables == variables()
            && self.seen.iter().all(|seen| seen.stamp == Stamp::of(&seen.path, seen.by));
        if is_current {
            let mut current = self.current.lock();
            *current = (*current).max(Some(looked));
        }
        is_current
    }

    /// Returns whether another call has found, at `time` or later, that nothing has changed.
    fn was_current(&self, time: Instant) -> bool {
        self.current.lock().is_some_and(|current| current >= time)
    }
}

fn variables() -> [Option<OsString>; 4] {
    VARIABLES.map(std::env::var_os)
}

/// The files in which git's settings may be, whether they are there or not.
fn settings([home, config, global, system]: &[Option<OsString>; 4]) -> impl Iterator<Item = PathBuf> {
    let path = |variable: &Option<OsString>| {
        variable.as_deref().filter(|value| !value.is_empty()).map(PathBuf::from)
    };
    let config = path(config).or_else(|| Some(path(home)?.join(".config")));
    let system = path(system).unwrap_or_else(|| PathBuf::from("/etc/gitconfig"));
    let own = path(home).map(|home| home.join(".gitconfig"));
    let config = config.map(|config| [config.join("git/config"), config.join("git/ignore")]);
    [path(global), own, Some(system)].into_iter().flatten().chain(config.into_iter().flatten())
}

/// A place that was looked at.
struct Seen {
    path: PathBuf,
    by: By,
    stamp: Option<Stamp>,
}

/// What of a place matters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// What has its name, be it a link.
    Name,
    /// What has its name, or that to which a link of this name leads.
    Link,
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
    is_settled: bool,
}

impl Look {
    fn now() -> Look {
        Look { now: SystemTime::now(), seen: Vec::new(), devices: Vec::new(), is_settled: true }
    }

    /// Notes which files of rules a folder has.
    fn folder(&mut self, folder: &Path) {
        let stamp = Stamp::of(folder, By::Name);
        if self.tells(folder, stamp.as_ref()) {
            return self.seen.push(Seen { path: folder.to_owned(), by: By::Name, stamp });
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
        if !self.devices.contains(&stamp.device)
            && rustix::fs::statfs(path).is_ok_and(|found| is_local(found.f_type))
        {
            self.devices.push(stamp.device);
        }
        age.is_some_and(|age| age > SETTLED) && self.devices.contains(&stamp.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Root;
    use std::fs::{create_dir_all, remove_file, rename, write};

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
            let known = Known::read(root.project(), &project);
            assert!(known.is_current(), "before {what}");
            assert!(index == 0 || !known.is_settled, "what was written just now may change within its time");
            // Longer than the step of a file system's clock.
            std::thread::sleep(Duration::from_millis(20));
            change().expect("a file can be changed");
            assert!(!known.is_current(), "{what} is noticed");
            let fresh = Known::read(root.project(), &project);
            assert_ne!(known.rules.fingerprint(), fresh.rules.fingerprint(), "{what} changes the rules");
        }
    }

    /// Breaks if a call takes what another has found before it was made.
    #[test]
    fn a_look_serves_the_calls_that_were_made_before_it() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let root = Root::open(folder.path()).expect("the project opens");
        let known = Known::read(root.project(), root.path());
        let (early, call) = (root.for_call(), root.for_call());
        assert!(!known.was_current(call.project().asked()), "nobody has looked");
        assert!(known.is_current());
        let late = root.for_call();
        let served = [&early, &call, &late].map(|root| known.was_current(root.project().asked()));
        assert_eq!(served, [true, true, false]);
    }
}

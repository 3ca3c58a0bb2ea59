//! Which files a search does not see: the ignore rules of git and ripgrep.
//!
//! The rules are those of ripgrep's `ignore` crate (`src/dir.rs`), and its matchers do the matching. Its walkers are not
//! used, because they bring their own threads: here a folder is a unit of the pool, and a folder's rules are a link in
//! a chain that its subfolders share. A test compares both walks on one tree.
//!
//! In order of precedence: `.rgignore`, `.ignore`, `.gitignore`, `.git/info/exclude`, the user's global gitignore; of
//! each, the file nearest to the path. Git's files count inside a repository only, and not beyond its top folder.

#[cfg(target_os = "linux")]
use crate::above::{Stamp, stamp, telling_stamp};
use crate::limit::IGNORE_FILE_BYTES_MAX;
use crate::root::{Folder, open_outside};
use ignore::Match;
#[cfg(not(target_os = "linux"))]
use ignore::gitignore::gitconfig_excludes_path;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use parking_lot::Mutex;
#[cfg(not(target_os = "linux"))]
use stampless::{Stamp, stamp, telling_stamp};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

/// How many files of rules are kept compiled, which takes a hundred times as long as reading them.
const COMPILED_MAX: usize = 256;
/// Files of rules that are as large together take long to compile.
const BRIEF_BYTES_MAX: u64 = 4 * 1024;
/// Where a repository's own rules are in its `.git`.
pub(crate) const EXCLUDE: &str = "info/exclude";
/// The largest file of rules that is kept.
const COMPILED_BYTES_MAX: usize = 16 * 1024;

/// Which of the files that hold or delimit rules a folder has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RuleFiles {
    rgignore: bool,
    ignore: bool,
    gitignore: bool,
    git: bool,
    jj: bool,
}

impl RuleFiles {
    /// The names of these files.
    pub(crate) const NAMES: [&str; 5] = [".rgignore", ".ignore", ".gitignore", ".git", ".jj"];

    /// Notes an entry of the folder.
    pub(crate) fn note(&mut self, name: &OsStr) {
        match name.to_str() {
            Some(".rgignore") => self.rgignore = true,
            Some(".ignore") => self.ignore = true,
            Some(".gitignore") => self.gitignore = true,
            Some(".git") => self.git = true,
            Some(".jj") => self.jj = true,
            Some(_) | None => {}
        }
    }

    /// Looks for the files one by one, where the folder is not read anyway.
    pub(crate) fn probe(folder: &Path) -> RuleFiles {
        let mut files = RuleFiles::default();
        for name in RuleFiles::NAMES {
            if folder.join(name).symlink_metadata().is_ok() {
                files.note(OsStr::new(name));
            }
        }
        files
    }

    /// Returns whether a change of the entry `name` changes the rules of its folder.
    #[cfg(target_os = "linux")]
    pub(crate) fn has(name: &OsStr) -> bool {
        let mut files = RuleFiles::default();
        files.note(name);
        !files.is_empty()
    }

    /// Returns whether the folder is a git repository or worktree.
    #[cfg(target_os = "linux")]
    pub(crate) fn has_git(self) -> bool {
        self.git
    }

    /// Returns whether reading these files of `folder` may take long.
    pub(crate) fn are_large(self, folder: &Path) -> bool {
        let exclude = self.git.then(|| folder.join(".git").join(EXCLUDE));
        let size_bytes = |path: PathBuf| path.symlink_metadata().map_or(0, |found| found.len());
        let bytes: u64 = self.paths(folder).chain(exclude).map(size_bytes).sum();
        bytes > BRIEF_BYTES_MAX
    }

    /// Returns the files of rules that `folder` has.
    pub(crate) fn paths(self, folder: &Path) -> impl Iterator<Item = PathBuf> {
        let files = [(self.rgignore, ".rgignore"), (self.ignore, ".ignore"), (self.gitignore, ".gitignore")];
        files.into_iter().filter(|(there, _)| *there).map(|(_, name)| folder.join(name))
    }

    fn is_empty(self) -> bool {
        !(self.rgignore || self.ignore || self.gitignore || self.git || self.jj)
    }
}

/// The rules that hold in a folder: its own and, through `parent`, those of the folders above.
pub(crate) struct Rules {
    parent: Option<Arc<Rules>>,
    rgignore: Option<Arc<RuleFile>>,
    ignore: Option<Arc<RuleFile>>,
    gitignore: Option<Arc<RuleFile>>,
    exclude: Option<Arc<RuleFile>>,
    global: Option<Arc<RuleFile>>,
    is_repository: bool,
    in_repository: bool,
}

impl Rules {
    /// Returns the rules that hold in `folder` because of the folders above it; not the folder's own. What lies in
    /// `inside` is read through it.
    pub(crate) fn above(inside: &Folder, folder: &Path) -> Arc<Rules> {
        #[cfg(target_os = "linux")]
        return crate::above::rules(inside, folder);
        #[cfg(not(target_os = "linux"))]
        {
            let above: Vec<&Path> = folder.ancestors().skip(1).collect();
            let above = above.into_iter().rev().map(|above| (above, RuleFiles::probe(above)));
            Rules::from_above(inside, folder, gitconfig_excludes_path().as_deref(), above)
        }
    }

    /// Returns the same if it is known from an earlier call, without reading any file.
    pub(crate) fn known_above(inside: &Folder, folder: &Path) -> Option<Arc<Rules>> {
        #[cfg(target_os = "linux")]
        return crate::above::known(inside, folder);
        #[cfg(not(target_os = "linux"))]
        {
            let _unknown = (inside, folder);
            None
        }
    }

    /// Reads the rules of the folders `above` the folder, the topmost first, and the user's global ones.
    pub(crate) fn from_above<'a>(
        inside: &Folder,
        folder: &Path,
        global: Option<&Path>,
        above: impl Iterator<Item = (&'a Path, RuleFiles)>,
    ) -> Arc<Rules> {
        let top = Arc::new(Rules {
            parent: None,
            rgignore: None,
            ignore: None,
            gitignore: None,
            exclude: None,
            // Unreadable global settings are the user's to notice in git itself; the walk goes on without them.
            // Git follows links there, as many keep their settings elsewhere.
            global: global.and_then(|path| read_rules(inside, folder, &path.canonicalize().ok()?)),
            is_repository: false,
            in_repository: false,
        });
        above.fold(top, |rules, (above, files)| rules.with_folder(inside, above, files))
    }

    /// Adds the rules of `folder`, of which `files` are there; the same rules when there are none.
    pub(crate) fn with_folder(
        self: &Arc<Rules>,
        inside: &Folder,
        folder: &Path,
        files: RuleFiles,
    ) -> Arc<Rules> {
        if files.is_empty() {
            return Arc::clone(self);
        }
        let load =
            |there: bool, name: &str| there.then(|| read_rules(inside, folder, &folder.join(name))).flatten();
        let is_repository = files.git || files.jj;
        Arc::new(Rules {
            parent: Some(Arc::clone(self)),
            rgignore: load(files.rgignore, ".rgignore"),
            ignore: load(files.ignore, ".ignore"),
            gitignore: load(files.gitignore, ".gitignore"),
            exclude: files.git.then(|| read_exclude(inside, folder)).flatten(),
            global: self.global.clone(),
            is_repository,
            in_repository: self.in_repository || is_repository,
        })
    }

    /// Says whether the rules hide `path`, bring it back, or have nothing on it.
    pub(crate) fn matched(&self, path: &Path, is_folder: bool) -> Match<()> {
        let look = |found: &mut Match<()>, rules: &Option<Arc<RuleFile>>| {
            if let Some(rules) = rules
                && found.is_none()
            {
                *found = rules.matcher.matched(path, is_folder).map(|_| ());
            }
        };
        let (mut rgignore, mut ignore, mut gitignore, mut exclude) =
            (Match::None, Match::None, Match::None, Match::None);
        let mut beyond_repository = !self.in_repository;
        let mut next = Some(self);
        while let Some(rules) = next {
            look(&mut rgignore, &rules.rgignore);
            look(&mut ignore, &rules.ignore);
            if !beyond_repository {
                look(&mut gitignore, &rules.gitignore);
                look(&mut exclude, &rules.exclude);
            }
            beyond_repository |= rules.is_repository;
            next = rules.parent.as_deref();
        }
        let mut global = Match::None;
        if self.in_repository {
            look(&mut global, &self.global);
        }
        rgignore.or(ignore).or(gitignore).or(exclude).or(global)
    }

    /// Returns a number that changes when what the rules come from does.
    #[cfg(target_os = "linux")]
    pub(crate) fn fingerprint(&self) -> u64 {
        let digest = |rules: &Option<Arc<RuleFile>>| rules.as_ref().map(|rules| rules.digest);
        let mut hasher = DefaultHasher::new();
        digest(&self.global).hash(&mut hasher);
        let mut next = Some(self);
        while let Some(rules) = next {
            let files = [&rules.rgignore, &rules.ignore, &rules.gitignore, &rules.exclude].map(digest);
            (files, rules.is_repository).hash(&mut hasher);
            next = rules.parent.as_deref();
        }
        hasher.finish()
    }
}

/// A file of rules, compiled.
struct RuleFile {
    matcher: Gitignore,
    /// Of the file's place and text.
    digest: u64,
}

/// Returns a number that changes when the repository's `info/exclude` does.
#[cfg(target_os = "linux")]
pub(crate) fn fingerprint_exclude(inside: &Folder, repository: &Path) -> u64 {
    read_exclude(inside, repository).map_or(0, |rules| rules.digest)
}

/// Files of rules as they were compiled: for which folder, from which file.
type Compiled = HashMap<(PathBuf, PathBuf), Kept>;

/// A compiled file of rules.
struct Kept {
    rules: Option<Arc<RuleFile>>,
    text: Vec<u8>,
    /// While the file has it, it has this text too.
    stamp: Option<Stamp>,
}

/// Elsewhere a file has to be read to know whether it has changed.
#[cfg(not(target_os = "linux"))]
mod stampless {
    pub(super) type Stamp = ();
    pub(super) fn stamp(_path: &std::path::Path) -> Option<Stamp> {
        None
    }
    pub(super) use stamp as telling_stamp;
}

/// Reads one file of rules for `folder`. A file that is not there, is no regular file or is too large has no effect.
fn read_rules(inside: &Folder, folder: &Path, path: &Path) -> Option<Arc<RuleFile>> {
    static COMPILED: LazyLock<Mutex<Compiled>> = LazyLock::new(Mutex::default);
    let key = (folder.to_owned(), path.to_owned());
    let kept = COMPILED.lock().get(&key).and_then(|kept| Some((kept.stamp.clone()?, kept.rules.clone())));
    if let Some((kept, rules)) = kept
        && stamp(path) == Some(kept)
    {
        return rules;
    }
    let stamp = telling_stamp(path);
    let (file, size_bytes) = open_rules(inside, path).ok()?;
    if size_bytes > IGNORE_FILE_BYTES_MAX {
        return None;
    }
    // One byte more, so that one call reads to the end.
    let mut text = Vec::with_capacity(usize::try_from(size_bytes).ok()? + 1);
    file.take(IGNORE_FILE_BYTES_MAX).read_to_end(&mut text).ok()?;
    if let Some(kept) = COMPILED.lock().get_mut(&key).filter(|kept| kept.text == text) {
        kept.stamp = stamp;
        return kept.rules.clone();
    }
    let mut builder = GitignoreBuilder::new(folder);
    for line in String::from_utf8_lossy(&text).trim_start_matches('\u{feff}').lines() {
        // Git, too, passes over a line it cannot read; the rest of the file counts.
        let _unreadable_line = builder.add_line(Some(path.to_owned()), line).is_err();
    }
    let mut hasher = DefaultHasher::new();
    (&key, &text).hash(&mut hasher);
    let digest = hasher.finish();
    let matcher = builder.build().ok().filter(|rules| !rules.is_empty());
    let rules = matcher.map(|matcher| Arc::new(RuleFile { matcher, digest }));
    if text.len() <= COMPILED_BYTES_MAX {
        let mut compiled = COMPILED.lock();
        if compiled.len() >= COMPILED_MAX {
            compiled.clear();
        }
        compiled.insert(key, Kept { rules: rules.clone(), text, stamp });
    }
    rules
}

/// Opens a file of rules, through the handle of `inside` if it lies there.
fn open_rules(inside: &Folder, path: &Path) -> io::Result<(File, u64)> {
    if path.starts_with(inside.path()) { inside.open_file(path) } else { open_outside(path) }
}

/// Reads `info/exclude` of the repository at `folder`, which a worktree or submodule keeps elsewhere.
fn read_exclude(inside: &Folder, folder: &Path) -> Option<Arc<RuleFile>> {
    let git = folder.join(".git");
    let common = if git.is_dir() { Some(git) } else { common_folder(inside, folder, &git) };
    read_rules(inside, folder, &common?.join(EXCLUDE))
}

/// Follows a `.git` file (`gitdir: ...`, gitrepository-layout(5)) to the folder that several worktrees share.
fn common_folder(inside: &Folder, folder: &Path, git: &Path) -> Option<PathBuf> {
    let read_line = |path: &Path| -> Option<String> {
        let (file, _) = open_rules(inside, path).ok()?;
        let mut text = String::new();
        file.take(IGNORE_FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
        Some(text.trim_end().to_owned())
    };
    let git_folder = folder.join(read_line(git)?.strip_prefix("gitdir: ")?);
    Some(match read_line(&git_folder.join("commondir")) {
        Some(common) => git_folder.join(common),
        None => git_folder,
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::above::SETTLED;
    use crate::root::Root;
    use std::fs::{remove_file, rename, write};
    use std::os::unix::fs::symlink;
    use std::thread::sleep;
    use std::time::Duration;

    /// Breaks if rules are kept that have changed, in whatever way, or if those that stand still are read each time.
    #[test]
    fn rules_are_kept_while_their_file_stands_still() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap();
        let at = |name: &str| root.path().join(name);
        let read = || read_rules(root.project(), root.path(), &at(".gitignore"));
        let hides =
            |name: &str| read().is_some_and(|rules| rules.matcher.matched(at(name), false).is_ignore());
        write(at(".gitignore"), "one\n").unwrap();
        write(at("other"), "two\n").unwrap();
        write(at("elsewhere"), "one\n").unwrap();
        assert!(hides("one"));
        assert_eq!(telling_stamp(&at(".gitignore")), None, "it may change within the time that it has");

        sleep(SETTLED + Duration::from_secs(2));
        assert!(hides("one"));
        assert!(telling_stamp(&at(".gitignore")).is_some_and(|now| stamp(&at(".gitignore")) == Some(now)));
        assert!(Arc::ptr_eq(&read().unwrap(), &read().unwrap()));

        write(at(".gitignore"), "two\n").unwrap();
        assert!(!hides("one") && hides("two"), "another text of the same length");
        rename(at("elsewhere"), at(".gitignore")).unwrap();
        assert!(hides("one") && !hides("two"), "an older file in its place");
        remove_file(at(".gitignore")).unwrap();
        assert!(!hides("one"), "no file");
        symlink("other", at(".gitignore")).unwrap();
        assert!(!hides("two"), "a link, which has no effect");
        remove_file(at(".gitignore")).unwrap();
        rename(at("other"), at(".gitignore")).unwrap();
        assert!(hides("two"), "a file again");
    }
}

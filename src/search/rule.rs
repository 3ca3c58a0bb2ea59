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
use crate::root::{Folder, Kind, open_outside};
use ignore::Match;
#[cfg(not(target_os = "linux"))]
use ignore::gitignore::gitconfig_excludes_path;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use parking_lot::Mutex;
#[cfg(not(target_os = "linux"))]
use stampless::{Stamp, stamp, telling_stamp};
use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

/// How many files of rules are kept compiled, which takes a hundred times as long as reading them.
const COMPILED_MAX: usize = 256;
/// Files of rules that are larger together take more than a moment to compile.
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
    git_is_folder: bool,
    jj: bool,
}

/// How much of files of rules may be compiled.
pub(crate) struct Room {
    left_bytes: u64,
    /// Whether there was more.
    pub(crate) is_over: bool,
}

impl Room {
    pub(crate) fn unlimited() -> Room {
        Room { left_bytes: u64::MAX, is_over: false }
    }

    /// Room for what takes a moment.
    pub(crate) fn brief() -> Room {
        Room { left_bytes: BRIEF_BYTES_MAX, is_over: false }
    }

    fn take(&mut self, bytes: u64) -> Option<()> {
        let left = self.left_bytes.checked_sub(bytes);
        self.left_bytes = left.unwrap_or_default();
        self.is_over |= left.is_none();
        left.map(|_| ())
    }
}

impl RuleFiles {
    /// The names of these files.
    pub(crate) const NAMES: [&str; 5] = [".rgignore", ".ignore", ".gitignore", ".git", ".jj"];

    /// Notes an entry of the folder.
    pub(crate) fn note(&mut self, name: &OsStr, kind: Kind) {
        match name.to_str() {
            Some(".rgignore") => self.rgignore = true,
            Some(".ignore") => self.ignore = true,
            Some(".gitignore") => self.gitignore = true,
            Some(".git") => (self.git, self.git_is_folder) = (true, kind == Kind::Folder),
            Some(".jj") => self.jj = true,
            Some(_) | None => {}
        }
    }

    /// Looks for the files one by one, where the folder is not read anyway.
    pub(crate) fn probe(folder: &Path) -> RuleFiles {
        let mut files = RuleFiles::default();
        for name in RuleFiles::NAMES {
            if let Ok(found) = folder.join(name).symlink_metadata() {
                files.note(OsStr::new(name), if found.is_dir() { Kind::Folder } else { Kind::File });
            }
        }
        files
    }

    /// Returns whether a change of the entry `name` changes the rules of its folder.
    #[cfg(target_os = "linux")]
    pub(crate) fn has(name: &OsStr) -> bool {
        let mut files = RuleFiles::default();
        files.note(name, Kind::File);
        !files.is_empty()
    }

    /// Returns whether the folder is a git repository or worktree.
    #[cfg(target_os = "linux")]
    pub(crate) fn has_git(self) -> bool {
        self.git
    }

    /// Returns whether it has a `.git` that is a folder itself, and neither a link nor a file that names one.
    #[cfg(target_os = "linux")]
    pub(crate) fn has_git_folder(self) -> bool {
        self.git_is_folder
    }

    /// Returns the files of rules that `folder` has.
    #[cfg(target_os = "linux")]
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
    /// Of rules from above a folder: the folder, and its own `info/exclude`, where that was read with them.
    exclude_below: Option<(PathBuf, Option<Arc<RuleFile>>)>,
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
            let global = gitconfig_excludes_path();
            Rules::from_above(inside, folder, global.as_deref(), above, false, &mut Room::unlimited())
        }
    }

    /// Returns the same if that takes a moment only.
    pub(crate) fn briefly_above(inside: &Folder, folder: &Path) -> Option<Arc<Rules>> {
        #[cfg(target_os = "linux")]
        return crate::above::brief_rules(inside, folder);
        #[cfg(not(target_os = "linux"))]
        {
            let _unknown = (inside, folder);
            None
        }
    }

    /// Reads the rules of the folders `above` the folder, the topmost first, and the user's global ones; `with_exclude` what
    /// the repository in the folder itself excludes too.
    pub(crate) fn from_above<'a>(
        inside: &Folder,
        folder: &Path,
        global: Option<&Path>,
        above: impl Iterator<Item = (&'a Path, RuleFiles)>,
        with_exclude: bool,
        room: &mut Room,
    ) -> Arc<Rules> {
        let top = Arc::new(Rules {
            parent: None,
            exclude_below: None,
            rgignore: None,
            ignore: None,
            gitignore: None,
            exclude: None,
            // Unreadable global settings are the user's to notice in git itself; the walk goes on without them.
            // Git follows links there, as many keep their settings elsewhere.
            global: global.and_then(|path| read_rules(inside, folder, &path.canonicalize().ok()?, room)),
            is_repository: false,
            in_repository: false,
        });
        let mut rules =
            above.fold(top, |rules, (above, files)| rules.with_folder(inside, above, files, room));
        if with_exclude && let Some(rules) = Arc::get_mut(&mut rules) {
            let exclude = read_exclude(inside, folder, true, room);
            rules.exclude_below = Some((folder.to_owned(), exclude));
        }
        rules
    }

    /// Adds the rules of `folder`, of which `files` are there; the same rules when there are none. What there is no room
    /// for is missing.
    pub(crate) fn with_folder(
        self: &Arc<Rules>,
        inside: &Folder,
        folder: &Path,
        files: RuleFiles,
        room: &mut Room,
    ) -> Arc<Rules> {
        if files.is_empty() {
            return Arc::clone(self);
        }
        let mut load = |there: bool, name: &str| {
            there.then(|| read_rules(inside, folder, &folder.join(name), room)).flatten()
        };
        let is_repository = files.git || files.jj;
        let rgignore = load(files.rgignore, ".rgignore");
        let ignore = load(files.ignore, ".ignore");
        let gitignore = load(files.gitignore, ".gitignore");
        let exclude = match &self.exclude_below {
            Some((below, exclude)) if files.git_is_folder && below.as_os_str() == folder => exclude.clone(),
            Some(_) | None if files.git => read_exclude(inside, folder, files.git_is_folder, room),
            Some(_) | None => None,
        };
        Arc::new(Rules {
            parent: Some(Arc::clone(self)),
            exclude_below: None,
            rgignore,
            ignore,
            gitignore,
            exclude,
            global: self.global.clone(),
            is_repository,
            in_repository: self.in_repository || is_repository,
        })
    }

    /// Says whether the rules hide the entry `name` of `folder`, bring it back, or have nothing on it.
    pub(crate) fn matched(&self, folder: &Path, name: &OsStr, is_folder: bool) -> Match<()> {
        // Seldom needed, and joined only then.
        let path = OnceCell::new();
        let look = |found: &mut Match<()>, rules: &Option<Arc<RuleFile>>| {
            if let Some(rules) = rules
                && found.is_none()
                && rules.names.may_have(name.as_encoded_bytes())
            {
                let path = path.get_or_init(|| folder.join(name));
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
    names: Names,
    matcher: Gitignore,
    /// Of the file's place and text.
    digest: u64,
}

/// What is called so that the patterns of a file of rules may match it. Of most entries that is told from their names, in
/// a tenth of the time that the matcher takes.
#[derive(Default)]
struct Names {
    exact: HashSet<Box<[u8]>>,
    tails: Vec<Box<[u8]>>,
    /// Whether there is a pattern that says too little of names.
    are_open: bool,
}

impl Names {
    /// Adds what a line of the file may match: the last part of its pattern says it, if that is a name, or `*` and a tail.
    fn add(&mut self, line: &str) {
        let pattern = line.trim_end();
        if pattern.is_empty() || pattern.starts_with('#') {
            return;
        }
        let pattern = pattern.strip_prefix('!').unwrap_or(pattern);
        let name = pattern.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let (text, is_tail) = name.strip_prefix('*').map_or((name, false), |tail| (tail, true));
        if text.is_empty() || text.contains(['*', '?', '[', ']', '{', '}', '\\']) {
            self.are_open = true;
        } else if is_tail {
            self.tails.push(text.as_bytes().into());
        } else {
            self.exact.insert(text.as_bytes().into());
        }
    }

    fn may_have(&self, name: &[u8]) -> bool {
        self.are_open || self.exact.contains(name) || self.tails.iter().any(|tail| name.ends_with(tail))
    }
}

/// Returns a number that changes when the repository's `info/exclude` does.
#[cfg(target_os = "linux")]
pub(crate) fn fingerprint_exclude(inside: &Folder, repository: &Path) -> u64 {
    let exclude = read_exclude(inside, repository, false, &mut Room::unlimited());
    exclude.map_or(0, |rules| rules.digest)
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
fn read_rules(inside: &Folder, folder: &Path, path: &Path, room: &mut Room) -> Option<Arc<RuleFile>> {
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
    room.take(size_bytes)?;
    // One byte more, so that one call reads to the end.
    let mut text = Vec::with_capacity(usize::try_from(size_bytes).ok()? + 1);
    file.take(IGNORE_FILE_BYTES_MAX).read_to_end(&mut text).ok()?;
    if let Some(kept) = COMPILED.lock().get_mut(&key).filter(|kept| kept.text == text) {
        kept.stamp = stamp;
        return kept.rules.clone();
    }
    let mut builder = GitignoreBuilder::new(folder);
    let mut names = Names::default();
    for line in String::from_utf8_lossy(&text).trim_start_matches('\u{feff}').lines() {
        // Git, too, passes over a line it cannot read; the rest of the file counts.
        let _unreadable_line = builder.add_line(Some(path.to_owned()), line).is_err();
        names.add(line);
    }
    let mut hasher = DefaultHasher::new();
    (&key, &text).hash(&mut hasher);
    let digest = hasher.finish();
    let matcher = builder.build().ok().filter(|rules| !rules.is_empty());
    let rules = matcher.map(|matcher| Arc::new(RuleFile { names, matcher, digest }));
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

/// Reads `info/exclude` of the repository at `folder`, which a worktree or submodule keeps elsewhere; `is_folder` when it is
/// known that `.git` is one.
fn read_exclude(inside: &Folder, folder: &Path, is_folder: bool, room: &mut Room) -> Option<Arc<RuleFile>> {
    let git = folder.join(".git");
    let common = if is_folder || git.is_dir() { Some(git) } else { common_folder(inside, folder, &git) };
    read_rules(inside, folder, &common?.join(EXCLUDE), room)
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

    /// Breaks if the look at a name rules out what a pattern matches, or if it tells nothing of plain patterns.
    #[test]
    fn names_tell_what_no_pattern_matches() {
        let patterns = [
            "target",
            "/target",
            "target/",
            "/a/target",
            "a/b",
            "*.node",
            "!keep.me",
            "/!odd",
            "\\!bang",
            "\\#hash",
            "# note",
            "**",
            "**/",
            "*",
            "/*",
            "*/",
            "a/**",
            "**/b",
            "a/**/b",
            "b*",
            "?b",
            "[ab]",
            "*.{a,node}",
            "*a*",
            "a\\*",
            "\\*",
            "name ",
            "name\\ ",
            " lead",
            "tab\t",
            "é",
            "*é",
            "a//",
            "//",
            "/",
            "!",
            "!/",
            "!!x",
            "***",
            "*.",
            "..",
            "a,b",
        ];
        let names = [
            "target", "a", "b", "ab", "x.node", ".node", "node", "keep.me", "!keep.me", "!odd", "odd",
            "!bang", "bang", "#hash", "a*", "*", "name", "name ", "name\\ ", " lead", "lead", "tab\t", "tab",
            "é", "xé", "!", "!x", "x", "x.", ".", "a,b",
        ];
        for pattern in patterns {
            let mut builder = GitignoreBuilder::new("/root");
            let _unreadable_line = builder.add_line(None, pattern).is_err();
            let matcher = builder.build().unwrap();
            let mut told = Names::default();
            told.add(pattern);
            for (name, above) in names.iter().flat_map(|name| ["", "a/", "a/b/"].map(|above| (name, above))) {
                let path = format!("/root/{above}{name}");
                let is_matched =
                    [false, true].iter().any(|is_folder| !matcher.matched(&path, *is_folder).is_none());
                assert!(told.may_have(name.as_bytes()) || !is_matched, "{pattern:?} matches {path:?}");
            }
        }
        let mut plain = Names::default();
        ["/target", "node_modules/", "*.node", "# note", "!src/keep"]
            .iter()
            .for_each(|pattern| plain.add(pattern));
        assert!(!["src", "node", "target.rs", "note"].iter().any(|name| plain.may_have(name.as_bytes())));
    }

    /// Breaks if rules are kept that have changed, in whatever way, or if those that stand still are read each time.
    #[test]
    fn rules_are_kept_while_their_file_stands_still() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap();
        let at = |name: &str| root.path().join(name);
        let read = || read_rules(root.project(), root.path(), &at(".gitignore"), &mut Room::unlimited());
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

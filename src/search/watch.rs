//! Tells whether anything has happened to some places, without a look at each.
//!
//! The kernel queues an event in the same system call that makes a change. So an empty queue says of all that is watched
//! that nothing has changed. Of each place its name is watched in every folder on the way to it, and the file itself, which
//! may be changed by another name. What may change untold has no [`Watch`]: places to which a link leads, and file systems
//! that others change behind the kernel's back. That another file system is mounted over a folder is not seen.

use crate::above::is_on_local;
use parking_lot::Mutex;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Weak};

/// How many there may be at a time, since the system has some hundred for all processes of a user. The oldest goes first.
const WATCHES_MAX: usize = 8;
/// After how many events that do not matter a folder is too busy to be watched.
const EVENTS_MAX: usize = 256;

/// The queues of all there are, the oldest first.
static QUEUES: Mutex<VecDeque<Weak<Mutex<Option<OwnedFd>>>>> = Mutex::new(VecDeque::new());

/// A watch of some places.
pub(crate) struct Watch {
    /// Taken away when there are too many.
    queue: Arc<Mutex<Option<OwnedFd>>>,
    /// The names that matter in each folder that is watched.
    names: HashMap<i32, HashSet<OsString>>,
}

impl Watch {
    /// Watches these absolute paths, whether there is anything or not, from now on; `None` where that would not tell of every
    /// change.
    pub(crate) fn of(paths: impl Iterator<Item = PathBuf>) -> Option<Watch> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).ok()?;
        let (mut names, mut folders) = (HashMap::new(), HashMap::new());
        for path in paths {
            add(&inotify, &path, &mut names, &mut folders)?;
        }
        let queue = Arc::new(Mutex::new(Some(inotify)));
        let mut queues = QUEUES.lock();
        queues.retain(|queue| queue.strong_count() > 0);
        if queues.len() == WATCHES_MAX
            && let Some(oldest) = queues.pop_front().and_then(|oldest| oldest.upgrade())
        {
            *oldest.lock() = None;
        }
        queues.push_back(Arc::downgrade(&queue));
        Some(Watch { queue, names })
    }

    /// Returns whether nothing that matters has happened since it was last asked. Once something has, it is of no more use.
    pub(crate) fn is_calm(&self) -> bool {
        let queue = self.queue.lock();
        let Some(inotify) = queue.as_ref() else { return false };
        let mut buffer = [MaybeUninit::<u8>::uninit(); 4 * 1024];
        let mut reader = Reader::new(inotify, &mut buffer);
        for _ in 0..EVENTS_MAX {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => return true,
                Err(Errno::INTR) => continue,
                Err(_) => return false,
            };
            let matters = event.events().contains(ReadFlags::QUEUE_OVERFLOW)
                || event.file_name().is_none_or(|name| {
                    let name = OsStr::from_bytes(name.to_bytes());
                    self.names.get(&event.wd()).is_none_or(|names| names.contains(name))
                });
            if matters {
                return false;
            }
        }
        false
    }
}

/// Watches what has the name `path`, in every folder on the way to it. `folders` are those that are watched.
fn add(
    inotify: &OwnedFd,
    path: &Path,
    names: &mut HashMap<i32, HashSet<OsString>>,
    folders: &mut HashMap<PathBuf, i32>,
) -> Option<()> {
    let mut above = PathBuf::new();
    for component in path.components() {
        let name = match component {
            Component::RootDir => {
                above.push("/");
                continue;
            }
            Component::Normal(name) => name,
            Component::CurDir | Component::ParentDir | Component::Prefix(_) => return None,
        };
        // The folder first, so that what comes to be in it afterwards is told of.
        let id = match folders.get(&above) {
            Some(id) => *id,
            None => {
                let flags = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE | WatchFlags::ONLYDIR;
                let id = watch(inotify, &above, flags)?;
                folders.insert(above.clone(), id);
                id
            }
        };
        names.entry(id).or_default().insert(name.to_owned());
        above.push(name);
        match above.symlink_metadata() {
            Ok(found) if found.is_dir() => {}
            Ok(found) if found.is_file() => {
                return watch(inotify, &above, WatchFlags::MODIFY | WatchFlags::CLOSE_WRITE).map(|_id| ());
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Some(()),
            Ok(_) | Err(_) => return None,
        }
    }
    Some(())
}

/// Watches one file or folder, itself and for `changes`. A file may be of another file system than its folder.
fn watch(inotify: &OwnedFd, path: &Path, changes: WatchFlags) -> Option<i32> {
    if !is_on_local(path) {
        return None;
    }
    let itself =
        WatchFlags::ATTRIB | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF | WatchFlags::DONT_FOLLOW;
    inotify::add_watch(inotify, path, changes | itself).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{
        Permissions, create_dir_all, hard_link, remove_dir_all, remove_file, rename, set_permissions, write,
    };
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// Breaks if a change of a place is not told, whatever way it is made, or if what happens beside it is.
    #[test]
    fn tells_of_every_change_and_of_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        // Each is made of the same beginnings: a folder `a/b` with the file `kept`, of which `other` is a second name.
        type Change<'a> = (&'a str, bool, Box<dyn Fn() -> io::Result<()> + 'a>);
        let changes: Vec<Change<'_>> = vec![
            ("nothing", false, Box::new(|| Ok(()))),
            ("another text", true, Box::new(|| write(at("a/b/kept"), "two"))),
            ("the same by its other name", true, Box::new(|| write(at("other"), "two"))),
            (
                "another mode",
                true,
                Box::new(|| set_permissions(at("a/b/kept"), Permissions::from_mode(0o600))),
            ),
            ("no file", true, Box::new(|| remove_file(at("a/b/kept")))),
            ("another name", true, Box::new(|| rename(at("a/b/kept"), at("a/b/gone")))),
            ("another file in its place", true, Box::new(|| rename(at("a/b/beside"), at("a/b/kept")))),
            ("a file where there was none", true, Box::new(|| write(at("a/b/none"), ""))),
            ("a folder in its way", true, Box::new(|| create_dir_all(at("a/far")))),
            ("another name for a folder above", true, Box::new(|| rename(at("a"), at("c")))),
            ("no folder", true, Box::new(|| remove_dir_all(at("a/b")))),
            (
                "another mode of the folder",
                true,
                Box::new(|| set_permissions(at("a/b"), Permissions::from_mode(0o711))),
            ),
            (
                "a file beside it",
                false,
                Box::new(|| write(at("a/b/new"), "").and_then(|()| remove_file(at("a/b/new")))),
            ),
            ("a text beside it", false, Box::new(|| write(at("a/b/beside"), "two"))),
            ("a folder beside it", false, Box::new(|| create_dir_all(at("a/b/folder/none")))),
        ];
        for (what, matters, change) in changes {
            create_dir_all(at("a/b")).unwrap();
            write(at("a/b/kept"), "one").unwrap();
            write(at("a/b/beside"), "one").unwrap();
            hard_link(at("a/b/kept"), at("other")).unwrap();
            let watch = Watch::of([at("a/b/kept"), at("a/b/none"), at("a/far/none")].into_iter()).unwrap();
            assert!(watch.is_calm(), "before {what}");
            change().unwrap();
            assert_eq!(watch.is_calm(), !matters, "{what}");
            for name in ["a", "c", "other"] {
                let _none = remove_dir_all(at(name)).or_else(|_| remove_file(at(name)));
            }
        }
    }

    /// Breaks if a place is watched that may change untold, or if a busy folder holds a search up.
    #[test]
    fn what_it_cannot_tell_of_is_not_watched() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        let of = |path: &str| Watch::of([at(path)].into_iter());
        create_dir_all(at("real")).unwrap();
        write(at("real/file"), "").unwrap();
        symlink("real", at("way")).unwrap();
        symlink("real/file", at("link")).unwrap();
        for path in ["link", "way/file", "way/none", "real/../real/file"] {
            assert!(of(path).is_none(), "{path}");
        }
        assert!(Watch::of([PathBuf::from("/proc/self/none")].into_iter()).is_none(), "another file system");
        let busy = of("real/none").unwrap();
        for index in 0..=EVENTS_MAX {
            write(at("real").join(index.to_string()), "").unwrap();
        }
        assert!(!busy.is_calm());
        let many: Vec<Watch> = (0..=WATCHES_MAX).filter_map(|_| of("real/none")).collect();
        assert!(!many[0].is_calm() && many[WATCHES_MAX].is_calm(), "the oldest goes when there are too many");
    }
}

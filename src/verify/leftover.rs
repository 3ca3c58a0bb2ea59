//! Processes that outlive what started them: found by a mark in their environment, and killed.
//!
//! A process group is not enough: a command may leave its group, a model's shell starts commands that we never see,
//! and after a crash nobody remembers the groups. The environment goes along with every child, so the mark does too.
//! Found in `/proc`, so on Linux only; elsewhere nothing is found.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::snapshot::shown;

/// The variable that names the process for which a command runs, and its project: `<project>.<pid>.<start>`.
pub const OWNER_VARIABLE: &str = "OPENCODE_ORCHESTRATOR_OWNER";
/// The variable that names what a command runs for: a session, or a mission's checks.
pub const WORK_VARIABLE: &str = "OPENCODE_ORCHESTRATOR_WORK";

/// The process that owns a project's engine, as its commands carry it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    project: String,
    pid: u32,
    started: String,
}

/// A process that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    pub pid: u32,
    /// The start of its command line.
    pub command: String,
    /// Whether it is still there after it was killed.
    pub alive: bool,
}

impl Owner {
    /// This process as the owner of the project in the folder.
    #[must_use]
    pub fn this_process(folder: &Path) -> Self {
        let digest = blake3::hash(folder.as_os_str().as_encoded_bytes()).to_hex();
        let pid = std::process::id();
        Self { project: digest[..16].to_owned(), pid, started: system::started(pid).unwrap_or_default() }
    }

    /// The mark for a command that runs for `work`, or for everything when it is `None`.
    #[must_use]
    pub fn environment(&self, work: Option<&str>) -> BTreeMap<String, String> {
        let owner = (OWNER_VARIABLE.to_owned(), self.mark());
        let work = work.map(|work| (WORK_VARIABLE.to_owned(), work.to_owned()));
        [owner].into_iter().chain(work).collect()
    }

    fn mark(&self) -> String {
        format!("{}.{}.{}", self.project, self.pid, self.started)
    }

    /// Kills what this process started for one of `works`, and waits a moment until it is gone.
    #[must_use]
    pub fn kill_work(&self, works: &[String]) -> Vec<Leftover> {
        let mark = self.mark();
        system::kill(&|environment| {
            environment.get(OWNER_VARIABLE) == Some(&mark)
                && environment.get(WORK_VARIABLE).is_some_and(|work| works.contains(work))
        })
    }

    /// Kills what earlier owners of the project left behind that are gone themselves. Only the holder of the project's
    /// lock may ask for it.
    #[must_use]
    pub fn kill_leftovers(&self) -> Vec<Leftover> {
        system::kill(&|environment| {
            let mut parts = environment.get(OWNER_VARIABLE).into_iter().flat_map(|mark| mark.split('.'));
            let (Some(project), Some(pid), Some(started)) = (parts.next(), parts.next(), parts.next()) else {
                return false;
            };
            let Ok(pid) = pid.parse() else { return false };
            // The id of a process that is gone may belong to another by now; the time of its start does not.
            project == self.project && system::started(pid).as_deref() != Some(started)
        })
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::fs::{self, File};
    use std::io::Read;
    use std::time::Duration;

    use rustix::fd::OwnedFd;
    use rustix::process::{Pid, PidfdFlags, Signal, getuid, pidfd_open, pidfd_send_signal};

    use super::{BTreeMap, Leftover, io, shown};

    /// How much of an environment is read; a mark behind that is not found.
    const ENVIRONMENT_BYTES_MAX: u64 = 256 * 1024;
    /// How often, and with which pause, it is looked whether a killed process is gone.
    const LOOKS: u32 = 40;
    const LOOK_PAUSE: Duration = Duration::from_millis(25);

    /// When a process started, in clock ticks since the system did; `None` when there is none, or only its remains.
    pub(super) fn started(pid: u32) -> Option<String> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything; what follows it is fields.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = fields.next()?;
        let start = fields.nth(18)?;
        (!matches!(state, "Z" | "X")).then(|| start.to_owned())
    }

    /// Kills every process of this user whose environment is `meant`.
    pub(super) fn kill(meant: &dyn Fn(&BTreeMap<String, String>) -> bool) -> Vec<Leftover> {
        let mut killed: Vec<Leftover> = processes()
            .filter(|&pid| pid != std::process::id())
            .filter_map(|pid| kill_one(pid, meant))
            .collect();
        for _ in 0..LOOKS {
            for leftover in &mut killed {
                leftover.alive &= started(leftover.pid).is_some();
            }
            if killed.iter().all(|leftover| !leftover.alive) {
                break;
            }
            std::thread::sleep(LOOK_PAUSE);
        }
        killed
    }

    fn processes() -> impl Iterator<Item = u32> {
        let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
    }

    fn kill_one(pid: u32, meant: &dyn Fn(&BTreeMap<String, String>) -> bool) -> Option<Leftover> {
        if !environment(pid).is_ok_and(|environment| meant(&environment)) {
            return None;
        }
        // From here on the handle names this process and no later one of the same number; so it is looked at again.
        let handle = open(pid)?;
        if !environment(pid).is_ok_and(|environment| meant(&environment)) {
            return None;
        }
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        // Fails when it has just ended, which is what is wanted.
        pidfd_send_signal(&handle, Signal::KILL).unwrap_or_default();
        Some(Leftover { pid, command: shown(command.trim()).to_string(), alive: true })
    }

    fn open(pid: u32) -> Option<OwnedFd> {
        pidfd_open(Pid::from_raw(i32::try_from(pid).ok()?)?, PidfdFlags::empty()).ok()
    }

    /// The environment a process was started with. Others' cannot be read, and are not ours.
    pub(super) fn environment(pid: u32) -> io::Result<BTreeMap<String, String>> {
        use std::os::unix::fs::MetadataExt;
        let file = File::open(format!("/proc/{pid}/environ"))?;
        if file.metadata()?.uid() != getuid().as_raw() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut bytes = Vec::new();
        file.take(ENVIRONMENT_BYTES_MAX).read_to_end(&mut bytes)?;
        let variables = bytes.split(|&byte| byte == 0).filter_map(|variable| {
            let (name, value) = std::str::from_utf8(variable).ok()?.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        });
        Ok(variables.collect())
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use super::{BTreeMap, Leftover};

    pub(super) fn started(_pid: u32) -> Option<String> {
        None
    }

    pub(super) fn kill(_meant: &dyn Fn(&BTreeMap<String, String>) -> bool) -> Vec<Leftover> {
        Vec::new()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command, ExitStatus, Stdio};

    use super::*;

    /// A process that does not outlive its test.
    struct Sleeper(Child);

    impl Sleeper {
        fn start(environment: &BTreeMap<String, String>) -> Self {
            let mut command = Command::new("sleep");
            command
                .arg("600")
                .envs(environment)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            let sleeper = Self(command.spawn().expect("sleep can be run"));
            // The system lets the parent go on a moment before the new program's environment can be read.
            let shown =
                || system::environment(sleeper.0.id()).is_ok_and(|shown| shown.contains_key(OWNER_VARIABLE));
            while !shown() {
                std::thread::yield_now();
            }
            sleeper
        }

        fn ended(&mut self) -> Option<ExitStatus> {
            self.0.try_wait().expect("it can be asked")
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            // Fails when it has ended already, which is what is wanted.
            drop(self.0.kill());
            drop(self.0.wait());
        }
    }

    fn folder(name: &str) -> std::path::PathBuf {
        Path::new("/tests").join(format!("{name}-{}", std::process::id()))
    }

    /// Breaks if a stop leaves a command running, or takes one of other work with it.
    #[test]
    fn the_work_that_is_named_is_killed_and_no_other() {
        let owner = Owner::this_process(&folder("work"));
        let mut named = Sleeper::start(&owner.environment(Some("ses_1")));
        let mut other = Sleeper::start(&owner.environment(Some("ses_2")));
        let elsewhere = Owner::this_process(&folder("elsewhere"));
        let mut foreign = Sleeper::start(&elsewhere.environment(Some("ses_1")));
        let killed = owner.kill_work(&["ses_1".into(), "m1".into()]);
        assert_eq!(killed.len(), 1);
        assert_eq!((killed[0].pid, killed[0].command.as_str()), (named.0.id(), "sleep 600"));
        assert_eq!(named.0.wait().unwrap().signal(), Some(9));
        assert_eq!((other.ended(), foreign.ended()), (None, None));
    }

    /// Breaks if commands of a process that crashed go on for ever, or those of a living one are killed.
    #[test]
    fn only_what_dead_owners_left_is_killed() {
        let owner = Owner::this_process(&folder("leftovers"));
        // The number of a process that lives, with the start of another that is gone.
        let dead = Owner { started: "1".into(), ..owner.clone() };
        let mut left = Sleeper::start(&dead.environment(Some("ses_1")));
        let mut living = Sleeper::start(&owner.environment(None));
        let killed: Vec<_> = owner.kill_leftovers().into_iter().map(|leftover| leftover.pid).collect();
        assert_eq!(killed, [left.0.id()]);
        left.0.wait().unwrap();
        assert_eq!(living.ended(), None);
    }
}

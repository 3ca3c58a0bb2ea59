//! One acceptance command: started without a shell, watched, and gone afterwards with all it started.
//!
//! On Unix a command leads a process group of its own, which gets SIGKILL when the command ends, for whatever
//! reason; only a process that left the group (`setsid`) survives. On Windows only the command itself is
//! killed. A survivor that keeps the output open is waited for [`DRAIN_TIME_MAX`], and then no longer.

use std::collections::BTreeSet;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::check::CheckRequest;
use crate::report::{CommandEvidence, Finding, FindingCode};
use crate::snapshot::shown;

/// How long a command may take when the request does not say.
pub const TIMEOUT_MS_DEFAULT: u64 = 2 * 60 * 1000;
/// The longest time a request can give a command.
pub const TIMEOUT_MS_MAX: u64 = 30 * 60 * 1000;
/// A command that writes more than this is killed.
pub const OUTPUT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Output kept from its start.
pub const HEAD_BYTES: usize = 2 * 1024;
/// Output kept from its end.
pub const TAIL_BYTES: usize = 6 * 1024;
/// The longest command line, arguments together.
pub const ARGV_BYTES_MAX: usize = 32 * 1024;

/// How long a killed command may take to be gone.
const REAP_TIME_MAX: Duration = Duration::from_secs(5);
/// How long output is read after the command and its group are gone.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(2);
/// The end of the output that goes into a finding.
const DETAIL_BYTES: usize = 4 * 1024;

/// The process groups that are running now.
#[derive(Debug, Default)]
pub(crate) struct Groups(Mutex<BTreeSet<u32>>);

impl Groups {
    pub(crate) fn ids(&self) -> Vec<u32> {
        self.with(|ids| ids.iter().copied().collect())
    }

    fn with<T>(&self, use_ids: impl FnOnce(&mut BTreeSet<u32>) -> T) -> T {
        use_ids(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A running process group. Dropped, it is dead, also when the check that owns it panics or is given up.
struct Group {
    id: u32,
    groups: Arc<Groups>,
    killed: bool,
}

impl Group {
    fn new(id: u32, groups: &Arc<Groups>) -> Self {
        groups.with(|ids| ids.insert(id));
        Self { id, groups: Arc::clone(groups), killed: false }
    }

    /// Kills every process of the group, once: after that, the id may come to belong to someone else.
    fn kill(&mut self) {
        if !std::mem::replace(&mut self.killed, true) {
            kill_group(self.id);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
        self.groups.with(|ids| ids.remove(&self.id));
    }
}

#[cfg(unix)]
fn kill_group(id: u32) {
    use rustix::process::{Pid, Signal, kill_process_group};
    let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw) else { return };
    // Fails when the group is gone already, which is what is wanted.
    kill_process_group(pid, Signal::KILL).unwrap_or_default();
}

/// The command itself is killed through its handle; there is no group to kill.
#[cfg(not(unix))]
fn kill_group(_id: u32) {}

/// How a command ended.
enum End {
    Exited(io::Result<ExitStatus>),
    TimedOut,
    OutputLimit,
    Cancelled,
}

/// Runs one command to its end. The finding is `None` when it exited with code 0.
pub(crate) async fn run(
    argv: &[String],
    request: &CheckRequest,
    groups: &Arc<Groups>,
    cancel: &mut watch::Receiver<bool>,
) -> (CommandEvidence, Option<Finding>) {
    let timeout_ms = request.timeout_ms.unwrap_or(TIMEOUT_MS_DEFAULT).clamp(1, TIMEOUT_MS_MAX);
    let timeout = Duration::from_millis(timeout_ms);
    let started = Instant::now();
    let name = display(argv);

    let (mut child, streams) = match start(argv, request) {
        Ok(started) => started,
        Err(reason) => {
            let message = format!("{name} could not be started: {reason}");
            let evidence = Output::default().into_evidence(argv, None, None, started);
            return (evidence, Some(Finding::new(FindingCode::CommandNotStarted, message)));
        }
    };
    // Without an id it has been waited for, which nobody has done yet.
    let id = child.id();
    let mut group = id.map(|id| Group::new(id, groups));

    let output = Mutex::new(Output::default());
    let mut drain = Box::pin(drain(streams, &output));
    let mut drained = false;
    let mut deadline = Box::pin(tokio::time::sleep(timeout));
    let end = loop {
        tokio::select! {
            biased;
            () = cancelled(cancel) => break End::Cancelled,
            status = child.wait() => break End::Exited(status),
            () = &mut deadline => break End::TimedOut,
            within = &mut drain, if !drained => {
                drained = true;
                if !within {
                    break End::OutputLimit;
                }
            }
        }
    };

    // The command may be gone and its id free again when its group is killed. The system gives an id away only
    // when no group has it, and hands out all others first, so what is killed here is not someone else's.
    if let Some(group) = &mut group {
        group.kill();
    }
    let status = match end {
        End::Exited(Ok(status)) => Some(status),
        End::Exited(Err(_)) | End::TimedOut | End::OutputLimit | End::Cancelled => kill(&mut child).await,
    };
    if !drained && tokio::time::timeout(DRAIN_TIME_MAX, &mut drain).await == Ok(true) {
        drained = true;
    }
    drop(drain);
    drop(group);

    let mut output = output.into_inner().unwrap_or_else(PoisonError::into_inner);
    output.complete = drained && matches!(end, End::Exited(_));
    let evidence = output.into_evidence(argv, status, id, started);
    let finding = judge(&name, &end, &evidence, timeout);
    (evidence, finding)
}

/// Resolves once the check is to end; also when its owner is gone.
pub(crate) async fn cancelled(cancel: &mut watch::Receiver<bool>) {
    // An error says that the sender is gone, and with it whoever waits for the check.
    drop(cancel.wait_for(|cancelled| *cancelled).await);
}

fn judge(name: &str, end: &End, evidence: &CommandEvidence, timeout: Duration) -> Option<Finding> {
    let (code, message) = match end {
        End::Exited(Ok(_)) => match (evidence.exit_code, evidence.signal) {
            (Some(0), _) => return None,
            (Some(code), _) => (
                FindingCode::CommandFailed,
                format!("{name} exited with code {code}; fix what its output reports"),
            ),
            (None, Some(signal)) => (
                FindingCode::CommandSignalled,
                format!(
                    "{name} was ended by signal {signal}; fix the crash, or run it again if it was killed"
                ),
            ),
            (None, None) => {
                (FindingCode::CommandLost, format!("{name} ended without an exit code; run the check again"))
            }
        },
        End::Exited(Err(error)) => (
            FindingCode::CommandLost,
            format!("{name} could not be waited for ({error}); run the check again"),
        ),
        End::TimedOut => (
            FindingCode::CommandTimeout,
            format!(
                "{name} did not end within {} ms and was killed; make it end, or give it more time",
                timeout.as_millis()
            ),
        ),
        End::OutputLimit => (
            FindingCode::CommandOutputLimit,
            format!("{name} wrote more than {OUTPUT_BYTES_MAX} bytes and was killed; make it write less"),
        ),
        End::Cancelled => return None,
    };
    let finding = Finding::new(code, message);
    let detail = end_of_output(evidence);
    Some(if detail.is_empty() { finding } else { finding.with_detail(detail) })
}

fn end_of_output(evidence: &CommandEvidence) -> String {
    let mut text = evidence.tail.clone();
    if evidence.omitted_bytes == 0 {
        text.insert_str(0, &evidence.head);
    }
    let start = text.ceil_char_boundary(text.len().saturating_sub(DETAIL_BYTES));
    text.split_off(start)
}

/// The command as a message shows it.
fn display(argv: &[String]) -> String {
    format!("`{}`", shown(&argv.join(" ")))
}

async fn kill(child: &mut Child) -> Option<ExitStatus> {
    // Fails when the command is gone already, which is what is wanted.
    drop(child.start_kill());
    tokio::time::timeout(REAP_TIME_MAX, child.wait()).await.ok()?.ok()
}

/// Where the output comes from: one pipe for both streams on Unix, so that their order is kept.
#[cfg(unix)]
type Streams = tokio::process::ChildStdout;
#[cfg(not(unix))]
type Streams = (tokio::process::ChildStdout, tokio::process::ChildStderr);

fn start(argv: &[String], request: &CheckRequest) -> Result<(Child, Streams), String> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err("the command is empty; name a program".to_owned());
    };
    if argv.iter().map(String::len).sum::<usize>() > ARGV_BYTES_MAX {
        return Err(format!("the command is longer than {ARGV_BYTES_MAX} bytes; put it into a script"));
    }
    if !request.root.is_dir() {
        return Err("the root is not a folder; give an existing one".to_owned());
    }
    let mut command = Command::new(program);
    command.args(arguments).current_dir(&request.root).envs(&request.environment);
    command.stdin(Stdio::null()).kill_on_drop(true);
    spawn(command).map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            format!("there is no program {:?}; install it, or correct its name", shown(program))
        } else {
            format!("{error}; check the program and its permissions")
        }
    })
}

#[cfg(unix)]
fn spawn(mut command: Command) -> io::Result<(Child, Streams)> {
    let (reader, writer) = io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer).process_group(0);
    // Made first: it can fail, and after the start a failure would leave a process behind.
    let reader = std::process::ChildStdout::from(std::os::fd::OwnedFd::from(reader));
    let stream = tokio::process::ChildStdout::from_std(reader)?;
    // The command holds the writing end until it is dropped, at the end of this function.
    Ok((command.spawn()?, stream))
}

#[cfg(not(unix))]
fn spawn(mut command: Command) -> io::Result<(Child, Streams)> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    match (child.stdout.take(), child.stderr.take()) {
        (Some(stdout), Some(stderr)) => Ok((child, (stdout, stderr))),
        (_, _) => Err(io::Error::other("its output is not connected")),
    }
}

/// Reads the output to its end, and says whether it stayed within [`OUTPUT_BYTES_MAX`].
#[cfg(unix)]
async fn drain(stream: Streams, output: &Mutex<Output>) -> bool {
    drain_stream(stream, output).await
}

#[cfg(not(unix))]
async fn drain(streams: Streams, output: &Mutex<Output>) -> bool {
    let (stdout, stderr) = tokio::join!(drain_stream(streams.0, output), drain_stream(streams.1, output));
    stdout && stderr
}

async fn drain_stream(mut stream: impl AsyncRead + Unpin, output: &Mutex<Output>) -> bool {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut buffer).await {
            // A pipe that fails has nothing more to say; how the command ended decides.
            Ok(0) | Err(_) => return true,
            Ok(count) => {
                let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
                output.push(&buffer[..count]);
                if output.bytes > OUTPUT_BYTES_MAX {
                    return false;
                }
            }
        }
    }
}

/// What is kept of a command's output: its length, its digest, its start and its end.
#[derive(Default)]
struct Output {
    hasher: blake3::Hasher,
    bytes: u64,
    /// At most [`HEAD_BYTES`].
    head: Vec<u8>,
    /// What follows the head, at least its last [`TAIL_BYTES`].
    tail: Vec<u8>,
    complete: bool,
}

impl Output {
    fn push(&mut self, chunk: &[u8]) {
        self.hasher.update(chunk);
        self.bytes += chunk.len() as u64;
        let (head, tail) = chunk.split_at(chunk.len().min(HEAD_BYTES - self.head.len()));
        self.head.extend_from_slice(head);
        self.tail.extend_from_slice(tail);
        let excess = self.tail.len().saturating_sub(TAIL_BYTES);
        self.tail.drain(..excess);
    }

    fn into_evidence(
        self,
        argv: &[String],
        status: Option<ExitStatus>,
        process_group: Option<u32>,
        started: Instant,
    ) -> CommandEvidence {
        let omitted_bytes = self.bytes - (self.head.len() + self.tail.len()) as u64;
        let (head, tail) = texts(&self.head, &self.tail, omitted_bytes > 0);
        CommandEvidence {
            argv: argv.to_vec(),
            exit_code: status.and_then(|status| status.code()),
            signal: status.and_then(signal),
            duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            output_digest: self.hasher.finalize().to_hex().to_string(),
            output_bytes: self.bytes,
            output_complete: self.complete,
            head,
            tail,
            omitted_bytes,
            process_group,
        }
    }
}

/// Head and tail as text, without the halves of a character that was cut in two.
fn texts(head: &[u8], tail: &[u8], omitted: bool) -> (String, String) {
    if omitted {
        let head = String::from_utf8_lossy(head);
        let tail = String::from_utf8_lossy(tail);
        let cut = char::REPLACEMENT_CHARACTER;
        return (head.trim_end_matches(cut).to_owned(), tail.trim_start_matches(cut).to_owned());
    }
    let mut text = String::from_utf8_lossy(&[head, tail].concat()).into_owned();
    let tail = text.split_off(text.floor_char_boundary(HEAD_BYTES));
    (text, tail)
}

#[cfg(unix)]
fn signal(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

#[cfg(not(unix))]
fn signal(_status: ExitStatus) -> Option<i32> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(chunks: &[&[u8]]) -> CommandEvidence {
        let mut output = Output::default();
        for chunk in chunks {
            output.push(chunk);
        }
        output.into_evidence(&[], None, None, Instant::now())
    }

    /// Evidence that does not depend on how the pipe cut the output.
    #[test]
    fn output_is_kept_the_same_whatever_its_chunks() {
        let text: String = (0..20_000).map(|line| format!("{line} é\n")).collect();
        let bytes = text.as_bytes();
        let whole = evidence(&[bytes]);
        let pieces: Vec<&[u8]> = bytes.chunks(777).collect();
        let pieces = evidence(&pieces);
        assert_eq!((&whole.head, &whole.tail), (&pieces.head, &pieces.tail));
        assert_eq!(whole.output_digest, blake3::hash(bytes).to_hex().as_str());
        assert_eq!(whole.output_digest, pieces.output_digest);
        assert!(text.starts_with(&whole.head) && text.ends_with(&whole.tail));
        assert_eq!(whole.output_bytes, bytes.len() as u64);
        assert_eq!(whole.omitted_bytes, bytes.len() as u64 - (HEAD_BYTES + TAIL_BYTES) as u64);
    }

    /// A command whose end was not seen may have failed.
    #[test]
    fn an_end_that_was_not_seen_is_lost() {
        for end in [End::Exited(Err(io::ErrorKind::Other.into())), End::Exited(Ok(ExitStatus::default()))] {
            let finding = judge("`a`", &end, &evidence(&[b"out"]), Duration::from_secs(1)).unwrap();
            assert_eq!((finding.code, finding.detail.as_deref()), (FindingCode::CommandLost, Some("out")));
        }
    }

    /// A character on the seam must not be lost where nothing was omitted.
    #[test]
    fn short_output_is_kept_whole() {
        for length in [0, 10, HEAD_BYTES - 1, HEAD_BYTES, HEAD_BYTES + TAIL_BYTES - 2] {
            let text = format!("{}é", "x".repeat(length));
            let kept = evidence(&[text.as_bytes()]);
            assert_eq!(kept.head.clone() + &kept.tail, text);
            assert_eq!(kept.omitted_bytes, 0);
        }
    }
}

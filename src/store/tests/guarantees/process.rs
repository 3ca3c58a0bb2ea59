//! Tests with a second process: this very test binary, run with a role.

use std::env;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use orchestrator_store::{Journal, LockError, OwnerLock, Reader, StateDir, StoreError};

use crate::{Project, put};

const ROLE: &str = "ORCHESTRATOR_STORE_TEST_ROLE";
const PROJECT: &str = "ORCHESTRATOR_STORE_TEST_PROJECT";

/// Plays the role that a parent test gave to this process; does nothing in an ordinary run.
#[test]
fn child() {
    let Ok(role) = env::var(ROLE) else { return };
    let project = env::var_os(PROJECT).unwrap();
    let state_dir = StateDir::prepare(Path::new(&project)).unwrap();
    match role.as_str() {
        "own" => {
            let _lock = OwnerLock::acquire(&state_dir).unwrap();
            say("owned");
            wait_for_the_end();
        }
        "write 1000" => write_with_retries(&state_dir, 1_000),
        "write until killed" => {
            let (mut journal, _) = Journal::open(&state_dir).unwrap();
            loop {
                let expected = journal.head().sequence;
                let number = expected + 1;
                let head =
                    journal.append(expected, &[number.to_string()], &[put("last", "n", &number.to_string())]);
                say(&format!("acknowledged {}", head.unwrap().sequence));
            }
        }
        "write until it fails" => {
            let error = write_until_it_fails(&state_dir);
            say(&format!("failed {}", error.code()));
        }
        other => panic!("unknown role {other}"),
    }
}

fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}").unwrap();
    stdout.flush().unwrap();
}

/// Blocks until the parent closes its end, or is gone.
fn wait_for_the_end() {
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

fn write_with_retries(state_dir: &StateDir, count: u64) {
    let (mut journal, records) = Journal::open(state_dir).unwrap();
    let mut seen = records.last().map_or(0, |record| record.sequence);
    for n in 0..count {
        loop {
            let body = format!(r#"{{"writer":{},"n":{n},"behind":{seen}}}"#, std::process::id());
            match journal.append(seen, &[body], &[]) {
                Ok(head) => {
                    seen = head.sequence;
                    break;
                }
                Err(StoreError::Conflict { found, .. }) => {
                    let others = journal.reader().records(journal.head());
                    seen = others.map(|record| record.unwrap().sequence).last().unwrap();
                    assert!(seen >= found);
                }
                Err(error) => panic!("{error}: {error:?}"),
            }
        }
    }
}

fn write_until_it_fails(state_dir: &StateDir) -> StoreError {
    let mut journal = match Journal::open(state_dir) {
        Ok((journal, _)) => journal,
        Err(error) => return error,
    };
    loop {
        let expected = journal.head().sequence;
        let body = format!("\"{}\"", "x".repeat(900));
        match journal.append(
            expected,
            &[body.as_str(), "2"],
            &[put("head", "n", &(expected + 2).to_string())],
        ) {
            Ok(head) => say(&format!("acknowledged {}", head.sequence)),
            Err(error) => {
                if matches!(error, StoreError::Io { .. }) {
                    let again = journal.append(expected, &["3"], &[]).unwrap_err();
                    assert_eq!(again.code(), "JOURNAL_REOPEN_NEEDED");
                }
                return error;
            }
        }
    }
}

/// A second process, killed when the test ends.
struct Second {
    process: Child,
    stdout: BufReader<ChildStdout>,
}

impl Second {
    fn start(role: &str, project: &Project) -> Second {
        Second::start_with(Command::new(env::current_exe().unwrap()), role, project)
    }

    fn start_with(mut command: Command, role: &str, project: &Project) -> Second {
        command
            .args(["--exact", "process::child", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .env(PROJECT, project.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        Second { process, stdout }
    }

    /// Reads up to the next line that tells of `topic`, and returns what follows; `None` at the end.
    fn hear(&mut self, topic: &str) -> Option<String> {
        let mut line = String::new();
        while self.stdout.read_line(&mut line).unwrap() > 0 {
            // The test harness does not end its own line before the first of ours.
            if let Some((_, rest)) = line.split_once(topic) {
                return Some(rest.trim().to_owned());
            }
            line.clear();
        }
        None
    }

    fn kill(&mut self) {
        // SIGKILL; on Windows the like.
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn succeed(mut self) {
        assert!(self.process.wait().unwrap().success());
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        // It has usually ended by itself.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

#[test]
fn two_processes_lose_no_record() {
    // Breaks when an append of one process can overwrite, or be decided upon without, that of another.
    let project = Project::new();
    // Started on an empty folder: both make the journal.
    let [first, second] = [(); 2].map(|()| Second::start("write 1000", &project));
    let writers = [first.process.id(), second.process.id()].map(u64::from);
    first.succeed();
    second.succeed();

    let (_, records) = project.open();
    assert_eq!(records.len(), 2_000);
    let mut next = [0, 0];
    for record in records {
        let body: serde_json::Value = serde_json::from_slice(&record.body).unwrap();
        assert_eq!(body["behind"], record.sequence - 1, "decided upon another head than it was appended to");
        let writer = writers.iter().position(|id| body["writer"] == *id).unwrap();
        assert_eq!(body["n"], next[writer]);
        next[writer] += 1;
    }
    assert_eq!(next, [1_000, 1_000]);
}

#[test]
fn killed_writers_lose_no_acknowledged_record() {
    // Breaks when what a caller was told is durable is gone after kill -9.
    let project = Project::new();
    let mut acknowledged = 0;
    for round in 0..12 {
        let mut writer = Second::start("write until killed", &project);
        for _ in 0..=round {
            acknowledged = writer.hear("acknowledged ").unwrap().parse().unwrap();
        }
        writer.kill();
        // What it said with its last breath.
        while let Some(sequence) = writer.hear("acknowledged ") {
            acknowledged = sequence.parse().unwrap();
        }
        let reader = Reader::open(&project.state_dir).unwrap();
        let head = reader.verify().unwrap().sequence;
        assert!(
            head == acknowledged || head == acknowledged + 1,
            "{head} is stored, {acknowledged} was acknowledged"
        );
        let last = &reader.projection("last").unwrap()[0];
        assert_eq!((last.sequence, &last.body), (head, &head.to_string()));
    }
    assert!(acknowledged >= 78);
}

#[test]
fn a_reader_follows_an_active_writer() {
    // Breaks when status cannot be read while another process owns the engine, or sees half a batch.
    let project = Project::new();
    let mut writer = Second::start("write until killed", &project);
    writer.hear("acknowledged ").unwrap();
    let reader = Reader::open(&project.state_dir).unwrap();
    let mut head = orchestrator_store::Head::GENESIS;
    while head.sequence < 300 {
        writer.hear("acknowledged ").unwrap();
        let last = reader.projection("last").unwrap().remove(0);
        assert_eq!(last.sequence.to_string(), last.body);
        assert!(last.sequence >= head.sequence, "the projection is behind what was read before it");
        for record in reader.records(head) {
            head = record.unwrap().head();
        }
        assert!(head.sequence >= last.sequence, "the records are behind the projection");
    }
    writer.kill();
    assert!(reader.verify().unwrap().sequence >= 300);
}

#[test]
fn the_owner_is_told_across_processes() {
    // Breaks when a second engine starts beside the first, or when a crash locks the user out.
    let project = Project::new();
    let mut owner = Second::start("own", &project);
    owner.hear("owned").unwrap();
    let error = OwnerLock::acquire(&project.state_dir).unwrap_err();
    assert!(matches!(error, LockError::Held { pid } if pid == Some(owner.process.id())), "{error}");
    owner.kill();
    drop(OwnerLock::acquire(&project.state_dir).unwrap());

    let mut owner = Second::start("own", &project);
    owner.hear("owned").unwrap();
    assert!(OwnerLock::acquire(&project.state_dir).is_err());
    drop(owner.process.stdin.take());
    owner.succeed();
    drop(OwnerLock::acquire(&project.state_dir).unwrap());
}

#[test]
#[cfg(unix)]
fn a_write_that_fails_anywhere_leaves_whole_batches() {
    // Breaks when a failed write costs an acknowledged record, leaves half a batch, or makes the journal unusable.
    let mut codes = std::collections::BTreeSet::new();
    for limit_blocks in (0..120).step_by(2) {
        let project = Project::new();
        // A limit on the size of a file makes the write behind it fail, as a full or broken disk does.
        let mut limited = Command::new("sh");
        let limit = format!("trap '' XFSZ; ulimit -f {limit_blocks}; exec \"$0\" \"$@\"");
        limited.args([OsStr::new("-c"), OsStr::new(&limit), env::current_exe().unwrap().as_os_str()]);
        let mut writer = Second::start_with(limited, "write until it fails", &project);
        let mut acknowledged = 0;
        let mut code = None;
        let mut line = String::new();
        while writer.stdout.read_line(&mut line).unwrap() > 0 {
            if let Some((_, sequence)) = line.split_once("acknowledged ") {
                acknowledged = sequence.trim().parse().unwrap();
            } else if let Some((_, found)) = line.split_once("failed ") {
                code = Some(found.trim().to_owned());
            }
            line.clear();
        }
        let Some(code) = code else {
            // The limit was too low even for the folder's own files.
            assert_eq!(acknowledged, 0, "{limit_blocks} blocks");
            continue;
        };
        writer.succeed();
        codes.insert(code);

        let (mut journal, records) = project.open();
        let stored = records.len() as u64;
        assert!(
            stored == acknowledged || stored == acknowledged + 2,
            "{stored} stored, {acknowledged} acknowledged"
        );
        let head = journal.reader().projection("head").unwrap();
        assert_eq!(head.first().map_or(0, |entry| entry.sequence), stored);
        journal.append(stored, &["4"], &[]).unwrap();
        assert_eq!(journal.reader().verify().unwrap().sequence, stored + 1);
    }
    assert!(codes.contains("JOURNAL_IO"), "{codes:?}");
    assert!(!codes.contains("JOURNAL_INTERNAL") && !codes.contains("JOURNAL_CORRUPT"), "{codes:?}");
}

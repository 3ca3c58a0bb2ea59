//! What a verifier promises as a whole, on real folders and with real programs.

#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails; clippy excepts only its own function"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use orchestrator_verify::{
    CheckReport, CheckRequest, CommandEvidence, Evidence, FileEvidence, FileState, FindingCode,
    OUTPUT_BYTES_MAX, QUEUE_MAX, SyntaxVerdict, Verdict, Verifier, snapshot,
};
use tempfile::TempDir;

/// Far longer than anything here takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn folder(files: &[(&str, &str)]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, content) in files {
        write(&root, path, content);
    }
    root
}

fn write(root: &TempDir, path: &str, content: &str) {
    let path = root.path().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn strings(items: &[&str]) -> Vec<String> {
    items.iter().map(|&item| item.to_owned()).collect()
}

/// A request without files, for tests of commands.
fn commands(root: &Path, commands: &[&[&str]]) -> CheckRequest {
    CheckRequest {
        id: "id".into(),
        root: root.into(),
        lease: Vec::new(),
        before: snapshot(root, &[]).unwrap(),
        claimed: Vec::new(),
        commands: commands.iter().map(|argv| strings(argv)).collect(),
        timeout_ms: None,
        environment: BTreeMap::new(),
    }
}

/// A request without commands, taken before the work.
fn files(root: &TempDir, lease: &[&str], claimed: &[&str]) -> CheckRequest {
    let lease = strings(lease);
    let before = snapshot(root.path(), &lease).unwrap();
    CheckRequest { lease, before, claimed: strings(claimed), ..commands(root.path(), &[]) }
}

fn run(request: CheckRequest) -> CheckReport {
    let verifier = Verifier::start().unwrap();
    let report = start(&verifier, request).recv_timeout(PATIENCE).unwrap();
    assert_eq!(verifier.running(), Vec::<u32>::new());
    report
}

fn start(verifier: &Verifier, request: CheckRequest) -> Receiver<CheckReport> {
    let (sender, receiver) = channel();
    verifier.run(request, move |report| sender.send(report).unwrap());
    receiver
}

fn codes(report: &CheckReport) -> Vec<FindingCode> {
    report.findings.iter().map(|finding| finding.code).collect()
}

fn command_evidence(report: &CheckReport) -> Vec<&CommandEvidence> {
    report
        .evidence
        .iter()
        .filter_map(|evidence| match evidence {
            Evidence::Command(command) => Some(command),
            Evidence::File(_) => None,
        })
        .collect()
}

fn file_evidence(report: &CheckReport) -> Vec<&FileEvidence> {
    report
        .evidence
        .iter()
        .filter_map(|evidence| match evidence {
            Evidence::File(file) => Some(file),
            Evidence::Command(_) => None,
        })
        .collect()
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A zombie counts as gone: in a container nobody may be there to collect it.
fn is_gone(pid: &str) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')),
        Err(_) if Path::new("/proc/self/stat").exists() => true,
        Err(_) => !std::process::Command::new("kill").args(["-0", pid]).output().unwrap().status.success(),
    }
}

fn read_pid(root: &TempDir, name: &str) -> String {
    let path = root.path().join(name);
    wait_until("the process writes its id", || {
        fs::read_to_string(&path).is_ok_and(|text| text.ends_with('\n'))
    });
    fs::read_to_string(path).unwrap().trim().to_owned()
}

/// Sound work must pass, with everything it rests on.
#[test]
fn sound_work_passes_with_its_evidence() {
    let root = folder(&[("src/a.ts", "let a = 1;\n"), ("src/old.ts", "let o;\n"), ("notes", "x")]);
    let mut request = files(&root, &["src/", "notes"], &["src/a.ts", "./src/old.ts", "notes"]);
    request.claimed.push(root.path().join("src/new.json").to_str().unwrap().to_owned());
    request.commands = vec![strings(&["true"]), strings(&["sh", "-c", "echo out; echo err >&2; echo out"])];
    write(&root, "src/a.ts", "let a = 2;\n");
    write(&root, "src/new.json", "{}");
    write(&root, "src/unclaimed.rs", "fn f() {}\n");
    write(&root, "notes", "y");
    fs::remove_file(root.path().join("src/old.ts")).unwrap();

    let report = run(request);
    assert_eq!(report.findings, []);
    assert_eq!((report.verdict, report.id.as_str()), (Verdict::Pass, "id"));
    let changed: Vec<&str> = report.changed.iter().map(|change| change.path.as_str()).collect();
    assert_eq!(changed, ["notes", "src/a.ts", "src/new.json", "src/old.ts", "src/unclaimed.rs"]);
    assert_eq!(report.changed[2].before, FileState::Absent);
    assert_eq!(report.changed[3].after, FileState::Absent);

    let syntax: Vec<SyntaxVerdict> = file_evidence(&report).iter().map(|file| file.syntax).collect();
    use SyntaxVerdict::{NotApplicable, Pass};
    assert_eq!(syntax, [NotApplicable, Pass, Pass, NotApplicable, Pass]);

    let evidence = command_evidence(&report);
    assert_eq!(evidence.len(), 2);
    assert_eq!(evidence[1].exit_code, Some(0));
    assert_eq!((evidence[1].head.as_str(), evidence[1].tail.as_str()), ("out\nerr\nout\n", ""));
    assert_eq!(evidence[1].output_digest, blake3::hash(b"out\nerr\nout\n").to_hex().as_str());
    assert!(evidence[1].output_complete && evidence[1].process_group.is_some());
}

/// A worker's word is a claim.
#[test]
fn claims_are_compared_with_the_files() {
    let root = folder(&[("src/a.txt", "a"), ("src/b.txt", "b"), ("other.txt", "c")]);
    let request =
        files(&root, &["src/"], &["src/a.txt", "src/b.txt", "other.txt", "../x", "src/../other.txt"]);
    write(&root, "src/a.txt", "changed");
    write(&root, "other.txt", "changed");
    let report = run(request);
    assert_eq!(report.verdict, Verdict::Fail);
    let found: Vec<(FindingCode, &str)> =
        report.findings.iter().map(|finding| (finding.code, finding.path.as_deref().unwrap())).collect();
    assert_eq!(
        found,
        [
            (FindingCode::FileOutsideLease, "../x"),
            (FindingCode::FileOutsideLease, "other.txt"),
            (FindingCode::FileOutsideLease, "src/../other.txt"),
            (FindingCode::FileUnchanged, "src/b.txt"),
        ]
    );
}

/// A worker that did nothing must not pass because nothing is wrong.
#[test]
fn no_change_at_all_is_a_finding() {
    let root = folder(&[("src/a.txt", "a")]);
    let report = run(files(&root, &["src/"], &[]));
    assert_eq!((report.verdict, codes(&report)), (Verdict::Fail, vec![FindingCode::NothingChanged]));

    let report = run(commands(root.path(), &[]));
    assert_eq!((report.verdict, codes(&report)), (Verdict::Unknown, vec![FindingCode::NothingToCheck]));
}

/// A file that does not parse goes back with the place; one that parses does not.
#[test]
fn changed_files_are_parsed() {
    let sound = [
        ("src/a.ts", "export const a: number = 1;\n"),
        ("src/b.js", "export const b = () => 1;\n"),
        ("src/c.json", "{ \"c\": [] }\n"),
        ("src/d.py", "def d() -> int:\n    return 1\n"),
        ("src/e.rs", "pub fn e() -> u8 { 1 }\n"),
    ];
    let broken = [
        ("src/a.ts", "export const a: number = ;\n", "1:"),
        ("src/b.js", "ok();\nexport const b = ( => 1;\n", "2:"),
        ("src/c.json", "{\n  \"c\": [\n}\n", "2:"),
        ("src/d.py", "def d( -> int:\n    return 1\n", "1:"),
        ("src/e.rs", "pub fn e() -> u8 {\n    let x = 1 +;\n}\n", "2:"),
    ];
    let root = folder(&[]);
    let request = files(&root, &["src/"], &[]);
    for (path, text) in sound {
        write(&root, path, text);
    }
    let report = run(request.clone());
    assert_eq!((report.verdict, report.findings), (Verdict::Pass, vec![]));

    for (path, text, _) in broken {
        write(&root, path, text);
    }
    let report = run(request);
    assert_eq!(report.verdict, Verdict::Fail);
    assert!(file_evidence(&report).iter().all(|file| file.syntax == SyntaxVerdict::Fail));
    for (path, text, place) in broken {
        let finding = report.findings.iter().find(|finding| finding.path.as_deref() == Some(path)).unwrap();
        assert_eq!(finding.code, FindingCode::SyntaxError);
        assert!(finding.message.starts_with(place), "{path}: {}", finding.message);
        let line = text.lines().nth(finding.line.unwrap() as usize - 1).unwrap();
        assert_eq!(finding.detail.as_deref(), Some(line));
    }
}

/// A grammar that lags behind its language must not send sound work back for ever.
#[test]
fn a_file_that_did_not_parse_before_is_not_judged() {
    let root = folder(&[("a.ts", "let a = <A>(x: A): (y: A) => B<A>\n")]);
    let request = files(&root, &["a.ts"], &["a.ts"]);
    assert!(matches!(request.before.state("a.ts"), FileState::File { parses: Some(false), .. }));
    write(&root, "a.ts", "let a = <A>(x: A): (z: A) => B<A>\n");
    let report = run(request);
    assert_eq!((report.verdict, report.findings.as_slice()), (Verdict::Pass, [].as_slice()));
    assert_eq!(file_evidence(&report)[0].syntax, SyntaxVerdict::NotApplicable);
}

/// What was not looked at is unknown.
#[test]
fn a_file_too_large_to_parse_is_unknown() {
    let root = folder(&[]);
    let request = files(&root, &["a.ts"], &["a.ts"]);
    write(&root, "a.ts", &" ".repeat(orchestrator_verify::SYNTAX_BYTES_MAX + 1));
    let report = run(request);
    assert_eq!((report.verdict, codes(&report)), (Verdict::Unknown, vec![FindingCode::SyntaxUnknown]));
    assert_eq!(file_evidence(&report)[0].syntax, SyntaxVerdict::Unknown);
}

/// Writing through a link would leave the lease.
#[test]
fn a_link_out_of_the_root_fails() {
    let outside = folder(&[("x", "x")]);
    let root = folder(&[("src/a.txt", "a")]);
    let request = files(&root, &["src/"], &[]);
    std::os::unix::fs::symlink(outside.path().join("x"), root.path().join("src/link")).unwrap();
    let report = run(request.clone());
    assert_eq!((report.verdict, codes(&report)), (Verdict::Fail, vec![FindingCode::LinkOutsideRoot]));

    fs::remove_dir_all(root.path().join("src")).unwrap();
    std::os::unix::fs::symlink(outside.path(), root.path().join("src")).unwrap();
    let report = run(request);
    assert_eq!((report.verdict, codes(&report)), (Verdict::Fail, vec![FindingCode::LinkOutsideRoot]));
}

/// Files that could not be recorded, or were recorded for something else, must not pass; commands still run.
#[test]
fn an_unusable_snapshot_is_unknown() {
    let root = folder(&[("src/a.txt", "a")]);
    let mut request = files(&root, &["src/"], &[]);
    let large = fs::File::create(root.path().join("src/large")).unwrap();
    large.set_len(orchestrator_verify::FILE_BYTES_MAX + 1).unwrap();
    request.commands = vec![strings(&["true"])];
    let report = run(request.clone());
    assert_eq!((report.verdict, codes(&report)), (Verdict::Unknown, vec![FindingCode::SnapshotFailed]));
    assert_eq!(report.findings[0].detail.as_deref(), Some("SNAPSHOT_FILE_TOO_LARGE"));
    assert_eq!(command_evidence(&report)[0].exit_code, Some(0));

    request.lease.push("other/".into());
    let report = run(request);
    assert_eq!((report.verdict, codes(&report)), (Verdict::Unknown, vec![FindingCode::LeaseMismatch]));
}

/// Each way a command can end has its code, and all commands are run so that all is said at once.
#[test]
fn every_end_of_a_command_is_told_apart() {
    let root = folder(&[]);
    write(&root, "plain", "not a program");
    let report = run(commands(
        root.path(),
        &[
            &["sh", "-c", "echo why; exit 3"],
            &["false"],
            &["sh", "-c", "kill -SEGV $$"],
            &["no-such-program-anywhere", "x"],
            &["./plain"],
            &[],
            &[
                "sh",
                "-c",
                "test \"$(pwd -P)\" = \"$0\"",
                root.path().canonicalize().unwrap().to_str().unwrap(),
            ],
            &["sh", "-c", "! read line"],
            &["echo", "$HOME; *"],
        ],
    ));
    assert_eq!(report.verdict, Verdict::Fail);
    use FindingCode::{CommandFailed, CommandNotStarted, CommandSignalled};
    assert_eq!(
        codes(&report),
        [
            CommandFailed,
            CommandFailed,
            CommandSignalled,
            CommandNotStarted,
            CommandNotStarted,
            CommandNotStarted
        ]
    );
    assert!(report.findings[0].message.contains("code 3"), "{}", report.findings[0].message);
    assert_eq!(report.findings[0].detail.as_deref(), Some("why\n"));
    let evidence = command_evidence(&report);
    assert_eq!(evidence.len(), 9);
    assert_eq!((evidence[2].exit_code, evidence[2].signal), (None, Some(11)));
    assert_eq!(evidence[3].process_group, None);
    assert_eq!(evidence[8].head, "$HOME; *\n");

    let only_missing = run(commands(root.path(), &[&["no-such-program-anywhere"]]));
    assert_eq!(only_missing.verdict, Verdict::Unknown);
}

/// A command that hangs must end, with what it started.
#[test]
fn a_timeout_kills_the_whole_group() {
    let root = folder(&[]);
    let script = "sh -c 'echo $$ > inner; sleep 1000' & echo started; echo $$ > outer; wait";
    let mut request = commands(root.path(), &[&["sh", "-c", script], &["true"]]);
    request.timeout_ms = Some(3000);
    let report = run(request);
    assert_eq!((report.verdict, codes(&report)), (Verdict::Fail, vec![FindingCode::CommandTimeout]));
    let evidence = command_evidence(&report);
    assert_eq!((evidence[0].exit_code, evidence[0].signal), (None, Some(9)));
    assert_eq!(evidence[0].head, "started\n");
    assert!(!evidence[0].output_complete);
    assert_eq!(evidence[1].exit_code, Some(0));
    for name in ["inner", "outer"] {
        let pid = read_pid(&root, name);
        wait_until("the process is killed", || is_gone(&pid));
    }
}

/// A grandchild left behind would go on writing, and would hold the pipe open.
#[test]
fn what_a_command_leaves_behind_is_killed() {
    let root = folder(&[]);
    let script = "sleep 1000 & echo $! > left; echo done";
    let report = run(commands(root.path(), &[&["sh", "-c", script]]));
    assert_eq!((report.verdict, report.findings.as_slice()), (Verdict::Pass, [].as_slice()));
    let evidence = command_evidence(&report);
    assert_eq!(evidence[0].head, "done\n");
    assert!(evidence[0].output_complete);
    let pid = read_pid(&root, "left");
    wait_until("the grandchild is killed", || is_gone(&pid));
}

/// A process that left the group keeps the pipe: the check must end all the same.
#[test]
fn a_held_pipe_does_not_hang_the_check() {
    if std::process::Command::new("setsid").arg("true").status().is_err() {
        return;
    }
    let root = folder(&[]);
    let script = "setsid sh -c 'echo $$ > left; exec sleep 1000' & while ! test -s left; do sleep 0.01; done";
    let report = run(commands(root.path(), &[&["sh", "-c", script]]));
    let pid = read_pid(&root, "left");
    assert!(std::process::Command::new("kill").args(["-9", &pid]).status().unwrap().success());
    assert_eq!(report.verdict, Verdict::Pass);
    assert!(!command_evidence(&report)[0].output_complete);
}

/// Output without end must not fill the memory, and long output must be kept at both ends.
#[test]
fn output_is_bounded() {
    let root = folder(&[]);
    let long =
        "echo first; i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; echo last >&2; exit 1";
    let report = run(commands(root.path(), &[&["sh", "-c", long], &["yes"]]));
    assert_eq!(codes(&report), [FindingCode::CommandFailed, FindingCode::CommandOutputLimit]);
    let evidence = command_evidence(&report);
    assert!(evidence[0].head.starts_with("first\n") && evidence[0].tail.ends_with("last\n"));
    assert_eq!(
        evidence[0].head.len() as u64 + evidence[0].tail.len() as u64 + evidence[0].omitted_bytes,
        evidence[0].output_bytes
    );
    assert!(report.findings[0].detail.as_ref().unwrap().ends_with("last\n"));
    assert!(evidence[1].output_bytes > OUTPUT_BYTES_MAX);
    assert!(!evidence[1].output_complete);
}

/// The engine stops a task: its programs must be gone and its answer must come.
#[test]
fn a_cancelled_check_is_answered_and_its_group_killed() {
    let root = folder(&[]);
    let verifier = Verifier::start().unwrap();
    let (sender, receiver) = channel();
    let sleep: &[&str] = &["sh", "-c", "echo $$ > pid; sleep 1000"];
    let request = commands(root.path(), &[&["false"], sleep, &["touch", "later"]]);
    let ticket = verifier.run(request, move |report| sender.send(report).unwrap());
    let pid = read_pid(&root, "pid");
    // The process can write its id before its verifier has noted it.
    let id = pid.parse::<u32>().unwrap();
    wait_until("the group is known", || verifier.running() == [id]);
    verifier.cancel(ticket);
    let report = receiver.recv_timeout(PATIENCE).unwrap();
    assert_eq!(report.verdict, Verdict::Unknown);
    assert_eq!(codes(&report), [FindingCode::CommandFailed, FindingCode::Cancelled]);
    wait_until("the process is killed", || is_gone(&pid));
    assert!(!root.path().join("later").exists());
    verifier.cancel(ticket);
    assert!(receiver.recv_timeout(Duration::from_millis(50)).is_err());
}

/// Two run, the others wait their turn; one that waits can be cancelled without waiting.
#[test]
fn requests_beyond_two_are_queued() {
    let root = folder(&[]);
    let verifier = Verifier::start().unwrap();
    let wait = "echo $$ > pid$0; while ! test -e go; do sleep 0.01; done";
    let first = start(&verifier, commands(root.path(), &[&["sh", "-c", wait, "1"]]));
    let second = start(&verifier, commands(root.path(), &[&["sh", "-c", wait, "2"]]));
    read_pid(&root, "pid1");
    read_pid(&root, "pid2");
    let third = start(&verifier, commands(root.path(), &[&["touch", "third"]]));
    let (sender, fourth) = channel();
    let ticket = verifier
        .run(commands(root.path(), &[&["touch", "fourth"]]), move |report| sender.send(report).unwrap());
    verifier.cancel(ticket);
    assert_eq!(codes(&fourth.recv_timeout(PATIENCE).unwrap()), [FindingCode::Cancelled]);
    assert!(!root.path().join("third").exists());

    let queued: Vec<_> =
        (1..QUEUE_MAX).map(|_| start(&verifier, commands(root.path(), &[&["true"]]))).collect();
    let refused = start(&verifier, commands(root.path(), &[&["true"]])).recv_timeout(PATIENCE).unwrap();
    assert_eq!((refused.verdict, codes(&refused)), (Verdict::Unknown, vec![FindingCode::QueueFull]));

    write(&root, "go", "");
    for receiver in [first, second, third].iter().chain(&queued) {
        assert_eq!(receiver.recv_timeout(PATIENCE).unwrap().verdict, Verdict::Pass);
    }
    assert!(root.path().join("third").exists() && !root.path().join("fourth").exists());
}

/// The host closes: nothing may survive it, and nobody may wait for ever.
#[test]
fn a_shutdown_settles_everything_once() {
    let root = folder(&[]);
    let verifier = Verifier::start().unwrap();
    let sleep = "echo $$ > pid$0; sleep 1000";
    let receivers: Vec<_> = ["1", "2", "3", "4"]
        .iter()
        .map(|name| start(&verifier, commands(root.path(), &[&["sh", "-c", sleep, name]])))
        .collect();
    let pids = [read_pid(&root, "pid1"), read_pid(&root, "pid2")];
    verifier.shutdown();
    assert_eq!(verifier.running(), Vec::<u32>::new());
    for receiver in &receivers {
        let report = receiver.try_recv().unwrap();
        assert_eq!((report.verdict, codes(&report)), (Verdict::Unknown, vec![FindingCode::Cancelled]));
        assert!(receiver.try_recv().is_err());
    }
    for pid in pids {
        wait_until("the process is killed", || is_gone(&pid));
    }
    let late = start(&verifier, commands(root.path(), &[&["touch", "late"]]));
    assert_eq!(codes(&late.try_recv().unwrap()), [FindingCode::Cancelled]);
    verifier.shutdown();
    drop(verifier);
    assert!(!root.path().join("late").exists());
}

/// A verifier that is dropped by one of its own callbacks must not wait for itself.
#[test]
fn a_verifier_can_be_dropped_from_its_callback() {
    let root = folder(&[]);
    let verifier = std::sync::Arc::new(Verifier::start().unwrap());
    let (sender, receiver) = channel();
    let (hand_over, handed_over) = channel();
    let request = commands(root.path(), &[&["true"]]);
    verifier.run(request, move |report| {
        let verifier: std::sync::Arc<Verifier> = handed_over.recv().unwrap();
        drop(verifier);
        sender.send(report).unwrap();
    });
    hand_over.send(verifier).unwrap();
    assert_eq!(receiver.recv_timeout(PATIENCE).unwrap().verdict, Verdict::Pass);
}

/// Limits of a request are said, and what is beyond them is not run.
#[test]
fn a_request_beyond_its_limits_is_unknown() {
    let root = folder(&[]);
    let many: Vec<&[&str]> = vec![&["sh", "-c", "echo x >> count"]; orchestrator_verify::COMMANDS_MAX + 1];
    let report = run(commands(root.path(), &many));
    assert_eq!((report.verdict, codes(&report)), (Verdict::Unknown, vec![FindingCode::RequestTooLarge]));
    let count = fs::read_to_string(root.path().join("count")).unwrap().lines().count();
    assert_eq!(count, orchestrator_verify::COMMANDS_MAX);

    let long = "x".repeat(orchestrator_verify::ARGV_BYTES_MAX);
    let report = run(commands(root.path(), &[&["echo", &long]]));
    assert_eq!((report.verdict, codes(&report)), (Verdict::Unknown, vec![FindingCode::CommandNotStarted]));

    let mut request = files(&root, &["a"], &[]);
    request.claimed = (0..=orchestrator_verify::CLAIMS_MAX).map(|index| format!("{index:05}")).collect();
    write(&root, "a", "");
    let report = run(request);
    assert_eq!(report.findings[0].code, FindingCode::RequestTooLarge);
    assert_eq!(report.findings.len(), 101);
    assert!(report.findings[100].message.ends_with("(and 9900 more of this kind)"));
}

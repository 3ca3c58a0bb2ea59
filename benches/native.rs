//! What has no peer in JavaScript: the pool itself, searches without the way to JavaScript and back, the journal.
//!
//! ```text
//! cargo bench -p orchestrator-benches
//! ```

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use orchestrator_search::{Query, Root, run};
use orchestrator_store::{Journal, StateDir};
use orchestrator_worker::{Job, Lane, Pool};
use serde_json::json;
use std::fs;
use std::hint::black_box;
use std::sync::mpsc::channel;
use std::time::Duration;
use tempfile::TempDir;

const TIME_LIMIT: Duration = Duration::from_secs(30);
const LINE: &str = "export const value = compute(first, second, third) // a line as there are many\n";

fn main() {
    divan::main();
}

/// A job from its submission to its end, with units that do nothing: what the pool itself costs.
#[divan::bench(args = [1, 16, 256])]
fn pool_job(bencher: Bencher<'_, '_>, units_count: usize) {
    let pool = Pool::new(2);
    bencher.counter(ItemsCount::new(units_count)).bench_local(|| {
        let (sender, receiver) = channel();
        let job = Job::new(Lane::Interactive, TIME_LIMIT, move |scope| {
            for unit in 1..units_count {
                scope.spawn(move |_| {
                    black_box(unit);
                });
            }
        });
        pool.submit(job, move |outcome| sender.send(outcome).expect("the receiver lives"))
            .expect("there is room");
        receiver.recv().expect("the job ends")
    });
}

/// A folder with one file of `size_bytes`, in whose last line there is a match.
fn folder_of(size_bytes: usize) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = LINE.repeat(size_bytes / LINE.len()) + "needle\n";
    fs::write(folder.path().join("file.ts"), text).expect("the file can be written");
    folder
}

fn search(bencher: Bencher<'_, '_>, folder: &TempDir, tool: &str, options: &serde_json::Value) {
    let pool = Pool::new(2);
    let root = Root::open(folder.path()).expect("the folder is there");
    let options = options.to_string();
    bencher.bench_local(|| {
        let query = Query::parse(tool, &options).expect("the options are right");
        run(&pool, &root, query).expect("the search ends well")
    });
}

/// Text search in one file that is in the system's cache.
#[divan::bench(args = [1 << 10, 1 << 20, 16 << 20])]
fn grep(bencher: Bencher<'_, '_>, size_bytes: usize) {
    let folder = folder_of(size_bytes);
    search(
        bencher.counter(BytesCount::new(size_bytes)),
        &folder,
        "grep_search",
        &json!({"pattern": "ne+dle"}),
    );
}

/// A folder of 1,000 files is listed, and each name matched.
#[divan::bench(args = ["*.ts", "**/file1*.ts", "{a,b,file}[0-9]5?.ts"])]
fn glob(bencher: Bencher<'_, '_>, pattern: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for index in 0..1000 {
        fs::write(folder.path().join(format!("file{index}.ts")), "").expect("the file can be written");
    }
    search(
        bencher.counter(ItemsCount::new(1000_usize)),
        &folder,
        "glob_search",
        &json!({"pattern": pattern}),
    );
}

/// A batch of records is made durable.
#[divan::bench(args = [1, 16, 256])]
fn journal_append(bencher: Bencher<'_, '_>, records_count: usize) {
    let project = tempfile::tempdir().expect("a temporary folder");
    let state_dir = StateDir::prepare(project.path()).expect("the state folder can be made");
    let (mut journal, _) = Journal::open(&state_dir).expect("the journal can be opened");
    let bodies = vec![r#"{"type":"turnEnded","session":"ses_0123456789","finish":"stop"}"#; records_count];
    bencher
        .counter(ItemsCount::new(records_count))
        .bench_local(|| journal.append(0, &bodies, &[]).expect("it is appended"));
}

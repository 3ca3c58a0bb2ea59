use orchestrator_store::Reader;

use crate::{Project, put};

#[test]
fn cut_at_every_byte_of_the_last_commit() {
    // Breaks when a write that a crash has cut off leaves half a batch, or costs an earlier record.
    let project = Project::new();
    let (mut journal, _) = project.open();
    journal.append(0, &[r#"{"n":1}"#], &[put("task", "a", "1")]).unwrap();
    let before = journal.append(1, &[r#"{"n":2}"#], &[]).unwrap();
    let anchor = project.read("journal.head");
    let wal_before = project.read("journal.db-wal").len();
    let after = journal.append(2, &[r#"{"n":3}"#, r#"{"n":4}"#], &[put("task", "a", "4")]).unwrap();
    let (database, wal) = (project.read("journal.db"), project.read("journal.db-wal"));
    assert!(wal.len() > wal_before + 2 * 4096, "the last commit is expected to have two pages");

    let copy = Project::new();
    for cut in wal_before..=wal.len() {
        copy.restore(&database, &wal[..cut], &anchor);
        let (head, body) = if cut == wal.len() { (after, "4") } else { (before, "1") };
        let reader = Reader::open(&copy.state_dir).unwrap();
        assert_eq!(reader.verify().unwrap(), head, "cut at {cut}");
        assert_eq!(reader.projection("task").unwrap()[0].body, body, "cut at {cut}");
        drop(reader);
        // A restart goes on from there; every cut would only take longer.
        if cut % 61 == 0 || cut == wal.len() {
            let (mut journal, records) = copy.open();
            assert_eq!(records.len() as u64, head.sequence);
            journal.append(head.sequence, &["5"], &[]).unwrap();
            assert_eq!(journal.reader().verify().unwrap().sequence, head.sequence + 1);
        }
    }
}

#[test]
fn a_crash_after_every_commit() {
    // Breaks when an acknowledged batch is lost, also one that was followed by a checkpoint.
    let project = Project::new();
    let copy = Project::new();
    let (mut journal, _) = project.open();
    let mut head = journal.head();
    let mut checkpoints = 0;
    let mut wal_bytes = 0;
    for n in 0..60 {
        let body = format!("\"{}\"", "x".repeat(1 + n * 7919 % 200_000));
        head = journal
            .append(head.sequence, &[body.as_str(), "2"], &[put("task", "a", &n.to_string())])
            .unwrap();
        let (database, wal) = (project.read("journal.db"), project.read("journal.db-wal"));
        copy.restore(&database, &wal, &project.read("journal.head"));
        let reader = Reader::open(&copy.state_dir).unwrap();
        assert_eq!(reader.verify().unwrap(), head, "after commit {n}");
        assert_eq!(reader.projection("task").unwrap()[0].body, n.to_string());
        // Only a checkpoint moves pages into the database.
        checkpoints += usize::from(database.len() > wal_bytes);
        wal_bytes = database.len();
    }
    assert!(checkpoints >= 2, "the journal was not long enough to be checkpointed");
    let (_, records) = copy.open();
    assert_eq!(records.len(), 120);
}

#[test]
fn a_crash_while_the_journal_is_made() {
    // Breaks when a folder that was left half prepared has to be repaired by hand.
    for (database, wal) in [(vec![], vec![]), (half_made_database(), vec![])] {
        let project = Project::new();
        project.restore(&database, &wal, b"");
        assert_eq!(Reader::open(&project.state_dir).unwrap_err().code(), "JOURNAL_MISSING");
        let (mut journal, records) = project.open();
        assert!(records.is_empty());
        journal.append(0, &["1"], &[]).unwrap();
    }
}

#[test]
fn several_make_the_journal_at_once() {
    // Breaks when the first start of two processes fails for one of them.
    for _ in 0..20 {
        let project = Project::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| project.open());
            }
        });
        assert!(project.open().1.is_empty());
    }
}

/// A database that is in WAL mode already and has no tables yet.
fn half_made_database() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("half.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "journal_mode", "wal").unwrap();
    connection.close().unwrap();
    std::fs::read(path).unwrap()
}

use std::fs;
use std::io::Write;

use orchestrator_store::{Digest, Journal, Reader, StoreError};
use rusqlite::Connection;

use crate::{Project, put};

/// Five records in three batches, closed, so that all of it is in the database file.
fn journal_at_rest() -> Project {
    let project = Project::new();
    let (mut journal, _) = project.open();
    append_five(&mut journal);
    project
}

fn append_five(journal: &mut Journal) {
    journal.append(0, &[r#"{"type":"mission_started"}"#], &[put("mission", "m", "planning")]).unwrap();
    journal
        .append(1, &[r#"{"n":2}"#, r#"{"n":3}"#, r#"{"n":4}"#], &[put("mission", "m", "executing")])
        .unwrap();
    journal.append(4, &[r#"{"type":"mission_sealed"}"#], &[put("mission", "m", "sealed")]).unwrap();
}

/// Asks what a restart asks.
fn open_error(project: &Project) -> StoreError {
    Journal::open(&project.state_dir).expect_err("the damage was accepted")
}

#[test]
fn a_flipped_byte_in_a_record_names_the_record() {
    // Breaks when a stored record can change without its number being told.
    let project = journal_at_rest();
    let connection = Connection::open(project.path("journal.db")).unwrap();
    let reader = Reader::open(&project.state_dir).unwrap();
    for damaged in 1..=5_u64 {
        for column in ["prev", "hash", "body"] {
            let sql = format!("SELECT {column} FROM events WHERE seq = {damaged}");
            let sound: Vec<u8> = connection.query_row(&sql, (), |row| row.get(0)).unwrap();
            let set = |bytes: &[u8]| {
                let sql = format!("UPDATE events SET {column} = ?1 WHERE seq = {damaged}");
                connection.execute(&sql, [bytes]).unwrap();
            };
            for index in 0..sound.len() {
                let mut bytes = sound.clone();
                bytes[index] ^= 1 << (index % 8);
                set(&bytes);
                let error = reader.verify().expect_err("the flip was accepted");
                let (told, expected) = if let StoreError::HashMismatch { sequence, .. } = error {
                    (sequence, ["hash", "body"].contains(&column))
                } else if let StoreError::PreviousMismatch { sequence, .. } = error {
                    (sequence, column == "prev")
                } else {
                    panic!("{column} of {damaged}: {error}")
                };
                assert!(told == damaged && expected, "{column} of {damaged}: {error}");
            }
            set(&sound[1..]);
            let error = reader.verify().unwrap_err();
            let expected =
                if column == "body" { "JOURNAL_HASH_MISMATCH" } else { "JOURNAL_RECORD_MALFORMED" };
            assert_eq!(error.code(), expected);
            set(&sound);
        }
    }
    assert_eq!(reader.verify().unwrap().sequence, 5);
}

#[test]
fn a_flipped_byte_in_the_database_file_is_never_accepted() {
    // Breaks when a damaged page shortens or changes the history without a word.
    let project = journal_at_rest();
    let (database, anchor) = (project.read("journal.db"), project.read("journal.head"));
    // Every byte that holds something, and a part of the unused space.
    let bytes = (0..database.len()).filter(|index| database[*index] != 0 || index % 3 == 0);
    flip(&project, &database, bytes, |flipped| project.restore(flipped, b"", &anchor));
}

#[test]
fn a_flipped_byte_in_the_log_file_is_never_accepted() {
    // Breaks when SQLite, which ends a damaged log where the damage is, quietly costs us the records behind it.
    let project = Project::new();
    // Closed once, so that the log holds the records only.
    drop(project.open());
    let (mut journal, _) = project.open();
    append_five(&mut journal);
    let (database, wal) = (project.read("journal.db"), project.read("journal.db-wal"));
    let anchor = project.read("journal.head");
    drop(journal);
    // SQLite's check sums cover every byte alike: all of the headers (the file's and that of each page), a part of the pages.
    let bytes =
        (0..wal.len()).filter(|index| *index < 32 || (index - 32) % (24 + 4096) < 24 || index % 7 == 0);
    flip(&project, &wal, bytes, |flipped| project.restore(&database, flipped, &anchor));
}

#[test]
fn a_cut_database_file_is_never_accepted() {
    // Breaks when a file that lost its end passes for a shorter history.
    let project = journal_at_rest();
    let (database, anchor) = (project.read("journal.db"), project.read("journal.head"));
    for length in (0..database.len()).step_by(127) {
        project.restore(&database[..length], b"", &anchor);
        assert!(project.stored().is_err(), "cut to {length}");
        assert!(Journal::open(&project.state_dir).is_err(), "cut to {length}");
    }
}

/// A flip is told, or lies where nothing is stored: then every record is what it was.
fn flip(project: &Project, sound: &[u8], bytes: impl Iterator<Item = usize>, restore: impl Fn(&[u8])) {
    restore(sound);
    let expected = project.stored().unwrap();
    let mut told = 0;
    for index in bytes {
        let mut flipped = sound.to_vec();
        flipped[index] ^= 1 << (index % 8);
        restore(&flipped);
        match project.stored() {
            Ok(stored) => {
                assert!(stored == expected, "the flip at {index} changed the records and was accepted")
            }
            Err(StoreError::Internal { source }) => panic!("the flip at {index} is not typed: {source:?}"),
            Err(_) => told += 1,
        }
    }
    assert!(told > 500, "only {told} flips were told");
}

#[test]
fn records_removed_moved_or_added_are_told() {
    // Breaks when somebody with an SQL prompt can change the history unseen.
    let check = |sql: &str, code: &str, named: &str| {
        let project = journal_at_rest();
        Connection::open(project.path("journal.db")).unwrap().execute_batch(sql).unwrap();
        let error = open_error(&project);
        assert_eq!(error.code(), code, "{sql}");
        assert!(error.to_string().contains(named), "{sql}: {error}");
    };
    check("DELETE FROM events WHERE seq = 1", "JOURNAL_SEQUENCE_GAP", "record 1 ");
    check("DELETE FROM events WHERE seq = 3", "JOURNAL_SEQUENCE_GAP", "record 3 ");
    check("DELETE FROM events WHERE seq = 5", "JOURNAL_TAIL_LOST", "record 5 ");
    check("DELETE FROM events", "JOURNAL_TAIL_LOST", "record 5 ");
    check("UPDATE events SET seq = 9 WHERE seq = 5", "JOURNAL_SEQUENCE_GAP", "record 5 ");
    check(
        "INSERT INTO events SELECT 0, prev, hash, body FROM events WHERE seq = 1",
        "JOURNAL_SEQUENCE_GAP",
        "",
    );
    check(
        "INSERT INTO events SELECT -1, prev, hash, body FROM events WHERE seq = 1",
        "JOURNAL_RECORD_MALFORMED",
        "",
    );
    check(
        "INSERT INTO events SELECT 6, prev, hash, body FROM events WHERE seq = 5",
        "JOURNAL_PREVIOUS_MISMATCH",
        "record 6 ",
    );
    check(
        "UPDATE events SET body = zeroblob(2000000) WHERE seq = 2",
        "JOURNAL_RECORD_MALFORMED",
        "record 2 ",
    );
    check("DROP TABLE projection", "JOURNAL_SCHEMA_MISMATCH", "projection");
    check("CREATE TABLE other (a)", "JOURNAL_SCHEMA_MISMATCH", "other");
    check("CREATE INDEX by_hash ON events (hash)", "JOURNAL_SCHEMA_MISMATCH", "by_hash");
    check(
        "CREATE TRIGGER late AFTER INSERT ON events BEGIN DELETE FROM projection; END",
        "JOURNAL_SCHEMA_MISMATCH",
        "late",
    );
    check("PRAGMA user_version = 2", "JOURNAL_FORMAT_UNSUPPORTED", "update opencode-orchestrator-native");
    check("PRAGMA application_id = 7", "JOURNAL_NOT_OURS", "application id 7");
}

#[test]
fn a_replaced_history_is_told() {
    // Breaks when a journal that verifies in itself, but is another one, takes the place of ours.
    let project = journal_at_rest();
    let other = Project::new();
    let (mut journal, _) = other.open();
    for n in 0..5 {
        journal.append(n, &["0"], &[]).unwrap();
    }
    drop(journal);
    fs::write(project.path("journal.db"), other.read("journal.db")).unwrap();
    let error = open_error(&project);
    assert!(matches!(error, StoreError::HistoryReplaced { sequence: 5, .. }), "{error}");

    // What the message says to do.
    fs::remove_file(project.path("journal.head")).unwrap();
    assert_eq!(project.open().1.len(), 5);
}

#[test]
fn what_is_no_journal_is_left_alone() {
    // Breaks when another program's file is taken over or written to.
    let project = Project::new();
    let text = b"not a database, but longer than the header of one; ".repeat(4);
    fs::write(project.path("journal.db"), &text).unwrap();
    assert_eq!(open_error(&project).code(), "JOURNAL_CORRUPT");
    assert_eq!(project.read("journal.db"), text);

    fs::remove_file(project.path("journal.db")).unwrap();
    let foreign = Connection::open(project.path("journal.db")).unwrap();
    foreign.execute_batch("CREATE TABLE notes (a)").unwrap();
    foreign.close().unwrap();
    let before = project.read("journal.db");
    assert_eq!(open_error(&project).code(), "JOURNAL_NOT_OURS");
    assert_eq!(project.read("journal.db"), before);
}

#[test]
fn export_holds_what_was_hashed() {
    // Breaks when an export cannot be verified by somebody who has nothing else.
    let project = Project::new();
    let (mut journal, _) = project.open();
    let odd = "{\"text\": \"\\u00e9 \u{e9} \\n\",\r\n\t\"n\": 1.50}";
    journal.append(0, &[r#"{"n":1}"#, odd], &[]).unwrap();
    let mut previous = "0".repeat(64);
    let export = String::from_utf8(project.stored().unwrap()).unwrap();
    for (sequence, (line, body)) in (1_u64..).zip(export.lines().zip([r#"{"n":1}"#, odd])) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["seq"], sequence);
        assert_eq!(line["prev"], previous);
        assert_eq!(line["body"], body);
        let mut canonical = b"opencode-orchestrator/journal/v1".to_vec();
        canonical.extend(sequence.to_le_bytes());
        canonical.extend(previous.parse::<Digest>().unwrap().as_bytes());
        canonical.extend((body.len() as u64).to_le_bytes());
        canonical.extend(body.as_bytes());
        previous = Digest::of(&canonical).to_string();
        assert_eq!(line["hash"], previous);
    }
    assert_eq!(export.lines().count(), 2);

    struct FullDisk;
    impl Write for FullDisk {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    assert_eq!(journal.reader().export(FullDisk).unwrap_err().code(), "JOURNAL_EXPORT");
}

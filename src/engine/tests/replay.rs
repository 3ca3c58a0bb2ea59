//! Journals that are kept as fixtures are decided again, and must give the same decisions and the same state.
//!
//! A line of a fixture is the body of a record. They are made by the simulator, by
//! `SIM_FIXTURES=1 cargo test -p orchestrator-engine --test simulator`, and made anew only when decisions are meant to
//! change; a format that was released keeps its fixtures.

#![expect(clippy::unwrap_used, reason = "a fixture that cannot be read is a failure")]

use std::fs;
use std::path::Path;

use orchestrator_engine::{Divergence, Engine, ReplayError};
use serde_json::{Value, json};

fn fixtures() -> Vec<(String, Vec<String>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut found: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "ndjson"))
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            (path.display().to_string(), text.lines().map(str::to_owned).collect())
        })
        .collect();
    found.sort();
    found
}

/// Replays to the end or to the first record that differs.
fn replay(records: &[String]) -> Result<(Engine, Option<Divergence>), ReplayError> {
    let mut engine = Engine::default();
    for (sequence, body) in (1..).zip(records) {
        let (decision, effects) = engine.repeat_record(sequence, body.as_bytes())?;
        if let Some(divergence) = engine.compare(sequence, &decision, &effects) {
            return Ok((engine, Some(divergence)));
        }
    }
    Ok((engine, None))
}

fn edited(record: &str, edit: impl FnOnce(&mut Value)) -> String {
    let mut body: Value = serde_json::from_str(record).unwrap();
    edit(&mut body);
    body.to_string()
}

#[test]
fn journals_that_are_kept_give_the_same_decisions() {
    // Breaks when a change of the engine breaks the missions of those who update, or was not meant to be one.
    let fixtures = fixtures();
    assert!(fixtures.len() >= 3, "the fixtures are missing");
    for (name, records) in fixtures {
        let (engine, divergence) = replay(&records).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(divergence.is_none(), "{name}: {divergence:#?}");
        let mut states = records.iter().filter_map(|record| {
            let body: Value = serde_json::from_str(record).unwrap();
            body["state"].as_str().map(str::to_owned)
        });
        assert_eq!(states.next_back(), Some(engine.digest()), "{name}");
    }
}

#[test]
fn another_decision_is_told_with_its_record() {
    // Breaks when a replay does not compare effects or state, or does not say where and what differs.
    let (_, records) = fixtures().swap_remove(0);
    let at = records.iter().position(|record| record.contains("\"openSession\"")).unwrap();
    let mut changed = records.clone();
    changed[at] = edited(&records[at], |body| {
        for effect in body["effects"].as_array_mut().unwrap() {
            if effect["type"] == "openSession" {
                effect["agent"] = json!("somebody");
            }
        }
    });
    let (_, divergence) = replay(&changed).unwrap();
    let divergence = divergence.expect("an edited effect is noticed");
    assert_eq!(divergence.sequence, at as u64 + 1);
    assert_eq!(divergence.decided[0]["agent"], "somebody");
    assert_eq!(divergence.replayed[0]["agent"], "planner");

    let at = records.iter().position(|record| record.contains("\"state\":")).unwrap();
    let mut changed = records.clone();
    changed[at] = edited(&records[at], |body| body["state"] = json!("0"));
    let (_, divergence) = replay(&changed).unwrap();
    assert_eq!(divergence.expect("another state is noticed").sequence, at as u64 + 1);
}

#[test]
fn records_that_are_not_of_this_version_are_refused() {
    // Breaks when a state is built from what this version cannot read, or that makes no sense where it stands.
    let (_, records) = fixtures().swap_remove(0);
    let check = |edit: fn(&mut Value), code: &str| {
        let error = replay(&[edited(&records[0], edit)]).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
    };
    check(|body| body["v"] = json!(2), "JOURNAL_EVENT_UNKNOWN");
    check(|body| body["event"]["type"] = json!("somethingElse"), "JOURNAL_EVENT_UNKNOWN");
    check(|body| body["extra"] = json!(1), "JOURNAL_EVENT_UNKNOWN");
    check(|body| body["event"] = json!({"type": "deadlinePassed"}), "JOURNAL_REPLAY_DIVERGED");
}

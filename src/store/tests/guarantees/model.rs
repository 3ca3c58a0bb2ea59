use std::collections::BTreeMap;

use orchestrator_store::{Change, Head, Journal, Projection, Reader, StoreError};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::Project;

#[derive(Clone, Debug)]
enum Step {
    /// Appends through one of two journals, behind the head less `stale_by`.
    Append { writer: usize, stale_by: u64, bodies: Vec<Vec<u8>>, changes: Vec<Change> },
    /// Closes one of the journals and opens it again.
    Reopen { writer: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let body = prop_oneof![
        9 => "[a-zé\n]{0,40}".prop_map(|text| serde_json::to_vec(&text).unwrap()),
        1 => (0..20_000_usize).prop_map(|size| serde_json::to_vec(&"x".repeat(size)).unwrap()),
    ];
    let name = "[ab]";
    let change = prop_oneof![
        3 => (name, name, "[a-z]{0,8}").prop_map(|(kind, id, body)| Change::Put { kind, id, body }),
        1 => (name, name).prop_map(|(kind, id)| Change::Delete { kind, id }),
    ];
    prop_oneof![
        8 => (0..2_usize, prop_oneof![3 => Just(0_u64), 1 => 1..3_u64], vec(body, 0..4), vec(change, 0..4))
            .prop_map(|(writer, stale_by, bodies, changes)| Step::Append { writer, stale_by, bodies, changes }),
        1 => (0..2_usize).prop_map(|writer| Step::Reopen { writer }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn behaves_as_a_list_and_a_map(steps in vec(step(), 1..24)) {
        // Breaks when any sequence of appends, conflicts and restarts gives other records or projections.
        let project = Project::new();
        let mut journals = [project.open().0, project.open().0];
        let reader = Reader::open(&project.state_dir).unwrap();
        let mut bodies_model: Vec<Vec<u8>> = Vec::new();
        let mut projection_model: BTreeMap<(String, String), (u64, String)> = BTreeMap::new();

        for step in steps {
            match step {
                Step::Append { writer, stale_by, bodies, changes } => {
                    let head = bodies_model.len() as u64;
                    let expected = head.saturating_sub(stale_by);
                    let outcome = journals[writer].append(expected, &bodies, &changes);
                    if expected == head {
                        bodies_model.extend(bodies);
                        let head = bodies_model.len() as u64;
                        for change in changes {
                            match change {
                                Change::Put { kind, id, body } => projection_model.insert((kind, id), (head, body)),
                                Change::Delete { kind, id } => projection_model.remove(&(kind, id)),
                            };
                        }
                        prop_assert_eq!(outcome.unwrap().sequence, head);
                    } else {
                        let is_conflict =
                            matches!(outcome, Err(StoreError::Conflict { found, .. }) if found == head);
                        prop_assert!(is_conflict, "{:?} instead of a conflict", outcome);
                    }
                }
                Step::Reopen { writer } => {
                    let (journal, records) = Journal::open(&project.state_dir).unwrap();
                    journals[writer] = journal;
                    let bodies: Vec<_> = records.into_iter().map(|record| record.body).collect();
                    prop_assert_eq!(&bodies, &bodies_model);
                }
            }
            for kind in ["a", "b"] {
                let expected: Vec<_> = projection_model
                    .iter()
                    .filter(|((found, _), _)| found == kind)
                    .map(|((_, id), (sequence, body))| {
                        Projection { id: id.clone(), sequence: *sequence, body: body.clone() }
                    })
                    .collect();
                prop_assert_eq!(reader.projection(kind).unwrap(), expected);
            }
        }

        let records: Vec<_> = reader.records(Head::GENESIS).map(Result::unwrap).collect();
        prop_assert_eq!(records.iter().map(|record| &record.body).collect::<Vec<_>>(), bodies_model.iter().collect::<Vec<_>>());
        if let Some(middle) = records.get(records.len() / 2) {
            let rest: Vec<_> = reader.records(middle.head()).map(Result::unwrap).collect();
            prop_assert_eq!(&rest[..], &records[records.len() / 2 + 1..]);
        }
        prop_assert_eq!(reader.verify().unwrap().sequence, records.len() as u64);
    }
}

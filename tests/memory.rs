//! Memory in use, as the engine's thread reads it: the addon's library has no tests of its own.

#[path = "../src/bindings/memory.rs"]
mod memory;

use memory::{Memory, tighter};

const GIB: u64 = 1 << 30;

/// Breaks when a container runs out of memory while the machine around it has plenty, and work is admitted all the same.
#[test]
fn the_tighter_of_machine_and_container_counts() {
    let cases = [
        // A machine that has plenty, with a container that is nearly full; and the other way round.
        ((16 * GIB, 64 * GIB), Some((9 * GIB, 10 * GIB)), Some(90)),
        ((60 * GIB, 64 * GIB), Some((GIB, 10 * GIB)), Some(93)),
        // No container; one without a limit; a machine that tells nothing.
        ((16 * GIB, 64 * GIB), None, Some(25)),
        ((16 * GIB, 64 * GIB), Some((8 * GIB, 64 * GIB)), Some(25)),
        ((0, 0), Some((5 * GIB, 10 * GIB)), Some(50)),
        ((0, 0), Some((GIB, 0)), None),
        ((0, 0), None, None),
    ];
    for (machine, container, percent) in cases {
        assert_eq!(tighter(machine, container), percent, "{machine:?} {container:?}");
    }
}

/// Breaks when the system's figures are not read at all.
#[test]
fn memory_is_in_use_wherever_this_runs() {
    let percent = Memory::new().percent();
    assert!(percent.is_some_and(|percent| (1..=100).contains(&percent)), "{percent:?}");
}

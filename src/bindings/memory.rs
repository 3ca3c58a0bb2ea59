//! How much memory is in use: of the machine, or of the container where that has less left.

use sysinfo::System;

/// A reader of the system's own figures; it keeps nothing between two readings.
pub(crate) struct Memory {
    system: System,
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self { system: System::new() }
    }

    /// Memory that cannot be had without taking it from somebody, in percent; `None` where the system does not tell.
    ///
    /// What the system could free at once, such as cached files, does not count as used.
    pub(crate) fn percent(&mut self) -> Option<u64> {
        self.system.refresh_memory();
        let total = self.system.total_memory();
        let used = total.saturating_sub(self.system.available_memory());
        // A container without a limit of its own has the machine's.
        let container = self.system.cgroup_limits().map(|limits| (limits.rss, limits.total_memory));
        tighter((used, total), container)
    }
}

/// How much is in use, in percent, where less is left; of each what is used and what there is. Memory of which there is
/// nothing is not known.
pub(crate) fn tighter(machine: (u64, u64), container: Option<(u64, u64)>) -> Option<u64> {
    let share = |(used, total): (u64, u64)| used.saturating_mul(100).checked_div(total);
    [Some(machine), container].into_iter().flatten().filter_map(share).max()
}

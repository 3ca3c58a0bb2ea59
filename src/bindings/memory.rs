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
        let of_system = share(total.saturating_sub(self.system.available_memory()), total);
        let container = self.system.cgroup_limits();
        // A container without a limit of its own has the machine's.
        let of_container = container.and_then(|limits| share(limits.rss, limits.total_memory));
        of_system.into_iter().chain(of_container).max()
    }
}

fn share(used: u64, total: u64) -> Option<u64> {
    used.saturating_mul(100).checked_div(total)
}

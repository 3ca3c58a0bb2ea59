//! Lanes: how many slots a role has at present, grown by success and cut by failures of the provider.

use serde::Serialize;

use crate::Millis;

/// The slots of one role.
///
/// Additive increase, multiplicative decrease: one slot more after `growthSuccesses` results in a row, half as many when
/// the provider fails. Failures of attempts that began before the last cut tell nothing new and cut nothing: without
/// this, eight sessions that one outage hits would leave a single slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Lane {
    size: u64,
    successes: u64,
    cut_at: Option<Millis>,
    /// The size it started with. Below it the lane borrows no slots: the provider cannot take more.
    start: u64,
}

impl Lane {
    pub(super) fn new(start: u64, ceiling: u64) -> Self {
        let start = start.clamp(1, ceiling.max(1));
        Self { size: start, successes: 0, cut_at: None, start }
    }

    /// Slots at present; at least 1.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn is_cut(&self) -> bool {
        self.size < self.start
    }

    /// A session of the role gave its result. Gives whether the lane grew.
    pub(super) fn succeeded(&mut self, successes_needed: u64, ceiling: u64) -> bool {
        self.successes += 1;
        if self.successes < successes_needed {
            return false;
        }
        self.successes = 0;
        let grows = self.size < ceiling;
        self.size += u64::from(grows);
        grows
    }

    /// The provider failed a session that had been admitted at `granted`. Gives whether the lane was cut.
    pub(super) fn failed(&mut self, now: Millis, granted: Millis) -> bool {
        self.successes = 0;
        if self.cut_at.is_some_and(|at| granted <= at) || self.size == 1 {
            return false;
        }
        self.size = (self.size / 2).max(1);
        self.cut_at = Some(now);
        true
    }

    /// Takes another start size over, and a ceiling. What was learnt stays where the start size is the same.
    pub(super) fn configure(&mut self, start: u64, ceiling: u64) {
        let fresh = Self::new(start, ceiling);
        if self.start == fresh.start {
            self.size = self.size.min(ceiling.max(1));
        } else {
            *self = fresh;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_results_in_a_row_make_one_slot_up_to_the_cap() {
        let mut lane = Lane::new(2, 4);
        let sizes: Vec<_> = (0..12).map(|_| (lane.succeeded(3, 4), lane.size()).1).collect();
        assert_eq!(sizes, [2, 2, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4]);
    }

    #[test]
    fn a_failure_begins_the_row_anew_and_cuts_no_lower_than_one() {
        let mut lane = Lane::new(8, 10);
        lane.succeeded(3, 10);
        lane.succeeded(3, 10);
        assert!(lane.failed(100, 50));
        assert!(!lane.succeeded(3, 10), "the row was broken");
        assert_eq!(lane.size(), 4);
        assert!(lane.is_cut());
        for now in [200, 300, 400] {
            lane.failed(now, now);
        }
        assert_eq!(lane.size(), 1);
    }

    #[test]
    fn one_outage_cuts_once() {
        let mut lane = Lane::new(8, 10);
        for now in 100..108 {
            lane.failed(now, 50);
        }
        assert_eq!(lane.size(), 4, "eight sessions of before the cut tell one thing");
        assert!(lane.failed(200, 150));
        assert_eq!(lane.size(), 2);
    }

    #[test]
    fn another_start_size_counts_at_once_and_a_ceiling_clips() {
        let mut lane = Lane::new(8, 10);
        lane.failed(1, 0);
        lane.configure(8, 10);
        assert_eq!(lane.size(), 4, "what was learnt stays");
        lane.configure(6, 10);
        assert_eq!(lane.size(), 6);
        lane.configure(6, 3);
        assert_eq!(lane.size(), 3);
        lane.configure(50, 50);
        assert_eq!(lane.size(), 50);
    }
}

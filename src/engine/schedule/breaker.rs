//! Circuit breakers: no session is sent to a model that has just failed several, except one at a time to see.

use serde::Serialize;

use crate::{Limits, Millis};

/// The circuit of one model of one provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Breaker {
    /// Sessions pass; this many in a row have failed.
    Closed { failures: u64 },
    /// None passes before `until`.
    Open { until: Millis },
    /// One at a time passes, as a probe; this many have been answered.
    HalfOpen { successes: u64 },
}

impl Default for Breaker {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

impl Breaker {
    /// Whether a session may be sent while `probes` are under way.
    pub(super) fn passes(self, probes: u64) -> bool {
        match self {
            Self::Closed { .. } => true,
            Self::Open { .. } => false,
            Self::HalfOpen { .. } => probes == 0,
        }
    }

    /// Whether what is sent now is a probe.
    pub(super) fn wants_probe(self) -> bool {
        matches!(self, Self::HalfOpen { .. })
    }

    pub(super) fn deadline(self) -> Option<Millis> {
        match self {
            Self::Open { until } => Some(until),
            Self::Closed { .. } | Self::HalfOpen { .. } => None,
        }
    }

    /// Lets probes pass when the time has come. Gives whether it has.
    pub(super) fn wake(&mut self, now: Millis) -> bool {
        let is_due = matches!(self, Self::Open { until } if *until <= now);
        if is_due {
            *self = Self::HalfOpen { successes: 0 };
        }
        is_due
    }

    /// The model failed a session. What was sent before the circuit opened tells nothing new. Gives whether it opened.
    pub(super) fn failed(&mut self, now: Millis, is_probe: bool, limits: &Limits) -> bool {
        let opens = match self {
            Self::Closed { failures } => {
                *failures += 1;
                *failures >= limits.circuit_failures
            }
            Self::Open { .. } => false,
            Self::HalfOpen { .. } => is_probe,
        };
        if opens {
            *self = Self::Open { until: now + limits.circuit_open_ms };
        }
        opens
    }

    /// The model answered a session. Gives whether the circuit closed.
    pub(super) fn answered(&mut self, is_probe: bool, limits: &Limits) -> bool {
        match self {
            Self::Closed { failures } => {
                *failures = 0;
                false
            }
            Self::HalfOpen { successes } if is_probe => {
                *successes += 1;
                let closes = *successes >= limits.circuit_successes;
                if closes {
                    *self = Self::default();
                }
                closes
            }
            Self::Open { .. } | Self::HalfOpen { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// What happens to a model: a time passes, or a session that was sent at a time fails or is answered.
    #[derive(Clone, Debug)]
    enum Op {
        Pass(Millis),
        Send,
        End { at: usize, well: bool },
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            2 => (0..20_u64).prop_map(Op::Pass),
            3 => Just(Op::Send),
            4 => (0..8_usize, prop::bool::weighted(0.4)).prop_map(|(at, well)| Op::End { at, well }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_happens_a_model_that_fails_is_spared_and_one_that_answers_is_used(ops in vec(op(), 1..80)) {
            // Breaks when sessions are sent to a model that has just failed, when two probe it at once, or when one that
            // answers is never used again. What was seen is judged by the list of what happened alone.
            let limits =
                Limits { circuit_failures: 3, circuit_open_ms: 10, circuit_successes: 2, ..Limits::default() };
            let (mut breaker, mut now) = (Breaker::default(), 0);
            let mut sent: Vec<bool> = Vec::new();
            // Ends of sessions that were no probe while it was closed, in a row; the time of the last opening; the
            // probes answered since.
            let (mut in_a_row, mut opened, mut answered): (u64, Option<Millis>, u64) = (0, None, 0);
            for op in ops {
                match op {
                    Op::Pass(ms) => now += ms,
                    Op::Send => {
                        breaker.wake(now);
                        let probes = sent.iter().filter(|is_probe| **is_probe).count() as u64;
                        let passes = breaker.passes(probes);
                        let expected = opened.is_none_or(|at| now >= at + 10 && probes == 0);
                        prop_assert_eq!(passes, expected, "at {}, opened {:?}, {} probes", now, opened, probes);
                        if passes {
                            prop_assert_eq!(breaker.wants_probe(), opened.is_some());
                            sent.push(breaker.wants_probe());
                        }
                    }
                    Op::End { at, well } => {
                        if sent.is_empty() {
                            continue;
                        }
                        let is_probe = sent.swap_remove(at % sent.len());
                        breaker.wake(now);
                        let (closes, opens) = if well {
                            (breaker.answered(is_probe, &limits), false)
                        } else {
                            (false, breaker.failed(now, is_probe, &limits))
                        };
                        match (opened, well) {
                            (None, true) => in_a_row = 0,
                            (None, false) => in_a_row += 1,
                            (Some(_), true) => answered += u64::from(is_probe),
                            (Some(_), false) => {}
                        }
                        prop_assert_eq!(opens, if opened.is_none() { in_a_row >= 3 } else { is_probe && !well });
                        prop_assert_eq!(closes, opened.is_some() && answered >= 2);
                        if opens {
                            (opened, answered, in_a_row) = (Some(now), 0, 0);
                        }
                        if closes {
                            (opened, answered, in_a_row) = (None, 0, 0);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn five_failures_open_thirty_seconds_and_two_answers_close() {
        let limits = Limits::default();
        let mut breaker = Breaker::default();
        for now in 0..4 {
            assert!(!breaker.failed(now, false, &limits) && breaker.passes(9));
        }
        assert!(breaker.failed(4, false, &limits));
        assert_eq!(breaker.deadline(), Some(30_004));
        assert!(!breaker.wake(30_003) && !breaker.passes(0));
        assert!(breaker.wake(30_004) && breaker.wants_probe());
        assert!(breaker.passes(0) && !breaker.passes(1), "one probe at a time");
        assert!(!breaker.answered(true, &limits));
        assert!(breaker.answered(true, &limits));
        assert_eq!(breaker, Breaker::default());
    }

    #[test]
    fn an_answer_breaks_the_row_and_a_failed_probe_opens_again() {
        let limits = Limits::default();
        let mut breaker = Breaker::default();
        for now in 0..8 {
            breaker.failed(now, false, &limits);
            if now == 3 {
                breaker.answered(false, &limits);
            }
        }
        assert_eq!(breaker, Breaker::Closed { failures: 4 });
        breaker.failed(8, false, &limits);
        breaker.wake(40_000);
        breaker.answered(true, &limits);
        assert!(breaker.failed(40_001, true, &limits));
        assert_eq!(breaker, Breaker::Open { until: 70_001 });
    }

    #[test]
    fn what_was_sent_before_it_opened_neither_closes_nor_opens_it() {
        let limits = Limits::default();
        let mut breaker = Breaker::HalfOpen { successes: 1 };
        assert!(!breaker.answered(false, &limits) && !breaker.failed(1, false, &limits));
        assert_eq!(breaker, Breaker::HalfOpen { successes: 1 });
        let mut breaker = Breaker::Open { until: 9 };
        assert!(!breaker.answered(false, &limits) && !breaker.failed(1, false, &limits));
        assert_eq!(breaker, Breaker::Open { until: 9 });
    }
}

//! Choices: everything that is not decided by the engine is drawn here, so that a run is a list of small numbers.
//!
//! 0 is always the plainest choice: no fault, the shortest delay, the first of a list. A failing run is minimised by
//! setting as many of its choices to 0 as it can lose while it still fails.

use fastrand::Rng;

/// A source of choices that remembers what it gave.
#[derive(Debug)]
pub(crate) struct Choices {
    source: Source,
    pub(crate) taken: Vec<u32>,
}

#[derive(Debug)]
enum Source {
    Seed(Rng),
    /// What stands beyond the end is 0.
    Script(Vec<u32>),
}

impl Choices {
    pub(crate) fn of_seed(seed: u64) -> Self {
        Self { source: Source::Seed(Rng::with_seed(seed)), taken: Vec::new() }
    }

    pub(crate) fn of_script(script: Vec<u32>) -> Self {
        Self { source: Source::Script(script), taken: Vec::new() }
    }

    /// One of the numbers below `count`.
    pub(crate) fn below(&mut self, count: u32) -> u32 {
        let index = self.taken.len();
        let choice = match &mut self.source {
            Source::Seed(rng) => rng.u32(..count),
            Source::Script(script) => script.get(index).copied().unwrap_or(0).min(count - 1),
        };
        self.taken.push(choice);
        choice
    }

    /// Yes in so many of 10,000 cases.
    pub(crate) fn chance(&mut self, per_10_000: u32) -> bool {
        let index = self.taken.len();
        let choice = match &mut self.source {
            Source::Seed(rng) => u32::from(rng.u32(..10_000) < per_10_000),
            Source::Script(script) => script.get(index).copied().unwrap_or(0).min(1),
        };
        self.taken.push(choice);
        choice == 1
    }

    pub(crate) fn delay(&mut self, below_ms: u32) -> u64 {
        u64::from(self.below(below_ms))
    }

    pub(crate) fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u32) as usize]
    }
}

/// Sets choices to 0, in ever smaller blocks, as long as `fails` holds and the budget of runs lasts.
pub(crate) fn minimise(script: Vec<u32>, mut runs: u32, fails: impl Fn(&[u32]) -> bool) -> Vec<u32> {
    let mut best = script;
    let mut size = best.len().max(1);
    loop {
        let mut progress = false;
        let mut at = 0;
        while at < best.len() && runs > 0 {
            let end = (at + size).min(best.len());
            if best[at..end].iter().any(|choice| *choice != 0) {
                let mut candidate = best.clone();
                candidate[at..end].fill(0);
                runs -= 1;
                if fails(&candidate) {
                    best = candidate;
                    progress = true;
                }
            }
            at = end;
        }
        if runs == 0 || (size == 1 && !progress) {
            break;
        }
        size = if size > 1 { size.div_ceil(2) } else { 1 };
    }
    while best.last() == Some(&0) {
        best.pop();
    }
    best
}

/// The choices that are not 0, as `index:choice,…`.
pub(crate) fn print(script: &[u32]) -> String {
    let list = script.iter().enumerate().filter(|(_, choice)| **choice != 0);
    list.map(|(index, choice)| format!("{index}:{choice}")).collect::<Vec<_>>().join(",")
}

/// Reads what [`print`] gave; `None` when it is something else.
pub(crate) fn parse(text: &str) -> Option<Vec<u32>> {
    let mut script = Vec::new();
    for entry in text.split(',').filter(|entry| !entry.is_empty()) {
        let (index, choice) = entry.split_once(':')?;
        let index: usize = index.parse().ok()?;
        if script.len() <= index {
            script.resize(index + 1, 0);
        }
        script[index] = choice.parse().ok()?;
    }
    Some(script)
}

#[test]
fn a_failing_run_is_reduced_to_what_it_needs() {
    // Breaks when the minimised run does not fail any more, or keeps what it could lose.
    let mut choices = Choices::of_seed(1);
    let script: Vec<_> = (0..500).map(|_| 1 + choices.below(9)).collect();
    let least = minimise(script.clone(), 5_000, |run| {
        let at = |index: usize| run.get(index).is_some_and(|choice| *choice != 0);
        at(17) && at(40) && (at(41) || !at(300))
    });
    assert_eq!(least.iter().filter(|choice| **choice != 0).count(), 2, "{}", print(&least));
    assert_eq!((least[17], least[40]), (script[17], script[40]));
    assert_eq!(parse(&print(&least)), Some(least));
}

//! Notices: what people and the commander are told, each at most once as far as the host can tell.
//!
//! A notice is kept until its delivery is known. One that was under way when a process ended is sent again, and whoever
//! delivers it looks first whether the host has it. What a stopped mission had to say is dropped.

use serde::Serialize;

use crate::{
    Effect, EffectId, Engine, Handled, Ignored, Level, Mission, MissionId, Outcome, SessionId, Stage, report,
};

/// Something that was said, and whose delivery is not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Notice {
    mission: MissionId,
    session: SessionId,
    what: What,
    text: String,
    /// Deliveries that failed.
    failures: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub(crate) enum What {
    Toast { level: Level },
    Tell,
    Report { outcome: Outcome },
}

impl Engine {
    /// Shows a short message to whoever follows the mission.
    pub(crate) fn toast(&mut self, id: MissionId, level: Level, text: String) {
        self.notify(id, What::Toast { level }, text);
    }

    /// Puts a message before the mission's commander.
    pub(crate) fn tell(&mut self, id: MissionId, text: String) {
        self.notify(id, What::Tell, text);
    }

    /// Tells those who follow a mission that it has come to rest.
    pub(crate) fn report_mission(&mut self, id: MissionId, outcome: Outcome, level: Level) {
        // What it said before about coming to rest is no longer so.
        self.forget_reports(id);
        self.toast(id, level, report::headline(&self.missions[&id]));
        let mission = &self.missions[&id];
        let text = match outcome {
            Outcome::Planned => report::proposal(mission, &self.experience),
            Outcome::Sealed | Outcome::Stopped | Outcome::Failed | Outcome::Paused => report::report(mission),
        };
        self.notify(id, What::Report { outcome }, text);
    }

    fn notify(&mut self, mission: MissionId, what: What, text: String) {
        let Mission { stage, follower, .. } = &self.missions[&mission];
        if matches!(stage, Stage::Stopping { .. }) {
            // Whoever has asked for the stop waits for its report, and for nothing else.
            return;
        }
        let session = follower.clone();
        let notice = Notice { mission, session, what, text, failures: 0 };
        if self.notices.values().any(|known| *known == notice) {
            return;
        }
        let effect = self.effect_id();
        self.send(effect, &notice, false);
        self.dirty.insert(mission);
        self.notices.insert(effect, notice);
    }

    fn send(&mut self, effect: EffectId, notice: &Notice, again: bool) {
        let Notice { mission, session, what, text, .. } = notice.clone();
        self.emit(match what {
            What::Toast { level } => Effect::ShowToast { effect, session, level, text },
            What::Tell => Effect::TellCommander { effect, session, text, again },
            What::Report { outcome } => {
                Effect::ReportMission { effect, mission, session, outcome, report: text, again }
            }
        });
    }

    pub(crate) fn notified(&mut self, effect: EffectId) -> Handled {
        match self.notices.remove(&effect) {
            Some(notice) => {
                self.dirty.insert(notice.mission);
                Handled::Changed
            }
            None => Handled::Ignored(Ignored::StaleEffect),
        }
    }

    /// A delivery failed: what is more than a passing message is tried again, a few times.
    pub(crate) fn notice_failed(&mut self, effect: EffectId) {
        let Some(mut notice) = self.notices.remove(&effect) else { return };
        self.dirty.insert(notice.mission);
        notice.failures += 1;
        if matches!(notice.what, What::Toast { .. }) || notice.failures > self.limits.recoveries {
            return;
        }
        self.send(effect, &notice, true);
        self.notices.insert(effect, notice);
    }

    /// Sends again, in a new process, what may not have been delivered.
    pub(crate) fn notify_again(&mut self) {
        let missions = &self.missions;
        self.notices.retain(|_, notice| is_wanted(missions.get(&notice.mission)));
        for (effect, notice) in self.notices.clone() {
            self.send(effect, &notice, true);
        }
    }

    /// How many notices of a mission a new process would send again.
    pub(crate) fn untold(&self, id: MissionId) -> usize {
        let of_mission = self.notices.values().filter(|notice| notice.mission == id);
        of_mission.filter(|notice| is_wanted(self.missions.get(&notice.mission))).count()
    }

    /// Drops what a mission still had to say.
    pub(crate) fn forget_notices(&mut self, id: MissionId) {
        self.notices.retain(|_, notice| notice.mission != id);
    }

    /// Drops a report that the mission is no longer at.
    pub(crate) fn forget_reports(&mut self, id: MissionId) {
        self.notices.retain(|_, notice| notice.mission != id || !matches!(notice.what, What::Report { .. }));
    }
}

/// Whether what a mission had to say still matters to anybody.
fn is_wanted(mission: Option<&Mission>) -> bool {
    mission.is_some_and(|mission| mission.stage != Stage::Stopped)
}

#[cfg(test)]
mod tests {
    use crate::{Engine, Event, Handled, Limits, MissionId, MissionKind};

    use super::*;

    /// An engine with a mission in its first stage.
    fn planning() -> Engine {
        let mut engine = Engine::default();
        feed(&mut engine, started());
        let (session, kind) = (SessionId::from("root"), MissionKind::Task);
        let asked = Event::MissionRequested { request: 1, session, objective: "Build it".into(), kind };
        feed(&mut engine, asked);
        engine.take_dirty();
        engine
    }

    fn started() -> Event {
        Event::EngineStarted {
            limits: Limits::default(),
            agents: Default::default(),
            approval: Default::default(),
            scheduling: Default::default(),
        }
    }

    /// Feeds an event that is taken, a deadline when it is due, and gives the notices that follow from it.
    fn feed(engine: &mut Engine, event: Event) -> Vec<Effect> {
        let due = engine.next_deadline().filter(|_| event == Event::DeadlinePassed {});
        assert_eq!(engine.handle(due.unwrap_or(engine.now), event), Handled::Changed);
        let is_notice = |effect: &Effect| {
            matches!(
                effect,
                Effect::ShowToast { .. } | Effect::TellCommander { .. } | Effect::ReportMission { .. }
            )
        };
        std::iter::from_fn(|| engine.poll_effect()).filter(is_notice).collect()
    }

    fn edited(text: &str) -> Event {
        Event::TodoEdited { text: text.into(), cut: false }
    }

    /// What is written down of the mission for the next process, if it has changed: how much of it is untold.
    fn written(engine: &mut Engine) -> Option<u64> {
        engine.take_dirty().pop().and_then(|(_, summary)| summary["untold"].as_u64())
    }

    #[test]
    fn what_is_said_twice_before_it_is_heard_is_told_once() {
        // Without it an editor that saves every second fills the commander's session with the same words.
        let mut engine = planning();
        let first = feed(&mut engine, edited("mine"));
        assert!(matches!(first[..], [Effect::ShowToast { .. }, Effect::TellCommander { .. }]), "{first:?}");
        assert_eq!(feed(&mut engine, edited("mine")), []);
        let other = feed(&mut engine, edited("another"));
        assert!(
            matches!(other[..], [Effect::TellCommander { .. }]),
            "the toast would say the same: {other:?}"
        );
        for effect in first.iter().chain(&other).filter_map(Effect::id) {
            feed(&mut engine, Event::Notified { effect });
        }
        assert_eq!(feed(&mut engine, edited("mine")).len(), 2, "what was heard may be said again");
    }

    #[test]
    fn what_is_untold_is_written_down_until_it_is_heard_or_given_up() {
        // Without it the next process does not know that there is something left to say.
        let mut engine = planning();
        let notices = feed(&mut engine, edited("mine"));
        assert_eq!(written(&mut engine), Some(2));
        let [toast, told] = [0, 1].map(|index: usize| notices[index].id().expect("a notice has a number"));
        feed(&mut engine, Event::Notified { effect: toast });
        assert_eq!(written(&mut engine), Some(1));
        let error = crate::HostError::new("UnknownError", "no");
        for left in (0..=engine.limits().recoveries).rev() {
            let again = feed(&mut engine, Event::EffectFailed { effect: told, error: error.clone() });
            assert_eq!(again.len() as u64, left.min(1), "{left} deliveries are left");
            assert_eq!(written(&mut engine), Some(left.min(1)));
        }
    }

    #[test]
    fn a_stop_leaves_nothing_to_be_said_but_its_report() {
        // Without it a stopped mission goes on talking, also in the next process.
        let mut engine = planning();
        feed(&mut engine, edited("mine"));
        let session = SessionId::from("root");
        feed(&mut engine, Event::StopRequested { request: 2, session });
        assert_eq!(written(&mut engine), Some(0));
        assert_eq!(feed(&mut engine, edited("another")), []);
        let mut said = Vec::new();
        while engine.missions[&MissionId(1)].is_open() {
            said.extend(feed(&mut engine, Event::DeadlinePassed {}));
        }
        assert!(matches!(said[..], [Effect::ShowToast { .. }, Effect::ReportMission { .. }]), "{said:?}");
        assert_eq!(written(&mut engine), Some(0), "who asked for the stop has been told by its answer");
        assert_eq!(feed(&mut engine, started()), []);
    }
}

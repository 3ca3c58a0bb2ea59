//! Notices: what people and the commander are told, each at most once as far as the host can tell.
//!
//! A notice is kept until its delivery is known. One that was under way when a process ended is sent again, and whoever
//! delivers it looks first whether the host has it. What a stopped mission had to say is dropped.

use serde::Serialize;

use crate::{
    Effect, EffectId, Engine, Handled, Ignored, Level, MissionId, Outcome, SessionId, Stage, report,
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
        let session = self.missions[&mission].follower.clone();
        let notice = Notice { mission, session, what, text, failures: 0 };
        if self.notices.values().any(|known| *known == notice) {
            return;
        }
        let effect = self.effect_id();
        self.send(effect, &notice, false);
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
            Some(_) => Handled::Changed,
            None => Handled::Ignored(Ignored::StaleEffect),
        }
    }

    /// A delivery failed: what is more than a passing message is tried again, a few times.
    pub(crate) fn notice_failed(&mut self, effect: EffectId) {
        let Some(mut notice) = self.notices.remove(&effect) else { return };
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
        self.notices.retain(|_, notice| {
            missions.get(&notice.mission).is_some_and(|mission| mission.stage != Stage::Stopped)
        });
        for (effect, notice) in self.notices.clone() {
            self.send(effect, &notice, true);
        }
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

//! Faults: what the host, the model, the disk and the user do to a mission, each with how often it was done.

use std::collections::BTreeMap;

macro_rules! faults {
    ($($name:ident, $text:literal;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Fault { $($name),* }

        impl Fault {
            pub(crate) const ALL: &[Self] = &[$(Self::$name),*];

            pub(crate) fn text(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

faults! {
    // Outcomes on their way back.
    Lost, "an outcome or event is lost";
    Doubled, "it comes twice";
    Late, "it comes up to 90 s late";
    Reordered, "it is overtaken by others";
    FailedUndone, "a call fails and has not happened";
    FailedDone, "a call fails and has happened";
    LookUpFailed, "the host does not say how a session stands";
    HostSilent, "the host answers nothing for a while";
    // The model's turn.
    ModelError, "the turn ends in an error after the host's retries";
    ThrottledTurn, "the turn ends with 429 and retry-after";
    RateLimited, "the host waits for an hour, as retry-after says";
    AuthRefused, "the provider refuses the key";
    ContextOverflow, "the context is too large and the turn ends";
    OverflowLoop, "overflow, compaction, overflow, for ever";
    ThinkingOrder, "the provider refuses the order of thinking blocks";
    BadChunk, "a chunk of the answer is no JSON";
    EmptyAnswer, "the answer is empty";
    AnswerCut, "the answer is cut at its length";
    ContentFiltered, "the answer is filtered";
    NoFinishReason, "answers without a finish reason, for ever";
    CallsWithoutCalls, "answers that promise tool calls and have none, for ever";
    Hang, "the turn never ends and says nothing";
    Runaway, "requests for ever";
    MalformedCall, "calls of tools that do not exist or cannot be read";
    SameCall, "the same call fails again and again";
    ToolThrew, "a tool throws";
    BlockedOutside, "the worker is blocked by something outside";
    NoBlank, "the turn ends without a blank";
    BadBlank, "a blank that is refused, before the right one";
    BlankAsText, "the blank stands in the text";
    BlankTwice, "the blank is submitted twice";
    StrayWrite, "a file outside the lease is to be written";
    PermissionAsked, "a permission is asked for, and nobody answers";
    RefusalIgnored, "the host does not heed a refusal";
    UserMessage, "the user writes into the session, and one turn answers both";
    // The end of a turn.
    IdleTwice, "idle comes twice";
    IdleNever, "idle never comes";
    PromptUntold, "idle does not say which prompt was answered";
    AbortIgnored, "an abort does not end the turn";
    AbortUntold, "an aborted turn has no error";
    // Checks and commands.
    KillIgnored, "a command survives its kill";
    CheckNotRun, "the checks cannot be run";
    SameFinding, "checks find the same as before";
    NothingChanged, "the files are as they were before";
    // Sessions.
    SessionGone, "the session is deleted while it works";
    SessionGoneAfter, "the session is deleted after its turn";
    // The process and its disk.
    CrashBeforeAppend, "the process dies before its decisions are written";
    CrashAfterAppend, "it dies with its decisions written and no effect sent";
    CrashAmidEffects, "it dies with some effects sent";
    TornTail, "power is lost while the batch is written";
    Reload, "the plugin is loaded anew while the host goes on";
    AppendFails, "an append fails and nothing is written";
    AppendInDoubt, "an append fails and is written all the same";
    DiskFull, "the disk is full for a while";
    // The user.
    Stop, "the user stops the mission";
    Interrupt, "the user breaks the turn off";
    ResumedElsewhere, "the user goes on in another session";
    PlanRevised, "the user has the plan revised";
    TodoEdited, "the user edits the list of tasks";
    PlanMadeAgain, "the user has a plan that waits made again";
    BudgetRaised, "a budget is spent, and the user raises it";
    LimitsChanged, "limits are changed while work is done";
    ModelChanged, "the user goes on with another model";
    MemoryShort, "memory is short, and is free again";
    StrangerSpeaks, "something happens in a session of the user's own";
}

/// How often each fault was done.
pub(crate) type Counts = BTreeMap<Fault, u64>;

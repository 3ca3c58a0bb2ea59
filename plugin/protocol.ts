// Generated from the Rust types by `npm run build`. Do not edit.
/**
 * An input of the engine, in the past tense.
 *
 * Events of a session that belongs to no mission are ignored, so that a sender need not know which do.
 */
export type Event =
  | {
      agents: Agents
      approval?: Approval
      limits: Limits
      scheduling?: Scheduling
      type: "engineStarted"
    }
  | {
      limits: unknown
      request: number
      type: "limitsChanged"
    }
  | {
      model: ModelId
      session: SessionId
      type: "modelNoted"
    }
  | {
      percent: number
      type: "memoryMeasured"
    }
  | {
      type: "deadlinePassed"
    }
  | {
      kind?: MissionKind
      objective: string
      request: number
      session: SessionId
      type: "missionRequested"
    }
  | {
      request: number
      session: SessionId
      type: "stopRequested"
    }
  | {
      cause: Interruption
      session: SessionId
      type: "interrupted"
    }
  | {
      denied: string[][]
      plan: unknown
      request: number
      session: SessionId
      type: "planSubmitted"
    }
  | {
      request: number
      session: SessionId
      type: "workSubmitted"
      work: unknown
    }
  | {
      request: number
      review: unknown
      session: SessionId
      type: "reviewSubmitted"
    }
  | {
      denied: string[][]
      request: number
      revision: unknown
      session: SessionId
      type: "planRevised"
    }
  | {
      effect: EffectId
      session: SessionId
      type: "sessionOpened"
    }
  | {
      effect: EffectId
      type: "promptSent"
    }
  | {
      busy: boolean
      effect: EffectId
      type: "sessionAborted"
    }
  | {
      busy: boolean
      effect: EffectId
      facts?: TurnFacts | null
      prompted: boolean
      session?: SessionId | null
      type: "sessionLookedUp"
    }
  | {
      effect: EffectId
      error: HostError
      type: "effectFailed"
    }
  | {
      session: SessionId
      type: "stepStarted"
    }
  | {
      finish: string
      session: SessionId
      type: "stepFinished"
    }
  | {
      message: string
      session: SessionId
      type: "retryScheduled"
      waitMs: number
    }
  | {
      error: HostError
      session: SessionId
      type: "sessionErred"
    }
  | {
      session: SessionId
      tool: string
      type: "toolCalled"
    }
  | {
      failure?: ToolFailure | null
      session: SessionId
      tool: string
      type: "toolEnded"
    }
  | {
      permission: string
      session: SessionId
      type: "permissionAsked"
      what: string
    }
  | {
      allowed: boolean
      permission: string
      session: SessionId
      type: "permissionAnswered"
    }
  | {
      facts: TurnFacts
      prompt?: EffectId | null
      session: SessionId
      type: "turnEnded"
    }
  | {
      effect: EffectId
      snapshot: unknown
      type: "snapshotTaken"
    }
  | {
      effect: EffectId
      report: CheckReport
      type: "checksFinished"
    }
  | {
      alive: number[]
      effect: EffectId
      type: "commandsKilled"
    }
  | {
      effect: EffectId
      type: "notified"
    }
  | {
      costMicros: number
      message: string
      session: SessionId
      tokens: number
      type: "usageReported"
    }
  | {
      cut: boolean
      text: string
      type: "todoEdited"
    }
/**
 * Whether plans are carried out without asking.
 */
export type Approval = "auto" | "ask"
/**
 * A model of a provider, written `provider/model`.
 */
export type ModelId = string
/**
 * The host's id of a session.
 */
export type SessionId = string
/**
 * Which command started a mission.
 */
export type MissionKind = "task" | "plan" | "fix"
/**
 * Why a mission was interrupted.
 */
export type Interruption = "user"
/**
 * An effect's number, from 1 in each project; its outcome names it. Shown as `e1`.
 */
export type EffectId = number
/**
 * The judgement of a check or a reviewer. Unknown is never pass.
 */
export type Verdict = "pass" | "fail" | "unknown"
/**
 * A question to the engine's thread.
 */
export type Inquiry = CallInquiry | Question
/**
 * May this session make this call of a tool? The files it would write are found in its arguments, links resolved.
 */
export type CallInquiry = {
  args: unknown
  session: SessionId
  tool: string
  type: "mayCall"
}
/**
 * A question to the engine.
 */
export type Question =
  | {
      session: SessionId
      type: "mayCall"
    }
  | {
      paths: (string | null)[]
      session: SessionId
      type: "mayWrite"
    }
  | {
      session: SessionId
      type: "mayDelegate"
    }
  | {
      session: SessionId
      type: "reminder"
    }
  | {
      session: SessionId
      type: "follows"
    }
  | {
      type: "commandsOf"
      value: unknown
    }
  | {
      session: SessionId
      type: "status"
    }
/**
 * What the thread tells the outside, as one JSON text.
 */
export type Notice =
  | {
      environment: {
        [k: string]: string
      }
      missions: number
      open: number
      reaped: string[]
      records: number
      type: "ready"
    }
  | {
      effects: Effect[]
      type: "effects"
    }
  | {
      id: number
      type: "answer"
      value: unknown
    }
  | {
      again: boolean
      code: string
      message: string
      retryMs: number
      type: "fault"
    }
  | {
      code: string
      type: "recovered"
    }
/**
 * An output of the engine, in the imperative. One with an `effect` number has an outcome, which comes back as an
 * event that names the number; the others have none.
 */
export type Effect =
  | {
      agent: string
      attempt: AttemptId
      effect: EffectId
      mission: MissionId
      root: SessionId
      title: string
      type: "openSession"
    }
  | {
      agent: string
      effect: EffectId
      model?: ModelId | null
      root: SessionId
      session: SessionId
      text: string
      type: "prompt"
    }
  | {
      effect: EffectId
      session: SessionId
      type: "abortSession"
    }
  | {
      attempt: AttemptId
      effect: EffectId
      prompt?: EffectId | null
      root: SessionId
      session?: SessionId | null
      type: "lookUpSession"
    }
  | {
      effect: EffectId
      lease: string[]
      type: "takeSnapshot"
    }
  | {
      commands: string[][]
      effect: EffectId
      mission: MissionId
      subject: CheckSubject
      timeoutMs: number
      type: "runChecks"
    }
  | {
      effect: EffectId
      type: "cancelChecks"
    }
  | {
      permission: string
      session: SessionId
      type: "refusePermission"
    }
  | {
      effect: EffectId
      mission: MissionId
      sessions: SessionId[]
      type: "killCommands"
    }
  | {
      answer: Answer
      request: number
      type: "reply"
    }
  | {
      effect: EffectId
      level: Level
      session: SessionId
      text: string
      type: "showToast"
    }
  | {
      again: boolean
      effect: EffectId
      session: SessionId
      text: string
      type: "tellCommander"
    }
  | {
      done: number
      mission: MissionId
      session: SessionId
      stage: string
      total: number
      type: "annotate"
    }
  | {
      again: boolean
      effect: EffectId
      mission: MissionId
      outcome: Outcome
      report: string
      session: SessionId
      type: "reportMission"
    }
  | {
      text: string
      type: "renderTodo"
    }
/**
 * An attempt's number, from 1 in each project; shown as `a1`.
 */
export type AttemptId = number
/**
 * A mission's number, from 1 in each project; shown as `m1`.
 */
export type MissionId = number
/**
 * What checks look at.
 */
export type CheckSubject =
  | {
      before: unknown
      claimed: string[]
      kind: "task"
      lease: string[]
      task: TaskId
    }
  | {
      kind: "project"
    }
/**
 * A task's name within its mission, chosen by the planner.
 */
export type TaskId = string
/**
 * The answer to a request.
 */
export type Answer =
  | {
      kind: "accepted"
      mission?: MissionId | null
      text: string
    }
  | {
      code: string
      kind: "refused"
      text: string
    }
/**
 * How loud a toast is.
 */
export type Level = "info" | "success" | "warning" | "error"
/**
 * How a mission came to rest.
 */
export type Outcome = ("sealed" | "stopped" | "failed") | "paused" | "planned"

/**
 * The host's names of the agents that fill the roles.
 */
export interface Agents {
  planner: string
  reviewer: string
  worker: string
}
/**
 * The limits in force. Absent ones have their default.
 */
export interface Limits {
  /**
   * Waiting for which an attempt counts as one priority higher, again and again.
   */
  ageingMs?: number
  /**
   * Transport failures of a model in a row after which no session is sent to it.
   */
  circuitFailures?: number
  /**
   * Time after which one session is sent to such a model as a probe.
   */
  circuitOpenMs?: number
  /**
   * Probes that must be answered, one after another, before sessions pass again.
   */
  circuitSuccesses?: number
  /**
   * Time one acceptance command or project check may take.
   */
  commandMs?: number
  /**
   * Fix attempts of a task before the user is asked.
   */
  fixes?: number
  /**
   * Results in a row for which a lane gets one slot more, up to its cap.
   */
  growthSuccesses?: number
  /**
   * Rounds of execution and master review before a mission fails.
   */
  iterations?: number
  /**
   * Use of the system's or the container's memory above which low-priority work is refused.
   */
  memoryPercent?: number
  /**
   * Cost of a mission, as the host reports it, before the user is asked; 0 for no such budget.
   */
  missionCostCents?: number
  /**
   * Time a mission may be under way before the user is asked; 0 for no such budget.
   */
  missionMs?: number
  /**
   * Tokens that a mission may take before the user is asked; 0 for no such budget.
   */
  missionTokens?: number
  /**
   * Reminders to a session that ended its turn without filling in its blank.
   */
  nudges?: number
  /**
   * Time the user has to answer when the host asks whether a session may do something; then it is refused.
   */
  permissionMs?: number
  /**
   * Tasks of one mission, those from review findings included.
   */
  planTasks?: number
  /**
   * Planners that plan a mission at the same time; the first plan that is taken counts.
   */
  plannerRace?: number
  /**
   * Slots of the planner lane at first; it grows with success, and is cut when the provider fails.
   */
  plannerSlots?: number
  /**
   * Prompts to one session before a fix gets a fresh one.
   */
  promptsPerSession?: number
  /**
   * Fresh attempts after a session failed before the user is asked.
   */
  recoveries?: number
  /**
   * Longest wait before a model request is repeated because its provider asks for it. If the host would wait longer, its turn is broken off.
   */
  retryAfterMs?: number
  /**
   * Slots of the reviewer lane at first.
   */
  reviewerSlots?: number
  /**
   * The same error of calls in a row before a turn is broken off, and of a task before the user is asked.
   */
  sameErrors?: number
  /**
   * Time one attempt may take before its session is aborted.
   */
  sessionTtlMs?: number
  /**
   * Sessions of all roles and missions at the same time.
   */
  sessions?: number
  /**
   * Sessions of one role at the same time, however large its lane and whoever lends it slots.
   */
  sessionsPerAgent?: number
  /**
   * Sessions with one model at the same time.
   */
  sessionsPerModel?: number
  /**
   * Sessions with one provider at the same time.
   */
  sessionsPerProvider?: number
  /**
   * Time each handler of the hook `shutdown` gets when the plugin ends.
   */
  shutdownMs?: number
  /**
   * Silence of a provider, before its answer and within it, after which the host gives a model request up. Set where the user's configuration sets none.
   */
  silenceMs?: number
  /**
   * Model requests of one attempt before it is aborted as a runaway.
   */
  stepsPerAttempt?: number
  /**
   * Model requests of one session within 60 s before it is aborted as a runaway.
   */
  stepsPerMinute?: number
  /**
   * Time a stop waits for sessions to end before it lists those that would not.
   */
  stopMs?: number
  /**
   * Silence of a session after which the host is asked how it stands; doubles up to 8 times this.
   */
  sweepMs?: number
  /**
   * Cost of a task, as the host reports it, before the user is asked; 0 for no such budget.
   */
  taskCostCents?: number
  /**
   * Time a task may be in hand before the user is asked; 0 for no such budget.
   */
  taskMs?: number
  /**
   * Tokens that a task may take before the user is asked; 0 for no such budget.
   */
  taskTokens?: number
  /**
   * Tasks of all missions that are kept in memory; above it the oldest missions that have ended are in the journal only.
   */
  tasksInMemory?: number
  /**
   * Calls of tools of one attempt before it is aborted as a runaway.
   */
  toolCallsPerAttempt?: number
  /**
   * Model answers in a row without a finish reason before the session is aborted as a runaway.
   */
  unfinishedSteps?: number
  /**
   * Slots of the worker lane at first.
   */
  workerSlots?: number
}
/**
 * How sessions are scheduled, beside the limits.
 */
export interface Scheduling {
  caps?: Caps
  /**
   * The model of each role, such as `anthropic/claude-sonnet-4-5`; absent: that of the mission's root session.
   */
  models?: {
    planner?: ModelId
    reviewer?: ModelId
    worker?: ModelId
  }
  /**
   * Whether reviewers read ahead while nothing else wants their slots.
   */
  proactive?: boolean
}
/**
 * Sessions at the same time, by name. Absent names have `sessionsPerAgent`, `sessionsPerProvider`, `sessionsPerModel`.
 */
export interface Caps {
  /**
   * By role: planner, worker, reviewer.
   */
  agents?: {
    planner?: number
    reviewer?: number
    worker?: number
  }
  /**
   * By provider and model, as in `anthropic/claude-sonnet-4-5`.
   */
  models?: {
    [k: string]: number
  }
  /**
   * By provider, as in `anthropic`.
   */
  providers?: {
    [k: string]: number
  }
}
/**
 * How the last answer in a session ended.
 */
export interface TurnFacts {
  /**
   * The error of the last message.
   */
  error?: HostError | null
  /**
   * The finish reason of the last message; `null` when it was not finished.
   */
  finish?: string | null
  /**
   * The text of the last message, at most 64 KiB.
   */
  text: string
}
/**
 * An error as the host names it.
 */
export interface HostError {
  message: string
  /**
   * The host's class, such as `APIError`, or `timeout` when it did not answer.
   */
  name: string
  /**
   * How long the provider asks to be left alone, in ms.
   */
  retryAfterMs?: number | null
  /**
   * The HTTP status of the model's provider.
   */
  status?: number | null
}
/**
 * How a call of a tool failed.
 */
export interface ToolFailure {
  /**
   * What was to be run, or on which file, so that calls of one tool can be told apart.
   */
  command?: string | null
  /**
   * The exit code, where the tool ran a program.
   */
  exitCode?: number | null
  /**
   * What the tool said, at most 4 KiB of its end.
   */
  message: string
}
/**
 * What the checks of a submission or of the whole project found.
 */
export interface CheckReport {
  /**
   * Files that differ from the snapshot.
   */
  changed?: FileChange[]
  /**
   * What the verdict rests on: commands with exit code, duration and output digest; files with their hashes.
   */
  evidence: unknown[]
  findings: Finding[]
  verdict: Verdict
}
/**
 * A file that differs from what it was when the task began.
 */
export interface FileChange {
  path: string
  [k: string]: unknown
}
/**
 * Something a check found wrong.
 */
export interface Finding {
  /**
   * Stable code such as `COMMAND_FAILED`.
   */
  code: string
  /**
   * For instance the end of a command's output.
   */
  detail?: string | null
  message: string
  path?: string | null
}
/**
 * What an engine is opened with.
 */
export interface OpenOptions {
  agents?: Agents
  approval?: Approval
  /**
   * The project's folder, absolute.
   */
  directory: string
  limits?: Limits
  scheduling?: Scheduling
}

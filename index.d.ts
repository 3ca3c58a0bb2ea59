// Generated from the Rust types by `npm run build`. Do not edit.
/**
 * The native addon with types and promises.
 *
 * Work that takes longer than a moment runs on native threads. Its results come through one port per environment, as an
 * id and JSON, and settle the promise that waits under that id.
 */
/** What the native side, or this one, has against a call. The message ends in what to do. */
export declare class OrchestratorError extends Error {
    /** Stable, such as `SEARCH_BAD_PATTERN`; the list is in `docs/errors.md`. `ABORT_ERR` for an aborted call. */
    readonly code: string;
    /** With `SEARCH_PATH_OUTSIDE`: the absolute folder that would have to be granted. */
    readonly folder: string | undefined;
    constructor(code: string, message: string, options?: ErrorOptions & {
        folder?: string | undefined;
    });
}
/**
 * Rejects every pending call with `PORT_CLOSED` and frees what they hold. A later call opens anew. Call it when a plugin
 * is disposed of, or before a worker ends.
 */
export declare function closePort(): void;
/** Where a tool works, beside its options. */
export interface ToolContext {
    /** The project's folder. No path leaves it but for what is granted. Default: the process's working directory. */
    cwd?: string | undefined;
    /** Rejects the call with an `AbortError` and stops the tool. */
    signal?: AbortSignal | undefined;
    /** Absolute folders outside the project that may be reached too; see {@link OrchestratorError.folder}. */
    granted?: readonly string[] | undefined;
    /** What an editing tool may write: paths relative to the project, a folder's with `/` at its end. Default: all. */
    leased?: readonly string[] | undefined;
    /** Whether secrets are masked in answers that are text. Default: true. */
    maskSecrets?: boolean | undefined;
    /**
     * Lets searches use an index of the project, which is built in the background after three searches of the whole of a
     * project of 2,000 files or more; see {@link warm}. No change is missed. Default: false.
     */
    index?: boolean | undefined;
}
export type ToolName = keyof Tools;
/**
 * Runs a tool. An answer says whether it is complete, and how to get the rest.
 *
 * @throws OrchestratorError with a code that begins with `SEARCH_`, or `WORKER_QUEUE_FULL`
 */
export type Tool<Name extends ToolName> = (options: Tools[Name]["options"], context?: ToolContext) => Promise<Tools[Name]["answer"]>;
/** Searches files for text. Results are sorted by path and line. */
export declare const grep: Tool<"grep_search">;
/** Searches files for many patterns in one pass; gives the results of each. */
export declare const mgrep: Tool<"mgrep">;
/** Lists files whose path matches a pattern. */
export declare const glob: Tool<"glob_search">;
/** Counts files, bytes and lines by language, and lists the largest files. */
export declare const fileStats: Tool<"file_stats">;
/** Searches code for a shape, as ast-grep does. */
export declare const astSearch: Tool<"ast_search">;
/** Replaces code by its shape. Changes nothing unless told to `apply`. */
export declare const astReplace: Tool<"ast_replace">;
/** Finds and replaces text. Changes nothing unless told to `apply`. */
export declare const replace: Tool<"replace">;
/** Compares two files or texts. */
export declare const diff: Tool<"diff">;
/** Outlines what is defined where. */
export declare const symbols: Tool<"symbols">;
/** Runs a jq filter. */
export declare const jq: Tool<"jq">;
/** Says which files are not as they were committed. */
export declare const gitStatus: Tool<"git_status">;
/** Compares files with commits, or commits with each other. */
export declare const gitDiff: Tool<"git_diff">;
/** Lists commits. */
export declare const gitLog: Tool<"git_log">;
/**
 * Runs a tool with options from outside, such as a model's, and returns its answer as text for a model: a result a line,
 * then what was found and what was cut. The options are checked natively.
 *
 * @throws OrchestratorError with a code that begins with `SEARCH_`, or `WORKER_QUEUE_FULL`
 */
export declare function toolText(name: ToolName, options: unknown, context?: ToolContext): Promise<string>;
/**
 * Builds the index of a project now, for searches that are called with `index: true`.
 *
 * @returns whether it can be used; not where files may change unseen (network file systems), nor for a project that is
 * too large, nor while another call builds it
 */
export declare function warm(context?: Pick<ToolContext, "cwd" | "signal">): Promise<boolean>;
/** What a tool is for, and the JSON schema of its options, by the tool's name. */
export declare function toolSchemas(): Record<ToolName, {
    description: string;
    options: object;
}>;
/** Events that wait for an answer; the engine's side numbers them. */
type WithRequest = Extract<Event, {
    request: number;
}>;
export type Request = WithRequest extends infer E ? (E extends unknown ? Omit<E, "request"> : never) : never;
/** Where the engine's thread reports to. Called from the event loop, in the order of what happened. */
export interface EngineObserver {
    effect(effect: Exclude<Effect, {
        type: "reply";
    }>): void;
    fault(fault: Extract<Notice, {
        type: "fault";
    }>): void;
    /** The engine goes on after a fault. */
    recovered?(notice: Extract<Notice, {
        type: "recovered";
    }>): void;
    /** The journal has been replayed; what an earlier process had left running has been killed. */
    ready?(ready: Extract<Notice, {
        type: "ready";
    }>): void;
}
/** A running engine. Closing it settles what waits. */
export interface Engine {
    post(event: Event): void;
    /** Posts an event and resolves with the engine's answer once it is durable. */
    request(event: Request): Promise<Answer>;
    /** @returns what the question's variant says; see `Question` in the protocol */
    ask(question: Inquiry): Promise<unknown>;
    /**
     * The variables that the shell of a session gets, so that what it leaves running can be found. Without those of the
     * engine until it has replayed its journal, before which no session of its missions is prompted.
     */
    environment(session: string): Record<string, string>;
    /** Gives the project back. What was acknowledged is durable. */
    close(): void;
    [Symbol.dispose](): void;
}
/**
 * Takes the project for this process and starts its engine.
 *
 * @throws OrchestratorError `OWNER_LOCK_HELD` when another process has the project, or a state folder error
 */
export declare function openEngine(options: OpenOptions, observer: EngineObserver): Engine;
/** How a mission stands, as the process that runs it last wrote it down. */
export interface MissionSummary {
    id: number;
    objective: string;
    root: string;
    follower: string;
    stage: string;
    headline: string;
    iterations: number;
    sessions: number;
    live: number;
    prompts: number;
    steps: number;
    failures: number;
    /** Milliseconds since the epoch. */
    started: number;
    ended: number | null;
    /** Toasts, reports and the like that are not known to have been delivered, and that the next process sends again. */
    untold: number;
    tasks: {
        id: string;
        title: string;
        state: string;
        /** From 1; a task stands in the first wave after all that it depends on. */
        wave: number;
        fixes: number;
        tries: number;
        started: number | null;
        ended: number | null;
    }[];
}
/**
 * Reads how the missions of a project stand, oldest first, also while another process runs them. Empty when there are
 * none.
 *
 * @throws OrchestratorError with a code that begins with `JOURNAL_`
 */
export declare function readMissions(directory: string): MissionSummary[];
/**
 * Walks the journal of a project and gives its last record.
 *
 * @throws OrchestratorError with a code that begins with `JOURNAL_` and the sequence number of the record at fault
 */
export declare function verifyJournal(directory: string): {
    sequence: number;
    hash: string;
};
/**
 * Writes the records of a project's journal to a file that is not there yet, a JSON object a line, and gives the last.
 *
 * @throws OrchestratorError with a code that begins with `JOURNAL_`
 */
export declare function exportJournal(directory: string, file: string): {
    sequence: number;
    hash: string;
};
/** What a replay of a journal gave. */
export interface ReplayReport {
    /** Records that were taken again, and effects that were compared. */
    records: number;
    effects: number;
    /** The missions of the journal, such as `m1`, and how the one asked for stands after the replay. */
    missions: string[];
    mission: MissionSummary | null;
    /** BLAKE3 of the whole state after the replay; the same on every machine. */
    state: string;
    /** The first record on which another decision is made now: what was decided then, and what is decided now. */
    divergence: {
        sequence: number;
        event: Event;
        decided: unknown;
        replayed: unknown;
    } | null;
}
/**
 * Takes every event of a project's journal again and compares what is decided now with what was decided then, byte for
 * byte. Changes nothing. Ends at the first record that differs.
 *
 * @throws OrchestratorError with a code that begins with `JOURNAL_` and the sequence number of the record at fault, or
 * `INVALID_ARGUMENT` when there is no such mission
 */
export declare function replayJournal(directory: string, mission?: string): ReplayReport;
/** Whether a mission has ever been started in the project. */
export declare function hasJournal(directory: string): boolean;
/** What is wrong with the plugin's options from a configuration; empty when they can be used. */
export declare function checkOptions(options: object): {
    path: string;
    message: string;
}[];
/** A limit of the engine, as documented. */
export interface LimitInfo {
    name: string;
    default: number;
    min: number;
    max: number;
    unit: string;
    doc: string;
}
/** Every limit of the engine, in the order of the documentation. */
export declare function limitsTable(): LimitInfo[];
/**
 * Reads a review that belongs to no mission. Accepted, its text is for people; refused, it names every mistake.
 */
export declare function readReview(review: unknown): Answer;
/** The JSON schema of a typed blank: what a role's tool takes. */
export declare function blankSchema(blank: "plan" | "work" | "review" | "revision"): object;
/** Where handlers can be added, with what they are given: the host's hooks of the same names, and our own end. */
export interface HookPoints {
    "chat.message": [
        input: {
            sessionID: string;
            model?: {
                providerID: string;
                modelID: string;
            };
        },
        output: {
            message: {
                id: string;
                agent: string;
                model?: {
                    providerID: string;
                    modelID: string;
                };
            };
            parts: object[];
        }
    ];
    /** Before a model request. */
    "chat.params": [input: {
        sessionID: string;
        agent: string;
        message: {
            id: string;
        };
    }, output: {
        options: object;
    }];
    /** Before a call of a tool. A handler that throws refuses the call with its message. */
    "tool.execute.before": [input: {
        tool: string;
        sessionID: string;
        callID: string;
    }, output: {
        args: object | null;
    }];
    "tool.execute.after": [
        input: {
            tool: string;
            sessionID: string;
            callID: string;
            args: unknown;
        },
        output: {
            title: string;
            output: string;
            metadata: unknown;
        }
    ];
    /** Before a shell starts, with what is added to its environment. */
    "shell.env": [input: {
        cwd: string;
        sessionID?: string;
        callID?: string;
    }, output: {
        env: Record<string, string>;
    }];
    /** Before a conversation is shortened, with what its summary is made from beside it. */
    "experimental.session.compacting": [input: {
        sessionID: string;
    }, output: {
        context: string[];
        prompt?: string;
    }];
    /** After that, before the host lets the session go on. */
    "experimental.compaction.autocontinue": [input: {
        sessionID: string;
        overflow: boolean;
    }, output: {
        enabled: boolean;
    }];
    "experimental.text.complete": [input: {
        sessionID: string;
        messageID: string;
        partID: string;
    }, output: {
        text: string;
    }];
    event: [input: {
        event: {
            type: string;
            properties: object;
        };
    }];
    /** The plugin ends. Every handler gets `shutdownMs`, and all run, whatever becomes of the others. */
    shutdown: [];
}
export type HookPoint = keyof HookPoints;
/** A handler of one hook. */
export interface HookHandler<P extends HookPoint = HookPoint> {
    point: P;
    /** Unique at its point, such as `my-plugin.audit`. Ours begin with `orchestrator.`; docs/ARCHITECTURE.md lists them. */
    name: string;
    /** Default: `normal`. */
    phase?: "early" | "normal" | "late";
    /** Higher runs earlier within a phase. A whole number, default 0. */
    priority?: number;
    /** Names of handlers at the same point that have run before this one. */
    after?: string[];
    run(...args: HookPoints[P]): Promise<void> | void;
}
/**
 * Adds a handler to the hooks of every orchestrator plugin of this environment, and gives the function that removes it.
 * A handler that was added before the plugin starts is checked at the start.
 *
 * @throws OrchestratorError `HOOK_INVALID`, `HOOK_NAME_TAKEN`, `HOOK_DEPENDENCY_UNKNOWN`, `HOOK_DEPENDENCY_LATER` or
 *   `HOOK_CYCLE`; nothing has been added then
 */
export declare function addHook<P extends HookPoint>(handler: HookHandler<P>): () => void;
/**
 * Puts a plugin's own handlers and those added from outside in order, anew whenever one comes or goes. For the plugin
 * itself.
 *
 * @throws OrchestratorError as `addHook`
 */
export declare function orderHooks(own: HookHandler[]): {
    at<P extends HookPoint>(point: P): HookHandler<P>[];
    close(): void;
};

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

/**
 * A limit that kept something out of an answer.
 */
export type Limit = "maxResults" | "answerBytes" | "timeLimit" | "treeDepth" | "fileBytes" | "syntaxDepth" | "lineChars"
/**
 * What a meta-variable stands for.
 */
export type Bound = string | string[]

/**
 * The answer of an editing tool.
 */
export interface EditAnswer {
  /**
   * Whether the changes were written: all of them, or, without `apply`, none.
   */
  applied: boolean
  /**
   * What was, or would be, changed, as a unified diff.
   */
  diff: string
  /**
   * The files, sorted by path; all of them, however much of `diff` was cut.
   */
  files: EditedFile[]
  /**
   * How many files were searched.
   */
  filesSearched: number
  /**
   * The limits that were met; empty when `diff` is whole and every file was looked at.
   */
  limits: Limit[]
  /**
   * Files that were left out, by reason.
   */
  skipped: Skipped
}
/**
 * A file that was, or would be, changed.
 */
export interface EditedFile {
  /**
   * How many lines were added.
   */
  added: number
  /**
   * Path relative to the project, with `/`.
   */
  path: string
  /**
   * How many lines were removed.
   */
  removed: number
  /**
   * How many replacements there are in it.
   */
  replacements: number
}
/**
 * Files and folders that were not searched, by reason. What the ignore rules, `globs` and `types` left out is not
 * among them.
 */
export interface Skipped {
  /**
   * Files that hold binary data.
   */
  binary: number
  /**
   * Links, devices, FIFOs and sockets.
   */
  special: number
  /**
   * Files whose syntax is nested too deeply.
   */
  tooDeep: number
  /**
   * Files beyond the size limit.
   */
  tooLarge: number
  /**
   * Files and folders that could not be read.
   */
  unreadable: number
}
/**
 * The answer of a structural search, sorted by path, then by place.
 */
export interface AstSearchAnswer {
  /**
   * How many files were searched or listed. Varies from call to call when `truncated`.
   */
  filesSearched: number
  /**
   * How to get what is missing, in one sentence; `null` when nothing is.
   */
  hint: string | null
  /**
   * The limits that were met; empty when nothing was cut.
   */
  limits: Limit[]
  /**
   * What was found. Matches may be nested. A few more than `maxResults` when several begin at one place.
   */
  matches: AstMatch[]
  /**
   * Pass this as `after` to get the results that follow; `null` when there are none or when they cannot be continued.
   */
  next: Cursor | null
  /**
   * What was left out, by reason.
   */
  skipped: Skipped
  /**
   * Whether results may be missing. If not, these are all there are.
   */
  truncated: boolean
}
/**
 * A piece of code with the shape of the pattern.
 */
export interface AstMatch {
  /**
   * Column of the first character, from 1, in UTF-16 units.
   */
  column: number
  /**
   * Column after the last character, from 1, in UTF-16 units.
   */
  endColumn: number
  /**
   * Last line, from 1.
   */
  endLine: number
  /**
   * First line, from 1.
   */
  line: number
  /**
   * Path relative to the project root, with `/`.
   */
  path: string
  /**
   * The code, cut to 2,000 characters.
   */
  text: string
  /**
   * The code that each meta-variable stands for, by its name without `$`, each cut to 2,000 characters.
   */
  variables: {
    [k: string]: Bound
  }
}
/**
 * A place in the results: everything up to and including it was given.
 */
export interface Cursor {
  /**
   * Column as in the results; 0 when results are whole files.
   */
  column: number
  /**
   * Line as in the results; 0 when results are whole files, or when they were last changed, in microseconds since the
   * epoch, if they are sorted by that.
   */
  line: number
  /**
   * Path as in the results.
   */
  path: string
}
/**
 * What differs, line by line.
 */
export interface DiffAnswer {
  /**
   * How many lines were added.
   */
  added: number
  /**
   * Whether one side holds binary data. It is not compared by lines then.
   */
  binary: boolean
  /**
   * The unified diff; empty when nothing differs, and when one side is binary.
   */
  diff: string
  /**
   * Whether the two are the same, byte by byte.
   */
  equal: boolean
  /**
   * How many places differ, as many as `diff` has hunks when it is whole.
   */
  hunks: number
  /**
   * The limits that were met; empty when nothing was cut.
   */
  limits: Limit[]
  /**
   * How many lines were removed.
   */
  removed: number
  /**
   * Whether hunks are missing in `diff`. The numbers count all of them.
   */
  truncated: boolean
}
/**
 * The statistics of a tree.
 */
export interface FileStatsAnswer {
  /**
   * How large they are together.
   */
  bytes: number
  /**
   * How many files.
   */
  files: number
  /**
   * How many files were searched or listed. Varies from call to call when `truncated`.
   */
  filesSearched: number
  /**
   * How to get what is missing, in one sentence; `null` when nothing is.
   */
  hint: string | null
  /**
   * By language, the one with most bytes first.
   */
  languages: LanguageStats[]
  /**
   * The largest files, the largest first.
   */
  largest: LargeFile[]
  /**
   * The limits that were met; empty when nothing was cut.
   */
  limits: Limit[]
  /**
   * How many lines they have together.
   */
  lines: number
  /**
   * Pass this as `after` to get the results that follow; `null` when there are none or when they cannot be continued.
   */
  next: Cursor | null
  /**
   * What was left out, by reason.
   */
  skipped: Skipped
  /**
   * Whether results may be missing. If not, these are all there are.
   */
  truncated: boolean
}
/**
 * The files of one language.
 */
export interface LanguageStats {
  /**
   * How large they are together.
   */
  bytes: number
  /**
   * How many files.
   */
  files: number
  /**
   * Its name, such as `Rust`; the ending, such as `.xyz`, where no language is known; `binary` for binary data; `other`
   * for the rest.
   */
  language: string
  /**
   * How many lines they have together; 0 for binary data.
   */
  lines: number
}
/**
 * One of the largest files.
 */
export interface LargeFile {
  /**
   * How large it is.
   */
  bytes: number
  /**
   * How many lines it has; 0 for binary data.
   */
  lines: number
  /**
   * Path relative to the project root, with `/`.
   */
  path: string
}
/**
 * The answer of `git_diff`.
 */
export interface GitDiffAnswer {
  /**
   * The unified diff, or with `stat` the numbers of lines; empty when nothing differs.
   */
  diff: string
  /**
   * The limits that were met; empty when nothing was cut.
   */
  limits: Limit[]
}
/**
 * The answer of `git_log`.
 */
export interface GitLogAnswer {
  /**
   * The commits, newest first.
   */
  commits: Commit[]
  /**
   * The limits that were met; empty when nothing was cut.
   */
  limits: Limit[]
  /**
   * Pass this as `skip` for those that follow; `null` when these are the last.
   */
  next: number | null
}
/**
 * A commit.
 */
export interface Commit {
  /**
   * Who wrote it.
   */
  author: string
  /**
   * The rest of its message.
   */
  body: string
  /**
   * When, as in `2026-01-31T12:00:00+01:00`.
   */
  date: string
  /**
   * The whole hash.
   */
  hash: string
  /**
   * The first line of its message.
   */
  subject: string
}
/**
 * The answer of `git_status`.
 */
export interface GitStatusAnswer {
  /**
   * How many commits it is ahead of `upstream`.
   */
  ahead: number
  /**
   * How many commits it is behind `upstream`.
   */
  behind: number
  /**
   * The branch; `null` when none is checked out.
   */
  branch: string | null
  /**
   * The commit; `null` before the first.
   */
  commit: string | null
  /**
   * The files, sorted by path.
   */
  entries: StatusEntry[]
  /**
   * The limits that were met; empty when nothing was cut.
   */
  limits: Limit[]
  /**
   * The branch that it follows.
   */
  upstream: string | null
}
/**
 * A file that is not as it was committed.
 */
export interface StatusEntry {
  /**
   * Of a renamed file, what it was called.
   */
  from?: string | null
  /**
   * Path relative to the project, with `/`.
   */
  path: string
  /**
   * Two letters as of `git status --short`: of the index and of the file. `M` modified, `A` added, `D` deleted, `R`
   * renamed, `U` in conflict, `??` untracked.
   */
  status: string
}
/**
 * The answer of a file search.
 */
export interface GlobAnswer {
  /**
   * How many files were searched or listed. Varies from call to call when `truncated`.
   */
  filesSearched: number
  /**
   * How to get what is missing, in one sentence; `null` when nothing is.
   */
  hint: string | null
  /**
   * The limits that were met; empty when nothing was cut.
   */
  limits: Limit[]
  /**
   * Pass this as `after` to get the results that follow; `null` when there are none or when they cannot be continued.
   */
  next: Cursor | null
  /**
   * The files, relative to the project root, with `/`, in the order asked for.
   */
  paths: string[]
  /**
   * What was left out, by reason.
   */
  skipped: Skipped
  /**
   * Whether results may be missing. If not, these are all there are.
   */
  truncated: boolean
}
/**
 * The answer of a text search, sorted by path, then line.
 */
export interface GrepAnswer {
  /**
   * The files, with `output: "files"` or `"counts"`; empty otherwise.
   */
  files: FileMatch[]
  /**
   * How many files were searched or listed. Varies from call to call when `truncated`.
   */
  filesSearched: number
  /**
   * How to get what is missing, in one sentence; `null` when nothing is.
   */
  hint: string | null
  /**
   * The limits that were met; empty when nothing was cut.
   */
  limits: Limit[]
  /**
   * The matching lines, with `output: "lines"`; empty otherwise.
   */
  matches: GrepMatch[]
  /**
   * Pass this as `after` to get the results that follow; `null` when there are none or when they cannot be continued.
   */
  next: Cursor | null
  /**
   * What was left out, by reason.
   */
  skipped: Skipped
  /**
   * Whether results may be missing. If not, these are all there are.
   */
  truncated: boolean
}
/**
 * A file with a match.
 */
export interface FileMatch {
  /**
   * How many of its lines match; only with `output: "counts"`.
   */
  count?: number | null
  /**
   * Path relative to the project root, with `/`.
   */
  path: string
}
/**
 * A matching line, or several when the match spans lines.
 */
export interface GrepMatch {
  /**
   * The lines after it, as many as `afterContext` asks for and no other result shows.
   */
  after?: string[]
  /**
   * The lines before it, as many as `beforeContext` asks for and no other result shows.
   */
  before?: string[]
  /**
   * Column of the first match in the line, from 1, in UTF-16 units.
   */
  column: number
  /**
   * Line of the match, from 1.
   */
  line: number
  /**
   * Path relative to the project root, with `/`.
   */
  path: string
  /**
   * The line without its end; invalid UTF-8 replaced, and cut to 2,000 characters around the match.
   */
  text: string
}
/**
 * The answer of `jq`.
 */
export interface JqAnswer {
  /**
   * Why the filter did not come to its end; `null` when it did.
   */
  error: string | null
  /**
   * The limits that were met; empty when nothing was cut.
   */
  limits: Limit[]
  /**
   * What the filter gives, each value as JSON in one line; texts as they are with `raw`.
   */
  values: string[]
}
/**
 * The answer of a search for many patterns.
 */
export interface MgrepAnswer {
  /**
   * How many files were searched or listed. Varies from call to call when `truncated`.
   */
  filesSearched: number
  /**
   * How to get what is missing, in one sentence; `null` when nothing is.
   */
  hint: string | null
  /**
   * The limits that were met; empty when nothing was cut.
   */
  limits: Limit[]
  /**
   * Pass this as `after` to get the results that follow; `null` when there are none or when they cannot be continued.
   */
  next: Cursor | null
  /**
   * The results of each pattern, in the order of `patterns`. A line that several match is among the results of each.
   */
  patterns: PatternMatches[]
  /**
   * What was left out, by reason.
   */
  skipped: Skipped
  /**
   * Whether results may be missing. If not, these are all there are.
   */
  truncated: boolean
}
/**
 * What was found of one pattern, sorted by path, then line.
 */
export interface PatternMatches {
  /**
   * The files, with `output: "files"` or `"counts"`; empty otherwise.
   */
  files: FileMatch[]
  /**
   * The matching lines, with `output: "lines"`; empty otherwise.
   */
  matches: GrepMatch[]
  /**
   * Where the results that were cut begin: give this as `after` to `grep_search` with this pattern. `null` when
   * nothing was cut, or when the time was over.
   */
  next: Cursor | null
  /**
   * The pattern.
   */
  pattern: string
}
/**
 * The answer of an outline, sorted by path, then by place.
 */
export interface SymbolsAnswer {
  /**
   * How many files were searched or listed. Varies from call to call when `truncated`.
   */
  filesSearched: number
  /**
   * How to get what is missing, in one sentence; `null` when nothing is.
   */
  hint: string | null
  /**
   * The limits that were met; empty when nothing was cut.
   */
  limits: Limit[]
  /**
   * Pass this as `after` to get the results that follow; `null` when there are none or when they cannot be continued.
   */
  next: Cursor | null
  /**
   * What was left out, by reason.
   */
  skipped: Skipped
  /**
   * The symbols.
   */
  symbols: Symbol[]
  /**
   * Whether results may be missing. If not, these are all there are.
   */
  truncated: boolean
}
/**
 * A definition.
 */
export interface Symbol {
  /**
   * Column of the first character, from 1, in bytes.
   */
  column: number
  /**
   * How many symbols of the file it is inside of.
   */
  depth: number
  /**
   * Last line, from 1.
   */
  endLine: number
  /**
   * What it is: `function`, `method`, `class`, `struct`, `enum`, `interface`, …
   */
  kind: string
  /**
   * First line, from 1.
   */
  line: number
  /**
   * Its name; of a method in Go with its type, of an `impl` in Rust with its trait.
   */
  name: string
  /**
   * Path relative to the project, with `/`.
   */
  path: string
}

/**
 * Options of structural replace: `pattern`, `language` and `rewrite`, or a `rule` with a `fix`.
 */
export interface AstReplaceOptions {
  /**
   * Write the changes. Without it nothing is changed, and the answer shows what would be.
   */
  apply?: boolean
  /**
   * Only files that match one of these globs, as in a .gitignore; `!` leaves files out.
   */
  globs?: string[]
  /**
   * Hidden files and folders too.
   */
  hidden?: boolean
  /**
   * The language of both, such as `typescript`.
   */
  language?: string | null
  /**
   * Files that ignore files hide too.
   */
  noIgnore?: boolean
  /**
   * The folder or file, relative to the project or absolute.
   */
  path?: string
  /**
   * One piece of code to find, as in `ast_search`.
   */
  pattern?: string | null
  /**
   * The code to put in its place; `$NAME` and `$$$NAME` stand for what the pattern's stand for.
   */
  rewrite?: string | null
  /**
   * In place of these: an ast-grep rule as YAML, with `language`, `rule` and `fix`.
   */
  rule?: string | null
}

/**
 * Options of a structural search: `pattern` with `language`, or `rule`.
 */
export interface AstSearchOptions {
  /**
   * Return the results after this place: `next` of an earlier answer to the same options.
   */
  after?: {
    /**
     * Column as in the results; 0 when results are whole files.
     */
    column: number
    /**
     * Line as in the results; 0 when results are whole files, or when they were last changed, in microseconds since the
     * epoch, if they are sorted by that.
     */
    line: number
    /**
     * Path as in the results.
     */
    path: string
  } | null
  /**
   * Search only files that match one of these globs, relative to `path`, as in a .gitignore. A leading `!` leaves
   * files out. What ignore files hide stays hidden.
   */
  globs?: string[]
  /**
   * Search hidden files and folders too (names that begin with a dot), except `.git`.
   */
  hidden?: boolean
  /**
   * The language of the pattern and of the files to search: `typescript`, `tsx`, `python`, `rust`, … `.ts` and `.tsx`
   * are two languages.
   */
  language?: string | null
  /**
   * How many results to return at most, 1 to 1,000.
   */
  maxResults?: number
  /**
   * Search files that .gitignore, .ignore and the like hide.
   */
  noIgnore?: boolean
  /**
   * The folder or file to search, relative to the project root or absolute inside it.
   */
  path?: string
  /**
   * One piece of code to look for, as in ast-grep: `$NAME` stands for one node and is returned, the same name twice
   * for the same code; `$$$ARGS` for any number of nodes; `$_` for any node. Example: `console.log($$$ARGS)`.
   */
  pattern?: string | null
  /**
   * In place of both: an ast-grep rule as YAML, with `language` and `rule`, and `constraints`, `utils`, `transform`,
   * `files`, `ignores` where needed.
   */
  rule?: string | null
}

/**
 * Options of a diff: one of `before` and `beforeText`, and one of `after` and `afterText`.
 */
export interface DiffOptions {
  /**
   * Path of the new file.
   */
  after?: string | null
  /**
   * The new text, in place of `after`.
   */
  afterText?: string | null
  /**
   * Path of the old file.
   */
  before?: string | null
  /**
   * The old text, in place of `before`.
   */
  beforeText?: string | null
  /**
   * Lines to show around each change, 0 to 20. Default: 3.
   */
  context?: number
}

/**
 * Options of the statistics of a tree. None is required.
 */
export interface FileStatsOptions {
  /**
   * Count only files that match one of these globs, relative to `path`, as in a .gitignore: `*.ts`, `src/**`. A
   * leading `!` leaves files out. What ignore files hide stays hidden.
   */
  globs?: string[]
  /**
   * Count hidden files and folders too (names that begin with a dot), except `.git`.
   */
  hidden?: boolean
  /**
   * How many of the largest files to list, 0 to 100.
   */
  largest?: number
  /**
   * Count files that .gitignore, .ignore and the like hide.
   */
  noIgnore?: boolean
  /**
   * The folder or file to count, relative to the project root or absolute inside it.
   */
  path?: string
  /**
   * Count only files of these types, by ripgrep's names: `rust`, `ts`, `py`.
   */
  types?: string[]
}

/**
 * Options of `git_diff`.
 */
export interface GitDiffOptions {
  /**
   * Lines to show around each change, 0 to 20. Default: 3.
   */
  context?: number
  /**
   * The revision to compare from. Default: the index, so that what is not staged is shown.
   */
  from?: string | null
  /**
   * Only these files and folders, relative to the project.
   */
  paths?: string[]
  /**
   * What is staged, in place of what is not.
   */
  staged?: boolean
  /**
   * Numbers of lines by file, without the changes.
   */
  stat?: boolean
  /**
   * The revision to compare to, with `from`. Default: the files as they are.
   */
  to?: string | null
}

/**
 * Options of `git_log`.
 */
export interface GitLogOptions {
  /**
   * How many commits to return at most, 1 to 1,000. Default: 20.
   */
  maxResults?: number
  /**
   * Only commits whose message contains this text.
   */
  message?: string | null
  /**
   * Only commits that change these files and folders, relative to the project.
   */
  paths?: string[]
  /**
   * The revision, or range as `main..HEAD`. Default: `HEAD`.
   */
  revision?: string | null
  /**
   * How many of the newest commits to leave out.
   */
  skip?: number
}

/**
 * Options of `git_status`.
 */
export interface GitStatusOptions {
  /**
   * How many entries to return at most, 1 to 1,000.
   */
  maxResults?: number
  /**
   * Only these files and folders, relative to the project.
   */
  paths?: string[]
}

/**
 * Options of a file search. Only `pattern` is required.
 */
export interface GlobOptions {
  /**
   * Return the results after this place: `next` of an earlier answer to the same options.
   */
  after?: {
    /**
     * Column as in the results; 0 when results are whole files.
     */
    column: number
    /**
     * Line as in the results; 0 when results are whole files, or when they were last changed, in microseconds since the
     * epoch, if they are sorted by that.
     */
    line: number
    /**
     * Path as in the results.
     */
    path: string
  } | null
  /**
   * List hidden files and folders too (names that begin with a dot), except `.git`.
   */
  hidden?: boolean
  /**
   * How many results to return at most, 1 to 1,000.
   */
  maxResults?: number
  /**
   * List files that .gitignore, .ignore and the like hide.
   */
  noIgnore?: boolean
  /**
   * Read `pattern` as ripgrep's `--glob`: it may begin with `!`, and what it matches is listed although ignore files
   * or a leading dot hide it.
   */
  overrideIgnore?: boolean
  /**
   * The folder to search, relative to the project root or absolute inside it.
   */
  path?: string
  /**
   * A glob relative to `path`, such as `src/**`, `docs/*.md` or `*.{rs,toml}`. `*` and `?` stay within a folder,
   * `**` as a whole name stands for any number of folders. A pattern without `/` matches names at any depth. At
   * most 4 KiB.
   */
  pattern: string
  /**
   * The order of the results.
   */
  sort?: "path" | "modified"
}

/**
 * Options of a text search. Only `pattern` is required.
 */
export interface GrepOptions {
  /**
   * Return the results after this place: `next` of an earlier answer to the same options.
   */
  after?: {
    /**
     * Column as in the results; 0 when results are whole files.
     */
    column: number
    /**
     * Line as in the results; 0 when results are whole files, or when they were last changed, in microseconds since the
     * epoch, if they are sorted by that.
     */
    line: number
    /**
     * Path as in the results.
     */
    path: string
  } | null
  /**
   * Lines to show after each match, 0 to 20.
   */
  afterContext?: number
  /**
   * Lines to show before each match, 0 to 20.
   */
  beforeContext?: number
  /**
   * Take `pattern` as plain text.
   */
  fixedStrings?: boolean
  /**
   * Search only files that match one of these globs, relative to `path`, as in a .gitignore: `*.ts`, `src/**`. A
   * leading `!` leaves files out. What ignore files hide stays hidden.
   */
  globs?: string[]
  /**
   * Search hidden files and folders too (names that begin with a dot), except `.git`.
   */
  hidden?: boolean
  /**
   * Match upper and lower case alike.
   */
  ignoreCase?: boolean
  /**
   * How many results to return at most, 1 to 1,000.
   */
  maxResults?: number
  /**
   * Let a match span lines; `\n` may then be used in `pattern`. Reads whole files.
   */
  multiline?: boolean
  /**
   * Search files that .gitignore, .ignore and the like hide.
   */
  noIgnore?: boolean
  /**
   * What to return.
   */
  output?: "lines" | "files" | "counts"
  /**
   * Search what `globs` name although ignore files or a leading dot hide it, as with ripgrep's `--glob`.
   */
  overrideIgnore?: boolean
  /**
   * The folder or file to search, relative to the project root or absolute inside it.
   */
  path?: string
  /**
   * What to look for: a regular expression in the syntax of Rust's regex crate (as ripgrep; no look-around, no
   * back-references), or plain text with `fixedStrings`. At most 64 KiB.
   */
  pattern: string
  /**
   * Match upper and lower case alike if `pattern` has no upper-case letter.
   */
  smartCase?: boolean
  /**
   * Search only files of these types, by ripgrep's names: `rust`, `ts`, `py`.
   */
  types?: string[]
  /**
   * Match whole words only.
   */
  word?: boolean
}

/**
 * Options of `jq`: `filter`, and one of `path` and `text`.
 */
export interface JqOptions {
  /**
   * The jq filter, such as `.dependencies | keys`.
   */
  filter: string
  /**
   * The JSON file.
   */
  path?: string | null
  /**
   * Give texts as they are, without quotes.
   */
  raw?: boolean
  /**
   * The JSON text, in place of `path`.
   */
  text?: string | null
}

/**
 * Options of a search for many patterns. Only `patterns` is required.
 */
export interface MgrepOptions {
  /**
   * Take `patterns` as plain text.
   */
  fixedStrings?: boolean
  /**
   * Search only files that match one of these globs, relative to `path`, as in a .gitignore: `*.ts`, `src/**`. A
   * leading `!` leaves files out. What ignore files hide stays hidden.
   */
  globs?: string[]
  /**
   * Search hidden files and folders too (names that begin with a dot), except `.git`.
   */
  hidden?: boolean
  /**
   * Match upper and lower case alike.
   */
  ignoreCase?: boolean
  /**
   * How many results of each pattern to return at most, 1 to 1,000.
   */
  maxResults?: number
  /**
   * Search files that .gitignore, .ignore and the like hide.
   */
  noIgnore?: boolean
  /**
   * What to return.
   */
  output?: "lines" | "files" | "counts"
  /**
   * The folder or file to search, relative to the project root or absolute inside it.
   */
  path?: string
  /**
   * What to look for, 1 to 100 patterns: regular expressions in the syntax of Rust's regex crate (as ripgrep; no
   * look-around, no back-references), or plain texts with `fixedStrings`. At most 64 KiB each.
   *
   * @minItems 1
   * @maxItems 100
   */
  patterns: [string, ...string[]]
  /**
   * Match upper and lower case alike where a pattern has no upper-case letter.
   */
  smartCase?: boolean
  /**
   * Search only files of these types, by ripgrep's names: `rust`, `ts`, `py`.
   */
  types?: string[]
  /**
   * Match whole words only.
   */
  word?: boolean
}

/**
 * Options of find and replace. `pattern` and `replacement` are required.
 */
export interface ReplaceOptions {
  /**
   * Write the changes. Without it nothing is changed, and the answer shows what would be.
   */
  apply?: boolean
  /**
   * Take `pattern` and `replacement` as plain text.
   */
  fixedStrings?: boolean
  /**
   * Only files that match one of these globs, as in a .gitignore; `!` leaves files out.
   */
  globs?: string[]
  /**
   * Hidden files and folders too.
   */
  hidden?: boolean
  /**
   * Match upper and lower case alike.
   */
  ignoreCase?: boolean
  /**
   * Let a match span lines.
   */
  multiline?: boolean
  /**
   * Files that ignore files hide too.
   */
  noIgnore?: boolean
  /**
   * The folder or file, relative to the project or absolute.
   */
  path?: string
  /**
   * What to find: a regular expression as in ripgrep, or plain text with `fixedStrings`.
   */
  pattern: string
  /**
   * What to put in its place. `$1` and `${name}` stand for groups, `$$` for a dollar sign; with `fixedStrings` it is
   * taken as it is.
   */
  replacement: string
  /**
   * Match whole words only.
   */
  word?: boolean
}

/**
 * Options of an outline.
 */
export interface SymbolsOptions {
  /**
   * Go on after this place: `next` of an earlier answer to the same options.
   */
  after?: {
    /**
     * Column as in the results; 0 when results are whole files.
     */
    column: number
    /**
     * Line as in the results; 0 when results are whole files, or when they were last changed, in microseconds since the
     * epoch, if they are sorted by that.
     */
    line: number
    /**
     * Path as in the results.
     */
    path: string
  } | null
  /**
   * Only files that match one of these globs, as in a .gitignore; `!` leaves files out.
   */
  globs?: string[]
  /**
   * Hidden files and folders too.
   */
  hidden?: boolean
  /**
   * How many symbols to return at most, 1 to 1,000.
   */
  maxResults?: number
  /**
   * Only symbols whose name contains this, upper and lower case alike.
   */
  name?: string | null
  /**
   * Files that ignore files hide too.
   */
  noIgnore?: boolean
  /**
   * The file or folder, relative to the project or absolute.
   */
  path?: string
}

/** What each tool takes and gives. */
export interface Tools {
  /** Replace code by its structure, in every file that matches. Shows a diff; writes only with `apply`. */
  ast_replace: { options: AstReplaceOptions; answer: EditAnswer }
  /** Search code by its structure with an ast-grep pattern such as `console.log($ARG)`, or a rule. */
  ast_search: { options: AstSearchOptions; answer: AstSearchAnswer }
  /** Compare two files or texts. Answers a unified diff. */
  diff: { options: DiffOptions; answer: DiffAnswer }
  /** Count the files, bytes and lines of a folder by language, and list its largest files. Honours .gitignore. */
  file_stats: { options: FileStatsOptions; answer: FileStatsAnswer }
  /** What has changed since a commit, is staged, or differs between commits. */
  git_diff: { options: GitDiffOptions; answer: GitDiffAnswer }
  /** Commits, newest first. */
  git_log: { options: GitLogOptions; answer: GitLogAnswer }
  /** Which files are not as they were committed. */
  git_status: { options: GitStatusOptions; answer: GitStatusAnswer }
  /** List files whose path matches a glob pattern. Honours .gitignore. */
  glob_search: { options: GlobOptions; answer: GlobAnswer }
  /** Search file contents with a regular expression. Honours .gitignore. Answers path:line: text. */
  grep_search: { options: GrepOptions; answer: GrepAnswer }
  /** Run a jq filter on a JSON file or text. */
  jq: { options: JqOptions; answer: JqAnswer }
  /** Search file contents for many regular expressions in one pass, with the results of each. Honours .gitignore. */
  mgrep: { options: MgrepOptions; answer: MgrepAnswer }
  /** Find and replace text, in every file that matches. Shows a diff; writes only with `apply`. */
  replace: { options: ReplaceOptions; answer: EditAnswer }
  /** Outline of a file or folder: what is defined where. Answers path:line: kind name. */
  symbols: { options: SymbolsOptions; answer: SymbolsAnswer }
}

/**
 * The native addon with types and promises.
 *
 * Work that takes longer than a moment runs on native threads. Its results come through one port per environment, as an
 * id and JSON, and settle the promise that waits under that id.
 */

import { addon } from "./addon.ts"
import type { Tools } from "./search-types.ts"
import type { Answer, Effect, Event, Inquiry, Notice, OpenOptions } from "./protocol.ts"

export type * from "./search-types.ts"
export type * from "./protocol.ts"

// Not imported; see `addon.ts`.
const { resolve: resolvePath } = process.getBuiltinModule("node:path")

/** What the native side, or this one, has against a call. The message ends in what to do. */
export class OrchestratorError extends Error {
  /** Stable, such as `SEARCH_BAD_PATTERN`; the list is in `docs/errors.md`. `ABORT_ERR` for an aborted call. */
  readonly code: string
  /** With `SEARCH_PATH_OUTSIDE`: the absolute folder that would have to be granted. */
  readonly folder: string | undefined

  constructor(code: string, message: string, options?: ErrorOptions & { folder?: string | undefined }) {
    super(message, options)
    this.folder = options?.folder
    // As the platform's own abort errors are told apart: by name.
    this.name = code === "ABORT_ERR" ? "AbortError" : "OrchestratorError"
    this.code = code
  }
}

function wrapped(cause: unknown): OrchestratorError {
  if (cause instanceof OrchestratorError) return cause
  if (!(cause instanceof Error)) return new OrchestratorError("GenericFailure", String(cause), { cause })
  const code = "code" in cause && typeof cause.code === "string" ? cause.code : "GenericFailure"
  return new OrchestratorError(code, cause.message, { cause })
}

// --- Calls ---

type Completion<T> = { ok: T } | { error: { code: string; message: string; folder?: string } }

interface Waiting {
  complete(json: string): void
  fail(error: OrchestratorError): void
}

type Port = ReturnType<typeof addon.connect>

// Module state, since a module is loaded once per environment, and an environment has one port.
const waiting = new Map<number, Waiting>()
let port: Port | undefined
let lastId = 0

/** How long an answer can be late that Bun has forgotten; see `ring` of the addon. Node forgets none. */
const RING_MS = 100
const forgets = "bun" in process.versions

let waitingCount = 0
let timer: ReturnType<typeof setInterval> | undefined

/**
 * Keeps the process alive until the release that it gives is called. The native side does not: a script that awaits an
 * answer wants to live until it comes, a host wants to end when it likes.
 */
function keepAlive(): () => void {
  waitingCount++
  timer ??= setInterval(() => port && addon.ring(port), forgets ? RING_MS : 0x7fffffff)
  return () => {
    if (--waitingCount > 0) return
    clearInterval(timer)
    timer = undefined
  }
}

function complete(id: number, json: string): void {
  // An aborted call was settled before; its completion finds no one.
  waiting.get(id)?.complete(json)
}

/**
 * Makes one call: `begin` starts it on the port, and gives its completion if it has ended already; `cancel` stops it.
 */
async function call<T>(
  begin: (port: Port, id: number) => string | null,
  cancel: (port: Port, id: number) => void,
  signal: AbortSignal | undefined,
): Promise<T> {
  if (signal?.aborted) throw aborted(signal)
  const id = ++lastId
  const opened = (port ??= addon.connect(complete))
  const ended = native(() => begin(opened, id)) ?? (await waitFor(opened, id, cancel, signal))
  const completion: Completion<T> = JSON.parse(ended)
  if ("ok" in completion) return completion.ok
  const { code, message, folder } = completion.error
  throw new OrchestratorError(code, message, { folder })
}

/** Waits for the completion of the call under `id`. */
function waitFor(
  opened: Port,
  id: number,
  cancel: (port: Port, id: number) => void,
  signal: AbortSignal | undefined,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const release = keepAlive()
    const settle = (act: () => void) => {
      // Whatever comes second finds that the call has been settled.
      if (!waiting.delete(id)) return
      signal?.removeEventListener("abort", onAbort)
      release()
      act()
    }
    const onAbort = () => {
      cancel(opened, id)
      settle(() => reject(aborted(signal)))
    }
    waiting.set(id, {
      complete: (json) => settle(() => resolve(json)),
      fail: (error) => settle(() => reject(error)),
    })
    signal?.addEventListener("abort", onAbort, { once: true })
  })
}

/**
 * Rejects every pending call with `PORT_CLOSED` and frees what they hold. A later call opens anew. Call it when a plugin
 * is disposed of, or before a worker ends.
 */
export function closePort(): void {
  if (port) addon.closePort(port)
  port = undefined
  // Each failure takes its own call out of the map, which an iteration bears.
  for (const { fail } of waiting.values()) {
    fail(new OrchestratorError("PORT_CLOSED", "the native port was closed before the call ended; call again"))
  }
}

function aborted(signal: AbortSignal | undefined): OrchestratorError {
  return new OrchestratorError("ABORT_ERR", "the call was aborted; call again if its result is still wanted", {
    cause: signal?.reason,
  })
}

// --- Tools ---

/** Where a tool works, beside its options. */
export interface ToolContext {
  /** The project's folder. No path leaves it but for what is granted. Default: the process's working directory. */
  cwd?: string | undefined
  /** Rejects the call with an `AbortError` and stops the tool. */
  signal?: AbortSignal | undefined
  /** Absolute folders outside the project that may be reached too; see {@link OrchestratorError.folder}. */
  granted?: readonly string[] | undefined
  /** What an editing tool may write: paths relative to the project, a folder's with `/` at its end. Default: all. */
  leased?: readonly string[] | undefined
  /** Whether secrets are masked in answers that are text. Default: true. */
  maskSecrets?: boolean | undefined
  /**
   * Lets searches use an index of the project, which is built in the background after three searches of the whole of a
   * project of 2,000 files or more; see {@link warm}. No change is missed. Default: false.
   */
  index?: boolean | undefined
}

export type ToolName = keyof Tools

/**
 * Runs a tool. An answer says whether it is complete, and how to get the rest.
 *
 * @throws OrchestratorError with a code that begins with `SEARCH_`, or `WORKER_QUEUE_FULL`
 */
export type Tool<Name extends ToolName> = (
  options: Tools[Name]["options"],
  context?: ToolContext,
) => Promise<Tools[Name]["answer"]>

function tool<Name extends ToolName>(name: Name): Tool<Name> {
  return (options, context) => start(name, options, context, false)
}

/** Searches files for text. Results are sorted by path and line. */
export const grep = tool("grep_search")

/** Searches files for many patterns in one pass; gives the results of each. */
export const mgrep = tool("mgrep")

/** Lists files whose path matches a pattern. */
export const glob = tool("glob_search")

/** Counts files, bytes and lines by language, and lists the largest files. */
export const fileStats = tool("file_stats")

/** Searches code for a shape, as ast-grep does. */
export const astSearch = tool("ast_search")

/** Replaces code by its shape. Changes nothing unless told to `apply`. */
export const astReplace = tool("ast_replace")

/** Finds and replaces text. Changes nothing unless told to `apply`. */
export const replace = tool("replace")

/** Compares two files or texts. */
export const diff = tool("diff")

/** Outlines what is defined where. */
export const symbols = tool("symbols")

/** Runs a jq filter. */
export const jq = tool("jq")

/** Says which files are not as they were committed. */
export const gitStatus = tool("git_status")

/** Compares files with commits, or commits with each other. */
export const gitDiff = tool("git_diff")

/** Lists commits. */
export const gitLog = tool("git_log")

/**
 * Runs a tool with options from outside, such as a model's, and returns its answer as text for a model: a result a line,
 * then what was found and what was cut. The options are checked natively.
 *
 * @throws OrchestratorError with a code that begins with `SEARCH_`, or `WORKER_QUEUE_FULL`
 */
export function toolText(name: ToolName, options: unknown, context?: ToolContext): Promise<string> {
  return start(name, options, context, true)
}

/**
 * Builds the index of a project now, for searches that are called with `index: true`.
 *
 * @returns whether it can be used; not where files may change unseen (network file systems), nor for a project that is
 * too large, nor while another call builds it
 */
export function warm(context?: Pick<ToolContext, "cwd" | "signal">): Promise<boolean> {
  const root = resolvePath(context?.cwd ?? ".")
  return call((port, id) => addon.indexStart(port, id, root), addon.toolCancel, context?.signal)
}

let hasLent = false

/**
 * Whether a call may be done on this thread if it takes a moment only: to hand it to another would take longer. One of
 * those that are made together, since the others have two threads to share them then.
 */
function lend(): boolean {
  if (hasLent) return false
  hasLent = true
  // Sooner at hand in a fresh process than `queueMicrotask`.
  Promise.resolve().then(() => (hasLent = false))
  return true
}

function start<T>(name: ToolName, options: unknown, context: ToolContext | undefined, asText: boolean): Promise<T> {
  const { cwd = ".", granted, leased, index, maskSecrets, signal } = context ?? {}
  const begin = (port: Port, id: number) => {
    const reach = JSON.stringify({ root: resolvePath(cwd), granted, leased, index, maskSecrets })
    return addon.toolStart(port, id, name, optionsJson(options), reach, asText, lend())
  }
  return call<T>(begin, addon.toolCancel, signal)
}

function optionsJson(options: unknown): string {
  try {
    // `undefined` and functions have no JSON; as `null` they are refused where everything else is checked.
    return JSON.stringify(options) ?? "null"
  } catch (cause) {
    throw new OrchestratorError("SEARCH_BAD_OPTIONS", "options: cannot be written as JSON; give plain data", { cause })
  }
}

/** What a tool is for, and the JSON schema of its options, by the tool's name. */
export function toolSchemas(): Record<ToolName, { description: string; options: object }> {
  return JSON.parse(addon.toolSchema()).tools
}

/** Calls the addon; its errors get our class. */
function native<T>(call: () => T): T {
  try {
    return call()
  } catch (cause) {
    throw wrapped(cause)
  }
}

// --- Engine ---

/** Events that wait for an answer; the engine's side numbers them. */
type WithRequest = Extract<Event, { request: number }>
export type Request = WithRequest extends infer E ? (E extends unknown ? Omit<E, "request"> : never) : never

/** Where the engine's thread reports to. Called from the event loop, in the order of what happened. */
export interface EngineObserver {
  effect(effect: Exclude<Effect, { type: "reply" }>): void
  fault(fault: Extract<Notice, { type: "fault" }>): void
  /** The engine goes on after a fault. */
  recovered?(notice: Extract<Notice, { type: "recovered" }>): void
  /** The journal has been replayed; what an earlier process had left running has been killed. */
  ready?(ready: Extract<Notice, { type: "ready" }>): void
}

/** A running engine. Closing it settles what waits. */
export interface Engine {
  post(event: Event): void
  /** Posts an event and resolves with the engine's answer once it is durable. */
  request(event: Request): Promise<Answer>
  /** @returns what the question's variant says; see `Question` in the protocol */
  ask(question: Inquiry): Promise<unknown>
  /**
   * The variables that the shell of a session gets, so that what it leaves running can be found. Without those of the
   * engine until it has replayed its journal, before which no session of its missions is prompted.
   */
  environment(session: string): Record<string, string>
  /** Gives the project back. What was acknowledged is durable. */
  close(): void
  [Symbol.dispose](): void
}

/**
 * Takes the project for this process and starts its engine.
 *
 * @throws OrchestratorError `OWNER_LOCK_HELD` when another process has the project, or a state folder error
 */
export function openEngine(options: OpenOptions, observer: EngineObserver): Engine {
  const waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>()
  // Counted from the time on, so that a late answer to a request of an earlier process meets nobody.
  let next = Date.now()
  let closed = false
  const environment: Record<string, string> = {}

  /** Sends something under a number of its own, and waits for what comes back under it. */
  function exchange<T>(send: (id: number) => void): Promise<T> {
    return new Promise((resolve, reject) => {
      const id = ++next
      const release = keepAlive()
      const settle =
        <V>(act: (value: V) => void) =>
        (value: V) => {
          waiting.delete(id)
          release()
          act(value)
        }
      const entry = { resolve: settle(resolve as (value: unknown) => void), reject: settle(reject) }
      waiting.set(id, entry)
      try {
        native(() => send(id))
      } catch (error) {
        entry.reject(error as Error)
      }
    })
  }

  function notice(json: string) {
    if (json === "") return
    const notice = JSON.parse(json) as Notice
    switch (notice.type) {
      case "effects":
        for (const effect of notice.effects) {
          if (effect.type === "reply") {
            waiting.get(effect.request)?.resolve(effect.answer)
          } else {
            observer.effect(effect)
          }
        }
        return
      case "answer":
        return waiting.get(notice.id)?.resolve(notice.value)
      case "fault":
        return observer.fault(notice)
      case "recovered":
        return observer.recovered?.(notice)
      case "ready":
        Object.assign(environment, notice.environment)
        return observer.ready?.(notice)
      default:
        notice satisfies never
    }
  }

  const handle = native(() => addon.engineOpen(JSON.stringify(options), notice))
  const bell = forgets ? setInterval(() => addon.engineRing(handle), RING_MS) : undefined
  // The engine alone does not keep the process alive.
  bell?.unref()

  function close() {
    if (closed) return
    closed = true
    clearInterval(bell)
    addon.engineClose(handle)
    const error = new OrchestratorError("ENGINE_CLOSED", "the engine has been closed; open another one")
    for (const { reject } of waiting.values()) reject(error)
  }

  return {
    post(event) {
      if (!closed) native(() => addon.enginePost(handle, JSON.stringify([event])))
    },
    request: (event) => exchange((request) => addon.enginePost(handle, JSON.stringify([{ ...event, request }]))),
    ask: (question) => exchange((id) => addon.engineAsk(handle, id, JSON.stringify(question))),
    environment: (session) => ({ ...environment, OPENCODE_ORCHESTRATOR_WORK: session }),
    close,
    [Symbol.dispose]: close,
  }
}

/** How a mission stands, as the process that runs it last wrote it down. */
export interface MissionSummary {
  id: number
  objective: string
  root: string
  follower: string
  stage: string
  headline: string
  iterations: number
  sessions: number
  live: number
  prompts: number
  steps: number
  failures: number
  /** Milliseconds since the epoch. */
  started: number
  ended: number | null
  /** Toasts, reports and the like that are not known to have been delivered, and that the next process sends again. */
  untold: number
  tasks: {
    id: string
    title: string
    state: string
    /** From 1; a task stands in the first wave after all that it depends on. */
    wave: number
    fixes: number
    tries: number
    started: number | null
    ended: number | null
  }[]
}

/**
 * Reads how the missions of a project stand, oldest first, also while another process runs them. Empty when there are
 * none.
 *
 * @throws OrchestratorError with a code that begins with `JOURNAL_`
 */
export function readMissions(directory: string): MissionSummary[] {
  const missions: MissionSummary[] = JSON.parse(native(() => addon.readMissions(resolvePath(directory))))
  return missions.toSorted((a, b) => a.id - b.id)
}

/**
 * Walks the journal of a project and gives its last record.
 *
 * @throws OrchestratorError with a code that begins with `JOURNAL_` and the sequence number of the record at fault
 */
export function verifyJournal(directory: string): { sequence: number; hash: string } {
  return JSON.parse(native(() => addon.verifyJournal(resolvePath(directory))))
}

/**
 * Writes the records of a project's journal to a file that is not there yet, a JSON object a line, and gives the last.
 *
 * @throws OrchestratorError with a code that begins with `JOURNAL_`
 */
export function exportJournal(directory: string, file: string): { sequence: number; hash: string } {
  return JSON.parse(native(() => addon.exportJournal(resolvePath(directory), resolvePath(file))))
}

/** What a replay of a journal gave. */
export interface ReplayReport {
  /** Records that were taken again, and effects that were compared. */
  records: number
  effects: number
  /** The missions of the journal, such as `m1`, and how the one asked for stands after the replay. */
  missions: string[]
  mission: MissionSummary | null
  /** BLAKE3 of the whole state after the replay; the same on every machine. */
  state: string
  /** The first record on which another decision is made now: what was decided then, and what is decided now. */
  divergence: { sequence: number; event: Event; decided: unknown; replayed: unknown } | null
}

/**
 * Takes every event of a project's journal again and compares what is decided now with what was decided then, byte for
 * byte. Changes nothing. Ends at the first record that differs.
 *
 * @throws OrchestratorError with a code that begins with `JOURNAL_` and the sequence number of the record at fault, or
 * `INVALID_ARGUMENT` when there is no such mission
 */
export function replayJournal(directory: string, mission?: string): ReplayReport {
  return JSON.parse(native(() => addon.replayJournal(resolvePath(directory), mission ?? null)))
}

/** Whether a mission has ever been started in the project. */
export function hasJournal(directory: string): boolean {
  return native(() => addon.hasJournal(resolvePath(directory)))
}

/** What is wrong with the plugin's options from a configuration; empty when they can be used. */
export function checkOptions(options: object): { path: string; message: string }[] {
  return JSON.parse(native(() => addon.checkOptions(JSON.stringify(options))))
}

/** A limit of the engine, as documented. */
export interface LimitInfo {
  name: string
  default: number
  min: number
  max: number
  unit: string
  doc: string
}

/** Every limit of the engine, in the order of the documentation. */
export function limitsTable(): LimitInfo[] {
  return JSON.parse(native(() => addon.limitsTable()))
}

/**
 * Reads a review that belongs to no mission. Accepted, its text is for people; refused, it names every mistake.
 */
export function readReview(review: unknown): Answer {
  return JSON.parse(native(() => addon.readReview(JSON.stringify(review) ?? "null")))
}

/** The JSON schema of a typed blank: what a role's tool takes. */
export function blankSchema(blank: "plan" | "work" | "review" | "revision"): object {
  return JSON.parse(native(() => addon.blankSchema(blank)))
}

// --- Hooks ---

/** Where handlers can be added, with what they are given: the host's hooks of the same names, and our own end. */
export interface HookPoints {
  "chat.message": [
    input: { sessionID: string; model?: { providerID: string; modelID: string } },
    output: { message: { id: string; agent: string; model?: { providerID: string; modelID: string } }; parts: object[] },
  ]
  /** Before a model request. */
  "chat.params": [input: { sessionID: string; agent: string; message: { id: string } }, output: { options: object }]
  /** Before a call of a tool. A handler that throws refuses the call with its message. */
  "tool.execute.before": [input: { tool: string; sessionID: string; callID: string }, output: { args: object | null }]
  "tool.execute.after": [
    input: { tool: string; sessionID: string; callID: string; args: unknown },
    output: { title: string; output: string; metadata: unknown },
  ]
  /** Before a shell starts, with what is added to its environment. */
  "shell.env": [input: { cwd: string; sessionID?: string; callID?: string }, output: { env: Record<string, string> }]
  /** Before a conversation is shortened, with what its summary is made from beside it. */
  "experimental.session.compacting": [input: { sessionID: string }, output: { context: string[]; prompt?: string }]
  /** After that, before the host lets the session go on. */
  "experimental.compaction.autocontinue": [input: { sessionID: string; overflow: boolean }, output: { enabled: boolean }]
  "experimental.text.complete": [input: { sessionID: string; messageID: string; partID: string }, output: { text: string }]
  event: [input: { event: { type: string; properties: object } }]
  /** The plugin ends. Every handler gets `shutdownMs`, and all run, whatever becomes of the others. */
  shutdown: []
}

export type HookPoint = keyof HookPoints

/** A handler of one hook. */
export interface HookHandler<P extends HookPoint = HookPoint> {
  point: P
  /** Unique at its point, such as `my-plugin.audit`. Ours begin with `orchestrator.`; docs/ARCHITECTURE.md lists them. */
  name: string
  /** Default: `normal`. */
  phase?: "early" | "normal" | "late"
  /** Higher runs earlier within a phase. A whole number, default 0. */
  priority?: number
  /** Names of handlers at the same point that have run before this one. */
  after?: string[]
  run(...args: HookPoints[P]): Promise<void> | void
}

type AnyHandler = { [P in HookPoint]: HookHandler<P> }[HookPoint]

interface HookRegistry {
  /** Handlers that were added from outside, by every plugin of this environment. */
  handlers: AnyHandler[]
  /** Each running plugin's check that the handlers can be put in order. */
  checks: Set<() => void>
}

const HOOKS = Symbol.for("opencode-orchestrator-native.hooks")
const HOOK_POINTS: readonly HookPoint[] = [
  "chat.message",
  "chat.params",
  "tool.execute.before",
  "tool.execute.after",
  "shell.env",
  "experimental.session.compacting",
  "experimental.compaction.autocontinue",
  "experimental.text.complete",
  "event",
  "shutdown",
]

// The plugin and this module are bundled apart, and another plugin may bring a copy of its own: what they share is the
// environment.
const hooks = ((globalThis as { [HOOKS]?: HookRegistry })[HOOKS] ??= { handlers: [], checks: new Set() })

/**
 * Adds a handler to the hooks of every orchestrator plugin of this environment, and gives the function that removes it.
 * A handler that was added before the plugin starts is checked at the start.
 *
 * @throws OrchestratorError `HOOK_INVALID`, `HOOK_NAME_TAKEN`, `HOOK_DEPENDENCY_UNKNOWN`, `HOOK_DEPENDENCY_LATER` or
 *   `HOOK_CYCLE`; nothing has been added then
 */
export function addHook<P extends HookPoint>(handler: HookHandler<P>): () => void {
  const added = handler as AnyHandler
  if (!HOOK_POINTS.includes(added.point) || typeof added.run !== "function") {
    const known = HOOK_POINTS.join(", ")
    throw new OrchestratorError("HOOK_INVALID", `a handler needs a point (${known}) and a function run; give both`)
  }
  changeHooks([...hooks.handlers, added])
  return () => changeHooks(hooks.handlers.filter((other) => other !== added))
}

/** Changes the handlers from outside, or leaves them as they are when a running plugin could not put them in order. */
function changeHooks(handlers: AnyHandler[]): void {
  const before = hooks.handlers
  hooks.handlers = handlers
  try {
    for (const check of hooks.checks) check()
  } catch (error) {
    hooks.handlers = before
    throw error
  }
}

/**
 * Puts a plugin's own handlers and those added from outside in order, anew whenever one comes or goes. For the plugin
 * itself.
 *
 * @throws OrchestratorError as `addHook`
 */
export function orderHooks(own: HookHandler[]): { at<P extends HookPoint>(point: P): HookHandler<P>[]; close(): void } {
  const order = new Map<HookPoint, AnyHandler[]>()
  const check = () => {
    for (const point of HOOK_POINTS) {
      const handlers = [...(own as AnyHandler[]), ...hooks.handlers].filter((handler) => handler.point === point)
      const specs = handlers.map(({ name, phase = "normal", priority = 0, after = [] }) => ({ name, phase, priority, after }))
      const indices: number[] = JSON.parse(native(() => addon.hookOrder(JSON.stringify(specs))))
      order.set(point, indices.flatMap((index) => handlers[index] ?? []))
    }
  }
  check()
  hooks.checks.add(check)
  return {
    at: <P extends HookPoint>(point: P) => (order.get(point) ?? []) as unknown as HookHandler<P>[],
    close: () => void hooks.checks.delete(check),
  }
}

/**
 * Effects become calls of OpenCode's client, and their outcomes become events. Nothing is decided here: what fails or
 * takes too long is told to the engine, which looks up what happened before it repeats anything.
 */
import type { PluginInput } from "@opencode-ai/plugin"
import type { Effect, Event, HostError, TurnFacts } from "./protocol.ts"

type Client = PluginInput["client"]
type HostEffect = Exclude<Effect, { type: "reply" | "takeSnapshot" | "runChecks" | "cancelChecks" | "killCommands" | "renderTodo" }>
export type Model = { providerID: string; modelID: string }

export interface Effects {
  run(effect: HostEffect): void
  /** Reads how the last turn of a session stands, with our prompt that it answers. */
  turn(session: string): Promise<{ prompt: number | null; facts: TurnFacts }>
  /**
   * Puts a message before a session that its answer waits at while a mission goes on. `now` starts a turn for it;
   * otherwise it goes into the present one, which then does not end.
   */
  hold(session: string, now: boolean): Promise<void>
  /** What a message was written for, when it is one of those that hold a turn or tell the commander something. */
  ours(parts: readonly object[]): "hold" | "tell" | undefined
  /** Notes an error of a session of ours, which the host tells before the turn ends, and not always in a message. */
  noteError(session: string, error: { name: string; data?: unknown }): void
  /** Whether the session is one of ours, as far as this process has seen. */
  owns(session: string): boolean
}

/** A call that has not returned by then is told to the engine as `timeout`. */
const CALL_TIMEOUT_MS = 30_000
/** Text of an answer that is passed on; a blank in it is far shorter. */
const TEXT_MAX_CHARACTERS = 60_000
/** Messages that are read to see how a session stands; more than an attempt can make. */
const MESSAGES_MAX = 500

const HOLD_PROMPT =
  "(The engine will put the report of the mission in place of your next answer. Answer with one short sentence.)"

export function createEffects(
  client: Client,
  directory: string,
  post: (event: Event) => void,
  options: {
    readonly commander: string
    modelOf(root: string): Promise<Model | undefined>
    /** Shows a report in its session; `shown` is to be called when that has happened, or nobody wants it any more. */
    report(session: string, report: string, shown: () => void): void
    failed(what: string, error: unknown): void
  },
): Effects {
  const query = { directory }
  const queues = new Map<string, Promise<void>>()
  const owned = new Set<string>()
  const errors = new Map<string, HostError>()

  /** One after another for each session: an abort must not overtake the prompt before it. */
  function inOrder(session: string, work: () => Promise<void>) {
    const before = queues.get(session) ?? Promise.resolve()
    const after = before.then(work)
    queues.set(session, after)
    void after.finally(() => {
      if (queues.get(session) === after) queues.delete(session)
    })
  }

  /** Runs a call whose outcome the engine waits for. */
  async function settle(effect: number, work: () => Promise<Event>) {
    try {
      post(await within(CALL_TIMEOUT_MS, work()))
    } catch (error) {
      const { name, message } = error instanceof Error ? error : new Error(String(error))
      post({ type: "effectFailed", effect, error: { name, message } })
    }
  }

  /** Tells something, and the engine that it was told. What comes again may have been told before. */
  function notify(effect: { effect: number; session: string; again?: boolean }, isTold: Told, tell: () => Promise<{ error?: unknown }>) {
    void settle(effect.effect, async () => {
      if (!(effect.again && (await messagesOf(effect.session)).some(isTold))) data(await tell(), true)
      return { type: "notified", effect: effect.effect }
    })
  }

  async function messagesOf(session: string): Promise<HostMessage[]> {
    return data(await client.session.messages({ path: { id: session }, query: { ...query, limit: MESSAGES_MAX } }))
  }

  /** Runs a call that has no outcome; its failure is only noted. */
  function attempt(what: string, work: Promise<{ error?: unknown }>) {
    within(CALL_TIMEOUT_MS, work).then(
      (result) => result.error && options.failed(what, result.error),
      (error: unknown) => options.failed(what, error),
    )
  }

  function run(effect: HostEffect) {
    switch (effect.type) {
      case "openSession":
        return inOrder(effect.root, () =>
          settle(effect.effect, async () => {
            const metadata = { orchestrator: { mission: effect.mission, attempt: effect.attempt } }
            const body = { parentID: effect.root, title: effect.title, agent: effect.agent, metadata }
            const session = data(await client.session.create({ body, query }))
            owned.add(session.id)
            return { type: "sessionOpened", effect: effect.effect, session: session.id }
          }),
        )
      case "prompt":
        owned.add(effect.session)
        return inOrder(effect.session, () =>
          settle(effect.effect, async () => {
            const model = effect.model ? modelFrom(effect.model) : await options.modelOf(effect.root)
            const metadata = { orchestrator: { effect: effect.effect } }
            const parts = [{ type: "text" as const, text: effect.text, metadata }]
            const body = { agent: effect.agent, parts, ...(model && { model }) }
            data(await client.session.promptAsync({ path: { id: effect.session }, body, query }), true)
            return { type: "promptSent", effect: effect.effect }
          }),
        )
      case "abortSession":
        return inOrder(effect.session, () =>
          settle(effect.effect, async () => {
            let busy = true
            // A prompt that was taken just before may start its turn after the first abort.
            for (let tries = 0; busy && tries < 4; tries++) {
              data(await client.session.abort({ path: { id: effect.session }, query }))
              await new Promise((resolve) => setTimeout(resolve, 100))
              busy = await isBusy(effect.session)
            }
            return { type: "sessionAborted", effect: effect.effect, busy }
          }),
        )
      case "lookUpSession":
        return inOrder(effect.session ?? effect.root, () =>
          settle(effect.effect, () => lookUp(effect)),
        )
      case "refusePermission": {
        // Nobody is asked twice: a refusal that does not arrive is repeated, or the session ended.
        const path = { id: effect.session, permissionID: effect.permission }
        const call = client.postSessionIdPermissionsPermissionId({ path, body: { response: "reject" }, query })
        return attempt("refusing a permission", call)
      }
      case "showToast": {
        const body = { title: "Orchestrator", message: effect.text, variant: effect.level }
        return notify(effect, () => false, () => client.tui.showToast({ body, query }))
      }
      case "tellCommander": {
        const metadata = { orchestrator: { ours: "tell", notice: effect.effect } }
        const parts = [{ type: "text" as const, text: effect.text, metadata }]
        const body = { noReply: true, agent: options.commander, parts }
        const isTold = ({ parts }: HostMessage) => parts.some((part) => marker(part)?.["notice"] === effect.effect)
        return notify(effect, isTold, () => client.session.prompt({ path: { id: effect.session }, body, query }))
      }
      case "annotate":
        return attempt("noting the mission on its session", annotate(effect))
      case "reportMission":
        return void report(effect)
      default:
        effect satisfies never
    }
  }

  async function report({ effect, session, report, again }: Extract<Effect, { type: "reportMission" }>) {
    const shown = () => post({ type: "notified", effect })
    const isShown = ({ info, parts }: HostMessage) =>
      info.role === "assistant" && parts.some((part) => part.type === "text" && part.text?.includes(report))
    try {
      if (again && (await messagesOf(session)).some(isShown)) return shown()
    } catch (error) {
      // A session that has been deleted shows nothing any more.
      if (error instanceof Error && error.name === "NotFoundError") return shown()
      options.failed("looking for a report", error)
    }
    options.report(session, report, shown)
  }

  async function annotate(effect: Extract<Effect, { type: "annotate" }>) {
    const path = { id: effect.session }
    // The client's types are older than the host: a session has metadata, read and written as a whole.
    const session: object & { metadata?: object } = data(await client.session.get({ path, query }))
    const { mission, stage, done, total } = effect
    const body: object = { metadata: { ...session.metadata, orchestrator: { mission, stage, done, total } } }
    return client.session.update({ path, body, query })
  }

  async function isBusy(session: string) {
    const status = data(await client.session.status({ query }))[session]
    return status !== undefined && status.type !== "idle"
  }

  async function lookUp(effect: Extract<Effect, { type: "lookUpSession" }>): Promise<Event> {
    const found = { type: "sessionLookedUp" as const, effect: effect.effect }
    const session = effect.session ?? (await childOf(effect.root, effect.attempt))
    const missing = { ...found, session: null, prompted: false, busy: false, facts: null }
    if (session === undefined) return missing
    const result = await client.session.messages({ path: { id: session }, query: { ...query, limit: MESSAGES_MAX } })
    if (result.response.status === 404) return missing
    const messages = data(result)
    owned.add(session)
    const busy = await isBusy(session)
    const at = messages.findLastIndex((message) => promptOf(message) === effect.prompt)
    const prompted = effect.prompt != null && at >= 0
    const facts = prompted ? factsOf(messages.slice(at + 1)) : null
    return { ...found, session, prompted, busy, facts }
  }

  async function childOf(root: string, attempt: number) {
    const children = data(await client.session.children({ path: { id: root }, query }))
    return children.find((child) => marker(child)?.["attempt"] === attempt)?.id
  }

  return {
    run,
    owns: (session) => owned.has(session),
    async hold(session, now) {
      const metadata = { orchestrator: { ours: "hold" } }
      const parts = [{ type: "text" as const, text: HOLD_PROMPT, synthetic: true, metadata }]
      const call = { path: { id: session }, query, body: { agent: options.commander, parts } }
      const prompted: Promise<{ error?: unknown }> = now
        ? client.session.promptAsync(call)
        : client.session.prompt({ ...call, body: { ...call.body, noReply: true } })
      await within(CALL_TIMEOUT_MS, prompted).then(
        ({ error }) => error && options.failed("holding a turn", error),
        (error: unknown) => options.failed("holding a turn", error),
      )
    },
    ours(parts) {
      const ours = parts.map((part) => marker(part)?.["ours"])
      return ours.find((kind) => kind === "hold" || kind === "tell")
    },
    noteError(session, error) {
      errors.set(session, errorOf(error))
      post({ type: "sessionErred", session, error: errorOf(error) })
    },
    async turn(session) {
      const result = client.session.messages({ path: { id: session }, query: { ...query, limit: MESSAGES_MAX } })
      const messages = data(await within(CALL_TIMEOUT_MS, result))
      const at = messages.findLastIndex((message) => promptOf(message) !== undefined)
      const prompt = messages[at] && promptOf(messages[at])
      const noted = errors.get(session) ?? null
      errors.delete(session)
      const facts = factsOf(messages.slice(at + 1)) ?? { finish: null, error: null, text: "" }
      return { prompt: prompt ?? null, facts: facts.finish ? facts : { ...facts, error: facts.error ?? noted } }
    },
  }
}

type Told = (message: HostMessage) => boolean

interface HostMessage {
  info: { role: string; finish?: string; error?: { name: string; data?: unknown } }
  parts: { type: string; text?: string; metadata?: unknown }[]
}

/** What we noted in the metadata of a session or a part. */
function marker(holder: { metadata?: unknown } | object): Record<string, unknown> | undefined {
  const metadata = (holder as { metadata?: { orchestrator?: Record<string, unknown> } }).metadata
  return metadata?.orchestrator
}

/** The number of our prompt, if the message is one. */
function promptOf(message: HostMessage): number | undefined {
  if (message.info.role !== "user") return undefined
  const effects = message.parts.map((part) => marker(part)?.["effect"])
  return effects.find((effect) => typeof effect === "number")
}

/** How the last answer among the messages ended; `null` when there is none. */
function factsOf(messages: HostMessage[]): TurnFacts | null {
  const last = messages.findLast((message) => message.info.role === "assistant")
  if (!last) return null
  const { finish, error } = last.info
  const text = last.parts.map((part) => (part.type === "text" ? (part.text ?? "") : "")).join("\n")
  return {
    finish: finish ?? null,
    error: error ? errorOf(error) : null,
    text: text.slice(-TEXT_MAX_CHARACTERS).toWellFormed(),
  }
}

/** The two names in `provider/model`; the model's own may have slashes. */
function modelFrom(text: string): Model {
  const [providerID = "", ...rest] = text.split("/")
  return { providerID, modelID: rest.join("/") }
}

function errorOf(error: { name: string; data?: unknown }): HostError {
  const { statusCode, responseHeaders } = (error.data ?? {}) as { statusCode?: unknown; responseHeaders?: Record<string, string> }
  const status = typeof statusCode === "number" ? statusCode : undefined
  const retryAfterMs = responseHeaders && retryAfterOf(responseHeaders)
  return {
    name: error.name,
    message: messageOf(error.data),
    ...(status !== undefined && { status }),
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  }
}

/** How long a provider asks to be left alone, in ms: `retry-after-ms`, or `retry-after` as seconds or as a date. */
function retryAfterOf(headers: Record<string, string>): number | undefined {
  const ms = Number.parseFloat(headers["retry-after-ms"] ?? "")
  const after = headers["retry-after"] ?? ""
  const wait = ms >= 0 ? ms : /^[\d.]+$/.test(after) ? Number(after) * 1_000 : Date.parse(after) - Date.now()
  return Number.isFinite(wait) ? Math.max(0, Math.round(wait)) : undefined
}

function messageOf(details: unknown): string {
  const message = (details as { message?: unknown } | undefined)?.message
  return (typeof message === "string" ? message : JSON.stringify(details ?? null)).slice(0, 2_000).toWellFormed()
}

/** The data of a client call, or its error as an exception. */
function data<T>(result: { data?: T; error?: unknown; response?: Response }, empty = false): NonNullable<T> {
  if (result.error || (!empty && result.data == null)) {
    const { name, data } = (result.error ?? {}) as { name?: string; data?: unknown }
    const error = new Error(messageOf(data ?? result.error ?? `HTTP status ${result.response?.status}`))
    error.name = name ?? "HostError"
    throw error
  }
  return result.data as NonNullable<T>
}

function within<T>(ms: number, work: Promise<T>): Promise<T> {
  const error = new Error(`no answer within ${ms / 1000} s`)
  error.name = "timeout"
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(error), ms)
    work.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}

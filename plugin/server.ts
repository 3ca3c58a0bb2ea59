/**
 * The OpenCode plugin: hooks and host events become engine events, effects become client calls. It decides nothing, and
 * a failure of ours never reaches the host: the one deliberate throw is the refusal of a call in `tool.execute.before`.
 */
import type { Config, Hooks, PluginInput, PluginModule, PluginOptions } from "@opencode-ai/plugin"
import { builtins } from "./builtins.ts"
import type { Event as HostEvent } from "@opencode-ai/sdk"
import { createEffects, type Model } from "./effects.ts"
import { createFollow } from "./follow.ts"
import { createHooks, handler } from "./hooks.ts"
import {
  checkOptions,
  hasJournal,
  limitsTable,
  openEngine,
  OrchestratorError,
  readMissions,
  type Engine,
} from "./native.ts"
import type { Answer, Event, Limits, Scheduling } from "./protocol.ts"
import { register, ROLES, type CommandName, type Registered, type RoleName } from "./roles.ts"
import { createTools, definitions, OPTIONAL_TOOLS } from "./tools.ts"
import { createWatch, limitSilence } from "./watch.ts"

/** Agents of the host that work for a session without being its turn. */
const HOUSEKEEPING = new Set(["title", "compaction", "summary"])
/** The engine doubles the time before it tries again; by then it has failed several times in a row. */
const GIVE_UP_RETRY_MS = 8_000
/** How often a process looks whether the one that has the project has ended. */
const SUCCESSION_MS = 2_000
/** OpenCode breaks turns off before it ends, or loads the plugin anew: within this time it is not the user who did it. */
const ENDING_MS = 500
const ENDING_MAX_MS = 5_000
/** How long a child's first prompt waits to learn which model the user's session speaks with. */
const MODEL_WAIT_MS = 2_000

async function server(input: PluginInput, options?: PluginOptions): Promise<Hooks> {
  const { client, directory } = input
  const { replaceBuiltins, maskSecrets, tools: enabled, ...settings } = settingsOf(options)
  const { limits } = settings
  const defaults = new Map(limitsTable().map((limit) => [limit.name, limit.default]))
  /** The limit in force at the start; `undefined` when there is none of this name. */
  const limitOf = (name: string) => (limits as Record<string, number>)[name] ?? defaults.get(name)
  const models = new Map<string, Model>()
  let registered: Registered | undefined
  let isEnding = false
  /** When a session of ours was last broken off. */
  let brokenOffAt = 0
  let engine: Engine | undefined

  const post = (event: Event) => engine?.post(event)
  const failed = (what: string, error: unknown) => {
    const message = `${what}: ${error instanceof Error ? error.message : JSON.stringify(error)}`
    // The log is the last resort; when it cannot be had either, there is nobody left to tell.
    client.app.log({ body: { service: "orchestrator", level: "error", message } }).catch(() => {})
  }
  const toast = (variant: "success" | "warning" | "error", message: string) =>
    client.tui
      .showToast({ body: { title: "Orchestrator", variant, message }, query: { directory } })
      .catch((error: unknown) => failed("showing a toast", error))

  const follow = createFollow(() => engine, (session, now) => effects.hold(session, now))
  const effects = createEffects(client, directory, post, {
    get commander() {
      return registered?.agents.commander ?? "commander"
    },
    modelOf,
    report: follow.report,
    failed,
  })
  const watch = createWatch(effects, post)
  const own = createTools({
    directory,
    engine: () => engine,
    isOwned: (session) => effects.owns(session),
    show: follow.say,
    refusal: (session, path) => refusalOf(session, "edit", { filePath: path }),
    enabled,
    maskSecrets,
  })
  const tools = { ...own, ...(replaceBuiltins ? builtins() : {}) }
  /** Runs while another process has the project, to carry its missions on when that ends. */
  let succession: ReturnType<typeof setInterval> | undefined

  /** Why a call that would write may not be made; `undefined` when it may, or writes nothing. */
  async function refusalOf(session: string, tool: string, args: unknown): Promise<string | undefined> {
    if (!engine) return undefined
    const answer = await engine
      .ask({ type: "mayCall", session, tool, args })
      // An engine that has just been closed answers nothing, and then guards nothing either.
      .catch((error: unknown) => failed("asking for a lease", error))
    const verdict = answer as { allowed: boolean; reason?: string; unavailable?: boolean } | undefined
    // While the engine is being rebuilt nobody knows who holds what; the user's own sessions need no lease.
    if (verdict?.allowed !== false || (verdict.unavailable && !effects.owns(session))) return undefined
    return verdict.reason ?? "This session may not write."
  }

  /** The model with which the user's session speaks; its children use the same. */
  async function modelOf(root: string): Promise<Model | undefined> {
    for (const end = Date.now() + MODEL_WAIT_MS; ; ) {
      const known = models.get(root)
      if (known) return known
      const { data } = await client.session.messages({ path: { id: root }, query: { directory, limit: 20 } })
      const last = data?.findLast(({ info }) => info.role === "user" && info.model)
      if (last?.info.role === "user") {
        models.set(root, last.info.model)
        return last.info.model
      }
      if (Date.now() > end) return undefined
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  /** Opens the engine if it is not open. @throws OrchestratorError when another process has the project */
  function open(): Engine {
    if (engine) return engine
    const { planner, worker, reviewer } = registered?.agents ?? { planner: "planner", worker: "worker", reviewer: "reviewer" }
    engine = openEngine(
      { directory, ...settings, agents: { planner, worker, reviewer } },
      {
        effect: (effect) => {
          switch (effect.type) {
            case "takeSnapshot":
            case "runChecks":
            case "cancelChecks":
            case "killCommands":
            case "renderTodo":
              return failed("an effect of the native side came out", effect.type)
            default:
              return effects.run(effect)
          }
        },
        ready: ({ reaped }) => {
          if (reaped.length === 0) return
          const text = `Commands that an earlier process had left running were ended: ${reaped.join(", ")}`
          failed("starting", new Error(text))
          void toast("warning", text)
        },
        fault: ({ code, message, retryMs, again }) => {
          if (!again) {
            failed(code, new Error(message))
            void toast("error", retryMs > 0 ? `Missions wait: ${message}` : message)
          }
          if (retryMs >= GIVE_UP_RETRY_MS) follow.fault(`The engine cannot go on: ${message} (${code})`)
        },
        recovered: ({ code }) => {
          void toast("success", `Missions go on: what stood against it is over (${code}).`)
        },
      },
    )
    return engine
  }

  /** Runs one of our commands and gives what its answer shall be. */
  async function command(name: CommandName, session: string, words: string): Promise<void> {
    const say = (text: string) => follow.command(session, { kind: "say", text })
    try {
      if (name === "review" || name === "search") return follow.command(session, { kind: "own" })
      if (name === "agents") return say(agentsText(await modelOf(session)))
      if (name === "status" && !engine && !isUnfinished(directory)) return say(statusFromDisk(directory))
      const running = open()
      switch (name) {
        case "task":
        case "plan":
        case "fix": {
          const answer = await running.request({ type: "missionRequested", session, objective: unquote(words), kind: name })
          if (answer.kind === "refused") return say(refusal(answer))
          // Limits are of no mission.
          const follows = typeof answer.mission === "number" && (await running.ask({ type: "follows", session }))
          return follows ? follow.command(session, { kind: "follow" }) : say(answer.text)
        }
        case "stop": {
          const answer = await running.request({ type: "stopRequested", session })
          return say(answer.kind === "accepted" ? answer.text : refusal(answer))
        }
        case "status": {
          const status = (await running.ask({ type: "status", session })) as { text: string }
          return say(status.text)
        }
        default:
          return name satisfies never
      }
    } catch (error) {
      if (isHeld(error)) {
        succeed()
        if (name === "status") return say(`${statusFromDisk(directory)}\n\n${error.message}`)
      }
      failed(`/${name}`, error)
      say(error instanceof Error ? error.message : String(error))
    }
  }

  /** Goes on with what an earlier process left unfinished. */
  function resume() {
    try {
      if (isUnfinished(directory)) open()
    } catch (error) {
      // Another process has the project, and carries its missions on itself, as long as it lives.
      if (isHeld(error)) return succeed()
      failed("resuming", error)
      void toast("error", error instanceof Error ? error.message : String(error))
    }
  }

  /** Waits for the process that has the project to end, and then goes on with what it leaves unfinished. */
  function succeed() {
    if (succession) return
    succession = setInterval(() => {
      try {
        if (engine || !isUnfinished(directory)) return
        open()
        void toast("warning", "The process that ran the missions of this project has ended. This one carries them on.")
      } catch (error) {
        if (isHeld(error)) return
        failed("taking the project over", error)
      }
      clearInterval(succession)
      succession = undefined
    }, SUCCESSION_MS)
    succession.unref()
  }

  /** Who plays what, under which names the host knows them, and with which model. */
  function agentsText(model: Model | undefined): string {
    const names = registered?.agents
    const lines = Object.entries(ROLES).map(([role, { description }]) => {
      const lane = limitOf(`${role}Slots`)
      const own = (settings.scheduling.models as Record<string, string> | undefined)?.[role]
      const more = [lane === undefined ? "" : ` A lane of ${lane} sessions.`, own ? ` Model: ${own}.` : ""].join("")
      return `- ${names?.[role as RoleName] ?? role}: ${description}${more}`
    })
    const speaks = model ? `${model.providerID}/${model.modelID}` : "the one that this session will speak with"
    return `${lines.join("\n")}\n\nModel where none is named, in a mission of this session: ${speaks}.`
  }

  // What the plugin itself does at a hook, under names before or after which other plugins can put theirs.
  const runner = createHooks(
    [
      handler({
        point: "chat.message",
        name: "orchestrator.protocol",
        async run({ sessionID, model }, output) {
          if (effects.owns(sessionID)) return
          const spoken = output.message.model ?? model
          if (spoken) {
            models.set(sessionID, spoken)
            post({ type: "modelNoted", session: sessionID, model: `${spoken.providerID}/${spoken.modelID}` })
          }
          const isAnswered = follow.message(sessionID, output.message.id, effects.ours(output.parts))
          if (isAnswered || !engine || !registered) return
          // While a mission runs, its commander speaks in this session.
          if (await engine.ask({ type: "follows", session: sessionID })) output.message.agent = registered.agents.commander
        },
      }),
      handler({
        point: "chat.params",
        name: "orchestrator.protocol",
        run({ sessionID, agent }) {
          if (!HOUSEKEEPING.has(agent) && effects.owns(sessionID)) post({ type: "stepStarted", session: sessionID })
        },
      }),
      handler({
        point: "chat.params",
        name: "orchestrator.ui",
        // It holds the turn while a mission runs: nobody should wait behind it.
        phase: "late",
        async run({ sessionID, agent, message }) {
          if (!HOUSEKEEPING.has(agent) && !effects.owns(sessionID)) await follow.request(sessionID, message.id)
        },
      }),
      handler({
        point: "experimental.text.complete",
        name: "orchestrator.ui",
        async run({ sessionID }, output) {
          if (!effects.owns(sessionID)) output.text = await follow.complete(sessionID, output.text)
        },
      }),
      handler({
        point: "tool.execute.before",
        name: "orchestrator.ui",
        phase: "early",
        run({ sessionID }) {
          if (!effects.owns(sessionID)) follow.tool(sessionID)
        },
      }),
      handler({
        point: "tool.execute.before",
        name: "orchestrator.protocol",
        run({ tool, sessionID }) {
          watch.calls({ tool, sessionID })
        },
      }),
      handler({
        point: "tool.execute.before",
        name: "orchestrator.ownership",
        async run({ tool, sessionID }, { args }) {
          const reason = await refusalOf(sessionID, tool, args ?? null)
          if (reason !== undefined) throw new Error(reason)
        },
      }),
      handler({
        point: "tool.execute.after",
        name: "orchestrator.protocol",
        run: (call, output) => watch.answered(call, output),
      }),
      handler({
        point: "shell.env",
        name: "orchestrator.safety",
        // By these the commands of a session are found when it is to end.
        run({ sessionID }, { env }) {
          if (engine && sessionID && effects.owns(sessionID)) Object.assign(env, engine.environment(sessionID))
        },
      }),
      handler({
        point: "experimental.session.compacting",
        name: "orchestrator.protocol",
        async run({ sessionID }, { context }) {
          if (!effects.owns(sessionID)) return
          const reminder = (await engine?.ask({ type: "reminder", session: sessionID })) as { text: string } | null | undefined
          if (reminder?.text) context.push(reminder.text)
        },
      }),
      handler({
        point: "experimental.compaction.autocontinue",
        name: "orchestrator.safety",
        // The engine has the session aborted; until then it would only grow too long again.
        run({ sessionID, overflow }, output) {
          if (overflow && effects.owns(sessionID)) output.enabled = false
        },
      }),
      handler({
        point: "event",
        name: "orchestrator.protocol",
        run: ({ event }) => heard(event as HostEvent),
      }),
      handler({
        point: "shutdown",
        name: "orchestrator.engine",
        // What was acknowledged is durable already, so whoever wants the engine once more comes first.
        phase: "late",
        run() {
          clearInterval(succession)
          engine?.close()
          engine = undefined
        },
      }),
    ],
    failed,
  )

  /** Makes events of the engine of what the host tells. */
  async function heard(event: HostEvent) {
    watch.heard(event)
    switch (event.type) {
      case "message.part.updated": {
        const { part } = event.properties
        if (part.type === "step-finish" && effects.owns(part.sessionID)) {
          post({ type: "stepFinished", session: part.sessionID, finish: part.reason })
        }
        return
      }
      case "message.updated": {
        const { info } = event.properties
        if (info.role !== "assistant" || !effects.owns(info.sessionID)) return
        const { input, output, reasoning, cache } = info.tokens
        const tokens = input + output + reasoning + cache.read + cache.write
        if (tokens === 0 && info.cost === 0) return
        // Whole numbers, which are the same wherever they are read back.
        const costMicros = Math.round(info.cost * 1e6)
        return post({ type: "usageReported", session: info.sessionID, message: info.id, tokens, costMicros })
      }
      case "session.error": {
        const { sessionID: session, error } = event.properties
        if (!session || !error) return
        if (effects.owns(session)) {
          if (error.name === "MessageAbortedError") brokenOffAt = Date.now()
          effects.noteError(session, error)
        } else if (error.name === "MessageAbortedError") {
          follow.broken(session)
          interrupted(session, ENDING_MS)
        }
        return
      }
      case "session.idle": {
        const session = event.properties.sessionID
        if (!effects.owns(session)) return follow.idle(session)
        const { prompt, facts } = await effects.turn(session)
        post({ type: "turnEnded", session, prompt, facts })
        return
      }
      default:
        return
    }
  }

  /** Pauses what the session follows, unless OpenCode ends. Where our own sessions were broken off as well, it probably does. */
  function interrupted(session: string, waitMs: number) {
    setTimeout(() => {
      if (isEnding) return
      const isProbable = Date.now() - brokenOffAt < 2 * ENDING_MS
      if (isProbable && waitMs < ENDING_MAX_MS) return interrupted(session, ENDING_MAX_MS)
      post({ type: "interrupted", session, cause: "user" })
    }, waitMs)
  }

  const hooks: Hooks = {
    async config(config: Config) {
      limitSilence(config, limitOf("silenceMs") ?? 0)
      registered = register(config)
      for (const [name, ours] of registered.renamed) failed("configuration", new Error(`${name} is taken; ours is ${ours}`))
      resume()
    },

    tool: definitions(tools),

    async "tool.definition"({ toolID }, output: { description: string; parameters: unknown; jsonSchema?: object }) {
      const tool = tools[toolID]
      if (tool) output.jsonSchema = tool.schema
    },

    async "command.execute.before"({ command: name, sessionID, arguments: words }, output) {
      const ours = registered?.commands.get(name)
      if (!ours) return
      await command(ours, sessionID, words)
      if (ours === "search") return
      // People see what was typed, the model what to make of it.
      const prompt = ours === "review" ? REVIEW_PROMPT : MISSION_COMMANDS.has(ours) ? TASK_PROMPT : COMMAND_PROMPT
      const parts = [
        { type: "text", text: `/${name} ${words}`.trimEnd() },
        { type: "text", text: prompt, synthetic: true },
      ]
      output.parts.splice(0, output.parts.length, ...(parts as typeof output.parts))
    },

    "chat.message": (input, output) => runner.run("chat.message", input, output),

    async "experimental.chat.messages.transform"(_, { messages }) {
      // A message that holds the turn may have come in between the calls of tools and the answer that reads their results.
      const intrudes = (index: number) => {
        const before = messages[index - 1]?.info
        if (before?.role !== "assistant" || before.finish !== "tool-calls") return false
        return effects.ours(messages[index]?.parts ?? []) === "hold"
      }
      for (let index = messages.length; index-- > 1; ) if (intrudes(index)) messages.splice(index, 1)
    },

    "chat.params": (input, output) => runner.run("chat.params", input, output),

    "experimental.text.complete": (input, output) => runner.run("experimental.text.complete", input, output),

    "tool.execute.before": (input, output) => runner.run("tool.execute.before", input, output),

    "tool.execute.after": (input, output) => runner.run("tool.execute.after", input, output),

    "shell.env": (input, output) => runner.run("shell.env", input, output),

    "experimental.session.compacting": (input, output) => runner.run("experimental.session.compacting", input, output),

    "experimental.compaction.autocontinue": (input, output) => runner.run("experimental.compaction.autocontinue", input, output),

    event: (input) => runner.run("event", input),

    dispose() {
      isEnding = true
      return runner.shutdown(limitOf("shutdownMs") ?? 0)
    },
  }
  return guarded(hooks, failed)
}

/** Hooks that never throw at the host, except to refuse a call. */
function guarded(hooks: Hooks, failed: (what: string, error: unknown) => void): Hooks {
  const entries = Object.entries(hooks).map(([name, hook]) => {
    if (typeof hook !== "function" || name === "tool.execute.before") return [name, hook]
    const guarded = async (...args: unknown[]) => {
      try {
        await (hook as (...args: unknown[]) => Promise<void>)(...args)
      } catch (error) {
        failed(name, error)
      }
    }
    return [name, guarded]
  })
  return Object.fromEntries(entries) as Hooks
}

const TASK_PROMPT =
  "A mission was started. The engine carries it out and will put its report in place of your answer. " +
  "Answer now with one short sentence."
/** Commands that may begin a mission, whose report then is the answer. */
const MISSION_COMMANDS: ReadonlySet<CommandName> = new Set(["task", "plan", "fix"])
const REVIEW_PROMPT =
  "Review the changes of the working tree, which git_status and git_diff show, as far as the user asks for no more or less. " +
  "Then call submit_review."
const COMMAND_PROMPT = "The engine answers this command itself. Answer with one short sentence."

/** What the plugin's options say. */
interface Settings {
  limits: Limits
  scheduling: Scheduling
  /** Whether our tools take the place of the host's `grep` and `glob`. */
  replaceBuiltins: boolean
  /** Whether plans wait for the user. */
  approval: "auto" | "ask"
  /** Whether secrets are masked in what tools answer to a model. */
  maskSecrets: boolean
  /** `false` for tools that are switched off. */
  tools: Record<string, boolean>
}

/** @throws Error naming every mistake in the plugin's options */
function settingsOf(options: PluginOptions = {}): Settings {
  const mistakes = checkOptions(options)
  const { limits = {}, replaceBuiltins = false, approval = "auto", maskSecrets = true, tools = {}, ...scheduling } = options
  for (const name of Object.keys(tools ?? {})) {
    if (OPTIONAL_TOOLS.includes(name)) continue
    mistakes.push({ path: `tools.${name}`, message: `no such tool; known are ${OPTIONAL_TOOLS.join(", ")}` })
  }
  if (mistakes.length === 0) return { limits, replaceBuiltins, approval, maskSecrets, tools, scheduling } as Settings
  const lines = mistakes.map(({ path, message }) => `${path}: ${message}`)
  throw new Error(`options of the orchestrator plugin: ${lines.join("; ")}`)
}

/** The words of a command without the quotes that a shell, or the user, put around them. */
function unquote(words: string): string {
  const text = words.trim()
  const inner = /^"([^]*)"$/.exec(text)?.[1]
  return inner === undefined ? text : inner.replaceAll('\\"', '"')
}

function refusal(answer: Answer): string {
  return answer.kind === "refused" ? `${answer.text} (${answer.code})` : answer.text
}

function isHeld(error: unknown): error is OrchestratorError {
  return error instanceof OrchestratorError && error.code === "OWNER_LOCK_HELD"
}

const ENDED = new Set(["sealed", "stopped", "failed"])

/** Whether there is something to go on with: a mission that has not ended, or one whose end has not been told. */
function isUnfinished(directory: string): boolean {
  return hasJournal(directory) && readMissions(directory).some(({ stage, untold }) => !ENDED.has(stage) || untold > 0)
}

/** The missions as the process that runs them last wrote them down. */
function statusFromDisk(directory: string): string {
  const missions = hasJournal(directory) ? readMissions(directory) : []
  if (missions.length === 0) return 'There has been no mission in this project. /task "…" starts one.'
  return missions
    .map(({ headline, tasks }) => [headline, ...tasks.map((task) => `- ${task.id} ${task.state}: ${task.title}`)].join("\n"))
    .join("\n\n")
}

export default { id: "opencode-orchestrator", server } satisfies PluginModule

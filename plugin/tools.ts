/**
 * The tools of a mission: typed blanks that a role fills in, and tools on files. Arguments go to the native side as they
 * are; it validates them and answers with the path of every mistake. What only the host can say is asked here: whether a
 * folder outside the project may be reached, and whether files may be edited.
 */
import { join, relative } from "node:path"
import type { ToolContext, ToolDefinition, ToolResult } from "@opencode-ai/plugin"
import {
  astReplace,
  blankSchema,
  OrchestratorError,
  readReview,
  replace,
  toolSchemas,
  toolText,
  type Engine,
  type ToolContext as Reach,
  type ToolName,
} from "./native.ts"
import type { Answer } from "./protocol.ts"

/** A tool as it is registered. */
export interface Tool {
  description: string
  /** JSON schema of the arguments, made from the Rust types. */
  schema: object
  execute(args: unknown, context: ToolContext): Promise<ToolResult>
}

const NO_MISSION = "There is no mission in this project. The user starts one with /task."

const BLANKS = {
  submit_plan: { blank: "plan", description: "Submit the plan of the mission. The answer names every mistake, or says it was taken." },
  submit_work: { blank: "work", description: "Submit the work on your task, when it is finished. It is checked and reviewed then." },
  submit_review: { blank: "review", description: "Submit your verdict on the work you were asked to review." },
  revise_plan: { blank: "revision", description: "Change the plan of the running mission. The answer names every mistake, or says it was taken." },
} as const

/** Names that models know a tool by. What they take is described once, so that a request carries it once. */
const ALIASES: Record<string, ToolName> = { sed_replace: "replace" }

/** The tools that write files, with what says beforehand which. */
const EDITING = { replace, ast_replace: astReplace }

const described = toolSchemas()

/** The tools on files, by the name under which a model calls them. */
const FILE_TOOLS: Record<string, ToolName> = {
  ...Object.fromEntries((Object.keys(described) as ToolName[]).map((name) => [name, name])),
  ...ALIASES,
}

/** The tools that the plugin's options can switch off. A mission cannot do without the others. */
export const OPTIONAL_TOOLS: readonly string[] = Object.keys(FILE_TOOLS)

/** Every tool we register; ordinary sessions are not shown any. */
export const TOOL_NAMES = [...Object.keys(BLANKS), "mission_status", ...OPTIONAL_TOOLS]

/** What tools ask of the rest of the plugin, and what its options say of them. */
export interface ToolHost {
  directory: string
  /** The engine of the project if it is open. */
  engine(): Engine | undefined
  /** Whether a session is one of a mission; the others are the user's own. */
  isOwned(session: string): boolean
  /** Puts a text in the place of the answer in one of the user's own sessions. */
  show(session: string, text: string): void
  /** Why a session may not write a file, given relative to the project; `undefined` when it may. */
  refusal(session: string, path: string): Promise<string | undefined>
  /** `false` for those that are switched off. */
  enabled: Record<string, boolean>
  maskSecrets: boolean
}

export function createTools({ directory, engine, isOwned, show, refusal, enabled, maskSecrets }: ToolHost): Record<string, Tool> {
  /** Takes a review that the user asked for, of no mission. */
  function review(args: unknown, { sessionID }: ToolContext): Answer {
    const answer = readReview(args)
    if (answer.kind === "refused") return answer
    show(sessionID, answer.text)
    return { ...answer, text: "Taken, and shown to the user. End your turn with one short sentence." }
  }

  async function submit(name: keyof typeof BLANKS, args: unknown, context: ToolContext): Promise<Answer> {
    if (name === "submit_review" && !isOwned(context.sessionID)) return review(args, context)
    const open = engine()
    if (!open) return { kind: "refused", code: "NO_MISSION", text: NO_MISSION }
    const { sessionID: session } = context
    switch (name) {
      case "submit_plan":
        return open.request({ type: "planSubmitted", session, plan: args, denied: await denied(open, args, context) })
      case "submit_work":
        return open.request({ type: "workSubmitted", session, work: args })
      case "submit_review":
        return open.request({ type: "reviewSubmitted", session, review: args })
      case "revise_plan":
        return open.request({ type: "planRevised", session, revision: args, denied: await denied(open, args, context) })
      default:
        return name satisfies never
    }
  }

  const tools: Record<string, Tool> = {
    mission_status: {
      description: "How the missions of this project stand: stage, tasks, sessions.",
      schema: { type: "object", properties: {}, additionalProperties: false },
      async execute(_, context) {
        const status = await engine()?.ask({ type: "status", session: context.sessionID })
        return status ? (status as { text: string }).text : NO_MISSION
      },
    },
  }
  for (const [name, { blank, description }] of Object.entries(BLANKS)) {
    tools[name] = {
      description,
      schema: lean(blankSchema(blank)),
      execute: async (args, context) => (await submit(name as keyof typeof BLANKS, args, context)).text,
    }
  }
  for (const [name, native] of Object.entries(FILE_TOOLS)) {
    if (enabled[name] === false) continue
    const { description, options } = described[native]
    const isAlias = name !== native
    tools[name] = {
      description: isAlias ? `The same as ${native}, with its arguments.` : description,
      schema: isAlias ? { type: "object" } : lean(options),
      execute: (args, context) => onFiles(native, args, context),
    }
  }

  /** Runs a tool on files, after what it needs leave for has got it. */
  async function onFiles(name: ToolName, args: unknown, context: ToolContext): Promise<string> {
    const reach: Reach = { cwd: directory, signal: context.abort, index: true, maskSecrets }
    if (!(name in EDITING) || !isApplied(args)) return reaching(reach, context, (reach) => toolText(name, args, reach))
    return reaching(reach, context, async (reach) => {
      // Which files are meant is known only after a search: first it is made without a change.
      const preview = await EDITING[name as keyof typeof EDITING]({ ...args, apply: false }, reach)
      const files = preview.files.map(({ path }) => path)
      for (const reason of await Promise.all(files.map((file) => refusal(context.sessionID, file)))) {
        if (reason !== undefined) throw new Error(`Nothing was changed. ${reason}`)
      }
      if (files.length > 0) {
        const patterns = files.map((file) => relative(context.worktree, join(directory, file)))
        await ask(context, "edit", patterns, ["*"], { filepath: patterns.join(", "), diff: preview.diff }, "Nothing was changed")
      }
      return toolText(name, args, { ...reach, leased: files })
    })
  }

  return tools
}

function isApplied(args: unknown): args is { apply: true; pattern: string; replacement: string } {
  return typeof args === "object" && args !== null && "apply" in args && args.apply === true
}

/** Runs a tool; when it needs a folder outside the project the user's permissions are asked, and it runs again. */
async function reaching(reach: Reach, context: ToolContext, run: (reach: Reach) => Promise<string>): Promise<string> {
  try {
    return await run(reach)
  } catch (error) {
    const folder = error instanceof OrchestratorError ? error.folder : undefined
    if (folder === undefined || reach.granted?.includes(folder)) throw error
    const pattern = join(folder, "*")
    await ask(context, "external_directory", [pattern], [pattern], { filepath: folder, parentDir: folder }, (error as Error).message)
    return reaching({ ...reach, granted: [...(reach.granted ?? []), folder] }, context, run)
  }
}

/** Asks for one of the host's permissions. @throws Error that says `without` and why, when it is denied */
async function ask(context: ToolContext, permission: string, patterns: string[], always: string[], metadata: object, without: string) {
  try {
    await context.ask({ permission, patterns, always, metadata })
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new Error(`${without}: the permission ${permission} was denied for ${patterns.join(", ")}. ${why}`, { cause })
  }
}

/** Leaves out what only a validator would use: every request of every session carries these schemas. */
function lean(schema: object): object {
  const entries = Object.entries(schema).filter(([key]) => !["$schema", "title", "format", "default"].includes(key))
  return Object.fromEntries(
    entries.map(([key, value]) => {
      if (key !== "properties") return [key, leanValue(value)]
      // Below `properties` keys are names of fields, one of which may well be `title`.
      return [key, Object.fromEntries(Object.entries(value as object).map(([name, field]) => [name, leanValue(field)]))]
    }),
  )
}

function leanValue(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(leanValue)
  return typeof value === "object" && value !== null ? lean(value) : value
}

/** The commands among those of a blank that the host's permissions refuse; the user is asked where a rule says so. */
async function denied(engine: Engine, value: unknown, context: ToolContext): Promise<string[][]> {
  const commands = (await engine.ask({ type: "commandsOf", value })) as string[][]
  const refused: string[][] = []
  for (const command of commands) {
    const text = command.join(" ")
    try {
      await context.ask({ permission: "check_command", patterns: [text], always: [text], metadata: { command: text } })
    } catch {
      // Denied by a rule, or by the user; the blank's answer names the command.
      refused.push(command)
    }
  }
  return refused
}

/** The tools as the host wants them. Their schemas are set by the `tool.definition` hook. */
export function definitions(tools: Record<string, Tool>): Record<string, ToolDefinition> {
  const entries = Object.entries(tools).map(([name, { description, execute }]) => {
    const definition: ToolDefinition = { description, args: {}, execute: (args, context) => execute(args, context) }
    return [name, definition] as const
  })
  return Object.fromEntries(entries)
}

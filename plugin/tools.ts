/**
 * The tools of a mission: typed blanks that a role fills in, and searches. Arguments go to the native side as they are;
 * it validates them and answers with the path of every mistake.
 */
import type { ToolContext, ToolDefinition, ToolResult } from "@opencode-ai/plugin"
import { blankSchema, readReview, toolSchemas, toolText, type Engine, type ToolName } from "./native.ts"
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

/** The native tools that roles use. */
const NATIVE: readonly ToolName[] = ["grep_search", "glob_search", "ast_search"]

/** Every tool we register; ordinary sessions are not shown any. */
export const TOOL_NAMES = [...Object.keys(BLANKS), "mission_status", ...NATIVE]

/**
 * Makes the tools. `engine` gives the engine of the project if it is open; `show` puts a text in the place of the
 * answer in one of the user's own sessions, which are those that are not `isOwned`.
 */
export function createTools(
  directory: string,
  engine: () => Engine | undefined,
  users: { isOwned(session: string): boolean; show(session: string, text: string): void },
): Record<string, Tool> {
  /** Takes a review that the user asked for, of no mission. */
  function review(args: unknown, { sessionID }: ToolContext): Answer {
    const answer = readReview(args)
    if (answer.kind === "refused") return answer
    users.show(sessionID, answer.text)
    return { ...answer, text: "Taken, and shown to the user. End your turn with one short sentence." }
  }

  async function submit(name: keyof typeof BLANKS, args: unknown, context: ToolContext): Promise<Answer> {
    if (name === "submit_review" && !users.isOwned(context.sessionID)) return review(args, context)
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
  const schemas = toolSchemas()
  for (const name of NATIVE) {
    tools[name] = {
      description: schemas[name].description,
      schema: lean(schemas[name].options),
      execute: (args, context) => toolText(name, args, { cwd: directory, signal: context.abort }),
    }
  }
  return tools
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

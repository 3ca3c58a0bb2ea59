/**
 * Watches the sessions of missions: what the host and its tools tell of them becomes events, so that the engine can end
 * what goes wrong before the turn does. Nothing is decided here.
 */
import type { Config } from "@opencode-ai/plugin"
import type { Effects } from "./effects.ts"
import type { Event, ToolFailure } from "./protocol.ts"

/** The end of a tool's message that is passed on. */
const MESSAGE_MAX_CHARACTERS = 4_000
const COMMAND_MAX_CHARACTERS = 300
/** Arguments that tell calls of one tool apart, the first that is there. */
const TELLING = ["command", "filePath", "path", "pattern", "url", "tool"]

export interface Watch {
  /** Takes an event of the host, of whatever session. */
  heard(event: { type: string; properties: unknown }): void
  /** A tool is about to be called. */
  calls(call: { tool: string; sessionID: string }): void
  /** A tool has answered. */
  answered(call: { tool: string; sessionID: string; args?: unknown }, output: { output?: unknown; metadata?: unknown }): void
}

export function createWatch(effects: Pick<Effects, "owns">, post: (event: Event) => void): Watch {
  /** Calls whose failure has been passed on; the host may tell of one more than once. */
  const failed = new Set<string>()

  return {
    heard({ type, properties }) {
      const told = properties as { sessionID?: string }
      switch (type) {
        case "session.status": {
          const { status } = properties as { status: { type: string; message?: string; next?: number } }
          if (!owned(told) || status.type !== "retry") return
          const waitMs = Math.max(0, Math.round((status.next ?? 0) - Date.now()))
          return post({ type: "retryScheduled", session: told.sessionID, message: cut(status.message ?? ""), waitMs })
        }
        case "message.part.updated": {
          const { part } = properties as { part: ToolPart & { sessionID: string } }
          if (part.type !== "tool" || part.state?.status !== "error" || !owned(part) || failed.has(part.callID)) return
          failed.add(part.callID)
          const { input, error } = part.state
          const failure = { command: telling(input), exitCode: null, message: cut(error ?? "") }
          return post({ type: "toolEnded", session: part.sessionID, tool: part.tool, failure })
        }
        case "session.idle":
          // What ran in the session is over; its numbers do not come again.
          if (owned(told)) failed.clear()
          return
        case "permission.asked": {
          const { id, permission, patterns } = properties as { id: string; permission: string; patterns?: string[] }
          if (!owned(told)) return
          const what = cut(`use ${permission} for ${(patterns ?? []).join(", ")}`)
          return post({ type: "permissionAsked", session: told.sessionID, permission: id, what })
        }
        case "permission.replied": {
          const { requestID, reply } = properties as { requestID: string; reply: string }
          const allowed = reply !== "reject"
          if (owned(told)) post({ type: "permissionAnswered", session: told.sessionID, permission: requestID, allowed })
          return
        }
        default:
          return
      }
    },
    calls({ tool, sessionID }) {
      if (effects.owns(sessionID)) post({ type: "toolCalled", session: sessionID, tool })
    },
    answered({ tool, sessionID, args }, { output, metadata }) {
      if (effects.owns(sessionID)) post({ type: "toolEnded", session: sessionID, tool, failure: failureOf(tool, args, output, metadata) })
    },
  }

  function owned(told: { sessionID?: string }): told is { sessionID: string } {
    return told.sessionID !== undefined && effects.owns(told.sessionID)
  }
}

interface ToolPart {
  type: string
  callID: string
  tool: string
  state?: { status: string; input?: unknown; error?: string }
}

/** How a call failed that the host takes for answered: a command with an exit code, or a call that it could not read. */
function failureOf(tool: string, args: unknown, output: unknown, metadata: unknown): ToolFailure | null {
  const exit = (metadata as { exit?: unknown } | undefined)?.exit
  const exitCode = typeof exit === "number" ? exit : null
  if (tool !== "invalid" && (exitCode === null || exitCode === 0)) return null
  return { command: telling(args), exitCode, message: cut(typeof output === "string" ? output : "") }
}

function telling(args: unknown): string | null {
  const given = (args ?? {}) as Record<string, unknown>
  const value = TELLING.map((name) => given[name]).find((value) => typeof value === "string")
  return typeof value === "string" ? value.slice(0, COMMAND_MAX_CHARACTERS).toWellFormed() : null
}

function cut(text: string): string {
  return text.slice(-MESSAGE_MAX_CHARACTERS).toWellFormed()
}

/**
 * Has the host give a silent provider up before a mission's time is lost, where the user has said nothing else. Only
 * providers that the user configures or speaks with: an entry for another one would offer it.
 */
export function limitSilence(config: Config, silenceMs: number) {
  const spoken = [config.model, config.small_model, ...Object.values(config.agent ?? {}).map((agent) => agent?.model)]
  const names = spoken.flatMap((model) => (model?.includes("/") ? [model.split("/")[0] as string] : []))
  const providers = (config.provider ??= {})
  for (const name of new Set([...Object.keys(providers), ...names])) {
    const options = ((providers[name] ??= {}).options ??= {}) as Record<string, unknown>
    options["headerTimeout"] ??= silenceMs
    options["chunkTimeout"] ??= silenceMs
  }
}

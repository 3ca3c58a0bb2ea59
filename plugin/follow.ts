/**
 * Keeps the turn of a session that follows a mission going until the mission comes to rest, so that `opencode run` stays,
 * and ends it with the mission's report. A new message of the user, or its abort, ends the hold at once.
 *
 * The turn is held before a model request and never at the end of a text: calls of tools may follow a text, and an answer
 * that is held back is not shown. Where an answer would end the turn, a message of ours takes its place in the line, and
 * the request that answers that message is held.
 */
import type { Engine } from "./native.ts"

/** What the answer to a message has to say. */
type Command =
  /** Nothing of its own: the mission's report. */
  | { kind: "follow" }
  /** This text, whatever the model writes. */
  | { kind: "say"; text: string }
  /** What the model writes. */
  | { kind: "own" }

/** What a message of ours is for: to hold the turn, or to tell the commander something. */
export type Ours = "hold" | "tell"

export interface Follow {
  /** The next message of the session is a command's. */
  command(session: string, command: Command): void
  /** A message has come in; `ours` when we wrote it. Gives whether it is ours or a command's. */
  message(session: string, message: string, ours?: Ours): boolean
  /** A model request in answer to the message is about to be made. */
  request(session: string, message: string): Promise<void>
  /** A tool is called. */
  tool(session: string): void
  /** A text is complete. Gives what it shall say instead. */
  complete(session: string, text: string): Promise<string>
  /** The session's turn is over. */
  idle(session: string): void
  /** A tool has the answer to the message that is being answered: this text is shown, whatever the model writes. */
  say(session: string, text: string): void
  /** A mission that the session follows has come to rest. `shown` is called when the report is shown, or nobody wants it. */
  report(session: string, text: string, shown: () => void): void
  /** The session's turn was broken off. */
  broken(session: string): void
  /** The engine is gone for longer: whoever waits for it is told so. */
  fault(text: string): void
}

interface Report {
  text: string
  shown(): void
}

interface Session {
  /** A command whose message has not come in yet. */
  announced?: Command
  /** The last message of the user, or of ours. */
  last?: string
  /** The message that the last model request answers. */
  answering?: string
  commands: Map<string, Command>
  /** A turn is under way, as far as the host has told. */
  busy: boolean
  /** A tool was called since the last model request: its result has to be read. */
  called: boolean
  /** A report that has not been shown. */
  report?: Report
  /** The user broke the turn off, and has been told what follows from it. */
  broken: boolean
  /** Ends the present hold, if there is one. */
  wake: () => void
  holding: boolean
}

/**
 * @param hold puts a message before the session that is answered when the mission rests; `now` starts a turn for it,
 *   otherwise it goes into the present one
 */
export function createFollow(
  engine: () => Engine | undefined,
  hold: (session: string, now: boolean) => Promise<void>,
): Follow {
  const sessions = new Map<string, Session>()
  const of = (id: string) => {
    let session = sessions.get(id)
    if (!session) {
      session = { commands: new Map(), busy: false, called: false, broken: false, wake: () => {}, holding: false }
      sessions.set(id, session)
    }
    return session
  }
  const isUnderWay = async (id: string) => Boolean(await engine()?.ask({ type: "follows", session: id }))

  /** Waits until the mission rests, or something newer wants the turn. */
  async function wait(id: string, session: Session) {
    while (session.report === undefined && session.last === session.answering) {
      const underWay = await isUnderWay(id)
      if (!underWay || session.report !== undefined || session.last !== session.answering) return
      session.holding = true
      await new Promise<void>((resolve) => (session.wake = resolve))
      session.holding = false
    }
  }

  return {
    command(id, command) {
      of(id).announced = command
    },
    message(id, message, ours) {
      const session = of(id)
      session.last = message
      const command = ours === "hold" ? { kind: "follow" as const } : session.announced
      if (command && ours !== "tell") session.commands.set(message, command)
      if (!ours) delete session.announced
      session.wake()
      return ours !== undefined || command !== undefined
    },
    async request(id, message) {
      const session = sessions.get(id)
      if (!session) return
      const { called } = session
      Object.assign(session, { answering: message, busy: true, called: false, broken: false })
      if (session.commands.get(message)?.kind === "follow" && !called) await wait(id, session)
    },
    tool(id) {
      const session = sessions.get(id)
      if (session) session.called = true
    },
    async complete(id, text) {
      const session = sessions.get(id)
      if (!session?.answering) return text
      const { answering, report } = session
      report?.shown()
      const command = session.commands.get(answering)
      // The host's message ids ascend; what came before has been answered with this.
      for (const message of session.commands.keys()) if (message <= answering) session.commands.delete(message)
      delete session.report
      const said = command?.kind === "say" ? command.text : text
      if (report) return command?.kind === "follow" ? report.text : `${said}\n\n${report.text}`
      if (session.last === answering && (await isUnderWay(id))) await hold(id, false)
      return said
    },
    idle(id) {
      const session = sessions.get(id)
      if (!session) return
      session.busy = false
      if (session.report !== undefined) void hold(id, true)
    },
    say(id, text) {
      const session = sessions.get(id)
      if (session?.answering) session.commands.set(session.answering, { kind: "say", text })
    },
    report(id, text, shown) {
      const session = of(id)
      if (session.broken) return shown()
      if (session.report && session.report.text !== text) session.report.shown()
      session.report = { text, shown }
      session.wake()
      // After a restart, for instance, no turn waits for it.
      if (!session.busy) void hold(id, true)
    },
    broken(id) {
      const session = sessions.get(id)
      if (!session) return
      delete session.answering
      session.report?.shown()
      delete session.report
      session.broken = true
      session.wake()
    },
    fault(text) {
      for (const session of sessions.values()) {
        if (!session.holding) continue
        session.report = { text, shown() {} }
        session.wake()
      }
    },
  }
}

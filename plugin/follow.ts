/**
 * Holds the turn of a session that follows a mission until the mission comes to rest, so that `opencode run` stays, and
 * ends it with the mission's report. A new message of the user, or its abort, ends the hold at once.
 */
import type { Engine } from "./native.ts"

/** What the answer to a message has to say. */
type Command =
  /** Nothing of its own: the mission's report. */
  | { kind: "follow" }
  /** This text, whatever the model writes. */
  | { kind: "say"; text: string }

export interface Follow {
  /** The next message of the session is a command's. */
  command(session: string, command: Command): void
  /** A message of the user has come in. Gives whether it is a command's. */
  message(session: string, message: string): boolean
  /** A model request in answer to the message is about to be made. */
  request(session: string, message: string): Promise<void>
  /** A text is complete. Gives what it shall say instead. */
  complete(session: string, text: string): Promise<string>
  /** A mission that the session follows has come to rest. */
  report(session: string, report: string): void
  /** The session's turn was broken off. */
  broken(session: string): void
  /** The engine is gone for longer: whoever waits for it is told so. */
  fault(text: string): void
}

interface Session {
  /** A command whose message has not come in yet. */
  announced?: Command
  /** The last message of the user. */
  last?: string
  /** The message that the present model request answers. */
  answering?: string
  commands: Map<string, Command>
  /** A report that has not been shown. */
  report?: string
  /** Ends the present hold, if there is one. */
  wake: () => void
  holding: boolean
}

export function createFollow(engine: () => Engine | undefined): Follow {
  const sessions = new Map<string, Session>()
  const of = (id: string) => {
    let session = sessions.get(id)
    if (!session) sessions.set(id, (session = { commands: new Map(), wake: () => {}, holding: false }))
    return session
  }

  /** Waits until the mission rests, or something newer wants the turn. */
  async function hold(id: string, session: Session) {
    while (session.report === undefined && session.last === session.answering) {
      const mission = await engine()?.ask({ type: "follows", session: id })
      if (!mission || session.report !== undefined || session.last !== session.answering) return
      session.holding = true
      await new Promise<void>((resolve) => (session.wake = resolve))
      session.holding = false
    }
  }

  return {
    command(id, command) {
      of(id).announced = command
    },
    message(id, message) {
      const session = of(id)
      session.last = message
      const command = session.announced
      if (command) {
        delete session.announced
        session.commands.set(message, command)
      }
      session.wake()
      return command !== undefined
    },
    async request(id, message) {
      const session = sessions.get(id)
      if (!session) return
      session.answering = message
      if (session.commands.get(message)?.kind === "follow") await hold(id, session)
    },
    async complete(id, text) {
      const session = sessions.get(id)
      if (!session?.answering) return text
      const command = session.commands.get(session.answering)
      const said = command?.kind === "say" ? command.text : text
      await hold(id, session)
      if (session.report === undefined) return said
      const { report } = session
      delete session.report
      session.commands.clear()
      return command?.kind === "follow" ? report : `${said}\n\n${report}`
    },
    report(id, report) {
      const session = of(id)
      session.report = report
      session.wake()
    },
    broken(id) {
      const session = sessions.get(id)
      if (!session) return
      // The host has given the turn up; a report that nobody took would turn up in an answer to something else.
      session.answering = ""
      session.wake()
    },
    fault(text) {
      for (const session of sessions.values()) {
        if (!session.holding) continue
        session.report = text
        session.wake()
      }
    },
  }
}

/**
 * Runs the handlers of a hook in their order: the plugin's own guards and what other plugins added. A handler's failure is
 * reported and never reaches the host, except the refusal of a call.
 */
import { orderHooks, type HookHandler, type HookPoint, type HookPoints } from "./native.ts"

export interface HookRunner {
  /** Runs the handlers of a point one after another. @throws Error of the handler that refuses a call */
  run<P extends HookPoint>(point: P, ...args: HookPoints[P]): Promise<void>
  /** Runs the handlers of `shutdown`, each at most `limitMs`, and takes the runner out of service. */
  shutdown(limitMs: number): Promise<void>
}

/** Gives a handler its point's types. */
export function handler<P extends HookPoint>(handler: HookHandler<P>): HookHandler {
  return handler as unknown as HookHandler
}

/** @throws OrchestratorError when the handlers cannot be put in order: a cycle, with its members, for instance */
export function createHooks(own: HookHandler[], failed: (what: string, error: unknown) => void): HookRunner {
  const order = orderHooks(own)
  return {
    async run(point, ...args) {
      for (const { name, run } of order.at(point)) {
        try {
          await run(...args)
        } catch (error) {
          if (point === "tool.execute.before") throw error
          failed(`${point} in ${name}`, error)
        }
      }
    },
    async shutdown(limitMs) {
      for (const { name, run } of order.at("shutdown")) {
        let timer: ReturnType<typeof setTimeout> | undefined
        const late = new Promise<never>((_, reject) => {
          timer = setTimeout(() => reject(new Error(`did not end within ${limitMs} ms; the others go on`)), limitMs)
        })
        // Begun in a promise, so that a handler that throws at once is no different from one that rejects.
        await Promise.race([Promise.resolve().then(() => run()), late])
          .catch((error: unknown) => failed(`shutdown in ${name}`, error))
          .finally(() => clearTimeout(timer))
      }
      order.close()
    },
  }
}

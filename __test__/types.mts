// What a TypeScript user writes; compiled strictly, and not run, by `npm run lint`.
import { astSearch, grep, mgrep, openEngine, type Event, type GrepAnswer, type ToolName, type Tools } from "opencode-orchestrator-native"

const answer: GrepAnswer = await grep({ pattern: "x" }, { signal: AbortSignal.timeout(100) })
console.log(answer.matches.length, (await astSearch({ pattern: "f($A)", language: "ts" })).truncated)

const name: ToolName = "file_stats"
const options: Tools[typeof name]["options"] = { largest: 1 }
console.log(options, (await mgrep({ patterns: ["x"] }, { granted: ["/tmp"] })).patterns[0]?.next?.line)

using engine = openEngine({ directory: "/tmp" }, { effect: (effect) => void effect.type, fault: ({ code }) => void code })
const event: Event = { type: "deadlinePassed" }
engine.post(event)

// @ts-expect-error A pattern is required.
void grep({})
// @ts-expect-error There is no such tool.
export const none: ToolName = "http"
// @ts-expect-error There is no such event.
engine.post({ type: "nothing" })

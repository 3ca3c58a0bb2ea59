#!/usr/bin/env node
/**
 * A scripted model: an OpenAI-compatible server on loopback that plays every role of a mission from a scenario file.
 *
 * A scenario is a list of named rules. A rule says which requests it answers (`when`) and with what (`steps`, one per
 * request). The position in `steps` is kept per session and rule, so fifty sessions can play the same rule side by side.
 * The first rule in the list that matches and has a step left answers; when all that match are used up the answer is
 * the text "done"; when none matches it is "no rule", and the request is counted as unmatched.
 *
 * `{ "$file": "path" }` in the place of a text is the text of that file, without placeholders; paths are relative to the
 * scenario's file. So the sources that a model writes are files, and not lines of JSON.
 *
 * OpenCode's own title and compaction requests share the session id of the conversation they are about. Only rules
 * with `when.agent` "title" or "compaction" see them; otherwise they get a fixed text and take no step from anybody.
 *
 * Nothing here is random and nothing depends on time, so the same conversation gets the same answers, byte for byte.
 */
import { appendFileSync, readFileSync, realpathSync } from "node:fs"
import { createServer } from "node:http"
import { dirname, resolve } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { z } from "zod"

/** Agents of OpenCode that answer for the host itself, known by their system prompts in OpenCode 1.18. */
const HOUSEKEEPING = {
  title: { system: /^You are a title generator\b/, text: "Scripted title" },
  compaction: { system: /^You are a context summarization agent\b/, text: "Scripted summary of the conversation so far." },
}

/** A stream is cut into at most this many pieces per text, so that a long answer does not become thousands of events. */
const PIECES_MAX = 20
const PIECE_CHARACTERS_MIN = 24
const BODY_BYTES_MAX = 64 * 1024 * 1024

const regex = z.string().transform((source, ctx) => {
  try {
    return new RegExp(source)
  } catch (error) {
    ctx.addIssue({ code: "custom", message: /** @type {Error} */ (error).message })
    return z.NEVER
  }
})

const toolCall = z.strictObject({ name: z.string().min(1), args: z.record(z.string(), z.unknown()).default({}) })

const step = z
  .strictObject({
    /** Text of the answer; may stand beside a tool call, and is what is sent before a "hang", "cut" or "noFinish". */
    text: z.string().optional(),
    reasoning: z.string().optional(),
    /** One call, short for `tools` with one element. */
    tool: z.string().min(1).optional(),
    args: z.record(z.string(), z.unknown()).optional(),
    /** Calls made in one message; OpenCode runs them in parallel. */
    tools: z.array(toolCall).min(1).optional(),
    /** Finish reason, instead of the "stop" or "tool_calls" that fits the answer. */
    finish: z.enum(["stop", "tool_calls", "length", "content_filter"]).optional(),
    /** Reported usage in tokens, instead of bytes / 4. */
    usage: z.strictObject({ input: z.int().min(0).optional(), output: z.int().min(0).optional() }).optional(),
    /** Wait before the first byte of the answer. */
    delayMs: z.number().min(0).optional(),
    /** Wait before each further piece of a stream. */
    chunkDelayMs: z.number().min(0).optional(),
    fault: z.enum(["noFinish", "hang", "cut", "drop", "html", "badChunk", "sseError", "contextOverflow", "malformedArgs", "emptyAnswer"]).optional(),
    /** Answer with this HTTP error, `headers` (e.g. retry-after) and `body`. */
    httpStatus: z.int().min(400).max(599).optional(),
    headers: z.record(z.string(), z.string()).optional(),
    body: z.string().optional(),
  })
  .check((ctx) => {
    const given = ctx.value
    const has = (/** @type {keyof typeof given} */ key) => given[key] !== undefined
    const refuse = (/** @type {string} */ message, /** @type {string[]} */ ...path) =>
      ctx.issues.push({ code: "custom", message, path, input: given })

    if (!has("text") && !has("reasoning") && !has("tool") && !has("tools") && !has("fault") && !has("httpStatus"))
      refuse("a step needs one of text, reasoning, tool, tools, fault, httpStatus")
    if (has("tool") && has("tools")) refuse("give tool or tools, not both", "tools")
    if (has("args") && !has("tool")) refuse("args needs a tool", "args")
    if ((has("headers") || has("body")) && !has("httpStatus")) refuse("headers and body need an httpStatus")
    if (given.fault === "malformedArgs" && !has("tool") && !has("tools")) refuse("malformedArgs needs a tool", "fault")

    const wordless = ["drop", "html", "badChunk", "sseError", "contextOverflow", "emptyAnswer"].includes(given.fault ?? "")
    const silent = has("httpStatus") ? "httpStatus" : wordless ? "fault" : null
    const spoken = /** @type {const} */ (["text", "reasoning", "tool", "tools", "finish"]).filter(has)
    if (silent && spoken.length > 0) refuse(`cannot be combined with ${spoken.join(", ")}`, silent)
    if (has("httpStatus") && has("fault")) refuse("give httpStatus or fault, not both", "httpStatus")
  })

const rule = z
  .strictObject({
    name: z.string().min(1),
    /** All that are given must match. Regexes are JavaScript's, without flags; their named groups are captures. */
    when: z.strictObject({
      /** A name from the scenario's `agents`, or "title" or "compaction". */
      agent: z.string().optional(),
      /** On the text of all system messages. */
      system: regex.optional(),
      /** On the last user message. */
      user: regex.optional(),
      /** On the first user message. */
      firstUser: regex.optional(),
      /** The newest messages are tool results, and one of them comes from the tool of this name. */
      lastTool: z.string().optional(),
      /** On the newest tool results: those of `lastTool` when it is given, else all. */
      lastToolResult: regex.optional(),
    }),
    steps: z.array(step).min(1),
    /** Give the last step again and again, instead of falling through to the rules below. */
    repeat: z.boolean().default(false),
  })
  .check((ctx) => {
    const known = new Set(Object.values(ctx.value.when).flatMap((value) => (value instanceof RegExp ? groupNames(value) : [])))
    for (const { path, text } of strings(ctx.value.steps, ["steps"]))
      for (const [, escaped, name] of text.matchAll(PLACEHOLDER))
        if (name !== undefined && escaped === "" && !known.has(name))
          ctx.issues.push({
            code: "custom",
            message: `\${${name}} is no named group of this rule's regexes (write $\${${name}} for the text itself)`,
            path,
            input: text,
          })
  })

const scenarioShape = z
  .strictObject({
    $schema: z.string().optional(),
    name: z.string().optional(),
    description: z.string().optional(),
    /** Agent name to a regex on the system messages that tells it; the first that matches counts. */
    agents: z.record(z.string(), regex).default({}),
    rules: z.array(rule).min(1),
  })
  .check((ctx) => {
    const names = new Set()
    ctx.value.rules.forEach(({ name, when }, index) => {
      const refuse = (/** @type {string} */ message, /** @type {PropertyKey[]} */ path) =>
        ctx.issues.push({ code: "custom", message, path: ["rules", index, ...path], input: name })
      if (names.has(name)) refuse(`there is another rule "${name}"`, ["name"])
      names.add(name)
      const agents = [...Object.keys(ctx.value.agents), ...Object.keys(HOUSEKEEPING)]
      if (when.agent !== undefined && !agents.includes(when.agent))
        refuse(`unknown agent "${when.agent}"; known are ${agents.join(", ")}`, ["when", "agent"])
    })
  })

/** `${name}` and, escaped, `$${name}`. Anything that is not a plain name, as in `${a.b}`, is left alone. */
const PLACEHOLDER = /\$(\$?)\{([A-Za-z_]\w*)\}/g

/** @typedef {z.input<typeof scenarioShape>} Scenario What a scenario file contains. */
/** @typedef {z.output<typeof scenarioShape>} ParsedScenario */
/** @typedef {z.output<typeof step>} Step */
/** @typedef {{ role: string, content: unknown, tool_calls?: { id: string, function: { name: string } }[], tool_call_id?: string }} Message */
/**
 * @typedef {object} Recorded One request to /v1/chat/completions.
 * @property {number} index Position among all requests, from 0.
 * @property {number} at Milliseconds since the epoch when the request had been read.
 * @property {number | null} endedAt When the answer ended, or null while it is under way.
 * @property {string | null} sessionID
 * @property {string | null} parentSessionID
 * @property {string | null} agent Name from the scenario's `agents`, "title" or "compaction"; null when none fits.
 * @property {string} model
 * @property {"step" | "done" | "housekeeping" | "unmatched"} answer What answered: a step, or which default.
 * @property {string | null} rule Name of the rule that answered, or whose steps are used up.
 * @property {number | null} step Index into the rule's steps.
 * @property {boolean} aborted The client hung up before the answer was complete.
 * @property {number} bodyBytes
 * @property {number} systemBytes UTF-8 bytes of the text of the system messages.
 * @property {number} toolsBytes UTF-8 bytes of the JSON of `tools`; 0 without.
 * @property {string[]} tools Names of the tools offered.
 * @property {Message[]} messages
 */
/**
 * @typedef {object} Model
 * @property {string} url Base URL for the provider, ends in /v1.
 * @property {Recorded[]} requests In order of arrival; grows while the server lives.
 * @property {() => Recorded[]} unmatched Requests that no rule was written for.
 * @property {(predicate: (request: Recorded) => boolean, timeoutMs: number) => Promise<Recorded>} waitFor
 *   Resolves with the first request, past or future, for which the predicate holds; it is asked
 *   when a request arrives and when its answer has ended.
 * @property {() => Promise<void>} close Ends the server and cuts what is under way.
 */

/** A scenario that cannot be played; the message has a line for each mistake, with its path. */
export class ScenarioError extends Error {
  name = "ScenarioError"
}

/**
 * Parses a scenario, given as an object or as the path of a JSON file.
 * @param {Scenario | string} scenario
 * @returns {ParsedScenario}
 * @throws {ScenarioError}
 */
export function parseScenario(scenario) {
  const origin = typeof scenario === "string" ? scenario : "scenario"
  /** @type {unknown} */
  let value = scenario
  if (typeof scenario === "string") {
    try {
      value = withFiles(JSON.parse(readFileSync(scenario, "utf8")), dirname(scenario))
    } catch (error) {
      throw new ScenarioError(`${origin}: ${/** @type {Error} */ (error).message}`, { cause: error })
    }
  }
  const result = scenarioShape.safeParse(value)
  if (result.success) return result.data
  const lines = result.error.issues.map(({ path, message }) => `  ${pathText(path)}${message}`)
  throw new ScenarioError(`${origin} is not a scenario:\n${lines.join("\n")}`)
}

/**
 * Starts the server on 127.0.0.1. It does not keep the process alive by itself.
 * @param {{ scenario: Scenario | string, port?: number, log?: (request: Recorded) => void }} options
 *   `log` is called when the answer to a request has ended.
 * @returns {Promise<Model>}
 * @throws {ScenarioError}
 */
export async function startModel({ scenario, port = 0, log }) {
  const parsed = parseScenario(scenario)
  /** @type {Map<string, number>} */
  const positions = new Map()
  /** @type {Recorded[]} */
  const requests = []
  /** @type {Set<(request: Recorded) => void>} */
  const waiting = new Set()
  const notifyAll = (/** @type {Recorded} */ request) => waiting.forEach((notify) => notify(request))

  const server = createServer(async (req, res) => {
    try {
      if (req.method === "GET" && req.url === "/v1/models") {
        sendJson(res, 200, { object: "list", data: [{ id: "scripted", object: "model", owned_by: "scenario" }] })
        return
      }
      if (req.method !== "POST" || req.url !== "/v1/chat/completions") {
        sendJson(res, 404, errorBody(`no route ${req.method} ${req.url}`, "not_found"))
        return
      }
      const raw = await readBody(req)
      const body = JSON.parse(raw)
      if (!Array.isArray(body.messages)) throw new SyntaxError("messages must be an array")

      const request = describe(parsed, req, body, Buffer.byteLength(raw), requests.length)
      const answer = choose(parsed, positions, request)
      requests.push(request)
      notifyAll(request)

      res.once("close", () => {
        request.endedAt = Date.now()
        request.aborted = !res.writableFinished && answer.fault !== "cut" && answer.fault !== "drop"
        notifyAll(request)
        log?.(request)
      })
      await play(res, answer, { request, stream: body.stream === true })
    } catch (error) {
      if (res.closed || res.destroyed || /** @type {NodeJS.ErrnoException} */ (error).code === "ECONNRESET") return // the client left
      if (!(error instanceof SyntaxError)) throw error // ours: end the process, with the stack, rather than look like a fault in the scenario
      sendJson(res, 400, errorBody(error.message, "invalid_request_error"))
    }
  })
  // The host keeps connections; one that we close while it sends would look like a fault of the model and be retried.
  server.keepAliveTimeout = 0
  server.requestTimeout = 0
  await new Promise((resolve, reject) => server.once("error", reject).listen(port, "127.0.0.1", () => resolve(undefined)))
  server.unref()
  const { port: bound } = /** @type {import("node:net").AddressInfo} */ (server.address())

  return {
    url: `http://127.0.0.1:${bound}/v1`,
    requests,
    unmatched: () => requests.filter(({ answer }) => answer === "unmatched"),
    waitFor(predicate, timeoutMs) {
      const past = requests.find(predicate)
      if (past) return Promise.resolve(past)
      return new Promise((resolve, reject) => {
        const settle = () => {
          clearTimeout(timer)
          waiting.delete(notify)
        }
        const notify = (/** @type {Recorded} */ request) => {
          if (!predicate(request)) return
          settle()
          resolve(request)
        }
        const timer = setTimeout(() => {
          settle()
          const last = requests.slice(-12).map(({ rule, answer }) => rule ?? answer)
          reject(new Error(`no such request in ${timeoutMs} ms; ${requests.length} seen, the last by ${last.join(", ")}`))
        }, timeoutMs)
        waiting.add(notify)
      })
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/**
 * @param {ParsedScenario} scenario
 * @param {import("node:http").IncomingMessage} req
 * @param {{ messages: Message[], model?: string, tools?: { function: { name: string } }[] }} body
 * @param {number} bodyBytes
 * @param {number} index
 * @returns {Recorded}
 */
function describe(scenario, req, body, bodyBytes, index) {
  const system = systemText(body.messages)
  const housekeeping = Object.entries(HOUSEKEEPING).map(([name, { system }]) => /** @type {const} */ ([name, system]))
  const known = [...housekeeping, ...Object.entries(scenario.agents)]
  return {
    index,
    at: Date.now(),
    endedAt: null,
    sessionID: header(req, "x-session-id"),
    parentSessionID: header(req, "x-parent-session-id"),
    agent: known.find(([, regex]) => regex.test(system))?.[0] ?? null,
    model: body.model ?? "",
    answer: "unmatched",
    rule: null,
    step: null,
    aborted: false,
    bodyBytes,
    systemBytes: Buffer.byteLength(system),
    toolsBytes: body.tools ? Buffer.byteLength(JSON.stringify(body.tools)) : 0,
    tools: (body.tools ?? []).map((tool) => tool.function.name),
    messages: body.messages,
  }
}

/**
 * Picks the answer, moves the position of the session in the rule, and notes both in `request`.
 * @param {ParsedScenario} scenario
 * @param {Map<string, number>} positions
 * @param {Recorded} request
 * @returns {Step}
 */
function choose(scenario, positions, request) {
  for (const { name, when, steps, repeat } of scenario.rules) {
    const captures = match(when, request)
    if (!captures) continue
    const key = JSON.stringify([request.sessionID, name])
    const position = positions.get(key) ?? 0
    request.rule ??= name
    if (position >= steps.length && !repeat) {
      request.answer = "done"
      continue
    }
    positions.set(key, position + 1)
    const index = Math.min(position, steps.length - 1)
    Object.assign(request, { answer: "step", rule: name, step: index })
    return /** @type {Step} */ (fill(steps[index], captures))
  }
  if (request.answer === "done") return { text: "done" }
  const housekeeping = Object.entries(HOUSEKEEPING).find(([name]) => name === request.agent)?.[1]
  if (!housekeeping) return { text: "no rule" }
  request.answer = "housekeeping"
  return { text: housekeeping.text }
}

/**
 * Captures of the rule's regexes, or null when one of its conditions does not hold.
 * @param {ParsedScenario["rules"][number]["when"]} when
 * @param {Recorded} request
 * @returns {Record<string, string> | null}
 */
function match(when, { agent, messages }) {
  if (agent !== null && agent in HOUSEKEEPING && when.agent !== agent) return null
  if (when.agent !== undefined && when.agent !== agent) return null

  const users = messages.filter(({ role }) => role === "user")
  const results = newestToolResults(messages).filter(({ name }) => when.lastTool === undefined || name === when.lastTool)
  if (when.lastTool !== undefined && results.length === 0) return null

  /** @type {[RegExp | undefined, string | undefined][]} */
  const conditions = [
    [when.system, systemText(messages)],
    [when.firstUser, contentText(users[0]?.content)],
    [when.user, contentText(users.at(-1)?.content)],
    [when.lastToolResult, results.length > 0 ? results.map(({ text }) => text).join("\n") : undefined],
  ]
  /** @type {Record<string, string>} */
  const captures = {}
  for (const [regex, text] of conditions) {
    if (!regex) continue
    const found = text === undefined ? null : regex.exec(text)
    if (!found) return null
    for (const name of groupNames(regex)) captures[name] = found.groups?.[name] ?? ""
  }
  return captures
}

/**
 * The tool results at the end of the conversation; empty when the newest message is something else.
 * @param {Message[]} messages
 * @returns {{ name: string, text: string }[]}
 */
function newestToolResults(messages) {
  const start = messages.findLastIndex(({ role }) => role !== "tool") + 1
  const calls = new Map(messages.flatMap(({ tool_calls }) => tool_calls ?? []).map((call) => [call.id, call.function.name]))
  return messages.slice(start).map(({ tool_call_id, content }) => ({ name: calls.get(tool_call_id ?? "") ?? "", text: contentText(content) }))
}

/**
 * @param {import("node:http").ServerResponse} res
 * @param {Step} answer
 * @param {{ request: Recorded, stream: boolean }} context
 */
async function play(res, answer, { request, stream }) {
  const gone = new AbortController()
  res.once("close", () => gone.abort())
  const wait = (/** @type {number | undefined} */ ms) => (ms ? sleep(ms, undefined, { signal: gone.signal }) : undefined)

  await wait(answer.delayMs)
  if (answer.httpStatus !== undefined) {
    const body = answer.body ?? JSON.stringify(errorBody(`scripted HTTP ${answer.httpStatus}`, "scripted"))
    res.writeHead(answer.httpStatus, { "content-type": "application/json", ...answer.headers }).end(body)
    return
  }
  if (answer.fault === "contextOverflow") {
    const message = "This model's maximum context length is 1 token. Please reduce the length of the messages."
    sendJson(res, 400, errorBody(message, "invalid_request_error", "context_length_exceeded"))
    return
  }
  if (answer.fault === "html") {
    res.writeHead(200, { "content-type": "text/html" }).end("<!doctype html><title>Gateway</title><h1>Please sign in</h1>\n")
    return
  }
  if (answer.fault === "drop") {
    res.socket?.destroy()
    return
  }
  if (answer.fault === "badChunk" || answer.fault === "sseError") {
    const data = answer.fault === "badChunk" ? '{"choices": [' : JSON.stringify(errorBody("The engine is overloaded, try again later.", "overloaded_error"))
    res.writeHead(200, { "content-type": "text/event-stream" }).end(`data: ${data}\n\n`)
    return
  }
  const hangs = answer.fault === "hang"
  if (hangs && answer.text === undefined && answer.reasoning === undefined) return

  const calls = (answer.tools ?? (answer.tool ? [{ name: answer.tool, args: answer.args ?? {} }] : [])).map(({ name, args }, index) => {
    const json = JSON.stringify(args)
    return {
      index,
      id: `call_${request.index}_${index}`,
      type: "function",
      function: { name, arguments: answer.fault === "malformedArgs" ? json.slice(0, -1) : json },
    }
  })
  const finish = answer.finish ?? (calls.length > 0 ? "tool_calls" : "stop")
  const outputBytes = Buffer.byteLength(`${answer.reasoning ?? ""}${answer.text ?? ""}${calls.map((call) => call.function.arguments).join("")}`)
  const input = answer.usage?.input ?? Math.ceil(request.bodyBytes / 4)
  const output = answer.usage?.output ?? Math.ceil(outputBytes / 4)
  const usage = { prompt_tokens: input, completion_tokens: output, total_tokens: input + output }
  const frame = { id: `chatcmpl-${request.index}`, created: Math.floor(request.at / 1000), model: request.model }

  if (!stream) {
    const message = {
      role: "assistant",
      content: answer.text ?? null,
      reasoning_content: answer.reasoning,
      tool_calls: calls.length > 0 ? calls : undefined,
    }
    const choice = { index: 0, message, finish_reason: answer.fault === "noFinish" ? null : finish }
    const body = JSON.stringify({ ...frame, object: "chat.completion", choices: [choice], usage })
    res.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(body) })
    if (answer.fault === "cut" || hangs) await write(res, body.slice(0, body.length / 2))
    if (answer.fault === "cut") res.socket?.destroy()
    else if (!hangs) res.end(body)
    return
  }

  res.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" })
  const send = (/** @type {object} */ data) => write(res, `data: ${JSON.stringify({ ...frame, object: "chat.completion.chunk", ...data })}\n\n`)
  const delta = (/** @type {object} */ delta, /** @type {string | null} */ finish_reason = null) =>
    send({ choices: [{ index: 0, delta, finish_reason }] })

  const deltas = [
    { role: "assistant", content: "" },
    ...pieces(answer.reasoning ?? "").map((text) => ({ reasoning_content: text })),
    ...pieces(answer.text ?? "").map((text) => ({ content: text })),
    ...calls.flatMap(({ function: call, ...head }) => [
      { tool_calls: [{ ...head, function: { name: call.name, arguments: "" } }] },
      ...pieces(call.arguments).map((text) => ({ tool_calls: [{ index: head.index, function: { arguments: text } }] })),
    ]),
  ]
  // A cut comes in the middle, but never before something of the answer has arrived.
  const sent = answer.fault === "cut" ? deltas.slice(0, Math.max(2, Math.ceil(deltas.length / 2))) : deltas
  for (const [index, each] of sent.entries()) {
    if (index > 0) await wait(answer.chunkDelayMs)
    await delta(each)
  }
  if (answer.fault === "cut") res.socket?.destroy()
  if (answer.fault === "cut" || hangs) return
  if (answer.fault !== "noFinish") {
    await delta({}, finish)
    await send({ choices: [], usage })
  }
  res.end("data: [DONE]\n\n")
}

/** @param {import("node:http").ServerResponse} res @param {string} text @returns {Promise<void>} */
function write(res, text) {
  return new Promise((resolve, reject) => res.write(text, (error) => (error ? reject(error) : resolve())))
}

/**
 * Cuts a text into few pieces, never through a surrogate pair.
 * @param {string} text
 * @returns {string[]}
 */
function pieces(text) {
  const characters = [...text]
  const size = Math.max(PIECE_CHARACTERS_MIN, Math.ceil(characters.length / PIECES_MAX))
  return Array.from({ length: Math.ceil(characters.length / size) }, (_, index) => characters.slice(index * size, (index + 1) * size).join(""))
}

/**
 * The value with every placeholder in its strings replaced; placeholders were checked when the scenario was parsed.
 * @param {unknown} value
 * @param {Record<string, string>} captures
 * @returns {unknown}
 */
function fill(value, captures) {
  if (typeof value === "string")
    return value.replace(PLACEHOLDER, (_, escaped, name) => (escaped ? `\${${name}}` : (captures[name] ?? "")))
  if (Array.isArray(value)) return value.map((item) => fill(item, captures))
  if (value === null || typeof value !== "object") return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fill(item, captures)]))
}

/**
 * The value with each `{ "$file": … }` replaced by the text of the file, escaped so that nothing in it is a placeholder.
 * @param {unknown} value
 * @param {string} folder
 * @returns {unknown}
 */
function withFiles(value, folder) {
  if (Array.isArray(value)) return value.map((item) => withFiles(item, folder))
  if (value === null || typeof value !== "object") return value
  const entries = Object.entries(value)
  const [key, path] = entries[0] ?? []
  if (entries.length === 1 && key === "$file" && typeof path === "string")
    return readFileSync(resolve(folder, path), "utf8").replace(PLACEHOLDER, "$$$&")
  return Object.fromEntries(entries.map(([key, item]) => [key, withFiles(item, folder)]))
}

/**
 * Every string in a JSON value, with its path.
 * @param {unknown} value
 * @param {PropertyKey[]} path
 * @returns {{ path: PropertyKey[], text: string }[]}
 */
function strings(value, path) {
  if (typeof value === "string") return [{ path, text: value }]
  if (value === null || typeof value !== "object") return []
  return Object.entries(value).flatMap(([key, item]) => strings(item, [...path, Array.isArray(value) ? Number(key) : key]))
}

/** @param {RegExp} regex @returns {string[]} */
function groupNames(regex) {
  return [...regex.source.matchAll(/\(\?<([A-Za-z_]\w*)>/g)].map(([, name]) => /** @type {string} */ (name))
}

/** @param {Message[]} messages */
function systemText(messages) {
  return messages.filter(({ role }) => role === "system").map(({ content }) => contentText(content)).join("\n")
}

/**
 * Text of a message's content, which is a string or a list of parts.
 * @param {unknown} content
 * @returns {string}
 */
function contentText(content) {
  if (typeof content === "string") return content
  if (!Array.isArray(content)) return ""
  return content.map((part) => (typeof part?.text === "string" ? part.text : "")).join("\n")
}

/** @param {PropertyKey[]} path */
function pathText(path) {
  const text = path.map((key) => (typeof key === "number" ? `[${key}]` : `.${String(key)}`)).join("")
  return text === "" ? "" : `${text.replace(/^\./, "")}: `
}

/** @param {import("node:http").IncomingMessage} req @param {string} name @returns {string | null} */
function header(req, name) {
  const value = req.headers[name]
  return typeof value === "string" ? value : null
}

/** @param {import("node:http").IncomingMessage} req @returns {Promise<string>} */
async function readBody(req) {
  const chunks = []
  let size = 0
  for await (const chunk of req) {
    size += chunk.length
    if (size > BODY_BYTES_MAX) throw new SyntaxError(`body above ${BODY_BYTES_MAX} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString("utf8")
}

/** @param {string} message @param {string} type @param {string} [code] */
function errorBody(message, type, code) {
  return { error: { message, type, code: code ?? null, param: null } }
}

/** @param {import("node:http").ServerResponse} res @param {number} status @param {unknown} body */
function sendJson(res, status, body) {
  res.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body))
}

const HELP = `Plays a scripted model: an OpenAI-compatible server on 127.0.0.1.

  node demo/model.mjs --scenario file.json [--port 0] [--log requests.jsonl] [--max-seconds 3600]

Prints one line of JSON, {"url": …}, when it is ready. --log appends a line of JSON per answered request, without its
messages. Ends on SIGINT or SIGTERM, when the process that started it is gone, and after --max-seconds.`

async function main() {
  const { values } = parseArgs({
    options: {
      scenario: { type: "string" },
      port: { type: "string", default: "0" },
      log: { type: "string" },
      "max-seconds": { type: "string", default: "3600" },
      help: { type: "boolean", short: "h" },
    },
  })
  if (values.help) return console.log(HELP)
  const port = Number(values.port)
  const maxSeconds = Number(values["max-seconds"])
  if (!values.scenario) throw new ScenarioError("--scenario is missing; see --help")
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw new ScenarioError(`--port: expected 0 to 65535, found ${values.port}`)
  if (!(maxSeconds > 0 && maxSeconds <= 86_400)) throw new ScenarioError(`--max-seconds: expected 1 to 86400, found ${values["max-seconds"]}`)

  const { log } = values
  const model = await startModel({
    scenario: values.scenario,
    port,
    ...(log && { log: (request) => appendFileSync(log, `${JSON.stringify({ ...request, messages: undefined })}\n`) }),
  })
  console.log(JSON.stringify({ url: model.url }))

  const parent = process.ppid
  const end = () => process.exit(0)
  process.once("SIGINT", end).once("SIGTERM", end)
  setTimeout(end, maxSeconds * 1000)
  setInterval(() => process.ppid !== parent && end(), 500)
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  main().catch((error) => {
    console.error(error instanceof ScenarioError || error.code?.startsWith("ERR_PARSE_ARGS") ? error.message : error)
    process.exitCode = 1
  })
}

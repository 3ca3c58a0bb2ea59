/**
 * Starts the real OpenCode, of the version in node_modules, in a home of its own, and talks to it over HTTP.
 *
 * A home is a folder with the five directories OpenCode asks the environment for, prepared so that a start takes two
 * seconds: OpenCode waits for `npm install @opencode-ai/plugin` in each of its config folders, unless the folder has
 * `node_modules` and a lockfile that names the package. Nothing of the user's own OpenCode is read or written, except by
 * `runUsersHost`.
 *
 * Every process runs in a group of its own and has a guard (`guard.mjs`) that ends it when this process dies, however it
 * dies, or after `maxSeconds`. Process groups make this POSIX only.
 */
import { spawn } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"

const require = createRequire(import.meta.url)

/** What a host inherits from our environment; everything else (API keys, OPENCODE_*, npm_config_*) stays outside. */
const INHERITED = ["PATH", "LANG", "LC_ALL", "TZ", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR"]

const START_TIMEOUT_MS = 60_000
const REQUEST_TIMEOUT_MS = 60_000
const RUN_TIMEOUT_MS = 120_000
const MAX_SECONDS = 900
/** `serve` never answers a connection it accepted in its first moments, so each try is short. */
const PROBE_TIMEOUT_MS = 300
const PROBE_PAUSE_MS = 50
const STOP_TIMEOUT_MS = 5_000
/** How long after its end we wait for what OpenCode had printed. */
const LAST_OUTPUT_MS = 500
/** Text of the toast by which we learn that all events of the start have arrived. */
const READY = "host.mjs: project loaded"

/**
 * @typedef {object} HostOptions
 * @property {string} project Directory OpenCode works in.
 * @property {(string | [string, object])[]} [plugin] Plugin specs as in opencode.json: `file://` URLs, `name@version`, …
 * @property {{ url: string }} [model] The scripted model; without it no provider is configured.
 * @property {object} [config] Merged over the configuration made here; objects are merged, anything else replaced.
 * @property {Record<string, string>} [env] Added to the environment.
 * @property {boolean} [snapshot] OpenCode's own setting; its default (on) makes many sessions four times slower.
 * @property {string} [home] A home to use again, from `createHome` or an earlier host. It stays the caller's to remove;
 *   without it a fresh one is made and removed at the end.
 * @property {number} [maxSeconds] Life time after which the guard ends the host; 900.
 * @property {string[]} [through] A program and its arguments that becomes OpenCode when OpenCode's own are added.
 */
/** @typedef {{ type: string, properties: any, directory?: string }} HostEvent */
/**
 * @typedef {object} HostEvents Everything on `/global/event` since before the project was loaded.
 * @property {HostEvent[]} all In order of arrival; grows while the host lives. Its length is a mark for `waitFor`.
 * @property {(predicate: (event: HostEvent) => boolean, timeoutMs: number, from?: number) => Promise<HostEvent>} waitFor
 *   Resolves with the first event at index `from` (0) or later, past or future, for which the predicate holds.
 */
/**
 * @typedef {object} Host
 * @property {string} url
 * @property {string} home
 * @property {number} pid
 * @property {(method: string, path: string, body?: unknown, options?: { timeoutMs?: number }) => Promise<any>} request
 *   One HTTP call: the parsed answer, null for an empty one. Throws `HostError` for a status above 299. Default 60 s; Node ends
 *   a wait for headers after 300 s whatever is given.
 * @property {(body?: object) => Promise<any>} createSession `{title, parentID, agent, metadata, permission}`, all optional.
 * @property {(sessionID: string, prompt: string | object, options?: { timeoutMs?: number }) => Promise<any>} prompt
 *   Resolves with the assistant's `{info, parts}` when the turn is over. A string is short for `{parts: [{type: "text", text}]}`.
 * @property {(sessionID: string, prompt: string | object) => Promise<null>} promptAsync
 * @property {(sessionID: string, name: string, args?: string, options?: { timeoutMs?: number }) => Promise<any>} command
 * @property {(sessionID: string) => Promise<boolean>} abort
 * @property {(sessionID: string) => Promise<{ info: any, parts: any[] }[]>} messages
 * @property {(sessionID: string) => Promise<any[]>} children
 * @property {() => Promise<Record<string, { type: string }>>} status Busy and retrying sessions only.
 * @property {() => HostEvents} events
 * @property {() => string} log What OpenCode and the plugins printed and logged.
 * @property {() => Promise<void>} stop SIGTERM, after 5 s SIGKILL; then removes a home made here. May be called again.
 * @property {() => Promise<void>} kill9 SIGKILL, at once; the home stays until `stop`.
 */
/**
 * @typedef {object} HostRun
 * @property {number | null} code Exit code; null after a signal.
 * @property {boolean} timedOut
 * @property {string} stdout
 * @property {string} stderr
 * @property {string} log What OpenCode wrote to its log file.
 */

/** OpenCode could not be started, or answered with an HTTP error. */
export class HostError extends Error {
  name = "HostError"
  /** @param {string} message @param {{ status?: number, body?: string, cause?: unknown }} [facts] */
  constructor(message, { status, body, cause } = {}) {
    super(message, { cause })
    this.status = status
    this.body = body
  }
}

/**
 * Starts `opencode serve` on a free loopback port and loads the project, its plugins included.
 * @param {HostOptions & { startTimeoutMs?: number }} options
 * @returns {Promise<Host>}
 * @throws {HostError} when it does not come up, or when a plugin cannot be loaded.
 */
export async function startHost({ startTimeoutMs = START_TIMEOUT_MS, ...options }) {
  const deadline = AbortSignal.timeout(startTimeoutMs)
  const port = await freePort()
  const run = launch(options, ["serve", "--print-logs", "--hostname", "127.0.0.1", "--port", String(port)])
  const url = `http://127.0.0.1:${port}`

  /** @type {Host["request"]} */
  const request = async (method, path, body, { timeoutMs = REQUEST_TIMEOUT_MS } = {}) => {
    const response = await fetch(url + path, {
      method,
      signal: AbortSignal.timeout(timeoutMs),
      ...(body !== undefined && { headers: { "content-type": "application/json" }, body: JSON.stringify(body) }),
    })
    const text = await response.text()
    if (!response.ok) throw new HostError(`${method} ${path}: HTTP ${response.status}: ${text}`, { status: response.status, body: text })
    return text === "" ? null : JSON.parse(text)
  }

  /** @type {Awaited<ReturnType<typeof collectEvents>>} */
  let events
  try {
    await answers(`${url}/global/health`, run, deadline)
    events = await collectEvents(`${url}/global/event`, deadline)
    // The first call that concerns the project loads it and its plugins.
    await request("GET", "/config", undefined, { timeoutMs: startTimeoutMs })
    // A plugin whose module fails is told as an event without a session only. Our own event comes after it.
    await request("POST", "/tui/show-toast", { message: READY, variant: "info" })
    await events.waitFor(({ type, properties }) => type === "tui.toast.show" && properties.message === READY, REQUEST_TIMEOUT_MS)
    const told = events.all.filter(({ type, properties }) => type === "session.error" && !properties.sessionID)
    // One whose server function throws is told in the log only.
    const logged = run.output.stderr.split("\n").filter((line) => line.includes('message="failed to load plugin"'))
    const failures = [...told.map(({ properties }) => properties.error.data.message), ...logged]
    if (failures.length > 0) throw new HostError(failures.join("\n"))
  } catch (error) {
    await run.stop()
    throw new HostError(`OpenCode did not start: ${/** @type {Error} */ (error).message}\n${run.output.stderr.slice(-4_000)}`, { cause: error })
  }

  const session = (/** @type {string} */ id) => `/session/${encodeURIComponent(id)}`
  const promptBody = (/** @type {string | object} */ prompt) =>
    typeof prompt === "string" ? { parts: [{ type: "text", text: prompt }] } : prompt
  return {
    url,
    home: run.home,
    pid: run.pid,
    request,
    createSession: (body = {}) => request("POST", "/session", body),
    prompt: (id, prompt, options) => request("POST", `${session(id)}/message`, promptBody(prompt), options),
    promptAsync: (id, prompt) => request("POST", `${session(id)}/prompt_async`, promptBody(prompt)),
    command: (id, command, args = "", options) => request("POST", `${session(id)}/command`, { command, arguments: args }, options),
    abort: (id) => request("POST", `${session(id)}/abort`),
    messages: (id) => request("GET", `${session(id)}/message`),
    children: (id) => request("GET", `${session(id)}/children`),
    status: () => request("GET", "/session/status"),
    events: () => events,
    log: () => run.output.stdout + run.output.stderr,
    stop: run.stop,
    kill9: run.kill9,
  }
}

/**
 * Runs OpenCode once, e.g. `["run", "--command", "task", "…"]`, and waits for its end.
 * @param {HostOptions & { args: string[], timeoutMs?: number }} options `timeoutMs`: 120,000; then it is killed.
 * @returns {Promise<HostRun>}
 */
export async function runHost({ args, timeoutMs = RUN_TIMEOUT_MS, ...options }) {
  const run = launch(options, args)
  const timeout = new AbortController()
  const timedOut = await Promise.race([
    run.exited.then(() => false),
    sleep(timeoutMs, true, { signal: timeout.signal }).catch(() => false), // the abort below
  ])
  timeout.abort()
  if (timedOut) await run.kill9()
  const { code } = await run.exited
  const log = run.log()
  await run.stop()
  return { code, timedOut, ...run.output, log }
}

/**
 * Runs OpenCode once as its user would: with their own home, configuration and credentials, and the plugins added.
 * @param {{ project: string, plugin: string[], args: string[], maxSeconds: number }} options
 * @returns {Promise<{ code: number | null, stdout: string, stderr: string }>}
 */
export async function runUsersHost({ project, plugin, args, maxSeconds }) {
  // What is configured here comes on top of the user's files, and their plugins stay.
  // OpenCode believes PWD, where there is one, rather than the directory it was started in.
  const env = { ...process.env, PWD: project, OPENCODE_CONFIG_CONTENT: JSON.stringify({ plugin }) }
  const run = start({ binary: opencodeBinary(), project, args, maxSeconds, env })
  const { code } = await run.exited
  await run.stop()
  return { code, ...run.output }
}

/**
 * Makes and prepares a home in the system's temporary folder. The caller removes it.
 * @returns {string}
 */
export function createHome() {
  const home = mkdtempSync(join(realpathSync(tmpdir()), "opencode-home-"))
  for (const folder of [".local/share", ".local/state", ".cache", "tmp"]) mkdirSync(join(home, folder), { recursive: true })
  prepareConfigFolder(join(home, ".config/opencode"))
  return home
}

/**
 * Path of the OpenCode binary for this platform, from the optional dependencies of `opencode-ai`.
 * @returns {string}
 * @throws {HostError} when none is installed.
 */
export function opencodeBinary() {
  const base = `opencode-${process.platform}-${process.arch}`
  const report = /** @type {{ header: { glibcVersionRuntime?: string } }} */ (/** @type {unknown} */ (process.report.getReport()))
  const musl = process.platform === "linux" && report.header.glibcVersionRuntime === undefined
  const cpuinfo = "/proc/cpuinfo"
  const baseline = process.arch === "x64" && existsSync(cpuinfo) && !/\bavx2\b/.test(readFileSync(cpuinfo, "utf8"))
  const variants = baseline ? ["-baseline", ""] : ["", "-baseline"]
  const names = variants.map((variant) => `${base}${variant}${musl ? "-musl" : ""}`)
  for (const name of names) {
    try {
      return require.resolve(`${name}/bin/opencode`)
    } catch (error) {
      if (/** @type {NodeJS.ErrnoException} */ (error).code !== "MODULE_NOT_FOUND") throw error
    }
  }
  throw new HostError(`no OpenCode for this platform: neither of ${names.join(", ")} is in node_modules; run npm install with optional dependencies`)
}

/**
 * Starts the binary in a home of its own.
 * @param {HostOptions} options
 * @param {string[]} args
 */
function launch({ project, plugin = [], model, config = {}, env = {}, snapshot, home: given, maxSeconds = MAX_SECONDS, through = [] }, args) {
  const [binary, ...before] = /** @type {[string, ...string[]]} */ ([...through, opencodeBinary()])
  if (!existsSync(project)) throw new HostError(`project: there is no directory ${project}`)
  const home = given ?? createHome()
  if (existsSync(join(project, ".opencode"))) prepareConfigFolder(join(project, ".opencode"))
  // Not opencode.json: that one is the user's in this home, for an installer to edit.
  const configFile = join(home, "host.json")
  writeFileSync(configFile, JSON.stringify(merge(baseConfig({ plugin, model, snapshot }), config), null, 2))
  const logBefore = readLog(home).length
  const run = start({
    binary,
    project,
    args: [...before, ...args],
    maxSeconds,
    ...(!given && { remove: home }),
    env: {
      ...Object.fromEntries(INHERITED.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]]))),
      HOME: home,
      XDG_CONFIG_HOME: join(home, ".config"),
      XDG_DATA_HOME: join(home, ".local/share"),
      XDG_CACHE_HOME: join(home, ".cache"),
      XDG_STATE_HOME: join(home, ".local/state"),
      TMPDIR: join(home, "tmp"),
      OPENCODE_CONFIG: configFile,
      OPENCODE_DISABLE_AUTOUPDATE: "1",
      OPENCODE_DISABLE_MODELS_FETCH: "1",
      ...env,
    },
  })
  return { ...run, home, log: () => readLog(home).slice(logBefore) }
}

/**
 * Starts the binary in its own process group, with a guard.
 * @param {{ binary: string, project: string, args: string[], env: NodeJS.ProcessEnv, maxSeconds: number, remove?: string }} options
 *   `remove`: a folder that the guard removes at the end.
 */
function start({ binary, project, args, env, maxSeconds, remove }) {
  const guard = spawn(process.execPath, [fileURLToPath(new URL("guard.mjs", import.meta.url)), String(maxSeconds), ...(remove ? [remove] : [])], {
    detached: true,
    stdio: ["pipe", "ignore", "inherit"],
  })
  const guardEnded = new Promise((resolve) => guard.once("exit", resolve))
  guard.unref()
  const guardInput = /** @type {import("node:net").Socket} */ (guard.stdin)
  guardInput.on("error", () => {}).unref() // it has ended before us: its time was over

  const child = spawn(binary, args, {
    cwd: project,
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
    env,
  })
  const output = { stdout: "", stderr: "" }
  child.stdout.setEncoding("utf8").on("data", (text) => (output.stdout += text))
  child.stderr.setEncoding("utf8").on("data", (text) => (output.stderr += text))
  /** @type {Promise<{ code: number | null }>} */
  const exited = new Promise((resolve, reject) => {
    child.once("error", reject)
    child.once("close", (code) => resolve({ code }))
    // What OpenCode started and left behind may hold its output open for ever.
    child.once("exit", () => setTimeout(() => (child.stdout.destroy(), child.stderr.destroy()), LAST_OUTPUT_MS).unref())
  })
  const pid = /** @type {number} */ (child.pid)
  guardInput.write(`group ${pid}\n`)

  const signal = (/** @type {NodeJS.Signals} */ name) => {
    try {
      process.kill(-pid, name)
    } catch (error) {
      if (/** @type {NodeJS.ErrnoException} */ (error).code !== "ESRCH") throw error // ESRCH: nobody is left in the group
    }
  }
  /** @type {Promise<void> | undefined} */
  let ending
  const end = (/** @type {NodeJS.Signals} */ name) => (ending ??= terminate(name))
  const terminate = async (/** @type {NodeJS.Signals} */ name) => {
    signal(name)
    await Promise.race([exited, sleep(STOP_TIMEOUT_MS, undefined, { ref: false })])
    signal("SIGKILL") // those that ignore the signal, and what they started in their group
    await exited
    guardInput.write("group 0\n")
  }
  return {
    pid,
    output,
    exited,
    async stop() {
      await end("SIGTERM")
      guardInput.end()
      guard.ref()
      await guardEnded
    },
    kill9: () => end("SIGKILL"),
  }
}

/**
 * @param {Pick<HostOptions, "model" | "snapshot"> & { plugin: NonNullable<HostOptions["plugin"]> }} options
 */
function baseConfig({ plugin, model, snapshot }) {
  const limit = { context: 200_000, output: 32_000 }
  const cost = { input: 1, output: 5 }
  return {
    $schema: "https://opencode.ai/config.json",
    share: "disabled",
    plugin,
    ...(snapshot !== undefined && { snapshot }),
    ...(model && {
      model: "scripted/scripted",
      small_model: "scripted/small",
      enabled_providers: ["scripted"],
      provider: {
        scripted: {
          name: "Scripted",
          npm: "@ai-sdk/openai-compatible",
          options: { baseURL: model.url, apiKey: "none" },
          models: {
            scripted: { name: "Scripted", tool_call: true, reasoning: true, limit, cost },
            small: { name: "Scripted, small", tool_call: true, limit, cost },
          },
        },
      },
    }),
  }
}

/**
 * OpenCode's log file, which runs on the same home share. It lags behind by up to a second while OpenCode lives.
 * @param {string} home
 */
function readLog(home) {
  const file = join(home, ".local/share/opencode/log/opencode.log")
  return existsSync(file) ? readFileSync(file, "utf8") : ""
}

/**
 * Makes OpenCode find `@opencode-ai/plugin` installed in one of its config folders; a folder that has packages is left
 * alone. A host does so for its project; whoever asks it for another directory has to.
 * @param {string} folder
 */
export function prepareConfigFolder(folder) {
  const modules = join(folder, "node_modules")
  const manifest = join(folder, "package.json")
  if (existsSync(modules) || existsSync(manifest)) return
  const installed = dirname(dirname(fileURLToPath(import.meta.resolve("@opencode-ai/plugin"))))
  const { name, version } = JSON.parse(readFileSync(join(installed, "package.json"), "utf8"))
  const dependencies = { [name]: version }
  mkdirSync(join(modules, dirname(name)), { recursive: true })
  symlinkSync(installed, join(modules, name), "dir")
  writeFileSync(manifest, JSON.stringify({ dependencies }))
  writeFileSync(join(folder, "package-lock.json"), JSON.stringify({ lockfileVersion: 3, requires: true, packages: { "": { dependencies } } }))
}

/**
 * Waits until the URL answers, the process ends, or the deadline is over.
 * @param {string} url
 * @param {ReturnType<typeof launch>} run
 * @param {AbortSignal} deadline
 */
async function answers(url, run, deadline) {
  let exit = /** @type {{ code: number | null } | undefined} */ (undefined)
  run.exited.then((result) => (exit = result), () => (exit = { code: null }))
  while (!deadline.aborted) {
    if (exit) throw new HostError(`it ended with code ${exit.code}: ${run.output.stderr}`)
    const ok = await fetch(url, { signal: AbortSignal.timeout(PROBE_TIMEOUT_MS) }).then((response) => response.ok, () => false)
    if (ok) return
    await sleep(PROBE_PAUSE_MS)
  }
  throw new HostError("no answer in time")
}

/**
 * Opens an event stream and resolves when it is connected.
 * @param {string} url
 * @param {AbortSignal} deadline Bounds the connection, not the stream.
 * @returns {Promise<HostEvents>}
 */
async function collectEvents(url, deadline) {
  /** @type {HostEvent[]} */
  const all = []
  /** @type {Set<{ check: (event: HostEvent) => void, fail: (reason: string) => void }>} */
  const waiting = new Set()
  let over = ""

  const connection = new AbortController()
  const giveUp = () => connection.abort(deadline.reason)
  deadline.addEventListener("abort", giveUp)
  const { body } = await fetch(url, { signal: connection.signal })
  deadline.removeEventListener("abort", giveUp)

  const read = async () => {
    let rest = ""
    for await (const text of /** @type {ReadableStream} */ (body).pipeThrough(new TextDecoderStream())) {
      const blocks = (rest + text).split("\n\n")
      rest = /** @type {string} */ (blocks.pop())
      for (const block of blocks) {
        const { directory, payload } = JSON.parse(block.replace(/^data: /, ""))
        const event = { ...payload, directory }
        all.push(event)
        for (const { check } of waiting) check(event)
      }
    }
  }
  read()
    .catch((error) => error.message) // the host was killed: what arrived until then counts
    .then((reason) => {
      over = `the event stream is over: ${reason ?? "closed"}`
      for (const { fail } of waiting) fail(over)
    })

  return {
    all,
    waitFor(predicate, timeoutMs, from = 0) {
      const past = all.slice(from).find(predicate)
      if (past) return Promise.resolve(past)
      return new Promise((resolve, reject) => {
        const settle = () => {
          clearTimeout(timer)
          waiting.delete(waiter)
        }
        const waiter = {
          check(/** @type {HostEvent} */ event) {
            if (!predicate(event)) return
            settle()
            resolve(event)
          },
          fail(/** @type {string} */ reason) {
            settle()
            reject(new HostError(`${reason}; last events: ${all.slice(-12).map(({ type }) => type).join(", ")}`))
          },
        }
        const timer = setTimeout(() => waiter.fail(`no such event in ${timeoutMs} ms`), timeoutMs)
        waiting.add(waiter)
        if (over) waiter.fail(over)
      })
    },
  }
}

/** @returns {Promise<number>} */
function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once("error", reject).listen(0, "127.0.0.1", () => {
      const { port } = /** @type {import("node:net").AddressInfo} */ (server.address())
      server.close(() => resolve(port))
    })
  })
}

/**
 * @param {any} base
 * @param {any} over
 * @returns {any}
 */
function merge(base, over) {
  const isObject = (/** @type {unknown} */ value) => value !== null && typeof value === "object" && !Array.isArray(value)
  if (!isObject(base) || !isObject(over)) return over
  const merged = Object.entries(over).map(([key, value]) => [key, key in base ? merge(base[key], value) : value])
  return { ...base, ...Object.fromEntries(merged) }
}

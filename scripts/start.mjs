/**
 * `npm start`: shows the product at work on a fresh clone with Node and Rust.
 *
 * Without arguments a mission builds a REST service from `demo/project`. The model is scripted (`demo/scenario.json`); all
 * else is real: the packages as they would be published, OpenCode and its own installer, the sessions and their tools, the
 * files, the acceptance commands and their exit codes. With `--model` the same is done with the user's own model, in a
 * project of theirs. The process ends with 0 only when the mission was sealed and, in the demo, the project's tests pass.
 */
import { execFileSync, spawnSync } from "node:child_process"
import { cpSync, mkdtempSync, readFileSync, realpathSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath, pathToFileURL } from "node:url"
import { parseArgs } from "node:util"
import { install } from "./install.mjs"

const HELP = `npm start
    Runs a mission with a scripted model, in a new folder and a temporary home. Nothing of yours is read or changed.

npm start -- --model <provider/model> --dir <folder> "<task>"
    Runs a mission in the folder with your own model: your OpenCode configuration and credentials are used, the plugin
    is added to them for this run. Nobody can be asked in this mode: what your permissions would ask about is rejected.

  --model  a model as OpenCode names it: provider/model
  --dir    the folder of the project, from where you called npm
  --help   this text

The OpenCode that runs is the one in node_modules. Ctrl-C ends it; what was done until then stays.`

const OBJECTIVE =
  "Build a REST service that keeps notes in memory: create, read, change, delete and search them over HTTP, start it " +
  "from the command line, test it, and document it."

/** How often we look how the mission stands; a check of the demo takes longer, so none is missed. */
const POLL_MS = 100
/** Far more than it takes, for machines that have something else to do. */
const DEMO_TIMEOUT_MS = 600_000
/** A mission with a real model may take its time; after a day it is ended. */
const MISSION_SECONDS_MAX = 86_400

const root = fileURLToPath(new URL("..", import.meta.url))
const started = Date.now()

/** A mistake in the arguments. */
class UsageError extends Error {}

/** @returns {{ model: string, directory: string, objective: string } | "demo" | "help"} */
function readArguments() {
  const options = /** @type {const} */ ({ model: { type: "string" }, dir: { type: "string" }, help: { type: "boolean", short: "h" } })
  const { values, positionals } = parseArgs({ options, allowPositionals: true })
  const { model, dir, help } = values
  if (help) return "help"
  if (model === undefined && dir === undefined && positionals.length === 0) return "demo"
  const [objective = "", ...rest] = positionals
  if (rest.length > 0) throw new UsageError(`one task is expected, ${positionals.length} were given; put it in quotes`)
  if (objective.trim() === "") throw new UsageError('the task is missing, as in: npm start -- --model … --dir … "Add a license"')
  if (!model) throw new UsageError("--model is missing, such as anthropic/claude-sonnet-4-5")
  if (!/^[^/]+\/./.test(model)) throw new UsageError(`--model: expected provider/model, found ${model}`)
  if (!dir) throw new UsageError("--dir is missing: the folder of the project to work in")
  // npm changes the directory, and tells where it was called.
  const directory = resolve(process.env["INIT_CWD"] ?? process.cwd(), dir)
  if (!statSync(directory, { throwIfNoEntry: false })?.isDirectory()) throw new UsageError(`--dir: ${directory} is not a folder`)
  return { model, directory: realpathSync(directory), objective }
}

/** Prints a line with the clock. @param {string} what @param {string} text */
function say(what, text) {
  console.log(`${((Date.now() - started) / 1000).toFixed(1).padStart(6)} s  ${what.padEnd(9)} ${text}`)
}

const seconds = (/** @type {number} */ ms) => `${(ms / 1000).toFixed(1)} s`
const count = (/** @type {number} */ number, /** @type {string} */ what) => `${number} ${what}${number === 1 ? "" : "s"}`

// --- Running a mission ---

/** @typedef {import("../plugin/native.ts").MissionSummary} Mission */
/** @typedef {{ mission?: Mission, stdout: string, stderr: string, launchedAt: number }} Outcome */

/**
 * Prints what changes in the new mission of a project while `run` is under way, and gives how it stands at the end.
 * @param {string} project
 * @param {() => Promise<{ stdout: string, stderr: string }>} run
 * @returns {Promise<Outcome>}
 */
async function follow(project, run) {
  const { hasJournal, readMissions } = await import("../index.js")
  const missions = () => /** @type {Mission[]} */ (hasJournal(project) ? readMissions(project) : [])
  const before = new Set(missions().map(({ id }) => id))
  /** @type {Map<string, { state: string, fixes: number }>} */
  const seen = new Map()
  /** @type {Mission | undefined} */
  let mission

  const look = () => {
    try {
      mission = missions().find(({ id }) => !before.has(id))
    } catch (error) {
      // For a moment the journal is an empty file.
      if (/** @type {{ code?: string }} */ (error).code === "JOURNAL_MISSING") return
      throw error
    }
    if (mission) show(mission, seen)
  }

  const launchedAt = Date.now()
  let over = false
  const running = run().finally(() => (over = true))
  // Whatever becomes of it is told by the await below.
  const ended = running.catch(() => {})
  while (!over) {
    look()
    await Promise.race([ended, sleep(POLL_MS)])
  }
  const output = await running
  look()
  return { ...output, launchedAt, ...(mission && { mission }) }
}

/** @param {Mission} mission @param {Map<string, { state: string, fixes: number }>} seen by task, and "" for the mission */
function show(mission, seen) {
  const before = seen.get("")?.state
  const { stage } = mission
  seen.set("", { state: stage, fixes: 0 })
  // The plan comes before its tasks; every other stage follows from them.
  const isPlanned = before === "planning" && stage !== before && mission.tasks.length > 0
  if (isPlanned) say("plan", `${count(mission.tasks.length, "task")} in ${count(waves(mission), "wave")}; ${stage}`)
  for (const { id, title, state, wave, fixes, started, ended } of inWaves(mission)) {
    const last = seen.get(id)
    if (state === last?.state && fixes === last.fixes) continue
    seen.set(id, { state, fixes })
    const line = (/** @type {string} */ text) => say(`wave ${wave}`, `${id.padEnd(14)} ${text}`)
    if (fixes > (last?.fixes ?? 0)) line(`${SENT_BACK[last?.state ?? ""] ?? "was sent back"}: fix ${fixes}`)
    else if (state === "running") line(`starts: ${title}`)
    else if (state === "done" && started !== null && ended !== null) line(`is done after ${seconds(ended - started)}`)
    else if (state !== "pending" && state !== "ready") line(STATES[state] ?? `is ${state}`)
  }
  if (stage !== before && !isPlanned) say("mission", stage)
}

/** @type {Record<string, string>} */
const STATES = { checking: "is submitted: its acceptance commands run", reviewing: "passed its checks and is reviewed" }
/** @type {Record<string, string>} By the state before. */
const SENT_BACK = { checking: "failed its checks", reviewing: "did not pass its review" }

const waves = (/** @type {Mission} */ mission) => Math.max(0, ...mission.tasks.map(({ wave }) => wave))
const inWaves = (/** @type {Mission} */ mission) => [...mission.tasks].sort((a, b) => a.wave - b.wave)

// --- The summary ---

/**
 * Says how the mission went, by what is on disk.
 * @param {string} project
 * @param {Outcome} outcome
 * @param {number} [firstWorker] Time of the first worker's first model request; without it, of the first task's start.
 */
async function summarise(project, { mission, stdout, stderr, launchedAt }, firstWorker) {
  if (!mission) {
    console.error(`\nOpenCode ended without a mission.\n${(stderr + stdout).trim().slice(-4_000)}`)
    return
  }
  const { verifyJournal } = await import("../index.js")
  const { sequence } = verifyJournal(project)
  const starts = mission.tasks.flatMap(({ started }) => started ?? [])
  const first = firstWorker ?? (starts.length > 0 ? Math.min(...starts) : undefined)
  const commands = await commandsRun(project, mission)
  const runs = [...commands.values()].flat().length

  console.log(`\n${mission.headline}\n`)
  for (const { id, wave, state, fixes, started, ended } of inWaves(mission)) {
    const time = started === null || ended === null ? "" : seconds(ended - started)
    console.log(`  wave ${wave}  ${id.padEnd(14)} ${state.padEnd(8)} ${time.padStart(7)}  ${fixes > 0 ? count(fixes, "fix attempt") : ""}`.trimEnd())
  }
  console.log()
  row("plan", `${count(mission.tasks.length, "task")} in ${count(waves(mission), "wave")}`)
  row("sessions", `${mission.sessions}, with ${count(mission.steps, "model request")}`)
  if (first !== undefined) row("first worker", `${seconds(first - launchedAt)} after OpenCode was started`)
  row("mission", `${seconds((mission.ended ?? Date.now()) - mission.started)} from the command to the end`)
  row("fixes", String(mission.tasks.reduce((sum, { fixes }) => sum + fixes, 0)))
  row("checks", `${count(runs, "command")} run by the engine; exit codes:`)
  for (const [command, codes] of commands) console.log(`  ${codes.map((code) => code ?? "none").join(", ").padStart(15)}  ${command}`)
  row("files", project)
  row("journal", `${join(project, ".opencode/orchestrator/journal.db")}: ${sequence} records, verified`)
  row("task list", join(project, ".opencode/todo.md"))
  row("look at it", `node ${join(root, "dist/cli.js")} status ${project}`)
  row("", `node ${join(root, "dist/cli.js")} verify ${project}`)
}

/** @param {string} what @param {string} text */
function row(what, text) {
  console.log(`  ${what.padEnd(13)} ${text}`)
}

/**
 * The commands that the engine ran for a mission, with the exit codes of each, from the journal.
 *
 * @param {string} project
 * @param {Mission} mission
 * @returns {Promise<Map<string, (number | null)[]>>}
 */
async function commandsRun(project, { started, ended }) {
  const { exportJournal } = await import("../index.js")
  const folder = mkdtempSync(join(tmpdir(), "orchestrator-export-"))
  const file = join(folder, "journal.ndjson")
  exportJournal(project, file)
  const records = readFileSync(file, "utf8").trimEnd().split("\n").map((line) => JSON.parse(JSON.parse(line).body))
  rmSync(folder, { recursive: true })
  /** @type {Map<string, (number | null)[]>} */
  const commands = new Map()
  for (const { at, event } of records) {
    if (event.type !== "checksFinished" || at < started || at > (ended ?? Infinity)) continue
    for (const { kind, argv, exitCode } of event.report.evidence) {
      if (kind !== "command") continue
      const command = argv.join(" ")
      commands.set(command, [...(commands.get(command) ?? []), exitCode])
    }
  }
  return commands
}

/**
 * What only the scripted model can tell: how large the requests of each role are, and which tools were called.
 * @param {import("../demo/model.mjs").Model} model
 */
function summariseRequests(model) {
  const { requests } = model
  row("roles", "sessions, requests; bytes of system prompt and tools in each request")
  for (const agent of ["commander", "planner", "worker", "reviewer"]) {
    const own = requests.filter((request) => request.agent === agent)
    const first = own[0]
    if (!first) continue
    const sessions = new Set(own.map(({ sessionID }) => sessionID)).size
    const cells = [sessions, own.length, first.systemBytes, first.toolsBytes].map((number) => String(number).padStart(6))
    console.log(`  ${agent.padStart(15)} ${cells.join("  ")}  (${count(first.tools.length, "tool")})`)
  }
  /** @type {Map<string, number>} */
  const calls = new Map()
  // A session's newest request has all its messages.
  const sessions = new Map(requests.map(({ sessionID, messages }) => [sessionID, messages]))
  for (const { tool_calls } of [...sessions.values()].flat()) {
    for (const { function: called } of tool_calls ?? []) calls.set(called.name, (calls.get(called.name) ?? 0) + 1)
  }
  row("tools called", [...calls].sort(([, a], [, b]) => b - a).map(([name, number]) => `${name} ${number}`).join(", "))
  const unmatched = model.unmatched().length
  if (unmatched > 0) row("the scenario", `has no rule for ${count(unmatched, "request")}`)
}

// --- The two ways ---

async function runDemo() {
  const { runHost } = await import("../demo/host.mjs")
  const { startModel } = await import("../demo/model.mjs")
  const { startRegistry } = await import("../demo/registry.mjs")
  const { pack } = await import("./pack.mjs")

  say("pack", "the package and its platform package, as they would be published")
  const tarballs = pack(join(root, "target/packages"))
  const registry = await startRegistry({ tarballs })
  const { name, version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
  say("registry", `${registry.url} serves ${name}@${version}`)
  const model = await startModel({ scenario: join(root, "demo/scenario.json") })
  say("model", `${model.url} plays demo/scenario.json`)
  const project = layOut()
  say("project", project)

  say("opencode", `${opencodeVersion()} in a temporary home; it installs ${name}@${version} by itself`)
  const outcome = await follow(project, () =>
    runHost({
      project,
      plugin: [`${name}@${version}`],
      model,
      env: registry.env,
      args: ["run", "--command", "task", OBJECTIVE],
      timeoutMs: DEMO_TIMEOUT_MS,
    }),
  )
  say("opencode", "has ended")
  const firstWorker = model.requests.find(({ agent }) => agent === "worker")?.at
  await summarise(project, outcome, firstWorker)
  summariseRequests(model)
  await model.close()
  await registry.close()

  const tests = spawnSync("npm", ["test", "--silent"], { cwd: project, encoding: "utf8" })
  const totals = tests.stdout.match(/(?:tests|pass|fail) \d+/g) ?? []
  row("its tests", `npm test: exit code ${tests.status}; ${totals.join(", ")}`)
  return outcome.mission?.stage === "sealed" && tests.status === 0
}

/** @param {{ model: string, directory: string, objective: string }} options */
async function runOwn({ model, directory, objective }) {
  const { runUsersHost } = await import("../demo/host.mjs")
  // The work tree itself is the plugin: a package under its published name would stay in the user's cache.
  const plugin = [pathToFileURL(root).href]
  say("opencode", `${opencodeVersion()} in ${directory}, with ${model}`)
  const outcome = await follow(directory, () =>
    runUsersHost({
      project: directory,
      plugin,
      args: ["run", "--model", model, "--command", "task", objective],
      maxSeconds: MISSION_SECONDS_MAX,
    }),
  )
  say("opencode", "has ended")
  await summarise(directory, outcome)
  if (!outcome.mission) console.error("\nDoes OpenCode know the model? `opencode models` lists those it does.")
  return outcome.mission?.stage === "sealed"
}

/** Puts the project of the demo into a folder of its own, as a repository. It is kept. */
function layOut() {
  const project = mkdtempSync(join(realpathSync(tmpdir()), "notes-service-"))
  cpSync(join(root, "demo/project"), project, { recursive: true })
  const git = (/** @type {string[]} */ ...args) => execFileSync("git", args, { cwd: project, stdio: ["ignore", "ignore", "inherit"] })
  git("init", "--quiet")
  git("add", "--all")
  git("-c", "user.name=npm start", "-c", "user.email=npm-start@localhost", "commit", "--quiet", "--message", "Start a service")
  return project
}

function opencodeVersion() {
  return JSON.parse(readFileSync(join(root, "node_modules/opencode-ai/package.json"), "utf8")).version
}

async function main() {
  const wanted = readArguments()
  if (wanted === "help") {
    console.log(HELP)
    return true
  }
  say("install", "the development dependencies, unless they are up to date")
  install()
  say("build", "the addon, optimised; its types; the bundles")
  const { buildPackage } = await import("./build.mjs")
  await buildPackage({ profile: "release" })
  const good = await (wanted === "demo" ? runDemo() : runOwn(wanted))
  console.log()
  say(good ? "good" : "not good", `in all, with exit code ${good ? 0 : 1}`)
  return good
}

try {
  process.exitCode = (await main()) ? 0 : 1
} catch (error) {
  const { code, message } = /** @type {NodeJS.ErrnoException} */ (error)
  const isUsage = error instanceof UsageError || code?.startsWith("ERR_PARSE_ARGS")
  console.error(isUsage ? `${message}\n\n${HELP}` : error)
  process.exitCode = isUsage ? 2 : 1
}

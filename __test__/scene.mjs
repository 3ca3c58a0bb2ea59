/**
 * Scenes for tests on the real OpenCode, with the plugin as it would be published: packed, and installed by OpenCode's own
 * installer. The scripted model plays every role.
 *
 * The tests of a file share one `opencode serve`. Each has a project of its own, and so an instance of the plugin of its own,
 * and a model of its own, which the project's opencode.json names.
 */
import assert from "node:assert/strict"
import { execFileSync, spawnSync } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { after, before } from "node:test"
import { setTimeout as sleep } from "node:timers/promises"
import { pathToFileURL } from "node:url"
import { createHome, prepareConfigFolder, runHost, startHost } from "../demo/host.mjs"
import { startModel } from "../demo/model.mjs"
import { startRegistry } from "../demo/registry.mjs"
import { pack } from "../scripts/pack.mjs"

const NAME = "opencode-orchestrator-native"
/** For one wait; on a quiet machine nothing here takes longer than two seconds. */
export const DEADLINE_MS = 60_000
/** For a whole mission. */
const MISSION_MS = 120_000

const folder = mkdtempSync(join(realpathSync(tmpdir()), "scene-"))
let registry, spec, home
/** The host that the tests of the file share; a test that ends it puts another in its place. */
export const stage = { host: undefined }
/** The native API of the package that OpenCode installed, and its path. */
export const native = {}

before(async () => {
  registry = await startRegistry({ tarballs: pack(join(folder, "packages")) })
  const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"))
  spec = `${NAME}@${version}`
  home = createHome()
  stage.host = await start()
  const path = installed("index.js")
  Object.assign(native, { path, ...(await import(pathToFileURL(path).href)) })
})

/** Where a file of the package is that OpenCode has installed. */
const installed = (file) => join(home, ".cache/opencode/packages", spec, "node_modules", NAME, file)
export const installedPlugin = () => pathToFileURL(installed("dist/server.js")).href

/** Runs the package's command line, as its user would beside OpenCode. */
export function commandLine(...args) {
  const { status: code, stdout, stderr } = spawnSync(process.execPath, [installed("dist/cli.js"), ...args], { encoding: "utf8", timeout: DEADLINE_MS })
  return { code, stdout: stdout.trimEnd(), stderr: stderr.trimEnd() }
}

after(async () => {
  await stage.host?.stop()
  await registry?.close()
  if (home) rmSync(home, { recursive: true, force: true, maxRetries: 5 })
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
})

/** What every host here is started with; the model of a project is named in its own configuration. */
const common = () => ({ plugin: [spec], model: { url: "http://127.0.0.1:9/v1" }, snapshot: false, home, env: registry.env })

export const start = (more) => startHost({ ...common(), project: mkdtempSync(join(folder, "base-")), ...more })

// --- Scenes: a project, its model, and what the roles do ---

const AGENTS = {
  planner: "^You plan a change",
  worker: "^You carry out one task",
  reviewer: "^You judge work",
  commander: "^You are the commander",
}

export const task = (id, more = {}) => ({
  id,
  title: `Write ${id}`,
  objective: `Write the file ${id}.txt.`,
  files: [`${id}.txt`],
  acceptance: [["test", "-s", `${id}.txt`]],
  ...more,
})
export const submitPlan = (tasks, checks = [["true"]]) => ({ tool: "submit_plan", args: { tasks, checks } })
export const write = (filePath, content) => ({ tool: "write", args: { filePath, content } })
export const submitWork = (...files) => ({ tool: "submit_work", args: { summary: `Wrote ${files.join(", ")}.`, files } })
export const submitReview = (verdict, ...findings) => ({ tool: "submit_review", args: { verdict, summary: `It is a ${verdict}.`, findings } })
export const say = (text) => ({ text })
/** What a worker does who makes no trouble. */
export const does = (id) => [write(`${id}.txt`, `by ${id}\n`), submitWork(`${id}.txt`), say(`${id} is done`)]
/** Keeps a worker in the middle of its turn until `scene.open(name)`. */
export const waitAt = (name) => ({ tool: "bash", args: { command: waiting(name), description: "waits", timeout: DEADLINE_MS } })
export const waiting = (name) => `for i in $(seq 1200); do if [ -e .git/${name} ]; then break; fi; sleep 0.05; done`

/**
 * The rules by which the roles act. A step list is played once in each session of its role; reviewers agree unless
 * `rules`, which come first, say otherwise.
 * @param {{ plan: object[], work?: Record<string, object[]>, rules?: object[] }} roles `work`: by task
 */
export const scenario = ({ plan, work = {}, rules = [] }) => ({
  agents: AGENTS,
  rules: [
    ...rules,
    { name: "plan", when: { agent: "planner" }, steps: [...plan, say("planned")] },
    ...Object.entries(work).map(([id, steps]) => ({ name: `work ${id}`, when: isWorker(id), steps })),
    { name: "review", when: { agent: "reviewer" }, steps: [submitReview("pass"), say("reviewed")] },
    { name: "command", when: { agent: "commander" }, steps: [say("Off it goes.")], repeat: true },
  ],
})
const isWorker = (id) => ({ agent: "worker", firstUser: `: task ${id}\n` })

/**
 * Makes a project whose model plays the scenario, and gives what a test does with it.
 * @param {import("node:test").TestContext} t
 * @param {{ scenario: object, files?: Record<string, string>, config?: object, options?: object, plugins?: Function }} options
 *   `options`: the plugin's; `plugins`: others that the project loads, of its folder
 */
export async function setUp(t, { scenario, files = {}, config = {}, limits, options = limits && { limits }, plugins = () => [] }) {
  const model = await startModel({ scenario })
  t.after(() => model.close())
  const directory = mkdtempSync(join(folder, "project-"))
  const put = (file, content) => {
    mkdirSync(dirname(join(directory, file)), { recursive: true })
    writeFileSync(join(directory, file), content)
  }
  const more = (name) => ({ name, tool_call: true, limit: { context: 200_000, output: 32_000 } })
  // By its name OpenCode offers a GPT other tools: apply_patch in place of edit and write.
  const models = { "gpt-5": more("Scripted GPT"), second: more("Second") }
  const provider = { scripted: { options: { baseURL: model.url }, models } }
  const plugin = options && [[spec, options], ...plugins(directory)]
  // OpenCode writes the schema into a configuration that names none.
  put("opencode.json", JSON.stringify({ $schema: "https://opencode.ai/config.json", provider, ...(plugin && { plugin }), ...config }))
  for (const [file, content] of Object.entries(files)) put(file, content)
  const git = (...args) => execFileSync("git", ["-c", "user.name=t", "-c", "user.email=t@t", ...args], { cwd: directory, stdio: "ignore" })
  git("init", "-q")
  git("add", "-A")
  // OpenCode takes repositories with the same first commit for one.
  git("commit", "-qm", directory)
  prepareConfigFolder(join(directory, ".opencode"))

  const scene = {
    directory,
    model,
    /** The host that serves the project. */
    host: stage.host,
    put,
    read: (file, encoding = "utf8") => readFileSync(join(directory, file), encoding),
    has: (file) => existsSync(join(directory, file)),
    open: (name) => put(`.git/${name}`, ""),
    todo: () => scene.read(".opencode/todo.md"),
    mission: () => native.readMissions(directory).at(-1),
    request: (method, path, body, options) =>
      scene.host.request(method, `${path}?directory=${encodeURIComponent(directory)}`, body, options),
    createSession: async () => (await scene.request("POST", "/session", { title: "root" })).id,
    /** Runs a command and gives the text of its answer. */
    command(session, command, words = "") {
      const body = { command, arguments: words }
      const answer = scene.request("POST", `/session/${session}/command`, body, { timeoutMs: MISSION_MS })
      const text = answer.then(({ parts }) => textOf(parts))
      text.catch(() => {}) // a test that has failed no longer waits for it
      return text
    },
    messages: (session) => scene.request("GET", `/session/${session}/message`),
    children: (session) => scene.request("GET", `/session/${session}/children`),
    status: () => scene.request("GET", "/session/status"),
    /** Runs OpenCode once in the project. */
    run: (...args) => runHost({ ...common(), project: directory, args: ["run", ...args], timeoutMs: MISSION_MS }),
    /** What was asked of the model by a rule, or by those whose name it begins. */
    asked: (rule) => model.requests.filter((request) => request.rule?.startsWith(rule)),
    /** Waits until a step of a rule is under way. */
    reached: (rule, step = 0) => model.waitFor((request) => request.rule === rule && request.step === step, DEADLINE_MS),
    /** Waits until the mission's summary on disk is as wanted. */
    until: (what, predicate) =>
      until(what, () => scene.mission() && predicate(scene.mission()), () => JSON.stringify({ mission: scene.mission(), asked: model.requests.map(askedText) }, null, 1)),
  }
  return scene
}

export const textOf = (parts) => parts.filter(({ type }) => type === "text").map(({ text }) => text).join("\n")

const askedText = ({ rule, step, sessionID, endedAt }) => `${rule} ${step} of ${sessionID}${endedAt === null ? ", not answered" : ""}`

/** Waits for a condition of which nobody is told. `state` says what there was instead. */
export async function until(what, condition, state = () => "") {
  for (const end = Date.now() + DEADLINE_MS; Date.now() < end; await sleep(25)) {
    const value = await condition()
    if (value) return value
  }
  assert.fail(`not in ${DEADLINE_MS} ms: ${what}\n${state()}`)
}

/** Waits until the user has been shown a toast in the project. */
export const toasted = ({ directory, host }, text, from) =>
  host.events().waitFor(({ type, properties, directory: of }) => type === "tui.toast.show" && of === directory && text.test(properties.message), DEADLINE_MS, from)

export function isAlive(pid) {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

/** The results of a tool that a model was shown, over all requests of a session. */
export function resultsOf(requests, tool) {
  const messages = requests.at(-1)?.messages ?? []
  const calls = new Map(messages.flatMap(({ tool_calls }) => tool_calls ?? []).map((call) => [call.id, call.function.name]))
  return messages.filter(({ role, tool_call_id }) => role === "tool" && calls.get(tool_call_id) === tool).map(({ content }) => contentText(content))
}
export const contentText = (content) => (typeof content === "string" ? content : content.map(({ text }) => text ?? "").join("\n"))
/** The prompts in the newest request of a session. */
export const promptsOf = (requests) => (requests.at(-1)?.messages ?? []).filter(({ role }) => role === "user").map(({ content }) => contentText(content))

import assert from "node:assert/strict"
import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { after, before, test } from "node:test"
import { setTimeout as sleep } from "node:timers/promises"
import { pathToFileURL } from "node:url"
import { HostError, runHost, startHost } from "../demo/host.mjs"
import { startModel } from "../demo/model.mjs"
import { startRegistry } from "../demo/registry.mjs"

const PLATFORM = `${process.platform}-${process.arch}`
const PLUGIN = `export default {
  id: "greeter",
  server: async () => ({
    config: async (config) => {
      config.command = { greet: { template: "GREET $ARGUMENTS", description: "greets" } }
    },
  }),
}`

const rules = [
  { name: "write", when: { user: "^write (?<file>\\S+)" }, steps: [{ tool: "write", args: { filePath: "${file}", content: "made for ${file}\n" } }, { text: "written" }] },
  { name: "hang", when: { user: "^hang" }, steps: [{ fault: "hang" }] },
  { name: "greet", when: { user: "^GREET \"?(?<who>\\w+)" }, steps: [{ text: "hello ${who}" }] },
  { name: "talk", when: { user: "^talk" }, steps: [{ text: "talked" }], repeat: true },
]

const folder = mkdtempSync(join(realpathSync(tmpdir()), "host-test-"))
const project = join(folder, "project")
const plugin = [pathToFileURL(join(folder, "greeter.mjs")).href]
let model
let host

const text = ({ parts }) => parts.filter(({ type }) => type === "text").map(({ text }) => text).join("")
const isIdle = (id) => ({ type, properties }) => type === "session.idle" && properties.sessionID === id

before(async () => {
  mkdirSync(project)
  writeFileSync(join(folder, "greeter.mjs"), PLUGIN)
  model = await startModel({ scenario: { rules } })
  host = await startHost({ project, plugin, model, snapshot: false })
})

after(async () => {
  await host?.stop()
  await model?.close()
  rmSync(folder, { recursive: true, force: true })
})

test("the scripted model answers a prompt, and the turn has a cost", async () => {
  const session = await host.createSession({ title: "talk" })
  const answer = await host.prompt(session.id, "talk to me")
  assert.equal(text(answer), "talked")
  assert.equal(answer.info.finish, "stop")
  assert.ok(answer.info.cost > 0 && answer.info.tokens.input > 0)
  const [request] = model.requests.filter(({ sessionID }) => sessionID === session.id)
  assert.ok(request.tools.includes("write") && request.systemBytes > 0 && request.toolsBytes > 0)
})

test("a tool call is carried out", async () => {
  const session = await host.createSession({ title: "write" })
  assert.equal(text(await host.prompt(session.id, "write hello.txt please")), "written")
  assert.equal(readFileSync(join(project, "hello.txt"), "utf8"), "made for hello.txt\n")
})

test("the plugin's command runs", async () => {
  const session = await host.createSession({ title: "greet" })
  assert.equal(text(await host.command(session.id, "greet", "you")), "hello you")
})

test("a child session is known to the host and to the model", async () => {
  const parent = await host.createSession({ title: "parent" })
  const child = await host.createSession({ parentID: parent.id, title: "child" })
  await host.promptAsync(child.id, "talk")
  await host.events().waitFor(isIdle(child.id), 10_000)
  assert.deepEqual((await host.children(parent.id)).map(({ id }) => id), [child.id])
  assert.equal(model.requests.find(({ sessionID }) => sessionID === child.id).parentSessionID, parent.id)
})

test("a turn that hangs is busy until it is aborted", async () => {
  const session = await host.createSession({ title: "hang" })
  const mark = host.events().all.length
  await host.promptAsync(session.id, "hang")
  await model.waitFor(({ sessionID }) => sessionID === session.id, 10_000)
  assert.equal((await host.status())[session.id].type, "busy")
  assert.equal(await host.abort(session.id), true)
  await host.events().waitFor(isIdle(session.id), 10_000, mark)
  await model.waitFor(({ sessionID, aborted }) => sessionID === session.id && aborted, 10_000)
})

test("an error of the host carries its status", async () => {
  await assert.rejects(startHost({ project: join(folder, "nowhere") }), /there is no directory/)
  await assert.rejects(host.messages("ses_none"), (error) => error instanceof HostError && error.status === 404)
  await assert.rejects(host.events().waitFor(() => false, 20), /no such event in 20 ms; last events: .*session\./)
})

test("sessions outlive kill -9 when the home is used again", async () => {
  const session = await host.createSession({ title: "survivor", metadata: { mission: "m1" } })
  await host.prompt(session.id, "talk")
  await host.kill9()
  await assert.rejects(host.status(), TypeError)
  await assert.rejects(host.events().waitFor(() => false, 10_000, host.events().all.length), /stream is over/)

  const again = await startHost({ project, plugin, model, snapshot: false, home: host.home })
  try {
    assert.deepEqual((await again.request("GET", `/session/${session.id}`)).metadata, { mission: "m1" })
    assert.equal(text((await again.messages(session.id)).at(-1)), "talked")
    assert.equal(text(await again.prompt(session.id, { agent: "build", parts: [{ type: "text", text: "talk more" }] })), "talked")
  } finally {
    await again.stop()
  }
  assert.ok(existsSync(host.home), "a home that was given stays")
})

test("run answers once and ends; one that does not end is killed, by its time limit or by its guard", async () => {
  const run = await runHost({ project, plugin, model, snapshot: false, args: ["run", "--command", "greet", "world"] })
  assert.deepEqual([run.code, run.timedOut, run.stdout.trim()], [0, false, "hello world"])
  const late = await runHost({ project, plugin, model, snapshot: false, args: ["run", "hang"], timeoutMs: 500 })
  assert.deepEqual([late.code, late.timedOut], [null, true])
  const guarded = await runHost({ project, args: ["serve"], maxSeconds: 1 })
  assert.deepEqual([guarded.code, guarded.timedOut], [null, false])
})

test("a plugin that cannot be loaded is an error with its reason", async () => {
  writeFileSync(join(folder, "throws.mjs"), 'throw new Error("no native binary")')
  writeFileSync(join(folder, "nameless.mjs"), "export default { server: async () => ({}) }")
  const broken = ["throws.mjs", "nameless.mjs"].map((name) => pathToFileURL(join(folder, name)).href)
  await assert.rejects(startHost({ project, plugin: broken, model }), (error) => {
    assert.ok(error instanceof HostError)
    assert.match(error.message, /no native binary/)
    assert.match(error.message, /must export id/)
    return true
  })
})

test("nothing is left when the process that started a host is killed", async () => {
  const script = `
    import { startHost } from ${JSON.stringify(new URL("../demo/host.mjs", import.meta.url).href)}
    const { url, home } = await startHost({ project: ${JSON.stringify(project)} })
    console.log(JSON.stringify({ url, home }))`
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: ["ignore", "pipe", "inherit"] })
  const [line] = await once(createInterface(child.stdout), "line")
  const { url, home } = JSON.parse(line)
  assert.equal((await fetch(`${url}/global/health`)).status, 200)
  child.kill("SIGKILL")
  for (let i = 0; i < 100 && existsSync(home); i++) await sleep(50)
  assert.ok(!existsSync(home))
  await assert.rejects(fetch(`${url}/global/health`), TypeError)
})

/** Packs packages, given as file name to content, and returns the paths of the tarballs. */
function pack(...packages) {
  const out = mkdtempSync(join(folder, "packed-"))
  const sources = packages.map((files, index) => {
    mkdirSync(join(out, String(index)))
    for (const [name, content] of Object.entries(files))
      writeFileSync(join(out, String(index), name), typeof content === "string" ? content : JSON.stringify(content))
    return `./${index}`
  })
  const packed = JSON.parse(execFileSync("npm", ["pack", "--json", ...sources], { cwd: out, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }))
  return Object.values(packed).map(({ filename }) => join(out, filename))
}

test("OpenCode's installer takes a packed plugin and its platform's binary from the registry", async () => {
  const version = "1.2.3"
  const optionalDependencies = { [`@greeter/${PLATFORM}`]: version, "@greeter/elsewhere": version }
  const tarballs = pack(
    {
      "package.json": { name: "greeter", version, type: "module", exports: { "./server": "./server.mjs" }, optionalDependencies },
      "server.mjs": `import { createRequire } from "node:module"
        const native = createRequire(import.meta.url)("@greeter/${PLATFORM}")
        export default { id: "greeter", server: async () => ({ config: async (config) => { config.username = native.name } }) }`,
    },
    {
      "package.json": { name: `@greeter/${PLATFORM}`, version, os: [process.platform], cpu: [process.arch], main: "index.js" },
      "index.js": `exports.name = "native for ${PLATFORM}"`,
    },
    { "package.json": { name: "@greeter/elsewhere", version, os: ["aix"], main: "index.js" }, "index.js": "" },
  )
  const registry = await startRegistry({ tarballs, upstream: "http://127.0.0.1:9/" })
  try {
    const installed = await startHost({ project, plugin: [`greeter@${version}`], model, env: registry.env })
    try {
      assert.equal((await installed.request("GET", "/config")).username, `native for ${PLATFORM}`)
    } finally {
      await installed.stop()
    }
    assert.deepEqual(registry.requests.filter(({ path }) => path.endsWith(".tgz")).map(({ path }) => path).sort(), [
      `/@greeter/${PLATFORM}/-/${PLATFORM}-${version}.tgz`,
      `/greeter/-/greeter-${version}.tgz`,
    ])
    assert.ok(registry.requests.every(({ from, status }) => from === "local" && status === 200))
    await assert.rejects(startHost({ project, plugin: ["greeter@9.9.9"], model, env: registry.env }), /No matching version found for greeter@9\.9\.9/)
  } finally {
    await registry.close()
  }
})

test("the registry passes on what it does not have, tarballs through itself", async (t) => {
  const [near, far] = pack({ "package.json": { name: "near", version: "1.0.0" } }, { "package.json": { name: "far", version: "2.0.0" } })
  const upstream = await startRegistry({ tarballs: [far] })
  const registry = await startRegistry({ tarballs: [near], upstream: upstream.url })
  t.after(() => Promise.all([upstream.close(), registry.close()]))

  assert.equal((await (await fetch(`${registry.url}near`)).json())["dist-tags"].latest, "1.0.0")
  const { tarball } = (await (await fetch(`${registry.url}far`)).json()).versions["2.0.0"].dist
  assert.equal(tarball, `${registry.url}far/-/far-2.0.0.tgz`)
  assert.deepEqual(Buffer.from(await (await fetch(tarball)).arrayBuffer()), readFileSync(far))
  assert.equal((await fetch(`${registry.url}near/-/near-9.9.9.tgz`)).status, 404)
  assert.equal((await fetch(`${registry.url}near`, { method: "PUT", body: "{}" })).status, 405)
  await upstream.close()
  assert.equal((await fetch(`${registry.url}far`)).status, 502)
  await assert.rejects(startRegistry({ tarballs: [new URL(import.meta.url).pathname] }), /incorrect header check/)
})

/**
 * What ends on the real OpenCode when a mission is stopped, when its process dies, and when the plugin ends; and who else
 * may have a say in it.
 */
import assert from "node:assert/strict"
import { cpSync, rmSync } from "node:fs"
import { join } from "node:path"
import { test } from "node:test"
import { does, isAlive, native, scenario, setUp, stage, start, submitPlan, task, textOf, toasted, until, waitAt } from "./scene.mjs"

/** Leaves a command running in a session of its own, as a server that a model starts and forgets. */
const leaves = (name) => ({
  tool: "bash",
  args: { command: `setsid sleep 300 > /dev/null 2>&1 & echo $! > .git/${name}`, description: "starts a server" },
})
const pidIn = (scene, name) => scene.has(`.git/${name}`) && Number(scene.read(`.git/${name}`))

test("a stop with twenty sessions at work ends every one, and the commands they left in the background", async (t) => {
  // Without it a stop leaves sessions that spend tokens, and servers that hold ports.
  const ids = Array.from({ length: 20 }, (_, index) => `t${index}`)
  const work = Object.fromEntries(ids.map((id) => [id, [leaves(id), { text: "thinking", fault: "hang" }]]))
  const scene = await setUp(t, {
    limits: { workerSlots: 20, sessionsPerAgent: 20 },
    scenario: scenario({ plan: [submitPlan(ids.map((id) => task(id)))], work }),
  })
  const session = await scene.createSession()
  const report = scene.command(session, "task", "Twenty tasks")
  await Promise.all(ids.map((id) => scene.reached(`work ${id}`, 1)))
  const pids = ids.map((id) => pidIn(scene, id))
  assert.ok(pids.every((pid) => pid && isAlive(pid)), "all the servers run")

  const stopped = await scene.command(session, "stop")
  assert.match(stopped, /Mission m1 is stopped\. 0 of 20 tasks done\./)
  assert.doesNotMatch(stopped, /could not be ended/)
  assert.match(await report, /Mission m1 is stopped/)
  await until("no session is busy", async () => Object.keys(await scene.status()).length === 0)
  // A process that has been killed is listed until it is reaped.
  await until("no server runs", () => !pids.some((pid) => isAlive(pid)))
})

test("a stop from another session breaks off the turn that follows the mission, and both are told", async (t) => {
  // Without it the commander goes on in the session nobody looks at.
  const scene = await setUp(t, { scenario: scenario({ plan: [submitPlan([task("a")])], work: { a: [{ fault: "hang" }] } }) })
  const session = await scene.createSession()
  const mark = stage.host.events().all.length
  const first = scene.command(session, "task", "Elsewhere").catch(() => "broken off")
  await scene.reached("work a")
  assert.match(await scene.command(await scene.createSession(), "stop"), /Mission m1 is stopped/)
  await first
  await toasted(scene, /Mission m1 is stopped/, mark)
  await until("no session is busy", async () => Object.keys(await scene.status()).length === 0)
  assert.ok(scene.asked("work a").every(({ aborted }) => aborted))
})

test("a stopped mission stays stopped in a new process, which ends what a dead one left running", async (t) => {
  // Without it commands of a crashed process run for ever, beside those that take their place.
  const stopped = await setUp(t, { scenario: scenario({ plan: [submitPlan([task("a")])], work: { a: [{ fault: "hang" }] } }) })
  const crashed = await setUp(t, {
    scenario: scenario({
      plan: [submitPlan([task("a"), task("b", { acceptance: [["sh", "-c", "echo $$ > .git/check; test -e .git/on || exec sleep 300"]] })])],
      work: { a: [leaves("server"), waitAt("on"), ...does("a")], b: does("b") },
    }),
  })
  const session = await stopped.createSession()
  void stopped.command(session, "task", "Stop")
  await stopped.reached("work a")
  await stopped.command(session, "stop")
  void crashed.command(await crashed.createSession(), "task", "Crash")
  await until("server and check run", () => pidIn(crashed, "server") && pidIn(crashed, "check"))
  const [server, check] = [pidIn(crashed, "server"), pidIn(crashed, "check")]
  await stage.host.kill9()
  await stage.host.stop()
  assert.ok(isAlive(server) && isAlive(check), "they outlive the process")

  stage.host = await start()
  crashed.host = stopped.host = stage.host
  crashed.open("on")
  const mark = stage.host.events().all.length
  await crashed.request("GET", "/config")
  await until("they are ended", () => !isAlive(server) && !isAlive(check))
  await toasted(crashed, /left running were ended: .*sleep 300/, mark)
  await crashed.until("it is sealed", ({ stage }) => stage === "sealed")

  const before = stopped.asked("work a").length
  assert.match(await stopped.command(await stopped.createSession(), "status"), /Mission m1 is stopped/)
  assert.equal(stopped.asked("work a").length, before)
})

test("a mission that was sealed as its process died is reported by the next one, and by none after that", async (t) => {
  // Without it nobody learns that the mission has ended, or is told so anew at every start.
  const unanswered = { name: "held", when: { agent: "commander" }, steps: [{ fault: "hang" }] }
  const setting = { scenario: scenario({ plan: [submitPlan([task("a")])], work: { a: does("a") }, rules: [unanswered] }) }
  const [shown, deleted] = [await setUp(t, setting), await setUp(t, setting)]
  const roots = new Map()
  for (const scene of [shown, deleted]) {
    roots.set(scene, await scene.createSession())
    void scene.command(roots.get(scene), "task", "Tell me")
    await scene.reached("held")
  }
  const reports = async (scene) => {
    const messages = await scene.messages(roots.get(scene))
    return messages.filter(({ parts }) => textOf(parts).includes("Mission m1 is sealed")).length
  }
  const restart = async (prepare) => {
    await stage.host.kill9()
    await stage.host.stop()
    for (const { directory } of [shown, deleted]) prepare(join(directory, ".opencode/orchestrator"), join(directory, ".git/untold"))
    const untold = [shown, deleted].map((scene) => scene.mission())
    assert.ok(untold.every((mission) => mission.stage === "sealed" && mission.untold > 0), JSON.stringify(untold))
    shown.host = deleted.host = stage.host = await start()
    for (const scene of [shown, deleted]) await scene.request("GET", "/config")
    await Promise.all([shown, deleted].map((scene) => scene.until("all is told", ({ untold }) => untold === 0)))
  }
  assert.equal(await reports(shown), 0)
  await restart((state, copy) => cpSync(state, copy, { recursive: true }))
  assert.equal(await reports(shown), 1)

  // As if the process had died between showing a report and recording that it was shown.
  const before = await shown.messages(roots.get(shown))
  await deleted.request("DELETE", `/session/${roots.get(deleted)}`)
  await restart((state, copy) => {
    rmSync(state, { recursive: true })
    cpSync(copy, state, { recursive: true })
  })
  assert.deepEqual(await shown.messages(roots.get(shown)), before)
})

test("another plugin's handlers run in their place, may refuse a call, and are awaited at the end", async (t) => {
  // Without it the only way to add a rule to a mission is to fork the plugin.
  const audit = `
    import { appendFileSync } from "node:fs"
    import { addHook } from ${JSON.stringify(native.path)}
    export default { id: "audit", async server({ directory }) {
      const log = (line) => appendFileSync(directory + "/.git/audit", line + "\\n")
      addHook({ point: "tool.execute.before", name: "audit.late", phase: "late", run: ({ tool }) => log("late " + tool) })
      addHook({ point: "tool.execute.before", name: "audit.rule", after: ["orchestrator.ownership"], run({ tool }, { args }) {
        log("rule " + tool)
        if (args?.content === "forbidden") throw new Error("The audit forbids it.")
      } })
      addHook({ point: "chat.params", name: "audit.broken", run() { throw new Error("broken handler") } })
      const at = (what) => log(what + " " + performance.now())
      addHook({ point: "shutdown", name: "audit.never", phase: "early", run: () => (at("never"), new Promise(() => {})) })
      addHook({ point: "shutdown", name: "audit.fails", after: ["audit.never"], run() { at("fails"); throw new Error("fails at the end") } })
      addHook({ point: "shutdown", name: "audit.end", phase: "late", run: () => at("end") })
      try {
        addHook({ point: "event", name: "audit.circle", after: ["audit.circle"], run() {} })
      } catch (error) {
        log(error.code + " " + error.message)
      }
      return {}
    } }`
  const scene = await setUp(t, {
    limits: { shutdownMs: 1_000 },
    files: { "audit.mjs": audit },
    plugins: (directory) => [`file://${directory}/audit.mjs`],
    scenario: scenario({
      plan: [submitPlan([task("a")])],
      work: { a: [{ tool: "write", args: { filePath: "a.txt", content: "forbidden" } }, ...does("a")] },
    }),
  })
  const session = await scene.createSession()
  assert.match(await scene.command(session, "task", "Audit"), /is sealed/)
  const [refused] = scene.asked("work a").at(-1).messages.filter(({ role }) => role === "tool")
  assert.match(JSON.stringify(refused), /The audit forbids it/)
  const lines = () => scene.read(".git/audit").trimEnd().split("\n")
  assert.match(lines()[0], /^HOOK_CYCLE the handlers audit\.circle → audit\.circle wait for each other/)
  const writes = lines().filter((line) => line.endsWith(" write"))
  assert.deepEqual(writes, ["rule write", "rule write", "late write"])
  await scene.request("POST", "/instance/dispose")
  await until("the last handler has run", () => lines().at(-1).startsWith("end "))
  // Each has its time, one after another, however the one before ended.
  const ends = lines().slice(-3).map((line) => line.split(" "))
  assert.deepEqual(ends.map(([what]) => what), ["never", "fails", "end"])
  const waitedMs = ends[1][1] - ends[0][1]
  // A timer may come some milliseconds early by the clock. Without a limit of ours it would be 5 s.
  assert.ok(waitedMs > 990 && waitedMs < 4_900, `cut after ${waitedMs} ms`)
})

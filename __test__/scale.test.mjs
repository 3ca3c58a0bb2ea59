/**
 * Scheduling on the real OpenCode. Of fifty workers at once it prints the slots over time, how the attempts came to them, and
 * the memory of the host.
 */
import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { test } from "node:test"
import { does, native, promptsOf, say, scenario, setUp, start, submitPlan, submitReview, task, toasted, until, waitAt } from "./scene.mjs"

const WORKERS = 50
/** Tasks of the plan: a first wave that fills every slot, and a second that follows it. */
const FIRST = Array.from({ length: WORKERS }, (_, index) => `a${index}`)
const SECOND = Array.from({ length: WORKERS / 2 }, (_, index) => `b${index}`)

/** Holds a worker until the file is there; fifty of them should leave some of the processor to others. */
const waits = { tool: "bash", args: { command: "while [ ! -e .git/all ]; do sleep 1; done", description: "waits", timeout: 120_000 } }

const megabytes = (pid) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024

test("fifty workers run at once, no cap is passed, and every task is done", async (t) => {
  // Without it the numbers of the documentation are wishes: sessions wait for one another, or more run than are allowed.
  const second = SECOND.map((id, index) => task(id, { depends_on: [`a${index}`] }))
  const scene = await setUp(t, {
    limits: { workerSlots: WORKERS, sessions: WORKERS + 5, sessionsPerAgent: WORKERS, sessionsPerProvider: WORKERS + 5, sessionsPerModel: WORKERS + 5 },
    scenario: scenario({
      plan: [submitPlan([...FIRST.map((id) => task(id)), ...second])],
      work: {
        ...Object.fromEntries(FIRST.map((id) => [id, [waits, ...does(id)]])),
        ...Object.fromEntries(SECOND.map((id) => [id, does(id)])),
      },
    }),
  })
  // A process of its own, whose memory is that of this mission.
  const host = await start({ project: scene.directory })
  t.after(() => host.stop())
  scene.host = host
  const session = await scene.createSession()
  const before = megabytes(host.pid)
  const samples = []
  const began = Date.now()
  const sampler = setInterval(() => {
    const busy = scene.model.requests.filter(({ agent, endedAt }) => agent === "worker" && endedAt === null).length
    samples.push({ ms: Date.now() - began, busy, live: scene.mission()?.live ?? 0, megabytes: megabytes(host.pid) })
  }, 250)
  t.after(() => clearInterval(sampler))

  const report = scene.command(session, "task", "Fifty at once")
  const waiting = () => FIRST.filter((id) => scene.asked(`work ${id}`).length > 0)
  await until("fifty workers are at work", () => waiting().length === WORKERS)
  assert.equal(scene.mission().live, WORKERS, "each has a session, and nobody else runs")
  const status = await scene.command(await scene.createSession(), "status")
  assert.match(status, new RegExp(`worker ${WORKERS} of ${WORKERS}`))
  scene.open("all")
  assert.match(await report, new RegExp(`Mission m1 is sealed\\. ${FIRST.length + SECOND.length} of ${FIRST.length + SECOND.length} tasks done`))
  clearInterval(sampler)

  assert.equal(native.replayJournal(scene.directory, "m1").divergence, null)
  const { counters, tasks } = scene.mission()
  assert.ok(tasks.every(({ state, tries }) => state === "done" && tries === 1), "nothing had to be tried twice")
  for (const id of [...FIRST, ...SECOND]) assert.equal(scene.read(`${id}.txt`), `by ${id}\n`)
  const live = Math.max(...samples.map((sample) => sample.live))
  assert.ok(live <= WORKERS + 5, `${live} sessions ran at once`)
  // A worker, a reviewer for each task, the planner and the master reviewer.
  assert.equal(counters.admitted, 2 * (FIRST.length + SECOND.length) + 2)
  assert.ok(counters.local + counters.steals > 0, "successors came to the queue of the slot that did the work before")
  const peak = Math.max(...samples.map((sample) => sample.megabytes))
  const overTime = samples.filter((_, index) => index % 4 === 0).map((sample) => `${(sample.ms / 1000).toFixed(0)}s:${sample.live}`)
  t.diagnostic(`sessions over time ${overTime.join(" ")}`)
  t.diagnostic(`counters ${JSON.stringify(counters)}`)
  t.diagnostic(`memory of the host ${before.toFixed(0)} MB before, ${peak.toFixed(0)} MB at most; ${((Date.now() - began) / 1000).toFixed(1)} s`)
})

test("planners and reviewers race, and a reviewer that read ahead reviews in the same session", async (t) => {
  // Without it the options are there and do nothing, or a session that lost goes on and costs.
  const scene = await setUp(t, {
    options: { proactive: true, limits: { plannerRace: 2 }, models: { worker: "scripted/second" } },
    scenario: scenario({
      plan: [waitAt("planned"), submitPlan([task("a", { race: 2 })])],
      work: { a: [waitAt("read"), ...does("a")] },
      rules: [
        { name: "first", when: { agent: "planner", firstUser: "m1: plan" }, steps: [submitPlan([task("a", { race: 2 })]), say("planned")] },
        { name: "reader", when: { agent: "reviewer", firstUser: "ahead" }, steps: [say("Look at the callers."), submitReview("pass"), say("reviewed")] },
        { name: "slow", when: { agent: "reviewer", firstUser: "review of task a" }, steps: [{ text: "thinking", fault: "hang" }] },
      ],
    }),
  })
  const session = await scene.createSession()
  const report = scene.command(session, "task", "Race")
  await until("somebody has read ahead", () => scene.asked("reader").some(({ endedAt }) => endedAt !== null))
  scene.open("read")
  assert.match(await report, /Mission m1 is sealed/)
  const { counters } = scene.mission()
  assert.deepEqual([...new Set(scene.asked("work a").map(({ model }) => model))], ["second"], "the worker has a model of its own")
  assert.deepEqual([counters.readings, counters.readingsUsed], [1, 1])
  assert.equal(new Set(scene.asked("reader").map(({ sessionID }) => sessionID)).size, 1)
  assert.match(promptsOf(scene.asked("reader")).at(-1), /review of task a/)
  assert.equal(counters.racesLost, 2, "one planner, one reviewer")
  await until("no session is busy", async () => Object.keys(await scene.status()).length === 0)
  assert.equal(native.replayJournal(scene.directory, "m1").divergence, null)
})

test("low-priority work waits while memory is short, and says why", async (t) => {
  // Without it sessions are opened until the system ends the host.
  const scene = await setUp(t, {
    limits: { memoryPercent: 1 },
    scenario: scenario({ plan: [submitPlan([task("a"), task("b", { priority: "low" })])], work: { a: [waitAt("on"), ...does("a")], b: does("b") } }),
  })
  const report = scene.command(await scene.createSession(), "task", "Memory")
  await scene.reached("work a")
  const elsewhere = await scene.createSession()
  await until("it is refused", async () => /work b: refused for now: \d+ % of the memory is in use, and its priority is low/.test(await scene.command(elsewhere, "status")))
  assert.deepEqual(scene.asked("work b"), [])
  await scene.command(elsewhere, "task", "limit memoryPercent=100")
  await scene.reached("work b")
  scene.open("on")
  assert.match(await report, /Mission m1 is sealed/)
})

test("a model that fails is left alone for a while, then tried, and all go on when it answers again", async (t) => {
  // Without it every session runs against a provider that is down, and spends its attempts there.
  const down = { httpStatus: 503, headers: { "retry-after-ms": "50" }, body: "{}" }
  const scene = await setUp(t, {
    limits: { circuitFailures: 2, circuitOpenMs: 8_000, recoveries: 10 },
    scenario: scenario({
      plan: [submitPlan([task("a"), task("b")])],
      work: Object.fromEntries(["a", "b"].map((id) => [id, [...Array.from({ length: 6 }, () => down), ...does(id)]])),
    }),
  })
  const mark = scene.host.events().all.length
  const report = scene.command(await scene.createSession(), "task", "Circuit")
  await toasted(scene, /scripted\/scripted has failed/, mark)
  const asked = () => scene.model.requests.filter(({ agent }) => agent === "worker").length
  const before = asked()
  const elsewhere = await scene.createSession()
  const told = /scripted\/scripted has failed several times in a row[^]*work [ab]: waits for scripted\/scripted/
  await until("the waiting are told", async () => told.test(await scene.command(elsewhere, "status")))
  assert.equal(asked(), before, "nobody asks it meanwhile")
  await toasted(scene, /scripted\/scripted answers again/, mark)
  assert.match(await report, /Mission m1 is sealed/)
})

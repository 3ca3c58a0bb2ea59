/**
 * Each row of the table of recovery (docs/ARCHITECTURE.md) once on the real OpenCode, with the scripted model as the culprit.
 * Without a row's test a mission could stall, loop or be given up where it can go on.
 *
 * The tests run side by side, since most of their time is waiting.
 */
import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { mkdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { suite, test } from "node:test"
import {
  does, native, promptsOf, resultsOf, say, scenario, setUp, stage, start, submitPlan, submitWork, task, toasted, until, waitAt, write,
} from "./scene.mjs"

const http = (httpStatus, message, headers = {}) => ({ httpStatus, headers, body: JSON.stringify({ error: { message, type: "scripted" } }) })
const read = (filePath) => ({ tool: "read", args: { filePath } })
/** A worker that goes wrong in its first session, and what a fresh one is answered. */
const goesWrong = (steps, fresh = does("a")) => ({
  work: { a: steps },
  rules: [{ name: "fresh", when: { agent: "worker", firstUser: ": task a\n[^]*An earlier attempt broke off" }, steps: fresh }],
})
/** A worker that is stopped after some steps, and what it is answered when it goes on. Until it is stopped it may ask once more. */
const isStopped = (steps) => {
  const { work, rules } = goesWrong([...steps, { text: "And so", fault: "hang" }])
  return { work, rules: [...rules, { name: "work a again", when: { agent: "worker", user: ": task a\nYour turn broke off" }, steps: does("a") }] }
}

/** Runs a mission of the one task `a` to its end. */
async function mission(t, roles, options = {}) {
  const scene = await setUp(t, { scenario: scenario({ plan: [submitPlan([task("a")])], ...roles }), ...options })
  const session = await scene.createSession()
  const report = await scene.command(session, "task", "Recover")
  return { scene, session, report, worked: scene.asked("work a"), fresh: scene.asked("fresh") }
}

/** The failed session was gone on with: its second prompt says why and what to do. */
function wentOn({ report, worked, fresh }, says) {
  assert.match(report, /is sealed[^]*1 failed attempts?/)
  assert.equal(fresh.length, 0)
  assert.equal(new Set(worked.map(({ sessionID }) => sessionID)).size, 1)
  assert.match(promptsOf(worked).at(-1), says)
}

/** Another session did the task, and was told why the first did not. */
function startedAfresh({ report, worked, fresh }, says) {
  assert.match(report, /is sealed[^]*1 failed attempts?/)
  assert.notEqual(worked[0].sessionID, fresh[0].sessionID)
  assert.match(promptsOf(fresh)[0], says)
}

suite("recovery", { concurrency: 5 }, () => {
  test("transport: what the host's retries do not mend is gone on with in the same session", async (t) => {
    const down = Array.from({ length: 6 }, () => http(503, "unavailable", { "retry-after-ms": "100" }))
    wentOn(await mission(t, goesWrong([...down, ...does("a")])), /Your turn broke off: [^]*unavailable[^]*The model's provider failed/)
  })

  test("transport: dropped connections and errors in the stream cost no attempt", async (t) => {
    const { report, worked } = await mission(t, goesWrong([{ fault: "drop" }, { text: "half", fault: "cut" }, { fault: "sseError" }, ...does("a")]))
    assert.match(report, /is sealed[^]*0 failed attempts/)
    assert.equal(promptsOf(worked).length, 1)
  })

  test("transport: a chunk that is no JSON ends the turn, which is gone on with", async (t) => {
    wentOn(await mission(t, goesWrong([{ fault: "badChunk" }, ...does("a")])), /Your turn broke off: [^]*JSON[^]*The model's provider failed/)
  })

  test("transport: silence before and within an answer is cut off, for the host was given time-outs", async (t) => {
    const { report, scene, worked } = await mission(t, goesWrong([{ fault: "hang" }, { text: "thinking", fault: "hang" }, ...does("a")]), { limits: { silenceMs: 1_500 } })
    assert.match(report, /is sealed[^]*0 failed attempts/)
    const waits = worked.slice(1, 3).map(({ at }, index) => at - worked[index].at)
    assert.ok(waits.every((ms) => ms < 30_000), `${waits} ms, and 300 s without the time-outs`)
    const { provider } = await scene.request("GET", "/config")
    assert.deepEqual([provider.scripted.options.headerTimeout, provider.scripted.options.chunkTimeout], [1_500, 1_500])
  })

  test("a user's own time-outs stay", async (t) => {
    const provider = { scripted: { options: { headerTimeout: 77_000, chunkTimeout: false } } }
    const scene = await setUp(t, { scenario: scenario({ plan: [] }), limits: { silenceMs: 1_500 } })
    const { options } = JSON.parse(scene.read("opencode.json")).provider.scripted
    scene.put("opencode.json", JSON.stringify({ ...JSON.parse(scene.read("opencode.json")), provider: { scripted: { ...provider.scripted, options: { ...options, ...provider.scripted.options } } } }))
    const config = await scene.request("GET", "/config")
    assert.deepEqual([config.provider.scripted.options.headerTimeout, config.provider.scripted.options.chunkTimeout], [77_000, false])
  })

  test("rateLimit: a short retry-after is the host's to wait for, a long one is broken off", async (t) => {
    const steps = [http(429, "slow down", { "retry-after": "1" }), http(429, "slow down", { "retry-after": "3600" }), ...does("a")]
    const told = await mission(t, goesWrong(steps), { limits: { retryAfterMs: 3_000 } })
    wentOn(told, /Your turn broke off: the model's provider asks to wait for 3[56]\d\d s: [^]*asked for a pause/)
  })

  test("overflow: no loop of compactions, but a fresh session", async (t) => {
    const told = await mission(t, goesWrong([write("a.txt", "half\n"), ...Array.from({ length: 30 }, () => ({ fault: "contextOverflow" }))]))
    startedAfresh(told, /ContextOverflowError[^]*grew longer than the model takes[^]*Already changed by earlier attempts\n- a\.txt/)
    assert.ok(told.worked.length < 6, `${told.worked.length} requests`)
  })

  test("a conversation that the host shortens by itself keeps its task", async (t) => {
    const compaction = { name: "compaction", when: { agent: "compaction" }, steps: [say("A summary.")], repeat: true }
    const again = { name: "again", when: { agent: "worker", user: "Continue if you have next steps" }, steps: [submitWork("a.txt"), say("done")] }
    const long = { ...write("a.txt", "by a\n"), usage: { input: 199_000, output: 10 } }
    const { scene, report } = await mission(t, { work: { a: [long, say("not reached")] }, rules: [compaction, again] })
    assert.match(report, /is sealed[^]*0 failed attempts/)
    const asked = scene.asked("compaction").flatMap(({ messages }) => messages.map(({ content }) => JSON.stringify(content))).join("\n")
    assert.match(asked, /Objective of the task[^]*Write the file a\.txt[^]*ends with a call of submit_work/)
  })

  test("order: a conversation that the provider refuses is left for a fresh one", async (t) => {
    const refusal = http(400, "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `text`")
    startedAfresh(await mission(t, goesWrong([write("a.txt", "half\n"), refusal])), /Expected `thinking`[^]*could not be continued/)
  })

  test("refused: credentials that are wrong are told the user at once", async (t) => {
    const { report, worked, scene } = await mission(t, goesWrong([http(401, "invalid api key")]))
    assert.match(report, /is paused and needs you[^]*a: the model's turn ended in APIError: [^]*invalid api key/)
    assert.equal(worked.length, 1)
    assert.equal(scene.mission().stage, "paused")
  })

  test("content: what a filter holds back is tried in other words", async (t) => {
    startedAfresh(await mission(t, goesWrong([{ text: "I will", finish: "content_filter" }])), /ContentFilterError[^]*Put it in other words/)
  })

  test("runaway: a page in the place of a stream is not asked for again and again", async (t) => {
    const told = await mission(t, goesWrong(Array.from({ length: 40 }, () => ({ fault: "html" }))))
    startedAfresh(told, /without a finish reason[^]*went round in circles/)
    assert.ok(told.worked.length < 12, `${told.worked.length} requests`)
  })

  test("runaway: calls of tools without an end", async (t) => {
    const steps = Array.from({ length: 20 }, (_, index) => read(index % 2 ? "opencode.json" : "."))
    const told = await mission(t, goesWrong(steps), { limits: { toolCallsPerAttempt: 3 } })
    startedAfresh(told, /ran away: 4 calls of tools/)
    assert.ok(told.worked.length < 10, `${told.worked.length} requests`)
  })

  // A finish reason of calls without a call: the host asks again at once, for ever, and no error tells of it.
  const circles = Array.from({ length: 40 }, () => ({ text: "And so on.", finish: "tool_calls" }))
  const reads = Array.from({ length: 40 }, (_, index) => read(index % 2 ? "opencode.json" : "."))
  for (const [what, steps, limits, says] of [
    ["answers that ask for no tool, and so for another answer, within a minute", circles, { stepsPerMinute: 5 }, /ran away: 6 requests within a minute[^]*went round in circles/],
    ["requests of one attempt, each with a call that is in order", reads, { stepsPerAttempt: 5 }, /ran away: 6 requests\.\n[^]*went round in circles/],
  ]) {
    test(`runaway: ${what}`, async (t) => {
      const told = await mission(t, goesWrong(steps), { limits })
      startedAfresh(told, says)
      assert.ok(told.worked.length < 12, `${told.worked.length} requests`)
    })
  }

  test("runaway: a session that goes on after it has submitted is ended, and its work counts", async (t) => {
    const { report, worked, fresh } = await mission(t, goesWrong([write("a.txt", "by a\n"), submitWork("a.txt"), ...circles]))
    assert.match(report, /is sealed[^]*0 failed attempts/)
    assert.deepEqual([worked.length < 12, fresh.length], [true, 0], `${worked.length} requests`)
  })

  test("time: a session that takes too long is ended, and the next is told what is done", async (t) => {
    const told = await mission(t, goesWrong([write("a.txt", "half\n"), { text: "thinking", fault: "hang" }]), { limits: { sessionTtlMs: 15_000 } })
    startedAfresh(told, /longer than its time to live[^]*shortest way[^]*Already changed by earlier attempts\n- a\.txt/)
  })

  test("model: an answer that is empty or cut is asked about, in the same session", async (t) => {
    const { report, worked } = await mission(t, goesWrong([{ fault: "emptyAnswer" }, { text: "And so I", finish: "length" }, ...does("a")]))
    assert.match(report, /is sealed[^]*0 failed attempts/)
    const [, empty, cut] = promptsOf(worked)
    assert.match(empty, /submit_work was not called/)
    assert.match(cut, /Your answer was cut off[^]*smaller steps/)
  })

  test("tool: the same error three times in a row breaks the turn off, with the error", async (t) => {
    const told = await mission(t, isStopped([read("nowhere.txt"), read("nowhere.txt"), read("nowhere.txt")]))
    wentOn(told, /Your turn broke off: read `[^`]*nowhere\.txt` failed: [^]*3 times in a row[^]*Do not make that call again/)
  })

  test("tool: calls that cannot be read, or of a tool that is not there", async (t) => {
    const told = await mission(t, isStopped([{ ...write("a.txt", "x"), fault: "malformedArgs" }, { tool: "fly", args: {} }, { tool: "swim", args: {} }]))
    wentOn(told, /Your turn broke off: a call could not be carried out: [^]*Do not make that call again/)
  })

  test("permission: what nobody answers is shown, then refused, and the session is told", async (t) => {
    const steps = [{ tool: "bash", args: { command: "touch sneaky.txt", description: "asks" } }, ...does("a")]
    const scene = await setUp(t, {
      scenario: scenario({ plan: [submitPlan([task("a")])], ...goesWrong(steps) }),
      config: { permission: { bash: { "*": "allow", "touch *": "ask" } } },
      limits: { permissionMs: 2_000 },
    })
    const session = await scene.createSession()
    const mark = stage.host.events().all.length
    const report = scene.command(session, "task", "Ask")
    await toasted(scene, /m1 work a asks: may it use bash for touch sneaky\.txt\? Without an answer it is refused in 2 s/, mark)
    assert.match(await scene.command(await scene.createSession(), "status"), /- m1 work a waits for you: may it use bash for touch/)
    assert.match(await report, /is sealed/)
    assert.ok(!scene.has("sneaky.txt"))
    assert.match(promptsOf(scene.asked("work a"))[1], /You wanted to use bash for touch sneaky\.txt\. That was not allowed/)
  })

  test("permission: what the user allows goes on", async (t) => {
    const steps = [{ tool: "bash", args: { command: "touch allowed.txt", description: "asks" } }, ...does("a")]
    const scene = await setUp(t, { scenario: scenario({ plan: [submitPlan([task("a")])], ...goesWrong(steps) }), config: { permission: { bash: { "*": "allow", "touch *": "ask" } } } })
    const session = await scene.createSession()
    const mark = stage.host.events().all.length
    const report = scene.command(session, "task", "Allow")
    const asked = await stage.host.events().waitFor(({ type, directory }) => type === "permission.asked" && directory === scene.directory, 60_000, mark)
    const { id, sessionID } = asked.properties
    await scene.request("POST", `/session/${sessionID}/permissions/${id}`, { response: "once" })
    assert.match(await report, /is sealed[^]*0 failed attempts/)
    assert.ok(scene.has("allowed.txt"))
    assert.equal(promptsOf(scene.asked("work a")).length, 1)
  })

  test("aborted: a turn that someone else broke off is gone on with", async (t) => {
    const scene = await setUp(t, { scenario: scenario({ plan: [submitPlan([task("a")])], ...goesWrong([{ text: "thinking", fault: "hang" }, ...does("a")]) }) })
    const session = await scene.createSession()
    const report = scene.command(session, "task", "Abort")
    const { sessionID } = await scene.reached("work a")
    await scene.request("POST", `/session/${sessionID}/abort`)
    wentOn({ report: await report, worked: scene.asked("work a"), fresh: scene.asked("fresh") }, /You were interrupted\. Look at what is done/)
  })

  test("host: a session that is deleted under a mission is made again", async (t) => {
    const scene = await setUp(t, { scenario: scenario({ plan: [submitPlan([task("a")])], ...goesWrong([{ text: "thinking", fault: "hang" }]) }), limits: { sweepMs: 500 } })
    const session = await scene.createSession()
    const report = scene.command(session, "task", "Delete")
    const { sessionID } = await scene.reached("work a")
    await scene.request("DELETE", `/session/${sessionID}`)
    startedAfresh({ report: await report, worked: scene.asked("work a"), fresh: scene.asked("fresh") }, /is gone from the host|broke off/)
  })

  test("a disk that is full makes the mission wait: the user is told, and it goes on when there is space", async (t) => {
    // What b does lasts beyond the trouble, what a does falls into it. Both are asked again for what could not be taken.
    const work = { a: [waitAt("full"), say("Let me see."), ...does("a")], b: [waitAt("space"), ...does("b")] }
    const scene = await setUp(t, { scenario: scenario({ plan: [submitPlan([task("a"), task("b")])], work }) })
    // The state folder is a small disk of its own, which this host alone sees.
    const state = join(scene.directory, ".opencode/orchestrator")
    mkdirSync(state)
    const onSmallDisk = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=8m,mode=0700 tmpfs "$0" && exec "$@"', state]
    const [program, ...args] = [...onSmallDisk, "true"]
    const probe = spawnSync(program, args, { encoding: "utf8" })
    if (probe.status !== 0) return t.skip(`a small disk cannot be made here: ${probe.error?.message ?? probe.stderr}`)
    const host = await start({ project: scene.directory, through: onSmallDisk })
    t.after(() => host.stop())
    scene.host = host
    const session = await scene.createSession()
    void scene.command(session, "task", "Fill the disk")
    await Promise.all([scene.reached("work a"), scene.reached("work b")])

    const filler = `/proc/${host.pid}/root${state}/filler`
    const bytes = Buffer.alloc(8 << 20)
    const fill = () => assert.throws(() => writeFileSync(filler, bytes, { flag: "a" }), { code: "ENOSPC" })
    fill()
    // Whatever the journal frees is taken at once.
    const filling = setInterval(fill, 10)
    t.after(() => clearInterval(filling))
    scene.open("full")
    await toasted(scene, /Missions wait: the disk is full/)
    const elsewhere = await scene.createSession()
    // Each asks for a record, should the journal have found space of its own meanwhile.
    let sessions = 50
    await until("what is asked of it is refused", async () => /the disk is full/.test(await scene.command(elsewhere, "task", `limit sessions=${--sessions}`)))
    const children = await scene.children(session)
    await until("what can be neither taken nor bounded is broken off", async () => {
      const busy = await scene.status()
      return children.every(({ id }) => !busy[id])
    })

    const mark = host.events().all.length
    clearInterval(filling)
    rmSync(filler)
    await toasted(scene, /Missions go on: what stood against it is over/, mark)
    scene.open("space")
    await until("it is sealed", async () => (await scene.command(elsewhere, "status")).startsWith("Mission m1 is sealed. 2 of 2 tasks done."))
    for (const id of ["a", "b"]) assert.equal(scene.read(`${id}.txt`), `by ${id}\n`)
  })

  test("a plugin that is loaded again in mid-mission goes on", async (t) => {
    const scene = await setUp(t, { scenario: scenario({ plan: [submitPlan([task("a")])], ...goesWrong([{ text: "thinking", fault: "hang" }, ...does("a")]) }) })
    const session = await scene.createSession()
    void scene.command(session, "task", "Reload")
    await scene.reached("work a")
    await scene.request("POST", "/instance/dispose")
    // Until then a request would meet the old instance, and nothing would make a new one.
    await stage.host.events().waitFor(({ type, properties }) => type === "server.instance.disposed" && properties.directory === scene.directory, 60_000)
    await scene.request("GET", "/config")
    await scene.until("it is sealed", ({ stage }) => stage === "sealed")
    assert.equal(new Set(scene.asked("work a").map(({ sessionID }) => sessionID)).size, 1)
  })

  test("stagnation: work that changes nothing gets another strategy, with the log of what was tried", async (t) => {
    const wrong = [write("a.txt", "wrong\n"), submitWork("a.txt"), say("It works.")]
    const strategy = { name: "strategy", when: { agent: "worker", firstUser: "Another strategy is required" }, steps: [write("a.txt", "right\n"), submitWork("a.txt"), say("done")] }
    const { scene, report, worked } = await mission(t, {
      plan: [submitPlan([task("a", { acceptance: [["grep", "-q", "right", "a.txt"]] })])],
      work: { a: [...wrong, submitWork("a.txt"), say("It does work.")] },
      rules: [strategy],
    })
    assert.match(report, /is sealed[^]*2 fix attempts/)
    const [diagnosis] = scene.asked("strategy")
    assert.notEqual(diagnosis.sessionID, worked[0].sessionID)
    assert.match(promptsOf([diagnosis])[0], /What has been tried\n- Submitted; changed: a\.txt\. The checks did not pass \(COMMAND_FAILED\)[^]*Another strategy is required/)
  })

  test("the same error three times asks the user, and counting begins anew when the user resumes", async (t) => {
    const attempt = (text) => [write("a.txt", `${text}\n`), submitWork("a.txt"), say("It works.")]
    const right = { name: "right", when: { agent: "worker", firstUser: ": task a\n[^]*did not pass" }, steps: attempt("right") }
    const { scene, session, report } = await mission(t, {
      plan: [submitPlan([task("a", { acceptance: [["grep", "-q", "right", "a.txt"]] })])],
      work: { a: [...attempt("one"), ...attempt("two"), ...attempt("three"), ...attempt("four")] },
      rules: [right],
    })
    assert.match(report, /is paused and needs you[^]*a: the same error came 3 times: `grep -q right a\.txt` exited with code 1/)
    assert.equal(scene.asked("work a").at(-1).step, 8)
    assert.match(await scene.command(session, "task"), /is sealed/)
  })

  test("a worker that needs something from outside ends its task with its question", async (t) => {
    const asks = { tool: "submit_work", args: { summary: "Looked for the key.", files: [], blocked: "Which key may I use?" } }
    const scene = await setUp(t, { scenario: scenario({ plan: [submitPlan([task("a")])], work: { a: [asks, say("I ask.")] } }) })
    const session = await scene.createSession()
    assert.match(await scene.command(session, "task", "Key"), /is paused and needs you[^]*a: it needs something from outside: Which key may I use\?/)
    assert.equal(scene.asked("work a").length, 2)
    assert.equal(scene.mission().tasks[0].state, "blocked")
  })

  test("checks that could not be run cost no fix, and in the end the user is asked", async (t) => {
    const { report, worked } = await mission(t, { plan: [submitPlan([task("a", { acceptance: [["no-such-program-here"]] })])], work: { a: does("a") } }, { limits: { recoveries: 1 } })
    assert.match(report, /is paused and needs you[^]*a: its checks could not be run: `no-such-program-here` could not be started/)
    assert.ok(!/fix attempt/.test(report))
    assert.equal(worked.length, 3)
  })

  test("a session of a mission has nobody work for it, whatever the user allows", async (t) => {
    const delegate = { tool: "task", args: { description: "x", prompt: "x", subagent_type: "general" } }
    const { scene, report } = await mission(t, { work: { a: [delegate, ...does("a")] } }, { config: { permission: "allow", agent: { worker: { permission: { task: "allow" } } } } })
    assert.match(report, /is sealed/)
    const children = await Promise.all((await scene.children(scene.mission().root)).map(({ id }) => scene.children(id)))
    assert.deepEqual(children.flat(), [])
    assert.ok(resultsOf(scene.asked("work a"), "task").length + resultsOf(scene.asked("work a"), "invalid").length > 0)
  })

  test("whatever went wrong, the journal holds", async (t) => {
    const { scene } = await mission(t, goesWrong([http(400, "no"), say("never")]))
    assert.ok(native.verifyJournal(scene.directory).sequence > 10)
    await until("no session is busy", async () => Object.keys(await scene.status()).length === 0)
  })
})

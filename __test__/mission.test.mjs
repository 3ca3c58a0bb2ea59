/**
 * Missions on the real OpenCode: what a user sees of them, and what they may and may not do.
 */
import assert from "node:assert/strict"
import { cpSync } from "node:fs"
import { join } from "node:path"
import { test } from "node:test"
import {
  commandLine,
  DEADLINE_MS,
  does,
  isAlive,
  native,
  promptsOf,
  resultsOf,
  say,
  scenario,
  setUp,
  stage,
  start,
  submitPlan,
  submitReview,
  submitWork,
  task,
  textOf,
  toasted,
  until,
  waitAt,
  waiting,
  write,
} from "./scene.mjs"

test("a mission in `opencode run` keeps the process until it is sealed, and ends with its report, which the command line bears out", async (t) => {
  // Without it a user's `run` leaves with half the work done, or never ends; or nobody can look at a journal without OpenCode.
  const scene = await setUp(t, {
    scenario: scenario({
      plan: [{ tool: "glob_search", args: { pattern: "**/*" } }, submitPlan([task("a"), task("b"), task("c", { depends_on: ["a", "b"] })], [["test", "-s", "c.txt"]])],
      work: { a: does("a"), b: does("b"), c: does("c") },
    }),
  })
  const run = await scene.run("--command", "task", "Build three files")
  assert.deepEqual([run.code, run.timedOut], [0, false], run.stderr)
  assert.match(run.stdout.trimEnd(), /Mission m1 is sealed\. 3 of 3 tasks done\.[^]*Objective: Build three files[^]*0 failed attempts\.$/)
  for (const id of ["a", "b", "c"]) assert.equal(scene.read(`${id}.txt`), `by ${id}\n`)
  assert.match(scene.todo(), /## m1 \(sealed\): Build three files\n\n- \[x\] a done: Write a\n- \[x\] b done: Write b\n- \[x\] c done: Write c\n/)

  const mission = scene.mission();  assert.equal(mission.stage, "sealed")
  assert.deepEqual(mission.tasks.map(({ id, state, tries, wave }) => [id, state, tries, wave]), [["a", "done", 1, 1], ["b", "done", 1, 1], ["c", "done", 1, 2]])
  assert.ok(native.verifyJournal(scene.directory).sequence > 10)
  // The journal gives the same decisions again, in another process.
  const replay = native.replayJournal(scene.directory, "m1")
  assert.deepEqual([replay.divergence, replay.mission.stage, replay.effects > 20], [null, "sealed", true])

  const children = await scene.children(mission.root);  assert.equal(children.length, mission.sessions)
  const marks = children.map(({ metadata }) => metadata.orchestrator)
  assert.deepEqual(marks.map((mark) => mark.mission), children.map(() => 1))
  assert.equal(new Set(marks.map((mark) => mark.attempt)).size, children.length)
  assert.deepEqual(scene.model.unmatched(), [])

  // Without OpenCode, its command line tells the same of the journal.
  const fails = (code, says, ...args) => {
    const ran = commandLine(...args)
    assert.deepEqual([ran.code, ran.stdout], [code, ""], ran.stderr)
    assert.match(ran.stderr, says)
  }
  const { sequence, hash } = native.verifyJournal(scene.directory)
  assert.deepEqual(JSON.parse(commandLine("status", scene.directory, "--json").stdout), [mission])
  assert.deepEqual(commandLine("verify", scene.directory), { code: 0, stdout: `${scene.directory}: ${sequence} records verified, the last is ${hash}`, stderr: "" })
  const same = `${mission.headline}\n${replay.records} records gave the same ${replay.effects} effects again; the state is ${replay.state}`
  assert.deepEqual(commandLine("replay", "m1", scene.directory), { code: 0, stdout: same, stderr: "" })
  assert.deepEqual(JSON.parse(commandLine("replay", "m1", scene.directory, "--json").stdout), replay)
  fails(2, /^replay: which mission\? Name it as status does, such as m1\.$/, "replay", scene.directory)
  fails(1, /^mission: there is no m2 in the journal; there are: m1 \(INVALID_ARGUMENT\)$/, "replay", "m2", scene.directory)

  const state = ".opencode/orchestrator"
  cpSync(join(scene.directory, state), join(scene.directory, "altered", state), { recursive: true })
  // The record may also stand in a page of the database that is free again.
  const altered = scene.read(`altered/${state}/journal.db`, "latin1").replaceAll('"kind":"task","objective":"Build', '"kind":"task","objective":"Guild')
  scene.put(`altered/${state}/journal.db`, Buffer.from(altered, "latin1"))
  for (const command of [["verify"], ["replay", "m1"]]) {
    fails(1, /^record 2 of the journal was altered: [^]*\(JOURNAL_HASH_MISMATCH\)$/, ...command, join(scene.directory, "altered"))
  }
})

test("parallel tasks that share a file are refused with the path of the mistake", async (t) => {
  // Without it two workers write one file at the same time.
  const scene = await setUp(t, {
    scenario: scenario({
      plan: [submitPlan([task("a", { files: ["shared.txt"] }), task("b", { files: ["b.txt", "shared.txt"] })]), submitPlan([task("a")])],
      work: { a: does("a") },
    }),
  })
  const session = await scene.createSession()
  assert.match(await scene.command(session, "task", "Share"), /is sealed/)
  const [refused, taken] = resultsOf(scene.asked("plan"), "submit_plan")
  assert.match(refused, /tasks\[1\]\.files\[1\]: "shared\.txt" may be written by "a"/)
  assert.match(taken, /^Taken/)
})

for (const [tools, model] of [["write and edit", "scripted"], ["apply_patch", "gpt-5"]]) {
  test(`a worker that writes with ${tools} into the file of another is refused, and told who holds it`, async (t) => {
    // Without it one worker's change overwrites another's.
    const put = (file, text) =>
      model === "scripted" ? write(file, `${text}\n`) : { tool: "apply_patch", args: { patchText: `*** Begin Patch\n*** Add File: ${file}\n+${text}\n*** End Patch` } }
    const update = (file, from, to) => ({ tool: "apply_patch", args: { patchText: `*** Begin Patch\n*** Update File: ${file}\n@@\n-${from}\n+${to}\n*** End Patch` } })
    const edit = { tool: "edit", args: { filePath: "a.txt", oldString: "by a", newString: "by b" } }
    const intrusions = model === "scripted" ? [put("a.txt", "by b"), edit] : [update("a.txt", "by a", "by b")]
    const scene = await setUp(t, {
      config: { model: `scripted/${model}` },
      scenario: scenario({
        plan: [submitPlan([task("a"), task("b")])],
        work: {
          a: [put("a.txt", "by a"), waitAt("intruded"), submitWork("a.txt"), say("done")],
          b: [waitAt("written"), { tool: "read", args: { filePath: "a.txt" } }, ...intrusions, put("b.txt", "by b"), submitWork("b.txt"), say("done")],
        },
      }),
    })
    const session = await scene.createSession()
    const report = scene.command(session, "task", "Two workers")
    await scene.reached("work a", 1)
    scene.open("written")
    await scene.reached("work b", 2 + intrusions.length)
    assert.equal(scene.read("a.txt"), "by a\n")
    scene.open("intruded")
    assert.match(await report, /is sealed/)
    const b = scene.asked("work b")
    const refusals = model === "scripted" ? [resultsOf(b, "write")[0], ...resultsOf(b, "edit")] : [resultsOf(b, "apply_patch")[0]]
    assert.equal(refusals.length, intrusions.length)
    for (const refusal of refusals) assert.match(refusal, /a\.txt is leased to task a of mission m1, which is working on it\. Your task b may write: b\.txt\./)
    assert.equal(scene.read("a.txt"), "by a\n")
    assert.equal(scene.read("b.txt"), "by b\n")
  })
}

test("planner, reviewer and commander that try to write change nothing", async (t) => {
  // Without it a role that only looks changes files that nobody checks.
  const attempts = [write("sneaky.txt", "x"), { tool: "bash", args: { command: "touch sneaky.txt", description: "sneaks" } }]
  const scene = await setUp(t, {
    config: { permission: "allow" },
    scenario: scenario({
      plan: [...attempts, submitPlan([task("a")])],
      work: { a: does("a") },
      rules: [
        { name: "sneak", when: { agent: "reviewer" }, steps: [...attempts, submitReview("pass"), say("reviewed")] },
        { name: "order", when: { agent: "commander" }, steps: [...attempts, say("I cannot write.")] },
      ],
    }),
  })
  const session = await scene.createSession()
  assert.match(await scene.command(session, "task", "Write"), /is sealed/)
  assert.ok(!scene.has("sneaky.txt"))
  for (const rule of ["plan", "sneak", "order"]) {
    const requests = scene.asked(rule)
    const offered = new Set(requests.flatMap(({ tools }) => tools))
    for (const tool of ["write", "edit", "apply_patch", "bash", "task"]) assert.ok(!offered.has(tool), `${rule} is offered ${tool}`)
    assert.ok(requests.length > attempts.length, rule)
  }
})

test("findings of a review go to the session that did the work, until the review passes", async (t) => {
  // Without it a review has no effect, or the mending starts without what the worker knows.
  const again = [write("a.txt", "better\n"), submitWork("a.txt"), say("mended")]
  const finding = { message: "a.txt must say better.", files: ["a.txt"] }
  const scene = await setUp(t, {
    scenario: scenario({
      plan: [submitPlan([task("a")])],
      work: { a: [...does("a"), ...again] },
      rules: [{ name: "first review", when: { agent: "reviewer", firstUser: "review of task a\n(?![^]*The last review)" }, steps: [submitReview("fail", finding), say("no")] }],
    }),
  })
  const session = await scene.createSession()
  assert.match(await scene.command(session, "task", "Review"), /is sealed[^]*a done: Write a \(1 fix attempt\)/)
  assert.equal(scene.read("a.txt"), "better\n")
  const work = scene.asked("work a")
  assert.equal(new Set(work.map(({ sessionID }) => sessionID)).size, 1)
  assert.match(promptsOf(work)[1], /did not pass[^]*REVIEW a\.txt: a\.txt must say better\./)
  assert.match(promptsOf(scene.asked("review").slice(0, 1))[0], /The last review[^]*a\.txt must say better\./)
})

test("a plan with a cycle is answered with every mistake, and a mended one is taken", async (t) => {
  // Without it a planner that errs ends the mission, or mends one mistake at a time.
  const bad = [task("a", { depends_on: ["b"] }), task("b", { depends_on: ["a", "nobody"], acceptance: [] }), task("c", { title: 7 })]
  const scene = await setUp(t, { scenario: scenario({ plan: [submitPlan(bad), submitPlan([task("a")])], work: { a: does("a") } }) })
  const session = await scene.createSession()
  assert.match(await scene.command(session, "task", "Cycle"), /is sealed/)
  const [refused] = resultsOf(scene.asked("plan"), "submit_plan")
  assert.match(refused, /tasks\[1\]\.acceptance: /)
  assert.match(refused, /tasks\[2\]\.title: expected a text, found a number/)
  assert.match(refused, /tasks\[1\]\.depends_on\[1\]: no task is called "nobody"/)
  assert.match(refused, /tasks\[0\]\.depends_on: the tasks a → b wait for each other/)
  assert.equal(new Set(scene.asked("plan").map(({ sessionID }) => sessionID)).size, 1)
})

const FAILING = { files: { "check.mjs": 'import { sum } from "./sum.mjs"\nif (sum(1, 2) !== 3) throw new Error(`expected 3, got ${sum(1, 2)}`)\n' } }
const SUM = task("sum", { files: ["sum.mjs"], acceptance: [["node", "check.mjs"]] })
const writesSum = (operator) => [write("sum.mjs", `export const sum = (a, b) => a ${operator} b\n`), submitWork("sum.mjs"), say("It works, all tests pass.")]

test("work that fails its acceptance is not taken on its word: the output goes back, and a real fix is sealed", async (t) => {
  // Without it "done" is what a model says, and not what is so.
  const scene = await setUp(t, { ...FAILING, scenario: scenario({ plan: [submitPlan([SUM])], work: { sum: [...writesSum("-"), ...writesSum("+")] } }) })
  const session = await scene.createSession()
  assert.match(await scene.command(session, "task", "Sum"), /is sealed[^]*sum done: Write sum \(1 fix attempt\)/)
  assert.match(promptsOf(scene.asked("work sum"))[1], /did not pass[^]*expected 3, got -1/)
  assert.match(scene.read("sum.mjs"), /a \+ b/)
})

test("work that never passes ends `opencode run` in a pause that names the task", async (t) => {
  // Without it a worker that cannot do it costs tokens for ever, or is sealed at last.
  const scene = await setUp(t, {
    ...FAILING,
    limits: { fixes: 1 },
    scenario: scenario({ plan: [submitPlan([SUM])], work: { sum: [...writesSum("-"), ...writesSum("*"), ...writesSum("+")] } }),
  })
  const run = await scene.run("--command", "task", "Sum")
  assert.deepEqual([run.code, run.timedOut], [0, false], run.stderr)
  assert.match(run.stdout, /Mission m1 is paused and needs you\.[^]*sum: 1 fix attempts? did not satisfy[^]*- sum blocked: Write sum \(1 fix attempt\)/)
  assert.equal(scene.mission().stage, "paused")
  assert.equal(scene.asked("work sum").at(-1).step, 5)
  assert.match(scene.todo(), /- \[ \] sum blocked/)
})

test("a worker that does not fill in its blank is asked again, at most twice, and may write it into a fence", async (t) => {
  // Without it a model that calls no tool stalls the mission, or is asked for ever.
  const fence = 'Here it is:\n```json\n{"summary": "Wrote a.txt.", "files": ["a.txt"]}\n```\n'
  const scene = await setUp(t, {
    scenario: scenario({
      plan: [submitPlan([task("a"), task("b")])],
      work: { a: [say("I am done."), say("Really."), say("I said so."), say("never asked")], b: [write("b.txt", "by b\n"), say("Done."), submitWork("b.txt"), say("sorry")] },
      rules: [{ name: "fresh", when: { agent: "worker", firstUser: ": task a\n[^]*without filling in its blank, 2 reminders included" }, steps: [write("a.txt", "by a\n"), say(fence)] }],
    }),
  })
  const session = await scene.createSession()
  assert.match(await scene.command(session, "task", "Blanks"), /is sealed[^]*1 failed attempts?/)
  const [a, b] = [scene.asked("work a"), scene.asked("work b")]
  assert.equal(a.length, 3)
  assert.match(promptsOf(a)[1], /submit_work was not called, so nothing of it counts yet/)
  assert.equal(promptsOf(b).length, 2)
  assert.equal(scene.asked("fresh").length, 2)
})

test("/stop ends every session and every process of the mission, for good", async (t) => {
  // Without it workers go on spending tokens and writing after the user has said stop.
  const sleeper = ["sh", "-c", "echo $$ > .git/pid; exec sleep 300"]
  const scene = await setUp(t, {
    scenario: scenario({
      plan: [submitPlan([task("a"), task("b"), task("c", { acceptance: [sleeper] })])],
      work: { a: [{ fault: "hang" }], b: [{ text: "thinking", fault: "hang" }], c: does("c") },
    }),
  })
  const session = await scene.createSession()
  const report = scene.command(session, "task", "Three tasks")
  await Promise.all([scene.reached("work a"), scene.reached("work b"), until("the check runs", () => scene.has(".git/pid") && scene.read(".git/pid"))])
  const pid = Number(scene.read(".git/pid"))
  assert.ok(isAlive(pid))

  assert.match(await scene.command(session, "stop"), /Mission m1 is stopped\. 0 of 3 tasks done\./)
  assert.match(await report, /Mission m1 is stopped/)
  assert.ok(!isAlive(pid), "the check's process is alive")
  await until("no session is busy", async () => Object.keys(await scene.status()).length === 0)
  for (const rule of ["work a", "work b"]) assert.ok(scene.asked(rule).every(({ aborted }) => aborted))
  assert.equal(scene.mission().stage, "stopped")

  const workers = () => scene.model.requests.filter(({ agent }) => agent === "worker").length
  const before = workers()
  await scene.request("POST", "/instance/dispose")
  assert.match(await scene.command(await scene.createSession(), "status"), /Mission m1 is stopped\. 0 of 3 tasks done\./)
  assert.equal(workers(), before)
})

test("answers without a finish reason are cut off soon, and the task is done in a fresh session", async (t) => {
  // Without it OpenCode asks such a model again for ever, hundreds of times a minute.
  const scene = await setUp(t, {
    scenario: scenario({
      plan: [submitPlan([task("a")])],
      work: { a: does("a") },
      rules: [{ name: "endless", when: { agent: "worker", firstUser: ": task a\n(?![^]*broke off)" }, steps: [{ text: "and so on", fault: "noFinish" }], repeat: true }],
    }),
  })
  const session = await scene.createSession()
  assert.match(await scene.command(session, "task", "Endless"), /is sealed[^]*1 failed attempts?/)
  assert.ok(scene.asked("endless").length < 12, `${scene.asked("endless").length} requests`)
  assert.match(promptsOf(scene.asked("work a"))[0], /broke off\nthe model's answers ended 3 times in a row without a finish reason/)
  assert.notEqual(scene.asked("endless")[0].sessionID, scene.asked("work a")[0].sessionID)
})

test("breaking off the root's turn pauses the mission, and /task without an objective resumes it", async (t) => {
  // Without it Esc either loses the mission or does not reach its workers.
  const scene = await setUp(t, {
    scenario: scenario({ plan: [submitPlan([task("a"), task("b", { depends_on: ["a"] })])], work: { a: [{ text: "thinking", fault: "hang" }, ...does("a")], b: does("b") } }),
  })
  const session = await scene.createSession()
  const mark = stage.host.events().all.length
  const first = scene.command(session, "task", "Interrupt").catch(() => "broken off")
  await scene.reached("work a")
  await scene.request("POST", `/session/${session}/abort`)
  await first
  await toasted(scene, /Mission m1 is paused: you broke it off\. 0 of 2 tasks done\. \/task resumes it/, mark)
  await scene.until("it is paused", ({ stage, live }) => stage === "paused" && live === 0)
  await until("no session is busy", async () => Object.keys(await scene.status()).length === 0)
  assert.ok(scene.asked("work a")[0].aborted)

  assert.match(await scene.command(session, "task"), /Mission m1 is sealed\. 2 of 2 tasks done\./)
  const sessions = new Set(scene.asked("work a").map(({ sessionID }) => sessionID))
  assert.equal(sessions.size, 1)
  assert.match(promptsOf(scene.asked("work a"))[1], /You were interrupted\. Look at what is done, finish the rest\./)
})

test("a user's edit of the rendered list reaches the commander as a proposal, and the list is rendered again", async (t) => {
  // Without it what a person writes into .opencode/todo.md is lost without a word, or ends `opencode run` too early.
  const scene = await setUp(t, { scenario: scenario({ plan: [submitPlan([task("a")])], work: { a: [waitAt("edited"), ...does("a")] } }) })
  const run = scene.run("--command", "task", "List")
  await scene.reached("work a")
  await until("the list is rendered", () => scene.has(".opencode/todo.md") && scene.todo().includes("- [ ] a running"))
  scene.put(".opencode/todo.md", `${scene.todo()}- [ ] please also write b.txt\n`)
  const proposal = /The user edited \.opencode\/todo\.md\.[^]*revise_plan[^]*- \[ \] a running: Write a\n- \[ \] please also write b\.txt/
  await scene.model.waitFor((request) => request.agent === "commander" && proposal.test(promptsOf([request]).at(-1)), DEADLINE_MS)
  await until("the list is as it was", () => !scene.todo().includes("please also"))
  assert.match(scene.todo(), /- \[ \] a running: Write a\n/)
  scene.open("edited")
  const { code, stdout } = await run
  assert.equal(code, 0)
  assert.match(stdout, /Mission m1 is sealed\. 1 of 1 task done\./)
  assert.equal(scene.asked("command").filter((request) => proposal.test(promptsOf([request]).at(-1))).length, 1)
})

test("/status answers at once, in any session and in any process; another process may not start a mission", async (t) => {
  // Without it nobody can see how a mission stands, or two processes run one project.
  const scene = await setUp(t, { scenario: scenario({ plan: [submitPlan([task("a"), task("b")])], work: { a: [waitAt("seen"), ...does("a")], b: does("b") } }) })
  const session = await scene.createSession()
  const report = scene.command(session, "task", "Status")
  await scene.until("b is done", ({ tasks }) => tasks.find(({ id }) => id === "b")?.state === "done")
  await scene.reached("work a")

  const elsewhere = await scene.command(await scene.createSession(), "status")
  assert.match(elsewhere, /^Mission m1 is executing\. 1 of 2 tasks done\.\n\n- a running: Write a\n- b done: Write b\n\nRound 1, 1 session under way/)

  const mark = stage.host.events().all.length
  const inside = scene.command(session, "status")
  const shown = ({ type, properties }) => type === "message.part.updated" && properties.part.sessionID === session && properties.part.text?.startsWith("Mission m1 is executing")
  await stage.host.events().waitFor(shown, DEADLINE_MS, mark)

  const other = await start({ project: scene.directory })
  try {
    scene.host = other
    assert.match(await scene.command(await scene.createSession(), "status"), /^Mission m1 is executing\. 1 of 2 tasks done\.\n- a running: Write a\n- b done: Write b/)
    assert.match(await scene.command(await scene.createSession(), "task", "Another"), new RegExp(`process ${stage.host.pid} owns this project`))
    assert.equal(scene.mission().id, 1)
  } finally {
    scene.host = stage.host
    await other.stop()
  }

  scene.open("seen")
  await Promise.all([report, inside])
  const said = (await scene.messages(session)).filter(({ info }) => info.role === "assistant").map(({ parts }) => textOf(parts))
  assert.match(said.at(-1), /Mission m1 is sealed/)
})

test("a user's own agent and command keep their names, and a mission works beside them", async (t) => {
  // Without it installing the plugin breaks what a user has configured.
  const config = {
    agent: { worker: { prompt: "You are the user's worker.", description: "mine", mode: "subagent" } },
    command: { status: { template: "STATUS OF THE USER", description: "mine" } },
  }
  const rules = [{ name: "mine", when: { user: "^STATUS OF THE USER" }, steps: [say("the user's status")], repeat: true }]
  const scene = await setUp(t, { config, scenario: scenario({ plan: [submitPlan([task("a")])], work: { a: does("a") }, rules }) })
  const session = await scene.createSession()
  assert.match(await scene.command(session, "task", "Beside"), /is sealed/)
  assert.match(await scene.command(session, "orchestrator-status"), /Mission m1 is sealed/)
  assert.equal(await scene.command(session, "status"), "the user's status")
  const { agent, command } = await scene.request("GET", "/config")
  assert.deepEqual([agent.worker.prompt, agent.worker.description, agent.worker.mode], ["You are the user's worker.", "mine", "subagent"])
  assert.match(agent["orchestrator-worker"].prompt, /^You carry out one task/)
  assert.deepEqual(command.status, config.command.status)
  assert.deepEqual(Object.keys(command).sort(), ["agents", "auto", "cancel", "dag", "fix", "orchestrator-status", "plan", "review", "search", "status", "stop", "task"])
})

test("a command that the user's permissions refuse is refused in a plan, and not run", async (t) => {
  // Without it a plan gets round what the user has forbidden to the agents.
  const rm = ["rm", "-rf", "x"]
  const scene = await setUp(t, {
    files: { x: "precious" },
    config: { permission: { bash: { "rm *": "deny" } } },
    scenario: scenario({ plan: [submitPlan([task("a", { acceptance: [["true"], rm] })], [rm]), submitPlan([task("a")])], work: { a: does("a") } }),
  })
  const session = await scene.createSession()
  assert.match(await scene.command(session, "task", "Remove"), /is sealed/)
  const [refused] = resultsOf(scene.asked("plan"), "submit_plan")
  assert.match(refused, /tasks\[0\]\.acceptance\[1\]: the host's permissions refuse to run "rm -rf x"/)
  assert.match(refused, /checks\[0\]: the host's permissions refuse to run "rm -rf x"/)
  assert.equal(scene.read("x"), "precious")
})

test("a question in the session of a running mission is answered at once, tools included", async (t) => {
  // Without it the commander falls silent until the mission is over, or `opencode run` leaves before that.
  const steps = [{ text: "Let me look.", tool: "mission_status" }, say("Task a is running.")]
  const scene = await setUp(t, {
    scenario: scenario({
      plan: [submitPlan([task("a")])],
      work: { a: [waitAt("asked"), ...does("a")] },
      rules: [{ name: "question", when: { agent: "commander", user: "^How is it going" }, steps }],
    }),
  })
  const session = await scene.createSession()
  const report = scene.command(session, "task", "Question")
  await scene.reached("work a")
  const answer = scene.request("POST", `/session/${session}/message`, { parts: [{ type: "text", text: "How is it going?" }] })
  const said = async () => (await scene.messages(session)).filter(({ info }) => info.role === "assistant" && info.time.completed).map(({ parts }) => textOf(parts))
  await until("it is answered", async () => (await said()).includes("Task a is running."))
  assert.match(resultsOf(scene.asked("question"), "mission_status")[0], /Mission m1 is executing[^]*- a running: Write a/)
  assert.equal((await scene.status())[session].type, "busy")
  scene.open("asked")
  await Promise.all([report, answer])
  assert.match((await said()).at(-1), /^Mission m1 is sealed/)
})

test("a session without a mission is as it is without the plugin", async (t) => {
  // Without it every user pays for the plugin in each request, mission or not.
  const greets = { rules: [{ name: "hello", when: { user: "^hello" }, steps: [say("hello")], repeat: true }] }
  const mine = { mine: { prompt: "You are mine.", mode: "primary", permission: { edit: "deny", bash: { "*": "allow", "git push": "deny" } } } }
  const scenes = [
    { scene: await setUp(t, { scenario: greets }), agents: ["build"] },
    { scene: await setUp(t, { scenario: greets, config: { permission: "allow", agent: mine } }), agents: ["build", "plan", "mine"] },
  ]
  // In a home of its own: the one we share has a configuration with the plugin.
  const plain = await start({ plugin: [], home: undefined })
  try {
    for (const { scene, agents } of scenes) {
      for (const by of [plain, stage.host]) {
        scene.host = by
        for (const agent of agents) {
          const session = await scene.createSession()
          await scene.request("POST", `/session/${session}/message`, { agent, parts: [{ type: "text", text: "hello" }] })
        }
      }
      const asked = scene.asked("hello").map(({ tools, toolsBytes, systemBytes, messages }) => ({ tools, toolsBytes, systemBytes, messages }))
      assert.equal(asked.length, 2 * agents.length)
      assert.deepEqual(asked.slice(agents.length), asked.slice(0, agents.length))
      assert.ok(!scene.has(".opencode/orchestrator"))
      assert.ok(!scene.has(".opencode/todo.md"))
    }
  } finally {
    await plain.stop()
  }
})

test("kill -9 in mid-mission costs what was in the air: the next start goes on from the journal", async (t) => {
  // Without it a crash loses a mission, or does finished work again.
  const hang = { text: "thinking", fault: "hang" }
  const check = ["sh", "-c", `echo run >> .git/runs; ${waiting("checked")}; test -s a.txt`]
  const planning = await setUp(t, { scenario: scenario({ plan: [hang, submitPlan([task("a")])], work: { a: does("a") } }) })
  const working = await setUp(t, {
    scenario: scenario({
      plan: [submitPlan([task("a"), task("b"), task("c", { depends_on: ["a", "b"] })])],
      work: { a: does("a"), b: [hang, ...does("b")], c: does("c") },
    }),
  })
  const checking = await setUp(t, { scenario: scenario({ plan: [submitPlan([task("a", { acceptance: [check] })])], work: { a: does("a") } }) })
  const scenes = [planning, working, checking]
  const roots = new Map()
  for (const scene of scenes) {
    roots.set(scene, await scene.createSession())
    void scene.command(roots.get(scene), "task", "Survive")
  }
  await planning.reached("plan")
  await working.reached("work b")
  await working.until("a is done", ({ tasks }) => tasks.some(({ id, state }) => id === "a" && state === "done"))
  await until("the check runs", () => checking.has(".git/runs"))
  await stage.host.kill9()
  await stage.host.stop()

  // A server goes on by itself, and tells the session when nobody waits in it.
  stage.host = await start()
  for (const scene of [planning, working]) {
    scene.host = stage.host
    await scene.request("GET", "/config")
    await scene.until("it is sealed", ({ stage }) => stage === "sealed")
    await until("the session is told", async () =>
      (await scene.messages(roots.get(scene))).some(({ info, parts }) => info.role === "assistant" && textOf(parts).startsWith("Mission m1 is sealed")),
    )
  }
  // On the command line /task goes on, and stays until the end.
  const asked = checking.model.requests.length
  const run = checking.run("--command", "task")
  await checking.model.waitFor(({ agent, index }) => agent === "title" && index >= asked, DEADLINE_MS)
  checking.open("checked")
  const { code, stdout, stderr } = await run
  assert.equal(code, 0, stderr)
  assert.match(stdout, /Mission m1 is sealed\. 1 of 1 task done\./)

  for (const scene of scenes) native.verifyJournal(scene.directory)
  // Every session was gone on with, and what had been done was not done again.
  const hadPrompts = (requests, ...wanted) => {
    assert.equal(new Set(requests.map(({ sessionID }) => sessionID)).size, 1)
    const prompts = promptsOf(requests)
    assert.deepEqual([prompts.length, ...prompts.slice(1).map((prompt) => /You were interrupted/.exec(prompt)?.[0])], [wanted.length + 1, ...wanted])
  }
  hadPrompts(planning.asked("plan"), "You were interrupted")
  hadPrompts(working.asked("plan"))
  hadPrompts(working.asked("work a"))
  hadPrompts(working.asked("work b"), "You were interrupted")
  hadPrompts(checking.asked("work a"))
  assert.equal(checking.read(".git/runs"), "run\nrun\n")
  // Planner, workers, a review of each task and of the whole, and one more for a session that was interrupted.
  const promptCount = ({ model }) => {
    const requests = model.requests.filter(({ agent }) => ["planner", "worker", "reviewer"].includes(agent))
    const last = new Map(requests.map((request) => [request.sessionID, request]))
    return [...last.values()].reduce((sum, request) => sum + promptsOf([request]).length, 0)
  }
  assert.deepEqual(scenes.map(promptCount), [5, 9, 4])
})

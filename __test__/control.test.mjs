/**
 * What users and the commander do to a mission on the real OpenCode: approval, revisions, commands, budgets, several
 * missions, sessions and processes in one project.
 */
import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { test } from "node:test"
import {
  contentText, DEADLINE_MS, does, native, promptsOf, resultsOf, say, scenario, setUp, stage, start, submitPlan, submitReview, submitWork, task,
  textOf, toasted, until, waitAt, write,
} from "./scene.mjs"

/** The texts that a session's models and we have said in it. */
const saidIn = async (scene, session) =>
  (await scene.messages(session)).filter(({ info }) => info.role === "assistant").map(({ parts }) => textOf(parts)).filter(Boolean)

/** The planner of the mission "only a", for instance, beside those of others. */
const plansOnly = (id) => ({ name: `plan ${id}`, when: { agent: "planner", firstUser: `only ${id}` }, steps: [submitPlan([task(id)]), say("planned")] })

const changedFiles = ({ directory }) =>
  execFileSync("git", ["status", "--porcelain"], { cwd: directory, encoding: "utf8" }).split("\n").filter((line) => line && !line.includes(".opencode"))

test("a plan waits for the user, over a restart: an edit goes to its planner, a refusal to a fresh one, and only approval begins the work", async (t) => {
  // Without it work begins that nobody wanted, or a model approves its own plan.
  const scene = await setUp(t, {
    scenario: scenario({
      plan: [submitPlan([task("a")]), say("planned"), submitPlan([task("a"), task("b", { depends_on: ["a"] })])],
      work: { c: does("c") },
      rules: [
        { name: "anew", when: { agent: "planner", firstUser: "The user refused it; plan anew\nit must be c" }, steps: [submitPlan([task("c")]), say("planned")] },
        { name: "chat", when: { user: "^Please approve" }, steps: [{ tool: "mission_status" }, say("Only you can.")], repeat: true },
      ],
    }),
  })
  const session = await scene.createSession()
  const first = await scene.command(session, "plan", "Write files")
  assert.match(first, /^Mission m1: 1 task in 1 wave\. It waits for your approval\.\n\nObjective: Write files\n\nWave 1:\n- a: Write a\n  writes a\.txt\n  done when test -s a\.txt pass\n/)
  assert.match(first, /Estimate, as a rule: 3 sessions, 150000 tokens\.[^]*\/plan approve carries it out/)
  assert.deepEqual(changedFiles(scene), [])

  const edited = await scene.command(session, "plan", "edit also write b")
  assert.match(edited, /^Mission m1: 2 tasks in 2 waves\.[^]*Wave 2:\n- b: Write b\n  writes b\.txt\n  after a\n/)
  assert.equal(new Set(scene.asked("plan").map(({ sessionID }) => sessionID)).size, 1)
  assert.match(promptsOf(scene.asked("plan"))[1], /Your last plan\n- a: Write a \(a\.txt\)[^]*The user wants it changed; keep the rest\nalso write b/)

  await scene.request("POST", `/session/${session}/message`, { parts: [{ type: "text", text: "Please approve" }] })
  await scene.request("POST", "/instance/dispose")
  assert.match(await scene.command(session, "task"), /It waits for your approval\.[^]*\(APPROVAL_NEEDED\)/)
  assert.match(await scene.command(session, "plan", "edit"), /\(DECISION_INCOMPLETE\)/)
  assert.equal(scene.mission().stage, "waiting for approval")

  assert.match(await scene.command(session, "plan", 'refuse "it must be c"'), /^Mission m1: 1 task in 1 wave\.[^]*- c: Write c/)
  assert.notEqual(scene.asked("anew")[0].sessionID, scene.asked("plan")[0].sessionID)
  assert.deepEqual(changedFiles(scene), [])
  assert.equal(scene.model.requests.filter(({ agent }) => agent === "worker").length, 0)
  assert.match(await scene.command(session, "plan", "approve"), /Mission m1 is sealed\. 1 of 1 task done\./)
  assert.deepEqual(changedFiles(scene), ["?? c.txt"])
  assert.match(await scene.command(session, "plan", "approve"), /\(NO_APPROVAL\)/)
  // What a restart sent again had been shown.
  assert.equal((await saidIn(scene, session)).filter((text) => text === edited).length, 1)
})

test("with the option `approval`, `opencode run` ends at the plan, and another run approves it", async (t) => {
  // Without it the option does nothing, or a script waits for ever.
  const scene = await setUp(t, { options: { approval: "ask" }, scenario: scenario({ plan: [submitPlan([task("a")])], work: { a: does("a") } }) })
  const planned = await scene.run("--command", "task", "Write a")
  assert.deepEqual([planned.code, planned.timedOut], [0, false], planned.stderr)
  assert.match(planned.stdout, /Mission m1: 1 task in 1 wave\. It waits for your approval\./)
  assert.ok(!scene.has("a.txt"))
  const approved = await scene.run("--command", "plan", "approve")
  assert.deepEqual([approved.code, approved.timedOut], [0, false], approved.stderr)
  assert.match(approved.stdout, /Mission m1 is sealed/)
})

test("the commander adds, splits, cancels and reprioritises in a running plan; what a running task held is free when its session has ended", async (t) => {
  // Without it a plan that proved wrong runs to its end, or two sessions write one file.
  const wrong = { split: [{ task: "nobody", into: [] }], retry: ["a"], reprioritise: [{ task: "a", priority: "urgent" }] }
  const revision = {
    split: [{ task: "a", into: [task("a1", { files: ["a.txt"], acceptance: [["test", "-s", "a.txt"]] }), task("a2")] }],
    cancel: ["c"],
    reprioritise: [{ task: "b", priority: "high" }],
    add: [task("d", { files: ["b.txt", "d.txt"] })],
  }
  const scene = await setUp(t, {
    scenario: scenario({
      plan: [submitPlan([task("a"), task("b"), task("c", { depends_on: ["a"] })])],
      work: {
        a: [{ text: "thinking", fault: "hang" }],
        b: [waitAt("revised"), ...does("b")],
        a1: [write("a.txt", "by a1\n"), submitWork("a.txt"), say("done")],
        a2: does("a2"),
        d: [write("d.txt", "by d\n"), submitWork("d.txt"), say("done")],
      },
      rules: [{ name: "revise", when: { agent: "commander", user: "^Change it" }, steps: [{ tool: "revise_plan", args: wrong }, { tool: "revise_plan", args: revision }, say("Changed.")] }],
    }),
  })
  const session = await scene.createSession()
  const report = scene.command(session, "task", "Revise")
  await Promise.all([scene.reached("work a"), scene.reached("work b")])
  const answer = scene.request("POST", `/session/${session}/message`, { parts: [{ type: "text", text: "Change it" }] })
  await scene.until("the parts are done", ({ tasks }) => ["a1", "a2"].every((id) => tasks.find((task) => task.id === id)?.state === "done"))
  const [refused, taken] = resultsOf(scene.asked("revise"), "revise_plan")
  assert.match(refused, /split\[0\]\.into: is empty[^]*reprioritise\[0\]\.priority: expected one of high, normal, low/)
  assert.match(refused, /split\[0\]\.task: no task is called "nobody"/)
  assert.match(taken, /^The plan was revised\./)
  assert.ok(scene.asked("work a ").every(({ aborted }) => aborted) && scene.asked("work a")[0].aborted)
  const states = () => Object.fromEntries(scene.mission().tasks.map(({ id, state }) => [id, state]))
  assert.deepEqual(states(), { a: "cancelled", a1: "done", a2: "done", b: "running", c: "cancelled", d: "ready" })
  const status = await scene.command(await scene.createSession(), "status")
  assert.match(status, /- d ready: Write d, waits for b\.txt, which b of m1 holds/)
  assert.match(status, /Spent: \d+ tokens, cost 0\.(?!00)\d\d, \d+ ms under way\./)
  scene.open("revised")
  await answer
  assert.match(await report, /Changed\.|is sealed/)
  await scene.until("it is sealed", ({ stage }) => stage === "sealed")
  assert.deepEqual([scene.read("a.txt"), scene.read("d.txt")], ["by a1\n", "by d\n"])
})

test("a mission whose budget is spent pauses and says so, is not just resumed, and goes on when the budget is raised", async (t) => {
  // Without it a budget is a wish, or costs are counted that nobody has to pay.
  const dear = { ...write("a.txt", "by a\n"), usage: { input: 100_000, output: 0 } }
  const scene = await setUp(t, {
    limits: { missionTokens: 90_000, missionCostCents: 19 },
    // A million tokens cost 1.00, and 5.00 those of answers.
    scenario: scenario({ plan: [submitPlan([task("a")])], work: { a: [dear, waitAt("paused"), dear, waitAt("dear"), submitWork("a.txt"), say("done")] } }),
  })
  const session = await scene.createSession()
  const paused = await scene.command(session, "task", "Spend")
  assert.match(paused, /^Mission m1 is paused: its budget missionTokens of 90000 tokens is reached, 1\d{5} tokens are spent\. Raise it with \/task budget missionTokens=<more>/)
  await until("no session is busy", async () => Object.keys(await scene.status()).length === 0)
  scene.open("paused")
  const spent = scene.mission().tokens
  assert.match(await scene.command(session, "task"), /\(BUDGET_REACHED\)/)
  assert.match(await scene.command(session, "task", "budget missionTokens=5 tokens=1"), /missionTokens: \d+ tokens are spent already[^]*tokens: no such budget[^]*\(BUDGET_INVALID\)/)
  assert.equal(scene.mission().tokens, spent)
  const costly = await scene.command(session, "task", "budget missionTokens=5000000")
  assert.match(costly, /^Mission m1 is paused: its budget missionCostCents of 0\.19 is reached, 0\.2\d are spent\. Raise it/)
  await until("no session is busy", async () => Object.keys(await scene.status()).length === 0)
  scene.open("dear")
  assert.match(await scene.command(session, "task", "budget missionCostCents=5000"), /Mission m1 is sealed\. 1 of 1 task done\./)
  const { tokens, costMicros, tasks } = scene.mission()
  assert.ok(tasks[0].tokens >= 200_000 && tasks[0].tokens < tokens)
  assert.ok(costMicros > tokens && costMicros < 5 * tokens, `${costMicros} for ${tokens} tokens`)
})

test("limits are changed while a mission runs", async (t) => {
  // Without it the number of sessions can be changed only by ending OpenCode.
  const scene = await setUp(t, {
    limits: { sessions: 1 },
    scenario: scenario({ plan: [submitPlan([task("a"), task("b")])], work: { a: [waitAt("on"), ...does("a")], b: does("b") } }),
  })
  const session = await scene.createSession()
  const report = scene.command(session, "task", "Two files")
  await scene.reached("work a")
  assert.deepEqual(scene.asked("work b"), [])
  const elsewhere = await scene.createSession()
  assert.match(await scene.command(elsewhere, "task", "limit sessions=0"), /limits\.sessions: expected a whole number from 1 to 200[^]*\(LIMITS_INVALID\)/)
  assert.match(await scene.command(elsewhere, "task", "limit sessions=2"), /in force until OpenCode is started again/)
  await scene.reached("work b")
  scene.open("on")
  assert.match(await report, /Mission m1 is sealed/)
})

test("/search reads and answers, /review gives typed findings, /fix is a mission of one task, /agents lists, and aliases work", async (t) => {
  // Without it the names are there and do nothing, or one of them writes.
  const finding = { message: "x.txt says nothing.", files: ["x.txt"] }
  const scene = await setUp(t, {
    files: { "x.txt": "x\n" },
    scenario: scenario({
      plan: [submitPlan([task("a"), task("b")]), submitPlan([task("a")])],
      work: { a: does("a") },
      rules: [
        { name: "search", when: { system: "^You answer questions" }, steps: [{ text: "Let me look.", tool: "grep_search", args: { pattern: "x" } }, say("In x.txt, line 1.")] },
        { name: "judge", when: { agent: "reviewer", firstUser: "^/review" }, steps: [submitReview("fail"), submitReview("fail", finding), say("I have reviewed.")] },
      ],
    }),
  })
  assert.match(await scene.command(await scene.createSession(), "search", "Where is x?"), /In x\.txt, line 1\.$/)
  const search = scene.asked("search")
  assert.match(promptsOf(search)[0], /Find out: Where is x\?/)
  const offered = new Set(search.flatMap(({ tools }) => tools))
  for (const tool of ["write", "edit", "bash", "task", "submit_plan"]) assert.ok(!offered.has(tool), tool)
  assert.ok(offered.has("grep_search"))
  assert.ok(!scene.has(".opencode/orchestrator"))

  scene.put("x.txt", "y\n")
  assert.equal(await scene.command(await scene.createSession(), "review"), "Review: fail. It is a fail.\n\n1. x.txt says nothing. (x.txt)")
  assert.match(promptsOf(scene.asked("judge"))[0], /Review the changes of the working tree/)
  assert.match(resultsOf(scene.asked("judge"), "submit_review")[0], /findings: a fail needs at least one finding/)
  assert.ok(!scene.has(".opencode/orchestrator"))

  const session = await scene.createSession()
  assert.match(await scene.command(session, "agents"), /- planner: Plans a mission\. A lane of 2 sessions\.\n[^]*- fixer: [^]*Model where none is named/)
  assert.match(await scene.command(session, "fix", "x is broken"), /Mission m1 is sealed\. 1 of 1 task done\./)
  assert.match(promptsOf(scene.asked("plan"))[0], /This is a fix: plan one task/)
  assert.match(resultsOf(scene.asked("plan"), "submit_plan")[0], /tasks: has 2 entries; at most 1 are taken/)
  assert.match(await scene.command(session, "cancel"), /\(NO_MISSION\)/)
  assert.match(await scene.command(session, "auto"), /\(NO_MISSION\)/)
  assert.match(await scene.command(session, "plan", "approve"), /\(NO_APPROVAL\)/)
})

test("coder and fixer are modes of the user's own sessions: they search and write, and are offered nothing of a mission", async (t) => {
  // Without it the modes cannot be switched to, or a session of the user's own takes part in a mission.
  const modes = { coder: /^You make one change to the project/, fixer: /^You mend one thing that is broken/ }
  const scene = await setUp(t, {
    scenario: { rules: Object.keys(modes).map((name) => ({ name, when: { user: `^Be the ${name}` }, steps: [write(`${name}.txt`, "x\n"), say("written")] })) },
  })
  for (const [name, prompt] of Object.entries(modes)) {
    const session = await scene.createSession()
    await scene.request("POST", `/session/${session}/message`, { agent: name, parts: [{ type: "text", text: `Be the ${name}` }] })
    const [{ messages, tools }] = scene.asked(name)
    assert.match(messages.filter(({ role }) => role === "system").map(({ content }) => contentText(content)).join("\n"), prompt)
    for (const tool of ["read", "write", "edit", "bash", "grep_search", "glob_search", "symbols"]) assert.ok(tools.includes(tool), `${name} is not offered ${tool}`)
    const ofMissions = tools.filter((tool) => /^submit_|^revise_plan$|^mission_status$/.test(tool))
    assert.deepEqual(ofMissions, [], name)
    assert.equal(scene.read(`${name}.txt`), "x\n")
  }
  const { agent } = await scene.request("GET", "/config")
  for (const name of Object.keys(modes)) assert.deepEqual([agent[name].mode, agent[name].hidden], ["primary", undefined], name)
  assert.ok(!scene.has(".opencode/orchestrator"))
})

test("a user's own commands and agents of these names win", async (t) => {
  // Without it installing the plugin takes commands away.
  const own = (name) => ({ template: `OWN ${name}`, description: "mine" })
  const scene = await setUp(t, {
    config: { command: { review: own("review"), auto: own("auto"), plan: own("plan") }, agent: { searcher: { prompt: "You are mine.", mode: "subagent", description: "mine" } } },
    scenario: scenario({
      plan: [submitPlan([task("a")])],
      rules: [
        { name: "own", when: { user: "^OWN" }, steps: [say("mine")], repeat: true },
        { name: "search", when: { system: "^You answer questions" }, steps: [say("found")], repeat: true },
      ],
    }),
  })
  const session = await scene.createSession()
  for (const name of ["review", "auto", "plan"]) assert.equal(await scene.command(session, name), "mine")
  assert.equal(await scene.command(session, "search", "x"), "found")
  assert.match(await scene.command(session, "orchestrator-plan", "Write a"), /It waits for your approval/)
  const { agent, command } = await scene.request("GET", "/config")
  assert.equal(agent.searcher.prompt, "You are mine.")
  assert.ok(agent["orchestrator-searcher"] && command["orchestrator-review"] && !command["orchestrator-auto"] && command.dag)
})

test("two missions in one project report each to its own session, and an ordinary session beside them is left alone", async (t) => {
  // Without it one mission's end releases the other's session, or a session is captured that belongs to nobody.
  const hello = { name: "hello", when: { user: "^hello" }, steps: [say("hello")], repeat: true }
  const scene = await setUp(t, {
    scenario: scenario({ plan: [], work: { a: [waitAt("a"), ...does("a")], b: does("b") }, rules: [hello, plansOnly("a"), plansOnly("b")] }),
  })
  const greet = async () => {
    const session = await scene.createSession()
    await scene.request("POST", `/session/${session}/message`, { agent: "build", parts: [{ type: "text", text: "hello" }] })
    return session
  }
  await greet()
  const [one, two] = [await scene.createSession(), await scene.createSession()]
  const first = scene.command(one, "task", "only a")
  await scene.reached("work a", 0)
  const second = await scene.command(two, "task", "only b")
  assert.match(second, /^Mission m2 is sealed/)
  const ordinary = await greet()
  scene.open("a")
  assert.match(await first, /^Mission m1 is sealed/)
  assert.deepEqual([(await saidIn(scene, one)).length, (await saidIn(scene, two)).length], [1, 1])
  assert.equal((await scene.messages(ordinary)).length, 2)
  const [before, beside] = scene.asked("hello").map(({ tools, toolsBytes, systemBytes, messages }) => ({ tools, toolsBytes, systemBytes, messages }))
  assert.deepEqual(beside, before)
})

test("a second process says who has the project, and carries the mission on when that one ends, killed or not", async (t) => {
  // Without it closing one window leaves a mission for dead while another is open.
  const scene = await setUp(t, { scenario: scenario({ plan: [submitPlan([task("a")])], work: { a: [{ text: "thinking", fault: "hang" }, ...does("a")] } }) })
  let owner = await start({ project: scene.directory })
  let other
  try {
    for (const [round, end] of [["m1", "kill9"], ["m2", "stop"]]) {
      scene.host = owner
      void scene.command(await scene.createSession(), "task", "Hand over")
      const hangs = scene.asked("work a").length
      await scene.model.waitFor(({ rule }) => rule === "work a", DEADLINE_MS)
      await until("the worker hangs", () => scene.asked("work a").length > hangs || scene.asked("work a").some(({ endedAt }) => endedAt === null))
      other = await start({ project: scene.directory })
      scene.host = other
      assert.match(await scene.command(await scene.createSession(), "status"), new RegExp(`Mission ${round} is executing[^]*process ${owner.pid} owns this project`))
      assert.match(await scene.command(await scene.createSession(), "stop"), new RegExp(`process ${owner.pid} owns this project`))
      await owner[end]()
      if (end === "kill9") await owner.stop()
      await scene.until("it is sealed", ({ id, stage }) => `m${id}` === round && stage === "sealed")
      owner = other
      other = undefined
      scene.put("a.txt", "")
    }
    assert.ok(native.verifyJournal(scene.directory).sequence > 20)
  } finally {
    await other?.stop()
    await owner.stop()
  }
  assert.ok(stage.host)
})

test("two missions at work are both carried on by a second process when the one that runs them is killed", async (t) => {
  // Without it the process that takes a project over goes on with one mission of it, or tells one session of both.
  const hang = { text: "thinking", fault: "hang" }
  const scene = await setUp(t, {
    scenario: scenario({ plan: [], work: { a: [hang, ...does("a")], b: [hang, ...does("b")] }, rules: [plansOnly("a"), plansOnly("b")] }),
  })
  const owner = await start({ project: scene.directory })
  let other
  try {
    scene.host = owner
    const roots = { a: await scene.createSession(), b: await scene.createSession() }
    for (const [id, root] of Object.entries(roots)) void scene.command(root, "task", `only ${id}`)
    await Promise.all([scene.reached("work a"), scene.reached("work b")])
    other = await start({ project: scene.directory })
    scene.host = other
    const status = await scene.command(await scene.createSession(), "status")
    assert.match(status, new RegExp(`Mission m1 is executing[^]*Mission m2 is executing[^]*process ${owner.pid} owns this project`))
    const mark = other.events().all.length
    await owner.kill9()

    await toasted(scene, /The process that ran the missions of this project has ended/, mark)
    const missions = () => native.readMissions(scene.directory)
    await until("both are sealed", () => missions().every(({ stage }) => stage === "sealed"), () => JSON.stringify(missions(), null, 1))
    for (const [id, root] of Object.entries(roots)) {
      const mission = missions().find(({ objective }) => objective === `only ${id}`)
      assert.deepEqual([mission.root, mission.failures, scene.read(`${id}.txt`)], [root, 0, `by ${id}\n`])
      assert.equal(new Set(scene.asked(`work ${id}`).map(({ sessionID }) => sessionID)).size, 1, "its session was gone on with")
      assert.equal(native.replayJournal(scene.directory, `m${mission.id}`).divergence, null)
      const reports = async () => (await saidIn(scene, root)).filter((text) => text.startsWith("Mission "))
      await until("it is reported", async () => (await reports()).length > 0)
      const told = await reports()
      assert.ok(told.length === 1 && told[0].startsWith(`Mission m${mission.id} is sealed`), told.join("\n\n"))
    }
  } finally {
    await other?.stop()
    await owner.stop()
  }
})

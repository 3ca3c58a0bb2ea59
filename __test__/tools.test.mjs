/**
 * Tools on files, as the roles of missions use them on the real OpenCode.
 */
import assert from "node:assert/strict"
import { mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "node:test"
import { does, installedPlugin, resultsOf, say, scenario, setUp, submitPlan, submitReview, submitWork, task, until, waitAt } from "./scene.mjs"

const SECRET = `ghp_${"aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bD1fG3hJ5".slice(0, 36)}`

test("roles find their way, edit and compare with the tools, and see no secrets", async (t) => {
  // Without it a tool that works natively is not offered, refuses what a model writes, or shows a token to whoever runs the model.
  const call = (tool, args) => ({ tool, args })
  const scene = await setUp(t, {
    files: {
      "src/a.ts": `export function greet(name) {\n  console.log("hi", name)\n}\nconst token = "${SECRET}"\n`,
      "src/b.ts": 'import { greet } from "./a"\nconsole.log("b")\ngreet("x")\n',
      "data.json": '{ "name": "demo", "parts": [1, 2, 3] }\n',
    },
    scenario: scenario({
      plan: [
        {
          tools: [
            { name: "symbols", args: {} },
            { name: "glob_search", args: { pattern: "**/*.ts" } },
            { name: "grep_search", args: { pattern: "token" } },
            { name: "mgrep", args: { patterns: ["greet", "token"] } },
            { name: "ast_search", args: { pattern: "console.log($$$ARGS)", language: "ts" } },
            { name: "ast_search", args: { rule: "language: ts\nrule:\n  pattern: greet($A)\n  not: { inside: { kind: function_declaration } }\n" } },
            { name: "file_stats", args: {} },
            { name: "git_log", args: {} },
          ],
        },
        submitPlan([task("a", { files: ["src/"], acceptance: [["grep", "-q", "print", "src/a.ts"]] })]),
      ],
      work: {
        a: [
          call("ast_replace", { pattern: "console.log($$$ARGS)", rewrite: "print($$$ARGS)", language: "ts" }),
          call("ast_replace", { pattern: "console.log($$$ARGS)", rewrite: "print($$$ARGS)", language: "ts", apply: true }),
          call("sed_replace", { pattern: "greet", replacement: "welcome", path: "src", word: true, apply: true }),
          call("replace", { pattern: "(", replacement: "x" }),
          { tools: [{ name: "jq", args: { filter: ".parts | add", path: "data.json" } }, { name: "git_diff", args: {} }] },
          submitWork("src/a.ts", "src/b.ts"),
          say("done"),
        ],
      },
      rules: [
        {
          name: "compare",
          when: { agent: "reviewer" },
          steps: [
            { tools: [{ name: "git_diff", args: { stat: true } }, { name: "diff", args: { before: "src/a.ts", after: "src/b.ts" } }] },
            submitReview("pass"),
            say("reviewed"),
          ],
        },
        { name: "order", when: { agent: "commander" }, steps: [call("git_status", {}), say("Off it goes.")] },
      ],
    }),
  })
  const session = await scene.createSession()
  assert.match(await scene.command(session, "task", "Greet"), /is sealed/)
  const [plan, work, review] = ["plan", "work a", "compare"].map((rule) => scene.asked(rule))
  const first = (requests, tool) => resultsOf(requests, tool)[0]
  assert.match(first(plan, "symbols"), /^src\/a\.ts:1: function greet\nsrc\/a\.ts:4: constant token\n/)
  assert.match(first(plan, "glob_search"), /^src\/a\.ts\nsrc\/b\.ts\n/)
  assert.match(first(plan, "grep_search"), /src\/a\.ts:4: const token = "\[masked: github token\]"/)
  assert.match(first(plan, "mgrep"), /masked: github token/)
  assert.match(first(plan, "ast_search"), /src\/a\.ts:2: console\.log\("hi", name\)/)
  assert.match(resultsOf(plan, "ast_search")[1], /^src\/b\.ts:3: greet\("x"\)\n/)
  assert.match(first(plan, "file_stats"), /typescript/i)
  assert.match(first(plan, "git_log"), /\(1 commit\)/)
  const [dry, applied] = resultsOf(work, "ast_replace")
  assert.match(dry, /-console\.log\("b"\)\n\+print\("b"\)[^]*dry run, nothing was changed: 2 replacements in 2 files/)
  assert.match(applied, /\(written: 2 replacements in 2 files/)
  assert.match(first(work, "sed_replace"), /\(written: 3 replacements in 2 files/)
  assert.match(first(work, "replace"), /pattern: [^]*unclosed group/)
  assert.match(first(work, "jq"), /^6\n/)
  assert.match(first(work, "git_diff"), /\+ {2}print\("hi", name\)[^]*masked: github token/)
  assert.match(first(review, "git_diff"), /2 files changed/)
  assert.match(first(review, "diff"), /^--- src\/a\.ts\n\+\+\+ src\/b\.ts\n/)
  assert.match(first(scene.asked("order"), "git_status"), /^on /)
  assert.equal(scene.read("src/b.ts"), 'import { welcome } from "./a"\nprint("b")\nwelcome("x")\n')
  assert.ok(scene.read("src/a.ts").includes(SECRET), "the file itself keeps it")
  for (const { messages } of scene.model.requests) assert.ok(!JSON.stringify(messages).includes(SECRET))
})

test("an editing tool writes only what the lease and the user's permissions allow, all or nothing", async (t) => {
  // Without it one call of a worker changes the files of another, or those that the user has locked.
  const apply = (pattern, more) => ({ tool: "replace", args: { pattern, replacement: "new", apply: true, ...more } })
  const scene = await setUp(t, {
    files: { "a.txt": "shared old\n", "locked.txt": "locked old\n", "b.txt": "mine old\n" },
    config: { permission: { edit: { "*": "allow", "locked.txt": "deny" } } },
    scenario: scenario({
      plan: [submitPlan([task("a"), task("b", { files: ["b.txt", "locked.txt"] })])],
      work: {
        a: [waitAt("tried"), ...does("a")],
        b: [apply("old"), apply("(locked|mine) old", { globs: ["*.txt"] }), apply("old", { path: "b.txt" }), submitWork("b.txt"), say("done")],
      },
    }),
  })
  const session = await scene.createSession()
  const report = scene.command(session, "task", "Replace")
  await scene.reached("work b", 3)
  const [leased, locked, own] = resultsOf(scene.asked("work b"), "replace")
  assert.match(leased, /Nothing was changed\. a\.txt is leased to task a of mission m1/)
  assert.match(locked, /Nothing was changed: the permission edit was denied for b\.txt, locked\.txt/)
  assert.match(own, /\(written: 1 replacement in 1 file/)
  assert.deepEqual(["a.txt", "locked.txt", "b.txt"].map((name) => scene.read(name)), ["shared old\n", "locked old\n", "new\n".replace("new", "mine new")])
  scene.open("tried")
  assert.match(await report, /is sealed/)
})

test("a path outside the project is reached when the user grants it, and only then", async (t) => {
  // Without it a model reads the user's home, or a user who grants a folder is refused all the same.
  const outside = mkdtempSync(join(realpathSync(tmpdir()), "outside-"))
  t.after(() => rmSync(outside, { recursive: true }))
  writeFileSync(join(outside, "x.txt"), "treasure\n")
  const look = { tool: "grep_search", args: { pattern: "treasure", path: outside } }
  const scene = await setUp(t, {
    config: { permission: { external_directory: "ask" } },
    scenario: scenario({
      plan: [look, submitPlan([task("a")])],
      work: { a: [look, look, ...does("a")] },
    }),
  })
  const from = scene.host.events().all.length
  const asked = (count) =>
    until("a permission was asked for", () => {
      const all = scene.host.events().all.slice(from).filter(({ type, directory }) => type === "permission.asked" && directory === scene.directory)
      return all.length >= count && all[count - 1].properties
    })
  const answer = ({ id, sessionID }, response) => scene.request("POST", `/session/${sessionID}/permissions/${id}`, { response })
  const session = await scene.createSession()
  const report = scene.command(session, "task", "Look")
  const first = await asked(1)
  assert.equal(first.permission, "external_directory")
  assert.deepEqual(first.patterns, [join(outside, "*")])
  await answer(first, "once")
  await answer(await asked(2), "always")
  assert.match(await report, /is sealed/)
  const [planned] = resultsOf(scene.asked("plan"), "grep_search")
  assert.match(planned, /the permission external_directory was denied/)
  assert.ok(!planned.includes("treasure\n"))
  const results = resultsOf(scene.asked("work a"), "grep_search")
  assert.equal(results.length, 2)
  for (const result of results) assert.match(result, /x\.txt:1: treasure/)
})

test("the options switch tools and the masking off, and a wrong one is named", async (t) => {
  // Without it a user cannot keep a tool from a model, nor work on what looks like a secret, or a slip goes unnoticed.
  const scene = await setUp(t, {
    files: { "token.txt": `${SECRET}\n` },
    options: { tools: { jq: false, symbols: false, sed_replace: false }, maskSecrets: false },
    scenario: scenario({ plan: [{ tool: "grep_search", args: { pattern: "ghp_" } }, submitPlan([task("a")])], work: { a: does("a") } }),
  })
  const session = await scene.createSession()
  assert.match(await scene.command(session, "task", "Switch"), /is sealed/)
  const offered = new Set(scene.model.requests.flatMap(({ tools }) => tools))
  for (const tool of ["jq", "symbols", "sed_replace"]) assert.ok(!offered.has(tool), tool)
  for (const tool of ["replace", "ast_replace", "grep_search", "git_diff"]) assert.ok(offered.has(tool), tool)
  assert.ok(resultsOf(scene.asked("plan"), "grep_search")[0].startsWith(`token.txt:1: ${SECRET}\n`))

  const { default: plugin } = await import(installedPlugin())
  const wrong = { tools: { jqq: true, jq: "no" }, maskSecrets: 1, other: 2 }
  await assert.rejects(plugin.server({ client: {}, directory: scene.directory }, wrong), (error) => {
    for (const path of ["other: no such option", "tools.jqq: no such tool", "tools.jq: expected true or false", "maskSecrets: expected"]) assert.ok(error.message.includes(path), error.message)
    return true
  })
})

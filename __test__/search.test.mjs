// What JavaScript may rely on of the native searches. A plain script, because node:test does not run in OpenCode's Bun:
//   node __test__/search.test.mjs
//   BUN_BE_BUN=1 node_modules/opencode-linux-x64/bin/opencode __test__/search.test.mjs

import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { mkdirSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Worker } from "node:worker_threads"
import { facade, run } from "./contract.mjs"

const { addon, url: facadeUrl, scratch, native } = await facade()
const { grep, mgrep, glob, fileStats, astSearch, diff, toolText, warm, closePort, OrchestratorError } = native

const cwd = join(scratch, "project")
mkdirSync(join(cwd, "src"), { recursive: true })
writeFileSync(join(cwd, "a.txt"), "one\ntwo ünï 𝄞\nthree\n")
writeFileSync(join(cwd, "src/b.ts"), "console.log(one, two)\nfunction f() {}\n")
writeFileSync(join(cwd, "many.txt"), "needle\n".repeat(3000))
symlinkSync(tmpdir(), join(cwd, "out"))

// A tree whose search takes a second or so, since every file has to be parsed and nothing is found.
const slow = join(scratch, "slow")
mkdirSync(slow)
for (let index = 0; index < 40; index++) writeFileSync(join(slow, `${index}.ts`), "f(a, b)\n".repeat(2_000))
const slowSearch = (context) => astSearch({ pattern: "$F($A)", language: "ts" }, { cwd: slow, ...context })

async function rejection(promise) {
  try {
    await promise
  } catch (error) {
    assert.ok(error instanceof OrchestratorError, `an ${error?.constructor?.name}: ${error}`)
    return error
  }
  assert.fail("the call was not rejected")
}

async function rejects(promise, code, part = "") {
  const error = await rejection(promise)
  assert.equal(error.code, code, error.message)
  assert.ok(error.message.includes(part), error.message)
}

/** A signal that counts the listeners it has. */
function countingSignal() {
  const controller = new AbortController()
  const { signal } = controller
  let listeners = 0
  const { addEventListener, removeEventListener } = signal
  signal.addEventListener = (...args) => (listeners++, addEventListener.apply(signal, args))
  signal.removeEventListener = (...args) => (listeners--, removeEventListener.apply(signal, args))
  return { controller, signal, listeners: () => listeners }
}

const checks = {
  "the user's global ignore file counts, also by a link or as git's settings name it, and as it is now"() {
    // Without it a search shows what git hides, or goes by rules that have been changed.
    const home = join(scratch, "home")
    const kept = join(scratch, "dotfiles")
    const repository = join(scratch, "repository")
    for (const folder of [join(home, "git"), kept, join(repository, ".git")]) mkdirSync(folder, { recursive: true })
    symlinkSync(join(kept, "ignore"), join(home, "git/ignore"))
    for (const name of ["a.txt", "b.txt"]) writeFileSync(join(repository, name), "")
    writeFileSync(
      join(home, "look.mjs"),
      `import { rmSync, writeFileSync } from "node:fs"
      import { glob } from ${JSON.stringify(facadeUrl)}
      const look = async () => (await glob({ pattern: "*.txt" }, { cwd: ${JSON.stringify(repository)} })).paths.join()
      for (const name of ["a.txt", "b.txt"]) {
        writeFileSync(${JSON.stringify(join(kept, "ignore"))}, name)
        console.log(await look())
      }
      writeFileSync(${JSON.stringify(join(home, "own"))}, "a.txt")
      writeFileSync(${JSON.stringify(join(home, ".gitconfig"))}, "[core]\\n\\texcludesfile = ~/own\\n")
      console.log(await look())
      for (let index = 0; index < 20; index++) await look()
      rmSync(${JSON.stringify(join(home, ".gitconfig"))})
      console.log(await look())`,
    )
    const { stdout, stderr } = spawnSync(process.execPath, [join(home, "look.mjs")], {
      encoding: "utf8",
      env: { ...process.env, HOME: home, XDG_CONFIG_HOME: home },
    })
    assert.equal(stdout, "b.txt\na.txt\nb.txt\na.txt\n", stderr)
  },

  async "searches with an index see every change"() {
    // Without it a model is shown a project as it was.
    const indexed = join(scratch, "indexed")
    mkdirSync(join(indexed, "src"), { recursive: true })
    for (let index = 0; index < 50; index++) writeFileSync(join(indexed, "src", `${index}.ts`), `const name${index} = 1\n`)
    const find = async (pattern) => (await grep({ pattern }, { cwd: indexed, index: true })).matches.map(({ path }) => path)
    if (!(await warm({ cwd: indexed }))) console.log("  (no index on this file system)")
    for (let round = 0; round < 50; round++) {
      assert.deepEqual(await find(`marker${round}`), [])
      writeFileSync(join(indexed, "src", `${round}.ts`), `marker${round}\n`)
      writeFileSync(join(indexed, `new${round}.ts`), `marker${round}\n`)
      assert.deepEqual(await find(`marker${round}`), [`new${round}.ts`, `src/${round}.ts`])
      rmSync(join(indexed, `new${round}.ts`))
      assert.deepEqual(await find(`marker${round}`), [`src/${round}.ts`])
    }
    writeFileSync(join(indexed, ".gitignore"), "src/\n")
    writeFileSync(join(indexed, ".ignore"), "src/\n")
    assert.deepEqual(await find("marker"), [])
    await rejects(warm({ cwd: join(scratch, "nowhere") }), "SEARCH_BAD_ROOT")
  },

  async "grep gives matches with their places"() {
    const answer = await grep({ pattern: "t[wh]" }, { cwd })
    assert.deepEqual(answer.matches, [
      { path: "a.txt", line: 2, column: 1, text: "two ünï 𝄞" },
      { path: "a.txt", line: 3, column: 1, text: "three" },
      { path: "src/b.ts", line: 1, column: 18, text: "console.log(one, two)" },
    ])
    assert.deepEqual([answer.truncated, answer.limits, answer.next, answer.hint], [false, [], null, null])
    assert.equal(answer.filesSearched, 3)
  },

  async "glob gives paths"() {
    assert.deepEqual((await glob({ pattern: "**/*.{ts,txt}" }, { cwd })).paths, ["a.txt", "many.txt", "src/b.ts"])
  },

  async "astSearch gives meta-variables"() {
    const answer = await astSearch({ pattern: "console.log($A, $$$REST)", language: "ts" }, { cwd })
    assert.deepEqual(answer.matches.map((found) => found.variables), [{ A: "one", REST: ["two"] }])
  },

  async "mgrep gives the results of each pattern"() {
    const { patterns, truncated } = await mgrep({ patterns: ["one", "th.ee", "none"] }, { cwd })
    const places = patterns.map(({ pattern, matches }) => [pattern, matches.map(({ path, line }) => `${path}:${line}`)])
    assert.deepEqual(places, [["one", ["a.txt:1", "src/b.ts:1"]], ["th.ee", ["a.txt:3"]], ["none", []]])
    assert.equal(truncated, false)
  },

  async "fileStats counts by language"() {
    const answer = await fileStats({ largest: 1 }, { cwd })
    assert.deepEqual([answer.files, answer.largest], [3, [{ path: "many.txt", bytes: 21_000, lines: 3000 }]])
    assert.deepEqual(answer.languages.find(({ language }) => language === "TypeScript"), { language: "TypeScript", files: 1, bytes: 38, lines: 2 })
  },

  async "what is granted can be reached"() {
    const elsewhere = join(scratch, "elsewhere")
    mkdirSync(elsewhere)
    writeFileSync(join(elsewhere, "c.txt"), "far\n")
    const { folder } = await rejection(grep({ pattern: "far", path: elsewhere }, { cwd }))
    assert.equal(folder, realpathSync(elsewhere))
    const answer = await grep({ pattern: "far", path: elsewhere }, { cwd, granted: [folder] })
    assert.deepEqual(answer.matches.map(({ path }) => path), [join(folder, "c.txt")])
  },

  async "toolText gives text"() {
    const text = await toolText("grep_search", { pattern: "three" }, { cwd })
    assert.equal(text, "a.txt:3: three\n(1 match; 3 files searched)\n")
  },

  async "the root is the working directory unless said otherwise"() {
    const before = process.cwd()
    process.chdir(cwd)
    try {
      assert.deepEqual((await glob({ pattern: "a.txt" })).paths, ["a.txt"])
      assert.deepEqual((await glob({ pattern: "b.ts" }, { cwd: "src" })).paths, ["b.ts"])
    } finally {
      process.chdir(before)
    }
    await rejects(glob({ pattern: "*" }, { cwd: join(scratch, "none") }), "SEARCH_BAD_ROOT", "cwd: ")
  },

  async "results are bounded, and can be continued"() {
    const first = await grep({ pattern: "needle" }, { cwd })
    assert.equal(first.matches.length, 1000)
    assert.deepEqual([first.truncated, first.limits], [true, ["maxResults"]])
    assert.deepEqual(first.next, { path: "many.txt", line: 1000, column: 1 })
    const last = await grep({ pattern: "needle", after: { ...first.next, line: 2990 } }, { cwd })
    assert.deepEqual([last.matches.length, last.truncated, last.next], [10, false, null])
    const text = await toolText("grep_search", { pattern: "needle", maxResults: 2 }, { cwd })
    assert.match(text, /\[cut at: MaxResults; pass after: \{"column":1,"line":2,"path":"many.txt"\}/)
  },

  async "wrong types are refused with their place"() {
    for (const options of [undefined, null, 1, "x", [], () => {}]) {
      await rejects(grep(options, { cwd }), "SEARCH_BAD_OPTIONS", "options: ")
    }
    await rejects(grep({}, { cwd }), "SEARCH_BAD_OPTIONS", "missing field `pattern`")
    await rejects(grep({ pattern: 1 }, { cwd }), "SEARCH_BAD_OPTIONS", "pattern: ")
    await rejects(grep({ pattern: "x", cwd: "/" }, { cwd }), "SEARCH_BAD_OPTIONS", "unknown field `cwd`")
    await rejects(grep({ pattern: "x", globs: "a" }, { cwd }), "SEARCH_BAD_OPTIONS", "globs: ")
    await rejects(grep({ pattern: "x", hidden: "yes" }, { cwd }), "SEARCH_BAD_OPTIONS", "hidden: ")
    await rejects(grep({ pattern: 1n }, { cwd }), "SEARCH_BAD_OPTIONS", "give plain data")
    await rejects(astSearch({ pattern: "f()", language: "cobol" }, { cwd }), "SEARCH_UNKNOWN_LANGUAGE", "typescript")
    await rejects(toolText("find", {}, { cwd }), "SEARCH_UNKNOWN_TOOL", "grep_search")
  },

  async "numbers are not wrapped, rounded or taken for absent"() {
    for (const maxResults of [-1, 1.5, 2 ** 31, 2 ** 33, 2 ** 53, 1e300, NaN, Infinity, "5", null]) {
      const error = await rejection(grep({ pattern: "needle", maxResults }, { cwd }))
      assert.match(error.code, /^SEARCH_(BAD_OPTIONS|OUT_OF_RANGE)$/, `${maxResults}`)
      assert.match(error.message, /^maxResults: /)
    }
    await rejects(grep({ pattern: "needle", maxResults: 0 }, { cwd }), "SEARCH_OUT_OF_RANGE", "1 to 1000")
    await rejects(grep({ pattern: "x", beforeContext: 2 ** 32 + 1 }, { cwd }), "SEARCH_BAD_OPTIONS")
  },

  async "no path leads out of the root"() {
    for (const path of ["..", "src/../..", "a\0b"]) {
      await rejects(grep({ pattern: "x", path }, { cwd }), "SEARCH_PATH_INVALID", "path: ")
    }
    for (const [path, folder] of [["/etc", "/etc"], ["/etc/hostname", "/etc"], ["out", realpathSync(tmpdir())]]) {
      const error = await rejection(grep({ pattern: "x", path }, { cwd }))
      assert.deepEqual([error.code, error.folder], ["SEARCH_PATH_OUTSIDE", folder])
    }
    await rejects(grep({ pattern: "x", path: "none" }, { cwd }), "SEARCH_PATH_UNREADABLE")
  },

  async "bad and oversized patterns are refused"() {
    await rejects(grep({ pattern: "(" }, { cwd }), "SEARCH_BAD_PATTERN", "pattern: ")
    await rejects(grep({ pattern: "x".repeat(65_537) }, { cwd }), "SEARCH_TOO_LONG", "65536")
    await rejects(grep({ pattern: "x".repeat(2 ** 21) }, { cwd }), "SEARCH_TOO_LONG", "options")
    await rejects(glob({ pattern: "[" }, { cwd }), "SEARCH_BAD_GLOB")
  },

  async "an aborted signal rejects before anything starts"() {
    const reason = new Error("mine")
    const error = await rejection(grep({ pattern: "x" }, { cwd, signal: AbortSignal.abort(reason) }))
    assert.deepEqual([error.name, error.code, error.cause], ["AbortError", "ABORT_ERR", reason])
  },

  async "an abort on the way rejects at once and stops the search"() {
    const { controller, signal, listeners } = countingSignal()
    const calls = Array.from({ length: 8 }, () => rejection(slowSearch({ signal })))
    assert.equal(listeners(), 8)
    controller.abort()
    for (const error of await Promise.all(calls)) assert.equal(error.name, "AbortError")
    assert.equal(listeners(), 0)
    // Were the eight still running, this one would come last of nine.
    assert.equal((await grep({ pattern: "three" }, { cwd })).matches.length, 1)
  },

  async "a signal that outlives its calls keeps no listener"() {
    const { signal, listeners } = countingSignal()
    await grep({ pattern: "x" }, { cwd, signal })
    await rejection(grep({ pattern: "(" }, { cwd, signal }))
    assert.equal(listeners(), 0)
  },

  async "a small search overtakes large ones"() {
    const order = []
    const large = Array.from({ length: 2 }, () => slowSearch().then(() => order.push("large")))
    await grep({ pattern: "three" }, { cwd }).then(() => order.push("small"))
    await Promise.all(large)
    assert.equal(order[0], "small")
  },

  async "a thousand calls at once are all answered"() {
    const answers = await Promise.all(Array.from({ length: 1000 }, () => grep({ pattern: "two" }, { cwd })))
    assert.ok(answers.every((answer) => answer.matches.length === 2))
  },

  async "closing rejects what is pending, and a later call opens anew"() {
    const pending = rejects(slowSearch(), "PORT_CLOSED", "call again")
    // The call reaches the port in the next microtask.
    await Promise.resolve()
    closePort()
    await pending
    closePort()
    assert.equal((await grep({ pattern: "three" }, { cwd })).matches.length, 1)
  },

  async "the port itself checks what it is given"() {
    const port = addon.connect(() => {})
    const start = (id) => addon.toolStart(port, id, "grep_search", '{"pattern":"x"}', JSON.stringify({ root: cwd }), false, false)
    for (const id of [-1, 0.5, NaN, Infinity, 2 ** 53]) {
      assert.throws(() => start(id), { code: "INVALID_ARGUMENT" })
      assert.throws(() => addon.toolCancel(port, id), { code: "INVALID_ARGUMENT" })
    }
    assert.throws(() => addon.toolStart({}, 1, "grep_search", "{}", JSON.stringify({ root: cwd }), false, false))
    assert.throws(() => addon.connect(1))
    addon.toolCancel(port, 7)
    addon.closePort(port)
    addon.closePort(port)
    assert.throws(() => start(1), { code: "PORT_CLOSED" })
    assert.throws(() => addon.closePort({}))
  },

  async "calls that end at the same moment are all answered"() {
    // Bun forgets one in forty thousand; a ring while others wait has it look again.
    const texts = { beforeText: "a\n", afterText: "b\n" }
    const end = performance.now() + 3_000
    let hang
    const hangs = new Promise((_, reject) => {
      hang = setTimeout(() => reject(new Error("a call was not answered")), 60_000)
    })
    while (performance.now() < end) {
      await Promise.race([Promise.all([diff(texts, { cwd }), diff(texts, { cwd }), diff(texts, { cwd })]), hangs])
    }
    clearTimeout(hang)
    const ended = []
    const port = addon.connect((id) => ended.push(id))
    addon.ring(port)
    while (ended.length === 0) await new Promise((resolve) => setTimeout(resolve, 1))
    assert.deepEqual(ended, [-1])
    addon.closePort(port)
    addon.ring(port)
  },

  async "a search that was brief is done on the calling thread, until there is more to do"() {
    // Otherwise a small call waits for two threads to be woken, or a long one holds up the event loop.
    const small = join(scratch, "small")
    mkdirSync(join(small, "src"), { recursive: true })
    for (let index = 0; index < 5; index++) writeFileSync(join(small, `src/${index}.txt`), "needle\n")
    const heard = new Map()
    const port = addon.connect((id, json) => heard.get(id)?.(JSON.parse(json)))
    const alive = setInterval(() => {}, 60_000)
    let id = 0
    const search = async (options) => {
      const own = ++id
      const answer = new Promise((resolve) => heard.set(own, resolve))
      const ended = addon.toolStart(port, own, "grep_search", JSON.stringify(options), JSON.stringify({ root: small }), false, true)
      const { ok } = ended === null ? await answer : JSON.parse(ended)
      return { hits: ok.matches.length, isHere: ended !== null }
    }
    /** Any call may meet a busy machine, and take longer than is brief; and what was just written above counts for nothing. */
    const untilHere = async (options) => {
      const end = performance.now() + 30_000
      while (performance.now() < end) {
        const found = await search(options)
        if (found.isHere) return found.hits
      }
      assert.fail("never done on this thread")
    }
    assert.equal(await untilHere({ pattern: "needle" }), 5)
    assert.deepEqual(await search({ pattern: "ne+dle" }), { hits: 5, isHere: false }, "an expression may take long")
    assert.equal(await untilHere({ pattern: "needle" }), 5)
    writeFileSync(join(small, "src/large.txt"), "x".repeat(100_000) + "\nneedle\n")
    assert.deepEqual(await search({ pattern: "needle" }), { hits: 6, isHere: false }, "a large file")
    rmSync(join(small, "src/large.txt"))
    assert.equal(await untilHere({ pattern: "needle" }), 5)
    writeFileSync(join(small, "src/.ignore"), "none\n".repeat(1_000) + "4.txt\n")
    assert.deepEqual(await search({ pattern: "needle" }), { hits: 4, isHere: false }, "rules that take long to compile")
    rmSync(join(small, "src/.ignore"))
    assert.equal(await untilHere({ pattern: "needle" }), 5)
    for (let index = 0; index < 600; index++) writeFileSync(join(small, `src/more${index}.txt`), index % 2 ? "needle\n" : "")
    assert.deepEqual(await search({ pattern: "needle" }), { hits: 305, isHere: false }, "a large folder")
    clearInterval(alive)
    addon.closePort(port)
  },

  async "an id in use is refused"() {
    let ended
    const end = new Promise((resolve) => (ended = resolve))
    // A port alone does not keep Node running.
    const alive = setInterval(() => {}, 60_000)
    const port = addon.connect((id, json) => ended([id, JSON.parse(json)]))
    const start = () => addon.toolStart(port, 3, "ast_search", '{"pattern":"$F($A)","language":"ts"}', JSON.stringify({ root: slow }), false, true)
    assert.equal(start(), null, "what is not known to be brief is left to a worker")
    assert.throws(start, { code: "INVALID_ARGUMENT" })
    addon.toolCancel(port, 3)
    const [id, completion] = await end
    assert.equal(id, 3)
    assert.equal(completion.error.code, "SEARCH_CANCELLED")
    clearInterval(alive)
    addon.closePort(port)
  },

  async "a script that only awaits a search lives until it is answered, and then ends"() {
    const script = join(scratch, "script.mjs")
    writeFileSync(
      script,
      `import { astSearch } from ${JSON.stringify(facadeUrl)}
       const answer = await astSearch({ pattern: "$F($A)", language: "ts" }, { cwd: ${JSON.stringify(slow)} })
       process.stdout.write(String(answer.filesSearched))`,
    )
    const run = spawnSync(process.execPath, [script], { encoding: "utf8", env: process.env, timeout: 60_000 })
    assert.deepEqual([run.status, run.stdout], [0, "40"], run.stderr)
  },

  async "a worker that is terminated with searches pending takes nothing along"() {
    const script = join(scratch, "worker.mjs")
    writeFileSync(
      script,
      `import { parentPort } from "node:worker_threads"
       import { astSearch, grep } from ${JSON.stringify(facadeUrl)}
       const call = () => grep({ pattern: "one" }, { cwd: ${JSON.stringify(cwd)} }).then(call, call)
       for (let index = 0; index < 100; index++) call()
       astSearch({ pattern: "$F($A)", language: "ts" }, { cwd: ${JSON.stringify(slow)} }).catch(() => {})
       parentPort.postMessage("running")`,
    )
    for (let round = 0; round < 10; round++) {
      const worker = new Worker(script)
      await new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject))
      await worker.terminate()
    }
    assert.equal((await grep({ pattern: "three" }, { cwd })).matches.length, 1)
  },
}

await run(checks)

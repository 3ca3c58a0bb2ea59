// What no tool may do, whatever it is given: leave the project, hang, hold up JavaScript, or take the host along. A plain
// script, because node:test does not run in OpenCode's Bun:
//   node __test__/hostile.test.mjs
//   BUN_BE_BUN=1 node_modules/opencode-linux-x64/bin/opencode __test__/hostile.test.mjs
// With HOSTILE_FILES=1000000 the crowded folder has so many entries; 20,000 otherwise.

import assert from "node:assert/strict"
import { execFileSync, spawn, spawnSync } from "node:child_process"
import { linkSync, mkdirSync, readFileSync, readdirSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import { performance } from "node:perf_hooks"
import { longestTurn } from "../benches/measure.mjs"
import { facade, run } from "./contract.mjs"

const { scratch, native } = await facade()
const { OrchestratorError, toolSchemas, toolText, grep, glob, astSearch } = native

/** Longer than any call may take. */
const HANG_MS = 40_000
const SECRET = "the-text-outside"

const project = join(scratch, "project")
const outside = join(scratch, "outside")
mkdirSync(join(project, "src"), { recursive: true })
mkdirSync(outside)
writeFileSync(join(outside, "secret.txt"), `${SECRET}\n`)
writeFileSync(join(outside, "secret.js"), `${SECRET.replaceAll("-", "_")}(1)\n`)
writeFileSync(join(project, "src/a.js"), "function first(a) { return a }\nfirst(1)\n")
writeFileSync(join(project, "src/data.json"), '{"a": [1, 2, 3]}\n')
symlinkSync(outside, join(project, "link-out"))
symlinkSync(join(outside, "secret.txt"), join(project, "secret.txt"))
symlinkSync("../../outside/secret.js", join(project, "src/secret.js"))
symlinkSync(".", join(project, "loop"))
symlinkSync("twin-b", join(project, "twin-a"))
symlinkSync("twin-a", join(project, "twin-b"))
symlinkSync("nowhere", join(project, "dangling"))
symlinkSync("/dev/zero", join(project, "endless"))
execFileSync("mkfifo", [join(project, "fifo")])
// Devices can be made by root only; a link to one stands in elsewhere.
const hasDevice = spawnSync("mknod", [join(project, "device"), "c", "1", "5"]).status === 0
const socket = createServer().listen(join(project, "socket"))
socket.unref()
const git = (...args) => execFileSync("git", ["-c", "user.name=t", "-c", "user.email=t@localhost", ...args], { cwd: project, stdio: "ignore" })
git("init", "--quiet")
git("add", "src/a.js", "src/data.json")
git("commit", "--quiet", "--message", "Start")

/** Calls with all that is required, which give an answer in this project; whatever tool there is has to be among them. */
const CALLS = {
  grep_search: { pattern: "." },
  mgrep: { patterns: [".", "first"] },
  glob_search: { pattern: "**" },
  file_stats: {},
  ast_search: { pattern: "$F($$$)", language: "js" },
  ast_replace: { pattern: "first($A)", rewrite: "second($A)", language: "js" },
  replace: { pattern: "first", replacement: "second" },
  diff: { before: "src/a.js", after: "src/data.json" },
  jq: { filter: ".a", path: "src/data.json" },
  git_status: {},
  git_diff: {},
  git_log: {},
  symbols: {},
}
const names = Object.keys(toolSchemas())

/** The options of a tool that name a path. */
function pathOptions(name) {
  const { properties } = toolSchemas()[name].options
  return Object.keys(properties).filter((option) => ["path", "before", "after", "paths"].includes(option) && !isCursor(properties[option]))
}

function isCursor(schema) {
  return JSON.stringify(schema).includes("column")
}

/** What a call comes to: its text, or an error of ours; anything else, and a hang, is a failure. */
async function outcome(name, options, context = {}) {
  let timer
  const hang = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${name} hangs with ${JSON.stringify(options).slice(0, 200)}`)), HANG_MS)
  })
  try {
    return { text: await Promise.race([toolText(name, options, { cwd: project, ...context }), hang]) }
  } catch (error) {
    assert.ok(error instanceof OrchestratorError, `${name} ${shown(options)}: ${error?.stack ?? error}`)
    assert.match(error.code, /^(SEARCH|WORKER)_[A-Z_]+$/, error.message)
    assert.ok(error.message.length < 4_000, `${name}: an error of ${error.message.length} characters`)
    return { code: error.code, text: error.message }
  } finally {
    clearTimeout(timer)
  }
}

/** The beginning of what a tool was given. */
function shown(options) {
  try {
    return JSON.stringify(options)?.slice(0, 200)
  } catch (error) {
    return `${error}`
  }
}

async function code(name, options, context) {
  return (await outcome(name, options, context)).code
}

const nested = (depth, open, close) => open.repeat(depth) + close.repeat(depth)

const checks = {
  "every tool is tried"() {
    assert.deepEqual(names.filter((name) => !(name in CALLS)), [])
  },

  async "links, loops, FIFOs, devices and sockets are passed over"() {
    for (const name of names) {
      const { text } = await outcome(name, CALLS[name])
      assert.ok(!text.includes(SECRET) && !text.includes(SECRET.replaceAll("-", "_")), `${name}: ${text}`)
    }
    const { skipped, matches } = await grep({ pattern: ".", noIgnore: true, hidden: true }, { cwd: project })
    assert.ok(matches.every(({ path }) => path.startsWith("src/")), JSON.stringify(matches))
    // link-out, secret.txt, src/secret.js, loop, two twins, dangling, endless, the FIFO and the socket.
    assert.equal(skipped.special, hasDevice ? 11 : 10)
  },

  async "no path option leads out, or to what is no file"() {
    const out = ["..", "../outside", "src/../../outside", "link-out", "link-out/secret.txt", "secret.txt", "src/secret.js", "loop/../..", outside, "/etc/passwd", "/dev/zero", "/proc/self/environ", "\\\\host\\share"]
    const none = ["fifo", "socket", "endless", "twin-a", "dangling", "a\0b", "\ud800", "x".repeat(10_000), "~", "file:///etc/passwd", ...(hasDevice ? ["device"] : [])]
    for (const name of names) {
      for (const option of pathOptions(name)) {
        for (const path of [...out, ...none]) {
          const value = option === "paths" ? [path] : path
          const { code: refused, text } = await outcome(name, { ...CALLS[name], [option]: value })
          assert.ok(!text.includes(SECRET) && !text.includes("root:x:0:0"), `${name} ${option}=${path}: ${text}`)
          // Git takes paths as patterns for what it knows, which has nothing outside.
          if (option === "paths") continue
          assert.ok(refused, `${name} ${option}=${JSON.stringify(path).slice(0, 100)} was answered: ${text}`)
        }
      }
    }
  },

  async "a link inside the project may be named"() {
    symlinkSync("src/a.js", join(project, "inner"))
    assert.ok((await outcome("grep_search", { pattern: "first", path: "inner" })).text.includes("first(1)"))
    rmSync(join(project, "inner"))
  },

  async "globs cannot lead out"() {
    for (const pattern of ["../**", "/etc/**", "link-out/**", "loop/**", "**/../**", "{..,src}/**"]) {
      const { text } = await outcome("glob_search", { pattern })
      assert.ok(!text.includes("secret") && !text.includes("passwd"), `${pattern}: ${text}`)
    }
  },

  async "a folder that is swapped for a link all the time leads nowhere"() {
    const swapped = join(scratch, "swapped")
    mkdirSync(join(swapped, "folder/deep"), { recursive: true })
    writeFileSync(join(swapped, "folder/deep/file.txt"), "inside\n")
    mkdirSync(join(outside, "deep"))
    writeFileSync(join(outside, "deep/file.txt"), `${SECRET}\n`)
    const script = `
      const { renameSync, symlinkSync, unlinkSync } = require("node:fs")
      process.chdir(${JSON.stringify(swapped)})
      process.send("swapping")
      const end = Date.now() + 60000
      while (Date.now() < end && process.connected) {
        renameSync("folder", "aside")
        symlinkSync(${JSON.stringify(outside)}, "folder")
        for (let wait = 0; wait < 20000; wait++);
        unlinkSync("folder")
        renameSync("aside", "folder")
        for (let wait = 0; wait < 20000; wait++);
      }`
    const swapper = spawn("node", ["-e", script], { stdio: ["ignore", "ignore", "inherit", "ipc"] })
    try {
      await new Promise((resolve, reject) => swapper.once("message", resolve).once("error", reject))
      let inside = 0
      const end = Date.now() + 3_000
      while (Date.now() < end) {
        const calls = [{ pattern: "." }, { pattern: ".", path: "folder/deep" }, { pattern: ".", path: "folder/deep/file.txt" }]
        for (const { text } of await Promise.all(calls.map((options) => outcome("grep_search", options, { cwd: swapped })))) {
          assert.ok(!text.includes(SECRET), text)
          if (text.includes("inside")) inside++
        }
      }
      assert.ok(inside > 0, "the swapper left no moment in which the file was there")
    } finally {
      swapper.kill("SIGKILL")
    }
  },

  async "an edit does not reach the other names of a file, nor through links"() {
    if (!names.includes("replace")) return
    const linked = join(scratch, "linked")
    mkdirSync(linked)
    writeFileSync(join(outside, "shared.txt"), "word\n")
    linkSync(join(outside, "shared.txt"), join(linked, "hard.txt"))
    symlinkSync(join(outside, "shared.txt"), join(linked, "soft.txt"))
    await outcome("replace", { pattern: "word", replacement: "other", apply: true }, { cwd: linked })
    assert.equal(readFileSync(join(outside, "shared.txt"), "utf8"), "word\n")
    for (const path of ["soft.txt", "../outside/shared.txt", join(outside, "shared.txt"), ".git/config", ".opencode/orchestrator/journal.db"]) {
      const refused = await code("replace", { pattern: "word", replacement: "other", path, apply: true }, { cwd: linked })
      assert.ok(refused, path)
    }
    assert.equal(readFileSync(join(outside, "shared.txt"), "utf8"), "word\n")
  },

  async "arguments of every wrong shape are refused"() {
    const deep = JSON.parse(`${nested(5_000, "[", "]")}`)
    const wrong = [null, 0, -1, 1.5, 1e300, 2 ** 53, "", "x", true, [], {}, [[]], deep, { toString: 1 }, ["\ud800"], "\udfff", "a\0b", "x".repeat(1_100_000)]
    for (const name of names) {
      for (const value of wrong) await outcome(name, value)
      const options = Object.keys(toolSchemas()[name].options.properties)
      // No tool is run here for what it does, and those that edit show only what they would do.
      for (const option of options.filter((option) => option !== "apply")) {
        for (const value of wrong) await outcome(name, { ...CALLS[name], [option]: value })
      }
      assert.equal(await code(name, { ...CALLS[name], unheardOf: 1 }), "SEARCH_BAD_OPTIONS", name)
      assert.ok(await code(name, { ...CALLS[name], deep }), name)
    }
    assert.ok(await code("\ud800", {}))
    assert.ok(await code("grep_search", JSON.parse(nested(200, '{"a":', "}").replace(":}", ":1}"))))
  },

  async "expressions that explode are refused or take linear time"() {
    const attacks = ["(a+)+$", "(a|a)*b", "(.*)*x", "(?:a?){500}a{500}", "(\\w+\\s?)*$", "^(([a-z])+.)+[A-Z]([a-z])+$"]
    writeFileSync(join(project, "src/aaa.txt"), `${"a".repeat(100_000)}!\n`)
    for (const pattern of attacks) {
      const started = performance.now()
      await outcome("grep_search", { pattern })
      assert.ok(performance.now() - started < 10_000, `${pattern} took ${performance.now() - started} ms`)
    }
    for (const pattern of ["(a{1000}){1000}", "((a{100}){100}){100}", "\\w{1000}{1000}", "(?:\\pL{200}){500}"]) {
      assert.equal(await code("grep_search", { pattern }), "SEARCH_BAD_PATTERN", pattern)
    }
    for (const pattern of [nested(20_000, "(", ")"), "[".repeat(30_000), "(?i)".repeat(10_000), "\\", "(?", "*", "a**", "[z-a]", "(?<n>", "\\p{Nope}"]) {
      await outcome("grep_search", { pattern })
      await outcome("mgrep", { patterns: [pattern, "first"] })
    }
    for (const pattern of ["*".repeat(4_000), `${"**/".repeat(1_300)}x`, nested(1_300, "{a,", "}"), "{".repeat(4_000), "[!".repeat(2_000), `${"{a,b}".repeat(800)}`]) {
      await outcome("glob_search", { pattern })
      await outcome("grep_search", { pattern: "first", globs: [pattern] })
    }
    rmSync(join(project, "src/aaa.txt"))
  },

  async "texts of every encoding are searched, binary ones are not"() {
    const folder = join(scratch, "encodings")
    mkdirSync(folder)
    const utf16 = (text, big) => {
      const bytes = Buffer.from(`\ufeff${text}`, "utf16le")
      return big ? bytes.swap16() : bytes
    }
    writeFileSync(join(folder, "bom.txt"), "\ufeffneedle\r\n")
    writeFileSync(join(folder, "crlf.txt"), "a\r\nneedle\r\nb")
    writeFileSync(join(folder, "invalid.txt"), Buffer.from([0xff, 0xfe - 1, 0x20, ...Buffer.from("needle"), 0x80, 10]))
    writeFileSync(join(folder, "little.txt"), utf16("x\nneedle ü\n", false))
    writeFileSync(join(folder, "big.txt"), utf16("x\nneedle ü\n", true))
    writeFileSync(join(folder, "binary.bin"), Buffer.from("needle\0\n"))
    writeFileSync(join(folder, "empty.txt"), "")
    writeFileSync(Buffer.concat([Buffer.from(`${folder}/`), Buffer.from([0x6e, 0xff, 0x6d])]), "needle\n")
    const { matches, skipped } = await grep({ pattern: "needle" }, { cwd: folder })
    const found = matches.map(({ path, line, column, text }) => [path, line, column, text])
    assert.deepEqual(found, [
      ["big.txt", 2, 1, "needle ü"],
      ["bom.txt", 1, 1, "needle"],
      ["crlf.txt", 2, 1, "needle"],
      ["invalid.txt", 1, 4, "\ufffd\ufffd needle\ufffd"],
      ["little.txt", 2, 1, "needle ü"],
      ["n\ufffdm", 1, 1, "needle"],
    ])
    assert.equal(skipped.binary, 1)
    for (const name of names.filter((name) => "path" in toolSchemas()[name].options.properties)) {
      await outcome(name, CALLS[name], { cwd: folder })
    }
  },

  async "huge lines, deep trees and crowded folders are bounded"() {
    const folder = join(scratch, "huge")
    mkdirSync(folder)
    writeFileSync(join(folder, "line.js"), `${"x".repeat(4_000_000)}needle${"y".repeat(4_000_000)}`)
    const { matches, limits } = await grep({ pattern: "needle" }, { cwd: folder })
    assert.ok(matches[0].text.includes("needle") && matches[0].text.length <= 2_002)
    assert.deepEqual(limits, ["lineChars"])
    for (const name of names) await outcome(name, CALLS[name], { cwd: folder })

    const deep = join(scratch, "deep")
    mkdirSync(deep)
    // In steps, as one path may not be that long.
    execFileSync("sh", ["-c", 'i=0; while [ $i -lt 300 ]; do echo needle > f.txt; mkdir d || exit; cd -P d || exit; i=$((i+1)); done'], { cwd: deep })
    const below = await grep({ pattern: "needle" }, { cwd: deep })
    assert.deepEqual([below.matches.length, below.limits], [257, ["treeDepth"]])
    for (const name of names) await outcome(name, CALLS[name], { cwd: deep })
    execFileSync("rm", ["-rf", deep])

    const count = Number(process.env.HOSTILE_FILES ?? 20_000)
    const crowded = join(scratch, "crowded")
    mkdirSync(crowded)
    for (let index = 0; index < count; index++) writeFileSync(join(crowded, `${index}.txt`), "")
    writeFileSync(join(crowded, "needle.txt"), "needle\n")
    const started = performance.now()
    const all = await grep({ pattern: "needle" }, { cwd: crowded })
    console.log(`# a folder of ${count} files was searched in ${Math.round(performance.now() - started)} ms`)
    assert.deepEqual([all.matches.length, all.filesSearched, all.truncated], [1, count + 1, false])
    const some = await glob({ pattern: "*" }, { cwd: crowded })
    assert.deepEqual([some.paths.length, some.limits], [1_000, ["maxResults"]])
    rmSync(crowded, { recursive: true })
  },

  async "nesting ends no stack"() {
    const folder = join(scratch, "nested")
    mkdirSync(folder)
    const depth = 100_000
    writeFileSync(join(folder, "a.js"), nested(depth, "(", ")"))
    writeFileSync(join(folder, "b.js"), `${"f(".repeat(depth)}1${")".repeat(depth)}`)
    writeFileSync(join(folder, "c.json"), nested(depth, "[", "]"))
    writeFileSync(join(folder, "d.rs"), `fn f() ${nested(depth, "{", "}")}`)
    writeFileSync(join(folder, "e.py"), `${"-".repeat(depth)}1`)
    for (const language of ["js", "json", "rust", "python"]) {
      await outcome("ast_search", { pattern: "1", language }, { cwd: folder })
      await outcome("ast_search", { pattern: nested(20_000, "(", ")"), language }, { cwd: folder })
    }
    assert.equal((await astSearch({ pattern: "f($A)", language: "js" }, { cwd: folder })).skipped.tooDeep, 2)
    for (const name of names) {
      await outcome(name, { ...CALLS[name] }, { cwd: folder })
      if (pathOptions(name).includes("path")) {
        for (const path of readdirSync(folder)) await outcome(name, { ...CALLS[name], path }, { cwd: folder })
      }
    }
    if (names.includes("jq")) {
      for (const filter of [nested(10_000, "[", "]"), "[.,.]|".repeat(60) + ".", "def f: f; f", "[range(1e9)]", "[limit(1e9; repeat(1))]", '"x" * 1e9', "reduce range(1e9) as $i (\"\"; . + \"xxxxxxxxxxxxxxxx\")", "input", "$ENV", "env", "@base32d", "[.[]?|..]|tojson|fromjson", "halt", "error(1)", 'import "a" as a; 1', "include \"a\"; 1", "now|strftime(\"%\" * 9999)", "\"a\"|test(\"(a+)+$\")"]) {
        const { text } = await outcome("jq", { filter, text: "[[1]]" }, { cwd: folder })
        assert.ok(!text.includes(realpathSync("/")) || !text.includes(process.env.HOME ?? "\0"), `${filter}: ${text}`)
      }
      assert.ok(await code("jq", { filter: ".", text: nested(200, "[", "]") }))
    }
  },

  async "cancelling ends the largest call at once"() {
    const folder = join(scratch, "nested")
    for (const name of names) {
      const controller = new AbortController()
      const call = toolText(name, CALLS[name], { cwd: folder, signal: controller.signal })
      controller.abort()
      await assert.rejects(call, { name: "AbortError" })
    }
  },

  async "no call holds up JavaScript"() {
    const folder = join(scratch, "nested")
    writeFileSync(join(folder, "many.txt"), "needle needle needle\n".repeat(100_000))
    let worst = ["", 0]
    for (const name of names) {
      const options = name === "grep_search" ? { pattern: "needle" } : CALLS[name]
      // A collection of garbage may fall into a call, so the best of some rounds is what the call costs.
      let best = Infinity
      for (let round = 0; round < 3; round++) best = Math.min(best, await longestTurn(() => outcome(name, options, { cwd: folder })))
      if (best > worst[1]) worst = [name, best]
    }
    console.log(`# the longest that a call held up JavaScript: ${worst[1].toFixed(1)} ms, by ${worst[0]}`)
    // 5 ms are promised; a machine that is busy with other tests is slower.
    assert.ok(worst[1] < 25, `${worst[0]} held up JavaScript for ${worst[1]} ms`)
  },
}

await run(checks)
socket.close()

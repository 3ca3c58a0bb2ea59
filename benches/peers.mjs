/**
 * What we are compared with: each peer called as a program written with it would, answering how many hits it has.
 *
 * A spawned peer's output is collected and its hits counted, not parsed, which is to its advantage: ours arrive as
 * objects.
 */
import { spawn } from "node:child_process"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"

const require = createRequire(import.meta.url)
const platform = `${process.platform}-${process.arch}`

/** The program that a package for this platform ships. @param {string} name @param {string} file */
function program(name, file) {
  return join(dirname(require.resolve(`${name}/package.json`)), file)
}

export const RIPGREP = program(`@vscode/ripgrep-${platform}`, "bin/rg")
export const AST_GREP = program(`@ast-grep/cli-${platform}-gnu`, "ast-grep")

/**
 * Runs a program to its end.
 *
 * @param {string} file
 * @param {string[]} args
 * @param {{ cwd?: string, input?: string, codes?: number[] }} [options] the exit codes that are no failure; 0
 * @returns {Promise<Buffer>} what it printed
 */
export function run(file, args, { cwd, codes = [0] } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { cwd, stdio: ["ignore", "pipe", "pipe"] })
    /** @type {Buffer[]} */
    const output = []
    /** @type {Buffer[]} */
    const errors = []
    child.stdout.on("data", (chunk) => output.push(chunk))
    child.stderr.on("data", (chunk) => errors.push(chunk))
    child.on("error", reject)
    child.on("close", (code) => {
      if (code !== null && codes.includes(code)) resolve(Buffer.concat(output))
      else reject(new Error(`${file} ${args.join(" ")}: exit code ${code}: ${Buffer.concat(errors)}`))
    })
  })
}

/** @param {Buffer} output @returns {number} */
export function countLines(output) {
  let count = 0
  for (let at = output.indexOf(10); at !== -1; at = output.indexOf(10, at + 1)) count++
  return count
}

/** Exit code 1 of ripgrep says that nothing matched. */
const RIPGREP_CODES = [0, 1]
const PLAIN = ["--no-config", "--color=never", "--no-heading", "--with-filename", "--line-number"]

/** Greps as a host does: one process, output read to its end. @param {string[]} args @param {string} cwd */
export function ripgrep(args, cwd) {
  return run(RIPGREP, [...PLAIN, ...args], { cwd, codes: RIPGREP_CODES })
}

/** Greps until there are `lines` lines, then ends the process. @param {string} pattern @param {number} lines @param {string} cwd */
export function ripgrepFirst(pattern, lines, cwd) {
  return new Promise((resolve, reject) => {
    const child = spawn(RIPGREP, [...PLAIN, "--line-buffered", pattern, "."], { cwd, stdio: ["ignore", "pipe", "ignore"] })
    let count = 0
    child.stdout.on("data", (chunk) => {
      count += countLines(chunk)
      if (count >= lines) child.kill()
    })
    child.on("error", reject)
    child.on("close", () => resolve(Math.min(count, lines)))
  })
}

/** Runs `ast-grep` and counts its matches. @param {string} pattern @param {string} language @param {string} path @param {string} cwd */
export async function astGrep(pattern, language, path, cwd) {
  return countLines(await run(AST_GREP, ["run", "--pattern", pattern, "--lang", language, "--json=stream", path], { cwd, codes: [0, 1] }))
}

/** Searches with ast-grep in this process. @param {string} pattern @param {string} folder @returns {Promise<number>} */
export async function astGrepNapi(pattern, folder) {
  const { js } = await import("@ast-grep/napi")
  let count = 0
  let files = 0
  // The promise may come before the last callback; the number of files that it gives tells when all are in.
  return new Promise((resolve, reject) => {
    let wanted = Infinity
    const end = () => files >= wanted && resolve(count)
    js.findInFiles({ paths: [folder], matcher: { rule: { pattern } } }, (error, nodes) => {
      if (error) reject(error)
      files++
      count += nodes?.length ?? 0
      end()
    }).then((found) => {
      wanted = found
      end()
    }, reject)
  })
}

/** An index of fff over a folder, ready to be searched. @param {string} folder */
export async function fffIndex(folder) {
  const { FileFinder } = await import("@ff-labs/fff-node")
  const created = FileFinder.create({ basePath: folder, aiMode: true })
  if (!created.ok) throw new Error(created.error)
  const finder = created.value
  const ready = await finder.waitForIndexReady(120_000)
  if (!ready.ok || !ready.value) throw new Error("fff did not become ready")
  return {
    /** @param {string} pattern @returns {number} lines that match */
    grep(pattern) {
      let count = 0
      let cursor = null
      do {
        const page = finder.grep(pattern, { mode: "regex", smartCase: false, pageSize: 10_000, maxMatchesPerFile: 10_000, cursor })
        if (!page.ok) throw new Error(page.error)
        count += page.value.items.length
        cursor = page.value.nextCursor
      } while (cursor)
      return count
    },
    close: () => finder.destroy(),
  }
}

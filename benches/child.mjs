/**
 * What has to be measured in a fresh process. Prints a number:
 *
 *   node child.mjs load-and-grep PATTERN FOLDER   milliseconds from before the addon is loaded to the answer
 *   node child.mjs spawn-ripgrep PATTERN FOLDER   milliseconds from before ripgrep is started to its end
 *   node child.mjs peak-bare                      peak memory of a process that does nothing, in KiB
 *   node child.mjs peak-grep PATTERN FOLDER       peak memory of a process that searches a tree, in KiB
 */
import { spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { performance } from "node:perf_hooks"

const [task, pattern = "", folder = ""] = process.argv.slice(2)
// Not from peers.mjs, so that nothing is loaded that the measured side does not need.
const ripgrep = process.env.RIPGREP

/** @returns {Promise<number>} */
async function measure() {
  const started = performance.now()
  switch (task) {
    case "load-and-grep": {
      const { grep } = await import("../index.js")
      const { matches } = await grep({ pattern }, { cwd: folder })
      if (matches.length === 0) throw new Error("nothing found")
      return performance.now() - started
    }
    case "spawn-ripgrep": {
      const child = spawn(ripgrep ?? "rg", ["--no-config", "--color=never", "-nH", pattern, "."], { cwd: folder })
      let size = 0
      child.stdout.on("data", (chunk) => (size += chunk.length))
      await new Promise((resolve, reject) => child.on("close", resolve).on("error", reject))
      if (size === 0) throw new Error("nothing found")
      return performance.now() - started
    }
    case "peak-bare":
      return peakKib()
    case "peak-grep": {
      const { grep } = await import("../index.js")
      await grep({ pattern }, { cwd: folder })
      return peakKib()
    }
    default:
      throw new Error(`no such task: ${task}`)
  }
}

function peakKib() {
  const line = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))
  return Number(line?.[1])
}

console.log(await measure())
process.exit()

/**
 * Outlives the process that started it by a moment, to leave nothing behind: a host runs in a process group of its own,
 * so neither Ctrl-C nor the death of a test run would reach it.
 *
 *   node guard.mjs <max seconds> [folder]
 *
 * Reads lines from standard input: "group <pid>" names the process group to end, "group 0" none. When the input ends
 * (its owner closed it, or died) or the time is over, it kills that group, removes the folder, and exits.
 */
import { rmSync } from "node:fs"
import { createInterface } from "node:readline"

const [maxSeconds, folder] = process.argv.slice(2)
let group = 0

function finish() {
  try {
    if (group > 0) process.kill(-group, "SIGKILL")
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== "ESRCH") throw error // ESRCH: it has ended by itself
  }
  // A process that has just been killed may still hold a file open; retries cover it.
  if (folder) rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  process.exit(0)
}

setTimeout(finish, Number(maxSeconds) * 1000)
createInterface(process.stdin)
  .on("line", (line) => (group = Number(line.slice("group ".length))))
  .on("close", finish)

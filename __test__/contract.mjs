/**
 * What the tests of the native API share. They are plain scripts, because node:test does not run in OpenCode's Bun:
 *   node __test__/search.test.mjs
 *   BUN_BE_BUN=1 node_modules/opencode-linux-x64/bin/opencode __test__/search.test.mjs
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

/** The addon, and the package's entry over it. */
export async function facade() {
  const scratch = mkdtempSync(join(tmpdir(), "orchestrator-contract-"))
  process.on("exit", () => rmSync(scratch, { recursive: true, force: true }))
  const url = new URL("../index.js", import.meta.url).href
  const { addon } = await import("../target/addon.js")
  return { addon, native: await import(url), url, scratch }
}

/**
 * Runs the checks one after another and says how many hold.
 *
 * @param {Record<string, () => Promise<void> | void>} checks
 */
export async function run(checks) {
  let failures = 0
  for (const [name, check] of Object.entries(checks)) {
    try {
      await check()
      console.log(`ok - ${name}`)
    } catch (error) {
      failures++
      console.log(`not ok - ${name}\n${error?.stack ?? error}`)
    }
  }
  const count = Object.keys(checks).length
  const runtime = "bun" in process.versions ? `Bun ${process.versions.bun}` : `Node ${process.versions.node}`
  console.log(`on ${runtime}:\n${count - failures} passed, ${failures} failed`)
  process.exitCode = failures === 0 ? 0 : 1
}

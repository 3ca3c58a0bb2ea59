import assert from "node:assert/strict"
import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { test } from "node:test"
import { fileURLToPath } from "node:url"

const cli = fileURLToPath(new URL("../src/cli.js", import.meta.url))

test("it says where it listens, and ends when it is told to", async () => {
  const child = spawn(process.execPath, [cli, "--port", "0"], { stdio: ["ignore", "pipe", "inherit"] })
  try {
    const [line] = await once(child.stdout, "data")
    const response = await fetch(`${String(line).trim()}/health`, { headers: { connection: "close" } })
    assert.deepEqual(await response.json(), { ok: true })
    child.kill("SIGTERM")
    const [code] = await once(child, "exit")
    assert.equal(code, 0)
  } finally {
    child.kill("SIGKILL")
  }
})

test("a port that is none is refused", () => {
  const { status, stderr } = spawnSync(process.execPath, [cli, "--port", "many"], { encoding: "utf8" })
  assert.equal(status, 2)
  assert.match(stderr, /expected 0 to 65535, found many/)
})

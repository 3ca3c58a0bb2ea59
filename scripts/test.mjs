/**
 * Everything that has to pass, on a fresh clone with Node and Rust: installs, builds, lints, and runs the tests of the
 * crates, of the native API under Node and under OpenCode's own Bun, and of missions on the real OpenCode.
 */
import { execFileSync } from "node:child_process"
import { readdirSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { install } from "./install.mjs"

process.chdir(fileURLToPath(new URL("..", import.meta.url)))
const started = Date.now()
const step = (what) => console.log(`\n== ${what} (${Math.round((Date.now() - started) / 1000)} s)`)
const run = (program, args, env = {}) =>
  execFileSync(program, args, { stdio: "inherit", env: { ...process.env, ...env } })

step("install")
install()

step("build")
const { buildPackage, hostTarget } = await import("./build.mjs")
await buildPackage({ check: true })

step("lint")
run(process.execPath, ["scripts/lint.mjs"])

step("crates")
run("cargo", ["test", "--workspace", "--locked", "--quiet"], { CARGO_BUILD_TARGET: hostTarget() })

step("the pool's protocols under loom")
// Of its own, since the flag would have all else compiled anew.
run("cargo", ["test", "-p", "orchestrator-worker", "--lib", "--locked", "--quiet", "--target-dir", "target/loom"], { RUSTFLAGS: "--cfg loom" })

step("native API under OpenCode's Bun")
const { opencodeBinary } = await import("../demo/host.mjs")
for (const file of ["__test__/search.test.mjs", "__test__/hostile.test.mjs", "__test__/engine.test.mjs"]) {
  run(opencodeBinary(), [file], { BUN_BE_BUN: "1" })
}

step("native API, scripted model and missions on the real OpenCode")
const files = readdirSync("__test__").filter((file) => file.endsWith(".test.mjs"))
run(process.execPath, ["--test", "--test-concurrency=2", ...files.map((file) => `__test__/${file}`)])

step("all passed")

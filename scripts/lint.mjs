/** Runs every linter, all of them as errors: rustfmt, clippy, tsc, oxlint. Needs a build, for the addon's types. */
import { execFileSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { hostTarget } from "./build.mjs"

process.chdir(fileURLToPath(new URL("..", import.meta.url)))
const env = { ...process.env, CARGO_BUILD_TARGET: hostTarget() }
const run = (program, ...args) => {
  console.log(`lint: ${program} ${args.join(" ")}`)
  execFileSync(program, args, { stdio: "inherit", env })
}

run("cargo", "fmt", "--all", "--check")
run("cargo", "clippy", "--workspace", "--lib", "--tests", "--examples", "--locked", "--quiet", "--", "-D", "warnings")
run(process.execPath, "node_modules/typescript/bin/tsc", "-p", "tsconfig.json")
run(process.execPath, "node_modules/oxlint/bin/oxlint", "--deny-warnings", "plugin", "scripts", "demo", "__test__")

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
run("cargo", "clippy", "--workspace", "--lib", "--tests", "--examples", "--benches", "--locked", "--quiet", "--", "-D", "warnings")
const tsc = "node_modules/typescript/bin/tsc"
run(process.execPath, tsc, "-p", "tsconfig.json")
// The declarations that are published, as a stranger's compiler sees them.
const strict = ["--strict", "--exactOptionalPropertyTypes", "--skipLibCheck", "false", "--noEmit", "--ignoreConfig"]
const modern = ["--target", "es2023", "--lib", "es2023,esnext.disposable,dom", "--module", "nodenext", "--types", ""]
run(process.execPath, tsc, ...strict, ...modern, "__test__/types.mts")
run(process.execPath, "node_modules/oxlint/bin/oxlint", "--deny-warnings", "plugin", "scripts", "demo", "__test__", "benches")

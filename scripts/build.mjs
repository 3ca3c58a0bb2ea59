/**
 * Builds the package: the addon, the types made from it, and the bundles.
 *
 *   node scripts/build.mjs [--release] [--check]
 *
 * `--release` optimises; without it the tests' profile is used. `--check` fails when a generated file that is committed
 * is out of date, instead of writing it.
 */
import { execFileSync } from "node:child_process"
import { chmodSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { build } from "esbuild"

const root = fileURLToPath(new URL("..", import.meta.url))
process.chdir(root)
const release = process.argv.includes("--release")
const check = process.argv.includes("--check")

const napi = ["build", "--platform", "--js", "binding.js", "--dts", "binding.d.ts", "--esm"]
execFileSync(process.execPath, ["node_modules/@napi-rs/cli/dist/cli.js", ...napi, ...(release ? ["--release"] : []), "--", "--locked"], {
  stdio: ["ignore", "inherit", "inherit"],
})

const { generate } = await import("./types.mjs")
await generate({ check })

const bundle = { bundle: true, format: "esm", platform: "node", target: "node20", external: ["#binding"], logLevel: "warning" }
await build({ ...bundle, entryPoints: ["plugin/native.ts"], outfile: "index.js" })
await build({ ...bundle, entryPoints: ["plugin/server.ts"], outfile: "dist/server.js", loader: { ".md": "text" } })
await build({ ...bundle, entryPoints: ["plugin/cli.ts"], outfile: "dist/cli.js", banner: { js: "#!/usr/bin/env node" } })
chmodSync("dist/cli.js", 0o755)

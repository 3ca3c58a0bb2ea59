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
import { fileURLToPath, pathToFileURL } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))

/** The triple that cargo builds for. Naming it makes tests and addon share one set of compiled crates. */
export function hostTarget() {
  const host = /^host: (.+)$/m.exec(execFileSync("rustc", ["-vV"], { encoding: "utf8" }))?.[1]
  if (!host) throw new Error("rustc does not say what it builds for; is Rust installed? See https://rustup.rs")
  return host
}

export async function buildPackage({ release = false, check = false } = {}) {
  process.chdir(root)
  const napi = ["build", "--platform", "--js", "binding.js", "--dts", "binding.d.ts", "--esm"]
  if (release) napi.push("--release")
  execFileSync(process.execPath, ["node_modules/@napi-rs/cli/dist/cli.js", ...napi, "--", "--locked"], {
    stdio: ["ignore", "inherit", "inherit"],
  })

  const { generate } = await import("./types.mjs")
  await generate({ check })

  const { build } = await import("esbuild")
  const bundle = { bundle: true, format: "esm", platform: "node", target: "node20", external: ["#binding"] }
  const entries = [
    { entryPoints: ["plugin/native.ts"], outfile: "index.js" },
    { entryPoints: ["plugin/server.ts"], outfile: "dist/server.js", loader: { ".md": "text" } },
    { entryPoints: ["plugin/cli.ts"], outfile: "dist/cli.js", banner: { js: "#!/usr/bin/env node" } },
  ]
  for (const entry of entries) await build({ ...bundle, ...entry, logLevel: "warning" })
  chmodSync("dist/cli.js", 0o755)
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  await buildPackage({ release: process.argv.includes("--release"), check: process.argv.includes("--check") })
}

/**
 * Builds the package: the addon, the types made from it, and the bundles.
 *
 *   node scripts/build.mjs [--release | --dist] [--check]
 *
 * `--release` optimises, `--dist` as far as it goes, for what is published; without either the tests' profile is used.
 * `--check` fails when a generated file that is committed is out of date, instead of writing it.
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

/** @param {{ profile?: "dev" | "release" | "dist", check?: boolean }} [options] `profile`: one of Cargo.toml */
export async function buildPackage({ profile = "dev", check = false } = {}) {
  process.chdir(root)
  const napi = ["build", "--platform", "--no-js", "--dts", "binding.d.ts"]
  // Cargo's folder of the profile "dev" is called otherwise, which napi's tool knows only when none is named.
  if (profile !== "dev") napi.push("--profile", profile)
  execFileSync(process.execPath, ["node_modules/@napi-rs/cli/dist/cli.js", ...napi, "--", "--locked"], {
    stdio: ["ignore", "inherit", "inherit"],
  })

  const esbuild = await import("esbuild")
  const bundle = (entry, outfile, options = {}) => {
    const folder = outfile.includes("/") ? "../" : "./"
    const define = { PACKAGE_FOLDER: JSON.stringify(folder) }
    const common = { bundle: true, format: "esm", platform: "node", target: "node20", logLevel: "warning" }
    return esbuild.build({ ...common, ...options, entryPoints: [`plugin/${entry}.ts`], outfile, define })
  }
  // For the generator and the tests, which ask the addon for more than the package gives.
  await bundle("addon", "target/addon.js")
  const { generate } = await import("./types.mjs")
  await generate({ check })
  await bundle("native", "index.js")
  await bundle("server", "dist/server.js", { loader: { ".md": "text" } })
  await bundle("cli", "dist/cli.js", { banner: { js: "#!/usr/bin/env node" } })
  chmodSync("dist/cli.js", 0o755)
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const has = (flag) => process.argv.includes(flag)
  await buildPackage({ profile: has("--dist") ? "dist" : has("--release") ? "release" : "dev", check: has("--check") })
}

/**
 * Finds the native addon and opens it.
 *
 * It lies in the package's own folder where it was built, and in the package of its platform where it was installed. The
 * system's loader opens it, without `require`, which would take longer than the addon does.
 */

import type * as Addon from "../binding.d.ts"

/** The package's folder as seen from the bundle, which the build fills in. */
declare const PACKAGE_FOLDER: string

/** What this platform's addons are called; the wrong one of a pair cannot be opened. */
function platforms(): string[] {
  const { platform, arch } = process
  if (platform === "linux") return [`linux-${arch}-gnu`, `linux-${arch}-musl`]
  return [platform === "win32" ? `win32-${arch}-msvc` : `${platform}-${arch}`]
}

function load(): typeof Addon {
  const failures: string[] = []
  for (const platform of platforms()) {
    const file = `opencode-orchestrator.${platform}.node`
    const places = [
      () => `${import.meta.dirname}/${PACKAGE_FOLDER}${file}`,
      // Asked for, and not imported, which would take a fresh process as long as the addon does.
      () => process.getBuiltinModule("node:module").createRequire(import.meta.url).resolve(`opencode-orchestrator-native-${platform}/${file}`),
    ]
    for (const place of places) {
      const module = { exports: {} as typeof Addon }
      try {
        process.dlopen(module, place())
        return module.exports
      } catch (cause) {
        failures.push(cause instanceof Error ? (cause.message.split("\n")[0] ?? "") : String(cause))
      }
    }
  }
  const message = `no addon for ${process.platform} ${process.arch} can be opened; install the package again with its optional dependencies, or build it with \`npm run build\` (${failures.join("; ")})`
  throw Object.assign(new Error(message), { code: "ADDON_UNAVAILABLE" })
}

export const addon = load()

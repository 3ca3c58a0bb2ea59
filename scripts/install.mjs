/**
 * Installs the development dependencies when they are missing or older than the lockfile.
 *
 * Not with `npm ci`: it insists that the lockfile names the binaries of every platform, and a lockfile made where the
 * registry does not offer them all cannot. The versions are the lockfile's all the same, and it is not written.
 */
import { execFileSync } from "node:child_process"
import { statSync } from "node:fs"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))

export function install() {
  const changed = (path) => statSync(`${root}${path}`, { throwIfNoEntry: false })?.mtimeMs ?? 0
  if (changed("node_modules/.package-lock.json") >= changed("package-lock.json")) return
  execFileSync("npm", ["install", "--no-save", "--no-audit", "--no-fund"], { cwd: root, stdio: "inherit" })
}

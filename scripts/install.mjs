/** Installs dependencies when they are missing or older than the lockfile. */
import { execFileSync } from "node:child_process"
import { statSync } from "node:fs"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))

/** Installs those of the package in `folder`, the whole project's unless said otherwise. */
export function install(folder = root, flags = []) {
  const changed = (path) => statSync(`${folder}${path}`, { throwIfNoEntry: false })?.mtimeMs ?? 0
  if (changed("node_modules/.package-lock.json") >= changed("package-lock.json")) return
  execFileSync("npm", ["ci", "--no-audit", "--no-fund", ...flags], { cwd: folder, stdio: "inherit" })
}

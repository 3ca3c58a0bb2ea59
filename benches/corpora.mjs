/**
 * The trees that are searched: unpacked npm packages, at pinned versions so that two runs search the same bytes.
 *
 * They lie in `target/corpora`, each a git repository without commits, so that ignore rules apply as in a project and
 * end at it.
 */
import { execFileSync } from "node:child_process"
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const folder = fileURLToPath(new URL("../target/corpora/", import.meta.url))

const SMALL = ["fastify@5.2.0", "preact@10.25.4"]
const MEDIUM = ["antd@5.22.7", "date-fns@4.1.0", "lodash@4.17.21"]
const LARGE = [
  ...MEDIUM,
  "@aws-sdk/client-ec2@3.716.0",
  "@mui/icons-material@6.3.0",
  "@mui/material@6.3.0",
  "core-js@3.39.0",
  "date-fns@3.6.0",
  "firebase@11.1.0",
  "hono@4.6.14",
  "next@15.1.3",
  "rxjs@7.8.1",
  "viem@2.21.57",
]
const PACKAGES = { small: SMALL, medium: MEDIUM, large: LARGE }

/** Source maps and one package's bundles are ignored, as a project would. */
const IGNORED = "*.map\n/antd-*/dist/\n"

/** @typedef {keyof typeof PACKAGES} Size */

/** Gives the folder of a corpus, which is fetched when it is not there. @param {Size} size @returns {string} */
export function corpus(size) {
  const tree = join(folder, size)
  const marker = join(folder, `${size}.json`)
  const wanted = JSON.stringify({ packages: PACKAGES[size], ignored: IGNORED })
  if (existsSync(marker) && readFileSync(marker, "utf8") === wanted) return tree
  rmSync(tree, { recursive: true, force: true })
  mkdirSync(tree, { recursive: true })
  for (const spec of PACKAGES[size]) {
    const into = join(tree, spec.replace(/^@/, "").replaceAll(/[/@]/g, "-"))
    mkdirSync(into)
    execFileSync("tar", ["-xzf", fetched(spec), "--strip-components=1", "-C", into], { stdio: "inherit" })
  }
  writeFileSync(join(tree, ".gitignore"), IGNORED)
  execFileSync("git", ["init", "--quiet"], { cwd: tree, stdio: "inherit" })
  writeFileSync(marker, wanted)
  return tree
}

/** The tarball of a package, from the registry unless it was fetched before. @param {string} spec */
function fetched(spec) {
  const store = join(folder, "packages")
  mkdirSync(store, { recursive: true })
  const stem = spec.replace(/^@/, "").replace("/", "-").replace(/@(?=[^@]*$)/, "-")
  const tarball = join(store, `${stem}.tgz`)
  if (!existsSync(tarball)) {
    console.error(`fetching ${spec}`)
    execFileSync("npm", ["pack", spec, "--silent", "--pack-destination", store], { cwd: folder, stdio: ["ignore", "ignore", "inherit"] })
  }
  return tarball
}

/** How many files a tree has, and their bytes, hidden folders aside. @param {string} tree @returns {number} */
export function countFiles(tree) {
  let count = 0
  for (const entry of readdirSync(tree, { withFileTypes: true })) {
    if (entry.name.startsWith(".")) continue
    if (entry.isDirectory()) count += countFiles(join(tree, entry.name))
    else count++
  }
  return count
}

/**
 * Packs what would be published: the main package, and the platform package with the addon that was built last.
 *
 *   node scripts/pack.mjs [folder]
 *
 * Prints a JSON list of the tarballs. The main package names its platform packages as optional dependencies only here:
 * in the work tree they would be looked up in the registry before they are there.
 */
import { execFileSync } from "node:child_process"
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))

/** Packs into `folder`. @returns {string[]} the paths of the tarballs, the main package's first */
export function pack(folder) {
  mkdirSync(folder, { recursive: true })
  const stage = mkdtempSync(join(tmpdir(), "orchestrator-pack-"))
  try {
    const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
    const platforms = readdirSync(join(root, "npm")).flatMap((platform) => {
      const from = join(root, "npm", platform)
      const to = join(stage, platform)
      const { name, version, main } = JSON.parse(readFileSync(join(from, "package.json"), "utf8"))
      // One machine builds for one platform; a release brings the others together.
      if (!existsSync(join(root, main))) return []
      cpSync(from, to, { recursive: true })
      copyFileSync(join(root, "LICENSE"), join(to, "LICENSE"))
      if (version !== manifest.version) throw new Error(`npm/${platform}: version ${version}, expected ${manifest.version}`)
      copyFileSync(join(root, main), join(to, main))
      return { name, version, folder: to }
    })

    if (platforms.length === 0) throw new Error("there is no addon to pack for a platform in npm/; run npm run build first")
    const main = join(stage, "main")
    for (const file of [...manifest.files, "README.md", "LICENSE"]) {
      cpSync(join(root, file), join(main, file), { recursive: true })
    }
    const { devDependencies: _, scripts: __, napi: ___, ...published } = manifest
    const optionalDependencies = Object.fromEntries(platforms.map(({ name, version }) => [name, version]))
    writeFileSync(join(main, "package.json"), `${JSON.stringify({ ...published, optionalDependencies }, null, 2)}\n`)

    return [main, ...platforms.map((platform) => platform.folder)].map((source) => {
      const args = ["pack", source, "--pack-destination", folder, "--json", "--loglevel", "error"]
      const [{ filename }] = JSON.parse(execFileSync("npm", args, { encoding: "utf8", cwd: stage }))
      return join(folder, filename)
    })
  } finally {
    rmSync(stage, { recursive: true, force: true })
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  console.log(JSON.stringify(pack(resolve(process.argv[2] ?? join(root, "target", "packages"))), null, 2))
}

/**
 * OpenCode's own `grep` and `glob` and ours in their place (`replaceBuiltins`), on the real OpenCode: ours gives in the same
 * form at least what the host's gives. The host finds ripgrep on the PATH.
 */
import assert from "node:assert/strict"
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { delimiter, dirname, join } from "node:path"
import { after, before, test } from "node:test"
import { fileURLToPath, pathToFileURL } from "node:url"
import { rgPath } from "@vscode/ripgrep"
import { startHost } from "../demo/host.mjs"
import { startModel } from "../demo/model.mjs"

const folder = mkdtempSync(join(realpathSync(tmpdir()), "builtins-test-"))
const project = join(folder, "project")
const elsewhere = join(folder, "elsewhere")
const server = fileURLToPath(new URL("../dist/server.js", import.meta.url))
const env = { PATH: [dirname(rgPath), process.env.PATH].join(delimiter) }

const FILES = {
  ".gitignore": "gen/\n*.log\nmade.ts\n",
  "a.ts": "one\nconst needle = 1\n",
  "src/b.ts": "needle needle\n\n  indented needle \n",
  "src/deep/c.tsx": "needle\n",
  "gen/d.ts": "needle\n",
  "made.ts": "needle\n",
  "e.log": "needle\n",
  ".hidden/f.ts": "needle\n",
  ".g.ts": "needle\n",
  "long.txt": `${"x".repeat(3000)} needle\n`,
  "many.txt": "many needles\n".repeat(150),
}

const CASES = [
  ["grep", { pattern: "one" }],
  ["grep", { pattern: "needle\\b", include: "*.ts" }],
  ["grep", { pattern: "needle", include: "*.{ts,tsx}", path: "src" }],
  ["grep", { pattern: "needle", include: "!*.txt" }],
  ["grep", { pattern: "needle", include: "*.log" }],
  ["grep", { pattern: "needle", path: join(project, "src") }],
  ["grep", { pattern: "needle", path: "src/b.ts" }],
  ["grep", { pattern: "far", path: elsewhere }],
  ["grep", { pattern: "nothing like it" }],
  ["grep", { pattern: "^many" }],
  ["glob", { pattern: "**/*.ts" }],
  ["glob", { pattern: "*.ts" }],
  ["glob", { pattern: "src/**" }],
  ["glob", { pattern: "*.{log,tsx}" }],
  ["glob", { pattern: "*.ts", path: "src" }],
  ["glob", { pattern: "*", path: elsewhere }],
  ["glob", { pattern: "nothing" }],
  ["glob", { pattern: "*", path: "a.ts" }],
]

let model
const answers = { host: [], ours: [] }

/** Has the model make every call, and gives what the tools answered. */
async function ask(plugin) {
  const host = await startHost({ project, plugin, model, env, snapshot: false, config: { permission: { external_directory: "allow" } } })
  try {
    const all = []
    for (const index of CASES.keys()) {
      const { id } = await host.createSession({ title: `case ${index}` })
      await host.prompt(id, `case ${index}.`)
      const parts = (await host.messages(id)).flatMap(({ parts }) => parts)
      const { state } = parts.find(({ type }) => type === "tool")
      all.push(state)
    }
    return all
  } finally {
    await host.stop()
  }
}

before(async () => {
  for (const [path, text] of Object.entries(FILES)) {
    mkdirSync(dirname(join(project, path)), { recursive: true })
    writeFileSync(join(project, path), text)
  }
  mkdirSync(join(project, ".git"))
  mkdirSync(elsewhere)
  writeFileSync(join(elsewhere, "far.txt"), "far\n")
  const rules = [false, true].flatMap(() =>
    CASES.map(([tool, args], index) => ({ name: `case ${index}`, when: { user: `^case ${index}\\.` }, steps: [{ tool, args }, { text: "done" }] })),
  )
  model = await startModel({ scenario: { rules: rules.map((rule, index) => ({ ...rule, name: `${rule.name} ${index}` })) } })
  answers.ours = await ask([[pathToFileURL(server).href, { replaceBuiltins: true }]])
  answers.host = await ask([])
})

after(async () => {
  await model?.close()
  rmSync(folder, { recursive: true, force: true })
})

/** What an answer of either tool names: paths, and lines below them. */
function found({ output = "" }) {
  let file = ""
  const items = output.split("\n").flatMap((line) => {
    if (line.endsWith(":") && !line.startsWith(" ")) file = line
    return line.startsWith("  Line ") ? [`${file}${line.trimEnd()}`] : line.startsWith(folder) && !line.endsWith(":") ? [line] : []
  })
  return items.sort()
}

test("ours answer in place of the host's", () => {
  const texts = answers.ours.map(({ output, error }) => output ?? error)
  assert.equal(texts[0], `Found 1 matches\n${project}/a.ts:\n  Line 1: one`)
  assert.deepEqual(answers.ours[0].metadata.matches, 1)
  assert.deepEqual(found(answers.ours[1]).map((line) => line.slice(project.length + 1)), [
    ".g.ts:  Line 1: needle",
    ".hidden/f.ts:  Line 1: needle",
    "a.ts:  Line 2: const needle = 1",
    "made.ts:  Line 1: needle",
    "src/b.ts:  Line 1: needle needle",
    "src/b.ts:  Line 3:   indented needle",
  ])
  assert.equal(texts[8], "No files found")
  assert.match(texts[9], /^Found 100 matches \(more matches available\)\n[^]*\n\n\(Results truncated/)
  assert.deepEqual(found(answers.ours[11]), [".g.ts", "a.ts", "made.ts", "src/b.ts"].map((path) => join(project, path)))
  assert.equal(texts[17], `glob path must be a directory: ${project}/a.ts`)
})

test("ours give at least what the host's give", () => {
  for (const [index, [tool, args]] of CASES.entries()) {
    const [theirs, ours] = [answers.host[index], answers.ours[index]]
    const what = `${tool} ${JSON.stringify(args)}`
    assert.equal(ours.status, theirs.status, `${what}: ${ours.error} ${theirs.error}`)
    assert.equal(ours.title, theirs.title, what)
    const missing = found(theirs).filter((item) => !found(ours).includes(item))
    assert.deepEqual(missing, [], what)
    // The host's paths come in no certain order, the count of its matches in the first line.
    if (tool === "grep") assert.equal(ours.output.split("\n")[0], theirs.output.split("\n")[0], what)
  }
})

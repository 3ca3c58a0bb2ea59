/**
 * The documents against the sources: codes, links, names, commands, examples, and the walls between the parts.
 * Needs a build.
 */
import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { after, test } from "node:test"
import { fileURLToPath } from "node:url"
import { checkOptions } from "../index.js"

const root = fileURLToPath(new URL("..", import.meta.url))
const folder = mkdtempSync(join(tmpdir(), "docs-test-"))
after(() => rmSync(folder, { recursive: true, force: true }))

const read = (path) => readFileSync(join(root, path), "utf8")
/** Files below a folder whose name ends so. */
const files = (below, ending) =>
  readdirSync(join(root, below), { recursive: true })
    .map((name) => join(below, name))
    .filter((path) => path.endsWith(ending))
    .sort()

const DOCUMENTS = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", ...files("docs", ".md")]
const manifest = JSON.parse(read("package.json"))

/** Fenced blocks of a language, with the comment in the line before them. */
function blocks(text, language) {
  const found = text.matchAll(new RegExp(`(?:<!-- (.*) -->\\n)?\`\`\`${language}\\n([^]*?)\`\`\``, "g"))
  return [...found].map(([, mark, code]) => ({ mark, code }))
}

// --- Codes ---

/** Rust sources without their tests. */
const rust = () =>
  files("src", ".rs")
    .filter((path) => !/\/tests?(\/|\.rs$)/.test(path))
    .map((path) => read(path).split("#[cfg(test)]")[0])

function codesInSources() {
  const sources = [...rust(), ...files("plugin", ".ts").map(read)]
  const literal = /"([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|GenericFailure)"|\bcode: "([A-Z]+)"/g
  const literals = sources.flatMap((text) => [...text.matchAll(literal)].map(([, code, word]) => code ?? word))
  const variants = /pub enum FindingCode \{\n([^]*?)\n\}/.exec(read("src/verify/report.rs"))[1].matchAll(/^ {4}(\w+),$/gm)
  const findings = [...variants].map(([, name]) => name.replace(/(?<=.)(?=[A-Z])/g, "_").toUpperCase())
  assert.ok(findings.length > 10, "the findings of checks were not found in the sources")
  const environment = /^(?:OPENCODE|GIT|SSH|XDG|LC)_/
  return [...new Set([...literals, ...findings])].filter((code) => code !== "SCREAMING_SNAKE_CASE" && !environment.test(code)).sort()
}

test("every code of the sources is in docs/errors.md, and every code there is in the sources", () => {
  const rows = [...read("docs/errors.md").matchAll(/^\| `(\w+)` \| .+ \| .+ \|$/gm)].map(([, code]) => code)
  assert.deepEqual(rows.filter((code, index) => rows.indexOf(code) !== index), [], "codes that have two rows")
  assert.deepEqual(rows.toSorted(), codesInSources())
})

// --- Links, names, commands ---

/** The anchors of a document's headings, as GitHub makes them. */
function anchors(path) {
  const headings = [...read(path).matchAll(/^#+ (.*)$/gm)].map(([, heading]) => heading)
  return headings.map((heading) => heading.toLowerCase().replace(/[^\p{L}\p{N}\- _]/gu, "").replaceAll(" ", "-"))
}

test("links lead to files and headings that are there", () => {
  for (const document of DOCUMENTS) {
    for (const [, target] of read(document).matchAll(/\]\(([^)]+)\)/g)) {
      if (target.startsWith("https:")) continue
      const [path, anchor] = target.split("#")
      const file = path === "" ? document : join(dirname(document), path)
      assert.ok(existsSync(join(root, file)), `${document}: ${target}`)
      if (anchor) assert.ok(anchors(file).includes(anchor), `${document}: ${target}`)
    }
  }
})

test("paths that documents name are there", () => {
  const named = /`((?:src|plugin|scripts|demo|docs|npm|__test__)\/[^`\s]*)`/g
  for (const document of DOCUMENTS) {
    for (const [, path] of read(document).matchAll(named)) {
      if (!/[*<]/.test(path)) assert.ok(existsSync(join(root, path)), `${document}: ${path}`)
    }
  }
})

test("the files of the code map are all there are", () => {
  const rows = [...read("docs/ARCHITECTURE.md").matchAll(/^\| (`[^|]+) \|/gm)].flatMap(([, names]) => [...names.matchAll(/`([^`]+)`/g)])
  const mapped = rows.map(([, name]) => name).filter((name) => name.endsWith(".ts"))
  const present = readdirSync(join(root, "plugin")).filter((name) => name.endsWith(".ts") && !name.endsWith(".d.ts"))
  assert.deepEqual(mapped.sort(), present.sort())
})

test("commands that documents name exist", () => {
  const help = execFileSync(process.execPath, [join(root, "dist/cli.js"), "--help"], { encoding: "utf8" })
  for (const document of DOCUMENTS) {
    const text = read(document)
    for (const [, script] of text.matchAll(/\bnpm run ([\w:-]+)/g)) assert.ok(manifest.scripts[script], `${document}: npm run ${script}`)
    for (const [, script] of text.matchAll(/\bnpm (start|test)\b/g)) assert.ok(manifest.scripts[script], `${document}: npm ${script}`)
    for (const [, path] of text.matchAll(/\bnode ([\w./-]+\.mjs)/g)) assert.ok(existsSync(join(root, path)), `${document}: node ${path}`)
    for (const [, command] of text.matchAll(/\bopencode-orchestrator (status|verify|[a-z]+(?= "\$PWD"))/g)) {
      assert.match(help, new RegExp(`^ {2}${command} `, "m"), `${document}: opencode-orchestrator ${command}`)
    }
  }
  for (const script of Object.values(manifest.scripts)) {
    const path = /^node (\S+)/.exec(script)[1]
    assert.ok(existsSync(join(root, path)), `package.json: ${script}`)
  }
})

test("tests that the journal's document names exist", () => {
  const sources = [...files("src/store", ".rs")].map(read).join("\n")
  const promises = read("docs/journal.md").split("## What is promised")[1].split("\nNot promised")[0]
  const names = [...promises.matchAll(/`(?:\w+::)?([a-z]\w+)`/g)].map(([, name]) => name)
  assert.ok(names.length > 10)
  for (const name of names) assert.match(sources, new RegExp(`fn ${name}\\(`), name)
})

// --- Examples ---

test("the README's example of the native API runs", () => {
  const examples = blocks(read("README.md"), "js").filter(({ mark }) => mark === "run")
  assert.ok(examples.length > 0)
  mkdirSync(join(folder, "node_modules"))
  symlinkSync(root, join(folder, "node_modules", manifest.name), "dir")
  writeFileSync(join(folder, "some.js"), "// TODO: say more\nconsole.log(1, 2)\n")
  for (const [index, { code }] of examples.entries()) {
    const file = `example-${index}.mjs`
    writeFileSync(join(folder, file), code)
    const output = execFileSync(process.execPath, [file], { cwd: folder, encoding: "utf8" })
    for (const expected of [/files, the first is/, /some\.js:1: \/\/ TODO/, /some\.js 2 \[ '1', ',', '2' \]|some\.js 2 \[ '1', '2' \]/, /SEARCH_BAD_PATTERN/]) {
      assert.match(output, expected)
    }
  }
})

test("the README's configurations are JSON with options that are taken", () => {
  for (const { code } of blocks(read("README.md"), "json")) {
    for (const plugin of JSON.parse(code).plugin) {
      const [, options = {}] = [plugin].flat()
      assert.deepEqual(checkOptions(options), [])
    }
  }
})

// --- Walls ---

test("the walls that docs/ARCHITECTURE.md claims are there", () => {
  assert.doesNotMatch(read("src/engine/Cargo.toml"), /orchestrator-(?!engine)/, "the engine depends on no crate of ours")
  assert.doesNotMatch(read("src/worker/Cargo.toml"), /orchestrator-(?!worker)/, "the worker depends on no crate of ours")
  for (const crate of ["engine", "store", "search", "verify", "worker"]) {
    assert.doesNotMatch(read(`src/${crate}/Cargo.toml`), /napi/, "napi is used in the bindings and nowhere else")
  }
  const importers = files("plugin", ".ts").filter((path) => read(path).includes("./addon.ts"))
  assert.deepEqual(importers, ["plugin/native.ts"])
  for (const path of files("src/bindings", ".rs")) {
    for (const [attribute] of read(path).matchAll(/#\[napi(\([^]*?\))?\]/g)) assert.match(attribute, /catch_unwind/, `${path}: an export that catches no panic`)
  }
})

/**
 * Holds our answers against those of ripgrep, ast-grep and jq on the trees of the benchmark, and on one made of odd
 * files, with options at random.
 *
 *   npm run test:peers                     a seed of its own, 300 cases
 *   npm run test:peers -- --seed 7         the same cases again
 *   npm run test:peers -- --cases 5000
 *   npm run test:peers -- --kinds glob,ast
 *
 * What differs on purpose: we sort by path. Globs, types and ignore rules all have to let a file through unless
 * `overrideIgnore` says otherwise, while ripgrep's globs always overrule the others. Nothing is given of a file that is found to be binary, where ripgrep gives what comes before
 * the first NUL. `.git` is never searched. Answers are taken page by page, so that paging is tested too.
 */
import assert from "node:assert/strict"
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { install } from "../scripts/install.mjs"

const { values } = parseArgs({ options: { seed: { type: "string" }, cases: { type: "string", default: "300" }, kinds: { type: "string", default: "grep,grep,grep,glob,ast,jq" } } })
const seed = Number(values.seed ?? Date.now() % 1_000_000)
install(fileURLToPath(new URL(".", import.meta.url)), ["--ignore-scripts"])
const native = await import("../index.js")
const { corpus } = await import("./corpora.mjs")
const { AST_GREP, RIPGREP, run } = await import("./peers.mjs")

/** Numbers at random, the same ones from the same seed (mulberry32). @param {number} state */
function randomFrom(state) {
  const next = () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  return {
    /** @param {number} part @returns {boolean} */
    chance: (part) => next() < part,
    /** @template T @param {readonly T[]} list @returns {T} */
    pick: (list) => /** @type {T} */ (list[Math.floor(next() * list.length)]),
  }
}

/** Files of every odd kind. @returns {string} */
function oddTree() {
  const tree = fileURLToPath(new URL("../target/bench/odd/", import.meta.url))
  rmSync(tree, { recursive: true, force: true })
  /** @type {Record<string, string | Buffer>} */
  const files = {
    ".git/config": "import\n",
    ".gitignore": "*.log\n/built/\n!keep.log\nnested/*.tmp\n",
    ".ignore": "ignored.txt\n",
    ".rgignore": "import-not.txt\n",
    ".hidden/a.ts": "import hidden\n",
    ".hidden.ts": "import hidden\n",
    "a.log": "import log\n",
    "keep.log": "import kept\n",
    "built/a.ts": "import built\n",
    "ignored.txt": "import ignored\n",
    "import-not.txt": "import not\n",
    "nested/.gitignore": "!*.tmp\ndeep/**/x.ts\n",
    "nested/a.tmp": "import tmp\n",
    "nested/deep/er/x.ts": "import x\n",
    "nested/deep/er/y.ts": "import y\nImport Y\nIMPORT\n",
    "crlf.ts": "import a\r\nimport b\r\n\r\nlast import\r\n",
    "mixed.ts": "import a\nimport b\r\nx\rimport c\n",
    "no-end.ts": "first\nimport at the end",
    "bom.ts": "\ufeffimport bom\n",
    "little.ts": Buffer.from("\ufeffimport utf-16\nx\n", "utf16le"),
    "big.ts": Buffer.from("\ufeffimport utf-16\nx\n", "utf16le").swap16(),
    "latin.ts": Buffer.from([...Buffer.from("import caf"), 0xe9, 10, ...Buffer.from("x\n")]),
    "binary.bin": Buffer.from("import\0\nimport\n"),
    "late.bin": Buffer.concat([Buffer.from("import x\n".repeat(20_000)), Buffer.from([0, 10])]),
    "empty.ts": "",
    "blank.ts": "\n\n\n",
    "ümläut/ß.ts": "import größe\nГость import\n",
    "long.ts": `${"x".repeat(5_000)} import ${"y".repeat(5_000)}\n`,
    "many.ts": "import many\n".repeat(3_000),
    "with space/[odd] {name}.ts": "import odd\n",
  }
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(join(tree, path, ".."), { recursive: true })
    writeFileSync(join(tree, path), content)
  }
  symlinkSync("nested", join(tree, "link"))
  symlinkSync("crlf.ts", join(tree, "link.ts"))
  return tree
}

/** All pages of an answer. @param {(after: object | undefined) => Promise<any>} ask @param {string} field */
async function pages(ask, field) {
  const found = []
  let after
  do {
    const answer = await ask(after)
    assert.ok(!answer.truncated || answer.next, `cut at ${answer.limits} with nothing to go on from`)
    found.push(...answer[field])
    after = answer.next ?? undefined
  } while (after)
  return found
}

/** @param {string[]} keys */
function sorted(keys) {
  return keys.toSorted()
}

/** A text as it can be compared: without what a long line loses. @param {string} text */
function comparable(text) {
  const plain = text.replaceAll("\r\n", "\n").replace(/^\ufeff/, "")
  return plain.length > 1_900 || plain.startsWith("…") ? "(long)" : plain
}

/** @param {{ text?: string, bytes?: string }} value */
function textOf({ text, bytes }) {
  return text ?? new TextDecoder().decode(Buffer.from(bytes ?? "", "base64"))
}

const PATTERNS = [
  "import", "Import", "IMPORT", "^import", "import$", "\\bimport\\b", "imp(or)+t [a-z]", "x", "é", "ß|ГОСТЬ", "\\w+\\s+\\w+", "function \\w+\\(",
  "use[A-Z]\\w+", "\\.then\\(", "^$", "^\\s*//", "[^\\x00-\\x7f]", "TODO|FIXME", "a.c", "return .*;$", "\\d{4}", "(?i)error", "\\p{Greek}", "=>",
]
const MULTILINE = ["import a\\nimport b", "\\}\\n\\nfunction", "x\\n+", "(?s)import.{0,20}last", "a\\r?\\nimport"]
const FIXED = ["import", "=> {", "a.b(", "x$", "[odd]", "\\n", "*/", "größe"]
const GLOBS = [["*.ts"], ["*.js"], ["!*.d.ts"], ["nested/**"], ["*.{ts,js}", "!lib/**"], ["**/deep/**"], ["[a-m]*.ts"], ["/*.ts"], ["lib/"], ["*.TS"]]
const TYPES = [["ts"], ["js"], ["json"], ["md", "ts"]]

/** One search with both. @param {ReturnType<typeof randomFrom>} random @param {string} cwd */
async function grepCase(random, cwd) {
  /** @type {Record<string, any>} */
  const options = {}
  const args = ["--no-config", "--crlf", "--sort=path", "--no-messages"]
  /** @param {number} part @param {string} option @param {string[]} flags @param {any} [value] */
  const maybe = (part, option, flags, value = true) => {
    if (!random.chance(part)) return
    options[option] = value
    args.push(...flags)
  }
  maybe(0.25, "multiline", ["--multiline"])
  if (!options.multiline) maybe(0.25, "fixedStrings", ["--fixed-strings"])
  options.pattern = random.pick(options.multiline ? MULTILINE : options.fixedStrings ? FIXED : PATTERNS)
  if (random.chance(0.5)) maybe(0.5, "ignoreCase", ["--ignore-case"])
  else maybe(0.4, "smartCase", ["--smart-case"])
  maybe(0.2, "word", ["--word-regexp"])
  maybe(0.3, "hidden", ["--hidden"])
  maybe(0.3, "noIgnore", ["--no-ignore"])
  const types = random.pick(TYPES)
  maybe(0.2, "types", types.flatMap((type) => ["--type", type]), types)
  const listed = ["--no-config", "--files", ...args.filter((arg) => arg === "--hidden" || arg === "--no-ignore")]
  const typed = (options.types ?? []).flatMap((/** @type {string} */ type) => ["--type", type])
  const globs = random.pick(GLOBS)
  maybe(0.35, "globs", globs.flatMap((glob) => ["--glob", glob]), globs)
  if (options.globs && !options.types) maybe(0.4, "overrideIgnore", [])
  const output = random.pick(["lines", "lines", "lines", "files", "counts"])
  if (output !== "lines") options.output = output
  else {
    const [before, after] = [random.pick([1, 2, 5]), random.pick([1, 3])]
    maybe(0.25, "beforeContext", ["--before-context", `${before}`], before)
    maybe(0.25, "afterContext", ["--after-context", `${after}`], after)
  }
  // The last glob that matches decides, so that nothing brings the repository back.
  args.push("--glob=!.git")
  const hasContext = "beforeContext" in options || "afterContext" in options

  const printed = (await run(RIPGREP, [...args, "--json", "--", options.pattern, "."], { cwd, codes: [0, 1, 2] })).toString()
  /** @param {string[]} flags */
  const list = async (flags) => (await run(RIPGREP, flags, { cwd, codes: [0, 1] })).toString().split("\n")
  const ofTypes = new Set(await list([...listed, ...typed]))
  const visible = new Set((await list(listed)).filter((path) => ofTypes.has(path)))
  const isVisible = (/** @type {string} */ path) => options.overrideIgnore || visible.has(path)
  /** @type {Map<string, string[]>} */
  const theirs = new Map()
  const binary = new Set()
  for (const record of printed.split("\n").filter(Boolean)) {
    const { type, data } = JSON.parse(record)
    const path = textOf(data.path ?? {}).replace(/^\.\//, "")
    const lines = theirs.get(path) ?? []
    if (path && !isVisible(path)) continue
    if (type === "match" || type === "context") {
      lines.push(`${data.line_number}${type === "match" ? ":" : "-"} ${comparable(textOf(data.lines).replace(/\r?\n$/, ""))}`)
      theirs.set(path, lines)
    }
    if (type === "end" && data.binary_offset !== null) {
      theirs.delete(path)
      binary.add(path)
    }
  }

  const describe = JSON.stringify(options)
  if (output !== "lines") {
    const files = await pages((after) => native.grep({ ...options, pattern: options.pattern, ...(after && { after }) }, { cwd }), "files")
    const keys = files.filter(({ path }) => !binary.has(path)).map(({ path, count }) => (output === "counts" ? `${path}: ${count}` : path))
    const matching = [...theirs].map(([path, lines]) => (output === "counts" ? `${path}: ${lines.length}` : path))
    assert.deepEqual(sorted(keys), sorted(matching), describe)
    assert.deepEqual(files.map(({ path }) => path), files.map(({ path }) => path).toSorted(byBytes), describe)
    return keys.length
  }
  const matches = await pages((after) => native.grep({ ...options, pattern: options.pattern, ...(after && { after }) }, { cwd }), "matches")
  // A page may be full before a file turns out to be binary.
  const ours = matches.filter(({ path }) => !binary.has(path)).flatMap(({ path, line, text, before = [], after = [] }) => {
    const end = line + text.split("\n").length
    return [
      ...before.map((/** @type {string} */ shown, /** @type {number} */ index) => `${path}:${line - before.length + index}- ${comparable(shown)}`),
      `${path}:${line}: ${comparable(text)}`,
      ...after.map((/** @type {string} */ shown, /** @type {number} */ index) => `${path}:${end + index}- ${comparable(shown)}`),
    ]
  })
  const expected = [...theirs].flatMap(([path, lines]) => lines.map((line) => `${path}:${line}`))
  // Where a page ends, a line may be told twice: as context of the last match, and of the first on the next page.
  assert.deepEqual(sorted(hasContext ? [...new Set(ours)] : ours), sorted(expected), describe)
  const paths = matches.map(({ path }) => path)
  assert.deepEqual(paths, paths.toSorted(byBytes), describe)
  return ours.length
}

/** Paths in the order that we give them in. @param {string} a @param {string} b */
function byBytes(a, b) {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}

const LISTED = ["**", "*.ts", "**/*.d.ts", "nested/**", "lib/*.js", "**/deep/**/*.ts", "*.{js,json}", "[a-m]*", "**/[!a-c]*.ts", "?.ts", "with space/**", "ümläut/*", "none/**"]

/** @param {ReturnType<typeof randomFrom>} random @param {string} cwd */
async function globCase(random, cwd) {
  const pattern = random.pick(LISTED)
  const [hidden, noIgnore] = [random.chance(0.4), random.chance(0.4)]
  const args = ["--no-config", "--files", "--glob", pattern, "--glob=!.git", ...(hidden ? ["--hidden"] : []), ...(noIgnore ? ["--no-ignore"] : [])]
  const listed = (await run(RIPGREP, args, { cwd, codes: [0, 1] })).toString().split("\n").filter(Boolean)
  const found = await pages((after) => native.glob({ pattern, hidden, noIgnore, ...(after && { after }) }, { cwd }), "paths")
  // A glob that ripgrep is given brings hidden files back that it matches; ours says which files are wanted, no more.
  const isHidden = (/** @type {string} */ path) => path.split("/").some((name) => name.startsWith("."))
  const theirs = hidden ? listed : listed.filter((path) => !isHidden(path))
  const ours = hidden ? found : found.filter((path) => !isHidden(path))
  // So do files that ignore rules hide.
  const all = new Set(theirs)
  assert.deepEqual(ours.filter((path) => !all.has(path)), [], JSON.stringify({ pattern, hidden, noIgnore }))
  if (noIgnore) assert.deepEqual(sorted(ours), sorted(theirs), JSON.stringify({ pattern, hidden, noIgnore }))
  assert.deepEqual(found, found.toSorted(byBytes))
  return found.length
}

const SHAPES = [
  "new Promise($A)", "$A[$B][$C]", "if ($A) { return $B }", "$F($$$ARGS)", "require($A)", "$A === $A", "Object.defineProperty($$$)", "function $F($$$) { $$$BODY }",
  "throw new $E($$$)", "$A ? $B : $C", "() => $A", "[$A, $B]", "for (const $A of $B) { $$$ }", "typeof $A", "await $A", "{ $A: $B }", "'use strict'", "$A.$B = $C",
]

/** @param {ReturnType<typeof randomFrom>} random @param {string} cwd */
async function astCase(random, cwd) {
  const pattern = random.pick(SHAPES)
  const printed = (await run(AST_GREP, ["run", "--pattern", pattern, "--lang", "javascript", "--json=stream", "."], { cwd, codes: [0, 1] })).toString()
  const theirs = printed.split("\n").filter(Boolean).map((record) => {
    const { file, range, text } = JSON.parse(record)
    return `${file.replace(/^\.\//, "")}:${range.start.line + 1}-${range.end.line + 1}: ${comparable(text)}`
  })
  const matches = await pages((after) => native.astSearch({ pattern, language: "javascript", ...(after && { after }) }, { cwd }), "matches")
  const ours = matches.map(({ path, line, endLine, text }) => `${path}:${line}-${endLine}: ${comparable(text)}`)
  assert.deepEqual(sorted(ours), sorted(theirs), pattern)
  return ours.length
}

const FILTERS = [
  ".", ".name", ".version, .license", "keys", ".dependencies // {} | keys", "[.. | strings] | length", "to_entries | map(select(.value | type == \"string\")) | from_entries",
  "[paths] | length", ".scripts // {} | to_entries[] | \"\\(.key): \\(.value)\"", "tojson | fromjson == .", "[.[] | type] | group_by(.) | map([.[0], length])",
  ".exports? // empty | [leaf_paths | join(\".\")?]", "with_entries(.key |= ascii_upcase) | keys[0:3]", "reduce (.. | numbers) as $n (0; . + $n)", "[limit(3; .. | strings)]",
  "(.keywords // []) | map(length) | add", "[.. | strings | select(test(\"^[a-z-]+$\"))] | unique | length", "del(.dependencies, .devDependencies) | length", "first(.. | strings)", ".a.b.c?",
  "map_values(type)", "[splits(\"x\")?] | length", "@json", "(.version | split(\".\") | map(tonumber?))", ".nope.nope", ".name | ltrimstr(\"@\") | explode | implode",
]

/** @param {ReturnType<typeof randomFrom>} random @param {string} cwd @param {string[]} files */
async function jqCase(random, cwd, files) {
  const [filter, path] = [random.pick(FILTERS), random.pick(files)]
  const printed = (await run("jq", ["--compact-output", filter, path], { cwd, codes: [0] })).toString()
  const theirs = printed.split("\n").filter(Boolean).map((text) => JSON.parse(text))
  const { values: found, error, limits } = await native.jq({ filter, path }, { cwd })
  assert.deepEqual([error, limits], [null, []], `${filter} of ${path}`)
  assert.deepEqual(found.map((text) => JSON.parse(text)), theirs, `${filter} of ${path}`)
  return theirs.length
}

const random = randomFrom(seed)
const cases = Number(values.cases)
const [odd, small] = [oddTree(), corpus("small")]
const packages = (await native.glob({ pattern: "**/package.json" }, { cwd: small })).paths
/** @type {Record<string, number>} */
const tried = {}
let hits = 0
for (let index = 0; index < cases; index++) {
  const cwd = random.chance(0.6) ? odd : small
  const kind = random.pick(values.kinds.split(","))
  try {
    if (kind === "grep") hits += await grepCase(random, cwd)
    else if (kind === "glob") hits += await globCase(random, cwd)
    else if (kind === "ast") hits += await astCase(random, small)
    else hits += await jqCase(random, small, packages)
  } catch (error) {
    console.error(`case ${index} (${kind} in ${cwd}) of seed ${seed}: ${error instanceof Error ? error.message : error}`)
    process.exit(1)
  }
  tried[kind] = (tried[kind] ?? 0) + 1
}
console.log(`seed ${seed}: the same ${hits} hits in ${cases} cases (${Object.entries(tried).map(([kind, count]) => `${kind} ${count}`).join(", ")})`)
process.exit()

/**
 * Writes what is generated from the Rust types: `plugin/protocol.ts`, `plugin/search-types.ts`, `index.d.ts`, and the tables between markers in the
 * documents. With `--check` it writes nothing and fails when something is out of date.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { execFileSync } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { compile } from "json-schema-to-typescript"

const { addon } = await import("../target/addon.js")
const root = fileURLToPath(new URL("..", import.meta.url))
const GENERATED = "// Generated from the Rust types by `npm run build`. Do not edit.\n"

/** Draws the types of a schema whose properties are roots; the wrapper itself is dropped. */
async function types(schema, wrapper) {
  // A default beside a reference would make a second type of the same shape.
  const plain = JSON.parse(JSON.stringify(schema), (_, value) => {
    if (value && typeof value === "object" && "$ref" in value) return { $ref: value.$ref }
    return value
  })
  const text = await compile({ ...plain, title: wrapper, additionalProperties: false }, wrapper, {
    bannerComment: "",
    additionalProperties: false,
    style: { semi: false, printWidth: 120 },
  })
  return text.replace(new RegExp(`(/\\*\\*(?:(?!\\*/)[^])*\\*/\\n)?export interface ${wrapper} \\{[^]*?\\n\\}\\n`), "")
}

async function protocol() {
  const engine = await types(JSON.parse(addon.protocolSchema()), "Protocol")
  return `${GENERATED}${engine}`
}

async function search() {
  const { tools, answers } = JSON.parse(addon.toolSchema())
  const parts = [await types(answers, "Answers")]
  for (const { options } of Object.values(tools)) {
    parts.push(await compile(options, options.title, { bannerComment: "", style: { semi: false, printWidth: 120 } }))
  }
  const rows = Object.entries(tools).map(([name, { description, options }]) => {
    const answer = answers.properties[name].$ref.split("/").at(-1)
    return `  /** ${description} */\n  ${name}: { options: ${options.title}; answer: ${answer} }\n`
  })
  parts.push(`/** What each tool takes and gives. */\nexport interface Tools {\n${rows.join("")}}\n`)
  return `${GENERATED}${parts.join("\n")}`
}

/** The declarations of the native API: what `plugin/native.ts` exports, with the types it uses written out. */
function declarations(...types) {
  const out = mkdtempSync(join(tmpdir(), "orchestrator-types-"))
  try {
    const tsc = join(root, "node_modules/typescript/bin/tsc")
    const flags = ["--noEmit", "false", "--declaration", "--emitDeclarationOnly", "--outDir", out, "--rootDir", join(root, "plugin")]
    execFileSync(process.execPath, [tsc, "-p", join(root, "tsconfig.json"), ...flags], { stdio: "inherit" })
    const own = readFileSync(join(out, "native.d.ts"), "utf8").replace(/^(import|export) type [^;]* from "\.[^;]*;\n/gm, "")
    return [GENERATED + own, ...types.map((text) => text.replace(GENERATED, ""))].join("\n")
  } finally {
    rmSync(out, { recursive: true })
  }
}

function limitsTable() {
  const rows = JSON.parse(addon.limitsTable()).map(
    ({ name, default: value, min, max, unit, doc }) => `| \`${name}\` | ${value} | ${min} – ${max} | ${unit} | ${doc} |`,
  )
  return ["| limit | default | range | unit | meaning |", "| --- | --- | --- | --- | --- |", ...rows].join("\n")
}

/** The options of every tool, as tables. */
function toolTables() {
  const { tools } = JSON.parse(addon.toolSchema())
  return Object.entries(tools)
    .map(([name, { description, options }]) => {
      const rows = Object.entries(options.properties).map(([option, schema]) => {
        const isRequired = options.required?.includes(option)
        const text = JSON.stringify(schema.default ?? null)
        const standard = isRequired ? "required" : text === "null" ? "–" : `\`${text}\``
        return `| \`${option}\` | ${shape(schema)} | ${standard} | ${schema.description.replace(/\s+/g, " ").replaceAll("|", "\\|")} |`
      })
      return [`### \`${name}\``, "", description, "", "| option | type | default | meaning |", "| --- | --- | --- | --- |", ...rows].join("\n")
    })
    .join("\n\n")
}

/** A schema in a word or two. */
function shape(schema) {
  const variants = schema.enum ?? schema.oneOf?.map((variant) => variant.const)
  if (variants?.every((variant) => typeof variant === "string")) return variants.map((variant) => `\`${variant}\``).join(", ")
  if (schema.anyOf) return schema.anyOf.filter(({ type }) => type !== "null").map(shape).join(" or ")
  const [type] = [schema.type].flat()
  return type === "array" ? `list of ${shape(schema.items)}` : type
}

function toolLimits() {
  const rows = JSON.parse(addon.toolSchema()).limits.map(({ value, meaning }) => `| ${value} | ${meaning} |`)
  return ["| limit | meaning |", "| --- | --- |", ...rows].join("\n")
}

/** Replaces what stands between `<!-- generated: name -->` and `<!-- end -->`. */
function fill(before, name, text) {
  const marked = new RegExp(`(<!-- generated: ${name} -->\\n)[^]*?(\\n<!-- end -->)`)
  if (!marked.test(before)) throw new Error(`the marker "<!-- generated: ${name} -->" is missing`)
  return before.replace(marked, (_, start, end) => start + text + end)
}

export async function generate({ check }) {
  const stale = []
  const write = (file, text) => {
    let present = ""
    try {
      present = readFileSync(join(root, file), "utf8")
    } catch (error) {
      if (error.code !== "ENOENT") throw error
    }
    if (present === text) return
    if (check) stale.push(file)
    else writeFileSync(join(root, file), text)
  }
  const engineTypes = await protocol()
  const searchTypes = await search()
  write("plugin/protocol.ts", engineTypes)
  write("plugin/search-types.ts", searchTypes)
  write("index.d.ts", declarations(engineTypes, searchTypes))
  const document = (file) => readFileSync(join(root, file), "utf8")
  write("README.md", fill(document("README.md"), "limits", limitsTable()))
  write("docs/tools.md", fill(fill(document("docs/tools.md"), "tools", toolTables()), "tool limits", toolLimits()))
  if (stale.length > 0) throw new Error(`out of date: ${stale.join(", ")}; run \`npm run build\` and commit what changed`)
}

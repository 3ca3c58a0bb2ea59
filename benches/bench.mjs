/** Measures the tools against their peers; `--help` says how. */
import { writeFileSync } from "node:fs"
import { cpus, release, totalmem, type } from "node:os"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { install } from "../scripts/install.mjs"

const HELP = `Measures the native tools against their peers, in turns of 50 ms in one run, and prints the medians of the calls.

  npm run bench                    all rows
  npm run bench -- grep glob       the rows whose names begin so
  npm run bench -- --list          the names of the rows

  --seconds N   how long each comparison runs, once both sides gave the same hits; 5
  --no-build    measures the addon that is there
  --json FILE   writes the lines to a file too

It installs what it needs, builds the addon as it is published, and fetches the trees to be searched. "ratio" is the
peer's time divided by ours. The exit code is 1 when a row could not be measured; a must that is not met is printed.`

/** @param {import("./rows.mjs").Line[]} lines */
function table(lines) {
  const head = ["operation", "against", "ours", "theirs", "ratio", "must", "met"]
  const body = lines.map(({ operation, against, ours, theirs, result, must = "", met }) => {
    return [operation, against, ours, theirs, result, must, met === undefined ? "" : met ? "yes" : "no"]
  })
  const widths = head.map((cell, column) => Math.max(...[head, ...body].map((row) => row[column]?.length ?? cell.length)))
  const show = (/** @type {string[]} */ row) => `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |`
  return [show(head), `|${widths.map((width) => "-".repeat(width + 2)).join("|")}|`, ...body.map(show)].join("\n")
}

function machine() {
  const model = cpus()[0]?.model ?? "an unknown processor"
  return `${cpus().length} cores of ${model}, ${(totalmem() / 2 ** 30).toFixed(0)} GiB, ${type()} ${release()}, Node ${process.versions.node}`
}

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      help: { type: "boolean" },
      list: { type: "boolean" },
      "no-build": { type: "boolean" },
      seconds: { type: "string", default: "5" },
      json: { type: "string" },
    },
  })
  if (values.help) return console.log(HELP)
  const seconds = Number(values.seconds)
  if (!(seconds > 0)) throw new Error(`--seconds: expected a number above 0, found ${values.seconds}`)

  install()
  // The peers are of use only here, so that they have a lockfile of their own. Their packages hold their programs; no
  // install script has to run.
  install(fileURLToPath(new URL(".", import.meta.url)), ["--ignore-scripts"])
  if (!values["no-build"] && !values.list) {
    const { buildPackage } = await import("../scripts/build.mjs")
    await buildPackage({ profile: "dist" })
  }
  const { ROWS } = await import("./rows.mjs")
  if (values.list) return console.log(ROWS.map(({ name }) => name).join("\n"))
  const chosen = ROWS.filter(({ name }) => positionals.length === 0 || positionals.some((start) => name.startsWith(start)))
  if (chosen.length === 0) throw new Error(`no row begins with ${positionals.join(" or ")}; see --list`)

  const { corpus, countFiles } = await import("./corpora.mjs")
  const sizes = /** @type {const} */ (["small", "medium", "large"]).map((size) => `${size} ${countFiles(corpus(size))}`)
  console.log(`\n${machine()}; files: ${sizes.join(", ")}\n`)
  const lines = []
  let failures = 0
  for (const { name, lines: measured } of chosen) {
    try {
      const found = await measured({ seconds })
      lines.push(...found)
      for (const { operation, against, result, must = "-" } of found) console.log(`${name}: ${operation}, ${against}: ${result} (must ${must})`)
    } catch (error) {
      failures++
      console.log(`${name}: not measured: ${error instanceof Error ? error.message : error}`)
    }
  }
  console.log(`\n${table(lines)}\n`)
  const judged = lines.filter(({ met }) => met !== undefined)
  console.log(`${judged.filter(({ met }) => met).length} of ${judged.length} musts met; ${failures} rows not measured`)
  if (values.json) writeFileSync(values.json, `${JSON.stringify({ machine: machine(), lines }, null, 2)}\n`)
  process.exitCode = failures === 0 ? 0 : 1
}

try {
  await main()
} catch (error) {
  console.error(error instanceof Error && /** @type {NodeJS.ErrnoException} */ (error).code?.startsWith("ERR_PARSE_ARGS") ? `${error.message}\n\n${HELP}` : error)
  process.exitCode = 2
}
// Peers that were loaded keep threads.
process.exit()

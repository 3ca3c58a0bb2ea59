/** The command line: looks at the missions of a project without OpenCode. */
import { existsSync } from "node:fs"
import { parseArgs } from "node:util"
import { exportJournal, hasJournal, OrchestratorError, readMissions, verifyJournal } from "./native.ts"

const HELP = `opencode-orchestrator <command> [folder]

  status   how the missions of the project stand (--json for programs)
  verify   check the journal of the project, record by record
  export   write the journal to a file, a JSON object a line (--output journal.ndjson)

The folder is the project's; without it, the current one.`

function main(): number {
  const { values, positionals } = parseArgs({
    options: { help: { type: "boolean", short: "h" }, json: { type: "boolean" }, output: { type: "string" } },
    allowPositionals: true,
  })
  const [command, folder = process.cwd()] = positionals
  if (values.help || command === undefined) {
    console.log(HELP)
    return command === undefined && !values.help ? 2 : 0
  }
  if (!existsSync(folder)) {
    console.error(`${folder}: no such folder`)
    return 2
  }
  switch (command) {
    case "status": {
      const missions = hasJournal(folder) ? readMissions(folder) : []
      if (values.json) console.log(JSON.stringify(missions, null, 2))
      else if (missions.length === 0) console.log(`${folder}: no mission has been started here.`)
      for (const { headline, tasks } of values.json ? [] : missions) {
        console.log(headline)
        for (const task of tasks) console.log(`  ${task.id} ${task.state}: ${task.title}`)
      }
      return 0
    }
    case "verify": {
      const { sequence, hash } = verifyJournal(folder)
      console.log(`${folder}: ${sequence} records verified, the last is ${hash}`)
      return 0
    }
    case "export": {
      if (!values.output) {
        console.error("export: --output is missing: the file to write, such as journal.ndjson")
        return 2
      }
      const { sequence } = exportJournal(folder, values.output)
      console.log(`${values.output}: ${sequence} records written`)
      return 0
    }
    default:
      console.error(`There is no command ${JSON.stringify(command)}.\n\n${HELP}`)
      return 2
  }
}

try {
  process.exitCode = main()
} catch (error) {
  const code = error instanceof OrchestratorError ? ` (${error.code})` : ""
  console.error(`${error instanceof Error ? error.message : String(error)}${code}`)
  process.exitCode = 1
}

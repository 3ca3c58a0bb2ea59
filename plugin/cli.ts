/** The command line: looks at the missions of a project without OpenCode. */
import { existsSync } from "node:fs"
import { parseArgs } from "node:util"
import {
  exportJournal,
  hasJournal,
  OrchestratorError,
  readMissions,
  type ReplayReport,
  replayJournal,
  verifyJournal,
} from "./native.ts"

const HELP = `opencode-orchestrator <command> [folder]

  status            how the missions of the project stand (--json for programs)
  verify            check the journal of the project, record by record
  replay <mission>  decide everything in the journal again, and compare with what was decided then (--json for programs);
                    the mission is named as in status, such as m1
  export            write the journal to a file, a JSON object a line (--output journal.ndjson)

The folder is the project's; without it, the current one.
Exit codes: 0 all is well, 1 something is wrong with the journal or a decision differs, 2 the command cannot be read.`

function main(): number {
  const { values, positionals } = parseArgs({
    options: { help: { type: "boolean", short: "h" }, json: { type: "boolean" }, output: { type: "string" } },
    allowPositionals: true,
  })
  const [command, ...operands] = positionals
  const mission = command === "replay" ? operands.shift() : undefined
  const folder = operands.shift() ?? process.cwd()
  if (values.help || command === undefined) {
    console.log(HELP)
    return command === undefined && !values.help ? 2 : 0
  }
  if (command === "replay" && !/^m\d+$/.test(mission ?? "")) {
    console.error("replay: which mission? Name it as status does, such as m1.")
    return 2
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
    case "replay": {
      const report = replayJournal(folder, mission)
      console.log(values.json ? JSON.stringify(report, null, 2) : replayText(report))
      return report.divergence ? 1 : 0
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

function replayText({ records, effects, mission, state, divergence }: ReplayReport): string {
  if (!divergence) {
    return `${mission?.headline}\n${records} records gave the same ${effects} effects again; the state is ${state}`
  }
  const { sequence, event, decided, replayed } = divergence
  return [
    `record ${sequence} leads to another decision now.`,
    `event:   ${JSON.stringify(event)}`,
    `decided: ${JSON.stringify(decided)}`,
    `now:     ${JSON.stringify(replayed)}`,
  ].join("\n")
}

try {
  process.exitCode = main()
} catch (error) {
  const code = error instanceof OrchestratorError ? ` (${error.code})` : ""
  console.error(`${error instanceof Error ? error.message : String(error)}${code}`)
  // What `parseArgs` throws has a code of Node's.
  process.exitCode = error instanceof TypeError && "code" in error ? 2 : 1
}

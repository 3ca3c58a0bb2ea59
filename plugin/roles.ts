/**
 * Registers our agents and commands in OpenCode's configuration. What the user has defined stays as it is: where a name
 * is taken, ours gets a prefix.
 */
import type { Config } from "@opencode-ai/plugin"
import commander from "./agents/commander.md"
import planner from "./agents/planner.md"
import reviewer from "./agents/reviewer.md"
import worker from "./agents/worker.md"
import { TOOL_NAMES } from "./tools.ts"

export type RoleName = "commander" | "planner" | "worker" | "reviewer"
export type CommandName = "task" | "stop" | "status"

/** Under which names the host knows our roles and commands. */
export interface Registered {
  agents: Record<RoleName, string>
  /** From the host's name to ours. */
  commands: Map<string, CommandName>
  /** Names that were taken, with those that ours got. */
  renamed: [name: string, ours: string][]
}

type Rules = Record<string, string | Record<string, string>>

const SEARCH = { grep_search: "allow", glob_search: "allow", ast_search: "allow" }
/** Reading, as the host allows it by default: files with secrets need asking, and a session nobody watches cannot ask. */
const READ = { "*": "allow", "*.env": "deny", "*.env.*": "deny", "*.env.example": "allow" }
/** Roles that only look: everything else is off. */
const LOOK: Rules = { "*": "deny", read: READ, list: "allow", ...SEARCH }

const ROLES: Record<RoleName, { prompt: string; description: string; permission: Rules }> = {
  commander: {
    prompt: commander,
    description: "Speaks for a mission in the session in which it was started.",
    permission: { ...LOOK, mission_status: "allow", revise_plan: "allow" },
  },
  planner: {
    prompt: planner,
    description: "Plans a mission.",
    permission: { ...LOOK, submit_plan: "allow" },
  },
  worker: {
    prompt: worker,
    description: "Carries out one task of a mission.",
    // A worker works as the user's own agent would, but delegates nothing, asks nobody, and keeps no list of its own.
    permission: {
      ...SEARCH,
      submit_work: "allow",
      // Ours do all that these do.
      grep: "deny",
      glob: "deny",
      task: "deny",
      todowrite: "deny",
      todoread: "deny",
      question: "deny",
      doom_loop: "allow",
    },
  },
  reviewer: {
    prompt: reviewer,
    description: "Reviews the work of a mission.",
    permission: { ...LOOK, submit_review: "allow" },
  },
}

const COMMANDS: Record<CommandName, { template: string; description: string }> = {
  task: {
    template: "Mission: $ARGUMENTS",
    description: "Plan, carry out, check and review a change as a mission; without an objective: resume",
  },
  stop: { template: "Stop the mission. $ARGUMENTS", description: "Stop the mission of this session" },
  status: { template: "Mission status. $ARGUMENTS", description: "Show how the missions of this project stand" },
}

const PREFIX = "orchestrator-"

export function register(config: Config): Registered {
  const registered: Registered = {
    agents: { commander: "", planner: "", worker: "", reviewer: "" },
    commands: new Map(),
    renamed: [],
  }
  const free = (name: string, taken: object | undefined) => {
    const ours = taken && name in taken ? PREFIX + name : name
    if (ours !== name) registered.renamed.push([name, ours])
    return ours
  }
  const rules = (config.permission ?? {}) as Rules
  const hidden: Rules = Object.fromEntries(TOOL_NAMES.map((name) => [name, "deny"]))

  // The last rule that matches wins: our tools stay away from every agent that is not ours.
  for (const agent of Object.values(config.agent ?? {})) {
    if (agent?.permission) agent.permission = without(agent.permission as Rules, hidden)
  }

  const agents = (config.agent ??= {})
  // The commands of a plan are run by the engine; they need what the user's rules for `bash` say of them.
  const others = typeof rules["*"] === "string" ? rules["*"] : "allow"
  const check_command = underUsers({ "*": others }, rules["bash"])
  const read = underUsers(READ, rules["read"])
  for (const [role, { prompt, description, permission }] of Object.entries(ROLES)) {
    const name = free(role, agents)
    registered.agents[role as RoleName] = name
    agents[name] = {
      prompt,
      description,
      // Hidden primary agents are neither offered to other agents nor in the list the user switches through.
      mode: "primary",
      hidden: true,
      permission: { ...permission, ...("read" in permission && { read }), check_command } as object,
    }
  }

  config.permission = without(rules, hidden) as NonNullable<Config["permission"]>

  const commands = (config.command ??= {})
  for (const [command, { template, description }] of Object.entries(COMMANDS)) {
    const name = free(command, commands)
    registered.commands.set(name, command as CommandName)
    commands[name] = { template, description, agent: registered.agents.commander }
  }
  return registered
}

/** Patterns with the user's behind them, where they win. */
function underUsers(patterns: Record<string, string>, users: Rules[string] | undefined): Rules[string] {
  return typeof users === "string" ? users : { ...patterns, ...users }
}

/** The rules with ours at the end, where they win. */
function without(rules: Rules, ours: Rules): Rules {
  const others = Object.entries(rules).filter(([name]) => !(name in ours))
  return { ...Object.fromEntries(others), ...ours }
}

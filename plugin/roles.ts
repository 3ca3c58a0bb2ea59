/**
 * Registers our agents and commands in OpenCode's configuration. What the user has defined stays as it is: where a name
 * is taken, ours gets a prefix.
 */
import type { Config } from "@opencode-ai/plugin"
import coder from "./agents/coder.md"
import commander from "./agents/commander.md"
import fixer from "./agents/fixer.md"
import planner from "./agents/planner.md"
import reviewer from "./agents/reviewer.md"
import searcher from "./agents/searcher.md"
import worker from "./agents/worker.md"
import { TOOL_NAMES } from "./tools.ts"

export type RoleName = "commander" | "planner" | "worker" | "reviewer" | "searcher" | "coder" | "fixer"
export type CommandName = "task" | "plan" | "fix" | "review" | "search" | "stop" | "status" | "agents"

/** Under which names the host knows our roles and commands. */
export interface Registered {
  agents: Record<RoleName, string>
  /** From the host's name to ours. */
  commands: Map<string, CommandName>
  /** Names that were taken, with those that ours got. */
  renamed: [name: string, ours: string][]
}

type Rules = Record<string, string | Record<string, string>>

const allow = (...tools: string[]) => Object.fromEntries(tools.map((tool) => [tool, "allow"]))
/** What every role finds its way with. */
const SEARCH = allow("grep_search", "glob_search", "symbols")
/** Reading, as the host allows it by default: files with secrets need asking, and a session nobody watches cannot ask. */
const READ = { "*": "allow", "*.env": "deny", "*.env.*": "deny", "*.env.example": "allow" }
/** Roles that only look: everything else is off. */
const LOOK: Rules = { "*": "deny", read: READ, list: "allow", ...SEARCH }

export const ROLES: Record<RoleName, { prompt: string; description: string; permission: Rules; isMode?: true }> = {
  commander: {
    prompt: commander,
    description: "Speaks for a mission in the session in which it was started.",
    permission: { ...LOOK, ...allow("mission_status", "revise_plan", "git_status") },
  },
  planner: {
    prompt: planner,
    description: "Plans a mission.",
    permission: { ...LOOK, ...allow("submit_plan", "mgrep", "ast_search", "file_stats", "git_log") },
  },
  worker: {
    prompt: worker,
    description: "Carries out one task of a mission.",
    // A worker works as the user's own agent would, but delegates nothing, asks nobody, and keeps no list of its own.
    permission: {
      ...SEARCH,
      ...allow("submit_work", "ast_search", "replace", "sed_replace", "ast_replace", "jq", "git_diff"),
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
    permission: { ...LOOK, ...allow("submit_review", "git_status", "git_diff", "diff") },
  },
  searcher: {
    prompt: searcher,
    description: "Answers questions about the project in your own session, reading only; /search speaks to it.",
    permission: LOOK,
    isMode: true,
  },
  coder: {
    prompt: coder,
    description: "Makes a change in your own session, as a worker would, without a mission.",
    permission: SEARCH,
    isMode: true,
  },
  fixer: {
    prompt: fixer,
    description: "Mends what is broken in your own session, from a failing check to a passing one.",
    permission: SEARCH,
    isMode: true,
  },
}

interface Command {
  template: string
  description: string
  /** Whose session answers it. */
  agent: RoleName
  /** Further names, as far as the user has nothing of that name. */
  aliases?: string[]
}

const COMMANDS: Record<CommandName, Command> = {
  task: {
    template: "Mission: $ARGUMENTS",
    description: "Plan, carry out, check and review a change as a mission; without an objective: resume",
    agent: "commander",
    aliases: ["auto", "dag"],
  },
  plan: {
    template: "Mission, plan first: $ARGUMENTS",
    description: "Plan a mission and ask before anything is done; then: approve, edit <what>, refuse <why>",
    agent: "commander",
  },
  fix: { template: "Mission, a fix: $ARGUMENTS", description: "Have one thing mended and checked, as a mission of one task", agent: "commander" },
  review: { template: "Review. $ARGUMENTS", description: "Review the changes of the working tree", agent: "reviewer" },
  search: { template: "Find out: $ARGUMENTS", description: "Ask something about the project, reading only", agent: "searcher" },
  stop: { template: "Stop the mission. $ARGUMENTS", description: "Stop the mission of this session", agent: "commander", aliases: ["cancel"] },
  status: { template: "Mission status. $ARGUMENTS", description: "Show how the missions of this project stand", agent: "commander" },
  agents: { template: "Agents. $ARGUMENTS", description: "Show roles and modes, their models and slots", agent: "commander" },
}

const PREFIX = "orchestrator-"

export function register(config: Config): Registered {
  const registered: Registered = {
    agents: { commander: "", planner: "", worker: "", reviewer: "", searcher: "", coder: "", fixer: "" },
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
  for (const [role, { prompt, description, permission, isMode }] of Object.entries(ROLES)) {
    const name = free(role, agents)
    registered.agents[role as RoleName] = name
    agents[name] = {
      prompt,
      description,
      // Primary agents are not offered to other agents; hidden ones are not in the list the user switches through.
      mode: "primary",
      ...(!isMode && { hidden: true }),
      permission: { ...permission, ...("read" in permission && { read }), check_command } as object,
    }
  }

  config.permission = without(rules, hidden) as NonNullable<Config["permission"]>

  const commands = (config.command ??= {})
  for (const [command, { template, description, agent, aliases = [] }] of Object.entries(COMMANDS)) {
    for (const name of [free(command, commands), ...aliases.filter((alias) => !(alias in commands))]) {
      registered.commands.set(name, command as CommandName)
      commands[name] = { template, description, agent: registered.agents[agent] }
    }
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

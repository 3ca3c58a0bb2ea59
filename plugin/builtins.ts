/**
 * OpenCode's own `grep` and `glob`, answered by the native tools: the same arguments, permissions and form of the answer, and
 * whatever the host's would find. Registered only with the option `replaceBuiltins`.
 */
import { realpath, stat } from "node:fs/promises"
import { dirname, join, relative, resolve, sep } from "node:path"
import type { ToolContext, ToolResult } from "@opencode-ai/plugin"
import { glob, grep } from "./native.ts"
import type { Tool } from "./tools.ts"

/** How many results the host gives. */
const RESULTS = 100

/** Where the host would search. */
interface Place {
  /** Absolute. Results are shown below it. */
  folder: string
  isFolder: boolean
}

/**
 * Finds the folder that a call means, and asks the user about one outside the project, as the host does; about what a link
 * leads to as well.
 */
async function place(path: string | undefined, context: ToolContext): Promise<Place> {
  const target = resolve(context.directory, path ?? ".")
  const isFolder = await stat(target).then(
    (stats) => stats.isDirectory(),
    // What is not there, the search itself tells.
    () => false,
  )
  const folder = isFolder ? target : dirname(target)
  for (const reached of new Set([folder, await realpath(folder).catch(() => folder)])) {
    const roots = [context.directory, context.worktree].filter((root) => root !== sep)
    const resolved = await Promise.all(roots.map((root) => realpath(root).catch(() => root)))
    if ([...roots, ...resolved].some((root) => isWithin(root, reached))) continue
    const pattern = join(reached, "*").replaceAll("\\", "/")
    const metadata = { filepath: isFolder ? reached : target, parentDir: reached }
    await context.ask({ permission: "external_directory", patterns: [pattern], always: [pattern], metadata })
  }
  return { folder, isFolder }
}

function isWithin(root: string, path: string): boolean {
  const way = relative(root, path)
  return way === "" || !(way === ".." || way.startsWith(`..${sep}`) || resolve(way) === way)
}

async function grepTool(args: unknown, context: ToolContext): Promise<ToolResult> {
  const { pattern, path, include } = texts(args)
  if (!pattern) throw new Error("pattern is required")
  await context.ask({ permission: "grep", patterns: [pattern], always: ["*"], metadata: { pattern, path, include } })
  const { folder } = await place(path, context)
  const options = { pattern, globs: include ? [include] : [], overrideIgnore: true, hidden: true, maxResults: RESULTS }
  const { matches, truncated } = await grep(options, { cwd: folder, signal: context.abort })
  const lines = matches.length === 0 ? ["No files found"] : [`Found ${matches.length} matches${truncated ? " (more matches available)" : ""}`]
  let file: string | undefined
  for (const match of matches) {
    if (match.path !== file) {
      if (file !== undefined) lines.push("")
      file = match.path
      lines.push(`${resolve(folder, match.path)}:`)
    }
    lines.push(`  Line ${match.line}: ${match.text}`)
  }
  if (truncated) lines.push("", "(Results truncated. Consider using a more specific path or pattern.)")
  return { title: pattern, metadata: { matches: matches.length, truncated }, output: lines.join("\n") }
}

async function globTool(args: unknown, context: ToolContext): Promise<ToolResult> {
  const { pattern, path } = texts(args)
  if (!pattern) throw new Error("pattern is required")
  await context.ask({ permission: "glob", patterns: [pattern], always: ["*"], metadata: { pattern, path } })
  const { folder, isFolder } = await place(path, context)
  if (path !== undefined && !isFolder) throw new Error(`glob path must be a directory: ${resolve(context.directory, path)}`)
  const options = { pattern, overrideIgnore: true, maxResults: RESULTS }
  const { paths, truncated } = await glob(options, { cwd: folder, signal: context.abort })
  const lines = paths.length === 0 ? ["No files found"] : paths.map((found) => resolve(folder, found))
  if (truncated) {
    lines.push("", `(Results are truncated: showing first ${paths.length} results. Consider using a more specific path or pattern.)`)
  }
  return { title: relative(context.worktree, folder), metadata: { count: paths.length, truncated }, output: lines.join("\n") }
}

/** The host checks no arguments of a plugin's tools. */
function texts(args: unknown): Record<string, string | undefined> {
  for (const [name, value] of Object.entries(args ?? {})) {
    if (value !== undefined && typeof value !== "string") throw new Error(`${name}: expected a string, found ${JSON.stringify(value)}`)
  }
  return (args ?? {}) as Record<string, string | undefined>
}

function schema(properties: Record<string, string>): object {
  const described = Object.entries(properties).map(([name, description]) => [name, { type: "string", description }])
  return { type: "object", properties: Object.fromEntries(described), required: ["pattern"], additionalProperties: false }
}

const FOLDER = "The folder to search. Default: the working directory."

/** The tools under the names of the host's, whose place they take. */
export function builtins(): Record<string, Tool> {
  return {
    grep: {
      description: `Search file contents with a regular expression. Gives the path and line of up to ${RESULTS} matching lines.`,
      schema: schema({
        pattern: "The regular expression to look for, in ripgrep's syntax.",
        path: FOLDER,
        include: "Search only files that match this glob, such as `*.js` or `*.{ts,tsx}`.",
      }),
      execute: grepTool,
    },
    glob: {
      description: `List files whose path matches a glob such as \`**/*.js\` or \`src/**/*.ts\`, up to ${RESULTS}.`,
      schema: schema({ pattern: "The glob to match paths with.", path: FOLDER }),
      execute: globTool,
    },
  }
}

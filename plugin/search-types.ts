// Generated from the Rust types by `npm run build`. Do not edit.
/**
 * A limit that kept something out of an answer.
 */
export type Limit = "maxResults" | "answerBytes" | "timeLimit" | "treeDepth" | "fileBytes" | "syntaxDepth" | "lineChars"
/**
 * What a meta-variable stands for.
 */
export type Bound = string | string[]

/**
 * The answer of an editing tool.
 */
export interface EditAnswer {
  /**
   * Whether the changes were written: all of them, or, without `apply`, none.
   */
  applied: boolean
  /**
   * What was, or would be, changed, as a unified diff.
   */
  diff: string
  /**
   * The files, sorted by path; all of them, however much of `diff` was cut.
   */
  files: EditedFile[]
  /**
   * How many files were searched.
   */
  filesSearched: number
  /**
   * The limits that were met; empty when `diff` is whole and every file was looked at.
   */
  limits: Limit[]
  /**
   * Files that were left out, by reason.
   */
  skipped: Skipped
}
/**
 * A file that was, or would be, changed.
 */
export interface EditedFile {
  /**
   * How many lines were added.
   */
  added: number
  /**
   * Path relative to the project, with `/`.
   */
  path: string
  /**
   * How many lines were removed.
   */
  removed: number
  /**
   * How many replacements there are in it.
   */
  replacements: number
}
/**
 * Files and folders that were not searched, by reason. What the ignore rules, `globs` and `types` left out is not
 * among them.
 */
export interface Skipped {
  /**
   * Files that hold binary data.
   */
  binary: number
  /**
   * Links, devices, FIFOs and sockets.
   */
  special: number
  /**
   * Files whose syntax is nested too deeply.
   */
  tooDeep: number
  /**
   * Files beyond the size limit.
   */
  tooLarge: number
  /**
   * Files and folders that could not be read.
   */
  unreadable: number
}
/**
 * The answer of a structural search, sorted by path, then by place.
 */
export interface AstSearchAnswer {
  /**
   * How many files were searched or listed. Varies from call to call when `truncated`.
   */
  filesSearched: number
  /**
   * How to get what is missing, in one sentence; `null` when nothing is.
   */
  hint: string | null
  /**
   * The limits that were met; empty when nothing was cut.
   */
  limits: Limit[]
  /**
   * What was found. Matches may be nested. A few more than `maxResults` when several begin at one place.
   */
  matches: AstMatch[]
  /**
   * Pass this as `after` to get the results that follow; `null` when there are none or when they cannot be continued.
   */
  next: Cursor | null
  /**
   * What was left out, by reason.
   */
  skipped: Skipped
  /**
   * Whether results may be missing. If not, these are all there are.
   */
  truncated: boolean
}
/**
 * A piece of code with the shape of the pattern.
 */
export interface AstMatch {
  /**
   * Column of the first character, from 1, in UTF-16 units.
   */
  column: number
  /**
   * Column after the last character, from 1, in UTF-16 units.
   */
  endColumn: number
  /**
   * Last line, from 1.
   */
  endLine: number
  /**
   * First line, from 1.
   */
  line: number
  /**
   * Path relative to the project root, with `/`.
   */
  path: string
  /**
   * The code, cut to 2,000 characters.
   */
  text: string
  /**
   * The code that each meta-variable stands for, by its name without `$`, each cut to 2,000 characters.
   */
  variables: {
    [k: string]: Bound
  }
}
/**
 * A place in the results: everything up to and including it was given.
 */
export interface Cursor {
  /**
   * Column as in the results; 0 when results are whole files.
   */
  column: number
  /**
   * Line as in the results; 0 when results are whole files, or when they were last changed, in microseconds since the
   * epoch, if they are sorted by that.
   */
  line: number
  /**
   * Path as in the results.
   */
  path: string
}
/**
 * What differs, line by line.
 */
export interface DiffAnswer {
  /**
   * How many lines were added.
   */
  added: number
  /**
   * Whether one side holds binary data. It is not compared by lines then.
   */
  binary: boolean
  /**
   * The unified diff; empty when nothing differs, and when one side is binary.
   */
  diff: string
  /**
   * Whether the two are the same, byte by byte.
   */
  equal: boolean
  /**
   * How many places differ, as many as `diff` has hunks when it is whole.
   */
  hunks: number
  /**
   * The limits that were met; empty when nothing was cut.
   */
  limits: Limit[]
  /**
   * How many lines were removed.
   */
  removed: number
  /**
   * Whether hunks are missing in `diff`. The numbers count all of them.
   */
  truncated: boolean
}
/**
 * The statistics of a tree.
 */
export interface FileStatsAnswer {
  /**
   * How large they are together.
   */
  bytes: number
  /**
   * How many files.
   */
  files: number
  /**
   * How many files were searched or listed. Varies from call to call when `truncated`.
   */
  filesSearched: number
  /**
   * How to get what is missing, in one sentence; `null` when nothing is.
   */
  hint: string | null
  /**
   * By language, the one with most bytes first.
   */
  languages: LanguageStats[]
  /**
   * The largest files, the largest first.
   */
  largest: LargeFile[]
  /**
   * The limits that were met; empty when nothing was cut.
   */
  limits: Limit[]
  /**
   * How many lines they have together.
   */
  lines: number
  /**
   * Pass this as `after` to get the results that follow; `null` when there are none or when they cannot be continued.
   */
  next: Cursor | null
  /**
   * What was left out, by reason.
   */
  skipped: Skipped
  /**
   * Whether results may be missing. If not, these are all there are.
   */
  truncated: boolean
}
/**
 * The files of one language.
 */
export interface LanguageStats {
  /**
   * How large they are together.
   */
  bytes: number
  /**
   * How many files.
   */
  files: number
  /**
   * Its name, such as `Rust`; the ending, such as `.xyz`, where no language is known; `binary` for binary data; `other`
   * for the rest.
   */
  language: string
  /**
   * How many lines they have together; 0 for binary data.
   */
  lines: number
}
/**
 * One of the largest files.
 */
export interface LargeFile {
  /**
   * How large it is.
   */
  bytes: number
  /**
   * How many lines it has; 0 for binary data.
   */
  lines: number
  /**
   * Path relative to the project root, with `/`.
   */
  path: string
}
/**
 * The answer of `git_diff`.
 */
export interface GitDiffAnswer {
  /**
   * The unified diff, or with `stat` the numbers of lines; empty when nothing differs.
   */
  diff: string
  /**
   * The limits that were met; empty when nothing was cut.
   */
  limits: Limit[]
}
/**
 * The answer of `git_log`.
 */
export interface GitLogAnswer {
  /**
   * The commits, newest first.
   */
  commits: Commit[]
  /**
   * The limits that were met; empty when nothing was cut.
   */
  limits: Limit[]
  /**
   * Pass this as `skip` for those that follow; `null` when these are the last.
   */
  next: number | null
}
/**
 * A commit.
 */
export interface Commit {
  /**
   * Who wrote it.
   */
  author: string
  /**
   * The rest of its message.
   */
  body: string
  /**
   * When, as in `2026-01-31T12:00:00+01:00`.
   */
  date: string
  /**
   * The whole hash.
   */
  hash: string
  /**
   * The first line of its message.
   */
  subject: string
}
/**
 * The answer of `git_status`.
 */
export interface GitStatusAnswer {
  /**
   * How many commits it is ahead of `upstream`.
   */
  ahead: number
  /**
   * How many commits it is behind `upstream`.
   */
  behind: number
  /**
   * The branch; `null` when none is checked out.
   */
  branch: string | null
  /**
   * The commit; `null` before the first.
   */
  commit: string | null
  /**
   * The files, sorted by path.
   */
  entries: StatusEntry[]
  /**
   * The limits that were met; empty when nothing was cut.
   */
  limits: Limit[]
  /**
   * The branch that it follows.
   */
  upstream: string | null
}
/**
 * A file that is not as it was committed.
 */
export interface StatusEntry {
  /**
   * Of a renamed file, what it was called.
   */
  from?: string | null
  /**
   * Path relative to the project, with `/`.
   */
  path: string
  /**
   * Two letters as of `git status --short`: of the index and of the file. `M` modified, `A` added, `D` deleted, `R`
   * renamed, `U` in conflict, `??` untracked.
   */
  status: string
}
/**
 * The answer of a file search.
 */
export interface GlobAnswer {
  /**
   * How many files were searched or listed. Varies from call to call when `truncated`.
   */
  filesSearched: number
  /**
   * How to get what is missing, in one sentence; `null` when nothing is.
   */
  hint: string | null
  /**
   * The limits that were met; empty when nothing was cut.
   */
  limits: Limit[]
  /**
   * Pass this as `after` to get the results that follow; `null` when there are none or when they cannot be continued.
   */
  next: Cursor | null
  /**
   * The files, relative to the project root, with `/`, in the order asked for.
   */
  paths: string[]
  /**
   * What was left out, by reason.
   */
  skipped: Skipped
  /**
   * Whether results may be missing. If not, these are all there are.
   */
  truncated: boolean
}
/**
 * The answer of a text search, sorted by path, then line.
 */
export interface GrepAnswer {
  /**
   * The files, with `output: "files"` or `"counts"`; empty otherwise.
   */
  files: FileMatch[]
  /**
   * How many files were searched or listed. Varies from call to call when `truncated`.
   */
  filesSearched: number
  /**
   * How to get what is missing, in one sentence; `null` when nothing is.
   */
  hint: string | null
  /**
   * The limits that were met; empty when nothing was cut.
   */
  limits: Limit[]
  /**
   * The matching lines, with `output: "lines"`; empty otherwise.
   */
  matches: GrepMatch[]
  /**
   * Pass this as `after` to get the results that follow; `null` when there are none or when they cannot be continued.
   */
  next: Cursor | null
  /**
   * What was left out, by reason.
   */
  skipped: Skipped
  /**
   * Whether results may be missing. If not, these are all there are.
   */
  truncated: boolean
}
/**
 * A file with a match.
 */
export interface FileMatch {
  /**
   * How many of its lines match; only with `output: "counts"`.
   */
  count?: number | null
  /**
   * Path relative to the project root, with `/`.
   */
  path: string
}
/**
 * A matching line, or several when the match spans lines.
 */
export interface GrepMatch {
  /**
   * The lines after it, as many as `afterContext` asks for and no other result shows.
   */
  after?: string[]
  /**
   * The lines before it, as many as `beforeContext` asks for and no other result shows.
   */
  before?: string[]
  /**
   * Column of the first match in the line, from 1, in UTF-16 units.
   */
  column: number
  /**
   * Line of the match, from 1.
   */
  line: number
  /**
   * Path relative to the project root, with `/`.
   */
  path: string
  /**
   * The line without its end; invalid UTF-8 replaced, and cut to 2,000 characters around the match.
   */
  text: string
}
/**
 * The answer of `jq`.
 */
export interface JqAnswer {
  /**
   * Why the filter did not come to its end; `null` when it did.
   */
  error: string | null
  /**
   * The limits that were met; empty when nothing was cut.
   */
  limits: Limit[]
  /**
   * What the filter gives, each value as JSON in one line; texts as they are with `raw`.
   */
  values: string[]
}
/**
 * The answer of a search for many patterns.
 */
export interface MgrepAnswer {
  /**
   * How many files were searched or listed. Varies from call to call when `truncated`.
   */
  filesSearched: number
  /**
   * How to get what is missing, in one sentence; `null` when nothing is.
   */
  hint: string | null
  /**
   * The limits that were met; empty when nothing was cut.
   */
  limits: Limit[]
  /**
   * Pass this as `after` to get the results that follow; `null` when there are none or when they cannot be continued.
   */
  next: Cursor | null
  /**
   * The results of each pattern, in the order of `patterns`. A line that several match is among the results of each.
   */
  patterns: PatternMatches[]
  /**
   * What was left out, by reason.
   */
  skipped: Skipped
  /**
   * Whether results may be missing. If not, these are all there are.
   */
  truncated: boolean
}
/**
 * What was found of one pattern, sorted by path, then line.
 */
export interface PatternMatches {
  /**
   * The files, with `output: "files"` or `"counts"`; empty otherwise.
   */
  files: FileMatch[]
  /**
   * The matching lines, with `output: "lines"`; empty otherwise.
   */
  matches: GrepMatch[]
  /**
   * Where the results that were cut begin: give this as `after` to `grep_search` with this pattern. `null` when
   * nothing was cut, or when the time was over.
   */
  next: Cursor | null
  /**
   * The pattern.
   */
  pattern: string
}
/**
 * The answer of an outline, sorted by path, then by place.
 */
export interface SymbolsAnswer {
  /**
   * How many files were searched or listed. Varies from call to call when `truncated`.
   */
  filesSearched: number
  /**
   * How to get what is missing, in one sentence; `null` when nothing is.
   */
  hint: string | null
  /**
   * The limits that were met; empty when nothing was cut.
   */
  limits: Limit[]
  /**
   * Pass this as `after` to get the results that follow; `null` when there are none or when they cannot be continued.
   */
  next: Cursor | null
  /**
   * What was left out, by reason.
   */
  skipped: Skipped
  /**
   * The symbols.
   */
  symbols: Symbol[]
  /**
   * Whether results may be missing. If not, these are all there are.
   */
  truncated: boolean
}
/**
 * A definition.
 */
export interface Symbol {
  /**
   * Column of the first character, from 1, in bytes.
   */
  column: number
  /**
   * How many symbols of the file it is inside of.
   */
  depth: number
  /**
   * Last line, from 1.
   */
  endLine: number
  /**
   * What it is: `function`, `method`, `class`, `struct`, `enum`, `interface`, …
   */
  kind: string
  /**
   * First line, from 1.
   */
  line: number
  /**
   * Its name; of a method in Go with its type, of an `impl` in Rust with its trait.
   */
  name: string
  /**
   * Path relative to the project, with `/`.
   */
  path: string
}

/**
 * Options of structural replace: `pattern`, `language` and `rewrite`, or a `rule` with a `fix`.
 */
export interface AstReplaceOptions {
  /**
   * Write the changes. Without it nothing is changed, and the answer shows what would be.
   */
  apply?: boolean
  /**
   * Only files that match one of these globs, as in a .gitignore; `!` leaves files out.
   */
  globs?: string[]
  /**
   * Hidden files and folders too.
   */
  hidden?: boolean
  /**
   * The language of both, such as `typescript`.
   */
  language?: string | null
  /**
   * Files that ignore files hide too.
   */
  noIgnore?: boolean
  /**
   * The folder or file, relative to the project or absolute.
   */
  path?: string
  /**
   * One piece of code to find, as in `ast_search`.
   */
  pattern?: string | null
  /**
   * The code to put in its place; `$NAME` and `$$$NAME` stand for what the pattern's stand for.
   */
  rewrite?: string | null
  /**
   * In place of these: an ast-grep rule as YAML, with `language`, `rule` and `fix`.
   */
  rule?: string | null
}

/**
 * Options of a structural search: `pattern` with `language`, or `rule`.
 */
export interface AstSearchOptions {
  /**
   * Return the results after this place: `next` of an earlier answer to the same options.
   */
  after?: {
    /**
     * Column as in the results; 0 when results are whole files.
     */
    column: number
    /**
     * Line as in the results; 0 when results are whole files, or when they were last changed, in microseconds since the
     * epoch, if they are sorted by that.
     */
    line: number
    /**
     * Path as in the results.
     */
    path: string
  } | null
  /**
   * Search only files that match one of these globs, relative to `path`, as in a .gitignore. A leading `!` leaves
   * files out. What ignore files hide stays hidden.
   */
  globs?: string[]
  /**
   * Search hidden files and folders too (names that begin with a dot), except `.git`.
   */
  hidden?: boolean
  /**
   * The language of the pattern and of the files to search: `typescript`, `tsx`, `python`, `rust`, … `.ts` and `.tsx`
   * are two languages.
   */
  language?: string | null
  /**
   * How many results to return at most, 1 to 1,000.
   */
  maxResults?: number
  /**
   * Search files that .gitignore, .ignore and the like hide.
   */
  noIgnore?: boolean
  /**
   * The folder or file to search, relative to the project root or absolute inside it.
   */
  path?: string
  /**
   * One piece of code to look for, as in ast-grep: `$NAME` stands for one node and is returned, the same name twice
   * for the same code; `$$$ARGS` for any number of nodes; `$_` for any node. Example: `console.log($$$ARGS)`.
   */
  pattern?: string | null
  /**
   * In place of both: an ast-grep rule as YAML, with `language` and `rule`, and `constraints`, `utils`, `transform`,
   * `files`, `ignores` where needed.
   */
  rule?: string | null
}

/**
 * Options of a diff: one of `before` and `beforeText`, and one of `after` and `afterText`.
 */
export interface DiffOptions {
  /**
   * Path of the new file.
   */
  after?: string | null
  /**
   * The new text, in place of `after`.
   */
  afterText?: string | null
  /**
   * Path of the old file.
   */
  before?: string | null
  /**
   * The old text, in place of `before`.
   */
  beforeText?: string | null
  /**
   * Lines to show around each change, 0 to 20. Default: 3.
   */
  context?: number
}

/**
 * Options of the statistics of a tree. None is required.
 */
export interface FileStatsOptions {
  /**
   * Count only files that match one of these globs, relative to `path`, as in a .gitignore: `*.ts`, `src/**`. A
   * leading `!` leaves files out. What ignore files hide stays hidden.
   */
  globs?: string[]
  /**
   * Count hidden files and folders too (names that begin with a dot), except `.git`.
   */
  hidden?: boolean
  /**
   * How many of the largest files to list, 0 to 100.
   */
  largest?: number
  /**
   * Count files that .gitignore, .ignore and the like hide.
   */
  noIgnore?: boolean
  /**
   * The folder or file to count, relative to the project root or absolute inside it.
   */
  path?: string
  /**
   * Count only files of these types, by ripgrep's names: `rust`, `ts`, `py`.
   */
  types?: string[]
}

/**
 * Options of `git_diff`.
 */
export interface GitDiffOptions {
  /**
   * Lines to show around each change, 0 to 20. Default: 3.
   */
  context?: number
  /**
   * The revision to compare from. Default: the index, so that what is not staged is shown.
   */
  from?: string | null
  /**
   * Only these files and folders, relative to the project.
   */
  paths?: string[]
  /**
   * What is staged, in place of what is not.
   */
  staged?: boolean
  /**
   * Numbers of lines by file, without the changes.
   */
  stat?: boolean
  /**
   * The revision to compare to, with `from`. Default: the files as they are.
   */
  to?: string | null
}

/**
 * Options of `git_log`.
 */
export interface GitLogOptions {
  /**
   * How many commits to return at most, 1 to 1,000. Default: 20.
   */
  maxResults?: number
  /**
   * Only commits whose message contains this text.
   */
  message?: string | null
  /**
   * Only commits that change these files and folders, relative to the project.
   */
  paths?: string[]
  /**
   * The revision, or range as `main..HEAD`. Default: `HEAD`.
   */
  revision?: string | null
  /**
   * How many of the newest commits to leave out.
   */
  skip?: number
}

/**
 * Options of `git_status`.
 */
export interface GitStatusOptions {
  /**
   * How many entries to return at most, 1 to 1,000.
   */
  maxResults?: number
  /**
   * Only these files and folders, relative to the project.
   */
  paths?: string[]
}

/**
 * Options of a file search. Only `pattern` is required.
 */
export interface GlobOptions {
  /**
   * Return the results after this place: `next` of an earlier answer to the same options.
   */
  after?: {
    /**
     * Column as in the results; 0 when results are whole files.
     */
    column: number
    /**
     * Line as in the results; 0 when results are whole files, or when they were last changed, in microseconds since the
     * epoch, if they are sorted by that.
     */
    line: number
    /**
     * Path as in the results.
     */
    path: string
  } | null
  /**
   * List hidden files and folders too (names that begin with a dot), except `.git`.
   */
  hidden?: boolean
  /**
   * How many results to return at most, 1 to 1,000.
   */
  maxResults?: number
  /**
   * List files that .gitignore, .ignore and the like hide.
   */
  noIgnore?: boolean
  /**
   * Read `pattern` as ripgrep's `--glob`: it may begin with `!`, and what it matches is listed although ignore files
   * or a leading dot hide it.
   */
  overrideIgnore?: boolean
  /**
   * The folder to search, relative to the project root or absolute inside it.
   */
  path?: string
  /**
   * A glob relative to `path`, such as `src/**`, `docs/*.md` or `*.{rs,toml}`. `*` and `?` stay within a folder,
   * `**` as a whole name stands for any number of folders. A pattern without `/` matches names at any depth. At
   * most 4 KiB.
   */
  pattern: string
  /**
   * The order of the results.
   */
  sort?: "path" | "modified"
}

/**
 * Options of a text search. Only `pattern` is required.
 */
export interface GrepOptions {
  /**
   * Return the results after this place: `next` of an earlier answer to the same options.
   */
  after?: {
    /**
     * Column as in the results; 0 when results are whole files.
     */
    column: number
    /**
     * Line as in the results; 0 when results are whole files, or when they were last changed, in microseconds since the
     * epoch, if they are sorted by that.
     */
    line: number
    /**
     * Path as in the results.
     */
    path: string
  } | null
  /**
   * Lines to show after each match, 0 to 20.
   */
  afterContext?: number
  /**
   * Lines to show before each match, 0 to 20.
   */
  beforeContext?: number
  /**
   * Take `pattern` as plain text.
   */
  fixedStrings?: boolean
  /**
   * Search only files that match one of these globs, relative to `path`, as in a .gitignore: `*.ts`, `src/**`. A
   * leading `!` leaves files out. What ignore files hide stays hidden.
   */
  globs?: string[]
  /**
   * Search hidden files and folders too (names that begin with a dot), except `.git`.
   */
  hidden?: boolean
  /**
   * Match upper and lower case alike.
   */
  ignoreCase?: boolean
  /**
   * How many results to return at most, 1 to 1,000.
   */
  maxResults?: number
  /**
   * Let a match span lines; `\n` may then be used in `pattern`. Reads whole files.
   */
  multiline?: boolean
  /**
   * Search files that .gitignore, .ignore and the like hide.
   */
  noIgnore?: boolean
  /**
   * What to return.
   */
  output?: "lines" | "files" | "counts"
  /**
   * Search what `globs` name although ignore files or a leading dot hide it, as with ripgrep's `--glob`.
   */
  overrideIgnore?: boolean
  /**
   * The folder or file to search, relative to the project root or absolute inside it.
   */
  path?: string
  /**
   * What to look for: a regular expression in the syntax of Rust's regex crate (as ripgrep; no look-around, no
   * back-references), or plain text with `fixedStrings`. At most 64 KiB.
   */
  pattern: string
  /**
   * Match upper and lower case alike if `pattern` has no upper-case letter.
   */
  smartCase?: boolean
  /**
   * Search only files of these types, by ripgrep's names: `rust`, `ts`, `py`.
   */
  types?: string[]
  /**
   * Match whole words only.
   */
  word?: boolean
}

/**
 * Options of `jq`: `filter`, and one of `path` and `text`.
 */
export interface JqOptions {
  /**
   * The jq filter, such as `.dependencies | keys`.
   */
  filter: string
  /**
   * The JSON file.
   */
  path?: string | null
  /**
   * Give texts as they are, without quotes.
   */
  raw?: boolean
  /**
   * The JSON text, in place of `path`.
   */
  text?: string | null
}

/**
 * Options of a search for many patterns. Only `patterns` is required.
 */
export interface MgrepOptions {
  /**
   * Take `patterns` as plain text.
   */
  fixedStrings?: boolean
  /**
   * Search only files that match one of these globs, relative to `path`, as in a .gitignore: `*.ts`, `src/**`. A
   * leading `!` leaves files out. What ignore files hide stays hidden.
   */
  globs?: string[]
  /**
   * Search hidden files and folders too (names that begin with a dot), except `.git`.
   */
  hidden?: boolean
  /**
   * Match upper and lower case alike.
   */
  ignoreCase?: boolean
  /**
   * How many results of each pattern to return at most, 1 to 1,000.
   */
  maxResults?: number
  /**
   * Search files that .gitignore, .ignore and the like hide.
   */
  noIgnore?: boolean
  /**
   * What to return.
   */
  output?: "lines" | "files" | "counts"
  /**
   * The folder or file to search, relative to the project root or absolute inside it.
   */
  path?: string
  /**
   * What to look for, 1 to 100 patterns: regular expressions in the syntax of Rust's regex crate (as ripgrep; no
   * look-around, no back-references), or plain texts with `fixedStrings`. At most 64 KiB each.
   *
   * @minItems 1
   * @maxItems 100
   */
  patterns: [string, ...string[]]
  /**
   * Match upper and lower case alike where a pattern has no upper-case letter.
   */
  smartCase?: boolean
  /**
   * Search only files of these types, by ripgrep's names: `rust`, `ts`, `py`.
   */
  types?: string[]
  /**
   * Match whole words only.
   */
  word?: boolean
}

/**
 * Options of find and replace. `pattern` and `replacement` are required.
 */
export interface ReplaceOptions {
  /**
   * Write the changes. Without it nothing is changed, and the answer shows what would be.
   */
  apply?: boolean
  /**
   * Take `pattern` and `replacement` as plain text.
   */
  fixedStrings?: boolean
  /**
   * Only files that match one of these globs, as in a .gitignore; `!` leaves files out.
   */
  globs?: string[]
  /**
   * Hidden files and folders too.
   */
  hidden?: boolean
  /**
   * Match upper and lower case alike.
   */
  ignoreCase?: boolean
  /**
   * Let a match span lines.
   */
  multiline?: boolean
  /**
   * Files that ignore files hide too.
   */
  noIgnore?: boolean
  /**
   * The folder or file, relative to the project or absolute.
   */
  path?: string
  /**
   * What to find: a regular expression as in ripgrep, or plain text with `fixedStrings`.
   */
  pattern: string
  /**
   * What to put in its place. `$1` and `${name}` stand for groups, `$$` for a dollar sign; with `fixedStrings` it is
   * taken as it is.
   */
  replacement: string
  /**
   * Match whole words only.
   */
  word?: boolean
}

/**
 * Options of an outline.
 */
export interface SymbolsOptions {
  /**
   * Go on after this place: `next` of an earlier answer to the same options.
   */
  after?: {
    /**
     * Column as in the results; 0 when results are whole files.
     */
    column: number
    /**
     * Line as in the results; 0 when results are whole files, or when they were last changed, in microseconds since the
     * epoch, if they are sorted by that.
     */
    line: number
    /**
     * Path as in the results.
     */
    path: string
  } | null
  /**
   * Only files that match one of these globs, as in a .gitignore; `!` leaves files out.
   */
  globs?: string[]
  /**
   * Hidden files and folders too.
   */
  hidden?: boolean
  /**
   * How many symbols to return at most, 1 to 1,000.
   */
  maxResults?: number
  /**
   * Only symbols whose name contains this, upper and lower case alike.
   */
  name?: string | null
  /**
   * Files that ignore files hide too.
   */
  noIgnore?: boolean
  /**
   * The file or folder, relative to the project or absolute.
   */
  path?: string
}

/** What each tool takes and gives. */
export interface Tools {
  /** Replace code by its structure, in every file that matches. Shows a diff; writes only with `apply`. */
  ast_replace: { options: AstReplaceOptions; answer: EditAnswer }
  /** Search code by its structure with an ast-grep pattern such as `console.log($ARG)`, or a rule. */
  ast_search: { options: AstSearchOptions; answer: AstSearchAnswer }
  /** Compare two files or texts. Answers a unified diff. */
  diff: { options: DiffOptions; answer: DiffAnswer }
  /** Count the files, bytes and lines of a folder by language, and list its largest files. Honours .gitignore. */
  file_stats: { options: FileStatsOptions; answer: FileStatsAnswer }
  /** What has changed since a commit, is staged, or differs between commits. */
  git_diff: { options: GitDiffOptions; answer: GitDiffAnswer }
  /** Commits, newest first. */
  git_log: { options: GitLogOptions; answer: GitLogAnswer }
  /** Which files are not as they were committed. */
  git_status: { options: GitStatusOptions; answer: GitStatusAnswer }
  /** List files whose path matches a glob pattern. Honours .gitignore. */
  glob_search: { options: GlobOptions; answer: GlobAnswer }
  /** Search file contents with a regular expression. Honours .gitignore. Answers path:line: text. */
  grep_search: { options: GrepOptions; answer: GrepAnswer }
  /** Run a jq filter on a JSON file or text. */
  jq: { options: JqOptions; answer: JqAnswer }
  /** Search file contents for many regular expressions in one pass, with the results of each. Honours .gitignore. */
  mgrep: { options: MgrepOptions; answer: MgrepAnswer }
  /** Find and replace text, in every file that matches. Shows a diff; writes only with `apply`. */
  replace: { options: ReplaceOptions; answer: EditAnswer }
  /** Outline of a file or folder: what is defined where. Answers path:line: kind name. */
  symbols: { options: SymbolsOptions; answer: SymbolsAnswer }
}

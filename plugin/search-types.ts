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
 * Options of a structural search. `pattern` and `language` are required.
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
   * The language of the pattern and of the files to search, such as `typescript`, `tsx`, `python`, `rust`. Only
   * files with the endings of that language are searched: `.ts` and `.tsx` are two languages.
   */
  language: string
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
  pattern: string
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

/** What each tool takes and gives. */
export interface Tools {
  /** Search code by its structure with an ast-grep pattern such as `console.log($ARG)`. */
  ast_search: { options: AstSearchOptions; answer: AstSearchAnswer }
  /** Count the files, bytes and lines of a folder by language, and list its largest files. Honours .gitignore. */
  file_stats: { options: FileStatsOptions; answer: FileStatsAnswer }
  /** List files whose path matches a glob pattern. Honours .gitignore. */
  glob_search: { options: GlobOptions; answer: GlobAnswer }
  /** Search file contents with a regular expression. Honours .gitignore. Answers path:line: text. */
  grep_search: { options: GrepOptions; answer: GrepAnswer }
  /** Search file contents for many regular expressions in one pass, with the results of each. Honours .gitignore. */
  mgrep: { options: MgrepOptions; answer: MgrepAnswer }
}

/** A piscina worker's job: parses a file and counts what matches, with the parser and matcher that ours uses too. */
import { readFileSync } from "node:fs"
import { js } from "@ast-grep/napi"

/** @param {{ path: string, pattern: string }} job @returns {number} */
export default function countMatches({ path, pattern }) {
  return js.parse(readFileSync(path, "utf8")).root().findAll(pattern).length
}

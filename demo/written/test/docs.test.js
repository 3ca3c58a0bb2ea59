import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { test } from "node:test"

const read = (path) => readFileSync(new URL(`../${path}`, import.meta.url), "utf8")

test("the README names every route", () => {
  const routes = [...read("src/routes.js").matchAll(/\.add\("(\w+)", "([^"]+)"/g)].map(([, method, path]) => `\`${method} ${path}\``)
  assert.ok(routes.length > 0)
  const readme = read("README.md")
  assert.deepEqual(routes.filter((route) => !readme.includes(route)), [])
})

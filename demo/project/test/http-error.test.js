import assert from "node:assert/strict"
import { test } from "node:test"
import { HttpError } from "../src/http-error.js"

test("an HttpError carries its status", () => {
  const error = new HttpError(404, "no such note")
  assert.ok(error instanceof Error)
  assert.equal(error.status, 404)
  assert.equal(error.message, "no such note")
})

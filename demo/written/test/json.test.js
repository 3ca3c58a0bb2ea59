import assert from "node:assert/strict"
import { Readable } from "node:stream"
import { test } from "node:test"
import { readJson, sendJson } from "../src/json.js"

const request = (...chunks) => Readable.from(chunks.map((chunk) => Buffer.from(chunk)))

/** A response that notes what it was told. */
function response() {
  const told = {}
  const self = {
    told,
    writeHead: (status, headers = {}) => (Object.assign(told, { status, headers }), self),
    end: (body) => Object.assign(told, { body: body?.toString() }),
  }
  return self
}

test("a body in pieces is read as one, also when a character is cut", async () => {
  const bytes = Buffer.from('{"title":"é"}')
  assert.deepEqual(await readJson(request(bytes.subarray(0, 11), bytes.subarray(11))), { title: "é" })
})

test("an empty body is undefined", async () => {
  assert.equal(await readJson(request()), undefined)
})

test("a body that is no JSON, or too large, is refused", async () => {
  await assert.rejects(readJson(request("{")), { status: 400 })
  await assert.rejects(readJson(request("[1,", "2,3]"), 5), { status: 413 })
})

test("an answer has its type and its length in bytes", () => {
  const { told, ...to } = response()
  sendJson(to, 201, { title: "é" })
  assert.deepEqual(told, {
    status: 201,
    headers: { "content-type": "application/json", "content-length": 14 },
    body: '{"title":"é"}',
  })
})

test("an answer without a value has no body", () => {
  const { told, ...to } = response()
  sendJson(to, 204)
  assert.deepEqual(told, { status: 204, headers: {}, body: undefined })
})

import assert from "node:assert/strict"
import { once } from "node:events"
import { after, before, test } from "node:test"
import { Router } from "../src/router.js"
import { createServer } from "../src/server.js"

const router = new Router()
  .add("POST", "/echo/:name", ({ params, query, body }) => ({ status: 200, body: { params, q: query.get("q"), body } }))
  .add("GET", "/nothing", () => ({ status: 204 }))
  .add("GET", "/fault", () => {
    throw new TypeError("secret detail")
  })
const server = createServer(router)
let url

before(async () => {
  await once(server.listen(0, "127.0.0.1"), "listening")
  url = `http://127.0.0.1:${server.address().port}`
})
after(() => {
  server.close()
  server.closeAllConnections()
})

test("a handler gets parameters, query and body", async () => {
  const response = await fetch(`${url}/echo/a?q=b`, { method: "POST", body: '{"c":1}' })
  assert.equal(response.status, 200)
  assert.deepEqual(await response.json(), { params: { name: "a" }, q: "b", body: { c: 1 } })
})

test("an answer without a body has none", async () => {
  const response = await fetch(`${url}/nothing`)
  assert.equal(response.status, 204)
  assert.equal(await response.text(), "")
})

test("the client's mistakes are told", async () => {
  const expect = async (status, path, options) => {
    const response = await fetch(url + path, options)
    assert.equal(response.status, status)
    assert.ok((await response.json()).error)
  }
  await expect(404, "/unknown")
  await expect(405, "/nothing", { method: "POST" })
  await expect(400, "/echo/a", { method: "POST", body: "{" })
  await expect(413, "/echo/a", { method: "POST", body: "x".repeat(100_000) })
})

test("a fault of ours is 500 and tells nothing", async (t) => {
  const logged = t.mock.method(console, "error", () => {})
  const response = await fetch(`${url}/fault`)
  assert.equal(response.status, 500)
  assert.deepEqual(await response.json(), { error: "internal error" })
  assert.equal(logged.mock.callCount(), 1)
})

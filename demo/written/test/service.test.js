import assert from "node:assert/strict"
import { once } from "node:events"
import { after, before, test } from "node:test"
import { createRouter } from "../src/routes.js"
import { createServer } from "../src/server.js"
import { NoteStore } from "../src/store.js"

const server = createServer(createRouter(new NoteStore()))
let url

before(async () => {
  await once(server.listen(0, "127.0.0.1"), "listening")
  url = `http://127.0.0.1:${server.address().port}`
})
after(() => {
  server.close()
  server.closeAllConnections()
})

async function call(method, path, body) {
  const response = await fetch(url + path, { method, body: body && JSON.stringify(body) })
  const text = await response.text()
  return { status: response.status, body: text === "" ? undefined : JSON.parse(text) }
}

test("a client keeps, finds, changes and removes notes", async () => {
  const { status, body: milk } = await call("POST", "/notes", { title: "Milk", text: "two litres" })
  assert.equal(status, 201)
  await call("POST", "/notes", { title: "Bread" })
  assert.deepEqual((await call("GET", "/notes?q=milk")).body, [milk])
  assert.equal((await call("PUT", `/notes/${milk.id}`, { title: "Oat milk" })).body.title, "Oat milk")
  assert.deepEqual(await call("DELETE", `/notes/${milk.id}`), { status: 204, body: undefined })
  assert.deepEqual((await call("GET", "/notes")).body.map(({ title }) => title), ["Bread"])
})

test("a client that errs is told where", async () => {
  assert.deepEqual(await call("POST", "/notes", { title: "Milk", text: 5 }), {
    status: 400,
    body: { error: "text: expected a text" },
  })
  assert.equal((await call("POST", "/notes", { title: "   " })).status, 400)
  assert.equal((await call("GET", "/notes/none")).status, 404)
  assert.equal((await call("PATCH", "/notes")).status, 405)
})

test("many clients at once lose nothing", async () => {
  const before = (await call("GET", "/notes")).body.length
  await Promise.all(Array.from({ length: 50 }, (_, index) => call("POST", "/notes", { title: `Note ${index}` })))
  assert.equal((await call("GET", "/notes")).body.length, before + 50)
})

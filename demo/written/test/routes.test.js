import assert from "node:assert/strict"
import { test } from "node:test"
import { createRouter } from "../src/routes.js"
import { NoteStore } from "../src/store.js"

/** Calls the handler of a route as the server does. */
function caller() {
  const router = createRouter(new NoteStore())
  return (method, target, body) => {
    const { pathname, searchParams } = new URL(target, "http://localhost")
    const { handler, params } = router.match(method, pathname)
    return handler({ params, query: searchParams, body })
  }
}

test("a note lives: created, read, changed, removed", () => {
  const call = caller()
  const { status, body: note } = call("POST", "/notes", { title: "Milk" })
  assert.equal(status, 201)
  assert.deepEqual(call("GET", `/notes/${note.id}`), { status: 200, body: note })
  const changed = call("PUT", `/notes/${note.id}`, { title: "Oat milk", text: "one litre" })
  assert.deepEqual([changed.status, changed.body.title, changed.body.text], [200, "Oat milk", "one litre"])
  assert.deepEqual(call("DELETE", `/notes/${note.id}`), { status: 204 })
  assert.throws(() => call("GET", `/notes/${note.id}`), { status: 404 })
})

test("the list is searched with q", () => {
  const call = caller()
  call("POST", "/notes", { title: "Milk" })
  call("POST", "/notes", { title: "Bread" })
  assert.deepEqual(call("GET", "/notes").body.map(({ title }) => title), ["Milk", "Bread"])
  assert.deepEqual(call("GET", "/notes?q=bread").body.map(({ title }) => title), ["Bread"])
})

test("a note that does not exist is 404", () => {
  const call = caller()
  assert.throws(() => call("GET", "/notes/7"), { status: 404 })
  assert.throws(() => call("PUT", "/notes/7", { title: "x" }), { status: 404 })
  assert.throws(() => call("DELETE", "/notes/7"), { status: 404 })
})

test("a body that is no note is 400, and changes nothing", () => {
  const call = caller()
  const { body: note } = call("POST", "/notes", { title: "Milk" })
  assert.throws(() => call("PUT", `/notes/${note.id}`, { title: "" }), { status: 400 })
  assert.throws(() => call("POST", "/notes", undefined), { status: 400 })
  assert.deepEqual(call("GET", "/notes").body, [note])
})

import assert from "node:assert/strict"
import { test } from "node:test"
import { Router } from "../src/router.js"

const list = () => "list"
const show = () => "show"
const remove = () => "remove"
const router = new Router().add("GET", "/notes", list).add("GET", "/notes/:id", show).add("DELETE", "/notes/:id", remove)

test("a route is found by method and path", () => {
  assert.deepEqual(router.match("GET", "/notes"), { handler: list, params: {} })
  assert.deepEqual(router.match("GET", "/notes/7"), { handler: show, params: { id: "7" } })
  assert.deepEqual(router.match("DELETE", "/notes/7"), { handler: remove, params: { id: "7" } })
})

test("a parameter is decoded", () => {
  assert.deepEqual(router.match("GET", "/notes/caf%C3%A9%2F1").params, { id: "café/1" })
})

test("a parameter that cannot be decoded is the client's mistake", () => {
  assert.throws(() => router.match("GET", "/notes/%E0%A4%A"), { status: 400 })
})

test("an unknown path is 404, an empty parameter too", () => {
  for (const path of ["/", "/note", "/notes/", "/notes/7/8"]) assert.throws(() => router.match("GET", path), { status: 404 })
})

test("another method is 405, and the error names those that are allowed", () => {
  assert.throws(() => router.match("PATCH", "/notes/7"), { status: 405, message: "/notes/7 allows GET, DELETE" })
})

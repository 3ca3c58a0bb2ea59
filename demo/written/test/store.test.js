import assert from "node:assert/strict"
import { test } from "node:test"
import { NoteStore } from "../src/store.js"

test("a note that was created is found again", () => {
  const store = new NoteStore()
  const note = store.create({ title: "Milk", text: "two litres" })
  assert.deepEqual(store.get(note.id), note)
  assert.equal(note.created, note.updated)
})

test("a note that is changed outside stays as it is inside", () => {
  const store = new NoteStore()
  const note = store.create({ title: "Milk", text: "" })
  note.title = "Beer"
  assert.equal(store.get(note.id).title, "Milk")
})

test("the list is in order of creation, and searches title and text", () => {
  const store = new NoteStore()
  store.create({ title: "Milk", text: "two litres" })
  store.create({ title: "Bread", text: "goes with milk" })
  store.create({ title: "Soap", text: "" })
  assert.deepEqual(store.list().map(({ title }) => title), ["Milk", "Bread", "Soap"])
  assert.deepEqual(store.list("MILK").map(({ title }) => title), ["Milk", "Bread"])
  assert.deepEqual(store.list("nothing like it"), [])
})

test("an update replaces what can be changed, and nothing else", () => {
  const store = new NoteStore()
  const { id, created } = store.create({ title: "Milk", text: "" })
  const updated = store.update(id, { title: "Oat milk", text: "one litre", id: "other" })
  assert.deepEqual({ ...updated, updated: "" }, { id, created, title: "Oat milk", text: "one litre", updated: "" })
  assert.equal(store.update("unknown", { title: "x", text: "" }), undefined)
})

test("a note is removed once", () => {
  const store = new NoteStore()
  const { id } = store.create({ title: "Milk", text: "" })
  assert.equal(store.remove(id), true)
  assert.equal(store.remove(id), false)
  assert.equal(store.get(id), undefined)
})

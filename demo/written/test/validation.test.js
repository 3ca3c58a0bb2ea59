import assert from "node:assert/strict"
import { test } from "node:test"
import { parseNote } from "../src/validation.js"

const refused = (body, message) => assert.throws(() => parseNote(body), { status: 400, message })

test("a note with title and text is taken, the text may be left out", () => {
  assert.deepEqual(parseNote({ title: "Milk", text: "two litres" }), { title: "Milk", text: "two litres" })
  assert.deepEqual(parseNote({ title: "Milk" }), { title: "Milk", text: "" })
})

test("what is no object is refused", () => {
  for (const body of [null, "Milk", 1, ["Milk"]]) refused(body, "expected a JSON object")
})

test("a field that nobody knows is named", () => {
  refused({ title: "Milk", colour: "white" }, "colour: no such field; known are title, text")
})

test("a title that is missing or no text is refused", () => {
  for (const title of [undefined, "", 5, null]) refused({ title }, "title: expected a text")
})

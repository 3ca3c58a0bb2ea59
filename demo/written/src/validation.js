import { HttpError } from "./http-error.js"

const FIELDS = ["title", "text"]

/** Gives the title and text in a request's body. Throws an HttpError 400 that names the field at fault. */
export function parseNote(body) {
  if (body === null || typeof body !== "object" || Array.isArray(body)) {
    throw new HttpError(400, "expected a JSON object")
  }
  const unknown = Object.keys(body).find((key) => !FIELDS.includes(key))
  if (unknown !== undefined) throw new HttpError(400, `${unknown}: no such field; known are ${FIELDS.join(", ")}`)
  const { title, text = "" } = body
  if (typeof title !== "string" || title === "") throw new HttpError(400, "title: expected a text")
  return { title, text }
}

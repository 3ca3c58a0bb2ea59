import { HttpError } from "./http-error.js"
import { Router } from "./router.js"
import { parseNote } from "./validation.js"

/** The routes over a store. A handler takes `{ params, query, body }` and gives `{ status, body }`. */
export function createRouter(store) {
  const found = (note, id) => {
    if (!note) throw new HttpError(404, `there is no note ${id}`)
    return note
  }
  return new Router()
    .add("GET", "/health", () => ({ status: 200, body: { ok: true } }))
    .add("GET", "/notes", ({ query }) => ({ status: 200, body: store.list(query.get("q") ?? "") }))
    .add("POST", "/notes", ({ body }) => ({ status: 201, body: store.create(parseNote(body)) }))
    .add("GET", "/notes/:id", ({ params: { id } }) => ({ status: 200, body: found(store.get(id), id) }))
    .add("PUT", "/notes/:id", ({ params: { id }, body }) => ({
      status: 200,
      body: found(store.update(id, parseNote(body)), id),
    }))
    .add("DELETE", "/notes/:id", ({ params: { id } }) => {
      found(store.remove(id), id)
      return { status: 204 }
    })
}

import { HttpError } from "./http-error.js"

/** Finds the handler for a method and a path such as `/notes/:id`. */
export class Router {
  #routes = []

  add(method, pattern, handler) {
    this.#routes.push({ method, names: pattern.split("/"), handler })
    return this
  }

  /** Gives the handler and the parameters in the path. Throws an HttpError: 404, or 405 for another method. */
  match(method, path) {
    const parts = path.split("/")
    const routes = this.#routes.filter(({ names }) => fits(names, parts))
    if (routes.length === 0) throw new HttpError(404, `there is nothing at ${path}`)
    const route = routes.find((each) => each.method === method)
    if (!route) throw new HttpError(405, `${path} allows ${routes.map((each) => each.method).join(", ")}`)
    const params = route.names.flatMap((name, index) => (name.startsWith(":") ? [[name.slice(1), parts[index]]] : []))
    return { handler: route.handler, params: Object.fromEntries(params) }
  }
}

function fits(names, parts) {
  return names.length === parts.length && names.every((name, index) => (name.startsWith(":") ? parts[index] !== "" : name === parts[index]))
}

import { createServer as createHttpServer } from "node:http"
import { HttpError } from "./http-error.js"
import { readJson, sendJson } from "./json.js"

/** An HTTP server that answers with what the router's handlers give. It does not listen yet. */
export function createServer(router) {
  return createHttpServer(async (request, response) => {
    try {
      const { pathname, searchParams } = new URL(request.url, "http://localhost")
      const { handler, params } = router.match(request.method, pathname)
      const body = await readJson(request)
      const answer = await handler({ params, query: searchParams, body })
      sendJson(response, answer.status, answer.body)
    } catch (error) {
      if (error instanceof HttpError) {
        // The rest of a body that was refused is not read; the connection ends with the answer.
        response.setHeader("connection", "close")
        return sendJson(response, error.status, { error: error.message })
      }
      console.error(error)
      sendJson(response, 500, { error: "internal error" })
    }
  })
}

import { HttpError } from "./http-error.js"

const BODY_BYTES_MAX = 64 * 1024

/** Reads the JSON body of a request; undefined when it is empty. Throws an HttpError: 413 or 400. */
export async function readJson(request, bytesMax = BODY_BYTES_MAX) {
  const chunks = []
  let bytes = 0
  for await (const chunk of request) {
    bytes += chunk.length
    if (bytes > bytesMax) throw new HttpError(413, `the body is larger than ${bytesMax} bytes`)
    chunks.push(chunk)
  }
  if (bytes === 0) return undefined
  try {
    return JSON.parse(Buffer.concat(chunks).toString("utf8"))
  } catch {
    throw new HttpError(400, "the body is not JSON")
  }
}

/** Answers with the value as JSON; without a value, with no body. */
export function sendJson(response, status, value) {
  if (value === undefined) return void response.writeHead(status).end()
  const body = Buffer.from(JSON.stringify(value))
  response.writeHead(status, { "content-type": "application/json", "content-length": body.length }).end(body)
}

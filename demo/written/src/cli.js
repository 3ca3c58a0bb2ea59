import { parseArgs } from "node:util"
import { createRouter } from "./routes.js"
import { createServer } from "./server.js"
import { NoteStore } from "./store.js"

const { values } = parseArgs({ options: { port: { type: "string", default: "3000" } } })
const port = Number(values.port)
if (!Number.isInteger(port) || port < 0 || port > 65_535) {
  console.error(`--port: expected 0 to 65535, found ${values.port}`)
  process.exit(2)
}

const server = createServer(createRouter(new NoteStore()))
server.listen(port, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`))

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, () => {
    server.close()
    server.closeIdleConnections()
  })
}

import assert from "node:assert/strict"
import { execFile, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { after, test } from "node:test"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { parseScenario, ScenarioError, startModel } from "../demo/model.mjs"

const CLI = fileURLToPath(new URL("../demo/model.mjs", import.meta.url))
const folder = mkdtempSync(join(tmpdir(), "model-test-"))
after(() => rmSync(folder, { recursive: true, force: true }))

/** Starts a model for one test and closes it when the test is over. */
async function model(t, rules, more = {}) {
  const started = await startModel({ scenario: { rules, ...more } })
  t.after(() => started.close())
  return started
}

/** Posts one request; messages are `["role", "text"]` pairs or whole messages. */
async function post({ url }, messages, { session = "ses_1", stream = false, parent, tools, signal } = {}) {
  return fetch(`${url}/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-session-id": session, ...(parent && { "x-parent-session-id": parent }) },
    body: JSON.stringify({
      model: "scripted",
      stream,
      tools,
      messages: messages.map((message) => (Array.isArray(message) ? { role: message[0], content: message[1] } : message)),
    }),
    signal,
  })
}

/** The text of a non-streaming answer. */
async function say(server, messages, options) {
  const { choices } = await (await post(server, messages, options)).json()
  return choices[0].message.content
}

/** The data frames of a streamed answer, `[DONE]` included, read until the stream ends. */
async function frames(response) {
  return (await response.text())
    .split("\n\n")
    .filter(Boolean)
    .map((line) => line.slice("data: ".length))
    .map((data) => (data === "[DONE]" ? data : JSON.parse(data)))
}

const called = (name, id = "call_1") => ({ role: "assistant", content: null, tool_calls: [{ id, type: "function", function: { name, arguments: "{}" } }] })
const result = (text, id = "call_1") => ({ role: "tool", tool_call_id: id, content: text })

test("the first rule that matches and has a step left answers; then done; without a rule it is unmatched", async (t) => {
  const server = await model(t, [
    { name: "greet", when: { user: "^hello" }, steps: [{ text: "one" }, { text: "two" }] },
    { name: "later", when: { user: "hello" }, steps: [{ text: "three" }] },
  ])
  const said = []
  for (let i = 0; i < 4; i++) said.push(await say(server, [["user", "hello"]]))
  assert.deepEqual(said, ["one", "two", "three", "done"])
  assert.equal(await say(server, [["user", "hello"]], { session: "ses_2" }), "one", "each session has its own position")
  assert.equal(await say(server, [["user", "good bye"]]), "no rule")

  assert.deepEqual(
    server.requests.map(({ answer, rule, step }) => [answer, rule, step]),
    [["step", "greet", 0], ["step", "greet", 1], ["step", "later", 0], ["done", "greet", null], ["step", "greet", 0], ["unmatched", null, null]],
  )
  assert.deepEqual(server.unmatched().map(({ index }) => index), [5])
})

test("repeat gives the last step again and again", async (t) => {
  const server = await model(t, [{ name: "again", when: {}, steps: [{ text: "first" }, { text: "rest" }], repeat: true }])
  const said = []
  for (let i = 0; i < 4; i++) said.push(await say(server, [["user", "x"]]))
  assert.deepEqual(said, ["first", "rest", "rest", "rest"])
})

test("every condition of a rule must hold", async (t) => {
  const conversation = [["system", "You are the worker."], ["user", "task T-1"], called("read"), result("42 lines"), ["user", "go on"]]
  const cases = [
    [{ system: "worker" }, conversation, true],
    [{ system: "planner" }, conversation, false],
    [{ firstUser: "T-1", user: "go on" }, conversation, true],
    [{ user: "T-1" }, conversation, false],
    [{ system: "worker", user: "T-1" }, conversation, false],
    [{ lastTool: "read" }, conversation, false], // a user message came after it
    [{ lastToolResult: "42" }, conversation, false],
    [{ lastTool: "read" }, conversation.slice(0, 4), true],
    [{ lastTool: "write" }, conversation.slice(0, 4), false],
    [{ lastTool: "read", lastToolResult: "42" }, conversation.slice(0, 4), true],
    [{ lastTool: "read", lastToolResult: "43" }, conversation.slice(0, 4), false],
    [{ agent: "worker" }, conversation, true],
    [{ agent: "planner" }, conversation, false],
    [{ user: "parts" }, [["user", [{ type: "text", text: "in parts" }]]], true],
  ]
  for (const [when, messages, matches] of cases) {
    const server = await model(t, [{ name: "r", when, steps: [{ text: "yes" }] }], { agents: { worker: "You are the worker", planner: "You are the planner" } })
    assert.equal(await say(server, messages), matches ? "yes" : "no rule", JSON.stringify(when))
  }
})

test("the results of parallel calls are matched by tool, whatever their order", async (t) => {
  const server = await model(t, [{ name: "r", when: { lastTool: "write", lastToolResult: "^wrote (?<file>\\S+)$" }, steps: [{ text: "${file}" }] }])
  const calls = { role: "assistant", content: null, tool_calls: [...called("write", "a").tool_calls, ...called("read", "b").tool_calls] }
  assert.equal(await say(server, [["user", "x"], calls, result("wrote a.txt", "a"), result("nothing", "b")]), "a.txt")
})

test("captures fill texts and arguments; an escaped or dotted placeholder stays", async (t) => {
  const args = { id: "${id}", files: ["src/${id}.ts", { deep: "${mode}${none}" }], code: "`$${id} ${a.b}`", count: 3 }
  const server = await model(t, [{ name: "r", when: { system: "mode=(?<mode>\\w+)", user: "task (?<id>\\S+)(?<none>!)?" }, steps: [{ tool: "submit", args }] }])
  const { choices } = await (await post(server, [["system", "mode=fast"], ["user", "do task T-7"]])).json()
  assert.deepEqual(JSON.parse(choices[0].message.tool_calls[0].function.arguments), {
    id: "T-7",
    files: ["src/T-7.ts", { deep: "fast" }],
    code: "`${id} ${a.b}`",
    count: 3,
  })
})

test("title and compaction requests take no step, unless a rule names them", async (t) => {
  const title = [["system", "You are a title generator. You output ONLY a thread title."], ["user", "hello"]]
  const compaction = [["system", "You are a context summarization agent. You are given"], ["user", "hello"]]
  const server = await model(t, [{ name: "r", when: {}, steps: [{ text: "mine" }] }])
  assert.equal(await say(server, title), "Scripted title")
  assert.match(await say(server, compaction), /summary/)
  assert.equal(await say(server, [["user", "hello"]]), "mine")
  assert.deepEqual(server.requests.map(({ agent, answer }) => [agent, answer]), [["title", "housekeeping"], ["compaction", "housekeeping"], [null, "step"]])

  const named = await model(t, [{ name: "t", when: { agent: "title" }, steps: [{ text: "My title" }] }])
  assert.equal(await say(named, title), "My title")
})

test("a request is recorded with its session, sizes and tools", async (t) => {
  const server = await model(t, [{ name: "r", when: {}, steps: [{ text: "ok" }] }], { agents: { worker: "Wörker" } })
  const tools = [{ type: "function", function: { name: "read", parameters: {} } }]
  await say(server, [["system", "Wörker"], ["user", "x"]], { session: "ses_c", parent: "ses_p", tools })
  const { at, endedAt, bodyBytes, messages, ...request } = await server.waitFor(({ endedAt }) => endedAt !== null, 1000)
  assert.deepEqual(request, {
    index: 0, sessionID: "ses_c", parentSessionID: "ses_p", agent: "worker", model: "scripted", answer: "step", rule: "r", step: 0,
    aborted: false, systemBytes: 7, toolsBytes: JSON.stringify(tools).length, tools: ["read"],
  })
  assert.ok(endedAt >= at && bodyBytes > request.systemBytes + request.toolsBytes && messages.length === 2)
})

test("a stream carries reasoning, text, parallel calls, finish reason and usage, in pieces", async (t) => {
  const text = "A longer text with an emoji 🦀 so that it takes more than one piece of the stream."
  const server = await model(t, [
    { name: "r", when: {}, steps: [{ reasoning: "hmm", text, tools: [{ name: "a", args: { x: "y".repeat(60) } }, { name: "b" }], usage: { input: 9 } }] },
  ])
  const all = await frames(await post(server, [["user", "x"]], { stream: true }))
  assert.equal(all.pop(), "[DONE]")
  assert.deepEqual(all.pop().usage, { prompt_tokens: 9, completion_tokens: 40, total_tokens: 49 })
  const choices = all.map((frame) => frame.choices[0])
  assert.equal(choices.at(-1).finish_reason, "tool_calls")
  const deltas = choices.map(({ delta }) => delta)
  assert.equal(deltas.map((delta) => delta.reasoning_content ?? "").join(""), "hmm")
  assert.equal(deltas.map((delta) => delta.content ?? "").join(""), text)
  assert.ok(deltas.filter(({ content }) => content).length > 2)
  const calls = []
  for (const { index, id, function: call } of deltas.flatMap(({ tool_calls }) => tool_calls ?? [])) {
    if (id) calls[index] = { id, name: call.name, arguments: "" }
    calls[index].arguments += call.arguments
  }
  assert.deepEqual(calls, [
    { id: "call_0_0", name: "a", arguments: JSON.stringify({ x: "y".repeat(60) }) },
    { id: "call_0_1", name: "b", arguments: "{}" },
  ])
})

test("delays come before the answer and between its pieces", async (t) => {
  const server = await model(t, [{ name: "r", when: {}, steps: [{ text: "x".repeat(48), delayMs: 60, chunkDelayMs: 30 }] }])
  const start = performance.now()
  const response = await post(server, [["user", "x"]], { stream: true })
  assert.ok(performance.now() - start >= 59)
  await response.text()
  assert.ok(performance.now() - start >= 59 + 2 * 29)
})

test("fault noFinish: content, then a bare [DONE]", async (t) => {
  const server = await model(t, [{ name: "r", when: {}, steps: [{ text: "half", fault: "noFinish" }] }])
  const all = await frames(await post(server, [["user", "x"]], { stream: true }))
  assert.equal(all.pop(), "[DONE]")
  assert.ok(all.every(({ choices }) => choices[0].finish_reason === null))
  assert.equal(all.map(({ choices }) => choices[0].delta.content).join(""), "half")
})

test("fault httpStatus: status, headers and body as given", async (t) => {
  const server = await model(t, [{ name: "r", when: {}, steps: [{ httpStatus: 429, headers: { "retry-after": "7" } }, { httpStatus: 503, body: "down" }] }])
  const first = await post(server, [["user", "x"]], { stream: true })
  assert.deepEqual([first.status, first.headers.get("retry-after"), (await first.json()).error.message], [429, "7", "scripted HTTP 429"])
  const second = await post(server, [["user", "x"]])
  assert.deepEqual([second.status, await second.text()], [503, "down"])
})

test("fault hang: silence before the headers, or after a text, until the client leaves", async (t) => {
  const server = await model(t, [{ name: "r", when: {}, steps: [{ fault: "hang" }, { fault: "hang", text: "so far" }] }])
  await assert.rejects(post(server, [["user", "x"]], { stream: true, signal: AbortSignal.timeout(100) }), { name: "TimeoutError" })

  const leave = new AbortController()
  const { body } = await post(server, [["user", "x"]], { stream: true, signal: leave.signal })
  let seen = ""
  await assert.rejects(async () => {
    for await (const chunk of body) {
      seen += Buffer.from(chunk)
      if (seen.includes("so far")) leave.abort()
    }
  }, { name: "AbortError" })
  await server.waitFor(({ index, aborted }) => index === 1 && aborted, 1000)
  assert.deepEqual(server.requests.map(({ aborted }) => aborted), [true, true])
})

test("fault hang ends with the server", async () => {
  const server = await startModel({ scenario: { rules: [{ name: "r", when: {}, steps: [{ fault: "hang" }] }] } })
  const pending = post(server, [["user", "x"]])
  await server.waitFor(() => true, 1000)
  await server.close()
  await assert.rejects(pending, TypeError)
})

test("fault cut: the connection breaks in mid-answer", async (t) => {
  const step = { text: "x".repeat(100), fault: "cut" }
  const server = await model(t, [{ name: "r", when: {}, steps: [step, step] }])
  for (const stream of [true, false]) {
    const response = await post(server, [["user", "x"]], { stream })
    assert.equal(response.status, 200)
    await assert.rejects(response.text(), TypeError)
  }
})

test("fault html: a page with status 200", async (t) => {
  const server = await model(t, [{ name: "r", when: {}, steps: [{ fault: "html" }] }])
  const response = await post(server, [["user", "x"]], { stream: true })
  assert.deepEqual([response.status, response.headers.get("content-type")], [200, "text/html"])
  assert.match(await response.text(), /^<!doctype html>/)
})

test("fault drop: the connection breaks before an answer", async (t) => {
  const server = await model(t, [{ name: "r", when: {}, steps: [{ fault: "drop" }] }])
  await assert.rejects(post(server, [["user", "x"]], { stream: true }), TypeError)
  assert.equal(server.requests[0].aborted, false)
})

test("faults badChunk and sseError: a stream of something else", async (t) => {
  const server = await model(t, [{ name: "r", when: {}, steps: [{ fault: "badChunk" }, { fault: "sseError" }] }])
  const data = async () => (await (await post(server, [["user", "x"]], { stream: true })).text()).replace(/^data: /, "")
  const bad = await data()
  assert.throws(() => JSON.parse(bad), SyntaxError)
  assert.equal(JSON.parse(await data()).error.type, "overloaded_error")
})

test("fault contextOverflow: 400 with OpenAI's code", async (t) => {
  const server = await model(t, [{ name: "r", when: {}, steps: [{ fault: "contextOverflow" }] }])
  const response = await post(server, [["user", "x"]], { stream: true })
  assert.deepEqual([response.status, (await response.json()).error.code], [400, "context_length_exceeded"])
})

test("fault malformedArgs: the arguments are no JSON", async (t) => {
  const server = await model(t, [{ name: "r", when: {}, steps: [{ tool: "write", args: { path: "a" }, fault: "malformedArgs" }] }])
  const { choices } = await (await post(server, [["user", "x"]])).json()
  assert.equal(choices[0].message.tool_calls[0].function.arguments, '{"path":"a"')
})

test("fault emptyAnswer: stop without a word", async (t) => {
  const server = await model(t, [{ name: "r", when: {}, steps: [{ fault: "emptyAnswer" }] }])
  const all = await frames(await post(server, [["user", "x"]], { stream: true }))
  assert.deepEqual(all.slice(0, 2).map(({ choices }) => choices[0]), [
    { index: 0, delta: { role: "assistant", content: "" }, finish_reason: null },
    { index: 0, delta: {}, finish_reason: "stop" },
  ])
})

test("the finish reason can be set", async (t) => {
  const server = await model(t, [{ name: "r", when: {}, steps: [{ text: "cut of", finish: "length" }, { text: "no", finish: "content_filter" }] }])
  for (const finish of ["length", "content_filter"])
    assert.equal((await (await post(server, [["user", "x"]])).json()).choices[0].finish_reason, finish)
})

test("a bad scenario is refused with the path of each mistake", () => {
  const cases = [
    [{ rules: [] }, ["rules: "]],
    [{ rules: [{ name: "r", when: { user: "(" }, steps: [{ txt: "x" }, { text: "x", delayMs: "1" }] }] },
      ["rules[0].when.user: Invalid regular expression", 'rules[0].steps[0]: Unrecognized key: "txt"', "rules[0].steps[1].delayMs: "]],
    [{ rules: [{ name: "r", when: {}, steps: [{}] }] }, ["rules[0].steps[0]: a step needs one of"]],
    [{ rules: [{ name: "r", when: {}, steps: [{ tool: "a", tools: [{ name: "b" }] }] }] }, ["rules[0].steps[0].tools: give tool or tools"]],
    [{ rules: [{ name: "r", when: {}, steps: [{ text: "a", httpStatus: 500 }] }] }, ["rules[0].steps[0].httpStatus: cannot be combined with text"]],
    [{ rules: [{ name: "r", when: {}, steps: [{ text: "a", fault: "malformedArgs" }] }] }, ["rules[0].steps[0].fault: malformedArgs needs a tool"]],
    [{ rules: [{ name: "r", when: { user: "(?<id>x)" }, steps: [{ tool: "t", args: { a: ["${idd}"] } }] }] }, ["rules[0].steps[0].args.a[0]: ${idd} is no named group"]],
    [{ rules: [{ name: "r", when: { agent: "w" }, steps: [{ text: "a" }] }, { name: "r", when: {}, steps: [{ text: "a" }] }] },
      ['rules[0].when.agent: unknown agent "w"; known are title, compaction', 'rules[1].name: there is another rule "r"']],
  ]
  for (const [scenario, messages] of cases)
    assert.throws(() => parseScenario(scenario), (error) => {
      assert.ok(error instanceof ScenarioError)
      for (const message of messages) assert.ok(error.message.includes(message), `${error.message}\nlacks\n${message}`)
      return true
    })
  assert.throws(() => parseScenario(join(folder, "missing.json")), ScenarioError)
})

test("a $file is the text beside the scenario, and nothing in it is a placeholder", async (t) => {
  // Without it sources in a scenario are lines of JSON; with placeholders a template literal would be refused.
  writeFileSync(join(folder, "source.js"), "`${name} $${name}`")
  const scenario = join(folder, "with-file.json")
  const write = { name: "write", args: { filePath: "${file}.js", content: { $file: "source.js" } } }
  writeFileSync(scenario, JSON.stringify({ rules: [{ name: "a", when: { user: "(?<file>.*)" }, steps: [{ tools: [write] }] }] }))
  const server = await startModel({ scenario })
  t.after(() => server.close())
  const { choices } = await (await post(server, [["user", "it"]])).json()
  const args = JSON.parse(choices[0].message.tool_calls[0].function.arguments)
  assert.deepEqual(args, { filePath: "it.js", content: "`${name} $${name}`" })

  rmSync(join(folder, "source.js"))
  assert.throws(() => parseScenario(scenario), /with-file\.json: ENOENT/)
})

test("what is no chat request is refused", async (t) => {
  const server = await model(t, [{ name: "r", when: {}, steps: [{ text: "x" }] }])
  assert.equal((await fetch(`${server.url}/embeddings`)).status, 404)
  assert.equal((await fetch(`${server.url}/chat/completions`, { method: "POST", body: "{" })).status, 400)
  assert.equal((await fetch(`${server.url}/chat/completions`, { method: "POST", body: "{}" })).status, 400)
  assert.equal((await (await fetch(`${server.url}/models`)).json()).data[0].id, "scripted")
  assert.deepEqual(server.requests, [])
  await assert.rejects(server.waitFor(() => true, 20), /no such request in 20 ms/)
})

test("the command serves a file, logs requests, and explains a mistake", async () => {
  const file = join(folder, "scenario.json")
  const log = join(folder, "requests.jsonl")
  writeFileSync(file, JSON.stringify({ rules: [{ name: "r", when: {}, steps: [{ text: "from a file" }] }] }))
  const child = spawn(process.execPath, [CLI, "--scenario", file, "--log", log], { stdio: ["ignore", "pipe", "inherit"] })
  try {
    const [line] = await once(createInterface(child.stdout), "line")
    assert.equal(await say(JSON.parse(line), [["user", "x"]]), "from a file")
  } finally {
    child.kill()
  }
  await once(child, "exit")
  const logged = JSON.parse(readFileSync(log, "utf8"))
  assert.deepEqual([logged.rule, logged.step, logged.messages], ["r", 0, undefined])

  const run = promisify(execFile)
  assert.match((await run(process.execPath, [CLI, "--help"])).stdout, /--scenario file\.json/)
  writeFileSync(file, "{")
  await assert.rejects(run(process.execPath, [CLI, "--scenario", file]), (error) => error.code === 1 && error.stderr.startsWith(file))
})

/**
 * An npm registry on loopback that serves packed packages as if they were published, and asks the user's own registry
 * (`npm config get registry`) for everything else. With it OpenCode's own installer can be shown to install the package
 * by name and version, its platform binary by optional dependency, before anything is published.
 *
 * A package that is served here hides the versions of the same name elsewhere. Reading only: publishing is refused.
 * Node's trust in certificates applies (NODE_EXTRA_CA_CERTS); credentials of an upstream registry are not passed on.
 */
import { execFile } from "node:child_process"
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { createServer } from "node:http"
import { promisify } from "node:util"
import { gunzipSync } from "node:zlib"

const UPSTREAM_TIMEOUT_MS = 60_000
const TAR_BLOCK_BYTES = 512

/**
 * @typedef {object} Registry
 * @property {string} url Ends in a slash.
 * @property {Record<string, string>} env For the process that installs: its registry, and no audit.
 * @property {{ path: string, from: "local" | "upstream", status: number }[]} requests In order of arrival of the answers.
 * @property {() => Promise<void>} close
 */
/** @typedef {{ name: string, version: string, [field: string]: unknown }} Manifest */

/**
 * Starts the registry on 127.0.0.1. It does not keep the process alive by itself.
 * @param {{ tarballs: string[], upstream?: string }} options
 *   `tarballs`: paths of what `npm pack` made; of several versions of a package the last one is `latest`.
 *   `upstream`: URL of the registry for everything else; default what npm is configured with.
 * @returns {Promise<Registry>}
 */
export async function startRegistry({ tarballs, upstream }) {
  /** @type {Map<string, { manifest: Manifest, tarball: Buffer }[]>} */
  const packages = new Map()
  for (const path of tarballs) {
    const tarball = readFileSync(path)
    const manifest = readManifest(tarball, path)
    packages.set(manifest.name, [...(packages.get(manifest.name) ?? []), { manifest, tarball }])
  }
  /** @type {Promise<string> | undefined} */
  let upstreamUrl
  /** @type {Registry["requests"]} */
  const requests = []

  const server = createServer(async (req, res) => {
    const path = /** @type {string} */ (req.url)
    if (req.method !== "GET" && req.method !== "HEAD") return void res.writeHead(405).end()
    const answer = local(path) ?? (await passOn(path, req.headers.accept))
    requests.push({ path, from: answer.from, status: answer.status })
    res.writeHead(answer.status, { "content-type": answer.type, "content-length": answer.body.length }).end(answer.body)
  })
  await new Promise((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", () => resolve(undefined)))
  server.unref()
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address())
  const url = `http://127.0.0.1:${port}/`

  /** @param {string} path */
  function local(path) {
    const [name = "", file] = path.slice(1).replace(/%2f/i, "/").split("/-/")
    const versions = packages.get(name)
    if (!versions) return null
    if (file === undefined) return json(200, packument(name, versions))
    const found = versions.find(({ manifest }) => file === fileName(manifest))
    if (!found) return json(404, { error: `${name} has no ${file}` })
    return { from: /** @type {const} */ ("local"), status: 200, type: "application/octet-stream", body: found.tarball }
  }

  /** @param {string} name @param {{ manifest: Manifest, tarball: Buffer }[]} versions */
  function packument(name, versions) {
    const described = versions.map(({ manifest, tarball }) => [
      manifest.version,
      {
        ...manifest,
        _id: `${name}@${manifest.version}`,
        dist: {
          tarball: `${url}${name}/-/${fileName(manifest)}`,
          integrity: `sha512-${createHash("sha512").update(tarball).digest("base64")}`,
          shasum: createHash("sha1").update(tarball).digest("hex"),
        },
      },
    ])
    return { _id: name, name, "dist-tags": { latest: versions.at(-1)?.manifest.version }, versions: Object.fromEntries(described) }
  }

  /** @param {string} path @param {string | undefined} accept */
  async function passOn(path, accept) {
    try {
      upstreamUrl ??= upstream ? Promise.resolve(upstream) : configuredRegistry()
      const base = (await upstreamUrl).replace(/\/?$/, "/")
      const headers = accept ? [/** @type {[string, string]} */ (["accept", accept])] : []
      const response = await fetch(base + path.slice(1), { headers, signal: AbortSignal.timeout(UPSTREAM_TIMEOUT_MS) })
      const type = response.headers.get("content-type") ?? "application/octet-stream"
      const body = Buffer.from(await response.arrayBuffer())
      // Tarballs too come through us: who installs may not have the certificates for the upstream.
      const rewritten = type.includes("json") ? Buffer.from(body.toString("utf8").replaceAll(base, url)) : body
      return { from: /** @type {const} */ ("upstream"), status: response.status, type, body: rewritten }
    } catch (error) {
      return { ...json(502, { error: `upstream: ${/** @type {Error} */ (error).message}` }), from: /** @type {const} */ ("upstream") }
    }
  }

  return {
    url,
    env: { npm_config_registry: url, npm_config_audit: "false", npm_config_fund: "false" },
    requests,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** @param {number} status @param {unknown} value */
function json(status, value) {
  return { from: /** @type {const} */ ("local"), status, type: "application/json", body: Buffer.from(JSON.stringify(value)) }
}

/** @param {Manifest} manifest */
function fileName({ name, version }) {
  return `${name.split("/").at(-1)}-${version}.tgz`
}

/**
 * The package.json of a packed package, which npm keeps in the folder `package`.
 * @param {Buffer} tarball
 * @param {string} path For the error.
 * @returns {Manifest}
 */
function readManifest(tarball, path) {
  const tar = gunzipSync(tarball)
  for (let at = 0; at + TAR_BLOCK_BYTES <= tar.length; ) {
    const field = (/** @type {number} */ start, /** @type {number} */ length) =>
      tar.toString("utf8", at + start, at + start + length).replace(/\0.*$/s, "")
    const size = parseInt(field(124, 12), 8) || 0
    const start = at + TAR_BLOCK_BYTES
    if (field(0, 100) === "package/package.json") return JSON.parse(tar.toString("utf8", start, start + size))
    at = start + Math.ceil(size / TAR_BLOCK_BYTES) * TAR_BLOCK_BYTES
  }
  throw new Error(`${path}: no package/package.json in it`)
}

/** @returns {Promise<string>} */
async function configuredRegistry() {
  const { stdout } = await promisify(execFile)("npm", ["config", "get", "registry"], { timeout: UPSTREAM_TIMEOUT_MS })
  return stdout.trim()
}

/** Times two or more ways to do the same, one after the other in turns, so that what disturbs one disturbs all; and JavaScript's thread. */
import { readFileSync } from "node:fs"
import { performance } from "node:perf_hooks"

const ROUNDS_MIN = 5
/**
 * How long a turn lasts: one call, or as many as fit. All sides have turns of the same length, so that none is measured
 * with the caches that another has just filled with its own.
 */
const TURN_MS = 50
const WARM_UPS = 2

/**
 * @typedef {object} Side
 * @property {string} name
 * @property {() => Promise<number> | number} run Does it once and says how many hits it has.
 */

/**
 * Checks that all sides have the same number of hits, then runs them in turns for `seconds`.
 *
 * @param {Side[]} sides
 * @param {{ seconds: number }} options
 * @returns {Promise<{ medians: number[], hits: number }>} medians in milliseconds a call, by side
 */
export async function interleave(sides, { seconds }) {
  const hits = []
  for (const { run } of sides) {
    for (let index = 1; index < WARM_UPS; index++) await run()
    hits.push(await run())
  }
  if (new Set(hits).size !== 1) {
    throw new Error(`not the same hits: ${sides.map(({ name }, index) => `${name} ${hits[index]}`).join(", ")}`)
  }
  /** @type {number[][]} */
  const samples = sides.map(() => [])
  const end = performance.now() + seconds * 1000
  for (let round = 0; round < ROUNDS_MIN || performance.now() < end; round++) {
    for (const offset of sides.keys()) {
      // Nobody is always the one who comes after the slowest.
      const index = (offset + round) % sides.length
      const began = performance.now()
      let now = began
      do {
        const started = now
        await sides[index].run()
        now = performance.now()
        samples[index].push(now - started)
      } while (now - began < TURN_MS)
    }
  }
  return { medians: samples.map(median), hits: hits[0] }
}

/** @param {number[]} samples @returns {number} */
export function median(samples) {
  return quantile(samples, 0.5)
}

/** @param {number[]} samples @param {number} part from 0 to 1 @returns {number} */
export function quantile(samples, part) {
  const sorted = samples.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? Number.NaN
}

/** How long the thread that runs JavaScript has been on a processor, in milliseconds; where that cannot be known, the clock. */
function busyMs() {
  try {
    return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, "utf8").split(" ")[0]) / 1e6
  } catch {
    return performance.now()
  }
}

/**
 * The most work that JavaScript's thread does between two turns of the event loop while `act` is under way, in
 * milliseconds: what is waiting to be handled meanwhile has to wait so long. Time in which the system ran something else
 * does not count.
 *
 * @param {() => Promise<unknown>} act
 * @returns {Promise<number>}
 */
export async function longestTurn(act) {
  let longest = 0
  let last = busyMs()
  let isOver = false
  const turn = () => {
    const now = busyMs()
    longest = Math.max(longest, now - last)
    last = now
    if (!isOver) setImmediate(turn)
  }
  setImmediate(turn)
  await act()
  isOver = true
  // What the completion did up to here counts as well.
  return Math.max(longest, busyMs() - last)
}

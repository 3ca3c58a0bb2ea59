/** Times two or more ways to do the same, one after the other in turns, so that what disturbs one disturbs all. */
import { performance } from "node:perf_hooks"

const ROUNDS_MIN = 5
const ROUNDS_MAX = 300
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
 * @param {{ seconds: number, calls?: number }} options `calls`: how many calls, one after another, make one sample
 * @returns {Promise<{ medians: number[], hits: number, rounds: number }>} medians in milliseconds a call, by side
 */
export async function interleave(sides, { seconds, calls = 1 }) {
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
  let rounds = 0
  while (rounds < ROUNDS_MIN || (rounds < ROUNDS_MAX && performance.now() < end)) {
    for (const offset of sides.keys()) {
      // Nobody is always the one who comes after the slowest.
      const index = (offset + rounds) % sides.length
      const started = performance.now()
      for (let call = 0; call < calls; call++) await sides[index].run()
      samples[index].push((performance.now() - started) / calls)
    }
    rounds++
  }
  return { medians: samples.map(median), hits: hits[0], rounds }
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

import { randomUUID } from "node:crypto"

/** Keeps notes in memory, oldest first. It hands out copies, so that nobody changes a stored note from outside. */
export class NoteStore {
  #notes = new Map()

  create({ title, text }) {
    const now = new Date().toISOString()
    const note = { id: randomUUID(), title, text, created: now, updated: now }
    this.#notes.set(note.id, note)
    return { ...note }
  }

  /** Gives the note, or undefined. */
  get(id) {
    const note = this.#notes.get(id)
    return note && { ...note }
  }

  /** Gives the notes whose title or text contains the words, in any case; all without words. */
  list(words = "") {
    const wanted = words.toLowerCase()
    const matches = ({ title, text }) => `${title}\n${text}`.toLowerCase().includes(wanted)
    return [...this.#notes.values()].filter(matches).map((note) => ({ ...note }))
  }

  /** Replaces title and text. Gives the note, or undefined when there is none. */
  update(id, { title, text }) {
    const note = this.#notes.get(id)
    if (!note) return undefined
    Object.assign(note, { title, text, updated: new Date().toISOString() })
    return { ...note }
  }

  /** Gives whether there was such a note. */
  remove(id) {
    return this.#notes.delete(id)
  }
}

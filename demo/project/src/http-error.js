/** An error that is the client's: it gets the status, and may read the message. */
export class HttpError extends Error {
  name = "HttpError"

  constructor(status, message) {
    super(message)
    this.status = status
  }
}

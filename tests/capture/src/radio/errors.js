export class NoAckError extends Error {
  constructor(block) {
    super(`No ACK for block ${block}`);
    this.name = "NoAckError";
  }
}

/** Lists every wrong field, as validation libraries do. */
export class ValidationError extends Error {
  constructor(issues) {
    super(JSON.stringify(issues, null, 2));
    this.name = "ValidationError";
  }
}

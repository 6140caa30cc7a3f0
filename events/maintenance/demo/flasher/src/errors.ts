/** An error of the conversation with a radio. `name` survives minification, the name of the class does not. */
export class RadioError extends Error {
  constructor(name: string, message: string) {
    /*@radio-error*/super(message);
    this.name = name;
  }
}

/** Return an error of the protocol, for example an unexpected answer. */
export function protocolError(text: string): RadioError {
  return /*@protocol-error*/new RadioError("ProtocolError", text);
}

const REASONS = [
  "unexpected tag", "offset out of range", "length out of range", "name has no encoding", "table is full",
  "duplicate entry", "reply too short", "reply too long", "parity error", "framing error", "break received",
];

/** Return the words for a status code of the radio. */
export function reasonOf(code: number): string {
  return REASONS[code % REASONS.length];
}

/** Stop with the words for a step that went wrong. */
export function fail(step: string, reason: string): never {
  throw /*@fail*/new RadioError("RadioError", step + ": " + reason);
}

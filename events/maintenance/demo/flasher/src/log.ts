const MOST_LINES = 200;
const begun = performance.now();
const lines = [];

/** Keep a line for a failure report, with the time since the page was opened. */
export function log(text: string): void {
  lines.push("+" + Math.round(performance.now() - begun) + " ms " + text);
  if (lines.length > MOST_LINES) lines.shift();
}

export function logLines(): Array<string> {
  return lines.slice();
}

/** Return a number as `0x001f`. */
export function hex(value: number, digits: number): string {
  return "0x" + value.toString(16).padStart(digits, "0");
}

/** Return bytes as `06 15 ff`. */
export function dump(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
}

const POLYNOMIAL = 0x1021;

export function crc16(bytes) {
  let value = 0xffff;
  for (const byte of bytes) {
    value ^= byte << 8;
    for (let bit = 0; bit < 8; bit += 1) {
      value = value & 0x8000 ? (value << 1) ^ POLYNOMIAL : value << 1;
    }
  }
  return value & 0xffff;
}

export function crcOf(text) {
  if (typeof text !== "string") throw /*@checksum*/new TypeError("Checksum: text expected");
  return crc16(new TextEncoder().encode(text));
}

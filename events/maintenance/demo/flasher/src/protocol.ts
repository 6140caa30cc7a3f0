import { crc16 } from "@flasher/crc";
import { RadioError, fail, protocolError, reasonOf } from "./errors";
import { dump, hex } from "./hex";
import { log } from "./log";

const ACK = 0x06;
const BLOCK_BYTES = 64;
const ATTEMPTS = 3;
const MAGIC = [0x50, 0x52, 0x4f, 0x47, 0x52, 0x41, 0x4d];

/** A command, an address and a length, as the radio expects them. */
export function header(command: number, address: number, length: number): Uint8Array {
  return Uint8Array.of(command, address >> 8, address & 0xff, length);
}

/** Ask the radio to enter its programming mode. */
export async function handshake(port: RadioPort): Promise<void> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    log("TX PROGRAM");
    await port.write(Uint8Array.from(MAGIC));
    const answer = await port.read(1).catch(() => null);
    if (answer && answer[0] === ACK) return;
    if (answer) log("RX " + dump(answer));
    if (answer && answer[0] === 0xff) throw /*@handshake-odd*/protocolError("Handshake: the radio is busy");
  }
  throw /*@handshake*/new RadioError("ProtocolError", "Handshake timed out after " + ATTEMPTS + " attempts");
}

/** Read one block of the memory. */
export async function readBlock(port: RadioPort, address: number): Promise<Uint8Array> {
  await port.write(header(0x52, address, BLOCK_BYTES));
  const block = await port./*@read-block*/read(BLOCK_BYTES + 4);
  if (block[0] !== 0x57) throw /*@read-odd*/protocolError("Block read: unexpected tag " + hex(block[0], 2));
  return block.slice(4);
}

/** Write one block, and wait for its acknowledgement. */
export async function writeBlock(port: RadioPort, block: number, bytes: Uint8Array): Promise<void> {
  const head = header(0x57, block * BLOCK_BYTES, bytes.length);
  await port./*@block-write*/write(head);
  await port./*@bytes-write*/write(bytes);
  const answer = await port./*@ack-read*/read(1);
  if (answer[0] !== ACK) {
    const got = hex(answer[0], 2);
    throw /*@no-ack*/new RadioError("ProtocolError", "No ACK for block " + hex(block, 4) + " (got " + got + ")");
  }
  if (bytes.length < BLOCK_BYTES) /*@write-odd*/fail("Block write", reasonOf(answer[0]));
  log("TX block " + hex(block, 4) + ", RX 0x06");
}

/** Compare what the radio has stored with what was sent. */
export async function verify(port: RadioPort, image: Uint8Array): Promise<void> {
  for (let address = 0; address < image.length; address += BLOCK_BYTES) {
    const stored = await /*@verify-reads*/readBlock(port, address);
    const expected = image.slice(address, address + BLOCK_BYTES);
    if (crc16(stored) !== crc16(expected)) {
      throw /*@verify*/new RadioError("ProtocolError", "Verify failed at " + hex(address, 4) + ": read " + hex(stored[0], 2));
    }
  }
  log("verify ok");
}

/** Set the clock of the radio, which newer models have. */
export async function setClock(port: RadioPort, date: Date): Promise<void> {
  await port.write(Uint8Array.of(0x54, date.getUTCHours(), date.getUTCMinutes(), date.getUTCSeconds()));
  const answer = await port.read(1);
  if (answer[0] !== ACK) throw /*@clock*/new RadioError("ProtocolError", "Radio rejected the clock setting");
}

import { NoAckError } from "./errors.js";

const ACK = 0x06;
const FIRST_BAD_BLOCK = __BUILD__ === "a" ? 17 : 42;

function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function rejectAfter(ms, what) {
  return new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`${what} timed out after ${ms} ms`)), ms);
  });
}

/** A serial port that acknowledges the first blocks, and answers no command. */
class SimulatedPort {
  #written = 0;

  async write(bytes) {
    await pause(0);
    this.#written += bytes.length;
  }

  async readByte() {
    await pause(0);
    return this.#written > FIRST_BAD_BLOCK * 64 ? 0x15 : ACK;
  }

  readReply() {
    return new Promise(() => {});
  }
}

export class Radio {
  #port;

  constructor(port = new SimulatedPort()) {
    this.#port = port;
  }

  close() {
    this.#port = undefined;
  }

  async writeBlock(block, bytes) {
    await this.#port.write(bytes);
    const reply = await this.#port.readByte();
    if (reply !== ACK) throw new NoAckError(block);
  }

  async writeImage(image) {
    for (let block = 0; block * 64 < image.length; block++) {
      await this.writeBlock(block, image.subarray(block * 64, block * 64 + 64));
    }
  }

  async request(command) {
    await this.#port.write(command);
    return Promise.race([this.#port.readReply(), rejectAfter(120, "Handshake")]);
  }

  async identify() {
    const reply = await this.request(new Uint8Array([0x02]));
    return reply.subarray(0, 8);
  }

  async handshake() {
    await pause(0);
    const ident = await this.identify();
    return ident.length === 8;
  }
}

export async function flash(image) {
  const radio = new Radio();
  await radio.writeImage(image);
}

export async function connect() {
  const radio = new Radio();
  await openSession(radio);
  return radio;
}

async function openSession(radio) {
  await pause(0);
  await negotiate(radio);
}

async function negotiate(radio) {
  if (!(await radio.handshake())) throw new Error("Unknown radio");
}

export async function choosePort() {
  const port = await navigator.serial.requestPort({ filters: [{ usbVendorId: 0x1a86 }] });
  await port.open({ baudRate: 9600 });
  return port;
}

export function raiseLines(port) {
  port.setSignals({ dataTerminalReady: true, requestToSend: true });
}

const drivers = { "UV-5RM": { blocks: 512 }, "BF-F8HP": { blocks: 1024 } };

export function driverFor(model) {
  return new drivers[model](new SimulatedPort());
}

import { ByteQueue } from "@flasher/byte-queue";
import { RadioError } from "../errors";
import { log } from "../log";

const BAUD_RATE = 115200;
const READ_TIMEOUT_MS = 2000;
const FILTERS = [
  { usbVendorId: 0x1a86 }, // CH340
  { usbVendorId: 0x10c4 }, // CP2102
  { usbVendorId: 0x0403 }, // FT232
  { usbVendorId: 0x067b }, // PL2303
];

/** Ask for a port. The browser shows its own dialog, and rejects when the user closes it. */
export function choosePort(): Promise<SerialPort> {
  log("ask for a port");
  return navigator.serial./*@request-port*/requestPort({ filters: FILTERS });
}

/** A port with a read loop that fills a queue of bytes. */
export class RadioPort {
  constructor(port: SerialPort) {
    this.port = port;
    this.queue = new ByteQueue();
    this.received = 0;
  }

  async open(): Promise<void> {
    log("open port " + BAUD_RATE);
    await this.port./*@port-open*/open({ baudRate: BAUD_RATE, bufferSize: 4096 });
    await this.setSignals();
    this.reader = this.port.readable.getReader();
    this.loop = this./*@open-starts-loop*/readLoop();
  }

  async setSignals(): Promise<void> {
    await this.port.setSignals({ dataTerminalReady: true, requestToSend: true });
  }

  async setBaudRate(rate: number): Promise<void> {
    log("baud rate " + rate);
    if (this.queue.length > 0) throw /*@baud-rate*/new RadioError("RadioError", "Baud rate change: bytes are waiting");
    await this.port.close();
    await this.port.open({ baudRate: rate });
  }

  async readLoop(): Promise<void> {
    for (;;) {
      const part = await this.reader./*@reader-read*/read();
      if (part.done) return;
      this.received += part.value.length;
      if (this.queue.length > 4096) {
        throw /*@overrun*/new RadioError("BufferOverrunError", "Buffer overrun after " + (this.received >> 6) + " blocks");
      }
      this.queue.push(part.value);
    }
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (!this.port.writable) {
      throw /*@vanished*/new RadioError("PortLostError", "Port vanished while writing");
    }
    const writer = this.port.writable.getWriter();
    await writer.write(bytes);
    writer.releaseLock();
  }

  read(count: number): Promise<Uint8Array> {
    return this.queue./*@port-read*/take(count, READ_TIMEOUT_MS);
  }

  async close(): Promise<void> {
    if (this.port.readable.locked) throw /*@port-release*/new RadioError("RadioError", "Port release: the reader is busy");
    await this.port.close();
  }
}

import { fail, reasonOf } from "./errors";

const CHANNEL_BYTES = 16;
const NAME_CHARACTERS = 10;

/** The channels, zones and contacts of a radio. */
export class Codeplug {
  constructor(memory: Uint8Array) {
    this.memory = memory;
    this.zones = [];
  }

  /** Return the channels of a zone. */
  channelsIn(zone: number): Array<Channel> {
    return this.zones[zone]./*@channels-in*/channels;
  }

  /** Return the name at an address, without its padding. */
  nameAt(address: number): string {
    const bytes = this.memory.subarray(address, address + NAME_CHARACTERS);
    return String.fromCharCode.apply(null, bytes).replace("\u0000", "").trim();
  }

  decode(): void {
    for (let at = 0; at + CHANNEL_BYTES <= this.memory.length; at += CHANNEL_BYTES) {
      const zone = Math.floor(at / (CHANNEL_BYTES * 16));
      if (!this.zones[zone]) this.zones[zone] = { name: this.nameAt(at), channels: [] };
      this.zones[zone].channels.push({ at: at, rx: /*@decode*/frequency(this.memory, at), name: this.nameAt(at) });
    }
  }
}

/** Read a frequency in steps of 10 Hz, as binary-coded decimals. */
export function frequency(memory: Uint8Array, at: number): number {
  let value = 0;
  for (let index = 3; index >= 0; index -= 1) {
    const byte = memory[at + index];
    value = value * 100 + (byte >> 4) * 10 + (byte & 15);
  }
  return value;
}

export function packChannels(codeplug: Codeplug): Uint8Array {
  const bytes = new Uint8Array(codeplug.memory.length);
  codeplug.zones.forEach((zone) => {
    zone.channels.forEach((channel) => {
      if (channel.name.length > NAME_CHARACTERS) /*@pack-channels*/fail("Channel table", reasonOf(channel.status));
      bytes.set(codeplug.memory.subarray(channel.at, channel.at + CHANNEL_BYTES), channel.at);
    });
  });
  return bytes;
}

export function packZones(codeplug: Codeplug): Uint8Array {
  if (codeplug.zones.length > 250) /*@pack-zones*/fail("Zone table", reasonOf(codeplug.status));
  return Uint8Array.from(codeplug.zones, (zone) => zone.channels.length);
}

export function packScanLists(codeplug: Codeplug): Array<number> {
  const first = codeplug.zones[0];
  if (!first) /*@pack-scan-lists*/fail("Scan list", reasonOf(codeplug.status));
  return first.channels.map((channel) => channel.rx);
}

export function packContacts(contacts: Array<Contact>): Uint8Array {
  const seen = new Set();
  contacts.forEach((contact) => {
    if (seen.has(contact.id)) /*@pack-contacts*/fail("Contact list", reasonOf(contact.status));
    seen.add(contact.id);
  });
  return Uint8Array.from(contacts, (contact) => contact.id & 0xff);
}

export function packPicture(pixels: Uint8Array): Uint8Array {
  if (pixels.length !== 160 * 128) /*@pack-picture*/fail("Boot picture", reasonOf(pixels[0]));
  return pixels.map((pixel) => pixel >> 3);
}

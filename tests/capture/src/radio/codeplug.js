import { ValidationError } from "./errors.js";

const DEFAULTS = Object.freeze({ baudRate: 9600, squelch: 3 });

export class Codeplug {
  zones = { home: { channels: [] } };

  channelsIn(zone) {
    return this.zones[zone].channels.length;
  }

  names() {
    const names = [];
    for (const zone of this.zones) names.push(zone.name);
    return names;
  }
}

export function toBytes(text) {
  return Buffer.from(text, "latin1");
}

export function readBackup() {
  return JSON.parse(`{"model": "UV-5RM", "channels": [{"name": "${__BUILD__ === "a" ? "REP" : "REPEATER"}`);
}

export function restoreBackup() {
  try {
    return readBackup();
  } catch (cause) {
    throw new Error("The backup cannot be restored", { cause });
  }
}

export function emptyChannels(count) {
  return new Array(count).fill(null);
}

export function withSpeed(baudRate) {
  const settings = DEFAULTS;
  settings.baudRate = baudRate;
  return settings;
}

export function exportedAt(text) {
  return new Date(text).toISOString();
}

export function fromBase64(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

/** Evaluate a user's formula for the frequency of a channel. */
export function frequencyBy(formula, channel) {
  const evaluate = new Function("channel", `return ${formula};`);
  return evaluate(channel);
}

export function runScript(script, radio) {
  return new Function("radio", script)(radio);
}

export function validate(channels) {
  const issues = [];
  channels.forEach((channel, at) => {
    if (typeof channel.rx !== "number") {
      issues.push({ code: "invalid_type", expected: "number", received: typeof channel.rx, path: ["channels", at, "rx"] });
    }
  });
  if (issues.length) throw new ValidationError(issues);
}

/** Count the items of a menu. A menu that contains itself has no end. */
export function countItems(menu) {
  let items = 1;
  for (const child of menu.children) items += countItems(child);
  return items;
}

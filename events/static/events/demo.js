// A pretend flasher. What it shows of the client is the client's own doing: this page only presses its keys,
// breaks its network and looks at what it sends.
import { createTelemetry } from './telemetry.js';

const find = (id) => document.getElementById(id);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const MAX_LINES = 200;

const say = (words) => {
  const line = document.createElement('li');
  const code = document.createElement('code');
  code.textContent = words;
  line.append(code);
  find('log').append(line);
  while (find('log').children.length > MAX_LINES) find('log').firstChild.remove();
  find('log').parentElement.scrollTop = find('log').parentElement.scrollHeight;
};

// --- a network that can be broken, and a page that can be hidden -----------------------------------------------------

const pressed = { offline: false, hidden: false };
const pathOf = (url) => new URL(url, location.href).pathname;

const realFetch = window.fetch.bind(window);
window.fetch = async (url, options) => {
  const asked = `${options.method} ${pathOf(url)}`;
  if (pressed.offline) {
    say(`${asked} → no network`);
    throw new TypeError('pretending to be offline');
  }
  const response = await realFetch(url, options);
  say(`${asked} → ${response.status}`);
  return response;
};

const realBeacon = navigator.sendBeacon.bind(navigator);
navigator.sendBeacon = (url, body) => {
  const isTaken = !pressed.offline && realBeacon(url, body);
  say(`beacon ${pathOf(url)} → ${isTaken ? 'given to the browser' : 'no network'}`);
  return isTaken;
};

Object.defineProperty(document, 'visibilityState', { get: () => (pressed.hidden ? 'hidden' : 'visible') });

// --- the flasher -----------------------------------------------------------------------------------------------------

const radio = { model: null, isBusy: false, lines: [] };
const telemetry = createTelemetry({
  baseUrl: location.origin,
  appVersion: 'demo',
  context: () => ({
    model: radio.model ?? find('model').value,
    connected: Boolean(radio.model),
    logLines: radio.lines,
    metadata: { source: 'demo' },
  }),
});
telemetry.installGlobalHandlers();

const write = (words) => {
  radio.lines.push(words);
  say(words);
};

const waitingHere = () => {
  const prefix = `telemetry ${location.origin}/event `;
  try {
    return Object.keys(localStorage).filter((key) => key.startsWith(prefix)).length;
  } catch {
    return '–'; // storage is forbidden, and the client's memory is its own
  }
};

const show = () => {
  find('waiting').textContent = waitingHere();
  find('radio').textContent = radio.model ?? 'none';
  find('connect').textContent = radio.model ? 'Disconnect' : 'Connect';
  find('model').disabled = Boolean(radio.model);
  find('flash').disabled = !radio.model || radio.isBusy;
  for (const id of ['connect', 'fail']) find(id).disabled = radio.isBusy;
  for (const id of ['offline', 'hidden']) find(id).setAttribute('aria-pressed', pressed[id]);
};

const showCount = async () => {
  const total = await telemetry.fetchFlashCount();
  if (total !== null) find('count').textContent = total.toLocaleString('en');
};

const connect = async () => {
  if (radio.model) {
    write(`closed ${radio.model}`);
    radio.model = null;
    find('progress').textContent = 'not connected';
    return;
  }
  radio.model = find('model').value;
  radio.lines = [];
  find('progress').textContent = 'connected';
  write(`opened ${radio.model} at 115200`);
};

const writeBlocks = async (until) => {
  for (let percent = 0; percent <= until; percent += 20) {
    find('progress').textContent = `writing, ${percent} %`;
    radio.lines.push(`wrote ${percent} %`);
    await pause(150);
  }
};

const flash = async () => {
  write('flash begins');
  await writeBlocks(100);
  write('flash complete');
  find('progress').textContent = 'flashed';
  await telemetry.reportFlashSuccess();
  await showCount();
};

const fail = async () => {
  const eventType = radio.model ? 'flash_error' : 'connect_error';
  if (radio.model) await writeBlocks(40);
  const error = new Error(radio.model ? 'No ACK for block 0x001f' : 'The port is in use');
  error.name = radio.model ? 'TimeoutError' : 'NetworkError';
  write(`${error.name}: ${error.message}`);
  find('progress').textContent = radio.model ? 'failed' : 'not connected';
  telemetry.reportError({ eventType, error, writeMode: Boolean(radio.model) });
};

const press = (name) => {
  pressed[name] = !pressed[name];
  say(`${name}: ${pressed[name] ? 'on' : 'off'}`);
  if (name === 'hidden') document.dispatchEvent(new Event('visibilitychange'));
  else if (!pressed.offline) dispatchEvent(new Event('online'));
};

const send = async () => {
  await telemetry.flush();
  await showCount();
};

const actions = { connect, flash, fail, flush: send, offline: () => press('offline'), hidden: () => press('hidden') };
for (const [id, act] of Object.entries(actions)) {
  find(id).addEventListener('click', async () => {
    radio.isBusy = true;
    show();
    await act();
    radio.isBusy = false;
    show();
  });
  find(id).disabled = false;
}

// What waits goes by itself, sooner or later, and the count follows.
let waitingBefore = 0;
setInterval(() => {
  show();
  const waiting = Number(find('waiting').textContent);
  if (waiting < waitingBefore) void showCount();
  waitingBefore = waiting;
}, 500);
show();
void showCount();

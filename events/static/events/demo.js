// Simulated flasher. It calls the real client, simulates network failures and hidden pages, and logs the requests.
const find = (id) => document.getElementById(id);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const MAX_LINES = 200;

const log = (text) => {
  const line = document.createElement('li');
  const code = document.createElement('code');
  code.textContent = text;
  line.append(code);
  find('log').append(line);
  while (find('log').children.length > MAX_LINES) find('log').firstChild.remove();
  find('log').parentElement.scrollTop = find('log').parentElement.scrollHeight;
};

// --- simulated network failures and hidden pages ---------------------------------------------------------------------

const pressed = { offline: false, hidden: false };
const pathOf = (url) => new URL(url, location.href).pathname;

const realFetch = window.fetch.bind(window);
window.fetch = async (url, options) => {
  const request = `${options.method} ${pathOf(url)}`;
  if (pressed.offline) {
    log(`${request} → no network`);
    throw new TypeError('pretending to be offline');
  }
  const response = await realFetch(url, options);
  log(`${request} → ${response.status}`);
  return response;
};

const realBeacon = navigator.sendBeacon.bind(navigator);
navigator.sendBeacon = (url, body) => {
  const isQueued = !pressed.offline && realBeacon(url, body);
  log(`beacon ${pathOf(url)} → ${isQueued ? 'queued by the browser' : 'no network'}`);
  return isQueued;
};

Object.defineProperty(document, 'visibilityState', { get: () => (pressed.hidden ? 'hidden' : 'visible') });

// --- the flasher -----------------------------------------------------------------------------------------------------

const radio = { model: null, isBusy: false, lines: [] };
// A blocker can prevent the import. The page works without the client.
const { createTelemetry } = await import('./telemetry.js').catch(() => ({}));
if (!createTelemetry) log('telemetry.js was not loaded, so nothing is reported');
const telemetry = createTelemetry?.({
  baseUrl: location.origin,
  appVersion: 'demo',
  environment: true,
  context: () => ({
    model: radio.model ?? find('model').value,
    connected: Boolean(radio.model),
    logLines: radio.lines,
    metadata: { source: 'demo' },
  }),
  onAdvice: ({ text, url }) => {
    log(`advice: ${text}`);
    find('advice-text').textContent = text;
    find('advice-link').href = find('advice-link').textContent = url ?? '';
    find('advice-link').hidden = !url;
    find('advice').hidden = false;
  },
});
telemetry?.installGlobalHandlers();

const write = (line) => {
  radio.lines.push(line);
  log(line);
};

const queueLength = () => {
  const prefix = `telemetry ${location.origin}/event `;
  try {
    return Object.keys(localStorage).filter((key) => key.startsWith(prefix)).length;
  } catch {
    return '–'; // storage is blocked, so the client keeps its queue in memory
  }
};

const show = () => {
  find('waiting').textContent = queueLength();
  find('radio').textContent = radio.model ?? 'none';
  find('connect').textContent = radio.model ? 'Disconnect' : 'Connect';
  find('model').disabled = Boolean(radio.model);
  find('flash').disabled = !radio.model || radio.isBusy;
  for (const id of ['connect', 'fail']) find(id).disabled = radio.isBusy;
  for (const id of ['offline', 'hidden']) find(id).setAttribute('aria-pressed', pressed[id]);
};

const showCount = async () => {
  const total = await telemetry?.fetchFlashCount();
  if (typeof total === 'number') find('count').textContent = total.toLocaleString('en');
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
  find('advice').hidden = true;
  write('flash begins');
  await writeBlocks(100);
  write('flash complete');
  find('progress').textContent = 'flashed';
  await telemetry?.reportFlashSuccess();
  await showCount();
};

const fail = async () => {
  find('advice').hidden = true; // it belongs to an earlier attempt
  const eventType = radio.model ? 'flash_error' : 'connect_error';
  if (radio.model) await writeBlocks(40);
  const error = new Error(radio.model ? 'No ACK for block 0x001f' : 'The port is in use');
  error.name = radio.model ? 'TimeoutError' : 'NetworkError';
  write(`${error.name}: ${error.message}`);
  find('progress').textContent = radio.model ? 'failed' : 'not connected';
  telemetry?.reportError({ eventType, error, writeMode: Boolean(radio.model) });
};

const press = (name) => {
  pressed[name] = !pressed[name];
  log(`${name}: ${pressed[name] ? 'on' : 'off'}`);
  if (name === 'hidden') document.dispatchEvent(new Event('visibilitychange'));
  else if (!pressed.offline) dispatchEvent(new Event('online'));
};

const send = async () => {
  await telemetry?.flush();
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

// The client sends queued events by itself. Fetch the count again when the queue shrinks.
let previousLength = 0;
setInterval(() => {
  show();
  const length = Number(find('waiting').textContent);
  if (length < previousLength) void showCount();
  previousLength = length;
}, 500);
show();
void showCount();

// The browser's side of the telemetry site, as one module without dependencies. How to use it: docs/frontend.md.
//
// An event is written down first, under a key of its own in localStorage, and taken away when the server has said
// that it is on disk. So nothing is lost to a bad network, a closed page or a second tab; what is sent twice, the
// server knows and stores once.

const FAILURES = ['flash_error', 'connect_error', 'window_error', 'unhandled_rejection'];
const SAME_FAILURE_MS = 15_000;
const MAX_WAITING = 100;
// Browsers refuse beacons over 64 KiB, so no event is longer than this.
const MAX_EVENT_BYTES = 60_000;
const MAX_BATCH_BYTES = 900_000;
const MAX_METADATA = 8_000;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 300_000;
const DAY_MS = 86_400_000;

// What the contract takes, and what the older services took.
const LIMITS = { message: 500, errorName: 200, stack: 4_000, line: 240, lines: 200 };
const OLD_LIMITS = { message: 300, errorName: 120, stack: 1_200, line: 240, lines: 80 };
const MAX_NAME = 64;
const MAX_VALUE = 500;
const MAX_KEYS = 99;

/** Make a client; every option and method is told in telemetry.d.ts. */
export function createTelemetry(options) {
  const {
    baseUrl, appVersion, unified = true, logIngestUrl, counterUrl, context, token, debug, timeoutMs = 10_000,
  } = options ?? {};
  const isOld = unified === false;
  const eventUrl = isOld ? '' : at(baseUrl, '/event');
  const logUrl = unified === true ? '' : at(logIngestUrl, '/client-log');
  const incrementUrl = unified === true ? '' : at(counterUrl, '/increment');
  const countUrl = unified !== true && counterUrl ? at(counterUrl, '/count') : at(baseUrl, '/metrics/flash-count');
  const limits = unified === true ? LIMITS : OLD_LIMITS; // twins are one failure only while they are equal

  const say = (...words) => {
    if (debug) console.debug('telemetry:', ...words);
  };
  /** Run a piece of work; what it throws goes no further. */
  const attempt = (work) => {
    try {
      return work();
    } catch (error) {
      say(error);
    }
  };

  // --- the events that wait ----------------------------------------------------------------------------------------
  // A key tells the time and the kind of its event: sorting sorts by time, and no value is read before it is sent.
  // One key for each event, because two tabs that rewrite one list would lose each other's events.

  const prefix = `telemetry ${eventUrl} `;
  const memory = new Map(); // where localStorage is full or forbidden
  const gone = new Set();

  const waiting = () => {
    const stored = attempt(() => Object.keys(localStorage)) ?? [];
    const keys = stored.filter((key) => key.startsWith(prefix) && !memory.has(key)).concat([...memory.keys()]);
    return keys.filter((key) => !gone.has(key)).sort();
  };
  const read = (key) => memory.get(key) ?? attempt(() => localStorage.getItem(key));
  const keep = (key, text) => {
    try {
      localStorage.setItem(key, text);
    } catch (error) {
      say('kept in memory alone', error);
      memory.set(key, text);
    }
  };
  const drop = (key) => {
    gone.add(key);
    memory.delete(key);
    attempt(() => localStorage.removeItem(key));
  };
  const isFailure = (key) => key.includes('Z f');
  /** Return when an event may go: a failure waits for others like it. */
  const dueAt = (key) => {
    const due = isFailure(key) ? Date.parse(key.slice(prefix.length).split(' ')[0]) + SAME_FAILURE_MS : 0;
    return due < Date.now() + 2 * SAME_FAILURE_MS ? due : 0; // else somebody has set the clock back
  };

  /** Tell whether nothing may wait for others: what comes next would push it out. */
  const isFull = (keys) => keys.length >= MAX_WAITING;

  const add = (event, kind) => {
    const key = `${prefix}${event.occurred_at} ${kind}${Math.random().toString(36).slice(2)}`;
    keep(key, JSON.stringify(event));
    const keys = waiting();
    while (keys.length > MAX_WAITING) {
      drop(keys.splice(Math.max(0, keys.findIndex(isFailure)), 1)[0]);
    }
    return key;
  };

  // --- sending -----------------------------------------------------------------------------------------------------

  let timer;
  let draining;
  let failedTries = 0;
  // Both by a clock that nobody can set: one that is set back would make an hour of a second.
  const tick = () => performance.now();
  let retryAt = 0; // by our own patience, which a network that comes back cuts short
  let askedToWaitUntil = 0; // by the server's Retry-After, which nothing does
  const patienceMs = () => Math.max(retryAt, askedToWaitUntil) - tick();

  const ask = async (url, body, keepalive = false) => {
    const patience = new AbortController();
    const alarm = setTimeout(() => patience.abort(), timeoutMs);
    try {
      const response = await fetch(url, {
        method: body ? 'POST' : 'GET',
        headers: {
          ...(body && { 'Content-Type': 'application/json' }),
          ...(token && eventUrl && url.startsWith(eventUrl) && { Authorization: `Bearer ${token}` }),
        },
        body,
        keepalive,
        cache: 'no-store',
        credentials: 'omit',
        referrerPolicy: 'no-referrer',
        signal: patience.signal,
      });
      const answer = await response.json().catch(() => null);
      say(response.status, url, answer);
      const after = response.headers.get('Retry-After');
      const waitMs = after ? (Number(after) * 1000 || Date.parse(after) - Date.now() || 0) : 0;
      return { status: response.status, isOk: response.ok && answer?.ok === true, total: answer?.total, waitMs };
    } catch (error) {
      say(url, error);
      return { status: 0, isOk: false, waitMs: 0 };
    } finally {
      clearTimeout(alarm);
    }
  };

  /** Take the first events of a list: no more than `most`, and no more bytes than `bytes`. */
  const first = (keys, most, bytes) => {
    const texts = new Map();
    for (const key of keys) {
      const text = read(key);
      if (!text) {
        drop(key); // another tab has sent it
        continue;
      }
      bytes -= bytesOf(text) + 1;
      if (texts.size && (bytes < 0 || texts.size === most)) break;
      texts.set(key, text);
    }
    return texts;
  };
  const bodyOf = (texts) => (texts.size > 1 ? `{"events":[${[...texts.values()]}]}` : [...texts.values()][0]);
  const urlOf = (texts) => (texts.size > 1 ? `${eventUrl}/batch` : eventUrl);

  const drain = async (isForced) => {
    let most = MAX_WAITING;
    while (patienceMs() <= 0) {
      const keys = waiting();
      // After a failed try the network may be back before the browser says so: all of it then, in its order.
      const isAll = isForced || failedTries > 0 || isFull(keys);
      const due = keys.filter((key) => isAll || dueAt(key) <= Date.now());
      const texts = first(due, most, MAX_BATCH_BYTES);
      if (!texts.size) break;
      const { status, isOk, waitMs } = await ask(urlOf(texts), bodyOf(texts));
      const isRefused = status === 400 || status === 413;
      if (isOk || (isRefused && texts.size === 1)) {
        // Stored; or never to be stored, however often it is sent.
        failedTries = 0;
        for (const key of texts.keys()) drop(key);
      } else if (isRefused) {
        most = texts.size >> 1;
      } else {
        const isOffline = navigator.onLine === false; // then 'online' will come
        const pause = isOffline ? LONGEST_PAUSE_MS : Math.min(FIRST_PAUSE_MS * 2 ** failedTries++, LONGEST_PAUSE_MS);
        retryAt = tick() + pause * (0.5 + Math.random() / 2);
        askedToWaitUntil = tick() + Math.min(waitMs, DAY_MS);
      }
    }
  };

  const plan = () => {
    clearTimeout(timer);
    const keys = waiting();
    if (!keys.length || !eventUrl) return;
    const dueMs = isFull(keys) ? 0 : Math.min(...keys.map(dueAt)) - Date.now();
    timer = setTimeout(send, Math.max(0, dueMs, patienceMs()));
  };

  /** Send what is due; one at a time, for the next looks at what the one before has left. */
  const send = (isForced = false) => {
    draining = (draining ?? Promise.resolve()).then(() => drain(isForced)).catch(say).then(plan);
    return draining;
  };

  const flush = () => {
    retryAt = 0;
    return eventUrl ? send(true) : Promise.resolve();
  };

  // --- pages that are being hidden ---------------------------------------------------------------------------------

  const isHidden = () => globalThis.document?.visibilityState === 'hidden';
  const beaconed = new Set();

  /** Send as text, which needs no preflight. A beacon tells no outcome, so the events stay, to be sent again. */
  const sendBeacons = () => attempt(() => {
    if (tick() < askedToWaitUntil) return;
    const texts = first(waiting().filter((key) => !beaconed.has(key)), MAX_WAITING, MAX_EVENT_BYTES);
    if (!texts.size) return;
    const query = token ? `?token=${encodeURIComponent(token)}` : '';
    if (navigator.sendBeacon(urlOf(texts) + query, bodyOf(texts))) {
      for (const key of texts.keys()) beaconed.add(key);
    }
  });

  // --- what is reported --------------------------------------------------------------------------------------------

  let lastMs = 0;
  /** Return the time; never the same twice, so that the order of events is not in doubt while nobody sets the clock. */
  const now = () => {
    const ms = Date.now();
    lastMs = Math.abs(ms - lastMs) < SAME_FAILURE_MS ? Math.max(ms, lastMs + 1) : ms;
    return new Date(lastMs).toISOString();
  };

  const eventOf = (eventType, details, fields) => {
    // Whatever is wrong with what was told, the rest of it is reported.
    const known = attempt(() => ({ ...(typeof context === 'function' ? context() : context) })) ?? {};
    const told = { ...known, ...attempt(() => definedIn(details)) };
    const logLines = attempt(() => [...(told.logLines ?? [])]) ?? [];
    const lines = logLines.slice(-limits.lines).map((line) => cut(line, limits.line));
    const event = {
      event_type: eventType,
      occurred_at: now(),
      ...fields,
      model: cut(told.model, MAX_NAME) || 'unknown',
      write_mode: told.writeMode ? 1 : 0,
      connected: told.connected ? 1 : 0,
      app_version: cut(appVersion, MAX_NAME) || 'unknown',
      log_lines_json: JSON.stringify(lines),
      metadata_json: metadataOf(attempt(() => ({ ...known.metadata, ...details.metadata })) ?? {}),
    };
    while (lines.length && bytesOf(JSON.stringify(event)) > MAX_EVENT_BYTES) {
      lines.splice(0, Math.ceil(lines.length / 4)); // the newest lines say most
      event.log_lines_json = JSON.stringify(lines);
    }
    return event;
  };

  // Browsers refuse what is to outlive the page, beacons too, when it is over 64 KiB together.
  let keptBytes = 0;

  /** Tell an older service, as its own clients did: once, and without a look back. */
  const tellOld = async (url, payload) => {
    if (!url) return;
    const body = JSON.stringify(payload);
    if (isHidden() && attempt(() => navigator.sendBeacon(url, body))) return;
    const bytes = bytesOf(body);
    keptBytes += bytes;
    await ask(url, body, !isHidden() && keptBytes <= MAX_EVENT_BYTES);
    keptBytes -= bytes;
  };

  const reportFlashSuccess = async (success) => {
    const details = success ?? {};
    const session = cut(details.sessionId, 128) || newId();
    const fields = { session_id: session, message: orElse('Flash complete', cut(details.message, limits.message)) };
    if (eventUrl) add(eventOf('flash_success', { writeMode: true, connected: true, ...details }, fields), 's');
    const told = tellOld(incrementUrl, { sessionId: session });
    if (eventUrl && isHidden()) sendBeacons();
    await Promise.all([told, eventUrl && send()]);
  };

  const recent = new Map();

  const reportError = (told) => {
    // What was thrown may be told as it is.
    const details = told instanceof Error || Object(told) !== told ? { error: told } : told;
    const { error } = details;
    const eventType = FAILURES.includes(details.eventType) ? details.eventType : 'window_error';
    const name = cut(attempt(() => details.errorName ?? error?.name), limits.errorName);
    const stack = cut(attempt(() => details.stack ?? error?.stack), limits.stack);
    const words = attempt(() => details.message ?? error?.message) ?? error;
    const message = orElse('(no message)', cut(words, limits.message));
    const event = eventOf(eventType, details, {
      message,
      ...(name && { error_name: name }),
      ...(stack && { stack }),
    });

    const likeness = JSON.stringify([eventType, event.model, message, stack]);
    for (const [past, { since }] of recent) {
      if (Math.abs(Date.now() - since) >= SAME_FAILURE_MS) recent.delete(past); // the clock may have been set back
    }
    const same = recent.get(likeness);
    if (same) {
      same.count += 1;
      const text = same.key && read(same.key);
      if (text) {
        const kept = JSON.parse(text);
        kept.metadata_json = metadataOf({ ...JSON.parse(kept.metadata_json), count: same.count });
        keep(same.key, JSON.stringify(kept));
      }
      return;
    }
    if (recent.size >= MAX_WAITING) recent.delete(recent.keys().next().value);
    recent.set(likeness, { since: Date.now(), count: 1, key: eventUrl && add(event, 'f') });

    const { metadata_json: _, ...old } = event;
    void tellOld(logUrl, { ...old, user_agent: '', page_url: '' });
    if (!eventUrl) return;
    if (isHidden()) sendBeacons();
    plan();
  };

  const fetchFlashCount = async () => {
    if (!countUrl) return null;
    const { isOk, total } = await ask(countUrl);
    return isOk && Number.isFinite(total) ? total : null;
  };

  let uninstall;
  const installGlobalHandlers = () => {
    if (uninstall) return uninstall;
    const onError = ({ error, message }) => {
      safe.reportError({ eventType: 'window_error', error, message: attempt(() => error?.message) ?? message });
    };
    const onRejection = ({ reason }) => {
      const message = attempt(() => reason?.message) ?? textOf(reason);
      safe.reportError({ eventType: 'unhandled_rejection', error: reason, message });
    };
    addEventListener('error', onError);
    addEventListener('unhandledrejection', onRejection);
    uninstall = () => {
      removeEventListener('error', onError);
      removeEventListener('unhandledrejection', onRejection);
      uninstall = undefined;
    };
    return uninstall;
  };

  const safe = {
    reportError: (details) => void attempt(() => reportError(details)),
    reportFlashSuccess: (details) => reportFlashSuccess(details).catch(say),
    fetchFlashCount,
    installGlobalHandlers: () => attempt(installGlobalHandlers) ?? (() => {}),
    flush,
  };

  if (eventUrl) {
    attempt(() => {
      document.addEventListener('visibilitychange', () => (isHidden() ? sendBeacons() : plan()));
      addEventListener('pagehide', sendBeacons);
      addEventListener('online', () => {
        // All of it together, in its order; but not from all pages at once.
        const pause = Math.random() * FIRST_PAUSE_MS;
        failedTries = 0;
        retryAt = tick() + pause;
        setTimeout(flush, pause);
      });
      setTimeout(plan, Math.random() * FIRST_PAUSE_MS); // what an earlier visit left
    });
  }
  return safe;
}

/** Return the address of a path, whether or not the base names it already; '' where there is no base. */
function at(base, path) {
  const url = textOf(base ?? '').trim().replace(/\/+$/, '');
  return !url || url.endsWith(path) ? url : url + path;
}

function textOf(value) {
  try {
    return String(value);
  } catch {
    return '(unprintable)';
  }
}

/** Return a text, or other words where the contract would refuse it as blank: that is more than `trim()` knows. */
function orElse(words, text) {
  return /[^\s\x1c-\x1f\x85]/.test(text) ? text : words;
}

function jsonOf(value) {
  try {
    return typeof value === 'object' ? JSON.stringify(value) : value;
  } catch {
    return '(unprintable)'; // it holds itself
  }
}

/** Return at most `most` characters of a text: whole ones, and of any address in it the last part alone. */
function cut(value, most) {
  // No character has more than two units.
  const characters = [...textOf(value ?? '').slice(0, 2 * most + 2)];
  const text = characters.length > most ? `${characters.slice(0, most - 1).join('')}…` : characters.join('');
  return text.replace(/\b[a-z][\w+.-]{0,20}:\/\/[^\s'"]*[^\s)'"]/gi, (url) =>
    url.replace(/[?#].*?(?=(:\d+)*$)/, '').replace(/\/\/[^/]*@/, '//').replace(/.*\//, ''));
}

/** Return metadata as a flat object of short values, in JSON. */
function metadataOf(told) {
  const entries = Object.entries(told).slice(-MAX_KEYS).map(([name, value]) => {
    const isPlain = value === null || typeof value === 'number' || typeof value === 'boolean';
    return [cut(name, MAX_NAME), isPlain ? value : cut(jsonOf(value), MAX_VALUE)];
  });
  while (JSON.stringify(entries).length > MAX_METADATA) entries.shift();
  return JSON.stringify(Object.fromEntries(entries));
}

function definedIn(details) {
  return Object.fromEntries(Object.entries(details).filter(([, value]) => value !== undefined));
}

function bytesOf(text) {
  return new TextEncoder().encode(text).length;
}

/** Return a UUID of version 7: it begins with its time, so that a store of many finds its place at their end. */
function newId() {
  const time = Date.now().toString(16).padStart(12, '0');
  // Not randomUUID, which exists on secure pages alone.
  const chance = Array.from(crypto.getRandomValues(new Uint16Array(5)), (part) => part.toString(16).padStart(4, '0'));
  const variant = '89ab'[parseInt(chance[1][0], 16) % 4];
  return `${time.slice(0, 8)}-${time.slice(8)}-7${chance[0].slice(1)}-${variant}${chance[1].slice(1)}-${chance.slice(2).join('')}`;
}

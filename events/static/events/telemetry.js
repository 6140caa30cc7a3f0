// The telemetry client for web pages: one module without dependencies. docs/frontend.md describes its use.
//
// The client first writes each event to localStorage, under its own key. It removes the event when the server confirms
// that it is stored. So a bad network, a closed page or a second tab loses no event. Requests to the telemetry site are
// idempotent. The older services are not, so the client avoids sending an event to them twice.

const FAILURES = ['flash_error', 'connect_error', 'window_error', 'unhandled_rejection'];
const SAME_FAILURE_MS = 15_000;
const MAX_WAITING = 100;
// Browsers refuse beacons over 64 KiB. No event exceeds this limit.
const MAX_EVENT_BYTES = 60_000;
const MAX_BATCH_BYTES = 900_000;
const MAX_METADATA = 8_000;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 300_000;
const DAY_MS = 86_400_000;
const MAX_AGE_MS = 7 * DAY_MS;
// Statuses of a server that has no route `/event/batch`.
const NO_SUCH_ROUTE = [404, 405, 410, 501];
// Prefix of a stored event that was sent with an unknown outcome: by a beacon, or before the page was closed.
const MARK = '!';

// The limits of the contract, and those of the older services.
const LIMITS = { message: 500, errorName: 200, stack: 4_000, line: 240, lines: 200 };
const OLD_LIMITS = { message: 300, errorName: 120, stack: 1_200, line: 240, lines: 80 };
const MAX_NAME = 64;
const MAX_VALUE = 500;
const MAX_KEYS = 98; // the contract allows 100; `causes` and `count` are the other two
const MAX_CAUSES = 8;
const MAX_CAUSE_DEPTH = 5;

// An object without a name, but with one of these, is a `Failure`.
const FIELDS = ['error', 'message', 'errorName', 'stack', 'model', 'logLines', 'metadata'];

// An address in a text: its scheme, and the rest without closing punctuation.
const ADDRESS =
  /([a-z][a-z\d+.-]{0,30}:\/\/|\bblob:(?=\w+%3a)|\bdata:(?:[\w.+-]+\/[\w.+-]+)?[,;])([^\s'"`<>‘-‟]*[^\s'"`<>‘-‟.,:;!?)\]}\\])/gi;
// The position in a script, at the end of its address: line and column, or function and offset of WebAssembly.
const POSITION = /(?::(?:\d{1,9}|0x[\da-f]{1,9}|wasm-function\[\d{1,9}\])){0,2}$/i;
// A frame in a stack: `    at name (place)` in V8, `name@place` in Firefox and Safari, or the place alone in Safari.
const FRAME = /^ +at .+|^[^@\n]*@.+:\w+$|^\S+:\d+$/m;

// How a user agent string names browsers, with their versions, and systems. The more specific names come first.
const BROWSERS = [
  ['Edge', /Edg(?:e|A|iOS)?\/(\d+)/],
  ['Opera', /OP(?:R|T|X|iOS)\/(\d+)/],
  ['Samsung Internet', /SamsungBrowser\/(\d+)/],
  ['Firefox', /F(?:irefox|xiOS)\/(\d+)/],
  ['Chrome', /(?:Chrome|CriOS)\/(\d+)/],
  ['Safari', /Version\/(\d+).* Safari/],
];
const SYSTEMS = [
  ['Windows', /Win/],
  ['iOS', /iP(?:hone|ad|od)|iOS/],
  ['macOS', /mac/i],
  ['ChromeOS', /CrOS|Chrom\w+ OS/],
  ['Android', /Android/],
  ['Linux', /Linux|X11/],
];

/** Create a client. telemetry.d.ts describes the options and methods. */
export function createTelemetry(options) {
  const {
    baseUrl, appVersion, unified = true, logIngestUrl, counterUrl, queueName, context, token, debug, timeoutMs = 10_000,
    environment, onAdvice,
  } = options ?? {};
  const isMigrating = unified !== true; // then any of the addresses may belong to an older service
  const eventUrl = at(baseUrl, '/event');
  const logUrl = isMigrating ? at(logIngestUrl, '/client-log') : '';
  const incrementUrl = isMigrating ? at(counterUrl, '/increment') : '';
  const countUrl = isMigrating && counterUrl ? at(counterUrl, '/count') : at(baseUrl, '/metrics/flash-count');
  const limits = isMigrating ? OLD_LIMITS : LIMITS; // an event and its copy must be equal to count once

  // The primary routes: the client retries until they have stored the event. In dual mode it also sends one copy to the
  // older service, without a retry. Events go only to routes that the options name.
  const successUrl = (unified === false && incrementUrl) || eventUrl || incrementUrl;
  const failureUrl = (unified === false && logUrl) || eventUrl || logUrl;

  const say = (...words) => {
    if (debug) console.debug('telemetry:', ...words);
  };
  const attempt = (work) => tried(work, say);
  const surroundings = (environment && attempt(() => environmentOf(navigator))) || [];

  // --- the queue ---------------------------------------------------------------------------------------------------
  // A key contains the time and the kind of its event. So sorting the keys sorts by time without reading the values.
  // Each event has its own key: two tabs that rewrite one list would overwrite each other's events.

  const prefix = `telemetry ${queueName ?? (eventUrl || failureUrl || successUrl)} `;
  const memory = new Map(); // fallback when localStorage is full or blocked
  const own = new Map(); // copies of the stored events, because a script may clear localStorage
  const witness = `telemetry-${prefix}`; // a key with a random value, which changes when localStorage is cleared
  let witnessed;
  const gone = new Set();

  /** Remember the text of a stored event. Raises an exception if localStorage does not work. */
  const copy = (key, text) => {
    if (!own.size) {
      witnessed = localStorage.getItem(witness) || newId();
      localStorage.setItem(witness, witnessed);
    }
    own.set(key, text);
  };
  const waiting = () => {
    if (own.size && attempt(() => localStorage.getItem(witness)) !== witnessed) {
      const copies = [...own];
      own.clear();
      copies.forEach(([key, text]) => keep(key, text));
    }
    const stored = (attempt(() => Object.keys(localStorage)) ?? []).filter((key) => key.startsWith(prefix));
    own.forEach((_, key) => stored.includes(key) || own.delete(key)); // another tab has sent it
    const keys = stored.filter((key) => !memory.has(key));
    keys.forEach((key) => own.has(key) || attempt(() => copy(key, read(key))));
    return [...keys, ...memory.keys()].filter((key) => !gone.has(key)).sort();
  };
  const read = (key) => memory.get(key) ?? attempt(() => localStorage.getItem(key));
  const keep = (key, text) => {
    try {
      localStorage.setItem(key, text);
      copy(key, text);
      memory.delete(key);
    } catch (error) {
      say(error);
      memory.set(key, text);
    }
  };
  const drop = (key) => {
    gone.add(key);
    memory.delete(key);
    own.delete(key);
    reports.delete(key);
    attempt(() => localStorage.removeItem(key));
  };
  const isFailure = (key) => key.includes('Z f');
  const urlOf = (key) => (isFailure(key) ? failureUrl : successUrl);
  const timeOf = (key) => Date.parse(key.slice(prefix.length).split(' ')[0]);
  /** Return when an event may be sent. A failure for the site waits for equal ones, unless the page awaits advice. */
  const dueAt = (key) => {
    const due = !onAdvice && isFailure(key) && failureUrl === eventUrl ? timeOf(key) + SAME_FAILURE_MS : 0;
    return due < Date.now() + 2 * SAME_FAILURE_MS ? due : 0; // otherwise the clock was set back
  };

  /** Return whether the queue is full: the next event would evict one, so send without waiting. */
  const isFull = (keys) => keys.length >= MAX_WAITING;

  const add = (event, kind) => {
    const key = `${prefix}${event.occurred_at} ${kind}${Math.random().toString(36).slice(2)}`;
    keep(key, json(event));
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
  // Whether failures need not wait for equal ones. It stays set until the queue is empty: until then, any request sends
  // the queue in order, and no success overtakes an earlier failure.
  let isAllDue = false;
  // Use the monotonic clock: the system clock may be set back.
  const tick = () => performance.now();
  let retryAt = 0; // exponential backoff; the event 'online' resets it
  let askedToWaitUntil = 0; // the server's Retry-After; nothing resets it
  const patienceMs = () => Math.max(retryAt, askedToWaitUntil) - tick();

  // Whether the server has `/event/batch`; undefined until the first response. A server without it is an older service,
  // which does not deduplicate failures.
  let hasBatch = !isMigrating || undefined;

  const isMarked = (text) => text?.startsWith(MARK);
  const unmarked = (text) => (isMarked(text) ? text.slice(1) : text);
  const mark = (key) => {
    const text = read(key);
    if (text && !isMarked(text)) keep(key, MARK + text);
  };

  const takesToken = (url) => token && eventUrl && url?.startsWith(eventUrl);

  // Browsers limit all pending keepalive requests and beacons to 64 KiB together.
  let keptBytes = 0;

  const ask = async (url, body, mayOutlivePage = false) => {
    const bytes = mayOutlivePage ? bytesOf(body) : 0;
    const keepalive = mayOutlivePage && keptBytes + bytes <= MAX_EVENT_BYTES;
    if (keepalive) keptBytes += bytes;
    const patience = new AbortController();
    const alarm = setTimeout(() => patience.abort(), timeoutMs);
    try {
      const response = await fetch(url, {
        method: body ? 'POST' : 'GET',
        headers: {
          ...(body && { 'Content-Type': 'application/json' }),
          ...(takesToken(url) && { Authorization: `Bearer ${token}` }),
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
      const { ok, total } = answer ?? {};
      // The older counter responds with a total and without `ok`.
      const isOk = response.ok && (ok ?? Number.isFinite(total)) === true;
      return { status: response.status, isOk, total, waitMs, answer };
    } catch (error) {
      say(url, error);
      return { status: 0, isOk: false, waitMs: 0 };
    } finally {
      clearTimeout(alarm);
      if (keepalive) keptBytes -= bytes;
    }
  };

  /** Return the request body of an event in the format of its route. */
  const bodyOf = (url, text) => {
    if (url === eventUrl) return text;
    const event = JSON.parse(text);
    return json(url === logUrl ? asLogged(event) : { sessionId: event.session_id });
  };

  /** Return one request for the first of these events, with at most `most` events and `bytes` bytes. */
  const take = (keys, most, bytes) => {
    const bodies = new Map();
    let url;
    let isBatch = false;
    for (const key of keys) {
      const text = read(key);
      // The older services do not deduplicate failures, so a marked failure is not sent to them again.
      const isDone = isMarked(text) && (urlOf(key) !== eventUrl || (hasBatch === false && isFailure(key)));
      const body = text && !isDone && attempt(() => bodyOf(urlOf(key), unmarked(text)));
      if (!body) {
        drop(key); // already sent, or unreadable
        continue;
      }
      bytes -= bytesOf(body) + 1;
      const canShare = url === eventUrl && urlOf(key) === url && hasBatch !== false;
      if (url && !(canShare && bodies.size < most && bytes >= 0)) break;
      url = urlOf(key);
      bodies.set(key, body);
      // Send a marked event in a batch: the response shows whether the server deduplicates.
      isBatch = url === eventUrl && (bodies.size > 1 || isBatch || (isMarked(text) && hasBatch === undefined));
    }
    const texts = [...bodies.values()];
    return {
      keys: [...bodies.keys()],
      isBatch,
      url: isBatch ? `${url}/batch` : url,
      body: isBatch ? `{"events":[${texts}]}` : texts[0],
    };
  };

  const reports = new Map(); // the failures of this page without a response yet, by key; a reload forgets them
  const advised = new WeakSet(); // a page can report one error twice

  const advise = async (advice, error) => {
    if (!advice?.text || tried(() => advised.has(error) || !advised.add(error))) return;
    const url = `${advice.url}`;
    await onAdvice({ text: `${advice.text}`, url: url.startsWith('https://') ? url : null }, error);
  };

  const drain = async () => {
    let most = MAX_WAITING;
    while (patienceMs() <= 0) {
      const keys = waiting().filter(urlOf);
      const isAll = isAllDue || isFull(keys);
      const due = keys.filter((key) => isAll || dueAt(key) <= Date.now());
      const { keys: taken, url, body, isBatch } = take(due, most, MAX_BATCH_BYTES);
      if (!body) break;
      const texts = taken.map(read);
      if (!hasBatch && !isBatch) taken.forEach(mark);
      const { status, isOk, waitMs, answer } = await ask(url, body, isMigrating);
      const isRefused = status === 400 || status === 413;
      if (isBatch && NO_SUCH_ROUTE.includes(status)) {
        hasBatch = false;
      } else if (isRefused && taken.length > 1) {
        most = taken.length >> 1;
      } else if (isOk || isRefused) {
        // Stored, or refused permanently.
        failedTries = 0;
        if (isOk && isBatch) hasBatch = true;
        taken.forEach((key, n) => {
          const report = reports.get(key);
          drop(key);
          if (report) {
            report.advice = (isBatch ? answer?.results?.[n] : answer)?.advice;
            advise(report.advice, report.error).catch(say);
          }
        });
      } else {
        isAllDue = true; // the network may be back before the event 'online'
        const isOffline = navigator.onLine === false; // then the event 'online' follows
        const pause = isOffline ? LONGEST_PAUSE_MS : Math.min(FIRST_PAUSE_MS * 2 ** failedTries++, LONGEST_PAUSE_MS);
        retryAt = tick() + pause * (0.5 + Math.random() / 2);
        askedToWaitUntil = tick() + Math.min(waitMs, DAY_MS);
        if (!hasBatch) taken.forEach((key, n) => keep(key, texts[n])); // restore the text without the mark of this try
      }
    }
  };

  const plan = () => {
    clearTimeout(timer);
    for (const key of waiting()) {
      // The server does not accept the event, or this build has no route for it.
      if ((failedTries || !urlOf(key)) && Date.now() - timeOf(key) > MAX_AGE_MS) {
        say('discarded after 7 days', read(key));
        drop(key);
      }
    }
    const keys = waiting().filter(urlOf);
    isAllDue &&= keys.length > 0;
    if (!keys.length) return;
    const dueMs = isAllDue || isFull(keys) ? 0 : Math.min(...keys.map(dueAt)) - Date.now();
    timer = setTimeout(send, Math.max(0, dueMs, patienceMs()));
  };

  /** Send the events that are due. Calls run one after another, because they share the queue. */
  const send = () => {
    draining = (draining ?? Promise.resolve()).then(drain).catch(say).then(plan);
    return draining;
  };

  const flush = () => {
    isAllDue = true;
    retryAt = 0;
    return send();
  };

  // --- hidden pages ------------------------------------------------------------------------------------------------

  const isHidden = () => globalThis.document?.visibilityState === 'hidden';

  /** Send beacons as text, without a preflight. Their outcome is unknown, so the events stay in the queue. */
  const sendBeacons = () => attempt(() => {
    if (tick() < askedToWaitUntil || navigator.onLine === false) return;
    // An older service gets a marked event only once. Do not risk it on a beacon that is likely to fail.
    if (isMigrating && failedTries) return;
    let bytes = MAX_EVENT_BYTES;
    for (;;) {
      const keys = waiting().filter((key) => urlOf(key) && !isMarked(read(key)));
      const { keys: taken, url, body = '' } = take(keys, hasBatch ? MAX_WAITING : 1, bytes);
      bytes -= bytesOf(body);
      const query = takesToken(url) ? `?token=${encodeURIComponent(token)}` : '';
      if (!body || bytes < 0 || !navigator.sendBeacon(url + query, body)) return;
      taken.forEach(mark);
    }
  });

  // --- reports -----------------------------------------------------------------------------------------------------

  let lastMs = 0;
  /** Return the time. Two calls never return the same time, so that events keep their order. */
  const now = () => {
    const ms = Date.now();
    lastMs = Math.abs(ms - lastMs) < SAME_FAILURE_MS ? Math.max(ms, lastMs + 1) : ms;
    return new Date(lastMs).toISOString();
  };

  const eventOf = (eventType, details, fields, causes = []) => {
    // An error in the context or in the details must not lose the rest of the report.
    const known = attempt(() => (typeof context === 'function' ? context() : context));
    const pick = (name, otherwise) => get(details, name) ?? otherwise ?? get(known, name);
    const isDone = eventType === 'flash_success' || undefined;
    const logLines = tried(() => [...pick('logLines')]) ?? [];
    const lines = logLines.slice(-limits.lines).map((line) => cut(line, limits.line));
    const metadata = new Map([...entriesOf(get(known, 'metadata')), ...entriesOf(get(details, 'metadata'))]);
    for (const [name, value] of surroundings) metadata.has(name) || metadata.set(name, value);
    const event = {
      event_type: eventType,
      occurred_at: now(),
      ...fields,
      model: cut(pick('model'), MAX_NAME) || 'unknown',
      write_mode: pick('writeMode', isDone) ? 1 : 0,
      connected: pick('connected', isDone) ? 1 : 0,
      app_version: cut(appVersion, MAX_NAME) || 'unknown',
      log_lines_json: json(lines),
      metadata_json: metadataOf([...metadata], causes),
    };
    while (lines.length && bytesOf(json(event)) > MAX_EVENT_BYTES) {
      lines.splice(0, Math.ceil(lines.length / 4)); // drop the oldest lines first
      event.log_lines_json = json(lines);
    }
    return event;
  };

  /** Send a copy of an event to an older service, once and without a retry. */
  const sendCopy = async (url, payload) => {
    if (!url) return;
    // Tell the telemetry site that this is a copy. No older service has both routes, so none receives this field.
    const isOneSite = [url, incrementUrl].every((one) => one && one === at(baseUrl, one.replace(/.*\//, '/')));
    const body = json({ ...payload, ...(isOneSite && { sentToEvent: true }) });
    if (isHidden() && attempt(() => navigator.sendBeacon(url, body))) return;
    await ask(url, body, !isHidden());
  };

  const reportFlashSuccess = async (details) => {
    const session = cut(get(details, 'sessionId'), 128) || newId();
    const message = orElse('Flash complete', cut(get(details, 'message'), limits.message));
    if (successUrl) add(eventOf('flash_success', details, { session_id: session, message }), 's');
    const copied = sendCopy(successUrl !== incrementUrl && incrementUrl, { sessionId: session });
    if (isHidden()) sendBeacons();
    await Promise.all([copied, send()]);
  };

  const recent = new Map();
  // The page may contain a second copy of this module. All copies share the client that reported each error and event.
  const reporters = attempt(() => (globalThis[Symbol.for(`telemetry ${failureUrl}`)] ??= new WeakMap()));

  /** Return whether another client reports an error or an event. A primitive value has no identity. */
  const isTaken = (value) => tried(() => {
    if (!reporters.has(value)) reporters.set(value, recent);
    return reporters.get(value) !== recent;
  });

  const reportError = (failure) => {
    const details = isFailureReport(failure) ? failure : { error: failure }; // callers may pass the thrown value itself
    if (isTaken(get(details, 'error'))) return;
    const type = get(details, 'eventType');
    const eventType = FAILURES.includes(type) ? type : 'window_error';
    const { name, message, stack } = partsOf(details, limits);
    const error = get(details, 'error') ?? details;
    const causes = causesOf(error, limits);
    const fields = { message, ...(name && { error_name: name }), ...(stack && { stack }) };
    const event = eventOf(eventType, details, fields, causes);

    const likeness = json([eventType, event.model, name, message, stack, causes]);
    for (const [past, { since }] of recent) {
      if (Math.abs(Date.now() - since) >= SAME_FAILURE_MS) recent.delete(past); // the clock may have been set back
    }
    const same = recent.get(likeness);
    if (same) {
      same.count += 1;
      advise(same.advice, error).catch(say);
      const text = waiting().includes(same.key) && read(same.key);
      if (text && !isMarked(text)) {
        const kept = JSON.parse(text);
        kept.metadata_json = json({ ...JSON.parse(kept.metadata_json), count: same.count });
        keep(same.key, json(kept));
      }
      return;
    }
    for (const map of [recent, reports]) {
      if (map.size >= MAX_WAITING) map.delete(map.keys().next().value);
    }
    const report = { since: Date.now(), count: 1, key: failureUrl && add(event, 'f'), error };
    recent.set(likeness, report);
    if (onAdvice) reports.set(report.key, report);
    void sendCopy(failureUrl !== logUrl && logUrl, asLogged(event));
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
    const handle = (event) => {
      if (isTaken(event)) return;
      const isError = event.type === 'error';
      const error = isError ? event.error : event.reason;
      const words = isError && Object(error) !== error ? event.message : textOf(error);
      const eventType = isError ? 'window_error' : 'unhandled_rejection';
      safe.reportError({ eventType, error, message: get(error, 'message') ?? words });
    };
    addEventListener('error', handle);
    addEventListener('unhandledrejection', handle);
    uninstall = () => {
      removeEventListener('error', handle);
      removeEventListener('unhandledrejection', handle);
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

  if (successUrl || failureUrl) {
    attempt(() => {
      waiting(); // copies the events of earlier visits
      document.addEventListener('visibilitychange', () => (isHidden() ? sendBeacons() : plan()));
      addEventListener('pagehide', sendBeacons);
      addEventListener('online', () => {
        // Flush the queue in order. The random delay spreads the requests of several pages.
        failedTries = 0;
        isAllDue = true;
        retryAt = tick() + Math.random() * FIRST_PAUSE_MS;
        plan();
      });
      setTimeout(plan, Math.random() * FIRST_PAUSE_MS); // events from an earlier visit
    });
  }
  return safe;
}

/** Return a failure in the format of the older log. */
function asLogged({ metadata_json: _, ...event }) {
  return { ...event, user_agent: '', page_url: '' };
}

/** Append a path to the base unless the base ends with it. Return '' without a base. */
function at(base, path) {
  const url = textOf(base ?? '').trim().replace(/\/+$/, '');
  return !url || url.endsWith(path) ? url : url + path;
}

/** Call `work`. If it throws, as a getter or a revoked proxy may, return what `failed` returns, or undefined. */
function tried(work, failed) {
  try {
    return work();
  } catch (error) {
    return failed?.(error);
  }
}

function get(value, name) {
  return tried(() => value[name]);
}

/** Return the names and values of an object's own properties. */
function entriesOf(value) {
  return tried(() => Object.keys(typeof value === 'object' && value).map((name) => [name, get(value, name)])) ?? [];
}

/** Return whether a value is a `Failure`. If not, it was thrown: errors of every realm and their clones have a name. */
function isFailureReport(value) {
  const has = (field) => field in value;
  return tried(() => has('eventType') || (typeof value.name !== 'string' && FIELDS.some(has)));
}

/** Return JSON. Ignores `toJSON` methods that a script of the page may have added to prototypes. */
function json(value) {
  if (typeof value !== 'object' || !value) return JSON.stringify(value) ?? 'null';
  if (Array.isArray(value)) return `[${value.map(json)}]`;
  const entries = Object.entries(value);
  // Objects such as Date and Error have no enumerable properties of their own.
  if (!entries.length && value.constructor !== Object) return json(value.toISOString?.() ?? textOf(value));
  return `{${entries.map(([name, part]) => `${json(name)}:${json(part)}`)}}`;
}

/** Return any value as text. An object without a text is described by its class, keys, type and status. */
function textOf(value) {
  const text = tried(() => String(value)) ?? tried(() => ({}).toString.call(value)) ?? '(unprintable)';
  if (Object(value) !== value || !text.startsWith('[object ')) return text;
  const parts = new Map(entriesOf(value).map(([name]) => [name, name]));
  for (const name of ['type', 'status']) {
    const part = get(value, name);
    if (Object(part) !== part && part != null) parts.set(name, `${name}: ${textOf(part)}`);
  }
  return `${text.slice(8, -1)} {${[...parts.values()].join(', ')}}`;
}

/** Return the text, or `words` if the contract refuses it as blank. The contract strips more than `trim()`. */
function orElse(words, text) {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: Python strips these characters too
  return /[^\s\x1c-\x1f\x85]/.test(text) ? text : words;
}

function jsonOf(value) {
  return typeof value === 'object' ? (tried(() => json(value)) ?? value) : value;
}

/** Shorten each address in a text to its scheme, file and position. tests/fixtures/addresses.json has examples. */
function shorten(text) {
  return text.replace(ADDRESS, (_, scheme, rest) => {
    const [position] = POSITION.exec(rest);
    const path = rest.replace(POSITION, '').replace(/[?#].*/, '').replace(/^[^/\\]*@/, '').replace(/^.*[/\\]/, '…/');
    return (/[,;]$/.test(scheme) ? 'data:,…' : scheme + path) + position;
  });
}

/** Return a value as text of at most `most` whole characters, with its addresses shortened. */
function cut(value, most) {
  // A character has at most two UTF-16 units.
  const characters = [...shorten(textOf(value ?? '').slice(0, 20 * most)).slice(0, 2 * most + 2)];
  return characters.length > most ? `${characters.slice(0, most - 1).join('')}…` : characters.join('');
}

/** Return name, message and stack of a failure. Its own fields override those of its error. */
function partsOf(failure, limits) {
  const error = get(failure, 'error');
  return {
    name: cut(get(failure, 'errorName') ?? get(error, 'name'), limits.errorName),
    message: orElse('(no message)', cut(get(failure, 'message') ?? get(error, 'message') ?? error, limits.message)),
    stack: cut(get(failure, 'stack') ?? get(error, 'stack'), limits.stack),
  };
}

/** Describe the causes of an error, and the errors of an AggregateError: the nearest first, each once. */
function causesOf(error, limits) {
  const found = new Map([[error, 0]]);
  for (const [value, depth] of found) {
    const errors = entriesOf(get(value, 'errors')).map(([, part]) => part);
    for (const cause of [get(value, 'cause'), get(value, 'error'), ...errors]) {
      const isNew = cause != null && !found.has(cause);
      if (isNew && depth < MAX_CAUSE_DEPTH && found.size <= MAX_CAUSES) found.set(cause, depth + 1);
    }
  }
  return [...found.keys()].slice(1).map((cause) => {
    const { name, message } = partsOf({ error: cause }, limits);
    return { name, message, frame: cut(FRAME.exec(textOf(get(cause, 'stack')))?.[0].trim(), limits.line) };
  });
}

/** Return metadata as JSON: short values, and the causes. */
function metadataOf(values, causes) {
  const entries = values.slice(-MAX_KEYS).map(([name, value]) => {
    const isPlain = value === null || typeof value === 'number' || typeof value === 'boolean';
    return [cut(name, MAX_NAME), isPlain ? value : cut(jsonOf(value), MAX_VALUE)];
  });
  if (causes.length) entries.push(['causes', causes]);
  while (json(entries).length > MAX_METADATA) {
    if (entries.length > 1) entries.shift();
    else causes.pop();
  }
  return json(Object.fromEntries(entries));
}

/** Return the browser with its major version, and the family of the operating system. */
function environmentOf({ userAgentData: hints, userAgent, maxTouchPoints }) {
  // Chromium browsers list several brands, and a made-up one such as `Not A;Brand`. The most specific one comes first.
  const rank = ({ brand }) => ['Google Chrome', 'Chromium'].indexOf(brand);
  const brands = hints?.brands?.filter(({ brand }) => !/not.a.brand/i.test(brand));
  const best = brands?.sort((one, other) => rank(one) - rank(other))[0];
  const system = nameIn(hints?.platform || userAgent, SYSTEMS);
  return [
    ['browser', best ? majorOf(best) : nameIn(userAgent, BROWSERS)],
    // An iPad claims to be a Mac, but no Mac has a touch screen.
    ['os', system === 'macOS' && maxTouchPoints > 1 ? 'iOS' : system],
  ];
}

function majorOf({ brand, version }) {
  return `${brand.replace(/^(Google|Microsoft) /, '')} ${version.split('.')[0]}`;
}

/** Return the first name whose pattern matches the text, with the group of the pattern. */
function nameIn(text, patterns) {
  for (const [name, pattern] of patterns) {
    const match = pattern.exec(text);
    if (match) return [name, ...match.slice(1)].join(' ');
  }
  return 'other';
}

function bytesOf(text) {
  return new TextEncoder().encode(text).length;
}

/** Return a UUID of version 7. It starts with the time, so that database indexes append it at their end. */
function newId() {
  const hex = (number) => number.toString(16).padStart(4, '0');
  const [a, b, c, d, e] = crypto.getRandomValues(new Uint16Array(5)); // `randomUUID` exists on secure pages only
  const time = Date.now().toString(16).padStart(12, '0');
  const rest = `${hex((a & 0xfff) | 0x7000)}-${hex((b & 0x3fff) | 0x8000)}-${hex(c)}${hex(d)}${hex(e)}`;
  return `${time.slice(0, 8)}-${time.slice(8)}-${rest}`;
}

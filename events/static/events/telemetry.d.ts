/** What can go wrong; a success is told by `reportFlashSuccess`. */
export type FailureType = 'flash_error' | 'connect_error' | 'window_error' | 'unhandled_rejection';

/** What holds for every event of a page. A report's own fields win over these. */
export interface Context {
  model?: string | undefined;
  writeMode?: boolean | undefined;
  connected?: boolean | undefined;
  /** The newest last; the oldest go when there are too many. */
  logLines?: readonly string[] | undefined;
  /** Kept flat: what is no text, number or boolean becomes JSON text. Put nothing personal here. */
  metadata?: Readonly<Record<string, unknown>> | undefined;
}

export interface Options {
  /** The telemetry site, without a path: `https://telemetry.example.org`. Without one, nothing is sent to it. */
  baseUrl?: string | undefined;
  appVersion?: string | undefined;
  /**
   * `true` (the default): the site alone. `false`: the older services; what has no older service goes to the site.
   * `'dual'`: the site, and a copy to each older service. The count is read from the older counter where one is named.
   */
  unified?: boolean | 'dual' | undefined;
  /** The older log: its `/client-log`, with or without that path. */
  logIngestUrl?: string | undefined;
  /** The older counter: its `/count` and `/increment`, without a path. */
  counterUrl?: string | undefined;
  /**
   * Names the queue in `localStorage`. A build with other addresses then sends the events that this build leaves.
   * Left out, the queue has the name of the address that events are sent to. No two pages of an origin that
   * report to different sites may use the same name.
   */
  queueName?: string | undefined;
  /** A function is asked anew for each report. */
  context?: Context | (() => Context | undefined) | undefined;
  /** A signed ingest token, where the site asks for one. Whoever reads the page can read it. */
  token?: string | undefined;
  /** Say in the console what is sent and what comes back. */
  debug?: boolean | undefined;
  /** How long one request may take; 10,000 when left out. */
  timeoutMs?: number | undefined;
}

export interface Success extends Context {
  /** Names one flash attempt: however often it is reported, it counts once. Left out, it is a UUID of version 7. */
  sessionId?: string | undefined;
  message?: string | undefined;
}

export interface Failure extends Context {
  /** `window_error` when left out. */
  eventType?: FailureType | undefined;
  /** What was thrown: name, message and stack are taken from it where the fields below say nothing. */
  error?: unknown;
  message?: string | undefined;
  errorName?: string | undefined;
  stack?: string | undefined;
}

/** None of these throws, and no promise of theirs rejects. */
export interface Telemetry {
  /** Resolves when the event was sent, or is kept to be sent later. */
  reportFlashSuccess(success?: Success): Promise<void>;
  /**
   * Takes a `Failure`, or whatever was thrown. The same failure within 15 s is one event, with a `count` in its metadata.
   */
  reportError(failure?: unknown): void;
  /** The public count; `null` when no server answers with one. */
  fetchFlashCount(): Promise<number | null>;
  /** Report uncaught errors and unhandled rejections of the page; the answer takes the handlers away again. */
  installGlobalHandlers(): () => void;
  /** Send all that waits, now; no sooner than a `Retry-After` of the server. */
  flush(): Promise<void>;
}

export function createTelemetry(options?: Options): Telemetry;

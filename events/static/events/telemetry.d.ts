/** The types of failures. `reportFlashSuccess` reports a success. */
export type FailureType = 'flash_error' | 'connect_error' | 'window_error' | 'unhandled_rejection';

/** Defaults for every event of a page. The fields of a report override them. */
export interface Context {
  model?: string | undefined;
  writeMode?: boolean | undefined;
  connected?: boolean | undefined;
  /** The newest line is last. The oldest lines are dropped when there are too many. */
  logLines?: readonly string[] | undefined;
  /**
   * Flat: values other than text, numbers and booleans become JSON text. Do not add personal data. The client adds the
   * keys `causes` and `count` itself.
   */
  metadata?: Readonly<Record<string, unknown>> | undefined;
}

/** What the user can do about a failure. Show both as text. */
export interface Advice {
  text: string;
  /** An address that begins with `https://`. */
  url: string | null;
}

export interface Options {
  /** The telemetry site, without a path: `https://telemetry.example.org`. Without it, the site receives nothing. */
  baseUrl?: string | undefined;
  appVersion?: string | undefined;
  /**
   * `true` (the default): send to the site only. `false`: send to the older services, and to the site if there is none.
   * `'dual'`: send to the site, and a copy to each older service. With `false` and `'dual'`, the count comes from the
   * older counter if `counterUrl` is set.
   */
  unified?: boolean | 'dual' | undefined;
  /** The URL of the older log, with or without the path `/client-log`. */
  logIngestUrl?: string | undefined;
  /** The URL of the older counter, without the paths `/count` and `/increment`. */
  counterUrl?: string | undefined;
  /**
   * The name of the queue in `localStorage`; by default the URL for events. A later build with other URLs and the same
   * name sends the remaining events of this build. Pages of one origin that report to different sites need different
   * names.
   */
  queueName?: string | undefined;
  /** A function is called for each report. */
  context?: Context | (() => Context | undefined) | undefined;
  /** A signed ingest token, if the site requires one. Every visitor of the page can read it. */
  token?: string | undefined;
  /**
   * Add `browser` (such as `Chrome 139`) and `os` (such as `Windows`) to the metadata of every event; default false.
   * The page's own values of these names win. The user agent string is not sent.
   */
  environment?: boolean | undefined;
  /** Log requests and responses to the console. */
  debug?: boolean | undefined;
  /**
   * Called with the advice that the site has for a reported failure, at most once for each error. Failures are then sent
   * at once. `error` is the reported value of `error`, or the whole `Failure` without one. Errors that the
   * callback throws are ignored.
   */
  onAdvice?: ((advice: Advice, error: unknown) => void) | undefined;
  /** The timeout of one request; default 10,000. */
  timeoutMs?: number | undefined;
}

export interface Success extends Context {
  /** The id of a flash attempt, which counts once even if reported repeatedly. Default: a UUID of version 7. */
  sessionId?: string | undefined;
  message?: string | undefined;
}

export interface Failure extends Context {
  /** Default: `window_error`. */
  eventType?: FailureType | undefined;
  /** The thrown value. It provides name, message and stack unless the fields below are set. */
  error?: unknown;
  message?: string | undefined;
  errorName?: string | undefined;
  stack?: string | undefined;
}

/** No method throws, and no returned promise rejects. */
export interface Telemetry {
  /** Resolves when the event was sent, or is queued for a later try. */
  reportFlashSuccess(success?: Success): Promise<void>;
  /**
   * Accepts a `Failure` or any thrown value. Equal failures within 15 s become one event, with a `count` as metadata.
   */
  reportError(failure?: unknown): void;
  /** Return the public count, or `null` if the server does not return one. */
  fetchFlashCount(): Promise<number | null>;
  /** Report uncaught errors and unhandled rejections of the page. Call the returned function to stop. */
  installGlobalHandlers(): () => void;
  /** Send the whole queue now, but not before a `Retry-After` of the server has passed. */
  flush(): Promise<void>;
}

export function createTelemetry(options?: Options): Telemetry;

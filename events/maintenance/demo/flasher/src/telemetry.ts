/** A thin wrapper around the client that reports failures and flashes. */
export function createTelemetry(options: TelemetryOptions): Telemetry {
  const waiting = [];
  function send(body: string): void {
    navigator.sendBeacon(options.baseUrl + "/event", body);
  }
  function report(failure: Failure): void {
    const context = options.context();
    waiting.push(failure);
    send(JSON.stringify({ type: failure.eventType, model: context.model, message: String(failure.error) }));
  }
  return {
    reportError: report,
    recordSuccessfulFlash: (flashed) => send(JSON.stringify(flashed)),
    installGlobalHandlers: () => {
      window.addEventListener("error", (event) => report({ eventType: "window_error", error: event.error }));
      window.addEventListener("unhandledrejection", (event) => report({ eventType: "unhandled_rejection", error: event.reason }));
    },
  };
}

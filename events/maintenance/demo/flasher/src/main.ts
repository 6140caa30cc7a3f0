import { loadCatalog, loadFirmware } from "./catalog";
import { backup, flash } from "./flash";
import { logLines } from "./log";
import { createTelemetry } from "./telemetry";
import { connect } from "./ui/connect";
import { hideProgress } from "./ui/progress";

const state = { step: "connect", usb: "", model: "unknown", session: "" };

function telemetryContext(): TelemetryContext {
  return { model: state.model, connected: state.step !== "connect", logLines: logLines() };
}

const telemetry = createTelemetry({ baseUrl: "https://telemetry.flasher.example", context: telemetryContext });

/** Run what a button does, and report its failure under the type that suits the button. */
async function attempt(eventType: string, work: Work): Promise<void> {
  state.session = crypto.randomUUID();
  try {
    await /*@attempt*/work();
  } catch (error) {
    telemetry.reportError({ eventType: eventType, error: error, sessionId: state.session });
  } finally {
    hideProgress();
  }
}

function onClick(id: string, eventType: string, work: Work): void {
  document.querySelector(id).addEventListener("click", () => {
    void /*@on-click*/attempt(eventType, work);
  });
}

async function readRadio(): Promise<void> {
  const memory = await /*@read-radio*/backup(state.port, state);
  const editor = await /*@import-editor*/import("./ui/channels");
  editor./*@open-editor*/openEditor(memory, (parts) => parts.forEach((part) => state.port.write(part)));
}

async function flashRadio(): Promise<void> {
  const entry = state.entries.find((candidate) => candidate.model === state.model);
  const image = await /*@load-image*/loadFirmware(entry);
  await /*@flash-radio*/flash(state.port, image, state);
  telemetry.recordSuccessfulFlash({ sessionId: state.session });
}

async function connectRadio(): Promise<void> {
  state.port = await /*@connect-radio*/connect(state);
}

onClick("#connect", "connect_error", connectRadio);
onClick("#read", "flash_error", readRadio);
onClick("#flash", "flash_error", flashRadio);

const controller = new AbortController();
window.addEventListener("pagehide", () => controller.abort());
/*@load-catalog*/loadCatalog(controller.signal).then((entries) => {
  state.entries = entries;
});
telemetry.installGlobalHandlers();

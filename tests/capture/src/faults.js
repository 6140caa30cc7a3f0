// One function for each fault. Some faults reach the window, others are caught and reported, as in a real page.
import { checksum, decodeImage, keepInWorker, openImage } from "./radio/codec.js";
import {
  Codeplug, countItems, emptyChannels, exportedAt, frequencyBy, fromBase64, readBackup, restoreBackup, runScript, toBytes,
  validate, withSpeed,
} from "./radio/codeplug.js";
import { choosePort, connect, driverFor, flash, Radio, raiseLines } from "./radio/radio.js";
import { telemetry } from "./telemetry.js";
import {
  followLog, lastModel, loadPartner, openChangelog, openHelp, openPreview, pasteChannels, saveImage, showProgress,
} from "./ui/page.js";
import { downloadFirmware, loadModels, loadRepeaters } from "./ui/requests.js";

async function reported(eventType, work) {
  try {
    await work();
  } catch (error) {
    telemetry.reportError({ eventType, error });
  }
}

function channelsWithOneBad(at) {
  return [...Array(at).fill({ rx: 462.5 }), { rx: "462.5" }];
}

export const faults = new Map();

// Engines name a function after the property that holds it. An argument has no name, as the listener of a real button.
const on = (name, work) => faults.set(name, work);

on("read_of_undefined", () => new Codeplug().channelsIn("work"));
on("set_on_null", () => showProgress(12));
on("not_a_function", () => reported("connect_error", () => raiseLines({})));
on("not_defined", () => toBytes("UV-5RM"));
on("not_iterable", () => new Codeplug().names());
on("not_a_constructor", () => driverFor("UV-5RM"));
on("json_is_html", () => reported("connect_error", loadModels));
on("json_cut_off", () => readBackup());
on("stack_overflow", () => {
  const menu = { children: [] };
  menu.children.push(menu);
  return countItems(menu);
});
on("array_length", () => emptyChannels(-1));
on("fetch_failed", () => loadRepeaters());
on("import_failed", () => openChangelog());
on("css_failed", () => openHelp());
on("resize_observer", () => followLog());
on("script_error", () => loadPartner());
on("storage_full", () => saveImage("0".repeat(12_000_000)));
on("storage_denied", () => (top === self ? openPreview() : reported("window_error", lastModel)));
on("clipboard_denied", () => pasteChannels());
on("serial", () => reported("connect_error", choosePort));
on("fetch_aborted", () => reported("flash_error", downloadFirmware));
on("base64_invalid", () => fromBase64("UV-5RM!"));
on("not_cloneable", () => keepInWorker(new Uint8Array(64), () => showProgress(100)));
on("date_invalid", () => exportedAt("yesterday"));
on("bigint_mixed", () => frequencyBy("channel.rx * 10n", { rx: 462.5 }));
on("frozen_object", () => withSpeed(19_200));
on("rejected_string", () => Promise.reject("Radio disconnected"));
on("rejected_object", () => Promise.reject({ status: "lost", code: 19 }));
on("no_ack", () => reported("flash_error", () => flash(new Uint8Array(64 * 64))));
on("error_with_cause", () => reported("flash_error", restoreBackup));
on("worker_error", () => reported("flash_error", () => checksum({ blocks: [{}] })));
on("wasm_unreachable", () => reported("flash_error", () => openImage(0x1234)));
on("wasm_out_of_bounds", () => reported("flash_error", () => decodeImage(0x20000)));
on("user_script", () => runScript("return radio.name.toUpperCase();", {}));
on("handshake_timeout", () => reported("connect_error", connect));
on("private_field", () => {
  const { close } = new Radio();
  close.call({});
});
on("validation", () => reported("flash_error", () => validate(channelsWithOneBad(__BUILD__ === "a" ? 3 : 12))));

import { faults } from "./faults.js";
import { telemetry } from "./telemetry.js";

telemetry.installGlobalHandlers();
const fault = new URLSearchParams(location.search).get("fault");
document.querySelector("#start").addEventListener("click", () => faults.get(fault)());
globalThis.flasher = { telemetry, faults: [...faults.keys()] };

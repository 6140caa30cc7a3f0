import { createTelemetry } from "../../../events/static/events/telemetry.js";

export const telemetry = createTelemetry({
  baseUrl: __SITE__,
  appVersion: __BUILD__,
  context: { model: "UV-5RM", metadata: { fault: new URLSearchParams(location.search).get("fault") } },
});

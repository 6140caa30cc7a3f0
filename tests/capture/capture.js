// Capture the reports of the same faults from two builds in three browsers, and write them to a fixture of the tests.
//
// A browser opens the page of each fault in turn: `public/drive.js` clicks the button, and waits until this server has
// received the report. So the browsers need no driver.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { extname, join, normalize } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { openUntil } from "./browsers.js";
import { buildPage } from "./builds.js";

const FIXTURE = fileURLToPath(new URL("../fixtures/captured_failures.jsonl", import.meta.url));
const BUILDS = ["a", "b"];
const BROWSERS = ["chromium", "firefox", "webkit"];
// The port is fixed, because messages and stacks may contain it.
const PORT = 8123;
const SITE = `http://127.0.0.1:${PORT}`;
const OTHER_ORIGIN = `http://localhost:${PORT}`;
// A fault that is not reported by then is one that the browser cannot produce.
const PATIENCE_MS = 5_000;
const MEDIA_TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".wasm": "application/wasm" };
// The page is of an earlier release. The deployment of a later one has deleted these files.
const DELETED = /\/assets\/(changelog-.*\.js|help-.*\.css)$/;

/** Serves one build to one browser, and collects its reports. */
class Visit {
  failures = [];
  #folder;
  #firstAsked = new Map();
  #finish;

  constructor(folder) {
    this.#folder = folder;
    this.ended = new Promise((resolve) => {
      this.#finish = resolve;
    });
  }

  async answer(request) {
    const { pathname } = new URL(request.url, SITE);
    if (request.method === "OPTIONS") return { status: 204 };
    if (request.method === "POST" && pathname === "/event") return this.#receive(JSON.parse(await text(request)));
    if (pathname.startsWith("/is-settled/")) return { status: 200, body: String(this.#isSettled(pathname.split("/")[2])) };
    if (pathname === "/end") {
      this.#finish();
      return { status: 200, body: "{}" };
    }
    return this.#file(pathname);
  }

  #receive({ event_type, message, error_name = null, stack = null, metadata_json }) {
    const { fault, causes = [] } = JSON.parse(metadata_json);
    this.failures.push({ fault, event_type, message, error_name, stack, causes });
    return { status: 201, body: '{"ok": true, "deduped": false, "id": "1"}' };
  }

  #isSettled(fault) {
    if (!this.#firstAsked.has(fault)) this.#firstAsked.set(fault, Date.now());
    const isReported = this.failures.some((failure) => failure.fault === fault);
    return isReported || Date.now() - this.#firstAsked.get(fault) > PATIENCE_MS;
  }

  async #file(pathname) {
    const path = normalize(pathname).replace("/flasher/", "") || "index.html";
    if (!DELETED.test(pathname)) {
      const body = await readFile(join(this.#folder, path)).catch(() => null);
      if (body) return { status: 200, type: MEDIA_TYPES[extname(path)], body };
    }
    return { status: 404, type: "text/html", body: "<!doctype html><title>Not found</title>" };
  }
}

let visit;

const server = createServer(async (request, response) => {
  if (request.url === "/broken") return request.socket.destroy();
  if (request.url === "/silent") return;
  const { status, type = "application/json", body } = await visit.answer(request);
  response.writeHead(status, {
    "Content-Type": type,
    "Cache-Control": "no-store",
    // The frame of the preview has the origin `null`.
    ...(request.headers.origin && { "Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "Content-Type" }),
  });
  response.end(body);
});

process.once("SIGINT", () => process.exit(130));
const folder = await mkdtemp(join(tmpdir(), "capture-"));
const lines = [];
try {
  await new Promise((resolve, reject) => server.once("error", reject).listen(PORT, "127.0.0.1", resolve));
  for (const build of BUILDS) {
    await buildPage(build, { folder: join(folder, build), site: SITE, otherOrigin: OTHER_ORIGIN });
    for (const browser of BROWSERS) {
      visit = new Visit(join(folder, build));
      await openUntil(visit.ended, browser, `${SITE}/flasher/`);
      lines.push(...visit.failures.map(({ fault, ...failure }) => ({ fault, build, browser, ...failure })));
      console.log(`build ${build}, ${browser}: ${visit.failures.length} failures`);
    }
  }
} finally {
  server.close();
  server.closeAllConnections();
  await rm(folder, { recursive: true });
}
const order = ({ fault, browser, build }) => `${fault} ${browser} ${build}`;
lines.sort((one, other) => order(one).localeCompare(order(other), "en"));
await writeFile(process.argv[2] ?? FIXTURE, lines.map((line) => `${JSON.stringify(line)}\n`).join(""));

// The three browsers, as Debian packages them. Each has a new profile, and makes no network requests of its own.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const FIREFOX_PREFERENCES = {
  "app.normandy.enabled": false,
  "browser.aboutwelcome.enabled": false,
  "browser.shell.checkDefaultBrowser": false,
  "browser.startup.homepage_override.mstone": "ignore",
  "datareporting.policy.dataSubmissionEnabled": false,
  "network.captive-portal-service.enabled": false,
  "network.connectivity-service.enabled": false,
  "toolkit.telemetry.server": "",
};

/** WebKitGTK's own browser is not on the PATH. */
function miniBrowser() {
  const paths = readdirSync("/usr/lib").map((name) => `/usr/lib/${name}/webkit2gtk-4.1/MiniBrowser`);
  return paths.find(existsSync) ?? "MiniBrowser";
}

/** Return the command that opens a page. The profile is an empty folder. */
async function command(browser, profile, page) {
  switch (browser) {
    case "chromium":
      return [
        "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--lang=en-US",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", `--user-data-dir=${profile}`, page,
      ];
    case "firefox": {
      const lines = Object.entries(FIREFOX_PREFERENCES).map((pair) => `user_pref(${pair.map((part) => JSON.stringify(part))});`);
      await writeFile(join(profile, "user.js"), lines.join("\n"));
      return ["firefox-esr", "--headless", "--no-remote", "--profile", profile, page];
    }
    case "webkit":
      return ["xvfb-run", "--auto-servernum", miniBrowser(), page];
    default:
      throw new Error(`Unknown browser: ${browser}`);
  }
}

/** Open a page until the promise is settled, then end the browser with all its processes. */
export async function openUntil(settled, browser, page) {
  const profile = await mkdtemp(join(tmpdir(), "capture-"));
  const [program, ...args] = await command(browser, profile, page);
  const env = { ...process.env, HOME: profile, XDG_RUNTIME_DIR: profile, LANG: "C.UTF-8" };
  for (const name of ["XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"]) delete env[name];
  const child = spawn(program, args, { detached: true, stdio: "ignore", env });
  const exited = once(child, "exit");
  const failed = exited.then(([code]) => Promise.reject(new Error(`${program} ended early, with status ${code}`)));
  const end = () => child.pid && child.exitCode === null && process.kill(-child.pid, "SIGTERM");
  process.once("exit", end); // after Ctrl-C
  try {
    await Promise.race([settled, failed]);
  } finally {
    process.off("exit", end);
    failed.catch(() => {});
    end();
    await exited.catch(() => {});
    await rm(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }
}

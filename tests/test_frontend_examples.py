"""The TypeScript of docs/frontend.md compiles, and the drop-in has the types of what it replaces."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import npm
from tests.servers import PROJECT_DIR

PAGE = PROJECT_DIR / "docs/frontend.md"
CLIENT = PROJECT_DIR / "events/static/events"

# As a Vite project has them.
ENVIRONMENT = "interface ImportMeta { readonly env: Readonly<Record<string, string | undefined>> }\n"

CALLERS = """
import { createTelemetry, type Failure, type Telemetry } from "./vendor/telemetry.js";
import { reportClientError, reportFlashSuccess } from "./ui/clientLogReporter";
import { fetchGlobalFlashCount, recordSuccessfulFlashOnce } from "./ui/flashCounter";

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
interface Done { sessionId: string; model: string; writeMode: boolean; connected: boolean; logLines?: string[] }
interface Failed {
  eventType: "flash_error" | "connect_error" | "window_error" | "unhandled_rejection";
  message: string; errorName?: string; stack?: string;
  model: string; writeMode: boolean; connected: boolean; logLines?: string[];
}
export const told: [
  Same<typeof fetchGlobalFlashCount, () => Promise<number>>,
  Same<ReturnType<typeof recordSuccessfulFlashOnce>, Promise<number | null>>,
  Same<ReturnType<typeof reportClientError>, void>,
  Same<ReturnType<typeof reportFlashSuccess>, void>,
] = [true, true, true, true];

export function call(done: Done, failed: Failed): void {
  void recordSuccessfulFlashOnce(done);
  reportFlashSuccess(done);
  reportClientError(failed);
  // @ts-expect-error there is no such type of event
  reportClientError({ ...failed, eventType: "flash_fail" });
}

export const telemetry: Telemetry = createTelemetry({ baseUrl: "https://example.org", token: undefined });
const unset = undefined;
const noContext = {
  model: unset, writeMode: unset, connected: unset, logLines: unset, metadata: unset,
};
createTelemetry({
  baseUrl: unset, appVersion: unset, unified: unset, logIngestUrl: unset, counterUrl: unset, queueName: unset,
  context: unset, token: unset, debug: unset, timeoutMs: unset,
});
createTelemetry({ context: noContext });
createTelemetry({ context: () => noContext });
createTelemetry({ context: () => undefined });
createTelemetry(unset);
void telemetry.reportFlashSuccess({ ...noContext, sessionId: unset, message: unset });
void telemetry.reportFlashSuccess(unset);
telemetry.reportError({ ...noContext, eventType: unset, error: unset, message: unset, errorName: unset, stack: unset });
telemetry.reportError(unset);
try {
  call(JSON.parse("{}"), JSON.parse("{}"));
} catch (error) {
  telemetry.reportError(error); // an unknown
  telemetry.reportError({ eventType: "flash_error", error } satisfies Failure);
}
const failure: unknown = null;
telemetry.reportError(failure);
// @ts-expect-error there is no such mode
createTelemetry({ unified: "both" });
// @ts-expect-error there is no such option
createTelemetry({ url: "https://example.org" });
"""


def examples() -> dict[str, str]:
    """Return the page's TypeScript by the path that its first line names."""
    blocks = re.findall(r"^```tsx?\n// (\S+)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return dict(blocks)


def test_every_example_says_where_it_goes() -> None:
    assert len(re.findall(r"^```tsx?$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)) == len(examples())
    assert {"web/src/ui/flashCounter.ts", "web/src/ui/clientLogReporter.ts"} <= set(examples())


def write_project(folder: Path, more: dict[str, str]) -> None:
    """Write the examples, more files and the client as a project has them."""
    for path, text in (examples() | more).items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    (folder / "web/src/vendor").mkdir()
    for name in ("telemetry.js", "telemetry.d.ts"):
        shutil.copy(CLIENT / name, folder / "web/src/vendor")


@pytest.mark.needs_npm
def test_the_drop_in_has_its_variables_when_it_is_built(tmp_path: Path) -> None:
    # Vite puts an object in the place of the words `import.meta.env`, and of no others.
    bundler = npm.install(tmp_path, npm.ESBUILD) / "esbuild"
    write_project(tmp_path, {})
    built = subprocess.run(
        [
            *(bundler, tmp_path / "web/src/ui/flashCounter.ts", "--bundle", "--minify", "--format=esm"),
            '--define:import.meta.env={"VITE_TELEMETRY_BASE_URL":"https://telemetry.example.org"}',
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "https://telemetry.example.org" in built
    assert "import.meta" not in built


@pytest.mark.needs_npm
def test_every_example_compiles(tmp_path: Path) -> None:
    compiler = npm.install(tmp_path, npm.TYPESCRIPT, npm.REACT_TYPES) / "tsc"
    write_project(tmp_path, {"web/src/vite-env.d.ts": ENVIRONMENT, "web/src/callers.ts": CALLERS})
    options = {
        "strict": True,
        "noEmit": True,
        "noUncheckedIndexedAccess": True,
        "exactOptionalPropertyTypes": True,
        "target": "es2022",
        "module": "esnext",
        "moduleResolution": "bundler",
        "lib": ["es2022", "dom", "dom.iterable"],
        "jsx": "react-jsx",
        "types": [],
    }
    project = tmp_path / "tsconfig.json"
    project.write_text(json.dumps({"compilerOptions": options, "include": ["web/src"]}))
    run = subprocess.run([compiler, "-p", project], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "")

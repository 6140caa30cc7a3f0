"""The invented app: a page that flashes radios. Its sources change with every version, as those of a real app do."""

import random
import re
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "flasher"
# Lazy chunks first. The paths of a chunk are in the order in which a bundler would write them.
CHUNKS = {
    "vendor": ["node_modules/@flasher/byte-queue/dist/index.js", "node_modules/@flasher/crc/index.js"],
    "channels": ["src/codeplug.ts", "src/ui/channels.ts"],
    "index": [
        "src/errors.ts", "src/hex.ts", "src/log.ts", "src/serial/port.ts", "src/protocol.ts", "src/bootloader.ts",
        "src/ui/progress.ts", "src/flash.ts", "src/catalog.ts", "src/ui/connect.ts", "src/telemetry.ts", "src/main.ts",
    ],
}  # fmt: skip

# What later versions add: a path, the line before which it is added, and the added lines. The order is that of time.
_CHANGES = [
    ("src/protocol.ts", "/** Write one block", """\
/** Wait for the radio to become quiet, for models that repeat their last answer. */
export async function drain(port: RadioPort): Promise<number> {
  let dropped = 0;
  for (;;) {
    const rest = await port.read(1).catch(() => null);
    if (!rest) return dropped;
    dropped += rest.length;
  }
}
"""),
    ("src/serial/port.ts", "/** Ask for a port.", """\
/** The name of a chip, for the log. */
export function chipName(info: PortInfo): string {
  if (info.usbVendorId === 0x1a86) return "CH340";
  if (info.usbVendorId === 0x10c4) return "CP2102";
  if (info.usbVendorId === 0x0403) return "FT232";
  if (info.usbVendorId === 0x067b) return "PL2303";
  return "unknown chip";
}
"""),
    ("src/codeplug.ts", "/** The channels, zones", """\
/** The tones that a channel may send, in tenths of a hertz. */
export const TONES = [
  670, 693, 719, 744, 770, 797, 825, 854, 885, 915, 948, 974, 1000, 1035, 1072, 1109, 1148, 1188, 1230, 1273, 1318,
  1365, 1413, 1462, 1514, 1567, 1622, 1679, 1738, 1799, 1862, 1928, 2035, 2065, 2107, 2181, 2257, 2291, 2336, 2418,
];

export function toneIndex(tone: number): number {
  return TONES.indexOf(Math.round(tone * 10));
}
"""),
    ("src/flash.ts", "/** Read the whole memory", """\
/** Estimate the time that is left, from the blocks that are done. */
export function secondsLeft(done: number, total: number, elapsed: number): number {
  if (done === 0) return 0;
  return Math.round(((total - done) * elapsed) / done / 1000);
}
"""),
    ("src/ui/channels.ts", "export function cell(", """\
/** Show the number of channels in the heading of a zone. */
export function showCount(count: number): void {
  document.querySelector("#channel-count").textContent = count === 1 ? "1 channel" : count + " channels";
}
"""),
    ("src/protocol.ts", "/** Compare what the radio", """\
/** Read the identification of the radio: model, region and serial number. */
export async function identification(port: RadioPort): Promise<Uint8Array> {
  await port.write(Uint8Array.of(0x02));
  const answer = await port.read(8);
  log("RX " + dump(answer));
  await port.write(Uint8Array.of(ACK));
  return answer;
}
"""),
    ("src/ui/progress.ts", "export function hideProgress", """\
/** Keep the screen awake while the radio is written. */
export async function keepAwake(): Promise<void> {
  if (!navigator.wakeLock) return;
  await navigator.wakeLock.request("screen");
}
"""),
    ("src/main.ts", "async function connectRadio", """\
function showSupport(): void {
  document.querySelector("#no-serial").hidden = Boolean(navigator.serial);
}
"""),
]  # fmt: skip
# The usual small changes: comments that move everything below them.
_NOTES = [
    "Some clones answer with a different revision here.",
    "The order matters: the radio leaves its programming mode by itself after ten seconds.",
    "Measured with a logic analyser: the radio needs 28 ms for a block.",
    "Keep this in step with the table in the manual of the vendor.",
    "The first byte is echoed by some cables.",
    "Windows reports the port before its driver is ready.",
    "See the wiki for a capture of the vendor's own program.",
    "A timeout is no failure here, because old models say nothing.",
]
_MOST_STEPS = 40  # Later versions only get other names.
_DECLARATION = re.compile(
    r"(?<!\*/\n)^(?=(?:/\*\* |export (?:async )?function|export class|async function|function ))", re.MULTILINE
)


@cache
def _first_sources() -> dict[str, str]:
    """Return the text of each source in the first version, by its path."""
    paths = [path for paths in CHUNKS.values() for path in paths]
    files = {path: _FOLDER / re.sub("^node_modules/@flasher/", "packages/", path) for path in paths}
    return {path: file.read_text(encoding="utf-8") for path, file in files.items()}


def sources(number: int, seed: str) -> dict[str, str]:
    """Return the text of each source in the version with this number, counted from 0, by its path.

    Every version contains the changes of the versions before it, so that lines move down with time.
    """
    texts = dict(_first_sources())
    own = [path for path in texts if path.startswith("src/")]
    rng = random.Random(seed)  # noqa: S311 (demo data, not a secret)
    for step in range(min(number, _MOST_STEPS)):
        if step < len(_CHANGES):
            path, before, added = _CHANGES[step]
            texts[path] = texts[path].replace(before, f"{added}\n{before}", 1)
        for path in rng.sample(own, 4):
            if places := [match.start() for match in _DECLARATION.finditer(texts[path])]:
                at = rng.choice(places)
                note = "".join(f"// {line}\n" for line in rng.sample(_NOTES, rng.randrange(1, 5)))
                texts[path] = f"{texts[path][:at]}{note}{texts[path][at:]}"
    return texts

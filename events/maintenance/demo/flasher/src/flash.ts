import { checkRevision, eraseFlash, identify, reboot } from "./bootloader";
import { fail, reasonOf } from "./errors";
import { log } from "./log";
import { handshake, readBlock, setClock, verify, writeBlock } from "./protocol";
import { showProgress } from "./ui/progress";

const STEP_BYTES = 64;
const MEMORY_BYTES = 8192;

/** Write an image: connect, check, erase, write, verify. `step` is what a failure report says about the place. */
export async function flash(port: RadioPort, image: FirmwareImage, state: AppState): Promise<void> {
  state.step = "handshake";
  await /*@flash-handshake*/handshake(port);
  const revision = await /*@flash-identify*/identify(port);
  /*@flash-revision*/checkRevision(image.revision, revision);
  await /*@flash-erase*/eraseFlash(port, image.bytes.length);
  state.step = "write";
  for (let block = 0; block * STEP_BYTES < image.bytes.length; block += 1) {
    const start = block * STEP_BYTES;
    await /*@flash-write*/writeBlock(port, block, image.bytes.slice(start, start + STEP_BYTES));
    /*@flash-progress*/showProgress(block, image.bytes.length / STEP_BYTES);
  }
  state.step = "verify";
  await /*@flash-verify*/verify(port, image.bytes);
  await /*@flash-clock*/setClock(port, new Date());
  await /*@flash-reboot*/reboot(port);
  log("done");
}

/** Read the whole memory, before anything is written. */
export async function backup(port: RadioPort, state: AppState): Promise<Uint8Array> {
  state.step = "read";
  const memory = new Uint8Array(MEMORY_BYTES);
  for (let address = 0; address < MEMORY_BYTES; address += STEP_BYTES) {
    const block = await /*@backup-reads*/readBlock(port, address);
    memory.set(block, address);
  }
  /*@backup-checks*/checkCalibration(memory);
  return memory;
}

/** A backup without its calibration data is of no use. */
export function checkCalibration(memory: Uint8Array): void {
  const region = memory.subarray(0x1f00, 0x2000);
  if (region.every((byte) => byte === 0xff)) /*@calibration*/fail("Calibration backup", reasonOf(region[0]));
}

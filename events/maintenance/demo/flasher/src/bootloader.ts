import { RadioError, fail, reasonOf } from "./errors";
import { hex } from "./hex";
import { log } from "./log";

const REVISIONS = [1, 2, 3, 5];
const SECTOR_BYTES = 4096;

/** Ask the bootloader for its revision. */
export async function identify(port: RadioPort): Promise<number> {
  await port.write(Uint8Array.of(0x49));
  const answer = await port.read(2);
  log("RX " + hex(answer[0], 2));
  if (!REVISIONS.includes(answer[1])) {
    throw /*@identify*/new RadioError("InvalidStateError", "Bootloader answered with an unknown revision");
  }
  return answer[1];
}

/** Refuse an image that was built for another bootloader. */
export function checkRevision(wanted: number, found: number): void {
  if (wanted === found) return;
  throw /*@bootloader*/new RadioError("WrongBootloaderError", "Wrong bootloader: image needs revision " + wanted + ", radio has " + found);
}

/** Erase the sectors that an image will fill. */
export async function eraseFlash(port: RadioPort, length: number): Promise<void> {
  for (let at = 0; at < length; at += SECTOR_BYTES) {
    await port.write(Uint8Array.of(0x45, at >> 12));
    const answer = await port.read(1);
    if (answer[0] !== 0x06) /*@erase*/fail("Erase", reasonOf(answer[0]));
  }
}

/** Leave the bootloader. */
export async function reboot(port: RadioPort): Promise<void> {
  await port.write(Uint8Array.of(0x42));
  const answer = await port.read(1);
  if (answer[0] !== 0x06) /*@reboot*/fail("Reboot", reasonOf(answer[0]));
}

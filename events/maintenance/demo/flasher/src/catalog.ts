import { crc16 } from "@flasher/crc";
import { RadioError, fail, reasonOf } from "./errors";
import { log } from "./log";

const CATALOG = "/firmware/catalog.json";

/** Load the list of firmware images, and give up when the user opens another tab. */
export async function loadCatalog(signal: AbortSignal): Promise<Array<FirmwareEntry>> {
  log("firmware list asked for");
  const response = await /*@catalog-fetch*/fetch(CATALOG, { signal: signal });
  if (!response.ok) throw /*@catalog-status*/new RadioError("HttpError", "Firmware list: HTTP " + response.status);
  const entries = await response./*@catalog-json*/json();
  return entries.filter((entry) => !entry.withdrawn);
}

/** Load one image and check it. */
export async function loadFirmware(entry: FirmwareEntry): Promise<FirmwareImage> {
  const response = await /*@firmware-fetch*/fetch(entry.url);
  const buffer = await response.arrayBuffer();
  const bytes = new Uint8Array(buffer);
  if (bytes.length !== entry.size) /*@firmware*/fail("Firmware download", reasonOf(bytes.length));
  /*@firmware-check*/verifySignature(bytes, entry.crc);
  return { bytes: bytes, revision: entry.revision, model: entry.model };
}

/** Refuse an image that was changed on its way. */
export function verifySignature(bytes: Uint8Array, expected: number): void {
  if (crc16(bytes) !== expected) /*@signature*/fail("Signature check", reasonOf(bytes[0]));
}

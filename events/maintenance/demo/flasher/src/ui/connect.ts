import { log } from "../log";
import { RadioPort, choosePort } from "../serial/port";

/** Connect when the user asks for it. */
export async function connect(state: AppState): Promise<RadioPort> {
  state.step = "connect";
  const chosen = await /*@connect-chooses*/choosePort();
  const info = chosen.getInfo();
  state.usb = info.usbVendorId.toString(16) + ":" + info.usbProductId.toString(16);
  const port = new RadioPort(chosen);
  await port./*@connect-opens*/open();
  log("port " + state.usb);
  return port;
}

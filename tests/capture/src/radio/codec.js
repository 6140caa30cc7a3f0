import address from "../codec.wat";
import ChecksumWorker from "./checksum.worker.js?worker&inline";

async function loadCodec() {
  const { instance } = await WebAssembly.instantiateStreaming(fetch(address));
  return instance.exports;
}

export async function openImage(magic) {
  const codec = await loadCodec();
  codec.open_image(magic);
}

export async function decodeImage(at) {
  const codec = await loadCodec();
  return codec.decode_image(at);
}

/** Return the checksum of an image. The worker sends its errors as plain objects, as message libraries do. */
export function checksum(image) {
  const worker = new ChecksumWorker();
  return new Promise((resolve, reject) => {
    worker.addEventListener("message", ({ data }) => {
      if (data.error) reject(Object.assign(new Error(data.error.message), data.error));
      else resolve(data.sum);
    });
    worker.postMessage(image);
  });
}

export function keepInWorker(image, onDone) {
  new ChecksumWorker().postMessage({ image, onDone });
}

export class ByteQueue {
  constructor() {
    this.bytes = [];
    this.waiting = null;
  }

  get length() {
    return this.bytes.length;
  }

  push(part) {
    for (const byte of part) this.bytes.push(byte);
    if (this.waiting && this.bytes.length >= this.waiting.count) {
      const ready = this.waiting;
      this.waiting = null;
      clearTimeout(ready.timer);
      ready.resolve(Uint8Array.from(this.bytes.splice(0, ready.count)));
    }
  }

  take(count, timeoutMs) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.waiting = null;
        const failure = /*@queue-timeout*/new Error("Read timed out at " + this.bytes.length + " after " + timeoutMs + " ms");
        failure.name = "TimeoutError";
        reject(failure);
      }, timeoutMs);
      this.waiting = { count: count, resolve: resolve, timer: timer };
      this.push([]);
    });
  }
}

function sumOf(blocks) {
  return blocks.map((block) => block.bytes.reduce((sum, byte) => (sum + byte) & 0xff, 0));
}

function handle({ blocks }) {
  const sums = sumOf(blocks);
  return sums.reduce((total, sum) => total ^ sum, 0);
}

addEventListener("message", ({ data }) => {
  try {
    postMessage({ sum: handle(data) });
  } catch (error) {
    postMessage({ error: { name: error.name, message: error.message, stack: error.stack } });
  }
});

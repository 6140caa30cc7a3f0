export function showProgress(percent) {
  document.querySelector("#progress-label").textContent = `${percent} %`;
}

export async function openHelp() {
  const { showHelp } = await import("./help.js");
  showHelp();
}

export async function openChangelog() {
  const { showChangelog } = await import("./changelog.js");
  showChangelog();
}

/** Grow the log each time that its size changes, so the observer never comes to rest within a frame. */
export function followLog() {
  const log = document.createElement("div");
  log.style.height = "100px";
  new ResizeObserver(() => {
    if (log.offsetHeight < 150) log.style.height = `${log.offsetHeight + 1}px`;
  }).observe(log);
  document.body.append(log);
}

export function loadPartner() {
  const script = document.createElement("script");
  script.src = `${__OTHER_ORIGIN__}/partner.js`;
  document.body.append(script);
}

export function saveImage(image) {
  localStorage.setItem("last-image", image);
}

export function lastModel() {
  return localStorage.getItem("last-model") ?? "UV-5RM";
}

/** Open this page in a frame that has no storage. */
export function openPreview() {
  const frame = document.createElement("iframe");
  frame.sandbox = "allow-scripts";
  frame.src = location.href;
  document.body.append(frame);
}

export async function pasteChannels() {
  const text = await navigator.clipboard.readText();
  return text.split("\n");
}

export async function loadRepeaters() {
  const response = await fetch(`${__SITE__}/broken`);
  return response.json();
}

export async function loadModels() {
  const response = await fetch(`${__SITE__}/models.json`);
  return response.json();
}

export async function downloadFirmware() {
  const patience = new AbortController();
  setTimeout(() => patience.abort(), 100);
  const response = await fetch(`${__SITE__}/silent`, { signal: patience.signal });
  return response.arrayBuffer();
}

// Only build b contains this module, as a later release has a new feature.
const bands = { "2m": [144, 148], "70cm": [420, 450] };

export function bandOf(frequency) {
  for (const [band, [low, high]] of Object.entries(bands)) {
    if (frequency >= low && frequency < high) return band;
  }
  return "other";
}

export function repeatersNear(list, here, most = 10) {
  const distance = ({ latitude, longitude }) => Math.hypot(latitude - here.latitude, longitude - here.longitude);
  return [...list].sort((one, other) => distance(one) - distance(other)).slice(0, most);
}

addEventListener("repeaters", ({ detail }) => {
  for (const repeater of repeatersNear(detail.list, detail.here)) console.info(bandOf(repeater.output), repeater.call);
});

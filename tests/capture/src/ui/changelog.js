export function showChangelog() {
  document.body.insertAdjacentHTML("beforeend", `<ul><li>Release ${__BUILD__}</li></ul>`);
}

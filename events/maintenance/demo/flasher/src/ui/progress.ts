/** Show how far the radio is. */
export function showProgress(done: number, total: number): void {
  const share = Math.round((100 * done) / total);
  document.querySelector("#progress").style.width = share + "%";
  document.querySelector("#progress-label")./*@set-progress*/textContent = share + " %";
}

export function hideProgress(): void {
  document.querySelector("#progress").style.width = "0";
}

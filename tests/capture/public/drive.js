// Drives the page: click the button, send the report, and open the next fault when the server has received the report.
addEventListener("load", async () => {
  const { telemetry, faults } = globalThis.flasher;
  const fault = new URLSearchParams(location.search).get("fault");
  const next = faults[faults.indexOf(fault) + 1];
  if (fault) {
    document.querySelector("#start").click();
    let response;
    do {
      await new Promise((resolve) => setTimeout(resolve, 100));
      await telemetry.flush();
      response = await fetch(`/is-settled/${fault}`);
    } while (!(await response.json()));
  }
  if (top === self) location.assign(next ? `?fault=${next}` : "/end");
});

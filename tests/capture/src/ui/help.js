import "./help.css";

export function showHelp() {
  document.body.insertAdjacentHTML("beforeend", '<div class="help">Hold the button for 3 seconds.</div>');
}

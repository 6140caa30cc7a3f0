// Progressive enhancement of the export page: moves and unticks columns without a request, shows the progress of a
// download.
'use strict';
{
  const POLL_MS = 1000;
  // The time until a download that has not begun is no longer expected.
  const PATIENCE_MS = 30000;
  const form = document.querySelector('.export-form');
  const said = document.getElementById('moved');

  const move = (button) => {
    const [direction, name] = button.value.split(' ');
    const item = button.closest('li');
    const other = direction === 'up' ? item.previousElementSibling : item.nextElementSibling;
    if (other?.classList.contains('chosen')) {
      if (direction === 'up') other.before(item);
      else other.after(item);
      button.focus();
      const chosen = [...item.parentElement.querySelectorAll('.chosen')];
      said.textContent = `${name} is column ${chosen.indexOf(item) + 1} of ${chosen.length}`;
    }
  };

  const untickAll = () => {
    for (const box of form.querySelectorAll('input[name="x.column"]')) box.checked = false;
    form.querySelector('input[name="x.column"]').focus();
    said.textContent = 'No column is ticked.';
  };

  const untick = form?.querySelector('[data-untick]');
  if (untick) {
    untick.hidden = false;
    untick.addEventListener('click', untickAll);
  }

  const inBytes = (bytes) => {
    const units = ['bytes', 'KiB', 'MiB', 'GiB'];
    const step = Math.min(Math.floor(Math.log2(Math.max(bytes, 1)) / 10), units.length - 1);
    return `${(bytes / 1024 ** step).toFixed(step ? 1 : 0)} ${units[step]}`;
  };

  // One page can start several downloads, one after the other. Each has an id of its own.
  const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');

  const follow = async (id) => {
    const line = form.querySelector('.export-progress');
    line.hidden = false;
    line.textContent = 'The download starts.';
    const startedAt = Date.now();
    for (let state = 'waiting'; state === 'running' || (state === 'waiting' && Date.now() - startedAt < PATIENCE_MS);) {
      await new Promise((resolve) => { setTimeout(resolve, POLL_MS); });
      const response = await fetch(form.dataset.progress.replace('/ID/', `/${id}/`)).catch(() => null);
      if (form.elements['x.id'].value !== id) return; // a later download has its own line
      if (response?.ok) {
        const progress = await response.json();
        state = progress.state;
        const size = `${progress.rows.toLocaleString('en')} rows read, ${inBytes(progress.bytes)} sent`;
        line.textContent = { running: `${size} …`, done: `Done: ${size}.` }[state]
          ?? `The download ended early: ${size}. The file is incomplete. Download it again.`;
      } else if (state === 'waiting' && Date.now() - startedAt >= PATIENCE_MS) {
        line.textContent = 'The progress is not known. The download may still be running.';
      }
    }
  };

  form?.addEventListener('click', (event) => {
    const button = event.target.closest('button[name="x.action"]');
    if (/^(up|down) /.test(button?.value)) {
      event.preventDefault();
      move(button);
    } else if (button?.value === 'download') {
      const id = newId();
      form.elements['x.id'].value = id;
      follow(id);
    }
  });
}

// Keyboard shortcuts of the admin. Everything that they do is also a link, a button or a field of the page.
//
// `data-rows` marks a list: each of its rows has a link, which takes the focus. `data-key` marks the link, the button
// or the field that a key stands for.
'use strict';
{
  const OFF = 'shortcuts-off';
  const ROWS = '[data-rows] tbody tr, [data-rows] > li, #result_list tbody tr';
  const TEXT_FIELDS = 'input, textarea, select, [contenteditable]:not([contenteditable="false"]), [role="textbox"]';
  // The keys that open the form of a decision about rows.
  const DECISIONS = ['r', 'm', 'e'];

  const dialog = document.getElementById('shortcuts');
  const status = document.getElementById('shortcut-status');
  const choice = document.getElementById('shortcuts-on');
  const targetOf = (key) => document.querySelector(`[data-key="${key}"]`) ?? (key === '/' ? document.getElementById('searchbar') : null);

  // Without localStorage, the switch works for this page.
  let isOff = false;
  const read = () => {
    try {
      isOff = localStorage.getItem(OFF) === '1';
    } catch {
      // Keep the switch as it is.
    }
  };
  const announceKeys = () => {
    for (const target of document.querySelectorAll('[data-key]')) {
      if (isOff) target.removeAttribute('aria-keyshortcuts');
      else target.setAttribute('aria-keyshortcuts', target.dataset.key);
    }
  };
  const turn = (off) => {
    isOff = off;
    try {
      if (off) localStorage.setItem(OFF, '1');
      else localStorage.removeItem(OFF);
    } catch {
      // Keep the switch for this page.
    }
    announceKeys();
  };

  const say = (words) => { status.textContent = words; };

  // --- rows ---

  const rows = () => [...document.querySelectorAll(ROWS)].filter((row) => row.getClientRects().length);
  const currentRow = () => document.activeElement?.closest(ROWS);
  const boxOf = (row) => row?.querySelector('.tick input, input.action-select');
  const focusRow = (row) => {
    let target = row.querySelector('th a[href], .message a[href], td.field-__str__ a[href], a[href]');
    if (!target) {
      target = row.querySelector('th') ?? row.firstElementChild;
      target.tabIndex = -1;
    }
    target.focus();
    row.scrollIntoView({ block: 'nearest' });
  };
  const step = (by) => {
    const all = rows();
    const at = all.indexOf(currentRow());
    const next = at < 0 ? all[by > 0 ? 0 : all.length - 1] : all[at + by];
    if (next) focusRow(next);
    else say(by > 0 ? 'This is the last row.' : 'This is the first row.');
  };
  const tick = () => {
    const box = boxOf(currentRow());
    if (!box) return;
    box.click();
    const ticked = rows().filter((row) => boxOf(row)?.checked).length;
    say(`${box.checked ? 'Selected' : 'Not selected'}. ${ticked} row${ticked === 1 ? '' : 's'} selected.`);
  };

  // The button opens the form for the ticked rows. Without any, the form is for the row that has the focus.
  const decide = (button) => {
    const { form } = button;
    if (form.querySelector('.tick input:checked, input[name="all"]:checked')) {
      button.click();
      return;
    }
    const box = boxOf(currentRow());
    if (!box || box.form !== form) {
      say('Choose a row with j or k, or select rows with x.');
      return;
    }
    const query = new URLSearchParams([[button.name, button.value], [box.name, box.value]]);
    // A field named "action" hides the property of the form.
    location.assign(`${form.getAttribute('action')}?${query}`);
  };

  // --- keys ---

  const follow = (target) => {
    if (target.matches('input')) {
      target.focus();
      target.select();
    } else if (target.matches('button')) decide(target);
    else target.click();
  };

  const help = () => {
    choice.checked = !isOff;
    dialog.showModal();
  };

  // Return whether the key did something.
  const press = (key) => {
    const target = targetOf(key);
    if (key === '?') help();
    else if (target) follow(target);
    else if ((key === 'j' || key === 'k') && rows().length) step(key === 'j' ? 1 : -1);
    else if (key === 'x' && boxOf(currentRow())) tick();
    else if (key === 'j' && targetOf('k')) say('This is the last one.');
    else if (key === 'k' && targetOf('j')) say('This is the first one.');
    else return false;
    return true;
  };

  const isForShortcuts = (event) => {
    if (isOff || event.defaultPrevented || event.isComposing || event.keyCode === 229) return false;
    if (event.ctrlKey || event.altKey || event.metaKey) return false;
    if (event.repeat && event.key !== 'j' && event.key !== 'k') return false;
    if (document.querySelector('dialog[open]')) return false;
    return !event.composedPath().some((part) => part instanceof Element && part.matches(TEXT_FIELDS));
  };

  if (dialog && status) {
    read();
    announceKeys();
    addEventListener('storage', ({ key }) => {
      if (key !== OFF && key !== null) return;
      read();
      announceKeys();
    });

    choice.addEventListener('change', () => turn(!choice.checked));

    for (const button of document.querySelectorAll('[data-opens="shortcuts"]')) {
      button.parentElement.hidden = false;
      button.addEventListener('click', help);
    }

    document.addEventListener('keydown', (event) => {
      if (!['/', 'j', 'k', 'x', '?', ...DECISIONS].includes(event.key) || !isForShortcuts(event)) return;
      say('');
      if (press(event.key)) event.preventDefault();
    });
  }
}

// Progressive enhancement: every page works without this script.
'use strict';
{
  const UNITS = [[60, 1, 's'], [3600, 60, 'min'], [2 * 86400, 3600, 'h'], [Infinity, 86400, 'days']];
  const loadedAt = Date.now();
  // The server's relative times are correct at load. Add the time since then: this machine's clock may be wrong.
  const updateAge = (time) => {
    const seconds = Math.floor((Date.now() - loadedAt) / 1000 + time.secondsThen);
    const [, size, unit] = UNITS.find(([below]) => seconds < below);
    time.textContent = `${Math.floor(seconds / size)} ${unit} ago`;
  };

  // Screen readers announce changes of an element that was empty when the page was loaded.
  let message;
  let announced = 0;
  const announce = (words) => {
    message.textContent = words;
    const number = ++announced;
    setTimeout(() => { if (number === announced) message.textContent = ''; }, 6000);
  };

  const copy = async (button) => {
    const source = document.getElementById(button.dataset.copy);
    const lines = source.querySelectorAll('li');
    const text = lines.length ? Array.from(lines, (line) => line.textContent).join('\n') : source.textContent;
    const label = button.textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = 'Copied';
      announce('Copied.');
    } catch {
      // There is no clipboard without HTTPS. Select the text instead, so that the user can copy it.
      source.closest('details')?.setAttribute('open', '');
      if (source.select) source.select();
      else getSelection().selectAllChildren(source);
      button.textContent = 'Selected';
      announce('This page may not write to the clipboard. The text is selected: copy it with Ctrl+C or ⌘C.');
    }
    setTimeout(() => { button.textContent = label; }, 1500);
  };

  const start = () => {
    const now = Date.parse(document.querySelector('meta[name="page-now"]')?.content);
    const times = now ? [...document.querySelectorAll('time[data-relative]')] : [];
    for (const time of times) time.secondsThen = Math.max(0, (now - Date.parse(time.dateTime)) / 1000);
    if (times.length) setInterval(() => times.forEach(updateAge), 30000);

    for (const time of document.querySelectorAll('time[datetime][title]')) {
      const localTime = new Date(time.dateTime).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'long' });
      time.title += `\n${localTime}`;
    }

    message = document.createElement('p');
    message.className = 'announcement';
    message.setAttribute('role', 'status');
    message.setAttribute('aria-live', 'polite');
    document.body.append(message);

    for (const button of document.querySelectorAll('button[data-copy]')) {
      button.hidden = false;
      button.addEventListener('click', () => copy(button));
    }

    // A page that shows a secret once must not show it again after "Back", which may restore the page from memory.
    addEventListener('pagehide', () => document.querySelectorAll('[data-forget]').forEach((part) => part.remove()));

    // The time lies above the row's link, to show its title. Forward a click on it to the link.
    document.addEventListener('click', ({ target }) => target.closest('.rows time')?.closest('tr').querySelector('a').click());

    const narrow = matchMedia('(max-width: 700px)');
    const fold = () => document.querySelectorAll('details[data-folds]').forEach((part) => { part.open = !narrow.matches; });
    narrow.addEventListener('change', fold);
    fold();

    // Accessibility of Django's forms: add a role to icons, and names to both parts of a date and time.
    addEventListener('load', () => {
      for (const icon of document.querySelectorAll('span.help-tooltip[aria-label]')) icon.setAttribute('role', 'img');
      for (const part of document.querySelectorAll('.datetime input')) part.setAttribute('aria-label', part.previousSibling.textContent.trim());
    });

    // Hide the fold when the whole message fits.
    const long = document.querySelector('h1.long');
    const unfold = document.querySelector('.unfold');
    const hideIdleFold = () => { unfold.hidden = !unfold.open && long.scrollHeight <= long.clientHeight; };
    if (long) new ResizeObserver(hideIdleFold).observe(long);

    const menus = [...document.querySelectorAll('.more')];
    document.addEventListener('click', ({ target }) => {
      for (const menu of menus) if (!menu.contains(target)) menu.open = false;
    });
    document.addEventListener('keydown', (event) => {
      const menu = menus.find((one) => one.open);
      if (event.key !== 'Escape' || !menu) return;
      menu.open = false;
      menu.querySelector('summary').focus();
    });
  };
  start();
}

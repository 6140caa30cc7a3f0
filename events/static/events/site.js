// Comfort alone: every page works without it.
'use strict';
{
  const UNITS = [[60, 1, 's'], [3600, 60, 'min'], [2 * 86400, 3600, 'h'], [Infinity, 86400, 'days']];
  const loadedAt = Date.now();
  // The server's words are right when the page arrives, whatever this machine's clock says; only time passed counts.
  const sayWhen = (time) => {
    const seconds = Math.floor((Date.now() - loadedAt) / 1000 + time.secondsThen);
    const [, size, unit] = UNITS.find(([below]) => seconds < below);
    time.textContent = `${Math.floor(seconds / size)} ${unit} ago`;
  };

  const copy = async (button) => {
    const source = document.getElementById(button.dataset.copy);
    const lines = source.querySelectorAll('li');
    const text = lines.length ? Array.from(lines, (line) => line.textContent).join('\n') : source.textContent;
    const said = button.textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = 'Copied';
    } catch {
      // No clipboard without https: what was meant is marked, and the keyboard's own copy takes it.
      source.closest('details')?.setAttribute('open', '');
      getSelection().selectAllChildren(source);
      button.textContent = 'Marked';
    }
    setTimeout(() => { button.textContent = said; }, 1500);
  };

  const start = () => {
    const now = Date.parse(document.querySelector('meta[name="page-now"]')?.content);
    const times = now ? [...document.querySelectorAll('time[data-relative]')] : [];
    for (const time of times) time.secondsThen = Math.max(0, (now - Date.parse(time.dateTime)) / 1000);
    if (times.length) setInterval(() => times.forEach(sayWhen), 30000);

    for (const time of document.querySelectorAll('time[datetime][title]')) {
      const there = new Date(time.dateTime).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'long' });
      time.title += `\n${there}`;
    }

    for (const button of document.querySelectorAll('button[data-copy]')) {
      button.hidden = false;
      button.addEventListener('click', () => copy(button));
    }

    // The time of a row stands above the row's link, to show its title; a click on it is meant for the row.
    document.addEventListener('click', ({ target }) => target.closest('.rows time')?.closest('tr').querySelector('a').click());

    const narrow = matchMedia('(max-width: 700px)');
    const fold = () => document.querySelectorAll('details[data-folds]').forEach((part) => { part.open = !narrow.matches; });
    narrow.addEventListener('change', fold);
    fold();

    // In Django's forms some icons have words but no role, and the two parts of a moment have no name.
    addEventListener('load', () => {
      for (const icon of document.querySelectorAll('span.help-tooltip[aria-label]')) icon.setAttribute('role', 'img');
      for (const part of document.querySelectorAll('.datetime input')) part.setAttribute('aria-label', part.previousSibling.textContent.trim());
    });

    // A message that fits as it is needs no fold.
    const long = document.querySelector('h1.long');
    const unfold = document.querySelector('.unfold');
    const hideIdleFold = () => { unfold.hidden = !unfold.open && long.scrollHeight <= long.clientHeight; };
    if (long) new ResizeObserver(hideIdleFold).observe(long);

    const menu = document.querySelector('.more');
    document.addEventListener('click', ({ target }) => { if (menu && !menu.contains(target)) menu.open = false; });

    document.addEventListener('keydown', (event) => {
      if (event.key === 'Escape' && menu?.open) {
        menu.open = false;
        menu.querySelector('summary').focus();
      }
      const search = document.querySelector('[data-key="/"]');
      if (event.key !== '/' || event.ctrlKey || event.metaKey || !search) return;
      if (event.target.closest('input, select, textarea')) return;
      event.preventDefault();
      search.focus();
      search.select();
    });
  };
  start();
}

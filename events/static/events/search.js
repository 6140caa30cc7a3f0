// Completion of the search field: an ARIA combobox. Without this script, the field works without suggestions.
'use strict';
{
  const MAX_SHOWN = 8;
  const LEAST_TYPED = 2; // of a name; a single letter is more often the start of a word

  const quoted = (value) => (/^"|\s/.test(value) ? `"${value.replace(/["\\]/g, '\\$&')}"` : value);

  // Return the start of the term that ends with this text, as the grammar in events/reports/search splits a search.
  const startOfTerm = (text) => {
    let start = 0;
    let isInQuotes = false;
    for (let at = 0; at < text.length; at += 1) {
      if (isInQuotes && text[at] === '\\') at += 1;
      else if (isInQuotes) isInQuotes = text[at] !== '"';
      else if (/\s/.test(text[at])) start = at + 1;
      else isInQuotes = text[at] === '"' && (at === start || /^-?[a-z][\w.]*:$/i.test(text.slice(start, at)));
    }
    return start;
  };

  // Return the values that contain the typed text, those that begin with it first.
  const matching = (values, typed) => {
    const needle = typed.toLowerCase();
    const found = values.filter((value) => value.toLowerCase().includes(needle) && value !== typed);
    const begins = (value) => value.toLowerCase().startsWith(needle);
    return [...found.filter(begins), ...found.filter((value) => !begins(value))];
  };

  const start = (field, filters) => {
    const names = Array.from(filters.options, ({ value }) => value);
    const dataOf = (name) => filters.options[names.indexOf(name.toLowerCase())]?.dataset;
    const valuesOf = ({ values, choices }) => {
      const known = values ? document.getElementById(values)?.options ?? [] : [];
      return choices ? choices.split(' ') : Array.from(known, ({ value }) => value);
    };
    const list = document.createElement('ul');
    list.id = 'search-suggestions';
    list.className = 'suggestions';
    list.hidden = true;
    list.setAttribute('role', 'listbox');
    list.setAttribute('aria-label', 'Suggestions');
    field.after(list);
    // A combobox is a text field; a search field has no such role.
    const attributes = {
      type: 'text', role: 'combobox', autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false', enterkeyhint: 'search',
      'aria-autocomplete': 'list', 'aria-expanded': 'false', 'aria-controls': list.id,
    };
    for (const [name, value] of Object.entries(attributes)) field.setAttribute(name, value);
    let active = -1;

    const close = () => {
      list.hidden = true;
      list.replaceChildren();
      active = -1;
      field.setAttribute('aria-expanded', 'false');
      field.removeAttribute('aria-activedescendant');
    };

    const activate = (number) => {
      list.children[active]?.setAttribute('aria-selected', 'false');
      active = number;
      const option = list.children[active];
      if (!option) {
        field.removeAttribute('aria-activedescendant');
        return;
      }
      option.setAttribute('aria-selected', 'true');
      option.scrollIntoView({ block: 'nearest' });
      field.setAttribute('aria-activedescendant', option.id);
    };

    // Return the typed text before the caret that a suggestion would replace, null within a word.
    const typedTerm = () => {
      const { value, selectionStart: caret, selectionEnd } = field;
      if (caret !== selectionEnd || /\S/.test(value[caret] ?? ' ')) return null;
      return value.slice(startOfTerm(value.slice(0, caret)), caret);
    };

    const suggestions = (term, isAsked) => {
      const [, sign, name, typed] = /^(-?)([a-z][\w.]*):(.*)$/is.exec(term) ?? [];
      if (name) {
        const data = dataOf(name);
        if (!data || (sign && !('excludes' in data))) return [];
        const text = typed.replace(/^"/, '').replace(/\\(["\\])/g, '$1');
        return matching(valuesOf(data), text).map((value) => `${sign}${name}:${quoted(value)}`);
      }
      if (term.length < LEAST_TYPED && !isAsked && term !== '-') return [];
      if (!term.startsWith('-')) return names.map((one) => `${one}:`).filter((one) => one.startsWith(term.toLowerCase()));
      const excluding = names.filter((one) => one !== 'expected' && 'excludes' in dataOf(one)).map((one) => `-${one}:`);
      return ['-expected', ...excluding].filter((one) => one.startsWith(term.toLowerCase()) && one !== term);
    };

    const update = (isAsked = false) => {
      close();
      const term = typedTerm();
      const shown = term === null ? [] : suggestions(term, isAsked).slice(0, MAX_SHOWN);
      if (!shown.length) return;
      list.replaceChildren(...shown.map((text, number) => {
        const option = document.createElement('li');
        option.id = `search-suggestion-${number}`;
        option.setAttribute('role', 'option');
        option.setAttribute('aria-selected', 'false');
        option.textContent = text;
        return option;
      }));
      list.hidden = false;
      field.setAttribute('aria-expanded', 'true');
    };

    const accept = (text) => {
      const caret = field.selectionStart;
      const from = startOfTerm(field.value.slice(0, caret));
      const isName = text.endsWith(':');
      field.setRangeText(isName ? text : `${text} `, from, caret, 'end');
      close();
      if (isName) update();
    };

    const keys = {
      ArrowDown() {
        if (list.hidden) update(true);
        activate((active + 1) % Math.max(list.children.length, 1));
      },
      ArrowUp() { activate(active <= 0 ? list.children.length - 1 : active - 1); },
      Enter() { accept(list.children[active].textContent); },
      Escape() { close(); },
    };
    field.addEventListener('keydown', (event) => {
      if (event.isComposing || event.ctrlKey || event.metaKey || !Object.hasOwn(keys, event.key)) return;
      if (list.hidden && event.key !== 'ArrowDown') return;
      if (event.key === 'Enter' && active < 0) return; // sends the form
      event.preventDefault();
      keys[event.key]();
    });
    field.addEventListener('input', (event) => { if (!event.isComposing) update(); });
    field.addEventListener('blur', close);
    list.addEventListener('mousedown', (event) => event.preventDefault()); // keeps the focus in the field
    list.addEventListener('click', ({ target }) => { if (target.closest('li')) accept(target.closest('li').textContent); });
  };

  const field = document.querySelector('input[data-search]');
  const filters = document.getElementById('search-filters');
  if (field && filters) start(field, filters);
}

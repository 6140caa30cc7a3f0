// Swagger UI has a dark look of its own, which hangs on a class; it follows the theme of the admin.
'use strict';
{
  const root = document.documentElement;
  const prefersDark = matchMedia('(prefers-color-scheme: dark)');
  const follow = () => {
    const { theme } = root.dataset;
    root.classList.toggle('dark-mode', theme === 'dark' || (theme !== 'light' && prefersDark.matches));
  };
  prefersDark.addEventListener('change', follow);
  follow();
}

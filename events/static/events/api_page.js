// Applies the admin's theme to Swagger UI, whose dark theme depends on a CSS class.
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

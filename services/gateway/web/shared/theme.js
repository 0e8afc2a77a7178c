// Applies the stored theme before the first paint. A classic script: modules run too late.
try {
  const theme = localStorage.getItem('dm.theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {
  // Storage is blocked: the system's theme applies.
}

// A classic script in the head: the chosen theme is set before anything is painted.
{
  let chosen = null;
  try {
    chosen = localStorage.getItem('roadstead.theme');
  } catch {
    // Storage is turned off in this browser: the system's theme is used.
  }
  if (chosen === 'light' || chosen === 'dark') document.documentElement.dataset.theme = chosen;
}

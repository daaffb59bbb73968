// Runs before the page is drawn: the theme that was chosen, if one was.
"use strict";
try {
  const theme = localStorage.getItem("safegen-theme");
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
} catch { /* storage is off: the system's theme it is */ }

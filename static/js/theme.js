// Runs before the first paint: the chosen looks, and that there is a script at all.
"use strict";
document.documentElement.classList.add("js");
try {
  for (const choice of ["theme", "density"]) {
    const chosen = localStorage.getItem(choice);
    if (chosen) document.documentElement.dataset[choice] = chosen;
  }
} catch {
  // No storage: the system's theme.
}

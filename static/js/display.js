// What a person chooses once: how dense the rows are, and whether keys act. The theme is in app.js.
"use strict";
(() => {
  const root = document.documentElement;
  const menu = document.getElementById("display");
  const density = document.getElementById("density-choice");
  const keys = document.getElementById("keys-choice");
  if (!menu) return;

  const remember = (name, value) => {
    try {
      value ? localStorage.setItem(name, value) : localStorage.removeItem(name);
    } catch {
      // No storage: it holds until the page is left.
    }
  };

  density.value = root.dataset.density ?? "";
  density.addEventListener("change", () => {
    remember("density", density.value);
    if (density.value) root.dataset.density = density.value;
    else delete root.dataset.density;
  });

  try {
    keys.checked = localStorage.getItem("keys") !== "off";
  } catch {
    // No storage: they are on.
  }
  keys.addEventListener("change", () => remember("keys", keys.checked ? "" : "off"));

  // The menu closes like one: by Escape, and by a click elsewhere.
  document.addEventListener("click", (event) => {
    if (!menu.contains(event.target)) menu.open = false;
  });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });

  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-open]");
    if (opener) document.getElementById(opener.dataset.open)?.showModal();
  });
})();

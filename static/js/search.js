// The list of jobs: what may stand where a person is typing (a combobox), and ticking all rows.
// Without it the search is a plain text field and rows are ticked one by one.
"use strict";
(() => {
  const PAUSE = 120; // milliseconds between the last key and the question

  document.addEventListener("change", (event) => {
    if (!event.target.matches("[data-tick-all]")) return;
    const table = event.target.closest("table");
    for (const tick of table.querySelectorAll("tbody .tick input")) tick.checked = event.target.checked;
  });

  // An open menu closes by Escape and when something beside it is used.
  const closeMenus = (but) => {
    for (const menu of document.querySelectorAll(".menu[open]")) if (menu !== but) menu.open = false;
  };
  document.addEventListener("click", (event) => closeMenus(event.target.closest(".menu")));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const menu = event.target.closest?.(".menu[open]");
    closeMenus();
    menu?.querySelector("summary").focus();
  });

  const input = document.querySelector("[data-suggest]");
  const list = document.getElementById("suggestions");
  if (!input || !list) return;

  input.setAttribute("role", "combobox");
  input.setAttribute("aria-autocomplete", "list");
  input.setAttribute("aria-controls", list.id);
  input.setAttribute("aria-expanded", "false");
  input.type = "text"; // a search field may not be a combobox that has a list

  let asking;
  let timer;
  let chosen = -1;
  let stale = false; // the list is of a text that has changed since
  const options = () => [...list.children];

  function show(open) {
    list.hidden = !open;
    input.setAttribute("aria-expanded", String(open));
    if (!open) choose(-1);
  }

  function choose(place) {
    chosen = place;
    options().forEach((option, at) => option.setAttribute("aria-selected", String(at === place)));
    const option = options()[place];
    if (option) {
      input.setAttribute("aria-activedescendant", option.id);
      option.scrollIntoView({ block: "nearest" });
    } else {
      input.removeAttribute("aria-activedescendant");
    }
  }

  function take(option) {
    input.value = option.dataset.text;
    const at = Number(option.dataset.at);
    input.setSelectionRange(at, at);
    input.focus();
    ask();
  }

  async function ask() {
    asking?.abort();
    asking = new AbortController();
    const where = new URLSearchParams({ q: input.value, at: input.selectionStart });
    try {
      const answer = await fetch(`${input.dataset.suggest}?${where}`, {
        headers: { "HX-Request": "true" },
        signal: asking.signal,
      });
      if (!answer.ok || document.activeElement !== input) return show(false);
      const found = new DOMParser().parseFromString(await answer.text(), "text/html");
      list.replaceChildren(...found.querySelectorAll("li"));
      stale = false;
      choose(-1);
      show(list.children.length > 0);
    } catch (error) {
      if (error.name !== "AbortError") show(false);
    }
  }

  const askSoon = () => {
    stale = true;
    choose(-1);
    clearTimeout(timer);
    timer = setTimeout(ask, PAUSE);
  };
  input.addEventListener("input", askSoon);
  input.addEventListener("blur", () => {
    clearTimeout(timer);
    asking?.abort();
    show(false);
  });
  // Before the field loses its focus, which would close the list under the pointer.
  list.addEventListener("pointerdown", (event) => {
    const option = event.target.closest("li");
    event.preventDefault();
    if (option) take(option);
  });

  input.addEventListener("keydown", (event) => {
    const last = options().length - 1;
    if (event.key === "ArrowDown" && (list.hidden || stale)) {
      event.preventDefault();
      clearTimeout(timer);
      ask().then(() => list.hidden || choose(0));
    } else if (list.hidden) {
      return;
    } else if (event.key === "ArrowDown") {
      event.preventDefault();
      choose(chosen === last ? 0 : chosen + 1);
    } else if (event.key === "ArrowUp") {
      event.preventDefault();
      choose(chosen <= 0 ? last : chosen - 1);
    } else if ((event.key === "Enter" || event.key === "Tab") && chosen >= 0) {
      event.preventDefault();
      take(options()[chosen]);
    } else if (event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      show(false);
    }
  });
})();

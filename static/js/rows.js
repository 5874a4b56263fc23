// What a refresh must leave alone: ticks, open traces, half-typed text; and rows that a person has
// under the pointer, has ticked, or reads: they stay where they are until that person is done.
"use strict";
window.taskqueue.rows = (() => {
  const LISTS = "tbody, ul, ol";

  // --- a morph leaves alone what a person did to the page since the last one ------------------
  const isHalfTyped = (node) =>
    node.matches("select")
      ? [...node.options].some((option) => option.selected !== option.defaultSelected)
      : node.matches("textarea, input:not([type=hidden], [type=checkbox], [type=radio])") &&
        node.value !== node.defaultValue;

  if (window.Idiomorph) {
    Idiomorph.defaults.callbacks.beforeAttributeUpdated = (name, node) =>
      !(name === "open" && node.matches("details, dialog")) &&
      !(name === "checked" && node.matches("[data-keep]"));
    Idiomorph.defaults.callbacks.beforeNodeMorphed = (old, fresh) =>
      old.nodeType !== Node.ELEMENT_NODE ||
      (!(old.nodeName === "TIME" && old.dateTime === fresh.dateTime) &&
        !(old === document.activeElement && old.matches("input, select, textarea")) &&
        !isHalfTyped(old));
  }

  // --- rows that stay in place -------------------------------------------------------------------
  const idsOf = (list) => [...list.children].map((row) => row.id);

  function isInUse(list) {
    const selection = getSelection();
    return (
      list.matches(":hover, :focus-within") ||
      list.querySelector("input[data-keep]:checked, details[open]") !== null ||
      (selection !== null && !selection.isCollapsed && selection.containsNode(list, true))
    );
  }

  const areInUse = (live) => [...live.querySelectorAll(LISTS)].some(isInUse);

  // Return an answer in which rows keep their place, while those of any list are in use, and how many
  // new ones wait there; null: there are none. Rows are brought up to date; one that has gone stays.
  function hold(live, html) {
    if (!areInUse(live)) return null;
    const fresh = document.createElement("template");
    fresh.innerHTML = html;
    let waiting = null;
    const olds = live.querySelectorAll(LISTS);
    const lists = fresh.content.querySelectorAll(LISTS);
    for (const [place, list] of olds.entries()) {
      const ids = idsOf(list);
      if (!ids.length || ids.includes("")) continue; // without a name for each there is no place
      const kept = ids.map((id) => fresh.content.getElementById(id)).find((row) => row);
      // With all of them gone: by its place, if there are as many.
      const target = kept?.parentElement ?? (lists.length === olds.length ? lists[place] : null);
      const news = target?.nodeName === list.nodeName ? idsOf(target) : ids;
      if (news.join() === ids.join()) continue;
      waiting = (waiting ?? 0) + (isInUse(list) ? news.filter((id) => !ids.includes(id)).length : 0);
      const now = new Map([...target.children].map((row) => [row.id, row]));
      const shown = [...list.children].map((row) => now.get(row.id) ?? row.cloneNode(true));
      target.replaceChildren(...shown);
    }
    return waiting === null ? null : { html: fresh.innerHTML, waiting };
  }

  return { areInUse, hold };
})();

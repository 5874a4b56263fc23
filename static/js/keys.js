// The keys. A row is chosen by focusing its link, so a refresh that keeps the link keeps the choice.
"use strict";
(() => {
  const GO_MILLISECONDS = 1500;
  const choice = document.getElementById("keys-choice");
  const help = document.getElementById("keys-help");
  const ask = document.getElementById("ask");
  if (!choice) return;

  const typing = (target) =>
    target.closest("input:not([type=checkbox]), select, textarea, [contenteditable]");
  const rows = () =>
    [...document.querySelectorAll("#live tbody tr[id]")].filter((row) => row.querySelector("a"));
  const chosenRow = () => document.activeElement.closest("#live tbody tr[id]");

  // A row that was acted on may be gone: the next one has its place.
  let place = -1;
  let goingUntil = 0;
  let asked = null; // the button that the open question is about
  let sends = ""; // where, when it was asked: a refresh may make another button of it

  function step(by) {
    const all = rows();
    if (!all.length) return;
    const at = all.indexOf(chosenRow());
    const next = at >= 0 ? at + by : place < 0 ? 0 : place;
    place = Math.min(Math.max(next, 0), all.length - 1);
    const link = all[place].querySelector("a");
    link.focus();
    all[place].scrollIntoView({ block: "nearest" });
  }

  function requeue() {
    const asking = "button[name=group][value^='requeue:']"; // its page asks
    const own = `${asking}, button[formaction$='/requeue/']`;
    const row = chosenRow();
    const button = (row ?? document.querySelector("#live .title"))?.querySelector(own);
    if (!button) return;
    place = row ? rows().indexOf(row) : -1;
    if (button.matches(asking)) return button.click();
    const said = button.textContent.trim().replace(/\s+/g, " ");
    ask.querySelector("h2").textContent = row ? `${said}?` : `${said} this job?`;
    ask.returnValue = "";
    asked = button;
    sends = button.formAction;
    ask.showModal();
  }

  // One for all questions: that an earlier one was closed may be said when the next one is open.
  ask?.addEventListener("close", () => {
    if (ask.returnValue !== "yes") return;
    if (asked.isConnected && asked.formAction === sends) asked.click();
    else window.taskqueue.complain("Nothing was sent: this job has moved on since you were asked.");
  });

  const ACTS = {
    "/": () => document.querySelector("main input[type=search], #top-search")?.focus(),
    "?": () => help.showModal(),
    g: () => (goingUntil = Date.now() + GO_MILLISECONDS),
    j: () => step(1),
    k: () => step(-1),
    x: () => chosenRow()?.querySelector("input[type=checkbox]")?.click(),
    r: requeue,
    p: () => document.getElementById("live-switch")?.click(),
  };

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && typing(event.target)) return event.target.blur();
    if (!choice.checked || event.ctrlKey || event.altKey || event.metaKey) return;
    if (typing(event.target) || document.querySelector("dialog[open]")) return;
    const going = Date.now() < goingUntil;
    goingUntil = 0;
    const link = going && document.querySelector(`[data-go="${CSS.escape(event.key)}"]`);
    const act = link ? () => link.click() : ACTS[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
})();

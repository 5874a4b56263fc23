// The live part: when it asks, when it rests, what it says when it gets no answer.
"use strict";
(() => {
  const POLL_TIMEOUT = 10_000;
  const EVERY = 2_000;
  const REST_AFTER = 60_000; // without a change and without input; then it asks half as often
  const SLOWEST = 30_000;
  const ANNOUNCE_EVERY = 15_000;
  const OLD_AFTER = 10_000; // data that is older says so
  const DOUBLE_CLICK = 500;
  const SAME_PLACE = 16; // pixels, less than a row
  const { byId, remembered, remember, length, tell, onFailure, rows } = window.taskqueue;
  const live = byId("live");
  if (!window.htmx) return;
  htmx.config.timeout = POLL_TIMEOUT;

  const polls = () => live && !live.classList.contains("still");
  const refresh = () => live && htmx.trigger(document.body, "refresh");
  const isAsking = () => document.querySelector("dialog[open]") !== null;

  // --- on or off, remembered --------------------------------------------------------------------
  const liveSwitch = byId("live-switch");
  let on = remembered("live") !== "off";
  const showSwitch = () => {
    liveSwitch?.setAttribute("aria-pressed", String(on));
    const word = liveSwitch?.querySelector("span");
    if (word) word.textContent = on ? "Live" : "Live off";
  };
  showSwitch();
  liveSwitch?.addEventListener("click", () => {
    on = !on;
    remember("live", on ? "" : "off");
    showSwitch();
    if (on) refresh();
    showStale();
  });

  // --- when it asks: never while hidden, seldom while nobody is there and nothing happens ---------
  let stirredAt = performance.now(); // the last input or change
  let askedAt = performance.now();
  let retryAt = 0;

  function pause() {
    const quiet = Math.floor((performance.now() - stirredAt) / REST_AFTER);
    return Math.min(EVERY * 2 ** quiet, SLOWEST);
  }

  function stir() {
    const rested = pause() > EVERY;
    stirredAt = performance.now();
    if (rested) comeBack();
  }

  function comeBack() {
    if (on && polls() && !document.hidden && !isAsking()) refresh();
  }
  for (const input of ["pointermove", "pointerdown", "keydown", "wheel", "touchstart"]) {
    document.addEventListener(input, stir, { passive: true });
  }
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) stirredAt = performance.now();
    comeBack();
  });

  // A refresh that somebody asked for while a poll was under way is made up for after it.
  let wanted = false;
  const asked = new WeakSet(); // requests that somebody asked for
  document.addEventListener("refresh", () => (wanted = true), true);

  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.target !== live) return;
    const now = performance.now();
    const early = now < retryAt || now - askedAt < pause() - EVERY / 2;
    const poll = !wanted && !event.detail.requestConfig.triggeringEvent;
    if (poll && (document.hidden || !on || isAsking() || early)) return event.preventDefault();
    if (!poll) asked.add(event.detail.xhr);
    wanted = false;
    askedAt = now;
  });

  // --- rows in use stay where they are; the pill lets the others in -------------------------------
  const pill = byId("pill");
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.target !== live || !event.detail.shouldSwap) return;
    const { xhr, serverResponse } = event.detail;
    const holds = !asked.has(xhr) && !wanted && xhr.status < 300;
    const held = holds ? rows.hold(live, serverResponse) : null;
    if (held) event.detail.serverResponse = held.html;
    showPill(held);
  });

  function showPill(held) {
    if (!pill) return;
    pill.hidden = !held;
    if (held) pill.textContent = held.waiting ? `${held.waiting} new · show` : "The list has changed · show";
  }

  function letIn() {
    showPill(null);
    byId("live-rev").value = ""; // what is shown is not what its rev says
    refresh();
  }
  pill?.addEventListener("click", letIn);
  // Once nobody is busy with them, rows come by themselves.
  setInterval(() => {
    if (pill && !pill.hidden && on && !document.hidden && !rows.areInUse(live)) letIn();
  }, 1000);

  // --- the second of a double-click meant what was there at the first, and has gone by then -------
  let clicked = null;

  const isDouble = (event) =>
    clicked &&
    event.timeStamp - clicked.timeStamp < DOUBLE_CLICK &&
    Math.hypot(event.clientX - clicked.clientX, event.clientY - clicked.clientY) < SAME_PLACE;

  document.addEventListener(
    "click",
    (event) => {
      if (!event.detail) return; // by the keyboard
      const double = isDouble(event);
      clicked = event;
      if (!double || !event.target.closest("[hx-post]")) return;
      event.preventDefault();
      event.stopPropagation();
    },
    true,
  );

  // --- what came of it ----------------------------------------------------------------------------
  let goodAt = performance.now();
  let goodTime = Date.now();
  let failures = 0;
  let reason = "";
  const REASONS = {
    401: "You are logged out: load the page again to log in",
    403: "This is not allowed (any more), or the page is out of date",
    404: "What this page showed is gone",
    429: "Too many requests within a minute",
    500: "The server failed",
    store_down: "MongoDB does not answer",
    too_slow: "The question took too long and was stopped",
  };
  const codeOf = (xhr) => xhr.getResponseHeader("Problem-Code") ?? xhr.status;
  const reasonOf = (xhr) =>
    REASONS[codeOf(xhr)] ??
    (xhr.status ? `The server answered ${xhr.status}` : "The server does not answer");

  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.target !== live) return;
    const { xhr } = event.detail;
    const { status } = xhr;
    if (status >= 200 && status < 400) {
      goodAt = performance.now();
      goodTime = Date.now();
      failures = retryAt = 0;
      reason = "";
      if (status !== 204) stirredAt = performance.now();
    } else {
      failures += 1;
      const wait = Math.min(EVERY * 2 ** (failures - 1), SLOWEST);
      retryAt = performance.now() + wait * (0.75 + Math.random() / 2);
      reason = reasonOf(xhr);
    }
    showStale();
    if (wanted) setTimeout(refresh); // htmx drops what comes before this request has ended
  });

  // A button whose request was refused says so: what the answer holds is a page, not a message.
  function afterwards({ xhr, requestConfig }) {
    if (requestConfig.verb === "get") return "";
    if (codeOf(xhr) === "store_down")
      return " Whether this was done is not known: look once it is back, before you try again.";
    if (codeOf(xhr) === "too_slow" || (xhr.status >= 400 && xhr.status < 500))
      return " Nothing was changed.";
    return " Load the page again to see what was changed.";
  }
  onFailure(({ target, detail }) => {
    if (target !== live) complain(`${reasonOf(detail.xhr)}.${afterwards(detail)}`);
  });

  function complain(text) {
    const line = document.createElement("p");
    line.className = "message is-error";
    line.textContent = `${text} (${new Date().toTimeString().slice(0, 8)})`; // it stays for a while
    byId("messages")?.replaceChildren(line);
  }
  window.taskqueue.complain = complain;

  function showStale() {
    const banner = byId("stale");
    if (!banner) return;
    // One clock may be set back, the other stands still while the machine sleeps.
    const age = Math.max(performance.now() - goodAt, Date.now() - goodTime);
    const off = !on && polls() && age > OLD_AFTER;
    banner.hidden = !reason && !off;
    write(banner.querySelector("span span"), reason ? `${reason}. Retrying.` : "Live is off.");
    write(banner.querySelector("time"), length(age / 1000));
  }

  function write(node, text) {
    if (node.textContent !== text) node.textContent = text;
  }

  // A screen reader hears what has changed, not every time that an age grows.
  const SUMMARY = "[data-summary]"; // which changes often: it is said now and then
  const said = {};
  for (const part of ["#stores", "#stale:not([hidden])", SUMMARY]) said[part] = wordsOf(part);
  let summedUpAt = performance.now();

  function wordsOf(part) {
    const copy = document.querySelector(part)?.cloneNode(true);
    copy?.querySelectorAll("time:not([data-manner=clock])").forEach((time) => time.remove());
    return copy?.textContent.replace(/\s+/g, " ").trim() ?? "";
  }

  function announce() {
    const early = performance.now() - summedUpAt < ANNOUNCE_EVERY;
    const due = Object.keys(said).filter((part) => part !== SUMMARY || !early);
    const changed = due.filter((part) => wordsOf(part) !== said[part]);
    if (!changed.length) return;
    for (const part of changed) said[part] = wordsOf(part);
    if (changed.includes(SUMMARY)) summedUpAt = performance.now();
    byId("announce").textContent = changed.map((part) => said[part]).join(" ");
  }

  document.addEventListener("htmx:afterSwap", tell);
  setInterval(() => {
    showStale();
    announce();
  }, 1000);
})();

// Everything that the pages do beyond forms and links: relative times, a gate before each poll,
// what a morph must leave alone, the banner for stale data. No page needs it for reading.
"use strict";
(() => {
  const POLL_TIMEOUT = 10_000;
  const MAX_BACKOFF = 30_000;
  const ANNOUNCE_EVERY = 15_000;
  const byId = (id) => document.getElementById(id);
  const remembered = (name) => {
    try {
      return localStorage.getItem(name);
    } catch {
      return null;
    }
  };
  const remember = (name, value) => {
    try {
      value ? localStorage.setItem(name, value) : localStorage.removeItem(name);
    } catch {
      // No storage: it holds until the page is left.
    }
  };

  // --- times: the server says when, this says how long ago, by the server's clock -------------
  const skew = document.body.dataset.now * 1000 - Date.now();
  const now = () => Date.now() + (Math.abs(skew) > 2000 ? skew : 0);
  const UNITS = [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]];

  function length(seconds, exact) {
    const at = UNITS.findIndex(([size]) => seconds >= size);
    if (at < 0) return "0 s";
    const [size, unit] = UNITS[at];
    const whole = `${Math.floor(seconds / size)} ${unit}`;
    const next = UNITS[at + 1];
    const rest = next ? Math.floor((seconds % size) / next[0]) : 0;
    return rest && (exact || size === 3600) ? `${whole} ${rest} ${next[1]}` : whole;
  }

  const MANNERS = {
    ago: (age) => (age < 1 ? "just now" : age < 0 ? "soon" : `${length(age)} ago`),
    age: (age) => length(Math.max(age, 0)),
    since: (age) => `has waited ${length(Math.max(age, 0))}`,
    until: (age) => (age < 0 ? `in ${length(Math.ceil(-age), true)}` : "due now"),
  };

  function tell() {
    for (const time of document.querySelectorAll("time[data-manner]")) {
      const text = MANNERS[time.dataset.manner]((now() - Date.parse(time.dateTime)) / 1000);
      if (time.textContent !== text) time.textContent = text;
    }
  }

  // --- theme, copying, forms that are sent once -------------------------------------------------
  const theme = byId("theme-choice");
  if (theme) {
    theme.value = remembered("theme") || "";
    theme.addEventListener("change", () => {
      remember("theme", theme.value);
      if (theme.value) document.documentElement.dataset.theme = theme.value;
      else delete document.documentElement.dataset.theme;
    });
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy], [data-copy-from]");
    if (!button) return;
    const source = byId(button.dataset.copyFrom);
    const word = button.querySelector("span");
    try {
      await navigator.clipboard.writeText(button.dataset.copy ?? source.textContent);
      word.textContent = "Copied";
    } catch {
      if (source) getSelection().selectAllChildren(source);
      word.textContent = source ? "Selected: press Ctrl-C" : "Not allowed here";
    }
    setTimeout(() => (word.textContent = "Copy"), 2000);
  });

  document.addEventListener("submit", (event) => {
    if (!event.target.matches("[data-once]")) return;
    for (const button of event.target.querySelectorAll("button")) button.disabled = true;
  });
  addEventListener("pageshow", () => {
    for (const button of document.querySelectorAll("[data-once] button")) button.disabled = false;
  });

  tell();
  setInterval(tell, 1000);

  // --- the live part ------------------------------------------------------------------------------
  const live = byId("live");
  if (!window.htmx) return;
  htmx.config.timeout = POLL_TIMEOUT;

  // A morph leaves alone what a person did to the page since the last one.
  Idiomorph.defaults.callbacks.beforeAttributeUpdated = (name, node) =>
    !(name === "open" && node.matches("details, dialog")) &&
    !(name === "checked" && node.matches("[data-keep]"));
  Idiomorph.defaults.callbacks.beforeNodeMorphed = (old, fresh) =>
    !(old.nodeName === "TIME" && old.dateTime === fresh.dateTime) &&
    !(old === document.activeElement && old.matches("input, select, textarea"));

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
  });

  const refresh = () => live && htmx.trigger(document.body, "refresh");
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && on && polls()) refresh();
  });
  const polls = () => live && !live.classList.contains("still");

  let goodAt = Date.now();
  let failures = 0;
  let retryAt = 0;
  let reason = "";

  document.addEventListener("htmx:beforeRequest", (event) => {
    const poll = event.target === live && !event.detail.requestConfig.triggeringEvent;
    const dialog = document.querySelector("dialog[open]");
    if (poll && (document.hidden || !on || dialog || Date.now() < retryAt)) event.preventDefault();
  });

  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.target !== live) return;
    const status = event.detail.xhr.status;
    if (status >= 200 && status < 400) {
      goodAt = Date.now();
      failures = 0;
      reason = "";
    } else {
      failures += 1;
      const pause = Math.min(2000 * 2 ** (failures - 1), MAX_BACKOFF);
      retryAt = Date.now() + pause * (0.75 + Math.random() / 2);
      reason = REASONS[status] ?? "The server does not answer";
    }
    showStale();
  });

  const REASONS = {
    401: "You are logged out: load the page again to log in",
    403: "This is not allowed (any more), or the page is out of date",
    404: "What this page showed is gone",
    429: "Too many requests within a minute",
    503: "MongoDB does not answer",
    500: "The server failed",
  };

  // A button whose request was refused says so: what the answer holds is a page, not a message.
  for (const failure of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) {
    document.addEventListener(failure, (event) => {
      if (event.target === live) return;
      const line = document.createElement("p");
      line.className = "message is-error";
      line.textContent = `${REASONS[event.detail.xhr.status] ?? "The server does not answer"}. Load the page again to see what was changed.`;
      byId("messages")?.replaceChildren(line);
    });
  }

  function showStale() {
    const banner = byId("stale");
    if (!banner) return;
    banner.hidden = !reason;
    if (!reason) return;
    const age = length((Date.now() - goodAt) / 1000);
    banner.querySelector("span").textContent = `${reason}. This data is ${age} old; retrying.`;
  }
  setInterval(showStale, 1000);

  document.addEventListener("htmx:afterSwap", () => {
    tell();
    announce();
  });

  // A screen reader hears the summary when it changes, not every time its ages grow.
  let announced = summary();
  let announcedAt = Date.now();

  function summary() {
    const copy = document.querySelector("[data-summary]")?.cloneNode(true);
    copy?.querySelectorAll("time").forEach((time) => time.remove());
    return copy?.textContent.replace(/\s+/g, " ").trim() ?? "";
  }

  function announce() {
    const text = summary();
    if (text === announced || Date.now() - announcedAt < ANNOUNCE_EVERY) return;
    announced = text;
    announcedAt = Date.now();
    byId("announce").textContent = text;
  }
})();

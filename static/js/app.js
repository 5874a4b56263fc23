// What every page does beyond forms and links: relative times, the theme, copying, forms that are
// sent once. No page needs it for reading. The live part: live.js.
"use strict";
window.taskqueue = (() => {
  const byId = (id) => document.getElementById(id);
  const onFailure = (act) => {
    for (const failure of ["htmx:responseError", "htmx:sendError", "htmx:timeout"])
      document.addEventListener(failure, act);
  };
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
  let skew = 0;
  const now = () => Date.now() + skew;

  // It comes in whole seconds, and late: only what is more than that is a wrong clock.
  function hear(serverTime) {
    const heard = serverTime - Date.now();
    if (Math.abs(heard - skew) > 2000) skew = heard;
  }
  hear(document.body.dataset.now * 1000);
  document.addEventListener("htmx:afterRequest", ({ detail }) => {
    hear(Date.parse(detail.xhr.getResponseHeader("Date"))); // NaN, without an answer, is not heard
  });

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
    clock: (age, moment) => new Date(moment).toTimeString().slice(0, 8),
  };

  function tell() {
    for (const time of document.querySelectorAll("time[data-manner]")) {
      const moment = Date.parse(time.dateTime);
      const text = MANNERS[time.dataset.manner]((now() - moment) / 1000, moment);
      // The same text node: another one would end a selection that begins in it.
      if (time.textContent !== text) time.firstChild.data = text;
    }
  }

  tell();
  setInterval(tell, 1000);

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

  const AGAIN_AFTER = 10_000; // milliseconds in which nothing came of it: it may be sent anew
  const sent = new Set();
  const disable = (form, is) => {
    for (const field of form.elements) if (field.localName === "button") field.disabled = is;
  };
  const release = (form) => {
    sent.delete(form);
    disable(form, false);
  };
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.matches("[method=post]") || event.defaultPrevented) return;
    if (sent.has(form)) return event.preventDefault();
    sent.add(form);
    setTimeout(() => disable(form, true)); // not yet: a disabled button would not send its value
    setTimeout(() => release(form), AGAIN_AFTER);
  });
  addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[method=post]")) release(form);
  });

  // Fields that did not come: the chooser says again what those are of that are shown.
  onFailure(({ target }) => {
    if (!target.matches(".chooser select")) return;
    target.value = document.querySelector("#fields [name=type]").value;
  });

  return { byId, remembered, remember, length, tell, onFailure };
})();

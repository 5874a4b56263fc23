// A time is meant in the zone of whoever writes it: the browser knows it, the server does not.
"use strict";
(() => {
  let seen = null; // a field that has been emptied since then means UTC
  const fill = () => {
    const zone = document.getElementById("id_zone");
    if (!zone || zone === seen) return;
    seen = zone;
    // Next to a time, an empty one was left so by whoever wrote that time.
    if (zone.value || document.getElementById("id_run_at").value) return;
    zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone ?? "";
  };
  fill();
  document.addEventListener("htmx:afterSwap", fill);
})();

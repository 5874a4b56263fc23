// A time is meant in the zone of whoever writes it: the browser knows it, the server does not.
"use strict";
(() => {
  const fill = () => {
    const zone = document.getElementById("id_zone");
    if (zone && !zone.value) zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone ?? "";
  };
  fill();
  document.addEventListener("htmx:afterSwap", fill);
})();

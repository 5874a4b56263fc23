// Swagger and Redoc make style elements while they run: each gets the page's nonce, so that the
// policy lets it in. Redoc's logo comes from elsewhere, which the policy does not: it is left out.
"use strict";
(() => {
  const { nonce } = document.currentScript;
  const create = document.createElement;
  document.createElement = function (name, ...options) {
    const element = create.call(this, name, ...options);
    const kind = String(name).toLowerCase();
    if (kind === "style") element.nonce = nonce;
    if (kind === "img") {
      const set = element.setAttribute;
      element.setAttribute = (attribute, value) => {
        if (attribute === "src" && /^https?:/.test(value)) return;
        set.call(element, attribute, value);
      };
    }
    return element;
  };
})();

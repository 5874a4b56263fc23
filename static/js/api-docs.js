// Swagger and Redoc make style elements while they run: each gets the page's nonce, so that the
// policy lets it in. Redoc's logo comes from elsewhere, which the policy does not: it is left out.
"use strict";
(() => {
  const { nonce } = document.currentScript;
  const create = document.createElement;
  document.createElement = function (...options) {
    const element = create.apply(this, options);
    if (element instanceof HTMLStyleElement) element.nonce = nonce;
    return element;
  };
  const elsewhere = (address) => new URL(address, location).origin !== location.origin;
  const image = HTMLImageElement.prototype;
  const source = Object.getOwnPropertyDescriptor(image, "src");
  const set = image.setAttribute;
  image.setAttribute = function (name, value) {
    if (name !== "src" || !elsewhere(value)) set.call(this, name, value);
  };
  Object.defineProperty(image, "src", {
    ...source,
    set(value) {
      if (!elsewhere(value)) source.set.call(this, value);
    },
  });
})();

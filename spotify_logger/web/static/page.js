"use strict";
// For all pages: a cover that cannot be loaded makes room for its tile.

document.addEventListener(
  "error",
  (event) => {
    if (event.target instanceof HTMLImageElement && event.target.classList.contains("cover")) event.target.classList.add("missing");
  },
  true,
);

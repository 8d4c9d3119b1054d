"use strict";
// On all pages: hide covers that fail to load, so that their tile shows.

document.addEventListener(
  "error",
  (event) => {
    if (event.target instanceof HTMLImageElement && event.target.classList.contains("cover")) event.target.classList.add("missing");
  },
  true,
);

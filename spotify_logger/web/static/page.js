"use strict";
// On all pages: closes open menus, and keeps a page for the times when the server cannot be reached.

{
  const close = (except) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) if (menu !== except) menu.open = false;
  };
  document.addEventListener("click", (event) => close(event.target.closest("details.menu")));
  document.addEventListener("keydown", (event) => {
    const menu = event.key === "Escape" && document.querySelector("details.menu[open]");
    if (!menu) return;
    if (menu.contains(document.activeElement)) menu.querySelector("summary").focus();
    close();
  });

  // Browsers have service workers only over https and on this machine.
  navigator.serviceWorker?.register("/service-worker.js").catch(() => {});

  /** On the offline page: load the requested page as soon as the server answers. */
  async function retry() {
    try {
      await fetch("/healthz");
      location.reload();
    } catch {
      setTimeout(retry, 5000);
    }
  }
  if (document.querySelector("[data-offline]") && location.pathname !== "/offline") setTimeout(retry, 5000);
}

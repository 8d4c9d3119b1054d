"use strict";
// Polls for the login and reloads the page once it has arrived.

{
  const POLL_MS = 2000;
  const query = document.documentElement.dataset.listener || ""; // another window may choose another listener

  async function poll() {
    try {
      const state = await (await fetch(`/health/login${query}`)).json();
      if (state.done || !state.waiting) {
        location.reload();
        return;
      }
      if (state.lines.length) document.getElementById("login-status").textContent = state.lines.at(-1);
    } catch {
      // The server is briefly unreachable; the next poll tries again.
    }
    setTimeout(poll, POLL_MS);
  }

  setTimeout(poll, POLL_MS);
}

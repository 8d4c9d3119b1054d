"use strict";
// Looks whether the login has arrived, and shows it then.

{
  const EVERY = 2000;
  const whose = document.documentElement.dataset.whose || ""; // another window may choose somebody else

  async function look() {
    try {
      const state = await (await fetch(`/health/login${whose}`)).json();
      if (state.done || !state.waiting) {
        location.reload();
        return;
      }
      if (state.lines.length) document.getElementById("login-told").textContent = state.lines.at(-1);
    } catch {
      // The page is away for a moment; the next look tells.
    }
    setTimeout(look, EVERY);
  }

  setTimeout(look, EVERY);
}

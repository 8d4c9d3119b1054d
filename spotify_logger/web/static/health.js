"use strict";
// Looks whether the login has arrived, and shows it then.

{
  const EVERY = 2000;

  async function look() {
    try {
      const state = await (await fetch("/health/login")).json();
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

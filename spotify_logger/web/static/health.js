"use strict";
// Asks for this page again until the login has arrived, and then shows the new one.

{
  const POLL_MS = 2000;
  const query = document.documentElement.dataset.listener || ""; // another window may choose another listener

  async function poll() {
    try {
      const text = await (await fetch(`/health${query}`)).text();
      const login = new DOMParser().parseFromString(text, "text/html").getElementById("login");
      const status = login.querySelector("#login-status"); // an error page has no login: the next poll tries again
      if (!status) {
        location.reload();
        return;
      }
      document.getElementById("login-status").textContent = status.textContent;
    } catch {
      // The server is briefly unreachable; the next poll tries again.
    }
    setTimeout(poll, POLL_MS);
  }

  setTimeout(poll, POLL_MS);
}

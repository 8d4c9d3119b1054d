"use strict";
// Suggests matches while somebody types in a search field, which becomes a combobox with a list box (ARIA).
// "/" and Ctrl-K focus it. Without this script, the form works as before.

{
  const PAUSE_MS = 150; // after the last key, before the server is asked
  const listener = document.documentElement.dataset.listener || ""; // another window may choose another one

  function element(attributes) {
    const made = document.createElement("div");
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  }

  function suggest(input) {
    const list = element({ id: `${input.id}-found`, class: "found", role: "listbox", "aria-label": "Matches", hidden: "" });
    const status = element({ class: "visually-hidden", role: "status" });
    const set = (attributes) => Object.entries(attributes).forEach(([name, value]) => input.setAttribute(name, value));
    let timer = 0;
    let asking = null;
    let options = [];
    let active = -1; // index of the option that Enter follows; -1 for none, which submits the form

    function activate(at) {
      options[active]?.removeAttribute("aria-selected");
      active = at;
      const option = options[active];
      option?.setAttribute("aria-selected", "true");
      option?.scrollIntoView({ block: "nearest" });
      if (option) set({ "aria-activedescendant": option.id });
      else input.removeAttribute("aria-activedescendant");
    }

    function show(part) {
      list.replaceChildren(...part.body.childNodes);
      options = [...list.querySelectorAll('[role="option"]')];
      options.forEach((option, number) => (option.id = `${list.id}-${number}`));
      list.hidden = !options.length;
      set({ "aria-expanded": String(!list.hidden) });
      status.textContent = list.hidden ? "" : `${options.length} ${options.length === 1 ? "match" : "matches"}`;
      activate(-1);
    }

    function close() {
      clearTimeout(timer);
      asking?.abort();
      show(document.implementation.createHTMLDocument());
    }

    /** Ask what the text may name. Only the answer to the latest question is shown. */
    async function ask() {
      asking?.abort();
      const query = new URLSearchParams(listener);
      query.set("q", input.value.trim());
      if (!query.get("q")) return close();
      const { signal } = (asking = new AbortController());
      try {
        const answer = await fetch(`/suggest?${query}`, { signal });
        const text = answer.ok ? await answer.text() : "";
        if (!signal.aborted) show(new DOMParser().parseFromString(text, "text/html"));
      } catch {
        // Aborted, or the server cannot be reached: submitting the form will say so.
      }
    }

    function press(event) {
      if (event.isComposing || event.altKey || event.ctrlKey || event.metaKey) return;
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step && list.hidden) ask();
      else if (step) activate(((active + step + 1 + options.length + 1) % (options.length + 1)) - 1);
      else if (event.key === "Enter" && options[active]) options[active].click();
      else if (event.key === "Escape" && !list.hidden) close();
      else return;
      event.preventDefault();
    }

    set({ role: "combobox", "aria-autocomplete": "list", "aria-controls": list.id, "aria-expanded": "false", "aria-keyshortcuts": "/ Control+K" });
    input.form.append(list, status);
    input.addEventListener("keydown", press);
    input.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(ask, PAUSE_MS);
    });
    input.addEventListener("blur", close);
    list.addEventListener("mousedown", (event) => event.preventDefault()); // which would take the focus
    addEventListener("pagehide", close);
  }

  const inputs = [...document.querySelectorAll('form[role="search"] input[type="search"]')];
  inputs.forEach(suggest);
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.closest?.("input, select, textarea");
    const isSlash = event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey;
    const isCtrlK = event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey;
    const input = inputs.at(-1); // that of the view, if it has one
    if (!input || !(isSlash || isCtrlK)) return;
    event.preventDefault();
    input.focus();
    input.select();
  });
}

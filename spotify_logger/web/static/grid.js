"use strict";
// Roving tabindex for the calendar: arrow keys move between days, and Tab stops once, not 365 times.

{
  const WEEK = 7;

  function target(days, at, key, ctrl) {
    const last = days.length - 1;
    switch (key) {
      case "ArrowLeft": return at - 1;
      case "ArrowRight": return at + 1;
      case "ArrowUp": return at - WEEK;
      case "ArrowDown": return at + WEEK;
      case "PageUp": return otherMonth(days, at, -1);
      case "PageDown": return otherMonth(days, at, 1);
      case "Home": return ctrl ? 0 : firstOf(days, at);
      case "End": return ctrl ? last : lastOf(days, at);
      default: return null;
    }
  }

  const monthOf = (day) => day.closest("ol");
  const inMonth = (days, month) => days.filter((day) => monthOf(day) === month);
  const firstOf = (days, at) => days.indexOf(inMonth(days, monthOf(days[at]))[0]);
  const lastOf = (days, at) => days.indexOf(inMonth(days, monthOf(days[at])).at(-1));

  /** Return the index of the same day in the previous or next month, or of that month's last day. */
  function otherMonth(days, at, step) {
    const offset = at - firstOf(days, at);
    const beside = step > 0 ? lastOf(days, at) + 1 : firstOf(days, at) - 1;
    if (!days[beside]) return at;
    const month = inMonth(days, monthOf(days[beside]));
    return days.indexOf(month[Math.min(offset, month.length - 1)]);
  }

  function rove(grid) {
    const days = [...grid.querySelectorAll("a")];
    if (!days.length) return;
    let current = days.length - 1;

    function select(at) {
      days[current].tabIndex = -1;
      current = at;
      days[current].tabIndex = 0;
    }

    for (const day of days) day.tabIndex = -1;
    select(current);
    grid.addEventListener("focusin", (event) => {
      const at = days.indexOf(event.target);
      if (at >= 0) select(at);
    });
    grid.addEventListener("keydown", (event) => {
      if (event.altKey || event.metaKey || days.indexOf(event.target) < 0) return;
      const at = target(days, current, event.key, event.ctrlKey);
      if (at === null) return;
      event.preventDefault();
      if (days[at]) days[at].focus();
    });
  }

  for (const grid of document.querySelectorAll("[data-grid]")) rove(grid);
}

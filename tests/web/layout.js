// Returns what is wrong with how a view is laid out, its layout shift, where its first row is, its width, and its status.
() => {
  const GAP = 16;
  const problems = [];
  const words = (element) => (element.id || element.getAttribute("aria-labelledby") || element.className).toString();
  const near = (one, other) => Math.abs(one - other) <= 1;
  const visible = (selector, within = document) =>
    [...within.querySelectorAll(selector)].filter((element) => element.checkVisibility() && element.getClientRects().length);

  // Cards are side by side with equal tops and bottoms, or below each other; the gap is always the same.
  const grids = new Set(visible(".card, .hero").map((card) => card.parentElement));
  for (const grid of grids) {
    const cards = [...grid.children].filter((child) => child.matches(".card, .hero, .cards, .stack, .home, .tops, .review"));
    cards.slice(1).forEach((card, at) => {
      const [before, box] = [cards[at].getBoundingClientRect(), card.getBoundingClientRect()];
      const isBeside = box.left >= before.right - 1;
      if (isBeside && !(near(box.top, before.top) && near(box.bottom, before.bottom))) problems.push(`not aligned: ${words(card)}`);
      if (isBeside && !near(box.left - before.right, GAP)) problems.push(`gap before ${words(card)}: ${box.left - before.right}`);
      if (!isBeside && box.top < before.bottom - 1) problems.push(`overlaps: ${words(card)}`);
      const isNext = cards[at].nextElementSibling === card && grid.matches("main, .stack");
      if (!isBeside && isNext && !near(box.top - before.bottom, GAP)) problems.push(`gap above ${words(card)}: ${box.top - before.bottom}`);
    });
  }

  // Both columns of the home page are full.
  const columns = visible(".home > .stack").map((stack) => stack.lastElementChild.getBoundingClientRect().bottom);
  if (columns.length === 2 && innerWidth >= 1024 && !near(...columns)) problems.push(`hole: ${columns}`);

  // Links to what is beside a view are in one line.
  if (innerWidth >= 390 && new Set(visible(".heading nav > *").map((link) => link.getBoundingClientRect().bottom)).size > 1) problems.push("links in two lines");

  // Numbers fit on one line of their tile.
  for (const tile of visible(".figures > div:not(.wide-figure) dd")) {
    const range = document.createRange();
    range.selectNodeContents(tile);
    const small = tile.querySelector("small");
    if (small) range.setEndBefore(small);
    const lines = new Set([...range.getClientRects()].map((box) => Math.round(box.bottom)));
    if (lines.size > 1 || range.getBoundingClientRect().right > tile.parentElement.getBoundingClientRect().right + 1) problems.push(`broken: ${tile.textContent}`);
  }

  const overflow = Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) - document.documentElement.clientWidth;
  if (overflow > 0) problems.push(`wider than the window: ${overflow}`);

  // Nothing is cut off: text is in the window or in a box that scrolls, and what hides a part of a text shows that.
  const isInBox = (element) => element !== document.body && (getComputedStyle(element).overflowX !== "visible" || isInBox(element.parentElement));
  for (const element of visible("body *:not(.visually-hidden, .visually-hidden *, .skip, option, [aria-hidden=true] *)")) {
    const { overflowX, overflowY, textOverflow, webkitLineClamp } = getComputedStyle(element);
    const [box, isHidden] = [element.getBoundingClientRect(), [overflowX, overflowY].some((each) => ["hidden", "clip"].includes(each))];
    if (box.width <= 1) continue; // for screen readers only
    const isCut = element.scrollWidth > element.clientWidth + 1 || element.scrollHeight > element.clientHeight + 2;
    if (isHidden && isCut && textOverflow === "clip" && (webkitLineClamp === "none" || element.matches("h1"))) problems.push(`cut off: ${element.textContent.trim() || words(element)}`);
    const hasText = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    if (hasText && (box.left < 0 || box.right > innerWidth + 1) && !isInBox(element)) problems.push(`outside: ${element.textContent}`);
  }

  // Every chart says in words what it shows.
  for (const chart of visible("main svg, main canvas")) {
    if (!chart.closest("[aria-hidden=true]") && !chart.getAttribute("aria-label")) problems.push(`a chart without text: ${words(chart)}`);
  }
  for (const column of visible(".upright > li")) if (!/: .*\d/.test(column.textContent)) problems.push(`a column without text: ${column.textContent}`);

  let shift = 0;
  const observer = new PerformanceObserver(() => {});
  observer.observe({ type: "layout-shift", buffered: true });
  for (const each of observer.takeRecords()) shift += each.value;
  const row = visible("main .ranking > li, main .timeline > li")[0];
  const main = visible("main > *").map((child) => child.getBoundingClientRect().width);
  return { problems, shift, first_row: row ? row.getBoundingClientRect().top + scrollY : null, width: Math.max(...main), status: performance.getEntriesByType("navigation")[0].responseStatus };
}

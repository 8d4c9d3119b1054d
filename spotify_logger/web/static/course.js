"use strict";
// Draws the history chart and zooms it by whole days, weeks or months. The visible range is in the URL: `zoom=2026-01-01..2026-03-31`.

{
  const MAX_BARS = 300; // above this, bars would be too thin to see: draw a line
  const MIN_VISIBLE = 4;
  const data = JSON.parse(document.getElementById("course-data").textContent);
  const box = document.getElementById("course-box");
  const canvas = document.getElementById("course");
  const total = data.plays.length;
  const isTime = data.by === "time";

  // Periods and labels

  const [YEAR, MONTH, DAY] = data.from.split("-").map(Number);
  const begin = (at) =>
    data.per === "month" ? new Date(YEAR, MONTH - 1 + at, 1) : new Date(YEAR, MONTH - 1, DAY + at * (data.per === "week" ? 7 : 1));
  const end = (at) => {
    const day = begin(at + 1);
    day.setDate(day.getDate() - 1);
    return day;
  };
  const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
  const monthAlone = (day) => `${MONTHS[day.getMonth()]} ${day.getFullYear()}`;
  const inFull = (day) => `${day.getDate()} ${monthAlone(day)}`;
  const weekday = new Intl.DateTimeFormat("en-GB", { weekday: "long" });
  const iso = (day) =>
    `${day.getFullYear()}-${String(day.getMonth() + 1).padStart(2, "0")}-${String(day.getDate()).padStart(2, "0")}`;
  const number = new Intl.NumberFormat("en-US");
  const counted = (amount, noun) => `${number.format(amount)} ${noun}${amount === 1 ? "" : "s"}`;

  function listened(seconds) {
    if (seconds < 120) return `${seconds} s`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
    const rest = Math.floor((seconds % 3600) / 60);
    return `${number.format(Math.floor(seconds / 3600))} h${rest ? ` ${rest} min` : ""}`;
  }

  function name(at) {
    if (data.per === "month") return monthAlone(begin(at));
    return data.per === "day" ? `${weekday.format(begin(at))}, ${inFull(begin(at))}` : `${inFull(begin(at))} to ${inFull(end(at))}`;
  }

  const DAY_MS = 86400000;
  const HALF = (data.per === "month" ? 30 : data.per === "week" ? 7 : 1) * (DAY_MS / 2); // half a period
  const points = data.plays.map((plays, at) => ({ x: begin(at).getTime(), y: isTime ? data.seconds[at] / 3600 : plays, at }));

  // The chart

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const selection = { from: null, to: null };
  const marker = {
    id: "marker",
    afterDraw({ ctx, chartArea }) {
      if (selection.from === null) return;
      ctx.save();
      ctx.globalAlpha = 0.25;
      ctx.fillStyle = colour("--accent");
      const left = Math.max(chartArea.left, Math.min(selection.from, selection.to));
      const right = Math.min(chartArea.right, Math.max(selection.from, selection.to));
      ctx.fillRect(left, chartArea.top, right - left, chartArea.bottom - chartArea.top);
      ctx.restore();
    },
  };

  function hours(value) {
    return value && value < 1 ? `${Math.round(value * 60)} min` : `${number.format(value)} h`;
  }

  function options() {
    const isStill = matchMedia("(prefers-reduced-motion: reduce)").matches || total > MAX_BARS;
    return {
      parsing: false,
      normalized: true,
      maintainAspectRatio: false,
      animation: isStill ? false : { duration: 300 },
      interaction: { mode: "index", intersect: false, axis: "x" },
      scales: {
        x: {
          type: "time",
          offset: false,
          time: { minUnit: data.per === "month" ? "month" : "day", displayFormats: { day: "d MMM", week: "d MMM", month: "MMM yyyy", quarter: "MMM yyyy" } },
          grid: { display: false },
          ticks: { maxRotation: 0, autoSkipPadding: 20 },
        },
        y: { beginAtZero: true, border: { display: false }, ticks: { maxTicksLimit: 6, precision: isTime ? undefined : 0, callback: isTime ? hours : (value) => number.format(value) } },
      },
      plugins: {
        legend: { display: false },
        tooltip: {
          displayColors: false,
          padding: 10,
          callbacks: {
            title: ([item]) => name(item.raw.at),
            label: ({ raw }) => [listened(data.seconds[raw.at]), counted(data.plays[raw.at], "play")],
          },
        },
      },
    };
  }

  function paint() {
    const set = chart.data.datasets[0];
    const isLine = set.type === "line";
    Object.assign(set, {
      backgroundColor: colour(isLine ? "--step-1" : "--step-4"),
      hoverBackgroundColor: colour("--accent"),
      borderColor: colour("--step-4"),
    });
    for (const scale of Object.values(chart.options.scales)) {
      scale.ticks.color = colour("--muted");
      scale.grid.color = colour("--line");
      scale.border = { ...scale.border, color: colour("--line") };
    }
    Object.assign(chart.options.plugins.tooltip, { backgroundColor: colour("--text"), titleColor: colour("--surface"), bodyColor: colour("--surface") });
  }

  function draw() {
    Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
    const set = { data: [], borderRadius: 3, maxBarThickness: 56, barPercentage: 0.95, categoryPercentage: 0.9, pointRadius: 0, fill: "origin" };
    return new Chart(canvas, { type: "bar", data: { datasets: [set] }, options: options(), plugins: [marker] });
  }

  // The visible range

  const shown = () => [Math.floor(zoom.begin + 0.01), Math.min(total, Math.ceil(zoom.end - 0.01)) - 1];

  function update() {
    const [first, last] = shown();
    const set = chart.data.datasets[0];
    set.data = points.slice(first, last + 1);
    // Leave the first and the last bar their full width.
    chart.options.scales.x.min = begin(first).getTime() - HALF;
    chart.options.scales.x.max = begin(last).getTime() + HALF;
    const days = (begin(last) - begin(first)) / DAY_MS;
    chart.options.scales.x.time.unit = days > 1500 ? "year" : days > 75 ? "month" : false;
    set.type = set.data.length > MAX_BARS ? "line" : "bar";
    set.borderWidth = set.type === "line" ? 1.5 : 0;
    paint();
    chart.update(zoom.isWhole ? undefined : "none");
    for (const button of tools.querySelectorAll("button")) {
      const isDisabled = button.dataset.do === "closer" ? zoom.length <= MIN_VISIBLE : zoom.isWhole;
      button.setAttribute("aria-disabled", String(isDisabled));
    }
    clearTimeout(announcement);
    announcement = setTimeout(announce, 250); // the end of a movement, not each step, for screen readers and the URL
  }

  const sum = (values, first, last) => values.slice(first, last + 1).reduce((sums, value) => sums + value, 0);

  function announce() {
    const [first, last] = shown();
    const days = `${inFull(begin(first))} to ${inFull(end(last))}`;
    const amounts = `${listened(sum(data.seconds, first, last))}, ${counted(sum(data.plays, first, last), "play")}`;
    document.getElementById("course-range").textContent = zoom.isWhole ? days : `${days}: ${amounts}`;
    const query = new URLSearchParams({ since: iso(begin(first)), until: iso(end(last)), by: data.by });
    document.getElementById("course-top").href = `/top/tracks?${query}`;
    keep(zoom.isWhole ? null : `${iso(begin(first))}..${iso(end(last))}`);
  }

  /** Keep the visible range in the URL, for links and the back button, and in the links to the other charts of this period. */
  function keep(range) {
    const zoomed = (address) => {
      const url = new URL(address, location.href);
      if (range) url.searchParams.set("zoom", range);
      else url.searchParams.delete("zoom");
      return url.href;
    };
    if (zoomed(location.href) !== location.href) history[isRestored ? "replaceState" : "pushState"](null, "", zoomed(location.href));
    isRestored = false;
    for (const link of document.querySelectorAll("[data-keeps-zoom] a")) link.href = zoomed(link.href);
  }

  /** Show the range that the URL names, or all. */
  function restore() {
    const [from, until] = (new URL(location.href).searchParams.get("zoom") || "").split("..");
    const shownFirst = points.findIndex(({ at }) => iso(end(at)) >= from);
    const shownLast = points.findLastIndex(({ at }) => iso(begin(at)) <= until);
    isRestored = true;
    if (until && shownFirst >= 0 && shownLast >= shownFirst) zoom.show(shownFirst, shownLast - shownFirst + 1);
    else zoom.act("all");
  }

  /** Open the period of the bar at a click: a day's plays, or the days of a week or month. */
  function open(event) {
    const [bar] = chart.getElementsAtEventForMode(event, "index", { intersect: false, axis: "x" }, true);
    if (!bar) return;
    const { at } = chart.data.datasets[0].data[bar.index];
    if (data.per === "day") location.assign(`/day/${iso(begin(at))}`);
    else location.assign(`/chart?${new URLSearchParams({ since: iso(begin(at)), until: iso(end(at)), per: "day", by: data.by })}`);
  }

  const KEYS = { ArrowLeft: "earlier", ArrowRight: "later", "+": "closer", "=": "closer", "-": "wider", 0: "all", Home: "first", End: "last" };

  function bindControls() {
    box.tabIndex = 0;
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", "Chart");
    box.setAttribute("aria-describedby", "course-help");
    box.addEventListener("keydown", (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      if (zoom.act(KEYS[event.key])) event.preventDefault();
    });
    tools.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) zoom.act(button.dataset.do);
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", update);
    for (const part of [tools, document.getElementById("course-help")]) part.hidden = false;
  }

  const tools = document.getElementById("course-tools");
  let announcement = 0;
  let isRestored = false; // whether the visible range is that of the URL
  const chart = draw();
  const zoom = new Zoom(canvas, total, MIN_VISIBLE, {
    area: () => chart.chartArea,
    changed: update,
    selecting: (from, to) => {
      Object.assign(selection, { from, to });
      chart.draw();
    },
    chosen: open,
  });
  bindControls();
  addEventListener("popstate", restore);
  restore();
}

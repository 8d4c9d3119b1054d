"use strict";
// Shows what is playing: the server sends each change, and the position advances locally in between.

{
  const CHANGING = ["cover", "title", "name", "byline", "device", "duration"]; // with what plays
  const parts = Object.fromEntries(
    [...CHANGING, "progress", "position", "status"].map((part) => [part, document.getElementById(`now-${part}`)]),
  );
  const card = document.getElementById("now");
  let stream = null;
  let now = null; // the open play, and when it was received
  let latest = null;
  let lost = 0;
  let tinted = null; // the cover whose color the card has
  const query = document.documentElement.dataset.listener || ""; // another window may choose another listener

  function minutes(milliseconds) {
    const seconds = Math.floor(milliseconds / 1000);
    const rest = String(seconds % 60).padStart(2, "0");
    const whole = Math.floor(seconds / 60);
    return whole < 60 ? `${whole}:${rest}` : `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}:${rest}`;
  }

  /** Return the dominant hue of an image; null if it has hardly any color. */
  function hueOf(image) {
    const SIDE = 24;
    const canvas = Object.assign(document.createElement("canvas"), { width: SIDE, height: SIDE });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0, SIDE, SIDE);
    const { data } = context.getImageData(0, 0, SIDE, SIDE);
    const weights = new Array(24).fill(0); // of 15 degrees each
    for (let at = 0; at < data.length; at += 4) {
      const [red, green, blue] = data.slice(at, at + 3);
      const most = Math.max(red, green, blue);
      const range = most - Math.min(red, green, blue);
      if (range < 24) continue;
      const sixth = most === red ? (green - blue) / range : most === green ? 2 + (blue - red) / range : 4 + (red - green) / range;
      weights[Math.floor(((sixth + 6) % 6) * 4)] += range;
    }
    const heaviest = Math.max(...weights);
    return heaviest < SIDE * SIDE ? null : weights.indexOf(heaviest) * 15 + 7;
  }

  /** Color the card like a cover. Its pixels can only be read if its server allows that (CORS). */
  async function tint(cover) {
    tinted = cover;
    let hue = null;
    if (cover) {
      const image = Object.assign(new Image(), { crossOrigin: "anonymous", referrerPolicy: "no-referrer", src: cover });
      try {
        await image.decode();
        hue = hueOf(image);
      } catch {
        // It does not load, or may not be read: the card stays plain.
      }
    }
    if (tinted !== cover) return;
    card.classList.toggle("tinted", hue !== null);
    if (hue !== null) card.style.setProperty("--hue", hue);
  }

  /** Set a text only if it differs, so that screen readers do not announce it twice. */
  function setText(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  function show(update) {
    const play = update.now;
    const isOther = (play && play.key) !== (now && now.play.key);
    card.classList.toggle("silent", !play);
    const shown = new DOMParser().parseFromString(update.card, "text/html");
    for (const part of CHANGING) {
      const { innerHTML } = shown.getElementById(`now-${part}`);
      if (parts[part].innerHTML !== innerHTML) parts[part].innerHTML = innerHTML; // otherwise, keep the focus, and let no screen reader say it twice
    }
    if (tinted !== play?.cover) tint(play?.cover);
    parts.progress.max = (play && play.duration_ms) || 1;
    now = play && { play, since: performance.now() };
    move();
    return isOther;
  }

  function move() {
    const play = now && now.play;
    let position = play ? play.position_ms || 0 : 0;
    if (play && play.playing) position += performance.now() - now.since;
    if (play && play.duration_ms) position = Math.min(position, play.duration_ms);
    parts.progress.value = play ? position : 0;
    setText(parts.position, play ? minutes(position) : "");
  }

  /** Reload today's list and keep the keyboard focus in it. */
  async function refresh() {
    const today = document.getElementById("today");
    try {
      const answer = await fetch(`/today${query}`);
      if (!answer.ok) return;
      const part = new DOMParser().parseFromString(await answer.text(), "text/html");
      const focused = today.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
      today.replaceChildren(...part.body.childNodes);
      if (focused) today.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    } catch {
      // The next change reloads it.
    }
  }

  function take(event) {
    const update = JSON.parse(event.data);
    const isOther = show(update);
    if (latest !== null && (isOther || update.latest !== latest)) refresh();
    latest = update.latest || "";
    connected();
  }

  function connected() {
    clearTimeout(lost);
    lost = 0;
    setText(parts.status, "");
  }

  function open() {
    if (stream || document.hidden) return;
    stream = new EventSource(`/live${query}`);
    stream.addEventListener("now", take);
    stream.addEventListener("open", connected);
    stream.addEventListener("error", () => {
      // A stream that merely ended reopens at once; only a longer outage is worth a message.
      lost ||= setTimeout(() => setText(parts.status, "Connection lost. Reconnecting…"), 5000);
      if (stream && stream.readyState === EventSource.CLOSED) {
        close();
        setTimeout(open, 10000);
      }
    });
  }

  function close() {
    if (stream) stream.close();
    stream = null;
  }

  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  setInterval(move, 1000);
  open();
}

"use strict";
// What plays now, as it plays: the page is told of each change, and moves the position on by itself.

{
  const parts = Object.fromEntries(
    ["cover", "title", "name", "whose", "progress", "position", "device", "duration", "told"].map((part) => [part, document.getElementById(`now-${part}`)]),
  );
  const card = document.getElementById("now");
  let stream = null;
  let now = null; // what plays, and since when that is known
  let latest = null;
  let lost = 0;
  const whose = document.documentElement.dataset.whose || ""; // another window may choose somebody else

  const itemOf = (play) => (play.id ? `${play.type || "track"}:${play.id}` : play.uri || "");

  function minutes(milliseconds) {
    const seconds = Math.floor(milliseconds / 1000);
    const rest = String(seconds % 60).padStart(2, "0");
    const whole = Math.floor(seconds / 60);
    return whole < 60 ? `${whole}:${rest}` : `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}:${rest}`;
  }

  function within(element, text) {
    const isolated = document.createElement("bdi");
    isolated.textContent = text;
    element.replaceChildren(isolated);
  }

  function showName(play) {
    const link = document.createElement("a");
    link.href = `/track?q=${encodeURIComponent(itemOf(play))}`;
    within(link, play.name || play.uri || "?");
    parts.name.replaceChildren(link);
  }

  /** What stands where no cover is: the first letter, on a colour of its own. */
  function tile(play) {
    const make = (name, attributes) => {
      const element = document.createElementNS("http://www.w3.org/2000/svg", name);
      for (const [attribute, value] of Object.entries(attributes)) element.setAttribute(attribute, value);
      return element;
    };
    const drawn = make("svg", { class: `cover large tile-${play.tile}`, viewBox: "0 0 48 48", width: 160, height: 160, "aria-hidden": "true", focusable: "false" });
    const letter = make("text", { x: 24, y: 32, "text-anchor": "middle" });
    letter.textContent = play.initial;
    drawn.append(make("rect", { width: 48, height: 48 }), letter);
    return drawn;
  }

  function showCover(play) {
    if (!play || !play.cover) {
      parts.cover.replaceChildren(...(play ? [tile(play)] : []));
      return;
    }
    const image = document.createElement("img");
    Object.assign(image, { className: "cover large", src: play.cover, width: 160, height: 160, alt: "", referrerPolicy: "no-referrer" });
    parts.cover.replaceChildren(image);
  }

  /** Change a text only where it is another one, so that nobody who listens is told of it twice. */
  function say(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  function show(told) {
    const play = told.now;
    const isOther = (play && play.key) !== (now && now.play.key);
    card.classList.toggle("silent", !play);
    say(parts.title, play ? (play.playing ? "Playing now" : "Paused") : "Now");
    if (!play) {
      say(parts.name, told.unknown || "Nothing is playing");
      say(parts.whose, told.problem || "");
    }
    if (isOther || (play && play.cover !== now.play.cover)) {
      if (play) {
        showName(play);
        within(parts.whose, play.artists || play.album || "");
      }
      showCover(play);
    }
    within(parts.device, play ? play.device_name || "" : "");
    say(parts.duration, play && play.duration_ms ? minutes(play.duration_ms) : "");
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
    say(parts.position, play ? minutes(position) : "");
  }

  /** Fetch the list of today anew; who is in it with the keyboard stays there. */
  async function refresh() {
    const today = document.getElementById("today");
    try {
      const answer = await fetch(`/today${whose}`);
      if (!answer.ok) return;
      const part = new DOMParser().parseFromString(await answer.text(), "text/html");
      const focused = today.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
      today.replaceChildren(...part.body.childNodes);
      if (focused) today.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    } catch {
      // The next change brings it.
    }
  }

  function take(event) {
    const told = JSON.parse(event.data);
    const isOther = show(told);
    if (latest !== null && (isOther || told.latest !== latest)) refresh();
    latest = told.latest || "";
    found();
  }

  function found() {
    clearTimeout(lost);
    lost = 0;
    say(parts.told, "");
  }

  function open() {
    if (stream || document.hidden) return;
    stream = new EventSource(`/live${whose}`);
    stream.addEventListener("now", take);
    stream.addEventListener("open", found);
    stream.addEventListener("error", () => {
      // A stream that only ends is opened again at once; what lasts longer is worth a word.
      lost ||= setTimeout(() => say(parts.told, "The connection is lost; it is tried again."), 5000);
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

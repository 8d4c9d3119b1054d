// Uploads files that are dropped or chosen, with progress, and follows the import.
"use strict";
(() => {
  const state = document.getElementById("import-state");
  const query = document.documentElement.dataset.listener || "";
  const parse = (text) => new DOMParser().parseFromString(text, "text/html");
  const show = (found) => (state.innerHTML = found.getElementById("import-state").innerHTML);
  const say = (text) => (document.getElementById("upload-status").textContent = text);

  async function follow() {
    while (state.querySelector("[data-busy]")) {
      await new Promise((resolve) => setTimeout(resolve, 2000));
      try {
        show(parse(await (await fetch(`/settings${query}`)).text()));
      } catch {
        // The page cannot be reached, or answers with an error: ask again.
      }
    }
  }

  function upload(form) {
    const files = [...form.elements.files.files];
    if (files.reduce((sum, file) => sum + file.size, 0) > Number(form.dataset.limit)) {
      say("These files are too large for the page: run spotify-logger import instead.");
      return;
    }
    const request = new XMLHttpRequest();
    request.upload.onprogress = (event) => say(`Uploading: ${Math.floor((100 * event.loaded) / event.total)} %`);
    request.onerror = () => say("The upload failed: try again.");
    request.onload = () => {
      const found = parse(request.responseText);
      if (request.status === 200) {
        show(found);
        follow();
      } else {
        say(found.querySelector("main p")?.textContent || "The upload failed: try again.");
      }
    };
    request.open("POST", form.action);
    request.send(new FormData(form));
  }

  state.addEventListener("submit", (event) => {
    if (event.target.id === "upload") {
      event.preventDefault();
      upload(event.target);
    }
  });
  for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
    state.addEventListener(name, (event) => {
      const form = event.target.closest("#upload");
      if (!form) return;
      event.preventDefault();
      form.classList.toggle("over", name.startsWith("drage") || name === "dragover");
      if (name === "drop" && event.dataTransfer.files.length) {
        form.elements.files.files = event.dataTransfer.files;
        upload(form);
      }
    });
  }
  follow();
})();

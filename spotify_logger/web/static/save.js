"use strict";
// Saves a picture as PNG. Without this script the link downloads the SVG, which few apps can share.

{
  const SCALE = 2;

  function loaded(address) {
    return new Promise((resolve, reject) => {
      const image = new Image();
      image.onload = () => resolve(image);
      image.onerror = () => reject(new Error("the picture cannot be drawn"));
      image.src = address;
    });
  }

  function drawn(image) {
    const canvas = document.createElement("canvas");
    canvas.width = image.naturalWidth * SCALE;
    canvas.height = image.naturalHeight * SCALE;
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    return new Promise((resolve, reject) => {
      canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("the picture is too large"))), "image/png");
    });
  }

  function download(blob, name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }

  async function save(event) {
    event.preventDefault();
    const link = event.currentTarget;
    const status = document.getElementById("save-status");
    status.textContent = "Rendering…";
    try {
      download(await drawn(await loaded(link.href)), link.dataset.name);
      status.textContent = `Saved as ${link.dataset.name}.`;
    } catch (error) {
      status.textContent = `Cannot save as PNG: ${error.message}. Click again to download the SVG.`;
      link.removeEventListener("click", save);
    }
  }

  const link = document.getElementById("save");
  if (link) link.addEventListener("click", save);
}

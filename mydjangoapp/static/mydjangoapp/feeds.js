// What htmx does not do by itself: a look at the photo before it is uploaded, and how far the upload is.
(() => {
  "use strict";

  const upload = (node) => node.closest?.("[data-upload]");

  document.addEventListener("change", ({ target }) => {
    const form = upload(target);
    if (!form || target.type !== "file") return;
    const preview = form.querySelector(".preview");
    if (preview.src) URL.revokeObjectURL(preview.src);
    const [file] = target.files;
    preview.hidden = !file;
    if (file) preview.src = URL.createObjectURL(file);
    else preview.removeAttribute("src");
  });

  document.addEventListener("htmx:xhr:progress", ({ target, detail }) => {
    const bar = upload(target)?.querySelector("progress");
    if (!bar || !detail.lengthComputable) return;
    bar.hidden = false;
    bar.value = Math.round((100 * detail.loaded) / detail.total);
  });

  // A form that comes back with errors: to the first field that is wrong.
  document.addEventListener("htmx:afterSwap", ({ target }) => {
    const parent = target.parentElement ?? document;
    if (upload(target) || target.id === "main") parent.querySelector("[aria-invalid]")?.focus();
  });
})();

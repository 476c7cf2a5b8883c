// Opens and closes dialogs: the one that the server fills (`#dialog`), and those already in the page.

const dialog = document.getElementById("dialog");

document.addEventListener("htmx:after:swap", () => {
  if (dialog.childElementCount && !dialog.open) dialog.showModal();
});

dialog.addEventListener("close", () => dialog.replaceChildren());

document.addEventListener("htmx:finally:request", (event) => {
  if (event.detail.ctx.sourceElement?.matches?.("[data-closes-dialog]")) dialog.close();
});

document.addEventListener("click", (event) => {
  const opener = event.target.closest?.("[data-open]");
  if (opener) document.querySelector(opener.dataset.open)?.showModal();
  if (event.target.closest?.("[data-close]")) event.target.closest("dialog").close();
  if (event.target.matches?.("dialog")) event.target.close(); // a click beside the box
});
